//! How a training goes: a line an epoch on stderr.
//!
//! They stay, and stand in a file or a service's log too, because what each epoch came to is worth looking at later; so this is not
//! [`crate::cli::progress`], whose one line is gone when the work is done.

use crate::cli::progress::bar;
use crate::train::course::Course;
use crate::train::fit::Epoch;
use crate::train::set::Set;
use std::io::Write;

/// See the module's documentation.
#[derive(Debug)]
pub struct Epochs {
    /// Epochs of a training at most.
    most: usize,
    /// The training that is on, from 1; 0 before the first.
    training: usize,
    /// Is the best epoch taken, or the last?
    chooses: bool,
    /// What is judged.
    what: &'static str,
}

impl Epochs {
    /// Of a course that begins.
    pub fn new(course: &Course, set: &Set) -> Self {
        Self {
            most: course.settings.epochs,
            training: 0,
            chooses: course.folds == 1 && course.settings.patience > 0,
            what: if set.stretches { "ticks" } else { "clips" },
        }
    }

    /// Says what an epoch of one training of `all` came to.
    pub fn say(&mut self, training: usize, all: usize, e: &Epoch) {
        let mut err = std::io::stderr();
        if self.training != training {
            self.training = training;
            let _ = writeln!(err, "training {training} of {all}");
        }
        let judged = if e.judged.is_nan() {
            String::new()
        } else {
            let best = if e.best && self.chooses { "  best" } else { "" };
            format!("  judged loss {:.3}, {} right {:5.1} %{best}", e.judged, self.what, e.accuracy * 100.0)
        };
        let bar = bar(e.n as u64, self.most as u64);
        let _ = writeln!(err, "  epoch {:3} {bar} loss {:.3}{judged}  {:.1} s", e.n, e.loss, e.seconds);
    }
}
