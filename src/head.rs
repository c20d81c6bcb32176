//! The recurrent head: a window of rows to logits, by tract from ONNX LSTM, GRU or RNN.
//!
//! `window` mode runs every window from zero state, so its answer depends on nothing but the window. tract keeps a
//! `Scan`'s state between runs of one `SimpleState`; a window must therefore never reuse one, and each run spawns its own.
//! Where the graph allows it, the part that looks at one tick alone (the input projections `W·x + b`) is cut out, run
//! once a tick and cached in the ring, so that a window costs only the recurrent half (`head/split.rs`). The cut is
//! proven at load against the plain graph; if it cannot be made, rows are plain features and nothing else changes.
//!
//! `carried` mode keeps the state between ticks as explicit tensors (`head/carried.rs`) and steps once a tick.

mod carried;
mod split;

use crate::bundle::{Bundle, BundleError, HEAD, Mode};
use crate::onnx::{self, Plan};
use crate::ring::Ring;
use carried::Carried;
use split::Split;
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::internal::*;

/// Largest accepted difference between the cached and the plain graph, in logits.
pub const CACHE_TOLERANCE: f32 = 1e-5;

/// The network failed on this window.
#[derive(Debug, thiserror::Error)]
#[error("head: {0}")]
pub struct HeadError(String);

