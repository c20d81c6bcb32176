//! The networks that users bring compute what ONNX Runtime computes: MobileNetV3, ResNet-18 and -50, VGG-16, and clip encoders (R3D-18, S3D,
//! which is an I3D with its convolutions split into space and time), as torchvision exports them and ONNX Runtime's tools quantise them.
//!
//! `tests/architectures/` holds the exports without their large tensors and `make.py`, which made them and the golden features (ONNX Runtime,
//! graph optimisations off). Here the tensors are filled from the same seeds, the file is put into a bundle folder, and that is opened as the
//! program opens one. In f32 a file may not be as large as a whole ResNet or R3D; there a narrower or shorter network of the same class stands
//! for it (`NETS` in make.py). In int8 all are whole, up to their classifiers.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test stops where something is missing and says what it saw")]

use lookout::bundle::{Bundle, BundleError, ENCODER, HEAD};
use lookout::encoder::{Encoder, Form};
use lookout::rng::Rng;
use lookout::store::sha256;
use ndarray::ArrayD;
use ndarray_npy::ReadNpyExt;
use prost::Message;
use std::path::{Path, PathBuf};
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{ModelProto, TensorProto};

/// Of the features' range, in f32.
const F32_BOUND: f32 = 1e-3;
/// Seeds of the inputs (`INPUTS` in make.py).
const INPUTS: [u64; 4] = [1, 2, 3, 4];
/// ImageNet's levels for pictures, Kinetics' for clips (models/bring.py).
const PICTURES: &str = "mean = [123.675, 116.28, 103.53]\nscale = [58.395, 57.12, 57.375]";
const CLIPS: &str = "mean = [110.201, 100.64, 95.997]\nscale = [58.148, 56.47, 55.332]";

/// A line of cases.txt.
struct Case {
    name: String,
    ticks: usize,
    side: usize,
    features: usize,
    /// Scale of the quantised features; 0 in f32.
    step: f32,
}

impl Case {
    fn all() -> Vec<Case> {
        let text = std::fs::read_to_string(kept("cases.txt")).unwrap();
        let case = |line: &str| {
            let [name, ticks, side, features, step] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
            let n = |text: &str| text.parse().unwrap();
            Case { name: name.into(), ticks: n(ticks), side: n(side), features: n(features), step: step.parse().unwrap() }
        };
        let cases: Vec<Case> = text.lines().map(case).collect();
        assert_eq!(cases.len(), 14, "seven networks in two forms");
        cases
    }

    /// The export with its tensors filled.
    fn network(&self) -> Vec<u8> {
        let mut model = ModelProto::decode(&*self.hollow()).unwrap();
        model.graph.as_mut().unwrap().initializer.iter_mut().for_each(fill);
        model.encode_to_vec()
    }

    fn hollow(&self) -> Vec<u8> {
        std::fs::read(kept(&format!("{}.onnx", self.name))).unwrap()
    }

    /// A bundle folder around a network, opened as the program opens it.
    fn load(&self, network: &[u8]) -> Result<Encoder, BundleError> {
        let dir = std::env::temp_dir().join(format!("lookout-architectures-{}-{}", std::process::id(), self.name));
        std::fs::create_dir_all(&dir).unwrap();
        // Only the encoder is looked at here; a bundle needs a head to be one.
        let head = std::fs::read(kept("../bundles/vgg/head.onnx")).unwrap();
        let contract = format!(
            "name = \"architecture\"\nversion = \"1.0.0\"\n[input]\nwidth = {side}\nheight = {side}\nchannels = [\"rgb\"]\n{levels}\nclip = {}\n\
             features = {}\n[time]\ntick_ms = 100\nwindow = 8\nmax_held = 3\n[head]\nlabels = [\"idle\", \"left\"]\nbackground = \"idle\"\n\
             [files]\n\"{ENCODER}\" = \"{}\"\n\"{HEAD}\" = \"{}\"\n",
            self.ticks,
            self.features,
            sha256(network),
            sha256(&head),
            side = self.side,
            levels = if self.ticks == 1 { PICTURES } else { CLIPS },
        );
        for (name, bytes) in [("bundle.toml", contract.as_bytes()), (ENCODER, network), (HEAD, &head)] {
            std::fs::write(dir.join(name), bytes).unwrap();
        }
        let encoder = Bundle::open(&dir).and_then(|bundle| Encoder::load(&bundle, Form::AsBuilt));
        std::fs::remove_dir_all(&dir).unwrap();
        encoder
    }

    /// Features of the inputs: what ONNX Runtime found.
    fn wanted(&self) -> Vec<f32> {
        self.features_in("npy").unwrap()
    }

    /// The same in exact arithmetic, for pictures in int8 (`tests/architectures/exact.py`).
    fn exact(&self) -> Option<Vec<f32>> {
        self.features_in("exact.npy")
    }

    fn features_in(&self, kind: &str) -> Option<Vec<f32>> {
        let file = std::fs::File::open(kept(&format!("{}.{kind}", self.name))).ok()?;
        let all = ArrayD::<f32>::read_npy(file).unwrap();
        assert_eq!(all.shape(), [INPUTS.len(), self.features], "{}.{kind}", self.name);
        Some(all.iter().copied().collect())
    }

