//! ONNX files, written node by node: what a head and a small CNN need and no more. Opset 13, the oldest that knows scales a channel.

use prost::Message;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};
use tract_onnx::pb::type_proto;
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto, TypeProto,
    ValueInfoProto,
};

/// An attribute's value.
#[derive(Clone, Debug)]
pub enum Attribute {
    /// One number.
    Int(i64),
    /// Several.
    Ints(Vec<i64>),
}

/// A graph that grows.
#[derive(Debug, Default)]
pub struct Graph {
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
}

/// Weights in s8, one scale for each row of `[rows, depth]`: bytes and scales.
pub fn rounded(weights: &[f32], depth: usize) -> (Vec<i8>, Vec<f32>) {
    let scale = |row: &[f32]| row.iter().fold(0.0f32, |m, w| m.max(w.abs())).max(1e-9) / 127.0;
    let scales: Vec<f32> = weights.chunks_exact(depth).map(scale).collect();
    let rows = weights.chunks_exact(depth).zip(&scales);
    let bytes = rows.flat_map(|(row, s)| row.iter().map(move |w| (w / s).round_ties_even().clamp(-127.0, 127.0) as i8)).collect();
    (bytes, scales)
}

impl Graph {
    /// A node; its name is that of its first output.
    pub fn node(&mut self, operator: &str, inputs: &[&str], outputs: &[&str], attributes: &[(&str, Attribute)]) {
        let attribute = |(name, value): &(&str, Attribute)| {
            let mut a = AttributeProto { name: (*name).into(), ..AttributeProto::default() };
            match value {
                Attribute::Int(i) => (a.i, a.r#type) = (*i, AttributeType::Int as i32),
                Attribute::Ints(list) => (a.ints, a.r#type) = (list.clone(), AttributeType::Ints as i32),
            }
            a
        };
        let texts = |list: &[&str]| list.iter().map(|t| (*t).to_string()).collect::<Vec<_>>();
        self.nodes.push(NodeProto {
            name: outputs.iter().find(|o| !o.is_empty()).map_or_else(String::new, |o| format!("{o}_node")),
            op_type: operator.into(),
            input: texts(inputs),
            output: texts(outputs),
            attribute: attributes.iter().map(attribute).collect(),
            ..NodeProto::default()
        });
    }

    fn constant(&mut self, name: &str, dims: &[usize], kind: DataType, bytes: Vec<u8>) {
        let dims = dims.iter().map(|d| *d as i64).collect();
        self.constants.push(TensorProto {
            name: name.into(),
            dims,
            data_type: kind as i32,
            raw_data: bytes,
            ..TensorProto::default()
        });
    }

    /// Numbers that do not change.
    pub fn floats(&mut self, name: &str, dims: &[usize], values: &[f32]) {
        self.constant(name, dims, DataType::Float, values.iter().flat_map(|v| v.to_le_bytes()).collect());
    }

    /// Axes and shapes.
    pub fn longs(&mut self, name: &str, values: &[i64]) {
        self.constant(name, &[values.len()], DataType::Int64, values.iter().flat_map(|v| v.to_le_bytes()).collect());
    }

    /// Weights in s8 with a scale for each place of `axis`, as a float tensor `name`. `dims` as the weights lie; before `axis` there may only be
    /// ones.
    pub fn weights(&mut self, name: &str, dims: &[usize], axis: usize, weights: &[f32]) -> Vec<f32> {
        let depth = dims[axis + 1..].iter().product();
        let (bytes, scales) = rounded(weights, depth);
        let [q, s, z] = ["s8", "scale", "zero"].map(|part| format!("{name}_{part}"));
        self.constant(&q, dims, DataType::Int8, bytes.iter().map(|b| *b as u8).collect());
        self.floats(&s, &[scales.len()], &scales);
        self.constant(&z, &[scales.len()], DataType::Int8, vec![0; scales.len()]);
        self.node("DequantizeLinear", &[&q, &s, &z], &[name], &[("axis", Attribute::Int(axis as i64))]);
        scales
    }

    /// A bias in s32, whose steps are those of the products it is added to, as a float tensor `name`.
    pub fn bias(&mut self, name: &str, values: &[f32], steps: &[f32]) {
        let [q, s, z] = ["s32", "scale", "zero"].map(|part| format!("{name}_{part}"));
        let whole = values.iter().zip(steps).map(|(v, s)| (v / s).round_ties_even().clamp(-2e9, 2e9) as i32);
        self.constant(&q, &[values.len()], DataType::Int32, whole.flat_map(i32::to_le_bytes).collect());
        self.floats(&s, &[steps.len()], steps);
        self.constant(&z, &[steps.len()], DataType::Int32, vec![0; 4 * steps.len()]);
        self.node("DequantizeLinear", &[&q, &s, &z], &[name], &[("axis", Attribute::Int(0))]);
    }

    /// The quantiser of an activation as constants: their names.
    pub fn quantiser(&mut self, name: &str, scale: f32, zero: u8) -> [String; 2] {
        let [s, z] = ["scale", "zero"].map(|part| format!("{name}_{part}"));
        self.floats(&s, &[], &[scale]);
        self.constant(&z, &[], DataType::Uint8, vec![zero]);
        [s, z]
    }

    /// The file. `input` and `output`: name and shape; the input is bytes if `bytes`.
    pub fn file(self, input: (&str, &[usize]), bytes: bool, output: (&str, &[usize])) -> Vec<u8> {
        let value = |(name, dims): (&str, &[usize]), kind: DataType| {
            let dim = |d: &usize| Dimension { value: Some(dimension::Value::DimValue(*d as i64)), ..Dimension::default() };
            let shape = Some(TensorShapeProto { dim: dims.iter().map(dim).collect() });
            let tensor = type_proto::Value::TensorType(type_proto::Tensor { elem_type: kind as i32, shape });
            let kind = TypeProto { value: Some(tensor), ..TypeProto::default() };
            ValueInfoProto { name: name.into(), r#type: Some(kind), ..ValueInfoProto::default() }
        };
        let graph = GraphProto {
            name: output.0.into(),
            node: self.nodes,
            initializer: self.constants,
            input: vec![value(input, if bytes { DataType::Uint8 } else { DataType::Float })],
            output: vec![value(output, DataType::Float)],
            ..GraphProto::default()
        };
        let model = ModelProto {
            ir_version: 8,
            producer_name: "lookout".into(),
            producer_version: env!("CARGO_PKG_VERSION").into(),
            opset_import: vec![OperatorSetIdProto { domain: String::new(), version: 13 }],
            graph: Some(graph),
            ..ModelProto::default()
        };
        model.encode_to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_rounded_to_127_steps_of_their_own() {
        let (bytes, scales) = rounded(&[1.0, -0.25, 0.0, 0.02, 0.005, -0.02], 3);
        assert_eq!(bytes, [127, -32, 0, 127, 32, -127]);
        assert!((scales[0] - 1.0 / 127.0).abs() < 1e-9 && (scales[1] - 0.02 / 127.0).abs() < 1e-9);
    }
}
