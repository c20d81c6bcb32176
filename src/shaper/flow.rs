//! Dense Lucas-Kanade flow between the pictures of two ticks, at the encoder's size.
//!
//! Lucas & Kanade 1981: over a 5x5 window the shift (u, v) that best explains the change `It` by the gradients `Ix`, `Iy`
//! solves `[Sxx+r Sxy; Sxy Syy+r] (u v)' = -(Sxt Syt)'`. `r` = 4 levels^2 a pixel keeps flat ground still. The frame's
//! median is taken out, so a knocked box reads zero on average and an object reads its own motion; ACCURACY.md says why.
//!
//! u > 0: to the right; v > 0: downwards; level = 128 + 16 * pixels a tick. Cameras and ticks do not keep step: at 25 frames a second and ten ticks,
//! pictures are 80 and 120 ms apart in turn, and the same walk would look a third quicker every other tick. So the caller says how many ticks the two
//! pictures are apart.
//!
//! Everything up to the sums is whole numbers, so no order of additions matters and none is lost: a row's window is the one of the row
//! before, with a row of products more and one less. Blurred pictures are in sixteenths of a level, gradients below 2^13, and a sum of 25
//! products below 2^31. What is in flight stays in the first-level cache and every loop runs along a row.

use crate::lanes::{Here, LANES, widen};

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
/// Rows of gradients in flight: a window, and the one that leaves it.
const ROWS: usize = WINDOW + 1;

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
    /// Ix, Iy and It of some rows, padded by `REACH` on both sides and to whole lanes.
    gradients: [Slope; ROWS],
    /// Products summed down the window, as wide as the gradients.
    sums: [Vec<i32>; PRODUCTS],
    /// Those, summed across the window: whole lanes.
    boxes: [Vec<f32>; PRODUCTS],
    u: Vec<i16>,
    v: Vec<i16>,
}

/// A row of gradients.
#[derive(Debug)]
struct Slope {
    x: Vec<i16>,
    y: Vec<i16>,
    t: Vec<i16>,
}

impl Flow {
    /// Buffers for `w` x `h` pictures.
    pub fn new(w: usize, h: usize) -> Self {
        let wide = w.next_multiple_of(LANES) + LANES;
        Self {
            w,
            h,
            seen: false,
            before: vec![0; w * h],
            now: vec![0; w * h],
            column: vec![0; w + 2],
            gradients: std::array::from_fn(|_| Slope { x: vec![0; wide], y: vec![0; wide], t: vec![0; wide] }),
            sums: std::array::from_fn(|_| vec![0; wide]),
            boxes: std::array::from_fn(|_| vec![0.0; w.next_multiple_of(LANES)]),
            u: vec![0; w * h],
            v: vec![0; w * h],
        }
    }

    /// Forgets the previous picture.
    pub fn reset(&mut self) {
        self.seen = false;
    }

    /// Flow from the picture of the last call to `luma`, `apart` ticks later, as levels; 128 everywhere on the first call.
    pub fn run(&mut self, luma: &[u8], apart: f32, u_out: &mut [u8], v_out: &mut [u8]) {
        widened(Here::best(), self, luma, apart, u_out, v_out);
    }

