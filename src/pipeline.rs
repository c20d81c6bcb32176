//! The order of the stages: the only file that knows it. No I/O, and no clock of the machine.
//!
//! ```text
//! frame -> shaper -> (gate) -> encoder -> (extras) -> (head's projections) -> ring -> head -> (taught) -> decision -> reports
//!       `-> (place, where the head gives no box: by the picture, or by the encoder's map of it) ----------^
//! ```
//! Time is cut into ticks from the first frame on (`pipeline/clock.rs`). The newest frame at or before a tick fills its slot, so each frame comes with
//! the stamp until which it was the newest: the next frame's. A live camera and its recording therefore give the same reports. Reports count time
//! from the first frame.

use crate::decision::{Decision, softmax};
use crate::encoder::Encoder;
use crate::extra::{Extras, Value};
use crate::gate::Gate;
use crate::head::{Head, boxes};
use crate::novelty::Novelty;
use crate::place::Place;
use crate::report::{self, ClassId, ClassNow, Label, Novel, Report, Spot, State};
use crate::ring::{Held, Ring};
use crate::shaper::{Region, Shaper};
use crate::source::{Frame, Payload, Shaped, Timestamp};
use crate::taught::{Known, Taught};
use crate::view::View;
use std::time::Duration;

mod assembly;
mod clock;
mod options;
mod probe;
use clock::{Clock, Order};
pub use options::{Counts, Options, PipelineError};
pub use probe::{Before, Probe, Stage};

/// See the module's documentation.
#[derive(Debug)]
pub struct Pipeline {
    clock: Clock,
    shaper: Option<Shaper>,
    view: View,
    gate: Option<Gate>,
    place: Option<Place>,
    /// The head says where, and is asked.
    boxed: bool,
    /// Where something moved last, and when: a score is held for a while, and so is the place of what made it.
    lately: Option<(Timestamp, Region)>,
    encoder: Option<Encoder>,
    extras: Extras,
    ring: Ring,
    head: Head,
    taught: Option<Taught>,
    decision: Decision,
    novelty: Option<Novelty>,
    labels: Box<[Label]>,
    background: usize,
    temperature: f32,
    heartbeat: Duration,
    /// The first tick is still to come and fills the whole ring.
    still_before: bool,
    /// A row of numbers that waits for its tick; empty in a bundle for pictures.
    staged_row: Box<[f32]>,
    /// What the newest slot of the ring stands for: features or the row, and extras.
    row: Box<[f32]>,
    said: Said,
    state: State,
    counts: Counts,
}

/// What waits for its tick: a picture in the shaper, or a row in `staged_row`.
#[derive(Clone, Copy, Debug)]
enum Staged {
    /// As it came: where there is a gate, it says whether a picture is news.
    Seen,
    /// An earlier run's picture, which is news.
    News,
    /// An earlier run's tick, which was no news.
    Same,
}

/// The class that was last reported, and when.
#[derive(Debug, Default)]
struct Said {
    class: Option<Option<ClassId>>,
    at: Timestamp,
}

/// Frames in, reports out.
impl Pipeline {
    /// One frame, which was the newest until `until` (the stamp of the frame after it): fills the ticks in between. A
    /// frame that no tick asks for is counted and left alone. Reports go to `out` in order.
    ///
    /// # Errors
    /// The first stage that failed; its tick counts as held and the next frame may be given as usual.
    pub fn step(
        &mut self,
        frame: &Frame<'_>,
        until: Timestamp,
        probe: &mut impl Probe,
        out: &mut impl FnMut(Report),
    ) -> Result<(), PipelineError> {
        match self.clock.meet(frame, &mut self.counts) {
            Order::Next => {}
            Order::Late => return Ok(()),
            Order::Anew => {
                self.interrupt(out);
                self.clock.restart(frame.at);
            }
        }
        // Ticks that nothing filled: a frame out of order took the place of the one they were for.
        let before = self.close_before(frame.at, None, probe, out);
        self.clock.advance(frame.at);
        if self.clock.tick() >= until {
            // No tick asks for this one.
            return before;
        }
        probe.start();
        let staged = self.stage(frame);
        probe.lap(Stage::Shaper);
        let (staged, refused) = match staged {
            Ok(staged) => (Some(staged), Ok(())),
            Err(e) => (None, Err(e)),
        };
        before.and(refused).and(self.close_before(until, staged, probe, out))
    }

