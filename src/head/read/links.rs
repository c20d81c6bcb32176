//! Nodes that become links of the chain: number by number, dense, recurrent.
//!
//! Everything a node may ask for is looked at: what the standard cell does not do, or another shape than expected, is a
//! reason to leave the head to tract.

use super::super::cell::{Kind, Layer, Weights};
use super::{Axis, Link, Read, Reader, What, With, constant};
use tract_onnx::pb::NodeProto;

impl Reader {
    /// `x (op) b` with `b` a number, or one for each number of a tick.
    pub(super) fn with(&mut self, node: &NodeProto, x: usize, b: usize) -> Read<What> {
        let unknown = || format!("{} {}", node.op_type, node.name);
        let (links, width, axes) = self.flow(node, x)?;
        let array = self.array(node, b)?;
        let values = array.floats().ok_or_else(unknown)?;
        // Laid over the last axis, and over no other.
        let dims_fit = array.dims.len() <= axes.len() && array.dims.iter().rev().skip(1).all(|d| *d == 1);
        let values = match values.len() {
            1 if dims_fit => vec![values[0]; width],
            n if n == width && dims_fit && axes.last() == Some(&Axis::Width) => values,
            _ => return Err(unknown()),
        };
        let op = match node.op_type.as_str() {
            "Add" => With::Add,
            "Sub" => With::Subtract,
            "Mul" => With::Multiply,
            _ => With::Divide,
        };
        Ok(What::Flow { links: self.link(links, Link::With(op, values))?, width, axes })
    }

    /// Weights `[outputs][inputs]` and bias of a `MatMul` or `Gemm` whose first input is the chain.
    pub(super) fn dense(&self, node: &NodeProto, width: usize, axes: &[Axis]) -> Read<(Weights, Option<Vec<f32>>)> {
        let unknown = || format!("{} {}", node.op_type, node.name);
        let gemm = node.op_type == "Gemm";
        let factor = |name: &str| constant::float(node, name).unwrap_or(1.0);
        let rank_fits = if gemm { axes.len() == 2 } else { axes.len() >= 2 };
        if !rank_fits || axes.last() != Some(&Axis::Width) || constant::int(node, "transA").is_some_and(|t| t != 0) {
            return Err(unknown());
        }
        let array = self.array(node, 1)?;
        let transposed = gemm && constant::int(node, "transB").is_some_and(|t| t != 0);
        let values = array.floats().ok_or_else(unknown)?;
        let [rows, columns] = array.dims[..] else { return Err(unknown()) };
        let (inputs, outputs) = if transposed { (columns, rows) } else { (rows, columns) };
        if inputs != width || outputs == 0 {
            return Err(unknown());
        }
        let alpha = if gemm { factor("alpha") } else { 1.0 };
        let at = |o: usize, i: usize| values[if transposed { o * inputs + i } else { i * outputs + o }];
        let values = (0..outputs * inputs).map(|n| alpha * at(n / inputs, n % inputs)).collect();
        let bias = if gemm && Self::has(node, 2) {
            let array = self.array(node, 2)?;
            let values = array.floats().ok_or_else(unknown)?;
            let beta = factor("beta");
            match values.len() {
                1 => Some(vec![beta * values[0]; outputs]),
                n if n == outputs && array.dims.last() == Some(&n) => Some(values.iter().map(|v| beta * v).collect()),
                _ => return Err(unknown()),
            }
        } else {
            None
        };
        Ok((Weights { values, bytes: None, depth: inputs }, bias))
    }

    /// `LSTM`, `GRU`, `RNN`: forward, from zero state, no peepholes.
    pub(super) fn recurrent(&mut self, node: &NodeProto) -> Read<Vec<What>> {
        let (links, width, axes) = self.flow(node, 0)?;
        let refuse = |what: &str| format!("{} {}: {what}", node.op_type, node.name);
        let batch_first = constant::int(node, "layout").is_some_and(|l| l != 0);
        let expected =
            if batch_first { vec![Axis::One, Axis::Time, Axis::Width] } else { vec![Axis::Time, Axis::One, Axis::Width] };
        if axes != self.timed(expected) {
            return Err(refuse("its input is not the window, tick by tick"));
        }
        if node.attribute.iter().any(|a| a.name == "direction" && a.s != b"forward") {
            return Err(refuse("not forward"));
        }
        if Self::has(node, 4) || Self::has(node, 7) {
            return Err(refuse("sequence lengths or peepholes"));
        }
        for n in [5, 6] {
            let zero = !Self::has(node, n)
                || match self.what(node, n)? {
                    What::Zeros => true,
                    What::Known(array) => array.is_zero(),
                    _ => false,
                };
            if !zero {
                return Err(refuse("an initial state that is not zero"));
            }
        }
        let kind = match node.op_type.as_str() {
            "LSTM" => Kind::Lstm,
            "GRU" => Kind::Gru { late: constant::int(node, "linear_before_reset").is_none_or(|l| l == 0) },
            _ => Kind::Rnn,
        };
        let hidden =
            constant::int(node, "hidden_size").and_then(|h| usize::try_from(h).ok()).filter(|h| (1..=65_536).contains(h));
        let hidden = hidden.ok_or_else(|| refuse("no hidden_size"))?;
        let rows = kind.gates() * hidden;
        let weights = |n: usize, depth: usize| -> Read<Weights> {
            let array = self.array(node, n)?;
            let values = array.floats().filter(|_| array.dims == [1, rows, depth]);
            let values =
                values.ok_or_else(|| refuse(&format!("weights of shape {:?}, expected [1, {rows}, {depth}]", array.dims)))?;
            Ok(Weights { values, bytes: array.rows_of_bytes(rows), depth })
        };
        let (input, recurrent) = (weights(1, width)?, weights(2, hidden)?);
        let bias = if Self::has(node, 3) {
            let array = self.array(node, 3)?;
            let both = array.floats().filter(|v| v.len() == 2 * rows).ok_or_else(|| refuse("a bias of another size"))?;
            (both[..rows].to_vec(), both[rows..].to_vec())
        } else {
            (vec![0.0; rows], vec![0.0; rows])
        };
        let links = self.link(links, Link::Layer(Layer { kind, hidden, input, recurrent, bias }))?;
        let flow = |axes: &[Axis]| What::Flow { links, width: hidden, axes: self.timed(axes.to_vec()) };
        use Axis::{One, Time, Width};
        let all = if batch_first { [One, Time, One, Width] } else { [Time, One, One, Width] };
        Ok(vec![flow(&all), flow(&[One, One, Width]), What::Unknown(refuse("its cell state is asked for"))])
    }
}
