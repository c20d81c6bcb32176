//! Which format, size and rate to ask a camera for. Pure: tables in, a choice out.
//!
//! Formats come in order of preference, because an uncompressed one costs no decoding; but a USB 2 camera often gives
//! YUYV only slowly, and MJPG at full rate. So the first format that reaches both the wished size and the wished rate
//! wins; where none does, size counts before rate, and the order of preference decides between equals.
//!
//! Size: the smallest that covers the wish, else the largest there is (the shaper scales down cleanly, it cannot invent
//! pixels). Rate: the slowest that is not slower than the wish, else the fastest.

use crate::sys::video::{Fourcc, Interval, IntervalRange, SizeRange};
use std::fmt;

/// What is wished for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Formats in order of preference.
    pub formats: Vec<Fourcc>,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Frames a second.
    pub rate_hz: u32,
}

/// What a camera offers, asked for step by step: a long list of sizes need not be followed by all their rates.
pub trait Offer {
    /// Formats, in the driver's order.
    fn formats(&self) -> Vec<Fourcc>;
    /// Sizes of a format; empty where the driver does not say.
    fn sizes(&self, fourcc: Fourcc) -> Vec<SizeRange>;
    /// Rates of a format and size; empty where the driver does not say.
    fn intervals(&self, fourcc: Fourcc, width: u32, height: u32) -> Vec<IntervalRange>;
}

/// What to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Format.
    pub fourcc: Fourcc,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Time between two frames.
    pub interval: Interval,
}

impl Choice {
    /// Is it smaller than wished for, and is it slower?
    pub(super) fn misses(&self, wish: &Wish) -> (bool, bool) {
        let slow = u64::from(self.interval.num) * u64::from(wish.rate_hz) > u64::from(self.interval.den);
        (self.width < wish.width || self.height < wish.height, slow)
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hz = f64::from(self.interval.den) / f64::from(self.interval.num.max(1));
        let whole = usize::from((hz - hz.round()).abs() >= 0.01);
        write!(f, "{} {}x{}@{hz:.whole$}", self.fourcc.escape_ascii().to_string().trim(), self.width, self.height)
    }
}

/// The choice for `wish`, or `None` where the camera has none of the wished formats.
pub fn choose(wish: &Wish, offer: &impl Offer) -> Option<Choice> {
    let there = offer.formats();
    let mut best: Option<((bool, bool), Choice)> = None;
    for &fourcc in wish.formats.iter().filter(|f| there.contains(f)) {
        let (width, height) = size(wish.width, wish.height, &offer.sizes(fourcc));
        let interval = interval(wish.rate_hz, &offer.intervals(fourcc, width, height));
        let choice = Choice { fourcc, width, height, interval };
        let misses = choice.misses(wish);
        if best.as_ref().is_none_or(|(least, _)| misses < *least) {
            best = Some((misses, choice));
        }
    }
    best.map(|(_, choice)| choice)
}

/// The smallest size that covers `width` x `height`, else the largest. Without a list, the wish itself: the driver will
/// say what it makes of it.
fn size(width: u32, height: u32, offered: &[SizeRange]) -> (u32, u32) {
    let area = |&(w, h): &(u32, u32)| u64::from(w) * u64::from(h);
    let near = || offered.iter().map(|r| (reach(width, r.width), reach(height, r.height)));
    let covering = near().filter(|&(w, h)| w >= width && h >= height).min_by_key(area);
    covering.or_else(|| near().max_by_key(area)).unwrap_or((width, height))
}

/// The smallest value of a range (smallest, largest, step) that is not below `wish`, else its largest.
fn reach(wish: u32, (min, max, step): (u32, u32, u32)) -> u32 {
    let steps = wish.saturating_sub(min).checked_div(step).map_or(0, |whole| {
        let rest = wish.saturating_sub(min) % step;
        whole.saturating_add(u32::from(rest > 0))
    });
    let value = min.saturating_add(steps.saturating_mul(step));
    // A range whose largest value is not a whole number of steps from its smallest ends at the step below.
    if value <= max { value } else { max - max.saturating_sub(min).checked_rem(step).unwrap_or(0) }
}

/// The longest interval that is not longer than `1 / rate_hz`, else the shortest.
fn interval(rate_hz: u32, offered: &[IntervalRange]) -> Interval {
    let wish = Interval { num: 1, den: rate_hz.max(1) };
    let sound = || offered.iter().filter(|r| [r.min, r.max].iter().all(|i| i.num > 0 && i.den > 0));
    // Within a range the wish itself can be asked for; outside it, the end that is nearer.
    let near = || {
        sound().map(|r| {
            if shorter(wish, r.min) {
                r.min
            } else if shorter(r.max, wish) {
                r.max
            } else {
                wish
            }
        })
    };
    let fast_enough = near().filter(|&i| !shorter(wish, i)).reduce(|a, b| if shorter(a, b) { b } else { a });
    fast_enough.or_else(|| near().reduce(|a, b| if shorter(b, a) { b } else { a })).unwrap_or(wish)
}

