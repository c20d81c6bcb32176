//! Rows of numbers, one a tick, straight into the ring: the recurrent network alone.
//!
//! Numbers are set apart by blanks, tabs, commas or semicolons; quotes around one are taken off. Empty lines and what follows a `#` do not count;
//! nor do up to eight lines before the first row in which nothing is a number (headers). `nan` and `inf` are numbers that are not finite: they
//! travel on, and the pipeline answers `invalid`. A line that cannot be read, or is of another length, is said with its number and takes up its tick.
//!
//! Row n of a file, of standard input or of a replay is stamped n / rate, and its end is the end. A FIFO, or a device, is live: a row is stamped
//! with CLOCK_MONOTONIC when its line has come (half a tick after the first at the earliest), and a tick takes the newest row at or before it. A FIFO
//! waits for its next writer, as in [`super::pipe`]. Two ticks without a row, a second at least, are silence; with a tick of more than 1.5 s a FIFO is
//! read as a file is (see `LONGEST`).

use super::input::{Input, PATIENCE};
use super::{Frame, Payload, Rate, Seq, Source, SourceError, Timestamp};
use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

/// Longest line, in bytes: 65 536 numbers of 32 characters.
const MAX_LINE: usize = 2 << 20;
/// Lines without a number before the first row: names of columns, units, and what a program says when it starts.
const HEADERS: u32 = 8;
/// The longest that a live source may be silent before it says so: whoever watches it shows every 4 s that he is alive (WatchdogSec).
const LONGEST: Duration = Duration::from_secs(3);

/// So long a live source may be silent before it is said.
fn patience(rate: Rate) -> Duration {
    rate.at(2).since(Timestamp::default()).max(PATIENCE)
}

/// Are rows of one a tick live where they come through a FIFO?
pub(super) fn may_be_live(rate: Rate) -> bool {
    patience(rate) <= LONGEST
}

/// A file or stream of rows.
pub struct Rows {
    input: Input,
    rate: Rate,
    /// A row counts when it comes; the end of a writer is a pause.
    live: bool,
    /// The first stamp of a live source.
    begin: Option<Timestamp>,
    /// So long without a row is said.
    patience: Duration,
    /// Numbers in a row, once known, and who said so.
    columns: Option<(usize, &'static str)>,
    line: Vec<u8>,
    /// The rest of a line that is too long is being passed over.
    long: bool,
    /// Lines read.
    lines: u64,
    /// Lines that may still be headers.
    headers: u32,
    row: Vec<f32>,
    /// The row that comes next.
    n: u64,
}

impl Rows {
    /// Opens a file or FIFO, or standard input for `-`. `columns`: how many numbers a row must have, where that is known; the first row
    /// says it otherwise. `replay`: a FIFO is read to its end and stamped by count, as a file is.
    ///
    /// # Errors
    /// [`SourceError::Refused`] for a missing file.
    pub fn open(path: &str, rate: Rate, columns: Option<usize>, replay: bool) -> Result<Self, SourceError> {
        let input = Input::open(path)?;
        let patience = patience(rate);
        // A pipe without a name of its own (`<(zcat ...)`) ends with its writer.
        let named = std::fs::canonicalize(path).is_ok();
        let live = !replay && named && input.bytes.is_none() && patience <= LONGEST;
        let rows = Self::start(input, rate, columns);
        Ok(if live { Self { live, patience, ..rows } } else { rows })
    }

    /// Reads rows from anything. `name` is for messages.
    pub fn from_reader(name: &str, from: impl Read + Send + 'static, rate: Rate, columns: Option<usize>) -> Self {
        Self::start(Input::new(name, None, Box::new(from)), rate, columns)
    }

    fn start(input: Input, rate: Rate, columns: Option<usize>) -> Self {
        let columns = columns.map(|c| (c, "the bundle has"));
        let (line, row) = (Vec::new(), Vec::new());
        let (live, begin, patience, long) = (false, None, PATIENCE, false);
        Self { input, rate, live, begin, patience, columns, line, long, lines: 0, headers: HEADERS, row, n: 0 }
    }

