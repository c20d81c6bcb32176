//! Any function of one quantised tensor, number by number, as a table of its 256 values.
//!
//! Between a `DequantizeLinear` and a `QuantizeLinear` there can be one activation or several operators that amount to one
//! (a hard swish in pieces); as long as only single numbers meet the tensor on the way, the result has 256 values. They are
//! computed in f32, as ONNX defines the operators.

use super::file::float;
use super::{Quant, Reader};
use std::collections::HashMap;
use tract_onnx::pb::NodeProto;

/// What a float tensor is.
#[derive(Clone)]
enum Expr {
    /// One number.
    Number(f32),
    /// A function of the byte of the one tensor.
    Table(Box<[f32; 256]>),
}

impl Expr {
    fn at(&self, byte: usize) -> f32 {
        match self {
            Expr::Number(x) => *x,
            Expr::Table(t) => t[byte],
        }
    }
}

struct Walk {
    /// The tensor that all depends on.
    value: Option<usize>,
    known: HashMap<String, Expr>,
    /// Most dimensions of a number that meets the tensor.
    rank: usize,
}

impl Reader<'_> {
    /// The float tensor `name`, quantised, as a function of a value's byte.
    pub(super) fn unary(&mut self, name: &str, quant: Quant) -> Result<(usize, Box<[u8; 256]>), String> {
        let mut walk = Walk { value: None, known: HashMap::new(), rank: 0 };
        let found = self.walk(name, &mut walk, 0)?;
        let value = walk.value.ok_or("it depends on no quantised tensor")?;
        if walk.rank > self.net.values[value].shape.len() {
            return Err("a constant of more dimensions gives the tensor more".into());
        }
        if (0..256).any(|b| found.at(b).is_nan()) {
            return Err("some of its values are no numbers".into());
        }
        Ok((value, Box::new(std::array::from_fn(|b| quant.byte(found.at(b))))))
    }

    fn walk(&mut self, name: &str, walk: &mut Walk, depth: usize) -> Result<Expr, String> {
        if let Some(known) = walk.known.get(name) {
            return Ok(known.clone());
        }
        if depth > 24 {
            return Err("more than 24 operators in a row between quantisers".into());
        }
        let found = self.step(name, walk, depth)?;
        walk.known.insert(name.into(), found.clone());
        Ok(found)
    }

    fn step(&mut self, name: &str, walk: &mut Walk, depth: usize) -> Result<Expr, String> {
        if self.file.constant(name).is_some() {
            walk.rank = walk.rank.max(self.file.dims(name).map_or(0, |dims| dims.len()));
            return self
                .file
                .float(name)
                .map(Expr::Number)
                .ok_or_else(|| "a constant that is not one number meets the tensor".into());
        }
        let Some((m, node)) = self.file.made(name) else { return Err("its input is not quantised".into()) };
        if node.op_type == "DequantizeLinear" {
            if let Some(number) = self.number(node) {
                walk.rank = walk.rank.max(node.input.first().and_then(|q| self.file.dims(q)).map_or(0, |dims| dims.len()));
                return Ok(Expr::Number(number));
            }
            let value = self.dequantised(node)?;
            if walk.value.is_some_and(|v| v != value) {
                return Err(format!("{}: two tensors meet, and not in an operator that is run on bytes", self.file.label(m)));
            }
            walk.value = Some(value);
            let quant = self.net.values[value].quant;
            return Ok(Expr::Table(Box::new(std::array::from_fn(|b| quant.value(b as u8)))));
        }
        if node.output.first().is_none_or(|o| o != name) || node.input.len() > 3 {
            return Err(format!("{} is not run on bytes", self.file.label(m)));
        }
        let mut inputs = vec![];
        for (n, i) in node.input.iter().enumerate() {
            inputs.push(match i.is_empty() {
                true => None,
                // The second and third input of Dropout say nothing to inference.
                false if node.op_type == "Dropout" && n > 0 => None,
                false => Some(self.walk(i, walk, depth + 1)?),
            });
        }
        let function = function(node).ok_or_else(|| format!("{} is not run on bytes", self.file.label(m)))?;
        let at = |byte: usize| {
            let x: Vec<Option<f32>> = inputs.iter().map(|i| i.as_ref().map(|e| e.at(byte))).collect();
            function(&x)
        };
        if inputs.iter().all(|i| !matches!(i, Some(Expr::Table(_)))) {
            return at(0).map(Expr::Number).ok_or_else(|| format!("{} lacks an input", self.file.label(m)));
        }
        let table: Option<Vec<f32>> = (0..256).map(at).collect();
        let table = table.and_then(|t| <[f32; 256]>::try_from(t).ok());
        table.map(|t| Expr::Table(Box::new(t))).ok_or_else(|| format!("{} lacks an input", self.file.label(m)))
    }

    /// A constant of one number, in f32 or behind a `DequantizeLinear`.
    pub(super) fn scalar(&self, name: &str) -> Option<f32> {
        let dequantised =
            || self.file.made(name).filter(|(_, n)| n.op_type == "DequantizeLinear").and_then(|(_, n)| self.number(n));
        self.file.float(name).or_else(dequantised)
    }

    /// A dequantised constant of one number.
    fn number(&self, node: &NodeProto) -> Option<f32> {
        let (q, _) = self.file.integers(node.input.first()?)?;
        let scale = self.file.float(node.input.get(1)?)?;
        let zero = match node.input.get(2).filter(|z| !z.is_empty()) {
            Some(z) => self.file.integers(z)?.0,
            None => vec![0],
        };
        match (q.as_slice(), zero.as_slice()) {
            ([q], [z]) => Some((q.checked_sub(*z)?) as f32 * scale),
            _ => None,
        }
    }
}

