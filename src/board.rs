//! The board we are on: chosen by its device tree, checked, and asked where camera, serial port and lines are.
//!
//! What differs between boards is a file in `board/`, never a branch here. All board files are baked into the program;
//! another one is given by path. A board file that does not belong to this machine is refused with one sentence that
//! names both, because a wrong pin map drives someone's relay. The device tree is read as the kernel shows it
//! (Documentation/devicetree/usage-model.rst): `compatible` lists the board first, then ever more general names.

mod schema;

pub use schema::{
    BAUDS, Board, Camera, FORMATS, Gpio, Line, LineMode, LineSpec, Measured, Serial, Status, Thermal, Throttle, check_lines,
    from_toml,
};

use crate::bundle;
use crate::config::{self, Button};
use crate::report::{Flow, Label, NOVELTY, ReportError, ReportSpec};
use std::path::{Path, PathBuf};

/// Where the kernel says what machine this is.
const DEVICE_TREE: &str = "/proc/device-tree/compatible";

/// Why a board cannot be used. It never helps to try again: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("board {board}: {why}")]
pub struct BoardError {
    /// Name or file.
    pub board: String,
    /// The sentence: key, found, expected.
    pub why: String,
}

/// GPIO as it will be used: the board's lines, or the ones in the configuration, for the classes of this bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wiring {
    /// Chip label or device path.
    pub chip: String,
    /// Toggles while decisions are made.
    pub heartbeat: Option<LineSpec>,
    /// Index of the class in the bundle's labels, and its line.
    pub lines: Vec<(usize, Line)>,
    /// The line of the alarm for what was never here before (`lines.novelty`).
    pub alarm: Option<Line>,
    /// Classes to teach, and the button that is held while one is shown.
    pub buttons: Vec<(Label, Button)>,
}

impl Wiring {
    /// Is there nothing to drive?
    pub fn is_empty(&self) -> bool {
        self.heartbeat.is_none() && self.lines.is_empty() && self.alarm.is_none()
    }

    /// The same without what is driven.
    pub fn buttons_only(self) -> Self {
        Self { heartbeat: None, lines: Vec::new(), alarm: None, ..self }
    }
}

/// The `compatible` strings of this machine, most specific first; empty where there is no device tree (a PC).
pub fn machine() -> Vec<String> {
    strings(&std::fs::read(DEVICE_TREE).unwrap_or_default())
}

/// Cuts the device tree's list: strings that each end with a zero byte.
pub fn strings(bytes: &[u8]) -> Vec<String> {
    bytes.split(|b| *b == 0).filter(|s| !s.is_empty()).map(|s| String::from_utf8_lossy(s).into_owned()).collect()
}

impl Board {
    /// Reads and checks a board file.
    ///
    /// # Errors
    /// One sentence naming file, line and key, found and expected.
    pub fn open(path: &Path) -> Result<Self, BoardError> {
        let board = path.display().to_string();
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let text = config::read_text(path).and_then(|text| Self::parse(&stem, &text));
        text.map_err(|why| BoardError { board, why })
    }

