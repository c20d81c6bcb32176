//! Standard error of a run, which waits for nobody: a reader that sleeps (a stuck terminal, a journal on a dead card, a log pipe that nobody empties) costs
//! lines of the log and never a frame, a report or the watchdog.
//!
//! What others share with us is not ours to change, so a pipe or terminal is opened a second time, without blocking (proc(5), `/proc/self/fd`).

use crate::report::outbox::timespec;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{FileType, OFlags};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

/// At most so much at once: what a pipe or socket has room for where it has any (pipe(7)).
const PIECE: usize = 4096;
/// How long whoever reads is waited for at the end of a run, and of a recording, which has time, at every line.
const LAST_WORD: Duration = Duration::from_millis(250);
const PATIENT: Duration = Duration::from_secs(3600);

/// Ours, of a pipe or a terminal.
static OWN: OnceLock<Option<File>> = OnceLock::new();
/// Lines that nobody took since the last one that was.
static LEFT_OUT: AtomicU32 = AtomicU32::new(0);
/// The last line was taken in part.
static TORN: AtomicBool = AtomicBool::new(false);
/// A recording is played: there is no camera that would have to wait.
static WAITS: AtomicBool = AtomicBool::new(false);

/// The log of a run. See the module's documentation.
#[derive(Debug)]
pub struct Unwaited;

impl Write for Unwaited {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let patience = if WAITS.load(Ordering::Relaxed) { PATIENT } else { Duration::ZERO };
        if !say_left_out(patience) || !say(line, patience) {
            LEFT_OUT.fetch_add(1, Ordering::Relaxed);
        }
        // What is left out is said, and is no reason to try again.
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// From now on a reader is waited for: what is played is a recording.
pub fn wait_for_reader() {
    WAITS.store(true, Ordering::Relaxed);
}

/// The last sentence of a run, and how many were left out before it.
pub fn last_word(line: &str) {
    let _ = say_left_out(LAST_WORD) && say(line.as_bytes(), LAST_WORD);
}

fn say_left_out(patience: Duration) -> bool {
    let lines = LEFT_OUT.load(Ordering::Relaxed);
    if lines == 0 {
        return true;
    }
    let said = say(format!("lookout: {lines} lines of the log left out: nobody took them\n").as_bytes(), patience);
    if said {
        LEFT_OUT.fetch_sub(lines, Ordering::Relaxed);
    }
    said
}

/// Writes all of it where the reader takes it within `patience` a piece; false where it does not.
fn say(text: &[u8], patience: Duration) -> bool {
    let own = OWN.get_or_init(own);
    // Not through std's lock: whoever holds it may be waiting.
    let to = own.as_ref().map_or_else(rustix::stdio::stderr, File::as_fd);
    if TORN.load(Ordering::Relaxed) && !put(to, b"\n", patience) {
        return false;
    }
    let whole = text.chunks(PIECE).all(|piece| put(to, piece, patience));
    TORN.store(!whole, Ordering::Relaxed);
    whole
}

/// A second opening of a pipe or terminal, so that its room is asked for by writing: a terminal that has any says so, however little.
fn own() -> Option<File> {
    let stat = rustix::fs::fstat(rustix::stdio::stderr()).ok()?;
    if !matches!(FileType::from_raw_mode(stat.st_mode), FileType::Fifo | FileType::CharacterDevice) {
        return None;
    }
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits();
    OpenOptions::new().append(true).custom_flags(flags as i32).open("/proc/self/fd/2").ok()
}

fn put(to: BorrowedFd<'_>, piece: &[u8], patience: Duration) -> bool {
    let mut rest = piece;
    while !rest.is_empty() && has_room(to, patience) {
        match rustix::io::write(to, rest) {
            Ok(n) if n > 0 => rest = &rest[n..],
            Err(rustix::io::Errno::INTR) => {}
            // Room for less than what a pipe takes as one.
            Err(rustix::io::Errno::AGAIN) if !patience.is_zero() => std::thread::sleep(LAST_WORD / 100),
            _ => break,
        }
    }
    rest.is_empty()
}

fn has_room(to: BorrowedFd<'_>, patience: Duration) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(to, PollFlags::OUT)];
    let wait = timespec(patience);
    poll(&mut fds, Some(&wait)).is_ok_and(|ready| ready > 0)
}
