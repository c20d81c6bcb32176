//! aarch64 without the dot product instructions (Cortex-A53, A57, A72).
//!
//! `smull` and `smlal2` sum two products of eight pairs of bytes in 16 bits, `sadalp` adds neighbours to four sums of 32 bits:
//! three instructions for 16 products, half the multiplications of widening to 16 bits first (on these cores the multiplier is
//! what runs out). A register of weights is four outputs times a pair of the product, so a pixel's pairs must meet every output:
//! instead of copying a pair to all lanes, the pairs of a pixel change places (n with n ^ 1, n ^ 2, n ^ 3: one `rev` each) and
//! the weights are packed to match.
//!
//! Two products leave 16 bits in one case, -128 * -128 twice; where weights allow it ([`Careful`]) each is added by itself.

use std::arch::aarch64::*;
use std::arch::asm;

use super::arm::{self, BLOCK, Dot, Sums};
use super::{Kernel, Layer};

/// Packs the layer; gives it back where there is no version of it here.
pub(super) fn prepare(layer: Layer) -> Result<Box<dyn Kernel>, Layer> {
    match &layer {
        Layer::Conv(conv) if conv.weights.contains(&i8::MIN) => arm::prepare::<Careful>(layer),
        _ => arm::prepare::<Paired>(layer),
    }
}

/// Two products in 16 bits: no weight is -128.
struct Paired;
/// One product in 16 bits.
struct Careful;

impl Dot for Paired {
    fn pack(weight: &dyn Fn(usize, usize) -> i8, depth: usize, packed: &mut Vec<i8>) {
        pack(weight, depth, packed);
    }

    #[inline(always)]
    unsafe fn tile<const P: usize>(panel: *const i8, weights: *const i8, depth: usize, sums: &mut Sums<P>) {
        // SAFETY: the caller's promise.
        unsafe { tile::<P, false>(panel, weights, depth, sums) }
    }
}

impl Dot for Careful {
    fn pack(weight: &dyn Fn(usize, usize) -> i8, depth: usize, packed: &mut Vec<i8>) {
        pack(weight, depth, packed);
    }

    #[inline(always)]
    unsafe fn tile<const P: usize>(panel: *const i8, weights: *const i8, depth: usize, sums: &mut Sums<P>) {
        // SAFETY: the caller's promise.
        unsafe { tile::<P, true>(panel, weights, depth, sums) }
    }
}

/// `[16 of the product][n ^ s for s in 0..4][2 x 4 outputs][2 halves][output n][pair]`; a rest of up to 8 is `[s in 0..2]` with the
/// second half one `s ^ 2` further.
fn pack(weight: &dyn Fn(usize, usize) -> i8, depth: usize, packed: &mut Vec<i8>) {
    let mut put = |start: usize, pair: usize, four: usize| {
        for n in 0..4 {
            let k = start + 2 * (n ^ pair);
            packed.extend([weight(four * 4 + n, k), weight(four * 4 + n, k + 1)]);
        }
    };
    for start in (0..depth).step_by(16) {
        let rest = depth - start <= 8;
        for s in 0..if rest { 2 } else { 4 } {
            for four in 0..BLOCK / 4 {
                put(start, s, four);
                if rest {
                    put(start, s ^ 2, four);
                } else {
                    put(start + 8, s, four);
                }
            }
        }
    }
}

/// A loop over the pixels of a tile that is written out: left to the compiler, this one stays a loop and its sums in memory.
macro_rules! each_pixel {
    ($p:ident < $pixels:ident $body:block) => {
        each_pixel!($p < $pixels $body 0 1 2 3 4 5 6 7)
    };
    ($p:ident < $pixels:ident $body:block $($i:literal)*) => {
        $(if $i < $pixels {
            let $p = $i;
            $body
        })*
    };
}

/// # Safety
/// As [`Dot::tile`].
#[inline(always)]
unsafe fn tile<const P: usize, const CAREFUL: bool>(
    mut panel: *const i8,
    mut weights: *const i8,
    depth: usize,
    sums: &mut Sums<P>,
) {
    // SAFETY: the caller's promise; 128 bytes of weights for each 16 of the product, 64 for a rest of up to 8.
    unsafe {
        for _ in 0..(depth + 7) / 16 {
            let mut w = [vdupq_n_s8(0); 8];
            for (i, w) in w.iter_mut().enumerate() {
                *w = vld1q_s8(weights.add(16 * i));
            }
            each_pixel!(p < P {
                let x = vld1q_s8(panel.add(16 * p));
                if CAREFUL {
                    products::<CAREFUL>(x, [w[0], w[1]], &mut sums[p]);
                    products::<CAREFUL>(swap_pairs(x), [w[2], w[3]], &mut sums[p]);
                    products::<CAREFUL>(swap_quarters(x), [w[4], w[5]], &mut sums[p]);
                    products::<CAREFUL>(reverse_pairs(x), [w[6], w[7]], &mut sums[p]);
                } else {
                    paired(x, &w, &mut sums[p]);
                }
            });
            panel = panel.add(16 * P);
            weights = weights.add(128);
        }
        if (1..=8).contains(&(depth % 16)) {
            let mut w = [vdupq_n_s8(0); 4];
            for (i, w) in w.iter_mut().enumerate() {
                *w = vld1q_s8(weights.add(16 * i));
            }
            each_pixel!(p < P {
                let x = vld1q_s8(panel.add(16 * p));
                let x = vcombine_s8(vget_low_s8(x), vget_low_s8(swap_quarters(x)));
                products::<CAREFUL>(x, [w[0], w[1]], &mut sums[p]);
                products::<CAREFUL>(swap_pairs(x), [w[2], w[3]], &mut sums[p]);
            });
        }
    }
}

