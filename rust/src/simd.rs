//! The widest vector instructions the processor has, found at run time.
//!
//! Kernels are written once, on plain arrays of lanes. Each is compiled for several instruction sets; the operations
//! and their order are the same in all of them (no fused multiply-add), so the bits of the results are too.

use pulp::{Arch, NullaryFnOnce, Simd, WithSimd};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether wide instructions are used; the environment's FLATCORE_SIMD=off is the start.
static WIDE: LazyLock<AtomicBool> =
    LazyLock::new(|| AtomicBool::new(std::env::var_os("FLATCORE_SIMD").is_none_or(|value| value != "off")));

/// Part of a kernel whose loops are worth wide instructions; `call` and all it calls should be `#[inline(always)]`.
pub use pulp::NullaryFnOnce as Vectorised;

/// Use wide instructions where the processor has them (the default), or only those that every processor has.
pub fn set_wide(wide: bool) {
    WIDE.store(wide, Ordering::Relaxed);
}

/// Run with the widest instructions there are.
pub fn widest<W: NullaryFnOnce>(work: W) -> W::Output {
    if WIDE.load(Ordering::Relaxed) { Arch::new().dispatch(Wide(work)) } else { work.call() }
}

struct Wide<W>(W);

impl<W: NullaryFnOnce> WithSimd for Wide<W> {
    type Output = W::Output;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Self::Output {
        self.0.call()
    }
}
