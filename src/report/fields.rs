//! One field of a sentence at a time: written with integers only, read back strictly.
//!
//! Formatting floats would leave rounding, exponents and `NaN` to the library; here a value is an integer number of
//! thousandths (or ten-thousandths) before it is written. Reading accepts the one spelling that writing makes, nothing else.

use super::envelope::{Body, SentenceError};
use super::{Label, MAX_LABEL};
use core::fmt::Display;
use heapless::String as Text;

/// Appends to a body. Each field's range is chosen so that the longest sentence fits; a test tries the extremes.
macro_rules! push {
    ($body:expr, $($format:tt)*) => {{
        use core::fmt::Write as _;
        let fits = write!($body, $($format)*);
        debug_assert!(fits.is_ok(), "field ranges keep a body within MAX_BODY");
    }};
}
pub(super) use push;

/// A finite number in steps of `1 / scale`, rounded; clamped to ±999 999.9999 in ten-thousandths.
pub(super) fn fixed(value: f32, scale: f64) -> Option<i64> {
    const LIMIT: f64 = 9_999_999_999.0;
    // The float is finite and clamped far inside i64.
    #[allow(clippy::cast_possible_truncation)]
    value.is_finite().then(|| (f64::from(value) * scale).round().clamp(-LIMIT, LIMIT) as i64)
}

/// A box in thousandths of the picture, all of it within: x, y, w, h.
pub(super) fn thousandths_of(place: &crate::shaper::Region) -> [u16; 4] {
    // Clamped, so that the cast keeps its value; what is not a number is 0.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let edge = |v: f32| (v * 1_000.0).round().clamp(0.0, 1_000.0) as u16;
    let (x, y) = (edge(place.x).min(999), edge(place.y).min(999));
    let (right, low) = (edge(place.x + place.w).max(x + 1), edge(place.y + place.h).max(y + 1));
    [x, y, right - x, low - y]
}

/// The value, or nothing.
pub(super) fn optional(b: &mut Body, value: Option<impl Display>) {
    if let Some(value) = value {
        push!(b, "{value}");
    }
}

/// `,label`: whatever is not `a-z0-9_-` becomes `_`; an empty label becomes `_` too.
pub(super) fn label(b: &mut Body, label: &str) {
    push!(b, ",");
    for c in if label.is_empty() { "_" } else { label }.chars() {
        push!(b, "{}", if is_label_byte(c) { c } else { '_' });
    }
}

/// `,text`: reserved and unprintable characters become `_`.
pub(super) fn text(b: &mut Body, text: &str) {
    push!(b, ",");
    for c in text.chars() {
        push!(b, "{}", if is_text_char(c) { c } else { '_' });
    }
}

/// `,0.973`, or `,` for `None`.
pub(super) fn probability(b: &mut Body, thousandths: Option<u16>, decimals: u8) {
    match thousandths.map(|p| p.min(1_000)) {
        None => push!(b, ","),
        Some(p) if decimals == 3 => push!(b, ",{}.{:03}", p / 1_000, p % 1_000),
        Some(p) => {
            let p = (p + 5) / 10;
            push!(b, ",{}.{:02}", p / 100, p % 100);
        }
    }
}

/// `,-12.3400`, or `,` for `None`.
pub(super) fn decimal4(b: &mut Body, value: Option<i64>) {
    push!(b, ",");
    if let Some(v) = value.map(|v| v.clamp(-9_999_999_999, 9_999_999_999)) {
        let (sign, v) = (if v < 0 { "-" } else { "" }, v.unsigned_abs());
        push!(b, "{sign}{}.{:04}", v / 10_000, v % 10_000);
    }
}

/// A number without sign or leading zeros, at most `max`.
pub(super) fn natural<T: TryFrom<u64>>(text: &str, max: u64) -> Option<T> {
    let canonical = text == "0" || (!text.starts_with('0') && !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()));
    let value = if canonical { text.parse::<u64>().ok()? } else { return None };
    (value <= max).then(|| T::try_from(value).ok()).flatten()
}

/// `whole.digits` with exactly `decimals` of them, as an integer number of the last digit's steps.
fn point(text: &str, decimals: usize, max: u64) -> Option<u64> {
    let (whole, part) = text.split_once('.')?;
    if part.len() != decimals || !part.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let scale = 10u64.pow(u32::try_from(decimals).ok()?);
    let value = natural::<u64>(whole, max)?.checked_mul(scale)?.checked_add(part.parse().ok()?)?;
    (value <= max).then_some(value)
}

fn is_label_byte(c: char) -> bool {
    matches!(c, 'a'..='z' | '0'..='9' | '_' | '-')
}

/// Printable, and none of the characters that NMEA 0183 reserves.
fn is_text_char(c: char) -> bool {
    matches!(c, ' '..='}') && !matches!(c, ',' | '*' | '$' | '!' | '\\' | '^')
}

/// Reads the fields of one body in order.
pub(super) struct Fields<'a> {
    sentence: &'static str,
    left: Option<&'a str>,
}

impl<'a> Fields<'a> {
    pub fn new(sentence: &'static str, fields: &'a str) -> Self {
        Self { sentence, left: Some(fields) }
    }

