//! The pixels between the orders that get no light, by ribbons of columns.
//!
//! Source of the method: the background map of Cook et al. 2022, PASP 134, 114509.

use crate::error::{Result, contiguous, require};
use crate::median::{ascending, nan_median, partition_nan};
use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

/// How unlit pixels are told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct UnlitRule {
    /// Width of a ribbon, and of the running percentile [pixels].
    pub box_size: usize,
    /// The percentile of the cross-order profile below which a pixel is dark.
    pub percent: f64,
    /// Columns of a pixel's neighbourhood, centred on it.
    pub window: usize,
    /// Dark pixels of the neighbourhood, itself included, from which a pixel is unlit whatever it is itself.
    pub least: usize,
}

/// 1 where a pixel gets no light.
///
/// Ribbons of `box_size` columns are narrow enough for orders to lie level in them: the nan-median of each row of a ribbon
/// is its cross-order profile, and what is below the running nan-percentile of that (`box_size` rows, shrinking at the
/// ends) is dark. A dark pixel alone in its neighbourhood is taken out, and one with `least` dark ones is put in.
pub fn unlit_mask(image: ArrayView2<'_, f32>, rule: UnlitRule) -> Result<Array2<u8>> {
    let (ny, nx) = image.dim();
    let UnlitRule { box_size, percent, window, least } = rule;
    require(box_size >= 2, "box", box_size as f64, "at least 2")?;
    require((0.0..=100.0).contains(&percent), "percent", percent, "between 0 and 100")?;
    require(window % 2 == 1, "window", window as f64, "odd")?;
    require(least >= 1, "least", least as f64, "at least 1")?;
    let pixels = contiguous("image", &image)?;
    let floors: Vec<Vec<f64>> =
        (0..nx.div_ceil(box_size)).into_par_iter().map(|ribbon| floor(pixels, (ny, nx), ribbon, rule)).collect();
    let mut mask = Array2::zeros((ny, nx));
    if let Some(mask) = mask.as_slice_mut() {
        mask.par_chunks_mut(nx.max(1)).zip(pixels.par_chunks(nx.max(1))).enumerate().for_each_init(
            || vec![false; nx],
            |dark, (y, (mask, row))| {
                for (x, (dark, &value)) in dark.iter_mut().zip(row).enumerate() {
                    *dark = f64::from(value) < floors[x / box_size][y];
                }
                judge(dark, window / 2, least, mask);
            },
        );
    }
    Ok(mask)
}

/// Level of the background at every row of a ribbon.
fn floor(pixels: &[f32], (ny, nx): (usize, usize), ribbon: usize, rule: UnlitRule) -> Vec<f64> {
    let columns = ribbon * rule.box_size..((ribbon + 1) * rule.box_size).min(nx);
    let mut values = vec![0.0f32; columns.len()];
    let profile: Vec<f64> = pixels
        .chunks(nx)
        .map(|row| {
            values.copy_from_slice(&row[columns.clone()]);
            nan_median(&mut values)
        })
        .collect();
    let half = rule.box_size / 2;
    let mut near = Vec::with_capacity(rule.box_size);
    (0..ny)
        .map(|y| {
            near.clear();
            near.extend_from_slice(&profile[y.saturating_sub(half)..(y + half).min(ny)]);
            nan_percentile(&mut near, rule.percent)
        })
        .collect()
}

/// Percentile of the values that are not NaN, by linear interpolation between ranks; NaN where there are none.
fn nan_percentile(values: &mut [f64], percent: f64) -> f64 {
    let count = partition_nan(values);
    if count == 0 {
        return f64::NAN;
    }
    let rank = percent / 100.0 * (count - 1) as f64;
    let (_, &mut low, above) = values[..count].select_nth_unstable_by(rank as usize, ascending);
    let high = above.iter().copied().reduce(f64::min).unwrap_or(low);
    low + (high - low) * rank.fract()
}

/// Settle a row by the number of dark pixels around each.
fn judge(dark: &[bool], half: usize, least: usize, mask: &mut [u8]) {
    let mut count = dark.iter().take(half).filter(|&&d| d).count();
    for x in 0..dark.len() {
        count += usize::from(dark.get(x + half).copied().unwrap_or(false));
        count -= usize::from(x > half && dark[x - half - 1]);
        mask[x] = u8::from(count >= least || (dark[x] && count > 1));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const RULE: UnlitRule = UnlitRule { box_size: 8, percent: 30.0, window: 7, least: 3 };

    #[test]
    fn the_gaps_between_orders_are_unlit() {
        // Rows 0 to 2 of each eight are dark, a little less so towards higher rows.
        let image =
            Array2::from_shape_fn(
                (40, 24),
                |(y, x)| {
                    if y % 8 < 3 { (y % 8) as f32 + 0.1 * (x % 2) as f32 } else { 100.0 }
                },
            );
        let mask = unlit_mask(image.view(), RULE).unwrap();
        assert!(mask.row(16).iter().all(|&m| m == 1));
        assert!(mask.row(20).iter().all(|&m| m == 0));
    }

    #[test]
    fn lonely_pixels_go_and_gaps_are_closed() {
        let mut mask = vec![9; 10];
        let row = |places: &[usize]| (0..10).map(|x| places.contains(&x)).collect::<Vec<_>>();
        judge(&row(&[4]), 3, 3, &mut mask);
        assert!(mask.iter().all(|&m| m == 0));
        judge(&row(&[2, 4]), 3, 3, &mut mask);
        assert_eq!(mask, [0, 0, 1, 0, 1, 0, 0, 0, 0, 0]);
        judge(&row(&[2, 4, 5]), 3, 3, &mut mask);
        assert_eq!(mask, [0, 0, 1, 1, 1, 1, 0, 0, 0, 0]);
    }

    #[test]
    fn pixels_without_value_are_not_unlit() {
        let image = Array2::from_elem((20, 20), f32::NAN);
        assert!(unlit_mask(image.view(), RULE).unwrap().iter().all(|&m| m == 0));
        assert!(unlit_mask(image.view(), UnlitRule { window: 4, ..RULE }).is_err());
    }

    #[test]
    fn percentiles_lie_between_ranks() {
        assert_eq!(nan_percentile(&mut [3.0, f64::NAN, 1.0, 2.0], 75.0), 2.5);
        assert_eq!(nan_percentile(&mut [3.0, 1.0], 100.0), 3.0);
        assert!(nan_percentile(&mut [f64::NAN], 5.0).is_nan());
    }
}
