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

/// The bundle asked for, files and hashes checked.
pub fn load(arg: &BundleArg) -> Result<Bundle, Failure> {
    Ok(match &arg.bundle {
        Some(dir) => Bundle::open(dir)?,
        None => baked::bundle()?,
    })
}
