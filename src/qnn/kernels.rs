//! What the quantised operator computes, layer by layer, and which instruction set computes it.
//!
//! The definition is `kernels/scalar.rs`: plain Rust, integers up to the sum and one `f32` multiplication behind it. Every other
//! file here is one instruction set and agrees with it bit for bit (tests beside `agree.rs`). A product of unsigned bytes
//! (activations) with signed bytes (weights) is summed in `i32`; the sum is put on the output's scale by
//!
//! ```text
//! y = clamp(round_half_even(sum as f32 * scale[c]) + zero, low, high)
//! ```
//!
//! Zero points are not subtracted here: the plan folds them into the bias, and borders of pictures hold the zero point as bytes.
//! Two corners are fixed so that all instruction sets agree: a sum that leaves `i32` wraps, and the product is clamped as a float,
//! to `low - zero` and `high - zero` (whole numbers, so clamping before rounding is clamping behind it), since conversions of huge
//! floats differ. Scales are positive; one above 2^64 counts as 2^64 ([`Layer::prepare`] sees to it), so no product is infinite
//! and no sum of two is not a number.
//!
//! All bytes of a run lie in one arena; a layer names places in it by offset. A kernel may read up to [`SLACK`] bytes behind the
//! last byte it needs (the arena has them, and packed weights there are zero), and never writes a byte that is not its output.
//! The output shares no byte with what the layer reads, with one exception: [`Add`], [`Mul`], [`Lookup`] and [`Residual`] read
//! and write pixel by pixel, so there the output may lie exactly upon one of the tensors read (same offset and steps).
//!
//! A layer is described once ([`Layer`]), prepared once for an instruction set (weights packed: [`Layer::prepare`]) and then run
//! without allocating. An instruction set without a version of its own of some layer runs the plain one.

#![allow(unsafe_code)] // kernels read and write an arena by offset; each file says what keeps them inside
#![allow(clippy::result_large_err)] // a layer given back is no error, only left to the plain version

use std::fmt;

mod isa;
mod extent;
mod scalar;
#[cfg(target_arch = "x86_64")]
mod simd;
#[cfg(target_arch = "x86_64")]
mod conv;
#[cfg(target_arch = "x86_64")]
mod depthwise;
#[cfg(target_arch = "x86_64")]
mod bytes;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avxvnni;
#[cfg(target_arch = "x86_64")]
mod vnni;
#[cfg(target_arch = "aarch64")]
mod arm;
#[cfg(all(test, target_os = "linux"))]
#[allow(clippy::unwrap_used)]
mod agree;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "aarch64")]
mod dotprod;

pub use isa::{Isa, UnknownIsa};

/// Bytes a kernel may read behind what it needs; every arena ends in as many.
pub const SLACK: usize = 64;

/// Output pixels of a layer: pixel (y, x) reads at `input + y * row_in + x * pixel_in`, writes at `output + y * row_out + x * pixel_out`.
/// All in bytes within the arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Output rows.
    pub height: usize,
    /// Output pixels a row.
    pub width: usize,
    /// Offset of the first tap of output pixel (0, 0).
    pub input: usize,
    /// Input bytes between output rows (stride included).
    pub row_in: usize,
    /// Input bytes between output pixels (stride included).
    pub pixel_in: usize,
    /// Offset of channel 0 of output pixel (0, 0).
    pub output: usize,
    /// Output bytes between rows.
    pub row_out: usize,
    /// Output bytes between pixels.
    pub pixel_out: usize,
}

/// From the `i32` sum to the output byte, see the module's documentation.
#[derive(Clone, Debug, PartialEq)]
pub struct Requant {
    /// A factor for each output channel.
    pub scale: Vec<f32>,
    /// The output's zero point.
    pub zero: i32,
    /// Smallest byte (a folded ReLU raises it).
    pub low: u8,
    /// Largest byte (a folded ReLU6 lowers it).
    pub high: u8,
}

/// A convolution or dense layer: each output is a sum over taps of `depth` contiguous bytes.
/// `y[p, o] = requant(bias[o] + sum over t, k of x[pixel(p) + taps[t] + k] * (weights[(o * taps + t) * depth + k] + lift[o]))`
#[derive(Clone, Debug)]
pub struct Conv {
    /// Where it reads and writes.
    pub window: Window,
    /// Offset of each tap from the pixel's first.
    pub taps: Vec<usize>,
    /// Contiguous bytes of a tap: channels of a k x k kernel's tap, or of a whole kernel row, or a row of one plane.
    pub depth: usize,
    /// Output channels.
    pub outputs: usize,
    /// `[outputs][taps][depth]`.
    pub weights: Vec<i8>,
    /// `[outputs]`: what all weights of an output lack, where an `i8` does not hold them (u8 with a zero point off the middle). It multiplies the sum
    /// of a pixel's bytes, which is the same for all outputs and so nearly free. Empty: nothing.
    pub lift: Vec<i32>,
    /// `[outputs]`, zero points folded in.
    pub bias: Vec<i32>,
    /// `[outputs]`.
    pub requant: Requant,
    /// A tensor added behind the convolution's own requantisation, pixel by pixel (a residual connection).
    pub residual: Option<Residual>,
}

