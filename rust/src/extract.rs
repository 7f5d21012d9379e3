//! Optimal extraction of straight orders, with rejection of outlying pixels.
//!
//! Source of the inverse-variance weights: Horne 1986, PASP 98, 609.

use crate::error::{Result, contiguous, require, same_shape};
use crate::median::MedianNetwork;
use crate::simd::{Vectorised, widest};
use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

/// Rows of one order's window; they may lie off the detector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// First row.
    pub first: isize,
    /// Number of rows.
    pub count: usize,
}

/// Which weights a pixel's flux gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weights {
    /// The order profile f: sum of s f over sum of f^2.
    Profile,
    /// f over the expected variance: sum of s f / v over sum of f^2 / v.
    InverseVariance,
}

/// How orders are extracted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Extraction {
    /// Distance from the scaled profile, in units of the column's median distance, at which a pixel is rejected; none
    /// keeps every pixel whose distance is finite in that unit.
    pub threshold: Option<f64>,
    /// Weights of the pixels.
    pub weights: Weights,
    /// Read noise of the image, in electrons.
    pub readnoise: f64,
    /// Photon variance of the image per electron: 1 for a single frame.
    pub photon_variance: f64,
}

/// Spectra of a fibre's orders.
#[derive(Debug, Clone)]
pub struct Spectra {
    /// Flux, orders by columns; NaN where no pixel is kept.
    pub e2ds: Array2<f64>,
    /// Variance of the flux from photon and read noise.
    pub variance: Array2<f64>,
    /// Each pixel's share of the flux, all windows' rows by columns; NaN where rejected.
    pub e2dsll: Array2<f32>,
    /// 1 where a pixel is kept, 0 where it is not.
    pub e2dscc: Array2<u8>,
    /// Pixels left out, per order.
    pub rejected: Vec<usize>,
}

/// Columns that are extracted together.
const LANES: usize = 8;

type Lanes = [f64; LANES];

/// Scratch space for a block of neighbouring columns of a window: rows of lanes.
struct Block {
    flux: Vec<Lanes>,
    profile: Vec<Lanes>,
    distance: Vec<Lanes>,
    slots: Vec<Lanes>,
    network: MedianNetwork,
}

/// Extract the orders of a straightened image with a straightened order profile.
pub fn extract_orders(
    image: ArrayView2<'_, f32>,
    profile: ArrayView2<'_, f32>,
    windows: &[Window],
    how: Extraction,
) -> Result<Spectra> {
    let shape = image.dim();
    same_shape("profile", &profile, shape)?;
    require(how.readnoise >= 0.0 || how.readnoise.is_nan(), "readnoise", how.readnoise, "at least 0")?;
    require(how.photon_variance >= 0.0, "photon variance", how.photon_variance, "at least 0")?;
    let (pixels, profile) = (contiguous("image", &image)?, contiguous("profile", &profile)?);
    let columns = shape.1;
    let total: usize = windows.iter().map(|w| w.count).sum();
    let mut e2ds = Array2::from_elem((windows.len(), columns), f64::NAN);
    let mut variance = e2ds.clone();
    let mut e2dsll = Array2::from_elem((total, columns), f32::NAN);
    let mut e2dscc = Array2::zeros((total, columns));
    let mut rejected = vec![0; windows.len()];
    if let (Some(e2ds), Some(variance), Some(mut stacked), Some(mut kept)) =
        (e2ds.as_slice_mut(), variance.as_slice_mut(), e2dsll.as_slice_mut(), e2dscc.as_slice_mut())
    {
        let mut orders = Vec::with_capacity(windows.len());
        for &window in windows {
            let (head, tail) = stacked.split_at_mut(window.count * columns);
            let (kept_head, kept_tail) = kept.split_at_mut(window.count * columns);
            orders.push((window, head, kept_head));
            (stacked, kept) = (tail, kept_tail);
        }
        orders
            .into_par_iter()
            .zip(e2ds.par_chunks_mut(columns.max(1)))
            .zip(variance.par_chunks_mut(columns.max(1)))
            .zip(rejected.par_iter_mut())
            .for_each(|((((window, stacked, kept), e2ds), variance), rejected)| {
                widest(Order { pixels, profile, shape, window, how, e2ds, variance, stacked, kept });
                *rejected = kept.iter().filter(|&&k| k == 0).count();
            });
    }
    Ok(Spectra { e2ds, variance, e2dsll, e2dscc, rejected })
}

