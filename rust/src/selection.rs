//! Order statistics of many values.
//!
//! Source of the idea: Floyd & Rivest 1975, Commun. ACM 18, 165: a sample tells between which two values a rank lies,
//! and only the few values in between need to be sorted out.

use crate::median::{Sample, ascending, between};
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
    let bracket = Bracket::of(&mut sample, rank as f64 / values.len() as f64);
    let pieces = pieces(values, |piece| Sifted::of(piece, bracket));
    let below = pieces.iter().map(|piece| piece.below).sum();
    let mut within: Vec<T> = pieces.into_iter().flat_map(|piece| piece.within).collect();
    ranked(&mut within, below, values.len(), rank)
}

/// The values of `rank` and the next one of `count` values, of which `below` lie below those `within` a bracket; none
/// if the ranks are not within.
pub(crate) fn ranked<T: Sample>(within: &mut [T], below: usize, count: usize, rank: usize) -> Option<(T, T)> {
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

/// Values between which a rank is thought to lie, both included.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Bracket<T> {
    pub(crate) low: T,
    pub(crate) high: T,
}

impl<T: Sample> Bracket<T> {
    /// From the lowest value to the highest.
    pub(crate) const ALL: Self = Self { low: T::LOWEST, high: T::HIGHEST };

    /// Three standard deviations of a rank in a sample on both sides of a share of it; the sample is reordered.
    pub(crate) fn of(sample: &mut [T], share: f64) -> Self {
        Self::of_alike(sample, share, 1.0)
    }

    /// As [`Self::of`], of a sample of values that are alike in groups of so many.
    pub(crate) fn of_alike(sample: &mut [T], share: f64, alike: f64) -> Self {
        let (middle, gap) = (share * sample.len() as f64, 1.5 * (alike * sample.len() as f64).sqrt() + 1.0);
        let (low, high) = ((middle - gap).floor(), (middle + gap) as usize);
        let mut nth = |rank: usize| (rank < sample.len()).then(|| *sample.select_nth_unstable_by(rank, ascending).1);
        Self {
            low: if low < 0.0 { T::LOWEST } else { nth(low as usize).unwrap_or(T::LOWEST) },
            high: nth(high).unwrap_or(T::HIGHEST),
        }
    }

    /// From the lesser low to the greater high of two.
    pub(crate) fn joined(self, other: Self) -> Self {
        Self {
            low: if other.low < self.low { other.low } else { self.low },
            high: if other.high > self.high { other.high } else { self.high },
        }
    }

    #[inline(always)]
    fn holds(self, value: T) -> bool {
        (value >= self.low) & (value <= self.high)
    }
}

/// Values sifted by a bracket: the number of those below it, and those within; NaN is neither.
#[derive(Debug)]
pub(crate) struct Sifted<T> {
    pub(crate) below: usize,
    pub(crate) within: Vec<T>,
}

impl<T> Default for Sifted<T> {
    fn default() -> Self {
        Self { below: 0, within: Vec::new() }
    }
}

impl<T: Sample> Sifted<T> {
    /// Values sifted.
    pub(crate) fn of(values: &[T], bracket: Bracket<T>) -> Self {
        let mut sifted = Self { below: 0, within: Vec::with_capacity(values.len() / 8) };
        sifted.take(values, bracket);
        sifted
    }

    /// Sift more values.
    #[inline(always)]
    pub(crate) fn take(&mut self, values: &[T], bracket: Bracket<T>) {
        for chunk in values.chunks(CHUNK) {
            let (mut kept, mut count) = ([chunk[0]; CHUNK], 0);
            for &value in chunk {
                self.below += usize::from(value < bracket.low);
                // Written whether it is kept or not: no branch to guess.
                kept[count] = value;
                count += usize::from(bracket.holds(value));
            }
            self.within.extend_from_slice(&kept[..count]);
        }
    }
}

/// Median of `count` values, all of them sifted by brackets that hold this one; none if it is not within.
pub(crate) fn median_within<T: Sample>(
    parts: &[&Sifted<T>],
    bracket: Bracket<T>,
    count: usize,
    room: &mut Sifted<T>,
) -> Option<f64> {
    room.below = 0;
    room.within.clear();
    for part in parts {
        room.below += part.below;
        room.take(&part.within, bracket);
    }
    let (lower, upper) = ranked(&mut room.within, room.below, count, count.checked_sub(1)? / 2)?;
    Some(if count % 2 == 1 { lower.into() } else { between(lower.into(), upper.into()) })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::median::nan_median;

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

    #[test]
    fn a_median_within_brackets_is_that_of_all_or_none() {
        let parts: Vec<Vec<f64>> =
            (0..4).map(|part| (0..500 + part).map(|i| ((i * 7919 + part * 31) % 1009) as f64).collect()).collect();
        let mut all = parts.concat();
        let (count, expected) = (all.len(), nan_median(&mut all));
        let median = |bracket: Bracket<f64>| {
            let wider = bracket.joined(Bracket { low: 400.0, high: 450.0 });
            let sifted: Vec<_> = parts.iter().map(|part| Sifted::of(part, wider)).collect();
            median_within(&sifted.iter().collect::<Vec<_>>(), bracket, count, &mut Sifted::default())
        };
        assert_eq!(median(Bracket::ALL), Some(expected));
        assert_eq!(median(Bracket { low: expected - 9.0, high: expected + 9.0 }), Some(expected));
        assert_eq!(median(Bracket { low: expected + 9.0, high: expected + 90.0 }), None);
        assert_eq!(median(Bracket { low: 0.0, high: expected - 9.0 }), None);
        assert_eq!(median_within::<f64>(&[], Bracket::ALL, 0, &mut Sifted::default()), None);
        assert_eq!(Bracket::<f64>::of(&mut [], 0.5), Bracket::ALL);
        let bracket = Bracket::of(&mut all, 0.5);
        assert!(bracket.low < expected && expected < bracket.high && bracket != Bracket::ALL);
    }
}
