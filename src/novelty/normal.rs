//! What is normal here, as far as it was seen: learnt without labels from rows of numbers, and held against every new row.
//!
//! Three questions are asked of a tick, and a fourth where it was asked for, because each alone misses something (a fallen person is the stillest thing
//! in the room, and easy to predict):
//!
//! 1. **Was it foreseen?** A recurrent layer ([`Memory`]) remembers the last seconds; a linear layer behind it says what the numbers will be
//!    `horizon` ticks later. How far they are from that, by a [`Loss`] with a name. Or, of an auto-encoder: what they were within the last `horizon` ticks.
//! 2. **Have I seen this?** Distance from the nearest of [`PLACES`] typical rows.
//! 3. **Have I been in this situation?** The same distance for what the recurrent layer remembers, so that order and duration count.
//! 4. **Has any one number stayed there so long?** What distances over a whole row drown (`stay.rs`). For one place that was looked at for long; over
//!    recordings of many days and places everything has been everywhere, and the answer only disturbs. It counts as much as the others together.
//!
//! Each answer is the logarithm of a distance, in deviations of ordinary footage that was not learnt from; a tick's score is their mean, each at its
//! highest of the last `hold` ticks: what is strange stays strange for a while.
//!
//! The recurrent layer is the one of `novelty.onnx`, trained on a host, or one drawn from a seed. Learning here is linear algebra: one pass for mean and
//! scale, one for the ridge regression, k-means for what is typical. One answer, no learning rate, seconds on a box. It lies in one JSON file, 105 kB
//! with 96 features.

use super::algebra::{places, solve, spread};
use super::promise::Blocks;
use super::sense::{self, Lens, PARTS, Sense};
use super::stay::{Learner, Limits};
use crate::bundle::hex;
use crate::head::memory::Memory;
use crate::rng::Rng;
use crate::taught::packed::Packed;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Typical rows and typical situations that are kept.
pub const PLACES: usize = 64;
/// Rows of more numbers than this are looked at through so many random sums of them, which keeps distances (Johnson and Lindenstrauss) and kilobytes.
const WIDEST: usize = 96;
/// Rows that k-means looks at, at most: enough for 64 places.
const SAMPLE: usize = 8192;
/// Stretches are cut to this many seconds, and every third piece is kept for judging what was learnt from the others.
const PIECE_S: u32 = 60;
/// Below this a squared distance is no distance: keeps the logarithm of a perfect repetition finite.
pub(super) const LEAST: f32 = 1e-6;
/// Of the covariance's average that is mixed into a Mahalanobis distance, so that it can be inverted and noise is not a direction.
const SHRINK: f64 = 0.1;
/// Ticks to learn from, at least: a minute at 10 Hz, less would be learnt by heart.
const FEWEST: usize = 200;
/// In so many pieces, at least: two to learn from, one to judge by.
const PIECES: u32 = 3;
/// Ticks after a gap without a score: the slowest of what a drawn layer remembers with fades over twenty ([`Memory::drawn`]), so a twentieth of having
/// remembered nothing is left, which is a situation that ordinary footage is never in.
const WARM: usize = 60;

