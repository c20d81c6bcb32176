//! The same reports for programs: one JSON object per line.
//!
//! | type | keys beside `type`, `seq` and `ms` (since the first frame; 0 before it) |
//! |---|---|
//! | `begin` | first line of a run: `version`, `bundle` (name and version), `hash`, `labels`, `unix_ms` (when the run began, ms since 1970) instead of `seq` and `ms`; `again` (true, not there otherwise): the run has said it before, and this holds for all of it |
//! | `class` | `id` (null: `invalid`), `label`, `p`, `valid_slots`, `age_ms` |
//! | `event` | `edge` (`start`, `end`), `id`, `label`, `onset_ms`, `duration_ms`, `peak` |
//! | `novelty` | `score`, `threshold`, `blocks`, `one_in` (at most one false alarm in so many blocks can be promised; null: nothing yet), `now` (`learning`, `ok`, `drift`, `ALARM`) |
//! | `place` | `label` (the class; `novelty` right behind an alarm, with its `ms`), `x`, `y`, `w`, `h` (fractions of the camera's picture) |
//! | `health` | `state` (as on the wire, lower case with `_`: `ok`, `warming`, `no_camera`, ...), `have` and `need` (warming only), `fps`, `dropped` and of these `lost`, `damaged`, `unread`, `disordered`, `p50_ms`, `p99_ms`, `celsius`, `throttled`, `still` (percent), `reused` (ticks), `bundle`, `uptime_s`, `restarts` and `last_end` (live only) |
//! | `gap` | `from`, `to` instead of `seq` and `ms`: events with these numbers had to be left out |
//!
//! Numbers are not wrapped or rounded as on the wire. What is not known, and what is not finite, is `null`.

