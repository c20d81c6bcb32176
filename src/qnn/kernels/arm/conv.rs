//! Convolutions and dense layers as tiles of up to 8 pixels x 8 outputs.
//!
//! The bytes under the pixels of a tile are first laid side by side in a panel on the stack, signed, 16 of one pixel then 16 of the
//! next; every block of outputs then reads this panel and its own packed weights front to back. Wherever the taps of a pixel lie,
//! the inner loop is the same: two streams, and the sums in registers.

use std::arch::aarch64::*;
use std::marker::PhantomData;
use std::mem::MaybeUninit;

use super::{Adder, UNIT, store};
use crate::qnn::kernels::{Conv, Kernel, Residual, Window};

/// Outputs of a tile.
pub(crate) const BLOCK: usize = 8;
/// Bytes of a pixel that lie together in a panel.
const CHUNK: usize = 16;
/// Bytes of a panel, a first-level cache's worth: deeper products take fewer pixels at a time, and one longer than this runs plain
/// (its sum could leave `i32` anyway).
const PANEL: usize = 32768;

/// Bytes between pixels whose short taps are gathered: kernels of up to 7 x 7 on one plane of three.
const SHORT: usize = 192;

/// Sums of `P` pixels for [`BLOCK`] outputs.
pub(crate) type Sums<const P: usize> = [[int32x4_t; 2]; P];

/// The inner product: how weights are packed for it and how a tile is summed.
pub(crate) trait Dot: Send + Sync + 'static {
    /// The processor has `sdot`.
    const SDOT: bool = false;

    /// Packs one block's weights: `weight(output, k)` for output < [`BLOCK`] and any k (zero where there is none) below `depth`
    /// rounded up to a chunk.
    fn pack(weight: &dyn Fn(usize, usize) -> i8, depth: usize, packed: &mut Vec<i8>);

    /// Adds the products of `depth` bytes to `sums`. Implemented as `#[inline(always)]` (which excludes `#[target_feature]`): not
    /// inlined it would sum in memory.
    ///
    /// # Safety
    /// `panel` points to `depth` bytes, rounded up to whole chunks, of each of `P` pixels; `weights` to a block packed for this
    /// depth; the processor has the instructions.
    unsafe fn tile<const P: usize>(panel: *const i8, weights: *const i8, depth: usize, sums: &mut Sums<P>);
}

/// A [`Conv`] ready to run.
pub(crate) struct Packed<D> {
    window: Window,
    taps: Vec<usize>,
    /// Bytes of a tap.
    span: usize,
    /// Bytes of a whole product.
    depth: usize,
    outputs: usize,
    weights: Vec<i8>,
    /// Bytes of `weights` for a block of outputs.
    stride: usize,
    bias: Vec<i32>,
    lift: Vec<i32>,
    scale: Vec<f32>,
    /// No sum, put on its scale, leaves 16 bits: narrowing need not saturate.
    fits: bool,
    zero: i32,
    low: u8,
    high: u8,
    residual: Option<Residual>,
    /// Most pixels of a tile.
    pixels: usize,
    dot: PhantomData<D>,
}

impl<D: Dot> Packed<D> {
    /// Gives the layer back where its products are too long for a panel.
    pub(crate) fn new(conv: Conv) -> Result<Packed<D>, Conv> {
        let depth = conv.taps.len() * conv.depth;
        if depth > PANEL || conv.requant.scale.iter().any(|scale| !scale.is_finite()) {
            return Err(conv);
        }
        let row = |o: usize| conv.weights.get(o * depth..(o + 1) * depth).unwrap_or(&[]);
        let blocks = conv.outputs.div_ceil(BLOCK);
        let mut weights = Vec::new();
        for block in 0..blocks {
            D::pack(&|o, k| row(block * BLOCK + o).get(k).copied().unwrap_or(0), depth, &mut weights);
        }
        let (mut bias, mut scale) = (vec![0; blocks * BLOCK], vec![0.0; blocks * BLOCK]);
        let mut fits = true;
        for o in 0..conv.outputs {
            bias[o] = signed_bias(conv.bias[o], row(o).iter());
            scale[o] = conv.requant.scale[o];
            fits &= fits_16(conv.bias[o], row(o).iter(), conv.lift.get(o).copied().unwrap_or(0), scale[o]);
        }
        let mut lift = conv.lift;
        lift.resize(if lift.is_empty() { 0 } else { blocks * BLOCK }, 0);
        let room = |pixels: usize| pixels * depth.next_multiple_of(CHUNK) <= PANEL;
        Ok(Packed {
            window: merged(conv.window, conv.residual.as_ref()),
            span: conv.depth,
            depth,
            outputs: conv.outputs,
            stride: weights.len() / blocks.max(1),
            weights,
            bias,
            lift,
            scale,
            fits,
            zero: conv.requant.zero,
            low: conv.requant.low,
            high: conv.requant.high,
            residual: conv.residual,
            pixels: [8, 4, 2].into_iter().find(|&pixels| room(pixels)).unwrap_or(1),
            taps: conv.taps,
            dot: PhantomData,
        })
    }
}

