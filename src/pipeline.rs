//! The order of the stages: the only file that knows it. No I/O, no clock.
//!
//! ```text
//! frame -> shaper -> (gate) -> encoder -> (extras) -> (head's projections) -> ring -> head -> (taught) -> decision -> reports
//!       `-> (place, where the head gives no box: by the picture, or by the encoder's map of it) ----------^
//! ```
//! Time is cut into ticks from the first frame on: tick k is at `start + k * tick`. The newest frame at or before a
//! tick fills its slot, so each frame comes with the stamp until which it was the newest: the next frame's. A live camera
//! and its recording therefore give the same reports. Reports count time from the first frame.

use crate::bundle::{Bundle, BundleError, Mode};
use crate::decision::{Decision, Thresholds, softmax};
use crate::encoder::{Encoder, Form};
use crate::extra::{Extras, Value};
use crate::gate::Gate;
use crate::head::{Arithmetic, Head, boxes};
use crate::novelty::Novelty;
use crate::place::Place;
use crate::report::{self, ClassId, ClassNow, Label, Novel, Report, Spot, State};
use crate::ring::{Held, Ring};
use crate::shaper::{Region, Shaper};
use crate::source::{Frame, Payload, Seq, Shaped, Timestamp};
use crate::taught::{Known, Taught, lesson::Lesson};
use crate::view::View;
use std::time::Duration;

mod options;
mod probe;
pub use options::{Counts, Options, PipelineError};
pub use probe::{Before, Probe, Stage};

/// See the module's documentation.
#[derive(Debug)]
pub struct Pipeline {
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
    tick: Duration,
    heartbeat: Duration,
    /// The first tick is still to come and fills the whole ring.
    still_before: bool,
    /// A row of numbers that waits for its tick.
    staged_row: Box<[f32]>,
    /// What the newest slot of the ring stands for: features or the row, and extras.
    row: Box<[f32]>,
    time: Time,
    said: Said,
    state: State,
    counts: Counts,
}

/// Where we are between ticks.
#[derive(Debug, Default)]
struct Time {
    /// Stamp of the first frame, or of the first after a clock that went far back.
    start: Option<Timestamp>,
    /// What reports had counted by then, ns.
    before: u64,
    /// The tick that is open.
    next: u64,
    /// A picture or row is staged and waits for its tick.
    fresh: bool,
    /// It is another run's tick, which says whether it is no news.
    same: Option<bool>,
    /// Stamp of the newest frame.
    newest: Timestamp,
    seq: Option<Seq>,
}

/// The class that was last reported, and when.
#[derive(Debug, Default)]
struct Said {
    class: Option<Option<ClassId>>,
    at: Timestamp,
}

impl Pipeline {
    /// Loads both networks and makes every buffer.
    ///
    /// # Errors
    /// What in the bundle does not fit, in one sentence.
    pub fn new(bundle: &Bundle, options: &Options) -> Result<Self, BundleError> {
        let c = &bundle.contract;
        let head = match options.form {
            Form::On(engine) => Head::load_with(bundle, Arithmetic::Quickest, engine.isa)?,
            _ => Head::load(bundle)?,
        };
        let shaper =
            c.input.as_ref().map(|i| Shaper::new(i, options.region)).transpose().map_err(|e| bundle.refuse(e.to_string()))?;
        if options.place && shaper.is_none() {
            return Err(bundle.refuse("where something moves cannot be said of rows of numbers; leave `where` out".to_string()));
        }
        // A head's own box is that of a class; where an alarm is, is looked for beside it.
        let placed = options.place && (c.head.boxes.is_none() || options.novelty.is_some());
        let load = if placed { Encoder::load_with_map } else { Encoder::load };
        let encoder = c.input.as_ref().map(|_| load(bundle, options.form)).transpose()?;
        let mapped = encoder.as_ref().is_some_and(|e| e.map().is_some());
        let default = Thresholds::from(&c.decision);
        let novelty = options.novelty.clone().map(|setup| {
            setup.normal.fits(bundle.features(), c.time.tick_ms)?;
            Ok::<_, String>(Novelty::new(setup, options.heartbeat))
        });
        let novelty = novelty.transpose().map_err(|why| bundle.refuse(format!("{}: {why}", crate::novelty::FILE)))?;
        let thresholds = if options.thresholds.len() == bundle.labels.len() {
            options.thresholds.clone()
        } else {
            vec![default; bundle.labels.len()]
        };
        Ok(Self {
            shaper,
            view: View::default(),
            gate: c.input.as_ref().filter(|_| options.gate).and_then(Gate::new),
            place: c.input.as_ref().filter(|_| placed).map(|i| if mapped { Place::mapped() } else { Place::new(i) }),
            boxed: options.place && c.head.boxes.is_some(),
            lately: None,
            encoder,
            extras: Extras::new(&c.extra, bundle.frame_features()),
            ring: Ring::new(c.time.window, head.row_len(), c.time.max_held),
            taught: bundle.lesson.as_ref().map_or(Ok(None), |lesson| taught(bundle, lesson, &head))?,
            head,
            decision: Decision::new(&bundle.labels, &thresholds, bundle.background),
            novelty,
            labels: bundle.labels.clone().into(),
            background: bundle.background,
            temperature: c.head.temperature,
            tick: Duration::from_millis(c.time.tick_ms.into()),
            heartbeat: options.heartbeat,
            still_before: options.still_before && c.time.mode == Mode::Window,
            staged_row: vec![0.0; if c.input.is_some() { 0 } else { bundle.frame_features() }].into(),
            row: vec![0.0; bundle.features()].into(),
            time: Time::default(),
            said: Said::default(),
            state: State::Warming { have: 0, need: c.time.window as u16 },
            counts: Counts::default(),
        })
    }

