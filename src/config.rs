//! `/etc/lookout/lookout.toml`: what an integrator says about this one installation.
//!
//! Every key may be left out; what is left out is said by the board file and the bundle, and flags override what is
//! said here. Unknown keys are refused, because a misspelt key that is silently ignored is a fault found on the road.
//! `board/lookout.toml` is the example that is installed; a test keeps it equal to the defaults here.

use crate::board::{Line, LineSpec, check_lines, from_toml};
use crate::bundle::{Decision, class};
use crate::extra;
use crate::novelty::Setup;
use crate::novelty::promise::Blocks;
use crate::qnn::MAX_THREADS;
use crate::report::{Label, NOVELTY};
use crate::shaper;
use crate::source::readable;
use crate::store::{self, policy::check_key};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the configuration lies unless `--config` says otherwise.
pub const PATH: &str = "/etc/lookout/lookout.toml";
/// Largest configuration or board file that is read, in bytes.
pub const MAX_TOML_BYTES: u64 = 64 << 10;
/// Longest silence of a program that writes a file into a pipe: it may have to fetch it, and whoever stops us meanwhile waits as long.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a configuration cannot be used. It never helps to try again: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {why}")]
pub struct ConfigError {
    /// The file.
    pub file: String,
    /// The sentence: key, found, expected.
    pub why: String,
}

/// The configuration, checked against itself.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The file it was read from, for messages.
    #[serde(skip)]
    pub file: String,
    /// Board name or path of a board file; left out: the board that the device tree names.
    pub board: Option<String>,
    /// Bundle folder; left out: the installed one, else the one baked into the program.
    pub bundle: Option<PathBuf>,
    /// State folder, where `lookout install` puts bundles.
    pub state: PathBuf,
    /// Source, as after `--source`; left out: the board's camera.
    pub source: Option<String>,
    /// Where reports go, as after `--report`; left out: what the board says.
    pub report: Option<Vec<String>>,
    /// Seconds after which an unchanged class is said again, 1 to 3600.
    pub heartbeat_s: u32,
    /// Threads of the int8 encoder, 1 or 2, at most what the board has for inference. Two are for large networks.
    pub threads: usize,
    /// Say where in the picture something moves.
    #[serde(rename = "where")]
    pub place: bool,
    /// Which part of the picture is looked at; left out: all of it.
    pub region: Option<Region>,
    /// When a class counts as seen, instead of what the bundle says.
    pub decision: Overrides,
    /// Lines for this box's wiring, instead of the board's.
    pub gpio: Gpio,
    /// Where the bundle's extra numbers come from, name to [`extra::Spec`]; one that is left out is always missing.
    pub extra: BTreeMap<String, String>,
    /// Clips of what was seen around events.
    pub blackbox: BlackBox,
    /// What a reader of the serial line may change.
    pub commands: Commands,
    /// What was never here before.
    pub novelty: Novelty,
    /// Which bundles may be installed and run.
    pub install: Install,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            file: PATH.into(),
            board: None,
            bundle: None,
            state: store::PATH.into(),
            source: None,
            report: None,
            heartbeat_s: 5,
            threads: 1,
            place: false,
            region: None,
            decision: Overrides::default(),
            gpio: Gpio::default(),
            extra: BTreeMap::new(),
            blackbox: BlackBox::default(),
            commands: Commands::default(),
            novelty: Novelty::default(),
            install: Install::default(),
        }
    }
}

/// `[region]`: the part of the picture that is looked at, as fractions of its width and height, so that it
/// holds for any resolution.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Region {
    /// Left edge, 0 to 1.
    pub x: f32,
    /// Upper edge, 0 to 1.
    pub y: f32,
    /// Width, more than 0; `x + width` is at most 1.
    pub width: f32,
    /// Height, more than 0; `y + height` is at most 1.
    pub height: f32,
}

