//! A quantised network in one form, whatever the tool that exported it wrote.
//!
//! ONNX has several ways to say "this convolution is int8": float operators between `DequantizeLinear` and `QuantizeLinear`
//! (QDQ), `QLinearConv` and its kin, and the operators of com.microsoft. All of them become [`Node`]s over [`Value`]s here:
//! bytes with one scale and one zero point, and an operator between them. The reading stands in `graph/qdq.rs` (float
//! operators between quantisers), `graph/qlinear.rs` (the fused forms), `graph/unary.rs` (any function of one number
//! becomes a table of 256) and `graph/file.rs` (constants and attributes).
//!
//! Invariants. All values are u8: a signed tensor has its zero point raised by 128 and its bytes flipped at the region's
//! edge. A value is a picture of `channels x height x width` in ONNX's order; its `shape` is what the graph calls it. Nodes
//! stand in an order in which they can be computed. Whatever cannot be said exactly is not taken, with a sentence why: the
//! only liberty is that a float bias is rounded to a whole number of `input scale * weight scale`.

mod build;
mod file;
mod qdq;
mod qlinear;
mod shape;
mod unary;

pub use file::{File, attribute, float, int, ints, label, order};
pub use shape::{only_reshapes, reshaped};
use std::collections::HashMap;

/// Scale and zero point of a tensor, in the u8 domain.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quant {
    /// Value of one step; finite and above 0.
    pub scale: f32,
    /// The byte that stands for 0.
    pub zero: u8,
    /// Is the tensor i8 in the file? Its bytes here are those flipped in their top bit.
    pub signed: bool,
}

impl Quant {
    /// The value of a byte, as `DequantizeLinear` defines it.
    pub fn value(self, byte: u8) -> f32 {
        (i32::from(byte) - i32::from(self.zero)) as f32 * self.scale
    }

    /// The byte of a value, as `QuantizeLinear` defines it: nearest, ties to even, saturated. NaN is 0.
    pub fn byte(self, value: f32) -> u8 {
        ((value / self.scale).round_ties_even() + f32::from(self.zero)).clamp(0.0, 255.0) as u8
    }
}

/// A tensor of bytes.
#[derive(Clone, Debug)]
pub struct Value {
    /// Scale and zero point.
    pub quant: Quant,
    /// The shape that ONNX gives it; the first dimension is 1.
    pub shape: Vec<usize>,
    /// Channels, height and width; their product is that of `shape`.
    pub picture: [usize; 3],
    /// Its bytes in ONNX's order, where it is a constant.
    pub constant: Option<Vec<u8>>,
}

impl Value {
    /// Bytes.
    pub fn len(&self) -> usize {
        self.picture.iter().product()
    }
}

/// Windows over a picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Windows {
    /// Taps down and across.
    pub kernel: [usize; 2],
    /// Steps down and across.
    pub stride: [usize; 2],
    /// Distance of taps down and across.
    pub dilation: [usize; 2],
    /// Pixels above, left, below, right of the picture.
    pub pad: [usize; 4],
}

/// A convolution's numbers (a dense layer is one whose kernel is the whole picture).
#[derive(Clone, Debug)]
pub struct Conv {
    /// Where it looks.
    pub windows: Windows,
    /// Groups that share no channels.
    pub groups: usize,
    /// `[outputs][channels / groups][kernel]`, zero point taken off: -255 to 255.
    pub weights: Vec<i16>,
    /// Of each output channel.
    pub scales: Vec<f32>,
    /// Of each output channel, in units of input scale times weight scale.
    pub bias: Vec<i32>,
}

/// What a node does. Ranges (`low`, `high` of the node) apply to all but `Reshape`, `Quantise` and `Concat`.
#[derive(Clone, Debug)]
pub enum Kind {
    /// A float tensor from outside becomes bytes.
    Quantise(String),
    /// Convolution or dense layer.
    Conv(Box<Conv>),
    /// Sum of two; the second may be one pixel for all.
    Add,
    /// Product of two; the second may be one pixel for all.
    Mul,
    /// A function of each byte.
    Lookup(Box<[u8; 256]>),
    /// Largest under each window.
    MaxPool(Windows),
    /// Mean under each window; `true` counts what lies outside the picture as well.
    Mean(Windows, bool),
    /// Channels one after the other, all with the output's scale and zero point.
    Concat,
    /// The same bytes by another shape.
    Reshape,
    /// Above, left, below, right, and the byte there.
    Pad([usize; 4], u8),
}

/// One operator.
#[derive(Clone, Debug)]
pub struct Node {
    /// The node of the file it comes from.
    pub from: usize,
    /// What it does.
    pub kind: Kind,
    /// Values read.
    pub inputs: Vec<usize>,
    /// The value made.
    pub output: usize,
    /// Smallest and largest byte of the output.
    pub range: [u8; 2],
}

/// All that was understood of a file.
#[derive(Debug, Default)]
pub struct Network {
    /// Tensors of bytes.
    pub values: Vec<Value>,
    /// Operators, in an order in which they can be computed.
    pub nodes: Vec<Node>,
    /// Values by the name of the quantised tensor.
    pub by_name: HashMap<String, usize>,
    /// Float tensors of the file that say exactly what a value says.
    pub floats: HashMap<String, usize>,
    /// Why a node of the file (by index) was not understood.
    pub why: HashMap<usize, String>,
}

/// Reads a file. `shape_of` is asked for the shape of a float or foreign tensor that a region would read.
pub fn read(file: &File<'_>, shape_of: &dyn Fn(&str) -> Option<Vec<usize>>) -> Network {
    let mut reader = Reader { file, shape_of, net: Network::default() };
    for n in file.order.iter().copied() {
        let before = (reader.net.nodes.len(), reader.net.values.len());
        if let Err(why) = reader.node(n) {
            reader.undo(before);
            reader.net.why.insert(n, why);
        }
    }
    reader.net
}

/// The state of a reading.
struct Reader<'a> {
    file: &'a File<'a>,
    shape_of: &'a dyn Fn(&str) -> Option<Vec<usize>>,
    net: Network,
}

impl Reader<'_> {
    /// Takes back what a node that failed half way has left.
    fn undo(&mut self, (nodes, values): (usize, usize)) {
        // Operators may keep values, entries for one, that were made on the way; nobody reads them then.
        self.net.nodes.truncate(nodes);
        self.net.values.truncate(values);
        self.net.by_name.retain(|_, v| *v < values);
        self.net.floats.retain(|_, v| *v < values);
    }

    fn node(&mut self, n: usize) -> Result<(), String> {
        let node = self.file.node(n);
        match (node.domain.as_str(), node.op_type.as_str()) {
            ("" | "ai.onnx", "QuantizeLinear") => self.quantize(n),
            ("" | "ai.onnx", "DequantizeLinear") => self.dequantize(n),
            ("" | "ai.onnx", "QLinearConv") => self.qlinear_conv(n),
            ("" | "ai.onnx", "QLinearMatMul") => self.qlinear_matmul(n),
            ("com.microsoft", kind) if kind.starts_with('Q') => self.contrib(n),
            ("" | "ai.onnx", _) => self.on_bytes(n),
            _ => Ok(()),
        }
    }

    /// A new value.
    fn value(&mut self, quant: Quant, shape: Vec<usize>, picture: [usize; 3]) -> usize {
        self.net.values.push(Value { quant, shape, picture, constant: None });
        self.net.values.len() - 1
    }

    fn push(&mut self, n: usize, kind: Kind, inputs: Vec<usize>, output: usize, range: [u8; 2]) {
        self.net.nodes.push(Node { from: n, kind, inputs, output, range });
    }
}
