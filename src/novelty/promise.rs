//! The promise: at most so many false alarms, kept by counting, not by believing in a distribution.
//!
//! Split conformal prediction over block maxima (one block a minute unless told otherwise). The highest score of every block is kept, for the last
//! [`KEPT`] blocks; above the k-th largest of n, a block of the same kind falls with a probability of at most k / (n + 1). So the threshold is the k-th
//! largest for the largest k that keeps what was asked for, and what can be promised after n blocks is said: nothing before [`LEAST`], then one
//! in n + 1, then what was asked for. Ticks of one block resemble each other, so blocks are counted and not ticks.
//!
//! **An alarm does not teach itself.** Left out altogether, alarms would cut the top off what is kept again and again, and the threshold would sink
//! further with every one of them, far below the rate that was promised. Taken as they are, what happens twice would be normal. So of each alarm, however
//! long, its first block alone is kept, and as no more than a little above the highest block without an alarm (three times the mean excess of the top
//! ones): enough to keep the count true, too little to hide the same thing the next time, however often it comes. What is called out is counted: an alarm
//! that begins again a minute after the last is kept again. What is strange often hovers below the threshold before and after: the unusual blocks right
//! before an alarm and right behind it (those in the top fiftieth, once there are enough to say so) are kept, for the count, but belong to it: they do not
//! move what an alarm is kept as. A quarter of an hour of minutes on each side at most (`ABOUT`), so that weather that stays for hours raises the
//! threshold, and a place that has changed for good, by less than would alarm in every block, is followed.
//!
//! **Drift is followed** because old blocks leave, and said: when the middle of the last hour's blocks has left the middle half of all that are kept by
//! more than its width.

use crate::past;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Blocks that are kept: two days of minutes, 12 kB. One false alarm a day stands on its two largest.
pub const KEPT: usize = 2880;
/// Blocks before anything is promised: an alarm before would be wrong more than once in twenty blocks.
pub const LEAST: usize = 20;
/// Blocks whose middle is held against the others for drift.
const RECENT: usize = 60;
/// Blocks before it can be said of one that it is unusual: ten are in the top fiftieth then.
const TELLING: usize = 500;
/// Unusual blocks right before an alarm that belong to it, and as many behind it: a quarter of an hour of minutes. With an hour behind it
/// models/novelty/days.py (`--seed 2 --train --each`) came to 223 false alarms instead of 197.
const ABOUT: usize = 15;

/// What outlives a restart.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Blocks {
    /// Highest scores of blocks, oldest first.
    pub best: Vec<f32>,
    /// Which of them were alarms, or belong to one.
    #[serde(default)]
    pub alarms: Vec<usize>,
}

/// What is to be said of a tick.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// Scores above are alarms; infinite while nothing can be promised.
    pub threshold: f32,
    /// Is this one?
    pub alarm: bool,
    /// A block has ended with this tick.
    pub ended: bool,
}

/// See the module's documentation.
#[derive(Clone, Debug)]
pub struct Promise {
    /// Highest score, and was it an alarm? A ring of `KEPT` places, `len` of them filled, the oldest at `at` once full.
    best: Box<[(f32, bool)]>,
    len: usize,
    at: usize,
    /// The same, highest first.
    sorted: Box<[(f32, bool)]>,
    /// False alarms a block that are asked for at most.
    rate: f64,
    /// Ticks a block, and those left of this one.
    ticks: u32,
    left: u32,
    /// The highest score of this block; minus infinity before its first.
    highest: f32,
    threshold: f32,
    /// The most that an alarm is kept as.
    cap: f32,
    /// Blocks above are still unusual.
    unusual: f32,
    /// Unusual blocks that wait to be kept, oldest first: if an alarm comes next, they belong to it.
    waiting: heapless::Vec<f32, ABOUT>,
    /// An alarm in this block; in the one before.
    alarm: bool,
    alarmed: bool,
    /// The block before belongs to an alarm, or hovers behind one.
    going: bool,
    /// Blocks that have hovered since it began.
    hovered: usize,
    drift: bool,
}

