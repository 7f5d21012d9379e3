//! Background: a smooth global map, measured on the unlit pixels.

use crate::error::{Result, contiguous, require, same_shape};
use crate::median::median;
use crate::scattered::ScatteredLight;
use crate::spline::{mirrored, prefilter, weights};
use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

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

    /// Give every pixel of `image` its place and the map's value there.
    fn each_row(&self, image: &mut Array2<f32>, set: impl Fn(usize, f32, &mut f32) + Sync) {
        let taps = self.column_taps();
        image.outer_iter_mut().into_par_iter().enumerate().for_each(|(y, mut out)| {
            let row = self.row_coefficients(y);
            for (x, (out, tap)) in out.iter_mut().zip(&taps).enumerate() {
                set(y * taps.len() + x, tap_sum(&row, tap) as f32, out);
            }
        });
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
    let cells = measure_cells(image, None, unlit, box_size, passes)?;
    Ok(GlobalBackground { map: background_map(&cells, image.dim()), cells })
}

/// The map of given cells.
pub fn background_map(cells: &Array2<f64>, shape: (usize, usize)) -> Array2<f32> {
    let mut map = Array2::zeros(shape);
    CellMap::new(cells, shape).each_row(&mut map, |_, value, out| *out = value);
    map
}

/// The image less its global background, which is measured on the image less its scattered light.
pub fn subtract_background(
    image: ArrayView2<'_, f32>,
    scattered: Option<&ScatteredLight>,
    unlit: ArrayView2<'_, u8>,
    box_size: usize,
    passes: usize,
) -> Result<GlobalBackground> {
    let cells = measure_cells(image, scattered, unlit, box_size, passes)?;
    let pixels = contiguous("image", &image)?;
    let mut corrected = Array2::zeros(image.dim());
    CellMap::new(&cells, image.dim()).each_row(&mut corrected, |place, value, out| *out = pixels[place] - value);
    Ok(GlobalBackground { map: corrected, cells })
}

fn measure_cells(
    image: ArrayView2<'_, f32>,
    scattered: Option<&ScatteredLight>,
    unlit: ArrayView2<'_, u8>,
    box_size: usize,
    passes: usize,
) -> Result<Array2<f64>> {
    let (ny, nx) = image.dim();
    require(box_size >= 1 && box_size < ny.min(nx), "box", box_size as f64, "at least 1 and below the image's size")?;
    same_shape("unlit", &unlit, (ny, nx))?;
    let tiles = unlit_tiles(contiguous("image", &image)?, scattered, contiguous("unlit", &unlit)?, nx, box_size);
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
    Ok(cells)
}

/// The unlit pixels of every tile of one box, tiles in row-major order; a cell covers two by two tiles.
fn unlit_tiles(
    pixels: &[f32],
    scattered: Option<&ScatteredLight>,
    unlit: &[u8],
    columns: usize,
    box_size: usize,
) -> Vec<Vec<Unlit>> {
    let tile_columns = columns.div_ceil(box_size);
    let strips: Vec<Vec<Vec<Unlit>>> = pixels
        .par_chunks(columns * box_size)
        .zip(unlit.par_chunks(columns * box_size))
        .enumerate()
        .map(|(strip, (pixels, unlit))| {
            let mut tiles = vec![Vec::new(); tile_columns];
            let mut light = vec![0.0; columns];
            for (row, (pixels, unlit)) in pixels.chunks(columns).zip(unlit.chunks(columns)).enumerate() {
                let y = strip * box_size + row;
                if let Some(scattered) = scattered {
                    scattered.row(y, &mut light);
                }
                for (tile, first) in tiles.iter_mut().zip((0..columns).step_by(box_size)) {
                    for x in first..(first + box_size).min(columns) {
                        let value = pixels[x] - light[x];
                        if unlit[x] != 0 && !value.is_nan() {
                            tile.push(Unlit { y: y as u32, x: x as u32, value });
                        }
                    }
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
}