/// Is `a` a shorter time than `b`?
fn shorter(a: Interval, b: Interval) -> bool {
    u64::from(a.num) * u64::from(b.den) < u64::from(b.num) * u64::from(a.den)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Row = (&'static [u8; 4], &'static [(u32, u32, &'static [u32])]);

    /// A camera as a table: format, sizes, rates in Hz.
    struct Table(&'static [Row]);

    const fn one(v: u32) -> (u32, u32, u32) {
        (v, v, 0)
    }

    impl Offer for Table {
        fn formats(&self) -> Vec<Fourcc> {
            self.0.iter().map(|r| *r.0).collect()
        }
        fn sizes(&self, fourcc: Fourcc) -> Vec<SizeRange> {
            let row = self.0.iter().find(|r| *r.0 == fourcc).unwrap();
            row.1.iter().map(|s| SizeRange { width: one(s.0), height: one(s.1) }).collect()
        }
        fn intervals(&self, fourcc: Fourcc, width: u32, height: u32) -> Vec<IntervalRange> {
            let row = self.0.iter().find(|r| *r.0 == fourcc).unwrap();
            let rates = row.1.iter().find(|s| (s.0, s.1) == (width, height)).unwrap().2;
            rates.iter().map(|&hz| Interval { num: 1, den: hz }).map(|i| IntervalRange { min: i, max: i }).collect()
        }
    }

    /// A common USB 2 webcam.
    const WEBCAM: Table = Table(&[
        (b"MJPG", &[(1920, 1080, &[30, 15]), (1280, 720, &[60, 30]), (640, 480, &[30])]),
        (b"YUYV", &[(640, 480, &[30, 15, 5]), (320, 240, &[30]), (1280, 720, &[10, 5])]),
    ]);

    fn ask(camera: &Table, formats: &[&[u8; 4]], width: u32, height: u32, rate_hz: u32) -> Option<(Fourcc, u32, u32, u32)> {
        let wish = Wish { formats: formats.iter().map(|f| **f).collect(), width, height, rate_hz };
        choose(&wish, camera).map(|c| (c.fourcc, c.width, c.height, c.interval.den / c.interval.num))
    }

    #[test]
    fn first_format_that_reaches_size_and_rate_wins() {
        let order: &[&[u8; 4]] = &[b"YUYV", b"NV12", b"MJPG", b"GREY"];
        assert_eq!(ask(&WEBCAM, order, 640, 480, 30), Some((*b"YUYV", 640, 480, 30)));
        assert_eq!(ask(&WEBCAM, order, 1280, 720, 30), Some((*b"MJPG", 1280, 720, 30)), "YUYV has the size, not the rate");
        assert_eq!(ask(&WEBCAM, order, 1280, 720, 10), Some((*b"YUYV", 1280, 720, 10)));
        assert_eq!(ask(&WEBCAM, &[b"MJPG", b"YUYV"], 640, 480, 30), Some((*b"MJPG", 640, 480, 30)));
        assert_eq!(ask(&WEBCAM, &[b"GREY"], 640, 480, 30), None);
    }

    #[test]
    fn nearest_size_not_below_the_wish_else_the_largest() {
        assert_eq!(ask(&WEBCAM, &[b"YUYV"], 600, 400, 5), Some((*b"YUYV", 640, 480, 5)));
        assert_eq!(ask(&WEBCAM, &[b"YUYV"], 641, 480, 5), Some((*b"YUYV", 1280, 720, 5)));
        assert_eq!(ask(&WEBCAM, &[b"YUYV"], 4000, 3000, 5), Some((*b"YUYV", 1280, 720, 5)));
        assert_eq!(ask(&WEBCAM, &[b"MJPG"], 4000, 3000, 5), Some((*b"MJPG", 1920, 1080, 15)));
    }

    #[test]
    fn slowest_rate_not_below_the_wish_else_the_fastest() {
        assert_eq!(ask(&WEBCAM, &[b"YUYV"], 640, 480, 10), Some((*b"YUYV", 640, 480, 15)));
        assert_eq!(ask(&WEBCAM, &[b"YUYV"], 640, 480, 25), Some((*b"YUYV", 640, 480, 30)));
        assert_eq!(ask(&WEBCAM, &[b"YUYV"], 640, 480, 60), Some((*b"YUYV", 640, 480, 30)));
        assert_eq!(ask(&WEBCAM, &[b"YUYV"], 640, 480, 0), Some((*b"YUYV", 640, 480, 5)), "0 is taken as 1");
    }

    #[test]
    fn ranges_with_steps_are_met_on_a_step() {
        let range = |w, h| [SizeRange { width: w, height: h }];
        assert_eq!(size(640, 480, &range((2, 3840, 2), (2, 2160, 2))), (640, 480));
        assert_eq!(size(641, 479, &range((2, 3840, 2), (2, 2160, 2))), (642, 480));
        assert_eq!(size(640, 480, &range((16, 601, 8), (16, 480, 0))), (600, 16), "a step of 0 is one value");
        assert_eq!(size(10, 10, &range((320, 640, 16), (240, 480, 16))), (320, 240));
        assert_eq!(size(u32::MAX, 1, &range((1, u32::MAX, 2), (1, 9, 4))), (u32::MAX, 1));
        assert_eq!(size(9, 9, &range((8, 4, 0), (8, 4, 3))), (4, 4), "an upside-down range does not panic");
        assert_eq!(size(640, 480, &[]), (640, 480), "no list: ask and see");
    }

    #[test]
    fn ranges_of_rates_are_met_inside_and_bent_at_their_ends() {
        let i = |num, den| Interval { num, den };
        let range = [IntervalRange { min: i(1, 60), max: i(1, 5) }];
        assert_eq!(interval(30, &range), i(1, 30));
        assert_eq!(interval(120, &range), i(1, 60));
        assert_eq!(interval(1, &range), i(1, 5));
        let ntsc = [IntervalRange { min: i(1001, 30_000), max: i(1001, 30_000) }];
        assert_eq!(interval(30, &ntsc), i(1001, 30_000), "29.97 is what there is");
        assert_eq!(interval(30, &[]), i(1, 30));
        assert_eq!(interval(30, &[IntervalRange { min: i(0, 0), max: i(0, 1) }]), i(1, 30), "nonsense is left out");
    }
}
