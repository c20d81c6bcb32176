//! The promise: where something moves, `--where` says so, and the box is the thing's; without `--where` nothing is said.
//!
//! The painted street knows what it paints, so the truth is exact. An act of its script is one clip: a car, a jogger, a visitor who comes and goes, a car,
//! under six textures and noises. Real footage is judged by tests/real/where.py, harder renders by models/motion/where.py.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test stops where something is missing and says what it saw")]

use lookout::baked;
use lookout::bundle::Bundle;
use lookout::encoder::{Encoder, Form};
use lookout::pipeline::{Options, Pipeline, Probe};
use lookout::place::{Place, overlap};
use lookout::report::Report;
use lookout::shaper::{Region, Shaper};
use lookout::source::ahead::Ahead;
use lookout::source::scene::{SCRIPT, Scene};
use lookout::source::{Frame, Image, Payload, PixelFormat, Seq, Source, Timestamp};
use lookout::sys::alloc::{Counting, count};
use std::collections::BTreeMap;
use std::path::Path;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Boxes by tick, in ms.
#[derive(Default)]
struct Places(BTreeMap<u64, Region>);

impl Probe for Places {
    fn placed(&mut self, at: Timestamp, place: Region) {
        self.0.insert(at.ms(), place);
    }
}

fn region([x, y, w, h]: [f32; 4]) -> Region {
    Region { x, y, w, h }
}

/// The clip through the pipeline: boxes by tick, and what was reported.
fn play(seed: u64, options: &Options) -> (BTreeMap<u64, Region>, Vec<Report>) {
    play_with(&baked::bundle().unwrap(), seed, options)
}

/// The built-in bundle as one whose encoder has no map.
fn without_map() -> Bundle {
    let mut bundle = baked::bundle().unwrap();
    bundle.contract.input.as_mut().unwrap().map = None;
    bundle
}

fn play_with(bundle: &Bundle, seed: u64, options: &Options) -> (BTreeMap<u64, Region>, Vec<Report>) {
    let mut pipeline = Pipeline::new(bundle, options).unwrap();
    let (mut scene, mut places, mut said) = (Ahead::new(Box::new(Scene::new(seed))), Places::default(), vec![]);
    while let Some((frame, until)) = scene.read().unwrap() {
        pipeline.play(&frame, until, &mut places, &mut |r| said.push(r)).unwrap();
    }
    (places.0, said)
}

/// What the street painted, by tick.
fn truth(seed: u64) -> BTreeMap<u64, Region> {
    let (mut scene, mut all) = (Scene::new(seed), BTreeMap::new());
    let mut n = 0;
    while scene.next().unwrap().is_some() {
        if n % 3 == 0
            && let Some(place) = scene.moving()
        {
            all.insert(n / 3 * 100, region(place));
        }
        n += 1;
    }
    all
}

/// By the encoder's own map, and by the background where there is none.
#[test]
fn the_box_is_the_things() {
    for (bundle, how) in [(baked::bundle().unwrap(), "map"), (without_map(), "background")] {
        let (mut clips, mut good, mut ticks, mut right) = (0, 0, 0, 0);
        for seed in 1..=6 {
            let (found, truth) = (play_with(&bundle, seed, &Options { place: true, ..Options::default() }).0, truth(seed));
            for (from, to, label) in SCRIPT.iter().filter(|s| ["left", "right", "toward", "away"].contains(&s.2)) {
                let scores: Vec<f32> =
                    truth.range(from..to).map(|(at, t)| found.get(at).map_or(0.0, |f| overlap(f, t))).collect();
                let mean = scores.iter().sum::<f32>() / scores.len() as f32;
                println!("{how}, seed {seed}, {label} at {from} ms: mean IoU {mean:.2} over {} ticks", scores.len());
                (clips, good) = (clips + 1, good + u32::from(mean >= 0.5));
                (ticks, right) = (ticks + scores.len(), right + scores.iter().filter(|s| **s >= 0.5).count());
            }
        }
        println!("{how}: mean IoU of 0.5 or more in {good} of {clips} clips; {right} of {ticks} ticks");
        assert!(good * 100 >= clips * 85, "{how}: {good} of {clips}");
    }
}

