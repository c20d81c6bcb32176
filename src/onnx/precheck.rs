//! What is looked at in an ONNX file before tract sees it.
//!
//! tract 0.23 multiplies the dimensions of a tensor without looking for overflow (unless it is built with overflow checks, as the
//! firmware profile does) and then trusts the product: a crafted shape makes it read past its buffer. So here every
//! tensor's shape product is checked and compared with its data, each kind of number in the one field that tract reads; the
//! same for shapes that a graph states as constants for its own use. External data, nodes that nothing here can
//! run, scales that are none, windows that no picture has, and more of anything than a camera box could use are refused. Dimensions of
//! inputs are bounded too, and the expressions that may stand there, because tract parses them.

use super::tensor::longs;
use crate::qnn;
use std::collections::HashMap;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::dimension::Value;
use tract_onnx::pb::type_proto::Value as Kind;
use tract_onnx::pb::{GraphProto, NodeProto, TensorProto, ValueInfoProto};

/// Most nodes a graph may have, inner graphs included; a ResNet-152 has about 500.
pub const MAX_NODES: usize = 2_000;
/// Most numbers in one tensor: 32 MiB of bytes.
const MAX_ELEMENTS: usize = 32 << 20;
/// Most dimensions of one tensor; a batch of clips has five.
const MAX_RANK: usize = 8;
/// Longest name or expression for an open dimension.
const MAX_DIM_TEXT: usize = 128;
/// Longest side, step or border of a convolution's window; a picture has at most 4096 pixels a side.
const MAX_WINDOW: i64 = 4096;
/// Deepest nesting of graphs.
const MAX_DEPTH: usize = 4;

/// Looks at a graph and those inside it.
///
/// # Errors
/// One sentence: what, found, expected.
pub fn check(graph: &GraphProto) -> Result<(), String> {
    let mut nodes = 0;
    look(graph, 0, &mut nodes)
}

fn look(graph: &GraphProto, depth: usize, nodes: &mut usize) -> Result<(), String> {
    if depth > MAX_DEPTH {
        return Err(format!("graphs nested more than {MAX_DEPTH} deep"));
    }
    *nodes += graph.node.len();
    if *nodes > MAX_NODES {
        return Err(format!("{nodes} nodes found, at most {MAX_NODES} are run"));
    }
    if !graph.sparse_initializer.is_empty() {
        return Err(format!("{} sparse tensors found; weights are read as plain ones", graph.sparse_initializer.len()));
    }
    graph.initializer.iter().try_for_each(tensor)?;
    graph.input.iter().chain(&graph.output).try_for_each(value)?;
    let constants = constants(graph);
    for node in &graph.node {
        known(node)?;
        recurrent(node, &constants)?;
        transposed(node)?;
        window(node)?;
        typed(node, &constants)?;
        misread(node)?;
        for attribute in &node.attribute {
            if attribute.sparse_tensor.is_some() || !attribute.sparse_tensors.is_empty() {
                return Err(format!("{}: a sparse tensor found; weights are read as plain ones", qnn::label(node)));
            }
            attribute.t.iter().chain(&attribute.tensors).try_for_each(tensor)?;
            attribute.g.iter().chain(&attribute.graphs).try_for_each(|g| look(g, depth + 1, nodes))?;
        }
    }
    cut_by_pads(graph, &constants)?;
    stated_shapes(graph, &constants)?;
    scales(graph, &constants)
}

/// Operators of com.microsoft that tract reads as that says, or that mean what the standard's of the same name do.
const MICROSOFT: [&str; 12] = [
    "BiasGelu",
    "DequantizeLinear",
    "FastGelu",
    "GatherBlockQuantized",
    "Gelu",
    "GroupQueryAttention",
    "MatMulNBits",
    "MultiHeadAttention",
    "QuantizeLinear",
    "QuickGelu",
    "RotaryEmbedding",
    "SkipLayerNormalization",
];