/// One order's window, and where its spectra go.
struct Order<'a> {
    pixels: &'a [f32],
    profile: &'a [f32],
    shape: (usize, usize),
    window: Window,
    how: Extraction,
    e2ds: &'a mut [f64],
    variance: &'a mut [f64],
    stacked: &'a mut [f32],
    kept: &'a mut [u8],
}

impl Vectorised for Order<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let columns = self.shape.1;
        let mut block = Block::new(self.window.count);
        for first in (0..columns).step_by(LANES) {
            block.gather(self.pixels, self.profile, self.shape, self.window, first);
            let lanes = LANES.min(columns - first);
            let spectra = (&mut self.e2ds[first..first + lanes], &mut self.variance[first..first + lanes]);
            block.extract(self.how, first, columns, spectra, self.stacked, self.kept);
        }
    }
}

impl Block {
    fn new(count: usize) -> Self {
        let empty = || vec![[0.0; LANES]; count];
        let network = MedianNetwork::new(count);
        let slots = vec![[0.0; LANES]; network.slots()];
        Self { flux: empty(), profile: empty(), distance: empty(), slots, network }
    }

    /// Read columns of the window and divide the profile by its nan-sum; ones where that is not above 0.
    ///
    /// Rows off the detector, and lanes beyond the last column, hold NaN.
    #[inline(always)]
    fn gather(&mut self, pixels: &[f32], profile: &[f32], shape: (usize, usize), window: Window, x: usize) {
        let lanes = LANES.min(shape.1 - x);
        let mut total = [0.0; LANES];
        for k in 0..window.count {
            let row = window.first + k as isize;
            let on_detector = row >= 0 && (row as usize) < shape.0;
            let place = if on_detector { Some(row as usize * shape.1 + x) } else { None };
            self.flux[k] = lanes_from(pixels, place, lanes);
            self.profile[k] = lanes_from(profile, place, lanes);
            for (total, value) in total.iter_mut().zip(self.profile[k]) {
                *total += if value.is_nan() { 0.0 } else { value };
            }
        }
        for row in &mut self.profile {
            for (value, total) in row.iter_mut().zip(total) {
                *value = if total > 0.0 { *value / total } else { 1.0 };
            }
        }
    }

    #[inline(always)]
    fn extract(
        &mut self,
        how: Extraction,
        x: usize,
        columns: usize,
        (flux, variance): (&mut [f64], &mut [f64]),
        stacked: &mut [f32],
        kept: &mut [u8],
    ) {
        for ((out, s), f) in self.slots.iter_mut().zip(&self.flux).zip(&self.profile) {
            for lane in 0..LANES {
                out[lane] = s[lane] / f[lane];
            }
        }
        let amplitude = self.network.medians(&mut self.slots);
        for ((out, s), f) in self.distance.iter_mut().zip(&self.flux).zip(&self.profile) {
            for lane in 0..LANES {
                out[lane] = (s[lane] - amplitude[lane] * f[lane]).abs();
            }
        }
        self.slots[..self.distance.len()].copy_from_slice(&self.distance);
        let scale = self.network.medians(&mut self.slots);
        for lane in 0..flux.len() {
            let (mut norm, mut sum, mut noise, mut any) = (0.0, 0.0, 0.0, false);
            for k in 0..self.flux.len() {
                let ratio = self.distance[k][lane] / scale[lane];
                if !how.threshold.map_or(ratio.is_finite(), |limit| ratio < limit) {
                    continue;
                }
                let (s, f) = (self.flux[k][lane], self.profile[k][lane]);
                let electrons = match how.weights {
                    Weights::Profile => s,
                    Weights::InverseVariance => amplitude[lane] * f,
                };
                let expected = electrons.max(0.0) * how.photon_variance + how.readnoise * how.readnoise;
                let weight = match how.weights {
                    Weights::Profile => f,
                    Weights::InverseVariance => f / expected,
                };
                norm += weight * f;
                sum += weight * s;
                noise += weight * weight * expected;
                // Held until the norm is known.
                self.distance[k][lane] = weight * s;
                kept[k * columns + x + lane] = 1;
                any = true;
            }
            (flux[lane], variance[lane]) = if any { (sum / norm, noise / (norm * norm)) } else { (f64::NAN, f64::NAN) };
            for (k, row) in self.distance.iter().enumerate() {
                let place = k * columns + x + lane;
                if kept[place] != 0 {
                    stacked[place] = (row[lane] / norm) as f32;
                }
            }
        }
    }
}

