//! AVX-VNNI: 256-bit vectors with a dot product of bytes (`vpdpbusd` in its VEX form), on processors without AVX-512.
//!
//! Everything but the dot product is AVX2's, see [`Wide`].

use std::arch::x86_64::*;

use super::avx2::{Dot, Wide, pin, prepare_for};
use super::bytes::Walks;
use super::conv::Tile;
use super::depthwise::Spans;
use super::simd::entries;
use super::{Kernel, Layer};

/// Packs the layer; gives it back where there is no version of it here.
pub(super) fn prepare(layer: Layer) -> Result<Box<dyn Kernel>, Layer> {
    prepare_for::<Wide<Vex>>(layer)
}

/// The VEX form.
pub(super) struct Vex;

entries!(Wide<Vex>, "avx2,avxvnni");

impl Dot for Vex {
    type Input = __m256i;
    type Weights = __m256i;
    const GROUP: usize = 32;
    const TILES: &'static [&'static [Tile]] = &[
        &[tile::<1, 1>, tile::<2, 1>, tile::<3, 1>, tile::<4, 1>, tile::<5, 1>, tile::<6, 1>, tile::<7, 1>, tile::<8, 1>],
        &[tile::<1, 2>, tile::<2, 2>, tile::<3, 2>, tile::<4, 2>, tile::<5, 2>, tile::<6, 2>],
    ];
    const SPANS: Spans = Spans {
        near: [span::<2, 1, 3, 1>, span::<2, 1, 5, 1>],
        rows: 2,
        pixels: 1,
        far: [span::<1, 2, 3, 2>, span::<1, 2, 5, 2>],
        far_pixels: 2,
        any: [span::<2, 1, 0, 1>, span::<1, 1, 0, 1>],
    };
    const WALKS: Walks = Walks { add: walk_add, mul: walk_mul, max: walk_max, mean: walk_mean };

    fn pack(four: &[[i8; 4]], packed: &mut Vec<i8>) {
        packed.extend_from_slice(four.as_flattened());
    }

    #[inline(always)]
    unsafe fn input(bytes: __m256i) -> __m256i {
        bytes
    }

    #[inline(always)]
    unsafe fn weights(from: *const i8) -> __m256i {
        // SAFETY: see `Simd`.
        unsafe { _mm256_loadu_si256(from.cast()) }
    }

    #[inline(always)]
    unsafe fn dot(sums: __m256i, input: __m256i, weights: __m256i) -> __m256i {
        // SAFETY: see `Simd`.
        unsafe { _mm256_dpbusd_avx_epi32(sums, input, weights) }
    }

    #[inline(always)]
    unsafe fn pin(sums: __m256i) -> __m256i {
        // SAFETY: see `Simd`.
        unsafe { pin(sums) }
    }
}
