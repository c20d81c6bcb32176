//! What is kept of a recording that is shown: traces of the ticks in which something happens, or sums of all of them.
//!
//! An example is seldom only the thing itself: somebody comes in first, and stands before. Ticks count in which the bundle saw something but its
//! background for half of the last ten ticks; if that are too few, all do: then the new class is one that the bundle takes for nothing. Every
//! fourth of them is kept, for neighbours say nearly the same.

use super::lesson::Example;
use super::moments::{Moments, Sums};
use super::packed::Packed;
use super::trace::{SPAN, Trace};
use std::collections::VecDeque;

/// Every so many ticks are kept.
const STEP: usize = 4;
/// Most traces of an example: the last ones; 25 s of them at ten ticks a second.
const MOST: usize = 64;
/// Ticks in which something happens that are enough to be an example of it.
const ENOUGH: usize = 3;

/// One recording, or a stretch of a live source, tick by tick.
#[derive(Debug)]
pub struct Show {
    trace: Trace,
    /// Mean probabilities over the same ten ticks, and the share of ticks in which something happened.
    p: Trace,
    busy: Trace,
    background: usize,
    /// Newest last.
    ticks: VecDeque<Tick>,
    seen: usize,
}

/// What is known of a tick, looking back on ten.
#[derive(Debug)]
struct Tick {
    trace: Vec<f32>,
    /// Something happened.
    busy: bool,
    /// How sure the bundle was of one of its own classes.
    sure: f32,
}

impl Show {
    /// For a head of `hidden` units and `classes` classes.
    pub fn new(hidden: usize, classes: usize, background: usize) -> Self {
        let (trace, p, busy) = (Trace::new(hidden), Trace::new(classes), Trace::new(1));
        Self { trace, p, busy, background, ticks: VecDeque::new(), seen: 0 }
    }

    /// A tick: the state of the head and the probabilities of the bundle's own classes. The class that it counts for.
    pub fn tick(&mut self, state: &[f32], p: &[f32]) -> usize {
        let mean = self.p.push(p);
        let class = (0..p.len()).fold(0, |best, c| if mean[c] > mean[best] { c } else { best });
        let sure = mean[class];
        let busy = self.busy.push(&[if p[self.background] < 0.5 { 1.0 } else { 0.0 }])[0] >= 0.5 - 1e-3;
        if self.ticks.len() == STEP * MOST {
            self.ticks.pop_front();
        }
        self.ticks.push_back(Tick { trace: self.trace.push(state).to_vec(), busy, sure });
        self.seen += 1;
        class
    }

    /// Ticks so far.
    pub fn seen(&self) -> usize {
        self.seen
    }

    /// The trace of the newest tick, if it is one to be kept.
    pub fn newest(&self) -> Option<&[f32]> {
        self.ticks.back().filter(|_| self.seen.is_multiple_of(STEP)).map(|tick| tick.trace.as_slice())
    }

    /// What is kept of it; nothing where it was shorter than ten ticks.
    pub fn example(&self, from: &str) -> Option<Example> {
        if self.seen < SPAN {
            return None;
        }
        let busy = self.ticks.iter().filter(|t| t.busy).count() >= ENOUGH;
        let kept: Vec<&Tick> = self.ticks.iter().rev().filter(|t| t.busy || !busy).step_by(STEP).collect();
        let sure: Vec<f32> = kept.iter().map(|t| t.sure).collect();
        Some(Example {
            from: from.chars().take(200).collect(),
            traces: kept.iter().map(|t| Packed::round(&t.trace)).collect(),
            sure: Packed::round(&sure),
        })
    }
}

/// Sums of ordinary recordings.
#[derive(Debug)]
pub struct Ordinary {
    sums: Sums,
    classes: usize,
}

impl Ordinary {
    /// For a head of `hidden` units and `classes` classes, and so many motions without a name.
    pub fn new(hidden: usize, classes: usize, nameless: usize) -> Self {
        Self { sums: Sums::new(classes + nameless, 2 * hidden), classes }
    }

    /// The tick that `show` has just taken, which counts for `class`.
    pub fn take(&mut self, show: &Show, class: usize) {
        if let Some(trace) = show.newest() {
            self.sums.add(class.min(self.classes - 1), trace);
        }
    }

    /// Takes an example of motion `which` of those without a name.
    pub fn nameless(&mut self, which: usize, example: &Example) {
        example.traces.iter().for_each(|trace| self.sums.add(self.classes + which, &trace.0));
    }

    /// As it is kept.
    pub fn moments(&self) -> Moments {
        self.sums.moments()
    }
}
