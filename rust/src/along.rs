//! Medians along the dispersion: of the pixels to both sides in a row, or of those along the curve of an order.

use crate::error::{Result, contiguous, require, same_shape};
use crate::median::{LANES, MedianNetwork};
use crate::simd::{Vectorised, widest};
use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

/// nan-median of each pixel and the `half` columns to both sides of it, fewer at the ends of a row.
pub fn row_medians(image: ArrayView2<'_, f32>, half: usize) -> Result<Array2<f32>> {
    let (ny, nx) = image.dim();
    require(half >= 1 && half < nx, "half", half as f64, "at least 1 and below the number of columns")?;
    let pixels = contiguous("image", &image)?;
    let network = MedianNetwork::new(2 * half + 1);
    let mut medians = Array2::zeros((ny, nx));
    if let Some(medians) = medians.as_slice_mut() {
        medians.par_chunks_mut(nx).zip(pixels.par_chunks(nx)).for_each_init(
            || vec![f32::NAN; nx + 2 * half + LANES],
            |padded, (out, row)| {
                padded[half..half + nx].copy_from_slice(row);
                widest(Row { padded, half, network: &network, out });
            },
        );
    }
    Ok(medians)
}

/// A row, with NaN beyond both ends.
struct Row<'a> {
    padded: &'a [f32],
    half: usize,
    network: &'a MedianNetwork,
    out: &'a mut [f32],
}

impl Vectorised for Row<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { padded, half, network, out } = self;
        let mut slots = vec![[0.0f32; LANES]; network.slots()];
        for (block, out) in out.chunks_mut(LANES).enumerate() {
            for (k, slot) in slots[..=2 * half].iter_mut().enumerate() {
                slot.copy_from_slice(&padded[block * LANES + k..][..LANES]);
            }
            store(&network.medians(&mut slots), out);
        }
    }
}

#[inline(always)]
fn store(medians: &[f64; LANES], out: &mut [f32]) {
    for (out, &median) in out.iter_mut().zip(medians) {
        *out = median as f32;
    }
}

/// nan-median of each pixel of `wanted` and its likes in the `half` columns to both sides, along the curve of the
/// orders; 0 elsewhere.
///
/// `dymap` is the shift of the rows that makes orders straight: a straight row r passes through r + dymap\[r, x\].
/// Between rows the image is interpolated by a cubic through four of them, or by a line where an outer one has no
/// value.
pub fn curve_medians(
    image: ArrayView2<'_, f32>,
    dymap: ArrayView2<'_, f32>,
    wanted: ArrayView2<'_, u8>,
    half: usize,
) -> Result<Array2<f32>> {
    let (ny, nx) = image.dim();
    require(half >= 1 && half < nx, "half", half as f64, "at least 1 and below the number of columns")?;
    same_shape("dymap", &dymap, (ny, nx))?;
    same_shape("wanted", &wanted, (ny, nx))?;
    let curve = Curve { pixels: contiguous("image", &image)?, dymap: contiguous("dymap", &dymap)?, shape: (ny, nx) };
    let wanted = contiguous("wanted", &wanted)?;
    let network = MedianNetwork::new(2 * half + 1);
    let mut medians = Array2::zeros((ny, nx));
    if let Some(medians) = medians.as_slice_mut() {
        medians.par_chunks_mut(nx).zip(wanted.par_chunks(nx)).enumerate().for_each(|(y, (out, wanted))| {
            widest(CurveRow { curve: &curve, y, half, wanted, network: &network, out });
        });
    }
    Ok(medians)
}

/// An image and the curve of its orders.
struct Curve<'a> {
    pixels: &'a [f32],
    dymap: &'a [f32],
    shape: (usize, usize),
}

