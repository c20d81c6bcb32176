//! A head whose state lives on between ticks, as tensors that we hold ourselves.
//!
//! tract can keep a `Scan`'s state inside a `SimpleState`, but only unseen and unresettable, and it inlines a loop of
//! one step. So the graph is given what ONNX provides for: initial states become graph inputs, final states graph
//! outputs. One step is then a pure function, and a reset is a zero: a graph that says another beginning is refused.

use super::{HeadError, copy_out, lend};
use crate::bundle::HEAD;
use crate::onnx::{self, Plan};
use crate::{past, qnn};
use std::collections::HashSet;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, TensorShapeProto, TypeProto, ValueInfoProto, type_proto,
};
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

    /// Goes on from there; `None`: a number that is not finite would stay for ever.
    pub(super) fn recall(&mut self, from: &mut &[u8]) -> Option<()> {
        self.reset();
        self.state.iter_mut().try_for_each(|state| {
            let mut tensor = Tensor::zero_dt(f32::datum_type(), state.shape()).ok()?;
            let finite = {
                let mut plain = tensor.try_as_plain_ram_mut().ok()?;
                let numbers = plain.as_slice_mut::<f32>().ok()?;
                past::take(from, numbers)?;
                numbers.iter().all(|v| v.is_finite())
            };
            *state = tensor.into_tvalue();
            finite.then_some(())
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

/// How many states a node carries.
fn states(node: &NodeProto) -> usize {
    match node.op_type.as_str() {
        "LSTM" => 2,
        "GRU" | "RNN" => 1,
        _ => 0,
    }
}

/// Makes the states of every recurrent node inputs and outputs of the graph, behind its first `kept` outputs; returns their sizes in order.
fn open_states(graph: &mut GraphProto, kept: usize) -> TractResult<Vec<usize>> {
    // Some exporters list initialisers as inputs; only real inputs count, and ours follow the first of them.
    let known: HashSet<&str> = graph.initializer.iter().map(|t| t.name.as_str()).collect();
    graph.input.retain(|i| !known.contains(i.name.as_str()));
    let stated = &*graph;
    for node in &stated.node {
        let mut given = node.input.iter().skip(5).take(states(node)).filter(|name| !name.is_empty());
        if given.any(|name| !begins_at_zero(stated, name)) {
            bail!("{} starts from a state that is not zero, which is not carried; use mode = \"window\"", qnn::label(node));
        }
    }
    let mut hidden = vec![];
    let (mut inputs, mut outputs) = (vec![], vec![]);
    for (n, node) in graph.node.iter_mut().enumerate() {
        let states = states(node);
        if states == 0 {
            continue;
        }
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
    graph.input.truncate(1);
    graph.output.truncate(kept);
    graph.input.extend(inputs);
    graph.output.extend(outputs);
    Ok(hidden)
}

/// Is an initial state zero, or one that the graph's caller gives, which is zero at first? Through whatever exporters lay it out with.
fn begins_at_zero(graph: &GraphProto, name: &str) -> bool {
    let (mut names, mut seen) = (vec![name], HashSet::new());
    while let Some(name) = names.pop() {
        if name.is_empty() || !seen.insert(name) {
            continue;
        }
        if let Some(tensor) = graph.initializer.iter().find(|t| t.name == name) {
            if !is_zero(tensor) {
                return false;
            }
            continue;
        }
        let Some(node) = graph.node.iter().find(|n| n.output.iter().any(|o| o == name)) else {
            // The first of the graph's inputs is the tick.
            if graph.input.first().is_some_and(|i| i.name == name) {
                return false;
            }
            continue;
        };
        match node.op_type.as_str() {
            "Constant" | "ConstantOfShape" if node.attribute.iter().all(says_zero) => {}
            "Concat" => names.extend(node.input.iter().map(String::as_str)),
            "Cast" | "Expand" | "Flatten" | "Gather" | "Identity" | "ReduceSum" | "Reshape" | "Slice" | "Split" | "Squeeze"
            | "Tile" | "Transpose" | "Unsqueeze" => names.extend(node.input.first().map(String::as_str)),
            _ => return false,
        }
    }
    true
}

/// Is a value that an attribute states zero?
fn says_zero(a: &AttributeProto) -> bool {
    let lists_zero = a.floats.iter().all(|x| *x == 0.0) && a.ints.iter().all(|n| *n == 0);
    a.f == 0.0 && a.i == 0 && lists_zero && a.t.as_ref().is_none_or(is_zero)
}

fn is_zero(t: &TensorProto) -> bool {
    let whole = t.int32_data.iter().all(|n| *n == 0) && t.int64_data.iter().all(|n| *n == 0);
    let real = t.float_data.iter().all(|x| *x == 0.0) && t.double_data.iter().all(|x| *x == 0.0);
    whole && real && t.raw_data.iter().all(|b| *b == 0)
}

fn value_info(name: String, size: usize) -> ValueInfoProto {
    use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension::Value};
    let dim = |n: i64| Dimension { denotation: String::new(), value: Some(Value::DimValue(n)) };
    let shape = Some(TensorShapeProto { dim: vec![dim(1), dim(1), dim(size as i64)] });
    let tensor = type_proto::Tensor { elem_type: DataType::Float as i32, shape };
    let r#type = Some(TypeProto { denotation: String::new(), value: Some(type_proto::Value::TensorType(tensor)) });
    ValueInfoProto { name, r#type, doc_string: String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A GRU whose initial state comes out of `nodes`.
    fn graph(nodes: Vec<NodeProto>) -> GraphProto {
        let size = AttributeProto { name: "hidden_size".into(), i: 4, ..AttributeProto::default() };
        let gru = NodeProto { attribute: vec![size], ..node("GRU", &["x", "w", "r", "", "", "h"], "y") };
        let input = ["x", "past"].map(|name| ValueInfoProto { name: name.into(), ..ValueInfoProto::default() });
        let one = TensorProto { name: "one".into(), float_data: vec![0.0, 1.0], ..TensorProto::default() };
        let none = TensorProto { name: "none".into(), raw_data: vec![0; 8], ..TensorProto::default() };
        let initializer = vec![one, none];
        GraphProto { node: nodes.into_iter().chain([gru]).collect(), input: input.into(), initializer, ..GraphProto::default() }
    }

    fn node(kind: &str, input: &[&str], output: &str) -> NodeProto {
        NodeProto {
            op_type: kind.into(),
            input: input.iter().map(|i| (*i).into()).collect(),
            output: vec![output.into()],
            ..NodeProto::default()
        }
    }

    fn opened(nodes: Vec<NodeProto>) -> Result<Vec<usize>, String> {
        open_states(&mut graph(nodes), 1).map_err(|e| e.to_string())
    }

    #[test]
    fn a_state_that_is_no_number_is_not_taken_up() {
        let file = std::fs::read("tests/bundles/rows-carried/head.onnx").unwrap();
        let mut carried = Carried::load(&onnx::parse(&file).unwrap(), 6, false).unwrap();
        let mut kept = vec![];
        carried.remember(&mut kept);
        assert_eq!(carried.recall(&mut &kept[..]), Some(()), "its own");
        kept[..4].copy_from_slice(&f32::NAN.to_le_bytes());
        assert_eq!(carried.recall(&mut &kept[..]), None);
    }

    #[test]
    fn a_state_that_begins_as_anything_but_zero_is_refused() {
        for from in ["none", "past"] {
            let cut = [node("Slice", &[from, "s", "e"], "a"), node("Squeeze", &["a"], "b"), node("Concat", &["b", "b"], "h")];
            assert_eq!(opened(cut.into()), Ok(vec![4]), "{from}");
        }
        assert_eq!(opened(vec![node("ConstantOfShape", &["one"], "h")]), Ok(vec![4]));
        for from in ["one", "x"] {
            let said = opened(vec![node("Expand", &[from, "s"], "h")]).expect_err("this must be refused");
            assert!(said.contains("GRU y starts from a state that is not zero") && said.contains("window"), "{said}");
        }
        assert!(opened(vec![node("Add", &["none", "none"], "h")]).is_err(), "what is computed is not looked into");
        assert!(opened(vec![node("Concat", &["none", "one"], "h")]).is_err());
        let seven = AttributeProto { name: "value_float".into(), f: 7.0, ..AttributeProto::default() };
        assert!(opened(vec![NodeProto { attribute: vec![seven], ..node("Constant", &[], "h") }]).is_err());
    }
}