/// `[decision]`: thresholds for all classes, and `[decision.label.NAME]` for one.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Overrides {
    /// Probability at which a class may start, 0 to 1.
    pub enter: Option<f32>,
    /// Probability below which it ends, 0 to `enter`.
    pub leave: Option<f32>,
    /// How long either must hold, in ms.
    pub min_ms: Option<u32>,
    /// The same three keys for one class.
    pub label: BTreeMap<String, LabelOverride>,
}

/// `[decision.label.NAME]`.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct LabelOverride {
    /// Probability at which this class may start, 0 to 1.
    pub enter: Option<f32>,
    /// Probability below which it ends, 0 to `enter`.
    pub leave: Option<f32>,
    /// How long either must hold, in ms.
    pub min_ms: Option<u32>,
}

/// `[gpio]`: this box's wiring. What is left out is the board's.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Gpio {
    /// Chip label (`gpiodetect` prints it) or device path.
    pub chip: Option<String>,
    /// The line that toggles while decisions are made.
    pub heartbeat: Option<LineSpec>,
    /// Label to line. If any is given, the board's own lines are not used.
    pub lines: BTreeMap<String, Line>,
    /// Label of a class to teach to the button that is held while it is shown.
    pub buttons: BTreeMap<String, Button>,
}

/// A button in `[gpio.buttons]`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Button {
    /// Which line.
    pub line: LineSpec,
    /// Pressed means 0 V, and the line is pulled up; false: 3.3 V, and it is pulled down.
    #[serde(default = "Button::default_active_low")]
    pub active_low: bool,
}

impl Button {
    fn default_active_low() -> bool {
        true
    }
}

/// `[blackbox]`: what was seen around an event, kept as a clip that `lookout classify` replays.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct BlackBox {
    /// The folder; left out: nothing is kept.
    pub dir: Option<PathBuf>,
    /// Seconds before the event's report, 1 to 600.
    pub seconds_before: u32,
    /// Seconds after it, 0 to 600.
    pub seconds_after: u32,
    /// MiB that all clips may take together, from 1; the oldest go first.
    pub max_mib: u32,
}

impl Default for BlackBox {
    fn default() -> Self {
        Self { dir: None, seconds_before: 5, seconds_after: 5, max_mib: 64 }
    }
}

/// `[commands]`.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct Commands {
    /// May commands on the serial line change anything? Queries are always answered.
    pub armed: bool,
}

/// `[novelty]`: the alarm for what was never here before, where `lookout learn` or the bundle says what is normal.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Novelty {
    /// May it be said?
    pub enabled: bool,
    /// False alarms a day that are allowed, more than 0.
    pub false_alarms: f64,
    /// Seconds of a block, whose highest score counts; 1 to 3600. Longer ones promise less often and can be promised later.
    pub block_s: u32,
}

impl Default for Novelty {
    fn default() -> Self {
        Self { enabled: true, false_alarms: 1.0, block_s: 60 }
    }
}

impl Novelty {
    /// Ticks of a block.
    pub fn block(&self, tick_ms: u32) -> u32 {
        (self.block_s * 1000 / tick_ms.max(1)).max(1)
    }

    /// What is known of a place, under these wishes.
    pub fn apply(&self, setup: Setup) -> Option<Setup> {
        let tick_ms = setup.normal.tick_ms.max(1);
        let block = self.block(tick_ms);
        // By whole ticks: a block of 19 s is one of 10 where ticks are of 10.
        let rate = self.false_alarms * f64::from(block) * f64::from(tick_ms) / 86_400_000.0;
        // Blocks of another length promise nothing of these.
        let blocks = if block == setup.block {
            setup.blocks
        } else {
            if !setup.blocks.best.is_empty() && self.enabled {
                let (n, were, s) = (setup.blocks.best.len(), setup.block * tick_ms / 1000, self.block_s);
                log::warn!(
                    "novelty.block_s = {s}: {n} blocks that were counted are of {were} s and promise nothing of these; counting begins anew"
                );
            }
            Blocks::default()
        };
        self.enabled.then_some(Setup { rate, block, blocks, ..setup })
    }
}

