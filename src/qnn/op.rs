//! The operator inside tract: one region of a network, run on an arena that its state owns.
//!
//! The rewritten graph names a region by its number; tract's reader makes a [`Slot`] of that, and [`fill`] puts the real
//! operator in its place once the model is typed. A run copies the tensors in (quantising them where they are real numbers),
//! runs the steps, copies the results out and computes the rows that stand behind them. Nothing is allocated then: outputs are lent to tract, and used again when it
//! has let go of them; where it has not, a new tensor is made.

use super::Engine;
use super::arena::{Arena, Fill};
use super::graph::Quant;
use super::kernels::{Isa, Prepared};
use super::lower::Place;
use super::pair::Pair;
use super::plan::{Edge, Form, Plan, Step};
use super::regions::OPERATOR;
use super::row::{Planned, Scratch};
use std::time::{Duration, Instant};
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::ops::expandable::{Expansion, expand};

impl Edge {
    /// Element type of the tensor outside, as ONNX counts types.
    pub fn element(&self) -> DataType {
        match (self.form, self.quant.signed) {
            (Form::Float, _) => DataType::Float,
            (Form::Bytes, true) => DataType::Int8,
            _ => DataType::Uint8,
        }
    }

    fn datum(&self) -> DatumType {
        datum(self.element())
    }
}

/// tract's type for an element outside.
fn datum(element: DataType) -> DatumType {
    match element {
        DataType::Float => f32::datum_type(),
        DataType::Int8 => i8::datum_type(),
        _ => u8::datum_type(),
    }
}

/// Knows our node to tract's ONNX reader.
pub fn register(framework: &mut tract_onnx::Onnx) {
    framework.op_register.insert(OPERATOR, |_: &ParsingContext<'_>, node: &NodeProto| {
        let mut slot = Slot { region: 0, outputs: tvec![] };
        for attribute in &node.attribute {
            if attribute.name == "region" {
                slot.region = usize::try_from(attribute.i)?;
            } else {
                let element = DataType::try_from(attribute.i as i32).unwrap_or(DataType::Uint8);
                let shape: Result<TVec<usize>, _> = attribute.ints.iter().map(|d| usize::try_from(*d)).collect();
                slot.outputs.push((datum(element), shape?));
            }
        }
        Ok((expand(slot), vec![]))
    });
}

/// Puts the operators in the place of their slots.
///
/// # Errors
/// A slot whose region is not there: a file that used our operator's name.
pub fn fill(model: &mut TypedModel, regions: &[Arc<Region>]) -> TractResult<()> {
    for n in 0..model.nodes().len() {
        let Some(slot) = model.node(n).op_as::<Slot>() else { continue };
        let region = regions.get(slot.region).with_context(|| format!("{OPERATOR} {} is not there", slot.region))?;
        ensure!(region.given == slot.outputs && model.node(n).inputs.len() == region.inputs.len(), "{OPERATOR} of another shape");
        model.node_mut(n).op = Box::new(Quantised(region.clone()));
    }
    Ok(())
}

/// A place held for a region.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Slot {
    region: usize,
    outputs: Outputs,
}

/// Element type and shape of everything that goes out, in order.
type Outputs = TVec<(DatumType, TVec<usize>)>;

impl Expansion for Slot {
    fn name(&self) -> StaticName {
        OPERATOR.into()
    }

    fn nboutputs(&self) -> TractResult<usize> {
        Ok(self.outputs.len())
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        _inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        for (proxy, (kind, shape)) in outputs.iter().zip(&self.outputs) {
            s.equals(&proxy.datum_type, *kind)?;
            s.equals(&proxy.shape, shape.iter().map(|d| d.to_dim()).collect::<TVec<TDim>>())?;
        }
        Ok(())
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        model.wire_node(prefix, self.clone(), inputs)
    }

    fn runs_out_of_plan(&self) -> bool {
        false
    }
}

impl Op for Slot {
    fn name(&self) -> StaticName {
        OPERATOR.into()
    }

    op_as_typed_op!();
}

impl EvalOp for Slot {
    not_out_of_plan!();
}

impl TypedOp for Slot {
    fn output_facts(&self, _inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(self.outputs.iter().map(|(kind, shape)| kind.fact(shape)).collect())
    }

    as_op!();
}

