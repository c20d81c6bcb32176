//! A bundle: two networks and the contract that says how to feed them.
//!
//! `bundle.toml` is parsed into [`Contract`] as it stands (unknown keys are refused), then checked against itself
//! (`bundle/contract.rs`), its files against their hashes here, against the graphs by the stages that load them and against
//! the golden vectors by [`crate::cli`]'s `check` and at start. Every refusal is one sentence that names the key, what was
//! found and what was expected.

mod amended;
mod contract;

pub use contract::{Answer, Channel, Contract, Decision, Golden, Head, Input, Mode, Resize, Time};

use crate::config::read_file;
use crate::report::{INVALID, Label, MAX_LABEL, NOVELTY};
use crate::taught::lesson::{self, Lesson};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::Path;

/// File names of the two networks.
pub const ENCODER: &str = "encoder.onnx";
/// See [`ENCODER`].
pub const HEAD: &str = "head.onnx";
/// Longest window, in ticks: 25.6 s at 100 ms.
pub const MAX_WINDOW: usize = 256;
/// Largest file in a bundle; a camera box loads kilobytes, and this bounds what a hostile file can make us read.
pub const MAX_FILE_BYTES: u64 = 32 << 20;

/// Why a bundle cannot be used. It never helps to try again: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("bundle {bundle}: {why}")]
pub struct BundleError {
    /// Folder, or `built-in`.
    pub bundle: String,
    /// The sentence: key or file, found, expected.
    pub why: String,
}

/// A bundle in memory: contract and files, hashes checked.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// Where it came from, for messages.
    pub origin: String,
    /// The contract, checked against itself.
    pub contract: Contract,
    /// Labels in output order; behind the head's own, those that were taught.
    pub labels: Vec<Label>,
    /// Index of the background class.
    pub background: usize,
    /// Hex sha256 over `bundle.toml`, which holds the hashes of all files.
    pub hash: String,
    /// What was taught on top of it, if anything was.
    pub lesson: Option<Lesson>,
    files: BTreeMap<String, Vec<u8>>,
    text: String,
}

impl Bundle {
    /// Reads and checks a bundle folder.
    ///
    /// # Errors
    /// One sentence naming file or key, found and expected.
    pub fn open(dir: &Path) -> Result<Self, BundleError> {
        let origin = dir.display().to_string();
        let read = |name: &str| {
            let fail = |e: std::io::Error| BundleError { bundle: origin.clone(), why: format!("{name}: {e}") };
            read_file(&dir.join(name), MAX_FILE_BYTES).map_err(fail)
        };
        Self::load(&origin, read)
    }

    /// Checks a bundle whose files `read` can give, by name. The contract is read first.
    ///
    /// # Errors
    /// As [`Bundle::open`].
    pub fn load(origin: &str, read: impl Fn(&str) -> Result<Vec<u8>, BundleError>) -> Result<Self, BundleError> {
        let refuse = |why: String| BundleError { bundle: origin.to_string(), why };
        let text = read("bundle.toml")?;
        let hash = hex(&Sha256::digest(&text));
        let text = std::str::from_utf8(&text).map_err(|e| refuse(format!("bundle.toml is not UTF-8: {e}")))?;
        let contract: Contract =
            toml::from_str(text).map_err(|e| refuse(format!("bundle.toml: {}", one_line(&e.to_string()))))?;
        let (labels, background) = contract.check().map_err(refuse)?;
        let mut files = BTreeMap::new();
        for (name, expected) in &contract.files {
            if name.contains(['/', '\\']) || name.starts_with('.') {
                return Err(refuse(format!("files: {name:?} is not a plain file name")));
            }
            let bytes = read(name)?;
            let found = hex(&Sha256::digest(&bytes));
            if !found.eq_ignore_ascii_case(expected) {
                return Err(refuse(format!("{name}: sha256 is {found}, bundle.toml says {expected}")));
            }
            files.insert(name.clone(), bytes);
        }
        let mut bundle =
            Self { origin: origin.to_string(), contract, labels, background, hash, lesson: None, files, text: text.to_string() };
        for name in bundle.needed() {
            if !bundle.files.contains_key(&name) {
                return Err(bundle.refuse(format!("files: {name} is missing from the list")));
            }
        }
        // A bundle that was exported with what had been taught; its own hash stands for the file.
        if let Some(bytes) = bundle.file(lesson::FILE) {
            let lesson = Lesson::parse(bytes).map_err(|why| bundle.refuse(format!("{}: {why}", lesson::FILE)))?;
            bundle.teach(lesson)?;
        }
        Ok(bundle)
    }

    /// Puts what was taught on top, instead of what was taught before: its labels follow the head's own.
    ///
    /// # Errors
    /// A label that no class may have, or more classes than there are ids; the bundle is then what it was.
    pub fn teach(&mut self, lesson: Lesson) -> Result<(), BundleError> {
        let own = self.contract.head.labels.len();
        let mut labels: Vec<Label> = self.labels.iter().take(own).cloned().collect();
        for text in lesson.labels() {
            let taught = class("a taught class", text).map_err(|why| self.refuse(why))?;
            if !labels.contains(&taught) {
                labels.push(taught);
            }
        }
        let taught = labels.len() - own;
        if taught > lesson::MAX_CLASSES || labels.len() > 256 {
            return Err(self.refuse(format!(
                "{own} classes and {taught} taught ones, at most {} are taught, and at most 256 in all",
                lesson::MAX_CLASSES
            )));
        }
        (self.labels, self.lesson) = (labels, Some(lesson));
        Ok(())
    }

