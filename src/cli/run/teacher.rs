//! Teaching over the wire, on an armed box, and by buttons: one example at a time, out of what is being watched. While one is shown another class is
//! refused; the same class again begins its example anew, since whoever began it may not be able to end it.
//!
//! Inference looks at the desk between two frames and, while an example is shown, keeps what the head felt. Fitting and writing take as long as a
//! card takes, so a thread of their own does them, one at a time; it answers when what was kept is on the card, and from the next frame
//! on it counts. A new class has a number behind all others; one that was forgotten keeps its own until the next start, because lines and readers know
//! classes by their numbers. A reader who taught asks for the labels anew.

use super::ready::thresholds;
use crate::bundle::Bundle;
use crate::cli::setup;
use crate::config::Config;
use crate::pipeline::Probe;
use crate::report::desk::{Command, Desk, Wire};
use crate::report::{ClassId, Label};
use crate::source::Timestamp;
use crate::store::Store;
use crate::taught::lesson::{Example, Lesson, MAX_CLASSES, MAX_EXAMPLES, Step};
use crate::taught::show::Show;
use crate::taught::{Known, Taught};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// See the module's documentation.
pub struct Teacher {
    desk: Desk,
    /// Only on a box that can be commanded.
    room: Option<Arc<Room>>,
    own: usize,
    showing: Option<(Label, Show)>,
    p: Vec<f32>,
    writing: Option<JoinHandle<()>>,
    /// What the thread that writes has fitted.
    fitted: (Sender<Known>, Receiver<Known>),
}

/// What a lesson is kept for and with.
struct Room {
    bundle: Bundle,
    store: Store,
    config: Config,
    /// The lesson in which nothing was taught yet, or why there is none. Read at the start: an install may have swept the bundle's folder away since.
    beginning: Result<Lesson, String>,
    /// All labels as this run numbers them.
    labels: Mutex<Vec<Label>>,
}

impl Teacher {
    /// Without a desk it is never called upon.
    pub fn new(desk: Desk, bundle: &Bundle, store: Store, config: &Config) -> Self {
        let own = bundle.contract.head.labels.len();
        let room = || Room {
            bundle: bundle.clone(),
            store,
            config: config.clone(),
            beginning: setup::beginning(bundle).map_err(|e| e.why),
            labels: Mutex::new(bundle.labels.clone()),
        };
        let room = desk.is_open().then(|| Arc::new(room()));
        Self { desk, room, own, showing: None, p: vec![0.0; own], writing: None, fitted: channel() }
    }

    /// Looks at the desk, between two frames. `hidden`: units of the head, where it shows its state. What is known from now on, if that has changed.
    pub fn attend(&mut self, hidden: Option<usize>) -> Option<Known> {
        if let Some((command, asker)) = self.desk.take()
            && let Err(why) = self.done(command, asker, hidden)
        {
            self.desk.say(asker, Err(why));
        }
        self.writing.as_ref().and_then(|_| self.fitted.1.try_recv().ok())
    }

    fn done(&mut self, command: Command, asker: Wire, hidden: Option<usize>) -> Result<(), String> {
        if self.writing.as_ref().is_some_and(|w| !w.is_finished()) {
            return Err("still writing the last one".into());
        }
        let hidden = hidden.ok_or("this head does not show its state")?;
        let room = self.room.clone().ok_or("not armed")?;
        let said = |text: String| {
            self.desk.say(asker, Ok(text));
            Ok(())
        };
        match command {
            Command::Teach(label) if room.bundle.contract.head.labels.iter().any(|l| *l == label.as_str()) => {
                Err(format!("{label} is a class of the bundle"))
            }
            Command::Teach(label) => match &self.showing {
                Some((shown, _)) if *shown != label => Err(format!("showing {shown}; KEEP or FORGET ends it")),
                _ => {
                    self.showing = Some((label.clone(), Show::new(hidden, self.own, room.bundle.background)));
                    said(format!("showing {label}"))
                }
            },
            Command::Keep(label) => match self.showing.take() {
                Some((shown, show)) if shown == label => {
                    let example = show.example("wire").ok_or("too short to be an example")?;
                    self.write(room, asker, label, Some(example), hidden)
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
                    self.write(room, asker, label, None, hidden)
                }
            },
        }
    }

