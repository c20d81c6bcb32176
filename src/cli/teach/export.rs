//! A bundle with the taught classes in it: the files of the one that was taught, and the lesson as one more, with its hash in the list.

use crate::bundle::Bundle;
use crate::cli::Failure;
use crate::store::replace;
use crate::taught::lesson::{FILE, Lesson};
use std::fs;
use std::path::Path;

/// Writes it into a new folder, and reads it back.
pub fn write(bundle: &Bundle, lesson: &Lesson, dir: &Path) -> Result<(), Failure> {
    if lesson.labels().is_empty() {
        return Err(Failure::refused("nothing was taught on this bundle: there is nothing to export"));
    }
    if fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(Failure::refused(format!("{}: not empty; a new folder is expected", dir.display())));
    }
    let text = lesson.file().map_err(Failure::refused)?;
    let contract = bundle.amended(None, &[(FILE, Some(text.as_bytes()))])?;
    for (name, bytes) in bundle.files().iter().filter(|(name, _)| *name != FILE) {
        replace(&dir.join(name), bytes)?;
    }
    replace(&dir.join(FILE), text.as_bytes())?;
    // Last: without it the folder is no bundle.
    replace(&dir.join("bundle.toml"), contract.as_bytes())?;
    Bundle::open(dir)?;
    Ok(())
}