    fn needed(&self) -> Vec<String> {
        let c = &self.contract;
        let mut names = vec![HEAD.to_string()];
        names.extend(c.input.as_ref().map(|_| ENCODER.to_string()));
        if let Some(g) = &c.golden {
            names.extend([g.windows.clone(), g.logits.clone()]);
            names.extend(g.frames.clone());
            names.extend(g.features.clone());
            names.extend(g.boxes.clone());
            names.extend(g.map.clone());
        }
        names
    }

    /// The bytes of a listed file.
    pub fn file(&self, name: &str) -> Option<&[u8]> {
        self.files.get(name).map(Vec::as_slice)
    }

    /// Bytes of a tick as the encoder (or, of rows, the head) is given it.
    pub fn tick_bytes(&self) -> usize {
        self.contract.input.as_ref().map_or(4 * self.frame_features(), |i| i.planes() * i.width * i.height)
    }

    /// `bundle.toml` as it stands.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// All listed files by name.
    pub fn files(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.files
    }

    /// Numbers the head reads a tick (a ring row before projection): what a frame gives, then two for each extra.
    pub fn features(&self) -> usize {
        self.frame_features() + 2 * self.contract.extra.len()
    }

    /// Numbers a frame gives: the encoder's features, or a row.
    pub fn frame_features(&self) -> usize {
        self.contract.input.as_ref().map_or(self.contract.head.features.unwrap_or(0), |i| i.features)
    }

    /// An error about this bundle.
    pub fn refuse(&self, why: impl Into<String>) -> BundleError {
        BundleError { bundle: self.origin.clone(), why: why.into() }
    }
}

/// Checks a label against `[a-z0-9_-]{1,32}`.
pub(crate) fn label(key: &str, text: &str) -> Result<Label, String> {
    let good = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-');
    match Label::try_from(text) {
        Ok(l) if good && !text.is_empty() => Ok(l),
        _ => Err(format!("{key}: {text:?}, expected 1 to {MAX_LABEL} of a-z 0-9 _ -")),
    }
}

/// What people call a class, as a label says it: in small letters, with a dash for every sign that the wire does not have.
pub(crate) fn as_label(text: &str) -> String {
    let sign = |c: char| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c.to_ascii_lowercase() } else { '-' };
    text.trim().chars().map(sign).collect()
}

/// Checks the name of a class: a label, and none that reports say of something else.
pub(crate) fn class(key: &str, text: &str) -> Result<Label, String> {
    match text {
        NOVELTY => Err(format!("{key}: {text:?} is what an alarm for what was never here is called, expected another name")),
        INVALID => Err(format!("{key}: {text:?} is what numbers that are not finite are called, expected another name")),
        _ => label(key, text),
    }
}

/// Bytes in hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// A message that quotes a stranger's file, safe for a console: control characters could move its cursor or colour its text.
pub(crate) fn plain(text: &str) -> String {
    text.chars().take(600).map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// A parser's message with its line breaks and code frame taken out: one sentence for a serial console.
pub(crate) fn one_line(text: &str) -> String {
    let mut lines = text.lines().filter(|l| !l.trim_start().starts_with('|') && !l.contains(" | "));
    let first = lines.next().unwrap_or_default().to_string();
    lines.fold(first, |all, l| if l.trim().is_empty() { all } else { format!("{all}: {}", l.trim()) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::taught::lesson::{Example, Step};
    use crate::taught::packed::Packed;

    #[test]
    fn a_taught_class_has_no_name_that_reports_say_of_something_else_and_a_refusal_changes_nothing() {
        let mut bundle = crate::baked::bundle().unwrap();
        let shown = |labels: &[&str]| {
            let mut lesson = Lesson::new(&bundle.hash, None);
            for label in labels {
                let example = Example { from: "clip".into(), traces: vec![Packed::round(&[0.5])], sure: Packed::default() };
                lesson.push(Step::Shown { label: (*label).into(), examples: vec![example] });
            }
            // As a state folder or an exported bundle brings it.
            Lesson::parse(lesson.file().unwrap().as_bytes()).unwrap()
        };
        let (knock, wrong) = (shown(&["knock"]), [NOVELTY, INVALID, "Knock!"].map(|label| (label, shown(&["wave", label]))));
        bundle.teach(knock).unwrap();
        let before = (bundle.labels.clone(), bundle.lesson.clone());
        for (label, lesson) in wrong {
            let said = bundle.teach(lesson).unwrap_err().to_string();
            assert!(said.contains("a taught class") && said.contains(label) && said.contains("expected"), "{said}");
            assert_eq!((&bundle.labels, &bundle.lesson), (&before.0, &before.1), "{label}");
        }
    }

    #[test]
    fn what_a_file_says_cannot_move_the_cursor() {
        assert_eq!(plain("node \u{1b}[2J\n\0x"), "node ?[2J??x");
        assert_eq!(plain(&"x".repeat(10_000)).len(), 600);
    }
}
