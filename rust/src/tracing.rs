//! What traces of orders are measured on: the image in blocks of columns, and each order straightened along its trace.

use crate::error::{Result, contiguous, require};
use crate::median::nan_median;
use ndarray::{Array2, Array3, ArrayView2};
use rayon::prelude::*;

/// Columns that a block may have.
const WIDEST: usize = 64;
/// Standard deviation of normal noise over the median distance of two of its values: 1.4826 / sqrt(2).
const PER_DISTANCE: f64 = 1.048_358_4;

/// Medians of blocks of columns, and the noise of a pixel there; rows by blocks.
#[derive(Debug, Clone)]
pub struct ColumnBlocks {
    /// Median of each row's pixels in the block; NaN where fewer than half have a value.
    pub medians: Array2<f32>,
    /// Noise of one pixel, from the median distance of neighbouring columns; NaN as above.
    pub noise: Array2<f32>,
}

/// Number of blocks of `width` columns; the last may be narrower.
fn block_count(columns: usize, width: usize) -> usize {
    columns.div_ceil(width)
}

fn check_width(width: usize) -> Result<()> {
    require((2..=WIDEST).contains(&width), "width", width as f64, "from 2 to 64")
}

/// Median of each row over blocks of `width` columns: single bad columns and cosmic rays do not reach it.
pub fn column_blocks(image: ArrayView2<'_, f32>, width: usize) -> Result<ColumnBlocks> {
    check_width(width)?;
    let pixels = contiguous("image", &image)?;
    let (rows, columns) = image.dim();
    let count = block_count(columns, width);
    let mut medians = Array2::from_elem((rows, count), f32::NAN);
    let mut noise = Array2::from_elem((rows, count), f32::NAN);
    if let (Some(medians), Some(noise)) = (medians.as_slice_mut(), noise.as_slice_mut()) {
        let lines = medians.par_chunks_mut(count.max(1)).zip(noise.par_chunks_mut(count.max(1)));
        lines.zip(pixels.par_chunks(columns.max(1))).for_each(|((medians, noise), row)| {
            for ((block, median), noise) in row.chunks(width).zip(medians).zip(noise) {
                (*median, *noise) = block_statistics(block);
            }
        });
    }
    Ok(ColumnBlocks { medians, noise })
}

fn block_statistics(block: &[f32]) -> (f32, f32) {
    let (mut values, mut distances) = ([f32::NAN; WIDEST], [f32::NAN; WIDEST]);
    let (mut count, mut pairs) = (0, 0);
    for (i, &value) in block.iter().enumerate() {
        if !value.is_finite() {
            continue;
        }
        values[count] = value;
        count += 1;
        if i > 0 && block[i - 1].is_finite() {
            distances[pairs] = (value - block[i - 1]).abs();
            pairs += 1;
        }
    }
    if 2 * count < block.len() || pairs == 0 {
        return (f32::NAN, f32::NAN);
    }
    let median = nan_median(&mut values[..count]) as f32;
    (median, (nan_median(&mut distances[..pairs]) * PER_DISTANCE) as f32)
}

/// Profiles of orders straightened along their traces: for every trace and block of columns, at the offsets -half … half
/// from the trace, the median over the block's columns of the image between its rows (linear).
///
/// `traces` are traces by columns [rows]. NaN where fewer than half the columns have a value there.
pub fn straight_profiles(
    image: ArrayView2<'_, f32>,
    traces: ArrayView2<'_, f64>,
    half: usize,
    width: usize,
) -> Result<Array3<f32>> {
    check_width(width)?;
    let pixels = contiguous("image", &image)?;
    let lines = contiguous("traces", &traces)?;
    let (rows, columns) = image.dim();
    if traces.dim().1 != columns {
        let expected = vec![traces.dim().0, columns];
        return Err(crate::error::KernelError::Shape { name: "traces", found: traces.shape().to_vec(), expected });
    }
    let (count, samples) = (block_count(columns, width), 2 * half + 1);
    let mut profiles = Array3::from_elem((traces.dim().0, count, samples), f32::NAN);
    if let Some(out) = profiles.as_slice_mut() {
        // One piece of work is one block of one order.
        out.par_chunks_mut(samples).enumerate().for_each(|(i, profile)| {
            let (order, block) = (i / count, i % count);
            let (first, last) = (block * width, (block * width + width).min(columns));
            let trace = &lines[order * columns + first..order * columns + last];
            straight_profile(pixels, (rows, columns), trace, first, profile);
        });
    }
    Ok(profiles)
}

fn straight_profile(
    pixels: &[f32],
    (rows, columns): (usize, usize),
    trace: &[f64],
    first: usize,
    profile: &mut [f32],
) {
    let samples = profile.len();
    let half = (samples / 2) as f64;
    // Offsets by columns of the block: each column is read once from top to bottom.
    let mut between = vec![f32::NAN; samples * trace.len()];
    for (i, &centre) in trace.iter().enumerate() {
        let start = centre - half;
        if !start.is_finite() || start.abs() > 1e9 {
            continue;
        }
        let (row, share) = (start.floor() as i64, (start - start.floor()) as f32);
        for k in 0..samples {
            let lower = row + k as i64;
            if lower < 0 || lower >= rows as i64 {
                continue;
            }
            let below = pixels[lower as usize * columns + first + i];
            let value = if share == 0.0 {
                below
            } else if lower + 1 < rows as i64 {
                below + share * (pixels[(lower as usize + 1) * columns + first + i] - below)
            } else {
                f32::NAN
            };
            between[k * trace.len() + i] = if value.is_finite() { value } else { f32::NAN };
        }
    }
    for (k, out) in profile.iter_mut().enumerate() {
        let values = &mut between[k * trace.len()..(k + 1) * trace.len()];
        let finite = values.iter().filter(|value| !value.is_nan()).count();
        if finite > 0 && 2 * finite >= values.len() {
            *out = nan_median(values) as f32;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn blocks_leave_outliers_out() {
        let image = array![[1.0f32, 2.0, 900.0, 2.0, f32::NAN, f32::NAN, f32::NAN, 1.0]];
        let found = column_blocks(image.view(), 4).unwrap();
        assert_eq!(found.medians[[0, 0]], 2.0);
        assert!(found.medians[[0, 1]].is_nan() && found.noise[[0, 1]].is_nan());
        assert!(column_blocks(image.view(), 1).is_err());
    }

    #[test]
    fn profiles_follow_their_traces() {
        let image = Array2::from_shape_fn((20, 8), |(y, x)| (y as f32) - 0.25 * (x as f32));
        let traces = Array2::from_shape_fn((1, 8), |(_, x)| 9.0 + 0.25 * (x as f64));
        let found = straight_profiles(image.view(), traces.view(), 3, 4).unwrap();
        for k in 0..7 {
            assert!((found[[0, 0, k]] - (k as f32 + 6.0)).abs() < 1e-5);
        }
        let far = Array2::from_elem((1, 8), 1e12);
        assert!(straight_profiles(image.view(), far.view(), 3, 4).unwrap().iter().all(|v| v.is_nan()));
    }
}
