//! Plain reference code.

use crate::prelude::*;

pub fn same(found: f64, expected: f64) -> bool {
    found == expected || (found.is_nan() && expected.is_nan())
}

pub fn near(found: f64, expected: f64, tolerance: f64) -> bool {
    same(found, expected) || (found - expected).abs() <= tolerance * (1.0 + expected.abs())
}

pub fn assert_image(found: &Array2<f32>, tolerance: f64, expected: impl Fn(usize, usize) -> f64) {
    for ((y, x), &value) in found.indexed_iter() {
        let expected = expected(y, x);
        assert!(near(f64::from(value), expected, tolerance), "({y}, {x}): {value} is not {expected}");
    }
}

pub fn bits(image: &Array2<f32>) -> Vec<u32> {
    image.iter().map(|v| v.to_bits()).collect()
}

pub fn sorted(values: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.into_iter().filter(|v| !v.is_nan()).collect();
    values.sort_by(f64::total_cmp);
    values
}

pub fn sorted_median(values: impl IntoIterator<Item = f64>) -> f64 {
    let sorted = sorted(values);
    match sorted.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => sorted[count / 2],
        count if sorted[count / 2 - 1] == sorted[count / 2] => sorted[count / 2],
        count => 0.5 * (sorted[count / 2 - 1] + sorted[count / 2]),
    }
}

pub fn sorted_quantile(values: impl IntoIterator<Item = f64>, share: f64) -> f64 {
    let sorted = sorted(values);
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let place = share * last as f64;
    let (below, above) = (place.floor() as usize, place.ceil() as usize);
    sorted[below] + (place - place.floor()) * (sorted[above] - sorted[below])
}

pub fn sorted_sigma(values: &[f64]) -> f64 {
    let at = |share| sorted_quantile(values.iter().copied(), share);
    (at(ERF_1) - at(1.0 - ERF_1)) / 2.0
}

pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

pub fn combined_pixel(values: impl IntoIterator<Item = f32>, method: Method) -> f64 {
    let values: Vec<f64> = values.into_iter().filter(|v| v.is_finite()).map(f64::from).collect();
    let centre = sorted_median(values.iter().copied());
    match method {
        Method::Median => centre,
        Method::Mean => mean(&values),
        Method::ClippedMean { sigma, electrons, readnoise } => {
            let measured = 1.482_602_218_505_602 * sorted_median(values.iter().map(|v| (v - centre).abs()));
            let limit = sigma * measured.max((centre.max(0.0) / electrons + readnoise * readnoise).sqrt());
            mean(&values.into_iter().filter(|v| (v - centre).abs() <= limit).collect::<Vec<_>>())
        }
    }
}

pub fn views(frames: &[Array2<f32>]) -> Vec<ArrayView2<'_, f32>> {
    frames.iter().map(|frame| frame.view()).collect()
}

pub fn on_threads<T: Send>(count: usize, kernel: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(count).build().unwrap().install(kernel)
}

pub fn spline_at(coefficients: &[f64], position: f64) -> f64 {
    let (middle, weights) = weights(position);
    (0..3).map(|k| weights[k] * coefficients[mirrored(middle as isize + k as isize - 1, coefficients.len())]).sum()
}

/// Coefficients of an image, along its rows and then its columns.
pub fn spline_of(image: &Array2<f64>) -> Array2<f64> {
    let mut coefficients = image.clone();
    for axis in [1, 0] {
        for mut lane in coefficients.lanes_mut(ndarray::Axis(axis)) {
            let mut line = lane.to_vec();
            prefilter(&mut line);
            lane.assign(&ndarray::aview1(&line));
        }
    }
    coefficients
}

pub fn surface_at(coefficients: &Array2<f64>, y: f64, x: f64) -> f64 {
    spline_at(&coefficients.rows().into_iter().map(|row| spline_at(&row.to_vec(), x)).collect::<Vec<_>>(), y)
}
