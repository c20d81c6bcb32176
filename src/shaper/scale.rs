//! Exact area averaging of one byte plane, rows first.
//!
//! A pixel is a square of constant level; an output pixel is the integral over its rectangle divided by its area, for
//! down-scaling and up-scaling alike. Whole rows are added as integers (u16 lanes, which every vector unit has), the one
//! or two rows that an output row only touches are weighted in f32, and only the one line that is left per output row is
//! reduced across. So the camera's bytes are read once, in order, and nothing of the size of the frame is written.
//!
//! Interleaved formats are added as they lie, all bytes of a row alike; the components part in the reduction.
//! Invariant: every f32 sum has a fixed order, so the result is the same on every machine.

use std::ops::Range;

/// Lanes of the horizontal reduction; windows are padded to a multiple of it.
const LANES: usize = 4;
/// Rows of bytes that fit a u16 sum: 257 * 255 = 65 535.
const ROWS_PER_SUM: usize = 256;

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

/// The windows of all output columns, padded with zero weights to one common length.
#[derive(Clone, Debug)]
struct Taps {
    start: Vec<usize>,
    weights: Vec<f32>,
    count: usize,
}

impl Taps {
    /// `cuts` in pixels, `first` is the pixel at which the line starts.
    fn new(cuts: &[Cut], first: usize) -> Self {
        let end = |c: &Cut| (c.last.0 + 1).max(c.full.end).max(c.first.0 + 1);
        let count = cuts.iter().map(|c| end(c) - c.first.0).max().unwrap_or(1).next_multiple_of(LANES);
        let mut weights = vec![0.0; count * cuts.len()];
        for (c, row) in cuts.iter().zip(weights.chunks_exact_mut(count)) {
            let at = |p: usize| p - c.first.0;
            row[c.full.start.max(c.first.0) - c.first.0..c.full.end.max(c.first.0) - c.first.0].fill(c.full_weight);
            row[0] += c.first.1;
            row[at(c.last.0)] += c.last.1;
        }
        Self { start: cuts.iter().map(|c| c.first.0 - first).collect(), weights, count }
    }

    /// One output row from one line whose pixels lie `step` apart.
    fn reduce(&self, line: &[f32], step: usize, out: &mut [f32]) {
        match (step, self.count) {
            (1, 4) => self.reduce_by::<1, 4>(line, out),
            (1, 8) => self.reduce_by::<1, 8>(line, out),
            (1, _) => self.reduce_by::<1, LANES>(line, out),
            (2, 8) => self.reduce_by::<2, 8>(line, out),
            (2, _) => self.reduce_by::<2, LANES>(line, out),
            (3, 8) => self.reduce_by::<3, 8>(line, out),
            (3, _) => self.reduce_by::<3, LANES>(line, out),
            (_, _) => self.reduce_by::<4, LANES>(line, out),
        }
    }

