//! The file that `lookout index` writes and `lookout find` reads: moments of a collection, and how one is described.
//!
//! A line of JSON ([`Header`]), then for every moment its recording (u32), its start in ms (u32), both little-endian, and its description as
//! one i8 a number, 127 for 1. A file that was cut short or changed is refused whole: what is left of it would be searched as if it were everything.
//!
//! A moment in which a row holds something that is no number is like nothing, and is in no index; what varies is measured on the other rows.

use crate::bundle::MAX_WINDOW;
use crate::ticks::{Data, Ticks};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::io::{self, Read, Write};

/// Parts of a window whose means are taken.
const PARTS: usize = 4;
/// Bytes before the numbers of a moment.
const PLACE: usize = 8;

/// What [`Header::kind`] must be.
pub const KIND: &str = "lookout index 1";

/// The first line of an index.
#[derive(Debug, Serialize, Deserialize)]
pub struct Header {
    /// [`KIND`]
    pub kind: String,
    /// Hash of the bundle whose encoder saw it.
    pub bundle: String,
    /// Ticks of a moment.
    pub window: usize,
    /// Milliseconds a tick.
    pub tick_ms: u32,
    /// Mean of every feature over the collection.
    pub mean: Vec<f32>,
    /// Deviation of every feature.
    pub deviation: Vec<f32>,
    /// Its recordings.
    pub clips: Vec<String>,
}

impl Header {
    /// Does a file begin as an index does?
    pub fn begins(file: impl Read) -> bool {
        let expected = format!("{{\"kind\":\"{KIND}\"");
        let mut found = Vec::new();
        file.take(expected.len() as u64).read_to_end(&mut found).is_ok() && found == expected.as_bytes()
    }

    fn is_sound(&self) -> bool {
        // The bounds of a contract (`bundle.toml`, `[time]`), which `index` took them from.
        (1..=MAX_WINDOW).contains(&self.window)
            && (5..=60_000).contains(&self.tick_ms)
            && self.bundle.len() == 64
            && self.bundle.bytes().all(|b| b.is_ascii_hexdigit())
            && self.mean.len() == self.deviation.len()
            && self.mean.iter().chain(&self.deviation).all(|v| v.is_finite())
    }

    /// What feature `k` is divided by.
    fn scale(&self, k: usize) -> f32 {
        let (mean, deviation) = (self.mean[k], self.deviation[k]);
        if Ticks::is_still(mean, deviation) { 1.0 } else { deviation }
    }

    /// First tick and description, of length 1, of every moment that holds numbers alone. Of a recording whose ticks have another number of features: none.
    pub fn describe(&self, ticks: &Ticks) -> Vec<(usize, Vec<f32>)> {
        let (width, len) = (self.mean.len(), ticks.len());
        let rows = rows(ticks);
        if ticks.width != width || rows.len() != len || len == 0 || self.window == 0 {
            return vec![];
        }
        let describe = |start: usize| {
            let window = &rows[start..len.min(start + self.window)];
            let mut all = Vec::with_capacity(PARTS * width);
            for part in 0..PARTS {
                let (from, to) =
                    (window.len() * part / PARTS, (window.len() * (part + 1) / PARTS).max(window.len() * part / PARTS + 1));
                let part = &window[from.min(window.len() - 1)..to.min(window.len())];
                for k in 0..width {
                    let mean = part.iter().map(|row| row[k]).sum::<f32>() / part.len() as f32;
                    all.push((mean - self.mean[k]) / self.scale(k));
                }
            }
            let length = all.iter().map(|v| v * v).sum::<f32>().sqrt().max(1e-9);
            all.iter_mut().for_each(|v| *v /= length);
            (start, all)
        };
        starts(&rows, self.window).filter(|(_, whole)| *whole).map(|(start, _)| describe(start)).collect()
    }

    /// Writes the moments of recording `n`, and gives how many they are.
    ///
    /// # Errors
    /// Those of `file`.
    pub fn write(&self, n: usize, ticks: &Ticks, file: &mut dyn Write) -> io::Result<usize> {
        let described = self.describe(ticks);
        for (start, numbers) in &described {
            let place = [n as u32, (*start as u64 * u64::from(self.tick_ms)) as u32].map(u32::to_le_bytes).concat();
            let bytes: Vec<u8> = numbers.iter().map(|v| (v * 127.0).round() as i8 as u8).collect();
            file.write_all(&place).and_then(|()| file.write_all(&bytes))?;
        }
        Ok(described.len())
    }
}

/// The rows of a recording; none of one that has no numbers.
fn rows(ticks: &Ticks) -> Vec<&[f32]> {
    let numbers: &[f32] = if let Data::Numbers(numbers) = &ticks.data { numbers } else { &[] };
    numbers.chunks_exact(ticks.width.max(1)).collect()
}

