//! Extraction with inverse-variance weights.
//!
//! Source: Horne 1986, PASP 98, 609; variances are the model's, and the fit is iterated.

use crate::error::Result;
use crate::extract::{LEAST_VALID, MEDIAN_SCATTER, Straight};
use crate::mapping::Mapping;
use crate::median::nan_median;
use crate::orders::{Extraction, Out, Room, Spectra, Window, each_order};
use crate::spline::noise_variance;
use ndarray::ArrayView2;

/// Times that model, rejected pixels and flux are found anew; a fourth would move the flux by 1e-4 of its error.
const ITERATIONS: usize = 3;
/// Share of the profile's top above which a pixel tells the flux by itself: the start of the iteration.
const BRIGHT_SHARE: f64 = 0.25;
/// Pixels of a flat differ by a percent or two in response; that is what the flat is to measure, and no outlier.
const RESPONSE_SCATTER: f64 = 0.02;
/// Median of the absolute value of normal noise: a column that fits better than its noise rejects nothing for it.
const HALF_OF_NORMAL: f64 = 0.674_489_750_196_081_7;
/// No pixel has less than this share of the column's greatest variance: without read noise, a pixel that expects no
/// light would have no variance and all of the weight.
const LEAST_VARIANCE: f64 = 1e-4;

/// One pixel's part in a column of the spectrum.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pixel {
    /// Its value, in electrons.
    pub flux: f64,
    /// Order profile there, in any unit.
    pub light: f64,
    /// Share of the pixel that belongs to the column.
    pub share: f64,
    /// What became of its variance: below 1 after smoothing.
    pub smoothing: f64,
}

/// The pixels of a column, and what the fit makes of them.
#[derive(Debug, Default)]
pub(crate) struct Column {
    pub pixels: Vec<Pixel>,
    /// Straight rows that the pixels stand for; none where each is a row.
    pub rows: Option<f64>,
    /// Whether each pixel is kept.
    pub kept: Vec<bool>,
    /// Each pixel's part of the flux.
    pub parts: Vec<f64>,
    profile: Vec<f64>,
    /// Variance that the model lets expect, and what weights take it for.
    expected: Vec<f64>,
    weighed: Vec<f64>,
    /// Distances from the model in standard deviations, and the variance of that from photon and read noise.
    distances: Vec<f64>,
    certainty: Vec<f64>,
    scratch: Vec<f64>,
}

impl Column {
    /// Flux and its variance; NaN where no pixel is kept.
    pub fn solve(&mut self, how: Extraction) -> (f64, f64) {
        self.scale_profile();
        let mut flux = self.start();
        let (mut norm, mut limit) = (0.0, Limit::NONE);
        for _ in 0..ITERATIONS {
            self.expected.clear();
            self.expected.extend(self.profile.iter().map(|f| how.variance(flux * f)));
            let least = LEAST_VARIANCE * self.expected.iter().fold(0.0, |most, &v| if v > most { v } else { most });
            self.weighed.clear();
            self.weighed.extend(self.expected.iter().map(|v| if least > 0.0 { v.max(least) } else { 1.0 }));
            self.distances.clear();
            self.certainty.clear();
            for (k, (pixel, &f)) in self.pixels.iter().zip(&self.profile).enumerate() {
                let model = (flux * f).max(0.0);
                let spread = self.weighed[k] + (RESPONSE_SCATTER * model).powi(2);
                self.distances.push((pixel.flux - flux * f).abs() / spread.sqrt());
                self.certainty.push(self.expected[k] / spread);
            }
            limit = self.choose(how.threshold);
            let mut sum = 0.0;
            norm = 0.0;
            self.parts.clear();
            for (k, (pixel, &f)) in self.pixels.iter().zip(&self.profile).enumerate() {
                let weight = if self.kept[k] { pixel.share * f / self.weighed[k] } else { 0.0 };
                self.parts.push(weight);
                if self.kept[k] {
                    norm += weight * f;
                    sum += weight * pixel.flux;
                }
            }
            flux = sum / norm;
        }
        if !self.kept.contains(&true) {
            return (f64::NAN, f64::NAN);
        }
        let choice = self.variance_of_choice(flux, norm, limit);
        let mut noise = 0.0;
        for (k, pixel) in self.pixels.iter().enumerate().filter(|(k, _)| self.kept[*k]) {
            noise += self.parts[k] * self.parts[k] * self.expected[k] * pixel.smoothing;
            self.parts[k] *= pixel.flux / norm;
        }
        (flux, noise / (norm * norm) + choice)
    }

