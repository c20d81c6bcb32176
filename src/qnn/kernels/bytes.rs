//! Layers that take tensors byte by byte: sums, products and pools, for every instruction set with a [`Simd`].
//!
//! Why so: nothing here is worth more than reading and writing each byte once. Where pixels follow one another without gaps a row is
//! walked as one run, so that few channels fill vectors too. A mean is a sum of products with ones: `dot` takes four pixels
//! of the window at once, as a depthwise kernel does.

use super::simd::{self, Floats, Line, Out, Simd, lines};
use super::{Add, Kernel, Layer, Lookup, Mul, Pool, PoolKind, Sum, Window};

/// Compiled functions of this file.
pub(super) struct Walks {
    pub add: unsafe fn(&AddTask, *mut u8),
    pub mul: unsafe fn(&MulTask, *mut u8),
    pub max: unsafe fn(&Pool, *mut u8),
    pub mean: unsafe fn(&MeanTask, *mut u8),
}

/// A layer's data and the function that computes it.
struct Walk<T> {
    task: T,
    run: unsafe fn(&T, *mut u8),
}

impl<T: Send + Sync> Kernel for Walk<T> {
    unsafe fn run(&self, arena: *mut u8) {
        // SAFETY: the caller's promise.
        unsafe { (self.run)(&self.task, arena) }
    }
}

/// Two tensors of the same size and the output, walked together.
struct Pair {
    window: Window,
    b: usize,
    row_b: usize,
    pixel_b: usize,
    channels: usize,
}

impl Pair {
    /// With rows as single pixels where pixels touch, and the tensor as a single row where rows do.
    fn joined(mut self) -> Pair {
        let w = &mut self.window;
        if w.width > 1 && [w.pixel_in, w.pixel_out, self.pixel_b] == [self.channels; 3] {
            self.channels *= w.width;
            w.width = 1;
        }
        if w.width == 1 && w.height > 1 && [w.row_in, w.row_out, self.row_b] == [self.channels; 3] {
            self.channels *= w.height;
            w.height = 1;
        }
        self
    }

    /// Calls `each` with the offsets of a, b and the output, and how many of a vector's bytes are meant.
    #[inline(always)]
    fn walk(&self, vector: usize, mut each: impl FnMut(usize, usize, usize, usize)) {
        let w = &self.window;
        for y in 0..w.height {
            for x in 0..w.width {
                let (a, b) = (w.input + y * w.row_in + x * w.pixel_in, self.b + y * self.row_b + x * self.pixel_b);
                let output = w.output + y * w.row_out + x * w.pixel_out;
                for c in (0..self.channels).step_by(vector) {
                    each(a + c, b + c, output + c, vector.min(self.channels - c));
                }
            }
        }
    }
}

/// See [`Add`].
pub(super) struct AddTask {
    pair: Pair,
    floats: Floats,
}

/// See [`Mul`].
pub(super) struct MulTask {
    pair: Pair,
    a_zero: f32,
    b_zero: f32,
    scale: f32,
    out: Out,
}

/// A mean pool, with ones as weights: for one, two, three and four pixels.
pub(super) struct MeanTask {
    pool: Pool,
    in_zero: i32,
    scale: f32,
    count: Option<usize>,
    out: Out,
    ones: Vec<Line>,
}

/// See [`simd::converts`].
pub(super) fn sum_converts(sum: &Sum) -> bool {
    255.0 * (f64::from(sum.a_scale) + f64::from(sum.b_scale)) < 2_147_483_000.0
}

/// Prepares the layer, or gives it back.
pub(super) fn prepare_add<S: Simd>(add: Add) -> Result<Box<dyn Kernel>, Layer> {
    if !sum_converts(&add.sum) {
        return Err(Layer::Add(add));
    }
    let Add { window, b, row_b, pixel_b, channels, sum } = add;
    let pair = Pair { window, b, row_b, pixel_b, channels }.joined();
    Ok(Box::new(Walk { task: AddTask { pair, floats: Floats::new(&sum) }, run: S::WALKS.add }))
}

