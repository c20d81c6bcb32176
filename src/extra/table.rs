//! Extras of a recording: a table (CSV) beside it, `CLIP.extra.csv`, or the one that `--extra` names.
//!
//! ```text
//! ms,speed,course
//! 0,12.4,88.0
//! 250,,88.5          empty: nothing came from this one
//! 1000,nan,nan       the sensor does not know
//! ```
//! `ms` counts from the recording's first frame; rows stand in order of time, and each number counts from its own time on until the next one or
//! until it is too old, exactly as live. Columns that the bundle does not read are passed over.

use super::{Extra, Value};
use crate::source::Timestamp;
use crate::store::settle;
use crate::table;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// What follows a recording's name in the name of its table.
pub const ENDING: &str = ".extra.csv";

/// The table of a recording.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// ns since the first frame, number of the extra, what it said.
    values: Vec<(u64, usize, Option<f32>)>,
    next: usize,
    start: Option<Timestamp>,
}

impl Table {
    /// The table for a recording: `given`, else the one beside `clip` (a path, or a source such as `y4m:PATH`); `None` where neither
    /// is. Nothing is looked for where the bundle has no extras.
    ///
    /// # Errors
    /// A sentence: the file, the line, what is wrong.
    pub fn of(clip: &str, given: Option<&Path>, extra: &[Extra]) -> Result<Option<Self>, String> {
        if extra.is_empty() {
            return Ok(None);
        }
        let file = match given {
            Some(file) => file.to_path_buf(),
            None => match Self::beside(clip) {
                Some(file) => file,
                None => {
                    let names: Vec<&str> = extra.iter().map(|e| e.name.as_str()).collect();
                    log::warn!("{clip}: no table {clip}{ENDING} beside it: {} always missing", names.join(", "));
                    return Ok(None);
                }
            },
        };
        Self::read(&file, extra).map(Some)
    }

    /// Where the table of a recording lies, if there is one.
    pub fn beside(clip: &str) -> Option<PathBuf> {
        let path = clip.split_once(':').map_or(clip, |(_, path)| path).trim_end_matches('/');
        let file = |path: &str| Some(PathBuf::from(format!("{path}{ENDING}"))).filter(|file| file.is_file());
        file(clip.trim_end_matches('/')).or_else(|| file(path))
    }

    /// Everything in the table beside `clip` that can be an extra, and what it is called; of none, nothing. `known`: those whose age is known. Values
    /// stay as they stand there, without a contract's mean and scale: what is written from them is read with a contract again.
    ///
    /// # Errors
    /// As [`Table::of`].
    pub fn all(clip: &str, known: &[Extra]) -> Result<(Vec<Extra>, Self), String> {
        let Some(file) = Self::beside(clip) else { return Ok(Default::default()) };
        let named = |why: String| format!("{}: {why}", file.display());
        let table = table::Table::read(&file)?;
        let mut extra: Vec<Extra> = vec![];
        for (n, name) in table.columns().enumerate().filter(|(_, name)| *name != "ms") {
            let number = |text: &str| text.is_empty() || text.parse::<f32>().is_ok();
            let plain = Extra::named(name);
            let age_ms = known.iter().find(|e| e.name == name).map_or(plain.age_ms, |e| e.age_ms);
            let one = Extra { age_ms, ..plain };
            let fits = Extra::check(&[extra.as_slice(), std::slice::from_ref(&one)].concat()).is_ok();
            if fits && table.rows().all(|(_, row)| number(row.get(n))) {
                extra.push(one);
            } else {
                log::warn!("{}: column {name:?} is no number that a bundle could read, and is left out", file.display());
            }
        }
        if extra.is_empty() {
            return Ok(Default::default());
        }
        Self::parse(&table, &extra).map(|found| (extra, found)).map_err(named)
    }

    /// Reads a table.
    ///
    /// # Errors
    /// As [`Table::of`].
    pub fn read(file: &Path, extra: &[Extra]) -> Result<Self, String> {
        let named = |why: String| format!("{}: {why}", file.display());
        Self::parse(&table::Table::read(file)?, extra).map_err(named)
    }

