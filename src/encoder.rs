//! The CNN: one tick's picture (or the last few, for a clip encoder) to one feature vector, by tract from ONNX.
//!
//! The contract between pixels and network is bytes: the shaper hands over levels 0 to 255. An encoder whose ONNX
//! input is u8 or i8 gets them as they are (i8: level - 128); an f32 input gets `(level - mean) / scale`. Where nothing but a
//! quantiser reads that f32 input, level and quantiser together are one table, and the network gets its own bytes at once.
//! What the network says in int8 is run by one operator of ours ([`crate::qnn`]), the rest by tract.
//! An encoder that says where things are too has a second output (`input.map` in the contract); where nobody asks, it is not computed.
//! The input tensor and the run state are made once and lent to tract, which allocates inside; we do not.

use crate::bundle::{Bundle, BundleError, ENCODER};
use crate::onnx::{self, Runner};
use crate::place::{Cells, PLANES};
use crate::qnn::{self, Engine, Quant, Report};
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::internal::bail;

/// The network failed on this input; the next one may work.
#[derive(Debug, thiserror::Error)]
#[error("encoder: {0}")]
pub struct EncoderError(String);

impl From<TractError> for EncoderError {
    fn from(e: TractError) -> Self {
        Self(onnx::sentence(&e))
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Encoder {
    runner: Runner,
    /// Lent to tract for each run and ours again afterwards.
    input: Arc<Tensor>,
    kind: InputKind,
    clip: Clip,
    features: Box<[f32]>,
    /// Where things are, where that is computed.
    map: Option<Map>,
    report: Report,
}

/// The second output, `[PLANES, H, W]`, and its cells across and down.
#[derive(Debug)]
struct Map {
    values: Box<[f32]>,
    size: (usize, usize),
}

#[derive(Debug)]
enum InputKind {
    U8,
    I8,
    /// The network's own byte for every level, 256 a plane.
    Bytes(Box<[[u8; 256]]>),
    /// Value of every level, 256 a plane.
    F32(Box<[[f32; 256]]>),
}

/// The last pictures in the order `[P, T, H, W]`, for rank 5; one picture for rank 4.
#[derive(Debug)]
struct Clip {
    levels: Box<[u8]>,
    planes: usize,
    ticks: usize,
    plane_len: usize,
    seen: usize,
}

impl Clip {
    /// Moves the past back by one tick and puts the new planes at its end. A young clip is filled with its first picture.
    fn push(&mut self, planes: &[u8]) -> &[u8] {
        if self.ticks == 1 {
            self.levels.copy_from_slice(planes);
            return &self.levels;
        }
        for (row, new) in self.levels.chunks_exact_mut(self.ticks * self.plane_len).zip(planes.chunks_exact(self.plane_len)) {
            row.copy_within(self.plane_len.., 0);
            let copies = if self.seen == 0 { self.ticks } else { 1 };
            row.chunks_exact_mut(self.plane_len).rev().take(copies).for_each(|slot| slot.copy_from_slice(new));
        }
        self.seen += 1;
        &self.levels
    }
}

/// Which arithmetic to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The graph as the bundle has it, its int8 part on the fastest instruction set here.
    AsBuilt,
    /// The same on a given instruction set and number of threads.
    On(Engine),
    /// The graph as the bundle has it, all of it by tract: what int8 is measured against.
    Reference,
    /// The same graph with the quantisation of activations taken out, to compare with.
    Float,
}

impl Encoder {
    /// Loads the bundle's encoder and holds it against the contract.
    ///
    /// # Errors
    /// One sentence naming both numbers where graph and contract differ.
    pub fn load(bundle: &Bundle, form: Form) -> Result<Self, BundleError> {
        onnx::guarded(bundle, ENCODER, || Self::load_as(bundle, form, false))
    }

    /// As [`Encoder::load`]; says where things are as well, if it can.
    ///
    /// # Errors
    /// As [`Encoder::load`], and a map that is none.
    pub fn load_with_map(bundle: &Bundle, form: Form) -> Result<Self, BundleError> {
        onnx::guarded(bundle, ENCODER, || Self::load_as(bundle, form, true))
    }

