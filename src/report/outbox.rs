//! The bounded hand-over from inference to one writer thread.
//!
//! Live, the sender never waits: events are kept (the oldest go when there are too many, and the writer is told which
//! numbers are missing), of class, novelty and their boxes only the latest is kept, because an old status helps nobody. An
//! alarm that begins or ends is an event, and so is the box that is said right behind one that begins. Of health the
//! latest of each state in a row is kept, because a state that lasted shorter than a line takes on the wire is what a
//! technician looks for later; beyond [`STATES`] the oldest goes, unannounced as any old status. What is left goes out in
//! the order in which it came. A recording is not live: nothing is left out, the sender waits for room, so that the same
//! recording gives the same bytes however slow the reader is.
//!
//! All memory is made at the start. The writer sleeps in `poll(2)` on [`Outbox::wake_fd`] beside its own device.

use super::{NOVELTY, Novel, Pace, Report};
use crate::source::Timestamp;
use heapless::Deque;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Events kept while nobody takes them.
pub const EVENTS: usize = 256;
/// Changes of state kept while nobody takes them.
pub const STATES: usize = 8;
/// Longest that a recording waits for a reader who takes nothing at all; then it goes on as if live, until he takes something.
pub const PATIENCE: Duration = Duration::from_secs(if cfg!(test) { 2 } else { 10 });

/// What the writer takes out.
#[derive(Clone, Debug, PartialEq)]
pub enum Parcel {
    /// One report and its number.
    Report(u32, Report),
    /// Events between these numbers, both included, had to be left out.
    Gap {
        /// First number left out.
        from: u32,
        /// Last number left out.
        to: u32,
    },
}

#[derive(Clone)]
struct Item {
    /// Order of arrival: unlike `seq` it never wraps.
    ticket: u64,
    seq: u32,
    report: Report,
}

#[derive(Default)]
struct Inner {
    tickets: u64,
    /// The last ticket when the writer last came to look.
    seen: u64,
    /// Boxed so that making it never needs it on a thread's stack twice.
    events: Box<Deque<Item, EVENTS>>,
    class: Option<Item>,
    novelty: Option<Item>,
    place: Option<Item>,
    /// The box of an alarm that goes on.
    strange: Option<Item>,
    /// No two neighbours have the same state.
    health: Deque<Item, STATES>,
    /// An alarm that begins or ends is an event.
    alarm: bool,
    /// One has begun with the report before this one, and then.
    begun: Option<Timestamp>,
    /// Patience with the reader of a recording has run out.
    impatient: bool,
    gap: Option<(u32, u32)>,
    closing: Option<Instant>,
    done: bool,
    gone: bool,
    lost: bool,
}

/// See the module.
pub struct Outbox {
    pace: Pace,
    inner: Mutex<Inner>,
    /// Room was made, or the writer is done.
    moved: Condvar,
    wake: OwnedFd,
}

impl Outbox {
    /// # Errors
    /// The system has no file descriptor left.
    pub fn new(pace: Pace) -> std::io::Result<Self> {
        let wake = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        Ok(Self { pace, inner: Mutex::default(), moved: Condvar::new(), wake })
    }

    /// Takes a report for the writer. Live it never waits longer than the writer needs to copy one report out.
    pub fn push(&self, seq: u32, report: &Report) {
        let mut inner = self.lock();
        if inner.gone || inner.closing.is_some() {
            return;
        }
        inner.tickets += 1;
        let item = Item { ticket: inner.tickets, seq, report: report.clone() };
        let alarm_edge = matches!(report, Report::Novelty(n) if (n.now == Novel::Alarm) != inner.alarm);
        inner.alarm ^= alarm_edge;
        let begun = inner.begun.take();
        match report {
            _ if self.pace == Pace::Recording => {
                inner = self.wait_for_room(inner);
                // Patience has run out: the oldest is left out. A reader who left has seen enough.
                inner.lost |= inner.events.is_full() && !inner.gone;
                inner.keep(item);
            }
            Report::Event(_) => inner.keep(item),
            Report::Novelty(n) if alarm_edge => {
                inner.begun = Some(n.at).filter(|_| inner.alarm);
                inner.keep(item);
            }
            Report::Novelty(_) => inner.novelty = Some(item),
            Report::Class(_) => inner.class = Some(item),
            Report::Place(s) if begun == Some(s.at) => inner.keep(item),
            Report::Place(s) if s.label == NOVELTY => inner.strange = Some(item),
            Report::Place(_) => inner.place = Some(item),
            Report::Health(_) => inner.keep_state(item),
        }
        drop(inner);
        self.wake();
    }

