//! Output lines: one per label, and a heartbeat that toggles only while decisions are made, once a second and with every class that is said.
//!
//! Which lines and how is [`Wiring`], made from the board file and the configuration. A line follows its label as
//! `lines.rs` says. A line that is not active is safe.
//!
//! Each line is requested by itself: one that somebody else holds is named and tried again, the others work. Safe
//! levels are driven before `open` returns and when the sink is closed or dropped. A process that is killed cannot
//! drive anything, and once nobody holds a line the kernel may make it an input again: whoever relies on a line watches
//! the heartbeat and gives the line a resistor that pulls it to its safe level.

use super::lines::{Class, Follower};
use super::outbox::{Outbox, Parcel};
use super::writer::Writer;
use super::{Identity, Pace, Report, ReportError};
use crate::board::{Line, LineSpec, Wiring};
use crate::complaint::Complaint;
use gpiocdev::line::{Offset, Value};
use gpiocdev::{Chip, Request};
use std::time::{Duration, Instant};

/// Who the kernel says holds a line of ours.
pub const CONSUMER: &str = "lookout";
/// First and longest wait before a missing chip or line is tried again.
const RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(2));

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
/// [`ReportError::Refused`] if the wiring contradicts the bundle or the chip.
pub(super) fn open(wiring: &Wiring, identity: &Identity, pace: Pace) -> Result<Writer, ReportError> {
    let refused = |why| ReportError::Refused { what: "[gpio]".into(), why };
    let mut bank = Bank::new(wiring, identity).map_err(refused)?;
    match bank.acquire(Instant::now(), true) {
        Err(Trouble::Never(why)) => return Err(refused(why)),
        Err(Trouble::NotNow(why)) => bank.put_off(why),
        Ok(()) => {}
    }
    Writer::start("gpio", pace, move |outbox| bank.run(outbox))
}

/// What drives a line.
enum Job {
    Heartbeat,
    Label(String, Follower),
    /// What was never here before.
    Alarm(Follower),
}

struct Wire {
    line: LineSpec,
    job: Job,
    active_low: bool,
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
    fn new(wiring: &Wiring, identity: &Identity) -> Result<Self, String> {
        let now = Instant::now();
        let wire = |line: &LineSpec, job, active_low| {
            let (line, complaint) = (line.clone(), Complaint::default());
            Wire { line, job, active_low, want: false, driven: false, request: None, complaint }
        };
        let follower = |out: &Line| Follower::new(out.mode, Duration::from_millis(out.min_ms.into()), now);
        let mut wires: Vec<Wire> = wiring.heartbeat.iter().map(|line| wire(line, Job::Heartbeat, false)).collect();
        for (class, out) in &wiring.lines {
            let known = identity.labels.len();
            let label = identity.labels.get(*class);
            let label = label.ok_or_else(|| format!("line {} is for class {class}, the bundle has {known}", out.line))?;
            wires.push(wire(&out.line, Job::Label(label.clone(), follower(out)), out.active_low));
        }
        wires.extend(wiring.alarm.iter().map(|out| wire(&out.line, Job::Alarm(follower(out)), out.active_low)));
        if wires.is_empty() {
            return Err("no line is wired: neither a heartbeat nor a line for novelty or any class of this bundle".into());
        }
        let (chip, class, complaint) = (wiring.chip.clone(), Class::default(), Complaint::default());
        Ok(Self { chip, wires, class, retry_at: now, wait: RETRY.0, complaint })
    }