/// `z = add(y, other)` as in [`Add`], where y is the layer's own byte and other lies at `offset + y * row + x * pixel`.
#[derive(Clone, Debug)]
pub struct Residual {
    /// Offset of the other tensor's pixel (0, 0).
    pub offset: usize,
    /// Its bytes between rows.
    pub row: usize,
    /// Its bytes between pixels.
    pub pixel: usize,
    /// The sum's arithmetic; `a` is the convolution's own byte.
    pub sum: Sum,
}

/// One kernel for each channel, `[height][width]` taps, perhaps in several parts that are added: weights that no `i8` holds.
/// `y[p, c] = requant(bias[c] + sum over part, i, j of x[pixel(p) + i * row + j * pixel + c] * weights[((part * height + i) * width + j) * channels + c])`
#[derive(Clone, Debug)]
pub struct Depthwise {
    /// Where it reads and writes.
    pub window: Window,
    /// Taps down.
    pub height: usize,
    /// Taps across.
    pub width: usize,
    /// Bytes between taps down (dilation included).
    pub row: usize,
    /// Bytes between taps across (dilation included).
    pub pixel: usize,
    /// Channels, in and out.
    pub channels: usize,
    /// 1, or more where weights are sums.
    pub parts: usize,
    /// `[parts][height][width][channels]`.
    pub weights: Vec<i8>,
    /// `[channels]`, zero points folded in.
    pub bias: Vec<i32>,
    /// `[channels]`.
    pub requant: Requant,
}

/// `y = clamp(round_half_even((a - a_zero) as f32 * a_scale + (b - b_zero) as f32 * b_scale) + zero, low, high)`;
/// two products and one addition, each rounded (never fused).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sum {
    /// Zero point of a.
    pub a_zero: i32,
    /// Scale of a over the output's.
    pub a_scale: f32,
    /// Zero point of b.
    pub b_zero: i32,
    /// Scale of b over the output's.
    pub b_scale: f32,
    /// The output's zero point.
    pub zero: i32,
    /// Smallest byte.
    pub low: u8,
    /// Largest byte.
    pub high: u8,
}

/// Two tensors added. `window` places a and the output; b lies at `b + y * row_b + x * pixel_b`.
#[derive(Clone, Debug)]
pub struct Add {
    /// Where a is read and the sum written.
    pub window: Window,
    /// Offset of b's pixel (0, 0).
    pub b: usize,
    /// b's bytes between rows; 0 where b is one row for all.
    pub row_b: usize,
    /// b's bytes between pixels; 0 where b is one pixel for all.
    pub pixel_b: usize,
    /// Channels.
    pub channels: usize,
    /// The arithmetic.
    pub sum: Sum,
}

/// Two tensors multiplied, placed as in [`Add`] (squeeze and excite: b is one pixel for all).
/// `y = clamp(round_half_even(((a - a_zero) * (b - b_zero)) as f32 * scale) + zero, low, high)`
#[derive(Clone, Debug)]
pub struct Mul {
    /// Where a is read and the product written.
    pub window: Window,
    /// Offset of b's pixel (0, 0).
    pub b: usize,
    /// b's bytes between rows; 0 where b is one row for all.
    pub row_b: usize,
    /// b's bytes between pixels; 0 where b is one pixel for all.
    pub pixel_b: usize,
    /// Channels.
    pub channels: usize,
    /// Zero point of a.
    pub a_zero: i32,
    /// Zero point of b.
    pub b_zero: i32,
    /// Scales of a and b over the output's.
    pub scale: f32,
    /// The output's zero point.
    pub zero: i32,
    /// Smallest byte.
    pub low: u8,
    /// Largest byte.
    pub high: u8,
}

/// Any function of one byte: an activation, or a change of scale. `y = table[x]`
#[derive(Clone, Debug)]
pub struct Lookup {
    /// Where it reads and writes.
    pub window: Window,
    /// Channels.
    pub channels: usize,
    /// One byte for each of 256.
    pub table: Box<[u8; 256]>,
}

/// Largest or mean byte under each window; taps outside the picture take no part (`taps` lists what is inside, per pixel row and column).
#[derive(Clone, Debug)]
pub struct Pool {
    /// Where it writes; `input`, `row_in` and `pixel_in` place the *unpadded* input: bytes of pixel (0, 0), between its rows, between its pixels.
    pub window: Window,
    /// For each output row: first input row and number of rows under the window.
    pub rows: Vec<(usize, usize)>,
    /// For each output column: first input column and number of columns.
    pub columns: Vec<(usize, usize)>,
    /// Channels.
    pub channels: usize,
    /// Largest, or mean with its arithmetic.
    pub kind: PoolKind,
}

/// See [`Pool`].
#[derive(Clone, Debug)]
pub enum PoolKind {
    /// `y = max x`; scale and zero point stay.
    Max,
    /// `y = clamp(round_half_even((sum x - inside * in_zero) as f32 * (scale / n as f32)) + zero, low, high)`, `inside` the taps
    /// inside the picture, n the same, or `count` where every window counts as full.
    Mean {
        /// Zero point of the input.
        in_zero: i32,
        /// Scale of the input over the output's.
        scale: f32,
        /// Divide by this instead of the taps inside the picture.
        count: Option<usize>,
        /// The output's zero point.
        zero: i32,
        /// Smallest byte.
        low: u8,
        /// Largest byte.
        high: u8,
    },
}