impl From<TractError> for HeadError {
    fn from(e: TractError) -> Self {
        Self(onnx::sentence(&e))
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Head {
    kind: Kind,
    row: usize,
    logits: Box<[f32]>,
}

#[derive(Debug)]
enum Kind {
    /// The plain graph over `[1, window, features]`.
    Plain(Plain),
    /// Projections cached in the ring.
    Cached(Split),
    /// State carried from tick to tick.
    Carried(Carried),
}

#[derive(Debug)]
struct Plain {
    plan: Plan,
    input: Arc<Tensor>,
}

impl Plain {
    fn load(proto: &tract_onnx::pb::ModelProto, window: usize, features: usize) -> TractResult<(Self, usize)> {
        let shape = [1, window, features];
        let model = onnx::typed(proto, &[(0, f32::fact(shape).into())], 1)?.into_optimized()?;
        let classes = model.output_fact(0)?.shape.as_concrete().map_or(0, |d| d.iter().product());
        Ok((Self { plan: model.into_runnable()?, input: Arc::new(Tensor::zero_dt(f32::datum_type(), &shape)?) }, classes))
    }

    fn run(&mut self, rows: &[f32], logits: &mut [f32]) -> Result<(), HeadError> {
        lend(&mut self.input, |t| t.copy_from_slice(rows))?;
        let out = self.plan.run(tvec![TValue::from_const(self.input.clone())])?;
        copy_out(&out[0], logits)
    }
}

/// Writes into a tensor that is lent to tract and ours again after each run.
fn lend(tensor: &mut Arc<Tensor>, fill: impl FnOnce(&mut [f32])) -> Result<(), HeadError> {
    if Arc::get_mut(tensor).is_none() {
        *tensor = Arc::new(tensor.as_ref().clone());
    }
    let mine = Arc::get_mut(tensor).ok_or_else(|| HeadError("the input is still in use".into()))?;
    fill(mine.try_as_plain_ram_mut()?.as_slice_mut::<f32>()?);
    Ok(())
}

fn copy_out(from: &TValue, to: &mut [f32]) -> Result<(), HeadError> {
    let plain = from.try_as_plain_ram()?;
    let values = plain.as_slice::<f32>()?;
    if values.len() != to.len() {
        return Err(HeadError(format!("{} numbers came out, {} expected", values.len(), to.len())));
    }
    to.copy_from_slice(values);
    Ok(())
}

impl Head {
    /// Loads the bundle's head, holds it against the contract and cuts out what can be cached.
    ///
    /// # Errors
    /// One sentence naming both numbers where graph and contract differ.
    pub fn load(bundle: &Bundle) -> Result<Self, BundleError> {
        onnx::guarded(bundle, HEAD, || Self::load_as(bundle, true))
    }

    /// As [`Head::load`], but never caches projections: the graph as it stands, to compare with.
    ///
    /// # Errors
    /// As [`Head::load`].
    pub fn load_plain(bundle: &Bundle) -> Result<Self, BundleError> {
        onnx::guarded(bundle, HEAD, || Self::load_as(bundle, false))
    }

    fn load_as(bundle: &Bundle, cache: bool) -> Result<Self, BundleError> {
        let refuse = |why: String| bundle.refuse(format!("{HEAD}: {why}"));
        let (window, features, labels) = (bundle.contract.time.window, bundle.features(), bundle.labels.len());
        let proto = onnx::parse(bundle.file(HEAD).unwrap_or_default()).map_err(refuse)?;
        contract(&proto, window, features, bundle.contract.time.mode).map_err(refuse)?;
        let failed = |e: TractError| refuse(format!("with input [1, {window}, {features}]: {}", onnx::sentence(&e)));
        let (mut plain, classes) = Plain::load(&proto, window, features).map_err(failed)?;
        if classes != labels {
            return Err(refuse(format!("the graph gives {classes} classes, the contract has {labels} labels")));
        }
        let logits = vec![0.0; classes].into();
        if bundle.contract.time.mode == Mode::Carried {
            let carried = Carried::load(&proto, features).map_err(failed)?;
            return Ok(Self { kind: Kind::Carried(carried), row: features, logits });
        }
        let split = if cache { Split::load(&proto, window, features).map_err(failed)? } else { None };
        if let Some(mut split) = split {
            let worst = prove(&mut plain, &mut split, window, features, classes).map_err(|e| refuse(e.to_string()))?;
            if worst <= CACHE_TOLERANCE {
                return Ok(Self { row: split.row(), kind: Kind::Cached(split), logits });
            }
            log::warn!("{HEAD}: cached projections differ from the plain graph by {worst:e}, so they are not used");
        }
        Ok(Self { kind: Kind::Plain(plain), row: features, logits })
    }

    /// Numbers in a ring row: projections where they are cached, features otherwise.
    pub fn row_len(&self) -> usize {
        self.row
    }

    /// Are input projections cached in the ring?
    pub fn is_cached(&self) -> bool {
        matches!(self.kind, Kind::Cached(_))
    }

    /// Once a tick: what the ring keeps of these features.
    ///
    /// # Errors
    /// When tract fails.
    pub fn project(&mut self, features: &[f32], row: &mut [f32]) -> Result<(), HeadError> {
        match &mut self.kind {
            Kind::Cached(split) => split.project(features, row),
            Kind::Plain(_) | Kind::Carried(_) if features.len() == row.len() => {
                row.copy_from_slice(features);
                Ok(())
            }
            _ => Err(HeadError(format!("{} features given, {} expected", features.len(), row.len()))),
        }
    }

    /// Once a tick, after the ring took it: the logits, or `None` while the ring warms up.
    ///
    /// # Errors
    /// When tract fails.
    pub fn run(&mut self, ring: &Ring) -> Result<Option<&mut [f32]>, HeadError> {
        match &mut self.kind {
            Kind::Carried(carried) => match ring.newest() {
                Some((row, true)) => carried.step(row, &mut self.logits)?,
                // A number that is not finite would stay in the state for ever.
                _ => carried.reset(),
            },
            _ => {
                let Some(window) = ring.window() else { return Ok(None) };
                self.run_rows(window.rows)?;
            }
        }
        Ok(ring.window().is_some().then_some(&mut self.logits))
    }

    /// The logits of one window of features, `window * features` numbers: for golden vectors. In `carried` mode the
    /// state starts at zero and the window is fed tick by tick.
    ///
    /// # Errors
    /// When tract fails or the length is wrong.
    pub fn run_window(&mut self, features: &[f32]) -> Result<&[f32], HeadError> {
        match &mut self.kind {
            Kind::Plain(plain) => plain.run(features, &mut self.logits)?,
            Kind::Cached(split) => {
                let rows = split.project_window(features)?;
                split.run(&rows, &mut self.logits)?;
            }
            Kind::Carried(carried) => {
                carried.reset();
                for row in features.chunks_exact(self.row) {
                    carried.step(row, &mut self.logits)?;
                }
                carried.reset();
            }
        }
        Ok(&self.logits)
    }

    /// Forgets carried state (after a gap). Nothing to do in `window` mode.
    pub fn reset(&mut self) {
        if let Kind::Carried(carried) = &mut self.kind {
            carried.reset();
        }
    }

    fn run_rows(&mut self, rows: &[f32]) -> Result<(), HeadError> {
        match &mut self.kind {
            Kind::Plain(plain) => plain.run(rows, &mut self.logits),
            Kind::Cached(split) => split.run(rows, &mut self.logits),
            Kind::Carried(_) => Ok(()),
        }
    }
}

/// Does the file's own input shape agree with the contract? Open dimensions agree with anything.
fn contract(proto: &tract_onnx::pb::ModelProto, window: usize, features: usize, mode: Mode) -> Result<(), String> {
    let model = tract_onnx::onnx().with_ignore_value_info(true).with_ignore_output_shapes(true);
    let model = model.model_for_proto_model(proto).map_err(|e| onnx::sentence(&e))?;
    let fact = model.input_fact(0).map_err(|e| onnx::sentence(&e))?;
    if fact.datum_type.concretize().is_some_and(|t| t != f32::datum_type()) {
        return Err(format!("the input is {:?}, expected f32", fact.datum_type));
    }
    let dims: Vec<Option<usize>> = fact.shape.dims().map(|d| d.concretize().and_then(|d| d.to_usize().ok())).collect();
    let shown: Vec<String> = dims.iter().map(|d| d.map_or("?".into(), |d| d.to_string())).collect();
    let shown = shown.join(", ");
    if !fact.shape.is_concrete() && dims.is_empty() {
        return Ok(());
    }
    if dims.len() != 3 {
        return Err(format!("the input is [{shown}], expected [1, window, features] = [1, {window}, {features}]"));
    }
    let window_ok = mode == Mode::Carried || dims[1].is_none_or(|t| t == window);
    if dims[0].is_some_and(|n| n != 1) || !window_ok || dims[2].is_some_and(|d| d != features) {
        return Err(format!("the graph's input is [{shown}], the contract says [1, {window}, {features}]"));
    }
    Ok(())
}

/// Largest difference in logits between the cached and the plain graph on a window of pseudo-random features.
fn prove(plain: &mut Plain, split: &mut Split, window: usize, features: usize, classes: usize) -> Result<f32, HeadError> {
    let mut x = 1u32;
    let mut next = || {
        // Any fixed sequence will do; this is the Numerical Recipes generator.
        x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (x >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    let values: Vec<f32> = (0..window * features).map(|_| next()).collect();
    let (mut a, mut b) = (vec![0.0; classes], vec![0.0; classes]);
    plain.run(&values, &mut a)?;
    let rows = split.project_window(&values)?;
    split.run(&rows, &mut b)?;
    let worst = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    Ok(if a.iter().chain(&b).all(|v| v.is_finite()) { worst } else { f32::INFINITY })
}
