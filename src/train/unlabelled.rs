//! Learning without labels: what is normal goes into a bundle ([`crate::novelty`]), and where somebody knows what is strange, it is judged.
//!
//! Judged like everything else here: by recordings of groups that were not learnt from, beside baselines that nobody should lose to: how much moves
//! (held as long as the score is), how far a tick is from the mean, how far from the nearest ordinary ones.

use super::foresee;
use super::judge::auc;
use super::net::{Cell, Net, Plan};
use super::onnx::{Attribute, Graph};
use super::set::Set;
use super::write::{self, Draft, Terms};
use super::{Result, TrainError};
use crate::bundle::{Channel, ENCODER, HEAD, Input};
use crate::novelty::normal::{self, Normal};
use crate::novelty::sense::Sense;
use crate::rng::Rng;
use crate::ticks::Data;
use candle_core::{DType, Device, Tensor};
use std::collections::BTreeSet;

/// Pixels of a block of the grid encoder.
const BLOCK: usize = 8;
/// What changes in a tick is about so much less than what changes in seconds, where people walk.
const QUICK: f32 = 4.0;
/// The grey plane is said in parts of this: per cent of the picture's mean.
const WHOLE: f32 = 100.0;
/// Ordinary ticks that are looked at for the nearest, at most, and how many of them count.
const NEIGHBOURS: (usize, usize) = (4000, 5);

/// The input of the grid encoder, 4:3: motion is since one tick and since `span_ms`.
pub fn grid_input(size: usize, tick_ms: u32, span_ms: u32, channels: Vec<Channel>) -> Input {
    let (width, height) = (size, (size * 3 / 4).next_multiple_of(BLOCK));
    let input = Input::picture(width, height, channels);
    let features = input.planes() * (width / BLOCK) * (height / BLOCK);
    // At most 64 ticks by the contract.
    Input { motion_span: (span_ms / tick_ms).clamp(1, 64) as usize, features, ..input }
}

/// An encoder without weights: the mean of every 8x8 block of every plane. Of motion: what moves where, and no more; the plane since one tick counts
/// `QUICK` times, so that both planes weigh the same. Of flow: which way it moves, about 0. Of grey: what stands where, in per cent of the
/// picture's mean, so that light which comes and goes everywhere is no news.
pub fn grid(input: &Input) -> Vec<u8> {
    let mut graph = Graph::default();
    let side = BLOCK as i64;
    graph.node("Cast", &["frame"], &["levels"], &[("to", Attribute::Int(1))]);
    let shape = [("kernel_shape", Attribute::Ints(vec![side; 2])), ("strides", Attribute::Ints(vec![side; 2]))];
    graph.node("AveragePool", &["levels"], &["blocks"], &shape);
    let planes = input.planes();
    // Each plane: weight, what is taken off, and the part of its mean that it is divided by.
    let each: Vec<[f32; 3]> = input
        .channels
        .iter()
        .flat_map(|channel| match channel {
            Channel::Motion => vec![[QUICK, 0.0, 0.0], [1.0, 0.0, 0.0]],
            Channel::Flow => vec![[1.0, 128.0, 0.0]; 2],
            Channel::Gray | Channel::Rgb => vec![[1.0, 0.0, 1.0 / WHOLE]; channel.planes()],
        })
        .collect();
    let column = |n: usize| each.iter().map(|e| e[n]).collect::<Vec<f32>>();
    graph.floats("weights", &[1, planes, 1, 1], &column(0));
    if input.channels == [Channel::Motion] {
        graph.node("Mul", &["blocks", "weights"], &["weighed"], &[]);
    } else {
        graph.floats("still", &[1, planes, 1, 1], &column(1));
        graph.floats("share", &[1, planes, 1, 1], &column(2));
        // A black picture has no mean to divide by: one level is added to it, and 1 to the others, which are not divided.
        let rest: Vec<f32> = each.iter().map(|e| if e[2] > 0.0 { e[2] } else { 1.0 }).collect();
        graph.floats("rest", &[1, planes, 1, 1], &rest);
        graph.node(
            "ReduceMean",
            &["blocks"],
            &["means"],
            &[("axes", Attribute::Ints(vec![2, 3])), ("keepdims", Attribute::Int(1))],
        );
        graph.node("Mul", &["means", "share"], &["shares"], &[]);
        graph.node("Add", &["shares", "rest"], &["wholes"], &[]);
        graph.node("Sub", &["blocks", "still"], &["about"], &[]);
        graph.node("Mul", &["about", "weights"], &["some"], &[]);
        graph.node("Div", &["some", "wholes"], &["weighed"], &[]);
    }
    graph.node("Flatten", &["weighed"], &["features"], &[("axis", Attribute::Int(1))]);
    graph.file(("frame", &[1, input.planes(), input.height, input.width]), true, ("features", &[1, input.features]))
}

