//! The promises of the wire format: length, one spelling per value, every corruption of one character noticed.

use super::*;
use crate::report::{ClassId, ClassNow, Event, Health, MAX_LABEL, Novel, Novelty, Spot, envelope::MAX_SENTENCE};
use crate::shaper::Region;
use crate::source::Timestamp;
use proptest::prelude::*;

fn label() -> impl Strategy<Value = Label> {
    "[a-z0-9_-]{1,32}".prop_map(|s| Label::try_from(s.as_str()).unwrap())
}

/// Any state, any number, not a number included.
fn report() -> impl Strategy<Value = Report> {
    let at = || any::<u64>().prop_map(Timestamp);
    let class = (at(), any::<Option<u8>>(), label(), any::<f32>(), any::<u16>(), any::<u32>());
    let class = class.prop_map(|(at, id, label, p, valid_slots, age_ms)| {
        let label = if id.is_some() { label } else { invalid() };
        Report::Class(ClassNow { at, class: id.map(ClassId), label, p, valid_slots, age_ms })
    });
    let event = (at(), any::<bool>(), label(), at(), any::<u32>(), any::<f32>());
    let event = event.prop_map(|(at, start, label, onset, duration_ms, peak)| {
        let edge = if start { Edge::Start } else { Edge::End };
        Report::Event(Event { at, edge, class: ClassId(1), label, onset, duration_ms, peak })
    });
    let novelty = (at(), any::<f32>(), any::<f32>(), any::<u32>(), 0..4usize);
    let novelty = novelty.prop_map(|(at, score, threshold, blocks, now)| {
        Report::Novelty(Novelty { at, score, threshold, blocks, one_in: None, now: Novel::WORDS[now].1 })
    });
    let state = prop_oneof![
        proptest::sample::select(State::WORDS.to_vec()).prop_map(|(_, state)| state),
        (any::<u16>(), any::<u16>()).prop_map(|(have, need)| State::Warming { have, need }),
    ];
    let health = (
        at(),
        state,
        any::<u16>(),
        any::<[u32; 5]>(),
        any::<Option<u32>>(),
        any::<Option<i16>>(),
        any::<Option<bool>>(),
        any::<Option<u8>>(),
        "[0-9a-f]{8}",
    );
    let health = health.prop_map(|(at, state, fps_tenths, numbers, p99_ms, celsius, throttled, still, bundle)| {
        let bundle = Text::try_from(bundle.as_str()).unwrap();
        let [lost, damaged, unread, disordered, seconds] = numbers;
        let drops = Drops { lost, damaged, unread, disordered };
        let last_end = LastEnd::WORDS[lost as usize % LastEnd::WORDS.len()].1;
        let life = Some(Life { seconds, restarts: damaged, last_end });
        let (p50_ms, reused) = (p99_ms.map(|ms| ms / 2), lost);
        Report::Health(Health { at, state, fps_tenths, drops, p50_ms, p99_ms, celsius, throttled, still, reused, life, bundle })
    });
    let place = (at(), label(), any::<[f32; 4]>(), any::<[u16; 4]>()).prop_map(|(at, label, wild, tame)| {
        let part = |n: usize| if tame[0] % 4 == 0 { wild[n] } else { f32::from(tame[n]) / 65_535.0 };
        Report::Place(Spot { at, label, place: Region { x: part(0), y: part(1), w: part(2), h: part(3) } })
    });
    prop_oneof![class, event, novelty, place, health]
}

