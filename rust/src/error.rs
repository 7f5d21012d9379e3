//! The one error type of the kernels.

use ndarray::{ArrayView2, ArrayViewMut2};
use std::path::PathBuf;

/// What a kernel refuses, and why.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// Two arrays that must agree in shape do not.
    #[error("{name} has shape {found:?}, expected {expected:?}")]
    Shape {
        /// Name of the argument.
        name: &'static str,
        /// Shape it has.
        found: Vec<usize>,
        /// Shape it must have.
        expected: Vec<usize>,
    },
    /// An array is not contiguous in row-major order.
    #[error("{0} must be contiguous in row-major order")]
    Layout(&'static str),
    /// A number is outside its range.
    #[error("{name} = {value}: must be {expected}")]
    Parameter {
        /// Name of the argument.
        name: &'static str,
        /// Value it has.
        value: f64,
        /// Range in words.
        expected: &'static str,
    },
    /// A file cannot be opened, mapped or read.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file ends before its image does.
    #[error("{path}: truncated: the image ends at byte {needed}, the file at {found}")]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Byte at which the image ends.
        needed: u64,
        /// Length of the file in bytes.
        found: u64,
    },
}

/// Result of a kernel.
pub type Result<T> = std::result::Result<T, KernelError>;

/// The pixels of a row-major image as one slice.
pub(crate) fn contiguous<'a, T>(name: &'static str, view: &'a ArrayView2<'_, T>) -> Result<&'a [T]> {
    view.as_slice().ok_or(KernelError::Layout(name))
}

/// As [`contiguous`], to be written to.
pub(crate) fn contiguous_mut<'a, T>(name: &'static str, view: &'a mut ArrayViewMut2<'_, T>) -> Result<&'a mut [T]> {
    view.as_slice_mut().ok_or(KernelError::Layout(name))
}

/// Refuse an array whose shape is not `expected`.
pub(crate) fn same_shape<T>(name: &'static str, view: &ArrayView2<'_, T>, expected: (usize, usize)) -> Result<()> {
    if view.dim() == expected {
        return Ok(());
    }
    Err(KernelError::Shape { name, found: view.shape().to_vec(), expected: vec![expected.0, expected.1] })
}

/// Refuse a number outside its range.
pub(crate) fn require(holds: bool, name: &'static str, value: f64, expected: &'static str) -> Result<()> {
    if holds {
        return Ok(());
    }
    Err(KernelError::Parameter { name, value, expected })
}
