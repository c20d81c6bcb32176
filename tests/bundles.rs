//! Every kind of network in `tests/bundles/` computes what ONNX Runtime computes.
//!
//! The golden vectors are ONNX Runtime's, with its graph optimisations off (`tests/bundles/make.py`). Three bounds come
//! from the project's promises, not from the bundles: heads within 1e-5 in f32, f32 encoders within 1e-4, heads in int8
//! within 1e-3 in probability. Quantised encoders keep to the tolerance in their `bundle.toml`: four steps of an 8-bit
//! number that spans the features. These bundles allow 1e-5 in logits, so that their heads are run in f32 unless asked.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test stops where something is missing and says what it saw")]

use lookout::bundle::{Bundle, ENCODER, Mode};
use lookout::decision::softmax;
use lookout::encoder::{Encoder, Form};
use lookout::golden;
use lookout::head::{Arithmetic, CACHE_TOLERANCE, Head, INT8_TOLERANCE};
use lookout::qnn::kernels::Isa;
use lookout::ring::Ring;
use ndarray::{ArrayD, Axis};
use ndarray_npy::ReadNpyExt;
use std::path::{Path, PathBuf};

const HEAD_BOUND: f32 = 1e-5;
const ENCODER_BOUND: f32 = 1e-4;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bundles")
}

/// All bundles of the folder but one, by name: `boxes-pooled` is there because it is no chain that our own cells run.
fn bundles() -> Vec<Bundle> {
    let mut dirs: Vec<PathBuf> = std::fs::read_dir(folder()).unwrap().map(|e| e.unwrap().path()).collect();
    dirs.retain(|d| d.join("bundle.toml").is_file() && !d.ends_with("boxes-pooled"));
    dirs.sort();
    assert!(dirs.len() >= 16, "{} bundles found, 16 expected", dirs.len());
    dirs.iter().map(|d| Bundle::open(d).unwrap()).collect()
}

fn windows(bundle: &Bundle) -> Vec<Vec<f32>> {
    let name = &bundle.contract.golden.as_ref().unwrap().windows;
    let all = ArrayD::<f32>::read_npy(bundle.file(name).unwrap()).unwrap();
    all.axis_iter(Axis(0)).map(|w| w.iter().copied().collect()).collect()
}

fn logits(bundle: &Bundle) -> Vec<Vec<f32>> {
    let name = &bundle.contract.golden.as_ref().unwrap().logits;
    let all = ArrayD::<f32>::read_npy(bundle.file(name).unwrap()).unwrap();
    all.axis_iter(Axis(0)).map(|w| w.iter().copied().collect()).collect()
}

fn worst(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, |w, d| if d.is_nan() { f32::INFINITY } else { w.max(d) })
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

/// Is the encoder's file a quantised graph?
fn quantised(bundle: &Bundle) -> bool {
    bundle.file(ENCODER).is_some_and(|f| f.windows(16).any(|w| w == b"DequantizeLinear"))
}

#[test]
fn golden_vectors_of_every_bundle_pass() {
    for bundle in bundles() {
        let name = &bundle.contract.name;
        let mut encoder = bundle.contract.input.as_ref().map(|_| Encoder::load(&bundle, Form::AsBuilt).unwrap());
        let mut head = Head::load(&bundle).unwrap();
        let found = golden::run(&bundle, encoder.as_mut(), &mut head).unwrap().expect("every test bundle has golden vectors");
        println!("{name:16} {}: {found:?}", head.words());
        assert!(head.is_own(), "{name}: its head is a chain that our own cells can run");
        assert!(found.logits <= HEAD_BOUND, "{name}: logits differ by {}", found.logits);
        assert!(found.top1_equal, "{name}: another best class");
        assert_eq!(found.features.is_some(), encoder.is_some(), "{name}");
        if encoder.is_some() && !quantised(&bundle) {
            assert!(found.features.unwrap() <= ENCODER_BOUND, "{name}: features differ by {:?}", found.features);
        }
    }
}

