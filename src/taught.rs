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
use lesson::Lesson;
use trace::Trace;

/// A taught class is put back by this times the logarithm of the doubt that the bundle left over the last second, `1 - max p`: old classes lose half
/// as many answers as without it (models/motion/README.md).
pub const CERTAIN: f32 = 6.0;
/// The least doubt that counts: a class that the bundle takes for nothing at all can still be taught.
const LEAST_DOUBT: f32 = 0.02;

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
    /// Nothing, if all was forgotten.
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
        let x = trace.push(state);
        let here = Here::best();
        triangle(here, &fitted.white, x, white);
        for (near, place) in near.iter_mut().zip(&fitted.places) {
            let d = apart(here, white, &place.mean) / place.doubt;
            *near = if d <= place.radius { d + place.behind } else { f32::INFINITY };
        }
        let first = fitted.places.len() - fitted.taught;
        let most = sure.push(&p[..*own])[..*own].iter().fold(0.0f32, |most, p| most.max(*p));
        let against = -2.0 * CERTAIN * (1.0 - most).max(LEAST_DOUBT).ln();
        near[first..].iter_mut().for_each(|d| *d += against);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::taught::lesson::{Example, Step};
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
        Example { from: "clip".into(), traces }
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
