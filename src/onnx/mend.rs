//! What tract 0.23 computes otherwise than ONNX says, and can be told in other words.
//!
//! `precheck.rs` refuses what cannot be mended; this is for what exporters write. tract is given the mended copy, our own operator reads the file as it is.

use std::borrow::Cow;
use tract_onnx::pb::{ModelProto, NodeProto};

/// The model in words that tract takes as they are meant; a copy only where there is something to mend.
pub(super) fn mended(proto: &ModelProto) -> Cow<'_, ModelProto> {
    let nodes = proto.graph.iter().flat_map(|g| &g.node);
    if !nodes.into_iter().any(|n| pads_with(n).is_some() || n.op_type == "Softplus") {
        return Cow::Borrowed(proto);
    }
    let mut proto = proto.clone();
    let Some(graph) = proto.graph.as_mut() else { return Cow::Owned(proto) };
    let mut nodes = Vec::with_capacity(graph.node.len());
    for mut node in std::mem::take(&mut graph.node) {
        if let Some(value) = pads_with(&node) {
            node.input[value].clear();
            nodes.push(node);
        } else if node.op_type == "Softplus" {
            nodes.extend(softplus(&node));
        } else {
            nodes.push(node);
        }
    }
    graph.node = nodes;
    Cow::Owned(proto)
}

/// A `Pad` by edges or reflections whose constant means nothing: which input that is. tract pads with it all the same.
fn pads_with(node: &NodeProto) -> Option<usize> {
    let mode = node.attribute.iter().find(|a| node.op_type == "Pad" && a.name == "mode")?;
    (mode.s != b"constant" && node.input.get(2).is_some_and(|value| !value.is_empty())).then_some(2)
}

/// max(x, 0) - ln(sigmoid(|x|)), which is the same: tract's e^x overflows from 89 on. No constant, whose type would have to be known.
fn softplus(node: &NodeProto) -> Vec<NodeProto> {
    let (x, y) = (node.input.first().cloned().unwrap_or_default(), node.output.first().cloned().unwrap_or_default());
    let part = |name: &str| format!("lookout/softplus/{y}/{name}");
    let op = |kind: &str, input: &[&str], output: &str| NodeProto {
        op_type: kind.into(),
        name: output.into(),
        input: input.iter().map(|i| (*i).into()).collect(),
        output: vec![output.into()],
        ..NodeProto::default()
    };
    let [above, size, part_of_one, log] = ["above", "size", "sigmoid", "log"].map(part);
    vec![
        op("Relu", &[&x], &above),
        op("Abs", &[&x], &size),
        op("Sigmoid", &[&size], &part_of_one),
        op("Log", &[&part_of_one], &log),
        op("Sub", &[&above, &log], &y),
    ]
}
