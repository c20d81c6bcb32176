//! Depthwise convolutions, for every instruction set with a [`Simd`].
//!
//! Why so: `dot` adds four products for each sum, and a channel has its products in as many rows. So the bytes of four rows are
//! interleaved, channel by channel ([`Simd::columns`]), and one column of the picture, so prepared, serves whatever outputs lie over it:
//! neighbours in the row, and of the next output row too where four rows hold both kernels (3 x 3: exactly). Outputs are
//! therefore computed in small patches, R rows times T pixels, each column made once for a patch. Kernels higher than the rows at
//! hand take several groups of rows; rows past the last are the last one again, under weights of zero. A kernel in parts is one so many times
//! as high, whose rows lie over the same rows of the picture again.
//!
//! A layer with few channels and dense rows is first turned into one with more: pixels side by side become channels, as many as
//! fill a vector.

use std::marker::PhantomData;

use super::simd::{self, Line, Out, Simd, each, lines};
use super::{Depthwise, Kernel, Layer};

/// A compiled span.
pub(super) type Span = unsafe fn(&Strip<'_>);

/// The spans of an instruction set and how they were made: `[3 wide, 5 wide]`, and any width.
pub(super) struct Spans {
    /// Neighbouring outputs share columns: one tap to the right. R = `rows`, T = `pixels`.
    pub near: [Span; 2],
    pub rows: usize,
    pub pixels: usize,
    /// Outputs two taps apart. R = 1, T = `far_pixels`.
    pub far: [Span; 2],
    pub far_pixels: usize,
    /// Any width and step, one pixel; two rows, and one.
    pub any: [Span; 2],
}

/// R output rows of one block of channels.
pub(super) struct Strip<'a> {
    input: *const u8,
    output: *mut u8,
    weights: *const i8,
    bias: *const i32,
    scale: *const f32,
    /// Channels.
    count: usize,
    layer: &'a Geometry,
}

/// What is the same for all strips of a layer.
struct Geometry {
    /// Patches in a row, bytes between them, and where the last one begins (it may overlap the one before).
    patches: usize,
    patch_in: usize,
    patch_out: usize,
    last_in: usize,
    last_out: usize,
    /// Bytes between output pixels of a patch, output rows.
    pixel_out: usize,
    row_out: usize,
    /// Taps: where each row lies, four a group; bytes between columns, and how many there are.
    rows: Vec<usize>,
    pixel: usize,
    width: usize,
    out: Out,
}

struct Packed<S> {
    geometry: Geometry,
    span: Span,
    /// Output rows of a strip.
    rows: usize,
    height: usize,
    input: usize,
    output: usize,
    row_in: usize,
    channels: usize,
    weights: Vec<Line>,
    /// Bytes of weights for a block of channels.
    block: usize,
    bias: Vec<i32>,
    scale: Vec<f32>,
    simd: PhantomData<S>,
}

/// Pixels side by side as channels, where rows are dense and a vector has room for several pixels.
fn widened(dw: &mut Depthwise, vector: usize) -> Option<usize> {
    let (w, c) = (&dw.window, dw.channels);
    let dense = w.pixel_in == c && w.pixel_out == c;
    if !dense || c == 0 || c * 2 > vector || !vector.is_multiple_of(c) || w.width * c < vector {
        return None;
    }
    let (times, row) = (vector / c, w.width * c);
    dw.weights = dw.weights.chunks(c).flat_map(|tap| tap.repeat(times)).collect();
    dw.bias = dw.bias.repeat(times);
    dw.requant.scale = dw.requant.scale.repeat(times);
    dw.channels = vector;
    Some(row)
}

