//! The program as a service: what is missing is waited for and said, too many ends lead to safe mode, and the service manager hears
//! of it. A real process, a real notify socket, a FIFO for a camera and a pty for a wire; the rows T3 and W2 of FAULTS.md.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test stops where something is missing and says what it saw")]

mod program;

use rustix::process::{Pid, Signal, kill_process};
use serialport::{SerialPort, TTYPort};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const BUNDLE: &str = "tests/bundles/resnet";

/// A folder for one test, a service manager's socket in it.
struct Place {
    dir: PathBuf,
    manager: UnixDatagram,
}

impl Place {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("lookout-survive-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let manager = UnixDatagram::bind(dir.join("notify")).unwrap();
        manager.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        Self { dir, manager }
    }

    fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    /// `lookout run` with these arguments, as a service manager starts it.
    fn start(&self, args: &[&str]) -> Run<'_> {
        self.start_by(program::command(&[]), args)
    }

    /// The same, where `command` is what starts the program.
    fn start_by(&self, command: Command, args: &[&str]) -> Run<'_> {
        self.start_logging(command, args, File::create(self.dir.join("log")).unwrap().into())
    }

    /// The same, with another standard error than the file.
    fn start_logging(&self, mut command: Command, args: &[&str], log: Stdio) -> Run<'_> {
        let mut buffer = [0; 64];
        while self.manager.recv(&mut buffer).is_ok() {} // what an earlier run said
        let _ = fs::remove_file(self.dir.join("said"));
        command.args(["run", "--board", "host", "--report", &format!("file:{}", self.path("said"))]);
        command.args(args).stderr(log);
        command.env("NOTIFY_SOCKET", self.dir.join("notify")).env("RUNTIME_DIRECTORY", &self.dir);
        Run { place: self, started: Instant::now(), child: command.spawn().unwrap() }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    fn said(&self) -> String {
        fs::read_to_string(self.dir.join("said")).unwrap_or_default()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

struct Run<'p> {
    place: &'p Place,
    started: Instant,
    child: Child,
}

