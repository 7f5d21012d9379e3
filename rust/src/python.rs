//! The Python face: borrow arrays, release the GIL, call a kernel, map the error.

use crate::along::{curve_medians, row_medians};
use crate::background::{background_map, global_background, subtract_background, subtract_background_in_place};
use crate::calibrate::{Bounds, Flip, ToElectrons, apply_bounds, pixels_above, to_electrons_into};
use crate::combine::{Method, combine, combine_into};
use crate::direct::extract_direct;
use crate::error::KernelError;
use crate::extract::extract_orders_into;
use crate::fitsfile::{Hdu, Values, write_fits};
use crate::horne::extract_orders_horne_into;
use crate::hotpixels::{repair_hot_pixels, repair_hot_pixels_in_place};
use crate::mapping::Mapping;
use crate::orders::{Extraction, Room, Spectra, Window, rows_of};
use crate::pixels::{PixelFile, PixelLayout};
use crate::profiles::{coarse_shifts, fit_profiles, mean_profiles};
use crate::readnoise::effective_readnoise;
use crate::robust::{box_medians, robust_sigma, slow_part};
use crate::scattered::{Scatter, ScatterKernel, scattered_light};
use crate::sinc2::{Fit, Parameters, sinc2, sinc2_jacobian};
use crate::spread::median_distance;
use crate::straighten::{Linear, straighten_into};
use crate::tracing::{column_blocks, straight_profiles};
use crate::trust_region::Limits;
use crate::unlit::{UnlitRule, unlit_mask};
use crate::windows::window_planes;
use ndarray::{ArrayView2, ArrayViewMut2};
use numpy::{
    IntoPyArray, PyArray1, PyArray2, PyArray3, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2, PyReadonlyArray3,
    PyReadonlyArrayDyn, PyReadwriteArray2,
};
use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::path::PathBuf;
use std::sync::{Arc, RwLock};

static POOL: RwLock<Option<Arc<ThreadPool>>> = RwLock::new(None);

/// Path, offset, shape, BITPIX, BSCALE, BZERO, BLANK.
type Source = (PathBuf, u64, (usize, usize), i32, f64, f64, Option<i64>);
type Image<'py> = Bound<'py, PyArray2<f32>>;
type Vector<'py> = Bound<'py, PyArray1<f64>>;
type Spectrum<'py> = Bound<'py, PyArray2<f64>>;
type Cube<'py> = Bound<'py, PyArray3<f64>>;
type Mask<'py> = Bound<'py, PyArray2<u8>>;
type Marks<'py> = Bound<'py, PyArray2<bool>>;
type SpectraArrays<'py> = (Spectrum<'py>, Spectrum<'py>, Image<'py>, Mask<'py>, Vec<usize>);

