//! The Python face, the only part that knows PyO3: borrow arrays, release the GIL, call a kernel, map the error.

mod arrays;
mod blaze;
mod files;
mod image;
mod spectra;
mod threads;
mod tracing;

use numpy::PyArray1;
use pyo3::prelude::*;

/// The extension module `flatcore._core`.
#[pymodule]
#[pyo3(name = "_core")]
fn core_module(module: &Bound<'_, PyModule>) -> PyResult<()> {
    // The first array looks up NumPy's interface, and an interrupt that strikes just then would be lost or worse: have
    // it done before anyone is there to interrupt.
    let py = module.py();
    py.import("numpy")?;
    PyArray1::<f64>::zeros(py, 0, false);
    threads::add(module)?;
    files::add(module)?;
    image::add(module)?;
    spectra::add(module)?;
    tracing::add(module)?;
    blaze::add(module)
}
