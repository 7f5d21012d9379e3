//! A smooth map held as cells: their quadratic spline over an image.

use crate::simd::{Vectorised, widest};
use crate::spline::{mirrored, prefilter, weights};
use ndarray::{Array2, ArrayViewMut1};

/// The quadratic spline of cells at (y / ny (Ny - 1), x / nx (Nx - 1)).
pub(crate) struct CellMap {
    /// Spline coefficients along x, row by row of the image.
    lines: Array2<f64>,
    /// Columns between the same three coefficients; and for every column, which of these it is in.
    spans: Vec<Span>,
    span_of: Vec<u32>,
    /// Weights of the three, column by column.
    weights: [Vec<f64>; 3],
}

struct Span {
    places: [usize; 3],
    end: usize,
}

impl CellMap {
    /// The map of cells over an image of a shape.
    pub(crate) fn new(cells: &Array2<f64>, (rows, columns): (usize, usize)) -> Self {
        let mut coefficients = cells.clone();
        coefficients.outer_iter_mut().for_each(filter_lane);
        coefficients.columns_mut().into_iter().for_each(filter_lane);
        let mut lines = Array2::zeros((rows, cells.ncols()));
        for (y, mut line) in lines.outer_iter_mut().enumerate() {
            let (places, weights) = taps(y, rows, cells.nrows());
            for (place, weight) in places.into_iter().zip(weights) {
                line.scaled_add(weight, &coefficients.row(place));
            }
        }
        let mut map = Self { lines, spans: Vec::new(), span_of: Vec::new(), weights: [const { Vec::new() }; 3] };
        for x in 0..columns {
            let (places, weights) = taps(x, columns, cells.ncols());
            match map.spans.last_mut() {
                Some(span) if span.places == places => span.end = x + 1,
                _ => map.spans.push(Span { places, end: x + 1 }),
            }
            map.span_of.push(map.spans.len() as u32 - 1);
            for (all, weight) in map.weights.iter_mut().zip(weights) {
                all.push(weight);
            }
        }
        map
    }

    /// The map's value at a pixel.
    pub(crate) fn value(&self, y: usize, x: usize) -> f64 {
        let [a, b, c] = self.spans[self.span_of[x] as usize].places.map(|place| self.lines[[y, place]]);
        self.weights[0][x] * a + self.weights[1][x] * b + self.weights[2][x] * c
    }

    /// The map's values at columns of a row, as many as `out` has from `first` on.
    #[inline(always)]
    pub(crate) fn row(&self, y: usize, first: usize, out: &mut [f64]) {
        let line = self.lines.row(y);
        let (mut start, end) = (first, first + out.len());
        for span in &self.spans[out.first().map_or(self.spans.len(), |_| self.span_of[first] as usize)..] {
            if start >= end {
                return;
            }
            let stop = span.end.min(end);
            let out = &mut out[start - first..stop - first];
            let [a, b, c] = span.places.map(|place| line[place]);
            let [u, v, w] = [0, 1, 2].map(|k| &self.weights[k][start..stop]);
            for (((out, u), v), w) in out.iter_mut().zip(u).zip(v).zip(w) {
                *out = u * a + v * b + w * c;
            }
            start = stop;
        }
    }

    /// Make a row of pixels anew of what they are and of the map's values there.
    pub(crate) fn put(&self, y: usize, out: &mut [f32], room: &mut Vec<f64>, made: impl Fn(f32, f32) -> f32) {
        room.resize(out.len(), 0.0);
        widest(Put { map: self, y, out, room, made });
    }
}

struct Put<'a, F> {
    map: &'a CellMap,
    y: usize,
    out: &'a mut [f32],
    room: &'a mut [f64],
    made: F,
}

impl<F: Fn(f32, f32) -> f32> Vectorised for Put<'_, F> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        self.map.row(self.y, 0, self.room);
        for (out, value) in self.out.iter_mut().zip(self.room) {
            *out = (self.made)(*out, *value as f32);
        }
    }
}

/// Cells around a pixel along an axis, mirrored about the first and the last, and their weights.
fn taps(pixel: usize, pixels: usize, cells: usize) -> ([usize; 3], [f64; 3]) {
    let (middle, weights) = weights(pixel as f64 / pixels as f64 * (cells as f64 - 1.0));
    (std::array::from_fn(|k| mirrored(middle as isize + k as isize - 1, cells)), weights)
}

fn filter_lane(mut lane: ArrayViewMut1<'_, f64>) {
    let mut values = lane.to_vec();
    prefilter(&mut values);
    for (out, value) in lane.iter_mut().zip(values) {
        *out = value;
    }
}
