//! Which parts of a network one operator takes, and the graph with that operator in their place.
//!
//! Everything that was understood gets a level: it rises by one wherever a path leaves what was understood and comes back.
//! Nodes of one level are one region. No path leads out of a region and back into it, so the rewritten graph has no circle.
//! A region without any convolution or dense layer is left to tract. What nobody needs any more is dropped.

use super::graph::{File, Kind, Network};
use super::plan::{Form, Plan, Request, plan};
use super::row::{self, Row};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};
use tract_onnx::pb::{AttributeProto, ModelProto, NodeProto, type_proto};

/// What tract's ONNX reader knows our node as.
pub const OPERATOR: &str = "LookoutQuantised";

/// The graph with regions in it.
pub struct Cut {
    /// To be given to tract.
    pub proto: ModelProto,
    /// Regions by their number.
    pub plans: Vec<Plan>,
    /// Nodes of the file that a region computes and nobody else.
    pub taken: Vec<usize>,
    /// Nodes of the file that are the rows behind regions.
    pub behind: Vec<usize>,
    /// Nodes of the file that tract still computes.
    pub left: Vec<usize>,
    /// Why regions were left that could have been taken.
    pub why: HashMap<usize, String>,
    /// The f32 input that may now come as bytes of this quantisation.
    pub input: Option<super::graph::Quant>,
}

/// How a tensor is handed over between regions and tract.
struct Wire {
    value: usize,
    form: Form,
    name: String,
}

/// Cuts the regions out of a graph. `bytes_in`: the graph's f32 input may become u8 where nothing but a region's quantiser reads it.
pub fn cut(proto: &ModelProto, file: &File<'_>, net: &Network, bytes_in: bool) -> Cut {
    let mut refused: HashSet<usize> = HashSet::new();
    let mut why = HashMap::new();
    loop {
        let mut cutter = Cutter::new(file, net, &refused);
        cutter.wire(&outputs_of(file));
        let input = if bytes_in { cutter.bytes_in() } else { None };
        match cutter.plans() {
            Ok(plans) => {
                let mut proto = proto.clone();
                let [taken, behind, left] = cutter.rewrite(&mut proto, &plans, input.as_ref());
                let input = input.map(|(_, quant)| quant);
                return Cut { proto, plans, taken, behind, left, why, input };
            }
            Err((nodes, sentence)) => {
                for n in &nodes {
                    why.insert(net.nodes[*n].from, sentence.clone());
                }
                refused.extend(nodes);
            }
        }
    }
}

fn outputs_of(file: &File<'_>) -> Vec<String> {
    file.graph.output.iter().map(|o| o.name.clone()).collect()
}

struct Cutter<'a> {
    file: &'a File<'a>,
    net: &'a Network,
    /// Region of each node that is in one.
    region: HashMap<usize, usize>,
    /// Node that makes a value.
    maker: HashMap<usize, usize>,
    /// What each region takes in and gives out, by name; and its nodes.
    inputs: BTreeMap<usize, Vec<Wire>>,
    outputs: BTreeMap<usize, Vec<Wire>>,
    /// Rows that it ends in, behind its other outputs, and the tensors that they are.
    rows: BTreeMap<usize, Vec<(Row, String)>>,
    nodes: BTreeMap<usize, BTreeSet<usize>>,
    /// Nodes of the file that stay.
    stay: BTreeSet<usize>,
    /// Names for values that have none in the file.
    names: HashMap<usize, String>,
}

impl<'a> Cutter<'a> {
    fn new(file: &'a File<'a>, net: &'a Network, refused: &HashSet<usize>) -> Self {
        let maker: HashMap<usize, usize> = net.nodes.iter().enumerate().map(|(n, node)| (node.output, n)).collect();
        let mut names: HashMap<usize, String> = HashMap::new();
        for (name, v) in &net.by_name {
            names.insert(*v, name.clone());
        }
        let mut levels = Levels { file, net, maker: &maker, refused, nodes: HashMap::new(), tensors: HashMap::new() };
        let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        // In the order of the file, so that no walk backwards is long.
        for n in &file.order {
            for output in &file.node(*n).output {
                levels.tensor(output);
            }
        }
        for n in (0..net.nodes.len()).filter(|n| !refused.contains(n)) {
            groups.entry(levels.node(n)).or_default().push(n);
        }
        groups.retain(|_, nodes| nodes.iter().any(|n| matches!(net.nodes[*n].kind, Kind::Conv(_))));
        let region = groups.values().enumerate().flat_map(|(r, nodes)| nodes.iter().map(move |n| (*n, r))).collect();
        Self {
            file,
            net,
            region,
            maker,
            inputs: BTreeMap::new(),
            outputs: BTreeMap::new(),
            rows: BTreeMap::new(),
            nodes: BTreeMap::new(),
            stay: BTreeSet::new(),
            names,
        }
    }

