//! What a box knows of its own place, on its disk: `novelty.json` (what is normal, by `lookout learn`) and `blocks.json` (what `run` has counted since).
//!
//! Both are replaced whole: written beside, flushed, renamed. Counting is written down at most once a minute (a block), by a thread of its own, because
//! a disk may take seconds and inference may not; a power cut costs the blocks since. A file that is torn, or belongs to another bundle or to another learning,
//! is said and not used: the box then counts from nothing, which promises less, never more than is true.

use super::normal::Normal;
use super::promise::Blocks;
use super::{FILE, Setup};
use crate::bundle::Bundle;
use crate::store;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

/// Largest file that is read, bytes: what is normal in 4096 numbers a row is smaller.
const MAX_BYTES: u64 = 16 << 20;
/// Name of the counting.
const BLOCKS: &str = "blocks.json";

/// `blocks.json`.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Counted {
    /// Hash of the `novelty.json` that gave the scores.
    normal: String,
    blocks: Blocks,
}

/// Reads what was learnt. `None`: there is none.
///
/// # Errors
/// One sentence: the file, and what is wrong.
pub fn read(path: &Path) -> Result<Option<Normal>, String> {
    let Some(bytes) = bytes(path)? else { return Ok(None) };
    let normal: Normal = serde_json::from_slice(&bytes).map_err(|e| format!("{}: {e}", path.display()))?;
    normal.fits(normal.features, normal.tick_ms).map_err(|why| format!("{}: {why}", path.display()))?;
    Ok(Some(normal))
}

fn bytes(path: &Path) -> Result<Option<Vec<u8>>, String> {
    let said = |e: std::io::Error| format!("{}: {e}", path.display());
    match std::fs::metadata(path) {
        Ok(meta) if !meta.is_file() || meta.len() > MAX_BYTES => {
            Err(format!("{}: a file of at most {MAX_BYTES} bytes expected", path.display()))
        }
        Ok(_) => std::fs::read(path).map(Some).map_err(said),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(said(e)),
    }
}

/// Writes what was learnt into a state folder. What was counted with what was learnt before is no longer used.
///
/// # Errors
/// One sentence: the file, and why not. What was there before holds then.
pub fn write(path: &Path, normal: &Normal) -> Result<(), String> {
    let text = serde_json::to_string(normal).map_err(|e| format!("{}: {e}", path.display()))?;
    store::replace(path, text.as_bytes()).map_err(|e| e.to_string())
}

/// What a bundle brings with it, with the blocks of the footage it was learnt from.
///
/// # Errors
/// One sentence: what in it does not fit.
pub fn of_bundle(bundle: &Bundle) -> Result<Option<Setup>, String> {
    let Some(bytes) = bundle.file(FILE) else { return Ok(None) };
    let normal: Normal = serde_json::from_slice(bytes).map_err(|e| format!("{FILE}: {e}"))?;
    normal.fits(bundle.features(), bundle.contract.time.tick_ms).map_err(|why| format!("{FILE}: {why}"))?;
    Ok(Some(Setup::of(normal)))
}

/// What a state folder knows for this bundle: learnt here, or brought by the bundle, and counted here. What cannot be used is logged.
pub fn of_place(state: &Path, bundle: &Bundle) -> Option<Setup> {
    let fits = |n: Normal| n.check(&bundle.hash, bundle.features(), bundle.contract.time.tick_ms).map(|()| n);
    let here = read(&state.join(FILE)).and_then(|n| n.map(fits).transpose().map_err(|why| format!("{FILE}: {why}")));
    let here = here.unwrap_or_else(|why| {
        log::warn!("{why}; `lookout learn` once more");
        None
    });
    let brought = || {
        of_bundle(bundle).unwrap_or_else(|why| {
            log::warn!("{why}; novelty is off");
            None
        })
    };
    let mut setup = here.map(Setup::of).or_else(brought)?;
    // Blocks of the footage it was learnt from are of this camera; those of a bundle are of another place, and promise nothing here.
    if setup.normal.bundle != bundle.hash {
        setup.blocks = Blocks::default();
    }
    let path = state.join(BLOCKS);
    let counted = bytes(&path).and_then(|b| {
        b.map(|b| serde_json::from_slice::<Counted>(&b).map_err(|e| format!("{}: {e}", path.display()))).transpose()
    });
    match counted {
        Ok(Some(c)) if c.normal == name(&setup.normal) => setup.blocks = c.blocks,
        Ok(_) => {}
        Err(why) => log::warn!("{why}; counting begins anew"),
    }
    Some(setup)
}

/// Tells one learning from another.
fn name(normal: &Normal) -> String {
    serde_json::to_vec(normal).map(|bytes| store::sha256(&bytes)).unwrap_or_default()
}

/// Writes the counting down beside inference. Ends, with the last of it written, when it is dropped.
#[derive(Debug)]
pub struct Keeper {
    to: Option<SyncSender<Blocks>>,
    thread: Option<JoinHandle<()>>,
    /// Blocks that had ended when the last were handed over.
    ended: u32,
}

impl Keeper {
    /// Keeps what is counted with `normal` in the folder `state`.
    ///
    /// # Errors
    /// No thread is to be had.
    pub fn start(state: &Path, normal: &Normal) -> std::io::Result<Self> {
        let (to, from) = sync_channel::<Blocks>(1);
        let (path, normal): (PathBuf, String) = (state.join(BLOCKS), name(normal));
        let keep = move || {
            let mut complaint = crate::complaint::Complaint::default();
            while let Ok(blocks) = from.recv() {
                let counted = Counted { normal: normal.clone(), blocks };
                let written = serde_json::to_vec(&counted).map_err(|e| e.to_string());
                let written = written.and_then(|bytes| store::replace(&path, &bytes).map_err(|e| e.to_string()));
                if let Err(why) = written {
                    complaint.say(format!("{why}; what is normal here is counted anew after a restart"));
                }
            }
        };
        let thread = std::thread::Builder::new().name("novelty".into()).spawn(keep)?;
        Ok(Self { to: Some(to), thread: Some(thread), ended: 0 })
    }

    /// After a tick: hands over what was counted when a block has ended. Never waits: while the disk is slow, the next block takes the rest along.
    pub fn note(&mut self, novelty: &super::Novelty) {
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
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
