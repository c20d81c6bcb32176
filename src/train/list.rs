//! Which recordings there are to learn from, what they show and which belong together.
//!
//! Four forms, told apart by what is there: a folder of class folders; the same with UCF101's split files; a table (CSV) of clips with the
//! columns `file`, `label` and perhaps `group`; a table of stretches in long recordings, `file`, `start_s`, `end_s`, `label`. A folder that
//! holds a `labels.csv` is that table. Groups are what must not stand on both sides of a split: scenes, people, days. UCF101's names
//! (`v_Class_g08_c01.avi`) say theirs; without any, every recording is its own.

use crate::blackbox::writer::EXTENSION;
use crate::bundle::{as_label, plain};
use crate::recordings::{below, children, ending, holds_rows, is_film};
use crate::report::Label;
use crate::source::open::Spec;
use crate::source::rows::is_rows;
use crate::table::{self, Table};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A stretch of a recording.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// From its first frame on, ms.
    pub start_ms: u64,
    /// Where it ends, ms; `u64::MAX`: with the recording.
    pub end_ms: u64,
    /// What it shows; `None`: not to be learnt from.
    pub label: Option<usize>,
}

/// Which side of a given split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// To learn from.
    Train,
    /// To judge by.
    Judge,
}

/// One file and what it shows.
#[derive(Clone, Debug)]
pub struct Recording {
    /// As `--source` takes it.
    pub source: String,
    /// What it must not be parted from.
    pub group: String,
    /// At a moment the first one that covers it counts: those with a label in order of time, then those that are left out, then what the rest is.
    pub spans: Vec<Span>,
    /// Where a given split puts it.
    pub side: Option<Side>,
}

impl Recording {
    /// The class of a clip, for a recording that shows one thing from start to end.
    pub fn whole(&self) -> Option<usize> {
        match self.spans.as_slice() {
            [Span { start_ms: 0, end_ms: u64::MAX, label }] => *label,
            _ => None,
        }
    }

    /// Is it rows of numbers, by its name?
    pub fn is_rows(&self) -> bool {
        self.source.starts_with("features:") || is_rows(Path::new(&self.source))
    }
}

/// Everything there is to learn from.
#[derive(Clone, Debug)]
pub struct Listing {
    /// Class names in output order.
    pub labels: Vec<String>,
    /// The class that means nothing is going on, if there is one.
    pub background: Option<usize>,
    /// In order of name.
    pub recordings: Vec<Recording>,
    /// Are these stretches of long recordings, or whole clips?
    pub stretches: bool,
}

/// What a user may say about the classes.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    /// The background class.
    pub background: Option<String>,
    /// Found name to wanted name; `-` leaves it out.
    pub rename: BTreeMap<String, String>,
    /// UCF101's `trainlistNN.txt`.
    pub split: Option<PathBuf>,
    /// What no stretch covers is background, instead of being left out.
    pub rest_is_background: bool,
    /// Two classes may be at one time: none of them is learnt.
    pub overlap: bool,
    /// For tables that count rows.
    pub tick_ms: u32,
}

/// One line of what was found, before the classes are known.
struct Found {
    source: String,
    group: Option<String>,
    label: String,
    span: Option<(u64, u64)>,
    /// Of the table that says so; of a folder 0.
    line: usize,
}

impl Found {
    /// For a sentence.
    fn place(&self) -> String {
        match self.line {
            0 => format!("{} (class {})", self.source, self.label),
            line => format!("{} (line {line}, class {})", self.source, self.label),
        }
    }
}

/// Names under which people file "nothing is going on".
const BACKGROUNDS: [&str; 7] = ["background", "idle", "none", "normal", "nothing", "no", "negative"];
/// What everything is that nobody named.
const ORDINARY: &str = "ordinary";

