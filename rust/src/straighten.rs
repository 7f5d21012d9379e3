//! Straightening: the image at shifted positions, by a quadratic spline in which NaN pixels weigh nothing.

use crate::error::{Result, contiguous, same_shape};
use crate::spline::{mirrored, prefilter_image, weights};
use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

/// Where an output pixel (y, x) lies in the input: x' = dx + A x + B y + map, y' = dy + C x + D y + map.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Linear {
    /// Shift along x.
    pub dx: f64,
    /// Shift along y.
    pub dy: f64,
    /// x' per x.
    pub a: f64,
    /// x' per y.
    pub b: f64,
    /// y' per x.
    pub c: f64,
    /// y' per y.
    pub d: f64,
}

/// Least weight of valid pixels at which an output pixel has a value.
const LEAST_WEIGHT: f64 = 0.5;

/// Spline coefficients of an image and of its validity.
struct Coefficients {
    values: Vec<f32>,
    validity: Option<Vec<f32>>,
    shape: (usize, usize),
}

impl Coefficients {
    fn new(pixels: &[f32], shape: (usize, usize)) -> Self {
        let mut values: Vec<f32> = pixels.to_vec();
        values.par_iter_mut().for_each(|v| {
            if !v.is_finite() {
                *v = 0.0;
            }
        });
        let whole = pixels.par_iter().all(|v| v.is_finite());
        let validity = (!whole).then(|| {
            let mut validity: Vec<f32> = pixels.par_iter().map(|v| f32::from(u8::from(v.is_finite()))).collect();
            prefilter_image(&mut validity, shape.1);
            validity
        });
        prefilter_image(&mut values, shape.1);
        Self { values, validity, shape }
    }

    #[inline]
    fn at(&self, y: f64, x: f64) -> f32 {
        let (rows, columns) = self.shape;
        let inside = |position: f64, size: usize| position >= 0.0 && position <= size as f64 - 1.0;
        if !inside(y, rows) || !inside(x, columns) {
            return f32::NAN;
        }
        let ((row, wy), (column, wx)) = (weights(y), weights(x));
        let ys: [usize; 3] = std::array::from_fn(|k| mirrored_near(row + k as isize - 1, rows) * columns);
        let xs: [usize; 3] = std::array::from_fn(|k| mirrored_near(column + k as isize - 1, columns));
        let sum = |coefficients: &[f32]| {
            let mut sum = 0.0;
            for (&y, wy) in ys.iter().zip(wy) {
                let mut line = 0.0;
                for (&x, wx) in xs.iter().zip(wx) {
                    line += wx * f64::from(coefficients[y + x]);
                }
                sum += wy * line;
            }
            sum
        };
        let weight = self.validity.as_ref().map_or(1.0, |validity| sum(validity));
        if weight < LEAST_WEIGHT { f32::NAN } else { (sum(&self.values) / weight) as f32 }
    }
}

/// Mirrored index, without the division where none is needed.
#[inline]
fn mirrored_near(index: isize, size: usize) -> usize {
    if index >= 0 && (index as usize) < size { index as usize } else { mirrored(index, size) }
}

/// The image at its source positions; NaN where they lie outside or on too few valid pixels.
pub fn straighten(
    image: ArrayView2<'_, f32>,
    linear: Linear,
    dxmap: ArrayView2<'_, f32>,
    dymap: ArrayView2<'_, f32>,
) -> Result<Array2<f32>> {
    let shape = image.dim();
    same_shape("dxmap", &dxmap, shape)?;
    same_shape("dymap", &dymap, shape)?;
    let (dxmap, dymap) = (contiguous("dxmap", &dxmap)?, contiguous("dymap", &dymap)?);
    let coefficients = Coefficients::new(contiguous("image", &image)?, shape);
    let columns = shape.1.max(1);
    let mut result = Array2::zeros(shape);
    if let Some(out) = result.as_slice_mut() {
        out.par_chunks_mut(columns).enumerate().for_each(|(row, out)| {
            let (dxs, dys) = (&dxmap[row * columns..][..columns], &dymap[row * columns..][..columns]);
            let y = row as f64;
            for (column, out) in out.iter_mut().enumerate() {
                let x = column as f64;
                let source_x = linear.dx + linear.a * x + linear.b * y + f64::from(dxs[column]);
                let source_y = linear.dy + linear.c * x + linear.d * y + f64::from(dys[column]);
                *out = coefficients.at(source_y, source_x);
            }
        });
    }
    Ok(result)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const IDENTITY: Linear = Linear { dx: 0.0, dy: 0.0, a: 1.0, b: 0.0, c: 0.0, d: 1.0 };

    #[test]
    fn identity_returns_the_image_and_its_gaps() {
        let mut image = Array2::from_shape_fn((12, 9), |(y, x)| (y * 3 + x * x) as f32);
        image[[5, 4]] = f32::NAN;
        let none = Array2::zeros((12, 9));
        let found = straighten(image.view(), IDENTITY, none.view(), none.view()).unwrap();
        for ((place, &a), &b) in image.indexed_iter().zip(&found) {
            assert!((a - b).abs() < 1e-4 || (a.is_nan() && b.is_nan()), "{place:?}: {a} {b}");
        }
    }

    #[test]
    fn outside_is_nan() {
        let image = Array2::from_elem((6, 6), 2.0f32);
        let none = Array2::zeros((6, 6));
        let shifted = Linear { dx: 0.5, ..IDENTITY };
        let found = straighten(image.view(), shifted, none.view(), none.view()).unwrap();
        assert!((found[[3, 4]] - 2.0).abs() < 1e-6);
        assert!(found[[3, 5]].is_nan());
    }
}
