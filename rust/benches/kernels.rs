//! Time of every kernel, and how it grows with frames, pixels, orders and window.
//!
//! `cargo bench` runs all of it; `cargo bench -- straighten` one group.
#![allow(clippy::unwrap_used)]

use criterion::{BenchmarkId, Criterion, Throughput};
use flatcore::along::{curve_medians, row_medians};
use flatcore::background::global_background;
use flatcore::calibrate::{Bounds, Flip, ToElectrons, apply_bounds, pixels_above, to_electrons};
use flatcore::combine::{Method, combine};
use flatcore::direct::extract_direct;
use flatcore::extract::extract_orders;
use flatcore::fitsfile::{Hdu, Values, write_fits};
use flatcore::horne::extract_orders_horne;
use flatcore::hotpixels::repair_hot_pixels;
use flatcore::mapping::Mapping;
use flatcore::median::running_nan_median;
use flatcore::orders::{Extraction, Window};
use flatcore::pixels::{PixelFile, PixelLayout};
use flatcore::readnoise::effective_readnoise;
use flatcore::robust::slow_part;
use flatcore::scattered::{ScatterKernel, scattered_light};
use flatcore::spread::median_distance;
use flatcore::straighten::{Linear, straighten};
use flatcore::unlit::{UnlitRule, unlit_mask};
use ndarray::{Array2, ArrayView2};
use std::hint::black_box;
use std::path::PathBuf;
use std::time::Duration;

/// Side of the images whose size does not vary.
const SIDE: usize = 1024;
/// Columns of a SPIRou spectrum.
const COLUMNS: usize = 4088;
const CLIPPED: Method = Method::ClippedMean { sigma: 5.0, electrons: 1.0, readnoise: 10.0 };

/// Positive, rough pixels.
fn image(rows: usize, columns: usize, seed: usize) -> Array2<f32> {
    Array2::from_shape_fn((rows, columns), |(y, x)| {
        // The high bits of a multiplicative hash.
        let hash = ((y * columns + x + 1) as u64 ^ (seed as u64) << 40).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
        1000.0 + (hash & 0x3FF) as f32
    })
}

/// The image with one pixel in a thousand NaN.
fn gapped(mut image: Array2<f32>) -> Array2<f32> {
    image.iter_mut().step_by(1009).for_each(|v| *v = f32::NAN);
    image
}

/// Unlit rows between orders of 40 rows.
fn unlit(side: usize) -> Array2<u8> {
    Array2::from_shape_fn((side, side), |(y, _)| u8::from(y % 60 >= 40))
}

fn pixels(side: usize) -> Throughput {
    Throughput::Elements((side * side) as u64)
}

fn frames_in_memory(criterion: &mut Criterion) {
    let frames: Vec<Array2<f32>> = (0..80).map(|seed| image(SIDE, SIDE, seed)).collect();
    let views: Vec<ArrayView2<'_, f32>> = frames.iter().map(|frame| frame.view()).collect();
    let mut group = criterion.benchmark_group("combine");
    for (name, method, counts) in [
        ("median", Method::Median, &[5, 10, 20, 40, 80][..]),
        ("mean", Method::Mean, &[5, 20, 80]),
        ("clipped", CLIPPED, &[5, 20]),
    ] {
        for &count in counts {
            group.throughput(Throughput::Elements((count * SIDE * SIDE) as u64));
            group.bench_with_input(BenchmarkId::new(name, count), &views[..count], |b, views| {
                b.iter(|| combine(views, method).unwrap());
            });
        }
    }
    let gapped: Vec<Array2<f32>> = frames.into_iter().take(20).map(gapped).collect();
    let views: Vec<ArrayView2<'_, f32>> = gapped.iter().map(|frame| frame.view()).collect();
    group.throughput(Throughput::Elements((20 * SIDE * SIDE) as u64));
    group.bench_function("median with NaN/20", |b| b.iter(|| combine(views.as_slice(), Method::Median).unwrap()));
    group.finish();
}

