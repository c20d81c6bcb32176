//! Sentences over a serial port, and queries answered on the same wire.
//!
//! One thread sleeps in `poll(2)` on the port and on the outbox. Nobody reading, a slow wire or no port at all only fills
//! the outbox, whose bounds say what happens then. A write that was taken in part goes on where it stopped. A port that
//! went away is opened again by the name that udev gave it for good; a line end goes first, and the sentence that was
//! under way is sent again from its start, so that no reader accepts half of one.

use super::envelope::{Line, MAX_SENTENCE};
use super::outbox::{Outbox, Parcel, timespec};
use super::port::{self, Flow, Port, PortError};
use super::queries::{LineAssembler, Replies};
use super::sentence::Sentence;
use super::writer::Writer;
use super::{Identity, Pace, ReportError};
use crate::complaint::Complaint;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// First and longest wait before the port is tried again.
const RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(1));
/// A device whose lasting name stays away this long is looked for under the configured name.
const LASTING_NAME_PATIENCE: Duration = Duration::from_secs(10);
/// How often closing looks whether the wire has taken everything.
const DRAIN_LOOK: Duration = Duration::from_millis(5);

/// Starts the writer for `path`. A port that is not there yet is waited for.
///
/// # Errors
/// [`ReportError::Refused`] if this can never be a serial port of ours.
pub(super) fn open(path: &Path, baud: u32, flow: Flow, identity: &Identity, pace: Pace) -> Result<Writer, ReportError> {
    let mut wire = Wire {
        path: path.into(),
        baud,
        flow,
        lasting: None,
        port: None,
        opened: false,
        lost_at: Instant::now(),
        retry_at: Instant::now(),
        wait: RETRY.0,
        line: heapless::Vec::new(),
        sent: 0,
        answered: false,
        heard: LineAssembler::default(),
        replies: Replies::new(identity.clone()),
        complaint: Complaint::default(),
    };
    match wire.try_open() {
        Err(PortError::Never(why)) => return Err(ReportError::Refused { what: path.display().to_string(), why }),
        Err(PortError::NotNow(why)) => wire.put_off(&why),
        Ok(()) => {}
    }
    Writer::start("serial", pace, move |outbox| wire.run(outbox))
}

struct Wire {
    path: PathBuf,
    baud: u32,
    flow: Flow,
    /// The device's name under `/dev/serial/by-id`, once it was open.
    lasting: Option<PathBuf>,
    port: Option<Port>,
    /// It was open before: what the reader has may end in half a sentence.
    opened: bool,
    lost_at: Instant,
    retry_at: Instant,
    wait: Duration,
    /// What is being sent, and how much of it the port has taken. Two bytes more than a sentence: the line end after a reopen.
    line: heapless::Vec<u8, { MAX_SENTENCE + 2 }>,
    sent: usize,
    /// The last line was an answer: a report goes first, so that a flood of questions starves nothing.
    answered: bool,
    heard: LineAssembler,
    replies: Replies,
    complaint: Complaint,
}

impl Wire {
    fn run(mut self, outbox: &Outbox) {
        loop {
            outbox.settle();
            let closing = outbox.closing();
            if self.port.is_none() && closing.is_none() && self.retry_at <= Instant::now() {
                match self.try_open() {
                    Ok(()) => self.complaint.end(format_args!("{}: open again", self.path.display())),
                    Err(PortError::Never(why) | PortError::NotNow(why)) => self.put_off(&why),
                }
            }
            if let Err(e) = self.exchange(outbox) {
                self.lose(e);
            }
            if let Some(deadline) = closing {
                let Some(port) = &self.port else {
                    if !self.line.is_empty() || outbox.pop().is_some() {
                        outbox.set_lost();
                    }
                    return;
                };
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() || (self.line.is_empty() && port.unsent() == 0) {
                    if !self.line.is_empty() || port.unsent() > 0 {
                        outbox.set_lost();
                        port.discard();
                    }
                    return;
                }
            }
            if let Err(e) = self.sleep(outbox, closing) {
                self.lose(e);
            }
        }
    }