/// `[install]`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct Install {
    /// minisign public keys. If there is any, only bundles signed by one of them are installed and run (the built-in one
    /// is part of the program), and a version never goes back.
    pub keys: Vec<String>,
}

impl Config {
    /// Reads and checks a configuration file.
    ///
    /// # Errors
    /// One sentence naming file, line and key, what was found and what was expected.
    pub fn open(path: &Path) -> Result<Self, ConfigError> {
        let file = path.display().to_string();
        let text = read_text(path).map_err(|why| ConfigError { file: file.clone(), why })?;
        Self::parse(&file, &text)
    }

    /// The part of the camera's picture that is looked at.
    pub fn looked_at(&self) -> shaper::Region {
        // What is above 1 by the last digit ends with the picture.
        let inside = |r: Region| shaper::Region { x: r.x, y: r.y, w: r.width.min(1.0 - r.x), h: r.height.min(1.0 - r.y) };
        self.region.map_or_else(shaper::Region::default, inside)
    }

    /// The installed configuration, or the defaults where none is installed.
    ///
    /// # Errors
    /// As [`Config::open`]; a file that is not there is no error.
    pub fn installed() -> Result<Self, ConfigError> {
        let path = Path::new(PATH);
        if path.exists() { Self::open(path) } else { Ok(Self::default()) }
    }

    /// Checks the text of a configuration; `file` is for messages.
    ///
    /// # Errors
    /// As [`Config::open`].
    pub fn parse(file: &str, text: &str) -> Result<Self, ConfigError> {
        let refuse = |why: String| ConfigError { file: file.to_string(), why };
        let config: Self = from_toml(text).map_err(refuse)?;
        config.check().map_err(refuse)?;
        Ok(Self { file: file.into(), ..config })
    }

    fn check(&self) -> Result<(), String> {
        if !(1..=3600).contains(&self.heartbeat_s) {
            return Err(format!("heartbeat_s = {}, expected 1 to 3600", self.heartbeat_s));
        }
        let n = &self.novelty;
        if !(n.false_alarms > 0.0 && n.false_alarms.is_finite()) {
            return Err(format!("novelty.false_alarms = {}, expected a number a day above 0", n.false_alarms));
        }
        if !(1..=3600).contains(&n.block_s) {
            return Err(format!("novelty.block_s = {}, expected 1 to 3600", n.block_s));
        }
        if !(1..=MAX_THREADS).contains(&self.threads) {
            return Err(format!("threads = {}, expected 1 to {MAX_THREADS}", self.threads));
        }
        let b = &self.blackbox;
        if !(1..=600).contains(&b.seconds_before) || b.seconds_after > 600 {
            let (before, after) = (b.seconds_before, b.seconds_after);
            return Err(format!("blackbox: seconds_before = {before}, seconds_after = {after}, expected 1 to 600 and 0 to 600"));
        }
        if b.max_mib == 0 {
            return Err("blackbox.max_mib = 0, expected 1 or more; leave `dir` out to keep nothing".into());
        }
        if self.report.as_ref().is_some_and(Vec::is_empty) {
            return Err("report = [] says nothing to anyone; name a sink, or leave the key out for the board's own".into());
        }
        if let Some(r) = &self.region {
            // One thousandth of room: 0.3 + 0.7 need not be exactly 1 in binary.
            let inside = |at: f32, size: f32| (0.0..1.0).contains(&at) && size > 0.0 && at + size <= 1.001;
            if !inside(r.x, r.width) || !inside(r.y, r.height) {
                return Err(format!(
                    "region: x {} width {} y {} height {}, expected fractions of the picture that stay within 0 to 1",
                    r.x, r.width, r.y, r.height
                ));
            }
        }
        if !self.state.is_absolute() {
            return Err(format!("state = {:?}, expected a path from /", self.state));
        }
        self.install.keys.iter().try_for_each(|key| check_key(key)).map_err(|e| format!("install.keys: {e}"))?;
        self.extra.iter().try_for_each(|(name, text)| extra::Spec::read(name, text).map(drop))?;
        let d = &self.decision;
        let all = LabelOverride { enter: d.enter, leave: d.leave, min_ms: d.min_ms };
        all.check("decision")?;
        d.label.iter().try_for_each(|(name, one)| one.check(&format!("decision.label.{name}")))?;
        let lines = self.gpio.lines.iter().map(|(l, line)| (l.as_str(), &line.line));
        let buttons = self.gpio.buttons.values().map(|button| ("a button", &button.line));
        check_lines("gpio", lines.chain(buttons), self.gpio.heartbeat.as_ref())?;
        self.gpio.buttons.keys().try_for_each(|name| class("gpio.buttons", name).map(drop))?;
        self.gpio.lines.iter().try_for_each(|(label, line)| line.check(&format!("gpio.lines.{label}")))
    }