/// Prepares the layer, or gives it back.
pub(super) fn prepare_mul<S: Simd>(mul: Mul) -> Result<Box<dyn Kernel>, Layer> {
    if !simd::converts(255.0 * 255.0, mul.scale) {
        return Err(Layer::Mul(mul));
    }
    let Mul { window, b, row_b, pixel_b, channels, a_zero, b_zero, scale, zero, low, high } = mul;
    let pair = Pair { window, b, row_b, pixel_b, channels }.joined();
    let task = MulTask { pair, a_zero: a_zero as f32, b_zero: b_zero as f32, scale, out: Out::new(zero, low, high) };
    Ok(Box::new(Walk { task, run: S::WALKS.mul }))
}

/// Prepares the layer, or gives it back.
pub(super) fn prepare_pool<S: Simd>(pool: Pool) -> Result<Box<dyn Kernel>, Layer> {
    let PoolKind::Mean { in_zero, scale, count, zero, low, high } = pool.kind else {
        return Ok(Box::new(Walk { task: pool, run: S::WALKS.max }));
    };
    let most = |spans: &[(usize, usize)]| spans.iter().map(|&(_, count)| count).max().unwrap_or(0);
    if !simd::converts(510.0 * most(&pool.rows) as f64 * most(&pool.columns) as f64, scale) {
        return Err(Layer::Pool(pool));
    }
    let mut packed = Vec::new();
    for pixels in 1..=4 {
        S::pack(&vec![std::array::from_fn(|i| i8::from(i < pixels)); S::LANES], &mut packed);
    }
    let task = MeanTask { pool, in_zero, scale, count, out: Out::new(zero, low, high), ones: lines(&packed) };
    Ok(Box::new(Walk { task, run: S::WALKS.mean }))
}

/// # Safety
/// Inlined into a function with the instruction set, like all below; otherwise as [`super::Prepared::run`].
#[inline(always)]
pub(super) unsafe fn run_add<S: Simd>(task: &AddTask, arena: *mut u8) {
    task.pair.walk(4 * S::LANES, |a, b, output, count| {
        // SAFETY: offsets that `Layer::extent` counted; loads reach at most SLACK further.
        unsafe { S::store(arena.add(output), simd::add::<S>(&task.floats, S::load(arena.add(a)), S::load(arena.add(b))), count) }
    });
}

/// # Safety
/// See [`run_add`].
#[inline(always)]
pub(super) unsafe fn run_mul<S: Simd>(task: &MulTask, arena: *mut u8) {
    task.pair.walk(4 * S::LANES, |a, b, output, count| {
        // SAFETY: as above.
        unsafe {
            let (a, b) = (S::widen(S::load(arena.add(a)), task.a_zero), S::widen(S::load(arena.add(b)), task.b_zero));
            let scale = S::splat(task.scale);
            let product = |q: usize| S::round(S::mul(S::mul(a[q], b[q]), scale));
            S::store(arena.add(output), S::narrow([product(0), product(1), product(2), product(3)], &task.out), count);
        }
    });
}

/// Calls `each` with the offset of each output pixel's first input, its rows, its columns, and the output's offset.
#[inline(always)]
fn walk_pool(pool: &Pool, mut each: impl FnMut(usize, usize, usize, usize)) {
    let w = &pool.window;
    for (y, &(row, rows)) in pool.rows.iter().enumerate() {
        for (x, &(column, columns)) in pool.columns.iter().enumerate() {
            each(w.input + row * w.row_in + column * w.pixel_in, rows, columns, w.output + y * w.row_out + x * w.pixel_out);
        }
    }
}

/// # Safety
/// See [`run_add`].
#[inline(always)]
pub(super) unsafe fn run_max<S: Simd>(pool: &Pool, arena: *mut u8) {
    let w = &pool.window;
    walk_pool(pool, |input, rows, columns, output| {
        for c in (0..pool.channels).step_by(4 * S::LANES) {
            // SAFETY: as above.
            unsafe {
                let mut most = S::load(arena.add(input + c));
                for i in 0..rows {
                    for j in 0..columns {
                        most = S::max(most, S::load(arena.add(input + i * w.row_in + j * w.pixel_in + c)));
                    }
                }
                S::store(arena.add(output + c), most, (4 * S::LANES).min(pool.channels - c));
            }
        }
    });
}

