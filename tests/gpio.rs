//! The GPIO sink on a real kernel driver, gpio-sim. Needs root, configfs and that module: `tests/vm/gpio.sh` runs these in
//! a virtual machine, nobody runs them by accident.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod samples;

use gpiocdev::line::Value;
use lookout::board::{Line, LineMode, LineSpec, Wiring};
use lookout::button::Buttons;
use lookout::config::Button;
use lookout::report::desk::{Command, Desk};
use lookout::report::{Edge, Label, Novel, Pace, Report, ReportError, ReportSpec, Sink, open};
use samples::{class, event, health, identity, novelty};
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const CONFIGFS: &str = "/sys/kernel/config/gpio-sim";

/// A simulated chip of eight lines, the first four called A to D.
struct Chip {
    name: String,
    dir: PathBuf,
}

impl Chip {
    fn new(name: &str) -> Self {
        let dir = PathBuf::from(CONFIGFS).join(name);
        let bank = dir.join("bank0");
        fs::create_dir(&dir).unwrap_or_else(|e| panic!("{CONFIGFS}: {e}; is gpio-sim loaded and configfs mounted?"));
        fs::create_dir(&bank).unwrap();
        fs::write(bank.join("num_lines"), "8").unwrap();
        fs::write(bank.join("label"), name).unwrap();
        for (offset, line) in ["A", "B", "C", "D"].iter().enumerate() {
            fs::create_dir(bank.join(format!("line{offset}"))).unwrap();
            fs::write(bank.join(format!("line{offset}/name")), line).unwrap();
        }
        fs::write(dir.join("live"), "1").unwrap();
        Self { name: name.into(), dir }
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.dir.join(file)).unwrap().trim().into()
    }

    fn dev(&self) -> String {
        self.read("bank0/chip_name")
    }

    /// What is on the wire.
    fn level(&self, line: usize) -> u8 {
        fs::read_to_string(self.attribute(line, "value")).unwrap().trim().parse().unwrap()
    }

    /// What the line is when nobody drives it.
    fn pull_up(&self, line: usize) {
        fs::write(self.attribute(line, "pull"), "pull-up").unwrap();
    }

    /// A button to ground.
    fn press(&self, line: usize, down: bool) {
        fs::write(self.attribute(line, "pull"), if down { "pull-down" } else { "pull-up" }).unwrap();
    }

    fn attribute(&self, line: usize, name: &str) -> String {
        let (platform, chip) = (self.read("dev_name"), self.dev());
        format!("/sys/devices/platform/{platform}/{chip}/sim_gpio{line}/{name}")
    }

    /// True once `line` is at `level`, false after `limit`.
    fn becomes(&self, line: usize, level: u8, limit: Duration) -> bool {
        let start = Instant::now();
        while start.elapsed() < limit {
            if self.level(line) == level {
                return true;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        false
    }

    fn wiring(&self, lines: Vec<(usize, Line)>) -> Wiring {
        Wiring { chip: self.name.clone(), heartbeat: Some(LineSpec::Name("A".into())), lines, alarm: None, buttons: vec![] }
    }
}

impl Drop for Chip {
    fn drop(&mut self) {
        let _ = fs::write(self.dir.join("live"), "0");
        for line in 0..4 {
            let _ = fs::remove_dir(self.dir.join(format!("bank0/line{line}")));
        }
        let _ = fs::remove_dir(self.dir.join("bank0"));
        let _ = fs::remove_dir(&self.dir);
    }
}

fn line(line: LineSpec, mode: LineMode, min_ms: u32, active_low: bool) -> Line {
    Line { line, mode, min_ms, active_low }
}

fn name(name: &str) -> LineSpec {
    LineSpec::Name(name.into())
}

fn sink(wiring: &Wiring) -> Result<Box<dyn Sink>, ReportError> {
    open(&ReportSpec::Gpio, &identity(), Some(wiring), Pace::Live)
}

/// Label 1 (left) begins or ends.
fn left(edge: Edge) -> Report {
    let Report::Event(mut event) = event(1) else { unreachable!() };
    event.edge = edge;
    Report::Event(event)
}

/// Generous: an emulated machine on a loaded host is slow.
const SOON: Duration = Duration::from_secs(30);

#[test]
#[ignore = "needs gpio-sim"]
fn lines_follow_their_label_and_end_safe() {
    let chip = Chip::new("follow");
    // Active low, so its safe level is high: as on a real board a resistor keeps it there once nobody drives it.
    chip.pull_up(5);
    let wiring = chip.wiring(vec![
        (1, line(name("B"), LineMode::Level, 300, false)),
        (1, line(LineSpec::Offset(5), LineMode::Level, 1, true)),
        (1, line(name("C"), LineMode::Pulse, 400, false)),
    ]);
    let mut sink = sink(&wiring).unwrap();
    assert_eq!([chip.level(0), chip.level(1), chip.level(2), chip.level(5)], [0, 0, 0, 1], "safe when open returns");
    let start = Instant::now();
    sink.send(0, &left(Edge::Start));
    for (line, level) in [(0, 1), (1, 1), (2, 1), (5, 0)] {
        assert!(chip.becomes(line, level, SOON), "line {line}");
    }
    assert!(chip.becomes(2, 0, SOON), "the pulse ends by itself");
    let pulse = start.elapsed();
    assert!(pulse >= Duration::from_millis(400) && pulse < SOON, "{pulse:?}");
    assert_eq!([chip.level(1), chip.level(5)], [1, 0], "the class goes on");
    sink.send(1, &left(Edge::End));
    assert!(chip.becomes(1, 0, SOON) && chip.becomes(5, 1, SOON));

    let start = Instant::now();
    sink.send(2, &left(Edge::Start));
    sink.send(3, &left(Edge::End));
    assert!(chip.becomes(1, 1, SOON) && chip.becomes(1, 0, SOON), "a short class is seen too");
    assert!(start.elapsed() >= Duration::from_millis(300), "for its least time: {:?}", start.elapsed());

    sink.send(4, &left(Edge::Start));
    assert!(chip.becomes(1, 1, SOON));
    sink.close(SOON);
    assert_eq!([chip.level(0), chip.level(1), chip.level(2), chip.level(5)], [0, 0, 0, 1], "safe after close");
}

/// A line for what was never here before is on while there is an alarm, whatever the class; and off where the box cannot tell.
#[test]
#[ignore = "needs gpio-sim"]
fn an_alarm_has_a_line_of_its_own() {
    let chip = Chip::new("alarm");
    let alarm = Some(line(name("B"), LineMode::Level, 1, false));
    let mut sink = sink(&Wiring { alarm, ..chip.wiring(vec![(1, line(name("C"), LineMode::Level, 1, false))]) }).unwrap();
    sink.send(0, &class(1));
    assert!(chip.becomes(2, 1, SOON));
    assert_eq!(chip.level(1), 0, "a class is no alarm");
    for (seq, alarm) in [(1, true), (2, false), (3, true)] {
        let Report::Novelty(mut report) = novelty(seq) else { unreachable!() };
        report.now = if alarm { Novel::Alarm } else { Novel::Ok };
        sink.send(seq, &Report::Novelty(report));
        assert!(chip.becomes(1, u8::from(alarm), SOON), "alarm {alarm}");
        assert_eq!(chip.level(2), 1, "an alarm is no class");
    }
    sink.send(4, &health(3));
    assert!(chip.becomes(1, 0, SOON), "no camera, no alarm");
}

#[test]
#[ignore = "needs gpio-sim"]
fn heartbeat_toggles_with_decisions_only_and_a_dropped_sink_is_safe() {
    let chip = Chip::new("heart");
    let mut sink = sink(&chip.wiring(vec![(1, line(name("B"), LineMode::Level, 1, false))])).unwrap();
    for k in 0..10u8 {
        sink.send(k.into(), &class(1));
        assert!(chip.becomes(0, 1 - k % 2, SOON), "decision {k}");
    }
    sink.send(10, &class(1));
    assert!(chip.becomes(0, 1, SOON) && chip.becomes(1, 1, SOON));
    sink.send(11, &health(3));
    assert!(chip.becomes(1, 0, SOON), "no camera, no class");
    assert_eq!(chip.level(0), 1, "a health report is no decision");
    drop(sink);
    assert_eq!(chip.level(0), 0);
}

#[test]
#[ignore = "needs gpio-sim"]
fn busy_line_is_had_when_it_is_free_and_the_others_work() {
    let chip = Chip::new("busy");
    let path = format!("/dev/{}", chip.dev());
    let other =
        gpiocdev::Request::builder().on_chip(path).with_consumer("thief").with_line(1).as_output(Value::Inactive).request();
    let level = |spec| line(spec, LineMode::Level, 1, false);
    let mut sink = sink(&chip.wiring(vec![(1, level(name("B"))), (1, level(name("C")))])).unwrap();
    sink.send(0, &left(Edge::Start));
    assert!(chip.becomes(2, 1, SOON), "the free line works");
    assert_eq!(chip.level(1), 0);
    drop(other.unwrap());
    assert!(chip.becomes(1, 1, SOON), "and is at its level when it can be had");
}

#[test]
#[ignore = "needs gpio-sim"]
fn chip_that_goes_and_comes_back_under_another_number_is_found_by_its_label() {
    let mut chip = Chip::new("moves");
    let wiring = chip.wiring(vec![(1, line(name("B"), LineMode::Level, 1, false))]);
    let mut sink = sink(&wiring).unwrap();
    sink.send(0, &left(Edge::Start));
    assert!(chip.becomes(1, 1, SOON));
    let before = chip.dev();
    drop(chip);
    // No line changes: the loss is noticed when the once-a-second report comes by.
    sink.send(1, &health(0));
    std::thread::sleep(Duration::from_millis(300));
    let _first = Chip::new("first-come");
    chip = Chip::new("moves");
    assert_ne!(before, chip.dev(), "the number is another one");
    assert!(chip.becomes(1, 1, SOON), "driven again");
}

#[test]
#[ignore = "needs gpio-sim"]
fn wrong_lines_are_refused_and_an_absent_chip_is_awaited() {
    let chip = Chip::new("wrong");
    let level = |spec| line(spec, LineMode::Level, 1, false);
    for (spec, words) in [
        (name("NOPE"), "GPIO chip wrong has no line called NOPE"),
        (LineSpec::Offset(8), "GPIO chip wrong has 8 lines, there is no line 8"),
        (LineSpec::Offset(0), "given two jobs"),
    ] {
        let error = sink(&chip.wiring(vec![(1, level(spec))])).err().unwrap();
        assert!(matches!(&error, ReportError::Refused { .. }) && error.to_string().contains(words), "{error}");
    }
    drop(chip);
    let wiring =
        Wiring { chip: "late".into(), heartbeat: None, lines: vec![(1, level(name("D")))], alarm: None, buttons: vec![] };
    let mut sink = sink(&wiring).unwrap();
    sink.send(0, &left(Edge::Start));
    let chip = Chip::new("late");
    assert!(chip.becomes(3, 1, SOON));
}

/// Pressed: an example begins; let go: it is kept; however quickly that was. Another button meanwhile is nobody's.
#[test]
#[ignore = "needs gpio-sim"]
fn a_button_shows_and_keeps_examples_of_its_class() {
    let chip = Chip::new("finger");
    let button = |line: LineSpec| Button { line, active_low: true };
    let label = |text: &str| Label::try_from(text).unwrap();
    let buttons = vec![(label("circling"), button(name("B"))), (label("meeting"), button(LineSpec::Offset(5)))];
    let wiring = Wiring { buttons, ..chip.wiring(vec![]) };
    let desk = Desk::open(false);
    let own = ["idle".to_string(), "meeting".to_string()];
    let twice = Wiring {
        buttons: vec![(label("a"), button(name("B"))), (label("b"), button(LineSpec::Offset(1)))],
        ..chip.wiring(vec![])
    };
    let why = Buttons::start(&twice, &own, &desk).unwrap_err();
    assert!(why.contains("is two buttons: it is offset 1"), "{why}");
    // Another bundle may have the class by now: its button does nothing.
    let some = Buttons::start(&wiring, &own, &desk).unwrap();
    chip.press(5, true);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(desk.take(), None);
    chip.press(5, false);
    drop(some);
    let all = [&own[..], &["circling".to_string()]].concat();
    drop(Buttons::start(&wiring, &all, &desk).unwrap());

    let buttons = Buttons::start(&wiring, &own[..1], &desk).unwrap();
    assert_eq!(desk.for_a_wire().put(Command::Forget(label("circling"))), Err("not armed; see [commands]"), "wires stay unarmed");
    let next = || {
        let start = Instant::now();
        loop {
            match desk.take() {
                Some((command, _)) => return command,
                None => assert!(start.elapsed() < SOON, "nothing was commanded"),
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    for (line, class, other) in [(1, "circling", 5), (5, "meeting", 1)] {
        chip.press(line, true);
        assert_eq!(next(), Command::Teach(label(class)));
        chip.press(other, true);
        chip.press(other, false);
        chip.press(line, false);
        assert_eq!(next(), Command::Keep(label(class)));
    }
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(desk.take(), None);
    drop(buttons);
    chip.press(1, true);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(desk.take(), None, "nobody listens any more");
}