    /// What extra number `which` of the contract said. Before the frame in whose ticks it counts; its stamp decides which.
    pub fn sense(&mut self, which: usize, value: Value) {
        self.extras.push(which, value);
    }

    /// Goes on, in novelty, from what an earlier run remembered before the first frame that is to come. False: it cannot, and begins anew.
    pub fn recall(&mut self, past: &[u8]) -> bool {
        self.novelty.as_mut().is_some_and(|novelty| novelty.recall(past))
    }

    /// The same in a head that carries its state.
    pub fn recall_head(&mut self, past: &[u8]) -> bool {
        self.head.recall(past)
    }

    /// What comes was made of this part of the camera's picture by an earlier run: boxes are said in the whole.
    pub fn recall_region(&mut self, region: Region) {
        self.shaper.iter_mut().for_each(|shaper| shaper.recall(region));
    }

    /// What goes on from tick to tick.
    pub fn before(&self) -> Before<'_> {
        Before { novelty: self.novelty.as_ref(), head: Some(&self.head) }
    }

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
        if let (None, Payload::Shaped(..)) = (self.time.start, frame.payload) {
            // An earlier run's ticks keep its time.
            self.time.start = Some(Timestamp(0));
            self.time.next = u128::from(frame.at.0).div_ceil(self.tick.as_nanos()) as u64;
        }
        self.time.start.get_or_insert(frame.at);
        self.count(frame);
        if self.time.newest > frame.at && self.counts.frames > 1 {
            // A clock that went back a little is a frame out of order; a lot is another recording.
            if self.time.newest.since(frame.at) < Duration::from_secs(1) {
                self.counts.disordered += 1;
                return Ok(());
            }
            let before = self.now() + self.tick;
            self.interrupt(out);
            (self.time.start, self.time.before) = (Some(frame.at), before.0);
            self.time.next = self.ticks_at(frame.at);
        }
        // Ticks that nothing filled: a frame out of order took the place of the one they were for.
        let mut outcome = self.close_before(frame.at, probe, out);
        self.time.newest = frame.at;
        if self.tick_at(self.time.next) >= until {
            return outcome;
        }
        probe.start();
        let staged = self.stage(frame);
        probe.lap(Stage::Shaper);
        match staged {
            Ok(()) => self.time.fresh = true,
            Err(e) => outcome = outcome.and(Err(e)),
        }
        outcome.and(self.close_before(until, probe, out))
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
                let next = if self.counts.frames == 0 { frame.at } else { self.tick_at(self.time.next).max(frame.at) };
                self.step(frame, Timestamp(next.0.saturating_add(1)), probe, out)
            }
            None => Ok(()),
        };
        let at = self.since_start(self.tick_at(self.time.next));
        self.end_event(at, out);
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
        let at = self.now();
        if !self.ring.is_empty() {
            self.ring.clear();
            self.emptied(at, out);
        }
        self.time.fresh = false;
    }

    /// Goes on with what was taught meanwhile. What is on ends: it may be what was forgotten.
    pub fn know(&mut self, known: Known, out: &mut impl FnMut(Report)) {
        self.end_event(self.now(), out);
        self.decision.grow(&known.labels, &known.thresholds);
        (self.taught, self.labels) = (known.taught, known.labels.into());
    }

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
        self.since_start(self.time.newest)
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

    /// Closes every tick before `at`. A long gap empties the ring after `max_held` ticks; the rest of it is skipped.
    fn close_before(&mut self, at: Timestamp, probe: &mut impl Probe, out: &mut impl FnMut(Report)) -> Result<(), PipelineError> {
        let mut outcome = Ok(());
        while self.tick_at(self.time.next) < at {
            outcome = outcome.and(self.close(probe, out));
            if self.ring.is_empty() && !self.time.fresh {
                let passed = self.ticks_at(at);
                // The tick that `at` itself falls on, or the next one after it.
                let on_tick = self.tick_at(passed) == at;
                self.time.next = self.time.next.max(if on_tick { passed } else { passed + 1 });
            }
        }
        outcome
    }

    /// One tick: this function is the block diagram.
    fn close(&mut self, probe: &mut impl Probe, out: &mut impl FnMut(Report)) -> Result<(), PipelineError> {
        let tick = self.tick_at(self.time.next);
        let at = self.since_start(tick);
        self.time.next += 1;
        self.counts.ticks += 1;
        let fresh = std::mem::take(&mut self.time.fresh);
        probe.start();
        let taken = if fresh { self.encode(tick, probe) } else { Ok(()) };
        if !fresh || taken.is_err() {
            self.hold(at, out);
        }
        let mut spot = self.spot(fresh);
        probe.lap(Stage::Place);
        if !self.ring.is_empty() {
            probe.features(&self.row);
            probe.before(self.before());
            self.strange(at, spot, out);
            probe.lap(Stage::Novelty);
        }
        if self.boxed {
            spot = None;
        }
        let logits = self.head.run(&self.ring)?;
        probe.lap(Stage::Head);
        let (Some(p), Some(window)) = (logits, self.ring.window()) else {
            self.state = State::Warming { have: self.ring.len() as u16, need: self.ring.capacity() as u16 };
            return taken;
        };
        let age_ms = u32::try_from(tick.since(self.time.newest).as_millis()).unwrap_or(u32::MAX);
        let finite = window.finite && softmax(p, self.temperature);
        let mut now = ClassNow { at, class: None, label: report::invalid(), p: 0.0, valid_slots: window.fresh, age_ms };
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
        if self.said.class != Some(now.class) || at.since(self.said.at) >= self.heartbeat {
            self.said = Said { class: Some(now.class), at };
            let label = now.label.clone();
            out(Report::Class(now));
            spot.into_iter().for_each(|place| out(Report::Place(Spot { at, label: label.clone(), place })));
        }
        probe.lap(Stage::Decision);
        taken
    }

    /// What novelty says of this tick. An alarm says where something moves, or did last while the score is held.
    fn strange(&mut self, at: Timestamp, spot: Option<Region>, out: &mut impl FnMut(Report)) {
        self.lately = spot.map(|place| (at, place)).or(self.lately);
        let Some(novelty) = &mut self.novelty else { return };
        let Some(said) = novelty.tick(at, &self.row) else { return };
        let (alarm, held) = (said.now == Novel::Alarm, novelty.held());
        out(Report::Novelty(said));
        if let Some((_, place)) = self.lately.filter(|(then, _)| alarm && at.since(*then) < held) {
            out(Report::Place(Spot { at, label: report::novelty(), place }));
        }
    }

    /// Where something moves, where that is asked for.
    fn spot(&mut self, fresh: bool) -> Option<Region> {
        let (place, shaper) = (self.place.as_mut()?, self.shaper.as_ref()?);
        if fresh {
            place.look(shaper.planes(), self.encoder.as_ref().and_then(Encoder::map));
        }
        shaper.in_camera(place.now()?)
    }

    /// Where the head says it is.
    fn framed(&self) -> Option<Region> {
        self.shaper.as_ref()?.in_camera(boxes::region(self.head.place()?)?)
    }

    /// The staged picture (or row) into the ring.
    fn encode(&mut self, tick: Timestamp, probe: &mut impl Probe) -> Result<(), PipelineError> {
        let news = self.extras.look(tick);
        let mut still = false;
        let (at, first) = (self.since_start(self.time.newest), self.ring.is_empty());
        let features = match (&mut self.shaper, &mut self.encoder) {
            (Some(shaper), Some(encoder)) => {
                shaper.close();
                probe.lap(Stage::Shaper);
                let same = self.time.same.take();
                still = same.unwrap_or_else(|| self.gate.as_mut().is_some_and(|g| g.is_still(shaper.planes())))
                    && !self.ring.is_empty();
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
        let planes = self.shaper.as_ref().map(|s| (s.planes(), s.picture()));
        let tick = match planes {
            // Its extras are news, its picture is not: other planes stand for it.
            Some(_) if still => Shaped::Same,
            Some((levels, picture)) => Shaped::Planes { levels, picture },
            None => Shaped::Row(&self.staged_row),
        };
        probe.taken(at, tick, self.extras.pairs(), first);
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
        self.state = State::Warming { have: 0, need: self.ring.capacity() as u16 };
        self.novelty.as_mut().and_then(|novelty| novelty.gap(at)).map(Report::Novelty).into_iter().for_each(&mut *out);
        self.end_event(at, out);
    }

    /// What is on ends here.
    fn end_event(&mut self, at: Timestamp, out: &mut impl FnMut(Report)) {
        self.decision.interrupt(at).map(Report::Event).into_iter().for_each(out);
    }

    fn stage(&mut self, frame: &Frame<'_>) -> Result<(), PipelineError> {
        let wrong = |found: String, expected: String| Err(PipelineError::Payload { found, expected });
        if let Payload::Shaped(_, extra) = frame.payload {
            self.extras.replay(extra);
        }
        match (&frame.payload, &mut self.shaper) {
            (Payload::Image(image), Some(shaper)) => {
                self.view.look(image, frame.at);
                self.time.same = None;
                Ok(shaper.stage(image)?)
            }
            (Payload::Shaped(Shaped::Planes { levels, picture }, _), Some(shaper)) => {
                self.time.same = Some(false);
                if shaper.adopt(levels, *picture) { Ok(()) } else { wrong("a tick of another bundle".into(), "its own".into()) }
            }
            (Payload::Shaped(Shaped::Same, _), Some(_)) => {
                self.time.same = Some(true);
                Ok(())
            }
            (Payload::Row(row) | Payload::Shaped(Shaped::Row(row), _), None) if row.len() == self.staged_row.len() => {
                self.staged_row.copy_from_slice(row);
                Ok(())
            }
            (Payload::Row(row), None) => {
                wrong(format!("a row of {} numbers", row.len()), format!("rows of {}", self.staged_row.len()))
            }
            (Payload::Shaped(..), _) => wrong("a tick of another bundle".into(), "its own".into()),
            (Payload::Row(_), Some(_)) => wrong("a row of numbers".into(), "pictures".into()),
            (Payload::Image(_), None) => wrong("a picture".into(), format!("rows of {} numbers", self.staged_row.len())),
        }
    }

    fn count(&mut self, frame: &Frame<'_>) {
        self.counts.frames += 1;
        if let Some(last) = self.time.seq.replace(frame.seq) {
            let lost = frame.seq.0.wrapping_sub(last.0).wrapping_sub(1);
            // More than that is a counter that went back or began again, not two billion lost frames.
            if lost < u32::MAX / 2 {
                self.counts.lost = self.counts.lost.saturating_add(lost);
            }
        }
    }

    /// Stamp of tick `k`.
    fn tick_at(&self, k: u64) -> Timestamp {
        let since = k.saturating_mul(self.tick.as_nanos() as u64);
        Timestamp(self.time.start.unwrap_or_default().0.saturating_add(since).saturating_sub(self.time.before))
    }

    /// Ticks up to a stamp.
    fn ticks_at(&self, at: Timestamp) -> u64 {
        self.since_start(at).0 / self.tick.as_nanos() as u64
    }

    fn since_start(&self, at: Timestamp) -> Timestamp {
        Timestamp(at.0.saturating_add(self.time.before).saturating_sub(self.time.start.unwrap_or_default().0))
    }
}

/// What was taught on top of the bundle, fitted to its head.
fn taught(bundle: &Bundle, lesson: &Lesson, head: &Head) -> Result<Option<Taught>, BundleError> {
    let refuse = |why: String| bundle.refuse(format!("what was taught: {why}"));
    let state =
        head.state().ok_or_else(|| refuse("tract runs this head and does not show its state; see `lookout check`".into()))?;
    Taught::new(lesson, &bundle.contract.head.labels, state.len()).map_err(refuse)
}
