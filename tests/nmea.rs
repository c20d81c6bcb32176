//! Every kind of sentence, read by a second implementation that shares nothing with ours.
//!
//! Written from the rules of NMEA 0183 (framing, checksum, proprietary address, reserved characters, 82 characters) and
//! from the table in `src/report/sentence.rs`. `print_corpus` prints the same sentences for other parsers:
//! `cargo test --test nmea -- --ignored --nocapture print_corpus | grep '^\$' | python3 tests/nmea_pynmea2.py`
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod samples;

use lookout::report::queries::LineAssembler;
use lookout::report::sentence::{Answer, Query, Sentence};
use lookout::report::{Drops, LastEnd, Life};
use samples::{any, extremes};

/// Address and fields, the CRC field left out, of a line that follows the rules.
fn parse(line: &[u8]) -> (String, Vec<String>) {
    assert!(line.len() <= 82, "82 characters at most with CR LF: {line:?}");
    let line = line.strip_suffix(&[13, 10]).expect("CR LF at the end");
    assert_eq!(line[0], 0x24, "$ first");
    let star = line.len() - 3;
    assert_eq!(line[star], 0x2a, "* before the checksum");
    let mut sum = 0u8;
    for byte in &line[1..star] {
        assert!((0x20..=0x7d).contains(byte), "printable: {byte}");
        assert!(!b"$*!\\^".contains(byte), "no reserved character inside: {}", *byte as char);
        sum ^= byte;
    }
    assert_eq!(format!("{sum:02X}").as_bytes(), &line[star + 1..], "checksum");
    let text = std::str::from_utf8(&line[1..star]).unwrap();
    let mut fields: Vec<String> = text.split(',').map(String::from).collect();
    let crc = fields.pop().unwrap();
    let covered = &text[..text.len() - crc.len() - 1];
    assert_eq!(crc, format!("{:04X}", crc16(covered.as_bytes())), "CRC of {covered}");
    let address = fields.remove(0);
    assert!(address.starts_with('P') && &address[1..4] == "LKT", "P for proprietary, then the maker's code");
    (address, fields)
}

/// CRC-16/CCITT-FALSE bit by bit.
fn crc16(bytes: &[u8]) -> u16 {
    let mut crc = 0xffffu16;
    for byte in bytes {
        for bit in (0..8).rev() {
            let top = crc & 0x8000 != 0;
            crc <<= 1;
            if top != (byte >> bit & 1 == 1) {
                crc ^= 0x1021;
            }
        }
    }
    crc
}

/// One of each and the extremes, as they go over the wire.
fn corpus() -> Vec<Sentence> {
    let mut all: Vec<Sentence> = (0..10).map(|k| Sentence::of(k, &any(k))).collect();
    all.extend(extremes().iter().map(|report| Sentence::of(u32::MAX, report)));
    all.push(Sentence::Gap { from: 9_998, to: 10_003 });
    all.extend(Query::WORDS.map(|(_, query)| Sentence::Query(query)));
    let health = all.iter().find_map(|s| if let Sentence::Health { status, .. } = s { Some(status.clone()) } else { None });
    let text = |s: &str| heapless::String::try_from(s).unwrap();
    all.extend([
        Sentence::Answer(Answer::Status(None)),
        Sentence::Answer(Answer::Status(health)),
        Sentence::Answer(Answer::Drops(Drops { lost: u32::MAX, damaged: 7, unread: 0, disordered: 1 })),
        Sentence::Answer(Answer::Age(Some(12), Some(u32::MAX))),
        Sentence::Answer(Answer::Uptime(Life { seconds: u32::MAX, restarts: 3, last_end: LastEnd::Killed })),
        Sentence::Answer(Answer::Version(text("lookout 0.1.0"))),
        Sentence::Answer(Answer::Labels {
            page: 255,
            pages: 256,
            first: 254,
            names: text(&"w".repeat(32)).as_str().try_into().unwrap(),
        }),
        Sentence::Answer(Answer::Bundle { name: "motion 3".try_into().unwrap(), hash: "0123abcd".try_into().unwrap() }),
        Sentence::Answer(Answer::Error(text("unknown query, with $*! in it"))),
    ]);
    all
}

#[test]
fn every_sentence_follows_the_rules() {
    for said in corpus() {
        let (address, fields) = parse(said.encode().as_bytes());
        let counts: &[usize] = match address.as_str() {
            "PLKTC" => &[7],
            "PLKTE" => &[6],
            "PLKTN" => &[6],
            "PLKTP" => &[7],
            "PLKTH" => &[10],
            "PLKTG" => &[2],
            "PLKTQ" => &[1],
            "PLKTA" => &[2, 3, 4, 5, 9],
            other => panic!("{other}"),
        };
        assert!(counts.contains(&fields.len()), "{address} {fields:?}");
    }
}

#[test]
fn fields_say_what_was_reported() {
    let read = |said: &Sentence| parse(said.encode().as_bytes()).1;
    let all = corpus();
    assert_eq!(read(&all[1]), ["1", "100", "1", "left", "0.001", "16", "12"]);
    assert_eq!(read(&all[2]), ["2", "S", "right", "200", "2", "0.980"]);
    assert_eq!(read(&all[3]), ["3", "300", "-2.5714", "2.5000", "3", "learning"]);
    assert_eq!(read(&all[4]), ["4", "400", "away", "676", "7", "324", "669"]);
    assert_eq!(read(&all[5]), ["5", "500", "OK", "29.9", "5", "", "-7", "1", "0123abcd", "50"]);
    let gap = all.iter().find(|s| matches!(s, Sentence::Gap { .. })).unwrap();
    assert_eq!(read(gap), ["9998", "3"], "numbers start again after 9999");
}

#[test]
fn assembler_gives_back_the_lines_of_a_stream() {
    let stream: String = corpus().iter().map(|s| s.encode().to_string()).collect();
    let mut lines = Vec::new();
    let mut assembler = LineAssembler::default();
    for piece in stream.as_bytes().chunks(7) {
        assembler.feed(piece, |line| lines.push(String::from_utf8(line.to_vec()).unwrap()));
    }
    assert!(lines.iter().map(String::as_str).eq(stream.lines()));
}

#[test]
#[ignore = "prints the sentences for another parser"]
#[allow(clippy::print_stdout, reason = "that is what it is for")]
fn print_corpus() {
    println!();
    for said in corpus() {
        print!("{}", said.encode());
    }
}
