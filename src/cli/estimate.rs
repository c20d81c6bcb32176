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

/// One sentence about an encoder that takes `built` a run in float.
pub fn estimate(proto: &ModelProto, shape: &[usize], built: Duration, isa: Isa) -> String {
    if shape.len() != 4 {
        return "an encoder of clips: its convolutions in three dimensions are not run on bytes, quantising it gives nothing"
            .into();
    }
    let Some(macs) = multiplications(proto, shape).filter(|m| *m > 0) else {
        return "it has no convolution that int8 would speed up".into();
    };
    let rate = measure(isa, cpu_time);
    let least = macs as f64 / rate;
    format!(
        "nothing here is quantised; {:.1} million multiplications would take about {:.2} ms on bytes ({isa} does {:.0} billion a second \
         in one layer), {:.2} ms in float: quantise it (QDQ, s8 weights per channel) with the training framework",
        macs as f64 / 1e6,
        // Small layers reach half of what a large one does.
        2e3 * least,
        rate / 1e9,
        built.as_secs_f64() * 1e3
    )
}

/// Multiplications in convolutions and dense layers, where their shapes are known.
fn multiplications(proto: &ModelProto, shape: &[usize]) -> Option<u64> {
    let graph = proto.graph.as_ref()?;
    let shapes = onnx::shapes(proto, shape);
    let weights = |name: &str| -> Option<Vec<u64>> {
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
