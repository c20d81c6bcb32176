//! How often we were started, and how the last run ended: what decides whether to watch or to lie still for a while.
//!
//! A box that dies in its first second would otherwise be started for ever, and nobody would learn why. The file lies in
//! the directory that the service manager gives us (`RuntimeDirectory=`, memory, gone when power goes), so nothing wears out
//! and a new boot begins anew. So does the count behind a run that was asked to stop: who restarts a box is not to find it
//! lying still. It is written twice a run, at its start and at its end. Times are of the clock that counts from boot; no wall
//! clock is asked. Without such a directory (started by hand) nothing is counted.

use crate::bundle::plain;
use crate::config::read_file;
use crate::report::{LastEnd, Life};
use crate::vitals::uptime;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// More starts than this within [`SPAN`] are too many.
pub const MANY: usize = 5;
/// See [`MANY`].
pub const SPAN: Duration = Duration::from_secs(60);
/// Longest file that is read: a number, [`MANY`] + 1 of them, and twice 200 letters of last words.
const MAX_BYTES: u64 = 4 << 10;

/// This run, in the file of all runs.
#[derive(Debug)]
pub struct Runs {
    file: Option<PathBuf>,
    /// Starts before this one since power came on or the service was stopped.
    restarts: u32,
    /// Of those since the last that was asked to stop, and this one, the last [`MANY`] + 1, in ms since boot.
    starts: Vec<u64>,
    last_end: LastEnd,
    /// What the last run said when it ended.
    last_words: String,
}

impl Runs {
    /// Reads what is known and notes this start. `dir` is the service manager's; the first of several.
    pub fn begin(dir: Option<&Path>) -> Self {
        let mut runs = Self { file: None, restarts: 0, starts: vec![], last_end: LastEnd::None, last_words: String::new() };
        let Some(dir) = dir else { return runs };
        let file = dir.join("runs");
        runs.read(&text(&file));
        if runs.last_end == LastEnd::Stopped {
            runs.starts.clear();
        }
        runs.starts.push(uptime().as_millis().try_into().unwrap_or(u64::MAX));
        let surplus = runs.starts.len().saturating_sub(MANY + 1);
        runs.starts.drain(..surplus);
        runs.file = Some(file);
        runs.write(LastEnd::Killed, "");
        runs
    }

    /// Too many starts within [`SPAN`]?
    pub fn too_many(&self) -> bool {
        let span = SPAN.as_millis() as u64;
        match (self.starts.first(), self.starts.last()) {
            (Some(first), Some(last)) => self.starts.len() > MANY && last.saturating_sub(*first) <= span,
            _ => false,
        }
    }

    /// For the health report; `since` is how long this run has lasted.
    pub fn life(&self, since: Duration) -> Life {
        let seconds = u32::try_from(since.as_secs()).unwrap_or(u32::MAX);
        Life { seconds, restarts: self.restarts, last_end: self.last_end }
    }

    /// One sentence for the log about the run before; `None` where there was none or it was asked to stop.
    pub fn story(&self) -> Option<String> {
        let words = if self.last_words.is_empty() { String::new() } else { format!(": {}", self.last_words) };
        let how = match self.last_end {
            LastEnd::None | LastEnd::Stopped => return None,
            LastEnd::Failed => format!("ended{words}"),
            LastEnd::Panic => format!("panicked{words}"),
            LastEnd::Killed => "was killed without a word (watchdog, out of memory, or somebody)".into(),
        };
        Some(format!("{}; the last run {how}", self.start()))
    }

    /// Which start this is. The file goes when the service is stopped (`RuntimeDirectory`).
    fn start(&self) -> String {
        format!("start {} since power came on or it was stopped", u64::from(self.restarts) + 1)
    }

    /// One sentence, from outside, about the run that is on and the one before it. `None` where nothing can be read.
    pub fn look(dir: &Path) -> Option<String> {
        let text = text(&dir.join("runs"));
        let mut lines = text.lines();
        let restarts: u32 = lines.next()?.parse().ok()?;
        let (last_end, last_words) = ended(lines.nth(2)?)?;
        let runs = Self { file: None, restarts, starts: vec![], last_end, last_words };
        Some(runs.story().unwrap_or_else(|| runs.start()))
    }

    /// Safe mode is over: the starts that led to it count no more.
    pub fn forgive(&mut self) {
        self.starts.clear();
        self.write(LastEnd::Killed, "");
    }

    /// Notes how this run ends. Called once, on every way out that leaves time for it.
    pub fn end(&self, how: LastEnd, words: &str) {
        self.write(how, words);
    }

    /// Where the file is, for the panic hook.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Whole or not at all: a new file takes the old one's name. What cannot be written is not counted.
    fn write(&self, end: LastEnd, words: &str) {
        let Some(file) = &self.file else { return };
        let starts: Vec<String> = self.starts.iter().map(u64::to_string).collect();
        let words = last(words);
        let before = format!("{} {}", self.last_end.words(), self.last_words);
        let text = format!("{}\n{}\n{} {words}\n{before}\n", self.restarts, starts.join(" "), end.words());
        let new = file.with_extension("new");
        let written = std::fs::File::create(&new).and_then(|mut f| f.write_all(text.as_bytes()));
        if let Err(e) = written.and_then(|()| std::fs::rename(&new, file)) {
            log::warn!("{}: starts are not counted: {e}", file.display());
        }
    }

