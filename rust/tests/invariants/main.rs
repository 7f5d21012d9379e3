//! Every kernel held to plain reference code on random input, gaps and edges included.
//!
//! The cases are the same in every run; `PROPTEST_CASES=2000 cargo test --release` hunts among new ones.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod background;
mod bootstrapping;
mod calibration;
mod combining;
mod extraction;
mod fitsfiles;
mod input;
mod medians;
mod prelude;
mod reference;
mod straightening;
mod threads;
mod windows;