    /// Reads one row into `row`; false at the end. It stalls also where other lines come, and none is a row.
    fn read(&mut self) -> Result<bool, SourceError> {
        let since = Instant::now();
        loop {
            if since.elapsed() >= self.patience {
                return Err(SourceError::Stalled { waited: self.patience });
            }
            match self.input.line(&mut self.line, MAX_LINE) {
                // Whoever comes to write will never find ours.
                Err(SourceError::Stalled { .. }) if self.live && self.input.is_another() => {}
                Err(SourceError::Stalled { .. }) if since.elapsed() < self.patience => continue,
                other => other?,
            }
            let ended = self.line.last() == Some(&b'\n');
            if self.live && !ended && self.line.len() < MAX_LINE {
                self.writer_gone()?;
                continue;
            }
            if self.line.is_empty() {
                return Ok(false);
            }
            self.lines += u64::from(!self.long);
            let result = if self.long || (!ended && self.line.len() >= MAX_LINE) {
                let first = !std::mem::replace(&mut self.long, !ended);
                if first { Err(format!("longer than {MAX_LINE} bytes")) } else { Ok(Parsed::Nothing) }
            } else {
                parse(&self.line, &mut self.row)
            };
            self.line.clear();
            let found = self.row.len();
            match result {
                Ok(Parsed::Nothing) => {}
                Ok(Parsed::Words) if self.headers > 0 => self.headers -= 1,
                Ok(Parsed::Words) => {
                    self.n += 1;
                    return Err(self.broken("holds no number".into()));
                }
                Ok(Parsed::Row) => {
                    (self.n, self.headers) = (self.n + 1, 0);
                    let (expected, who) = *self.columns.get_or_insert((found, "the first row has"));
                    if found == expected {
                        return Ok(true);
                    }
                    let why = format!("{found} numbers, {who} {expected}");
                    // The very first row: this is not the right file at all. A live one may have been begun before we came to read.
                    return Err(if self.n == 1 && !self.live {
                        self.input.refuse(format!("line {}: {why}", self.lines))
                    } else {
                        self.broken(why)
                    });
                }
                Err(why) => {
                    (self.n, self.headers) = (self.n + 1, 0);
                    return Err(self.broken(why));
                }
            }
        }
    }

    /// A live FIFO without a writer: the next one may begin with headers, and half a line is no row.
    fn writer_gone(&mut self) -> Result<(), SourceError> {
        let long = std::mem::take(&mut self.long);
        let half = !long && !self.line.is_empty();
        self.line.clear();
        self.input.again()?;
        self.headers = HEADERS;
        if half {
            (self.n, self.lines) = (self.n + 1, self.lines + 1);
            return Err(self.broken("cut off when the writer went away".into()));
        }
        Ok(())
    }

