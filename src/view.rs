//! Does the camera still see? A picture that no longer changes, or has nothing in it, is no fault of the program, and a
//! technician must hear of it: what is decided on such a picture means little.
//!
//! Looked at are `GRID` x `GRID` levels of luma, spread over the picture as it came, once a tick. **Frozen**: not one of them
//! has changed by a single level for `LASTING`; the noise of a sensor changes some of them in every frame, so only a
//! camera (or a driver) that repeats one buffer does this. **Blank**: all but the odd hot pixel lie within
//! `FLAT` levels of each other for as long: dark, blinded, or something in front of the lens. A black picture may well be the
//! same to the last bit, so blank is said before frozen. Both are advice: deciding goes on.

use crate::report::State;
use crate::source::{Image, PixelFormat, Timestamp};
use std::time::Duration;

/// Points a side.
const GRID: usize = 32;
/// How long a picture must be frozen or blank before it is said. The promise is ten seconds.
const LASTING: Duration = Duration::from_secs(5);
/// Levels between the darkest and the brightest point of a blank picture; a grey wall in good light has more.
const FLAT: u8 = 12;
/// Points left out at either end: hot pixels, a lamp that blinks on the box itself.
const ODD: u32 = 8;

/// See the module's documentation.
#[derive(Debug)]
pub struct View {
    /// The last picture's, once there was one.
    points: Points,
    seen: bool,
    /// Since when nothing has changed, and since when there is nothing to be seen.
    same_since: Timestamp,
    flat_since: Option<Timestamp>,
    at: Timestamp,
}

/// Levels of luma, row by row.
type Points = [[u8; GRID]; GRID];

impl Default for View {
    /// Before the first picture.
    fn default() -> Self {
        let begin = Timestamp::default();
        Self { points: [[0; GRID]; GRID], seen: false, same_since: begin, flat_since: None, at: begin }
    }
}

impl View {
    /// A picture that fills a tick. Allocates nothing.
    pub fn look(&mut self, image: &Image<'_>, at: Timestamp) {
        let points = sample(image);
        if !std::mem::replace(&mut self.seen, true) || self.points != points {
            self.same_since = at;
            self.points = points;
        }
        self.flat_since = is_flat(&points).then(|| self.flat_since.unwrap_or(at));
        self.at = at;
    }

    /// What is to be said of it: nothing ([`State::Ok`]), [`State::Frozen`] or [`State::Blank`].
    pub fn state(&self) -> State {
        let lasts = |since: Timestamp| self.at.since(since) >= LASTING;
        match self.flat_since {
            Some(since) if lasts(since) => State::Blank,
            _ if self.seen && lasts(self.same_since) => State::Frozen,
            _ => State::Ok,
        }
    }

