//! The capture thread, and the one slot between it and inference.
//!
//! A camera does not wait: its newest frame replaces one that nobody has taken yet, and every frame lost that way is
//! counted (the source's own sequence numbers say it to the pipeline). A recording does wait. Four buffers go round - one
//! being filled, one in the slot, the newest frame and the one before it - so that nothing is allocated once each has
//! seen a frame. Inference works on the one before: only the newest says until when it was the newest.
//!
//! A camera that goes away is opened again, for ever; meanwhile the slot says what is missing, once per change. How soon
//! depends on what it costs: looking for a name that is not there costs nothing (every 0.25 s), a camera that is there and
//! gives nothing or breaks is asked ever less often, one that another program has or that refuses us only every 2 s.
//! Only a source that refuses at the start or mid-stream (wrong file, format or argument) ends the thread: what stands in a
//! camera's place after an unplug may be another device for a moment, and a box on the road has nobody to start it again.
//!
//! The thread leaves a beat each time it comes round, so that whoever waits for it can tell waiting from hanging.

use crate::complaint::Complaint;
use crate::source::ahead::Owned;
use crate::source::{Fault, Frame, Losses, Source, SourceError, Timestamp};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Opens the source, and opens it again after it was lost.
pub type Opener = Box<dyn FnMut() -> Result<Box<dyn Source>, SourceError> + Send>;

/// Damaged frames and nothing else for this long are no picture to whoever waits for one.
const ALL_DAMAGED: Duration = Duration::from_secs(1);
/// Damaged frames are logged this often.
const DAMAGE_AGAIN: Duration = Duration::from_secs(60);
/// A waiting thread shows that it is alive at least this often.
const BEAT: Duration = Duration::from_millis(250);

/// Why there are no frames just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The device is there and gives nothing.
    NoFrames,
    /// Every frame of the last second came damaged.
    AllDamaged,
    /// The device cannot be had.
    Lost(Fault),
}

impl Trouble {
    /// Time from the beginning of one attempt to open the source to the next; `attempt` counts from 0 since the last frame.
    fn again(self, attempt: usize) -> Duration {
        let ms = match self {
            // A look at the name.
            Self::Lost(Fault::Absent) => [250, 250, 250, 250],
            // Some drivers give the device back only when nobody holds it any more.
            Self::Lost(Fault::Unplugged) => [250, 250, 500, 1000],
            Self::Lost(Fault::StreamBroke) => [500, 500, 1000, 1000],
            // Each of these includes a second in which a frame may come.
            Self::NoFrames | Self::AllDamaged => [1250, 1500, 2000, 2000],
            Self::Lost(Fault::Busy | Fault::NoBandwidth | Fault::NoRights | Fault::Refuses) => [2000; 4],
        };
        Duration::from_millis(ms[attempt.min(3)])
    }
}

/// What inference finds in the slot.
#[derive(Debug)]
pub enum Arrival {
    /// A frame: [`Capture::settled`] has the one before it.
    Frame,
    /// No frames; said once per change.
    Trouble(Trouble),
    /// Nothing within the wait.
    Nothing,
    /// The recording ended.
    End,
    /// The source refused: nothing will ever come.
    Refused(SourceError),
}

#[derive(Debug, Default)]
struct Slot {
    full: Option<Box<Owned>>,
    /// Boxed, so that a hand-over moves a pointer.
    #[allow(clippy::vec_box, reason = "they travel to and from the other slots as boxes")]
    spare: Vec<Box<Owned>>,
    trouble: Option<Trouble>,
    end: Option<Option<SourceError>>,
    broken: u32,
    /// What the source counts, where it does; what nobody took out of the slot is added.
    losses: Option<Losses>,
    unread: u32,
}

