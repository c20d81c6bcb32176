//! What every class came to in every tick, as a table for a spreadsheet or a plot: why something was called, or was not.

use super::Failure;
use super::answer::quoted;
use super::segments::Timeline;
use crate::bundle::Bundle;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

/// See the module's documentation.
#[derive(Debug)]
pub struct Ticks<'a> {
    file: &'a Path,
    table: BufWriter<File>,
}

impl<'a> Ticks<'a> {
    /// Begins the file: the names of the columns.
    pub fn new(file: &'a Path, bundle: &Bundle) -> Result<Self, Failure> {
        let table = File::create(file).map(BufWriter::new).map_err(|e| Failure::broke(format!("{}: {e}", file.display())))?;
        let mut ticks = Self { file, table };
        let labels = bundle.labels.iter().map(|label| format!(",{label}"));
        ticks.line(&format!("clip,ms{}", labels.collect::<String>()))?;
        Ok(ticks)
    }

    /// The decided ticks of one recording.
    pub fn add(&mut self, clip: &str, timeline: &Timeline) -> Result<(), Failure> {
        for (tick, at) in timeline.stamps().iter().enumerate() {
            let p = timeline.p(tick).iter().map(|p| format!(",{p:.4}"));
            self.line(&format!("{},{}{}", quoted(clip), at.ms(), p.collect::<String>()))?;
        }
        Ok(())
    }

    fn line(&mut self, text: &str) -> Result<(), Failure> {
        writeln!(self.table, "{text}").map_err(|e| Failure::broke(format!("{}: {e}", self.file.display())))
    }

    /// The end of the last recording: all of it is written.
    pub fn end(&mut self) -> Result<(), Failure> {
        self.table.flush().map_err(|e| Failure::broke(format!("{}: {e}", self.file.display())))
    }
}
