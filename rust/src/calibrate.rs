//! From the combined raw image to electrons in the frame of the calibrations: one pass over the pixels.

use crate::error::{Result, contiguous, contiguous_mut, require, same_shape};
use crate::runs::for_runs;
use crate::simd::{Vectorised, widest};
use ndarray::{Array2, ArrayView2, ArrayViewMut2};
use rayon::prelude::*;
use std::ops::Range;

/// Values outside become NaN.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    /// Least value kept.
    pub low: f64,
    /// Greatest value kept.
    pub high: f64,
}

impl Bounds {
    /// The value, or NaN outside the bounds.
    #[inline]
    pub fn apply(self, value: f64) -> f64 {
        if value > self.high || value < self.low { f64::NAN } else { value }
    }

    /// Replace the values outside by NaN.
    pub(crate) fn clear(self, values: &mut [f32]) {
        for values in values.chunks_mut(CHUNK) {
            let outside = |value: f32| (f64::from(value) > self.high) | (f64::from(value) < self.low);
            // What is not written stays as it is in the memory.
            if values.iter().fold(false, |any, &value| any | outside(value)) {
                values.iter_mut().filter(|value| outside(**value)).for_each(|value| *value = f32::NAN);
            }
        }
    }
}

impl From<(f64, f64)> for Bounds {
    fn from((low, high): (f64, f64)) -> Self {
        Self { low, high }
    }
}

/// Axes that are reversed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flip {
    /// Reverse the rows.
    pub y: bool,
    /// Reverse the columns.
    pub x: bool,
}

/// What is done to a raw image.
#[derive(Debug, Clone)]
pub struct ToElectrons<'a> {
    /// Bounds in the unit of the raw image.
    pub bounds: Option<Bounds>,
    /// Dark in the unit and the frame of the raw image.
    pub dark: Option<ArrayView2<'a, f32>>,
    /// Axes reversed after the dark is subtracted.
    pub flip: Flip,
    /// Electrons per unit of the raw image.
    pub factor: f64,
    /// Rows kept after the flip.
    pub rows: Range<usize>,
    /// Columns kept after the flip.
    pub columns: Range<usize>,
    /// Bad pixels (not 0) in the frame of the result; they become NaN.
    pub bad: Option<ArrayView2<'a, u8>>,
}

impl ToElectrons<'_> {
    /// Rows and columns that are kept of an image's.
    pub fn shape(&self, image: (usize, usize)) -> Result<(usize, usize)> {
        let window = Window::new(image, self.flip, self.rows.clone(), self.columns.clone())?;
        Ok((window.rows.len(), window.columns.len()))
    }
}

/// Bounds, dark, flip, units, crop and bad pixels, in this order.
pub fn to_electrons(image: ArrayView2<'_, f32>, steps: &ToElectrons<'_>) -> Result<Array2<f32>> {
    let mut result = Array2::zeros(steps.shape(image.dim())?);
    to_electrons_into(image, steps, result.view_mut())?;
    Ok(result)
}

/// As [`to_electrons`], into an image of as many rows and columns as are kept.
pub fn to_electrons_into(
    image: ArrayView2<'_, f32>,
    steps: &ToElectrons<'_>,
    mut out: ArrayViewMut2<'_, f32>,
) -> Result<()> {
    let (ny, nx) = image.dim();
    let window = Window::new((ny, nx), steps.flip, steps.rows.clone(), steps.columns.clone())?;
    let shape = (window.rows.len(), window.columns.len());
    let pixels = contiguous("image", &image)?;
    let dark = steps.dark.as_ref().map(|d| same_shape("dark", d, (ny, nx)).and_then(|()| contiguous("dark", d)));
    let dark = dark.transpose()?;
    let bad = steps.bad.as_ref().map(|b| same_shape("bad", b, shape).and_then(|()| contiguous("bad", b)));
    let bad = bad.transpose()?;
    same_shape("electrons", &out.view(), shape)?;
    let out = contiguous_mut("electrons", &mut out)?;
    out.par_chunks_mut(shape.1.max(1)).enumerate().for_each(|(row, out)| {
        let places = window.places(row);
        let (raw, dark) = (&pixels[places.clone()], dark.map(|dark| &dark[places]));
        widest(Convert { raw, dark, bounds: steps.bounds, factor: steps.factor, reversed: steps.flip.x, out });
        if let Some(bad) = bad {
            for_runs(&bad[row * shape.1..][..shape.1], |run| out[run].fill(f32::NAN));
        }
    });
    Ok(())
}

/// Part of a raw image, in the frame of the calibrations.
struct Window {
    shape: (usize, usize),
    flip: Flip,
    rows: Range<usize>,
    columns: Range<usize>,
}

