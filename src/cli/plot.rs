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
use crate::report::Label;
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

/// The picture of one recording. `title` says which, and what the answer is.
pub fn svg(title: &str, bundle: &Bundle, timeline: &Timeline, thumbs: &Thumbs) -> String {
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
    thresholds(&mut body, bundle, &y);
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
    let high =
        legend(&mut body, y0 + 62.0, bundle.labels.iter().enumerate().map(|(n, l)| (l, colour(n, bundle.background)))) + 12.0;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {high:.0}\" width=\"{WIDTH}\" height=\"{high:.0}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"12\" fill=\"#222\">\n<rect width=\"{WIDTH}\" height=\"{high:.0}\" fill=\"#fff\"/>\n\
         <text x=\"{LEFT}\" y=\"22\" font-size=\"15\" font-weight=\"600\">{}</text>\n{body}</svg>\n",
        escaped(title)
    )
}

/// The colour of a class, by its number.
pub fn colour(class: usize, background: usize) -> &'static str {
    if class == background { GREY } else { COLOURS[(class - usize::from(class > background)) % COLOURS.len()] }
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
        let colour = colour(usize::from(s.class.0), bundle.background);
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

/// Where a class may start and end, by the bundle's own thresholds.
fn thresholds(body: &mut String, bundle: &Bundle, y: &impl Fn(f32) -> f64) {
    let d = &bundle.contract.decision;
    for (name, level) in [("enter", d.enter), ("leave", d.leave)] {
        let at = y(level);
        let _ = write!(
            body,
            "<line x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#999\" stroke-dasharray=\"4 4\"><title>{name} {level}</title></line>\
             <text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#999\" font-size=\"10\">{name}</text>",
            RIGHT - 2.0,
            at - 3.0
        );
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
        let _ = writeln!(
            body,
            r#"<polyline fill="none" stroke="{}" stroke-width="1.8" stroke-linejoin="round" points="{}"/>"#,
            colour(class, bundle.background),
            points.trim_end()
        );
    }
}

/// Names and colours in rows from `top` on; gives where they end.
fn legend<'a>(body: &mut String, top: f64, entries: impl Iterator<Item = (&'a Label, &'static str)>) -> f64 {
    let (mut at, mut y) = (LEFT, top);
    for (label, colour) in entries {
        let wide = 30.0 + 7.5 * label.len() as f64;
        if at + wide > RIGHT {
            (at, y) = (LEFT, y + 18.0);
        }
        let _ = write!(body, r#"<rect x="{at:.0}" y="{:.0}" width="12" height="12" rx="2" fill="{colour}"/>"#, y - 10.0);
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
        let text = svg("a & <b>", &bundle, &timeline, &Thumbs::new());
        assert!(text.contains("a &amp; &lt;b&gt;") && text.contains("time, min:s"));
        let left = text.lines().find(|l| l.contains("polyline") && l.contains(colour(1, 0))).unwrap();
        let highest =
            left.split("points=\"").nth(1).unwrap().split([' ', '"']).filter_map(|p| p.split(',').nth(1)?.parse::<f64>().ok());
        let (top, count) = highest.fold((f64::MAX, 0), |(top, n), y| (y.min(top), n + 1));
        assert!(count <= COLUMNS && top < 34.0 + BAND + 12.5, "{count} columns, top at {top}");
    }

    #[test]
    fn marks_are_few_and_round() {
        for (end, expected) in [(900, 100), (12_000, 1_000), (21_900, 2_000), (600_000, 60_000), (86_400_000, 7_200_000)] {
            assert_eq!(spacing(end), expected, "{end}");
        }
    }
}
