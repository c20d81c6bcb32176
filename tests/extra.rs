//! The promise: numbers from other senses reach the answers on time, a sensor that goes away is marked as missing and comes back by
//! itself, and a recording with its table says what was said live.
//!
//! Real programs, ptys and FIFOs. The bundle is `tests/bundles/senses`: `lost` without a speed, `fast` above 5 m/s, `loud` above 50.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test stops where something is missing and says what it saw")]

mod program;

use lookout::bundle::Bundle;
use lookout::extra::{Table, Value};
use lookout::pipeline::{Options, Pipeline};
use lookout::source::{Frame, Image, Payload, PixelFormat, Seq, Timestamp};
use serialport::{SerialPort, TTYPort};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const BUNDLE: &str = "tests/bundles/senses";
/// What the bundle says: a speed older than this is missing.
const SPEED_AGE: Duration = Duration::from_millis(1500);

fn sealed(body: &str) -> String {
    format!("${body}*{:02X}\r\n", body.bytes().fold(0, |sum, b| sum ^ b))
}

/// A receiver's sentence at this speed in m/s.
fn rmc(speed: f32) -> String {
    sealed(&format!("GNRMC,120000.00,A,4807.038,N,01131.000,E,{:.2},084.4,221126,,,A", speed * 3600.0 / 1852.0))
}

struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("lookout-extra-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    fn fifo(&self, name: &str) -> PathBuf {
        program::fifo(self.0.join(name))
    }

    /// A new pty behind the name `tty`: the far end, and the near one held open.
    fn plug(&self) -> (TTYPort, TTYPort) {
        let (original, near) = TTYPort::pair().unwrap();
        // A clone is closed in programs that are started, which the original is not: they would keep the line up for ever.
        let mut far = original.try_clone_native().unwrap();
        drop(original);
        far.set_timeout(Duration::from_millis(200)).unwrap();
        let _ = fs::remove_file(self.0.join("tty"));
        std::os::unix::fs::symlink(near.name().unwrap(), self.0.join("tty")).unwrap();
        (far, near)
    }

    /// `lookout run` on a still camera at 20 frames a second, with this under `[extra]`.
    fn run(&self, extra: &str) -> Run {
        fs::write(self.0.join("lookout.toml"), format!("[extra]\n{extra}\n")).unwrap();
        let camera = self.fifo("camera");
        let stop = Arc::new(AtomicBool::new(false));
        let theirs = stop.clone();
        let source = format!("pipe:{},gray,32x32@20", camera.display());
        let child = program::command(&["run", "--board", "host", "--bundle", BUNDLE, "--source", &source])
            .args(["--config", &self.path("lookout.toml"), "--report", &format!("json:{}", self.path("said"))])
            .stderr(File::create(self.0.join("log")).unwrap())
            .spawn()
            .unwrap();
        let thread = std::thread::spawn(move || {
            let mut fifo = OpenOptions::new().write(true).open(camera).unwrap();
            while !theirs.load(Ordering::Relaxed) && fifo.write_all(&[128; 32 * 32]).is_ok() {
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        Run { said: self.0.join("said"), log: self.0.join("log"), child, stop, camera: Some(thread) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

struct Run {
    said: PathBuf,
    log: PathBuf,
    child: Child,
    stop: Arc<AtomicBool>,
    camera: Option<JoinHandle<()>>,
}

impl Run {
    fn class(&self) -> String {
        let said = fs::read_to_string(&self.said).unwrap_or_default();
        let objects = said.lines().rev().filter_map(|l| serde_json::from_str::<serde_json::Value>(l).ok());
        let mut classes = objects.filter(|o| o["type"] == "class");
        classes.next().and_then(|o| o["label"].as_str().map(String::from)).unwrap_or_default()
    }

    /// Waits until the class is `label`; how long that took.
    fn becomes(&self, label: &str) -> Duration {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(20) {
            if self.class() == label {
                return start.elapsed();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{label:?} expected, {:?} found\n{}", self.class(), fs::read_to_string(&self.log).unwrap_or_default());
    }

    /// The class stays `label` this long.
    fn stays(&self, label: &str, long: Duration) {
        let start = Instant::now();
        while start.elapsed() < long {
            assert_eq!(self.class(), label, "after {:?}", start.elapsed());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn log(&self, what: &str) -> usize {
        fs::read_to_string(&self.log).unwrap().matches(what).count()
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = self.camera.take().map(JoinHandle::join);
    }
}

/// Says the same five times a second, until dropped; what it says may be changed.
struct Talker {
    stop: Arc<AtomicBool>,
    speed: Arc<AtomicU32>,
    thread: Option<JoinHandle<TTYPort>>,
}

impl Talker {
    fn new(mut far: TTYPort, speed: f32) -> Self {
        let (stop, speed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(speed.to_bits())));
        let (ours, now) = (stop.clone(), speed.clone());
        let thread = std::thread::spawn(move || {
            while !ours.load(Ordering::Relaxed) {
                let text = format!("$GPGGA,chatter*00\r\n{}", rmc(f32::from_bits(now.load(Ordering::Relaxed))));
                let _ = far.write_all(text.as_bytes());
                std::thread::sleep(Duration::from_millis(200));
            }
            far
        });
        Self { stop, speed, thread: Some(thread) }
    }

    fn at(&self, speed: f32) {
        self.speed.store(speed.to_bits(), Ordering::Relaxed);
    }

    fn hush(mut self) -> TTYPort {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

#[test]
fn a_receiver_on_a_second_port_is_heard_grows_old_and_comes_back() {
    let place = Place::new("nmea");
    let (far, near) = place.plug();
    let run = place.run(&format!("speed = \"nmea:{},9600\"\naudio = \"none\"", place.path("tty")));
    run.becomes("lost");
    let talker = Talker::new(far, 2.0);
    let heard = run.becomes("idle");
    talker.at(10.0);
    let changed = run.becomes("fast");
    let mut far = talker.hush();
    let last = Instant::now();
    // What is damaged says nothing: a wrong checksum, half a sentence, two that ran into each other, noise.
    let slow = rmc(1.0);
    let flipped = slow.replace("4807.038", "4807.039");
    let (front, back) = slow.split_at(30);
    far.write_all(format!("{flipped}{front}\r\n{}{}\u{1}\u{7f}{back}", slow.trim_end(), rmc(1.5)).as_bytes()).unwrap();
    run.stays("fast", SPEED_AGE.saturating_sub(last.elapsed() + Duration::from_millis(100)));
    run.becomes("lost");
    let old = last.elapsed();
    println!(
        "figure: speed heard after {heard:?}, a change after {changed:?}, missing {old:?} after the last good sentence ({SPEED_AGE:?})"
    );
    assert!(old >= SPEED_AGE - Duration::from_millis(250), "{old:?}");
    // A sentence in two pieces is whole; then the receiver says that it does not know.
    let fast = rmc(9.0);
    far.write_all(&fast.as_bytes()[..20]).unwrap();
    std::thread::sleep(Duration::from_millis(150));
    far.write_all(&fast.as_bytes()[20..]).unwrap();
    run.becomes("fast");
    far.write_all(sealed("GNRMC,120000.00,V,,,,,,,221126,,,N").as_bytes()).unwrap();
    let void = run.becomes("lost");
    assert!(void < SPEED_AGE, "said at once, not by age: {void:?}");
    // Unplugged and plugged in again as another device behind the same name.
    let talker = Talker::new(far, 2.0);
    run.becomes("idle");
    drop((talker.hush(), near));
    run.becomes("lost");
    std::thread::sleep(Duration::from_millis(1500));
    let (far, _near) = place.plug();
    let talker = Talker::new(far, 2.0);
    let back = run.becomes("idle");
    talker.at(10.0);
    run.becomes("fast");
    println!("figure: back {back:?} after it was plugged in again, said {} times", run.log("what it gives is missing"));
    assert!(run.log("what it gives is missing") <= 2, "one cause, or two: went away, is not there");
    assert_eq!(run.log("heard again"), 1);
}

#[test]
fn a_writer_of_rows_dies_within_a_row_and_another_one_comes() {
    let place = Place::new("rows");
    let fifo = place.fifo("audio");
    let run = place.run(&format!("audio = \"rows:{},2\"", fifo.display()));
    run.becomes("lost");
    assert_eq!(run.log("extra.speed in the configuration does not say from where"), 1);
    for round in 0..2 {
        let mut writer = OpenOptions::new().write(true).open(&fifo).unwrap();
        let start = Instant::now();
        while run.class() != "loud" {
            assert!(start.elapsed() < Duration::from_secs(20), "round {round}: {}", run.class());
            writer.write_all(b"# level\n0.1 90\nthis is no row\n1\n").unwrap();
            std::thread::sleep(Duration::from_millis(50));
        }
        println!("figure: round {round}: loud after {:?}", start.elapsed());
        // Its last words are cut off.
        writer.write_all(b"0.1 9").unwrap();
        drop(writer);
        run.becomes("lost");
    }
}

#[test]
fn where_numbers_come_from_is_checked_before_anything_starts() {
    let place = Place::new("refused");
    for (text, why) in [
        ("speed = \"nmea:/dev/ttyUSB0,fast\"", "extra.speed = \"nmea:/dev/ttyUSB0,fast\", the baud rate has to be"),
        ("speed = \"nmea:/dev/null\"", "/dev/null: is not a serial port"),
        ("audio = \"rows:/tmp\"", "/tmp: is a folder"),
        ("audio = \"rows:/dev/null\"", "/dev/null: is neither a FIFO (mkfifo makes one) nor a file"),
        ("audio = \"rows:/dev/zero\"", "/dev/zero: is neither"),
        ("audio = 5", "line 2"),
    ] {
        let config = place.path("lookout.toml");
        fs::write(&config, format!("[extra]\n{text}\n")).unwrap();
        let source = format!("pipe:{},gray,32x32@20", place.fifo("camera").display());
        let out = program::lookout(&[
            "run", "--board", "host", "--bundle", BUNDLE, "--config", &config, "--source", &source, "--report", "stdout",
        ]);
        let said = String::from_utf8_lossy(&out.stderr).to_string();
        assert!(out.status.code() == Some(2) && said.contains(why), "{text}: {:?} {said}", out.status);
    }
}

/// What was said and when, for the pipeline on its own.
const SAID: [(u64, usize, Option<f32>); 12] = [
    (0, 0, Some(2.0)),
    (430, 1, Some(20.0)),
    (900, 1, Some(90.0)),
    (1000, 0, Some(9.0)),
    (1010, 1, Some(91.0)),
    (1200, 1, None),
    (2000, 0, Some(10.0)),
    (2990, 0, None),
    (3300, 0, Some(2.0)),
    (3990, 0, Some(1.0)),
    (4600, 1, Some(70.0)),
    (4601, 0, Some(8.0)),
];

/// Plays 8 seconds of 30 frames a second with `feed` for the ears, and says everything that was reported.
fn play(gate: bool, mut feed: impl FnMut(&mut Pipeline, Timestamp, Timestamp)) -> (Vec<String>, u32) {
    let bundle = Bundle::open(Path::new(BUNDLE)).unwrap();
    let mut pipeline = Pipeline::new(&bundle, &Options { gate, heartbeat: Duration::ZERO, ..Options::default() }).unwrap();
    let start = 77_000_000_123u64;
    let at = |n: u64| Timestamp(start + n * 33_333_333);
    let mut said = vec![];
    for n in 0..240u64 {
        // A still picture, for the gate; something moves in the fourth second.
        let level = if (120..150).contains(&n) { (n * 5 % 256) as u8 } else { 100 };
        let pixels = [level; 32 * 32];
        let image = Image::new(PixelFormat::Gray, 32, 32, 32, &pixels).unwrap();
        let frame = Frame { at: at(n), seq: Seq(n as u32), payload: Payload::Image(image) };
        feed(&mut pipeline, at(n), at(n + 1));
        pipeline.step(&frame, at(n + 1), &mut (), &mut |r| said.push(format!("{r:?}"))).unwrap();
    }
    (said, pipeline.counts().reused)
}

fn start_plus(ms: u64) -> Timestamp {
    Timestamp(77_000_000_123 + ms * 1_000_000)
}

#[test]
fn live_and_from_a_file_the_same_is_said_and_the_gate_changes_nothing() {
    let place = Place::new("same");
    let mut text = "ms,audio,speed\n".to_string();
    for (ms, which, value) in SAID {
        let value = value.map_or("nan".into(), |v| v.to_string());
        text += &if which == 0 { format!("{ms},,{value}\n") } else { format!("{ms},{value},\n") };
    }
    fs::write(place.path("t.csv"), text).unwrap();
    let bundle = Bundle::open(Path::new(BUNDLE)).unwrap();
    let mut table = Table::read(Path::new(&place.path("t.csv")), &bundle.contract.extra).unwrap();
    let (file, reused) = play(true, |pipeline, at, until| table.feed(at, until, |n, v| pipeline.sense(n, v)));
    // Live, what is handed over has run ahead of the frame in hand by up to 100 ms, and comes in lumps.
    let live = |lump: u64, gate| {
        let mut next = 0;
        play(gate, |pipeline, _, until| {
            while let Some((ms, which, value)) = SAID.get(next).filter(|s| start_plus(s.0 / lump * lump) <= until) {
                pipeline.sense(*which, Value { at: start_plus(*ms), value: *value });
                next += 1;
            }
        })
    };
    for lump in [1, 20, 100] {
        let (said, _) = live(lump, true);
        assert_eq!(said, file, "in lumps of {lump} ms");
    }
    let (ungated, none) = live(1, false);
    println!(
        "figure: {} reports live and from a file, equal; {reused} ticks with reused features (0 without the gate: {none})",
        file.len()
    );
    assert_eq!(ungated, file, "a still picture has the same answers");
    assert!(reused > 30 && none == 0, "{reused}");
    for label in ["\"idle\"", "\"fast\"", "\"lost\"", "\"loud\""] {
        assert!(file.iter().any(|r| r.contains(label)), "{label} in {file:?}");
    }
}

#[test]
fn a_recording_is_classified_with_the_table_beside_it() {
    let place = Place::new("classify");
    let clip = place.path("a.y4m");
    let mut bytes = b"YUV4MPEG2 W32 H32 F20:1 Cmono\n".to_vec();
    (0..120).for_each(|_| bytes.extend(b"FRAME\n".iter().chain(&[128; 32 * 32])));
    fs::write(&clip, bytes).unwrap();
    let mut table = "ms,speed\n".to_string();
    // Known from the second second on; fast from the third; silent from 4 s on, so missing after 5.5 s.
    (1000..4000u64).step_by(200).for_each(|ms| table += &format!("{ms},{}\n", if ms < 3000 { 2 } else { 9 }));
    let classify = |more: &[&str]| {
        let out = program::lookout(&[&["classify", "--bundle", BUNDLE, "--csv", clip.as_str()], more].concat());
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        (String::from_utf8(out.stdout).unwrap(), String::from_utf8(out.stderr).unwrap())
    };
    let segments = |csv: &str| -> Vec<(String, f64, f64)> {
        let row = |l: &str| l.split(',').map(String::from).collect::<Vec<_>>();
        csv.lines().skip(1).map(row).map(|r| (r[1].clone(), r[2].parse().unwrap(), r[3].parse().unwrap())).collect()
    };
    let (without, warned) = classify(&[]);
    assert_eq!(segments(&without).iter().map(|s| s.0.as_str()).collect::<Vec<_>>(), ["lost"]);
    assert!(warned.contains("a.y4m.extra.csv beside it: speed, audio always missing"), "{warned}");
    fs::write(place.path("elsewhere.csv"), &table).unwrap();
    let (given, _) = classify(&["--extra", &place.path("elsewhere.csv")]);
    fs::write(format!("{clip}.extra.csv"), &table).unwrap();
    let (beside, warned) = classify(&[]);
    assert!(warned.is_empty(), "{warned}");
    assert_eq!(given, beside);
    let found = segments(&beside);
    println!("figure: {found:?} of lost 0 to 1000, fast 3000 to 5300, lost 5300 on, within 100 ms");
    let wanted = [("lost", 0.0, 1000.0), ("fast", 3000.0, 5300.0), ("lost", 5300.0, 6000.0)];
    assert_eq!(found.len(), wanted.len(), "{beside}");
    for ((label, start, end), (name, from, to)) in found.iter().zip(wanted) {
        assert!(label == name && (start - from).abs() <= 101.0 && (end - to).abs() <= 301.0, "{label} {start} {end}");
    }
    // The same over the wire, each time the same.
    let source = format!("y4m:{clip}");
    let replay = || {
        let out = program::lookout(&["run", "--board", "host", "--bundle", BUNDLE, "--source", &source, "--report", "json:-"]);
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    };
    let said = replay();
    let ends: Vec<(String, f64)> = said
        .lines()
        .map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap())
        .filter(|o| o["type"] == "event" && o["edge"] == "start")
        .map(|o| (o["label"].as_str().unwrap().to_string(), o["onset_ms"].as_f64().unwrap()))
        .collect();
    assert_eq!(said, replay());
    println!("figure: over the wire {ends:?}");
    assert_eq!(ends[1..], found[1..].iter().map(|s| (s.0.clone(), s.1)).collect::<Vec<_>>(), "as classify says");
    fs::write(format!("{clip}.extra.csv"), "ms,speed\n0,quick\n").unwrap();
    let out = program::lookout(&["classify", "--bundle", BUNDLE, &clip]);
    let said = String::from_utf8_lossy(&out.stderr).to_string();
    assert!(
        out.status.code() == Some(2) && said.contains("a.y4m.extra.csv: line 2: speed is \"quick\", expected a number"),
        "{said}"
    );
}

#[test]
fn a_contract_with_extras_is_held_against_its_head() {
    let place = Place::new("contract");
    program::copy_bundle("tests/bundles/rows-lstm", &place.0);
    let toml = fs::read_to_string(place.path("bundle.toml")).unwrap();
    let check = |features: &str, extra: &str| {
        let text = toml.replace("features = 6", features).replace("\n[time]", &format!("{extra}\n[time]"));
        fs::write(place.path("bundle.toml"), text).unwrap();
        let out = program::lookout(&["check", &place.path("")]);
        (out.status.code(), String::from_utf8_lossy(&out.stdout).to_string() + &String::from_utf8_lossy(&out.stderr))
    };
    let (code, said) = check("features = 4", "extra = [\"speed\"]\n");
    assert!(code == Some(0), "{said}");
    assert!(said.contains("extra     speed (mean 0, scale 1, missing after 2000 ms)"), "{said}");
    let (code, said) = check("features = 6", "extra = [\"speed\"]\n");
    assert!(code == Some(2) && said.contains("the graph's input is [1, 12, 6], the contract says [1, 12, 8]"), "{said}");
    let (code, said) = check("features = 2", "extra = [\"speed\", \"speed\"]\n");
    assert!(code == Some(2) && said.contains("\"speed\" stands twice"), "{said}");
}

/// What is normal is learnt with the other senses too: live, from the devices that the configuration names.
#[test]
fn a_box_learns_what_is_normal_with_its_other_senses() {
    let place = Place::new("learn");
    let (camera, speed) = (place.fifo("camera"), place.fifo("speed"));
    let config =
        format!("state = {:?}\n[extra]\nspeed = \"rows:{},1\"\naudio = \"none\"\n", place.path("state"), speed.display());
    fs::write(place.0.join("lookout.toml"), config).unwrap();
    let source = format!("pipe:{},gray,32x32@20", camera.display());
    let child = program::command(&["learn", "--bundle", BUNDLE, "--source", &source, "--minutes", "4"])
        .args(["--out", &place.path("normal.json"), "--config", &place.path("lookout.toml")])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // 10 m/s all the while, and a picture that changes; now and then the camera pauses, so that there are stretches to learn from and to judge by.
    let stop = Arc::new(AtomicBool::new(false));
    let numbers = std::thread::spawn({
        let stop = stop.clone();
        let mut fifo = OpenOptions::new().read(true).write(true).open(speed).unwrap();
        move || {
            while !stop.load(Ordering::Relaxed) && fifo.write_all(b"10.0\n").is_ok() {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    });
    std::thread::spawn(move || {
        let mut fifo = OpenOptions::new().write(true).open(camera).unwrap();
        for n in 0.. {
            if fifo.write_all(&[[90, 128, 160][n / 20 % 3]; 32 * 32]).is_err() {
                break;
            }
            std::thread::sleep(Duration::from_millis(if n % 100 == 99 { 1000 } else { 50 }));
        }
    });
    std::thread::sleep(Duration::from_secs(30));
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let done = child.wait_with_output().unwrap();
    stop.store(true, Ordering::Relaxed);
    numbers.join().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let learnt: serde_json::Value = serde_json::from_slice(&fs::read(place.0.join("normal.json")).unwrap()).unwrap();
    let mean: Vec<f64> = learnt["mean"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
    println!("means behind the picture's 16: {:?}", &mean[16..]);
    // (10 - 5) / 2.5 and a mark of 1; of what this box does not have two zeros.
    assert!(mean.len() == 20 && (mean[16] - 2.0).abs() < 0.2 && mean[17] > 0.9 && mean[18..] == [0.0, 0.0], "{mean:?}");
}
