//! The promise: after warm-up our own code allocates nothing per tick, and a window's answer depends on that window alone.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a failed step is a failed test, and a figure is said")]

use lookout::baked;
use lookout::bundle::Bundle;
use lookout::extra::Value;
use lookout::head::Head;
use lookout::pipeline::{Options, Pipeline, Probe, Stage};
use lookout::report::sentence::Sentence;
use lookout::ring::Ring;
use lookout::source::ahead::Ahead;
use lookout::source::scene::Scene;
use lookout::source::{Frame, Payload, Seq, Timestamp};
use lookout::sys::alloc::{Counting, count};
use lookout::taught::Taught;
use lookout::taught::lesson::{Example, Lesson, Step};
use lookout::taught::moments::Sums;
use lookout::taught::packed::Packed;
use std::path::Path;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations of our own stages, the head's own cells among them; and of the encoder, where tract runs our operator.
#[derive(Default)]
struct Ours {
    since: u64,
    allocations: u64,
    encoder: u64,
    ticks: u32,
}

impl Probe for Ours {
    fn start(&mut self) {
        self.since = count();
    }
    fn lap(&mut self, stage: Stage) {
        if self.ticks > 30 {
            let counted = if stage == Stage::Encoder { &mut self.encoder } else { &mut self.allocations };
            *counted += count() - self.since;
        }
        self.ticks += u32::from(stage == Stage::Decision);
        self.since = count();
    }
}

/// Something taught on top of the baked bundle; what, is all one here.
fn taught() -> Bundle {
    let mut bundle = baked::bundle().unwrap();
    let own = bundle.labels.len();
    let numbers = 2 * Head::load(&bundle).unwrap().state().unwrap().len();
    let mut sums = Sums::new(own, numbers);
    (0..200).for_each(|n| sums.add(n as usize % own, &row(n * 13, numbers)));
    let mut lesson = Lesson::new(&bundle.hash, Some(sums.moments()));
    for (n, label) in ["one", "two", "three"].into_iter().enumerate() {
        let far: Vec<f32> =
            row(n as u32, numbers).iter().enumerate().map(|(k, v)| if k % 3 == n { v + 2.0 } else { *v }).collect();
        let examples = vec![Example { from: "nowhere".into(), traces: vec![Packed::round(&far)], sure: Packed::default() }];
        lesson.push(Step::Shown { label: label.into(), examples });
    }
    bundle.teach(lesson).unwrap();
    bundle
}

#[test]
fn our_own_stages_allocate_nothing_per_tick() {
    play(&baked::bundle().unwrap());
    // With a still picture's features reused beside new extras, and with none reused.
    play(&Bundle::open(Path::new("tests/bundles/senses")).unwrap());
    // With classes that were taught.
    play(&taught());
    // The counter counts: it would be easy to measure nothing.
    let before = count();
    drop(std::hint::black_box(vec![1u8; 100]));
    assert!(count() > before);
}

/// The built-in clip through this bundle, with a value of every extra it has for each frame.
fn play(bundle: &Bundle) {
    let mut pipeline = Pipeline::new(bundle, &Options::default()).unwrap();
    let mut scene = Ahead::new(Box::new(Scene::new(7)));
    let mut ours = Ours::default();
    let (mut seq, mut letters) = (0, 0);
    while let Some((frame, Some(until))) = scene.read().unwrap() {
        // The sentence is written inside the step, so it counts too.
        let mut say = |report| {
            letters += Sentence::of(seq, &report).encode().len();
            seq += 1;
        };
        let before = count();
        for which in 0..bundle.contract.extra.len() {
            pipeline.sense(which, Value { at: frame.at, value: Some((frame.at.ms() / 1000 % 10) as f32) });
        }
        ours.allocations += count() - before;
        pipeline.step(&frame, until, &mut ours, &mut say).unwrap();
    }
    let counts = pipeline.counts();
    assert!(ours.ticks > 150 && letters > 1000, "{} ticks, {letters} letters: the clip was not played", ours.ticks);
    assert!(counts.reused > 0, "{counts:?}");
    assert_eq!(ours.allocations, 0, "{}", bundle.contract.name);
    // A whole network on bytes allocates nothing, tract around it included; what has more of tract in it, a little.
    let most = if bundle.contract.name == "motion" { 0 } else { 10 * u64::from(ours.ticks) };
    assert!(ours.encoder <= most, "{}: {} of the encoder in {} ticks", bundle.contract.name, ours.encoder, ours.ticks);
}

