//! From a straight image to the detector, and back.

use crate::error::{Result, contiguous, same_shape};
use crate::extent::Extent;
use crate::straighten::Linear;
use ndarray::ArrayView2;

/// Fixed-point steps of the way back. Each shrinks the error by the maps' slope, which is far below 1.
const MOST_STEPS: usize = 12;
/// Step [pixels] below which a position is found.
const FOUND: f64 = 1e-8;

/// The transform of a straightening: x' = dx + A x + B y + dxmap, y' = dy + C x + D y + dymap.
#[derive(Debug, Clone, Copy)]
pub struct Mapping<'a> {
    /// The linear part.
    pub linear: Linear,
    /// Displacement along x, of the image's shape.
    pub dxmap: ArrayView2<'a, f32>,
    /// Displacement along y.
    pub dymap: ArrayView2<'a, f32>,
}

/// A transform whose maps have been checked.
#[derive(Clone, Copy)]
pub(crate) struct Maps<'a> {
    linear: Linear,
    dx: &'a [f32],
    dy: &'a [f32],
    pub shape: (usize, usize),
}

impl Mapping<'_> {
    /// Check the maps against the shape of their image.
    pub(crate) fn of(&self, shape: (usize, usize)) -> Result<Maps<'_>> {
        same_shape("dxmap", &self.dxmap, shape)?;
        same_shape("dymap", &self.dymap, shape)?;
        let (dx, dy) = (contiguous("dxmap", &self.dxmap)?, contiguous("dymap", &self.dymap)?);
        Ok(Maps { linear: self.linear, dx, dy, shape })
    }
}

impl Maps<'_> {
    /// Column on the detector of a straight pixel that is displaced by `dx`.
    #[inline(always)]
    pub fn column(&self, row: usize, x: usize, dx: f64) -> f64 {
        self.linear.dx + self.linear.a * x as f64 + self.linear.b * row as f64 + dx
    }

    /// Row on the detector of a straight pixel that is displaced by `dy`.
    #[inline(always)]
    pub fn row(&self, row: usize, x: usize, dy: f64) -> f64 {
        self.linear.dy + self.linear.c * x as f64 + self.linear.d * row as f64 + dy
    }

    /// Displacements along x of a row of straight pixels, and along y.
    #[inline(always)]
    pub fn shifts(&self, row: usize) -> (&[f32], &[f32]) {
        let places = row * self.shape.1..(row + 1) * self.shape.1;
        (&self.dx[places.clone()], &self.dy[places])
    }

    /// Whether a straight pixel displaced by (dx, dy) lies within the detector image.
    #[inline(always)]
    pub fn within(&self, row: usize, x: usize, (dx, dy): (f32, f32)) -> bool {
        let (source_y, source_x) = (self.row(row, x, dy.into()), self.column(row, x, dx.into()));
        let (last_y, last_x) = (self.shape.0 as f64 - 1.0, self.shape.1 as f64 - 1.0);
        (source_x >= 0.0) & (source_x <= last_x) & (source_y >= 0.0) & (source_y <= last_y)
    }

    /// Whether all of neighbouring straight pixels of a row, from column `first` on, lie within the detector image.
    ///
    /// Displacements between limits lead to positions between limits: sums are rounded in the order of what is added.
    #[inline(always)]
    pub fn all_within(&self, row: usize, first: usize, (dx, dy): (&[f32], &[f32])) -> bool {
        if !dx.iter().zip(dy).fold(true, |all, (dx, dy)| all & dx.is_finite() & dy.is_finite()) {
            return false;
        }
        let (mut dxs, mut dys) = (Extent::new(), Extent::new());
        dxs.include(dx);
        dys.include(dy);
        let (dxs, dys) = (dxs.limits(), dys.limits());
        [first, first + dx.len().saturating_sub(1)]
            .iter()
            .all(|&x| self.within(row, x, (dxs.0, dys.0)) && self.within(row, x, (dxs.1, dys.1)))
    }

    /// Whether a straight pixel lies within the detector image.
    pub fn on_detector(&self, row: usize, x: usize) -> bool {
        let place = row * self.shape.1 + x;
        self.within(row, x, (self.dx[place], self.dy[place]))
    }

    /// Straight position (y, x) of a pixel of the detector, sought from one that is near; beyond the maps' edges the
    /// value of the edge counts.
    pub fn straight(&self, row: usize, column: usize, near: (f64, f64)) -> (f64, f64) {
        let (target_y, target_x, linear) = (row as f64, column as f64, &self.linear);
        let (mut y, mut x) = near;
        for _ in 0..MOST_STEPS {
            let (dy, dx) = self.displacement(y, x);
            let step_x = target_x - (linear.dx + linear.a * x + linear.b * y + dx);
            let step_y = target_y - (linear.dy + linear.c * x + linear.d * y + dy);
            x += step_x;
            y += step_y;
            if step_x.abs().max(step_y.abs()) < FOUND {
                break;
            }
        }
        (y, x)
    }

    /// Displacement (y, x) between pixels, bilinear.
    #[inline]
    fn displacement(&self, y: f64, x: f64) -> (f64, f64) {
        let ((top, down, ty), (left, right, tx)) = (between(y, self.shape.0), between(x, self.shape.1));
        let (top, down) = (top * self.shape.1, down * self.shape.1);
        let blend = |map: &[f32]| {
            let at = |place: usize| f64::from(map[place]);
            let upper = at(top + left) * (1.0 - tx) + at(top + right) * tx;
            let lower = at(down + left) * (1.0 - tx) + at(down + right) * tx;
            upper * (1.0 - ty) + lower * ty
        };
        (blend(self.dy), blend(self.dx))
    }
}

