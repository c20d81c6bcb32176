//! The whole of a training: parts the recordings, trains on each part, judges by the others, and writes what came out as a bundle.
//!
//! Everything that is judged is judged by the device's own int8 encoder and head, from a bundle made for that part; candle's float figures
//! stand beside it. With several folds every recording is judged once by a net that has not seen its group, and the bundle that is written learns
//! from all of them, for as many epochs; with one, it is the net of that fold.

use super::baseline::{self, Look};
use super::fit::{self, Epoch, Model, Settings};
use super::judge::{self, Figures};
use super::list::Side;
use super::net::Net;
use super::set::{Place, Set, window_of};
use super::write::{self, Draft, Terms};
use super::{Result, TrainError, quantise};
use crate::bundle::{Bundle, ENCODER, HEAD};
use crate::decision::Thresholds;
use crate::encoder::{Encoder, Form};
use crate::head::Head;
use crate::qnn::kernels::Isa;
use crate::ticks::Data;
use candle_core::{Device, Tensor};
use ndarray::ArrayD;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Pictures that ranges are taken from.
const CALIBRATION: usize = 400;
/// Steps of a feature that a golden one may be away: a tie rounded the other way in one layer moves the next ones by a step or two.
const STEPS_APART: f32 = 6.0;
/// The class that stands for "none of them".
pub const NONE: &str = "none";

/// What to do.
#[derive(Clone, Debug)]
pub struct Course {
    /// How to train.
    pub settings: Settings,
    /// Models (heads, or heads each with a CNN of its own) that are trained from other beginnings and stand side by side; see [`Model::beside`].
    pub heads: usize,
    /// Parts of which each is judged once; 1: a fifth is judged, the rest is learnt from.
    pub folds: usize,
    /// The contract, without what comes out of training.
    pub terms: Terms,
    /// The bundle whose encoder is kept; `None`: a new one, or rows.
    pub base: Option<Bundle>,
    /// Products a tick of the encoder that needed no training, if `base` is such a one and not a bundle that was there.
    pub gait: Option<usize>,
    /// False alarms that are allowed; see [`judge::threshold`].
    pub false_alarms: f32,
    /// Where checkpoints lie.
    pub cache: PathBuf,
    /// Names the training: another one does not go on from its checkpoints.
    pub key: String,
}

/// What came out.
#[derive(Debug)]
pub struct Outcome {
    /// The bundle's files.
    pub draft: Draft,
    /// Its contract.
    pub terms: Terms,
    /// How good it is.
    pub found: Found,
    /// The part, from 1, in which each recording of the set was judged; 0: in none.
    pub parts: Vec<usize>,
    /// Baselines over the same.
    pub baselines: Vec<(Look, Figures)>,
    /// Epochs of every training.
    pub histories: Vec<Vec<Epoch>>,
}

/// Figures over everything that was judged, under the temperature and threshold that go into the contract.
#[derive(Debug)]
pub struct Found {
    /// As the device answers.
    pub device: Figures,
    /// As candle answers in float.
    pub float: Figures,
    /// Events of every class as the device calls them.
    pub events: Vec<judge::Events>,
    /// How the threshold was chosen; `None`, and the default stays, where no background was judged.
    pub choice: Option<judge::Choice>,
    /// Of every class the most that could be found at one and at two false alarms in ten minutes, by any threshold of its own and with no other
    /// class called.
    pub reach: Vec<[u32; 2]>,
}

/// Recordings and the logits of all their ticks.
type Answers = Vec<(usize, Vec<f32>)>;

/// Who hears how it goes: which training of how many, and its epoch.
pub type Tell<'a> = &'a mut dyn FnMut(usize, usize, &Epoch);

impl Course {
    /// Is it rows that are learnt from, without any encoder?
    pub fn reads_rows(&self) -> bool {
        self.base.is_none() && self.settings.encoder.is_none()
    }

