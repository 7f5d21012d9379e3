//! Background.

use crate::prelude::*;

proptest! {
    #![proptest_config(config())]

    #[test]
    fn filling_gaps_goes_inwards_and_keeps_the_rest(image in image(1..=9, 1..=9)) {
        let found = fill_nan(image.view()).unwrap();
        let (ny, nx) = image.dim();
        let edge = |y: usize, x: usize| y == 0 || x == 0 || y + 1 == ny || x + 1 == nx;
        let mut expected = Array2::from_shape_fn((ny, nx), |(y, x)| {
            let value = image[[y, x]];
            if value.is_nan() && edge(y, x) { 0.0 } else { value }
        });
        // More passes than any gap can need.
        for _ in 0..ny * nx {
            let before = expected.clone();
            for ((y, x), value) in expected.indexed_iter_mut().filter(|(_, value)| value.is_nan()) {
                let nine = before.slice(s![y - 1..=y + 1, x - 1..=x + 1]);
                *value = sorted_median(nine.iter().map(|&v| f64::from(v))) as f32;
            }
        }
        assert_image(&found, 0.0, |y, x| f64::from(expected[[y, x]]));
        if image.iter().all(|v| !v.is_infinite()) {
            prop_assert!(found.iter().all(|v| v.is_finite()));
        }
    }

    #[test]
    fn scattered_light_is_a_plain_convolution(
        image in whole_image(1..=24, 1..=24), ky in 1.0..9.5f64, kx in 1.0..4.0f64, sigma in 0.3..3.0f64
    ) {
        let found = scattered_light(image.view(), 47.0, ScatterKernel { y: ky, x: kx, sigma }).unwrap();
        let expected = scattered(&image.mapv(f64::from), ky, kx, sigma);
        assert_image(&found, 1.0e-5, |y, x| expected(y, x) / 47.0);
    }

    #[test]
    fn scattered_light_is_linear(
        (a, b) in (2..=30usize, 2..=30usize).prop_flat_map(|(y, x)| (image_of(y, x, 0), image_of(y, x, 0))),
        ky in 1.0..9.5f64, kx in 1.0..4.0f64
    ) {
        let kernel = ScatterKernel { y: ky, x: kx, sigma: 3.0 };
        let light = |image: &Array2<f32>, amplitude| scattered_light(image.view(), amplitude, kernel).unwrap();
        let sum = light(&(&a * 2.0 - &b), 3.0);
        let (a, b) = (light(&a, 3.0), light(&b, 6.0));
        prop_assert!(sum.indexed_iter().all(|(p, v)| (v - (2.0 * a[p] - 2.0 * b[p])).abs() < 1.0e-3));
    }

    #[test]
    fn the_first_cells_are_medians_of_the_unlit_pixels(
        (image, unlit) in image(4..=30, 4..=30).prop_flat_map(|i| { let shape = i.dim(); (Just(i), mask(shape)) }),
        size in 1..=3usize
    ) {
        let image = image.mapv(|v| if v.is_infinite() { f32::NAN } else { v });
        let found = global_background(image.view(), unlit.view(), size, 1).unwrap();
        let (ny, nx) = image.dim();
        prop_assert_eq!(found.cells.dim(), ((size..ny).step_by(size).count(), (size..nx).step_by(size).count()));
        for ((row, column), &cell) in found.cells.indexed_iter() {
            let (y, x) = (row * size, column * size);
            let window = s![y..ny.min(y + 2 * size), x..nx.min(x + 2 * size)];
            let (pixels, unlit) = (image.slice(window), unlit.slice(window));
            let values = pixels.iter().zip(&unlit).filter(|&(_, &u)| u != 0).map(|(&v, _)| f64::from(v));
            let median = sorted_median(values);
            let expected = if median.is_nan() { 0.0 } else { median };
            prop_assert!(same(cell, expected));
        }
        let spline = spline_of(&found.cells);
        let at = |k: usize, pixels: usize, cells: usize| k as f64 / pixels as f64 * (cells as f64 - 1.0);
        let (rows, columns) = found.cells.dim();
        assert_image(&found.map, 1.0e-5, |y, x| surface_at(&spline, at(y, ny, rows), at(x, nx, columns)));
        let again = global_background((&image - &found.map).view(), unlit.view(), size, 1).unwrap();
        let twice = global_background(image.view(), unlit.view(), size, 2).unwrap();
        let grown = &found.cells + &again.cells;
        prop_assert!(twice.cells.iter().zip(&grown).all(|(a, b)| (a - b).abs() < 1.0e-2));
        let none = global_background(image.view(), unlit.view(), size, 0).unwrap();
        prop_assert!(none.map.iter().all(|&v| v == 0.0) && none.cells.iter().all(|&v| v == 0.0));
    }

    #[test]
    fn a_constant_adds_to_the_background_and_lit_pixels_do_not(
        (image, lit, unlit) in (5..=40usize, 5..=40usize).prop_flat_map(|(y, x)| {
            (image_of(y, x, 0), image_of(y, x, 150), mask((y, x)))
        }),
        size in 3..=4usize, level in -500.0..500.0f32
    ) {
        // Every cell has an unlit pixel.
        let unlit = Array2::from_shape_fn(unlit.dim(), |(y, x)| unlit[[y, x]] | u8::from(y % 3 == 0 && x % 3 == 0));
        let map = |image: &Array2<f32>| global_background(image.view(), unlit.view(), size, 5).unwrap().map;
        let found = map(&image);
        let raised = map(&(&image + level));
        prop_assert!(raised.iter().zip(&found).all(|(a, b)| (a - b - level).abs() < 1.0e-2));
        let relit = Array2::from_shape_fn(image.dim(), |p| if unlit[p] == 0 { lit[p] } else { image[p] });
        prop_assert_eq!(bits(&map(&relit)), bits(&found));
    }

    #[test]
    fn subtracting_is_measuring_on_the_cleaned_image(
        (image, unlit) in image(4..=30, 4..=30).prop_flat_map(|i| { let shape = i.dim(); (Just(i), mask(shape)) }),
        size in 1..=3usize, ky in 1.0..9.0f64, light in any::<bool>()
    ) {
        let image = image.mapv(|v| if v.is_infinite() { f32::NAN } else { v });
        let kernel = ScatterKernel { y: ky, x: 1.0, sigma: 3.0 };
        let scatter = light.then_some(Scatter { amplitude: 47.0, kernel });
        let found = subtract_background(image.view(), scatter, unlit.view(), size, 3).unwrap();
        let mut place = image.clone();
        let cells = subtract_background_in_place(place.view_mut(), scatter, unlit.view(), size, 3).unwrap();
        prop_assert_eq!(&found.cells, &cells);
        prop_assert_eq!(bits(&found.map), bits(&place));
        let cleaned = if light { &image - &scattered_light(image.view(), 47.0, kernel).unwrap() } else { image.clone() };
        let expected = global_background(cleaned.view(), unlit.view(), size, 3).unwrap();
        prop_assert_eq!(&found.cells, &expected.cells);
        for (found, expected) in found.map.iter().zip(&(&image - &expected.map)) {
            prop_assert!(found == expected || (found.is_nan() && expected.is_nan()));
        }
    }
}

