//! What was found, as a piece of lookout.toml, and its way into one.
//!
//! Between [`BEGIN`] and [`END`] an earlier run's stands, whose place it takes, and whose thresholds the next run does not begin with ([`forget`]). A class
//! that has a table of its own elsewhere in the file gets its thresholds there, since TOML knows no second one; they are marked, and what its owner said of
//! them stays as a comment, to which the next run goes back. All of it can be tried before anything was found, and is: what cannot be put there must not be
//! said after hours of work.

use super::Failure;
use crate::bundle::{Bundle, plain};
use crate::cli::setup::short;
use crate::config::{Config, read_text};
use crate::report::Label;
use crate::store::replace;
use rustix::fs::{Access, access};
use std::path::{Path, PathBuf};

/// First and last line.
const BEGIN: &str = "# >>> lookout calibrate";
const END: &str = "# <<< lookout calibrate";
/// For whoever edits the file.
const NOTE: &str =
    "the next run takes the place of these lines; what is to stay goes above them, or below under a [table] line of its own";
/// Behind a line in a table of the owner's, and before what the owner had there.
const MARK: &str = " # lookout calibrate";
const BEFORE: &str = "# before lookout calibrate: ";

/// What was found for a class.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its name.
    pub label: Label,
    /// Where its thresholds come from.
    pub says: String,
    /// Probability at which it may start; 1: never.
    pub enter: f32,
    /// Probability below which it ends; `None` where it never starts.
    pub leave: Option<f32>,
    /// How long either must hold, where the configuration says it of this class.
    pub min_ms: Option<u32>,
}

impl Found {
    /// Keys and values, with every digit: what is rounded to 1 never starts, and what is rounded down starts too often.
    fn thresholds(&self) -> String {
        let leave = self.leave.map(|leave| format!("leave = {leave:?}\n")).unwrap_or_default();
        format!("enter = {:?}\n{leave}", self.enter)
    }
}

/// The whole piece. `head`: what it is of.
pub fn text(head: &str, found: &[Found]) -> String {
    lines(head, found, &[])
}

/// The same without those classes that have a table `elsewhere`, of which it only says where the thresholds come from.
fn lines(head: &str, found: &[Found], elsewhere: &[&str]) -> String {
    let mut text = format!("{BEGIN}\n# {head}\n# {NOTE}\n");
    for class in found {
        let Found { label, says, .. } = class;
        if elsewhere.contains(&label.as_str()) {
            text += &format!("\n# {label}, in the table that it has of its own: {says}\n");
            continue;
        }
        let min = class.min_ms.map(|ms| format!("min_ms = {ms}\n")).unwrap_or_default();
        text += &format!("\n# {says}\n[decision.label.{label}]\n{}{min}", class.thresholds());
    }
    text + END
}

/// A configuration with the piece in it.
///
/// # Errors
/// A sentence: what of the file stands in its way, and what to do about it.
pub fn within(file: &Path, head: &str, found: &[Found]) -> Result<String, Failure> {
    let refuse = |why: String| Failure::refused(format!("{}: {why}", file.display()));
    let folder = folder(file);
    if !folder.is_dir() {
        return Err(refuse("no such folder".into()));
    }
    access(folder.as_path(), Access::WRITE_OK | Access::EXEC_OK)
        .map_err(|e| refuse(format!("its folder cannot be written: {e}")))?;
    let before = if file.exists() { read_text(file).map_err(refuse)? } else { String::new() };
    let (mut above, mut below) = around(&before).map_err(refuse)?;
    let name = file.display().to_string();
    let rest = Config::parse(&name, &format!("{above}{below}"))?;
    let mut elsewhere = Vec::new();
    for class in found.iter().filter(|class| rest.decision.label.contains_key(class.label.as_str())) {
        let label = class.label.as_str();
        if let Some(text) = changed(&above, class) {
            above = text;
        } else if let Some(text) = changed(&below, class) {
            below = text;
        } else {
            return Err(refuse(format!(
                "decision.label.{label} stands in it, and not as a table below a line [decision.label.{label}]; write it so, or take it out"
            )));
        }
        elsewhere.push(label);
    }
    let after = format!("{above}{}{below}", lines(head, found, &elsewhere));
    Config::parse(&name, &after).map_err(|e| Failure::refused(format!("with the thresholds in it: {e}")))?;
    Ok(after)
}

/// What stands in a configuration above the piece and below it, or where it will stand.
fn around(text: &str) -> Result<(String, String), String> {
    match (text.find(BEGIN), text.find(END)) {
        (Some(begin), Some(end)) if begin < end => Ok((owners(&text[..begin]), owners(&text[end + END.len()..]))),
        (None, None) if text.trim().is_empty() => Ok((String::new(), "\n".to_string())),
        (None, None) => Ok((format!("{}\n\n", owners(text).trim_end()), "\n".to_string())),
        _ => Err(format!("{BEGIN} and {END} do not stand around one piece; correct or delete both")),
    }
}

