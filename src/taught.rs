//! Classes that were taught on the box: a few shown examples and no training, judged by what the head feels.
//!
//! A network that was trained on seven classes feels differently about an eighth, although it has no name for it. Its last hidden state, looked at over a
//! second ([`trace`]), is compared with that of the examples ([`lesson`]), of ordinary footage and of motions without a name ([`moments`]) by a linear
//! discriminant ([`fit`]). Who walks left is not circling, however alike one second of it looks: the surer the bundle was of one of its own classes
//! over that second, the nearer a taught class must be ([`CERTAIN`]). The bundle's probabilities keep what the taught classes leave: `p * (1 - q)`, and behind them the taught ones, `q`. So everything behind it
//! - thresholds, events, wires - treats both alike, and where nothing was taught nothing is different.
//!
//! Pure: no clock, no files; nothing is allocated a tick. [`crate::store`] keeps lessons, `lookout teach` makes them.

pub mod fit;
pub mod lesson;
pub mod moments;
pub mod packed;
pub mod show;
pub mod trace;

use crate::decision::Thresholds;
use crate::lanes::{Here, apart, triangle};
use crate::report::Label;
use fit::Fitted;
use lesson::{Example, Lesson};
use trace::Trace;

/// A taught class is put back by this times the logarithm of the doubt that the bundle left over the last second, `1 - max p`: old classes lose half
/// as many answers as without it (models/motion/README.md).
pub const CERTAIN: f32 = 6.0;
/// The least doubt that counts: a class that the bundle takes for nothing at all can still be taught.
const LEAST_DOUBT: f32 = 0.02;
/// Examples that a refusal names.
const NAMED: usize = 3;

/// See the module's documentation.
#[derive(Clone, Debug)]
pub struct Taught {
    fitted: Fitted,
    trace: Trace,
    /// The trace, whitened.
    white: Box<[f32]>,
    /// The bundle's probabilities over the same second.
    sure: Trace,
    /// How near each place is.
    near: Box<[f32]>,
    /// The bundle's probabilities and the taught ones behind them.
    p: Box<[f32]>,
    own: usize,
    /// Where in `p` each taught class stands.
    slots: Box<[usize]>,
}

/// What a box that runs goes on with after a lesson: see [`Taught::among`].
#[derive(Debug)]
pub struct Known {
    /// Nothing, if all was forgotten or what is left cannot be used.
    pub taught: Option<Taught>,
    /// All labels. One that was forgotten keeps its number until the next start: wires and lines know classes by it.
    pub labels: Vec<Label>,
    /// One a label.
    pub thresholds: Vec<Thresholds>,
}

impl Taught {
    /// Fits what was shown. `names` are the bundle's own labels, `hidden` the length of its head's state.
    ///
    /// # Errors
    /// One sentence: why it cannot be fitted, or that it belongs to another head.
    pub fn new(lesson: &Lesson, names: &[String], hidden: usize) -> Result<Option<Self>, String> {
        if lesson.labels().is_empty() {
            return Ok(None);
        }
        let trace = Trace::new(hidden);
        if lesson.numbers() != Some(trace.len()) {
            let found = lesson.numbers().unwrap_or(0) / 2;
            return Err(format!("it was taught on a head of {found} hidden units, this one has {hidden}"));
        }
        let fitted = fit::fit(lesson, names)?;
        Ok(Some(Self {
            white: vec![0.0; trace.len()].into(),
            sure: Trace::new(names.len()),
            near: vec![0.0; fitted.places.len()].into(),
            p: vec![0.0; names.len() + fitted.taught].into(),
            own: names.len(),
            slots: (names.len()..names.len() + fitted.taught).collect(),
            trace,
            fitted,
        }))
    }

    /// The same of a lesson that has just grown, which must agree with itself: what was fitted calls at least half of the examples of the class that has
    /// grown, `None`: of each taught class, what they were shown as.
    ///
    /// # Errors
    /// As [`Taught::new`], or which examples of which class contradict it.
    pub fn proved(lesson: &Lesson, names: &[String], hidden: usize, grown: Option<&str>) -> Result<Option<Self>, String> {
        let Some(mut taught) = Self::new(lesson, names, hidden)? else { return Ok(None) };
        for (n, label) in lesson.labels().into_iter().enumerate().filter(|(_, label)| grown.is_none_or(|grown| grown == *label)) {
            let examples: Vec<&Example> = lesson.shown().filter(|(l, _)| *l == label).map(|(_, e)| e).collect();
            let astray: Vec<&str> = examples.iter().filter(|e| !taught.calls(n, e)).map(|e| e.from.as_str()).collect();
            let (all, wrong) = (examples.len(), astray.len());
            if 2 * wrong > all {
                let first = astray[..wrong.min(NAMED)].join(", ");
                let more = if wrong > NAMED { format!(" and {} more", wrong - NAMED) } else { String::new() };
                let way = match grown {
                    Some(_) => "show one thing alone, and more clearly".into(),
                    None => format!("`lookout teach --forget {label}` takes it away"),
                };
                return Err(format!(
                    "{label}: {wrong} of {all} examples contradict it: {first}{more} would not be called {label} after all of them, at most half may be so; {way}"
                ));
            }
        }
        Ok(Some(taught))
    }

