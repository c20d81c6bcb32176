//! Answers against the truth: shares with their certainty, a table of classes, and which class is taken for which, drawn.
//!
//! Shares come with Wilson's 95 % interval, since a share of 20 recordings says little.

use super::drawing::{Anchor, Drawing, FAINT, INK};
use super::plot::escaped;
use std::fmt::Write;

/// Pixels of a cell of the matrix.
const CELL: f32 = 46.0;
/// Pixels of a letter of 13 along its line: a little more than in a PNG, and enough for the letters of a page.
const LETTER: f32 = 8.0;
/// Degrees by which the names of the columns rise: easier to read than upright ones, and none lies over another.
const TURN: f32 = 50.0;
const NO_ANSWER: &str = "no answer";

/// Counted answers.
#[derive(Clone, Debug)]
pub struct Confusion {
    /// Class names.
    pub labels: Vec<String>,
    /// `[truth][answer]`; the last column is "no answer".
    pub counts: Vec<Vec<u32>>,
    /// What is counted: recordings, ticks.
    pub what: &'static str,
}

impl Confusion {
    /// Nothing counted yet.
    pub fn new(labels: Vec<String>, what: &'static str) -> Self {
        let n = labels.len();
        Self { labels, counts: vec![vec![0; n + 1]; n], what }
    }

    /// Answers.
    pub fn all(&self) -> u32 {
        self.counts.iter().flatten().sum()
    }

    /// Right ones.
    pub fn right(&self) -> u32 {
        (0..self.labels.len()).map(|c| self.counts[c][c]).sum()
    }

    /// `95.5 % of 200 recordings right (92 to 98)`
    pub fn sentence(&self) -> String {
        let (low, high) = wilson(self.right(), self.all());
        let share = percent(self.right(), self.all());
        format!("{share:.1} % of {} {} right ({low:.0} to {high:.0} at 95 % confidence)", self.all(), self.what)
    }

    /// Figures of every class as a table.
    pub fn classes(&self, body: &mut String) {
        let _ = writeln!(
            body,
            "<table><tr><th>class</th><th>{what}</th><th>found (recall)</th><th>95 % interval</th><th>right when said (precision)</th></tr>",
            what = self.what
        );
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

    /// Which class is taken for which, as a drawing.
    pub fn matrix(&self) -> Drawing {
        let n = self.labels.len();
        let longest = self.labels.iter().map(|l| l.len()).max().unwrap_or(0) as f32;
        let no_answer = self.counts.iter().any(|row| row[n] > 0);
        let columns = n + usize::from(no_answer);
        let above = longest.max(if no_answer { NO_ANSWER.len() as f32 } else { 0.0 });
        let (left, top) = (34.0 + LETTER * longest, 34.0 + 7.0 * above);
        // The last column's name begins over its middle and goes on to the right of it.
        let right = 10.0 + LETTER * TURN.to_radians().cos() * above;
        let (wide, high) = (left + columns as f32 * CELL + right, top + n as f32 * CELL + 10.0);
        let mut drawing = Drawing::new(wide as usize, high as usize, 13.0);
        drawing.text((left, 14.0), "answer", Anchor::Start, 0.0, FAINT);
        drawing.text((2.0, top - 6.0), "is", Anchor::Start, 0.0, FAINT);
        for column in 0..columns {
            let name = self.labels.get(column).map_or(NO_ANSWER, String::as_str);
            let at = (left + (column as f32 + 0.5) * CELL + 4.0, top - 6.0);
            drawing.text(at, name, Anchor::Start, -TURN, INK);
        }
        for (row, counts) in self.counts.iter().enumerate() {
            let y = top + row as f32 * CELL;
            let all: u32 = counts.iter().sum();
            drawing.text((left - 8.0, y + CELL / 2.0 + 5.0), &self.labels[row], Anchor::End, 0.0, INK);
            for (column, count) in counts.iter().take(columns).enumerate() {
                let share = *count as f32 / all.max(1) as f32;
                // Right ones blue, wrong ones orange; the more of the row, the darker.
                let full = if column == row { [0.0, 114.0, 178.0] } else { [213.0, 94.0, 0.0] };
                let fill = full.map(|c: f32| (255.0 - (255.0 - c) * share.sqrt()) as u8);
                let ink = match (share > 0.35, *count) {
                    (true, _) => [0xff; 3],
                    (_, 0) => [0xbb; 3],
                    _ => INK,
                };
                let x = left + column as f32 * CELL;
                drawing.boxed((x, y), (CELL - 2.0, CELL - 2.0), Some(fill), [0xdd; 3]);
                let at = (x + CELL / 2.0 - 1.0, y + CELL / 2.0 + 5.0);
                drawing.text(at, &count.to_string(), Anchor::Middle, 0.0, ink);
            }
        }
        drawing
    }
}

/// A self-contained page.
pub fn page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\n<style>{STYLE}</style></head>\n<body>\n{body}</body></html>\n",
        title = escaped(title)
    )
}

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;color:#222;max-width:1040px;margin:2em auto;padding:0 1em}\
.big{font-size:1.3em}table{border-collapse:collapse}td,th{padding:.2em .9em .2em 0;text-align:left;border-bottom:1px solid #e4e4e4}\
h2{margin-top:1.6em}h3{margin:1.4em 0 0;font-size:1em}p{margin:.3em 0}svg{max-width:100%;height:auto}.save{font-size:.85em}";

/// A share in percent.
pub fn percent(part: u32, all: u32) -> f64 {
    100.0 * f64::from(part) / f64::from(all.max(1))
}

/// Wilson's 95 % interval of a share, in percent (E. B. Wilson 1927).
pub fn wilson(right: u32, all: u32) -> (f64, f64) {
    if all == 0 {
        return (0.0, 100.0);
    }
    const Z: f64 = 1.959_964;
    let (n, p) = (f64::from(all), f64::from(right) / f64::from(all));
    let centre = p + Z * Z / (2.0 * n);
    let spread = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    let scale = 100.0 / (1.0 + Z * Z / n);
    // Of none and of all by rounding a little beyond.
    (((centre - spread) * scale).max(0.0), ((centre + spread) * scale).min(100.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_name_is_whole_however_long() {
        for last in ["ok".into(), "m".repeat(31)] {
            let drawing = Confusion::new(vec!["idle".into(), last.clone()], "recordings").matrix();
            let (pixels, wide) = drawing.pixels();
            let mut edge = pixels.chunks_exact(3 * wide).flat_map(|row| &row[3 * (wide - 4)..]);
            assert!(edge.all(|level| *level == 255), "{last} is cut off");
        }
    }

    #[test]
    fn wilson_is_that_of_the_books() {
        // scipy.stats.binomtest(k, n).proportion_ci(method="wilson")
        for ((k, n), (low, high)) in [((0, 10), (0.0, 27.753)), ((8, 10), (49.016, 94.332)), ((191, 200), (91.670, 97.615))] {
            let (a, b) = wilson(k, n);
            assert!((a - low).abs() < 0.01 && (b - high).abs() < 0.01, "{k} of {n}: {a} to {b}");
        }
    }
}
