//! How far long work is: one line on stderr, written over and over, and gone when the work is done.
//!
//! Only a terminal gets it. In a file or a service's log every state of the line would stay, so there is nothing.

use super::shown;
use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Short work needs no line: the first one comes after this.
const FIRST: Duration = Duration::from_millis(500);
/// Time between two lines.
const PAUSE: Duration = Duration::from_millis(250);

/// See the module's documentation.
#[derive(Debug)]
pub struct Progress {
    /// When the next line is due; `None` where nobody looks.
    due: Option<Mutex<Instant>>,
}

impl Progress {
    /// Of work that begins now.
    pub fn new() -> Self {
        Self { due: std::io::stderr().is_terminal().then(|| Mutex::new(Instant::now() + FIRST)) }
    }

    /// Shows this line in the place of the last one, where one is due. Several threads may work, and none waits: while one of them writes, nothing is due.
    pub fn say(&self, line: impl FnOnce() -> String) {
        let Some(mut due) = self.due.as_ref().and_then(|due| due.try_lock().ok()) else { return };
        if Instant::now() < *due {
            return;
        }
        *due = Instant::now() + PAUSE;
        let _ = write!(std::io::stderr(), "\r\x1b[K{}", shown(&line()));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.due.is_some() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

/// `[#####...............]`: how much of `all` is done, in twentieths.
pub fn bar(done: u64, all: u64) -> String {
    let twentieths = (done * 20 / all.max(1)).min(20) as usize;
    format!("[{}{}]", "#".repeat(twentieths), ".".repeat(20 - twentieths))
}
