//! Local scattered light: a smoothed image.

use crate::error::{Result, require};
use crate::median::nan_median;
use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

/// Size of the Gaussian that stands for the scattered light.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScatterKernel {
    /// Width along the rows' direction, in pixels.
    pub y: f64,
    /// Width along the columns' direction, in pixels.
    pub x: f64,
    /// Range in widths.
    pub sigma: f64,
}

/// Fill NaN: on the edge by 0, elsewhere by the nan-median of the 3 x 3 neighbourhood.
///
/// The passes go on until none is left, each reading the image as it was at its start. A gap between infinities of both
/// signs has no median and stays.
pub fn fill_nan(image: ArrayView2<'_, f32>) -> Result<Array2<f32>> {
    let (ny, nx) = image.dim();
    let mut filled = crate::parallel::map(image, |pixel| pixel);
    let mut gaps: Vec<(usize, usize)> = filled
        .outer_iter_mut()
        .into_par_iter()
        .enumerate()
        .flat_map_iter(|(y, mut row)| {
            let mut gaps = Vec::new();
            if row.iter().fold(false, |any, v| any | v.is_nan()) {
                for (x, value) in row.iter_mut().enumerate().filter(|(_, v)| v.is_nan()) {
                    if y == 0 || x == 0 || y + 1 == ny || x + 1 == nx {
                        *value = 0.0;
                    } else {
                        gaps.push((y, x));
                    }
                }
            }
            gaps
        })
        .collect();
    while !gaps.is_empty() {
        let values: Vec<f32> = gaps
            .par_iter()
            .map(|&(y, x)| {
                let mut nine: [f32; 9] = std::array::from_fn(|k| filled[[y + k / 3 - 1, x + k % 3 - 1]]);
                nan_median(&mut nine) as f32
            })
            .collect();
        for (&place, &value) in gaps.iter().zip(&values) {
            filled[place] = value;
        }
        let before = gaps.len();
        gaps.retain(|&place| filled[place].is_nan());
        if gaps.len() == before {
            break;
        }
    }
    Ok(filled)
}

/// Local scattered light: the block-averaged image convolved with a Gaussian, resized linearly, over an amplitude.
pub struct ScatteredLight {
    blocks: Array2<f64>,
    factor: f64,
    rows: Vec<LinearTap>,
    columns: Vec<LinearTap>,
}

/// Lower index and weight of the upper sample; none where rounding puts a position outside.
type LinearTap = Option<(usize, f64)>;

impl ScatteredLight {
    /// Measure the scattered light of an image; NaN is filled.
    pub fn new(image: ArrayView2<'_, f32>, amplitude: f64, kernel: ScatterKernel) -> Result<Self> {
        require(amplitude > 0.0, "scattered amplitude", amplitude, "above 0")?;
        require(kernel.y >= 1.0, "kernel_y", kernel.y, "at least 1")?;
        require(kernel.x >= 1.0, "kernel_x", kernel.x, "at least 1")?;
        require(kernel.sigma > 0.0, "kernel_sigma", kernel.sigma, "above 0")?;
        let (ny, nx) = image.dim();
        require(ny > 0 && nx > 0, "image rows and columns", (ny * nx) as f64, "above 0")?;
        let (dy, dx) = (largest_divisor(ny, kernel.y), largest_divisor(nx, kernel.x));
        let blocks = block_means(fill_nan(image)?.view(), dy, dx);
        let blocks = convolve(&blocks, &gaussian(dy, kernel.y, kernel.sigma), &gaussian(dx, kernel.x, kernel.sigma));
        let (rows, columns) = (linear_taps(blocks.nrows(), ny), linear_taps(blocks.ncols(), nx));
        Ok(Self { blocks, factor: 1.0 / amplitude, rows, columns })
    }

    /// The whole map.
    pub fn map(&self) -> Array2<f32> {
        let mut map = Array2::zeros((self.rows.len(), self.columns.len()));
        if let Some(pixels) = map.as_slice_mut() {
            pixels.par_chunks_mut(self.columns.len()).enumerate().for_each(|(y, out)| self.row(y, out));
        }
        map
    }

    /// One row of the map, resized as scipy.ndimage.zoom (order 1, mode constant) does it.
    pub fn row(&self, y: usize, out: &mut [f32]) {
        out.fill(0.0);
        let Some((y, wy)) = self.rows[y] else { return };
        let (low, high) = (self.blocks.row(y), self.blocks.row((y + 1).min(self.blocks.nrows() - 1)));
        let last = self.blocks.ncols() - 1;
        if last + 1 == self.columns.len() {
            // Every column is its own: nothing to interpolate along x.
            for ((out, low), high) in out.iter_mut().zip(low).zip(high) {
                *out = (self.factor * ((1.0 - wy) * low + wy * high)) as f32;
            }
            return;
        }
        for (out, column) in out.iter_mut().zip(&self.columns) {
            let Some((x, wx)) = *column else { continue };
            let right = (x + 1).min(last);
            let line = |row: &ndarray::ArrayView1<'_, f64>| (1.0 - wx) * row[x] + wx * row[right];
            *out = (self.factor * ((1.0 - wy) * line(&low) + wy * line(&high))) as f32;
        }
    }
}

