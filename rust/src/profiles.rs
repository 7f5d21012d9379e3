//! Orders straightened along their traces, block by block against their own mean profile.

use crate::error::{KernelError, Result, require};
use ndarray::{Array2, Array3, ArrayView2, ArrayView3};
use rayon::prelude::*;

/// Share of the blocks, the brightest, that are no part of a mean profile: something has hit them.
const BRIGHTEST: f64 = 0.02;
/// A block is no part of it either whose squared distance from the first mean is so many times the median.
const FAR: f64 = 16.0;
/// A block counts where at least this share of the profile's slopes is seen.
const LEAST_SEEN: f64 = 0.8;
/// Heights below this share of a block's largest value are none.
const ROUNDING: f64 = 1e-9;
/// Pixels that a fit of four values asks for.
const LEAST_PIXELS: usize = 5;

/// What blocks say of their strips: planes of traces by blocks, NaN where they say nothing.
///
/// The planes are: shift of the strip from its trace [pixels] and its error, height of the profile and its error, level of
/// the light below it.
pub type Points = Array3<f64>;

/// Offsets (half-open, as indices) that belong to each strip.
type Reach = (usize, usize);

fn reaches(reach: ArrayView2<'_, i64>, profiles: &ArrayView3<'_, f32>) -> Result<Vec<Reach>> {
    let (count, _, samples) = profiles.dim();
    if reach.dim() != (count, 2) {
        return Err(KernelError::Shape { name: "reach", found: reach.shape().to_vec(), expected: vec![count, 2] });
    }
    let half = (samples / 2) as i64;
    let index = |offset: i64| (offset + half).clamp(0, samples as i64) as usize;
    Ok(reach.outer_iter().map(|pair| (index(pair[0]), index(pair[1] + 1).max(index(pair[0])))).collect())
}

/// Take the light beside a strip out of its profile: a straight line through the levels at both ends, each the mean of a
/// tenth of it; or, where not `sloped`, the lower of the two.
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
/// `profiles` are traces by blocks by offsets -half … half; `reach` the first and last offset of each strip; `sloped` tells
/// whether the light beside it is a straight line through that at both ends, or all of it the lower one, because a
/// neighbour lights the other.
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

/// Fit each block by its strip's mean profile, the slope of it (which is a shift) and a straight line, all pixels alike;
/// where not `sloped`, a constant: a short piece of a profile is hard to tell from a slope.
///
/// `noise` is the variance of a pixel at level 0, its growth with the level, and the least there is; `share` the variance
/// of a value of a profile relative to a pixel's.
pub fn fit_profiles(
    profiles: ArrayView3<'_, f32>,
    means: ArrayView2<'_, f64>,
    reach: ArrayView2<'_, i64>,
    sloped: &[bool],
    noise: (f64, f64, f64),
    share: f64,
) -> Result<Points> {
    require(sloped.len() == profiles.dim().0, "number of sloped", sloped.len() as f64, "one for each trace")?;
    let reaches = reaches(reach, &profiles)?;
    let (count, blocks, samples) = profiles.dim();
    same(&means, (count, samples))?;
    let mut points = Array3::from_elem((5, count, blocks), f64::NAN);
    let work = |i: usize| -> Vec<Option<[f64; 5]>> {
        let design = Design::new(&means.row(i).to_vec(), reaches[i], sloped[i]);
        let strip = profiles.index_axis(ndarray::Axis(0), i);
        strip
            .outer_iter()
            .map(|block| {
                let own: Vec<f64> = (reaches[i].0..reaches[i].1).map(|k| f64::from(block[k])).collect();
                design.as_ref()?.fit(&own, noise, share)
            })
            .collect()
    };
    let found: Vec<_> = (0..count).into_par_iter().map(work).collect();
    for (i, strip) in found.into_iter().enumerate() {
        for (b, values) in strip.into_iter().enumerate() {
            for (plane, value) in values.iter().flatten().enumerate() {
                points[[plane, i, b]] = *value;
            }
        }
    }
    Ok(points)
}

fn same(means: &ArrayView2<'_, f64>, expected: (usize, usize)) -> Result<()> {
    crate::error::same_shape("means", means, expected)
}

/// What the blocks of one strip are fitted by.
struct Design {
    rows: Vec<[f64; 4]>,
    slopes: f64,
}

impl Design {
    /// None where the strip has no profile to be fitted by.
    fn new(mean: &[f64], (first, last): Reach, sloped: bool) -> Option<Self> {
        if last - first < LEAST_PIXELS || mean.iter().all(|&value| value == 0.0) {
            return None;
        }
        let half = (mean.len() / 2) as f64;
        let farthest = (first as f64 - half).abs().max((last as f64 - 1.0 - half).abs()).max(1.0);
        let end = mean.len() - 1;
        let slope = |k: usize| match k {
            0 => mean[1] - mean[0],
            k if k == end => mean[end] - mean[end - 1],
            k => 0.5 * (mean[k + 1] - mean[k - 1]),
        };
        // At a strip's own ends the slope is that of what is known there.
        let inner = |k: usize| {
            if k == first && k < end {
                mean[k + 1] - mean[k]
            } else if k + 1 == last && k > 0 {
                mean[k] - mean[k - 1]
            } else {
                slope(k)
            }
        };
        let tilt = |k: usize| if sloped { (k as f64 - half) / farthest } else { 0.0 };
        let rows: Vec<[f64; 4]> = (first..last).map(|k| [mean[k], -inner(k), 1.0, tilt(k)]).collect();
        let slopes = rows.iter().map(|row| row[1] * row[1]).sum();
        (slopes > 0.0).then_some(Self { rows, slopes })
    }

