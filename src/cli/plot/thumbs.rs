//! Small pictures of a recording, evenly spaced in time, though nobody knows at its beginning how long it will be.
//!
//! Every picture that comes when one is due is kept; when there are too many, every other one goes and they are due half as often.
//! So a recording of any length costs the same memory, and never more than a few pictures a second are made small.

use crate::bundle::{Channel, Input};
use crate::shaper::{Region, Shaper};
use crate::source::{Image, Timestamp};
use std::fmt::Write;

/// Kept at most (24 kB each), and half of that at least once there were as many: enough to be near any time asked for.
const MOST: usize = 64;
/// Drawn at most.
const DRAWN: usize = 9;
/// Width in pixels, kept and drawn.
const WIDE: usize = 104;
/// Ms between two at first.
const STEP_MS: u64 = 200;

/// See the module's documentation.
#[derive(Debug)]
pub struct Thumbs {
    kept: Vec<(u64, Vec<u8>)>,
    high: usize,
    step_ms: u64,
    due_ms: u64,
    start: Option<Timestamp>,
    end_ms: u64,
    shaper: Option<Shaper>,
}

impl Thumbs {
    /// None yet.
    pub fn new() -> Self {
        Self { kept: vec![], high: 0, step_ms: STEP_MS, due_ms: 0, start: None, end_ms: 0, shaper: None }
    }

    /// A frame's picture, at its stamp; kept small if one is due. What cannot be shaped is left out: it is only for looking at.
    pub fn take(&mut self, at: Timestamp, image: &Image<'_>) {
        let start = *self.start.get_or_insert(at);
        let ms = at.ms().saturating_sub(start.ms());
        self.end_ms = self.end_ms.max(ms);
        if ms < self.due_ms {
            return;
        }
        if self.shaper.is_none() {
            self.high = (WIDE * image.height()).div_ceil(image.width().max(1)).clamp(8, 2 * WIDE);
            self.shaper = Shaper::new(&Input::picture(WIDE, self.high, vec![Channel::Rgb]), Region::default()).ok();
        }
        let Some(shaper) = &mut self.shaper else { return };
        if shaper.stage(image).is_err() {
            return;
        }
        self.kept.push((ms, shaper.finish().to_vec()));
        if self.kept.len() == MOST {
            let mut n = 0;
            self.kept.retain(|_| {
                n += 1;
                n % 2 == 1
            });
            self.step_ms *= 2;
        }
        self.due_ms = ms + self.step_ms;
    }

    /// Stamp of the newest frame, ms since the first.
    pub fn end_ms(&self) -> u64 {
        self.end_ms
    }

    /// Pixels that they take down the drawing.
    pub fn height(&self) -> f64 {
        if self.kept.is_empty() { 0.0 } else { self.high as f64 + 13.0 }
    }

    /// Draws some of them side by side, each with a line to the time at which it was taken.
    pub fn draw(&self, body: &mut String, top: f64, left: f64, right: f64, end_ms: u64) {
        let room = right - left;
        let slots = ((room / (WIDE as f64 + 6.0)) as usize).clamp(1, DRAWN).min(self.kept.len());
        for slot in 0..slots {
            // The middle of its share of the time; the nearest picture to that.
            let want = (2 * slot as u64 + 1) * end_ms / (2 * slots as u64);
            let Some((ms, planes)) = self.kept.iter().min_by_key(|(ms, _)| ms.abs_diff(want)) else { return };
            let Some(png) = png(&interleaved(planes), WIDE, self.high) else { return };
            let middle = left + room * (slot as f64 + 0.5) / slots as f64;
            let then = left + room * *ms as f64 / end_ms as f64;
            let bottom = top + self.high as f64;
            let _ = write!(
                body,
                "<image x=\"{:.1}\" y=\"{top}\" width=\"{WIDE}\" height=\"{}\" href=\"data:image/png;base64,{}\"/>\
                 <line x1=\"{middle:.1}\" x2=\"{then:.1}\" y1=\"{bottom:.0}\" y2=\"{:.0}\" stroke=\"#999\"/>",
                middle - WIDE as f64 / 2.0,
                self.high,
                base64(&png),
                bottom + 12.0
            );
        }
        body.push('\n');
    }
}

/// Planes of R, G and B, pixel by pixel.
fn interleaved(planes: &[u8]) -> Vec<u8> {
    let size = planes.len() / 3;
    (0..size).flat_map(|i| [planes[i], planes[size + i], planes[2 * size + i]]).collect()
}

/// Pixels of R, G and B as a PNG file.
pub fn png(pixels: &[u8], wide: usize, high: usize) -> Option<Vec<u8>> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, wide as u32, high as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().ok()?;
    writer.write_image_data(pixels).ok()?;
    writer.finish().ok()?;
    Some(file)
}

/// RFC 4648, section 4.
pub fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let at = |n: usize| u32::from(three.get(n).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for n in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * n)) as usize & 63];
            out.push(if n <= three.len() { char::from(letter) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::PixelFormat;

    #[test]
    fn base64_is_that_of_the_standard() {
        // RFC 4648, section 10.
        for (text, expected) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(text.as_bytes()), expected);
        }
    }

    #[test]
    fn a_recording_of_any_length_keeps_a_few_pictures_over_all_of_it() {
        let pixels = vec![90u8; 40 * 30];
        let image = Image::new(PixelFormat::Gray, 40, 30, 40, &pixels).unwrap();
        for frames in [1u64, 7, 500, 20_000] {
            let mut thumbs = Thumbs::new();
            (0..frames).for_each(|n| thumbs.take(Timestamp::from_ms(5_000 + 40 * n), &image));
            assert!((1..=MOST).contains(&thumbs.kept.len()));
            let end = 40 * (frames - 1);
            assert_eq!(thumbs.end_ms(), end);
            assert!(end - thumbs.kept.last().unwrap().0 <= thumbs.step_ms, "the end is not shown");
            let mut body = String::new();
            thumbs.draw(&mut body, 0.0, 0.0, 900.0, end.max(1));
            assert!((1..=DRAWN).contains(&body.matches("<image").count()));
        }
    }
}
