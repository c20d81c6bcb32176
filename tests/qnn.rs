//! Int8 networks compute what ONNX Runtime computes, whatever way their int8 is written, on every instruction set alike.
//!
//! `tests/qnn/make.py` makes the networks, one operator or one way of writing each, and the golden outputs (graph optimisations
//! off). The promise is the project's: at least 99 % of outputs within one step of the output's scale, and the same best output
//! wherever it leads by a clear margin.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test stops where something is missing and says what it saw")]

use lookout::encoder::{Encoder, Form};
use lookout::onnx::Any;
use lookout::qnn::Engine;
use lookout::qnn::kernels::Isa;
use ndarray::{ArrayD, Axis};
use ndarray_npy::ReadNpyExt;
use std::path::{Path, PathBuf};
use tract_onnx::prelude::Tensor;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/qnn/cases")
}

struct Case {
    name: String,
    /// Scale of the output; 0 where a float operator makes it.
    step: f32,
}

impl Case {
    fn all() -> Vec<Case> {
        let text = std::fs::read_to_string(folder().join("cases.txt")).unwrap();
        let cases: Vec<Case> = text
            .lines()
            .map(|line| {
                let (name, step) = line.split_once(' ').unwrap();
                Case { name: name.into(), step: step.parse().unwrap() }
            })
            .collect();
        assert!(cases.len() >= 55, "{} cases found", cases.len());
        cases
    }

    fn network(&self) -> Vec<u8> {
        std::fs::read(folder().join(format!("{}.onnx", self.name))).unwrap()
    }

    fn inputs(&self) -> Vec<Tensor> {
        let bytes = std::fs::read(folder().join(format!("{}.in.npy", self.name))).unwrap();
        fn split<T: tract_onnx::prelude::Datum + Copy>(all: &ArrayD<T>) -> Vec<Tensor> {
            let shape: Vec<usize> = [1].into_iter().chain(all.shape()[1..].iter().copied()).collect();
            let one = |a: ndarray::ArrayViewD<'_, T>| Tensor::from_shape(&shape, &a.iter().copied().collect::<Vec<T>>()).unwrap();
            all.axis_iter(Axis(0)).map(one).collect()
        }
        match ArrayD::<f32>::read_npy(bytes.as_slice()) {
            Ok(all) => split(&all),
            Err(_) => split(&ArrayD::<u8>::read_npy(bytes.as_slice()).unwrap()),
        }
    }

    fn wanted(&self) -> Vec<Vec<f32>> {
        let bytes = std::fs::read(folder().join(format!("{}.out.npy", self.name))).unwrap();
        let all = ArrayD::<f32>::read_npy(bytes.as_slice()).unwrap();
        all.axis_iter(Axis(0)).map(|a| a.iter().copied().collect()).collect()
    }

    fn run(&self, isa: Option<Isa>) -> Vec<Vec<f32>> {
        let engine = isa.map(|isa| Engine { isa, threads: 1 });
        let mut any = Any::load(&self.network(), engine).unwrap_or_else(|e| panic!("{}: {e}", self.name));
        self.inputs().into_iter().map(|x| any.run(x).unwrap().iter().copied().collect()).collect()
    }
}

/// Both halves of every large layer, on a second thread: the same bits.
#[test]
fn two_threads_give_the_features_of_one() {
    let bundle = lookout::baked::bundle().unwrap();
    let encoder = |threads| Encoder::load(&bundle, Form::On(Engine { threads, ..Engine::best() })).unwrap();
    let (mut one, mut two) = (encoder(1), encoder(2));
    let input = bundle.contract.input.as_ref().unwrap();
    let mut levels = vec![0u8; input.planes() * input.height * input.width];
    for round in 0..50usize {
        levels.iter_mut().enumerate().for_each(|(n, l)| *l = ((n * (round + 3) * 7919) >> 5) as u8);
        assert_eq!(one.run_clip(&levels).unwrap(), two.run_clip(&levels).unwrap(), "round {round}");
    }
}

fn best(values: &[f32]) -> (usize, f32) {
    let first = (0..values.len()).max_by(|a, b| values[*a].total_cmp(&values[*b])).unwrap();
    let second = values.iter().enumerate().filter(|(n, _)| *n != first).map(|(_, v)| *v).fold(f32::MIN, f32::max);
    (first, values[first] - second)
}