    /// Do thresholds and lines name only classes that there are? Whoever runs another bundle than the one that was meant need not ask.
    ///
    /// # Errors
    /// A class that the bundle does not have.
    pub fn names(&self, labels: &[Label]) -> Result<(), ConfigError> {
        known(self.decision.label.keys(), labels, "decision.label").map_err(|why| self.refuse(why))?;
        known(self.gpio.lines.keys().filter(|name| *name != NOVELTY), labels, "gpio.lines").map_err(|why| self.refuse(why))
    }

    /// The key under which a class is named, if it is: without that class `lookout run` would not start.
    pub fn mentions(&self, label: &str) -> Option<&'static str> {
        match () {
            () if self.decision.label.contains_key(label) => Some("decision.label"),
            () if label != NOVELTY && self.gpio.lines.contains_key(label) => Some("gpio.lines"),
            () => None,
        }
    }

    fn refuse(&self, why: String) -> ConfigError {
        ConfigError { file: self.file.clone(), why }
    }

    /// The thresholds of every class: the bundle's, changed by `[decision]`, changed by `[decision.label.NAME]`.
    ///
    /// # Errors
    /// `leave` above `enter` once both are put together.
    pub fn decisions(&self, bundle: &Decision, labels: &[Label]) -> Result<Vec<Decision>, ConfigError> {
        let all = LabelOverride { enter: self.decision.enter, leave: self.decision.leave, min_ms: self.decision.min_ms };
        let mut out = Vec::with_capacity(labels.len());
        for label in labels {
            let one = self.decision.label.get(label.as_str()).copied().unwrap_or_default();
            let d = one.over(&all.over(bundle));
            if d.leave > d.enter {
                return Err(self.refuse(format!(
                    "decision for {label}: leave = {} is above enter = {} (bundle: enter {}, leave {})",
                    d.leave, d.enter, bundle.enter, bundle.leave
                )));
            }
            out.push(d);
        }
        Ok(out)
    }
}

impl LabelOverride {
    fn check(&self, key: &str) -> Result<(), String> {
        for (name, value) in [("enter", self.enter), ("leave", self.leave)] {
            if let Some(v) = value.filter(|v| !(0.0..=1.0).contains(v)) {
                return Err(format!("{key}.{name} = {v}, expected 0 to 1"));
            }
        }
        match (self.enter, self.leave, self.min_ms) {
            (Some(e), Some(l), _) if l > e => Err(format!("{key}.leave = {l}, expected at most {key}.enter = {e}")),
            (_, _, Some(ms)) if ms > 3_600_000 => Err(format!("{key}.min_ms = {ms}, expected at most 3600000 (an hour)")),
            _ => Ok(()),
        }
    }

    /// `self` where it says something, `below` elsewhere.
    fn over(&self, below: &Decision) -> Decision {
        Decision {
            enter: self.enter.unwrap_or(below.enter),
            leave: self.leave.unwrap_or(below.leave),
            min_ms: self.min_ms.unwrap_or(below.min_ms),
            clip: below.clip,
        }
    }
}

