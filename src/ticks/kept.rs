//! How the ticks of a recording lie in the cache: a line with what was noted while they were made, width and height of its pictures (u32, little-endian),
//! then `.npy`, `[ticks, width]`.
//!
//! A cache lies on a disk for months. What is no such file, or was cut short, is made again.

use super::{Data, Ticks};
use crate::golden;
use ndarray::{ArrayView2, Ix2};
use ndarray_npy::WriteNpyExt;

/// What was noted of a recording while it was read. It is said whenever its ticks are used.
#[derive(Debug, PartialEq)]
pub(super) struct Note {
    /// Which part of it is damaged, a sentence of one line; empty: none.
    pub damage: String,
    /// Do most of its frames stand for more than one tick?
    pub slow: bool,
}

impl Note {
    /// The first line of what is kept.
    pub(super) fn line(&self) -> String {
        format!("{} {}\n", if self.slow { "slow" } else { "-" }, self.damage)
    }

    /// Reads that line, and gives what stands behind it.
    pub(super) fn parse(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let end = bytes.iter().position(|b| *b == b'\n')?;
        let (slow, damage) = std::str::from_utf8(&bytes[..end]).ok()?.split_once(' ')?;
        Some((Self { damage: damage.into(), slow: slow == "slow" }, &bytes[end + 1..]))
    }
}

impl Ticks {
    /// What is kept.
    ///
    /// # Errors
    /// None in practice.
    pub fn to_bytes(&self) -> Result<Vec<u8>, String> {
        let mut bytes = self.size.iter().flat_map(|side| side.to_le_bytes()).collect::<Vec<u8>>();
        let shape = (self.len(), self.width);
        let array = |e: ndarray::ShapeError| e.to_string();
        let packed = match &self.data {
            Data::Levels(l) => ArrayView2::from_shape(shape, l).map_err(array)?.write_npy(&mut bytes),
            Data::Numbers(n) => ArrayView2::from_shape(shape, n).map_err(array)?.write_npy(&mut bytes),
        };
        packed.map_err(|e| e.to_string()).map(|()| bytes)
    }

    /// Reads it again. `levels`: planes are expected, else numbers.
    ///
    /// # Errors
    /// One sentence, without the file's name: it is none, or is damaged.
    pub fn from_bytes(bytes: &[u8], levels: bool) -> Result<Self, String> {
        let (size, array) = bytes.split_first_chunk::<8>().ok_or_else(|| format!("{} bytes found", bytes.len()))?;
        let side = |n: usize| u32::from_le_bytes([size[n], size[n + 1], size[n + 2], size[n + 3]]);
        let shape = |e: ndarray::ShapeError| format!("its array: {e}");
        let (width, data) = if levels {
            let array = golden::array::<u8>(array)?.into_dimensionality::<Ix2>().map_err(shape)?;
            (array.ncols(), Data::Levels(array.iter().copied().collect()))
        } else {
            let array = golden::array::<f32>(array)?.into_dimensionality::<Ix2>().map_err(shape)?;
            (array.ncols(), Data::Numbers(array.iter().copied().collect()))
        };
        let ticks = Self { width, data, size: [side(0), side(4)] };
        // A recording has a frame, and a frame gives something; `make` gives no other.
        if ticks.is_empty() { Err("no tick in it".into()) } else { Ok(ticks) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_comes_back() {
        for (damage, slow) in [("", false), ("a.avi: frame 7: damaged", true)] {
            let note = Note { damage: damage.into(), slow };
            let bytes = [note.line().as_bytes(), b"\n-"].concat();
            assert_eq!(Note::parse(&bytes), Some((note, &b"\n-"[..])));
        }
        assert_eq!(Note::parse(b"slow, and no end"), None);
    }

    #[test]
    fn what_was_kept_comes_back_and_another_shape_does_not() {
        for data in [Data::Levels(vec![0, 9, 255, 1]), Data::Numbers(vec![0.5, -1.0, f32::MAX, 2.0])] {
            let ticks = Ticks { width: 2, data, size: [320, 240] };
            let (bytes, levels) = (ticks.to_bytes().expect("bytes"), matches!(ticks.data, Data::Levels(_)));
            assert_eq!(Ticks::from_bytes(&bytes, levels), Ok(ticks));
            assert!(Ticks::from_bytes(&bytes, !levels).is_err(), "of the other kind");
            assert!((0..bytes.len()).all(|end| Ticks::from_bytes(&bytes[..end], levels).is_err()), "cut anywhere");
            // Rows that are not there: refused before anything is asked for.
            let mut lies = bytes.clone();
            let shape = lies.windows(6).position(|w| w == b"(2, 2)").expect("its shape");
            lies[shape + 1] = b'9';
            assert!(Ticks::from_bytes(&lies, levels).expect_err("9 rows").contains("does not fit"));
        }
    }
}
