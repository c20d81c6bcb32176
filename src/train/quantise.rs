//! A trained CNN to int8, as QDQ ONNX: weights s8 with a scale a channel, activations u8 with ranges that calibration pictures show.
//!
//! The normalisation is folded into the convolutions first. Of each activation the rarest ten-thousandth is cut off: a range that one pixel of
//! one picture sets would make every other step coarser. The input takes the shaper's bytes as they are (`value` of tiny.rs: scale 1/64, zero 128).

use super::onnx::{Attribute, Graph};
use super::tiny::{Pool, Tiny};
use super::{Result, TrainError};
use candle_core::Tensor;

/// Share of an activation's values that may be cut off at either end.
const CUT: f64 = 1e-4;
/// What the shaper's bytes stand for.
const LEVELS: Range = Range { scale: 1.0 / 64.0, zero: 128 };

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

/// The file of an int8 encoder that gives the features of these CNNs of one shape one after the other, calibrated on `patches` (as [`Tiny::run`]
/// takes them), and the step of a feature.
///
/// # Errors
/// None in practice. No CNN at all is a fault of ours.
pub fn encoder(cnns: &[Tiny], patches: &Tensor) -> Result<(Vec<u8>, f32)> {
    let plan = &cnns.first().ok_or_else(|| TrainError::Broke("no CNN to write".into()))?.plan;
    let mut graph = Graph::default();
    let [s, z] = graph.quantiser("levels", LEVELS.scale, LEVELS.zero);
    graph.node("DequantizeLinear", &["levels", &s, &z], &["value"], &[]);
    let branches = cnns.iter().enumerate().map(|(n, cnn)| branch(&mut graph, cnn, patches, &format!("cnn{n}_")));
    let (mut names, features): (Vec<_>, Vec<_>) = branches.collect::<Result<Vec<_>>>()?.into_iter().unzip();
    let made = Range::seen(&Tensor::cat(&features, 1)?)?;
    if names.len() > 1 {
        for (name, features) in names.iter_mut().zip(&features) {
            *name = bytes(&mut graph, name, Range::seen(features)?);
        }
        let parts: Vec<&str> = names.iter().map(String::as_str).collect();
        graph.node("Concat", &parts, &["side_by_side"], &[("axis", Attribute::Int(1))]);
        names = vec!["side_by_side".into()];
    }
    let [s, z] = graph.quantiser("features", made.scale, made.zero);
    graph.node("QuantizeLinear", &[&names[0], &s, &z], &["features_bytes"], &[]);
    graph.node("DequantizeLinear", &["features_bytes", &s, &z], &["features"], &[]);
    let features = cnns.len() * plan.features;
    let file = graph.file(("levels", &[1, plan.planes, plan.height, plan.width]), true, ("features", &[1, features]));
    Ok((file, made.scale))
}

/// One CNN from `value` to its dense layer's output: the name of that and what it is for the calibration pictures. `p` stands before all names.
fn branch(graph: &mut Graph, tiny: &Tiny, patches: &Tensor, p: &str) -> Result<(String, Tensor)> {
    let plan = &tiny.plan;
    let mut range = LEVELS;
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
        let conv = format!("{p}conv{n}");
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
        let mut out = bytes(graph, &relu, made);
        range = made;
        if step.shortcut {
            x = (before + x)?;
            range = Range::seen(&x)?;
            let sum = format!("{conv}_sum");
            graph.node("Add", &[&name, &out], &[&sum], &[]);
            out = bytes(graph, &sum, range);
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
            let [mean, most, pooled] = ["mean", "most", "pooled"].map(|name| format!("{p}{name}"));
            graph.node("GlobalAveragePool", &[&name], &[&mean], &[]);
            let sides = Attribute::Ints(vec![h as i64, w as i64]);
            graph.node("MaxPool", &[&name], &[&most], &[("kernel_shape", sides)]);
            let mean = bytes(graph, &mean, Range::seen(&flat.narrow(1, 0, channels)?)?);
            let most = bytes(graph, &most, range);
            range = Range::seen(&flat)?;
            graph.node("Concat", &[&mean, &most], &[&pooled], &[("axis", Attribute::Int(1))]);
            name = bytes(graph, &pooled, range);
            tiny.dense.t()?
        }
    };
    let dense = dense.contiguous()?.flatten_all()?.to_vec1::<f32>()?;
    let [flattened, w, b, out] = ["flat", "dense_w", "dense_b", "dense"].map(|name| format!("{p}{name}"));
    graph.node("Flatten", &[&name], &[&flattened], &[("axis", Attribute::Int(1))]);
    let scales = graph.weights(&w, &[plan.features, plan.flat()], 0, &dense);
    let steps: Vec<f32> = scales.iter().map(|s| s * range.scale).collect();
    graph.bias(&b, &tiny.bias.to_vec1::<f32>()?, &steps);
    graph.node("Gemm", &[&flattened, &w, &b], &[&out], &[("transB", Attribute::Int(1))]);
    Ok((out, flat.matmul(&tiny.dense)?.broadcast_add(&tiny.bias)?))
}

/// Quantises a tensor and takes it back; the name of what comes out.
pub(super) fn bytes(graph: &mut Graph, name: &str, range: Range) -> String {
    let [s, z] = graph.quantiser(name, range.scale, range.zero);
    let (q, out) = (format!("{name}_bytes"), format!("{name}_value"));
    graph.node("QuantizeLinear", &[name, &s, &z], &[&q], &[]);
    graph.node("DequantizeLinear", &[&q, &s, &z], &[&out], &[]);
    out
}
