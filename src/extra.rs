//! Numbers that come beside the pictures: how fast the vehicle goes, what an IMU or a microphone says.
//!
//! The contract names them (`extra`). Each adds two numbers to what the head reads a tick, behind the frame's features: the value
//! as `(value - mean) / scale` and a mark, 1. One that is missing is 0 with the mark 0: nothing came yet, what came last is older than
//! `age_ms`, or its sensor says that it does not know (a receiver without a fix, `nan`). So a head can learn what silence means.
//!
//! Time decides, not arrival: a tick takes the value that was newest at its stamp, on the clock of the frames, however late either is
//! worked on. Values come with their stamps like frames do ([`Extras::push`]), live from a thread a device ([`listen`]) and for a
//! recording from the table beside it ([`table`]); the same values at the same stamps give the same rows, live and from a file. A tick without
//! a new frame repeats the row before, extras included, and counts as held.
//!
//! | what is read | room |
//! |---|---|
//! | `nmea:PORT[,BAUD][,speed\|course]` | [`nmea`]: a GPS receiver on a serial port |
//! | `rows:PATH[,COLUMN]` | [`rows`]: a FIFO, or a file that is written anew |
//! | `CLIP.extra.csv` | [`table`] |
//!
//! Memory: [`KEPT`] values a name, for ever. Without `extra` in the contract there is nothing of all this.

pub mod listen;
pub mod nmea;
pub mod rows;
pub mod spec;
pub mod table;

pub use listen::Listener;
pub use spec::Spec;
pub use table::Table;

use crate::bundle::label;
use crate::source::Timestamp;
use heapless::Deque;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Most extras of a bundle: speed, course, and an IMU's nine numbers leave room.
pub const MAX_EXTRAS: usize = 16;
/// Values of a name that wait for their tick. Live ones are at least 10 ms apart ([`listen`]), so this is 2.5 s; a camera
/// that is silent for a second counts as gone.
pub const KEPT: usize = 256;

/// One name under `extra` in the contract: alone (`extra = ["speed"]`) or as a table (`[[extra]]`).
#[derive(Clone, Debug, PartialEq)]
pub struct Extra {
    /// `[a-z0-9_-]{1,32}`; the configuration says where it comes from.
    pub name: String,
    /// Value that becomes 0.
    pub mean: f32,
    /// Distance from `mean` that becomes 1.
    pub scale: f32,
    /// A value older than this at its tick is missing, in ms. By default 2 s: GPS receivers give a fix a second, and two
    /// left out in a row are no longer chance.
    pub age_ms: u32,
}

impl Extra {
    /// This name with everything else by default.
    pub fn named(name: &str) -> Self {
        Self { name: name.into(), mean: 0.0, scale: 1.0, age_ms: 2_000 }
    }

    /// Checks what a contract says.
    ///
    /// # Errors
    /// A sentence with the key, found and expected.
    pub fn check(all: &[Self]) -> Result<(), String> {
        if all.len() > MAX_EXTRAS {
            return Err(format!("extra has {} names, expected at most {MAX_EXTRAS}", all.len()));
        }
        for (n, e) in all.iter().enumerate() {
            let key = |key: &str| format!("extra {}: {key}", e.name);
            label("extra", &e.name)?;
            if all[..n].iter().any(|other| other.name == e.name) {
                return Err(format!("extra: {:?} stands twice", e.name));
            }
            if !e.mean.is_finite() || !e.scale.is_finite() || e.scale == 0.0 {
                return Err(format!("{} {}, scale {}, expected numbers, scale not 0", key("mean"), e.mean, e.scale));
            }
            if !(1..=3_600_000).contains(&e.age_ms) {
                return Err(format!("{} = {}, expected 1 to 3600000", key("age_ms"), e.age_ms));
            }
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Extra {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Keys {
            name: String,
            mean: Option<f32>,
            scale: Option<f32>,
            age_ms: Option<u32>,
        }
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Extra;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a name, or a table with name, mean, scale and age_ms")
            }
            fn visit_str<E>(self, name: &str) -> Result<Extra, E> {
                Ok(Extra::named(name))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Extra, A::Error> {
                let keys = Keys::deserialize(MapAccessDeserializer::new(map))?;
                let plain = Extra::named(&keys.name);
                Ok(Extra {
                    mean: keys.mean.unwrap_or(plain.mean),
                    scale: keys.scale.unwrap_or(plain.scale),
                    age_ms: keys.age_ms.unwrap_or(plain.age_ms),
                    ..plain
                })
            }
        }
        from.deserialize_any(Either)
    }
}

/// What a sensor said: `None` where it said that it does not know.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Value {
    /// When, on the clock of the frames.
    pub at: Timestamp,
    /// What.
    pub value: Option<f32>,
}