impl Promise {
    /// At most `rate` false alarms a block of `ticks`, from blocks that are known already.
    pub fn new(rate: f64, ticks: u32, known: &Blocks) -> Self {
        let ticks = ticks.max(1);
        let mut promise = Self {
            best: vec![(0.0, false); KEPT].into(),
            len: 0,
            at: 0,
            sorted: vec![(0.0, false); KEPT].into(),
            rate,
            ticks,
            left: ticks,
            highest: f32::NEG_INFINITY,
            threshold: f32::INFINITY,
            cap: f32::INFINITY,
            unusual: f32::INFINITY,
            waiting: heapless::Vec::new(),
            alarm: false,
            alarmed: false,
            going: false,
            hovered: 0,
            drift: false,
        };
        let alarms: BTreeSet<usize> = known.alarms.iter().copied().collect();
        // Of more than are kept, the oldest would only be pushed out again.
        let surplus = known.best.len().saturating_sub(KEPT);
        for (n, best) in known.best.iter().enumerate().skip(surplus).filter(|(_, b)| b.is_finite()) {
            promise.keep((*best, alarms.contains(&n)));
        }
        promise.settle();
        promise
    }

    /// A tick's score. One that is not finite is no score: the block goes on without it.
    pub fn update(&mut self, score: f32) -> Verdict {
        let alarm = score > self.threshold && score.is_finite();
        if score.is_finite() {
            self.highest = self.highest.max(score);
        }
        self.alarm |= alarm;
        self.left -= 1;
        let verdict = Verdict { threshold: self.threshold, alarm, ended: self.left == 0 };
        if verdict.ended {
            self.end();
        }
        verdict
    }

    fn end(&mut self) {
        let (alarm, unusual) = (std::mem::take(&mut self.alarm), self.highest > self.unusual);
        if self.highest.is_finite() {
            self.count(alarm, unusual);
        }
        let hovers = self.going && unusual && !alarm;
        self.hovered = match (hovers, alarm && self.going) {
            (true, _) => ABOUT.min(self.hovered + 1),
            (_, true) => self.hovered,
            _ => 0,
        };
        self.going = alarm || hovers;
        self.alarmed = alarm;
        self.highest = f32::NEG_INFINITY;
        self.left = self.ticks;
    }

    /// Keeps the block that ends here, lets it wait, or leaves it out.
    fn count(&mut self, alarm: bool, unusual: bool) {
        match (alarm, self.going) {
            (true, _) if self.alarmed => return,
            (true, _) => {
                self.keep_waiting(true);
                self.keep((self.highest.min(self.cap), true));
            }
            (false, true) if unusual && self.hovered < ABOUT => self.keep((self.highest, true)),
            (false, false) if unusual => {
                if self.waiting.is_full() {
                    let oldest = self.waiting.remove(0);
                    self.keep((oldest, false));
                }
                // There is room now.
                let _ = self.waiting.push(self.highest);
            }
            (false, _) => {
                self.keep_waiting(false);
                self.keep((self.highest, false));
            }
        }
        self.settle();
    }

    fn keep_waiting(&mut self, alarm: bool) {
        for best in std::mem::take(&mut self.waiting) {
            self.keep((best, alarm));
        }
    }

    fn keep(&mut self, best: (f32, bool)) {
        let after = |b: &(f32, bool), v: &(f32, bool)| b.0.total_cmp(&v.0).then(b.1.cmp(&v.1)).is_gt();
        let place = |sorted: &[(f32, bool)], v: (f32, bool)| sorted.partition_point(|b| after(b, &v));
        if self.len == KEPT {
            // The oldest makes room.
            let from = place(&self.sorted, self.best[self.at]);
            self.sorted.copy_within(from + 1.., from);
            self.len -= 1;
        }
        let to = place(&self.sorted[..self.len], best);
        self.sorted.copy_within(to..self.len, to + 1);
        self.sorted[to] = best;
        self.best[self.at] = best;
        self.at = (self.at + 1) % KEPT;
        self.len += 1;
    }

    /// Threshold, cap and drift from what is kept.
    fn settle(&mut self) {
        if self.len < LEAST {
            return;
        }
        let sorted = &self.sorted[..self.len];
        self.threshold = sorted[rank(self.len, self.rate) - 1].0;
        // The top fiftieth of what was no alarm, ten at least: what lies above its lowest says how the tail falls.
        let count = (self.len / 50).max(10);
        let top = || sorted.iter().filter(|b| !b.1).take(count).map(|b| b.0);
        let (highest, lowest) = (top().next().unwrap_or(self.threshold), top().last().unwrap_or(self.threshold));
        let excess = top().map(|b| b - lowest).sum::<f32>() / count as f32;
        self.cap = highest + 3.0 * excess;
        self.unusual = if self.len < TELLING { f32::INFINITY } else { lowest };
        self.drift = self.len >= 3 * RECENT && {
            let (low, high) = (sorted[3 * self.len / 4].0, sorted[self.len / 4].0);
            let mut recent = [0.0; RECENT];
            for (n, to) in recent.iter_mut().enumerate() {
                *to = self.best[(self.at + KEPT - 1 - n) % KEPT].0;
            }
            recent.sort_unstable_by(f32::total_cmp);
            let (middle, width) = (recent[RECENT / 2], high - low);
            middle > high + width || middle < low - width
        };
    }

