//! A head's ONNX graph, read as a chain: dense layers and what stands beside them, recurrent layers, dense layers.
//!
//! The graph is walked once with known shapes (batch 1, the contract's window). Of every tensor we keep either its numbers
//! (weights, and the shapes exporters compute at run time) or where in the chain it stands and which of its axes is time.
//! So transposes, squeezes, reshapes and the picking of the last tick are seen for what they are here: names for the same
//! numbers. Whatever is not known makes a tensor that says why; it matters only if the answer depends on it. Then the
//! head stays with tract, and the sentence is shown by `lookout check`.

mod constant;
mod links;

use super::cell::{Layer, Weights};
use constant::Array;
use std::collections::HashMap;
use tract_onnx::pb::{GraphProto, ModelProto, NodeProto};

/// One link of the chain.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Link {
    /// `y = W x`.
    Dense(Weights),
    /// `y = x (op) b`, number by number.
    With(With, Vec<f32>),
    /// A function of each number.
    Map(Map),
    /// A recurrent layer.
    Layer(Layer),
}

/// How [`Link::With`] combines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum With {
    Add,
    Subtract,
    Multiply,
    Divide,
}

/// See [`Link::Map`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Map {
    Relu,
    Tanh,
    Sigmoid,
}

/// What an axis counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Axis {
    /// Nothing: its length is 1.
    One,
    /// Ticks.
    Time,
    /// Numbers of a tick.
    Width,
}

/// What is known of a tensor.
#[derive(Clone, Debug)]
enum What {
    /// Its numbers.
    Known(Array),
    /// Zeros of some shape: initial states.
    Zeros,
    /// What comes out behind so many links, of `width` numbers a tick. Without a time axis: of the last tick.
    Flow { links: usize, width: usize, axes: Vec<Axis> },
    /// Last states of several layers, stacked along the first of three axes.
    Stack(Vec<(usize, usize)>),
    /// Why we do not know.
    Unknown(String),
}

type Read<T> = Result<T, String>;

/// How the input is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// `[1, window, features]`.
    BatchFirst,
    /// `[window, 1, features]`.
    TimeFirst,
}

/// Reads the chain from the head's first input to its first output.
///
/// # Errors
/// What keeps it from being one, in a few words.
pub(super) fn chain(proto: &ModelProto, window: usize, features: usize, order: Order) -> Read<Vec<Link>> {
    let graph = proto.graph.as_ref().ok_or("no graph")?;
    let mut reader = Reader { window, links: vec![], known: HashMap::new() };
    reader.start(graph, features, order)?;
    for node in &graph.node {
        let made = reader.node(node).unwrap_or_else(|why| vec![What::Unknown(why)]);
        let why = made.iter().find_map(|m| if let What::Unknown(why) = m { Some(why.clone()) } else { None });
        let mut made = made.into_iter();
        for name in node.output.iter() {
            let what = made
                .next()
                .unwrap_or_else(|| What::Unknown(why.clone().unwrap_or_else(|| format!("{} {}", node.op_type, node.name))));
            if !name.is_empty() {
                reader.known.insert(name.clone(), what);
            }
        }
    }
    let last = graph.output.first().ok_or("no output")?;
    match reader.known.get(&last.name) {
        Some(What::Flow { links, axes, .. }) if *links == reader.links.len() && !axes.contains(&Axis::Time) => {}
        Some(What::Unknown(why)) => return Err(why.clone()),
        _ => return Err("the output is not the end of one chain".into()),
    }
    if !reader.links.iter().any(|l| matches!(l, Link::Layer(_))) {
        return Err("no LSTM, GRU or RNN".into());
    }
    Ok(reader.links)
}

struct Reader {
    window: usize,
    links: Vec<Link>,
    known: HashMap<String, What>,
}

/// A tensor of the chain.
type Flow = (usize, usize, Vec<Axis>);

impl Reader {
    fn start(&mut self, graph: &GraphProto, features: usize, order: Order) -> Read<()> {
        for tensor in &graph.initializer {
            let what = Array::read(tensor).map_or_else(What::Unknown, What::Known);
            self.known.insert(tensor.name.clone(), what);
        }
        // Some exporters list initialisers as inputs.
        let input = graph.input.iter().find(|i| !self.known.contains_key(&i.name)).ok_or("no input")?;
        let axes = match order {
            Order::BatchFirst => vec![Axis::One, Axis::Time, Axis::Width],
            Order::TimeFirst => vec![Axis::Time, Axis::One, Axis::Width],
        };
        let flow = What::Flow { links: 0, width: features, axes: self.timed(axes) };
        self.known.insert(input.name.clone(), flow);
        Ok(())
    }

