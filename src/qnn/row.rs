//! The end of a network in float: what becomes of its bytes where a row of a few hundred numbers is all that is asked for.
//!
//! Exporters leave the last operators in float, and a mean over thousands of bytes has more digits than a byte has. tract would be handed whole
//! pictures of floats to average, and sums in another order on every processor. So an output that is operators on a row, and before them means, maxima
//! or bytes of one region's pictures, is computed behind that region's steps: means from whole sums, everything else one rounded operation
//! after the other in the order written ([`crate::lanes`]), so that the numbers are the same on every machine. Nothing is allocated then.

use super::graph::{File, Network, attribute, float, int, ints, only_reshapes, reshaped};
use super::kernels::Isa;
use super::lower::Place;
use crate::lanes::{Here, add_product, widen};
use tract_onnx::pb::NodeProto;

/// Longest row; longer ones are pictures.
const LONGEST: usize = 1 << 14;
/// Tensors that are looked at for one row, and weights that it multiplies: a hostile graph has paths without number, and one constant for all of them.
const LOOKS: usize = 256;
const WEIGHTS: usize = 4 << 20;
/// Rows of bytes whose sums 16 bits hold.
const ROWS: usize = 257;

/// What of a picture goes into a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Take {
    /// The mean of each channel.
    Mean,
    /// The largest of each channel.
    Most,
    /// Everything, in ONNX's order.
    All,
}

/// An operator on a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// Weights `[inputs][outputs]` and what is added.
    Dense(Vec<f32>, Vec<f32>),
    /// Adds.
    Add(Vec<f32>),
    /// What is below 0 becomes 0.
    Relu,
    /// Natural logarithm.
    Log,
}

/// A row as the file says it.
#[derive(Clone, Debug)]
pub struct Row {
    /// What it begins with: values and what of them is taken, one after the other.
    pub parts: Vec<(Take, usize)>,
    /// What is done then.
    pub ops: Vec<Op>,
    /// Its shape for the graph.
    pub shape: Vec<usize>,
    /// Nodes of the file that say so.
    pub nodes: Vec<usize>,
}

/// The row that the tensor `name` is; `None` where it is none.
pub fn read(file: &File<'_>, net: &Network, name: &str) -> Option<Row> {
    let mut reader = Reader { file, net, looks: LOOKS, weights: WEIGHTS };
    reader.tensor(name).filter(|row| !row.nodes.is_empty())
}

struct Reader<'a> {
    file: &'a File<'a>,
    net: &'a Network,
    looks: usize,
    weights: usize,
}

impl Reader<'_> {
    fn tensor(&mut self, name: &str) -> Option<Row> {
        self.looks = self.looks.checked_sub(1)?;
        if let Some(row) = self.net.floats.get(name).and_then(|v| self.whole(*v)) {
            return Some(row);
        }
        let (n, node) = self.file.made(name)?;
        if !matches!(node.domain.as_str(), "" | "ai.onnx") || node.output.len() != 1 {
            return None;
        }
        let mut row = match node.op_type.as_str() {
            "Relu" => self.input(node, 0)?.then(Op::Relu),
            "Log" => self.input(node, 0)?.then(Op::Log),
            "Add" => {
                let constant = |at: &usize| node.input.get(*at).is_some_and(|i| self.file.constant(i).is_some());
                let at = (0..2).find(constant)?;
                self.input(node, 1 - at)?.plus(self.file, &node.input[at])?
            }
            "Gemm" => {
                let row = self.input(node, 0)?;
                let count = self.file.dims(node.input.get(1)?)?.iter().product();
                self.weights = self.weights.checked_sub(count)?;
                row.times(self.file, node)?
            }
            "Concat" => self.joined(node)?,
            _ if only_reshapes(node) => {
                let row = self.input(node, 0)?;
                Row { shape: reshaped(self.file, node, &row.shape).ok()?, ..row }
            }
            _ => self.picture(node)?,
        };
        row.nodes.push(n);
        Some(row)
    }

    fn input(&mut self, node: &NodeProto, at: usize) -> Option<Row> {
        self.tensor(node.input.get(at)?)
    }

    /// All bytes of a value; no operator yet.
    fn whole(&self, value: usize) -> Option<Row> {
        let v = &self.net.values[value];
        (v.len() <= LONGEST).then(|| Row::of(Take::All, value, v.shape.clone()))
    }

    /// Mean or largest of every channel of a picture.
    fn picture(&self, node: &NodeProto) -> Option<Row> {
        let value = *self.net.floats.get(node.input.first()?)?;
        let v = &self.net.values[value];
        let [c, h, w] = v.picture;
        if v.shape[..] != [1, c, h, w] || c > LONGEST {
            return None;
        }
        let take = match node.op_type.as_str() {
            "GlobalAveragePool" => Take::Mean,
            "GlobalMaxPool" => Take::Most,
            // One window that is the whole picture.
            "MaxPool" => {
                let all = |name: &str, of: i64| ints(node, name).is_none_or(|all| all.iter().all(|n| *n == of));
                let plain = all("pads", 0) && all("dilations", 1) && attribute(node, "auto_pad").is_none();
                (plain && ints(node, "kernel_shape")? == [h as i64, w as i64]).then_some(Take::Most)?
            }
            _ => return None,
        };
        Some(Row::of(take, value, vec![1, c, 1, 1]))
    }

    /// Rows one after the other that nothing has been done to yet.
    fn joined(&mut self, node: &NodeProto) -> Option<Row> {
        let mut all = self.input(node, 0)?;
        for at in 1..node.input.len() {
            let row = self.input(node, at)?;
            if !row.is_begun() || !all.is_begun() || row.shape.len() != all.shape.len() {
                return None;
            }
            all.shape[1] += row.shape[1];
            all.parts.extend(row.parts);
            all.nodes.extend(row.nodes);
        }
        let (axis, rank) = (int(node, "axis", 0), all.shape.len() as i64);
        (all.is_begun() && (axis == 1 || axis == 1 - rank) && all.shape[1] <= LONGEST).then_some(all)
    }
}

