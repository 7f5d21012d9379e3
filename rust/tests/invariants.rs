//! Every kernel held to plain reference code on random input, gaps and edges included.
//!
//! The cases are the same in every run; `PROPTEST_CASES=2000 cargo test --release` hunts among new ones.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use flatcore::background::{ScatterKernel, fill_nan, global_background, scattered_light};
use flatcore::calibrate::{Bounds, Flip, ToElectrons, apply_bounds, to_electrons};
use flatcore::combine::{Method, combine};
use flatcore::extract::{Extraction, Spectra, Weights, Window, extract_orders};
use flatcore::hotpixels::repair_hot_pixels;
use flatcore::median::{LANES, MedianNetwork, nan_median, running_nan_median};
use flatcore::outliers::{effective_readnoise, outliers, quantile, robust_sigma, slow_part};
use flatcore::pixels::{PixelFile, PixelLayout};
use flatcore::spline::{mirrored, prefilter, prefilter_image, weights};
use flatcore::straighten::{Linear, straighten};
use ndarray::{Array2, ArrayView2, s};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::RngSeed;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

const METHODS: [Method; 3] =
    [Method::Median, Method::Mean, Method::ClippedMean { sigma: 2.0, electrons: 0.5, readnoise: 3.0 }];
const IDENTITY: Linear = Linear { dx: 0.0, dy: 0.0, a: 1.0, b: 0.0, c: 0.0, d: 1.0 };
const ERF_1: f64 = 0.842_700_792_949_714_9;

fn config() -> ProptestConfig {
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    if std::env::var_os("PROPTEST_CASES").is_some() {
        return config;
    }
    ProptestConfig { cases: 48, rng_seed: RngSeed::Fixed(1986), ..config }
}

// Random input.

/// A pixel, now and then one of a few equal values; `gaps` in a thousand are NaN or infinite.
fn pixel(gaps: usize) -> impl Strategy<Value = f32> {
    (0..1000usize, -1.0e3f32..1.0e3).prop_map(move |(roll, value)| match roll {
        roll if roll < gaps => [f32::NAN, f32::NAN, f32::INFINITY, f32::NEG_INFINITY][roll % 4],
        roll if roll < 250 => (value / 300.0).round(),
        _ => value,
    })
}

fn gaps() -> impl Strategy<Value = usize> {
    select(vec![0usize, 3, 150])
}

fn image_of(rows: usize, columns: usize, gaps: usize) -> impl Strategy<Value = Array2<f32>> {
    vec(pixel(gaps), rows * columns).prop_map(move |v| Array2::from_shape_vec((rows, columns), v).unwrap())
}

fn image(rows: RangeInclusive<usize>, columns: RangeInclusive<usize>) -> impl Strategy<Value = Array2<f32>> {
    (rows, columns, gaps()).prop_flat_map(|(rows, columns, gaps)| image_of(rows, columns, gaps))
}

fn whole_image(rows: RangeInclusive<usize>, columns: RangeInclusive<usize>) -> impl Strategy<Value = Array2<f32>> {
    (rows, columns).prop_flat_map(|(rows, columns)| image_of(rows, columns, 0))
}

fn frames() -> impl Strategy<Value = Vec<Array2<f32>>> {
    // Columns on both sides of a network's lanes; counts on both sides of the insertion sort's limit.
    let counts = prop_oneof![4 => 1..=9usize, 1 => 38..=45usize];
    (counts, 1..=3usize, 1..=2 * LANES + 3, gaps())
        .prop_flat_map(|(count, rows, columns, gaps)| vec(image_of(rows, columns, gaps), count))
}

fn mask(shape: (usize, usize)) -> impl Strategy<Value = Array2<u8>> {
    vec(0..6u8, shape.0 * shape.1)
        .prop_map(move |v| Array2::from_shape_vec(shape, v.into_iter().map(|k| k / 5 * 3).collect()).unwrap())
}

fn samples(count: RangeInclusive<usize>) -> impl Strategy<Value = Vec<f64>> {
    (count, gaps())
        .prop_flat_map(|(count, gaps)| vec(pixel(gaps), count))
        .prop_map(|v| v.into_iter().map(|v| if v.is_infinite() { f64::NAN } else { f64::from(v) }).collect())
}

