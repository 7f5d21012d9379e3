//! Effective read noise of an image.

use crate::parallel::PIECE;
use crate::robust::{ERF_1, between_ranks, rank_of, robust_sigma};
use crate::runs::for_runs;
use crate::selection::{Bracket, Sifted, ranked};
use crate::simd::{Vectorised, widest};
use rayon::prelude::*;

/// Percentiles whose distance is twice the robust standard deviation.
const SHARES: [f64; 2] = [1.0 - ERF_1, ERF_1];
/// Pixels at the start of every piece whose differences are the sample.
const SAMPLED: usize = PIECE / 16;
/// Of the sample's differences one is taken of so many; those are alike enough for four to count as one.
const STRIDE: usize = 8;
const ALIKE: f64 = 4.0;

/// Effective read noise: robust scatter of the successive differences of the unlit pixels, over sqrt(2).
///
/// A sample tells between which values the two percentiles lie, and only the differences there are kept.
pub fn effective_readnoise(pixels: &[f32], unlit: &[u8]) -> f64 {
    let sigma = by_sample(pixels, unlit).unwrap_or_else(|| {
        let mut all = Vec::new();
        for_differences(pixels, unlit, None, |differences| all.extend_from_slice(differences));
        robust_sigma(&mut all)
    });
    sigma / std::f64::consts::SQRT_2
}

/// The robust scatter, if the sample brackets the percentiles.
fn by_sample(pixels: &[f32], unlit: &[u8]) -> Option<f64> {
    let sample: Vec<Vec<f64>> = pixels
        .par_chunks(PIECE)
        .zip(unlit.par_chunks(PIECE))
        .map(|(pixels, unlit)| {
            let (size, mut sample) = (pixels.len().min(SAMPLED), Vec::new());
            for_differences(&pixels[..size], &unlit[..size], None, |differences| {
                sample.extend(differences.iter().step_by(STRIDE).filter(|difference| !difference.is_nan()));
            });
            sample
        })
        .collect();
    let mut sample = sample.concat();
    let brackets = SHARES.map(|share| Bracket::of_alike(&mut sample, share, ALIKE));
    // The pixel before a piece is the last unlit one of those before it.
    let mut before = None;
    let starts: Vec<Option<f32>> = pixels
        .chunks(PIECE)
        .zip(unlit.chunks(PIECE))
        .map(|(pixels, unlit)| {
            let last = unlit.iter().rposition(|&unlit| unlit != 0).map(|place| pixels[place]);
            let start = before;
            before = last.or(before);
            start
        })
        .collect();
    let pieces = pixels.par_chunks(PIECE).zip(unlit.par_chunks(PIECE)).zip(starts).map(|((pixels, unlit), start)| {
        let mut found = Found::default();
        for_differences(pixels, unlit, start, |differences| {
            widest(Sift { differences, brackets, found: &mut found });
        });
        found
    });
    let pieces: Vec<Found> = pieces.collect();
    let count = pieces.iter().map(|piece| piece.count).sum();
    let quantile = |which: usize| {
        let below = pieces.iter().map(|piece| piece.sifted[which].below).sum();
        let mut within = pieces.iter().flat_map(|piece| &piece.sifted[which].within).copied().collect::<Vec<f64>>();
        let (rank, part) = rank_of(count, SHARES[which]);
        let (low, high) = ranked(&mut within, below, count, rank)?;
        Some(between_ranks(low, high, part))
    };
    Some((quantile(1)? - quantile(0)?) / 2.0)
}

/// Differences of a piece: the number of those that are not NaN, and these sifted by both brackets.
#[derive(Default)]
struct Found {
    count: usize,
    sifted: [Sifted<f64>; 2],
}

struct Sift<'a> {
    differences: &'a [f64],
    brackets: [Bracket<f64>; 2],
    found: &'a mut Found,
}

impl Vectorised for Sift<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { differences, brackets, found } = self;
        found.count += differences.iter().map(|difference| u32::from(!difference.is_nan())).sum::<u32>() as usize;
        for (sifted, bracket) in found.sifted.iter_mut().zip(brackets) {
            sifted.take(differences, bracket);
        }
    }
}

/// Differences that are handed on at a time, or up to twice as many.
const BATCH: usize = 1024;

/// Call `found` with the differences between every unlit pixel and the one before, batch by batch.
fn for_differences(pixels: &[f32], unlit: &[u8], mut before: Option<f32>, mut found: impl FnMut(&[f64])) {
    let mut batch = Vec::with_capacity(2 * BATCH);
    for_runs(unlit, |run| {
        for run in pixels[run].chunks(BATCH) {
            if let Some(before) = before {
                batch.push(f64::from(run[0]) - f64::from(before));
            }
            batch.extend(run.iter().zip(&run[1..]).map(|(&before, &value)| f64::from(value) - f64::from(before)));
            before = run.last().copied();
            if batch.len() >= BATCH {
                found(&batch);
                batch.clear();
            }
        }
    });
    if !batch.is_empty() {
        found(&batch);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readnoise_of_a_ramp_is_none() {
        assert_eq!(effective_readnoise(&[1.0, 2.0, 9.0, 3.0, 4.0], &[1, 1, 0, 1, 1]), 0.0);
        assert!(effective_readnoise(&[1.0], &[1]).is_nan());
        assert!(effective_readnoise(&[], &[]).is_nan());
    }

    #[test]
    fn pieces_and_samples_make_no_difference() {
        let size = 5 * PIECE + 4321;
        let noise = |k: usize| ((k * 7919) % 10_007) as f32 - ((k * 104_729) % 997) as f32;
        // A sample that is like the rest, and one that is not: the starts of pieces are much quieter.
        for quiet in [1.0, 1.0e-3] {
            let mut pixels: Vec<f32> =
                (0..size).map(|k| noise(k) * if k % PIECE < SAMPLED { quiet } else { 1.0 }).collect();
            pixels.iter_mut().step_by(1001).for_each(|pixel| *pixel = f32::NAN);
            // One piece without an unlit pixel.
            let unlit: Vec<u8> = (0..size).map(|k| u8::from((k / 50) % 3 == 0 && k / PIECE != 2)).collect();
            let mut differences = Vec::new();
            for_differences(&pixels, &unlit, None, |found| differences.extend_from_slice(found));
            let values: Vec<f32> =
                pixels.iter().zip(&unlit).filter(|(_, unlit)| **unlit != 0).map(|(v, _)| *v).collect();
            assert_eq!(differences.len(), values.len() - 1);
            let expected = robust_sigma(&mut differences) / std::f64::consts::SQRT_2;
            assert_eq!(effective_readnoise(&pixels, &unlit), expected);
            assert_eq!(by_sample(&pixels, &unlit).is_some(), quiet == 1.0);
        }
    }
}