    fn region_of(&self, value: usize) -> Option<usize> {
        self.region.get(self.maker.get(&value)?).copied()
    }

    /// Walks back from the graph's outputs: what stays, and what regions have to give and take.
    fn wire(&mut self, outputs: &[String]) {
        let mut names: Vec<String> = vec![];
        let mut seen: HashSet<String> = HashSet::new();
        for name in outputs {
            if !seen.contains(name) && self.row(name, &mut names) {
                seen.insert(name.clone());
            } else {
                names.push(name.clone());
            }
        }
        while let Some(name) = names.pop() {
            if name.is_empty() || !seen.insert(name.clone()) {
                continue;
            }
            let found = match (self.net.by_name.get(&name), self.net.floats.get(&name)) {
                (Some(v), _) => Some((*v, Form::Bytes)),
                (None, Some(v)) => Some((*v, Form::Float)),
                _ => None,
            };
            if let Some((value, form, region)) = found.and_then(|(v, f)| Some((v, f, self.region_of(v)?))) {
                self.give(region, value, form, name, &mut names);
            } else if let Some((n, node)) = self.file.made(&name) {
                self.stay.insert(n);
                names.extend(node.input.iter().cloned());
            }
        }
    }

    /// Is this output of the graph a row that one region's values end in? Then that region has to make it.
    fn row(&mut self, name: &str, names: &mut Vec<String>) -> bool {
        let Some(row) = row::read(self.file, self.net, name) else { return false };
        let region = self.region_of(row.parts[0].1);
        let Some(region) = region.filter(|_| row.parts.iter().all(|(_, v)| self.region_of(*v) == region)) else { return false };
        row.parts.iter().for_each(|(_, v)| self.need(region, *v, names));
        self.rows.entry(region).or_default().push((row, name.into()));
        true
    }

    /// A region has to give a value; whatever that needs is added to it.
    fn give(&mut self, region: usize, value: usize, form: Form, name: String, names: &mut Vec<String>) {
        let given = self.outputs.entry(region).or_default();
        if given.iter().any(|w| w.name == name) {
            return;
        }
        given.push(Wire { value, form, name });
        self.need(region, value, names);
    }

    /// Adds what a value is made by to its region.
    fn need(&mut self, region: usize, value: usize, names: &mut Vec<String>) {
        let mut values = vec![value];
        while let Some(v) = values.pop() {
            let Some(n) = self.maker.get(&v).copied().filter(|n| self.region.get(n) == Some(&region)) else {
                self.take(region, v, names);
                continue;
            };
            if !self.nodes.entry(region).or_default().insert(n) {
                continue;
            }
            if let Kind::Quantise(float) = &self.net.nodes[n].kind {
                self.inputs.entry(region).or_default().push(Wire { value: v, form: Form::Float, name: float.clone() });
                names.push(float.clone());
            }
            values.extend(&self.net.nodes[n].inputs);
        }
    }

    /// A region reads a value from outside.
    fn take(&mut self, region: usize, value: usize, names: &mut Vec<String>) {
        if self.net.values[value].constant.is_some() {
            return;
        }
        if self.inputs.get(&region).is_some_and(|i| i.iter().any(|w| w.value == value)) {
            return;
        }
        let (name, form) = match self.region_of(value) {
            // From one region to another as it lies there.
            Some(_) => (format!("lookout.{value}.{}", self.names.get(&value).map_or("", |n| n)), Form::Raw),
            None => (self.names.get(&value).cloned().unwrap_or_default(), Form::Bytes),
        };
        self.inputs.entry(region).or_default().push(Wire { value, form, name: name.clone() });
        match self.region_of(value) {
            Some(from) => self.give(from, value, form, name, names),
            None => names.push(name),
        }
    }

