//! Recordings whose classes are known against the answers they got: `classify --report`, one self-contained HTML page.
//!
//! It shows what decides whether a bundle can be trusted: how many are right and how sure that is, which class is taken for which, and the mistakes themselves, the surest first, drawn over time.

use super::confusion::{Confusion, page, percent};
use super::plot::escaped;
use crate::bundle::{Bundle, as_label, plain};
use crate::report::{ClassId, Label};
use crate::source::open::Spec;
use crate::table::Table;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Mistakes that are drawn.
const DRAWN: usize = 12;

/// Which class each recording really is.
#[derive(Debug)]
pub enum Truth {
    /// The name of the folder it lies in.
    Folders,
    /// By name, from a table.
    Table(Vec<Known>),
}

/// A recording and its class, as a table says them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    name: String,
    /// Where that leads, from the table or from here, if anything is there.
    place: Option<PathBuf>,
    label: String,
}

/// Columns between which a table says stretches, as `train` takes them: from, to.
const STRETCHES: [[&[&str]; 2]; 2] = [[&["start_s", "start"], &["end_s", "end"]], [&["first_row"], &["last_row"]]];

impl Truth {
    /// A table of `file,label` (more columns are passed over), its first line the names of the columns.
    ///
    /// # Errors
    /// A sentence: the file, the line, what is missing, or that a recording has more than one label.
    pub fn read(file: &Path) -> Result<Self, String> {
        let folder = file.parent().unwrap_or(Path::new(""));
        Table::read(file).and_then(|t| Self::of_table(&t, folder).map_err(|why| plain(&format!("{}: {why}", file.display()))))
    }

    fn of_table(table: &Table, folder: &Path) -> Result<Self, String> {
        if STRETCHES.iter().any(|pair| pair.iter().all(|names| table.column(names).is_some())) {
            let found = table.columns().collect::<Vec<_>>().join(", ");
            return Err(format!("columns {found} found: stretches of recordings, one label for each whole recording expected"));
        }
        let (clip, label) = (table.needed(&["file", "clip", "path"])?, table.needed(&["label", "class"])?);
        let mut said: BTreeMap<PathBuf, (usize, &str)> = BTreeMap::new();
        let mut all = Vec::new();
        for (line, row) in table.rows() {
            let (name, label) = (row.get(clip), row.get(label));
            if name.is_empty() || label.is_empty() {
                return Err(format!("line {line}: file and label expected, one is empty"));
            }
            let place = [folder.join(name), name.into()].iter().find_map(|path| path.canonicalize().ok());
            let (first, other) = *said.entry(place.clone().unwrap_or_else(|| name.into())).or_insert((line, label));
            if as_label(other) != as_label(label) {
                return Err(format!(
                    "line {line}: {name} is {label}, in line {first} it is {other}; one label for each recording expected"
                ));
            }
            // As a path ends with it.
            all.push(Known { name: name.strip_prefix("./").unwrap_or(name).into(), place, label: label.into() });
        }
        Ok(Self::Table(all))
    }

    /// The class of a recording.
    ///
    /// # Errors
    /// A sentence: no class is known, or none that the bundle has.
    pub fn of(&self, clip: &str, labels: &[Label]) -> Result<usize, String> {
        let spec = clip.parse::<Spec>();
        let path = Path::new(spec.as_ref().map_or(clip, Spec::path));
        let found = match self {
            Self::Folders => path.parent().and_then(Path::file_name).map(|n| n.to_string_lossy().into_owned()),
            // The file itself, or else the longest name that the path ends with: `a/1.avi` and `b/1.avi` are different recordings.
            Self::Table(table) => {
                let place = path.canonicalize().ok();
                let same = table.iter().find(|known| place.is_some() && known.place == place);
                let ending = table.iter().filter(|known| path.ends_with(&known.name)).max_by_key(|known| known.name.len());
                same.or(ending).map(|known| known.label.clone())
            }
        };
        let list = || labels.iter().map(Label::as_str).collect::<Vec<_>>().join(", ");
        let found = found.ok_or_else(|| format!("{clip}: no label; name its folder after its class, or give --labels"))?;
        labels
            .iter()
            .position(|l| l.as_str() == as_label(&found))
            .ok_or_else(|| format!("{clip}: label {found:?} found, the bundle has {}", list()))
    }
}

/// A mistake that is shown.
#[derive(Debug)]
struct Mistake {
    clip: String,
    truth: usize,
    answer: Option<(ClassId, f32)>,
    drawing: String,
}

