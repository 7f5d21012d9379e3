//! Where an image has values, as a quadratic spline: 1 at its pixels, 0 at its gaps.

use crate::spline::{HORIZON, prefilter, prefilter_image};
use rayon::prelude::*;
use std::ops::Range;

/// Coefficients of the spline through 1 at an image's pixels and 0 where they are not finite.
///
/// They are 1 but around gaps. The filter is linear: each gap takes away its impulse's response, the product of one
/// along y and one along x, and a map of the whole image is only made where there are many gaps.
pub(crate) enum Validity {
    /// There are no gaps.
    Whole,
    /// There are few.
    Few(Box<Gaps>),
    /// There are many: the coefficients.
    Many(Vec<f32>),
}

/// Rows and columns of gaps, in their order.
pub(crate) struct Gaps {
    places: Vec<(usize, usize)>,
    axes: [Axis; 2],
}

/// Up to one in so many pixels, gaps are taken one by one.
const FEW: usize = 256;
/// Samples after which the product of two responses is below the rounding of single precision.
const REACH: usize = 14;
const WIDTH: usize = 2 * REACH + 1;

impl Validity {
    /// The validity of an image of rows and columns.
    pub(crate) fn new(pixels: &[f32], shape: (usize, usize)) -> Self {
        let rows = pixels.par_chunks(shape.1.max(1)).enumerate();
        let places: Vec<_> = rows.flat_map_iter(|(row, pixels)| gaps_of(row, pixels)).collect();
        if places.is_empty() {
            Self::Whole
        } else if places.len() <= pixels.len() / FEW {
            Self::Few(Box::new(Gaps { places, axes: [Axis::new(shape.0), Axis::new(shape.1)] }))
        } else {
            Self::Many(prefilter_image(pixels, shape.1, |value| f32::from(u8::from(value.is_finite()))))
        }
    }

    /// Coefficients of a window, row by row, into `out`; tells whether not all of them are 1, else `out` stays empty.
    pub(crate) fn window(&self, rows: Range<usize>, columns: Range<usize>, width: usize, out: &mut Vec<f64>) -> bool {
        out.clear();
        match self {
            Self::Whole => {}
            Self::Few(gaps) => gaps.window(rows, columns, out),
            Self::Many(coefficients) => {
                for row in rows {
                    let line = &coefficients[row * width + columns.start..row * width + columns.end];
                    out.extend(line.iter().map(|&v| f64::from(v)));
                }
            }
        }
        !out.is_empty()
    }

    /// The spline between pixels: weights of three rows and of three columns.
    pub(crate) fn at(&self, rows: [usize; 3], y: [f64; 3], columns: [usize; 3], x: [f64; 3], width: usize) -> f64 {
        match self {
            Self::Whole => 1.0,
            Self::Few(gaps) => gaps.at(rows, y, columns, x),
            Self::Many(coefficients) => weighted(coefficients, rows, y, columns, x, width),
        }
    }
}

/// Sum of coefficients of an image by the weights of three rows and of three columns.
pub(crate) fn weighted(
    coefficients: &[impl Copy + Into<f64>],
    rows: [usize; 3],
    y: [f64; 3],
    columns: [usize; 3],
    x: [f64; 3],
    width: usize,
) -> f64 {
    let mut sum = 0.0;
    for (row, y) in rows.iter().zip(y) {
        let mut line = 0.0;
        for (column, x) in columns.iter().zip(x) {
            line += x * coefficients[row * width + column].into();
        }
        sum += y * line;
    }
    sum
}

fn gaps_of(row: usize, pixels: &[f32]) -> Vec<(usize, usize)> {
    if pixels.iter().fold(true, |all, value| all & value.is_finite()) {
        return Vec::new();
    }
    (0..pixels.len()).filter(|&column| !pixels[column].is_finite()).map(|column| (row, column)).collect()
}

impl Gaps {
    /// Gaps whose responses reach a range of rows.
    fn near(&self, rows: Range<usize>) -> &[(usize, usize)] {
        let first = self.places.partition_point(|&(row, _)| row + REACH < rows.start);
        let end = self.places.partition_point(|&(row, _)| row < rows.end + REACH);
        &self.places[first..end.max(first)]
    }

    fn window(&self, rows: Range<usize>, columns: Range<usize>, out: &mut Vec<f64>) {
        if rows.is_empty() || columns.is_empty() {
            return;
        }
        for &(row, column) in self.near(rows.clone()) {
            if column + REACH < columns.start || column >= columns.end + REACH {
                continue;
            }
            out.resize(rows.len() * columns.len(), 1.0);
            let (y, x) = (self.axes[0].response(row), self.axes[1].response(column));
            let (along, values) = x.within(&columns);
            let (across, factors) = y.within(&rows);
            for (line, factor) in out.chunks_exact_mut(columns.len()).skip(across).zip(factors) {
                for (out, value) in line[along..].iter_mut().zip(values) {
                    *out -= factor * value;
                }
            }
        }
    }