impl Run<'_> {
    /// Waits until the service manager has heard `what`; how long after the start that was.
    fn heard(&self, what: &str) -> Duration {
        let mut buffer = [0; 64];
        while self.started.elapsed() < Duration::from_secs(30) {
            if let Ok(n) = self.place.manager.recv(&mut buffer)
                && &buffer[..n] == what.as_bytes()
            {
                return self.started.elapsed();
            }
        }
        panic!("{what} not heard: {}", self.place.log());
    }

    /// Waits until a health report says `state`; how long that took from now.
    fn says(&self, state: &str) -> Duration {
        let (from, start) = (self.place.said().len(), Instant::now());
        while start.elapsed() < Duration::from_secs(30) {
            let said = self.place.said();
            let new = said.get(from..).unwrap_or(&said);
            if new.lines().any(|l| l.starts_with("$PLKTH") && l.contains(state)) {
                return start.elapsed();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{state:?} not said: {}\n{}", self.place.said(), self.place.log());
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Sends a signal, and waits for the end; its exit code.
    fn ends(&mut self, signal: Signal) -> Option<i32> {
        self.signal(signal);
        self.child.wait().unwrap().code()
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Noise at 20 frames a second into a FIFO, until dropped.
struct Camera {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    fifo: PathBuf,
}

impl Camera {
    fn new(place: &Place) -> Self {
        let fifo = place.dir.join("camera");
        let fifo = if fifo.exists() { fifo } else { program::fifo(fifo) };
        let stop = Arc::new(AtomicBool::new(false));
        let (theirs, path) = (stop.clone(), fifo.clone());
        let thread = std::thread::spawn(move || {
            // Read as well as written, so that opening does not wait for a reader.
            let mut fifo = File::options().read(true).write(true).open(path).unwrap();
            rustix::fs::fcntl_setfl(&fifo, rustix::fs::OFlags::NONBLOCK).unwrap();
            let mut n = 0u32;
            while !theirs.load(Ordering::Relaxed) {
                n += 1;
                let frame: Vec<u8> =
                    (0..32 * 32u32).map(|k| ((k * 7 + n * 13).wrapping_mul(2_654_435_761) >> 24) as u8).collect();
                // A full pipe: nobody reads at the moment. 1 KiB goes in whole or not at all.
                let _ = fifo.write(&frame);
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        Self { stop, thread: Some(thread), fifo }
    }

    fn spec(&self) -> String {
        format!("pipe:{},gray,32x32@20", self.fifo.display())
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join);
    }
}

#[test]
fn t3_whatever_is_missing_at_boot_it_is_ready_and_says_what() {
    let place = Place::new("boot");
    let camera = Camera::new(&place);
    let (mut far, near) = TTYPort::pair().unwrap();
    far.set_timeout(Duration::from_millis(10)).unwrap();
    let tty = near.name().unwrap();
    let config = place.path("lookout.toml");
    fs::write(&config, "[gpio]\nchip = \"no-such-chip\"\nheartbeat = 4\n").unwrap();
    let mut slowest = Duration::ZERO;
    for missing in 0..16 {
        let [no_camera, no_serial, no_gpio, no_bundle] = [1, 2, 4, 8].map(|bit| missing & bit != 0);
        let source = if no_camera { "v4l2:/dev/video-none".into() } else { camera.spec() };
        let serial = if no_serial { "serial:/dev/tty-none".into() } else { format!("serial:{tty}") };
        let bundle = if no_bundle { "/nowhere/bundle" } else { BUNDLE };
        let mut args = vec!["--wait", "--config", &config, "--source", &source, "--report", &serial, "--bundle", bundle];
        if no_gpio {
            args.extend(["--report", "gpio"]); // a machine without GPIO: the chip is not there
        }
        let _ = fs::remove_file(place.dir.join("runs"));
        let run = place.start(&args);
        let ready = run.heard("READY=1");
        slowest = slowest.max(ready);
        run.says(match (no_bundle, no_camera) {
            (true, _) => ",NO BUNDLE,",
            (false, true) => ",NO CAMERA,",
            (false, false) => ",OK,",
        });
        run.heard("WATCHDOG=1");
        let log = place.log();
        for (is_missing, words) in [
            (no_camera && !no_bundle, "/dev/video-none: no such device"),
            (no_serial, "/dev/tty-none: is not there"),
            // Which lines are driven is known only with a bundle.
            (no_gpio && !no_bundle, "GPIO chip no-such-chip is not there"),
            (no_bundle, "/nowhere/bundle"),
        ] {
            assert_eq!(log.matches(words).count(), usize::from(is_missing), "missing {missing:04b}: {words:?} in {log}");
        }
        assert!(ready < Duration::from_secs(5), "missing {missing:04b}: ready after {ready:?}");
    }
    println!("figure: T3 16 combinations, READY after {} ms at most (5000)", slowest.as_millis());
}

/// Trying bundles may take minutes on a slow board. What systemd does at this word, and at the next ping: src/core/service.c, `service_extend_timeout`.
#[test]
fn the_manager_is_asked_for_time_before_each_try_of_a_bundle() {
    let place = Place::new("patience");
    let run = place.start(&["--wait", "--source", "v4l2:/dev/video-none", "--bundle", &place.path("bundle")]);
    // Two trials of 120 s, and as long as one for the rest.
    let time = "EXTEND_TIMEOUT_USEC=360000000";
    run.heard(time);
    run.heard("READY=1");
    // Once it is ready pings are waited for, and there are none while the next try goes on.
    run.heard("WATCHDOG=1");
    run.heard(time);
    run.heard("WATCHDOG=1");
}

#[test]
fn a_bundle_that_comes_later_is_taken_without_a_restart() {
    let place = Place::new("bundle");
    let camera = Camera::new(&place);
    let bundle = place.path("bundle");
    let run = place.start(&["--wait", "--source", &camera.spec(), "--bundle", &bundle]);
    run.says(",NO BUNDLE,");
    let half = place.dir.join("half");
    program::copy_bundle(BUNDLE, &half);
    fs::rename(half, &bundle).unwrap();
    let took = run.says(",OK,");
    println!("figure: T3 a bundle that comes later: OK after {} ms (8000: it is looked for every 2 s)", took.as_millis());
    assert!(took < Duration::from_secs(8), "{took:?}");
    assert_eq!(place.log().matches("waiting for a bundle").count(), 1, "{}", place.log());
    // One process: the numbers go on.
    let seqs: Vec<u32> = place.said().lines().map(|l| l.split(',').nth(1).unwrap().parse().unwrap()).collect();
    assert!(seqs.iter().copied().eq(0..u32::try_from(seqs.len()).unwrap()), "{seqs:?}");
}

#[test]
fn w2_the_sixth_start_within_a_minute_is_safe_mode_and_the_last_end_is_told() {
    let place = Place::new("safe");
    let camera = Camera::new(&place);
    let source = camera.spec();
    let args = ["--source", &source, "--bundle", BUNDLE];
    for n in 0..5 {
        let mut run = place.start(&args);
        run.says(",OK,");
        assert_eq!(place.log().contains("killed without a word"), n > 0, "start {n}: {}", place.log());
        run.child.kill().unwrap();
        run.child.wait().unwrap();
    }
    let run = place.start(&args);
    let (ready, said) = (run.heard("READY=1"), run.says(",SAFE MODE,"));
    run.heard("WATCHDOG=1");
    println!(
        "figure: W2 sixth start within a minute: SAFE MODE, ready after {} ms, said after {} ms",
        ready.as_millis(),
        said.as_millis()
    );
    assert!(place.log().contains("safe mode"), "{}", place.log());
    assert!(Path::new(&place.path("runs")).metadata().unwrap().len() < 1_000);
}

/// Safe mode is for ends that nobody asked for: somebody who restarts a box again and again is not to find it blind.
#[test]
fn restarts_that_were_asked_for_do_not_lead_to_safe_mode() {
    let place = Place::new("asked");
    let camera = Camera::new(&place);
    let source = camera.spec();
    for _ in 0..7 {
        let mut run = place.start(&["--wait", "--source", &source, "--bundle", BUNDLE]);
        run.says(",OK,");
        assert_eq!(run.ends(Signal::TERM), Some(0), "{}", place.log());
    }
}

/// strace delays each flush of the card by half a minute, real as nothing else here can make it.
#[test]
fn a_card_that_hangs_does_not_keep_a_run_that_is_told_to_stop() {
    let place = Place::new("slow-card");
    if !Command::new("strace").args(["-o", "/dev/null", "true"]).status().is_ok_and(|status| status.success()) {
        // Past the test harness, which keeps what a test prints that passes.
        std::io::stderr().write_all(b"SKIPPED a card that hangs: strace is missing, or may not trace\n").unwrap();
        return;
    }
    let (film, state, config) = (place.dir.join("film.y4m"), place.path("state"), place.path("lookout.toml"));
    let noise: Vec<u8> = (0..300 * 32 * 32u32).map(|k| (k.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let pictures: Vec<u8> = noise.chunks(32 * 32).flat_map(|picture| [&b"FRAME\n"[..], picture].concat()).collect();
    fs::write(&film, [&b"YUV4MPEG2 W32 H32 F10:1 Cmono\n"[..], &pictures].concat()).unwrap();
    // So that what was counted is written seconds after the start.
    fs::write(&config, "[novelty]\nblock_s = 1\n").unwrap();
    let film = film.display().to_string();
    let learnt = program::lookout(&["learn", &film, &film, &film, "--bundle", BUNDLE, "--state", &state]);
    assert!(learnt.status.success(), "{}", String::from_utf8_lossy(&learnt.stderr));
    let camera = Camera::new(&place);
    let source = camera.spec();
    let mut strace = Command::new("strace");
    // With -D what is started is the program itself, and strace a process of its own.
    strace.args(["-D", "-f", "-o", "/dev/null", "-e", "trace=fsync", "-e", "inject=fsync:delay_enter=30000000"]);
    strace.arg(program::path());
    let args = ["--source", &source, "--bundle", BUNDLE, "--state", &state, "--config", &config];
    let mut run = place.start_by(strace, &args);
    let written = Path::new(&state).join(".unfinished-blocks.json");
    while !written.exists() {
        assert!(run.started.elapsed() < Duration::from_secs(30), "{}\n{}", place.said(), place.log());
        std::thread::sleep(Duration::from_millis(10));
    }
    let process = format!("/proc/{}/status", run.child.id());
    let status = |key: &str| {
        let text = fs::read_to_string(&process).unwrap();
        text.lines().find_map(|line| line.strip_prefix(key)).unwrap().trim().to_string()
    };
    let tracer = Pid::from_raw(status("TracerPid:").parse().unwrap()).unwrap();
    let told = Instant::now();
    run.signal(Signal::TERM);
    // Half a second each for reports and for what was counted, and patience with a busy machine.
    while !status("State:").starts_with('Z') {
        assert!(told.elapsed() < Duration::from_secs(8), "{}", place.log());
        std::thread::sleep(Duration::from_millis(5));
    }
    println!("figure: P4 a card that hangs: ended {} ms after SIGTERM", told.elapsed().as_millis());
    // What strace delays it does not let go of before its time, though it has ended.
    kill_process(tracer, Signal::KILL).unwrap();
    assert_eq!(run.child.wait().unwrap().code(), Some(0), "{}", place.log());
    assert!(place.log().contains("the disk is slower than 500ms; what was counted last may be lost"), "{}", place.log());
}

#[test]
fn restarts_and_their_cause_are_in_the_json_line() {
    let place = Place::new("cause");
    let camera = Camera::new(&place);
    let (source, json) = (camera.spec(), place.path("json"));
    let report = format!("json:{json}");
    let args = ["--source", &source, "--bundle", BUNDLE, "--report", &report];
    for (restarts, last_end) in [(0, "none"), (1, "stopped"), (2, "stopped")] {
        let _ = fs::remove_file(&json);
        let mut run = place.start(&args);
        run.says(",OK,");
        assert_eq!(run.ends(Signal::TERM), Some(0));
        let text = fs::read_to_string(&json).unwrap();
        let health = text.lines().rfind(|l| l.contains("\"type\":\"health\"")).unwrap();
        assert!(health.contains(&format!("\"restarts\":{restarts},\"last_end\":\"{last_end}\"")), "{health}");
    }
}

#[test]
fn a_closed_terminal_ends_it_in_order_unless_it_was_started_with_nohup() {
    let place = Place::new("hangup");
    let camera = Camera::new(&place);
    let source = camera.spec();
    let args = ["--source", &source, "--bundle", BUNDLE];
    let by = |how: &str| {
        let mut env = Command::new("env");
        env.args([how, &program::path()]).stdin(Stdio::null());
        env
    };
    let mut run = place.start_by(by("--default-signal=HUP"), &args);
    run.says(",OK,");
    assert_eq!(run.ends(Signal::HUP), Some(0), "{}", place.log());
    // What `nohup` does.
    let mut run = place.start_by(by("--ignore-signal=HUP"), &args);
    run.says(",OK,");
    run.signal(Signal::HUP);
    run.says(",OK,");
    assert_eq!(run.ends(Signal::TERM), Some(0), "{}", place.log());
}

#[test]
fn a_fifo_that_nobody_writes_into_is_waited_for_and_the_run_can_be_stopped() {
    let place = Place::new("unwritten");
    let source = format!("y4m:{}", program::fifo(place.dir.join("film")).display());
    let mut run = place.start(&["--source", &source, "--bundle", BUNDLE]);
    run.heard("READY=1");
    run.says(",NO FRAMES,");
    assert_eq!(run.ends(Signal::TERM), Some(0), "{}", place.log());
}

#[test]
fn readers_of_a_fifo_may_come_late_go_and_come_back() {
    let place = Place::new("readers");
    let (camera, fifo) = (Camera::new(&place), program::fifo(place.dir.join("reports")));
    let (source, report) = (camera.spec(), format!("json:{}", fifo.display()));
    let mut run = place.start(&["--source", &source, "--bundle", BUNDLE, "--report", &report]);
    run.heard("READY=1");
    run.says(",OK,");
    for _ in 0..2 {
        let mut line = String::new();
        BufReader::new(File::open(&fifo).unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("{\"type\":") && line.ends_with("}\n"), "{line}");
        run.says(",OK,");
    }
    assert_eq!(place.log().matches("nobody reads it; reports wait for a reader").count(), 1, "{}", place.log());
    assert_eq!(run.ends(Signal::TERM), Some(0), "{}", place.log());
}

#[test]
fn ms_counts_from_the_first_frame_and_never_goes_back() {
    let place = Place::new("ms");
    let source = format!("pipe:{},gray,32x32@20", place.path("camera"));
    let run = place.start(&["--wait", "--source", &source, "--bundle", BUNDLE]);
    // Twice, so that a second has gone by.
    run.says(",NO CAMERA,");
    run.says(",NO CAMERA,");
    let _camera = Camera::new(&place);
    run.says(",OK,");
    let said = place.said();
    let health = said.lines().filter(|line| line.starts_with("$PLKTH"));
    let ms: Vec<u64> = health.map(|line| line.split(',').nth(2).unwrap().parse().unwrap()).collect();
    assert!(ms[..2] == [0, 0] && ms.is_sorted() && ms.last() > Some(&0), "{ms:?}");
}

/// A pipe and a terminal whose other ends do not read, filled to the brim.
#[test]
fn a_log_that_nobody_takes_costs_neither_the_camera_nor_the_reports() {
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    rustix::pipe::fcntl_setpipe_size(&writer, 4096).unwrap();
    stuck("pipe", File::from(reader), File::from(writer));
    let (mut master, slave) = TTYPort::pair().unwrap();
    master.set_timeout(Duration::from_secs(12)).unwrap();
    let ours = File::options().read(true).write(true).open(slave.name().unwrap()).unwrap();
    stuck("terminal", master, ours);
}

fn stuck(name: &str, mut reader: impl Read + Send + 'static, mut writer: File) {
    let place = Place::new(name);
    let camera = Camera::new(&place);
    let source = camera.spec();
    let args = ["--wait", "--source", &source, "--bundle", BUNDLE];
    let mut run = place.start_logging(program::command(&[]), &args, writer.try_clone().unwrap().into());
    run.says(",OK,");
    rustix::fs::fcntl_setfl(&writer, rustix::fs::OFlags::NONBLOCK).unwrap();
    // To the brim: what a terminal has taken moves on a little later, and makes room once more.
    for _ in 0..10 {
        while writer.write(&[b'x'; 64]).is_ok() {}
        while writer.write(b"x").is_ok() {}
        std::thread::sleep(Duration::from_millis(20));
    }
    rustix::fs::fcntl_setfl(&writer, rustix::fs::OFlags::empty()).unwrap();
    drop(camera);
    run.says(",NO FRAMES,");
    let _camera = Camera::new(&place);
    run.says(",OK,");
    // Whoever reads at last is told.
    let taken = std::thread::spawn(move || {
        let (mut all, mut some) = (vec![], [0; 4096]);
        while let Ok(n) = reader.read(&mut some)
            && n > 0
        {
            all.extend_from_slice(&some[..n]);
        }
        String::from_utf8_lossy(&all).to_string()
    });
    let start = Instant::now();
    assert_eq!(run.ends(Signal::TERM), Some(0), "{name}");
    // With patience for a busy machine.
    assert!(start.elapsed() < Duration::from_secs(8), "{name}: {:?}", start.elapsed());
    drop((run, writer));
    let taken = taken.join().unwrap();
    assert!(taken.contains(" lines of the log left out: nobody took them"), "{name}: {taken}");
}

#[test]
fn reports_of_a_recording_that_no_port_took_are_not_a_success() {
    let place = Place::new("unplugged");
    let film = program::street(&place.dir.join("film.y4m"), 60, 2.0, 20..50);
    let port = format!("serial:{}", place.path("nope"));
    let mut run = place.start(&["--source", &film, "--report", &port]);
    assert_eq!(run.child.wait().unwrap().code(), Some(1), "{}", place.log());
    assert!(place.log().contains("not all reports of this recording could be written"), "{}", place.log());
}

/// Whoever starts a camera's program anew may make its FIFO anew, and what stands in its place meanwhile is no reason to end.
#[test]
fn a_camera_whose_fifo_is_gone_or_another_one_is_found_again() {
    let place = Place::new("anew");
    let camera = Camera::new(&place);
    let fifo = camera.fifo.clone();
    let mut run = place.start(&["--wait", "--source", &camera.spec(), "--bundle", BUNDLE]);
    run.says(",OK,");
    // A folder in its place when its writer goes.
    fs::remove_file(&fifo).unwrap();
    fs::create_dir(&fifo).unwrap();
    drop(camera);
    run.says(",CAMERA ERROR,");
    fs::remove_dir(&fifo).unwrap();
    let camera = Camera::new(&place);
    run.says(",OK,");
    // The writer goes, and the next one makes a FIFO of its own.
    drop(camera);
    run.says(",NO FRAMES,");
    fs::remove_file(&fifo).unwrap();
    let _camera = Camera::new(&place);
    let took = run.says(",OK,");
    println!("figure: a FIFO that was made anew: OK after {} ms (8000: it is looked for every second)", took.as_millis());
    assert!(took < Duration::from_secs(8), "{took:?}");
    assert_eq!(run.ends(Signal::TERM), Some(0), "{}", place.log());
}
