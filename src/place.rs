//! Where in the picture something moves: one box a tick, smoothed over time.
//!
//! The picture is looked at in at most 32x32 cells. Where the encoder's input has a grey (or coloured) plane, a background is kept: a
//! cell that shows what it showed follows slowly, one that does not hardly at all, until it has stood still for half a second - then
//! something has come to stay, or has left a place bare. A cell counts when it differs from the background by more than the
//! picture's own noise and by a good part of what differs most; a group of such cells counts when in one of them something changed
//! since the last tick, and its box is drawn around those that changed or lie beside one that did. The heaviest group is the box. A difference of two ticks alone would show the thing where it is
//! and where it was, and only the edges of one without texture.
//! Where there are planes of change or flow alone, they stand for the difference from the background.
//!
//! The four edges are smoothed; a box that jumps is another thing and begins anew, one that is gone for more than three ticks is forgotten.
//! Whole numbers up to the smoothing, no allocation, the same on every machine.

use crate::bundle::{Channel, Input};
use crate::shaper::Region;

/// Cells a side: a row of them is one machine word, so that groups are found with shifts.
const SIDE: usize = 32;
/// Levels are kept in this many parts.
const ONE: i16 = 64;
/// Least difference from the background, levels: what a camera's own flicker stays below.
const FLOOR: i16 = 8 * ONE;
/// Least change since the last tick, levels.
const CHANGE: i16 = 5 * ONE;
/// Ticks after which what stands still is background.
const STILL: i16 = 10;
/// Part of the way that a smoothed edge goes in a tick.
const FOLLOW: f32 = 0.8;
/// Ticks for which a box stays without anything that moves.
const PATIENCE: u8 = 3;
/// Overlap below which a box is another thing's.
const JUMP: f32 = 0.15;

/// What the cells are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Basis {
    /// A plane of levels.
    Levels(usize),
    /// Planes of change: since the last tick, since several.
    Change(usize),
    /// Planes of flow, u and v, 128 being none.
    Flow(usize),
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Place {
    from: Basis,
    size: (usize, usize),
    cells: (usize, usize),
    now: Vec<i16>,
    before: Vec<i16>,
    background: Vec<i16>,
    /// Difference from the background, and change since the last tick.
    apart: Vec<i16>,
    change: Vec<i16>,
    still: Vec<i16>,
    known: bool,
    /// The picture's noise, a standard deviation.
    noise: i16,
    found: Option<Region>,
    missing: u8,
}

impl Place {
    /// For pictures as `input` describes them.
    pub fn new(input: &Input) -> Self {
        let pixels = input.width * input.height;
        let mut at = 0;
        let mut first = |wanted: Channel| {
            at = 0;
            input.channels.iter().find_map(|c| {
                let here = at;
                at += c.planes() * pixels;
                (*c == wanted).then_some(here)
            })
        };
        // Of a coloured picture the green plane, which is most of its luma.
        let levels = first(Channel::Gray).or_else(|| first(Channel::Rgb).map(|at| at + pixels));
        let from = match (levels, first(Channel::Motion), first(Channel::Flow)) {
            (Some(at), ..) => Basis::Levels(at),
            (None, Some(at), _) => Basis::Change(at),
            (None, None, at) => Basis::Flow(at.unwrap_or(0)),
        };
        let cells = (input.width.min(SIDE), input.height.min(SIDE));
        let row = || vec![0i16; cells.0 * cells.1];
        Self {
            from,
            size: (input.width, input.height),
            cells,
            now: row(),
            before: row(),
            background: row(),
            apart: row(),
            change: row(),
            still: row(),
            known: false,
            noise: 0,
            found: None,
            missing: 0,
        }
    }

    /// The box now, in fractions of the encoder's picture; `None` while nothing moves.
    pub fn now(&self) -> Option<Region> {
        self.found
    }

    /// Forgets everything (after a gap).
    pub fn reset(&mut self) {
        (self.known, self.found, self.missing) = (false, None, 0);
    }

    /// A tick's planes `[P, H, W]`.
    pub fn look(&mut self, planes: &[u8]) {
        self.measure(planes);
        let Some(seen) = self.heaviest() else {
            self.missing = self.missing.saturating_add(1);
            if self.missing > PATIENCE {
                self.found = None;
            }
            return;
        };
        self.missing = 0;
        self.found = Some(match self.found {
            Some(old) if overlap(&old, &seen) >= JUMP => {
                let part = |a: f32, b: f32| a + FOLLOW * (b - a);
                let (right, low) = (part(old.x + old.w, seen.x + seen.w), part(old.y + old.h, seen.y + seen.h));
                let (x, y) = (part(old.x, seen.x), part(old.y, seen.y));
                Region { x, y, w: right - x, h: low - y }
            }
            _ => seen,
        });
    }

