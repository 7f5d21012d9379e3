//! Extraction.

use super::arrays::{Image, Marks, Mask, Spectrum, zeros};
use super::image::linear;
use super::threads::compute;
use crate::direct::extract_direct;
use crate::extract::extract_orders_into;
use crate::horne::extract_orders_horne_into;
use crate::mapping::Mapping;
use crate::orders::{Extraction, Room, Spectra, Window, rows_of};
use crate::windows::window_planes;
use numpy::{IntoPyArray, PyArrayMethods, PyReadonlyArray2};
use pyo3::prelude::*;

type SpectraArrays<'py> = (Spectrum<'py>, Spectrum<'py>, Image<'py>, Mask<'py>, Vec<usize>);

fn windows(windows: Vec<(isize, usize)>) -> Vec<Window> {
    windows.into_iter().map(|(first, count)| Window { first, count }).collect()
}

fn extraction(threshold: Option<f64>, (readnoise, photon_variance): (f64, f64)) -> Extraction {
    Extraction { threshold, readnoise, photon_variance }
}

fn mapping<'a>(
    linear: [f64; 6],
    dxmap: &'a PyReadonlyArray2<'_, f32>,
    dymap: &'a PyReadonlyArray2<'_, f32>,
) -> Mapping<'a> {
    Mapping { linear: self::linear(linear), dxmap: dxmap.as_array(), dymap: dymap.as_array() }
}

/// Spectra that a kernel fills, as [`filled`].
fn filled_spectra<'py>(
    py: Python<'py>,
    windows: &[Window],
    columns: usize,
    kernel: impl FnOnce(Room<'_>) -> crate::error::Result<Vec<usize>> + Send,
) -> PyResult<SpectraArrays<'py>> {
    let (flat, stack) = ((windows.len(), columns), (rows_of(windows), columns));
    let (e2ds, variance) = (zeros(py, flat)?, zeros(py, flat)?);
    let (e2dsll, e2dscc) = (zeros(py, stack)?, zeros(py, stack)?);
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
    let mapping = mapping(linear, &dxmap, &dymap);
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
    let mapping = mapping(linear, &dxmap, &dymap);
    let (image, profile) = (image.as_array(), profile.as_array());
    let found = compute(py, || extract_direct(image, profile, &windows, how, mapping))?;
    Ok((spectra_arrays(py, found.spectra), found.bad.into_pyarray(py)))
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
    let mapping = mapping(linear, &dxmap, &dymap);
    let (image, profile) = (image.as_array(), profile.as_array());
    let found = compute(py, || window_planes(image, profile, &windows, mapping))?;
    Ok((found.bad.into_pyarray(py), found.off_detector.into_pyarray(py), found.coverage.into_pyarray(py)))
}

/// Add these functions to the module.
pub(super) fn add(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(py_extract_orders, module)?)?;
    module.add_function(wrap_pyfunction!(py_extract_direct, module)?)?;
    module.add_function(wrap_pyfunction!(py_window_planes, module)?)?;
    Ok(())
}
