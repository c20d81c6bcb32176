//! Tables of text that people make: CSV with the names of the columns in the first line.
//!
//! Twenty lines of our own: a crate for it would change the features of serde that everything else here is built with.

use crate::config::read_whole;
use std::path::Path;

/// A table in memory.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<String>,
    /// Line in the file, fields.
    rows: Vec<(usize, Vec<String>)>,
}

impl Table {
    /// Reads a file.
    ///
    /// # Errors
    /// A sentence: the file and why not.
    pub(crate) fn read(file: &Path) -> Result<Self, String> {
        text(file).and_then(|text| Self::parse(&text)).map_err(|why| format!("{}: {why}", file.display()))
    }

    /// Reads a text. Empty lines are passed over; fields that a row lacks are empty, and empty ones that it has too many do not count.
    ///
    /// # Errors
    /// A table without a first line, or with a row that has more fields than that: which of them is which cannot be told.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        // Excel's UTF-8 begins with a mark that is no part of the first name.
        let mut lines = text
            .trim_start_matches('\u{feff}')
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim().is_empty())
            .map(|(n, line)| (n + 1, fields(line)));
        let (_, columns) = lines.next().ok_or("an empty table, a first line with the names of the columns expected")?;
        let rows: Vec<_> = lines.collect();
        for (line, row) in &rows {
            let found = row.iter().rposition(|field| !field.is_empty()).map_or(0, |last| last + 1);
            if found > columns.len() {
                let expected = columns.len();
                return Err(format!(
                    "line {line}: {found} fields found, {expected} expected; a number has a point, not a comma, and text with a comma stands in quotes"
                ));
            }
        }
        Ok(Self { columns: columns.iter().map(|c| c.to_lowercase()).collect(), rows })
    }

    /// Names of the columns, in lower case.
    pub(crate) fn columns(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(String::as_str)
    }

    /// Where a column is, by any of its names.
    pub(crate) fn column(&self, names: &[&str]) -> Option<usize> {
        self.columns.iter().position(|c| names.contains(&c.as_str()))
    }

    /// As [`Table::column`], for one that must be there.
    ///
    /// # Errors
    /// The columns found and the name expected.
    pub(crate) fn needed(&self, names: &[&str]) -> Result<usize, String> {
        self.column(names).ok_or_else(|| format!("columns {} found, one must be called {}", self.columns.join(", "), names[0]))
    }

    /// Every row with its line in the file.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (usize, Row<'_>)> {
        self.rows.iter().map(|(line, fields)| (*line, Row(fields)))
    }
}

/// Longest text that is read: a million rows of 64 letters.
const MAX_BYTES: u64 = 64 << 20;

/// The text of a table or list.
///
/// # Errors
/// A sentence without the file's name: not there, too long, not UTF-8.
pub(crate) fn text(file: &Path) -> Result<String, String> {
    String::from_utf8(read_whole(file, MAX_BYTES)?).map_err(|e| format!("not UTF-8 text: {e}"))
}

/// The fields of a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row<'a>(&'a [String]);

impl<'a> Row<'a> {
    /// The field of a column; empty where the row ends before it.
    pub(crate) fn get(self, column: usize) -> &'a str {
        self.0.get(column).map_or("", String::as_str)
    }
}

/// The fields of a line of CSV, without the quotes around them (RFC 4180; no line ends within a field).
fn fields(line: &str) -> Vec<String> {
    let (mut fields, mut field, mut quoted) = (vec![], String::new(), false);
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                field.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(std::mem::take(&mut field).trim().to_string()),
            _ => field.push(letter),
        }
    }
    fields.push(field.trim().to_string());
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_missing_fields_are_read_as_spreadsheets_write_them() {
        let table = Table::parse("File,Label\n\n\"a, \"\"b\"\".avi\" , left\nc.avi\n").expect("a table");
        let (file, label) = (table.needed(&["file"]).expect("file"), table.needed(&["label", "class"]).expect("label"));
        let rows: Vec<_> =
            table.rows().map(|(line, row)| (line, row.get(file).to_string(), row.get(label).to_string())).collect();
        assert_eq!(rows, [(3, "a, \"b\".avi".into(), "left".into()), (4, "c.avi".into(), String::new())]);
        assert!(table.needed(&["group"]).expect_err("none").contains("file, label found"));
    }

    #[test]
    fn a_row_of_more_fields_than_columns_is_refused_unless_they_are_empty() {
        let why = Table::parse("start_s,end_s,label\n0,1,left\n1,9,4,6,right\n").expect_err("decimal commas");
        assert!(why.starts_with("line 3: 5 fields found, 3 expected; "), "{why}");
        let table = Table::parse("file,label\na.avi,left,\nb.avi,right, ,\n\"c,d.avi\",left\ne.avi\n").expect("a table");
        assert_eq!(table.rows().map(|(line, _)| line).collect::<Vec<_>>(), [2, 3, 4, 5]);
    }
}
