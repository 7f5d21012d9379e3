//! Straightening: the image at shifted positions, by a quadratic spline in which NaN pixels weigh nothing.

use crate::error::{Result, contiguous, same_shape};
use crate::interpolate::{Interpolator, LANES, Scratch};
use crate::simd::{Vectorised, widest};
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
    let image = &Interpolator::new(contiguous("image", &image)?, shape);
    let columns = shape.1.max(1);
    let mut result = Array2::zeros(shape);
    if let Some(out) = result.as_slice_mut() {
        out.par_chunks_mut(columns * ROWS).enumerate().for_each_init(Scratch::default, |scratch, (band, out)| {
            let first = band * ROWS * columns;
            let maps = (&dxmap[first..][..out.len()], &dymap[first..][..out.len()]);
            widest(Band { image, linear, first: band * ROWS, columns, maps, out, scratch });
        });
    }
    Ok(result)
}

/// Rows of a band, and columns of its tiles: few enough for their coefficients to stay in a core's cache.
const ROWS: usize = 64;
const COLUMNS: usize = 128;

/// A band of rows of the output and its displacements.
struct Band<'a> {
    image: &'a Interpolator,
    linear: Linear,
    first: usize,
    columns: usize,
    maps: (&'a [f32], &'a [f32]),
    out: &'a mut [f32],
    scratch: &'a mut Scratch,
}

impl Vectorised for Band<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { image, linear, first, columns, maps, out, scratch } = self;
        let rows = out.len() / columns;
        for left in (0..columns).step_by(COLUMNS) {
            let right = (left + COLUMNS).min(columns);
            let source = |row: usize, x: usize| Source::new(linear, first + row, x, row * columns + x, right - x, maps);
            let (mut ys, mut xs) = (Extent::new(), Extent::new());
            for row in 0..rows {
                for x in (left..right).step_by(LANES) {
                    let source = source(row, x);
                    ys.include(&source.y);
                    xs.include(&source.x);
                }
            }
            let window = image.window(ys.limits(), xs.limits(), scratch);
            for row in 0..rows {
                for x in (left..right).step_by(LANES) {
                    let source = source(row, x);
                    let count = LANES.min(right - x);
                    out[row * columns + x..][..count].copy_from_slice(&window.at(&source.y, &source.x)[..count]);
                }
            }
        }
    }
}

/// Positions in the input of neighbouring pixels of the output; the last of a row is repeated.
struct Source {
    y: [f64; LANES],
    x: [f64; LANES],
}

impl Source {
    #[inline(always)]
    fn new(linear: Linear, row: usize, column: usize, place: usize, count: usize, maps: (&[f32], &[f32])) -> Self {
        let (mut dx, mut dy) = ([0.0; LANES], [0.0; LANES]);
        if count >= LANES {
            dx.copy_from_slice(&maps.0[place..place + LANES]);
            dy.copy_from_slice(&maps.1[place..place + LANES]);
        } else {
            for lane in 0..LANES {
                let lane_place = place + lane.min(count - 1);
                (dx[lane], dy[lane]) = (maps.0[lane_place], maps.1[lane_place]);
            }
        }
        let y = row as f64;
        let mut source = Self { y: [0.0; LANES], x: [0.0; LANES] };
        for lane in 0..LANES {
            let x = (column + lane) as f64;
            source.x[lane] = linear.dx + linear.a * x + linear.b * y + f64::from(dx[lane]);
            source.y[lane] = linear.dy + linear.c * x + linear.d * y + f64::from(dy[lane]);
        }
        source
    }
}

/// Least and greatest position seen; those that are no number do not count.
struct Extent {
    least: [f64; LANES],
    most: [f64; LANES],
}

impl Extent {
    #[inline(always)]
    fn new() -> Self {
        Self { least: [f64::INFINITY; LANES], most: [f64::NEG_INFINITY; LANES] }
    }

    #[inline(always)]
    fn include(&mut self, positions: &[f64; LANES]) {
        for lane in 0..LANES {
            let position = positions[lane];
            self.least[lane] = if position < self.least[lane] { position } else { self.least[lane] };
            self.most[lane] = if position > self.most[lane] { position } else { self.most[lane] };
        }
    }

    #[inline(always)]
    fn limits(&self) -> (f64, f64) {
        let least = self.least.iter().fold(f64::INFINITY, |least, &v| if v < least { v } else { least });
        (least, self.most.iter().fold(f64::NEG_INFINITY, |most, &v| if v > most { v } else { most }))
    }
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
