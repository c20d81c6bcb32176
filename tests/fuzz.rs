//! The promise: nothing that comes in from a wire, a card or a camera, however damaged, makes a parser panic, run on or ask for
//! memory that no file of its kind needs; and what it says about it is one line.
//!
//! One harness for every parser: files that are right are damaged by a generator that is the same every time, 10 000 times a parser
//! (`LOOKOUT_FUZZ_ROUNDS` for more: 10^5 in `.ci/run`, 10^7 before a release). A failure names target and round; `LOOKOUT_FUZZ_ROUND=N` runs that
//! one alone. The generator knows what breaks parsers: numbers at the ends of their types, lengths that lie, lines that
//! merge, parts of one file inside another. It has no view of the code, as cargo-fuzz has; it needs no nightly compiler.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test stops where something is missing and says what it saw")]

use lookout::blackbox::{Header, Recorder, checksum};
use lookout::board::Board;
use lookout::bundle::{Bundle, BundleError};
use lookout::config::Config;
use lookout::extra::rows::Lines;
use lookout::extra::{self, Extra, Table, nmea};
use lookout::novelty::normal::{self, Terms};
use lookout::onnx;
use lookout::pipeline::Before;
use lookout::report::ReportSpec;
use lookout::report::envelope::{Body, seal};
use lookout::report::queries::LineAssembler;
use lookout::report::sentence::{Query, Sentence};
use lookout::source::avi::Avi;
use lookout::source::clip::Clip;
use lookout::source::jpeg::Jpeg;
use lookout::source::open::Spec;
use lookout::source::picture::Picture;
use lookout::source::rows::Rows;
use lookout::source::shaped::Replay;
use lookout::source::{Payload, Rate, Shaped, Source, SourceError, Timestamp};
use lookout::store::{Record, policy};
use lookout::sys::alloc::{self, Counting};
use lookout::taught::lesson::{Example, Lesson, Step};
use lookout::taught::packed::Packed;
use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Most processor time for one input.
const TIME: Duration = Duration::from_secs(2);
/// Most memory asked for at once: the largest picture there may be in three planes is 120 MB.
const MEMORY: usize = 256 << 20;
/// Longest input: what matters in these formats stands in their first kilobytes.
const LONGEST: usize = 64 << 10;

/// The generator: xorshift, the same on every machine.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
    fn below(&mut self, n: usize) -> usize {
        (self.next() >> 16) as usize % n.max(1)
    }
    fn pick<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len())]
    }
}

/// Numbers in text that have broken parsers before.
const NUMBERS: [&str; 18] = [
    "0",
    "-1",
    "1",
    "255",
    "256",
    "65536",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551616",
    "1e999",
    "-0",
    "nan",
    "inf",
    "0.0000000000000000001",
    "00",
    "",
];
/// The same in bytes, either end first.
const WORDS: [u32; 8] = [0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0xffff_fffe, 0x0001_0000, 0x0000_ffff];

