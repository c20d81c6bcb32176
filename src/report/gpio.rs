//! Output lines: one per label, and a heartbeat that toggles only while decisions are made.
//!
//! ```toml
//! [gpio]
//! chip = "pinctrl-rp1"                  # label, name or path: a label survives renumbering
//! heartbeat = { line = "GPIO27" }       # line: its name, or its offset as a number
//!
//! [[gpio.out]]
//! label = "left"                        # a label of the bundle, or `invalid`
//! line = 17
//! mode = "pulse"                        # or "level", the default
//! min_ms = 200                          # pulse width, or least time on; default 100
//! active_low = true                     # default false
//! safe = "on"                           # what is driven at start and at the end; default "off"
//! ```
//!
//! Each line is requested by itself: one that somebody else holds is named and tried again, the others work. Safe
//! levels are driven before [`open`] returns and when the sink is closed or dropped. A process that is killed cannot
//! drive anything: whoever relies on a line watches the heartbeat.

use super::complaint::Complaint;
pub use super::lines::Mode;
use super::lines::{Class, Follower};
use super::outbox::{Outbox, Parcel};
use super::sentence::INVALID;
use super::writer::Writer;
use super::{Identity, Pace, ReportError};
use gpiocdev::line::{Offset, Value};
use gpiocdev::{Chip, Request};
use serde::Deserialize;
use std::fmt;
use std::time::{Duration, Instant};

/// First and longest wait before a missing chip or line is tried again.
const RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(2));
/// Longest pulse.
const MAX_PULSE_MS: u32 = 60_000;

/// The `[gpio]` table.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GpioConfig {
    /// Label, name (`gpiochip0`) or path of the chip.
    pub chip: String,
    /// The line that toggles with each decision.
    pub heartbeat: Option<HeartbeatConfig>,
    /// Lines that follow a label.
    #[serde(default)]
    pub out: Vec<OutConfig>,
}

/// The heartbeat line.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeartbeatConfig {
    /// Which line.
    pub line: LineName,
}

/// A line that follows a label.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutConfig {
    /// The label, or `invalid`.
    pub label: String,
    /// Which line.
    pub line: LineName,
    /// Level or pulse.
    #[serde(default)]
    pub mode: Mode,
    /// Pulse width, or least time on, in ms.
    #[serde(default = "default_min_ms")]
    pub min_ms: u32,
    /// On is low.
    #[serde(default)]
    pub active_low: bool,
    /// Driven before the first report and after the last.
    #[serde(default)]
    pub safe: Safe,
}

const fn default_min_ms() -> u32 {
    100
}

/// A level as the user means it: `active_low` is applied after it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Safe {
    /// Not active.
    #[default]
    Off,
    /// Active.
    On,
}

/// A line of the chip.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum LineName {
    /// By its number on the chip.
    Offset(u32),
    /// By the name that the board's device tree gives it.
    Name(String),
}

impl fmt::Display for LineName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Offset(offset) => write!(f, "line {offset}"),
            Self::Name(name) => write!(f, "line {name}"),
        }
    }
}

/// Why lines cannot be had.
enum Trouble {
    /// The configuration is wrong.
    Never(String),
    /// Not now: try again.
    NotNow(String),
}

/// Starts the writer: every line that can be had is at its safe level when this returns.
///
/// # Errors
/// [`ReportError::Refused`] if the configuration contradicts itself, the bundle or the chip.
pub(super) fn open(config: &GpioConfig, identity: &Identity, pace: Pace) -> Result<Writer, ReportError> {
    let refused = |why| ReportError::Refused { what: "[gpio]".into(), why };
    config.check(identity).map_err(refused)?;
    let mut bank = Bank::new(config);
    match bank.acquire(Instant::now(), true) {
        Err(Trouble::Never(why)) => return Err(refused(why)),
        Err(Trouble::NotNow(why)) => bank.put_off(why),
        Ok(()) => {}
    }
    Writer::start("gpio", pace, move |outbox| bank.run(outbox))
}

impl GpioConfig {
    /// What can be seen to be wrong without any hardware.
    fn check(&self, identity: &Identity) -> Result<(), String> {
        let mut lines: Vec<&LineName> = self.heartbeat.iter().map(|h| &h.line).collect();
        if lines.is_empty() && self.out.is_empty() {
            return Err("neither a heartbeat nor any [[gpio.out]] is given".into());
        }
        for out in &self.out {
            if out.label != INVALID && !identity.labels.contains(&out.label) {
                let known = identity.labels.join(", ");
                return Err(format!("label `{}` for {} is none of the bundle's: {known}", out.label, out.line));
            }
            if lines.contains(&&out.line) {
                return Err(format!("{} is given two jobs", out.line));
            }
            if out.min_ms > MAX_PULSE_MS {
                return Err(format!("min_ms of {} is {}, at most {MAX_PULSE_MS} expected", out.line, out.min_ms));
            }
            lines.push(&out.line);
        }
        Ok(())
    }
}

/// What drives a line.
enum Job {
    Heartbeat,
    Label(String, Follower),
}

