//! What goes into a pipeline beside its bundle, what it counts, and how a step can fail: what those who run one need to know without its stages.

use crate::decision::Thresholds;
use crate::encoder::{EncoderError, Form};
use crate::head::HeadError;
use crate::novelty::Setup;
use crate::shaper::{Region, ShaperError};
use crate::source::Payload;
use std::time::Duration;

/// What can go wrong in a step. The pipeline stays usable: the tick counts as held.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The picture could not be shaped.
    #[error(transparent)]
    Shaper(#[from] ShaperError),
    /// The encoder failed.
    #[error(transparent)]
    Encoder(#[from] EncoderError),
    /// The head failed.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// Pictures for a bundle of rows, or rows for a bundle of pictures, or rows of the wrong length.
    #[error("{found} given, the bundle expects {expected}")]
    Payload {
        /// What came.
        found: String,
        /// What the bundle is made for.
        expected: String,
    },
}

impl PipelineError {
    /// This is not what the bundle takes: pictures, or rows of `row` numbers where `row` is not 0.
    pub(super) fn misfit(payload: &Payload<'_>, row: usize) -> Self {
        let (found, expected): (String, String) = match payload {
            Payload::Shaped(..) => ("a tick of another bundle".into(), "its own".into()),
            Payload::Row(_) if row == 0 => ("a row of numbers".into(), "pictures".into()),
            Payload::Row(found) => (format!("a row of {} numbers", found.len()), format!("rows of {row}")),
            Payload::Image(_) => ("a picture".into(), format!("rows of {row} numbers")),
        };
        Self::Payload { found, expected }
    }
}

/// What may differ from the bundle's defaults.
#[derive(Clone, Debug)]
pub struct Options {
    /// The part of the picture to look at.
    pub region: Region,
    /// One a label, or empty for the bundle's own.
    pub thresholds: Vec<Thresholds>,
    /// A class is said again after this time even if it has not changed.
    pub heartbeat: Duration,
    /// Leave out the encoder where nothing changed, as far as the bundle says; `false`: encode every tick.
    pub gate: bool,
    /// Say where something moves.
    pub place: bool,
    /// How the encoder is run.
    pub form: Form,
    /// A recording has no past: take it that the world stood still before its first picture, and answer from the first tick on instead of
    /// warming up. In `window` mode; a carried state starts at zero anyway.
    pub still_before: bool,
    /// What is normal here; nothing is called novel without it.
    pub novelty: Option<Setup>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            region: Region::default(),
            thresholds: vec![],
            heartbeat: Duration::from_secs(1),
            gate: true,
            place: false,
            form: Form::AsBuilt,
            still_before: false,
            novelty: None,
        }
    }
}

/// Counts since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Frames that came in.
    pub frames: u32,
    /// Frames that the source's own numbers say were lost, whatever the cause.
    pub lost: u32,
    /// Frames that were stamped before the one before them, and left out.
    pub disordered: u32,
    /// Ticks closed.
    pub ticks: u32,
    /// Of those, ticks that repeated the last features, or whose head failed, so that what was said last stands.
    pub held: u32,
    /// Ticks whose picture was no news, so that the features of the last encoded one stand for it.
    pub reused: u32,
    /// Times the ring emptied.
    pub gaps: u32,
}
