//! From probabilities to classes and events: one enum of states, one transition function.
//!
//! A class starts when its probability has been at least `enter` for `min_ms`, and ends when it has been below `leave`
//! for `min_ms`; between the two thresholds it stays, so outputs do not flap. Onsets are true: an event that takes
//! `min_ms` to believe still says when its run of ticks began. While one class is on, another that enters ends it.
//! The background class makes no events. Of classes that are all above `enter`, which takes an `enter` below a half, the strongest may start; and while
//! the one that is on is at or above its `leave`, only a stronger one: two that are both seen do not throw each other out.
//! What came near a start and did not is logged for whoever asks why (`-v`).

use crate::report::{ClassId, Edge, Event, Label};
use crate::source::Timestamp;
use heapless::Vec;
use std::time::Duration;

/// Where alarms are counted, one that stays on counts again after so long: one that is always on would be a single one.
pub const AGAIN: Duration = Duration::from_secs(8);

/// When one class counts as seen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// Probability at which it may start, 0 to 1; 1: never.
    pub enter: f32,
    /// Probability below which it may end, at most `enter`.
    pub leave: f32,
    /// How long either must hold.
    pub min: Duration,
}

impl Thresholds {
    /// May a class of this probability start? A softmax can round to 1, and 1 is how a class is switched off.
    fn admits(&self, p: f32) -> bool {
        p >= self.enter && self.enter < 1.0
    }
}

impl From<&crate::bundle::Decision> for Thresholds {
    fn from(d: &crate::bundle::Decision) -> Self {
        Self { enter: d.enter, leave: d.leave, min: Duration::from_millis(d.min_ms.into()) }
    }
}

/// What one tick said.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The class that is on now (the background when none is).
    pub class: ClassId,
    /// Its probability in this tick.
    pub p: f32,
    /// An end, a start, or an end and a start.
    pub events: Vec<Event, 2>,
}

/// A class whose probability is at or above its `enter`, and since when.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Run {
    class: usize,
    since: Timestamp,
    peak: f32,
}

/// What is on.
#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// Nothing but the background.
    Background,
    /// A class, since its onset, with its highest probability.
    On(Run),
    /// A class that has been below `leave` since `low`.
    Fading { on: Run, low: Timestamp },
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Decision {
    labels: Box<[Label]>,
    thresholds: Box<[Thresholds]>,
    background: usize,
    state: State,
    /// A class on its way in.
    entering: Option<Run>,
    /// A class that is at or above its `leave` while none is on.
    near: Option<Run>,
    /// Does it say what came near?
    explains: bool,
}

impl Decision {
    /// One threshold set a label, in output order; `background` is an index into `labels`.
    pub fn new(labels: &[Label], thresholds: &[Thresholds], background: usize) -> Self {
        assert!(labels.len() == thresholds.len() && background < labels.len(), "the bundle's contract was checked");
        let (state, entering, near, explains) = (State::Background, None, None, false);
        Self { labels: labels.into(), thresholds: thresholds.into(), background, state, entering, near, explains }
    }

    /// The same, and it logs what came near a start and did not, where that is listened to.
    #[must_use]
    pub fn explaining(self) -> Self {
        Self { explains: log::log_enabled!(log::Level::Debug), ..self }
    }

    /// The same classes, and more behind them, with their thresholds.
    pub fn grow(&mut self, labels: &[Label], thresholds: &[Thresholds]) {
        assert!(labels.len() == thresholds.len() && labels.len() >= self.labels.len(), "labels keep their numbers");
        (self.labels, self.thresholds) = (labels.into(), thresholds.into());
    }

    /// One tick's probabilities, one a label.
    pub fn update(&mut self, at: Timestamp, p: &[f32]) -> Verdict {
        self.entering = self.enter(at, p);
        let (state, events) = self.next(at, p);
        if state != self.state && matches!(state, State::On(run) if self.entering.is_some_and(|e| e.class == run.class)) {
            self.entering = None;
        }
        self.state = state;
        let class = match state {
            State::On(run) | State::Fading { on: run, .. } => run.class,
            State::Background => self.background,
        };
        if self.explains {
            self.explain(at, p, class);
        }
        Verdict { class: ClassId(class as u8), p: p[class], events }
    }

    /// Follows the class that is near a start while nothing is on, and logs it where that came to nothing.
    fn explain(&mut self, at: Timestamp, p: &[f32], on: usize) {
        let is_near = |c: usize| p[c] >= self.thresholds[c].leave;
        let strongest =
            || (0..p.len()).filter(|c| *c != self.background && is_near(*c)).reduce(|a, b| if p[b] > p[a] { b } else { a });
        let idle = on == self.background;
        self.near = match self.near {
            Some(run) if idle && is_near(run.class) => Some(Run { peak: run.peak.max(p[run.class]), ..run }),
            None if idle => strongest().map(|class| Run { class, since: at, peak: p[class] }),
            None => None,
            Some(run) => {
                if on != run.class {
                    self.missed(run, at);
                }
                None
            }
        };
    }