/// How far a row is from what was foreseen.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Loss {
    /// Mean squared difference.
    #[default]
    Squared,
    /// One minus the cosine: direction counts, size does not. No better than squared on what it was tried on.
    Cosine,
    /// Squared difference in deviations of the usual error, correlations taken out (covariance shrunk by a tenth). No better than squared on what it was tried on.
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
    /// Is what was seen given back (an auto-encoder), instead of what comes foreseen?
    pub back: bool,
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
        let (horizon_ms, hold_ms, block) = (1000, 8000, minute(tick_ms));
        Self { tick_ms, horizon_ms, hold_ms, hidden: 64, seed: 1, loss: Loss::default(), back: false, alike, block, each: false }
    }

    /// Are its spans such that can be run?
    ///
    /// # Errors
    /// One sentence: what, found, expected.
    pub fn check(&self) -> Result<(), String> {
        for (what, ms) in [("horizon", self.horizon_ms), ("hold", self.hold_ms)] {
            let ticks = ms.div_ceil(self.tick_ms.max(1));
            if ticks > MOST_TICKS {
                return Err(format!("{what}: {ms} ms are {ticks} ticks of {} ms, at most {MOST_TICKS} can be run", self.tick_ms));
            }
        }
        Ok(())
    }

    /// The fewest minutes that can be learnt from when they come a minute after the other.
    ///
    /// # Errors
    /// One sentence where no time is enough, because what is foreseen lies beyond the end of every piece.
    pub fn fewest_minutes(&self) -> Result<u32, String> {
        let (piece, horizon) = (PIECE_S * 1000 / self.tick_ms.max(1), (self.horizon_ms / self.tick_ms.max(1)).max(1));
        if piece <= horizon {
            let what = format!("horizon: {horizon} ticks of {} ms", self.tick_ms);
            return Err(format!("{what}, less than the {piece} of {PIECE_S} s expected"));
        }
        Ok(PIECES.max((FEWEST as u32).div_ceil(piece)))
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
    /// Ticks after a gap, behind the horizon, without a score; 0 where it was learnt from clips that are not much longer, so that they can be scored.
    // Left out where it is none: what was counted with a file is found by the file's bytes.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub warm: usize,
    /// Ticks a block of [`Normal::blocks`]; 0: a minute's.
    #[serde(default, skip_serializing_if = "is_zero")]
    block: u32,
    /// Hidden numbers of the recurrent layer.
    pub hidden: usize,
    /// It is drawn from this, where it has no file.
    pub seed: u64,
    /// Its file (`novelty.onnx`): sha256, hex; empty where it is drawn.
    pub network: String,
    /// Is what was seen given back, instead of what comes foreseen?
    pub back: bool,
    /// How errors are measured.
    pub loss: Loss,
    /// Ticks that were learnt from.
    pub learnt: usize,
    pub(super) mean: Vec<f32>,
    pub(super) scale: Vec<f32>,
    /// `[hidden + inner + 1][inner]`: what is seen, what is remembered, and 1, to what will be. Of an auto-encoder `[hidden + 1][4 inner]`.
    pub(super) readout: Packed,
    /// Inverse covariance of errors; only for [`Loss::Mahalanobis`].
    pub(super) inverse: Packed,
    /// `[PLACES][inner]`.
    pub(super) rows: Packed,
    /// `[PLACES][hidden]`.
    pub(super) states: Packed,
    /// Where single numbers stay; empty where that is not asked.
    #[serde(default, skip_serializing_if = "Limits::is_empty")]
    pub(super) limits: Limits,
    /// Mean and deviation of the logarithms over ordinary footage; [`PARTS`] of them, or without limits one fewer.
    pub(super) parts: Vec<[f32; 2]>,
    /// Blocks of the judged pieces.
    pub blocks: Blocks,
}

fn is_zero<T: Default + PartialEq>(n: &T) -> bool {
    *n == T::default()
}

/// Ticks of a minute, 1 at least: a block where nothing else is asked for.
fn minute(tick_ms: u32) -> u32 {
    (60_000 / tick_ms.max(1)).max(1)
}

/// Ticks of the longest horizon and hold.
const MOST_TICKS: u32 = 6000;

/// Is every number of this row one?
fn is_finite(row: &[f32]) -> bool {
    row.iter().all(|v| v.is_finite())
}

/// What lies between the rows that have something in them that is no number: such a row breaks a stretch in two and costs no more than itself.
fn runs(features: usize, stretch: &[f32]) -> Vec<&[f32]> {
    let (mut runs, mut from) = (vec![], 0);
    for (n, row) in stretch.chunks_exact(features).enumerate() {
        if !is_finite(row) {
            runs.push(&stretch[from..n * features]);
            from = (n + 1) * features;
        }
    }
    runs.push(&stretch[from..]);
    runs
}

/// A piece of a stretch.
struct Piece<'a> {
    rows: &'a [f32],
    /// Ticks of its stretch before it.
    after: usize,
    /// It is judged by, and not learnt from.
    judged: bool,
}

impl Piece<'_> {
    /// What is remembered goes on from the piece before it, where there is one.
    fn begin(&self, sense: &mut Sense) {
        if self.after == 0 {
            sense.forget();
        }
    }
}

