//! Products on x86-64: AVX2 by 16-bit pairs, AVX-VNNI and AVX-512 VNNI by fours of bytes.
//!
//! The byte dot product takes one unsigned side: that is the vector's (`hi`, `lo`), whose high byte is 128 too large; its
//! sum starts at minus that much. Four blocks of rows at once hide the latency of the additions.
#![allow(unsafe_code, reason = "loads of packed weights; see each SAFETY comment")]
#![allow(clippy::needless_range_loop, reason = "registers in arrays are clearest by their number")]

use super::{Chunk, LANES};
use std::arch::x86_64::*;

/// Four bytes of a vector as one register lane.
fn four(bytes: &[u8], k: usize) -> i32 {
    let four = &bytes[4 * k..4 * k + 4];
    i32::from_ne_bytes([four[0], four[1], four[2], four[3]])
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) fn vnni(chunks: &[Chunk], fours: usize, x: (&[u8], &[u8]), sums: &[i32], products: &mut [i32]) {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    fn blocks<const N: usize>(chunks: &[Chunk], fours: usize, x: (&[u8], &[u8]), sums: &[i32], products: &mut [i32]) {
        assert!(chunks.len() == N * fours && sums.len() == N * LANES && products.len() == N * LANES);
        let mut high: [__m512i; N] = [_mm512_setzero_si512(); N];
        let mut low = high;
        for k in 0..fours {
            let (hi, lo) = (_mm512_set1_epi32(four(x.0, k)), _mm512_set1_epi32(four(x.1, k)));
            for n in 0..N {
                // SAFETY: `n * fours + k` is below `chunks.len()` by the assertion; a chunk is 64 aligned bytes.
                let w = unsafe { _mm512_load_si512(chunks.as_ptr().add(n * fours + k).cast()) };
                high[n] = _mm512_dpbusd_epi32(high[n], hi, w);
                low[n] = _mm512_dpbusd_epi32(low[n], lo, w);
            }
        }
        for n in 0..N {
            // SAFETY: both slices hold `N * LANES` numbers by the assertion.
            unsafe {
                let high = _mm512_sub_epi32(high[n], _mm512_loadu_si512(sums.as_ptr().add(n * LANES).cast()));
                let sum = _mm512_add_epi32(_mm512_slli_epi32::<7>(high), low[n]);
                _mm512_storeu_si512(products.as_mut_ptr().add(n * LANES).cast(), sum);
            }
        }
    }
    let whole = products.len() / LANES / 4 * 4;
    for b in (0..whole).step_by(4) {
        let rows = b * LANES..(b + 4) * LANES;
        blocks::<4>(&chunks[b * fours..(b + 4) * fours], fours, x, &sums[rows.clone()], &mut products[rows]);
    }
    for b in whole..products.len() / LANES {
        let rows = b * LANES..(b + 1) * LANES;
        blocks::<1>(&chunks[b * fours..(b + 1) * fours], fours, x, &sums[rows.clone()], &mut products[rows]);
    }
}

