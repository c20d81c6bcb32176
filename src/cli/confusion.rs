//! Answers against the truth: shares with their certainty, a table of classes, and which class is taken for which, drawn.
//!
//! Shares come with Wilson's 95 % interval, since a share of 20 recordings says little.

use super::plot::escaped;
use std::fmt::Write;

/// Pixels of a cell of the matrix.
const CELL: usize = 46;

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
    pub fn matrix(&self, body: &mut String) {
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
            let (x, name) = (left + column * CELL + CELL / 2 + 4, self.labels.get(column).map_or("no answer", String::as_str));
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

/// A self-contained page.
pub fn page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\n<style>{STYLE}</style></head>\n<body>\n{body}</body></html>\n",
        title = escaped(title)
    )
}

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;color:#222;max-width:1040px;margin:2em auto;padding:0 1em}\
.big{font-size:1.3em}table{border-collapse:collapse}td,th{padding:.2em .9em .2em 0;text-align:left;border-bottom:1px solid #e4e4e4}\
h2{margin-top:1.6em}h3{margin:1.4em 0 0;font-size:1em}p{margin:.3em 0}svg{max-width:100%;height:auto}";

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
}
