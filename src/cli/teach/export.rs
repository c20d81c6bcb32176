//! A bundle with the taught classes in it: the files of the one that was taught, and the lesson as one more, with its hash in the list.

use crate::bundle::Bundle;
use crate::cli::Failure;
use crate::taught::lesson::{FILE, Lesson};
use std::fs;
use std::path::Path;

/// Writes it into a new folder, and reads it back.
pub fn write(bundle: &Bundle, lesson: &Lesson, dir: &Path) -> Result<(), Failure> {
    let failed = |path: &Path| {
        let path = path.display().to_string();
        move |e: std::io::Error| Failure::broke(format!("{path}: {e}"))
    };
    if lesson.labels().is_empty() {
        return Err(Failure::refused("nothing was taught on this bundle: there is nothing to export"));
    }
    if fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(Failure::refused(format!("{}: not empty; a new folder is expected", dir.display())));
    }
    let text = lesson.text();
    let contract = bundle.amended(None, &[(FILE, Some(text.as_bytes()))])?;
    fs::create_dir_all(dir).map_err(failed(dir))?;
    for (name, bytes) in bundle.files().iter().filter(|(name, _)| *name != FILE) {
        let path = dir.join(name);
        fs::write(&path, bytes).map_err(failed(&path))?;
    }
    fs::write(dir.join(FILE), text).map_err(failed(&dir.join(FILE)))?;
    // Last: without it the folder is no bundle.
    fs::write(dir.join("bundle.toml"), contract).map_err(failed(&dir.join("bundle.toml")))?;
    Bundle::open(dir)?;
    Ok(())
}
