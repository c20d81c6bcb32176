//! What a command works with: bundle, board and configuration, flags over file over board over defaults.

use super::Failure;
use crate::baked;
use crate::bundle::Bundle;
use crate::qnn::MAX_THREADS;
use std::path::PathBuf;

/// `--bundle`, for every command that needs one.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct BundleArg {
    /// Bundle folder instead of the one baked into the program
    #[arg(long, value_name = "DIR")]
    pub bundle: Option<PathBuf>,
}

/// `--gate`, for every command that plays pictures.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct GateArg {
    /// Leave out the encoder where nothing changed, as far as the bundle allows, or encode every tick
    #[arg(long = "gate", value_name = "on|off", value_enum, default_value_t = Switch::On, hide_possible_values = true)]
    switch: Switch,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Switch {
    On,
    Off,
}

impl GateArg {
    /// May the gate leave out the encoder?
    pub fn on(self) -> bool {
        self.switch == Switch::On
    }
}

/// `--threads`, for every command that runs an encoder.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct ThreadsArg {
    /// Threads of the int8 encoder, 1 or 2: two where a large network is too slow on one core [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=MAX_THREADS as i64))]
    threads: Option<u8>,
}

impl ThreadsArg {
    /// What is asked for, or else `default`.
    pub fn or(self, default: usize) -> usize {
        self.threads.map_or(default, usize::from)
    }
}

/// The bundle asked for, files and hashes checked.
pub fn load(arg: &BundleArg) -> Result<Bundle, Failure> {
    Ok(match &arg.bundle {
        Some(dir) => Bundle::open(dir)?,
        None => baked::bundle()?,
    })
}
