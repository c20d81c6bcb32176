//! What we tell the outside world: one [`Report`] per fact, and the [`Sink`]s that carry it.
//!
//! Reports are made by pure stages, so they hold stamps, never clocks. A sink must never hold up inference: it is
//! handed a report, queues it within a fixed bound and says itself what it had to leave out.

pub mod desk;
pub mod envelope;
mod fields;
pub mod gpio;
pub mod json;
mod lines;
pub mod outbox;
pub(crate) mod port;
pub mod queries;
pub mod sentence;
pub mod serial;
mod spec;
mod stream;
mod writer;

pub use port::Flow;
pub use spec::{DEFAULT_BAUD, ReportSpec, open};

use crate::source::Timestamp;
use heapless::String as Text;

/// Longest label in bytes; labels match `[a-z0-9_-]{1,32}`.
pub const MAX_LABEL: usize = 32;
/// A class name, checked when the bundle is read.
pub type Label = Text<MAX_LABEL>;
/// What stands for the alarm for what was never here before, where else the name of a class stands: a line, a box, a clip of the black box.
pub const NOVELTY: &str = "novelty";
/// What stands in the place of a label when a number was not finite.
pub const INVALID: &str = "invalid";

/// [`NOVELTY`] as a label.
pub fn novelty() -> Label {
    Label::try_from(NOVELTY).unwrap_or_default()
}

/// [`INVALID`] as a label.
pub fn invalid() -> Label {
    Label::try_from(INVALID).unwrap_or_default()
}

/// Index of a class in the bundle's `labels`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClassId(pub u8);

/// What is going on now.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassNow {
    /// The tick this was decided at.
    pub at: Timestamp,
    /// `None` while the window holds a number that is not finite: said as `invalid`, never as a class.
    pub class: Option<ClassId>,
    /// The class's name, or `invalid`.
    pub label: Label,
    /// Its probability after temperature, 0 to 1; 0 when invalid.
    pub p: f32,
    /// Slots in the window that hold a fresh (not held) tick.
    pub valid_slots: u16,
    /// Age of the frame when the tick was decided, in ms.
    pub age_ms: u32,
}

/// Which end of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    /// The class was entered.
    Start,
    /// The class was left.
    End,
}

/// A class other than the background began or ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The tick at which it was decided.
    pub at: Timestamp,
    /// Start or end.
    pub edge: Edge,
    /// Which class.
    pub class: ClassId,
    /// Its name.
    pub label: Label,
    /// When it truly began: the first tick of the run that led to the decision.
    pub onset: Timestamp,
    /// How long it has lasted, in ms: up to `at` for a start, up to its last tick for an end.
    pub duration_ms: u32,
    /// Highest probability so far.
    pub peak: f32,
}

/// Novelty score of a tick.
#[derive(Clone, Debug, PartialEq)]
pub struct Novelty {
    /// The tick.
    pub at: Timestamp,
    /// Score, higher is stranger.
    pub score: f32,
    /// Alarm threshold now; infinite while learning.
    pub threshold: f32,
    /// Calibration blocks behind the threshold.
    pub blocks: u32,
    /// At most one false alarm in so many blocks can be promised now; `None`: nothing yet.
    pub one_in: Option<u32>,
    /// What it comes to.
    pub now: Novel,
}

/// What a novelty score comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Novel {
    /// Too few blocks yet for any promise: no alarm whatever the score.
    Learning,
    /// Nothing that was not there before.
    #[default]
    Ok,
    /// No alarm, but scores as a whole have moved of late.
    Drift,
    /// Score above threshold.
    Alarm,
}

impl Novel {
    /// Words on the wire and in JSON.
    pub const WORDS: [(&'static str, Self); 4] =
        [("learning", Self::Learning), ("ok", Self::Ok), ("drift", Self::Drift), ("ALARM", Self::Alarm)];

    /// As on the wire.
    pub fn words(self) -> &'static str {
        Self::WORDS.iter().find(|(_, novel)| *novel == self).map_or("ok", |(words, _)| words)
    }
}

/// Where something moves, said with the class, and with an alarm of novelty, while something does.
#[derive(Clone, Debug, PartialEq)]
pub struct Spot {
    /// The tick.
    pub at: Timestamp,
    /// The class that is on, or [`NOVELTY`] behind an alarm.
    pub label: Label,
    /// The box, in fractions of the camera's picture.
    pub place: crate::shaper::Region,
}

/// What state the box is in, in a technician's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Deciding.
    Ok,
    /// The ring has `have` of `need` ticks.
    Warming {
        /// Ticks in the ring.
        have: u16,
        /// Ticks needed.
        need: u16,
    },
    /// Deciding, with another bundle than the installed one, which cannot be used.
    Fallback,
    /// The window holds numbers that are not finite.
    Invalid,
    /// Deciding, but the picture has not changed by a single level for seconds: the camera hangs.
    Frozen,
    /// Deciding, but there is nothing to be seen: dark, blinded or covered.
    Blank,
    /// Deciding, but frames come quicker than they are looked at: ticks are left out.
    Slow,
    /// The device is not there.
    NoCamera,
    /// The device is there and gives nothing.
    NoFrames,
    /// Every frame comes damaged.
    Damaged,
    /// The device is there, its stream breaks.
    StreamBroke,
    /// Another program has the camera.
    CameraBusy,
    /// The USB bus has no room for the camera.
    NoBandwidth,
    /// We may not open the camera.
    NoRights,
    /// The camera is there and refuses what we ask.
    CameraError,
    /// There is no bundle that could be used.
    NoBundle,
    /// Too many ends in a short time: nothing is watched for a while.
    SafeMode,
}

