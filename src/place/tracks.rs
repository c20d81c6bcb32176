//! Groups that go on from tick to tick: which of them is the box.
//!
//! A track is where a group is, and how it moves. The heaviest groups first, each takes the track whose place, moved on, it overlaps best, or
//! begins one. What a track is worth is its weight, and more if it has got somewhere within about a second: a thing that comes, goes or
//! passes is meant before leaves of the same size. A track without a group is moved on for a tick.

use super::groups::{Group, MOST};

/// Cells around a box within which the next one is the same thing's.
const REACH: f32 = 3.0;
/// Least overlap with what reaches so far.
const SAME: f32 = 0.15;
/// Part of a miss by which the speed is put right.
const STEER: f32 = 0.4;
/// Part of the way so far that is remembered after a tick: about a second.
const WAY: f32 = 0.85;
/// A way in cells that leaves and people on the spot do not go.
const FAR: f32 = 6.0;
/// How much more a track is worth that has gone so far.
const GOES: f32 = 3.0;

/// Part of the way that a track's weight goes to its group's in a tick: one that flashes up is not at once the box.
const SETTLE: f32 = 0.5;

/// See the module's documentation. Edges left, top, right and low in cells.
#[derive(Clone, Copy, Debug, Default)]
struct Track {
    edges: [f32; 4],
    speed: [f32; 2],
    way: [f32; 2],
    weight: f32,
    /// Which of the tick's groups it is.
    group: usize,
    age: u32,
    missed: u32,
}

impl Track {
    fn value(&self) -> f32 {
        let way = (self.way[0] * self.way[0] + self.way[1] * self.way[1]).sqrt();
        let here = if self.missed > 0 { 0.7 } else { 1.0 };
        self.weight * (1.0 + GOES * (way / FAR).min(1.0)) * here
    }

    fn goes_on(&mut self, group: &Group) {
        let middle = |e: &[f32; 4], k: usize| (e[k] + e[k + 2]) / 2.0;
        for k in 0..2 {
            self.speed[k] += STEER * (middle(&group.edges, k) - middle(&self.edges, k));
            self.way[k] = WAY * self.way[k] + self.speed[k];
        }
        self.edges = group.edges;
        self.weight += SETTLE * (heft(group) - self.weight);
        (self.age, self.missed) = (self.age + 1, 0);
    }
}

/// What a group weighs against others: as a length, so that a small thing has a chance.
fn heft(group: &Group) -> f32 {
    (group.weight as f32).sqrt()
}

/// All that is followed now.
#[derive(Clone, Debug, Default)]
pub(super) struct Tracks {
    list: [Track; MOST],
    count: usize,
    lead: Option<usize>,
    /// The lead's edges as exactly as they can be told.
    exact: [f32; 4],
}

impl Tracks {
    /// The edges of the track that is worth most, if there is one.
    pub fn lead(&self) -> Option<[f32; 4]> {
        self.lead.map(|_| self.exact)
    }

    /// A tick's groups, the heaviest first.
    pub fn follow(&mut self, groups: &[Group], fine: impl Fn(&Group) -> [f32; 4]) {
        for track in &mut self.list[..self.count] {
            track.missed += 1;
            (0..4).for_each(|k| track.edges[k] += track.speed[k % 2]);
        }
        for (n, group) in groups.iter().enumerate() {
            let reach = |e: &[f32; 4]| [e[0] - REACH, e[1] - REACH, e[2] + REACH, e[3] + REACH];
            let mut best = (SAME, None);
            for (k, track) in self.list[..self.count].iter().enumerate().filter(|(_, t)| t.missed > 0) {
                let found = overlap(&reach(&track.edges), &reach(&group.edges));
                if found > best.0 {
                    best = (found, Some(k));
                }
            }
            if let Some(k) = best.1 {
                self.list[k].goes_on(group);
                self.list[k].group = n;
            } else if self.count < MOST {
                self.list[self.count] =
                    Track { edges: group.edges, weight: SETTLE * heft(group), age: 1, group: n, ..Track::default() };
                self.count += 1;
            }
        }
        self.drop_lost();
        let mut best = 0.0;
        self.lead = None;
        for (k, track) in self.list[..self.count].iter().enumerate() {
            if track.value() > best {
                (best, self.lead) = (track.value(), Some(k));
            }
        }
        if let Some(track) = self.lead.map(|k| &self.list[k]) {
            self.exact = if track.missed == 0 { fine(&groups[track.group]) } else { track.edges };
        }
    }

    /// One that was there for three ticks may be missed for one.
    fn drop_lost(&mut self) {
        let mut kept = 0;
        for k in 0..self.count {
            let track = self.list[k];
            if track.missed <= u32::from(track.age > 2) {
                self.list[kept] = track;
                kept += 1;
            }
        }
        self.count = kept;
    }
}

/// Intersection over union.
pub(super) fn overlap(a: &[f32; 4], b: &[f32; 4]) -> f32 {
    let side = |k: usize| (a[k + 2].min(b[k + 2]) - a[k].max(b[k])).max(0.0);
    let area = |e: &[f32; 4]| (e[2] - e[0]) * (e[3] - e[1]);
    let both = side(0) * side(1);
    both / (area(a) + area(b) - both).max(f32::MIN_POSITIVE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(x: f32, y: f32, side: f32, weight: u32) -> Group {
        Group { edges: [x, y, x + side, y + side], weight }
    }

    #[test]
    fn what_gets_somewhere_is_meant_before_what_sways_and_a_tick_may_be_missed() {
        let mut tracks = Tracks::default();
        for t in 0..12 {
            // Leaves that weigh more than what passes below them.
            let sway = if t % 2 == 0 { 0.5 } else { -0.5 };
            tracks.follow(&[group(40.0 + sway, 5.0, 10.0, 120), group(2.0 * t as f32, 40.0, 6.0, 80)], |g| g.edges);
        }
        let lead = tracks.lead().expect("two of them");
        assert_eq!(lead, [22.0, 40.0, 28.0, 46.0]);
        tracks.follow(&[], |g| g.edges);
        let moved = tracks.lead().expect("moved on");
        assert!((moved[0] - 24.0).abs() < 0.6 && moved[1] == 40.0, "{moved:?}");
        tracks.follow(&[], |g| g.edges);
        assert_eq!(tracks.lead(), None);
        // A flash of one tick is a box for that tick alone.
        tracks.follow(&[group(3.0, 3.0, 4.0, 9)], |g| g.edges);
        assert!(tracks.lead().is_some());
        tracks.follow(&[], |g| g.edges);
        assert_eq!(tracks.lead(), None);
    }
}
