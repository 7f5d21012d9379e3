//! The blaze function B(x) = A (sin t / t)^2 (1 + s d), t = 2 pi (d + Q d^2 + C d^3) / P, d = x - L, its derivatives,
//! and what a least-squares solver needs of them.

use crate::error::{Result, require};
use crate::simd::{Vectorised, widest};
use crate::triangle::{BLOCK, LANES, Lanes, Triangle};
use crate::trust_region::{Found, Limits, Linearised, minimise};

/// Number of parameters: A, P, L, Q, C, s.
pub const PARAMETERS: usize = 6;

/// Parameters in the order A, P, L, Q, C, s.
pub type Parameters = [f64; PARAMETERS];

/// Blaze and derivatives by all parameters at neighbouring columns.
struct Local {
    blaze: Lanes,
    plain: Lanes,
    derivatives: [Lanes; PARAMETERS],
}

/// Blaze with and without the slope at every column.
pub fn sinc2(x: &[f64], parameters: &Parameters) -> (Vec<f64>, Vec<f64>) {
    let (mut blaze, mut plain) = (vec![0.0; x.len()], vec![0.0; x.len()]);
    for ((x, blaze), plain) in x.chunks(LANES).zip(blaze.chunks_mut(LANES)).zip(plain.chunks_mut(LANES)) {
        let found = local(&padded(x), parameters);
        blaze.copy_from_slice(&found.blaze[..x.len()]);
        plain.copy_from_slice(&found.plain[..x.len()]);
    }
    (blaze, plain)
}

/// Derivatives of the blaze by the six parameters, one after the other, each at every column.
pub fn sinc2_jacobian(x: &[f64], parameters: &Parameters) -> Vec<f64> {
    let mut rows = vec![0.0; PARAMETERS * x.len()];
    for (block, columns) in x.chunks(LANES).enumerate() {
        let found = local(&padded(columns), parameters);
        for (k, derivative) in found.derivatives.iter().enumerate() {
            let start = k * x.len() + block * LANES;
            rows[start..start + columns.len()].copy_from_slice(&derivative[..columns.len()]);
        }
    }
    rows
}

/// What a blaze is fitted to, and in which units.
#[derive(Debug, Clone, Copy)]
pub struct Fit<'a> {
    /// Columns.
    pub x: &'a [f64],
    /// Flux at the columns.
    pub flux: &'a [f64],
    /// Parameters per value of the solver; 0 for a parameter that stays 0.
    pub scale: Parameters,
    /// Unit of the residuals.
    pub unit: f64,
}

impl Fit<'_> {
    /// Triangle R of the QR decomposition of Jacobian and residual, row by row.
    ///
    /// The Jacobian holds the derivatives by the parameters whose scale is not 0, each times its scale; the residual is
    /// the model less the flux; both are in units of `unit`. With J and f the columns of R, J'J, J'f and |f| are those
    /// of the whole problem: a solver that uses nothing else sees a handful of rows in place of thousands.
    pub fn triangle(&self, parameters: &Parameters) -> Result<Vec<f64>> {
        self.check()?;
        let triangle = self.reduced(parameters);
        Ok(triangle.values[..triangle.size].iter().flat_map(|row| &row[..triangle.size]).copied().collect())
    }

    /// Fit the blaze from a start, in units of the scale; see [`minimise`].
    ///
    /// With more than one column to a bin, the means of as many columns are fitted first, and their minimum is where
    /// the fit of all columns starts: it lies so near that a few evaluations of all columns remain. Where the means go
    /// a long way, it may be the wrong one, and all columns are fitted from the start. Evaluations of both count.
    pub fn solve(
        &self,
        start: &Parameters,
        limits: &Limits,
        tolerance: f64,
        most: usize,
        columns_per_bin: usize,
    ) -> Result<Found> {
        self.check()?;
        if columns_per_bin < 2 || self.x.len() < LEAST_BINS * columns_per_bin {
            return Ok(self.minimum(start, limits, tolerance, most));
        }
        let (x, flux) = (means(self.x, columns_per_bin), means(self.flux, columns_per_bin));
        let near = Fit { x: &x, flux: &flux, ..*self }.minimum(start, limits, tolerance, most.min(LONG_WAY));
        let start = if near.converged { &near.values } else { start };
        let found = self.minimum(start, limits, tolerance, most);
        Ok(Found { evaluations: near.evaluations + found.evaluations, ..found })
    }

    fn minimum(&self, start: &Parameters, limits: &Limits, tolerance: f64, most: usize) -> Found {
        let free: Vec<usize> = (0..PARAMETERS).filter(|&k| self.scale[k] != 0.0).collect();
        let problem = |values: &Parameters| {
            let parameters = std::array::from_fn(|k| values[k] * self.scale[k]);
            let triangle = self.reduced(&parameters);
            let mut here =
                Linearised { jacobian: [[0.0; PARAMETERS]; PARAMETERS + 1], residual: [0.0; PARAMETERS + 1] };
            for (row, values) in triangle.values[..triangle.size].iter().enumerate() {
                for (column, &k) in free.iter().enumerate() {
                    here.jacobian[row][k] = values[column];
                }
                here.residual[row] = values[free.len()];
            }
            here
        };
        minimise(problem, start, limits, tolerance, most)
    }

    fn check(&self) -> Result<()> {
        require(self.flux.len() == self.x.len(), "number of fluxes", self.flux.len() as f64, "that of the columns")
    }

    fn reduced(&self, parameters: &Parameters) -> Triangle {
        let free: Vec<(usize, f64)> =
            self.scale.iter().map(|s| s / self.unit).enumerate().filter(|&(k, _)| self.scale[k] != 0.0).collect();
        let mut triangle = Triangle::new(free.len() + 1);
        widest(Reduce { fit: self, parameters, free: &free, triangle: &mut triangle });
        triangle
    }
}

