//! What int8 would give an encoder that computes in float.
//!
//! Counted and measured, not looked up: the multiplications of the graph's convolutions and dense layers, and the rate at which
//! this processor does them on bytes in a layer of middling size.

use super::bench::cpu_time;
use crate::onnx;
use crate::qnn::kernels::Isa;
use crate::qnn::measure;
use std::time::Duration;
use tract_onnx::pb::ModelProto;

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
    Some(match () {
        () if is_quantised(proto) => {
            format!("it is quantised, and none of it in a way that is run on bytes (why: above); {costs}")
        }
        () if times < 1.5 => format!("nothing here is quantised; {costs}: quantising it would gain little"),
        () => format!(
            "nothing here is quantised; {costs}: quantise it (QDQ, s8 weights per channel) with the training framework, and it is about \
             {times:.1} times as fast"
        ),
    })
}

/// Does it quantise anything?
fn is_quantised(proto: &ModelProto) -> bool {
    let says = |kind: &str| kind.contains("QuantizeLinear") || kind.starts_with("QLinear") || kind.ends_with("Integer");
    proto.graph.iter().flat_map(|g| &g.node).any(|n| says(&n.op_type))
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
