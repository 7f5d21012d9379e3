//! Optimal extraction of straight orders, with rejection of outlying pixels.
//!
//! Source of the inverse-variance weights: Horne 1986, PASP 98, 609.

use crate::error::{Result, contiguous, require, same_shape};
use crate::median::nan_median;
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

/// Scratch space for one column of a window.
struct Column {
    flux: Vec<f64>,
    profile: Vec<f64>,
    distance: Vec<f64>,
    sorted: Vec<f64>,
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
                let mut column = Column::new(window.count);
                for x in 0..columns {
                    column.gather(pixels, profile, shape, window, x);
                    let (flux, noise) = column.extract(how, x, columns, stacked, kept);
                    (e2ds[x], variance[x]) = (flux, noise);
                }
                *rejected = kept.iter().filter(|&&k| k == 0).count();
            });
    }
    Ok(Spectra { e2ds, variance, e2dsll, e2dscc, rejected })
}

impl Column {
    fn new(count: usize) -> Self {
        let empty = || vec![0.0; count];
        Self { flux: empty(), profile: empty(), distance: empty(), sorted: empty() }
    }

    /// Read a column of the window and divide the profile by its nan-sum; ones where that is not above 0.
    fn gather(&mut self, pixels: &[f32], profile: &[f32], shape: (usize, usize), window: Window, x: usize) {
        let mut total = 0.0;
        for k in 0..window.count {
            let row = window.first + k as isize;
            let on_detector = row >= 0 && (row as usize) < shape.0;
            let place = if on_detector { row as usize * shape.1 + x } else { 0 };
            let read = |from: &[f32]| if on_detector { f64::from(from[place]) } else { f64::NAN };
            (self.flux[k], self.profile[k]) = (read(pixels), read(profile));
            if !self.profile[k].is_nan() {
                total += self.profile[k];
            }
        }
        for value in &mut self.profile {
            *value = if total > 0.0 { *value / total } else { 1.0 };
        }
    }

    /// nan-median of values computed per pixel.
    fn median_of(&mut self, value: impl Fn(f64, f64) -> f64) -> f64 {
        for ((out, &s), &f) in self.sorted.iter_mut().zip(&self.flux).zip(&self.profile) {
            *out = value(s, f);
        }
        nan_median(&mut self.sorted)
    }

    fn extract(
        &mut self,
        how: Extraction,
        x: usize,
        columns: usize,
        stacked: &mut [f32],
        kept: &mut [u8],
    ) -> (f64, f64) {
        let amplitude = self.median_of(|s, f| s / f);
        for ((out, &s), &f) in self.distance.iter_mut().zip(&self.flux).zip(&self.profile) {
            *out = (s - amplitude * f).abs();
        }
        self.sorted.copy_from_slice(&self.distance);
        let scale = nan_median(&mut self.sorted);
        let (mut norm, mut sum, mut noise, mut any) = (0.0, 0.0, 0.0, false);
        for k in 0..self.flux.len() {
            let ratio = self.distance[k] / scale;
            if !how.threshold.map_or(ratio.is_finite(), |limit| ratio < limit) {
                continue;
            }
            let (s, f) = (self.flux[k], self.profile[k]);
            let electrons = match how.weights {
                Weights::Profile => s,
                Weights::InverseVariance => amplitude * f,
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
            self.distance[k] = weight * s;
            kept[k * columns + x] = 1;
            any = true;
        }
        if !any {
            return (f64::NAN, f64::NAN);
        }
        for k in 0..self.flux.len() {
            let place = k * columns + x;
            if kept[place] != 0 {
                stacked[place] = (self.distance[k] / norm) as f32;
            }
        }
        (sum / norm, noise / (norm * norm))
    }
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