    fn at(&self, rows: [usize; 3], y: [f64; 3], columns: [usize; 3], x: [f64; 3]) -> f64 {
        let (first, end) = (rows.iter().min(), rows.iter().max());
        let (Some(&first), Some(&end)) = (first, end) else { return 1.0 };
        let mut sum = 1.0;
        for &(row, column) in self.near(first..end + 1) {
            if columns.iter().any(|&x| x.abs_diff(column) <= REACH) {
                let along_y = self.axes[0].response(row).weighted(rows, y);
                sum -= along_y * self.axes[1].response(column).weighted(columns, x);
            }
        }
        sum
    }
}

/// Responses to an impulse along an axis.
struct Axis {
    size: usize,
    /// The response of a place that is far from both ends.
    inner: [f64; WIDTH],
}

/// Coefficients of an impulse, from sample `first` on.
struct Response {
    first: usize,
    values: [f64; WIDTH],
    count: usize,
}

impl Axis {
    fn new(size: usize) -> Self {
        let mut inner = [0.0; WIDTH];
        inner.copy_from_slice(&impulse(HORIZON, 2 * HORIZON + 1)[HORIZON - REACH..=HORIZON + REACH]);
        Self { size, inner }
    }

    fn response(&self, place: usize) -> Response {
        if place >= HORIZON && place + HORIZON < self.size {
            return Response { first: place - REACH, values: self.inner, count: WIDTH };
        }
        let (before, first) = (place.saturating_sub(HORIZON), place.saturating_sub(REACH));
        let end = (place + HORIZON + 1).min(self.size);
        let found = impulse(place - before, end - before);
        let count = (place + REACH + 1).min(self.size) - first;
        let mut values = [0.0; WIDTH];
        values[..count].copy_from_slice(&found[first - before..][..count]);
        Response { first, values, count }
    }
}

/// Coefficients of a signal that is 1 at one place, 0 at all others.
fn impulse(place: usize, size: usize) -> Vec<f64> {
    let mut signal = vec![0.0; size];
    signal[place] = 1.0;
    prefilter(&mut signal);
    signal
}

impl Response {
    /// Where within a range the response begins, and its values there.
    fn within(&self, range: &Range<usize>) -> (usize, &[f64]) {
        let (first, end) = (self.first.max(range.start), (self.first + self.count).min(range.end));
        let end = end.max(first);
        (first - range.start, &self.values[first - self.first..end - self.first])
    }

    fn weighted(&self, places: [usize; 3], weights: [f64; 3]) -> f64 {
        let value = |place: usize| {
            let inside = place.checked_sub(self.first).filter(|&k| k < self.count);
            inside.map_or(0.0, |k| self.values[k])
        };
        places.iter().zip(weights).map(|(&place, weight)| weight * value(place)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_gaps_are_what_the_filtered_map_has() {
        let (rows, columns) = (90, 70);
        let mut pixels = vec![1.0f32; rows * columns];
        for (row, column) in [(0, 0), (1, 69), (89, 33), (40, 2), (41, 2), (41, 3), (44, 40), (70, 68), (88, 0)] {
            pixels[row * columns + column] = f32::NAN;
        }
        let few = Validity::new(&pixels, (rows, columns));
        assert!(matches!(few, Validity::Few(_)));
        let value = |value: f32| if value.is_finite() { 1.0 } else { 0.0 };
        let many = Validity::Many(prefilter_image(&pixels, columns, value));
        let (mut found, mut expected) = (Vec::new(), Vec::new());
        for (ys, xs) in [(0..rows, 0..columns), (20..55, 10..11), (60..90, 50..70), (0..1, 30..70)] {
            assert!(many.window(ys.clone(), xs.clone(), columns, &mut expected));
            if !few.window(ys.clone(), xs.clone(), columns, &mut found) {
                found.resize(expected.len(), 1.0);
            }
            for (k, (a, b)) in found.iter().zip(&expected).enumerate() {
                assert!((a - b).abs() < 3e-7, "{ys:?} {xs:?} {k}: {a} {b}");
            }
        }
        assert!(!few.window(17..22, 30..50, columns, &mut found));
        let (y, x) = ([0.1, 0.7, 0.2], [0.3, 0.6, 0.1]);
        for (ys, xs) in [([1, 0, 1], [1, 0, 1]), ([39, 40, 41], [1, 2, 3]), ([88, 89, 88], [68, 69, 68])] {
            let (a, b) = (few.at(ys, y, xs, x, columns), many.at(ys, y, xs, x, columns));
            assert!((a - b).abs() < 3e-7, "{ys:?} {xs:?}: {a} {b}");
        }
    }
}