/// Can tract or our own operator run it? tract would say so later, in more words, and looks at names alone: anybody's `Relu` is the standard's to it.
/// Our own operator is not for files.
fn known(node: &NodeProto) -> Result<(), String> {
    let (kind, domain) = (node.op_type.as_str(), node.domain.as_str());
    let is_tracts = super::reader().op_register.0.contains_key(kind);
    let known = match domain {
        "" | "ai.onnx" | "ai.onnx.ml" => is_tracts,
        "com.microsoft" => qnn::is_fused(node) || (is_tracts && MICROSOFT.contains(&kind)),
        _ => false,
    };
    if known {
        return Ok(());
    }
    let of = if domain.is_empty() { String::new() } else { format!(" of {domain:.60}") };
    Err(format!("{}{of}: nothing here can run this operator", qnn::label(node)))
}

/// tract runs the standard cells and passes over attributes that ask for others, which would be silently wrong.
fn recurrent(node: &NodeProto, constants: &HashMap<&str, &TensorProto>) -> Result<(), String> {
    let standard: &[&str] = match node.op_type.as_str() {
        "LSTM" => &["Sigmoid", "Tanh", "Tanh"],
        "GRU" => &["Sigmoid", "Tanh"],
        "RNN" => &["Tanh"],
        _ => return Ok(()),
    };
    let is_half = |name: &String| constants.get(name.as_str()).is_some_and(|t| t.data_type == DataType::Float16 as i32);
    if node.input.iter().any(is_half) {
        return Err(format!("{}: weights in half precision; recurrent layers are run in f32, export it so", qnn::label(node)));
    }
    for attribute in &node.attribute {
        let found = match attribute.name.as_str() {
            "activations" => {
                let asked: Vec<_> = attribute.strings.iter().map(|s| String::from_utf8_lossy(s)).collect();
                // A bidirectional node lists them once a direction.
                let equal = asked.iter().zip(standard.iter().cycle()).all(|(a, s)| a.eq_ignore_ascii_case(s));
                if equal {
                    continue;
                }
                asked.join(", ")
            }
            "clip" => format!("clip = {}", attribute.f),
            "input_forget" if attribute.i != 0 => "input_forget = 1".into(),
            "direction" if attribute.s == b"reverse" => "direction = reverse".into(),
            _ => continue,
        };
        return Err(format!(
            "{} {}: {found} asked for, only the standard cell ({}), forward or both ways, is run",
            node.op_type,
            node.name,
            standard.join(", ")
        ));
    }
    Ok(())
}

/// tract looks for ever for the place of an axis that is named twice.
fn transposed(node: &NodeProto) -> Result<(), String> {
    let Some(axes) = node.attribute.iter().find(|a| node.op_type == "Transpose" && a.name == "perm") else { return Ok(()) };
    let mut sorted = axes.ints.clone();
    sorted.sort_unstable();
    if sorted.len() <= MAX_RANK && sorted.iter().copied().eq(0..sorted.len() as i64) {
        return Ok(());
    }
    let some: Vec<i64> = axes.ints.iter().copied().take(MAX_RANK + 1).collect();
    Err(format!("{}: perm = {some:?} found, every axis is expected once", qnn::label(node)))
}

/// Quantised numbers are bytes. A quantiser whose zero point is left out makes u8; tract passes over an attribute that asks for another type.
fn typed(node: &NodeProto, constants: &HashMap<&str, &TensorProto>) -> Result<(), String> {
    if !matches!(node.op_type.as_str(), "QuantizeLinear" | "DequantizeLinear") {
        return Ok(());
    }
    let asked = node.attribute.iter().find(|a| node.op_type == "QuantizeLinear" && a.name == "output_dtype").map_or(0, |a| a.i);
    let zero = node.input.get(2).filter(|zero| !zero.is_empty());
    let stated = zero.or(node.input.first()).and_then(|name| constants.get(name.as_str())).map_or(0, |t| i64::from(t.data_type));
    let wide = [DataType::Int16 as i64, DataType::Uint16 as i64];
    if wide.contains(&asked) || wide.contains(&stated) {
        return Err(format!("{}: quantised to 16 bits, 8 bits are run; quantise it to u8 or i8", qnn::label(node)));
    }
    if zero.is_some() || [0, DataType::Uint8 as i64].contains(&asked) {
        return Ok(());
    }
    Err(format!("{}: output_dtype = {asked} found without a zero point; export it with zero points", qnn::label(node)))
}

