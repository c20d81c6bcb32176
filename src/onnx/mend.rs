//! What tract 0.23 computes otherwise than ONNX says, and can be told in other words.
//!
//! `precheck.rs` refuses what cannot be mended; this is for what exporters write. tract is given the mended copy, our own operator reads the file as it is.

use crate::qnn::File;
use std::borrow::Cow;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{AttributeProto, ModelProto, NodeProto, TensorProto};

/// What is said instead of one node: nodes, and constants for them.
#[derive(Default)]
struct Words {
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
}

/// The model in words that tract takes as they are meant; a copy only where there is something to mend.
pub(super) fn mended(proto: &ModelProto) -> Cow<'_, ModelProto> {
    // tract has its own sentence for a graph that is none.
    let Some(Ok(file)) = proto.graph.as_ref().map(File::new) else { return Cow::Borrowed(proto) };
    let words: Vec<Option<Words>> = file.graph.node.iter().map(|node| other_words(node, &file)).collect();
    if words.iter().all(Option::is_none) {
        return Cow::Borrowed(proto);
    }
    let mut proto = proto.clone();
    if let Some(graph) = proto.graph.as_mut() {
        for (node, words) in std::mem::take(&mut graph.node).into_iter().zip(words) {
            match words {
                Some(mut words) => {
                    graph.node.append(&mut words.nodes);
                    graph.initializer.append(&mut words.constants);
                }
                None => graph.node.push(node),
            }
        }
    }
    Cow::Owned(proto)
}

/// What tract is told instead of a node; `None`: it takes it as it is meant.
fn other_words(node: &NodeProto, file: &File<'_>) -> Option<Words> {
    let words = match node.op_type.as_str() {
        "Pad" => pad(node),
        "Softplus" => Some(softplus(node)),
        "DequantizeLinear" => dequantised(node, file),
        _ => None,
    };
    words.or_else(|| trimmed(node))
}

/// Without inputs and outputs that are left out at the end by names of no letters. tract takes them for there in places.
fn trimmed(node: &NodeProto) -> Option<Words> {
    let count = |names: &[String]| names.iter().rposition(|name| !name.is_empty()).map_or(0, |last| last + 1);
    let (inputs, outputs) = (count(&node.input), count(&node.output));
    if inputs == node.input.len() && outputs == node.output.len() {
        return None;
    }
    let mut node = node.clone();
    node.input.truncate(inputs);
    node.output.truncate(outputs);
    Some(Words { nodes: vec![node], ..Words::default() })
}

/// A `Pad` by edges or reflections whose constant means nothing. tract pads with it all the same.
fn pad(node: &NodeProto) -> Option<Words> {
    let mode = node.attribute.iter().find(|a| a.name == "mode")?;
    if mode.s == b"constant" || node.input.get(2).is_none_or(|value| value.is_empty()) {
        return None;
    }
    let mut node = node.clone();
    node.input[2].clear();
    Some(Words { nodes: vec![node], ..Words::default() })
}

/// max(x, 0) - ln(sigmoid(|x|)), which is the same: tract's e^x overflows from 89 on. No constant, whose type would have to be known.
fn softplus(node: &NodeProto) -> Words {
    let (x, y) = (node.input.first().cloned().unwrap_or_default(), node.output.first().cloned().unwrap_or_default());
    let part = |name: &str| format!("lookout/softplus/{y}/{name}");
    let [above, size, part_of_one, log] = ["above", "size", "sigmoid", "log"].map(part);
    let nodes = vec![
        op("Relu", &[&x], &above),
        op("Abs", &[&x], &size),
        op("Sigmoid", &[&size], &part_of_one),
        op("Log", &[&part_of_one], &log),
        op("Sub", &[&above, &log], &y),
    ];
    Words { nodes, ..Words::default() }
}

/// (x - zero) * scale as just that, which is the same: a byte less a byte is exact in f32. Between a `DequantizeLinear` and a quantiser tract takes
/// what leaves axes as they are for a function of single bytes, which a softmax is not, and fails where the two are of different types.
/// Constants stay, which are computed once, and scales along an axis, which tract takes as they are meant.
fn dequantised(node: &NodeProto, file: &File<'_>) -> Option<Words> {
    let input = |n: usize| node.input.get(n).map(String::as_str).filter(|i| !i.is_empty());
    let x = input(0).filter(|x| file.constant(x).is_none())?;
    let y = node.output.first().filter(|y| !y.is_empty())?;
    let scale = file.float(input(1)?)?;
    let zero = match input(2).map(|zero| file.integers(zero)) {
        None => 0,
        Some(stated) => {
            let (zero, kind) = stated?;
            match zero[..] {
                [0] => 0,
                [zero] if kind != DataType::Int32 => zero,
                _ => return None,
            }
        }
    };
    let part = |name: &str| format!("lookout/dequantised/{y}/{name}");
    let number = |name: &str, value: f32| TensorProto {
        name: part(name),
        data_type: DataType::Float as i32,
        float_data: vec![value],
        ..TensorProto::default()
    };
    let float = AttributeProto {
        name: "to".into(),
        r#type: AttributeType::Int as i32,
        i: DataType::Float as i64,
        ..AttributeProto::default()
    };
    let mut from = part("float");
    let mut words = Words::default();
    words.nodes.push(NodeProto { attribute: vec![float], ..op("Cast", &[x], &from) });
    if zero != 0 {
        let (zero, less) = (number("zero", zero as f32), part("less zero"));
        words.nodes.push(op("Sub", &[&from, &zero.name], &less));
        words.constants.push(zero);
        from = less;
    }
    let scale = number("scale", scale);
    words.nodes.push(NodeProto { name: node.name.clone(), ..op("Mul", &[&from, &scale.name], y) });
    words.constants.push(scale);
    Some(words)
}

/// A node of the standard's, called what it makes.
fn op(kind: &str, input: &[&str], output: &str) -> NodeProto {
    NodeProto {
        op_type: kind.into(),
        name: output.into(),
        input: input.iter().map(|i| (*i).into()).collect(),
        output: vec![output.into()],
        ..NodeProto::default()
    }
}