/// All answers so far.
#[derive(Debug)]
pub struct Score {
    answers: Confusion,
    title: String,
    mistakes: Vec<Mistake>,
    unread: Vec<String>,
}

impl Score {
    /// For a bundle's classes.
    pub fn new(bundle: &Bundle) -> Self {
        let answers = Confusion::new(bundle.labels.iter().map(ToString::to_string).collect(), "recordings");
        let title = format!("{} {} ({})", bundle.contract.name, bundle.contract.version, &bundle.hash[..8]);
        Self { answers, title, mistakes: vec![], unread: vec![] }
    }

    /// One recording. `draw` is asked for its drawing where it may be shown.
    pub fn add(&mut self, clip: &str, truth: usize, answer: Option<(ClassId, f32)>, draw: impl FnOnce() -> String) {
        let column = answer.map_or(self.answers.labels.len(), |(c, _)| usize::from(c.0));
        self.answers.counts[truth][column] += 1;
        if column == truth {
            return;
        }
        let sure = |a: Option<(ClassId, f32)>| a.map_or(0.0, |(_, p)| p);
        let at = self.mistakes.partition_point(|m| sure(m.answer) >= sure(answer));
        if at < DRAWN {
            self.mistakes.insert(at, Mistake { clip: clip.into(), truth, answer, drawing: draw() });
            self.mistakes.truncate(DRAWN);
        }
    }

    /// A recording that could not be read, and why.
    pub fn unread(&mut self, why: &str) {
        self.unread.push(why.into());
    }

    /// `95.5 % of 200 recordings right (92 to 98)`
    pub fn sentence(&self) -> String {
        self.answers.sentence()
    }