    #[inline(always)]
    fn run_plain(&mut self, luma: &[u8], apart: f32, u_out: &mut [u8], v_out: &mut [u8]) {
        std::mem::swap(&mut self.before, &mut self.now);
        self.blur(luma);
        if !std::mem::replace(&mut self.seen, true) {
            u_out.fill(128);
            v_out.fill(128);
            return;
        }
        // Gradients are in 1/64, It in 1/16: the quotient is four times too small.
        let scale = 4.0 * UNIT / apart;
        // The window of the row above the first. Rows beyond the picture repeat its first or last one.
        for y in 0..REACH.min(self.h) {
            self.differentiate(y);
        }
        self.sums.iter_mut().for_each(|sums| sums.fill(0));
        for y in 0..WINDOW {
            let y = y.saturating_sub(REACH + 1).min(self.h - 1);
            add(&mut self.sums, &self.gradients[y]);
        }
        for y in 0..self.h {
            if y + REACH < self.h {
                self.differentiate(y + REACH);
            }
            let (comes, goes) = ((y + REACH).min(self.h - 1), y.saturating_sub(REACH + 1));
            exchange(&mut self.sums, &self.gradients[comes % ROWS], &self.gradients[goes % ROWS]);
            for (sums, boxes) in self.sums.iter().zip(&mut self.boxes) {
                five(sums, boxes);
            }
            let (u, v) = (&mut self.u[y * self.w..][..self.w], &mut self.v[y * self.w..][..self.w]);
            solve(&self.boxes, scale, u, v);
        }
        levels(&self.u, u_out);
        levels(&self.v, v_out);
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

    /// The gradients of row `y`, into their place.
    #[inline(always)]
    fn differentiate(&mut self, y: usize) {
        let w = self.w;
        let before = |r: usize| &self.before[r * w..][..w];
        let now = |r: usize| &self.now[r * w..][..w];
        let Slope { x: ix, y: iy, t: it } = &mut self.gradients[y % ROWS];
        let inside = REACH..REACH + w;
        for (c, (&a, &b)) in self.column[1..=w].iter_mut().zip(before(y).iter().zip(now(y))) {
            *c = a + b;
        }
        let (left, _, right) = neighbours(&mut self.column);
        difference(right, left, &mut ix[inside.clone()]);
        difference(now(y), before(y), &mut it[inside.clone()]);
        let (up, down) = (y.saturating_sub(1), (y + 1).min(self.h - 1));
        let (above, below) = (before(up).iter().zip(now(up)), before(down).iter().zip(now(down)));
        for (o, ((&a, &b), (&c, &d))) in iy[inside].iter_mut().zip(above.zip(below)) {
            *o = (c + d) - (a + b);
        }
        for row in [ix, iy, it] {
            let (first, last) = (row[REACH], row[REACH + w - 1]);
            row[..REACH].fill(first);
            row[REACH + w..][..REACH].fill(last);
        }
    }
}

widen! {
    /// [`Flow::run`] for this processor's registers: every loop here runs along a row, and none of them minds how wide.
    widened = plain(flow: &mut Flow, luma: &[u8], apart: f32, u: &mut [u8], v: &mut [u8])
}

#[inline(always)]
fn plain(flow: &mut Flow, luma: &[u8], apart: f32, u: &mut [u8], v: &mut [u8]) {
    flow.run_plain(luma, apart, u, v);
}

/// A padded row and its left and right neighbours; fills the padding by replication.
#[inline(always)]
fn neighbours(column: &mut [i16]) -> (&[i16], &[i16], &[i16]) {
    let w = column.len() - 2;
    (column[0], column[w + 1]) = (column[1], column[w]);
    (&column[..w], &column[1..=w], &column[2..])
}

#[inline(always)]
fn difference(a: &[i16], b: &[i16], out: &mut [i16]) {
    out.iter_mut().zip(a.iter().zip(b)).for_each(|(o, (&a, &b))| *o = a - b);
}

/// A row comes into the window.
#[inline(always)]
fn add(sums: &mut [Vec<i32>; PRODUCTS], row: &Slope) {
    let n = row.x.len();
    let (x, y, t) = (&row.x[..n], &row.y[..n], &row.t[..n]);
    for (sum, (a, b)) in sums.iter_mut().zip([(x, x), (x, y), (y, y), (x, t), (y, t)]) {
        let sum = &mut sum[..n];
        for i in 0..n {
            sum[i] += i32::from(a[i]) * i32::from(b[i]);
        }
    }
}

/// A row comes into the window, and one leaves it.
#[inline(always)]
fn exchange(sums: &mut [Vec<i32>; PRODUCTS], comes: &Slope, goes: &Slope) {
    let n = comes.x.len();
    let (x, y, t) = (&comes.x[..n], &comes.y[..n], &comes.t[..n]);
    let (ox, oy, ot) = (&goes.x[..n], &goes.y[..n], &goes.t[..n]);
    let pairs = [(x, x, ox, ox), (x, y, ox, oy), (y, y, oy, oy), (x, t, ox, ot), (y, t, oy, ot)];
    for (sum, (a, b, c, d)) in sums.iter_mut().zip(pairs) {
        let sum = &mut sum[..n];
        for i in 0..n {
            sum[i] += i32::from(a[i]) * i32::from(b[i]) - i32::from(c[i]) * i32::from(d[i]);
        }
    }
}

/// Windows of five columns along a row.
#[inline(always)]
fn five(row: &[i32], out: &mut [f32]) {
    let n = out.len();
    let (a, b, c, d, e) = (&row[..n], &row[1..][..n], &row[2..][..n], &row[3..][..n], &row[4..][..n]);
    for i in 0..n {
        out[i] = ((a[i] + e[i]) + (b[i] + d[i]) + c[i]) as f32;
    }
}

/// Solves the two equations of every pixel of a row; `scale` makes the quotient units a tick.
#[inline(always)]
fn solve([xx, xy, yy, xt, yt]: &[Vec<f32>; PRODUCTS], scale: f32, u: &mut [i16], v: &mut [i16]) {
    for ((u, v), at) in u.chunks_mut(LANES).zip(v.chunks_mut(LANES)).zip((0..).step_by(LANES)) {
        let (xx, xy, yy) = (&xx[at..][..LANES], &xy[at..][..LANES], &yy[at..][..LANES]);
        let (xt, yt) = (&xt[at..][..LANES], &yt[at..][..LANES]);
        let (mut right, mut down) = ([0; LANES], [0; LANES]);
        for i in 0..LANES {
            let (sxx, sxy, syy) = (xx[i] + REGULARISER, xy[i], yy[i] + REGULARISER);
            let scale = scale / (sxx * syy - sxy * sxy);
            right[i] = whole((sxy * yt[i] - syy * xt[i]) * scale);
            down[i] = whole((sxy * xt[i] - sxx * yt[i]) * scale);
        }
        if u.len() == LANES {
            u.copy_from_slice(&right);
            v.copy_from_slice(&down);
        } else {
            u.copy_from_slice(&right[..u.len()]);
            v.copy_from_slice(&down[..v.len()]);
        }
    }
}

/// Flow without its median as levels.
#[inline(always)]
fn levels(flow: &[i16], out: &mut [u8]) {
    let median = median(flow);
    for (o, &f) in out.iter_mut().zip(flow) {
        // Half a level up, then down to whole levels of 16 units.
        let level = (f.saturating_sub(median).saturating_add(8) >> 4).saturating_add(128);
        *o = level.clamp(0, 255) as u8;
    }
}

/// The middle value, the lower one of two: the smallest value that half of all values do not exceed.
///
/// Bisection by counting: passes of one compare and one add on 16-bit lanes are quicker than a histogram, whose increments wait
/// for each other, and than a selection that moves its data. Most pictures stand still on the whole, so it is sought near zero first.
#[inline(always)]
fn median(flow: &[i16]) -> i16 {
    let half = flow.len().div_ceil(2);
    // A count of so many fits 16 bits.
    let below = |part: &[i16], limit: i16| part.iter().map(|&f| u16::from(f <= limit)).sum::<u16>();
    let reaches = |limit: i32| flow.chunks(1 << 15).map(|part| usize::from(below(part, limit as i16))).sum::<usize>() >= half;
    let near = [8, 128, 2048].into_iter().find(|&reach| reaches(reach) && !reaches(-reach - 1));
    let (mut low, mut high) = near.map_or((i32::from(i16::MIN), i32::from(i16::MAX)), |reach| (-reach, reach));
    while low < high {
        let middle = (low + high).div_euclid(2);
        if reaches(middle) { high = middle } else { low = middle + 1 }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::qnn::kernels::Isa;
    use crate::rng::Rng;

    /// Stripes of full contrast, as steep as levels can be, that change sides: the largest sums there are.
    #[test]
    fn every_width_of_registers_gives_the_same_bits_at_the_steepest_edges() {
        for (w, h) in [(64, 64), (37, 9), (17, 3), (5, 1), (1, 5)] {
            let pictures: Vec<Vec<u8>> = (0..4)
                .map(|t| (0..w * h).map(|n| if (n % w + n / w + 5 * t) / 5 % 2 == 0 { 255 } else { 0 }).collect())
                .collect();
            let run = |isa: Isa| {
                let (mut flow, mut u, mut v) = (Flow::new(w, h), vec![0; w * h], vec![0; w * h]);
                let mut all = vec![];
                for picture in &pictures {
                    widened(Here::of(isa), &mut flow, picture, 1.25, &mut u, &mut v);
                    all.extend(u.iter().chain(&v).copied());
                }
                all
            };
            let plain = run(Isa::Scalar);
            assert!(Isa::available().iter().all(|isa| run(*isa) == plain), "{w}x{h}");
        }
    }

    #[test]
    fn the_median_is_the_lower_middle_one_wherever_it_lies() {
        let mut draw = Rng(7);
        for (middle, spread) in
            [(0, 1), (0, 3), (-8, 2), (9, 1), (-129, 40), (2048, 3), (-2050, 1), (20_000, 9_000), (-30_000, 700)]
        {
            for n in [1, 2, 7, 4096] {
                let mut flow: Vec<i16> =
                    (0..n).map(|_| (middle as f32 + draw.within(-1.0, 1.0) * spread as f32) as i16).collect();
                let found = median(&flow);
                flow.sort_unstable();
                assert_eq!(found, flow[(n - 1) / 2], "{n} about {middle}");
            }
        }
    }
}
