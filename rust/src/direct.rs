//! Extraction along the curved traces, from the pixels as the detector gave them.
//!
//! Weights as in Horne 1986, PASP 98, 609; no pixel is interpolated. Slits that are curved, and columns that share
//! pixels, as in Piskunov & Valenti 2002, A&A 385, 1095.

use crate::error::{Result, contiguous, same_shape};
use crate::horne::{Column, Pixel};
use crate::mapping::{Mapping, Maps};
use crate::orders::{Extraction, Out, Spectra, Window, each_order};
use ndarray::{Array2, ArrayView2};

/// Steps towards the middle of a window; each shrinks the distance by the slope of the maps.
const MOST_STEPS: usize = 20;

/// Spectra, and the columns that have a share of a pixel without value; orders by columns.
#[derive(Debug, Clone)]
pub struct DirectSpectra {
    /// Spectra; rows of the shares are straight rows, counted from the window's first.
    pub spectra: Spectra,
    /// Columns with a pixel that has no value.
    pub bad: Array2<bool>,
}

/// Extract the orders of an image that is not straightened, with a profile that is not either, onto straight columns.
///
/// Every pixel has a straight position (y, x). It belongs to the window by the share of it that lies between the
/// window's edges, and to the two columns about x in the inverse ratio of their distances.
pub fn extract_direct(
    image: ArrayView2<'_, f32>,
    profile: ArrayView2<'_, f32>,
    windows: &[Window],
    how: Extraction,
    mapping: Mapping<'_>,
) -> Result<DirectSpectra> {
    how.check()?;
    let shape = image.dim();
    same_shape("profile", &profile, shape)?;
    let maps = mapping.of(shape)?;
    let (pixels, profile) = (contiguous("image", &image)?, contiguous("profile", &profile)?);
    let work = |window, out: Out<'_>| Shares::new(maps, window).extract(pixels, profile, how, out);
    let mut marks = Vec::new();
    let spectra = Spectra::filled(windows, shape.1, |room| {
        let (rejected, found) = each_order(windows, shape.1, room, work)?;
        marks = found;
        Ok(rejected)
    })?;
    let bad = Array2::from_shape_fn((windows.len(), shape.1), |(order, x)| marks[order][x]);
    Ok(DirectSpectra { spectra, bad })
}

/// A pixel's share in a column.
#[derive(Clone, Copy, Default)]
struct Share {
    column: u32,
    /// Row of the window the pixel lies on.
    row: u32,
    /// Place of the pixel in the image.
    place: usize,
    share: f64,
}

/// Shares of an order's pixels, by column.
struct Shares<'a> {
    maps: Maps<'a>,
    window: Window,
    columns: usize,
    sorted: Vec<Share>,
    /// Where each column's shares begin.
    starts: Vec<usize>,
}

impl<'a> Shares<'a> {
    fn new(maps: Maps<'a>, window: Window) -> Self {
        let columns = maps.shape.1;
        let mut found = Vec::with_capacity(2 * columns * (window.count + 2));
        for native in 0..columns {
            for_pixels(maps, window, native, |row, y, x| {
                let low = window.first as f64 - 1.0;
                let overlap = (y - low).min(low + 1.0 + window.count as f64 - y).clamp(0.0, 1.0);
                let on = (y + 0.5).floor() - window.first as f64;
                let on = on.clamp(0.0, window.count.saturating_sub(1) as f64) as u32;
                let (left, part) = (x.floor(), x - x.floor());
                for (column, share) in [(left, 1.0 - part), (left + 1.0, part)] {
                    if column >= 0.0 && column < columns as f64 && share * overlap > 0.0 {
                        let place = row * columns + native;
                        found.push(Share { column: column as u32, row: on, place, share: share * overlap });
                    }
                }
            });
        }
        let mut starts = vec![0; columns + 1];
        for share in &found {
            starts[share.column as usize + 1] += 1;
        }
        for column in 0..columns {
            starts[column + 1] += starts[column];
        }
        // Those of a column stay in the order in which they were found.
        let (mut next, mut sorted) = (starts.clone(), vec![Share::default(); found.len()]);
        for share in found {
            let place = &mut next[share.column as usize];
            sorted[*place] = share;
            *place += 1;
        }
        Self { maps, window, columns, sorted, starts }
    }

    /// Number of the window's straight rows that lie on the detector, by column.
    fn seen_rows(&self) -> Vec<usize> {
        let mut seen = vec![0; self.columns];
        let rows = (0..self.window.count).map(|k| self.window.first + k as isize);
        for row in rows.filter_map(|row| usize::try_from(row).ok()).filter(|&row| row < self.maps.shape.0) {
            for (x, seen) in seen.iter_mut().enumerate() {
                *seen += usize::from(self.maps.on_detector(row, x));
            }
        }
        seen
    }

    /// Fill in the spectra, and tell the columns with a pixel that has no value.
    fn extract(&self, pixels: &[f32], profile: &[f32], how: Extraction, mut out: Out<'_>) -> Vec<bool> {
        out.clear();
        let mut bad = vec![false; self.columns];
        let mut column = Column::default();
        let seen = self.seen_rows();
        let mut rows = vec![Row::default(); self.window.count];
        for x in 0..self.columns {
            let shares = &self.sorted[self.starts[x]..self.starts[x + 1]];
            column.pixels.clear();
            column.pixels.extend(shares.iter().map(|share| Pixel {
                flux: pixels[share.place].into(),
                light: profile[share.place].into(),
                share: share.share,
                smoothing: 1.0,
            }));
            column.rows = Some(seen[x] as f64);
            (out.e2ds[x], out.variance[x]) = column.solve(how);
            bad[x] = shares.iter().any(|share| !pixels[share.place].is_finite());
            rows.fill(Row::default());
            for (k, share) in shares.iter().enumerate() {
                let row = &mut rows[share.row as usize];
                row.kept |= column.kept[k];
                row.lost |= !column.kept[k];
                row.flux += if column.kept[k] { column.parts[k] } else { 0.0 };
            }
            for (k, row) in rows.iter().enumerate().filter(|(_, row)| row.kept) {
                out.stacked[k * self.columns + x] = row.flux as f32;
                out.kept[k * self.columns + x] = u8::from(!row.lost);
            }
        }
        bad
    }
}

