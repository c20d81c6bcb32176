//! From the nodes of one region to a list of steps over one arena.
//!
//! Decided here, once: which tensors get which borders, which of them share bytes, what is fused (an addition into the
//! convolution before it, channels written straight into the tensor they are joined to), and all factors. Scales are multiplied
//! in f64 and rounded to f32 once; zero points of inputs go into the biases. Every layer is asked for its extent, and a plan with
//! a layer that reaches beyond its arena is not made.

use super::arena::{Buffer, Fill, borders, place};
use super::graph::{Kind, Network, Node, Quant};
use super::kernels::Layer;
use super::lower::{Lower, Place};
use super::row::{Planned, Row};
use std::collections::{HashMap, HashSet};
use tract_onnx::pb::tensor_proto::DataType;

/// A tensor that comes in or goes out.
#[derive(Clone, Debug)]
pub struct Edge {
    /// Its quantisation.
    pub quant: Quant,
    /// What the outside sees.
    pub form: Form,
    /// Shape for the outside.
    pub shape: Vec<usize>,
    /// Where it lies.
    pub place: Place,
}

/// How the outside holds a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Real numbers, quantised or dequantised on the way.
    Float,
    /// As in the file: u8, or i8 where the tensor is signed.
    Bytes,
    /// u8 as in the arena, whatever the file says.
    Raw,
}

/// One thing to do.
#[derive(Debug)]
pub enum Step {
    /// Writes one value.
    Fill(Fill),
    /// Computes.
    Layer(Box<Layer>),
}

/// See the module's text.
#[derive(Debug)]
pub struct Plan {
    /// Bytes of the arena without slack.
    pub len: usize,
    /// Written when the arena is made: borders that nobody overwrites, and constants.
    pub fills: Vec<Fill>,
    /// Constants: offset and bytes.
    pub constants: Vec<(usize, Vec<u8>)>,
    /// What comes in, in the order asked for.
    pub inputs: Vec<Edge>,
    /// What is done.
    pub steps: Vec<Step>,
    /// What goes out, in the order asked for.
    pub outputs: Vec<Edge>,
    /// Rows that go out behind those.
    pub rows: Vec<Planned>,
    /// Multiplications of one run.
    pub macs: u64,
}

impl Plan {
    /// Element type and shape of everything that goes out, in order.
    pub fn given(&self) -> impl Iterator<Item = (DataType, &[usize])> {
        let edges = self.outputs.iter().map(|edge| (edge.element(), &edge.shape[..]));
        edges.chain(self.rows.iter().map(|row| (DataType::Float, &row.shape[..])))
    }
}

/// A region to be planned.
#[derive(Debug)]
pub struct Request<'a> {
    /// The whole network.
    pub net: &'a Network,
    /// Nodes of the region that are needed, in order.
    pub nodes: Vec<usize>,
    /// Values that come in.
    pub inputs: Vec<(usize, Form)>,
    /// Values that go out.
    pub outputs: Vec<(usize, Form)>,
    /// Rows that go out behind those.
    pub rows: Vec<&'a Row>,
}

/// Where a value is: a buffer, and its first channel there.
#[derive(Clone, Copy, Debug)]
struct Spot {
    buffer: usize,
    channel: usize,
}

/// A node as it is run: perhaps with the addition behind it.
struct Work<'a> {
    node: &'a Node,
    /// The addition, the value it makes and the other value it reads.
    sum: Option<(&'a Node, usize)>,
}

impl Work<'_> {
    fn output(&self) -> usize {
        self.sum.map_or(self.node.output, |(add, _)| add.output)
    }

    fn reads(&self) -> impl Iterator<Item = usize> {
        self.node.inputs.iter().copied().chain(self.sum.map(|(_, other)| other))
    }
}

