//! Classes of one's own: from recordings to a bundle. `lookout train`, behind the feature `train`; not part of a device build.
//!
//! ```text
//! recordings ─ list ─ ticks (shaper, encoder: the device's own) ─ set ─ fit (candle) ─ judge ─ write ─ bundle
//! ```
//! What the head learns from is what the device will give it: the same shaper, the same int8 encoder, the same ticks. Whole windows from zero
//! state are shown to it, as in `window` mode. Nothing is judged on a group (a scene, a person, a recording) that it has learnt from.

pub mod adam;
pub mod baseline;
pub mod course;
pub mod fit;
pub mod foresee;
pub mod gait;
pub mod judge;
pub mod list;
pub mod net;
pub mod onnx;
pub mod ops;
pub mod quantise;
pub mod set;
pub mod tiny;
pub mod unlabelled;
pub mod write;

/// Why training ended without a bundle.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// Recordings, tables or arguments are wrong; one sentence.
    #[error("{0}")]
    Refused(String),
    /// Something failed on the way; the same command goes on where it stopped.
    #[error("{0}")]
    Broke(String),
}

impl From<candle_core::Error> for TrainError {
    fn from(e: candle_core::Error) -> Self {
        Self::Broke(format!("training: {e}"))
    }
}

impl From<String> for TrainError {
    fn from(why: String) -> Self {
        Self::Refused(why)
    }
}

/// What training functions give.
pub type Result<T> = std::result::Result<T, TrainError>;
