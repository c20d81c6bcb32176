//! How strange is a tick? What is normal ([`Normal`]) held against every new row. Nothing is allocated after it was made.

use super::normal::{LEAST, Loss, Normal, inner};
use super::stay::Stay;
use crate::head::memory::Memory;
use crate::lanes::{Here, add_product, beside, nearest};
use crate::past;
use crate::rng::Rng;

/// Ticks that an auto-encoder gives back: now, and three spread over the horizon.
pub const BACK: usize = 4;

/// Questions: see [`super::normal`].
pub(super) const PARTS: usize = 4;
/// A sensor gone mad is strange enough at so many deviations.
const FARTHEST: f32 = 100.0;

/// How many ticks ago those were.
pub fn lags(horizon: usize) -> [usize; BACK] {
    std::array::from_fn(|k| k * horizon / (BACK - 1))
}

/// Rows as they are looked at: scaled, and where they are too wide, through random sums.
#[derive(Clone, Debug)]
pub(super) struct Lens {
    signs: Box<[f32]>,
    scaled: Box<[f32]>,
}

impl Lens {
    pub(super) fn new(features: usize, seed: u64) -> Self {
        let inner = inner(features);
        let mut draw = Rng(seed ^ 0x51675);
        let sums = if features > inner { features * inner } else { 0 };
        let reach = 1.0 / (inner as f32).sqrt();
        Self { signs: (0..sums).map(|_| reach.copysign(draw.within(-1.0, 1.0))).collect(), scaled: vec![0.0; features].into() }
    }

    /// In deviations.
    fn scale(&mut self, mean: &[f32], scale: &[f32], row: &[f32]) -> &[f32] {
        for ((to, v), (m, s)) in self.scaled.iter_mut().zip(row).zip(mean.iter().zip(scale)) {
            *to = ((v - m) / s).clamp(-FARTHEST, FARTHEST);
        }
        &self.scaled
    }

    pub(super) fn look(&mut self, mean: &[f32], scale: &[f32], row: &[f32], seen: &mut [f32]) {
        self.scale(mean, scale, row);
        if self.signs.is_empty() {
            seen.copy_from_slice(&self.scaled);
        } else {
            for (to, signs) in seen.iter_mut().zip(self.signs.chunks_exact(self.scaled.len())) {
                *to = signs.iter().zip(&self.scaled).map(|(s, v)| s * v).sum();
            }
        }
    }
}

/// What goes on from tick to tick.
#[derive(Clone, Debug)]
pub struct Sense {
    memory: Memory,
    lens: Lens,
    inner: usize,
    /// What is seen, what is remembered, 1.
    pub(super) trace: Box<[f32]>,
    /// What was foreseen, `[horizon][inner]`; of an auto-encoder what was seen, `[horizon + 1][inner]`. And the place of the oldest.
    ring: Box<[f32]>,
    at: usize,
    ticks: usize,
    /// What is, and how far it is from what was foreseen or given back.
    target: Box<[f32]>,
    pub(super) error: Box<[f32]>,
    /// The typical rows and situations, as they are searched.
    rows: Box<[f32]>,
    states: Box<[f32]>,
    stay: Stay,
    held: Box<[[f32; PARTS]]>,
    scored: usize,
}

impl Sense {
    /// For a normal that fits itself.
    ///
    /// # Errors
    /// The file of its recurrent layer does not fit; none where it is drawn.
    pub fn new(normal: &Normal, network: Option<&[u8]>) -> Result<Self, String> {
        Ok(Self::blind(normal, normal.memory(network)?))
    }

    /// The same with a recurrent layer that was made already.
    pub(super) fn blind(normal: &Normal, memory: Memory) -> Self {
        let (inner, outputs) = (inner(normal.features), normal.outputs());
        let mut trace = vec![0.0; inner + normal.hidden + 1];
        trace[inner + normal.hidden] = 1.0;
        Self {
            memory,
            lens: Lens::new(normal.features, normal.seed),
            inner,
            trace: trace.into(),
            ring: vec![0.0; (normal.horizon + usize::from(normal.back)) * inner].into(),
            at: 0,
            ticks: 0,
            target: vec![0.0; outputs].into(),
            error: vec![0.0; outputs].into(),
            rows: beside(&normal.rows.0, inner).into(),
            states: beside(&normal.states.0, normal.hidden).into(),
            stay: Stay::new(normal.features),
            held: vec![[f32::NEG_INFINITY; PARTS]; normal.hold].into(),
            scored: 0,
        }
    }

    /// What remembers: which cells, in which arithmetic.
    pub fn words(&self) -> &str {
        self.memory.words()
    }

    /// After a gap: nothing is remembered and nothing is held.
    pub fn forget(&mut self) {
        self.memory.forget();
        self.stay.forget();
        (self.at, self.ticks, self.scored) = (0, 0, 0);
        self.held.fill([f32::NEG_INFINITY; PARTS]);
    }