    fn parse(table: &table::Table, extra: &[Extra]) -> Result<Self, String> {
        let ms = table.needed(&["ms"])?;
        let columns: Vec<(usize, usize)> =
            extra.iter().enumerate().filter_map(|(which, e)| Some((table.column(&[&e.name])?, which))).collect();
        if columns.is_empty() {
            let names: Vec<&str> = extra.iter().map(|e| e.name.as_str()).collect();
            return Err(format!("no column of what the bundle reads, expected {}", names.join(", ")));
        }
        let (mut values, mut last) = (Vec::new(), 0u64);
        for (line, row) in table.rows() {
            let bad = |column: &str, text: &str| format!("line {line}: {column} is {text:?}, expected a number");
            let at = row.get(ms).parse::<f64>().ok().filter(|at| (0.0..1e12).contains(at));
            let at = (at.ok_or_else(|| bad("ms", row.get(ms)))? * 1e6).round() as u64;
            if at < last {
                return Err(format!("line {line}: ms goes back to {}, rows in order of time expected", row.get(ms)));
            }
            last = at;
            for (column, which) in &columns {
                let text = row.get(*column);
                if !text.is_empty() {
                    let value: f32 = text.parse().map_err(|_| bad(&extra[*which].name, text))?;
                    values.push((at, *which, Some(value).filter(|v| v.is_finite())));
                }
            }
        }
        Ok(Self { values, next: 0, start: None })
    }

    /// Hands over what was said before `until`, or at it. `at`: stamp of the frame in hand; the first one sets the beginning.
    pub fn feed(&mut self, at: Timestamp, until: Timestamp, mut each: impl FnMut(usize, Value)) {
        let start = *self.start.get_or_insert(at);
        while let Some((since, which, value)) = self.values.get(self.next).filter(|v| start.0.saturating_add(v.0) <= until.0) {
            each(*which, Value { at: Timestamp(start.0.saturating_add(*since)), value: *value });
            self.next += 1;
        }
    }
}

/// The table of a clip that is being recorded: what its extras were at every tick.
#[derive(Debug, Default)]
pub struct Draft {
    text: String,
    ticks: u64,
    tick_ms: u64,
}

impl Draft {
    /// A table of these, with a row every `tick_ms`; of none, no table.
    pub fn new(extra: &[Extra], tick_ms: u32) -> Self {
        let names: String = extra.iter().map(|e| format!(",{}", e.name)).collect();
        let text = if extra.is_empty() { String::new() } else { format!("ms{names}\n") };
        Self { text, ticks: 0, tick_ms: tick_ms.into() }
    }

    /// The next tick: value and mark of each.
    pub fn tick(&mut self, pairs: &[f32]) {
        if self.text.is_empty() {
            return;
        }
        self.text += &(self.ticks * self.tick_ms).to_string();
        for pair in pairs.chunks_exact(2) {
            self.text += &if pair[1] > 0.0 { format!(",{}", pair[0]) } else { ",nan".into() };
        }
        self.text.push('\n');
        self.ticks += 1;
    }