    fn load_as(bundle: &Bundle, form: Form, mapped: bool) -> Result<Self, BundleError> {
        let refuse = |why: String| bundle.refuse(format!("{ENCODER}: {why}"));
        let Some(want) = &bundle.contract.input else { return Err(refuse("this bundle has no [input], so no encoder".into())) };
        let mut proto = onnx::parse(bundle.file(ENCODER).unwrap_or_default()).map_err(refuse)?;
        let mapped = match &want.map {
            Some(name) if mapped => onnx::second(&mut proto, "input.map", name, "the features").map(|()| true).map_err(refuse)?,
            Some(_) => {
                proto = onnx::only(&proto, 0);
                false
            }
            None => false,
        };
        let (planes, shape) = (want.planes(), want.shape());
        let found = onnx::input_fact(&proto).map_err(refuse)?;
        if found.1.len() != shape.len() {
            return Err(refuse(format!(
                "the input has rank {}, the contract says {shape:?} (clip = {})",
                found.1.len(),
                want.clip
            )));
        }
        if found.1.iter().zip(&shape).any(|(f, s)| f.is_some_and(|f| f != *s)) {
            let found: Vec<String> = found.1.iter().map(|d| d.map_or("?".into(), |d| d.to_string())).collect();
            return Err(refuse(format!("the graph's input is [{}], the contract says {shape:?}", found.join(", "))));
        }
        let mut datum = found.0;
        let (proto, regions, report, bytes) = match form {
            Form::AsBuilt | Form::On(_) => {
                let engine = if let Form::On(engine) = form { engine } else { Engine::best() };
                let cut = qnn::cut(&proto, &shape, qnn::Options { engine, bytes_in: true }).map_err(refuse)?;
                (cut.proto, cut.regions, cut.report, cut.input)
            }
            Form::Reference => (proto, vec![], Report::default(), None),
            Form::Float => (onnx::without_activation_quantisation(&proto), vec![], Report::default(), None),
        };
        let kind = match (found.0, bytes) {
            (DatumType::F32, Some(quant)) => {
                datum = u8::datum_type();
                InputKind::Bytes(quantised(&levels(planes, &want.mean, &want.scale), quant))
            }
            (DatumType::U8, _) => InputKind::U8,
            (DatumType::I8, _) => InputKind::I8,
            (DatumType::F32, _) => InputKind::F32(levels(planes, &want.mean, &want.scale)),
            (other, _) => return Err(refuse(format!("the input is {other:?}, expected f32, u8 or i8"))),
        };
        let run = || -> TractResult<(Runner, Arc<Tensor>, usize, Option<Map>)> {
            let mut model = onnx::typed(&proto, &[(0, datum.fact(&*shape).into())], 1 + usize::from(mapped))?;
            qnn::fill(&mut model, &regions)?;
            let model = model.into_optimized()?;
            let (inputs, out) = (model.input_outlets()?.len(), model.output_fact(0)?);
            if inputs != 1 {
                bail!("the graph wants {inputs} inputs, a picture is all there is");
            }
            if out.datum_type != f32::datum_type() {
                bail!("the graph gives {:?}, features are F32", out.datum_type);
            }
            let len = out.shape.as_concrete().map_or(0, |dims| dims.iter().product());
            let map = mapped.then(|| Map::new(model.output_fact(1)?)).transpose()?;
            let mut runner = Runner::new(model)?;
            let input = Arc::new(Tensor::zero_dt(datum, &shape)?);
            // What runs once, runs: a graph that fails is refused here and not on the road.
            runner.run(ENCODER, TValue::from_const(input.clone()))?;
            Ok((runner, input, len, map))
        };
        let (runner, input, len, map) = run().map_err(|e| refuse(onnx::sentence(&e)))?;
        if len != want.features {
            return Err(refuse(format!("the graph gives {len} features, the contract says input.features = {}", want.features)));
        }
        let plane_len = want.height * want.width;
        let levels = vec![0; planes * want.clip * plane_len].into();
        let clip = Clip { levels, planes, ticks: want.clip, plane_len, seen: 0 };
        Ok(Self { runner, input, kind, clip, features: vec![0.0; len].into(), map, report })
    }

    /// Where things are in the picture that was encoded last; `None` where it does not say or was not asked to.
    pub fn map(&self) -> Option<Cells<'_>> {
        self.map.as_ref().map(|map| Cells { values: &map.values, size: map.size })
    }

    /// What runs on bytes and what does not.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// One tick: `planes` are levels `[P, H, W]`; the features of this tick are returned.
    ///
    /// # Errors
    /// When tract fails, or `planes` has the wrong length.
    pub fn run(&mut self, planes: &[u8]) -> Result<&[f32], EncoderError> {
        if planes.len() != self.clip.planes * self.clip.plane_len {
            return Err(EncoderError(format!(
                "{} levels given, {} expected",
                planes.len(),
                self.clip.planes * self.clip.plane_len
            )));
        }
        self.clip.push(planes);
        self.infer()
    }

