//! What holds for the kernels of a bootstrap, whatever the image.

use crate::prelude::*;

const RULE: UnlitRule = UnlitRule { box_size: 6, percent: 25.0, window: 7, least: 3 };

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_median_along_a_row_is_one_of_its_values_or_between_two(
        (image, half) in image(1..=6, 4..=40).prop_flat_map(|i| { let columns = i.ncols(); (Just(i), 1..columns) }),
    ) {
        let found = row_medians(image.view(), half).unwrap();
        for ((y, x), &value) in found.indexed_iter() {
            let near: Vec<f32> = (x.saturating_sub(half)..(x + half + 1).min(image.ncols()))
                .map(|column| image[[y, column]])
                .filter(|v| !v.is_nan())
                .collect();
            prop_assert_eq!(value.is_nan(), near.is_empty());
            prop_assert!(value.is_nan() || near.iter().any(|&v| v <= value) && near.iter().any(|&v| v >= value));
        }
    }

    #[test]
    fn level_orders_need_no_curve(image in image(3..=12, 8..=40)) {
        let level = Array2::zeros(image.dim());
        let all = Array2::ones(image.dim());
        let along = curve_medians(image.view(), level.view(), all.view(), 3).unwrap();
        let in_rows = row_medians(image.view(), 3).unwrap();
        prop_assert!(along.iter().zip(&in_rows).all(|(a, b)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan()));
        let (followed, published) =
            (unlit_mask(image.view(), RULE, Some(level.view())).unwrap(), unlit_mask(image.view(), RULE, None).unwrap());
        prop_assert_eq!(followed, published);
    }

    #[test]
    fn unlit_pixels_do_not_depend_on_scale_or_level(
        image in image(8..=20, 8..=30),
        scale in select(vec![0.5f32, 2.0, 8.0]),
    ) {
        let other = image.mapv(|v| v * scale);
        prop_assert_eq!(
            unlit_mask(image.view(), RULE, None).unwrap(),
            unlit_mask(other.view(), RULE, None).unwrap()
        );
    }

    #[test]
    fn frames_lie_at_no_distance_from_themselves(image in image(2..=10, 2..=20), count in 1..6usize) {
        let frames = vec![image.view(); count];
        let found = median_distance(frames.as_slice(), &vec![1.0; count], image.view()).unwrap();
        for (&distance, value) in found.iter().zip(&image) {
            prop_assert!(distance == 0.0 || !value.is_finite() && distance.is_nan());
        }
    }
}
