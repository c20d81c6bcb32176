//! AVX-512 VNNI: sixteen sums in a vector, four products each in one instruction, 32 registers.
//!
//! The tiles are what 32 registers hold: up to 24 vectors of sums, which also hides the dot product's latency (five cycles, two a
//! cycle). Few pixels at a time but four vectors of outputs where there are as many, since then narrowing wastes nothing.

use std::arch::asm;
use std::arch::x86_64::*;

use super::avx2::prepare_for;
use super::bytes::Walks;
use super::conv::Tile;
use super::depthwise::Spans;
use super::simd::{Out, Simd, entries};
use super::{Kernel, Layer, bytes};

/// Packs the layer; gives it back where there is no version of it here.
pub(super) fn prepare(layer: Layer) -> Result<Box<dyn Kernel>, Layer> {
    match layer {
        Layer::Lookup(layer) if is_x86_feature_detected!("avx512vbmi") => Ok(bytes::prepare_lookup(layer, lookup)),
        layer => prepare_for::<Evex>(layer),
    }
}

/// A table of 256 bytes in four registers; of the two halves that `vpermi2b` looks through, a byte's highest bit tells which.
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl,avx512vbmi")]
unsafe fn lookup(task: &bytes::LookupTask, arena: *mut u8) {
    // SAFETY: the caller's promise; `prepare` checked the processor.
    unsafe {
        bytes::run_lookup_by::<Evex>(task, arena, |table, x| {
            let part = |i: usize| _mm512_loadu_si512(table.as_ptr().add(64 * i).cast());
            let low = _mm512_permutex2var_epi8(part(0), x, part(1));
            let high = _mm512_permutex2var_epi8(part(2), x, part(3));
            _mm512_mask_blend_epi8(_mm512_movepi8_mask(x), low, high)
        });
    }
}

/// 512-bit vectors.
pub(super) struct Evex;

entries!(Evex, "avx2,avx512f,avx512bw,avx512vl,avx512vnni");

