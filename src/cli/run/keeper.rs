//! Writes down beside inference what novelty has counted: a thread of its own, because a disk may take seconds and inference may not.
//!
//! At the end of a block, and at most once a minute; a power cut costs what was counted since, the end of a run nothing, unless the disk is slower
//! than [`DRAIN`] then. One run counts in a state folder, the first: what two cameras see is not one place.

use super::DRAIN;
use crate::complaint::Complaint;
use crate::novelty::promise::Blocks;
use crate::novelty::{Novelty, Setup};
use crate::store::novelty;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::fs::File;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, channel, sync_channel};
use std::time::{Duration, Instant};

/// The least time between two writes: cards wear out.
const PAUSE: Duration = Duration::from_secs(60);

/// See the module's documentation. Dropped, it ends, with the last of it written where the disk is quick enough.
#[derive(Debug)]
pub struct Keeper {
    to: Option<SyncSender<Blocks>>,
    /// Nothing comes here; it closes when the thread has ended.
    end: Receiver<()>,
    /// Blocks that had ended when the last were handed over.
    ended: u32,
}

impl Keeper {
    /// Keeps what is counted with `setup` in the folder `state`. `None`, and it is said: another run does.
    ///
    /// # Errors
    /// No thread is to be had.
    pub fn start(state: &Path, setup: &Setup) -> std::io::Result<Option<Self>> {
        // A folder that is not there yet, or cannot be locked, is held by nobody.
        let folder = File::open(state).ok();
        if folder.as_ref().map(|folder| flock(folder, FlockOperation::NonBlockingLockExclusive)) == Some(Err(Errno::WOULDBLOCK)) {
            log::warn!(
                "{}: another run counts here what is normal; what this one counts is lost with it: give it a `state` of its own",
                state.display()
            );
            return Ok(None);
        }
        let ((to, from), (alive, end)) = (sync_channel::<Blocks>(1), channel());
        let (state, normal, ticks) = (state.to_path_buf(), novelty::name(&setup.normal), setup.block);
        let keep = move || {
            // Dropped in this order: when the end is known, another may hold the folder.
            let _held = (folder, alive);
            let (mut complaint, mut last) = (Complaint::default(), None::<Instant>);
            while let Ok(mut blocks) = from.recv() {
                // What comes before the time is over takes its place; the end of the run does not wait.
                while let Some(rest) = last.and_then(|last| PAUSE.checked_sub(last.elapsed())) {
                    let Ok(newer) = from.recv_timeout(rest) else { break };
                    blocks = newer;
                }
                if let Err(why) = novelty::count(&state, &normal, ticks, blocks) {
                    complaint.say(format!("{why}; what is normal here is counted anew after a restart"));
                }
                last = Some(Instant::now());
            }
        };
        std::thread::Builder::new().name("novelty".into()).spawn(keep)?;
        Ok(Some(Self { to: Some(to), end, ended: 0 }))
    }

    /// After a tick: hands over what was counted when a block has ended. Never waits: while the disk is slow, the next block takes the rest along.
    pub fn note(&mut self, novelty: &Novelty) {
        if novelty.ended() != self.ended
            && let Some(to) = &self.to
            && to.try_send(novelty.promise().known()).is_ok()
        {
            self.ended = novelty.ended();
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.to.take();
        if self.end.recv_timeout(DRAIN) == Err(RecvTimeoutError::Timeout) {
            log::warn!("novelty: the disk is slower than {DRAIN:?}; what was counted last may be lost");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::novelty::normal::{self, Terms};

    #[test]
    fn the_first_is_written_at_once_the_next_after_a_minute_or_at_the_end() {
        let state = std::env::temp_dir().join(format!("lookout-keeper-{}", std::process::id()));
        let rows = (0..2000).map(|n| (n * 37 % 101) as f32 / 101.0).collect();
        let normal = normal::learn("00aa", 1, &[rows], &Terms { hidden: 4, ..Terms::new(100, 0) }, None).unwrap();
        std::fs::create_dir_all(&state).unwrap();
        let setup = Setup::of(normal, None).unwrap();
        let keeper = Keeper::start(&state, &setup).unwrap().unwrap();
        assert!(Keeper::start(&state, &setup).unwrap().is_none(), "one at a time");
        let count = |best: f32| keeper.to.as_ref().unwrap().send(Blocks { best: vec![best], ..Blocks::default() }).unwrap();
        let kept = || std::fs::read_to_string(state.join("blocks.json")).unwrap_or_default();
        count(0.25);
        let soon = |done: &dyn Fn() -> bool| {
            let until = Instant::now() + Duration::from_secs(20);
            while !done() && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(5));
            }
            done()
        };
        soon(&|| kept().contains("0.25"));
        count(0.5);
        count(0.75);
        assert!(kept().contains("0.25"), "{}", kept());
        drop(keeper);
        // A busy disk may be slower than the drop waits.
        assert!(soon(&|| kept().contains("0.75")), "{}", kept());
        assert!(soon(&|| Keeper::start(&state, &setup).unwrap().is_some()), "the next");
        let _ = std::fs::remove_dir_all(state);
    }
}