    /// Trains, judges and writes.
    ///
    /// # Errors
    /// Recordings that cannot be parted, or a checkpoint that cannot be written.
    pub fn run(&self, set: &Set, tell: Tell<'_>) -> Result<Outcome> {
        let parts = self.parts(set)?;
        for (learn, _) in &parts {
            // Of long recordings the background may be in one alone: it is what all the rest is told from.
            let missing = unlearnt(set, learn);
            let spared = |class: &&usize| set.stretches && Some(**class) == set.background;
            if let Some(class) = missing.iter().find(|class| !spared(class)) {
                let label = &set.labels[*class];
                return Err(TrainError::Refused(if set.is_split() {
                    format!("--split: nothing of class {label} is on the side that is learnt from")
                } else {
                    let groups = shows(set, *class).len();
                    format!(
                        "class {label}: all of it ({groups} groups) falls on one side that is judged, so nothing of it would be learnt; \
                         another --seed or --folds parts them otherwise, more groups of it help for good"
                    )
                }));
            }
        }
        let trainings = (parts.len() + usize::from(parts.len() > 1)) * self.heads;
        let mut histories = Vec::new();
        let (mut float, mut judged) = (Vec::new(), Vec::new());
        let mut baselines = vec![(Look::Frame, Figures::default()), (Look::Mean, Figures::default())];
        let mut kept: Option<(Draft, Terms)> = None;
        let mut part_of = vec![0; set.sequences.len()];
        // Each part is judged once, by a net whose last epoch was not chosen by it; with one part it is, and the summary says so.
        let several = parts.len() > 1;
        let settings = Settings { patience: if several { 0 } else { self.settings.patience }, ..self.settings.clone() };
        for (n, (learn, judge)) in parts.iter().enumerate() {
            let mut heard = |head: usize, e: &Epoch| tell(n * self.heads + head + 1, trainings, e);
            let model = self.fit(set, &settings, (learn, judge), &n.to_string(), &mut histories, &mut heard)?;
            for (look, figures) in &mut baselines {
                figures.add(&baseline::figures(set, *look, learn, judge)?);
            }
            let (draft, terms) = self.draft(set, &model, learn)?;
            let bundle = draft.open(&terms)?;
            float.extend(judge.iter().copied().zip(model.judge(set, judge)?));
            judged.extend(judge.iter().copied().zip(device(set, judge, &bundle)?));
            judge.iter().for_each(|recording| part_of[*recording] = n + 1);
            kept = Some((draft, terms));
        }
        if several {
            let all: Vec<usize> = (0..set.sequences.len()).collect();
            let mut heard = |head: usize, e: &Epoch| tell(parts.len() * self.heads + head + 1, trainings, e);
            let model = self.fit(set, &settings, (&all, &[]), "all", &mut histories, &mut heard)?;
            let (draft, terms) = self.draft(set, &model, &all)?;
            kept = Some((draft, terms));
        }
        let (draft, mut terms) = kept.ok_or_else(|| TrainError::Refused("nothing to train on".into()))?;
        let found = self.found(set, float, judged, &mut terms);
        Ok(Outcome { draft, terms, found, parts: part_of, baselines, histories })
    }

    /// One model: several, trained one after the other, become one.
    fn fit(
        &self,
        set: &Set,
        settings: &Settings,
        sides: (&[usize], &[usize]),
        part: &str,
        histories: &mut Vec<Vec<Epoch>>,
        heard: &mut dyn FnMut(usize, &Epoch),
    ) -> Result<Model> {
        let mut models = Vec::new();
        for head in 0..self.heads {
            let file = self.cache.join(match head {
                0 => format!("{}-{part}.training", self.key),
                _ => format!("{}-{part}-{head}.training", self.key),
            });
            // Far from what --seed counts, so that two seeds share no model.
            let settings = Settings { seed: settings.seed ^ ((head as u64) << 32), ..settings.clone() };
            let fitted = fit::fit(set, &settings, sides, Some(&file), &mut |e| heard(head, e))?;
            // Of several the curve of one says enough.
            if head == 0 {
                histories.push(fitted.history);
            }
            models.push(fitted.model);
        }
        if models.len() > 1 {
            return Model::beside(models);
        }
        models.pop().ok_or_else(|| TrainError::Refused("no head to train".into()))
    }

