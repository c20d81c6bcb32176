//! Events back into stretches of time: what a recording as a whole says.

use crate::bundle::Answer;
use crate::pipeline::Probe;
use crate::report::{ClassId, Edge, Label, Novelty, Report};
use crate::shaper::Region;
use crate::source::Timestamp;

/// A stretch of one class.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    /// The class.
    pub class: ClassId,
    /// Its name.
    pub label: Label,
    /// True onset, ms from the first frame.
    pub start_ms: u64,
    /// End, ms from the first frame.
    pub end_ms: u64,
    /// Mean probability over its ticks (its peak where no tick was recorded).
    pub p: f32,
}

/// Collects segments from reports, and every decided tick's probabilities.
#[derive(Debug)]
pub struct Timeline {
    classes: usize,
    at: Vec<Timestamp>,
    p: Vec<f32>,
    /// Where something moved, where that was asked for.
    places: Vec<(Timestamp, Region)>,
    segments: Vec<Segment>,
    /// What novelty said, tick by tick, where that was asked for.
    novel: Vec<Novelty>,
}

impl Timeline {
    /// For a bundle of `classes` labels, with room for `ticks` ticks (it grows beyond them).
    pub fn new(classes: usize, ticks: usize) -> Self {
        Self {
            classes,
            at: Vec::with_capacity(ticks),
            p: Vec::with_capacity(ticks * classes),
            places: vec![],
            segments: Vec::with_capacity(64),
            novel: vec![],
        }
    }

    /// Takes the ends of events, and what novelty says; everything else passes by.
    pub fn take(&mut self, report: &Report) {
        if let Report::Novelty(n) = report {
            self.novel.push(n.clone());
        }
        if let Report::Event(e) = report
            && e.edge == Edge::End
        {
            let start_ms = e.onset.ms();
            let end_ms = start_ms + u64::from(e.duration_ms);
            self.segments.push(Segment { class: e.class, label: e.label.clone(), start_ms, end_ms, p: e.peak });
        }
    }

    /// Takes over the segments, and what novelty said, of another timeline, which heard the reports while this one heard the ticks.
    pub fn adopt(&mut self, other: Self) {
        (self.segments, self.novel) = (other.segments, other.novel);
    }

    /// Ticks decided.
    pub fn ticks(&self) -> usize {
        self.at.len()
    }

    /// Stamps of the decided ticks.
    pub fn stamps(&self) -> &[Timestamp] {
        &self.at
    }

    /// Ticks in which something moved, and where.
    pub fn places(&self) -> &[(Timestamp, Region)] {
        &self.places
    }

    /// What novelty said, tick by tick.
    pub fn novel(&self) -> &[Novelty] {
        &self.novel
    }

    /// Probabilities of a decided tick, in label order.
    pub fn p(&self, tick: usize) -> &[f32] {
        &self.p[tick * self.classes..][..self.classes]
    }

    /// All segments in time, each with its mean probability.
    pub fn segments(&self) -> Vec<Segment> {
        let mut segments = self.segments.clone();
        for s in &mut segments {
            let class = usize::from(s.class.0);
            let inside =
                self.at.iter().zip(self.p.chunks_exact(self.classes)).filter(|(at, _)| (s.start_ms..s.end_ms).contains(&at.ms()));
            let (sum, n) = inside.fold((0.0, 0), |(sum, n), (_, p)| (sum + p[class], n + 1));
            if n > 0 {
                s.p = sum / n as f32;
            }
        }
        segments
    }

    /// The class that was on at `at`, or `background`.
    pub fn class_at(&self, at: Timestamp, background: ClassId) -> ClassId {
        let on = self.segments.iter().find(|s| (s.start_ms..s.end_ms).contains(&at.ms()));
        on.map_or(background, |s| s.class)
    }

    /// The one answer for the whole recording, as the contract wants it: the class of the segments that weigh most (time times probability), or of
    /// the mean probabilities, also where there is no segment. `None` when no tick was decided.
    pub fn answer(&self, how: Answer) -> Option<(ClassId, f32)> {
        let mean = self.mean();
        let by_mean = best(&mean).filter(|_| !self.at.is_empty()).map(|b| (ClassId(b as u8), mean[b]));
        if how == Answer::Mean {
            return by_mean;
        }
        let segments = self.segments();
        let mut weight = vec![0.0f32; self.classes];
        segments.iter().for_each(|s| weight[usize::from(s.class.0)] += s.p * (s.end_ms - s.start_ms) as f32);
        if let Some(best) = best(&weight).filter(|b| weight[*b] > 0.0) {
            let time: u64 = segments.iter().filter(|s| usize::from(s.class.0) == best).map(|s| s.end_ms - s.start_ms).sum();
            return Some((ClassId(best as u8), weight[best] / time as f32));
        }
        by_mean
    }

    /// Mean probability of every class over the decided ticks.
    pub fn mean(&self) -> Vec<f32> {
        let mut mean = vec![0.0f32; self.classes];
        self.p.chunks_exact(self.classes).for_each(|p| mean.iter_mut().zip(p).for_each(|(m, p)| *m += p / self.at.len() as f32));
        mean
    }
}

fn best(values: &[f32]) -> Option<usize> {
    (0..values.len()).max_by(|a, b| values[*a].total_cmp(&values[*b]).then(b.cmp(a)))
}

impl Probe for Timeline {
    fn decided(&mut self, at: Timestamp, p: &[f32], _class: ClassId) {
        self.at.push(at);
        self.p.extend_from_slice(p);
    }
    fn placed(&mut self, at: Timestamp, place: Region) {
        self.places.push((at, place));
    }
}
