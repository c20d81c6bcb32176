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

use crate::bundle::{Bundle, plain};
use crate::past;
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
    /// Blocks that were seen with it, of as many ticks as `block` says.
    pub blocks: Blocks,
    /// At most so many false alarms a block.
    pub rate: f64,
    /// Ticks a block.
    pub block: u32,
}

impl Setup {
    /// One false alarm a day, and the blocks of the footage it was learnt from, as long as they were counted. `network`: the file of its recurrent layer.
    ///
    /// # Errors
    /// That file is missing or another one, where it needs one.
    pub fn of(normal: Normal, network: Option<&[u8]>) -> Result<Self, String> {
        let (blocks, block) = (normal.blocks.clone(), normal.block());
        let rate = f64::from(block) * f64::from(normal.tick_ms.max(1)) / 86_400_000.0;
        Ok(Self { sense: Sense::new(&normal, network)?, normal, blocks, rate, block })
    }
}

/// What a bundle brings with it, with the blocks of the footage it was learnt from.
///
/// # Errors
/// One sentence: what in it does not fit.
pub fn of_bundle(bundle: &Bundle) -> Result<Option<Setup>, String> {
    let Some(bytes) = bundle.file(FILE) else { return Ok(None) };
    let normal: Normal = serde_json::from_slice(bytes).map_err(|e| plain(&format!("{FILE}: {e}")))?;
    normal.fits(bundle.features(), bundle.contract.time.tick_ms).map_err(|why| format!("{FILE}: {why}"))?;
    Setup::of(normal, bundle.file(NETWORK)).map(Some)
}

/// What may have been said last, in the order in which it is remembered.
const ALL: [Novel; 4] = [Novel::Learning, Novel::Ok, Novel::Drift, Novel::Alarm];

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
        let Some(score) = self.sense.score(&self.normal, features) else { return self.end(at) };
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
        let (blocks, one_in) = (self.promise.blocks(), self.promise.one_in());
        Some(Report { at, score, threshold: verdict.threshold, blocks, one_in, now })
    }

    /// How long a tick's score stays at what it was at its highest.
    pub fn held(&self) -> Duration {
        Duration::from_millis(self.normal.hold as u64 * u64::from(self.normal.tick_ms))
    }

    /// What is normal, which gives the scores.
    pub fn normal(&self) -> &Normal {
        &self.normal
    }

    /// All that goes on from tick to tick, as bytes behind those in `to`, so that another run says the same from here on. Allocates nothing where there
    /// is room for [`Novelty::most`].
    pub fn remember(&self, to: &mut Vec<u8>) {
        self.sense.remember(&self.normal, to);
        self.promise.remember(to);
        let (at, said) = self.said.map_or((0, 0), |(at, now)| (at.0, 1 + ALL.iter().position(|n| *n == now).unwrap_or(0) as u64));
        past::put_count(to, at);
        past::put_count(to, said);
    }

    /// Bytes that this comes to at most.
    pub fn most(&self) -> usize {
        let mut some = vec![];
        self.sense.remember(&self.normal, &mut some);
        some.len() + Promise::MOST + 2 * 8
    }

    /// Goes on from what another run with the same normal remembered: score, threshold and blocks are those of that run. False: it is not from such a
    /// one; then everything begins anew.
    pub fn recall(&mut self, mut from: &[u8]) -> bool {
        let mut read = || {
            self.sense.recall(&self.normal, &mut from)?;
            let promise = Promise::recall(&mut from)?;
            let at = past::take_count(&mut from, u64::MAX)?;
            let said = past::take_count(&mut from, ALL.len() as u64)? as usize;
            from.is_empty().then(|| (promise, said.checked_sub(1).map(|n| (Timestamp(at), ALL[n]))))
        };
        let found = read();
        let good = found.is_some();
        match found {
            Some((promise, said)) => (self.promise, self.said) = (promise, said),
            None => self.sense.forget(),
        }
        good
    }

    /// Nothing connects what comes with what was. An alarm that is on ends, which is said.
    pub fn gap(&mut self, at: Timestamp) -> Option<Report> {
        let ended = self.end(at);
        self.sense.forget();
        self.said = None;
        ended
    }

    /// There is no score: an alarm that is on ends with it, without a number.
    fn end(&mut self, at: Timestamp) -> Option<Report> {
        self.said.take_if(|(_, now)| *now == Novel::Alarm)?;
        let (blocks, one_in) = (self.promise.blocks(), self.promise.one_in());
        Some(Report { at, score: f32::NAN, threshold: f32::NAN, blocks, one_in, now: Novel::Ok })
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

#[cfg(test)]
mod tests {
    use super::*;
    use normal::{Terms, learn};

    /// Three numbers that go round, and a setup that learnt them; `each`: with the fourth question.
    fn round(each: bool) -> (Setup, impl Fn(usize) -> [f32; 3]) {
        let row = |t: usize| [t as f32 * 0.3, t as f32 * 0.3 + 1.0, t as f32 * 0.7].map(f32::sin);
        let rows: Vec<f32> = (0..2400).flat_map(row).collect();
        let normal = learn("", 3, &[rows], &Terms { each, ..Terms::new(100, 0) }, None).expect("enough to learn from");
        let blocks = Blocks { best: (0..40).map(|n| n as f32 / 20.0).collect(), alarms: vec![3, 39] };
        (Setup { blocks, ..Setup::of(normal, None).expect("a setup") }, row)
    }

    #[test]
    fn another_run_goes_on_from_what_was_remembered_to_the_last_bit() {
        for each in [false, true] {
            let (setup, row) = round(each);
            // Counted on since: thresholds are another run's.
            let other = Setup { blocks: Blocks::default(), rate: 0.5, block: 9, ..setup.clone() };
            let mut first = Novelty::new(setup, Duration::from_secs(1));
            for t in 0..700 {
                first.tick(Timestamp::from_ms(t * 100), &row(t as usize));
            }
            let mut bytes = vec![];
            first.remember(&mut bytes);
            assert!(bytes.len() <= first.most(), "{} of {}", bytes.len(), first.most());
            let fresh = || Novelty::new(other.clone(), Duration::from_secs(1));
            let mut second = fresh();
            assert!(second.recall(&bytes));
            for t in 700..2000u64 {
                // Something else comes, and block after block ends.
                let row = if t % 500 < 60 { [2.0, 0.0, -2.0] } else { row(t as usize) };
                let (a, b) = (first.tick(Timestamp::from_ms(t * 100), &row), second.tick(Timestamp::from_ms(t * 100), &row));
                assert_eq!(a, b, "tick {t}");
            }
            // What is cut short is not taken; what is damaged is taken or not, and nothing breaks.
            for n in (0..bytes.len()).step_by(7) {
                assert!(!fresh().recall(&bytes[..n]), "{n} bytes");
            }
            for n in (0..bytes.len()).step_by(11) {
                let (mut damaged, mut novelty) = (bytes.clone(), fresh());
                damaged[n] ^= 0xff;
                novelty.recall(&damaged);
                for t in 0..20 {
                    novelty.tick(Timestamp::from_ms(t * 100), &row(t as usize));
                }
            }
        }
    }
}