/// The values of an HDU: image or table, or none.
#[derive(FromPyObject)]
enum HduValues<'py> {
    Bytes(PyReadonlyArrayDyn<'py, u8>),
    Shorts(PyReadonlyArrayDyn<'py, i16>),
    Singles(PyReadonlyArrayDyn<'py, f32>),
    Doubles(PyReadonlyArrayDyn<'py, f64>),
}

impl HduValues<'_> {
    fn borrowed(&self) -> Option<Values<'_>> {
        match self {
            Self::Bytes(array) => array.as_array().to_slice().map(Values::Bytes),
            Self::Shorts(array) => array.as_array().to_slice().map(Values::Shorts),
            Self::Singles(array) => array.as_array().to_slice().map(Values::Singles),
            Self::Doubles(array) => array.as_array().to_slice().map(Values::Doubles),
        }
    }
}

impl From<KernelError> for PyErr {
    fn from(error: KernelError) -> Self {
        let text = error.to_string();
        match error {
            KernelError::Io { .. } | KernelError::Truncated { .. } => PyOSError::new_err(text),
            _ => PyValueError::new_err(text),
        }
    }
}

/// Run a kernel without the GIL, on the chosen threads.
fn compute<T: Send>(py: Python<'_>, kernel: impl FnOnce() -> T + Send) -> T {
    py.detach(|| {
        let pool = POOL.read().ok().and_then(|pool| pool.clone());
        match pool {
            Some(pool) => pool.install(kernel),
            None => kernel(),
        }
    })
}

/// Run a short kernel of one thread without the GIL, and where it is called: to hand it to another thread takes 30 us.
fn alone<T: Send>(py: Python<'_>, kernel: impl FnOnce() -> T + Send) -> T {
    py.detach(kernel)
}

#[pyfunction]
fn set_threads(count: usize) -> PyResult<()> {
    let pool = ThreadPoolBuilder::new().num_threads(count).build();
    let pool = pool.map_err(|error| PyRuntimeError::new_err(error.to_string()))?;
    if let Ok(mut current) = POOL.write() {
        *current = Some(Arc::new(pool));
    }
    Ok(())
}

#[pyfunction]
fn threads(py: Python<'_>) -> usize {
    compute(py, rayon::current_num_threads)
}

fn opened(source: Source) -> crate::error::Result<PixelFile> {
    let (path, offset, shape, bitpix, bscale, bzero, blank) = source;
    PixelFile::open(&path, PixelLayout { offset, shape, bitpix, bscale, bzero, blank })
}

fn method(name: &str, sigma: f64, electrons: f64, readnoise: f64) -> PyResult<Method> {
    match name {
        "median" => Ok(Method::Median),
        "mean" => Ok(Method::Mean),
        "clipped" => Ok(Method::ClippedMean { sigma, electrons, readnoise }),
        other => Err(PyValueError::new_err(format!("method = {other:?}: must be median, mean or clipped"))),
    }
}

fn linear([dx, dy, a, b, c, d]: [f64; 6]) -> Linear {
    Linear { dx, dy, a, b, c, d }
}

#[pyfunction]
fn read_pixels<'py>(py: Python<'py>, source: Source) -> PyResult<Image<'py>> {
    let file = opened(source)?;
    filled(py, file.shape(), |out| file.image_into(out))
}

#[pyfunction]
fn read_rows<'py>(py: Python<'py>, source: Source, rows: Vec<usize>) -> PyResult<Image<'py>> {
    Ok(compute(py, || opened(source)?.sample(&rows))?.into_pyarray(py))
}

// The system's waits are not for the threads of the kernels: the calling thread writes.
#[pyfunction(name = "write_fits")]
fn py_write_fits(py: Python<'_>, path: PathBuf, hdus: Vec<(Vec<u8>, HduValues<'_>)>) -> PyResult<String> {
    let hdus = hdus.iter().map(|(header, values)| Some(Hdu { header, values: values.borrowed()? }));
    let hdus: Vec<_> = hdus.collect::<Option<_>>().ok_or(KernelError::Layout("values"))?;
    Ok(py.detach(|| write_fits(&path, &hdus))?)
}

#[pyfunction]
fn read_mask<'py>(py: Python<'py>, source: Source) -> PyResult<Mask<'py>> {
    Ok(compute(py, || opened(source)?.mask())?.into_pyarray(py))
}

#[pyfunction]
fn combine_files<'py>(
    py: Python<'py>,
    sources: Vec<Source>,
    method: &str,
    clip_sigma: f64,
    electrons: f64,
    readnoise: f64,
) -> PyResult<Image<'py>> {
    let method = self::method(method, clip_sigma, electrons, readnoise)?;
    let files = sources.into_iter().map(opened).collect::<Result<Vec<_>, _>>()?;
    let shape = files.first().map_or((0, 0), PixelFile::shape);
    filled(py, shape, |out| combine_into(files.as_slice(), method, out))
}

#[pyfunction]
fn combine_frames<'py>(
    py: Python<'py>,
    frames: Vec<PyReadonlyArray2<'py, f32>>,
    method: &str,
    clip_sigma: f64,
    electrons: f64,
    readnoise: f64,
) -> PyResult<Image<'py>> {
    let method = self::method(method, clip_sigma, electrons, readnoise)?;
    let views: Vec<ArrayView2<'_, f32>> = frames.iter().map(|f| f.as_array()).collect();
    Ok(compute(py, || combine(views.as_slice(), method))?.into_pyarray(py))
}

#[pyfunction(name = "median_distance")]
fn py_median_distance<'py>(
    py: Python<'py>,
    sources: Vec<Source>,
    factors: Vec<f64>,
    centre: PyReadonlyArray2<'py, f32>,
) -> PyResult<Image<'py>> {
    let centre = centre.as_array();
    let distances = compute(py, || {
        let files = sources.into_iter().map(opened).collect::<Result<Vec<_>, _>>()?;
        median_distance(files.as_slice(), &factors, centre)
    })?;
    Ok(distances.into_pyarray(py))
}

