//! Background: scattered light from a smoothed image, and a smooth global map from the unlit pixels.

use crate::error::{Result, contiguous, require, same_shape};
use crate::median::{median, nan_median};
use crate::spline::{mirrored, prefilter, weights};
use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

/// Size of the Gaussian that stands for the scattered light.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScatterKernel {
    /// Width along the rows' direction, in pixels.
    pub y: f64,
    /// Width along the columns' direction, in pixels.
    pub x: f64,
    /// Range in widths.
    pub sigma: f64,
}

/// Fill NaN: on the edge by 0, elsewhere by the nan-median of the 3 x 3 neighbourhood.
///
/// The passes go on until none is left, each reading the image as it was at its start. A gap between infinities of both
/// signs has no median and stays.
pub fn fill_nan(image: ArrayView2<'_, f32>) -> Result<Array2<f32>> {
    let (ny, nx) = image.dim();
    let mut filled = image.to_owned();
    let mut gaps: Vec<(usize, usize)> = filled
        .outer_iter_mut()
        .into_par_iter()
        .enumerate()
        .flat_map_iter(|(y, mut row)| {
            let mut gaps = Vec::new();
            if row.iter().fold(false, |any, v| any | v.is_nan()) {
                for (x, value) in row.iter_mut().enumerate().filter(|(_, v)| v.is_nan()) {
                    if y == 0 || x == 0 || y + 1 == ny || x + 1 == nx {
                        *value = 0.0;
                    } else {
                        gaps.push((y, x));
                    }
                }
            }
            gaps
        })
        .collect();
    while !gaps.is_empty() {
        let values: Vec<f32> = gaps
            .par_iter()
            .map(|&(y, x)| {
                let mut nine: [f32; 9] = std::array::from_fn(|k| filled[[y + k / 3 - 1, x + k % 3 - 1]]);
                nan_median(&mut nine) as f32
            })
            .collect();
        for (&place, &value) in gaps.iter().zip(&values) {
            filled[place] = value;
        }
        let before = gaps.len();
        gaps.retain(|&place| filled[place].is_nan());
        if gaps.len() == before {
            break;
        }
    }
    Ok(filled)
}

/// Local scattered light: the block-averaged image convolved with a Gaussian, resized linearly, over `amplitude`.
pub fn scattered_light(image: ArrayView2<'_, f32>, amplitude: f64, kernel: ScatterKernel) -> Result<Array2<f32>> {
    require(amplitude > 0.0, "scattered amplitude", amplitude, "above 0")?;
    require(kernel.y >= 1.0, "kernel_y", kernel.y, "at least 1")?;
    require(kernel.x >= 1.0, "kernel_x", kernel.x, "at least 1")?;
    require(kernel.sigma > 0.0, "kernel_sigma", kernel.sigma, "above 0")?;
    let (ny, nx) = image.dim();
    require(ny > 0 && nx > 0, "image rows and columns", (ny * nx) as f64, "above 0")?;
    let (dy, dx) = (largest_divisor(ny, kernel.y), largest_divisor(nx, kernel.x));
    let blocks = block_means(fill_nan(image)?.view(), dy, dx);
    let smooth = convolve(&blocks, &gaussian(dy, kernel.y, kernel.sigma), &gaussian(dx, kernel.x, kernel.sigma));
    Ok(resize_linear(&smooth, (ny, nx), 1.0 / amplitude))
}

fn largest_divisor(size: usize, limit: f64) -> usize {
    (1..=(limit as usize).min(size)).rev().find(|d| size.is_multiple_of(*d)).unwrap_or(1)
}

/// One axis of the normalised Gaussian, on the block-averaged grid.
fn gaussian(block: usize, width: f64, sigma: f64) -> Vec<f64> {
    let count = (2.0 * width * sigma / block as f64 + 1.0) as usize;
    let centre = (count as f64 - 1.0) / 2.0;
    let values: Vec<f64> =
        (0..count).map(|k| (-0.5 * ((k as f64 - centre) * block as f64 / width).powi(2)).exp()).collect();
    let total: f64 = values.iter().sum();
    values.into_iter().map(|v| v / total).collect()
}

