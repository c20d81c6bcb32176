//! What is normal here, as far as it was seen: learnt without labels from rows of numbers, and held against every new row.
//!
//! Three questions are asked of a tick, and a fourth where it was asked for, because each alone misses something (a fallen person is the stillest thing in the room, and easy to predict):
//!
//! 1. **Was it foreseen?** A recurrent layer ([`Echo`]) remembers the last seconds; a linear layer behind it says what the numbers will be
//!    `horizon` ticks later. How far they are from that, by a [`Loss`] with a name.
//! 2. **Have I seen this?** Distance from the nearest of [`PLACES`] typical rows.
//! 3. **Have I been in this situation?** The same distance for what the recurrent layer remembers, so that order and duration count.
//!
//! 4. **Has any one number stayed there so long?** What distances over a whole row drown (`stay.rs`). For one place that was looked at for long; over
//!    recordings of many days and places everything has been everywhere, and the answer only disturbs. It counts as much as the others together.
//!
//! Each answer is the logarithm of a distance, in deviations of ordinary footage that was not learnt from; a tick's score is their mean, each at its
//! highest of the last `hold` ticks: what is strange stays strange for a while.
//!
//! Learning is linear algebra: one pass for mean and scale, one for the ridge regression, k-means for what is typical. One answer, no learning rate,
//! seconds on a box. Everything lies in one JSON file, 300 kB with 64 features.

use super::algebra::{nearest, places, solve, spread};
use super::promise::Blocks;
use super::stay::{Learner, Limits, Stay};
use crate::head::echo::Echo;
use crate::rng::Rng;
use serde::{Deserialize, Serialize};

/// Typical rows and typical situations that are kept.
pub const PLACES: usize = 64;
/// Rows of more numbers than this are looked at through so many random sums of them, which keeps distances (Johnson and Lindenstrauss) and kilobytes.
const WIDEST: usize = 96;
/// Rows that k-means looks at, at most: enough for 64 places.
const SAMPLE: usize = 8192;
/// Stretches are cut to this many seconds, and every third piece is kept for judging what was learnt from the others.
const PIECE_S: u32 = 60;
/// Below this a squared distance is no distance: keeps the logarithm of a perfect repetition finite.
const LEAST: f32 = 1e-6;
/// Of the covariance's average that is mixed into a Mahalanobis distance, so that it can be inverted and noise is not a direction.
const SHRINK: f64 = 0.1;
/// A sensor gone mad is strange enough at so many deviations.
const FARTHEST: f32 = 100.0;
/// Questions.
const PARTS: usize = 4;
/// Ticks to learn from, at least: a minute at 10 Hz, less would be learnt by heart.
const FEWEST: usize = 200;

/// How far a row is from what was foreseen.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Loss {
    /// Mean squared difference.
    #[default]
    Squared,
    /// One minus the cosine: direction counts, size does not.
    Cosine,
    /// Squared difference in deviations of the usual error, correlations taken out (covariance shrunk by a tenth).
    Mahalanobis,
}

/// How to learn.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Milliseconds a tick.
    pub tick_ms: u32,
    /// How far ahead is foreseen, ms.
    pub horizon_ms: u32,
    /// How long what is strange stays so, ms.
    pub hold_ms: u32,
    /// Hidden numbers of the recurrent layer.
    pub hidden: usize,
    /// Of everything drawn at random.
    pub seed: u64,
    /// How errors are measured.
    pub loss: Loss,
    /// Numbers of a row that are of one kind (features of an encoder): they share one scale; the ones behind have each its own.
    pub alike: usize,
    /// Ticks a block, for the blocks of the judged pieces.
    pub block: u32,
    /// Is the fourth question asked?
    pub each: bool,
}

impl Terms {
    /// What serves most: a second ahead, held for eight, 64 numbers of memory.
    pub fn new(tick_ms: u32, alike: usize) -> Self {
        let (horizon_ms, hold_ms, block) = (1000, 8000, (60_000 / tick_ms).max(1));
        Self { tick_ms, horizon_ms, hold_ms, hidden: 64, seed: 1, loss: Loss::default(), alike, block, each: false }
    }
}