fn is_whole(row: &[f32]) -> bool {
    row.iter().all(|v| v.is_finite())
}

/// Where moments begin, every half window from the start on, and whether they hold numbers alone. A short recording is one moment.
fn starts(rows: &[&[f32]], window: usize) -> impl Iterator<Item = (usize, bool)> {
    let len = rows.len();
    let starts = (0..len.saturating_sub(window) + 1).step_by((window / 2).max(1));
    starts.map(move |start| (start, rows[start..len.min(start + window)].iter().all(|row| is_whole(row))))
}

/// How many moments of `window` ticks a recording has that hold numbers alone, and how many that do not.
pub fn count(ticks: &Ticks, window: usize) -> [usize; 2] {
    let rows = rows(ticks);
    let whole = starts(&rows, window).filter(|(_, whole)| *whole).count();
    [whole, starts(&rows, window).count() - whole]
}

/// Mean and deviation of every feature, over the rows that hold numbers alone.
pub fn spread(all: &[Ticks]) -> (Vec<f32>, Vec<f32>) {
    let whole: Vec<Cow<'_, Ticks>> = all.iter().map(whole).collect();
    Ticks::spread(whole.iter().map(|ticks| &**ticks))
}

/// A recording without its other rows.
fn whole(ticks: &Ticks) -> Cow<'_, Ticks> {
    let rows = rows(ticks);
    if rows.iter().all(|row| is_whole(row)) {
        return Cow::Borrowed(ticks);
    }
    let numbers = rows.into_iter().filter(|row| is_whole(row)).flatten().copied().collect();
    Cow::Owned(Ticks { width: ticks.width, data: Data::Numbers(numbers), size: ticks.size })
}

/// A moment that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Found<'a> {
    /// The cosine: 1 is the same.
    pub like: f32,
    /// Its recording.
    pub clip: &'a str,
    /// Where it begins in it.
    pub start_ms: u64,
    /// Where it ends: a window further, beyond the end of a recording that is shorter.
    pub end_ms: u64,
}

/// An index in memory.
#[derive(Debug)]
pub struct Index {
    /// What it is of.
    pub header: Header,
    moments: Vec<u8>,
}

impl Index {
    /// Reads a file.
    ///
    /// # Errors
    /// One sentence, without the file's name.
    pub fn parse(mut bytes: Vec<u8>) -> Result<Self, String> {
        let end = bytes.iter().position(|b| *b == b'\n').unwrap_or(bytes.len());
        let header: Option<Header> = serde_json::from_slice(&bytes[..end]).ok().filter(|h: &Header| h.kind == KIND);
        let header = header.ok_or("not an index of lookout")?;
        bytes.drain(..(end + 1).min(bytes.len()));
        let index = Self { header, moments: bytes };
        let whole = index.moments.len().is_multiple_of(index.size());
        if !whole || !index.header.is_sound() || index.places().any(|(clip, ..)| clip as usize >= index.header.clips.len()) {
            return Err("it is damaged or was cut short; index the recordings again".into());
        }
        Ok(index)
    }

    /// Bytes of a moment.
    fn size(&self) -> usize {
        PLACE + PARTS * self.header.mean.len()
    }

    /// Recording, start in ms and description of every moment.
    fn places(&self) -> impl Iterator<Item = (u32, u32, &[u8])> {
        self.moments.chunks_exact(self.size()).map(|moment| {
            let (place, described) = moment.split_at(PLACE);
            let number = |at: usize| u32::from_le_bytes([place[at], place[at + 1], place[at + 2], place[at + 3]]);
            (number(0), number(4), described)
        })
    }

    /// The `top` moments most like any of the recording's, the likest first, none within a window of another.
    pub fn find(&self, ticks: &Ticks, top: usize) -> Vec<Found<'_>> {
        let asked: Vec<Vec<f32>> = self.header.describe(ticks).into_iter().map(|(_, d)| d).collect();
        let mut found: Vec<(f32, u32, u32)> = Vec::new();
        for (clip, start_ms, described) in self.places() {
            let like = |asked: &Vec<f32>| asked.iter().zip(described).map(|(a, b)| a * f32::from(*b as i8)).sum::<f32>() / 127.0;
            // An i8 a number rounds a moment's length a little past 1.
            found.push((asked.iter().map(like).fold(-1.0, f32::max).min(1.0), clip, start_ms));
        }
        found.sort_by(|a, b| b.0.total_cmp(&a.0));
        let length = self.header.window as u32 * self.header.tick_ms;
        let mut shown: Vec<(f32, u32, u32)> = Vec::new();
        for moment in found {
            if shown.len() >= top {
                break;
            }
            // Half of a moment is its neighbour's: one of them is enough.
            if !shown.iter().any(|s| s.1 == moment.1 && s.2.abs_diff(moment.2) < length) {
                shown.push(moment);
            }
        }
        let named = |(like, clip, start_ms): (f32, u32, u32)| Found {
            like,
            clip: self.header.clips.get(clip as usize).map_or("?", String::as_str),
            start_ms: start_ms.into(),
            end_ms: u64::from(start_ms) + u64::from(length),
        };
        shown.into_iter().map(named).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(window: usize, tick_ms: u32) -> Header {
        let (mean, deviation, clips) = (vec![0.5; 2], vec![1.0; 2], vec!["a.avi".into()]);
        Header { kind: KIND.into(), bundle: "0a".repeat(32), window, tick_ms, mean, deviation, clips }
    }

