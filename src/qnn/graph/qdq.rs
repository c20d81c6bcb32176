//! Float operators between `DequantizeLinear` and `QuantizeLinear`, as most exporters write int8.
//!
//! Read backwards from each quantiser: what only limits the range (Relu, Clip) and what only changes the shape, then one
//! operator, then tensors that are bytes. An operator whose float result goes elsewhere too is computed there in float as
//! well; the quantised one is exact either way. A quantiser behind anything else makes bytes of a float tensor: the
//! entrance of a region.

use super::build::{Bias, Made};
use super::file::{float, int};
use super::shape::{only_reshapes, picture};
use super::{Kind, Quant, Reader};
use tract_onnx::pb::NodeProto;
use tract_onnx::pb::tensor_proto::DataType;

impl<'a> Reader<'a> {
    /// A `QuantizeLinear`.
    pub(super) fn quantize(&mut self, n: usize) -> Result<(), String> {
        let node = self.file.node(n);
        let (Some(x), Some(out)) = (self.file.input(node, 0), node.output.first()) else { return Err("no input".into()) };
        let quant = self.quant(self.file.input(node, 1), self.file.input(node, 2))?;
        if self.file.constant(x).is_some() {
            return Err("a constant is quantised".into());
        }
        let before = (self.net.nodes.len(), self.net.values.len());
        let Err(why) = self.cone(x, quant, out) else { return Ok(()) };
        self.undo(before);
        // An entrance: the float tensor comes from outside.
        if let Some((m, _)) = self.file.made(x) {
            self.net.why.insert(m, why);
        }
        let shape = (self.shape_of)(x).ok_or("a tensor of unknown shape")?;
        let picture = picture(&shape).ok_or_else(|| format!("a tensor of shape {shape:?}"))?;
        let v = self.value(quant, shape, picture);
        self.net.by_name.insert(out.clone(), v);
        self.push(n, Kind::Quantise(x.into()), vec![], v, [0, 255]);
        Ok(())
    }

    /// A `DequantizeLinear` of a tensor that is known: its floats are those bytes.
    pub(super) fn dequantize(&mut self, n: usize) -> Result<(), String> {
        let node = self.file.node(n);
        match (self.file.input(node, 0), node.output.first()) {
            (Some(q), Some(out)) if self.net.by_name.contains_key(q) => self.leaf(out).map(|_| ()),
            _ => Ok(()),
        }
    }

    /// Everything between quantisers that ends in the float tensor `x`.
    fn cone(&mut self, x: &'a str, quant: Quant, out: &str) -> Result<(), String> {
        let (mut name, mut shapes) = (x, vec![]);
        let (mut low, mut high) = (f32::NEG_INFINITY, f32::INFINITY);
        let (m, node) = loop {
            let (m, node) = self.file.made(name).ok_or("its input is not quantised")?;
            if node.output.first().is_none_or(|o| o != name) {
                return Err("its second output is used".into());
            }
            if let Some((l, h)) = self.limits(node)? {
                // What has been read so far comes behind this one.
                (low, high) = (l.max(low).min(high), h.max(low).min(high));
            } else if only_reshapes(node) {
                shapes.insert(0, m);
            } else {
                break (m, node);
            }
            name = self.file.input(node, 0).ok_or("no input")?;
        };
        let made = match node.op_type.as_str() {
            "DequantizeLinear" => {
                let v = self.dequantised(node)?;
                let from = self.net.values[v].quant;
                if from == quant && [quant.byte(low), quant.byte(high)] == [0, 255] && self.net.values[v].constant.is_none() {
                    // The same bytes, perhaps by another shape.
                    let x = shapes.iter().try_fold(v, |x, shape| self.reshape(*shape, x))?;
                    self.net.by_name.insert(out.into(), x);
                    return Ok(());
                }
                let table = Box::new(std::array::from_fn(|b| quant.byte(from.value(b as u8))));
                self.lookup(v, table)
            }
            _ => match self.core(m, node, quant) {
                Ok(made) => made,
                Err(why) => {
                    let elementwise = self.unary(x, quant);
                    // A convolution is no function of single numbers, so its own reason says more.
                    let (v, table) = elementwise.map_err(|other| if self.is_heavy(node) { why } else { other })?;
                    (low, high) = (f32::NEG_INFINITY, f32::INFINITY);
                    shapes.clear();
                    self.lookup(v, table)
                }
            },
        };
        self.finish(m, made, quant, (low, high), &shapes, out)
    }

