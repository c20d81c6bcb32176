//! Recordings in ticks with a class for each tick, split by group, and windows drawn from them at random.
//!
//! A window is what the device's ring holds at a tick: that tick and the ones before it; before the first one the world stood still. Where a
//! recording is drawn it is also varied, as far as the classes allow: turned, moved by a few pixels, brighter or darker, with noise.

use super::list::{Listing, Recording, Side, Span};
use super::tiny::{self, PATCH, value};
use crate::bundle::Input;
use crate::rng::Rng;
use crate::ticks::{Data, Ticks, Turn};
use candle_core::{Device, Result, Tensor};
use std::collections::BTreeMap;

/// Pixels that a picture is moved at most.
const SHIFT: i32 = 3;
/// Windows of an epoch at least: fewer would be a step or two, and a checkpoint after each.
const EPOCH: usize = 128;
/// Contrast is varied by at most this factor.
const CONTRAST: f32 = 1.3;

/// One recording.
#[derive(Debug)]
pub struct Sequence {
    /// As the user knows it.
    pub source: String,
    /// What it must not be parted from.
    pub group: String,
    /// What it is judged as, for a clip that shows one thing.
    pub whole: Option<usize>,
    /// Where a given split puts it.
    pub side: Option<Side>,
    /// Its numbers.
    pub ticks: Ticks,
    /// The same turned, where features are given: for each of [`Set::turns`] but the first.
    pub turned: Vec<Ticks>,
    /// The same as an encoder gives them that does not round activations to bytes, where that is to be compared.
    pub float: Option<Ticks>,
    /// What every tick shows.
    pub classes: Vec<Option<usize>>,
}

/// Everything to learn from.
#[derive(Debug)]
pub struct Set {
    /// Class names.
    pub labels: Vec<String>,
    /// The class that means nothing is going on.
    pub background: Option<usize>,
    /// All recordings.
    pub sequences: Vec<Sequence>,
    /// Are these stretches of long recordings?
    pub stretches: bool,
    /// Ticks of a window.
    pub window: usize,
    /// How pictures may be turned; the first is not at all.
    pub turns: Vec<Turn>,
    /// Which class a mirror makes of each.
    pub mirror: Vec<usize>,
    /// The planes, where an encoder is to learn.
    pub planes: Option<(Input, tiny::Plan)>,
    /// Mean and deviation of every number of a tick, over all: what the net sees has mean 0 and deviation 1, or less for the stillest of an encoder's. Only
    /// for features and rows. Over all means over what is judged, too (never over its classes): it is measured once, not for every part.
    pub scale: (Vec<f32>, Vec<f32>),
}

/// What a training draws: windows and what they show.
#[derive(Debug)]
pub struct Batch {
    /// `[B, window, width]` for features; `[B * window * patches, 16 * planes]` for planes.
    pub x: Tensor,
    /// Class of the last ticks, tick by tick, `[K * B]`.
    pub classes: Tensor,
    /// What each counts, `[K * B]`.
    pub weights: Tensor,
}

/// A window: recording, last tick, which of [`Set::turns`].
pub type Place = (usize, usize, usize);

impl Set {
    /// Does a given split say what is learnt from and what is judged?
    pub fn is_split(&self) -> bool {
        self.sequences.iter().any(|s| s.side.is_some())
    }

    /// Puts recordings and their ticks together. `delay_ms`: what a tick is asked for is what was seen so long ago.
    pub fn new(
        listing: &Listing,
        ticks: Vec<(Recording, Ticks, Vec<Ticks>)>,
        tick_ms: u32,
        window: usize,
        delay_ms: u64,
    ) -> Self {
        let sequence = |(r, ticks, turned): (Recording, Ticks, Vec<Ticks>)| {
            let classes = classes(&r, ticks.len(), tick_ms, delay_ms);
            Sequence { whole: r.whole(), source: r.source, group: r.group, side: r.side, ticks, turned, float: None, classes }
        };
        let sequences = ticks.into_iter().map(sequence).collect();
        let (labels, background) = (listing.labels.clone(), listing.background);
        let mut set = Self {
            labels,
            background,
            sequences,
            stretches: listing.stretches,
            window,
            turns: vec![Turn::default()],
            mirror: (0..listing.labels.len()).collect(),
            planes: None,
            scale: Default::default(),
        };
        set.scale = set.measure(0, 0);
        set
    }