    fn ticks(n: usize) -> Ticks {
        Ticks { width: 2, data: Data::Numbers((0..2 * n).map(|v| v as f32).collect()), size: [0, 0] }
    }

    fn file(said: &Header, recording: usize) -> Vec<u8> {
        let mut bytes = format!("{}\n", serde_json::to_string(said).expect("JSON")).into_bytes();
        // Whatever the header says, moments as `index` writes them.
        header(4, 100).write(recording, &ticks(9), &mut bytes).expect("written");
        bytes
    }

    #[test]
    fn what_was_written_is_found_again_and_what_cannot_have_been_is_refused() {
        let index = Index::parse(file(&header(4, 100), 0)).expect("an index");
        let found = index.find(&ticks(9), 10);
        assert_eq!(found.len(), 2, "of three moments one is within another's window");
        assert!(found[0].like > 0.99 && found[0].clip == "a.avi" && found[0].end_ms == found[0].start_ms + 400, "{found:?}");
        assert!(
            index.find(&Ticks { width: 3, ..ticks(9) }, 10).iter().all(|f| f.like <= -1.0),
            "of another width nothing is like it"
        );
        // Ticks of no time would never end, a window of none has no middle, and there is no second recording.
        for (wrong, recording) in [(header(0, 100), 0), (header(4, 0), 0), (header(1 << 40, 100), 0), (header(4, 100), 1)] {
            assert!(Index::parse(file(&wrong, recording)).is_err(), "{wrong:?}");
        }
        let whole = file(&header(4, 100), 0);
        assert!(Header::begins(&whole[..]) && !Header::begins(&whole[1..]) && !Header::begins(&whole[..9]));
        assert!(Index::parse(whole[..whole.len() - 1].to_vec()).expect_err("cut").contains("cut short"));
        assert!(Index::parse(b"RIFF".to_vec()).expect_err("another file").contains("not an index"));
    }

    #[test]
    fn moments_with_something_that_is_no_number_are_left_out_and_the_others_are_as_they_were() {
        let whole = ticks(12);
        let mut torn = whole.clone();
        if let Data::Numbers(numbers) = &mut torn.data {
            numbers[2 * 7] = f32::NAN;
            numbers[2 * 11 + 1] = f32::INFINITY;
        }
        // They begin at 0, 2, 4, 6 and 8: tick 7 is in two of them, tick 11 in the last.
        let said = header(4, 100);
        assert_eq!((count(&whole, 4), count(&torn, 4)), ([5, 0], [2, 3]));
        assert_eq!(said.describe(&torn), said.describe(&whole)[..2]);
        assert_eq!(count(&Ticks { width: 2, data: Data::Numbers(vec![f32::NAN; 2]), size: [0, 0] }, 4), [0, 1]);
        let rows: Vec<f32> = (0..24).filter(|n| ![7, 11].contains(&(n / 2))).map(|n| n as f32).collect();
        let without = Ticks { width: 2, data: Data::Numbers(rows), size: [0, 0] };
        assert_eq!(spread(&[torn]), Ticks::spread([&without].into_iter()));
    }

    /// A pressure that stood still in the collection and is a little off in what is looked for must not drown what moves.
    #[test]
    fn a_feature_that_never_varied_does_not_decide() {
        let rows = |phase: usize, pressure: f32| {
            let row = |t: usize| [((t + phase) % 8) as f32, pressure];
            Ticks { width: 2, data: Data::Numbers((0..40).flat_map(row).collect()), size: [0, 0] }
        };
        let all = rows(0, 1013.3);
        let (mean, deviation) = Ticks::spread(std::iter::once(&all));
        let said = Header { mean, deviation, ..header(4, 100) };
        let mut bytes = format!("{}\n", serde_json::to_string(&said).expect("JSON")).into_bytes();
        said.write(0, &all, &mut bytes).expect("written");
        let index = Index::parse(bytes).expect("an index");
        let found = index.find(&rows(0, 1013.4), 1);
        assert!(found[0].like > 0.95, "{found:?}");
    }
}