struct Wire {
    line: LineName,
    job: Job,
    active_low: bool,
    safe: bool,
    /// What it should be now.
    want: bool,
    /// What was driven last.
    driven: bool,
    request: Option<(Request, Offset)>,
    complaint: Complaint,
}

struct Bank {
    chip: String,
    wires: Vec<Wire>,
    class: Class,
    retry_at: Instant,
    wait: Duration,
    complaint: Complaint,
}

impl Bank {
    fn new(config: &GpioConfig) -> Self {
        let now = Instant::now();
        let wire = |line: &LineName, job, active_low, safe| {
            let (line, complaint) = (line.clone(), Complaint::default());
            Wire { line, job, active_low, safe, want: safe, driven: safe, request: None, complaint }
        };
        let heartbeat = config.heartbeat.iter().map(|h| wire(&h.line, Job::Heartbeat, false, false));
        let outs = config.out.iter().map(|out| {
            let follower = Follower::new(out.mode, Duration::from_millis(out.min_ms.into()), now);
            wire(&out.line, Job::Label(out.label.clone(), follower), out.active_low, out.safe == Safe::On)
        });
        Self {
            chip: config.chip.clone(),
            wires: heartbeat.chain(outs).collect(),
            class: Class::default(),
            retry_at: now,
            wait: RETRY.0,
            complaint: Complaint::default(),
        }
    }

    fn run(mut self, outbox: &Outbox) {
        loop {
            let mut heard = false;
            let mut decided = false;
            while let Some(parcel) = outbox.pop() {
                let Parcel::Report(_, report) = parcel else { continue };
                heard = true;
                decided |= self.class.take(&report);
                let now = Instant::now();
                for wire in &mut self.wires {
                    if let Job::Label(label, follower) = &mut wire.job {
                        follower.follow(self.class.is(label), now);
                    }
                }
            }
            if outbox.closing().is_some() {
                return; // Dropping the bank drives the safe levels.
            }
            let now = Instant::now();
            for wire in &mut self.wires {
                match &mut wire.job {
                    Job::Heartbeat => wire.want ^= decided,
                    Job::Label(_, follower) if heard || follower.due().is_some() => wire.want = follower.settle(now),
                    Job::Label(..) => {}
                }
                wire.drive();
            }
            if self.missing() && self.retry_at <= now {
                match self.acquire(now, false) {
                    Ok(()) if self.missing() => {}
                    Ok(()) => self.complaint.end(format_args!("GPIO chip {}: all lines are driven", self.chip)),
                    Err(Trouble::Never(why) | Trouble::NotNow(why)) => self.put_off(why),
                }
            }
            let due = self.wires.iter().filter_map(|wire| match &wire.job {
                Job::Label(_, follower) => follower.due(),
                Job::Heartbeat => None,
            });
            outbox.sleep(due.chain(self.missing().then_some(self.retry_at)).min());
        }
    }

    fn missing(&self) -> bool {
        self.wires.iter().any(|wire| wire.request.is_none())
    }

    fn put_off(&mut self, why: String) {
        self.complaint.say(why);
        self.retry_at = Instant::now() + self.wait;
        self.wait = (self.wait * 2).min(RETRY.1);
    }

    /// Requests every line that is missing, at the level it should have now.
    fn acquire(&mut self, now: Instant, first: bool) -> Result<(), Trouble> {
        let chip = self.find_chip()?;
        let mut offsets: Vec<Offset> = self.wires.iter().filter_map(|w| w.request.as_ref().map(|(_, offset)| *offset)).collect();
        let mut missing = None;
        for wire in self.wires.iter_mut().filter(|wire| wire.request.is_none()) {
            let offset = resolve(&chip, &self.chip, &wire.line)?;
            if first && offsets.contains(&offset) {
                return Err(Trouble::Never(format!("{} is given two jobs: it is line {offset}", wire.line)));
            }
            offsets.push(offset);
            if let Err(why) = wire.request(&chip, offset) {
                wire.complaint.say(format!("GPIO chip {}: {} {why}; the other lines work, trying again", self.chip, wire.line));
                missing = Some(());
            } else {
                wire.complaint.end(format_args!("GPIO chip {}: {} is driven", self.chip, wire.line));
            }
        }
        if missing.is_some() {
            self.retry_at = now + self.wait;
            self.wait = (self.wait * 2).min(RETRY.1);
        } else {
            self.wait = RETRY.0;
        }
        Ok(())
    }

