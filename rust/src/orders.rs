//! What every way of extracting shares: windows, noise, spectra, and work order by order.

use crate::error::{Result, contiguous_mut, require, same_shape};
use ndarray::{Array2, ArrayViewMut2};
use rayon::prelude::*;

/// Rows of one order's window; they may lie off the detector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// First row.
    pub first: isize,
    /// Number of rows.
    pub count: usize,
}

/// Which pixels are kept, and what noise they have.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Extraction {
    /// Distance from the scaled profile, in units of the column's median distance, at which a pixel is rejected; none
    /// keeps every pixel whose distance is finite in that unit.
    pub threshold: Option<f64>,
    /// Read noise of the image before straightening, in electrons.
    pub readnoise: f64,
    /// Photon variance of the image per electron: 1 for a single frame.
    pub photon_variance: f64,
}

impl Extraction {
    pub(crate) fn check(&self) -> Result<()> {
        require(self.readnoise >= 0.0 || self.readnoise.is_nan(), "readnoise", self.readnoise, "at least 0")?;
        require(self.photon_variance >= 0.0, "photon variance", self.photon_variance, "at least 0")
    }

    /// Variance of a pixel from the electrons a model expects of it; never from its own noisy value, which would give
    /// pixels that scattered low the greater weight.
    #[inline(always)]
    pub(crate) fn variance(&self, electrons: f64) -> f64 {
        electrons.max(0.0) * self.photon_variance + self.readnoise * self.readnoise
    }
}

/// Spectra of a fibre's orders.
#[derive(Debug, Clone)]
pub struct Spectra {
    /// Flux, orders by columns; NaN where no pixel is kept.
    pub e2ds: Array2<f64>,
    /// Variance of the flux from photon and read noise.
    pub variance: Array2<f64>,
    /// Each pixel's share of the flux, all windows' rows by columns; NaN where rejected.
    pub e2dsll: Array2<f32>,
    /// 1 where a pixel is kept, 0 where it is not.
    pub e2dscc: Array2<u8>,
    /// Pixels left out, per order.
    pub rejected: Vec<usize>,
}

/// Where the spectra of all orders go: as [`Spectra`], filled anew.
pub struct Room<'a> {
    /// Orders by columns.
    pub e2ds: ArrayViewMut2<'a, f64>,
    /// Orders by columns.
    pub variance: ArrayViewMut2<'a, f64>,
    /// All windows' rows by columns.
    pub e2dsll: ArrayViewMut2<'a, f32>,
    /// All windows' rows by columns.
    pub e2dscc: ArrayViewMut2<'a, u8>,
}

impl Spectra {
    /// Spectra in memory of their own; `fill` tells the number of pixels left out, per order.
    pub(crate) fn filled(
        windows: &[Window],
        columns: usize,
        fill: impl FnOnce(Room<'_>) -> Result<Vec<usize>>,
    ) -> Result<Self> {
        let (orders, rows) = (windows.len(), rows_of(windows));
        let (mut e2ds, mut variance) = (Array2::zeros((orders, columns)), Array2::zeros((orders, columns)));
        let (mut e2dsll, mut e2dscc) = (Array2::zeros((rows, columns)), Array2::zeros((rows, columns)));
        let room = Room {
            e2ds: e2ds.view_mut(),
            variance: variance.view_mut(),
            e2dsll: e2dsll.view_mut(),
            e2dscc: e2dscc.view_mut(),
        };
        let rejected = fill(room)?;
        Ok(Self { e2ds, variance, e2dsll, e2dscc, rejected })
    }
}

/// Rows of all windows.
pub fn rows_of(windows: &[Window]) -> usize {
    windows.iter().map(|window| window.count).sum()
}

/// Where the spectra of one order go: flux and variance by columns, shares and kept pixels by rows and columns. They
/// may hold anything.
pub(crate) struct Out<'a> {
    pub e2ds: &'a mut [f64],
    pub variance: &'a mut [f64],
    pub stacked: &'a mut [f32],
    pub kept: &'a mut [u8],
}

impl Out<'_> {
    /// Let no pixel be kept.
    pub fn clear(&mut self) {
        self.stacked.fill(f32::NAN);
        self.kept.fill(0);
    }
}

/// Extract every order by itself; gives the pixels left out, per order, and what the work tells of each.
pub(crate) fn each_order<T: Send>(
    windows: &[Window],
    columns: usize,
    mut room: Room<'_>,
    work: impl Fn(Window, Out<'_>) -> T + Sync,
) -> Result<(Vec<usize>, Vec<T>)> {
    let (flat, stack) = ((windows.len(), columns), (rows_of(windows), columns));
    same_shape("flux", &room.e2ds.view(), flat)?;
    same_shape("variance", &room.variance.view(), flat)?;
    same_shape("shares", &room.e2dsll.view(), stack)?;
    same_shape("kept pixels", &room.e2dscc.view(), stack)?;
    let e2ds = contiguous_mut("flux", &mut room.e2ds)?;
    let variance = contiguous_mut("variance", &mut room.variance)?;
    let mut stacked = contiguous_mut("shares", &mut room.e2dsll)?;
    let mut kept = contiguous_mut("kept pixels", &mut room.e2dscc)?;
    let mut orders = Vec::with_capacity(windows.len());
    for &window in windows {
        let (head, tail) = stacked.split_at_mut(window.count * columns);
        let (kept_head, kept_tail) = kept.split_at_mut(window.count * columns);
        orders.push((window, head, kept_head));
        (stacked, kept) = (tail, kept_tail);
    }
    let told = orders
        .into_par_iter()
        .zip(e2ds.par_chunks_mut(columns.max(1)))
        .zip(variance.par_chunks_mut(columns.max(1)))
        .map(|(((window, stacked, kept), e2ds), variance)| {
            let word = work(window, Out { e2ds, variance, stacked, kept: &mut *kept });
            (kept.iter().filter(|&&k| k == 0).count(), word)
        });
    Ok(told.unzip())
}
