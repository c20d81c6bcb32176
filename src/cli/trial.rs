//! `lookout trial`, hidden: what [`crate::store::trial`] starts to try a bundle in a process of its own.

use super::Failure;
use crate::store::trial::attempt;
use std::io::Write;
use std::path::PathBuf;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Bundle folder
    dir: PathBuf,
    /// Bound this process first
    #[arg(long)]
    limited: bool,
}

/// Runs the command: one JSON object, or one sentence.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), Failure> {
    let verdict = attempt(&args.dir, args.limited)?;
    let line = serde_json::to_string(&verdict).map_err(|e| Failure::broke(e.to_string()))?;
    writeln!(out, "{line}")?;
    Ok(())
}
