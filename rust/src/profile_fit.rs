//! Shifts and heights of the blocks of strips, fitted by each strip's mean profile.

use crate::error::{Result, require};
use crate::profiles::{Reach, reaches, same};
use ndarray::{Array3, ArrayView2, ArrayView3};
use rayon::prelude::*;

/// A block counts where at least this share of the profile's slopes is seen.
const LEAST_SEEN: f64 = 0.8;
/// Heights below this share of a block's largest value are none.
const ROUNDING: f64 = 1e-9;
/// Pixels that a fit of four values asks for.
const LEAST_PIXELS: usize = 5;

/// What blocks say of their strips: planes of traces by blocks, NaN where they say nothing.
///
/// The planes are: shift of the strip from its trace [pixels] and its error, height of the profile and its error, level
/// of the light below it.
pub type Points = Array3<f64>;

/// Fit each block by its strip's mean profile, the slope of it (which is a shift) and a straight line, all pixels
/// alike; where not `sloped`, a constant: a short piece of a profile is hard to tell from a slope.
///
/// `noise` is the variance of a pixel at level 0, its growth with the level, and the least there is; `share` the
/// variance of a value of a profile relative to a pixel's.
pub fn fit_profiles(
    profiles: ArrayView3<'_, f32>,
    means: ArrayView2<'_, f64>,
    reach: ArrayView2<'_, i64>,
    sloped: &[bool],
    noise: (f64, f64, f64),
    share: f64,
) -> Result<Points> {
    require(sloped.len() == profiles.dim().0, "number of sloped", sloped.len() as f64, "one for each trace")?;
    let reaches = reaches(reach, &profiles)?;
    let (count, blocks, samples) = profiles.dim();
    same(&means, (count, samples))?;
    let mut points = Array3::from_elem((5, count, blocks), f64::NAN);
    let work = |i: usize| -> Vec<Option<[f64; 5]>> {
        let design = Design::new(&means.row(i).to_vec(), reaches[i], sloped[i]);
        let strip = profiles.index_axis(ndarray::Axis(0), i);
        strip
            .outer_iter()
            .map(|block| {
                let own: Vec<f64> = (reaches[i].0..reaches[i].1).map(|k| f64::from(block[k])).collect();
                design.as_ref()?.fit(&own, noise, share)
            })
            .collect()
    };
    let found: Vec<_> = (0..count).into_par_iter().map(work).collect();
    for (i, strip) in found.into_iter().enumerate() {
        for (b, values) in strip.into_iter().enumerate() {
            for (plane, value) in values.iter().flatten().enumerate() {
                points[[plane, i, b]] = *value;
            }
        }
    }
    Ok(points)
}

/// What the blocks of one strip are fitted by.
struct Design {
    rows: Vec<[f64; 4]>,
    slopes: f64,
}

impl Design {
    /// None where the strip has no profile to be fitted by.
    fn new(mean: &[f64], (first, last): Reach, sloped: bool) -> Option<Self> {
        if last - first < LEAST_PIXELS || mean.iter().all(|&value| value == 0.0) {
            return None;
        }
        let half = (mean.len() / 2) as f64;
        let farthest = (first as f64 - half).abs().max((last as f64 - 1.0 - half).abs()).max(1.0);
        let end = mean.len() - 1;
        let slope = |k: usize| match k {
            0 => mean[1] - mean[0],
            k if k == end => mean[end] - mean[end - 1],
            k => 0.5 * (mean[k + 1] - mean[k - 1]),
        };
        // At a strip's own ends the slope is that of what is known there.
        let inner = |k: usize| {
            if k == first && k < end {
                mean[k + 1] - mean[k]
            } else if k + 1 == last && k > 0 {
                mean[k] - mean[k - 1]
            } else {
                slope(k)
            }
        };
        let tilt = |k: usize| if sloped { (k as f64 - half) / farthest } else { 0.0 };
        let rows: Vec<[f64; 4]> = (first..last).map(|k| [mean[k], -inner(k), 1.0, tilt(k)]).collect();
        let slopes = rows.iter().map(|row| row[1] * row[1]).sum();
        (slopes > 0.0).then_some(Self { rows, slopes })
    }

