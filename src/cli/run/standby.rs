//! Alive with nothing to watch: the sinks say why, once a second, and queries are answered.
//!
//! GPIO lines are left alone: which label has which line is known only with a bundle, and lines that nobody holds are at the
//! level that their resistors give them.

use super::Failure;
use super::herald::Herald;
use super::notify::Notifier;
use crate::board::Board;
use crate::health::PERIOD;
use crate::life::Runs;
use crate::report::{self, Drops, Health, Identity, Pace, Report, ReportSpec, State};
use crate::source::Timestamp;
use crate::vitals::Vitals;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often we look whether we are told to stop.
const LOOK_UP: Duration = Duration::from_millis(100);

/// A run in which nothing is watched yet.
pub struct Pause<'a> {
    pub reports: &'a [ReportSpec],
    pub board: &'a Board,
    /// When this run began.
    pub born: Timestamp,
    pub stop: &'a AtomicBool,
    pub runs: &'a mut Runs,
    pub notifier: Notifier,
    /// The number of the next report.
    pub seq: u32,
}

/// See the module's documentation. Dropping it closes the sinks.
pub struct StandBy {
    herald: Herald,
    vitals: Vitals,
    state: State,
    next: Timestamp,
}

impl StandBy {
    /// Opens the sinks, to say `state`.
    pub fn open(pause: &Pause<'_>, state: State) -> Result<Self, Failure> {
        let version = concat!("lookout ", env!("CARGO_PKG_VERSION")).into();
        let identity = Identity { version, born: Some(pause.born), ..Identity::default() };
        let open = |spec| Ok(report::open(spec, &identity, None, Pace::Live)?);
        let sinks = pause.reports.iter().filter(|spec| **spec != ReportSpec::Gpio).map(open).collect::<Result<_, Failure>>()?;
        let herald = Herald { sinks, seq: pause.seq, begun: None, alarm: false };
        Ok(Self { herald, vitals: Vitals::open(&pause.board.thermal), state, next: Timestamp::now() })
    }

    /// Says its state for `limit`, or until told to stop.
    pub fn wait(&mut self, pause: &mut Pause<'_>, limit: Duration) {
        let until = Timestamp::now() + limit;
        pause.notifier.ready();
        loop {
            let now = Timestamp::now();
            if now >= until || pause.stop.load(Ordering::Relaxed) {
                pause.seq = self.herald.seq;
                return;
            }
            if pause.notifier.is_due() && self.herald.is_awake() {
                pause.notifier.alive();
            }
            if now >= self.next {
                self.next = now + PERIOD;
                let since = now.since(pause.born);
                let vitals = self.vitals.read();
                self.herald.say(&Report::Health(Health {
                    // Reports count from the first frame, and there is none yet.
                    at: Timestamp::default(),
                    state: self.state.clone(),
                    fps_tenths: 0,
                    drops: Drops::default(),
                    p50_ms: None,
                    p99_ms: None,
                    celsius: vitals.celsius,
                    throttled: vitals.throttled,
                    still: None,
                    reused: 0,
                    life: Some(pause.runs.life(since)),
                    bundle: heapless::String::new(),
                }));
            }
            std::thread::sleep(LOOK_UP.min(until.since(now)));
        }
    }
}
