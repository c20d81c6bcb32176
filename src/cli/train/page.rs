//! What a training came to, as one self-contained HTML page: figures beside baselines, which class is taken for which, in which recordings, whether stated
//! probabilities can be believed, and how the learning went.

use super::words;
use crate::cli::confusion::{Confusion, page};
use crate::cli::drawing::{Anchor, Colour, Drawing, EDGE, FAINT, INK, Stroke};
use crate::cli::plot::{base64, escaped};
use crate::train::course::{Course, Outcome};
use crate::train::fit::Epoch;
use crate::train::judge::{Clip, Figures};
use crate::train::set::Set;
use std::fmt::Write;

/// Recordings that are listed at most: the page stays one that a browser opens at once.
const LISTED: usize = 300;
/// What was judged.
const BLUE: Colour = [0x00, 0x72, 0xb2];

/// The page. `head`: how the device computes the head, in words.
pub fn html(set: &Set, course: &Course, o: &Outcome, summary: &str, head: &str) -> String {
    let what = if set.stretches { "ticks" } else { "recordings" };
    let mut answers = Confusion::new(set.labels.clone(), what);
    for (row, counts) in answers.counts.iter_mut().zip(&o.found.device.counts) {
        row[..counts.len()].copy_from_slice(counts);
    }
    let title = format!("{}: {}", course.terms.name, set.labels.join(", "));
    let sentence = if set.stretches {
        format!("{} of {} ticks right", words::share(&o.found.device, true), answers.all())
    } else {
        answers.sentence()
    };
    let head = escaped(head);
    let mut body = format!("<h1>{}</h1>\n<p class=\"big\">{sentence}</p>\n", escaped(&title));
    let _ = writeln!(
        body,
        "<p>Judged as the device computes (head: {head}), by nets that have not learnt from the {}.</p>",
        if set.has_no_groups() {
            "recording itself; no groups are known, so other cuts of the same scene may have been learnt from"
        } else {
            "recording's group"
        }
    );
    if set.stretches {
        classes(&mut body, &answers);
    } else {
        answers.classes(&mut body);
    }
    body.push_str("<h2>What is taken for what</h2>\n");
    picture(&mut body, "confusion", &answers.matrix());
    if !set.stretches {
        recordings(&mut body, set, o);
    }
    body.push_str("<h2>Can stated probabilities be believed?</h2>\n");
    let error = o.found.device.calibration_error();
    let _ = writeln!(
        body,
        "<p>Mean distance {error:.3} between what was said and what was right, at temperature {}.</p>",
        o.terms.temperature
    );
    picture(&mut body, "reliability", &reliability(&o.found.device));
    body.push_str(
        "<p>Each circle is a tenth of stated probability, the larger the more answers; on the dashed line they are true.</p>\n",
    );
    body.push_str("<h2>How it learnt</h2>\n");
    for (n, history) in o.histories.iter().enumerate() {
        let name =
            if n + 1 == o.histories.len() && n > 0 { "all recordings, for the bundle".into() } else { format!("part {}", n + 1) };
        let _ = writeln!(body, "<h3>{name}</h3>");
        picture(&mut body, &format!("loss-{}", n + 1), &curve(history));
    }
    let _ = write!(body, "<h2>All figures</h2>\n<pre>{}</pre>\n", escaped(summary));
    page(&title, &body)
}

/// Figures of every class over ticks, without intervals: ticks of one recording are no answers apart from each other.
fn classes(body: &mut String, answers: &Confusion) {
    body.push_str("<table><tr><th>class</th><th>ticks</th><th>found (recall)</th><th>right when said (precision)</th></tr>\n");
    for (c, label) in answers.labels.iter().enumerate() {
        let (right, all) = (answers.counts[c][c], answers.counts[c].iter().sum::<u32>());
        let said: u32 = answers.counts.iter().map(|row| row[c]).sum();
        let share = |of: u32| if of == 0 { "none".into() } else { format!("{:.1} %", 100.0 * right as f32 / of as f32) };
        let _ = writeln!(body, "<tr><td>{label}</td><td>{all}</td><td>{}</td><td>{}</td></tr>", share(all), share(said));
    }
    body.push_str("</table>\n");
}

/// What was said of each clip, for whoever looks why: the wrong ones, which may be labelled wrong, and those that were nearly wrong.
fn recordings(body: &mut String, set: &Set, o: &Outcome) {
    let truth = |c: &Clip| set.sequences[c.recording].whole;
    let right = |c: &Clip| truth(c) == Some(c.said);
    let mut clips = o.found.device.clips.clone();
    let surest = |c: &Clip| if right(c) { c.p } else { -c.p };
    clips.sort_by(|a, b| right(a).cmp(&right(b)).then(surest(a).total_cmp(&surest(b))));
    let wrong = clips.iter().filter(|c| !right(c)).count();
    let cut = if clips.len() > LISTED { format!("; {LISTED} of {} are listed", clips.len()) } else { String::new() };
    body.push_str("<h2>Which recordings?</h2>\n");
    let order = "the surest on top; then the right ones, the least sure on top";
    let _ = writeln!(body, "<p>First the {wrong} wrong ones, {order}{cut}.</p>");
    body.push_str("<table><tr><th>file</th><th>is</th><th>said</th><th>p</th><th>part</th></tr>\n");
    for c in clips.iter().take(LISTED) {
        let (file, is) = (escaped(&set.sequences[c.recording].source), truth(c).map_or("", |class| &set.labels[class]));
        let (said, part) = (&set.labels[c.said], o.parts[c.recording]);
        let _ = writeln!(body, "<tr><td>{file}</td><td>{is}</td><td>{said}</td><td>{:.3}</td><td>{part}</td></tr>", c.p);
    }
    body.push_str("</table>\n");
}

