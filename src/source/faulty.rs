//! Any source with faults of its own making, from a seed: what a tired camera and a loose cable do, the same on every run.
//!
//! `faulty:seed=7,drop=0.2,repeat=0.05,delay=0.1,corrupt=0.01,back=0.01:y4m:clip.y4m`. Each number is the share of frames it happens to:
//! `drop` takes the frame away (its sequence number is missing), `repeat` shows the picture before once more, `delay` stamps
//! the frame later, by less than one frame, `corrupt` overwrites a stretch of its bytes (in a row: one number), `back` stamps it earlier
//! than the one before.

use super::{Frame, Image, Payload, PixelFormat, Source, SourceError, Timestamp};
use crate::rng::Rng;
use std::fmt;
use std::str::FromStr;

/// How often each fault happens, 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Faults {
    /// Where the dice start.
    pub seed: u64,
    /// Frames that are lost.
    pub drop: f64,
    /// Frames that show the picture before.
    pub repeat: f64,
    /// Frames that come late.
    pub delay: f64,
    /// Frames with damaged contents.
    pub corrupt: f64,
    /// Frames whose stamp lies before the last one's.
    pub back: f64,
}

impl FromStr for Faults {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let mut faults = Self::default();
        for part in text.split(',').filter(|p| !p.is_empty()) {
            let wrong = || format!("fault {part:?}, expected seed=N or drop, repeat, delay, corrupt or back = 0 to 1");
            let (key, value) = part.split_once('=').ok_or_else(wrong)?;
            let share = || value.parse().ok().filter(|v| (0.0..=1.0).contains(v)).ok_or_else(wrong);
            match key {
                "seed" => faults.seed = value.parse().map_err(|_| wrong())?,
                "drop" => faults.drop = share()?,
                "repeat" => faults.repeat = share()?,
                "delay" => faults.delay = share()?,
                "corrupt" => faults.corrupt = share()?,
                "back" => faults.back = share()?,
                _ => return Err(wrong()),
            }
        }
        Ok(faults)
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, drop, repeat, delay, corrupt, back } = self;
        write!(f, "seed={seed},drop={drop},repeat={repeat},delay={delay},corrupt={corrupt},back={back}")
    }
}

/// A source that misbehaves.
pub struct Faulty {
    inner: Box<dyn Source>,
    faults: Faults,
    dice: Rng,
    kept: Kept,
    /// Stamp of the last frame as the inner source gave it.
    last: Option<Timestamp>,
}

impl Faulty {
    /// Wraps `inner`.
    pub fn new(inner: Box<dyn Source>, faults: Faults) -> Self {
        Self { inner, faults, dice: Rng(faults.seed), kept: Kept::default(), last: None }
    }
}

impl Source for Faulty {
    fn next(&mut self) -> Result<Option<Frame<'_>>, SourceError> {
        loop {
            let Some(frame) = self.inner.next()? else { return Ok(None) };
            let Frame { mut at, seq, payload } = frame;
            // Every die is thrown for every frame, so that one fault's share does not move the others.
            let f = &self.faults;
            let [drop, repeat, delay, corrupt, back] =
                [f.drop, f.repeat, f.delay, f.corrupt, f.back].map(|share| self.dice.share() < share);
            let (how_late, place) = (self.dice.share(), self.dice.bits());
            let gap = self.last.map_or(0, |last| at.0.saturating_sub(last.0));
            self.last = Some(at);
            if drop {
                continue;
            }
            if !(repeat && self.kept.full) {
                self.kept.keep(&payload);
            }
            if corrupt {
                self.kept.damage(place, &mut self.dice);
            }
            if delay {
                at.0 = at.0.saturating_add((gap as f64 * how_late) as u64);
            }
            if back {
                at.0 = at.0.saturating_sub(gap.saturating_mul(2));
            }
            return Ok(Some(Frame { at, seq, payload: self.kept.lend()? }));
        }
    }

    fn describe(&self) -> String {
        format!("faulty ({}) over {}", self.faults, self.inner.describe())
    }

    fn is_live(&self) -> bool {
        self.inner.is_live()
    }

    fn reopens_after_stall(&self) -> bool {
        self.inner.reopens_after_stall()
    }

    fn losses(&self) -> Option<super::Losses> {
        self.inner.losses()
    }

    fn len_hint(&self) -> Option<u64> {
        self.inner.len_hint()
    }
}