    /// The end of a recording: its last frame fills the tick after it, and what is on ends.
    ///
    /// # Errors
    /// As [`Pipeline::step`].
    pub fn finish(
        &mut self,
        last: Option<&Frame<'_>>,
        probe: &mut impl Probe,
        out: &mut impl FnMut(Report),
    ) -> Result<(), PipelineError> {
        let outcome = match last {
            Some(frame) => {
                let until = self.clock.tick().max(frame.at) + Duration::from_nanos(1);
                self.step(frame, until, probe, out)
            }
            None => Ok(()),
        };
        self.end_event(self.clock.since_start(self.clock.tick()), out);
        outcome
    }

    /// One frame of a recording, or its last: [`Pipeline::step`], or [`Pipeline::finish`] where none comes after it. Whoever looks on is called
    /// through a table: one copy of the pipeline is enough for all who are in no hurry.
    ///
    /// # Errors
    /// As [`Pipeline::step`].
    pub fn play(
        &mut self,
        frame: &Frame<'_>,
        until: Option<Timestamp>,
        mut probe: &mut dyn Probe,
        mut out: &mut dyn FnMut(Report),
    ) -> Result<(), PipelineError> {
        match until {
            Some(until) => self.step(frame, until, &mut probe, &mut out),
            None => self.finish(Some(frame), &mut probe, &mut out),
        }
    }

    /// The camera is gone or silent: ends what is on and warms up again with the next frame.
    pub fn interrupt(&mut self, out: &mut impl FnMut(Report)) {
        if !self.ring.is_empty() {
            self.ring.clear();
            self.emptied(self.now(), out);
        }
    }

    /// What extra number `which` of the contract said. Before the frame in whose ticks it counts; its stamp decides which.
    pub fn sense(&mut self, which: usize, value: Value) {
        self.extras.push(which, value);
    }

    /// Goes on with what was taught meanwhile. What is on ends: it may be what was forgotten.
    pub fn know(&mut self, known: Known, out: &mut impl FnMut(Report)) {
        self.end_event(self.now(), out);
        self.decision.grow(&known.labels, &known.thresholds);
        (self.taught, self.labels) = (known.taught, known.labels.into());
    }
}

/// The stages, in the order in which a tick goes through them.
impl Pipeline {
    /// The frame to where its tick takes it from.
    fn stage(&mut self, frame: &Frame<'_>) -> Result<Staged, PipelineError> {
        let row = self.staged_row.len();
        let misfit = || Err(PipelineError::misfit(&frame.payload, row));
        if let Payload::Shaped(_, extra) = frame.payload {
            self.extras.replay(extra);
        }
        match (&frame.payload, &mut self.shaper) {
            (Payload::Image(image), Some(shaper)) => {
                self.view.look(image, frame.at);
                shaper.stage(image)?;
                shaper.taken(frame.at, self.clock.length());
                Ok(Staged::Seen)
            }
            (Payload::Shaped(Shaped::Planes { levels, picture }, _), Some(shaper)) => {
                if shaper.adopt(levels, *picture) {
                    Ok(Staged::News)
                } else {
                    misfit()
                }
            }
            (Payload::Shaped(Shaped::Same, _), Some(_)) => Ok(Staged::Same),
            (Payload::Row(numbers) | Payload::Shaped(Shaped::Row(numbers), _), None) if numbers.len() == row => {
                self.staged_row.copy_from_slice(numbers);
                Ok(Staged::Seen)
            }
            _ => misfit(),
        }
    }

    /// Closes every tick before `until`, the first one with what is staged. A long gap empties the ring after `max_held` ticks; the rest of it is
    /// skipped.
    fn close_before(
        &mut self,
        until: Timestamp,
        mut staged: Option<Staged>,
        probe: &mut impl Probe,
        out: &mut impl FnMut(Report),
    ) -> Result<(), PipelineError> {
        let mut outcome = Ok(());
        while let Some(tick) = self.clock.tick_before(until) {
            outcome = outcome.and(self.close(tick, staged.take(), probe, out));
            if self.ring.is_empty() {
                self.clock.skip(until);
            }
        }
        outcome
    }

