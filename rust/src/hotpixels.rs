//! Detection and repair of hot pixels.

use crate::error::{Result, contiguous, require, same_shape};
use crate::median::{LANES, MedianNetwork};
use crate::selection::nan_median_of;
use crate::simd::{Vectorised, widest};
use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

/// Replace bad pixels that have enough good neighbours.
///
/// A pixel is bad where it lies more than `threshold` local scales off the smoothed image, where `bad` is not 0, or where
/// it is not finite. The image is smoothed along its flattened, wrapping rows; neighbours wrap in both axes. With 8 good
/// neighbours a bad pixel becomes twice the mean of the edge neighbours minus the mean of the corner ones, with 6 or 7
/// the mean of the good ones; else it stays as it is.
pub fn repair_hot_pixels(image: ArrayView2<'_, f32>, bad: ArrayView2<'_, u8>, threshold: f64) -> Result<Array2<f32>> {
    require(threshold > 0.0, "threshold", threshold, "above 0")?;
    let shape = image.dim();
    same_shape("bad", &bad, shape)?;
    let (pixels, bad) = (contiguous("image", &image)?, contiguous("bad", &bad)?);
    let mut result = crate::parallel::map(image, |pixel| pixel);
    let columns = shape.1;
    if pixels.is_empty() {
        return Ok(result);
    }
    let distance = smoothing_distance(pixels, columns);
    let scale = local_scale(&distance, columns);
    let floor = nan_median_of(&scale) / 2.0;
    let good = good_pixels(pixels, bad, &distance, &scale, floor, threshold);
    if let Some(out) = result.as_slice_mut() {
        out.par_chunks_mut(columns).enumerate().for_each(|(row, out)| {
            let start = row * columns;
            for (column, out) in out.iter_mut().enumerate() {
                if good[start + column] == 0
                    && let Some(value) = repaired(pixels, &good, columns, row, column)
                {
                    *out = value;
                }
            }
        });
    }
    Ok(result)
}

/// Distance of every pixel from the 5-point mean of the 5-point nan-median along the flattened image.
fn smoothing_distance(pixels: &[f32], columns: usize) -> Vec<f32> {
    let size = pixels.len();
    let mut distance = vec![0.0f32; size];
    let network = &MedianNetwork::new(5);
    distance.par_chunks_mut(columns).enumerate().for_each_init(
        || (vec![0.0f32; columns + 8], vec![0.0f64; columns + 4]),
        |(around, medians), (row, out)| {
            let first = row * columns;
            if first >= 4 && first + columns + 4 <= size {
                around.copy_from_slice(&pixels[first - 4..first + columns + 4]);
            } else {
                for (k, value) in around.iter_mut().enumerate() {
                    // Four samples before the row and four after it, around the ends of the flattened image.
                    *value = pixels[(first + k + size * 4 - 4) % size];
                }
            }
            widest(SmoothingDistance { around, network, medians, out });
        },
    );
    distance
}

/// A row with four samples more on both sides, room for its running medians, and the distances from their mean.
struct SmoothingDistance<'a> {
    around: &'a [f32],
    network: &'a MedianNetwork,
    medians: &'a mut [f64],
    out: &'a mut [f32],
}

impl Vectorised for SmoothingDistance<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { around, network, medians, out } = self;
        // The last two are room for the network.
        let mut five = [[0.0f32; LANES]; 7];
        for (block, medians) in medians.chunks_mut(LANES).enumerate() {
            let samples = &around[block * LANES..];
            for k in 0..5 {
                five[k] = lanes_from(&samples[k..]);
            }
            let found = network.medians(&mut five);
            medians.copy_from_slice(&found[..medians.len()]);
        }
        let values = &around[4..];
        for x in 0..out.len() {
            let five = &medians[x..x + 5];
            let mean = (five[0] + five[1] + five[2] + five[3] + five[4]) / 5.0;
            out[x] = (f64::from(values[x]) - mean).abs() as f32;
        }
    }
}

/// nan-median of the distances in the 3 x 3 neighbourhood, wrapping in both axes.
fn local_scale(distance: &[f32], columns: usize) -> Vec<f32> {
    let rows = distance.len() / columns;
    let network = &MedianNetwork::new(9);
    let mut scale = vec![0.0f32; distance.len()];
    scale.par_chunks_mut(columns).enumerate().for_each(|(row, out)| {
        let lines = around(row, rows).map(|r| &distance[r * columns..][..columns]);
        widest(LocalScale { lines, network, out });
    });
    scale
}

/// Three neighbouring rows of distances, and the scale of the middle one.
struct LocalScale<'a> {
    lines: [&'a [f32]; 3],
    network: &'a MedianNetwork,
    out: &'a mut [f32],
}