    /// Learning and judging sides.
    fn parts(&self, set: &Set) -> Result<Vec<(Vec<usize>, Vec<usize>)>> {
        let all = 0..set.sequences.len();
        if set.is_split() {
            let groups = |side| set.sequences.iter().filter(move |s| s.side == Some(side)).map(|s| s.group.as_str());
            let learnt: BTreeSet<&str> = groups(Side::Train).collect();
            if let Some(group) = groups(Side::Judge).find(|g| learnt.contains(g)) {
                return Err(TrainError::Refused(format!("--split: group {group} is in both of its lists")));
            }
            let of = |side| all.clone().filter(|n| set.sequences[*n].side == Some(side)).collect();
            return Ok(vec![(of(Side::Train), of(Side::Judge))]);
        }
        let groups: BTreeSet<&str> = set.sequences.iter().map(|s| s.group.as_str()).collect();
        if groups.len() < self.folds.max(2) {
            let why = format!("{} groups of recordings found, at least {} needed to part them", groups.len(), self.folds.max(2));
            return Err(TrainError::Refused(why));
        }
        // One in five is judged where only one part is asked for.
        let k = if self.folds > 1 { self.folds } else { 5.min(groups.len()) };
        let of = set.folds(k, self.settings.seed);
        let part = |fold: usize| all.clone().partition::<Vec<usize>, _>(|n| of[*n] != fold);
        if self.folds > 1 {
            return Ok((0..k).map(part).collect());
        }
        // One without which every class is still learnt; of those the one that shows most classes; of those the one that is nearest to a fifth of it
        // all, since a group may be larger than that.
        let whole: usize = set.sequences.iter().map(|s| s.ticks.len()).sum();
        let rank = |fold: &usize| {
            let inside = || set.sequences.iter().zip(&of).filter(|(_, of)| *of == fold).map(|(s, _)| s);
            let shown: BTreeSet<usize> = inside().flat_map(|s| s.classes.iter().flatten().copied()).collect();
            let ticks: usize = inside().map(|s| s.ticks.len()).sum();
            (unlearnt(set, &part(*fold).0).len(), std::cmp::Reverse(shown.len()), (k * ticks).abs_diff(whole))
        };
        Ok(vec![part((0..k).min_by_key(rank).unwrap_or(0))])
    }

    /// A bundle of this model, without temperature and thresholds yet. `learn`: what may be looked at for ranges and golden vectors.
    fn draft(&self, set: &Set, model: &Model, learn: &[usize]) -> Result<(Draft, Terms)> {
        let mut draft = Draft::default();
        let mut terms = self.terms.clone();
        let none = set.background.is_none();
        if none {
            terms.labels.push(NONE.into());
            terms.background = NONE.into();
        }
        let mut rows = Vec::new();
        if model.encoder.is_empty() {
            if let Some(base) = &self.base {
                draft.files = write::kept_encoder(base);
                let golden = base.contract.golden.as_ref();
                (terms.features_tolerance, terms.map_tolerance) =
                    golden.map_or((0.0, 0.0), |g| (g.features_tolerance, g.map_tolerance));
            }
        } else {
            let places = spread(set, learn, CALIBRATION);
            let (file, step) = quantise::encoder(&model.encoder, &set.ticks(&places)?)?;
            terms.features = model.net.plan.features;
            draft.files.insert(ENCODER.into(), file);
            terms.features_tolerance = STEPS_APART * step;
            self.golden_frames(set, &places, &mut draft, &mut terms)?;
        }
        let scale = Some(&set.scale).filter(|_| model.encoder.is_empty());
        let net = write::rounded_head(&model.net, scale, none)?;
        draft.files.insert(HEAD.into(), write::head(&net, set.window)?);
        // Golden windows from four recordings, spread over the set.
        for n in learn.iter().step_by((learn.len() / 4).max(1)).take(4) {
            rows.push(if model.encoder.is_empty() { raw(set, *n)? } else { model.features(set, *n)? });
        }
        draft.golden_windows(&net, &rows, set.window)?;
        Ok((draft, terms))
    }

