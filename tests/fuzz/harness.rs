//! The harness: right files are damaged by a generator that is the same every time, and a parser that panics, runs on or asks for too much is named
//! with the round that made it.
//!
//! The generator knows what breaks parsers: numbers at the ends of their types, lengths that lie, lines that merge, parts of one file inside another.
//! It has no view of the code, as cargo-fuzz has; it needs no nightly compiler.

use lookout::sys::alloc;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Most processor time for one input.
const TIME: Duration = Duration::from_secs(2);
/// Most memory asked for at once: the largest picture there may be in three planes is 120 MB.
const MEMORY: usize = 256 << 20;
/// Longest input: what matters in these formats stands in their first kilobytes.
pub const LONGEST: usize = 64 << 10;

/// The generator: xorshift, the same on every machine.
pub struct Dice(pub u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
    /// One of so many.
    pub fn below(&mut self, n: usize) -> usize {
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

/// A number in the environment.
pub fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Runs one parser on damaged copies of its seeds.
pub fn fuzz(target: &str, seeds: &[Vec<u8>], mut read: impl FnMut(&[u8])) {
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
pub fn line(text: &str) {
    assert!(!text.contains(['\n', '\r', '\0', '\x1b']) && (3..2000).contains(&text.len()), "not one line: {text:?}");
}

/// The project.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Files of the project, by suffix, in name order.
pub fn files(dir: &str, suffix: &str) -> Vec<Vec<u8>> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(root().join(dir)).unwrap().map(|e| e.unwrap().path()).collect();
    paths.retain(|p| p.is_file() && p.to_string_lossy().ends_with(suffix));
    paths.sort();
    assert!(!paths.is_empty(), "{dir} has no {suffix}");
    paths.iter().map(|p| std::fs::read(p).unwrap()).collect()
}

/// The same file of every bundle in `tests/bundles` that has it.
pub fn of_bundles(name: &str) -> Vec<Vec<u8>> {
    let mut dirs: Vec<PathBuf> = std::fs::read_dir(root().join("tests/bundles")).unwrap().map(|e| e.unwrap().path()).collect();
    dirs.sort();
    dirs.iter().filter_map(|d| std::fs::read(d.join(name)).ok()).collect()
}

/// Texts as files.
pub fn texts(all: &[&str]) -> Vec<Vec<u8>> {
    all.iter().map(|t| t.as_bytes().to_vec()).collect()
}

/// A folder for one target, empty; removed by whoever is done with it.
pub fn folder(name: &str) -> PathBuf {
    // Memory where there is some: half a million files would otherwise be written to a disk, and some of them flushed.
    let memory = Path::new("/dev/shm");
    let base = if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() };
    let dir = base.join(format!("lookout-fuzz-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    dir
}
