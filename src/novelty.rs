//! "This has never happened here": an alarm without labels, from a recurrent layer that was shown ordinary footage, with a promise about its rate.
//!
//! Features of a tick go in, a score comes out ([`normal`]); the highest of every block is counted, and the count says what may be called
//! an alarm ([`promise`]). Both are pure: what they know comes in as [`Setup`] and goes out as [`Blocks`], and who writes it to a disk, and
//! how seldom, is not decided here. Allocates nothing per tick.

mod algebra;
pub mod normal;
pub mod promise;
pub mod sense;
mod stay;

use crate::bundle::Bundle;
use crate::report::{Novel, Novelty as Report};
use crate::source::Timestamp;
use normal::Normal;
use promise::{Blocks, Promise};
use sense::Sense;
use std::time::Duration;

/// Name of the file in a bundle, and in a state folder.
pub const FILE: &str = "novelty.json";
/// Name of the recurrent network's file in a bundle, where it was trained: rows `[1, T, numbers]` in, as `novelty.json` scales them, what it foresees out.
pub const NETWORK: &str = "novelty.onnx";

/// What is known before the first tick.
#[derive(Clone, Debug)]
pub struct Setup {
    /// What is normal.
    pub normal: Normal,
    /// Holds rows against it.
    pub sense: Sense,
    /// Blocks that were seen with it.
    pub blocks: Blocks,
    /// At most so many false alarms a block.
    pub rate: f64,
    /// Ticks a block.
    pub block: u32,
}

impl Setup {
    /// A minute a block, one false alarm a day, and the blocks of the footage it was learnt from. `network`: the file of its recurrent layer.
    ///
    /// # Errors
    /// That file is missing or another one, where it needs one.
    pub fn of(normal: Normal, network: Option<&[u8]>) -> Result<Self, String> {
        let (blocks, block) = (normal.blocks.clone(), (60_000 / normal.tick_ms.max(1)).max(1));
        Ok(Self { sense: Sense::new(&normal, network)?, normal, blocks, rate: 1.0 / 1440.0, block })
    }
}

/// What a bundle brings with it, with the blocks of the footage it was learnt from.
///
/// # Errors
/// One sentence: what in it does not fit.
pub fn of_bundle(bundle: &Bundle) -> Result<Option<Setup>, String> {
    let Some(bytes) = bundle.file(FILE) else { return Ok(None) };
    let normal: Normal = serde_json::from_slice(bytes).map_err(|e| format!("{FILE}: {e}"))?;
    normal.fits(bundle.features(), bundle.contract.time.tick_ms).map_err(|why| format!("{FILE}: {why}"))?;
    Setup::of(normal, bundle.file(NETWORK)).map(Some)
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
    pub fn new(setup: Setup, heartbeat: Duration) -> Self {
        let promise = Promise::new(setup.rate, setup.block, &setup.blocks);
        Self { sense: setup.sense, normal: setup.normal, promise, heartbeat, said: None, ended: 0 }
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