    /// The next thing to say: a gap first, then the oldest.
    pub fn pop(&self) -> Option<Parcel> {
        let mut inner = self.lock();
        inner.impatient = false;
        if let Some((from, to)) = inner.gap.take() {
            return Some(Parcel::Gap { from, to });
        }
        let item = inner.take_oldest();
        drop(inner);
        self.moved.notify_all();
        item.map(|item| Parcel::Report(item.seq, item.report))
    }

    /// Readable when there is something to take or the box is being closed; see [`Outbox::settle`].
    pub fn wake_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    /// Makes [`Outbox::wake_fd`] unreadable again. Call it before looking with `pop`.
    pub fn settle(&self) {
        let mut count = [0; 8];
        // Nothing to read is as good as having read it.
        let _ = rustix::io::read(&self.wake, &mut count);
        let mut inner = self.lock();
        inner.seen = inner.tickets;
    }

    /// Has the writer come to look since ticket `asked`?
    pub fn has_looked(&self, asked: u64) -> bool {
        self.lock().seen >= asked
    }

    /// Wakes the writer with nothing to say. Gives the ticket with which it will have looked.
    pub fn nudge(&self) -> u64 {
        let mut inner = self.lock();
        inner.tickets += 1;
        let ticket = inner.tickets;
        drop(inner);
        self.wake();
        ticket
    }

    /// Sleeps until there may be something to take, or until `deadline`. For writers with no device to poll.
    pub fn sleep(&self, deadline: Option<Instant>) {
        let mut fds = [PollFd::new(&self.wake, PollFlags::IN)];
        let wait = deadline.map(|at| timespec(at.saturating_duration_since(Instant::now())));
        // An interrupted or failed sleep is a short one: the caller looks again anyway.
        let _ = poll(&mut fds, wait.as_ref());
        self.settle();
    }

    /// When to be finished by, once closing.
    pub fn closing(&self) -> Option<Instant> {
        self.lock().closing
    }

    /// Asks the writer to finish and waits for it, for at most `limit`; where that is [`PATIENCE`], so long for each report that is still taken:
    /// the end of a recording is as whole as its middle. True when it has finished.
    pub fn close(&self, limit: Duration) -> bool {
        let mut inner = self.lock();
        let mut deadline = *inner.closing.get_or_insert(Instant::now() + limit);
        self.moved.notify_all();
        self.wake();
        while !inner.done {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let before = inner.events.front().map(|item| item.ticket);
            inner = self.moved.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0;
            if limit >= PATIENCE && inner.events.front().map(|item| item.ticket) != before {
                deadline = Instant::now() + limit;
                inner.closing = Some(deadline);
            }
        }
        true
    }

    /// The writer says: nobody can ever read this again (a closed pipe).
    pub fn set_gone(&self) {
        self.lock().gone = true;
        self.moved.notify_all();
    }

    /// See [`Sink::gone`](super::Sink::gone).
    pub fn gone(&self) -> bool {
        self.lock().gone
    }

    /// The writer says: what I took did not arrive.
    pub fn set_lost(&self) {
        self.lock().lost = true;
    }

    /// Did anything not arrive that the writer took, or was anything of a recording left out?
    pub fn lost(&self) -> bool {
        self.lock().lost
    }

    /// The writer's last word: call it when the thread ends, however it ends.
    pub fn set_done(&self) {
        self.lock().done = true;
        self.moved.notify_all();
    }

    fn wake(&self) {
        // Only fails when the counter is full: then it is readable already.
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }

    /// Every state of `Inner` is a whole one, so a writer that panicked has left nothing half done.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_for_room<'a>(&'a self, mut inner: MutexGuard<'a, Inner>) -> MutexGuard<'a, Inner> {
        let mut since = Instant::now();
        while inner.events.is_full() && !inner.impatient && !inner.gone && !inner.done && inner.closing.is_none() {
            let before = inner.events.front().map(|item| item.ticket);
            let left = PATIENCE.saturating_sub(since.elapsed());
            if left.is_zero() {
                inner.impatient = true;
                break;
            }
            inner = self.moved.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0;
            if inner.events.front().map(|item| item.ticket) != before {
                since = Instant::now();
            }
        }
        inner
    }
}

impl Inner {
    fn keep(&mut self, item: Item) {
        if let Err(item) = self.events.push_back(item) {
            if let Some(lost) = self.events.pop_front() {
                self.gap = Some((self.gap.map_or(lost.seq, |(from, _)| from), lost.seq));
            }
            let kept = self.events.push_back(item);
            debug_assert!(kept.is_ok(), "one was just taken out");
        }
    }