    /// The chip of this path, name or label; among several of one label, the one that has the named lines.
    fn find_chip(&self) -> Result<Chip, Trouble> {
        let unusable = |path: &std::path::Path, e: &gpiocdev::Error| {
            let text = format!("GPIO chip {}: cannot be opened: {e}", path.display());
            if is_denied(e) {
                Trouble::Never(format!("{text}: add the user to the group of the device (`gpio` on many boards)"))
            } else {
                Trouble::NotNow(text)
            }
        };
        if self.chip.starts_with('/') {
            return Chip::from_path(&self.chip).map_err(|e| unusable(self.chip.as_ref(), &e));
        }
        let (mut found, mut others, mut denied) = (Vec::new(), Vec::new(), None);
        for path in gpiocdev::chip::chips().unwrap_or_default() {
            match Chip::from_path(&path).and_then(|chip| Ok((chip.info()?, chip))) {
                Ok((info, chip)) if info.label == self.chip || info.name == self.chip => found.push(chip),
                Ok((info, _)) => others.push(info.label),
                Err(e) => denied = Some(unusable(&path, &e)),
            }
        }
        if found.len() > 1 {
            let names = || self.wires.iter().filter_map(|wire| if let LineName::Name(n) = &wire.line { Some(n) } else { None });
            found.retain(|chip| names().all(|name| chip.find_line_info(name).is_some()));
        }
        match (found.pop(), found.pop(), denied) {
            (Some(chip), None, _) => Ok(chip),
            (Some(a), Some(b), _) => Err(Trouble::Never(format!(
                "GPIO chip {}: {} and {} are both called so; name the lines, or the chip by its path",
                self.chip,
                a.name(),
                b.name()
            ))),
            (None, _, Some(denied)) => Err(denied),
            (None, ..) => {
                let others = if others.is_empty() { "none".into() } else { others.join(", ") };
                Err(Trouble::NotNow(format!("GPIO chip {} is not there (found: {others}); trying again", self.chip)))
            }
        }
    }
}

impl Drop for Bank {
    /// However the thread ends, the lines that we hold end at their safe level.
    fn drop(&mut self) {
        for wire in &mut self.wires {
            wire.want = wire.safe;
            wire.drive();
        }
    }
}

impl Wire {
    fn request(&mut self, chip: &Chip, offset: Offset) -> Result<(), String> {
        let mut request = Request::builder();
        request.on_chip(chip.path()).with_consumer("lookout").with_line(offset).as_output(Value::from(self.want));
        if self.active_low {
            request.as_active_low();
        }
        let request = request.request().map_err(|e| match chip.line_info(offset) {
            Ok(info) if info.used => format!("is held by `{}`", info.consumer),
            _ => format!("cannot be had: {e}"),
        })?;
        self.request = Some((request, offset));
        self.driven = self.want;
        Ok(())
    }

    /// Makes the line what it should be. A line that cannot be driven is lost and asked for again.
    fn drive(&mut self) {
        let Some((request, offset)) = &self.request else { return };
        if self.want == self.driven {
            return;
        }
        match request.set_value(*offset, Value::from(self.want)) {
            Ok(()) => self.driven = self.want,
            Err(e) => {
                self.complaint.say(format!("GPIO {}: lost: {e}; trying again", self.line));
                self.request = None;
            }
        }
    }
}

fn resolve(chip: &Chip, called: &str, line: &LineName) -> Result<Offset, Trouble> {
    let lines = chip.info().map_err(|e| Trouble::NotNow(format!("GPIO chip {called}: {e}")))?.num_lines;
    match line {
        LineName::Offset(offset) if *offset < lines => Ok(*offset),
        LineName::Offset(offset) => {
            Err(Trouble::Never(format!("GPIO chip {called} has {lines} lines, there is no line {offset}")))
        }
        LineName::Name(name) => {
            let found = chip.find_line_info(name).map(|info| info.offset);
            found.ok_or_else(|| Trouble::Never(format!("GPIO chip {called} has no line called {name}")))
        }
    }
}

fn is_denied(e: &gpiocdev::Error) -> bool {
    const EACCES: i32 = 13;
    matches!(e, gpiocdev::Error::Os(errno) if errno.0 == EACCES)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(toml: &str) -> String {
        let labels = vec!["idle".into(), "left".into()];
        let identity = Identity { labels, ..Identity::default() };
        match toml::from_str::<GpioConfig>(toml) {
            Err(e) => e.message().to_string(),
            Ok(config) => config.check(&identity).err().unwrap_or_default(),
        }
    }

    #[test]
    fn configuration_is_read_and_contradictions_are_named() {
        let out = |rest: &str| format!("chip = 'lab'\n[[out]]\nlabel = 'left'\nline = 3\n{rest}");
        assert_eq!(refusal(&out("mode = 'pulse'\nmin_ms = 5\nactive_low = true\nsafe = 'on'")), "");
        assert_eq!(refusal("chip = 'lab'\nheartbeat = { line = 'GPIO27' }"), "");
        assert_eq!(refusal("chip = 'lab'"), "neither a heartbeat nor any [[gpio.out]] is given");
        assert_eq!(refusal(&out("[[out]]\nlabel = 'idle'\nline = 3")), "line 3 is given two jobs");
        assert_eq!(
            refusal("chip = 'lab'\n[[out]]\nlabel = 'lefft'\nline = 'A'"),
            "label `lefft` for line A is none of the bundle's: idle, left"
        );
        assert_eq!(refusal(&out("min_ms = 60001")), "min_ms of line 3 is 60001, at most 60000 expected");
        assert!(refusal(&out("width = 3")).contains("unknown field `width`"));
        assert!(refusal(&out("mode = 'blink'")).contains("unknown variant `blink`"));
    }
}