    /// After a gap: what comes is another stream.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

/// The middles of `GRID` x `GRID` equal parts of the picture.
fn sample(image: &Image<'_>) -> Points {
    // Bytes from one pixel to the next, and where its luma is; green stands for it in RGB.
    let (step, first) = match image.format() {
        PixelFormat::Gray | PixelFormat::Nv12 | PixelFormat::I420 => (1, 0),
        PixelFormat::Yuyv => (2, 0),
        PixelFormat::Yuv444 => (3, 0),
        PixelFormat::Rgb => (3, 1),
    };
    let (width, height, stride) = (image.width(), image.height(), image.stride_bytes());
    let middle = |n: usize, length: usize| (2 * n + 1) * length / (2 * GRID);
    let columns: [usize; GRID] = std::array::from_fn(|n| middle(n, width) * step + first);
    std::array::from_fn(|n| {
        let line = image.data().get(middle(n, height) * stride..).unwrap_or_default();
        columns.map(|at| line.get(at).copied().unwrap_or_default())
    })
}

/// Are all points but [`ODD`] at either end within [`FLAT`] levels of each other?
fn is_flat(points: &Points) -> bool {
    // Sums of so few that a byte holds them, which vector registers count sixteen or more at a time.
    let part = |points: &[u8], level: u8| points.iter().map(|p| u8::from(*p <= level)).sum::<u8>();
    let up_to = |level: u8| points.as_flattened().chunks(4 * GRID).map(|points| u32::from(part(points, level))).sum::<u32>();
    // The darkest level that more than `ODD` points do not exceed, by halving.
    let (mut dark, mut end) = (0u8, u8::MAX);
    while dark < end {
        let level = dark + (end - dark) / 2;
        if up_to(level) > ODD { end = level } else { dark = level + 1 }
    }
    (GRID * GRID) as u32 - up_to(dark.saturating_add(FLAT)) <= ODD
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays pictures of 64x48 at ten a second and says when the state changed, in ms.
    fn play(ticks: u64, mut level: impl FnMut(u64, usize, usize) -> u8) -> Vec<(u64, State)> {
        let mut view = View::default();
        let mut said = vec![(0, State::Ok)];
        for n in 0..ticks {
            let data: Vec<u8> = (0..64 * 48).map(|k| level(n, k % 64, k / 64)).collect();
            view.look(&Image::new(PixelFormat::Gray, 64, 48, 64, &data).unwrap(), Timestamp::from_ms(n * 100));
            if said.last().is_some_and(|(_, last)| *last != view.state()) {
                said.push((n * 100, view.state()));
            }
        }
        said
    }

    /// Noise of one level, the same on every run.
    fn noise(n: u64, x: usize, y: usize) -> u8 {
        let k = (n * 7919 + x as u64 * 31 + y as u64 * 17).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (k >> 62) as u8 % 3
    }

    #[test]
    fn a_still_world_with_noise_is_all_right_and_a_repeated_picture_is_frozen_after_5_s() {
        let scene = |x: usize, y: usize| 40 + (x + y) as u8;
        assert_eq!(play(300, |n, x, y| scene(x, y) + noise(n, x, y)), [(0, State::Ok)]);
        // Frozen from tick 100 to 199.
        let hangs = play(300, |n, x, y| scene(x, y) + noise(if (100..200).contains(&n) { 100 } else { n }, x, y));
        assert_eq!(hangs, [(0, State::Ok), (15_000, State::Frozen), (20_000, State::Ok)]);
    }

    #[test]
    fn dark_blinded_and_covered_are_blank_even_with_a_hot_pixel() {
        for base in [0u8, 90, 252] {
            let said = play(100, |n, x, y| if (x, y) == (1, 0) { 255 } else { base + noise(n, x, y) });
            assert_eq!(said, [(0, State::Ok), (5_000, State::Blank)], "{base}");
        }
        assert_eq!(play(100, |_, _, _| 16), [(0, State::Ok), (5_000, State::Blank)], "black and frozen: blank says more");
        // A hand that covers the lens for four seconds is not worth a word.
        assert_eq!(play(100, |n, x, y| if n < 40 { 3 } else { 40 + (x + y) as u8 + noise(n, x, y) }), [(0, State::Ok)]);
    }

    #[test]
    fn luma_is_found_in_every_format_and_a_gap_begins_anew() {
        for (format, step, first) in [(PixelFormat::Yuyv, 2, 0), (PixelFormat::Yuv444, 3, 0), (PixelFormat::Rgb, 3, 1)] {
            let mut data = vec![0; 64 * 48 * step];
            for k in 0..64 * 48 {
                data[k * step + first] = (k % 64) as u8 * 3;
            }
            let image = Image::new(format, 64, 48, 64 * step, &data).unwrap();
            assert!(!is_flat(&sample(&image)), "{format:?}");
            let mut view = View::default();
            view.look(&image, Timestamp::from_ms(0));
            view.look(&image, Timestamp::from_ms(5_000));
            assert_eq!(view.state(), State::Frozen);
            view.reset();
            assert_eq!(view.state(), State::Ok);
        }
    }
}