impl Listing {
    /// Lists a folder or a table.
    ///
    /// # Errors
    /// One sentence: what, where, found and expected.
    pub fn of(path: &Path, wishes: &Wishes) -> Result<Self, String> {
        let place = path.display().to_string();
        let meta = std::fs::metadata(path).map_err(|e| format!("{place}: {e}"))?;
        let inside = path.join("labels.csv");
        let found = if meta.is_file() {
            of_table(path, wishes)?
        } else if wishes.split.is_none() && inside.is_file() {
            of_table(&inside, wishes)?
        } else {
            folders(path)?
        };
        let mut listing = Self::sort(found, wishes).map_err(|why| format!("{place}: {why}"))?;
        if let Some(split) = &wishes.split {
            listing.split(split, if meta.is_file() { path.parent().unwrap_or(Path::new("")) } else { path })?;
        }
        listing.check(wishes).map_err(|why| format!("{place}: {why}"))?;
        Ok(listing)
    }

    /// As [`Listing::of`], but without asking for classes: a table, every recording below a folder, or one recording or source.
    ///
    /// # Errors
    /// As there.
    pub fn unlabelled(path: &Path, wishes: &Wishes) -> Result<Self, String> {
        let place = path.display().to_string();
        let plain = |source: String| Found { group: group_in(&source), source, label: ORDINARY.into(), span: None, line: 0 };
        let found = if path.is_dir() && path.join("labels.csv").is_file() {
            of_table(&path.join("labels.csv"), wishes)?
        } else if path.is_dir() {
            let mut found = Vec::new();
            clips(path, ORDINARY, &mut found, 8)?;
            // A link to the latest one is no other recording.
            let mut seen = BTreeSet::new();
            found.retain(|f| seen.insert(file_of(&f.source)));
            found
        } else if ending(path) == "csv" && Table::read(path).is_ok_and(|t| t.column(&["label", "class"]).is_some()) {
            of_table(path, wishes)?
        } else {
            vec![plain(place.clone())]
        };
        let listing = Self::sort(found, wishes).map_err(|why| format!("{place}: {why}"))?;
        if listing.recordings.is_empty() {
            return Err(format!("{place}: no recording found"));
        }
        Ok(listing)
    }

