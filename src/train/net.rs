//! The recurrent head while it learns: LSTM, GRU or plain RNN over windows from zero state, then a dense layer.
//!
//! Weights lie in the order of ONNX's gates (LSTM i o f c, GRU z r h with the reset applied after the product, as PyTorch has it), so that
//! writing the head is copying it. The input products of all ticks are one matrix product; only the recurrent half goes tick by tick.

use super::ops::sigmoid;
use crate::rng::Rng;
use candle_core::{Device, Result, Tensor, Var};

/// The kind of recurrent cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Cell {
    /// Long short-term memory.
    Lstm,
    /// Gated recurrent unit.
    Gru,
    /// Plain, tanh.
    Rnn,
}

impl Cell {
    /// Gates: rows of weights for each hidden number.
    pub const fn gates(self) -> usize {
        match self {
            Self::Lstm => 4,
            Self::Gru => 3,
            Self::Rnn => 1,
        }
    }

    /// ONNX's operator.
    pub const fn operator(self) -> &'static str {
        match self {
            Self::Lstm => "LSTM",
            Self::Gru => "GRU",
            Self::Rnn => "RNN",
        }
    }
}

/// What a head is made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// Cell of every layer.
    pub cell: Cell,
    /// Numbers a tick that come in.
    pub features: usize,
    /// Hidden numbers of each layer.
    pub hidden: usize,
    /// Recurrent layers.
    pub layers: usize,
    /// Classes that come out.
    pub classes: usize,
    /// Share of hidden numbers left out while learning, between layers and before the dense one.
    pub dropout: f32,
}

/// Weights of one recurrent layer: `[gates * hidden, inputs]`, `[gates * hidden, hidden]` and two biases `[gates * hidden]`.
#[derive(Debug)]
pub struct Layer {
    /// Of the input.
    pub w: Var,
    /// Of the state.
    pub r: Var,
    /// Of the input product.
    pub wb: Var,
    /// Of the state product.
    pub rb: Var,
}

/// What heads that stand side by side look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inputs {
    /// All at the same features.
    Shared,
    /// Each at its own, which lie one after the other.
    Apart,
}

/// A head that can learn.
#[derive(Debug)]
pub struct Net {
    /// Its shape.
    pub plan: Plan,
    /// From the input on.
    pub layers: Vec<Layer>,
    /// `[classes, hidden]`
    pub dense: Var,
    /// `[classes]`
    pub bias: Var,
}

/// A weight, even within `reach` around zero.
pub(super) fn even(rng: &mut Rng, shape: &[usize], reach: f32) -> Result<Var> {
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| rng.within(-reach, reach)).collect();
    Var::from_vec(values, shape, &Device::Cpu)
}

impl Net {
    /// With weights as PyTorch begins: even within 1 / sqrt(hidden).
    ///
    /// # Errors
    /// None in practice.
    pub fn new(plan: Plan, rng: &mut Rng) -> Result<Self> {
        let (rows, reach) = (plan.cell.gates() * plan.hidden, 1.0 / (plan.hidden as f32).sqrt());
        let mut layer = |n: usize| {
            let inputs = if n == 0 { plan.features } else { plan.hidden };
            let (w, r) = (even(rng, &[rows, inputs], reach)?, even(rng, &[rows, plan.hidden], reach)?);
            Ok(Layer { w, r, wb: even(rng, &[rows], reach)?, rb: even(rng, &[rows], reach)? })
        };
        let layers = (0..plan.layers).map(&mut layer).collect::<Result<_>>()?;
        let (dense, bias) = (even(rng, &[plan.classes, plan.hidden], reach)?, even(rng, &[plan.classes], reach)?);
        Ok(Self { plan, layers, dense, bias })
    }

    /// Heads of the same shape, one or more of them, as one: they stand side by side, none sees another's state, and the logits are the mean of theirs.
    ///
    /// # Errors
    /// None in practice.
    pub fn beside(heads: &[Self], inputs: Inputs) -> Result<Self> {
        let plan = heads[0].plan;
        let (count, gates) = (heads.len(), plan.cell.gates());
        // Gate by gate, in each gate head by head; a row of blocks that are all but one zeros.
        let gate = |t: &Tensor, g: usize| t.narrow(0, g * plan.hidden, plan.hidden);
        let blocks = |each: &dyn Fn(&Self) -> Tensor, apart: bool| -> Result<Var> {
            let mut rows = Vec::new();
            for g in 0..gates {
                for (n, head) in heads.iter().enumerate() {
                    let part = gate(&each(head), g)?;
                    rows.push(if apart {
                        let row: Result<Vec<_>> =
                            (0..count).map(|k| if k == n { Ok(part.clone()) } else { part.zeros_like() }).collect();
                        Tensor::cat(&row?, 1)?
                    } else {
                        part
                    });
                }
            }
            Var::from_tensor(&Tensor::cat(&rows, 0)?)
        };
        let layer = |n: usize| {
            Ok(Layer {
                w: blocks(&|h| h.layers[n].w.as_tensor().clone(), n > 0 || inputs == Inputs::Apart)?,
                r: blocks(&|h| h.layers[n].r.as_tensor().clone(), true)?,
                wb: blocks(&|h| h.layers[n].wb.as_tensor().clone(), false)?,
                rb: blocks(&|h| h.layers[n].rb.as_tensor().clone(), false)?,
            })
        };
        let layers = (0..plan.layers).map(layer).collect::<Result<_>>()?;
        let share = 1.0 / count as f64;
        let dense = Tensor::cat(&heads.iter().map(|h| h.dense.as_tensor()).collect::<Vec<_>>(), 1)?.affine(share, 0.0)?;
        let bias = Tensor::stack(&heads.iter().map(|h| h.bias.as_tensor()).collect::<Vec<_>>(), 0)?.mean(0)?;
        let features = if inputs == Inputs::Apart { plan.features * count } else { plan.features };
        let plan = Plan { features, hidden: plan.hidden * count, ..plan };
        Ok(Self { plan, layers, dense: Var::from_tensor(&dense)?, bias: Var::from_tensor(&bias)? })
    }

