//! Kernels of flatcore: pure functions on array views, one file per family.
//!
//! Images are single precision, sums are double. Work is shared out over independent pixels, columns, cells or orders,
//! never over a floating-point sum, so results are the same bits for any number of threads.

pub mod along;
pub mod background;
pub mod calibrate;
mod cell_map;
pub mod combine;
pub mod direct;
mod eights;
pub mod error;
mod extent;
pub mod extract;
pub mod fitsfile;
mod gaps;
pub mod horne;
pub mod hotpixels;
pub mod interpolate;
mod lanes;
mod local_scale;
pub mod mapping;
pub mod median;
pub mod network;
pub mod orders;
mod parallel;
pub mod pixels;
pub mod profile_fit;
pub mod profiles;
pub mod readnoise;
pub mod robust;
mod runs;
pub mod scattered;
mod selection;
pub mod simd;
pub mod sinc2;
pub mod spline;
pub mod spread;
pub mod straighten;
mod tiles;
pub mod tracing;
mod triangle;
pub mod trust_region;
mod trust_step;
pub mod unlit;
mod validity;
pub mod windows;

#[cfg(feature = "python")]
mod python;