/// A drawing in the page, and as a PNG to take away.
fn picture(body: &mut String, name: &str, drawing: &Drawing) {
    body.push_str(&drawing.svg());
    let png = base64(&drawing.png());
    let _ = writeln!(body, "<p class=\"save\"><a download=\"{name}.png\" href=\"data:image/png;base64,{png}\">as PNG</a></p>");
}

/// Stated against true probability, a dot each tenth; its size says how often.
fn reliability(f: &Figures) -> Drawing {
    const SIDE: f32 = 300.0;
    let (left, top) = (56.0, 12.0);
    let mut drawing = Drawing::new(400, 366, 12.0);
    frame(&mut drawing, (left, top, SIDE, SIDE), ("stated probability", "share that was right"), [tenths; 2], (1.0, 1.0));
    drawing.line((left, top + SIDE), (left + SIDE, top), [0x99; 3], Stroke::Dashed);
    let all: u32 = f.bins.iter().map(|b| b.0).sum();
    for (n, p, right) in f.bins.iter().filter(|b| b.0 > 0) {
        let (x, y) = (p / *n as f32, *right as f32 / *n as f32);
        let radius = 3.0 + 14.0 * (*n as f32 / all.max(1) as f32).sqrt();
        let tip = format!("{n} answers at {x:.2}: {y:.2} right");
        drawing.dot((left + SIDE * x, top + SIDE * (1.0 - y)), radius, BLUE, tip);
    }
    drawing
}

/// Loss over epochs, learnt and judged.
fn curve(history: &[Epoch]) -> Drawing {
    const WIDE: f32 = 560.0;
    const HIGH: f32 = 170.0;
    let (left, top) = (56.0, 12.0);
    let most = history.iter().flat_map(|e| [e.loss, e.judged]).filter(|v| v.is_finite()).fold(0.1f32, f32::max);
    // A half's multiple above: five marks of one digit each.
    let most = (most * 2.0).ceil() / 2.0;
    let epochs = history.len().next_multiple_of(5) as f32;
    let mut drawing = Drawing::new(760, 232, 12.0);
    frame(&mut drawing, (left, top, WIDE, HIGH), ("epoch", "cross-entropy"), [whole, tenths], (epochs, most));
    let at = |e: &Epoch, v: f32| (left + WIDE * e.n as f32 / epochs, top + HIGH * (1.0 - v / most));
    for (name, colour, value, y) in
        [("learnt", [0x99; 3], (|e: &Epoch| e.loss) as fn(&Epoch) -> f32, 30.0), ("judged", BLUE, |e: &Epoch| e.judged, 50.0)]
    {
        let points: Vec<_> = history.iter().filter(|e| value(e).is_finite()).map(|e| at(e, value(e))).collect();
        if points.is_empty() {
            continue;
        }
        points.windows(2).for_each(|pair| drawing.line(pair[0], pair[1], colour, Stroke::Thick));
        let x = left + WIDE + 20.0;
        drawing.line((x, y), (x + 22.0, y), colour, Stroke::Thick);
        drawing.text((x + 28.0, y + 4.0), name, Anchor::Start, 0.0, INK);
    }
    if let Some(best) = history.iter().rev().find(|e| e.best && e.judged.is_finite()) {
        drawing.dot(at(best, best.judged), 4.0, BLUE, format!("epoch {}", best.n));
        drawing.text((left + WIDE + 20.0, 74.0), &format!("taken: epoch {}", best.n), Anchor::Start, 0.0, INK);
    }
    drawing
}

/// A mark's text.
type Mark = fn(f32) -> String;

fn whole(v: f32) -> String {
    format!("{v:.0}")
}

fn tenths(v: f32) -> String {
    format!("{v:.1}")
}

/// Axes with five marks each, from 0 to `most`.
fn frame(
    drawing: &mut Drawing,
    (left, top, wide, high): (f32, f32, f32, f32),
    (x, y): (&str, &str),
    [across, up]: [Mark; 2],
    most: (f32, f32),
) {
    drawing.boxed((left, top), (wide, high), None, EDGE);
    for n in 0..=5 {
        let part = n as f32 / 5.0;
        let (px, py) = (left + wide * part, top + high * (1.0 - part));
        drawing.text((px, top + high + 16.0), &across(part * most.0), Anchor::Middle, 0.0, INK);
        drawing.text((left - 6.0, py + 4.0), &up(part * most.1), Anchor::End, 0.0, INK);
    }
    drawing.text((left + wide / 2.0, top + high + 36.0), x, Anchor::Middle, 0.0, FAINT);
    drawing.text((14.0, top + high / 2.0), y, Anchor::Middle, -90.0, FAINT);
}
