//! Medians of a few values and of a running window; [`crate::network`] finds those of many lanes at once.

use crate::error::{Result, require};
pub use crate::network::{LANES, MedianNetwork};
use crate::selection::neighbours;
use std::cmp::Ordering;
use std::ops::{Add, Mul};

/// Values that medians are taken of.
pub trait Sample: Copy + PartialOrd + Add<Output = Self> + Mul<Output = Self> + Into<f64> + Send + Sync {
    /// Nothing.
    const ZERO: Self;
    /// Not above any other value.
    const LOWEST: Self;
    /// Not below any other value.
    const HIGHEST: Self;
}

impl Sample for f32 {
    const ZERO: Self = 0.0;
    const LOWEST: Self = Self::NEG_INFINITY;
    const HIGHEST: Self = Self::INFINITY;
}

impl Sample for f64 {
    const ZERO: Self = 0.0;
    const LOWEST: Self = Self::NEG_INFINITY;
    const HIGHEST: Self = Self::INFINITY;
}

#[allow(clippy::eq_op)]
#[inline(always)]
pub(crate) fn is_nan<T: Sample>(value: T) -> bool {
    value != value
}

/// Order of two values that are not NaN.
pub(crate) fn ascending<T: PartialOrd>(a: &T, b: &T) -> Ordering {
    a.partial_cmp(b).unwrap_or(Ordering::Equal)
}

/// Move NaN to the end and give the number of the others.
pub(crate) fn partition_nan<T: Sample>(values: &mut [T]) -> usize {
    let mut kept = 0;
    for i in 0..values.len() {
        if !is_nan(values[i]) {
            values.swap(kept, i);
            kept += 1;
        }
    }
    kept
}

/// Median of the values that are not NaN, the mean of the middle two for an even count; NaN where there are none.
///
/// The slice is reordered.
pub fn nan_median<T: Sample>(values: &mut [T]) -> f64 {
    let count = partition_nan(values);
    median(&mut values[..count])
}

/// Median of values none of which is NaN; the slice is reordered.
pub(crate) fn median<T: Sample>(values: &mut [T]) -> f64 {
    let count = values.len();
    if count == 0 {
        return f64::NAN;
    }
    if count <= 40 {
        insertion_sort(values);
        return middle(values);
    }
    let (lower, upper) = neighbours(values, (count - 1) / 2);
    if count % 2 == 1 { lower.into() } else { between(lower.into(), upper.into()) }
}

fn insertion_sort<T: Sample>(values: &mut [T]) {
    for i in 1..values.len() {
        let value = values[i];
        let mut j = i;
        while j > 0 && values[j - 1] > value {
            values[j] = values[j - 1];
            j -= 1;
        }
        values[j] = value;
    }
}

/// Mean of two values that are not NaN; equal ones give themselves, infinities included.
#[inline(always)]
pub(crate) fn between(lower: f64, upper: f64) -> f64 {
    if lower == upper { lower } else { 0.5 * (lower + upper) }
}

fn middle<T: Sample>(sorted: &[T]) -> f64 {
    let count = sorted.len();
    if count == 0 {
        return f64::NAN;
    }
    between(sorted[(count - 1) / 2].into(), sorted[count / 2].into())
}

/// Centred running nan-median of `width` samples that shrinks at the ends.
///
/// An even width reaches one sample further ahead than back. NaN where fewer than `width / 2` samples are not NaN.
pub fn running_nan_median(row: &[f64], width: usize) -> Result<Vec<f64>> {
    require(width >= 1, "width", width as f64, "at least 1")?;
    let (before, after) = ((width - 1) / 2, width / 2);
    let mut sorted: Vec<f64> = Vec::with_capacity(width.min(row.len()));
    let mut enter = 0;
    let mut result = Vec::with_capacity(row.len());
    for i in 0..row.len() {
        while enter < row.len() && enter <= i + after {
            insert_sorted(&mut sorted, row[enter]);
            enter += 1;
        }
        if i > before {
            remove_sorted(&mut sorted, row[i - before - 1]);
        }
        let enough = !sorted.is_empty() && sorted.len() >= width / 2;
        result.push(if enough { middle(&sorted) } else { f64::NAN });
    }
    Ok(result)
}

fn insert_sorted(sorted: &mut Vec<f64>, value: f64) {
    if !value.is_nan() {
        let place = sorted.partition_point(|&v| v < value);
        sorted.insert(place, value);
    }
}

fn remove_sorted(sorted: &mut Vec<f64>, value: f64) {
    if !value.is_nan() {
        let place = sorted.partition_point(|&v| v < value);
        sorted.remove(place);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_small_sets() {
        assert_eq!(nan_median(&mut [3.0, f64::NAN, 1.0]), 2.0);
        assert_eq!(nan_median(&mut [3.0f32, 1.0, 2.0]), 2.0);
        assert!(nan_median(&mut [f64::NAN]).is_nan());
        assert!(nan_median::<f64>(&mut []).is_nan());
        let inf = f64::INFINITY;
        assert_eq!(nan_median(&mut [inf, inf]), inf);
    }

    #[test]
    fn median_of_many_agrees_with_sorting() {
        for count in [41usize, 42, 100, 101] {
            let mut values: Vec<f64> = (0..count).map(|i| ((i * 7919) % 104_729) as f64).collect();
            let mut sorted = values.clone();
            sorted.sort_by(f64::total_cmp);
            assert_eq!(nan_median(&mut values), 0.5 * (sorted[(count - 1) / 2] + sorted[count / 2]));
        }
    }

    #[test]
    fn running_median_needs_half_a_window() {
        let nan = f64::NAN;
        let found = running_nan_median(&[1.0, nan, nan, nan, 5.0, 6.0, 9.0], 5).unwrap();
        assert!(found[0].is_nan() && found[1].is_nan() && found[2] == 3.0);
        assert_eq!(found[4], 6.0);
        assert!(running_nan_median(&[1.0], 0).is_err());
    }
}