    /// Where the graph's one f32 input is read by quantisers of regions alone: its name and their quantisation; the wires
    /// then carry bytes.
    fn bytes_in(&mut self) -> Option<(String, super::graph::Quant)> {
        let given: HashSet<&str> = self.file.graph.initializer.iter().map(|t| t.name.as_str()).collect();
        let mut real = self.file.graph.input.iter().filter(|i| !given.contains(i.name.as_str()));
        let (input, None) = (real.next()?, real.next()) else { return None };
        let name = input.name.as_str();
        let read = self.stay.iter().any(|n| self.file.node(*n).input.iter().any(|i| i == name));
        if read || self.file.graph.output.iter().any(|o| o.name == name) {
            return None;
        }
        let mut wires: Vec<&mut Wire> =
            self.inputs.values_mut().flatten().filter(|w| w.form == Form::Float && w.name == name).collect();
        let quant = self.net.values[wires.first()?.value].quant;
        if wires.iter().any(|w| self.net.values[w.value].quant != quant) {
            return None;
        }
        wires.iter_mut().for_each(|w| w.form = Form::Raw);
        Some((name.into(), quant))
    }

    /// The regions' plans; or the nodes of one that has none, and why.
    fn plans(&self) -> Result<Vec<Plan>, (Vec<usize>, String)> {
        let list = |wires: Option<&Vec<Wire>>| wires.into_iter().flatten().map(|w| (w.value, w.form)).collect::<Vec<_>>();
        let mut plans = vec![];
        for (region, nodes) in &self.nodes {
            let request = Request {
                net: self.net,
                nodes: nodes.iter().copied().filter(|n| !matches!(self.net.nodes[*n].kind, Kind::Quantise(_))).collect(),
                inputs: list(self.inputs.get(region)),
                outputs: list(self.outputs.get(region)),
                rows: self.rows.get(region).into_iter().flatten().map(|(row, _)| row).collect(),
            };
            let all = || self.region.iter().filter(|(_, r)| *r == region).map(|(n, _)| *n).collect();
            plans.push(plan(&request).map_err(|why| (all(), why))?);
        }
        Ok(plans)
    }

