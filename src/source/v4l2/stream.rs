//! Frames out of an open, set-up camera: newest first, damaged ones left out, waits bounded.
//!
//! Four buffers circle between us and the driver; one of them is lent to the pipeline at a time. When we come back late
//! several are ready: the newest is taken, the others go back at once and are counted, so that a slow reader never
//! looks at the past. What was left out is counted here, where every buffer passes: holes in the driver's numbers are lost
//! frames, whatever happens to the frames around them.
//!
//! A driver's stamp is believed where it lies between the start of the stream and now on the monotonic clock. Drivers that
//! stamp with another clock, or whose stamps wrapped, would otherwise send time itself astray.

use crate::source::{Fault, Losses, Seq, SourceError, Timestamp};
use crate::sys::video::{Device, Filled, Ready, Stream};
use std::io;
use std::time::Duration;

/// Buffers asked for: one lent, one being filled, two for a late reader.
const BUFFERS: u32 = 4;
/// Longest wait for a frame. A camera in the dark may be down at 2 frames a second; below 1 it counts as stalled.
pub const WAIT: Duration = Duration::from_secs(1);

const READING: &str = "reading frames";
const GIVING: &str = "giving a buffer back";

/// One frame's facts; its bytes are [`Frames::bytes`].
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    /// When it was taken.
    pub at: Timestamp,
    /// The driver's count.
    pub seq: Seq,
}

/// A running stream and the buffer lent out of it.
#[derive(Debug)]
pub struct Frames {
    stream: Stream,
    lent: Option<Filled>,
    losses: Losses,
    /// The driver's number of the last buffer that it gave, good or not.
    last: Option<u32>,
    /// When the stream was started, on the monotonic clock.
    started: u64,
}

/// Why no frame came, before it is put into words.
#[derive(Debug)]
pub enum Missed {
    /// Nothing within [`WAIT`].
    Stalled,
    /// All that was ready was flagged as damaged; the number is the driver's count.
    Damaged(Seq),
    /// A call failed: while doing what, and what the system said.
    Failed(&'static str, io::Error),
}

/// Says what was being done when a call failed.
const fn failed(doing: &'static str) -> impl Fn(io::Error) -> Missed {
    move |e| Missed::Failed(doing, e)
}

impl Frames {
    /// Maps the buffers. The camera starts with the first [`Frames::next`], so that loading a model after opening the
    /// camera does not make the first frames old.
    ///
    /// # Errors
    /// As [`Stream::map`].
    pub fn new(device: Device) -> io::Result<Self> {
        Ok(Self { stream: Stream::map(device, BUFFERS)?, lent: None, losses: Losses::default(), last: None, started: 0 })
    }

    /// Takes back the frame lent before and waits for the next one, at most [`WAIT`].
    ///
    /// # Errors
    /// See [`Missed`].
    pub fn next(&mut self) -> Result<Taken, Missed> {
        if let Some(lent) = self.lent.take() {
            self.stream.give_back(lent).map_err(failed(GIVING))?;
        }
        if !self.stream.is_on() {
            self.started = Timestamp::now().0;
            self.stream.start().map_err(failed("starting the stream"))?;
        }
        if self.stream.wait(WAIT).map_err(failed(READING))? == Ready::No {
            return Err(Missed::Stalled);
        }
        let mut damaged = None;
        // Not more often than there are buffers: a fast camera must not keep us here.
        for _ in 0..self.stream.buffers() {
            let filled = match self.stream.dequeue() {
                Ok(Some(filled)) => filled,
                Ok(None) => break,
                // What was taken before the trouble is still a frame; the trouble is there next time as well.
                Err(_) if self.lent.is_some() => break,
                Err(e) => return Err(Missed::Failed(READING, e)),
            };
            self.losses.lost = self.losses.lost.saturating_add(lost_before(filled.sequence, self.last.replace(filled.sequence)));
            if filled.damaged || filled.bytes_used == 0 {
                damaged = Some(Seq(filled.sequence));
                self.losses.damaged = self.losses.damaged.saturating_add(1);
                self.stream.give_back(filled).map_err(failed(GIVING))?;
            } else if let Some(older) = self.lent.replace(filled) {
                self.losses.unread = self.losses.unread.saturating_add(1);
                self.stream.give_back(older).map_err(failed(GIVING))?;
            }
        }
        match (&self.lent, damaged) {
            (Some(newest), _) => {
                Ok(Taken { at: believed(newest.monotonic_ns, self.started, Timestamp::now().0), seq: Seq(newest.sequence) })
            }
            (None, Some(seq)) => Err(Missed::Damaged(seq)),
            // Ready, but nothing there: the driver says POLLERR for a stream that has stopped by itself.
            (None, None) => Err(Missed::Failed(READING, rustix::io::Errno::IO.into())),
        }
    }

