//! Orders straightened along their traces, block by block against their own mean profile.

use crate::error::{KernelError, Result, require};
use ndarray::{Array2, Array3, ArrayView2, ArrayView3};
use rayon::prelude::*;

/// Share of the blocks, the brightest, that are no part of a mean profile: something has hit them.
const BRIGHTEST: f64 = 0.02;
/// A block is no part of it either whose squared distance from the first mean is so many times the median.
const FAR: f64 = 16.0;

/// Offsets (half-open, as indices) that belong to each strip.
pub(crate) type Reach = (usize, usize);

pub(crate) fn reaches(reach: ArrayView2<'_, i64>, profiles: &ArrayView3<'_, f32>) -> Result<Vec<Reach>> {
    let (count, _, samples) = profiles.dim();
    if reach.dim() != (count, 2) {
        return Err(KernelError::Shape { name: "reach", found: reach.shape().to_vec(), expected: vec![count, 2] });
    }
    let half = (samples / 2) as i64;
    let index = |offset: i64| (offset + half).clamp(0, samples as i64) as usize;
    Ok(reach.outer_iter().map(|pair| (index(pair[0]), index(pair[1] + 1).max(index(pair[0])))).collect())
}

/// Take the light beside a strip out of its profile: a straight line through the levels at both ends, each the mean of
/// a tenth of it; or, where not `sloped`, the lower of the two.
fn take_base(profile: &mut [f64], sloped: bool) {
    let size = profile.len();
    let ends = (size / 10).max(1).min(size);
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    let (left, right) = (mean(&profile[..ends]), mean(&profile[size - ends..]));
    let (left, right) = if sloped { (left, right) } else { (left.min(right), left.min(right)) };
    let span = (size - ends).max(1) as f64;
    for (k, value) in profile.iter_mut().enumerate() {
        let share = ((k as f64 - (ends as f64 - 1.0) / 2.0) / span).clamp(0.0, 1.0);
        *value -= left * (1.0 - share) + right * share;
    }
}

/// Mean profile of each strip above the light beside it, 1 at its highest; traces by offsets, 0 outside a strip's own.
///
/// `profiles` are traces by blocks by offsets -half … half; `reach` the first and last offset of each strip; `sloped`
/// tells whether the light beside it is a straight line through that at both ends, or all of it the lower one, because
/// a neighbour lights the other.
pub fn mean_profiles(
    profiles: ArrayView3<'_, f32>,
    reach: ArrayView2<'_, i64>,
    sloped: &[bool],
) -> Result<Array2<f64>> {
    require(sloped.len() == profiles.dim().0, "number of sloped", sloped.len() as f64, "one for each trace")?;
    let reaches = reaches(reach, &profiles)?;
    let (count, _, samples) = profiles.dim();
    let mut means = Array2::zeros((count, samples));
    let found: Vec<_> = (0..count)
        .into_par_iter()
        .map(|i| mean_profile(profiles.index_axis(ndarray::Axis(0), i), reaches[i], sloped[i]))
        .collect();
    for (i, mean) in found.into_iter().enumerate() {
        for (k, value) in mean.into_iter().enumerate() {
            means[[i, reaches[i].0 + k]] = value;
        }
    }
    Ok(means)
}

fn mean_profile(blocks: ArrayView2<'_, f32>, (first, last): Reach, sloped: bool) -> Vec<f64> {
    let size = last - first;
    let mut whole: Vec<(f64, Vec<f64>)> = Vec::new();
    for block in blocks.outer_iter() {
        let mut own: Vec<f64> = (first..last).map(|k| f64::from(block[k])).collect();
        if size == 0 || own.iter().any(|value| !value.is_finite()) {
            continue;
        }
        take_base(&mut own, sloped);
        whole.push((own.iter().sum(), own));
    }
    let mut mean = vec![0.0; size];
    if whole.is_empty() {
        return mean;
    }
    let mut heights: Vec<f64> = whole.iter().map(|(height, _)| *height).collect();
    heights.sort_unstable_by(f64::total_cmp);
    let limit = heights[((1.0 - BRIGHTEST) * (heights.len() - 1) as f64).floor() as usize];
    whole.retain(|(height, _)| *height <= limit);
    add_up(&whole, &mut mean);
    // Blocks that look otherwise than most have been hit, too.
    let mut away: Vec<f64> = whole.iter().map(|(_, own)| distance(own, &mean)).collect();
    let found = away.clone();
    away.sort_unstable_by(f64::total_cmp);
    let limit = FAR * away[(away.len() - 1) / 2];
    let mut distances = found.into_iter();
    whole.retain(|_| distances.next().is_some_and(|distance| distance <= limit));
    add_up(&whole, &mut mean);
    take_base(&mut mean, sloped);
    let top = mean.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    mean.iter_mut().for_each(|value| *value = if top > 0.0 { *value / top } else { 0.0 });
    mean
}

