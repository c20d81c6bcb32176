//! Where something moves, by what stands still: the box of bundles whose encoder has no map.
//!
//! The picture is looked at in at most 64x64 cells. Where the encoder's input has a grey (or coloured) plane, a background is kept: a
//! cell that shows what it showed follows slowly, one that does not hardly at all, until it has stood still for a second - then
//! something has come to stay, or has left a place bare. A cell is on when it differs from the background by more than the picture's own
//! noise and by more than it usually differs: leaves and people on the spot are part of a place. It counts where it changed since the last
//! tick or lies beside one that did. A difference of two ticks alone would show the thing where it is and where it was, and only the edges
//! of one without texture. Where there are planes of change or flow alone, they stand for the difference from the background.
//!
//! Cells that hang together are a group (`groups.rs`), groups that go on from tick to tick a track (`tracks.rs`); the track that
//! weighs most, and more if it gets somewhere, is the box.
//!
//! No allocation, and the same on every machine: whole numbers up to the groups, f32 one at a time behind them.

use super::groups::{self, Groups};
use super::tracks::Tracks;
use crate::bundle::{Channel, Input};
use crate::shaper::Region;

/// Cells a side: a row of them is one machine word, so that neighbours are found with shifts.
pub(super) const SIDE: usize = 64;
/// Levels are kept in this many parts.
const ONE: i16 = 32;
/// Least difference from the background, levels: what a camera's own flicker stays below.
const FLOOR: i16 = 6 * ONE;
/// Least change since the last tick, levels.
const CHANGE: i16 = 4 * ONE;
/// Ticks after which what stands still is background.
const STILL: i16 = 10;
/// The background learns a row, and the noise is looked at, once in so many ticks: neither is in a hurry, and both cost.
const TURNS: usize = 4;
/// Cells that are asked for a median: it is off by a tenth of what cells scatter, and costs a sixteenth of asking all.
const SAMPLE: usize = 256;

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

/// A bit a cell.
pub(super) type Bits = [u64; SIDE];

/// What is known of the cells of a tick.
pub(super) struct Masks {
    /// Other than the background.
    pub on: Bits,
    /// Other than a tick ago.
    pub changed: Bits,
    /// On, and changed or beside one that did: what a box is drawn around.
    pub counts: Bits,
}

/// A number a cell, row by row.
pub(super) type Plane = [[i16; SIDE]; SIDE];

/// See the module's documentation. Of the planes `cells` are in use.
#[derive(Debug)]
pub struct Ground {
    from: Basis,
    size: (usize, usize),
    cells: (usize, usize),
    now: Box<Plane>,
    before: Box<Plane>,
    background: Box<Plane>,
    /// Difference from the background, and change since the last tick.
    apart: Box<Plane>,
    change: Box<Plane>,
    /// How far a cell usually is from the background.
    flicker: Box<Plane>,
    still: Box<Plane>,
    known: bool,
    /// The picture's noise, a standard deviation.
    noise: i16,
    /// How much lighter than the background all of it is.
    light: i16,
    /// Which of the rows the background learns now.
    turn: usize,
    tracks: Tracks,
}

