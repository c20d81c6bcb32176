//! Operators that tract lacks or runs slowly, written as `DequantizeLinear`, float operator, `QuantizeLinear`.
//!
//! What a region takes never gets here. The rest of the QLinear forms, and what com.microsoft adds to them, are defined as just
//! that sequence, so tract's float operators compute them; `QLinearConv` and `QLinearMatMul` too, since the float path is the
//! faster one in tract and the reference here.

use super::graph::label;
use crate::onnx::tensor;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto};

/// The graph without QLinear operators; what cannot be written that way stays as it is.
pub fn in_float(proto: &mut ModelProto) {
    let standard = proto.opset_import.iter().find(|o| matches!(o.domain.as_str(), "" | "ai.onnx"));
    let opset = standard.map_or(0, |o| o.version);
    let Some(graph) = proto.graph.as_mut() else { return };
    let nodes = std::mem::take(&mut graph.node);
    for node in nodes {
        if !is_fused(&node) {
            graph.node.push(node);
            continue;
        }
        let tag = format!("lookout.{}.{}", graph.node.len(), label(&node));
        let mut out = Expand { tag, opset, nodes: vec![], constants: vec![] };
        match out.expand(&node, graph) {
            Some(()) => {
                graph.initializer.append(&mut out.constants);
                graph.node.append(&mut out.nodes);
            }
            None => graph.node.push(node),
        }
    }
}

/// Those of com.microsoft that are written out.
const MICROSOFT: [&str; 11] = [
    "QGemm",
    "QLinearAdd",
    "QLinearAveragePool",
    "QLinearConcat",
    "QLinearConv",
    "QLinearGlobalAveragePool",
    "QLinearLeakyRelu",
    "QLinearMul",
    "QLinearReduceMean",
    "QLinearSigmoid",
    "QLinearSoftmax",
];

/// Is it one of those that are written out?
pub fn is_fused(node: &NodeProto) -> bool {
    match node.domain.as_str() {
        "" | "ai.onnx" => matches!(node.op_type.as_str(), "QLinearConv" | "QLinearMatMul"),
        "com.microsoft" => MICROSOFT.contains(&node.op_type.as_str()),
        _ => false,
    }
}

/// One operator being written out.
struct Expand {
    tag: String,
    /// The version of the standard that the file is written in.
    opset: i64,
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
}

impl Expand {
    fn node(&mut self, kind: &str, input: Vec<String>, output: String, attribute: Vec<AttributeProto>) {
        let name = format!("{} {}", self.tag, self.nodes.len());
        self.nodes.push(NodeProto { name, op_type: kind.into(), input, output: vec![output], attribute, ..NodeProto::default() });
    }

    /// A fresh name.
    fn fresh(&self) -> String {
        format!("{}.{}", self.tag, self.nodes.len())
    }

    /// Inputs `n` to `n + 2`, dequantised.
    fn floats(&mut self, node: &NodeProto, n: usize, axis: i64) -> Option<String> {
        let input: Vec<String> =
            node.input.get(n..n + 2)?.iter().chain(node.input.get(n + 2).filter(|z| !z.is_empty())).cloned().collect();
        if input.iter().any(String::is_empty) {
            return None;
        }
        let to = self.fresh();
        self.node("DequantizeLinear", input, to.clone(), vec![int("axis", axis)]);
        Some(to)
    }

    /// The result, quantised with the scale and zero point at inputs `n` and `n + 1`.
    fn finish(&mut self, node: &NodeProto, from: String, n: usize) -> Option<()> {
        let scale = node.input.get(n).filter(|s| !s.is_empty());
        let output = node.output.first()?.clone();
        let Some(scale) = scale else {
            // Some of them give floats where no scale is given.
            self.node("Identity", vec![from], output, vec![]);
            return Some(());
        };
        let zero = node.input.get(n + 1).filter(|z| !z.is_empty());
        let input = [Some(&from), Some(scale), zero].into_iter().flatten().cloned().collect();
        self.node("QuantizeLinear", input, output, vec![]);
        Some(())
    }

