//! The inference thread: frames in, reports out, and the watchdog fed by proof.
//!
//! Proof is one of two: a step was finished, or we wait in a named state for a camera, or for pictures of it that can be used, **and** the capture
//! thread has shown since that it is at work. In both cases every writer to a wire or to pins has come round since the last ping. A hang in
//! any of these threads ends the pings within a second, and systemd does the rest.

use super::Failure;
use super::herald::Herald;
use super::keeper::Keeper;
use super::latency::Latency;
use super::notify::Notifier;
use super::teacher::Teacher;
use crate::blackbox::writer::BlackBox;
use crate::capture::{Arrival, Capture, Trouble};
use crate::cli::ears::Ears;
use crate::health::HealthClock;
use crate::life::Runs;
use crate::pipeline::{Counts, Pipeline, Probe};
use crate::report::{Drops, Report, State, outbox};
use crate::source::{Fault, Timestamp};
use crate::vitals::Vitals;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Longest wait for a frame before we look whether we are told to stop.
const LOOK_UP: Duration = Duration::from_millis(100);

/// Everything the inference thread owns.
pub struct Watch<'r> {
    /// What the source was called, for a sentence about it.
    pub source: String,
    pub capture: Capture,
    pub ears: Ears,
    pub pipeline: Pipeline,
    /// Writes down what novelty has counted, of a camera.
    pub keeper: Option<Keeper>,
    pub herald: Herald,
    pub blackbox: Option<BlackBox>,
    pub teacher: Teacher,
    pub vitals: Vitals,
    pub health: HealthClock,
    /// A camera; a recording's health counts its own time, so that it says the same each time.
    pub live: bool,
    /// When we began to watch: until the first frame the pace of health is counted from here.
    pub begin: Timestamp,
    /// When this run began.
    pub born: Timestamp,
    pub notifier: Notifier,
    pub runs: &'r Runs,
    /// Frames that are further apart fill no window.
    pub patience: Duration,
}

/// Health reports in a row in which the window emptied until that is said.
const SPARSE: u32 = 3;

/// What the loop remembers from one round to the next.
#[derive(Default)]
struct Round {
    /// Why there are no frames, if there are none.
    missing: Option<State>,
    latency: Latency,
    first_frame: Option<Timestamp>,
    complained: bool,
    /// The last picture that a tick asked for cannot be used.
    misfit: bool,
    /// The capture thread's beat when it last counted as proof.
    beat: u32,
    slow: Slow,
    /// Times that the window had emptied by the last health report, and how many reports in a row it has done so since the one before.
    gaps: (u32, u32),
}