    /// In a window of one tick there is no time.
    fn timed(&self, axes: Vec<Axis>) -> Vec<Axis> {
        axes.into_iter().map(|a| if self.window == 1 && a == Axis::Time { Axis::One } else { a }).collect()
    }

    fn what(&self, node: &NodeProto, n: usize) -> Read<&What> {
        let name = node
            .input
            .get(n)
            .filter(|i| !i.is_empty())
            .ok_or_else(|| format!("{} {} lacks an input", node.op_type, node.name))?;
        match self.known.get(name) {
            Some(What::Unknown(why)) => Err(why.clone()),
            Some(what) => Ok(what),
            None => Err(format!("{name} comes from nowhere")),
        }
    }

    fn has(node: &NodeProto, n: usize) -> bool {
        node.input.get(n).is_some_and(|i| !i.is_empty())
    }

    fn array(&self, node: &NodeProto, n: usize) -> Read<&Array> {
        match self.what(node, n)? {
            What::Known(array) => Ok(array),
            _ => Err(format!("{} {}: an input that is not constant", node.op_type, node.name)),
        }
    }

    fn flow(&self, node: &NodeProto, n: usize) -> Read<Flow> {
        match self.what(node, n)? {
            What::Flow { links, width, axes } => Ok((*links, *width, axes.clone())),
            _ => Err(format!("{} {}: not a tensor of the chain", node.op_type, node.name)),
        }
    }

    /// Adds a link behind `from`, which must be the end of the chain.
    fn link(&mut self, from: usize, link: Link) -> Read<usize> {
        if from != self.links.len() {
            return Err("the graph forks".into());
        }
        self.links.push(link);
        Ok(self.links.len())
    }

    fn node(&mut self, node: &NodeProto) -> Read<Vec<What>> {
        if !node.domain.is_empty() && node.domain != "ai.onnx" {
            return Err(format!("{}.{} {}", node.domain, node.op_type, node.name));
        }
        let kind = node.op_type.as_str();
        if matches!(kind, "LSTM" | "GRU" | "RNN") {
            return self.recurrent(node);
        }
        let one = match kind {
            "Constant" => {
                let tensor = node.attribute.iter().find(|a| a.name == "value").and_then(|a| a.t.as_ref());
                What::Known(Array::read(tensor.ok_or_else(|| format!("Constant {}", node.name))?)?)
            }
            "Identity" | "Dropout" | "Cast" if !matches!(self.what(node, 0)?, What::Known(_)) => self.what(node, 0)?.clone(),
            "Shape" => What::Known(self.shape(node)?),
            "ConstantOfShape" | "Expand" if self.zeros(node)? => What::Zeros,
            _ => match self.what(node, 0)?.clone() {
                What::Known(_) => {
                    let inputs: Read<Vec<&Array>> =
                        (0..node.input.len()).filter(|n| Self::has(node, *n)).map(|n| self.array(node, n)).collect();
                    // `x + b` may be written `b + x`.
                    match inputs {
                        Ok(inputs) => What::Known(constant::fold(node, &inputs)?),
                        Err(_) if matches!(kind, "Add" | "Mul") => self.with(node, 1, 0)?,
                        Err(why) => return Err(why),
                    }
                }
                What::Zeros if matches!(kind, "Slice" | "Gather" | "Unsqueeze" | "Squeeze" | "Reshape" | "Transpose") => {
                    What::Zeros
                }
                What::Flow { links, width, axes } => self.moved(node, (links, width, axes))?,
                What::Stack(layers) if kind == "Gather" => self.pick(node, &layers)?,
                _ => return Err(format!("{kind} {}", node.name)),
            },
        };
        Ok(vec![one])
    }

    /// The shape of a tensor of the chain.
    fn shape(&self, node: &NodeProto) -> Read<Array> {
        let (_, width, axes) = self.flow(node, 0)?;
        Ok(Array::numbers(axes.iter().map(|a| self.length(*a, width) as i64).collect()))
    }