impl Ground {
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
        let plane = || Box::new([[0; SIDE]; SIDE]);
        Self {
            from,
            size: (input.width, input.height),
            cells: (input.width.min(SIDE), input.height.min(SIDE)),
            now: plane(),
            before: plane(),
            background: plane(),
            apart: plane(),
            change: plane(),
            flicker: plane(),
            still: plane(),
            known: false,
            noise: ONE,
            light: 0,
            turn: 0,
            tracks: Tracks::default(),
        }
    }

    /// The box now, in fractions of the encoder's picture; `None` while nothing moves.
    pub fn now(&self) -> Option<Region> {
        let (wide, high) = (self.cells.0 as f32, self.cells.1 as f32);
        let [left, top, right, low] = self.tracks.lead()?;
        let (x, y) = ((left / wide).clamp(0.0, 1.0), (top / high).clamp(0.0, 1.0));
        let (w, h) = ((right / wide).min(1.0) - x, (low / high).min(1.0) - y);
        (w > 0.0 && h > 0.0).then_some(Region { x, y, w, h })
    }

    /// Forgets everything (after a gap).
    pub fn reset(&mut self) {
        self.known = false;
        self.tracks = Tracks::default();
    }

    /// A tick's planes `[P, H, W]`.
    pub fn look(&mut self, planes: &[u8]) {
        self.turn = (self.turn + 1) % TURNS;
        self.measure(planes);
        let masks = self.masks();
        let groups = Groups::find(&masks, &self.apart, self.limit());
        self.tracks.follow(groups.heaviest(), |group| groups::fine(group.edges, &masks.counts, &self.apart));
        if matches!(self.from, Basis::Levels(_)) {
            self.learn();
        }
    }

    /// Difference and change of every cell.
    fn measure(&mut self, planes: &[u8]) {
        let pixels = self.size.0 * self.size.1;
        let (plane, high) = (|at: usize| &planes[at..at + pixels], self.cells.1);
        match self.from {
            Basis::Levels(at) => {
                std::mem::swap(&mut self.now, &mut self.before);
                average(plane(at), self.size, self.cells, &mut self.now);
                if !std::mem::replace(&mut self.known, true) {
                    self.before.clone_from(&self.now);
                    self.background.clone_from(&self.now);
                    self.flicker.fill([0; SIDE]);
                    self.still.fill([0; SIDE]);
                    (self.noise, self.light) = (ONE, 0);
                }
                // A camera that opens its iris makes all of it lighter: that is not the thing. An eighth of it was learnt since the last tick.
                let light = median(self.cells, |x, y| self.now[y][x] - self.background[y][x]);
                let since = light - (self.light - self.light / 8);
                self.light = light;
                for y in 0..high {
                    let (d, c) = (&mut self.apart[y], &mut self.change[y]);
                    sizes(d, c, [&self.now[y], &self.before[y], &self.background[y]], (light, since));
                }
            }
            Basis::Change(at) => {
                average(plane(at), self.size, self.cells, &mut self.change);
                average(plane(at + pixels), self.size, self.cells, &mut self.apart);
            }
            Basis::Flow(at) => {
                average(plane(at), self.size, self.cells, &mut self.now);
                average(plane(at + pixels), self.size, self.cells, &mut self.before);
                for y in 0..high {
                    let (d, u, v) = (&mut self.apart[y], &self.now[y], &self.before[y]);
                    (0..SIDE).for_each(|x| d[x] = (u[x] - 128 * ONE).abs() + (v[x] - 128 * ONE).abs());
                }
                self.change.clone_from(&self.apart);
            }
        }
        // 1.5 median deviations are a standard deviation; followed slowly, so that one large thing does not raise it.
        if self.turn == 0 {
            // More than twenty levels are no noise.
            let typical = median(self.cells, |x, y| self.apart[y][x]).min(20 * ONE);
            self.noise += (typical + typical / 2 - self.noise) / 2;
        }
    }

    /// Least difference from the background, where nothing flickers.
    fn limit(&self) -> i16 {
        FLOOR.max(4 * self.noise)
    }

    /// Which cells are on, changed, and count.
    fn masks(&mut self) -> Masks {
        let (limit, least) = (self.limit(), CHANGE.max(3 * self.noise));
        let (mut on, mut changed) = ([0; SIDE], [0; SIDE]);
        let (wide, high) = self.cells;
        let used = u64::MAX >> (SIDE - wide);
        for y in 0..high {
            let (apart, change, flicker) = (&self.apart[y], &self.change[y], &self.flicker[y]);
            let (a, c) = flags(apart, change, flicker, (limit, least));
            (on[y], changed[y]) = (word(&a) & used, word(&c) & used);
            rest(&mut self.still[y], change, least);
        }
        // What was left bare earlier is not the thing, though the background has not learnt it yet; what is being left bare now is beside the
        // thing, and the only sign of the end of one without texture.
        let mut counts = cross(&changed);
        counts.iter_mut().zip(&on).for_each(|(c, on)| *c &= on);
        Masks { on, changed, counts }
    }

    /// The background follows: quickly where nothing is, hardly where something is, at once where it has come to stay. What is usual follows
    /// where nothing is.
    fn learn(&mut self) {
        let (limit, light) = (self.limit(), self.light);
        for y in (self.turn..self.cells.1).step_by(TURNS) {
            let (now, apart, still) = (&self.now[y], &self.apart[y], &self.still[y]);
            settle(&mut self.background[y], &mut self.flicker[y], now, apart, still, (limit, light));
        }
    }
}

