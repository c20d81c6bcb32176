//! One training: epochs of Adam down the cross-entropy, the best of them kept, a checkpoint after each.
//!
//! The learning rate falls along half a cosine. With a patience, the best epoch is the one whose judged windows have the least loss, and training ends
//! when it has not been beaten for a while; figures of that part are then a little too good, because it chose. Without one the last epoch is taken and nothing
//! is chosen. A checkpoint holds everything that the next epoch depends on, so an interrupted training goes on as if it had not
//! been, and a finished one is not made again.

use super::adam::Adam;
use super::judge::Figures;
use super::net::{self, Inputs, Net};
use super::set::{Set, window_of};
use super::tiny::{self, Pass, Tiny};
use super::{Result, TrainError};
use crate::rng::Rng;
use candle_core::{D, Device, Tensor, Var, safetensors};
use std::collections::HashMap;
use std::path::Path;
use std::time::Instant;

/// Windows that are judged at once: bounds memory.
const CHUNK: usize = 512;

/// Windows that the statistics of a CNN's normalisation are taken from.
const SETTLE: usize = 64;

/// How to train.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The head. Its number of features is that of the encoder or of the set.
    pub head: net::Plan,
    /// The encoder, where one is to learn.
    pub encoder: Option<tiny::Plan>,
    /// Epochs at most.
    pub epochs: usize,
    /// Epochs without a better one after which training ends; 0: none is chosen, the last one is taken.
    pub patience: usize,
    /// Windows a step.
    pub batch: usize,
    /// Learning rate at the beginning.
    pub rate: f64,
    /// How much rare classes count; see [`Set::balance`].
    pub balance: f32,
    /// Weight decay.
    pub decay: f64,
    /// Of everything that is drawn.
    pub seed: u64,
}

/// An encoder, where one learns, and a head; or several of them side by side, once they have learnt.
#[derive(Debug)]
pub struct Model {
    /// Pictures to features: each CNN gives its part of them, in this order. None where features come from elsewhere.
    pub encoder: Vec<Tiny>,
    /// Windows of features to logits.
    pub net: Net,
}

/// What an epoch came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Epoch {
    /// From 1 on.
    pub n: usize,
    /// Mean cross-entropy while learning.
    pub loss: f32,
    /// The same of what is judged; not a number where nothing is.
    pub judged: f32,
    /// Share of judged clips (or ticks) that are right.
    pub accuracy: f32,
    /// Would it be taken if it were the last?
    pub best: bool,
    /// How long it took.
    pub seconds: f32,
}

/// What a training came to.
#[derive(Debug)]
pub struct Fitted {
    /// The best epoch's weights.
    pub model: Model,
    /// Every epoch.
    pub history: Vec<Epoch>,
}

impl Model {
    fn new(settings: &Settings, rng: &mut Rng) -> Result<Self> {
        let encoder = settings.encoder.iter().map(|plan| Tiny::new(*plan, rng)).collect::<candle_core::Result<_>>()?;
        Ok(Self { encoder, net: Net::new(settings.head, rng)? })
    }

    /// Models of the same shape as one: every head sees its own CNN's features, or all see the same ones, and the logits are the mean of theirs.
    ///
    /// # Errors
    /// None in practice.
    pub fn beside(models: Vec<Self>) -> Result<Self> {
        let (encoders, nets): (Vec<_>, Vec<_>) = models.into_iter().map(|m| (m.encoder, m.net)).unzip();
        let encoder: Vec<Tiny> = encoders.into_iter().flatten().collect();
        let inputs = if encoder.is_empty() { Inputs::Shared } else { Inputs::Apart };
        Ok(Self { net: Net::beside(&nets, inputs)?, encoder })
    }

    fn weights(&self) -> Vec<(String, Var)> {
        self.encoder.iter().flat_map(Tiny::weights).chain(self.net.weights()).collect()
    }

    /// Everything that a copy of the model needs.
    fn state(&self) -> Vec<(String, Var)> {
        let mut all = self.weights();
        all.extend(self.encoder.iter().flat_map(Tiny::statistics));
        all
    }

    /// Logits of every tick of these recordings, `[ticks * classes]` each, as the device would give them at that tick.
    ///
    /// # Errors
    /// None in practice.
    pub fn judge(&self, set: &Set, of: &[usize]) -> Result<Vec<Vec<f32>>> {
        of.iter().map(|n| self.logits(set, *n)).collect()
    }

    fn logits(&self, set: &Set, n: usize) -> Result<Vec<f32>> {
        let rows = self.features(set, n)?;
        windows(&self.net, &rows, set.window)
    }