/// Map of the scattered light; see [`ScatteredLight`].
pub fn scattered_light(image: ArrayView2<'_, f32>, amplitude: f64, kernel: ScatterKernel) -> Result<Array2<f32>> {
    Ok(ScatteredLight::new(image, amplitude, kernel)?.map())
}

fn largest_divisor(size: usize, limit: f64) -> usize {
    (1..=(limit as usize).min(size)).rev().find(|d| size.is_multiple_of(*d)).unwrap_or(1)
}

/// One axis of the normalised Gaussian, on the block-averaged grid.
fn gaussian(block: usize, width: f64, sigma: f64) -> Vec<f64> {
    let count = (2.0 * width * sigma / block as f64 + 1.0) as usize;
    let centre = (count as f64 - 1.0) / 2.0;
    let values: Vec<f64> =
        (0..count).map(|k| (-0.5 * ((k as f64 - centre) * block as f64 / width).powi(2)).exp()).collect();
    let total: f64 = values.iter().sum();
    values.into_iter().map(|v| v / total).collect()
}

fn block_means(image: ArrayView2<'_, f32>, dy: usize, dx: usize) -> Array2<f64> {
    let (ny, nx) = image.dim();
    let mut means = Array2::zeros((ny / dy, nx / dx));
    means.outer_iter_mut().into_par_iter().enumerate().for_each(|(row, mut means)| {
        for y in row * dy..(row + 1) * dy {
            let line = image.row(y);
            if dx == 1 {
                means.zip_mut_with(&line, |mean, &value| *mean += f64::from(value));
                continue;
            }
            for (column, mean) in means.iter_mut().enumerate() {
                *mean += (column * dx..(column + 1) * dx).map(|x| f64::from(line[x])).sum::<f64>();
            }
        }
        means.mapv_inplace(|sum| sum / (dy * dx) as f64);
    });
    means
}

/// 'same' convolution with a separable kernel, zero outside.
fn convolve(image: &Array2<f64>, along_y: &[f64], along_x: &[f64]) -> Array2<f64> {
    let (ny, nx) = image.dim();
    let mut rows = Array2::zeros((ny, nx));
    rows.outer_iter_mut().into_par_iter().zip(image.outer_iter()).for_each(|(mut out, line)| {
        for (x, out) in out.iter_mut().enumerate() {
            *out = taps(along_x, x, nx).map(|(k, source)| along_x[k] * line[source]).sum();
        }
    });
    let mut result = Array2::zeros((ny, nx));
    result.outer_iter_mut().into_par_iter().enumerate().for_each(|(y, mut out)| {
        for (k, source) in taps(along_y, y, ny) {
            out.scaled_add(along_y[k], &rows.row(source));
        }
    });
    result
}

/// Kernel indices and the samples they meet at an output index.
fn taps(kernel: &[f64], index: usize, size: usize) -> impl Iterator<Item = (usize, usize)> {
    let end = index + (kernel.len() - 1) / 2;
    (0..kernel.len()).filter_map(move |k| end.checked_sub(k).filter(|&s| s < size).map(|s| (k, s)))
}

/// Lower index and weight of the upper sample for each output index; none where rounding puts it outside.
fn linear_taps(from: usize, to: usize) -> Vec<LinearTap> {
    let step = if to > 1 { (from as f64 - 1.0) / (to as f64 - 1.0) } else { 1.0 };
    (0..to)
        .map(|k| {
            let position = step * k as f64;
            let below = position.floor();
            (position <= from as f64 - 1.0).then_some((below as usize, position - below))
        })
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn nan_is_filled_from_outside_in() {
        let mut image = Array2::from_elem((6, 6), 3.0f32);
        image.slice_mut(ndarray::s![1..5, 1..5]).fill(f32::NAN);
        image[[0, 0]] = f32::NAN;
        let filled = fill_nan(image.view()).unwrap();
        assert_eq!(filled[[0, 0]], 0.0);
        assert_eq!(filled[[2, 2]], 3.0);
    }

    #[test]
    fn scattered_light_of_a_constant_is_the_constant_inside() {
        let image = Array2::from_elem((180, 40), 94.0f32);
        let kernel = ScatterKernel { y: 9.0, x: 1.0, sigma: 3.0 };
        let found = scattered_light(image.view(), 47.0, kernel).unwrap();
        assert!((found[[90, 20]] - 2.0).abs() < 1e-5);
        assert!(found[[0, 0]] < 1.5);
        assert!(scattered_light(image.view(), 0.0, kernel).is_err());
    }
}