    fn expand(&mut self, node: &NodeProto, graph: &GraphProto) -> Option<()> {
        // Attributes that only the fused form knows; `onnx::parse` has looked that channels come first.
        let fused = ["channels_last", "opset"];
        let kept: Vec<AttributeProto> = node.attribute.iter().filter(|a| !fused.contains(&a.name.as_str())).cloned().collect();
        match node.op_type.as_str() {
            "QLinearConv" => {
                let mut input = vec![self.floats(node, 0, 1)?, self.floats(node, 3, 0)?];
                if node.input.get(8).is_some_and(|b| !b.is_empty()) {
                    input.push(self.bias(node, 8, (1, 4), graph, 1.0)?);
                }
                let to = self.fresh();
                self.node("Conv", input, to.clone(), kept);
                self.finish(node, to, 6)
            }
            "QLinearMatMul" => {
                let input = vec![self.floats(node, 0, 1)?, self.floats(node, 3, 1)?];
                let to = self.fresh();
                self.node("MatMul", input, to.clone(), kept);
                self.finish(node, to, 6)
            }
            "QGemm" => {
                let flag = |name: &str| node.attribute.iter().find(|a| a.name == name).map_or(0, |a| a.i);
                let alpha = node.attribute.iter().find(|a| a.name == "alpha").map_or(1.0, |a| a.f);
                let mut input = vec![self.floats(node, 0, 1)?, self.floats(node, 3, i64::from(flag("transB") == 0))?];
                if node.input.get(6).is_some_and(|b| !b.is_empty()) {
                    input.push(self.bias(node, 6, (1, 4), graph, alpha)?);
                }
                let to = self.fresh();
                self.node("Gemm", input, to.clone(), kept);
                self.finish(node, to, 7)
            }
            "QLinearAdd" | "QLinearMul" => {
                let input = vec![self.floats(node, 0, 1)?, self.floats(node, 3, 1)?];
                let to = self.fresh();
                self.node(if node.op_type == "QLinearAdd" { "Add" } else { "Mul" }, input, to.clone(), vec![]);
                self.finish(node, to, 6)
            }
            "QLinearConcat" => {
                let parts = (2..node.input.len()).step_by(3).map(|n| self.floats(node, n, 1)).collect::<Option<Vec<_>>>()?;
                let to = self.fresh();
                self.node("Concat", parts, to.clone(), kept);
                self.finish(node, to, 0)
            }
            _ => {
                let kind = match node.op_type.as_str() {
                    "QLinearGlobalAveragePool" => Some("GlobalAveragePool"),
                    "QLinearAveragePool" => Some("AveragePool"),
                    "QLinearLeakyRelu" => Some("LeakyRelu"),
                    "QLinearSigmoid" => Some("Sigmoid"),
                    // Its axes are an attribute; they were one of the float operator's as well before opset 18.
                    "QLinearReduceMean" if self.opset < 18 => Some("ReduceMean"),
                    // Before opset 13 it took all axes from the one named for one, and `opset` says which is meant.
                    "QLinearSoftmax" if (super::graph::int(node, "opset", 0) < 13) == (self.opset < 13) => Some("Softmax"),
                    _ => None,
                }?;
                let input = vec![self.floats(node, 0, 1)?];
                let to = self.fresh();
                self.node(kind, input, to.clone(), kept);
                self.finish(node, to, 3)
            }
        }
    }

    /// A bias of i32 in units of the two scales at `scales`, times `factor`, as floats.
    fn bias(&mut self, node: &NodeProto, n: usize, scales: (usize, usize), graph: &GraphProto, factor: f32) -> Option<String> {
        let constant = |n: usize| {
            let constant = graph.initializer.iter().find(|t| Some(&t.name) == node.input.get(n));
            constant.and_then(tensor::floats)
        };
        let (a, b) = (constant(scales.0)?, constant(scales.1)?);
        let [a] = a[..] else { return None };
        let scale: Vec<f32> = b.iter().map(|b| a * b * factor).collect();
        let name = format!("{}.bias.scale", self.tag);
        let dims = if scale.len() == 1 { vec![] } else { vec![scale.len() as i64] };
        self.constants.push(TensorProto {
            name: name.clone(),
            data_type: DataType::Float as i32,
            dims,
            float_data: scale,
            ..TensorProto::default()
        });
        let to = self.fresh();
        self.node("DequantizeLinear", vec![node.input.get(n)?.clone(), name], to.clone(), vec![int("axis", 0)]);
        Some(to)
    }
}

fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { name: name.into(), r#type: AttributeType::Int as i32, i: value, ..AttributeProto::default() }
}