    /// One tick: this function is the block diagram. A call costs it nothing, a copy in each place of a call costs the program kilobytes.
    #[inline(never)]
    fn close(
        &mut self,
        tick: Timestamp,
        staged: Option<Staged>,
        probe: &mut impl Probe,
        out: &mut impl FnMut(Report),
    ) -> Result<(), PipelineError> {
        let at = self.clock.since_start(tick);
        self.counts.ticks += 1;
        probe.start();
        let taken = match staged {
            Some(staged) => self.encode(tick, staged, probe),
            None => Ok(()),
        };
        let held = staged.is_none() || taken.is_err();
        if held {
            self.hold(at, out);
        }
        let moves = self.moves(staged.is_some());
        probe.lap(Stage::Place);
        if !self.ring.is_empty() {
            probe.features(&self.row);
            probe.before(self.before());
            self.strange(at, moves, out);
            probe.lap(Stage::Novelty);
        }
        let logits = match self.head.run(&self.ring) {
            Ok(logits) => logits,
            // What was said last stands.
            Err(e) => {
                self.counts.held += u32::from(!held);
                return taken.and(Err(e.into()));
            }
        };
        probe.lap(Stage::Head);
        let (Some(p), Some(window)) = (logits, self.ring.window()) else {
            self.state = self.warming();
            return taken;
        };
        let age_ms = self.clock.age_ms(tick);
        let finite = window.finite && softmax(p, self.temperature);
        let mut now = ClassNow { at, class: None, label: report::invalid(), p: 0.0, valid_slots: window.fresh, age_ms };
        let mut spot = if self.boxed { None } else { moves };
        if finite {
            let p: &[f32] = match &mut self.taught {
                Some(taught) => {
                    taught.take(p);
                    taught.judge(self.head.state().unwrap_or_default())
                }
                None => p,
            };
            let verdict = self.decision.update(at, p);
            probe.decided(at, p, verdict.class);
            if self.boxed && usize::from(verdict.class.0) != self.background {
                spot = self.framed();
            }
            spot.into_iter().for_each(|place| probe.placed(at, place));
            probe.felt(self.head.state());
            now.class = Some(verdict.class);
            now.label = self.labels[usize::from(verdict.class.0)].clone();
            now.p = verdict.p;
            verdict.events.into_iter().map(Report::Event).for_each(&mut *out);
        } else {
            self.end_event(at, out);
        }
        self.state = if finite { self.view.state() } else { State::Invalid };
        self.say(now, spot, out);
        probe.lap(Stage::Decision);
        taken
    }

    /// The staged picture (or row) into the ring.
    fn encode(&mut self, tick: Timestamp, staged: Staged, probe: &mut impl Probe) -> Result<(), PipelineError> {
        let news = self.extras.look(tick);
        let mut still = false;
        let (at, first) = (self.clock.now(), self.ring.is_empty());
        let features = match (&mut self.shaper, &mut self.encoder) {
            (Some(shaper), Some(encoder)) => {
                shaper.close();
                probe.lap(Stage::Shaper);
                let same = match staged {
                    Staged::Seen => self.gate.as_mut().is_some_and(|gate| gate.is_still(shaper.planes())),
                    Staged::News => false,
                    Staged::Same => true,
                };
                still = same && !first;
                probe.lap(Stage::Gate);
                if still {
                    self.counts.reused += 1;
                    shaper.skip_flow();
                    probe.lap(Stage::Flow);
                    if !news && self.ring.repeat() {
                        probe.taken(at, Shaped::Same, self.extras.pairs(), first);
                        return Ok(());
                    }
                    self.extras.rejoin()
                } else {
                    shaper.flow();
                    probe.lap(Stage::Flow);
                    let features = encoder.run(shaper.planes())?;
                    probe.lap(Stage::Encoder);
                    self.extras.join(features)
                }
            }
            _ => self.extras.join(&self.staged_row),
        };
        self.row.copy_from_slice(features);
        let head = &mut self.head;
        self.ring.push(|row| {
            let done = head.project(features, row);
            probe.lap(Stage::Head);
            done
        })?;
        if let (Some(gate), Some(shaper), false) = (&mut self.gate, &self.shaper, still) {
            gate.keep(shaper.planes());
        }
        let shaped = match &self.shaper {
            // Its extras are news, its picture is not: other planes stand for it.
            Some(_) if still => Shaped::Same,
            Some(shaper) => Shaped::Planes { levels: shaper.planes(), picture: shaper.picture() },
            None => Shaped::Row(&self.staged_row),
        };
        probe.taken(at, shaped, self.extras.pairs(), first);
        if std::mem::take(&mut self.still_before) {
            self.ring.fill();
        }
        probe.lap(Stage::Ring);
        Ok(())
    }

