//! The last `window` ticks, one slot per tick of time, in place; never grows.
//!
//! The head was trained on evenly spaced ticks. When a tick has no new frame we repeat the previous row and count it
//! as held; after `max_held` in a row the ring empties, because by then we would be inventing a past. So 30 fps, 15 fps
//! and a stuttering camera show the head the same world.
//!
//! A row is what the head wants to read per tick: its cached input projections where there are any (see
//! [`crate::head`]), the features otherwise. Rows lie twice in one buffer of `2 * window` rows, so that the last
//! `window` of them are always one contiguous slice, oldest first, with nothing moved.
//!
//! A tick that shows what the last one showed ([`crate::gate`]) has its row as well, but it is fresh: a camera is there.
//!
//! Invariant: [`Ring::window`] is `Some` exactly when `len == window`. Memory: `2 * window * row` floats, for ever.

use crate::bundle::MAX_WINDOW;
use heapless::Deque;

/// What is known of one tick besides its numbers.
#[derive(Clone, Copy, Debug)]
struct Slot {
    /// The row repeats the one before: no new frame in this tick.
    held: bool,
    /// Every number in the row is finite.
    finite: bool,
}

/// A full window, oldest tick first.
#[derive(Clone, Copy, Debug)]
pub struct Window<'a> {
    /// `window * row` numbers.
    pub rows: &'a [f32],
    /// Ticks that are fresh, not held.
    pub fresh: u16,
    /// Every number is finite.
    pub finite: bool,
}

/// What became of a tick without a new frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// The last row was repeated.
    Repeated,
    /// Too many in a row (or nothing to repeat): the ring is empty now.
    Emptied,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Ring {
    slots: Deque<Slot, MAX_WINDOW>,
    rows: Box<[f32]>,
    row: usize,
    window: usize,
    /// Where the next row goes, in rows, below `window`.
    head: usize,
    held: usize,
    max_held: usize,
    /// Newest rows in a row that are one and the same, counted to just above `window`.
    same: usize,
}

impl Ring {
    /// A ring of `window` ticks (1 to [`MAX_WINDOW`]) of `row` numbers that repeats at most `max_held` ticks in a row.
    pub fn new(window: usize, row: usize, max_held: usize) -> Self {
        assert!((1..=MAX_WINDOW).contains(&window) && row > 0, "the bundle's contract was checked");
        Self { slots: Deque::new(), rows: vec![0.0; 2 * window * row].into(), row, window, head: 0, held: 0, max_held, same: 0 }
    }

    /// A new tick: `fill` writes its row. An error leaves the ring as it was.
    ///
    /// # Errors
    /// Whatever `fill` returns.
    pub fn push<E>(&mut self, fill: impl FnOnce(&mut [f32]) -> Result<(), E>) -> Result<(), E> {
        let (at, twin) = (self.head * self.row, (self.head + self.window) * self.row);
        // The twin first: it lies outside the window that is readable now, so a failure spoils nothing.
        fill(&mut self.rows[twin..twin + self.row])?;
        let finite = self.rows[twin..twin + self.row].iter().all(|v| v.is_finite());
        self.rows.copy_within(twin..twin + self.row, at);
        self.held = 0;
        self.same = 0;
        self.advance(Slot { held: false, finite });
        Ok(())
    }

    /// A new tick that shows what the last one showed: its row once more, and fresh. `false` if there is none.
    pub fn repeat(&mut self) -> bool {
        let Some(last) = self.slots.back().copied() else { return false };
        self.held = 0;
        self.copy_newest();
        self.advance(Slot { held: false, ..last });
        true
    }

    /// A tick without a new frame.
    pub fn hold(&mut self) -> Held {
        let Some(last) = self.slots.back().copied() else { return Held::Emptied };
        if self.held == self.max_held {
            self.clear();
            return Held::Emptied;
        }
        self.held += 1;
        self.copy_newest();
        self.advance(Slot { held: true, ..last });
        Held::Repeated
    }

    fn copy_newest(&mut self) {
        let from = (self.head + self.window - 1) * self.row;
        let (at, twin) = (self.head * self.row, (self.head + self.window) * self.row);
        self.rows.copy_within(from..from + self.row, at);
        self.rows.copy_within(from..from + self.row, twin);
    }

    /// Repeats the newest row until the window is full, for whoever knows that nothing else came before it. Nothing to do in an empty ring.
    pub fn fill(&mut self) {
        while let Some(last) = self.slots.back().copied().filter(|_| self.slots.len() < self.window) {
            self.copy_newest();
            self.advance(Slot { held: true, ..last });
        }
    }

    /// Forgets everything: the head warms up again.
    pub fn clear(&mut self) {
        self.slots.clear();
        self.head = 0;
        self.held = 0;
        self.same = 0;
    }