/// Boxes beside classes: by our own cells, by tract with and without carried state, and where only tract can.
#[test]
fn a_heads_boxes_are_those_of_onnx_runtime() {
    for (name, arithmetic, own, bound) in [
        ("boxes", Arithmetic::Quickest, true, HEAD_BOUND),
        ("boxes", Arithmetic::Int8, true, 0.02),
        ("boxes", Arithmetic::Plain, false, HEAD_BOUND),
        ("boxes-carried", Arithmetic::Quickest, true, HEAD_BOUND),
        ("boxes-carried", Arithmetic::Int8, true, 0.02),
        ("boxes-carried", Arithmetic::Tract, false, HEAD_BOUND),
        ("boxes-pooled", Arithmetic::Quickest, false, HEAD_BOUND),
    ] {
        let bundle = Bundle::open(&folder().join(name)).unwrap();
        let mut head = Head::load_with(&bundle, arithmetic, Isa::best()).unwrap();
        let file = bundle.contract.golden.as_ref().unwrap().boxes.as_ref().unwrap();
        let wanted = ArrayD::<f32>::read_npy(bundle.file(file).unwrap()).unwrap();
        let (mut apart, mut logit) = (0.0f32, 0.0f32);
        for ((window, wanted), logits) in windows(&bundle).iter().zip(wanted.axis_iter(Axis(0))).zip(logits(&bundle)) {
            logit = logit.max(worst(head.run_window(window).unwrap(), &logits));
            apart = apart.max(worst(&head.place().unwrap(), &wanted.iter().copied().collect::<Vec<_>>()));
        }
        println!("{name}, {arithmetic:?}: boxes within {apart:.1e}, logits within {logit:.1e}: {}", head.words());
        assert!(apart <= bound, "{name}, {arithmetic:?}: {apart}");
        assert_eq!(head.is_own(), own, "{name}, {arithmetic:?}: {}", head.words());
        let mut encoder = Encoder::load(&bundle, Form::AsBuilt).unwrap();
        if arithmetic != Arithmetic::Int8 {
            let found = golden::run(&bundle, Some(&mut encoder), &mut head).unwrap().unwrap();
            assert_eq!(found.boxes, Some(apart), "{name}: the golden vectors cover the box");
        }
    }
}

#[test]
fn a_quantised_encoder_in_float_stays_near_its_int8_self() {
    for bundle in bundles().iter().filter(|b| quantised(b)) {
        let mut encoder = Encoder::load(bundle, Form::Float).unwrap();
        let golden = bundle.contract.golden.as_ref().unwrap();
        let frames = ArrayD::<u8>::read_npy(bundle.file(golden.frames.as_ref().unwrap()).unwrap()).unwrap();
        let features = ArrayD::<f32>::read_npy(bundle.file(golden.features.as_ref().unwrap()).unwrap()).unwrap();
        let span = features.iter().copied().fold(f32::MIN, f32::max) - features.iter().copied().fold(f32::MAX, f32::min);
        for (frame, wanted) in frames.axis_iter(Axis(0)).zip(features.axis_iter(Axis(0))) {
            let levels: Vec<u8> = frame.iter().copied().collect();
            let found = worst(encoder.run_clip(&levels).unwrap(), &wanted.iter().copied().collect::<Vec<_>>());
            // Random weights quantise badly; a wrong scale or zero point would show as a multiple of the span.
            assert!(found < 0.15 * span, "{}: {found} of a span of {span}", bundle.contract.name);
        }
    }
}