    /// A tick without a new frame.
    fn hold(&mut self, at: Timestamp, out: &mut impl FnMut(Report)) {
        self.counts.held += 1;
        if let Some(shaper) = &mut self.shaper {
            shaper.hold();
        }
        if !self.ring.is_empty() && self.ring.hold() == Held::Emptied {
            self.emptied(at, out);
        }
    }

    /// The ring has just become empty: nothing that remembers may go on remembering.
    fn emptied(&mut self, at: Timestamp, out: &mut impl FnMut(Report)) {
        self.counts.gaps += 1;
        self.head.reset();
        self.taught.iter_mut().for_each(Taught::reset);
        self.view.reset();
        self.shaper.iter_mut().for_each(Shaper::reset);
        self.gate.iter_mut().for_each(Gate::reset);
        self.place.iter_mut().for_each(Place::reset);
        self.lately = None;
        self.encoder.iter_mut().for_each(Encoder::reset);
        self.said.class = None;
        self.state = self.warming();
        self.novelty.as_mut().and_then(|novelty| novelty.gap(at)).map(Report::Novelty).into_iter().for_each(&mut *out);
        self.end_event(at, out);
    }

    /// Where something moves, where that is asked for.
    fn moves(&mut self, fresh: bool) -> Option<Region> {
        let (place, shaper) = (self.place.as_mut()?, self.shaper.as_ref()?);
        if fresh {
            place.look(shaper.planes(), self.encoder.as_ref().and_then(Encoder::map));
        }
        shaper.in_camera(place.now()?)
    }

    /// What novelty says of this tick. An alarm says where something moves, or did last while the score is held.
    fn strange(&mut self, at: Timestamp, moves: Option<Region>, out: &mut impl FnMut(Report)) {
        self.lately = moves.map(|place| (at, place)).or(self.lately);
        let Some(novelty) = &mut self.novelty else { return };
        let Some(said) = novelty.tick(at, &self.row) else { return };
        let (alarm, held) = (said.now == Novel::Alarm, novelty.held());
        out(Report::Novelty(said));
        if let Some((_, place)) = self.lately.filter(|(then, _)| alarm && at.since(*then) < held) {
            out(Report::Place(Spot { at, label: report::novelty(), place }));
        }
    }

    /// Where the head says it is.
    fn framed(&self) -> Option<Region> {
        self.shaper.as_ref()?.in_camera(boxes::region(self.head.place()?)?)
    }

    /// What is on ends here.
    fn end_event(&mut self, at: Timestamp, out: &mut impl FnMut(Report)) {
        self.decision.interrupt(at).map(Report::Event).into_iter().for_each(out);
    }

    /// The class of this tick, and where: said when the class is another one, and with the heartbeat.
    fn say(&mut self, now: ClassNow, spot: Option<Region>, out: &mut impl FnMut(Report)) {
        let (at, class) = (now.at, Some(now.class));
        if self.said.class == class && at.since(self.said.at) < self.heartbeat {
            return;
        }
        self.said = Said { class, at };
        let label = now.label.clone();
        out(Report::Class(now));
        if let Some(place) = spot {
            out(Report::Place(Spot { at, label, place }));
        }
    }
}

/// What it can be asked.
impl Pipeline {
    /// What the pipeline is doing.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Counts since the start.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// When the newest frame was taken, since the first one.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// What goes on from tick to tick.
    pub fn before(&self) -> Before<'_> {
        Before { novelty: self.novelty.as_ref(), head: Some(&self.head) }
    }

    /// Are input projections cached?
    pub fn is_cached(&self) -> bool {
        self.head.is_cached()
    }

    /// Numbers of the head's state, where it shows one.
    pub fn hidden(&self) -> Option<usize> {
        self.head.state().map(<[f32]>::len)
    }

    /// The alarm for what was never here, where one is set up.
    pub fn novelty(&self) -> Option<&Novelty> {
        self.novelty.as_ref()
    }

    /// Is there a gate that may leave out the encoder?
    pub fn has_gate(&self) -> bool {
        self.gate.is_some()
    }

    fn warming(&self) -> State {
        State::Warming { have: self.ring.len() as u16, need: self.ring.capacity() as u16 }
    }
}
