//! What every family of tests needs.

pub use flatcore::along::{curve_medians, row_medians};
pub use flatcore::background::{global_background, subtract_background, subtract_background_in_place};
pub use flatcore::calibrate::{Bounds, Flip, ToElectrons, apply_bounds, pixels_above, to_electrons};
pub use flatcore::combine::{Method, combine};
pub use flatcore::direct::extract_direct;
pub use flatcore::extract::extract_orders;
pub use flatcore::fitsfile::{Hdu, Values, write_fits};
pub use flatcore::horne::extract_orders_horne;
pub use flatcore::hotpixels::{repair_hot_pixels, repair_hot_pixels_in_place};
pub use flatcore::mapping::Mapping;
pub use flatcore::median::{LANES, MedianNetwork, nan_median, running_nan_median};
pub use flatcore::orders::{Extraction, Spectra, Window};
pub use flatcore::pixels::{PixelFile, PixelLayout};
pub use flatcore::readnoise::effective_readnoise;
pub use flatcore::robust::{quantile, robust_sigma, slow_part};
pub use flatcore::scattered::{Scatter, ScatterKernel, fill_nan, scattered_light};
pub use flatcore::spline::{mirrored, prefilter, prefilter_image, weights};
pub use flatcore::spread::median_distance;
pub use flatcore::straighten::{Linear, straighten};
pub use flatcore::unlit::{UnlitRule, unlit_mask};
pub use ndarray::{Array2, ArrayView2, s};
pub use proptest::collection::vec;
pub use proptest::prelude::*;
pub use proptest::sample::select;
pub use proptest::test_runner::RngSeed;
pub use std::ops::RangeInclusive;
pub use std::path::PathBuf;
pub use std::sync::atomic::{AtomicUsize, Ordering};

pub use crate::input::*;
pub use crate::reference::*;

pub const METHODS: [Method; 3] =
    [Method::Median, Method::Mean, Method::ClippedMean { sigma: 2.0, electrons: 0.5, readnoise: 3.0 }];
pub const IDENTITY: Linear = Linear { dx: 0.0, dy: 0.0, a: 1.0, b: 0.0, c: 0.0, d: 1.0 };
pub const ERF_1: f64 = 0.842_700_792_949_714_9;

pub fn config() -> ProptestConfig {
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    if std::env::var_os("PROPTEST_CASES").is_some() {
        return config;
    }
    ProptestConfig { cases: 48, rng_seed: RngSeed::Fixed(1986), ..config }
}
