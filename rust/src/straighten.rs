//! Straightening: the image at shifted positions, by a quadratic spline in which NaN pixels weigh nothing.

use crate::error::{Result, contiguous, contiguous_mut, same_shape};
use crate::extent::Extent;
use crate::interpolate::{Interpolator, LANES, Scratch};
use crate::simd::{Vectorised, widest};
use ndarray::{Array2, ArrayView2, ArrayViewMut2};
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
    let (mut result, mut scratch) = (Array2::zeros(image.dim()), Array2::zeros(image.dim()));
    straighten_into(image, linear, dxmap, dymap, result.view_mut(), scratch.view_mut())?;
    Ok(result)
}

/// As [`straighten`], into an image of the same shape; `scratch` is another, for the spline's coefficients.
pub fn straighten_into(
    image: ArrayView2<'_, f32>,
    linear: Linear,
    dxmap: ArrayView2<'_, f32>,
    dymap: ArrayView2<'_, f32>,
    mut out: ArrayViewMut2<'_, f32>,
    mut scratch: ArrayViewMut2<'_, f32>,
) -> Result<()> {
    let shape = image.dim();
    same_shape("dxmap", &dxmap, shape)?;
    same_shape("dymap", &dymap, shape)?;
    same_shape("straight image", &out.view(), shape)?;
    let (dxmap, dymap) = (contiguous("dxmap", &dxmap)?, contiguous("dymap", &dymap)?);
    same_shape("scratch image", &scratch.view(), shape)?;
    let scratch = contiguous_mut("scratch image", &mut scratch)?;
    let image = &Interpolator::new(contiguous("image", &image)?, shape, scratch);
    let columns = shape.1.max(1);
    let out = contiguous_mut("straight image", &mut out)?;
    out.par_chunks_mut(columns * ROWS).enumerate().for_each_init(Scratch::default, |scratch, (band, out)| {
        let first = band * ROWS * columns;
        let maps = (&dxmap[first..][..out.len()], &dymap[first..][..out.len()]);
        widest(Band { image, linear, first: band * ROWS, columns, maps, out, scratch });
    });
    Ok(())
}

/// Rows of a band, and columns of its tiles: few enough for their coefficients to stay in a core's cache.
const ROWS: usize = 64;
const COLUMNS: usize = 128;

/// A band of rows of the output and its displacements.
struct Band<'a> {
    image: &'a Interpolator<'a>,
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
            let (mut dxs, mut dys) = (Extent::new(), Extent::new());
            for row in 0..rows {
                dxs.include(&maps.0[place(row)]);
                dys.include(&maps.1[place(row)]);
            }
            let corners = [(first, left), (first, right - 1), (first + rows - 1, left), (first + rows - 1, right - 1)];
            let (xs, ys) = (corners.map(|(y, x)| linear.x(y, x)), corners.map(|(y, x)| linear.y(y, x)));
            let window = image.window(around(&ys, dys.limits()), around(&xs, dxs.limits()), scratch);
            line.begin(linear, left);
            for row in 0..rows {
                let (y, x) = line.place(linear, first + row, (&maps.0[place(row)], &maps.1[place(row)]));
                // Blocks are stored whole: an unknown length takes a call.
                let (whole, rest) = out[place(row)].as_chunks_mut::<LANES>();
                for ((out, y), x) in whole.iter_mut().zip(y).zip(x) {
                    *out = window.at(y, x);
                }
                if let (false, Some(y), Some(x)) = (rest.is_empty(), y.last(), x.last()) {
                    rest.copy_from_slice(&window.at(y, x)[..rest.len()]);
                }
            }
        }
    }
}

/// Limits of positions that are displaced by something between limits.
#[inline(always)]
fn around(positions: &[f64; 4], (least, most): (f32, f32)) -> (f64, f64) {
    let first = positions.iter().copied().fold(f64::INFINITY, f64::min);
    let last = positions.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    (first + f64::from(least), last + f64::from(most))
}

impl Linear {
    /// Column in the input, without the map.
    fn x(&self, row: usize, column: usize) -> f64 {
        self.dx + self.a * column as f64 + self.b * row as f64
    }