/// Fewer bins than these tell too little of six parameters to be worth a fit.
const LEAST_BINS: usize = 100;

/// Evaluations within which means of columns find their minimum, if it is the one next to the start.
const LONG_WAY: usize = 60;

/// Means of so many values each; the last one may be of fewer.
fn means(values: &[f64], count: usize) -> Vec<f64> {
    values.chunks(count).map(|bin| bin.iter().sum::<f64>() / bin.len() as f64).collect()
}

struct Reduce<'a> {
    fit: &'a Fit<'a>,
    parameters: &'a Parameters,
    free: &'a [(usize, f64)],
    triangle: &'a mut Triangle,
}

impl Vectorised for Reduce<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Fit { x, flux, unit, .. } = *self.fit;
        let mut block = [[[0.0; LANES]; BLOCK]; PARAMETERS + 1];
        for (x, flux) in x.chunks(BLOCK * LANES).zip(flux.chunks(BLOCK * LANES)) {
            for (line, (x, flux)) in x.chunks(LANES).zip(flux.chunks(LANES)).enumerate() {
                let found = local(&padded(x), self.parameters);
                for (column, &(k, scale)) in self.free.iter().enumerate() {
                    for lane in 0..LANES {
                        block[column][line][lane] = found.derivatives[k][lane] * scale;
                    }
                }
                let flux = padded(flux);
                for lane in 0..LANES {
                    block[self.free.len()][line][lane] = (found.blaze[lane] - flux[lane]) / unit;
                }
                // Lanes beyond the last column weigh nothing.
                if x.len() < LANES {
                    for column in &mut block[..=self.free.len()] {
                        column[line][x.len()..].fill(0.0);
                    }
                }
            }
            self.triangle.absorb(&mut block, x.len().div_ceil(LANES));
        }
    }
}

/// The columns, and the last of them again to fill the lanes.
#[inline(always)]
fn padded(x: &[f64]) -> Lanes {
    if let Some(lanes) = x.first_chunk() {
        return *lanes;
    }
    let mut lanes = [x[x.len() - 1]; LANES];
    lanes[..x.len()].copy_from_slice(x);
    lanes
}

