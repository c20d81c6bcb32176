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

/// Sixteenths of a level: the sum of the weights of the 3x3 blur. Gradients of the sum of both pictures are then in 1/64.
const REGULARISER: f32 = 4.0 * 25.0 * 4096.0;
/// Bins a pixel of the median's histogram: 1/4 of an output level.
const BINS_PER_PIXEL: f32 = 64.0;
/// Median flow is looked for within this many pixels a tick; the output's range is 8.
const MEDIAN_RANGE: f32 = 16.0;
const BINS: usize = 2 * (MEDIAN_RANGE as usize) * (BINS_PER_PIXEL as usize) + 1;
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
    /// Blurred pictures of the previous tick and of this one.
    before: Vec<i16>,
    now: Vec<i16>,
    /// Sum of both, one row above, at and below; columns padded by one.
    column: Vec<i16>,
    /// Five rows of five products.
    products: Vec<f32>,
    /// Column sums of the five products, padded by `REACH` on both sides.
    sums: Vec<f32>,
    u: Vec<f32>,
    v: Vec<f32>,
    bins: Vec<u32>,
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
            products: vec![0.0; WINDOW * PRODUCTS * w],
            sums: vec![0.0; PRODUCTS * (w + 2 * REACH)],
            u: vec![0.0; w * h],
            v: vec![0.0; w * h],
            bins: vec![0; BINS],
        }
    }

    /// Forgets the previous picture.
    pub fn reset(&mut self) {
        self.seen = false;
    }

    /// Flow from the picture of the last call to `luma`, as levels; 128 everywhere on the first call.
    pub fn run(&mut self, luma: &[u8], u_out: &mut [u8], v_out: &mut [u8]) {
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
        for (flow, out) in [(&self.u, u_out), (&self.v, v_out)] {
            let median = median(flow, &mut self.bins);
            for (o, &f) in out.iter_mut().zip(flow) {
                *o = round(128.0 + 16.0 * (f - median));
            }
        }
    }

    /// `now` = [1 2 1] x [1 2 1] over `luma`, borders replicated.
    fn blur(&mut self, luma: &[u8]) {
        let w = self.w;
        for (y, out) in self.now.chunks_exact_mut(w).enumerate() {
            let row = |r: usize| &luma[r * w..][..w];
            let (above, at, below) = (row(y.saturating_sub(1)), row(y), row((y + 1).min(self.h - 1)));
            let column = &mut self.column[..w + 2];
            for (c, ((&a, &b), &d)) in column[1..=w].iter_mut().zip(above.iter().zip(at).zip(below)) {
                *c = i16::from(a) + 2 * i16::from(b) + i16::from(d);
            }
            (column[0], column[w + 1]) = (column[1], column[w]);
            let (left, mid, right) = (&column[..w], &column[1..=w], &column[2..]);
            for (o, ((&l, &m), &r)) in out.iter_mut().zip(left.iter().zip(mid).zip(right)) {
                *o = l + 2 * m + r;
            }
        }
    }

    /// The products of row `y`, into their slot.
    fn multiply(&mut self, y: usize) {
        let w = self.w;
        let before = |r: usize| &self.before[r * w..][..w];
        let now = |r: usize| &self.now[r * w..][..w];
        let (up, down) = (y.saturating_sub(1), (y + 1).min(self.h - 1));
        let column = &mut self.column[..w + 2];
        for (c, (&a, &b)) in column[1..=w].iter_mut().zip(before(y).iter().zip(now(y))) {
            *c = a + b;
        }
        (column[0], column[w + 1]) = (column[1], column[w]);
        let (left, right) = (&column[..w], &column[2..]);
        let (b0, n0, bu, nu, bd, nd) = (before(y), now(y), before(up), now(up), before(down), now(down));
        let slot = &mut self.products[(y % WINDOW) * PRODUCTS * w..][..PRODUCTS * w];
        let (xx, rest) = slot.split_at_mut(w);
        let (xy, rest) = rest.split_at_mut(w);
        let (yy, rest) = rest.split_at_mut(w);
        let (xt, yt) = rest.split_at_mut(w);
        for i in 0..w {
            let ix = f32::from(right[i] - left[i]);
            let iy = f32::from((bd[i] + nd[i]) - (bu[i] + nu[i]));
            let it = f32::from(n0[i] - b0[i]);
            xx[i] = ix * ix;
            xy[i] = ix * iy;
            yy[i] = iy * iy;
            xt[i] = ix * it;
            yt[i] = iy * it;
        }
    }

    /// Sums the window around row `y` and solves for its flow.
    fn solve(&mut self, y: usize) {
        let (w, padded) = (self.w, self.w + 2 * REACH);
        // Rows beyond the picture repeat its first or last one.
        let slots: [usize; WINDOW] =
            std::array::from_fn(|k| (y + k).saturating_sub(REACH).min(self.h - 1) % WINDOW * PRODUCTS * w);
        for (p, sums) in self.sums.chunks_exact_mut(padded).enumerate() {
            let rows = slots.map(|s| &self.products[s + p * w..][..w]);
            let middle = &mut sums[REACH..REACH + w];
            for i in 0..w {
                middle[i] = (rows[0][i] + rows[4][i]) + (rows[1][i] + rows[3][i]) + rows[2][i];
            }
            let (first, last) = (middle[0], middle[w - 1]);
            sums[..REACH].fill(first);
            sums[REACH + w..].fill(last);
        }
        let window = |p: usize| -> [&[f32]; WINDOW] { std::array::from_fn(|k| &self.sums[p * padded + k..][..w]) };
        let [xx, xy, yy, xt, yt]: [[&[f32]; WINDOW]; PRODUCTS] = std::array::from_fn(window);
        let add = |p: &[&[f32]; WINDOW], i: usize| (p[0][i] + p[4][i]) + (p[1][i] + p[3][i]) + p[2][i];
        let (u, v) = (&mut self.u[y * w..][..w], &mut self.v[y * w..][..w]);
        for i in 0..w {
            let (sxx, sxy, syy) = (add(&xx, i) + REGULARISER, add(&xy, i), add(&yy, i) + REGULARISER);
            let (sxt, syt) = (add(&xt, i), add(&yt, i));
            // Gradients are in 1/64, It in 1/16: the quotient is four times too small.
            let scale = 4.0 / (sxx * syy - sxy * sxy);
            u[i] = (sxy * syt - syy * sxt) * scale;
            v[i] = (sxy * sxt - sxx * syt) * scale;
        }
    }
}

/// The middle value (the lower one of two), to 1/64 of a pixel.
fn median(flow: &[f32], bins: &mut [u32]) -> f32 {
    bins.fill(0);
    let last = BINS - 1;
    for &f in flow {
        let f = f.clamp(-MEDIAN_RANGE, MEDIAN_RANGE);
        let bin = ((f + MEDIAN_RANGE) * BINS_PER_PIXEL + 0.5) as usize;
        bins[bin.min(last)] += 1;
    }
    let half = flow.len().div_ceil(2) as u32;
    let mut seen = 0;
    let middle = bins.iter().position(|&n| {
        seen += n;
        seen >= half
    });
    middle.unwrap_or(0) as f32 / BINS_PER_PIXEL - MEDIAN_RANGE
}

/// Nearest level, ties to even. Adding 2^23 leaves no bits for a fraction: one vector add instead of a checked cast.
pub(super) fn round(level: f32) -> u8 {
    (level.clamp(0.0, 255.0) + 8_388_608.0).to_bits() as u8
}