#[test]
fn a_gap_between_infinities_of_both_signs_stays_and_does_not_hang() {
    // The corners are above, the sides below.
    let mut image =
        Array2::from_shape_fn((3, 3), |(y, x)| if y.abs_diff(x) == 1 { -f32::INFINITY } else { f32::INFINITY });
    image[[1, 1]] = f32::NAN;
    assert!(fill_nan(image.view()).unwrap()[[1, 1]].is_nan());
}

/// Scattered light at a pixel, from the definition, before the division by the amplitude.
fn scattered(image: &Array2<f64>, ky: f64, kx: f64, sigma: f64) -> impl Fn(usize, usize) -> f64 + use<> {
    let (ny, nx) = image.dim();
    let divisor =
        |size: usize, limit: f64| (1..=size).rev().find(|&d| d as f64 <= limit && size.is_multiple_of(d)).unwrap();
    let (dy, dx) = (divisor(ny, ky), divisor(nx, kx));
    let blocks = Array2::from_shape_fn((ny / dy, nx / dx), |(r, c)| {
        image.slice(s![r * dy..(r + 1) * dy, c * dx..(c + 1) * dx]).mean().unwrap()
    });
    let size = (((2.0 * ky * sigma / dy as f64 + 1.0) as usize), ((2.0 * kx * sigma / dx as f64 + 1.0) as usize));
    let mut kernel = Array2::from_shape_fn(size, |(j, i)| {
        let v = (j as f64 - (size.0 as f64 - 1.0) / 2.0) * dy as f64 / ky;
        let u = (i as f64 - (size.1 as f64 - 1.0) / 2.0) * dx as f64 / kx;
        (-0.5 * (u * u + v * v)).exp()
    });
    kernel /= kernel.sum();
    let smooth = Array2::from_shape_fn(blocks.dim(), |(r, c)| {
        let source = |(j, i): (usize, usize)| {
            let row = (r + (size.0 - 1) / 2).checked_sub(j)?;
            blocks.get([row, (c + (size.1 - 1) / 2).checked_sub(i)?]).copied()
        };
        kernel.indexed_iter().filter_map(|(place, k)| source(place).map(|v| k * v)).sum::<f64>()
    });
    move |y, x| {
        let place = |k: usize, from: usize, to: usize| k as f64 * ((from as f64 - 1.0) / (to as f64 - 1.0).max(1.0));
        let (py, px) = (place(y, ny / dy, ny), place(x, nx / dx, nx));
        if py > (ny / dy - 1) as f64 || px > (nx / dx - 1) as f64 {
            return 0.0; // As in scipy, where rounding may put the last pixel outside.
        }
        let hat = |p: f64, k: usize| (1.0 - (p - k as f64).abs()).max(0.0);
        smooth.indexed_iter().map(|((r, c), v)| hat(py, r) * hat(px, c) * v).sum()
    }
}
