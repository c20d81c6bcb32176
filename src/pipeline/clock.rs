//! Time between frames: which tick is open, and what a frame's stamp and number say of it.
//!
//! Tick k is at `start + k * tick`, and reports count from `start` too: the stamp of the first frame. What an earlier run made keeps that run's time,
//! so its ticks are counted from stamp 0. No clock of the machine is asked; time comes with the frames.
//!
//! A frame that is a little older than the newest one came out of order, and is left out. One that is older by [`FAR_BACK`] is the first of another
//! recording, or of a camera whose clock began again: `start` moves to it, while ticks and reports count on, a tick after the newest frame before it.
//!
//! Pure, and never fails: stamps that nobody can have meant end at the first or the last that there is.

use super::Counts;
use crate::source::{Frame, Payload, Seq, Timestamp};
use std::time::Duration;

/// Drivers give buffers in another order within a few frames; nothing that goes back further is a frame of the same run.
const FAR_BACK: Duration = Duration::from_secs(1);

/// What a frame's stamp says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// No frame before it is newer.
    Next,
    /// A newer one has been here: leave it out.
    Late,
    /// The clock went far back: nothing connects it with what was, and [`Clock::restart`] goes on from it.
    Anew,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Clock {
    tick_ns: u64,
    /// Stamp of the first frame, or of the first after a clock that went far back.
    start: Option<Timestamp>,
    /// What reports had counted by then.
    before_ns: u64,
    /// The tick that is open.
    next: u64,
    /// Stamp of the newest frame.
    newest: Timestamp,
    /// Number of the frame that came last.
    seq: Option<Seq>,
}

impl Clock {
    /// Before the first frame; ticks of `tick_ms`, at least 1.
    pub fn new(tick_ms: u32) -> Self {
        Self {
            tick_ns: u64::from(tick_ms) * 1_000_000,
            start: None,
            before_ns: 0,
            next: 0,
            newest: Timestamp::default(),
            seq: None,
        }
    }

    /// A frame comes in: it is counted, and so are those that its number says were lost before it. Time stays where it was until
    /// [`Clock::advance`]; the first frame of all starts it.
    pub fn meet(&mut self, frame: &Frame<'_>, counts: &mut Counts) -> Order {
        if self.start.is_none() {
            let kept = matches!(frame.payload, Payload::Shaped(..));
            self.start = Some(if kept { Timestamp(0) } else { frame.at });
            self.next = self.first_from(frame.at);
        }
        counts.frames = counts.frames.wrapping_add(1);
        counts.lost = counts.lost.saturating_add(self.lost_before(frame.seq));
        let back = self.newest.since(frame.at);
        if back.is_zero() {
            Order::Next
        } else if back < FAR_BACK {
            counts.disordered += 1;
            Order::Late
        } else {
            Order::Anew
        }
    }

    /// Another recording begins with a frame of this stamp.
    pub fn restart(&mut self, at: Timestamp) {
        self.before_ns = self.now().0.saturating_add(self.tick_ns);
        self.start = Some(at);
        self.next = self.since_start(at).0 / self.tick_ns;
    }

    /// The newest frame is the one of this stamp.
    pub fn advance(&mut self, at: Timestamp) {
        self.newest = at;
    }

    /// From one tick to the next.
    pub fn length(&self) -> Duration {
        Duration::from_nanos(self.tick_ns)
    }

    /// Stamp of the tick that is open.
    pub fn tick(&self) -> Timestamp {
        let end = u128::from(self.start.unwrap_or_default().0) + u128::from(self.next) * u128::from(self.tick_ns);
        Timestamp(whole(end.saturating_sub(self.before_ns.into())))
    }

    /// Stamp of the tick that is open, if it is before `until`; the one after it opens.
    pub fn tick_before(&mut self, until: Timestamp) -> Option<Timestamp> {
        let tick = self.tick();
        if tick >= until {
            return None;
        }
        self.next += 1;
        Some(tick)
    }

    /// Leaves out every tick before `until`.
    pub fn skip(&mut self, until: Timestamp) {
        self.next = self.next.max(self.first_from(until));
    }

    /// A stamp as reports say it: since the first frame.
    pub fn since_start(&self, at: Timestamp) -> Timestamp {
        Timestamp(at.0.saturating_add(self.before_ns).saturating_sub(self.start.unwrap_or_default().0))
    }

    /// When the newest frame was taken, since the first one.
    pub fn now(&self) -> Timestamp {
        self.since_start(self.newest)
    }

    /// How old the newest frame is at the stamp of a tick.
    pub fn age_ms(&self, tick: Timestamp) -> u32 {
        u32::try_from(tick.since(self.newest).as_millis()).unwrap_or(u32::MAX)
    }

    /// The first tick at a stamp or after it.
    fn first_from(&self, at: Timestamp) -> u64 {
        let since = u128::from(at.0) + u128::from(self.before_ns);
        whole(since.saturating_sub(self.start.unwrap_or_default().0.into()).div_ceil(self.tick_ns.into()))
    }

    /// Frames between the last number and this one.
    fn lost_before(&mut self, seq: Seq) -> u32 {
        let Some(last) = self.seq.replace(seq) else { return 0 };
        let lost = seq.0.wrapping_sub(last.0).wrapping_sub(1);
        // More than that is a counter that went back or began again, not two billion lost frames.
        if lost < u32::MAX / 2 { lost } else { 0 }
    }
}

