//! The promise: a tick is a tick of time. The same scene at 30 fps, at 15 fps and with a fifth of its frames lost gives
//! the same events, with onsets within one tick; and the same clip twice gives the same sentences, byte for byte.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

use lookout::baked;
use lookout::pipeline::{Options, Pipeline};
use lookout::report::sentence::Sentence;
use lookout::report::{Edge, Report};
use lookout::source::ahead::Ahead;
use lookout::source::scene::Scene;
use lookout::source::{Frame, Source, SourceError};

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
        match until {
            Some(until) => pipeline.step(&frame, until, &mut (), &mut say).unwrap(),
            None => pipeline.finish(Some(&frame), &mut (), &mut say).unwrap(),
        }
    }
    (reports, text)
}

/// Edge and label of every event, and its onset.
fn events(reports: &[Report]) -> (Vec<(Edge, String)>, Vec<u64>) {
    let events = reports.iter().filter_map(|r| if let Report::Event(e) = r { Some(e) } else { None });
    events.map(|e| ((e.edge, e.label.to_string()), e.onset.ms())).unzip()
}

#[test]
fn half_the_rate_and_lost_frames_give_the_same_events_within_a_tick() {
    let tick = u64::from(baked::bundle().unwrap().contract.time.tick_ms);
    let (what, when) = events(&play(|_| true).0);
    assert!(what.len() >= 12, "all six classes begin and end in the scene: {what:?}");
    let mut x = 1u32;
    let lose_a_fifth = move |n: u32| {
        x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        n == 0 || x >> 24 >= 51
    };
    for (name, reports) in [("15 fps", play(|n| n.is_multiple_of(2)).0), ("20 % lost", play(lose_a_fifth).0)] {
        let (other_what, other_when) = events(&reports);
        assert_eq!(what, other_what, "{name}");
        for (n, (a, b)) in when.iter().zip(&other_when).enumerate() {
            assert!(a.abs_diff(*b) <= tick, "{name}: onset of {:?} at {a} and {b} ms", what[n]);
        }
    }
}

#[test]
fn the_same_clip_twice_gives_byte_identical_sentences() {
    let (_, first) = play(|_| true);
    assert!(first.lines().count() > 20);
    assert_eq!(first, play(|_| true).1);
}