    /// Difference and change of every cell.
    fn measure(&mut self, planes: &[u8]) {
        let pixels = self.size.0 * self.size.1;
        match self.from {
            Basis::Levels(at) => {
                std::mem::swap(&mut self.now, &mut self.before);
                average(&planes[at..at + pixels], self.size, self.cells, &mut self.now);
                if !std::mem::replace(&mut self.known, true) {
                    self.before.copy_from_slice(&self.now);
                    self.background.copy_from_slice(&self.now);
                    self.still.fill(0);
                    self.noise = ONE;
                }
                for (c, (a, b)) in self.change.iter_mut().zip(self.now.iter().zip(&self.before)) {
                    *c = (a - b).abs();
                }
                for (d, (a, b)) in self.apart.iter_mut().zip(self.now.iter().zip(&self.background)) {
                    *d = a - b;
                }
                // A camera that opens its iris makes all of it lighter: that is not the thing.
                let light = median(&self.apart);
                self.apart.iter_mut().for_each(|d| *d = (*d - light).abs());
            }
            Basis::Change(at) => {
                average(&planes[at..at + pixels], self.size, self.cells, &mut self.change);
                average(&planes[at + pixels..at + 2 * pixels], self.size, self.cells, &mut self.apart);
            }
            Basis::Flow(at) => {
                average(&planes[at..at + pixels], self.size, self.cells, &mut self.now);
                average(&planes[at + pixels..at + 2 * pixels], self.size, self.cells, &mut self.before);
                for (d, (u, v)) in self.apart.iter_mut().zip(self.now.iter().zip(&self.before)) {
                    *d = (u - 128 * ONE).abs() + (v - 128 * ONE).abs();
                }
                self.change.copy_from_slice(&self.apart);
            }
        }
    }

    /// The group of cells that weighs most, and the background after this tick.
    fn heaviest(&mut self) -> Option<Region> {
        // 1.5 median deviations are a standard deviation; followed slowly, so that one large thing does not raise it.
        let typical = median(&self.apart);
        self.noise += (typical + typical / 2 - self.noise) / 8;
        // A thing has two cells beside each other; a quarter of the way to it is still the thing, its shadow less.
        let peak =
            self.apart.iter().zip(&self.apart[1.min(self.apart.len() - 1)..]).fold(0, |most, (a, b)| (*a.min(b)).max(most));
        let apart = FLOOR.max(4 * self.noise).max(peak / 4);
        let change = CHANGE.max(3 * self.noise);
        let (wide, high) = self.cells;
        for (s, c) in self.still.iter_mut().zip(&self.change) {
            *s = if *c > change { 0 } else { (*s + 1).min(STILL + 1) };
        }
        let [mut on, mut moved, mut changed] = [[0u32; SIDE]; 3];
        for y in 0..high {
            let row = y * wide..(y + 1) * wide;
            on[y] = bits(&self.apart[row.clone()], |d| d > apart);
            changed[y] = bits(&self.change[row], |c| c > change);
            moved[y] = changed[y] & on[y];
        }
        // What was left bare earlier is not the thing, though the background has not learnt it yet; what is being left bare now is beside the thing,
        // and the only sign of the end of one without texture.
        let mut edges = cross(&changed);
        edges.iter_mut().zip(&on).for_each(|(e, on)| *e &= on);
        if matches!(self.from, Basis::Levels(_)) {
            self.learn(apart);
        }
        let near = thick(&on);
        let mut best: Option<(u32, [u32; SIDE])> = None;
        for y in 0..high {
            while moved[y] != 0 {
                let mut group = [0u32; SIDE];
                group[y] = moved[y] & moved[y].wrapping_neg();
                flood(&mut group, &near);
                let mut weight = 0;
                for (r, (g, o)) in group.iter_mut().zip(&edges).enumerate() {
                    moved[r] &= !*g;
                    *g &= o;
                    let mut left = *g;
                    while left != 0 {
                        weight += self.apart[r * wide + left.trailing_zeros() as usize] as u32;
                        left &= left - 1;
                    }
                }
                if group.iter().map(|g| g.count_ones()).sum::<u32>() >= 2 && best.as_ref().is_none_or(|(w, _)| weight > *w) {
                    best = Some((weight, group));
                }
            }
        }
        let (_, group) = best?;
        let columns = group.iter().fold(0, |all, g| all | g);
        let (x, right) = (columns.trailing_zeros(), 32 - columns.leading_zeros());
        let y = group.iter().position(|g| *g != 0)?;
        let low = group.iter().rposition(|g| *g != 0)? + 1;
        let (w, h) = (wide as f32, high as f32);
        Some(Region { x: x as f32 / w, y: y as f32 / h, w: (right - x) as f32 / w, h: (low - y) as f32 / h })
    }