/// Packs the layer, or gives it back where its scales need the plain version.
pub(super) fn prepare<S: Simd>(mut dw: Depthwise) -> Result<Box<dyn Kernel>, Layer> {
    let fits = (0..dw.channels).all(|c| {
        let weights: f64 = dw.weights.iter().skip(c).step_by(dw.channels).map(|&w| f64::from(w).abs()).sum();
        simd::converts(f64::from(dw.bias[c]).abs() + 255.0 * weights, dw.requant.scale[c])
    });
    if !fits || dw.window.height == 0 || dw.window.width == 0 || dw.channels == 0 {
        return Err(Layer::Depthwise(dw));
    }
    let vector = 4 * S::LANES;
    let dense_row = widened(&mut dw, vector);
    let (w, spans) = (dw.window, &S::SPANS);
    let kind = match dw.width {
        3 => Some(0),
        5 => Some(1),
        _ => None,
    };
    // Two output rows share what lies under both, which parts do not.
    let shared = w.row_in == dw.row && dw.parts == 1;
    let near = w.pixel_in == dw.pixel && shared && w.width >= spans.pixels && w.height >= spans.rows;
    let far = w.pixel_in == 2 * dw.pixel && w.width >= spans.far_pixels;
    let (span, rows, pixels) = match kind {
        Some(kind) if near && dense_row.is_none() => (spans.near[kind], spans.rows, spans.pixels),
        Some(kind) if far && dense_row.is_none() => (spans.far[kind], 1, spans.far_pixels),
        _ if shared && w.height >= 2 => (spans.any[0], 2, 1),
        _ => (spans.any[1], 1, 1),
    };
    let (patch_in, patch_out, last_in, last_out) = match dense_row {
        Some(row) => (vector, vector, row - vector, row - vector),
        None => (pixels * w.pixel_in, pixels * w.pixel_out, (w.width - pixels) * w.pixel_in, (w.width - pixels) * w.pixel_out),
    };
    let patches = match dense_row {
        Some(row) => row.div_ceil(vector),
        None => w.width.div_ceil(pixels),
    };
    // With two rows in a strip the second one's kernel lies one row lower (rows = 2 only where output rows are one tap row apart).
    let high = dw.parts * dw.height;
    let last_row = high + rows - 2;
    let groups = (last_row + 1).div_ceil(4);
    let place = |i: usize| if dw.parts > 1 { i % dw.height } else { i };
    let down = (0..4 * groups).map(|i| place(i.min(last_row)) * dw.row).collect();
    let (mut packed, mut bias, mut scale) = (Vec::new(), Vec::new(), Vec::new());
    for first in (0..dw.channels).step_by(vector) {
        // Lane order: sum 4 q + i of lane l of the bytes, see `simd.rs`.
        let channel = |q: usize, s: usize| first + (s / 4) * 16 + 4 * q + s % 4;
        for group in 0..groups {
            for column in 0..dw.width {
                for r in 0..rows {
                    for q in 0..4 {
                        let weight = |c: usize, i: usize| {
                            let inside = c < dw.channels && i >= r && i - r < high;
                            if inside { dw.weights[((i - r) * dw.width + column) * dw.channels + c] } else { 0 }
                        };
                        let four: Vec<[i8; 4]> =
                            (0..S::LANES).map(|s| std::array::from_fn(|i| weight(channel(q, s), 4 * group + i))).collect();
                        S::pack(&four, &mut packed);
                    }
                }
            }
        }
        for q in 0..4 {
            for s in 0..S::LANES {
                bias.push(dw.bias.get(channel(q, s)).copied().unwrap_or(0));
                scale.push(dw.requant.scale.get(channel(q, s)).copied().unwrap_or(0.0));
            }
        }
    }
    let (pixel_out, row_out, out) = (w.pixel_out, w.row_out, Out::of(&dw.requant));
    let (pixel, width) = (dw.pixel, dw.width);
    let geometry =
        Geometry { patches, patch_in, patch_out, last_in, last_out, pixel_out, row_out, rows: down, pixel, width, out };
    Ok(Box::new(Packed::<S> {
        geometry,
        span,
        rows,
        height: w.height,
        input: w.input,
        output: w.output,
        row_in: w.row_in,
        channels: dw.channels,
        weights: lines(&packed),
        block: groups * dw.width * rows * 4 * S::GROUP,
        bias,
        scale,
        simd: PhantomData,
    }))
}

