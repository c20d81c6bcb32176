//! What is heard beside the pictures: the bundle's extras, whoever gives them.
//!
//! A camera's extras come from the devices that the configuration names, stamped on the clock of its frames. A recording's come from the table beside
//! it, so that it says again what was said live. A recording without one (a stream that another program brings has no clock
//! of ours) takes what the devices say while it is played: what is newest when a frame is worked on came with it.

use super::Failure;
use crate::bundle::Bundle;
use crate::extra::{Listener, Table, Value};
use crate::pipeline::Pipeline;
use crate::source::Timestamp;
use std::collections::BTreeMap;
use std::time::Duration;

/// See the module's documentation.
pub enum Ears {
    /// Devices, on the clock of the frames or not.
    Devices { listener: Listener, live: bool },
    /// A recording's table, and the bundle's tick.
    Table(Table, Duration),
}

impl Ears {
    /// Whoever gives this bundle's extras while `source` is played. `given`: devices by name, as the configuration has them.
    pub fn open(bundle: &Bundle, given: &BTreeMap<String, String>, source: Option<&str>, live: bool) -> Result<Self, Failure> {
        let extra = &bundle.contract.extra;
        if let (false, false, Some(file)) = (live, extra.is_empty(), source.and_then(Table::beside)) {
            return Ok(Self::reading(Table::read(&file, extra).map_err(Failure::refused)?, bundle));
        }
        Ok(Self::Devices { listener: Listener::start(extra, given).map_err(Failure::refused)?, live })
    }

    /// A table that was read for a recording.
    pub fn reading(table: Table, bundle: &Bundle) -> Self {
        Self::Table(table, Duration::from_millis(bundle.contract.time.tick_ms.into()))
    }

    /// Hears nothing.
    pub fn deaf() -> Self {
        Self::Devices { listener: Listener::default(), live: false }
    }

    /// Tells the pipeline what was heard for the ticks of the frame that was taken at `at`: up to `until`, or a tick where it is the last.
    pub fn tell(&mut self, at: Timestamp, until: Option<Timestamp>, pipeline: &mut Pipeline) {
        match self {
            Self::Devices { listener, live } => {
                listener.drain(|which, v| pipeline.sense(which, Value { at: if *live { v.at } else { at }, ..v }));
            }
            Self::Table(table, tick) => table.feed(at, until.unwrap_or(at + *tick), |which, value| pipeline.sense(which, value)),
        }
    }
}
