//! The wire format: every sentence, encoded and decoded side by side.
//!
#![doc = include_str!("../../board/wire.md")]

use super::desk::Command;
use super::envelope::{self, Body, Line, SentenceError};
use super::fields::{self, Fields, fixed, push};
use super::{Drops, Edge, INVALID, Label, LastEnd, Life, Novel, Report, State, invalid};
use heapless::String as Text;

/// `seq` on the wire counts modulo this.
pub const SEQ_WRAP: u32 = 10_000;
/// Times on the wire count modulo this many ms.
pub const MS_WRAP: u64 = 1_000_000_000;
/// Counts on the wire stay at this.
const MAX_COUNT: u32 = 9_999_999;
/// Labels of one `LABELS` page, joined by commas.
pub type Page = Text<46>;

/// What a sentence says, in the units of the wire. Values beyond a field's range are wrapped or clamped by `encode`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the fields are the grammar's, one to one
pub enum Sentence {
    /// `$PLKTC`; `p` in thousandths.
    Class { seq: u32, ms: u64, id: Option<u8>, label: Label, p: Option<u16>, slots: u16, age_ms: u32 },
    /// `$PLKTE`; `peak` in thousandths.
    Event { seq: u32, edge: Edge, label: Label, onset_ms: u64, duration_ms: u32, peak: Option<u16> },
    /// `$PLKTN`; score and threshold in ten-thousandths.
    Novelty { seq: u32, ms: u64, score: Option<i64>, threshold: Option<i64>, blocks: u32, now: Novel },
    /// `$PLKTP`; x, y, w, h in thousandths.
    Place { seq: u32, ms: u64, label: Label, place: [u16; 4] },
    /// `$PLKTH`
    Health { seq: u32, status: Status, bundle: Text<8> },
    /// `$PLKTG`
    Gap { from: u32, to: u32 },
    /// `$PLKTQ`
    Query(Query),
    /// `$PLKTQ`
    Command(Command),
    /// `$PLKTA`
    Answer(Answer),
}

/// How the box is: the middle of `$PLKTH` and the answer to `STATUS`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Time of the report, ms since the first frame; 0 before it.
    pub ms: u64,
    /// What it is doing.
    pub state: State,
    /// Frames a second, in tenths.
    pub fps_tenths: u16,
    /// Frames lost since start.
    pub dropped: u32,
    /// 99th percentile of the time from frame to decision, ms.
    pub p99_ms: Option<u32>,
    /// Degrees Celsius.
    pub celsius: Option<i16>,
    /// Slowed down by heat or voltage.
    pub throttled: Option<bool>,
    /// Ticks whose pictures were no news, percent; never said while warming up.
    pub still: Option<u8>,
}

/// What may be asked on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Query {
    /// How are you: the last health report.
    Status,
    /// Frames that nobody looked at, by cause.
    Drops,
    /// Time from frame to decision.
    Age,
    /// How long and how often have you run.
    Uptime,
    /// Which program are you.
    Version,
    /// Which classes do you know.
    Labels,
    /// Which bundle do you run.
    Bundle,
    /// An intact query that this version does not know.
    Unknown,
}

impl Query {
    /// All that are known, and their words.
    pub const WORDS: [(&'static str, Self); 7] = [
        ("STATUS", Self::Status),
        ("DROPS", Self::Drops),
        ("AGE", Self::Age),
        ("UPTIME", Self::Uptime),
        ("VERSION", Self::Version),
        ("LABELS", Self::Labels),
        ("BUNDLE", Self::Bundle),
    ];

    /// The sentence that asks this, as it goes over the wire.
    pub fn sentence(self) -> Line {
        Sentence::Query(self).encode()
    }
}

/// The answer to a [`Query`]. Text fields hold no `,` or other reserved character (`encode` writes `_` for those).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The last health report, or `None` before the first.
    Status(Option<Status>),
    /// Frames that nobody looked at, by cause.
    Drops(Drops),
    /// Median and 99th percentile of the time from frame to decision, ms.
    Age(Option<u32>, Option<u32>),
    /// How long and how often it has run.
    Uptime(Life),
    /// Program and version.
    Version(Text<40>),
    /// One page of labels.
    Labels {
        /// This page, from 1.
        page: u16,
        /// Pages in all.
        pages: u16,
        /// Class id of the first label here.
        first: u8,
        /// Labels of this page, joined by commas.
        names: Page,
    },
    /// Name and version, and the first eight hex digits of the hash.
    Bundle {
        /// Its name and version.
        name: Text<45>,
        /// Its hash.
        hash: Text<8>,
    },
    /// What came of a command.
    Teach(Text<40>),
    /// The query was intact, but is not known here; or the command was not done.
    Error(Text<40>),
}

