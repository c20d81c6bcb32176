//! What a training came to, as one self-contained HTML page: figures beside baselines, which class is taken for which, whether stated probabilities
//! can be believed, and how the learning went.

use crate::cli::confusion::{Confusion, page};
use crate::cli::plot::escaped;
use crate::train::course::{Course, Outcome};
use crate::train::fit::Epoch;
use crate::train::judge::Figures;
use crate::train::set::Set;
use std::fmt::Write;

/// The page.
pub fn html(set: &Set, course: &Course, o: &Outcome, summary: &str) -> String {
    let what = if set.stretches { "ticks" } else { "recordings" };
    let mut answers = Confusion::new(set.labels.clone(), what);
    for (row, counts) in answers.counts.iter_mut().zip(&o.found.device.counts) {
        row[..counts.len()].copy_from_slice(counts);
    }
    let title = format!("{}: {}", course.terms.name, set.labels.join(", "));
    let mut body = format!("<h1>{}</h1>\n<p class=\"big\">{}</p>\n", escaped(&title), answers.sentence());
    let _ = writeln!(body, "<p>Judged by nets that have not learnt from the recording's group, in int8 as on the device.</p>");
    answers.classes(&mut body);
    body.push_str("<h2>What is taken for what</h2>\n");
    answers.matrix(&mut body);
    body.push_str("<h2>Can stated probabilities be believed?</h2>\n");
    let error = o.found.device.calibration_error();
    let _ = writeln!(
        body,
        "<p>Mean distance {error:.3} between what was said and what was right, at temperature {}.</p>",
        o.terms.temperature
    );
    reliability(&mut body, &o.found.device);
    body.push_str("<h2>How it learnt</h2>\n");
    for (n, history) in o.histories.iter().enumerate() {
        let name =
            if n + 1 == o.histories.len() && n > 0 { "all recordings, for the bundle".into() } else { format!("part {}", n + 1) };
        let _ = writeln!(body, "<h3>{name}</h3>");
        curve(&mut body, history);
    }
    let _ = write!(body, "<h2>All figures</h2>\n<pre>{}</pre>\n", escaped(summary));
    page(&title, &body)
}

/// Stated against true probability, a bar each tenth; its width says how often.
fn reliability(body: &mut String, f: &Figures) {
    const SIDE: f32 = 300.0;
    let (left, top) = (56.0, 12.0);
    let _ = write!(
        body,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 400 366\" width=\"400\" height=\"366\" font-size=\"12\">"
    );
    frame(body, (left, top, SIDE, SIDE), ("stated probability", "share that was right"), |v| format!("{v:.1}"), (1.0, 1.0));
    let _ = write!(
        body,
        "<line x1=\"{left}\" y1=\"{}\" x2=\"{}\" y2=\"{top}\" stroke=\"#999\" stroke-dasharray=\"4 4\"/>",
        top + SIDE,
        left + SIDE
    );
    let all: u32 = f.bins.iter().map(|b| b.0).sum();
    for (n, p, right) in f.bins.iter().filter(|b| b.0 > 0) {
        let (x, y) = (p / *n as f32, *right as f32 / *n as f32);
        let r = 3.0 + 14.0 * (*n as f32 / all.max(1) as f32).sqrt();
        let (cx, cy) = (left + SIDE * x, top + SIDE * (1.0 - y));
        let _ = write!(
            body,
            "<circle cx=\"{cx:.1}\" cy=\"{cy:.1}\" r=\"{r:.1}\" fill=\"#0072b2\" fill-opacity=\".55\"><title>{n} answers at {x:.2}: {y:.2} right</title></circle>"
        );
    }
    body.push_str("</svg>\n<p>Each circle is a tenth of stated probability, the larger the more answers; on the dashed line they are true.</p>\n");
}

/// Loss over epochs, learnt and judged.
fn curve(body: &mut String, history: &[Epoch]) {
    const WIDE: f32 = 560.0;
    const HIGH: f32 = 170.0;
    let (left, top) = (56.0, 12.0);
    let most = history.iter().flat_map(|e| [e.loss, e.judged]).filter(|v| v.is_finite()).fold(0.1f32, f32::max);
    let epochs = history.len().next_multiple_of(5) as f32;
    let _ = write!(
        body,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 760 232\" width=\"760\" height=\"232\" font-size=\"12\">"
    );
    frame(
        body,
        (left, top, WIDE, HIGH),
        ("epoch", "cross-entropy"),
        |v| if v >= 5.0 || v == 0.0 { format!("{v:.0}") } else { format!("{v:.1}") },
        (epochs, most),
    );
    let at = |e: &Epoch, v: f32| (left + WIDE * e.n as f32 / epochs, top + HIGH * (1.0 - v / most));
    for (name, colour, value, y) in
        [("learnt", "#999", (|e: &Epoch| e.loss) as fn(&Epoch) -> f32, 30.0), ("judged", "#0072b2", |e: &Epoch| e.judged, 50.0)]
    {
        let points: Vec<String> = history
            .iter()
            .filter(|e| value(e).is_finite())
            .map(|e| at(e, value(e)))
            .map(|(x, y)| format!("{x:.1},{y:.1}"))
            .collect();
        if points.is_empty() {
            continue;
        }
        let _ = write!(body, "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>", points.join(" "));
        let x = left + WIDE + 20.0;
        let _ = write!(
            body,
            "<line x1=\"{x}\" y1=\"{y}\" x2=\"{}\" y2=\"{y}\" stroke=\"{colour}\" stroke-width=\"2\"/><text x=\"{}\" y=\"{}\">{name}</text>",
            x + 22.0,
            x + 28.0,
            y + 4.0
        );
    }
    if let Some(best) = history.iter().rev().find(|e| e.best && e.judged.is_finite()) {
        let (x, y) = at(best, best.judged);
        let _ = write!(
            body,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"#0072b2\"/><text x=\"{}\" y=\"74\">taken: epoch {}</text>",
            left + WIDE + 20.0,
            best.n
        );
    }
    body.push_str("</svg>\n");
}

/// Axes with five marks each, from 0 to `most`.
fn frame(
    body: &mut String,
    (left, top, wide, high): (f32, f32, f32, f32),
    (x, y): (&str, &str),
    mark: impl Fn(f32) -> String,
    most: (f32, f32),
) {
    let _ = write!(body, "<rect x=\"{left}\" y=\"{top}\" width=\"{wide}\" height=\"{high}\" fill=\"none\" stroke=\"#ccc\"/>");
    for n in 0..=5 {
        let part = n as f32 / 5.0;
        let (px, py) = (left + wide * part, top + high * (1.0 - part));
        let _ =
            write!(body, "<text x=\"{px:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>", top + high + 16.0, mark(part * most.0));
        let _ =
            write!(body, "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>", left - 6.0, py + 4.0, mark(part * most.1));
    }
    let _ = write!(
        body,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\" fill=\"#666\">{x}</text>",
        left + wide / 2.0,
        top + high + 36.0
    );
    let _ = write!(
        body,
        "<text transform=\"translate(14 {}) rotate(-90)\" text-anchor=\"middle\" fill=\"#666\">{y}</text>",
        top + high / 2.0
    );
}