#[test]
fn same_window_twice_gives_equal_logits_bit_for_bit() {
    for bundle in bundles() {
        for arithmetic in [Arithmetic::Int8, Arithmetic::Float, Arithmetic::Tract, Arithmetic::Plain] {
            let mut head = Head::load_with(&bundle, arithmetic, Isa::best()).unwrap();
            let all = windows(&bundle);
            let first = bits(head.run_window(&all[0]).unwrap());
            let second = bits(head.run_window(&all[1]).unwrap());
            assert_ne!(first, second, "{}: two windows that differ", bundle.contract.name);
            assert_eq!(first, bits(head.run_window(&all[0]).unwrap()), "{}: after another window", bundle.contract.name);
            assert_eq!(first, bits(head.run_window(&all[0]).unwrap()), "{}: at once again", bundle.contract.name);
        }
    }
}

#[test]
fn cached_projections_equal_the_plain_graph() {
    for bundle in bundles().iter().filter(|b| b.contract.time.mode == Mode::Window) {
        let name = &bundle.contract.name;
        let mut plain = Head::load_plain(bundle).unwrap();
        for arithmetic in [Arithmetic::Quickest, Arithmetic::Float, Arithmetic::Tract] {
            let mut cached = Head::load_with(bundle, arithmetic, Isa::best()).unwrap();
            // What tract caches has one output.
            let can = bundle.contract.head.boxes.is_none() || arithmetic != Arithmetic::Tract;
            assert!(cached.is_cached() == can && !plain.is_cached(), "{name}: projections can be cached");
            for window in windows(bundle) {
                let found = worst(cached.run_window(&window).unwrap(), plain.run_window(&window).unwrap());
                assert!(found <= CACHE_TOLERANCE, "{name}: {found}, {arithmetic:?}");
            }
        }
    }
}

/// Probabilities of logits.
fn probabilities(logits: &[f32], bundle: &Bundle) -> Vec<f32> {
    let mut p = logits.to_vec();
    assert!(softmax(&mut p, bundle.contract.head.temperature));
    p
}

#[test]
fn heads_in_int8_keep_their_probabilities() {
    for bundle in bundles() {
        let name = &bundle.contract.name;
        let mut head = Head::load_with(&bundle, Arithmetic::Int8, Isa::best()).unwrap();
        // Weights that are s8 in the file lose nothing: only the 15 bits of input and state show. Rounding random f32
        // weights of this size to s8 costs more than would be accepted unasked.
        let bound = if name == "rows-lstm-int8" { INT8_TOLERANCE / 4.0 } else { 20.0 * INT8_TOLERANCE };
        for (window, wanted) in windows(&bundle).iter().zip(logits(&bundle)) {
            let found = head.run_window(window).unwrap().to_vec();
            let apart = worst(&probabilities(&found, &bundle), &probabilities(&wanted, &bundle));
            assert!(apart <= bound, "{name}: {apart}");
        }
    }
}

#[test]
fn the_built_in_head_runs_in_int8_within_its_tolerance() {
    let bundle = lookout::baked::bundle().unwrap();
    let mut head = Head::load(&bundle).unwrap();
    assert!(head.is_own() && head.words().contains("int8"), "{}", head.words());
    for (window, wanted) in windows(&bundle).iter().zip(logits(&bundle)) {
        let found = head.run_window(window).unwrap().to_vec();
        let apart = worst(&probabilities(&found, &bundle), &probabilities(&wanted, &bundle));
        assert!(apart <= INT8_TOLERANCE / 4.0, "{apart}");
    }
}

#[test]
fn every_instruction_set_gives_the_same_logits_bit_for_bit() {
    // Every cell, one layer and two; loading is what takes time here.
    let some =
        ["rows-lstm-int8", "rows-gru-plain", "rows-carried2", "rows-rnn"].map(|n| Bundle::open(&folder().join(n)).unwrap());
    for bundle in some.into_iter().chain([lookout::baked::bundle().unwrap()]) {
        for arithmetic in [Arithmetic::Int8, Arithmetic::Float] {
            let run = |isa| {
                let mut head = Head::load_with(&bundle, arithmetic, isa).unwrap();
                windows(&bundle).iter().flat_map(|w| bits(head.run_window(w).unwrap())).collect::<Vec<_>>()
            };
            let wanted = run(Isa::Scalar);
            for &isa in Isa::available() {
                assert_eq!(run(isa), wanted, "{}: {isa}, {arithmetic:?}", bundle.contract.name);
            }
        }
    }
}

