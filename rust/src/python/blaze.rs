//! The blaze, and what is done to one order at a time.

use super::arrays::Vector;
use super::threads::alone;
use crate::robust::{box_medians, robust_sigma, slow_part};
use crate::sinc2::{Fit, Parameters, sinc2, sinc2_jacobian};
use crate::trust_region::Limits;
use numpy::{IntoPyArray, PyReadonlyArray1};
use pyo3::prelude::*;

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

/// Add these functions to the module.
pub(super) fn add(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(py_running_nan_median, module)?)?;
    module.add_function(wrap_pyfunction!(py_robust_sigma, module)?)?;
    module.add_function(wrap_pyfunction!(py_box_medians, module)?)?;
    module.add_function(wrap_pyfunction!(py_slow_part, module)?)?;
    module.add_function(wrap_pyfunction!(py_sinc2, module)?)?;
    module.add_function(wrap_pyfunction!(py_sinc2_jacobian, module)?)?;
    module.add_function(wrap_pyfunction!(py_sinc2_triangle, module)?)?;
    module.add_function(wrap_pyfunction!(sinc2_fit, module)?)?;
    Ok(())
}
