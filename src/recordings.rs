//! Which files of a folder are recordings, by their names: what `train` learns from, and what a folder stands for where commands ask for recordings.
//!
//! A folder of pictures is one recording. What is hidden is none, nor is a table of extras that lies beside a recording, nor a text for people.

use crate::blackbox::writer::EXTENSION;
use crate::bundle::Bundle;
use crate::extra::table::ENDING;
use crate::source::images::is_picture;
use crate::source::open::Spec;
use crate::source::rows::is_rows;
use std::io::Read;
use std::path::{Path, PathBuf};

/// How films end.
const FILMS: [&str; 14] = ["y4m", "avi", "mp4", "m4v", "mkv", "mov", "webm", "mpg", "mpeg", "ts", "wmv", "flv", "3gp", "gif"];
/// Texts and tables of labels that lie beside recordings and are none, whatever they are called behind the point.
const NOTES: [&str; 4] = ["readme", "license", "licence", "labels"];
/// Folders that are looked into below one that is named: those of classes, and one more for cameras or days.
const DEPTH: u32 = 2;

/// The recordings that are named, as `--source` takes them: in the place of a folder without pictures those that lie in it, in order of name. A folder
/// without either stays what it is, and so does everything that says its kind (`frames:DIR`).
///
/// # Errors
/// A sentence: which folder cannot be read.
pub fn named(words: &[String], bundle: &Bundle) -> Result<Vec<String>, String> {
    let rows = bundle.contract.input.is_none();
    let wanted = |path: &Path| ending(path) == EXTENSION || if rows { holds_rows(path) } else { is_film(path) };
    let mut all = Vec::with_capacity(words.len());
    for word in words {
        let found = match word.parse::<Spec>() {
            Ok(Spec::Guess(dir)) if Path::new(&dir).is_dir() && !holds_pictures(Path::new(&dir))? => {
                below(Path::new(&dir), DEPTH, &wanted)?
            }
            _ => vec![],
        };
        if found.is_empty() {
            all.push(word.clone());
        }
        all.extend(found.iter().map(|path| path.display().to_string()));
    }
    Ok(all)
}

/// Recordings in a folder and `depth` folders below it, in order of name: files that are `wanted`, and folders of pictures.
///
/// # Errors
/// A sentence: which folder cannot be read.
pub fn below(dir: &Path, depth: u32, wanted: &dyn Fn(&Path) -> bool) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    for path in children(dir)? {
        if !path.is_dir() {
            found.extend(Some(path).filter(|path| path.is_file() && wanted(path)));
        } else if holds_pictures(&path)? {
            found.push(path);
        } else if depth > 0 {
            found.extend(below(&path, depth - 1, wanted)?);
        }
    }
    Ok(found)
}

/// In order of name, without hidden ones and without the tables of extras that lie beside recordings.
///
/// # Errors
/// A sentence: the folder, and why it cannot be read.
pub fn children(dir: &Path) -> Result<Vec<PathBuf>, String> {
    let list = std::fs::read_dir(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let other = |name: &[u8]| name.starts_with(b".") || name.ends_with(ENDING.as_bytes());
    let visible = |p: &PathBuf| !p.file_name().is_some_and(|n| other(n.as_encoded_bytes()));
    let mut paths: Vec<PathBuf> = list.filter_map(|e| e.ok().map(|e| e.path())).filter(visible).collect();
    paths.sort();
    Ok(paths)
}

fn holds_pictures(dir: &Path) -> Result<bool, String> {
    Ok(children(dir)?.iter().any(|path| is_picture(path)))
}

/// What stands behind a name's last point, in small letters.
pub fn ending(path: &Path) -> String {
    path.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default()
}

/// Does the name end like a film's?
pub fn is_film(path: &Path) -> bool {
    FILMS.contains(&ending(path).as_str())
}

/// Does the name end like rows of numbers, and is it no text for people?
pub fn holds_rows(path: &Path) -> bool {
    is_rows(path) && !is_note(path)
}

/// Is it a text for people: by its name, or a `.txt` in which neither of the first two lines begins with a number? One of them may be a header.
fn is_note(path: &Path) -> bool {
    let stem = path.file_stem().map(|s| s.to_string_lossy().to_lowercase()).unwrap_or_default();
    if NOTES.contains(&stem.as_str()) {
        return true;
    }
    let mut head = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(4096).read_to_end(&mut head));
    // What cannot be read, or is empty, is left out with its reason later on.
    if ending(path) != "txt" || read.is_err() {
        return false;
    }
    let text = String::from_utf8_lossy(&head);
    let text = text.trim_start_matches('\u{feff}');
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')).take(2).collect();
    let numbers = |l: &&str| l.split([',', ';', ' ', '\t']).next().is_some_and(|word| word.parse::<f32>().is_ok());
    let note = !lines.is_empty() && !lines.iter().any(numbers);
    if note {
        log::info!("{}: a text, not rows of numbers; passed over", path.display());
    }
    note
}