impl Sentence {
    /// A report in the units of the wire. Numbers that are not finite become empty; a class without a finite
    /// probability becomes `invalid`.
    pub fn of(seq: u32, report: &Report) -> Self {
        match report {
            Report::Class(c) => {
                let id = c.class.filter(|_| c.p.is_finite()).map(|id| id.0);
                let label = if id.is_some() { c.label.clone() } else { invalid() };
                let (p, age_ms) = (if id.is_some() { thousandths(c.p) } else { Some(0) }, c.age_ms);
                Self::Class { seq, ms: c.at.ms(), id, label, p, slots: c.valid_slots, age_ms }
            }
            Report::Event(e) => Self::Event {
                seq,
                edge: e.edge,
                label: e.label.clone(),
                onset_ms: e.onset.ms(),
                duration_ms: e.duration_ms,
                peak: thousandths(e.peak),
            },
            Report::Novelty(n) => Self::Novelty {
                seq,
                ms: n.at.ms(),
                score: fixed(n.score, 10_000.0),
                threshold: fixed(n.threshold, 10_000.0),
                blocks: n.blocks,
                now: n.now,
            },
            Report::Place(s) => {
                Self::Place { seq, ms: s.at.ms(), label: s.label.clone(), place: fields::thousandths_of(&s.place) }
            }
            Report::Health(h) => Self::Health { seq, status: Status::of(h), bundle: h.bundle.clone() },
        }
    }

    /// The line that goes over the wire, at most 82 bytes with CR LF. Never allocates, never fails.
    pub fn encode(&self) -> Line {
        let mut body = Body::new();
        let b = &mut body;
        match self {
            Self::Class { seq, ms, id, label, p, slots, age_ms } => {
                let label = if id.is_some() { label.as_str() } else { INVALID };
                push!(b, "PLKTC,{},{},", seq % SEQ_WRAP, ms % MS_WRAP);
                fields::optional(b, *id);
                fields::label(b, label);
                fields::probability(b, *p, if label.chars().count() < super::MAX_LABEL { 3 } else { 2 });
                push!(b, ",{},{}", slots.min(&999), age_ms.min(&9_999));
            }
            Self::Event { seq, edge, label, onset_ms, duration_ms, peak } => {
                let edge = if *edge == Edge::Start { 'S' } else { 'E' };
                push!(b, "PLKTE,{},{edge}", seq % SEQ_WRAP);
                fields::label(b, label);
                push!(b, ",{},{}", onset_ms % MS_WRAP, duration_ms.min(&999_999_999));
                fields::probability(b, *peak, 3);
            }
            Self::Novelty { seq, ms, score, threshold, blocks, now } => {
                push!(b, "PLKTN,{},{}", seq % SEQ_WRAP, ms % MS_WRAP);
                fields::decimal4(b, *score);
                fields::decimal4(b, *threshold);
                push!(b, ",{},{}", blocks.min(&9_999_999), now.words());
            }
            Self::Place { seq, ms, label, place: [x, y, w, h] } => {
                push!(b, "PLKTP,{},{}", seq % SEQ_WRAP, ms % MS_WRAP);
                fields::label(b, label);
                let (x, y) = (x.min(&999), y.min(&999));
                // The last box beside the longest label fits because an edge of four digits leaves one for the other.
                push!(b, ",{x},{y},{},{}", w.clamp(&1, &(1_000 - x)), h.clamp(&1, &(1_000 - y)));
            }
            Self::Health { seq, status, bundle } => {
                push!(b, "PLKTH,{},", seq % SEQ_WRAP);
                status.encode(b);
                fields::text(b, bundle);
                status.encode_still(b);
            }
            Self::Gap { from, to } => push!(b, "PLKTG,{},{}", from % SEQ_WRAP, to % SEQ_WRAP),
            Self::Query(query) => {
                let word = Query::WORDS.iter().find(|(_, q)| q == query).map_or("UNKNOWN", |(word, _)| word);
                push!(b, "PLKTQ,{word}");
            }
            Self::Command(command) => {
                let (word, label) = command.parts();
                push!(b, "PLKTQ,{word}");
                fields::label(b, label);
            }
            Self::Answer(answer) => answer.encode(b),
        }
        envelope::seal(&body)
    }