/// A row of cells.
type Row = [i16; SIDE];

// The loops below stand in functions of their own, never inlined: only of arguments does the compiler know that they lie apart, and makes eight cells of one.

/// Which cells of a row are on, and which changed: 1 or 0.
#[inline(never)]
fn flags(apart: &Row, change: &Row, flicker: &Row, (limit, least): (i16, i16)) -> ([u8; SIDE], [u8; SIDE]) {
    let (mut on, mut changed) = ([0; SIDE], [0; SIDE]);
    for x in 0..SIDE {
        // Twice what is usual here.
        let limit = limit.max(2 * flicker[x]);
        on[x] = u8::from(apart[x] > limit);
        changed[x] = u8::from(change[x] > least.max(limit >> 1));
    }
    (on, changed)
}

/// Ticks since a cell changed.
#[inline(never)]
fn rest(still: &mut Row, change: &Row, least: i16) {
    for x in 0..SIDE {
        still[x] = if change[x] > least { 0 } else { (still[x] + 1).min(STILL + 1) };
    }
}

/// A row of the background, and of what is usual there, after a tick.
#[inline(never)]
fn settle(background: &mut Row, flicker: &mut Row, now: &Row, apart: &Row, still: &Row, (limit, light): (i16, i16)) {
    let all = light / 2;
    for x in 0..SIDE {
        let way = now[x] - background[x] - light;
        let quiet = apart[x] <= limit.max(2 * flicker[x]);
        let there = if still[x] > STILL { way } else { way >> 5 };
        background[x] = (background[x] + all + if quiet { way >> 1 } else { there }).clamp(0, 255 * ONE);
        let more = (apart[x] - flicker[x]) >> 2;
        flicker[x] += if quiet { more } else { more.min(0) };
    }
}

/// How far a row is from the background, and what changed in a tick, without a change of light.
#[inline(never)]
fn sizes(d: &mut Row, c: &mut Row, [now, before, background]: [&Row; 3], (light, since): (i16, i16)) {
    for x in 0..SIDE {
        d[x] = (now[x] - background[x] - light).abs();
        c[x] = (now[x] - before[x] - since).abs();
    }
}

/// Mean levels of the cells, in [`ONE`]s.
fn average(plane: &[u8], (width, height): (usize, usize), (wide, high): (usize, usize), out: &mut Plane) {
    if (width, height) == (wide, high) {
        for (row, out) in plane.chunks_exact(width).zip(out) {
            out.iter_mut().zip(row).for_each(|(o, v)| *o = i16::from(*v) * ONE);
        }
        return;
    }
    for (r, out) in out.iter_mut().take(high).enumerate() {
        let rows = r * height / high..(r + 1) * height / high;
        for (c, o) in out.iter_mut().take(wide).enumerate() {
            let columns = c * width / wide..(c + 1) * width / wide;
            let sum: u64 = rows.clone().flat_map(|y| &plane[y * width..][columns.clone()]).map(|p| u64::from(*p)).sum();
            // At most 255 of them.
            *o = (sum * ONE as u64 / (rows.len() * columns.len()) as u64) as i16;
        }
    }
}

/// The middle value, of [`SAMPLE`] cells at most, by bisection: see `shaper::flow`, whose median this is.
fn median((wide, high): (usize, usize), value: impl Fn(usize, usize) -> i16) -> i16 {
    let mut some = [i16::MAX; SAMPLE];
    let step = (wide * high).div_ceil(SAMPLE).next_power_of_two();
    let mut n = 0;
    for y in 0..high {
        // Other columns in every row.
        for x in (y * 3 % step..wide).step_by(step) {
            if n < SAMPLE {
                some[n] = value(x, y);
                n += 1;
            }
        }
    }
    let (mut low, mut high) = (-256 * i32::from(ONE), 511 * i32::from(ONE));
    while low < high {
        let middle = (low + high).div_euclid(2);
        let limit = middle as i16;
        let count = some.iter().fold(0i16, |all, v| all + i16::from(*v <= limit));
        if count as usize > n / 2 { high = middle } else { low = middle + 1 }
    }
    low as i16
}