    fn broken(&self, why: String) -> SourceError {
        SourceError::Broken { what: format!("{} line {}", self.input.name, self.lines), why }
    }
}

/// Is a file called as rows of numbers are, whatever the letters' case?
pub fn is_rows(path: &Path) -> bool {
    let ending = path.extension().unwrap_or_default();
    ["csv", "tsv", "txt", "rows"].iter().any(|e| ending.eq_ignore_ascii_case(e))
}

/// What a line holds.
pub(crate) enum Parsed {
    /// Blanks, or a comment.
    Nothing,
    /// No number: a header.
    Words,
    /// Numbers.
    Row,
}

/// Reads the numbers of a line into `row`.
///
/// # Errors
/// A sentence without the line's number: which column, what stands there.
pub(crate) fn parse(line: &[u8], row: &mut Vec<f32>) -> Result<Parsed, String> {
    row.clear();
    // A header may be of another encoding than UTF-8; in numbers all are alike.
    let text = String::from_utf8_lossy(line);
    let text = text.trim_start_matches('\u{feff}');
    let text = text.split_once('#').map_or(text, |(before, _)| before).trim();
    if text.is_empty() {
        return Ok(Parsed::Nothing);
    }
    let (mut numbers, mut wrong) = (0, None);
    // Around a comma there may be blanks; between two commas there must be a number.
    for part in text.split([',', ';']) {
        let mut words = 0;
        for word in part.split_ascii_whitespace() {
            words += 1;
            match word.trim_matches('"').parse() {
                Ok(v) => {
                    numbers += 1;
                    row.push(v);
                }
                Err(_) => wrong = wrong.or(Some((row.len() + 1, word))),
            }
        }
        if words == 0 {
            wrong = wrong.or(Some((row.len() + 1, "")));
        }
    }
    match wrong {
        Some(_) if numbers == 0 => Ok(Parsed::Words),
        // Two columns where one was meant.
        _ if text.contains(',') && text.contains(';') => Err("both , and ; found: a decimal comma? write 1.5".into()),
        None => Ok(Parsed::Row),
        Some((column, word)) => {
            let shown: String = word.chars().take(16).collect();
            Err(format!("column {column} is {shown:?}, expected a number"))
        }
    }
}

impl Source for Rows {
    fn next(&mut self) -> Result<Option<Frame<'_>>, SourceError> {
        if !self.read()? {
            return Ok(None);
        }
        let n = self.n - 1;
        let at = if self.live {
            // Ticks are counted from the first stamp. So rows at the tick's own pace come in the middle between two, and none misses its tick by a moment.
            let (now, half) = (Timestamp::now(), self.rate.at(1).since(Timestamp::default()) / 2);
            now.max(*self.begin.get_or_insert(now + half))
        } else {
            self.rate.at(n)
        };
        Ok(Some(Frame { at, seq: Seq(n as u32), payload: Payload::Row(&self.row) }))
    }

    fn describe(&self) -> String {
        let columns = self.columns.map(|(columns, _)| format!("{columns} ")).unwrap_or_default();
        let how = if self.live { ", live".into() } else { format!(" at {} a second", self.rate) };
        format!("{}: rows of {columns}numbers{how}", self.input.name)
    }

