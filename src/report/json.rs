//! The same reports for programs: one JSON object per line.
//!
//! | type | keys beside `type`, `seq` and `ms` (since start) |
//! |---|---|
//! | `class` | `id` (null: `invalid`), `label`, `p`, `valid_slots`, `age_ms` |
//! | `event` | `edge` (`start`, `end`), `id`, `label`, `onset_ms`, `duration_ms`, `peak` |
//! | `novelty` | `score`, `threshold`, `blocks`, `alarm` |
//! | `health` | `state` (`ok`, `warming`, `invalid`, `no_camera`, `no_frames`), `have` and `need` (warming only), `fps`, `dropped`, `p99_ms`, `celsius`, `throttled`, `still` (percent), `reused` (ticks), `bundle` |
//! | `gap` | `from`, `to` instead of `seq` and `ms`: events with these numbers had to be left out |
//!
//! Numbers are not wrapped or rounded as on the wire. What is not known, and what is not finite, is `null`.

use super::outbox::Parcel;
use super::{Edge, Report, State};
use serde::Serialize;

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Object<'a> {
    Class { seq: u32, ms: u64, id: Option<u8>, label: &'a str, p: f32, valid_slots: u16, age_ms: u32 },
    Event { seq: u32, ms: u64, edge: &'a str, id: u8, label: &'a str, onset_ms: u64, duration_ms: u32, peak: f32 },
    Novelty { seq: u32, ms: u64, score: f32, threshold: f32, blocks: u32, alarm: bool },
    Health(HealthObject<'a>),
    Gap { from: u32, to: u32 },
}

#[derive(Serialize)]
struct HealthObject<'a> {
    seq: u32,
    ms: u64,
    state: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    have: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    need: Option<u16>,
    fps: f64,
    dropped: u32,
    p99_ms: Option<u32>,
    celsius: Option<i16>,
    throttled: Option<bool>,
    still: Option<u8>,
    reused: u32,
    bundle: &'a str,
}

/// Appends one object and a line end to `line`.
pub fn line(parcel: &Parcel, line: &mut Vec<u8>) {
    let start = line.len();
    if serde_json::to_writer(&mut *line, &object(parcel)).is_err() {
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
            Object::Novelty { seq, ms: n.at.ms(), score: n.score, threshold: n.threshold, blocks: n.blocks, alarm: n.alarm }
        }
        Report::Health(h) => {
            let (state, have, need) = match h.state {
                State::Ok => ("ok", None, None),
                State::Warming { have, need } => ("warming", Some(have), Some(need)),
                State::Invalid => ("invalid", None, None),
                State::NoCamera => ("no_camera", None, None),
                State::NoFrames => ("no_frames", None, None),
            };
            let (fps, ms) = (f64::from(h.fps_tenths) / 10.0, h.at.ms());
            let super::Health { dropped, p99_ms, celsius, throttled, still, reused, ref bundle, .. } = *h;
            Object::Health(HealthObject {
                seq,
                ms,
                state,
                have,
                need,
                fps,
                dropped,
                p99_ms,
                celsius,
                throttled,
                still,
                reused,
                bundle,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::{class, event, health, novelty};

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
            "{\"type\":\"novelty\",\"seq\":3,\"ms\":61200,\"score\":2.5,\"threshold\":1.25,\"blocks\":60,\"alarm\":true}\n"
        );
        assert_eq!(
            said(&Parcel::Report(u32::MAX, health())),
            "{\"type\":\"health\",\"seq\":4294967295,\"ms\":61200,\"state\":\"warming\",\"have\":3,\"need\":16,\"fps\":29.9,\
             \"dropped\":4,\"p99_ms\":null,\"celsius\":-5,\"throttled\":false,\"still\":null,\"reused\":0,\"bundle\":\"0011aabb\"}\n"
        );
        assert_eq!(said(&Parcel::Gap { from: 3, to: 9 }), "{\"type\":\"gap\",\"from\":3,\"to\":9}\n");
    }

    #[test]
    fn not_a_number_is_null() {
        let Report::Class(mut class) = class() else { unreachable!() };
        (class.class, class.p) = (None, f32::NAN);
        assert!(said(&Parcel::Report(1, Report::Class(class))).contains("\"id\":null,\"label\":\"right\",\"p\":null"));
    }
}
