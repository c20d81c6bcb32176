//! Convolutions and dense layers as one matrix product, for every instruction set with a [`Simd`].
//!
//! Why so: a sum over taps of contiguous bytes is a sum over groups of four bytes, and where a group lies relative to its pixel is the
//! same for every pixel. So taps, kernel size, strides and depth all become one table of offsets, no picture is copied
//! (im2col), and pixels of a tile need not be neighbours: a 3 x 3 map fills tiles as well as a large one does.
//!
//! A tile is P pixels times N vectors of outputs, whose sums stay in registers: each load of weights serves P pixels, each load of four
//! activations N vectors. Pixels are walked in runs of [`RUN`] and within a run all outputs, block by block: the run's
//! input stays in the first-level cache, and weights, which may exceed every cache (2.3 MB in ResNet's last stage), are
//! fetched once for each run, in order. Requantisation, clamp and a residual sum follow while the sums are in registers.

use std::marker::PhantomData;

use super::simd::{self, Floats, Line, Out, Simd, each, lines};
use super::{Conv, Kernel, Layer, Window};

/// Pixels that share a pass over the weights; a multiple of every tile's pixels.
const RUN: usize = 96;

/// Groups beyond which a block of weights exceeds the first-level cache anyway: then fewer vectors and more pixels.
const LONG: usize = 256;

/// Where one pixel reads and writes, within the arena.
#[derive(Clone, Copy, Default)]
pub(super) struct Place {
    input: usize,
    output: usize,
    other: usize,
    /// Of all bytes that the pixel reads, where there is a lift.
    bytes: i32,
}

/// One tile's work: as many places as the tile has pixels, one block of outputs.
pub(super) struct Task<'a> {
    arena: *mut u8,
    places: *const Place,
    groups: &'a [usize],
    weights: *const i8,
    /// Weights of the next block, to be fetched meanwhile: a line or more for each group.
    ahead: *const i8,
    bias: *const i32,
    /// Null where there is none.
    lift: *const i32,
    scale: *const f32,
    first: usize,
    count: usize,
    out: &'a Out,
    other: Option<&'a Floats>,
}