impl Row {
    fn of(take: Take, value: usize, shape: Vec<usize>) -> Self {
        Self { parts: vec![(take, value)], ops: vec![], shape, nodes: vec![] }
    }

    fn then(mut self, op: Op) -> Self {
        self.ops.push(op);
        self
    }

    /// Is it flat, and nothing has been done to it?
    fn is_begun(&self) -> bool {
        self.ops.is_empty() && matches!(self.shape.as_slice(), [1, _] | [1, _, 1, 1])
    }

    /// With a constant added.
    fn plus(self, file: &File<'_>, name: &str) -> Option<Self> {
        let [1, long] = self.shape[..] else { return None };
        let more = spread(file, name, long)?;
        Some(self.then(Op::Add(more)))
    }

    /// Times constant weights, plus a constant.
    fn times(self, file: &File<'_>, node: &NodeProto) -> Option<Self> {
        let plain = int(node, "transA", 0) == 0 && float(node, "alpha", 1.0) == 1.0 && float(node, "beta", 1.0) == 1.0;
        let name = node.input.get(1).filter(|_| plain)?;
        let (weights, dims) = (file.floats(name)?, file.dims(name)?);
        let ([1, inputs], [a, b]) = (self.shape.as_slice(), dims.as_slice()) else { return None };
        let turned = int(node, "transB", 0) != 0;
        let (depth, outputs) = if turned { (*b, *a) } else { (*a, *b) };
        if depth != *inputs || outputs == 0 || outputs > LONGEST {
            return None;
        }
        let weights = match turned {
            true => (0..depth).flat_map(|i| (0..outputs).map(move |o| o * depth + i)).map(|at| weights[at]).collect(),
            false => weights,
        };
        let bias = file.input(node, 2).map_or_else(|| Some(vec![0.0; outputs]), |name| spread(file, name, outputs))?;
        Some(Self { shape: vec![1, outputs], ..self }.then(Op::Dense(weights, bias)))
    }
}

/// A constant as a number for each of a row's.
fn spread(file: &File<'_>, name: &str, long: usize) -> Option<Vec<f32>> {
    let (values, dims) = (file.floats(name)?, file.dims(name)?);
    match values.len() {
        1 if dims.len() <= 2 => Some(vec![values[0]; long]),
        n => (n == long && matches!(dims[..], [_] | [1, _])).then_some(values),
    }
}

/// A row ready to run.
#[derive(Debug)]
pub struct Planned {
    /// Its shape for the graph.
    pub shape: Vec<usize>,
    parts: Vec<(Take, Place)>,
    ops: Vec<Op>,
    here: Here,
}

/// What a row is computed in.
#[derive(Clone, Debug)]
pub struct Scratch {
    columns: Vec<u16>,
    totals: Vec<u64>,
    now: Vec<f32>,
    next: Vec<f32>,
}

