//! Where a command from the wire waits for inference, and what is answered waits for the wire.
//!
//! A writer's thread puts one command down and goes on; inference takes it between two frames and answers that wire when it is done. Neither waits
//! for the other: a second command while one lies there is refused, and so is one that comes too soon after the last ([`LEAST`]); of answers the
//! last four are kept. Every command is logged, and every answer, whole: a wire has room for its beginning only. A box that is not armed has no desk,
//! so nothing that comes in can reach anything; where only buttons are armed ([`crate::button`]), what comes over a wire is refused.

use super::Label;
use heapless::{Deque, String as Text};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Time between two commands: a person with a button is slower, and whatever is not a person wears no card out.
pub const LEAST: Duration = Duration::from_millis(500);

/// What an armed box does on command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// What is seen from now on is an example of this class.
    Teach(Label),
    /// The example ends here and is kept.
    Keep(Label),
    /// Forget the class, or the example that is being shown.
    Forget(Label),
}

impl Command {
    /// Its word on the wire, and its label.
    pub fn parts(&self) -> (&'static str, &Label) {
        match self {
            Self::Teach(label) => ("TEACH", label),
            Self::Keep(label) => ("KEEP", label),
            Self::Forget(label) => ("FORGET", label),
        }
    }

    /// From `WORD,label`; `None` for anything else.
    pub fn decode(rest: &str) -> Option<Self> {
        let (word, label) = rest.split_once(',')?;
        let label = crate::bundle::class("label", label).ok()?;
        let commands: [fn(Label) -> Self; 3] = [Self::Teach, Self::Keep, Self::Forget];
        commands.into_iter().map(|command| command(label.clone())).find(|command| command.parts().0 == word)
    }
}

/// A wire, or the buttons, that commands come from.
pub type Wire = u32;

/// What was done, or why not.
pub type Outcome = Result<Text<40>, Text<40>>;

/// What lies there and from where, and when the last one was put down.
type Place = (Option<(Command, Wire)>, Option<Instant>);

#[derive(Debug, Default)]
struct Top {
    command: Mutex<Place>,
    outcomes: Mutex<Deque<(Wire, Outcome), 4>>,
    labels: Mutex<Vec<String>>,
    wires: AtomicU32,
}

/// See the module's documentation. By default there is none.
#[derive(Clone, Debug, Default)]
pub struct Desk {
    top: Option<Arc<Top>>,
    wire: Wire,
    /// May commands be put down from here?
    armed: bool,
}

impl Desk {
    /// One of a box that can be commanded; `wires`: over its wires too, not by its buttons only.
    pub fn open(wires: bool) -> Self {
        Self { top: Some(Arc::default()), wire: 0, armed: wires }
    }

    /// Is there one?
    pub fn is_open(&self) -> bool {
        self.top.is_some()
    }

    /// The same desk, for a wire of its own: what it asks is answered to it alone.
    pub fn for_a_wire(&self) -> Self {
        let wire = self.top.as_ref().map_or(0, |top| 1 + top.wires.fetch_add(1, Ordering::Relaxed));
        Self { wire, ..self.clone() }
    }

    /// The same, for buttons: whoever wired them has armed them.
    pub fn for_a_button(&self) -> Self {
        Self { armed: true, ..self.for_a_wire() }
    }

    /// Puts a command down; logged.
    ///
    /// # Errors
    /// In a few words: there is no desk, another one lies there, or it came too soon.
    pub fn put(&self, command: Command) -> Result<(), &'static str> {
        let top = self.top.as_ref().filter(|_| self.armed).ok_or("not armed; see [commands]")?;
        let mut place = top.command.lock().unwrap_or_else(PoisonError::into_inner);
        if place.0.is_some() || place.1.is_some_and(|last| last.elapsed() < LEAST) {
            return Err("busy with another command");
        }
        let (word, label) = command.parts();
        log::info!("commanded: {word} {label}");
        *place = (Some((command, self.wire)), Some(Instant::now()));
        Ok(())
    }

    /// Takes the command that lies there, and where to answer it. Never waits: while the writer puts one down there is none.
    pub fn take(&self) -> Option<(Command, Wire)> {
        self.top.as_ref()?.command.try_lock().ok()?.0.take()
    }

    /// Answers; logged whole, and cut to what a field holds.
    pub fn say(&self, asker: Wire, outcome: Result<String, String>) {
        if let Some(top) = &self.top {
            match &outcome {
                Ok(done) => log::info!("commanded: {done}"),
                Err(why) => log::warn!("commanded: {why}"),
            }
            let outcome = outcome.map(|done| cut(&done)).map_err(|why| cut(&why));
            let mut outcomes = top.outcomes.lock().unwrap_or_else(PoisonError::into_inner);
            if outcomes.is_full() {
                outcomes.pop_front();
            }
            let _ = outcomes.push_back((asker, outcome));
        }
    }

    /// From now on these are the labels.
    pub fn list(&self, labels: Vec<String>) {
        if let Some(top) = &self.top {
            *top.labels.lock().unwrap_or_else(PoisonError::into_inner) = labels;
        }
    }

    /// The labels, if they have changed since the start.
    pub fn labels(&self) -> Option<Vec<String>> {
        let labels = self.top.as_ref()?.labels.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (!labels.is_empty()).then_some(labels)
    }

    /// The next answer for this wire.
    pub fn outcome(&self) -> Option<Outcome> {
        let mut outcomes = self.top.as_ref()?.outcomes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found = None;
        // Once round: what is for others stays in its order.
        for _ in 0..outcomes.len() {
            match outcomes.pop_front()? {
                (asker, outcome) if asker == self.wire && found.is_none() => found = Some(outcome),
                other => drop(outcomes.push_back(other)),
            }
        }
        found
    }
}

/// The beginning of a text, as much as a field holds.
pub fn cut<const N: usize>(text: &str) -> Text<N> {
    let mut out = Text::new();
    // Stops at the first character that no longer fits.
    let _ = text.chars().try_for_each(|c| out.push(c));
    out
}
