//! What every sentence is wrapped in: `$`, fields, a CRC-16, `*`, a checksum.
//!
//! ```text
//! $PLKTG,17,19,8CA9*65<CR><LF>
//!  |________| |__| |_ XOR of every byte between `$` and `*`, two capital hex digits (NMEA 0183)
//!   body      |______ CRC-16 of the body, four capital hex digits
//! ```
//! The XOR is what any NMEA parser checks; it misses swapped fields and two lines that ran into each other, which is
//! what really happens on a wire, so the last field is a CRC as well: CRC-16/CCITT-FALSE (also called IBM-3740: polynomial
//! 0x1021, start 0xFFFF, nothing reflected, no final XOR; `binascii.crc_hqx(body, 0xFFFF)` in Python) over the
//! body, that is everything after `$` and before the comma in front of the CRC.
//!
//! Hex digits are capitals only and a second `$` or `*` is refused, so that every change of a single character is noticed.

use core::fmt::Write as _;
use crc::{CRC_16_IBM_3740, Crc, Table};
use heapless::String as Text;

/// Longest sentence, `$` to LF (NMEA 0183).
pub const MAX_SENTENCE: usize = 82;
/// Longest line taken as a command, line end included.
pub const MAX_COMMAND: usize = 128;
/// `,CCCC*XX<CR><LF>`
const TAIL: usize = 10;
/// Longest body: what lies between `$` and the comma before the CRC.
pub const MAX_BODY: usize = MAX_SENTENCE - 1 - TAIL;

/// A whole sentence, line end included.
pub type Line = Text<MAX_SENTENCE>;
/// What is between `$` and the CRC's comma.
pub type Body = Text<MAX_BODY>;

const CRC: Crc<u16, Table<1>> = Crc::<u16, Table<1>>::new(&CRC_16_IBM_3740);

/// Why a line is not one of our sentences. Nothing in such a line may be acted upon.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SentenceError {
    /// Longer than a sentence or command may be.
    #[error("line of {found} bytes, at most {limit} expected")]
    TooLong {
        /// Bytes found, without the line end.
        found: usize,
        /// Bytes allowed, without the line end.
        limit: usize,
    },
    /// A byte that no sentence holds.
    #[error("byte {byte:#04x} at column {column}, printable ASCII expected")]
    NotPrintable {
        /// Place in the line, from 0.
        column: usize,
        /// What was there.
        byte: u8,
    },
    /// No `$` at the start or no `,CCCC*XX` at the end.
    #[error("no `$...,CCCC*XX` frame")]
    NoFrame,
    /// A second `$` or `*`: two lines ran into each other.
    #[error("two lines run together at column {column}")]
    Merged {
        /// Place of the second start or end, from 0.
        column: usize,
    },
    /// The NMEA checksum is wrong.
    #[error("checksum {found:02X} found, {expected:02X} expected")]
    Xor {
        /// In the line.
        found: u8,
        /// Of the line.
        expected: u8,
    },
    /// The CRC is wrong.
    #[error("CRC {found:04X} found, {expected:04X} expected")]
    Crc {
        /// In the line.
        found: u16,
        /// Of the line.
        expected: u16,
    },
    /// Intact, but not one of our sentences.
    #[error("`{0}` is no sentence of ours")]
    Unknown(Text<16>),
    /// Intact and ours, but this field is not what the grammar says.
    #[error("{sentence} field {field}: {expected} expected")]
    Field {
        /// Which sentence, as `PLKTC`.
        sentence: &'static str,
        /// Which field, by its name in the grammar.
        field: &'static str,
        /// What belongs there.
        expected: &'static str,
    },
}

/// Wraps a body into a sentence. A body is at most [`MAX_BODY`] bytes by its type, so the result always fits.
pub fn seal(body: &Body) -> Line {
    let mut line = Line::new();
    let whole = write!(line, "${body},{:04X}", CRC.checksum(body.as_bytes()));
    let sum = xor(&line.as_bytes()[1..]);
    let whole = whole.and_then(|()| write!(line, "*{sum:02X}\r\n"));
    debug_assert!(whole.is_ok(), "MAX_BODY leaves room for the tail");
    line
}