/// Plans a region.
///
/// # Errors
/// Why it cannot be run: too large, or a layer that does not fit.
pub fn plan(request: &Request<'_>) -> Result<Plan, String> {
    let net = request.net;
    let mut readers: HashMap<usize, usize> = HashMap::new();
    for n in &request.nodes {
        for i in &net.nodes[*n].inputs {
            *readers.entry(*i).or_default() += 1;
        }
    }
    let parts = request.rows.iter().flat_map(|row| &row.parts).map(|(_, v)| *v);
    let leaves: HashSet<usize> = request.outputs.iter().map(|(v, _)| *v).chain(parts).collect();
    let works = fuse(request, &readers, &leaves);
    let (mut buffers, spots) = tensors(request, &works, &leaves);
    let len = place(&mut buffers)?;
    let (fills, each) = borders(&buffers);
    let at = |value: usize| -> Result<Place, String> {
        let spot = spots.get(&value).ok_or("a tensor that nobody makes")?;
        let b = &buffers[spot.buffer];
        let v = &net.values[value];
        Ok(Place {
            origin: b.origin() + spot.channel,
            row: b.row(),
            pixel: b.pixel(),
            plane: if b.planar { b.plane() } else { 1 },
            planar: b.planar,
            picture: v.picture,
            quant: v.quant,
        })
    };
    let mut lower = Lower::default();
    let mut steps = vec![];
    for (k, work) in works.iter().enumerate() {
        steps.extend(each.iter().filter(|(step, _)| *step == k + 1).map(|(_, fill)| Step::Fill(*fill)));
        let inputs: Vec<Place> = work.node.inputs.iter().map(|v| at(*v)).collect::<Result<_, _>>()?;
        let output = at(work.output())?;
        let sum = match work.sum {
            None => None,
            Some((add, other)) => Some((net.values[work.node.output].quant, add.range, at(other)?)),
        };
        match &work.node.kind {
            Kind::Quantise(_) => {}
            Kind::Concat | Kind::Reshape => {
                // Parts that already lie in their place are not copied.
                let mut channel = 0;
                for part in &inputs {
                    let target = Place { origin: output.origin + channel, picture: part.picture, ..output };
                    channel += part.picture[0];
                    if target.origin != part.origin {
                        lower.copy(part, &target);
                    }
                }
            }
            Kind::Pad(sides, byte) => {
                let [c, h, w] = output.picture;
                // In a joined tensor the channels of others lie between a pixel's and the next one's.
                let rows = (0..h).map(|y| output.origin + y * output.row);
                steps.extend(rows.map(|offset| Step::Fill(Fill { offset, rows: w, row: output.pixel, bytes: c, value: *byte })));
                let inside = output.origin + sides[0] * output.row + sides[1] * output.pixel;
                lower.copy(&inputs[0], &Place { origin: inside, picture: inputs[0].picture, ..output });
            }
            kind => lower.node(kind, &inputs, &output, work.node.range, sum)?,
        }
        for layer in lower.layers.drain(..) {
            let extent = layer.extent().filter(|e| *e <= len);
            extent.ok_or("a layer that reaches beyond its tensors")?;
            steps.push(Step::Layer(Box::new(layer)));
        }
    }
    let edges = |list: &[(usize, Form)]| -> Result<Vec<Edge>, String> {
        list.iter()
            .map(|(v, form)| {
                let value = &net.values[*v];
                Ok(Edge { quant: value.quant, form: *form, shape: value.shape.clone(), place: at(*v)? })
            })
            .collect()
    };
    let rows = request.rows.iter().map(|row| {
        let parts = row.parts.iter().map(|(take, v)| Ok((*take, at(*v)?))).collect::<Result<_, String>>()?;
        Ok(Planned::new(row, parts))
    });
    let mut constants = vec![];
    for (v, spot) in &spots {
        if let Some(bytes) = &net.values[*v].constant {
            let [c, h, w] = net.values[*v].picture;
            let ordered = (0..h * w).flat_map(|p| (0..c).map(move |k| bytes[k * h * w + p])).collect();
            constants.push((buffers[spot.buffer].origin(), ordered));
        }
    }
    // Around what comes in.
    let first: Vec<Step> = each.iter().filter(|(step, _)| *step == 0).map(|(_, f)| Step::Fill(*f)).collect();
    let steps = first.into_iter().chain(steps).collect();
    Ok(Plan {
        len,
        fills,
        constants,
        inputs: edges(&request.inputs)?,
        steps,
        outputs: edges(&request.outputs)?,
        rows: rows.collect::<Result<_, String>>()?,
        macs: lower.macs,
    })
}

/// Nodes in the order in which they are run, additions inside the convolutions before them.
fn fuse<'a>(request: &Request<'a>, readers: &HashMap<usize, usize>, leaves: &HashSet<usize>) -> Vec<Work<'a>> {
    let net = request.net;
    let maker: HashMap<usize, usize> = request.nodes.iter().map(|n| (net.nodes[*n].output, *n)).collect();
    let mut taken: HashMap<usize, usize> = HashMap::new();
    for n in &request.nodes {
        let add = &net.nodes[*n];
        let (Kind::Add, [a, b]) = (&add.kind, add.inputs.as_slice()) else { continue };
        if a == b || net.values[*a].picture != net.values[*b].picture {
            continue;
        }
        let able = |v: usize| {
            let conv = maker.get(&v).copied()?;
            let fits = matches!(&net.nodes[conv].kind, Kind::Conv(c) if c.groups == 1);
            (fits && readers.get(&v) == Some(&1) && !leaves.contains(&v)).then_some(conv)
        };
        // The later of two convolutions: its own result is the one that is still at hand.
        if let Some(conv) = able(*a).max(able(*b)) {
            taken.insert(*n, conv);
        }
    }
    let inside: HashSet<usize> = taken.values().copied().collect();
    let mut works = vec![];
    for n in request.nodes.iter().filter(|n| !inside.contains(n)) {
        let node = &net.nodes[*n];
        works.push(match taken.get(n) {
            Some(conv) => {
                let own = net.nodes[*conv].output;
                let other = node.inputs.iter().copied().find(|v| *v != own).unwrap_or(own);
                Work { node: &net.nodes[*conv], sum: Some((node, other)) }
            }
            None => Work { node, sum: None },
        });
    }
    works
}