    fn run(mut self, outbox: &Outbox) {
        loop {
            let (mut heard, mut decided, mut look) = (false, false, false);
            while let Some(parcel) = outbox.pop() {
                let Parcel::Report(_, report) = parcel else { continue };
                heard = true;
                look |= matches!(report, Report::Health(_));
                decided |= self.class.take(&report);
                let now = Instant::now();
                for wire in &mut self.wires {
                    match &mut wire.job {
                        Job::Heartbeat => {}
                        Job::Label(label, follower) => follower.follow(self.class.is(label), now),
                        Job::Alarm(follower) => follower.follow(self.class.alarm(), now),
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
                    Job::Label(_, follower) | Job::Alarm(follower) if heard || follower.due().is_some() => {
                        wire.want = follower.settle(now)
                    }
                    Job::Label(..) | Job::Alarm(_) => {}
                }
                wire.drive();
                if look {
                    wire.look();
                }
            }
            if self.missing() && self.retry_at <= now {
                match self.acquire(now, false) {
                    Ok(()) if self.missing() => {}
                    Ok(()) => self.complaint.end(format_args!("GPIO chip {}: all lines are driven", self.chip)),
                    Err(Trouble::Never(why) | Trouble::NotNow(why)) => self.put_off(why),
                }
            }
            let due = self.wires.iter().filter_map(|wire| match &wire.job {
                Job::Label(_, follower) | Job::Alarm(follower) => follower.due(),
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
                return Err(Trouble::Never(format!("line {} is given two jobs: it is offset {offset}", wire.line)));
            }
            offsets.push(offset);
            if let Err(why) = wire.request(&chip, offset) {
                wire.complaint
                    .say(format!("GPIO chip {}: line {} {why}; the other lines work, trying again", self.chip, wire.line));
                missing = Some(());
            } else {
                wire.complaint.end(format_args!("GPIO chip {}: line {} is driven", self.chip, wire.line));
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
            let names = || self.wires.iter().filter_map(|wire| if let LineSpec::Name(n) = &wire.line { Some(n) } else { None });
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
            wire.want = false;
            wire.drive();
        }
    }
}

impl Wire {
    fn request(&mut self, chip: &Chip, offset: Offset) -> Result<(), String> {
        let mut request = Request::builder();
        request.on_chip(chip.path()).with_consumer(CONSUMER).with_line(offset).as_output(Value::from(self.want));
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
            Err(e) => self.lose(&e),
        }
    }

    /// Notices a chip that went away while the line had nothing to do.
    fn look(&mut self) {
        if let Some((request, offset)) = &self.request
            && let Err(e) = request.value(*offset)
        {
            self.lose(&e);
        }
    }

    fn lose(&mut self, e: &gpiocdev::Error) {
        self.complaint.say(format!("GPIO line {}: lost: {e}; trying again", self.line));
        self.request = None;
    }
}

fn resolve(chip: &Chip, called: &str, line: &LineSpec) -> Result<Offset, Trouble> {
    let lines = chip.info().map_err(|e| Trouble::NotNow(format!("GPIO chip {called}: {e}")))?.num_lines;
    match line {
        LineSpec::Offset(offset) if *offset < lines => Ok(*offset),
        LineSpec::Offset(offset) => {
            Err(Trouble::Never(format!("GPIO chip {called} has {lines} lines, there is no line {offset}")))
        }
        LineSpec::Name(name) => {
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
    use crate::board::{Line, LineMode};

    fn bank(chip: &str, lines: &[(usize, LineSpec)]) -> Result<Bank, String> {
        let line = |line: &LineSpec| Line { line: line.clone(), mode: LineMode::Level, min_ms: 100, active_low: false };
        let lines = lines.iter().map(|(class, spec)| (*class, line(spec))).collect();
        let identity = Identity { labels: vec!["idle".into(), "left".into()], ..Identity::default() };
        Bank::new(&Wiring { chip: chip.into(), heartbeat: None, lines, alarm: None }, &identity)
    }

    #[test]
    fn wiring_that_means_nothing_is_refused() {
        assert!(bank("lab", &[]).is_err_and(|why| why.contains("no line is wired")));
        let why = bank("lab", &[(2, LineSpec::Offset(7))]).err().unwrap_or_default();
        assert_eq!(why, "line offset 7 is for class 2, the bundle has 2");
    }

    #[test]
    fn absent_chip_is_awaited_and_named() {
        for chip in ["no-such-chip", "/dev/gpiochip99"] {
            let mut bank = bank(chip, &[(1, LineSpec::Name("GPIO27".into()))]).unwrap();
            let trouble = bank.acquire(Instant::now(), true).err();
            assert!(matches!(trouble, Some(Trouble::NotNow(why)) if why.contains(chip)));
        }
    }
}
