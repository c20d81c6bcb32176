//! The promise: what was seen around an event is kept, replays to the same answers, stays within its bound, is whole after
//! SIGKILL, and is never in the way of reports.
//!
//! The built-in clip through the real `lookout run` with a file for a camera, and its clips through `run` and `classify`.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test stops where something is missing and says what it saw")]

use lookout::baked;
use lookout::blackbox::writer::{BlackBox, EXTENSION, Wish};
use lookout::blackbox::{Header, Recorder};
use lookout::pipeline::{Options, Pipeline, Probe};
use lookout::report::ClassId;
use lookout::report::sentence::Sentence;
use lookout::source::ahead::Ahead;
use lookout::source::open::{self, Spec};
use lookout::source::scene::{Play, Scene};
use lookout::source::{Payload, Shaped, Timestamp};
use lookout::sys::alloc::{Counting, count};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// An empty folder.
fn folder(name: &str) -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("blackbox-{name}"));
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).unwrap();
    dir
}

fn lookout(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lookout")).args(args).stdin(Stdio::null()).output().unwrap()
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

#[test]
fn a_clip_replays_to_the_same_probabilities_bit_for_bit_and_the_same_sentences() {
    let (dir, bundle) = (folder("same"), baked::bundle().unwrap());
    let film = film(&dir, Play::Script);
    let kept = dir.join("kept");
    let box_dir = kept.display().to_string();
    let run = ["run", "--board", "host", "--report", "stdout", "--source"];
    let live = lookout(&[&run[..], &[&film, "--blackbox", &box_dir]].concat());
    let live_said = said(&live);
    // What is kept changes nothing that is said.
    assert_eq!(lookout(&[&run[..], &[&film]].concat()).stdout, live.stdout);
    let clips = clips(&kept);
    let starts = live_said.iter().filter(|s| s.starts_with("$PLKTE,S,")).count();
    println!("{starts} events, {} clips", clips.len());
    assert!(clips.len() >= 5 && starts >= clips.len());

    // Live, tick by tick.
    let mut ticks = Ticks::default();
    let mut pipeline = Pipeline::new(&bundle, &Options::default()).unwrap();
    let mut scene = Ahead::new(Box::new(Scene::new(1)));
    while let Some((frame, until)) = scene.read().unwrap() {
        match until {
            Some(until) => pipeline.step(&frame, until, &mut ticks, &mut |_| {}).unwrap(),
            None => pipeline.finish(Some(&frame), &mut ticks, &mut |_| {}).unwrap(),
        }
    }
    let (mut same, mut events) = (0, 0);
    for clip in &clips {
        let path = clip.display().to_string();
        let source = open::open(&path.parse::<Spec>().unwrap(), &open::Options::for_bundle(&bundle)).unwrap();
        let mut again = Ticks::default();
        let mut pipeline = Pipeline::new(&bundle, &Options::default()).unwrap();
        let mut source = Ahead::new(source);
        while let Some((frame, until)) = source.read().unwrap() {
            match until {
                Some(until) => pipeline.step(&frame, until, &mut again, &mut |_| {}).unwrap(),
                None => pipeline.finish(Some(&frame), &mut again, &mut |_| {}).unwrap(),
            }
        }
        assert!(again.0.len() > 30, "{path}: {} ticks decided", again.0.len());
        for (at, (p, _)) in &again.0 {
            assert_eq!(Some(p), ticks.0.get(at).map(|(p, _)| p), "{path} at {at} ms");
            same += 1;
        }
        // The event for which it was written, and every other that begins and ends in it.
        let replayed = said(&lookout(&[&run[..], &[path.as_str()]].concat()));
        let label = clip.file_stem().unwrap().to_str().unwrap().split_once('-').unwrap().1.to_string();
        let start: Vec<&String> =
            replayed.iter().filter(|s| s.starts_with(&format!("$PLKTE,S,{label},")) && live_said.contains(s)).collect();
        assert!(!start.is_empty(), "{path}: {replayed:?}");
        events += start.len();
        let json = lookout(&["classify", "--json", &path]);
        assert!(json.status.success() && String::from_utf8_lossy(&json.stdout).contains(&format!("\"label\":\"{label}\"")));
    }
    println!("{same} ticks of {} clips have the same probabilities to the last bit; {events} events begin the same", clips.len());
    // Another bundle's, and what is no recording's business, end in a sentence.
    let path = clips[0].display().to_string();
    let out = lookout(&["classify", "--bundle", "tests/bundles/resnet", &path]);
    assert_eq!(out.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&out.stderr).contains("kept with bundle"), "{}", String::from_utf8_lossy(&out.stderr));
    assert_eq!(lookout(&["classify", &format!("faulty:drop=0.1:blackbox:{path}")]).status.code(), Some(2));
}