/// Refuses names that are not labels of the bundle, naming those that are.
fn known<'a>(names: impl Iterator<Item = &'a String>, labels: &[Label], key: &str) -> Result<(), String> {
    for name in names {
        if !labels.iter().any(|l| l.as_str() == name) {
            let list: Vec<&str> = labels.iter().map(Label::as_str).collect();
            return Err(format!("{key}: the bundle has no class {name:?}, it has {}", list.join(", ")));
        }
    }
    Ok(())
}

/// Reads a small text file.
///
/// # Errors
/// A sentence without the path: not there, a directory, too large, not UTF-8.
pub(crate) fn read_text(path: &Path) -> Result<String, String> {
    let bytes = read_whole(path, MAX_TOML_BYTES)?;
    String::from_utf8(bytes).map_err(|e| format!("not UTF-8 text: {e}"))
}

/// Reads a file of at most `most` bytes; a device that never ends, given by mistake, is one that is too long.
///
/// # Errors
/// A sentence without the path: as [`read_bounded`].
pub(crate) fn read_whole(path: &Path, most: u64) -> Result<Vec<u8>, String> {
    read_bounded(path, most).map_err(|e| e.to_string())
}

/// Reads a file of at most `most` bytes that a program wrote: nothing else than a file is opened, since a FIFO in its place would be waited for.
///
/// # Errors
/// A sentence without the path; of kind `NotFound` where there is none, and `FileTooLarge` where it is longer.
pub(crate) fn read_file(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("a file is expected here, found something else"));
    }
    read_bounded(path, most)
}

