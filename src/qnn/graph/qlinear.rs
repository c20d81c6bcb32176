//! Operators that carry their own scales: `QLinearConv`, `QLinearMatMul`, and those of com.microsoft.

use super::build::{Bias, Made};
use super::file::{float, int};
use super::shape::only_reshapes;
use super::{Kind, Quant, Reader};
use tract_onnx::pb::NodeProto;

const ALL: (f32, f32) = (f32::NEG_INFINITY, f32::INFINITY);

impl<'a> Reader<'a> {
    fn need(&self, node: &'a NodeProto, n: usize) -> Result<&'a str, String> {
        self.file.input(node, n).ok_or_else(|| format!("{} lacks input {n}", node.op_type))
    }

    /// Scale and zero point at inputs `n` and `n + 1`.
    fn quant_at(&self, node: &'a NodeProto, n: usize) -> Result<Quant, String> {
        self.quant(self.file.input(node, n), self.file.input(node, n + 1))
    }

    /// Tensor, scale and zero point at inputs `n` to `n + 2`.
    fn bytes_at(&mut self, node: &'a NodeProto, n: usize) -> Result<usize, String> {
        let quant = self.quant_at(node, n + 1)?;
        self.bytes(self.need(node, n)?, quant)
    }

    fn out(&self, node: &'a NodeProto) -> Result<&'a str, String> {
        node.output.first().map(String::as_str).ok_or_else(|| "no output".into())
    }

    /// Bias of i32 in the accumulator's own units.
    fn whole(&self, name: Option<&str>) -> Result<Bias, String> {
        match name {
            None => Ok(Bias::None),
            Some(b) => self.file.integers(b).map(|(b, _)| Bias::Whole(b)).ok_or_else(|| "its bias is no constant of i32".into()),
        }
    }

    pub(super) fn qlinear_conv(&mut self, n: usize) -> Result<(), String> {
        let node = self.file.node(n);
        let x = self.bytes_at(node, 0)?;
        let weights = self.weights(self.need(node, 3)?, self.file.input(node, 4), self.file.input(node, 5), 0)?;
        let bias = self.whole(self.file.input(node, 8))?;
        let made = self.conv(node, x, weights, bias)?;
        let quant = self.quant_at(node, 6)?;
        self.finish(n, made, quant, ALL, &[], self.out(node)?)
    }

    pub(super) fn qlinear_matmul(&mut self, n: usize) -> Result<(), String> {
        let node = self.file.node(n);
        let x = self.bytes_at(node, 0)?;
        let weights = self.weights(self.need(node, 3)?, self.file.input(node, 4), self.file.input(node, 5), 1)?;
        let made = self.dense(x, weights, false, Bias::None)?;
        let quant = self.quant_at(node, 6)?;
        self.finish(n, made, quant, ALL, &[], self.out(node)?)
    }

    /// com.microsoft.
    pub(super) fn contrib(&mut self, n: usize) -> Result<(), String> {
        let node = self.file.node(n);
        let (made, quant): (Made, Quant) = match node.op_type.as_str() {
            "QLinearAdd" | "QLinearMul" => {
                let (a, b) = (self.bytes_at(node, 0)?, self.bytes_at(node, 3)?);
                let kind = if node.op_type == "QLinearAdd" { Kind::Add } else { Kind::Mul };
                (self.pair(kind, a, b)?, self.quant_at(node, 6)?)
            }
            "QLinearGlobalAveragePool" => {
                let x = self.bytes_at(node, 0)?;
                (self.mean(x, true)?, self.quant_at(node, 3)?)
            }
            "QLinearAveragePool" => {
                let x = self.bytes_at(node, 0)?;
                (self.pool(node, x, false)?, self.quant_at(node, 3)?)
            }
            "QLinearConcat" => {
                let quant = self.quant_at(node, 0)?;
                let parts: Vec<usize> =
                    (2..node.input.len()).step_by(3).map(|k| self.bytes_at(node, k)).collect::<Result<_, _>>()?;
                (self.concat(n, int(node, "axis", 1), &parts, quant)?, quant)
            }
            "QGemm" => {
                let x = self.bytes_at(node, 0)?;
                let transposed = int(node, "transB", 0) != 0;
                let axis = i64::from(!transposed);
                let mut weights = self.weights(self.need(node, 3)?, self.file.input(node, 4), self.file.input(node, 5), axis)?;
                let alpha = float(node, "alpha", 1.0);
                if int(node, "transA", 0) != 0 || !(alpha.is_finite() && alpha > 0.0) {
                    return Err("a QGemm with transA or an unusual factor".into());
                }
                if self.file.input(node, 7).is_none() {
                    return Err("a QGemm with float output".into());
                }
                weights.scales.iter_mut().for_each(|s| *s *= alpha);
                let bias = self.whole(self.file.input(node, 6))?;
                (self.dense(x, weights, transposed, bias)?, self.quant_at(node, 7)?)
            }
            "QLinearLeakyRelu" | "QLinearSigmoid" => {
                let x = self.bytes_at(node, 0)?;
                let quant = self.quant_at(node, 3)?;
                let (from, alpha) = (self.net.values[x].quant, float(node, "alpha", 0.01));
                let leaky = node.op_type == "QLinearLeakyRelu";
                let function = |v: f32| match leaky {
                    true if v < 0.0 => v * alpha,
                    true => v,
                    false => super::unary::sigmoid(v),
                };
                let table = Box::new(std::array::from_fn(|b| quant.byte(function(from.value(b as u8)))));
                (self.lookup(x, table), quant)
            }
            "QLinearReduceMean" => {
                let x = self.bytes_at(node, 0)?;
                (self.mean_over(node, x, super::file::ints(node, "axes"))?, self.quant_at(node, 3)?)
            }
            other => return Err(format!("{other} is not run on bytes")),
        };
        self.finish(n, made, quant, ALL, &[], self.out(node)?)
    }

    /// Standard operators that work on bytes as well as on floats.
    pub(super) fn on_bytes(&mut self, n: usize) -> Result<(), String> {
        let node = self.file.node(n);
        let (Some(first), Some(out)) = (self.file.input(node, 0), node.output.first()) else { return Ok(()) };
        if only_reshapes(node) && self.net.floats.contains_key(first) {
            // Kept for a graph that ends in such a node.
            return self.leaf(out).map(|_| ());
        }
        let Some(x) = self.net.by_name.get(first).copied() else { return Ok(()) };
        let quant = self.net.values[x].quant;
        if self.net.values[x].constant.is_some() {
            return Ok(());
        }
        match node.op_type.as_str() {
            "MaxPool" => {
                let made = self.pool(node, x, true)?;
                self.finish(n, made, quant, ALL, &[], out)
            }
            _ if only_reshapes(node) => {
                let v = self.reshape(n, x)?;
                self.net.by_name.insert(out.clone(), v);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
