//! Detection and repair of hot pixels.

use crate::calibrate::Bounds;
use crate::error::{KernelError, Result, contiguous, require, same_shape};
use crate::local_scale::LocalScale;
use crate::selection::{Bracket, Sifted, median_within};
use crate::simd::{Vectorised, widest};
use ndarray::{Array2, ArrayView2, ArrayViewMut2};
use rayon::prelude::*;

/// Replace bad pixels that have enough good neighbours, then values outside the bounds by NaN.
///
/// A pixel is bad where it lies more than `threshold` local scales off the smoothed image, where `bad` is not 0, or
/// where it is not finite. The local scale counts as no less than half its median. The image is smoothed along its
/// flattened, wrapping rows; neighbours wrap in both axes. With 8 good neighbours a bad pixel becomes twice the mean of
/// the edge neighbours minus the mean of the corner ones, with 6 or 7 the mean of the good ones; else it stays as it
/// is.
pub fn repair_hot_pixels(
    image: ArrayView2<'_, f32>,
    bad: ArrayView2<'_, u8>,
    threshold: f64,
    bounds: Option<Bounds>,
) -> Result<Array2<f32>> {
    let pixels = contiguous("image", &image)?;
    let repairs = found_repairs(image, bad, threshold)?;
    let (mut result, columns) = (Array2::zeros(image.dim()), image.ncols().max(1));
    if let Some(out) = result.as_slice_mut() {
        let rows = out.par_chunks_mut(columns * ROWS).zip(pixels.par_chunks(columns * ROWS)).zip(&repairs);
        rows.for_each(|((out, pixels), repairs)| {
            out.copy_from_slice(pixels);
            write(out, repairs, bounds);
        });
    }
    Ok(result)
}

/// As [`repair_hot_pixels`], in the place of the image.
pub fn repair_hot_pixels_in_place(
    mut image: ArrayViewMut2<'_, f32>,
    bad: ArrayView2<'_, u8>,
    threshold: f64,
    bounds: Option<Bounds>,
) -> Result<()> {
    let repairs = found_repairs(image.view(), bad, threshold)?;
    let columns = image.ncols().max(1);
    let pixels = image.as_slice_mut().ok_or(KernelError::Layout("image"))?;
    pixels.par_chunks_mut(columns * ROWS).zip(&repairs).for_each(|(out, repairs)| write(out, repairs, bounds));
    Ok(())
}

/// Rows that a thread works through one after the other; it needs the distances of one more on both sides.
const ROWS: usize = 64;

/// Marks of pixels.
const GOOD: u8 = 0;
const BAD: u8 = 1;
/// Many local scales off the smoothed image; hot if that is far too where the local scale is least.
const SUSPECT: u8 = 2;

/// A place in a band of rows, and a value: a suspect's distance from the smoothed image, or what a bad pixel becomes.
type Placed = (usize, f32);

/// Put new values into a band of rows, and the bounds to it.
fn write(band: &mut [f32], repairs: &[Placed], bounds: Option<Bounds>) {
    for &(place, value) in repairs {
        band[place] = value;
    }
    if let Some(bounds) = bounds {
        bounds.clear(band);
    }
}

/// What the bad pixels of every band become, where there are enough good neighbours.
fn found_repairs(image: ArrayView2<'_, f32>, bad: ArrayView2<'_, u8>, threshold: f64) -> Result<Vec<Vec<Placed>>> {
    require(threshold > 0.0, "threshold", threshold, "above 0")?;
    same_shape("bad", &bad, image.dim())?;
    let (pixels, bad) = (contiguous("image", &image)?, contiguous("bad", &bad)?);
    let columns = image.ncols();
    if pixels.is_empty() {
        return Ok(Vec::new());
    }
    let mut marks = vec![GOOD; pixels.len()];
    // A sample tells between which values the median scale lies; where it errs, all scales are looked through.
    let (bands, median) = [sampled_bracket(pixels, columns), Bracket::ALL]
        .into_iter()
        .find_map(|bracket| {
            let bands = judged(pixels, bad, columns, threshold, bracket, &mut marks);
            let median = median_scale(&bands, bracket)?;
            Some((bands, median))
        })
        .unwrap_or((Vec::new(), f64::NAN));
    acquit(&bands, threshold * (median / 2.0), columns, &mut marks);
    let repairs = marks.par_chunks(columns * ROWS).enumerate().map(|(band, band_marks)| {
        let mut repairs = Vec::new();
        for_marked(band_marks, |place, _| {
            let (row, column) = (band * ROWS + place / columns, place % columns);
            if let Some(value) = repaired(pixels, &marks, columns, row, column) {
                repairs.push((place, value));
            }
        });
        repairs
    });
    Ok(repairs.collect())
}

