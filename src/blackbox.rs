//! The black box: the last seconds of shaped ticks, written around an event as a clip that replays to the same sentences.
//!
//! Kept is what the encoder saw, not the camera's picture: a tick of `motion` is 20 kB, ten seconds of it 2 MB, and nothing of the way
//! from pixels to planes can differ on replay. A tick that was no news ([`crate::gate`]) is kept as that alone; the planes that stand for it
//! are those of the last encoded tick, which are kept beside the ring when their own tick has left it.
//!
//! Everything here is pure and made at the start: [`Recorder::keep`] copies one tick, [`Recorder::write`] lays the whole clip into a buffer
//! that goes to the [`writer`]. A gap empties the recorder as it empties the ring of features, so no clip spans one.
//!
//! **Novelty** depends on minutes before the clip: what its recurrent layer remembers, what it holds, and the blocks that were counted, which an alarm itself
//! moves up. So a clip begins with what novelty remembered before its first tick ([`crate::novelty::Novelty::remember`]), and its replay with the same
//! learning gives the same scores, thresholds and alarms to the last bit. The same goes for the state of a head that carries it (`mode = "carried"`). Both are
//! noted every [`EVERY`] ticks, and clips begin at such a tick.
//!
//! What can differ on replay: the first features of an encoder over several pictures, which begins anew with the clip, and all that hangs on them; boxes
//! that are found without a map or a head that says them, since the background is learnt anew; an event that had begun before the clip, and when a class that goes on is said again. What a live run was taught, or its configured thresholds, a replay has to be
//! given too.
//!
//! ```text
//! "lookout black box 2\n" (1: without what was remembered, and without extras)
//! a line of JSON: bundle (sha256), tick_ms, tick_bytes, rows (numbers, not planes), width and height of the camera's picture, region of it, label, at_ms,
//!     normal (sha256 of novelty's learning; none: empty), past_bytes, head_bytes, extra (numbers beside the pictures)
//! what novelty remembered, and behind it the head's state, head_bytes; together past_bytes
//! for each tick: stamp of its frame, ns since the run's first (u64), 0: planes or numbers follow | 1: no news (u8),
//!     extras as the head read them (f32 each, not a number: missing), tick_bytes
//! u64::MAX, 2 (u8), CRC-32 (ISO-HDLC) of everything before it (u32)
//! ```
//! Numbers are little-endian. A file without its end is torn, and is read up to there ([`crate::source::shaped`]).

pub mod writer;

use crate::extra::MAX_EXTRAS;
use crate::novelty::Novelty;
use crate::pipeline::Before;
use crate::source::{Shaped, Timestamp};
use crc::{CRC_32_ISO_HDLC, Crc, Table};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// First line of a clip.
pub const MAGIC: &[u8] = b"lookout black box 2\n";
/// The same of an older one, which is read too.
pub const OLDER: &[u8] = b"lookout black box 1\n";
/// Ticks from one note of what is remembered to the next. Some 25 kB each with novelty: what a tick of pictures takes, so a sixteenth more; and a clip begins at most
/// so much earlier than it was asked to.
pub const EVERY: usize = 16;
/// Longest header line, in bytes.
pub const MAX_HEADER: usize = 4096;
/// Bytes before the extras of a tick, and of the end.
pub const TICK_HEAD: usize = 9;
/// Planes or numbers follow.
pub const NEWS: u8 = 0;
/// What the tick before it said stands for it too.
pub const SAME: u8 = 1;
/// The end, and a checksum.
pub const END: u8 = 2;

/// What a clip says of itself.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// Hex sha256 of the bundle that ran.
    pub bundle: String,
    /// The bundle's tick, ms.
    pub tick_ms: u32,
    /// Bytes of a tick: planes, or four for each number.
    pub tick_bytes: usize,
    /// Rows of numbers instead of planes.
    pub rows: bool,
    /// The camera's picture, pixels; 0 for rows.
    pub width: usize,
    /// The camera's picture, pixels; 0 for rows.
    pub height: usize,
    /// The part of it that was looked at: left, upper edge, width and height as fractions; left out: all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<[f32; 4]>,
    /// What it was written for: a class, or `novelty`.
    pub label: String,
    /// When that began, ms since the run's first frame.
    pub at_ms: u64,
    /// Which learning gave novelty's scores: hex sha256, empty without novelty.
    #[serde(default)]
    pub normal: String,
    /// Bytes of what was remembered before the first tick; 0: nothing.
    #[serde(default)]
    pub past_bytes: usize,
    /// Of those, the head's state, at the end.
    #[serde(default)]
    pub head_bytes: usize,
    /// Numbers beside the pictures ([`crate::extra`]).
    #[serde(default)]
    pub extra: usize,
}

/// The checksum of a clip.
pub fn checksum(bytes: &[u8]) -> u32 {
    const CRC: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISO_HDLC);
    CRC.checksum(bytes)
}