/// The tables of the owner's as they were before an earlier run, but for what the owner has changed since.
fn owners(text: &str) -> String {
    let is_ours = |line: &str| line.trim_end().ends_with(MARK);
    let key = |line: &str| line.split(['=', '#']).next().unwrap_or_default().trim().to_string();
    let (mut after, mut lines) = (String::new(), text.split_inclusive('\n').peekable());
    while let Some(first) = lines.next() {
        let mut table = vec![first];
        while let Some(line) = lines.next_if(|line| !line.trim_start().starts_with('[')) {
            table.push(line);
        }
        table.retain(|line| !is_ours(line));
        let own: Vec<String> = table.iter().map(|line| key(line)).collect();
        for line in table {
            match line.strip_prefix(BEFORE) {
                Some(was) if own.contains(&key(was)) => {}
                Some(was) => after += was,
                None => after += line,
            }
        }
    }
    after
}

/// What a configuration says without an earlier run's piece; `None` where none stands in it.
///
/// # Errors
/// A sentence: the file, and why its piece cannot be found, or what is wrong with the rest.
pub fn without(file: &str) -> Result<Option<Config>, Failure> {
    // A pipe gives what it has once.
    if !Path::new(file).is_file() {
        return Ok(None);
    }
    let refuse = |why: String| Failure::refused(format!("{file}: {why}"));
    let text = read_text(Path::new(file)).map_err(refuse)?;
    let (above, below) = around(&text).map_err(refuse)?;
    if !text.contains(BEGIN) && !text.contains(MARK) {
        return Ok(None);
    }
    Ok(Some(Config::parse(file, &format!("{above}{below}"))?))
}

/// The bundle that a piece is of, as the beginning of its `head`.
pub fn bundle(bundle: &Bundle) -> String {
    format!("bundle {} {} {}", bundle.contract.name, bundle.contract.version, short(&bundle.hash))
}

/// What to do where an earlier run's thresholds in this configuration are of another bundle than the one of this hash. `None`: they are not, or do not
/// say, as older ones do not.
pub fn of_another(file: &str, hash: &str) -> Option<String> {
    let path = Path::new(file);
    // A pipe gives what it has once.
    let text = path.is_file().then(|| read_text(path).ok())??;
    let (_, piece) = text.split_once(BEGIN)?;
    let (theirs, _) = piece.trim_start().strip_prefix("# bundle ")?.split_once(": at most")?;
    let is_hash = |word: &str| word.len() == short(hash).len() && word.bytes().all(|b| b.is_ascii_hexdigit());
    let its = theirs.split(' ').nth(2).filter(|word| is_hash(word))?;
    (its != short(hash)).then(|| format!("thresholds in {file} were found for {}: lookout calibrate again", plain(theirs)))
}

/// Takes an earlier run's thresholds out of the configuration that was read. How long a class must hold stays: that was somebody's wish before.
///
/// # Errors
/// As [`without`].
pub fn forget(config: &mut Config) -> Result<(), Failure> {
    let Some(rest) = without(&config.file)? else { return Ok(()) };
    for (label, one) in &mut config.decision.label {
        let own = rest.decision.label.get(label).copied().unwrap_or_default();
        (one.enter, one.leave) = (own.enter, own.leave);
    }
    Ok(())
}

/// Puts it there.
///
/// # Errors
/// As [`within`], or the file cannot be written; then it is as it was.
pub fn put(file: &Path, head: &str, found: &[Found]) -> Result<(), Failure> {
    let after = within(file, head, found)?;
    replace(&place(file), after.as_bytes()).map_err(Failure::from)
}

/// Through a link to the file itself.
fn place(file: &Path) -> PathBuf {
    file.canonicalize().unwrap_or_else(|_| file.to_path_buf())
}

/// The folder in which the file is made anew.
fn folder(file: &Path) -> PathBuf {
    let place = place(file);
    let above = place.parent().filter(|dir| !dir.as_os_str().is_empty());
    above.unwrap_or(Path::new(".")).to_path_buf()
}

