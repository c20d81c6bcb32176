//! Sigmoid, tanh and what the gates of a cell do with them, over whole vectors.
//!
//! `tanh` is a quotient of polynomials (degree 13 over 6, after Eigen's), and `sigmoid(x) = 0.5 + 0.5 * tanh(x / 2)`; both
//! are within [`ERROR`] of the truth everywhere and never beyond ±1, and a number that is not one stays so. Every step
//! is one rounded f32 operation in the order written, never a fused one: compiled for any instruction set, the bits are the
//! same. So each function below stands once in plain Rust, and is compiled again for wider registers ([`crate::lanes`]).
//!
//! A layer's vectors are filled up to a multiple of 16: whatever is computed there stays 0 and meets weights of 0.

use crate::lanes::widen;

/// Largest |difference| of [`tanh`] and [`sigmoid`] from the true value.
#[cfg(test)]
pub(super) const ERROR: f32 = 4e-7;

#[inline(always)]
pub(super) fn tanh(x: f32) -> f32 {
    const TOP: f32 = 7.905_311;
    // Comparisons, not `min` and `max`: these would turn a NaN into a number.
    let x = if x > TOP { TOP } else { x };
    let x = if x < -TOP { -TOP } else { x };
    let s = x * x;
    let mut p = -2.760_768_5e-16;
    for a in [2.000_188e-13, -8.604_672e-11, 5.122_297e-8, 1.485_722_4e-5, 6.372_619e-4, 4.893_524_6e-3] {
        p = p * s + a;
    }
    let mut q = 1.198_258_4e-6;
    for b in [1.185_347_1e-4, 2.268_434_6e-3, 4.893_525e-3] {
        q = q * s + b;
    }
    x * p / q
}

#[inline(always)]
pub(super) fn sigmoid(x: f32) -> f32 {
    0.5 + 0.5 * tanh(0.5 * x)
}

widen! {
    /// The largest |value|; infinite or not a number as soon as one value is.
    pub(super) largest = plain_largest(values: &[f32]) -> f32
}

#[inline(always)]
fn plain_largest(values: &[f32]) -> f32 {
    // Without their sign, the bits of floats are in the order of their values, and NaN above all.
    f32::from_bits(values.iter().map(|v| v.to_bits() & 0x7fff_ffff).max().unwrap_or(0))
}

widen! {
    /// `q = round(value * per_one)`, and its two bytes as [`super::dot::Levels`] has them.
    pub(super) quantise = plain_quantise(values: &[f32], per_one: f32, to: (&mut [i16], &mut [u8], &mut [u8]))
}

#[inline(always)]
fn plain_quantise(values: &[f32], per_one: f32, to: (&mut [i16], &mut [u8], &mut [u8])) {
    let n = values.len();
    let (q, hi, lo) = (&mut to.0[..n], &mut to.1[..n], &mut to.2[..n]);
    for k in 0..n {
        // Adding 1.5 * 2^23 rounds to the nearest even integer and leaves it in the lowest bits.
        let bits = (values[k] * per_one + 12_582_912.0).to_bits().cast_signed();
        let level = bits.wrapping_sub(0x4b40_0000);
        q[k] = level as i16;
        hi[k] = (level.wrapping_add(16_384) >> 7) as u8;
        lo[k] = (level & 127) as u8;
    }
}

widen! {
    /// `out = product * (scale * factor)`.
    pub(super) scaled = plain_scaled(products: &[i32], scale: &[f32], factor: f32, out: &mut [f32])
}

#[inline(always)]
fn plain_scaled(products: &[i32], scale: &[f32], factor: f32, out: &mut [f32]) {
    let n = out.len();
    let (products, scale) = (&products[..n], &scale[..n]);
    for k in 0..n {
        out[k] = products[k] as f32 * (scale[k] * factor);
    }
}

widen! {
    /// `to += from`.
    pub(super) add = plain_add(to: &mut [f32], from: &[f32])
}

#[inline(always)]
fn plain_add(to: &mut [f32], from: &[f32]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
}

widen! {
    /// LSTM, gates in ONNX's order i, o, f, c: `given` is the input's half of them, `state` the recurrent half.
    pub(super) lstm = plain_lstm(given: &[f32], state: &[f32], c: &mut [f32], h: &mut [f32])
}