/// Operators that tract passes over a part of, which would be silently wrong.
fn misread(node: &NodeProto) -> Result<(), String> {
    let attribute = |name: &str| node.attribute.iter().find(|a| a.name == name);
    let why = match node.op_type.as_str() {
        _ if attribute("channels_last").is_some_and(|a| a.i != 0) => {
            "channels_last is not run; take the network as it was before ONNX Runtime optimised it"
        }
        "Celu" | "Swish" if attribute("alpha").is_some_and(|a| a.f != 1.0) => "alpha = 1 is all that is run",
        "SpaceToDepth" if attribute("mode").is_some_and(|a| a.s == b"CRD") => "mode = DCR is all that is run",
        "GlobalLpPool" => "it is not run as ONNX says",
        "ConvTranspose" if attribute("output_shape").is_some() => "output_shape is not run; export it with pads",
        _ => return Ok(()),
    };
    Err(format!("{}: {why}", qnn::label(node)))
}

/// What is wrong with a border of so many pixels; one below zero cuts, and tract goes beyond its buffer.
pub(super) fn wrong_pad(pad: i64) -> Option<String> {
    (!(0..=MAX_WINDOW).contains(&pad)).then(|| format!("pads of {pad} found, expected 0 to {MAX_WINDOW}; a Slice cuts"))
}

/// Pads that the graph states; those that it computes are looked at when tract has computed them.
fn cut_by_pads(graph: &GraphProto, constants: &HashMap<&str, &TensorProto>) -> Result<(), String> {
    for node in graph.node.iter().filter(|n| n.op_type == "Pad") {
        let old = node.attribute.iter().find(|a| a.name == "pads").map(|a| a.ints.clone());
        let stated = node.input.get(1).and_then(|i| constants.get(i.as_str())).filter(|t| t.data_type == DataType::Int64 as i32);
        let pads = old.or_else(|| stated.and_then(|t| longs(t))).unwrap_or_default();
        if let Some(why) = pads.iter().find_map(|pad| wrong_pad(*pad)) {
            return Err(format!("{}: {why}", qnn::label(node)));
        }
    }
    Ok(())
}

/// Convolutions and pools: does the window lie in a picture that could be here?
fn window(node: &NodeProto) -> Result<(), String> {
    let windowed = node.op_type.contains("Conv") || node.op_type.ends_with("Pool");
    let ints = |name: &str| node.attribute.iter().find(|a| a.name == name).map(|a| a.ints.as_slice()).unwrap_or_default();
    // `auto_pad` makes a border as wide as the window reaches. A kernel that is not said is that of the weights, which are small.
    let kernel = ints("kernel_shape");
    let reach = |(n, d): (usize, &i64)| d.saturating_mul(kernel.get(n).map_or(64, |k| k.saturating_sub(1)));
    if let Some(reach) = ints("dilations").iter().enumerate().map(reach).find(|r| windowed && *r > MAX_WINDOW) {
        return Err(format!("{}: a window that reaches {reach} pixels far, at most {MAX_WINDOW} are run", qnn::label(node)));
    }
    for attribute in node.attribute.iter().filter(|_| windowed) {
        let least = match attribute.name.as_str() {
            "pads" | "output_padding" => 0,
            "kernel_shape" | "strides" | "dilations" => 1,
            _ => continue,
        };
        if let Some(n) = attribute.ints.iter().find(|n| !(least..=MAX_WINDOW).contains(n)) {
            return Err(format!("{}: {} of {n} found, expected {least} to {MAX_WINDOW}", qnn::label(node), attribute.name));
        }
    }
    Ok(())
}