/// One extra's values around the tick that is open.
#[derive(Debug, Default)]
struct Track {
    /// The newest at the last tick.
    now: Option<Value>,
    /// Those after it, oldest first.
    later: Deque<Value, KEPT>,
}

impl Track {
    fn push(&mut self, value: Value) {
        let newest = self.later.back().or(self.now.as_ref());
        if newest.is_some_and(|newest| newest.at > value.at) {
            // Another recording, or a clock that went back: what was said of times to come is void.
            *self = Self::default();
        }
        if self.later.is_full() {
            self.now = self.later.pop_front();
        }
        // There is room now.
        let _ = self.later.push_back(value);
    }

    /// The value at `tick`, if it is not older than `age`.
    fn at(&mut self, tick: Timestamp, age_ms: u32) -> Option<f32> {
        while self.later.front().is_some_and(|v| v.at <= tick) {
            self.now = self.later.pop_front();
        }
        let now = self.now.filter(|v| v.at <= tick && tick.0 - v.at.0 <= u64::from(age_ms) * 1_000_000)?;
        now.value.filter(|v| v.is_finite())
    }
}

/// What the head reads a tick: the frame's features, and the extras behind them.
#[derive(Debug)]
pub struct Extras {
    names: Box<[Extra]>,
    tracks: Box<[Track]>,
    /// Features, then value and mark of every extra; empty where there are none.
    row: Box<[f32]>,
    features: usize,
    /// What an earlier run's tick says of each, in the place of all that is heard; not a number where one was missing.
    kept: Option<Box<[f32]>>,
    /// The row has extras that nobody has taken yet.
    news: bool,
}

impl Extras {
    /// For a bundle with these extras, whose frames give `features` numbers.
    pub fn new(extra: &[Extra], features: usize) -> Self {
        let len = if extra.is_empty() { 0 } else { features + 2 * extra.len() };
        Self {
            names: extra.into(),
            tracks: extra.iter().map(|_| Track::default()).collect(),
            row: vec![0.0; len].into(),
            features,
            kept: None,
            news: false,
        }
    }

    /// What extra number `which` said. Stamps of one extra never go back within a recording.
    pub fn push(&mut self, which: usize, value: Value) {
        if let Some(track) = self.tracks.get_mut(which) {
            track.push(value);
        }
    }

    /// What an earlier run's head read of each, for the tick that comes; not a number where one was missing. From then on nothing else counts.
    pub fn replay(&mut self, said: &[f32]) {
        let kept = self.kept.get_or_insert_with(|| vec![f32::NAN; self.names.len()].into());
        kept.fill(f32::NAN);
        kept.iter_mut().zip(said).for_each(|(to, v)| *to = *v);
    }

    /// Value and mark of each, as they were taken last.
    pub fn pairs(&self) -> &[f32] {
        self.row.get(self.features..).unwrap_or_default()
    }

    /// Takes what was newest at `tick`. True when that is something else than in the row that was last taken.
    pub fn look(&mut self, tick: Timestamp) -> bool {
        let pairs = self.row.get_mut(self.features..).unwrap_or_default().chunks_exact_mut(2);
        for (n, ((name, track), pair)) in self.names.iter().zip(&mut self.tracks).zip(pairs).enumerate() {
            let said = match &self.kept {
                Some(kept) => kept.get(n).copied(),
                None => track.at(tick, name.age_ms).map(|v| (v - name.mean) / name.scale),
            };
            let said = said.filter(|v| v.is_finite());
            let new = said.map_or([0.0, 0.0], |v| [v, 1.0]);
            self.news |= *pair != new;
            pair.copy_from_slice(&new);
        }
        self.news
    }

    /// The frame's features with the extras behind them.
    pub fn join<'a>(&'a mut self, features: &'a [f32]) -> &'a [f32] {
        self.news = false;
        match self.row.get_mut(..features.len()).filter(|f| f.len() == self.features) {
            Some(front) => {
                front.copy_from_slice(features);
                &self.row
            }
            None => features,
        }
    }