impl Curve<'_> {
    /// Straight row of a pixel, to the nearest.
    #[inline(always)]
    fn straight_row(&self, y: usize, x: usize) -> usize {
        let row = y as f32 - self.dymap[y * self.shape.1 + x];
        (row.round().max(0.0) as usize).min(self.shape.0 - 1)
    }

    /// The image in column `x` at a row that need not be whole; NaN off the image.
    #[inline(always)]
    fn at(&self, row: f32, x: usize) -> f32 {
        let (ny, nx) = self.shape;
        let below = row.floor();
        if !(below >= 0.0 && row <= (ny - 1) as f32) {
            return f32::NAN;
        }
        let (first, t) = (below as usize, row - below);
        let near = self.pixels[first * nx + x];
        if t == 0.0 {
            return near;
        }
        let far = self.pixels[(first + 1) * nx + x];
        let line = near + t * (far - near);
        if first == 0 || first + 2 >= ny {
            return line;
        }
        let (before, after) = (self.pixels[(first - 1) * nx + x], self.pixels[(first + 2) * nx + x]);
        // Catmull & Rom 1974: the cubic whose slopes at the inner rows are half the difference of their neighbours.
        let (slope, end) = (0.5 * (far - before), 0.5 * (after - near));
        let cubic =
            near + t * (slope + t * (3.0 * (far - near) - 2.0 * slope - end + t * (2.0 * (near - far) + slope + end)));
        if cubic.is_nan() { line } else { cubic }
    }
}

/// A row of pixels whose curves are followed.
struct CurveRow<'a> {
    curve: &'a Curve<'a>,
    y: usize,
    half: usize,
    wanted: &'a [u8],
    network: &'a MedianNetwork,
    out: &'a mut [f32],
}

impl Vectorised for CurveRow<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { curve, y, half, wanted, network, out } = self;
        let nx = curve.shape.1;
        let mut slots = vec![[0.0f32; LANES]; network.slots()];
        for (block, (out, wanted)) in out.chunks_mut(LANES).zip(wanted.chunks(LANES)).enumerate() {
            if wanted.iter().all(|&w| w == 0) {
                continue;
            }
            for slot in &mut slots[..=2 * half] {
                slot.fill(f32::NAN);
            }
            for (lane, _) in wanted.iter().enumerate().filter(|(_, w)| **w != 0) {
                let x = block * LANES + lane;
                let shifts = &curve.dymap[curve.straight_row(y, x) * nx..][..nx];
                for (k, slot) in slots[..=2 * half].iter_mut().enumerate() {
                    // Columns before the first wrap to numbers beyond the last.
                    let column = (x + k).wrapping_sub(half);
                    if column < nx {
                        slot[lane] = curve.at(y as f32 + (shifts[column] - shifts[x]), column);
                    }
                }
            }
            let medians = network.medians(&mut slots);
            for ((out, &median), &wanted) in out.iter_mut().zip(&medians).zip(wanted) {
                *out = if wanted == 0 { 0.0 } else { median as f32 };
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_spike_is_gone_and_ends_are_whole() {
        let mut image = Array2::from_shape_fn((2, 40), |(y, x)| (10 * y + x) as f32);
        image[[0, 20]] = 1e6;
        image[[1, 7]] = f32::NAN;
        let found = row_medians(image.view(), 2).unwrap();
        assert_eq!(found[[0, 20]], 21.0);
        assert_eq!(found[[0, 0]], 1.0);
        assert_eq!(found[[1, 39]], 48.0);
        assert_eq!(found[[1, 7]], 17.0);
        assert!(row_medians(image.view(), 40).is_err());
    }

    #[test]
    fn a_steep_order_keeps_its_profile() {
        let slope = 0.4f32;
        let light = |y: f32| (-0.5 * (y - 15.0).powi(2)).exp();
        let image = Array2::from_shape_fn((60, 30), |(y, x)| light(y as f32 - slope * x as f32));
        let dymap = Array2::from_shape_fn((60, 30), |(_, x)| slope * (x as f32 - 15.0));
        let all = Array2::ones((60, 30));
        let found = curve_medians(image.view(), dymap.view(), all.view(), 5).unwrap();
        let off = |found: &Array2<f32>| {
            let inside = found.indexed_iter().filter(|((y, x), _)| (5..55).contains(y) && (6..24).contains(x));
            inside.map(|(place, value)| (value - image[place]).abs()).fold(0.0, f32::max)
        };
        assert!(off(&found) < 0.03, "{}", off(&found));
        assert!(off(&row_medians(image.view(), 5).unwrap()) > 0.2);
    }

    #[test]
    fn only_what_is_wanted_is_made() {
        let image = Array2::from_elem((4, 20), 3.0f32);
        let mut wanted = Array2::zeros((4, 20));
        wanted[[2, 3]] = 1;
        let found = curve_medians(image.view(), Array2::zeros((4, 20)).view(), wanted.view(), 2).unwrap();
        assert_eq!(found.iter().filter(|&&v| v == 3.0).count(), 1);
        assert_eq!(found.sum(), 3.0);
    }
}
