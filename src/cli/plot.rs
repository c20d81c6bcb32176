//! A recording as a picture: every class's probability over time, the events, and what was to be seen. One SVG file that any browser shows.
//!
//! ```text
//! clip.y4m: left 94 %
//! [thumbnails, evenly in time]
//! [  left  ][    right     ]            events
//! 1 |  __    ___
//!   | /  \__/   \______                 one line a class
//! 0 +------------------- time, s
//! ```
//! A long recording has more ticks than a screen has columns: each column then shows the highest probability within it, so that a
//! short event is never drawn away.

mod thumbs;

use super::segments::{Segment, Timeline};
use crate::bundle::Bundle;
use crate::decision::Thresholds;
use std::fmt::Write;
pub use thumbs::Thumbs;
#[cfg(feature = "train")]
pub use thumbs::{base64, png};

/// Pixels: the whole picture's width, the plot's left and right edge.
const WIDTH: f64 = 1000.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = WIDTH - 16.0;
/// Height of the probabilities.
const HIGH: f64 = 220.0;
/// Height of the events' band.
const BAND: f64 = 22.0;
/// Columns at most: about one for every other pixel.
const COLUMNS: usize = 460;
/// Colours that colour-blind eyes tell apart (Okabe and Ito, 2008); the background is grey.
const COLOURS: [&str; 7] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#b8a800"];
const GREY: &str = "#888888";
/// How lines are drawn, in pixels on and off, once all colours are taken: 21 classes are told apart.
const DASHES: [&str; 3] = ["none", "5 3", "2 3"];

/// The picture of one recording. `title` says which, and what the answer is; `used`: every class's thresholds by which it was decided.
pub fn svg(title: &str, bundle: &Bundle, used: &[Thresholds], timeline: &Timeline, thumbs: &Thumbs) -> String {
    let stamps = timeline.stamps();
    let segments = timeline.segments();
    let last = stamps.last().map_or(0, |t| t.ms()).max(segments.iter().map(|s| s.end_ms).max().unwrap_or(0));
    let end_ms = last.max(thumbs.end_ms()).max(1);
    let x = |ms: u64| LEFT + (RIGHT - LEFT) * ms as f64 / end_ms as f64;
    let mut top = 34.0;
    let mut body = String::new();
    thumbs.draw(&mut body, top, LEFT, RIGHT, end_ms);
    top += thumbs.height();
    events(&mut body, top, bundle, &segments, &x);
    let (y1, y0) = (top + BAND + 12.0, top + BAND + 12.0 + HIGH);
    axes(&mut body, y1, y0, end_ms, &x);
    let y = |p: f32| y0 - (y0 - y1) * f64::from(p.clamp(0.0, 1.0));
    thresholds(&mut body, bundle, used, &y);
    lines(&mut body, bundle, timeline, &x, &y);
    if stamps.is_empty() {
        let _ = write!(
            body,
            r#"<text x="{:.0}" y="{:.0}" text-anchor="middle">too short for an answer: the window has {} ticks</text>"#,
            (LEFT + RIGHT) / 2.0,
            (y0 + y1) / 2.0,
            bundle.contract.time.window
        );
    }
    let high = legend(&mut body, y0 + 62.0, bundle) + 12.0;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {high:.0}\" width=\"{WIDTH}\" height=\"{high:.0}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"12\" fill=\"#222\">\n<rect width=\"{WIDTH}\" height=\"{high:.0}\" fill=\"#fff\"/>\n\
         <text x=\"{LEFT}\" y=\"22\" font-size=\"15\" font-weight=\"600\">{}</text>\n{body}</svg>\n",
        escaped(title)
    )
}

/// Colour and dashes of a class, by its number.
fn look(class: usize, background: usize) -> (&'static str, &'static str) {
    if class == background {
        return (GREY, DASHES[0]);
    }
    let n = class - usize::from(class > background);
    (COLOURS[n % COLOURS.len()], DASHES[n / COLOURS.len() % DASHES.len()])
}

