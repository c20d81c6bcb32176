//! What was taught on this box, in the state folder beside the bundles: `taught/<sha256 of the bundle>.json`.
//!
//! A file a bundle, so that an install and an undo of it each find what was taught on theirs. It is replaced as everything here is: written
//! under another name, flushed, renamed, the folder flushed. A kill or a power cut at any instant leaves the lesson before the last step or the one after it.

use super::{Change, Store, StoreError, damaged, read, replace};
use crate::taught::lesson::{Lesson, MAX_BYTES};
use std::fs;
use std::path::PathBuf;

const TAUGHT: &str = "taught";

impl Store {
    /// Where the lesson of the bundle with this hash lies.
    pub fn taught_file(&self, hash: &str) -> PathBuf {
        self.dir.join(TAUGHT).join(format!("{hash}.json"))
    }

    /// What was taught on top of the bundle with this hash; `None` where nothing was.
    ///
    /// # Errors
    /// A file that cannot be read, that `lookout teach` has not written, or that belongs to another bundle.
    pub fn taught(&self, hash: &str) -> Result<Option<Lesson>, StoreError> {
        let path = self.taught_file(hash);
        let refuse = damaged(&path);
        let Some(bytes) = read(&path, MAX_BYTES)? else { return Ok(None) };
        let lesson = Lesson::parse(&bytes).map_err(&refuse)?;
        if lesson.bundle != hash {
            let found = lesson.bundle.chars().take(8).collect::<String>();
            return Err(refuse(format!(
                "it was taught on bundle {found}, this is bundle {}; another bundle's states mean nothing here",
                &hash[..hash.len().min(8)]
            )));
        }
        Ok(Some(lesson))
    }

    /// Bundles, by hash, on which something was taught.
    pub fn taught_bundles(&self) -> Vec<String> {
        let entries = fs::read_dir(self.dir.join(TAUGHT)).into_iter().flatten().flatten();
        let names = entries.filter_map(|e| e.file_name().to_str().and_then(|n| n.strip_suffix(".json")).map(String::from));
        names.filter(|n| !n.starts_with('.')).collect()
    }
}

impl Change<'_> {
    /// Makes `lesson` the one that holds for its bundle: the instant of teaching.
    ///
    /// # Errors
    /// It cannot be written, or could not be read again; the old one holds then.
    pub fn teach(&self, lesson: &Lesson) -> Result<(), StoreError> {
        let path = self.store.taught_file(&lesson.bundle);
        let text = lesson.file().map_err(|why| StoreError::TooMuch { what: path.display().to_string(), why })?;
        replace(&path, text.as_bytes())
    }
}