#[test]
fn three_taught_classes_cost_a_tick_little() {
    let bundle = taught();
    let hidden = Head::load(&bundle).unwrap().state().unwrap().len();
    let names = &bundle.contract.head.labels;
    let mut taught = Taught::new(bundle.lesson.as_ref().unwrap(), names, hidden).unwrap().unwrap();
    let (state, p) = (row(1, hidden), vec![1.0 / names.len() as f32; names.len()]);
    let start = std::time::Instant::now();
    for _ in 0..2000 {
        taught.take(&p);
        std::hint::black_box(taught.judge(&state));
    }
    let each = start.elapsed() / 2000;
    println!("figure: {} us a tick for three taught classes on a head of {hidden} units", each.as_micros());
    // A tenth of a tick on a loaded machine: it catches work that is done anew each tick, not a slow machine.
    assert!(each < std::time::Duration::from_millis(10), "{each:?}");
}

/// A repeatable stream of rows.
fn row(n: u32, len: usize) -> Vec<f32> {
    (0..len as u32).map(|k| ((n * 31 + k * 7) % 97) as f32 / 48.5 - 1.0).collect()
}

/// So many ticks of a head that never forgets, then a fresh one that has seen the last window alone: the same bits.
fn after(ticks: u32, bundle: &Bundle) {
    let (window, width) = (bundle.contract.time.window, bundle.features());
    let play = |ticks: std::ops::Range<u32>| {
        let mut head = Head::load(bundle).unwrap();
        let mut ring = Ring::new(window, head.row_len(), 3);
        let answers = ticks.map(|n| {
            ring.push(|to| head.project(&row(n, width), to)).unwrap();
            head.run(&ring).unwrap().map(|l| l.iter().map(|v| v.to_bits()).collect::<Vec<_>>())
        });
        answers.last().flatten()
    };
    let last = play(0..ticks);
    assert!(last.is_some());
    assert_eq!(last, play(ticks - window as u32..ticks), "{}", bundle.contract.name);
    println!("figure: M2 {}: {ticks} ticks, all bits equal", bundle.contract.name);
}

#[test]
fn after_100_000_ticks_the_answer_is_a_fresh_process_fed_the_last_window_bit_for_bit() {
    for name in ["rows-lstm", "rows-gru"] {
        after(100_000, &Bundle::open(&Path::new("tests/bundles").join(name)).unwrap());
    }
    after(10_000, &baked::bundle().unwrap());
}

#[test]
#[ignore = "three days at ten ticks a second: minutes with --release"]
fn after_2_592_000_ticks_too() {
    after(2_592_000, &Bundle::open(Path::new("tests/bundles/rows-lstm")).unwrap());
    after(2_592_000, &baked::bundle().unwrap());
}

#[test]
fn a_number_that_is_not_finite_is_invalid_and_gone_within_one_window() {
    let bundle = Bundle::open(Path::new("tests/bundles/rows-lstm")).unwrap();
    let (window, width, tick) = (bundle.contract.time.window as u32, bundle.features(), bundle.contract.time.tick_ms);
    for poison in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut pipeline =
            Pipeline::new(&bundle, &Options { heartbeat: std::time::Duration::ZERO, ..Options::default() }).unwrap();
        let mut said: Vec<(u64, bool)> = vec![];
        let bad = 2 * window;
        for n in 0..4 * window {
            let mut numbers = row(n, width);
            if n == bad {
                numbers[1] = poison;
            }
            let frame = Frame { at: Timestamp::from_ms(u64::from(n * tick)), seq: Seq(n), payload: Payload::Row(&numbers) };
            pipeline
                .step(&frame, Timestamp::from_ms(u64::from((n + 1) * tick)), &mut (), &mut |r| {
                    if let lookout::report::Report::Class(c) = r {
                        said.push((c.at.ms() / u64::from(tick), c.class.is_none()));
                        assert_eq!(c.class.is_none(), c.label == "invalid");
                    }
                })
                .unwrap();
        }
        let invalid: Vec<u64> = said.iter().filter(|(_, i)| *i).map(|(n, _)| *n).collect();
        assert_eq!(invalid, (u64::from(bad)..u64::from(bad + window)).collect::<Vec<_>>());
    }
}
