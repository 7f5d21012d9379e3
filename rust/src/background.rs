//! Background: a smooth global map, measured on the unlit pixels.

use crate::cell_map::CellMap;
use crate::error::{KernelError, Result, contiguous, require, same_shape};
use crate::median::median;
use crate::scattered::{Scatter, ScatteredLight};
use crate::selection::{Bracket, Sifted, median_within};
use crate::tiles::{Tile, unlit_tiles};
use ndarray::{Array2, ArrayView2, ArrayViewMut2};
use rayon::prelude::*;

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
    Ok(GlobalBackground { map: background_map(&cells, image.dim())?, cells })
}

/// The map of given cells, of which there must be one.
pub fn background_map(cells: &Array2<f64>, shape: (usize, usize)) -> Result<Array2<f32>> {
    require(!cells.is_empty(), "number of cells", 0.0, "at least 1")?;
    let mut map = Array2::zeros(shape);
    if let Some(out) = map.as_slice_mut() {
        let cells = CellMap::new(cells, shape);
        let rows = out.par_chunks_mut(shape.1.max(1)).enumerate();
        rows.for_each_init(Vec::new, |room, (y, out)| cells.put(y, out, room, |_, value| value));
    }
    Ok(map)
}

/// The image less its global background, which is measured on the image less its scattered light.
pub fn subtract_background(
    image: ArrayView2<'_, f32>,
    scatter: Option<Scatter>,
    unlit: ArrayView2<'_, u8>,
    box_size: usize,
    passes: usize,
) -> Result<GlobalBackground> {
    let cells = measure_cells(image, scatter, unlit, box_size, passes)?;
    let (pixels, columns) = (contiguous("image", &image)?, image.ncols());
    let mut corrected = Array2::zeros(image.dim());
    if let Some(out) = corrected.as_slice_mut() {
        let map = CellMap::new(&cells, image.dim());
        let rows = out.par_chunks_mut(columns).zip(pixels.par_chunks(columns)).enumerate();
        rows.for_each_init(Vec::new, |room, (y, (out, pixels))| {
            out.copy_from_slice(pixels);
            map.put(y, out, room, |pixel, value| pixel - value);
        });
    }
    Ok(GlobalBackground { map: corrected, cells })
}

/// As [`subtract_background`], in the place of the image; gives the cells.
pub fn subtract_background_in_place(
    mut image: ArrayViewMut2<'_, f32>,
    scatter: Option<Scatter>,
    unlit: ArrayView2<'_, u8>,
    box_size: usize,
    passes: usize,
) -> Result<Array2<f64>> {
    let cells = measure_cells(image.view(), scatter, unlit, box_size, passes)?;
    let (shape, map) = (image.dim(), CellMap::new(&cells, image.dim()));
    let pixels = image.as_slice_mut().ok_or(KernelError::Layout("image"))?;
    let rows = pixels.par_chunks_mut(shape.1).enumerate();
    rows.for_each_init(Vec::new, |room, (y, row)| map.put(y, row, room, |pixel, value| pixel - value));
    Ok(cells)
}

fn measure_cells(
    image: ArrayView2<'_, f32>,
    scatter: Option<Scatter>,
    unlit: ArrayView2<'_, u8>,
    box_size: usize,
    passes: usize,
) -> Result<Array2<f64>> {
    let (ny, nx) = image.dim();
    require(box_size >= 1 && box_size < ny.min(nx), "box", box_size as f64, "at least 1 and below the image's size")?;
    same_shape("unlit", &unlit, (ny, nx))?;
    let scattered = scatter.map(|scatter| ScatteredLight::new(image, scatter.amplitude, scatter.kernel)).transpose()?;
    let tiles =
        unlit_tiles(contiguous("image", &image)?, scattered.as_ref(), contiguous("unlit", &unlit)?, nx, box_size);
    // Centres lie at box, 2 box, ... below the size: as many as there are tiles of one box, less one.
    let grid =
        Grid { tile_columns: nx.div_ceil(box_size), shape: (ny.div_ceil(box_size) - 1, nx.div_ceil(box_size) - 1) };
    let mut cells = Array2::<f64>::zeros(grid.shape);
    for _ in 0..passes {
        let growth = grid.medians(&tiles, &CellMap::new(&cells, (ny, nx)));
        for (cell, value) in cells.iter_mut().zip(growth) {
            *cell += if value.is_finite() { value } else { 0.0 };
        }
    }
    Ok(cells)
}

/// Cells, each over two by two tiles.
struct Grid {
    tile_columns: usize,
    shape: (usize, usize),
}

impl Grid {
    /// Tiles of a cell.
    fn tiles_of(&self, cell: usize) -> [usize; 4] {
        let corner = cell / self.shape.1 * self.tile_columns + cell % self.shape.1;
        [corner, corner + 1, corner + self.tile_columns, corner + self.tile_columns + 1]
    }

    /// Cells that a tile belongs to.
    fn cells_of(&self, tile: usize) -> impl Iterator<Item = usize> {
        let ((rows, columns), (y, x)) = (self.shape, (tile / self.tile_columns, tile % self.tile_columns));
        let near = |k: usize, size: usize| k.saturating_sub(1)..(k + 1).min(size);
        near(y, rows).flat_map(move |row| near(x, columns).map(move |column| row * columns + column))
    }

    /// Medians of the cells' pixels less a map; NaN where there are none.
    ///
    /// A sample of the pixels tells between which values a cell's median lies. Every tile is then gone through once for
    /// all of its cells, and what lies there is kept: no more memory is touched than that takes.
    fn medians(&self, tiles: &[Tile], map: &CellMap) -> Vec<f64> {
        let pixels: usize = tiles.iter().map(Tile::len).sum();
        // A quarter of the root of a cell's number of pixels.
        let stride = (((4 * pixels / tiles.len()) as f64).sqrt() / 4.0).max(1.0) as usize;
        let samples: Vec<Vec<f64>> = tiles.par_iter().map(|tile| tile.sampled(map, stride)).collect();
        let count = self.shape.0 * self.shape.1;
        let brackets: Vec<Bracket<f64>> = (0..count)
            .into_par_iter()
            .map_init(Vec::new, |sample, cell| {
                sample.clear();
                self.tiles_of(cell).iter().for_each(|&tile| sample.extend_from_slice(&samples[tile]));
                Bracket::of(sample, 0.5)
            })
            .collect();
        let sifted: Vec<Sifted<f64>> = (0..tiles.len())
            .into_par_iter()
            .map_init(Vec::new, |room, tile| {
                let bracket = self.cells_of(tile).map(|cell| brackets[cell]).reduce(Bracket::joined);
                Sifted::of(tiles[tile].residuals(map, room), bracket.unwrap_or(Bracket::ALL))
            })
            .collect();
        (0..count)
            .into_par_iter()
            .map_init(Default::default, |(room, residuals), cell| {
                let four = self.tiles_of(cell);
                let count = four.iter().map(|&tile| tiles[tile].len()).sum();
                let found = median_within(&four.map(|tile| &sifted[tile]), brackets[cell], count, room);
                found.unwrap_or_else(|| {
                    let mut values = Vec::with_capacity(count);
                    four.iter().for_each(|&tile| values.extend_from_slice(tiles[tile].residuals(map, residuals)));
                    median(&mut values)
                })
            })
            .collect()
    }
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