    /// The last `window` ticks, or `None` while warming up.
    pub fn window(&self) -> Option<Window<'_>> {
        if self.slots.len() < self.window {
            return None;
        }
        let from = self.head * self.row;
        Some(Window {
            rows: &self.rows[from..from + self.window * self.row],
            fresh: self.slots.iter().filter(|s| !s.held).count() as u16,
            finite: self.slots.iter().all(|s| s.finite),
        })
    }

    /// Does the full window hold number by number what it held a tick ago, one row again and again?
    pub fn is_unchanged(&self) -> bool {
        self.same > self.window
    }

    /// The newest row, if there is one, and whether all its numbers are finite.
    pub fn newest(&self) -> Option<(&[f32], bool)> {
        let finite = self.slots.back()?.finite;
        let from = (self.head + self.window - 1) * self.row;
        Some((&self.rows[from..from + self.row], finite))
    }

    /// Ticks in the ring, at most `window`.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// No tick yet.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Ticks in a full window.
    pub fn capacity(&self) -> usize {
        self.window
    }

    fn advance(&mut self, slot: Slot) {
        if self.slots.len() == self.window {
            self.slots.pop_front();
        }
        // Cannot be full: window <= MAX_WINDOW and one was just taken out.
        let _ = self.slots.push_back(slot);
        self.head = (self.head + 1) % self.window;
        self.same = (self.same + 1).min(self.window + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(ring: &mut Ring, v: f32) {
        ring.push(|row| -> Result<(), ()> {
            row.fill(v);
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn window_is_oldest_first_and_contiguous_at_every_phase() {
        let mut ring = Ring::new(4, 2, 3);
        for n in 0..11 {
            assert_eq!(ring.window().is_some(), n >= 4);
            push(&mut ring, n as f32);
            if let Some(w) = ring.window() {
                let want: Vec<f32> = (n - 3..=n).flat_map(|k| [k as f32; 2]).collect();
                assert_eq!(w.rows, want);
            }
        }
    }

    #[test]
    fn skipped_tick_repeats_last_row_and_says_so() {
        let mut ring = Ring::new(3, 1, 2);
        (1..=3).for_each(|n| push(&mut ring, n as f32));
        assert_eq!(ring.hold(), Held::Repeated);
        let w = ring.window().unwrap();
        assert_eq!((w.rows, w.fresh), ([2.0, 3.0, 3.0].as_slice(), 2));
    }

    #[test]
    fn fill_repeats_the_one_row_and_counts_it_as_held() {
        let mut ring = Ring::new(4, 2, 1);
        ring.fill();
        assert!(ring.is_empty());
        push(&mut ring, 7.0);
        ring.fill();
        assert_eq!((ring.window().unwrap().rows, ring.window().unwrap().fresh), ([7.0; 8].as_slice(), 1));
        push(&mut ring, 8.0);
        assert_eq!(ring.window().unwrap().rows, [7.0, 7.0, 7.0, 7.0, 7.0, 7.0, 8.0, 8.0]);
    }

    #[test]
    fn more_than_max_held_empties_and_warms_up_again() {
        let mut ring = Ring::new(3, 1, 2);
        (1..=3).for_each(|n| push(&mut ring, n as f32));
        assert_eq!([ring.hold(), ring.hold(), ring.hold()], [Held::Repeated, Held::Repeated, Held::Emptied]);
        assert!(ring.window().is_none() && ring.is_empty());
        assert_eq!(ring.hold(), Held::Emptied);
        (1..=2).for_each(|n| push(&mut ring, n as f32));
        assert_eq!(ring.len(), 2);
        push(&mut ring, 3.0);
        assert_eq!(ring.window().unwrap().rows, [1.0, 2.0, 3.0]);
    }

    #[test]
    fn a_repeated_row_is_fresh_and_a_window_of_it_is_unchanged_from_the_second_time_on() {
        let mut ring = Ring::new(3, 1, 2);
        assert!(!ring.repeat());
        [1.0, 2.0].iter().for_each(|v| push(&mut ring, *v));
        assert!(ring.repeat());
        let w = ring.window().unwrap();
        assert_eq!((w.rows, w.fresh), ([1.0, 2.0, 2.0].as_slice(), 3));
        assert!(ring.repeat() && !ring.is_unchanged(), "the window is full of it for the first time");
        assert!(ring.repeat() && ring.is_unchanged());
        assert_eq!(ring.hold(), Held::Repeated);
        assert!(ring.is_unchanged());
        push(&mut ring, 2.0);
        assert!(!ring.is_unchanged(), "a row that was filled may be another one");
        (0..4).for_each(|_| assert!(ring.repeat()));
        ring.clear();
        assert!(!ring.is_unchanged() && !ring.repeat());
    }

    #[test]
    fn a_number_that_is_not_finite_taints_one_window_and_no_more() {
        let mut ring = Ring::new(3, 1, 2);
        [1.0, f32::NAN, 2.0].iter().for_each(|v| push(&mut ring, *v));
        assert!(!ring.window().unwrap().finite);
        push(&mut ring, 3.0);
        push(&mut ring, 4.0);
        assert!(ring.window().unwrap().finite);
    }

    #[test]
    fn a_failed_fill_leaves_the_window_as_it_was() {
        let mut ring = Ring::new(2, 1, 2);
        [1.0, 2.0].iter().for_each(|v| push(&mut ring, *v));
        assert!(ring.push(|_| Err(())).is_err());
        assert_eq!(ring.window().unwrap().rows, [1.0, 2.0]);
    }
}
