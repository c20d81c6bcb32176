//! What tract uses of rustfft, as a plain discrete Fourier transform. README.md says why.

pub use num_complex;
pub use num_traits;

use num_complex::Complex;
use num_traits::{FromPrimitive, Signed, Zero};
use std::fmt::Debug;
use std::marker::PhantomData;
use std::sync::Arc;

/// Numbers that can be transformed.
pub trait FftNum: Copy + FromPrimitive + Signed + Sync + Send + Debug + 'static {}
impl<T: Copy + FromPrimitive + Signed + Sync + Send + Debug + 'static> FftNum for T {}

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FftDirection {
    /// From a signal to its frequencies.
    Forward,
    /// Back; not divided by the length.
    Inverse,
}

/// A transform of one length.
pub trait Fft<T: FftNum>: Sync + Send {
    /// Transforms the numbers in place, as many as the transform is long at a time.
    fn process(&self, buffer: &mut [Complex<T>]);
}

/// Makes transforms.
#[derive(Debug)]
pub struct FftPlanner<T>(PhantomData<T>);

impl<T: FftNum> FftPlanner<T> {
    /// There is nothing to plan.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self(PhantomData)
    }

    /// A transform of `len` numbers.
    pub fn plan_fft(&mut self, len: usize, direction: FftDirection) -> Arc<dyn Fft<T>> {
        let turn = if direction == FftDirection::Forward { -std::f64::consts::TAU } else { std::f64::consts::TAU };
        let part = |value: f64| T::from_f64(value).unwrap_or_else(T::zero);
        let root = |k: usize| (turn * k as f64 / len as f64).sin_cos();
        Arc::new(Plain((0..len).map(root).map(|(sin, cos)| Complex::new(part(cos), part(sin))).collect()))
    }

    /// From a signal to its frequencies.
    pub fn plan_fft_forward(&mut self, len: usize) -> Arc<dyn Fft<T>> {
        self.plan_fft(len, FftDirection::Forward)
    }

    /// Back.
    pub fn plan_fft_inverse(&mut self, len: usize) -> Arc<dyn Fft<T>> {
        self.plan_fft(len, FftDirection::Inverse)
    }
}

/// The roots of one, in their order around the circle.
struct Plain<T>(Vec<Complex<T>>);

impl<T: FftNum> Fft<T> for Plain<T> {
    fn process(&self, buffer: &mut [Complex<T>]) {
        let len = self.0.len();
        if len == 0 {
            return;
        }
        for signal in buffer.chunks_exact_mut(len) {
            let sum = |k: usize| signal.iter().enumerate().fold(Complex::zero(), |sum, (n, x)| sum + *x * self.0[k * n % len]);
            let all: Vec<Complex<T>> = (0..len).map(sum).collect();
            signal.copy_from_slice(&all);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wave_is_one_frequency_and_comes_back() {
        for len in [1, 2, 7, 12, 64] {
            let wave = |n: usize| (std::f64::consts::TAU * 3.0 * n as f64 / len as f64).sin_cos();
            let signal: Vec<_> = (0..len).map(|n| wave(n)).map(|(sin, cos)| Complex::new(cos as f32, sin as f32)).collect();
            let mut found = signal.clone();
            let mut planner = FftPlanner::new();
            planner.plan_fft_forward(len).process(&mut found);
            for (k, x) in found.iter().enumerate() {
                let wanted = if k == 3 % len { len as f32 } else { 0.0 };
                assert!((x - Complex::new(wanted, 0.0)).norm() < 1e-3, "{len}: {k} is {x}");
            }
            planner.plan_fft_inverse(len).process(&mut found);
            for (x, back) in signal.iter().zip(&found) {
                assert!((x - back / len as f32).norm() < 1e-5, "{len}");
            }
        }
    }

    #[test]
    fn an_impulse_has_every_frequency() {
        let mut found = vec![Complex::new(0.0f64, 0.0); 5];
        found[1].re = 1.0;
        FftPlanner::new().plan_fft_forward(5).process(&mut found);
        for (k, x) in found.iter().enumerate() {
            let (sin, cos) = (-std::f64::consts::TAU * k as f64 / 5.0).sin_cos();
            assert!((x - Complex::new(cos, sin)).norm() < 1e-12);
        }
    }
}