#[test]
fn a_torn_clip_is_read_up_to_its_tear_and_a_damaged_one_is_refused() {
    let dir = folder("torn");
    let film = film(&dir, Play::Script);
    let kept = dir.join("kept").display().to_string();
    lookout(&["run", "--board", "host", "--report", "stdout", "--source", &film, "--blackbox", &kept]);
    let clip = clips(Path::new(&kept))[1].clone();
    let bytes = fs::read(&clip).unwrap();
    let bundle = baked::bundle().unwrap();
    let open = |bytes: &[u8]| {
        fs::write(dir.join("t.lkb"), bytes).unwrap();
        let spec: Spec = dir.join("t.lkb").display().to_string().parse().unwrap();
        open::open(&spec, &open::Options::for_bundle(&bundle))
    };
    let all = open(&bytes).unwrap().len_hint().unwrap();
    let half = open(&bytes[..bytes.len() / 2]).unwrap().len_hint().unwrap();
    println!("{all} ticks, {half} in the first half of the bytes");
    assert!(half < all && half > all / 4);
    // Every length: opened or refused, never a panic.
    for n in (0..bytes.len()).step_by(bytes.len() / 97).chain(0..400).chain(bytes.len() - 20..bytes.len()) {
        if let Ok(source) = open(&bytes[..n]) {
            assert!(source.len_hint().unwrap() <= all);
        }
    }
    let mut damaged = bytes.clone();
    damaged[bytes.len() / 2] ^= 1;
    let why = open(&damaged).err().unwrap().to_string();
    assert!(why.contains("checksum") || why.contains("damaged"), "{why}");
}

#[test]
fn clips_stay_within_their_bound_and_the_oldest_go_first() {
    let dir = folder("bound");
    let kept = dir.join("kept");
    let wish = Wish { dir: kept.clone(), before: 20, after: 2, limit: 1 << 20, patient: true };
    let mut blackbox = BlackBox::start(header(), wish).unwrap();
    let planes = vec![7u8; header().tick_bytes];
    let label = "right".try_into().unwrap();
    for n in 0..600u64 {
        let at = Timestamp::from_ms(n * 100);
        blackbox.taken(at, Shaped::Planes { levels: &planes, picture: (320, 240) }, n == 0);
        if n % 20 == 19 {
            blackbox.press(&label, at);
        }
        let all: u64 = clips(&kept).iter().filter_map(|c| fs::metadata(c).ok()).map(|m| m.len()).sum();
        assert!(all <= 1 << 20, "{all} bytes");
    }
    blackbox.close(Duration::from_secs(5));
    let left = clips(&kept);
    let names: Vec<&str> = left.iter().filter_map(|c| c.file_name()?.to_str()).collect();
    println!("30 events, {names:?} left in 1 MiB");
    assert!(names.len() == 2 && names[1].starts_with("000029-right"), "{names:?}");
}

#[test]
fn a_tick_allocates_nothing() {
    let mut recorder = Recorder::new(header(), 100);
    let planes = vec![7u8; header().tick_bytes];
    let mut clip = Vec::with_capacity(recorder.max_bytes());
    let (before, start) = (count(), Instant::now());
    for n in 0..1000u64 {
        let tick = if n % 3 == 0 { Shaped::Same } else { Shaped::Planes { levels: &planes, picture: (320, 240) } };
        recorder.keep(Timestamp(n), tick);
    }
    let spent = start.elapsed();
    recorder.write("right", 1, &mut clip);
    let allocated = count() - before;
    println!("{:.2} us a tick, {allocated} allocations", spent.as_secs_f64() * 1e3);
    assert_eq!(allocated, 0);
}