#[test]
fn window_mode_forgets_whatever_came_before() {
    for bundle in bundles().iter().filter(|b| b.contract.time.mode == Mode::Window && b.contract.input.is_none()) {
        let time = &bundle.contract.time;
        let mut used = Head::load(bundle).unwrap();
        let mut long = Ring::new(time.window, used.row_len(), time.max_held);
        let ticks: Vec<Vec<f32>> =
            windows(bundle).iter().flat_map(|w| w.chunks(bundle.features()).map(<[f32]>::to_vec).collect::<Vec<_>>()).collect();
        for k in 0..2_000 {
            // Large numbers now and then: a state that leaks would remember them.
            let scale = if k % 97 == 0 { 1e3 } else { 1.0 };
            let tick: Vec<f32> = ticks[k * 7 % ticks.len()].iter().map(|v| v * scale).collect();
            long.push(|row| used.project(&tick, row)).unwrap();
            used.run(&long).unwrap();
        }
        let mut fresh = Head::load(bundle).unwrap();
        let mut young = Ring::new(time.window, fresh.row_len(), time.max_held);
        let mut last = None;
        for tick in &ticks[..time.window] {
            long.push(|row| used.project(tick, row)).unwrap();
            last = used.run(&long).unwrap().map(|l| bits(l));
            young.push(|row| fresh.project(tick, row)).unwrap();
            let young = fresh.run(&young).unwrap().map(|l| bits(l));
            assert!(young.is_none() || young == last, "{}", bundle.contract.name);
        }
        let golden = logits(bundle).swap_remove(0);
        let last: Vec<f32> = last.unwrap().into_iter().map(f32::from_bits).collect();
        assert!(worst(&last, &golden) <= HEAD_BOUND, "{}: through the ring", bundle.contract.name);
    }
}

#[test]
fn carried_state_equals_the_plain_graph_over_the_sequence_and_a_reset_forgets() {
    let mut seen = 0;
    for bundle in bundles().iter().filter(|b| b.contract.time.mode == Mode::Carried) {
        let time = &bundle.contract.time;
        let mut head = Head::load(bundle).unwrap();
        let mut ring = Ring::new(time.window, head.row_len(), time.max_held);
        for (sequence, wanted) in windows(bundle).iter().zip(logits(bundle)) {
            head.reset();
            ring.clear();
            let mut last = None;
            for tick in sequence.chunks(bundle.features()) {
                ring.push(|row| head.project(tick, row)).unwrap();
                last = head.run(&ring).unwrap().map(|l| l.to_vec());
            }
            assert!(worst(&last.unwrap(), &wanted) <= HEAD_BOUND, "{}", bundle.contract.name);
            seen += 1;
        }
    }
    assert!(seen >= 16, "{seen} sequences seen");
}

#[test]
fn a_clip_encoder_fed_tick_by_tick_equals_the_whole_clip() {
    let bundle = Bundle::open(&folder().join("c3d")).unwrap();
    let input = bundle.contract.input.as_ref().unwrap();
    let name = bundle.contract.golden.as_ref().unwrap().frames.as_ref().unwrap();
    let frames = ArrayD::<u8>::read_npy(bundle.file(name).unwrap()).unwrap();
    let mut encoder = Encoder::load(&bundle, Form::AsBuilt).unwrap();
    for clip in frames.axis_iter(Axis(0)) {
        let levels: Vec<u8> = clip.iter().copied().collect();
        let whole = bits(encoder.run_clip(&levels).unwrap());
        encoder.reset();
        let mut last = vec![];
        for t in 0..input.clip {
            let picture: Vec<u8> = clip.index_axis(Axis(1), t).iter().copied().collect();
            last = bits(encoder.run(&picture).unwrap());
        }
        assert_eq!(whole, last);
    }
}
