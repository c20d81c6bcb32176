//! What a board file may say, key for key, and what makes it whole.
//!
//! This file uses nothing but the standard library, serde and toml, because `build.rs` includes it as it stands: a bad
//! board file fails the build with its name and key, by the same rules that hold for a file given with `--board`.

use serde::de::{DeserializeOwned, Error, Visitor};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// A board: what differs between one camera box and another. Made by [`Board::parse`], so every value is checked.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Board {
    /// `<vendor>-<board>`, the file's name without `.toml`.
    pub name: String,
    /// What the vendor calls it.
    pub title: String,
    /// Device-tree `compatible` strings of this board, most specific only; empty: any machine, chosen by itself only
    /// where there is no device tree.
    pub compatible: Vec<String>,
    /// Cores that inference may use, 1 to 64.
    pub threads: usize,
    /// Where reports go unless the configuration says otherwise: `serial`, `gpio`, `stdout`, ...
    pub report: Vec<String>,
    /// How far this file can be trusted, where nothing was measured.
    pub status: Option<Status>,
    /// The camera.
    pub camera: Camera,
    /// The serial port for reports.
    pub serial: Option<Serial>,
    /// GPIO chip and lines.
    pub gpio: Option<Gpio>,
    /// Temperature and throttling.
    pub thermal: Thermal,
    /// Numbers taken on this board; takes the place of `status`.
    pub measured: Option<Measured>,
}

/// `status`, for a board file without `[measured]`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Written from the vendor's documents, never run on the board.
    Untested,
    /// The tests run on it; no time measured on it means anything.
    Tested,
}

/// `[camera]`.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Camera {
    /// Paths in order of preference; `*` in the last part stands for anything, the first in name order is taken.
    pub device: Vec<PathBuf>,
    /// V4L2 pixel formats in order of preference, as four characters.
    pub formats: Vec<String>,
    /// Width asked for, in pixels.
    pub width: u32,
    /// Height asked for, in pixels.
    pub height: u32,
    /// Frames a second asked for.
    pub rate_hz: u32,
}

/// Pixel formats that a V4L2 source understands.
pub const FORMATS: [&str; 4] = ["YUYV", "NV12", "MJPG", "GREY"];
/// Standard rates of a UART, in baud.
pub const BAUDS: [u32; 12] = [4800, 9600, 19200, 38400, 57600, 115_200, 230_400, 460_800, 500_000, 576_000, 921_600, 1_000_000];

/// `[serial]`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Serial {
    /// Device, by a name that stays (`/dev/serial0`, `/dev/serial/by-id/...`).
    pub device: PathBuf,
    /// Baud rate, one of [`BAUDS`].
    pub baud: u32,
}

/// `[gpio]`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Gpio {
    /// Chip label, or the path of its device: numbers change between kernels, labels do not.
    pub chip: String,
    /// Toggles while decisions are made.
    pub heartbeat: Option<LineSpec>,
    /// Class label to line.
    #[serde(default)]
    pub lines: BTreeMap<String, Line>,
}

/// A GPIO line, by its name on the chip or, where the chip names none, by its offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LineSpec {
    /// Name, as `gpioinfo` prints it.
    Name(String),
    /// Offset on the chip.
    Offset(u32),
}

impl fmt::Display for LineSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Offset(offset) => write!(f, "offset {offset}"),
        }
    }
}

impl<'de> Deserialize<'de> for LineSpec {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl Visitor<'_> for V {
            type Value = LineSpec;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a line's name like \"GPIO17\" or its offset like 17")
            }
            fn visit_str<E: Error>(self, name: &str) -> Result<LineSpec, E> {
                match name.trim() {
                    "" => Err(E::custom("a line's name is empty")),
                    name => Ok(LineSpec::Name(name.to_string())),
                }
            }
            fn visit_i64<E: Error>(self, offset: i64) -> Result<LineSpec, E> {
                // The character device cannot have more lines than this (GPIO_V2 uses u32; no real chip comes near).
                match u32::try_from(offset) {
                    Ok(offset) if offset < 65_536 => Ok(LineSpec::Offset(offset)),
                    _ => Err(E::custom(format!("line offset {offset}, expected 0 to 65535"))),
                }
            }
        }
        d.deserialize_any(V)
    }
}