fn block_means(image: ArrayView2<'_, f32>, dy: usize, dx: usize) -> Array2<f64> {
    let (ny, nx) = image.dim();
    let mut means = Array2::zeros((ny / dy, nx / dx));
    means.outer_iter_mut().into_par_iter().enumerate().for_each(|(row, mut means)| {
        for y in row * dy..(row + 1) * dy {
            let line = image.row(y);
            if dx == 1 {
                means.zip_mut_with(&line, |mean, &value| *mean += f64::from(value));
                continue;
            }
            for (column, mean) in means.iter_mut().enumerate() {
                *mean += (column * dx..(column + 1) * dx).map(|x| f64::from(line[x])).sum::<f64>();
            }
        }
        means.mapv_inplace(|sum| sum / (dy * dx) as f64);
    });
    means
}

/// 'same' convolution with a separable kernel, zero outside.
fn convolve(image: &Array2<f64>, along_y: &[f64], along_x: &[f64]) -> Array2<f64> {
    let (ny, nx) = image.dim();
    let mut rows = Array2::zeros((ny, nx));
    rows.outer_iter_mut().into_par_iter().zip(image.outer_iter()).for_each(|(mut out, line)| {
        for (x, out) in out.iter_mut().enumerate() {
            *out = taps(along_x, x, nx).map(|(k, source)| along_x[k] * line[source]).sum();
        }
    });
    let mut result = Array2::zeros((ny, nx));
    result.outer_iter_mut().into_par_iter().enumerate().for_each(|(y, mut out)| {
        for (k, source) in taps(along_y, y, ny) {
            out.scaled_add(along_y[k], &rows.row(source));
        }
    });
    result
}

/// Kernel indices and the samples they meet at an output index.
fn taps(kernel: &[f64], index: usize, size: usize) -> impl Iterator<Item = (usize, usize)> {
    let end = index + (kernel.len() - 1) / 2;
    (0..kernel.len()).filter_map(move |k| end.checked_sub(k).filter(|&s| s < size).map(|s| (k, s)))
}

/// Linear resize as scipy.ndimage.zoom (order 1, mode constant) does it, times `factor`.
fn resize_linear(image: &Array2<f64>, shape: (usize, usize), factor: f64) -> Array2<f32> {
    let columns = linear_taps(image.ncols(), shape.1);
    let mut result = Array2::zeros(shape);
    let rows = linear_taps(image.nrows(), shape.0);
    result.outer_iter_mut().into_par_iter().zip(rows).for_each(|(mut out, row)| {
        let Some((y, wy)) = row else { return };
        let (low, high) = (image.row(y), image.row((y + 1).min(image.nrows() - 1)));
        if image.ncols() == shape.1 {
            // Every column is its own: nothing to interpolate along x.
            for ((out, low), high) in out.iter_mut().zip(low).zip(high) {
                *out = (factor * ((1.0 - wy) * low + wy * high)) as f32;
            }
            return;
        }
        for (out, column) in out.iter_mut().zip(&columns) {
            let Some((x, wx)) = *column else { continue };
            let right = (x + 1).min(image.ncols() - 1);
            let line = |row: &ndarray::ArrayView1<'_, f64>| (1.0 - wx) * row[x] + wx * row[right];
            *out = (factor * ((1.0 - wy) * line(&low) + wy * line(&high))) as f32;
        }
    });
    result
}

/// Lower index and weight of the upper sample for each output index; none where rounding puts it outside.
fn linear_taps(from: usize, to: usize) -> Vec<Option<(usize, f64)>> {
    let step = if to > 1 { (from as f64 - 1.0) / (to as f64 - 1.0) } else { 1.0 };
    (0..to)
        .map(|k| {
            let position = step * k as f64;
            let below = position.floor();
            (position <= from as f64 - 1.0).then_some((below as usize, position - below))
        })
        .collect()
}

/// A smooth map held as cells, and its quadratic spline over the full image.
struct CellMap {
    coefficients: Array2<f64>,
    shape: (usize, usize),
}

impl CellMap {
    fn new(cells: &Array2<f64>, shape: (usize, usize)) -> Self {
        let mut coefficients = cells.clone();
        for mut row in coefficients.outer_iter_mut() {
            filter_lane(&mut row);
        }
        for mut column in coefficients.columns_mut() {
            filter_lane(&mut column);
        }
        Self { coefficients, shape }
    }

