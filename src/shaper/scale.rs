//! Exact area averaging of one byte plane, rows first.
//!
//! A pixel is a square of constant level; an output pixel is the integral over its rectangle divided by its area, for
//! down-scaling and up-scaling alike. Whole rows are added as integers (u16 lanes, which every vector unit has); their sum
//! and the one or two rows that an output row only touches are weighted in fixed point, each off by less than 1/128 level.
//! That line is then reduced across: every output pixel is a dot product of 16-bit numbers, eight at a time. So the
//! camera's bytes are read once, in order, and nothing of the size of the frame is written. Loops are compiled for this processor's registers
//! ([`crate::lanes`]) and named row by row: what goes through arrays of rows is not made into vectors.
//!
//! Interleaved formats are added as they lie, all bytes of a row alike; in the dot products the other components' weights are zero.
//! Invariant: everything up to the sums is whole numbers, so the result is the same on every machine.

use crate::lanes::{Here, widen};
use std::ops::Range;

/// Taps of the reduction across that are one vector of 16-bit numbers.
const BLOCK: usize = 8;
/// What the weights of an output column add up to at most: levels of 15 bits times that fit an i32.
const FINEST: f32 = 65_536.0;
/// Rows of bytes that fit a u16 sum: 257 * 255 = 65 535.
const ROWS_PER_SUM: usize = 256;
/// One level in the lines between the two reductions.
const ONE: f32 = 128.0;

/// One output row or column: which input pixels it covers, and how much of each. Weights add up to 1.
#[derive(Clone, Debug)]
struct Cut {
    first: (usize, f32),
    full: Range<usize>,
    full_weight: f32,
    last: (usize, f32),
}

/// Cuts `lo..hi` (in pixels, within `0..limit`) into `n` equal parts.
fn cuts(lo: f64, hi: f64, n: usize, limit: usize) -> Vec<Cut> {
    // An edge that misses a pixel border by rounding alone must not cost a row.
    let snap = |v: f64| if (v - v.round()).abs() < 1e-9 { v.round() } else { v };
    let edge = |i: usize| snap(lo + (hi - lo) * i as f64 / n as f64).clamp(0.0, limit as f64);
    (0..n)
        .map(|i| {
            let (a, b) = (edge(i), edge(i + 1));
            let from = (a as usize).min(limit - 1);
            let to = (b.ceil() as usize).clamp(from + 1, limit);
            if to == from + 1 {
                return Cut { first: (from, 1.0), full: 0..0, full_weight: 0.0, last: (from, 0.0) };
            }
            let area = b - a;
            let (head, tail) = ((from + 1) as f64 - a, b - (to - 1) as f64);
            let full = if head < 1.0 { from + 1 } else { from }..if tail < 1.0 { to - 1 } else { to };
            let weight = |part: f64| if part < 1.0 { (part / area) as f32 } else { 0.0 };
            Cut { first: (from, weight(head)), full, full_weight: (1.0 / area) as f32, last: (to - 1, weight(tail)) }
        })
        .collect()
}

/// The windows of all output columns, in whole numbers: padded with zero weights to one common length, and between the components of an interleaved row.
#[derive(Clone, Debug)]
struct Taps {
    /// Where each begins, and its weights: `blocks` a column.
    start: Vec<usize>,
    weights: Vec<[i16; BLOCK]>,
    blocks: usize,
    /// From a sum to levels.
    scale: f32,
}

impl Taps {
    /// `cuts` in pixels that are `step` apart; `first` is the pixel at which the line starts. From units of [`ONE`] to levels.
    fn new(cuts: &[Cut], first: usize, shift: usize, step: usize) -> Self {
        let end = |c: &Cut| (c.last.0 + 1).max(c.full.end).max(c.first.0 + 1);
        let count = cuts.iter().map(|c| end(c) - c.first.0).max().unwrap_or(1);
        let blocks = ((count - 1) * step + 1).div_ceil(BLOCK);
        let mut windows = vec![0.0f32; blocks * BLOCK * cuts.len()];
        for (c, row) in cuts.iter().zip(windows.chunks_exact_mut(blocks * BLOCK)) {
            let at = |p: usize| (p - c.first.0) * step;
            for p in c.full.clone() {
                row[at(p)] = c.full_weight;
            }
            row[0] += c.first.1;
            row[at(c.last.0)] += c.last.1;
        }
        // As fine as the largest weight allows.
        let largest = windows.iter().fold(0.0f32, |most, w| most.max(*w));
        let one = (f32::from(i16::MAX) / largest).log2().floor().exp2().min(FINEST);
        let weights = windows.chunks_exact(blocks * BLOCK).flat_map(|row| whole(row, one)).collect::<Vec<_>>();
        let start = cuts.iter().map(|c| shift + (c.first.0 - first) * step).collect();
        Self { start, weights: weights.as_chunks().0.to_vec(), blocks, scale: 1.0 / (ONE * one) }
    }

