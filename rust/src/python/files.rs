//! Reading, combining and writing files.

use super::arrays::{Image, Mask, filled};
use super::threads::compute;
use crate::combine::{Method, combine, combine_into};
use crate::error::KernelError;
use crate::fitsfile::{Hdu, Values, write_fits};
use crate::pixels::{PixelFile, PixelLayout};
use crate::spread::median_distance;
use ndarray::ArrayView2;
use numpy::{IntoPyArray, PyReadonlyArray2, PyReadonlyArrayDyn};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use std::path::PathBuf;

/// Path, offset, shape, BITPIX, BSCALE, BZERO, BLANK.
type Source = (PathBuf, u64, (usize, usize), i32, f64, f64, Option<i64>);

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

#[pyfunction]
fn read_pixels<'py>(py: Python<'py>, source: Source) -> PyResult<Image<'py>> {
    let file = compute(py, || opened(source))?;
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
    let files = compute(py, || sources.into_iter().map(opened).collect::<Result<Vec<_>, _>>())?;
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

/// Add these functions to the module.
pub(super) fn add(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(read_pixels, module)?)?;
    module.add_function(wrap_pyfunction!(read_rows, module)?)?;
    module.add_function(wrap_pyfunction!(py_write_fits, module)?)?;
    module.add_function(wrap_pyfunction!(read_mask, module)?)?;
    module.add_function(wrap_pyfunction!(combine_files, module)?)?;
    module.add_function(wrap_pyfunction!(combine_frames, module)?)?;
    module.add_function(wrap_pyfunction!(py_median_distance, module)?)?;
    Ok(())
}
