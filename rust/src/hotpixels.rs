//! Detection and repair of hot pixels.

use crate::error::{Result, contiguous, require, same_shape};
use crate::local_scale::LocalScale;
use crate::selection::nan_median_of;
use crate::simd::{Vectorised, widest};
use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

/// Replace bad pixels that have enough good neighbours.
///
/// A pixel is bad where it lies more than `threshold` local scales off the smoothed image, where `bad` is not 0, or where
/// it is not finite. The local scale counts as no less than half its median. The image is smoothed along its flattened,
/// wrapping rows; neighbours wrap in both axes. With 8 good neighbours a bad pixel becomes twice the mean of the edge
/// neighbours minus the mean of the corner ones, with 6 or 7 the mean of the good ones; else it stays as it is.
pub fn repair_hot_pixels(image: ArrayView2<'_, f32>, bad: ArrayView2<'_, u8>, threshold: f64) -> Result<Array2<f32>> {
    require(threshold > 0.0, "threshold", threshold, "above 0")?;
    let shape = image.dim();
    same_shape("bad", &bad, shape)?;
    let (pixels, bad) = (contiguous("image", &image)?, contiguous("bad", &bad)?);
    let mut result = Array2::zeros(shape);
    let columns = shape.1;
    if let Some(out) = result.as_slice_mut()
        && !out.is_empty()
    {
        // The result serves as the map of the scale first: new memory costs more than what is put into it.
        let mut marks = vec![GOOD; pixels.len()];
        let suspects = suspected(pixels, bad, columns, threshold, out, &mut marks);
        let least = threshold * (nan_median_of(out) / 2.0);
        acquit(&suspects, least, columns, &mut marks);
        repair(pixels, &marks, columns, out);
    }
    Ok(result)
}

/// Rows that a thread works through one after the other; it needs the distances of one more on both sides.
const ROWS: usize = 64;

/// Marks of pixels.
const GOOD: u8 = 0;
const BAD: u8 = 1;
/// Many local scales off the smoothed image; hot if that is far too where the local scale is least.
const SUSPECT: u8 = 2;

/// A suspect's place in its band, and its distance from the smoothed image.
type Suspect = (usize, f32);

/// Mark the pixels and give the local scales, and the suspects of every band.
fn suspected(
    pixels: &[f32],
    bad: &[u8],
    columns: usize,
    threshold: f64,
    scales: &mut [f32],
    marks: &mut [u8],
) -> Vec<Vec<Suspect>> {
    let bands = scales.par_chunks_mut(columns * ROWS).zip(marks.par_chunks_mut(columns * ROWS));
    let found = bands.enumerate().map_init(
        || LocalScale::new(pixels, columns),
        |rows, (band, (scales, marks))| {
            let mut suspects = Vec::new();
            let first = band * ROWS;
            rows.for_rows(first..first + scales.len() / columns, |row, distance, scale| {
                let (here, there) = (row * columns, (row - first) * columns);
                scales[there..there + columns].copy_from_slice(scale);
                let marks = &mut marks[there..there + columns];
                let (pixels, bad) = (&pixels[here..here + columns], &bad[here..here + columns]);
                widest(Judge { pixels, bad, distance, scale, threshold, marks });
                for_marked(marks, |x, mark| {
                    if mark == SUSPECT {
                        suspects.push((there + x, distance[x]));
                    }
                });
            });
            suspects
        },
    );
    found.collect()
}

/// A row of pixels to be marked.
struct Judge<'a> {
    pixels: &'a [f32],
    bad: &'a [u8],
    distance: &'a [f32],
    scale: &'a [f32],
    threshold: f64,
    marks: &'a mut [u8],
}

impl Vectorised for Judge<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { pixels, bad, distance, scale, threshold, marks } = self;
        for x in 0..marks.len() {
            let suspect = f64::from(distance[x]) > threshold * f64::from(scale[x]);
            let mark = if suspect { SUSPECT } else { GOOD };
            marks[x] = if (bad[x] != 0) | !pixels[x].is_finite() { BAD } else { mark };
        }
    }
}