/// See the module's documentation.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Normal {
    /// Hash of the bundle whose features these are, hex.
    pub bundle: String,
    /// Numbers of a row.
    pub features: usize,
    /// Milliseconds a tick.
    pub tick_ms: u32,
    /// Ticks ahead.
    pub horizon: usize,
    /// Ticks that a part stays at its highest.
    pub hold: usize,
    /// Hidden numbers of the recurrent layer.
    pub hidden: usize,
    /// It is drawn from this.
    pub seed: u64,
    /// How errors are measured.
    pub loss: Loss,
    /// Ticks that were learnt from.
    pub learnt: usize,
    mean: Vec<f32>,
    scale: Vec<f32>,
    /// `[hidden + inner + 1][inner]`: what is remembered, what is seen, and 1, to what will be.
    readout: Vec<f32>,
    /// `[inner][inner]`, inverse covariance of errors; only for [`Loss::Mahalanobis`].
    inverse: Vec<f32>,
    /// `[PLACES][inner]`.
    rows: Vec<f32>,
    /// `[PLACES][hidden]`.
    states: Vec<f32>,
    /// Where single numbers stay; empty where that is not asked.
    #[serde(default, skip_serializing_if = "Limits::is_empty")]
    limits: Limits,
    /// Mean and deviation of the logarithms over ordinary footage; [`PARTS`] of them, or without limits one fewer.
    parts: Vec<[f32; 2]>,
    /// Blocks of the judged pieces.
    pub blocks: Blocks,
}

/// Learns what is normal from stretches of rows, each `[ticks][features]`; ticks of one stretch follow each other.
///
/// # Errors
/// One sentence where there is too little.
pub fn learn(bundle: &str, features: usize, stretches: &[Vec<f32>], terms: &Terms) -> Result<Normal, String> {
    let piece = (PIECE_S * 1000 / terms.tick_ms).max(1) as usize * features;
    let pieces: Vec<&[f32]> =
        stretches.iter().flat_map(|s| s.chunks(piece)).filter(|p| p.iter().all(|v| v.is_finite())).collect();
    let ticks = pieces.iter().map(|p| p.len() / features).sum::<usize>();
    if ticks < FEWEST || pieces.len() < 3 {
        let what = format!("{ticks} ticks in {} stretches of at most {PIECE_S} s to learn from", pieces.len());
        return Err(format!("{what}, at least {FEWEST} in 3 expected"));
    }
    let (judged, learnt): (Vec<_>, Vec<_>) = pieces.iter().enumerate().partition(|(n, _)| n % 3 == 2);
    let [judged, learnt] = [judged, learnt].map(|side| side.into_iter().map(|(_, p)| *p).collect::<Vec<&[f32]>>());
    let (mean, scale) = spread(&learnt, features, terms.alike);
    let (horizon, hold) = ((terms.horizon_ms / terms.tick_ms).max(1), (terms.hold_ms / terms.tick_ms).max(1));
    let inner = inner(features);
    let mut normal = Normal {
        bundle: bundle.into(),
        features,
        tick_ms: terms.tick_ms,
        horizon: horizon as usize,
        hold: hold as usize,
        hidden: terms.hidden,
        seed: terms.seed,
        loss: terms.loss,
        learnt: ticks,
        mean,
        scale,
        readout: vec![0.0; (terms.hidden + inner + 1) * inner],
        inverse: vec![],
        rows: vec![0.0; PLACES * inner],
        states: vec![0.0; PLACES * terms.hidden],
        limits: Limits::default(),
        parts: vec![[0.0, 1.0]; PARTS],
        blocks: Blocks::default(),
    };
    normal.regress(&learnt, terms.each)?;
    normal.measure(&judged, terms.block)?;
    Ok(normal)
}

/// Numbers of a row as they are looked at.
fn inner(features: usize) -> usize {
    features.min(WIDEST)
}

impl Normal {
    /// Questions that are asked.
    fn asked(&self) -> usize {
        PARTS - usize::from(self.limits.is_empty())
    }

