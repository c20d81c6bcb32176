//! Plain code over rows of numbers, compiled again for the wider registers of this machine.
//!
//! A program for any x86-64 has four floats a register; most of these processors have eight or sixteen. So a loop that runs every tick stands once
//! in plain Rust and [`widen`] compiles it for each width; which one runs is looked up once ([`Here`]).
//!
//! A compiler may not change the order of a sum of floats, so a single sum would be made one number after the other: sums here have [`LANES`] lanes
//! and a rest. Every step is one rounded operation in the order written, never a fused one. That order is the same for any register
//! and on every machine, so the results are.

use crate::qnn::kernels::Isa;

/// Sums beside each other: as many as the widest register has, and enough that narrower ones need not wait for one addition before the next.
pub(crate) const LANES: usize = 16;

/// An instruction set that this processor has: what widened code is called with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Here(Isa);

impl Here {
    /// `isa`, or the plain definition where the processor lacks it.
    pub(crate) fn of(isa: Isa) -> Self {
        Self(if Isa::available().contains(&isa) { isa } else { Isa::Scalar })
    }

    /// The fastest.
    pub(crate) fn best() -> Self {
        Self(Isa::best())
    }

    pub(crate) fn isa(self) -> Isa {
        self.0
    }
}

/// Defines `$name(here, ...)` from a plain function, which has to be `#[inline(always)]`: the same code, compiled for what this processor has.
macro_rules! widen {
    ($(#[$doc:meta])* $see:vis $name:ident = $plain:ident($($arg:ident: $type:ty),*) $(-> $out:ty)?) => {
        $(#[$doc])*
        #[allow(unsafe_code, reason = "a call of the same plain code, compiled for registers that are there")]
        $see fn $name(here: $crate::lanes::Here, $($arg: $type),*) $(-> $out)? {
            #[cfg(target_arch = "x86_64")]
            {
                use $crate::qnn::kernels::Isa;
                #[target_feature(enable = "avx2")]
                fn avx2($($arg: $type),*) $(-> $out)? {
                    $plain($($arg),*)
                }
                #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
                fn avx512($($arg: $type),*) $(-> $out)? {
                    $plain($($arg),*)
                }
                match here.isa() {
                    // SAFETY: `Here` holds an instruction set that was detected on this processor.
                    Isa::Avx512Vnni => return unsafe { avx512($($arg),*) },
                    // SAFETY: as above; AVX-VNNI is only taken together with AVX2.
                    Isa::Avx2 | Isa::AvxVnni => return unsafe { avx2($($arg),*) },
                    _ => {}
                }
            }
            let _ = here;
            $plain($($arg),*)
        }
    };
}
pub(crate) use widen;

/// Sum of `term` over both rows, which are of one length.
#[inline(always)]
fn sum(a: &[f32], b: &[f32], term: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (wide_a, wide_b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f32 = wide_a.remainder().iter().zip(wide_b.remainder()).map(|(a, b)| term(*a, *b)).sum();
    for (a, b) in wide_a.zip(wide_b) {
        for (lane, (a, b)) in lanes.iter_mut().zip(a.iter().zip(b)) {
            *lane += term(*a, *b);
        }
    }
    // Halves upon each other. Out of sight of the loop, which the compiler would else cut into pairs, for the sake of this.
    let mut lanes = std::hint::black_box(lanes);
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        let (low, high) = lanes.split_at_mut(width);
        low.iter_mut().zip(high).for_each(|(low, high)| *low += *high);
    }
    lanes[0] + rest
}

#[inline(always)]
fn squares(a: &[f32], b: &[f32]) -> f32 {
    sum(a, b, |a, b| (a - b) * (a - b))
}

widen! {
    /// Squared distance.
    pub(crate) apart = squares(a: &[f32], b: &[f32]) -> f32
}

/// Rows that stand side by side in a block: four of the widest registers, so that no addition waits for the one before.
pub(crate) const SIDE: usize = 4 * LANES;

/// Rows `[row][numbers]` side by side: block after block of [`SIDE`] rows, in each the first numbers of all its rows, then the second ones. A block is
/// filled up with rows that are nowhere.
pub(crate) fn beside(rows: &[f32], numbers: usize) -> Vec<f32> {
    let block = |rows: &[f32]| {
        let at = |n: usize, k: usize| rows.get(n * numbers + k).copied().unwrap_or(f32::INFINITY);
        (0..numbers).flat_map(|k| (0..SIDE).map(move |n| (n, k))).map(|(n, k)| at(n, k)).collect::<Vec<_>>()
    };
    rows.chunks(SIDE * numbers).flat_map(block).collect()
}

widen! {
    /// The nearest of some rows as long as `x`, which stand [`beside`] each other: which, and its squared distance.
    pub(crate) nearest = least(rows: &[f32], x: &[f32]) -> (usize, f32)
}

#[inline(always)]
fn least(rows: &[f32], x: &[f32]) -> (usize, f32) {
    // Loops: what a chain of adaptors calls is not compiled for the wider registers.
    let (columns, _) = rows.as_chunks::<SIDE>();
    let mut best = (0, f32::INFINITY);
    for (b, block) in columns.chunks_exact(x.len()).enumerate() {
        let mut far = [0.0f32; SIDE];
        for (column, x) in block.iter().zip(x) {
            for n in 0..SIDE {
                far[n] += (column[n] - x) * (column[n] - x);
            }
        }
        for (n, far) in far.iter().enumerate() {
            if *far < best.1 {
                best = (b * SIDE + n, *far);
            }
        }
    }
    best
}

/// A lower triangle of `rows` rows as [`triangle`] reads it: side by side in blocks like [`beside`], each as long as its longest row.
pub(crate) fn lower(rows: usize, at: impl Fn(usize, usize) -> f32) -> Vec<f32> {
    let number = |n: usize, k: usize| if n < rows && k <= n { at(n, k) } else { 0.0 };
    (0..rows)
        .step_by(SIDE)
        .flat_map(|first| (0..(first + SIDE).min(rows)).flat_map(move |k| (first..first + SIDE).map(move |n| (n, k))))
        .map(|(n, k)| number(n, k))
        .collect()
}

widen! {
    /// A [`lower`] triangle times `x`.
    pub(crate) triangle = plain_triangle(rows: &[f32], x: &[f32], to: &mut [f32])
}

#[inline(always)]
fn plain_triangle(rows: &[f32], x: &[f32], to: &mut [f32]) {
    let (mut rest, _) = rows.as_chunks::<SIDE>();
    for (b, to) in to.chunks_mut(SIDE).enumerate() {
        let (block, below) = rest.split_at(((b + 1) * SIDE).min(x.len()));
        let mut sums = [0.0f32; SIDE];
        for (column, x) in block.iter().zip(x) {
            for n in 0..SIDE {
                sums[n] += column[n] * x;
            }
        }
        to.copy_from_slice(&sums[..to.len()]);
        rest = below;
    }
}

widen! {
    /// Adds `sign` times `weights` `[x][to]` times `x`; nothing for no weights.
    pub(crate) add_product = plain_add_product(weights: &[f32], x: &[f32], sign: f32, to: &mut [f32])
}

#[inline(always)]
fn plain_add_product(weights: &[f32], x: &[f32], sign: f32, to: &mut [f32]) {
    let width = to.len();
    let rows = weights.len() / width.max(1);
    let mut at = 0;
    // Two registers of sums stay where they are while all of `x` passes.
    let mut blocks = to.chunks_exact_mut(2 * LANES);
    for block in &mut blocks {
        let mut sums = [0.0; 2 * LANES];
        sums.copy_from_slice(block);
        for (row, a) in x[..rows.min(x.len())].iter().enumerate() {
            let weights = &weights[row * width + at..][..2 * LANES];
            sums.iter_mut().zip(weights).for_each(|(to, w)| *to += sign * a * w);
        }
        block.copy_from_slice(&sums);
        at += 2 * LANES;
    }
    let rest = blocks.into_remainder();
    for (a, weights) in x.iter().zip(weights.chunks_exact(width.max(1))) {
        rest.iter_mut().zip(&weights[at..]).for_each(|(to, w)| *to += sign * a * w);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> impl Iterator<Item = Here> {
        Isa::available().iter().map(|isa| Here::of(*isa))
    }

    #[test]
    fn every_number_counts_once_whatever_the_length() {
        for n in 0..80u32 {
            let (a, b): (Vec<f32>, Vec<f32>) = (0..n).map(|k| (k as f32, 2.0 * k as f32)).unzip();
            // Small whole numbers: exact in any order.
            let squares: f32 = (0..n).map(|k| (k * k) as f32).sum();
            for here in all() {
                assert_eq!(apart(here, &a, &b), squares, "{n} numbers, {here:?}");
                let rows = lower(n as usize, |row, k| (row + k) as f32);
                let mut to = vec![0.0; n as usize];
                triangle(here, &rows, &a, &mut to);
                let wanted: Vec<f32> = (0..n).map(|row| (0..=row).map(|k| ((row + k) * k) as f32).sum()).collect();
                assert_eq!(to, wanted, "{n} numbers, {here:?}");
                let weights: Vec<f32> = (0..3 * n).map(|k| (k % 11) as f32).collect();
                let mut to = a.clone();
                add_product(here, &weights, &[1.0, 2.0, 5.0], -1.0, &mut to);
                let term = |row: u32, k: u32| ((row * n + k) % 11) as f32;
                let wanted: Vec<f32> = (0..n).map(|k| k as f32 - term(0, k) - 2.0 * term(1, k) - 5.0 * term(2, k)).collect();
                assert_eq!(to, wanted, "{n} numbers, {here:?}");
            }
        }
    }

    #[test]
    fn every_instruction_set_gives_the_same_bits() {
        let mut draw = crate::rng::Rng(5);
        let mut numbers = |n: usize| (0..n).map(|_| draw.within(-3.0, 3.0)).collect::<Vec<f32>>();
        for n in [1, 15, 16, 17, 96, 161, 192] {
            let (rows, x) = (numbers(n * n), numbers(n));
            let (side, below) = (beside(&rows, n), lower(n, |r, k| rows[r * n + k]));
            let found = |here| {
                let (mut whole, mut product) = (x.clone(), x.clone());
                add_product(here, &rows, &x, 0.7, &mut whole);
                triangle(here, &below, &x, &mut product);
                let (which, far) = nearest(here, &side, &x);
                (which, far.to_bits(), whole.iter().chain(&product).map(|v| v.to_bits()).collect::<Vec<_>>())
            };
            let plain = found(Here::of(Isa::Scalar));
            all().for_each(|here| assert_eq!(found(here), plain, "{n} numbers, {here:?}"));
        }
    }

    #[test]
    fn the_nearest_is_found() {
        // A block and a half of rows of two numbers.
        let rows: Vec<f32> = (0..SIDE + SIDE / 2).flat_map(|n| [n as f32, 0.0]).collect();
        for n in [0, 1, SIDE - 1, SIDE, SIDE + SIDE / 2 - 1] {
            all().for_each(|here| assert_eq!(nearest(here, &beside(&rows, 2), &[n as f32 + 0.25, 2.0]), (n, 4.0625), "{here:?}"));
        }
    }
}
