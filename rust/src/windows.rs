//! What an order's window lacks, column by column: pixels without value, pixels off the detector, and the light there.

use crate::error::{Result, contiguous, same_shape};
use crate::mapping::{Mapping, Maps};
use crate::median::nan_median;
use crate::orders::Window;
use crate::simd::{Vectorised, widest};
use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

/// Columns of an order that its typical profile is the median of: enough for a median of a smooth profile.
const SAMPLES: usize = 255;

/// Columns that are looked at together.
const PIECE: usize = 256;

/// What the windows of a fibre's orders lack; orders by columns.
#[derive(Debug, Clone)]
pub struct WindowPlanes {
    /// At least one pixel of the window has no value although it lies on the detector.
    pub bad: Array2<bool>,
    /// At least one pixel of the window lies off the detector.
    pub off_detector: Array2<bool>,
    /// Share of the order's light that falls on pixels of the window on the detector.
    pub coverage: Array2<f64>,
}

/// Find what the windows of a straightened image lack.
///
/// The light of an order is its typical profile: row by row the median over columns that lie wholly on the detector
/// (255 of them, evenly spread). Where no column does, it is that of the rows that are seen, and coverage is relative
/// to them.
pub fn window_planes(
    image: ArrayView2<'_, f32>,
    profile: ArrayView2<'_, f32>,
    windows: &[Window],
    mapping: Mapping<'_>,
) -> Result<WindowPlanes> {
    let shape = image.dim();
    same_shape("profile", &profile, shape)?;
    let maps = mapping.of(shape)?;
    let (pixels, profile) = (contiguous("image", &image)?, contiguous("profile", &profile)?);
    let size = (windows.len(), shape.1);
    let (mut bad, mut off) = (Array2::from_elem(size, false), Array2::from_elem(size, false));
    let mut coverage = Array2::ones(size);
    let columns = shape.1.max(1);
    if let (Some(bad), Some(off), Some(coverage)) = (bad.as_slice_mut(), off.as_slice_mut(), coverage.as_slice_mut()) {
        bad.par_chunks_mut(columns)
            .zip(off.par_chunks_mut(columns))
            .zip(coverage.par_chunks_mut(columns))
            .zip(windows.par_iter())
            .for_each(|(((bad, off), coverage), &window)| {
                let order = Order { pixels, profile, shape, window, maps };
                widest(Marks { order: &order, bad, off });
                if off.contains(&true) {
                    order.cover(off, coverage);
                }
            });
    }
    Ok(WindowPlanes { bad, off_detector: off, coverage })
}

/// One order's window of the straightened image.
struct Order<'a> {
    pixels: &'a [f32],
    profile: &'a [f32],
    shape: (usize, usize),
    window: Window,
    maps: Maps<'a>,
}

impl Order<'_> {
    /// Row of the image, where the window's row lies on it.
    fn row(&self, k: usize) -> Option<usize> {
        usize::try_from(self.window.first + k as isize).ok().filter(|&row| row < self.shape.0)
    }

    fn sees(&self, k: usize, x: usize) -> Option<usize> {
        self.row(k).filter(|&row| self.maps.on_detector(row, x)).map(|row| row * self.shape.1 + x)
    }

    /// Fill in the coverage of the columns that are partly or wholly off the detector.
    fn cover(&self, off: &[bool], coverage: &mut [f64]) {
        let shares = self.typical_profile(off);
        for (x, coverage) in coverage.iter_mut().enumerate().filter(|(x, _)| off[*x]) {
            *coverage = (0..shares.len()).filter(|&k| self.sees(k, x).is_some()).map(|k| shares[k]).sum();
        }
    }

    /// Share of the light on each row of the window.
    fn typical_profile(&self, off: &[bool]) -> Vec<f64> {
        let count = self.window.count;
        let mut whole: Vec<usize> = (0..self.shape.1).filter(|&x| !off[x]).collect();
        let any_whole = !whole.is_empty();
        if !any_whole {
            whole = (0..self.shape.1).collect();
        }
        let step = whole.len().div_ceil(SAMPLES).max(1);
        let samples: Vec<usize> = whole.into_iter().step_by(step).collect();
        let mut totals = vec![0.0; samples.len()];
        let mut rows: Vec<Vec<f64>> = vec![Vec::new(); count];
        for (k, row) in rows.iter_mut().enumerate() {
            // Row after row: pixels of a column lie far apart in memory.
            let read = |x: usize| self.sees(k, x).map_or(f64::NAN, |place| f64::from(self.profile[place]));
            row.extend(samples.iter().map(|&x| read(x)));
            for (total, value) in totals.iter_mut().zip(row) {
                *total += if value.is_nan() { 0.0 } else { *value };
            }
        }
        if !any_whole {
            // Columns of which parts are missing have no sum in common.
            totals.fill(1.0);
        }
        let share = |row: &Vec<f64>| {
            let seen = row.iter().zip(&totals).filter(|(_, total)| **total > 0.0);
            nan_median(&mut seen.map(|(value, total)| value / total).collect::<Vec<_>>()).max(0.0)
        };
        let mut shares: Vec<f64> = rows.iter().map(share).collect();
        let total: f64 = shares.iter().sum();
        for share in &mut shares {
            *share = if total > 0.0 { *share / total } else { 1.0 / count as f64 };
        }
        shares
    }
}

