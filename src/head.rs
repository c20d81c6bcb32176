//! The recurrent head: a window of rows to logits, from ONNX LSTM, GRU or RNN.
//!
//! `window` mode runs every window from zero state, so its answer depends on nothing but the window; `carried` mode keeps
//! the state between ticks and steps once a tick. In both, what looks at one tick alone (the input projections `W·x + b`)
//! is made once a tick and cached in the ring, so that a window costs only the recurrent half.
//!
//! A graph that is a chain of dense and recurrent layers, as nearly all are, is read from the ONNX file (`head/read.rs`) and
//! run by our own cells (`head/own.rs`, `head/cell.rs`): weights in s8, states in 14 bits and gates in f32 where that keeps
//! the probabilities, else all in f32; which one is proven at load against tract (`head/prove.rs`).
//!
//! A head that says where the thing is as well (`head.boxes` in the contract) has a second output; see [`boxes`].
//!
//! What is not such a chain stays with tract. tract keeps a `Scan`'s state between runs of one `SimpleState`; a window must
//! therefore never reuse one, and each run spawns its own. There the projections are cut out of the typed model
//! (`head/split.rs`), proven as well; if that cannot be done, rows are plain features. Carried state is held as explicit
//! tensors (`head/carried.rs`).

pub mod boxes;
mod carried;
mod cell;
mod dot;
mod file;
mod gates;
pub mod memory;
mod own;
mod prove;
mod read;
mod split;

pub use file::{HeadFile, alone};
pub use prove::INT8_TOLERANCE;

use crate::bundle::{Bundle, BundleError, HEAD, Mode};
use crate::golden;
use crate::onnx::{self, Plan};
use crate::qnn::kernels::Isa;
use crate::ring::Ring;
use crate::rng::Rng;
use carried::Carried;
use own::Own;
use prove::Terms;
use read::Order;
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

/// How a head is to compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    /// The quickest that keeps the probabilities: int8, then f32, then tract.
    Quickest,
    /// Our own cells with s8 weights, however far from f32 that is.
    Int8,
    /// Our own cells in f32.
    Float,
    /// tract, with projections cached where that can be done.
    Tract,
    /// tract, the graph as it stands.
    Plain,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Head {
    kind: Kind,
    row: usize,
    logits: Box<[f32]>,
    /// The logits of the last window, before anybody worked on them, and whether they are.
    last: Box<[f32]>,
    last_stands: bool,
    words: String,
}

#[derive(Debug)]
enum Kind {
    /// Our own cells; the state lives on between ticks in `carried` mode.
    Own { own: Own, carried: bool },
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
    /// The box of the last window, where the graph has one as its second output.
    place: Option<[f32; 4]>,
}

impl Plain {
    fn load(proto: &tract_onnx::pb::ModelProto, shape: &[usize], boxes: bool) -> TractResult<(Self, usize)> {
        let model = onnx::typed(proto, &[(0, f32::fact(shape).into())], 1 + usize::from(boxes))?.into_optimized()?;
        let classes = model.output_fact(0)?.shape.as_concrete().map_or(0, |d| d.iter().product());
        if boxes {
            boxes::check(model.output_fact(1)?)?;
        }
        let (place, input) = (boxes.then_some([0.0; 4]), Arc::new(Tensor::zero_dt(f32::datum_type(), shape)?));
        Ok((Self { plan: model.into_runnable()?, input, place }, classes))
    }

