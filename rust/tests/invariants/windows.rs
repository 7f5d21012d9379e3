//! What the windows of orders lack.

use crate::prelude::*;
use flatcore::windows::window_planes;

prop_compose! {
    fn moves()(dx in -3.0..3.0f64, dy in -3.0..3.0f64, b in -0.1..0.1f64, c in -0.1..0.1f64) -> Linear {
        Linear { dx, dy, a: 1.0, b, c, d: 1.0 }
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn marks_and_coverage_are_those_of_each_pixel(
        image in image(1..=14, 1..=40), first in -4..16isize, count in 0..9usize, linear in moves()
    ) {
        let (rows, columns) = image.dim();
        let profile = Array2::from_shape_fn(image.dim(), |(y, _)| 1.0 + (y % 4) as f32);
        let none = Array2::zeros(image.dim());
        let mapping = Mapping { linear, dxmap: none.view(), dymap: none.view() };
        let windows = [Window { first, count }, Window { first: 2, count: 3 }];
        let found = window_planes(image.view(), profile.view(), &windows, mapping).unwrap();
        for x in 0..columns {
            let (mut bad, mut seen) = (false, 0);
            for row in first..first + count as isize {
                let (column, y) = (x as f64, row as f64);
                let (sx, sy) = (linear.dx + column + linear.b * y, linear.dy + linear.c * column + y);
                let inside = sx >= 0.0 && sx <= columns as f64 - 1.0 && sy >= 0.0 && sy <= rows as f64 - 1.0;
                if inside && row >= 0 && row < rows as isize {
                    seen += 1;
                    bad |= !image[[row as usize, x]].is_finite();
                }
            }
            prop_assert_eq!(found.bad[[0, x]], bad);
            prop_assert_eq!(found.off_detector[[0, x]], seen < count);
            let coverage = found.coverage[[0, x]];
            prop_assert!((-1.0e-12..=1.0 + 1.0e-12).contains(&coverage));
            prop_assert!(seen < count || coverage == 1.0);
            prop_assert!(seen > 0 || count == 0 || coverage == 0.0);
        }
        let alone = window_planes(image.view(), profile.view(), &windows[1..], mapping).unwrap();
        prop_assert_eq!(alone.bad.row(0), found.bad.row(1));
        prop_assert!(alone.coverage.row(0).iter().zip(found.coverage.row(1)).all(|(a, b)| a.to_bits() == b.to_bits()));
    }
}
