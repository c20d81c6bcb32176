//! A trained CNN to int8, as QDQ ONNX: weights s8 with a scale a channel, activations u8 with ranges that calibration pictures show.
//!
//! The normalisation is folded into the convolutions first. Of each activation the rarest ten-thousandth is cut off: a range that one pixel of
//! one picture sets would make every other step coarser. The input takes the shaper's bytes as they are (`value` of tiny.rs: scale 1/64, zero 128).

use super::Result;
use super::onnx::{Attribute, Graph};
use super::tiny::{Pool, Tiny};
use candle_core::Tensor;

/// Share of an activation's values that may be cut off at either end.
const CUT: f64 = 1e-4;

/// A range in bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// Of one step.
    pub scale: f32,
    /// The byte that stands for 0.
    pub zero: u8,
}

impl Range {
    /// Of values from `low` to `high`; 0 is always among them.
    pub fn of(low: f32, high: f32) -> Self {
        let (low, high) = (low.min(0.0), high.max(0.0));
        let scale = ((high - low) / 255.0).max(1e-6);
        Self { scale, zero: (-low / scale).round().clamp(0.0, 255.0) as u8 }
    }

    /// Of what these values are, without the rarest.
    fn seen(values: &Tensor) -> Result<Self> {
        let mut values = values.flatten_all()?.to_vec1::<f32>()?;
        values.sort_by(f32::total_cmp);
        let cut = (values.len() as f64 * CUT) as usize;
        let end = values.len().saturating_sub(1 + cut);
        Ok(Self::of(values.get(cut).copied().unwrap_or(0.0), values.get(end).copied().unwrap_or(0.0)))
    }
}

/// The file of an int8 encoder that gives the features of `tiny`, calibrated on `patches` (as [`Tiny::run`] takes them), and the step of a feature.
///
/// # Errors
/// None in practice.
pub fn encoder(tiny: &Tiny, patches: &Tensor) -> Result<(Vec<u8>, f32)> {
    let plan = &tiny.plan;
    let mut graph = Graph::default();
    let mut range = Range { scale: 1.0 / 64.0, zero: 128 };
    let [s, z] = graph.quantiser("levels", range.scale, range.zero);
    graph.node("DequantizeLinear", &["levels", &s, &z], &["value"], &[]);
    let mut x = patches.clone();
    let mut name = "value".to_string();
    for (n, ((layer, step), (h, w))) in tiny.layers.iter().zip(plan.steps()).zip(plan.sizes()).enumerate() {
        let (k, inputs, outputs) = (step.patches.kernel, step.inputs, step.outputs);
        let (scale, offset) = layer.folded()?;
        let folded = layer.w.broadcast_mul(&scale)?;
        // [k, k, in, out] to [out, in, k, k]
        let weights =
            folded.reshape((k, k, inputs, outputs))?.permute((3, 2, 0, 1))?.contiguous()?.flatten_all()?.to_vec1::<f32>()?;
        let before = x.clone();
        let rows = if n == 0 { x } else { x.apply_op1_no_bwd(&step.patches)? };
        let y = rows.matmul(&folded)?.broadcast_add(&offset)?.relu()?;
        x = y.reshape((y.dim(0)? / (h * w), h, w, outputs))?;
        let made = Range::seen(&x)?;
        let conv = format!("conv{n}");
        let scales = graph.weights(&format!("{conv}_w"), &[outputs, inputs, k, k], 0, &weights);
        let steps: Vec<f32> = scales.iter().map(|s| s * range.scale).collect();
        graph.bias(&format!("{conv}_b"), &offset.to_vec1::<f32>()?, &steps);
        let (k, stride, pad) = (k as i64, step.patches.stride as i64, step.patches.pad as i64);
        let attributes = [
            ("kernel_shape", Attribute::Ints(vec![k, k])),
            ("strides", Attribute::Ints(vec![stride, stride])),
            ("pads", Attribute::Ints(vec![pad; 4])),
        ];
        graph.node("Conv", &[&name, &format!("{conv}_w"), &format!("{conv}_b")], &[&conv], &attributes);
        let relu = format!("{conv}_relu");
        graph.node("Relu", &[&conv], &[&relu], &[]);
        let mut out = bytes(&mut graph, &relu, made);
        range = made;
        if step.shortcut {
            x = (before + x)?;
            range = Range::seen(&x)?;
            let sum = format!("{conv}_sum");
            graph.node("Add", &[&name, &out], &[&sum], &[]);
            out = bytes(&mut graph, &sum, range);
        }
        name = out;
    }
    let (h, w) = plan.sizes()[4];
    let channels = plan.channels + 32;
    let flat = plan.pool.pooled(&x)?;
    let dense = match plan.pool {
        // What was flat in the order height, width, channels becomes channels, height, width.
        Pool::Grid => tiny.dense.reshape((h, w, channels, plan.features))?.permute((3, 2, 0, 1))?,
        Pool::Whole => {
            graph.node("GlobalAveragePool", &[&name], &["mean"], &[]);
            let sides = Attribute::Ints(vec![h as i64, w as i64]);
            graph.node("MaxPool", &[&name], &["most"], &[("kernel_shape", sides)]);
            let mean = bytes(&mut graph, "mean", Range::seen(&flat.narrow(1, 0, channels)?)?);
            let most = bytes(&mut graph, "most", range);
            range = Range::seen(&flat)?;
            graph.node("Concat", &[&mean, &most], &["pooled"], &[("axis", Attribute::Int(1))]);
            name = bytes(&mut graph, "pooled", range);
            tiny.dense.t()?
        }
    };
    let dense = dense.contiguous()?.flatten_all()?.to_vec1::<f32>()?;
    graph.node("Flatten", &[&name], &["flat"], &[("axis", Attribute::Int(1))]);
    let scales = graph.weights("dense_w", &[plan.features, plan.flat()], 0, &dense);
    let steps: Vec<f32> = scales.iter().map(|s| s * range.scale).collect();
    graph.bias("dense_b", &tiny.bias.to_vec1::<f32>()?, &steps);
    graph.node("Gemm", &["flat", "dense_w", "dense_b"], &["dense"], &[("transB", Attribute::Int(1))]);
    let features = flat.matmul(&tiny.dense)?.broadcast_add(&tiny.bias)?;
    let made = Range::seen(&features)?;
    let [s, z] = graph.quantiser("features", made.scale, made.zero);
    graph.node("QuantizeLinear", &["dense", &s, &z], &["features_bytes"], &[]);
    graph.node("DequantizeLinear", &["features_bytes", &s, &z], &["features"], &[]);
    let file = graph.file(("levels", &[1, plan.planes, plan.height, plan.width]), true, ("features", &[1, plan.features]));
    Ok((file, made.scale))
}

/// Quantises a tensor and takes it back; the name of what comes out.
pub(super) fn bytes(graph: &mut Graph, name: &str, range: Range) -> String {
    let [s, z] = graph.quantiser(name, range.scale, range.zero);
    let (q, out) = (format!("{name}_bytes"), format!("{name}_value"));
    graph.node("QuantizeLinear", &[name, &s, &z], &[&q], &[]);
    graph.node("DequantizeLinear", &[&q, &s, &z], &[&out], &[]);
    out
}