    /// The board that the machine names first among `boards`; without a device tree, the one for any machine.
    ///
    /// # Errors
    /// No board file knows this machine: names it, and says what to do.
    pub fn detect<'a>(boards: &'a [Self], machine: &[String]) -> Result<&'a Self, BoardError> {
        let found = machine.iter().find_map(|m| boards.iter().find(|b| b.compatible.contains(m)));
        let any = || boards.iter().find(|b| machine.is_empty() && b.compatible.is_empty());
        found.or_else(any).ok_or_else(|| BoardError {
            board: "not found".into(),
            why: format!(
                "no board file knows this machine, {}; take the general one with --board host, or write one (board/README.md)",
                say(machine)
            ),
        })
    }

    /// The board to use: `spec` is a name, the path of a file, or nothing for detection.
    ///
    /// # Errors
    /// No such board, a bad file, or a board that is not this machine's.
    pub fn choose(boards: &[Self], spec: Option<&str>, machine: &[String]) -> Result<Self, BoardError> {
        let board = match spec {
            None => return Self::detect(boards, machine).cloned(),
            Some(path) if path.contains('/') || path.ends_with(".toml") => Self::open(Path::new(path))?,
            Some(name) => boards.iter().find(|b| b.name == name).cloned().ok_or_else(|| {
                let known: Vec<&str> = boards.iter().map(|b| b.name.as_str()).collect();
                let why = format!("no such board, there are {}; or give the path of a board file", known.join(", "));
                BoardError { board: name.to_string(), why }
            })?,
        };
        board.belongs_to(machine)?;
        Ok(board)
    }

    /// Refuses a board that is not this machine's.
    ///
    /// # Errors
    /// One sentence naming both.
    pub fn belongs_to(&self, machine: &[String]) -> Result<(), BoardError> {
        if self.compatible.is_empty() || machine.iter().any(|m| self.compatible.contains(m)) {
            return Ok(());
        }
        Err(self.refuse(format!("it is for {}, but this machine is {}", say(&self.compatible), say(machine))))
    }

    /// The camera's path now, or `None` while no candidate is there. Its lasting name, not the node behind it.
    pub fn camera_path(&self) -> Option<PathBuf> {
        self.camera.device.iter().find_map(|pattern| first_match(pattern))
    }

    /// Where reports go: what was asked for, or what the board file says where nothing was. `serial` alone is the
    /// board's own port.
    ///
    /// # Errors
    /// `serial` on a board without one, a report that cannot be understood, or two that go to one place.
    pub fn reports(&self, wanted: &[String]) -> Result<Vec<ReportSpec>, ReportError> {
        let refuse = |why: String| ReportError::Refused { what: format!("board {}", self.name), why };
        let read = |text: &String| match (text.as_str(), &self.serial) {
            ("serial", Some(s)) => Ok(ReportSpec::Serial { path: s.device.clone(), baud: s.baud, flow: Flow::None }),
            ("serial", None) => Err(refuse("it names no serial port; say which, as in serial:/dev/ttyUSB0,115200".into())),
            (text, _) => text.parse(),
        };
        if wanted.is_empty() {
            return self.report.iter().map(read).collect::<Result<_, _>>().map_err(|e| refuse(e.to_string()));
        }
        let mut specs: Vec<ReportSpec> = Vec::with_capacity(wanted.len());
        for text in wanted {
            let spec = read(text)?;
            if specs.iter().any(|other| other.shares(&spec)) {
                let why = "another report goes there already, and each needs a place of its own".into();
                return Err(ReportError::Refused { what: format!("report {text}"), why });
            }
            specs.push(spec);
        }
        Ok(specs)
    }

    /// So many threads of inference, if there are as many.
    ///
    /// # Errors
    /// How many there are.
    pub fn threads(&self, wanted: usize) -> Result<usize, BoardError> {
        if wanted > self.threads {
            return Err(self.refuse(format!("threads = {wanted}: {} are for inference here", self.threads)));
        }
        Ok(wanted)
    }

    /// GPIO lines for the classes of a bundle. Lines in `wanted` (the configuration) take the place of the board's; board
    /// lines for classes that the bundle does not have are left alone, since the same board serves many bundles.
    ///
    /// # Errors
    /// Two jobs on one line, lines without a chip. Configured classes that the bundle does not have ([`config::Config::names`]) have no line.
    pub fn wiring(&self, wanted: &config::Gpio, labels: &[Label]) -> Result<Option<Wiring>, BoardError> {
        let own = self.gpio.as_ref();
        let lines = if wanted.lines.is_empty() { own.map(|g| &g.lines) } else { Some(&wanted.lines) };
        let heartbeat = wanted.heartbeat.as_ref().or(own.and_then(|g| g.heartbeat.as_ref()));
        let Some(chip) = wanted.chip.as_ref().or(own.map(|g| &g.chip)) else {
            return match (&wanted.heartbeat, wanted.lines.is_empty() && wanted.buttons.is_empty()) {
                (None, true) => Ok(None),
                _ => Err(self.refuse("it has no GPIO chip; lines in the configuration need gpio.chip as well")),
            };
        };
        let index = |name: &str| labels.iter().position(|l| l.as_str() == name);
        let alarm = lines.and_then(|lines| lines.get(NOVELTY)).cloned();
        let lines: Vec<_> = lines.into_iter().flatten().filter_map(|(name, line)| Some((index(name)?, line.clone()))).collect();
        let jobs = lines.iter().map(|(i, line)| (labels[*i].as_str(), &line.line));
        let jobs = jobs.chain(alarm.iter().map(|line| (NOVELTY, &line.line)));
        let jobs = jobs.chain(wanted.buttons.values().map(|button| ("a button", &button.line)));
        check_lines("gpio", jobs, heartbeat).map_err(|why| self.refuse(why))?;
        let named = |(name, button): (&String, &Button)| Ok((bundle::class("gpio.buttons", name)?, button.clone()));
        let buttons = wanted.buttons.iter().map(named).collect::<Result<_, String>>().map_err(|why| self.refuse(why))?;
        Ok(Some(Wiring { chip: chip.clone(), heartbeat: heartbeat.cloned(), lines, alarm, buttons }))
    }

    /// How far the file can be trusted, for a person: a date, or the plain word.
    pub fn trust(&self) -> String {
        match (&self.measured, self.status) {
            (Some(m), _) => format!("measured {}", m.date),
            (None, Some(Status::Tested)) => "tested".into(),
            (None, _) => "untested".into(),
        }
    }

    /// An error about this board.
    pub fn refuse(&self, why: impl Into<String>) -> BoardError {
        BoardError { board: self.name.clone(), why: why.into() }
    }
}