    /// Variance of the flux because noise decides which pixels are kept; as for the default estimator.
    fn variance_of_choice(&self, flux: f64, norm: f64, limit: Limit) -> f64 {
        let mut variance = 0.0;
        for (k, (pixel, &f)) in self.pixels.iter().zip(&self.profile).enumerate() {
            let margin = limit.distance - self.distances[k];
            let undecided = 0.25 * (1.0 - margin * margin / (3.0 * (self.certainty[k] + limit.variance)));
            let weight = pixel.share * f / self.weighed[k];
            let without = if self.kept[k] { norm - weight * f } else { norm + weight * f };
            if undecided > 0.0 && without > 0.0 {
                let change = weight * (pixel.flux - flux * f) / without;
                variance += undecided * change * change;
            }
        }
        variance
    }

    /// Divide the profile by its nan-sum, or by rows times its mean; ones where that is not above 0.
    ///
    /// Pixels whose distance on the straight image is not quite 1 share themselves out a little unevenly. The mean does
    /// not see that, and gives the flux in the units of an image that was straightened.
    fn scale_profile(&mut self) {
        let (mut total, mut shares) = (0.0, 0.0);
        for pixel in self.pixels.iter().filter(|pixel| !pixel.light.is_nan()) {
            total += pixel.share * pixel.light;
            shares += pixel.share;
        }
        total *= self.rows.map_or(1.0, |rows| rows / shares);
        self.profile.clear();
        self.profile.extend(self.pixels.iter().map(|p| if total > 0.0 { p.light / total } else { 1.0 }));
    }

    /// Median flux of the bright pixels each by itself, which an outlier does not move.
    fn start(&mut self) -> f64 {
        let limit = BRIGHT_SHARE * self.profile.iter().fold(f64::MIN, |most, &f| if f > most { f } else { most });
        let mut ratios = |least: f64| {
            self.scratch.clear();
            let pairs = self.pixels.iter().zip(&self.profile).filter(|(_, f)| **f >= least);
            self.scratch.extend(pairs.map(|(pixel, f)| pixel.flux / f));
            nan_median(&mut self.scratch)
        };
        let bright = ratios(limit);
        if bright.is_finite() { bright } else { ratios(f64::NEG_INFINITY) }
    }

    /// Keep what is near enough; gives the limit.
    fn choose(&mut self, threshold: Option<f64>) -> Limit {
        self.kept.clear();
        if let Some(threshold) = threshold {
            self.scratch.clear();
            self.scratch.extend_from_slice(&self.distances);
            let scale = nan_median(&mut self.scratch);
            let measured = scale > HALF_OF_NORMAL;
            let limit = threshold * if measured { scale } else { HALF_OF_NORMAL };
            self.kept.extend(self.distances.iter().map(|&distance| distance < limit));
            let valid = self.distances.iter().filter(|distance| !distance.is_nan()).count() as f64;
            let variance = if measured { (MEDIAN_SCATTER * limit).powi(2) / valid.max(LEAST_VALID) } else { 0.0 };
            Limit { distance: limit, variance }
        } else {
            self.kept.extend(self.distances.iter().map(|distance| distance.is_finite()));
            Limit::NONE
        }
    }
}

/// Distance from which on pixels are rejected, and its variance.
#[derive(Debug, Clone, Copy)]
struct Limit {
    distance: f64,
    variance: f64,
}

impl Limit {
    /// No pixel is near it.
    const NONE: Self = Self { distance: f64::NAN, variance: 0.0 };
}

/// Extract the orders of a straightened image: the sum of f s / v over the sum of f^2 / v, v a pixel's expected
/// variance.
pub fn extract_orders_horne(
    image: ArrayView2<'_, f32>,
    profile: ArrayView2<'_, f32>,
    windows: &[Window],
    how: Extraction,
    mapping: Mapping<'_>,
) -> Result<Spectra> {
    Spectra::filled(windows, image.ncols(), |room| {
        extract_orders_horne_into(image, profile, windows, how, mapping, room)
    })
}

