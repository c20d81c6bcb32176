//! Reports of every kind for the tests of the sinks: the same ones every time.
#![allow(dead_code, clippy::unwrap_used, reason = "each test file takes what it needs from here; what is made here is right")]

use lookout::report::{
    ClassId, ClassNow, Drops, Edge, Event, Health, Identity, Label, LastEnd, Life, Novel, Novelty, Report, Spot, State,
};
use lookout::shaper::Region;
use lookout::source::Timestamp;

pub const LABELS: [&str; 7] = ["idle", "left", "right", "toward", "away", "shake", "covered"];

pub fn identity() -> Identity {
    Identity {
        version: "lookout 0.1.0".into(),
        bundle: "motion 3".into(),
        hash: "0123456789abcdef".into(),
        labels: LABELS.map(String::from).to_vec(),
        ..Identity::default()
    }
}

fn label(k: u32) -> (ClassId, Label) {
    let id = usize::try_from(k).unwrap() % LABELS.len();
    (ClassId(u8::try_from(id).unwrap()), Label::try_from(LABELS[id]).unwrap())
}

pub fn class(k: u32) -> Report {
    let (id, label) = label(k);
    let p = (k % 1_001) as f32 / 1_000.0;
    Report::Class(ClassNow { at: Timestamp::from_ms(u64::from(k) * 100), class: Some(id), label, p, valid_slots: 16, age_ms: 12 })
}

pub fn event(k: u32) -> Report {
    let (class, label) = label(k);
    let at = Timestamp::from_ms(u64::from(k) * 100);
    let edge = if k.is_multiple_of(2) { Edge::Start } else { Edge::End };
    Report::Event(Event { at, edge, class, label, onset: at, duration_ms: k, peak: 0.98 })
}

pub fn novelty(k: u32) -> Report {
    let score = k as f32 / 7.0 - 3.0;
    let at = Timestamp::from_ms(u64::from(k) * 100);
    Report::Novelty(Novelty { at, score, threshold: 2.5, blocks: k, one_in: Some(k.saturating_add(1)), now: novel(score > 2.5) })
}

pub fn place(k: u32) -> Report {
    let part = |n: u32| (k.wrapping_mul(7_919).wrapping_add(n * 331) % 1_000) as f32 / 1_000.0;
    let (at, label) = (Timestamp::from_ms(u64::from(k) * 100), label(k).1);
    Report::Place(Spot { at, label, place: Region { x: part(0), y: part(1), w: part(2), h: part(3) } })
}

pub fn health(k: u32) -> Report {
    let states = [State::Ok, State::Warming { have: 3, need: 16 }, State::Invalid, State::NoCamera, State::NoFrames];
    let drops = Drops { lost: k / 2, damaged: k - k / 2, unread: 0, disordered: 0 };
    Report::Health(Health {
        at: Timestamp::from_ms(u64::from(k) * 100),
        state: states[usize::try_from(k).unwrap() % states.len()].clone(),
        fps_tenths: 299,
        drops,
        p50_ms: k.is_multiple_of(2).then_some(20),
        p99_ms: k.is_multiple_of(2).then_some(35),
        celsius: (!k.is_multiple_of(3)).then_some(-7),
        throttled: (!k.is_multiple_of(4)).then_some(k.is_multiple_of(5)),
        still: (!k.is_multiple_of(7)).then_some(50),
        reused: k,
        life: Some(Life { seconds: k, restarts: 1, last_end: LastEnd::Stopped }),
        bundle: heapless::String::try_from("0123abcd").unwrap(),
    })
}

/// A mix of all kinds.
pub fn any(k: u32) -> Report {
    match k % 6 {
        0 | 1 => class(k),
        2 => event(k),
        3 => novelty(k),
        4 => place(k),
        _ => health(k),
    }
}

/// Every field at its limit, beyond it, empty or not a number.
pub fn extremes() -> Vec<Report> {
    let long = Label::try_from("w".repeat(32).as_str()).unwrap();
    let at = Timestamp(u64::MAX);
    let (duration_ms, age_ms, valid_slots) = (u32::MAX, u32::MAX, u16::MAX);
    let class = |class, label: &Label, p| Report::Class(ClassNow { at, class, label: label.clone(), p, valid_slots, age_ms });
    let event =
        |edge, peak| Report::Event(Event { at, edge, class: ClassId(255), label: long.clone(), onset: at, duration_ms, peak });
    let novelty = |score, alarm| {
        Report::Novelty(Novelty { at, score, threshold: -score, blocks: u32::MAX, one_in: None, now: novel(alarm) })
    };
    let health = |state, none: bool| {
        Report::Health(Health {
            at,
            state,
            fps_tenths: u16::MAX,
            drops: Drops { lost: u32::MAX, damaged: u32::MAX, unread: u32::MAX, disordered: u32::MAX },
            p50_ms: (!none).then_some(u32::MAX),
            p99_ms: (!none).then_some(u32::MAX),
            celsius: (!none).then_some(i16::MIN),
            throttled: (!none).then_some(true),
            still: (!none).then_some(u8::MAX),
            reused: u32::MAX,
            life: (!none).then_some(Life { seconds: u32::MAX, restarts: u32::MAX, last_end: LastEnd::Killed }),
            bundle: heapless::String::try_from("ffffffff").unwrap(),
        })
    };
    let place = |[x, y, w, h]: [f32; 4]| Report::Place(Spot { at, label: long.clone(), place: Region { x, y, w, h } });
    vec![
        place([0.1, 0.1, 0.9, 0.9]),
        place([f32::NAN, -1.0, f32::INFINITY, 0.0]),
        place([1.0, 0.999, 0.0, 1.0]),
        class(Some(ClassId(255)), &long, 1.0),
        class(Some(ClassId(0)), &Label::try_from("a").unwrap(), 0.0),
        class(None, &Label::try_from("invalid").unwrap(), 0.0),
        class(Some(ClassId(1)), &long, f32::NAN),
        event(Edge::Start, f32::INFINITY),
        event(Edge::End, 1.5),
        novelty(f32::MAX, true),
        novelty(f32::NAN, false),
        novelty(-0.000_01, false),
        health(State::Warming { have: u16::MAX, need: u16::MAX }, false),
        health(State::NoFrames, true),
    ]
}

fn novel(alarm: bool) -> Novel {
    if alarm { Novel::Alarm } else { Novel::Learning }
}