/// Text as it stands in XML.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn events(body: &mut String, top: f64, bundle: &Bundle, segments: &[Segment], x: &impl Fn(u64) -> f64) {
    let _ = write!(body, r##"<text x="{:.0}" y="{:.0}" text-anchor="end" fill="#666">events</text>"##, LEFT - 6.0, top + 15.0);
    let _ = write!(body, r##"<rect x="{LEFT}" y="{top}" width="{:.1}" height="{BAND}" fill="#f3f3f3"/>"##, RIGHT - LEFT);
    for s in segments {
        let (from, to) = (x(s.start_ms), x(s.end_ms));
        let (colour, _) = look(usize::from(s.class.0), bundle.background);
        let wide = (to - from).max(2.0);
        let _ = write!(
            body,
            "<rect x=\"{from:.1}\" y=\"{top}\" width=\"{wide:.1}\" height=\"{BAND}\" fill=\"{colour}\"><title>{} {} to {} s, {:.0} %</title></rect>",
            s.label,
            seconds(s.start_ms),
            seconds(s.end_ms),
            s.p * 100.0
        );
        // About seven pixels a letter; a label that does not fit is in the tooltip.
        if wide > 7.0 * s.label.len() as f64 + 6.0 {
            let middle = from + wide / 2.0;
            let _ = write!(
                body,
                r##"<text x="{middle:.1}" y="{:.0}" text-anchor="middle" fill="#fff" pointer-events="none">{}</text>"##,
                top + 15.5,
                s.label
            );
        }
    }
    body.push('\n');
}

fn axes(body: &mut String, y1: f64, y0: f64, end_ms: u64, x: &impl Fn(u64) -> f64) {
    for step in 0..=4 {
        let (p, y) = (f64::from(step) / 4.0, y0 - (y0 - y1) * f64::from(step) / 4.0);
        let _ = write!(body, r##"<line x1="{LEFT}" x2="{RIGHT}" y1="{y:.1}" y2="{y:.1}" stroke="#e4e4e4"/>"##);
        let _ = write!(body, r##"<text x="{:.0}" y="{:.1}" text-anchor="end" fill="#666">{p}</text>"##, LEFT - 6.0, y + 4.0);
    }
    let middle = (y0 + y1) / 2.0;
    let _ = write!(
        body,
        r##"<text x="14" y="{middle:.0}" text-anchor="middle" fill="#666" transform="rotate(-90 14 {middle:.0})">probability</text>"##
    );
    let step = spacing(end_ms);
    for ms in (0..=end_ms).step_by(step as usize) {
        let at = x(ms);
        let _ = write!(body, r##"<line x1="{at:.1}" x2="{at:.1}" y1="{y0:.1}" y2="{:.1}" stroke="#999"/>"##, y0 + 4.0);
        let _ = write!(
            body,
            r##"<text x="{at:.1}" y="{:.1}" text-anchor="middle" fill="#666">{}</text>"##,
            y0 + 17.0,
            clock(ms, end_ms)
        );
    }
    let unit = if end_ms >= 120_000 { "time, min:s" } else { "time, s" };
    let _ = writeln!(
        body,
        r##"<text x="{:.0}" y="{:.0}" text-anchor="middle" fill="#666">{unit}</text>"##,
        (LEFT + RIGHT) / 2.0,
        y0 + 34.0
    );
}

/// Ms between two marks of the time axis: at most a dozen marks.
fn spacing(end_ms: u64) -> u64 {
    const STEPS: [u64; 13] = [100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000, 300_000, 600_000, 1_800_000, 3_600_000];
    STEPS.into_iter().find(|s| end_ms / s <= 12).unwrap_or_else(|| end_ms.div_ceil(12))
}

/// A mark's text.
fn clock(ms: u64, end_ms: u64) -> String {
    if end_ms >= 120_000 { format!("{}:{:02}", ms / 60_000, ms / 1_000 % 60) } else { seconds(ms) }
}

/// `3` or `3.2`
fn seconds(ms: u64) -> String {
    if ms.is_multiple_of(1_000) { format!("{}", ms / 1_000) } else { format!("{:.1}", ms as f64 / 1e3) }
}

/// Where a class may start and end: a line for all of them, or one each in its colour where they differ. Those are drawn in pieces by turns, so that
/// one does not hide another at the same level.
fn thresholds(body: &mut String, bundle: &Bundle, used: &[Thresholds], y: &impl Fn(f32) -> f64) {
    // The background makes no events.
    let called: Vec<(usize, &Thresholds)> = used.iter().enumerate().filter(|(class, _)| *class != bundle.background).collect();
    for (name, level) in [("enter", (|t: &Thresholds| t.enter) as fn(&Thresholds) -> f32), ("leave", |t: &Thresholds| t.leave)] {
        let alike = called.windows(2).all(|two| level(two[0].1) == level(two[1].1));
        let drawn = if alike { &called[..called.len().min(1)] } else { &called[..] };
        let gap = 4 * (drawn.len().max(2) - 1);
        for (turn, (class, t)) in drawn.iter().enumerate() {
            let (level, at, offset) = (level(t), y(level(t)), 4 * turn);
            let (whose, colour) = if alike {
                (String::new(), "#999")
            } else {
                (format!("{}: ", bundle.labels[*class]), look(*class, bundle.background).0)
            };
            let _ = write!(
                body,
                "<line x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"{colour}\" stroke-dasharray=\"4 {gap}\" \
                 stroke-dashoffset=\"-{offset}\"><title>{whose}{name} {level}</title></line>\
                 <text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#999\" font-size=\"10\">{name}</text>",
                RIGHT - 2.0,
                at - 3.0
            );
        }
    }
    body.push('\n');
}

fn lines(body: &mut String, bundle: &Bundle, timeline: &Timeline, x: &impl Fn(u64) -> f64, y: &impl Fn(f32) -> f64) {
    let stamps = timeline.stamps();
    let each = stamps.len().div_ceil(COLUMNS).max(1);
    // The background first, under all others.
    let classes = std::iter::once(bundle.background).chain((0..bundle.labels.len()).filter(|c| *c != bundle.background));
    for class in classes {
        let mut points = String::new();
        for (n, column) in stamps.chunks(each).enumerate() {
            let from = n * each;
            let peak = (from..from + column.len()).map(|t| timeline.p(t)[class]).fold(0.0, f32::max);
            let _ = write!(points, "{:.1},{:.1} ", x(column[column.len() / 2].ms()), y(peak));
        }
        let (colour, dashes) = look(class, bundle.background);
        let _ = writeln!(
            body,
            r#"<polyline fill="none" stroke="{colour}" stroke-dasharray="{dashes}" stroke-width="1.8" stroke-linejoin="round" points="{}"/>"#,
            points.trim_end()
        );
    }
}

/// Names and lines of the classes in rows from `top` on; gives where they end.
fn legend(body: &mut String, top: f64, bundle: &Bundle) -> f64 {
    let (mut at, mut y) = (LEFT, top);
    for (class, label) in bundle.labels.iter().enumerate() {
        let (colour, dashes) = look(class, bundle.background);
        let wide = 30.0 + 7.5 * label.len() as f64;
        if at + wide > RIGHT {
            (at, y) = (LEFT, y + 18.0);
        }
        let _ = write!(
            body,
            r#"<line x1="{at:.0}" x2="{:.0}" y1="{middle:.0}" y2="{middle:.0}" stroke="{colour}" stroke-dasharray="{dashes}" stroke-width="4"/>"#,
            at + 13.0,
            middle = y - 4.0
        );
        let _ = write!(body, r#"<text x="{:.0}" y="{y:.0}">{label}</text>"#, at + 17.0);
        at += wide;
    }
    body.push('\n');
    y
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::Probe;
    use crate::report::ClassId;
    use crate::source::Timestamp;

    #[test]
    fn a_short_peak_is_drawn_however_long_the_recording() {
        let bundle = crate::baked::bundle().unwrap();
        let mut timeline = Timeline::new(7, 0);
        for tick in 0..100_000u64 {
            let p = if tick == 51_234 { 1.0 } else { 0.0 };
            timeline.decided(Timestamp::from_ms(100 * tick), &[1.0 - p, p, 0.0, 0.0, 0.0, 0.0, 0.0], ClassId(0));
        }
        let text = svg("a & <b>", &bundle, &[], &timeline, &Thumbs::new());
        assert!(text.contains("a &amp; &lt;b&gt;") && text.contains("time, min:s"));
        let left = text.lines().find(|l| l.contains("polyline") && l.contains(COLOURS[0])).unwrap();
        let highest =
            left.split("points=\"").nth(1).unwrap().split([' ', '"']).filter_map(|p| p.split(',').nth(1)?.parse::<f64>().ok());
        let (top, count) = highest.fold((f64::MAX, 0), |(top, n), y| (y.min(top), n + 1));
        assert!(count <= COLUMNS && top < 34.0 + BAND + 12.5, "{count} columns, top at {top}");
    }

    #[test]
    fn lines_are_where_it_was_decided() {
        let bundle = crate::baked::bundle().unwrap();
        let timeline = Timeline::new(7, 0);
        let mut used = vec![Thresholds { enter: 0.75, ..Thresholds::from(&bundle.contract.decision) }; 7];
        let said = |used: &[Thresholds]| {
            let text = svg("", &bundle, used, &timeline, &Thumbs::new());
            let between =
                |line: &str, from: &str, to: char| line.split(from).nth(1).unwrap().split(to).next().unwrap().to_string();
            let lines = text.split("<line ").filter(|line| line.contains("<title>"));
            lines.map(|line| (between(line, "stroke=\"", '"'), between(line, "<title>", '<'))).collect::<Vec<_>>()
        };
        let leave = ("#999".to_string(), format!("leave {}", bundle.contract.decision.leave));
        assert_eq!(said(&used), [("#999".to_string(), "enter 0.75".to_string()), leave.clone()]);
        // Of class 2 alone: then each has its own, and the background, which makes no events, none.
        used[2].enter = 0.9;
        let own = (1..7).map(|class| {
            let (colour, level) = (COLOURS[class - 1].to_string(), if class == 2 { 0.9 } else { 0.75 });
            (colour, format!("{}: enter {level}", bundle.labels[class]))
        });
        assert_eq!(said(&used), own.chain([leave]).collect::<Vec<_>>());
    }

    #[test]
    fn no_two_of_twenty_classes_look_alike() {
        for background in [0, 3, 19] {
            let looks: std::collections::BTreeSet<_> = (0..20).map(|class| look(class, background)).collect();
            assert_eq!(looks.len(), 20);
        }
    }

    #[test]
    fn marks_are_few_and_round() {
        for (end, expected) in [(900, 100), (12_000, 1_000), (21_900, 2_000), (600_000, 60_000), (86_400_000, 7_200_000)] {
            assert_eq!(spacing(end), expected, "{end}");
        }
    }
}