/// The bias for activations less 128.
pub(super) fn signed_bias<'a>(bias: i32, weights: impl Iterator<Item = &'a i8>) -> i32 {
    weights.fold(bias, |bias, &weight| bias.wrapping_add(128 * i32::from(weight)))
}

/// Whether sum * scale stays within 16 bits, whatever the bytes are.
pub(super) fn fits_16<'a>(bias: i32, weights: impl Iterator<Item = &'a i8>, lift: i32, scale: f32) -> bool {
    let (least, most) = weights.fold((i64::from(bias), i64::from(bias)), |(least, most), &weight| {
        let extreme = 255 * (i64::from(weight) + i64::from(lift));
        (least + extreme.min(0), most + extreme.max(0))
    });
    let (least, most) = (least.min(0), most.max(0));
    most - least <= i64::from(i32::MAX) && (most - least) as f64 * f64::from(scale.abs()) < 32000.0
}

/// Rows that follow each other without a gap are one row.
fn merged(mut window: Window, residual: Option<&Residual>) -> Window {
    let gapless = |row: usize, pixel: usize| Some(row) == pixel.checked_mul(window.width);
    if gapless(window.row_in, window.pixel_in)
        && gapless(window.row_out, window.pixel_out)
        && residual.is_none_or(|other| gapless(other.row, other.pixel))
    {
        window.width *= window.height;
        window.height = window.height.min(1);
    }
    window
}

/// Memory of one run, on the stack: never read before it is written, so never cleared.
#[repr(align(64))]
struct Room {
    panel: [u8; PANEL],
    /// Taps of each pixel one behind the other, where they are not whole chunks; each pixel's end on a chunk of zeros.
    gathered: [u8; PANEL + 8 * CHUNK],
}

/// Where the pixels of a tile lie.
struct Places<const P: usize> {
    inputs: [*const u8; P],
    outputs: [*mut u8; P],
    /// Of the tensor that is added; nowhere if none is.
    others: [*const u8; P],
}

/// The next pixel of the window.
struct Cursor {
    arena: *mut u8,
    x: usize,
    input: usize,
    output: usize,
    other: usize,
}

impl Cursor {
    fn new(window: &Window, residual: Option<&Residual>, arena: *mut u8) -> Cursor {
        Cursor { arena, x: 0, input: window.input, output: window.output, other: residual.map_or(0, |other| other.offset) }
    }

    /// Takes the next `P` pixels.
    #[inline(always)]
    fn take<const P: usize>(&mut self, window: &Window, residual: Option<&Residual>) -> Places<P> {
        let (row, pixel) = residual.map_or((0, 0), |other| (other.row, other.pixel));
        let mut places =
            Places { inputs: [std::ptr::null(); P], outputs: [std::ptr::null_mut(); P], others: [std::ptr::null(); P] };
        let together = self.x + P <= window.width;
        for p in 0..P {
            places.inputs[p] = self.arena.wrapping_add(self.input);
            places.outputs[p] = self.arena.wrapping_add(self.output);
            places.others[p] = self.arena.wrapping_add(self.other);
            self.input = self.input.wrapping_add(window.pixel_in);
            self.output = self.output.wrapping_add(window.pixel_out);
            self.other = self.other.wrapping_add(pixel);
            if !together {
                self.x += 1;
                self.wrap(window, row, pixel);
            }
        }
        if together {
            self.x += P;
            self.wrap(window, row, pixel);
        }
        places
    }

    /// To the next row if this one is done.
    #[inline(always)]
    fn wrap(&mut self, window: &Window, row: usize, pixel: usize) {
        let next = |at: usize, row: usize, pixel: usize| at.wrapping_add(row).wrapping_sub(window.width.wrapping_mul(pixel));
        if self.x == window.width {
            self.x = 0;
            self.input = next(self.input, window.row_in, window.pixel_in);
            self.output = next(self.output, window.row_out, window.pixel_out);
            self.other = next(self.other, row, pixel);
        }
    }
}

impl<D: Dot> Kernel for Packed<D> {
    unsafe fn run(&self, arena: *mut u8) {
        // SAFETY: the caller's promise.
        unsafe { if self.residual.is_some() { self.tiles::<true>(arena) } else { self.tiles::<false>(arena) } }
    }
}