impl Watch<'_> {
    pub fn until(&mut self, stop: &AtomicBool) -> Result<(), Failure> {
        let mut round = Round::default();
        while !stop.load(Ordering::Relaxed) && !self.herald.is_alone() {
            let arrival = self.capture.wait(LOOK_UP);
            let mut proof = false;
            // Without frames too: who asks is answered.
            if let Some(known) = self.teacher.attend(self.pipeline.hidden()) {
                let herald = &mut self.herald;
                self.pipeline.know(known, &mut |r| herald.say(&r));
            }
            match arrival {
                Arrival::Frame => {
                    if round.missing.take().is_some() {
                        self.health.hasten();
                    }
                    proof = self.step(&mut round)?;
                }
                Arrival::Trouble(trouble) => {
                    let herald = &mut self.herald;
                    // What comes back is another stream: nothing connects it with the frame in hand. A recording that stalls goes on where it was.
                    if self.live || !matches!(trouble, Trouble::NoFrames | Trouble::AllDamaged) {
                        self.capture.last()?;
                        self.pipeline.interrupt(&mut |r| herald.say(&r));
                        self.blackbox.iter_mut().for_each(BlackBox::cut);
                    }
                    round.missing = Some(in_words(trouble));
                    self.health.hasten();
                }
                Arrival::Nothing => {}
                Arrival::End => {
                    let (herald, last) = (&mut self.herald, self.capture.last()?);
                    last.iter().for_each(|frame| self.ears.tell(frame.at, None, &mut self.pipeline));
                    let (mut probe, mut say): (&mut dyn Probe, &mut dyn FnMut(Report)) =
                        (&mut self.blackbox, &mut |r| herald.say(&r));
                    let done = self.pipeline.finish(last.as_ref(), &mut probe, &mut say);
                    press(herald, &mut self.blackbox);
                    done?;
                    if !self.live && self.pipeline.counts().frames == 0 {
                        return Err(Failure::refused(format!("{}: no frame could be read from it", self.source)));
                    }
                    return Ok(());
                }
                Arrival::Refused(e) => return Err(e.into()),
            }
            if round.missing.is_some() || round.misfit {
                let beat = self.capture.beat();
                proof |= std::mem::replace(&mut round.beat, beat) != beat;
            }
            if proof && self.notifier.is_due() && self.herald.is_awake() {
                self.notifier.alive();
                if !self.live {
                    // A report waits so long for a slow reader, and the one before it may have.
                    self.notifier.busy(2 * outbox::PATIENCE);
                }
            }
            self.report(&mut round);
        }
        let herald = &mut self.herald;
        self.pipeline.interrupt(&mut |r| herald.say(&r));
        Ok(())
    }

    /// One frame through the pipeline; true when it went well.
    fn step(&mut self, round: &mut Round) -> Result<bool, Failure> {
        let Some((frame, until)) = self.capture.settled()? else { return Ok(true) };
        round.first_frame.get_or_insert(frame.at);
        self.ears.tell(frame.at, Some(until), &mut self.pipeline);
        let (ticks, herald) = (self.pipeline.counts().ticks, &mut self.herald);
        let mut probe = (&mut self.blackbox, &mut self.teacher);
        let done = self.pipeline.step(&frame, until, &mut probe, &mut |r| herald.say(&r)).map_err(Failure::from);
        press(herald, &mut self.blackbox);
        let ticked = self.pipeline.counts().ticks > ticks;
        if self.live && ticked {
            round.latency.add(Timestamp::now().since(frame.at));
        }
        if let (Some(keeper), Some(novelty)) = (&mut self.keeper, self.pipeline.novelty()) {
            keeper.note(novelty);
        }
        match done {
            Ok(()) => {
                // Of a picture that no tick asked for nobody knows.
                if ticked && std::mem::take(&mut round.misfit) {
                    self.health.hasten();
                }
                Ok(true)
            }
            Err(e) if e.code == 2 && !(self.live && has_fitted(self.pipeline.counts())) => Err(e),
            Err(e) => {
                let said = if e.code == 2 { &mut round.misfit } else { &mut round.complained };
                if !std::mem::replace(said, true) {
                    log::error!("{}; the tick repeats the last one", e.why);
                    self.health.hasten();
                }
                Ok(false)
            }
        }
    }

    /// The health report, when it is due.
    fn report(&mut self, round: &mut Round) {
        let now = match (self.live, round.first_frame) {
            (false, _) => self.pipeline.now(),
            (true, first) => Timestamp(Timestamp::now().0.saturating_sub(first.unwrap_or(self.begin).0)),
        };
        let Some(mut health) = self.health.due(now, &self.pipeline) else { return };
        if round.first_frame.is_none() {
            // Reports count from the first frame, and no time of theirs ever goes back.
            health.at = Timestamp::default();
        }
        self.drops(&mut health.drops);
        if self.live {
            if round.slow.is(self.pipeline.counts(), health.drops.unread) {
                health.state = State::Slow;
            }
            let vitals = self.vitals.read();
            (health.celsius, health.throttled) = (vitals.celsius, vitals.throttled);
            (health.p50_ms, health.p99_ms) = round.latency.p50_and_p99();
            health.life = Some(self.runs.life(Timestamp::now().since(self.born)));
        }
        if round.misfit {
            health.state = State::CameraError;
        }
        if let Some(missing) = &round.missing {
            health.state = missing.clone();
        }
        let gaps = self.pipeline.counts().gaps;
        round.gaps = (gaps, if gaps > round.gaps.0 && round.missing.is_none() { round.gaps.1 + 1 } else { 0 });
        if round.gaps.1 == SPARSE {
            log::warn!(
                "frames come more than {:?} apart: no window of them is ever whole, and no class is decided",
                self.patience
            );
        }
        self.herald.say(&Report::Health(health));
    }

    /// A camera counts by cause; of any other source we know the holes in its numbers, which of them came damaged and which nobody took in time.
    fn drops(&self, drops: &mut Drops) {
        match self.capture.losses() {
            Some(l) => (drops.lost, drops.damaged, drops.unread) = (l.lost, l.damaged, l.unread),
            None => {
                (drops.damaged, drops.unread) = (self.capture.broken(), self.capture.unread());
                drops.lost = drops.lost.saturating_sub(drops.damaged.saturating_add(drops.unread));
            }
        }
    }
}