impl Simd for Evex {
    type Sums = __m512i;
    type Reals = __m512;
    type Bytes = __m512i;
    type Input = __m512i;
    type Weights = __m512i;
    const LANES: usize = 16;
    const GROUP: usize = 64;
    const TILES: &'static [&'static [Tile]] = &[
        &[
            tile::<1, 1>,
            tile::<2, 1>,
            tile::<3, 1>,
            tile::<4, 1>,
            tile::<5, 1>,
            tile::<6, 1>,
            tile::<7, 1>,
            tile::<8, 1>,
            tile::<9, 1>,
            tile::<10, 1>,
            tile::<11, 1>,
            tile::<12, 1>,
        ],
        &[
            tile::<1, 2>,
            tile::<2, 2>,
            tile::<3, 2>,
            tile::<4, 2>,
            tile::<5, 2>,
            tile::<6, 2>,
            tile::<7, 2>,
            tile::<8, 2>,
            tile::<9, 2>,
            tile::<10, 2>,
            tile::<11, 2>,
            tile::<12, 2>,
        ],
        &[tile::<1, 3>, tile::<2, 3>, tile::<3, 3>, tile::<4, 3>, tile::<5, 3>, tile::<6, 3>, tile::<7, 3>, tile::<8, 3>],
        &[tile::<1, 4>, tile::<2, 4>, tile::<3, 4>, tile::<4, 4>, tile::<5, 4>, tile::<6, 4>],
    ];
    const SPANS: Spans = Spans {
        near: [span::<2, 2, 3, 1>, span::<2, 2, 5, 1>],
        rows: 2,
        pixels: 2,
        far: [span::<1, 2, 3, 2>, span::<1, 2, 5, 2>],
        far_pixels: 2,
        any: [span::<2, 1, 0, 1>, span::<1, 1, 0, 1>],
    };
    const WALKS: Walks = Walks { add: walk_add, mul: walk_mul, max: walk_max, mean: walk_mean };

    fn pack(four: &[[i8; 4]], packed: &mut Vec<i8>) {
        packed.extend_from_slice(four.as_flattened());
    }

    #[inline(always)]
    unsafe fn sums(from: *const i32) -> __m512i {
        // SAFETY: see `Simd`, as for all below.
        unsafe { _mm512_loadu_si512(from.cast()) }
    }

    #[inline(always)]
    unsafe fn reals(from: *const f32) -> __m512 {
        // SAFETY: as above.
        unsafe { _mm512_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn splat(value: f32) -> __m512 {
        // SAFETY: as above.
        unsafe { _mm512_set1_ps(value) }
    }

    #[inline(always)]
    unsafe fn spread(from: *const u8) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_set1_epi32(from.cast::<i32>().read_unaligned()) }
    }

    #[inline(always)]
    unsafe fn columns(rows: [*const u8; 4]) -> [__m512i; 4] {
        // SAFETY: as above.
        unsafe {
            let [a, b, c, d] = rows.map(|row| _mm512_loadu_si512(row.cast()));
            let (ab, cd) = (_mm512_unpacklo_epi8(a, b), _mm512_unpacklo_epi8(c, d));
            let (ab2, cd2) = (_mm512_unpackhi_epi8(a, b), _mm512_unpackhi_epi8(c, d));
            [
                _mm512_unpacklo_epi16(ab, cd),
                _mm512_unpackhi_epi16(ab, cd),
                _mm512_unpacklo_epi16(ab2, cd2),
                _mm512_unpackhi_epi16(ab2, cd2),
            ]
        }
    }

    #[inline(always)]
    unsafe fn fetch(from: *const i8) {
        // SAFETY: as above.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(from) }
    }

    #[inline(always)]
    unsafe fn weights(from: *const i8) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_loadu_si512(from.cast()) }
    }

    #[inline(always)]
    unsafe fn dot(sums: __m512i, input: __m512i, weights: __m512i) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_dpbusd_epi32(sums, input, weights) }
    }

    #[inline(always)]
    unsafe fn pin(sums: __m512i) -> __m512i {
        // SAFETY: as above.
        unsafe { pin(sums) }
    }

    #[inline(always)]
    unsafe fn lift(sums: __m512i, lift: __m512i, times: i32) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_add_epi32(sums, _mm512_mullo_epi32(lift, _mm512_set1_epi32(times))) }
    }

    #[inline(always)]
    unsafe fn real(sums: __m512i) -> __m512 {
        // SAFETY: as above.
        unsafe { _mm512_cvtepi32_ps(sums) }
    }

    #[inline(always)]
    unsafe fn mul(a: __m512, b: __m512) -> __m512 {
        // SAFETY: as above.
        unsafe { _mm512_mul_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn add(a: __m512, b: __m512) -> __m512 {
        // SAFETY: as above.
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn round(a: __m512) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_cvtps_epi32(a) }
    }

    #[inline(always)]
    unsafe fn widen(bytes: __m512i, zero: f32) -> [__m512; 4] {
        // Under 0x4b00 in the upper half a byte is the float 2^23 + byte.
        // SAFETY: as above.
        unsafe {
            let (none, exponent) = (_mm512_setzero_si512(), _mm512_set1_epi16(0x4b00));
            let zero = _mm512_set1_ps(8_388_608.0 + zero);
            let (low, high) = (_mm512_unpacklo_epi8(bytes, none), _mm512_unpackhi_epi8(bytes, none));
            [
                _mm512_unpacklo_epi16(low, exponent),
                _mm512_unpackhi_epi16(low, exponent),
                _mm512_unpacklo_epi16(high, exponent),
                _mm512_unpackhi_epi16(high, exponent),
            ]
            .map(|bits| _mm512_sub_ps(_mm512_castsi512_ps(bits), zero))
        }
    }

    #[inline(always)]
    unsafe fn narrow(sums: [__m512i; 4], out: &Out) -> __m512i {
        // SAFETY: as above.
        unsafe {
            let zero = _mm512_set1_epi16(out.zero);
            let low = _mm512_adds_epi16(_mm512_packs_epi32(sums[0], sums[1]), zero);
            let high = _mm512_adds_epi16(_mm512_packs_epi32(sums[2], sums[3]), zero);
            let bytes = _mm512_packus_epi16(low, high);
            let bytes = _mm512_max_epu8(bytes, _mm512_set1_epi8(out.low as i8));
            _mm512_min_epu8(bytes, _mm512_set1_epi8(out.high as i8))
        }
    }

    #[inline(always)]
    unsafe fn straight(bytes: __m512i) -> __m512i {
        // SAFETY: as above.
        unsafe {
            let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
            _mm512_permutexvar_epi32(order, bytes)
        }
    }

    #[inline(always)]
    unsafe fn load(from: *const u8) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_loadu_si512(from.cast()) }
    }

    #[inline(always)]
    unsafe fn load2(from: [*const u8; 2]) -> __m512i {
        // SAFETY: as above.
        unsafe {
            let [a, b] = from.map(|from| _mm256_loadu_si256(from.cast()));
            _mm512_inserti64x4::<1>(_mm512_castsi256_si512(a), b)
        }
    }

    #[inline(always)]
    unsafe fn load4(from: [*const u8; 4]) -> __m512i {
        // SAFETY: as above.
        unsafe {
            let [a, b, c, d] = from.map(|from| _mm_loadu_si128(from.cast()));
            let low = _mm512_inserti32x4::<1>(_mm512_castsi128_si512(a), b);
            _mm512_inserti32x4::<3>(_mm512_inserti32x4::<2>(low, c), d)
        }
    }

    #[inline(always)]
    unsafe fn store(to: *mut u8, bytes: __m512i, count: usize) {
        // SAFETY: as above. A masked store touches no byte that its mask leaves out; whole ones forward to later loads.
        unsafe {
            if count == 64 {
                _mm512_storeu_si512(to.cast(), bytes);
            } else {
                _mm512_mask_storeu_epi8(to.cast(), (1 << count) - 1, bytes);
            }
        }
    }

    #[inline(always)]
    unsafe fn store2(to: [*mut u8; 2], bytes: __m512i, count: usize) {
        // SAFETY: as above.
        unsafe {
            let halves = [_mm512_castsi512_si256(bytes), _mm512_extracti64x4_epi64::<1>(bytes)];
            for (to, half) in to.into_iter().zip(halves) {
                if count == 32 {
                    _mm256_storeu_si256(to.cast(), half);
                } else {
                    _mm256_mask_storeu_epi8(to.cast(), (1 << count) - 1, half);
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn store4(to: [*mut u8; 4], bytes: __m512i, count: usize) {
        // SAFETY: as above.
        unsafe {
            let quarters = [
                _mm512_castsi512_si128(bytes),
                _mm512_extracti32x4_epi32::<1>(bytes),
                _mm512_extracti32x4_epi32::<2>(bytes),
                _mm512_extracti32x4_epi32::<3>(bytes),
            ];
            for (to, quarter) in to.into_iter().zip(quarters) {
                if count == 16 {
                    _mm_storeu_si128(to.cast(), quarter);
                } else {
                    _mm_mask_storeu_epi8(to.cast(), (1 << count) - 1, quarter);
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn max(a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_max_epu8(a, b) }
    }
}

/// See [`Simd::pin`]: an instruction that is none.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn pin(mut sums: __m512i) -> __m512i {
    // SAFETY: changes nothing.
    unsafe { asm!("/* {0} */", inout(zmm_reg) sums, options(nomem, nostack, preserves_flags)) };
    sums
}