    /// The first `alike` numbers of a row are of one kind, as an encoder's are; the last ones are `extras` pairs of a value and its mark.
    pub fn alike(mut self, alike: usize, extras: usize) -> Self {
        self.scale = self.measure(alike, extras);
        self
    }

    fn measure(&self, alike: usize, extras: usize) -> (Vec<f32>, Vec<f32>) {
        let (mut mean, mut deviation) = Ticks::spread(self.sequences.iter().map(|s| &s.ticks));
        let alike = alike.min(mean.len());
        let (first, others) = deviation.split_at_mut(alike);
        // Of those that are of one kind, one that hardly ever moves must not become the loudest.
        let least = (0.1 * first.iter().sum::<f32>() / first.len().max(1) as f32).max(1e-6);
        first.iter_mut().for_each(|d| *d = d.max(least));
        let still = |(d, m): &(&mut f32, &f32)| Ticks::is_still(**m, **d);
        others.iter_mut().zip(&mean[alike..]).filter(still).for_each(|(d, _)| *d = 1.0);
        // A mark is 0 or 1 as it is: one that was hardly ever 0 must not be the loudest when a sensor falls silent.
        mean.iter_mut().rev().step_by(2).take(extras).for_each(|m| *m = 0.0);
        deviation.iter_mut().rev().step_by(2).take(extras).for_each(|d| *d = 1.0);
        (mean, deviation)
    }

    /// Is every recording a group of its own, so that nobody has said which belong together?
    pub fn has_no_groups(&self) -> bool {
        self.sequences.iter().all(|s| s.group == s.source)
    }

    /// Parts the recordings into `k` sides of about the same size and mix, no group on two of them. Gives the side of each.
    pub fn folds(&self, k: usize, seed: u64) -> Vec<usize> {
        let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        self.sequences.iter().enumerate().for_each(|(n, s)| groups.entry(&s.group).or_default().push(n));
        let mut groups: Vec<Vec<usize>> = groups.into_values().collect();
        Rng(seed).shuffle(&mut groups);
        // Large groups first: the small ones even out what they leave.
        groups.sort_by_key(|g| std::cmp::Reverse(g.len()));
        let mass = |n: usize| {
            let s = &self.sequences[n];
            let mut mass = vec![0.0f32; self.labels.len()];
            match s.whole {
                Some(class) => mass[class] += 1.0,
                None => s.classes.iter().flatten().for_each(|c| mass[*c] += 1.0),
            }
            mass
        };
        let mut all = vec![1e-6f32; self.labels.len()];
        (0..self.sequences.len()).for_each(|n| all.iter_mut().zip(mass(n)).for_each(|(a, m)| *a += m));
        let mut sides = vec![vec![0.0f32; self.labels.len()]; k];
        let mut of = vec![usize::MAX; self.sequences.len()];
        // None stays empty where there are groups enough.
        let empty = |of: &[usize]| (0..k).filter(|side| !of.contains(side)).count();
        let count = groups.len();
        for (n, group) in groups.into_iter().enumerate() {
            let left = count - n;
            let mut shares = vec![0.0f32; self.labels.len()];
            for n in &group {
                shares.iter_mut().zip(mass(*n)).zip(&all).for_each(|((s, m), a)| *s += m / a);
            }
            // Where it makes the classes' shares least uneven: the sum of squares grows least.
            let cost =
                |side: &Vec<f32>| side.iter().zip(&shares).map(|(have, more)| (have + more).powi(2) - have.powi(2)).sum::<f32>();
            let best = (0..k).filter(|side| left > empty(&of) || !of.contains(side));
            let best = best.min_by(|a, b| cost(&sides[*a]).total_cmp(&cost(&sides[*b]))).unwrap_or(0);
            sides[best].iter_mut().zip(&shares).for_each(|(have, more)| *have += more);
            group.iter().for_each(|n| of[*n] = best);
        }
        of
    }

