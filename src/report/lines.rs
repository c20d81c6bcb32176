//! What reports mean for output lines, without any hardware: when a line is on, and until when at least.
//!
//! | a line in mode | is on |
//! |---|---|
//! | `level` | while its label is the class now, and at least `min_ms` |
//! | `pulse` | for `min_ms` from the moment when its label becomes the class |
//!
//! The class now is what the latest class or event report says. It is none when the box cannot tell: at `invalid`,
//! without a camera and while warming up, so that nothing stays on for a class of long ago.

use super::{Edge, Label, Novel, Report, State};
use crate::board::LineMode as Mode;
use std::time::{Duration, Instant};

/// One line's state.
#[derive(Clone, Debug)]
pub struct Follower {
    mode: Mode,
    min: Duration,
    /// The label was the class when last looked.
    current: bool,
    on: bool,
    /// Stays on until then, whatever comes.
    hold_until: Instant,
}

impl Follower {
    /// A line that is off.
    pub fn new(mode: Mode, min: Duration, now: Instant) -> Self {
        Self { mode, min, current: false, on: false, hold_until: now }
    }

    /// Says whether the line's label is the class now.
    pub fn follow(&mut self, current: bool, now: Instant) {
        if current && !self.current {
            self.on = true;
            self.hold_until = now + self.min;
        }
        self.current = current;
    }

    /// Whether the line is on at `now`.
    pub fn settle(&mut self, now: Instant) -> bool {
        if !self.wanted() && now >= self.hold_until {
            self.on = false;
        }
        self.on
    }

    /// When the line changes by itself.
    pub fn due(&self) -> Option<Instant> {
        (self.on && !self.wanted()).then_some(self.hold_until)
    }

    fn wanted(&self) -> bool {
        self.current && self.mode == Mode::Level
    }
}

/// The class now, whether there is an alarm, and what a report changes about it.
#[derive(Debug, Default)]
pub struct Class {
    now: Option<Label>,
    alarm: bool,
}

impl Class {
    /// Takes a report. True if it proves that a decision was made: the heartbeat line toggles then, and only then.
    pub fn take(&mut self, report: &Report) -> bool {
        match report {
            Report::Class(c) => {
                self.now = Some(c.label.clone());
                c.class.is_some()
            }
            Report::Event(e) if e.edge == Edge::Start => {
                self.now = Some(e.label.clone());
                true
            }
            Report::Event(e) => {
                if self.is(&e.label) {
                    self.now = None;
                }
                true
            }
            Report::Health(h) => {
                let decides = h.state.decides();
                if !decides {
                    *self = Self::default();
                }
                // A class that goes on is said again only now and then; that frames come and are decided on, every second.
                decides && h.state != State::Invalid && h.fps_tenths > 0
            }
            Report::Novelty(n) => {
                self.alarm = n.now == Novel::Alarm;
                false
            }
            Report::Place(_) => false,
        }
    }

    /// Is something here that was never here before.
    pub fn alarm(&self) -> bool {
        self.alarm
    }

    /// Is `label` the class now.
    pub fn is(&self, label: &str) -> bool {
        self.now.as_deref() == Some(label)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Health;
    use crate::report::tests::{class, event, health, novelty};

    /// Each step: at ms, is its label the class; expected: is the line on, and when it changes by itself.
    fn play(mode: Mode, min_ms: u64, steps: &[(u64, bool, bool, Option<u64>)]) {
        let start = Instant::now();
        let mut line = Follower::new(mode, Duration::from_millis(min_ms), start);
        for &(ms, current, on, due_ms) in steps {
            let now = start + Duration::from_millis(ms);
            line.follow(current, now);
            assert_eq!(line.settle(now), on, "{mode:?} at {ms} ms");
            assert_eq!(line.due(), due_ms.map(|ms| start + Duration::from_millis(ms)), "{mode:?} at {ms} ms");
        }
    }

    #[test]
    fn health_proves_decisions_only_while_frames_come() {
        let Report::Health(h) = health() else { unreachable!() };
        for (state, fps_tenths, proves) in [
            (State::Ok, 299, true),
            (State::Fallback, 10, true),
            // The capture thread hangs in a driver, and nobody has noticed yet.
            (State::Ok, 0, false),
            (State::Invalid, 299, false),
            (State::NoFrames, 299, false),
        ] {
            assert_eq!(
                Class::default().take(&Report::Health(Health { state: state.clone(), fps_tenths, ..h.clone() })),
                proves,
                "{state:?}"
            );
        }
    }

    #[test]
    fn level_lasts_as_long_as_the_class_and_at_least_its_minimum() {
        play(
            Mode::Level,
            100,
            &[
                (0, false, false, None),
                (10, true, true, None),
                (500, true, true, None),
                (501, false, false, None),
                (600, true, true, None),
                (620, false, true, Some(700)),
                (650, true, true, None),
                (660, false, true, Some(750)),
                (750, false, false, None),
            ],
        );
    }

    #[test]
    fn pulse_comes_once_per_beginning() {
        play(
            Mode::Pulse,
            100,
            &[
                (0, true, true, Some(100)),
                (50, true, true, Some(100)),
                (100, true, false, None),
                (200, true, false, None),
                (210, false, false, None),
                (220, true, true, Some(320)),
                (230, false, true, Some(320)),
                (240, true, true, Some(340)),
                (340, false, false, None),
            ],
        );
    }

    #[test]
    fn class_follows_reports_and_is_none_without_a_camera() {
        let mut now = Class::default();
        assert!(now.take(&event()) && now.is("right"));
        let Report::Event(mut end) = event() else { unreachable!() };
        end.edge = Edge::End;
        assert!(now.take(&Report::Event(end)) && !now.is("right"));
        assert!(now.take(&class()) && now.is("right"));
        assert!(!now.take(&novelty(true)) && now.is("right") && now.alarm());
        assert!(!now.take(&novelty(false)) && now.is("right") && !now.alarm());
        assert!(!now.take(&novelty(true)) && now.alarm());
        assert!(!now.take(&health()) && !now.is("right") && !now.alarm(), "warming up is no decision");
        let Report::Class(mut invalid) = class() else { unreachable!() };
        (invalid.class, invalid.label) = (None, Label::try_from("invalid").unwrap());
        assert!(!now.take(&Report::Class(invalid)) && now.is("invalid"), "an invalid tick is no decision");
    }
}