    /// Spline coefficients along x of the image row `y`.
    fn row_coefficients(&self, y: usize) -> Vec<f64> {
        let size = self.coefficients.nrows();
        let (middle, weights) = weights(y as f64 / self.shape.0 as f64 * (size as f64 - 1.0));
        let mut row = vec![0.0; self.coefficients.ncols()];
        for (k, weight) in weights.iter().enumerate() {
            let source = self.coefficients.row(mirrored(middle as isize + k as isize - 1, size));
            for (out, value) in row.iter_mut().zip(source) {
                *out += weight * value;
            }
        }
        row
    }

    /// Indices and weights along x of every column.
    fn column_taps(&self) -> Vec<([usize; 3], [f64; 3])> {
        let size = self.coefficients.ncols();
        (0..self.shape.1)
            .map(|x| {
                let (middle, weights) = weights(x as f64 / self.shape.1 as f64 * (size as f64 - 1.0));
                (std::array::from_fn(|k| mirrored(middle as isize + k as isize - 1, size)), weights)
            })
            .collect()
    }
}

fn filter_lane(lane: &mut ndarray::ArrayViewMut1<'_, f64>) {
    let mut values = lane.to_vec();
    prefilter(&mut values);
    for (out, value) in lane.iter_mut().zip(values) {
        *out = value;
    }
}

#[inline]
fn tap_sum(row: &[f64], (places, weights): &([usize; 3], [f64; 3])) -> f64 {
    weights[0] * row[places[0]] + weights[1] * row[places[1]] + weights[2] * row[places[2]]
}

/// An unlit pixel: its place and its value.
#[derive(Clone, Copy)]
struct Unlit {
    y: u32,
    x: u32,
    value: f32,
}

/// Global background and its cells.
#[derive(Debug, Clone)]
pub struct GlobalBackground {
    /// The map over the whole image.
    pub map: Array2<f32>,
    /// Sum over the passes of the cells, centred at box, 2 box, ... below the image's size.
    pub cells: Array2<f64>,
}

/// Smooth map of the background on the pixels where `unlit` is not 0, in `passes` passes.
///
/// A cell is the nan-median of the unlit pixels within `box_size` of its centre, less the map so far; 0 where there are
/// none. The map is the quadratic spline of the cells at (y / ny (Ny - 1), x / nx (Nx - 1)).
pub fn global_background(
    image: ArrayView2<'_, f32>,
    unlit: ArrayView2<'_, u8>,
    box_size: usize,
    passes: usize,
) -> Result<GlobalBackground> {
    let (ny, nx) = image.dim();
    require(box_size >= 1 && box_size < ny.min(nx), "box", box_size as f64, "at least 1 and below the image's size")?;
    same_shape("unlit", &unlit, (ny, nx))?;
    let tiles = unlit_tiles(contiguous("image", &image)?, contiguous("unlit", &unlit)?, nx, box_size);
    // Centres lie at box, 2 box, ... below the size: as many as there are tiles of one box, less one.
    let tile_columns = nx.div_ceil(box_size);
    let (cell_rows, cell_columns) = (ny.div_ceil(box_size) - 1, tile_columns - 1);
    let mut cells = Array2::<f64>::zeros((cell_rows, cell_columns));
    for _ in 0..passes {
        let map = CellMap::new(&cells, (ny, nx));
        let taps = map.column_taps();
        let residuals: Vec<Vec<f64>> = tiles.par_iter().map(|tile| residuals(tile, &map, &taps)).collect();
        let growth: Vec<f64> = (0..cell_rows * cell_columns)
            .into_par_iter()
            .map(|cell| {
                let corner = cell / cell_columns * tile_columns + cell % cell_columns;
                let four = [corner, corner + 1, corner + tile_columns, corner + tile_columns + 1];
                let mut values: Vec<f64> = Vec::with_capacity(four.iter().map(|&t| residuals[t].len()).sum());
                four.iter().for_each(|&t| values.extend_from_slice(&residuals[t]));
                let value = median(&mut values);
                if value.is_finite() { value } else { 0.0 }
            })
            .collect();
        for (cell, value) in cells.iter_mut().zip(growth) {
            *cell += value;
        }
    }
    let spline = CellMap::new(&cells, (ny, nx));
    let taps = spline.column_taps();
    let mut map = Array2::zeros((ny, nx));
    map.outer_iter_mut().into_par_iter().enumerate().for_each(|(y, mut out)| {
        let row = spline.row_coefficients(y);
        for (out, tap) in out.iter_mut().zip(&taps) {
            *out = tap_sum(&row, tap) as f32;
        }
    });
    Ok(GlobalBackground { map, cells })
}