/// Reads at most `most` bytes of a file, or of what a program writes into a pipe (`--config <(...)`), which is waited for, but not for ever.
///
/// # Errors
/// Without the path: not there, a directory, too large, or [`PATIENCE`] without a byte.
pub(crate) fn read_bounded(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let (meta, from) = readable(path, PATIENCE)?;
    if meta.is_dir() {
        return Err(io::Error::new(ErrorKind::IsADirectory, "a file is expected here, found a directory"));
    }
    let long = |why: String| Err(io::Error::new(ErrorKind::FileTooLarge, why));
    if meta.len() > most {
        return long(format!("{} bytes, at most {most} are read", meta.len()));
    }
    // All of it at once: a reader that grows would ask for twice the room of a large file.
    let mut bytes = Vec::with_capacity(usize::try_from(meta.len()).unwrap_or(0));
    from.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most { long(format!("more than {most} bytes, no such file is that long")) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        Config::parse("lookout.toml", text).expect_err("this must be refused").to_string()
    }

    fn labels() -> Vec<Label> {
        ["idle", "left", "right"].iter().map(|l| Label::try_from(*l).expect("short")).collect()
    }

    #[test]
    fn nothing_said_is_the_default() {
        assert_eq!(Config::parse(PATH, "").expect("empty is fine"), Config::default());
        assert!(!Config::default().commands.armed);
    }

    #[test]
    fn unknown_key_is_refused_with_file_line_and_known_keys() {
        let why = refused("heartbeat_s = 2\nheartbeet = 3\n");
        assert!(why.starts_with("lookout.toml: line 2: unknown field `heartbeet`, expected one of `board`,"), "{why}");
        let why = refused("[region]\nx = 0.0\ny = 0.0\nwidth = 1.0\nheigth = 1.0\n");
        assert!(why.contains("line 5: unknown field `heigth`") && why.contains("`height`"), "{why}");
        assert!(!why.contains('\n'));
    }

    #[test]
    fn values_out_of_range_are_refused_with_both_sides() {
        assert!(refused("heartbeat_s = 0").contains("heartbeat_s = 0, expected 1 to 3600"));
        assert!(refused("threads = 3").contains("threads = 3, expected 1 to 2"));
        assert!(refused("report = []").contains("report = []"));
        assert!(refused("[region]\nx = 0.5\ny = 0.0\nwidth = 0.6\nheight = 1.0").contains("within 0 to 1"));
        assert!(refused("[region]\nx = nan\ny = 0.0\nwidth = 0.6\nheight = 1.0").contains("within 0 to 1"));
        assert!(refused("[decision]\nenter = 1.5").contains("decision.enter = 1.5, expected 0 to 1"));
        assert!(refused("[decision]\nenter = nan").contains("decision.enter = NaN"));
        assert!(refused("[decision.label.left]\nenter = 0.5\nleave = 0.7").contains("decision.label.left.leave = 0.7"));
        assert!(refused("[commands]\narmed = \"yes\"").contains("line 2"));
        assert!(refused("a = [").contains("line 1"));
    }

    #[test]
    fn two_classes_on_one_line_are_refused() {
        let why = refused("[gpio.lines]\nleft = { line = \"GPIO5\" }\nright = { line = \"GPIO5\" }\n");
        assert!(why.contains("left") && why.contains("right") && why.contains("GPIO5"), "{why}");
        let why = refused("[gpio.lines]\nleft = { line = \"GPIO5\" }\n[gpio.buttons]\nwave = { line = \"GPIO5\" }\n");
        assert!(why.contains("left and a button are both on line GPIO5"), "{why}");
        assert!(refused("[gpio.buttons]\n\"a,b\" = { line = 5 }\n").contains("gpio.buttons"));
        let why = refused("[gpio]\nheartbeat = 7\n[gpio.lines]\nleft = { line = 7 }\n");
        assert!(why.contains("heartbeat") && why.contains("left"), "{why}");
    }

    #[test]
    fn thresholds_come_from_bundle_then_all_then_label() {
        let text = "[decision]\nmin_ms = 500\n[decision.label.left]\nenter = 0.9\n";
        let config = Config::parse("x", text).expect("good");
        let d = config.decisions(&Decision::default(), &labels()).expect("good");
        assert_eq!((d[0].enter, d[0].min_ms), (0.6, 500));
        assert_eq!((d[1].enter, d[1].leave, d[1].min_ms), (0.9, 0.4, 500));
        let bad = Config::parse("x", "[decision]\nleave = 0.8\n").expect("alone it is fine");
        let why = bad.decisions(&Decision::default(), &labels()).expect_err("above enter").to_string();
        assert!(why.contains("leave = 0.8 is above enter = 0.6"), "{why}");
        let bad = Config::parse("x", "[decision.label.jump]\nenter = 0.8\n").expect("alone it is fine");
        let why = bad.names(&labels()).expect_err("no such class").to_string();
        assert!(why.starts_with("x: decision.label: ") && why.contains("\"jump\"") && why.contains("idle, left, right"), "{why}");
        let bad = Config::parse("x", "[gpio.lines]\njump = { line = 5 }\nnovelty = { line = 6 }\n").expect("alone it is fine");
        let why = bad.names(&labels()).expect_err("no such class").to_string();
        assert!(why.starts_with("x: gpio.lines: ") && why.contains("\"jump\""), "{why}");
    }

    #[test]
    fn a_directory_or_a_flood_is_refused() {
        assert!(Config::open(Path::new("/")).expect_err("directory").to_string().contains("directory"));
        assert!(Config::open(Path::new("/dev/zero")).expect_err("endless").to_string().contains("bytes"));
        assert!(Config::open(Path::new("/nowhere.toml")).expect_err("missing").to_string().starts_with("/nowhere.toml: "));
        assert!(read_file(Path::new("/dev/zero"), 9).expect_err("no file").to_string().contains("found something else"));
        assert_eq!(read_file(Path::new("Cargo.toml"), 9).expect_err("long").kind(), ErrorKind::FileTooLarge);
        assert_eq!(read_file(Path::new("/nowhere.toml"), 9).expect_err("missing").kind(), ErrorKind::NotFound);
    }
}