/// The last payload, copied.
#[derive(Debug, Default)]
struct Kept {
    full: bool,
    image: Option<(PixelFormat, usize, usize, usize)>,
    bytes: Vec<u8>,
    row: Vec<f32>,
}

impl Kept {
    fn keep(&mut self, payload: &Payload<'_>) {
        self.full = true;
        match payload {
            Payload::Image(i) => {
                self.image = Some((i.format(), i.width(), i.height(), i.stride_bytes()));
                self.bytes.clear();
                self.bytes.extend_from_slice(i.data());
            }
            // `open` refuses faults in a black box.
            Payload::Shaped(..) => {}
            Payload::Row(row) => {
                self.image = None;
                self.row.clear();
                self.row.extend_from_slice(row);
            }
        }
    }

    /// Overwrites about a sixteenth of a picture, or one number of a row, beginning at `place`.
    fn damage(&mut self, place: u64, dice: &mut Rng) {
        if self.image.is_some() {
            let len = self.bytes.len();
            let from = (place % len.max(1) as u64) as usize;
            let to = (from + len / 16 + 1).min(len);
            self.bytes[from..to].fill_with(|| dice.bits() as u8);
        } else if !self.row.is_empty() {
            let at = (place % self.row.len() as u64) as usize;
            self.row[at] = [f32::NAN, f32::INFINITY, 0.0, -1e30][(dice.bits() % 4) as usize];
        }
    }

    fn lend(&self) -> Result<Payload<'_>, SourceError> {
        Ok(match self.image {
            Some((format, width, height, stride)) => Payload::Image(Image::new(format, width, height, stride, &self.bytes)?),
            None => Payload::Row(&self.row),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Rate, rows::Rows};
    use super::*;

    /// 1 000 rows `n n`, with these faults: stamp in ms, sequence and numbers of what came out.
    fn run(faults: &str) -> Vec<(u64, u32, Vec<f32>)> {
        let text: String = (0..1000).map(|n| format!("{n} {n}\n")).collect();
        let rows = Rows::from_reader("t", std::io::Cursor::new(text), Rate::per_tick(100), None);
        let mut faulty = Faulty::new(Box::new(rows), faults.parse().unwrap());
        let mut all = Vec::new();
        while let Some(f) = faulty.next().unwrap() {
            let Payload::Row(row) = f.payload else { panic!() };
            all.push((f.at.ms(), f.seq.0, row.to_vec()));
        }
        all
    }

    #[test]
    fn the_same_seed_makes_the_same_faults() {
        let spec = "seed=7,drop=0.2,repeat=0.1,delay=0.1,back=0.05";
        assert_eq!(run(spec), run(spec));
        assert_ne!(run(spec), run("seed=8,drop=0.2,repeat=0.1,delay=0.1,back=0.05"));
    }

    #[test]
    fn each_fault_happens_as_often_as_asked() {
        assert_eq!(run("").len(), 1000);
        assert!((750..850).contains(&run("drop=0.2").len()));
        let count = |spec: &str, is: fn(usize, &(u64, u32, Vec<f32>)) -> bool| {
            run(spec).iter().enumerate().filter(|(n, f)| is(*n, f)).count()
        };
        assert!((60..140).contains(&count("repeat=0.1", |n, f| f.2[0] != n as f32)));
        assert!((60..140).contains(&count("delay=0.1", |n, f| f.0 > n as u64 * 100)));
        assert!((60..140).contains(&count("back=0.1", |n, f| f.0 < n as u64 * 100)));
        assert!((60..140).contains(&count("corrupt=0.1", |n, f| f.2 != [n as f32; 2])));
    }

    #[test]
    fn wrong_faults_are_refused() {
        for text in ["drop", "drop=2", "drop=-1", "drop=nan", "seed=x", "fly=1"] {
            assert!(text.parse::<Faults>().unwrap_err().contains(text), "{text}");
        }
        let f: Faults = "seed=7,drop=0.25".parse().unwrap();
        assert_eq!(f.to_string().parse(), Ok(f));
    }
}