    /// Reads a line, with or without its line end. Anything but an intact sentence of this grammar is refused.
    ///
    /// # Errors
    /// [`SentenceError`] says what is wrong first.
    pub fn decode(line: &[u8]) -> Result<Self, SentenceError> {
        let body = envelope::unseal(line)?;
        let (head, rest) = body.split_once(',').ok_or_else(|| unknown(body))?;
        let said = match head {
            "PLKTC" => {
                let mut f = Fields::new("PLKTC", rest);
                let (seq, ms) = (f.seq("seq")?, f.ms("ms")?);
                let (id, label): (Option<u8>, Label) = (f.optional("id", |f, s| f.number(s, 255))?, f.label()?);
                if id.is_none() && label != INVALID {
                    return Err(f.wrong("label", "`invalid` without an id"));
                }
                let p = f.probability("p", if label.len() < super::MAX_LABEL { 3 } else { 2 })?;
                let said = Self::Class { seq, ms, id, label, p, slots: f.number("slots", 999)?, age_ms: f.number("age", 9_999)? };
                f.end(said)?
            }
            "PLKTE" => {
                let mut f = Fields::new("PLKTE", rest);
                let seq = f.seq("seq")?;
                let edge = match f.next("edge")? {
                    "S" => Edge::Start,
                    "E" => Edge::End,
                    _ => return Err(f.wrong("edge", "S or E")),
                };
                let (label, onset_ms, duration_ms) = (f.label()?, f.ms("onset")?, f.number("duration", 999_999_999)?);
                let said = Self::Event { seq, edge, label, onset_ms, duration_ms, peak: f.probability("peak", 3)? };
                f.end(said)?
            }
            "PLKTN" => {
                let mut f = Fields::new("PLKTN", rest);
                let (seq, ms) = (f.seq("seq")?, f.ms("ms")?);
                let (score, threshold) = (f.decimal4("score")?, f.decimal4("threshold")?);
                let (blocks, now) = (f.number("blocks", 9_999_999)?, f.next("now")?);
                let now = Novel::WORDS.iter().find(|(w, _)| *w == now);
                let (_, now) = *now.ok_or_else(|| f.wrong("now", "learning, ok, drift or ALARM"))?;
                f.end(Self::Novelty { seq, ms, score, threshold, blocks, now })?
            }
            "PLKTP" => {
                let mut f = Fields::new("PLKTP", rest);
                let (seq, ms, label) = (f.seq("seq")?, f.ms("ms")?, f.label()?);
                let (x, y): (u16, u16) = (f.number("x", 999)?, f.number("y", 999)?);
                let (w, h) = (f.number("w", u64::from(1_000 - x))?, f.number("h", u64::from(1_000 - y))?);
                if w == 0 || h == 0 {
                    return Err(f.wrong("size", "at least a thousandth"));
                }
                f.end(Self::Place { seq, ms, label, place: [x, y, w, h] })?
            }
            "PLKTH" => {
                let mut f = Fields::new("PLKTH", rest);
                let (seq, mut status, bundle) = (f.seq("seq")?, Status::decode(&mut f)?, f.text("bundle")?);
                status.decode_still(&mut f)?;
                f.end(Self::Health { seq, status, bundle })?
            }
            "PLKTG" => {
                let mut f = Fields::new("PLKTG", rest);
                let said = Self::Gap { from: f.seq("from")?, to: f.seq("to")? };
                f.end(said)?
            }
            "PLKTQ" => match Command::decode(rest) {
                Some(command) => Self::Command(command),
                None => Self::Query(Query::WORDS.iter().find(|(w, _)| *w == rest).map_or(Query::Unknown, |(_, q)| *q)),
            },
            "PLKTA" => Self::Answer(Answer::decode(rest)?),
            _ => return Err(unknown(body)),
        };
        Ok(said)
    }
}

