//! What was shown on a box: every step of teaching, in order, and the bundle it belongs to.
//!
//! The traces of the examples are kept and not a finished classifier: so a label can be forgotten, the last step undone, and a better way to
//! fit them found later, without showing anything again. A step is appended whole. The label of a class that the bundle knows
//! already is no new class: it says "this is ordinary here".
//!
//! As text this is JSON: `taught.json` of a state folder, or of an exported bundle.

use super::moments::{Moments, Sums};
use super::packed::Packed;
use crate::bundle::plain;
use serde::{Deserialize, Serialize};

/// Name of the file, in a state folder and in a bundle.
pub const FILE: &str = "taught.json";
/// Most classes that are taught on top of a bundle: each costs a product of a trace a tick.
pub const MAX_CLASSES: usize = 16;
/// Most examples in all; fitted within a second on a slow box.
pub const MAX_EXAMPLES: usize = 256;
/// Largest file that is read, and written: an example of a head of 96 units has up to 50 kB.
pub const MAX_BYTES: u64 = 16 << 20;
/// Numbers of a trace at most: fitting takes their third power.
pub const MAX_NUMBERS: usize = 1024;

/// One example: what the head felt while it was shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Example {
    /// Where it came from, for people.
    pub from: String,
    /// Its traces, all of one length.
    pub traces: Vec<Packed>,
    /// How sure the bundle was of one of its own classes, a number a trace: as it is judged ([`crate::taught::CERTAIN`]). None in lessons of earlier
    /// versions.
    #[serde(default, skip_serializing_if = "Packed::is_empty")]
    pub sure: Packed,
}

/// One step of teaching.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// Examples of a label were shown.
    Shown {
        /// Of which class.
        label: String,
        /// What was seen.
        examples: Vec<Example>,
    },
    /// Footage in which nothing happens that is to be taught.
    Ordinary {
        /// How many recordings.
        recordings: usize,
        /// Their traces, summed up.
        moments: Moments,
    },
    /// A label was forgotten.
    Forgotten {
        /// Which one.
        label: String,
    },
}

/// See the module's documentation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lesson {
    /// Hash of the bundle whose head felt all this.
    pub bundle: String,
    /// What is ordinary, as far as the bundle's maker knew.
    pub ordinary: Option<Moments>,
    steps: Vec<Step>,
}

impl Lesson {
    /// Nothing shown yet.
    pub fn new(bundle: &str, ordinary: Option<Moments>) -> Self {
        Self { bundle: bundle.into(), ordinary, steps: vec![] }
    }

    /// The same as the lesson of the bundle with this hash, which is known to have the same networks.
    #[must_use]
    pub fn of(self, bundle: &str) -> Self {
        Self { bundle: bundle.into(), ..self }
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// One sentence, without the file's name.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let lesson: Self = serde_json::from_slice(bytes).map_err(|e| plain(&format!("not what `lookout teach` writes: {e}")))?;
        if lesson.shown().any(|(_, e)| e.traces.is_empty()) {
            return Err("an example has no trace".into());
        }
        if let Some((_, e)) = lesson.shown().find(|(_, e)| !e.sure.is_empty() && e.sure.0.len() != e.traces.len()) {
            let (sure, traces) = (e.sure.0.len(), e.traces.len());
            return Err(format!("an example has {traces} traces and says of {sure} how sure the bundle was"));
        }
        let numbers = lesson.numbers().unwrap_or(0);
        let alike = lesson.shown().flat_map(|(_, e)| &e.traces).all(|t| t.0.len() == numbers)
            && lesson.moments().all(|m| m.fits(m.classes.len(), numbers));
        if numbers > MAX_NUMBERS || !alike {
            return Err(format!("its traces are not all of one length up to {MAX_NUMBERS}"));
        }
        // States of LSTM, GRU and tanh are within one; far beyond that the arithmetic would end in infinities.
        let sums = lesson.moments().flat_map(|m| m.classes.iter().map(|c| &c.mean).chain([&m.covariance]));
        let far = lesson.shown().flat_map(|(_, e)| &e.traces).chain(sums).flat_map(|t| &t.0).copied().find(|v| v.abs() > 100.0);
        if let Some(far) = far {
            return Err(format!("it holds {far}, which no state of a head is"));
        }
        let (examples, classes) = (lesson.shown().count(), lesson.labels().len());
        if examples > MAX_EXAMPLES || classes > MAX_CLASSES + 256 {
            return Err(format!("{examples} examples of {classes} classes, at most {MAX_EXAMPLES} are kept"));
        }
        Ok(lesson)
    }