#[pyfunction(name = "row_medians")]
fn py_row_medians<'py>(py: Python<'py>, image: PyReadonlyArray2<'py, f32>, half: usize) -> PyResult<Image<'py>> {
    let image = image.as_array();
    Ok(compute(py, || row_medians(image, half))?.into_pyarray(py))
}

#[pyfunction(name = "curve_medians")]
fn py_curve_medians<'py>(
    py: Python<'py>,
    image: PyReadonlyArray2<'py, f32>,
    dymap: PyReadonlyArray2<'py, f32>,
    wanted: PyReadonlyArray2<'py, u8>,
    half: usize,
) -> PyResult<Image<'py>> {
    let (image, dymap, wanted) = (image.as_array(), dymap.as_array(), wanted.as_array());
    Ok(compute(py, || curve_medians(image, dymap, wanted, half))?.into_pyarray(py))
}

#[pyfunction(name = "unlit_mask")]
#[allow(clippy::too_many_arguments)]
fn py_unlit_mask<'py>(
    py: Python<'py>,
    image: PyReadonlyArray2<'py, f32>,
    box_size: usize,
    percent: f64,
    window: usize,
    least: usize,
    dymap: Option<PyReadonlyArray2<'py, f32>>,
) -> PyResult<Mask<'py>> {
    let (image, rule) = (image.as_array(), UnlitRule { box_size, percent, window, least });
    let dymap = dymap.as_ref().map(|map| map.as_array());
    Ok(compute(py, || unlit_mask(image, rule, dymap))?.into_pyarray(py))
}

#[pyfunction(name = "to_electrons")]
#[allow(clippy::too_many_arguments)]
fn py_to_electrons<'py>(
    py: Python<'py>,
    image: PyReadonlyArray2<'py, f32>,
    bounds: Option<(f64, f64)>,
    dark: Option<PyReadonlyArray2<'py, f32>>,
    flip_y: bool,
    flip_x: bool,
    factor: f64,
    rows: (usize, usize),
    columns: (usize, usize),
    bad: Option<PyReadonlyArray2<'py, u8>>,
) -> PyResult<Image<'py>> {
    let steps = ToElectrons {
        bounds: bounds.map(Bounds::from),
        dark: dark.as_ref().map(|d| d.as_array()),
        flip: Flip { y: flip_y, x: flip_x },
        factor,
        rows: rows.0..rows.1,
        columns: columns.0..columns.1,
        bad: bad.as_ref().map(|b| b.as_array()),
    };
    let image = image.as_array();
    filled(py, (rows.1.saturating_sub(rows.0), columns.1.saturating_sub(columns.0)), |out| {
        to_electrons_into(image, &steps, out)
    })
}

#[pyfunction(name = "apply_bounds")]
fn py_apply_bounds<'py>(py: Python<'py>, image: PyReadonlyArray2<'py, f32>, low: f64, high: f64) -> Image<'py> {
    let image = image.as_array();
    compute(py, || apply_bounds(image, Bounds { low, high })).into_pyarray(py)
}

#[pyfunction(name = "scattered_light")]
fn py_scattered_light<'py>(
    py: Python<'py>,
    image: PyReadonlyArray2<'py, f32>,
    amplitude: f64,
    kernel_y: f64,
    kernel_x: f64,
    kernel_sigma: f64,
) -> PyResult<Image<'py>> {
    let (image, kernel) = (image.as_array(), ScatterKernel { y: kernel_y, x: kernel_x, sigma: kernel_sigma });
    Ok(compute(py, || scattered_light(image, amplitude, kernel))?.into_pyarray(py))
}

#[pyfunction(name = "global_background")]
fn py_global_background<'py>(
    py: Python<'py>,
    image: PyReadonlyArray2<'py, f32>,
    unlit: PyReadonlyArray2<'py, u8>,
    box_size: usize,
    passes: usize,
) -> PyResult<(Image<'py>, Spectrum<'py>)> {
    let (image, unlit) = (image.as_array(), unlit.as_array());
    let found = compute(py, || global_background(image, unlit, box_size, passes))?;
    Ok((found.map.into_pyarray(py), found.cells.into_pyarray(py)))
}

