//! AVX2, and what every 256-bit instruction set shares: [`Wide`], complete but for the dot product.
//!
//! Without VNNI a dot product of bytes goes through 16 bits: `vpmaddubsw`, which takes bytes, saturates (255 * 127 twice is more than
//! an `i16` holds), so activations are split into their even and odd bytes, each a pair of 16-bit numbers (one mask, one
//! shift), and `vpmaddwd` multiplies them with weights that were widened when packed. That is exact for every byte and costs two
//! multiplications for what VNNI does in one; the split is paid once for all vectors of outputs.

use std::arch::asm;
use std::arch::x86_64::*;
use std::marker::PhantomData;

use super::bytes::Walks;
use super::conv::Tile;
use super::depthwise::Spans;
use super::simd::{Out, Simd, entries};
use super::{Kernel, Layer, bytes, conv, depthwise};

/// Packs the layer; gives it back where there is no version of it here.
pub(super) fn prepare(layer: Layer) -> Result<Box<dyn Kernel>, Layer> {
    prepare_for::<Wide<Madd>>(layer)
}

/// The same for any [`Simd`].
pub(super) fn prepare_for<S: Simd>(layer: Layer) -> Result<Box<dyn Kernel>, Layer> {
    match layer {
        Layer::Conv(conv) => conv::prepare::<S>(conv),
        Layer::Depthwise(dw) => depthwise::prepare::<S>(dw),
        Layer::Add(add) => bytes::prepare_add::<S>(add),
        Layer::Mul(mul) => bytes::prepare_mul::<S>(mul),
        Layer::Lookup(lookup) => Ok(bytes::prepare_lookup(lookup, bytes::run_lookup)),
        Layer::Pool(pool) => bytes::prepare_pool::<S>(pool),
    }
}

/// The dot product of a 256-bit instruction set, see [`Simd`], and the functions compiled for it.
pub(super) trait Dot: Send + Sync + 'static {
    type Input: Copy;
    type Weights: Copy;
    const GROUP: usize;
    const TILES: &'static [&'static [Tile]];
    const SPANS: Spans;
    const WALKS: Walks;
    fn pack(four: &[[i8; 4]], packed: &mut Vec<i8>);
    /// Four activations in each 32 bits, as `dot` wants them.
    unsafe fn input(bytes: __m256i) -> Self::Input;
    unsafe fn weights(from: *const i8) -> Self::Weights;
    unsafe fn dot(sums: __m256i, input: Self::Input, weights: Self::Weights) -> __m256i;
    /// See [`Simd::pin`].
    unsafe fn pin(sums: __m256i) -> __m256i;
}

/// AVX2's `vpmaddwd`.
pub(super) struct Madd;

entries!(Wide<Madd>, "avx2");