/// Stretches in pieces, in order: every third to judge by.
fn pieces<'a>(features: usize, stretches: &'a [Vec<f32>], terms: &Terms) -> Result<Vec<Piece<'a>>, String> {
    let ticks = (PIECE_S * 1000 / terms.tick_ms).max(1) as usize;
    let runs = stretches.iter().flat_map(|stretch| runs(features, stretch));
    let cut = runs.flat_map(|run| run.chunks(ticks * features).enumerate().map(|(n, rows)| (n * ticks, rows)));
    let pieces: Vec<Piece<'_>> = cut.enumerate().map(|(n, (after, rows))| Piece { rows, after, judged: n % 3 == 2 }).collect();
    let ticks = pieces.iter().map(|p| p.rows.len() / features).sum::<usize>();
    if ticks < FEWEST || pieces.len() < PIECES as usize {
        let what = format!("{ticks} ticks in {} stretches of at most {PIECE_S} s to learn from", pieces.len());
        return Err(format!(
            "{what}, at least {FEWEST} in {PIECES} expected: {PIECES} recordings, or one of more than {} s",
            (PIECES - 1) * PIECE_S
        ));
    }
    Ok(pieces)
}

/// What is learnt from.
fn learnt<'a>(pieces: &[Piece<'a>]) -> Vec<&'a [f32]> {
    pieces.iter().filter(|p| !p.judged).map(|p| p.rows).collect()
}