#[pyfunction(name = "background_map")]
fn py_background_map<'py>(
    py: Python<'py>,
    cells: PyReadonlyArray2<'py, f64>,
    rows: usize,
    columns: usize,
) -> Image<'py> {
    let cells = cells.as_array().to_owned();
    compute(py, || background_map(&cells, (rows, columns))).into_pyarray(py)
}

/// Amplitude, kernel y, kernel x and kernel sigma.
type ScatterNumbers = (f64, f64, f64, f64);

fn scatter((amplitude, y, x, sigma): ScatterNumbers) -> Scatter {
    Scatter { amplitude, kernel: ScatterKernel { y, x, sigma } }
}

#[pyfunction(name = "subtract_background")]
fn py_subtract_background<'py>(
    py: Python<'py>,
    image: PyReadonlyArray2<'py, f32>,
    unlit: PyReadonlyArray2<'py, u8>,
    scattered: Option<ScatterNumbers>,
    box_size: usize,
    passes: usize,
) -> PyResult<(Image<'py>, Spectrum<'py>)> {
    let (image, unlit) = (image.as_array(), unlit.as_array());
    let found = compute(py, || subtract_background(image, scattered.map(scatter), unlit, box_size, passes))?;
    Ok((found.map.into_pyarray(py), found.cells.into_pyarray(py)))
}

#[pyfunction(name = "subtract_background_in_place")]
fn py_subtract_background_in_place<'py>(
    py: Python<'py>,
    mut image: PyReadwriteArray2<'py, f32>,
    unlit: PyReadonlyArray2<'py, u8>,
    scattered: Option<ScatterNumbers>,
    box_size: usize,
    passes: usize,
) -> PyResult<Spectrum<'py>> {
    let (image, unlit) = (image.as_array_mut(), unlit.as_array());
    let found = compute(py, || subtract_background_in_place(image, scattered.map(scatter), unlit, box_size, passes))?;
    Ok(found.into_pyarray(py))
}

#[pyfunction(name = "repair_hot_pixels", signature = (image, bad, threshold, bounds=None))]
fn py_repair_hot_pixels<'py>(
    py: Python<'py>,
    image: PyReadonlyArray2<'py, f32>,
    bad: PyReadonlyArray2<'py, u8>,
    threshold: f64,
    bounds: Option<(f64, f64)>,
) -> PyResult<Image<'py>> {
    let (image, bad, bounds) = (image.as_array(), bad.as_array(), bounds.map(Bounds::from));
    Ok(compute(py, || repair_hot_pixels(image, bad, threshold, bounds))?.into_pyarray(py))
}

#[pyfunction(name = "repair_hot_pixels_in_place", signature = (image, bad, threshold, bounds=None))]
fn py_repair_hot_pixels_in_place<'py>(
    py: Python<'py>,
    mut image: PyReadwriteArray2<'py, f32>,
    bad: PyReadonlyArray2<'py, u8>,
    threshold: f64,
    bounds: Option<(f64, f64)>,
) -> PyResult<()> {
    let (image, bad, bounds) = (image.as_array_mut(), bad.as_array(), bounds.map(Bounds::from));
    Ok(compute(py, || repair_hot_pixels_in_place(image, bad, threshold, bounds))?)
}

#[pyfunction(name = "pixels_above")]
#[allow(clippy::too_many_arguments)]
fn py_pixels_above<'py>(
    py: Python<'py>,
    image: PyReadonlyArray2<'py, f32>,
    limit: f64,
    flip_y: bool,
    flip_x: bool,
    rows: (usize, usize),
    columns: (usize, usize),
) -> PyResult<Bound<'py, PyArray2<i64>>> {
    let (image, flip) = (image.as_array(), Flip { y: flip_y, x: flip_x });
    let found = compute(py, || pixels_above(image, limit, flip, rows.0..rows.1, columns.0..columns.1))?;
    Ok(found.into_pyarray(py))
}

