//! Standard error of a run, which waits for nobody: a reader that sleeps (Ctrl-S, a journal on a dead card, a log pipe that nobody empties) costs lines of
//! the log and never a frame, a report or the watchdog.

use crate::report::outbox::timespec;
use rustix::event::{PollFd, PollFlags, poll};
use std::io::{self, Write};
use std::time::Duration;

/// At most so much at once: what the reader's end has room for where there is any (a page of a pipe, pipe(7)).
const PIECE: usize = 4096;

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct Unwaited {
    /// Lines that nobody took since the last one that was.
    left_out: u32,
}

impl Write for Unwaited {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.left_out > 0
            && say(format!("lookout: {} lines of the log left out: nobody took them\n", self.left_out).as_bytes(), Duration::ZERO)
        {
            self.left_out = 0;
        }
        if self.left_out > 0 || !say(line, Duration::ZERO) {
            self.left_out += 1;
        }
        // What is left out is said, and is no reason to try again.
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes all of it where the reader takes it within `patience` a piece; false where it does not.
pub fn say(text: &[u8], patience: Duration) -> bool {
    text.chunks(PIECE).all(|piece| {
        let mut rest = piece;
        while !rest.is_empty() && has_room(patience) {
            // Not through std's lock: whoever holds it may be waiting.
            match rustix::io::write(rustix::stdio::stderr(), rest) {
                Ok(n) if n > 0 => rest = &rest[n..],
                Err(rustix::io::Errno::INTR) => {}
                _ => break,
            }
        }
        rest.is_empty()
    })
}

fn has_room(patience: Duration) -> bool {
    let stderr = rustix::stdio::stderr();
    let mut fds = [PollFd::new(&stderr, PollFlags::OUT)];
    let wait = timespec(patience);
    poll(&mut fds, Some(&wait)).is_ok_and(|ready| ready > 0)
}