    /// One output row from a line.
    #[inline(always)]
    fn reduce(&self, line: &[u16], bias: f32, sums: &mut [i32], out: &mut [f32]) {
        match self.blocks {
            1 => self.sum::<1>(line, sums),
            2 => self.sum::<2>(line, sums),
            3 => self.sum::<3>(line, sums),
            _ => self.sum_all(line, sums),
        }
        let sums = &sums[..out.len()];
        for x in 0..out.len() {
            out[x] = sums[x] as f32 * self.scale + bias;
        }
    }

    /// The sums of windows of `N` blocks.
    #[inline(always)]
    fn sum<const N: usize>(&self, line: &[u16], sums: &mut [i32]) {
        let (weights, _) = self.weights.as_chunks::<N>();
        for ((sum, &start), weights) in sums.iter_mut().zip(&self.start).zip(weights) {
            let (window, _) = line[start..][..N * BLOCK].as_chunks::<BLOCK>();
            let mut all = 0;
            for k in 0..N {
                all += dot(&window[k], &weights[k]);
            }
            *sum = all;
        }
    }

    /// The same for windows of any length.
    #[inline(always)]
    fn sum_all(&self, line: &[u16], sums: &mut [i32]) {
        for ((sum, &start), weights) in sums.iter_mut().zip(&self.start).zip(self.weights.chunks_exact(self.blocks)) {
            let (window, _) = line[start..].as_chunks::<BLOCK>();
            *sum = 0;
            for (levels, weights) in window.iter().zip(weights) {
                *sum += dot(levels, weights);
            }
        }
    }
}

/// The products of one block, added up: a multiplication of all lanes, whose sums the compiler folds. Levels of a line have 15 bits.
#[inline(always)]
fn dot(levels: &[u16; BLOCK], weights: &[i16; BLOCK]) -> i32 {
    let mut sum = 0;
    for k in 0..BLOCK {
        sum += i32::from(levels[k] as i16) * i32::from(weights[k]);
    }
    sum
}

/// Weights that add up to one as whole numbers that add up to `one`: what rounding loses goes to the largest.
fn whole(row: &[f32], one: f32) -> Vec<i16> {
    let mut fixed: Vec<i16> = row.iter().map(|w| (w * one).round() as i16).collect();
    let lost = one as i32 - fixed.iter().map(|w| i32::from(*w)).sum::<i32>();
    if let Some(largest) = fixed.iter_mut().max() {
        *largest = (i32::from(*largest) + lost).clamp(0, i32::from(i16::MAX)) as i16;
    }
    fixed
}

/// An output row in fixed point: what [`Pass::run`] multiplies the rows by, in units that give [`ONE`] per level.
#[derive(Clone, Debug)]
struct Band {
    first: (usize, u16),
    full: Range<usize>,
    /// Sums of full rows are moved up by `shift`, so that they fill their 16 bits, and then weighted.
    shift: u32,
    weight: u16,
    /// 8, the `shift` of single rows. Read from here, as a constant would be folded into the weight, beyond its 16 bits.
    up: u32,
    last: (usize, u16),
    /// Half a unit for each product, all of which are rounded down; in levels.
    bias: f32,
}

impl Band {
    fn new(cut: &Cut) -> Self {
        let rows = cut.full.len().clamp(1, ROWS_PER_SUM);
        let shift = (ROWS_PER_SUM / rows).ilog2();
        let part = |(row, weight): (usize, f32)| (row, (weight * ONE * 256.0).round() as u16);
        let weight = (cut.full_weight * ONE * 65_536.0 / (1 << shift) as f32).round() as u16;
        let (first, last) = (part(cut.first), part(cut.last));
        let products = usize::from(first.1 > 0) + usize::from(last.1 > 0) + cut.full.len().div_ceil(ROWS_PER_SUM);
        Self { first, full: cut.full.clone(), shift, weight, up: 8, last, bias: products as f32 / ONE / 2.0 }
    }
}

/// A rectangle, in pixels of whatever plane it is used on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rect {
    pub x: f64,
    pub y: f64,
    pub w: f64,
    pub h: f64,
}

/// Where the scaled plane goes in an output of `width` columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub x: usize,
    pub y: usize,
    pub w: usize,
    pub h: usize,
    pub width: usize,
}

/// One component of a plane: the byte at which it starts, and from pixel to pixel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub offset: usize,
    pub step: usize,
    /// Pixels of this component in a row.
    pub pixels: usize,
    /// Horizontal subsampling against the rectangle given.
    pub sub_x: usize,
    /// Index of the output that it fills.
    pub out: usize,
}

