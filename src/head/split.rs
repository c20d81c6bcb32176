//! The head cut in two: what depends on one tick alone, and the rest.
//!
//! tract's declutter pulls the input product of an LSTM, GRU or RNN out of its `Scan` when the sequence length is a
//! symbol. We follow the graph from its input through nodes that map each tick to itself (products with constants,
//! axis moves, additions of constants); where that region ends is the cut. Everything before becomes a graph of one
//! tick, everything behind a graph of one window whose inputs are the cut's outlets.

use super::{HeadError, copy_out, lend};
use crate::bundle::HEAD;
use crate::onnx::{self, Plan};
use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::*;
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::einsum::EinSum;
use tract_onnx::tract_hir::internal::*;

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Split {
    project: Plan,
    tick: Arc<Tensor>,
    rest: Plan,
    /// One a cut outlet: its tensor for a whole window, and its numbers a tick.
    inputs: Vec<(Arc<Tensor>, usize)>,
    window: usize,
}

impl Split {
    /// `None` where the graph has no such cut.
    pub(super) fn load(proto: &ModelProto, window: usize, features: usize) -> TractResult<Option<Self>> {
        // A graph that has its window baked in cannot be read with an open length; it runs whole.
        let Ok((model, s)) = onnx::typed_over_time(proto, features) else { return Ok(None) };
        let Ok(model) = model.into_decluttered() else { return Ok(None) };
        let Some(cut) = cut(&model, &s)? else { return Ok(None) };

        let bind = |model: &TypedModel, n: usize| model.set_symbols(&HashMap::from([(s.clone(), n.to_dim())]));
        let mut front = model.clone();
        front.select_output_outlets(&cut)?;
        let front = bind(&front.into_compact()?, 1)?.into_decluttered()?;

        let mut back = model.clone();
        let mut patch = TypedModelPatch::default();
        let mut sources = vec![];
        for (n, outlet) in cut.iter().enumerate() {
            let fact = model.outlet_fact(*outlet)?.without_value();
            let source = back.add_source(format!("cached.{n}"), fact)?;
            let tap = patch.tap_model(&back, source)?;
            patch.shunt_outside(&back, *outlet, tap)?;
            sources.push(source);
        }
        patch.apply(&mut back)?;
        back.set_input_outlets(&sources)?;
        let back = bind(&back.into_compact()?, window)?.into_decluttered()?;

        let mut inputs = vec![];
        for (n, outlet) in cut.iter().enumerate() {
            let fact = back.input_fact(n)?;
            let Some(shape) = fact.shape.as_concrete() else { return Ok(None) };
            // Rows are stacked along time, so nothing larger than 1 may stand before it.
            let axis = time_axis(&model.outlet_fact(*outlet)?.shape, &s);
            if axis.is_none_or(|a| shape[..a].iter().any(|d| *d != 1)) || fact.datum_type != f32::datum_type() {
                return Ok(None);
            }
            let len: usize = shape.iter().product();
            inputs.push((Arc::new(Tensor::zero_dt(f32::datum_type(), shape)?), len / window));
        }
        let tick = Arc::new(Tensor::zero_dt(f32::datum_type(), &[1, 1, features])?);
        let (project, rest) = (front.into_optimized()?.into_runnable()?, back.into_optimized()?.into_runnable()?);
        Ok(Some(Self { project, tick, rest, inputs, window }))
    }

    /// Numbers a tick.
    pub(super) fn row(&self) -> usize {
        self.inputs.iter().map(|(_, width)| width).sum()
    }

    pub(super) fn project(&mut self, features: &[f32], row: &mut [f32]) -> Result<(), HeadError> {
        if features.len() != self.tick.len() {
            return Err(HeadError(format!("{} features given, {} expected", features.len(), self.tick.len())));
        }
        lend(&mut self.tick, |t| t.copy_from_slice(features))?;
        let out = onnx::run(HEAD, || self.project.run(tvec![TValue::from_const(self.tick.clone())]))?;
        let mut at = 0;
        for (value, (_, width)) in out.iter().zip(&self.inputs) {
            copy_out(value, &mut row[at..at + width])?;
            at += width;
        }
        Ok(())
    }

    /// For golden vectors and the proof at load: every tick of a window in turn. Allocates.
    pub(super) fn project_window(&mut self, features: &[f32]) -> Result<Vec<f32>, HeadError> {
        let (row, width) = (self.row(), features.len() / self.window);
        let mut rows = vec![0.0; self.window * row];
        for (tick, row) in features.chunks_exact(width.max(1)).zip(rows.chunks_exact_mut(row)) {
            self.project(tick, row)?;
        }
        Ok(rows)
    }

    pub(super) fn run(&mut self, rows: &[f32], logits: &mut [f32]) -> Result<(), HeadError> {
        let row = self.row();
        if rows.len() != row * self.window {
            return Err(HeadError(format!("{} numbers in the window, {} expected", rows.len(), row * self.window)));
        }
        let (mut at, mut values) = (0, tvec!());
        for (tensor, width) in &mut self.inputs {
            lend(tensor, |t| {
                for (to, from) in t.chunks_exact_mut(*width).zip(rows.chunks_exact(row)) {
                    to.copy_from_slice(&from[at..at + *width]);
                }
            })?;
            at += *width;
            values.push(TValue::from_const(tensor.clone()));
        }
        // `run` on the plan spawns a fresh state: window mode must not see the last window's.
        copy_out(&self.rest.run(values)?[0], logits)
    }
}

/// The one axis of a shape that is the symbol itself.
fn time_axis(shape: &ShapeFact, s: &Symbol) -> Option<usize> {
    let dim: TDim = s.clone().into();
    let mut axes = shape.iter().enumerate().filter(|(_, d)| **d == dim).map(|(n, _)| n);
    axes.next().filter(|_| axes.next().is_none())
}

/// The outlets where the part that maps each tick to itself ends, or `None` if that part does no work.
fn cut(model: &TypedModel, s: &Symbol) -> TractResult<Option<Vec<OutletId>>> {
    let source = model.input_outlets()?[0];
    let mut inside = vec![source];
    let mut works = false;
    for id in model.eval_order()? {
        let node = model.node(id);
        let moving: Vec<_> = node.inputs.iter().filter(|i| model.outlet_fact(**i).is_ok_and(|f| f.konst.is_none())).collect();
        let per_tick = node.op_is::<EinSum>() || node.op_is::<AxisOp>() || node.op_is::<TypedBinOp>();
        let from_inside = moving.len() == 1 && inside.contains(moving[0]);
        if per_tick && from_inside && node.outputs.len() == 1 && time_axis(&node.outputs[0].fact.shape, s).is_some() {
            // The time axis must be carried through, not summed or broadcast into being.
            works |= node.op_is::<EinSum>();
            inside.push(id.into());
        }
    }
    let mut ends = vec![];
    for outlet in &inside {
        let leaves = model.outlet_successors(*outlet).iter().any(|to| !inside.contains(&to.node.into()));
        if leaves || model.output_outlets()?.contains(outlet) {
            ends.push(*outlet);
        }
    }
    Ok((works && !ends.is_empty() && !ends.contains(&source)).then_some(ends))
}
