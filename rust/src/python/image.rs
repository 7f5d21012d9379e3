//! From the raw image to the straight one.

use super::arrays::{Image, Mask, Spectrum, filled, zeros};
use super::threads::compute;
use crate::along::{curve_medians, row_medians};
use crate::background::{background_map, global_background, subtract_background, subtract_background_in_place};
use crate::calibrate::{Bounds, Flip, ToElectrons, apply_bounds, pixels_above, to_electrons_into};
use crate::hotpixels::{repair_hot_pixels, repair_hot_pixels_in_place};
use crate::readnoise::effective_readnoise;
use crate::scattered::{Scatter, ScatterKernel, scattered_light};
use crate::straighten::{Linear, straighten_into};
use crate::unlit::{UnlitRule, unlit_mask};
use numpy::{IntoPyArray, PyArray2, PyArrayMethods, PyReadonlyArray2, PyReadwriteArray2};
use pyo3::prelude::*;

pub(super) fn linear([dx, dy, a, b, c, d]: [f64; 6]) -> Linear {
    Linear { dx, dy, a, b, c, d }
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
    filled(py, steps.shape(image.dim())?, |out| to_electrons_into(image, &steps, out))
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
) -> PyResult<Image<'py>> {
    let cells = cells.as_array().to_owned();
    Ok(compute(py, || background_map(&cells, (rows, columns)))?.into_pyarray(py))
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
    let scratch = zeros(py, image.dim())?;
    let mut scratch = scratch.try_readwrite()?;
    let scratch = scratch.as_array_mut();
    filled(py, image.dim(), |out| straighten_into(image, self::linear(linear), dxmap, dymap, out, scratch))
}

/// Add these functions to the module.
pub(super) fn add(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(py_row_medians, module)?)?;
    module.add_function(wrap_pyfunction!(py_curve_medians, module)?)?;
    module.add_function(wrap_pyfunction!(py_unlit_mask, module)?)?;
    module.add_function(wrap_pyfunction!(py_to_electrons, module)?)?;
    module.add_function(wrap_pyfunction!(py_apply_bounds, module)?)?;
    module.add_function(wrap_pyfunction!(py_scattered_light, module)?)?;
    module.add_function(wrap_pyfunction!(py_global_background, module)?)?;
    module.add_function(wrap_pyfunction!(py_background_map, module)?)?;
    module.add_function(wrap_pyfunction!(py_subtract_background, module)?)?;
    module.add_function(wrap_pyfunction!(py_subtract_background_in_place, module)?)?;
    module.add_function(wrap_pyfunction!(py_repair_hot_pixels, module)?)?;
    module.add_function(wrap_pyfunction!(py_repair_hot_pixels_in_place, module)?)?;
    module.add_function(wrap_pyfunction!(py_pixels_above, module)?)?;
    module.add_function(wrap_pyfunction!(py_effective_readnoise, module)?)?;
    module.add_function(wrap_pyfunction!(py_straighten, module)?)?;
    Ok(())
}
