//! How far pixels lie off the smoothed image, and how far their neighbours do: row by row, without maps of the image.

use crate::median::{LANES, MedianNetwork};
use crate::simd::{Vectorised, widest};

/// Distances and local scales of one row after the other.
///
/// The image is smoothed by the 5-point mean of the 5-point nan-median along its flattened, wrapping rows; the scale is
/// the nan-median of the distances in the 3 x 3 neighbourhood, wrapping in both axes.
pub(crate) struct LocalScale<'a> {
    pixels: &'a [f32],
    columns: usize,
    /// Distances of the row before, of the row and of the row after.
    rows: [Distances; 3],
    scale: Vec<f32>,
    scratch: Scratch,
}

/// Distances of a row's pixels, with the last one before them and the first one after them; places of those that are
/// NaN.
#[derive(Clone)]
struct Distances {
    values: Vec<f32>,
    gaps: Vec<usize>,
}

struct Scratch {
    around: Vec<f32>,
    medians: Vec<f64>,
    columns: [Vec<f32>; 3],
    gaps: Vec<usize>,
    of_five: MedianNetwork,
    of_nine: MedianNetwork,
}

impl<'a> LocalScale<'a> {
    /// Room for the rows of an image that is not empty.
    pub(crate) fn new(pixels: &'a [f32], columns: usize) -> Self {
        let scratch = Scratch {
            around: vec![0.0; columns + 8],
            medians: vec![0.0; columns + 4],
            columns: std::array::from_fn(|_| vec![0.0; columns + 2]),
            gaps: Vec::new(),
            of_five: MedianNetwork::new(5),
            of_nine: MedianNetwork::new(9),
        };
        let row = Distances { values: vec![0.0; columns + 2], gaps: Vec::new() };
        Self { pixels, columns, rows: std::array::from_fn(|_| row.clone()), scale: vec![0.0; columns], scratch }
    }

    /// Call `each` with the number of every row of a range, its distances and its scales.
    pub(crate) fn for_rows(&mut self, range: std::ops::Range<usize>, mut each: impl FnMut(usize, &[f32], &[f32])) {
        let count = self.pixels.len() / self.columns;
        self.measure((range.start + count - 1) % count, 0);
        self.measure(range.start, 1);
        for row in range {
            self.measure((row + 1) % count, 2);
            widest(Scale { rows: &self.rows, scratch: &mut self.scratch, out: &mut self.scale });
            each(row, &self.rows[1].values[1..=self.columns], &self.scale);
            self.rows.rotate_left(1);
        }
    }

    /// Distances of a row of the image.
    fn measure(&mut self, row: usize, place: usize) {
        let (pixels, first, size) = (self.pixels, row * self.columns, self.pixels.len());
        let Scratch { around, medians, of_five: network, gaps, .. } = &mut self.scratch;
        let around = if first >= 4 && first + self.columns + 4 <= size {
            &pixels[first - 4..first + self.columns + 4]
        } else {
            for (k, value) in around.iter_mut().enumerate() {
                // Four samples before the row and four after it, around the ends of the flattened image.
                *value = pixels[(first + k + size * 4 - 4) % size];
            }
            around
        };
        widest(Distance { around, medians, network, gaps, out: &mut self.rows[place] });
    }
}

/// A row with four samples more on both sides, and room for its running medians.
struct Distance<'a> {
    around: &'a [f32],
    medians: &'a mut [f64],
    network: &'a MedianNetwork,
    gaps: &'a mut Vec<usize>,
    out: &'a mut Distances,
}

impl Vectorised for Distance<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { around, medians, network, gaps, out } = self;
        let count = medians.len();
        let [a, b, c, d, e] = [0, 1, 2, 3, 4].map(|k| &around[k..k + count]);
        for x in 0..count {
            medians[x] = f64::from(median_of_five(a[x], b[x], c[x], d[x], e[x]));
        }
        gaps.clear();
        find_nan(around, |place| {
            let first = gaps.last().map_or(0, |last| last + 1);
            gaps.extend(first.max(place.saturating_sub(4))..(place + 1).min(count));
        });
        medians_at(gaps, network, |place, k| around[place + k], |place, median| medians[place] = median);
        let columns = count - 4;
        let values = &mut out.values[1..=columns];
        for x in 0..columns {
            let five = &medians[x..x + 5];
            let mean = (five[0] + five[1] + five[2] + five[3] + five[4]) / 5.0;
            values[x] = (f64::from(around[x + 4]) - mean).abs() as f32;
        }
        out.gaps.clear();
        find_nan(values, |place| out.gaps.push(place));
        (out.values[0], out.values[columns + 1]) = (out.values[columns], out.values[1]);
    }
}

/// Three rows of distances, and the scales of the middle one.
struct Scale<'a> {
    rows: &'a [Distances; 3],
    scratch: &'a mut Scratch,
    out: &'a mut [f32],
}

