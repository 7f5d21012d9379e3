//! Medians of many lanes whose values are sorted and merged by eights, each of which fits a processor's registers.

use crate::median::Sample;
use crate::network::{OF_FIVE, needed_exchanges};

/// Values that are sorted together.
const SIZE: usize = 8;

/// A sorting network of sorted eights: where two of them meet, they leave as the lower and the upper half of both.
///
/// A network of single values stores two of them for every comparison; these store eight for every eighteen. Any
/// network that sorts values sorts eights too (Knuth, The Art of Computer Programming 3, section 5.3.4, exercise 38).
/// Those that only find the middle of five, seven or nine values find the middle eight too: so it is for every number
/// of ones that five, seven or nine eights of zeros and ones may have.
#[derive(Debug, Clone)]
pub(crate) struct Eights {
    /// Slots from which on there are no values, those of them that are to hold the greatest one, and all slots.
    bounds: (usize, usize, usize),
    merges: Vec<Merge>,
    /// Slots of the middle values.
    middle: (usize, usize),
}

/// Two eights, and which halves of both are needed.
#[derive(Debug, Clone, Copy)]
struct Merge {
    eights: [usize; 2],
    lower: bool,
    upper: bool,
}

impl Eights {
    /// Build the network for `count` values.
    pub(crate) fn new(count: usize) -> Self {
        let eights = count.div_ceil(SIZE);
        let slots = eights * SIZE;
        // As many of the least as of the greatest value fill the last eight: the middle ones stay in the middle.
        let middle = ((slots - 1) / 2, (slots - 1) / 2 + usize::from(count.is_multiple_of(2)));
        let mut needed = vec![false; eights];
        (needed[middle.0 / SIZE], needed[middle.1 / SIZE]) = (true, true);
        let exchanges = if eights == 5 { OF_FIVE.to_vec() } else { needed_exchanges(eights) };
        let mut merges = Vec::new();
        for (low, high) in exchanges.into_iter().rev() {
            merges.push(Merge { eights: [low, high], lower: needed[low], upper: needed[high] });
            (needed[low], needed[high]) = (true, true);
        }
        merges.reverse();
        Self { bounds: (count, count + (slots - count) / 2, slots), merges, middle }
    }

    /// Number of vectors to work on.
    pub(crate) fn slots(&self) -> usize {
        self.bounds.2
    }

    /// The middle values of the first vectors, none of which may be NaN: the same twice for an odd count.
    #[inline(always)]
    pub(crate) fn middle<T: Sample, const N: usize>(&self, slots: &mut [[T; N]]) -> ([T; N], [T; N]) {
        let (end, low, all) = self.bounds;
        slots[end..low].fill([T::LOWEST; N]);
        slots[low..all].fill([T::HIGHEST; N]);
        let (eights, _) = slots[..all].as_chunks_mut::<SIZE>();
        for eight in eights.iter_mut() {
            sort(eight);
        }
        for merge in &self.merges {
            if let Ok([a, b]) = eights.get_disjoint_mut(merge.eights) {
                match (merge.lower, merge.upper) {
                    (true, true) => part(a, b),
                    (true, false) => keep_lower(a, b),
                    _ => keep_upper(a, b),
                }
            }
        }
        (slots[self.middle.0], slots[self.middle.1])
    }
}

type Eight<T, const N: usize> = [[T; N]; SIZE];

/// Sort eight values in every lane, by the shortest network there is: 19 comparators.
#[inline(always)]
fn sort<T: Sample, const N: usize>(eight: &mut Eight<T, N>) {
    for lane in 0..N {
        let [a, b, c, d, e, f, g, h] = values(eight, lane);
        let ((a, c), (b, d), (e, g), (f, h)) = (order(a, c), order(b, d), order(e, g), order(f, h));
        let ((a, e), (b, f), (c, g), (d, h)) = (order(a, e), order(b, f), order(c, g), order(d, h));
        let ((a, b), (c, d), (e, f), (g, h)) = (order(a, b), order(c, d), order(e, f), order(g, h));
        let ((c, e), (d, f)) = (order(c, e), order(d, f));
        let ((b, e), (d, g)) = (order(b, e), order(d, g));
        let ((b, c), (d, e), (f, g)) = (order(b, c), order(d, e), order(f, g));
        put(eight, lane, [a, b, c, d, e, f, g, h]);
    }
}

/// Put the lower half of two sorted eights into the first, the upper half into the second, both sorted.
#[inline(always)]
fn part<T: Sample, const N: usize>(first: &mut Eight<T, N>, second: &mut Eight<T, N>) {
    for lane in 0..N {
        let (a, b) = (values(first, lane), values(second, lane));
        put(first, lane, unfolded(lower_half(a, b)));
        put(second, lane, unfolded(upper_half(a, b)));
    }
}

