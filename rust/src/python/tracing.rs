//! Profiles across the orders, and where they lie.

use super::arrays::{Cube, Image, Spectrum};
use super::threads::compute;
use crate::profile_fit::fit_profiles;
use crate::profiles::{coarse_shifts, mean_profiles};
use crate::tracing::{column_blocks, straight_profiles};
use numpy::{IntoPyArray, PyArray3, PyReadonlyArray2, PyReadonlyArray3};
use pyo3::prelude::*;

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

/// Add these functions to the module.
pub(super) fn add(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(py_column_blocks, module)?)?;
    module.add_function(wrap_pyfunction!(py_straight_profiles, module)?)?;
    module.add_function(wrap_pyfunction!(py_mean_profiles, module)?)?;
    module.add_function(wrap_pyfunction!(py_coarse_shifts, module)?)?;
    module.add_function(wrap_pyfunction!(py_fit_profiles, module)?)?;
    Ok(())
}