    /// The text of a file.
    ///
    /// # Errors
    /// It would be too large to be read again.
    pub fn file(&self) -> Result<String, String> {
        let text = self.text();
        if text.len() as u64 > MAX_BYTES {
            let (found, most) = (text.len() as f64 / 1e6, MAX_BYTES as f64 / 1e6);
            return Err(format!(
                "what was taught would take {found:.1} MB, at most {most:.1} are kept; forget a class, or show shorter examples"
            ));
        }
        Ok(text)
    }

    /// The text of a file of any size.
    fn text(&self) -> String {
        // Plain strings and finite numbers: nothing that JSON could not say.
        serde_json::to_string(self).unwrap_or_default() + "\n"
    }

    /// Every example that counts, with its label, in the order in which they were shown.
    pub fn shown(&self) -> impl Iterator<Item = (&str, &Example)> {
        let alive =
            |at: usize, label: &str| !self.steps[at..].iter().any(|s| matches!(s, Step::Forgotten { label: l } if l == label));
        self.steps.iter().enumerate().flat_map(move |(at, step)| match step {
            Step::Shown { label, examples } if alive(at, label) => examples.iter().map(|e| (label.as_str(), e)).collect(),
            _ => vec![],
        })
    }

    /// Everything that is known to be ordinary.
    pub fn moments(&self) -> impl Iterator<Item = &Moments> {
        self.ordinary.iter().chain(self.steps.iter().filter_map(|s| match s {
            Step::Ordinary { moments, .. } => Some(moments),
            _ => None,
        }))
    }

    /// Numbers of a trace, if there is any.
    pub fn numbers(&self) -> Option<usize> {
        let trace = self.shown().next().map(|(_, e)| e.traces[0].0.len());
        trace.or_else(|| self.moments().next().and_then(|m| m.classes.first()).map(|c| c.mean.0.len()))
    }

    /// The labels of those, each once, in the order of their first example.
    pub fn labels(&self) -> Vec<&str> {
        let mut labels: Vec<&str> = vec![];
        for (label, _) in self.shown() {
            if !labels.contains(&label) {
                labels.push(label);
            }
        }
        labels
    }

    /// Adds a step. What was forgotten before it is gone for good now, and ordinary footage before the last is one step with what came before it:
    /// a box that is shown an ordinary day every day keeps no more for it.
    pub fn push(&mut self, step: Step) {
        let mut kept = vec![];
        for at in 0..self.steps.len() {
            let later = &self.steps[at..];
            let counts = match &self.steps[at] {
                Step::Shown { label, .. } => !later.iter().any(|s| matches!(s, Step::Forgotten { label: l } if l == label)),
                Step::Ordinary { .. } => true,
                Step::Forgotten { .. } => false,
            };
            if counts {
                kept.push(self.steps[at].clone());
            }
        }
        if let Step::Ordinary { .. } = step {
            join_last_two(&mut kept);
        }
        kept.push(step);
        self.steps = kept;
    }

    /// Takes the last step back, and says which it was.
    pub fn undo(&mut self) -> Option<Step> {
        self.steps.pop()
    }
}

