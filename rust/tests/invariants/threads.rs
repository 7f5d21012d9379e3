//! The same bits on any number of threads.

use crate::prelude::*;

#[test]
fn results_are_the_same_bits_on_any_number_of_threads() {
    let run = |threads| on_threads(threads, every_kernel);
    let alone = run(1);
    for threads in [2, 3, 7] {
        assert!(run(threads) == alone, "{threads} threads");
    }
}

/// The bits of every parallel kernel's result, on images of several bands.
fn every_kernel() -> Vec<u64> {
    let frames: Vec<Array2<f32>> = (0..7).map(|seed| rough(90, 260, seed)).collect();
    let mut images: Vec<Array2<f32>> =
        METHODS.iter().map(|&m| combine(views(&frames).as_slice(), m).unwrap()).collect();
    let (image, other) = (frames[0].slice(s![..60, ..70]).to_owned(), frames[1].slice(s![..60, ..70]).to_owned());
    let mask = other.mapv(|v| u8::from(v < 600.0));
    let profile = other.mapv(|v| v.max(1.0) / 1000.0);
    let (dxmap, dymap) = (image.mapv(|v| (v / 100.0).sin()), other.mapv(|v| (v / 100.0).cos()));
    let how = Extraction { threshold: Some(5.0), readnoise: 3.0, photon_variance: 1.0 };
    let windows: Vec<Window> = (-1..9).map(|k| Window { first: 7 * k, count: 6 }).collect();
    let mapping = Mapping { linear: IDENTITY, dxmap: dxmap.view(), dymap: dymap.view() };
    let spectra = extract_orders(image.view(), profile.view(), &windows, how, mapping).unwrap();
    let weighed = extract_orders_horne(image.view(), profile.view(), &windows, how, mapping).unwrap();
    let direct = extract_direct(image.view(), profile.view(), &windows, how, mapping).unwrap();
    let background = global_background(image.view(), mask.view(), 8, 5).unwrap();
    let steps = ToElectrons {
        bounds: Some(Bounds { low: 410.0, high: 1200.0 }),
        dark: Some(other.view()),
        flip: Flip { y: true, x: false },
        factor: 3.0,
        rows: 0..60,
        columns: 0..70,
        bad: Some(mask.view()),
    };
    images.extend([
        to_electrons(image.view(), &steps).unwrap(),
        fill_nan(image.view()).unwrap(),
        scattered_light(image.view(), 47.0, ScatterKernel { y: 6.0, x: 2.0, sigma: 3.0 }).unwrap(),
        background.map,
        repair_hot_pixels(image.view(), mask.view(), 10.0, None).unwrap(),
        straighten(image.view(), IDENTITY, dxmap.view(), dymap.view()).unwrap(),
        spectra.e2dsll.clone(),
        weighed.e2dsll.clone(),
        direct.spectra.e2dsll.clone(),
        row_medians(image.view(), 5).unwrap(),
        curve_medians(image.view(), dymap.view(), mask.view(), 4).unwrap(),
        median_distance(views(&frames).as_slice(), &[0.9; 7], frames[2].view()).unwrap(),
    ]);
    let rule = UnlitRule { box_size: 9, percent: 20.0, window: 7, least: 3 };
    for dymap in [None, Some(dymap.view())] {
        images.push(unlit_mask(image.view(), rule, dymap).unwrap().mapv(f32::from));
    }
    let all = [&spectra, &weighed, &direct.spectra];
    let spectra = all.iter().flat_map(|found| found.e2ds.iter().chain(&found.variance));
    let doubles = background.cells.iter().chain(spectra).map(|v| v.to_bits());
    images.iter().flatten().map(|v| u64::from(v.to_bits())).chain(doubles).collect()
}