impl Status {
    /// The middle of a health report.
    pub fn of(h: &super::Health) -> Self {
        let super::Health { at, state, fps_tenths, drops, p99_ms, celsius, throttled, still, .. } = h.clone();
        Self { ms: at.ms(), state, fps_tenths, dropped: drops.all(), p99_ms, celsius, throttled, still }
    }

    fn encode(&self, b: &mut Body) {
        push!(b, "{},", self.ms % MS_WRAP);
        match &self.state {
            State::Warming { have, need } => push!(b, "WARMING {}/{}", have.min(&999), need.min(&999)),
            state => push!(b, "{}", state.words()),
        }
        let fps = self.fps_tenths.min(9_999);
        push!(b, ",{}.{},{},", fps / 10, fps % 10, self.dropped.min(9_999_999));
        fields::optional(b, self.p99_ms.map(|ms| ms.min(9_999)));
        push!(b, ",");
        fields::optional(b, self.celsius.map(|c| c.clamp(-99, 999)));
        push!(b, ",");
        fields::optional(b, self.throttled.map(u8::from));
    }

    /// The last field: a longer state leaves no room for it.
    fn encode_still(&self, b: &mut Body) {
        push!(b, ",");
        fields::optional(b, self.still.filter(|_| !self.is_warming()).map(|s| s.min(100)));
    }

    fn decode_still(&mut self, f: &mut Fields<'_>) -> Result<(), SentenceError> {
        self.still = f.optional("still", |f, s| f.number(s, 100))?;
        if self.still.is_some() && self.is_warming() { Err(f.wrong("still", "nothing while warming up")) } else { Ok(()) }
    }

    fn is_warming(&self) -> bool {
        matches!(self.state, State::Warming { .. })
    }

    fn decode(f: &mut Fields<'_>) -> Result<Self, SentenceError> {
        let ms = f.ms("ms")?;
        let words = f.next("state")?;
        let state = match State::WORDS.iter().find(|(w, _)| *w == words) {
            Some((_, state)) => state.clone(),
            None => {
                let counts = words.strip_prefix("WARMING ").and_then(|c| c.split_once('/'));
                let counts = counts.and_then(|(k, n)| Some((fields::natural(k, 999)?, fields::natural(n, 999)?)));
                let (have, need) = counts.ok_or_else(|| f.wrong("state", "a state of the grammar"))?;
                State::Warming { have, need }
            }
        };
        Ok(Self {
            ms,
            state,
            fps_tenths: f.tenths("fps")?,
            dropped: f.number("dropped", 9_999_999)?,
            p99_ms: f.optional("p99", |f, s| f.number(s, 9_999))?,
            celsius: f.optional("celsius", |f, s| f.celsius(s))?,
            throttled: f.optional("throttled", |f, s| f.flag(s))?,
            still: None,
        })
    }
}