    /// One whole encoder input at once, `[P, H, W]` or `[P, T, H, W]` levels: for golden vectors.
    ///
    /// # Errors
    /// As [`Encoder::run`].
    pub fn run_clip(&mut self, levels: &[u8]) -> Result<&[f32], EncoderError> {
        if levels.len() != self.clip.levels.len() {
            return Err(EncoderError(format!("{} levels given, {} expected", levels.len(), self.clip.levels.len())));
        }
        self.clip.levels.copy_from_slice(levels);
        self.infer()
    }

    /// Forgets earlier pictures (after a gap).
    pub fn reset(&mut self) {
        self.clip.seen = 0;
    }

    fn infer(&mut self) -> Result<&[f32], EncoderError> {
        if Arc::get_mut(&mut self.input).is_none() {
            // tract kept the last input; it does not today, and this keeps us right if it ever does.
            self.input = Arc::new(self.input.as_ref().clone());
        }
        let input = Arc::get_mut(&mut self.input).ok_or_else(|| EncoderError("the input is still in use".into()))?;
        let levels = &self.clip.levels;
        match &self.kind {
            InputKind::U8 => input.try_as_plain_ram_mut()?.as_slice_mut::<u8>()?.copy_from_slice(levels),
            InputKind::I8 => {
                let mut plain = input.try_as_plain_ram_mut()?;
                plain.as_slice_mut::<i8>()?.iter_mut().zip(levels).for_each(|(o, l)| *o = (l ^ 0x80) as i8);
            }
            InputKind::Bytes(tables) => {
                let mut plain = input.try_as_plain_ram_mut()?;
                let per_plane = self.clip.ticks * self.clip.plane_len;
                let out = plain.as_slice_mut::<u8>()?.chunks_exact_mut(per_plane);
                for ((out, levels), table) in out.zip(levels.chunks_exact(per_plane)).zip(tables) {
                    out.iter_mut().zip(levels).for_each(|(o, l)| *o = table[usize::from(*l)]);
                }
            }
            InputKind::F32(tables) => {
                let mut plain = input.try_as_plain_ram_mut()?;
                let per_plane = self.clip.ticks * self.clip.plane_len;
                let out = plain.as_slice_mut::<f32>()?.chunks_exact_mut(per_plane);
                for ((out, levels), table) in out.zip(levels.chunks_exact(per_plane)).zip(tables) {
                    out.iter_mut().zip(levels).for_each(|(o, l)| *o = table[*l as usize]);
                }
            }
        }
        let result = self.runner.run(ENCODER, TValue::from_const(self.input.clone()))?;
        let plain = result[0].try_as_plain_ram()?;
        self.features.copy_from_slice(plain.as_slice::<f32>()?);
        if let Some(map) = &mut self.map {
            map.values.copy_from_slice(result[1].try_as_plain_ram()?.as_slice::<f32>()?);
        }
        Ok(&self.features)
    }
}

impl Map {
    /// Room for a second output, if it is a map.
    fn new(fact: &TypedFact) -> TractResult<Self> {
        let dims = fact.shape.as_concrete().unwrap_or_default();
        match *dims {
            [1, PLANES, high, wide]
                if fact.datum_type == f32::datum_type() && [high, wide].iter().all(|side| (1..=MAX_SIDE).contains(side)) =>
            {
                Ok(Self { values: vec![0.0; PLANES * wide * high].into(), size: (wide, high) })
            }
            _ => {
                let shape: Vec<String> = fact.shape.iter().map(ToString::to_string).collect();
                let (kind, shape) = (fact.datum_type, shape.join(", "));
                bail!("input.map is {kind:?} [{shape}], expected F32 [1, {PLANES}, H, W] with H and W up to {MAX_SIDE}")
            }
        }
    }
}

/// Most cells across or down of a map: all of them are looked at every tick.
const MAX_SIDE: usize = 64;

/// `(level - mean) / scale` for every level of every plane.
fn levels(planes: usize, mean: &[f32], scale: &[f32]) -> Box<[[f32; 256]]> {
    let of = |list: &[f32], p: usize| if list.len() == 1 { list[0] } else { list[p] };
    (0..planes).map(|p| std::array::from_fn(|l| (l as f32 - of(mean, p)) / of(scale, p))).collect()
}

/// The network's byte for every level of every plane.
fn quantised(levels: &[[f32; 256]], quant: Quant) -> Box<[[u8; 256]]> {
    levels.iter().map(|plane| plane.map(|value| quant.byte(value))).collect()
}
