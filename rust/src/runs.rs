//! Runs of marked pixels.

use std::ops::Range;

/// Marks that are asked together whether they are all the same.
const CHUNK: usize = 32;

/// Call `found` with every run of marks that are not 0, in their order.
#[inline(always)]
pub(crate) fn for_runs(marks: &[u8], mut found: impl FnMut(Range<usize>)) {
    let mut start = None;
    for (chunk, marks) in marks.chunks(CHUNK).enumerate() {
        let first = chunk * CHUNK;
        let marked = marks.iter().map(|&mark| u32::from(mark != 0)).sum::<u32>() as usize;
        if marked == marks.len() && start.is_some() {
            continue;
        }
        if marked == 0 && start.is_none() {
            continue;
        }
        for (k, &mark) in marks.iter().enumerate() {
            if mark != 0 {
                start.get_or_insert(first + k);
            } else if let Some(start) = start.take() {
                found(start..first + k);
            }
        }
    }
    if let Some(start) = start {
        found(start..marks.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_those_of_single_steps() {
        for (count, every) in [(0, 1), (1, 1), (200, 1), (200, 2), (200, 61), (65, 64), (300, 37)] {
            let marks: Vec<u8> = (0..count).map(|k| u8::from(every == 1 || (k / 3) % every != 0)).collect();
            let mut expected = vec![0; count];
            for_runs(&marks, |run| {
                assert!(run.start == 0 || marks[run.start - 1] == 0);
                assert!(run.end == count || marks[run.end] == 0);
                expected[run].fill(1);
            });
            assert_eq!(marks, expected);
        }
    }
}