    /// Blocks behind the threshold.
    pub fn blocks(&self) -> u32 {
        self.len as u32
    }

    /// One false alarm in so many blocks can be promised now; `None`: nothing yet.
    pub fn one_in(&self) -> Option<u32> {
        (self.len >= LEAST).then(|| ((self.len + 1) / rank(self.len, self.rate)) as u32)
    }

    /// One false alarm in so many blocks was asked for, at most.
    pub fn asked(&self) -> u32 {
        (1.0 / self.rate).round() as u32
    }

    /// Blocks from which on that can be promised; `None`: more than are kept.
    pub fn needs(&self) -> Option<usize> {
        // By the same product as `rank`, so that both change at the same block.
        (LEAST..=KEPT).find(|n| self.rate * (n + 1) as f64 >= 1.0)
    }

    /// Have scores moved of late as a whole?
    pub fn drifts(&self) -> bool {
        self.drift
    }

    /// What should outlive a restart.
    pub fn known(&self) -> Blocks {
        let oldest = if self.len < KEPT { 0 } else { self.at };
        let kept = || (0..self.len).map(|n| self.best[(oldest + n) % KEPT]);
        Blocks { best: kept().map(|b| b.0).collect(), alarms: kept().enumerate().filter(|(_, b)| b.1).map(|(n, _)| n).collect() }
    }

    /// All of it as bytes, for another run: what is kept, what was asked for, and the block that is open.
    pub(super) fn remember(&self, to: &mut Vec<u8>) {
        let oldest = if self.len < KEPT { 0 } else { self.at };
        past::put_count(to, self.len as u64);
        for n in 0..self.len {
            let (best, alarm) = self.best[(oldest + n) % KEPT];
            past::put(to, &[best]);
            to.push(alarm.into());
        }
        past::put_count(to, self.rate.to_bits());
        past::put_count(to, self.ticks.into());
        past::put_count(to, self.left.into());
        past::put(to, &[self.highest]);
        to.extend_from_slice(&[self.alarm, self.alarmed, self.going].map(u8::from));
        past::put_count(to, self.hovered as u64);
        past::put_count(to, self.waiting.len() as u64);
        past::put(to, &self.waiting);
    }

    /// The same from bytes.
    pub(super) fn recall(from: &mut &[u8]) -> Option<Self> {
        let mut known = Blocks::default();
        for n in 0..past::take_count(from, KEPT as u64)? as usize {
            let mut best = [0.0];
            past::take(from, &mut best)?;
            known.best.extend(best);
            known.alarms.extend(flag(from)?.then_some(n));
        }
        let rate = Some(f64::from_bits(past::take_count(from, u64::MAX)?)).filter(|rate| rate.is_finite() && *rate > 0.0)?;
        let ticks = past::take_count(from, u32::MAX.into())? as u32;
        let left = past::take_count(from, ticks.into()).filter(|left| *left > 0)? as u32;
        let mut highest = [0.0];
        past::take(from, &mut highest)?;
        let (alarm, alarmed, going) = (flag(from)?, flag(from)?, flag(from)?);
        let hovered = past::take_count(from, ABOUT as u64)? as usize;
        let mut waiting = heapless::Vec::new();
        waiting.resize(past::take_count(from, ABOUT as u64)? as usize, 0.0).ok()?;
        past::take(from, &mut waiting)?;
        waiting.retain(|best: &f32| best.is_finite());
        Some(Self { left, highest: highest[0], alarm, alarmed, going, hovered, waiting, ..Self::new(rate, ticks, &known) })
    }

    /// Bytes that [`Promise::remember`] comes to at most.
    pub(super) const MOST: usize = 8 + KEPT * 5 + 3 * 8 + 4 + 3 + 2 * 8 + ABOUT * 4;
}