    /// The background follows: quickly where nothing is, hardly where something is, at once where it has come to stay.
    fn learn(&mut self, apart: i16) {
        let cells = self.now.iter().zip(&self.apart).zip(&self.still);
        for (b, ((n, d), s)) in self.background.iter_mut().zip(cells) {
            let way = n - *b;
            let there = if *s > STILL { way >> 2 } else { way >> 7 };
            *b += if *d <= apart { way >> 3 } else { there };
        }
    }
}

/// Mean levels of the cells, in [`ONE`]s.
fn average(plane: &[u8], (width, height): (usize, usize), (wide, high): (usize, usize), out: &mut [i16]) {
    if (width, height) == (2 * wide, 2 * high) {
        let mut sums = [0i16; 2 * SIDE];
        for (pair, out) in plane.chunks_exact(2 * width).zip(out.chunks_exact_mut(wide)) {
            let (a, b) = pair.split_at(width);
            let sums = &mut sums[..width];
            sums.iter_mut().zip(a.iter().zip(b)).for_each(|(s, (a, b))| *s = i16::from(*a) + i16::from(*b));
            out.iter_mut().zip(sums.chunks_exact(2)).for_each(|(o, s)| *o = (s[0] + s[1]) * (ONE / 4));
        }
        return;
    }
    for (r, out) in out.chunks_exact_mut(wide).enumerate() {
        let rows = r * height / high..(r + 1) * height / high;
        for (c, o) in out.iter_mut().enumerate() {
            let columns = c * width / wide..(c + 1) * width / wide;
            let sum: u64 = rows.clone().flat_map(|y| &plane[y * width..][columns.clone()]).map(|p| u64::from(*p)).sum();
            // At most 255 of them.
            *o = (sum * ONE as u64 / (rows.len() * columns.len()) as u64) as i16;
        }
    }
}

/// The middle value, of a fifth of them where they are many, by bisection: see `shaper::flow`, whose median this is.
fn median(values: &[i16]) -> i16 {
    let mut some = [0i16; SIDE * SIDE / 5 + 1];
    let step = if values.len() > some.len() { 5 } else { 1 };
    let n = some.iter_mut().zip(values.iter().step_by(step)).map(|(s, v)| *s = *v).count();
    let some = &some[..n];
    let (mut low, mut high) = (-256 * i32::from(ONE), 511 * i32::from(ONE));
    while low < high {
        let middle = (low + high).div_euclid(2);
        let limit = middle as i16;
        let count = some.iter().fold(0i16, |all, v| all + i16::from(*v <= limit));
        if count as usize > n / 2 { high = middle } else { low = middle + 1 }
    }
    low as i16
}

/// One bit a cell.
fn bits<T: Copy>(row: &[T], is: impl Fn(T) -> bool) -> u32 {
    row.iter().rev().fold(0, |all, v| all << 1 | u32::from(is(*v)))
}

/// Every cell with its eight neighbours.
fn thick(cells: &[u32; SIDE]) -> [u32; SIDE] {
    let across = cells.map(|r| r | r << 1 | r >> 1);
    std::array::from_fn(|y| across[y] | if y > 0 { across[y - 1] } else { 0 } | if y + 1 < SIDE { across[y + 1] } else { 0 })
}

/// Every cell with the four beside, above and below it.
fn cross(cells: &[u32; SIDE]) -> [u32; SIDE] {
    let row = |y: usize| cells.get(y).copied().unwrap_or(0);
    std::array::from_fn(|y| cells[y] | cells[y] << 1 | cells[y] >> 1 | row(y.wrapping_sub(1)) | row(y + 1))
}

/// Grows `group` over all of `ground` that hangs together with it.
fn flood(group: &mut [u32; SIDE], ground: &[u32; SIDE]) {
    let grow = |group: &mut [u32; SIDE], y: usize, from: u32| {
        let mut row = (group[y] | from | from << 1 | from >> 1) & ground[y];
        loop {
            let next = (row | row << 1 | row >> 1) & ground[y];
            if next == row {
                break;
            }
            row = next;
        }
        std::mem::replace(&mut group[y], row) != row
    };
    loop {
        let mut more = false;
        for y in 0..SIDE {
            let from = if y > 0 { group[y - 1] } else { 0 };
            more |= grow(group, y, from);
        }
        for y in (0..SIDE - 1).rev() {
            let from = group[y + 1];
            more |= grow(group, y, from);
        }
        if !more {
            return;
        }
    }
}

