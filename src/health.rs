//! Once a second: how the box is. Counted from frame stamps, so a recording says the same each time.

use crate::pipeline::{Counts, Pipeline};
use crate::report::{Drops, Health, State};
use crate::source::Timestamp;
use heapless::String as Text;
use std::time::Duration;

/// Time between two health reports.
pub const PERIOD: Duration = Duration::from_secs(1);

/// Says when a health report is due and fills in what the pipeline knows.
#[derive(Debug)]
pub struct HealthClock {
    next: Timestamp,
    last: (Timestamp, Counts),
    bundle: Text<8>,
    fallback: bool,
}

impl HealthClock {
    /// `hash` is the bundle's, of which eight digits are said.
    pub fn new(hash: &str) -> Self {
        let bundle = hash.get(..8).and_then(|h| Text::try_from(h).ok()).unwrap_or_default();
        // The frame that starts the clock is at its beginning, not within the first second.
        let last = (Timestamp::default(), Counts { frames: 1, ..Counts::default() });
        Self { next: Timestamp::default() + PERIOD, last, bundle, fallback: false }
    }

    /// Whether this bundle runs because the one that should cannot be used: said instead of `OK`.
    #[must_use]
    pub fn instead(self, fallback: bool) -> Self {
        Self { fallback, ..self }
    }

    /// A report, if a period has passed at `now` (since the first frame).
    pub fn due(&mut self, now: Timestamp, pipeline: &Pipeline) -> Option<Health> {
        // The first frame after a long wait begins the count anew.
        if now < self.last.0 {
            (self.next, self.last) = (now + PERIOD, (now, pipeline.counts()));
        }
        if now < self.next {
            return None;
        }
        // A long silence is one report, not one for each second of it.
        let missed = now.since(self.next).as_secs() / PERIOD.as_secs();
        self.next = self.next + Duration::from_secs((missed + 1) * PERIOD.as_secs());
        let counts = pipeline.counts();
        let ms = now.since(self.last.0).as_millis().max(1) as u64;
        let fps_tenths = fps_tenths(self.last.1.frames, counts.frames, ms);
        let (ticks, reused) = (counts.ticks.wrapping_sub(self.last.1.ticks), counts.reused.wrapping_sub(self.last.1.reused));
        let still = (pipeline.has_gate() && ticks > 0 && !matches!(pipeline.state(), State::Warming { .. }))
            .then(|| (100 * u64::from(reused) / u64::from(ticks)).min(100) as u8);
        self.last = (now, counts);
        Some(Health {
            at: now,
            state: match pipeline.state() {
                State::Ok if self.fallback => State::Fallback,
                state => state.clone(),
            },
            fps_tenths,
            drops: Drops { lost: counts.lost, disordered: counts.disordered, ..Drops::default() },
            p50_ms: None,
            p99_ms: None,
            celsius: None,
            throttled: None,
            still,
            reused: counts.reused,
            life: None,
            bundle: self.bundle.clone(),
        })
    }

    /// Something changed that should not wait for the next second.
    pub fn hasten(&mut self) {
        self.next = self.last.0;
    }
}

/// Tenths of frames a second, of two counts `ms` apart. The count starts again at 0 behind 2^32 frames; before the first frame it is one less than
/// [`HealthClock::new`] takes it to be, which is no frame either.
fn fps_tenths(before: u32, now: u32, ms: u64) -> u16 {
    let frames = u64::try_from(now.wrapping_sub(before).cast_signed()).unwrap_or(0);
    u16::try_from((frames * 10_000 + ms / 2) / ms).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_the_same_where_the_count_of_frames_starts_again() {
        for (before, now, ms, tenths) in [
            (0, 30, 1000, 300),
            (u32::MAX - 9, 20, 1000, 300),
            (1, 0, 1000, 0),
            (5, 5, 1000, 0),
            (0, 1, 3000, 3),
            (0, 9_000, 1, u16::MAX),
        ] {
            assert_eq!(fps_tenths(before, now, ms), tenths, "{before}, then {now}");
        }
    }
}
