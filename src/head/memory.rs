//! One recurrent network by itself, for whoever wants what it remembers and no classes: novelty (`crate::novelty`).
//!
//! It is read from an ONNX file, or drawn from a seed and never trained: an echo state network. Such a layer keeps a fading trace of the last seconds,
//! at as many paces as it has hidden numbers; all that has to be learnt stands behind it and is linear, so a box can learn it by itself in seconds,
//! with one answer and no learning rate. Both run on the same int8 cells as every head, and give the same bits on every processor.

use super::cell::{Kind, Layer, Weights};
use super::own::Own;
use super::read::{self, Link, Order};
use crate::lanes::Here;
use crate::onnx;
use crate::rng::Rng;

/// See the module's documentation.
#[derive(Clone, Debug)]
pub struct Memory {
    own: Own,
    row: Box<[f32]>,
}

impl Memory {
    /// A GRU of `hidden` numbers over `features` numbers a tick, about 0 and of deviation 1 each.
    ///
    /// Products of the input and of the state come to about 0.7 and 1 in deviation, so that gates work in their middle; the biases of the gate
    /// that keeps are spread from half a tick to twenty, which is what makes the paces differ.
    pub fn drawn(features: usize, hidden: usize, seed: u64) -> Option<Self> {
        let mut draw = Rng(seed);
        let mut even = |n: usize, reach: f32| (0..n).map(|_| draw.within(-reach, reach)).collect::<Vec<f32>>();
        // Even numbers within one have a deviation of 1 / sqrt(3).
        let (w, r) = (0.7 * (3.0 / features as f32).sqrt(), (3.0 / hidden as f32).sqrt());
        let input = Weights { values: even(3 * hidden * features, w), bytes: None, depth: features };
        let recurrent = Weights { values: even(3 * hidden * hidden, r), bytes: None, depth: hidden };
        let mut bias = even(3 * hidden, 0.3);
        bias[..hidden].iter_mut().zip(even(hidden, 2.0)).for_each(|(b, spread)| *b += 1.0 + spread);
        let layer = Layer { kind: Kind::Gru { late: false }, hidden, input, recurrent, bias: (bias, vec![0.0; 3 * hidden]) };
        Self::of(&[Link::Layer(layer)], features)
    }

    /// The recurrent layers of an ONNX file `[1, T, features]` to anything; what stands behind the last of them is left out.
    ///
    /// # Errors
    /// Why it is none that our own cells can run, in a few words.
    pub fn read(file: &[u8], features: usize) -> Result<Self, String> {
        let proto = onnx::parse(file)?;
        let (_, dims) = onnx::input_fact(&proto)?;
        let window = match dims[..] {
            [Some(1) | None, t, Some(d)] if d == features => t.unwrap_or(1),
            _ => return Err(format!("an input of shape {dims:?}, expected 1 x ticks x {features}")),
        };
        let chain = read::chain(&proto, window, features, Order::BatchFirst)?;
        Self::of(&chain, features).ok_or_else(|| "no recurrent layer that our own cells run".into())
    }

    fn of(chain: &[Link], features: usize) -> Option<Self> {
        let own = Own::new(chain, None, features, true, Here::best())?;
        Some(Self { row: vec![0.0; own.row()].into(), own })
    }

    /// Numbers that it remembers with.
    pub fn hidden(&self) -> usize {
        self.own.state().len()
    }

    /// Which cells, in which arithmetic, by which instructions.
    pub fn words(&self) -> &str {
        self.own.words()
    }

    /// One tick. What it remembers then, `hidden` numbers within one.
    pub fn step(&mut self, x: &[f32]) -> &[f32] {
        // The only way to fail is a wrong length, which leaves the row as it was.
        if self.own.project(x, &mut self.row).is_ok() {
            self.own.step(&self.row);
        }
        self.own.state()
    }

    /// What it remembers as bytes, for another run.
    pub fn remember(&self, to: &mut Vec<u8>) {
        self.own.remember(to);
    }

    /// Goes on from there; `None`: those are not its own.
    pub fn recall(&mut self, from: &mut &[u8]) -> Option<()> {
        self.own.recall(from)
    }

    /// Back to remembering nothing.
    pub fn forget(&mut self) {
        self.own.forget();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_remembers_for_a_while_and_then_forgets() {
        let mut a = Memory::drawn(4, 48, 1).expect("a layer");
        let mut b = a.clone();
        a.step(&[3.0, -3.0, 3.0, -3.0]);
        b.step(&[0.0; 4]);
        let mut apart = |n: usize| {
            let mut d = 0.0f32;
            for _ in 0..n {
                let (x, y) = (a.step(&[0.0; 4]).to_vec(), b.step(&[0.0; 4]).to_vec());
                d = x.iter().zip(&y).map(|(x, y)| (x - y).powi(2)).sum::<f32>().sqrt();
            }
            d
        };
        let (soon, late) = (apart(3), apart(300));
        assert!(soon > 0.3 && late < 1e-2 * soon, "{soon} after 3 ticks, {late} after 303");
    }

    #[test]
    fn a_file_that_is_none_is_said() {
        assert!(Memory::read(b"nothing of the kind", 4).is_err());
        let bundle = crate::baked::bundle().expect("the built-in bundle");
        let head = bundle.file(crate::bundle::HEAD).expect("a head");
        let features = bundle.features();
        assert_eq!(Memory::read(head, features).expect("a head is such a file").hidden(), 96);
        let said = Memory::read(head, features + 1).expect_err("another width");
        assert!(said.contains(&format!("1 x ticks x {}", features + 1)), "{said}");
    }
}
