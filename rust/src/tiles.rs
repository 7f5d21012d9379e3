//! The unlit pixels of an image, in tiles.

use crate::cell_map::CellMap;
use crate::runs::for_runs;
use crate::scattered::ScatteredLight;
use crate::simd::{Vectorised, widest};
use rayon::prelude::*;

/// Values of a tile's unlit pixels, and where they are.
#[derive(Clone, Default)]
pub(crate) struct Tile {
    runs: Vec<Run>,
    values: Vec<f32>,
}

/// Neighbouring pixels of a row.
#[derive(Clone, Copy)]
struct Run {
    y: u32,
    x: u32,
    count: u32,
}

impl Tile {
    /// Number of pixels.
    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    /// The values less a map, in the place of what `out` held.
    pub(crate) fn residuals<'a>(&self, map: &CellMap, out: &'a mut Vec<f64>) -> &'a [f64] {
        out.resize(self.values.len(), 0.0);
        widest(Residuals { tile: self, map, out });
        out
    }

    /// One of so many of the values less a map.
    pub(crate) fn sampled(&self, map: &CellMap, stride: usize) -> Vec<f64> {
        let mut sample = Vec::with_capacity(self.values.len().div_ceil(stride));
        let (mut first, mut next) = (0, 0);
        for run in &self.runs {
            let end = first + run.count as usize;
            while next < end {
                sample.push(f64::from(self.values[next]) - map.value(run.y as usize, run.x as usize + next - first));
                next += stride;
            }
            first = end;
        }
        sample
    }

    fn push(&mut self, y: usize, x: usize, values: &[f32]) {
        self.runs.push(Run { y: y as u32, x: x as u32, count: values.len() as u32 });
        self.values.extend_from_slice(values);
    }
}

struct Residuals<'a> {
    tile: &'a Tile,
    map: &'a CellMap,
    out: &'a mut [f64],
}

impl Vectorised for Residuals<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let mut first = 0;
        for run in &self.tile.runs {
            let span = first..first + run.count as usize;
            let out = &mut self.out[span.clone()];
            self.map.row(run.y as usize, run.x as usize, out);
            for (out, &value) in out.iter_mut().zip(&self.tile.values[span]) {
                *out = f64::from(value) - *out;
            }
            first += run.count as usize;
        }
    }
}

/// The unlit pixels of every tile of one box, less the scattered light; tiles in row-major order.
pub(crate) fn unlit_tiles(
    pixels: &[f32],
    scattered: Option<&ScatteredLight<'_>>,
    unlit: &[u8],
    columns: usize,
    box_size: usize,
) -> Vec<Tile> {
    let strips = pixels.par_chunks(columns * box_size).zip(unlit.par_chunks(columns * box_size)).enumerate();
    let tiles = strips.map(|(strip, (pixels, unlit))| {
        let first = strip * box_size;
        let light = scattered.map(|scattered| scattered.smooth(first..first + pixels.len() / columns));
        let mut tiles = vec![Tile::default(); columns.div_ceil(box_size)];
        let mut values = vec![0.0; box_size];
        for (row, (pixels, unlit)) in pixels.chunks(columns).zip(unlit.chunks(columns)).enumerate() {
            for (k, (tile, unlit)) in tiles.iter_mut().zip(unlit.chunks(box_size)).enumerate() {
                for_runs(unlit, |run| {
                    let x = k * box_size + run.start;
                    let (values, pixels) = (&mut values[..run.len()], &pixels[x..x + run.len()]);
                    match &light {
                        Some(light) => {
                            light.row(first + row, x, values);
                            values.iter_mut().zip(pixels).for_each(|(value, pixel)| *value = pixel - *value);
                        }
                        None => values.copy_from_slice(pixels),
                    }
                    let mut place = x;
                    for values in values.split(|value| value.is_nan()) {
                        if !values.is_empty() {
                            tile.push(first + row, place, values);
                        }
                        place += values.len() + 1;
                    }
                });
            }
        }
        tiles
    });
    tiles.collect::<Vec<_>>().into_iter().flatten().collect()
}