    /// The regression, what is typical, and the covariance of errors.
    fn regress(&mut self, learnt: &[&[f32]], each: bool) -> Result<(), String> {
        let (inner, hidden, horizon) = (inner(self.features), self.hidden, self.horizon);
        let wide = hidden + inner + 1;
        let (mut square, mut cross) = (vec![0.0f64; wide * wide], vec![0.0f64; wide * inner]);
        let every = (learnt.iter().map(|p| p.len() / self.features).sum::<usize>() / SAMPLE).max(1);
        let (mut rows, mut states) = (vec![], vec![]);
        let mut sense = Sense::new(self)?;
        let some: Vec<f32> = {
            let rows: Vec<&[f32]> = learnt.iter().flat_map(|p| p.chunks_exact(self.features)).step_by(every).collect();
            let deviations = |(k, v): (usize, &f32)| ((v - self.mean[k]) / self.scale[k]).clamp(-FARTHEST, FARTHEST);
            rows.iter().flat_map(|row| row.iter().enumerate().map(deviations)).collect()
        };
        let mut learner = Learner::new(self.features, some.chunks_exact(self.features));
        let mut n = 0usize;
        for piece in learnt {
            sense.forget();
            learner.forget();
            let mut traces: Vec<Vec<f32>> = vec![];
            for row in piece.chunks_exact(self.features) {
                sense.look(self, row);
                learner.look(&sense.scaled);
                if n.is_multiple_of(every) {
                    rows.extend_from_slice(&sense.trace[hidden..hidden + inner]);
                    states.extend_from_slice(&sense.trace[..hidden]);
                }
                n += 1;
                if traces.len() >= horizon {
                    let (then, now) = (&traces[traces.len() - horizon], &sense.trace[hidden..hidden + inner]);
                    for (i, a) in then.iter().enumerate() {
                        let a = f64::from(*a);
                        let to = &mut square[i * wide..][..wide];
                        to.iter_mut().zip(then).for_each(|(to, b)| *to += a * f64::from(*b));
                        let to = &mut cross[i * inner..][..inner];
                        to.iter_mut().zip(now).for_each(|(to, b)| *to += a * f64::from(*b));
                    }
                }
                traces.push(sense.trace.to_vec());
            }
        }
        // Ridge: as if a ten thousandth of what was seen had said nothing.
        (0..wide).for_each(|i| square[i * wide + i] += 1.0 + 1e-4 * n as f64);
        self.readout = solve(&mut square, wide, &cross, inner)?.iter().map(|v| *v as f32).collect();
        let mut draw = Rng(self.seed ^ 0x5eed);
        self.rows = places(&rows, inner, &mut draw);
        self.states = places(&states, hidden, &mut draw);
        if each {
            self.limits = learner.limits();
        }
        if self.loss == Loss::Mahalanobis {
            self.inverse = self.covariance(learnt)?;
        }
        Ok(())
    }

    /// Inverse of the shrunk covariance of errors.
    fn covariance(&self, learnt: &[&[f32]]) -> Result<Vec<f32>, String> {
        let inner = inner(self.features);
        let mut sense = Sense::new(self)?;
        let (mut sum, mut n) = (vec![0.0f64; inner * inner], 0.0f64);
        for piece in learnt {
            sense.forget();
            for row in piece.chunks_exact(self.features) {
                sense.look(self, row);
                if sense.foresee(self) {
                    n += 1.0;
                    for (i, a) in sense.error.iter().enumerate() {
                        let to = &mut sum[i * inner..][..inner];
                        to.iter_mut().zip(&sense.error).for_each(|(to, b)| *to += f64::from(*a) * f64::from(*b));
                    }
                }
            }
        }
        let n = n.max(1.0);
        let average = (0..inner).map(|i| sum[i * inner + i] / n).sum::<f64>() / inner as f64;
        sum.iter_mut().for_each(|v| *v *= (1.0 - SHRINK) / n);
        (0..inner).for_each(|i| sum[i * inner + i] += SHRINK * average + 1e-9);
        let one: Vec<f64> = (0..inner * inner).map(|i| f64::from(i % inner == i / inner)).collect();
        Ok(solve(&mut sum, inner, &one, inner)?.iter().map(|v| *v as f32).collect())
    }

    /// What the answers usually are, and the blocks of what was not learnt from.
    fn measure(&mut self, judged: &[&[f32]], block: u32) -> Result<(), String> {
        let mut sense = Sense::new(self)?;
        let (mut sums, mut n) = ([[0.0f64; 2]; PARTS], 0.0f64);
        for piece in judged {
            sense.forget();
            for row in piece.chunks_exact(self.features) {
                let Some(parts) = sense.parts(self, row) else { continue };
                n += 1.0;
                for (sum, part) in sums.iter_mut().zip(parts) {
                    *sum = [sum[0] + f64::from(part), sum[1] + f64::from(part).powi(2)];
                }
            }
        }
        if n < 1.0 {
            return Err(format!("every stretch is shorter than the {} ticks that are foreseen", self.horizon));
        }
        let spread = |[sum, square]: [f64; 2]| {
            let mean = sum / n;
            [mean as f32, (square / n - mean * mean).max(1e-4).sqrt() as f32]
        };
        self.parts = sums.into_iter().take(self.asked()).map(spread).collect();
        let (mut best, mut left) = (f32::NEG_INFINITY, block);
        for piece in judged {
            sense.forget();
            for row in piece.chunks_exact(self.features) {
                best = sense.score(self, row).map_or(best, |s| best.max(s));
                left -= 1;
                if left == 0 {
                    self.blocks.best.extend(Some(best).filter(|b| b.is_finite()));
                    (best, left) = (f32::NEG_INFINITY, block);
                }
            }
        }
        Ok(())
    }