/// One to six changes.
fn damage(dice: &mut Dice, input: &mut Vec<u8>, other: &[u8]) {
    for _ in 0..1 + dice.below(6) {
        let at = dice.below(input.len() + 1);
        // Half of the changes go to the beginning, where the headers are.
        let at = if dice.below(2) == 0 { at.min(dice.below(256)) } else { at };
        let some = |dice: &mut Dice| {
            let most = if dice.below(4) == 0 { 200 } else { 8 };
            1 + dice.below(most)
        };
        match dice.below(11) {
            0..=2 if at < input.len() => input[at] ^= 1 << dice.below(8),
            3 if at < input.len() => input[at] = dice.next() as u8,
            4 if at < input.len() => input[at] = [0, 0xff, 0x7f, 0x80, b'\n', b',', b'"', b'=', b'[', b'*'][dice.below(10)],
            5 => input.truncate(at),
            6 => {
                let n = some(dice).min(input.len() - at);
                input.drain(at..at + n);
            }
            7 => {
                let new: Vec<u8> = (0..some(dice)).map(|_| dice.next() as u8).collect();
                input.splice(at..at, new);
            }
            8 => {
                // A stretch of the other file, or of this one once more.
                let from = if dice.below(2) == 0 { other.to_vec() } else { input.clone() };
                let begin = dice.below(from.len());
                let n = some(dice).min(from.len() - begin);
                input.splice(at..at, from[begin..begin + n].iter().copied());
            }
            9 => {
                // The number that stands at or after this place becomes another.
                let begin = input[at..].iter().position(u8::is_ascii_digit).map_or(at, |n| at + n);
                let n = input[begin..].iter().take_while(|b| b.is_ascii_digit() || **b == b'.').count();
                input.splice(begin..begin + n, dice.pick(&NUMBERS).bytes());
            }
            _ => {
                let word = WORDS[dice.below(WORDS.len())];
                let bytes = if dice.below(2) == 0 { word.to_le_bytes() } else { word.to_be_bytes() };
                let end = (at + 4).min(input.len());
                input.splice(at..end, bytes);
            }
        }
    }
    input.truncate(LONGEST);
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Runs one parser on damaged copies of its seeds.
fn fuzz(target: &str, seeds: &[Vec<u8>], mut read: impl FnMut(&[u8])) {
    let rounds = number("LOOKOUT_FUZZ_ROUNDS").unwrap_or(10_000);
    let only = number("LOOKOUT_FUZZ_ROUND");
    for seed in seeds {
        read(seed);
    }
    let (mut failures, mut longest, mut largest) = (vec![], Duration::ZERO, 0);
    let begun = Instant::now();
    for round in only.map_or(0..rounds, |n| n..n + 1) {
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15 ^ (round + 1).wrapping_mul(0xd134_2543_de82_ef95));
        dice.next();
        let mut input = seeds[dice.below(seeds.len())].clone();
        let other = &seeds[dice.below(seeds.len())];
        damage(&mut dice, &mut input, other);
        if only.is_some() {
            println!("{target}: {}", input.escape_ascii());
        }
        alloc::take_largest();
        let start = cpu_time();
        let done = catch_unwind(AssertUnwindSafe(|| read(&input)));
        let (time, memory) = (cpu_time().saturating_sub(start), alloc::take_largest());
        (longest, largest) = (longest.max(time), largest.max(memory));
        if done.is_err() || time > TIME || memory > MEMORY {
            let how = if done.is_err() { "panicked".into() } else { format!("took {time:?} and {memory} bytes at once") };
            failures.push(format!("{target} round {round} {how}: {}", input[..input.len().min(200)].escape_ascii()));
        }
    }
    let (ms, mib) = (longest.as_secs_f64() * 1e3, largest as f64 / f64::from(1 << 20));
    let n = if only.is_some() { 1 } else { rounds };
    println!(
        "{target}: {n} inputs in {:.0} s, {} failures, at most {ms:.1} ms and {mib:.1} MiB at once",
        begun.elapsed().as_secs_f64(),
        failures.len()
    );
    failures.truncate(5);
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Processor time of this thread: a busy machine is not a slow parser.
fn cpu_time() -> Duration {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(t.tv_sec as u64, t.tv_nsec as u32)
}

/// What is said about a wrong file is one line that fits a console.
fn line(text: &str) {
    assert!(!text.contains(['\n', '\r', '\0', '\x1b']) && (3..2000).contains(&text.len()), "not one line: {text:?}");
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Files of the project, by suffix, in name order.
fn files(dir: &str, suffix: &str) -> Vec<Vec<u8>> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(root().join(dir)).unwrap().map(|e| e.unwrap().path()).collect();
    paths.retain(|p| p.is_file() && p.to_string_lossy().ends_with(suffix));
    paths.sort();
    assert!(!paths.is_empty(), "{dir} has no {suffix}");
    paths.iter().map(|p| std::fs::read(p).unwrap()).collect()
}

/// The same file of every bundle in `tests/bundles` that has it.
fn of_bundles(name: &str) -> Vec<Vec<u8>> {
    let mut dirs: Vec<PathBuf> = std::fs::read_dir(root().join("tests/bundles")).unwrap().map(|e| e.unwrap().path()).collect();
    dirs.sort();
    dirs.iter().filter_map(|d| std::fs::read(d.join(name)).ok()).collect()
}

fn texts(all: &[&str]) -> Vec<Vec<u8>> {
    all.iter().map(|t| t.as_bytes().to_vec()).collect()
}

/// Right sentences of every kind, as in the grammar's own text and in the README.
fn sentences() -> Vec<Vec<u8>> {
    texts(&[
        "$PLKTC,3,2100,0,idle,0.001,12,0,8436*51\r\n",
        "$PLKTE,4,S,right,1900,300,0.995,C9DC*00\r\n",
        "$PLKTE,10,E,right,1900,2700,0.996,9246*62\r\n",
        "$PLKTP,5,2100,right,250,500,125,300,41A3*75\r\n",
        "$PLKTQ,STATUS,5333*40\r\n",
        "$PLKTQ,VERSION,1DA6*0A\r\n",
        "$PLKTQ,LABELS,FDDD*45\r\n",
        "$PLKTQ,BUNDLE,FAD7*32\r\n",
    ])
}

#[test]
fn sentences_and_query_lines() {
    let mut read = 0u64;
    fuzz("sentence", &sentences(), |bytes| {
        let mut assembler = LineAssembler::default();
        // In pieces, as a wire gives them.
        for piece in bytes.chunks(7) {
            assembler.feed(piece, |line| {
                if let Ok(sentence) = Sentence::decode(line) {
                    read += 1;
                    let again = sentence.encode();
                    assert_eq!(again.trim_end().as_bytes(), line, "one value has one spelling");
                }
            });
        }
        if let Err(e) = Sentence::decode(bytes) {
            line(&e.to_string());
        }
    });
    println!("sentence: {read} of them were still right");
    // The two checksums refuse nearly all of those: here what they enclose is damaged, and both are right.
    let bodies = sentences().iter().map(|s| s[1..s.len() - 10].to_vec()).collect::<Vec<_>>();
    let mut read = 0u64;
    fuzz("sealed sentence", &bodies, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let Ok(body) = Body::try_from(&*text) else { return };
        let sealed = seal(&body);
        match Sentence::decode(sealed.trim_end().as_bytes()) {
            // Intact, and not known here: it is answered so, and not said again.
            Ok(Sentence::Query(Query::Unknown)) => {}
            Ok(sentence) => {
                read += 1;
                assert_eq!(sentence.encode(), sealed, "one value has one spelling");
            }
            Err(e) => line(&e.to_string()),
        }
    });
    println!("sealed sentence: {read} of them still say something");
}

