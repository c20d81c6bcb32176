//! Clips to the disk, on a thread of its own: one buffer goes to and fro, so inference never waits for a disk.
//!
//! A clip is written under another name, flushed to the disk and renamed: under its own name it is whole, whatever happens. At the start and before each
//! clip the folder is looked through, which may be gone or on another card by then: it is made where it is not there, and what was left half written in it
//! is deleted. Then the oldest clips are, until the new one fits the bound; those of novelty, which are rare, after those of classes while they take no more
//! than half of it. A disk that is full or broken costs clips and is said; reports go on. While the writer is busy the next clip is lost, counted and said.
//! Nothing else limits what is written: where something happens all the time that is 20 MB a minute.
//!
//! Several runs may share a folder: there is one unfinished clip in it, and who has that locked is alone in choosing a name, making room and writing. What a
//! killed run left is not locked.

use super::{Header, Recorder, checksum};
use crate::complaint::Complaint;
use crate::pipeline::{Before, Probe};
use crate::report::{Label, NOVELTY};
use crate::source::{Shaped, Timestamp};
use crate::store::novelty::name;
use crate::store::{hand_over, held, make, settle};
use heapless::Deque;
use rustix::fs::FlockOperation;
use std::fs::{self, File};
use std::io::ErrorKind::{AlreadyExists, InvalidInput, NotADirectory, PermissionDenied};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What a finished clip is called.
pub const EXTENSION: &str = "lkb";
/// Clips that may be in progress at a time; they overlap.
const OPEN: usize = 4;
/// What the unfinished one is called.
const UNFINISHED: &str = "unfinished.lkb.part";
/// How the names of unfinished ones end, those of earlier versions included.
const PART: &str = ".lkb.part";

/// What is wanted of the black box.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The folder, made if need be.
    pub dir: PathBuf,
    /// Ticks before the event.
    pub before: usize,
    /// Ticks after it.
    pub after: usize,
    /// Bytes of all clips together.
    pub limit: u64,
    /// A recording is being played: wait for the disk instead of losing clips.
    pub patient: bool,
}

/// The one buffer, and where it is.
#[derive(Debug)]
enum Hand {
    /// At hand.
    Free(Vec<u8>),
    /// To be written under this label.
    Full(Vec<u8>, Label),
    /// The writer has it.
    Writing,
    /// No more comes.
    Closed,
}

#[derive(Debug)]
struct Shared {
    hand: Mutex<Hand>,
    moved: Condvar,
}

impl Shared {
    /// Every state is a whole one, so a thread that panicked has left nothing half done.
    fn lock(&self) -> MutexGuard<'_, Hand> {
        self.hand.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A clip in progress.
#[derive(Debug)]
struct Open {
    /// What it is for.
    label: Label,
    /// When that was, ms.
    at_ms: u64,
    /// Ticks since then.
    since: usize,
    /// Ticks still to come.
    left: usize,
}

/// Listens to the pipeline as a [`Probe`], and has clips written.
#[derive(Debug)]
pub struct BlackBox {
    recorder: Recorder,
    shared: Arc<Shared>,
    before: usize,
    after: usize,
    /// May a clip go on for an event in it? Not where one that did could be more than all may have together.
    extends: bool,
    patient: bool,
    /// Clips in progress, oldest first.
    open: Deque<Open, OPEN>,
    lost: u32,
    complaint: Complaint,
}

impl BlackBox {
    /// Makes the folder, deletes what was left half written, and starts the writer. `before`: whose state is noted. A card that is full or broken keeps
    /// nobody from watching: it is said, and the folder made when there is something to write.
    ///
    /// # Errors
    /// A folder that cannot be one (a file, or somebody else's), or no thread.
    pub fn start(header: Header, wish: Wish, before: Before<'_>) -> Result<Self, String> {
        let mut writer = Writer { dir: wish.dir, limit: wish.limit, next: 0, complaint: Complaint::default() };
        if let Err(e) = writer.open() {
            if matches!(e.kind(), PermissionDenied | NotADirectory | AlreadyExists | InvalidInput) {
                return Err(format!("black box {}: {e}", writer.dir.display()));
            }
            writer.complain(&e.to_string());
        }
        let normal = before.novelty.map_or_else(String::new, |n| name(n.normal()));
        let (header, ticks) = (Header { normal, ..header }, wish.before + wish.after);
        // The longest clip: see `press`.
        let longest = Recorder::new(header.clone(), ticks + wish.after / 2, before);
        let extends = longest.max_bytes() as u64 <= wish.limit;
        let recorder = if extends { longest } else { Recorder::new(header, ticks, before) };
        let buffer = Vec::with_capacity(recorder.max_bytes());
        let shared = Arc::new(Shared { hand: Mutex::new(Hand::Free(buffer)), moved: Condvar::new() });
        let (theirs, before, after, patient) = (shared.clone(), wish.before, wish.after, wish.patient);
        let thread = std::thread::Builder::new().name("black box".into()).spawn(move || writer.run(&theirs));
        thread.map_err(|e| format!("black box: no thread: {e}"))?;
        let (open, complaint) = (Deque::new(), Complaint::default());
        Ok(Self { recorder, shared, before, after, extends, patient, open, lost: 0, complaint })
    }