    /// Features of the inputs: what the program finds, and how many operators it left to tract.
    fn found(&self) -> (Vec<f32>, usize) {
        let mut encoder = self.load(&self.network()).unwrap();
        let run = |seed| encoder.run_clip(&scene(seed, self.ticks, self.side)).unwrap().to_vec();
        let found = INPUTS.into_iter().flat_map(run).collect();
        (found, encoder.report().left.len())
    }

    /// Share of features within one step, and the worst of all in steps.
    fn near(&self, found: &[f32], wanted: &[f32]) -> (f32, f32) {
        let near = found.iter().zip(wanted).filter(|(f, w)| (*f - *w).abs() <= 1.01 * self.step).count();
        (near as f32 / wanted.len() as f32, worst(found, wanted) / self.step)
    }
}

fn kept(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/architectures").join(name)
}

/// `fill` of make.py: numbers for a tensor that says how they are made.
fn fill(tensor: &mut TensorProto) {
    let doc = std::mem::take(&mut tensor.doc_string);
    let Ok([what, seed, by]) = <[&str; 3]>::try_from(doc.split(' ').collect::<Vec<_>>()) else { return };
    let count = tensor.dims.iter().product::<i64>() as usize;
    let mut rng = Rng(seed.parse().unwrap());
    let levels = (0..count).map(|_| rng.below(255) as i32 - 127);
    let (float, whole) = (|| by.parse::<f32>().unwrap(), || by.parse::<i32>().unwrap());
    tensor.raw_data = match DataType::try_from(tensor.data_type).unwrap() {
        DataType::Float if what == "scales" => {
            let middle = float();
            levels.flat_map(|l| ((1.0 + l as f32 / 512.0) * middle).to_le_bytes()).collect()
        }
        DataType::Float => {
            let step = float();
            levels.flat_map(|l| (l as f32 * step).to_le_bytes()).collect()
        }
        DataType::Int32 => {
            let step = whole();
            levels.flat_map(|l| (l * step).to_le_bytes()).collect()
        }
        DataType::Int8 => {
            let step = whole();
            levels.map(|l| (l * step) as u8).collect()
        }
        other => panic!("{}: {other:?} is not filled", tensor.name),
    };
}

/// `scene` of make.py: levels `[3, T, side, side]` of squares of 4x4 points.
fn scene(seed: u64, ticks: usize, side: usize) -> Vec<u8> {
    let mut rng = Rng(seed);
    let few = side / 4;
    let squares: Vec<u8> = (0..3 * ticks * few * few).map(|_| (rng.bits() >> 56) as u8).collect();
    let point = |n: usize| squares[(n / (side * side)) * few * few + (n / side % side) / 4 * few + (n % side) / 4];
    (0..3 * ticks * side * side).map(point).collect()
}

fn worst(found: &[f32], wanted: &[f32]) -> f32 {
    assert_eq!(found.len(), wanted.len());
    found.iter().zip(wanted).map(|(f, w)| (f - w).abs()).fold(0.0, |w, d| if d.is_nan() { f32::INFINITY } else { w.max(d) })
}

#[test]
fn in_f32_features_are_those_of_onnx_runtime() {
    for case in Case::all().into_iter().filter(|c| c.step == 0.0) {
        let ((found, _), wanted) = (case.found(), case.wanted());
        let range = wanted.iter().copied().fold(f32::MIN, f32::max) - wanted.iter().copied().fold(f32::MAX, f32::min);
        let share = worst(&found, &wanted) / range;
        println!("{:24} {:4} features within {share:.1e} of their range", case.name, case.features);
        assert!(share <= F32_BOUND, "{}: {share}", case.name);
    }
}

/// The promise is 99 % within a step. Three are held to less against ONNX Runtime: it computes in f32, tract computes clips in f32 too, and a sum near the
/// middle of two steps falls to this side or that. One such byte of a million grows through a deep network with random weights. Found on
/// 30 November 2026: ResNet-50 91.3 % (ONNX Runtime against exact arithmetic: 91.3 %), R3D-18 86.8 % (90.5 %), S3D 97.3 % (96.2 %).
/// What tract rounds depends on the processor; the bounds leave room for that.
fn least(case: &Case) -> f32 {
    match case.name.as_str() {
        "resnet50-int8" => 0.9,
        "r3d18-int8" => 0.75,
        "s3d-int8" => 0.9,
        _ => 0.99,
    }
}

#[test]
fn in_int8_features_are_within_a_step_of_onnx_runtimes() {
    for case in Case::all().into_iter().filter(|c| c.step > 0.0) {
        let (found, left) = case.found();
        let (near, worst) = case.near(&found, &case.wanted());
        print!("{:24} {:4} features, {:6.2} % within a step, worst {worst:.0}", case.name, case.features, 100.0 * near);
        assert!(near >= least(&case) && worst <= 10.0, "{}: {near}, worst {worst} steps", case.name);
        if let Some(exact) = case.exact() {
            // Our own operator adds whole numbers, so that it rounds as exact arithmetic does, but for its last multiplication.
            let (near, worst) = case.near(&found, &exact);
            println!("; of exact arithmetic {:6.2} %, worst {worst:.0}", 100.0 * near);
            assert!(near >= 0.995 && left == 0, "{}: {near} of exact arithmetic, {left} operators left to tract", case.name);
        } else {
            println!("; {left} operators in float");
        }
    }
}

#[test]
fn an_export_without_its_numbers_is_refused() {
    let case = Case::all().remove(0);
    let why = case.load(&case.hollow()).unwrap_err().to_string();
    assert!(why.contains("holds 0 where"), "{why}");
}