    /// Health: instead of the last one kept if that says the same state, else behind it.
    fn keep_state(&mut self, item: Item) {
        match self.health.back_mut() {
            Some(last) if same_state(&last.report, &item.report) => *last = item,
            _ => {
                if self.health.is_full() {
                    self.health.pop_front();
                }
                let kept = self.health.push_back(item);
                debug_assert!(kept.is_ok(), "there is room now");
            }
        }
    }

    fn take_oldest(&mut self) -> Option<Item> {
        let ticket = |item: Option<&Item>| item.map_or(u64::MAX, |item| item.ticket);
        let (class, novelty) = (ticket(self.class.as_ref()), ticket(self.novelty.as_ref()));
        let (place, strange) = (ticket(self.place.as_ref()), ticket(self.strange.as_ref()));
        let (health, event) = (ticket(self.health.front()), ticket(self.events.front()));
        match class.min(novelty).min(place).min(strange).min(health).min(event) {
            u64::MAX => None,
            oldest if oldest == event => self.events.pop_front(),
            oldest if oldest == health => self.health.pop_front(),
            oldest if oldest == class => self.class.take(),
            oldest if oldest == place => self.place.take(),
            oldest if oldest == strange => self.strange.take(),
            _ => self.novelty.take(),
        }
    }
}

/// Do both say the same state? `WARMING` is one state whatever its numbers.
fn same_state(a: &Report, b: &Report) -> bool {
    matches!((a, b), (Report::Health(a), Report::Health(b)) if std::mem::discriminant(&a.state) == std::mem::discriminant(&b.state))
}

/// A span for `poll(2)`, rounded up to a whole millisecond so that a wait never spins.
pub(crate) fn timespec(span: Duration) -> Timespec {
    let ms = u64::try_from(span.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX).min(3_600_000);
    Timespec { tv_sec: i64::try_from(ms / 1_000).unwrap_or(3_600), tv_nsec: (ms % 1_000 * 1_000_000).try_into().unwrap_or(0) }
}

/// Says `done` when the writer thread ends, by whatever way.
pub(super) struct DoneOnDrop(pub std::sync::Arc<Outbox>);

