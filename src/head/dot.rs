//! The product of the recurrent step: rows of signed bytes times a vector of 15-bit integers, summed exactly in `i32`.
//!
//! Weights are s8 with one scale a row. The other side needs more than a byte: a state `h` of 7 bits moves the answer of
//! `models/motion` by up to 3e-3 in probability, one of 14 bits by 4e-5. So a vector is `q * factor` with `|q| <= 16256`
//! (127 * 128), held as two bytes, `q = 128 * (hi - 128) + lo`. A weight is loaded once and multiplied with both, so on
//! processors with a byte dot product the second byte costs little; where there is none (AVX2, plain NEON), 16-bit products
//! are the quick ones anyway.
//!
//! All sums are exact, so every instruction set agrees bit for bit with [`scalar`], which defines them. Depth is limited to
//! [`MAX_DEPTH`], below which nothing can overflow: `127 * 16257 * 1024 < 2^31`.
//!
//! Packing: blocks of 16 rows, in each four inputs at a time, `[block][depth / 4][16 rows][4]`: 64 bytes, one AVX-512
//! register, two of AVX2, four of NEON. Rows and depth are filled up with zeros.

#[cfg(target_arch = "x86_64")]
mod x86;
#[cfg(target_arch = "aarch64")]
mod arm;

use crate::lanes::Here;
use crate::qnn::kernels::Isa;

/// Longest vector whose products cannot overflow.
pub(super) const MAX_DEPTH: usize = 1024;
/// The largest `|q|`, before rounding.
pub(super) const STEPS: f32 = 16_256.0;
/// Rows of a block.
pub(super) const LANES: usize = 16;

/// 64 bytes that lie in one cache line.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(super) struct Chunk([i8; 64]);

/// A vector of 15-bit integers and what one step of them is worth.
#[derive(Clone, Debug)]
pub(super) struct Levels {
    /// `q`, for 16-bit products.
    q: Box<[i16]>,
    /// `(q + 16384) >> 7`.
    hi: Box<[u8]>,
    /// `q & 127`.
    lo: Box<[u8]>,
    /// The value of one step; not a number where a value was not finite, so that it shows in every product.
    pub(super) factor: f32,
}

impl Levels {
    /// `len` zeros.
    pub(super) fn new(len: usize) -> Self {
        let len = len.next_multiple_of(4);
        Self { q: vec![0; len].into(), hi: vec![128; len].into(), lo: vec![0; len].into(), factor: 0.0 }
    }

    /// Takes numbers of any size: the largest becomes [`STEPS`]. Below 1e-30 all is 0.
    pub(super) fn take_any(&mut self, here: Here, values: &[f32]) {
        let top = super::gates::largest(here, values);
        if top < 1e-30 {
            self.fill(here, values, 0.0);
            self.factor = 0.0;
        } else {
            self.fill(here, values, STEPS / top);
            self.factor = if top.is_finite() { top / STEPS } else { f32::NAN };
        }
    }

    /// Takes numbers from -1 to 1.
    pub(super) fn take_unit(&mut self, here: Here, values: &[f32]) {
        self.fill(here, values, STEPS);
        self.factor = if super::gates::largest(here, values).is_finite() { 1.0 / STEPS } else { f32::NAN };
    }

    fn fill(&mut self, here: Here, values: &[f32], per_one: f32) {
        let n = values.len();
        super::gates::quantise(here, values, per_one, (&mut self.q[..n], &mut self.hi[..n], &mut self.lo[..n]));
    }
}

/// Rows of s8 weights, packed.
#[derive(Clone, Debug)]
pub(super) struct Rows {
    here: Here,
    chunks: Box<[Chunk]>,
    /// Inputs, in fours.
    fours: usize,
    /// `128 * sum of the row`, which the unsigned high byte brings too much of.
    sums: Box<[i32]>,
    scale: Box<[f32]>,
    products: Box<[i32]>,
}

impl Rows {
    /// Packs `weights` `[rows][depth]`, `scale` `[rows]`. Rows are filled up to a multiple of [`LANES`].
    pub(super) fn pack(here: Here, weights: &[i8], scale: &[f32], depth: usize) -> Self {
        assert!(depth > 0 && depth <= MAX_DEPTH && weights.len() == scale.len() * depth, "checked when the graph was read");
        let (fours, blocks) = (depth.div_ceil(4), scale.len().div_ceil(LANES));
        let mut chunks = vec![Chunk([0; 64]); blocks * fours];
        let mut sums = vec![0; blocks * LANES];
        for (r, row) in weights.chunks_exact(depth).enumerate() {
            for (k, w) in row.iter().enumerate() {
                chunks[r / LANES * fours + k / 4].0[r % LANES * 4 + k % 4] = *w;
                sums[r] += 128 * i32::from(*w);
            }
        }
        let mut padded = scale.to_vec();
        padded.resize(blocks * LANES, 0.0);
        let products = vec![0; blocks * LANES].into();
        Self { here, chunks: chunks.into(), fours, sums: sums.into(), scale: padded.into(), products }
    }