/// A region ready to run.
#[derive(Debug)]
pub struct Region {
    len: usize,
    fills: Vec<Fill>,
    constants: Vec<(usize, Vec<u8>)>,
    inputs: Vec<Edge>,
    outputs: Vec<Edge>,
    rows: Vec<Planned>,
    given: Outputs,
    steps: Vec<Run>,
    /// What each step is, in words, and its multiplications.
    words: Vec<(String, u64)>,
}

#[derive(Debug)]
enum Run {
    Fill(Fill),
    Layer(Prepared),
    /// A large layer, for two threads.
    Halves([Prepared; 2]),
}

impl Region {
    /// Packs a plan's layers for an instruction set, the large ones in halves where there are two threads.
    pub fn new(plan: Plan, engine: Engine) -> Self {
        let given: Outputs = plan.given().map(|(element, shape)| (datum(element), shape.iter().copied().collect())).collect();
        let Plan { len, fills, constants, inputs, steps, outputs, rows, .. } = plan;
        let rows = rows.into_iter().map(|row| row.on(engine.isa)).collect();
        let words = steps
            .iter()
            .map(|step| match step {
                Step::Fill(_) => ("border".into(), 0),
                Step::Layer(layer) => (layer.words(), layer.macs()),
            })
            .collect();
        let steps = steps
            .into_iter()
            .map(|step| match step {
                Step::Fill(fill) => Run::Fill(fill),
                Step::Layer(layer) if engine.threads > 1 && layer.is_large() => match layer.halves() {
                    Ok(halves) => Run::Halves(halves.map(|half| half.prepare(engine.isa))),
                    Err(layer) => Run::Layer(layer.prepare(engine.isa)),
                },
                Step::Layer(layer) => Run::Layer(layer.prepare(engine.isa)),
            })
            .collect();
        Self { len, fills, constants, inputs, outputs, rows, given, steps, words }
    }

    /// Tensors for everything that goes out.
    fn tensors(&self) -> TractResult<Vec<Arc<Tensor>>> {
        self.given.iter().map(|(kind, shape)| Ok(Arc::new(Tensor::zero_dt(*kind, shape)?))).collect()
    }

    fn arena(&self) -> Arena {
        let mut arena = Arena::new(self.len);
        let bytes = arena.bytes();
        self.fills.iter().for_each(|f| f.run(bytes));
        for (at, constant) in &self.constants {
            bytes[*at..at + constant.len()].copy_from_slice(constant);
        }
        arena
    }

    /// A second thread, where there is work for one and the system gives one.
    fn pair(&self) -> Option<Pair> {
        let wanted = self.steps.iter().any(|step| matches!(step, Run::Halves(_)));
        wanted.then(Pair::new)?.map_err(|e| log::warn!("no second thread for the encoder: {e}; one does it all")).ok()
    }

    fn run(&self, arena: &mut Arena, pair: Option<&Pair>) {
        let bytes = arena.bytes();
        self.steps.iter().for_each(|step| step.run(bytes, pair));
    }

    /// Time of each layer in a whole run, the median of so many: what it is, its multiplications, and the time.
    pub fn profile(&self, rounds: usize) -> Vec<(String, u64, Duration)> {
        let (mut arena, pair) = (self.arena(), self.pair());
        let bytes = arena.bytes();
        let mut times = vec![Vec::with_capacity(rounds); self.steps.len()];
        for _ in 0..rounds {
            let mut since = Instant::now();
            for (step, times) in self.steps.iter().zip(&mut times) {
                step.run(bytes, pair.as_ref());
                let now = Instant::now();
                times.push(now - since);
                since = now;
            }
        }
        let median = |mut times: Vec<Duration>| {
            times.sort_unstable();
            times.get(times.len() / 2).copied().unwrap_or_default()
        };
        self.words.iter().zip(times).map(|((words, macs), times)| (words.clone(), *macs, median(times))).collect()
    }
}

impl Run {
    #[allow(unsafe_code, reason = "kernels work on the arena by offset")]
    fn run(&self, bytes: &mut [u8], pair: Option<&Pair>) {
        match self {
            Self::Fill(fill) => fill.run(bytes),
            // SAFETY: the plan was made only when every layer's extent is within `len` bytes, the arena has those and
            // the slack, all initialised, and it is borrowed for ourselves alone.
            Self::Layer(layer) => unsafe { layer.run(bytes.as_mut_ptr()) },
            Self::Halves(halves) => match pair {
                // SAFETY: as above; halves of a layer write different bytes, and none that the other one's results depend on. Reads
                // behind a tensor are not covered by that: `pair.rs` says what is left open there.
                Some(pair) => unsafe { pair.run(halves, bytes.as_mut_ptr()) },
                // SAFETY: as above.
                None => halves.iter().for_each(|half| unsafe { half.run(bytes.as_mut_ptr()) }),
            },
        }
    }
}