    fn is_heavy(&self, node: &NodeProto) -> bool {
        matches!(
            node.op_type.as_str(),
            "Conv" | "Gemm" | "MatMul" | "MaxPool" | "AveragePool" | "GlobalAveragePool" | "ReduceMean" | "Concat" | "Pad"
        )
    }

    /// Lower and upper limit, where the node does nothing but that.
    fn limits(&self, node: &'a NodeProto) -> Result<Option<(f32, f32)>, String> {
        match node.op_type.as_str() {
            "Relu" => Ok(Some((0.0, f32::INFINITY))),
            "Clip" => {
                let bound = |n: usize, name: &str, default: f32| match self.file.input(node, n) {
                    Some(i) => self.file.float(i).filter(|b| !b.is_nan()).ok_or("a limit that is no constant number"),
                    None => Ok(float(node, name, default)),
                };
                let (low, high) = (bound(1, "min", f32::NEG_INFINITY)?, bound(2, "max", f32::INFINITY)?);
                Ok(Some((low.min(high), high)))
            }
            _ => Ok(None),
        }
    }

    /// One operator over bytes.
    fn core(&mut self, m: usize, node: &'a NodeProto, quant: Quant) -> Result<Made, String> {
        if !matches!(node.domain.as_str(), "" | "ai.onnx") {
            return Err(format!("{}:{} is not run on bytes", node.domain, node.op_type));
        }
        let input = |n: usize| self.file.input(node, n).ok_or_else(|| format!("{} lacks an input", node.op_type));
        match node.op_type.as_str() {
            "Conv" => {
                let (w, b) = (input(1)?, self.file.input(node, 2));
                let x = self.leaf(input(0)?)?;
                let weights = self.float_weights(w)?;
                let bias = self.bias(b)?;
                self.conv(node, x, weights, bias)
            }
            "Gemm" => {
                let (alpha, beta) = (float(node, "alpha", 1.0), float(node, "beta", 1.0));
                if int(node, "transA", 0) != 0 || !(alpha.is_finite() && alpha > 0.0 && beta.is_finite()) {
                    return Err("a Gemm with transA or unusual factors".into());
                }
                let (w, b) = (input(1)?, self.file.input(node, 2));
                let x = self.leaf(input(0)?)?;
                let mut weights = self.float_weights(w)?;
                weights.scales.iter_mut().for_each(|s| *s *= alpha);
                let outputs = weights.dims.get(usize::from(int(node, "transB", 0) == 0)).copied().unwrap_or(0);
                let bias = match self.bias(b)? {
                    Bias::Real(b) => {
                        let b = if b.len() == 1 { vec![b[0]; outputs] } else { b };
                        Bias::Real(b.into_iter().map(|b| b * f64::from(beta)).collect())
                    }
                    other => other,
                };
                self.dense(x, weights, int(node, "transB", 0) != 0, bias)
            }
            "MatMul" => {
                let w = input(1)?;
                let x = self.leaf(input(0)?)?;
                let weights = self.float_weights(w)?;
                self.dense(x, weights, false, Bias::None)
            }
            "Add" | "Mul" => {
                let (a, b) = (input(0)?, input(1)?);
                if node.op_type == "Add"
                    && let Some(made) = self.product_and_bias(a, b)?
                {
                    return Ok(made);
                }
                let (a, b) = (self.leaf(a)?, self.leaf(b)?);
                self.pair(if node.op_type == "Add" { Kind::Add } else { Kind::Mul }, a, b)
            }
            "MaxPool" | "AveragePool" => {
                let x = self.leaf(input(0)?)?;
                self.pool(node, x, node.op_type == "MaxPool")
            }
            "GlobalAveragePool" => {
                let x = self.leaf(input(0)?)?;
                self.mean(x, true)
            }
            "ReduceMean" => {
                let x = self.leaf(input(0)?)?;
                self.reduce_mean(node, x)
            }
            "Concat" => {
                let parts: Vec<usize> = node.input.iter().map(|i| self.leaf(i)).collect::<Result<_, _>>()?;
                self.concat(m, int(node, "axis", 1), &parts, quant)
            }
            "Pad" => {
                let x = self.leaf(input(0)?)?;
                self.pad(node, x)
            }
            other => Err(format!("{other} is not run on bytes")),
        }
    }

