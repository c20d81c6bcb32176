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
        let chunks = (depth + 7) / 16;
        if P == 8 && !CAREFUL && chunks > 0 {
            eight(panel, weights, chunks, &mut *(&raw mut *sums).cast());
            panel = panel.add(16 * P * chunks);
            weights = weights.add(128 * chunks);
        }
        for _ in 0..if P == 8 && !CAREFUL { 0 } else { chunks } {
            let mut w = [vdupq_n_s8(0); 8];
            for (i, w) in w.iter_mut().enumerate() {
                *w = vld1q_s8(weights.add(16 * i));
            }
            each_pixel!(p < P {
                let x = vld1q_s8(panel.add(16 * p));
                products::<CAREFUL>(x, [w[0], w[1]], &mut sums[p]);
                products::<CAREFUL>(swap_pairs(x), [w[2], w[3]], &mut sums[p]);
                products::<CAREFUL>(swap_quarters(x), [w[4], w[5]], &mut sums[p]);
                products::<CAREFUL>(reverse_pairs(x), [w[6], w[7]], &mut sums[p]);
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

/// Instructions of one pixel: the same as four times [`products`], two chains side by side so that cores which issue in order need
/// not wait. `$x` holds the pixel (and loses it), `$s0` and `$s1` its sums; the pixel after it is loaded into `$next` meanwhile.
macro_rules! pixel {
    ($x:literal, $s0:literal, $s1:literal, $next:literal) => {
        concat!(
            $next,
            "\n",
            "rev32 {y:v}.8h, {",
            $x,
            ":v}.8h\n",
            "smull {a:v}.8h, {",
            $x,
            ":v}.8b, {w0:v}.8b\n",
            "smull {b:v}.8h, {",
            $x,
            ":v}.8b, {w1:v}.8b\n",
            "smull {c:v}.8h, {y:v}.8b, {w2:v}.8b\n",
            "smull {d:v}.8h, {y:v}.8b, {w3:v}.8b\n",
            "smlal2 {a:v}.8h, {",
            $x,
            ":v}.16b, {w0:v}.16b\n",
            "smlal2 {b:v}.8h, {",
            $x,
            ":v}.16b, {w1:v}.16b\n",
            "rev64 {",
            $x,
            ":v}.4s, {",
            $x,
            ":v}.4s\n",
            "smlal2 {c:v}.8h, {y:v}.16b, {w2:v}.16b\n",
            "sadalp {",
            $s0,
            ":v}.4s, {a:v}.8h\n",
            "smlal2 {d:v}.8h, {y:v}.16b, {w3:v}.16b\n",
            "sadalp {",
            $s1,
            ":v}.4s, {b:v}.8h\n",
            "rev32 {y:v}.8h, {",
            $x,
            ":v}.8h\n",
            "smull {a:v}.8h, {",
            $x,
            ":v}.8b, {w4:v}.8b\n",
            "smull {b:v}.8h, {",
            $x,
            ":v}.8b, {w5:v}.8b\n",
            "sadalp {",
            $s0,
            ":v}.4s, {c:v}.8h\n",
            "smull {c:v}.8h, {y:v}.8b, {w6:v}.8b\n",
            "sadalp {",
            $s1,
            ":v}.4s, {d:v}.8h\n",
            "smull {d:v}.8h, {y:v}.8b, {w7:v}.8b\n",
            "smlal2 {a:v}.8h, {",
            $x,
            ":v}.16b, {w4:v}.16b\n",
            "smlal2 {b:v}.8h, {",
            $x,
            ":v}.16b, {w5:v}.16b\n",
            "smlal2 {c:v}.8h, {y:v}.16b, {w6:v}.16b\n",
            "smlal2 {d:v}.8h, {y:v}.16b, {w7:v}.16b\n",
            "sadalp {",
            $s0,
            ":v}.4s, {a:v}.8h\n",
            "sadalp {",
            $s1,
            ":v}.4s, {b:v}.8h\n",
            "sadalp {",
            $s0,
            ":v}.4s, {c:v}.8h\n",
            "sadalp {",
            $s1,
            ":v}.4s, {d:v}.8h",
        )
    };
}

/// `chunks` > 0 times 16 of the product for eight pixels. Written out because 31 of 32 registers are in use, where the compiler
/// spills and moves: a tenth more instructions.
///
/// # Safety
/// As [`Dot::tile`].
#[inline(always)]
unsafe fn eight(panel: *const i8, weights: *const i8, chunks: usize, sums: &mut Sums<8>) {
    // SAFETY: reads 128 bytes of the panel and of the weights for each chunk, which the caller promises, and touches registers.
    unsafe {
        asm!(
            "2:",
            "ldr {x:q}, [{panel}]",
            "ldp {w0:q}, {w1:q}, [{weights}]",
            "ldp {w2:q}, {w3:q}, [{weights}, #32]",
            "ldp {w4:q}, {w5:q}, [{weights}, #64]",
            "ldp {w6:q}, {w7:q}, [{weights}, #96]",
            pixel!("x", "s0", "s1", "ldr {z:q}, [{panel}, #16]"),
            pixel!("z", "s2", "s3", "ldr {x:q}, [{panel}, #32]"),
            pixel!("x", "s4", "s5", "ldr {z:q}, [{panel}, #48]"),
            pixel!("z", "s6", "s7", "ldr {x:q}, [{panel}, #64]"),
            pixel!("x", "s8", "s9", "ldr {z:q}, [{panel}, #80]"),
            pixel!("z", "s10", "s11", "ldr {x:q}, [{panel}, #96]"),
            pixel!("x", "s12", "s13", "ldr {z:q}, [{panel}, #112]"),
            pixel!("z", "s14", "s15", "add {panel}, {panel}, #128"),
            "add {weights}, {weights}, #128",
            "subs {chunks}, {chunks}, #1",
            "b.ne 2b",
            panel = inout(reg) panel => _,
            weights = inout(reg) weights => _,
            chunks = inout(reg) chunks => _,
            x = out(vreg) _, y = out(vreg) _, z = out(vreg) _,
            a = out(vreg) _, b = out(vreg) _, c = out(vreg) _, d = out(vreg) _,
            w0 = out(vreg) _, w1 = out(vreg) _, w2 = out(vreg) _, w3 = out(vreg) _,
            w4 = out(vreg) _, w5 = out(vreg) _, w6 = out(vreg) _, w7 = out(vreg) _,
            s0 = inout(vreg) sums[0][0], s1 = inout(vreg) sums[0][1],
            s2 = inout(vreg) sums[1][0], s3 = inout(vreg) sums[1][1],
            s4 = inout(vreg) sums[2][0], s5 = inout(vreg) sums[2][1],
            s6 = inout(vreg) sums[3][0], s7 = inout(vreg) sums[3][1],
            s8 = inout(vreg) sums[4][0], s9 = inout(vreg) sums[4][1],
            s10 = inout(vreg) sums[5][0], s11 = inout(vreg) sums[5][1],
            s12 = inout(vreg) sums[6][0], s13 = inout(vreg) sums[6][1],
            s14 = inout(vreg) sums[7][0], s15 = inout(vreg) sums[7][1],
            options(pure, readonly, nostack)
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