/// The operator.
#[derive(Clone, Debug)]
struct Quantised(Arc<Region>);

impl PartialEq for Quantised {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Quantised {}

impl Op for Quantised {
    fn name(&self) -> StaticName {
        OPERATOR.into()
    }

    fn info(&self) -> TractResult<Vec<String>> {
        Ok(vec![format!("{} steps in {} bytes", self.0.steps.len(), self.0.len)])
    }

    op_as_typed_op!();
}

impl EvalOp for Quantised {
    not_out_of_plan!();

    fn state(&self, _ctx: &EvalContext) -> TractResult<Option<Box<dyn OpState>>> {
        Ok(Some(Box::new(State::new(self.0.clone())?)))
    }
}

impl TypedOp for Quantised {
    fn output_facts(&self, _inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(self.0.given.iter().map(|(kind, shape)| kind.fact(shape)).collect())
    }

    as_op!();
}

#[derive(Debug)]
struct State {
    region: Arc<Region>,
    arena: Arena,
    /// The second thread, where there are halves for it.
    pair: Option<Pair>,
    /// What each row is computed in.
    scratch: Vec<Scratch>,
    /// Lent to tract at each run.
    outputs: Vec<Arc<Tensor>>,
}

impl State {
    fn new(region: Arc<Region>) -> TractResult<Self> {
        let scratch = region.rows.iter().map(Planned::scratch).collect();
        Ok(Self { arena: region.arena(), pair: region.pair(), scratch, outputs: region.tensors()?, region })
    }
}

impl Clone for State {
    /// Between runs the arena holds nothing that matters.
    fn clone(&self) -> Self {
        let outputs = self.outputs.iter().map(|t| Arc::new(t.as_ref().clone())).collect();
        Self {
            region: self.region.clone(),
            arena: self.region.arena(),
            pair: self.region.pair(),
            scratch: self.scratch.clone(),
            outputs,
        }
    }
}

impl OpState for State {
    fn eval(&mut self, _ctx: &EvalContext, _op: &dyn Op, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let region = self.region.clone();
        ensure!(inputs.len() == region.inputs.len(), "{} tensors come in, {} expected", inputs.len(), region.inputs.len());
        for (tensor, edge) in inputs.iter().zip(&region.inputs) {
            ensure!(tensor.shape() == &*edge.shape, "a tensor of {:?} where {:?} was planned", tensor.shape(), edge.shape);
            let plain = tensor.try_as_plain_ram()?;
            let arena = self.arena.bytes();
            match edge.datum() {
                DatumType::F32 => take(plain.as_slice::<f32>()?, edge, arena, |x, quant| near(*x, quant)),
                DatumType::I8 => take(plain.as_slice::<i8>()?, edge, arena, |x, _| x.cast_unsigned() ^ 0x80),
                _ => take(plain.as_slice::<u8>()?, edge, arena, |x, _| *x),
            }
        }
        region.run(&mut self.arena, self.pair.as_ref());
        let arena = self.arena.bytes();
        for (tensor, (kind, shape)) in self.outputs.iter_mut().zip(&region.given) {
            if Arc::get_mut(tensor).is_none() {
                *tensor = Arc::new(Tensor::zero_dt(*kind, shape)?);
            }
        }
        let (edges, rows) = self.outputs.split_at_mut(region.outputs.len());
        for (tensor, edge) in edges.iter_mut().zip(&region.outputs) {
            let mut plain = ours(tensor)?;
            let quant = edge.quant;
            match edge.datum() {
                DatumType::F32 => give(plain.as_slice_mut::<f32>()?, edge, arena, |b| quant.value(b)),
                DatumType::I8 => give(plain.as_slice_mut::<i8>()?, edge, arena, |b| (b ^ 0x80).cast_signed()),
                _ => give(plain.as_slice_mut::<u8>()?, edge, arena, |b| b),
            }
        }
        for ((tensor, row), scratch) in rows.iter_mut().zip(&region.rows).zip(&mut self.scratch) {
            row.run(arena, scratch, ours(tensor)?.as_slice_mut::<f32>()?);
        }
        Ok(self.outputs.iter().map(|t| TValue::from_const(t.clone())).collect())
    }

