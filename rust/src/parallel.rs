//! Work on whole images by all threads.

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

/// Values that a thread takes at a time.
pub(crate) const PIECE: usize = 1 << 16;

/// An image made of another, value by value; new memory is first touched by all threads, which takes longer than to
/// fill it.
pub(crate) fn map(image: ArrayView2<'_, f32>, value: impl Fn(f32) -> f32 + Sync) -> Array2<f32> {
    let mut result = Array2::zeros(image.dim());
    if let (Some(out), Some(pixels)) = (result.as_slice_mut(), image.as_slice()) {
        out.par_chunks_mut(PIECE).zip(pixels.par_chunks(PIECE)).for_each(|(out, pixels)| {
            for (out, &pixel) in out.iter_mut().zip(pixels) {
                *out = value(pixel);
            }
        });
    } else {
        result.zip_mut_with(&image, |out, &pixel| *out = value(pixel));
    }
    result
}

/// Results of pieces of a slice, in their order; a single one needs no threads, and starts none.
pub(crate) fn pieces<T: Sync, R: Send>(values: &[T], work: impl Fn(&[T]) -> R + Send + Sync) -> Vec<R> {
    if values.len() <= PIECE {
        return vec![work(values)];
    }
    values.par_chunks(PIECE).map(work).collect()
}
