//! What the kernels ask of an instruction set, so that each algorithm (`conv.rs`, `depthwise.rs`, `bytes.rs`) is written once.
//!
//! The unit is a vector of bytes, one for each output, and the four vectors of `i32` sums behind it. Widening and narrowing
//! happen within 128-bit lanes, as x86 does it: a vector of bytes widens to four of sums where sum `4 q + i` of lane `l` of the
//! bytes is number `4 l + i` of the `q`-th ("lane order"), and narrowing takes exactly that back. Where all is within a channel
//! vector (depthwise, sums of tensors) weights, biases and scales are therefore packed in lane order; a convolution, whose sums
//! are in plain order, straightens the bytes behind narrowing ([`Simd::straight`]).
//!
//! All methods are inlined into functions that have the instruction set (`#[target_feature]`, made by [`entries!`]); none may be
//! called elsewhere, and that is the safety condition of every one, besides that pointers reach as far as a vector is long.

use super::{Requant, Sum};

/// Packed weights, aligned to what the widest load takes at once.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Line(pub [i8; 64]);

/// Packed bytes, filled up to whole lines.
pub(super) fn lines(bytes: &[i8]) -> Vec<Line> {
    let line = |part: &[i8]| {
        let mut line = Line([0; 64]);
        line.0[..part.len()].copy_from_slice(part);
        line
    };
    bytes.chunks(64).map(line).collect()
}

/// From rounded sums to bytes.
#[derive(Clone, Copy)]
pub(super) struct Out {
    pub zero: i16,
    pub low: u8,
    pub high: u8,
}

impl Out {
    /// Zero points are bytes, `Layer::extent` saw to it.
    pub fn new(zero: i32, low: u8, high: u8) -> Out {
        Out { zero: zero as i16, low, high }
    }

    pub fn of(requant: &Requant) -> Out {
        Out::new(requant.zero, requant.low, requant.high)
    }
}

/// [`Sum`] as floats.
#[derive(Clone, Copy)]
pub(super) struct Floats {
    pub a_zero: f32,
    pub a_scale: f32,
    pub b_zero: f32,
    pub b_scale: f32,
    pub out: Out,
}

impl Floats {
    pub fn new(sum: &Sum) -> Floats {
        Floats {
            a_zero: sum.a_zero as f32,
            a_scale: sum.a_scale,
            b_zero: sum.b_zero as f32,
            b_scale: sum.b_scale,
            out: Out::new(sum.zero, sum.low, sum.high),
        }
    }
}

/// Whether scaled sums stay within what conversion to `i32` takes (they do wherever `scale` is below one; a layer that
/// does not, no real one, is left to the plain version). `largest` bounds the sum's magnitude; a wrapped one is below 2^31.
pub(super) fn converts(largest: f64, scale: f32) -> bool {
    largest.min(2_147_483_648.0) * f64::from(scale) < 2_147_483_000.0
}

/// See the module's documentation.
pub(super) trait Simd: Send + Sync + 'static {
    /// `LANES` sums, `i32`.
    type Sums: Copy;
    /// As many `f32`.
    type Reals: Copy;
    /// `4 * LANES` bytes.
    type Bytes: Copy;
    /// Four activations for each sum, as `dot` wants them.
    type Input: Copy;

    /// Packed weights, or where they are, as `dot` wants them.
    type Weights: Copy;

    /// Sums in a vector.
    const LANES: usize;
    /// Bytes of the packed weights that one `dot` takes.
    const GROUP: usize;
    /// Convolution tiles: `[vectors - 1][pixels - 1]`.
    const TILES: &'static [&'static [super::conv::Tile]];
    /// Depthwise spans.
    const SPANS: super::depthwise::Spans;
    /// Walkers over bytes.
    const WALKS: super::bytes::Walks;

    /// Packs four weights for each sum.
    fn pack(four: &[[i8; 4]], packed: &mut Vec<i8>);

    unsafe fn sums(from: *const i32) -> Self::Sums;
    unsafe fn reals(from: *const f32) -> Self::Reals;
    unsafe fn splat(value: f32) -> Self::Reals;
    /// The same four activations for every sum.
    unsafe fn spread(from: *const u8) -> Self::Input;
    /// A vector of bytes from each of four places, sums in lane order.
    unsafe fn columns(rows: [*const u8; 4]) -> [Self::Input; 4];
    /// Asks for what will be read soon; any address will do.
    unsafe fn fetch(from: *const i8);
    unsafe fn weights(from: *const i8) -> Self::Weights;
    /// `sums + the four products of each`, wrapping.
    unsafe fn dot(sums: Self::Sums, input: Self::Input, weights: Self::Weights) -> Self::Sums;
    /// The same sums, and nothing that follows is loaded before they are there: the compiler would load for many sums in advance,
    /// which leaves no registers for the sums (the processor looks ahead by itself).
    unsafe fn pin(sums: Self::Sums) -> Self::Sums;

    /// `sums + lift * times`, wrapping.
    unsafe fn lift(sums: Self::Sums, lift: Self::Sums, times: i32) -> Self::Sums;

    unsafe fn real(sums: Self::Sums) -> Self::Reals;
    unsafe fn mul(a: Self::Reals, b: Self::Reals) -> Self::Reals;
    unsafe fn add(a: Self::Reals, b: Self::Reals) -> Self::Reals;
    /// Rounded half to even.
    unsafe fn round(a: Self::Reals) -> Self::Sums;
    /// `byte - zero`, exact, in lane order.
    unsafe fn widen(bytes: Self::Bytes, zero: f32) -> [Self::Reals; 4];
    /// `clamp(sum + zero, low, high)` from lane order.
    unsafe fn narrow(sums: [Self::Sums; 4], out: &Out) -> Self::Bytes;
    /// What `narrow` made of four vectors in plain order: the bytes of the first, then those of the second ...
    unsafe fn straight(bytes: Self::Bytes) -> Self::Bytes;

    unsafe fn load(from: *const u8) -> Self::Bytes;
    /// The halves or quarters of a vector from two or four places.
    unsafe fn load2(from: [*const u8; 2]) -> Self::Bytes;
    unsafe fn load4(from: [*const u8; 4]) -> Self::Bytes;
    /// The first `count` bytes and no other.
    unsafe fn store(to: *mut u8, bytes: Self::Bytes, count: usize);
    /// The first `count` bytes of each half or quarter.
    unsafe fn store2(to: [*mut u8; 2], bytes: Self::Bytes, count: usize);
    unsafe fn store4(to: [*mut u8; 4], bytes: Self::Bytes, count: usize);
    unsafe fn max(a: Self::Bytes, b: Self::Bytes) -> Self::Bytes;
}