#[pyfunction(name = "effective_readnoise")]
fn py_effective_readnoise<'py>(
    py: Python<'py>,
    image: PyReadonlyArray2<'py, f32>,
    unlit: PyReadonlyArray2<'py, u8>,
) -> PyResult<f64> {
    let (image, unlit) = (image.as_array(), unlit.as_array());
    crate::error::same_shape("unlit", &unlit, image.dim())?;
    let (pixels, unlit) = (crate::error::contiguous("image", &image)?, crate::error::contiguous("unlit", &unlit)?);
    Ok(compute(py, || effective_readnoise(pixels, unlit)))
}

#[pyfunction(name = "straighten")]
fn py_straighten<'py>(
    py: Python<'py>,
    image: PyReadonlyArray2<'py, f32>,
    linear: [f64; 6],
    dxmap: PyReadonlyArray2<'py, f32>,
    dymap: PyReadonlyArray2<'py, f32>,
) -> PyResult<Image<'py>> {
    let (image, dxmap, dymap) = (image.as_array(), dxmap.as_array(), dymap.as_array());
    let scratch = PyArray2::zeros(py, image.dim(), false);
    let mut scratch = scratch.try_readwrite()?;
    let scratch = scratch.as_array_mut();
    filled(py, image.dim(), |out| straighten_into(image, self::linear(linear), dxmap, dymap, out, scratch))
}

#[pyfunction(name = "extract_orders")]
#[allow(clippy::too_many_arguments)]
fn py_extract_orders<'py>(
    py: Python<'py>,
    image: PyReadonlyArray2<'py, f32>,
    profile: PyReadonlyArray2<'py, f32>,
    windows: Vec<(isize, usize)>,
    threshold: Option<f64>,
    inverse_variance: bool,
    noise: (f64, f64),
    linear: [f64; 6],
    dxmap: PyReadonlyArray2<'py, f32>,
    dymap: PyReadonlyArray2<'py, f32>,
) -> PyResult<SpectraArrays<'py>> {
    let (windows, how) = (self::windows(windows), extraction(threshold, noise));
    let mapping = Mapping { linear: self::linear(linear), dxmap: dxmap.as_array(), dymap: dymap.as_array() };
    let (image, profile) = (image.as_array(), profile.as_array());
    let kernel = if inverse_variance { extract_orders_horne_into } else { extract_orders_into };
    let columns = image.ncols();
    filled_spectra(py, &windows, columns, |room| kernel(image, profile, &windows, how, mapping, room))
}

#[pyfunction(name = "extract_direct")]
#[allow(clippy::too_many_arguments)]
fn py_extract_direct<'py>(
    py: Python<'py>,
    image: PyReadonlyArray2<'py, f32>,
    profile: PyReadonlyArray2<'py, f32>,
    windows: Vec<(isize, usize)>,
    threshold: Option<f64>,
    noise: (f64, f64),
    linear: [f64; 6],
    dxmap: PyReadonlyArray2<'py, f32>,
    dymap: PyReadonlyArray2<'py, f32>,
) -> PyResult<(SpectraArrays<'py>, Marks<'py>)> {
    let (windows, how) = (self::windows(windows), extraction(threshold, noise));
    let mapping = Mapping { linear: self::linear(linear), dxmap: dxmap.as_array(), dymap: dymap.as_array() };
    let (image, profile) = (image.as_array(), profile.as_array());
    let found = compute(py, || extract_direct(image, profile, &windows, how, mapping))?;
    Ok((spectra_arrays(py, found.spectra), found.bad.into_pyarray(py)))
}

fn windows(windows: Vec<(isize, usize)>) -> Vec<Window> {
    windows.into_iter().map(|(first, count)| Window { first, count }).collect()
}

fn extraction(threshold: Option<f64>, (readnoise, photon_variance): (f64, f64)) -> Extraction {
    Extraction { threshold, readnoise, photon_variance }
}

/// An image that a kernel fills, in NumPy's memory: it comes in large pages, and costs a quarter of Rust's to touch.
fn filled<'py>(
    py: Python<'py>,
    shape: (usize, usize),
    kernel: impl FnOnce(ArrayViewMut2<'_, f32>) -> crate::error::Result<()> + Send,
) -> PyResult<Image<'py>> {
    let image = PyArray2::zeros(py, shape, false);
    let mut room = image.try_readwrite()?;
    let room = room.as_array_mut();
    compute(py, || kernel(room))?;
    Ok(image)
}