impl Window {
    fn new(shape: (usize, usize), flip: Flip, rows: Range<usize>, columns: Range<usize>) -> Result<Self> {
        require(rows.end <= shape.0, "last row", rows.end as f64, "within the image")?;
        require(columns.end <= shape.1, "last column", columns.end as f64, "within the image")?;
        Ok(Self { shape, flip, rows, columns })
    }

    /// Pixels of the raw image that a row is made of; the last one comes first where the columns are reversed.
    fn places(&self, row: usize) -> Range<usize> {
        let ((ny, nx), columns) = (self.shape, &self.columns);
        let y = if self.flip.y { ny - 1 - (row + self.rows.start) } else { row + self.rows.start };
        // An empty range may start after its end.
        let end = columns.start + columns.len();
        let (first, end) = if self.flip.x { (nx - end, nx - columns.start) } else { (columns.start, end) };
        y * nx + first..y * nx + end
    }
}

/// A row of raw pixels to be made electrons.
struct Convert<'a> {
    raw: &'a [f32],
    dark: Option<&'a [f32]>,
    bounds: Option<Bounds>,
    factor: f64,
    reversed: bool,
    out: &'a mut [f32],
}

impl Vectorised for Convert<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { raw, dark, factor, reversed, out, .. } = self;
        // Without bounds nothing is outside.
        let bounds = self.bounds.unwrap_or(Bounds { low: f64::NEG_INFINITY, high: f64::INFINITY });
        if let Some(dark) = dark {
            for ((out, &raw), &dark) in out.iter_mut().zip(raw).zip(dark) {
                *out = ((bounds.apply(f64::from(raw)) - f64::from(dark)) * factor) as f32;
            }
        } else {
            for (out, &raw) in out.iter_mut().zip(raw) {
                *out = (bounds.apply(f64::from(raw)) * factor) as f32;
            }
        }
        if reversed {
            out.reverse();
        }
    }
}

/// Rows and columns of the pixels above a limit, in the frame of the calibrations and the order of the raw image.
///
/// The limit is rounded to the precision of the pixels.
pub fn pixels_above(
    image: ArrayView2<'_, f32>,
    limit: f64,
    flip: Flip,
    rows: Range<usize>,
    columns: Range<usize>,
) -> Result<Array2<i64>> {
    let window = Window::new(image.dim(), flip, rows, columns)?;
    let (pixels, limit) = (contiguous("image", &image)?, limit as f32);
    let (rows, columns) = (window.rows.len(), window.columns.len());
    if columns == 0 {
        return Ok(Array2::zeros((0, 2)));
    }
    let found: Vec<Vec<[i64; 2]>> = (0..rows)
        .into_par_iter()
        .map(|k| {
            let row = if flip.y { rows - 1 - k } else { k };
            let mut found = Vec::new();
            for (chunk, values) in pixels[window.places(row)].chunks(CHUNK).enumerate() {
                if !values.iter().fold(false, |any, &value| any | (value > limit)) {
                    continue;
                }
                for (k, _) in values.iter().enumerate().filter(|(_, value)| **value > limit) {
                    let place = chunk * CHUNK + k;
                    found.push([row as i64, if flip.x { columns - 1 - place } else { place } as i64]);
                }
            }
            found
        })
        .collect();
    Ok(Array2::from(found.concat()))
}

/// Pixels that are asked together whether one of them is beyond a limit.
const CHUNK: usize = 64;

/// The image with NaN outside the bounds.
pub fn apply_bounds(image: ArrayView2<'_, f32>, bounds: Bounds) -> Array2<f32> {
    crate::parallel::map(image, |value| bounds.apply(f64::from(value)) as f32)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn every_step_in_its_order() {
        let image = array![[1.0f32, 2.0, 3.0], [4.0, 50.0, 6.0]];
        let dark = array![[1.0f32, 1.0, 1.0], [1.0, 1.0, 2.0]];
        let bad = array![[0u8, 1]];
        let steps = ToElectrons {
            bounds: Some(Bounds { low: 0.0, high: 10.0 }),
            dark: Some(dark.view()),
            flip: Flip { y: true, x: true },
            factor: 2.0,
            rows: 0..1,
            columns: 0..2,
            bad: Some(bad.view()),
        };
        let found = to_electrons(image.view(), &steps).unwrap();
        assert_eq!(found[[0, 0]], 8.0);
        assert!(found[[0, 1]].is_nan());
        let unmasked = to_electrons(image.view(), &ToElectrons { bad: None, bounds: None, ..steps.clone() }).unwrap();
        assert_eq!(unmasked[[0, 1]], 98.0);
        assert!(to_electrons(image.view(), &ToElectrons { rows: 0..3, ..steps }).is_err());
    }
}
