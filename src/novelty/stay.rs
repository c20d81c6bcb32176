//! How far, and for how long, has any one number stayed where it never stays?
//!
//! Distances over a whole row drown what happens in one corner of it: a thing that stands still where things only pass changes two numbers of a hundred,
//! by no more than every passer-by does, only for longer. So every number is followed by two lines: one that drops with it at once and rises after it at
//! a pace, so it is high only where the number has stayed high; and one that rises at once and sinks slowly. How high the first and how low the second
//! ever came over ordinary footage is all that is learnt, at four paces from one tick to [`PACES`]'s last. What lies beyond, in widths of the usual, is
//! the excess of a number; the largest [`TOP`] excesses make the answer, so that one noisy number alone is little.
//!
//! Every number is looked at twice: as it is, and cut off at [`CUT`] deviations of its quiet time. Cut off, a dark thing that stands and a bright thing
//! that passes are as far from nothing, so that only how long counts: else the brightest that ever passed hides all that is less bright and stands.
//! Nothing is allocated per tick.

use crate::past;
use serde::{Deserialize, Serialize};

/// Ticks in which a line comes two thirds of the way to where the number stays: 1 is the number itself, 64 are six seconds at 10 Hz. Longer ones
/// found nothing more (stopped things were found later), fewer lost slow ones.
const PACES: [f32; 4] = [1.0, 4.0, 16.0, 64.0];
/// Where numbers are cut off, in deviations of their quiet half. Six to ten served alike: below, grain is news; above, contrast counts again.
const CUT: f32 = 8.0;
/// A quiet deviation is at least this share of the number's own: what never moved at all has none.
const QUIETEST: f32 = 0.01;
/// Rows that say what is quiet, at most.
const SAMPLE: usize = 2048;
/// Excesses that count.
const TOP: usize = 5;
/// Below a twentieth of a width an excess is none: keeps the logarithm of an ordinary tick finite and its deviation small.
const LEAST: f32 = 0.05;
/// No width is below this share of what the number itself spans, nor of the mean width of its pace: what hardly moved while learning
/// must not be strange at the first grain.
const NARROWEST: f32 = 0.1;

/// Where lines were over ordinary footage. Each vector but the first two is `[paces][2 features]`: as they are, and cut off.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// `[features]`, the middle of the quiet half, in deviations about the mean.
    quiet: Vec<f32>,
    /// `[features]`, where a number is cut off, from there.
    cut: Vec<f32>,
    /// Highest of the lines below.
    high: Vec<f32>,
    /// Lowest of the lines above.
    low: Vec<f32>,
    /// Width of the usual.
    width: Vec<f32>,
}

impl Limits {
    /// None were learnt: a file from before there were any.
    pub fn is_empty(&self) -> bool {
        self.high.is_empty()
    }

    /// Are these of rows of so many numbers, and good?
    pub fn fits(&self, features: usize) -> bool {
        let good = |n: &[f32], len: usize| n.len() == len && n.iter().all(|v| v.is_finite());
        [&self.quiet, &self.cut].iter().all(|n| good(n, features))
            && [&self.high, &self.low, &self.width].iter().all(|n| good(n, PACES.len() * 2 * features))
            && self.width.iter().chain(&self.cut).all(|w| *w > 0.0)
    }
}

/// Learns [`Limits`] tick by tick.
#[derive(Debug)]
pub struct Learner {
    lines: Lines,
    limits: Limits,
    /// Sums of both lines, and ticks.
    sums: Vec<[f64; 2]>,
    ticks: f64,
}