impl State {
    /// The states that are one word for good: as on the wire, and in lower case with `_` in JSON.
    pub const WORDS: [(&'static str, Self); 16] = [
        ("OK", Self::Ok),
        ("FALLBACK", Self::Fallback),
        ("INVALID", Self::Invalid),
        ("FROZEN", Self::Frozen),
        ("BLANK", Self::Blank),
        ("SLOW", Self::Slow),
        ("NO CAMERA", Self::NoCamera),
        ("NO FRAMES", Self::NoFrames),
        ("DAMAGED", Self::Damaged),
        ("STREAM BROKE", Self::StreamBroke),
        ("CAMERA BUSY", Self::CameraBusy),
        ("NO BANDWIDTH", Self::NoBandwidth),
        ("NO RIGHTS", Self::NoRights),
        ("CAMERA ERROR", Self::CameraError),
        ("NO BUNDLE", Self::NoBundle),
        ("SAFE MODE", Self::SafeMode),
    ];

    /// The state in words; `WARMING` goes with two numbers.
    pub fn words(&self) -> &'static str {
        Self::WORDS.iter().find(|(_, state)| state == self).map_or("WARMING", |(words, _)| words)
    }

    /// Are classes being decided?
    pub fn decides(&self) -> bool {
        matches!(self, Self::Ok | Self::Fallback | Self::Invalid | Self::Frozen | Self::Blank | Self::Slow)
    }
}

/// Frames that nobody looked at since the start, by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drops {
    /// Never came out of the driver, or holes in a recording's numbers.
    pub lost: u32,
    /// Came damaged.
    pub damaged: u32,
    /// Good, but a newer one was there when we came to look.
    pub unread: u32,
    /// Stamped before the one before.
    pub disordered: u32,
}

impl Drops {
    /// All of them.
    pub fn all(&self) -> u32 {
        [self.damaged, self.unread, self.disordered].iter().fold(self.lost, |sum, n| sum.saturating_add(*n))
    }
}

/// How the last run ended, as far as one can tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LastEnd {
    /// There was none since power came on or the service was stopped.
    #[default]
    None,
    /// Asked to stop.
    Stopped,
    /// By itself, with a sentence.
    Failed,
    /// A panic.
    Panic,
    /// Without a word: the watchdog, the kernel or somebody killed it.
    Killed,
}

impl LastEnd {
    /// Words on the wire and in JSON.
    pub const WORDS: [(&'static str, Self); 5] = [
        ("none", Self::None),
        ("stopped", Self::Stopped),
        ("failed", Self::Failed),
        ("panic", Self::Panic),
        ("killed", Self::Killed),
    ];

    /// As on the wire.
    pub fn words(self) -> &'static str {
        Self::WORDS.iter().find(|(_, end)| *end == self).map_or("none", |(words, _)| words)
    }
}

/// How long the program has lived, and how often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Life {
    /// Seconds since this run began.
    pub seconds: u32,
    /// Starts before this one since power came on or the service was stopped.
    pub restarts: u32,
    /// How the run before ended.
    pub last_end: LastEnd,
}

/// Once a second: how the box is.
#[derive(Clone, Debug, PartialEq)]
pub struct Health {
    /// Time of the report.
    pub at: Timestamp,
    /// What it is doing.
    pub state: State,
    /// Frames a second over the last second, in tenths.
    pub fps_tenths: u16,
    /// Frames lost since start, by cause.
    pub drops: Drops,
    /// Median of the last 600 times from frame to decision (a minute at ten ticks a second), ms; `None` before the first.
    pub p50_ms: Option<u32>,
    /// 99th percentile of the same, ms; `None` before the first.
    pub p99_ms: Option<u32>,
    /// Temperature in degrees Celsius, where the board has a sensor.
    pub celsius: Option<i16>,
    /// Is the processor being slowed down; `None` where the board cannot say.
    pub throttled: Option<bool>,
    /// Part of the last second's ticks that took their features from an earlier one because their pictures were no
    /// news, in percent; `None` while warming up and where there is no gate.
    pub still: Option<u8>,
    /// Such ticks since start.
    pub reused: u32,
    /// How long and how often it has run; `None` for a recording.
    pub life: Option<Life>,
    /// First eight hex digits of the bundle's hash.
    pub bundle: Text<8>,
}

/// One fact for the outside world.
#[derive(Clone, Debug, PartialEq)]
pub enum Report {
    /// `$PLKTC`
    Class(ClassNow),
    /// `$PLKTE`
    Event(Event),
    /// `$PLKTN`
    Novelty(Novelty),
    /// `$PLKTP`
    Place(Spot),
    /// `$PLKTH`
    Health(Health),
}

