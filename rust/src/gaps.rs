//! Values for pixels that have none, kept beside the image.

use crate::median::nan_median;
use rayon::prelude::*;

/// Pixels that are NaN, row by row, and what stands for them.
pub(crate) struct Gaps {
    /// For every row, the place of its first gap in the lists; and the number of gaps.
    starts: Vec<usize>,
    columns: Vec<u32>,
    values: Vec<f32>,
}

/// Pixels that are asked together whether one of them is NaN.
const CHUNK: usize = 64;

impl Gaps {
    /// The gaps of an image filled: on the edge by 0, elsewhere by the nan-median of the 3 x 3 neighbourhood.
    ///
    /// The passes go on until none is left, each reading the image as it was at its start. A gap between infinities of
    /// both signs has no median and stays.
    pub(crate) fn filled(pixels: &[f32], columns: usize) -> Self {
        let found: Vec<Vec<u32>> = pixels.par_chunks(columns.max(1)).map(nan_columns).collect();
        let (rows, total) = (found.len(), found.iter().map(Vec::len).sum());
        let mut gaps = Self {
            starts: Vec::with_capacity(rows + 1),
            columns: Vec::with_capacity(total),
            values: vec![f32::NAN; total],
        };
        let mut open = Vec::new();
        for (y, row) in found.iter().enumerate() {
            gaps.starts.push(gaps.columns.len());
            for &x in row {
                let place = gaps.columns.len();
                if y == 0 || x == 0 || y + 1 == rows || x as usize + 1 == columns {
                    gaps.values[place] = 0.0;
                } else {
                    open.push((y, place));
                }
                gaps.columns.push(x);
            }
        }
        gaps.starts.push(total);
        while !open.is_empty() {
            let values: Vec<f32> =
                open.par_iter().map(|&(y, place)| gaps.median_around(pixels, columns, y, place)).collect();
            let before = open.len();
            for (&(_, place), value) in open.iter().zip(values) {
                gaps.values[place] = value;
            }
            open.retain(|&(_, place)| gaps.values[place].is_nan());
            if open.len() == before {
                break;
            }
        }
        gaps
    }

    fn median_around(&self, pixels: &[f32], columns: usize, y: usize, place: usize) -> f32 {
        let x = self.columns[place] as usize;
        let mut nine: [f32; 9] = std::array::from_fn(|k| {
            let (y, x) = (y + k / 3 - 1, x + k % 3 - 1);
            let value = pixels[y * columns + x];
            if value.is_nan() { self.value(y, x as u32) } else { value }
        });
        nan_median(&mut nine) as f32
    }

    /// What stands for a pixel that is NaN.
    fn value(&self, y: usize, x: u32) -> f32 {
        let row = self.starts[y]..self.starts[y + 1];
        self.columns[row.clone()].binary_search(&x).map_or(f32::NAN, |k| self.values[row.start + k])
    }

    /// A row of the image with its gaps filled; `room` is used where it has any.
    pub(crate) fn row<'a>(&self, y: usize, pixels: &'a [f32], room: &'a mut Vec<f32>) -> &'a [f32] {
        let gaps = self.starts[y]..self.starts[y + 1];
        if gaps.is_empty() {
            return pixels;
        }
        room.clear();
        room.extend_from_slice(pixels);
        for (&x, &value) in self.columns[gaps.clone()].iter().zip(&self.values[gaps]) {
            room[x as usize] = value;
        }
        room
    }
}

fn nan_columns(row: &[f32]) -> Vec<u32> {
    let mut found = Vec::new();
    for (chunk, values) in row.chunks(CHUNK).enumerate() {
        if values.iter().fold(false, |any, value| any | value.is_nan()) {
            let nan = values.iter().enumerate().filter(|(_, value)| value.is_nan());
            found.extend(nan.map(|(k, _)| (chunk * CHUNK + k) as u32));
        }
    }
    found
}