    fn length(&self, axis: Axis, width: usize) -> usize {
        match axis {
            Axis::One => 1,
            Axis::Time => self.window,
            Axis::Width => width,
        }
    }

    /// Does it make nothing but zeros?
    fn zeros(&self, node: &NodeProto) -> Read<bool> {
        if node.op_type == "ConstantOfShape" {
            let value = node.attribute.iter().find(|a| a.name == "value").and_then(|a| a.t.as_ref());
            return value.map_or(Ok(true), |t| Ok(Array::read(t)?.is_zero()));
        }
        Ok(match self.what(node, 0)? {
            What::Zeros => true,
            What::Known(array) => array.is_zero(),
            _ => false,
        })
    }

    /// A node over a tensor of the chain that is not a recurrent layer.
    fn moved(&mut self, node: &NodeProto, flow: Flow) -> Read<What> {
        let (links, width, axes) = flow;
        let unknown = || format!("{} {}", node.op_type, node.name);
        let same = |axes| What::Flow { links, width, axes };
        Ok(match node.op_type.as_str() {
            "Transpose" => {
                let perm = constant::ints(node, "perm").ok_or_else(unknown)?;
                let moved: Option<Vec<Axis>> = perm.iter().map(|p| axes.get(usize::try_from(*p).ok()?).copied()).collect();
                let moved = moved.filter(|m| m.len() == axes.len()).ok_or_else(unknown)?;
                let mut seen: Vec<Axis> = moved.iter().copied().filter(|a| *a != Axis::One).collect();
                // Time stays before width: the numbers do not move.
                seen.dedup();
                if seen != axes.iter().copied().filter(|a| *a != Axis::One).collect::<Vec<_>>() {
                    return Err(unknown());
                }
                same(moved)
            }
            "Squeeze" => {
                let drop = self.axes(node, axes.len())?;
                let drop = drop.unwrap_or_else(|| (0..axes.len()).filter(|a| axes[*a] == Axis::One).collect());
                if drop.iter().any(|a| axes[*a] != Axis::One) {
                    return Err(unknown());
                }
                same(axes.iter().enumerate().filter(|(n, _)| !drop.contains(n)).map(|(_, a)| *a).collect())
            }
            "Unsqueeze" => {
                let new = constant::list(node, "axes", || self.array(node, 1).ok())?.ok_or_else(unknown)?;
                let rank = axes.len() + new.len();
                let new = constant::within(&new, rank).ok_or_else(unknown)?;
                let mut old = axes.iter();
                let all = (0..rank).map(|n| if new.contains(&n) { Some(Axis::One) } else { old.next().copied() });
                same(all.collect::<Option<_>>().ok_or_else(unknown)?)
            }
            "Reshape" => same(self.reshaped(self.array(node, 1)?, width, &axes).ok_or_else(unknown)?),
            "Flatten" if !axes.contains(&Axis::Time) && constant::int(node, "axis").is_none_or(|a| a == 1) => {
                same(vec![Axis::One, Axis::Width])
            }
            "Gather" => {
                let at = self.array(node, 1)?;
                let axis = constant::within(&[constant::int(node, "axis").unwrap_or(0)], axes.len()).ok_or_else(unknown)?[0];
                let length = self.length(axes[axis], width);
                let index = at.only().and_then(|i| constant::within(&[i], length)).ok_or_else(unknown)?[0];
                // One place of an axis: the last tick, or the only one of an axis that counts nothing.
                if axes[axis] == Axis::Width || index + 1 != length {
                    return Err(unknown());
                }
                let mut axes = axes;
                if at.is_scalar() {
                    axes.remove(axis);
                } else {
                    axes[axis] = Axis::One;
                }
                same(axes)
            }
            "Slice" => {
                let (starts, ends) = (self.array(node, 1)?, self.array(node, 2)?);
                let dims: Vec<i64> = axes.iter().map(|a| self.length(*a, width) as i64).collect();
                let list = |n: usize| -> Read<Option<Vec<i64>>> {
                    if Self::has(node, n) { Ok(Some(self.array(node, n)?.ints().ok_or_else(unknown)?)) } else { Ok(None) }
                };
                let cuts = constant::cuts(
                    &dims,
                    &starts.ints().ok_or_else(unknown)?,
                    &ends.ints().ok_or_else(unknown)?,
                    list(3)?,
                    list(4)?,
                );
                let mut axes = axes.clone();
                for (axis, (from, to)) in cuts.ok_or_else(unknown)?.into_iter().enumerate() {
                    let whole = from == 0 && to == dims[axis];
                    match axes[axis] {
                        _ if whole => {}
                        Axis::Time if to == dims[axis] && from + 1 == to => axes[axis] = Axis::One,
                        _ => return Err(unknown()),
                    }
                }
                same(axes)
            }
            "Concat" => self.stack(node)?,
            "MatMul" | "Gemm" => {
                let (weights, bias) = self.dense(node, width, &axes)?;
                let outputs = weights.values.len() / width;
                let mut links = self.link(links, Link::Dense(weights))?;
                if let Some(bias) = bias {
                    links = self.link(links, Link::With(With::Add, bias))?;
                }
                What::Flow { links, width: outputs, axes }
            }
            "Add" | "Sub" | "Mul" | "Div" => self.with(node, 0, 1)?,
            "Relu" => What::Flow { links: self.link(links, Link::Map(Map::Relu))?, width, axes },
            "Tanh" => What::Flow { links: self.link(links, Link::Map(Map::Tanh))?, width, axes },
            "Sigmoid" => What::Flow { links: self.link(links, Link::Map(Map::Sigmoid))?, width, axes },
            _ => return Err(unknown()),
        })
    }

