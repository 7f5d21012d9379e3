//! From the combined raw image to electrons in the frame of the calibrations: one pass over the pixels.

use crate::error::{Result, contiguous, require, same_shape};
use ndarray::{Array2, ArrayView2};
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

/// Bounds, dark, flip, units, crop and bad pixels, in this order.
pub fn to_electrons(image: ArrayView2<'_, f32>, steps: &ToElectrons<'_>) -> Result<Array2<f32>> {
    let (ny, nx) = image.dim();
    require(steps.rows.end <= ny, "last row", steps.rows.end as f64, "within the image")?;
    require(steps.columns.end <= nx, "last column", steps.columns.end as f64, "within the image")?;
    let shape = (steps.rows.len(), steps.columns.len());
    let pixels = contiguous("image", &image)?;
    let dark = steps.dark.as_ref().map(|d| same_shape("dark", d, (ny, nx)).and_then(|()| contiguous("dark", d)));
    let dark = dark.transpose()?;
    let bad = steps.bad.as_ref().map(|b| same_shape("bad", b, shape).and_then(|()| contiguous("bad", b)));
    let bad = bad.transpose()?;
    let mut result = Array2::zeros(shape);
    if let Some(out) = result.as_slice_mut() {
        out.par_chunks_mut(shape.1.max(1)).enumerate().for_each(|(row, out)| {
            let y = if steps.flip.y { ny - 1 - (row + steps.rows.start) } else { row + steps.rows.start };
            for (column, out) in out.iter_mut().enumerate() {
                let x = column + steps.columns.start;
                let place = y * nx + if steps.flip.x { nx - 1 - x } else { x };
                let raw = f64::from(pixels[place]);
                let kept = steps.bounds.map_or(raw, |bounds| bounds.apply(raw));
                let value = (kept - dark.map_or(0.0, |d| f64::from(d[place]))) * steps.factor;
                let is_bad = bad.is_some_and(|b| b[row * shape.1 + column] != 0);
                *out = if is_bad { f32::NAN } else { value as f32 };
            }
        });
    }
    Ok(result)
}

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