/// A buffer for every value, or a place inside another's.
fn tensors(request: &Request<'_>, works: &[Work<'_>], leaves: &HashSet<usize>) -> (Vec<Buffer>, HashMap<usize, Spot>) {
    let net = request.net;
    let end = works.len() + 1;
    let mut buffers: Vec<Buffer> = vec![];
    let mut spots: HashMap<usize, Spot> = HashMap::new();
    let fresh = |v: usize, planar: bool, life: (usize, usize), buffers: &mut Vec<Buffer>| {
        let [channels, height, width] = net.values[v].picture;
        let zero = net.values[v].quant.zero;
        buffers.push(Buffer { channels, height, width, border: [0; 4], planar, zero, life, offset: 0 });
        Spot { buffer: buffers.len() - 1, channel: 0 }
    };
    // Parts of a joined tensor lie in it from the beginning, unless they lie in another already.
    let mut inside: HashMap<usize, (usize, usize)> = HashMap::new();
    let outside: HashSet<usize> = request.inputs.iter().map(|(v, _)| *v).collect();
    let shaped: HashSet<usize> =
        works.iter().filter(|w| matches!(w.node.kind, Kind::Reshape)).flat_map(|w| [w.node.inputs[0], w.node.output]).collect();
    for work in works.iter().filter(|w| matches!(w.node.kind, Kind::Concat)) {
        let mut channel = 0;
        for part in &work.node.inputs {
            let once = work.node.inputs.iter().filter(|p| *p == part).count() == 1;
            let free = net.values[*part].constant.is_none() && !outside.contains(part) && !shaped.contains(part);
            if once && free && !inside.contains_key(part) {
                inside.insert(*part, (work.node.output, channel));
            }
            channel += net.values[*part].picture[0];
        }
    }
    for (v, _) in &request.inputs {
        // A picture whose readers are convolutions is read plane by plane, as it comes.
        let reading: Vec<&Node> = works.iter().filter(|w| w.reads().any(|r| r == *v)).map(|w| w.node).collect();
        let plain = |n: &&Node| matches!(&n.kind, Kind::Conv(c) if c.groups == 1);
        let sums = works.iter().any(|w| w.sum.is_some_and(|(_, other)| other == *v));
        let planar = net.values[*v].picture[1..] != [1, 1] && !sums && reading.iter().all(plain) && !leaves.contains(v);
        let spot = fresh(*v, planar, (0, 0), &mut buffers);
        spots.insert(*v, spot);
    }
    for (k, work) in works.iter().enumerate() {
        for v in work.reads().chain([work.output()]) {
            if spots.contains_key(&v) {
                continue;
            }
            let spot = match (&work.node.kind, inside.get(&v)) {
                (Kind::Reshape, _) if v == work.node.output => spots[&work.node.inputs[0]],
                (_, Some(_)) => {
                    // Follow joined tensors inside joined tensors to the outermost.
                    let (mut to, mut channel, mut depth) = (v, 0, 0);
                    while let Some((next, c)) = inside.get(&to).filter(|_| depth < 64) {
                        (to, channel, depth) = (*next, channel + c, depth + 1);
                    }
                    let base = match spots.get(&to) {
                        Some(spot) => *spot,
                        None => {
                            let spot = fresh(to, false, (k + 1, k + 1), &mut buffers);
                            spots.insert(to, spot);
                            spot
                        }
                    };
                    Spot { buffer: base.buffer, channel: base.channel + channel }
                }
                _ => {
                    let constant = net.values[v].constant.is_some();
                    fresh(v, false, if constant { (0, end) } else { (k + 1, k + 1) }, &mut buffers)
                }
            };
            spots.insert(v, spot);
        }
        for v in work.reads().chain([work.output()]) {
            let b = &mut buffers[spots[&v].buffer];
            b.life = (b.life.0.min(k + 1), b.life.1.max(k + 1));
        }
        // Windows that reach out of the picture.
        if let Kind::Conv(conv) = &work.node.kind {
            let input = work.node.inputs[0];
            let [_, h, w] = net.values[input].picture;
            let [_, oh, ow] = net.values[work.node.output].picture;
            let reach = |axis: usize, out: usize, side: usize| {
                let (k, s, d) = (conv.windows.kernel[axis], conv.windows.stride[axis], conv.windows.dilation[axis]);
                let last = (out - 1) * s + (k - 1) * d + 1;
                (conv.windows.pad[axis], last.saturating_sub(side + conv.windows.pad[axis]))
            };
            let ((top, bottom), (left, right)) = (reach(0, oh, h), reach(1, ow, w));
            let b = &mut buffers[spots[&input].buffer];
            for (have, want) in b.border.iter_mut().zip([top, left, bottom, right]) {
                *have = (*have).max(want);
            }
        }
    }
    for v in leaves {
        if let Some(spot) = spots.get(v) {
            buffers[spot.buffer].life.1 = end;
        }
    }
    (buffers, spots)
}