    fn missed(&self, run: Run, at: Timestamp) {
        let Thresholds { enter, min, .. } = self.thresholds[run.class];
        let (label, peak, from, to) = (&self.labels[run.class], run.peak, run.since.ms(), at.ms());
        log::debug!("{label} came to {peak:.3}, {from} to {to} ms, and did not start: that takes {enter} for {min:?}");
    }

    /// Ends whatever is on (the stream broke or the window is invalid), as of `at`.
    pub fn interrupt(&mut self, at: Timestamp) -> Option<Event> {
        self.entering = None;
        if let Some(run) = self.near.take() {
            self.missed(run, at);
        }
        match std::mem::replace(&mut self.state, State::Background) {
            State::Background => None,
            State::On(on) => Some(self.event(Edge::End, at, on, at)),
            State::Fading { on, low } => Some(self.event(Edge::End, at, on, low)),
        }
    }

    /// The run of the strongest class that is at or above its `enter`, is not on already, and is stronger than the one that is on and stays so.
    fn enter(&self, at: Timestamp, p: &[f32]) -> Option<Run> {
        let on = match self.state {
            State::On(run) | State::Fading { on: run, .. } => Some(run.class),
            State::Background => None,
        };
        let beats = |c: usize| on.is_none_or(|on| c != on && (p[c] > p[on] || p[on] < self.thresholds[on].leave));
        let best = (0..p.len()).filter(|&c| c != self.background && beats(c) && self.thresholds[c].admits(p[c]));
        let class = best.reduce(|a, b| if p[b] > p[a] { b } else { a })?;
        Some(match self.entering {
            Some(run) if run.class == class => Run { peak: run.peak.max(p[class]), ..run },
            _ => Run { class, since: at, peak: p[class] },
        })
    }

    /// The transition function.
    fn next(&self, at: Timestamp, p: &[f32]) -> (State, Vec<Event, 2>) {
        let mut events = Vec::new();
        let entered = self.entering.filter(|run| at.since(run.since) >= self.thresholds[run.class].min);
        let state = match (self.state, entered) {
            (State::Background, None) => State::Background,
            (State::Background, Some(run)) => {
                let _ = events.push(self.event(Edge::Start, at, run, at));
                State::On(run)
            }
            // Another class came in: the old one ended where it began to fade, or where the new one began.
            (State::On(on), Some(run)) => self.hand_over(at, on, run.since, run, &mut events),
            (State::Fading { on, low }, Some(run)) => self.hand_over(at, on, low.min(run.since), run, &mut events),
            (State::On(on), None) if p[on.class] < self.thresholds[on.class].leave => self.fade(at, on, at, &mut events),
            (State::On(on), None) => State::On(Run { peak: on.peak.max(p[on.class]), ..on }),
            (State::Fading { on, .. }, None) if p[on.class] >= self.thresholds[on.class].leave => {
                State::On(Run { peak: on.peak.max(p[on.class]), ..on })
            }
            (State::Fading { on, low }, None) => self.fade(at, on, low, &mut events),
        };
        (state, events)
    }

    fn fade(&self, at: Timestamp, on: Run, low: Timestamp, events: &mut Vec<Event, 2>) -> State {
        if at.since(low) < self.thresholds[on.class].min {
            return State::Fading { on, low };
        }
        let _ = events.push(self.event(Edge::End, at, on, low));
        State::Background
    }

    fn hand_over(&self, at: Timestamp, old: Run, until: Timestamp, new: Run, events: &mut Vec<Event, 2>) -> State {
        let _ = events.push(self.event(Edge::End, at, old, until.max(old.since)));
        let _ = events.push(self.event(Edge::Start, at, new, at));
        State::On(new)
    }

    fn event(&self, edge: Edge, at: Timestamp, run: Run, until: Timestamp) -> Event {
        let duration_ms = u32::try_from(until.since(run.since).as_millis()).unwrap_or(u32::MAX);
        let (class, label) = (ClassId(run.class as u8), self.labels[run.class].clone());
        Event { at, edge, class, label, onset: run.since, duration_ms, peak: run.peak }
    }
}