    /// Axes given as an attribute (before opset 13) or as the second input, from the front.
    fn axes(&self, node: &NodeProto, rank: usize) -> Read<Option<Vec<usize>>> {
        let Some(given) = constant::list(node, "axes", || self.array(node, 1).ok())? else { return Ok(None) };
        constant::within(&given, rank).map(Some).ok_or_else(|| format!("{} {}: axes {given:?}", node.op_type, node.name))
    }

    /// The axes after a reshape that only adds or drops ones.
    fn reshaped(&self, to: &Array, width: usize, axes: &[Axis]) -> Option<Vec<Axis>> {
        let timed = axes.contains(&Axis::Time);
        let count = width * if timed { self.window } else { 1 };
        let mut dims = to.ints()?;
        for (n, d) in dims.iter_mut().enumerate() {
            if *d == 0 {
                *d = self.length(*axes.get(n)?, width) as i64;
            }
        }
        let known: i64 = dims.iter().filter(|d| **d > 0).try_fold(1i64, |all, d| all.checked_mul(*d))?;
        dims.iter_mut().filter(|d| **d == -1).for_each(|d| *d = count as i64 / known);
        if width < 2 || dims.iter().try_fold(1i64, |all, d| all.checked_mul(*d))? != count as i64 {
            return None;
        }
        let mut left = if timed { vec![Axis::Width, Axis::Time] } else { vec![Axis::Width] };
        let mut out = vec![];
        for d in dims {
            match d {
                1 => out.push(Axis::One),
                d if left.last().is_some_and(|a| self.length(*a, width) as i64 == d) => out.extend(left.pop()),
                _ => return None,
            }
        }
        left.is_empty().then_some(out)
    }

    /// Last states of layers one over the other.
    fn stack(&self, node: &NodeProto) -> Read<What> {
        let unknown = || format!("Concat {}", node.name);
        if constant::int(node, "axis") != Some(0) {
            return Err(unknown());
        }
        let layers = (0..node.input.len()).map(|n| match self.flow(node, n)? {
            (links, width, axes) if axes == [Axis::One, Axis::One, Axis::Width] => Ok((links, width)),
            _ => Err(unknown()),
        });
        Ok(What::Stack(layers.collect::<Read<_>>()?))
    }

    fn pick(&self, node: &NodeProto, layers: &[(usize, usize)]) -> Read<What> {
        let at = self.array(node, 1)?;
        let index = at.only().and_then(|i| constant::within(&[i], layers.len()));
        let index =
            index.filter(|_| constant::int(node, "axis").unwrap_or(0) == 0).ok_or_else(|| format!("Gather {}", node.name))?[0];
        let (links, width) = layers[index];
        let axes = vec![Axis::One; if at.is_scalar() { 1 } else { 2 }].into_iter().chain([Axis::Width]).collect();
        Ok(What::Flow { links, width, axes })
    }
}

#[cfg(test)]
mod tests;