/// One pass over one byte plane.
#[derive(Debug)]
pub(super) struct Pass {
    offset: usize,
    stride: usize,
    bytes: usize,
    /// Only the even bytes count (luma of YUYV): halves the work.
    even: bool,
    rows: Vec<Band>,
    parts: Vec<(Taps, usize)>,
    place: Place,
}

impl Pass {
    /// Plans the pass over the plane that starts at byte `base` with `rows` rows, `stride` bytes apart; `rect` in its rows
    /// and, times `sub_x` of each part, its columns.
    pub fn new(base: usize, stride: usize, rows: usize, rect: Rect, place: Place, parts: &[Part]) -> Self {
        let even = matches!(parts, [Part { offset: 0, step: 2, .. }]);
        let mut first_byte = usize::MAX;
        let mut end_byte = 0;
        let mut planned = Vec::new();
        for p in parts {
            let sub = p.sub_x as f64;
            let columns = cuts(rect.x / sub, (rect.x + rect.w) / sub, place.w, p.pixels);
            let first = columns.iter().map(|c| c.first.0).min().unwrap_or(0);
            let end = columns.iter().map(|c| (c.last.0 + 1).max(c.full.end)).max().unwrap_or(1);
            first_byte = first_byte.min(first * p.step);
            end_byte = end_byte.max((end - 1) * p.step + p.offset + 1);
            planned.push((p, columns, first));
        }
        if even {
            end_byte = (end_byte + 1).min(stride / 2 * 2);
        }
        let parts = planned
            .into_iter()
            .map(|(p, columns, first)| {
                let shift = first * p.step + p.offset - first_byte;
                let (shift, step) = if even { (shift / 2, 1) } else { (shift, p.step) };
                (Taps::new(&columns, first, shift, step), p.out)
            })
            .collect();
        let rows = cuts(rect.y, rect.y + rect.h, place.h, rows).iter().map(Band::new).collect();
        Self { offset: base + first_byte, stride, bytes: end_byte - first_byte, even, rows, parts, place }
    }

    /// Reads the plane and fills the outputs.
    pub fn run(&self, data: &[u8], scratch: &mut Scratch, outs: &mut [Vec<f32>]) {
        widened(Here::best(), self, data, scratch, outs);
    }

    #[inline(always)]
    fn run_plain(&self, data: &[u8], scratch: &mut Scratch, outs: &mut [Vec<f32>]) {
        let n = if self.even { self.bytes.div_ceil(2) } else { self.bytes };
        let row = |r: usize| &data[self.offset + r * self.stride..][..self.bytes];
        let Scratch { sum, weights, line, across } = scratch;
        for (y, band) in self.rows.iter().enumerate() {
            if self.even {
                band.reduce(|r| pairs(row(r)), luma, sum, weights, &mut line[..n]);
            } else {
                band.reduce(row, u16::from, sum, weights, &mut line[..n]);
            }
            for (taps, out) in &self.parts {
                let first = (self.place.y + y) * self.place.width + self.place.x;
                taps.reduce(line, band.bias, across, &mut outs[*out][first..][..self.place.w]);
            }
        }
    }
}

widen! {
    /// [`Pass::run`] for this processor's registers.
    widened = plain(pass: &Pass, data: &[u8], scratch: &mut Scratch, outs: &mut [Vec<f32>])
}

#[inline(always)]
fn plain(pass: &Pass, data: &[u8], scratch: &mut Scratch, outs: &mut [Vec<f32>]) {
    pass.run_plain(data, scratch, outs);
}

/// What passes need beside their outputs; for one after the other.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    sum: Vec<u16>,
    /// The three weights of a line, once for each pixel: so that a vector of products is one instruction.
    weights: [Vec<u16>; 3],
    line: Vec<u16>,
    across: Vec<i32>,
}

impl Scratch {
    /// Enough for any of the passes.
    pub fn new(passes: &[Pass]) -> Self {
        let most = |of: fn(&Pass) -> usize| passes.iter().map(of).max().unwrap_or(0);
        let bytes = most(|p| p.bytes);
        // Windows are padded with zero weights beyond the bytes.
        let padding = most(|p| p.parts.iter().map(|(taps, _)| taps.blocks * BLOCK).max().unwrap_or(0));
        Self {
            sum: vec![0; bytes],
            weights: std::array::from_fn(|_| vec![0; bytes]),
            line: vec![0; bytes + padding],
            across: vec![0; most(|p| p.place.w)],
        }
    }
}