/// Intersection over union.
pub fn overlap(a: &Region, b: &Region) -> f32 {
    let side = |a: f32, aw: f32, b: f32, bw: f32| ((a + aw).min(b + bw) - a.max(b)).max(0.0);
    let both = side(a.x, a.w, b.x, b.w) * side(a.y, a.h, b.y, b.h);
    both / (a.w * a.h + b.w * b.h - both).max(f32::MIN_POSITIVE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(channels: &str, side: usize) -> Input {
        toml::from_str(&format!("width = {side}\nheight = {side}\nchannels = {channels}\nfeatures = 4")).unwrap()
    }

    /// Noise of a level or two, the same every time.
    fn noise(at: usize, tick: usize) -> u8 {
        ((at.wrapping_mul(2_654_435_761) ^ tick.wrapping_mul(40_503)) >> 7) as u8 % 3
    }

    /// A square of 12 pixels in a picture of 64 that moves two pixels a tick.
    fn play(place: &mut Place, ticks: std::ops::Range<usize>, left: impl Fn(usize) -> usize) -> Vec<Option<Region>> {
        ticks
            .map(|t| {
                let inside = |x: usize, y: usize| (left(t)..left(t) + 12).contains(&x) && (20..32).contains(&y);
                let level = |at: usize| if inside(at % 64, at / 64) { 180 } else { 90 };
                let plane: Vec<u8> = (0..64 * 64).map(|at| level(at) + noise(at, t)).collect();
                place.look(&plane);
                place.now()
            })
            .collect()
    }

    #[test]
    fn a_thing_without_texture_has_one_box_around_all_of_it() {
        let mut place = Place::new(&input("[\"gray\"]", 64));
        assert!(play(&mut place, 0..10, |_| 100).iter().all(Option::is_none), "nothing but noise");
        let boxes = play(&mut place, 10..30, |t| 2 * (t - 10));
        for (n, found) in boxes.iter().enumerate().skip(4) {
            let x = 2.0 * n as f32 / 64.0;
            let truth = Region { x, y: 20.0 / 64.0, w: 12.0 / 64.0, h: 12.0 / 64.0 };
            let same = found.map_or(0.0, |f| overlap(&f, &truth));
            assert!(same > 0.7, "tick {n}: {found:?}, {truth:?}: {same}");
        }
        // It stops: soon it is part of the picture.
        let after = play(&mut place, 30..50, |_| 38);
        assert!(after[12..].iter().all(Option::is_none), "{after:?}");
        place.reset();
        assert_eq!(place.now(), None);
    }

    #[test]
    fn the_heavier_of_two_things_is_the_box_and_a_change_of_light_is_none() {
        let mut place = Place::new(&input("[\"gray\"]", 32));
        let picture = |t: usize, light: u8| -> Vec<u8> {
            let thing = |at: usize, x: usize, y: usize, side: usize| {
                (x..x + side).contains(&(at % 32)) && (y..y + side).contains(&(at / 32))
            };
            let level = |at| if t > 3 && (thing(at, t % 20, 2, 3) || thing(at, t % 20, 16, 8)) { 200 } else { 60 };
            (0..32 * 32).map(|at| level(at) + light).collect()
        };
        (0..4).for_each(|t| place.look(&picture(t, 0)));
        (4..10).for_each(|t| place.look(&picture(t, 0)));
        let found = place.now().expect("two things move");
        assert!(found.y > 0.4 && found.h < 0.4, "{found:?}");
        place.reset();
        (0..4).for_each(|t| place.look(&picture(t, 0)));
        place.look(&picture(0, 40));
        assert_eq!(place.now(), None);
    }

    #[test]
    fn planes_of_change_or_flow_alone_will_do() {
        let mut change = Place::new(&input("[\"motion\"]", 64));
        let mut flow = Place::new(&input("[\"flow\"]", 64));
        let inside = |at: usize| (20..40).contains(&(at % 64)) && (10..20).contains(&(at / 64));
        let plane = |on: u8, off: u8| (0..64 * 64).map(move |at| if inside(at) { on } else { off });
        let truth = Region { x: 20.0 / 64.0, y: 10.0 / 64.0, w: 20.0 / 64.0, h: 10.0 / 64.0 };
        change.look(&plane(60, 1).chain(plane(90, 2)).collect::<Vec<_>>());
        flow.look(&plane(170, 128).chain(plane(128, 128)).collect::<Vec<_>>());
        assert_eq!((change.now(), flow.now()), (Some(truth), Some(truth)));
        // Sizes that are no multiple of the cells.
        for side in [1, 7, 33, 224] {
            let mut place = Place::new(&input("[\"rgb\"]", side));
            (0..5).for_each(|t| place.look(&vec![100 + t; 3 * side * side]));
            assert_eq!(place.now(), None);
        }
    }
}
