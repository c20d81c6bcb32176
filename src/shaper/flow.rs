//! Dense Lucas-Kanade flow between the pictures of two ticks, at the encoder's size.
//!
//! Lucas & Kanade 1981: over a 5x5 window the shift (u, v) that best explains the change `It` by the gradients `Ix`, `Iy`
//! solves `[Sxx+r Sxy; Sxy Syy+r] (u v)' = -(Sxt Syt)'`. `r` = 4 levels^2 a pixel keeps flat ground still. The frame's
//! median is taken out, so a knocked box reads zero on average and an object reads its own motion; ACCURACY.md says why.
//!
//! u > 0: to the right; v > 0: downwards; level = 128 + 16 * pixels a tick.
//!
//! Blurred pictures are whole numbers (sixteenths of a level); the five products are rows of f32, five rows of each in
//! flight, so everything stays in the first-level cache and every loop runs along a row. No running sums: adding and
//! taking away again would let f32 rounding build up, and the order of additions would depend on the past.

use crate::lanes::{Here, widen};

/// 4 levels^2 for each of 25 pixels, in the unit of the products: gradients are in 1/64 of a level a pixel.
const REGULARISER: f32 = 4.0 * 25.0 * 4096.0;
/// Flow is kept in 1/256 of a pixel a tick: 1/16 of an output level.
const UNIT: f32 = 256.0;
/// Beyond this many pixels a tick a 5x5 window has lost its object long ago.
const LIMIT: f32 = 120.0 * UNIT;
/// Half of the window.
const REACH: usize = 2;
const WINDOW: usize = 2 * REACH + 1;
/// Products of gradients: xx, xy, yy, xt, yt.
const PRODUCTS: usize = 5;

/// The flow stage: buffers for one size of picture.
#[derive(Debug)]
pub(super) struct Flow {
    w: usize,
    h: usize,
    seen: bool,
    /// Blurred pictures of the previous tick and of this one, in 1/16 of a level.
    before: Vec<i16>,
    now: Vec<i16>,
    /// One row of them, padded by one on both sides.
    column: Vec<i16>,
    /// One row of Ix, Iy and It.
    gradients: Vec<f32>,
    /// Five rows of five products.
    products: Vec<f32>,
    /// Column sums of one product, padded by `REACH` on both sides.
    sums: Vec<f32>,
    /// Window sums of the five products, for one row.
    boxes: Vec<f32>,
    u: Vec<i16>,
    v: Vec<i16>,
}

impl Flow {
    /// Buffers for `w` x `h` pictures.
    pub fn new(w: usize, h: usize) -> Self {
        Self {
            w,
            h,
            seen: false,
            before: vec![0; w * h],
            now: vec![0; w * h],
            column: vec![0; w + 2],
            gradients: vec![0.0; 3 * w],
            products: vec![0.0; WINDOW * PRODUCTS * w],
            sums: vec![0.0; w + 2 * REACH],
            boxes: vec![0.0; PRODUCTS * w],
            u: vec![0; w * h],
            v: vec![0; w * h],
        }
    }

    /// Forgets the previous picture.
    pub fn reset(&mut self) {
        self.seen = false;
    }

    /// Flow from the picture of the last call to `luma`, as levels; 128 everywhere on the first call.
    pub fn run(&mut self, luma: &[u8], u_out: &mut [u8], v_out: &mut [u8]) {
        widened(Here::best(), self, luma, u_out, v_out);
    }

    #[inline(always)]
    fn run_plain(&mut self, luma: &[u8], u_out: &mut [u8], v_out: &mut [u8]) {
        std::mem::swap(&mut self.before, &mut self.now);
        self.blur(luma);
        if !std::mem::replace(&mut self.seen, true) {
            u_out.fill(128);
            v_out.fill(128);
            return;
        }
        for ahead in 0..REACH.min(self.h) {
            self.multiply(ahead);
        }
        for y in 0..self.h {
            if y + REACH < self.h {
                self.multiply(y + REACH);
            }
            self.solve(y);
        }
        levels(&self.u, self.w, u_out);
        levels(&self.v, self.w, v_out);
    }