/// Checks a line (with or without its line end) and gives back its body.
///
/// # Errors
/// [`SentenceError`], the first thing that is wrong.
pub fn unseal(line: &[u8]) -> Result<&str, SentenceError> {
    let line = line.strip_suffix(b"\r\n").or_else(|| line.strip_suffix(b"\n")).unwrap_or(line);
    let limit = if line.starts_with(b"$PLKTQ") { MAX_COMMAND } else { MAX_SENTENCE } - 2;
    if line.len() > limit {
        return Err(SentenceError::TooLong { found: line.len(), limit });
    }
    if let Some(column) = line.iter().position(|b| !(0x20..0x7f).contains(b)) {
        return Err(SentenceError::NotPrintable { column, byte: line[column] });
    }
    let text = core::str::from_utf8(line).map_err(|_| SentenceError::NoFrame)?;
    let inner = text.strip_prefix('$').ok_or(SentenceError::NoFrame)?;
    if let Some(column) = inner.find('$') {
        return Err(SentenceError::Merged { column: column + 1 });
    }
    let (payload, sum) = inner.split_once('*').ok_or(SentenceError::NoFrame)?;
    if let Some(column) = sum.find('*') {
        return Err(SentenceError::Merged { column: column + payload.len() + 2 });
    }
    let found = hex(sum, 2).ok_or(SentenceError::NoFrame)?;
    let expected = xor(payload.as_bytes());
    if found != u16::from(expected) {
        return Err(SentenceError::Xor { found: found.to_be_bytes()[1], expected });
    }
    let (body, crc) = payload.rsplit_once(',').ok_or(SentenceError::NoFrame)?;
    let found = hex(crc, 4).ok_or(SentenceError::NoFrame)?;
    let expected = CRC.checksum(body.as_bytes());
    if found != expected {
        return Err(SentenceError::Crc { found, expected });
    }
    Ok(body)
}

fn xor(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, b| sum ^ b)
}

/// Exactly `digits` capital hex digits.
fn hex(text: &str, digits: usize) -> Option<u16> {
    let capital = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'A'..=b'F'));
    (text.len() == digits && capital).then(|| u16::from_str_radix(text, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc_is_ccitt_false() {
        assert_eq!(CRC.checksum(b"123456789"), 0x29B1);
    }

    #[test]
    fn example_in_the_grammar_is_true() {
        let line = seal(&Body::try_from("PLKTG,17,19").unwrap());
        assert_eq!(line.as_str(), "$PLKTG,17,19,8CA9*65\r\n");
        assert_eq!(unseal(line.as_bytes()), Ok("PLKTG,17,19"));
    }

    #[test]
    fn longest_body_makes_longest_sentence() {
        let body = Body::try_from("x".repeat(MAX_BODY).as_str()).unwrap();
        let line = seal(&body);
        assert_eq!(line.len(), MAX_SENTENCE);
        assert_eq!(unseal(line.as_bytes()), Ok(body.as_str()));
    }

    #[test]
    fn every_refusal_has_its_name() {
        let good = seal(&Body::try_from("PLKTG,1,2").unwrap());
        let good = good.trim_end();
        type Is = fn(&SentenceError) -> bool;
        let cases: [(String, Is); 9] = [
            ("x".repeat(81), |e| matches!(e, SentenceError::TooLong { found: 81, limit: 80 })),
            (format!("$PLKTQ,{}", "x".repeat(120)), |e| matches!(e, SentenceError::TooLong { found: 127, limit: 126 })),
            (format!("{good}\u{7}"), |e| matches!(e, SentenceError::NotPrintable { byte: 7, .. })),
            (String::new(), |e| *e == SentenceError::NoFrame),
            (good[1..].into(), |e| *e == SentenceError::NoFrame),
            (good.to_lowercase(), |e| *e == SentenceError::NoFrame || matches!(e, SentenceError::Xor { .. })),
            (format!("{good}{good}"), |e| matches!(e, SentenceError::Merged { .. })),
            (good.replace("1,2", "1,3"), |e| matches!(e, SentenceError::Xor { .. })),
            (good.replace("1,2", "2,1"), |e| matches!(e, SentenceError::Crc { .. })),
        ];
        for (line, is) in cases {
            let error = unseal(line.as_bytes()).unwrap_err();
            assert!(is(&error), "{line:?}: {error:?}");
        }
    }
}