    /// All that goes on from tick to tick, as bytes, for another run.
    pub(super) fn remember(&self, normal: &Normal, to: &mut Vec<u8>) {
        self.memory.remember(to);
        past::put(to, &self.ring);
        past::put(to, self.held.as_flattened());
        [self.at, self.ticks, self.scored].into_iter().for_each(|n| past::put_count(to, n as u64));
        if !normal.limits.is_empty() {
            self.stay.remember(to);
        }
    }

    /// Goes on from there; `None`: those bytes are not from the same normal.
    pub(super) fn recall(&mut self, normal: &Normal, from: &mut &[u8]) -> Option<()> {
        self.memory.recall(from)?;
        past::take(from, &mut self.ring)?;
        past::take(from, self.held.as_flattened_mut())?;
        let mut count = |most: usize| past::take_count(from, most as u64).map(|n| n as usize);
        // A count of ticks that was at its end would be a run of ages.
        (self.at, self.ticks, self.scored) =
            (count(self.ring.len() / self.inner - 1)?, count(usize::MAX / 2)?, count(usize::MAX / 2)?);
        if normal.limits.is_empty() { Some(()) } else { self.stay.recall(from) }
    }

    pub(super) fn seen(&self) -> &[f32] {
        &self.trace[..self.inner]
    }

    /// A row in deviations; nothing is remembered of it.
    pub(super) fn scale(&mut self, normal: &Normal, row: &[f32]) -> &[f32] {
        self.lens.scale(&normal.mean, &normal.scale, row)
    }

    /// The last row in deviations.
    pub(super) fn scaled(&self) -> &[f32] {
        &self.lens.scaled
    }

    pub(super) fn state(&self) -> &[f32] {
        &self.trace[self.inner..self.trace.len() - 1]
    }

    /// A tick's score: deviations from what is usual. `None` until something was foreseen by a memory that is warm, and at numbers that are not finite.
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
    pub(super) fn parts(&mut self, normal: &Normal, row: &[f32]) -> Option<[f32; PARTS]> {
        if !row.iter().all(|v| v.is_finite()) || row.len() != normal.features {
            self.forget();
            return None;
        }
        self.look(normal, row);
        let beyond = if normal.limits.is_empty() { 0.0 } else { self.stay.beyond(&normal.limits, &self.lens.scaled) };
        if !self.compare(normal) || self.ticks <= normal.horizon + normal.warm {
            return None;
        }
        let here = Here::best();
        let strange = nearest(here, &self.rows, self.seen()).1 / self.inner as f32;
        let unknown = nearest(here, &self.states, self.state()).1 / normal.hidden as f32;
        let [off, strange, unknown] = [self.off(normal), strange, unknown].map(|d| (d + LEAST).ln());
        Some([off, strange, unknown, beyond])
    }

    /// Takes a row in: scaled, and remembered.
    pub(super) fn look(&mut self, normal: &Normal, row: &[f32]) {
        let (seen, rest) = self.trace.split_at_mut(self.inner);
        self.lens.look(&normal.mean, &normal.scale, row, seen);
        let state = self.memory.step(seen);
        rest[..state.len()].copy_from_slice(state);
    }

    /// What is against what was foreseen for now (or what was against what is given back of it), into `error`. False while nothing was.
    pub(super) fn compare(&mut self, normal: &Normal) -> bool {
        let (inner, slots) = (self.inner, self.ring.len() / self.inner);
        let slot = &mut self.ring[self.at * inner..][..inner];
        if normal.back {
            slot.copy_from_slice(&self.trace[..inner]);
            for (to, lag) in self.target.chunks_exact_mut(inner).zip(lags(normal.horizon)) {
                to.copy_from_slice(&self.ring[(self.at + slots - lag) % slots * inner..][..inner]);
            }
            self.error.copy_from_slice(&self.target);
            add_product(Here::best(), &normal.readout.0, &self.trace[inner..], -1.0, &mut self.error);
        } else {
            self.target.copy_from_slice(&self.trace[..inner]);
            self.error.copy_from_slice(&self.target);
            self.error.iter_mut().zip(slot.iter()).for_each(|(e, f)| *e -= f);
            slot.fill(0.0);
            add_product(Here::best(), &normal.readout.0, &self.trace, 1.0, slot);
        }
        self.at = (self.at + 1) % slots;
        self.ticks += 1;
        self.ticks > normal.horizon
    }

    /// How far off, by the loss's measure.
    fn off(&self, normal: &Normal) -> f32 {
        let n = self.error.len() as f32;
        match normal.loss {
            Loss::Squared => self.error.iter().map(|e| e * e).sum::<f32>() / n,
            Loss::Cosine => {
                // What was foreseen is what is less the error.
                let (mut dot, mut a, mut b) = (0.0, LEAST, LEAST);
                for (s, e) in self.target.iter().zip(&self.error) {
                    let f = s - e;
                    (dot, a, b) = (dot + s * f, a + s * s, b + f * f);
                }
                1.0 - dot / (a * b).sqrt()
            }
            Loss::Mahalanobis => {
                let rows = self.error.iter().zip(normal.inverse.0.chunks_exact(self.error.len()));
                let sum: f32 = rows.map(|(e, row)| e * row.iter().zip(&self.error).map(|(w, e)| w * e).sum::<f32>()).sum();
                sum.max(0.0) / n
            }
        }
    }
}