/// What a receiver says, checksum left to the harness: sentences of several talkers and makers.
const RECEIVER: [&str; 8] = [
    "GPRMC,123519,A,4807.038,N,01131.000,E,022.4,084.4,230394,003.1,W",
    "GNRMC,120000.00,A,4807.03800,N,01131.00000,E,12.345,84.40,221126,,,A,V",
    "GNRMC,120000.00,V,,,,,,,221126,,,N",
    "GPVTG,054.7,T,034.4,M,005.5,N,010.2,K",
    "GLVTG,,T,,M,0.012,N,0.022,K,D",
    "GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,",
    "PUBX,00,081350.00,4717.113210,N,00833.915187,E,546.589,G3,2.1,2.0,0.007,77.52,0.007,,0.92,1.19,0.77,9,0,0",
    "GPGSV,3,1,11,03,03,111,00,04,15,270,00,06,01,010,00,13,06,292,00",
];

#[test]
fn sentences_of_a_receiver() {
    let sealed = |body: &[u8]| {
        let sum = body.iter().fold(0, |sum, b| sum ^ b);
        [b"$", body, format!("*{sum:02X}\r\n").as_bytes()].concat()
    };
    // Damaged after it was sealed: whatever is still taken is what was sent.
    let sent: Vec<_> = RECEIVER.map(|body| nmea::motion(sealed(body.as_bytes()).trim_ascii_end())).into();
    let right = |motion: &nmea::Motion| {
        motion[0].is_none_or(|v| (0.0..=600.0).contains(&v)) && motion[1].is_none_or(|c| (0.0..=360.0).contains(&c))
    };
    let (mut heard, mut taken, mut other) = (0u64, 0u64, 0u64);
    fuzz("receiver", &RECEIVER.map(|body| sealed(body.as_bytes())), |bytes| {
        let mut assembler = LineAssembler::default();
        for piece in bytes.chunks(7) {
            assembler.feed(piece, |line| {
                heard += 1;
                if let Some(motion) = nmea::motion(line) {
                    taken += 1;
                    other += u64::from(!sent.contains(&Some(motion)));
                    assert!(right(&motion), "{motion:?}");
                }
            });
        }
    });
    println!(
        "figure: of {heard} damaged lines of a receiver {taken} taken, {other} with other numbers (an 8-bit sum lets through 1 in 256)"
    );
    assert!(other * 256 <= heard, "{other} of {heard}");
    // Damaged before it was sealed: the sum is right, the fields are anything.
    fuzz("sealed receiver", &RECEIVER.map(|body| body.as_bytes().to_vec()), |bytes| {
        if let Some(motion) = nmea::motion(sealed(bytes).trim_ascii_end()) {
            assert!(right(&motion), "{motion:?}");
        }
    });
}