    fn run(&mut self, rows: &[f32], logits: &mut [f32]) -> Result<(), HeadError> {
        lend(&mut self.input, |t| t.copy_from_slice(rows))?;
        let out = onnx::run(HEAD, || self.plan.run(tvec![TValue::from_const(self.input.clone())]))?;
        copy_out(&out[0], logits)?;
        self.place.iter_mut().try_for_each(|place| copy_out(&out[1], place))
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
    /// Loads the bundle's head, holds it against the contract and finds the quickest way to run it.
    ///
    /// # Errors
    /// One sentence naming both numbers where graph and contract differ.
    pub fn load(bundle: &Bundle) -> Result<Self, BundleError> {
        Self::load_with(bundle, Arithmetic::Quickest, Isa::best())
    }

    /// As [`Head::load`], but the graph as it stands, by tract: to compare with.
    ///
    /// # Errors
    /// As [`Head::load`].
    pub fn load_plain(bundle: &Bundle) -> Result<Self, BundleError> {
        Self::load_with(bundle, Arithmetic::Plain, Isa::Scalar)
    }

    /// As [`Head::load`] in a given arithmetic and by a given instruction set (plain Rust if the processor lacks it).
    ///
    /// # Errors
    /// As [`Head::load`], and where our own cells are asked for and the graph is no chain of them.
    pub fn load_with(bundle: &Bundle, arithmetic: Arithmetic, isa: Isa) -> Result<Self, BundleError> {
        onnx::guarded(bundle, HEAD, || Self::load_as(bundle, arithmetic, isa))
    }

    fn load_as(bundle: &Bundle, arithmetic: Arithmetic, isa: Isa) -> Result<Self, BundleError> {
        let refuse = |why: String| bundle.refuse(format!("{HEAD}: {why}"));
        let (window, features, labels) = (bundle.contract.time.window, bundle.features(), bundle.contract.head.labels.len());
        let mut proto = onnx::parse(bundle.file(HEAD).unwrap_or_default()).map_err(refuse)?;
        let boxes = bundle.contract.head.boxes.as_deref();
        boxes.map_or(Ok(()), |name| onnx::second(&mut proto, "head.boxes", name, "the classes")).map_err(refuse)?;
        let mode = bundle.contract.time.mode;
        contract(&proto, window, features, mode).map_err(refuse)?;
        let failed = |e: TractError| refuse(format!("with input [1, {window}, {features}]: {}", onnx::sentence(&e)));
        let (mut plain, classes) = Plain::load(&proto, &[1, window, features], boxes.is_some()).map_err(failed)?;
        if classes != labels {
            return Err(refuse(format!("the graph gives {classes} classes, the contract has {labels} labels")));
        }
        let carried = mode == Mode::Carried;
        let mut state = if carried { Some(Carried::load(&proto, features, boxes.is_some()).map_err(failed)?) } else { None };
        let mut why = "asked for".to_string();
        if matches!(arithmetic, Arithmetic::Quickest | Arithmetic::Int8 | Arithmetic::Float) {
            let reference = |rows: &[f32], answer: &mut [f32]| {
                let (logits, place) = answer.split_at_mut(classes);
                let found = match &mut state {
                    Some(state) => state.run_window(rows, features, logits).map(|()| state.place)?,
                    None => plain.run(rows, logits).map(|()| plain.place)?,
                };
                found.iter().for_each(|found| place.copy_from_slice(found));
                Ok(())
            };
            let ticks = if carried { 1 } else { window };
            let read = match boxes {
                Some(_) => boxes::chains(&proto, ticks, features).map(|(chain, tail)| (chain, Some(tail))),
                None => read::chain(&proto, ticks, features, Order::BatchFirst).map(|chain| (chain, None)),
            };
            let chosen = match read {
                Ok((chain, tail)) => prove::choose(&Terms::of(bundle), (&chain, tail.as_deref()), arithmetic, isa, reference)
                    .map_err(|e| refuse(e.to_string()))?,
                Err(why) => Err(format!("{why} is not taken")),
            };
            why = match chosen {
                Ok((own, words)) => return Ok(Self::of(Kind::Own { own, carried }, features, classes, words)),
                Err(why) if arithmetic == Arithmetic::Quickest => why,
                Err(why) => return Err(refuse(why)),
            };
        }
        let words = |how: &str| format!("tract ({why}), {how}");
        if let Some(state) = state {
            return Ok(Self::of(Kind::Carried(state), features, classes, words("state carried")));
        }
        // The cached halves know one output.
        let cache = arithmetic != Arithmetic::Plain && boxes.is_none();
        let split = if cache { Split::load(&proto, window, features).map_err(failed)? } else { None };
        if let Some(mut split) = split {
            let worst = prove(&mut plain, &mut split, window, features, classes).map_err(|e| refuse(e.to_string()))?;
            if worst <= CACHE_TOLERANCE {
                let words = words("input projections cached in the ring");
                return Ok(Self::of(Kind::Cached(split), features, classes, words));
            }
            log::warn!("{HEAD}: cached projections differ from the plain graph by {worst:e}, so they are not used");
        }
        Ok(Self::of(Kind::Plain(plain), features, classes, words("nothing cached")))
    }

    fn of(kind: Kind, features: usize, classes: usize, words: String) -> Self {
        let row = match &kind {
            Kind::Own { own, .. } => own.row(),
            Kind::Cached(split) => split.row(),
            Kind::Plain(_) | Kind::Carried(_) => features,
        };
        let logits: Box<[f32]> = vec![0.0; classes].into();
        Self { kind, row, last: logits.clone(), logits, last_stands: false, words }
    }

    /// How it computes, for `lookout check`.
    pub fn words(&self) -> &str {
        &self.words
    }

    /// Do our own cells run it?
    pub fn is_own(&self) -> bool {
        matches!(self.kind, Kind::Own { .. })
    }

    /// Numbers in a ring row: projections where they are cached, features otherwise.
    pub fn row_len(&self) -> usize {
        self.row
    }

    /// Are input projections cached in the ring?
    pub fn is_cached(&self) -> bool {
        matches!(self.kind, Kind::Cached(_) | Kind::Own { .. })
    }

    /// Once a tick: what the ring keeps of these features.
    ///
    /// # Errors
    /// When tract fails.
    pub fn project(&mut self, features: &[f32], row: &mut [f32]) -> Result<(), HeadError> {
        match &mut self.kind {
            Kind::Own { own, .. } => own.project(features, row),
            Kind::Cached(split) => split.project(features, row),
            Kind::Plain(_) | Kind::Carried(_) if features.len() == row.len() => {
                row.copy_from_slice(features);
                Ok(())
            }
            _ => Err(HeadError(format!("{} features given, {} expected", features.len(), row.len()))),
        }
    }

    /// Once a tick, after the ring took it: the logits, or `None` while the ring warms up. A head reads one ring; a window
    /// that holds nothing new has the answer it had.
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
            Kind::Own { own, carried: true } => match ring.newest() {
                Some((row, true)) => {
                    own.step(row);
                    own.finish(&mut self.logits);
                }
                _ => own.forget(),
            },
            _ => {
                let Some(window) = ring.window() else { return Ok(None) };
                if std::mem::take(&mut self.last_stands) && ring.is_unchanged() {
                    self.logits.copy_from_slice(&self.last);
                } else {
                    self.run_rows(window.rows)?;
                    self.last.copy_from_slice(&self.logits);
                }
                self.last_stands = true;
            }
        }
        Ok(ring.window().is_some().then_some(&mut self.logits))
    }

    /// The last recurrent layer's state behind the answer that [`Head::run`] gave last, one number a hidden unit; a window
    /// that holds nothing new has the state it had. `None` where tract runs the head: it does not show its states.
    pub fn state(&self) -> Option<&[f32]> {
        match &self.kind {
            Kind::Own { own, .. } => Some(own.state()),
            _ => None,
        }
    }

    /// The box behind the answer that [`Head::run`] or [`Head::run_window`] gave last, as the graph gives it: left, top, width and
    /// height in fractions of the encoder's picture; see [`boxes::region`]. `None` where the contract names none.
    pub fn place(&self) -> Option<[f32; 4]> {
        match &self.kind {
            Kind::Own { own, .. } => own.place(),
            Kind::Plain(plain) => plain.place,
            Kind::Carried(carried) => carried.place,
            Kind::Cached(_) => None,
        }
    }

    /// The logits of one window of features, `window * features` numbers: for golden vectors. In `carried` mode the
    /// state starts at zero and the window is fed tick by tick.
    ///
    /// # Errors
    /// When tract fails or the length is wrong.
    pub fn run_window(&mut self, features: &[f32]) -> Result<&[f32], HeadError> {
        match &mut self.kind {
            Kind::Own { own, .. } => own.run_window(features, &mut self.logits)?,
            Kind::Plain(plain) => plain.run(features, &mut self.logits)?,
            Kind::Cached(split) => {
                let rows = split.project_window(features)?;
                split.run(&rows, &mut self.logits)?;
            }
            Kind::Carried(carried) => {
                carried.run_window(features, self.row, &mut self.logits)?;
            }
        }
        Ok(&self.logits)
    }

    /// State that it carries from tick to tick, as bytes behind those in `to`, for another run; nothing in `window` mode, where it carries none.
    pub fn remember(&self, to: &mut Vec<u8>) {
        match &self.kind {
            Kind::Own { own, carried: true } => own.remember(to),
            Kind::Carried(carried) => carried.remember(to),
            _ => {}
        }
    }

    /// Goes on from there. False: it cannot, and begins anew.
    pub fn recall(&mut self, mut from: &[u8]) -> bool {
        let found = match &mut self.kind {
            Kind::Own { own, carried: true } => own.recall(&mut from),
            Kind::Carried(carried) => carried.recall(&mut from),
            _ => Some(()),
        };
        let good = found.is_some() && from.is_empty();
        if !good {
            self.reset();
        }
        good
    }

    /// Forgets carried state (after a gap). Nothing to do in `window` mode.
    pub fn reset(&mut self) {
        match &mut self.kind {
            Kind::Carried(carried) => carried.reset(),
            Kind::Own { own, .. } => own.forget(),
            _ => {}
        }
    }

    fn run_rows(&mut self, rows: &[f32]) -> Result<(), HeadError> {
        match &mut self.kind {
            Kind::Own { own, .. } => {
                own.run(rows, &mut self.logits);
                Ok(())
            }
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
    // Any fixed sequence will do.
    let mut draw = Rng(1);
    let values: Vec<f32> = (0..window * features).map(|_| draw.within(-1.0, 1.0)).collect();
    let (mut a, mut b) = (vec![0.0; classes], vec![0.0; classes]);
    plain.run(&values, &mut a)?;
    let rows = split.project_window(&values)?;
    split.run(&rows, &mut b)?;
    Ok(golden::apart(&a, &b))
}
