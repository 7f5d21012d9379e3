//! Splines and straightening.

use crate::prelude::*;

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_spline_passes_its_samples_and_is_mirrored(
        signal in vec(-100.0..100.0f64, 2..=70), position in 0.0..60.0f64
    ) {
        let mut coefficients = signal.clone();
        prefilter(&mut coefficients);
        for (i, &sample) in signal.iter().enumerate() {
            prop_assert!((spline_at(&coefficients, i as f64) - sample).abs() < 1.0e-11);
        }
        let last = (signal.len() - 1) as f64;
        let (before, after) = (spline_at(&coefficients, -position), spline_at(&coefficients, position));
        prop_assert!((before - after).abs() < 1.0e-10);
        let beyond = spline_at(&coefficients, last + position);
        prop_assert!((beyond - spline_at(&coefficients, last - position)).abs() < 1.0e-10);
        let mut backwards: Vec<f64> = signal.iter().rev().copied().collect();
        prefilter(&mut backwards);
        prop_assert!(coefficients.iter().zip(backwards.iter().rev()).all(|(a, b)| (a - b).abs() < 1.0e-11));
    }

    #[test]
    fn weights_sum_to_one_and_centre_on_the_position(position in -50.0..50.0f64) {
        let (middle, weights) = weights(position);
        prop_assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1.0e-14);
        prop_assert!((middle + weights[2] - weights[0] - position).abs() < 1.0e-13);
        prop_assert!(weights.iter().all(|&w| (0.0..=0.75).contains(&w)));
    }

    #[test]
    fn an_image_is_prefiltered_along_rows_then_columns(image in whole_image(1..=20, 1..=20)) {
        let expected = spline_of(&image.mapv(f64::from));
        let found = prefilter_image(image.as_slice().unwrap(), image.ncols(), |value| value);
        prop_assert!(found.iter().zip(&expected).all(|(&a, b)| (f64::from(a) - b).abs() < 2.0e-3));
    }

    #[test]
    fn whole_shifts_move_the_pixels(image in image(1..=20, 1..=20), shift in vec(-4..=4i32, 4)) {
        let shift: Vec<f64> = shift.into_iter().map(f64::from).collect();
        let linear = Linear { dx: shift[0], dy: shift[1], ..IDENTITY };
        let (dxmap, dymap) = (shift[2] as f32, shift[3] as f32);
        let (dxmap, dymap) = (Array2::from_elem(image.dim(), dxmap), Array2::from_elem(image.dim(), dymap));
        let found = straighten(image.view(), linear, dxmap.view(), dymap.view()).unwrap();
        for ((y, x), &found) in found.indexed_iter() {
            let (from_y, from_x) = (y as f64 + shift[1] + shift[3], x as f64 + shift[0] + shift[2]);
            let inside = from_y >= 0.0 && from_x >= 0.0;
            let source = image.get([from_y as usize, from_x as usize]).filter(|v| inside && v.is_finite());
            match source {
                Some(source) => prop_assert!((found - source).abs() < 5.0e-3, "{} is not {}", found, source),
                None => prop_assert!(found.is_nan()),
            }
        }
    }

    #[test]
    fn a_constant_stays_under_any_smooth_map(
        gapped in image(2..=24, 2..=24), level in 1.0..1.0e4f32, tilt in vec(-0.02..0.02f64, 4),
        wave in 0.0..1.5f32, cycles in 0.05..0.5f32
    ) {
        let (dx, dy) = (10.0 * tilt[0], 10.0 * tilt[1]);
        let linear = Linear { dx, dy, a: 1.0 + tilt[2], b: tilt[3], c: tilt[2], d: 1.0 };
        let dxmap = Array2::from_shape_fn(gapped.dim(), |(y, x)| wave * ((y + 2 * x) as f32 * cycles).sin());
        let dymap = dxmap.mapv(|v| 0.3 - v);
        let whole = Array2::from_elem(gapped.dim(), level);
        let gapped = gapped.mapv(|v| if v.is_finite() { level } else { v });
        let gapped = straighten(gapped.view(), linear, dxmap.view(), dymap.view()).unwrap();
        let whole = straighten(whole.view(), linear, dxmap.view(), dymap.view()).unwrap();
        let (last_y, last_x) = ((whole.nrows() - 1) as f64, (whole.ncols() - 1) as f64);
        for ((place, &whole), &gapped) in whole.indexed_iter().zip(&gapped) {
            let (y, x) = (place.0 as f64, place.1 as f64);
            let from_x = linear.dx + linear.a * x + linear.b * y + f64::from(dxmap[place]);
            let from_y = linear.dy + linear.c * x + linear.d * y + f64::from(dymap[place]);
            if (0.0..=last_x).contains(&from_x) && (0.0..=last_y).contains(&from_y) {
                prop_assert!((whole - level).abs() < 1.0e-5 * level);
                prop_assert!(gapped.is_nan() || (gapped - level).abs() < 1.0e-4 * level, "{} is not {}", gapped, level);
            } else {
                prop_assert!(whole.is_nan() && gapped.is_nan());
            }
        }
    }

    #[test]
    fn a_quadratic_surface_is_reproduced_between_its_pixels(
        terms in vec(-1.0..1.0f64, 6), shift in (-0.5..0.5f64, -0.5..0.5f64)
    ) {
        let surface = |y: f64, x: f64| {
            let (y, x) = (y / 16.0 - 1.0, x / 16.0 - 1.0);
            terms[0] + terms[1] * y + terms[2] * x + terms[3] * y * y + terms[4] * x * y + terms[5] * x * x
        };
        let image = Array2::from_shape_fn((32, 32), |(y, x)| surface(y as f64, x as f64) as f32);
        let none = Array2::zeros((32, 32));
        let linear = Linear { dx: shift.0, dy: shift.1, ..IDENTITY };
        let found = straighten(image.view(), linear, none.view(), none.view()).unwrap();
        // Far from the edges, where the surface is not mirrored.
        for (y, x) in (12..20).flat_map(|y| (12..20).map(move |x| (y, x))) {
            let expected = surface(y as f64 + shift.1, x as f64 + shift.0);
            prop_assert!((f64::from(found[[y, x]]) - expected).abs() < 1.0e-5);
        }
    }
}