    /// From names to numbers.
    fn sort(mut found: Vec<Found>, wishes: &Wishes) -> Result<Self, String> {
        let there: BTreeSet<&str> = found.iter().map(|f| f.label.as_str()).collect();
        for (old, new) in wishes.rename.iter().filter(|(old, _)| !there.is_empty() && !there.contains(old.as_str())) {
            let labels = there.iter().copied().collect::<Vec<_>>().join(", ");
            let why = plain(&format!("--rename {old}: no such label, found are {labels}"));
            // What is left out anyway need not be there.
            if new != "-" {
                return Err(why);
            }
            log::warn!("{why}");
        }
        once_each(&mut found)?;
        let groups = groups(&found)?;
        let mut spellings: BTreeMap<String, String> = BTreeMap::new();
        let mut rows = Vec::new();
        for f in found {
            let wanted = wishes.rename.get(&f.label).cloned().unwrap_or_else(|| f.label.clone());
            let label = (wanted != "-").then(|| as_label(&wanted));
            if let Some(label) = &label {
                let other = spellings.entry(label.clone()).or_insert_with(|| {
                    // Capitals are nobody's surprise.
                    if *label != wanted.trim().to_lowercase() {
                        let why = format!("label {wanted:?} is called {label}: a-z, 0-9, - and _ are what reports carry");
                        log::warn!("{}", plain(&why));
                    }
                    wanted.clone()
                });
                if *other != wanted {
                    return Err(format!("labels {other:?} and {wanted:?} differ only by case or signs: one of them is meant"));
                }
                if Label::try_from(label.as_str()).is_err() || label.is_empty() {
                    return Err(format!("label {wanted:?}: 1 to {} letters expected", crate::report::MAX_LABEL));
                }
                crate::bundle::class("label", label)?;
            }
            rows.push((f, label));
        }
        let stretches = rows.iter().any(|(f, _)| f.span.is_some());
        let mut labels: BTreeSet<String> = spellings.into_keys().collect();
        let mut background = wishes.background.as_deref().map(as_label);
        if background.is_none() {
            background = labels.iter().find(|label| says_no(label, &labels)).cloned();
        }
        if stretches && wishes.rest_is_background {
            labels.insert(background.get_or_insert_with(|| "background".into()).clone());
        }
        let labels: Vec<String> = labels.into_iter().collect();
        let number = |l: &str| labels.iter().position(|x| x == l);
        let background = match background {
            Some(b) => {
                Some(number(&b).ok_or_else(|| format!("background {b:?} expected, the labels are {}", labels.join(", ")))?)
            }
            None => None,
        };
        let mut recordings: BTreeMap<String, Recording> = BTreeMap::new();
        for (f, label) in rows {
            let (start_ms, end_ms) = f.span.unwrap_or((0, u64::MAX));
            let span = Span { start_ms, end_ms, label: label.and_then(|l| number(&l)) };
            let new = || Recording {
                group: groups.get(&f.source).unwrap_or(&f.source).clone(),
                source: f.source.clone(),
                spans: vec![],
                side: None,
            };
            recordings.entry(f.source.clone()).or_insert_with(new).spans.push(span);
        }
        let mut recordings: Vec<Recording> = recordings.into_values().collect();
        for r in &mut recordings {
            // What is left out is as if it were not listed: it hides no stretch that is, only itself from what the rest is.
            r.spans.sort_by_key(|s| (s.label.is_none(), s.start_ms));
            if !wishes.overlap {
                one_at_a_time(r, &labels, wishes.tick_ms)?;
            }
            if stretches && wishes.rest_is_background {
                // Behind everything that is said: the first span that covers a moment decides.
                r.spans.push(Span { start_ms: 0, end_ms: u64::MAX, label: background });
            }
        }
        recordings.retain(|r| r.spans.iter().any(|s| s.label.is_some()));
        Ok(Self { labels, background, recordings, stretches })
    }

    /// Puts every recording on the side that UCF101's lists say, and leaves out those of none. A line is `Class/v_Class_g08_c01.avi 1`, a name below `root`;
    /// `testlist01.txt` lies beside `trainlist01.txt`.
    fn split(&mut self, train: &Path, root: &Path) -> Result<(), String> {
        let file = train.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        if !file.contains("trainlist") {
            return Err(format!(
                "--split {}: a name with trainlist in it expected, such as trainlist01.txt, whose testlist01.txt lies beside it",
                train.display()
            ));
        }
        let judge = train.with_file_name(file.replace("trainlist", "testlist"));
        for (list, side) in [(train, Side::Train), (judge.as_path(), Side::Judge)] {
            let text = table::text(list).map_err(|e| format!("{}: {e}", list.display()))?;
            // A mark at the beginning, as Windows' editors set it, is no part of the first name.
            let lines = text.trim_start_matches('\u{feff}').lines();
            let names: BTreeSet<&str> = lines.filter_map(|l| l.split_whitespace().next()).collect();
            let mut gone = names.clone();
            for r in &mut self.recordings {
                let mut parts = r.source.rsplitn(3, '/');
                let (clip, class) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
                let name = format!("{class}/{clip}");
                if names.contains(name.as_str()) {
                    r.side = Some(side);
                    gone.remove(name.as_str());
                }
            }
            // One of a class that was left out is there.
            gone.retain(|name| !root.join(name).exists());
            if !self.recordings.iter().any(|r| r.side == Some(side)) {
                return Err(format!("{}: {} clips listed, none of them is there", list.display(), names.len()));
            }
            if let Some(first) = gone.first() {
                log::warn!("{}: {} of {} clips are not there; the first: {first}", list.display(), gone.len(), names.len());
            }
        }
        self.recordings.retain(|r| r.side.is_some());
        for (n, label) in self.labels.iter().enumerate() {
            let on = |side| self.recordings.iter().any(|r| r.side == Some(side) && r.spans.iter().any(|s| s.label == Some(n)));
            if on(Side::Judge) && !on(Side::Train) {
                let list = train.display();
                return Err(format!("{list}: class {label} is only in the test list, and would be judged without being learnt"));
            }
        }
        Ok(())
    }