#[test]
fn it_is_said_with_the_class_while_something_moves_and_only_if_asked_for() {
    let (_, quiet) = play(1, &Options::default());
    let (_, said) = play(1, &Options { place: true, ..Options::default() });
    assert!(quiet.iter().all(|r| !matches!(r, Report::Place(_))));
    let rest: Vec<&Report> = said.iter().filter(|r| !matches!(r, Report::Place(_))).collect();
    assert_eq!(rest, quiet.iter().collect::<Vec<_>>(), "a box changes nothing else");
    let mut starts = 0;
    for (n, report) in said.iter().enumerate() {
        if let Report::Place(spot) = report {
            let Report::Class(class) = &said[n - 1] else { panic!("{spot:?} without its class") };
            assert_eq!((class.at, &class.label), (spot.at, &spot.label));
        }
        if let Report::Event(e) = report
            && e.edge == lookout::report::Edge::Start
            && e.label != "covered"
        {
            starts += 1;
            let with = said[n..].iter().any(|r| matches!(r, Report::Place(s) if s.at == e.at && s.label == e.label));
            assert!(with, "{e:?} without its place");
        }
    }
    assert!(starts >= 6, "{starts}");
}

#[test]
fn region_crop_and_letterbox_are_undone() {
    let bundle = baked::bundle().unwrap();
    let (mut scene, whole) = (Scene::new(1), Region::default());
    let Some(frame) = scene.next().unwrap() else { panic!("no frame") };
    let Payload::Image(image) = &frame.payload else { panic!("no picture") };
    let half = Region { x: 0.5, y: 0.0, w: 0.5, h: 1.0 };
    let inner = Region { x: 0.25, y: 0.5, w: 0.5, h: 0.25 };
    // The street is 320x240, the encoder's picture square: cropped, an eighth is missing on both sides; letterboxed, an eighth above and below is black.
    for (resize, region, expected) in [
        ("stretch", whole, Region { x: 0.25, y: 0.5, w: 0.5, h: 0.25 }),
        ("stretch", half, Region { x: 0.625, y: 0.5, w: 0.25, h: 0.25 }),
        ("crop", whole, Region { x: 0.3125, y: 0.5, w: 0.375, h: 0.25 }),
        ("letterbox", whole, Region { x: 0.25, y: 0.5, w: 0.5, h: 1.0 / 3.0 }),
    ] {
        let mut input = bundle.contract.input.clone().unwrap();
        input.resize = toml::Value::String(resize.into()).try_into().unwrap();
        let mut shaper = Shaper::new(&input, region).unwrap();
        assert_eq!(shaper.in_camera(inner), None, "no picture yet");
        shaper.stage(image).unwrap();
        let found = shaper.in_camera(inner).unwrap();
        let off = [found.x - expected.x, found.y - expected.y, found.w - expected.w, found.h - expected.h];
        assert!(off.iter().all(|d| d.abs() < 1e-5), "{resize}: {found:?}, {expected:?}");
    }
}

/// The test bundle's head gives a box around the lightest of 4x4 parts. The picture is dark until one of them is lit, for half a second.
#[test]
fn a_heads_own_box_replaces_ours_is_mapped_to_the_camera_and_only_said_with_a_class() {
    let bundle = Bundle::open(Path::new("tests/bundles/boxes")).unwrap();
    // Two parts of the encoder's picture (32x32, of which the left half of the camera's is looked at), the second one wandering in.
    for (part, region, expected, label) in [
        ((0, 1), Region::default(), Region { x: 0.0, y: 0.25, w: 0.25, h: 0.25 }, "west"),
        ((3, 2), Region { w: 0.5, ..Region::default() }, Region { x: 0.375, y: 0.5, w: 0.125, h: 0.25 }, "east"),
    ] {
        let options = Options { place: true, region, ..Options::default() };
        let mut pipeline = Pipeline::new(&bundle, &options).unwrap();
        let (mut places, mut said, wide) = (Places::default(), vec![], (32.0 / region.w) as usize);
        for t in 0..20u64 {
            let lit = |at: usize| (10..15).contains(&t) && (at % wide / 8, at / wide / 8) == part;
            let pixels: Vec<u8> = (0..32 * wide).map(|at| if lit(at) { 200 } else { 60 }).collect();
            let image = Image::new(PixelFormat::Gray, wide, 32, wide, &pixels).unwrap();
            let frame = Frame { at: Timestamp::from_ms(t * 100), seq: Seq(t as u32), payload: Payload::Image(image) };
            pipeline.step(&frame, Timestamp::from_ms(t * 100 + 100), &mut places, &mut |r| said.push(r)).unwrap();
        }
        println!("{:?}", places.0);
        assert_eq!(
            places.0.keys().copied().collect::<Vec<_>>(),
            [1200, 1300, 1400],
            "while a class is on (it must hold for 200 ms), and not when nothing is lit"
        );
        for found in places.0.values() {
            assert!(overlap(found, &expected) > 0.98, "{found:?}, {expected:?}");
        }
        let said: Vec<_> =
            said.iter().filter_map(|r| if let Report::Place(s) = r { Some((s.at.ms(), &*s.label)) } else { None }).collect();
        assert_eq!(said, [(1200, label)]);
    }
}