    /// Holds a file that was read against itself and the bundle it is for.
    ///
    /// # Errors
    /// One sentence: what, found, expected.
    pub fn check(&self, bundle: &str, features: usize, tick_ms: u32) -> Result<(), String> {
        if self.bundle != bundle {
            let short = |hash: &str| hash.get(..8).unwrap_or(hash).to_string();
            return Err(format!("learnt with bundle {}, {} runs", short(&self.bundle), short(bundle)));
        }
        self.fits(features, tick_ms)
    }

    /// As [`Normal::check`], whatever bundle it was learnt with.
    ///
    /// # Errors
    /// As there.
    pub fn fits(&self, features: usize, tick_ms: u32) -> Result<(), String> {
        let (inner, f) = (inner(self.features), self.features);
        for (what, found, expected) in [
            ("numbers a row", f, features),
            ("ms a tick", self.tick_ms as usize, tick_ms as usize),
            ("means", self.mean.len(), f),
            ("scales", self.scale.len(), f),
            ("numbers of the readout", self.readout.len(), (self.hidden + inner + 1) * inner),
            ("numbers of the inverse", self.inverse.len(), if self.loss == Loss::Mahalanobis { inner * inner } else { 0 }),
            ("numbers of typical rows", self.rows.len(), PLACES * inner),
            ("numbers of typical states", self.states.len(), PLACES * self.hidden),
            ("answers", self.parts.len(), self.asked()),
        ] {
            if found != expected {
                return Err(format!("{found} {what}, expected {expected}"));
            }
        }
        for (what, found, high) in [("hidden", self.hidden, 1024), ("horizon", self.horizon, 6000), ("hold", self.hold, 6000)] {
            if !(1..=high).contains(&found) {
                return Err(format!("{what} = {found}, expected 1 to {high}"));
            }
        }
        let numbers = [&self.mean, &self.readout, &self.inverse, &self.rows, &self.states].into_iter().flatten();
        let good =
            numbers.chain(self.parts.as_flattened()).all(|v| v.is_finite()) && (self.limits.is_empty() || self.limits.fits(f));
        if !good || !self.scale.iter().chain(self.parts.iter().map(|p| &p[1])).all(|v| v.is_normal() && *v > 0.0) {
            return Err("numbers that are not finite, or scales that are not above 0".into());
        }
        Ok(())
    }
}

/// What goes on from tick to tick. Nothing is allocated after it was made.
#[derive(Clone, Debug)]
pub struct Sense {
    echo: Echo,
    /// Signs of the random sums, for rows that are too wide.
    signs: Box<[f32]>,
    scaled: Box<[f32]>,
    /// What is remembered, what is seen, 1.
    trace: Box<[f32]>,
    /// What was foreseen, `[horizon][inner]`, and the place of the oldest.
    foreseen: Box<[f32]>,
    at: usize,
    ticks: usize,
    error: Box<[f32]>,
    stay: Stay,
    held: Box<[[f32; PARTS]]>,
    scored: usize,
}

impl Sense {
    /// For a normal that fits itself.
    ///
    /// # Errors
    /// None in practice.
    pub fn new(normal: &Normal) -> Result<Self, String> {
        let inner = inner(normal.features);
        let echo = Echo::new(inner, normal.hidden, normal.seed).ok_or("no recurrent layer of this size")?;
        let mut draw = Rng(normal.seed ^ 0x51675);
        let sums = if normal.features > inner { normal.features * inner } else { 0 };
        let reach = 1.0 / (inner as f32).sqrt();
        let mut trace = vec![0.0; normal.hidden + inner + 1];
        trace[normal.hidden + inner] = 1.0;
        Ok(Self {
            echo,
            signs: (0..sums).map(|_| reach.copysign(draw.within(-1.0, 1.0))).collect(),
            scaled: vec![0.0; normal.features].into(),
            trace: trace.into(),
            foreseen: vec![0.0; normal.horizon * inner].into(),
            at: 0,
            ticks: 0,
            error: vec![0.0; inner].into(),
            stay: Stay::new(normal.features),
            held: vec![[f32::NEG_INFINITY; PARTS]; normal.hold].into(),
            scored: 0,
        })
    }

    /// After a gap: nothing is remembered and nothing is held.
    pub fn forget(&mut self) {
        self.echo.forget();
        self.stay.forget();
        (self.at, self.ticks, self.scored) = (0, 0, 0);
        self.held.fill([f32::NEG_INFINITY; PARTS]);
    }

