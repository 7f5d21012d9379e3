//! Units, bounds and hot pixels.

use crate::prelude::*;

proptest! {
    #![proptest_config(config())]

    #[test]
    fn electrons_are_what_a_plain_loop_makes_of_the_image(
        (image, dark, bad) in image(1..=9, 1..=9).prop_flat_map(|image| {
            let (rows, columns) = image.dim();
            (Just(image), image_of(rows, columns, 0), mask((rows, columns)))
        }),
        (flip_y, flip_x, dark_on, bad_on) in any::<(bool, bool, bool, bool)>(),
        crop in vec(0.0..1.0f64, 4), high in proptest::option::of(0.0..900.0f64), factor in 0.5..20.0f64
    ) {
        let (ny, nx) = image.dim();
        let span = |a: f64, b: f64, size: usize| {
            let place = |share: f64| (share * (size + 1) as f64) as usize;
            place(a.min(b))..place(a.max(b))
        };
        let (rows, columns) = (span(crop[0], crop[1], ny), span(crop[2], crop[3], nx));
        let bad = bad.slice(s![..rows.len(), ..columns.len()]).to_owned();
        let bounds = high.map(|high| Bounds { low: -300.0, high });
        let steps = ToElectrons {
            bounds, dark: dark_on.then(|| dark.view()), flip: Flip { y: flip_y, x: flip_x }, factor,
            rows: rows.clone(), columns: columns.clone(), bad: bad_on.then(|| bad.view()),
        };
        let found = to_electrons(image.view(), &steps).unwrap();
        prop_assert_eq!(found.dim(), (rows.len(), columns.len()));
        let kept = |v: f64| if high.is_some_and(|high| v > high || v < -300.0) { f64::NAN } else { v };
        let mut stage = image.mapv(|v| kept(f64::from(v)));
        if dark_on {
            stage -= &dark.mapv(f64::from);
        }
        if flip_y {
            stage.invert_axis(ndarray::Axis(0));
        }
        if flip_x {
            stage.invert_axis(ndarray::Axis(1));
        }
        let stage = stage.slice(s![rows, columns]);
        assert_image(&found, 0.0, |y, x| {
            if bad_on && bad[[y, x]] != 0 { f64::NAN } else { f64::from((stage[[y, x]] * factor) as f32) }
        });
        if let Some(bounds) = bounds {
            assert_image(&apply_bounds(image.view(), bounds), 0.0, |y, x| kept(f64::from(image[[y, x]])));
        }
    }

    #[test]
    fn hot_pixels_are_repaired_as_a_double_loop_does(
        (image, bad) in image(1..=9, 1..=13).prop_flat_map(|i| { let shape = i.dim(); (Just(i), mask(shape)) }),
        threshold in select(vec![0.5, 2.0, 10.0, 1.0e9]), use_bad in any::<bool>()
    ) {
        let bad = if use_bad { bad } else { Array2::zeros(image.dim()) };
        let found = repair_hot_pixels(image.view(), bad.view(), threshold, None).unwrap();
        let expected = repaired(&image, &bad, threshold);
        assert_image(&found, 1.0e-6, |y, x| expected[[y, x]]);
        let bounds = Bounds { low: 20.0, high: 600.0 };
        let mut place = image.clone();
        repair_hot_pixels_in_place(place.view_mut(), bad.view(), threshold, None).unwrap();
        prop_assert_eq!(bits(&place), bits(&found));
        let bounded = repair_hot_pixels(image.view(), bad.view(), threshold, Some(bounds)).unwrap();
        prop_assert_eq!(bits(&bounded), bits(&apply_bounds(found.view(), bounds)));
        let mut place = image;
        repair_hot_pixels_in_place(place.view_mut(), bad.view(), threshold, Some(bounds)).unwrap();
        prop_assert_eq!(bits(&place), bits(&bounded));
    }

    #[test]
    fn pixels_above_a_limit_are_those_of_a_plain_loop(
        image in image(1..=9, 1..=150), (flip_y, flip_x) in any::<(bool, bool)>(),
        crop in vec(0.0..1.0f64, 4), limit in 0.0..900.0f64
    ) {
        let (ny, nx) = image.dim();
        let span = |a: f64, b: f64, size: usize| {
            let place = |share: f64| (share * (size + 1) as f64) as usize;
            place(a.min(b))..place(a.max(b))
        };
        let (rows, columns) = (span(crop[0], crop[1], ny), span(crop[2], crop[3], nx));
        let mut expected = Vec::new();
        for ((y, x), _) in image.indexed_iter().filter(|(_, value)| **value > limit as f32) {
            let y = if flip_y { ny - 1 - y } else { y };
            let x = if flip_x { nx - 1 - x } else { x };
            if rows.contains(&y) && columns.contains(&x) {
                expected.push([(y - rows.start) as i64, (x - columns.start) as i64]);
            }
        }
        let flip = Flip { y: flip_y, x: flip_x };
        let found = pixels_above(image.view(), limit, flip, rows, columns).unwrap();
        prop_assert_eq!(found, Array2::from(expected));
        prop_assert!(pixels_above(image.view(), limit, flip, 0..ny + 1, 0..nx).is_err());
    }
}