/// The two samples around a position, and how far it is from the first.
#[inline]
fn between(position: f64, size: usize) -> (usize, usize, f64) {
    let position = position.clamp(0.0, size.saturating_sub(1) as f64);
    // Casts saturate; what is no number becomes 0, and stays no number in the share.
    let first = (position as usize).min(size.saturating_sub(2));
    (first, (first + 1).min(size.saturating_sub(1)), position - first as f64)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use ndarray::Array2;

    #[test]
    fn there_and_back() {
        let shape = (40, 60);
        let dx = Array2::from_shape_fn(shape, |(y, x)| 0.3 + 0.01 * y as f32 - 0.004 * x as f32);
        let dy = Array2::from_shape_fn(shape, |(_, x)| 0.002 * (x as f32 - 30.0).powi(2));
        let linear = Linear { dx: -0.7, dy: 0.4, a: 1.001, b: 2e-3, c: -1e-3, d: 0.999 };
        let mapping = Mapping { linear, dxmap: dx.view(), dymap: dy.view() };
        let maps = mapping.of(shape).unwrap();
        for (row, column) in [(5, 7), (20, 33), (33, 50), (12, 30)] {
            let (y, x) = maps.straight(row, column, (row as f64, column as f64));
            let (dy, dx) = maps.displacement(y, x);
            assert!((linear.dx + linear.a * x + linear.b * y + dx - column as f64).abs() < 1e-7);
            assert!((linear.dy + linear.c * x + linear.d * y + dy - row as f64).abs() < 1e-7);
        }
    }

    #[test]
    fn maps_without_numbers_lead_nowhere() {
        let shape = (4, 1);
        let map = Array2::from_elem(shape, f32::NAN);
        let linear = Linear { dx: 0.0, dy: 0.0, a: 1.0, b: 0.0, c: 0.0, d: 1.0 };
        let mapping = Mapping { linear, dxmap: map.view(), dymap: map.view() };
        assert!(mapping.of(shape).unwrap().straight(2, 0, (2.0, 0.0)).0.is_nan());
        assert!(mapping.of((3, 3)).is_err());
    }
}