    /// All weights by name.
    pub fn weights(&self) -> Vec<(String, Var)> {
        let mut all = Vec::new();
        for (n, l) in self.layers.iter().enumerate() {
            for (name, var) in [("w", &l.w), ("r", &l.r), ("wb", &l.wb), ("rb", &l.rb)] {
                all.push((format!("layer{n}.{name}"), var.clone()));
            }
        }
        all.push(("dense.w".into(), self.dense.clone()));
        all.push(("dense.b".into(), self.bias.clone()));
        all
    }

    /// Logits `[K * B, classes]` of windows `[B, T, features]` at the last `K` ticks, tick by tick. `rng`: leave numbers out at random, as
    /// when learning.
    ///
    /// # Errors
    /// None in practice: shapes are the plan's.
    pub fn run(&self, windows: &Tensor, last: usize, mut rng: Option<&mut Rng>) -> Result<Tensor> {
        let (_, ticks, _) = windows.dims3()?;
        // Time first: then a tick's rows lie in one piece.
        let mut states = windows.transpose(0, 1)?.contiguous()?;
        for (n, layer) in self.layers.iter().enumerate() {
            let from = if n + 1 == self.layers.len() { ticks.saturating_sub(last) } else { 0 };
            states = self.layer(layer, &states, from)?;
            if let Some(rng) = rng.as_deref_mut().filter(|_| self.plan.dropout > 0.0) {
                states = (&states * mask(states.dims(), self.plan.dropout, rng)?)?;
            }
        }
        states.flatten(0, 1)?.matmul(&self.dense.t()?)?.broadcast_add(&self.bias)
    }

    /// States `[T - from, B, hidden]` from tick `from` on.
    fn layer(&self, layer: &Layer, x: &Tensor, from: usize) -> Result<Tensor> {
        let (ticks, batch, inputs) = x.dims3()?;
        let (hidden, cell) = (self.plan.hidden, self.plan.cell);
        let products = x.reshape((ticks * batch, inputs))?.matmul(&layer.w.t()?)?.broadcast_add(&layer.wb)?;
        let products = products.reshape((ticks, batch, cell.gates() * hidden))?;
        let recurrent = layer.r.t()?.contiguous()?;
        let mut h = Tensor::zeros((batch, hidden), x.dtype(), x.device())?;
        let mut c = h.clone();
        let mut states = Vec::with_capacity(ticks);
        for t in 0..ticks {
            let x = products.get(t)?;
            let r = h.matmul(&recurrent)?.broadcast_add(&layer.rb)?;
            let part = |z: &Tensor, from: usize, n: usize| z.narrow(1, from * hidden, n * hidden);
            h = match cell {
                Cell::Rnn => (x + r)?.tanh()?,
                Cell::Lstm => {
                    let z = (x + r)?;
                    let gates = sigmoid(&part(&z, 0, 3)?)?;
                    let (i, o, f) = (part(&gates, 0, 1)?, part(&gates, 1, 1)?, part(&gates, 2, 1)?);
                    c = ((f * c)? + (i * part(&z, 3, 1)?.tanh()?)?)?;
                    (o * c.tanh()?)?
                }
                Cell::Gru => {
                    let gates = sigmoid(&(part(&x, 0, 2)? + part(&r, 0, 2)?)?)?;
                    let (keep, reset) = (part(&gates, 0, 1)?, part(&gates, 1, 1)?);
                    let new = (part(&x, 2, 1)? + (reset * part(&r, 2, 1)?)?)?.tanh()?;
                    // h = new + keep * (h - new)
                    (&new + (keep * (h - &new)?)?)?
                }
            };
            if t >= from {
                states.push(h.clone());
            }
        }
        Tensor::stack(&states, 0)
    }
}

