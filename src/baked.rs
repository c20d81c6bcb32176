//! What `build.rs` put into the program: every file in `board/` and one bundle.
//!
//! A camera box then needs one file to run. The bundle's files are packed, and unpacked when it is loaded. The bytes are checked again here, by the same code that checks files from
//! a disk, so that a damaged program refuses its own bundle instead of classifying with it.

use crate::board::{Board, BoardError};
use crate::bundle::{Bundle, BundleError};

include!(concat!(env!("OUT_DIR"), "/baked.rs"));

/// Where the baked bundle says it came from.
const ORIGIN: &str = "built-in";

/// The baked bundle, hashes checked.
///
/// # Errors
/// One sentence: what does not fit.
pub fn bundle() -> Result<Bundle, BundleError> {
    Bundle::load(ORIGIN, |name| {
        let refuse = |why: String| BundleError { bundle: ORIGIN.into(), why };
        let (_, packed) = BUNDLE.iter().find(|(n, _)| *n == name).ok_or_else(|| refuse(format!("{name} was not baked in")))?;
        unpacked(packed).map_err(|why| refuse(format!("{name}: {why}")))
    })
}

/// What is ordinary to the baked bundle's head, as `ordinary.json` has it; empty where its maker did not say.
///
/// # Errors
/// A damaged program.
pub fn ordinary() -> Result<Vec<u8>, String> {
    if ORDINARY.is_empty() { Ok(Vec::new()) } else { unpacked(ORDINARY) }
}

fn unpacked(bytes: &[u8]) -> Result<Vec<u8>, String> {
    fdeflate::decompress_to_vec(bytes).map_err(|e| format!("the program is damaged, its built-in bundle does not unpack: {e:?}"))
}

/// All baked boards, in name order.
///
/// # Errors
/// Never for a program that was built by `build.rs`, which applies the same checks.
pub fn boards() -> Result<Vec<Board>, BoardError> {
    let parse =
        |(stem, text): &(&str, &str)| Board::parse(stem, text).map_err(|why| BoardError { board: (*stem).to_string(), why });
    BOARDS.iter().map(parse).collect()
}
