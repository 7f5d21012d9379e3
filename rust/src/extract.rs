//! Optimal extraction of straight orders, with rejection of outlying pixels: the default estimator.

use crate::error::{Result, contiguous, same_shape};
use crate::lanes::{LANES, Lanes, lanes_from, put};
use crate::mapping::{Mapping, Maps};
use crate::median::MedianNetwork;
use crate::orders::{Extraction, Out, Room, Spectra, Window, each_order};
use crate::simd::{Vectorised, widest};
use crate::spline::noise_variance;
use ndarray::ArrayView2;

/// Standard deviation of the median of n absolute values of normal noise, in units of that median and of 1 / sqrt(n).
pub(crate) const MEDIAN_SCATTER: f64 = 1.166;

/// As many distances are taken to be behind a limit at least: of fewer it would be as uncertain as it is large.
pub(crate) const LEAST_VALID: f64 = 5.0;

/// Scratch space for a block of neighbouring columns of a window: rows of lanes.
struct Block {
    flux: Vec<Lanes>,
    profile: Vec<Lanes>,
    smoothing: Vec<Lanes>,
    distance: Vec<Lanes>,
    slots: Vec<Lanes>,
    network: MedianNetwork,
}

/// A straightened image and its order profile.
#[derive(Clone, Copy)]
pub(crate) struct Straight<'a> {
    pub pixels: &'a [f32],
    pub profile: &'a [f32],
    pub maps: Maps<'a>,
}

impl<'a> Straight<'a> {
    pub fn new(image: &'a ArrayView2<'_, f32>, profile: &'a ArrayView2<'_, f32>, maps: Maps<'a>) -> Result<Self> {
        same_shape("profile", profile, image.dim())?;
        Ok(Self { pixels: contiguous("image", image)?, profile: contiguous("profile", profile)?, maps })
    }
}

/// Extract the orders of a straightened image with a straightened order profile: the sum of s f over the sum of f^2.
///
/// The variance is that of the flux times profile, smoothed along the order by the straightening's spline; where a
/// pixel lies near the limit of rejection, that noise might have decided otherwise counts too.
pub fn extract_orders(
    image: ArrayView2<'_, f32>,
    profile: ArrayView2<'_, f32>,
    windows: &[Window],
    how: Extraction,
    mapping: Mapping<'_>,
) -> Result<Spectra> {
    Spectra::filled(windows, image.ncols(), |room| extract_orders_into(image, profile, windows, how, mapping, room))
}

/// As [`extract_orders`], into room that is there; gives the number of pixels left out, per order.
pub fn extract_orders_into(
    image: ArrayView2<'_, f32>,
    profile: ArrayView2<'_, f32>,
    windows: &[Window],
    how: Extraction,
    mapping: Mapping<'_>,
    room: Room<'_>,
) -> Result<Vec<usize>> {
    how.check()?;
    let source = Straight::new(&image, &profile, mapping.of(image.dim())?)?;
    let work = |window, out: Out<'_>| widest(Order { source, window, how, out });
    Ok(each_order(windows, image.ncols(), room, work)?.0)
}

/// One order's window, and where its spectra go.
struct Order<'a> {
    source: Straight<'a>,
    window: Window,
    how: Extraction,
    out: Out<'a>,
}

impl Vectorised for Order<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Out { e2ds, variance, stacked, kept } = self.out;
        let columns = self.source.maps.shape.1;
        let mut block = Block::new(self.window.count);
        for first in (0..columns).step_by(LANES) {
            block.gather(&self.source, self.window, first);
            let lanes = LANES.min(columns - first);
            let spectra = (&mut e2ds[first..first + lanes], &mut variance[first..first + lanes]);
            block.extract(self.how, first, columns, spectra, stacked, kept);
        }
    }
}

impl Block {
    fn new(count: usize) -> Self {
        let empty = || vec![[0.0; LANES]; count];
        let network = MedianNetwork::new(count);
        let slots = vec![[0.0; LANES]; network.slots()];
        Self { flux: empty(), profile: empty(), smoothing: empty(), distance: empty(), slots, network }
    }

