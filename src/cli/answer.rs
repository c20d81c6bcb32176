//! What is said of a recording that was played: lines for people, JSON or CSV for programs, or subtitles to lay over it.
//!
//! Every format has the segments; lines and JSON have the one answer for the whole recording above them. Whatever is printed has few decimals: the
//! rest would be noise, and differ between processors.

use super::alarms;
use super::segments::{Segment, Timeline};
use super::{Failure, shown};
use crate::bundle::Bundle;
use crate::shaper::Region;
use crate::source::Timestamp;
use serde_json::{Map, Value, json};
use std::io::{self, Write};

/// In which format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Lines for people.
    Text,
    /// An object a recording, each in a line of its own.
    Json,
    /// A line a segment, below a line with the names of the columns.
    Csv,
    /// Subtitles (SubRip).
    Srt,
}

/// How answers are given.
#[derive(Clone, Copy, Debug)]
pub struct Answers<'a> {
    /// Whose classes they are.
    pub bundle: &'a Bundle,
    /// In which format.
    pub format: Format,
    /// In JSON, also where something moved.
    pub places: bool,
    /// Also what novelty said.
    pub novelty: bool,
}

impl Answers<'_> {
    /// What stands above the first of them.
    pub fn begin(&self, out: &mut dyn Write) -> Result<(), Failure> {
        if self.format == Format::Csv {
            writeln!(out, "clip,label,start_ms,end_ms,p{}", if self.novelty { ",score,threshold" } else { "" })?;
        }
        Ok(())
    }

    /// Says what one recording gave.
    pub fn write(&self, clip: &str, timeline: &Timeline, out: &mut dyn Write) -> Result<(), Failure> {
        match self.format {
            Format::Text => self.text(clip, timeline, out)?,
            Format::Json => writeln!(out, "{}", self.json(clip, timeline))?,
            Format::Csv => self.csv(clip, timeline, out)?,
            Format::Srt => self.srt(timeline, out)?,
        }
        Ok(out.flush()?)
    }

    /// The class of the whole recording and its probability; `None` when no tick was decided.
    pub fn of(&self, timeline: &Timeline) -> Option<(&str, f32)> {
        let (class, p) = timeline.answer(self.bundle.contract.decision.clip)?;
        Some((self.bundle.labels[usize::from(class.0)].as_str(), p))
    }

    fn tick_ms(&self) -> u32 {
        self.bundle.contract.time.tick_ms
    }

    fn text(&self, clip: &str, timeline: &Timeline, out: &mut dyn Write) -> Result<(), Failure> {
        let (name, p) = self.of(timeline).unwrap_or(("no answer", 0.0));
        writeln!(out, "{}: {name} {:.0} %  ({} ticks)", shown(clip), p * 100.0, timeline.ticks())?;
        for s in timeline.segments() {
            let (from, to) = (s.start_ms as f64 / 1e3, s.end_ms as f64 / 1e3);
            writeln!(out, "  {from:>8.1} - {to:>6.1} s  {:<16} {:>3.0} %", s.label, s.p * 100.0)?;
        }
        if self.novelty {
            alarms::write(timeline.novel(), self.tick_ms(), out)?;
        }
        Ok(())
    }

    fn json(&self, clip: &str, timeline: &Timeline) -> Value {
        let segments: Vec<Value> = timeline.segments().iter().map(segment).collect();
        let (name, p) = self.of(timeline).map_or((None, 0.0), |(name, p)| (Some(name), p));
        let mut line = json!({ "clip": clip, "label": name, "p": round(p), "ticks": timeline.ticks(), "segments": segments });
        let mean = self.bundle.labels.iter().zip(timeline.mean());
        line["mean"] = mean.map(|(label, p)| (label.to_string(), round(p).into())).collect::<Map<_, _>>().into();
        if self.places {
            line["where"] = timeline.places().iter().map(|(at, b)| place(*at, b)).collect();
        }
        if self.novelty {
            line["novelty"] = alarms::json(timeline.novel(), timeline.places(), self.tick_ms());
        }
        line
    }

    fn csv(&self, clip: &str, timeline: &Timeline, out: &mut dyn Write) -> io::Result<()> {
        let (clip, rest) = (quoted(clip), if self.novelty { ",," } else { "" });
        for s in timeline.segments() {
            writeln!(out, "{clip},{},{},{},{:.3}{rest}", s.label, s.start_ms, s.end_ms, s.p)?;
        }
        for a in alarms::of(timeline.novel(), self.tick_ms()) {
            writeln!(out, "{clip},ALARM,{},{},,{:.4},{:.4}", a.start_ms, a.end_ms, a.score, a.threshold)?;
        }
        Ok(())
    }

    fn srt(&self, timeline: &Timeline, out: &mut dyn Write) -> io::Result<()> {
        let called = timeline.segments().into_iter();
        let called = called.map(|s| (s.start_ms, s.end_ms, format!("{} {:.0} %", s.label, s.p * 100.0)));
        let strange = alarms::of(timeline.novel(), self.tick_ms()).into_iter();
        let strange = strange.map(|a| (a.start_ms, a.end_ms, format!("ALARM {:.2} above {:.2}", a.score, a.threshold)));
        let mut all: Vec<_> = called.chain(strange).collect();
        all.sort_by_key(|(start, ..)| *start);
        for (n, (start, end, text)) in all.iter().enumerate() {
            writeln!(out, "{}\n{} --> {}\n{text}\n", n + 1, clock(*start), clock(*end))?;
        }
        Ok(())
    }
}

fn segment(s: &Segment) -> Value {
    json!({ "label": s.label.as_str(), "start_ms": s.start_ms, "end_ms": s.end_ms, "p": round(s.p) })
}

/// Time in ms and the box: x, y, w, h.
fn place(at: Timestamp, b: &Region) -> Value {
    json!([at.ms(), round(b.x), round(b.y), round(b.w), round(b.h)])
}

/// Three decimals.
fn round(p: f32) -> f64 {
    (f64::from(p) * 1000.0).round() / 1000.0
}

/// A CSV field, quoted where it must be (RFC 4180).
pub fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.into() }
}

/// `00:00:01,500`
fn clock(ms: u64) -> String {
    format!("{:02}:{:02}:{:02},{:03}", ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60, ms % 1_000)
}