/// One tensor: does its data have the length that its shape and type promise?
fn tensor(t: &TensorProto) -> Result<(), String> {
    let name = if t.name.is_empty() { "a constant" } else { &t.name };
    if t.data_location == Some(1) || !t.external_data.is_empty() {
        return Err(format!("{name} lies in another file; a bundle holds its weights itself"));
    }
    if t.dims.len() > MAX_RANK {
        return Err(format!("{name} has {} dimensions, at most {MAX_RANK} are read", t.dims.len()));
    }
    let count = product(t.dims.iter().copied());
    let count = count.ok_or_else(|| format!("{name} has shape {:?}, at most {MAX_ELEMENTS} numbers are read", t.dims))?;
    let kind =
        DataType::try_from(t.data_type).map_err(|_| format!("{name} has data type {}, which ONNX does not know", t.data_type))?;
    // Bytes a number where it is raw, and the field that tract reads where it is not.
    let (size, listed) = match kind {
        DataType::Float => (4, t.float_data.len()),
        DataType::Double => (8, t.double_data.len()),
        DataType::Int64 => (8, t.int64_data.len()),
        DataType::Int32 | DataType::Uint32 => (4, t.int32_data.len()),
        DataType::Int16 | DataType::Uint16 | DataType::Float16 => (2, t.int32_data.len()),
        DataType::Int8 | DataType::Uint8 | DataType::Bool => (1, t.int32_data.len()),
        _ => return Err(format!("{name} holds {kind:?}, which no camera box runs")),
    };
    let (found, expected) = if t.raw_data.is_empty() { (listed, count) } else { (t.raw_data.len(), count * size) };
    if found != expected {
        return Err(format!("{name} of shape {:?} holds {found} where {expected} are needed", t.dims));
    }
    Ok(())
}

/// The product of dimensions, if it is one of a tensor that could be here.
fn product(dims: impl Iterator<Item = i64>) -> Option<usize> {
    let mut dims = dims;
    dims.try_fold(1usize, |all, d| all.checked_mul(usize::try_from(d).ok()?)).filter(|n| *n <= MAX_ELEMENTS)
}

/// An input or output: is its shape one that could be here?
fn value(v: &ValueInfoProto) -> Result<(), String> {
    let Some(Kind::TensorType(t)) = v.r#type.as_ref().and_then(|t| t.value.as_ref()) else { return Ok(()) };
    let dims = t.shape.as_ref().map_or(&[][..], |s| &s.dim);
    let stated = dims.iter().filter_map(|d| match d.value {
        // tract takes a negative number for an open dimension.
        Some(Value::DimValue(n)) if n > 0 => Some(n),
        _ => None,
    });
    if dims.len() > MAX_RANK || product(stated).is_none() {
        return Err(format!(
            "{} has {} dimensions of more than {MAX_ELEMENTS} numbers together, or more than {MAX_RANK}",
            v.name,
            dims.len()
        ));
    }
    for dim in dims {
        if let Some(Value::DimParam(text)) = &dim.value
            && (text.len() > MAX_DIM_TEXT || text.contains(|c: char| c.is_control()))
        {
            return Err(format!("{}: a dimension is called by {} characters, expected a name", v.name, text.len()));
        }
    }
    Ok(())
}

/// Tensors that a graph states: initializers and what `Constant` gives.
fn constants(graph: &GraphProto) -> HashMap<&str, &TensorProto> {
    let mut constants: HashMap<&str, &TensorProto> = graph.initializer.iter().map(|t| (t.name.as_str(), t)).collect();
    for node in graph.node.iter().filter(|n| n.op_type == "Constant") {
        let value = node.attribute.iter().find(|a| a.name == "value").and_then(|a| a.t.as_ref());
        if let (Some(t), Some(out)) = (value, node.output.first()) {
            constants.insert(out, t);
        }
    }
    constants
}