impl Planned {
    /// Of places in the arena.
    pub fn new(row: &Row, parts: Vec<(Take, Place)>) -> Self {
        Self { shape: row.shape.clone(), parts, ops: row.ops.clone(), here: Here::of(Isa::Scalar) }
    }

    /// Compiled for `isa`.
    pub fn on(self, isa: Isa) -> Self {
        Self { here: Here::of(isa), ..self }
    }

    /// Room for runs.
    pub fn scratch(&self) -> Scratch {
        let long = |(take, p): &(Take, Place)| p.picture[0] * if *take == Take::All { p.picture[1] * p.picture[2] } else { 1 };
        let begins: usize = self.parts.iter().map(long).sum();
        let dense = |op: &Op| if let Op::Dense(_, bias) = op { bias.len() } else { 0 };
        let most = self.ops.iter().map(dense).max().unwrap_or(0).max(begins);
        let over = |of: &dyn Fn(&Place) -> usize| self.parts.iter().map(|(_, p)| of(p)).max().unwrap_or(0);
        Scratch {
            columns: vec![0; over(&|p| p.picture[2] * p.pixel)],
            totals: vec![0; over(&|p| p.picture[0])],
            now: Vec::with_capacity(most),
            next: Vec::with_capacity(most),
        }
    }

    /// Computes the row from the arena.
    pub fn run(&self, arena: &[u8], scratch: &mut Scratch, to: &mut [f32]) {
        let Scratch { columns, totals, now, next } = scratch;
        now.clear();
        for (take, place) in &self.parts {
            let [c, h, w] = place.picture;
            match take {
                Take::Mean => {
                    self.sums(arena, place, columns, &mut totals[..c]);
                    let (count, quant) = ((h * w) as f64, place.quant);
                    let mean = |sum: &u64| (*sum as f64 / count - f64::from(quant.zero)) * f64::from(quant.scale);
                    now.extend(totals[..c].iter().map(|sum| mean(sum) as f32));
                }
                Take::Most => {
                    let columns = &mut columns[..(w - 1) * place.pixel + c];
                    columns.fill(0);
                    (0..h).for_each(|y| most(self.here, &arena[place.origin + y * place.row..][..columns.len()], columns));
                    let largest = |k| columns[k..].iter().step_by(place.pixel).max().map_or(0, |b| *b as u8);
                    now.extend((0..c).map(|k| place.quant.value(largest(k))));
                }
                Take::All => {
                    let at = |k: usize, y: usize, x: usize| place.origin + k + y * place.row + x * place.pixel;
                    let places = (0..c).flat_map(|k| (0..h).flat_map(move |y| (0..w).map(move |x| at(k, y, x))));
                    now.extend(places.map(|at| place.quant.value(arena[at])));
                }
            }
        }
        for op in &self.ops {
            match op {
                Op::Dense(weights, bias) => {
                    next.clear();
                    next.extend_from_slice(bias);
                    add_product(self.here, weights, now, 1.0, next);
                    std::mem::swap(now, next);
                }
                Op::Add(more) => now.iter_mut().zip(more).for_each(|(x, more)| *x += more),
                Op::Relu => now.iter_mut().for_each(|x| *x = if *x < 0.0 { 0.0 } else { *x }),
                Op::Log => now.iter_mut().for_each(|x| *x = ln(*x)),
            }
        }
        to.copy_from_slice(now);
    }

    /// The sum of every channel.
    fn sums(&self, arena: &[u8], place: &Place, columns: &mut [u16], totals: &mut [u64]) {
        let [c, h, w] = place.picture;
        totals.fill(0);
        // Down first, all channels of a row beside each other; then across.
        let columns = &mut columns[..(w - 1) * place.pixel + c];
        for first in (0..h).step_by(ROWS) {
            columns.fill(0);
            for y in first..h.min(first + ROWS) {
                add(self.here, &arena[place.origin + y * place.row..][..columns.len()], columns);
            }
            for pixel in columns.chunks(place.pixel) {
                totals.iter_mut().zip(pixel).for_each(|(total, sum)| *total += u64::from(*sum));
            }
        }
    }
}

widen! {
    /// Adds bytes.
    add = plain_add(from: &[u8], to: &mut [u16])
}

#[inline(always)]
fn plain_add(from: &[u8], to: &mut [u16]) {
    for n in 0..from.len().min(to.len()) {
        to[n] += u16::from(from[n]);
    }
}

widen! {
    /// Keeps the larger.
    most = plain_most(from: &[u8], to: &mut [u16])
}