impl Dot for Madd {
    type Input = [__m256i; 2];
    /// Where they are: twelve sums and an input leave no register for weights.
    type Weights = *const i8;
    const GROUP: usize = 64;
    const TILES: &'static [&'static [Tile]] = &[
        &[tile::<1, 1>, tile::<2, 1>, tile::<3, 1>, tile::<4, 1>, tile::<5, 1>, tile::<6, 1>, tile::<7, 1>, tile::<8, 1>],
        &[tile::<1, 2>, tile::<2, 2>, tile::<3, 2>, tile::<4, 2>, tile::<5, 2>, tile::<6, 2>],
        &[tile::<1, 3>, tile::<2, 3>, tile::<3, 3>, tile::<4, 3>],
        &[tile::<1, 4>, tile::<2, 4>, tile::<3, 4>],
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
        for half in 0..2 {
            for four in four {
                for i in [half, half + 2] {
                    packed.extend(i16::from(four[i]).to_le_bytes().map(|byte| byte as i8));
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn input(bytes: __m256i) -> [__m256i; 2] {
        // SAFETY: see `Simd`.
        unsafe { [_mm256_and_si256(bytes, _mm256_set1_epi16(0xff)), _mm256_srli_epi16::<8>(bytes)] }
    }

    #[inline(always)]
    unsafe fn weights(from: *const i8) -> *const i8 {
        from
    }

    #[inline(always)]
    unsafe fn dot(sums: __m256i, input: [__m256i; 2], weights: *const i8) -> __m256i {
        // SAFETY: see `Simd`.
        unsafe {
            let (even, odd) = (_mm256_loadu_si256(weights.cast()), _mm256_loadu_si256(weights.add(32).cast()));
            let sums = _mm256_add_epi32(sums, _mm256_madd_epi16(input[0], even));
            _mm256_add_epi32(sums, _mm256_madd_epi16(input[1], odd))
        }
    }

    #[inline(always)]
    unsafe fn pin(sums: __m256i) -> __m256i {
        // SAFETY: see `Simd`.
        unsafe { pin_and_forget(sums) }
    }
}

/// 256-bit vectors.
pub(super) struct Wide<D>(PhantomData<D>);

impl<D: Dot> Simd for Wide<D> {
    type Sums = __m256i;
    type Reals = __m256;
    type Bytes = __m256i;
    type Input = D::Input;
    type Weights = D::Weights;
    const LANES: usize = 8;
    const GROUP: usize = D::GROUP;
    const TILES: &'static [&'static [Tile]] = D::TILES;
    const SPANS: Spans = D::SPANS;
    const WALKS: Walks = D::WALKS;

    fn pack(four: &[[i8; 4]], packed: &mut Vec<i8>) {
        D::pack(four, packed);
    }

    #[inline(always)]
    unsafe fn sums(from: *const i32) -> __m256i {
        // SAFETY: see `Simd`, as for all below.
        unsafe { _mm256_loadu_si256(from.cast()) }
    }

    #[inline(always)]
    unsafe fn reals(from: *const f32) -> __m256 {
        // SAFETY: as above.
        unsafe { _mm256_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn splat(value: f32) -> __m256 {
        // SAFETY: as above.
        unsafe { _mm256_set1_ps(value) }
    }

    #[inline(always)]
    unsafe fn spread(from: *const u8) -> D::Input {
        // SAFETY: as above.
        unsafe { D::input(_mm256_set1_epi32(from.cast::<i32>().read_unaligned())) }
    }

    #[inline(always)]
    unsafe fn columns(rows: [*const u8; 4]) -> [D::Input; 4] {
        // SAFETY: as above.
        unsafe {
            let [a, b, c, d] = rows.map(|row| _mm256_loadu_si256(row.cast()));
            let (ab, cd) = (_mm256_unpacklo_epi8(a, b), _mm256_unpacklo_epi8(c, d));
            let (ab2, cd2) = (_mm256_unpackhi_epi8(a, b), _mm256_unpackhi_epi8(c, d));
            [
                D::input(_mm256_unpacklo_epi16(ab, cd)),
                D::input(_mm256_unpackhi_epi16(ab, cd)),
                D::input(_mm256_unpacklo_epi16(ab2, cd2)),
                D::input(_mm256_unpackhi_epi16(ab2, cd2)),
            ]
        }
    }

    #[inline(always)]
    unsafe fn fetch(from: *const i8) {
        // SAFETY: as above.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(from) }
    }

    #[inline(always)]
    unsafe fn weights(from: *const i8) -> D::Weights {
        // SAFETY: as above.
        unsafe { D::weights(from) }
    }

    #[inline(always)]
    unsafe fn dot(sums: __m256i, input: D::Input, weights: D::Weights) -> __m256i {
        // SAFETY: as above.
        unsafe { D::dot(sums, input, weights) }
    }

    #[inline(always)]
    unsafe fn pin(sums: __m256i) -> __m256i {
        // SAFETY: as above.
        unsafe { D::pin(sums) }
    }

    #[inline(always)]
    unsafe fn lift(sums: __m256i, lift: __m256i, times: i32) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm256_add_epi32(sums, _mm256_mullo_epi32(lift, _mm256_set1_epi32(times))) }
    }

    #[inline(always)]
    unsafe fn real(sums: __m256i) -> __m256 {
        // SAFETY: as above.
        unsafe { _mm256_cvtepi32_ps(sums) }
    }

    #[inline(always)]
    unsafe fn mul(a: __m256, b: __m256) -> __m256 {
        // SAFETY: as above.
        unsafe { _mm256_mul_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn add(a: __m256, b: __m256) -> __m256 {
        // SAFETY: as above.
        unsafe { _mm256_add_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn round(a: __m256) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm256_cvtps_epi32(a) }
    }

    #[inline(always)]
    unsafe fn widen(bytes: __m256i, zero: f32) -> [__m256; 4] {
        // Under 0x4b00 in the upper half a byte is the float 2^23 + byte.
        // SAFETY: as above.
        unsafe {
            let (none, exponent) = (_mm256_setzero_si256(), _mm256_set1_epi16(0x4b00));
            let zero = _mm256_set1_ps(8_388_608.0 + zero);
            let (low, high) = (_mm256_unpacklo_epi8(bytes, none), _mm256_unpackhi_epi8(bytes, none));
            [
                _mm256_unpacklo_epi16(low, exponent),
                _mm256_unpackhi_epi16(low, exponent),
                _mm256_unpacklo_epi16(high, exponent),
                _mm256_unpackhi_epi16(high, exponent),
            ]
            .map(|bits| _mm256_sub_ps(_mm256_castsi256_ps(bits), zero))
        }
    }

    #[inline(always)]
    unsafe fn narrow(sums: [__m256i; 4], out: &Out) -> __m256i {
        // SAFETY: as above.
        unsafe {
            let zero = _mm256_set1_epi16(out.zero);
            let low = _mm256_adds_epi16(_mm256_packs_epi32(sums[0], sums[1]), zero);
            let high = _mm256_adds_epi16(_mm256_packs_epi32(sums[2], sums[3]), zero);
            let bytes = _mm256_packus_epi16(low, high);
            let bytes = _mm256_max_epu8(bytes, _mm256_set1_epi8(out.low as i8));
            _mm256_min_epu8(bytes, _mm256_set1_epi8(out.high as i8))
        }
    }

    #[inline(always)]
    unsafe fn straight(bytes: __m256i) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7)) }
    }

    #[inline(always)]
    unsafe fn load(from: *const u8) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm256_loadu_si256(from.cast()) }
    }

    #[inline(always)]
    unsafe fn load2(from: [*const u8; 2]) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm256_loadu2_m128i(from[1].cast(), from[0].cast()) }
    }

    #[inline(always)]
    unsafe fn load4(from: [*const u8; 4]) -> __m256i {
        // SAFETY: as above.
        unsafe {
            let [a, b, c, d] = from.map(|from| from.cast::<i64>().read_unaligned());
            _mm256_setr_epi64x(a, b, c, d)
        }
    }

    #[inline(always)]
    unsafe fn store(to: *mut u8, bytes: __m256i, count: usize) {
        // SAFETY: as above.
        unsafe {
            if count == 32 {
                _mm256_storeu_si256(to.cast(), bytes);
            } else {
                let (mut to, mut half) = (to, _mm256_castsi256_si128(bytes));
                if count & 16 != 0 {
                    _mm_storeu_si128(to.cast(), half);
                    (to, half) = (to.add(16), _mm256_extracti128_si256::<1>(bytes));
                }
                store_half(to, half, count & 15);
            }
        }
    }

    #[inline(always)]
    unsafe fn store2(to: [*mut u8; 2], bytes: __m256i, count: usize) {
        // SAFETY: as above.
        unsafe {
            let halves = [_mm256_castsi256_si128(bytes), _mm256_extracti128_si256::<1>(bytes)];
            for (to, half) in to.into_iter().zip(halves) {
                store_half(to, half, count);
            }
        }
    }

    #[inline(always)]
    unsafe fn store4(to: [*mut u8; 4], bytes: __m256i, count: usize) {
        // SAFETY: as above.
        unsafe {
            let [low, high] = [_mm256_castsi256_si128(bytes), _mm256_extracti128_si256::<1>(bytes)];
            let quarters =
                [_mm_cvtsi128_si64(low), _mm_extract_epi64::<1>(low), _mm_cvtsi128_si64(high), _mm_extract_epi64::<1>(high)];
            for (to, quarter) in to.into_iter().zip(quarters) {
                store_quarter(to, quarter, count);
            }
        }
    }

    #[inline(always)]
    unsafe fn max(a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm256_max_epu8(a, b) }
    }
}

