//! What every way of extracting shares: windows, noise, spectra, and work order by order.

use crate::error::{Result, require};
use ndarray::Array2;
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

/// Where the spectra of one order go: flux and variance by columns, shares and kept pixels by rows and columns.
pub(crate) struct Out<'a> {
    pub e2ds: &'a mut [f64],
    pub variance: &'a mut [f64],
    pub stacked: &'a mut [f32],
    pub kept: &'a mut [u8],
}

/// Extract every order by itself; gives also what the work tells of each.
pub(crate) fn each_order<T: Send>(
    windows: &[Window],
    columns: usize,
    work: impl Fn(Window, Out<'_>) -> T + Sync,
) -> (Spectra, Vec<T>) {
    let total: usize = windows.iter().map(|w| w.count).sum();
    let mut e2ds = Array2::from_elem((windows.len(), columns), f64::NAN);
    let mut variance = e2ds.clone();
    let mut e2dsll = Array2::from_elem((total, columns), f32::NAN);
    let mut e2dscc = Array2::zeros((total, columns));
    let mut told = Vec::new();
    if let (Some(e2ds), Some(variance), Some(mut stacked), Some(mut kept)) =
        (e2ds.as_slice_mut(), variance.as_slice_mut(), e2dsll.as_slice_mut(), e2dscc.as_slice_mut())
    {
        let mut orders = Vec::with_capacity(windows.len());
        for &window in windows {
            let (head, tail) = stacked.split_at_mut(window.count * columns);
            let (kept_head, kept_tail) = kept.split_at_mut(window.count * columns);
            orders.push((window, head, kept_head));
            (stacked, kept) = (tail, kept_tail);
        }
        told = orders
            .into_par_iter()
            .zip(e2ds.par_chunks_mut(columns.max(1)))
            .zip(variance.par_chunks_mut(columns.max(1)))
            .map(|(((window, stacked, kept), e2ds), variance)| {
                let word = work(window, Out { e2ds, variance, stacked, kept: &mut *kept });
                (kept.iter().filter(|&&k| k == 0).count(), word)
            })
            .collect();
    }
    let (rejected, told) = told.into_iter().unzip();
    (Spectra { e2ds, variance, e2dsll, e2dscc, rejected }, told)
}