/// What a class does to its line.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// Which line.
    pub line: LineSpec,
    /// Level or pulse.
    #[serde(default)]
    pub mode: LineMode,
    /// Shortest time that the line stays active, or the length of the pulse, in ms, 1 to 60000.
    #[serde(default = "Line::default_min_ms")]
    pub min_ms: u32,
    /// Active means 0 V.
    #[serde(default)]
    pub active_low: bool,
}

/// `mode` of a line.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum LineMode {
    /// Active while the class is on.
    #[default]
    Level,
    /// Active for `min_ms` when the class starts.
    Pulse,
}

/// `[thermal]`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Thermal {
    /// Types of thermal zones, the first that the kernel has is read.
    pub zone: Vec<String>,
    /// Signs that the processor is being slowed down or badly fed; any one counts.
    #[serde(default)]
    pub throttled: Vec<Throttle>,
}

/// A sign of throttling that Linux can show.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Throttle {
    /// A file with a hexadecimal number, throttled while a bit of `mask` is set; the first path that exists is read.
    Flags {
        /// Candidates.
        path: Vec<PathBuf>,
        /// Bits that mean "now".
        mask: u32,
    },
    /// A file of a hwmon device, found by the device's name, that is not 0 in an alarm.
    Alarm {
        /// `name` of the hwmon device.
        hwmon: String,
        /// File in its folder.
        file: String,
    },
    /// Cooling devices of these types, throttled while `cur_state` is above 0. Never name a fan here.
    Cooling {
        /// Types, as in `/sys/class/thermal/cooling_device*/type`.
        device: Vec<String>,
    },
}

/// `[measured]`: what was seen on the board itself, with a date.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    /// Day, `YYYY-MM-DD`.
    pub date: String,
    /// Kernel and system it ran on.
    pub system: String,
    /// Bundle name and version.
    pub bundle: String,
    /// Median time of a tick, ms.
    pub tick_ms: f32,
    /// 99th percentile of a tick, ms.
    pub tick_p99_ms: f32,
    /// Temperature at the end of the run, degrees Celsius.
    pub celsius: Option<f32>,
}

impl Line {
    fn default_min_ms() -> u32 {
        100
    }

    /// Checks the values of one line; `key` is for the message.
    ///
    /// # Errors
    /// Key, found, expected.
    pub fn check(&self, key: &str) -> Result<(), String> {
        within(&format!("{key}.min_ms"), self.min_ms, 1, 60_000)
    }
}

impl Board {
    /// Checks the text of a board file. `stem` is the file's name without `.toml`.
    ///
    /// # Errors
    /// One sentence without the file's name: line or key, found, expected.
    pub fn parse(stem: &str, text: &str) -> Result<Self, String> {
        let board: Self = from_toml(text)?;
        if board.name != stem {
            return Err(format!("name = {:?}, expected {stem:?} as the file is called", board.name));
        }
        board.check()?;
        Ok(board)
    }

    fn check(&self) -> Result<(), String> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if self.name.is_empty() || !self.name.bytes().all(plain) {
            return Err(format!("name = {:?}, expected a-z 0-9 and -", self.name));
        }
        within("threads", self.threads, 1, 64)?;
        if let Some(bad) = self.compatible.iter().find(|c| !c.contains(',')) {
            return Err(format!("compatible: {bad:?}, expected \"vendor,board\" as in /proc/device-tree/compatible"));
        }
        if self.status.is_some() == self.measured.is_some() {
            return Err("status and [measured]: expected exactly one, numbers or the plain word that there are none".into());
        }
        self.camera.check()?;
        if let Some(s) = &self.serial {
            absolute("serial.device", &s.device)?;
            if !BAUDS.contains(&s.baud) {
                return Err(format!("serial.baud = {}, expected one of {BAUDS:?}", s.baud));
            }
        }
        if let Some(g) = &self.gpio {
            let lines = g.lines.iter().map(|(label, line)| (label.as_str(), &line.line));
            check_lines("gpio", lines, g.heartbeat.as_ref())?;
            g.lines.iter().try_for_each(|(label, line)| line.check(&format!("gpio.lines.{label}")))?;
        }
        if self.report.is_empty() {
            return Err("report = [], expected at least one of serial, gpio, stdout, json:-".into());
        }
        for (sink, there) in [("serial", self.serial.is_some()), ("gpio", self.gpio.is_some())] {
            if !there && self.report.iter().any(|r| r == sink) {
                return Err(format!("report names {sink:?}, but the board has no [{sink}]"));
            }
        }
        self.thermal.check()?;
        self.measured.as_ref().map_or(Ok(()), Measured::check)
    }
}

