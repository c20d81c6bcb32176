//! The definition of every layer, in plain Rust; what the other instruction sets are tested against and fall back to.
//!
//! Written to be read, not to be fast: one output byte at a time, in the order of the formulas beside the layers' structs.

use super::{Add, Conv, Depthwise, Kernel, Layer, Lookup, Mul, Pool, PoolKind, Sum, Window};

/// The layer itself is all that this needs.
pub(super) fn prepare(layer: Layer) -> Box<dyn Kernel> {
    Box::new(Scalar(layer))
}

struct Scalar(Layer);

impl Kernel for Scalar {
    unsafe fn run(&self, arena: *mut u8) {
        // SAFETY: the caller's promise; every offset below is one that `Layer::extent` counted.
        unsafe {
            match &self.0 {
                Layer::Conv(conv) => run_conv(conv, arena),
                Layer::Depthwise(dw) => run_depthwise(dw, arena),
                Layer::Add(add) => run_add(add, arena),
                Layer::Mul(mul) => run_mul(mul, arena),
                Layer::Lookup(lookup) => run_lookup(lookup, arena),
                Layer::Pool(pool) => run_pool(pool, arena),
            }
        }
    }
}

/// `clamp(round_half_even(value) + zero, low, high)`, clamped while still a float.
pub(super) fn quantize(value: f32, zero: i32, low: u8, high: u8) -> u8 {
    let (least, most) = ((i32::from(low) - zero) as f32, (i32::from(high) - zero) as f32);
    (value.max(least).min(most).round_ties_even() as i32 + zero) as u8
}

/// See [`Sum`].
pub(super) fn add(sum: &Sum, a: u8, b: u8) -> u8 {
    let (a, b) = ((i32::from(a) - sum.a_zero) as f32 * sum.a_scale, (i32::from(b) - sum.b_zero) as f32 * sum.b_scale);
    quantize(a + b, sum.zero, sum.low, sum.high)
}

/// Every pixel of the window: row, column, offset of its input, offset of its output.
fn pixels(w: &Window) -> impl Iterator<Item = (usize, usize, usize, usize)> {
    let w = *w;
    (0..w.height).flat_map(move |y| {
        (0..w.width).map(move |x| (y, x, w.input + y * w.row_in + x * w.pixel_in, w.output + y * w.row_out + x * w.pixel_out))
    })
}

/// # Safety
/// As [`super::Prepared::run`], like all below.
unsafe fn run_conv(conv: &Conv, arena: *mut u8) {
    let requant = &conv.requant;
    for (y, x, input, output) in pixels(&conv.window) {
        for o in 0..conv.outputs {
            let mut sum = conv.bias[o];
            let lift = conv.lift.get(o).copied().unwrap_or(0);
            for (t, tap) in conv.taps.iter().enumerate() {
                for k in 0..conv.depth {
                    let weight = i32::from(conv.weights[(o * conv.taps.len() + t) * conv.depth + k]).wrapping_add(lift);
                    // SAFETY: inside the layer's extent.
                    let byte = unsafe { *arena.add(input + tap + k) };
                    sum = sum.wrapping_add(i32::from(byte).wrapping_mul(weight));
                }
            }
            let mut byte = quantize(sum as f32 * requant.scale[o], requant.zero, requant.low, requant.high);
            // SAFETY: inside the layer's extent.
            unsafe {
                if let Some(other) = &conv.residual {
                    byte = add(&other.sum, byte, *arena.add(other.offset + y * other.row + x * other.pixel + o));
                }
                *arena.add(output + o) = byte;
            }
        }
    }
}

unsafe fn run_depthwise(dw: &Depthwise, arena: *mut u8) {
    let requant = &dw.requant;
    for (_, _, input, output) in pixels(&dw.window) {
        for c in 0..dw.channels {
            let mut sum = dw.bias[c];
            for i in 0..dw.parts * dw.height {
                for j in 0..dw.width {
                    let weight = dw.weights[(i * dw.width + j) * dw.channels + c];
                    // SAFETY: inside the layer's extent.
                    let byte = unsafe { *arena.add(input + i % dw.height * dw.row + j * dw.pixel + c) };
                    sum = sum.wrapping_add(i32::from(byte) * i32::from(weight));
                }
            }
            // SAFETY: inside the layer's extent.
            unsafe { *arena.add(output + c) = quantize(sum as f32 * requant.scale[c], requant.zero, requant.low, requant.high) };
        }
    }
}

unsafe fn run_add(layer: &Add, arena: *mut u8) {
    for (y, x, input, output) in pixels(&layer.window) {
        for c in 0..layer.channels {
            // SAFETY: inside the layer's extent.
            unsafe {
                let (a, b) = (*arena.add(input + c), *arena.add(layer.b + y * layer.row_b + x * layer.pixel_b + c));
                *arena.add(output + c) = add(&layer.sum, a, b);
            }
        }
    }
}

unsafe fn run_mul(mul: &Mul, arena: *mut u8) {
    for (y, x, input, output) in pixels(&mul.window) {
        for c in 0..mul.channels {
            // SAFETY: inside the layer's extent.
            unsafe {
                let (a, b) = (*arena.add(input + c), *arena.add(mul.b + y * mul.row_b + x * mul.pixel_b + c));
                let product = (i32::from(a) - mul.a_zero) * (i32::from(b) - mul.b_zero);
                *arena.add(output + c) = quantize(product as f32 * mul.scale, mul.zero, mul.low, mul.high);
            }
        }
    }
}

unsafe fn run_lookup(lookup: &Lookup, arena: *mut u8) {
    for (_, _, input, output) in pixels(&lookup.window) {
        for c in 0..lookup.channels {
            // SAFETY: inside the layer's extent.
            unsafe { *arena.add(output + c) = lookup.table[usize::from(*arena.add(input + c))] };
        }
    }
}

unsafe fn run_pool(pool: &Pool, arena: *mut u8) {
    let w = &pool.window;
    for (y, x, _, output) in pixels(w) {
        let ((row, rows), (column, columns)) = (pool.rows[y], pool.columns[x]);
        for c in 0..pool.channels {
            let (mut most, mut sum) = (0u8, 0i32);
            for i in row..row + rows {
                for j in column..column + columns {
                    // SAFETY: inside the layer's extent.
                    let byte = unsafe { *arena.add(w.input + i * w.row_in + j * w.pixel_in + c) };
                    most = most.max(byte);
                    sum = sum.wrapping_add(i32::from(byte));
                }
            }
            let byte = match pool.kind {
                PoolKind::Max => most,
                PoolKind::Mean { in_zero, scale, count, zero, low, high } => {
                    let inside = rows * columns;
                    let sum = sum.wrapping_sub((inside as i32).wrapping_mul(in_zero));
                    quantize(sum as f32 * (scale / count.unwrap_or(inside) as f32), zero, low, high)
                }
            };
            // SAFETY: inside the layer's extent.
            unsafe { *arena.add(output + c) = byte };
        }
    }
}
