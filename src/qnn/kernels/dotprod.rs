//! aarch64 with the dot product instructions (Armv8.2 option; Cortex-A55, A76 and later): `sdot` sums four products into each of
//! four sums, 16 to an instruction.
//!
//! Weights are packed `[4 of the product][8 outputs][4]`: a register is four outputs times four weights, and `sdot` by element takes
//! the four activations to match from a quarter of a pixel's register. `vdotq_laneq_s32` is not stable in Rust, hence the `asm!`;
//! `.arch_extension` lets it stand in functions that are compiled for any aarch64 and only run where the processor has it.

use std::arch::aarch64::*;
use std::arch::asm;

use super::arm::{self, BLOCK, Dot, Sums};
use super::{Kernel, Layer};

/// Packs the layer; gives it back where there is no version of it here.
pub(super) fn prepare(layer: Layer) -> Result<Box<dyn Kernel>, Layer> {
    arm::prepare::<Sdot>(layer)
}

struct Sdot;

impl Dot for Sdot {
    const SDOT: bool = true;

    fn pack(weight: &dyn Fn(usize, usize) -> i8, depth: usize, packed: &mut Vec<i8>) {
        for k in (0..depth).step_by(4) {
            for o in 0..BLOCK {
                packed.extend((k..k + 4).map(|k| weight(o, k)));
            }
        }
    }

    #[inline(always)]
    unsafe fn tile<const P: usize>(mut panel: *const i8, mut weights: *const i8, depth: usize, sums: &mut Sums<P>) {
        let load = |panel: *const i8| {
            // SAFETY: a chunk of each pixel.
            unsafe {
                let mut x = [vdupq_n_s8(0); P];
                for (p, x) in x.iter_mut().enumerate() {
                    *x = vld1q_s8(panel.add(16 * p));
                }
                x
            }
        };
        // SAFETY: the caller's promise; a quarter is 32 bytes of weights, and only quarters that the depth reaches are read.
        unsafe {
            for _ in 0..depth / 16 {
                let x = load(panel);
                quarter::<0, P>(&x, weights, sums);
                quarter::<1, P>(&x, weights.add(32), sums);
                quarter::<2, P>(&x, weights.add(64), sums);
                quarter::<3, P>(&x, weights.add(96), sums);
                panel = panel.add(16 * P);
                weights = weights.add(128);
            }
            let rest = depth % 16;
            if rest > 0 {
                let x = load(panel);
                quarter::<0, P>(&x, weights, sums);
                if rest > 4 {
                    quarter::<1, P>(&x, weights.add(32), sums);
                }
                if rest > 8 {
                    quarter::<2, P>(&x, weights.add(64), sums);
                }
                if rest > 12 {
                    quarter::<3, P>(&x, weights.add(96), sums);
                }
            }
        }
    }
}

/// Four bytes of each pixel times 32 weights.
///
/// # Safety
/// 32 bytes at `weights`; the processor has `sdot`.
#[inline(always)]
unsafe fn quarter<const Q: i32, const P: usize>(x: &[int8x16_t; P], weights: *const i8, sums: &mut Sums<P>) {
    // SAFETY: the caller's promise; the instruction touches registers only.
    unsafe {
        let weights = [vld1q_s8(weights), vld1q_s8(weights.add(16))];
        for (x, sums) in x.iter().zip(sums) {
            for (weights, sum) in weights.iter().zip(sums) {
                asm!(
                    ".arch_extension dotprod",
                    "sdot {sum:v}.4s, {weights:v}.16b, {x:v}.4b[{q}]",
                    sum = inout(vreg) *sum,
                    weights = in(vreg) *weights,
                    x = in(vreg) *x,
                    q = const Q,
                    options(pure, nomem, nostack, preserves_flags)
                );
            }
        }
    }
}