    /// Is taught class `n` the one that most traces of this example are nearest to?
    fn calls(&mut self, n: usize, example: &Example) -> bool {
        let Self { fitted, white, near, .. } = self;
        let mut nearest = vec![0usize; near.len()];
        for (k, trace) in example.traces.iter().enumerate() {
            // Of an earlier version: as if the bundle had been sure of nothing.
            let sure = example.sure.0.get(k).copied().unwrap_or(0.0);
            measure(fitted, &trace.0, sure, white, near);
            let place = (0..near.len()).min_by(|a, b| near[*a].total_cmp(&near[*b]));
            place.into_iter().for_each(|place| nearest[place] += 1);
        }
        let own = nearest[fitted.places.len() - fitted.taught + n];
        nearest.iter().all(|count| *count <= own)
    }

    /// The same with its classes where they stand among `labels`, which begin with the bundle's own and have all of `taught`, in its lesson's order.
    #[must_use]
    pub fn among(self, labels: &[Label], taught: &[&str]) -> Self {
        let slot = |name: &&str| labels.iter().position(|l| l == *name);
        Self { p: vec![0.0; labels.len()].into(), slots: taught.iter().filter_map(slot).collect(), ..self }
    }

    /// Takes the probabilities of the bundle's own classes for this tick.
    pub fn take(&mut self, p: &[f32]) {
        self.p[..self.own].copy_from_slice(p);
    }

    /// Probabilities of all classes for the tick whose own ones were taken, from the head's state at it.
    pub fn judge(&mut self, state: &[f32]) -> &[f32] {
        let Self { fitted, trace, white, sure, near, p, own, slots } = self;
        let most = sure.push(&p[..*own])[..*own].iter().fold(0.0f32, |most, p| most.max(*p));
        measure(fitted, trace.push(state), most, white, near);
        let first = fitted.places.len() - fitted.taught;
        // Finite: what is ordinary has no radius.
        let nearest = near.iter().fold(f32::INFINITY, |least, d| least.min(*d));
        let sum: f32 = near.iter().map(|d| (0.5 * (nearest - d)).exp()).sum();
        let mut all = 0.0;
        for (slot, d) in slots.iter().zip(&near[first..]) {
            p[*slot] = (0.5 * (nearest - d)).exp() / sum;
            all += p[*slot];
        }
        p[..*own].iter_mut().for_each(|p| *p *= (1.0 - all).max(0.0));
        p
    }

    /// Forgets what the head felt: after a gap.
    pub fn reset(&mut self) {
        self.trace.reset();
        self.sure.reset();
    }
}

