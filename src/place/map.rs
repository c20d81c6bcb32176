//! The encoder's map to one box, followed over time.
//!
//! Every cell of the map says how sure it is that a moving thing's middle lies near it, and how far from its own middle that thing's edges are. The
//! surest cell, and those that mean the same box, give the box of a tick. What was the box a tick ago, moved on, is believed a little more than
//! its cells say: one box is followed instead of the surest of each tick, and what a single tick says wrong is evened out. The numbers below were varied on 500 rendered clips
//! (models/motion/where.py, seeds 71 and 72): none of them moves more than two clips in a hundred.

use super::tracks::overlap;
use crate::shaper::Region;

/// Numbers a cell says: how sure it is, then how far its middle is from the thing's left, top, right and low edge.
pub const PLANES: usize = 5;

/// Least sureness of what begins to be the box: more misses what is faint, less takes leaves and people on the spot for things.
const BEGINS: f32 = 0.3;
/// Least sureness of what goes on being it.
const GOES_ON: f32 = 0.15;
/// How much surer a cell is taken to be that means the box of a tick ago.
const KNOWN: f32 = 1.0;
/// Overlap from which two cells mean the same thing.
const SAME: f32 = 0.5;
/// Overlap below which a tick's box is another thing's than that of a tick ago.
const OTHER: f32 = 0.1;
/// Part of what a tick says that counts at once; the rest is what was expected.
const NEW: f32 = 0.8;
/// Part of the speed that is made of the newest step.
const STEER: f32 = 0.3;
/// Part of a box's sureness that is left after a tick that did not see it.
const FADES: f32 = 0.7;
/// Ticks a box outlives what is seen of it.
const MISSED: u32 = 2;

/// Edges left, top, right and low in fractions of the picture.
type Edges = [f32; 4];

/// A map as the encoder gives it, `[PLANES, height, width]`.
#[derive(Clone, Copy, Debug)]
pub struct Cells<'a> {
    /// Plane by plane.
    pub values: &'a [f32],
    /// Cells across and down.
    pub size: (usize, usize),
}

impl Cells<'_> {
    /// How sure cell `n` is, 0 to 1, and the box that it means.
    fn cell(&self, n: usize) -> (f32, Edges) {
        let (wide, high) = self.size;
        let value = |plane: usize| self.values[plane * wide * high + n];
        let (x, y) = (((n % wide) as f32 + 0.5) / wide as f32, ((n / wide) as f32 + 0.5) / high as f32);
        (value(0).clamp(0.0, 1.0), [x - value(1), y - value(2), x + value(3), y + value(4)])
    }

    fn count(&self) -> usize {
        self.size.0 * self.size.1
    }
}

/// See the module's documentation.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Follower {
    edges: Edges,
    speed: Edges,
    /// How sure the box is, over time; 0: there is none.
    sure: f32,
    missed: u32,
}

impl Follower {
    /// The box now.
    pub fn now(&self) -> Option<Region> {
        let [left, top, right, low] = self.edges.map(|e| e.clamp(0.0, 1.0));
        let (w, h) = (right - left, low - top);
        (self.sure > 0.0 && w > 0.0 && h > 0.0).then_some(Region { x: left, y: top, w, h })
    }

    /// A tick's map. Numbers that are not finite mean nothing.
    pub fn look(&mut self, cells: Cells<'_>) {
        let expected: Edges = std::array::from_fn(|k| self.edges[k] + self.speed[k]);
        let mut best = (0.0, 0.0, [0.0; 4]);
        for n in 0..cells.count() {
            let (sure, edges) = cells.cell(n);
            let known = if self.sure > 0.0 { KNOWN * self.sure * overlap(&edges, &expected) } else { 0.0 };
            if sure + known > best.0 && edges.iter().all(|e| e.is_finite()) {
                best = (sure + known, sure, edges);
            }
        }
        let (_, sure, mut found) = best;
        if sure < if self.sure > 0.0 { GOES_ON } else { BEGINS } {
            return self.miss(expected);
        }
        self.even_out(&cells, &mut found);
        if self.sure > 0.0 && overlap(&found, &expected) >= OTHER {
            let before =
                std::mem::replace(&mut self.edges, std::array::from_fn(|k| expected[k] + NEW * (found[k] - expected[k])));
            (0..4).for_each(|k| self.speed[k] += STEER * (self.edges[k] - before[k] - self.speed[k]));
            self.sure += NEW * (sure - self.sure);
            self.missed = 0;
        } else if sure >= BEGINS && sure > self.sure / 2.0 {
            *self = Self { edges: found, speed: [0.0; 4], sure, missed: 0 };
        } else {
            self.miss(expected);
        }
    }

