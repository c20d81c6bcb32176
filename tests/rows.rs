//! Rows of numbers that come through a FIFO are as live as a camera: what is missing is waited for and said, a pause is one, what novelty counts is
//! kept. A real process, a real notify socket and real FIFOs.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod program;

use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Six numbers a tick of 100 ms, a window of six ticks.
const BUNDLE: &str = "tests/bundles/rows-rnn-last";
/// It calls this `left`.
const LEFT: &str = "-2;-2;-2;-2;-2;-2\n";
/// A busy machine is given so long for anything.
const SOON: Duration = Duration::from_secs(30);

/// A folder for one test, a service manager's socket in it, and the program at work there.
struct Place {
    dir: PathBuf,
    manager: UnixDatagram,
    run: Option<Child>,
}

impl Place {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("lookout-rows-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        let manager = UnixDatagram::bind(dir.join("notify")).unwrap();
        manager.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        Self { dir, manager, run: None }
    }

    fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    /// `lookout run` of rows, as a service manager starts it; its standard input.
    fn start(&mut self, args: &[&str]) -> ChildStdin {
        let (report, log) = (format!("file:{}", self.path("said")), File::create(self.path("log")).unwrap());
        let mut command = program::command(&["run", "--board", "host", "--bundle", BUNDLE, "--report", &report]);
        command.args(args).env("NOTIFY_SOCKET", self.dir.join("notify")).stdin(Stdio::piped()).stderr(log);
        let mut run = command.spawn().unwrap();
        let stdin = run.stdin.take().unwrap();
        self.run = Some(run);
        stdin
    }