    /// A tick's score: deviations from what is usual. `None` until something was foreseen, and at numbers that are not finite.
    pub fn score(&mut self, normal: &Normal, row: &[f32]) -> Option<f32> {
        let parts = self.parts(normal, row)?;
        let hold = self.held.len();
        let slot = &mut self.held[self.scored % hold];
        let deviations = parts.iter().zip(&normal.parts).map(|(part, [mean, deviation])| (part - mean) / deviation);
        slot.iter_mut().zip(deviations).for_each(|(to, part)| *to = part);
        self.scored += 1;
        let highest = self.held.iter().fold([f32::NEG_INFINITY; PARTS], |h, held| std::array::from_fn(|p| h[p].max(held[p])));
        let [others @ .., beyond] = highest;
        let others = others.iter().sum::<f32>() / (PARTS - 1) as f32;
        Some(if normal.limits.is_empty() { others } else { (others + beyond) / 2.0 })
    }

    /// The logarithms of a tick.
    fn parts(&mut self, normal: &Normal, row: &[f32]) -> Option<[f32; PARTS]> {
        if !row.iter().all(|v| v.is_finite()) || row.len() != self.scaled.len() {
            self.forget();
            return None;
        }
        self.look(normal, row);
        let (hidden, inner) = (normal.hidden, self.error.len());
        let beyond = if normal.limits.is_empty() { 0.0 } else { self.stay.beyond(&normal.limits, &self.scaled) };
        if !self.foresee(normal) {
            return None;
        }
        let (state, seen) = (&self.trace[..hidden], &self.trace[hidden..hidden + inner]);
        let off = self.off(normal);
        let strange = nearest(&normal.rows, seen).1 / inner as f32;
        let unknown = nearest(&normal.states, state).1 / hidden as f32;
        let [off, strange, unknown] = [off, strange, unknown].map(|d| (d + LEAST).ln());
        Some([off, strange, unknown, beyond])
    }

    /// Takes a row in: scaled, and remembered.
    fn look(&mut self, normal: &Normal, row: &[f32]) {
        let (hidden, inner) = (normal.hidden, self.error.len());
        for ((to, v), (m, s)) in self.scaled.iter_mut().zip(row).zip(normal.mean.iter().zip(&normal.scale)) {
            *to = ((v - m) / s).clamp(-FARTHEST, FARTHEST);
        }
        let seen = &mut self.trace[hidden..hidden + inner];
        if self.signs.is_empty() {
            seen.copy_from_slice(&self.scaled);
        } else {
            for (to, signs) in seen.iter_mut().zip(self.signs.chunks_exact(self.scaled.len())) {
                *to = signs.iter().zip(&self.scaled).map(|(s, v)| s * v).sum();
            }
        }
        let state = self.echo.step(&self.trace[hidden..hidden + inner]);
        self.trace[..hidden].copy_from_slice(state);
    }

    /// What was foreseen for now against what is, into `error`; and what is foreseen from now. False while nothing was.
    fn foresee(&mut self, normal: &Normal) -> bool {
        let (hidden, inner) = (normal.hidden, self.error.len());
        let slot = &mut self.foreseen[self.at * inner..][..inner];
        self.error.copy_from_slice(&self.trace[hidden..hidden + inner]);
        self.error.iter_mut().zip(slot.iter()).for_each(|(e, f)| *e -= f);
        slot.fill(0.0);
        for (a, weights) in self.trace.iter().zip(normal.readout.chunks_exact(inner)) {
            slot.iter_mut().zip(weights).for_each(|(to, w)| *to += a * w);
        }
        self.at = (self.at + 1) % normal.horizon;
        self.ticks += 1;
        self.ticks > normal.horizon
    }

    /// How far off, by the loss's measure.
    fn off(&self, normal: &Normal) -> f32 {
        let (hidden, inner) = (normal.hidden, self.error.len());
        match normal.loss {
            Loss::Squared => self.error.iter().map(|e| e * e).sum::<f32>() / inner as f32,
            Loss::Cosine => {
                let seen = &self.trace[hidden..hidden + inner];
                // What was foreseen is what is seen less the error.
                let (mut dot, mut a, mut b) = (0.0, LEAST, LEAST);
                for (s, e) in seen.iter().zip(&self.error) {
                    let f = s - e;
                    (dot, a, b) = (dot + s * f, a + s * s, b + f * f);
                }
                1.0 - dot / (a * b).sqrt()
            }
            Loss::Mahalanobis => {
                let rows = self.error.iter().zip(normal.inverse.chunks_exact(inner));
                let sum: f32 = rows.map(|(e, row)| e * row.iter().zip(&self.error).map(|(w, e)| w * e).sum::<f32>()).sum();
                sum.max(0.0) / inner as f32
            }
        }
    }
}
