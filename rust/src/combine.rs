//! Many frames to one, by bands of rows, so that memory does not grow with the number of frames.

use crate::error::{KernelError, Result, contiguous, contiguous_mut, require, same_shape};
use crate::median::{LANES, MedianNetwork};
use crate::pixels::PixelFile;
use crate::simd::{Vectorised, widest};
use ndarray::{Array2, ArrayView2, ArrayViewMut2};
use rayon::prelude::*;

/// How the values of a pixel in all frames become one; non-finite values are left out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Method {
    /// The median.
    Median,
    /// The mean.
    Mean,
    /// The mean of the values within `sigma` standard deviations of the median.
    ///
    /// The deviation is 1.4826 times the median absolute deviation, and no less than photon and read noise let expect:
    /// sqrt(max(median, 0) / `electrons` + `readnoise`^2), with `electrons` per unit of the frames and `readnoise` in
    /// that unit.
    ClippedMean {
        /// Limit in standard deviations.
        sigma: f64,
        /// Electrons per unit of the frames; infinite for no photon noise.
        electrons: f64,
        /// Read noise in the unit of the frames.
        readnoise: f64,
    },
}

/// Frames of one shape, from memory or from files.
pub trait Frames: Sync {
    /// Number of frames.
    fn count(&self) -> usize;
    /// Rows and columns of every frame.
    fn shape(&self) -> Result<(usize, usize)>;
    /// Rows of one frame from `first` on, as many as fill `out`.
    fn read_rows(&self, frame: usize, first: usize, out: &mut [f32]) -> Result<()>;
}

impl Frames for [PixelFile] {
    fn count(&self) -> usize {
        self.len()
    }

    fn shape(&self) -> Result<(usize, usize)> {
        let shape = self.first().map_or((0, 0), PixelFile::shape);
        for file in self {
            let found = file.shape();
            if found != shape {
                return Err(KernelError::Shape {
                    name: "frame",
                    found: vec![found.0, found.1],
                    expected: vec![shape.0, shape.1],
                });
            }
        }
        Ok(shape)
    }

    fn read_rows(&self, frame: usize, first: usize, out: &mut [f32]) -> Result<()> {
        self[frame].read_rows(first, out)
    }
}

impl Frames for [ArrayView2<'_, f32>] {
    fn count(&self) -> usize {
        self.len()
    }

    fn shape(&self) -> Result<(usize, usize)> {
        let shape = self.first().map_or((0, 0), ArrayView2::dim);
        for frame in self {
            same_shape("frame", frame, shape)?;
            contiguous("frame", frame)?;
        }
        Ok(shape)
    }

    fn read_rows(&self, frame: usize, first: usize, out: &mut [f32]) -> Result<()> {
        let columns = self[frame].ncols();
        let start = first * columns;
        out.copy_from_slice(&contiguous("frame", &self[frame])?[start..start + out.len()]);
        Ok(())
    }
}

/// Values of a band that all frames hold at once; small enough to stay in a core's cache.
const BAND_VALUES: usize = 1 << 17;

/// Combine frames pixel by pixel; a pixel that is finite in no frame becomes NaN.
pub fn combine<F: Frames + ?Sized>(frames: &F, method: Method) -> Result<Array2<f32>> {
    // Of no frames nobody knows the shape.
    let shape = if frames.count() > 0 { frames.shape()? } else { (0, 0) };
    let mut result = Array2::zeros(shape);
    combine_into(frames, method, result.view_mut())?;
    Ok(result)
}

