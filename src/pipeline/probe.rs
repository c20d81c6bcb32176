//! Whoever looks on: is told what happens in a tick, and changes nothing. Time is measured, examples are kept and what is normal is learnt this way.

use crate::head::Head;
use crate::novelty::Novelty;
use crate::report::ClassId;
use crate::shaper::Region;
use crate::source::{Shaped, Timestamp};

/// The parts of a step, for whoever wants to time them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Pixels to planes, without flow.
    Shaper,
    /// Is the picture news?
    Gate,
    /// Lucas-Kanade.
    Flow,
    /// The CNN.
    Encoder,
    /// Ring.
    Ring,
    /// Projections and recurrent head.
    Head,
    /// Softmax, classes, events.
    Decision,
    /// Where something moves, without the head.
    Place,
    /// Has this been here before?
    Novelty,
}

/// What goes on from tick to tick, before a tick: for whoever keeps it, so that another run says the same from there on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Before<'a> {
    /// Where it is on.
    pub novelty: Option<&'a Novelty>,
    /// It carries its state only in that mode.
    pub head: Option<&'a Head>,
}

/// Is told when each stage of a tick has ended. `()` does nothing and costs nothing.
pub trait Probe {
    /// A measured stretch begins.
    fn start(&mut self) {}
    /// `stage` has ended; the next one begins.
    fn lap(&mut self, _stage: Stage) {}
    /// What stands for this tick in the ring: features of the encoder, or the row of numbers.
    fn features(&mut self, _features: &[f32]) {}
    /// A tick was decided at `at` (since the first frame): probabilities in label order, and the class that is on.
    fn decided(&mut self, _at: Timestamp, _p: &[f32], _class: ClassId) {}
    /// A tick went into the ring, made from the frame of `at` (since the first frame), with these extras, value and mark of each; `first`: the ring was empty.
    fn taken(&mut self, _at: Timestamp, _tick: Shaped<'_>, _extra: &[f32], _first: bool) {}
    /// Novelty and the head are about to look at a tick.
    fn before(&mut self, _before: Before<'_>) {}
    /// Something moved in the tick at `at`, in this part of the camera's picture.
    fn placed(&mut self, _at: Timestamp, _place: Region) {}
    /// The state of the head behind what was decided just now, where it shows one.
    fn felt(&mut self, _state: Option<&[f32]>) {}
}
impl Probe for () {}

/// Tells some probes all that this one is told: whoever adds a method adds it here, and nobody misses it.
macro_rules! pass_on {
    ($me:ident, $($to:expr),+) => {
        fn start(&mut $me) {
            $($to.into_iter().for_each(|p| p.start());)+
        }
        fn lap(&mut $me, stage: Stage) {
            $($to.into_iter().for_each(|p| p.lap(stage));)+
        }
        fn features(&mut $me, features: &[f32]) {
            $($to.into_iter().for_each(|p| p.features(features));)+
        }
        fn decided(&mut $me, at: Timestamp, p: &[f32], class: ClassId) {
            $($to.into_iter().for_each(|probe| probe.decided(at, p, class));)+
        }
        fn taken(&mut $me, at: Timestamp, tick: Shaped<'_>, extra: &[f32], first: bool) {
            $($to.into_iter().for_each(|p| p.taken(at, tick, extra, first));)+
        }
        fn before(&mut $me, before: Before<'_>) {
            $($to.into_iter().for_each(|p| p.before(before));)+
        }
        fn placed(&mut $me, at: Timestamp, place: Region) {
            $($to.into_iter().for_each(|p| p.placed(at, place));)+
        }
        fn felt(&mut $me, state: Option<&[f32]>) {
            $($to.into_iter().for_each(|p| p.felt(state));)+
        }
    };
}

/// It is told if it is there.
impl<P: Probe> Probe for Option<P> {
    pass_on!(self, self.iter_mut());
}

/// One that somebody else keeps.
impl<P: Probe + ?Sized> Probe for &mut P {
    pass_on!(self, Some(&mut **self));
}

/// Both are told.
impl<A: Probe, B: Probe> Probe for (A, B) {
    pass_on!(self, Some(&mut self.0), Some(&mut self.1));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Told(Vec<&'static str>);

    impl Probe for Told {
        fn start(&mut self) {
            self.0.push("start");
        }
        fn lap(&mut self, _: Stage) {
            self.0.push("lap");
        }
        fn features(&mut self, _: &[f32]) {
            self.0.push("features");
        }
        fn decided(&mut self, _: Timestamp, _: &[f32], _: ClassId) {
            self.0.push("decided");
        }
        fn taken(&mut self, _: Timestamp, _: Shaped<'_>, _: &[f32], _: bool) {
            self.0.push("taken");
        }
        fn before(&mut self, _: Before<'_>) {
            self.0.push("before");
        }
        fn placed(&mut self, _: Timestamp, _: Region) {
            self.0.push("placed");
        }
        fn felt(&mut self, _: Option<&[f32]>) {
            self.0.push("felt");
        }
    }

    fn tell_all(mut probe: impl Probe) {
        let at = Timestamp(0);
        probe.start();
        probe.lap(Stage::Ring);
        probe.features(&[]);
        probe.decided(at, &[], ClassId(0));
        probe.taken(at, Shaped::Same, &[], true);
        probe.before(Before::default());
        probe.placed(at, Region::default());
        probe.felt(None);
    }

    #[test]
    fn whoever_stands_behind_others_is_told_everything() {
        let (mut alone, mut first, mut second) = (Told::default(), Told::default(), Told::default());
        tell_all(&mut alone);
        tell_all((Some(&mut first), (&mut second, None::<Told>)));
        assert_eq!(alone.0.len(), 8);
        assert_eq!((&alone.0, &alone.0), (&first.0, &second.0));
    }
}
