//! Buttons on GPIO lines: while one is held, what is seen is an example of its class; when it is let go, the example is kept.
//!
//! So a class is taught by who stands at the box, without a cable. A button does what `TEACH` and `KEEP` do over the wire, by the same
//! desk ([`crate::report::desk`]); whoever wired it has armed it, for its own class only. One example at a time: a second button that
//! is pressed meanwhile says nothing, and one pressed while another class is shown over a wire is refused, which is logged. The kernel
//! debounces; where a chip is missing or goes away it is tried again and named.

use crate::board::Wiring;
use crate::complaint::Complaint;
use crate::config::Button;
use crate::gpio::{self, CONSUMER, RETRY, Trouble, why_not};
use crate::report::Label;
use crate::report::desk::{Command, Desk, LEAST};
use gpiocdev::Request;
use gpiocdev::line::{Bias, EdgeDetection, Offset, Value};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A contact bounces for a few milliseconds; a finger is never this quick.
const DEBOUNCE: Duration = Duration::from_millis(20);
/// How often the thread looks whether it is to end.
const LOOK: Duration = Duration::from_millis(200);

/// What is said of a button for one of the bundle's own classes.
pub fn left_alone(label: &str) -> String {
    format!("gpio.buttons: {label} is a class of the bundle and cannot be taught; left alone")
}

/// The thread that reads them; dropped, it ends.
#[derive(Debug)]
pub struct Buttons {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Buttons {
    /// Reads the buttons of `wiring` from now on and puts commands on `desk`. A chip that is not there yet, or not ours yet, is awaited. A button for one of `own`, the
    /// bundle's own classes, is left alone and said: a box does not stop for it when it gets another bundle.
    ///
    /// # Errors
    /// No such line, or one line twice: one sentence.
    pub fn start(wiring: &Wiring, own: &[String], desk: &Desk) -> Result<Self, String> {
        let (known, buttons): (Vec<_>, Vec<_>) =
            wiring.buttons.iter().cloned().partition(|(label, _)| own.iter().any(|own| own == label.as_str()));
        for (label, _) in known {
            log::error!("{}", left_alone(&label));
        }
        let stop = Arc::new(AtomicBool::new(false));
        if buttons.is_empty() {
            return Ok(Self { stop, thread: None });
        }
        let mut panel =
            Panel { chip: wiring.chip.clone(), buttons, desk: desk.for_a_button(), held: None, complaint: Complaint::default() };
        let first = match panel.acquire() {
            Ok(lines) => Some(lines),
            Err(Trouble::Never(why)) => return Err(why),
            Err(Trouble::Denied(why) | Trouble::NotNow(why)) => {
                panel.complaint.say(why);
                None
            }
        };
        let theirs = stop.clone();
        let thread = std::thread::Builder::new().name("buttons".into()).spawn(move || panel.run(first, &theirs));
        Ok(Self { stop, thread: Some(thread.map_err(|e| e.to_string())?) })
    }
}

impl Drop for Buttons {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // A panic in the thread was printed when it happened.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// A line that is ours, and whether it was pressed when it was last looked at.
type Pressed = (Request, Offset, bool);

struct Panel {
    chip: String,
    buttons: Vec<(Label, Button)>,
    desk: Desk,
    /// Which one shows an example now.
    held: Option<usize>,
    complaint: Complaint,
}

impl Panel {
    fn run(mut self, mut lines: Option<Vec<Pressed>>, stop: &AtomicBool) {
        let mut wait = RETRY.0;
        while !stop.load(Ordering::Relaxed) {
            let done = match &mut lines {
                Some(lines) => self.look(lines, stop),
                None => self.acquire().map(|new| lines = Some(new)),
            };
            match done {
                Ok(()) => wait = RETRY.0,
                Err(Trouble::Never(why) | Trouble::Denied(why) | Trouble::NotNow(why)) => {
                    lines = None;
                    self.complaint.say(why);
                    // What was being shown when the button was lost is no example.
                    if let Some(held) = self.held.take() {
                        put(&self.desk, &Command::Forget(self.buttons[held].0.clone()), stop);
                    }
                    let until = Instant::now() + wait;
                    while Instant::now() < until && !stop.load(Ordering::Relaxed) {
                        std::thread::sleep(LOOK.min(wait));
                    }
                    wait = (wait * 2).min(RETRY.1);
                }
            }
            // Answers are logged. A refused one means that nothing is being shown.
            while let Some(outcome) = self.desk.outcome() {
                self.held = self.held.filter(|_| outcome.is_ok());
            }
        }
    }