/// How far a trace is from each place, squared, over which the bundle was so sure of one of its own classes.
fn measure(fitted: &Fitted, trace: &[f32], sure: f32, white: &mut [f32], near: &mut [f32]) {
    let here = Here::best();
    triangle(here, &fitted.white, trace, white);
    for (near, place) in near.iter_mut().zip(&fitted.places) {
        let d = apart(here, white, &place.mean) / place.doubt;
        *near = if d <= place.radius { d + place.behind } else { f32::INFINITY };
    }
    let against = -2.0 * CERTAIN * (1.0 - sure).max(LEAST_DOUBT).ln();
    near[fitted.places.len() - fitted.taught..].iter_mut().for_each(|d| *d += against);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::taught::lesson::Step;
    use crate::taught::moments::Sums;
    use crate::taught::packed::Packed;

    /// A head of two units whose ordinary classes are "still" at (0, 0) and "go" at (1, 0).
    fn ordinary() -> moments::Moments {
        let mut sums = Sums::new(2, 4);
        for n in 0..200u32 {
            let wobble = |k: u32| ((n * 37 + k * 101) % 64) as f32 / 640.0 - 0.05;
            let class = (n % 2) as usize;
            sums.add(class, &[class as f32 + wobble(1), wobble(2), 0.05 + wobble(3), 0.05 + wobble(4)]);
        }
        sums.moments()
    }

    fn example(at: [f32; 4]) -> Example {
        let traces = (0..4).map(|n| Packed::round(&at.map(|v| v + (n as f32 - 1.5) / 100.0))).collect();
        Example { from: "clip".into(), traces, sure: Packed::default() }
    }

    fn lesson(of: &[(&str, [f32; 4])]) -> Lesson {
        let mut lesson = Lesson::new("x", Some(ordinary()));
        for (label, at) in of {
            lesson.push(Step::Shown { label: (*label).into(), examples: vec![example(*at)] });
        }
        lesson
    }

    fn names() -> Vec<String> {
        ["still", "go"].map(String::from).to_vec()
    }

    #[test]
    fn one_example_is_enough_and_what_resembles_nothing_stays_unknown() {
        let mut taught = Taught::new(&lesson(&[("up", [0.0, 0.5, 0.05, 0.05])]), &names(), 2).unwrap().unwrap();
        let mut at = |state: [f32; 2]| {
            taught.reset();
            (0..2 * trace::SPAN).for_each(|_| {
                taught.take(&[0.25, 0.75]);
                taught.judge(&state);
            });
            taught.take(&[0.25, 0.75]);
            taught.judge(&state).to_vec()
        };
        let (up, go, far) = (at([0.02, 0.5]), at([0.97, 0.01]), at([0.0, 1.5]));
        assert!(up[2] > 0.9, "{up:?}");
        assert!(go[2] < 0.05 && (go[1] - 0.75).abs() < 0.05, "{go:?}");
        assert!(far[2] == 0.0 && far[1] == 0.75, "beyond the radius: {far:?}");
        for p in [up, go, far] {
            assert!((p.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        }
    }

    #[test]
    fn examples_that_would_not_be_called_what_they_were_shown_as_are_refused_and_named() {
        // One stands still, one goes, and one does something new.
        let shown =
            [("still.y4m", [0.0, 0.0, 0.05, 0.05]), ("go.y4m", [1.0, 0.0, 0.05, 0.05]), ("up.y4m", [0.0, 0.5, 0.05, 0.05])];
        let examples = shown.map(|(from, at)| Example { from: from.into(), ..example(at) });
        let mut mess = Lesson::new("x", Some(ordinary()));
        mess.push(Step::Shown { label: "mess".into(), examples: examples.to_vec() });
        let said = Taught::proved(&mess, &names(), 2, Some("mess")).unwrap_err();
        assert!(said.starts_with("mess: 2 of 3 examples contradict it: still.y4m, go.y4m would not be called mess"), "{said}");
        assert!(said.ends_with("show one thing alone, and more clearly"), "{said}");
        assert!(Taught::new(&mess, &names(), 2).unwrap().is_some(), "what an earlier version accepted still runs");
        assert!(Taught::proved(&mess, &names(), 2, Some("other")).is_ok(), "and keeps nobody from teaching another class");
        let said = Taught::proved(&mess, &names(), 2, None).unwrap_err();
        assert!(said.ends_with("`lookout teach --forget mess` takes it away"), "{said}");
        // One example, near to what the bundle knows: it depends on how sure the bundle was that it is that.
        for (sure, good) in [(0.5, true), (0.99, false)] {
            let near = Example { sure: Packed::round(&[sure; 4]), ..example([0.15, 0.0, 0.05, 0.05]) };
            let mut lesson = Lesson::new("x", Some(ordinary()));
            lesson.push(Step::Shown { label: "near".into(), examples: vec![near] });
            assert_eq!(Taught::proved(&lesson, &names(), 2, Some("near")).is_ok(), good, "{sure}");
        }
    }

    #[test]
    fn what_cannot_be_told_apart_is_refused_in_one_sentence() {
        let refused = |lesson: &Lesson| Taught::new(lesson, &names(), 2).unwrap_err();
        let said = refused(&lesson(&[("again", [1.0, 0.0, 0.05, 0.05])]));
        assert!(said.contains("again") && said.contains("cannot be told from go"), "{said}");
        let said = refused(&lesson(&[("up", [0.0, 0.5, 0.05, 0.05]), ("high", [0.0, 0.51, 0.05, 0.05])]));
        assert!(said.contains("cannot be told from up"), "{said}");
        let said = Taught::new(&lesson(&[("up", [0.0, 0.5, 0.05, 0.05])]), &names(), 3).unwrap_err();
        assert!(said.contains("2 hidden units, this one has 3"), "{said}");
        let mut nothing = lesson(&[("up", [0.0, 0.5, 0.05, 0.05])]);
        nothing.ordinary = None;
        assert!(refused(&nothing).contains("--ordinary"));
        assert!(Taught::new(&Lesson::new("x", None), &names(), 2).unwrap().is_none(), "nothing taught is nothing to do");
    }
}
