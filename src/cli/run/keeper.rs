//! Writes down beside inference what novelty has counted: a thread of its own, because a disk may take seconds and inference may not.
//!
//! At the end of a block, and at most once a minute; a power cut costs what was counted since.

use crate::complaint::Complaint;
use crate::novelty::Novelty;
use crate::novelty::normal::Normal;
use crate::novelty::promise::Blocks;
use crate::store::novelty;
use std::path::Path;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The least time between two writes: cards wear out.
const PAUSE: Duration = Duration::from_secs(60);

/// See the module's documentation. Ends, with the last of it written, when it is dropped.
#[derive(Debug)]
pub struct Keeper {
    to: Option<SyncSender<Blocks>>,
    thread: Option<JoinHandle<()>>,
    /// Blocks that had ended when the last were handed over, and when that was.
    ended: u32,
    last: Option<Instant>,
}

impl Keeper {
    /// Keeps what is counted with `normal` in the folder `state`.
    ///
    /// # Errors
    /// No thread is to be had.
    pub fn start(state: &Path, normal: &Normal) -> std::io::Result<Self> {
        let (to, from) = sync_channel::<Blocks>(1);
        let (state, normal) = (state.to_path_buf(), novelty::name(normal));
        let keep = move || {
            let mut complaint = Complaint::default();
            while let Ok(blocks) = from.recv() {
                if let Err(why) = novelty::count(&state, &normal, blocks) {
                    complaint.say(format!("{why}; what is normal here is counted anew after a restart"));
                }
            }
        };
        let thread = std::thread::Builder::new().name("novelty".into()).spawn(keep)?;
        Ok(Self { to: Some(to), thread: Some(thread), ended: 0, last: None })
    }

    /// After a tick: hands over what was counted when a block has ended. Never waits: while the disk is slow, the next block takes the rest along.
    pub fn note(&mut self, novelty: &Novelty) {
        if novelty.ended() != self.ended
            && self.last.is_none_or(|last| last.elapsed() >= PAUSE)
            && let Some(to) = &self.to
            && to.try_send(novelty.promise().known()).is_ok()
        {
            (self.ended, self.last) = (novelty.ended(), Some(Instant::now()));
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.to.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