    /// Takes a picture as the next one's past, without flow.
    pub fn skip(&mut self, luma: &[u8]) {
        std::mem::swap(&mut self.before, &mut self.now);
        self.blur(luma);
        self.seen = true;
    }

    /// `now` = [1 2 1] x [1 2 1] over `luma`, borders replicated.
    #[inline(always)]
    fn blur(&mut self, luma: &[u8]) {
        let w = self.w;
        for (y, out) in self.now.chunks_exact_mut(w).enumerate() {
            let row = |r: usize| &luma[r * w..][..w];
            let (above, at, below) = (row(y.saturating_sub(1)), row(y), row((y + 1).min(self.h - 1)));
            let column = &mut self.column[1..=w];
            for (c, ((&a, &b), &d)) in column.iter_mut().zip(above.iter().zip(at).zip(below)) {
                *c = i16::from(a) + 2 * i16::from(b) + i16::from(d);
            }
            let (left, mid, right) = neighbours(&mut self.column);
            for (o, ((&l, &m), &r)) in out.iter_mut().zip(left.iter().zip(mid).zip(right)) {
                *o = l + 2 * m + r;
            }
        }
    }

    /// The products of row `y`, into their slot.
    #[inline(always)]
    fn multiply(&mut self, y: usize) {
        let w = self.w;
        let before = |r: usize| &self.before[r * w..][..w];
        let now = |r: usize| &self.now[r * w..][..w];
        let (ix, rest) = self.gradients.split_at_mut(w);
        let (iy, it) = rest.split_at_mut(w);
        for (c, (&a, &b)) in self.column[1..=w].iter_mut().zip(before(y).iter().zip(now(y))) {
            *c = a + b;
        }
        let (left, _, right) = neighbours(&mut self.column);
        difference(right, left, ix);
        difference(now(y), before(y), it);
        let (up, down) = (y.saturating_sub(1), (y + 1).min(self.h - 1));
        let (above, below) = (before(up).iter().zip(now(up)), before(down).iter().zip(now(down)));
        for (o, ((&a, &b), (&c, &d))) in iy.iter_mut().zip(above.zip(below)) {
            *o = f32::from((c + d) - (a + b));
        }
        let slot = &mut self.products[(y % WINDOW) * PRODUCTS * w..][..PRODUCTS * w];
        for (out, (a, b)) in slot.chunks_exact_mut(w).zip([(&*ix, &*ix), (ix, iy), (iy, iy), (ix, it), (iy, it)]) {
            out.iter_mut().zip(a.iter().zip(b)).for_each(|(o, (a, b))| *o = a * b);
        }
    }

    /// Sums the window around row `y` and solves for its flow.
    #[inline(always)]
    fn solve(&mut self, y: usize) {
        let w = self.w;
        // Rows beyond the picture repeat its first or last one.
        let slot = |k: usize| (y + k).saturating_sub(REACH).min(self.h - 1) % WINDOW * PRODUCTS * w;
        let slots: [usize; WINDOW] = std::array::from_fn(slot);
        for (p, out) in self.boxes.chunks_exact_mut(w).enumerate() {
            let sums = &mut self.sums[..w + 2 * REACH];
            add_five(slots.map(|s| &self.products[s + p * w..][..w]), &mut sums[REACH..REACH + w]);
            let (first, last) = (sums[REACH], sums[REACH + w - 1]);
            sums[..REACH].fill(first);
            sums[REACH + w..].fill(last);
            add_five(std::array::from_fn(|k| &sums[k..k + w]), out);
        }
        let sum = |p: usize| &self.boxes[p * w..][..w];
        let (u, v) = (&mut self.u[y * w..][..w], &mut self.v[y * w..][..w]);
        invert([sum(0), sum(1), sum(2)], sum(3), sum(4), u, v);
    }
}

widen! {
    /// [`Flow::run`] for this processor's registers: every loop here runs along a row, and none of them minds how wide.
    widened = plain(flow: &mut Flow, luma: &[u8], u: &mut [u8], v: &mut [u8])
}