#[test]
fn after_sigkill_there_are_only_whole_clips() {
    let dir = folder("kill");
    let film = film(&dir, Play::Busy);
    let (kept, bundle) = (dir.join("kept"), baked::bundle().unwrap());
    let config = dir.join("lookout.toml");
    fs::write(&config, "[blackbox]\nseconds_before = 3\nseconds_after = 0\n").unwrap();
    let (mut whole, mut killed) = (0, 0);
    for n in 0..12u64 {
        let mut child = Command::new(env!("CARGO_BIN_EXE_lookout"))
            .args(["run", "--board", "host", "--report", "stdout", "--source", &film, "--config", &config.display().to_string()])
            .args(["--blackbox", &kept.display().to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // As soon as something is being written, at another moment each time.
        let until = Instant::now() + Duration::from_secs(20);
        let before = fs::read_dir(&kept).map_or(0, Iterator::count);
        while fs::read_dir(&kept).map_or(0, Iterator::count) <= before
            && child.try_wait().unwrap().is_none()
            && Instant::now() < until
        {
            std::thread::yield_now();
        }
        std::thread::sleep(Duration::from_micros(n * 300));
        killed += u32::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
        for clip in clips(&kept) {
            let bytes = fs::read(&clip).unwrap();
            let end = bytes.len() - 4;
            assert_eq!(lookout::blackbox::checksum(&bytes[..end]).to_le_bytes(), bytes[end..], "{}", clip.display());
            let source = open::open(&clip.display().to_string().parse().unwrap(), &open::Options::for_bundle(&bundle));
            assert!(source.is_ok());
            whole += 1;
        }
    }
    println!("killed {killed} times of 12; {whole} clips looked at, all whole");
    assert!(killed >= 6 && whole > 0);
    // What was left half written is gone after the next start.
    lookout(&["run", "--board", "host", "--report", "stdout", "--source", &film, "--blackbox", &kept.display().to_string()]);
    assert!(fs::read_dir(&kept).unwrap().all(|e| !e.unwrap().file_name().to_string_lossy().ends_with(".part")));
}

#[test]
fn a_full_disk_is_said_once_and_reports_go_on() {
    let dir = folder("full");
    let film = film(&dir, Play::Script);
    let run = |limit: &str, kept: &Path| {
        let line = format!("{limit} exec \"$0\" run --board host --report stdout --source \"$1\" --blackbox \"$2\"");
        let program = env!("CARGO_BIN_EXE_lookout");
        Command::new("bash")
            .args(["-c", &line, program, &film, &kept.display().to_string()])
            .stdin(Stdio::null())
            .output()
            .unwrap()
    };
    // No file may be longer than 64 KiB: what a full disk does, a write that fails in the middle. `trap` keeps the signal from ending it.
    let full = run("trap '' XFSZ; ulimit -f 64;", &dir.join("kept"));
    let free = run("", &dir.join("free"));
    assert!(full.status.success());
    assert_eq!(full.stdout, free.stdout, "reports go on");
    let log = String::from_utf8_lossy(&full.stderr);
    assert_eq!(log.lines().filter(|l| l.contains("reports go on")).count(), 1, "{log}");
    assert_eq!(fs::read_dir(dir.join("kept")).unwrap().count(), 0, "nothing half written is left");
    assert!(clips(&dir.join("free")).len() >= 5);
}

/// Events of the pipeline are what opens a clip; rows of numbers have them too.
#[test]
fn rows_of_numbers_are_kept_and_replayed_as_well() {
    let (dir, bundle) = (folder("rows"), "tests/bundles/rows-lstm");
    let its = lookout::bundle::Bundle::open(Path::new(bundle)).unwrap();
    let kept = dir.join("kept");
    let wish = Wish { dir: kept.clone(), before: 40, after: 10, limit: 1 << 20, patient: true };
    let (tick_ms, tick_bytes) = (its.contract.time.tick_ms, its.tick_bytes());
    let header = Header { bundle: its.hash.clone(), tick_ms, tick_bytes, rows: true, ..Header::default() };
    let mut both = (BlackBox::start(header, wish).unwrap(), Ticks::default());
    let mut pipeline = Pipeline::new(&its, &Options::default()).unwrap();
    let width = its.features();
    for n in 0..100u32 {
        let row: Vec<f32> = (0..width as u32).map(|k| ((n * 31 + k * 7) % 97) as f32 / 48.5 - 1.0).collect();
        let at = |n: u32| Timestamp::from_ms(u64::from(n * tick_ms));
        let frame = lookout::source::Frame { at: at(n), seq: lookout::source::Seq(n), payload: Payload::Row(&row) };
        pipeline.step(&frame, at(n + 1), &mut both, &mut |_| {}).unwrap();
        if n == 70 {
            both.0.press(&"idle".try_into().unwrap(), at(n));
        }
    }
    both.0.close(Duration::from_secs(5));
    let clip = clips(&kept)[0].display().to_string();
    let mut source = Ahead::new(open::open(&clip.parse().unwrap(), &open::Options::for_bundle(&its)).unwrap());
    let (mut again, mut pipeline) = (Ticks::default(), Pipeline::new(&its, &Options::default()).unwrap());
    while let Some((frame, until)) = source.read().unwrap() {
        match until {
            Some(until) => pipeline.step(&frame, until, &mut again, &mut |_| {}).unwrap(),
            None => pipeline.finish(Some(&frame), &mut again, &mut |_| {}).unwrap(),
        }
    }
    println!("{} ticks of rows replayed", again.0.len());
    assert!(again.0.len() > 30 && again.0.iter().all(|(at, (p, _))| both.1.0.get(at).map(|(q, _)| q) == Some(p)));
}