/// Who is reporting: what queries on the wire are answered with.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// Program and version, as `lookout 0.1.0`.
    pub version: String,
    /// The bundle's name and version, as `motion 3`.
    pub bundle: String,
    /// Its hash in hex; the first eight digits are said.
    pub hash: String,
    /// Its labels in output order, at most 256.
    pub labels: Vec<String>,
    /// When the run began; `None`: now.
    pub born: Option<Timestamp>,
    /// Where commands go, on a box that is armed.
    pub desk: desk::Desk,
}

impl Identity {
    /// This program running `bundle`.
    pub fn new(bundle: &crate::bundle::Bundle) -> Self {
        Self {
            version: concat!("lookout ", env!("CARGO_PKG_VERSION")).into(),
            bundle: format!("{} {}", bundle.contract.name, bundle.contract.version),
            hash: bundle.hash.clone(),
            labels: bundle.labels.iter().map(|label| label.to_string()).collect(),
            born: None,
            desk: desk::Desk::default(),
        }
    }
}

/// Any clock that was ever set is later, since 1970: 2025-01-01, before the first version.
pub const FIRST_YEAR: std::time::Duration = std::time::Duration::from_secs(1_735_689_600);

/// Whether time waits for a slow reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// It does not: `send` never waits, old status reports are replaced by new ones; of health one of each state in a row stays.
    Live,
    /// A recording is being played: `send` may wait for the writer, nothing is left out, the output is the same every time.
    Recording,
}

/// Why a sink cannot be used, split by what the caller does next.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// Wrong argument, configuration or rights: a restart does not help (exit code 2).
    #[error("{what}: {why}")]
    Refused {
        /// Argument, file or device.
        what: String,
        /// Found against expected, and what to try.
        why: String,
    },
    /// The system broke: a restart may help (exit code 1).
    #[error("{what}: {why}")]
    Lost {
        /// Argument, file or device.
        what: String,
        /// What the system said.
        why: String,
    },
}

/// Somewhere reports go. Implementations never block (but see [`Pace::Recording`]) and never fail the caller: trouble is
/// retried, said once, and what was lost on the way is announced.
pub trait Sink: Send {
    /// Takes one report. `seq` counts the reports of this run, so that a reader sees what is missing.
    fn send(&mut self, seq: u32, report: &Report);

    /// True once nobody can ever read this sink again (standard output was a pipe whose reader went away):
    /// a run that has no other sink ends quietly, with exit code 0.
    fn gone(&self) -> bool {
        false
    }

    /// Has its writer come round since the last time this was asked? It is woken to come round again. False: it hangs, or has not
    /// had its turn yet. Always true for sinks that may rightly wait for a disk or a reader.
    fn awake(&mut self) -> bool {
        true
    }

    /// Gives what is queued a last chance to leave, for at most `limit`, and puts outputs into their safe state. False: reports were lost on the
    /// way to a file or a pipe, or did not leave in time.
    fn close(&mut self, limit: std::time::Duration) -> bool;
}

#[cfg(test)]
pub(crate) mod tests {
    //! One report of each kind, for the tests of the sinks.
    use super::*;

    fn at() -> Timestamp {
        Timestamp::from_ms(61_200)
    }
    fn right() -> Label {
        Label::try_from("right").unwrap()
    }
    pub fn class() -> Report {
        Report::Class(ClassNow { at: at(), class: Some(ClassId(2)), label: right(), p: 0.9734, valid_slots: 16, age_ms: 12 })
    }
    pub fn event() -> Report {
        let onset = Timestamp::from_ms(60_900);
        Report::Event(Event {
            at: at(),
            edge: Edge::Start,
            class: ClassId(2),
            label: right(),
            onset,
            duration_ms: 300,
            peak: 0.99,
        })
    }
    pub fn novelty(alarm: bool) -> Report {
        Report::Novelty(Novelty {
            at: at(),
            score: 2.5,
            threshold: 1.25,
            blocks: 60,
            one_in: Some(61),
            now: if alarm { Novel::Alarm } else { Novel::Ok },
        })
    }
    pub fn place(label: &str) -> Report {
        let label = Label::try_from(label).unwrap();
        let place = crate::shaper::Region { x: 0.25, y: 0.5, w: 0.125, h: 0.3 };
        Report::Place(Spot { at: at(), label, place })
    }
    pub fn health() -> Report {
        Report::Health(Health {
            at: at(),
            state: State::Warming { have: 3, need: 16 },
            fps_tenths: 299,
            drops: Drops { lost: 1, damaged: 1, unread: 2, disordered: 0 },
            p50_ms: None,
            p99_ms: None,
            celsius: Some(-5),
            throttled: Some(false),
            still: None,
            reused: 0,
            life: Some(Life { seconds: 62, restarts: 1, last_end: LastEnd::Killed }),
            bundle: Text::try_from("0011aabb").unwrap(),
        })
    }
}
