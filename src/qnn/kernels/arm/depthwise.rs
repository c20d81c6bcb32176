//! Depthwise convolutions: eight channels at a time, products summed in 16 bits as far as their weights allow.
//!
//! An activation is at most 128 in size, so products fit 16 bits as long as their weights' sizes sum to 255: three taps of a row
//! for most channels of real networks, two nearly always. One widening addition then serves three or two taps.
//!
//! 3 x 3 kernels with stride 1 or 2 keep columns of the picture in registers, as many rows high as two output rows need, and load
//! each once for all the outputs it lies under. All other kernels go tap by tap.

use std::arch::aarch64::*;
use std::arch::asm;

use super::conv::{fits_16, signed_bias};
use super::{Finish, UNIT, store};
use crate::qnn::kernels::{Depthwise, Kernel};

/// A [`Depthwise`] ready to run.
pub(super) struct Packed {
    layer: Depthwise,
    units: Vec<Unit>,
    /// `[units][taps][UNIT]`, taps of all parts.
    weights: Vec<i8>,
    taps: usize,
    /// Stride of a 3 x 3 kernel that keeps columns, 0 for all other layers.
    stride: usize,
    /// No saturation, zero point or range after the scale: bytes are bytes.
    plain: bool,
    /// Two output rows at a time by `sdot`.
    dots: bool,
}

/// What eight channels have beside their weights.
struct Unit {
    /// First channel. The last unit starts where it ends with the channels and shares some with the one before it, so that only
    /// layers of fewer than eight channels have a part of a unit.
    start: usize,
    bias: [i32; UNIT],
    scale: [f32; UNIT],
    /// Taps that 16 bits hold: 3 (rows of a 3 x 3 kernel), 2 or 1.
    chain: usize,
}

impl Packed {
    /// Gives the layer back where a scale is no number. `dots`: the processor has `sdot`.
    pub(super) fn new(layer: Depthwise, dots: bool) -> Result<Packed, Depthwise> {
        let (w, requant, channels) = (&layer.window, &layer.requant, layer.channels);
        let taps = layer.parts * layer.height * layer.width;
        if requant.scale.iter().any(|scale| !scale.is_finite()) {
            return Err(layer);
        }
        let strided = |stride: usize| {
            let follows = |step: usize, between: usize| Some(step) == between.checked_mul(stride);
            follows(w.row_in, layer.row) && follows(w.pixel_in, layer.pixel)
        };
        let square = (layer.parts, layer.height, layer.width) == (1, 3, 3);
        let stride = [1, 2].into_iter().find(|&stride| square && strided(stride)).unwrap_or(0);
        let (mut units, mut weights) = (Vec::new(), Vec::new());
        let mut plain = (requant.zero, requant.low, requant.high) == (0, 0, 255);
        for start in (0..channels).step_by(UNIT) {
            let start = start.min(channels.saturating_sub(UNIT));
            let mut unit = Unit { start, bias: [0; UNIT], scale: [0.0; UNIT], chain: if square { 3 } else { 2 } };
            for (i, c) in (start..channels.min(start + UNIT)).enumerate() {
                let own: Vec<i8> = (0..taps).map(|tap| layer.weights[tap * channels + c]).collect();
                unit.bias[i] = signed_bias(layer.bias[c], own.iter());
                unit.scale[i] = requant.scale[c];
                plain &= fits_16(layer.bias[c], own.iter(), 0, requant.scale[c]);
                let safe = |chain: usize| {
                    let size = |taps: &[i8]| taps.iter().map(|tap| u32::from(tap.unsigned_abs())).sum::<u32>();
                    if chain == 3 { own.chunks(3).all(|row| size(row) < 256) } else { own.windows(2).all(|two| size(two) < 256) }
                };
                unit.chain = [3, 2].into_iter().find(|&chain| chain <= unit.chain && safe(chain)).unwrap_or(1);
            }
            units.push(unit);
            for tap in 0..taps {
                weights.extend((start..start + UNIT).map(|c| if c < channels { layer.weights[tap * channels + c] } else { 0 }));
            }
        }
        let stride = if channels >= UNIT && units.iter().all(|unit| unit.chain > 1) { stride } else { 0 };
        let dots = dots && stride == 1;
        Ok(Packed { units, weights, taps, stride, plain, dots, layer })
    }
}

impl Kernel for Packed {
    unsafe fn run(&self, arena: *mut u8) {
        // SAFETY: NEON is part of every aarch64 this is built for; the rest is the caller's promise.
        unsafe {
            match (self.stride, self.plain) {
                (1, true) => self.columns::<1, true>(arena),
                (1, false) => self.columns::<1, false>(arena),
                (2, true) => self.columns::<2, true>(arena),
                (2, false) => self.columns::<2, false>(arena),
                _ => self.any(arena),
            }
        }
    }
}