/// A list of device-tree strings for a sentence.
fn say(names: &[String]) -> String {
    match names {
        [] => "one without a device tree".into(),
        names => names.iter().map(|n| format!("{n:?}")).collect::<Vec<_>>().join(", "),
    }
}

/// The first path in name order that fits a pattern with `*` in its last part, or the path itself if it is there.
/// Whoever reopens a device asks again: another one may be the first by then, or the same one under another name.
pub fn first_match(pattern: &Path) -> Option<PathBuf> {
    let (dir, name) = (pattern.parent()?, pattern.file_name()?.to_str()?);
    if !name.contains('*') {
        return pattern.exists().then(|| pattern.to_path_buf());
    }
    let entries = std::fs::read_dir(dir).ok()?.filter_map(Result::ok);
    let fits = entries.filter(|e| e.file_name().to_str().is_some_and(|n| fits(name, n)));
    fits.map(|e| e.path()).min()
}

/// Does `text` fit `pattern`, where `*` stands for anything?
fn fits(pattern: &str, text: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else { return pattern == text };
    let Some(rest) = text.strip_prefix(head) else { return false };
    (0..=rest.len()).filter(|i| rest.is_char_boundary(*i)).any(|i| fits(tail, &rest[i..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boards() -> Vec<Board> {
        let make = |name: &str, compatible: &str| {
            let text = format!(
                "name = {name:?}\ntitle = \"x\"\ncompatible = [{compatible}]\nthreads = 1\nreport = [\"gpio\"]\n\
                 status = \"untested\"\n[thermal]\nzone = []\n[gpio]\nchip = \"c\"\nheartbeat = 1\n\
                 lines.left = {{ line = \"A\" }}\nlines.fall = {{ line = 3, mode = \"pulse\" }}\n\
                 [camera]\ndevice = [\"/dev/v\"]\nformats = [\"YUYV\"]\nwidth = 64\nheight = 64\nrate_hz = 5\n"
            );
            Board::parse(name, &text).expect("good")
        };
        vec![make("four", "\"pi,four\""), make("five", "\"pi,five\", \"pi,five-b\""), make("host", "")]
    }

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(ToString::to_string).collect()
    }

    fn labels(list: &[&str]) -> Vec<Label> {
        list.iter().map(|l| Label::try_from(*l).expect("short")).collect()
    }

    #[test]
    fn the_machine_names_its_board() {
        let (boards, found) = (boards(), |list: &[&str]| Board::detect(&boards(), &strings(list)).map(|b| b.name.clone()));
        assert_eq!(found(&["pi,five-b", "pi,four", "soc"]).expect("first name wins"), "five");
        assert_eq!(found(&["other", "pi,four"]).expect("second name"), "four");
        assert_eq!(found(&[]).expect("no device tree"), "host");
        let why = found(&["radxa,rock-5b", "rockchip,rk3588"]).expect_err("unknown").to_string();
        assert!(why.contains("radxa,rock-5b") && why.contains("--board host"), "{why}");
        assert!(Board::choose(&boards, Some("host"), &strings(&["radxa,rock-5b"])).is_ok());
    }

    #[test]
    fn a_foreign_board_is_refused_naming_both() {
        let why = Board::choose(&boards(), Some("four"), &strings(&["pi,five"])).expect_err("foreign").to_string();
        assert_eq!(why, "board four: it is for \"pi,four\", but this machine is \"pi,five\"");
        let why = Board::choose(&boards(), Some("four"), &[]).expect_err("a PC").to_string();
        assert!(why.ends_with("but this machine is one without a device tree"), "{why}");
        let why = Board::choose(&boards(), Some("six"), &[]).expect_err("unknown").to_string();
        assert!(why.contains("four, five, host"), "{why}");
        let why = Board::choose(&boards(), Some("/nowhere/x.toml"), &[]).expect_err("missing").to_string();
        assert!(why.starts_with("board /nowhere/x.toml: "), "{why}");
    }

    #[test]
    fn device_tree_strings_end_with_zero_bytes() {
        assert_eq!(super::strings(b"raspberrypi,4-model-b\0brcm,bcm2711\0"), strings(&["raspberrypi,4-model-b", "brcm,bcm2711"]));
        assert_eq!(super::strings(b""), strings(&[]));
    }

    #[test]
    fn wiring_is_the_configurations_or_the_boards_for_classes_that_exist() {
        let board = &boards()[0];
        let ours = board.wiring(&config::Gpio::default(), &labels(&["idle", "left"])).expect("good").expect("some");
        assert_eq!((ours.lines.len(), ours.lines[0].0), (1, 1));
        assert_eq!(ours.heartbeat, Some(LineSpec::Offset(1)));
        let mut wanted = config::Gpio::default();
        wanted.lines.insert("jump".into(), ours.lines[0].1.clone());
        let none = board.wiring(&wanted, &labels(&["idle", "left"])).expect("good").expect("some");
        assert!(none.lines.is_empty(), "lines that are configured stand instead of the board's: {:?}", none.lines);
        wanted.lines.clear();
        wanted.heartbeat = Some(LineSpec::Name("A".into()));
        let why = board.wiring(&wanted, &labels(&["left"])).expect_err("two jobs").to_string();
        assert!(why.contains("heartbeat and left are both on line A"), "{why}");
    }

    #[test]
    fn serial_alone_is_the_boards_port() {
        let board = &boards()[0];
        assert_eq!(board.reports(&[]).expect("the board's"), [ReportSpec::Gpio]);
        let why = board.reports(&strings(&["serial"])).expect_err("none").to_string();
        assert!(why.starts_with("board four: it names no serial port"), "{why}");
        assert!(board.reports(&strings(&["telegraph"])).is_err());
        let serial = Some(Serial { device: "/dev/t".into(), baud: 9600 });
        let board = Board { serial, ..board.clone() };
        let spec = ReportSpec::Serial { path: "/dev/t".into(), baud: 9600, flow: Flow::None };
        assert_eq!(board.reports(&strings(&["serial"])).expect("good"), [spec]);
    }

    #[test]
    fn patterns_find_the_first_in_name_order() {
        assert!(fits("*", "") && fits("a*c", "abc") && fits("a*b*c", "aXbYbZc") && fits("ab", "ab"));
        assert!(!fits("a*c", "ab") && !fits("ab", "abc") && !fits("a*", "ba"));
        assert_eq!(first_match(Path::new("/proc/self/stat*")), Some(PathBuf::from("/proc/self/stat")));
        assert_eq!(first_match(Path::new("/proc/self/nothing*")), None);
        assert_eq!(first_match(Path::new("/dev/null")), Some(PathBuf::from("/dev/null")));
    }
}