#[test]
fn extras_and_where_they_come_from() {
    fuzz("rows of extras", &texts(&["0.1 90\n# x\n1,nan;3\r\n", "a b\n1e9 -3\n\n7\n"]), |bytes| {
        let mut lines = Lines::default();
        bytes.chunks(5).for_each(|piece| lines.feed(piece, &mut |row| assert!(!row.is_empty() && row.len() <= 512)));
    });
    fuzz("spec of an extra", &texts(&["nmea:/dev/ttyUSB0,9600,speed", "rows:/run/imu,3", "none"]), |bytes| {
        if let Err(e) = extra::Spec::read("speed", &String::from_utf8_lossy(bytes)) {
            line(&e);
        }
    });
    let file = std::env::temp_dir().join(format!("lookout-fuzz-{}.extra.csv", std::process::id()));
    let seeds = texts(&["ms,speed,course\n0,12.4,88.0\n250,,88.5\n1000,nan,nan\n"]);
    fuzz("table of extras", &seeds, |bytes| {
        std::fs::write(&file, bytes).unwrap();
        if let Ok(mut table) = Table::read(&file, &[Extra::named("speed")]) {
            let all = lookout::source::Timestamp(u64::MAX);
            table.feed(Default::default(), all, |which, _| assert_eq!(which, 0));
        }
    });
    std::fs::remove_file(file).unwrap();
}

#[test]
fn configurations() {
    let example = std::fs::read_to_string(root().join("board/lookout.toml")).unwrap();
    let all: String = example
        .lines()
        .map(|l| format!("{}\n", l.strip_prefix('#').filter(|t| t.contains(" = ") || t.starts_with('[')).unwrap_or(l)))
        .collect();
    fuzz("config", &[example.into_bytes(), all.into_bytes(), b"[install]\nkeys = [\"RWQ\"]\n".to_vec()], |bytes| {
        if let Err(e) = Config::parse("lookout.toml", &String::from_utf8_lossy(bytes)) {
            line(&e.to_string());
        }
    });
}