/// Labels of a bundle that knows no classes: what is always said, and what never is.
pub const LABELS: [&str; 2] = ["normal", "never"];

/// A head that always says `normal`, and its golden vectors: a bundle has classes, and this one has nothing to tell apart.
///
/// # Errors
/// None in practice.
pub fn no_classes(draft: &mut Draft, terms: &mut Terms) -> Result<()> {
    let plan = Plan { cell: Cell::Rnn, features: terms.features, hidden: 2, layers: 1, classes: 1, dropout: 0.0 };
    let mut net = Net::new(plan, &mut Rng(1))?;
    net.dense = candle_core::Var::zeros((1, 2), DType::F32, &Device::Cpu)?;
    net.bias = candle_core::Var::zeros(1, DType::F32, &Device::Cpu)?;
    let net = write::rounded_head(&net, None, true)?;
    draft.files.insert(HEAD.into(), write::head(&net, terms.window)?);
    draft.golden_windows(&net, &[Tensor::zeros((terms.window, terms.features), DType::F32, &Device::Cpu)?], terms.window)?;
    terms.labels = LABELS.map(String::from).into();
    terms.background = LABELS[0].into();
    Ok(())
}

/// The draft of a bundle with the grid encoder.
///
/// # Errors
/// None in practice.
pub fn grid_draft(terms: &mut Terms) -> Result<Draft> {
    let mut draft = Draft::default();
    if let Some(input) = &terms.input {
        draft.files.insert(ENCODER.into(), grid(input));
    }
    no_classes(&mut draft, terms)?;
    Ok(draft)
}

/// Rows of a recording.
fn rows(set: &Set, n: usize) -> Result<&[f32]> {
    match &set.sequences[n].ticks.data {
        Data::Numbers(numbers) => Ok(numbers),
        Data::Levels(_) => Err(TrainError::Broke("planes found, rows expected".into())),
    }
}

/// All ordinary stretches of some recordings. `strange`: classes that are not ordinary; ticks of no class are left out as well.
///
/// # Errors
/// Planes instead of rows: a fault of ours.
pub fn ordinary(set: &Set, of: &[usize], strange: &BTreeSet<usize>) -> Result<Vec<Vec<f32>>> {
    let mut stretches = Vec::new();
    for n in of {
        let mut stretch = Vec::new();
        for (row, class) in rows(set, *n)?.chunks_exact(width(set)).zip(&set.sequences[*n].classes) {
            if class.is_some_and(|c| !strange.contains(&c)) {
                stretch.extend_from_slice(row);
            } else if !stretch.is_empty() {
                stretches.push(std::mem::take(&mut stretch));
            }
        }
        stretches.push(stretch);
    }
    stretches.retain(|s| !s.is_empty());
    Ok(stretches)
}

fn width(set: &Set) -> usize {
    set.sequences.first().map_or(0, |s| s.ticks.width)
}

