//! Order statistics of many values.
//!
//! Source of the idea: Floyd & Rivest 1975, Commun. ACM 18, 165: a sample tells between which two values a rank lies, and
//! only the few values in between need to be sorted out.

use crate::median::{Sample, ascending, between, is_nan, nan_median};
use crate::parallel::pieces;

/// Up to here a sample does not pay.
const FEW: usize = 2048;
/// Values that are sifted together.
const CHUNK: usize = 64;

/// The values of two neighbouring ranks, `rank` and `rank + 1` (the last value, if there is none); none may be NaN.
///
/// The slice may be reordered.
pub(crate) fn neighbours<T: Sample>(values: &mut [T], rank: usize) -> (T, T) {
    if values.len() > FEW
        && let Some(found) = by_sample(values, values.len(), rank)
    {
        return found;
    }
    let (_, low, above) = values.select_nth_unstable_by(rank, ascending);
    let low = *low;
    let high = above.iter().copied().reduce(|least, v| if v < least { v } else { least });
    (low, high.unwrap_or(low))
}

/// nan-median of values that stay as they are; NaN of none.
pub(crate) fn nan_median_of<T: Sample>(values: &[T]) -> f64 {
    let count = pieces(values, |piece| piece.iter().filter(|v| !is_nan(**v)).count()).into_iter().sum();
    if count > FEW
        && let Some((lower, upper)) = by_sample(values, count, (count - 1) / 2)
    {
        return if count % 2 == 1 { lower.into() } else { between(lower.into(), upper.into()) };
    }
    nan_median(&mut values.to_vec())
}

/// As [`neighbours`] of the `count` values that are not NaN, if the sample brackets the ranks.
fn by_sample<T: Sample>(values: &[T], count: usize, rank: usize) -> Option<(T, T)> {
    let root = (values.len() as f64).sqrt();
    let mut sample: Vec<T> =
        values.iter().copied().step_by((root / 4.0) as usize).filter(|value| !is_nan(*value)).collect();
    sample.sort_unstable_by(ascending);
    let middle = rank as f64 / count as f64 * sample.len() as f64;
    // Three standard deviations of a rank in the sample.
    let gap = 1.5 * (sample.len() as f64).sqrt() + 1.0;
    let low = if middle < gap { T::LOWEST } else { *sample.get((middle - gap) as usize)? };
    let high = sample.get((middle + gap) as usize).copied().unwrap_or(T::HIGHEST);
    let pieces = pieces(values, |piece| sift(piece, low, high));
    let below = pieces.iter().map(|(below, _)| below).sum();
    let mut within: Vec<T> = pieces.into_iter().flat_map(|(_, within)| within).collect();
    let rank = rank.checked_sub(below)?;
    let is_last = below + within.len() == count;
    if rank >= within.len() || (rank + 1 == within.len() && !is_last) {
        return None;
    }
    let (_, found, above) = within.select_nth_unstable_by(rank, ascending);
    let found = *found;
    let next = above.iter().copied().reduce(|least, v| if v < least { v } else { least });
    Some((found, next.unwrap_or(found)))
}

/// Number of values below `low`, and those from there up to `high`; NaN is neither.
fn sift<T: Sample>(values: &[T], low: T, high: T) -> (usize, Vec<T>) {
    let mut within = Vec::with_capacity(values.len() / 8);
    let mut below = 0;
    for chunk in values.chunks(CHUNK) {
        let (mut kept, mut count) = ([chunk[0]; CHUNK], 0);
        for &value in chunk {
            below += usize::from(value < low);
            // Written whether it is kept or not: no branch to guess.
            kept[count] = value;
            count += usize::from((value >= low) & (value <= high));
        }
        within.extend_from_slice(&kept[..count]);
    }
    (below, within)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_those_of_sorting() {
        let cases: [fn(usize) -> f64; 5] = [
            |i| ((i * 7919) % 104_729) as f64,
            |_| 3.0,
            |i| (i % 3) as f64,
            |i| i as f64,
            |i| if i % 997 == 0 { 1e300 } else { -(i as f64).sqrt() },
        ];
        for case in cases {
            for count in [1, 2, 100, FEW + 1, 10_000, 30_001] {
                let values: Vec<f64> = (0..count).map(case).collect();
                let mut sorted = values.clone();
                sorted.sort_unstable_by(f64::total_cmp);
                let mut gapped = values.clone();
                gapped.iter_mut().step_by(3).for_each(|v| *v = f64::NAN);
                let expected = nan_median(&mut gapped.clone());
                let found = nan_median_of(&gapped);
                assert!(found == expected || (found.is_nan() && expected.is_nan()), "{count}");
                for rank in [0, 1, count / 7, count / 2, count.saturating_sub(2), count - 1] {
                    let rank = rank.min(count - 1);
                    let expected = (sorted[rank], sorted[(rank + 1).min(count - 1)]);
                    assert_eq!(neighbours(&mut values.clone(), rank), expected, "{count} {rank}");
                }
            }
        }
    }
}