fn sentence() -> impl Strategy<Value = Sentence> {
    let text = || "[ -~]{0,32}".prop_map(|s| Text::try_from(s.as_str()).unwrap());
    let names = proptest::collection::vec("[a-z0-9_-]{1,14}", 1..4)
        .prop_map(|names| Page::try_from(names.join(",").as_str()).unwrap_or_default());
    let queries = Query::WORDS.map(|(_, query)| query);
    prop_oneof![
        6 => (any::<u32>(), report()).prop_map(|(seq, report)| Sentence::of(seq, &report)),
        1 => (any::<u32>(), any::<u32>()).prop_map(|(from, to)| Sentence::Gap { from, to }),
        1 => proptest::sample::select(queries.to_vec()).prop_map(Sentence::Query),
        1 => (0..3usize, "[a-z0-9_-]{1,32}").prop_map(|(word, label)| {
            let label = Label::try_from(label.as_str()).unwrap();
            Sentence::Command([Command::Teach, Command::Keep, Command::Forget][word](label))
        }),
        1 => text().prop_map(|t: Text<40>| Sentence::Answer(Answer::Teach(t))),
        1 => text().prop_map(|t: Text<40>| Sentence::Answer(Answer::Version(t))),
        1 => "[ -~]{0,32}".prop_map(|s| Text::try_from(s.as_str()).unwrap()).prop_map(|name| Sentence::Answer(Answer::Bundle { name, hash: Text::new() })),
        1 => (1..=256u16, any::<u8>(), names).prop_map(|(pages, first, names)| {
            Sentence::Answer(Answer::Labels { page: 1, pages, first, names })
        }),
        1 => (any::<u32>(), report()).prop_map(|(seq, report)| match Sentence::of(seq, &report) {
            Sentence::Health { status, .. } => Sentence::Answer(Answer::Status(Some(status))),
            _ => Sentence::Answer(Answer::Status(None)),
        }),
        1 => report().prop_map(|report| match report {
            Report::Health(h) if h.fps_tenths % 2 == 0 => Sentence::Answer(Answer::Drops(h.drops)),
            Report::Health(h) => Sentence::Answer(Answer::Uptime(h.life.unwrap_or_default())),
            Report::Class(c) => Sentence::Answer(Answer::Age(Some(c.age_ms), None)),
            _ => Sentence::Answer(Answer::Age(None, None)),
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn any_report_fits_and_comes_back(said in sentence()) {
        let line = said.encode();
        prop_assert!(line.len() <= MAX_SENTENCE && line.ends_with("\r\n"), "{line}");
        let back = Sentence::decode(line.as_bytes());
        prop_assert!(back.is_ok(), "{line}: {back:?}");
        prop_assert_eq!(back.unwrap().encode(), line);
    }

    #[test]
    fn what_decodes_has_one_spelling(line in "\\$PLKT[CENPHGA],[A-Z0-9a-z.,/ -]{0,60}") {
        // Sealed here, so that the fields themselves are what is judged.
        let line = envelope::seal(&Body::try_from(&line[1..]).unwrap());
        if let Ok(said) = Sentence::decode(line.as_bytes()) {
            prop_assert_eq!(said.encode(), line);
        }
    }

    #[test]
    fn any_bytes_are_refused_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Sentence::decode(&bytes).is_err());
    }

    #[test]
    fn one_changed_character_is_noticed(said in sentence(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let line = said.encode();
        let mut bytes = line.as_bytes().to_vec();
        let at = at.index(bytes.len());
        prop_assume!(bytes[at] != byte);
        bytes[at] = byte;
        prop_assert!(Sentence::decode(&bytes).is_err(), "{:?}", String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn merged_lines_are_noticed(a in sentence(), b in sentence(), keep in any::<prop::sample::Index>(), from in any::<prop::sample::Index>()) {
        let (a, b) = (a.encode(), b.encode());
        let (keep, from) = (keep.index(a.len()), from.index(b.len()));
        let merged = format!("{}{}", &a[..keep], &b[from..]);
        // A whole line that lost no more than its carriage return is that line.
        prop_assume!(merged.trim_end() != a.trim_end() && merged.trim_end() != b.trim_end());
        prop_assert!(Sentence::decode(merged.as_bytes()).is_err(), "{merged:?}");
    }
}

#[test]
fn every_single_byte_change_of_one_line_is_noticed() {
    let class = ClassNow {
        at: Timestamp::from_ms(61_200),
        class: Some(ClassId(2)),
        label: Label::try_from("right").unwrap(),
        p: 0.9734,
        valid_slots: 16,
        age_ms: 12,
    };
    let line = Sentence::of(7, &Report::Class(class)).encode();
    assert!(line.starts_with("$PLKTC,7,61200,2,right,0.973,16,12,"), "{line}");
    for at in 0..line.len() {
        for byte in 0..=255u8 {
            let mut bytes = line.as_bytes().to_vec();
            if bytes[at] != byte {
                bytes[at] = byte;
                assert!(Sentence::decode(&bytes).is_err(), "{:?}", String::from_utf8_lossy(&bytes));
            }
        }
        let mut shorter = line.as_bytes().to_vec();
        shorter.remove(at);
        // Losing CR alone leaves an intact line.
        assert_eq!(Sentence::decode(&shorter).is_ok(), at >= line.len() - 2 && shorter.ends_with(b"\n"), "{at}");
    }
    for at in 1..line.len() - 6 {
        let mut swapped = line.as_bytes().to_vec();
        swapped.swap(at, at + 1);
        assert!(swapped == line.as_bytes() || Sentence::decode(&swapped).is_err(), "swap at {at}: XOR alone would miss it");
    }
}

#[test]
fn extremes_fill_the_line_exactly() {
    let label = Label::try_from("w".repeat(MAX_LABEL).as_str()).unwrap();
    let at = Timestamp::from_ms(999_999_999);
    let (seq, age_ms, valid_slots) = (9_999, u32::MAX, u16::MAX);
    let class = ClassNow { at, class: Some(ClassId(255)), label: label.clone(), p: 1.0, valid_slots, age_ms };
    let class = Sentence::of(seq, &Report::Class(class)).encode();
    assert_eq!((class.len(), &class[..72]), (82, &*format!("$PLKTC,9999,999999999,255,{label},1.00,999,9999")));

    let onset = at;
    let event = Event { at, edge: Edge::End, class: ClassId(1), label, onset, duration_ms: u32::MAX, peak: 2.0 };
    let event = Sentence::of(seq, &Report::Event(event)).encode();
    assert_eq!((event.len(), event.contains(",999999999,999999999,1.000,")), (82, true), "{event}");

    let novelty = Novelty { at, score: f32::MIN, threshold: f32::MAX, blocks: u32::MAX, one_in: None, now: Novel::Learning };
    let novelty = Sentence::of(seq, &Report::Novelty(novelty)).encode();
    assert!(novelty.contains(",-999999.9999,999999.9999,9999999,learning,"), "{novelty}");

    let health = Health {
        at,
        state: State::Warming { have: 999, need: 1_000 },
        fps_tenths: u16::MAX,
        drops: Drops { lost: u32::MAX, damaged: 1, ..Drops::default() },
        p50_ms: Some(u32::MAX),
        p99_ms: Some(u32::MAX),
        celsius: Some(i16::MAX),
        throttled: Some(true),
        still: Some(255),
        reused: u32::MAX,
        life: Some(Life { seconds: u32::MAX, restarts: u32::MAX, last_end: LastEnd::Stopped }),
        bundle: Text::try_from("01234567").unwrap(),
    };
    let cold = Health { state: State::NoFrames, ..health.clone() };
    let health = Sentence::of(seq, &Report::Health(health)).encode();
    assert_eq!(health.len(), 82, "{health}");
    assert!(health.starts_with("$PLKTH,9999,999999999,WARMING 999/999,999.9,9999999,9999,999,1,01234567,,"), "{health}");
    for (_, state) in State::WORDS {
        let line = Sentence::of(seq, &Report::Health(Health { state, ..cold.clone() })).encode();
        assert!(line.len() <= 82 && line.contains(",100,"), "{line}");
    }
    let cold = Sentence::of(seq, &Report::Health(cold)).encode();
    assert!(cold.len() <= 82 && cold.contains(",9999,999,1,01234567,100,"), "{cold}");
}

#[test]
fn not_a_number_never_reaches_the_wire() {
    let at = Timestamp::default();
    for p in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let label = Label::try_from("left").unwrap();
        let class = ClassNow { at, class: Some(ClassId(1)), label: label.clone(), p, valid_slots: 1, age_ms: 0 };
        let line = Sentence::of(0, &Report::Class(class)).encode();
        assert!(line.starts_with("$PLKTC,0,0,,invalid,0.000,1,0,"), "{line}");
        let event = Event { at, edge: Edge::Start, class: ClassId(1), label, onset: at, duration_ms: 0, peak: p };
        let line = Sentence::of(0, &Report::Event(event)).encode();
        assert!(line.starts_with("$PLKTE,0,S,left,0,0,,"), "{line}");
        let novelty = Novelty { at, score: p, threshold: p, blocks: 0, one_in: None, now: Novel::Ok };
        let line = Sentence::of(0, &Report::Novelty(novelty)).encode();
        assert!(line.starts_with("$PLKTN,0,0,,,0,ok,"), "{line}");
    }
}

#[test]
fn queries_are_constants_to_paste() {
    for (query, line) in [
        (Query::Status, "$PLKTQ,STATUS,5333*40"),
        (Query::Version, "$PLKTQ,VERSION,1DA6*0A"),
        (Query::Labels, "$PLKTQ,LABELS,FDDD*45"),
        (Query::Bundle, "$PLKTQ,BUNDLE,FAD7*32"),
        (Query::Drops, "$PLKTQ,DROPS,F67D*0B"),
        (Query::Age, "$PLKTQ,AGE,727C*60"),
        (Query::Uptime, "$PLKTQ,UPTIME,0929*40"),
    ] {
        assert_eq!(query.sentence().trim_end(), line, "as in the module's documentation");
        assert_eq!(Sentence::decode(line.as_bytes()), Ok(Sentence::Query(query)));
    }
    let other = envelope::seal(&Body::try_from("PLKTQ,REBOOT").unwrap());
    assert_eq!(Sentence::decode(other.as_bytes()), Ok(Sentence::Query(Query::Unknown)));
}
