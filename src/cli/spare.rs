//! What is read is not written over, whichever way its name leads there.

use super::Failure;
use crate::extra::Table;
use crate::source::images::is_picture;
use crate::source::open::Spec;
use std::path::{Path, PathBuf};

/// Refuses to write `out` over a recording, over a picture of a folder of them, or over another file that is read (`others`).
pub fn spare<'a>(out: &Path, clips: &[String], others: impl Iterator<Item = &'a PathBuf>) -> Result<(), Failure> {
    // What is not there yet takes nobody's place.
    let Ok(place) = out.canonicalize() else { return Ok(()) };
    let read = |clip: &String| clip.parse::<Spec>().ok().map(|spec| PathBuf::from(spec.path()));
    let beside = clips.iter().filter_map(|clip| Table::beside(clip));
    let inputs = clips.iter().filter_map(read).chain(beside).chain(others.cloned());
    for input in inputs.filter_map(|input| input.canonicalize().ok()) {
        let within = input.is_dir() && is_picture(&place) && place.parent() == Some(input.as_path());
        if place == input || within {
            let why = format!("{}: it is read here, and would be written over; another name is needed", out.display());
            return Err(Failure::refused(why));
        }
    }
    Ok(())
}