    /// `reduce` with a constant step, `BLOCK` taps at a time, so that the compiler unrolls and vectorises.
    fn reduce_by<const STEP: usize, const BLOCK: usize>(&self, line: &[f32], out: &mut [f32]) {
        for ((o, &start), w) in out.iter_mut().zip(&self.start).zip(self.weights.chunks_exact(self.count)) {
            let mut lanes = [0.0f32; LANES];
            let window = &line[start * STEP..][..self.count * STEP];
            for (w, p) in w.chunks_exact(BLOCK).zip(window.chunks_exact(BLOCK * STEP)) {
                for k in 0..BLOCK {
                    lanes[k % LANES] += w[k] * p[k * STEP];
                }
            }
            *o = (lanes[0] + lanes[2]) + (lanes[1] + lanes[3]);
        }
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
    rows: Vec<Cut>,
    parts: Vec<(usize, usize, Taps, usize)>,
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
                (shift, step, Taps::new(&columns, first), p.out)
            })
            .collect();
        let rows = cuts(rect.y, rect.y + rect.h, place.h, rows);
        Self { offset: base + first_byte, stride, bytes: end_byte - first_byte, even, rows, parts, place }
    }

    /// Room that `run` needs in its two scratch lines.
    pub fn scratch(&self) -> usize {
        let slack = self.parts.iter().map(|(shift, step, taps, _)| shift + taps.count * step).max().unwrap_or(0);
        self.bytes + slack + 1
    }

    /// Reads the plane and fills the outputs. `sum` and `line` hold at least `scratch` elements; the end of `line` beyond
    /// the bytes used must be finite (it is multiplied by zero).
    pub fn run(&self, data: &[u8], sum: &mut [u16], line: &mut [f32], outs: &mut [Vec<f32>]) {
        let n = if self.even { self.bytes.div_ceil(2) } else { self.bytes };
        let row = |r: usize| &data[self.offset + r * self.stride..][..self.bytes];
        for (y, cut) in self.rows.iter().enumerate() {
            let (sum, head) = (&mut sum[..n], &mut line[..n]);
            let mut begun = false;
            let mut at = cut.full.start;
            while at < cut.full.end {
                let to = cut.full.end.min(at + ROWS_PER_SUM);
                self.add_rows(row, at..to, sum);
                if begun {
                    head.iter_mut().zip(&*sum).for_each(|(l, &s)| *l += f32::from(s) * cut.full_weight);
                } else {
                    head.iter_mut().zip(&*sum).for_each(|(l, &s)| *l = f32::from(s) * cut.full_weight);
                }
                (begun, at) = (true, to);
            }
            for (r, weight) in [cut.first, cut.last] {
                if weight > 0.0 {
                    self.mix(row(r), weight, head, begun);
                    begun = true;
                }
            }
            for (shift, step, taps, out) in &self.parts {
                let from = (self.place.y + y) * self.place.width + self.place.x;
                taps.reduce(&line[*shift..], *step, &mut outs[*out][from..from + self.place.w]);
            }
        }
    }

    /// `sum` = the rows added up.
    fn add_rows<'d>(&self, row: impl Fn(usize) -> &'d [u8], rows: Range<usize>, sum: &mut [u16]) {
        if self.even {
            add_rows(|r| pairs(row(r)), luma, rows, sum);
        } else {
            add_rows(row, u16::from, rows, sum);
        }
    }

    /// Adds a weighted row to the line, or begins it.
    fn mix(&self, row: &[u8], weight: f32, line: &mut [f32], begun: bool) {
        if self.even {
            mix(pairs(row), |p| f32::from(luma(p)), weight, line, begun);
        } else {
            mix(row, f32::from, weight, line, begun);
        }
    }
}

fn add_rows<'d, P: Copy + 'd>(row: impl Fn(usize) -> &'d [P], level: impl Fn(P) -> u16, mut rows: Range<usize>, sum: &mut [u16]) {
    if let Some(r) = rows.next() {
        sum.iter_mut().zip(row(r)).for_each(|(s, &p)| *s = level(p));
    }
    while rows.len() >= 2 {
        let (a, b) = (row(rows.start), row(rows.start + 1));
        sum.iter_mut().zip(a.iter().zip(b)).for_each(|(s, (&a, &b))| *s += level(a) + level(b));
        rows.start += 2;
    }
    if let Some(r) = rows.next() {
        sum.iter_mut().zip(row(r)).for_each(|(s, &p)| *s += level(p));
    }
}

fn mix<P: Copy>(row: &[P], level: impl Fn(P) -> f32, weight: f32, line: &mut [f32], begun: bool) {
    if begun {
        line.iter_mut().zip(row).for_each(|(l, &p)| *l += level(p) * weight);
    } else {
        line.iter_mut().zip(row).for_each(|(l, &p)| *l = level(p) * weight);
    }
}

/// A row of YUYV as pairs of luma and chroma.
fn pairs(row: &[u8]) -> &[[u8; 2]] {
    row.as_chunks().0
}

/// The luma of a pair, as one 16-bit lane: a mask, not a shuffle.
fn luma(pair: [u8; 2]) -> u16 {
    u16::from_le_bytes(pair) & 0xff
}