/// The same as four times [`products`], in an order and in registers that leave room for eight pixels' sums and all weights (the
/// compiler mixes the pixels and runs out); two chains side by side, so that cores which issue in order need not wait.
///
/// # Safety
/// None beyond NEON.
#[inline(always)]
unsafe fn paired(x: int8x16_t, w: &[int8x16_t; 8], sums: &mut [int32x4_t; 2]) {
    // SAFETY: the instructions touch these registers only.
    unsafe {
        asm!(
            "rev32 {y:v}.8h, {x:v}.8h",
            "smull {a:v}.8h, {x:v}.8b, {w0:v}.8b",
            "smull {b:v}.8h, {x:v}.8b, {w1:v}.8b",
            "smull {c:v}.8h, {y:v}.8b, {w2:v}.8b",
            "smull {d:v}.8h, {y:v}.8b, {w3:v}.8b",
            "smlal2 {a:v}.8h, {x:v}.16b, {w0:v}.16b",
            "smlal2 {b:v}.8h, {x:v}.16b, {w1:v}.16b",
            "rev64 {x:v}.4s, {x:v}.4s",
            "smlal2 {c:v}.8h, {y:v}.16b, {w2:v}.16b",
            "sadalp {s0:v}.4s, {a:v}.8h",
            "smlal2 {d:v}.8h, {y:v}.16b, {w3:v}.16b",
            "sadalp {s1:v}.4s, {b:v}.8h",
            "rev32 {y:v}.8h, {x:v}.8h",
            "smull {a:v}.8h, {x:v}.8b, {w4:v}.8b",
            "smull {b:v}.8h, {x:v}.8b, {w5:v}.8b",
            "sadalp {s0:v}.4s, {c:v}.8h",
            "smull {c:v}.8h, {y:v}.8b, {w6:v}.8b",
            "sadalp {s1:v}.4s, {d:v}.8h",
            "smull {d:v}.8h, {y:v}.8b, {w7:v}.8b",
            "smlal2 {a:v}.8h, {x:v}.16b, {w4:v}.16b",
            "smlal2 {b:v}.8h, {x:v}.16b, {w5:v}.16b",
            "smlal2 {c:v}.8h, {y:v}.16b, {w6:v}.16b",
            "smlal2 {d:v}.8h, {y:v}.16b, {w7:v}.16b",
            "sadalp {s0:v}.4s, {a:v}.8h",
            "sadalp {s1:v}.4s, {b:v}.8h",
            "sadalp {s0:v}.4s, {c:v}.8h",
            "sadalp {s1:v}.4s, {d:v}.8h",
            x = inout(vreg) x => _,
            y = out(vreg) _,
            a = out(vreg) _,
            b = out(vreg) _,
            c = out(vreg) _,
            d = out(vreg) _,
            w0 = in(vreg) w[0],
            w1 = in(vreg) w[1],
            w2 = in(vreg) w[2],
            w3 = in(vreg) w[3],
            w4 = in(vreg) w[4],
            w5 = in(vreg) w[5],
            w6 = in(vreg) w[6],
            w7 = in(vreg) w[7],
            s0 = inout(vreg) sums[0],
            s1 = inout(vreg) sums[1],
            options(pure, nomem, nostack, preserves_flags)
        );
    }
}

/// 16 products for each of two times four outputs.
#[target_feature(enable = "neon")]
#[inline]
fn products<const CAREFUL: bool>(x: int8x16_t, weights: [int8x16_t; 2], sums: &mut [int32x4_t; 2]) {
    for (weights, sum) in weights.into_iter().zip(sums) {
        let first = vmull_s8(vget_low_s8(weights), vget_low_s8(x));
        if CAREFUL {
            *sum = vpadalq_s16(vpadalq_s16(*sum, first), vmull_high_s8(weights, x));
        } else {
            *sum = vpadalq_s16(*sum, vmlal_high_s8(first, weights, x));
        }
    }
}

/// Pair n takes the place of pair n ^ 1, within each half.
#[target_feature(enable = "neon")]
#[inline]
fn swap_pairs(x: int8x16_t) -> int8x16_t {
    vreinterpretq_s8_s16(vrev32q_s16(vreinterpretq_s16_s8(x)))
}

/// n ^ 2.
#[target_feature(enable = "neon")]
#[inline]
fn swap_quarters(x: int8x16_t) -> int8x16_t {
    vreinterpretq_s8_s32(vrev64q_s32(vreinterpretq_s32_s8(x)))
}

/// n ^ 3.
#[target_feature(enable = "neon")]
#[inline]
fn reverse_pairs(x: int8x16_t) -> int8x16_t {
    vreinterpretq_s8_s16(vrev64q_s16(vreinterpretq_s16_s8(x)))
}