impl Band {
    /// One line from its rows.
    #[inline(always)]
    fn reduce<'d, P: Copy + 'd>(
        &self,
        row: impl Fn(usize) -> &'d [P],
        level: impl Fn(P) -> u16 + Copy,
        sum: &mut [u16],
        weights: &mut [Vec<u16>; 3],
        line: &mut [u16],
    ) {
        let n = line.len();
        for (weights, weight) in weights.iter_mut().zip([self.weight, self.first.1, self.last.1]) {
            weights[..n].fill(weight);
        }
        let [full, first, last] = weights.each_ref().map(|w| &w[..n]);
        let (sum, shift, up) = (&mut sum[..n], self.shift, self.up);
        let rows = self.full.clone();
        let begin = rows.end.min(rows.start + (rows.len().max(1) - 1) % ROWS_PER_SUM + 1);
        add_rows(&row, level, rows.start..begin, sum);
        if self.first.1 == 0 && self.last.1 == 0 {
            for x in 0..n {
                line[x] = times(sum[x] << shift, full[x]);
            }
        } else {
            let (a, b) = (&row(self.first.0)[..n], &row(self.last.0)[..n]);
            for x in 0..n {
                line[x] =
                    times(sum[x] << shift, full[x]) + times(level(a[x]) << up, first[x]) + times(level(b[x]) << up, last[x]);
            }
        }
        for at in (begin..rows.end).step_by(ROWS_PER_SUM) {
            add_rows(&row, level, at..at + ROWS_PER_SUM, sum);
            for x in 0..n {
                line[x] += times(sum[x] << shift, full[x]);
            }
        }
    }
}

/// `sum` = the rows added up, at most `ROWS_PER_SUM`.
#[inline(always)]
fn add_rows<'d, P: Copy + 'd>(
    row: &impl Fn(usize) -> &'d [P],
    level: impl Fn(P) -> u16 + Copy,
    rows: Range<usize>,
    sum: &mut [u16],
) {
    let n = sum.len();
    // Rows by name: a loop over an array of them is not compiled to vectors.
    macro_rules! add {
        ($begun:literal: $($r:ident)+) => {{
            let ($($r,)+) = ($(&$r[..n],)+);
            for x in 0..n {
                let here = 0 $(+ level($r[x]))+;
                sum[x] = if $begun { sum[x] + here } else { here };
            }
        }};
    }
    let (mut r, a) = (rows.start + rows.len() % 4, row);
    match rows.len() % 4 {
        0 => sum.fill(0),
        1 => {
            let a = a(rows.start);
            add!(false: a);
        }
        2 => {
            let (a, b) = (a(rows.start), a(rows.start + 1));
            add!(false: a b);
        }
        _ => {
            let (a, b, c) = (a(rows.start), a(rows.start + 1), a(rows.start + 2));
            add!(false: a b c);
        }
    }
    while r < rows.end {
        let (a, b, c, d) = (row(r), row(r + 1), row(r + 2), row(r + 3));
        add!(true: a b c d);
        r += 4;
    }
}

/// The upper half of the product, one instruction for a vector of them.
#[inline(always)]
fn times(a: u16, b: u16) -> u16 {
    ((u32::from(a) * u32::from(b)) >> 16) as u16
}

/// A row of YUYV as pairs of luma and chroma.
#[inline(always)]
fn pairs(row: &[u8]) -> &[[u8; 2]] {
    row.as_chunks().0
}

/// The luma of a pair, as one 16-bit lane: a mask, not a shuffle.
#[inline(always)]
fn luma(pair: [u8; 2]) -> u16 {
    u16::from_le_bytes(pair) & 0xff
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::qnn::kernels::Isa;

    #[test]
    fn every_width_of_registers_gives_the_same_bits() {
        let (w, h) = (131, 77);
        let data: Vec<u8> = (0..w * h * 3usize).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        for (step, out) in [(1, (64, 64)), (1, (17, 5)), (2, (30, 33)), (3, (9, 40)), (1, (200, 100))] {
            let rect = Rect { x: 1.5, y: 0.25, w: w as f64 - 3.0, h: h as f64 - 1.0 };
            let place = Place { x: 0, y: 0, w: out.0, h: out.1, width: out.0 };
            let part = Part { offset: 0, step, pixels: w, sub_x: 1, out: 0 };
            let pass = Pass::new(0, w * step, h, rect, place, &[part]);
            let scaled = |isa: Isa| {
                let (mut scratch, mut outs) = (Scratch::new(std::slice::from_ref(&pass)), [vec![0.0f32; out.0 * out.1]]);
                widened(Here::of(isa), &pass, &data, &mut scratch, &mut outs);
                outs[0].iter().map(|v| v.to_bits()).collect::<Vec<_>>()
            };
            let plain = scaled(Isa::Scalar);
            assert!(Isa::available().iter().all(|isa| scaled(*isa) == plain), "{out:?} by {step}");
        }
    }
}