    fn fit(&self, own: &[f64], (start, growth, least): (f64, f64, f64), share: f64) -> Option<[f64; 5]> {
        let (mut normal, mut right, mut seen, mut known) = ([[0.0; 4]; 4], [0.0; 4], 0.0, 0);
        for (row, &value) in self.rows.iter().zip(own) {
            if !value.is_finite() {
                continue;
            }
            known += 1;
            seen += row[1] * row[1];
            for i in 0..4 {
                right[i] += row[i] * value;
                for j in 0..4 {
                    normal[i][j] += row[i] * row[j];
                }
            }
        }
        if known < LEAST_PIXELS || seen < LEAST_SEEN * self.slopes {
            return None;
        }
        if normal[3][3] == 0.0 {
            normal[3][3] = 1.0;
        }
        let inverse = inverse(normal)?;
        let mut found = [0.0; 4];
        for i in 0..4 {
            found[i] = (0..4).map(|j| inverse[i][j] * right[j]).sum();
        }
        // Errors of height and shift: what each pixel's noise does to them.
        let (mut height_variance, mut shift_variance) = (0.0, 0.0);
        for (row, &value) in self.rows.iter().zip(own) {
            if value.is_finite() {
                let variance = share * (start + growth * value.max(0.0)).max(least);
                let lever = |i: usize| (0..4).map(|j| inverse[i][j] * row[j]).sum::<f64>();
                height_variance += variance * lever(0).powi(2);
                shift_variance += variance * lever(1).powi(2);
            }
        }
        let height = found[0];
        // A block without any light has a height of rounding errors.
        let largest = own.iter().filter(|value| value.is_finite()).fold(0.0f64, |most, value| most.max(value.abs()));
        let (shift, error) = if height > ROUNDING * largest {
            (found[1] / height, shift_variance.sqrt() / height)
        } else {
            (f64::NAN, f64::NAN)
        };
        Some([shift, error, height, height_variance.sqrt(), found[2]])
    }
}

/// Inverse of a symmetric matrix by Gauss and Jordan; None where it is singular.
fn inverse(matrix: [[f64; 4]; 4]) -> Option<[[f64; 4]; 4]> {
    let mut a = matrix;
    let mut b = [[0.0; 4]; 4];
    for i in 0..4 {
        b[i][i] = 1.0;
    }
    let scale = (0..4).map(|i| matrix[i][i]).fold(0.0, f64::max);
    for column in 0..4 {
        let mut pivot = column;
        for row in column + 1..4 {
            if a[row][column].abs() > a[pivot][column].abs() {
                pivot = row;
            }
        }
        if a[pivot][column].abs() <= 1e-12 * scale {
            return None;
        }
        a.swap(column, pivot);
        b.swap(column, pivot);
        let by = 1.0 / a[column][column];
        for k in 0..4 {
            a[column][k] *= by;
            b[column][k] *= by;
        }
        for row in 0..4 {
            if row != column {
                let by = a[row][column];
                for k in 0..4 {
                    a[row][k] -= by * a[column][k];
                    b[row][k] -= by * b[column][k];
                }
            }
        }
    }
    Some(b)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::profiles::{coarse_shifts, mean_profiles};
    use ndarray::array;

    fn bell(k: f64) -> f64 {
        (-0.5 * (k / 2.0).powi(2)).exp()
    }

    #[test]
    fn shifts_are_found() {
        let shifts = [0.0, 0.3, -0.2, 0.0];
        let profiles =
            Array3::from_shape_fn((1, 4, 17), |(_, b, k)| (100.0 * bell(k as f64 - 8.0 - shifts[b]) + 5.0) as f32);
        let reach = array![[-8i64, 8]];
        let means = mean_profiles(profiles.view(), reach.view(), &[true]).unwrap();
        assert!(means.iter().all(|&value| value <= 1.0));
        let points = fit_profiles(profiles.view(), means.view(), reach.view(), &[true], (1.0, 1.0, 1.0), 0.1).unwrap();
        // One step of a fit that is linear in the shift: near it, and the next step begins there.
        assert!((points[[0, 0, 1]] - points[[0, 0, 0]] - 0.3).abs() < 0.03);
        assert!((points[[2, 0, 0]] - 100.0).abs() < 5.0);
        let coarse = coarse_shifts(profiles.view(), means.view(), reach.view(), &[2]).unwrap();
        assert_eq!(coarse[[0, 0, 2]], 0.0);
        assert!(coarse[[1, 0, 2]] > 0.99);
    }

    #[test]
    fn strips_without_light_say_nothing() {
        let profiles = Array3::from_elem((1, 3, 9), f32::NAN);
        let reach = array![[-4i64, 4]];
        let means = mean_profiles(profiles.view(), reach.view(), &[true]).unwrap();
        assert!(means.iter().all(|&value| value == 0.0));
        let points = fit_profiles(profiles.view(), means.view(), reach.view(), &[true], (1.0, 0.0, 1.0), 1.0).unwrap();
        assert!(points.iter().all(|value| value.is_nan()));
        assert!(mean_profiles(profiles.view(), array![[0i64, 0], [1, 1]].view(), &[true]).is_err());
    }
}