#[inline(always)]
fn plain(flow: &mut Flow, luma: &[u8], u: &mut [u8], v: &mut [u8]) {
    flow.run_plain(luma, u, v);
}

/// A padded row and its left and right neighbours; fills the padding by replication.
#[inline(always)]
fn neighbours(column: &mut [i16]) -> (&[i16], &[i16], &[i16]) {
    let w = column.len() - 2;
    (column[0], column[w + 1]) = (column[1], column[w]);
    (&column[..w], &column[1..=w], &column[2..])
}

#[inline(always)]
fn difference(a: &[i16], b: &[i16], out: &mut [f32]) {
    out.iter_mut().zip(a.iter().zip(b)).for_each(|(o, (&a, &b))| *o = f32::from(a - b));
}

#[inline(always)]
fn add_five([a, b, c, d, e]: [&[f32]; WINDOW], out: &mut [f32]) {
    let n = out.len();
    let (a, b, c, d, e) = (&a[..n], &b[..n], &c[..n], &d[..n], &e[..n]);
    for i in 0..n {
        out[i] = (a[i] + e[i]) + (b[i] + d[i]) + c[i];
    }
}

/// Solves the two equations of every pixel of a row.
#[inline(always)]
fn invert([xx, xy, yy]: [&[f32]; 3], xt: &[f32], yt: &[f32], u: &mut [i16], v: &mut [i16]) {
    let n = u.len();
    let (xx, xy, yy, xt, yt, v) = (&xx[..n], &xy[..n], &yy[..n], &xt[..n], &yt[..n], &mut v[..n]);
    for i in 0..n {
        let (sxx, sxy, syy) = (xx[i] + REGULARISER, xy[i], yy[i] + REGULARISER);
        // Gradients are in 1/64, It in 1/16: the quotient is four times too small.
        let scale = 4.0 * UNIT / (sxx * syy - sxy * sxy);
        u[i] = whole((sxy * yt[i] - syy * xt[i]) * scale);
        v[i] = whole((sxy * xt[i] - sxx * yt[i]) * scale);
    }
}

/// Flow without its median as levels.
#[inline(always)]
fn levels(flow: &[i16], w: usize, out: &mut [u8]) {
    let median = median(flow, w);
    for (o, &f) in out.iter_mut().zip(flow) {
        // Half a level up, then down to whole levels of 16 units.
        let level = (f.saturating_sub(median).saturating_add(8) >> 4).saturating_add(128);
        *o = level.clamp(0, 255) as u8;
    }
}

/// The middle value, the lower one of two: the smallest value that half of all values do not exceed.
///
/// Bisection by counting: 16 passes of one compare and one add on 16-bit lanes are quicker than a histogram, whose
/// increments wait for each other, and than a selection that moves its data.
#[inline(always)]
fn median(flow: &[i16], w: usize) -> i16 {
    let half = flow.len().div_ceil(2);
    let (mut low, mut high) = (i32::from(i16::MIN), i32::from(i16::MAX));
    while low < high {
        let middle = (low + high).div_euclid(2);
        let limit = middle as i16;
        // A row has at most 4096 pixels: its count fits 16 bits.
        let below = |row: &[i16]| row.iter().map(|&f| u16::from(f <= limit)).sum::<u16>();
        let count: usize = flow.chunks(w).map(|row| usize::from(below(row))).sum();
        if count >= half { high = middle } else { low = middle + 1 }
    }
    low as i16
}

/// Nearest whole number, ties to even, within the limit. Adding 1.5 * 2^23 leaves no bits for a fraction and the number
/// in the low ones: one vector add instead of a checked cast.
#[inline(always)]
fn whole(x: f32) -> i16 {
    (x.clamp(-LIMIT, LIMIT) + 12_582_912.0).to_bits() as i16
}

/// Nearest level, ties to even; see `whole`.
pub(super) fn round(level: f32) -> u8 {
    (level.clamp(0.0, 255.0) + 8_388_608.0).to_bits() as u8
}