#[test]
fn board_files() {
    let mut seeds = files("board", ".toml");
    seeds.retain(|s| s.windows(9).any(|w| w == b"[camera]\n"));
    fuzz("board", &seeds, |bytes| {
        if let Err(e) = Board::parse("host", &String::from_utf8_lossy(bytes)) {
            line(&e);
        }
    });
}

#[test]
fn contracts() {
    let missing = |name: &str| BundleError { bundle: "b".into(), why: format!("{name}: not there") };
    fuzz("bundle.toml", &of_bundles("bundle.toml"), |bytes| {
        let read = |name: &str| if name == "bundle.toml" { Ok(bytes.to_vec()) } else { Err(missing(name)) };
        line(&Bundle::load("b", read).expect_err("its files are not there").to_string());
    });
}

/// Networks, the small ones first; the large ones cost more a round than they teach.
fn networks() -> Vec<Vec<u8>> {
    let mut all = of_bundles("head.onnx");
    all.extend(of_bundles("encoder.onnx"));
    all.sort_by_key(Vec::len);
    all.truncate(14);
    all
}

#[test]
fn networks_before_tract_sees_them() {
    let mut good = 0u64;
    fuzz("onnx", &networks(), |bytes| match onnx::parse(bytes) {
        Ok(_) => good += 1,
        Err(e) => line(&e),
    });
    println!("onnx: {good} of them would be shown to tract");
}

#[test]
fn every_truncation_and_every_single_byte_of_three_networks() {
    // All 255 others for each byte where a release is tried; else those that have broken parsers before.
    let every = number("LOOKOUT_FUZZ_ROUNDS").is_some_and(|n| n > 100_000);
    let (mut cut, mut changed, mut good) = (0, 0, 0);
    let mut look = |bytes: &[u8]| match onnx::parse(bytes) {
        Ok(_) => good += 1,
        Err(e) => line(&e),
    };
    for mut network in networks().into_iter().take(3) {
        for end in 0..network.len() {
            look(&network[..end]);
            cut += 1;
        }
        for at in 0..network.len() {
            let was = network[at];
            let few = [0, 1, 0x7f, 0x80, 0xff, was ^ 1, was ^ 4, was ^ 16, was.wrapping_add(1), was.wrapping_sub(1)];
            for value in (0..=255u8).filter(|v| *v != was && (every || few.contains(v))) {
                network[at] = value;
                look(&network);
                changed += 1;
            }
            network[at] = was;
        }
    }
    println!("onnx: {cut} truncations and {changed} single bytes, {good} would be shown to tract, 0 panics");
}

#[test]
fn golden_vectors() {
    let mut seeds = of_bundles("golden_logits.npy");
    seeds.extend(of_bundles("golden_windows.npy").into_iter().map(|mut s| {
        s.truncate(4000);
        s
    }));
    fuzz("npy", &seeds, |bytes| {
        let _ = lookout::golden::array::<f32>(bytes).map_err(|e| line(&e));
        let _ = lookout::golden::array::<u8>(bytes).map_err(|e| line(&e));
    });
}

/// Reads a source to its end, which must come.
fn play(source: Result<impl Source, SourceError>, bytes: usize) {
    let mut source = match source {
        Ok(source) => source,
        Err(e) => return line(&e.to_string()),
    };
    for _ in 0..bytes + 2 {
        match source.next() {
            Ok(None) => return,
            Ok(Some(frame)) => {
                if let Payload::Row(row) = frame.payload {
                    assert!(!row.is_empty());
                }
            }
            Err(e) => {
                line(&e.to_string());
                if matches!(e, SourceError::Refused { .. }) {
                    return;
                }
            }
        }
    }
    panic!("no end");
}