impl<D: Dot> Packed<D> {
    /// `ADD` with a residual.
    ///
    /// # Safety
    /// As [`Kernel::run`].
    unsafe fn tiles<const ADD: bool>(&self, arena: *mut u8) {
        let mut room = MaybeUninit::<Room>::uninit();
        let room = room.as_mut_ptr();
        let mut cursor = Cursor::new(&self.window, self.residual.as_ref(), arena);
        let mut left = self.window.height * self.window.width;
        // SAFETY: the caller's promise; `tile` takes no more pixels than are left, and no more than the room holds.
        unsafe {
            while left >= 8 && self.pixels >= 8 {
                self.tile::<8, ADD>(&mut cursor, room);
                left -= 8;
            }
            while left >= 4 && self.pixels >= 4 {
                self.tile::<4, ADD>(&mut cursor, room);
                left -= 4;
            }
            while left >= 2 && self.pixels >= 2 {
                self.tile::<2, ADD>(&mut cursor, room);
                left -= 2;
            }
            while left >= 1 {
                self.tile::<1, ADD>(&mut cursor, room);
                left -= 1;
            }
        }
    }

    /// All outputs of the next `P` pixels.
    ///
    /// # Safety
    /// As [`Kernel::run`]; the window has that many pixels left, and `P` products fit the room.
    #[target_feature(enable = "neon")]
    #[inline(never)]
    unsafe fn tile<const P: usize, const ADD: bool>(&self, cursor: &mut Cursor, room: *mut Room) {
        let residual = if ADD { self.residual.as_ref() } else { None };
        let mut places = cursor.take::<P>(&self.window, residual);
        let adder = residual.map(|other| Adder::new(&other.sum));
        let finish = super::Finish::new(self.zero, self.low, self.high);
        let clamps = self.low > 0 || self.high < 255;
        // SAFETY: inputs, outputs and the residual lie within the layer's extent (the caller's promise); reads pass the end by less
        // than a chunk, which is within SLACK. Packed tables are as long as the blocks counted here.
        unsafe {
            let panel = (&raw mut (*room).panel).cast::<u8>();
            let mut bytes_of = [0; P];
            if !self.lift.is_empty() {
                bytes_of = places.inputs.map(|input| self.bytes(input));
            }
            if self.taps.len() == 1 || self.span.is_multiple_of(CHUNK) {
                fill(panel, &places.inputs, &self.taps, self.span);
            } else {
                let gathered = (&raw mut (*room).gathered).cast::<u8>();
                self.gather(gathered, &mut places.inputs);
                fill(panel, &places.inputs, &[0], self.depth);
            }
            let mut weights = self.weights.as_ptr();
            let mut o = 0;
            while o < self.outputs {
                let bias = self.bias.as_ptr().add(o);
                let mut sums: Sums<P> = [[vld1q_s32(bias), vld1q_s32(bias.add(4))]; P];
                if !self.lift.is_empty() {
                    let lift = self.lift.as_ptr().add(o);
                    let lift = [vld1q_s32(lift), vld1q_s32(lift.add(4))];
                    for (sums, bytes) in sums.iter_mut().zip(bytes_of) {
                        *sums = [vmlaq_n_s32(sums[0], lift[0], bytes), vmlaq_n_s32(sums[1], lift[1], bytes)];
                    }
                }
                D::tile(panel.cast(), weights, self.depth, &mut sums);

                // One decision for all pixels of a tile instead of one for each.
                let scale = self.scale.as_ptr().add(o);
                let scale = [vld1q_f32(scale), vld1q_f32(scale.add(4))];
                let mut halves = [vdupq_n_s16(0); P];
                if self.fits {
                    for (half, sum) in halves.iter_mut().zip(&sums) {
                        let [low, high] = rounded(sum, scale).map(|four| vreinterpretq_s16_s32(four));
                        *half = vuzp1q_s16(low, high);
                    }
                } else {
                    for (half, sum) in halves.iter_mut().zip(&sums) {
                        let [low, high] = rounded(sum, scale);
                        *half = vqmovn_high_s32(vqmovn_s32(low), high);
                    }
                }
                if self.zero != 0 {
                    for half in &mut halves {
                        *half = vqaddq_s16(*half, finish.zero);
                    }
                }
                let mut bytes = [vdup_n_u8(0); P];
                for (eight, half) in bytes.iter_mut().zip(halves) {
                    *eight = vqmovun_s16(half);
                }
                if clamps {
                    for eight in &mut bytes {
                        *eight = vmin_u8(vmax_u8(*eight, finish.low), finish.high);
                    }
                }
                if let Some(adder) = adder {
                    for (eight, other) in bytes.iter_mut().zip(places.others) {
                        *eight = adder.add(*eight, vld1_u8(other.wrapping_add(o)));
                    }
                }
                if self.outputs - o >= UNIT {
                    for (eight, to) in bytes.into_iter().zip(places.outputs) {
                        vst1_u8(to.add(o), eight);
                    }
                } else {
                    for (eight, to) in bytes.into_iter().zip(places.outputs) {
                        store(to.add(o), eight, self.outputs - o);
                    }
                }
                o += UNIT;
                weights = weights.add(self.stride);
            }
        }
    }

