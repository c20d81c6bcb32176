//! Teaching over the wire, on an armed box: one example at a time, out of what is being watched.
//!
//! Inference looks at the desk between two frames and, while an example is shown, keeps what the head felt. Fitting and writing take as long as a
//! card takes, so a thread of their own does them, one at a time; it answers when what was kept is on the card. What was taught counts from the next start:
//! a class that appears while readers, lines and thresholds know the old list would be said under a number nobody has looked up.

use crate::bundle::Bundle;
use crate::cli::setup;
use crate::pipeline::Probe;
use crate::report::desk::{Command, Desk, cut};
use crate::report::{ClassId, Label};
use crate::source::Timestamp;
use crate::store::Store;
use crate::taught::Taught;
use crate::taught::lesson::{Example, MAX_EXAMPLES, Step};
use crate::taught::show::Show;
use std::sync::Arc;
use std::thread::JoinHandle;

/// See the module's documentation.
pub struct Teacher {
    desk: Desk,
    /// Only on an armed box.
    bundle: Option<Arc<(Bundle, Store)>>,
    own: usize,
    showing: Option<(Label, Show)>,
    p: Vec<f32>,
    writing: Option<JoinHandle<()>>,
}

impl Teacher {
    /// One for an armed box. Without a desk it is never called upon.
    pub fn new(desk: Desk, bundle: &Bundle, store: Store) -> Self {
        let own = bundle.contract.head.labels.len();
        let with = desk.is_armed().then(|| Arc::new((bundle.clone(), store)));
        Self { desk, bundle: with, own, showing: None, p: vec![0.0; own], writing: None }
    }

    /// Looks at the desk, between two frames. `hidden`: units of the head, where it shows its state.
    pub fn attend(&mut self, hidden: Option<usize>) {
        let Some(command) = self.desk.take() else { return };
        if let Err(why) = self.done(command, hidden) {
            log::warn!("teaching over the wire: {why}");
            self.desk.say(Err(cut(&why)));
        }
    }

    fn done(&mut self, command: Command, hidden: Option<usize>) -> Result<(), String> {
        if self.writing.as_ref().is_some_and(|w| !w.is_finished()) {
            return Err("still writing the last one".into());
        }
        let hidden = hidden.ok_or("this head does not show its state")?;
        let with = self.bundle.clone().ok_or("not armed")?;
        let said = |text: String| {
            self.desk.say(Ok(cut(&text)));
            Ok(())
        };
        match command {
            Command::Teach(label) if with.0.contract.head.labels.iter().any(|l| *l == label.as_str()) => {
                Err(format!("{label} is a class of the bundle"))
            }
            Command::Teach(label) => {
                self.showing = Some((label.clone(), Show::new(hidden, self.own, with.0.background)));
                said(format!("showing {label}"))
            }
            Command::Keep(label) => match self.showing.take() {
                Some((shown, show)) if shown == label => {
                    let example = show.example("wire").ok_or("too short to be an example")?;
                    self.write(with, label, Some(example), hidden)
                }
                other => {
                    self.showing = other;
                    Err(format!("not showing {label}"))
                }
            },
            Command::Forget(label) => match self.showing.take() {
                Some((shown, _)) if shown == label => said(format!("dropped {label}")),
                other => {
                    self.showing = other;
                    self.write(with, label, None, hidden)
                }
            },
        }
    }

    fn write(&mut self, with: Arc<(Bundle, Store)>, label: Label, example: Option<Example>, hidden: usize) -> Result<(), String> {
        let desk = self.desk.clone();
        let work = move || {
            let outcome = keep(&with, &label, example, hidden);
            if let Err(why) = &outcome {
                log::warn!("teaching over the wire: {why}");
            }
            desk.say(outcome.map(|text| cut(&text)).map_err(|why| cut(&why)));
        };
        let started = std::thread::Builder::new().name("teach".into()).spawn(work);
        self.writing = Some(started.map_err(|e| e.to_string())?);
        Ok(())
    }
}

/// One step more, on the card; what to answer.
fn keep((bundle, store): &(Bundle, Store), label: &Label, example: Option<Example>, hidden: usize) -> Result<String, String> {
    let change = store.change().map_err(|e| e.to_string())?;
    let mut lesson = match store.taught(&bundle.hash).map_err(|e| e.to_string())?.or_else(|| bundle.lesson.clone()) {
        Some(lesson) => lesson.of(&bundle.hash),
        None => setup::beginning(bundle).map_err(|e| e.why)?,
    };
    let said = match example {
        Some(example) => {
            if lesson.shown().count() >= MAX_EXAMPLES {
                return Err("no room for more examples".into());
            }
            lesson.push(Step::Shown { label: label.to_string(), examples: vec![example] });
            Taught::new(&lesson, &bundle.contract.head.labels, hidden)?;
            format!("kept {label} {}", lesson.shown().filter(|(l, _)| *l == label.as_str()).count())
        }
        None if lesson.labels().contains(&label.as_str()) => {
            lesson.push(Step::Forgotten { label: label.to_string() });
            format!("forgot {label}")
        }
        None => return Err(format!("{label} was not taught")),
    };
    change.teach(&lesson).map_err(|e| e.to_string())?;
    Ok(said)
}

impl Probe for Teacher {
    fn decided(&mut self, _: Timestamp, p: &[f32], _: ClassId) {
        if self.showing.is_some() {
            self.p.copy_from_slice(&p[..self.own]);
        }
    }

    fn felt(&mut self, state: Option<&[f32]>) {
        if let (Some((_, show)), Some(state)) = (&mut self.showing, state) {
            show.tick(state, &self.p);
        }
    }
}