#[test]
fn what_was_taught_and_learnt() {
    let example = Example { from: "wire".into(), traces: vec![Packed::round(&[0.5, -0.25, 0.0, 0.125]); 2] };
    let mut lesson = Lesson::new("00aa", None);
    lesson.push(Step::Shown { label: "wave".into(), examples: vec![example] });
    lesson.push(Step::Forgotten { label: "wave".into() });
    let mut ordinary = std::fs::read(root().join("models/motion/ordinary.json")).unwrap();
    ordinary.truncate(LONGEST);
    let seeds = [lesson.text().into_bytes(), ordinary];
    fuzz("lesson", &seeds, |bytes| {
        if let Err(e) = Lesson::parse(bytes) {
            line(&e);
        }
    });
    let file = std::env::temp_dir().join(format!("lookout-fuzz-{}-novelty.json", std::process::id()));
    let mut dice = Dice(7);
    let rows = (0..2 * 3000).map(|_| dice.below(100) as f32 / 100.0).collect();
    let learnt = normal::learn("00aa", 2, &[rows], &Terms { hidden: 4, each: true, ..Terms::new(100, 0) }, None).unwrap();
    lookout::store::novelty::write(&file, &learnt).unwrap();
    fuzz("novelty", &[std::fs::read(&file).unwrap()], |bytes| {
        std::fs::write(&file, bytes).unwrap();
        if let Err(e) = lookout::store::novelty::read(&file) {
            line(&e);
        }
    });
    std::fs::remove_file(&file).unwrap();
}

#[test]
fn y4m_clips() {
    let seeds: Vec<Vec<u8>> = files("tests/golden/sources", ".y4m").into_iter().filter(|s| s.len() < 20_000).collect();
    fuzz("y4m", &seeds, |bytes| play(Clip::from_reader("t", Cursor::new(bytes.to_vec())), bytes.len()));
}

#[test]
fn clips_of_the_black_box() {
    let header = Header { bundle: "00aa".into(), tick_ms: 100, tick_bytes: 8, label: "right".into(), ..Header::default() };
    let seeds = [false, true].map(|rows| {
        let mut recorder = Recorder::new(Header { rows, extra: rows.into(), ..header.clone() }, 5, Before::default());
        for n in 0..7 {
            let planes = Shaped::Planes { levels: &[n as u8; 8], picture: (4, 2) };
            let news = if rows { Shaped::Row(&[n as f32, 0.5]) } else { planes };
            recorder.keep(Timestamp::from_ms(n * 100), if n % 3 == 2 { Shaped::Same } else { news }, &[n as f32, 1.0]);
        }
        let mut clip = vec![];
        recorder.write("right", 300, &mut clip);
        clip.extend_from_slice(&checksum(&clip).to_le_bytes());
        clip
    });
    let bundle = ("00aa".to_string(), 8);
    for seed in &seeds {
        assert!(Replay::read("t", seed.clone(), Some(&bundle)).is_ok());
    }
    fuzz("black box", &seeds, |bytes| play(Replay::read("t", bytes.to_vec(), Some(&bundle)), bytes.len()));
}

#[test]
fn avi_clips() {
    fuzz("avi", &files("tests/golden/sources", ".avi"), |bytes| {
        play(Avi::from_reader("t", Cursor::new(bytes.to_vec()), false), bytes.len());
    });
}

#[test]
fn jpeg_frames_of_a_camera() {
    let mut jpeg = Jpeg::luma_only();
    fuzz("mjpeg", &files("tests/golden/sources", ".jpg"), |bytes| {
        if let Err(e) = jpeg.decode(bytes) {
            line(&e.to_string());
        }
    });
}

/// The same PNG with the checksums of its chunks made right: else they refuse nearly everything.
fn whole_png(bytes: &[u8]) -> Vec<u8> {
    let (mut out, mut at) = (bytes.to_vec(), 8);
    while let Some(length) = out.get(at..at + 4) {
        let end = at + 8 + u32::from_be_bytes([length[0], length[1], length[2], length[3]]) as usize;
        if !bytes.starts_with(b"\x89PNG") || end + 4 > out.len() {
            break;
        }
        let sum = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(&out[at + 4..end]);
        out[end..end + 4].copy_from_slice(&sum.to_be_bytes());
        at = end + 4;
    }
    out
}