/// A text with these thresholds in the place of what the table of this class said; `None` where no line begins such a table.
fn changed(text: &str, class: &Found) -> Option<String> {
    let header = format!("[decision.label.{}]", class.label);
    let (mut after, mut inside, mut met) = (String::new(), false, false);
    for line in text.split_inclusive('\n') {
        let bare = line.split('#').next().unwrap_or_default().trim();
        let key = bare.split('=').next().unwrap_or_default().trim();
        if bare.starts_with('[') {
            inside = bare == header;
        }
        if inside && ["enter", "leave"].contains(&key) {
            after += BEFORE;
        }
        after += line;
        if bare == header {
            met = true;
            after += if line.ends_with('\n') { "" } else { "\n" };
            after += &class.thresholds().replace('\n', &format!("{MARK}\n"));
        }
    }
    met.then_some(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(label: &str, enter: f32, leave: Option<f32>) -> Found {
        Found { label: Label::try_from(label).unwrap(), says: "so".into(), enter, leave, min_ms: None }
    }

    #[test]
    fn thresholds_keep_every_digit_and_are_read_as_they_were() {
        for (enter, leave, text) in [
            (0.995, Some(0.75), "enter = 0.995\nleave = 0.75\n"),
            (0.705, Some(0.4), "enter = 0.705\nleave = 0.4\n"),
            (0.999_999_94, None, "enter = 0.99999994\n"),
            (1.0, None, "enter = 1.0\n"),
        ] {
            let class = found("left", enter, leave);
            assert_eq!(class.thresholds(), text);
            let read = Config::parse("x", &super::text("of x", &[class])).unwrap().decision.label["left"];
            assert_eq!((read.enter, read.leave), (Some(enter), leave));
        }
    }

    #[test]
    fn thresholds_of_another_bundle_are_known_by_its_hash_and_older_pieces_say_nothing() {
        let file = std::env::temp_dir().join(format!("lookout-whose-{}.toml", std::process::id()));
        let name = file.to_str().unwrap();
        let said = |bundle: &str, hash: &str| {
            std::fs::write(&file, text(&format!("{bundle}: at most 1 false alarms an hour"), &[found("left", 0.9, None)]))
                .unwrap();
            of_another(name, hash)
        };
        let new = "bundle motion 1.2.0 0011aabb";
        assert_eq!(said(new, "0011aabbccdd"), None);
        let words = format!("thresholds in {name} were found for motion 1.2.0 0011aabb: lookout calibrate again");
        assert_eq!(said(new, "ff11aabbccdd"), Some(words));
        assert_eq!(said("bundle motion 1.2.0", "ff11aabbccdd"), None);
        std::fs::write(&file, "heartbeat_s = 2\n").unwrap();
        assert_eq!(of_another(name, "ff11aabbccdd"), None);
        std::fs::remove_file(&file).unwrap();
        assert_eq!(of_another(name, "ff11aabbccdd"), None);
    }

    #[test]
    fn a_class_that_has_a_table_of_its_own_is_changed_there() {
        let file = std::env::temp_dir().join(format!("lookout-piece-{}.toml", std::process::id()));
        let own = "[decision.label.shake] # the lorry\n# a knock\nenter = 0.8 # tuned\nmin_ms = 100\n\n# wiring\n[gpio]\n";
        std::fs::write(&file, own).unwrap();
        let both = [found("left", 0.9, Some(0.5)), Found { min_ms: Some(100), ..found("shake", 0.74, Some(0.4)) }];
        for head in ["the first", "the second"] {
            put(&file, head, &both).unwrap();
            let text = std::fs::read_to_string(&file).unwrap();
            let kept = "[decision.label.shake] # the lorry\nenter = 0.74 # lookout calibrate\nleave = 0.4 # lookout calibrate\n# a knock\n# before lookout calibrate: enter = 0.8 # tuned\nmin_ms = 100\n\n# wiring\n[gpio]\n\n";
            let piece = format!(
                "{BEGIN}\n# {head}\n# {NOTE}\n\n# so\n[decision.label.left]\nenter = 0.9\nleave = 0.5\n\n# shake, in the table that it has of its own: so\n{END}\n"
            );
            assert_eq!(text, format!("{kept}{piece}"));
            // Its owner's again, also where the piece is taken out by hand.
            let owners = without(file.to_str().unwrap()).unwrap().unwrap().decision.label["shake"];
            assert_eq!((owners.enter, owners.leave, owners.min_ms), (Some(0.8), None, Some(100)));
        }
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, &text[..text.find(BEGIN).unwrap()]).unwrap();
        let enter = || without(file.to_str().unwrap()).unwrap().unwrap().decision.label["shake"].enter;
        assert_eq!(enter(), Some(0.8));
        // What its owner has said since is what counts.
        std::fs::write(&file, text.replace("enter = 0.74 # lookout calibrate", "enter = 0.95 # the lorry")).unwrap();
        assert_eq!(enter(), Some(0.95));
        std::fs::write(&file, text).unwrap();
        // The table below the piece, and the last line of the file.
        let text = std::fs::read_to_string(&file).unwrap();
        let table = text.find("# wiring").unwrap();
        let text = text[table..].to_string() + "[decision.label.shake]";
        std::fs::write(&file, text).unwrap();
        put(&file, "the third", &both).unwrap();
        assert!(
            std::fs::read_to_string(&file)
                .unwrap()
                .ends_with("\n[decision.label.shake]\nenter = 0.74 # lookout calibrate\nleave = 0.4 # lookout calibrate\n")
        );
        // In other words than a table of its own: nothing is changed.
        for own in ["[decision]\nlabel.shake.enter = 0.8\n", "[decision.label]\nshake = { enter = 0.8 }\n"] {
            std::fs::write(&file, own).unwrap();
            let why = put(&file, "the fourth", &both).unwrap_err().why;
            assert!(
                why.contains("decision.label.shake stands in it, and not as a table below a line [decision.label.shake]"),
                "{why}"
            );
            assert_eq!(std::fs::read_to_string(&file).unwrap(), own);
        }
        std::fs::remove_file(&file).unwrap();
        let nowhere = within(Path::new("/nowhere/lookout.toml"), "", &both).unwrap_err();
        assert_eq!((nowhere.code, nowhere.why.as_str()), (2, "/nowhere/lookout.toml: no such folder"));
    }
}