/// Zeros for `share` of the places, and what keeps the sum for the others.
pub(super) fn mask(shape: &[usize], share: f32, rng: &mut Rng) -> Result<Tensor> {
    let kept = 1.0 / (1.0 - share);
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| if rng.unit() < share { 0.0 } else { kept }).collect();
    Tensor::from_vec(values, shape, &Device::Cpu)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array1;
    use ndarray_npy::ReadNpyExt;

    #[test]
    fn heads_side_by_side_say_the_mean_of_what_they_say() {
        for (cell, layers) in [(Cell::Lstm, 2), (Cell::Gru, 1), (Cell::Rnn, 2)] {
            let plan = Plan { cell, features: 5, hidden: 6, layers, classes: 3, dropout: 0.0 };
            let mut rng = Rng(3);
            let heads: Vec<Net> = (0..3).map(|_| Net::new(plan, &mut rng).expect("a net")).collect();
            let windows = |rng: &mut Rng| {
                let values: Vec<f32> = (0..2 * 7 * 5).map(|_| rng.normal()).collect();
                Tensor::from_vec(values, (2, 7, 5), &Device::Cpu).expect("windows")
            };
            let say = |net: &Net, x: &Tensor| {
                net.run(x, 1, None).and_then(|y| y.flatten_all()).and_then(|y| y.to_vec1::<f32>()).expect("logits")
            };
            let own: Vec<Tensor> = heads.iter().map(|_| windows(&mut rng)).collect();
            let shared = vec![own[0].clone(); 3];
            let side_by_side = Tensor::cat(&own, 2).expect("windows");
            for (inputs, each, all) in [(Inputs::Shared, &shared, &own[0]), (Inputs::Apart, &own, &side_by_side)] {
                let alone: Vec<Vec<f32>> = heads.iter().zip(each).map(|(head, x)| say(head, x)).collect();
                let together = say(&Net::beside(&heads, inputs).expect("one"), all);
                for (n, logit) in together.iter().enumerate() {
                    let mean = alone.iter().map(|e| e[n]).sum::<f32>() / 3.0;
                    assert!((logit - mean).abs() < 1e-5, "{cell:?}, {inputs:?}: {logit}, {mean} expected");
                }
            }
        }
    }

    /// Golden values: `tests/golden/recurrent/make.py`.
    #[test]
    fn cells_compute_what_pytorchs_do_there_and_back() {
        let (features, hidden, classes, layers) = (5, 6, 4, 2);
        for (cell, order, bytes) in [
            // Of ONNX's gates the place in PyTorch's order: i o f c of i f g o, z r h of r z n.
            (Cell::Lstm, vec![0, 3, 1, 2], &include_bytes!("../../tests/golden/recurrent/lstm.npy")[..]),
            (Cell::Gru, vec![1, 0, 2], &include_bytes!("../../tests/golden/recurrent/gru.npy")[..]),
            (Cell::Rnn, vec![0], &include_bytes!("../../tests/golden/recurrent/rnn.npy")[..]),
        ] {
            let all = Array1::<f32>::read_npy(bytes).expect("an array").to_vec();
            let mut at = 0;
            let mut take = |n: usize| {
                at += n;
                all[at - n..at].to_vec()
            };
            let net = Net::new(Plan { cell, features, hidden, layers, classes, dropout: 0.0 }, &mut Rng(1)).expect("a net");
            let ours = |values: Vec<f32>| {
                let rows = values.len() / order.len();
                order.iter().flat_map(|gate| values[gate * rows..][..rows].to_vec()).collect::<Vec<_>>()
            };
            let of_layers = || net.layers.iter().flat_map(|l| [&l.w, &l.r, &l.wb, &l.rb]);
            let set = |var: &Var, values: Vec<f32>| {
                var.set(&Tensor::from_vec(values, var.shape(), &Device::Cpu).expect("a tensor")).expect("of its shape");
            };
            of_layers().for_each(|var| set(var, ours(take(var.elem_count()))));
            set(&net.dense, take(classes * hidden));
            set(&net.bias, take(classes));
            let x = Tensor::from_vec(take(3 * 7 * features), (3, 7, features), &Device::Cpu).expect("windows");
            let list = |t: &Tensor| t.flatten_all().and_then(|t| t.to_vec1::<f32>()).expect("numbers");
            let apart = |a: Vec<f32>, b: Vec<f32>| a.iter().zip(b).fold(0.0f32, |w, (a, b)| w.max((a - b).abs()));
            let worst = apart(list(&net.run(&x, 1, None).expect("logits")), take(3 * classes));
            assert!(worst < 1e-5, "{cell:?}: {worst} from PyTorch");
            let truth = Tensor::from_vec([0u32, 1, 2].repeat(4), (12, 1), &Device::Cpu).expect("classes");
            let loss = || -> super::super::Result<_> {
                let logits = net.run(&x, 4, None)?;
                Ok((super::super::fit::log_softmax(&logits)?.gather(&truth, 1)?.mean_all()? * -1.0)?.backward()?)
            };
            let back = loss().expect("gradients");
            for var in of_layers() {
                let worst = apart(list(back.get(var).expect("a gradient")), ours(take(var.elem_count())));
                assert!(worst < 1e-5, "{cell:?}: a gradient is {worst} from PyTorch's");
            }
            for var in [&net.dense, &net.bias] {
                assert!(apart(list(back.get(var).expect("a gradient")), take(var.elem_count())) < 1e-5, "{cell:?}");
            }
            assert_eq!(at, all.len(), "{cell:?}: the golden file has more");
        }
    }
}