    /// The sum of all bytes that a pixel reads, wrapping.
    ///
    /// # Safety
    /// They may be read.
    unsafe fn bytes(&self, pixel: *const u8) -> i32 {
        self.taps.iter().fold(0, |sum: i32, tap| {
            // SAFETY: the caller's promise.
            let tap = unsafe { std::slice::from_raw_parts(pixel.add(*tap), self.span) };
            tap.iter().fold(sum, |sum, byte| sum.wrapping_add(i32::from(*byte)))
        })
    }

    /// Copies the taps of each pixel together and moves `inputs` there.
    ///
    /// # Safety
    /// As [`Packed::tile`].
    #[target_feature(enable = "neon")]
    #[inline]
    unsafe fn gather<const P: usize>(&self, gathered: *mut u8, inputs: &mut [*const u8; P]) {
        // SAFETY: a copy passes its tap's end by less than a chunk, there and here, where the next tap or the last chunk follows.
        unsafe {
            if self.span <= 8 && self.depth + CHUNK <= SHORT {
                let starts = std::array::from_fn(|p| gathered.add(p * SHORT));
                for start in starts {
                    vst1q_u8(start.add(self.depth), vdupq_n_u8(0));
                }
                if self.span <= 4 {
                    copy_side_by_side::<u32, P>(gathered, inputs, &self.taps, self.span);
                } else {
                    copy_side_by_side::<u64, P>(gathered, inputs, &self.taps, self.span);
                }
                *inputs = starts.map(|start| start.cast_const());
                return;
            }
            for (p, input) in inputs.iter_mut().enumerate() {
                let start = gathered.add(p * (self.depth.next_multiple_of(CHUNK) + CHUNK));
                vst1q_u8(start.add(self.depth), vdupq_n_u8(0));
                let mut to = start;
                for &tap in &self.taps {
                    for k in (0..self.span).step_by(CHUNK) {
                        vst1q_u8(to.add(k), vld1q_u8(input.add(tap + k)));
                    }
                    to = to.add(self.span);
                }
                *input = start;
            }
        }
    }
}

/// Copies taps of up to a `T` behind each other, tap by tap for all pixels; pixels lie [`SHORT`] apart.
///
/// # Safety
/// Each tap may be read and written as a whole `T`.
#[inline(always)]
unsafe fn copy_side_by_side<T: Copy, const P: usize>(mut to: *mut u8, inputs: &[*const u8; P], taps: &[usize], span: usize) {
    for &tap in taps {
        for (p, input) in inputs.iter().enumerate() {
            // SAFETY: the caller's promise.
            unsafe { to.add(p * SHORT).cast::<T>().write_unaligned(input.add(tap).cast::<T>().read_unaligned()) };
        }
        to = to.wrapping_add(span);
    }
}

/// Sums on the output's scale, rounded.
#[target_feature(enable = "neon")]
#[inline]
fn rounded(sum: &[int32x4_t; 2], scale: [float32x4_t; 2]) -> [int32x4_t; 2] {
    let round = |sum, scale| vcvtnq_s32_f32(vmulq_f32(vcvtq_f32_s32(sum), scale));
    [round(sum[0], scale[0]), round(sum[1], scale[1])]
}

/// Fills a panel: taps in order, chunk by chunk, pixel by pixel, signed.
///
/// # Safety
/// Each tap may be read up to whole chunks; the panel holds them.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn fill<const P: usize>(mut panel: *mut u8, inputs: &[*const u8; P], taps: &[usize], span: usize) {
    let flip = vdupq_n_u8(0x80);
    for &tap in taps {
        let mut k = 0;
        while k < span {
            // All loads before all stores, so that these pair.
            let mut chunks = [flip; P];
            for (chunk, input) in chunks.iter_mut().zip(inputs) {
                // SAFETY: the caller's promise.
                *chunk = veorq_u8(unsafe { vld1q_u8(input.add(tap + k)) }, flip);
            }
            for (p, chunk) in chunks.into_iter().enumerate() {
                // SAFETY: the caller's promise.
                unsafe { vst1q_u8(panel.add(p * CHUNK), chunk) };
            }
            panel = panel.wrapping_add(P * CHUNK);
            k += CHUNK;
        }
    }
}
