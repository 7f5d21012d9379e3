//! Quadratic B-splines: prefilter and weights, with mirror boundaries as in scipy.ndimage.
//!
//! Source: Unser, Aldroubi & Eden 1993, IEEE Trans. Signal Process. 41, 821; pole and initial values for whole-sample
//! symmetric signals.

use crate::simd::{Vectorised, widest};
use rayon::prelude::*;

/// Pole of the quadratic B-spline's inverse filter, sqrt(8) - 3.
const POLE: f64 = 2.0 * std::f64::consts::SQRT_2 - 3.0;
const GAIN: f64 = (1.0 - POLE) * (1.0 - 1.0 / POLE);
/// Samples after which a power of the pole is below the rounding of a double.
pub(crate) const HORIZON: usize = 24;

/// Weights of the three coefficients around a position, and the middle one's index, a whole number.
#[inline(always)]
pub fn weights(position: f64) -> (f64, [f64; 3]) {
    let nearest = (position + 0.5).floor();
    let t = position - nearest;
    let (low, high) = (0.5 - t, 0.5 + t);
    (nearest, [0.5 * low * low, 0.75 - t * t, 0.5 * high * high])
}

/// Variance of the spline through white noise of variance 1, at a position.
///
/// From the autocorrelation of the prefilter's response K z^|m|, with z the pole and K = (1 - z) / (1 + z): at lag d it
/// is K^2 z^|d| ((1 + z^2) / (1 - z^2) + |d|). It is 1 on the samples, 0.71 half-way between them, and 0.86 on the
/// average.
#[inline(always)]
pub fn noise_variance(position: f64) -> f64 {
    const RESPONSE: f64 = (1.0 - POLE) / (1.0 + POLE) * ((1.0 - POLE) / (1.0 + POLE));
    const WIDTH: f64 = (1.0 + POLE * POLE) / (1.0 - POLE * POLE);
    const LAGS: [f64; 3] = [RESPONSE * WIDTH, RESPONSE * POLE * (WIDTH + 1.0), RESPONSE * POLE * POLE * (WIDTH + 2.0)];
    let (_, [low, middle, high]) = weights(position);
    let same = low * low + middle * middle + high * high;
    LAGS[0] * same + 2.0 * LAGS[1] * middle * (low + high) + 2.0 * LAGS[2] * low * high
}

/// Index of a sample mirrored about the first and the last.
#[inline]
pub fn mirrored(index: isize, size: usize) -> usize {
    let last = size as isize - 1;
    if last <= 0 {
        return 0;
    }
    if (0..=last).contains(&index) {
        return index as usize;
    }
    let period = 2 * last;
    let folded = index.rem_euclid(period);
    (if folded > last { period - folded } else { folded }) as usize
}

/// Replace samples by the coefficients of the quadratic spline through them, along a line of `LANES` signals at once.
#[inline(always)]
fn prefilter_line<const LANES: usize>(line: &mut [[f64; LANES]]) {
    let n = line.len();
    if n < 2 {
        return;
    }
    let mut previous = causal_start(n, |k| line[k]);
    line[0] = previous;
    for sample in line.iter_mut().skip(1) {
        for lane in 0..LANES {
            previous[lane] = GAIN * sample[lane] + POLE * previous[lane];
        }
        *sample = previous;
    }
    let (last, before) = (line[n - 1], line[n - 2]);
    let mut next = [0.0; LANES];
    for lane in 0..LANES {
        next[lane] = anticausal_start(before[lane], last[lane]);
    }
    line[n - 1] = next;
    for sample in line.iter_mut().rev().skip(1) {
        for lane in 0..LANES {
            next[lane] = POLE * (next[lane] - sample[lane]);
        }
        *sample = next;
    }
}

/// First value of the forward recursion over `n` mirrored samples.
#[inline(always)]
fn causal_start<const LANES: usize>(n: usize, sample: impl Fn(usize) -> [f64; LANES]) -> [f64; LANES] {
    let mut start = [0.0; LANES];
    let mut power = 1.0;
    // Sum of the mirrored signal against powers of the pole; what lies beyond the horizon is below rounding.
    for k in 0..(2 * n - 2).min(2 * HORIZON) {
        let sample = sample(mirrored(k as isize, n));
        for lane in 0..LANES {
            start[lane] += power * sample[lane];
        }
        power *= POLE;
    }
    let whole = if 2 * n - 2 <= 2 * HORIZON { 1.0 - power } else { 1.0 };
    start.map(|s| s * GAIN / whole)
}

