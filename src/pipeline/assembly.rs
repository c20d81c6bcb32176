//! How a pipeline begins: networks loaded, every buffer made, and what an earlier run remembered taken up.
//!
//! What in a bundle or its options does not fit is refused here, before the first frame; a step finds everything made.

use super::clock::Clock;
use super::{Counts, Options, Pipeline, Said};
use crate::bundle::{Bundle, BundleError, Mode};
use crate::decision::{Decision, Thresholds};
use crate::encoder::{Encoder, Form};
use crate::extra::Extras;
use crate::gate::Gate;
use crate::head::{Arithmetic, Head};
use crate::novelty::{self, Novelty};
use crate::place::Place;
use crate::report::State;
use crate::ring::Ring;
use crate::shaper::{Region, Shaper};
use crate::taught::{Taught, lesson::Lesson};
use crate::view::View;

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
        if let Some(setup) = &options.novelty {
            let fits = setup.normal.fits(bundle.features(), c.time.tick_ms);
            fits.map_err(|why| bundle.refuse(format!("{}: {why}", novelty::FILE)))?;
        }
        let thresholds = if options.thresholds.len() == bundle.labels.len() {
            options.thresholds.clone()
        } else {
            vec![Thresholds::from(&c.decision); bundle.labels.len()]
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
            decision: Decision::new(&bundle.labels, &thresholds, bundle.background).explaining(),
            novelty: options.novelty.clone().map(|setup| Novelty::new(setup, options.heartbeat)),
            labels: bundle.labels.clone().into(),
            background: bundle.background,
            temperature: c.head.temperature,
            heartbeat: options.heartbeat,
            still_before: options.still_before && c.time.mode == Mode::Window,
            staged_row: vec![0.0; if c.input.is_some() { 0 } else { bundle.frame_features() }].into(),
            row: vec![0.0; bundle.features()].into(),
            clock: Clock::new(c.time.tick_ms),
            said: Said::default(),
            state: State::Warming { have: 0, need: c.time.window as u16 },
            counts: Counts::default(),
        })
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
}

/// What was taught on top of the bundle, fitted to its head.
fn taught(bundle: &Bundle, lesson: &Lesson, head: &Head) -> Result<Option<Taught>, BundleError> {
    let refuse = |why: String| bundle.refuse(format!("what was taught: {why}"));
    let state =
        head.state().ok_or_else(|| refuse("tract runs this head and does not show its state; see `lookout check`".into()))?;
    Taught::new(lesson, &bundle.contract.head.labels, state.len()).map_err(refuse)
}