/// A bit for each of 64 bytes that are 0 or 1: a product moves eight of them into its topmost byte.
fn word(flags: &[u8; SIDE]) -> u64 {
    flags.chunks_exact(8).rev().fold(0, |all, eight| {
        let eight = u64::from_le_bytes(std::array::from_fn(|n| eight[n]));
        all << 8 | eight.wrapping_mul(0x0102_0408_1020_4080) >> 56
    })
}

/// Every cell with the four beside, above and below it.
fn cross(cells: &Bits) -> Bits {
    let row = |y: usize| cells.get(y).copied().unwrap_or(0);
    std::array::from_fn(|y| cells[y] | cells[y] << 1 | cells[y] >> 1 | row(y.wrapping_sub(1)) | row(y + 1))
}

#[cfg(test)]
mod tests {
    use super::super::overlap;
    use super::*;

    fn input(channels: &str, side: usize) -> Input {
        toml::from_str(&format!("width = {side}\nheight = {side}\nchannels = {channels}\nfeatures = 4")).unwrap()
    }

    /// Noise of a level or two, the same every time.
    fn noise(at: usize, tick: usize) -> u8 {
        ((at.wrapping_mul(2_654_435_761) ^ tick.wrapping_mul(40_503)) >> 7) as u8 % 3
    }

    /// A square of 12 pixels in a picture of 64 that moves two pixels a tick.
    fn play(place: &mut Ground, ticks: std::ops::Range<usize>, left: impl Fn(usize) -> usize) -> Vec<Option<Region>> {
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
        let mut place = Ground::new(&input("[\"gray\"]", 64));
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
        let mut place = Ground::new(&input("[\"gray\"]", 32));
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
        let mut change = Ground::new(&input("[\"motion\"]", 64));
        let mut flow = Ground::new(&input("[\"flow\"]", 64));
        let inside = |at: usize| (20..40).contains(&(at % 64)) && (10..20).contains(&(at / 64));
        let plane = |on: u8, off: u8| (0..64 * 64).map(move |at| if inside(at) { on } else { off });
        let truth = Region { x: 20.0 / 64.0, y: 10.0 / 64.0, w: 20.0 / 64.0, h: 10.0 / 64.0 };
        change.look(&plane(60, 1).chain(plane(90, 2)).collect::<Vec<_>>());
        flow.look(&plane(170, 128).chain(plane(128, 128)).collect::<Vec<_>>());
        assert_eq!((change.now(), flow.now()), (Some(truth), Some(truth)));
        // Pictures that no camera gives: black, white and chequered by turns, where sums must not overflow.
        let mut place = Ground::new(&input("[\"gray\"]", 64));
        for t in 0..200usize {
            let level = |at: usize| match (t * 7 / 3) % 5 {
                0 => 0,
                1 => 255,
                2 => 255 * (at / 64 % 2) as u8,
                3 => 255 * u8::from(at % 64 < 30),
                _ => (at.wrapping_mul(2_654_435_761) ^ (t * 977)) as u8,
            };
            place.look(&(0..64 * 64).map(level).collect::<Vec<_>>());
            assert!(
                place.now().is_none_or(|r| r.x >= 0.0 && r.y >= 0.0 && r.x + r.w <= 1.0001 && r.y + r.h <= 1.0001),
                "{:?}",
                place.now()
            );
        }
        // Sizes that are no multiple of the cells.
        for side in [1, 7, 33, 224] {
            let mut place = Ground::new(&input("[\"rgb\"]", side));
            (0..5).for_each(|t| place.look(&vec![100 + t; 3 * side * side]));
            assert_eq!(place.now(), None);
        }
    }
}