/// # Safety
/// See [`run_add`].
#[inline(always)]
pub(super) unsafe fn run_mean<S: Simd>(task: &MeanTask, arena: *mut u8) {
    let (pool, w) = (&task.pool, &task.pool.window);
    walk_pool(pool, |input, rows, columns, output| {
        let inside = rows * columns;
        let bias = [(inside as i32).wrapping_mul(task.in_zero).wrapping_neg(); 16];
        let scale = task.scale / task.count.unwrap_or(inside) as f32;
        for c in (0..pool.channels).step_by(4 * S::LANES) {
            // SAFETY: as above; `bias` is as long as the longest vector of sums, `ones` hold four vectors.
            unsafe {
                let mut sums = [S::sums(bias.as_ptr()); 4];
                let first = arena.add(input + c).cast_const();
                let (mut pixel, mut i, mut j) = (first, 0, 0);
                let mut done = 0;
                while done < inside {
                    // The next four pixels of the window; past its end the last again, under a weight of zero.
                    let mut four = [pixel; 4];
                    for place in &mut four {
                        *place = pixel;
                        if done + 1 < inside {
                            j += 1;
                            if j == columns {
                                (i, j) = (i + 1, 0);
                            }
                            pixel = first.add(i * w.row_in + j * w.pixel_in);
                        }
                        done += 1;
                    }
                    let real = if done <= inside { 4 } else { 4 - (done - inside) };
                    let ones = task.ones.as_ptr().cast::<i8>().add((real - 1) * S::GROUP);
                    let columns = S::columns(four);
                    for q in 0..4 {
                        sums[q] = S::dot(sums[q], columns[q], S::weights(ones));
                    }
                }
                let rounded = |q: usize| S::round(S::mul(S::real(sums[q]), S::splat(scale)));
                let bytes = S::narrow([rounded(0), rounded(1), rounded(2), rounded(3)], &task.out);
                S::store(arena.add(output + c), bytes, (4 * S::LANES).min(pool.channels - c));
            }
        }
    });
}

/// A table and the bytes it is for; walked as a pair whose second tensor is the first.
pub(super) struct LookupTask {
    pair: Pair,
    table: Box<[u8; 256]>,
}

/// Prepares the layer: `run` is [`run_lookup`], or something faster.
pub(super) fn prepare_lookup(lookup: Lookup, run: unsafe fn(&LookupTask, *mut u8)) -> Box<dyn Kernel> {
    let Lookup { window, channels, table } = lookup;
    let pair = Pair { b: window.input, row_b: window.row_in, pixel_b: window.pixel_in, window, channels }.joined();
    Box::new(Walk { task: LookupTask { pair, table }, run })
}

/// Plain Rust: a table of 256 bytes is one load for each byte, and AVX2's shuffles, of 16 bytes, are hardly faster.
///
/// # Safety
/// As [`super::Prepared::run`].
pub(super) unsafe fn run_lookup(task: &LookupTask, arena: *mut u8) {
    task.pair.walk(usize::MAX, |from, _, to, count| {
        for i in 0..count {
            // SAFETY: offsets that `Layer::extent` counted.
            unsafe { *arena.add(to + i) = task.table[usize::from(*arena.add(from + i))] };
        }
    });
}

/// With a vector's lookup in a table of 256 bytes.
///
/// # Safety
/// See [`run_add`].
#[inline(always)]
pub(super) unsafe fn run_lookup_by<S: Simd>(task: &LookupTask, arena: *mut u8, look: impl Fn(&[u8; 256], S::Bytes) -> S::Bytes) {
    task.pair.walk(4 * S::LANES, |from, _, to, count| {
        // SAFETY: as above.
        unsafe { S::store(arena.add(to), look(&task.table, S::load(arena.add(from))), count) }
    });
}
