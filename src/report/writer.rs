//! What all sinks have in common: an outbox and one thread that empties it into a device.

use super::outbox::{DoneOnDrop, Outbox};
use super::{Pace, Report, ReportError, Sink};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// A dropped sink still gets this long, so that lines reach their safe state.
const LAST_CHANCE: Duration = Duration::from_millis(250);

/// A sink whose work is done by `thread`.
pub(super) struct Writer {
    outbox: Arc<Outbox>,
    thread: Option<JoinHandle<()>>,
    /// The ticket of the last nudge; `None`: this writer may rightly wait.
    asked: Option<u64>,
}

impl Writer {
    /// Starts `work` on a thread of its own. It ends when the outbox says `closing`.
    pub fn start(name: &str, pace: Pace, work: impl FnOnce(&Outbox) + Send + 'static) -> Result<Self, ReportError> {
        let lost = |e: std::io::Error| ReportError::Lost { what: name.into(), why: format!("no writer thread: {e}") };
        let outbox = Arc::new(Outbox::new(pace).map_err(lost)?);
        let thread = std::thread::Builder::new().name(format!("write {name}").chars().take(15).collect()).spawn({
            let outbox = outbox.clone();
            move || {
                let done = DoneOnDrop(outbox);
                work(&done.0);
            }
        });
        Ok(Self { outbox, thread: Some(thread.map_err(lost)?), asked: Some(0) })
    }

    /// A disk that hangs, or a reader that sleeps, is no reason to start the program again: this writer is always awake.
    pub fn may_wait(mut self) -> Self {
        self.asked = None;
        self
    }
}

impl Sink for Writer {
    fn send(&mut self, seq: u32, report: &Report) {
        self.outbox.push(seq, report);
    }

    fn gone(&self) -> bool {
        self.outbox.gone()
    }

    fn awake(&mut self) -> bool {
        let Some(asked) = self.asked else { return true };
        let awake = self.outbox.has_looked(asked);
        if awake {
            self.asked = Some(self.outbox.nudge());
        }
        awake
    }

    fn close(&mut self, limit: Duration) -> bool {
        let Some(thread) = self.thread.take() else { return !self.outbox.lost() };
        if !self.outbox.close(limit) {
            log::warn!("{} did not finish within {limit:?}", thread.thread().name().unwrap_or("a writer"));
            return false;
        }
        // A panic in the thread was printed when it happened.
        let _ = thread.join();
        !self.outbox.lost()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.close(LAST_CHANCE);
    }
}