impl Vectorised for LocalScale<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { lines, network, out } = self;
        let columns = out.len();
        // The last two are room for the network.
        let mut nine = [[0.0f32; LANES]; 11];
        for first in (0..columns).step_by(LANES) {
            let count = LANES.min(columns - first);
            // Away from the wrapping ends, neighbouring columns lie side by side.
            if first > 0 && first + LANES < columns {
                for k in 0..9 {
                    nine[k] = lanes_from(&lines[k / 3][first + k % 3 - 1..]);
                }
            } else {
                for lane in 0..count {
                    let places = around(first + lane, columns);
                    for k in 0..9 {
                        nine[k][lane] = lines[k / 3][places[k % 3]];
                    }
                }
            }
            let medians = network.medians(&mut nine);
            for (out, median) in out[first..first + count].iter_mut().zip(medians) {
                *out = median as f32;
            }
        }
    }
}

/// The first values of a line; NaN beyond its end.
#[inline(always)]
fn lanes_from(line: &[f32]) -> [f32; LANES] {
    let mut lanes = [f32::NAN; LANES];
    let count = LANES.min(line.len());
    lanes[..count].copy_from_slice(&line[..count]);
    lanes
}

/// The index before, the index, and the index after, wrapping.
#[inline]
fn around(index: usize, size: usize) -> [usize; 3] {
    let before = if index == 0 { size - 1 } else { index - 1 };
    let after = if index + 1 == size { 0 } else { index + 1 };
    [before, index, after]
}

/// 1 where a pixel is good, 0 where it is bad.
fn good_pixels(pixels: &[f32], bad: &[u8], distance: &[f32], scale: &[f32], floor: f64, threshold: f64) -> Vec<u8> {
    let mut good = vec![0; pixels.len()];
    good.par_chunks_mut(PIECE).enumerate().for_each(|(piece, good)| {
        let range = piece * PIECE..piece * PIECE + good.len();
        let (pixels, bad) = (&pixels[range.clone()], &bad[range.clone()]);
        widest(GoodPixels {
            pixels,
            bad,
            distance: &distance[range.clone()],
            scale: &scale[range],
            floor,
            threshold,
            good,
        });
    });
    good
}

/// Pixels that are judged together.
const PIECE: usize = 1 << 14;

struct GoodPixels<'a> {
    pixels: &'a [f32],
    bad: &'a [u8],
    distance: &'a [f32],
    scale: &'a [f32],
    floor: f64,
    threshold: f64,
    good: &'a mut [u8],
}

impl Vectorised for GoodPixels<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for (i, good) in self.good.iter_mut().enumerate() {
            let local = f64::from(self.scale[i]);
            let limit = self.threshold * if local < self.floor { self.floor } else { local };
            let hot = f64::from(self.distance[i]) > limit;
            *good = u8::from(!hot & (self.bad[i] == 0) & self.pixels[i].is_finite());
        }
    }
}

/// What a bad pixel's good neighbours make of it, if there are enough.
fn repaired(pixels: &[f32], good: &[u8], columns: usize, row: usize, column: usize) -> Option<f32> {
    let rows = pixels.len() / columns;
    let (ys, xs) = (around(row, rows), around(column, columns));
    let (mut edges, mut corners, mut count) = (0.0, 0.0, 0);
    for (j, y) in ys.iter().enumerate() {
        for (i, x) in xs.iter().enumerate() {
            let place = y * columns + x;
            if (j, i) == (1, 1) || good[place] == 0 {
                continue;
            }
            let side = if j == 1 || i == 1 { &mut edges } else { &mut corners };
            *side += f64::from(pixels[place]);
            count += 1;
        }
    }
    match count {
        8 => Some((2.0 * edges / 4.0 - corners / 4.0) as f32),
        6 | 7 => Some(((edges + corners) / f64::from(count)) as f32),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_hot_pixel_on_a_slope_is_repaired_from_its_neighbours() {
        let mut image = Array2::from_shape_fn((8, 12), |(y, x)| (y as f32) * 0.5 + ((x * 7 + y * 3) % 5) as f32 * 0.1);
        image[[4, 6]] = 1.0e4;
        let bad = Array2::zeros((8, 12));
        let found = repair_hot_pixels(image.view(), bad.view(), 10.0).unwrap();
        assert!(found[[4, 6]] < 5.0);
        assert_eq!(found[[1, 3]], image[[1, 3]]);
        assert!(repair_hot_pixels(image.view(), bad.view(), 0.0).is_err());
    }

    #[test]
    fn too_few_good_neighbours_leave_it_as_it_is() {
        let image = Array2::from_shape_fn((6, 6), |(y, x)| ((y * 5 + x * 3) % 7) as f32);
        let bad = Array2::from_shape_fn((6, 6), |(y, x)| u8::from(y < 3 && x < 3));
        let found = repair_hot_pixels(image.view(), bad.view(), 1.0e6).unwrap();
        assert_eq!(found[[1, 1]], image[[1, 1]]);
        assert_ne!(found[[2, 2]], f32::NAN);
    }
}
