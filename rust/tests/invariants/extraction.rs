//! Extraction.

use crate::prelude::*;

fn windows() -> impl Strategy<Value = Vec<Window>> {
    vec((-6..22isize, 0..9usize).prop_map(|(first, count)| Window { first, count }), 1..=4)
}

fn scene() -> impl Strategy<Value = (Array2<f32>, Array2<f32>)> {
    (image(1..=18, 1..=5), whole_image(18..=18, 5..=5)).prop_map(|(image, profile)| {
        // Between a tenth and one; one column without any light, in which most pixels are equal.
        let dark = image.ncols() / 2;
        let light = |place: (usize, usize)| if place.1 == dark { 0.0 } else { 0.1 + profile[place].abs() / 1200.0 };
        let profile = Array2::from_shape_fn(image.dim(), light);
        let mut image = image.mapv(|v| if v.is_infinite() { f32::NAN } else { v });
        image.column_mut(dark).iter_mut().enumerate().filter(|(y, _)| y % 4 > 0).for_each(|(_, v)| *v = 7.0);
        (image, profile)
    })
}

fn extractions() -> impl Strategy<Value = Extraction> {
    let weights = select(vec![Weights::Profile, Weights::InverseVariance]);
    (proptest::option::of(1.5..12.0f64), weights, 1.0..9.0f64, 0.1..2.0f64).prop_map(
        |(threshold, weights, readnoise, photon_variance)| Extraction {
            threshold,
            weights,
            readnoise,
            photon_variance,
        },
    )
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_spectrum_is_what_its_columns_give(
        (image, profile) in scene(), windows in windows(), how in extractions()
    ) {
        let found = extract_orders(image.view(), profile.view(), &windows, how).unwrap();
        let mut top = 0;
        for (order, window) in windows.iter().enumerate() {
            let mut rejected = 0;
            for x in 0..image.ncols() {
                let (flux, variance, shares) = extracted(&image, &profile, *window, how, x);
                prop_assert!(near(found.e2ds[[order, x]], flux, 1.0e-9), "{} is not {}", found.e2ds[[order, x]], flux);
                prop_assert!(near(found.variance[[order, x]], variance, 1.0e-9));
                for (k, share) in shares.iter().enumerate() {
                    let place = [top + k, x];
                    prop_assert!(near(f64::from(found.e2dsll[place]), share.unwrap_or(f64::NAN), 1.0e-5));
                    prop_assert_eq!(found.e2dscc[place], u8::from(share.is_some()));
                    let row = window.first + k as isize;
                    prop_assert!(share.is_none() || (row >= 0 && row < image.nrows() as isize));
                    rejected += usize::from(share.is_none());
                }
                let total: f64 = shares.iter().flatten().sum();
                prop_assert!(shares.iter().all(Option::is_none) || near(flux, total, 1.0e-9));
            }
            prop_assert_eq!(found.rejected[order], rejected);
            top += window.count;
        }
        prop_assert_eq!(found.e2dsll.nrows(), top);
    }

    #[test]
    fn a_spectrum_scales_with_its_image((image, profile) in scene(), windows in windows(), how in extractions()) {
        let scaled = Extraction { readnoise: 8.0 * how.readnoise, photon_variance: 8.0 * how.photon_variance, ..how };
        let found = extract_orders(image.view(), profile.view(), &windows, how).unwrap();
        let bright = (&image * 8.0, &profile * 0.25);
        let bright = extract_orders(bright.0.view(), bright.1.view(), &windows, scaled).unwrap();
        prop_assert_eq!(&bright.e2dscc, &found.e2dscc);
        prop_assert!(bright.e2ds.iter().zip(&found.e2ds).all(|(a, b)| same(*a, 8.0 * b)));
        prop_assert!(bright.variance.iter().zip(&found.variance).all(|(a, b)| same(*a, 64.0 * b)));
    }

    #[test]
    fn an_order_does_not_depend_on_the_others((image, profile) in scene(), windows in windows(), how in extractions()) {
        let together = extract_orders(image.view(), profile.view(), &windows, how).unwrap();
        let mut top = 0;
        for (order, window) in windows.iter().enumerate() {
            let alone = extract_orders(image.view(), profile.view(), &[*window], how).unwrap();
            let rows = s![top..top + window.count, ..];
            prop_assert_eq!(spectrum_bits(&alone, 0), spectrum_bits(&together, order));
            prop_assert_eq!(bits(&alone.e2dsll), bits(&together.e2dsll.slice(rows).to_owned()));
            prop_assert_eq!(alone.e2dscc.view(), together.e2dscc.slice(rows));
            prop_assert_eq!(alone.rejected[0], together.rejected[order]);
            top += window.count;
        }
    }
}

fn spectrum_bits(spectra: &Spectra, order: usize) -> Vec<u64> {
    spectra.e2ds.row(order).iter().chain(spectra.variance.row(order)).map(|v| v.to_bits()).collect()
}

/// Flux, variance and each pixel's share of one column, from the definition.
fn extracted(
    image: &Array2<f32>,
    profile: &Array2<f32>,
    window: Window,
    how: Extraction,
    x: usize,
) -> (f64, f64, Vec<Option<f64>>) {
    let rows: Vec<isize> = (0..window.count).map(|k| window.first + k as isize).collect();
    let read = |from: &Array2<f32>| -> Vec<f64> {
        rows.iter()
            .map(|&y| usize::try_from(y).ok().and_then(|y| from.get([y, x])).map_or(f64::NAN, |&v| v.into()))
            .collect()
    };
    let (s, f) = (read(image), read(profile));
    let total: f64 = f.iter().filter(|v| !v.is_nan()).sum();
    let f: Vec<f64> = f.into_iter().map(|v| if total > 0.0 { v / total } else { 1.0 }).collect();
    let amplitude = sorted_median(s.iter().zip(&f).map(|(s, f)| s / f));
    let distance: Vec<f64> = s.iter().zip(&f).map(|(s, f)| (s - amplitude * f).abs()).collect();
    let unit = sorted_median(distance.iter().copied());
    let kept: Vec<bool> = distance
        .iter()
        .map(|a| how.threshold.map_or((a / unit).is_finite(), |threshold| a / unit < threshold))
        .collect();
    let electrons = |k: usize| if how.weights == Weights::Profile { s[k] } else { amplitude * f[k] };
    let variance = |k: usize| electrons(k).max(0.0) * how.photon_variance + how.readnoise.powi(2);
    let weight = |k: usize| if how.weights == Weights::Profile { f[k] } else { f[k] / variance(k) };
    let over = |term: &dyn Fn(usize) -> f64| (0..s.len()).filter(|&k| kept[k]).map(term).sum::<f64>();
    let norm = over(&|k| weight(k) * f[k]);
    let shares = (0..s.len()).map(|k| kept[k].then(|| weight(k) * s[k] / norm)).collect();
    let noise = over(&|k| weight(k).powi(2) * variance(k)) / (norm * norm);
    (over(&|k| weight(k) * s[k]) / norm, noise, shares)
}
