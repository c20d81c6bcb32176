//! Numbers the reports and hands each to every sink.

use crate::report::{self, Edge, Label, Novel, Report, Sink};
use crate::source::Timestamp;
use std::time::Duration;

/// See the module's documentation.
pub struct Herald {
    pub sinks: Vec<Box<dyn Sink>>,
    pub seq: u32,
    /// What began since somebody last looked, and when: a class, or an alarm.
    pub begun: Option<(Label, Timestamp)>,
    /// Is there an alarm?
    pub alarm: bool,
}

impl Herald {
    pub fn say(&mut self, report: &Report) {
        match report {
            // Of an alarm and a class in one tick, the alarm.
            Report::Event(e)
                if e.edge == Edge::Start && self.begun.as_ref().is_none_or(|(label, _)| *label != report::novelty()) =>
            {
                self.begun = Some((e.label.clone(), e.at));
            }
            Report::Novelty(n) => {
                let alarm = n.now == Novel::Alarm;
                if alarm && !self.alarm {
                    self.begun = Some((report::novelty(), n.at));
                }
                self.alarm = alarm;
            }
            _ => {}
        }
        self.sinks.iter_mut().for_each(|s| s.send(self.seq, report));
        self.seq = self.seq.wrapping_add(1);
    }

    /// A run whose only readers went away for good has nobody to watch for.
    pub fn is_alone(&self) -> bool {
        !self.sinks.is_empty() && self.sinks.iter().all(|s| s.gone())
    }

    /// Has every writer come round since the last time this was asked?
    pub fn is_awake(&mut self) -> bool {
        let mut all = true;
        for sink in &mut self.sinks {
            all &= sink.awake(); // those behind a sleeper are asked too
        }
        all
    }

    /// False: a sink lost reports.
    pub fn close(&mut self, limit: Duration) -> bool {
        let mut whole = true;
        for sink in &mut self.sinks {
            whole &= sink.close(limit); // those behind a loser are closed too
        }
        whole
    }
}