    /// Row in the input, without the map.
    fn y(&self, row: usize, column: usize) -> f64 {
        self.dy + self.c * column as f64 + self.d * row as f64
    }
}

/// Positions in the input of a row of a tile of the output; after the last one, it is repeated.
struct Line {
    /// What of them is the same in every row.
    start: [[f64; COLUMNS]; 2],
    y: [[f64; LANES]; COLUMNS / LANES],
    x: [[f64; LANES]; COLUMNS / LANES],
}

impl Default for Line {
    fn default() -> Self {
        let nothing = [[0.0; LANES]; COLUMNS / LANES];
        Self { start: [[0.0; COLUMNS]; 2], y: nothing, x: nothing }
    }
}

type Blocks = [[f64; LANES]];

impl Line {
    /// Begin a tile whose first column is `left`.
    #[inline(always)]
    fn begin(&mut self, linear: Linear, left: usize) {
        let [ys, xs] = &mut self.start;
        for k in 0..COLUMNS {
            let x = (left + k) as f64;
            xs[k] = linear.dx + linear.a * x;
            ys[k] = linear.dy + linear.c * x;
        }
    }

    #[inline(always)]
    fn place(&mut self, linear: Linear, row: usize, (dx, dy): (&[f32], &[f32])) -> (&Blocks, &Blocks) {
        let count = dx.len().min(dy.len()).min(COLUMNS);
        let (by, ty) = (linear.b * row as f64, linear.d * row as f64);
        let [start_y, start_x] = &self.start;
        let (ys, xs) = (self.y.as_flattened_mut(), self.x.as_flattened_mut());
        for ((x, start), &dx) in xs.iter_mut().zip(start_x).zip(dx) {
            *x = start + by + f64::from(dx);
        }
        for ((y, start), &dy) in ys.iter_mut().zip(start_y).zip(dy) {
            *y = start + ty + f64::from(dy);
        }
        let blocks = count.div_ceil(LANES);
        let (last_y, last_x) = (ys[count - 1], xs[count - 1]);
        ys[count..blocks * LANES].fill(last_y);
        xs[count..blocks * LANES].fill(last_x);
        (&self.y[..blocks], &self.x[..blocks])
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

    #[test]
    fn room_of_another_shape_is_refused() {
        let image = Array2::from_elem((6, 7), 2.0f32);
        let none = Array2::zeros((6, 7));
        let into = |out: (usize, usize), scratch: (usize, usize)| {
            let (mut out, mut scratch) = (Array2::zeros(out), Array2::zeros(scratch));
            let (out, scratch) = (out.view_mut(), scratch.view_mut());
            straighten_into(image.view(), IDENTITY, none.view(), none.view(), out, scratch)
        };
        assert!(into((6, 7), (6, 7)).is_ok());
        assert!(into((7, 6), (6, 7)).is_err_and(|error| error.to_string().contains("straight image")));
        assert!(into((6, 7), (6, 8)).is_err_and(|error| error.to_string().contains("scratch image")));
    }

    #[test]
    fn positions_far_apart_are_those_of_their_neighbours() {
        // Rows that jump by ten from column to column: no two lanes share a block, most share a window.
        let image = Array2::from_shape_fn((120, 90), |(y, x)| 0.01 * (y * y) as f32 + x as f32);
        let jumps = Array2::from_shape_fn((120, 90), |(y, x)| if y < 30 { 10.0 * (x % 5) as f32 + 0.25 } else { 0.0 });
        let none = Array2::zeros((120, 90));
        let found = straighten(image.view(), IDENTITY, none.view(), jumps.view()).unwrap();
        for jump in 0..5 {
            let even = Array2::from_elem((120, 90), 10.0 * jump as f32 + 0.25);
            let expected = straighten(image.view(), IDENTITY, none.view(), even.view()).unwrap();
            for ((y, x), value) in found.indexed_iter().filter(|((y, x), _)| *y < 30 && x % 5 == jump) {
                assert_eq!(value.to_bits(), expected[[y, x]].to_bits(), "{y} {x}");
            }
        }
    }
}