    /// Bytes of the frame lent by the last [`Frames::next`]; empty when that failed.
    pub fn bytes(&self) -> &[u8] {
        self.lent.as_ref().map_or(&[], |lent| self.stream.bytes(lent))
    }

    /// What has been left out so far.
    pub const fn losses(&self) -> Losses {
        self.losses
    }
}

/// Frames between two of the driver's numbers, which wrap. A number that went back began again: nothing was lost.
fn lost_before(now: u32, last: Option<u32>) -> u32 {
    let between = last.map_or(0, |last| now.wrapping_sub(last).wrapping_sub(1));
    if between < u32::MAX / 2 { between } else { 0 }
}

/// The driver's stamp where it can be right, else now.
fn believed(stamp: Option<u64>, started: u64, now: u64) -> Timestamp {
    Timestamp(stamp.filter(|at| (started..=now).contains(at)).unwrap_or(now))
}

/// What the system said about `device`, in the user's words: what to do, and whether trying again helps.
pub fn in_words(device: &str, doing: &str, e: &io::Error) -> SourceError {
    use rustix::io::Errno;
    let (fault, why) = match Errno::from_io_error(e) {
        Some(Errno::NODEV | Errno::NXIO) => (Fault::Unplugged, "the camera was unplugged".to_owned()),
        Some(Errno::NOENT) => {
            (Fault::Absent, "no such device; is the camera plugged in? `lookout doctor` lists what is there".to_owned())
        }
        Some(Errno::BUSY) => (Fault::Busy, "another program is reading this camera; stop it, or use another camera".to_owned()),
        Some(Errno::NOSPC) => (
            Fault::NoBandwidth,
            "the USB bus has no bandwidth left for this format and rate; use MJPG, a smaller size or another USB port".to_owned(),
        ),
        Some(Errno::IO) => {
            (Fault::StreamBroke, format!("the camera's stream broke while {doing} (I/O error); it will be opened again"))
        }
        Some(Errno::ACCESS | Errno::PERM) => {
            (Fault::NoRights, "no right to open it; add this user to the group `video` and log in again".to_owned())
        }
        Some(Errno::NOMEM) => (Fault::Refuses, format!("out of memory while {doing}; use a smaller size")),
        Some(Errno::INVAL) => (Fault::Refuses, format!("the driver refused while {doing} (invalid argument)")),
        _ => (Fault::StreamBroke, format!("{e} while {doing}")),
    };
    SourceError::Lost { device: device.to_owned(), why, fault }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_in_the_drivers_numbers_are_lost_frames_across_a_wrap_and_never_after_a_restart() {
        let lost = |now, last| lost_before(now, Some(last));
        assert_eq!([lost(5, 4), lost(9, 4), lost(0, u32::MAX), lost(3, u32::MAX - 1)], [0, 4, 0, 4]);
        assert_eq!([lost(4, 4), lost(0, 1_000), lost_before(7, None)], [0, 0, 0], "twice the same, begun again, the first");
    }

    #[test]
    fn a_stamp_from_before_the_stream_or_after_now_is_replaced_by_now() {
        let at = |stamp| believed(stamp, 1_000, 2_000).0;
        assert_eq!([at(Some(1_500)), at(Some(1_000)), at(Some(2_000))], [1_500, 1_000, 2_000]);
        // None: another clock. 2^62: a stamp that is about to wrap; 7: one that has.
        assert_eq!([at(None), at(Some(1 << 62)), at(Some(7))], [2_000; 3]);
    }
}