/// A rough image without random numbers, for the invariants that need a large one.
fn rough(rows: usize, columns: usize, seed: usize) -> Array2<f32> {
    Array2::from_shape_fn((rows, columns), |(y, x)| {
        let hash = (y * 7919 + x * 104_729 + seed * 15_485_863).wrapping_mul(2_654_435_761) >> 7;
        if hash.is_multiple_of(97) { f32::NAN } else { 400.0 + (hash % 1009) as f32 }
    })
}

// Plain reference code.

fn same(found: f64, expected: f64) -> bool {
    found == expected || (found.is_nan() && expected.is_nan())
}

fn near(found: f64, expected: f64, tolerance: f64) -> bool {
    same(found, expected) || (found - expected).abs() <= tolerance * (1.0 + expected.abs())
}

fn assert_image(found: &Array2<f32>, tolerance: f64, expected: impl Fn(usize, usize) -> f64) {
    for ((y, x), &value) in found.indexed_iter() {
        let expected = expected(y, x);
        assert!(near(f64::from(value), expected, tolerance), "({y}, {x}): {value} is not {expected}");
    }
}

fn bits(image: &Array2<f32>) -> Vec<u32> {
    image.iter().map(|v| v.to_bits()).collect()
}

fn sorted(values: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.into_iter().filter(|v| !v.is_nan()).collect();
    values.sort_by(f64::total_cmp);
    values
}

fn sorted_median(values: impl IntoIterator<Item = f64>) -> f64 {
    let sorted = sorted(values);
    match sorted.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => sorted[count / 2],
        count if sorted[count / 2 - 1] == sorted[count / 2] => sorted[count / 2],
        count => 0.5 * (sorted[count / 2 - 1] + sorted[count / 2]),
    }
}

fn sorted_quantile(values: impl IntoIterator<Item = f64>, share: f64) -> f64 {
    let sorted = sorted(values);
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let place = share * last as f64;
    let (below, above) = (place.floor() as usize, place.ceil() as usize);
    sorted[below] + (place - place.floor()) * (sorted[above] - sorted[below])
}

fn sorted_sigma(values: &[f64]) -> f64 {
    let at = |share| sorted_quantile(values.iter().copied(), share);
    (at(ERF_1) - at(1.0 - ERF_1)) / 2.0
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn combined_pixel(values: impl IntoIterator<Item = f32>, method: Method) -> f64 {
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

fn views(frames: &[Array2<f32>]) -> Vec<ArrayView2<'_, f32>> {
    frames.iter().map(|frame| frame.view()).collect()
}

fn on_threads<T: Send>(count: usize, kernel: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(count).build().unwrap().install(kernel)
}

// Combining frames.

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_combined_pixel_is_what_sorting_says(frames in frames()) {
        for method in METHODS {
            let found = combine(views(&frames).as_slice(), method).unwrap();
            assert_image(&found, 0.0, |y, x| {
                f64::from(combined_pixel(frames.iter().map(|frame| frame[[y, x]]), method) as f32)
            });
        }
    }

    #[test]
    fn the_order_of_frames_does_not_matter_to_the_median(
        (frames, shuffled) in frames().prop_flat_map(|f| (Just(f.clone()), Just(f).prop_shuffle()))
    ) {
        let found = combine(views(&frames).as_slice(), Method::Median).unwrap();
        let again = combine(views(&shuffled).as_slice(), Method::Median).unwrap();
        assert_image(&again, 0.0, |y, x| f64::from(found[[y, x]]));
    }

    #[test]
    fn equal_frames_combine_to_themselves(frame in image(1..=3, 1..=40), count in 1..=50usize) {
        for method in [Method::Median, METHODS[2]] {
            let found = combine(vec![frame.view(); count].as_slice(), method).unwrap();
            assert_image(&found, 1.0e-7, |y, x| {
                f64::from(if frame[[y, x]].is_finite() { frame[[y, x]] } else { f32::NAN })
            });
        }
    }

    #[test]
    fn files_combine_like_the_same_pixels_in_memory(stored in stored()) {
        let scratch = Scratch::new();
        let files: Vec<PixelFile> = stored.frames.iter().map(|raw| scratch.write(&stored.layout, raw)).collect();
        let frames: Vec<Array2<f32>> = stored.frames.iter().map(|raw| physical(&stored.layout, raw)).collect();
        for method in METHODS {
            let found = combine(files.as_slice(), method).unwrap();
            prop_assert_eq!(bits(&found), bits(&combine(views(&frames).as_slice(), method).unwrap()));
        }
        let (rows, columns) = stored.layout.shape;
        for first in 0..rows {
            let mut rest = Array2::zeros((rows - first, columns));
            files[0].read_rows(first, rest.as_slice_mut().unwrap()).unwrap();
            assert_image(&rest, 0.0, |y, x| f64::from(frames[0][[first + y, x]]));
        }
    }
}

