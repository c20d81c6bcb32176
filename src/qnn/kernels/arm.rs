//! What the two aarch64 instruction sets share: everything but the inner product of a convolution ([`Dot`]).
//!
//! Bytes of the arena are unsigned, NEON multiplies signed by signed: activations have their top bit flipped on the way in
//! (x - 128), and 128 times the sum of an output's weights goes into its bias. Sums wrap, so this is exact.
//!
//! Requantisation is `scvtf`, `fmul`, `fcvtns` and narrowing with saturation. That agrees with the definition, which clamps the
//! float: `fcvtns` saturates, every later step saturates, and `low - zero`, `high - zero` lie within all of these ranges.
//!
//! Eight channels are one unit everywhere ([`UNIT`]): a rest of less is computed as a whole unit from packed zeros and bytes
//! within [`super::SLACK`], and only what belongs to the output is stored ([`store`]).

use std::arch::aarch64::*;

use super::{Kernel, Layer};

mod bytes;
mod conv;
mod depthwise;
mod pool;

pub(super) use conv::{BLOCK, Dot, Sums};

/// Channels that are computed together.
const UNIT: usize = 8;

/// Packs the layer, convolutions for `D`; gives it back where there is no version of it here.
pub(super) fn prepare<D: Dot>(layer: Layer) -> Result<Box<dyn Kernel>, Layer> {
    match layer {
        Layer::Conv(conv) => conv::Packed::<D>::new(conv).map(|packed| Box::new(packed) as Box<dyn Kernel>).map_err(Layer::Conv),
        Layer::Depthwise(dw) => {
            depthwise::Packed::new(dw, D::SDOT).map(|packed| Box::new(packed) as Box<dyn Kernel>).map_err(Layer::Depthwise)
        }
        Layer::Add(add) => Ok(Box::new(add)),
        Layer::Mul(mul) => Ok(Box::new(mul)),
        Layer::Lookup(lookup) => Ok(Box::new(lookup)),
        Layer::Pool(pool) => Ok(Box::new(pool)),
    }
}

/// The last step of every arithmetic: zero point and range.
#[derive(Clone, Copy)]
struct Finish {
    zero: int16x8_t,
    low: uint8x8_t,
    high: uint8x8_t,
}

impl Finish {
    #[target_feature(enable = "neon")]
    #[inline]
    fn new(zero: i32, low: u8, high: u8) -> Finish {
        Finish { zero: vdupq_n_s16(zero as i16), low: vdup_n_u8(low), high: vdup_n_u8(high) }
    }

    /// `clamp(round_half_even(values) + zero, low, high)`
    #[target_feature(enable = "neon")]
    #[inline]
    fn bytes(self, values: [float32x4_t; 2]) -> uint8x8_t {
        let rounded = vqmovn_high_s32(vqmovn_s32(vcvtnq_s32_f32(values[0])), vcvtnq_s32_f32(values[1]));
        vmin_u8(vmax_u8(vqmovun_s16(vqaddq_s16(rounded, self.zero)), self.low), self.high)
    }
}

/// Eight small integers as floats.
#[target_feature(enable = "neon")]
#[inline]
fn floats(values: int16x8_t) -> [float32x4_t; 2] {
    [vcvtq_f32_s32(vmovl_s16(vget_low_s16(values))), vcvtq_f32_s32(vmovl_high_s16(values))]
}

/// `a * factor`, eight of them.
#[target_feature(enable = "neon")]
#[inline]
fn scaled(a: [float32x4_t; 2], factor: float32x4_t) -> [float32x4_t; 2] {
    [vmulq_f32(a[0], factor), vmulq_f32(a[1], factor)]
}

/// Eight bytes less a zero point.
#[target_feature(enable = "neon")]
#[inline]
fn centred(bytes: uint8x8_t, zero: uint8x8_t) -> int16x8_t {
    vreinterpretq_s16_u16(vsubl_u8(bytes, zero))
}

/// The arithmetic of [`super::Sum`], eight bytes at a time.
#[derive(Clone, Copy)]
struct Adder {
    zeros: [uint8x8_t; 2],
    scales: [float32x4_t; 2],
    finish: Finish,
}

impl Adder {
    #[target_feature(enable = "neon")]
    #[inline]
    fn new(sum: &super::Sum) -> Adder {
        Adder {
            zeros: [vdup_n_u8(sum.a_zero as u8), vdup_n_u8(sum.b_zero as u8)],
            scales: [vdupq_n_f32(sum.a_scale), vdupq_n_f32(sum.b_scale)],
            finish: Finish::new(sum.zero, sum.low, sum.high),
        }
    }

    #[target_feature(enable = "neon")]
    #[inline]
    fn add(self, a: uint8x8_t, b: uint8x8_t) -> uint8x8_t {
        let a = scaled(floats(centred(a, self.zeros[0])), self.scales[0]);
        let b = scaled(floats(centred(b, self.zeros[1])), self.scales[1]);
        self.finish.bytes([vaddq_f32(a[0], b[0]), vaddq_f32(a[1], b[1])])
    }
}

/// Writes the first `count` (or all, if there are fewer) of eight bytes.
///
/// # Safety
/// That many bytes at `to` may be written.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn store(to: *mut u8, bytes: uint8x8_t, count: usize) {
    // SAFETY: the caller's promise. Lanes rather than a copy: a call in a loop would cost its whole units their registers.
    unsafe {
        if count >= UNIT {
            return vst1_u8(to, bytes);
        }
        let (mut to, mut bytes) = (to, bytes);
        if count & 4 != 0 {
            vst1_lane_u32::<0>(to.cast(), vreinterpret_u32_u8(bytes));
            (to, bytes) = (to.add(4), vext_u8::<4>(bytes, bytes));
        }
        if count & 2 != 0 {
            vst1_lane_u16::<0>(to.cast(), vreinterpret_u16_u8(bytes));
            (to, bytes) = (to.add(2), vext_u8::<2>(bytes, bytes));
        }
        if count & 1 != 0 {
            vst1_lane_u8::<0>(to, bytes);
        }
    }
}