    fn write(
        &mut self,
        room: Arc<Room>,
        asker: Wire,
        label: Label,
        example: Option<Example>,
        hidden: usize,
    ) -> Result<(), String> {
        let (desk, fitted) = (self.desk.clone(), self.fitted.0.clone());
        let work = move || {
            let outcome = keep(&room, &label, example, hidden);
            let said = outcome.map(|(text, known)| {
                desk.list(known.labels.iter().map(|l| l.to_string()).collect());
                // Who takes it is gone only when the run is.
                let _ = fitted.send(known);
                text
            });
            desk.say(asker, said);
        };
        let started = std::thread::Builder::new().name("teach".into()).spawn(work);
        self.writing = Some(started.map_err(|e| e.to_string())?);
        Ok(())
    }
}

/// One step more, on the card; what to answer, and what is known then.
fn keep(room: &Room, label: &Label, example: Option<Example>, hidden: usize) -> Result<(String, Known), String> {
    let Room { bundle, store, config, beginning, labels } = room;
    let change = store.change().map_err(|e| e.to_string())?;
    let mut lesson = match store.taught(&bundle.hash).map_err(|e| e.to_string())?.or_else(|| bundle.lesson.clone()) {
        Some(lesson) => lesson.of(&bundle.hash),
        None => beginning.clone()?,
    };
    let more = example.is_some();
    let mut said = match example {
        Some(example) => {
            if lesson.shown().count() >= MAX_EXAMPLES {
                return Err("no room for more examples".into());
            }
            lesson.push(Step::Shown { label: label.to_string(), examples: vec![example] });
            format!("kept {label} {}", lesson.shown().filter(|(l, _)| *l == label.as_str()).count())
        }
        // The next start would have no such class.
        None if let Some(key) = setup::own_words(config).mentions(label) => return Err(format!("named by {key}: {label}")),
        None if lesson.labels().contains(&label.as_str()) => {
            lesson.push(Step::Forgotten { label: label.to_string() });
            format!("forgot {label}")
        }
        None => return Err(format!("{label} was not taught")),
    };
    let now = lesson.labels();
    if now.len() > MAX_CLASSES {
        return Err(format!("{MAX_CLASSES} classes are the most"));
    }
    let mut labels = labels.lock().unwrap_or_else(PoisonError::into_inner);
    let mut all = labels.clone();
    for name in &now {
        let name = crate::bundle::label("a taught class", name)?;
        if !all.contains(&name) {
            all.push(name);
        }
    }
    if all.len() > 256 {
        return Err("256 classes in this run; start it anew".into());
    }
    let own = &bundle.contract.head.labels;
    let fitted = if more {
        Taught::proved(&lesson, own, hidden, Some(label.as_str()))?
    } else {
        // What was shown can always be taken away again, whatever is left.
        Taught::new(&lesson, own, hidden).unwrap_or_else(|why| {
            log::warn!("what is left cannot be used, so no taught class is called: {why}");
            said.push_str("; the others are off");
            None
        })
    };
    let taught = fitted.map(|t| t.among(&all, &now));
    let decision = &bundle.contract.decision;
    // What is configured and does not fit another bundle than the one that was meant is left alone. Where it fits, it has to go on doing so: the next
    // start would be refused.
    if config.decisions(decision, &labels).is_ok() {
        config.decisions(decision, &all).map_err(|e| e.to_string())?;
    }
    let thresholds = thresholds(config, decision, &all);
    change.teach(&lesson).map_err(|e| e.to_string())?;
    labels.clone_from(&all);
    Ok((said, Known { taught, labels: all, thresholds }))
}

impl Probe for Teacher {
    fn decided(&mut self, _: Timestamp, p: &[f32], _: ClassId) {
        if self.showing.is_some() {
            // What was taught before takes from all of the bundle's own classes alike: among themselves they say what they say without it.
            let all: f32 = p[..self.own].iter().sum();
            self.p.iter_mut().zip(p).for_each(|(to, p)| *to = if all > 0.0 { p / all } else { 0.0 });
        }
    }

    fn felt(&mut self, state: Option<&[f32]>) {
        if let (Some((_, show)), Some(state)) = (&mut self.showing, state) {
            show.tick(state, &self.p);
        }
    }
}