    /// Reads what came in and writes what goes out, until the port takes no more.
    fn exchange(&mut self, outbox: &Outbox) -> Result<(), Errno> {
        let Some(port) = &self.port else { return Ok(()) };
        let mut bytes = [0; 256];
        // Bounded, so that a flood from outside cannot keep reports inside.
        for _ in 0..16 {
            let bytes = port.read(&mut bytes)?;
            if bytes.is_empty() {
                break;
            }
            self.heard.feed(bytes, |line| {
                self.replies.hear(line);
            });
        }
        loop {
            if self.line.is_empty() && !next_line(&mut self.line, &mut self.replies, &mut self.answered, outbox) {
                return Ok(());
            }
            match port.write(&self.line[self.sent..])? {
                0 => return Ok(()),
                n => self.sent += n,
            }
            if self.sent == self.line.len() {
                self.line.clear();
                self.sent = 0;
            }
        }
    }

    fn sleep(&self, outbox: &Outbox, closing: Option<Instant>) -> Result<(), Errno> {
        let until = if self.port.is_none() { Some(self.retry_at) } else { closing };
        let mut wait = until.map(|at| at.saturating_duration_since(Instant::now()));
        if closing.is_some() {
            wait = wait.map(|wait| wait.min(DRAIN_LOOK));
        }
        let wait = wait.map(timespec);
        let wake = outbox.wake_fd();
        let mut fds = [PollFd::new(&wake, PollFlags::IN), PollFd::new(&wake, PollFlags::IN)];
        if let Some(port) = &self.port {
            let out = if self.line.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
            fds[1] = PollFd::from_borrowed_fd(port.fd(), PollFlags::IN | out);
        }
        match poll(&mut fds, wait.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(e),
        }
        let gone = fds[1].revents().intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL);
        if gone && self.port.is_some() { Err(Errno::IO) } else { Ok(()) }
    }

    fn try_open(&mut self) -> Result<(), PortError> {
        let patient = self.lost_at.elapsed() < LASTING_NAME_PATIENCE;
        let name = self.lasting.as_ref().filter(|name| patient || name.exists()).unwrap_or(&self.path);
        let port = Port::open(name, self.baud, self.flow)?;
        let lasting = port::lasting_name(name, Path::new(port::BY_ID));
        if !self.opened {
            log::info!("{}: open, {} baud", name.display(), self.baud);
        } else {
            let line = self.line.clone();
            let line = line.strip_prefix(b"\r\n").unwrap_or(&line);
            self.line = heapless::Vec::from_slice(b"\r\n").unwrap_or_default();
            // The line is a sentence: there is room for the two bytes in front of it.
            let _ = self.line.extend_from_slice(line);
        }
        self.sent = 0;
        self.heard.reset();
        self.lasting = lasting;
        (self.port, self.opened, self.wait) = (Some(port), true, RETRY.0);
        Ok(())
    }

    fn lose(&mut self, error: Errno) {
        self.port = None;
        self.lost_at = Instant::now();
        self.put_off(&format!("went away ({error})"));
    }

    fn put_off(&mut self, why: &str) {
        self.complaint.say(format!("{}: {why}; reports wait, trying again", self.path.display()));
        self.retry_at = Instant::now() + self.wait;
        self.wait = (self.wait * 2).min(RETRY.1);
    }
}

/// Puts the next answer or report into `line`; false when there is none.
fn next_line<const N: usize>(
    line: &mut heapless::Vec<u8, N>,
    replies: &mut Replies,
    answered: &mut bool,
    outbox: &Outbox,
) -> bool {
    let first = if *answered { next_report(replies, outbox) } else { None };
    let answer = first.is_none().then(|| replies.next()).flatten();
    *answered = answer.is_some();
    let next = first.or(answer).or_else(|| next_report(replies, outbox));
    // A sentence is shorter than the buffer by the buffer's type.
    next.is_some_and(|next| line.extend_from_slice(next.as_bytes()).is_ok())
}

fn next_report(replies: &mut Replies, outbox: &Outbox) -> Option<Line> {
    let sentence = match outbox.pop()? {
        Parcel::Gap { from, to } => Sentence::Gap { from, to },
        Parcel::Report(seq, report) => {
            replies.note(&report);
            Sentence::of(seq, &report)
        }
    };
    Some(sentence.encode())
}