    fn is_live(&self) -> bool {
        self.live
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn story(text: &[u8], columns: Option<usize>) -> Vec<String> {
        let mut rows = Rows::from_reader("t.csv", std::io::Cursor::new(text.to_vec()), Rate::per_tick(100), columns);
        let mut story = Vec::new();
        loop {
            match rows.next() {
                Ok(Some(Frame { at, payload: Payload::Row(row), .. })) => story.push(format!("{} {row:?}", at.ms())),
                Ok(Some(_)) => panic!("a picture"),
                Ok(None) => return story,
                Err(e) => story.push(e.to_string()),
            }
        }
    }

    #[test]
    fn numbers_in_every_dress() {
        let text = b"\xef\xbb\xbfa, b\n# c\n1,2\r\n 3\t4 # five\n\n5 , 6\n7;8\nnan,-INF\n1e9 1e99";
        assert_eq!(
            story(text, None),
            ["0 [1.0, 2.0]", "100 [3.0, 4.0]", "200 [5.0, 6.0]", "300 [7.0, 8.0]", "400 [NaN, -inf]", "500 [1000000000.0, inf]"]
        );
    }

    #[test]
    fn wrong_rows_are_said_with_their_line() {
        assert_eq!(
            story(b"# x\n1 2\n3\n4 x\n5,,6\n7 \xff\nword\n8 9\n", None),
            [
                "0 [1.0, 2.0]",
                "t.csv line 3: 1 numbers, the first row has 2",
                "t.csv line 4: column 2 is \"x\", expected a number",
                "t.csv line 5: column 2 is \"\", expected a number",
                "t.csv line 6: column 2 is \"\u{fffd}\", expected a number",
                "t.csv line 7: holds no number",
                "600 [8.0, 9.0]"
            ]
        );
        assert_eq!(story(b"1 2\n", Some(3)), ["t.csv: line 1: 2 numbers, the bundle has 3"]);
        assert!(story(b"", None).is_empty());
    }

    #[test]
    fn quotes_are_taken_off_and_a_header_may_be_in_any_encoding() {
        assert_eq!(story(b"\"t \xb0C\";\"b\"\n\"1.0\",\"2.0\"\n", None), ["0 [1.0, 2.0]"]);
    }

    #[test]
    fn a_decimal_comma_is_no_separator() {
        let found = story(b"Zeit; Temperatur, innen\n1,032;1,073\n1;2\n", None);
        assert_eq!(found, ["t.csv line 2: both , and ; found: a decimal comma? write 1.5", "100 [1.0, 2.0]"]);
    }

    #[test]
    fn more_headers_than_any_program_has_are_said() {
        let text = "a word\n".repeat(HEADERS as usize + 1) + "1 2\n";
        assert_eq!(story(text.as_bytes(), None), ["t.csv line 9: holds no number", "100 [1.0, 2.0]"]);
    }

    #[test]
    fn lines_without_end_and_without_a_row_stall() {
        let mut rows = Rows::from_reader("t.csv", std::io::repeat(b'\n'), Rate::per_tick(100), None);
        for _ in 0..2 {
            assert!(matches!(rows.next(), Err(SourceError::Stalled { .. })));
        }
    }

    #[test]
    fn a_fifo_is_live_half_a_row_is_no_row_and_a_replay_of_it_ends() {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        let path = std::env::temp_dir().join(format!("lookout-rows-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        let open = |replay| Rows::open(path.to_str().unwrap(), Rate::per_tick(100), Some(2), replay).unwrap();
        let write = |text: &[u8]| {
            let mut writer = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
            std::io::Write::write_all(&mut writer, text).unwrap();
        };
        let mut rows = open(false);
        assert!(rows.is_live() && matches!(rows.next(), Err(SourceError::Stalled { .. })), "nobody writes yet");
        for later in [Duration::from_millis(50), Duration::ZERO] {
            let before = Timestamp::now() + later;
            write(b"a b\n1 2\n3");
            assert!(rows.next().unwrap().unwrap().at >= before, "stamped by the clock, the first half a tick later");
            assert!(rows.next().unwrap_err().to_string().contains("cut off when the writer went away"));
        }
        write(b"1 2 3\n");
        assert!(matches!(rows.next(), Err(SourceError::Broken { .. })), "of another width");
        // The name leads to another FIFO while somebody holds the old one, then nowhere.
        let _silent = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        assert!(matches!(rows.next(), Err(SourceError::Stalled { .. })));
        // A pipe without a name of its own ends with its writer.
        let (end, writer) = std::io::pipe().unwrap();
        std::io::Write::write_all(&mut { writer }, b"1 2\n").unwrap();
        let own = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&end));
        let mut nameless = Rows::open(&own, Rate::per_tick(100), Some(2), false).unwrap();
        assert!(!nameless.is_live() && nameless.next().unwrap().is_some() && nameless.next().unwrap().is_none());
        let mut replay = open(true);
        write(b"1 2\n");
        assert_eq!(rows.next().unwrap().unwrap().seq, Seq(5));
        assert!(!replay.is_live() && replay.next().unwrap().is_none(), "the other reader had it");
        std::fs::remove_file(&path).unwrap();
        let lost = rows.next().unwrap_err();
        assert!(matches!(lost, SourceError::Lost { fault: crate::source::Fault::Absent, .. }), "{lost}");
    }

    #[test]
    fn an_endless_line_is_passed_over_in_bounded_memory() {
        let mut text = vec![b'7'; 2 * MAX_LINE + 5];
        text.extend_from_slice(b"\n1 2\n");
        assert_eq!(story(&text, None), [format!("t.csv line 1: longer than {MAX_LINE} bytes"), "100 [1.0, 2.0]".into()]);
    }
}