fn frames_in_files(criterion: &mut Criterion) {
    let folder = std::env::temp_dir().join(format!("flatcore-bench-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let mut group = criterion.benchmark_group("combine files");
    for bitpix in [16, -32] {
        let files: Vec<PixelFile> = (0..20).map(|k| written(folder.join(format!("{k}.fits")), bitpix, k)).collect();
        for count in [5, 20] {
            group.throughput(Throughput::Elements((count * SIDE * SIDE) as u64));
            group.bench_with_input(BenchmarkId::new(format!("BITPIX {bitpix}"), count), &files[..count], |b, files| {
                b.iter(|| combine(files, Method::Median).unwrap());
            });
        }
    }
    group.finish();
    std::fs::remove_dir_all(&folder).unwrap();
}

fn written(path: PathBuf, bitpix: i32, seed: usize) -> PixelFile {
    let image = image(SIDE, SIDE, seed);
    let bytes: Vec<u8> = match bitpix {
        16 => image.iter().flat_map(|&v| (v as i16).to_be_bytes()).collect(),
        _ => image.iter().flat_map(|v| v.to_be_bytes()).collect(),
    };
    std::fs::write(&path, bytes).unwrap();
    let layout = PixelLayout { offset: 0, shape: (SIDE, SIDE), bitpix, bscale: 1.0, bzero: 0.0, blank: None };
    PixelFile::open(&path, layout).unwrap()
}

fn calibration(criterion: &mut Criterion) {
    let (frame, dark, bad) = (image(SIDE, SIDE, 1), image(SIDE, SIDE, 2), Array2::<u8>::zeros((SIDE, SIDE)));
    let bounds = Bounds { low: 0.0, high: 2000.0 };
    let steps = ToElectrons {
        bounds: Some(bounds),
        dark: Some(dark.view()),
        flip: Flip { y: true, x: true },
        factor: 5.0,
        rows: 0..SIDE,
        columns: 0..SIDE,
        bad: Some(bad.view()),
    };
    let unlit = unlit(SIDE);
    let (values, mask) = (frame.as_slice().unwrap(), unlit.as_slice().unwrap());
    let mut group = criterion.benchmark_group("calibrate");
    group.throughput(pixels(SIDE));
    group.bench_function("to electrons", |b| b.iter(|| to_electrons(frame.view(), &steps).unwrap()));
    group.bench_function("bounds", |b| b.iter(|| apply_bounds(frame.view(), bounds)));
    group.bench_function("pixels above a limit", |b| {
        b.iter(|| pixels_above(frame.view(), 2000.0, steps.flip, 0..SIDE, 0..SIDE).unwrap());
    });
    group.bench_function("effective read noise", |b| b.iter(|| effective_readnoise(values, mask)));
    group.finish();
}

fn background(criterion: &mut Criterion) {
    let kernel = ScatterKernel { y: 9.0, x: 1.0, sigma: 3.0 };
    let mut group = criterion.benchmark_group("background");
    for side in [512, 1024, 2048, 4096] {
        let (frame, unlit) = (gapped(image(side, side, 1)), unlit(side));
        group.throughput(pixels(side));
        group.bench_with_input(BenchmarkId::new("scattered light", side), &frame, |b, frame| {
            b.iter(|| scattered_light(frame.view(), 47.0, kernel).unwrap());
        });
        group.bench_with_input(BenchmarkId::new("global", side), &frame, |b, frame| {
            b.iter(|| global_background(frame.view(), unlit.view(), 128, 5).unwrap());
        });
    }
    group.finish();
}

fn hot_pixels(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hot pixels");
    for side in [512, 1024, 2048, 4096] {
        let (frame, bad) = (gapped(image(side, side, 1)), Array2::zeros((side, side)));
        group.throughput(pixels(side));
        group.bench_with_input(BenchmarkId::from_parameter(side), &frame, |b, frame| {
            b.iter(|| repair_hot_pixels(frame.view(), bad.view(), 10.0, None).unwrap());
        });
    }
    group.finish();
}

fn straightening(criterion: &mut Criterion) {
    let linear = Linear { dx: 0.3, dy: -0.2, a: 1.0, b: 1.0e-5, c: -1.0e-5, d: 1.0 };
    let mut group = criterion.benchmark_group("straighten");
    for side in [512, 1024, 2048, 4096] {
        // As tilted as SPIRou's slit: a few pixels over the image.
        let dxmap = Array2::from_shape_fn((side, side), |(y, x)| 3.0 * ((y + x) as f32 / side as f32).sin());
        let dymap = dxmap.mapv(|v| -2.0 * v);
        group.throughput(pixels(side));
        for (name, frame) in [("whole", image(side, side, 1)), ("with NaN", gapped(image(side, side, 1)))] {
            group.bench_with_input(BenchmarkId::new(name, side), &frame, |b, frame| {
                b.iter(|| straighten(frame.view(), linear, dxmap.view(), dymap.view()).unwrap());
            });
        }
    }
    group.finish();
}

fn extraction(criterion: &mut Criterion) {
    // SPIRou's AB: 33 rows of each order.
    let (spacing, rows) = (60, 33);
    let bump = |y: usize| (-0.5 * (((y % spacing) as f32 - 30.0) / 6.0).powi(2)).exp() + 1.0e-3;
    let profile = Array2::from_shape_fn((49 * spacing, COLUMNS), |(y, _)| bump(y));
    let frame = image(49 * spacing, COLUMNS, 1) * &profile;
    let how = Extraction { threshold: Some(10.0), readnoise: 10.0, photon_variance: 1.0 };
    let none = Array2::zeros(frame.dim());
    let linear = Linear { dx: 0.3, dy: 0.2, a: 1.0, b: 1e-4, c: 1e-5, d: 1.0 };
    let mapping = Mapping { linear, dxmap: none.view(), dymap: none.view() };
    let mut group = criterion.benchmark_group("extract");
    for orders in [10, 25, 49] {
        let first = |order: usize| (order * spacing + 14) as isize;
        let windows: Vec<Window> = (0..orders).map(|k| Window { first: first(k), count: rows }).collect();
        group.throughput(Throughput::Elements((orders * COLUMNS) as u64));
        let input = (frame.view(), profile.view());
        group.bench_with_input(BenchmarkId::new("optimal", orders), &windows, |b, windows| {
            b.iter(|| extract_orders(input.0, input.1, windows, how, mapping).unwrap());
        });
        group.bench_with_input(BenchmarkId::new("horne", orders), &windows, |b, windows| {
            b.iter(|| extract_orders_horne(input.0, input.1, windows, how, mapping).unwrap());
        });
        group.bench_with_input(BenchmarkId::new("direct", orders), &windows, |b, windows| {
            b.iter(|| extract_direct(input.0, input.1, windows, how, mapping).unwrap());
        });
    }
    group.finish();
}

fn bootstrapping(criterion: &mut Criterion) {
    let frames: Vec<Array2<f32>> = (0..10).map(|seed| image(SIDE, SIDE, seed)).collect();
    let views: Vec<ArrayView2<'_, f32>> = frames.iter().map(|frame| frame.view()).collect();
    let flat = gapped(frames[0].clone());
    let dymap = Array2::from_shape_fn((SIDE, SIDE), |(_, x)| 0.05 * (x as f32 - 512.0));
    let everywhere = Array2::ones((SIDE, SIDE));
    let rule = UnlitRule { box_size: 128, percent: 5.0, window: 7, least: 3 };
    let mut group = criterion.benchmark_group("bootstrap");
    group.throughput(pixels(SIDE));
    group.bench_function("row medians/5", |b| b.iter(|| row_medians(flat.view(), 5).unwrap()));
    group.bench_function("curve medians/5", |b| {
        b.iter(|| curve_medians(flat.view(), dymap.view(), everywhere.view(), 5).unwrap());
    });
    group.bench_function("unlit", |b| b.iter(|| unlit_mask(flat.view(), rule, None).unwrap()));
    group.bench_function("unlit along the curve", |b| {
        b.iter(|| unlit_mask(flat.view(), rule, Some(dymap.view())).unwrap());
    });
    group.bench_function("distance/10 frames", |b| {
        b.iter(|| median_distance(views.as_slice(), &[1.0; 10], flat.view()).unwrap());
    });
    group.finish();
}

fn spectra(criterion: &mut Criterion) {
    let row: Vec<f64> = image(1, COLUMNS, 1).iter().map(|&v| f64::from(v)).collect();
    let mut group = criterion.benchmark_group("spectrum");
    group.throughput(Throughput::Elements(COLUMNS as u64));
    for width in [25, 50, 100] {
        group.bench_with_input(BenchmarkId::new("running median", width), &row, |b, row| {
            b.iter(|| running_nan_median(black_box(row), width).unwrap());
        });
    }
    group.bench_function("slow part/501", |b| b.iter(|| slow_part(black_box(&row), 501).unwrap()));
    group.finish();
}

fn files(criterion: &mut Criterion) {
    let path = std::env::temp_dir().join(format!("flatcore-bench-{}.fits", std::process::id()));
    let singles = image(SIDE, SIDE, 1);
    let doubles = singles.mapv(f64::from);
    let (singles, doubles) = (singles.as_slice().unwrap(), doubles.as_slice().unwrap());
    let header = [b' '; 2880];
    let mut group = criterion.benchmark_group("FITS");
    for (name, bytes, values) in [("singles", 4, Values::Singles(singles)), ("doubles", 8, Values::Doubles(doubles))] {
        group.throughput(Throughput::Bytes((bytes * SIDE * SIDE) as u64));
        group.bench_function(BenchmarkId::new("sum", name), |b| b.iter(|| black_box(values).sum()));
        group.bench_function(BenchmarkId::new("write", name), |b| {
            b.iter(|| write_fits(&path, &[Hdu { header: &header, values }]).unwrap());
        });
    }
    group.finish();
    std::fs::remove_file(&path).unwrap();
}

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    frames_in_memory(&mut criterion);
    frames_in_files(&mut criterion);
    calibration(&mut criterion);
    background(&mut criterion);
    hot_pixels(&mut criterion);
    straightening(&mut criterion);
    extraction(&mut criterion);
    bootstrapping(&mut criterion);
    spectra(&mut criterion);
    files(&mut criterion);
    criterion.final_summary();
}
