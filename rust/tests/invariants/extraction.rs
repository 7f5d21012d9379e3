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
    (proptest::option::of(1.5..12.0f64), 1.0..9.0f64, 0.1..2.0f64)
        .prop_map(|(threshold, readnoise, photon_variance)| Extraction { threshold, readnoise, photon_variance })
}

/// The three extractions, of an image that is straight as it is.
type Extractor = fn(&Array2<f32>, &Array2<f32>, &[Window], Extraction) -> Spectra;

fn straight(shape: (usize, usize), work: impl Fn(Mapping<'_>) -> Spectra) -> Spectra {
    let none = Array2::zeros(shape);
    work(Mapping { linear: IDENTITY, dxmap: none.view(), dymap: none.view() })
}

fn optimal(image: &Array2<f32>, profile: &Array2<f32>, windows: &[Window], how: Extraction) -> Spectra {
    straight(image.dim(), |mapping| extract_orders(image.view(), profile.view(), windows, how, mapping).unwrap())
}

fn horne(image: &Array2<f32>, profile: &Array2<f32>, windows: &[Window], how: Extraction) -> Spectra {
    straight(image.dim(), |mapping| extract_orders_horne(image.view(), profile.view(), windows, how, mapping).unwrap())
}

fn direct(image: &Array2<f32>, profile: &Array2<f32>, windows: &[Window], how: Extraction) -> Spectra {
    straight(image.dim(), |mapping| {
        extract_direct(image.view(), profile.view(), windows, how, mapping).unwrap().spectra
    })
}

const EXTRACTORS: [Extractor; 3] = [optimal, horne, direct];

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_spectrum_is_what_its_columns_give(
        (image, profile) in scene(), windows in windows(), how in extractions()
    ) {
        let found = optimal(&image, &profile, &windows, how);
        let mut top = 0;
        for (order, window) in windows.iter().enumerate() {
            for x in 0..image.ncols() {
                let (flux, variance, shares) = extracted(&image, &profile, *window, how, x);
                prop_assert!(near(found.e2ds[[order, x]], flux, 1.0e-9), "{} is not {}", found.e2ds[[order, x]], flux);
                prop_assert!(near(found.variance[[order, x]], variance, 1.0e-9));
                for (k, share) in shares.iter().enumerate() {
                    let place = [top + k, x];
                    prop_assert!(near(f64::from(found.e2dsll[place]), share.unwrap_or(f64::NAN), 1.0e-5));
                    prop_assert_eq!(found.e2dscc[place], u8::from(share.is_some()));
                }
            }
            top += window.count;
        }
        prop_assert_eq!(found.e2dsll.nrows(), top);
    }

    #[test]
    fn shares_add_up_to_the_flux_and_only_kept_pixels_on_the_detector_have_one(
        (image, profile) in scene(), windows in windows(), how in extractions(), method in 0..3usize
    ) {
        let found = EXTRACTORS[method](&image, &profile, &windows, how);
        let mut top = 0;
        for (order, window) in windows.iter().enumerate() {
            let rows = top..top + window.count;
            for x in 0..image.ncols() {
                let shares: Vec<f64> = rows.clone().map(|row| found.e2dsll[[row, x]].into()).collect();
                let total: f64 = shares.iter().filter(|v| !v.is_nan()).sum();
                let most = shares.iter().filter(|v| !v.is_nan()).fold(0.0f64, |most, v| most.max(v.abs()));
                let flux = found.e2ds[[order, x]];
                prop_assert!(flux.is_nan() || (flux - total).abs() <= 1.0e-5 * most.max(1.0e-3), "{flux} {total}");
                prop_assert!(flux.is_nan() || found.variance[[order, x]] >= 0.0);
                for (k, share) in shares.iter().enumerate() {
                    let row = window.first + k as isize;
                    let kept = found.e2dscc[[top + k, x]] != 0;
                    prop_assert_eq!(kept, !share.is_nan() || (kept && flux.is_nan()));
                    prop_assert!(!kept || (row >= 0 && row < image.nrows() as isize));
                }
            }
            let left_out = found.e2dscc.slice(s![rows, ..]).iter().filter(|&&k| k == 0).count();
            prop_assert_eq!(found.rejected[order], left_out);
            top += window.count;
        }
    }

    #[test]
    fn a_spectrum_scales_with_its_image(
        (image, profile) in scene(), windows in windows(), how in extractions(), method in 0..3usize
    ) {
        let extract = EXTRACTORS[method];
        let scaled = Extraction { readnoise: 8.0 * how.readnoise, photon_variance: 8.0 * how.photon_variance, ..how };
        let found = extract(&image, &profile, &windows, how);
        let bright = extract(&(&image * 8.0), &(&profile * 0.25), &windows, scaled);
        prop_assert_eq!(&bright.e2dscc, &found.e2dscc);
        prop_assert!(bright.e2ds.iter().zip(&found.e2ds).all(|(a, b)| same(*a, 8.0 * b)));
        prop_assert!(bright.variance.iter().zip(&found.variance).all(|(a, b)| same(*a, 64.0 * b)));
    }

    #[test]
    fn an_order_does_not_depend_on_the_others(
        (image, profile) in scene(), windows in windows(), how in extractions(), method in 0..3usize
    ) {
        let extract = EXTRACTORS[method];
        let together = extract(&image, &profile, &windows, how);
        let mut top = 0;
        for (order, window) in windows.iter().enumerate() {
            let alone = extract(&image, &profile, &[*window], how);
            let rows = s![top..top + window.count, ..];
            prop_assert_eq!(spectrum_bits(&alone, 0), spectrum_bits(&together, order));
            prop_assert_eq!(bits(&alone.e2dsll), bits(&together.e2dsll.slice(rows).to_owned()));
            prop_assert_eq!(alone.e2dscc.view(), together.e2dscc.slice(rows));
            prop_assert_eq!(alone.rejected[0], together.rejected[order]);
            top += window.count;
        }
    }

    #[test]
    fn a_straight_image_is_the_same_with_and_without_straightening(
        (image, profile) in scene(), windows in windows(), how in extractions()
    ) {
        let (weighed, direct) = (horne(&image, &profile, &windows, how), direct(&image, &profile, &windows, how));
        prop_assert_eq!(&weighed.e2dscc, &direct.e2dscc);
        prop_assert!(weighed.e2ds.iter().zip(&direct.e2ds).all(|(a, b)| near(*a, *b, 1.0e-9)));
        prop_assert!(weighed.variance.iter().zip(&direct.variance).all(|(a, b)| near(*a, *b, 1.0e-9)));
    }

    #[test]
    fn without_read_noise_no_weight_is_infinite(
        (image, profile) in scene(), windows in windows(), how in extractions(), method in 0..3usize
    ) {
        // A pixel that expects nothing, in columns whose flux may be below 0.
        let mut profile = profile;
        profile.row_mut(image.nrows() / 2).fill(0.0);
        let how = Extraction { readnoise: 0.0, threshold: None, ..how };
        let found = EXTRACTORS[method](&image, &profile, &windows, how);
        prop_assert!(found.e2ds.iter().chain(&found.variance).all(|v| !v.is_infinite()));
        let kept = found.e2dscc.iter().zip(&found.e2dsll).filter(|(kept, _)| **kept != 0);
        prop_assert!(kept.into_iter().all(|(_, share)| !share.is_infinite()));
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
    let over = |term: &dyn Fn(usize) -> f64| (0..s.len()).filter(|&k| kept[k]).map(term).sum::<f64>();
    let norm = over(&|k| f[k].powi(2));
    let flux = over(&|k| f[k] * s[k]) / norm;
    let variance = |k: usize| (flux * f[k]).max(0.0) * how.photon_variance + how.readnoise.powi(2);
    let mut noise = over(&|k| f[k].powi(2) * variance(k)) / (norm * norm);
    if let Some(threshold) = how.threshold {
        let valid = distance.iter().filter(|d| !d.is_nan()).count().max(5) as f64;
        for k in (0..s.len()).filter(|&k| !distance[k].is_nan()) {
            let width = (3.0 * (variance(k) + (1.166 * threshold * unit).powi(2) / valid)).sqrt();
            let stays = ((threshold * unit - distance[k]) / width).clamp(-1.0, 1.0) / 2.0 + 0.5;
            let without = if kept[k] { norm - f[k].powi(2) } else { norm + f[k].powi(2) };
            if without > 0.0 {
                noise += stays * (1.0 - stays) * (f[k] * (s[k] - flux * f[k]) / without).powi(2);
            }
        }
    }
    let shares = (0..s.len()).map(|k| kept[k].then(|| f[k] * s[k] / norm)).collect();
    (flux, if norm > 0.0 { noise } else { f64::NAN }, shares)
}