/// The most there is, where it is more.
fn whole(n: u128) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Shaped;

    fn ms(ms: u64) -> Timestamp {
        Timestamp::from_ms(ms)
    }

    fn frame(at_ms: u64, seq: u32) -> Frame<'static> {
        Frame { at: ms(at_ms), seq: Seq(seq), payload: Payload::Row(&[]) }
    }

    /// Ticks of 100 ms; frames of these stamps have come, in order.
    fn after(frames_ms: &[u64]) -> (Clock, Counts) {
        let (mut clock, mut counts) = (Clock::new(100), Counts::default());
        for (n, at_ms) in (0..).zip(frames_ms) {
            assert_eq!(clock.meet(&frame(*at_ms, n), &mut counts), Order::Next);
            clock.advance(ms(*at_ms));
        }
        (clock, counts)
    }

    #[test]
    fn ticks_are_even_from_the_first_frame_on_and_each_closes_once() {
        let (mut clock, _) = after(&[1_050]);
        assert_eq!(clock.tick_before(ms(1_050)), None, "a tick at the stamp of the next frame is that frame's");
        assert_eq!(clock.tick_before(ms(1_051)), Some(ms(1_050)));
        assert_eq!(clock.tick_before(ms(1_051)), None);
        assert_eq!((clock.tick(), clock.since_start(clock.tick()), clock.age_ms(clock.tick())), (ms(1_150), ms(100), 100));
    }

    #[test]
    fn a_skipped_gap_ends_with_the_first_tick_that_is_not_before_its_end() {
        let (mut clock, _) = after(&[50]);
        for (until_ms, tick_ms) in [(1_050, 1_050), (1_051, 1_150), (500, 1_150)] {
            clock.skip(ms(until_ms));
            assert_eq!(clock.tick(), ms(tick_ms), "until {until_ms} ms");
        }
    }

    #[test]
    fn what_an_earlier_run_made_keeps_its_time() {
        let (mut clock, mut counts) = (Clock::new(100), Counts::default());
        let kept = Frame { payload: Payload::Shaped(Shaped::Same, &[]), ..frame(1_234, 0) };
        assert_eq!(clock.meet(&kept, &mut counts), Order::Next);
        assert_eq!((clock.tick(), clock.since_start(clock.tick())), (ms(1_300), ms(1_300)));
    }

    #[test]
    fn a_clock_that_goes_back_a_little_is_a_late_frame_and_changes_nothing() {
        let (mut clock, mut counts) = after(&[1_000, 5_000]);
        let (tick, now) = (clock.tick(), clock.now());
        assert_eq!(clock.meet(&frame(4_999, 2), &mut counts), Order::Late);
        assert_eq!(clock.meet(&frame(4_001, 3), &mut counts), Order::Late);
        assert_eq!(clock.meet(&frame(5_000, 4), &mut counts), Order::Next);
        assert_eq!((clock.tick(), clock.now()), (tick, now));
        assert_eq!(counts, Counts { frames: 5, disordered: 2, ..Counts::default() });
    }

    #[test]
    fn after_a_clock_that_goes_back_a_lot_ticks_and_reports_count_on() {
        let (mut clock, mut counts) = after(&[1_000, 5_000]);
        assert_eq!(clock.meet(&frame(4_000, 2), &mut counts), Order::Anew);
        assert_eq!(counts.disordered, 0);
        // Four seconds were counted: the next frame stands a tick later.
        clock.restart(ms(20));
        clock.advance(ms(20));
        assert_eq!((clock.tick(), clock.now()), (ms(20), ms(4_100)));
        assert_eq!(clock.tick_before(ms(21)), Some(ms(20)));
        assert_eq!((clock.tick(), clock.since_start(clock.tick())), (ms(120), ms(4_200)));
    }

    /// A crafted clip may stamp its pictures as it likes.
    #[test]
    fn the_last_stamp_that_there_is_ends_time_and_not_the_program() {
        let (mut clock, _) = after(&[10_000]);
        clock.restart(ms(0));
        clock.skip(Timestamp(u64::MAX));
        assert_eq!(clock.tick_before(Timestamp(u64::MAX)), None);
    }

    #[test]
    fn the_count_of_frames_starts_again_at_0_and_time_goes_on() {
        let (mut clock, mut counts) = (Clock::new(100), Counts { frames: u32::MAX, ..Counts::default() });
        assert_eq!(clock.meet(&frame(0, 0), &mut counts), Order::Next);
        assert_eq!(counts.frames, 0);
    }

    #[test]
    fn holes_in_the_numbers_are_lost_frames_and_a_counter_that_wraps_or_begins_again_lost_none() {
        for (last, seq, lost) in [(4, 5, 0), (4, 7, 2), (u32::MAX, 0, 0), (u32::MAX - 1, 1, 2), (10, 3, 0), (4, 4, 0)] {
            let (mut clock, mut counts) = (Clock::new(100), Counts::default());
            for n in [last, seq] {
                assert_eq!(clock.meet(&frame(0, n), &mut counts), Order::Next);
            }
            assert_eq!(counts.lost, lost, "{last}, then {seq}");
        }
    }
}