impl<S: Simd> Kernel for Packed<S> {
    unsafe fn run(&self, arena: *mut u8) {
        let vector = 4 * S::LANES;
        for strip in 0..self.height.div_ceil(self.rows) {
            let y = (strip * self.rows).min(self.height - self.rows); // the last may overlap the one before
            for (block, first) in (0..self.channels).step_by(vector).enumerate() {
                // SAFETY: offsets that `Layer::extent` counted; tables are as long as the blocks say.
                unsafe {
                    (self.span)(&Strip {
                        input: arena.add(self.input + y * self.row_in + first),
                        output: arena.add(self.output + y * self.geometry.row_out + first),
                        weights: self.weights.as_ptr().cast::<i8>().add(block * self.block),
                        bias: self.bias.as_ptr().add(first),
                        scale: self.scale.as_ptr().add(first),
                        count: vector.min(self.channels - first),
                        layer: &self.geometry,
                    });
                }
            }
        }
    }
}

/// R rows of outputs, T pixels at a time, STEP taps apart, under a kernel W wide (0: any width, T = 1).
///
/// # Safety
/// Inlined into a function with the instruction set; the strip's pointers reach as far as its geometry says.
#[inline(always)]
pub(super) unsafe fn span<S: Simd, const R: usize, const T: usize, const W: usize, const STEP: usize>(strip: &Strip<'_>) {
    let layer = strip.layer;
    // SAFETY: the caller's promise; loads reach at most SLACK past the last channel.
    unsafe {
        for patch in 0..layer.patches {
            let (input, output) = ((patch * layer.patch_in).min(layer.last_in), (patch * layer.patch_out).min(layer.last_out));
            let bias = [0, 1, 2, 3].map(|q| S::sums(strip.bias.add(q * S::LANES)));
            let mut sums = [[bias; T]; R];
            let mut weights = strip.weights;
            for group in layer.rows.as_chunks::<4>().0 {
                let rows = group.map(|row| strip.input.add(input + row));
                if const { W == 0 } {
                    for column in 0..layer.width {
                        let bytes = S::columns(rows.map(|row| row.add(column * layer.pixel)));
                        each!(2: r < R, {
                            let taps = weights.add(r * 4 * S::GROUP);
                            each!(4: q < 4, { sums[r][0][q] = S::dot(sums[r][0][q], bytes[q], S::weights(taps.add(q * S::GROUP))) });
                        });
                        weights = weights.add(R * 4 * S::GROUP);
                    }
                } else {
                    each!(12: column < (T - 1) * STEP + W, {
                        let bytes = S::columns(rows.map(|row| row.add(column * layer.pixel)));
                        each!(4: t < T, {
                            if const { column + 1 > t * STEP && column < t * STEP + W } {
                                let taps = weights.add((column - t * STEP) * R * 4 * S::GROUP);
                                each!(2: r < R, {
                                    let taps = taps.add(r * 4 * S::GROUP);
                                    each!(4: q < 4, { sums[r][t][q] = S::dot(sums[r][t][q], bytes[q], S::weights(taps.add(q * S::GROUP))) });
                                });
                            }
                        });
                    });
                    weights = weights.add(W * R * 4 * S::GROUP);
                }
            }
            let scale = [0, 1, 2, 3].map(|q| S::reals(strip.scale.add(q * S::LANES)));
            each!(2: r < R, {
                each!(4: t < T, {
                    each!(4: q < 4, { sums[r][t][q] = S::round(S::mul(S::real(sums[r][t][q]), scale[q])) });
                    let to = strip.output.add(output + r * layer.row_out + t * layer.pixel_out);
                    S::store(to, S::narrow(sums[r][t], &layer.out), strip.count);
                });
            });
        }
    }
}