    /// `MatMul(x, w) + constant`, the constant on either side and a row like the product.
    fn product_and_bias(&mut self, a: &'a str, b: &'a str) -> Result<Option<Made>, String> {
        for (product, bias) in [(a, b), (b, a)] {
            let Some((_, node)) = self.file.made(product).filter(|(_, p)| p.op_type == "MatMul") else { continue };
            let Ok(Bias::Real(bias)) = self.bias(Some(bias)) else { continue };
            let (Some(x), Some(w)) = (self.file.input(node, 0), self.file.input(node, 1)) else { continue };
            let x = self.leaf(x)?;
            let weights = self.float_weights(w)?;
            return self.dense(x, weights, false, Bias::Real(bias)).map(Some);
        }
        Ok(None)
    }

    /// The tensor that a `DequantizeLinear` reads.
    pub(super) fn dequantised(&mut self, node: &NodeProto) -> Result<usize, String> {
        let q = node.input.first().filter(|i| !i.is_empty()).ok_or("DequantizeLinear lacks its input")?;
        let name = |n: usize| node.input.get(n).map(String::as_str).filter(|i| !i.is_empty());
        let quant = self.quant(name(1), name(2))?;
        // Without a zero point the type is that of what is read.
        let signed = name(2).is_none() && self.is_signed(q);
        self.bytes(q, if signed { Quant { zero: 128, signed, ..quant } } else { quant })
    }

    /// Is the quantised tensor `name` one of i8?
    fn is_signed(&self, name: &str) -> bool {
        let stated = || self.file.integers(name).map(|(_, kind)| kind == DataType::Int8);
        let made = self.net.by_name.get(name).map(|v| self.net.values[*v].quant.signed);
        made.or_else(stated).unwrap_or_else(|| self.file.given(name) == Some(DataType::Int8))
    }

    /// The quantised tensor `name`, read on the scale `quant`.
    pub(super) fn bytes(&mut self, name: &str, quant: Quant) -> Result<usize, String> {
        if let Some(v) = self.net.by_name.get(name) {
            if self.net.values[*v].quant != quant {
                return Err("a tensor is written on one scale and read on another".into());
            }
            return Ok(*v);
        }
        let (shape, constant) = match self.file.integers(name) {
            Some((raw, _)) => {
                let flip = if quant.signed { 128 } else { 0 };
                let bytes: Option<Vec<u8>> = raw.iter().map(|b| u8::try_from(b + flip).ok()).collect();
                let dims = self.file.dims(name).ok_or("a constant without a shape")?;
                // A constant meets pictures as [C, 1, 1] or [1, C, 1, 1], and rows as [C] or [1, C].
                let missing = if dims.len() == 3 { 1 } else { 2usize.saturating_sub(dims.len()) };
                let shape: Vec<usize> = std::iter::repeat_n(1, missing).chain(dims).collect();
                (shape, Some(bytes.ok_or("a constant of another type")?))
            }
            None => ((self.shape_of)(name).ok_or("a tensor of unknown shape")?, None),
        };
        let picture = picture(&shape).ok_or_else(|| format!("a tensor of shape {shape:?}"))?;
        let fits = constant.as_ref().is_none_or(|c| c.len() == shape.iter().product::<usize>());
        if !fits {
            return Err("a constant whose shape does not fit it".into());
        }
        let v = self.value(quant, shape, picture);
        self.net.values[v].constant = constant;
        self.net.by_name.insert(name.into(), v);
        Ok(v)
    }