impl Vectorised for Scale<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { rows, scratch, out } = self;
        let Scratch { columns: [low, middle, high], gaps, of_nine: network, .. } = scratch;
        let count = out.len() + 2;
        let (a, b, c) = (&rows[0].values[..count], &rows[1].values[..count], &rows[2].values[..count]);
        let (low, middle, high) = (&mut low[..count], &mut middle[..count], &mut high[..count]);
        // Every column of three is put in order once for the three pixels whose neighbours it holds.
        for x in 0..count {
            let (least, most) = (lesser(a[x], b[x]), greater(a[x], b[x]));
            let (inner, last) = (lesser(most, c[x]), greater(most, c[x]));
            (low[x], middle[x], high[x]) = (lesser(least, inner), greater(least, inner), last);
        }
        let count = out.len();
        let [low, middle, high] = [&*low, &*middle, &*high].map(|row| [0, 1, 2].map(|k| &row[k..k + count]));
        for x in 0..count {
            // The middle one of nine is the middle one of the greatest least, the middle middle and the least greatest.
            let least = greater(greater(low[0][x], low[1][x]), low[2][x]);
            let centre = median_of_three(middle[0][x], middle[1][x], middle[2][x]);
            let most = lesser(lesser(high[0][x], high[1][x]), high[2][x]);
            out[x] = median_of_three(least, centre, most);
        }
        gaps.clear();
        for place in rows.iter().flat_map(|row| &row.gaps) {
            gaps.extend([(place + count - 1) % count, *place, (place + 1) % count]);
        }
        gaps.sort_unstable();
        gaps.dedup();
        let nine = |place: usize, k: usize| rows[k / 3].values[place + k % 3];
        medians_at(gaps, network, nine, |place, median| out[place] = median as f32);
    }
}

/// nan-medians of the network's number of values at every place; `found` is called with them.
#[inline(always)]
fn medians_at(
    places: &[usize],
    network: &MedianNetwork,
    value: impl Fn(usize, usize) -> f32,
    mut found: impl FnMut(usize, f64),
) {
    let count = network.slots() - 2;
    let mut slots = [[0.0f32; LANES]; 11];
    for places in places.chunks(LANES) {
        for (k, vector) in slots[..count].iter_mut().enumerate() {
            for (out, &place) in vector.iter_mut().zip(places) {
                *out = value(place, k);
            }
        }
        for (&place, median) in places.iter().zip(network.medians(&mut slots)) {
            found(place, median);
        }
    }
}

/// Samples that are asked together whether one of them is NaN.
const CHUNK: usize = 64;

/// Call `found` with the places of NaN, in their order.
#[inline(always)]
fn find_nan(values: &[f32], mut found: impl FnMut(usize)) {
    for (chunk, values) in values.chunks(CHUNK).enumerate() {
        if values.iter().fold(false, |any, value| any | value.is_nan()) {
            for (k, value) in values.iter().enumerate() {
                if value.is_nan() {
                    found(chunk * CHUNK + k);
                }
            }
        }
    }
}

#[inline(always)]
fn lesser(a: f32, b: f32) -> f32 {
    if b < a { b } else { a }
}

#[inline(always)]
fn greater(a: f32, b: f32) -> f32 {
    if b < a { a } else { b }
}

/// Median of values that are not NaN.
#[inline(always)]
fn median_of_three(a: f32, b: f32, c: f32) -> f32 {
    greater(lesser(a, b), lesser(greater(a, b), c))
}

/// Median of values that are not NaN: neither the least nor the greatest of the first four is it.
#[inline(always)]
fn median_of_five(a: f32, b: f32, c: f32, d: f32, e: f32) -> f32 {
    let low = greater(lesser(a, b), lesser(c, d));
    let high = lesser(greater(a, b), greater(c, d));
    median_of_three(low, high, e)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::median::nan_median;

    #[test]
    fn rows_are_those_of_whole_maps() {
        let (rows, columns) = (7, 37);
        let mut pixels: Vec<f32> = (0..rows * columns).map(|k| ((k * 7919) % 1009) as f32).collect();
        for place in [0, 1, 5, 6, 7, 8, 9, 10, 36, 37, 90, 127, 128, 129, 200, 257, 258] {
            pixels[place] = f32::NAN;
        }
        let at = |place: isize| pixels[place.rem_euclid(pixels.len() as isize) as usize];
        let median = |place: isize| nan_median(&mut [-2, -1, 0, 1, 2].map(|k| f64::from(at(place + k))));
        let distance = |row: usize, column: usize| {
            let place = (row % rows * columns + column % columns) as isize;
            let five = [-2, -1, 0, 1, 2].map(|k| median(place + k));
            (f64::from(at(place)) - (five[0] + five[1] + five[2] + five[3] + five[4]) / 5.0).abs() as f32
        };
        let scale = |row: usize, column: usize| {
            let place = |k: usize| distance(row + rows + k / 3 - 1, column + columns + k % 3 - 1);
            nan_median(&mut std::array::from_fn::<f32, 9, _>(place)) as f32
        };
        for range in [0..rows, 0..3, 3..rows] {
            LocalScale::new(&pixels, columns).for_rows(range, |row, distances, scales| {
                for column in 0..columns {
                    assert_eq!(distances[column].to_bits(), distance(row, column).to_bits(), "{row} {column}");
                    assert_eq!(scales[column].to_bits(), scale(row, column).to_bits(), "{row} {column}");
                }
            });
        }
    }
}