/// Sum of profiles.
fn add_up(blocks: &[(f64, Vec<f64>)], sum: &mut [f64]) {
    sum.fill(0.0);
    for (_, own) in blocks {
        for (sum, value) in sum.iter_mut().zip(own) {
            *sum += value;
        }
    }
}

/// Sum of squares of what a profile is away from a mean one, scaled to it.
fn distance(own: &[f64], mean: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    let norm = dot(mean, mean);
    let scale = if norm > 0.0 { dot(own, mean) / norm } else { 0.0 };
    own.iter().zip(mean).map(|(value, expected)| (value - scale * expected).powi(2)).sum()
}

/// Whole-pixel shift, up to `most` of each strip, at which each block is most like its strip's mean profile, and how
/// alike they are (correlation, 0 to 1); two planes of traces by blocks. NaN and 0 where none is like it.
pub fn coarse_shifts(
    profiles: ArrayView3<'_, f32>,
    means: ArrayView2<'_, f64>,
    reach: ArrayView2<'_, i64>,
    most: &[usize],
) -> Result<Array3<f64>> {
    let reaches = reaches(reach, &profiles)?;
    let (count, blocks, samples) = profiles.dim();
    same(&means, (count, samples))?;
    require(most.len() == count, "number of most", most.len() as f64, "one for each trace")?;
    let mut planes = Array3::zeros((2, count, blocks));
    let work = |i: usize| -> Vec<(f64, f64)> {
        let mean: Vec<f64> = means.row(i).to_vec();
        profiles
            .index_axis(ndarray::Axis(0), i)
            .outer_iter()
            .map(|block| {
                let block: Vec<f64> = block.iter().map(|&value| f64::from(value)).collect();
                best_shift(&block, &mean, reaches[i], most[i] as i64)
            })
            .collect()
    };
    let found: Vec<_> = (0..count).into_par_iter().map(work).collect();
    for (i, strip) in found.into_iter().enumerate() {
        for (b, (shift, alike)) in strip.into_iter().enumerate() {
            planes[[0, i, b]] = shift;
            planes[[1, i, b]] = alike;
        }
    }
    Ok(planes)
}

fn best_shift(block: &[f64], mean: &[f64], (first, last): Reach, most: i64) -> (f64, f64) {
    let mut best = (f64::NAN, 0.0);
    for lag in -most..=most {
        // Offsets of the strip that the shifted profile still covers.
        let low = (first as i64 + lag).max(0);
        let high = (last as i64 + lag).min(block.len() as i64);
        if high - low < (8 * (last - first) as i64 / 10).max(3) {
            continue;
        }
        let seen = &block[low as usize..high as usize];
        let expected = &mean[(low - lag) as usize..(high - lag) as usize];
        let alike = correlation(seen, expected);
        if alike > best.1 {
            best = (lag as f64, alike);
        }
    }
    best
}

/// Correlation of two series; NaN if a value is, 0 of constant ones.
fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let count = a.len() as f64;
    let (mean_a, mean_b) = (a.iter().sum::<f64>() / count, b.iter().sum::<f64>() / count);
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (x, y) in a.iter().zip(b) {
        let (x, y) = (x - mean_a, y - mean_b);
        ab += x * y;
        aa += x * x;
        bb += y * y;
    }
    let norm = (aa * bb).sqrt();
    if norm == 0.0 { 0.0 } else { ab / norm }
}

pub(crate) fn same(means: &ArrayView2<'_, f64>, expected: (usize, usize)) -> Result<()> {
    crate::error::same_shape("means", means, expected)
}