/// A compiled tile.
pub(super) type Tile = unsafe fn(&Task<'_>);

struct Block {
    /// Vectors of outputs.
    vectors: usize,
    /// First output.
    first: usize,
    /// Outputs.
    count: usize,
    /// Offset in the packed weights.
    weights: usize,
}

struct Packed<S> {
    window: Window,
    other: Option<(Window, Floats)>,
    groups: Vec<usize>,
    blocks: Vec<Block>,
    weights: Vec<Line>,
    bias: Vec<i32>,
    lift: Vec<i32>,
    /// Offset from the pixel and bytes of what a lift counts.
    runs: Vec<(usize, usize)>,
    scale: Vec<f32>,
    out: Out,
    simd: PhantomData<S>,
}

/// Packs the layer, or gives it back where its scales need the plain version.
pub(super) fn prepare<S: Simd>(conv: Conv) -> Result<Box<dyn Kernel>, Layer> {
    let inputs = conv.taps.len() * conv.depth;
    let fits = (0..conv.outputs).all(|o| {
        let lift = f64::from(conv.lift.get(o).copied().unwrap_or(0));
        let weights: f64 = conv.weights[o * inputs..][..inputs].iter().map(|&w| (f64::from(w) + lift).abs()).sum();
        simd::converts(f64::from(conv.bias[o]).abs() + 255.0 * weights, conv.requant.scale[o])
    });
    let other_fits = conv.residual.iter().all(|other| super::bytes::sum_converts(&other.sum));
    if !fits || !other_fits {
        return Err(Layer::Conv(conv));
    }
    let runs = runs(&conv.taps, conv.depth);
    let groups: Vec<usize> =
        runs.iter().flat_map(|&(_, offset, length)| (0..length.div_ceil(4)).map(move |g| offset + 4 * g)).collect();
    let vectors = conv.outputs.div_ceil(S::LANES);
    let (mut blocks, mut packed, mut four, mut vector) = (Vec::new(), Vec::new(), vec![[0; 4]; S::LANES], 0);
    while vector < vectors {
        let n = block_vectors(vectors - vector, S::TILES.len(), groups.len());
        let first = vector * S::LANES;
        let count = (n * S::LANES).min(conv.outputs - first);
        blocks.push(Block { vectors: n, first, count, weights: packed.len() });
        for &(place, _, length) in &runs {
            for k in (0..length).step_by(4) {
                let some = 4.min(length - k);
                for v in 0..n {
                    for (l, four) in four.iter_mut().enumerate() {
                        let o = first + v * S::LANES + l;
                        *four = [0; 4];
                        if o < conv.outputs {
                            four[..some].copy_from_slice(&conv.weights[o * inputs + place + k..][..some]);
                        }
                    }
                    S::pack(&four, &mut packed);
                }
            }
        }
        vector += n;
    }
    let window = conv.window;
    let mut requant = conv.requant;
    let out = Out::of(&requant);
    requant.scale.resize(vectors * S::LANES, 0.0);
    let mut bias = conv.bias;
    bias.resize(vectors * S::LANES, 0);
    let mut lift = conv.lift;
    lift.resize(if lift.is_empty() { 0 } else { vectors * S::LANES }, 0);
    let other = conv.residual.map(|other| {
        let place = Window { output: other.offset, row_out: other.row, pixel_out: other.pixel, ..window };
        (place, Floats::new(&other.sum))
    });
    let weights = lines(&packed);
    let (runs, scale) = (runs.iter().map(|&(_, offset, length)| (offset, length)).collect(), requant.scale);
    Ok(Box::new(Packed::<S> { window, other, groups, blocks, weights, bias, lift, runs, scale, out, simd: PhantomData }))
}

/// Taps that follow one another in the input, joined: (place in an output's weights, offset from the pixel, bytes).
fn runs(taps: &[usize], depth: usize) -> Vec<(usize, usize, usize)> {
    let mut runs: Vec<(usize, usize, usize)> = Vec::new();
    for (t, &tap) in taps.iter().enumerate() {
        match runs.last_mut() {
            Some((_, offset, length)) if *offset + *length == tap => *length += depth,
            _ => runs.push((t * depth, tap, depth)),
        }
    }
    runs
}

/// Vectors of the next block where `left` remain: as many as a tile takes, but no lone one at the end.
fn block_vectors(left: usize, most: usize, groups: usize) -> usize {
    let most = if groups > LONG { most.min(2) } else { most };
    if most > 2 && left == most + 1 { most - 1 } else { left.min(most) }
}

impl<S: Simd> Kernel for Packed<S> {
    unsafe fn run(&self, arena: *mut u8) {
        let mut places = [Place::default(); RUN];
        let w = &self.window;
        let o = self.other.as_ref().map_or(w, |(other, _)| other);
        let (mut y, mut x) = (0, 0);
        let mut left = self.window.height * self.window.width;
        while left > 0 {
            let run = left.min(RUN);
            let mut filled = 0;
            while filled < run {
                let count = (run - filled).min(w.width - x);
                let mut place = Place {
                    input: w.input + y * w.row_in + x * w.pixel_in,
                    output: w.output + y * w.row_out + x * w.pixel_out,
                    other: o.output + y * o.row_out + x * o.pixel_out,
                    bytes: 0,
                };
                for to in &mut places[filled..filled + count] {
                    *to = place;
                    place.input += w.pixel_in;
                    place.output += w.pixel_out;
                    place.other += o.pixel_out;
                }
                filled += count;
                x += count;
                if x == w.width {
                    (y, x) = (y + 1, 0);
                }
            }
            if !self.lift.is_empty() {
                // SAFETY: the caller's promise; inside the layer's extent.
                places[..run].iter_mut().for_each(|place| place.bytes = unsafe { self.bytes(arena.add(place.input)) });
            }
            for block in &self.blocks {
                // SAFETY: the weights are as long as the blocks say.
                let weights = unsafe { self.weights.as_ptr().cast::<i8>().add(block.weights) };
                let tiles = S::TILES[block.vectors - 1];
                let mut ahead = weights.wrapping_add(self.groups.len() * block.vectors * S::GROUP);
                let mut done = 0;
                // Tiles of nearly equal size rather than full ones and a small rest.
                let mut rest = run.div_ceil(tiles.len());
                while done < run {
                    let pixels = (run - done).div_ceil(rest);
                    let task = Task {
                        arena,
                        places: places[done..].as_ptr(),
                        groups: &self.groups,
                        weights,
                        ahead,
                        bias: self.bias[block.first..].as_ptr(),
                        lift: if self.lift.is_empty() { std::ptr::null() } else { self.lift[block.first..].as_ptr() },
                        scale: self.scale[block.first..].as_ptr(),
                        first: block.first,
                        count: block.count,
                        out: &self.out,
                        other: self.other.as_ref().map(|(_, floats)| floats),
                    };
                    // SAFETY: the caller's promise; the tile reads `pixels` places and the block's vectors.
                    unsafe { tiles[pixels - 1](&task) };
                    ahead = ahead.wrapping_add(self.groups.len() * 64);
                    done += pixels;
                    rest -= 1;
                }
            }
            left -= run;
        }
    }
}

impl<S: Simd> Packed<S> {
    /// The sum of all bytes that a pixel reads, wrapping.
    ///
    /// # Safety
    /// They may be read.
    unsafe fn bytes(&self, pixel: *const u8) -> i32 {
        self.runs.iter().fold(0, |sum: i32, &(offset, length)| {
            // SAFETY: the caller's promise.
            let run = unsafe { std::slice::from_raw_parts(pixel.add(offset), length) };
            run.iter().fold(sum, |sum, byte| sum.wrapping_add(i32::from(*byte)))
        })
    }
}

/// P pixels (at most 12) times N vectors of outputs (at most 4).
///
/// # Safety
/// Inlined into a function with the instruction set; the task's pointers reach as far as P and N say.
#[inline(always)]
#[allow(clippy::reversed_empty_ranges, unused_comparisons)]
pub(super) unsafe fn tile<S: Simd, const P: usize, const N: usize>(task: &Task<'_>) {
    // SAFETY: the caller's promise; offsets are those that `Layer::extent` counted, loads reach at most SLACK further.
    unsafe {
        let arena = task.arena;
        let place = |p: usize| &*task.places.add(p);
        let mut inputs = [arena.cast_const(); P];
        let mut bias = [S::sums(task.bias); N];
        each!(4: n < N, { bias[n] = S::sums(task.bias.add(n * S::LANES)) });
        let mut sums = [bias; P];
        each!(12: p < P, { inputs[p] = arena.add(place(p).input) });
        if !task.lift.is_null() {
            let mut lift = [S::sums(task.lift); N];
            each!(4: n < N, { lift[n] = S::sums(task.lift.add(n * S::LANES)) });
            each!(12: p < P, {
                each!(4: n < N, { sums[p][n] = S::lift(sums[p][n], lift[n], place(p).bytes) });
            });
        }
        let mut weights = task.weights;
        let mut ahead = task.ahead;
        for &group in task.groups {
            // Where no other tile will fetch the rest, all of it.
            each!(4: n < if P <= 2 { N } else { 1 }, { S::fetch(ahead.wrapping_add(n * 64)) });
            ahead = ahead.wrapping_add(if P <= 2 { N } else { 1 } * 64);
            let mut packed = [S::weights(weights); N];
            each!(4: n < N, { packed[n] = S::weights(weights.add(n * S::GROUP)) });
            each!(12: p < P, {
                let input = S::spread(inputs[p].add(group));
                each!(4: n < N, { sums[p][n] = S::pin(S::dot(sums[p][n], input, packed[n])) });
            });
            weights = weights.add(N * S::GROUP);
        }
        let mut scale = [S::reals(task.scale); N];
        each!(4: n < N, { scale[n] = S::reals(task.scale.add(n * S::LANES)) });
        each!(12: p < P, {
            each!(4: n < N, { sums[p][n] = S::round(S::mul(S::real(sums[p][n]), scale[n])) });
        });
        let output = |p: usize| arena.add(place(p).output + task.first);
        let other = |p: usize| arena.add(place(p).other + task.first).cast_const();
        // Four vectors at a time become bytes: of one pixel, two or four. Where pixels run out the last one is done again.
        each!(12: p < P, {
            let at = [p, if p + 1 < P { p + 1 } else { p }, if p + 2 < P { p + 2 } else { p }, if p + 3 < P { p + 3 } else { p }];
            if const { N == 1 && p.is_multiple_of(4) } {
                let bytes = S::narrow([sums[at[0]][0], sums[at[1]][0], sums[at[2]][0], sums[at[3]][0]], task.out);
                let mut bytes = S::straight(bytes);
                if let Some(floats) = task.other {
                    bytes = simd::add::<S>(floats, bytes, S::load4(at.map(other)));
                }
                S::store4(at.map(output), bytes, task.count);
            }
            if const { N == 2 && p.is_multiple_of(2) } {
                let bytes = S::narrow([sums[p][0], sums[p][N - 1], sums[at[1]][0], sums[at[1]][N - 1]], task.out);
                let mut bytes = S::straight(bytes);
                if let Some(floats) = task.other {
                    bytes = simd::add::<S>(floats, bytes, S::load2([other(p), other(at[1])]));
                }
                S::store2([output(p), output(at[1])], bytes, task.count);
            }
            if const { N >= 3 } {
                let mut bytes = S::straight(S::narrow([sums[p][0], sums[p][1 % N], sums[p][2 % N], sums[p][N - 1]], task.out));
                if let Some(floats) = task.other {
                    bytes = simd::add::<S>(floats, bytes, S::load(other(p)));
                }
                S::store(output(p), bytes, task.count);
            }
        });
    }
}