/// [`Normal::warm`]: half of what is judged, at least, has to be behind it.
fn warm(features: usize, pieces: &[Piece<'_>], horizon: usize) -> usize {
    let judged = || pieces.iter().filter(|p| p.judged).map(|p| (p.after, p.rows.len() / features));
    let behind = judged().map(|(after, ticks)| ticks.saturating_sub((horizon + WARM).saturating_sub(after))).sum::<usize>();
    if 2 * behind >= judged().map(|(_, ticks)| ticks).sum() { WARM } else { 0 }
}

/// What a network would be trained on: the pieces that are learnt from, `[ticks][inner]` as the recurrent layer is given them, and `inner`.
///
/// # Errors
/// One sentence where there is too little.
pub fn seen(features: usize, stretches: &[Vec<f32>], terms: &Terms) -> Result<(Vec<Vec<f32>>, usize), String> {
    let learnt = learnt(&pieces(features, stretches, terms)?);
    let (mean, scale) = spread(&learnt, features, terms.alike);
    let mut lens = Lens::new(features, terms.seed);
    let mut one = vec![0.0; inner(features)];
    let mut look = |piece: &[f32]| {
        let mut all = Vec::with_capacity(piece.len() / features * one.len());
        for row in piece.chunks_exact(features) {
            lens.look(&mean, &scale, row, &mut one);
            all.extend_from_slice(&one);
        }
        all
    };
    Ok((learnt.into_iter().map(&mut look).collect(), inner(features)))
}

/// Learns what is normal from stretches of rows, each `[ticks][features]`; ticks of one stretch follow each other. `network`: the file of the recurrent
/// layer, where it is not to be drawn.
///
/// # Errors
/// One sentence where there is too little, or the network does not fit.
pub fn learn(
    bundle: &str,
    features: usize,
    stretches: &[Vec<f32>],
    terms: &Terms,
    network: Option<&[u8]>,
) -> Result<Normal, String> {
    let left_out = stretches.iter().flat_map(|s| s.chunks_exact(features)).filter(|row| !is_finite(row)).count();
    if left_out > 0 {
        log::warn!(
            "{left_out} ticks have something in them that is no number; they are left out, and nothing is learnt across them"
        );
    }
    let pieces = pieces(features, stretches, terms)?;
    let learnt = learnt(&pieces);
    let (mean, scale) = spread(&learnt, features, terms.alike);
    let (horizon, hold) = ((terms.horizon_ms / terms.tick_ms).max(1), (terms.hold_ms / terms.tick_ms).max(1));
    let inner = inner(features);
    let memory = network.map(|file| Memory::read(file, inner)).transpose()?;
    let mut normal = Normal {
        bundle: bundle.into(),
        features,
        tick_ms: terms.tick_ms,
        horizon: horizon as usize,
        hold: hold as usize,
        warm: warm(features, &pieces, horizon as usize),
        block: if terms.block == minute(terms.tick_ms) { 0 } else { terms.block },
        hidden: memory.map_or(terms.hidden, |m| m.hidden()),
        seed: terms.seed,
        network: network.map_or_else(String::new, |file| hex(&Sha256::digest(file))),
        back: terms.back,
        loss: terms.loss,
        learnt: pieces.iter().map(|p| p.rows.len() / features).sum(),
        mean,
        scale,
        readout: Packed::default(),
        inverse: Packed::default(),
        rows: Packed::default(),
        states: Packed::default(),
        limits: Limits::default(),
        parts: vec![[0.0, 1.0]; PARTS],
        blocks: Blocks::default(),
    };
    let mut sense = Sense::blind(&normal, normal.memory(network)?);
    normal.regress(&learnt, &mut sense, terms.each)?;
    // Now that it knows what is typical.
    let mut sense = Sense::blind(&normal, normal.memory(network)?);
    normal.measure(&pieces, &mut sense, terms.block)?;
    Ok(normal)
}

/// Numbers of a row as they are looked at.
pub(super) fn inner(features: usize) -> usize {
    features.min(WIDEST)
}

impl Normal {
    /// The recurrent layer: drawn, or read from its file.
    ///
    /// # Errors
    /// The file is missing, is another one, or is none that our own cells can run.
    pub fn memory(&self, network: Option<&[u8]>) -> Result<Memory, String> {
        let inner = inner(self.features);
        if self.network.is_empty() {
            return Memory::drawn(inner, self.hidden, self.seed).ok_or_else(|| "no recurrent layer of this size".into());
        }
        let file = network.ok_or_else(|| format!("{} is missing", super::NETWORK))?;
        if hex(&Sha256::digest(file)) != self.network {
            return Err(format!("{} is another one than was learnt with", super::NETWORK));
        }
        let memory = Memory::read(file, inner).map_err(|why| format!("{}: {why}", super::NETWORK))?;
        if memory.hidden() == self.hidden {
            Ok(memory)
        } else {
            Err(format!("{}: {} hidden numbers, expected {}", super::NETWORK, memory.hidden(), self.hidden))
        }
    }

    /// Questions that are asked.
    fn asked(&self) -> usize {
        PARTS - usize::from(self.limits.is_empty())
    }

    /// Numbers that are compared a tick.
    pub(super) fn outputs(&self) -> usize {
        inner(self.features) * if self.back { sense::BACK } else { 1 }
    }

    /// Numbers that the readout reads.
    pub(super) fn inputs(&self) -> usize {
        self.hidden + 1 + if self.back { 0 } else { inner(self.features) }
    }

    /// The regression, what is typical, and the covariance of errors.
    fn regress(&mut self, learnt: &[&[f32]], sense: &mut Sense, each: bool) -> Result<(), String> {
        let (inner, wide, outputs) = (inner(self.features), self.inputs(), self.outputs());
        let (mut square, mut cross) = (vec![0.0f64; wide * wide], vec![0.0f64; wide * outputs]);
        let every = (learnt.iter().map(|p| p.len() / self.features).sum::<usize>() / SAMPLE).max(1);
        let (mut rows, mut states) = (vec![], vec![]);
        let mut learner = each.then(|| {
            let some = learnt.iter().flat_map(|p| p.chunks_exact(self.features)).step_by(every);
            let some: Vec<Vec<f32>> = some.map(|row| sense.scale(self, row).to_vec()).collect();
            Learner::new(self.features, some.iter().map(Vec::as_slice))
        });
        let mut n = 0usize;
        for piece in learnt {
            sense.forget();
            learner.iter_mut().for_each(Learner::forget);
            let mut traces: Vec<Vec<f32>> = vec![];
            for row in piece.chunks_exact(self.features) {
                sense.look(self, row);
                learner.iter_mut().for_each(|l| l.look(sense.scaled()));
                if n.is_multiple_of(every) {
                    rows.extend_from_slice(sense.seen());
                    states.extend_from_slice(sense.state());
                }
                n += 1;
                traces.push(sense.trace.to_vec());
                let Some(then) = traces.len().checked_sub(self.horizon + 1) else { continue };
                let from = if self.back { &sense.trace[inner..] } else { &traces[then][..] };
                let to: Vec<f32> = if self.back {
                    let lags = sense::lags(self.horizon).into_iter();
                    lags.flat_map(|lag| traces[traces.len() - 1 - lag][..inner].to_vec()).collect()
                } else {
                    sense.seen().to_vec()
                };
                for (i, a) in from.iter().enumerate() {
                    let a = f64::from(*a);
                    let sums = &mut square[i * wide..][..wide];
                    sums.iter_mut().zip(from).for_each(|(sum, b)| *sum += a * f64::from(*b));
                    let sums = &mut cross[i * outputs..][..outputs];
                    sums.iter_mut().zip(&to).for_each(|(sum, b)| *sum += a * f64::from(*b));
                }
            }
        }
        // Ridge: as if a ten thousandth of what was seen had said nothing.
        (0..wide).for_each(|i| square[i * wide + i] += 1.0 + 1e-4 * n as f64);
        let numbers = |all: Vec<f64>| Packed::round(&all.iter().map(|v| *v as f32).collect::<Vec<_>>());
        self.readout = numbers(solve(&mut square, wide, &cross, outputs)?);
        let mut draw = Rng(self.seed ^ 0x5eed);
        self.rows = Packed::round(&places(&rows, inner, &mut draw));
        self.states = Packed::round(&places(&states, self.hidden, &mut draw));
        self.limits = learner.map_or_else(Limits::default, Learner::limits);
        if self.loss == Loss::Mahalanobis {
            self.inverse = numbers(self.covariance(learnt, sense)?);
        }
        Ok(())
    }

    /// Inverse of the shrunk covariance of errors.
    fn covariance(&self, learnt: &[&[f32]], sense: &mut Sense) -> Result<Vec<f64>, String> {
        let outputs = self.outputs();
        let (mut sum, mut n) = (vec![0.0f64; outputs * outputs], 0.0f64);
        for piece in learnt {
            sense.forget();
            for row in piece.chunks_exact(self.features) {
                sense.look(self, row);
                if sense.compare(self) {
                    n += 1.0;
                    for (i, a) in sense.error.iter().enumerate() {
                        let to = &mut sum[i * outputs..][..outputs];
                        to.iter_mut().zip(&sense.error).for_each(|(to, b)| *to += f64::from(*a) * f64::from(*b));
                    }
                }
            }
        }
        let n = n.max(1.0);
        let average = (0..outputs).map(|i| sum[i * outputs + i] / n).sum::<f64>() / outputs as f64;
        sum.iter_mut().for_each(|v| *v *= (1.0 - SHRINK) / n);
        (0..outputs).for_each(|i| sum[i * outputs + i] += SHRINK * average + 1e-9);
        let one: Vec<f64> = (0..outputs * outputs).map(|i| f64::from(i % outputs == i / outputs)).collect();
        solve(&mut sum, outputs, &one, outputs)
    }

    /// Ticks a block of [`Normal::blocks`].
    pub fn block(&self) -> u32 {
        if self.block == 0 { minute(self.tick_ms) } else { self.block }
    }

    /// What the answers usually are, and the blocks of what was not learnt from. All pieces are walked through in order: what is judged has the past that
    /// it will have when a box runs.
    fn measure(&mut self, pieces: &[Piece<'_>], sense: &mut Sense, block: u32) -> Result<(), String> {
        let features = self.features;
        let (mut sums, mut n) = ([[0.0f64; 2]; PARTS], 0.0f64);
        for piece in pieces {
            piece.begin(sense);
            for row in piece.rows.chunks_exact(features) {
                let Some(parts) = sense.parts(self, row).filter(|_| piece.judged) else { continue };
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
        for piece in pieces {
            piece.begin(sense);
            for row in piece.rows.chunks_exact(features) {
                let score = sense.score(self, row);
                if !piece.judged {
                    continue;
                }
                best = score.map_or(best, |s| best.max(s));
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
        // Before anything is multiplied.
        for (what, found, high) in [
            ("hidden", self.hidden, 1024),
            ("horizon", self.horizon, MOST_TICKS as usize),
            ("hold", self.hold, MOST_TICKS as usize),
        ] {
            if !(1..=high).contains(&found) {
                return Err(format!("{what} = {found}, expected 1 to {high}"));
            }
        }
        if self.warm > WARM {
            return Err(format!("warm = {}, expected 0 to {WARM}", self.warm));
        }
        let hour = (3_600_000 / tick_ms.max(1)).max(1);
        if self.block > hour {
            return Err(format!("block = {}, expected 0 to {hour} ticks", self.block));
        }
        let (inner, f, outputs) = (inner(self.features), self.features, self.outputs());
        for (what, found, expected) in [
            ("numbers a row", f, features),
            ("ms a tick", self.tick_ms as usize, tick_ms as usize),
            ("means", self.mean.len(), f),
            ("scales", self.scale.len(), f),
            ("numbers of the readout", self.readout.0.len(), self.inputs() * outputs),
            ("numbers of the inverse", self.inverse.0.len(), if self.loss == Loss::Mahalanobis { outputs * outputs } else { 0 }),
            ("numbers of typical rows", self.rows.0.len(), PLACES * inner),
            ("numbers of typical states", self.states.0.len(), PLACES * self.hidden),
            ("answers", self.parts.len(), self.asked()),
        ] {
            if found != expected {
                return Err(format!("{found} {what}, expected {expected}"));
            }
        }
        // Packed numbers are finite by how they are written.
        let good = self.mean.iter().chain(self.parts.as_flattened()).all(|v| v.is_finite())
            && (self.limits.is_empty() || self.limits.fits(f));
        if !good || !self.scale.iter().chain(self.parts.iter().map(|p| &p[1])).all(|v| v.is_normal() && *v > 0.0) {
            return Err("numbers that are not finite, or scales that are not above 0".into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_is_no_number_costs_no_more_than_itself() {
        let mut stretch: Vec<f32> = (0..600).flat_map(|n| [n as f32, 1.0]).collect();
        stretch[2 * 200 + 1] = f32::NAN;
        let lengths: Vec<usize> = runs(2, &stretch).iter().map(|run| run.len() / 2).collect();
        assert_eq!(lengths, [200, 399]);
        // A minute each, of which the first is broken in two.
        let all = [stretch, vec![0.0; 1200], vec![f32::INFINITY; 4]];
        let pieces = pieces(2, &all, &Terms::new(100, 0)).expect("enough to learn from");
        let found: Vec<_> = pieces.iter().map(|p| (p.rows.len() / 2, p.after, p.judged)).collect();
        assert_eq!(found, [(200, 0, false), (399, 0, false), (600, 0, true)]);
    }

    /// Where there is a past, nothing is judged without it; two-second clips have none, and can be judged all the same.
    #[test]
    fn short_clips_are_scored_from_the_horizon_on_and_long_runs_once_they_are_warm() {
        let rows = |ticks: usize| (0..ticks).flat_map(|n| [(n as f32 * 0.3).sin(), (n as f32 * 0.7).cos()]).collect::<Vec<f32>>();
        let terms = Terms { hidden: 8, ..Terms::new(100, 0) };
        for (stretches, warm) in [(vec![rows(20); 30], 0), (vec![rows(2400)], WARM), (vec![rows(300); 6], WARM)] {
            let normal = learn("", 2, &stretches, &terms, None).expect("enough to learn from");
            assert_eq!(normal.warm, warm, "stretches of {} ticks", stretches[0].len() / 2);
            let mut sense = Sense::new(&normal, None).expect("a drawn layer");
            let first = rows(200).chunks_exact(2).position(|row| sense.score(&normal, row).is_some());
            assert_eq!(first, Some(normal.horizon + warm));
        }
    }

    #[test]
    fn the_fewest_minutes_are_known_before_the_work() {
        for (tick_ms, minutes) in [(100, 3), (500, 3), (1000, 4), (5000, 17)] {
            assert_eq!(Terms::new(tick_ms, 0).fewest_minutes(), Ok(minutes), "{tick_ms} ms");
        }
        assert!(Terms::new(60_000, 0).fewest_minutes().is_err());
        assert!(Terms { horizon_ms: 30_000, ..Terms::new(20_000, 0) }.fewest_minutes().is_ok());
    }
}