    fn check(&self, wishes: &Wishes) -> Result<(), String> {
        if self.recordings.is_empty() {
            return Err("no recording found; class folders of clips expected, or a table with the columns file and label".into());
        }
        if self.labels.len() < 2 {
            return Err(format!("one class ({}) found, two or more are needed to tell apart", self.labels.join("")));
        }
        for (n, label) in self.labels.iter().enumerate() {
            let spans = |r: &Recording| r.spans.iter().filter(|s| s.label == Some(n)).count();
            let mine: Vec<&Recording> = self.recordings.iter().filter(|r| spans(r) > 0).collect();
            let groups = mine.iter().map(|r| r.group.as_str()).collect::<BTreeSet<_>>().len();
            if groups < 2 && !(wishes.rest_is_background && Some(n) == self.background) {
                // Of long recordings many stretches are listed, and it is not these that are short.
                let (has, of) = match (self.recordings.iter().any(|r| r.group != r.source), self.stretches) {
                    (true, _) => (format!("has {groups} group of clips"), ""),
                    (_, false) => (format!("has {groups} clip"), ""),
                    _ => (
                        format!("is in {groups} recording ({} stretches)", mine.iter().map(|r| spans(r)).sum::<usize>()),
                        "recordings ",
                    ),
                };
                return Err(format!("class {label} {has}, 2 or more {of}needed: one to learn from, one to judge by"));
            }
        }
        Ok(())
    }

    /// How many recordings show each class.
    pub fn counts(&self) -> Vec<usize> {
        let shows = |n| self.recordings.iter().filter(|r| r.spans.iter().any(|s| s.label == Some(n))).count();
        (0..self.labels.len()).map(shows).collect()
    }
}

/// Every file is one recording: stretches that name it otherwise are of the same, and a whole clip is listed once, or its copy would be judged by a
/// net that has learnt it.
fn once_each(found: &mut [Found]) -> Result<(), String> {
    let mut files: BTreeMap<String, PathBuf> = BTreeMap::new();
    let mut first: BTreeMap<PathBuf, usize> = BTreeMap::new();
    for n in 0..found.len() {
        let file = files.entry(found[n].source.clone()).or_insert_with_key(|source| file_of(source)).clone();
        let before = *first.entry(file).or_insert(n);
        if before == n {
            continue;
        }
        if found[n].span.is_none() || found[before].span.is_none() {
            return Err(plain(&format!(
                "{} and {} are the same file: as a whole clip it is listed once, or it would be learnt from and judged",
                found[before].place(),
                found[n].place()
            )));
        }
        found[n].source = found[before].source.clone();
    }
    Ok(())
}

/// Is a label, one of these, what "nothing is going on" is called?
fn says_no(label: &str, labels: &BTreeSet<String>) -> bool {
    let denies = |no: &str| label.strip_prefix(no).is_some_and(|rest| labels.contains(rest.trim_matches(['-', '_'])));
    BACKGROUNDS.contains(&label) || ["no", "not", "non"].into_iter().any(denies)
}

/// Refuses stretches of two classes that share a moment: only one of them could be learnt there. Neighbours may share a tick, which is the first one's:
/// tables of rows name the row in which one class becomes the other twice, and nobody marks times more finely.
fn one_at_a_time(r: &Recording, labels: &[String], tick_ms: u32) -> Result<(), String> {
    let mut labelled = r.spans.iter().filter_map(|s| Some((s, s.label?)));
    let Some(mut longest) = labelled.next() else { return Ok(()) };
    for (span, label) in labelled {
        let shared_ms = longest.0.end_ms.saturating_sub(span.start_ms);
        let neighbours = shared_ms <= u64::from(tick_ms) && longest.0.end_ms < span.end_ms;
        if shared_ms > 0 && label != longest.1 && !neighbours {
            let words = |(s, label): (&Span, usize)| {
                format!("{} from {} to {} s", labels[label], s.start_ms as f64 / 1e3, s.end_ms as f64 / 1e3)
            };
            let (one, other) = (words(longest), words((span, label)));
            return Err(plain(&format!(
                "{}: {one} and {other} are at the same time, one class at a time expected; cut one short there, or leave one class out by --rename",
                r.source
            )));
        }
        if span.end_ms > longest.0.end_ms {
            longest = (span, label);
        }
    }
    Ok(())
}