#[derive(Debug, Default)]
struct Shared {
    slot: Mutex<Slot>,
    changed: Condvar,
    stop: AtomicBool,
    beat: AtomicU32,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Slot> {
        // A panic in the other thread leaves a slot that is still whole: it only holds buffers.
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Capture {
    shared: Arc<Shared>,
    newest: Box<Owned>,
    before: Box<Owned>,
    /// Frames in hand: none, `newest`, or both.
    have: u8,
    thread: Option<JoinHandle<()>>,
}

impl Capture {
    /// Starts the thread on a source that is open already; `reopen` is used when it is lost.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(source: Option<Box<dyn Source>>, reopen: Opener) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        shared.lock().spare.extend([Box::default(), Box::default()]);
        let theirs = shared.clone();
        let thread = std::thread::Builder::new().name("capture".into()).spawn(move || work(&theirs, source, reopen))?;
        Ok(Self { shared, newest: Box::default(), before: Box::default(), have: 0, thread: Some(thread) })
    }

    /// Waits for the next thing to happen, at most `limit`.
    pub fn wait(&mut self, limit: Duration) -> Arrival {
        let mut slot = self.shared.lock();
        if slot.full.is_none() && slot.trouble.is_none() && slot.end.is_none() {
            slot = self.shared.changed.wait_timeout(slot, limit).unwrap_or_else(PoisonError::into_inner).0;
        }
        // What is in the slot beside trouble came after it.
        if let Some(trouble) = slot.trouble.take() {
            return Arrival::Trouble(trouble);
        }
        if let Some(full) = slot.full.take() {
            let before = std::mem::replace(&mut self.newest, full);
            slot.spare.push(std::mem::replace(&mut self.before, before));
            self.have = (self.have + 1).min(2);
            self.shared.changed.notify_all();
            return Arrival::Frame;
        }
        match slot.end.take() {
            None => Arrival::Nothing,
            Some(None) => Arrival::End,
            Some(Some(e)) => Arrival::Refused(e),
        }
    }

    /// After an [`Arrival::Frame`]: the frame before it, and the stamp up to which that one was the newest.
    ///
    /// # Errors
    /// As [`Owned::frame`].
    pub fn settled(&self) -> Result<Option<(Frame<'_>, Timestamp)>, SourceError> {
        if self.have < 2 { Ok(None) } else { Ok(Some((self.before.frame()?, self.newest.at()))) }
    }

    /// The newest frame, which nothing has followed; it is let go of. For the end, or for trouble.
    ///
    /// # Errors
    /// As [`Owned::frame`].
    pub fn last(&mut self) -> Result<Option<Frame<'_>>, SourceError> {
        if std::mem::take(&mut self.have) == 0 { Ok(None) } else { Ok(Some(self.newest.frame()?)) }
    }

    /// Frames that came damaged and were left out, since the start.
    pub fn broken(&self) -> u32 {
        self.shared.lock().broken
    }

    /// Frames that a newer one took the place of before anybody took them, since the start.
    pub fn unread(&self) -> u32 {
        self.shared.lock().unread
    }

    /// What never reached us since the start, where the source keeps count.
    pub fn losses(&self) -> Option<Losses> {
        let slot = self.shared.lock();
        slot.losses.map(|l| l + Losses { unread: slot.unread, ..Losses::default() })
    }

    /// A number that changes while the thread is at work, waiting included, and stands still while it hangs in a driver.
    pub fn beat(&self) -> u32 {
        self.shared.beat.load(Ordering::Relaxed)
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.shared.changed.notify_all();
        // A source may wait for a frame up to its own limit (1 s); a process on its way out need not.
        if let Some(thread) = self.thread.take().filter(JoinHandle::is_finished) {
            let _ = thread.join();
        }
    }
}

/// What the thread remembers from one source to the next.
#[derive(Default)]
struct Story {
    /// Attempts since the last frame.
    attempt: usize,
    /// What was said last, if no frame has come since.
    trouble: Option<Trouble>,
    /// How the source described itself when it was last logged.
    described: String,
    complaint: Complaint,
    /// Is what was last opened live?
    live: bool,
    damage_said: Option<Instant>,
    /// Losses of the sources that were closed.
    before: Losses,
}

fn work(shared: &Shared, mut source: Option<Box<dyn Source>>, mut reopen: Opener) {
    let mut story = Story { described: source.as_ref().map(|s| s.describe()).unwrap_or_default(), ..Story::default() };
    let mut began = Instant::now();
    while !shared.stop.load(Ordering::Relaxed) {
        shared.beat.fetch_add(1, Ordering::Relaxed);
        let trouble = match &mut source {
            Some(open) => match pump(shared, open.as_mut(), &mut story) {
                Ok(()) => return finish(shared, None),
                Err(e @ SourceError::Refused { .. }) => return finish(shared, Some(e)),
                Err(e) => e,
            },
            None => {
                began = Instant::now();
                match reopen() {
                    Ok(new) => {
                        let description = new.describe();
                        if story.described != description {
                            log::info!("source: {description}");
                            story.described = description;
                        }
                        source = Some(new);
                        continue;
                    }
                    Err(e) => e,
                }
            }
        };
        // Closed before it is opened again: a driver gives a device back only when nobody holds it.
        if let Some(losses) = source.take().and_then(|s| s.losses()) {
            story.before = story.before + losses;
        }
        let trouble = story.say(shared, &trouble);
        pause(shared, began + trouble.again(story.attempt));
        story.attempt += 1;
    }
}

