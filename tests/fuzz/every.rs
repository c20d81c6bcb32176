//! Not a sample but all of them: every truncation and every single byte of three networks, of a configuration, of a contract, and of a sentence of
//! every kind.

use crate::harness::{line, number, root};
use crate::models::{complete, networks, without_files};
use crate::samples::{any, extremes};
use lookout::bundle::Bundle;
use lookout::config::Config;
use lookout::onnx;
use lookout::report::Label;
use lookout::report::desk::Command;
use lookout::report::queries::LineAssembler;
use lookout::report::sentence::{Answer, Query, Sentence};

/// How many were looked at.
#[derive(Default)]
struct Looked {
    cut: u64,
    changed: u64,
    good: u64,
}

/// Shows a file to `look` with its end cut off everywhere, then with every byte changed: to all 255 others (`all`), else to those that have broken
/// parsers before.
fn every(file: &[u8], all: bool, looked: &mut Looked, mut look: impl FnMut(&[u8]) -> bool) {
    for end in 0..file.len() {
        looked.good += u64::from(look(&file[..end]));
        looked.cut += 1;
    }
    let mut file = file.to_vec();
    for at in 0..file.len() {
        let was = file[at];
        let few = [0, 1, 0x7f, 0x80, 0xff, was ^ 1, was ^ 4, was ^ 16, was.wrapping_add(1), was.wrapping_sub(1)];
        for value in (0..=255u8).filter(|v| *v != was && (all || few.contains(v))) {
            file[at] = value;
            looked.good += u64::from(look(&file));
            looked.changed += 1;
        }
        file[at] = was;
    }
}

/// All 255 others of a byte where a release is tried.
fn release() -> bool {
    number("LOOKOUT_FUZZ_ROUNDS").is_some_and(|n| n > 100_000)
}

#[test]
fn every_truncation_and_every_single_byte_of_three_networks() {
    let mut looked = Looked::default();
    for network in networks().into_iter().take(3) {
        every(&network, release(), &mut looked, |bytes| onnx::parse(bytes).map_err(|e| line(&e)).is_ok());
    }
    let Looked { cut, changed, good } = looked;
    println!("onnx: {cut} truncations and {changed} single bytes, {good} would be shown to tract, 0 panics");
}

#[test]
fn every_truncation_and_every_single_byte_of_a_configuration() {
    let mut looked = Looked::default();
    let example = std::fs::read_to_string(root().join("board/lookout.toml")).unwrap();
    // As it is shipped, and with every key that it explains.
    for text in [complete(&example), example] {
        Config::parse("lookout.toml", &text).unwrap();
        every(text.as_bytes(), release(), &mut looked, |bytes| {
            let text = String::from_utf8_lossy(bytes);
            Config::parse("lookout.toml", &text).map_err(|e| line(&e.to_string())).is_ok()
        });
    }
    let Looked { cut, changed, good } = looked;
    println!(
        "configuration: {cut} truncations and {changed} single bytes, {good} still say something (most of it is comments), 0 panics"
    );
}

#[test]
fn every_truncation_and_every_single_byte_of_a_contract() {
    let mut looked = Looked::default();
    let contract = std::fs::read(root().join("models/motion/bundle.toml")).unwrap();
    let asked = |bytes: &[u8]| {
        let said = Bundle::load("b", without_files(bytes)).expect_err("its files are not there").to_string();
        line(&said);
        said.ends_with("not there")
    };
    assert!(asked(&contract));
    every(&contract, release(), &mut looked, asked);
    let Looked { cut, changed, good } = looked;
    // Each of them has another hash than the bundle: the box says that it runs another one, and a signature does not hold.
    println!("contract: {cut} truncations and {changed} single bytes, {good} still ask for their files, 0 panics");
}

/// A sentence of every kind, the longest of each too.
fn sentences() -> Vec<Sentence> {
    let mut all: Vec<Sentence> = (0..6).map(|k| Sentence::of(k, &any(k))).collect();
    all.extend(extremes().iter().map(|report| Sentence::of(u32::MAX, report)));
    all.push(Sentence::Gap { from: 9_998, to: 10_003 });
    all.extend(Query::WORDS.map(|(_, query)| Sentence::Query(query)));
    let wave = || Label::try_from("wave").unwrap();
    all.extend([Command::Teach(wave()), Command::Keep(wave()), Command::Forget(wave())].map(Sentence::Command));
    let status = all.iter().find_map(|s| if let Sentence::Health { status, .. } = s { Some(status.clone()) } else { None });
    all.extend([Sentence::Answer(Answer::Status(status)), Sentence::Answer(Answer::Age(Some(12), None))]);
    all
}

#[test]
fn every_truncation_and_every_single_byte_of_a_sentence_of_every_kind() {
    let (mut looked, mut kinds, mut lines) = (Looked::default(), std::collections::BTreeSet::new(), 0);
    let (next, after) = (Sentence::Query(Query::Version), Sentence::Query(Query::Labels));
    for sentence in sentences() {
        let sent = sentence.encode();
        // As the wire says it: what is beyond a field's range was wrapped or clamped.
        let sentence = Sentence::decode(sent.as_bytes()).unwrap();
        kinds.insert(sent[..6].to_string());
        lines += 1;
        // 16 bits of CRC find every change of 8 bits in a row: what is still taken is what was sent.
        every(sent.as_bytes(), true, &mut looked, |bytes| match Sentence::decode(bytes) {
            Ok(taken) => {
                assert_eq!(taken, sentence, "{}", bytes.escape_ascii());
                true
            }
            Err(e) => {
                line(&e.to_string());
                false
            }
        });
        // On the wire, before two others: nothing is made up, and the one after the next is always heard.
        every(sent.as_bytes(), true, &mut Looked::default(), |bytes| {
            let (mut assembler, mut heard) = (LineAssembler::default(), vec![]);
            let stream = [bytes, next.encode().as_bytes(), after.encode().as_bytes()].concat();
            assembler.feed(&stream, |line| heard.extend(Sentence::decode(line)));
            assert!(heard.iter().all(|s| [&sentence, &next, &after].contains(&s)), "{}: {heard:?}", stream.escape_ascii());
            assert_eq!(heard.last(), Some(&after), "{}", stream.escape_ascii());
            true
        });
    }
    let Looked { cut, changed, good } = looked;
    let kinds = kinds.into_iter().collect::<Vec<_>>().join(" ");
    println!(
        "sentence: {lines} lines ({kinds}), {cut} truncations and {changed} single bytes, {good} still say the same, 0 another thing"
    );
}