/// The group of every recording of which one is named. All its rows say the same one, or nothing: a recording is on one side of a split.
fn groups(found: &[Found]) -> Result<BTreeMap<String, String>, String> {
    let mut named: BTreeMap<&str, (&str, &Found)> = BTreeMap::new();
    for f in found {
        let Some(group) = f.group.as_deref() else { continue };
        let (first, other) = *named.entry(f.source.as_str()).or_insert((group, f));
        if first != group {
            let (here, there) = (f.place(), other.place());
            return Err(plain(&format!(
                "{there} is of group {first}, {here} of group {group}: one group for each recording expected"
            )));
        }
    }
    Ok(named.into_iter().map(|(source, (group, _))| (source.to_string(), group.to_string())).collect())
}

/// The file or folder of a source, without links and detours.
fn file_of(source: &str) -> PathBuf {
    let spec = source.parse::<Spec>();
    let path = Path::new(spec.as_ref().map_or(source, Spec::path));
    path.canonicalize().unwrap_or_else(|_| path.into())
}

fn of_table(file: &Path, wishes: &Wishes) -> Result<Vec<Found>, String> {
    let table = Table::read(file)?;
    let place = file.display();
    let fail = |why: String| plain(&format!("{place}: {why}"));
    let (clip, label) =
        (table.needed(&["file", "clip", "path"]).map_err(fail)?, table.needed(&["label", "class"]).map_err(fail)?);
    let group = table.column(&["group", "scene_group", "scene", "subject", "camera"]);
    // One without the other would make whole clips of stretches.
    let pair = |from: &[&str], to: &[&str]| -> Result<Option<(usize, usize)>, String> {
        if table.column(from).or(table.column(to)).is_none() {
            return Ok(None);
        }
        Ok(Some((table.needed(from).map_err(fail)?, table.needed(to).map_err(fail)?)))
    };
    let (seconds, rows) = (pair(&["start_s", "start"], &["end_s", "end"])?, pair(&["first_row"], &["last_row"])?);
    let folder = file.parent().unwrap_or(Path::new(""));
    let mut found = Vec::new();
    for (line, row) in table.rows() {
        let field = |column| row.get(column);
        if field(clip).is_empty() || field(label).is_empty() {
            return Err(fail(format!("line {line}: file and label expected, one is empty")));
        }
        let number = |column: usize| -> Result<f64, String> {
            let value = field(column).parse().ok().filter(|v: &f64| (0.0..1e9).contains(v));
            value.ok_or_else(|| fail(format!("line {line}: {:?} found, a time expected", field(column))))
        };
        let span = match (seconds, rows) {
            (Some((start, end)), _) => Some((number(start)? * 1e3, number(end)? * 1e3)),
            (None, Some((first, last))) => {
                let tick = f64::from(wishes.tick_ms);
                Some((number(first)? * tick, (number(last)? + 1.0) * tick))
            }
            (None, None) => None,
        };
        let span = span.map(|(start, end)| (start.round() as u64, end.round() as u64));
        if let Some((start, end)) = span.filter(|(start, end)| end <= start) {
            return Err(fail(format!("line {line}: a stretch from {start} to {end} ms ends before it begins")));
        }
        let path = folder.join(field(clip));
        if !path.exists() {
            return Err(fail(format!("line {line}: {} is not there", path.display())));
        }
        found.push(Found {
            source: path.display().to_string(),
            group: group.map(|g| field(g).to_string()).filter(|g| !g.is_empty()).or_else(|| group_in(field(clip))),
            label: field(label).into(),
            span,
            line,
        });
    }
    Ok(found)
}