/// Let go the suspects that are no further off the smoothed image than `least`.
fn acquit(suspects: &[Vec<Suspect>], least: f64, columns: usize, marks: &mut [u8]) {
    marks.par_chunks_mut(columns * ROWS).zip(suspects).for_each(|(marks, suspects)| {
        for &(place, distance) in suspects {
            if f64::from(distance) <= least {
                marks[place] = GOOD;
            }
        }
    });
}

/// The image, repaired where it is marked.
fn repair(pixels: &[f32], marks: &[u8], columns: usize, out: &mut [f32]) {
    out.par_chunks_mut(columns).enumerate().for_each(|(row, out)| {
        let line = row * columns..(row + 1) * columns;
        out.copy_from_slice(&pixels[line.clone()]);
        for_marked(&marks[line], |column, _| {
            if let Some(value) = repaired(pixels, marks, columns, row, column) {
                out[column] = value;
            }
        });
    });
}

/// Marks that are asked together whether one of them is not [`GOOD`].
const CHUNK: usize = 64;

/// Call `found` with the places and marks of pixels that are not [`GOOD`].
fn for_marked(marks: &[u8], mut found: impl FnMut(usize, u8)) {
    for (chunk, marks) in marks.chunks(CHUNK).enumerate() {
        if marks.iter().fold(GOOD, |any, mark| any | mark) != GOOD {
            for (k, &mark) in marks.iter().enumerate() {
                if mark != GOOD {
                    found(chunk * CHUNK + k, mark);
                }
            }
        }
    }
}

/// The index before, the index, and the index after, wrapping.
#[inline]
fn around(index: usize, size: usize) -> [usize; 3] {
    let before = if index == 0 { size - 1 } else { index - 1 };
    let after = if index + 1 == size { 0 } else { index + 1 };
    [before, index, after]
}

/// What a bad pixel's good neighbours make of it, if there are enough.
fn repaired(pixels: &[f32], marks: &[u8], columns: usize, row: usize, column: usize) -> Option<f32> {
    let rows = pixels.len() / columns;
    let (ys, xs) = (around(row, rows), around(column, columns));
    let (mut edges, mut corners, mut count) = (0.0, 0.0, 0);
    for (j, y) in ys.iter().enumerate() {
        for (i, x) in xs.iter().enumerate() {
            let place = y * columns + x;
            if (j, i) == (1, 1) || marks[place] != GOOD {
                continue;
            }
            let side = if j == 1 || i == 1 { &mut edges } else { &mut corners };
            *side += f64::from(pixels[place]);
            count += 1;
        }
    }
    match count {
        8 => Some((2.0 * edges / 4.0 - corners / 4.0) as f32),
        6 | 7 => Some(((edges + corners) / f64::from(count)) as f32),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_hot_pixel_on_a_slope_is_repaired_from_its_neighbours() {
        let mut image = Array2::from_shape_fn((8, 12), |(y, x)| (y as f32) * 0.5 + ((x * 7 + y * 3) % 5) as f32 * 0.1);
        image[[4, 6]] = 1.0e4;
        let bad = Array2::zeros((8, 12));
        let found = repair_hot_pixels(image.view(), bad.view(), 10.0).unwrap();
        assert!(found[[4, 6]] < 5.0);
        assert_eq!(found[[1, 3]], image[[1, 3]]);
        assert!(repair_hot_pixels(image.view(), bad.view(), 0.0).is_err());
    }

    #[test]
    fn too_few_good_neighbours_leave_it_as_it_is() {
        let image = Array2::from_shape_fn((6, 6), |(y, x)| ((y * 5 + x * 3) % 7) as f32);
        let bad = Array2::from_shape_fn((6, 6), |(y, x)| u8::from(y < 3 && x < 3));
        let found = repair_hot_pixels(image.view(), bad.view(), 1.0e6).unwrap();
        assert_eq!(found[[1, 1]], image[[1, 1]]);
        assert_ne!(found[[2, 2]], f32::NAN);
    }
}