/// Neighbouring values from a place on; NaN where there is none.
#[inline(always)]
fn lanes_from(values: &[f32], place: Option<usize>, count: usize) -> Lanes {
    let mut lanes = [f64::NAN; LANES];
    if let Some(place) = place {
        for (lane, &value) in lanes.iter_mut().zip(&values[place..place + count]) {
            *lane = f64::from(value);
        }
    }
    lanes
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const HOW: Extraction =
        Extraction { threshold: Some(10.0), weights: Weights::Profile, readnoise: 3.0, photon_variance: 1.0 };

    fn scene() -> (Array2<f32>, Array2<f32>) {
        let profile = Array2::from_shape_fn((15, 4), |(y, _)| (-0.5 * ((y as f32 - 7.0) / 2.0).powi(2)).exp());
        let total: f32 = profile.column(0).sum();
        // A slight ripple, so that the median distance from the profile is not zero.
        let image = Array2::from_shape_fn((15, 4), |(y, x)| 1000.0 * profile[[y, x]] / total + 0.1 * (y % 3) as f32);
        (image, profile)
    }

    #[test]
    fn flux_is_recovered_and_a_cosmic_rejected() {
        let (mut image, profile) = scene();
        image[[7, 2]] += 5000.0;
        for weights in [Weights::Profile, Weights::InverseVariance] {
            let windows = [Window { first: 0, count: 15 }];
            let found = extract_orders(image.view(), profile.view(), &windows, Extraction { weights, ..HOW }).unwrap();
            assert!(found.e2ds.iter().all(|v| (v - 1000.0).abs() < 2.0), "{:?}", found.e2ds);
            assert_eq!(found.e2dscc[[7, 2]], 0);
            assert!(found.e2dsll[[7, 2]].is_nan());
            assert!(found.variance[[0, 0]] > 1000.0);
        }
    }

    #[test]
    fn rows_off_the_detector_and_empty_columns_have_no_value() {
        let (mut image, profile) = scene();
        image.column_mut(1).fill(f32::NAN);
        let windows = [Window { first: -3, count: 15 }, Window { first: 40, count: 2 }];
        let found = extract_orders(image.view(), profile.view(), &windows, HOW).unwrap();
        assert!(found.e2dsll[[0, 0]].is_nan());
        assert!(found.e2ds[[0, 0]].is_finite() && found.e2ds[[0, 1]].is_nan());
        assert!(found.e2ds.row(1).iter().all(|v| v.is_nan()));
        assert_eq!(found.rejected[1], 8);
    }

    #[test]
    fn no_threshold_keeps_every_finite_pixel() {
        let (mut image, profile) = scene();
        image[[7, 2]] += 5000.0;
        let windows = [Window { first: 5, count: 5 }];
        let found = extract_orders(image.view(), profile.view(), &windows, Extraction { threshold: None, ..HOW });
        assert_eq!(found.unwrap().rejected, [0]);
    }
}