/// Spectra that a kernel fills, as [`filled`].
fn filled_spectra<'py>(
    py: Python<'py>,
    windows: &[Window],
    columns: usize,
    kernel: impl FnOnce(Room<'_>) -> crate::error::Result<Vec<usize>> + Send,
) -> PyResult<SpectraArrays<'py>> {
    let (flat, stack) = ((windows.len(), columns), (rows_of(windows), columns));
    let (e2ds, variance) = (PyArray2::zeros(py, flat, false), PyArray2::zeros(py, flat, false));
    let (e2dsll, e2dscc) = (PyArray2::zeros(py, stack, false), PyArray2::zeros(py, stack, false));
    let (mut flux, mut errors) = (e2ds.try_readwrite()?, variance.try_readwrite()?);
    let (mut shares, mut kept) = (e2dsll.try_readwrite()?, e2dscc.try_readwrite()?);
    let room = Room {
        e2ds: flux.as_array_mut(),
        variance: errors.as_array_mut(),
        e2dsll: shares.as_array_mut(),
        e2dscc: kept.as_array_mut(),
    };
    let rejected = compute(py, || kernel(room))?;
    Ok((e2ds, variance, e2dsll, e2dscc, rejected))
}

fn spectra_arrays(py: Python<'_>, found: Spectra) -> SpectraArrays<'_> {
    (
        found.e2ds.into_pyarray(py),
        found.variance.into_pyarray(py),
        found.e2dsll.into_pyarray(py),
        found.e2dscc.into_pyarray(py),
        found.rejected,
    )
}

#[pyfunction(name = "window_planes")]
fn py_window_planes<'py>(
    py: Python<'py>,
    image: PyReadonlyArray2<'py, f32>,
    profile: PyReadonlyArray2<'py, f32>,
    windows: Vec<(isize, usize)>,
    linear: [f64; 6],
    dxmap: PyReadonlyArray2<'py, f32>,
    dymap: PyReadonlyArray2<'py, f32>,
) -> PyResult<(Marks<'py>, Marks<'py>, Spectrum<'py>)> {
    let windows = self::windows(windows);
    let mapping = Mapping { linear: self::linear(linear), dxmap: dxmap.as_array(), dymap: dymap.as_array() };
    let (image, profile) = (image.as_array(), profile.as_array());
    let found = compute(py, || window_planes(image, profile, &windows, mapping))?;
    Ok((found.bad.into_pyarray(py), found.off_detector.into_pyarray(py), found.coverage.into_pyarray(py)))
}

#[pyfunction(name = "column_blocks")]
fn py_column_blocks<'py>(
    py: Python<'py>,
    image: PyReadonlyArray2<'py, f32>,
    width: usize,
) -> PyResult<(Image<'py>, Image<'py>)> {
    let image = image.as_array();
    let found = compute(py, || column_blocks(image, width))?;
    Ok((found.medians.into_pyarray(py), found.noise.into_pyarray(py)))
}

#[pyfunction(name = "straight_profiles")]
fn py_straight_profiles<'py>(
    py: Python<'py>,
    image: PyReadonlyArray2<'py, f32>,
    traces: PyReadonlyArray2<'py, f64>,
    half: usize,
    width: usize,
) -> PyResult<Bound<'py, PyArray3<f32>>> {
    let (image, traces) = (image.as_array(), traces.as_array());
    Ok(compute(py, || straight_profiles(image, traces, half, width))?.into_pyarray(py))
}

#[pyfunction(name = "mean_profiles")]
fn py_mean_profiles<'py>(
    py: Python<'py>,
    profiles: PyReadonlyArray3<'py, f32>,
    reach: PyReadonlyArray2<'py, i64>,
    sloped: Vec<bool>,
) -> PyResult<Spectrum<'py>> {
    let (profiles, reach) = (profiles.as_array(), reach.as_array());
    Ok(compute(py, || mean_profiles(profiles, reach, &sloped))?.into_pyarray(py))
}

#[pyfunction(name = "coarse_shifts")]
fn py_coarse_shifts<'py>(
    py: Python<'py>,
    profiles: PyReadonlyArray3<'py, f32>,
    means: PyReadonlyArray2<'py, f64>,
    reach: PyReadonlyArray2<'py, i64>,
    most: Vec<usize>,
) -> PyResult<Cube<'py>> {
    let (profiles, means, reach) = (profiles.as_array(), means.as_array(), reach.as_array());
    Ok(compute(py, || coarse_shifts(profiles, means, reach, &most))?.into_pyarray(py))
}

