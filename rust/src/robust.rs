//! Robust scatter, medians of boxes, and the slow part of a flat.

use crate::error::{Result, require};
use crate::median::{nan_median, partition_nan};
use crate::selection::neighbours;

/// erf(1): the share of a normal distribution within sqrt(2) standard deviations.
pub(crate) const ERF_1: f64 = 0.842_700_792_949_714_9;

/// Robust standard deviation: half the distance of the percentiles 100 erf(1) and 100 - 100 erf(1).
///
/// NaN is left out; NaN of none. The slice is reordered.
pub fn robust_sigma(values: &mut [f64]) -> f64 {
    let count = partition_nan(values);
    let values = &mut values[..count];
    (quantile(values, ERF_1) - quantile(values, 1.0 - ERF_1)) / 2.0
}

/// nan-median of each of `boxes` runs of values as equally long as they can be, the longer ones first; NaN of none.
pub fn box_medians(values: &[f64], boxes: usize) -> Result<Vec<f64>> {
    require(boxes >= 1, "boxes", boxes as f64, "at least 1")?;
    let (length, longer) = (values.len() / boxes, values.len() % boxes);
    let mut rest = values.to_vec();
    let mut rest = rest.as_mut_slice();
    Ok((0..boxes)
        .map(|i| {
            let (own, others) = std::mem::take(&mut rest).split_at_mut(length + usize::from(i < longer));
            rest = others;
            nan_median(own)
        })
        .collect())
}

/// Linearly interpolated quantile of values none of which is NaN; the slice is reordered.
pub fn quantile(values: &mut [f64], share: f64) -> f64 {
    if values.is_empty() {
        return f64::NAN;
    }
    let (rank, part) = rank_of(values.len(), share);
    let (low, high) = neighbours(values, rank);
    between_ranks(low, high, part)
}

/// Rank of a quantile among values, and the part of the way to the next one.
pub(crate) fn rank_of(count: usize, share: f64) -> (usize, f64) {
    let place = share * count.saturating_sub(1) as f64;
    let rank = place.floor();
    (rank as usize, place - rank)
}

/// A value a part of the way between two of neighbouring ranks.
pub(crate) fn between_ranks(low: f64, high: f64, part: f64) -> f64 {
    if part == 0.0 { low } else { low + part * (high - low) }
}

/// Slow part of a flat: nan-medians of overlapping boxes, joined linearly and constant outside.
///
/// Boxes of `width` start at -(width + 1) / 2 and step by width / 4; each is clipped to the flat without its last
/// column. Boxes of fewer than 3 pixels or without a value are left out; NaN everywhere if none is left.
pub fn slow_part(flat: &[f64], width: usize) -> Result<Vec<f64>> {
    require(width >= 4, "width", width as f64, "at least 4")?;
    let size = flat.len() as isize;
    let (half, whole) = (width as isize / 2, width as isize);
    let mut knots: Vec<(f64, f64, f64)> = Vec::new();
    let mut start = (-(whole + 1)).div_euclid(2);
    while start < size + half {
        let (low, high) = (start.max(0), (start + whole).min(size - 1));
        start += whole / 4;
        if high - low < 3 {
            continue;
        }
        let value = nan_median(&mut flat[low as usize..high as usize].to_vec());
        if value.is_nan() {
            continue;
        }
        let position = (low + high - 1) as f64 / 2.0;
        match knots.last_mut() {
            Some((last, sum, count)) if *last == position => {
                *sum += value;
                *count += 1.0;
            }
            _ => knots.push((position, value, 1.0)),
        }
    }
    let points: Vec<(f64, f64)> = knots.into_iter().map(|(x, sum, count)| (x, sum / count)).collect();
    Ok((0..flat.len()).map(|i| interpolate(&points, i as f64)).collect())
}

fn interpolate(points: &[(f64, f64)], x: f64) -> f64 {
    let after = points.partition_point(|p| p.0 <= x);
    match (after.checked_sub(1).and_then(|i| points.get(i)), points.get(after)) {
        (Some(left), Some(right)) => left.1 + (right.1 - left.1) / (right.0 - left.0) * (x - left.0),
        (Some(only), None) | (None, Some(only)) => only.1,
        (None, None) => f64::NAN,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_linear_between_values() {
        assert_eq!(quantile(&mut [4.0, 1.0, 3.0, 2.0], 0.5), 2.5);
        assert_eq!(quantile(&mut [1.0], 0.9), 1.0);
        assert!(quantile(&mut [], 0.5).is_nan());
        assert!(robust_sigma(&mut [f64::NAN]).is_nan());
    }

    #[test]
    fn slow_part_of_a_line_is_the_line_between_the_knots() {
        let flat: Vec<f64> = (0..200).map(|i| f64::from(i) * 0.01).collect();
        let slow = slow_part(&flat, 21).unwrap();
        assert!((slow[100] - flat[100]).abs() < 1e-12);
        assert!(slow_part(&flat, 2).is_err());
        assert!(slow_part(&[f64::NAN; 30], 8).unwrap().iter().all(|v| v.is_nan()));
    }
}