type Function = Box<dyn Fn(&[Option<f32>]) -> Option<f32>>;

/// The operator as a function of its inputs.
fn function(node: &NodeProto) -> Option<Function> {
    let one = |f: fn(f32) -> f32| -> Option<Function> { Some(Box::new(move |x| Some(f((*x.first()?)?)))) };
    let two = |f: fn(f32, f32) -> f32| -> Option<Function> { Some(Box::new(move |x| Some(f((*x.first()?)?, (*x.get(1)?)?)))) };
    let alpha = |default: f32, f: fn(f32, f32) -> f32| -> Option<Function> {
        let a = float(node, "alpha", default);
        Some(Box::new(move |x| Some(f((*x.first()?)?, a))))
    };
    match node.op_type.as_str() {
        "Relu" => one(|x| x.max(0.0)),
        "Identity" | "Dropout" => one(|x| x),
        "Neg" => one(|x| -x),
        "Abs" => one(f32::abs),
        "Sqrt" => one(f32::sqrt),
        "Exp" => one(f32::exp),
        "Reciprocal" => one(f32::recip),
        "Tanh" => one(f32::tanh),
        "Sigmoid" => one(sigmoid),
        "HardSwish" => one(|x| x * (x / 6.0 + 0.5).clamp(0.0, 1.0)),
        // Not ln(1 + e^x) as it stands: that overflows from 89 on.
        "Softplus" => one(|x| x.max(0.0) + (-x.abs()).exp().ln_1p()),
        "LeakyRelu" => alpha(0.01, |x, a| if x < 0.0 { a * x } else { x }),
        "Elu" => alpha(1.0, |x, a| if x < 0.0 { a * x.exp_m1() } else { x }),
        "HardSigmoid" => {
            let (a, b) = (float(node, "alpha", 0.2), float(node, "beta", 0.5));
            Some(Box::new(move |x| Some((a * (*x.first()?)? + b).clamp(0.0, 1.0))))
        }
        "Clip" => {
            let (low, high) = (float(node, "min", f32::NEG_INFINITY), float(node, "max", f32::INFINITY));
            Some(Box::new(move |x| {
                let bound = |n: usize, default: f32| x.get(n).copied().flatten().unwrap_or(default);
                Some((*x.first()?)?.max(bound(1, low)).min(bound(2, high)))
            }))
        }
        "Add" => two(|a, b| a + b),
        "Sub" => two(|a, b| a - b),
        "Mul" => two(|a, b| a * b),
        "Div" => two(|a, b| a / b),
        "Pow" => two(f32::powf),
        "Min" if node.input.len() == 2 => two(f32::min),
        "Max" if node.input.len() == 2 => two(f32::max),
        _ => None,
    }
}

pub(super) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}