/// Eight channels of one layer in registers.
#[derive(Clone, Copy)]
struct Lanes {
    bias: [int32x4_t; 2],
    scale: [float32x4_t; 2],
    finish: Finish,
}

impl Lanes {
    #[target_feature(enable = "neon")]
    #[inline]
    fn new(unit: &Unit, finish: Finish) -> Lanes {
        // SAFETY: arrays of eight.
        unsafe {
            Lanes {
                bias: [vld1q_s32(unit.bias.as_ptr()), vld1q_s32(unit.bias.as_ptr().add(4))],
                scale: [vld1q_f32(unit.scale.as_ptr()), vld1q_f32(unit.scale.as_ptr().add(4))],
                finish,
            }
        }
    }

    /// Output bytes of eight sums; `PLAIN` as in [`Packed`].
    #[target_feature(enable = "neon")]
    #[inline]
    fn bytes<const PLAIN: bool>(self, sums: [int32x4_t; 2]) -> uint8x8_t {
        let values = [vmulq_f32(vcvtq_f32_s32(sums[0]), self.scale[0]), vmulq_f32(vcvtq_f32_s32(sums[1]), self.scale[1])];
        if PLAIN {
            let rounded = values.map(|four| vreinterpretq_s16_s32(vcvtnq_s32_f32(four)));
            vqmovun_s16(vuzp1q_s16(rounded[0], rounded[1]))
        } else {
            self.finish.bytes(values)
        }
    }
}

/// `sums` and all products, `CHAIN` of them at a time in 16 bits.
#[target_feature(enable = "neon")]
#[inline]
fn products<const CHAIN: usize, const N: usize>(
    mut sums: [int32x4_t; 2],
    x: [int8x8_t; N],
    weights: &[int8x8_t; N],
) -> [int32x4_t; 2] {
    let mut tap = 0;
    while tap < N {
        let mut short = vmull_s8(x[tap], weights[tap]);
        let mut more = 1;
        while more < CHAIN && tap + more < N {
            short = vmlal_s8(short, x[tap + more], weights[tap + more]);
            more += 1;
        }
        sums = [vaddw_s16(sums[0], vget_low_s16(short)), vaddw_high_s16(sums[1], short)];
        tap += CHAIN;
    }
    sums
}

/// Eight activations, signed.
///
/// # Safety
/// Eight bytes at `from`.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn load(from: *const u8) -> int8x8_t {
    // SAFETY: the caller's promise.
    vreinterpret_s8_u8(veor_u8(unsafe { vld1_u8(from) }, vdup_n_u8(0x80)))
}