/// Frames from the source to the slot until the source ends or fails.
fn pump(shared: &Shared, source: &mut dyn Source, story: &mut Story) -> Result<(), SourceError> {
    let (live, reopens) = (source.is_live(), source.reopens_after_stall());
    story.live = live;
    let mut good = Instant::now();
    while !shared.stop.load(Ordering::Relaxed) {
        shared.beat.fetch_add(1, Ordering::Relaxed);
        let frame = match source.next() {
            Ok(Some(frame)) => frame,
            Ok(None) => return Ok(()),
            Err(SourceError::Broken { what, why }) => {
                let mut slot = shared.lock();
                slot.broken = slot.broken.saturating_add(1);
                slot.losses = source.losses().map(|l| story.before + l);
                let broken = slot.broken;
                drop(slot);
                if story.damage_said.is_none_or(|at| at.elapsed() >= DAMAGE_AGAIN) {
                    log::warn!("{what}: {why} ({broken} damaged so far)");
                    story.damage_said = Some(Instant::now());
                }
                if good.elapsed() >= ALL_DAMAGED {
                    story.tell(shared, Trouble::AllDamaged, "all that comes is damaged".into());
                }
                continue;
            }
            Err(e @ SourceError::Stalled { .. }) if !reopens => {
                story.say(shared, &e);
                continue;
            }
            Err(e) => return Err(e),
        };
        let mut buffer = take(shared, live);
        buffer.copy(&frame);
        if story.trouble.take().is_some() {
            story.complaint.end(format_args!("frames again: {}", story.described));
        }
        story.attempt = 0;
        good = Instant::now();
        let losses = source.losses().map(|l| story.before + l);
        let mut slot = shared.lock();
        slot.losses = losses;
        let replaced = slot.full.replace(buffer);
        slot.unread = slot.unread.saturating_add(u32::from(replaced.is_some()));
        slot.spare.extend(replaced);
        drop(slot);
        shared.changed.notify_all();
    }
    Ok(())
}

/// A buffer to fill. For a recording, waits until the last frame was taken.
fn take(shared: &Shared, live: bool) -> Box<Owned> {
    let mut slot = shared.lock();
    while !live && slot.full.is_some() && !shared.stop.load(Ordering::Relaxed) {
        slot = shared.changed.wait_timeout(slot, Duration::from_millis(100)).unwrap_or_else(PoisonError::into_inner).0;
    }
    slot.spare.pop().unwrap_or_default()
}

impl Story {
    /// Puts the trouble into the slot and the log, if it is news.
    fn say(&mut self, shared: &Shared, e: &SourceError) -> Trouble {
        let (trouble, words) = match e {
            SourceError::Stalled { .. } => (Trouble::NoFrames, "the source gives no frames".into()),
            SourceError::Lost { fault, .. } => (Trouble::Lost(*fault), format!("{e}; waiting for it to come back")),
            e => (Trouble::Lost(Fault::Refuses), format!("{e}; trying again")),
        };
        self.tell(shared, trouble, words);
        trouble
    }

    fn tell(&mut self, shared: &Shared, trouble: Trouble, words: String) {
        self.complaint.say(words);
        if self.trouble.replace(trouble) != Some(trouble) {
            let mut slot = shared.lock();
            // A frame of the stream that ended here: whoever reads it later would take it for one of the next stream. A
            // recording that stalls goes on where it was.
            let unread = if self.live { slot.full.take() } else { None };
            slot.unread = slot.unread.saturating_add(u32::from(unread.is_some()));
            slot.spare.extend(unread);
            slot.trouble = Some(trouble);
            drop(slot);
            shared.changed.notify_all();
        }
    }
}

fn finish(shared: &Shared, error: Option<SourceError>) {
    // The last frame goes first: `wait` looks at the slot before it looks at the end.
    shared.lock().end = Some(error);
    shared.changed.notify_all();
}