impl Learner {
    /// For rows of so many numbers, some of which are known, in deviations about the mean.
    pub fn new<'a>(features: usize, rows: impl ExactSizeIterator<Item = &'a [f32]>) -> Self {
        let n = PACES.len() * 2 * features;
        let every = rows.len().div_ceil(SAMPLE).max(1);
        let sample: Vec<&[f32]> = rows.step_by(every).collect();
        let (quiet, cut) = (0..features).map(|k| calm(sample.iter().map(|row| row[k]).collect())).unzip();
        let limits = Limits { quiet, cut, high: vec![f32::NEG_INFINITY; n], low: vec![f32::INFINITY; n], width: vec![] };
        Self { lines: Lines::new(features), limits, sums: vec![[0.0; 2]; n], ticks: 0.0 }
    }

    /// Nothing connects what comes with what was.
    pub fn forget(&mut self) {
        self.lines.forget();
    }

    /// A tick, in deviations about the mean.
    pub fn look(&mut self, x: &[f32]) {
        self.lines.follow(&self.limits, x);
        self.ticks += 1.0;
        let limits = self.limits.high.iter_mut().zip(&mut self.limits.low);
        let lines = self.lines.below.iter().zip(&self.lines.above);
        for (((high, low), (below, above)), sum) in limits.zip(lines).zip(&mut self.sums) {
            (*high, *low) = (high.max(*below), low.min(*above));
            *sum = [sum[0] + f64::from(*below), sum[1] + f64::from(*above)];
        }
    }

    /// What was learnt.
    pub fn limits(mut self) -> Limits {
        let (n, ticks) = (self.limits.high.len(), self.ticks.max(1.0));
        let numbers = n / PACES.len();
        let Limits { high, low, .. } = &self.limits;
        let usual = |i: usize| self.sums[i].map(|s| (s / ticks) as f32);
        let mut width: Vec<f32> = (0..n)
            .map(|i| {
                let ([below, above], spans) = (usual(i), high[i % numbers] - low[i % numbers]);
                if i < numbers { spans } else { (high[i] - below).max(above - low[i]).max(NARROWEST * spans) }
            })
            .collect();
        for pace in width.chunks_exact_mut((numbers / 2).max(1)) {
            let least = NARROWEST * pace.iter().sum::<f32>() / pace.len() as f32 + 1e-3;
            pace.iter_mut().for_each(|w| *w = w.max(least));
        }
        self.limits.width = width;
        self.limits
    }
}

/// The middle of the shorter half of some values, and where they are cut off from there. The shorter half is quiet as long as something goes on for less than
/// half of the time, on whichever side.
fn calm(mut values: Vec<f32>) -> (f32, f32) {
    values.sort_unstable_by(f32::total_cmp);
    let half = values.len() / 2;
    let spans = values.iter().zip(&values[half..]).map(|(low, high)| (low + high, high - low));
    let (both, span) = spans.min_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((0.0, 0.0));
    // Half of a bell lies within 1.35 of its deviations.
    (both / 2.0, CUT * (span / 1.35).max(QUIETEST))
}

/// Both lines of every number at every pace, `[paces][2 features]`.
#[derive(Clone, Debug)]
struct Lines {
    below: Box<[f32]>,
    above: Box<[f32]>,
    /// Numbers of this tick as they are, and cut off.
    now: Box<[f32]>,
}

impl Lines {
    fn new(features: usize) -> Self {
        let still = || vec![0.0; PACES.len() * 2 * features].into();
        Self { below: still(), above: still(), now: vec![0.0; 2 * features].into() }
    }

    /// Where nothing is strange: what is there at the start has not stayed yet.
    fn forget(&mut self) {
        self.below.fill(0.0);
        self.above.fill(0.0);
    }

    fn follow(&mut self, limits: &Limits, x: &[f32]) {
        let (whole, cut) = self.now.split_at_mut(x.len());
        whole.copy_from_slice(x);
        for ((to, x), (quiet, most)) in cut.iter_mut().zip(x).zip(limits.quiet.iter().zip(&limits.cut)) {
            *to = ((x - quiet) / most).clamp(-1.0, 1.0);
        }
        let numbers = self.now.len();
        let lines = self.below.chunks_exact_mut(numbers).zip(self.above.chunks_exact_mut(numbers));
        for ((below, above), pace) in lines.zip(PACES) {
            let share = 1.0 / pace;
            for ((below, above), x) in below.iter_mut().zip(above).zip(&self.now) {
                *below = (*below + share * (x - *below)).min(*x);
                *above = (*above + share * (x - *above)).max(*x);
            }
        }
    }
}