#[test]
fn rows_have_no_place_and_the_bundle_says_so() {
    let rows = Bundle::open(Path::new("tests/bundles/rows-lstm")).unwrap();
    let e = Pipeline::new(&rows, &Options { place: true, ..Options::default() }).unwrap_err().to_string();
    assert!(e.contains("rows of numbers"), "{e}");
}

/// Processor time of this thread, in us: what other programs take does not count.
fn spent_us() -> f64 {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    t.tv_sec as f64 * 1e6 + t.tv_nsec as f64 / 1e3
}

/// Allocations of the stage, and its time: by the background, and by the map together with what it adds to the encoder.
#[test]
fn a_box_costs_a_fiftieth_of_a_tick_at_most_and_no_allocation() {
    let bundle = baked::bundle().unwrap();
    let input = bundle.contract.input.clone().unwrap();
    let (mut shaper, mut ground) = (Shaper::new(&input, Region::default()).unwrap(), Place::new(&input));
    let (mut scene, mut n, mut all) = (Scene::new(1), 0u32, vec![]);
    while let Some(frame) = scene.next().unwrap() {
        let Payload::Image(image) = &frame.payload else { panic!("no picture") };
        shaper.stage(image).unwrap();
        if n % 3 == 0 {
            all.push(shaper.finish().to_vec());
        }
        n += 1;
    }
    // The quickest of five rounds: whoever else is at work on the machine is not what is measured.
    let quickest = |look: &mut dyn FnMut(&[u8])| {
        let (mut spent, mut allocated) = (f64::MAX, 0);
        for _ in 0..5 {
            let (before, start) = (count(), spent_us());
            all.iter().for_each(|planes| look(planes));
            spent = spent.min(spent_us() - start);
            allocated += count() - before;
        }
        (spent / all.len() as f64, allocated)
    };
    let (by_ground, none) = quickest(&mut |planes| ground.look(planes, None));
    assert_eq!(none, 0, "the background");
    let (mut plain, mut mapped) =
        (Encoder::load(&bundle, Form::AsBuilt).unwrap(), Encoder::load_with_map(&bundle, Form::AsBuilt).unwrap());
    assert!(plain.map().is_none(), "nobody asked");
    for planes in &all {
        assert_eq!(plain.run(planes).unwrap(), mapped.run(planes).unwrap(), "the features are the same to the bit");
    }
    let mut place = Place::mapped();
    let (alone, tract) = quickest(&mut |planes| drop(plain.run(planes).map(|_| ())));
    let (both, more) = quickest(&mut |planes| {
        mapped.run(planes).unwrap();
        place.look(planes, mapped.map());
    });
    let by_map = both - alone;
    println!("a tick of {}: {by_ground:.2} us by the background; {by_map:.2} us by the map, beside {alone:.2}", all.len());
    // Far above what is printed: a bound for slow builds on slow machines, of a tick of 100 ms.
    assert!(by_ground < 2_000.0 && by_map < 2_000.0, "{by_ground} us, {by_map} us");
    assert_eq!((tract, more), (0, 0), "the encoder, without the map and with it");
}