    /// The float tensor `name` as bytes that say exactly the same.
    pub(super) fn leaf(&mut self, name: &str) -> Result<usize, String> {
        if let Some(v) = self.net.floats.get(name) {
            return Ok(*v);
        }
        let (m, node) = self.file.made(name).ok_or("its input is not quantised")?;
        if node.output.first().is_none_or(|o| o != name) {
            return Err("a second output is used".into());
        }
        let v = if node.op_type == "DequantizeLinear" {
            self.dequantised(node)?
        } else if only_reshapes(node) {
            let x = self.leaf(self.file.input(node, 0).ok_or("no input")?)?;
            self.reshape(m, x)?
        } else if let Some((low, high)) = self.limits(node)? {
            let x = self.leaf(self.file.input(node, 0).ok_or("no input")?)?;
            let (quant, shape, picture) = {
                let v = &self.net.values[x];
                (v.quant, v.shape.clone(), v.picture)
            };
            // The limits have to be values of bytes, or beyond them all.
            let exact = |limit: f32| quant.value(quant.byte(limit)) == limit;
            let fits_low = exact(low) || low <= quant.value(0);
            let fits_high = exact(high) || high >= quant.value(255);
            if !fits_low || !fits_high {
                return Err(format!("limits {low} and {high} that no byte stands for, without a quantiser behind them"));
            }
            let range = [quant.byte(low), quant.byte(high)];
            let table = Box::new(std::array::from_fn(|b| (b as u8).max(range[0]).min(range[1])));
            let out = self.value(quant, shape, picture);
            self.push(m, Kind::Lookup(table), vec![x], out, [0, 255]);
            out
        } else {
            return Err(format!("{} gives it floats that are not quantised", self.file.label(m)));
        };
        self.net.floats.insert(name.into(), v);
        Ok(v)
    }

    /// Weights that a `DequantizeLinear` makes floats of.
    fn float_weights(&self, name: &str) -> Result<super::build::Weights, String> {
        let node = self.file.made(name).map(|(_, n)| n).filter(|n| n.op_type == "DequantizeLinear");
        let node = node.ok_or("its weights are not quantised")?;
        if int(node, "block_size", 0) != 0 {
            return Err("weights quantised in blocks".into());
        }
        let q = self.file.input(node, 0).ok_or("DequantizeLinear lacks its input")?;
        self.weights(q, self.file.input(node, 1), self.file.input(node, 2), int(node, "axis", 1))
    }

    /// A bias: f32, or i32 behind a `DequantizeLinear`; a row, or a single number. What stands otherwise gives what it is added to another shape.
    fn bias(&self, name: Option<&str>) -> Result<Bias, String> {
        let Some(name) = name else { return Ok(Bias::None) };
        let row = |name: &str| {
            let dims = self.file.dims(name).unwrap_or_default();
            if matches!(dims[..], [] | [_] | [1, _]) { Ok(()) } else { Err(format!("a bias of shape {dims:?}")) }
        };
        if let Some(b) = self.file.floats(name) {
            row(name)?;
            let finite = b.iter().all(|b| b.is_finite());
            return if finite {
                Ok(Bias::Real(b.into_iter().map(f64::from).collect()))
            } else {
                Err("a bias that is no number".into())
            };
        }
        let node =
            self.file.made(name).map(|(_, n)| n).filter(|n| n.op_type == "DequantizeLinear").ok_or("its bias is no constant")?;
        let q = self.file.input(node, 0).ok_or("its bias is no constant")?;
        row(q)?;
        let (q, _) = self.file.integers(q).ok_or("its bias is no constant")?;
        let scales = self.file.input(node, 1).and_then(|s| self.file.floats(s)).ok_or("a bias scale that is no constant")?;
        let zeros = match self.file.input(node, 2) {
            Some(z) => self.file.integers(z).ok_or("a bias zero point that is no constant")?.0,
            None => vec![0],
        };
        let fits = |n: usize| n == 1 || n == q.len();
        if !fits(scales.len()) || !fits(zeros.len()) || scales.iter().any(|s| !s.is_finite()) {
            return Err(format!("{} scales for {} biases", scales.len(), q.len()));
        }
        let pick = |n: usize, len: usize| if len == 1 { 0 } else { n };
        let value = |(n, q): (usize, &i32)| {
            (f64::from(*q) - f64::from(zeros[pick(n, zeros.len())])) * f64::from(scales[pick(n, scales.len())])
        };
        Ok(Bias::Real(q.iter().enumerate().map(value).collect()))
    }
}