/// Put the lower half of two sorted eights into the first.
#[inline(always)]
fn keep_lower<T: Sample, const N: usize>(first: &mut Eight<T, N>, second: &Eight<T, N>) {
    for lane in 0..N {
        let half = lower_half(values(first, lane), values(second, lane));
        put(first, lane, unfolded(half));
    }
}

/// Put the upper half of two sorted eights into the second.
#[inline(always)]
fn keep_upper<T: Sample, const N: usize>(first: &Eight<T, N>, second: &mut Eight<T, N>) {
    for lane in 0..N {
        let half = upper_half(values(first, lane), values(second, lane));
        put(second, lane, unfolded(half));
    }
}

#[inline(always)]
fn values<T: Sample, const N: usize>(eight: &Eight<T, N>, lane: usize) -> [T; SIZE] {
    let [a, b, c, d, e, f, g, h] = eight;
    [a[lane], b[lane], c[lane], d[lane], e[lane], f[lane], g[lane], h[lane]]
}

#[inline(always)]
fn put<T: Sample, const N: usize>(eight: &mut Eight<T, N>, lane: usize, values: [T; SIZE]) {
    for k in 0..SIZE {
        eight[k][lane] = values[k];
    }
}

/// The lower half of two sorted eights: a sequence that rises and falls, or falls and rises.
#[inline(always)]
fn lower_half<T: Sample>(a: [T; SIZE], b: [T; SIZE]) -> [T; SIZE] {
    let mut half = a;
    for k in 0..SIZE {
        half[k] = order(a[k], b[SIZE - 1 - k]).0;
    }
    half
}

/// The upper half, as [`lower_half`].
#[inline(always)]
fn upper_half<T: Sample>(a: [T; SIZE], b: [T; SIZE]) -> [T; SIZE] {
    let mut half = a;
    for k in 0..SIZE {
        half[k] = order(a[k], b[SIZE - 1 - k]).1;
    }
    half
}

/// Sort a sequence that rises and falls, or falls and rises (Batcher 1968, AFIPS 32, 307).
#[inline(always)]
fn unfolded<T: Sample>([a, b, c, d, e, f, g, h]: [T; SIZE]) -> [T; SIZE] {
    let ((a, e), (b, f), (c, g), (d, h)) = (order(a, e), order(b, f), order(c, g), order(d, h));
    let ((a, c), (b, d), (e, g), (f, h)) = (order(a, c), order(b, d), order(e, g), order(f, h));
    let ((a, b), (c, d), (e, f), (g, h)) = (order(a, b), order(c, d), order(e, f), order(g, h));
    [a, b, c, d, e, f, g, h]
}

/// The lesser and the greater of two values.
#[inline(always)]
fn order<T: Sample>(a: T, b: T) -> (T, T) {
    (if b < a { b } else { a }, if b < a { a } else { b })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LANES: usize = 16;

    /// Hold a network to every 0/1 input, by the zero-one principle: each eight has some number of ones.
    fn finds_the_middle(eights: usize, numbers: &[usize]) {
        let network = Eights::new(eights * SIZE);
        let states = numbers.len().pow(eights as u32);
        for first in (0..states).step_by(LANES) {
            let ones = |state: usize, eight: usize| {
                numbers[(first + state) % states / numbers.len().pow(eight as u32) % numbers.len()]
            };
            let mut slots: Vec<[f32; LANES]> = (0..eights * SIZE)
                .map(|slot| std::array::from_fn(|lane| f32::from(u8::from(slot % SIZE < ones(lane, slot / SIZE)))))
                .collect();
            let (low, high) = network.middle(&mut slots);
            for lane in 0..LANES {
                let zeros = (0..eights).map(|eight| SIZE - ones(lane, eight)).sum::<usize>();
                let expected = |rank: usize| f32::from(u8::from(rank >= zeros));
                let (before, after) = (eights * SIZE / 2 - 1, eights * SIZE / 2);
                assert_eq!((low[lane], high[lane]), (expected(before), expected(after)), "{eights}: {first} {lane}");
            }
        }
    }

    #[test]
    fn eights_of_zeros_and_ones_have_their_middle() {
        let all: Vec<usize> = (0..=SIZE).collect();
        for eights in 2..=5 {
            finds_the_middle(eights, &all);
        }
        finds_the_middle(6, &[0, 1, 4, 7, 8]);
        finds_the_middle(7, &[0, 1, 4, 7, 8]);
        finds_the_middle(9, &[0, 3, 8]);
    }
}
