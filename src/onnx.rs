//! ONNX bytes to something tract can run, checked before tract sees them.
//!
//! tract trusts its input in places: `onnx/precheck.rs` looks at a file before tract does. Both networks, encoder and head,
//! come through this room. What slips through is caught by `onnx/guard.rs` while a bundle is loaded and tried, and by the limits of
//! [`crate::store::trial`] when one is installed.

mod any;
mod guard;
mod mend;
mod precheck;
mod runner;
pub(crate) mod tensor;

use crate::bundle::{MAX_FILE_BYTES, plain};
pub use any::Any;
pub(crate) use guard::{caught, guarded, run};
pub use precheck::MAX_NODES;
pub(crate) use runner::Runner;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::OnceLock;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{ModelProto, NodeProto, TensorProto};
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::ops::array::Pad;

/// A plan that is ready to run.
pub type Plan = Arc<TypedRunnableModel>;
type TypedRunnableModel = tract_onnx::tract_core::plan::SimplePlan<TypedFact, Box<dyn TypedOp>>;

/// Parses and checks; the error is one sentence.
///
/// # Errors
/// What is wrong in the file, found and expected.
pub fn parse(bytes: &[u8]) -> Result<ModelProto, String> {
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(format!("{} bytes, at most {MAX_FILE_BYTES} are read", bytes.len()));
    }
    let proto = reader()
        .proto_model_for_read(&mut std::io::Cursor::new(bytes))
        .map_err(|_| format!("{} bytes found that are no ONNX model", bytes.len()))?;
    let graph = proto.graph.as_ref().ok_or("an ONNX file without a graph")?;
    precheck::check(graph).map_err(|why| plain(&why))?;
    if graph.input.is_empty() || graph.output.is_empty() {
        return Err(format!("a graph with {} inputs and {} outputs", graph.input.len(), graph.output.len()));
    }
    // tract would wait for ever, or take the wrong one of two.
    crate::qnn::order(graph).map_err(|why| plain(&why))?;
    Ok(proto)
}

/// tract's reader as it comes: what it parses and which operators it knows.
fn reader() -> &'static tract_onnx::Onnx {
    static READER: OnceLock<tract_onnx::Onnx> = OnceLock::new();
    READER.get_or_init(tract_onnx::onnx)
}

/// tract's reader, which knows our operator too. Shapes written for another window or batch would contradict the facts that
/// we set.
fn framework() -> tract_onnx::Onnx {
    let mut framework = tract_onnx::onnx().with_ignore_value_info(true).with_ignore_output_shapes(true);
    crate::qnn::register(&mut framework);
    framework
}

/// Shapes of all tensors by name, as far as tract can tell them, for a first input of shape `input`.
pub(crate) fn shapes(proto: &ModelProto, input: &[usize]) -> BTreeMap<String, Vec<usize>> {
    let mut found = BTreeMap::new();
    let mut run = || -> TractResult<()> {
        let mut model = framework().model_for_proto_model(&mend::mended(proto))?;
        let fact = model.input_fact(0)?.clone().without_value().with_shape(input);
        model.set_input_fact(0, fact)?;
        // What tract cannot tell is left out below.
        let _ = model.analyse(true);
        for node in model.nodes() {
            for (slot, outlet) in node.outputs.iter().enumerate() {
                let name = model.outlet_label(OutletId::new(node.id, slot)).unwrap_or(&node.name);
                let shape = outlet.fact.shape.concretize().and_then(|s| s.iter().map(|d| d.to_usize().ok()).collect());
                if let Some(shape) = shape {
                    found.insert(name.to_string(), shape);
                }
            }
        }
        Ok(())
    };
    let _ = run();
    found
}

/// The typed model of a checked graph; only the first output is kept unless `outputs` asks for more.
pub(crate) fn typed(proto: &ModelProto, inputs: &[(usize, InferenceFact)], outputs: usize) -> TractResult<TypedModel> {
    bounded(infer(proto, inputs, outputs)?.into_typed()?)
}

/// Most numbers of one tensor between two operators: 128 MiB of floats. More is a mistake or malice, and would end the process when it is made.
const MAX_NUMBERS: usize = 32 << 20;