    /// Something happened: what is kept, and what comes after it, is to be written. It is in the clip in progress, which goes on for it, if that began
    /// less than half of its way ago; else it has its own, which begins in that one. Either way it has all that comes after it; where the bound is too
    /// small for a clip that goes on, at least half of that. A clip that an alarm of novelty is in is called after the alarm: classes come often.
    pub fn press(&mut self, label: &Label, at: Timestamp) {
        let half = self.after / 2;
        if let Some(open) = self.open.back_mut().filter(|open| open.since <= half) {
            if self.extends {
                open.left = self.after;
            }
            if label == NOVELTY && open.label != NOVELTY {
                (open.label, open.at_ms) = (label.clone(), at.ms());
            }
            return;
        }
        // More than half a way apart and one and a half long: no more than three are ever open.
        let _ = self.open.push_back(Open { label: label.clone(), at_ms: at.ms(), since: 0, left: self.after });
        self.settle();
    }

    /// The stream broke or ends: what is in progress is written as it is.
    pub fn cut(&mut self) {
        self.open.iter_mut().for_each(|open| open.left = 0);
        self.settle();
        self.recorder.clear();
    }

    /// Ends the writer, which may take `limit` for what it has in hand; of a recording as long as it takes.
    pub fn close(&mut self, limit: Duration) {
        self.cut();
        let until = Instant::now() + limit;
        let mut hand = self.shared.lock();
        while !matches!(*hand, Hand::Free(_) | Hand::Closed) && (self.patient || Instant::now() < until) {
            let left = if self.patient { limit } else { until.saturating_duration_since(Instant::now()) };
            hand = self.shared.moved.wait_timeout(hand, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        if !matches!(*hand, Hand::Free(_) | Hand::Closed) {
            log::warn!("black box: the disk is slower than {limit:?}; the last clip is lost");
        }
        *hand = Hand::Closed;
        self.shared.moved.notify_all();
    }

    /// Hands over the clips whose last tick is there.
    fn settle(&mut self) {
        while self.open.front().is_some_and(|open| open.left == 0) {
            let Some(open) = self.open.pop_front() else { return };
            let mut hand = self.shared.lock();
            while self.patient && !matches!(*hand, Hand::Free(_) | Hand::Closed) {
                hand = self.shared.moved.wait(hand).unwrap_or_else(PoisonError::into_inner);
            }
            match &mut *hand {
                Hand::Free(buffer) => {
                    let mut buffer = std::mem::take(buffer);
                    self.recorder.write(&open.label, open.at_ms, self.before + open.since, &mut buffer);
                    *hand = Hand::Full(buffer, open.label);
                    self.shared.moved.notify_all();
                    self.complaint
                        .end(format_args!("black box: the disk keeps up again; {} clips lost since the start", self.lost));
                }
                _ => {
                    self.lost += 1;
                    // The number is said at the end: with it each clip would be a cause of its own.
                    self.complaint.say("black box: the disk is slower than events come; clips are lost".into());
                }
            }
        }
    }
}

impl Probe for BlackBox {
    fn taken(&mut self, at: Timestamp, tick: Shaped<'_>, extra: &[f32], first: bool) {
        if first {
            self.cut();
        }
        self.recorder.keep(at, tick, extra);
        for open in self.open.iter_mut() {
            (open.since, open.left) = (open.since + 1, open.left.saturating_sub(1));
        }
        self.settle();
    }

    fn before(&mut self, before: Before<'_>) {
        self.recorder.note(before);
    }
}

struct Writer {
    dir: PathBuf,
    limit: u64,
    /// No clip of this run has had this number yet, or a higher one.
    next: u32,
    complaint: Complaint,
}

impl Writer {
    /// Makes the folder where it is not there, and deletes what was left half written in it. The clips in it, oldest first: number, bytes, file.
    fn open(&self) -> std::io::Result<Vec<(u32, u64, PathBuf)>> {
        make(&self.dir)?;
        let mut clips = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let path = entry.path();
            if path.to_string_lossy().ends_with(PART) {
                // One that is locked is being written.
                if let Ok(_part) = held(&path, FlockOperation::NonBlockingLockExclusive) {
                    let _ = fs::remove_file(path);
                }
            } else if let (Some(n), Ok(meta)) = (named(&path).map(|(n, _)| n), entry.metadata()) {
                clips.push((n, meta.len(), path));
            }
        }
        clips.sort_unstable();
        Ok(clips)
    }

    fn complain(&mut self, why: &str) {
        self.complaint.say(format!("black box {}: {why}; reports go on", self.dir.display()));
    }

    fn run(mut self, shared: &Shared) {
        loop {
            let mut hand = shared.lock();
            let (mut clip, label) = loop {
                match std::mem::replace(&mut *hand, Hand::Writing) {
                    Hand::Full(clip, label) => break (clip, label),
                    Hand::Closed => {
                        *hand = Hand::Closed;
                        return;
                    }
                    other => *hand = other,
                }
                hand = shared.moved.wait(hand).unwrap_or_else(PoisonError::into_inner);
            };
            drop(hand);
            let sum = checksum(&clip);
            clip.extend_from_slice(&sum.to_le_bytes());
            match self.save(&clip, &label) {
                Ok(file) => {
                    self.complaint.end(format_args!("black box: clips are written again"));
                    log::info!("black box: {}", file.display());
                }
                Err(why) => self.complain(&why),
            }
            let mut hand = shared.lock();
            if matches!(*hand, Hand::Writing) {
                *hand = Hand::Free(clip);
            }
            shared.moved.notify_all();
        }
    }

    fn save(&mut self, clip: &[u8], label: &str) -> Result<PathBuf, String> {
        if clip.len() as u64 > self.limit {
            return Err(format!("a clip of {} bytes is more than all may have together ({})", clip.len(), self.limit));
        }
        self.place(clip, label).map_err(|e| e.to_string())
    }

    fn place(&mut self, clip: &[u8], label: &str) -> std::io::Result<PathBuf> {
        make(&self.dir)?;
        let part = self.dir.join(UNFINISHED);
        // Locked until the clip has its own name.
        let mut held = held(&part, FlockOperation::LockExclusive)?;
        hand_over(&part);
        // What is half there would take the room of what could be whole.
        let number = self.fill(&mut held, clip).inspect_err(|_| drop(fs::remove_file(&part)))?;
        let file = self.dir.join(format!("{number:06}-{label}.{EXTENSION}"));
        settle(&part, &file)?;
        Ok(file)
    }

    /// Makes room for a clip and writes it into what is held. Its number: none is taken twice, neither that of a clip which is there nor that of one which
    /// this run wrote and somebody took away.
    fn fill(&mut self, held: &mut File, clip: &[u8]) -> std::io::Result<u32> {
        held.set_len(0)?;
        let clips = self.open()?;
        let number = clips.last().map_or(0, |(n, ..)| n.saturating_add(1)).max(self.next);
        self.make_room(clips, clip.len() as u64)?;
        self.next = number.saturating_add(1);
        held.write_all(clip)?;
        Ok(number)
    }

    /// Deletes the oldest of these clips until `bytes` more stay within the limit; those of novelty last, while they take no more than half of it.
    fn make_room(&self, mut clips: Vec<(u32, u64, PathBuf)>, bytes: u64) -> std::io::Result<()> {
        let is_rare = |clip: &&(u32, u64, PathBuf)| named(&clip.2).is_some_and(|(_, label)| label == NOVELTY);
        while !clips.is_empty() && clips.iter().map(|c| c.1).sum::<u64>() + bytes > self.limit {
            let rare: u64 = clips.iter().filter(is_rare).map(|c| c.1).sum();
            let common = clips.iter().position(|clip| rare > self.limit / 2 || !is_rare(&clip));
            fs::remove_file(&clips.remove(common.unwrap_or(0)).2)?;
        }
        Ok(())
    }
}

/// The number of a clip and what it is for, from its name.
fn named(path: &Path) -> Option<(u32, &str)> {
    if path.extension()? != EXTENSION {
        return None;
    }
    let (number, label) = path.file_stem()?.to_str()?.split_once('-')?;
    Some((number.parse().ok()?, label))
}
