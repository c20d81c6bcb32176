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
use crate::gpio::{self, CONSUMER, RETRY, Trouble, why_not};
use gpiocdev::line::{Offset, Value};
use gpiocdev::{Chip, Request};
use std::time::{Duration, Instant};

/// Starts the writer: every line that can be had is at its safe level when this returns.
///
/// # Errors
/// [`ReportError::Refused`] if the wiring contradicts the bundle or the chip.
pub(super) fn open(wiring: &Wiring, identity: &Identity, pace: Pace) -> Result<Writer, ReportError> {
    let refused = |why| ReportError::Refused { what: "[gpio]".into(), why };
    let mut bank = Bank::new(wiring, identity).map_err(refused)?;
    match bank.acquire(Instant::now(), true) {
        Err(Trouble::Never(why)) => return Err(refused(why)),
        Err(Trouble::Denied(why) | Trouble::NotNow(why)) => bank.put_off(why),
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
                    Err(Trouble::Never(why) | Trouble::Denied(why) | Trouble::NotNow(why)) => self.put_off(why),
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
        let chip = gpio::find(&self.chip, self.wires.iter().map(|wire| &wire.line))?;
        let mut offsets: Vec<Offset> = self.wires.iter().filter_map(|w| w.request.as_ref().map(|(_, offset)| *offset)).collect();
        let mut missing = None;
        for wire in self.wires.iter_mut().filter(|wire| wire.request.is_none()) {
            let offset = gpio::resolve(&chip, &self.chip, &wire.line)?;
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
        let request = request.request().map_err(|e| why_not(chip, offset, &e))?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::{Line, LineMode};

    fn bank(chip: &str, lines: &[(usize, LineSpec)]) -> Result<Bank, String> {
        let line = |line: &LineSpec| Line { line: line.clone(), mode: LineMode::Level, min_ms: 100, active_low: false };
        let lines = lines.iter().map(|(class, spec)| (*class, line(spec))).collect();
        let identity = Identity { labels: vec!["idle".into(), "left".into()], ..Identity::default() };
        Bank::new(&Wiring { chip: chip.into(), heartbeat: None, lines, alarm: None, buttons: vec![] }, &identity)
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
