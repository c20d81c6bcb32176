//! Why a command ends early: one sentence and its exit code.

use crate::board::BoardError;
use crate::bundle::BundleError;
use crate::config::ConfigError;
use crate::pipeline::PipelineError;
use crate::report::ReportError;
use crate::source::SourceError;
use crate::store::StoreError;

/// See the module's documentation.
#[derive(Debug)]
pub struct Failure {
    /// 0, 1 or 2; see [`crate::cli`].
    pub code: u8,
    /// One sentence; nothing is printed when it is empty.
    pub why: String,
}

impl Failure {
    /// Wrong board, configuration, bundle or arguments: exit code 2.
    pub fn refused(why: impl Into<String>) -> Self {
        Self { code: 2, why: why.into() }
    }
    /// Lost a device or broke: exit code 1.
    pub fn broke(why: impl Into<String>) -> Self {
        Self { code: 1, why: why.into() }
    }
}

impl From<ConfigError> for Failure {
    fn from(e: ConfigError) -> Self {
        Self::refused(e.to_string())
    }
}

impl From<BoardError> for Failure {
    fn from(e: BoardError) -> Self {
        Self::refused(e.to_string())
    }
}

impl From<BundleError> for Failure {
    fn from(e: BundleError) -> Self {
        Self::refused(e.to_string())
    }
}

impl From<SourceError> for Failure {
    fn from(e: SourceError) -> Self {
        match e {
            SourceError::Refused { .. } => Self::refused(e.to_string()),
            _ => Self::broke(e.to_string()),
        }
    }
}

impl From<PipelineError> for Failure {
    fn from(e: PipelineError) -> Self {
        match e {
            PipelineError::Payload { .. } | PipelineError::Shaper(_) => Self::refused(e.to_string()),
            PipelineError::Encoder(_) | PipelineError::Head(_) => Self::broke(e.to_string()),
        }
    }
}

impl From<ReportError> for Failure {
    fn from(e: ReportError) -> Self {
        match e {
            ReportError::Refused { .. } => Self::refused(e.to_string()),
            ReportError::Lost { .. } => Self::broke(e.to_string()),
        }
    }
}

impl From<std::io::Error> for Failure {
    /// Errors of our own output. A reader that has seen enough (`| head`) is no error.
    fn from(e: std::io::Error) -> Self {
        if e.kind() == std::io::ErrorKind::BrokenPipe {
            Self { code: 0, why: String::new() }
        } else {
            Self::broke(format!("standard output: {e}"))
        }
    }
}

impl From<StoreError> for Failure {
    fn from(e: StoreError) -> Self {
        match e {
            StoreError::TooMuch { .. } => Self::refused(e.to_string()),
            StoreError::Lost { .. } | StoreError::Damaged { .. } => Self::broke(e.to_string()),
        }
    }
}