#[test]
fn pictures() {
    let mut seeds = files("tests/golden/sources", ".png");
    seeds.extend(files("tests/golden/sources", "grey8.pgm"));
    seeds.extend(files("tests/golden/sources", ".ppm"));
    let (mut picture, mut good) = (Picture::new(false), 0u64);
    fuzz("picture", &seeds, |bytes| match picture.decode(&whole_png(bytes)) {
        Ok(_) => good += 1,
        Err(e) => line(&e.to_string()),
    });
    println!("picture: {good} of them still show something");
}

#[test]
fn rows_of_numbers() {
    let seeds = texts(&["time, x, y\n# three columns\n1 2 3\n4,5,nan\n-1e-3;+7;.5\n\n7 8 9 # end\n", "1\t2\n3\t4\n"]);
    fuzz("rows", &seeds, |bytes| {
        play(Ok(Rows::from_reader("t", Cursor::new(bytes.to_vec()), Rate::per_tick(100), None)), bytes.len())
    });
}

#[test]
fn words_for_sources_and_reports() {
    let seeds = texts(&[
        "pipe:-,nv12,640x480@30",
        "v4l2:/dev/video0,640x480@30,mjpg",
        "frames:/x@25",
        "features:-",
        "avi:/x.avi",
        "faulty:3:drop=0.1,repeat=0.2:y4m:/x.y4m",
        "serial:/dev/ttyAMA0,115200",
        "json:-",
        "file:/x",
        "gpio",
    ]);
    fuzz("spec", &seeds, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        // What is said quotes what was written: line ends in it are the writer's own.
        let one_line = !text.contains(|c: char| c.is_control());
        match text.parse::<Spec>() {
            Ok(spec) => assert_eq!(spec.to_string().parse::<Spec>().unwrap().to_string(), spec.to_string()),
            Err(e) if one_line && text.len() < 1000 => line(&e.to_string()),
            Err(_) => {}
        }
        match text.parse::<ReportSpec>() {
            Err(e) if one_line && text.len() < 1000 => line(&e.to_string()),
            _ => {}
        }
    });
}

#[test]
fn records_and_signatures() {
    let (a, b) = ("a".repeat(64), "b".repeat(64));
    let record = format!("# x\ncurrent = \"{a}\"\nprevious = \"{b}\"\n\n[floor]\nmotion = \"1.2.0\"\n").into_bytes();
    let signature = std::fs::read(root().join("tests/golden/signed/1.2.0.toml.minisig")).unwrap();
    let contract = std::fs::read(root().join("tests/golden/signed/1.2.0.toml")).unwrap();
    let key = std::fs::read_to_string(root().join("tests/golden/signed/box.pub")).unwrap().trim().to_string();
    let keys = [key.clone()];
    let mut accepted = 0u64;
    fuzz("record", &[record], |bytes| {
        if let Err(e) = Record::parse(bytes) {
            line(&e);
        }
    });
    fuzz("signature", std::slice::from_ref(&signature), |bytes| {
        match policy::verify(&contract, &String::from_utf8_lossy(bytes), &keys) {
            // The first line, the untrusted comment, is not signed.
            Ok(()) => accepted += 1,
            Err(e) => line(&e),
        }
        let _ = policy::check_key(&String::from_utf8_lossy(bytes));
    });
    let mut forged = 0u64;
    fuzz("signed contract", std::slice::from_ref(&contract), |bytes| {
        forged += u64::from(bytes != contract && policy::verify(bytes, &String::from_utf8_lossy(&signature), &keys).is_ok());
    });
    println!("signature: {accepted} damaged ones still hold (their untrusted comment), {forged} changed contracts were accepted");
    assert_eq!(forged, 0);
}