use super::outbox::Parcel;
use super::{Edge, Identity, Report, State};
use serde::Serialize;

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Object<'a> {
    Begin(BeginObject<'a>),
    Class { seq: u32, ms: u64, id: Option<u8>, label: &'a str, p: f32, valid_slots: u16, age_ms: u32 },
    Event { seq: u32, ms: u64, edge: &'a str, id: u8, label: &'a str, onset_ms: u64, duration_ms: u32, peak: f32 },
    Novelty { seq: u32, ms: u64, score: f32, threshold: f32, blocks: u32, one_in: Option<u32>, now: &'static str },
    Place { seq: u32, ms: u64, label: &'a str, x: f32, y: f32, w: f32, h: f32 },
    Health(HealthObject<'a>),
    Gap { from: u32, to: u32 },
}

#[derive(Serialize)]
struct BeginObject<'a> {
    version: &'a str,
    bundle: Option<&'a str>,
    hash: Option<&'a str>,
    labels: &'a [String],
    unix_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    again: Option<bool>,
}

#[derive(Serialize)]
struct HealthObject<'a> {
    seq: u32,
    ms: u64,
    state: Snake,
    #[serde(skip_serializing_if = "Option::is_none")]
    have: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    need: Option<u16>,
    fps: f64,
    dropped: u32,
    lost: u32,
    damaged: u32,
    unread: u32,
    disordered: u32,
    p50_ms: Option<u32>,
    p99_ms: Option<u32>,
    celsius: Option<i16>,
    throttled: Option<bool>,
    still: Option<u8>,
    reused: u32,
    bundle: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    uptime_s: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    restarts: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_end: Option<&'static str>,
}

/// `NO CAMERA` as `no_camera`.
struct Snake(&'static str);

impl Serialize for Snake {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let text = self.0.chars().map(|c| if c == ' ' { '_' } else { c.to_ascii_lowercase() });
        // As long as the longest state in words.
        let mut out = heapless::String::<16>::new();
        let _ = text.into_iter().try_for_each(|c| out.push(c));
        s.serialize_str(&out)
    }
}

/// Appends the object that a run begins with and a line end to `line`. `unix_ms`: when it began, ms since 1970.
pub fn begin(identity: &Identity, unix_ms: Option<u64>, line: &mut Vec<u8>) {
    append(&beginning(identity, unix_ms, None), line);
}

/// The same of a run that has said it before: in another file, or when the clock was not set.
pub fn begin_again(identity: &Identity, unix_ms: Option<u64>, line: &mut Vec<u8>) {
    append(&beginning(identity, unix_ms, Some(true)), line);
}

fn beginning(identity: &Identity, unix_ms: Option<u64>, again: Option<bool>) -> Object<'_> {
    let Identity { version, bundle, hash, labels, .. } = identity;
    // Of a run that found no bundle there is nothing to say.
    let [bundle, hash] = [bundle, hash].map(|text| Some(text.as_str()).filter(|text| !text.is_empty()));
    Object::Begin(BeginObject { version, bundle, hash, labels, unix_ms, again })
}

/// Appends one object and a line end to `line`.
pub fn line(parcel: &Parcel, line: &mut Vec<u8>) {
    append(&object(parcel), line);
}

fn append(object: &Object<'_>, line: &mut Vec<u8>) {
    let start = line.len();
    if serde_json::to_writer(&mut *line, object).is_err() {
        // Plain data into memory cannot fail; should it ever, no half object goes out.
        line.truncate(start);
        return;
    }
    line.push(b'\n');
}

fn object(parcel: &Parcel) -> Object<'_> {
    let (seq, report) = match parcel {
        Parcel::Gap { from, to } => return Object::Gap { from: *from, to: *to },
        Parcel::Report(seq, report) => (*seq, report),
    };
    match report {
        Report::Class(c) => Object::Class {
            seq,
            ms: c.at.ms(),
            id: c.class.map(|id| id.0),
            label: &c.label,
            p: c.p,
            valid_slots: c.valid_slots,
            age_ms: c.age_ms,
        },
        Report::Event(e) => Object::Event {
            seq,
            ms: e.at.ms(),
            edge: if e.edge == Edge::Start { "start" } else { "end" },
            id: e.class.0,
            label: &e.label,
            onset_ms: e.onset.ms(),
            duration_ms: e.duration_ms,
            peak: e.peak,
        },
        Report::Novelty(n) => {
            let super::Novelty { score, threshold, blocks, one_in, .. } = *n;
            Object::Novelty { seq, ms: n.at.ms(), score, threshold, blocks, one_in, now: n.now.words() }
        }
        Report::Place(s) => {
            let super::Spot { label, place, .. } = s;
            Object::Place { seq, ms: s.at.ms(), label, x: place.x, y: place.y, w: place.w, h: place.h }
        }
        Report::Health(h) => {
            let (have, need) = match h.state {
                State::Warming { have, need } => (Some(have), Some(need)),
                _ => (None, None),
            };
            let (fps, ms, state) = (f64::from(h.fps_tenths) / 10.0, h.at.ms(), Snake(h.state.words()));
            let super::Health { drops, p50_ms, p99_ms, celsius, throttled, still, reused, life, ref bundle, .. } = *h;
            let super::Drops { lost, damaged, unread, disordered } = drops;
            let dropped = drops.all();
            let (uptime_s, restarts) = (life.map(|l| l.seconds), life.map(|l| l.restarts));
            let last_end = life.map(|l| l.last_end.words());
            Object::Health(HealthObject {
                seq,
                ms,
                state,
                have,
                need,
                fps,
                dropped,
                lost,
                damaged,
                unread,
                disordered,
                p50_ms,
                p99_ms,
                celsius,
                throttled,
                still,
                reused,
                bundle,
                uptime_s,
                restarts,
                last_end,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::{class, event, health, novelty, place};

    fn said(parcel: &Parcel) -> String {
        let mut bytes = Vec::new();
        line(parcel, &mut bytes);
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn keys_are_as_documented() {
        assert_eq!(
            said(&Parcel::Report(1, class())),
            "{\"type\":\"class\",\"seq\":1,\"ms\":61200,\"id\":2,\"label\":\"right\",\"p\":0.9734,\"valid_slots\":16,\"age_ms\":12}\n"
        );
        assert_eq!(
            said(&Parcel::Report(2, event())),
            "{\"type\":\"event\",\"seq\":2,\"ms\":61200,\"edge\":\"start\",\"id\":2,\"label\":\"right\",\"onset_ms\":60900,\
             \"duration_ms\":300,\"peak\":0.99}\n"
        );
        assert_eq!(
            said(&Parcel::Report(3, novelty(true))),
            "{\"type\":\"novelty\",\"seq\":3,\"ms\":61200,\"score\":2.5,\"threshold\":1.25,\"blocks\":60,\"one_in\":61,\"now\":\"ALARM\"}\n"
        );
        assert_eq!(
            said(&Parcel::Report(4, place("right"))),
            "{\"type\":\"place\",\"seq\":4,\"ms\":61200,\"label\":\"right\",\"x\":0.25,\"y\":0.5,\"w\":0.125,\"h\":0.3}\n"
        );
        assert_eq!(
            said(&Parcel::Report(u32::MAX, health())),
            "{\"type\":\"health\",\"seq\":4294967295,\"ms\":61200,\"state\":\"warming\",\"have\":3,\"need\":16,\"fps\":29.9,\
             \"dropped\":4,\"lost\":1,\"damaged\":1,\"unread\":2,\"disordered\":0,\"p50_ms\":null,\"p99_ms\":null,\"celsius\":-5,\
             \"throttled\":false,\"still\":null,\"reused\":0,\"bundle\":\"0011aabb\",\"uptime_s\":62,\"restarts\":1,\
             \"last_end\":\"killed\"}\n"
        );
        assert_eq!(said(&Parcel::Gap { from: 3, to: 9 }), "{\"type\":\"gap\",\"from\":3,\"to\":9}\n");
    }

    #[test]
    fn a_run_begins_with_what_runs_and_what_is_not_known_is_null() {
        let labels = vec!["idle".into(), "right".into()];
        let (version, bundle, hash) = ("lookout 0.1.0".into(), "motion 3".into(), "0011aabb".into());
        let mut bytes = Vec::new();
        begin(&Identity { version, bundle, hash, labels, ..Identity::default() }, Some(1_796_000_000_000), &mut bytes);
        begin(&Identity { version: "lookout 0.1.0".into(), ..Identity::default() }, None, &mut bytes);
        begin_again(&Identity { version: "lookout 0.1.0".into(), ..Identity::default() }, Some(1), &mut bytes);
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            "{\"type\":\"begin\",\"version\":\"lookout 0.1.0\",\"bundle\":\"motion 3\",\"hash\":\"0011aabb\",\
             \"labels\":[\"idle\",\"right\"],\"unix_ms\":1796000000000}\n\
             {\"type\":\"begin\",\"version\":\"lookout 0.1.0\",\"bundle\":null,\"hash\":null,\"labels\":[],\"unix_ms\":null}\n\
             {\"type\":\"begin\",\"version\":\"lookout 0.1.0\",\"bundle\":null,\"hash\":null,\"labels\":[],\"unix_ms\":1,\"again\":true}\n"
        );
    }

    #[test]
    fn states_are_said_in_lower_case() {
        let Report::Health(health) = health() else { unreachable!() };
        for (words, state) in State::WORDS {
            let line = said(&Parcel::Report(1, Report::Health(super::super::Health { state, life: None, ..health.clone() })));
            let snake = words.to_lowercase().replace(' ', "_");
            assert!(line.contains(&format!("\"state\":\"{snake}\",")) && !line.contains("restarts"), "{line}");
        }
    }

    #[test]
    fn not_a_number_is_null() {
        let Report::Class(mut class) = class() else { unreachable!() };
        (class.class, class.p) = (None, f32::NAN);
        assert!(said(&Parcel::Report(1, Report::Class(class))).contains("\"id\":null,\"label\":\"right\",\"p\":null"));
    }
}
