//! Medians: of a few values, of a running window, of many frames at once by min/max networks.

use crate::error::{Result, require};
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

/// Width of the lanes on which a network works at once.
pub const LANES: usize = 16;

/// A min/max network that finds the median of `count` values.
///
/// Batcher's merge exchange (Knuth, The Art of Computer Programming 3, algorithm 5.2.2M), stripped of the comparators on
/// which the middle values do not depend. A comparator reads two slots and writes two others, which are free by then: a
/// compiler that sees a slot compared with what is written to it makes a conditional store of it, and those are slow.
#[derive(Debug, Clone)]
pub struct MedianNetwork {
    count: usize,
    whole: Network,
    gapped: Network,
}

/// Comparators, and the slot in which each rank ends up.
#[derive(Debug, Clone)]
struct Network {
    comparators: Vec<Comparator>,
    ranks: Vec<usize>,
}

/// Slots that are read, and those that get the lesser and the greater value.
#[derive(Debug, Clone, Copy)]
struct Comparator {
    read: (usize, usize),
    write: (usize, usize),
}

impl Network {
    fn new(count: usize, exchanges: Vec<(usize, usize)>) -> Self {
        let mut ranks: Vec<usize> = (0..count).collect();
        let mut free = (count, count + 1);
        let mut comparators = Vec::with_capacity(exchanges.len());
        for (low, high) in exchanges {
            let read = (ranks[low], ranks[high]);
            comparators.push(Comparator { read, write: free });
            (ranks[low], ranks[high]) = free;
            free = read;
        }
        Self { comparators, ranks }
    }

    #[inline(always)]
    fn run<T: Sample, const N: usize>(&self, slots: &mut [[T; N]]) {
        for comparator in &self.comparators {
            let (a, b) = (slots[comparator.read.0], slots[comparator.read.1]);
            let (mut lesser, mut greater) = (a, b);
            for lane in 0..N {
                lesser[lane] = if b[lane] < a[lane] { b[lane] } else { a[lane] };
                greater[lane] = if b[lane] < a[lane] { a[lane] } else { b[lane] };
            }
            slots[comparator.write.0] = lesser;
            slots[comparator.write.1] = greater;
        }
    }

    /// Median of a lane in which so many of the lowest ranks hold values.
    #[inline(always)]
    fn median<T: Sample, const N: usize>(&self, slots: &[[T; N]], lane: usize, count: usize) -> f64 {
        let rank = |rank: usize| slots[self.ranks[rank]][lane].into();
        if count == 0 { f64::NAN } else { between(rank((count - 1) / 2), rank(count / 2)) }
    }
}

impl MedianNetwork {
    /// Build the network for `count` values.
    pub fn new(count: usize) -> Self {
        let whole = Network::new(count, needed_exchanges(count));
        Self { count, whole, gapped: Network::new(count, merge_exchange(count)) }
    }

    /// Number of vectors that the medians need: the values, and two more.
    pub fn slots(&self) -> usize {
        self.count + 2
    }

    /// nan-medians of the lanes of the first vectors of `slots`; all of them are overwritten.
    ///
    /// NaN takes the highest rank, and the median is that of the ranks below: for this all ranks must be in order.
    #[inline(always)]
    pub fn medians<T: Sample, const N: usize>(&self, slots: &mut [[T; N]]) -> [f64; N] {
        // Sums that are 0, but NaN where a value is not finite: cheaper than to ask each.
        let mut gaps = [T::ZERO; N];
        for vector in &slots[..self.count] {
            for lane in 0..N {
                gaps[lane] = gaps[lane] + vector[lane] * T::ZERO;
            }
        }
        self.medians_of(slots, !gaps.iter().fold(false, |any, &gap| any | is_nan(gap)))
    }

    /// As [`Self::medians`], where it is known whether there is no NaN.
    #[inline(always)]
    pub fn medians_of<T: Sample, const N: usize>(&self, slots: &mut [[T; N]], whole: bool) -> [f64; N] {
        let mut medians = [f64::NAN; N];
        if whole {
            self.whole.run(slots);
            if self.count > 0 {
                let rank = |rank: usize| slots[self.whole.ranks[rank]];
                let (lower, upper) = (rank((self.count - 1) / 2), rank(self.count / 2));
                for lane in 0..N {
                    medians[lane] = between(lower[lane].into(), upper[lane].into());
                }
            }
            return medians;
        }
        let mut counts = [0u32; N];
        for vector in &mut slots[..self.count] {
            let values = *vector;
            for lane in 0..N {
                counts[lane] += u32::from(!is_nan(values[lane]));
                vector[lane] = if is_nan(values[lane]) { T::HIGHEST } else { values[lane] };
            }
        }
        self.gapped.run(slots);
        for lane in 0..N {
            medians[lane] = self.gapped.median(slots, lane, counts[lane] as usize);
        }
        medians
    }
}

/// Exchanges of the sorting network on which the middle values depend, in their order.
fn needed_exchanges(count: usize) -> Vec<(usize, usize)> {
    let mut needed = vec![false; count];
    if count > 0 {
        needed[(count - 1) / 2] = true;
        needed[count / 2] = true;
    }
    let mut kept = Vec::new();
    for (low, high) in merge_exchange(count).into_iter().rev() {
        if needed[low] || needed[high] {
            needed[low] = true;
            needed[high] = true;
            kept.push((low, high));
        }
    }
    kept.reverse();
    kept
}

fn merge_exchange(count: usize) -> Vec<(usize, usize)> {
    let mut exchanges = Vec::new();
    if count < 2 {
        return exchanges;
    }
    let top = count.next_power_of_two() / 2;
    let mut p = top;
    while p > 0 {
        let (mut q, mut r, mut d) = (top, 0, p);
        loop {
            for i in 0..count - d {
                if i & p == r {
                    exchanges.push((i, i + d));
                }
            }
            if q == p {
                break;
            }
            d = q - p;
            q /= 2;
            r = p;
        }
        p /= 2;
    }
    exchanges
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
    fn networks_sort_all_zero_one_inputs() {
        // By the zero-one principle a network that is right for every 0/1 input is right for every input.
        for count in 1..=12usize {
            let network = MedianNetwork::new(count);
            for bits in 0..1u32 << count {
                let mut values: Vec<[f32; LANES]> = (0..count).map(|i| [(bits >> i & 1) as f32; LANES]).collect();
                values.resize(network.slots(), [0.0; LANES]);
                let ones = bits.count_ones() as usize;
                let sorted = |i: usize| if i >= count - ones { 1.0 } else { 0.0 };
                let expected = 0.5 * (sorted((count - 1) / 2) + sorted(count / 2));
                assert_eq!(network.medians(&mut values)[3], expected, "{count} {bits:b}");
            }
        }
    }

    #[test]
    fn lanes_with_gaps_have_the_medians_of_their_values() {
        for count in 0..=17usize {
            let network = MedianNetwork::new(count);
            let gap = |i: usize, lane: usize| (i * 5 + lane * 3) % 7 < lane % 8;
            let value = |i: usize, lane: usize| if gap(i, lane) { f64::NAN } else { ((i * 7919 + lane) % 23) as f64 };
            let mut slots = vec![[0.0; LANES]; network.slots()];
            for (i, vector) in slots[..count].iter_mut().enumerate() {
                *vector = std::array::from_fn(|lane| value(i, lane));
            }
            for (lane, found) in network.medians(&mut slots).into_iter().enumerate() {
                let expected = nan_median(&mut (0..count).map(|i| value(i, lane)).collect::<Vec<_>>());
                assert!(found == expected || (found.is_nan() && expected.is_nan()), "{count} {lane}");
            }
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