    /// The page.
    pub fn html(&self) -> String {
        let mut body = format!("<h1>{}</h1>\n<p class=\"big\">{}</p>\n", escaped(&self.title), self.sentence());
        let most = self.answers.counts.iter().map(|row| row.iter().sum::<u32>()).max().unwrap_or(0);
        let _ = writeln!(
            body,
            "<p>Always answering the most frequent class would be right in {:.1} %.</p>",
            percent(most, self.answers.all())
        );
        self.answers.classes(&mut body);
        body.push_str("<h2>What is taken for what</h2>\n");
        body.push_str(&self.answers.matrix().svg());
        if !self.unread.is_empty() {
            let _ = write!(body, "<h2>Not read ({})</h2>\n<ul>", self.unread.len());
            body.extend(self.unread.iter().map(|why| format!("<li>{}</li>", escaped(why))));
            body.push_str("</ul>\n");
        }
        if !self.mistakes.is_empty() {
            let _ = writeln!(body, "<h2>Mistakes, the surest first</h2>");
        }
        for m in &self.mistakes {
            let said = m
                .answer
                .map_or("no answer".into(), |(c, p)| format!("{} {:.0} %", self.answers.labels[usize::from(c.0)], p * 100.0));
            let _ = write!(
                body,
                "<h3>{}</h3>\n<p>is <b>{}</b>, said <b>{said}</b></p>\n{}",
                escaped(&m.clip),
                self.answers.labels[m.truth],
                m.drawing
            );
        }
        page(&self.title, &body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> Result<Truth, String> {
        Truth::of_table(&Table::parse(text)?, Path::new(""))
    }

    #[test]
    fn the_longest_ending_decides_and_what_is_unknown_is_named() {
        let labels = ["idle", "left"].map(|l| Label::try_from(l).unwrap());
        let table = table("file,label\n1.avi,idle\nb/1.avi,left\n2.avi,Right\n").unwrap();
        assert_eq!(table.of("x/b/1.avi", &labels), Ok(1));
        assert_eq!(table.of("avi:x/a/1.avi", &labels), Ok(0));
        assert!(table.of("2.avi", &labels).unwrap_err().contains("label \"Right\" found, the bundle has idle, left"));
        assert!(table.of("3.avi", &labels).unwrap_err().contains("3.avi: no label"));
        assert_eq!(Truth::Folders.of("clips/left/7.y4m", &labels), Ok(1));
        assert!(Truth::Folders.of("7.y4m", &labels).is_err());
    }

    #[test]
    fn classes_are_named_as_training_names_them() {
        let labels = ["nofight", "apply-eye-makeup", "walk_in"].map(|l| Label::try_from(l).unwrap());
        for (folder, class) in [("noFight", 0), ("Apply Eye Makeup", 1), ("Walk_In", 2), ("walk_in", 2)] {
            assert_eq!(Truth::Folders.of(&format!("clips/{folder}/1.y4m"), &labels), Ok(class), "{folder}");
        }
        assert_eq!(table("file,label\n1.avi, NoFight\n").unwrap().of("1.avi", &labels), Ok(0));
        assert!(Truth::Folders.of("clips/fight/1.y4m", &labels).is_err());
    }

    #[test]
    fn a_table_is_read_with_other_columns() {
        let Ok(Truth::Table(known)) = table("group, file ,label\n1,b.avi,left\n\n2,c.avi, idle\n") else {
            unreachable!("a good table")
        };
        let known: Vec<_> = known.iter().map(|k| (k.name.as_str(), k.label.as_str())).collect();
        assert_eq!(known, [("b.avi", "left"), ("c.avi", "idle")]);
        assert_eq!(table("file,label\na.avi\n").unwrap_err(), "line 2: file and label expected, one is empty");
        assert_eq!(table("name,label\n").unwrap_err(), "columns name, label found, one must be called file");
    }

    #[test]
    fn a_recording_has_one_label() {
        let why = table("file,label\na.avi,left\nb.avi,left\na.avi,idle\n").unwrap_err();
        assert!(why.starts_with("line 4: a.avi is idle, in line 2 it is left; one label"), "{why}");
        assert!(table("file,label\na.avi,Left\na.avi,left\n").is_ok(), "said twice");
        for columns in ["file,start_s,end_s,label\na.avi,0,1,left\n", "file,label,first_row,last_row\na.avi,left,0,9\n"] {
            assert!(table(columns).unwrap_err().contains("stretches of recordings, one label for each whole"), "{columns}");
        }
    }

    #[test]
    fn a_recording_is_the_same_by_whatever_name() {
        let labels = ["idle", "left"].map(|l| Label::try_from(l).unwrap());
        assert_eq!(Truth::Folders.of("clips/left/10:30:00.y4m", &labels), Ok(1));
        assert_eq!(Truth::Folders.of("frames:clips/left/7@10", &labels), Ok(1));
        let clip = "tests/golden/sources/mono.y4m";
        let here = Path::new(clip).canonicalize().unwrap().display().to_string();
        let beside = Path::new("tests/golden/sources");
        for name in [here.as_str(), clip, "./tests/golden/sources/mono.y4m", "./mono.y4m", "../sources/mono.y4m"] {
            let truth = Truth::of_table(&Table::parse(&format!("file,label\n{name},left\n")).unwrap(), beside).unwrap();
            for clip in [clip, here.as_str(), "y4m:tests/golden/sources/mono.y4m"] {
                assert_eq!(truth.of(clip, &labels), Ok(1), "{clip} by {name}");
            }
        }
        // Where nothing is there, by its ending; and with a time in its name.
        for (name, clip) in [("./00.y4m", "moved/00.y4m"), ("10:30:00.y4m", "moved/10:30:00.y4m")] {
            assert_eq!(table(&format!("file,label\n{name},left\n")).unwrap().of(clip, &labels), Ok(1), "{name}");
        }
        // Two names for one file are two labels for it.
        let twice = format!("file,label\nmono.y4m,left\n{here},idle\n");
        assert!(Truth::of_table(&Table::parse(&twice).unwrap(), beside).unwrap_err().contains("in line 2 it is left"));
    }

    #[test]
    fn the_page_shows_the_surest_mistakes_and_all_counts() {
        let bundle = crate::baked::bundle().unwrap();
        let mut score = Score::new(&bundle);
        for n in 0..40u8 {
            score.add("good.avi", 1, Some((ClassId(1), 0.9)), || unreachable!("a right answer is not drawn"));
            let p = f32::from(n) / 40.0;
            score.add(&format!("bad <{n}>.avi"), 2, Some((ClassId(1), p)), || format!("<svg id=\"{n}\"/>"));
        }
        score.add("short.avi", 3, None, String::new);
        let page = score.html();
        assert!(page.contains("49.4 % of 81 recordings right"), "{}", score.sentence());
        assert!(page.contains("bad &lt;39&gt;.avi") && page.contains("<svg id=\"28\"/>") && !page.contains("<svg id=\"27\"/>"));
        assert!(page.contains(">40</text>") && page.contains("no answer"));
    }
}
