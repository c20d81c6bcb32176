//! "This has never happened here": an alarm without labels, from a recurrent layer that was shown ordinary footage, with a promise about its rate.
//!
//! Features of a tick go in, a score comes out ([`normal`]); the highest of every block is counted, and the count says what may be called
//! an alarm ([`promise`]). Both are pure: what they know comes in as [`Setup`] and goes out as [`Blocks`], and who writes it to a disk, and
//! how seldom, is not decided here. Allocates nothing per tick.

mod algebra;
pub mod memory;
pub mod normal;
pub mod promise;
mod stay;

use crate::report::{Novel, Novelty as Report};
use crate::source::Timestamp;
use normal::{Normal, Sense};
use promise::{Blocks, Promise};
use std::time::Duration;

/// Name of the file in a bundle, and in a state folder.
pub const FILE: &str = "novelty.json";

/// What is known before the first tick.
#[derive(Clone, Debug, PartialEq)]
pub struct Setup {
    /// What is normal.
    pub normal: Normal,
    /// Blocks that were seen with it.
    pub blocks: Blocks,
    /// At most so many false alarms a block.
    pub rate: f64,
    /// Ticks a block.
    pub block: u32,
}

impl Setup {
    /// A minute a block, one false alarm a day, and the blocks of the footage it was learnt from.
    pub fn of(normal: Normal) -> Self {
        let (blocks, block) = (normal.blocks.clone(), (60_000 / normal.tick_ms.max(1)).max(1));
        Self { normal, blocks, rate: 1.0 / 1440.0, block }
    }
}

/// See the module's documentation.
#[derive(Clone, Debug)]
pub struct Novelty {
    normal: Normal,
    sense: Sense,
    promise: Promise,
    heartbeat: Duration,
    /// When and what was last said.
    said: Option<(Timestamp, Novel)>,
    /// Blocks since the start.
    ended: u32,
}

impl Novelty {
    /// Says at least every `heartbeat` where it stands.
    ///
    /// # Errors
    /// None for a normal that was checked.
    pub fn new(setup: Setup, heartbeat: Duration) -> Result<Self, String> {
        let promise = Promise::new(setup.rate, setup.block, &setup.blocks);
        Ok(Self { sense: Sense::new(&setup.normal)?, normal: setup.normal, promise, heartbeat, said: None, ended: 0 })
    }

    /// One tick's features. What is to be said, if anything: alarms that begin and end at once, all else with the heartbeat.
    pub fn tick(&mut self, at: Timestamp, features: &[f32]) -> Option<Report> {
        let score = self.sense.score(&self.normal, features)?;
        let verdict = self.promise.update(score);
        self.ended = self.ended.wrapping_add(u32::from(verdict.ended));
        let now = match () {
            () if verdict.alarm => Novel::Alarm,
            () if verdict.threshold.is_infinite() => Novel::Learning,
            () if self.promise.drifts() => Novel::Drift,
            () => Novel::Ok,
        };
        if self.said.is_some_and(|(then, said)| said == now && at.since(then) < self.heartbeat) {
            return None;
        }
        self.said = Some((at, now));
        Some(Report { at, score, threshold: verdict.threshold, blocks: self.promise.blocks(), now })
    }

    /// Nothing connects what comes with what was.
    pub fn gap(&mut self) {
        self.sense.forget();
        self.promise.gap();
        self.said = None;
    }

    /// The counting, for whoever writes it down or says what it promises.
    pub fn promise(&self) -> &Promise {
        &self.promise
    }

    /// Blocks that ended since the start: has there been one since one last looked?
    pub fn ended(&self) -> u32 {
        self.ended
    }
}