impl Camera {
    fn check(&self) -> Result<(), String> {
        if self.device.is_empty() {
            return Err("camera.device = [], expected at least one path".into());
        }
        for path in &self.device {
            absolute("camera.device", path)?;
            if path.parent().is_some_and(|p| p.to_string_lossy().contains('*')) {
                return Err(format!("camera.device {}: * may stand in the last part only", path.display()));
            }
        }
        let unknown = self.formats.iter().find(|f| !FORMATS.contains(&f.as_str()));
        if let Some(bad) = unknown {
            return Err(format!("camera.formats: {bad:?}, expected some of {}", FORMATS.join(", ")));
        }
        if self.formats.is_empty() {
            return Err(format!("camera.formats = [], expected some of {}", FORMATS.join(", ")));
        }
        within("camera.width", self.width, 16, 16_384)?;
        within("camera.height", self.height, 16, 16_384)?;
        within("camera.rate_hz", self.rate_hz, 1, 1000)
    }
}

impl Thermal {
    fn check(&self) -> Result<(), String> {
        for sign in &self.throttled {
            match sign {
                Throttle::Flags { path, mask } => {
                    if path.is_empty() || *mask == 0 {
                        return Err(format!(
                            "thermal.throttled flags: {} paths, mask {mask:#x}, expected some of both",
                            path.len()
                        ));
                    }
                    path.iter().try_for_each(|p| absolute("thermal.throttled.path", p))?;
                }
                Throttle::Alarm { hwmon, file } if hwmon.is_empty() || file.is_empty() || file.contains('/') => {
                    return Err(format!("thermal.throttled alarm: hwmon {hwmon:?} file {file:?}, expected two plain names"));
                }
                Throttle::Cooling { device } if device.is_empty() => {
                    return Err("thermal.throttled cooling: device = [], expected at least one type".into());
                }
                Throttle::Alarm { .. } | Throttle::Cooling { .. } => {}
            }
        }
        Ok(())
    }
}

impl Measured {
    fn check(&self) -> Result<(), String> {
        let shape = self.date.len() == 10
            && self.date.bytes().enumerate().all(|(i, b)| if i == 4 || i == 7 { b == b'-' } else { b.is_ascii_digit() });
        if !shape {
            return Err(format!("measured.date = {:?}, expected YYYY-MM-DD", self.date));
        }
        for (key, value) in [("tick_ms", self.tick_ms), ("tick_p99_ms", self.tick_p99_ms)] {
            if !(value > 0.0 && value < 60_000.0) {
                return Err(format!("measured.{key} = {value}, expected milliseconds above 0"));
            }
        }
        Ok(())
    }
}

/// Refuses one line with two jobs.
///
/// # Errors
/// Both jobs and the line.
pub fn check_lines<'a>(
    key: &str,
    lines: impl Iterator<Item = (&'a str, &'a LineSpec)>,
    heartbeat: Option<&LineSpec>,
) -> Result<(), String> {
    let mut seen: Vec<(&str, &LineSpec)> = heartbeat.map(|h| ("heartbeat", h)).into_iter().collect();
    for (label, line) in lines {
        if let Some((other, _)) = seen.iter().find(|(_, l)| *l == line) {
            return Err(format!("{key}: {other} and {label} are both on line {line}, expected a line for each"));
        }
        seen.push((label, line));
    }
    Ok(())
}

/// Parses TOML; the error is one sentence that begins with the line number.
///
/// # Errors
/// As said: line, what was found, what is known there.
pub fn from_toml<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    toml::from_str(text).map_err(|e| {
        let message = e.message().replace('\n', ", ");
        match e.span().and_then(|s| text.get(..s.start)) {
            Some(before) => format!("line {}: {message}", before.matches('\n').count() + 1),
            None => message,
        }
    })
}

fn within<N: PartialOrd + fmt::Display>(key: &str, found: N, low: N, high: N) -> Result<(), String> {
    if found >= low && found <= high { Ok(()) } else { Err(format!("{key} = {found}, expected {low} to {high}")) }
}

fn absolute(key: &str, path: &std::path::Path) -> Result<(), String> {
    if path.is_absolute() { Ok(()) } else { Err(format!("{key} = {path:?}, expected a path from /")) }
}
