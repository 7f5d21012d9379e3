//! What traces of orders are measured on: the image in blocks of columns, and each order straightened along its trace.

use crate::error::{KernelError, Result, contiguous, require};
use crate::median::{LANES, MedianNetwork};
use crate::simd::{Vectorised, widest};
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

fn check_width(width: usize) -> Result<()> {
    require((2..=WIDEST).contains(&width), "width", width as f64, "from 2 to 64")
}

/// Median of each row over blocks of `width` columns, the last of which may be narrower: single bad columns and cosmic
/// rays do not reach it.
pub fn column_blocks(image: ArrayView2<'_, f32>, width: usize) -> Result<ColumnBlocks> {
    check_width(width)?;
    let pixels = contiguous("image", &image)?;
    let (rows, columns) = image.dim();
    let count = columns.div_ceil(width);
    let networks = (MedianNetwork::new(width), MedianNetwork::new(width - 1));
    let mut medians = Array2::from_elem((rows, count), f32::NAN);
    let mut noise = Array2::from_elem((rows, count), f32::NAN);
    if let (Some(medians), Some(noise)) = (medians.as_slice_mut(), noise.as_slice_mut()) {
        let lines = medians.par_chunks_mut(count.max(1)).zip(noise.par_chunks_mut(count.max(1)));
        lines.zip(pixels.par_chunks(columns.max(1))).for_each(|((medians, noise), row)| {
            widest(BlockRow { row, width, networks: &networks, medians, noise });
        });
    }
    Ok(ColumnBlocks { medians, noise })
}

/// One row of [`column_blocks`].
struct BlockRow<'a> {
    row: &'a [f32],
    width: usize,
    networks: &'a (MedianNetwork, MedianNetwork),
    medians: &'a mut [f32],
    noise: &'a mut [f32],
}

impl Vectorised for BlockRow<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let mut values = vec![[0.0f32; LANES]; self.networks.0.slots()];
        let mut distances = vec![[0.0f32; LANES]; self.networks.1.slots()];
        let outs = self.medians.chunks_mut(LANES).zip(self.noise.chunks_mut(LANES));
        for (group, (medians, noise)) in outs.enumerate() {
            let mut known = [0usize; LANES];
            let mut sizes = [0usize; LANES];
            for j in 0..self.width {
                for lane in 0..LANES {
                    let place = (group * LANES + lane) * self.width + j;
                    let value = self.row.get(place).copied().unwrap_or(f32::NAN);
                    values[j][lane] = if value.is_finite() { value } else { f32::NAN };
                    known[lane] += usize::from(value.is_finite());
                    sizes[lane] += usize::from(place < self.row.len());
                }
            }
            for j in 1..self.width {
                for lane in 0..LANES {
                    distances[j - 1][lane] = (values[j][lane] - values[j - 1][lane]).abs();
                }
            }
            let found = self.networks.0.medians(&mut values);
            let spread = self.networks.1.medians(&mut distances);
            for (lane, (median, noise)) in medians.iter_mut().zip(noise).enumerate() {
                if known[lane] > 0 && 2 * known[lane] >= sizes[lane] && !spread[lane].is_nan() {
                    *median = found[lane] as f32;
                    *noise = (spread[lane] * PER_DISTANCE) as f32;
                }
            }
        }
    }
}

/// Profiles of orders straightened along their traces: for every trace and block of columns, at the offsets -half …
/// half from the trace, the median over the block's columns of the image between its rows (linear).
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
    let shape = image.dim();
    if traces.dim().1 != shape.1 {
        let expected = vec![traces.dim().0, shape.1];
        return Err(KernelError::Shape { name: "traces", found: traces.shape().to_vec(), expected });
    }
    let (count, samples) = (shape.1.div_ceil(width), 2 * half + 1);
    let last = shape.1 - count.saturating_sub(1) * width;
    let networks = (MedianNetwork::new(width), MedianNetwork::new(last));
    let mut profiles = Array3::from_elem((traces.dim().0, count, samples), f32::NAN);
    if let Some(out) = profiles.as_slice_mut() {
        // One piece of work is all blocks of one order.
        out.par_chunks_mut((samples * count).max(1)).zip(lines.par_chunks(shape.1.max(1))).for_each(|(out, trace)| {
            for (block, profile) in out.chunks_mut(samples).enumerate() {
                let first = block * width;
                let network = if block + 1 == count { &networks.1 } else { &networks.0 };
                let trace = &trace[first..(first + width).min(shape.1)];
                widest(BlockProfile { pixels, shape, trace, first, network, profile });
            }
        });
    }
    Ok(profiles)
}

/// One block of one order of [`straight_profiles`].
struct BlockProfile<'a> {
    pixels: &'a [f32],
    shape: (usize, usize),
    trace: &'a [f64],
    first: usize,
    network: &'a MedianNetwork,
    profile: &'a mut [f32],
}

impl Vectorised for BlockProfile<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let (rows, columns) = self.shape;
        let half = (self.profile.len() / 2) as f64;
        let mut slots = vec![[0.0f32; LANES]; self.network.slots()];
        for (group, out) in self.profile.chunks_mut(LANES).enumerate() {
            let mut known = [0usize; LANES];
            for (i, &centre) in self.trace.iter().enumerate() {
                let mut values = [f32::NAN; LANES];
                let start = centre - half + (group * LANES) as f64;
                if start.is_finite() && start.abs() < 1e9 {
                    let (row, share) = (start.floor() as i64, (start - start.floor()) as f32);
                    let column = self.first + i;
                    let mut below = pixel(self.pixels, rows, columns, row, column);
                    for (lane, value) in values.iter_mut().enumerate() {
                        let above = pixel(self.pixels, rows, columns, row + lane as i64 + 1, column);
                        *value = if share == 0.0 { below } else { below + share * (above - below) };
                        below = above;
                    }
                }
                for lane in 0..LANES {
                    known[lane] += usize::from(!values[lane].is_nan());
                }
                slots[i] = values;
            }
            let medians = self.network.medians(&mut slots);
            for (lane, out) in out.iter_mut().enumerate() {
                if known[lane] > 0 && 2 * known[lane] >= self.trace.len() {
                    *out = medians[lane] as f32;
                }
            }
        }
    }
}

/// A pixel, NaN where it has no finite value or lies off the image.
#[inline(always)]
fn pixel(pixels: &[f32], rows: usize, columns: usize, row: i64, column: usize) -> f32 {
    if row < 0 || row >= rows as i64 {
        return f32::NAN;
    }
    let value = pixels[row as usize * columns + column];
    if value.is_finite() { value } else { f32::NAN }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn blocks_leave_outliers_out() {
        let image = array![[1.0f32, 2.0, 900.0, 2.0, f32::NAN, f32::NAN, f32::NAN, 1.0, 5.0]];
        let found = column_blocks(image.view(), 4).unwrap();
        assert_eq!(found.medians[[0, 0]], 2.0);
        assert!(found.medians[[0, 1]].is_nan() && found.noise[[0, 1]].is_nan());
        // A single column has no neighbour to tell its noise by.
        assert!(found.medians[[0, 2]].is_nan());
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
