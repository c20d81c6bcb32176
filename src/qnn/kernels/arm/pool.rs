//! Pooling: eight channels at a time, their bytes under the window one after another.

use std::arch::aarch64::*;

use super::{Finish, UNIT, store};
use crate::qnn::kernels::{Kernel, Pool, PoolKind};

/// Bytes that can be summed in 16 bits.
const SAFE: usize = 257;

impl Kernel for Pool {
    unsafe fn run(&self, arena: *mut u8) {
        // SAFETY: NEON is part of every aarch64 this is built for; the rest is the caller's promise.
        unsafe { pool(self, arena) }
    }
}

#[target_feature(enable = "neon")]
unsafe fn pool(pool: &Pool, arena: *mut u8) {
    let w = &pool.window;
    for (y, &rows) in pool.rows.iter().enumerate() {
        for (x, &columns) in pool.columns.iter().enumerate() {
            for c in (0..pool.channels).step_by(UNIT) {
                // SAFETY: within the layer's extent; reads pass the end by less than a unit.
                unsafe {
                    let bytes = match pool.kind {
                        PoolKind::Max => most(arena.add(w.input + c), (w.row_in, w.pixel_in), rows, columns),
                        PoolKind::Mean { in_zero, scale, count, zero, low, high } => {
                            let inside = rows.1 * columns.1;
                            let scale = vdupq_n_f32(scale / count.unwrap_or(inside) as f32);
                            let zeros = vdupq_n_s32((inside as i32).wrapping_mul(in_zero));
                            let sums = sum(arena.add(w.input + c), (w.row_in, w.pixel_in), rows, columns);
                            let put = |sum| vmulq_f32(vcvtq_f32_s32(vsubq_s32(vreinterpretq_s32_u32(sum), zeros)), scale);
                            Finish::new(zero, low, high).bytes([put(sums[0]), put(sums[1])])
                        }
                    };
                    store(arena.add(w.output + y * w.row_out + x * w.pixel_out + c), bytes, pool.channels - c);
                }
            }
        }
    }
}

/// Largest bytes under the window; `rows` and `columns` are first and number.
///
/// # Safety
/// All of them, and a unit from each, may be read.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn most(from: *const u8, (row, pixel): (usize, usize), rows: (usize, usize), columns: (usize, usize)) -> uint8x8_t {
    let mut most = vdup_n_u8(0);
    for i in rows.0..rows.0 + rows.1 {
        for j in columns.0..columns.0 + columns.1 {
            // SAFETY: the caller's promise.
            most = vmax_u8(most, unsafe { vld1_u8(from.add(i * row + j * pixel)) });
        }
    }
    most
}

/// Their sums.
///
/// # Safety
/// As [`most`].
#[target_feature(enable = "neon")]
#[inline]
unsafe fn sum(from: *const u8, (row, pixel): (usize, usize), rows: (usize, usize), columns: (usize, usize)) -> [uint32x4_t; 2] {
    let mut sums = [vdupq_n_u32(0); 2];
    for i in rows.0..rows.0 + rows.1 {
        for start in (columns.0..columns.0 + columns.1).step_by(SAFE) {
            let mut short = vdupq_n_u16(0);
            for j in start..(start + SAFE).min(columns.0 + columns.1) {
                // SAFETY: the caller's promise.
                short = vaddw_u8(short, unsafe { vld1_u8(from.add(i * row + j * pixel)) });
            }
            sums = [vaddw_u16(sums[0], vget_low_u16(short)), vaddw_high_u16(sums[1], short)];
        }
    }
    sums
}