/// As [`combine`], into an image of the frames' shape.
pub fn combine_into<F: Frames + ?Sized>(frames: &F, method: Method, mut out: ArrayViewMut2<'_, f32>) -> Result<()> {
    let count = frames.count();
    require(count > 0, "number of frames", 0.0, "at least 1")?;
    if let Method::ClippedMean { sigma, electrons, readnoise } = method {
        require(sigma > 0.0, "sigma", sigma, "above 0")?;
        require(electrons > 0.0, "electrons", electrons, "above 0")?;
        require(readnoise >= 0.0, "readnoise", readnoise, "at least 0")?;
    }
    let (rows, columns) = frames.shape()?;
    same_shape("combined image", &out.view(), (rows, columns))?;
    let network = MedianNetwork::new(count);
    let band_rows = (BAND_VALUES / (count * columns).max(1)).max(1);
    let pixels = contiguous_mut("combined image", &mut out)?;
    pixels.par_chunks_mut((band_rows * columns).max(1)).enumerate().try_for_each_init(
        || vec![0.0f32; count * band_rows * columns],
        |buffer, (band, out)| {
            let buffer = &mut buffer[..count * out.len()];
            for (frame, rows) in buffer.chunks_exact_mut(out.len()).enumerate() {
                frames.read_rows(frame, band * band_rows, rows)?;
            }
            widest(Band { buffer, method, network: &network, out });
            Ok(())
        },
    )
}

/// A band to combine: `buffer` holds the frames' values one frame after the other.
struct Band<'a> {
    buffer: &'a [f32],
    method: Method,
    network: &'a MedianNetwork,
    out: &'a mut [f32],
}

impl Vectorised for Band<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { buffer, method, network, out } = self;
        let width = out.len();
        let count = buffer.len() / width;
        let mut slots = vec![[0.0f32; LANES]; network.slots()];
        let mut distances = vec![[0.0f64; LANES]; network.slots()];
        for (block, out) in out.chunks_mut(LANES).enumerate() {
            let start = block * LANES;
            let whole = gather(buffer, width, start, &mut slots[..count]);
            let combined = match method {
                Method::Median => to_single(network.medians_of(&mut slots, whole)),
                Method::Mean => lane_means(&slots[..count]),
                Method::ClippedMean { sigma, electrons, readnoise } => {
                    let centre = network.medians_of(&mut slots, whole);
                    gather(buffer, width, start, &mut slots[..count]);
                    let clip = Clip { centre, sigma, electrons, readnoise };
                    lane_clipped_means(&slots[..count], &mut distances, network, &clip)
                }
            };
            out.copy_from_slice(&combined[..out.len()]);
        }
    }
}

/// Take lanes from a band; what is not finite, and lanes beyond its end, become NaN. Tells whether there is none.
#[inline(always)]
fn gather(buffer: &[f32], width: usize, start: usize, lanes: &mut [[f32; LANES]]) -> bool {
    let mut finite = [true; LANES];
    if start + LANES <= width {
        for (frame, vector) in lanes.iter_mut().enumerate() {
            let place = frame * width + start;
            vector.copy_from_slice(&buffer[place..place + LANES]);
            for lane in 0..LANES {
                finite[lane] &= vector[lane].is_finite();
            }
        }
        if finite.iter().fold(true, |whole, finite| whole & finite) {
            return true;
        }
    } else {
        for (frame, vector) in lanes.iter_mut().enumerate() {
            *vector = [f32::NAN; LANES];
            vector[..width - start].copy_from_slice(&buffer[frame * width + start..(frame + 1) * width]);
        }
    }
    for value in lanes.as_flattened_mut() {
        *value = if value.is_finite() { *value } else { f32::NAN };
    }
    false
}

#[inline(always)]
fn to_single(values: [f64; LANES]) -> [f32; LANES] {
    let mut singles = [0.0; LANES];
    for lane in 0..LANES {
        singles[lane] = values[lane] as f32;
    }
    singles
}

/// Distance from the median up to which a value is kept.
#[inline(always)]
fn clip_limit(centre: f64, median_distance: f64, sigma: f64, electrons: f64, readnoise: f64) -> f64 {
    let measured = 1.482_602_218_505_602 * median_distance;
    let model = (centre.max(0.0) / electrons + readnoise * readnoise).sqrt();
    sigma * measured.max(model)
}