/// Logits to probabilities, in place, after dividing by `temperature` (above 0). `false` when a number is not finite.
pub fn softmax(values: &mut [f32], temperature: f32) -> bool {
    let max = values.iter().fold(f32::NEG_INFINITY, |m, v| m.max(*v));
    if values.iter().any(|v| !v.is_finite()) {
        return false;
    }
    let mut sum = 0.0;
    for v in values.iter_mut() {
        *v = ((*v - max) / temperature).exp();
        sum += *v;
    }
    values.iter_mut().for_each(|v| *v /= sum);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decision(enter: f32, leave: f32) -> Decision {
        let labels = ["idle", "left", "right"].map(|l| Label::try_from(l).unwrap());
        let t = Thresholds { enter, leave, min: Duration::from_millis(200) };
        Decision::new(&labels, &[t; 3], 0)
    }

    /// Plays `p(left), p(right)` at 100 ms ticks; returns "S left 300 0" = edge, label, onset, duration.
    fn play(ticks: &[(f32, f32)]) -> std::vec::Vec<String> {
        play_through(decision(0.6, 0.4), ticks)
    }

    fn play_through(mut d: Decision, ticks: &[(f32, f32)]) -> std::vec::Vec<String> {
        let mut said = vec![];
        for (n, (l, r)) in ticks.iter().enumerate() {
            let v = d.update(Timestamp::from_ms(100 * n as u64), &[1.0 - l - r, *l, *r]);
            said.extend(v.events.iter().map(|e| {
                let edge = if e.edge == Edge::Start { "S" } else { "E" };
                format!("{}@{} {} {} {}", edge, n, e.label, e.onset.ms(), e.duration_ms)
            }));
        }
        said
    }

    #[test]
    fn an_event_needs_min_ms_and_keeps_its_true_onset() {
        let on = [(0.0, 0.0), (0.9, 0.0), (0.9, 0.0), (0.9, 0.0), (0.9, 0.0), (0.1, 0.0), (0.1, 0.0), (0.1, 0.0)];
        assert_eq!(play(&on), ["S@3 left 100 200", "E@7 left 100 400"]);
        assert!(play(&[(0.0, 0.0), (0.9, 0.0), (0.9, 0.0), (0.0, 0.0), (0.9, 0.0)]).is_empty());
    }

    #[test]
    fn between_the_thresholds_a_class_stays_and_none_begins() {
        assert!(play(&[(0.5, 0.0); 10]).is_empty());
        let mut ticks = vec![(0.9, 0.0); 3];
        ticks.extend([(0.45, 0.0); 20]);
        assert_eq!(play(&ticks), ["S@2 left 0 200"]);
    }

    #[test]
    fn a_short_dip_does_not_end_it() {
        let ticks = [(0.9, 0.0), (0.9, 0.0), (0.9, 0.0), (0.1, 0.0), (0.9, 0.0), (0.9, 0.0)];
        assert_eq!(play(&ticks), ["S@2 left 0 200"]);
    }

    #[test]
    fn another_class_takes_over_where_it_began() {
        let ticks = [(0.9, 0.0), (0.9, 0.0), (0.9, 0.0), (0.1, 0.8), (0.1, 0.8), (0.1, 0.8)];
        assert_eq!(play(&ticks), ["S@2 left 0 200", "E@5 left 0 300", "S@5 right 300 200"]);
    }

    #[test]
    fn of_two_that_are_both_seen_the_weaker_one_does_not_come_in() {
        let low = || decision(0.3, 0.2);
        let mut ticks = vec![(0.45, 0.4); 20];
        assert_eq!(play_through(low(), &ticks), ["S@2 left 0 200"]);
        // As strong is not stronger.
        assert_eq!(play_through(low(), &[ticks.clone(), vec![(0.4, 0.4); 20]].concat()), ["S@2 left 0 200"]);
        // The other one is stronger from tick 20 on.
        let stronger = [ticks.clone(), vec![(0.35, 0.5); 20]].concat();
        assert_eq!(play_through(low(), &stronger), ["S@2 left 0 200", "E@22 left 0 2000", "S@22 right 2000 200"]);
        // The first one fades: whoever may start comes in, and the first one's end is where it began to fade.
        ticks.extend([(0.1, 0.4); 20]);
        assert_eq!(play_through(low(), &ticks), ["S@2 left 0 200", "E@22 left 0 2000", "S@22 right 2000 200"]);
    }

    #[test]
    fn an_interruption_ends_what_is_on_once() {
        let mut d = decision(0.6, 0.4);
        for n in 0..4 {
            d.update(Timestamp::from_ms(100 * n), &[0.0, 1.0, 0.0]);
        }
        let e = d.interrupt(Timestamp::from_ms(400)).unwrap();
        assert_eq!((e.edge, e.duration_ms), (Edge::End, 400));
        assert!(d.interrupt(Timestamp::from_ms(500)).is_none());
    }

    #[test]
    fn softmax_refuses_what_is_not_finite() {
        let mut p = [1.0, 2.0, 3.0];
        assert!(softmax(&mut p, 1.0));
        // numpy: exp([1,2,3]) / sum
        for (a, b) in p.iter().zip([0.090_030_57, 0.244_728_48, 0.665_240_9]) {
            assert!((a - b).abs() < 1e-6);
        }
        assert!(!softmax(&mut [1.0, f32::NAN], 1.0));
        assert!(!softmax(&mut [1.0, f32::INFINITY], 1.0));
    }
}