    /// Lines: starts before the last one, times of the last starts, how it ended, and how the one before it did (for [`Self::look`]). Anything else says
    /// nothing.
    fn read(&mut self, text: &str) {
        let mut lines = text.lines();
        let (Some(restarts), Some(starts), Some(end)) = (lines.next(), lines.next(), lines.next()) else { return };
        let Some(ended) = ended(end) else { return };
        let Ok(restarts) = restarts.parse::<u32>() else { return };
        self.restarts = restarts.saturating_add(1);
        self.starts = starts.split(' ').filter_map(|t| t.parse().ok()).take(MANY + 1).collect();
        (self.last_end, self.last_words) = ended;
    }
}

/// How a run ended, and its last words.
fn ended(line: &str) -> Option<(LastEnd, String)> {
    let (word, words) = line.split_once(' ').unwrap_or((line, ""));
    let (_, end) = LastEnd::WORDS.iter().find(|(w, _)| *w == word)?;
    // They are shown, and a damaged file must not move a terminal's cursor.
    Some((*end, plain(words.trim())))
}

/// What stands in the file of all runs; nothing where it cannot be read.
fn text(file: &Path) -> String {
    read_file(file, MAX_BYTES).ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default()
}

/// Adds how it ended to the file of a run that cannot go on: for the panic hook, which owns nothing.
pub fn note_panic(file: &Path, words: &str) {
    let text = text(file);
    let kept: Vec<&str> = text.lines().take(2).collect();
    if kept.len() == 2 {
        let words = last(words);
        // Nothing can be done about a failure on the way down.
        let _ = std::fs::write(file, format!("{}\n{}\n{} {words}\n", kept[0], kept[1], LastEnd::Panic.words()));
    }
}

/// Last words, in one line of bounded length.
fn last(words: &str) -> String {
    words.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Dir(PathBuf);
    impl Dir {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("lookout-life-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&dir).unwrap();
            Self(dir)
        }
    }
    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn starts_are_counted_and_the_last_end_is_told() {
        let dir = Dir::new("ends");
        let first = Runs::begin(Some(&dir.0));
        assert_eq!(first.life(Duration::from_secs(3)), Life { seconds: 3, restarts: 0, last_end: LastEnd::None });
        assert_eq!(first.story(), None);
        // No word: killed.
        let second = Runs::begin(Some(&dir.0));
        assert_eq!((second.life(Duration::ZERO).restarts, second.life(Duration::ZERO).last_end), (1, LastEnd::Killed));
        second.end(LastEnd::Failed, "a\nsentence");
        let third = Runs::begin(Some(&dir.0));
        assert_eq!(Runs::look(&dir.0), third.story(), "from outside, while it is on");
        assert!(third.story().is_some_and(|s| s.ends_with("the last run ended: a sentence")), "{:?}", third.story());
        note_panic(third.file().unwrap(), "at src/x.rs:1: no");
        let fourth = Runs::begin(Some(&dir.0));
        assert_eq!((fourth.life(Duration::ZERO).restarts, fourth.life(Duration::ZERO).last_end), (3, LastEnd::Panic));
        assert!(fourth.story().is_some_and(|s| s.contains("start 4 ") && s.ends_with("panicked: at src/x.rs:1: no")));
        fourth.end(LastEnd::Stopped, "");
        assert_eq!(Runs::begin(Some(&dir.0)).story(), None);
        assert_eq!(Runs::look(&dir.0).as_deref(), Some("start 5 since power came on or it was stopped"));
    }

    #[test]
    fn the_sixth_start_within_a_minute_is_one_too_many_until_forgiven() {
        let dir = Dir::new("many");
        let too_many: Vec<bool> = (0..7).map(|_| Runs::begin(Some(&dir.0)).too_many()).collect();
        assert_eq!(too_many, [false, false, false, false, false, true, true]);
        // Restarted by somebody, seven times: the first of these follows those that ended by themselves.
        for n in 0..7 {
            let runs = Runs::begin(Some(&dir.0));
            assert_eq!(runs.too_many(), n == 0, "start {n}");
            runs.end(LastEnd::Stopped, "");
        }
        let too_many: Vec<bool> = (0..6).map(|_| Runs::begin(Some(&dir.0)).too_many()).collect();
        assert_eq!(too_many, [false, false, false, false, false, true]);
        let mut runs = Runs::begin(Some(&dir.0));
        runs.forgive();
        assert!(!runs.too_many() && !Runs::begin(Some(&dir.0)).too_many());
        // Spread over more than a minute.
        std::fs::write(dir.0.join("runs"), "9\n1 2 3 4 5\nkilled\n").unwrap();
        assert!(uptime() < SPAN || !Runs::begin(Some(&dir.0)).too_many());
    }

    #[test]
    fn a_file_of_anything_else_and_no_directory_count_nothing() {
        let dir = Dir::new("torn");
        for text in ["", "7", "x\n1 2\nkilled", "3\n\nbored", "\u{0}\u{0}\n\n\n"] {
            std::fs::write(dir.0.join("runs"), text).unwrap();
            assert_eq!(Runs::begin(Some(&dir.0)).life(Duration::ZERO).restarts, 0, "{text:?}");
        }
        let by_hand = Runs::begin(None);
        assert!(!by_hand.too_many() && by_hand.file().is_none());
        by_hand.end(LastEnd::Failed, "nowhere to say it");
    }
}
