//! The quantised CNN as one operator: what an int8 network in ONNX says, run on bytes.
//!
//! tract computes QDQ convolutions in float between scalar casts, and `QLinearConv` through a detour of its own; both are slower
//! than its float path. So the quantised parts of a network are cut out before tract sees it:
//!
//! ```text
//! ONNX ─ graph ─ Network ─ regions ─ Plan ─ op ─ one operator inside tract's model
//!        (QDQ, QLinear     (what is taken,  (kernels prepared once,
//!         and kin in one    borders, arena,  an arena a state)
//!         form)             fusion)
//! ```
//! This is done on the ONNX graph rather than on tract's typed model: there every operator is the standard's own, with its
//! integer weights and attributes, while tract takes them apart (Clip, HardSwish, Gemm, per-channel scales) in ways that
//! change from version to version. A network may end in float behind its bytes, in a row of means, dense layers and logarithms: then that
//! belongs to the operator too (`row`). What else is not understood stays in the graph and is run by tract in float, which is the
//! reference: a `QLinear...` form that tract lacks is written out as `DequantizeLinear`, float operator, `QuantizeLinear`.
//! [`Report`] says which node went where, and why. The arithmetic is defined in [`kernels`].

pub mod kernels;

mod arena;
mod fallback;
mod graph;
mod halves;
mod lower;
mod op;
mod pair;
mod plan;
mod regions;
mod row;

pub(crate) use fallback::{in_float, is_fused};
pub use graph::Quant;
pub(crate) use graph::{File, label, order};
pub use op::Region;
pub(crate) use op::{fill, register};

use kernels::Isa;
use std::collections::BTreeMap;
use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::tract_itertools::Itertools;
use tract_onnx::prelude::*;

/// What became of the nodes of a graph.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// Operators run on bytes: kind and how many.
    pub taken: Vec<(String, usize)>,
    /// Operators on a row of floats behind them, by our own loops: the same.
    pub behind: Vec<(String, usize)>,
    /// Operators left to tract, and why.
    pub left: Vec<String>,
    /// Multiplications of one run on bytes.
    pub macs: u64,
    /// The instruction set; `None` where nothing was taken.
    pub isa: Option<Isa>,
}

impl Report {
    /// What was taken as short texts, `52 Conv`.
    pub fn taken_texts(&self) -> Vec<String> {
        texts(&self.taken)
    }

    /// The same of what stands behind.
    pub fn behind_texts(&self) -> Vec<String> {
        texts(&self.behind)
    }
}

fn texts(counts: &[(String, usize)]) -> Vec<String> {
    counts.iter().map(|(kind, n)| format!("{n} {kind}")).collect()
}

/// A graph with its quantised parts cut out.
#[derive(Debug)]
pub struct Cut {
    /// The graph for tract.
    pub proto: ModelProto,
    /// The operators that go into it.
    pub regions: Vec<Arc<Region>>,
    /// What went where.
    pub report: Report,
    /// Where the graph's f32 input has become u8: the scale and zero point of its bytes.
    pub input: Option<Quant>,
}

/// What the operator runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Engine {
    /// The instruction set.
    pub isa: Isa,
    /// Threads, 1 or 2 ([`MAX_THREADS`]): the large layers of an encoder are done in halves.
    pub threads: usize,
}

/// Most threads of one encoder: a camera box has other things to do, and small networks have no work for more.
pub const MAX_THREADS: usize = 2;

impl Engine {
    /// One thread on the fastest instruction set here.
    pub fn best() -> Self {
        Self { isa: Isa::best(), threads: 1 }
    }
}

/// How to cut.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// What will run it.
    pub engine: Engine,
    /// May the graph's f32 input become bytes, quantised by whoever makes them?
    pub bytes_in: bool,
}

/// Cuts the quantised parts out of a graph whose first input has the given shape.
///
/// # Errors
/// A graph that is none: a circle, a tensor made twice or by nobody.
pub fn cut(proto: &ModelProto, input: &[usize], options: Options) -> Result<Cut, String> {
    let graph = proto.graph.as_ref().ok_or("an ONNX file without a graph")?;
    let file = File::new(graph)?;
    let shapes = std::cell::OnceCell::new();
    let plain = || {
        let mut proto = proto.clone();
        in_float(&mut proto);
        crate::onnx::shapes(&proto, input)
    };
    let first = graph.input.iter().find(|i| file.constant(&i.name).is_none()).map(|i| i.name.clone()).unwrap_or_default();
    let shape_of = |name: &str| -> Option<Vec<usize>> {
        if name == first {
            return Some(input.to_vec());
        }
        let all: &BTreeMap<String, Vec<usize>> = shapes.get_or_init(plain);
        all.get(name).cloned()
    };
    let net = graph::read(&file, &shape_of);
    let mut found = regions::cut(proto, &file, &net, options.bytes_in);
    let macs = found.plans.iter().map(|p| p.macs).sum();
    let regions: Vec<_> = found.plans.drain(..).map(|p| Arc::new(Region::new(p, options.engine))).collect();
    let silent = ["QuantizeLinear", "DequantizeLinear", "Constant", "Identity"];
    let kinds =
        |nodes: &[usize]| nodes.iter().map(|n| file.node(*n).op_type.clone()).filter(|k| !silent.contains(&k.as_str())).counts();
    let [taken, behind] = [&found.taken, &found.behind].map(|nodes| kinds(nodes).into_iter().sorted().collect());
    let why = |n: &usize| {
        let reason = found.why.get(n).or_else(|| net.why.get(n)).map_or("", String::as_str);
        let label = file.label(*n);
        if reason.is_empty() || reason.starts_with(&label) {
            format!("{label}{}", reason.trim_start_matches(&label))
        } else {
            format!("{label}: {reason}")
        }
    };
    let left = found.left.iter().filter(|n| !silent.contains(&file.node(**n).op_type.as_str()) || net.why.contains_key(n));
    let left = left.map(why).collect();
    in_float(&mut found.proto);
    let isa = (!regions.is_empty()).then_some(options.engine.isa);
    let report = Report { taken, behind, left, macs, isa };
    Ok(Cut { proto: found.proto, regions, report, input: found.input })
}

/// Multiplications a second in one layer of middling size (14 x 14 pixels, 96 to 96 channels, 1 x 1) on `isa`, by the clock given.
pub fn measure(isa: Isa, clock: impl Fn() -> std::time::Duration) -> f64 {
    let (pixels, channels) = (14 * 14, 96);
    let bytes = pixels * channels;
    let window = kernels::Window {
        height: 1,
        width: pixels,
        input: 0,
        row_in: bytes,
        pixel_in: channels,
        output: bytes,
        row_out: bytes,
        pixel_out: channels,
    };
    let conv = kernels::Conv {
        window,
        taps: vec![0],
        depth: channels,
        outputs: channels,
        weights: (0..channels * channels).map(|n| (n % 255) as u8 as i8).collect(),
        lift: vec![],
        bias: vec![0; channels],
        requant: kernels::Requant { scale: vec![1e-3; channels], zero: 128, low: 0, high: 255 },
        residual: None,
    };
    op::rate(kernels::Layer::Conv(conv), isa, (pixels * channels * channels) as f64, clock)
}