impl Drop for DoneOnDrop {
    fn drop(&mut self) {
        self.0.set_done();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::{class, event, health, novelty, place};
    use crate::report::{Health, State};

    fn seqs(outbox: &Outbox) -> Vec<u32> {
        let mut seqs = Vec::new();
        while let Some(parcel) = outbox.pop() {
            match parcel {
                Parcel::Report(seq, _) => seqs.push(seq),
                Parcel::Gap { from, to } => seqs.extend([from + 1_000_000, to + 1_000_000]),
            }
        }
        seqs
    }

    #[test]
    fn status_is_latest_wins_and_events_are_kept_in_order() {
        let outbox = Outbox::new(Pace::Live).unwrap();
        for (seq, report) in [class(), event(), class(), health(), event(), health(), class(), novelty(false)].iter().enumerate()
        {
            outbox.push(u32::try_from(seq).unwrap(), report);
        }
        assert_eq!(seqs(&outbox), [1, 4, 5, 6, 7]);
        assert_eq!(outbox.pop(), None);
    }

    fn state(state: State) -> Report {
        let Report::Health(health) = health() else { unreachable!() };
        Report::Health(Health { state, ..health })
    }

    #[test]
    fn a_state_of_one_tick_is_said_before_the_one_that_follows_however_busy_the_line_is() {
        let outbox = Outbox::new(Pace::Live).unwrap();
        outbox.push(0, &state(State::Ok));
        assert_eq!(seqs(&outbox), [0]); // the line is busy with it
        outbox.push(1, &state(State::StreamBroke));
        outbox.push(2, &class());
        (3..6).for_each(|seq| outbox.push(seq, &state(State::Ok)));
        outbox.push(6, &state(State::Warming { have: 1, need: 16 }));
        outbox.push(7, &state(State::Warming { have: 2, need: 16 }));
        assert_eq!(seqs(&outbox), [1, 2, 5, 7]);
    }

    #[test]
    fn of_too_many_states_the_newest_are_said() {
        let outbox = Outbox::new(Pace::Live).unwrap();
        for seq in 0..100 {
            outbox.push(seq, &state(if seq % 2 == 0 { State::Ok } else { State::Damaged }));
        }
        assert_eq!(seqs(&outbox), (92..100).collect::<Vec<_>>());
    }

    #[test]
    fn the_end_of_a_recording_is_waited_for_as_long_as_reports_are_taken() {
        let outbox = Outbox::new(Pace::Recording).unwrap();
        (0..6).for_each(|seq| outbox.push(seq, &event()));
        let slow = || {
            // Each within patience, all of them not.
            for seq in 0..6 {
                std::thread::sleep(PATIENCE / 3);
                assert!(matches!(outbox.pop(), Some(Parcel::Report(found, _)) if found == seq));
            }
            std::thread::sleep(PATIENCE / 3);
            assert!(outbox.closing().unwrap() > Instant::now(), "the writer is not told to stop either");
            outbox.set_done();
        };
        std::thread::scope(|scope| {
            scope.spawn(slow);
            assert!(outbox.close(PATIENCE));
        });
        let outbox = Outbox::new(Pace::Recording).unwrap();
        outbox.push(0, &event());
        assert!(!outbox.close(Duration::from_millis(50)), "told to stop, nobody waits");
    }

    #[test]
    fn alarm_edges_are_events() {
        let outbox = Outbox::new(Pace::Live).unwrap();
        for (seq, alarm) in [false, true, true, false, false].into_iter().enumerate() {
            outbox.push(u32::try_from(seq).unwrap(), &novelty(alarm));
        }
        assert_eq!(seqs(&outbox), [1, 3, 4]);
    }

    #[test]
    fn the_box_of_an_alarm_that_begins_stays_with_it_however_many_are_said_behind_it() {
        let outbox = Outbox::new(Pace::Live).unwrap();
        let tick = |alarm| [novelty(alarm), place("novelty"), class(), place("right")];
        for (seq, report) in [true, true, true].into_iter().flat_map(tick).enumerate() {
            outbox.push(u32::try_from(seq).unwrap(), &report);
        }
        // Alarm and box of the first tick; of the others the latest.
        assert_eq!(seqs(&outbox), [0, 1, 8, 9, 10, 11]);
    }

    #[test]
    fn oldest_events_go_first_and_the_gap_is_said_first() {
        let outbox = Outbox::new(Pace::Live).unwrap();
        for seq in 0..300 {
            outbox.push(seq, &event());
        }
        let seqs = seqs(&outbox);
        assert_eq!(seqs[..3], [1_000_000, 1_000_043, 44]);
        assert!(!outbox.lost(), "live that is as it should be");
        assert_eq!((seqs.len(), seqs.last()), (258, Some(&299)));
    }

    #[test]
    fn a_recording_waits_for_room_and_loses_nothing() {
        let outbox = std::sync::Arc::new(Outbox::new(Pace::Recording).unwrap());
        let writer = std::thread::spawn({
            let outbox = outbox.clone();
            move || {
                let mut seen = Vec::new();
                while seen.len() < 5_000 {
                    outbox.sleep(Some(Instant::now() + Duration::from_secs(5)));
                    seen.extend(seqs(&outbox));
                }
                seen
            }
        });
        for seq in 0..5_000 {
            outbox.push(seq, &class());
        }
        assert_eq!(writer.join().unwrap(), (0..5_000).collect::<Vec<_>>());
    }

    #[test]
    fn a_recording_does_not_wait_for_ever_for_a_reader_that_is_not_there() {
        let outbox = Outbox::new(Pace::Recording).unwrap();
        let start = Instant::now();
        (0..300).for_each(|seq| outbox.push(seq, &class()));
        assert!(start.elapsed() >= PATIENCE && start.elapsed() < PATIENCE * 5, "{:?}", start.elapsed());
        assert_eq!(seqs(&outbox)[..3], [1_000_000, 1_000_043, 44]);
        assert!(outbox.lost(), "and says that it is not whole");
    }

    #[test]
    fn a_nudge_is_seen_when_the_writer_comes_to_look() {
        let outbox = Outbox::new(Pace::Live).unwrap();
        let ticket = outbox.nudge();
        assert!(!outbox.has_looked(ticket));
        outbox.sleep(None);
        assert!(outbox.has_looked(ticket));
        assert_eq!(outbox.pop(), None);
    }

    #[test]
    fn close_gives_up_at_its_limit() {
        let outbox = Outbox::new(Pace::Live).unwrap();
        assert!(!outbox.close(Duration::from_millis(20)));
        outbox.set_done();
        assert!(outbox.close(Duration::ZERO));
    }
}
