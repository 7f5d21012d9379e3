//! How far the frames of a night lie from their combination, pixel by pixel.

use crate::combine::{Frames, Method, combine};
use crate::error::{KernelError, Result, contiguous, same_shape};
use ndarray::{Array2, ArrayView2};

/// Frames as distances from an image, each frame multiplied by a factor of its own before.
struct Distances<'a, F: ?Sized> {
    frames: &'a F,
    factors: &'a [f64],
    centre: &'a [f32],
    columns: usize,
}

impl<F: Frames + ?Sized> Frames for Distances<'_, F> {
    fn count(&self) -> usize {
        self.frames.count()
    }

    fn shape(&self) -> Result<(usize, usize)> {
        self.frames.shape()
    }

    fn read_rows(&self, frame: usize, first: usize, out: &mut [f32]) -> Result<()> {
        self.frames.read_rows(frame, first, out)?;
        let factor = self.factors[frame] as f32;
        for (value, centre) in out.iter_mut().zip(&self.centre[first * self.columns..]) {
            *value = (*value * factor - centre).abs();
        }
        Ok(())
    }
}

/// Median over the frames of |factor x frame - centre|; what is not finite is left out, NaN where nothing is left.
///
/// Memory does not grow with the number of frames.
pub fn median_distance<F: Frames + ?Sized>(
    frames: &F,
    factors: &[f64],
    centre: ArrayView2<'_, f32>,
) -> Result<Array2<f32>> {
    let shape = frames.shape()?;
    same_shape("centre", &centre, shape)?;
    if factors.len() != frames.count() {
        let (found, expected) = (vec![factors.len()], vec![frames.count()]);
        return Err(KernelError::Shape { name: "factors", found, expected });
    }
    let centre = contiguous("centre", &centre)?;
    combine(&Distances { frames, factors, centre, columns: shape.1 }, Method::Median)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn one_wild_frame_of_three_does_not_count() {
        let frames = [10.0f32, 22.0, 900.0].map(|v| Array2::from_elem((3, 4), v));
        let views: Vec<_> = frames.iter().map(|frame| frame.view()).collect();
        let centre = Array2::from_elem((3, 4), 10.5f32);
        let found = median_distance(views.as_slice(), &[1.0, 0.5, 1.0], centre.view()).unwrap();
        assert!(found.iter().all(|&v| v == 0.5));
        assert!(median_distance(views.as_slice(), &[1.0], centre.view()).is_err());
    }
}