/// As [`extract_orders_horne`], into room that is there; gives the number of pixels left out, per order.
pub fn extract_orders_horne_into(
    image: ArrayView2<'_, f32>,
    profile: ArrayView2<'_, f32>,
    windows: &[Window],
    how: Extraction,
    mapping: Mapping<'_>,
    room: Room<'_>,
) -> Result<Vec<usize>> {
    how.check()?;
    let source = Straight::new(&image, &profile, mapping.of(image.dim())?)?;
    let work = |window, out: Out<'_>| extract_order(source, window, how, out);
    Ok(each_order(windows, image.ncols(), room, work)?.0)
}

fn extract_order(source: Straight<'_>, window: Window, how: Extraction, mut out: Out<'_>) {
    out.clear();
    let (rows, columns) = source.maps.shape;
    let mut column = Column::default();
    for x in 0..columns {
        column.pixels.clear();
        for k in 0..window.count {
            let row = usize::try_from(window.first + k as isize).ok().filter(|&row| row < rows);
            column.pixels.push(row.map_or(NOTHING, |row| Pixel {
                flux: source.pixels[row * columns + x].into(),
                light: source.profile[row * columns + x].into(),
                share: 1.0,
                smoothing: noise_variance(source.maps.column(row, x, source.maps.shifts(row).0[x].into())),
            }));
        }
        (out.e2ds[x], out.variance[x]) = column.solve(how);
        for k in (0..window.count).filter(|&k| column.kept[k]) {
            out.stacked[k * columns + x] = column.parts[k] as f32;
            out.kept[k * columns + x] = 1;
        }
    }
}

/// A row off the detector.
const NOTHING: Pixel = Pixel { flux: f64::NAN, light: f64::NAN, share: 1.0, smoothing: 1.0 };

#[cfg(test)]
mod tests {
    use super::*;

    const HOW: Extraction = Extraction { threshold: Some(10.0), readnoise: 3.0, photon_variance: 1.0 };

    fn column(flux: f64) -> Column {
        let light = |k: usize| (-0.5 * ((k as f64 - 7.0) / 2.0).powi(2)).exp();
        let total: f64 = (0..15).map(light).sum();
        let pixels =
            (0..15).map(|k| Pixel { flux: flux * light(k) / total, light: light(k), share: 1.0, smoothing: 1.0 });
        Column { pixels: pixels.collect(), ..Column::default() }
    }

    #[test]
    fn a_cosmic_is_rejected_and_the_flux_is_the_rest() {
        let mut column = column(1000.0);
        column.pixels[7].flux += 5000.0;
        let (flux, variance) = column.solve(HOW);
        assert!((flux - 1000.0).abs() < 1e-9 && variance > 1000.0, "{flux} {variance}");
        assert!(!column.kept[7] && column.kept.iter().filter(|k| !**k).count() == 1);
        assert!((column.parts.iter().sum::<f64>() - flux).abs() < 1e-9);
    }

    #[test]
    fn without_read_noise_weights_are_finite_for_any_flux() {
        for flux in [1000.0, 0.0, -500.0] {
            for photon_variance in [1.0, 0.0] {
                let mut column = column(flux);
                // A pixel that expects no light at all, and sees some.
                column.pixels[0] = Pixel { flux: 200.0, light: 0.0, share: 1.0, smoothing: 1.0 };
                column.pixels[1].light = 1e-9;
                let how = Extraction { readnoise: 0.0, photon_variance, threshold: None };
                let (found, variance) = column.solve(how);
                // The profile no longer tells of the light on the second pixel, 0.22 % of all.
                assert!((found - flux).abs() <= 0.003 * flux.abs(), "{flux}: {found}");
                assert!(variance.is_finite() && variance >= 0.0);
            }
        }
    }

    #[test]
    fn nothing_gives_nothing() {
        assert!(Column::default().solve(HOW).0.is_nan());
        let mut column = column(1000.0);
        column.pixels.iter_mut().for_each(|pixel| pixel.flux = f64::NAN);
        assert!(column.solve(HOW).0.is_nan() && !column.kept.contains(&true));
    }
}
