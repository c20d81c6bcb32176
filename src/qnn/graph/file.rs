//! Constants, attributes and makers of an ONNX graph, and an order in which its nodes can run.

use crate::onnx::tensor;
pub use crate::onnx::tensor::{attribute, ints};
use std::collections::{HashMap, HashSet};
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::type_proto::Value as Kind;
use tract_onnx::pb::{GraphProto, NodeProto, TensorProto};

/// A graph and where things are in it.
pub struct File<'a> {
    /// The graph.
    pub graph: &'a GraphProto,
    /// Nodes in an order in which they can run.
    pub order: Vec<usize>,
    /// Which node makes a tensor.
    pub maker: HashMap<&'a str, usize>,
    constants: HashMap<&'a str, &'a TensorProto>,
}

/// Nodes in an order in which they can run.
///
/// # Errors
/// A tensor made twice, one that nobody makes, or a circle.
pub fn order(graph: &GraphProto) -> Result<Vec<usize>, String> {
    let mut maker: HashMap<&str, usize> = HashMap::new();
    let given: HashSet<&str> =
        graph.input.iter().map(|i| i.name.as_str()).chain(graph.initializer.iter().map(|t| t.name.as_str())).collect();
    for (n, node) in graph.node.iter().enumerate() {
        for out in node.output.iter().filter(|o| !o.is_empty()) {
            if maker.insert(out, n).is_some() || given.contains(out.as_str()) {
                return Err(format!("the tensor {} is made twice", short(out)));
            }
        }
    }
    let mut waits = vec![0usize; graph.node.len()];
    let mut readers: Vec<Vec<usize>> = vec![vec![]; graph.node.len()];
    for (n, node) in graph.node.iter().enumerate() {
        for input in node.input.iter().filter(|i| !i.is_empty()) {
            match maker.get(input.as_str()) {
                Some(m) => {
                    waits[n] += 1;
                    readers[*m].push(n);
                }
                None if given.contains(input.as_str()) => {}
                None => return Err(format!("{} reads {}, which nobody makes", label(node), short(input))),
            }
        }
    }
    if let Some(o) = graph.output.iter().find(|o| !maker.contains_key(o.name.as_str()) && !given.contains(o.name.as_str())) {
        return Err(format!("the output {} is made by nobody", short(&o.name)));
    }
    // Nodes stand in the file's own order wherever that is possible: it is the order that the exporter thought of.
    let mut ready: std::collections::BTreeSet<usize> = (0..waits.len()).filter(|n| waits[*n] == 0).collect();
    let mut order = Vec::with_capacity(waits.len());
    while let Some(n) = ready.pop_first() {
        order.push(n);
        for r in &readers[n] {
            waits[*r] -= 1;
            if waits[*r] == 0 {
                ready.insert(*r);
            }
        }
    }
    if order.len() < waits.len() {
        let n = waits.iter().position(|w| *w > 0).unwrap_or(0);
        return Err(format!("{} waits for itself: the graph has a circle", label(&graph.node[n])));
    }
    Ok(order)
}

fn short(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(60).collect()
}

/// Kind and name of a node, for people.
pub fn label(node: &NodeProto) -> String {
    let name = if node.name.is_empty() { node.output.first().map_or("", |o| o.as_str()) } else { &node.name };
    format!("{} {}", short(&node.op_type), short(name))
}

impl<'a> File<'a> {
    /// Indexes a graph.
    ///
    /// # Errors
    /// As [`order`].
    pub fn new(graph: &'a GraphProto) -> Result<Self, String> {
        let order = order(graph)?;
        // An output without a name is none, and an input without one reads nothing.
        let outputs = |(n, node): (usize, &'a NodeProto)| node.output.iter().map(move |o| (o.as_str(), n));
        let maker = graph.node.iter().enumerate().flat_map(outputs).filter(|(o, _)| !o.is_empty()).collect();
        let mut constants: HashMap<&str, &TensorProto> = graph.initializer.iter().map(|t| (t.name.as_str(), t)).collect();
        // An initialiser that is an input too may be overruled by the caller; here nobody does.
        for n in &order {
            let node = &graph.node[*n];
            let found = match node.op_type.as_str() {
                "Constant" => node.attribute.iter().find(|a| a.name == "value").and_then(|a| a.t.as_ref()),
                "Identity" => node.input.first().and_then(|i| constants.get(i.as_str()).copied()),
                _ => None,
            };
            if let (Some(t), Some(out)) = (found, node.output.first()) {
                constants.insert(out, t);
            }
        }
        Ok(Self { graph, order, maker, constants })
    }

    /// Node number `n`.
    pub fn node(&self, n: usize) -> &'a NodeProto {
        &self.graph.node[n]
    }

    /// See [`label`].
    pub fn label(&self, n: usize) -> String {
        label(self.node(n))
    }

    /// The element type of an input of the graph.
    pub fn given(&self, name: &str) -> Option<DataType> {
        let input = self.graph.input.iter().find(|i| i.name == name)?;
        let Some(Kind::TensorType(tensor)) = input.r#type.as_ref()?.value.as_ref() else { return None };
        DataType::try_from(tensor.elem_type).ok()
    }

    /// The node that makes a tensor.
    pub fn made(&self, name: &str) -> Option<(usize, &'a NodeProto)> {
        self.maker.get(name).map(|n| (*n, self.node(*n)))
    }

    /// A constant.
    pub fn constant(&self, name: &str) -> Option<&'a TensorProto> {
        self.constants.get(name).copied().filter(|_| !name.is_empty())
    }

    /// Is an input there, and not left out by an empty name?
    pub fn input(&self, node: &'a NodeProto, n: usize) -> Option<&'a str> {
        node.input.get(n).map(String::as_str).filter(|i| !i.is_empty())
    }

    /// A constant's dimensions; they fit its data (`onnx::parse` has looked).
    pub fn dims(&self, name: &str) -> Option<Vec<usize>> {
        self.constant(name)?.dims.iter().map(|d| usize::try_from(*d).ok()).collect()
    }

    /// A constant of f32.
    pub fn floats(&self, name: &str) -> Option<Vec<f32>> {
        tensor::floats(self.constant(name)?)
    }

    /// A constant of one f32.
    pub fn float(&self, name: &str) -> Option<f32> {
        self.floats(name).filter(|f| f.len() == 1).map(|f| f[0])
    }

    /// A constant of i64 or i32, as shapes and axes are.
    pub fn longs(&self, name: &str) -> Option<Vec<i64>> {
        tensor::longs(self.constant(name)?)
    }

    /// A constant of i8, u8 or i32, and which of them.
    pub fn integers(&self, name: &str) -> Option<(Vec<i32>, DataType)> {
        tensor::integers(self.constant(name)?)
    }
}

/// An integer attribute.
pub fn int(node: &NodeProto, name: &str, default: i64) -> i64 {
    attribute(node, name).map_or(default, |a| a.i)
}

/// A float attribute.
pub fn float(node: &NodeProto, name: &str, default: f32) -> f32 {
    attribute(node, name).map_or(default, |a| a.f)
}
