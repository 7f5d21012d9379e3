//! Medians and scatter.

use crate::prelude::*;

proptest! {
    #![proptest_config(config())]

    #[test]
    fn medians_are_the_middle_of_the_sorted(values in vec(pixel(30), 0..=90)) {
        let expected = sorted_median(values.iter().copied().map(f64::from));
        prop_assert!(same(nan_median(&mut values.clone()), expected));
    }

    #[test]
    fn networks_find_the_medians_of_their_lanes(
        values in (1..=100usize).prop_flat_map(|count| vec(vec(pixel(0), LANES), count))
    ) {
        let mut lanes: Vec<[f32; LANES]> = values.iter().map(|v| v.as_slice().try_into().unwrap()).collect();
        let network = MedianNetwork::new(values.len());
        lanes.resize(network.slots(), [0.0; LANES]);
        for (lane, found) in network.medians(&mut lanes).into_iter().enumerate() {
            let expected = sorted_median(values.iter().map(|v| f64::from(v[lane])));
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn the_running_median_is_that_of_every_window(row in samples(0..=70), width in 1..=90usize) {
        let found = running_nan_median(&row, width).unwrap();
        prop_assert_eq!(found.len(), row.len());
        for (i, found) in found.into_iter().enumerate() {
            let first = i.saturating_sub((width - 1) / 2);
            let window = sorted(row[first..row.len().min(i + width / 2 + 1)].iter().copied());
            let expected = if window.len() >= width / 2 { sorted_median(window) } else { f64::NAN };
            prop_assert!(same(found, expected), "{}: {} is not {}", i, found, expected);
        }
    }

    #[test]
    fn quantiles_and_scatter_are_those_of_the_sorted(values in samples(0..=60), share in 0.0..=1.0f64) {
        let mut kept: Vec<f64> = values.iter().copied().filter(|v| !v.is_nan()).collect();
        prop_assert!(near(quantile(&mut kept, share), sorted_quantile(values.iter().copied(), share), 1.0e-12));
        prop_assert!(near(robust_sigma(&mut values.clone()), sorted_sigma(&values), 1.0e-12));
    }

    #[test]
    fn scatter_ignores_an_offset_and_follows_a_scale(values in samples(0..=60), offset in -64..64i32) {
        let sigma = robust_sigma(&mut values.clone());
        let mut moved: Vec<f64> = values.iter().map(|v| 4.0 * (v + f64::from(offset))).collect();
        prop_assert!(near(robust_sigma(&mut moved), 4.0 * sigma, 1.0e-12));
    }

    #[test]
    fn readnoise_is_the_scatter_of_unlit_differences(
        (image, unlit) in image(1..=6, 1..=20).prop_flat_map(|i| { let shape = i.dim(); (Just(i), mask(shape)) })
    ) {
        let mut differences = Vec::new();
        let mut before = None;
        for (&value, _) in image.iter().zip(&unlit).filter(|&(_, &unlit)| unlit != 0) {
            if let Some(before) = before.replace(f64::from(value)) {
                differences.push(f64::from(value) - before);
            }
        }
        let found = effective_readnoise(image.as_slice().unwrap(), unlit.as_slice().unwrap());
        prop_assert!(near(found, sorted_sigma(&differences) / 2.0f64.sqrt(), 1.0e-12));
    }

    #[test]
    fn the_slow_part_joins_the_medians_of_its_boxes(flat in samples(0..=80), width in 4..=120usize) {
        let found = slow_part(&flat, width).unwrap();
        let knots = knots(&flat, width as isize);
        for (i, found) in found.into_iter().enumerate() {
            let expected = joined(&knots, i as f64);
            prop_assert!(near(found, expected, 1.0e-11), "{}: {} is not {}", i, found, expected);
        }
    }
}

/// Positions and values of the boxes; equal positions are averaged.
fn knots(flat: &[f64], width: isize) -> Vec<(f64, f64)> {
    let size = flat.len() as isize;
    let mut boxes: Vec<(f64, f64)> = Vec::new();
    let mut start = (-(width as f64 + 1.0) / 2.0).floor() as isize;
    while start < size + width / 2 {
        let inside: Vec<usize> =
            (start..start + width).filter(|&i| i >= 0 && i < size - 1).map(|i| i as usize).collect();
        let value = sorted_median(inside.iter().map(|&i| flat[i]));
        if inside.len() >= 3 && !value.is_nan() {
            boxes.push((mean(&inside.iter().map(|&i| i as f64).collect::<Vec<_>>()), value));
        }
        start += width / 4;
    }
    let values = |x: f64| boxes.iter().filter(|b| b.0 == x).map(|b| b.1).collect::<Vec<_>>();
    let mut knots: Vec<(f64, f64)> = boxes.iter().map(|&(x, _)| (x, mean(&values(x)))).collect();
    knots.dedup();
    knots
}

fn joined(knots: &[(f64, f64)], x: f64) -> f64 {
    let (Some(first), Some(last)) = (knots.first(), knots.last()) else { return f64::NAN };
    if x <= first.0 {
        return first.1;
    }
    let pair = knots.windows(2).find(|pair| x >= pair[0].0 && x <= pair[1].0);
    pair.map_or(last.1, |p| p[0].1 + (x - p[0].0) * (p[1].1 - p[0].1) / (p[1].0 - p[0].0))
}