    /// Golden frames of a new encoder: its features by stock tract in float.
    fn golden_frames(&self, set: &Set, places: &[Place], draft: &mut Draft, terms: &mut Terms) -> Result<()> {
        let Some((input, _)) = &set.planes else { return Ok(()) };
        let broke = |e: &dyn std::fmt::Display| TrainError::Broke(e.to_string());
        // A bundle of the encoder and some head, to run it.
        let mut trial = Draft { files: draft.files.clone() };
        let plan = super::net::Plan { classes: terms.labels.len(), features: terms.features, ..self.settings.head };
        let net = Net::new(plan, &mut crate::rng::Rng(1))?;
        trial.files.insert(HEAD.into(), write::head(&net, set.window)?);
        trial.golden_windows(
            &net,
            &[Tensor::zeros((set.window, plan.features), candle_core::DType::F32, &Device::Cpu)?],
            set.window,
        )?;
        let bundle = trial.open(terms)?;
        let mut encoder = Encoder::load(&bundle, Form::Reference).map_err(|e| broke(&e))?;
        let (mut frames, mut features) = (Vec::new(), Vec::new());
        let some: Vec<_> = places.iter().step_by((places.len() / 8).max(1)).take(8).collect();
        for (n, t, _) in &some {
            let s = &set.sequences[*n];
            let Data::Levels(levels) = &s.ticks.data else { continue };
            let tick = &levels[t * s.ticks.width..][..s.ticks.width];
            frames.extend_from_slice(tick);
            features.extend_from_slice(encoder.run(tick).map_err(|e| broke(&e))?);
        }
        let shape = [some.len(), input.planes(), input.height, input.width];
        draft.array("golden_frames.npy", &ArrayD::from_shape_vec(&shape[..], frames).map_err(|e| broke(&e))?)?;
        draft.array(
            "golden_features.npy",
            &ArrayD::from_shape_vec(&[some.len(), terms.features][..], features).map_err(|e| broke(&e))?,
        )
    }

    /// Temperature and thresholds, and all figures under them.
    fn found(&self, set: &Set, float: Answers, judged: Answers, terms: &mut Terms) -> Found {
        let (of, logits): (Vec<usize>, Vec<Vec<f32>>) = judged.into_iter().unzip();
        terms.temperature = judge::temperature(set, &of, &logits);
        let min = Duration::from_millis(terms.min_ms.into());
        let choose = |_| judge::threshold(set, &of, &logits, terms.temperature, terms.tick_ms, min, self.false_alarms);
        let choice = set.background.and_then(choose);
        if let Some(choice) = choice {
            terms.enter = (choice.enter * 100.0).round() / 100.0;
        }
        let at = |enter: f32, only: Option<usize>| {
            let thresholds = Thresholds { enter, leave: judge::leave(enter), min };
            judge::events(set, &of, &logits, terms.temperature, terms.tick_ms, thresholds, only)
        };
        let events = at(terms.enter, None);
        let mut reach = vec![[0; 2]; set.labels.len()];
        if set.stretches {
            for (class, best) in reach.iter_mut().enumerate() {
                for e in (1..40).map(|step| at(step as f32 * 0.025, Some(class))[class]) {
                    for (best, allowed) in best.iter_mut().zip([1.0, 2.0]) {
                        if e.in_ten_minutes() <= allowed {
                            *best = (*best).max(e.found);
                        }
                    }
                }
            }
        }
        let device = Figures::of(set, &of, &logits, terms.temperature);
        let (float_of, float_logits): (Vec<usize>, Vec<Vec<f32>>) = float.into_iter().unzip();
        let float = Figures::of(set, &float_of, &float_logits, terms.temperature);
        Found { device, float, events, choice, reach }
    }
}