#[inline(always)]
fn local(x: &Lanes, parameters: &Parameters) -> Local {
    let &[amplitude, period, centre, quadratic, cubic, slope] = parameters;
    let phase_per_pixel = 2.0 * std::f64::consts::PI / period;
    let (mut d, mut curve, mut t) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
    for lane in 0..LANES {
        d[lane] = x[lane] - centre;
        curve[lane] = 1.0 + d[lane] * (quadratic + d[lane] * cubic);
        t[lane] = phase_per_pixel * d[lane] * curve[lane];
    }
    let (sinc, by_t) = sinc_and_derivative(&t);
    let mut found = Local { blaze: [0.0; LANES], plain: [0.0; LANES], derivatives: [[0.0; LANES]; PARAMETERS] };
    for lane in 0..LANES {
        let (d, curve) = (d[lane], curve[lane]);
        let square = sinc[lane] * sinc[lane];
        let tilt = 1.0 + slope * d;
        found.plain[lane] = amplitude * square;
        found.blaze[lane] = found.plain[lane] * tilt;
        // dB / d(d + Q d^2 + C d^3).
        let by_phase = 2.0 * amplitude * phase_per_pixel * sinc[lane] * by_t[lane] * tilt;
        found.derivatives[0][lane] = square * tilt;
        found.derivatives[1][lane] = by_phase * d * curve / -period;
        found.derivatives[2][lane] =
            -by_phase * (1.0 + d * (2.0 * quadratic + 3.0 * d * cubic)) - amplitude * slope * square;
        found.derivatives[3][lane] = by_phase * d * d;
        found.derivatives[4][lane] = by_phase * d * d * d;
        found.derivatives[5][lane] = square * amplitude * d;
    }
    found
}

/// Phases below which the series of sin t / t and of its derivative are exact to rounding.
const SERIES: f64 = 1.0e-2;

/// sin t / t and its derivative.
#[inline(always)]
fn sinc_and_derivative(t: &Lanes) -> (Lanes, Lanes) {
    let (sin, cos) = sin_cos(t);
    let (mut sinc, mut by_t) = ([0.0; LANES], [0.0; LANES]);
    for lane in 0..LANES {
        let (t, square) = (t[lane], t[lane] * t[lane]);
        let small = t.abs() < SERIES;
        let divisor = if small { 1.0 } else { t };
        let away = sin[lane] / divisor;
        let near = 1.0 - square / 6.0 * (1.0 - square / 20.0);
        sinc[lane] = if small { near } else { away };
        let away = (cos[lane] - away) / divisor;
        let near = -t / 3.0 * (1.0 - square / 10.0 * (1.0 - square / 28.0));
        by_t[lane] = if small { near } else { away };
    }
    (sinc, by_t)
}

/// pi / 2 in three parts; the first two have 33 bits, so that their products with a count of quarter turns are exact.
///
/// These and the polynomials below are those of fdlibm (Sun Microsystems 1993), k_sin.c, k_cos.c and e_rem_pio2.c.
const QUARTER: [f64; 3] = [1.570_796_326_734_125_6, 6.077_100_506_303_966e-11, 2.022_266_248_795_950_6e-21];
const SIN: [f64; 6] = [
    -1.666_666_666_666_663_2e-1,
    8.333_333_333_322_49e-3,
    -1.984_126_982_985_795e-4,
    2.755_731_370_707_006_8e-6,
    -2.505_076_025_340_686_3e-8,
    1.589_690_995_211_55e-10,
];
const COS: [f64; 6] = [
    4.166_666_666_666_66e-2,
    -1.388_888_888_887_411e-3,
    2.480_158_728_947_673e-5,
    -2.755_731_435_139_066_3e-7,
    2.087_572_321_298_175e-9,
    -1.135_964_755_778_819_5e-11,
];
/// Phases up to which the number of quarter turns times the first part of pi / 2 is exact.
const REDUCIBLE: f64 = 1.0e6;
/// Added and subtracted, it rounds to an integer, which stands in the last bits in between.
const ROUND: f64 = 6_755_399_441_055_744.0;

