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
        let mut line = Line::default();
        for left in (0..columns).step_by(COLUMNS) {
            let right = (left + COLUMNS).min(columns);
            let place = |row: usize| row * columns + left..row * columns + right;
            let (mut ys, mut xs) = (Extent::new(), Extent::new());
            for row in 0..rows {
                let (y, x) = line.place(linear, (first + row, left), (&maps.0[place(row)], &maps.1[place(row)]));
                ys.include(y);
                xs.include(x);
            }
            let window = image.window(ys.limits(), xs.limits(), scratch);
            for row in 0..rows {
                let (y, x) = line.place(linear, (first + row, left), (&maps.0[place(row)], &maps.1[place(row)]));
                let out = &mut out[place(row)];
                for (block, out) in out.chunks_mut(LANES).enumerate() {
                    out.copy_from_slice(&window.at(&y[block], &x[block])[..out.len()]);
                }
            }
        }
    }
}

/// Positions in the input of a row of a tile of the output; after the last one, it is repeated.
struct Line {
    y: [[f64; LANES]; COLUMNS / LANES],
    x: [[f64; LANES]; COLUMNS / LANES],
}

impl Default for Line {
    fn default() -> Self {
        Self { y: [[0.0; LANES]; COLUMNS / LANES], x: [[0.0; LANES]; COLUMNS / LANES] }
    }
}

type Blocks = [[f64; LANES]];

impl Line {
    #[inline(always)]
    fn place(&mut self, linear: Linear, from: (usize, usize), (dx, dy): (&[f32], &[f32])) -> (&Blocks, &Blocks) {
        let count = dx.len().min(dy.len());
        let (y, left) = (from.0 as f64, from.1 as f64);
        let (ys, xs) = (self.y.as_flattened_mut(), self.x.as_flattened_mut());
        for k in 0..count.min(COLUMNS) {
            let x = left + k as f64;
            xs[k] = linear.dx + linear.a * x + linear.b * y + f64::from(dx[k]);
            ys[k] = linear.dy + linear.c * x + linear.d * y + f64::from(dy[k]);
        }
        let blocks = count.div_ceil(LANES);
        let (last_y, last_x) = (ys[count - 1], xs[count - 1]);
        ys[count..blocks * LANES].fill(last_y);
        xs[count..blocks * LANES].fill(last_x);
        (&self.y[..blocks], &self.x[..blocks])
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
    fn include(&mut self, positions: &Blocks) {
        for block in positions {
            for lane in 0..LANES {
                let position = block[lane];
                self.least[lane] = if position < self.least[lane] { position } else { self.least[lane] };
                self.most[lane] = if position > self.most[lane] { position } else { self.most[lane] };
            }
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
