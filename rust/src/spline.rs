//! Quadratic B-splines: prefilter and weights, with mirror boundaries as in scipy.ndimage.
//!
//! Source: Unser, Aldroubi & Eden 1993, IEEE Trans. Signal Process. 41, 821; pole and initial values for whole-sample
//! symmetric signals.

use rayon::prelude::*;

/// Pole of the quadratic B-spline's inverse filter, sqrt(8) - 3.
const POLE: f64 = 2.0 * std::f64::consts::SQRT_2 - 3.0;
const GAIN: f64 = (1.0 - POLE) * (1.0 - 1.0 / POLE);
/// Samples after which a power of the pole is below the rounding of a double.
const HORIZON: usize = 24;

/// Weights of the three coefficients around a position, and the middle one's index.
#[inline]
pub fn weights(position: f64) -> (isize, [f64; 3]) {
    let nearest = (position + 0.5).floor();
    let t = position - nearest;
    let (low, high) = (0.5 - t, 0.5 + t);
    (nearest as isize, [0.5 * low * low, 0.75 - t * t, 0.5 * high * high])
}

/// Index of a sample mirrored about the first and the last.
#[inline]
pub fn mirrored(index: isize, size: usize) -> usize {
    let last = size as isize - 1;
    if last <= 0 {
        return 0;
    }
    let period = 2 * last;
    let folded = index.rem_euclid(period);
    (if folded > last { period - folded } else { folded }) as usize
}

/// Replace samples by the coefficients of the quadratic spline through them, along a line of `LANES` signals at once.
fn prefilter_line<const LANES: usize>(line: &mut [[f64; LANES]]) {
    let n = line.len();
    if n < 2 {
        return;
    }
    let mut start = [0.0; LANES];
    let mut power = 1.0;
    // Sum of the mirrored signal against powers of the pole; what lies beyond the horizon is below rounding.
    for k in 0..(2 * n - 2).min(2 * HORIZON) {
        let sample = line[mirrored(k as isize, n)];
        for lane in 0..LANES {
            start[lane] += power * sample[lane];
        }
        power *= POLE;
    }
    let whole = if 2 * n - 2 <= 2 * HORIZON { 1.0 - power } else { 1.0 };
    let mut previous = start.map(|s| s * GAIN / whole);
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
        next[lane] = (POLE * before[lane] + last[lane]) * POLE / (POLE * POLE - 1.0);
    }
    line[n - 1] = next;
    for sample in line.iter_mut().rev().skip(1) {
        for lane in 0..LANES {
            next[lane] = POLE * (next[lane] - sample[lane]);
        }
        *sample = next;
    }
}

/// Coefficients of one signal.
pub fn prefilter(signal: &mut [f64]) {
    let mut line: Vec<[f64; 1]> = signal.iter().map(|&v| [v]).collect();
    prefilter_line(&mut line);
    for (out, [value]) in signal.iter_mut().zip(line) {
        *out = value;
    }
}

/// Lines that are filtered together.
const LANES: usize = 8;

/// Coefficients of an image in place, along both axes; the recursions run in double precision.
pub fn prefilter_image(pixels: &mut [f32], columns: usize) {
    if columns == 0 || pixels.is_empty() {
        return;
    }
    let rows = pixels.len() / columns;
    pixels.par_chunks_mut(columns * LANES).for_each_init(
        || vec![[0.0f64; LANES]; columns],
        |line, band| {
            for (lane, row) in band.chunks_exact(columns).enumerate() {
                for (out, &value) in line.iter_mut().zip(row) {
                    out[lane] = f64::from(value);
                }
            }
            prefilter_line(line);
            for (lane, row) in band.chunks_exact_mut(columns).enumerate() {
                for (out, value) in row.iter_mut().zip(line.iter()) {
                    *out = value[lane] as f32;
                }
            }
        },
    );
    let blocks = column_blocks(pixels, columns);
    blocks.into_par_iter().for_each_init(
        || vec![[0.0f64; LANES]; rows],
        |line, mut block| {
            for (out, row) in line.iter_mut().zip(&block) {
                for (lane, &value) in row.iter().enumerate() {
                    out[lane] = f64::from(value);
                }
            }
            prefilter_line(line);
            for (row, value) in block.iter_mut().zip(line.iter()) {
                for (lane, out) in row.iter_mut().enumerate() {
                    *out = value[lane] as f32;
                }
            }
        },
    );
}

/// Disjoint blocks of neighbouring columns, each a list of short row pieces.
fn column_blocks(pixels: &mut [f32], columns: usize) -> Vec<Vec<&mut [f32]>> {
    let rows = pixels.len() / columns;
    let mut blocks: Vec<Vec<&mut [f32]>> = (0..columns.div_ceil(LANES)).map(|_| Vec::with_capacity(rows)).collect();
    for row in pixels.chunks_exact_mut(columns) {
        for (block, piece) in blocks.iter_mut().zip(row.chunks_mut(LANES)) {
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
        (0..3).map(|k| weights[k] * coefficients[mirrored(middle + k as isize - 1, coefficients.len())]).sum()
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
    fn mirror_folds_about_both_ends() {
        let folded: Vec<usize> = (-3..7).map(|i| mirrored(i, 4)).collect();
        assert_eq!(folded, [3, 2, 1, 0, 1, 2, 3, 2, 1, 0]);
        assert_eq!(mirrored(5, 1), 0);
    }

    #[test]
    fn image_of_rows_and_columns() {
        let (rows, columns) = (5, 11);
        let mut pixels: Vec<f32> = (0..rows * columns).map(|i| ((i * 29) % 17) as f32).collect();
        let samples = pixels.clone();
        prefilter_image(&mut pixels, columns);
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
}
