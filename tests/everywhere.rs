//! The promise: what is computed on bytes is the same on every machine, bit for bit, and so are the sentences.
//!
//! `tests/golden/everywhere.txt` holds one digest per network and one of the demo's sentences. x86-64 and 64-bit ARM both have to
//! meet it (`board/cross.sh test` runs this file under qemu-user). Whoever changes a bundle or the pipeline on purpose renews it with
//! `LOOKOUT_RENEW=1 cargo test --test everywhere` and says so in the commit.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test stops where something is missing and says what it saw")]

mod program;

use lookout::bundle::Bundle;
use lookout::encoder::{Encoder, Form};
use lookout::onnx::Any;
use lookout::qnn::Engine;
use lookout::qnn::kernels::Isa;
use lookout::shaper::{Region, Shaper};
use lookout::source::scene::Scene;
use lookout::source::{Payload, Source};
use ndarray::{ArrayD, Axis};
use ndarray_npy::ReadNpyExt;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use tract_onnx::prelude::Tensor;

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

fn hex(digest: Sha256) -> String {
    digest.finalize().iter().take(16).map(|b| format!("{b:02x}")).collect()
}

fn take(digest: &mut Sha256, values: &[f32]) {
    values.iter().for_each(|v| digest.update(v.to_bits().to_le_bytes()));
}

/// The built-in clip, shaped and encoded with the baked bundle: what the encoder sees, and its features.
fn demo() -> (String, String) {
    let bundle = lookout::baked::bundle().unwrap();
    let mut shaper = Shaper::new(bundle.contract.input.as_ref().unwrap(), Region::default()).unwrap();
    let mut encoder = Encoder::load(&bundle, Form::AsBuilt).unwrap();
    let (mut scene, mut planes, mut features) = (Scene::new(1), Sha256::new(), Sha256::new());
    let mut frames = 0;
    while let Some(frame) = scene.next().unwrap() {
        let Payload::Image(image) = &frame.payload else { panic!("no picture") };
        shaper.stage(image).unwrap();
        frames += 1;
        if frames % 3 == 0 {
            let shaped = shaper.finish();
            planes.update(shaped);
            take(&mut features, encoder.run(shaped).unwrap());
        }
    }
    assert!(frames > 600, "{frames} frames");
    (hex(planes), hex(features))
}

/// The features of a quantised bundle's golden frames.
fn bundle(name: &str) -> String {
    let bundle = Bundle::open(&tests().join(name)).unwrap();
    let frames = bundle.contract.golden.as_ref().unwrap().frames.as_ref().unwrap();
    let frames = ArrayD::<u8>::read_npy(bundle.file(frames).unwrap()).unwrap();
    let (mut encoder, mut digest) = (Encoder::load(&bundle, Form::AsBuilt).unwrap(), Sha256::new());
    for frame in frames.axis_iter(Axis(0)) {
        take(&mut digest, encoder.run_clip(&frame.iter().copied().collect::<Vec<u8>>()).unwrap());
    }
    hex(digest)
}

/// The outputs of one of tests/qnn's networks; `None` where a part of it stays in float.
fn case(path: &Path) -> Option<String> {
    let mut any = Any::load(&std::fs::read(path).unwrap(), Some(Engine::best())).unwrap();
    if !any.report().left.is_empty() {
        return None;
    }
    let bytes = std::fs::read(path.with_extension("in.npy")).unwrap();
    let mut digest = Sha256::new();
    let mut run = |input: Tensor| take(&mut digest, any.run(input).unwrap().as_slice().unwrap());
    match ArrayD::<f32>::read_npy(bytes.as_slice()) {
        Ok(all) => all.axis_iter(Axis(0)).for_each(|a| run(a.insert_axis(Axis(0)).to_owned().into())),
        Err(_) => {
            let all = ArrayD::<u8>::read_npy(bytes.as_slice()).unwrap();
            all.axis_iter(Axis(0)).for_each(|a| run(a.insert_axis(Axis(0)).to_owned().into()));
        }
    }
    Some(hex(digest))
}

#[test]
fn every_machine_computes_the_same_bytes_and_says_the_same_sentences() {
    let mut found = String::new();
    let (planes, features) = demo();
    writeln!(found, "demo.planes {planes}\ndemo.features {features}").unwrap();
    let said = program::lookout(&["demo", "--quiet"]);
    assert!(said.status.success() && said.stdout.len() > 1000, "{}", String::from_utf8_lossy(&said.stderr));
    writeln!(found, "demo.sentences {}", hex(Sha256::new_with_prefix(&said.stdout))).unwrap();
    // Not resnet-qlinear: it averages a float sum, and tract sums that as the processor's registers are wide. fight ends in a row of floats of our own.
    for name in ["bundles/mobilenet", "bundles/resnet", "../models/fight"] {
        writeln!(found, "{} {}", name.trim_start_matches("../"), bundle(name)).unwrap();
    }
    let folder = std::fs::read_dir(tests().join("qnn/cases")).unwrap();
    let mut cases: Vec<PathBuf> =
        folder.map(|e| e.unwrap().path()).filter(|p| p.extension().is_some_and(|e| e == "onnx")).collect();
    cases.sort();
    for path in &cases {
        if let Some(digest) = case(path) {
            writeln!(found, "qnn/{} {digest}", path.file_stem().unwrap().display()).unwrap();
        }
    }
    assert!(found.lines().count() >= 55, "{} digests", found.lines().count());
    println!("{} digests on {} with {}", found.lines().count(), std::env::consts::ARCH, Isa::best());
    let golden = tests().join("golden/everywhere.txt");
    if std::env::var_os("LOOKOUT_RENEW").is_some() {
        std::fs::write(&golden, &found).unwrap();
    }
    let wanted = std::fs::read_to_string(&golden).unwrap();
    let wrong: Vec<&str> = found.lines().filter(|line| !wanted.lines().any(|w| w == *line)).collect();
    assert!(wrong.is_empty(), "not as in tests/golden/everywhere.txt:\n{}", wrong.join("\n"));
    assert_eq!(found.lines().count(), wanted.lines().count());
}