/// Ribbons of columns whose local scales are the sample, and their width; so many scales at their sides are left out.
const RIBBONS: usize = 6;
const WIDTH: usize = 32;
const SIDE: usize = 4;

/// Values between which the median scale lies in all likelihood.
///
/// The sample is of all rows: what lies between two of them may be an order, or none.
fn sampled_bracket(pixels: &[f32], columns: usize) -> Bracket<f32> {
    let samples = (0..RIBBONS).into_par_iter().map(|k| {
        let first = ((2 * k + 1) * columns / (2 * RIBBONS)).saturating_sub(WIDTH / 2);
        let width = WIDTH.min(columns - first);
        let ribbon: Vec<f32> = pixels.chunks(columns).flat_map(|row| &row[first..first + width]).copied().collect();
        let mut sample = Vec::new();
        LocalScale::new(&ribbon, width).for_rows(0..pixels.len() / columns, |row, _, scale| {
            let inner = scale.iter().skip(SIDE + row % SIDE).step_by(SIDE).take(width / SIDE - 2.min(width / SIDE));
            sample.extend(inner.copied().filter(|scale| !scale.is_nan()));
        });
        sample
    });
    let mut sample: Vec<f32> = samples.collect::<Vec<_>>().concat();
    Bracket::of_alike(&mut sample, 0.5, ALIKE)
}

/// Neighbours are alike: so many of the sample count as one.
const ALIKE: f64 = 25.0;

/// A band of rows: its suspects, its local scales sifted, and the number of those that are not NaN.
struct Band {
    suspects: Vec<Placed>,
    scales: Sifted<f32>,
    count: usize,
}

/// Median of all scales, or NaN of none; nothing if it is not within the bracket.
fn median_scale(bands: &[Band], bracket: Bracket<f32>) -> Option<f64> {
    let count = bands.iter().map(|band| band.count).sum();
    if count == 0 {
        return Some(f64::NAN);
    }
    let parts: Vec<&Sifted<f32>> = bands.iter().map(|band| &band.scales).collect();
    median_within(&parts, bracket, count, &mut Sifted::default())
}

/// Mark the pixels, and judge every band.
fn judged(
    pixels: &[f32],
    bad: &[u8],
    columns: usize,
    threshold: f64,
    bracket: Bracket<f32>,
    marks: &mut [u8],
) -> Vec<Band> {
    let bands = marks.par_chunks_mut(columns * ROWS).enumerate().map_init(
        || LocalScale::new(pixels, columns),
        |rows, (band, marks)| {
            let mut judged = Band { suspects: Vec::new(), scales: Sifted::default(), count: 0 };
            let first = band * ROWS;
            rows.for_rows(first..first + marks.len() / columns, |row, distance, scale| {
                let (here, there) = (row * columns, (row - first) * columns);
                let marks = &mut marks[there..there + columns];
                let (pixels, bad) = (&pixels[here..here + columns], &bad[here..here + columns]);
                judged.count += widest(Judge { pixels, bad, distance, scale, threshold, marks });
                widest(Sift { scale, bracket, sifted: &mut judged.scales });
                for_marked(marks, |x, mark| {
                    if mark == SUSPECT {
                        judged.suspects.push((there + x, distance[x]));
                    }
                });
            });
            judged
        },
    );
    bands.collect()
}

/// A row of pixels to be marked; gives the number of scales that are not NaN.
struct Judge<'a> {
    pixels: &'a [f32],
    bad: &'a [u8],
    distance: &'a [f32],
    scale: &'a [f32],
    threshold: f64,
    marks: &'a mut [u8],
}

impl Vectorised for Judge<'_> {
    type Output = usize;

    #[inline(always)]
    fn call(self) -> usize {
        let Self { pixels, bad, distance, scale, threshold, marks } = self;
        for x in 0..marks.len() {
            let suspect = f64::from(distance[x]) > threshold * f64::from(scale[x]);
            let mark = if suspect { SUSPECT } else { GOOD };
            marks[x] = if (bad[x] != 0) | !pixels[x].is_finite() { BAD } else { mark };
        }
        scale.iter().map(|scale| u32::from(!scale.is_nan())).sum::<u32>() as usize
    }
}

/// A row of local scales to be sifted.
struct Sift<'a> {
    scale: &'a [f32],
    bracket: Bracket<f32>,
    sifted: &'a mut Sifted<f32>,
}

impl Vectorised for Sift<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        self.sifted.take(self.scale, self.bracket);
    }
}