/// One tick in the ring: the stamp of its frame, and the buffer that holds it, if it was news.
#[derive(Clone, Copy, Debug)]
struct Slot {
    at: Timestamp,
    buffer: Option<usize>,
    /// The note of what was remembered before it.
    past: Option<usize>,
    /// Extras as the head read them; not a number where one was missing.
    extra: [f32; MAX_EXTRAS],
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Recorder {
    header: Header,
    ticks: usize,
    slots: VecDeque<Slot>,
    /// One for each tick, and one for the encoded tick before the oldest.
    buffers: Vec<u8>,
    free: Vec<usize>,
    base: Option<usize>,
    /// Notes, and those that no tick in the ring needs; none where nothing is remembered.
    pasts: Vec<Vec<u8>>,
    /// Bytes of the head's state in each.
    head_bytes: usize,
    blank: Vec<usize>,
    /// Ticks until the next note, and whether the tick that was kept last has not come to it yet.
    due: usize,
    open: bool,
}

impl Recorder {
    /// For the last `ticks` ticks, of as many bytes as `header` says. `before`: whose state is noted; where there is any, up to
    /// [`EVERY`] ticks more are kept.
    pub fn new(mut header: Header, ticks: usize, before: Before<'_>) -> Self {
        // Room for any label, so that an event allocates nothing.
        header.label.reserve(crate::report::MAX_LABEL);
        let mut state = vec![];
        before.head.iter().for_each(|head| head.remember(&mut state));
        let head_bytes = state.len();
        let most = head_bytes + before.novelty.map_or(0, Novelty::most);
        let ticks = if most > 0 { ticks + EVERY - 1 } else { ticks };
        let buffers = vec![0; (ticks + 1) * header.tick_bytes];
        let notes = if most > 0 { ticks.div_ceil(EVERY) + 1 } else { 0 };
        Self {
            header,
            ticks,
            slots: VecDeque::with_capacity(ticks),
            buffers,
            free: (0..=ticks).collect(),
            base: None,
            pasts: (0..notes).map(|_| Vec::with_capacity(most)).collect(),
            head_bytes,
            blank: (0..notes).collect(),
            due: 0,
            open: false,
        }
    }

    /// Ticks kept.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Bytes of the longest clip.
    pub fn max_bytes(&self) -> usize {
        let past = self.pasts.first().map_or(0, Vec::capacity);
        MAGIC.len() + MAX_HEADER + past + (self.ticks + 1) * (TICK_HEAD + 4 * MAX_EXTRAS + self.header.tick_bytes) + 4
    }

    /// Forgets everything (after a gap).
    pub fn clear(&mut self) {
        self.slots.clear();
        self.base = None;
        self.free.clear();
        self.free.extend(0..=self.ticks);
        self.blank.clear();
        self.blank.extend(0..self.pasts.len());
        (self.due, self.open) = (0, false);
    }

    /// A tick whose frame was taken at `at`, and its extras: value and mark of each.
    pub fn keep(&mut self, at: Timestamp, tick: Shaped<'_>, pairs: &[f32]) {
        if self.slots.len() == self.ticks
            && let Some(Slot { buffer, past, .. }) = self.slots.pop_front()
        {
            if let Some(oldest) = buffer {
                self.free.extend(self.base.replace(oldest));
            }
            self.blank.extend(past);
        }
        let bytes = self.header.tick_bytes;
        let buffer = match tick {
            Shaped::Same => None,
            Shaped::Planes { .. } | Shaped::Row(_) => self.free.pop(),
        };
        if let Some(n) = buffer {
            let to = &mut self.buffers[n * bytes..(n + 1) * bytes];
            match tick {
                Shaped::Planes { levels, picture } => {
                    to.copy_from_slice(levels);
                    (self.header.width, self.header.height) = picture;
                }
                Shaped::Row(row) => to.chunks_exact_mut(4).zip(row).for_each(|(to, v)| to.copy_from_slice(&v.to_le_bytes())),
                Shaped::Same => {}
            }
        }
        let mut extra = [f32::NAN; MAX_EXTRAS];
        for (to, pair) in extra.iter_mut().zip(pairs.chunks_exact(2)).filter(|(_, pair)| pair[1] > 0.0) {
            *to = pair[0];
        }
        self.slots.push_back(Slot { at, buffer, past: None, extra });
        self.open = true;
    }

    /// Novelty and the head are about to look at a tick: the one that was kept last, or one without a frame, which repeats it.
    pub fn note(&mut self, before: Before<'_>) {
        if !std::mem::take(&mut self.open) {
            return;
        }
        if self.due == 0
            && let (Some(slot), Some(n)) = (self.slots.back_mut(), self.blank.pop())
        {
            self.pasts[n].clear();
            before.novelty.iter().for_each(|novelty| novelty.remember(&mut self.pasts[n]));
            before.head.iter().for_each(|head| head.remember(&mut self.pasts[n]));
            slot.past = Some(n);
            self.due = EVERY;
        }
        self.due -= usize::from(self.due > 0);
    }