/// Four products added to each of four sums.
///
/// # Safety
/// The processor has `sdot`.
#[inline(always)]
unsafe fn sdot(mut sum: int32x4_t, weights: int8x16_t, x: int8x16_t) -> int32x4_t {
    // SAFETY: touches registers only.
    unsafe {
        asm!(
            ".arch_extension dotprod",
            "sdot {sum:v}.4s, {weights:v}.16b, {x:v}.16b",
            sum = inout(vreg) sum,
            weights = in(vreg) weights,
            x = in(vreg) x,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sum
}

/// Activations of one picture column, as many rows as the outputs of a strip need.
type Column = [int8x8_t; 5];

impl Packed {
    /// 3 x 3, stride `S`: two output rows at a time, within them eight channels at a time, so that rows stay in the cache.
    ///
    /// # Safety
    /// As [`Kernel::run`].
    #[target_feature(enable = "neon")]
    unsafe fn columns<const S: usize, const PLAIN: bool>(&self, arena: *mut u8) {
        let w = &self.layer.window;
        for y in (0..w.height).step_by(2) {
            let (from, to) = (w.input + y * w.row_in, w.output + y * w.row_out);
            for i in 0..self.units.len() {
                // SAFETY: inside the layer's extent; a second row only where the window has one.
                unsafe {
                    let start = self.units[i].start;
                    let (from, to) = (arena.add(from + start), arena.add(to + start));
                    if S == 1 && self.dots && w.height - y > 1 {
                        self.dot_strip::<PLAIN>(i, from, to);
                        continue;
                    }
                    match (w.height - y > 1, self.units[i].chain > 2) {
                        (true, true) => self.strip::<S, 2, 3, PLAIN>(i, from, to),
                        (true, false) => self.strip::<S, 2, 2, PLAIN>(i, from, to),
                        (false, true) => self.strip::<S, 1, 3, PLAIN>(i, from, to),
                        (false, false) => self.strip::<S, 1, 2, PLAIN>(i, from, to),
                    }
                }
            }
        }
    }

    /// `ROWS` output rows of unit `i`; `from` and `to` are its first input and output.
    ///
    /// # Safety
    /// As [`Kernel::run`]; the window has these rows.
    #[target_feature(enable = "neon")]
    #[inline(never)]
    unsafe fn strip<const S: usize, const ROWS: usize, const CHAIN: usize, const PLAIN: bool>(
        &self,
        i: usize,
        from: *const u8,
        to: *mut u8,
    ) {
        let (w, layer, unit) = (&self.layer.window, &self.layer, &self.units[i]);
        let lanes = Lanes::new(unit, Finish::new(layer.requant.zero, layer.requant.low, layer.requant.high));
        let mut weights = [vdup_n_s8(0); 9];
        for (weight, eight) in weights.iter_mut().zip(self.weights[i * 9 * UNIT..].chunks_exact(UNIT)) {
            // SAFETY: a chunk is eight bytes.
            *weight = unsafe { vld1_s8(eight.as_ptr()) };
        }
        // SAFETY: columns up to 2 beyond the last output's first are the kernel's own, and so are the rows of a column; reads pass
        // the end by less than a unit.
        let column = |x: usize| unsafe {
            let mut column: Column = [vdup_n_s8(0); 5];
            for (row, eight) in column.iter_mut().enumerate().take((ROWS - 1) * S + 3) {
                *eight = load(from.add(x * layer.pixel + row * layer.row));
            }
            column
        };
        let output = |x: usize, columns: [&Column; 3]| {
            for row in 0..ROWS {
                let mut taps = [vdup_n_s8(0); 9];
                for (tap, eight) in taps.iter_mut().enumerate() {
                    *eight = columns[tap % 3][row * S + tap / 3];
                }
                let bytes = lanes.bytes::<PLAIN>(products::<CHAIN, 9>(lanes.bias, taps, &weights));
                // SAFETY: this output's channels.
                unsafe { vst1_u8(to.add(x * w.pixel_out + row * w.row_out), bytes) };
            }
        };
        if w.width == 0 {
            return;
        }
        // Columns keep their registers and change their part instead.
        let (mut a, mut b, mut x) = (column(0), column(1), 0);
        if S == 1 {
            loop {
                let c = column(x + 2);
                output(x, [&a, &b, &c]);
                if x + 1 == w.width {
                    break;
                }
                a = column(x + 3);
                output(x + 1, [&b, &c, &a]);
                if x + 2 == w.width {
                    break;
                }
                b = column(x + 4);
                output(x + 2, [&c, &a, &b]);
                x += 3;
                if x == w.width {
                    break;
                }
            }
        } else {
            loop {
                let c = column(2 * x + 2);
                output(x, [&a, &b, &c]);
                x += 1;
                if x == w.width {
                    break;
                }
                (a, b) = (c, column(2 * x + 1));
            }
        }
    }

    /// As [`Packed::strip`] with stride 1 and two rows, on processors with `sdot`: four rows of a column are interleaved to four
    /// bytes a channel, which both output rows share: one multiplies them by a kernel column and 0, one by 0 and the kernel column.
    ///
    /// # Safety
    /// As [`Packed::strip`]; the processor has `sdot`.
    #[target_feature(enable = "neon")]
    #[inline(never)]
    unsafe fn dot_strip<const PLAIN: bool>(&self, i: usize, from: *const u8, to: *mut u8) {
        let (w, layer, unit) = (&self.layer.window, &self.layer, &self.units[i]);
        let lanes = Lanes::new(unit, Finish::new(layer.requant.zero, layer.requant.low, layer.requant.high));
        let interleaved = |rows: [int8x16_t; 4]| {
            let [a, b] = [vzip1q_s8(rows[0], rows[1]), vzip1q_s8(rows[2], rows[3])].map(|two| vreinterpretq_s16_s8(two));
            [vreinterpretq_s8_s16(vzip1q_s16(a, b)), vreinterpretq_s8_s16(vzip2q_s16(a, b))]
        };
        // SAFETY: reads as in `strip`; nine units of weights.
        let (column, upper) = unsafe {
            let column = |x: usize| {
                let row = |row: usize| vcombine_s8(load(from.add(x * layer.pixel + row * layer.row)), vdup_n_s8(0));
                interleaved([row(0), row(1), row(2), row(3)])
            };
            let weights = self.weights.as_ptr().add(i * 9 * UNIT);
            let tap = |tap: usize| vcombine_s8(vld1_s8(weights.add(tap * UNIT)), vdup_n_s8(0));
            (column, [0, 1, 2].map(|x| interleaved([tap(x), tap(3 + x), tap(6 + x), vdupq_n_s8(0)])))
        };
        let lower = upper.map(|halves| halves.map(|half| vreinterpretq_s8_u32(vshlq_n_u32::<8>(vreinterpretq_u32_s8(half)))));
        let output = |x: usize, columns: [&[int8x16_t; 2]; 3]| {
            for (row, weights) in [&upper, &lower].into_iter().enumerate() {
                let mut sums = lanes.bias;
                for (column, weights) in columns.into_iter().zip(weights) {
                    for (half, sum) in sums.iter_mut().enumerate() {
                        // SAFETY: the caller's promise.
                        *sum = unsafe { sdot(*sum, weights[half], column[half]) };
                    }
                }
                // SAFETY: this output's channels.
                unsafe { vst1_u8(to.add(x * w.pixel_out + row * w.row_out), lanes.bytes::<PLAIN>(sums)) };
            }
        };
        if w.width == 0 {
            return;
        }
        let (mut a, mut b, mut x) = (column(0), column(1), 0);
        loop {
            let c = column(x + 2);
            output(x, [&a, &b, &c]);
            if x + 1 == w.width {
                break;
            }
            a = column(x + 3);
            output(x + 1, [&b, &c, &a]);
            if x + 2 == w.width {
                break;
            }
            b = column(x + 4);
            output(x + 2, [&c, &a, &b]);
            x += 3;
            if x == w.width {
                break;
            }
        }
    }

    /// Any kernel: four outputs of a row at a time.
    ///
    /// # Safety
    /// As [`Kernel::run`].
    #[target_feature(enable = "neon")]
    unsafe fn any(&self, arena: *mut u8) {
        let w = &self.layer.window;
        for y in 0..w.height {
            for i in 0..self.units.len() {
                let mut x = 0;
                // SAFETY: outputs x.. are inside the window.
                unsafe {
                    let start = self.units[i].start;
                    let (from, to) = (w.input + y * w.row_in + start, w.output + y * w.row_out + start);
                    while x + 4 <= w.width {
                        self.some::<4>(i, arena.add(from + x * w.pixel_in), arena.add(to + x * w.pixel_out));
                        x += 4;
                    }
                    while x < w.width {
                        self.some::<1>(i, arena.add(from + x * w.pixel_in), arena.add(to + x * w.pixel_out));
                        x += 1;
                    }
                }
            }
        }
    }

    /// `N` outputs of unit `i` beside each other.
    ///
    /// # Safety
    /// As [`Kernel::run`]; the window has these outputs.
    #[target_feature(enable = "neon")]
    #[inline(never)]
    unsafe fn some<const N: usize>(&self, i: usize, from: *const u8, to: *mut u8) {
        let (w, layer, unit) = (&self.layer.window, &self.layer, &self.units[i]);
        let lanes = Lanes::new(unit, Finish::new(layer.requant.zero, layer.requant.low, layer.requant.high));
        let mut sums = [lanes.bias; N];
        let mut weights = self.weights[i * self.taps * UNIT..].as_ptr();
        // SAFETY: the kernel's own taps, and as many packed weights; reads pass the end by less than a unit.
        unsafe {
            for row in 0..layer.parts * layer.height {
                let from = from.add(row % layer.height * layer.row);
                let mut column = 0;
                while column < layer.width {
                    let two = unit.chain > 1 && column + 1 < layer.width;
                    let from = from.add(column * layer.pixel);
                    let first = vld1_s8(weights);
                    if two {
                        let second = vld1_s8(weights.add(UNIT));
                        for (n, sums) in sums.iter_mut().enumerate() {
                            let from = from.add(n * w.pixel_in);
                            *sums = products::<2, 2>(*sums, [load(from), load(from.add(layer.pixel))], &[first, second]);
                        }
                    } else {
                        for (n, sums) in sums.iter_mut().enumerate() {
                            *sums = products::<1, 1>(*sums, [load(from.add(n * w.pixel_in))], &[first]);
                        }
                    }
                    column += 1 + usize::from(two);
                    weights = weights.add(UNIT * (1 + usize::from(two)));
                }
            }
            for (n, sums) in sums.into_iter().enumerate() {
                store(to.add(n * w.pixel_out), lanes.bytes::<false>(sums), layer.channels);
            }
        }
    }
}