/// Let go the suspects that are no further off the smoothed image than `least`.
fn acquit(bands: &[Band], least: f64, columns: usize, marks: &mut [u8]) {
    marks.par_chunks_mut(columns * ROWS).zip(bands).for_each(|(marks, band)| {
        for &(place, distance) in &band.suspects {
            if f64::from(distance) <= least {
                marks[place] = GOOD;
            }
        }
    });
}

/// Marks that are asked together whether one of them is not [`GOOD`].
const CHUNK: usize = 64;

/// Call `found` with the places and marks of pixels that are not [`GOOD`].
fn for_marked(marks: &[u8], mut found: impl FnMut(usize, u8)) {
    for (chunk, marks) in marks.chunks(CHUNK).enumerate() {
        if marks.iter().fold(GOOD, |any, mark| any | mark) != GOOD {
            for (k, &mark) in marks.iter().enumerate() {
                if mark != GOOD {
                    found(chunk * CHUNK + k, mark);
                }
            }
        }
    }
}

/// The index before, the index, and the index after, wrapping.
#[inline]
fn around(index: usize, size: usize) -> [usize; 3] {
    let before = if index == 0 { size - 1 } else { index - 1 };
    let after = if index + 1 == size { 0 } else { index + 1 };
    [before, index, after]
}

/// What a bad pixel's good neighbours make of it, if there are enough.
fn repaired(pixels: &[f32], marks: &[u8], columns: usize, row: usize, column: usize) -> Option<f32> {
    let rows = pixels.len() / columns;
    let (ys, xs) = (around(row, rows), around(column, columns));
    let (mut edges, mut corners, mut count) = (0.0, 0.0, 0);
    for (j, y) in ys.iter().enumerate() {
        for (i, x) in xs.iter().enumerate() {
            let place = y * columns + x;
            if (j, i) == (1, 1) || marks[place] != GOOD {
                continue;
            }
            let side = if j == 1 || i == 1 { &mut edges } else { &mut corners };
            *side += f64::from(pixels[place]);
            count += 1;
        }
    }
    match count {
        8 => Some((2.0 * edges / 4.0 - corners / 4.0) as f32),
        6 | 7 => Some(((edges + corners) / f64::from(count)) as f32),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_hot_pixel_on_a_slope_is_repaired_from_its_neighbours() {
        let mut image = Array2::from_shape_fn((8, 12), |(y, x)| (y as f32) * 0.5 + ((x * 7 + y * 3) % 5) as f32 * 0.1);
        image[[4, 6]] = 1.0e4;
        let bad = Array2::zeros((8, 12));
        let found = repair_hot_pixels(image.view(), bad.view(), 10.0, None).unwrap();
        assert!(found[[4, 6]] < 5.0);
        assert_eq!(found[[1, 3]], image[[1, 3]]);
        assert!(repair_hot_pixels(image.view(), bad.view(), 0.0, None).is_err());
    }

    #[test]
    fn the_sample_brackets_the_median_scale_of_an_even_image_and_not_where_its_ribbons_are_quiet() {
        let (rows, columns) = (70, 768);
        let noise = |k: usize| ((k * 7919) % 10_007) as f32;
        let near_ribbon = |x: usize| (x + 16 + 64) % 128 < 40;
        for treacherous in [false, true] {
            let scale = |x: usize| if treacherous && near_ribbon(x) { 1.0e-3 } else { 1.0 };
            let pixels: Vec<f32> = (0..rows * columns).map(|k| noise(k) * scale(k % columns)).collect();
            let bad = vec![0; pixels.len()];
            let median = |bracket| {
                let mut marks = vec![GOOD; pixels.len()];
                median_scale(&judged(&pixels, &bad, columns, 10.0, bracket, &mut marks), bracket)
            };
            let (sampled, all) = (median(sampled_bracket(&pixels, columns)), median(Bracket::ALL));
            assert!(all.is_some());
            assert_eq!(sampled, if treacherous { None } else { all });
        }
    }

    #[test]
    fn too_few_good_neighbours_leave_it_as_it_is() {
        let image = Array2::from_shape_fn((6, 6), |(y, x)| ((y * 5 + x * 3) % 7) as f32);
        let bad = Array2::from_shape_fn((6, 6), |(y, x)| u8::from(y < 3 && x < 3));
        let found = repair_hot_pixels(image.view(), bad.view(), 1.0e6, None).unwrap();
        assert_eq!(found[[1, 1]], image[[1, 1]]);
        assert_ne!(found[[2, 2]], f32::NAN);
    }
}
