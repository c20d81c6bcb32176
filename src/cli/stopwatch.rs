//! Time and allocations per stage and tick, measured from outside the pipeline.

use crate::pipeline::{Probe, Stage};
use crate::sys::alloc;
use std::time::{Duration, Instant};

/// Stages in the order in which they are shown.
pub const STAGES: [(Stage, &str); 9] = [
    (Stage::Shaper, "shaper"),
    (Stage::Gate, "gate"),
    (Stage::Flow, "flow"),
    (Stage::Encoder, "encoder"),
    (Stage::Ring, "ring"),
    (Stage::Place, "place"),
    (Stage::Novelty, "novelty"),
    (Stage::Head, "head"),
    (Stage::Decision, "decision + sentence"),
];

/// Ticks of a pipeline (4 s of the built-in bundle) after which caches are warm, buffers are there and tract has what it keeps: they are left out, where any come after.
pub const WARM_UP: usize = 40;

/// One tick's figures, by the order of [`STAGES`].
pub type Sample = [(Duration, u32); STAGES.len()];

/// See the module's documentation.
#[derive(Debug)]
pub struct Stopwatch {
    since: (Instant, u64),
    seen: usize,
    tick: Sample,
    early: Vec<Sample>,
    samples: Vec<Sample>,
}

impl Stopwatch {
    /// Room for `ticks` ticks, so that watching allocates nothing.
    pub fn new(ticks: usize) -> Self {
        Self {
            since: (Instant::now(), alloc::count()),
            seen: 0,
            tick: Sample::default(),
            early: Vec::with_capacity(ticks),
            samples: Vec::with_capacity(ticks),
        }
    }

    /// Another pipeline begins, and has to warm up.
    pub fn again(&mut self) {
        self.seen = 0;
    }

    /// Ticks measured.
    pub fn ticks(&self) -> usize {
        self.kept().len()
    }

    /// A bundle of slow ticks may have none that are not early.
    fn kept(&self) -> &[Sample] {
        if self.samples.is_empty() { &self.early } else { &self.samples }
    }

    /// Median time, mean time and mean allocations of a stage.
    pub fn stage(&self, stage: Stage) -> (Duration, Duration, f64) {
        let n = STAGES.iter().position(|(s, _)| *s == stage).unwrap_or(0);
        self.figures(|sample| sample[n])
    }

    /// The same for whole ticks.
    pub fn whole(&self) -> (Duration, Duration, f64) {
        self.figures(|sample| sample.iter().fold(Default::default(), |(t, a), (time, allocs)| (t + *time, a + allocs)))
    }

    fn figures(&self, of: impl Fn(&Sample) -> (Duration, u32)) -> (Duration, Duration, f64) {
        let mut times: Vec<Duration> = self.kept().iter().map(|s| of(s).0).collect();
        times.sort_unstable();
        let count = times.len().max(1);
        let allocs: u64 = self.kept().iter().map(|s| u64::from(of(s).1)).sum();
        let mean = times.iter().sum::<Duration>() / u32::try_from(count).unwrap_or(u32::MAX);
        (times.get(count / 2).copied().unwrap_or_default(), mean, allocs as f64 / count as f64)
    }
}

impl Probe for Stopwatch {
    fn start(&mut self) {
        self.since = (Instant::now(), alloc::count());
    }

    fn lap(&mut self, stage: Stage) {
        let now = (Instant::now(), alloc::count());
        if let Some(n) = STAGES.iter().position(|(s, _)| *s == stage) {
            self.tick[n].0 += now.0 - self.since.0;
            self.tick[n].1 += u32::try_from(now.1 - self.since.1).unwrap_or(u32::MAX);
        }
        if stage == Stage::Decision {
            let tick = std::mem::take(&mut self.tick);
            self.seen += 1;
            let to = if self.seen > WARM_UP { &mut self.samples } else { &mut self.early };
            if to.len() < to.capacity() {
                to.push(tick);
            }
        }
        self.since = (Instant::now(), now.1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn early_ticks_count_only_where_no_others_come() {
        let mut watch = Stopwatch::new(100);
        (0..WARM_UP).for_each(|_| watch.lap(Stage::Decision));
        assert_eq!(watch.ticks(), WARM_UP, "a bundle of slow ticks has no others");
        watch.lap(Stage::Decision);
        assert_eq!(watch.ticks(), 1);
        watch.again();
        watch.lap(Stage::Decision);
        assert_eq!(watch.ticks(), 1, "another pipeline warms up");
    }
}
