//! Medians of lanes of neighbouring pixels at once, by min/max networks.

use crate::eights::Eights;
use crate::median::{Sample, between, is_nan};

/// Width of the lanes on which a network works at once.
pub const LANES: usize = 16;

/// A min/max network that finds the median of `count` values.
///
/// Batcher's merge exchange (Knuth, The Art of Computer Programming 3, algorithm 5.2.2M), stripped of the comparators
/// on which the middle values do not depend. A comparator reads two slots and writes two others, which are free by
/// then: a compiler that sees a slot compared with what is written to it makes a conditional store of it, and those are
/// slow.
#[derive(Debug, Clone)]
pub struct MedianNetwork {
    count: usize,
    whole: Whole,
    gapped: Network,
}

/// How the median of lanes without NaN is found.
#[derive(Debug, Clone)]
enum Whole {
    Few(Network),
    Many(Eights),
}

/// From so many values on it pays to sort them by eights.
const MANY: usize = 12;

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

    /// The middle values: the same twice for an odd count.
    #[inline(always)]
    fn middle<T: Sample, const N: usize>(&self, slots: &mut [[T; N]]) -> ([T; N], [T; N]) {
        self.run(slots);
        let rank = |rank: usize| slots[self.ranks[rank]];
        (rank((self.ranks.len() - 1) / 2), rank(self.ranks.len() / 2))
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
        let whole = if count < MANY {
            Whole::Few(Network::new(count, needed_exchanges(count)))
        } else {
            Whole::Many(Eights::new(count))
        };
        Self { count, whole, gapped: Network::new(count, merge_exchange(count)) }
    }

    /// Number of vectors that the medians need: the values, and room to work.
    pub fn slots(&self) -> usize {
        match &self.whole {
            Whole::Few(_) => self.count + 2,
            Whole::Many(eights) => eights.slots().max(self.count + 2),
        }
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
        if whole && self.count > 0 {
            let (lower, upper) = match &self.whole {
                Whole::Few(network) => network.middle(slots),
                Whole::Many(eights) => eights.middle(slots),
            };
            for lane in 0..N {
                medians[lane] = between(lower[lane].into(), upper[lane].into());
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

/// Exchanges that find the middle values, in their order: the lesser value goes to the first place of each.
///
/// Of seven and nine the fewest that are known; of others those of a sorting network on which they depend.
pub(crate) fn needed_exchanges(count: usize) -> Vec<(usize, usize)> {
    match count {
        7 => return OF_SEVEN.to_vec(),
        9 => return OF_NINE.to_vec(),
        _ => {}
    }
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

// Exchanges for the middle one of few values (Smith 1996, Xcell 23, 16; Devillard 1998, Fast median search). Of five
// single values they take longer than those of the sorting network: each waits for the one before.
pub(crate) const OF_FIVE: [(usize, usize); 7] = [(0, 1), (3, 4), (0, 3), (1, 4), (1, 2), (2, 3), (1, 2)];
#[rustfmt::skip]
const OF_SEVEN: [(usize, usize); 13] = [
    (0, 5), (0, 3), (1, 6), (2, 4), (0, 1), (3, 5), (2, 6), (2, 3), (3, 6), (4, 5), (1, 4), (1, 3), (3, 4),
];
#[rustfmt::skip]
const OF_NINE: [(usize, usize); 19] = [
    (1, 2), (4, 5), (7, 8), (0, 1), (3, 4), (6, 7), (1, 2), (4, 5), (7, 8), (0, 3), (5, 8), (4, 7), (3, 6), (1, 4),
    (2, 5), (4, 7), (4, 2), (6, 4), (4, 2),
];

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
    use crate::median::nan_median;

    #[test]
    fn networks_sort_all_zero_one_inputs() {
        // By the zero-one principle a network that is right for every 0/1 input is right for every input.
        for count in 1..=13usize {
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
    fn many_values_have_their_medians_whatever_their_order() {
        for count in MANY..=81 {
            let network = MedianNetwork::new(count);
            let mut slots = vec![[0.0; LANES]; network.slots()];
            for step in [1, 7, 29, 83, 1009] {
                // Every value twice: the middle two of an even count are equal in some lanes.
                let value = |i: usize, lane: usize| ((i * step + lane * 5) % 83 / 2) as f32;
                for (i, vector) in slots[..count].iter_mut().enumerate() {
                    *vector = std::array::from_fn(|lane| value(i, lane));
                }
                for (lane, found) in network.medians(&mut slots).into_iter().enumerate() {
                    let expected = nan_median(&mut (0..count).map(|i| value(i, lane)).collect::<Vec<_>>());
                    assert_eq!(found, expected, "{count} {step} {lane}");
                }
            }
        }
    }

    #[test]
    fn lanes_with_gaps_have_the_medians_of_their_values() {
        for count in (0..=17usize).chain([23, 24, 25, 39, 40, 41, 80]) {
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
}