/// Scales of quantised operators: all floats that they have as constants, behind their first input.
fn scales(graph: &GraphProto, constants: &HashMap<&str, &TensorProto>) -> Result<(), String> {
    let quantised = |n: &&NodeProto| {
        let op = n.op_type.as_str();
        op.starts_with("QLinear") || matches!(op, "QGemm" | "QuantizeLinear" | "DequantizeLinear")
    };
    for node in graph.node.iter().filter(quantised) {
        let stated = node.input.iter().skip(1).filter_map(|i| constants.get(i.as_str()));
        for t in stated.filter(|t| t.data_type == DataType::Float as i32) {
            let (chunks, _) = t.raw_data.as_chunks::<4>();
            let raw = chunks.iter().map(|c| f32::from_le_bytes(*c));
            if let Some(bad) = t.float_data.iter().copied().chain(raw).find(|s| !(s.is_finite() && *s > 0.0)) {
                return Err(format!("{}: a scale of {bad} found, expected a number above 0", qnn::label(node)));
            }
        }
    }
    Ok(())
}

/// Shapes that the graph states as constants for its own use: which input of which operator makes a tensor of that size.
fn stated_shapes(graph: &GraphProto, constants: &HashMap<&str, &TensorProto>) -> Result<(), String> {
    let makers = |op: &str| match op {
        "ConstantOfShape" => Some(0),
        "Expand" | "Reshape" | "Tile" => Some(1),
        "Resize" => Some(3),
        _ => None,
    };
    for node in &graph.node {
        let shape = makers(&node.op_type).and_then(|n| node.input.get(n)).and_then(|i| constants.get(i.as_str()));
        let Some(shape) = shape.filter(|t| t.data_type == DataType::Int64 as i32) else { continue };
        let dims = longs(shape).unwrap_or_default();
        // Reshape has 0 for "as it was" and -1 for "what is left".
        if dims.len() > MAX_RANK || product(dims.iter().copied().filter(|d| !matches!(d, -1 | 0))).is_none() {
            let few: Vec<i64> = dims.into_iter().take(MAX_RANK).collect();
            return Err(format!("{} asks for shape {few:?}, at most {MAX_ELEMENTS} numbers fit here", qnn::label(node)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tract_onnx::pb::AttributeProto;

    fn refused(graph: GraphProto) -> String {
        check(&graph).expect_err("this must be refused")
    }

    fn weights(dims: &[i64], kind: DataType, raw: usize) -> GraphProto {
        let w = TensorProto {
            name: "w".into(),
            dims: dims.to_vec(),
            data_type: kind as i32,
            raw_data: vec![0; raw],
            ..TensorProto::default()
        };
        GraphProto { initializer: vec![w], ..GraphProto::default() }
    }

    fn node(op: &str, input: &[&str]) -> NodeProto {
        NodeProto {
            op_type: op.into(),
            name: "n".into(),
            input: input.iter().map(|i| (*i).into()).collect(),
            ..NodeProto::default()
        }
    }

    #[test]
    fn shapes_that_wrap_or_lie_are_refused() {
        assert!(check(&weights(&[2, 3], DataType::Float, 24)).is_ok());
        // 2^32 * 2^32 * 4 is 0 in 64 bits.
        assert!(refused(weights(&[1 << 32, 1 << 32], DataType::Float, 4)).contains("at most"));
        assert!(refused(weights(&[-1, -6], DataType::Float, 24)).contains("shape [-1, -6]"));
        assert!(refused(weights(&[2, 3], DataType::Float, 23)).contains("holds 23 where 24 are needed"));
        assert!(refused(weights(&[1; 9], DataType::Float, 4)).contains("9 dimensions"));
        assert!(refused(weights(&[1], DataType::String, 1)).contains("String"));
        assert!(refused(weights(&[1], DataType::Complex64, 8)).contains("Complex64"));
        let mut other = weights(&[2], DataType::Float, 0);
        other.initializer[0].int64_data = vec![1, 2];
        assert!(refused(other).contains("holds 0 where 2 are needed"), "numbers in a field that tract does not read");
        let mut away = weights(&[1], DataType::Float, 4);
        away.initializer[0].data_location = Some(1);
        assert!(refused(away).contains("another file"));
    }

    #[test]
    fn nodes_nobody_knows_and_shapes_nobody_can_hold_are_refused() {
        let graph = |node: NodeProto| GraphProto { node: vec![node], ..GraphProto::default() };
        assert!(check(&graph(node("Relu", &["x"]))).is_ok());
        assert!(refused(graph(node("FormatDisk", &["x"]))).contains("FormatDisk n: nothing here can run"));
        assert!(refused(graph(node("LookoutQuantised", &["x"]))).contains("nothing here can run"), "not for files");
        let shape = |dims: &[i64]| TensorProto {
            name: "s".into(),
            dims: vec![dims.len() as i64],
            data_type: DataType::Int64 as i32,
            int64_data: dims.to_vec(),
            ..TensorProto::default()
        };
        for (op, input) in
            [("ConstantOfShape", vec!["s"]), ("Expand", vec!["x", "s"]), ("Tile", vec!["x", "s"]), ("Reshape", vec!["x", "s"])]
        {
            let asks = |dims: &[i64]| GraphProto { initializer: vec![shape(dims)], ..graph(node(op, &input)) };
            assert!(check(&asks(&[1, 4, 2])).is_ok(), "{op}");
            assert!(refused(asks(&[1 << 40, 1 << 40])).contains("asks for shape"), "{op}");
            assert!(refused(asks(&[-7, 3])).contains("asks for shape"), "{op}");
        }
        let turned = |perm: &[i64]| {
            let perm = AttributeProto { name: "perm".into(), ints: perm.to_vec(), ..AttributeProto::default() };
            graph(NodeProto { attribute: vec![perm], ..node("Transpose", &["x"]) })
        };
        assert!(check(&turned(&[2, 0, 1])).is_ok());
        for perm in [&[0, 0, 2][..], &[1, 2, 3], &[-1, 0, 1], &[0; 2000]] {
            let said = refused(turned(perm));
            assert!(
                said.contains("Transpose n: perm = ") && said.contains("every axis is expected once") && said.len() < 120,
                "{said}"
            );
        }
        let scaled = |op: &str, scale: f32| {
            let s = TensorProto {
                name: "s".into(),
                data_type: DataType::Float as i32,
                float_data: vec![scale],
                ..TensorProto::default()
            };
            GraphProto { initializer: vec![s], ..graph(node(op, &["x", "s"])) }
        };
        for op in ["QuantizeLinear", "DequantizeLinear", "QLinearConv"] {
            assert!(check(&scaled(op, 0.5)).is_ok(), "{op}");
            for bad in [0.0, -0.1, f32::NAN, f32::INFINITY] {
                assert!(refused(scaled(op, bad)).contains(&format!("{op} n: a scale of {bad} found")), "{op}");
            }
        }
        assert!(check(&scaled("Mul", 0.0)).is_ok(), "no scale");
        let reaching = |what: &str, n: i64| {
            let ints = AttributeProto { name: what.into(), ints: vec![1, n], ..AttributeProto::default() };
            graph(NodeProto { attribute: vec![ints], ..node("Conv", &["x", "w"]) })
        };
        assert!(check(&reaching("pads", 3)).is_ok());
        for (what, n) in [("pads", -1), ("pads", 1 << 40), ("strides", 0), ("kernel_shape", 4097), ("dilations", -3)] {
            assert!(refused(reaching(what, n)).contains(&format!("Conv n: {what} of {n} found")), "{what}");
        }
        let many = GraphProto { node: vec![node("Relu", &["x"]); MAX_NODES + 1], ..GraphProto::default() };
        assert!(refused(many).contains("2001 nodes"));
    }
}