/// Where UCF101 keeps its lists, beside the class folders.
const LISTS: &str = "ucfTrainTestlist";

/// Class folders.
fn folders(root: &Path) -> Result<Vec<Found>, String> {
    let mut found = Vec::new();
    for class in children(root)?.into_iter().filter(|c| c.is_dir()) {
        let label = class.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        if label.eq_ignore_ascii_case(LISTS) {
            continue;
        }
        let before = found.len();
        let kept = clips(&class, &label, &mut found, 2)?;
        if found.len() == before {
            let why = if kept == 0 { String::new() } else { format!("; {kept} {NO_PICTURES}") };
            return Err(format!("{}: a class folder without a recording in it{why}", class.display()));
        }
    }
    Ok(found)
}

/// Recordings in a class folder and `depth` folders below it. Gives how many clips of the black box were passed over there, and says so.
fn clips(dir: &Path, label: &str, found: &mut Vec<Found>, depth: u32) -> Result<usize, String> {
    let mut kept = 0;
    for path in below(dir, depth, &|path| is_kept(path) || is_film(path) || holds_rows(path))? {
        if is_kept(&path) {
            kept += 1;
            continue;
        }
        let source = path.display().to_string();
        found.push(Found { group: group_in(&source), source, label: label.into(), span: None, line: 0 });
    }
    if kept > 0 {
        log::warn!("{}: left out: {kept} {NO_PICTURES}", dir.display());
    }
    Ok(kept)
}

/// Why clips of the black box are not learnt from.
const NO_PICTURES: &str = "clips of the black box hold what an encoder saw, and no pictures to learn from";

/// Does the name end like that of a clip of the black box?
fn is_kept(path: &Path) -> bool {
    ending(path) == EXTENSION
}

