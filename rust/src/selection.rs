//! Order statistics of many values.
//!
//! Source of the idea: Floyd & Rivest 1975, Commun. ACM 18, 165: a sample tells between which two values a rank lies, and
//! only the few values in between need to be sorted out.

use crate::median::{Sample, ascending};

/// Up to here a sample does not pay.
const FEW: usize = 2048;
/// Values that are sifted together.
const CHUNK: usize = 64;

/// The values of two neighbouring ranks, `rank` and `rank + 1` (the last value, if there is none); none may be NaN.
///
/// The slice may be reordered.
pub(crate) fn neighbours<T: Sample>(values: &mut [T], rank: usize) -> (T, T) {
    if values.len() > FEW
        && let Some(found) = by_sample(values, rank)
    {
        return found;
    }
    let (_, low, above) = values.select_nth_unstable_by(rank, ascending);
    let low = *low;
    let high = above.iter().copied().reduce(|least, v| if v < least { v } else { least });
    (low, high.unwrap_or(low))
}

/// As [`neighbours`], if the sample brackets the ranks.
fn by_sample<T: Sample>(values: &[T], rank: usize) -> Option<(T, T)> {
    let root = (values.len() as f64).sqrt();
    let mut sample: Vec<T> = values.iter().copied().step_by((root / 4.0) as usize).collect();
    sample.sort_unstable_by(ascending);
    let middle = rank as f64 / values.len() as f64 * sample.len() as f64;
    // Three standard deviations of a rank in the sample.
    let gap = 1.5 * (sample.len() as f64).sqrt() + 1.0;
    let (low, high) = (middle - gap, middle + gap);
    let low = if low < 0.0 { None } else { Some(sample[low as usize]) };
    let high = sample.get(high as usize).copied();
    let (below, mut between) = sift(values, low, high);
    let rank = rank.checked_sub(below)?;
    if rank + 1 >= between.len() && below + between.len() < values.len() {
        return None;
    }
    if rank >= between.len() {
        return None;
    }
    let (_, found, above) = between.select_nth_unstable_by(rank, ascending);
    let found = *found;
    let next = above.iter().copied().reduce(|least, v| if v < least { v } else { least });
    Some((found, next.unwrap_or(found)))
}

/// Number of values below `low`, and those from there up to `high`.
fn sift<T: Sample>(values: &[T], low: Option<T>, high: Option<T>) -> (usize, Vec<T>) {
    let mut between = Vec::with_capacity(values.len() / 8);
    let mut below = 0;
    for chunk in values.chunks(CHUNK) {
        let (mut kept, mut count) = ([chunk[0]; CHUNK], 0);
        for &value in chunk {
            let under = low.is_some_and(|low| value < low);
            let over = high.is_some_and(|high| value > high);
            below += usize::from(under);
            // Written whether it is kept or not: no branch to guess.
            kept[count] = value;
            count += usize::from(!under & !over);
        }
        between.extend_from_slice(&kept[..count]);
    }
    (below, between)
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
                for rank in [0, 1, count / 7, count / 2, count.saturating_sub(2), count - 1] {
                    let rank = rank.min(count - 1);
                    let expected = (sorted[rank], sorted[(rank + 1).min(count - 1)]);
                    assert_eq!(neighbours(&mut values.clone(), rank), expected, "{count} {rank}");
                }
            }
        }
    }
}