#[inline(always)]
fn plain_lstm(given: &[f32], state: &[f32], c: &mut [f32], h: &mut [f32]) {
    let n = h.len();
    let (given, state, c) = (&given[..4 * n], &state[..4 * n], &mut c[..n]);
    let (gi, go, gf, gc) = (&given[..n], &given[n..2 * n], &given[2 * n..3 * n], &given[3 * n..]);
    let (si, so, sf, sc) = (&state[..n], &state[n..2 * n], &state[2 * n..3 * n], &state[3 * n..]);
    for k in 0..n {
        let cell = sigmoid(gf[k] + sf[k]) * c[k] + sigmoid(gi[k] + si[k]) * tanh(gc[k] + sc[k]);
        c[k] = cell;
        h[k] = sigmoid(go[k] + so[k]) * tanh(cell);
    }
}

widen! {
    /// GRU, gates z, r, h: the reset is laid on the recurrent half of h, bias included (`linear_before_reset = 1`).
    pub(super) gru = plain_gru(given: &[f32], state: &[f32], bias: &[f32], h: &mut [f32])
}

#[inline(always)]
fn plain_gru(given: &[f32], state: &[f32], bias: &[f32], h: &mut [f32]) {
    let n = h.len();
    let (given, state, bias) = (&given[..3 * n], &state[..3 * n], &bias[..n]);
    let (gz, gr, gh) = (&given[..n], &given[n..2 * n], &given[2 * n..]);
    let (sz, sr, sh) = (&state[..n], &state[n..2 * n], &state[2 * n..]);
    for k in 0..n {
        let z = sigmoid(gz[k] + sz[k]);
        let r = sigmoid(gr[k] + sr[k]);
        let new = tanh(gh[k] + r * (sh[k] + bias[k]));
        h[k] = (1.0 - z) * new + z * h[k];
    }
}

widen! {
    /// GRU with `linear_before_reset = 0`, first half: `reset = r * h`, to be multiplied by the weights of h.
    pub(super) gru_reset = plain_gru_reset(given: &[f32], state: &[f32], h: &[f32], reset: &mut [f32])
}

#[inline(always)]
fn plain_gru_reset(given: &[f32], state: &[f32], h: &[f32], reset: &mut [f32]) {
    let n = h.len();
    let (given, state, reset) = (&given[n..2 * n], &state[n..2 * n], &mut reset[..n]);
    for k in 0..n {
        reset[k] = sigmoid(given[k] + state[k]) * h[k];
    }
}

widen! {
    /// The second half: `late` is what those weights made of it.
    pub(super) gru_late = plain_gru_late(given: &[f32], state: &[f32], late: &[f32], bias: &[f32], h: &mut [f32])
}

#[inline(always)]
fn plain_gru_late(given: &[f32], state: &[f32], late: &[f32], bias: &[f32], h: &mut [f32]) {
    let n = h.len();
    let (gz, gh, sz, late, bias) = (&given[..n], &given[2 * n..3 * n], &state[..n], &late[..n], &bias[..n]);
    for k in 0..n {
        let z = sigmoid(gz[k] + sz[k]);
        h[k] = (1.0 - z) * tanh(gh[k] + (late[k] + bias[k])) + z * h[k];
    }
}

widen! {
    /// RNN.
    pub(super) rnn = plain_rnn(given: &[f32], state: &[f32], h: &mut [f32])
}

#[inline(always)]
fn plain_rnn(given: &[f32], state: &[f32], h: &mut [f32]) {
    let n = h.len();
    let (given, state) = (&given[..n], &state[..n]);
    for k in 0..n {
        h[k] = tanh(given[k] + state[k]);
    }
}

widen! {
    /// Weights in f32, packed `[block][depth][16 rows]`: each row's sum runs over the inputs in order.
    pub(super) floats = plain_floats(packed: &[[f32; 16]], x: &[f32], out: &mut [f32])
}