/// UCF101's group: `v_Class_g08_c01.avi` is of group `v_Class_g08`.
fn group_in(file: &str) -> Option<String> {
    let stem = file.rsplit('/').next()?.rsplit_once('.')?.0;
    let (group, clip) = stem.rsplit_once("_c")?;
    let (_, number) = group.rsplit_once("_g")?;
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    (digits(clip) && digits(number)).then(|| group.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(source: &str, label: &str, span: Option<(u64, u64)>) -> Found {
        Found { source: source.into(), group: group_in(source), label: label.into(), span, line: 0 }
    }

    #[test]
    fn classes_are_named_as_the_wire_can_carry_them_and_the_background_is_guessed() {
        let clips = || vec![found("a.avi", "Fight", None), found("b.avi", "no Fight", None), found("c.avi", "Fight", None)];
        let listing = Listing::sort(clips(), &Wishes::default()).expect("sorted");
        assert_eq!((listing.labels.join(" "), listing.background), ("fight no-fight".into(), Some(1)));
        assert_eq!(listing.recordings[0].whole(), Some(0));
        let wishes = Wishes { background: Some("calm".into()), ..Wishes::default() };
        assert!(Listing::sort(clips(), &wishes).expect_err("unknown").contains("fight, no-fight"));
        let both = vec![found("a.avi", "Fight", None), found("b.avi", "fight", None)];
        assert!(Listing::sort(both, &Wishes::default()).expect_err("case").contains("differ only by case"));
        assert!(listing.check(&Wishes::default()).expect_err("few").contains("class no-fight has 1 clip"));
    }

    #[test]
    fn stretches_leave_out_the_rest_or_call_it_background() {
        let spans = || {
            vec![
                found("a.avi", "fall", Some((2000, 3000))),
                found("a.avi", "lying", Some((500, 900))),
                found("a.avi", "x", Some((0, 400))),
            ]
        };
        let rename = BTreeMap::from([("lying".to_string(), "down".to_string()), ("x".into(), "-".into())]);
        let wishes = Wishes { rename, ..Wishes::default() };
        let listing = Listing::sort(spans(), &wishes).expect("sorted");
        let labels: Vec<_> = listing.recordings[0].spans.iter().map(|s| (s.start_ms, s.label)).collect();
        assert_eq!((listing.labels.join(" ").as_str(), labels), ("down fall", vec![(500, Some(0)), (2000, Some(1)), (0, None)]));
        let listing = Listing::sort(spans(), &Wishes { rest_is_background: true, ..wishes }).expect("sorted");
        assert_eq!((listing.labels.join(" ").as_str(), listing.background), ("background down fall", Some(0)));
    }

    #[test]
    fn two_classes_at_one_time_are_refused_and_one_that_is_left_out_hides_none() {
        let person = |to: &str| Wishes { rename: BTreeMap::from([("person".to_string(), to.to_string())]), ..Wishes::default() };
        let sorted = |spans: &[(&str, u64, u64)], wishes: &Wishes| {
            Listing::sort(spans.iter().map(|(label, from, to)| found("a.avi", label, Some((*from, *to)))).collect(), wishes)
        };
        let nested = [("fall", 4000, 5000), ("person", 0, 9000), ("lying", 9000, 9500)];
        let why = sorted(&nested, &Wishes::default()).expect_err("a fall inside of person");
        assert!(why.starts_with("a.avi: person from 0 to 9 s and fall from 4 to 5 s are at the same time"), "{why}");
        // A tick is shared by neighbours, not by one that is inside of the other.
        let shared = |end| sorted(&[("walk", 0, 4120), ("sit", 4000, end)], &Wishes { tick_ms: 125, ..Wishes::default() });
        assert_eq!((shared(4120).is_err(), shared(4121).is_err()), (true, false));
        // Behind one that is short, too.
        let behind = [("person", 0, 9000), ("person", 1000, 1500), ("fall", 8000, 9500)];
        assert!(sorted(&behind, &Wishes::default()).is_err());
        let at = |wishes: &Wishes, ms: u64| {
            let listing = sorted(&nested, wishes).expect("one class at a time");
            let first = listing.recordings[0].spans.iter().find(|s| (s.start_ms..s.end_ms).contains(&ms)).and_then(|s| s.label);
            first.map(|label| listing.labels[label].clone())
        };
        assert_eq!((at(&person("-"), 4500).as_deref(), at(&person("-"), 2000)), (Some("fall"), None));
        let rest = Wishes { rest_is_background: true, ..person("-") };
        assert_eq!((at(&rest, 2000), at(&rest, 9900).as_deref()), (None, Some("background")));
        assert_eq!(at(&person("fall"), 4500).as_deref(), Some("fall"));
    }

    #[test]
    fn a_recording_is_of_one_group() {
        let row = |group: Option<&str>, from: u64, line: usize| Found {
            group: group.map(String::from),
            line,
            ..found("a.avi", "fall", Some((from, from + 500)))
        };
        let sorted = |rows: Vec<Found>| Listing::sort(rows, &Wishes::default());
        let one = sorted(vec![row(None, 0, 2), row(Some("monday"), 900, 3), row(Some("monday"), 1800, 4)]).expect("sorted");
        assert_eq!((one.recordings.len(), one.recordings[0].group.as_str()), (1, "monday"));
        let why = sorted(vec![row(Some("monday"), 0, 2), row(Some("friday"), 900, 3)]).expect_err("two groups");
        assert!(
            why.starts_with("a.avi (line 2, class fall) is of group monday, a.avi (line 3, class fall) of group friday"),
            "{why}"
        );
    }

    #[test]
    fn ucf101_names_say_their_group() {
        assert_eq!(group_in("UCF/Diving/v_Diving_g08_c01.avi").as_deref(), Some("v_Diving_g08"));
        assert_eq!(group_in("diving_c1.avi"), None);
    }
}