    pub fn wrong(&self, field: &'static str, expected: &'static str) -> SentenceError {
        SentenceError::Field { sentence: self.sentence, field, expected }
    }

    pub fn next(&mut self, field: &'static str) -> Result<&'a str, SentenceError> {
        let left = self.left.ok_or_else(|| self.wrong(field, "one more field"))?;
        let (this, left) = left.split_once(',').map_or((left, None), |(this, left)| (this, Some(left)));
        self.left = left;
        Ok(this)
    }

    /// `value`, if nothing is left.
    pub fn end<T>(&self, value: T) -> Result<T, SentenceError> {
        if self.left.is_some() { Err(self.wrong("end", "no more fields")) } else { Ok(value) }
    }

    pub fn number<T: TryFrom<u64>>(&mut self, field: &'static str, max: u64) -> Result<T, SentenceError> {
        let text = self.next(field)?;
        natural(text, max).ok_or_else(|| self.wrong(field, "a number within its range"))
    }

    pub fn seq(&mut self, field: &'static str) -> Result<u32, SentenceError> {
        self.number(field, u64::from(super::sentence::SEQ_WRAP) - 1)
    }

    pub fn ms(&mut self, field: &'static str) -> Result<u64, SentenceError> {
        self.number(field, super::sentence::MS_WRAP - 1)
    }

    pub fn flag(&mut self, field: &'static str) -> Result<bool, SentenceError> {
        match self.next(field)? {
            "0" => Ok(false),
            "1" => Ok(true),
            _ => Err(self.wrong(field, "0 or 1")),
        }
    }

    /// `None` for an empty field, else what `read` makes of it.
    pub fn optional<T>(
        &mut self,
        field: &'static str,
        read: impl FnOnce(&mut Self, &'static str) -> Result<T, SentenceError>,
    ) -> Result<Option<T>, SentenceError> {
        let (before, text) = (self.left, self.next(field)?);
        if text.is_empty() {
            return Ok(None);
        }
        self.left = before;
        read(self, field).map(Some)
    }

    pub fn label(&mut self) -> Result<Label, SentenceError> {
        let text = self.next("label")?;
        let good = (1..=MAX_LABEL).contains(&text.len()) && text.chars().all(is_label_byte);
        good.then(|| Label::try_from(text).ok()).flatten().ok_or_else(|| self.wrong("label", "1 to 32 of a-z0-9_-"))
    }

    pub fn text<const N: usize>(&mut self, field: &'static str) -> Result<Text<N>, SentenceError> {
        let text = self.next(field)?;
        let good = text.chars().all(is_text_char);
        good.then(|| Text::try_from(text).ok()).flatten().ok_or_else(|| self.wrong(field, "short text"))
    }

    /// All that is left, as text fields joined by commas.
    pub fn texts<const N: usize>(&mut self, field: &'static str) -> Result<Text<N>, SentenceError> {
        let text = self.left.take().ok_or_else(|| self.wrong(field, "at least one"))?;
        let good = text.chars().all(|c| c == ',' || is_text_char(c));
        good.then(|| Text::try_from(text).ok()).flatten().ok_or_else(|| self.wrong(field, "short texts"))
    }

    pub fn tenths(&mut self, field: &'static str) -> Result<u16, SentenceError> {
        let value = point(self.next(field)?, 1, 9_999).and_then(|v| u16::try_from(v).ok());
        value.ok_or_else(|| self.wrong(field, "0.0 to 999.9"))
    }

    pub fn celsius(&mut self, field: &'static str) -> Result<i16, SentenceError> {
        let text = self.next(field)?;
        let value = match text.strip_prefix('-') {
            Some(below) => natural::<i16>(below, 99).filter(|v| *v > 0).map(|v| -v),
            None => natural(text, 999),
        };
        value.ok_or_else(|| self.wrong(field, "-99 to 999"))
    }

    pub fn probability(&mut self, field: &'static str, decimals: usize) -> Result<Option<u16>, SentenceError> {
        let step = if decimals == 3 { 1 } else { 10 };
        self.optional(field, |f, s| {
            let value = point(f.next(s)?, decimals, 1_000 / step).and_then(|v| u16::try_from(v * step).ok());
            value.ok_or_else(|| f.wrong(s, "0.000 to 1.000"))
        })
    }

    pub fn decimal4(&mut self, field: &'static str) -> Result<Option<i64>, SentenceError> {
        self.optional(field, |f, s| {
            let text = f.next(s)?;
            let value = match text.strip_prefix('-') {
                Some(below) => point(below, 4, 9_999_999_999).filter(|v| *v > 0).and_then(|v| i64::try_from(v).ok()).map(|v| -v),
                None => point(text, 4, 9_999_999_999).and_then(|v| i64::try_from(v).ok()),
            };
            value.ok_or_else(|| f.wrong(s, "a number with four decimals"))
        })
    }

    /// `k/n`, both from 1.
    pub fn page(&mut self, field: &'static str) -> Result<(u16, u16), SentenceError> {
        let pages = self.next(field)?.split_once('/');
        let pages = pages.and_then(|(k, n)| Some((natural::<u16>(k, 256)?, natural::<u16>(n, 256)?)));
        pages.filter(|(k, n)| (1..=*n).contains(k)).ok_or_else(|| self.wrong(field, "k/n"))
    }
}