/// What is normal in stretches of rows, with a network trained on them where it is not to be drawn; and the network's file.
///
/// # Errors
/// Too little to learn from.
pub fn learn(
    width: usize,
    stretches: &[Vec<f32>],
    predictor: Predictor,
    bundle: &str,
    terms: &normal::Terms,
) -> Result<(Normal, Option<Vec<u8>>)> {
    let terms = normal::Terms { back: predictor == Predictor::Autoencoder, ..*terms };
    let network = match predictor {
        Predictor::Echo => None,
        Predictor::Gru | Predictor::Autoencoder => {
            let (pieces, inner) = normal::seen(width, stretches, &terms).map_err(TrainError::Refused)?;
            let (file, open) = foresee::fit(&pieces, inner, &terms)?;
            log::info!("network trained: {:.1} % of what varies left open", 100.0 * open);
            Some(file)
        }
    };
    let learnt = normal::learn(bundle, width, stretches, &terms, network.as_deref()).map_err(TrainError::Refused)?;
    Ok((learnt, network))
}

/// What remembers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Predictor {
    /// A GRU drawn from a seed, as on the box: nothing is trained but what stands behind it
    #[default]
    Echo,
    /// A GRU trained to foresee: minutes, and no better than an echo on what it was tried on
    Gru,
    /// An LSTM trained to give back what it saw: minutes, and no better than an echo on what it was tried on
    Autoencoder,
}

/// One way to say how strange a tick is, and how well it does.
#[derive(Clone, Debug)]
pub struct Line {
    /// In words.
    pub what: &'static str,
    /// Area under the curve over all that was judged, and the mean over recordings that show both (over clips: the same).
    pub auc: [f32; 2],
}

/// Judges every recording by what was learnt from the others. Long recordings by tick, clips by their mean over ticks. And how many recordings are not in
/// the figures, because none of their ticks has a score.
///
/// # Errors
/// Too little to learn from, or nothing strange to find.
pub fn judge(
    set: &Set,
    strange: &BTreeSet<usize>,
    folds: usize,
    seed: u64,
    predictor: Predictor,
    terms: &normal::Terms,
) -> Result<(Vec<Line>, usize)> {
    let side = set.folds(folds, seed);
    let words = ["novelty", "motion energy (mean of the numbers)", "distance to the mean", "nearest ordinary ticks"];
    let mut found: Vec<Vec<(usize, f32, bool)>> = vec![vec![]; words.len()];
    let mut left = 0;
    for fold in 0..folds {
        let (learnt, judged): (Vec<usize>, Vec<usize>) = (0..set.sequences.len()).partition(|n| side[*n] != fold);
        let (normal, network) = learn(width(set), &ordinary(set, &learnt, strange)?, predictor, "", terms)?;
        let plain = Plain::of(set, &learnt, strange)?;
        let mut sense = Sense::new(&normal, network.as_deref()).map_err(TrainError::Broke)?;
        for n in judged {
            let s = &set.sequences[n];
            sense.forget();
            let mut held = Held::new(normal.hold);
            let clip = s.whole.is_some();
            let mut sums = [0.0f32; 4];
            let mut ticks = 0.0f32;
            for (row, class) in rows(set, n)?.chunks_exact(s.ticks.width).zip(&s.classes) {
                let score = sense.score(&normal, row);
                let energy = row.iter().sum::<f32>() / row.len() as f32;
                let energy = if clip { energy } else { held.highest(energy) };
                let [mean, near] = plain.distances(row);
                let (Some(score), Some(class)) = (score, class) else { continue };
                let all = [score, energy, mean, near];
                ticks += 1.0;
                if clip {
                    sums.iter_mut().zip(all).for_each(|(sum, v)| *sum += v);
                } else {
                    found.iter_mut().zip(all).for_each(|(to, v)| to.push((n, v, strange.contains(class))));
                }
            }
            left += usize::from(ticks == 0.0);
            if let (Some(class), true) = (s.whole, ticks > 0.0) {
                found.iter_mut().zip(sums).for_each(|(to, v)| to.push((n, v / ticks, strange.contains(&class))));
            }
        }
    }
    let line = |(what, scores): (&'static str, &Vec<(usize, f32, bool)>)| {
        let of = |n: Option<usize>| {
            let wanted = scores.iter().filter(|s| n.is_none_or(|n| s.0 == n));
            auc(&mut wanted.map(|(_, v, s)| (*v, *s)).collect::<Vec<_>>())
        };
        let pooled = of(None).unwrap_or(f32::NAN);
        let each: Vec<f32> = (0..set.sequences.len()).filter_map(|n| of(Some(n))).collect();
        let mean = if each.is_empty() { pooled } else { each.iter().sum::<f32>() / each.len() as f32 };
        Line { what, auc: [pooled, mean] }
    };
    Ok((words.into_iter().zip(&found).map(line).collect(), left))
}

