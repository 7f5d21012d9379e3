//! Detection and repair of hot pixels.

use crate::error::{Result, contiguous, require, same_shape};
use crate::median::{LANES, MedianNetwork, nan_median};
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
    let mut result = image.to_owned();
    let columns = shape.1;
    if pixels.is_empty() {
        return Ok(result);
    }
    let distance = smoothing_distance(pixels, columns);
    let scale = local_scale(&distance, columns);
    let floor = nan_median(&mut scale.clone()) / 2.0;
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
    distance.par_chunks_mut(columns).enumerate().for_each_init(
        || (vec![0.0f32; columns + 8], vec![0.0f64; columns + 4]),
        |(around, medians), (row, out)| {
            let first = row * columns;
            for (k, value) in around.iter_mut().enumerate() {
                // Four samples before the row and four after it, around the ends of the flattened image.
                *value = pixels[(first + k + size * 4 - 4) % size];
            }
            for (middle, five) in medians.iter_mut().zip(around.windows(5)) {
                *middle = median_of_five([five[0], five[1], five[2], five[3], five[4]]);
            }
            for ((out, five), &value) in out.iter_mut().zip(medians.windows(5)).zip(&pixels[first..]) {
                let mean = (five[0] + five[1] + five[2] + five[3] + five[4]) / 5.0;
                *out = (f64::from(value) - mean).abs() as f32;
            }
        },
    );
    distance
}

fn median_of_five(mut five: [f32; 5]) -> f64 {
    if five.iter().any(|v| v.is_nan()) {
        return nan_median(&mut five);
    }
    let [a, b, c, d, e] = five;
    let (a, b) = ordered(a, b);
    let (c, d) = ordered(c, d);
    // The least and the greatest of four can't be the middle of five; three values are left.
    let (_, low) = ordered(a, c);
    let (high, _) = ordered(b, d);
    let (low, high) = ordered(low, high);
    let (_, clipped) = ordered(low, e);
    let (middle, _) = ordered(clipped, high);
    f64::from(middle)
}

#[inline]
fn ordered(a: f32, b: f32) -> (f32, f32) {
    if a < b { (a, b) } else { (b, a) }
}

/// nan-median of the distances in the 3 x 3 neighbourhood, wrapping in both axes.
fn local_scale(distance: &[f32], columns: usize) -> Vec<f32> {
    let rows = distance.len() / columns;
    let network = MedianNetwork::new(9);
    let mut scale = vec![0.0f32; distance.len()];
    scale.par_chunks_mut(columns).enumerate().for_each(|(row, out)| {
        let lines = around(row, rows).map(|r| &distance[r * columns..][..columns]);
        let single = |column: usize| {
            let places = around(column, columns);
            let mut nine: [f32; 9] = std::array::from_fn(|k| lines[k / 3][places[k % 3]]);
            nan_median(&mut nine) as f32
        };
        let mut column = 0;
        while column < columns {
            // Away from the wrapping ends, lanes of neighbouring columns go through the network together.
            if column > 0 && column + LANES < columns {
                // The last two are room for the network.
                let mut nine = [[0.0; LANES]; 11];
                for (k, lanes) in nine[..9].iter_mut().enumerate() {
                    *lanes = lanes_from(&lines[k / 3][column + k % 3 - 1..]);
                }
                if nine[..9].iter().flatten().fold(true, |whole, v| whole & !v.is_nan()) {
                    let medians = network.medians(&mut nine).map(|median| median as f32);
                    out[column..column + LANES].copy_from_slice(&medians);
                    column += LANES;
                    continue;
                }
            }
            out[column] = single(column);
            column += 1;
        }
    });
    scale
}

/// The first values of a line.
#[inline]
fn lanes_from(line: &[f32]) -> [f32; LANES] {
    let mut lanes = [0.0; LANES];
    lanes.copy_from_slice(&line[..LANES]);
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
    (0..pixels.len())
        .into_par_iter()
        .map(|i| {
            let local = f64::from(scale[i]);
            let limit = threshold * if local < floor { floor } else { local };
            let hot = f64::from(distance[i]) > limit;
            u8::from(!hot && bad[i] == 0 && pixels[i].is_finite())
        })
        .collect()
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
    fn median_of_five_agrees_with_sorting_every_permutation() {
        let mut seen = 0;
        for code in 0..3125u32 {
            let five: [f32; 5] = std::array::from_fn(|k| (code / 5u32.pow(k as u32) % 5) as f32);
            let mut sorted = five;
            sorted.sort_by(f32::total_cmp);
            assert_eq!(median_of_five(five), f64::from(sorted[2]));
            seen += 1;
        }
        assert_eq!(seen, 3125);
    }

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