    /// Requests every line, as an input that wakes us when it changes.
    fn acquire(&mut self) -> Result<Vec<Pressed>, Trouble> {
        let chip = gpio::find(&self.chip, self.buttons.iter().map(|(_, button)| &button.line))?;
        let line = |(label, button): &(Label, Button)| {
            let offset = gpio::resolve(&chip, &self.chip, &button.line)?;
            let same = |(_, other): &&(Label, Button)| gpio::resolve(&chip, &self.chip, &other.line).is_ok_and(|o| o == offset);
            if self.buttons.iter().filter(same).count() > 1 {
                return Err(Trouble::Never(format!("gpio.buttons: line {} is two buttons: it is offset {offset}", button.line)));
            }
            let not_now = |why| Trouble::NotNow(format!("GPIO chip {}: button {label}: line {} {why}", self.chip, button.line));
            let mut request = Request::builder();
            request.on_chip(chip.path()).with_consumer(CONSUMER).with_line(offset).as_input();
            request.with_edge_detection(EdgeDetection::BothEdges).with_debounce_period(DEBOUNCE);
            if button.active_low {
                request.as_active_low().with_bias(Bias::PullUp);
            } else {
                request.with_bias(Bias::PullDown);
            }
            let request = request.request().map_err(|e| not_now(why_not(&chip, offset, &e)))?;
            // Held while we begin: a press begins when it is let go and pressed again.
            let pressed = request.value(offset).map_err(|e| not_now(e.to_string()))? == Value::Active;
            Ok((request, offset, pressed))
        };
        let lines = self.buttons.iter().map(line).collect::<Result<Vec<Pressed>, Trouble>>()?;
        self.complaint.end(format_args!("GPIO chip {}: buttons are read", self.chip));
        Ok(lines)
    }

    /// Waits for a change, at most [`LOOK`], and does what it means.
    fn look(&mut self, lines: &mut [Pressed], stop: &AtomicBool) -> Result<(), Trouble> {
        let lost = |e: gpiocdev::Error| Trouble::NotNow(format!("GPIO chip {}: buttons: {e}; trying again", self.chip));
        let each = LOOK / u32::try_from(lines.len()).unwrap_or(u32::MAX).max(1);
        for (request, ..) in &*lines {
            if request.wait_edge_event(each).map_err(lost)? {
                break;
            }
        }
        for (which, (request, offset, pressed)) in lines.iter_mut().enumerate() {
            while request.has_edge_event().map_err(lost)? {
                request.read_edge_event().map_err(lost)?;
            }
            let now = request.value(*offset).map_err(lost)? == Value::Active;
            if now == std::mem::replace(pressed, now) {
                continue;
            }
            let label = self.buttons[which].0.clone();
            match (now, self.held) {
                (true, None) => self.held = put(&self.desk, &Command::Teach(label), stop).then_some(which),
                (false, Some(held)) if held == which => {
                    put(&self.desk, &Command::Keep(label), stop);
                    self.held = None;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Puts a command down as soon as the desk takes it; false: somebody else's lies there for good. An end waits longer than a beginning: what began has to end.
fn put(desk: &Desk, command: &Command, stop: &AtomicBool) -> bool {
    let until = Instant::now() + LEAST * if matches!(command, Command::Teach(_)) { 2 } else { 20 };
    loop {
        match desk.put(command.clone()) {
            Ok(()) => return true,
            Err(_) if Instant::now() < until && !stop.load(Ordering::Relaxed) => std::thread::sleep(DEBOUNCE),
            Err(why) => {
                let (word, label) = command.parts();
                log::warn!("button {label}: {word}: {why}");
                return false;
            }
        }
    }
}