/// Waits until `until` or until told to stop, with a beat now and then.
fn pause(shared: &Shared, until: Instant) {
    loop {
        shared.beat.fetch_add(1, Ordering::Relaxed);
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() || shared.stop.load(Ordering::Relaxed) {
            return;
        }
        let slot = shared.lock();
        drop(shared.changed.wait_timeout_while(slot, left.min(BEAT), |_| !shared.stop.load(Ordering::Relaxed)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{Payload, Seq};

    /// Gives `good` frames, then the error.
    struct Fragile {
        good: u32,
        row: [f32; 1],
        error: fn() -> SourceError,
    }

    impl Source for Fragile {
        fn next(&mut self) -> Result<Option<Frame<'_>>, SourceError> {
            std::thread::sleep(Duration::from_millis(5));
            if self.good == 0 {
                return Err((self.error)());
            }
            self.good -= 1;
            Ok(Some(Frame { at: Timestamp(1), seq: Seq(0), payload: Payload::Row(&self.row) }))
        }
        fn describe(&self) -> String {
            "fragile".into()
        }
        fn is_live(&self) -> bool {
            true
        }
        fn reopens_after_stall(&self) -> bool {
            true
        }
    }

    fn lost(fault: Fault) -> SourceError {
        SourceError::Lost { device: "camera".into(), why: "gone".into(), fault }
    }

    /// How often a source that always fails so is opened within two seconds, and what is said meanwhile.
    fn opened(good: u32, error: fn() -> SourceError) -> (u32, Vec<Trouble>) {
        let count = Arc::new(AtomicU32::new(0));
        let theirs = count.clone();
        let opener = Box::new(move || {
            theirs.fetch_add(1, Ordering::Relaxed);
            Ok(Box::new(Fragile { good, row: [0.0], error }) as Box<dyn Source>)
        });
        let mut capture = Capture::start(None, opener).unwrap();
        let (start, mut said, mut beats) = (Instant::now(), vec![], vec![]);
        while start.elapsed() < Duration::from_secs(2) {
            if let Arrival::Trouble(trouble) = capture.wait(Duration::from_millis(20)) {
                said.push(trouble);
            }
            beats.push(capture.beat());
        }
        beats.dedup();
        assert!(beats.len() >= 5, "the thread shows that it is alive: {beats:?}");
        (count.load(Ordering::Relaxed), said)
    }

    #[test]
    fn a_stream_that_breaks_again_and_again_is_opened_twice_a_second_at_most() {
        let (opens, said) = opened(3, || lost(Fault::StreamBroke));
        assert!((2..=5).contains(&opens), "{opens} in 2 s");
        assert!(said.len() >= 2 && said.iter().all(|t| *t == Trouble::Lost(Fault::StreamBroke)), "{said:?}");
        let (opens, said) = opened(0, || lost(Fault::StreamBroke));
        assert!((2..=5).contains(&opens), "{opens} in 2 s");
        assert_eq!(said, [Trouble::Lost(Fault::StreamBroke)], "once, not once per retry");
    }

    #[test]
    fn who_refuses_is_asked_again_after_2_s_and_who_is_absent_after_a_quarter() {
        for (error, opens) in [
            ((|| lost(Fault::Busy)) as fn() -> SourceError, 1..=2),
            (|| lost(Fault::NoBandwidth), 1..=2),
            (|| lost(Fault::Absent), 4..=9),
        ] {
            let (found, said) = opened(0, error);
            assert!(opens.contains(&found) && said.len() <= 1, "{found} opens in 2 s, {opens:?} expected; {said:?}");
        }
    }

    #[test]
    fn what_stands_in_the_cameras_place_and_is_none_does_not_end_the_watch() {
        let opener = Box::new(|| Err(SourceError::Refused { what: "/dev/video0".into(), why: "gives no pictures".into() }));
        let first = Fragile { good: 1, row: [0.0], error: || lost(Fault::Unplugged) };
        let mut capture = Capture::start(Some(Box::new(first)), opener).unwrap();
        let mut said = vec![];
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(1_500) {
            match capture.wait(Duration::from_millis(20)) {
                Arrival::Trouble(trouble) => said.push(trouble),
                Arrival::Refused(e) => panic!("{e}"),
                _ => {}
            }
        }
        assert_eq!(said, [Trouble::Lost(Fault::Unplugged), Trouble::Lost(Fault::Refuses)]);
    }

    #[test]
    fn trouble_is_heard_of_before_the_frames_that_follow_it() {
        let opener =
            Box::new(|| Ok(Box::new(Fragile { good: 1_000, row: [0.0], error: || lost(Fault::Unplugged) }) as Box<dyn Source>));
        let first = Fragile { good: 2, row: [0.0], error: || lost(Fault::Unplugged) };
        let mut capture = Capture::start(Some(Box::new(first)), opener).unwrap();
        // Long enough for the second stream to have filled the slot.
        std::thread::sleep(Duration::from_millis(600));
        assert!(matches!(capture.wait(Duration::ZERO), Arrival::Trouble(Trouble::Lost(Fault::Unplugged))));
        assert!(matches!(capture.wait(Duration::from_millis(500)), Arrival::Frame));
    }
}