/// First value of the backward recursion, from the last two of the forward one.
#[inline(always)]
fn anticausal_start(before: f64, last: f64) -> f64 {
    (POLE * before + last) * POLE / (POLE * POLE - 1.0)
}

/// Coefficients of one signal.
pub fn prefilter(signal: &mut [f64]) {
    let mut line: Vec<[f64; 1]> = signal.iter().map(|&v| [v]).collect();
    prefilter_line(&mut line);
    for (out, [value]) in signal.iter_mut().zip(line) {
        *out = value;
    }
}

/// Rows that are filtered together.
const ROWS: usize = 8;
/// Columns that are filtered together: whole cache lines, and few enough for a band of them to stay in the cache.
const COLUMNS: usize = 128;
/// Rows of such a band.
const BAND: usize = 64;

/// Coefficients of an image's values, along both axes; the recursions run in double precision.
pub fn prefilter_image(pixels: &[f32], columns: usize, value: impl Fn(f32) -> f32 + Copy + Sync) -> Vec<f32> {
    let mut coefficients = vec![0.0; pixels.len()];
    prefilter_image_into(pixels, columns, value, &mut coefficients);
    coefficients
}

/// As [`prefilter_image`], into room for as many coefficients.
pub(crate) fn prefilter_image_into(
    pixels: &[f32],
    columns: usize,
    value: impl Fn(f32) -> f32 + Copy + Sync,
    coefficients: &mut [f32],
) {
    if columns == 0 || pixels.is_empty() {
        return;
    }
    let bands = coefficients.par_chunks_mut(columns * ROWS).zip(pixels.par_chunks(columns * ROWS));
    bands.for_each_init(
        || vec![[0.0f64; ROWS]; columns],
        |line, (out, pixels)| widest(AlongRows { pixels, value, out, line }),
    );
    column_blocks(coefficients, columns)
        .into_par_iter()
        .for_each_init(|| vec![[0.0f64; COLUMNS]; BAND + HORIZON], |band, rows| widest(AlongColumns { rows, band }));
}

/// Filter rows along x; `line` is scratch space.
struct AlongRows<'a, F> {
    pixels: &'a [f32],
    value: F,
    out: &'a mut [f32],
    line: &'a mut [[f64; ROWS]],
}

/// Samples of all rows that are put side by side at a time: few enough to stay in the nearest cache.
const PIECE: usize = 64;

impl<F: Fn(f32) -> f32> Vectorised for AlongRows<'_, F> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { pixels, value, out, line } = self;
        let columns = line.len();
        for (piece, line) in line.chunks_mut(PIECE).enumerate() {
            for (lane, row) in pixels.chunks_exact(columns).enumerate() {
                for (out, &pixel) in line.iter_mut().zip(&row[piece * PIECE..]) {
                    out[lane] = f64::from(value(pixel));
                }
            }
        }
        prefilter_line(line);
        for (piece, line) in line.chunks(PIECE).enumerate() {
            for (lane, row) in out.chunks_exact_mut(columns).enumerate() {
                for (out, value) in row[piece * PIECE..].iter_mut().zip(line) {
                    *out = value[lane] as f32;
                }
            }
        }
    }
}

/// Filter columns along y, a band of rows at a time: the forward recursion runs a horizon ahead, and the backward one
/// starts there with whatever value, which is below rounding where the band begins.
struct AlongColumns<'a> {
    rows: Vec<&'a mut [f32]>,
    band: &'a mut [[f64; COLUMNS]],
}

impl Vectorised for AlongColumns<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { mut rows, band } = self;
        let n = rows.len();
        if n < 2 {
            return;
        }
        let mut forward = causal_start(n, |k| doubles(rows[k]));
        // `band` holds forward values from row `first` on; `known` of them are there already.
        let (mut first, mut known) = (0, 0);
        while first < n {
            let held = band.len().min(n - first);
            for (k, values) in band[known..held].iter_mut().enumerate() {
                let y = first + known + k;
                if y > 0 {
                    let samples = doubles(rows[y]);
                    for lane in 0..COLUMNS {
                        forward[lane] = GAIN * samples[lane] + POLE * forward[lane];
                    }
                }
                *values = forward;
            }
            let done = if first + held == n { held } else { BAND };
            let (last, before) = (band[held - 1], band[held.saturating_sub(2)]);
            let mut next = [0.0; COLUMNS];
            for lane in 0..COLUMNS {
                next[lane] = anticausal_start(before[lane], last[lane]);
            }
            for k in (0..held).rev() {
                if k + 1 < held {
                    for lane in 0..COLUMNS {
                        next[lane] = POLE * (next[lane] - band[k][lane]);
                    }
                }
                if k < done {
                    for (out, value) in rows[first + k].iter_mut().zip(&next) {
                        *out = *value as f32;
                    }
                }
            }
            band.copy_within(done..held, 0);
            known = held - done;
            first += done;
        }
    }
}