    /// What each class counts, so that rare ones are learnt too: how much rarer than even it is over these recordings, to the power of `how` (0: all the
    /// same; 1: as if all were as frequent).
    pub fn balance(&self, of: &[usize], how: f32) -> Vec<f32> {
        let mut counts = vec![0.0f32; self.labels.len()];
        of.iter().flat_map(|n| self.sequences[*n].classes.iter().flatten()).for_each(|c| counts[*c] += 1.0);
        let even = counts.iter().sum::<f32>() / counts.len() as f32;
        counts.iter().map(|c| if *c > 0.0 { (even / c).powf(how).min(10.0) } else { 0.0 }).collect()
    }

    /// The windows of one epoch over these recordings: of a clip one, of a long recording one for every half window, and as many times that as
    /// make 128.
    pub fn draw(&self, of: &[usize], rng: &mut Rng) -> Vec<Place> {
        let half = self.window.div_ceil(2);
        let draws = |n: usize| {
            let s = &self.sequences[n];
            if s.whole.is_some() { 1.max(s.ticks.len() / (4 * self.window)) } else { s.ticks.len().div_ceil(half) }
        };
        let times = EPOCH.div_ceil(of.iter().map(|n| draws(*n)).sum::<usize>().max(1));
        let mut places = Vec::new();
        for &n in of {
            let len = self.sequences[n].ticks.len();
            let draws = draws(n) * times;
            for _ in 0..draws {
                // Early ticks of a clip have hardly seen anything yet.
                let first = half.min(len) - 1;
                let end = first + rng.below(len - first);
                places.push((n, end, if self.turns.len() > 1 { rng.below(self.turns.len()) } else { 0 }));
            }
        }
        rng.shuffle(&mut places);
        places
    }

    /// The windows at `places`. The last `last` ticks of each are asked for. `rng`: vary them.
    ///
    /// # Errors
    /// None in practice.
    pub fn batch(&self, places: &[Place], last: usize, balance: &[f32], mut rng: Option<&mut Rng>) -> Result<Batch> {
        let (mut classes, mut weights) = (vec![0u32; last * places.len()], vec![0.0f32; last * places.len()]);
        for (b, (n, end, turn)) in places.iter().enumerate() {
            for k in 0..last {
                let tick = (end + 1 + k).checked_sub(last);
                if let Some(class) = tick.and_then(|t| self.sequences[*n].classes[t]) {
                    let class = if self.turns[*turn].mirror { self.mirror[class] } else { class };
                    classes[k * places.len() + b] = class as u32;
                    weights[k * places.len() + b] = balance.get(class).copied().unwrap_or(1.0);
                }
            }
        }
        let x = match &self.planes {
            Some((input, plan)) => {
                let mut patches = Vec::new();
                for place in places {
                    self.patches(*place, self.window, input, plan, rng.as_deref_mut(), &mut patches);
                }
                let depth = PATCH * PATCH * plan.planes;
                Tensor::from_vec(patches, ((), depth), &Device::Cpu)?
            }
            None => {
                let mut rows = Vec::new();
                places.iter().for_each(|place| self.rows(*place, self.window, rng.as_deref_mut(), &mut rows));
                Tensor::from_vec(rows, (places.len(), self.window, ()), &Device::Cpu)?
            }
        };
        let n = classes.len();
        Ok(Batch {
            x,
            classes: Tensor::from_vec(classes, (n, 1), &Device::Cpu)?,
            weights: Tensor::from_vec(weights, n, &Device::Cpu)?,
        })
    }

    /// Single ticks, unvaried: `[N, width]` scaled rows, or patches as [`Set::batch`] has them.
    ///
    /// # Errors
    /// None in practice.
    pub fn ticks(&self, places: &[Place]) -> Result<Tensor> {
        let mut out = Vec::new();
        match &self.planes {
            Some((input, plan)) => {
                places.iter().for_each(|p| self.patches(*p, 1, input, plan, None, &mut out));
                Tensor::from_vec(out, ((), PATCH * PATCH * plan.planes), &Device::Cpu)
            }
            None => {
                places.iter().for_each(|p| self.rows(*p, 1, None, &mut out));
                Tensor::from_vec(out, (places.len(), ()), &Device::Cpu)
            }
        }
    }

