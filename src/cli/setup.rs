//! What a command works with: bundle, board and configuration, flags over file over board over defaults.

use super::Failure;
use crate::baked;
use crate::bundle::Bundle;
use std::path::PathBuf;

/// `--bundle`, for every command that needs one.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct BundleArg {
    /// Bundle folder instead of the one baked into the program
    #[arg(long, value_name = "DIR")]
    pub bundle: Option<PathBuf>,
}

/// The bundle asked for, files and hashes checked.
pub fn load(arg: &BundleArg) -> Result<Bundle, Failure> {
    Ok(match &arg.bundle {
        Some(dir) => Bundle::open(dir)?,
        None => baked::bundle()?,
    })
}