    /// The mean of all cells that mean the same box, each as far as it is sure.
    fn even_out(&self, cells: &Cells<'_>, found: &mut Edges) {
        let (mut sum, mut weight, same) = ([0.0; 4], 0.0, *found);
        for n in 0..cells.count() {
            let (sure, edges) = cells.cell(n);
            if sure > 0.0 && overlap(&edges, &same) > SAME {
                (0..4).for_each(|k| sum[k] += sure * edges[k]);
                weight += sure;
            }
        }
        if weight > 0.0 {
            *found = sum.map(|s| s / weight);
        }
    }

    /// A tick in which the box was not seen: it moves on for a while.
    fn miss(&mut self, expected: Edges) {
        (self.edges, self.sure, self.missed) = (expected, self.sure * FADES, self.missed + 1);
        if self.missed > MISSED {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::place;

    /// A map of 8x8 cells that mean these boxes, each as sure as said.
    fn map(boxes: &[(f32, Edges)]) -> Vec<f32> {
        let mut values = vec![0.0; PLANES * 64];
        for n in 0..64 {
            let (x, y) = ((n % 8) as f32 / 8.0 + 0.0625, (n / 8) as f32 / 8.0 + 0.0625);
            let near = boxes.iter().filter(|(_, e)| (e[0]..e[2]).contains(&x) && (e[1]..e[3]).contains(&y));
            let (sure, e) = near.copied().next().unwrap_or((0.02, [x - 0.3, y - 0.1, x + 0.1, y + 0.3]));
            for (k, v) in [sure, x - e[0], y - e[1], e[2] - x, e[3] - y].into_iter().enumerate() {
                values[k * 64 + n] = v;
            }
        }
        values
    }

    fn look(follower: &mut Follower, boxes: &[(f32, Edges)]) -> Option<Region> {
        follower.look(Cells { values: &map(boxes), size: (8, 8) });
        follower.now()
    }

    #[test]
    fn a_box_is_followed_past_a_surer_one_and_ends_with_what_it_shows() {
        let mut follower = Follower::default();
        assert_eq!(look(&mut follower, &[]), None, "nothing moves");
        let at = |t: usize| -> Edges { std::array::from_fn(|k| [0.1, 0.4, 0.3, 0.9][k] + [0.03, 0.0][k % 2] * t as f32) };
        for t in 0..12 {
            // Something else flashes up for a tick, as sure.
            let other = (0.8, [0.7, 0.0, 0.95, 0.25]);
            let seen = [(0.7, at(t)), other];
            let found = look(&mut follower, if t == 7 { &seen } else { &seen[..1] }).expect("it moves");
            let [x, y, right, low] = at(t);
            let fits = place::overlap(&found, &Region { x, y, w: right - x, h: low - y });
            assert!(fits > 0.8, "tick {t}: {found:?}, {fits}");
        }
        let after: Vec<bool> = (0..4).map(|_| look(&mut follower, &[]).is_some()).collect();
        assert_eq!(after, [true, true, false, false], "unseen for a moment, and then gone");
    }

    #[test]
    fn what_is_not_sure_does_not_begin_and_wild_numbers_are_no_box() {
        let mut follower = Follower::default();
        assert_eq!(look(&mut follower, &[(0.25, [0.2, 0.2, 0.6, 0.6])]), None);
        assert!(look(&mut follower, &[(0.6, [0.2, 0.2, 0.6, 0.6])]).is_some());
        assert!(look(&mut follower, &[(0.2, [0.2, 0.2, 0.6, 0.6])]).is_some(), "less is enough to go on");
        for wild in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, -1e30, 1e-40] {
            let mut follower = Follower::default();
            for _ in 0..8 {
                follower.look(Cells { values: &[wild; PLANES * 4], size: (2, 2) });
                let found = follower.now();
                assert!(found.is_none_or(|r| r.w <= 1.0 && r.h <= 1.0 && r.x >= 0.0 && r.y >= 0.0), "{wild}: {found:?}");
            }
        }
    }
}