/// `y = a + b` on the output's scale, see [`Sum`].
///
/// # Safety
/// See the module's documentation.
#[inline(always)]
pub(super) unsafe fn add<S: Simd>(f: &Floats, a: S::Bytes, b: S::Bytes) -> S::Bytes {
    // SAFETY: the caller has the instruction set.
    unsafe {
        let (a, b) = (S::widen(a, f.a_zero), S::widen(b, f.b_zero));
        let (sa, sb) = (S::splat(f.a_scale), S::splat(f.b_scale));
        let sum = |q: usize| S::round(S::add(S::mul(a[q], sa), S::mul(b[q], sb)));
        S::narrow([sum(0), sum(1), sum(2), sum(3)], &f.out)
    }
}

/// Spells out a loop, since sums stay in registers only where every index is a constant: `$body` for each `$i` below `$end`,
/// which is at most the first number. Both are constants, so what is not meant is not even compiled.
macro_rules! each {
    (2: $i:ident < $end:expr, $body:block) => { each!(@ $i $end, $body 0 1) };
    (4: $i:ident < $end:expr, $body:block) => { each!(@ $i $end, $body 0 1 2 3) };
    (12: $i:ident < $end:expr, $body:block) => { each!(@ $i $end, $body 0 1 2 3 4 5 6 7 8 9 10 11) };
    (@ $i:ident $end:expr, $body:block $($number:literal)*) => {
        $(if const { $number < $end } {
            #[allow(non_upper_case_globals)]
            const $i: usize = $number;
            $body
        })*
    };
}
pub(super) use each;

/// The functions that have the instruction set `$features` for `$simd`: the generic algorithms, compiled for it.
macro_rules! entries {
    ($simd:ty, $features:tt) => {
        #[target_feature(enable = $features)]
        unsafe fn tile<const P: usize, const N: usize>(task: &super::conv::Task<'_>) {
            // SAFETY: this function has the instruction set; the rest is the caller's promise.
            unsafe { super::conv::tile::<$simd, P, N>(task) }
        }

        #[target_feature(enable = $features)]
        unsafe fn span<const R: usize, const T: usize, const W: usize, const STEP: usize>(strip: &super::depthwise::Strip<'_>) {
            // SAFETY: as above.
            unsafe { super::depthwise::span::<$simd, R, T, W, STEP>(strip) }
        }

        #[target_feature(enable = $features)]
        unsafe fn walk_add(add: &super::bytes::AddTask, arena: *mut u8) {
            // SAFETY: as above.
            unsafe { super::bytes::run_add::<$simd>(add, arena) }
        }

        #[target_feature(enable = $features)]
        unsafe fn walk_mul(mul: &super::bytes::MulTask, arena: *mut u8) {
            // SAFETY: as above.
            unsafe { super::bytes::run_mul::<$simd>(mul, arena) }
        }

        #[target_feature(enable = $features)]
        unsafe fn walk_max(pool: &super::Pool, arena: *mut u8) {
            // SAFETY: as above.
            unsafe { super::bytes::run_max::<$simd>(pool, arena) }
        }

        #[target_feature(enable = $features)]
        unsafe fn walk_mean(mean: &super::bytes::MeanTask, arena: *mut u8) {
            // SAFETY: as above.
            unsafe { super::bytes::run_mean::<$simd>(mean, arena) }
        }
    };
}
pub(super) use entries;
