//! Local scattered light: a smoothed image.

use crate::error::{KernelError, Result, contiguous, require};
use crate::gaps::Gaps;
use crate::simd::{Vectorised, widest};
use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;
use std::ops::Range;

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

/// What the scattered light of an instrument is like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scatter {
    /// What the smoothed image is divided by.
    pub amplitude: f64,
    /// What it is smoothed with.
    pub kernel: ScatterKernel,
}

/// Fill NaN: on the edge by 0, elsewhere by the nan-median of the 3 x 3 neighbourhood.
///
/// The passes go on until none is left, each reading the image as it was at its start. A gap between infinities of both
/// signs has no median and stays.
pub fn fill_nan(image: ArrayView2<'_, f32>) -> Result<Array2<f32>> {
    let (pixels, columns) = (contiguous("image", &image)?, image.ncols().max(1));
    let gaps = Gaps::filled(pixels, columns);
    let mut filled = Array2::zeros(image.dim());
    if let Some(out) = filled.as_slice_mut() {
        let rows = out.par_chunks_mut(columns).zip(pixels.par_chunks(columns)).enumerate();
        rows.for_each_init(Vec::new, |room, (y, (out, row))| out.copy_from_slice(gaps.row(y, row, room)));
    }
    Ok(filled)
}

/// Local scattered light: the block-averaged image convolved with a Gaussian, resized linearly, over an amplitude.
///
/// Made band by band of rows: no map of the image is kept.
pub struct ScatteredLight<'a> {
    pixels: &'a [f32],
    gaps: Gaps,
    /// Rows and columns of a block.
    block: (usize, usize),
    /// Rows and columns of blocks.
    blocks: (usize, usize),
    along_y: Vec<f64>,
    along_x: Vec<f64>,
    factor: f64,
    rows: Vec<LinearTap>,
    columns: Vec<LinearTap>,
}

/// Lower index and weight of the upper sample; none where rounding puts a position outside.
type LinearTap = Option<(usize, f64)>;

/// Rows of the map that a thread makes one after the other.
const ROWS: usize = 128;

impl<'a> ScatteredLight<'a> {
    /// Measure the scattered light of an image; NaN is filled.
    pub fn new(image: ArrayView2<'a, f32>, amplitude: f64, kernel: ScatterKernel) -> Result<Self> {
        require(amplitude > 0.0, "scattered amplitude", amplitude, "above 0")?;
        require(kernel.y >= 1.0, "kernel_y", kernel.y, "at least 1")?;
        require(kernel.x >= 1.0, "kernel_x", kernel.x, "at least 1")?;
        require(kernel.sigma > 0.0, "kernel_sigma", kernel.sigma, "above 0")?;
        let (ny, nx) = image.dim();
        require(ny > 0 && nx > 0, "image rows and columns", (ny * nx) as f64, "above 0")?;
        let pixels = image.to_slice().ok_or(KernelError::Layout("image"))?;
        let (dy, dx) = (largest_divisor(ny, kernel.y), largest_divisor(nx, kernel.x));
        let blocks = (ny / dy, nx / dx);
        Ok(Self {
            pixels,
            gaps: Gaps::filled(pixels, nx),
            block: (dy, dx),
            blocks,
            along_y: gaussian(dy, kernel.y, kernel.sigma),
            along_x: gaussian(dx, kernel.x, kernel.sigma),
            factor: 1.0 / amplitude,
            rows: linear_taps(blocks.0, ny),
            columns: linear_taps(blocks.1, nx),
        })
    }

    /// The whole map.
    pub fn map(&self) -> Array2<f32> {
        let (ny, nx) = (self.rows.len(), self.columns.len());
        let mut map = Array2::zeros((ny, nx));
        if let Some(pixels) = map.as_slice_mut() {
            pixels.par_chunks_mut(nx * ROWS).enumerate().for_each(|(band, out)| {
                let first = band * ROWS;
                let smooth = self.smooth(first..first + out.len() / nx);
                for (row, out) in out.chunks_mut(nx).enumerate() {
                    smooth.row(first + row, 0, out);
                }
            });
        }
        map
    }