    /// What the head sees of a recording, in float: `[ticks, features]`.
    ///
    /// # Errors
    /// None in practice.
    pub fn features(&self, set: &Set, n: usize) -> Result<Tensor> {
        if self.encoder.is_empty() {
            return Ok(set.float(n)?);
        }
        let ticks = set.sequences[n].ticks.len();
        let mut parts = Vec::new();
        for from in (0..ticks).step_by(CHUNK) {
            let places: Vec<_> = (from..ticks.min(from + CHUNK)).map(|t| (n, t, 0)).collect();
            let pictures = set.ticks(&places)?;
            let each: candle_core::Result<Vec<_>> =
                self.encoder.iter().map(|cnn| Ok(cnn.run(&pictures, Pass::Judge)?.detach())).collect();
            parts.push(Tensor::cat(&each?, 1)?);
        }
        Ok(Tensor::cat(&parts, 0)?)
    }
}

/// Logits of the window that ends at every tick of `rows`.
///
/// # Errors
/// None in practice.
pub fn windows(net: &Net, rows: &Tensor, window: usize) -> Result<Vec<f32>> {
    let ticks = rows.dim(0)?;
    let mut logits = Vec::with_capacity(ticks * net.plan.classes);
    for from in (0..ticks).step_by(CHUNK) {
        let ends = from..ticks.min(from + CHUNK);
        let index: Vec<u32> = ends.clone().flat_map(|end| window_of(end, window)).map(|t| t as u32).collect();
        let x = rows.index_select(&Tensor::from_vec(index, ends.len() * window, &Device::Cpu)?, 0)?;
        let x = x.reshape((ends.len(), window, ()))?;
        logits.extend(net.run(&x, 1, None)?.flatten_all()?.to_vec1::<f32>()?);
    }
    Ok(logits)
}

/// Trains on `learn`, judged by `judged` (may be empty). `checkpoint`: where to go on from, and where
/// to keep every epoch. `tell` hears of each.
///
/// # Errors
/// A checkpoint that cannot be written.
pub fn fit(
    set: &Set,
    settings: &Settings,
    (learn, judged): (&[usize], &[usize]),
    checkpoint: Option<&Path>,
    tell: &mut dyn FnMut(&Epoch),
) -> Result<Fitted> {
    let mut rng = Rng(settings.seed);
    let model = Model::new(settings, &mut rng)?;
    let mut adam = Adam::new(&model.weights(), settings.decay)?;
    let mut history: Vec<Epoch> = Vec::new();
    let mut best = copy(&model)?;
    if let Some(file) = checkpoint.filter(|f| f.is_file()) {
        match restore(file, &model, &mut adam, &mut best) {
            Ok((epochs, state)) => (history, rng) = (epochs, state),
            Err(e) => log::warn!("{}: {e}; this training begins anew", file.display()),
        }
        history.iter().for_each(&mut *tell);
    }
    let balance = set.balance(learn, settings.balance);
    let last = set.window.div_ceil(2);
    let chooses = settings.patience > 0 && !judged.is_empty();
    while history.len() < settings.epochs && !(chooses && stale(&history) >= settings.patience) {
        let began = Instant::now();
        let places = set.draw(learn, &mut rng);
        let (mut loss, mut counted, steps) = (0.0, 0.0f32, places.len().div_ceil(settings.batch));
        for (step, places) in places.chunks(settings.batch).enumerate() {
            let progress = (history.len() as f64 + step as f64 / steps as f64) / settings.epochs as f64;
            let rate = settings.rate * falling(progress);
            let batch = set.batch(places, last, &balance, Some(&mut rng))?;
            let windows = match model.encoder.first() {
                Some(cnn) => cnn.run(&batch.x, Pass::Learn(&mut rng))?.reshape((places.len(), set.window, ()))?,
                None => batch.x,
            };
            let logits = model.net.run(&windows, last, Some(&mut rng))?;
            let weight = batch.weights.sum_all()?.to_scalar::<f32>()?;
            if weight == 0.0 {
                continue;
            }
            let each = log_softmax(&logits)?.gather(&batch.classes, 1)?.squeeze(1)?;
            let here = ((each * &batch.weights)?.sum_all()? * (-1.0 / f64::from(weight)))?;
            adam.step(&here.backward()?, rate)?;
            loss += here.to_scalar::<f32>()? * weight;
            counted += weight;
        }
        if let Some(cnn) = model.encoder.first() {
            // From one large batch of the weights as they are now: averages over an epoch's batches would lag behind the weights.
            let places = set.draw(learn, &mut rng);
            cnn.run(&set.batch(&places[..places.len().min(SETTLE)], 1, &[], None)?.x, Pass::Settle)?;
        }
        let mut epoch = Epoch { n: history.len() + 1, loss: loss / counted.max(1.0), judged: f32::NAN, ..Epoch::default() };
        epoch.best = !chooses;
        if !judged.is_empty() {
            let figures = Figures::of(set, judged, &model.judge(set, judged)?, 1.0);
            (epoch.judged, epoch.accuracy) = (figures.loss, figures.accuracy());
            epoch.best |= history.iter().filter(|e| e.best).all(|e| epoch.judged < e.judged);
        }
        if epoch.best {
            best = copy(&model)?;
        }
        epoch.seconds = began.elapsed().as_secs_f32();
        history.push(epoch);
        if let Some(file) = checkpoint {
            save(file, &model, &adam, &best, &history, rng)?;
        }
        tell(&epoch);
    }
    for (name, var) in model.state() {
        var.set(&best[&name])?;
    }
    Ok(Fitted { model, history })
}