    /// `out[r] = (sum over k of weights[r, k] * x[k]) * (scale[r] * x.factor)`.
    pub(super) fn times(&mut self, x: &Levels, out: &mut [f32]) {
        assert!(x.q.len() == 4 * self.fours && out.len() == self.products.len(), "sizes are fixed at load");
        self.sum(x);
        super::gates::scaled(self.here, &self.products, &self.scale, x.factor, out);
    }

    fn sum(&mut self, x: &Levels) {
        let Self { here, chunks, fours, sums, products, .. } = self;
        match here.isa() {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `Here` holds an instruction set that was detected on this processor; sizes were checked by `times`.
            #[allow(unsafe_code)]
            isa @ (Isa::Avx2 | Isa::AvxVnni | Isa::Avx512Vnni) => unsafe {
                match isa {
                    Isa::Avx2 => x86::avx2(chunks, *fours, &x.q, products),
                    Isa::AvxVnni => x86::avxvnni(chunks, *fours, (&x.hi, &x.lo), sums, products),
                    _ => x86::vnni(chunks, *fours, (&x.hi, &x.lo), sums, products),
                }
            },
            #[cfg(target_arch = "aarch64")]
            // SAFETY: `Here` holds an instruction set that was detected on this processor; sizes were checked by `times`.
            #[allow(unsafe_code)]
            isa @ (Isa::Neon | Isa::Dotprod) => unsafe {
                match isa {
                    Isa::Neon => arm::neon(chunks, *fours, &x.q, products),
                    _ => arm::dotprod(chunks, *fours, (&x.hi, &x.lo), products),
                }
            },
            _ => scalar(chunks, *fours, &x.q, products),
        }
        let _ = sums;
    }
}

/// The definition: `products[r] = sum over k of weights[r, k] * q[k]`.
fn scalar(chunks: &[Chunk], fours: usize, q: &[i16], products: &mut [i32]) {
    for (block, products) in chunks.chunks_exact(fours).zip(products.chunks_exact_mut(LANES)) {
        products.fill(0);
        for (chunk, q) in block.iter().zip(q.chunks_exact(4)) {
            for (product, w) in products.iter_mut().zip(chunk.0.chunks_exact(4)) {
                *product += w.iter().zip(q).map(|(w, q)| i32::from(*w) * i32::from(*q)).sum::<i32>();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A repeatable stream of numbers below `n`.
    fn stream(mut x: u32) -> impl FnMut(u32) -> u32 {
        move |n| {
            x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (x >> 9) % n
        }
    }

    #[test]
    fn every_instruction_set_sums_exactly_what_the_definition_sums() {
        let mut next = stream(7);
        for (rows, depth) in [(1, 1), (16, 4), (17, 5), (40, 12), (64, 64), (96, 33), (256, 64), (130, 577), (48, MAX_DEPTH)] {
            for extreme in [false, true] {
                let weights: Vec<i8> = (0..rows * depth)
                    .map(|_| if extreme { [-127i8, 127][next(2) as usize] } else { next(256) as u8 as i8 })
                    .collect();
                let values: Vec<f32> = (0..depth)
                    .map(|_| if extreme { 1.0 - 2.0 * next(2) as f32 } else { next(2001) as f32 / 1000.0 - 1.0 })
                    .collect();
                let scale = vec![1.0; rows];
                let sums = |isa| {
                    let mut x = Levels::new(depth);
                    x.take_unit(Here::of(isa), &values);
                    let mut packed = Rows::pack(Here::of(isa), &weights, &scale, depth);
                    packed.sum(&x);
                    (x.q.to_vec(), packed.products.to_vec())
                };
                let (q, wanted) = sums(Isa::Scalar);
                for (r, row) in weights.chunks_exact(depth).enumerate() {
                    let by_hand: i64 = row.iter().zip(&q).map(|(w, q)| i64::from(*w) * i64::from(*q)).sum();
                    assert_eq!(i64::from(wanted[r]), by_hand, "the definition itself, row {r} of {rows}x{depth}");
                }
                for &isa in Isa::available() {
                    assert_eq!(sums(isa), (q.clone(), wanted.clone()), "{isa}, {rows}x{depth}");
                }
            }
        }
    }

    #[test]
    fn a_number_is_kept_to_a_part_in_32512_of_the_largest_and_none_that_is_not_finite_is_lost() {
        for &isa in Isa::available() {
            let values: Vec<f32> = (0..50).map(|n| (n as f32 - 20.0) * 0.37).collect();
            let mut x = Levels::new(values.len());
            x.take_any(Here::of(isa), &values);
            let top = values.iter().fold(0.0f32, |t, v| t.max(v.abs()));
            for (k, v) in values.iter().enumerate() {
                assert!((f32::from(x.q[k]) * x.factor - v).abs() <= top / 32_000.0, "{isa}: {v}");
                assert_eq!(i32::from(x.q[k]), 128 * (i32::from(x.hi[k]) - 128) + i32::from(x.lo[k]));
            }
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut values = values.clone();
                values[33] = bad;
                x.take_any(Here::of(isa), &values);
                assert!(x.factor.is_nan());
                x.take_unit(Here::of(isa), &values);
                assert!(x.factor.is_nan());
            }
            x.take_any(Here::of(isa), &[0.0; 50]);
            assert!(x.factor == 0.0 && x.q.iter().all(|q| *q == 0));
        }
    }
}