/// One layer of a plan.
#[derive(Clone, Debug)]
pub enum Layer {
    /// See [`Conv`].
    Conv(Conv),
    /// See [`Depthwise`].
    Depthwise(Depthwise),
    /// See [`Add`].
    Add(Add),
    /// See [`Mul`].
    Mul(Mul),
    /// See [`Lookup`].
    Lookup(Lookup),
    /// See [`Pool`].
    Pool(Pool),
}

/// A layer packed for one instruction set.
trait Kernel: Send + Sync {
    /// Computes the layer.
    ///
    /// # Safety
    /// As [`Prepared::run`]; and the processor has the instruction set that it was prepared for.
    unsafe fn run(&self, arena: *mut u8);
}

/// A layer ready to run.
pub struct Prepared {
    isa: Isa,
    kernel: Box<dyn Kernel>,
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Prepared({})", self.isa)
    }
}

impl Prepared {
    /// The instruction set that computes it: the one asked for, or scalar where that has no version of this layer.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Computes the layer. Allocates nothing and does not panic.
    ///
    /// # Safety
    /// `arena` points to [`Layer::extent`] + [`SLACK`] initialised bytes, which nothing else uses meanwhile.
    pub unsafe fn run(&self, arena: *mut u8) {
        // SAFETY: the caller's promise; `prepare` checked the processor.
        unsafe { self.kernel.run(arena) }
    }
}

impl Layer {
    /// What it is, for a reader: `conv 144 to 96, 14x14` (products an output, outputs; rows and columns).
    pub fn words(&self) -> String {
        let what = match self {
            Self::Conv(l) => format!("conv {} to {}", l.taps.len() * l.depth, l.outputs),
            Self::Depthwise(l) => format!("depthwise {}x{} of {}", l.height, l.width, l.channels),
            Self::Add(l) => format!("add {}", l.channels),
            Self::Mul(l) => format!("multiply {}", l.channels),
            Self::Lookup(l) => format!("table {}", l.channels),
            Self::Pool(l) => format!("pool {}", l.channels),
        };
        let window = self.window();
        format!("{what}, {}x{}", window.height, window.width)
    }

    /// Multiplications of weights.
    pub fn macs(&self) -> u64 {
        let each = match self {
            Self::Conv(l) => l.taps.len() * l.depth * l.outputs,
            Self::Depthwise(l) => l.height * l.width * l.channels,
            _ => return 0,
        };
        let window = self.window();
        (window.height * window.width * each) as u64
    }

    /// Its output pixels.
    pub(super) fn window(&self) -> &Window {
        match self {
            Self::Conv(l) => &l.window,
            Self::Depthwise(l) => &l.window,
            Self::Add(l) => &l.window,
            Self::Mul(l) => &l.window,
            Self::Lookup(l) => &l.window,
            Self::Pool(l) => &l.window,
        }
    }

    /// Packs the layer for `isa`; for scalar where this processor lacks it or it has no version of this layer, and where [`Layer::extent`]
    /// is `None` (such a layer must not be run).
    pub fn prepare(mut self, isa: Isa) -> Prepared {
        self.limit_scales();
        let isa = if Isa::available().contains(&isa) && self.extent().is_some() { isa } else { Isa::Scalar };
        let packed = match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => avx2::prepare(self),
            #[cfg(target_arch = "x86_64")]
            Isa::AvxVnni => avxvnni::prepare(self),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni => vnni::prepare(self),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => neon::prepare(self),
            #[cfg(target_arch = "aarch64")]
            Isa::Dotprod => dotprod::prepare(self),
            _ => Err(self),
        };
        match packed {
            Ok(kernel) => Prepared { isa, kernel },
            Err(layer) => Prepared { isa: Isa::Scalar, kernel: scalar::prepare(layer) },
        }
    }

    fn limit_scales(&mut self) {
        let limit = |scale: &mut f32| *scale = scale.min(LARGEST_SCALE);
        let limit_sum = |sum: &mut Sum| [&mut sum.a_scale, &mut sum.b_scale].into_iter().for_each(limit);
        match self {
            Layer::Conv(conv) => {
                conv.requant.scale.iter_mut().for_each(limit);
                conv.residual.iter_mut().for_each(|other| limit_sum(&mut other.sum));
            }
            Layer::Depthwise(dw) => dw.requant.scale.iter_mut().for_each(limit),
            Layer::Add(add) => limit_sum(&mut add.sum),
            Layer::Mul(mul) => limit(&mut mul.scale),
            Layer::Lookup(_) => {}
            Layer::Pool(pool) => {
                if let PoolKind::Mean { scale, .. } = &mut pool.kind {
                    limit(scale);
                }
            }
        }
    }
}

/// 2^64, see the module's documentation.
const LARGEST_SCALE: f32 = 18_446_744_073_709_551_616.0;