/// The learning rate's part after this part of a training: half a cosine down to a fiftieth.
pub(super) fn falling(progress: f64) -> f64 {
    0.02 + 0.98 * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos())
}

/// Epochs since the best one.
fn stale(history: &[Epoch]) -> usize {
    history.iter().rev().take_while(|e| !e.best).count()
}

/// log softmax over the last axis.
pub(super) fn log_softmax(logits: &Tensor) -> Result<Tensor> {
    let shifted = logits.broadcast_sub(&logits.max_keepdim(D::Minus1)?.detach())?;
    Ok(shifted.broadcast_sub(&shifted.exp()?.sum_keepdim(D::Minus1)?.log()?)?)
}

fn copy(model: &Model) -> Result<HashMap<String, Tensor>> {
    model.state().into_iter().map(|(name, var)| Ok((name, var.copy()?))).collect()
}

fn save(file: &Path, model: &Model, adam: &Adam, best: &HashMap<String, Tensor>, history: &[Epoch], rng: Rng) -> Result<()> {
    let mut all: HashMap<String, Tensor> = model.state().into_iter().map(|(n, v)| (n, v.as_tensor().clone())).collect();
    for w in &adam.weights {
        for (n, m) in w.moments.iter().enumerate() {
            all.insert(format!("adam{n}.{}", w.name), m.as_tensor().clone());
        }
    }
    all.extend(best.iter().map(|(n, t)| (format!("best.{n}"), t.clone())));
    let epochs: Vec<f32> =
        history.iter().flat_map(|e| [e.loss, e.judged, e.accuracy, f32::from(u8::from(e.best)), e.seconds]).collect();
    all.insert("epochs".into(), Tensor::from_vec(epochs, (history.len(), 5), &Device::Cpu)?);
    let state = vec![rng.0 as i64, i64::from(adam.steps)];
    all.insert("state".into(), Tensor::from_vec(state, 2, &Device::Cpu)?);
    // Of its own: another training of the same may go on beside this one.
    let part = file.with_extension(format!("part{}", std::process::id()));
    let failed = |e: String| TrainError::Broke(format!("{}: {e}", file.display()));
    safetensors::save(&all, &part).map_err(|e| {
        let _ = std::fs::remove_file(&part);
        failed(e.to_string())
    })?;
    crate::store::settle(&part, file).map_err(|e| failed(e.to_string()))
}

/// Takes everything from a checkpoint, or nothing.
fn restore(file: &Path, model: &Model, adam: &mut Adam, best: &mut HashMap<String, Tensor>) -> Result<(Vec<Epoch>, Rng)> {
    let all = safetensors::load(file, &Device::Cpu)?;
    let get = |name: &str| all.get(name).ok_or_else(|| TrainError::Broke(format!("{name} is missing")));
    let (epochs, state) = (get("epochs")?.to_vec2::<f32>()?, get("state")?.to_vec1::<i64>()?);
    let other = || TrainError::Broke("its state is of another kind".into());
    let [bits, steps] = state[..] else { return Err(other()) };
    let steps = i32::try_from(steps).ok().and_then(|n| u32::try_from(n).ok()).ok_or_else(other)?;
    let epoch = |(n, e): (usize, &Vec<f32>)| match e[..] {
        [loss, judged, accuracy, best, seconds] => Ok(Epoch { n: n + 1, loss, judged, accuracy, best: best > 0.0, seconds }),
        _ => Err(TrainError::Broke(format!("an epoch of {} numbers, 5 expected", e.len()))),
    };
    let history = epochs.iter().enumerate().map(epoch).collect::<Result<_>>()?;
    let (mut pairs, mut bests) = (Vec::new(), Vec::new());
    for (name, var) in model.state() {
        let kept = get(&format!("best.{name}"))?;
        pairs.push((var.clone(), get(&name)?));
        bests.push((name, var, kept));
    }
    for w in &adam.weights {
        for (n, m) in w.moments.iter().enumerate() {
            pairs.push((m.clone(), get(&format!("adam{n}.{}", w.name))?));
        }
    }
    // Looked at all together before the first is taken: a model that is half another one would go on learning, and nobody would know.
    let fits = |var: &Var, t: &Tensor| var.dims() == t.dims() && var.dtype() == t.dtype();
    let mut all = pairs.iter().map(|(var, t)| (var, *t)).chain(bests.iter().map(|(_, var, t)| (var, *t)));
    if let Some((_, odd)) = all.find(|(var, t)| !fits(var, t)) {
        return Err(TrainError::Broke(format!("a weight of shape {:?}, {:?} does not fit", odd.dims(), odd.dtype())));
    }
    pairs.into_iter().try_for_each(|(var, t)| var.set(t))?;
    best.extend(bests.into_iter().map(|(name, _, t)| (name, t.clone())));
    adam.steps = steps;
    Ok((history, Rng(bits as u64)))
}