fn bounded(model: TypedModel) -> TractResult<TypedModel> {
    for node in model.nodes() {
        // tract has them as sizes, where what is below zero has become huge.
        let pads = node.op_as::<Pad>().map_or(&[][..], |pad| &pad.pads);
        let mut pads = pads.iter().flat_map(|(before, after)| [*before, *after]);
        if let Some(why) = pads.find_map(|pad| precheck::wrong_pad(pad.cast_signed() as i64)) {
            bail!("Pad {}: {why}", node.name);
        }
    }
    for fact in model.nodes().iter().flat_map(|node| &node.outputs).map(|outlet| &outlet.fact) {
        if let Some(shape) = fact.shape.as_concrete()
            && shape.iter().try_fold(1usize, |all, d| all.checked_mul(*d)).is_none_or(|all| all > MAX_NUMBERS)
        {
            bail!("a tensor of {shape:?} between two operators, at most {MAX_NUMBERS} numbers are run");
        }
    }
    Ok(model)
}

fn infer(proto: &ModelProto, inputs: &[(usize, InferenceFact)], outputs: usize) -> TractResult<InferenceModel> {
    let mut model = framework().model_for_proto_model(&mend::mended(proto))?;
    for (n, fact) in inputs {
        model.set_input_fact(*n, fact.clone())?;
    }
    let keep: Vec<OutletId> = model.output_outlets()?.iter().take(outputs).copied().collect();
    model.select_output_outlets(&keep)?;
    Ok(model)
}

/// As [`typed`], with the first input `[1, S, features]` of a symbolic length; returns the symbol too.
pub(crate) fn typed_over_time(proto: &ModelProto, features: usize) -> TractResult<(TypedModel, Symbol)> {
    let mut model = framework().model_for_proto_model(&mend::mended(proto))?;
    let s = model.symbols.sym("S");
    model.set_input_fact(0, f32::fact(&[1.to_dim(), s.clone().into(), features.to_dim()]).into())?;
    let first = model.output_outlets()?[0];
    model.select_output_outlets(&[first])?;
    Ok((model.into_typed()?, s))
}

/// Puts the output that the contract names under `key` behind the first, which is that of `first`, and drops all others.
pub(crate) fn second(proto: &mut ModelProto, key: &str, name: &str, first: &str) -> Result<(), String> {
    let Some(graph) = proto.graph.as_mut() else { return Err("an ONNX file without a graph".into()) };
    match graph.output.iter().position(|o| o.name == name) {
        Some(0) => Err(format!("{key} = {name:?} is the graph's first output, which is that of {first}")),
        Some(n) => {
            graph.output.swap(1, n);
            graph.output.truncate(2);
            Ok(())
        }
        None => {
            let names: Vec<String> = graph.output.iter().take(8).map(|o| plain(&o.name)).collect();
            Err(format!("{key} = {name:?} is no output of the graph, which has {}", names.join(", ")))
        }
    }
}

/// The graph with one of its outputs, and what leads to it.
pub(crate) fn only(proto: &ModelProto, output: usize) -> ModelProto {
    let mut proto = proto.clone();
    let Some(graph) = proto.graph.as_mut() else { return proto };
    graph.output = graph.output.get(output).cloned().into_iter().collect();
    let mut wanted: HashSet<String> = graph.output.iter().map(|o| o.name.clone()).collect();
    let mut kept: Vec<_> = std::mem::take(&mut graph.node).into_iter().rev().collect();
    kept.retain(|node| {
        let needed = node.output.iter().any(|o| wanted.contains(o));
        if needed {
            wanted.extend(node.input.iter().filter(|i| !i.is_empty()).cloned());
        }
        needed
    });
    graph.node = kept.into_iter().rev().collect();
    proto
}

/// Type and shape of the first input as the file states them; dimensions that are open are `None`.
pub(crate) fn input_fact(proto: &ModelProto) -> Result<(DatumType, Vec<Option<usize>>), String> {
    let model = tract_onnx::onnx().with_ignore_value_info(true).model_for_proto_model(proto).map_err(|e| sentence(&e))?;
    let fact = model.input_fact(0).map_err(|e| sentence(&e))?;
    let kind = fact.datum_type.concretize().ok_or("the input has no type")?;
    let dims = fact.shape.dims().map(|d| d.concretize().and_then(|d| d.to_usize().ok())).collect();
    Ok((kind, dims))
}