    /// All rows of a recording, scaled, `[ticks, width]`: of the encoder in float where they are there, else the device's.
    ///
    /// # Errors
    /// None in practice.
    pub fn float(&self, n: usize) -> Result<Tensor> {
        let s = &self.sequences[n];
        let ticks = s.float.as_ref().unwrap_or(&s.ticks);
        let mut rows = Vec::new();
        if let Data::Numbers(numbers) = &ticks.data {
            numbers.chunks_exact(ticks.width.max(1)).for_each(|row| rows.extend(self.scaled(row)));
        }
        Tensor::from_vec(rows, (ticks.len(), ticks.width), &Device::Cpu)
    }

    /// A row with mean 0 and deviation 1 over the whole set.
    fn scaled<'a>(&'a self, row: &'a [f32]) -> impl Iterator<Item = f32> + 'a {
        row.iter().zip(&self.scale.0).zip(&self.scale.1).map(|((v, m), d)| (v - m) / d)
    }

    /// Scaled rows of a window of features, with noise when varied.
    fn rows(&self, (n, end, turn): Place, window: usize, mut rng: Option<&mut Rng>, out: &mut Vec<f32>) {
        let s = &self.sequences[n];
        let ticks = turn.checked_sub(1).and_then(|t| s.turned.get(t)).unwrap_or(&s.ticks);
        let Data::Numbers(numbers) = &ticks.data else { return };
        for t in window_of(end, window) {
            let row = &numbers[t * ticks.width..][..ticks.width];
            let scaled = self.scaled(row);
            match rng.as_deref_mut() {
                Some(rng) => out.extend(scaled.map(|v| v + 0.1 * (rng.unit() + rng.unit() - 1.0))),
                None => out.extend(scaled),
            }
        }
    }

    /// Patches of a window of pictures: `[window * h * w, 4 * 4 * planes]`.
    fn patches(
        &self,
        (n, end, turn): Place,
        window: usize,
        input: &Input,
        plan: &tiny::Plan,
        rng: Option<&mut Rng>,
        out: &mut Vec<f32>,
    ) {
        let s = &self.sequences[n];
        let Data::Levels(levels) = &s.ticks.data else { return };
        let (mut dx, mut dy, mut gain) = (0, 0, 1.0f32);
        if let Some(rng) = rng {
            let mut shift = || rng.below(2 * SHIFT as usize + 1) as i32 - SHIFT;
            (dx, dy) = (shift(), shift());
            gain = CONTRAST.powf(rng.within(-1.0, 1.0));
        }
        let mut table = [0.0f32; 256];
        // What stands for nothing stays where it is: no change 0, no motion 128.
        let (h, w, planes) = (plan.height, plan.width, plan.planes);
        let rests: Vec<f32> = rests(input);
        let tables: Vec<[f32; 256]> = rests
            .iter()
            .map(|rest| {
                table
                    .iter_mut()
                    .enumerate()
                    .for_each(|(l, v)| *v = value(0) + (rest + (l as f32 - rest) * gain).clamp(0.0, 255.0) / 64.0);
                table
            })
            .collect();
        let (rows, columns) = (h / PATCH, w / PATCH);
        for t in window_of(end, window) {
            let tick = &levels[t * s.ticks.width..][..s.ticks.width];
            let tick = if turn > 0 { &self.turns[turn].of(tick, input) } else { tick };
            let base = out.len();
            let depth = PATCH * PATCH * planes;
            out.resize(base + rows * columns * depth, 0.0);
            for (p, table) in tables.iter().enumerate() {
                let plane = &tick[p * h * w..][..h * w];
                for y in 0..rows * PATCH {
                    let line = &plane[(y as i32 + dy).clamp(0, h as i32 - 1) as usize * w..][..w];
                    let (py, ky) = (y / PATCH, y % PATCH);
                    for x in 0..columns * PATCH {
                        let level = line[(x as i32 + dx).clamp(0, w as i32 - 1) as usize];
                        out[base + (py * columns + x / PATCH) * depth + (ky * PATCH + x % PATCH) * planes + p] =
                            table[usize::from(level)];
                    }
                }
            }
        }
    }
}

