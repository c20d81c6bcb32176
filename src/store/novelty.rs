//! What a box knows of its own place, on its disk: `novelty.json` (what is normal, by `lookout learn`) and `blocks.json` (what `run` has counted since).
//!
//! Both are replaced whole, as everything here is. A file that is torn, or belongs to another bundle or to another learning, is said and not used: the
//! box then counts from nothing, which promises less, never more than is true.

use super::{replace, sha256};
use crate::bundle::{Bundle, plain};
use crate::novelty::normal::Normal;
use crate::novelty::promise::Blocks;
use crate::novelty::{self, FILE, NETWORK, Setup};
use serde::{Deserialize, Serialize};
use std::path::Path;

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
    /// Ticks of a block; 0 in older files, which do not say.
    #[serde(default)]
    ticks: u32,
    blocks: Blocks,
}

/// Reads what was learnt. `None`: there is none.
///
/// # Errors
/// One sentence: the file, and what is wrong.
pub fn read(path: &Path) -> Result<Option<Normal>, String> {
    let Some(bytes) = bytes(path)? else { return Ok(None) };
    let normal: Normal = serde_json::from_slice(&bytes).map_err(|e| plain(&format!("{}: {e}", path.display())))?;
    normal.fits(normal.features, normal.tick_ms).map_err(|why| format!("{}: {why}", path.display()))?;
    Ok(Some(normal))
}

fn bytes(path: &Path) -> Result<Option<Vec<u8>>, String> {
    super::read(path, MAX_BYTES).map_err(|e| e.to_string())
}

/// Writes what was learnt into a state folder. What was counted with what was learnt before is no longer used.
///
/// # Errors
/// One sentence: the file, and why not. What was there before holds then.
pub fn write(path: &Path, normal: &Normal) -> Result<(), String> {
    let text = serde_json::to_string(normal).map_err(|e| format!("{}: {e}", path.display()))?;
    replace(path, text.as_bytes()).map_err(|e| e.to_string())
}

/// What a state folder knows for this bundle: learnt here, or brought by the bundle, and counted here. What cannot be used is logged.
pub fn of_place(state: &Path, bundle: &Bundle) -> Option<Setup> {
    let (setup, trouble) = look(state, bundle);
    trouble.iter().for_each(|why| log::warn!("{why}"));
    setup
}

/// The same, and what cannot be used with it, a sentence each.
pub fn look(state: &Path, bundle: &Bundle) -> (Option<Setup>, Vec<String>) {
    let mut trouble = vec![];
    let fits = |n: Normal| {
        n.check(&bundle.hash, bundle.features(), bundle.contract.time.tick_ms)?;
        Setup::of(n, bundle.file(NETWORK))
    };
    let here = read(&state.join(FILE)).and_then(|n| n.map(fits).transpose().map_err(|why| format!("{FILE}: {why}")));
    let here = here.unwrap_or_else(|why| {
        trouble.push(format!("{why}; `lookout learn` once more"));
        None
    });
    let known = here.or_else(|| {
        novelty::of_bundle(bundle).unwrap_or_else(|why| {
            trouble.push(format!("{why}; novelty is off"));
            None
        })
    });
    let Some(mut setup) = known else { return (None, trouble) };
    // Blocks of the footage it was learnt from are of this camera; those of a bundle are of another place, and promise nothing here.
    if setup.normal.bundle != bundle.hash {
        setup.blocks = Blocks::default();
    }
    let path = state.join(BLOCKS);
    let counted = bytes(&path).and_then(|b| {
        b.map(|b| serde_json::from_slice::<Counted>(&b).map_err(|e| plain(&format!("{}: {e}", path.display())))).transpose()
    });
    match counted {
        Ok(Some(c)) if c.normal == name(&setup.normal) => {
            setup.blocks = c.blocks;
            if c.ticks > 0 {
                // As many false alarms a day, in blocks of this length.
                setup.rate *= f64::from(c.ticks) / f64::from(setup.block);
                setup.block = c.ticks;
            }
        }
        Ok(_) => {}
        Err(why) => trouble.push(format!("{why}; counting begins anew")),
    }
    (Some(setup), trouble)
}

/// Writes down what was counted with the learning of this name, in blocks of so many ticks.
///
/// # Errors
/// One sentence: the file, and why not. What was there before holds then.
pub fn count(state: &Path, normal: &str, ticks: u32, blocks: Blocks) -> Result<(), String> {
    let bytes = serde_json::to_vec(&Counted { normal: normal.into(), ticks, blocks }).map_err(|e| format!("{BLOCKS}: {e}"))?;
    replace(&state.join(BLOCKS), &bytes).map_err(|e| e.to_string())
}

/// Tells one learning from another.
pub fn name(normal: &Normal) -> String {
    serde_json::to_vec(normal).map(|bytes| sha256(&bytes)).unwrap_or_default()
}
