//! Recordings whose classes are known against the answers they got: `classify --report`, one self-contained HTML page.
//!
//! It shows what decides whether a bundle can be trusted: how many are right and how sure that is (Wilson's 95 % interval, since a share of 20
//! recordings says little), which class is taken for which, and the mistakes themselves, the surest first, drawn over time.

use super::plot::escaped;
use crate::bundle::Bundle;
use crate::report::{ClassId, Label};
use std::fmt::Write;
use std::path::Path;

/// Mistakes that are drawn.
const DRAWN: usize = 12;
/// Pixels of a cell of the confusion matrix.
const CELL: usize = 46;

/// Which class each recording really is.
#[derive(Debug)]
pub enum Truth {
    /// The name of the folder it lies in.
    Folders,
    /// By name, from a table.
    Table(Vec<(String, String)>),
}

impl Truth {
    /// A table of `file,label` (more columns are passed over), its first line the names of the columns.
    ///
    /// # Errors
    /// A sentence: the file, the line, what is missing.
    pub fn read(file: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?;
        Self::parse(&text).map_err(|why| format!("{}: {why}", file.display()))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut lines =
            text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).map(|(n, line)| (n + 1, fields(line)));
        let (_, head) = lines.next().ok_or("an empty table, a line with the columns file and label expected")?;
        let column = |wanted: &[&str]| {
            let found = head.iter().position(|h| wanted.contains(&h.to_lowercase().as_str()));
            found.ok_or_else(|| format!("columns {} found, one must be called {}", head.join(", "), wanted[0]))
        };
        let (clip, label) = (column(&["file", "clip", "path"])?, column(&["label", "class"])?);
        let rows = lines.map(|(line, row)| match (row.get(clip), row.get(label)) {
            (Some(clip), Some(label)) => Ok((clip.clone(), label.clone())),
            _ => Err(format!("line {line}: {} fields found, file and label expected", row.len())),
        });
        Ok(Self::Table(rows.collect::<Result<_, _>>()?))
    }

    /// The class of a recording.
    ///
    /// # Errors
    /// A sentence: no class is known, or none that the bundle has.
    pub fn of(&self, clip: &str, labels: &[Label]) -> Result<usize, String> {
        let path = Path::new(clip.split_once(':').map_or(clip, |(_, rest)| rest));
        let found = match self {
            Self::Folders => path.parent().and_then(Path::file_name).map(|n| n.to_string_lossy().into_owned()),
            // The longest name in the table that the path ends with: `a/1.avi` and `b/1.avi` are different recordings.
            Self::Table(table) => {
                let ending = table.iter().filter(|(name, _)| path.ends_with(name));
                ending.max_by_key(|(name, _)| name.len()).map(|(_, label)| label.clone())
            }
        };
        let list = || labels.iter().map(Label::as_str).collect::<Vec<_>>().join(", ");
        let found = found.ok_or_else(|| format!("{clip}: no label; name its folder after its class, or give --labels"))?;
        labels
            .iter()
            .position(|l| l.as_str() == found)
            .ok_or_else(|| format!("{clip}: label {found:?} found, the bundle has {}", list()))
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

/// A mistake that is shown.
#[derive(Debug)]
struct Mistake {
    clip: String,
    truth: usize,
    answer: Option<(ClassId, f32)>,
    drawing: String,
}

/// All answers so far.
#[derive(Debug)]
pub struct Score {
    labels: Vec<Label>,
    title: String,
    /// `[truth][answer]`; the last column is "no answer".
    counts: Vec<Vec<u32>>,
    mistakes: Vec<Mistake>,
    unread: Vec<String>,
}

impl Score {
    /// For a bundle's classes.
    pub fn new(bundle: &Bundle) -> Self {
        let n = bundle.labels.len();
        let title = format!("{} {} ({})", bundle.contract.name, bundle.contract.version, &bundle.hash[..8]);
        Self { labels: bundle.labels.clone(), title, counts: vec![vec![0; n + 1]; n], mistakes: vec![], unread: vec![] }
    }

    /// One recording. `draw` is asked for its drawing where it may be shown.
    pub fn add(&mut self, clip: &str, truth: usize, answer: Option<(ClassId, f32)>, draw: impl FnOnce() -> String) {
        let column = answer.map_or(self.labels.len(), |(c, _)| usize::from(c.0));
        self.counts[truth][column] += 1;
        if column == truth {
            return;
        }
        let sure = |a: Option<(ClassId, f32)>| a.map_or(0.0, |(_, p)| p);
        let at = self.mistakes.partition_point(|m| sure(m.answer) >= sure(answer));
        if at < DRAWN {
            self.mistakes.insert(at, Mistake { clip: clip.into(), truth, answer, drawing: draw() });
            self.mistakes.truncate(DRAWN);
        }
    }

    /// A recording that could not be read, and why.
    pub fn unread(&mut self, why: &str) {
        self.unread.push(why.into());
    }

    fn all(&self) -> u32 {
        self.counts.iter().flatten().sum()
    }

    fn right(&self) -> u32 {
        (0..self.labels.len()).map(|c| self.counts[c][c]).sum()
    }

    /// `95.5 % of 200 recordings right (92 to 98)`
    pub fn sentence(&self) -> String {
        let (low, high) = wilson(self.right(), self.all());
        let share = percent(self.right(), self.all());
        format!("{share:.1} % of {} recordings right ({low:.0} to {high:.0} at 95 % confidence)", self.all())
    }

    /// The page.
    pub fn html(&self) -> String {
        let mut body = format!("<h1>{}</h1>\n<p class=\"big\">{}</p>\n", escaped(&self.title), self.sentence());
        let most = self.counts.iter().map(|row| row.iter().sum::<u32>()).max().unwrap_or(0);
        let _ = writeln!(
            body,
            "<p>Always answering the most frequent class would be right in {:.1} %.</p>",
            percent(most, self.all())
        );
        self.classes(&mut body);
        body.push_str("<h2>What is taken for what</h2>\n");
        self.matrix(&mut body);
        if !self.unread.is_empty() {
            let _ = write!(body, "<h2>Not read ({})</h2>\n<ul>", self.unread.len());
            body.extend(self.unread.iter().map(|why| format!("<li>{}</li>", escaped(why))));
            body.push_str("</ul>\n");
        }
        if !self.mistakes.is_empty() {
            let _ = writeln!(body, "<h2>Mistakes, the surest first</h2>");
        }
        for m in &self.mistakes {
            let said =
                m.answer.map_or("no answer".into(), |(c, p)| format!("{} {:.0} %", self.labels[usize::from(c.0)], p * 100.0));
            let _ = write!(
                body,
                "<h3>{}</h3>\n<p>is <b>{}</b>, said <b>{said}</b></p>\n{}",
                escaped(&m.clip),
                self.labels[m.truth],
                m.drawing
            );
        }
        format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{}</title>\n<style>{STYLE}</style></head>\n<body>\n{body}</body></html>\n",
            escaped(&self.title)
        )
    }

    fn classes(&self, body: &mut String) {
        body.push_str("<table><tr><th>class</th><th>recordings</th><th>found (recall)</th><th>95 % interval</th><th>right when said (precision)</th></tr>\n");
        for (c, label) in self.labels.iter().enumerate() {
            let (right, all) = (self.counts[c][c], self.counts[c].iter().sum::<u32>());
            let said: u32 = self.counts.iter().map(|row| row[c]).sum();
            let share = |part: u32, of: u32| if of == 0 { "none".into() } else { format!("{:.1} %", percent(part, of)) };
            let (low, high) = wilson(right, all);
            let interval = if all == 0 { String::new() } else { format!("{low:.0} to {high:.0} %") };
            let (found, precise) = (share(right, all), share(right, said));
            let _ =
                writeln!(body, "<tr><td>{label}</td><td>{all}</td><td>{found}</td><td>{interval}</td><td>{precise}</td></tr>");
        }
        body.push_str("</table>\n");
    }

    fn matrix(&self, body: &mut String) {
        let n = self.labels.len();
        let left = 14 + 8 * self.labels.iter().map(|l| l.len()).max().unwrap_or(0) + 20;
        let no_answer = self.counts.iter().any(|row| row[n] > 0);
        let columns = n + usize::from(no_answer);
        let (wide, top) = (left + columns * CELL + 90, 24 + 7 * self.labels.iter().map(|l| l.len()).max().unwrap_or(0));
        let high = top + n * CELL + 10;
        let _ = write!(
            body,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {wide} {high}\" width=\"{wide}\" height=\"{high}\" font-size=\"13\">"
        );
        let _ = write!(
            body,
            "<text x=\"{left}\" y=\"14\" fill=\"#666\">answer</text><text x=\"2\" y=\"{}\" fill=\"#666\">is</text>",
            top - 6
        );
        for column in 0..columns {
            let (x, name) = (left + column * CELL + CELL / 2 + 4, self.labels.get(column).map_or("no answer", Label::as_str));
            let _ = write!(body, "<text transform=\"translate({x} {}) rotate(-50)\">{name}</text>", top - 6);
        }
        for (row, counts) in self.counts.iter().enumerate() {
            let y = top + row * CELL;
            let all: u32 = counts.iter().sum();
            let _ = write!(
                body,
                "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
                left - 8,
                y + CELL / 2 + 5,
                self.labels[row]
            );
            for (column, count) in counts.iter().take(columns).enumerate() {
                let share = f64::from(*count) / f64::from(all.max(1));
                // Right ones blue, wrong ones orange; the more of the row, the darker.
                let (r, g, b) = if column == row { (0.0, 114.0, 178.0) } else { (213.0, 94.0, 0.0) };
                let mix = |c: f64| (255.0 - (255.0 - c) * share.sqrt()) as u8;
                let ink = if share > 0.35 {
                    "#fff"
                } else if *count == 0 {
                    "#bbb"
                } else {
                    "#222"
                };
                let x = left + column * CELL;
                let _ = write!(
                    body,
                    "<rect x=\"{x}\" y=\"{y}\" width=\"{}\" height=\"{}\" fill=\"rgb({},{},{})\" stroke=\"#ddd\"/><text x=\"{}\" y=\"{}\" text-anchor=\"middle\" fill=\"{ink}\">{count}</text>",
                    CELL - 2,
                    CELL - 2,
                    mix(r),
                    mix(g),
                    mix(b),
                    x + CELL / 2 - 1,
                    y + CELL / 2 + 5
                );
            }
        }
        body.push_str("</svg>\n");
    }
}

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;color:#222;max-width:1040px;margin:2em auto;padding:0 1em}\
.big{font-size:1.3em}table{border-collapse:collapse}td,th{padding:.2em .9em .2em 0;text-align:left;border-bottom:1px solid #e4e4e4}\
h2{margin-top:1.6em}h3{margin:1.4em 0 0;font-size:1em}p{margin:.3em 0}svg{max-width:100%;height:auto}";

fn percent(part: u32, all: u32) -> f64 {
    100.0 * f64::from(part) / f64::from(all.max(1))
}

/// Wilson's 95 % interval of a share, in percent (E. B. Wilson 1927).
fn wilson(right: u32, all: u32) -> (f64, f64) {
    if all == 0 {
        return (0.0, 100.0);
    }
    const Z: f64 = 1.959_964;
    let (n, p) = (f64::from(all), f64::from(right) / f64::from(all));
    let centre = p + Z * Z / (2.0 * n);
    let spread = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    let scale = 100.0 / (1.0 + Z * Z / n);
    ((centre - spread) * scale, (centre + spread) * scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wilson_is_that_of_the_books() {
        // scipy.stats.binomtest(k, n).proportion_ci(method="wilson")
        for ((k, n), (low, high)) in [((0, 10), (0.0, 27.753)), ((8, 10), (49.016, 94.332)), ((191, 200), (91.670, 97.615))] {
            let (a, b) = wilson(k, n);
            assert!((a - low).abs() < 0.01 && (b - high).abs() < 0.01, "{k} of {n}: {a} to {b}");
        }
    }

    #[test]
    fn the_longest_ending_decides_and_what_is_unknown_is_named() {
        let labels = ["idle", "left"].map(|l| Label::try_from(l).unwrap());
        let table = Truth::Table(vec![
            ("1.avi".into(), "idle".into()),
            ("b/1.avi".into(), "left".into()),
            ("2.avi".into(), "Left".into()),
        ]);
        assert_eq!(table.of("x/b/1.avi", &labels), Ok(1));
        assert_eq!(table.of("avi:x/a/1.avi", &labels), Ok(0));
        assert!(table.of("2.avi", &labels).unwrap_err().contains("label \"Left\" found, the bundle has idle, left"));
        assert!(table.of("3.avi", &labels).unwrap_err().contains("3.avi: no label"));
        assert_eq!(Truth::Folders.of("clips/left/7.y4m", &labels), Ok(1));
        assert!(Truth::Folders.of("7.y4m", &labels).is_err());
    }

    #[test]
    fn a_table_is_read_with_quotes_and_other_columns() {
        let text = "group, file ,label\n1,\"a, \"\"b\"\".avi\",left\n\n2,c.avi, idle\n";
        let Ok(Truth::Table(table)) = Truth::parse(text) else { unreachable!("it is a good table") };
        assert_eq!(table, [("a, \"b\".avi".to_string(), "left".to_string()), ("c.avi".into(), "idle".into())]);
        assert_eq!(Truth::parse("file,label\na.avi\n").unwrap_err(), "line 2: 1 fields found, file and label expected");
        assert_eq!(Truth::parse("name,label\n").unwrap_err(), "columns name, label found, one must be called file");
    }

    #[test]
    fn the_page_shows_the_surest_mistakes_and_all_counts() {
        let bundle = crate::baked::bundle().unwrap();
        let mut score = Score::new(&bundle);
        for n in 0..40u8 {
            score.add("good.avi", 1, Some((ClassId(1), 0.9)), || unreachable!("a right answer is not drawn"));
            let p = f32::from(n) / 40.0;
            score.add(&format!("bad <{n}>.avi"), 2, Some((ClassId(1), p)), || format!("<svg id=\"{n}\"/>"));
        }
        score.add("short.avi", 3, None, String::new);
        let page = score.html();
        assert!(page.contains("49.4 % of 81 recordings right"), "{}", score.sentence());
        assert!(page.contains("bad &lt;39&gt;.avi") && page.contains("<svg id=\"28\"/>") && !page.contains("<svg id=\"27\"/>"));
        assert!(page.contains(">40</text>") && page.contains("no answer"));
    }
}