/// A short piece of a row, filled up with zeros.
#[inline(always)]
fn doubles(piece: &[f32]) -> [f64; COLUMNS] {
    let mut values = [0.0; COLUMNS];
    for (value, &pixel) in values.iter_mut().zip(piece) {
        *value = f64::from(pixel);
    }
    values
}

/// Disjoint blocks of neighbouring columns, each a list of short row pieces.
fn column_blocks(pixels: &mut [f32], columns: usize) -> Vec<Vec<&mut [f32]>> {
    let rows = pixels.len() / columns;
    let mut blocks: Vec<Vec<&mut [f32]>> = (0..columns.div_ceil(COLUMNS)).map(|_| Vec::with_capacity(rows)).collect();
    for row in pixels.chunks_exact_mut(columns) {
        for (block, piece) in blocks.iter_mut().zip(row.chunks_mut(COLUMNS)) {
            block.push(piece);
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evaluate(coefficients: &[f64], position: f64) -> f64 {
        let (middle, weights) = weights(position);
        (0..3).map(|k| weights[k] * coefficients[mirrored(middle as isize + k as isize - 1, coefficients.len())]).sum()
    }

    #[test]
    fn the_spline_goes_through_the_samples() {
        for size in [2usize, 3, 7, 24, 25, 26, 200] {
            let samples: Vec<f64> = (0..size).map(|i| ((i * 37) % 11) as f64 - 3.0).collect();
            let mut coefficients = samples.clone();
            prefilter(&mut coefficients);
            for (i, sample) in samples.iter().enumerate() {
                assert!((evaluate(&coefficients, i as f64) - sample).abs() < 1e-13, "{size} {i}");
            }
        }
    }

    #[test]
    fn noise_of_the_spline_is_that_of_its_weights_on_the_samples() {
        for position in [30.0, 30.1, 30.25, 30.5, 30.8] {
            let squares: f64 = (0..60)
                .map(|k| {
                    let mut one = vec![0.0; 60];
                    one[k] = 1.0;
                    prefilter(&mut one);
                    evaluate(&one, position).powi(2)
                })
                .sum();
            assert!((noise_variance(position) - squares).abs() < 1e-12, "{position}: {squares}");
        }
        assert!((noise_variance(7.0) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn mirror_folds_about_both_ends() {
        let folded: Vec<usize> = (-3..7).map(|i| mirrored(i, 4)).collect();
        assert_eq!(folded, [3, 2, 1, 0, 1, 2, 3, 2, 1, 0]);
        assert_eq!(mirrored(5, 1), 0);
    }

    #[test]
    fn image_of_rows_and_columns() {
        let (rows, columns) = (5, 11);
        let samples: Vec<f32> = (0..rows * columns).map(|i| ((i * 29) % 17) as f32).collect();
        let pixels = prefilter_image(&samples, columns, |v| v);
        for y in 0..rows {
            let lines: Vec<f64> = (0..rows)
                .map(|r| {
                    let row: Vec<f64> = pixels[r * columns..][..columns].iter().map(|&v| f64::from(v)).collect();
                    evaluate(&row, 6.0)
                })
                .collect();
            assert!((evaluate(&lines, y as f64) - f64::from(samples[y * columns + 6])).abs() < 1e-4);
        }
    }

    #[test]
    fn columns_filtered_in_bands_are_those_filtered_whole() {
        for rows in [2, 3, 40, BAND + HORIZON, BAND + HORIZON + 1, 300] {
            let columns = COLUMNS + 3;
            let mut expected: Vec<f32> = (0..rows * columns).map(|i| ((i * 29) % 101) as f32).collect();
            let pixels = prefilter_image(&expected, columns, |v| v);
            for row in expected.chunks_exact_mut(columns) {
                let mut line: Vec<f64> = row.iter().map(|&v| f64::from(v)).collect();
                prefilter(&mut line);
                row.iter_mut().zip(line).for_each(|(out, value)| *out = value as f32);
            }
            for x in 0..columns {
                let mut line: Vec<f64> = (0..rows).map(|y| f64::from(expected[y * columns + x])).collect();
                prefilter(&mut line);
                for (y, value) in line.into_iter().enumerate() {
                    let found = pixels[y * columns + x];
                    assert!((found - value as f32).abs() <= 1e-5, "{rows}: {y} {x}: {found} {value}");
                }
            }
        }
    }
}
