//! Rows of numbers, one a tick, straight into the ring: the recurrent network alone.
//!
//! Numbers are set apart by blanks, tabs, commas or semicolons. Empty lines and what follows a `#` do not count; nor does a first line
//! in which nothing is a number (a header). `nan` and `inf` are numbers that are not finite: they travel on, and the pipeline
//! answers `invalid`. A line that cannot be read, or is of another length, is said with its number and takes up its tick.

use super::input::Input;
use super::{Frame, Payload, Rate, Seq, Source, SourceError};
use std::io::Read;
use std::path::Path;

/// Longest line, in bytes: 65 536 numbers of 32 characters.
const MAX_LINE: usize = 2 << 20;

/// A file or stream of rows.
pub struct Rows {
    input: Input,
    rate: Rate,
    /// Numbers in a row, once known, and who said so.
    columns: Option<(usize, &'static str)>,
    line: Vec<u8>,
    /// The rest of a line that is too long is being passed over.
    long: bool,
    /// Lines read.
    lines: u64,
    row: Vec<f32>,
    /// The row that comes next.
    n: u64,
}

impl Rows {
    /// Opens a file, or standard input for `-`. `columns`: how many numbers a row must have, where that is known; the first row
    /// says it otherwise.
    ///
    /// # Errors
    /// [`SourceError::Refused`] for a missing file.
    pub fn open(path: &str, rate: Rate, columns: Option<usize>) -> Result<Self, SourceError> {
        Ok(Self::start(Input::open(path)?, rate, columns))
    }

    /// Reads rows from anything. `name` is for messages.
    pub fn from_reader(name: &str, from: impl Read + Send + 'static, rate: Rate, columns: Option<usize>) -> Self {
        Self::start(Input::new(name, None, Box::new(from)), rate, columns)
    }

    fn start(input: Input, rate: Rate, columns: Option<usize>) -> Self {
        let columns = columns.map(|c| (c, "the bundle has"));
        Self { input, rate, columns, line: Vec::new(), long: false, lines: 0, row: Vec::new(), n: 0 }
    }

    /// Reads one row into `row`; false at the end.
    fn read(&mut self) -> Result<bool, SourceError> {
        loop {
            self.input.line(&mut self.line, MAX_LINE)?;
            if self.line.is_empty() {
                return Ok(false);
            }
            self.lines += u64::from(!self.long);
            let ended = self.line.last() == Some(&b'\n');
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
                // Only ever before the first row.
                Ok(Parsed::Words) if self.n == 0 => {}
                Ok(Parsed::Words) => {
                    self.n += 1;
                    return Err(self.broken("holds no number".into()));
                }
                Ok(Parsed::Row) => {
                    self.n += 1;
                    let (expected, who) = *self.columns.get_or_insert((found, "the first row has"));
                    if found == expected {
                        return Ok(true);
                    }
                    let why = format!("{found} numbers, {who} {expected}");
                    // The very first row: this is not the right file at all.
                    return Err(if self.n == 1 {
                        self.input.refuse(format!("line {}: {why}", self.lines))
                    } else {
                        self.broken(why)
                    });
                }
                Err(why) => {
                    self.n += 1;
                    return Err(self.broken(why));
                }
            }
        }
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
    let text = std::str::from_utf8(line).map_err(|_| "not text".to_string())?;
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
            match word.parse() {
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
        None => Ok(Parsed::Row),
        Some(_) if numbers == 0 => Ok(Parsed::Words),
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
        Ok(Some(Frame { at: self.rate.at(n), seq: Seq(n as u32), payload: Payload::Row(&self.row) }))
    }

    fn describe(&self) -> String {
        match self.columns {
            Some((columns, _)) => format!("{}: rows of {columns} numbers at {} a second", self.input.name, self.rate),
            None => format!("{}: rows of numbers at {} a second", self.input.name, self.rate),
        }
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
                "t.csv line 6: not text",
                "t.csv line 7: holds no number",
                "600 [8.0, 9.0]"
            ]
        );
        assert_eq!(story(b"1 2\n", Some(3)), ["t.csv: line 1: 2 numbers, the bundle has 3"]);
        assert!(story(b"", None).is_empty());
    }

    #[test]
    fn an_endless_line_is_passed_over_in_bounded_memory() {
        let mut text = vec![b'7'; 2 * MAX_LINE + 5];
        text.extend_from_slice(b"\n1 2\n");
        assert_eq!(story(&text, None), [format!("t.csv line 1: longer than {MAX_LINE} bytes"), "100 [1.0, 2.0]".into()]);
    }
}
