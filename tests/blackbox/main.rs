//! The promise: what was seen around an event is kept, replays to the same answers, stays within its bound, is whole after
//! SIGKILL, and is never in the way of reports. An alarm for what was never here before comes back with its clip.
//!
//! The built-in clip through the real `lookout run` with a file for a camera, and its clips through `run` and `classify`.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test stops where something is missing and says what it saw")]

mod kept;
#[path = "../program/mod.rs"]
mod program;
mod replay;

use lookout::baked;
use lookout::blackbox::Header;
use lookout::blackbox::writer::EXTENSION;
use lookout::pipeline::Probe;
use lookout::report::ClassId;
use lookout::report::sentence::Sentence;
use lookout::source::Timestamp;
use lookout::source::scene::{Play, Scene};
use lookout::sys::alloc::Counting;
use program::lookout;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Output;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// An empty folder.
fn folder(name: &str) -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("blackbox-{name}"));
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).unwrap();
    dir
}

/// The built-in clip as a file.
fn film(dir: &Path, play: Play) -> String {
    let file = dir.join("film.y4m");
    Scene::playing(1, play).write_y4m(&mut std::io::BufWriter::new(File::create(&file).unwrap())).unwrap();
    file.display().to_string()
}

/// Clips in a folder, oldest first.
fn clips(dir: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    all.retain(|p| p.extension().is_some_and(|e| e == EXTENSION));
    all.sort();
    all
}

/// Sentences without their number and checksum: address, then fields.
fn said(out: &Output) -> Vec<String> {
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8(out.stdout.clone()).unwrap();
    text.lines()
        .filter_map(|line| {
            Sentence::decode(line.as_bytes()).unwrap();
            let fields: Vec<&str> = line.split(',').collect();
            matches!(fields[0], "$PLKTC" | "$PLKTE").then(|| format!("{},{}", fields[0], fields[2..fields.len() - 1].join(",")))
        })
        .collect()
}

/// Probabilities by tick, to the bit.
#[derive(Default)]
struct Ticks(BTreeMap<u64, (Vec<u32>, u8)>);

impl Probe for Ticks {
    fn decided(&mut self, at: Timestamp, p: &[f32], class: ClassId) {
        self.0.insert(at.ms(), (p.iter().map(|v| v.to_bits()).collect(), class.0));
    }
}

fn header() -> Header {
    let bundle = baked::bundle().unwrap();
    let (tick_ms, tick_bytes) = (bundle.contract.time.tick_ms, bundle.tick_bytes());
    Header { bundle: bundle.hash, tick_ms, tick_bytes, ..Header::default() }
}