    fn fit(&self, own: &[f64], (start, growth, least): (f64, f64, f64), share: f64) -> Option<[f64; 5]> {
        let (mut normal, mut right, mut seen, mut known) = ([[0.0; 4]; 4], [0.0; 4], 0.0, 0);
        for (row, &value) in self.rows.iter().zip(own) {
            if !value.is_finite() {
                continue;
            }
            known += 1;
            seen += row[1] * row[1];
            for i in 0..4 {
                right[i] += row[i] * value;
                for j in 0..4 {
                    normal[i][j] += row[i] * row[j];
                }
            }
        }
        if known < LEAST_PIXELS || seen < LEAST_SEEN * self.slopes {
            return None;
        }
        if normal[3][3] == 0.0 {
            normal[3][3] = 1.0;
        }
        let inverse = inverse(normal)?;
        let mut found = [0.0; 4];
        for i in 0..4 {
            found[i] = (0..4).map(|j| inverse[i][j] * right[j]).sum();
        }
        // Errors of height and shift: what each pixel's noise does to them.
        let (mut height_variance, mut shift_variance) = (0.0, 0.0);
        for (row, &value) in self.rows.iter().zip(own) {
            if value.is_finite() {
                let variance = share * (start + growth * value.max(0.0)).max(least);
                let lever = |i: usize| (0..4).map(|j| inverse[i][j] * row[j]).sum::<f64>();
                height_variance += variance * lever(0).powi(2);
                shift_variance += variance * lever(1).powi(2);
            }
        }
        let height = found[0];
        // A block without any light has a height of rounding errors.
        let largest = own.iter().filter(|value| value.is_finite()).fold(0.0f64, |most, value| most.max(value.abs()));
        let (shift, error) = if height > ROUNDING * largest {
            (found[1] / height, shift_variance.sqrt() / height)
        } else {
            (f64::NAN, f64::NAN)
        };
        Some([shift, error, height, height_variance.sqrt(), found[2]])
    }
}

/// Inverse of a symmetric matrix by Gauss and Jordan; None where it is singular.
fn inverse(matrix: [[f64; 4]; 4]) -> Option<[[f64; 4]; 4]> {
    let mut a = matrix;
    let mut b = [[0.0; 4]; 4];
    for i in 0..4 {
        b[i][i] = 1.0;
    }
    let scale = (0..4).map(|i| matrix[i][i]).fold(0.0, f64::max);
    for column in 0..4 {
        let mut pivot = column;
        for row in column + 1..4 {
            if a[row][column].abs() > a[pivot][column].abs() {
                pivot = row;
            }
        }
        if a[pivot][column].abs() <= 1e-12 * scale {
            return None;
        }
        a.swap(column, pivot);
        b.swap(column, pivot);
        let by = 1.0 / a[column][column];
        for k in 0..4 {
            a[column][k] *= by;
            b[column][k] *= by;
        }
        for row in 0..4 {
            if row != column {
                let by = a[row][column];
                for k in 0..4 {
                    a[row][k] -= by * a[column][k];
                    b[row][k] -= by * b[column][k];
                }
            }
        }
    }
    Some(b)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use ndarray::array;

    fn bell(k: f64) -> f64 {
        (-0.5 * (k / 2.0).powi(2)).exp()
    }

    #[test]
    fn shifts_are_found() {
        let shifts = [0.0, 0.3, -0.2, 0.0];
        let profiles =
            Array3::from_shape_fn((1, 4, 17), |(_, b, k)| (100.0 * bell(k as f64 - 8.0 - shifts[b]) + 5.0) as f32);
        let reach = array![[-8i64, 8]];
        let means = mean_profiles(profiles.view(), reach.view(), &[true]).unwrap();
        assert!(means.iter().all(|&value| value <= 1.0));
        let points = fit_profiles(profiles.view(), means.view(), reach.view(), &[true], (1.0, 1.0, 1.0), 0.1).unwrap();
        // One step of a fit that is linear in the shift: near it, and the next step begins there.
        assert!((points[[0, 0, 1]] - points[[0, 0, 0]] - 0.3).abs() < 0.03);
        assert!((points[[2, 0, 0]] - 100.0).abs() < 5.0);
        let coarse = coarse_shifts(profiles.view(), means.view(), reach.view(), &[2]).unwrap();
        assert_eq!(coarse[[0, 0, 2]], 0.0);
        assert!(coarse[[1, 0, 2]] > 0.99);
    }

    #[test]
    fn strips_without_light_say_nothing() {
        let profiles = Array3::from_elem((1, 3, 9), f32::NAN);
        let reach = array![[-4i64, 4]];
        let means = mean_profiles(profiles.view(), reach.view(), &[true]).unwrap();
        assert!(means.iter().all(|&value| value == 0.0));
        let points = fit_profiles(profiles.view(), means.view(), reach.view(), &[true], (1.0, 0.0, 1.0), 1.0).unwrap();
        assert!(points.iter().all(|value| value.is_nan()));
        assert!(mean_profiles(profiles.view(), array![[0i64, 0], [1, 1]].view(), &[true]).is_err());
    }
}