#[pyfunction(name = "fit_profiles")]
fn py_fit_profiles<'py>(
    py: Python<'py>,
    profiles: PyReadonlyArray3<'py, f32>,
    means: PyReadonlyArray2<'py, f64>,
    reach: PyReadonlyArray2<'py, i64>,
    sloped: Vec<bool>,
    noise: (f64, f64, f64),
    share: f64,
) -> PyResult<Cube<'py>> {
    let (profiles, means, reach) = (profiles.as_array(), means.as_array(), reach.as_array());
    Ok(compute(py, || fit_profiles(profiles, means, reach, &sloped, noise, share))?.into_pyarray(py))
}

#[pyfunction(name = "running_nan_median")]
fn py_running_nan_median<'py>(py: Python<'py>, row: PyReadonlyArray1<'py, f64>, width: usize) -> PyResult<Vector<'py>> {
    let row = row.as_array().to_vec();
    Ok(alone(py, || crate::median::running_nan_median(&row, width))?.into_pyarray(py))
}

#[pyfunction(name = "robust_sigma")]
fn py_robust_sigma(py: Python<'_>, values: PyReadonlyArray1<'_, f64>) -> f64 {
    let mut values = values.as_array().to_vec();
    alone(py, || robust_sigma(&mut values))
}

#[pyfunction(name = "box_medians")]
fn py_box_medians<'py>(py: Python<'py>, values: PyReadonlyArray1<'py, f64>, boxes: usize) -> PyResult<Vector<'py>> {
    Ok(box_medians(&values.as_array().to_vec(), boxes)?.into_pyarray(py))
}

#[pyfunction(name = "slow_part")]
fn py_slow_part<'py>(py: Python<'py>, flat: PyReadonlyArray1<'py, f64>, width: usize) -> PyResult<Vector<'py>> {
    let flat = flat.as_array().to_vec();
    Ok(alone(py, || slow_part(&flat, width))?.into_pyarray(py))
}

// A fit calls these three some twenty times for a fraction of a millisecond each: they stay on the caller's thread.

#[pyfunction(name = "sinc2")]
fn py_sinc2<'py>(
    py: Python<'py>,
    x: PyReadonlyArray1<'py, f64>,
    parameters: Parameters,
) -> PyResult<(Vector<'py>, Vector<'py>)> {
    let x = x.as_slice()?;
    let (blaze, plain) = py.detach(|| sinc2(x, &parameters));
    Ok((blaze.into_pyarray(py), plain.into_pyarray(py)))
}

#[pyfunction(name = "sinc2_jacobian")]
fn py_sinc2_jacobian<'py>(
    py: Python<'py>,
    x: PyReadonlyArray1<'py, f64>,
    parameters: Parameters,
) -> PyResult<Vector<'py>> {
    let x = x.as_slice()?;
    Ok(py.detach(|| sinc2_jacobian(x, &parameters)).into_pyarray(py))
}

#[pyfunction(name = "sinc2_triangle")]
fn py_sinc2_triangle<'py>(
    py: Python<'py>,
    x: PyReadonlyArray1<'py, f64>,
    flux: PyReadonlyArray1<'py, f64>,
    parameters: Parameters,
    scale: Parameters,
    unit: f64,
) -> PyResult<Vector<'py>> {
    let fit = Fit { x: x.as_slice()?, flux: flux.as_slice()?, scale, unit };
    Ok(py.detach(|| fit.triangle(&parameters))?.into_pyarray(py))
}

/// Columns, flux, parameters per value of the solver, unit of the residuals; start, least and greatest values.
type Sinc2Fit<'py> = (PyReadonlyArray1<'py, f64>, PyReadonlyArray1<'py, f64>, Parameters, f64);

#[pyfunction]
fn sinc2_fit(
    py: Python<'_>,
    problem: Sinc2Fit<'_>,
    start: Parameters,
    limits: (Parameters, Parameters),
    tolerance: f64,
    most: usize,
    columns_per_bin: usize,
) -> PyResult<(Parameters, usize, bool)> {
    let fit = Fit { x: problem.0.as_slice()?, flux: problem.1.as_slice()?, scale: problem.2, unit: problem.3 };
    let limits = Limits { low: limits.0, high: limits.1 };
    let found = py.detach(|| fit.solve(&start, &limits, tolerance, most, columns_per_bin))?;
    Ok((found.values, found.evaluations, found.converged))
}

