//! Frames a second as the fraction that files really hold, so that the millionth frame still has an exact stamp.

use super::Timestamp;
use std::fmt;
use std::str::FromStr;

/// Frames a second: `frames / seconds`, both at least 1. From one frame a day to 10 000 a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    frames: u32,
    seconds: u32,
}

impl Rate {
    /// `frames` in `seconds`, or `None` outside the range above.
    pub fn new(frames: u32, seconds: u32) -> Option<Self> {
        let (n, d) = (u64::from(frames), u64::from(seconds));
        (n > 0 && d > 0 && n <= d * 10_000 && d <= n * 86_400).then_some(Self { frames, seconds })
    }

    /// One frame a tick of `tick_ms` milliseconds (0 counts as 1).
    pub fn per_tick(tick_ms: u32) -> Self {
        Self { frames: 1000, seconds: tick_ms.max(1) }
    }

    /// When frame `n` was taken, counted from frame 0: rounded down to a nanosecond, never accumulated.
    pub fn at(self, n: u64) -> Timestamp {
        let ns = u128::from(n) * u128::from(self.seconds) * 1_000_000_000 / u128::from(self.frames);
        Timestamp(u64::try_from(ns).unwrap_or(u64::MAX))
    }
}

/// `30`, `29.97`, `30000/1001` or `30000:1001`.
impl FromStr for Rate {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let decimal = |t: &str| {
            let (whole, part) = t.split_once('.').unwrap_or((t, ""));
            let digits = part.len() <= 4 && !whole.is_empty() && (whole.to_string() + part).bytes().all(|b| b.is_ascii_digit());
            let scale = 10u32.checked_pow(part.len() as u32)?;
            let frames = (whole.to_string() + part).parse().ok()?;
            if digits { Rate::new(frames, scale) } else { None }
        };
        let fraction = |n: &str, d: &str| Rate::new(n.parse().ok()?, d.parse().ok()?);
        match text.split_once(['/', ':']) {
            Some((n, d)) => fraction(n, d),
            None => decimal(text),
        }
        .ok_or_else(|| format!("rate {text:?}, expected frames a second such as 30, 29.97 or 30000/1001"))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.seconds == 1 { write!(f, "{}", self.frames) } else { write!(f, "{}/{}", self.frames, self.seconds) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_do_not_drift() {
        let ntsc = Rate::new(30_000, 1001).unwrap();
        assert_eq!(ntsc.at(1), Timestamp(33_366_666));
        assert_eq!(ntsc.at(30_000), Timestamp(1_001_000_000_000));
        assert_eq!(ntsc.at(u64::MAX), Timestamp(u64::MAX));
        assert_eq!(Rate::per_tick(100).at(7), Timestamp::from_ms(700));
    }

    #[test]
    fn text_becomes_a_rate_or_a_sentence() {
        for (text, n, d) in [("30", 30, 1), ("29.97", 2997, 100), ("30000/1001", 30_000, 1001), ("25:1", 25, 1), ("0.5", 5, 10)] {
            assert_eq!(text.parse(), Ok(Rate { frames: n, seconds: d }), "{text}");
        }
        for text in ["", "0", "-1", "1/0", "0/1", "x", "1e3", "1.23456", "99999999999", "20000", "1/2/3", ".", "+5"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }
}
