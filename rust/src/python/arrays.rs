//! Arrays that are given back, and errors as exceptions.

use super::threads::compute;
use crate::error::KernelError;
use ndarray::ArrayViewMut2;
use numpy::{Element, PyArray1, PyArray2, PyArray3, PyArrayMethods};
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;

pub(super) type Image<'py> = Bound<'py, PyArray2<f32>>;
pub(super) type Vector<'py> = Bound<'py, PyArray1<f64>>;
pub(super) type Spectrum<'py> = Bound<'py, PyArray2<f64>>;
pub(super) type Cube<'py> = Bound<'py, PyArray3<f64>>;
pub(super) type Mask<'py> = Bound<'py, PyArray2<u8>>;
pub(super) type Marks<'py> = Bound<'py, PyArray2<bool>>;

impl From<KernelError> for PyErr {
    fn from(error: KernelError) -> Self {
        let text = error.to_string();
        match error {
            KernelError::Io { .. } | KernelError::Truncated { .. } => PyOSError::new_err(text),
            _ => PyValueError::new_err(text),
        }
    }
}

/// New memory of NumPy's, as NumPy gives it: its own error where there is not so much.
pub(super) fn zeros<'py, T: Element>(py: Python<'py>, shape: (usize, usize)) -> PyResult<Bound<'py, PyArray2<T>>> {
    let made = py.import("numpy")?.call_method1("zeros", (shape, numpy::dtype::<T>(py)))?;
    Ok(made.cast_into()?)
}

/// An image that a kernel fills, in NumPy's memory: it comes in large pages, and costs a quarter of Rust's to touch.
pub(super) fn filled<'py>(
    py: Python<'py>,
    shape: (usize, usize),
    kernel: impl FnOnce(ArrayViewMut2<'_, f32>) -> crate::error::Result<()> + Send,
) -> PyResult<Image<'py>> {
    let image = zeros(py, shape)?;
    let mut room = image.try_readwrite()?;
    let room = room.as_array_mut();
    compute(py, || kernel(room))?;
    Ok(image)
}
