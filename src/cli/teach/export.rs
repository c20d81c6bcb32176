//! A bundle with the taught classes in it: the files of the one that was taught, and the lesson as one more, with its hash in the list.

use crate::bundle::Bundle;
use crate::cli::Failure;
use crate::store::sha256;
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
    let contract = listed(bundle.text(), &sha256(text.as_bytes())).ok_or_else(|| {
        Failure::refused(format!("bundle {}: bundle.toml has no line [files] to list {FILE} under", bundle.origin))
    })?;
    fs::create_dir_all(dir).map_err(failed(dir))?;
    for name in bundle.contract.files.keys().filter(|name| *name != FILE) {
        let path = dir.join(name);
        fs::write(&path, bundle.file(name).unwrap_or_default()).map_err(failed(&path))?;
    }
    fs::write(dir.join(FILE), text).map_err(failed(&dir.join(FILE)))?;
    // Last: without it the folder is no bundle.
    fs::write(dir.join("bundle.toml"), contract).map_err(failed(&dir.join("bundle.toml")))?;
    Bundle::open(dir)?;
    Ok(())
}

/// The contract with the lesson in its list of files, and everything else as it stands.
fn listed(text: &str, sha: &str) -> Option<String> {
    let ours = |line: &str| line.trim_start().trim_start_matches('"').starts_with(FILE);
    let mut out = String::new();
    let mut found = false;
    for line in text.lines().filter(|line| !ours(line)) {
        out.push_str(line);
        out.push('\n');
        if line.trim() == "[files]" {
            found = true;
            out.push_str(&format!("\"{FILE}\" = \"{sha}\"\n"));
        }
    }
    found.then_some(out)
}