/// The unlit pixels of every tile of one box, tiles in row-major order; a cell covers two by two tiles.
fn unlit_tiles(pixels: &[f32], unlit: &[u8], columns: usize, box_size: usize) -> Vec<Vec<Unlit>> {
    let tile_columns = columns.div_ceil(box_size);
    let strips: Vec<Vec<Vec<Unlit>>> = pixels
        .par_chunks(columns * box_size)
        .zip(unlit.par_chunks(columns * box_size))
        .enumerate()
        .map(|(strip, (pixels, unlit))| {
            let mut tiles = vec![Vec::new(); tile_columns];
            for (place, (&value, &is_unlit)) in pixels.iter().zip(unlit).enumerate() {
                if is_unlit != 0 && !value.is_nan() {
                    let (y, x) = (strip * box_size + place / columns, place % columns);
                    tiles[x / box_size].push(Unlit { y: y as u32, x: x as u32, value });
                }
            }
            tiles
        })
        .collect();
    strips.into_iter().flatten().collect()
}

/// Values of a tile's unlit pixels less the map; the pixels come row by row.
fn residuals(tile: &[Unlit], map: &CellMap, taps: &[([usize; 3], [f64; 3])]) -> Vec<f64> {
    let mut row = (u32::MAX, Vec::new());
    tile.iter()
        .map(|pixel| {
            if row.0 != pixel.y {
                row = (pixel.y, map.row_coefficients(pixel.y as usize));
            }
            f64::from(pixel.value) - tap_sum(&row.1, &taps[pixel.x as usize])
        })
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn nan_is_filled_from_outside_in() {
        let mut image = Array2::from_elem((6, 6), 3.0f32);
        image.slice_mut(ndarray::s![1..5, 1..5]).fill(f32::NAN);
        image[[0, 0]] = f32::NAN;
        let filled = fill_nan(image.view()).unwrap();
        assert_eq!(filled[[0, 0]], 0.0);
        assert_eq!(filled[[2, 2]], 3.0);
    }

    #[test]
    fn a_constant_background_is_found_with_unlit_gaps() {
        let image = Array2::from_shape_fn((70, 50), |(y, _)| if y % 10 < 5 { 900.0 } else { 7.0f32 });
        let unlit = Array2::from_shape_fn((70, 50), |(y, _)| u8::from(y % 10 >= 5));
        let found = global_background(image.view(), unlit.view(), 16, 5).unwrap();
        assert_eq!(found.cells.dim(), (4, 3));
        assert!(found.map.iter().all(|v| (v - 7.0).abs() < 1e-4));
        assert!(global_background(image.view(), unlit.view(), 50, 5).is_err());
    }

    #[test]
    fn no_unlit_pixel_means_no_background() {
        let image = Array2::from_elem((20, 20), 5.0f32);
        let found = global_background(image.view(), Array2::zeros((20, 20)).view(), 8, 5).unwrap();
        assert!(found.map.iter().all(|&v| v == 0.0));
    }

    #[test]
    fn scattered_light_of_a_constant_is_the_constant_inside() {
        let image = Array2::from_elem((180, 40), 94.0f32);
        let kernel = ScatterKernel { y: 9.0, x: 1.0, sigma: 3.0 };
        let found = scattered_light(image.view(), 47.0, kernel).unwrap();
        assert!((found[[90, 20]] - 2.0).abs() < 1e-5);
        assert!(found[[0, 0]] < 1.5);
        assert!(scattered_light(image.view(), 0.0, kernel).is_err());
    }
}