impl Answer {
    fn encode(&self, b: &mut Body) {
        match self {
            Self::Status(None) => push!(b, "PLKTA,STATUS,,,,,,,,"),
            Self::Status(Some(status)) => {
                push!(b, "PLKTA,STATUS,");
                status.encode(b);
                status.encode_still(b);
            }
            Self::Drops(d) => {
                let [lost, damaged, unread, disordered] = [d.lost, d.damaged, d.unread, d.disordered].map(|n| n.min(MAX_COUNT));
                push!(b, "PLKTA,DROPS,{lost},{damaged},{unread},{disordered}");
            }
            Self::Age(p50, p99) => {
                push!(b, "PLKTA,AGE,");
                fields::optional(b, p50.map(|ms| ms.min(9_999)));
                push!(b, ",");
                fields::optional(b, p99.map(|ms| ms.min(9_999)));
            }
            Self::Uptime(life) => {
                let (seconds, restarts) = (life.seconds.min(MAX_COUNT), life.restarts.min(MAX_COUNT));
                push!(b, "PLKTA,UPTIME,{seconds},{restarts},{}", life.last_end.words());
            }
            Self::Version(text) => {
                push!(b, "PLKTA,VERSION");
                fields::text(b, text);
            }
            Self::Labels { page, pages, first, names } => {
                push!(b, "PLKTA,LABELS,{}/{},{first}", page.min(&256), pages.min(&256));
                for name in names.split(',') {
                    fields::text(b, name);
                }
            }
            Self::Bundle { name, hash } => {
                push!(b, "PLKTA,BUNDLE");
                fields::text(b, name);
                fields::text(b, hash);
            }
            Self::Teach(text) => {
                push!(b, "PLKTA,TEACH");
                fields::text(b, text);
            }
            Self::Error(text) => {
                push!(b, "PLKTA,ERROR");
                fields::text(b, text);
            }
        }
    }

    fn decode(rest: &str) -> Result<Self, SentenceError> {
        let mut f = Fields::new("PLKTA", rest);
        match f.next("subject")? {
            "STATUS" if rest == "STATUS,,,,,,,," => Ok(Self::Status(None)),
            "STATUS" => {
                let mut status = Status::decode(&mut f)?;
                status.decode_still(&mut f)?;
                f.end(Self::Status(Some(status)))
            }
            "DROPS" => {
                let max = u64::from(MAX_COUNT);
                let (lost, damaged) = (f.number("lost", max)?, f.number("damaged", max)?);
                let (unread, disordered) = (f.number("unread", max)?, f.number("disordered", max)?);
                f.end(Self::Drops(Drops { lost, damaged, unread, disordered }))
            }
            "AGE" => {
                let mut ms = |field| f.optional(field, |f, s| f.number(s, 9_999));
                let (p50, p99) = (ms("p50")?, ms("p99")?);
                f.end(Self::Age(p50, p99))
            }
            "UPTIME" => {
                let max = u64::from(MAX_COUNT);
                let (seconds, restarts) = (f.number("seconds", max)?, f.number("restarts", max)?);
                let end = f.next("end")?;
                let end = LastEnd::WORDS.iter().find(|(w, _)| *w == end);
                let (_, last_end) = *end.ok_or_else(|| f.wrong("end", "none, stopped, failed, panic or killed"))?;
                f.end(Self::Uptime(Life { seconds, restarts, last_end }))
            }
            "VERSION" => {
                let text = f.text("version")?;
                f.end(Self::Version(text))
            }
            "LABELS" => {
                let (page, pages) = f.page("page")?;
                let first = f.number("first id", 255)?;
                let names = f.texts("labels")?;
                Ok(Self::Labels { page, pages, first, names })
            }
            "BUNDLE" => {
                let (name, hash) = (f.text("name")?, f.text("hash")?);
                f.end(Self::Bundle { name, hash })
            }
            "TEACH" => {
                let text = f.text("text")?;
                f.end(Self::Teach(text))
            }
            "ERROR" => {
                let text = f.text("text")?;
                f.end(Self::Error(text))
            }
            _ => Err(f.wrong("subject", "a subject of the grammar")),
        }
    }
}

/// A probability in thousandths, clamped to 0..=1000; `None` when not finite.
fn thousandths(p: f32) -> Option<u16> {
    fixed(p, 1_000.0).and_then(|p| u16::try_from(p.clamp(0, 1_000)).ok())
}

fn unknown(body: &str) -> SentenceError {
    let start = body.char_indices().nth(16).map_or(body, |(at, _)| &body[..at]);
    SentenceError::Unknown(Text::try_from(start).unwrap_or_default())
}

#[cfg(test)]
#[path = "sentence_tests.rs"]
mod tests;
