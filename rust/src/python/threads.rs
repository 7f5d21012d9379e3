//! The threads of the kernels, and how a kernel is called: without the GIL.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::sync::{Arc, RwLock};

static POOL: RwLock<Option<Arc<ThreadPool>>> = RwLock::new(None);

/// Run a kernel without the GIL, on the chosen threads.
pub(super) fn compute<T: Send>(py: Python<'_>, kernel: impl FnOnce() -> T + Send) -> T {
    py.detach(|| {
        let pool = POOL.read().ok().and_then(|pool| pool.clone());
        match pool {
            Some(pool) => pool.install(kernel),
            None => kernel(),
        }
    })
}

/// Run a short kernel of one thread without the GIL, and where it is called: to hand it to another thread takes 30 us.
pub(super) fn alone<T: Send>(py: Python<'_>, kernel: impl FnOnce() -> T + Send) -> T {
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

#[pyfunction(name = "set_wide")]
fn py_set_wide(wide: bool) {
    crate::simd::set_wide(wide);
}

/// Add these functions to the module.
pub(super) fn add(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(set_threads, module)?)?;
    module.add_function(wrap_pyfunction!(threads, module)?)?;
    module.add_function(wrap_pyfunction!(py_set_wide, module)?)?;
    Ok(())
}