    /// The features of the last frame that was joined, with the extras of this tick behind them.
    pub fn rejoin(&mut self) -> &[f32] {
        self.news = false;
        &self.row
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(ms: u64, value: f32) -> Value {
        Value { at: Timestamp::from_ms(ms), value: Some(value).filter(|v| !v.is_nan()) }
    }

    fn extras(text: &str) -> Result<Vec<Extra>, String> {
        #[derive(Deserialize)]
        struct File {
            extra: Vec<Extra>,
        }
        let file: File = toml::from_str(text).map_err(|e| crate::bundle::one_line(&e.to_string()))?;
        Extra::check(&file.extra).map(|()| file.extra)
    }

    #[test]
    fn a_contract_names_them_alone_or_with_their_keys() {
        let both = extras("extra = [\"speed\", { name = \"audio\", mean = 3.0, scale = 0.5, age_ms = 300 }]").unwrap();
        assert_eq!(both, [Extra::named("speed"), Extra { name: "audio".into(), mean: 3.0, scale: 0.5, age_ms: 300 }]);
        assert_eq!(extras("[[extra]]\nname = \"speed\"\n").unwrap(), [Extra::named("speed")]);
        for (text, why) in [
            ("extra = [\"speed\", \"speed\"]", "\"speed\" stands twice"),
            ("extra = [\"Speed\"]", "a-z 0-9"),
            ("extra = [{ name = \"a\", scale = 0.0 }]", "scale 0"),
            ("extra = [{ name = \"a\", mean = nan }]", "mean NaN"),
            ("extra = [{ name = \"a\", age_ms = 0 }]", "age_ms = 0, expected 1 to 3600000"),
            ("extra = [{ name = \"a\", agems = 5 }]", "unknown field `agems`"),
            ("extra = [5]", "a name, or a table"),
        ] {
            let found = extras(text).expect_err(text);
            assert!(found.contains(why), "{text}: {found}");
        }
    }

    #[test]
    fn a_tick_takes_what_was_newest_at_its_stamp_and_marks_what_is_missing() {
        let mut extras = Extras::new(&[Extra { mean: 1.0, scale: 2.0, age_ms: 250, ..Extra::named("speed") }], 2);
        let row = |extras: &mut Extras, ms| {
            let news = extras.look(Timestamp::from_ms(ms));
            (extras.join(&[7.0, 8.0]).to_vec(), news)
        };
        assert_eq!(row(&mut extras, 100), (vec![7.0, 8.0, 0.0, 0.0], false), "nothing came yet");
        // All of it has arrived before the ticks are worked on.
        [value(150, 5.0), value(200, 9.0), value(201, 11.0), value(300, f32::NAN), value(400, 3.0)]
            .iter()
            .for_each(|v| extras.push(0, *v));
        assert_eq!(row(&mut extras, 200), (vec![7.0, 8.0, 4.0, 1.0], true), "9 came at the very stamp");
        assert_eq!(row(&mut extras, 210), (vec![7.0, 8.0, 5.0, 1.0], true));
        assert_eq!(row(&mut extras, 220), (vec![7.0, 8.0, 5.0, 1.0], false));
        assert_eq!(row(&mut extras, 300), (vec![7.0, 8.0, 0.0, 0.0], true), "the sensor does not know");
        assert_eq!(row(&mut extras, 650).0, [7.0, 8.0, 1.0, 1.0]);
        assert_eq!(row(&mut extras, 651).0, [7.0, 8.0, 0.0, 0.0], "older than 250 ms");
        assert_eq!(extras.rejoin(), [7.0, 8.0, 0.0, 0.0]);
    }

    #[test]
    fn a_flood_keeps_the_newest_and_a_clock_that_goes_back_forgets() {
        let mut extras = Extras::new(&[Extra::named("a")], 1);
        (0..10_000u32).for_each(|n| extras.push(0, value(u64::from(n), n as f32)));
        extras.look(Timestamp::from_ms(10_000));
        assert_eq!(extras.rejoin(), [0.0, 9_999.0, 1.0]);
        extras.push(0, value(50, 4.0));
        extras.look(Timestamp::from_ms(40));
        assert_eq!(extras.rejoin(), [0.0, 0.0, 0.0]);
        extras.look(Timestamp::from_ms(60));
        assert_eq!(extras.rejoin(), [0.0, 4.0, 1.0]);
    }

    #[test]
    fn without_any_there_is_no_row_of_ours() {
        let mut none = Extras::new(&[], 3);
        none.push(0, value(1, 1.0));
        assert!(!none.look(Timestamp::from_ms(5)));
        let features = [1.0, 2.0, 3.0];
        assert_eq!(none.join(&features).as_ptr(), features.as_ptr());
        assert!(none.row.is_empty());
    }
}