/// Two steps of ordinary footage at the end become one, where they are of as many classes.
fn join_last_two(steps: &mut Vec<Step>) {
    let Some([Step::Ordinary { recordings: n, moments: a }, Step::Ordinary { recordings: m, moments: b }]) = steps.last_chunk()
    else {
        return;
    };
    let numbers = a.classes.first().map_or(0, |c| c.mean.0.len());
    if a.classes.len() != b.classes.len() || !b.fits(b.classes.len(), numbers) {
        return;
    }
    let mut sums = Sums::new(a.classes.len(), numbers);
    sums.join(a);
    sums.join(b);
    let both = Step::Ordinary { recordings: n + m, moments: sums.moments() };
    steps.truncate(steps.len() - 2);
    steps.push(both);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_days_add_up_without_taking_more_room_and_what_is_too_large_is_no_file() {
        let day = || {
            let mut sums = Sums::new(2, 2);
            sums.add(0, &[0.5, 0.25]);
            sums.add(1, &[-0.5, 0.125]);
            Step::Ordinary { recordings: 1, moments: sums.moments() }
        };
        let mut lesson = Lesson::new("abc", None);
        let mut lengths = vec![];
        for _ in 0..100 {
            lesson.push(day());
            lengths.push(lesson.file().unwrap().len());
        }
        assert!(lengths[99] <= lengths[1] + 20, "{lengths:?}");
        let count = |lesson: &Lesson| lesson.moments().flat_map(|m| &m.classes).map(|c| c.count).sum::<f64>();
        assert_eq!(count(&lesson), 200.0);
        lesson.undo();
        assert_eq!(count(&lesson), 198.0, "the last one can be taken back by itself");
        let traces = vec![Packed::round(&[0.5; MAX_NUMBERS]); 4_200];
        let long = Example { from: "clip".into(), traces, sure: Packed::default() };
        lesson.push(Step::Shown { label: "a".into(), examples: vec![long] });
        assert!(lesson.file().is_err_and(|why| why.contains("MB, at most 16.8 are kept")));
    }

    fn shown(label: &str, x: f32) -> Step {
        let (traces, sure) = (vec![Packed::round(&[x, 1.0])], Packed::round(&[0.75]));
        Step::Shown { label: label.into(), examples: vec![Example { from: "clip".into(), traces, sure }] }
    }

    #[test]
    fn steps_add_up_are_forgotten_and_taken_back() {
        let mut lesson = Lesson::new("abc", None);
        lesson.push(shown("a", 0.5));
        lesson.push(shown("b", 0.25));
        lesson.push(shown("a", 0.125));
        assert_eq!((lesson.labels(), lesson.shown().count()), (vec!["a", "b"], 3));
        lesson.push(Step::Forgotten { label: "a".into() });
        assert_eq!((lesson.labels(), lesson.shown().count()), (vec!["b"], 1));
        assert_eq!(Lesson::parse(lesson.text().as_bytes()).unwrap(), lesson);
        assert_eq!(lesson.undo(), Some(Step::Forgotten { label: "a".into() }));
        assert_eq!(lesson.labels(), ["a", "b"]);
        lesson.undo();
        assert_eq!(lesson.shown().count(), 2);
        // What was forgotten and then taught anew has the new examples only, and what was forgotten is not kept in the file.
        lesson.push(Step::Forgotten { label: "a".into() });
        lesson.push(shown("a", 9.0));
        assert_eq!(
            lesson.shown().map(|(l, e)| (l, (e.traces[0].0[0] * 8.0).round())).collect::<Vec<_>>(),
            [("b", 2.0), ("a", 72.0)]
        );
        assert_eq!(lesson.text().matches("clip").count(), 2, "{}", lesson.text());
    }

    #[test]
    fn a_damaged_file_is_named_in_one_sentence() {
        let file = |traces: &str| {
            format!(
                r#"{{"bundle":"x","ordinary":null,"steps":[{{"shown":{{"label":"a","examples":[{{"from":"","traces":[{traces}]}}]}}}}]}}"#
            )
        };
        for text in ["", "{}", "null", &file(""), &file("1"), &file(r#""nan:0000""#)] {
            let said = Lesson::parse(text.as_bytes()).unwrap_err();
            assert!(!said.contains('\n'), "{said}");
        }
        let uneven = file(r#""1:0000","1:00000000""#);
        assert!(Lesson::parse(uneven.as_bytes()).unwrap_err().contains("one length"));
        // Of an earlier version, which did not say how sure the bundle was; and one that says it of another number of traces.
        let older = file(r#""1:0000","1:0000""#);
        assert!(Lesson::parse(older.as_bytes()).unwrap().shown().all(|(_, e)| e.sure.is_empty()));
        let unsure = older.replacen("]}", r#"],"sure":"1:7fff"}"#, 1);
        assert!(Lesson::parse(unsure.as_bytes()).unwrap_err().contains("2 traces and says of 1"), "{unsure}");
    }
}