/// A byte that is yes or no.
fn flag(from: &mut &[u8]) -> Option<bool> {
    let (byte, rest) = from.split_first()?;
    *from = rest;
    (*byte < 2).then_some(*byte == 1)
}

/// The k of the k-th largest of `n`, from 1.
fn rank(n: usize, rate: f64) -> usize {
    ((rate * (n + 1) as f64) as usize).clamp(1, n.max(1))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::print_stdout, reason = "they print their figures")]
    use super::*;

    /// What a tail makes of an even number.
    type Tail = fn(f64) -> f32;

    /// Even within 0 to 1, the same everywhere.
    fn draw(x: &mut u64) -> f64 {
        *x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((*x >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// Blocks of one tick: `days` of them, false alarms counted after the first two.
    fn alarms(days: usize, seed: u64, mut score: impl FnMut(usize, f64) -> f32) -> usize {
        let mut promise = Promise::new(1.0 / 1440.0, 1, &Blocks::default());
        let mut x = seed;
        (0..days * 1440).filter(|n| promise.update(score(*n, draw(&mut x))).alarm && *n >= 2 * 1440).count()
    }

    /// 100 days of one block a minute after two of learning, one false alarm a day promised: 100 are expected, and chance alone leaves 80 to 120
    /// of them in 95 of 100 such trials (binomial, 144 000 blocks).
    #[test]
    fn the_rate_is_kept_for_a_hundred_days_whatever_the_tail() {
        let tails: [(&str, Tail); 3] = [
            ("exponential", |u| -(u.ln()) as f32),
            ("heavy", |u| (u.powf(-0.4)) as f32),
            ("short", |u| ((1.0 - u).powf(0.3)) as f32),
        ];
        for (name, tail) in tails {
            for seed in 1..4 {
                let found = alarms(102, seed, |_, u| tail(u));
                println!("{name} tail: {found} false alarms in 100 days, 100 promised");
                assert!((80..=120).contains(&found), "{name}: {found} in 100 days");
            }
        }
    }

    #[test]
    fn a_slow_drift_is_followed_and_said() {
        // By half a deviation a day, up and down over 20 days, and the promise stays within three times itself.
        let wave = |n: usize| (n as f64 / 1440.0 / 20.0 * std::f64::consts::TAU).sin() * 1.6;
        let found = alarms(102, 5, |n, u| (wave(n) - u.ln()) as f32);
        println!("drifting: {found} false alarms in 100 days, 100 promised");
        assert!(found <= 300, "{found}");
        let mut promise = Promise::new(1e-3, 1, &Blocks::default());
        let mut x = 1;
        for _ in 0..600 {
            promise.update(draw(&mut x) as f32);
        }
        assert!(!promise.drifts());
        for _ in 0..60 {
            promise.update(draw(&mut x) as f32 - 3.0);
        }
        assert!(promise.drifts(), "an hour three widths lower");
    }

    #[test]
    fn the_same_thing_alarms_every_time_and_however_long_it_lasts() {
        let mut promise = Promise::new(1.0 / 1440.0, 1, &Blocks::default());
        let mut x = 3;
        for _ in 0..2000 {
            promise.update(-(draw(&mut x).ln()) as f32);
        }
        let before = promise.one_in();
        for visit in 0..40 {
            for minute in 0..90 {
                assert!(promise.update(30.0).alarm, "visit {visit}, minute {minute}");
            }
            for _ in 0..120 {
                promise.update(-(draw(&mut x).ln()) as f32);
            }
        }
        assert!(promise.threshold < 15.0, "{}", promise.threshold);
        // Asked for was one in 1 440; 2 000 blocks are one in 2 001. Some wait for what comes next.
        assert!(before.is_some_and(|n| (1990..=2001).contains(&n)), "{before:?}");
    }

    /// A quarter of an hour, twice a day, of something that alarms in most of its blocks and hovers below the threshold in others, before and after.
    #[test]
    fn what_comes_back_day_after_day_and_hovers_about_the_threshold_alarms_every_time() {
        let mut promise = Promise::new(1.0 / 1440.0, 1, &Blocks::default());
        let (mut x, mut elsewhere, mut visits) = (7, 0, vec![]);
        for n in 0..22 * 1440 {
            let (within, calm) = (n >= 2 * 1440 && n % 720 < 15, -draw(&mut x).ln() as f32);
            let alarm = promise.update(if within { 5.0 + 15.0 * draw(&mut x) as f32 } else { calm }).alarm;
            if within && n % 720 == 0 {
                visits.push(0);
            }
            match visits.last_mut().filter(|_| within) {
                Some(count) => *count += u32::from(alarm),
                None => elsewhere += u32::from(alarm && n >= 2 * 1440),
            }
        }
        println!("blocks of 15 in alarm, by visit: {visits:?}; {elsewhere} elsewhere in 20 days, 20 promised");
        assert!(visits.iter().all(|count| *count >= 4), "{visits:?}");
        assert!(visits[20..].iter().sum::<u32>() * 10 >= visits[..20].iter().sum::<u32>() * 8, "{visits:?}");
        assert!(elsewhere <= 30, "{elsewhere} false alarms in 20 days");
    }

    /// Minutes that resemble each other: neighbours of an alarm are likelier to be unusual, so leaving them out would lower the threshold.
    #[test]
    fn blocks_that_resemble_each_other_cost_no_more_than_they_did() {
        for (alike, first, most) in [(0.0f64, 60, 125), (0.8, 80, 125), (0.9, 90, 125), (0.97, 100, 175)] {
            let mut promise = Promise::new(1.0 / 1440.0, 1, &Blocks::default());
            let (mut x, mut level, mut on) = (5, 0.0f64, false);
            let (mut early, mut calls) = (0, 0);
            for n in 0..102 * 1440 {
                let even = (-2.0 * draw(&mut x).ln()).sqrt() * (std::f64::consts::TAU * draw(&mut x)).cos();
                level = alike * level + (1.0 - alike * alike).sqrt() * even;
                let alarm = promise.update(level as f32).alarm;
                early += u32::from(alarm && n < 2 * 1440);
                calls += u32::from(alarm && !on && n >= 2 * 1440);
                on = alarm;
            }
            println!(
                "neighbours alike by {alike}: {early} blocks in alarm in the first two days, {calls} calls in 100 days, 100 promised"
            );
            assert!(early <= first && calls <= most, "{alike}: {early}, {calls}");
        }
    }

    /// Everything is higher from one day on: followed within two days, whatever alarmed on the way.
    #[test]
    fn a_place_that_has_changed_for_good_is_followed() {
        let mut promise = Promise::new(1.0 / 1440.0, 1, &Blocks::default());
        let mut x = 11;
        let mut alarms = [0; 10];
        for n in 0..14 * 1440 {
            let step = if n < 4 * 1440 { 0.0 } else { 4.0 };
            let alarm = promise.update(step - draw(&mut x).ln() as f32).alarm;
            if n >= 4 * 1440 {
                alarms[n / 1440 - 4] += u32::from(alarm);
            }
        }
        println!("alarms a day after a step: {alarms:?}");
        assert!(alarms[4..].iter().sum::<u32>() <= 20, "{alarms:?}");
    }

    #[test]
    fn nothing_is_promised_before_there_is_a_reason() {
        let mut promise = Promise::new(0.01, 10, &Blocks::default());
        for n in 0..10 * LEAST {
            let verdict = promise.update(n as f32);
            assert!(!verdict.alarm && verdict.threshold.is_infinite());
            assert_eq!(verdict.ended, n % 10 == 9);
        }
        assert_eq!((promise.blocks(), promise.one_in()), (LEAST as u32, Some(LEAST as u32 + 1)));
        // One in 100 was asked for; 99 blocks are the first that can promise it.
        assert_eq!((promise.asked(), promise.needs()), (100, Some(99)));
        let known = |n: u32| Blocks { best: (0..n).map(|b| b as f32).collect(), alarms: vec![] };
        assert_eq!([98, 99].map(|n| Promise::new(0.01, 1, &known(n)).one_in()), [Some(99), Some(100)]);
        assert_eq!(Promise::new(1e-4, 1, &known(KEPT as u32)).needs(), None);
        assert!(promise.update(1e9).alarm && !promise.update(f32::NAN).alarm && !promise.update(f32::INFINITY).alarm);
    }

    #[test]
    fn what_is_known_outlives_a_restart() {
        let mut promise = Promise::new(0.01, 1, &Blocks::default());
        for n in 0..KEPT + 100 {
            promise.update((n * 7919 % 1000) as f32);
        }
        let again = Promise::new(0.01, 1, &promise.known());
        assert_eq!((again.threshold, again.blocks()), (promise.threshold, promise.blocks()));
        assert_eq!(again.known(), promise.known());
    }
}