/// What goes on from tick to tick.
#[derive(Clone, Debug)]
pub struct Stay {
    lines: Lines,
}

impl Stay {
    /// For rows of so many numbers.
    pub fn new(features: usize) -> Self {
        Self { lines: Lines::new(features) }
    }

    /// Nothing connects what comes with what was.
    pub fn forget(&mut self) {
        self.lines.forget();
    }

    /// Its lines as bytes, for another run.
    pub fn remember(&self, to: &mut Vec<u8>) {
        [&self.lines.below, &self.lines.above].into_iter().for_each(|line| past::put(to, line));
    }

    /// Goes on from there.
    pub fn recall(&mut self, from: &mut &[u8]) -> Option<()> {
        [&mut self.lines.below, &mut self.lines.above].into_iter().try_for_each(|line| past::take(from, line))
    }

    /// The logarithm of the largest excesses of a tick, in deviations about the mean.
    pub fn beyond(&mut self, limits: &Limits, x: &[f32]) -> f32 {
        self.lines.follow(limits, x);
        let mut top = [0.0f32; TOP];
        let limits = limits.high.iter().zip(&limits.low).zip(&limits.width);
        for ((below, above), ((high, low), width)) in self.lines.below.iter().zip(&self.lines.above).zip(limits) {
            let beyond = (below - high).max(low - above);
            // Seldom: over ordinary footage next to nothing is.
            if beyond > top[TOP - 1] * width {
                top[TOP - 1] = beyond / width;
                top.sort_unstable_by(|a, b| b.total_cmp(a));
            }
        }
        ((top.iter().map(|e| e * e).sum::<f32>() / TOP as f32).sqrt() + LEAST).ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten numbers that are 0, and each at 1 for 8 ticks when its turn comes.
    fn row(t: usize, stands: bool) -> [f32; 10] {
        let mut row = [0.0; 10];
        row[t / 8 % 10] = 1.0;
        if stands {
            row[3] = 1.0;
        }
        row
    }

    #[test]
    fn what_stays_longer_than_it_ever_did_is_found_and_what_passes_is_not() {
        let ordinary: Vec<_> = (0..1000).map(|t| row(t, false)).collect();
        let mut learner = Learner::new(10, ordinary.iter().map(|r| &r[..]));
        (0..1000).for_each(|t| learner.look(&row(t, false)));
        let limits = learner.limits();
        assert!(limits.fits(10) && !limits.fits(9));
        let mut stay = Stay::new(10);
        let mut most = |from: usize, to: usize, stands: bool| {
            (from..to).map(|t| stay.beyond(&limits, &row(t, stands))).fold(f32::NEG_INFINITY, f32::max)
        };
        let nothing = LEAST.ln();
        assert_eq!(most(0, 500, false), nothing);
        let (soon, late) = (most(520, 524, true), most(524, 600, true));
        assert!(soon == nothing && late > nothing + 2.0, "{soon} at once, {late} later");
        most(600, 700, false);
        assert_eq!(most(700, 900, false), nothing, "it ends with what stood there");
    }

    #[test]
    fn the_other_way_is_found_at_once() {
        let swing = |t: usize| [(t as f32 * 0.3).sin().max(0.0)];
        let ordinary: Vec<_> = (0..1000).map(swing).collect();
        let mut learner = Learner::new(1, ordinary.iter().map(|r| &r[..]));
        (0..1000).for_each(|t| learner.look(&swing(t)));
        let limits = learner.limits();
        let mut stay = Stay::new(1);
        let ordinary = (0..100).map(|t| stay.beyond(&limits, &swing(t))).fold(f32::NEG_INFINITY, f32::max);
        assert!(stay.beyond(&limits, &[-0.5]) > ordinary + 1.0);
    }
}