    fn said(&self) -> String {
        fs::read_to_string(self.path("said")).unwrap_or_default()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Waits until a line that was not there before begins with `kind` and has `words`.
    fn says(&self, kind: &str, words: &str) {
        let (from, start) = (self.said().len(), Instant::now());
        while !self.said()[from..].lines().any(|l| l.starts_with(kind) && l.contains(words)) {
            assert!(start.elapsed() < SOON, "{words:?} not said: {}\n{}", self.said(), self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until the service manager has heard `what`, from now on.
    fn hears(&self, what: &str) {
        let (mut buffer, start) = ([0; 64], Instant::now());
        while self.manager.recv(&mut buffer).is_ok() {}
        while !self.manager.recv(&mut buffer).is_ok_and(|n| &buffer[..n] == what.as_bytes()) {
            assert!(start.elapsed() < SOON, "{what} not heard: {}\n{}", self.said(), self.log());
        }
    }

    /// Tells it to stop; its exit code.
    fn stop(&mut self) -> Option<i32> {
        let mut run = self.run.take().unwrap();
        kill_process(Pid::from_child(&run), Signal::TERM).unwrap();
        run.wait().unwrap().code()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.run.iter_mut().for_each(|run| drop(run.kill().and_then(|()| run.wait())));
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// A program that writes a header and then a line each 40 ms, which is no part of a tick, until it is dropped.
struct Sensor {
    stop: Arc<AtomicBool>,
    pause: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Sensor {
    fn new(fifo: impl AsRef<Path>, mut line: impl FnMut() -> String + Send + 'static) -> Self {
        let (stop, pause) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        // Read as well as written, so that opening does not wait for a reader.
        let mut fifo = File::options().read(true).write(true).open(fifo).unwrap();
        let (stops, pauses) = (stop.clone(), pause.clone());
        let thread = std::thread::spawn(move || {
            fifo.write_all("temperature °C\n".as_bytes()).unwrap();
            while !stops.load(Ordering::Relaxed) {
                if !pauses.load(Ordering::Relaxed) {
                    fifo.write_all(line().as_bytes()).unwrap();
                }
                std::thread::sleep(Duration::from_millis(40));
            }
        });
        Self { stop, pause, thread: Some(thread) }
    }
}

impl Drop for Sensor {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join);
    }
}

#[test]
fn a_fifo_of_rows_is_waited_for_a_pause_ends_the_event_and_the_next_writer_goes_on() {
    let mut place = Place::new("live");
    let source = format!("features:{}", place.path("late"));
    let _stdin = place.start(&["--wait", "--source", &source]);
    place.says("$PLKTH", ",NO CAMERA,");
    let fifo = program::fifo(place.dir.join("late"));
    place.says("$PLKTH", ",NO FRAMES,");
    let sensor = Sensor::new(&fifo, || LEFT.into());
    place.says("$PLKTE", ",S,left,");
    place.says("$PLKTH", ",OK,");
    sensor.pause.store(true, Ordering::Relaxed);
    place.says("$PLKTE", ",E,left,");
    place.says("$PLKTH", ",NO FRAMES,");
    sensor.pause.store(false, Ordering::Relaxed);
    place.says("$PLKTE", ",S,left,");
    drop(sensor);
    place.says("$PLKTE", ",E,left,");
    place.says("$PLKTH", ",NO FRAMES,");
    place.hears("WATCHDOG=1");
    let _sensor = Sensor::new(&fifo, || LEFT.into());
    place.says("$PLKTE", ",S,left,");
    assert!(!place.log().contains("holds no number"), "each writer has its header: {}", place.log());
    assert_eq!(place.stop(), Some(0), "{}", place.log());
}

#[test]
fn without_wait_a_fifo_that_is_not_there_is_a_wrong_path() {
    let mut place = Place::new("nowhere");
    let source = format!("features:{}", place.path("nowhere"));
    let _stdin = place.start(&["--source", &source]);
    assert_eq!(place.run.take().unwrap().wait().unwrap().code(), Some(2), "{}", place.log());
    assert!(place.log().contains("nowhere: no such file"), "{}", place.log());
}

#[test]
fn lines_without_a_row_are_silence_and_the_watchdog_is_fed() {
    let mut place = Place::new("comments");
    let fifo = program::fifo(place.dir.join("rows"));
    let _sensor = Sensor::new(&fifo, || "# warming up\n".into());
    let _stdin = place.start(&["--source", &format!("features:{}", fifo.display())]);
    place.says("$PLKTH", ",NO FRAMES,");
    place.hears("WATCHDOG=1");
    place.hears("WATCHDOG=1");
    assert_eq!(place.stop(), Some(0), "{}", place.log());
}

#[test]
fn what_novelty_counts_of_live_rows_is_kept() {
    let mut place = Place::new("blocks");
    let (state, config, film) = (place.path("state"), place.path("lookout.toml"), place.path("noise.csv"));
    let mut seed = 7u32;
    let mut row = move || {
        let mut number = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            format!("{:.3}", f64::from(seed >> 8) / f64::from(1 << 23) - 1.0)
        };
        [0; 6].map(|_| number()).join(" ") + "\n"
    };
    fs::write(&film, (0..300).map(|_| row()).collect::<String>()).unwrap();
    // So that blocks end within the test.
    fs::write(&config, "[novelty]\nblock_s = 1\n").unwrap();
    let learnt = program::lookout(&["learn", &film, &film, &film, "--bundle", BUNDLE, "--state", &state]);
    assert!(learnt.status.success(), "{}", String::from_utf8_lossy(&learnt.stderr));
    let fifo = program::fifo(place.dir.join("rows"));
    let _sensor = Sensor::new(&fifo, row);
    let source = format!("features:{}", fifo.display());
    let _stdin = place.start(&["--source", &source, "--state", &state, "--config", &config]);
    let start = Instant::now();
    // Nothing is counted before tick 71.
    while !Path::new(&state).join("blocks.json").exists() {
        assert!(start.elapsed() < SOON, "{}\n{}", place.said(), place.log());
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_bundle_of_rows_has_no_encoder_and_no_demo() {
    let demo = program::lookout(&["demo", "--bundle", BUNDLE]);
    let said = String::from_utf8(demo.stderr).unwrap();
    assert!(demo.status.code() == Some(2) && said.contains("it takes rows of numbers"), "{said}");
    let check = String::from_utf8(program::lookout(&["check", BUNDLE]).stdout).unwrap();
    let files = check.lines().find(|line| line.starts_with("files ")).unwrap();
    assert!(files.contains("head.onnx ") && !files.contains("encoder.onnx"), "{files}");
}

/// A report of a recording may wait ten seconds for its reader, longer than the watchdog does.
#[test]
fn the_manager_gives_a_recording_the_time_that_a_slow_reader_may_take() {
    let mut place = Place::new("recording");
    let mut stdin = place.start(&["--source", "features:-"]);
    let stop = Arc::new(AtomicBool::new(false));
    let stops = stop.clone();
    let writer = std::thread::spawn(move || {
        while !stops.load(Ordering::Relaxed) {
            stdin.write_all(LEFT.as_bytes()).unwrap();
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    place.hears("WATCHDOG=1");
    place.hears("EXTEND_TIMEOUT_USEC=20000000");
    stop.store(true, Ordering::Relaxed);
    writer.join().unwrap();
    assert_eq!(place.run.take().unwrap().wait().unwrap().code(), Some(0), "{}", place.log());
}