#[target_feature(enable = "avx2,avxvnni")]
pub(super) fn avxvnni(chunks: &[Chunk], fours: usize, x: (&[u8], &[u8]), sums: &[i32], products: &mut [i32]) {
    #[inline]
    #[target_feature(enable = "avx2,avxvnni")]
    fn blocks<const N: usize>(chunks: &[Chunk], fours: usize, x: (&[u8], &[u8]), sums: &[i32], products: &mut [i32]) {
        assert!(chunks.len() == N * fours && sums.len() == N * LANES && products.len() == N * LANES);
        let mut high: [[__m256i; 2]; N] = [[_mm256_setzero_si256(); 2]; N];
        let mut low = high;
        for k in 0..fours {
            let (hi, lo) = (_mm256_set1_epi32(four(x.0, k)), _mm256_set1_epi32(four(x.1, k)));
            for n in 0..N {
                for half in 0..2 {
                    // SAFETY: `n * fours + k` is below `chunks.len()` by the assertion; a chunk is two halves of 32 bytes.
                    let w = unsafe { _mm256_load_si256(chunks.as_ptr().add(n * fours + k).cast::<__m256i>().add(half)) };
                    high[n][half] = _mm256_dpbusd_avx_epi32(high[n][half], hi, w);
                    low[n][half] = _mm256_dpbusd_avx_epi32(low[n][half], lo, w);
                }
            }
        }
        for n in 0..N {
            for half in 0..2 {
                let at = n * LANES + 8 * half;
                // SAFETY: both slices hold `N * LANES` numbers by the assertion, and `at + 8` is at most that.
                unsafe {
                    let high = _mm256_sub_epi32(high[n][half], _mm256_loadu_si256(sums.as_ptr().add(at).cast()));
                    let sum = _mm256_add_epi32(_mm256_slli_epi32::<7>(high), low[n][half]);
                    _mm256_storeu_si256(products.as_mut_ptr().add(at).cast(), sum);
                }
            }
        }
    }
    let whole = products.len() / LANES / 2 * 2;
    for b in (0..whole).step_by(2) {
        let rows = b * LANES..(b + 2) * LANES;
        blocks::<2>(&chunks[b * fours..(b + 2) * fours], fours, x, &sums[rows.clone()], &mut products[rows]);
    }
    for b in whole..products.len() / LANES {
        let rows = b * LANES..(b + 1) * LANES;
        blocks::<1>(&chunks[b * fours..(b + 1) * fours], fours, x, &sums[rows.clone()], &mut products[rows]);
    }
}

#[target_feature(enable = "avx2")]
pub(super) fn avx2(chunks: &[Chunk], fours: usize, q: &[i16], products: &mut [i32]) {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn blocks<const N: usize>(chunks: &[Chunk], fours: usize, q: &[i16], products: &mut [i32]) {
        assert!(chunks.len() == N * fours && products.len() == N * LANES);
        // Each register: four rows, two partial sums each.
        let mut sums: [[__m256i; 4]; N] = [[_mm256_setzero_si256(); 4]; N];
        for k in 0..fours {
            let x = q[4 * k..4 * k + 4].iter().rev().fold(0u64, |all, v| all << 16 | u64::from(v.cast_unsigned()));
            let x = _mm256_set1_epi64x(x.cast_signed());
            for n in 0..N {
                for part in 0..4 {
                    // SAFETY: `n * fours + k` is below `chunks.len()` by the assertion; a chunk is four parts of 16 bytes.
                    let w = unsafe { _mm_load_si128(chunks.as_ptr().add(n * fours + k).cast::<__m128i>().add(part)) };
                    sums[n][part] = _mm256_add_epi32(sums[n][part], _mm256_madd_epi16(_mm256_cvtepi8_epi16(w), x));
                }
            }
        }
        for n in 0..N {
            for half in 0..2 {
                // Rows 0 1 4 5 | 2 3 6 7, and then in order.
                let sum = _mm256_hadd_epi32(sums[n][2 * half], sums[n][2 * half + 1]);
                let sum = _mm256_permute4x64_epi64::<0b11_01_10_00>(sum);
                // SAFETY: `products` holds `N * LANES` numbers by the assertion.
                unsafe { _mm256_storeu_si256(products.as_mut_ptr().add(n * LANES + 8 * half).cast(), sum) };
            }
        }
    }
    let whole = products.len() / LANES / 2 * 2;
    for b in (0..whole).step_by(2) {
        blocks::<2>(&chunks[b * fours..(b + 2) * fours], fours, q, &mut products[b * LANES..(b + 2) * LANES]);
    }
    for b in whole..products.len() / LANES {
        blocks::<1>(&chunks[b * fours..(b + 1) * fours], fours, q, &mut products[b * LANES..(b + 1) * LANES]);
    }
}
