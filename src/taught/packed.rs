//! Numbers as text: a scale and sixteen bits each in hex, `0.25:7fff0000...`. A sixth of what decimals would take, and exact to 1/32767 of the
//! largest one, which is far finer than one example differs from the next.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// Most numbers of one text: a covariance of 1024 x 1024, half of it.
const MAX: usize = 1024 * 1025 / 2;
const TOP: f32 = 32_767.0;

/// Finite numbers that are written so.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Packed(pub Vec<f32>);

impl Packed {
    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The numbers as they will be read back.
    pub fn round(numbers: &[f32]) -> Self {
        let scale = scale(numbers);
        Self(numbers.iter().map(|v| f32::from(level(*v, scale)) / TOP * scale).collect())
    }
}

fn scale(numbers: &[f32]) -> f32 {
    numbers.iter().fold(0.0f32, |top, v| top.max(v.abs()))
}

fn level(v: f32, scale: f32) -> i16 {
    // Within ±32767 by the scale; 0 where all are 0.
    if scale > 0.0 { (v / scale * TOP).round() as i16 } else { 0 }
}

impl Serialize for Packed {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let scale = scale(&self.0);
        let mut text = format!("{scale}:");
        for v in &self.0 {
            for nibble in (0..4).rev() {
                let digit = (level(*v, scale) as u16 >> (4 * nibble)) & 15;
                text.push(char::from_digit(digit.into(), 16).unwrap_or('0'));
            }
        }
        to.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Packed {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        unpack(&text).map(Self).ok_or_else(|| D::Error::custom("numbers are `scale:` and four hex digits each"))
    }
}

fn unpack(text: &str) -> Option<Vec<f32>> {
    let (scale, digits) = text.split_once(':')?;
    let scale: f32 = scale.parse().ok().filter(|s: &f32| s.is_finite() && *s >= 0.0)?;
    let digits = digits.as_bytes();
    if digits.len() % 4 != 0 || digits.len() / 4 > MAX {
        return None;
    }
    let number = |four: &[u8]| {
        let level = four.iter().try_fold(0u16, |all, d| Some(all << 4 | char::from(*d).to_digit(16)? as u16))?;
        Some(f32::from(level as i16) / TOP * scale)
    };
    digits.chunks_exact(4).map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_and_rounding_twice_is_rounding_once() {
        let numbers = Packed::round(&[0.25, -0.1, 0.0, 1e-7, 0.2499]);
        let text = serde_json::to_string(&numbers).unwrap();
        assert!(text.starts_with("\"0.25:7fff"), "{text}");
        assert_eq!(serde_json::from_str::<Packed>(&text).unwrap(), numbers);
        assert!((numbers.0[1] + 0.1).abs() < 0.25 / TOP);
        for wrong in ["", "1", "x:0000", "inf:0000", "1:000", "1:00g0", "NaN:0000", "-1:0000"] {
            assert!(unpack(wrong).is_none(), "{wrong}");
        }
    }
}