#[inline(always)]
fn plain_most(from: &[u8], to: &mut [u16]) {
    for n in 0..from.len().min(to.len()) {
        to[n] = to[n].max(u16::from(from[n]));
    }
}

/// Natural logarithm with the same bits everywhere; those of the systems differ in the last digit. `x` is `m` times a power of two with `m` around 1,
/// and the logarithm of that a series in f64 (twice the inverse hyperbolic tangent of `(m - 1) / (m + 1)`), so the f32 is the nearest one.
fn ln(x: f32) -> f32 {
    if x.is_nan() || x < 0.0 {
        return f32::NAN;
    }
    if x == 0.0 || x == f32::INFINITY {
        return if x == 0.0 { f32::NEG_INFINITY } else { x };
    }
    const FRACTION: u64 = (1 << 52) - 1;
    let bits = f64::from(x).to_bits();
    let mut power = (bits >> 52) as i32 - 1023;
    let mut m = f64::from_bits((bits & FRACTION) | (1023 << 52));
    if m > std::f64::consts::SQRT_2 {
        (m, power) = (m / 2.0, power + 1);
    }
    let s = (m - 1.0) / (m + 1.0);
    let square = s * s;
    let series = (0..10).rev().fold(0.0, |sum, k| sum * square + 1.0 / f64::from(2 * k + 1));
    (2.0 * s * series + f64::from(power) * std::f64::consts::LN_2) as f32
}

#[cfg(test)]
mod tests {
    use super::super::graph::Quant;
    use super::*;

    #[test]
    fn a_logarithm_is_the_nearest_number() {
        let mut rng = crate::rng::Rng(3);
        let drawn = (0..200_000).map(|_| f32::from_bits((rng.bits() >> 33) as u32)).filter(|x| x.is_finite() && *x > 0.0);
        for x in drawn.chain([1.0, f32::MIN_POSITIVE, 1e-45, f32::MAX, 0.99999994, 1.0000001]) {
            let exact = f64::from(x).ln();
            assert!(
                (f64::from(ln(x)) - exact).abs() <= exact.abs() * 0.5001 * f64::from(f32::EPSILON),
                "{x:e}: {} {exact}",
                ln(x)
            );
        }
        assert_eq!([ln(0.0), ln(f32::INFINITY)], [f32::NEG_INFINITY, f32::INFINITY]);
        assert!(ln(-1.0).is_nan() && ln(f32::NAN).is_nan());
    }

    #[test]
    fn means_and_maxima_are_those_of_the_picture_however_it_lies() {
        let mut rng = crate::rng::Rng(4);
        for (picture, pixel, more) in [([3, 5, 7], 3, 0), ([20, 600, 9], 20, 40), ([4, 6, 5], 11, 3), ([1, 1, 1], 1, 0)] {
            let [c, h, w] = picture;
            let place = Place {
                origin: 13,
                row: w * pixel + more,
                pixel,
                plane: 1,
                planar: false,
                picture,
                quant: Quant { scale: 0.25, zero: 100, signed: false },
            };
            let arena: Vec<u8> =
                (0..13 + h * place.row + 64).map(|_| if rng.unit() < 0.7 { 255 } else { rng.below(256) as u8 }).collect();
            let at = |k: usize, p: usize| place.origin + k + p / w * place.row + p % w * place.pixel;
            let values = |k: usize| (0..h * w).map(|p| f64::from(arena[at(k, p)]) - 100.0).collect::<Vec<_>>();
            for isa in Isa::available() {
                let row = Row { parts: vec![], ops: vec![], shape: vec![1, c], nodes: vec![] };
                for take in [Take::Mean, Take::Most, Take::All] {
                    let planned = Planned::new(&row, vec![(take, place)]).on(*isa);
                    let wanted: Vec<f32> = match take {
                        Take::Mean => (0..c).map(|k| (values(k).iter().sum::<f64>() / (h * w) as f64 * 0.25) as f32).collect(),
                        Take::Most => {
                            (0..c).map(|k| (values(k).iter().fold(-1e9, |m: f64, v| m.max(*v)) * 0.25) as f32).collect()
                        }
                        Take::All => (0..c).flat_map(values).map(|v| (v * 0.25) as f32).collect(),
                    };
                    let mut to = vec![0.0; wanted.len()];
                    planned.run(&arena, &mut planned.scratch(), &mut to);
                    let near = to.iter().zip(&wanted).all(|(a, b)| (a - b).abs() <= 1e-6 * b.abs().max(1.0));
                    assert!(near, "{take:?} of {picture:?} on {isa}");
                }
            }
        }
    }
}