/// Frames as they lie in files: the big-endian bytes of every pixel.
#[derive(Debug)]
struct Stored {
    layout: PixelLayout,
    frames: Vec<Vec<u64>>,
}

fn stored() -> impl Strategy<Value = Stored> {
    let scaling = select(vec![(1.0, 0.0), (1.0, 32768.0), (0.5, -3.0), (-2.0e-3, 1.0e4)]);
    let bitpix = select(vec![8, 16, 32, 64, -32, -64]);
    (1..=5usize, (1..=4usize, 1..=20usize), 0..6000u64, bitpix, scaling, any::<bool>()).prop_flat_map(
        |(count, shape, offset, bitpix, (bscale, bzero), blanked)| {
            vec(vec(any::<u64>(), shape.0 * shape.1), count).prop_map(move |frames| {
                let mut layout = PixelLayout { offset, shape, bitpix, bscale, bzero, blank: None };
                // The first pixel's own value stands for no value.
                layout.blank = (blanked && bitpix > 0).then(|| integer(bitpix, frames[0][0]));
                Stored { layout, frames }
            })
        },
    )
}

fn integer(bitpix: i32, raw: u64) -> i64 {
    match bitpix {
        8 => i64::from(raw as u8),
        16 => i64::from(raw as i16),
        32 => i64::from(raw as i32),
        _ => raw as i64,
    }
}

fn physical(layout: &PixelLayout, raw: &[u64]) -> Array2<f32> {
    let value = |&raw: &u64| {
        let value = match layout.bitpix {
            -32 => f64::from(f32::from_bits(raw as u32)),
            -64 => f64::from_bits(raw),
            bitpix if layout.blank == Some(integer(bitpix, raw)) => f64::NAN,
            bitpix => integer(bitpix, raw) as f64,
        };
        (layout.bzero + layout.bscale * value) as f32
    };
    Array2::from_shape_vec(layout.shape, raw.iter().map(value).collect()).unwrap()
}