    /// Lays the last `ticks` of what is kept into `out` as a clip, written for `label` at `at_ms`; where there are notes, from the last one before those
    /// on, or else from the oldest.
    pub fn write(&mut self, label: &str, at_ms: u64, ticks: usize, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(MAGIC);
        self.header.label.clear();
        self.header.label.push_str(label);
        self.header.at_ms = at_ms;
        let from = self.slots.len().saturating_sub(ticks);
        let noted = |slot: &Slot| slot.past.is_some();
        let first = self.slots.iter().take(from + 1).rposition(noted).or_else(|| self.slots.iter().position(noted));
        let past = first.and_then(|n| self.pasts.get(self.slots[n].past?)).map_or(&[][..], |past| past);
        self.header.past_bytes = past.len();
        self.header.head_bytes = self.head_bytes.min(past.len());
        // Plain data into memory cannot fail.
        let _ = serde_json::to_writer(&mut *out, &self.header);
        out.push(b'\n');
        out.extend_from_slice(past);
        let (bytes, first) = (self.header.tick_bytes, first.unwrap_or(from));
        let before = self.slots.iter().take(first).rev().find_map(|slot| slot.buffer).or(self.base);
        for (n, slot) in self.slots.iter().enumerate().skip(first) {
            out.extend_from_slice(&slot.at.0.to_le_bytes());
            // The first tick of a clip has no tick before it: what stands for it is said.
            let buffer = slot.buffer.or(before.filter(|_| n == first));
            out.push(if buffer.is_some() { NEWS } else { SAME });
            slot.extra.iter().take(self.header.extra).for_each(|v| out.extend_from_slice(&v.to_le_bytes()));
            if let Some(k) = buffer {
                out.extend_from_slice(&self.buffers[k * bytes..(k + 1) * bytes]);
            }
        }
        out.extend_from_slice(&u64::MAX.to_le_bytes());
        out.push(END);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorder(ticks: usize) -> Recorder {
        Recorder::new(Header { tick_bytes: 4, tick_ms: 100, ..Header::default() }, ticks, Before::default())
    }

    fn planes(levels: &[u8]) -> Shaped<'_> {
        Shaped::Planes { levels, picture: (8, 6) }
    }

    /// Stamp, flag, first byte of each tick of a clip.
    fn ticks(clip: &[u8]) -> Vec<(u64, u8, u8)> {
        let start = MAGIC.len() + clip[MAGIC.len()..].iter().position(|b| *b == b'\n').unwrap() + 1;
        let (mut at, mut all) = (start, vec![]);
        loop {
            let stamp = u64::from_le_bytes(clip[at..at + 8].try_into().unwrap());
            match clip[at + 8] {
                NEWS => all.push((stamp, NEWS, clip[at + 9])),
                SAME => all.push((stamp, SAME, 0)),
                _ => return all,
            }
            at += TICK_HEAD + if clip[at + 8] == NEWS { 4 } else { 0 };
        }
    }

    #[test]
    fn the_last_ticks_are_kept_and_what_stands_for_a_tick_without_news_never_leaves_before_it() {
        let mut recorder = recorder(3);
        let mut clip = Vec::with_capacity(recorder.max_bytes());
        for n in 0..3u8 {
            recorder.keep(Timestamp(u64::from(n)), planes(&[n; 4]), &[]);
        }
        (3..5).for_each(|n| recorder.keep(Timestamp(n), Shaped::Same, &[]));
        recorder.write("right", 7, 3, &mut clip);
        assert_eq!(ticks(&clip), [(2, NEWS, 2), (3, SAME, 0), (4, SAME, 0)]);
        // Its own tick leaves: its planes stay, for the oldest tick that they stand for.
        (5..20).for_each(|n| recorder.keep(Timestamp(n), Shaped::Same, &[]));
        recorder.write("right", 7, 3, &mut clip);
        assert_eq!(ticks(&clip), [(17, NEWS, 2), (18, SAME, 0), (19, SAME, 0)]);
        // Fewer than are kept, and what stands for the first of them.
        recorder.write("right", 7, 2, &mut clip);
        assert_eq!(ticks(&clip), [(18, NEWS, 2), (19, SAME, 0)]);
        (20..23).for_each(|n| recorder.keep(Timestamp(n), planes(&[n as u8; 4]), &[]));
        recorder.write("right", 7, 9, &mut clip);
        assert_eq!(ticks(&clip), [(20, NEWS, 20), (21, NEWS, 21), (22, NEWS, 22)]);
        recorder.clear();
        assert!(recorder.is_empty());
        recorder.keep(Timestamp(30), planes(&[9; 4]), &[]);
        recorder.write("left", 8, 3, &mut clip);
        assert_eq!(ticks(&clip), [(30, NEWS, 9)]);
        assert!(clip.capacity() >= recorder.max_bytes() && clip.len() < recorder.max_bytes());
    }
}