/// Mark the columns of an order.
struct Marks<'a> {
    order: &'a Order<'a>,
    bad: &'a mut [bool],
    off: &'a mut [bool],
}

impl Vectorised for Marks<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { order, bad, off } = self;
        for k in 0..order.window.count {
            let Some(row) = order.row(k) else {
                off.fill(true);
                continue;
            };
            let pixels = &order.pixels[row * order.shape.1..][..order.shape.1];
            let (dx, dy) = order.maps.shifts(row);
            for first in (0..order.shape.1).step_by(PIECE) {
                let piece = first..(first + PIECE).min(order.shape.1);
                let (pixels, shifts) = (&pixels[piece.clone()], (&dx[piece.clone()], &dy[piece.clone()]));
                // Most pieces lie wholly on the detector and have all of their pixels.
                let whole = order.maps.all_within(row, first, shifts);
                if whole && pixels.iter().fold(true, |all, pixel| all & pixel.is_finite()) {
                    continue;
                }
                let marks = bad[piece.clone()].iter_mut().zip(off[piece].iter_mut());
                for (k, ((((bad, off), pixel), &dx), &dy)) in marks.zip(pixels).zip(shifts.0).zip(shifts.1).enumerate()
                {
                    let on = order.maps.within(row, first + k, (dx, dy));
                    *off |= !on;
                    *bad |= on & !pixel.is_finite();
                }
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::straighten::Linear;

    const IDENTITY: Linear = Linear { dx: 0.0, dy: 0.0, a: 1.0, b: 0.0, c: 0.0, d: 1.0 };

    fn planes(linear: Linear, windows: &[Window]) -> WindowPlanes {
        let mut image = Array2::from_elem((6, 5), 1.0f32);
        image[[3, 1]] = f32::NAN;
        let profile = Array2::from_shape_fn((6, 5), |(y, _)| [1.0, 2.0, 4.0, 2.0, 1.0, 0.0][y]);
        let none = Array2::zeros((6, 5));
        let mapping = Mapping { linear, dxmap: none.view(), dymap: none.view() };
        window_planes(image.view(), profile.view(), windows, mapping).unwrap()
    }

    #[test]
    fn a_pixel_without_value_is_bad_and_on_the_detector() {
        let found = planes(IDENTITY, &[Window { first: 2, count: 3 }, Window { first: 0, count: 3 }]);
        assert_eq!(found.bad.row(0).to_vec(), [false, true, false, false, false]);
        assert!(found.bad.row(1).iter().all(|&b| !b) && found.off_detector.iter().all(|&o| !o));
        assert!(found.coverage.iter().all(|&c| c == 1.0));
    }

    #[test]
    fn columns_shifted_off_have_no_light() {
        let found = planes(Linear { dx: 1.0, ..IDENTITY }, &[Window { first: 0, count: 5 }]);
        assert_eq!(found.off_detector.row(0).to_vec(), [false, false, false, false, true]);
        assert_eq!(found.coverage.row(0).to_vec(), [1.0, 1.0, 1.0, 1.0, 0.0]);
        assert_eq!(found.bad.row(0).to_vec(), [false, true, false, false, false]);
    }

    #[test]
    fn a_slanted_edge_takes_rows_one_by_one() {
        // y' = y - x/2: column 1 loses row 0, column 3 rows 0 and 1, column 4 too (2 - 2 = 0 is still on the detector).
        let found = planes(Linear { c: -0.5, ..IDENTITY }, &[Window { first: 0, count: 5 }]);
        assert_eq!(found.off_detector.row(0).to_vec(), [false, true, true, true, true]);
        let expected = [1.0, 0.9, 0.9, 0.7, 0.7];
        assert!(found.coverage.row(0).iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{}", found.coverage);
    }

    #[test]
    fn rows_that_no_column_sees_do_not_count() {
        let found = planes(IDENTITY, &[Window { first: -2, count: 5 }, Window { first: 9, count: 2 }]);
        assert!(found.off_detector.iter().all(|&o| o) && found.bad.iter().all(|&b| !b));
        assert!(found.coverage.row(0).iter().all(|&c| (c - 1.0).abs() < 1e-12));
        assert!(found.coverage.row(1).iter().all(|&c| c == 0.0));
    }

    #[test]
    fn pieces_of_many_columns_are_marked_as_pixels_one_by_one() {
        // Wider than a piece; displacements without number lead off the detector.
        let (rows, columns) = (5, 2 * PIECE + 7);
        let mut image = Array2::from_elem((rows, columns), 1.0f32);
        image[[2, PIECE + 3]] = f32::NAN;
        let (mut dx, dy) = (Array2::zeros((rows, columns)), Array2::zeros((rows, columns)));
        dx[[1, 9]] = f32::NAN;
        dx[[3, PIECE]] = columns as f32;
        let mapping = Mapping { linear: Linear { dx: 2.0, ..IDENTITY }, dxmap: dx.view(), dymap: dy.view() };
        let found = window_planes(image.view(), image.view(), &[Window { first: 0, count: rows }], mapping).unwrap();
        let marked = |plane: &Array2<bool>| (0..columns).filter(|&x| plane[[0, x]]).collect::<Vec<_>>();
        assert_eq!(marked(&found.bad), [PIECE + 3]);
        assert_eq!(marked(&found.off_detector), [9, PIECE, columns - 2, columns - 1]);
    }
}