    /// What rows of the map are made of.
    pub(crate) fn smooth(&self, rows: Range<usize>) -> SmoothBlocks<'_> {
        let taps = || self.rows[rows.clone()].iter().flatten();
        let first = taps().map(|tap| tap.0).min().unwrap_or(0);
        let end = taps().map(|tap| tap.0 + 2).max().unwrap_or(0).min(self.blocks.0);
        let columns = self.blocks.1;
        let mut blocks = vec![0.0; end.saturating_sub(first) * columns];
        let (mut means, mut line, mut room) = (vec![0.0; columns], vec![0.0; columns], Vec::new());
        // A kernel's value at k takes the sample (length - 1) / 2 - k further on: what is behind goes with the last
        // ones.
        let ahead = (self.along_y.len() - 1) / 2;
        let behind = self.along_y.len() - 1 - ahead;
        // From the last row on, so that every row's sum runs up the kernel.
        for source in (first.saturating_sub(behind)..(end + ahead).min(self.blocks.0)).rev() {
            self.mean_row(source, &mut means, &mut room);
            line.fill(0.0);
            convolve_row(&means, &self.along_x, &mut line);
            for (row, out) in blocks.chunks_mut(columns).enumerate() {
                let k = (first + row + ahead).checked_sub(source).and_then(|k| self.along_y.get(k));
                if let Some(&weight) = k {
                    widest(AddScaled { out, weight, values: &line });
                }
            }
        }
        SmoothBlocks { light: self, first, blocks }
    }

    /// Means of a row of blocks.
    fn mean_row(&self, row: usize, means: &mut [f64], room: &mut Vec<f32>) {
        let ((dy, dx), nx) = (self.block, self.columns.len());
        means.fill(0.0);
        for y in row * dy..(row + 1) * dy {
            let line = self.gaps.row(y, &self.pixels[y * nx..(y + 1) * nx], room);
            if dx == 1 {
                widest(Add { out: means, values: line });
                continue;
            }
            for (mean, block) in means.iter_mut().zip(line.chunks(dx)) {
                *mean += block.iter().map(|&value| f64::from(value)).sum::<f64>();
            }
        }
        means.iter_mut().for_each(|sum| *sum /= (dy * dx) as f64);
    }
}

/// The smoothed blocks of some rows of a map.
pub(crate) struct SmoothBlocks<'a> {
    light: &'a ScatteredLight<'a>,
    first: usize,
    blocks: Vec<f64>,
}

impl SmoothBlocks<'_> {
    /// The map at columns of a row, as many as `out` has from `first` on.
    ///
    /// Resized as scipy.ndimage.zoom (order 1, mode constant) does it.
    pub(crate) fn row(&self, y: usize, first: usize, out: &mut [f32]) {
        out.fill(0.0);
        let ScatteredLight { factor, blocks: (rows, columns), .. } = *self.light;
        let Some((y, wy)) = self.light.rows[y] else { return };
        let line = |y: usize| &self.blocks[(y - self.first) * columns..][..columns];
        let (low, high) = (line(y), line((y + 1).min(rows - 1)));
        if columns == self.light.columns.len() {
            // Every column is its own: nothing to interpolate along x.
            let span = first..first + out.len();
            widest(Between { low: &low[span.clone()], high: &high[span], weight: wy, factor, out });
            return;
        }
        for (out, column) in out.iter_mut().zip(&self.light.columns[first..]) {
            let Some((x, wx)) = *column else { continue };
            let right = (x + 1).min(columns - 1);
            let across = |row: &[f64]| (1.0 - wx) * row[x] + wx * row[right];
            *out = (factor * ((1.0 - wy) * across(low) + wy * across(high))) as f32;
        }
    }
}

/// Two rows joined linearly.
struct Between<'a> {
    low: &'a [f64],
    high: &'a [f64],
    weight: f64,
    factor: f64,
    out: &'a mut [f32],
}

impl Vectorised for Between<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for ((out, low), high) in self.out.iter_mut().zip(self.low).zip(self.high) {
            *out = (self.factor * ((1.0 - self.weight) * low + self.weight * high)) as f32;
        }
    }
}

struct Add<'a> {
    out: &'a mut [f64],
    values: &'a [f32],
}

impl Vectorised for Add<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for (out, &value) in self.out.iter_mut().zip(self.values) {
            *out += f64::from(value);
        }
    }
}

struct AddScaled<'a> {
    out: &'a mut [f64],
    weight: f64,
    values: &'a [f64],
}

impl Vectorised for AddScaled<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for (out, &value) in self.out.iter_mut().zip(self.values) {
            *out += self.weight * value;
        }
    }
}

/// Add the 'same' convolution of a row, zero outside.
fn convolve_row(row: &[f64], kernel: &[f64], out: &mut [f64]) {
    let ahead = (kernel.len() - 1) / 2;
    for (k, &weight) in kernel.iter().enumerate() {
        // Pixel x takes the sample at x + ahead - k.
        let (from, to) = (ahead.saturating_sub(k).min(row.len()), k.saturating_sub(ahead).min(row.len()));
        widest(AddScaled { out: &mut out[to..], weight, values: &row[from..] });
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