/// Has a picture of this run been used? Then board, configuration and bundle fit, and one that cannot be used is a matter of the camera, which came back
/// as another one, say, and may do so again.
fn has_fitted(counts: Counts) -> bool {
    counts.ticks > counts.held
}

/// What began is a reason to keep what was seen.
fn press(herald: &mut Herald, blackbox: &mut Option<BlackBox>) {
    if let (Some((label, at)), Some(blackbox)) = (herald.begun.take(), blackbox) {
        blackbox.press(&label, at);
    }
}

/// What the health line calls it.
fn in_words(trouble: Trouble) -> State {
    match trouble {
        Trouble::NoFrames => State::NoFrames,
        Trouble::AllDamaged => State::Damaged,
        Trouble::Lost(Fault::Absent | Fault::Unplugged) => State::NoCamera,
        Trouble::Lost(Fault::StreamBroke) => State::StreamBroke,
        Trouble::Lost(Fault::Busy) => State::CameraBusy,
        Trouble::Lost(Fault::NoBandwidth) => State::NoBandwidth,
        Trouble::Lost(Fault::NoRights) => State::NoRights,
        Trouble::Lost(Fault::Refuses) => State::CameraError,
    }
}

/// Do we keep up? Not when, between two health reports and again between the next two, a quarter of the ticks or more had no
/// fresh frame although fresh frames were there and went by unread.
#[derive(Default)]
struct Slow {
    last: (Counts, u32),
    before: bool,
}

impl Slow {
    fn is(&mut self, counts: Counts, unread: u32) -> bool {
        let (then, unread_then) = std::mem::replace(&mut self.last, (counts, unread));
        let (ticks, held) = (counts.ticks.wrapping_sub(then.ticks), counts.held.wrapping_sub(then.held));
        let now = unread > unread_then && ticks > 0 && held * 4 >= ticks;
        std::mem::replace(&mut self.before, now) && now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_run_whose_first_pictures_cannot_be_used_is_a_wrong_configuration() {
        let fitted = |ticks, held| has_fitted(Counts { ticks, held, ..Counts::default() });
        assert!(!fitted(0, 0) && !fitted(1, 1) && fitted(1, 0) && fitted(9, 8));
    }

    #[test]
    fn slow_is_said_when_ticks_are_left_out_twice_in_a_row_although_frames_were_there() {
        let mut slow = Slow::default();
        let mut at = |ticks, held, unread| slow.is(Counts { ticks, held, ..Counts::default() }, unread);
        assert!(!at(10, 0, 20), "two of three frames are for no tick: that is not slow");
        assert!(!at(20, 5, 30), "once");
        assert!(at(30, 9, 40), "twice");
        assert!(!at(40, 19, 40), "no frames came: that is the camera");
    }
}