/// The first `count` of 16 bytes.
#[inline(always)]
unsafe fn store_half(to: *mut u8, bytes: __m128i, count: usize) {
    // SAFETY: see `Simd`.
    unsafe {
        if count == 16 {
            _mm_storeu_si128(to.cast(), bytes);
        } else if count & 8 != 0 {
            to.cast::<i64>().write_unaligned(_mm_cvtsi128_si64(bytes));
            store_quarter(to.add(8), _mm_extract_epi64::<1>(bytes), count & 7);
        } else {
            store_quarter(to, _mm_cvtsi128_si64(bytes), count);
        }
    }
}

/// The first `count` of 8 bytes.
#[inline(always)]
unsafe fn store_quarter(mut to: *mut u8, mut bytes: i64, count: usize) {
    // SAFETY: see `Simd`.
    unsafe {
        if count == 8 {
            to.cast::<i64>().write_unaligned(bytes);
            return;
        }
        if count & 4 != 0 {
            to.cast::<i32>().write_unaligned(bytes as i32);
            (to, bytes) = (to.add(4), bytes >> 32);
        }
        if count & 2 != 0 {
            to.cast::<i16>().write_unaligned(bytes as i16);
            (to, bytes) = (to.add(2), bytes >> 16);
        }
        if count & 1 != 0 {
            *to = bytes as u8;
        }
    }
}

/// See [`Simd::pin`]: an instruction that is none.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) unsafe fn pin(mut sums: __m256i) -> __m256i {
    // SAFETY: changes nothing.
    unsafe { asm!("/* {0} */", inout(ymm_reg) sums, options(nomem, nostack, preserves_flags)) };
    sums
}

/// The same, and what was loaded before is loaded again: weights from memory, as an operand, instead of from registers that there are not.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn pin_and_forget(mut sums: __m256i) -> __m256i {
    // SAFETY: changes nothing.
    unsafe { asm!("/* {0} */", inout(ymm_reg) sums, options(nostack, preserves_flags)) };
    sums
}
