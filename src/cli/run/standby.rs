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

/// See the module's documentation. Dropping it closes the sinks.
pub struct StandBy {
    herald: Herald,
    vitals: Vitals,
    state: State,
    begin: Timestamp,
    next: Timestamp,
}

impl StandBy {
    /// Opens the sinks; `begin` is when this run began, `seq` the number of the next report.
    pub fn open(reports: &[ReportSpec], board: &Board, state: State, begin: Timestamp, seq: u32) -> Result<Self, Failure> {
        let identity = Identity { version: concat!("lookout ", env!("CARGO_PKG_VERSION")).into(), ..Identity::default() };
        let open = |spec| Ok(report::open(spec, &identity, None, Pace::Live)?);
        let sinks = reports.iter().filter(|spec| **spec != ReportSpec::Gpio).map(open).collect::<Result<_, Failure>>()?;
        let herald = Herald { sinks, seq, begun: None, alarm: false };
        Ok(Self { herald, vitals: Vitals::open(&board.thermal), state, begin, next: Timestamp::now() })
    }

    /// Says `state` for `limit`, or until told to stop. Gives the number of the next report.
    pub fn wait(&mut self, notifier: &mut Notifier, stop: &AtomicBool, runs: &Runs, limit: Duration) -> u32 {
        let until = Timestamp::now() + limit;
        notifier.ready();
        loop {
            let now = Timestamp::now();
            if now >= until || stop.load(Ordering::Relaxed) {
                return self.herald.seq;
            }
            if notifier.is_due() && self.herald.is_awake() {
                notifier.alive();
            }
            if now >= self.next {
                self.next = now + PERIOD;
                let since = now.since(self.begin);
                let vitals = self.vitals.read();
                self.herald.say(&Report::Health(Health {
                    at: Timestamp::default() + since,
                    state: self.state.clone(),
                    fps_tenths: 0,
                    drops: Drops::default(),
                    p50_ms: None,
                    p99_ms: None,
                    celsius: vitals.celsius,
                    throttled: vitals.throttled,
                    still: None,
                    reused: 0,
                    life: Some(runs.life(since)),
                    bundle: heapless::String::new(),
                }));
            }
            std::thread::sleep(LOOK_UP.min(until.since(now)));
        }
    }
}