/// Sine and cosine to the last digit but one.
#[inline(always)]
fn sin_cos(t: &Lanes) -> (Lanes, Lanes) {
    if !t.iter().fold(true, |all, t| all & (t.abs() < REDUCIBLE)) {
        return (t.map(f64::sin), t.map(f64::cos));
    }
    let (mut sin, mut cos) = ([0.0; LANES], [0.0; LANES]);
    for lane in 0..LANES {
        let rounded = t[lane] * std::f64::consts::FRAC_2_PI + ROUND;
        let quadrant = rounded.to_bits();
        let turns = rounded - ROUND;
        let r = ((t[lane] - turns * QUARTER[0]) - turns * QUARTER[1]) - turns * QUARTER[2];
        let z = r * r;
        let s = r + r * z * (SIN[0] + z * (SIN[1] + z * (SIN[2] + z * (SIN[3] + z * (SIN[4] + z * SIN[5])))));
        let tail = z * z * (COS[0] + z * (COS[1] + z * (COS[2] + z * (COS[3] + z * (COS[4] + z * COS[5])))));
        let c = 1.0 - (0.5 * z - tail);
        // Odd quarter turns exchange the two; the second bit of the quadrant is the sign.
        let odd = (quadrant & 1).wrapping_neg();
        let exchange = (s.to_bits() ^ c.to_bits()) & odd;
        let sine = s.to_bits() ^ exchange ^ ((quadrant & 2) << 62);
        let cosine = c.to_bits() ^ exchange ^ ((quadrant.wrapping_add(1) & 2) << 62);
        sin[lane] = f64::from_bits(sine);
        cos[lane] = f64::from_bits(cosine);
    }
    (sin, cos)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const ORDER: Parameters = [5.0, 400.0, 210.3, 1.0e-4, -1.0e-7, 3.0e-4];

    #[test]
    fn sine_and_cosine_are_the_libraries() {
        for k in -200_000..200_000i32 {
            let t = f64::from(k) * 0.000_737 + f64::from(k % 7) * 0.31;
            let (sin, cos) = sin_cos(&[t; LANES]);
            assert!((sin[0] - t.sin()).abs() < 3e-16, "{t}");
            assert!((cos[0] - t.cos()).abs() < 3e-16, "{t}");
        }
        let (sin, cos) = sin_cos(&[1e300; LANES]);
        assert_eq!((sin[0], cos[0]), (1e300f64.sin(), 1e300f64.cos()));
        assert!(sin_cos(&[f64::NAN; LANES]).0[0].is_nan());
    }

    #[test]
    fn series_and_quotient_meet() {
        for t in [SERIES * (1.0 - 1e-9), SERIES * (1.0 + 1e-9)] {
            let (sinc, by_t) = sinc_and_derivative(&[t; LANES]);
            assert!((sinc[0] - t.sin() / t).abs() < 1e-15);
            assert!((by_t[0] - (t.cos() * t - t.sin()) / (t * t)).abs() < 1e-12);
        }
        assert_eq!(sinc_and_derivative(&[0.0; LANES]).0, [1.0; LANES]);
    }

    #[test]
    fn the_triangle_has_the_problems_products() {
        // 101 columns: a whole block, and one that is not.
        let x: Vec<f64> = (0..101).map(|k| f64::from(k) * 4.0).collect();
        let flux: Vec<f64> = x.iter().map(|x| 4.0 + (x * 0.37).sin()).collect();
        let scale = [2.0, 100.0, 100.0, 1e-2, 0.0, 1e-2];
        let unit = 4.0;
        let triangle = Fit { x: &x, flux: &flux, scale, unit }.triangle(&ORDER).unwrap();
        let jacobian = sinc2_jacobian(&x, &ORDER);
        let model = sinc2(&x, &ORDER).0;
        let mut columns: Vec<Vec<f64>> =
            [0, 1, 2, 3, 5].map(|k| jacobian[k * 101..][..101].iter().map(|v| v * scale[k] / unit).collect()).to_vec();
        columns.push(model.iter().zip(&flux).map(|(m, f)| (m - f) / unit).collect());
        let size = columns.len();
        for i in 0..size {
            for j in 0..size {
                let whole: f64 = columns[i].iter().zip(&columns[j]).map(|(a, b)| a * b).sum();
                let reduced: f64 = (0..size).map(|row| triangle[row * size + i] * triangle[row * size + j]).sum();
                assert!((whole - reduced).abs() < 1e-12 * (1.0 + whole.abs()), "{i} {j}: {whole} {reduced}");
                assert!(i <= j || triangle[i * size + j] == 0.0);
            }
        }
        assert!(Fit { x: &x, flux: &flux[1..], scale, unit }.triangle(&ORDER).is_err());
    }

    #[test]
    fn derivatives_are_differences() {
        let x: Vec<f64> = (0..50).map(|k| f64::from(k) * 8.0).collect();
        let jacobian = sinc2_jacobian(&x, &ORDER);
        for (k, step) in [1e-5, 1e-3, 1e-3, 1e-8, 1e-11, 1e-8].into_iter().enumerate() {
            let (mut above, mut below) = (ORDER, ORDER);
            above[k] += step;
            below[k] -= step;
            let (above, below) = (sinc2(&x, &above).0, sinc2(&x, &below).0);
            let most = jacobian[k * 50..][..50].iter().fold(0.0f64, |most, v| most.max(v.abs()));
            for i in 0..50 {
                let expected = (above[i] - below[i]) / (2.0 * step);
                assert!((jacobian[k * 50 + i] - expected).abs() < 1e-6 * most, "{k} {i}");
            }
        }
    }
}