/// Medians of the lanes, and what the clipping is measured by.
struct Clip {
    centre: [f64; LANES],
    sigma: f64,
    electrons: f64,
    readnoise: f64,
}

/// Means of the lanes' values that are not clipped, summed frame by frame; `distances` is scratch space.
#[inline(always)]
fn lane_clipped_means(
    lanes: &[[f32; LANES]],
    distances: &mut [[f64; LANES]],
    network: &MedianNetwork,
    clip: &Clip,
) -> [f32; LANES] {
    for (distance, values) in distances.iter_mut().zip(lanes) {
        for lane in 0..LANES {
            distance[lane] = (f64::from(values[lane]) - clip.centre[lane]).abs();
        }
    }
    let spread = network.medians(distances);
    let mut limits = [0.0; LANES];
    for lane in 0..LANES {
        limits[lane] = clip_limit(clip.centre[lane], spread[lane], clip.sigma, clip.electrons, clip.readnoise);
    }
    let (mut sums, mut counts) = ([0.0; LANES], [0.0; LANES]);
    for values in lanes {
        for lane in 0..LANES {
            let value = f64::from(values[lane]);
            let kept = (value - clip.centre[lane]).abs() <= limits[lane];
            sums[lane] += if kept { value } else { 0.0 };
            counts[lane] += if kept { 1.0 } else { 0.0 };
        }
    }
    for lane in 0..LANES {
        sums[lane] /= counts[lane];
    }
    to_single(sums)
}

/// Means of the lanes' values, summed frame by frame; NaN of none.
#[inline(always)]
fn lane_means(lanes: &[[f32; LANES]]) -> [f32; LANES] {
    let (mut sums, mut counts) = ([0.0f64; LANES], [0.0f64; LANES]);
    for vector in lanes {
        for lane in 0..LANES {
            let value = vector[lane];
            sums[lane] += if value.is_nan() { 0.0 } else { f64::from(value) };
            counts[lane] += if value.is_nan() { 0.0 } else { 1.0 };
        }
    }
    for lane in 0..LANES {
        sums[lane] /= counts[lane];
    }
    to_single(sums)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use ndarray::array;

    const CLIPPED: Method = Method::ClippedMean { sigma: 5.0, electrons: 1.0, readnoise: 1.0 };

    fn combined(frames: &[Array2<f32>], method: Method) -> Array2<f32> {
        let views: Vec<_> = frames.iter().map(|frame| frame.view()).collect();
        combine(views.as_slice(), method).unwrap()
    }

    #[test]
    fn non_finite_values_are_left_out() {
        let frames = [array![[1.0f32, f32::NAN]], array![[f32::INFINITY, f32::NAN]], array![[4.0, f32::NAN]]];
        for method in [Method::Median, Method::Mean, CLIPPED] {
            let found = combined(&frames, method);
            assert_eq!(found[[0, 0]], 2.5);
            assert!(found[[0, 1]].is_nan());
        }
    }

    #[test]
    fn a_cosmic_is_clipped_and_a_drift_is_not() {
        let frames = [100.0f32, 101.0, 99.0, 5000.0].map(|v| Array2::from_elem((1, 1), v));
        assert_eq!(combined(&frames, CLIPPED)[[0, 0]], 100.0);
        let drifting = [1.0e6f32, 1.01e6, 1.02e6, 1.03e6].map(|v| Array2::from_elem((1, 1), v));
        assert_eq!(combined(&drifting, CLIPPED)[[0, 0]], 1.015e6);
    }

    #[test]
    fn no_frames_or_other_shapes_are_refused() {
        let none: [ArrayView2<f32>; 0] = [];
        assert!(combine(none.as_slice(), Method::Mean).is_err());
        let (a, b) = (Array2::zeros((2, 3)), Array2::zeros((3, 2)));
        assert!(combine([a.view(), b.view()].as_slice(), Method::Mean).is_err());
    }
}