/// A folder that goes away with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("flatcore-invariants-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).unwrap();
        Self(folder)
    }

    fn write(&self, layout: &PixelLayout, raw: &[u64]) -> PixelFile {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let width = layout.bitpix.unsigned_abs() as usize / 8;
        let mut bytes = vec![b' '; layout.offset as usize];
        bytes.extend(raw.iter().flat_map(|value| value.to_be_bytes()[8 - width..].to_vec()));
        let path = self.0.join(format!("{}.fits", COUNT.fetch_add(1, Ordering::Relaxed)));
        std::fs::write(&path, bytes).unwrap();
        PixelFile::open(&path, layout.clone()).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn bands_of_rows_make_one_image() {
    let scratch = Scratch::new();
    let shape = (90, 512);
    let layout = PixelLayout { offset: 2880, shape, bitpix: -32, bscale: 1.0, bzero: 0.0, blank: None };
    let frames: Vec<Array2<f32>> = (0..8).map(|seed| rough(shape.0, shape.1, seed)).collect();
    let raw = |frame: &Array2<f32>| frame.iter().map(|v| u64::from(v.to_bits())).collect::<Vec<_>>();
    let files: Vec<PixelFile> = frames.iter().map(|frame| scratch.write(&layout, &raw(frame))).collect();
    let found = combine(views(&frames).as_slice(), Method::Mean).unwrap();
    assert_image(&found, 0.0, |y, x| {
        f64::from(combined_pixel(frames.iter().map(|frame| frame[[y, x]]), Method::Mean) as f32)
    });
    assert_eq!(bits(&combine(files.as_slice(), Method::Mean).unwrap()), bits(&found));
}

#[test]
fn an_image_too_large_for_its_file_is_refused() {
    let scratch = Scratch::new();
    let layout = PixelLayout { offset: 0, shape: (1, 1), bitpix: 64, bscale: 1.0, bzero: 0.0, blank: None };
    drop(scratch.write(&layout, &[0]));
    let path = std::fs::read_dir(&scratch.0).unwrap().next().unwrap().unwrap().path();
    for shape in [(2, 1), (1 << 40, 1 << 40), (usize::MAX, 8), (8, usize::MAX)] {
        assert!(PixelFile::open(&path, PixelLayout { shape, ..layout.clone() }).is_err(), "{shape:?}");
    }
}

// Medians, scatter, outliers.

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
        for (lane, found) in MedianNetwork::new(values.len()).medians(&mut lanes).into_iter().enumerate() {
            let expected = sorted_median(values.iter().map(|v| f64::from(v[lane]))) as f32;
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
    fn outliers_lie_beyond_either_limit(flat in samples(0..=40), rms in 0.0..20.0f64, limit in 0.0..300.0f64) {
        for (value, found) in flat.iter().zip(outliers(&flat, rms, 10.0, limit)) {
            let off = if *value > 1.0 { value - 1.0 } else { 1.0 - value };
            prop_assert_eq!(found, off > limit.min(10.0 * rms));
        }
        let narrow = outliers(&flat, 0.5 * rms, 10.0, 0.5 * limit);
        prop_assert!(outliers(&flat, rms, 10.0, limit).iter().zip(narrow).all(|(wide, narrow)| narrow || !wide));
        prop_assert_eq!(outliers(&flat, f64::NAN, 10.0, limit), outliers(&flat, f64::INFINITY, 10.0, limit));
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

// Splines and straightening.

fn spline_at(coefficients: &[f64], position: f64) -> f64 {
    let (middle, weights) = weights(position);
    (0..3).map(|k| weights[k] * coefficients[mirrored(middle + k as isize - 1, coefficients.len())]).sum()
}

/// Coefficients of an image, along its rows and then its columns.
fn spline_of(image: &Array2<f64>) -> Array2<f64> {
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

fn surface_at(coefficients: &Array2<f64>, y: f64, x: f64) -> f64 {
    spline_at(&coefficients.rows().into_iter().map(|row| spline_at(&row.to_vec(), x)).collect::<Vec<_>>(), y)
}

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
        prop_assert!((middle as f64 + weights[2] - weights[0] - position).abs() < 1.0e-13);
        prop_assert!(weights.iter().all(|&w| (0.0..=0.75).contains(&w)));
    }

    #[test]
    fn an_image_is_prefiltered_along_rows_then_columns(image in whole_image(1..=20, 1..=20)) {
        let expected = spline_of(&image.mapv(f64::from));
        let mut found = image.clone();
        prefilter_image(found.as_slice_mut().unwrap(), image.ncols());
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

// Calibration.

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
        let found = repair_hot_pixels(image.view(), bad.view(), threshold).unwrap();
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

// Background.

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

// Extraction.

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

// Threads.

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
    let how = Extraction { threshold: Some(5.0), weights: Weights::Profile, readnoise: 3.0, photon_variance: 1.0 };
    let windows: Vec<Window> = (-1..9).map(|k| Window { first: 7 * k, count: 6 }).collect();
    let spectra = extract_orders(image.view(), profile.view(), &windows, how).unwrap();
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
        repair_hot_pixels(image.view(), mask.view(), 10.0).unwrap(),
        straighten(image.view(), IDENTITY, dxmap.view(), dymap.view()).unwrap(),
        spectra.e2dsll,
    ]);
    let doubles = background.cells.iter().chain(&spectra.e2ds).chain(&spectra.variance).map(|v| v.to_bits());
    images.iter().flatten().map(|v| u64::from(v.to_bits())).chain(doubles).collect()
}
