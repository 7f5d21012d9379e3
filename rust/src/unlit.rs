//! The pixels between the orders that get no light, by ribbons of columns.
//!
//! Source of the method: the background map of Cook et al. 2022, PASP 134, 114509.

use crate::error::{Result, contiguous, require, same_shape};
use crate::median::{ascending, nan_median, partition_nan};
use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

/// How unlit pixels are told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct UnlitRule {
    /// Width of a ribbon, and of the running percentile [pixels].
    pub box_size: usize,
    /// The percentile of the cross-order profile below which a pixel is dark.
    pub percent: f64,
    /// Columns of a pixel's neighbourhood, centred on it.
    pub window: usize,
    /// Dark pixels of the neighbourhood, itself included, from which a pixel is unlit whatever it is itself.
    pub least: usize,
}

/// 1 where a pixel gets no light.
///
/// Ribbons of `box_size` columns are narrow enough for orders to lie level in them: the nan-median of each row of a
/// ribbon is its cross-order profile, and what is below the running nan-percentile of that (`box_size` rows, shrinking
/// at the ends) is dark. A dark pixel alone in its neighbourhood is taken out, and one with `least` dark ones is put
/// in.
///
/// Orders that are not level fill the gaps of such a profile: with `dymap`, the shift of the rows that makes orders
/// straight, the profile is that of the ribbon's middle column, and every column is moved by what its rows differ from
/// it.
pub fn unlit_mask(
    image: ArrayView2<'_, f32>,
    rule: UnlitRule,
    dymap: Option<ArrayView2<'_, f32>>,
) -> Result<Array2<u8>> {
    let (ny, nx) = image.dim();
    let UnlitRule { box_size, percent, window, least } = rule;
    require(box_size >= 2, "box", box_size as f64, "at least 2")?;
    require((0.0..=100.0).contains(&percent), "percent", percent, "between 0 and 100")?;
    require(window % 2 == 1, "window", window as f64, "odd")?;
    require(least >= 1, "least", least as f64, "at least 1")?;
    let pixels = contiguous("image", &image)?;
    let dymap = match &dymap {
        Some(map) => {
            same_shape("dymap", map, (ny, nx))?;
            Some(contiguous("dymap", map)?)
        }
        None => None,
    };
    let ribbons = Ribbons { pixels, dymap, shape: (ny, nx), rule };
    let floors: Vec<Vec<f64>> =
        (0..nx.div_ceil(box_size)).into_par_iter().map(|ribbon| ribbons.floor(ribbon)).collect();
    let mut mask = Array2::zeros((ny, nx));
    if let Some(mask) = mask.as_slice_mut() {
        mask.par_chunks_mut(nx.max(1)).zip(pixels.par_chunks(nx.max(1))).enumerate().for_each_init(
            || vec![false; nx],
            |dark, (y, (mask, row))| {
                for (x, (dark, &value)) in dark.iter_mut().zip(row).enumerate() {
                    let level = ribbons.moved(y, x, ribbons.middle(x / box_size)).map(|row| floors[x / box_size][row]);
                    *dark = level.is_some_and(|level| f64::from(value) < level);
                }
                judge(dark, window / 2, least, mask);
            },
        );
    }
    Ok(mask)
}

/// An image in ribbons of columns.
struct Ribbons<'a> {
    pixels: &'a [f32],
    dymap: Option<&'a [f32]>,
    shape: (usize, usize),
    rule: UnlitRule,
}

impl Ribbons<'_> {
    /// Middle column of a ribbon.
    #[inline]
    fn middle(&self, ribbon: usize) -> usize {
        (ribbon * self.rule.box_size + self.rule.box_size / 2).min(self.shape.1 - 1)
    }

    /// Row at column `to` of the order, or gap, that is at row `y` in column `from`.
    #[inline]
    fn moved(&self, y: usize, from: usize, to: usize) -> Option<usize> {
        let Some(dymap) = self.dymap else { return Some(y) };
        let (ny, nx) = self.shape;
        let straight = (y as f32 - dymap[y * nx + from]).round().max(0.0) as usize;
        let shifts = &dymap[straight.min(ny - 1) * nx..][..nx];
        let row = (y as f32 + shifts[to] - shifts[from]).round();
        (row >= 0.0 && row < ny as f32).then_some(row as usize)
    }

    /// Level of the background at every row of a ribbon.
    fn floor(&self, ribbon: usize) -> Vec<f64> {
        let (ny, nx) = self.shape;
        let half = self.rule.box_size / 2;
        let columns = ribbon * self.rule.box_size..((ribbon + 1) * self.rule.box_size).min(nx);
        let mut values = Vec::with_capacity(columns.len());
        let profile: Vec<f64> = (0..ny)
            .map(|y| {
                values.clear();
                values.extend(columns.clone().filter_map(|x| {
                    let row = self.moved(y, self.middle(ribbon), x)?;
                    Some(self.pixels[row * nx + x])
                }));
                nan_median(&mut values)
            })
            .collect();
        let mut near = Vec::with_capacity(self.rule.box_size);
        (0..ny)
            .map(|y| {
                near.clear();
                near.extend_from_slice(&profile[y.saturating_sub(half)..(y + half).min(ny)]);
                nan_percentile(&mut near, self.rule.percent)
            })
            .collect()
    }
}