    /// Puts the regions into the graph; gives the nodes of the file that are computed in them alone, on bytes and in rows, and those that stay.
    fn rewrite(&self, proto: &mut ModelProto, plans: &[Plan], input: Option<&(String, super::graph::Quant)>) -> [Vec<usize>; 3] {
        let mut nodes: Vec<NodeProto> = self.stay.iter().map(|n| self.file.node(*n).clone()).collect();
        for (k, (region, _)) in self.nodes.iter().enumerate() {
            let names = |wires: Option<&Vec<Wire>>| wires.into_iter().flatten().map(|w| w.name.clone()).collect::<Vec<_>>();
            let number = AttributeProto {
                name: "region".into(),
                r#type: AttributeType::Int as i32,
                i: k as i64,
                ..AttributeProto::default()
            };
            let mut attribute = vec![number];
            for (o, (element, shape)) in plans[k].given().enumerate() {
                attribute.push(AttributeProto {
                    name: format!("shape{o}"),
                    r#type: AttributeType::Ints as i32,
                    ints: shape.iter().map(|d| *d as i64).collect(),
                    i: i64::from(element as i32),
                    ..AttributeProto::default()
                });
            }
            let rows = self.rows.get(region).into_iter().flatten().map(|(_, name)| name.clone());
            nodes.push(NodeProto {
                name: format!("quantised region {k}"),
                op_type: OPERATOR.into(),
                input: names(self.inputs.get(region)),
                output: names(self.outputs.get(region)).into_iter().chain(rows).collect(),
                attribute,
                ..NodeProto::default()
            });
        }
        // A node that a region computes may be needed in float as well; then it stays, and counts as left.
        let mut taken: BTreeSet<usize> = BTreeSet::new();
        for n in self.nodes.values().flatten() {
            let node = &self.net.nodes[*n];
            if !matches!(node.kind, Kind::Quantise(_)) {
                taken.insert(node.from);
            }
        }
        let taken: Vec<usize> = taken.into_iter().filter(|n| !self.stay.contains(n)).collect();
        let behind: BTreeSet<usize> = self.rows.values().flatten().flat_map(|(row, _)| row.nodes.iter().copied()).collect();
        let behind = behind.into_iter().filter(|n| !self.stay.contains(n) && !taken.contains(n)).collect();
        let left = self.stay.iter().copied().collect();
        if let Some(graph) = proto.graph.as_mut() {
            graph.node = nodes;
            let read: HashSet<String> = graph
                .node
                .iter()
                .flat_map(|n| n.input.iter().cloned())
                .chain(graph.output.iter().map(|o| o.name.clone()))
                .collect();
            graph.initializer.retain(|t| read.contains(&t.name));
            if let Some((name, _)) = input {
                for value in graph.input.iter_mut().filter(|i| i.name == *name) {
                    if let Some(type_proto::Value::TensorType(t)) = value.r#type.as_mut().and_then(|t| t.value.as_mut()) {
                        t.elem_type = DataType::Uint8 as i32;
                    }
                }
            }
            // Open sides became numbers when the region was planned.
            for (k, plan) in plans.iter().enumerate() {
                let Some(wires) = self.inputs.values().nth(k) else { continue };
                for (wire, edge) in wires.iter().zip(&plan.inputs) {
                    for value in graph.input.iter_mut().filter(|i| i.name == wire.name) {
                        if let Some(type_proto::Value::TensorType(t)) = value.r#type.as_mut().and_then(|t| t.value.as_mut())
                            && let Some(shape) = t.shape.as_mut()
                        {
                            let dim = |d: &usize| Dimension {
                                value: Some(dimension::Value::DimValue(*d as i64)),
                                ..Dimension::default()
                            };
                            shape.dim = edge.shape.iter().map(dim).collect();
                        }
                    }
                }
            }
        }
        [taken, behind, left]
    }
}

/// How often a path to a node or tensor has left what was understood.
struct Levels<'a> {
    file: &'a File<'a>,
    net: &'a Network,
    maker: &'a HashMap<usize, usize>,
    refused: &'a HashSet<usize>,
    nodes: HashMap<usize, usize>,
    tensors: HashMap<String, usize>,
}

impl Levels<'_> {
    /// Of a node of the network: the highest level at which something comes in.
    fn node(&mut self, n: usize) -> usize {
        if let Some(level) = self.nodes.get(&n) {
            return *level;
        }
        let node = &self.net.nodes[n];
        let mut level = match &node.kind {
            Kind::Quantise(float) => self.tensor(float),
            _ => 0,
        };
        for v in &node.inputs {
            level = level.max(match self.maker.get(v).filter(|m| !self.refused.contains(m)) {
                Some(m) => self.node(*m),
                None => self.foreign(*v),
            });
        }
        self.nodes.insert(n, level);
        level
    }

    /// A value that tract makes.
    fn foreign(&mut self, value: usize) -> usize {
        let names: Vec<&String> = self.net.by_name.iter().filter(|(_, v)| **v == value).map(|(n, _)| n).collect();
        names
            .into_iter()
            .filter_map(|n| self.file.made(n))
            .map(|(m, _)| m)
            .collect::<Vec<_>>()
            .into_iter()
            .map(|m| self.left(m))
            .max()
            .unwrap_or(0)
    }

    /// Of a tensor as something outside of all regions reads it.
    fn tensor(&mut self, name: &str) -> usize {
        if name.is_empty() {
            return 0;
        }
        if let Some(level) = self.tensors.get(name) {
            return *level;
        }
        let value = self.net.by_name.get(name).or_else(|| self.net.floats.get(name)).copied();
        let inner = value.and_then(|v| self.maker.get(&v)).copied().filter(|m| !self.refused.contains(m));
        let level = match inner {
            Some(m) => self.node(m) + 1,
            None => self.file.made(name).map_or(0, |(n, _)| self.left(n)),
        };
        self.tensors.insert(name.into(), level);
        level
    }

    fn left(&mut self, n: usize) -> usize {
        self.file.node(n).input.iter().map(|i| self.tensor(i)).max().unwrap_or(0)
    }
}
