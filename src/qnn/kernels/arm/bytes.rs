//! Layers that take each byte by itself: sums, products and tables.

use std::arch::aarch64::*;

use super::{Adder, Finish, UNIT, centred, scaled, store};
use crate::qnn::kernels::{Add, Kernel, Lookup, Mul, Window};

/// A second tensor read beside the window's: offset of pixel (0, 0), bytes between rows, bytes between pixels.
type Beside = (usize, usize, usize);

/// Calls `body(a, b, output, count)` for runs of bytes that lie together in all three: whole rows if pixels have no gaps, else pixels.
///
/// # Safety
/// As [`Kernel::run`]; `body` touches `count` bytes of each.
#[inline(always)]
unsafe fn runs(arena: *mut u8, w: &Window, b: Beside, channels: usize, body: impl Fn(*const u8, *const u8, *mut u8, usize)) {
    let gapless = [w.pixel_in, w.pixel_out, b.2] == [channels; 3];
    let (across, count) = if gapless { (w.width.min(1), w.width * channels) } else { (w.width, channels) };
    for y in 0..w.height {
        for x in 0..across {
            // SAFETY: within the layer's extent.
            unsafe {
                body(
                    arena.add(w.input + y * w.row_in + x * w.pixel_in),
                    arena.add(b.0 + y * b.1 + x * b.2),
                    arena.add(w.output + y * w.row_out + x * w.pixel_out),
                    count,
                );
            }
        }
    }
}

impl Kernel for Add {
    unsafe fn run(&self, arena: *mut u8) {
        // SAFETY: NEON is part of every aarch64 this is built for; the rest is the caller's promise.
        unsafe { add(self, arena) }
    }
}

#[target_feature(enable = "neon")]
unsafe fn add(layer: &Add, arena: *mut u8) {
    let adder = Adder::new(&layer.sum);
    // SAFETY: the caller's promise; a unit is read before it is written, and reads pass the end by less than a unit.
    unsafe {
        runs(arena, &layer.window, (layer.b, layer.row_b, layer.pixel_b), layer.channels, |a, b, to, count| {
            for i in (0..count).step_by(UNIT) {
                store(to.add(i), adder.add(vld1_u8(a.add(i)), vld1_u8(b.add(i))), count - i);
            }
        });
    }
}

impl Kernel for Mul {
    unsafe fn run(&self, arena: *mut u8) {
        // SAFETY: as for Add.
        unsafe { mul(self, arena) }
    }
}

#[target_feature(enable = "neon")]
unsafe fn mul(layer: &Mul, arena: *mut u8) {
    let (a_zero, b_zero) = (vdup_n_u8(layer.a_zero as u8), vdup_n_u8(layer.b_zero as u8));
    let (scale, finish) = (vdupq_n_f32(layer.scale), Finish::new(layer.zero, layer.low, layer.high));
    // SAFETY: as for Add.
    unsafe {
        runs(arena, &layer.window, (layer.b, layer.row_b, layer.pixel_b), layer.channels, |a, b, to, count| {
            for i in (0..count).step_by(UNIT) {
                let (a, b) = (centred(vld1_u8(a.add(i)), a_zero), centred(vld1_u8(b.add(i)), b_zero));
                let products = [vmull_s16(vget_low_s16(a), vget_low_s16(b)), vmull_high_s16(a, b)];
                let products = [vcvtq_f32_s32(products[0]), vcvtq_f32_s32(products[1])];
                store(to.add(i), finish.bytes(scaled(products, scale)), count - i);
            }
        });
    }
}

impl Kernel for Lookup {
    unsafe fn run(&self, arena: *mut u8) {
        // SAFETY: as for Add.
        unsafe { lookup(self, arena) }
    }
}

#[target_feature(enable = "neon")]
unsafe fn lookup(layer: &Lookup, arena: *mut u8) {
    // SAFETY: the table has 256 bytes; for the rest the caller's promise: two units are read before they are written, and reads pass the end by less
    // than two, 16 bytes, of the SLACK that is there. `tbl` answers 0 and `tbx` leaves its lane where an index is out of reach.
    unsafe {
        let table = layer.table.as_ptr();
        let quarters = [0, 64, 128, 192].map(|at| vld1q_u8_x4(table.add(at)));
        let step = vdupq_n_u8(64);
        let w = &layer.window;
        runs(arena, w, (w.input, w.row_in, w.pixel_in), layer.channels, |x, _, to, count| {
            for i in (0..count).step_by(2 * UNIT) {
                let mut index = vld1q_u8(x.add(i));
                let mut y = vqtbl4q_u8(quarters[0], index);
                for quarter in &quarters[1..] {
                    index = vsubq_u8(index, step);
                    y = vqtbx4q_u8(y, *quarter, index);
                }
                if count - i >= 2 * UNIT {
                    vst1q_u8(to.add(i), y);
                } else {
                    store(to.add(i), vget_low_u8(y), count - i);
                    if count - i > UNIT {
                        store(to.add(i + UNIT), vget_high_u8(y), count - i - UNIT);
                    }
                }
            }
        });
    }
}
