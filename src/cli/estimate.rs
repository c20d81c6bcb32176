//! What int8 would give an encoder that computes in float.
//!
//! Counted and measured, not looked up: the multiplications of the graph's convolutions and dense layers, and the rate at which
//! this processor does them on bytes in a layer of middling size. Where something stands between convolutions that is not run on bytes (the
//! shuffling of channels, for one), pictures become floats and bytes again, which is not counted: then the sentence says "at most".

use super::bench::cpu_time;
use crate::onnx;
use crate::qnn::kernels::Isa;
use crate::qnn::{label, measure};
use std::collections::HashMap;
use std::time::Duration;
use tract_onnx::pb::{GraphProto, ModelProto, NodeProto};

/// One sentence about an encoder none of which runs on bytes, and that takes `built` a run. `None`: it takes no pictures.
pub fn estimate(proto: &ModelProto, shape: &[usize], built: Duration, isa: Isa) -> Option<String> {
    match shape.len() {
        4 => {}
        5 => {
            return Some(
                "an encoder of clips: its convolutions in three dimensions are not run on bytes, quantising it gives nothing"
                    .into(),
            );
        }
        _ => return None,
    }
    let Some(macs) = multiplications(proto, shape).filter(|m| *m > 0) else {
        return Some("it has no convolution that int8 would speed up".into());
    };
    let rate = measure(isa, cpu_time);
    // Small layers reach half of what a large one does.
    let bytes_s = 2.0 * macs as f64 / rate;
    let times = built.as_secs_f64() / bytes_s;
    let costs = format!(
        "{:.1} million multiplications would take about {:.2} ms on bytes ({isa} does {:.0} billion a second in one layer), {:.2} ms as it is",
        macs as f64 / 1e6,
        1e3 * bytes_s,
        rate / 1e9,
        built.as_secs_f64() * 1e3
    );
    let (most, between) = match proto.graph.as_ref().and_then(between) {
        Some(node) => ("at most ", format!(": {node} stands between convolutions and stays in float")),
        None => ("about ", String::new()),
    };
    Some(match () {
        () if is_quantised(proto) => {
            format!("it is quantised, and none of it in a way that is run on bytes (why: above); {costs}")
        }
        () if times < 1.5 => format!("nothing here is quantised; {costs}: quantising it would gain little"),
        () => format!(
            "nothing here is quantised; {costs}: quantise it (QDQ, s8 weights per channel) with the training framework, and it is \
             {most}{times:.1} times as fast{between}"
        ),
    })
}

/// Does it quantise anything?
fn is_quantised(proto: &ModelProto) -> bool {
    let says = |kind: &str| kind.contains("QuantizeLinear") || kind.starts_with("QLinear") || kind.ends_with("Integer");
    proto.graph.iter().flat_map(|g| &g.node).any(|n| says(&n.op_type))
}

/// The first operator between convolutions that is not run on bytes: what moves or resizes, as nets that shuffle channels or look at several sizes do.
fn between(graph: &GraphProto) -> Option<String> {
    // Tensors behind a convolution, and such an operator that they have come through since.
    let mut behind: HashMap<&str, Option<&NodeProto>> = HashMap::new();
    for node in graph.node.iter().filter(|n| n.op_type != "Shape") {
        let read: Vec<Option<&NodeProto>> = node.input.iter().filter_map(|i| behind.get(i.as_str()).copied()).collect();
        let through = read.iter().copied().flatten().next();
        let moves = match node.op_type.as_str() {
            "Conv" if through.is_some() => return through.map(label),
            "Conv" => false,
            _ if read.is_empty() => continue,
            "ConvTranspose" | "DepthToSpace" | "Gather" | "Resize" | "Slice" | "Softmax" | "SpaceToDepth" | "Split"
            | "Transpose" => true,
            _ => false,
        };
        let through = through.or(moves.then_some(node));
        behind.extend(node.output.iter().filter(|o| !o.is_empty()).map(|o| (o.as_str(), through)));
    }
    None
}

/// Multiplications in convolutions and dense layers, where their shapes are known.
fn multiplications(proto: &ModelProto, shape: &[usize]) -> Option<u64> {
    let graph = proto.graph.as_ref()?;
    let shapes = onnx::shapes(proto, shape);
    let weights = |name: &str| -> Option<Vec<u64>> {
        // Of a quantised file they stand before a DequantizeLinear.
        let made = graph.node.iter().find(|n| n.op_type == "DequantizeLinear" && n.output.first().is_some_and(|o| o == name));
        let name = made.and_then(|n| n.input.first()).map_or(name, String::as_str);
        let t = graph.initializer.iter().find(|t| t.name == name)?;
        t.dims.iter().map(|d| u64::try_from(*d).ok()).collect()
    };
    let mut all = 0u64;
    for node in &graph.node {
        let (Some(w), Some(out)) = (node.input.get(1).and_then(|i| weights(i)), node.output.first()) else { continue };
        let each = match node.op_type.as_str() {
            // Every output value takes the weights of one output channel.
            "Conv" => w.iter().skip(1).product::<u64>(),
            "Gemm" | "MatMul" => w.iter().product::<u64>(),
            _ => continue,
        };
        let pixels = match node.op_type.as_str() {
            "Conv" => shapes.get(out)?.iter().map(|d| *d as u64).product(),
            _ => 1u64,
        };
        all = all.checked_add(each.checked_mul(pixels)?)?;
    }
    Some(all)
}