    fn reset_lanes(&mut self, _lanes: &[LaneId]) -> TractResult<()> {
        Ok(())
    }
}

/// What is in a tensor that nobody else holds.
fn ours(tensor: &mut Arc<Tensor>) -> TractResult<PlainViewMut<'_>> {
    Arc::get_mut(tensor).context("a new tensor is ours")?.try_as_plain_ram_mut()
}

/// As [`Quant::byte`], in a form that vectorises everywhere: a float of this size has no room for fractions.
fn near(x: f32, quant: Quant) -> u8 {
    const WHOLE: f32 = 12_582_912.0;
    let zero = f32::from(quant.zero);
    let steps = (x / quant.scale).max(-zero).min(255.0 - zero);
    ((steps + WHOLE).to_bits() as u8).wrapping_add(quant.zero)
}

/// A tensor in ONNX's order into the arena.
fn take<T>(from: &[T], edge: &Edge, arena: &mut [u8], byte: impl Fn(&T, Quant) -> u8) {
    let Place { origin, row, pixel, plane, picture: [c, h, w], .. } = edge.place;
    for (k, picture) in from.chunks_exact(h * w).enumerate().take(c) {
        for (y, line) in picture.chunks_exact(w).enumerate() {
            let at = origin + k * plane + y * row;
            if pixel == 1 {
                arena[at..at + w].iter_mut().zip(line).for_each(|(to, x)| *to = byte(x, edge.quant));
            } else {
                arena[at..].iter_mut().step_by(pixel).zip(line).for_each(|(to, x)| *to = byte(x, edge.quant));
            }
        }
    }
}

/// From the arena into a tensor in ONNX's order.
fn give<T>(to: &mut [T], edge: &Edge, arena: &[u8], value: impl Fn(u8) -> T) {
    let Place { origin, row, pixel, plane, picture: [c, h, w], .. } = edge.place;
    if [h, w] == [1, 1] && plane == 1 {
        to.iter_mut().zip(&arena[origin..origin + c]).for_each(|(to, b)| *to = value(*b));
        return;
    }
    for (k, picture) in to.chunks_exact_mut(h * w).enumerate().take(c) {
        for (y, line) in picture.chunks_exact_mut(w).enumerate() {
            let at = origin + k * plane + y * row;
            line.iter_mut().zip(arena[at..].iter().step_by(pixel)).for_each(|(to, b)| *to = value(*b));
        }
    }
}

/// Runs of one layer a second, times `each`.
#[allow(unsafe_code, reason = "kernels work on the arena by offset")]
pub fn rate(layer: super::kernels::Layer, isa: Isa, each: f64, clock: impl Fn() -> std::time::Duration) -> f64 {
    let Some(extent) = layer.extent() else { return 0.0 };
    let mut arena = Arena::new(extent);
    let layer = layer.prepare(isa);
    let bytes = arena.bytes();
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        let start = clock();
        let mut runs = 0;
        while runs < 4 || (clock().saturating_sub(start).as_micros() < 2_000 && runs < 1 << 16) {
            // SAFETY: the arena has the layer's extent and the slack, all initialised, and is ours alone.
            unsafe { layer.run(bytes.as_mut_ptr()) };
            runs += 1;
        }
        best = best.min(clock().saturating_sub(start).as_secs_f64().max(1e-9) / f64::from(runs));
    }
    each / best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_float_becomes_the_byte_that_the_standard_says() {
        for (scale, zero) in [(0.1, 0), (0.013, 128), (7.5, 255), (1e-6, 3), (0.5, 77)] {
            let quant = Quant { scale, zero, signed: false };
            for n in -3_000..3_000 {
                // Halves of a step are ties.
                let x = n as f32 * scale * 0.25;
                assert_eq!(near(x, quant), quant.byte(x), "{x} at {scale}, {zero}");
            }
            for x in [f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN, 1e-40, -0.0] {
                assert_eq!(near(x, quant), quant.byte(x), "{x} at {scale}, {zero}");
            }
        }
    }
}
