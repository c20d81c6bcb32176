//! Products on aarch64: `smlal` on 16-bit numbers, and `sdot` on bytes where the processor has it.
#![allow(unsafe_code, reason = "loads of packed weights and one instruction std does not offer; see each SAFETY comment")]

use super::{Chunk, LANES};
use std::arch::aarch64::*;
use std::arch::asm;

#[target_feature(enable = "neon")]
pub(super) fn neon(chunks: &[Chunk], fours: usize, q: &[i16], products: &mut [i32]) {
    assert!(chunks.len() == products.len() / LANES * fours && q.len() == 4 * fours);
    for (block, products) in chunks.chunks_exact(fours).zip(products.chunks_exact_mut(LANES)) {
        // One register a row, four partial sums each.
        let mut sums = [vdupq_n_s32(0); LANES];
        for (k, chunk) in block.iter().enumerate() {
            // SAFETY: `q` holds four numbers from `4 * k` on; a chunk is four parts of 16 bytes.
            let (x, w) = unsafe { (vld1_s16(q.as_ptr().add(4 * k)), vld1q_s8_x4(chunk.0.as_ptr())) };
            for (part, w) in [w.0, w.1, w.2, w.3].into_iter().enumerate() {
                let (a, b) = (vmovl_s8(vget_low_s8(w)), vmovl_high_s8(w));
                let s = &mut sums[4 * part..4 * part + 4];
                s[0] = vmlal_s16(s[0], vget_low_s16(a), x);
                s[1] = vmlal_s16(s[1], vget_high_s16(a), x);
                s[2] = vmlal_s16(s[2], vget_low_s16(b), x);
                s[3] = vmlal_s16(s[3], vget_high_s16(b), x);
            }
        }
        for (products, s) in products.chunks_exact_mut(4).zip(sums.chunks_exact(4)) {
            let sum = vpaddq_s32(vpaddq_s32(s[0], s[1]), vpaddq_s32(s[2], s[3]));
            // SAFETY: `products` is four numbers long.
            unsafe { vst1q_s32(products.as_mut_ptr(), sum) };
        }
    }
}

/// Four rows of four weights times four bytes of the vector. `vdotq_s32` is not stable in Rust.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn sdot(sum: int32x4_t, w: int8x16_t, x: int8x16_t) -> int32x4_t {
    let mut sum = sum;
    // SAFETY: one instruction on registers; the processor has it, or this function may not be called.
    unsafe {
        asm!("sdot {s:v}.4s, {w:v}.16b, {x:v}.16b", s = inout(vreg) sum, w = in(vreg) w, x = in(vreg) x,
             options(pure, nomem, nostack, preserves_flags));
    }
    sum
}

#[target_feature(enable = "neon,dotprod")]
pub(super) fn dotprod(chunks: &[Chunk], fours: usize, x: (&[u8], &[u8]), products: &mut [i32]) {
    assert!(chunks.len() == products.len() / LANES * fours && x.0.len() == 4 * fours && x.1.len() == 4 * fours);
    for (block, products) in chunks.chunks_exact(fours).zip(products.chunks_exact_mut(LANES)) {
        let mut high = [vdupq_n_s32(0); 4];
        let mut low = high;
        for (k, chunk) in block.iter().enumerate() {
            let four = |x: &[u8]| u32::from_ne_bytes([x[4 * k], x[4 * k + 1], x[4 * k + 2], x[4 * k + 3]]);
            // Both sides are signed here, so the high byte is not shifted by 128.
            let hi = vreinterpretq_s8_u32(vdupq_n_u32(four(x.0) ^ 0x8080_8080));
            let lo = vreinterpretq_s8_u32(vdupq_n_u32(four(x.1)));
            // SAFETY: a chunk is four parts of 16 bytes.
            let w = unsafe { vld1q_s8_x4(chunk.0.as_ptr()) };
            for (part, w) in [w.0, w.1, w.2, w.3].into_iter().enumerate() {
                high[part] = sdot(high[part], w, hi);
                low[part] = sdot(low[part], w, lo);
            }
        }
        for ((products, high), low) in products.chunks_exact_mut(4).zip(high).zip(low) {
            // SAFETY: `products` is four numbers long.
            unsafe { vst1q_s32(products.as_mut_ptr(), vaddq_s32(vshlq_n_s32::<7>(high), low)) };
        }
    }
}