    /// Read columns of the window and divide the profile by its nan-sum; ones where that is not above 0.
    ///
    /// Rows off the detector, and lanes beyond the last column, hold NaN.
    #[inline(always)]
    fn gather(&mut self, source: &Straight<'_>, window: Window, x: usize) {
        let shape = source.maps.shape;
        let lanes = LANES.min(shape.1 - x);
        let mut total = [0.0; LANES];
        for k in 0..window.count {
            let row = window.first + k as isize;
            let on_detector = row >= 0 && (row as usize) < shape.0;
            let place = if on_detector { Some(row as usize * shape.1 + x) } else { None };
            self.flux[k] = lanes_from(source.pixels, place, lanes);
            self.profile[k] = lanes_from(source.profile, place, lanes);
            for (total, value) in total.iter_mut().zip(self.profile[k]) {
                *total += if value.is_nan() { 0.0 } else { value };
            }
            // Rows off the detector are not kept, whatever stands here.
            if on_detector {
                let shifts = lanes_from(source.maps.shifts(row as usize).0, Some(x), lanes);
                for lane in 0..LANES {
                    self.smoothing[k][lane] = noise_variance(source.maps.column(row as usize, x + lane, shifts[lane]));
                }
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
        // A ratio is finite where it is below infinity: it is never negative.
        let limit = how.threshold.unwrap_or(f64::INFINITY);
        let (mut norms, mut sums, mut counts) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
        let rows = self.flux.iter().zip(&self.profile).zip(&self.distance).zip(&mut self.slots);
        for (((s, f), distance), keeps) in rows {
            for lane in 0..LANES {
                let keep = distance[lane] / scale[lane] < limit;
                keeps[lane] = if keep { 1.0 } else { 0.0 };
                norms[lane] += if keep { f[lane] * f[lane] } else { 0.0 };
                sums[lane] += if keep { f[lane] * s[lane] } else { 0.0 };
                counts[lane] += keeps[lane];
            }
        }
        let mut fluxes = [f64::NAN; LANES];
        for lane in 0..LANES {
            norms[lane] = if counts[lane] > 0.0 { norms[lane] } else { f64::NAN };
            fluxes[lane] = sums[lane] / norms[lane];
        }
        let lanes = flux.len();
        let rows = self.flux.iter().zip(&self.profile).zip(&self.slots);
        for (k, ((s, f), keeps)) in rows.enumerate() {
            let (mut parts, mut marks) = ([f32::NAN; LANES], [0; LANES]);
            for lane in 0..LANES {
                let part = (f[lane] * s[lane] / norms[lane]) as f32;
                parts[lane] = if keeps[lane] > 0.0 { part } else { f32::NAN };
                marks[lane] = u8::from(keeps[lane] > 0.0);
            }
            put(&mut stacked[k * columns + x..][..lanes], &parts);
            put(&mut kept[k * columns + x..][..lanes], &marks);
        }
        flux.copy_from_slice(&fluxes[..flux.len()]);
        variance.copy_from_slice(&self.variances(how, &fluxes, &norms, &scale)[..flux.len()]);
    }

    /// Variances of the fluxes: of the pixels kept (not 0 in the slots), and of the choice which are.
    ///
    /// A pixel at distance d is kept with the probability that d + noise < limit, the noise being the pixel's and the
    /// limit's own (a median of n distances). That noise is taken as uniform, of the same variance: then p (1 - p) is a
    /// parabola. If the pixel changes sides, the flux moves by its residual times its weight.
    #[inline(always)]
    fn variances(&self, how: Extraction, flux: &Lanes, norm: &Lanes, scale: &Lanes) -> Lanes {
        let (mut noise, mut choice, mut valid) = ([0.0; LANES], [0.0; LANES], [0.0f64; LANES]);
        for distance in &self.distance {
            for lane in 0..LANES {
                valid[lane] += if distance[lane].is_nan() { 0.0 } else { 1.0 };
            }
        }
        // Without a limit no pixel is near it.
        let threshold = how.threshold.unwrap_or(f64::NAN);
        let (mut limit, mut limit_variance) = ([0.0; LANES], [0.0; LANES]);
        for lane in 0..LANES {
            limit[lane] = threshold * scale[lane];
            limit_variance[lane] = (MEDIAN_SCATTER * limit[lane]).powi(2) / valid[lane].max(LEAST_VALID);
        }
        for k in 0..self.flux.len() {
            let (mut expected, mut near) = ([0.0; LANES], false);
            for lane in 0..LANES {
                let (f, kept) = (self.profile[k][lane], self.slots[k][lane] > 0.0);
                expected[lane] = how.variance(flux[lane] * f);
                noise[lane] += if kept { f * f * expected[lane] * self.smoothing[k][lane] } else { 0.0 };
                let margin = limit[lane] - self.distance[k][lane];
                near |= margin * margin < 3.0 * (expected[lane] + limit_variance[lane]);
            }
            // Most pixels are far from the limit.
            if !near {
                continue;
            }
            for lane in 0..LANES {
                let (s, f, kept) = (self.flux[k][lane], self.profile[k][lane], self.slots[k][lane] > 0.0);
                let margin = limit[lane] - self.distance[k][lane];
                let undecided = 0.25 * (1.0 - margin * margin / (3.0 * (expected[lane] + limit_variance[lane])));
                let without = norm[lane] + if kept { -f * f } else { f * f };
                let change = f * (s - flux[lane] * f) / without;
                let counts = (undecided > 0.0) & (without > 0.0);
                choice[lane] += if counts { undecided * change * change } else { 0.0 };
            }
        }
        let mut variances = [0.0; LANES];
        for lane in 0..LANES {
            variances[lane] = noise[lane] / (norm[lane] * norm[lane]) + choice[lane];
        }
        variances
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::straighten::Linear;
    use ndarray::Array2;

    const HOW: Extraction = Extraction { threshold: Some(10.0), readnoise: 3.0, photon_variance: 1.0 };
    const IDENTITY: Linear = Linear { dx: 0.0, dy: 0.0, a: 1.0, b: 0.0, c: 0.0, d: 1.0 };

    fn extracted(image: &Array2<f32>, profile: &Array2<f32>, windows: &[Window], how: Extraction) -> Spectra {
        let none = Array2::zeros(image.dim());
        let mapping = Mapping { linear: IDENTITY, dxmap: none.view(), dymap: none.view() };
        extract_orders(image.view(), profile.view(), windows, how, mapping).unwrap()
    }

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
        let found = extracted(&image, &profile, &[Window { first: 0, count: 15 }], HOW);
        assert!(found.e2ds.iter().all(|v| (v - 1000.0).abs() < 2.0), "{:?}", found.e2ds);
        assert_eq!(found.e2dscc[[7, 2]], 0);
        assert!(found.e2dsll[[7, 2]].is_nan());
        assert!(found.variance[[0, 0]] > 1000.0);
    }

    #[test]
    fn rows_off_the_detector_and_empty_columns_have_no_value() {
        let (mut image, profile) = scene();
        image.column_mut(1).fill(f32::NAN);
        let windows = [Window { first: -3, count: 15 }, Window { first: 40, count: 2 }];
        let found = extracted(&image, &profile, &windows, HOW);
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
        let found = extracted(&image, &profile, &windows, Extraction { threshold: None, ..HOW });
        assert_eq!(found.rejected, [0]);
    }
}