#[inline(always)]
fn plain_floats(packed: &[[f32; 16]], x: &[f32], out: &mut [f32]) {
    let depth = x.len();
    // Four blocks at once hide the latency of the additions.
    for (four, out) in packed.chunks(4 * depth).zip(out.chunks_mut(64)) {
        if out.len() == 64 {
            let mut sums = [[0.0f32; 16]; 4];
            let (a, rest) = four.split_at(depth);
            let (b, rest) = rest.split_at(depth);
            let (c, d) = rest.split_at(depth);
            for (k, x) in x.iter().enumerate() {
                for (sums, w) in sums.iter_mut().zip([&a[k], &b[k], &c[k], &d[k]]) {
                    sums.iter_mut().zip(w).for_each(|(s, w)| *s += w * x);
                }
            }
            out.copy_from_slice(sums.as_flattened());
        } else {
            for (one, out) in four.chunks_exact(depth).zip(out.chunks_exact_mut(16)) {
                let mut sums = [0.0f32; 16];
                for (w, x) in one.iter().zip(x) {
                    sums.iter_mut().zip(w).for_each(|(s, w)| *s += w * x);
                }
                out.copy_from_slice(&sums);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lanes::Here;
    use crate::qnn::kernels::Isa;

    /// Numbers of both signs and every size, each exponent with many mantissas.
    fn all_sizes() -> Vec<f32> {
        let bits = (0..=0x7f7f_ffffu32).step_by(40_009).chain([0, 1, 0x7f7f_ffff]);
        let mut all: Vec<f32> = bits.map(f32::from_bits).flat_map(|v| [v, -v]).collect();
        all.extend((-100_000..=100_000).map(|n| n as f32 * 2e-4));
        all
    }

    #[test]
    fn sigmoid_and_tanh_keep_their_stated_error_over_the_whole_range() {
        let (mut worst_tanh, mut worst_sigmoid) = (0.0f64, 0.0f64);
        for x in all_sizes() {
            let truth = f64::from(x).tanh();
            worst_tanh = worst_tanh.max((f64::from(tanh(x)) - truth).abs());
            let truth = 1.0 / (1.0 + (-f64::from(x)).exp());
            worst_sigmoid = worst_sigmoid.max((f64::from(sigmoid(x)) - truth).abs());
            assert!(tanh(x).abs() <= 1.0 && (0.0..=1.0).contains(&sigmoid(x)), "{x}: what `Levels::take_unit` takes");
        }
        assert!(worst_tanh <= f64::from(ERROR) && worst_sigmoid <= f64::from(ERROR), "{worst_tanh:e} {worst_sigmoid:e}");
        // So that the bound means something: it is not ten times what is needed.
        assert!(worst_tanh > f64::from(ERROR) / 10.0, "{worst_tanh:e}");
    }

    #[test]
    fn what_is_not_a_number_stays_so_and_infinities_saturate() {
        assert!(tanh(f32::NAN).is_nan() && sigmoid(f32::NAN).is_nan());
        for (x, t, s) in [(f32::INFINITY, 1.0, 1.0), (f32::NEG_INFINITY, -1.0, 0.0)] {
            assert!((tanh(x) - t).abs() <= ERROR && (sigmoid(x) - s).abs() <= ERROR);
        }
    }

    #[test]
    fn every_instruction_set_computes_the_same_bits() {
        let n = 48;
        let values: Vec<f32> = all_sizes().into_iter().filter(|v| v.abs() < 50.0).step_by(37).collect();
        let bits = |isa: Isa| {
            let here = Here::of(isa);
            let mut all: Vec<f32> = vec![];
            for window in values.chunks_exact(10 * n) {
                let (given, rest) = window.split_at(4 * n);
                let (state, rest) = rest.split_at(4 * n);
                let (mut c, mut h) = (rest[..n].to_vec(), rest[n..].to_vec());
                h.iter_mut().for_each(|h| *h = tanh(*h));
                lstm(here, given, state, &mut c, &mut h);
                all.extend(c.iter().chain(&h));
                gru(here, given, state, &rest[..n], &mut h);
                all.extend(&h);
                let mut reset = vec![0.0; n];
                gru_reset(here, given, state, &h, &mut reset);
                gru_late(here, given, state, &reset, &rest[..n], &mut h);
                all.extend(&h);
                rnn(here, given, state, &mut h);
                all.extend(&h);
                all.push(largest(here, given));
                let packed: Vec<[f32; 16]> = given.chunks_exact(16).map(|c| std::array::from_fn(|k| c[k])).collect();
                let mut out = vec![0.0; 96];
                floats(here, &packed[..6], &state[..1], &mut out);
                floats(here, &packed[..10], &state[..2], &mut out[..80]);
                all.extend(&out);
            }
            all.into_iter().map(f32::to_bits).collect::<Vec<_>>()
        };
        let wanted = bits(Isa::Scalar);
        assert!(wanted.len() > 1_000);
        for &isa in Isa::available() {
            assert!(bits(isa) == wanted, "{isa}");
        }
    }
}