/// Groups that show a class at any tick.
fn shows(set: &Set, class: usize) -> BTreeSet<&str> {
    set.sequences.iter().filter(|s| s.classes.contains(&Some(class))).map(|s| s.group.as_str()).collect()
}

/// Classes of which these recordings show not one tick.
fn unlearnt(set: &Set, learn: &[usize]) -> Vec<usize> {
    let shown: BTreeSet<usize> = learn.iter().flat_map(|n| set.sequences[*n].classes.iter().flatten().copied()).collect();
    (0..set.labels.len()).filter(|class| !shown.contains(class)).collect()
}

/// `count` ticks spread evenly over recordings.
fn spread(set: &Set, of: &[usize], count: usize) -> Vec<Place> {
    let all: usize = of.iter().map(|n| set.sequences[*n].ticks.len()).sum();
    let ticks = of.iter().flat_map(|n| (0..set.sequences[*n].ticks.len()).map(move |t| (*n, t, 0)));
    ticks.step_by((all / count).max(1)).take(count).collect()
}

/// Rows of a recording as the device has them, without scaling.
fn raw(set: &Set, n: usize) -> Result<Tensor> {
    let s = &set.sequences[n];
    match &s.ticks.data {
        Data::Numbers(numbers) => Ok(Tensor::from_slice(numbers, (s.ticks.len(), s.ticks.width), &Device::Cpu)?),
        Data::Levels(_) => Err(TrainError::Broke("planes found, rows expected".into())),
    }
}

/// What the device says at every tick: its own encoder on planes (features are the device's already), its own head on every window.
fn device(set: &Set, of: &[usize], bundle: &Bundle) -> Result<Vec<Vec<f32>>> {
    let broke = |e: &dyn std::fmt::Display| TrainError::Broke(e.to_string());
    let mut head = Head::load_with(bundle, crate::head::Arithmetic::Quickest, Isa::best()).map_err(|e| broke(&e))?;
    let mut encoder = set.planes.as_ref().map(|_| Encoder::load(bundle, Form::AsBuilt)).transpose().map_err(|e| broke(&e))?;
    let (features, classes) = (bundle.features(), set.labels.len());
    let mut all = Vec::with_capacity(of.len());
    for n in of {
        let s = &set.sequences[*n];
        let rows: Vec<f32> = match (&s.ticks.data, &mut encoder) {
            (Data::Levels(levels), Some(encoder)) => {
                let mut rows = Vec::with_capacity(s.ticks.len() * features);
                for tick in levels.chunks_exact(s.ticks.width) {
                    rows.extend_from_slice(encoder.run(tick).map_err(|e| broke(&e))?);
                }
                rows
            }
            (Data::Numbers(numbers), _) => numbers.clone(),
            (Data::Levels(_), None) => return Err(TrainError::Broke("planes found, rows expected".into())),
        };
        let mut logits = Vec::with_capacity(s.ticks.len() * classes);
        let mut window = Vec::with_capacity(set.window * features);
        for end in 0..s.ticks.len() {
            window.clear();
            for t in window_of(end, set.window) {
                window.extend_from_slice(&rows[t * features..][..features]);
            }
            logits.extend_from_slice(&head.run_window(&window).map_err(|e| broke(&e))?[..classes]);
        }
        all.push(logits);
    }
    Ok(all)
}

/// Where a training's files lie, beside the bundle.
pub fn cache_beside(out: &Path) -> PathBuf {
    let mut name = out.file_name().map_or_else(Default::default, std::ffi::OsStr::to_os_string);
    name.push(".cache");
    out.with_file_name(name)
}