    /// Writes it beside `clip`, whole or not at all. Before the clip gets its name: no clip is ever without its table.
    ///
    /// # Errors
    /// What the system says.
    pub fn save(self, clip: &Path) -> std::io::Result<()> {
        let place = PathBuf::from(format!("{}{ENDING}", clip.display()));
        if self.text.is_empty() {
            // One whose clip never came, because it was killed in between, is not this clip's.
            return std::fs::remove_file(place).or_else(|e| if e.kind() == ErrorKind::NotFound { Ok(()) } else { Err(e) });
        }
        let part = place.with_extension("part");
        if let Err(e) = std::fs::write(&part, &self.text) {
            let _ = std::fs::remove_file(&part);
            return Err(e);
        }
        settle(&part, &place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Table, String> {
        Table::parse(&table::Table::parse(text)?, &[Extra::named("speed"), Extra::named("audio")])
    }

    #[test]
    fn a_table_is_fed_in_order_of_time() {
        let mut table = parse("speed, ms, note\n1.5,0,x\n,10,y\nnan,10.5,\n3,90,\n").unwrap();
        let mut fed = vec![];
        for until in [5, 50, 95] {
            table.feed(Timestamp::from_ms(5), Timestamp::from_ms(until), |n, v| fed.push((until, n, v.at.0 / 1000, v.value)));
        }
        assert_eq!(fed, [(5, 0, 5_000, Some(1.5)), (50, 0, 15_500, None), (95, 0, 95_000, Some(3.0))]);
    }

    #[test]
    fn values_that_are_written_again_stay_as_they_were() {
        let dir = std::env::temp_dir().join(format!("lookout-extra-raw-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let clip = dir.join("a.y4m").display().to_string();
        std::fs::write(format!("{clip}.extra.csv"), "ms,speed,audio\n0,12.5,3\n").unwrap();
        let known = [Extra { mean: 5.0, scale: 2.5, age_ms: 150, ..Extra::named("speed") }];
        let (extra, mut table) = Table::all(&clip, &known).unwrap();
        let (mut senses, mut draft) = (crate::extra::Extras::new(&extra, 0), Draft::new(&extra, 100));
        for ms in [0, 100, 200] {
            table.feed(Timestamp::from_ms(0), Timestamp::from_ms(ms), |which, v| senses.push(which, v));
            senses.look(Timestamp::from_ms(ms));
            draft.tick(senses.rejoin());
        }
        assert_eq!(draft.text, "ms,speed,audio\n0,12.5,3\n100,12.5,3\n200,nan,3\n", "the speed is too old at last");
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (text, why) in [
            ("a,b\n1,2", "one must be called ms"),
            ("ms,b\n1,2", "no column of what the bundle reads, expected speed, audio"),
            ("ms,speed\n5,1\n4,1", "line 3: ms goes back to 4"),
            ("ms,speed\n5,x", "line 2: speed is \"x\", expected a number"),
            ("ms,speed\n-1,1", "line 2: ms is \"-1\""),
            ("ms,speed\nnan,1", "line 2: ms is \"nan\""),
            ("", "an empty table"),
        ] {
            let found = parse(text).expect_err(text);
            assert!(found.contains(why), "{text:?}: {found}");
        }
    }

    #[test]
    fn a_table_whose_clip_never_came_is_not_the_next_one_s() {
        let dir = std::env::temp_dir().join(format!("lookout-extra-stale-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let clip = dir.join("clip0000.y4m");
        let mut draft = Draft::new(&[Extra::named("speed")], 100);
        draft.tick(&[2.0, 1.0]);
        draft.save(&clip).unwrap();
        assert_eq!(std::fs::read_to_string(Table::beside(&clip.display().to_string()).unwrap()).unwrap(), "ms,speed\n0,2\n");
        // Killed before the clip had its name; the next recording, without extras, takes it.
        (0..2).for_each(|_| Draft::default().save(&clip).unwrap());
        assert_eq!(Table::beside(&clip.display().to_string()), None);
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn the_table_lies_beside_the_recording() {
        let dir = std::env::temp_dir().join(format!("lookout-extra-beside-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let clip = dir.join("a.y4m").display().to_string();
        std::fs::write(format!("{clip}.extra.csv"), "ms,speed\n0,1\n").unwrap();
        for name in [clip.clone(), format!("y4m:{clip}"), format!("{clip}/")] {
            assert_eq!(Table::beside(&name), Some(format!("{clip}.extra.csv").into()), "{name}");
        }
        assert_eq!(Table::beside(&dir.join("b.y4m").display().to_string()), None);
        assert!(Table::of("b", None, &[]).unwrap().is_none());
        std::fs::remove_dir_all(dir).unwrap();
    }
}
