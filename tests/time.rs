//! The promise: a tick is a tick of time. The same scene at 30 fps, at 15 fps and with a fifth of its frames lost gives
//! the same events, with onsets within one tick; and the same clip twice gives the same sentences, byte for byte.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a failed step is a failed test, and a figure is said")]

use lookout::baked;
use lookout::pipeline::{Counts, Probe};
use lookout::pipeline::{Options, Pipeline};
use lookout::report::sentence::Sentence;
use lookout::report::{ClassId, Edge, Report};
use lookout::source::ahead::Ahead;
use lookout::source::scene::{Play, Scene};
use lookout::source::{Frame, Source, SourceError, Timestamp};
use std::ops::RangeInclusive;

/// The built-in scene without the frames that `keep` refuses.
struct Thinned<K>(Scene, K, u32);

impl<K: FnMut(u32) -> bool + Send> Source for Thinned<K> {
    fn next(&mut self) -> Result<Option<Frame<'_>>, SourceError> {
        while !(self.1)(self.2) && self.0.next()?.is_some() {
            self.2 += 1;
        }
        self.2 += 1;
        self.0.next()
    }
    fn describe(&self) -> String {
        "a thinned scene".into()
    }
}

fn play(keep: impl FnMut(u32) -> bool + Send + 'static) -> (Vec<Report>, String) {
    let bundle = baked::bundle().unwrap();
    let mut pipeline = Pipeline::new(&bundle, &Options::default()).unwrap();
    let mut scene = Ahead::new(Box::new(Thinned(Scene::new(1), keep, 0)));
    let (mut reports, mut text) = (vec![], String::new());
    let mut say = |r: Report| {
        text.push_str(&Sentence::of(reports.len() as u32, &r).encode());
        reports.push(r);
    };
    while let Some((frame, until)) = scene.read().unwrap() {
        pipeline.play(&frame, until, &mut (), &mut say).unwrap();
    }
    (reports, text)
}

/// Edge and label of every event, and its onset.
fn events(reports: &[Report]) -> (Vec<(Edge, String)>, Vec<u64>) {
    let events = reports.iter().filter_map(|r| if let Report::Event(e) = r { Some(e) } else { None });
    events.map(|e| ((e.edge, e.label.to_string()), e.onset.ms())).unzip()
}

/// Loses a fifth of all frames but the first.
fn a_fifth_lost(seed: u32) -> impl FnMut(u32) -> bool + Send {
    let mut x = seed;
    move |n| {
        x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        n == 0 || x >> 24 >= 51
    }
}

#[test]
fn half_the_rate_and_lost_frames_give_the_same_events_within_a_tick() {
    let tick = u64::from(baked::bundle().unwrap().contract.time.tick_ms);
    let (what, when) = events(&play(|_| true).0);
    assert!(what.len() >= 12, "all six classes begin and end in the scene: {what:?}");
    for (name, reports) in [("15 fps", play(|n| n.is_multiple_of(2)).0), ("20 % lost", play(a_fifth_lost(1)).0)] {
        let (other_what, other_when) = events(&reports);
        assert_eq!(what, other_what, "{name}");
        for (n, (a, b)) in when.iter().zip(&other_when).enumerate() {
            assert!(a.abs_diff(*b) <= tick, "{name}: onset of {:?} at {a} and {b} ms", what[n]);
        }
    }
}

/// Shifts of the onsets that a fifth of the frames lost moves by more than a tick, of how many onsets; every event stays.
fn moved(draws: RangeInclusive<u32>) -> (Vec<u64>, usize) {
    let tick = u64::from(baked::bundle().unwrap().contract.time.tick_ms);
    let (what, when) = events(&play(|_| true).0);
    let (all, mut moved) = (draws.clone().count() * when.len(), vec![]);
    for seed in draws {
        let (other_what, other_when) = events(&play(a_fifth_lost(seed)).0);
        assert_eq!(what, other_what, "seed {seed}");
        let shifts = when.iter().zip(&other_when).map(|(a, b)| a.abs_diff(*b));
        moved.extend(shifts.filter(|shift| *shift > tick));
    }
    (moved, all)
}

#[test]
fn whichever_fifth_is_lost_the_events_are_the_same_within_a_tick() {
    let (moved, all) = moved(2..=25);
    assert!(moved.is_empty(), "of {all} onsets, off by ms: {moved:?}");
}

/// What is lost may be the very frames in which something begins: then it begins a tick later still.
#[test]
#[ignore = "a minute"]
fn of_a_hundred_draws_one_onset_in_two_hundred_at_most_is_off_by_two_ticks() {
    let (moved, all) = moved(2..=101);
    println!("figure: of {all} onsets, off by more than a tick, ms: {moved:?}");
    assert!(moved.len() * 200 <= all && moved.iter().all(|shift| *shift <= 200), "of {all} onsets, off by ms: {moved:?}");
}

/// What was decided at every tick: class and the bits of all probabilities.
#[derive(Default)]
struct Decided(Vec<(ClassId, Vec<u32>)>);

impl Probe for Decided {
    fn decided(&mut self, _: Timestamp, p: &[f32], class: ClassId) {
        self.0.push((class, p.iter().map(|v| v.to_bits()).collect()));
    }
}

fn gated(what: Play, gate: bool) -> (Decided, Vec<Report>, Counts) {
    let bundle = baked::bundle().unwrap();
    let mut pipeline = Pipeline::new(&bundle, &Options { gate, ..Options::default() }).unwrap();
    let mut scene = Ahead::new(Box::new(Scene::playing(3, what)));
    let (mut decided, mut reports) = (Decided::default(), vec![]);
    while let Some((frame, Some(until))) = scene.read().unwrap() {
        pipeline.step(&frame, until, &mut decided, &mut |r| reports.push(r)).unwrap();
    }
    (decided, reports, pipeline.counts())
}

#[test]
fn a_still_scene_is_hardly_ever_encoded_and_says_the_same() {
    let (with, _, counts) = gated(Play::Still, true);
    assert!(counts.ticks > 150 && counts.reused * 10 > counts.ticks * 9, "{counts:?}");
    let (without, _, off) = gated(Play::Still, false);
    assert_eq!((off.reused, off.ticks), (0, counts.ticks));
    let classes = |d: &Decided| d.0.iter().map(|(c, _)| *c).collect::<Vec<_>>();
    assert_eq!(classes(&with), classes(&without));
    // Exact reuse: a window of nothing new has the very answer it had. Noise makes every encoded one a little different.
    let repeated = |d: &Decided| d.0.windows(2).filter(|w| w[0].1 == w[1].1).count();
    assert!(repeated(&with) * 2 > with.0.len() && repeated(&without) == 0, "{} of {}", repeated(&with), with.0.len());
}

#[test]
fn what_happens_is_seen_through_the_gate() {
    let (_, with, counts) = gated(Play::Script, true);
    let (_, without, _) = gated(Play::Script, false);
    assert!(counts.reused > 0, "{counts:?}");
    let ((what, when), (other_what, other_when)) = (events(&with), events(&without));
    assert_eq!(what, other_what);
    for (n, (a, b)) in when.iter().zip(&other_when).enumerate() {
        assert!(a.abs_diff(*b) <= 200, "onset of {:?} at {a} and {b} ms", what[n]);
    }
    let (_, _, busy) = gated(Play::Busy, true);
    assert_eq!(busy.reused, 0, "there is always somebody");
}

#[test]
fn the_same_clip_twice_gives_byte_identical_sentences() {
    let (_, first) = play(|_| true);
    assert!(first.lines().count() > 20);
    assert_eq!(first, play(|_| true).1);
}
