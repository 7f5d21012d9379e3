//! Random input.

use crate::prelude::*;

/// A pixel, now and then one of a few equal values; `gaps` in a thousand are NaN or infinite.
pub fn pixel(gaps: usize) -> impl Strategy<Value = f32> {
    (0..1000usize, -1.0e3f32..1.0e3).prop_map(move |(roll, value)| match roll {
        roll if roll < gaps => [f32::NAN, f32::NAN, f32::INFINITY, f32::NEG_INFINITY][roll % 4],
        roll if roll < 250 => (value / 300.0).round(),
        _ => value,
    })
}

pub fn gaps() -> impl Strategy<Value = usize> {
    select(vec![0usize, 3, 150])
}

pub fn image_of(rows: usize, columns: usize, gaps: usize) -> impl Strategy<Value = Array2<f32>> {
    vec(pixel(gaps), rows * columns).prop_map(move |v| Array2::from_shape_vec((rows, columns), v).unwrap())
}

pub fn image(rows: RangeInclusive<usize>, columns: RangeInclusive<usize>) -> impl Strategy<Value = Array2<f32>> {
    (rows, columns, gaps()).prop_flat_map(|(rows, columns, gaps)| image_of(rows, columns, gaps))
}

pub fn whole_image(rows: RangeInclusive<usize>, columns: RangeInclusive<usize>) -> impl Strategy<Value = Array2<f32>> {
    (rows, columns).prop_flat_map(|(rows, columns)| image_of(rows, columns, 0))
}

pub fn frames() -> impl Strategy<Value = Vec<Array2<f32>>> {
    // Columns on both sides of a network's lanes; counts on both sides of the insertion sort's limit.
    let counts = prop_oneof![4 => 1..=9usize, 1 => 38..=45usize];
    (counts, 1..=3usize, 1..=2 * LANES + 3, gaps())
        .prop_flat_map(|(count, rows, columns, gaps)| vec(image_of(rows, columns, gaps), count))
}

pub fn mask(shape: (usize, usize)) -> impl Strategy<Value = Array2<u8>> {
    vec(0..6u8, shape.0 * shape.1)
        .prop_map(move |v| Array2::from_shape_vec(shape, v.into_iter().map(|k| k / 5 * 3).collect()).unwrap())
}

pub fn samples(count: RangeInclusive<usize>) -> impl Strategy<Value = Vec<f64>> {
    (count, gaps())
        .prop_flat_map(|(count, gaps)| vec(pixel(gaps), count))
        .prop_map(|v| v.into_iter().map(|v| if v.is_infinite() { f64::NAN } else { f64::from(v) }).collect())
}

/// A rough image without random numbers, for the invariants that need a large one.
pub fn rough(rows: usize, columns: usize, seed: usize) -> Array2<f32> {
    Array2::from_shape_fn((rows, columns), |(y, x)| {
        let hash = (y * 7919 + x * 104_729 + seed * 15_485_863).wrapping_mul(2_654_435_761) >> 7;
        if hash.is_multiple_of(97) { f32::NAN } else { 400.0 + (hash % 1009) as f32 }
    })
}