#[test]
fn every_operator_and_form_computes_what_onnx_runtime_computes() {
    let mut failed = vec![];
    for case in Case::all() {
        let (found, wanted) = (case.run(Some(Isa::best())), case.wanted());
        let span = wanted.iter().flatten().fold(0.0f32, |s, v| s.max(v.abs()));
        let step = if case.step > 0.0 { case.step } else { span / 100.0 };
        let (mut near, mut all, mut worst) = (0usize, 0usize, 0.0f32);
        for (found, wanted) in found.iter().zip(&wanted) {
            assert_eq!(found.len(), wanted.len(), "{}", case.name);
            for (f, w) in found.iter().zip(wanted) {
                all += 1;
                near += usize::from((f - w).abs() <= 1.01 * step);
                worst = worst.max((f - w).abs() / step);
            }
            let (place, lead) = best(wanted);
            if lead >= 0.05_f32.max(2.0 * step) && best(found).0 != place {
                failed.push(format!("{}: another best output, where it leads by {lead}", case.name));
            }
        }
        println!("{:24} {near:5} of {all:5} within a step, worst {worst:.2} steps", case.name);
        if near * 100 < all * 99 {
            failed.push(format!("{}: {near} of {all} within a step, worst {worst:.2} steps", case.name));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn every_instruction_set_gives_the_same_bits() {
    assert!(Isa::available().contains(&Isa::Scalar));
    for case in Case::all() {
        let plain = case.run(Some(Isa::Scalar));
        for isa in Isa::available() {
            let found = case.run(Some(*isa));
            let bits = |all: &[Vec<f32>]| all.iter().flatten().map(|v| v.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&plain), bits(&found), "{} on {isa}", case.name);
        }
    }
}

#[test]
fn everything_is_taken_except_what_has_no_form_on_bytes() {
    // Softmax; a HardSwish whose floats are averaged before they are quantised; a convolution of a constant.
    let float = ["two_regions", "across", "excite_qlinear", "excite_qlinear_u8", "constant"];
    let mut failed = vec![];
    for case in Case::all() {
        let any = Any::load(&case.network(), Some(Engine { isa: Isa::Scalar, threads: 1 })).unwrap();
        let report = any.report();
        assert!(report.isa.is_some() && !report.taken.is_empty(), "{}: nothing is taken: {report:?}", case.name);
        let expected = float.contains(&case.name.as_str());
        if report.left.is_empty() == expected {
            failed.push(format!("{}: {:?} left", case.name, report.left));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn what_is_left_to_tract_computes_the_same() {
    for case in Case::all() {
        let (found, wanted) = match std::panic::catch_unwind(|| case.run(None)) {
            Ok(found) => (found, case.wanted()),
            Err(_) => panic!("{}: tract does not run it", case.name),
        };
        let span = wanted.iter().flatten().fold(0.0f32, |s, v| s.max(v.abs()));
        let off = found.iter().flatten().zip(wanted.iter().flatten()).filter(|(f, w)| (**f - **w).abs() > 0.05 * span).count();
        let all = wanted.iter().flatten().count();
        assert!(off * 100 <= all, "{}: {off} of {all} are off", case.name);
    }
}

/// Where the last panic of any thread came from.
static PANIC: std::sync::Mutex<String> = std::sync::Mutex::new(String::new());

/// Loads and runs; a sentence, or nothing. Panics of our own code fail the test; tract's own are caught by whoever loads a
/// bundle (`onnx/guard.rs`), and do not count here.
fn tried(name: &str, bytes: &[u8]) -> Option<String> {
    PANIC.lock().unwrap().clear();
    let result = std::panic::catch_unwind(|| {
        let mut any = Any::load(bytes, Some(Engine::best()))?;
        if any.shape().iter().product::<usize>() > 1 << 20 {
            return Ok(());
        }
        let x = Tensor::zero_dt(any.kind(), any.shape()).unwrap();
        any.run(x).map(|_| ())
    });
    let place = PANIC.lock().unwrap().clone();
    match result {
        Err(_) => {
            assert!(!place.starts_with("src/"), "{name}: panicked at {place}");
            Some(format!("tract panics at {place}"))
        }
        Ok(Err(why)) => {
            assert!(!why.contains(['\n', '\r']) && !why.is_empty() && why.len() < 900, "{name}: {why:?} is no sentence");
            Some(why)
        }
        Ok(Ok(())) => None,
    }
}

fn watch_panics() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map_or(String::new(), |l| format!("{}:{}", l.file(), l.line()));
        *PANIC.lock().unwrap() = place;
    }));
}

#[test]
fn hostile_networks_are_refused_or_left_and_bits_thrown_at_good_ones_never_panic() {
    watch_panics();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/qnn/hostile");
    let mut names: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    names.sort();
    assert!(names.len() >= 45, "{} hostile networks found", names.len());
    let mut accepted = vec![];
    for path in &names {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        match tried(&name, &std::fs::read(path).unwrap()) {
            Some(why) => println!("{name:28} {why}"),
            None => accepted.push(name),
        }
    }
    println!("run, some of it by tract: {}", accepted.join(", "));
    let scales = ["scale_missing", "scale_zero", "scale_nan", "scale_negative", "scale_infinite"];
    for refused in ["circle", "made_twice", "reads_nothing", "weights_missing"].into_iter().chain(scales) {
        assert!(!accepted.iter().any(|a| a == refused), "{refused} was accepted");
    }
    let rounds = std::env::var("LOOKOUT_TEST_ROUNDS").ok().and_then(|v| v.parse().ok()).unwrap_or(1);
    for case in Case::all() {
        let good = case.network();
        for seed in 0..8u32 * rounds {
            let mut x = seed.wrapping_mul(2_654_435_761).wrapping_add(good.len() as u32);
            let mut next = || {
                x ^= x << 13;
                x ^= x >> 17;
                x ^= x << 5;
                x as usize
            };
            let mut bytes = good.clone();
            for _ in 0..1 + next() % 4 {
                let at = next() % bytes.len();
                bytes[at] = match next() % 4 {
                    0 => 0,
                    1 => 0xff,
                    2 => bytes[at] ^ (1 << (next() % 8)),
                    _ => next() as u8,
                };
            }
            tried(&format!("{} seed {seed}", case.name), &bytes);
        }
    }
    let _ = std::panic::take_hook();
}

/// What is easily computed wrongly: the same numbers as ONNX Runtime's, by our operator and by tract alone, or a refusal.
#[test]
fn odd_networks_give_what_onnx_runtime_gives_or_are_refused() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/qnn/odd");
    let of = |dir: &Path| -> Vec<PathBuf> {
        let all = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
        all.filter(|p| p.extension().is_some_and(|e| e == "onnx")).collect()
    };
    let (networks, refused) = (of(&folder), of(&folder.join("refused")));
    assert!(networks.len() >= 27 && refused.len() >= 15, "{} and {} found", networks.len(), refused.len());
    for path in networks {
        let bytes = std::fs::read(path.with_extension("in.npy")).unwrap();
        let tensor = match ArrayD::<f32>::read_npy(bytes.as_slice()) {
            Ok(x) => Tensor::from_shape(x.shape(), x.as_slice().unwrap()).unwrap(),
            Err(_) => {
                let x = ArrayD::<i8>::read_npy(bytes.as_slice()).unwrap();
                Tensor::from_shape(x.shape(), x.as_slice().unwrap()).unwrap()
            }
        };
        let wanted = ArrayD::<f32>::read_npy(std::fs::read(path.with_extension("out.npy")).unwrap().as_slice()).unwrap();
        for engine in [Some(Engine::best()), None] {
            let name = format!("{} {engine:?}", path.display());
            let mut any = Any::load(&std::fs::read(&path).unwrap(), engine).unwrap_or_else(|e| panic!("{name}: {e}"));
            // Twice: what a network of recurrent layers said before must not come back.
            for _ in 0..2 {
                let found = any.run(tensor.clone()).unwrap_or_else(|e| panic!("{name}: {e}"));
                assert_eq!(found.shape(), wanted.shape(), "{name}");
                let worst = found.iter().zip(&wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(worst <= 1e-4, "{name}: {worst}");
            }
        }
    }
    for path in refused {
        let why = Any::load(&std::fs::read(&path).unwrap(), Some(Engine::best())).map(drop).unwrap_err();
        println!("{}: {why}", path.display());
        let part = match path.file_stem().unwrap().to_str().unwrap() {
            "pad_that_cuts" | "pad_that_cuts_when_run" => "pads of -1 found",
            "celu" | "swish" => "alpha = 1 is all that is run",
            "space_to_depth" => "mode = DCR is all that is run",
            "global_lp_pool" => "GlobalLpPool",
            "transposed_to_a_shape" => "output_shape is not run",
            "own_domain" => "of my.own: nothing here can run this operator",
            "qlinear_where" => "of com.microsoft: nothing here can run this operator",
            "channels_last" => "channels_last is not run",
            "quantised_to_16_bits" => "quantised to 16 bits, 8 bits are run",
            "lstm_in_half_precision" => "weights in half precision",
            _ => "direction = reverse asked for",
        };
        assert!(why.contains(part), "{}: {why}", path.display());
    }
}