/// A tract error and its causes as one sentence.
pub(crate) fn sentence(e: &TractError) -> String {
    let mut text = String::new();
    for (n, cause) in e.chain().enumerate().take(4) {
        let cause = cause.to_string();
        let line = cause.lines().next().unwrap_or_default();
        text.push_str(if n == 0 { "" } else { ": " });
        text.extend(line.chars().take(160));
    }
    plain(&text)
}

/// Removes every QuantizeLinear → DequantizeLinear pair between float nodes, so that the graph computes in float what
/// it would have computed without quantisation (weights stay as quantised). For timing and comparison.
///
/// Quantisers drop a ReLU or ReLU6 in front of a pair whose range says the same: a zero point at the lower end of its
/// type. Such a pair becomes a `Clip` to its range, or the activation would be gone.
pub(crate) fn without_activation_quantisation(proto: &ModelProto) -> ModelProto {
    let mut proto = proto.clone();
    crate::qnn::in_float(&mut proto);
    let Some(graph) = proto.graph.as_mut() else { return proto };
    let made: HashMap<&str, &NodeProto> = graph.node.iter().flat_map(|n| n.output.iter().map(move |o| (o.as_str(), n))).collect();
    let known: HashMap<&str, &TensorProto> = graph.initializer.iter().map(|t| (t.name.as_str(), t)).collect();
    let mut renamed: HashMap<String, String> = HashMap::new();
    let mut clips: HashMap<String, (String, f32)> = HashMap::new();
    for node in graph.node.iter().filter(|n| n.op_type == "DequantizeLinear") {
        let source = node.input.first().and_then(|i| made.get(i.as_str())).filter(|q| q.op_type == "QuantizeLinear");
        if let (Some(q), Some(out)) = (source, node.output.first().filter(|out| !out.is_empty())) {
            let from = q.input.first().cloned().unwrap_or_default();
            match swallowed_relu(q, &known) {
                Some(top) => drop(clips.insert(out.clone(), (from, top))),
                None => drop(renamed.insert(out.clone(), from)),
            }
        }
    }
    let resolve = |mut name: String| {
        while let Some(to) = renamed.get(&name) {
            name.clone_from(to);
        }
        name
    };
    let outputs: Vec<String> = graph.output.iter().map(|o| o.name.clone()).collect();
    // A pair that makes the graph's output stays: somebody has to carry the name.
    graph.node.retain(|n| n.output.first().is_none_or(|o| !renamed.contains_key(o) || outputs.contains(o)));
    for node in &mut graph.node {
        if let Some((from, top)) = node.output.first().and_then(|o| clips.get(o)) {
            let bound = |name: &str, value: f32| TensorProto {
                name: format!("lookout.{name}.{from}"),
                data_type: DataType::Float as i32,
                float_data: vec![value],
                ..TensorProto::default()
            };
            let bounds = [bound("low", 0.0), bound("high", *top)];
            node.op_type = "Clip".into();
            node.attribute.clear();
            node.input = vec![from.clone(), bounds[0].name.clone(), bounds[1].name.clone()];
            graph.initializer.extend(bounds);
        }
        for input in &mut node.input {
            *input = resolve(std::mem::take(input));
        }
    }
    proto
}

/// The upper end of a quantiser's range where its lower end is 0; `None` where it takes negative numbers as well.
fn swallowed_relu(quantiser: &NodeProto, known: &HashMap<&str, &TensorProto>) -> Option<f32> {
    let constant = |n: usize| quantiser.input.get(n).and_then(|i| known.get(i.as_str())).copied();
    let [scale] = tensor::floats(constant(1)?)?[..] else { return None };
    // Without a zero point it is 0 of u8.
    let zero = constant(2).map_or(Some((vec![0], DataType::Uint8)), tensor::integers)?;
    let lowest = matches!((&zero.0[..], zero.1), ([0], DataType::Uint8) | ([-128], DataType::Int8));
    lowest.then_some(255.0 * scale)
}