/// Percentile of the values that are not NaN, by linear interpolation between ranks; NaN where there are none.
fn nan_percentile(values: &mut [f64], percent: f64) -> f64 {
    let count = partition_nan(values);
    if count == 0 {
        return f64::NAN;
    }
    let rank = percent / 100.0 * (count - 1) as f64;
    let (_, &mut low, above) = values[..count].select_nth_unstable_by(rank as usize, ascending);
    let high = above.iter().copied().reduce(f64::min).unwrap_or(low);
    low + (high - low) * rank.fract()
}

/// Settle a row by the number of dark pixels around each.
fn judge(dark: &[bool], half: usize, least: usize, mask: &mut [u8]) {
    let mut count = dark.iter().take(half).filter(|&&d| d).count();
    for x in 0..dark.len() {
        count += usize::from(dark.get(x + half).copied().unwrap_or(false));
        count -= usize::from(x > half && dark[x - half - 1]);
        mask[x] = u8::from(count >= least || (dark[x] && count > 1));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const RULE: UnlitRule = UnlitRule { box_size: 8, percent: 30.0, window: 7, least: 3 };

    #[test]
    fn the_gaps_between_orders_are_unlit() {
        // Rows 0 to 2 of each eight are dark, a little less so towards higher rows.
        let image =
            Array2::from_shape_fn(
                (40, 24),
                |(y, x)| {
                    if y % 8 < 3 { (y % 8) as f32 + 0.1 * (x % 2) as f32 } else { 100.0 }
                },
            );
        let mask = unlit_mask(image.view(), RULE, None).unwrap();
        assert!(mask.row(16).iter().all(|&m| m == 1));
        assert!(mask.row(20).iter().all(|&m| m == 0));
    }

    #[test]
    fn steep_orders_leave_their_gaps_when_they_are_followed() {
        let rule = UnlitRule { box_size: 32, percent: 20.0, ..RULE };
        let slope = |x: usize| 0.5 * (x as f32 - 40.0);
        let image = Array2::from_shape_fn((120, 96), |(y, x)| {
            let straight = (y as f32 - slope(x)).rem_euclid(12.0);
            if straight < 4.0 { 5.0 + straight } else { 90.0 + 2.0 * ((7 * x + 3 * y) % 11) as f32 }
        });
        let dymap = Array2::from_shape_fn((120, 96), |(_, x)| slope(x));
        // Pixels between the orders and in them that are taken for unlit, away from the edges.
        let taken = |dymap: Option<ArrayView2<f32>>| {
            let inner = ndarray::s![40..80, 8..88];
            let mask = unlit_mask(image.view(), rule, dymap).unwrap();
            let (mask, image) = (mask.slice(inner), image.slice(inner));
            let values = mask.iter().zip(image).filter(|(m, _)| **m == 1).map(|(_, v)| *v);
            values.fold((0, 0), |(dark, lit), value| if value < 50.0 { (dark + 1, lit) } else { (dark, lit + 1) })
        };
        let (dark, lit) = taken(Some(dymap.view()));
        // A third of the pixels is dark, and half of it below the level; the window takes some more on both sides.
        assert!(dark > 40 * 80 / 6, "{dark}");
        assert!(lit <= dark / 4, "{lit} {dark}");
        let (_, washed_out) = taken(None);
        assert!(washed_out > 3 * lit, "{washed_out} {lit}");
    }

    #[test]
    fn lonely_pixels_go_and_gaps_are_closed() {
        let mut mask = vec![9; 10];
        let row = |places: &[usize]| (0..10).map(|x| places.contains(&x)).collect::<Vec<_>>();
        judge(&row(&[4]), 3, 3, &mut mask);
        assert!(mask.iter().all(|&m| m == 0));
        judge(&row(&[2, 4]), 3, 3, &mut mask);
        assert_eq!(mask, [0, 0, 1, 0, 1, 0, 0, 0, 0, 0]);
        judge(&row(&[2, 4, 5]), 3, 3, &mut mask);
        assert_eq!(mask, [0, 0, 1, 1, 1, 1, 0, 0, 0, 0]);
    }

    #[test]
    fn pixels_without_value_are_not_unlit() {
        let image = Array2::from_elem((20, 20), f32::NAN);
        assert!(unlit_mask(image.view(), RULE, None).unwrap().iter().all(|&m| m == 0));
        assert!(unlit_mask(image.view(), UnlitRule { window: 4, ..RULE }, None).is_err());
    }

    #[test]
    fn percentiles_lie_between_ranks() {
        assert_eq!(nan_percentile(&mut [3.0, f64::NAN, 1.0, 2.0], 75.0), 2.5);
        assert_eq!(nan_percentile(&mut [3.0, 1.0], 100.0), 3.0);
        assert!(nan_percentile(&mut [f64::NAN], 5.0).is_nan());
    }
}