#[pyfunction(name = "set_wide")]
fn py_set_wide(wide: bool) {
    crate::simd::set_wide(wide);
}

/// The extension module `flatcore._core`.
#[pymodule]
#[pyo3(name = "_core")]
fn core_module(module: &Bound<'_, PyModule>) -> PyResult<()> {
    // The first array looks up NumPy's interface, and an interrupt that strikes just then would be lost or worse: have
    // it done before anyone is there to interrupt.
    let py = module.py();
    py.import("numpy")?;
    PyArray1::<f64>::zeros(py, 0, false);
    module.add_function(wrap_pyfunction!(set_threads, module)?)?;
    module.add_function(wrap_pyfunction!(threads, module)?)?;
    module.add_function(wrap_pyfunction!(read_pixels, module)?)?;
    module.add_function(wrap_pyfunction!(py_write_fits, module)?)?;
    module.add_function(wrap_pyfunction!(read_mask, module)?)?;
    module.add_function(wrap_pyfunction!(read_rows, module)?)?;
    module.add_function(wrap_pyfunction!(combine_files, module)?)?;
    module.add_function(wrap_pyfunction!(combine_frames, module)?)?;
    module.add_function(wrap_pyfunction!(py_median_distance, module)?)?;
    module.add_function(wrap_pyfunction!(py_row_medians, module)?)?;
    module.add_function(wrap_pyfunction!(py_curve_medians, module)?)?;
    module.add_function(wrap_pyfunction!(py_unlit_mask, module)?)?;
    module.add_function(wrap_pyfunction!(py_to_electrons, module)?)?;
    module.add_function(wrap_pyfunction!(py_apply_bounds, module)?)?;
    module.add_function(wrap_pyfunction!(py_scattered_light, module)?)?;
    module.add_function(wrap_pyfunction!(py_global_background, module)?)?;
    module.add_function(wrap_pyfunction!(py_subtract_background, module)?)?;
    module.add_function(wrap_pyfunction!(py_background_map, module)?)?;
    module.add_function(wrap_pyfunction!(py_subtract_background_in_place, module)?)?;
    module.add_function(wrap_pyfunction!(py_repair_hot_pixels, module)?)?;
    module.add_function(wrap_pyfunction!(py_repair_hot_pixels_in_place, module)?)?;
    module.add_function(wrap_pyfunction!(py_pixels_above, module)?)?;
    module.add_function(wrap_pyfunction!(py_effective_readnoise, module)?)?;
    module.add_function(wrap_pyfunction!(py_straighten, module)?)?;
    module.add_function(wrap_pyfunction!(py_extract_orders, module)?)?;
    module.add_function(wrap_pyfunction!(py_extract_direct, module)?)?;
    module.add_function(wrap_pyfunction!(py_window_planes, module)?)?;
    module.add_function(wrap_pyfunction!(py_column_blocks, module)?)?;
    module.add_function(wrap_pyfunction!(py_straight_profiles, module)?)?;
    module.add_function(wrap_pyfunction!(py_mean_profiles, module)?)?;
    module.add_function(wrap_pyfunction!(py_coarse_shifts, module)?)?;
    module.add_function(wrap_pyfunction!(py_fit_profiles, module)?)?;
    module.add_function(wrap_pyfunction!(py_running_nan_median, module)?)?;
    module.add_function(wrap_pyfunction!(py_robust_sigma, module)?)?;
    module.add_function(wrap_pyfunction!(py_box_medians, module)?)?;
    module.add_function(wrap_pyfunction!(py_slow_part, module)?)?;
    module.add_function(wrap_pyfunction!(py_sinc2, module)?)?;
    module.add_function(wrap_pyfunction!(py_sinc2_jacobian, module)?)?;
    module.add_function(wrap_pyfunction!(py_sinc2_triangle, module)?)?;
    module.add_function(wrap_pyfunction!(sinc2_fit, module)?)?;
    module.add_function(wrap_pyfunction!(py_set_wide, module)?)?;
    Ok(())
}