/// What each of so many ticks of a recording shows; of a long one, `delay_ms` before it.
pub fn classes(r: &Recording, ticks: usize, tick_ms: u32, delay_ms: u64) -> Vec<Option<usize>> {
    let class = |t: usize| {
        let at = (t as u64 * u64::from(tick_ms)).checked_sub(if r.whole().is_some() { 0 } else { delay_ms })?;
        r.spans.iter().find(|s| (s.start_ms..s.end_ms).contains(&at)).and_then(|s| s.label)
    };
    (0..ticks).map(class).collect()
}

/// Does any of so many ticks fall into a stretch? Ticks and delay as in [`classes`].
pub fn shows_a_tick(s: &Span, ticks: usize, tick_ms: u32, delay_ms: u64) -> bool {
    let first = s.start_ms.saturating_add(delay_ms).div_ceil(tick_ms.into());
    first < ticks as u64 && first * u64::from(tick_ms) < s.end_ms.saturating_add(delay_ms)
}

/// The ticks of a window, the first one repeated before the recording's beginning.
pub(super) fn window_of(end: usize, window: usize) -> impl Iterator<Item = usize> {
    (0..window).map(move |j| (end + 1 + j).saturating_sub(window))
}

/// The level of every plane that stands for nothing: grey and colour have none, their middle is as good.
fn rests(input: &Input) -> Vec<f32> {
    use crate::bundle::Channel;
    let rest = |c: &Channel| vec![if *c == Channel::Motion { 0.0 } else { 128.0 }; c.planes()];
    input.channels.iter().flat_map(rest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(groups: &[(&str, usize)]) -> Set {
        let listing = Listing { labels: vec!["a".into(), "b".into()], background: None, recordings: vec![], stretches: false };
        let one = |(n, (group, class)): (usize, &(&str, usize))| {
            let span = Span { start_ms: 0, end_ms: u64::MAX, label: Some(*class) };
            let r = Recording { source: format!("{n}"), group: group.to_string(), spans: vec![span], side: None };
            let ticks = Ticks { width: 2, data: Data::Numbers((0..10).map(|v| (v + n) as f32).collect()), size: [0; 2] };
            (r, ticks, vec![])
        };
        Set::new(&listing, groups.iter().enumerate().map(one).collect(), 100, 4, 0)
    }

    #[test]
    fn a_stretch_shows_a_tick_where_one_is_of_its_class() {
        for (start_ms, end_ms) in [(0, 50), (10, 90), (10, 110), (100, 101), (901, 2000), (900, 2000), (800, 801), (9000, 9500)] {
            for delay_ms in [0, 50, 100] {
                let span = Span { start_ms, end_ms, label: Some(0) };
                let shows = shows_a_tick(&span, 10, 100, delay_ms);
                let r = Recording { source: String::new(), group: String::new(), spans: vec![span], side: None };
                assert_eq!(shows, classes(&r, 10, 100, delay_ms).contains(&Some(0)), "{start_ms} to {end_ms}, {delay_ms} later");
            }
        }
    }

    #[test]
    fn no_group_is_on_two_sides_and_classes_are_spread() {
        let groups: Vec<(String, usize)> = (0..40).map(|n| (format!("g{}", n / 2), n / 20)).collect();
        let groups: Vec<(&str, usize)> = groups.iter().map(|(g, c)| (g.as_str(), *c)).collect();
        let set = set(&groups);
        let of = set.folds(5, 1);
        for n in (0..40).step_by(2) {
            assert_eq!(of[n], of[n + 1]);
        }
        for fold in 0..5 {
            let counts = [0, 1].map(|c| (0..40).filter(|n| of[*n] == fold && n / 20 == c).count());
            assert_eq!(counts, [4, 4], "fold {fold}");
        }
    }

    #[test]
    fn no_side_is_empty_where_there_are_groups_enough() {
        // Every group is of one class: a side of the other class costs as little as an empty one.
        let groups: Vec<(String, usize)> = (0..10).map(|n| (format!("g{n}"), n / 5)).collect();
        let groups: Vec<(&str, usize)> = groups.iter().map(|(g, c)| (g.as_str(), *c)).collect();
        for k in [2, 5, 9, 10] {
            let of = set(&groups).folds(k, 1);
            assert!((0..k).all(|side| of.contains(&side)), "{k} sides: {of:?}");
        }
    }

    #[test]
    fn numbers_of_other_units_keep_their_own_scale_and_those_of_one_kind_share_a_floor() {
        let mut set = set(&[("x", 0), ("y", 1)]);
        let row = |t: u32| [(t % 3) as f32 * 500.0, (t % 2) as f32 * 0.002, 7.0];
        for s in &mut set.sequences {
            s.ticks = Ticks { width: 3, data: Data::Numbers((0..60).flat_map(row).collect()), size: [0; 2] };
        }
        let near = |found: f32, wanted: f32| (found / wanted - 1.0).abs() < 0.01;
        let set = set.alike(0, 0);
        let [loud, faint, still] = set.scale.1[..] else { panic!("three") };
        assert!(near(loud, 408.2) && near(faint, 0.001) && still == 1.0, "{:?}", set.scale.1);
        let set = set.alike(2, 0);
        assert!(near(set.scale.1[1], 0.1 * 408.2 / 2.0), "{:?}", set.scale.1);
        let set = set.alike(1, 1);
        assert!(near(set.scale.1[1], 0.001) && (set.scale.0[2], set.scale.1[2]) == (0.0, 1.0), "{:?}", set.scale);
    }

    #[test]
    fn a_window_before_the_beginning_repeats_the_first_tick() {
        let set = set(&[("x", 0), ("y", 1)]);
        let batch = set.batch(&[(0, 1, 0), (1, 4, 0)], 2, &[1.0, 2.0], None).expect("a batch");
        let rows: Vec<Vec<Vec<f32>>> = batch.x.to_vec3().expect("numbers");
        assert!(rows[0][0] == rows[0][1] && rows[0][1] == rows[0][2] && rows[0][2] != rows[0][3]);
        assert_eq!(batch.weights.to_vec1::<f32>().expect("weights"), [1.0, 2.0, 1.0, 2.0]);
        assert_eq!(batch.x.dims(), [2, 4, 2]);
    }

    #[test]
    fn a_window_is_drawn_in_every_turn_and_is_that_of_the_turned_recording() {
        let input: Input =
            toml::from_str("width = 16\nheight = 16\nchannels = [\"gray\", \"flow\"]\nfeatures = 1").expect("an input");
        let quarter = Turn { mirror: false, quarters: 1 };
        let tick: Vec<u8> = (0..3 * 256u32).map(|n| (n * 37 % 251) as u8).collect();
        let levels = |one: &[u8]| Ticks { width: one.len(), data: Data::Levels(one.repeat(4)), size: [16; 2] };
        let mut set = set(&[("x", 0), ("y", 1)]);
        for (s, ticks) in set.sequences.iter_mut().zip([levels(&tick), levels(&quarter.of(&tick, &input))]) {
            s.ticks = ticks;
        }
        let plan = tiny::Plan { width: 16, height: 16, planes: 3, channels: 16, features: 1, pool: tiny::Pool::Whole };
        set.planes = Some((input, plan));
        set.turns.push(quarter);
        let patches = |place| set.ticks(&[place]).and_then(|t| t.to_vec2::<f32>()).expect("patches");
        assert!(patches((0, 1, 1)) == patches((1, 1, 0)) && patches((0, 1, 0)) != patches((1, 1, 0)));
        let drawn = set.draw(&[0, 1], &mut Rng(1));
        assert!([0, 1].iter().all(|turn| drawn.iter().filter(|p| p.2 == *turn).count() > drawn.len() / 4));
    }
}
