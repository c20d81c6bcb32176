//! The capture thread, and the one slot between it and inference.
//!
//! A camera does not wait: its newest frame replaces one that nobody has taken yet, and every frame lost that way is
//! counted (the source's own sequence numbers say it to the pipeline). A recording does wait. Four buffers go round - one
//! being filled, one in the slot, the newest frame and the one before it - so that nothing is allocated once each has
//! seen a frame. Inference works on the one before: only the newest says until when it was the newest.
//!
//! A camera that goes away is opened again after 0.25, 0.5, 1 and then every 2 s, for ever; meanwhile the slot says
//! what is missing. Only a source that refuses (wrong file, format or argument) ends the thread.

use crate::source::ahead::Owned;
use crate::source::{Frame, Source, SourceError, Timestamp};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Opens the source, and opens it again after it was lost.
pub type Opener = Box<dyn FnMut() -> Result<Box<dyn Source>, SourceError> + Send>;

/// Waits between attempts to open a lost camera.
const BACK_OFF: [Duration; 4] =
    [Duration::from_millis(250), Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];

/// Why there are no frames just now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The device is there and gives nothing.
    NoFrames,
    /// The device is gone; what the system said.
    NoCamera(String),
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
    description: String,
}

#[derive(Debug, Default)]
struct Shared {
    slot: Mutex<Slot>,
    changed: Condvar,
    stop: AtomicBool,
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
        if let Some(full) = slot.full.take() {
            let before = std::mem::replace(&mut self.newest, full);
            slot.spare.push(std::mem::replace(&mut self.before, before));
            self.have = (self.have + 1).min(2);
            self.shared.changed.notify_all();
            return Arrival::Frame;
        }
        if let Some(trouble) = slot.trouble.take() {
            return Arrival::Trouble(trouble);
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

    /// What the source says of itself, once it is open.
    pub fn description(&self) -> String {
        self.shared.lock().description.clone()
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

fn work(shared: &Shared, mut source: Option<Box<dyn Source>>, mut reopen: Opener) {
    let mut attempt = 0;
    while !shared.stop.load(Ordering::Relaxed) {
        let Some(open) = source.as_mut() else {
            match reopen() {
                Ok(new) => {
                    log::info!("source: {}", new.describe());
                    source = Some(new);
                }
                Err(e @ SourceError::Refused { .. }) => return finish(shared, Some(e)),
                Err(e) => {
                    say(shared, Trouble::NoCamera(e.to_string()), attempt == 0);
                    pause(shared, BACK_OFF[attempt.min(BACK_OFF.len() - 1)]);
                    attempt += 1;
                }
            }
            continue;
        };
        shared.lock().description = open.describe();
        match pump(shared, open.as_mut(), &mut attempt) {
            Ok(()) => return finish(shared, None),
            Err(e @ SourceError::Refused { .. }) => return finish(shared, Some(e)),
            Err(SourceError::Stalled { .. }) => say(shared, Trouble::NoFrames, attempt == 0),
            Err(e) => say(shared, Trouble::NoCamera(e.to_string()), attempt == 0),
        }
        // Closed before it is opened again: a driver gives a device back only when nobody holds it.
        source = None;
        if attempt > 0 {
            pause(shared, BACK_OFF[(attempt - 1).min(BACK_OFF.len() - 1)]);
        }
        attempt += 1;
    }
}

/// Frames from the source to the slot until the source ends or fails.
fn pump(shared: &Shared, source: &mut dyn Source, attempt: &mut usize) -> Result<(), SourceError> {
    let (live, reopens) = (source.is_live(), source.reopens_after_stall());
    while !shared.stop.load(Ordering::Relaxed) {
        let frame = match source.next() {
            Ok(Some(frame)) => frame,
            Ok(None) => return Ok(()),
            Err(SourceError::Broken { what, why }) => {
                let mut slot = shared.lock();
                slot.broken = slot.broken.saturating_add(1);
                if slot.broken.is_power_of_two() {
                    log::warn!("{what}: {why} ({} damaged so far)", slot.broken);
                }
                continue;
            }
            Err(SourceError::Stalled { .. }) if !reopens => {
                say(shared, Trouble::NoFrames, *attempt == 0);
                *attempt = 1;
                continue;
            }
            Err(e) => return Err(e),
        };
        *attempt = 0;
        let mut buffer = take(shared, live);
        buffer.copy(&frame);
        let mut slot = shared.lock();
        let unread = slot.full.replace(buffer);
        slot.trouble = None;
        slot.spare.extend(unread);
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

fn say(shared: &Shared, trouble: Trouble, first: bool) {
    if first {
        match &trouble {
            Trouble::NoFrames => log::warn!("the source gives no frames"),
            Trouble::NoCamera(why) => log::warn!("{why}; waiting for it to come back"),
        }
    }
    shared.lock().trouble = Some(trouble);
    shared.changed.notify_all();
}

fn finish(shared: &Shared, error: Option<SourceError>) {
    // The last frame goes first: `wait` looks at the slot before it looks at the end.
    shared.lock().end = Some(error);
    shared.changed.notify_all();
}

fn pause(shared: &Shared, limit: Duration) {
    let slot = shared.lock();
    if !shared.stop.load(Ordering::Relaxed) {
        drop(shared.changed.wait_timeout_while(slot, limit, |_| !shared.stop.load(Ordering::Relaxed)));
    }
}
