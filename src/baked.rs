//! What `build.rs` put into the program: every file in `board/` and one bundle.
//!
//! A camera box then needs one file to run. The bytes are checked again here, by the same code that checks files from
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
        let file = BUNDLE.iter().find(|(n, _)| *n == name);
        file.map(|(_, bytes)| bytes.to_vec())
            .ok_or_else(|| BundleError { bundle: ORIGIN.into(), why: format!("{name} was not baked in") })
    })
}

/// What is ordinary to the baked bundle's head, as `ordinary.json` has it; empty where its maker did not say.
pub fn ordinary() -> &'static [u8] {
    ORDINARY
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
