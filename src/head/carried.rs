//! A head whose state lives on between ticks, as tensors that we hold ourselves.
//!
//! tract can keep a `Scan`'s state inside a `SimpleState`, but only unseen and unresettable, and it inlines a loop of
//! one step. So the graph is given what ONNX provides for: initial states become graph inputs, final states graph
//! outputs. One step is then a pure function, and a reset is a zero.

use super::{HeadError, copy_out, lend};
use crate::bundle::HEAD;
use crate::onnx::{self, Plan};
use crate::past;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{GraphProto, ModelProto, TensorShapeProto, TypeProto, ValueInfoProto, type_proto};
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::internal::*;

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Carried {
    plan: Plan,
    tick: Arc<Tensor>,
    /// The box of the last step, where the graph has one as its second output.
    pub(super) place: Option<[f32; 4]>,
    zero: Vec<TValue>,
    state: Vec<TValue>,
}

impl Carried {
    pub(super) fn load(proto: &ModelProto, features: usize, boxes: bool) -> TractResult<Self> {
        let mut proto = proto.clone();
        let graph = proto.graph.as_mut().context("an ONNX file without a graph")?;
        let hidden = open_states(graph, 1 + usize::from(boxes))?;
        let mut facts = vec![(0, f32::fact([1, 1, features]).into())];
        facts.extend(hidden.iter().enumerate().map(|(n, h)| (n + 1, f32::fact([1, 1, *h]).into())));
        let model = onnx::typed(&proto, &facts, 1 + usize::from(boxes) + hidden.len())?.into_optimized()?;
        let zero = hidden.iter().map(|h| Ok(Tensor::zero_dt(f32::datum_type(), &[1, 1, *h])?.into_tvalue()));
        let zero: Vec<TValue> = zero.collect::<TractResult<_>>()?;
        let tick = Arc::new(Tensor::zero_dt(f32::datum_type(), &[1, 1, features])?);
        Ok(Self { plan: model.into_runnable()?, tick, place: boxes.then_some([0.0; 4]), state: zero.clone(), zero })
    }

    /// Back to zero state.
    pub(super) fn reset(&mut self) {
        self.state.clone_from(&self.zero);
    }

    /// Its states as bytes, for another run.
    pub(super) fn remember(&self, to: &mut Vec<u8>) {
        for state in &self.state {
            if let Ok(plain) = state.try_as_plain_ram() {
                past::put(to, plain.as_slice::<f32>().unwrap_or_default());
            }
        }
    }

    /// Goes on from there.
    pub(super) fn recall(&mut self, from: &mut &[u8]) -> Option<()> {
        self.reset();
        self.state.iter_mut().try_for_each(|state| {
            let mut tensor = Tensor::zero_dt(f32::datum_type(), state.shape()).ok()?;
            past::take(from, tensor.try_as_plain_ram_mut().ok()?.as_slice_mut::<f32>().ok()?)?;
            *state = tensor.into_tvalue();
            Some(())
        })
    }

    /// A whole window of features from zero state, tick by tick.
    pub(super) fn run_window(&mut self, rows: &[f32], features: usize, logits: &mut [f32]) -> Result<(), HeadError> {
        self.reset();
        for row in rows.chunks_exact(features) {
            self.step(row, logits)?;
        }
        self.reset();
        Ok(())
    }

    pub(super) fn step(&mut self, features: &[f32], logits: &mut [f32]) -> Result<(), HeadError> {
        lend(&mut self.tick, |t| t.copy_from_slice(features))?;
        let mut inputs = tvec![TValue::from_const(self.tick.clone())];
        inputs.extend(self.state.iter().cloned());
        let mut out = onnx::run(HEAD, || self.plan.run(inputs))?.into_iter();
        let first = out.next().ok_or_else(|| HeadError("the graph gave nothing".into()))?;
        copy_out(&first, logits)?;
        if let Some(place) = &mut self.place {
            copy_out(&out.next().ok_or_else(|| HeadError("the graph gave no box".into()))?, place)?;
        }
        self.state.iter_mut().zip(out).for_each(|(state, new)| *state = new);
        Ok(())
    }
}

/// Makes the states of every recurrent node inputs and outputs of the graph, behind its first `kept` outputs; returns their sizes in order.
fn open_states(graph: &mut GraphProto, kept: usize) -> TractResult<Vec<usize>> {
    let mut hidden = vec![];
    let (mut inputs, mut outputs) = (vec![], vec![]);
    for (n, node) in graph.node.iter_mut().enumerate() {
        let states = match node.op_type.as_str() {
            "LSTM" => 2,
            "GRU" | "RNN" => 1,
            _ => continue,
        };
        if node.attribute.iter().any(|a| a.name == "direction" && a.s != b"forward") {
            bail!("a head that reads backwards cannot carry its state; use mode = \"window\"");
        }
        let size = node.attribute.iter().find(|a| a.name == "hidden_size").map_or(0, |a| a.i);
        let size = usize::try_from(size).ok().filter(|s| (1..=65_536).contains(s)).context("hidden_size is missing")?;
        node.input.resize(node.input.len().max(5 + states), String::new());
        node.output.resize(node.output.len().max(1 + states), String::new());
        for k in 0..states {
            let name = format!("lookout.state.{n}.{k}");
            node.input[5 + k].clone_from(&name);
            inputs.push(value_info(name, size));
            if node.output[1 + k].is_empty() {
                node.output[1 + k] = format!("lookout.next.{n}.{k}");
            }
            outputs.push(value_info(node.output[1 + k].clone(), size));
            hidden.push(size);
        }
    }
    ensure!(!hidden.is_empty(), "no LSTM, GRU or RNN found, and mode is \"carried\"");
    // Some exporters list initialisers as inputs; only real inputs count, and ours follow the first of them.
    let known: Vec<String> = graph.initializer.iter().map(|t| t.name.clone()).collect();
    graph.input.retain(|i| !known.contains(&i.name));
    graph.input.truncate(1);
    graph.output.truncate(kept);
    graph.input.extend(inputs);
    graph.output.extend(outputs);
    Ok(hidden)
}

fn value_info(name: String, size: usize) -> ValueInfoProto {
    use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension::Value};
    let dim = |n: i64| Dimension { denotation: String::new(), value: Some(Value::DimValue(n)) };
    let shape = Some(TensorShapeProto { dim: vec![dim(1), dim(1), dim(size as i64)] });
    let tensor = type_proto::Tensor { elem_type: DataType::Float as i32, shape };
    let r#type = Some(TypeProto { denotation: String::new(), value: Some(type_proto::Value::TensorType(tensor)) });
    ValueInfoProto { name, r#type, doc_string: String::new() }
}