/// The highest of the last ticks.
struct Held {
    ring: Vec<f32>,
    at: usize,
}

impl Held {
    fn new(ticks: usize) -> Self {
        Self { ring: vec![f32::NEG_INFINITY; ticks], at: 0 }
    }

    fn highest(&mut self, v: f32) -> f32 {
        self.ring[self.at] = v;
        self.at = (self.at + 1) % self.ring.len();
        self.ring.iter().copied().fold(f32::NEG_INFINITY, f32::max)
    }
}

/// Baselines: mean and deviation of every number, and ordinary ticks.
struct Plain {
    mean: Vec<f32>,
    deviation: Vec<f32>,
    some: Vec<f32>,
}

impl Plain {
    fn of(set: &Set, learnt: &[usize], strange: &BTreeSet<usize>) -> Result<Self> {
        let width = set.sequences.first().map_or(0, |s| s.ticks.width);
        let mut all = Vec::new();
        for n in learnt {
            for (row, class) in rows(set, *n)?.chunks_exact(width).zip(&set.sequences[*n].classes) {
                // As what is learnt from leaves them out: one number that is none would be the mean of all.
                if class.is_some_and(|c| !strange.contains(&c)) && row.iter().all(|v| v.is_finite()) {
                    all.extend_from_slice(row);
                }
            }
        }
        let ticks = crate::ticks::Ticks { width, data: Data::Numbers(all), size: [0; 2] };
        let (mean, deviation) = crate::ticks::Ticks::spread(std::iter::once(&ticks));
        let least = (0.1 * deviation.iter().sum::<f32>() / width.max(1) as f32).max(1e-6);
        let deviation: Vec<f32> = deviation.iter().map(|d| d.max(least)).collect();
        let Data::Numbers(all) = ticks.data else { return Err(TrainError::Broke("planes found, rows expected".into())) };
        let every = (all.len() / width / NEIGHBOURS.0).max(1);
        let some = all.chunks_exact(width).step_by(every);
        let some = some.flat_map(|row| row.iter().zip(&deviation).map(|(v, d)| v / d)).collect();
        Ok(Self { mean, deviation, some })
    }

    fn distances(&self, row: &[f32]) -> [f32; 2] {
        let off = |((v, m), d): ((&f32, &f32), &f32)| ((v - m) / d).powi(2);
        let mean = row.iter().zip(&self.mean).zip(&self.deviation).map(off).sum::<f32>() / row.len() as f32;
        let scaled: Vec<f32> = row.iter().zip(&self.deviation).map(|(v, d)| v / d).collect();
        let mut best = [f32::INFINITY; NEIGHBOURS.1];
        for other in self.some.chunks_exact(row.len()) {
            let d = other.iter().zip(&scaled).map(|(a, b)| (a - b) * (a - b)).sum::<f32>();
            if d < best[NEIGHBOURS.1 - 1] {
                best[NEIGHBOURS.1 - 1] = d;
                best.sort_unstable_by(f32::total_cmp);
            }
        }
        [mean, best.iter().map(|d| d.sqrt()).sum::<f32>() / NEIGHBOURS.1 as f32]
    }
}