#[test]
fn hot_pixels_are_those_of_a_double_loop_where_a_sample_of_columns_is_not_like_the_rest() {
    let quiet = |x: usize| (x + 16 + 64) % 128 < 40;
    let noise = |y: usize, x: usize| (((y * 768 + x) * 7919) % 10_007) as f32;
    let image = Array2::from_shape_fn((40, 768), |(y, x)| {
        let hot = if (x * 31 + y * 17) % 463 == 0 { 3.0e5 } else { 0.0 };
        hot + noise(y, x) * if quiet(x) { 1.0e-3 } else { 1.0 }
    });
    let bad = Array2::zeros(image.dim());
    for threshold in [2.0, 10.0] {
        let found = repair_hot_pixels(image.view(), bad.view(), threshold, None).unwrap();
        assert!(found.iter().zip(&image).filter(|(a, b)| a != b).count() > 20);
        let expected = repaired(&image, &bad, threshold);
        assert_image(&found, 1.0e-6, |y, x| expected[[y, x]]);
    }
}

fn repaired(image: &Array2<f32>, bad: &Array2<u8>, threshold: f64) -> Array2<f64> {
    let (ny, nx) = image.dim();
    let flat: Vec<f64> = image.iter().map(|&v| f64::from(v)).collect();
    let around = |i: usize| (0..5).map(move |k| (i + k + 5 * ny * nx - 2) % (ny * nx));
    let medians: Vec<f64> = (0..flat.len()).map(|i| sorted_median(around(i).map(|k| flat[k]))).collect();
    let distance = Array2::from_shape_fn((ny, nx), |(y, x)| {
        let i = y * nx + x;
        (flat[i] - mean(&around(i).map(|k| medians[k]).collect::<Vec<_>>())).abs() as f32
    });
    let nine = |y: usize, x: usize| (0..9).map(move |k| ([(y + ny + k / 3 - 1) % ny, (x + nx + k % 3 - 1) % nx], k));
    let scale = Array2::from_shape_fn((ny, nx), |(y, x)| {
        sorted_median(nine(y, x).map(|(place, _)| f64::from(distance[place]))) as f32
    });
    let floor = sorted_median(scale.iter().map(|&v| f64::from(v))) / 2.0;
    let good = Array2::from_shape_fn((ny, nx), |p| {
        let limit = threshold * if f64::from(scale[p]) < floor { floor } else { f64::from(scale[p]) };
        let hot = f64::from(distance[p]) > limit;
        !hot && bad[p] == 0 && image[p].is_finite()
    });
    Array2::from_shape_fn((ny, nx), |(y, x)| {
        let neighbours: Vec<_> = nine(y, x).filter(|&(place, k)| k != 4 && good[place]).collect();
        let of = |wanted: fn(usize) -> bool| {
            mean(&neighbours.iter().filter(|n| wanted(n.1)).map(|n| f64::from(image[n.0])).collect::<Vec<_>>())
        };
        match neighbours.len() {
            _ if good[[y, x]] => f64::from(image[[y, x]]),
            8 => 2.0 * of(|k| k % 2 == 1) - of(|k| k % 2 == 0),
            6 | 7 => of(|_| true),
            _ => f64::from(image[[y, x]]),
        }
    })
}