/// What the pixels on one row of the window give to a column.
#[derive(Clone, Copy, Default)]
struct Row {
    flux: f64,
    kept: bool,
    lost: bool,
}

/// Visit a detector column's pixels of which a part lies in the window: row, and straight position (y, x).
fn for_pixels(maps: Maps<'_>, window: Window, native: usize, mut visit: impl FnMut(usize, f64, f64)) {
    let rows = maps.shape.0;
    let (low, high) = (window.first as f64 - 1.0, window.first as f64 + window.count as f64);
    if rows == 0 || window.count == 0 {
        return;
    }
    let mut middle = ((low + high) / 2.0).clamp(0.0, rows as f64 - 1.0) as usize;
    let mut place = maps.straight(middle, native, (middle as f64, native as f64));
    for _ in 0..MOST_STEPS {
        let off = ((low + high) / 2.0 - place.0).round();
        // Casts saturate, and what is no number stays where it is.
        let next = (middle as f64 + off).clamp(0.0, rows as f64 - 1.0);
        if off == 0.0 || !(next - middle as f64).is_normal() {
            break;
        }
        middle = next as usize;
        place = maps.straight(middle, native, place);
    }
    // Each position is sought from its neighbour's.
    let mut below = place;
    for row in (0..=middle).rev() {
        let (y, x) = maps.straight(row, native, below);
        below = (y - 1.0, x);
        if y < high && y > low {
            visit(row, y, x);
        } else if y < high || y.is_nan() {
            break;
        }
    }
    for row in middle + 1..rows {
        place = maps.straight(row, native, (place.0 + 1.0, place.1));
        if place.0 > low && place.0 < high {
            visit(row, place.0, place.1);
        } else if place.0 > low || place.0.is_nan() {
            break;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::straighten::Linear;

    const HOW: Extraction = Extraction { threshold: Some(10.0), readnoise: 3.0, photon_variance: 1.0 };
    const SHAPE: (usize, usize) = (40, 50);

    /// An order along y' = 20 + 0.003 (x - 25)^2, its slit slanted.
    fn scene() -> (Array2<f32>, Array2<f32>, Array2<f32>) {
        let dy = Array2::from_shape_fn(SHAPE, |(_, x)| 0.003 * (x as f32 - 25.0).powi(2));
        let dx = Array2::from_shape_fn(SHAPE, |(y, _)| 0.04 * (y as f32 - 20.0));
        let linear = Linear { dx: 0.0, dy: 0.0, a: 1.0, b: 0.0, c: 0.0, d: 1.0 };
        let mapping = Mapping { linear, dxmap: dx.view(), dymap: dy.view() };
        let maps = mapping.of(SHAPE).unwrap();
        let light = Array2::from_shape_fn(SHAPE, |(row, column)| {
            let (y, _) = maps.straight(row, column, (row as f64, column as f64));
            (-0.5 * ((y - 20.2) / 2.0).powi(2)).exp() as f32
        });
        (dx, dy, light)
    }

    fn extracted(image: &Array2<f32>) -> DirectSpectra {
        let (dx, dy, light) = scene();
        let linear = Linear { dx: 0.0, dy: 0.0, a: 1.0, b: 0.0, c: 0.0, d: 1.0 };
        let mapping = Mapping { linear, dxmap: dx.view(), dymap: dy.view() };
        extract_direct(image.view(), light.view(), &[Window { first: 12, count: 17 }], HOW, mapping).unwrap()
    }

    #[test]
    fn a_curved_order_is_flat_once_it_is_extracted() {
        let (_, _, light) = scene();
        let found = extracted(&(&light * 300.0));
        for x in 2..48 {
            let expected = 300.0 * 2.0 * (2.0 * std::f64::consts::PI).sqrt();
            assert!((found.spectra.e2ds[[0, x]] - expected).abs() < 5e-4 * expected, "{x}: {}", found.spectra.e2ds);
        }
        assert_eq!(found.spectra.rejected, [0]);
        assert!(found.bad.iter().all(|&b| !b));
    }

    #[test]
    fn a_pixel_counts_in_both_its_columns_and_an_outlier_in_none() {
        let (_, _, light) = scene();
        let image = &light * 300.0;
        let whole = extracted(&image);
        let mut struck = image.clone();
        struck[[20, 30]] += 1e5;
        let found = extracted(&struck);
        let lost: Vec<usize> = (0..50).filter(|&x| (0..17).any(|k| found.spectra.e2dscc[[k, x]] == 0)).collect();
        assert!(lost == [29, 30] || lost == [30, 31], "{lost:?}");
        assert!(found.spectra.e2ds.iter().zip(&whole.spectra.e2ds).all(|(a, b)| (a - b).abs() < 1e-4 * b));
        struck[[20, 30]] = f32::NAN;
        let found = extracted(&struck);
        assert_eq!((0..50).filter(|&x| found.bad[[0, x]]).collect::<Vec<_>>(), lost);
    }
}
