//! A wrong bundle is refused with one sentence that names what was found and what was expected; nothing panics.
//!
//! Each case breaks a copy of a good bundle in one way. Where the fault is not about hashes, the hashes are made right
//! again, so that the fault itself is what is found. One head fails at a single tick, which costs that tick and no more. The
//! last tests throw bits at the networks: tract reads files that people bring, and a camera box that dies on one is worse
//! than one that says no.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test stops where something is missing and says what it saw")]

use lookout::bundle::{Bundle, BundleError, ENCODER, HEAD};
use lookout::encoder::{Encoder, Form};
use lookout::golden;
use lookout::head::Head;
use lookout::pipeline::{Options, Pipeline, PipelineError};
use lookout::report::Report;
use lookout::source::{Frame, Payload, Seq, Timestamp};
use lookout::store::sha256;
use lookout::train::onnx::{Attribute, Graph};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

/// A copy of a good bundle in memory, to be broken.
#[derive(Clone)]
struct Copy {
    files: BTreeMap<String, Vec<u8>>,
}

impl Copy {
    fn of(name: &str) -> Self {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bundles").join(name);
        let entries = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap());
        Self { files: entries.map(|e| (e.file_name().into_string().unwrap(), std::fs::read(e.path()).unwrap())).collect() }
    }

    fn toml(&mut self, from: &str, to: &str) {
        let text = String::from_utf8(self.files["bundle.toml"].clone()).unwrap();
        assert!(text.contains(from), "{from:?} stands in bundle.toml");
        self.files.insert("bundle.toml".into(), text.replacen(from, to, 1).into_bytes());
    }

    /// Makes the hashes in `bundle.toml` those of the files as they are now.
    fn hashes(&mut self) {
        let text = String::from_utf8(self.files["bundle.toml"].clone()).unwrap();
        let lines =
            text.lines().map(|line| match line.split('"').nth(1).and_then(|name| self.files.get(name).map(|b| (name, b))) {
                Some((name, bytes)) if line.starts_with('"') => format!("\"{name}\" = \"{}\"\n", sha256(bytes)),
                _ => format!("{line}\n"),
            });
        let text: String = lines.collect();
        self.files.insert("bundle.toml".into(), text.into_bytes());
    }

    fn put(&mut self, name: &str, bytes: Vec<u8>) {
        self.files.insert(name.into(), bytes);
        self.hashes();
    }

    /// Reads the bundle from memory.
    fn read(&self) -> Result<Bundle, BundleError> {
        let missing = |name: &str| BundleError { bundle: "copy".into(), why: format!("{name}: not there") };
        Bundle::load("copy", |name| self.files.get(name).cloned().ok_or_else(|| missing(name)))
    }

    /// Reads and runs it as the product does.
    fn open(&self) -> Result<(), BundleError> {
        used(&self.read()?)
    }

    /// The same from a folder of this test's own.
    fn open_from_disk(&self, case: &str, prepare: impl FnOnce(&Path)) -> Result<(), BundleError> {
        let dir = std::env::temp_dir().join(format!("lookout-wrong-{}-{case}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        for (name, bytes) in &self.files {
            std::fs::write(dir.join(name), bytes).unwrap();
        }
        prepare(&dir);
        let result = Bundle::open(&dir).and_then(|b| used(&b));
        std::fs::remove_dir_all(&dir).unwrap();
        result
    }
}

/// What happens at start: both networks are loaded and the golden vectors run.
fn used(bundle: &Bundle) -> Result<(), BundleError> {
    let mut encoder = bundle.contract.input.as_ref().map(|_| Encoder::load_with_map(bundle, Form::AsBuilt)).transpose()?;
    let mut head = Head::load(bundle)?;
    golden::run(bundle, encoder.as_mut(), &mut head).map(|_| ())
}

/// One sentence: one line, not too long for a console, naming everything in `parts`.
fn assert_sentence(case: &str, result: Result<(), BundleError>, parts: &[&str]) {
    let Err(error) = result else { panic!("{case}: was accepted") };
    let text = error.to_string();
    println!("{case}: {text}");
    assert!(!text.contains(['\n', '\r', '\t']), "{case}: more than one line: {text:?}");
    assert!(text.len() < 400, "{case}: {} characters: {text}", text.len());
    assert!(!text.contains("lookout's at src/"), "{case}: our own fault: {text}");
    for part in parts {
        assert!(text.contains(part), "{case}: {part:?} is not named in: {text}");
    }
}

#[test]
fn the_good_ones_are_accepted() {
    for name in ["resnet", "vgg", "c3d", "rows-lstm", "rows-carried"] {
        let mut copy = Copy::of(name);
        copy.open().unwrap();
        copy.hashes();
        copy.open().unwrap();
        copy.open_from_disk(&format!("good-{name}"), |_| {}).unwrap();
    }
}

#[test]
fn wrong_contracts_are_refused() {
    let labels = r#"labels = ["idle", "left", "right", "shake"]"#;
    // case, bundle, what stands there, what is put there, what the sentence names
    let cases: &[(&str, &str, &str, &str, &[&str])] = &[
        ("label missing", "resnet", labels, r#"labels = ["idle", "left", "right"]"#, &["head.onnx", "4", "3"]),
        ("label too many", "vgg", labels, r#"labels = ["idle", "left", "right", "shake", "toward"]"#, &["head.onnx", "4", "5"]),
        ("label count, carried", "rows-carried", labels, r#"labels = ["idle", "left"]"#, &["head.onnx", "4", "2"]),
        (
            "label not allowed",
            "resnet",
            labels,
            r#"labels = ["idle", "Left!", "right", "shake"]"#,
            &["head.labels", "Left!", "a-z"],
        ),
        ("gate below zero", "resnet", "clip = 1", "clip = 1\ngate = -1.0", &["input.gate", "-1", "0 (off) to 255"]),
        ("gate not a number", "resnet", "clip = 1", "clip = 1\ngate = nan", &["input.gate", "NaN"]),
        (
            "gate that sees flow alone",
            "resnet",
            r#"channels = ["gray"]"#,
            "gate = 2.0\nchannels = [\"gray\", \"flow\"]\n",
            &["input.gate", "motion", "flow"],
        ),
        ("label empty", "resnet", labels, r#"labels = ["idle", "", "right", "shake"]"#, &["head.labels", "1 to"]),
        ("label with a line break", "resnet", labels, r#"labels = ["idle", "a\nb", "right", "shake"]"#, &["head.labels"]),
        ("label twice", "resnet", labels, r#"labels = ["idle", "left", "left", "shake"]"#, &["left", "twice"]),
        ("one label", "resnet", labels, r#"labels = ["idle"]"#, &["head.labels", "1", "2 to 256"]),
        (
            "background not a label",
            "resnet",
            r#"background = "idle""#,
            r#"background = "nothing""#,
            &["head.background", "nothing"],
        ),
        ("feature count", "resnet", "features = 16", "features = 17", &["encoder.onnx", "16", "17"]),
        ("feature count of rows", "rows-lstm", "features = 6", "features = 7", &["head.onnx", "6", "7"]),
        ("feature count, carried", "rows-carried", "features = 6", "features = 5", &["head.onnx", "6", "5"]),
        ("window", "rows-lstm", "window = 12", "window = 11", &["head.onnx", "12", "11"]),
        ("window of nothing", "rows-lstm", "window = 12", "window = 0", &["time.window", "0", "1 to"]),
        ("window too long", "rows-lstm", "window = 12", "window = 5000", &["time.window", "5000", "256"]),
        ("input width", "resnet", "width = 32", "width = 40", &["encoder.onnx", "32", "40"]),
        ("input height", "c3d", "height = 24", "height = 32", &["encoder.onnx", "24", "32"]),
        ("input too large", "resnet", "width = 32", "width = 100000", &["input.width", "100000", "1024"]),
        ("plane count", "resnet", r#"channels = ["gray"]"#, r#"channels = ["gray", "motion"]"#, &["encoder.onnx", "1", "3"]),
        ("no plane", "resnet", r#"channels = ["gray"]"#, "channels = []", &["input.channels", "0"]),
        ("unknown channel", "resnet", r#"channels = ["gray"]"#, r#"channels = ["depth"]"#, &["bundle.toml", "depth", "gray"]),
        ("rank: clip for a frame encoder", "resnet", "clip = 1", "clip = 4", &["encoder.onnx", "rank 4", "clip = 4"]),
        ("rank: frame for a clip encoder", "c3d", "clip = 4", "clip = 1", &["encoder.onnx", "rank 5", "clip = 1"]),
        ("ticks of a clip", "c3d", "clip = 4", "clip = 5", &["encoder.onnx", "4", "5"]),
        ("mean count", "vgg", "mean = [120.0, 124.0, 128.0]", "mean = [120.0, 124.0]", &["input.mean", "2", "3"]),
        ("scale zero", "resnet", "scale = [58.0]", "scale = [0.0]", &["input.scale", "0"]),
        ("mean not a number", "resnet", "mean = [120.0]", "mean = [nan]", &["input.mean", "NaN"]),
        ("tick", "resnet", "tick_ms = 100", "tick_ms = 0", &["time.tick_ms", "0", "5 to"]),
        ("tick negative", "resnet", "tick_ms = 100", "tick_ms = -100", &["bundle.toml", "-100"]),
        ("temperature", "resnet", "temperature = 1.0", "temperature = 0.0", &["head.temperature", "0", "0.01"]),
        ("leave above enter", "resnet", "leave = 0.4", "leave = 0.9", &["decision.leave", "0.9", "0.6"]),
        ("unknown key", "resnet", "tick_ms = 100", "tick_ms = 100\ntick_hz = 10", &["bundle.toml", "tick_hz", "tick_ms"]),
        ("unknown section", "resnet", "[golden]", "[bronze]", &["bundle.toml", "bronze"]),
        ("syntax", "resnet", "tick_ms = 100", "tick_ms = = 100", &["bundle.toml"]),
        ("type", "resnet", "tick_ms = 100", "tick_ms = \"fast\"", &["bundle.toml", "fast"]),
        ("key missing", "resnet", "tick_ms = 100\n", "", &["bundle.toml", "tick_ms"]),
        (
            "features said twice",
            "resnet",
            "temperature = 1.0",
            "temperature = 1.0\nfeatures = 16",
            &["head.features", "input.features"],
        ),
        ("neither input nor features", "rows-lstm", "features = 6", "", &["[input]", "head.features"]),
        ("sha256", "resnet", "\"head.onnx\" = \"", "\"head.onnx\" = \"00", &["head.onnx", "sha256"]),
        ("file not listed", "resnet", "\"head.onnx\" = ", "\"neck.onnx\" = ", &["neck.onnx"]),
        ("file in another folder", "resnet", "\"head.onnx\" = ", "\"../head.onnx\" = ", &["../head.onnx"]),
        (
            "golden too strict to hold",
            "resnet",
            "logits_tolerance = 1e-05",
            "logits_tolerance = 0.0",
            &["golden logits", "0.000000"],
        ),
        (
            "golden file unlike its name",
            "resnet",
            "golden_logits.npy",
            "golden_windows.npy",
            &["golden_windows.npy", "shape", "expected"],
        ),
    ];
    for (case, bundle, from, to, parts) in cases {
        let mut copy = Copy::of(bundle);
        copy.toml(from, to);
        assert_sentence(case, copy.open(), parts);
    }
}

#[test]
fn wrong_boxes_are_refused() {
    let at = r#"boxes = "place""#;
    for (case, bundle, from, to, parts) in [
        ("an output that is not there", "boxes", at, r#"boxes = "box""#, ["head.boxes = \"box\"", "logits, unused, place"]),
        ("the classes", "boxes", at, r#"boxes = "logits""#, ["head.boxes = \"logits\"", "first output"]),
        ("sixteen numbers", "boxes", at, r#"boxes = "unused""#, ["[1, 16]", "expected F32 [1, 4]"]),
        ("no golden boxes", "boxes", r#"boxes = "golden_boxes.npy""#, "", ["golden.boxes is missing", "place"]),
        ("golden boxes of no box", "boxes-carried", at, "", ["golden.boxes", "head.boxes names no output"]),
        ("of another window", "boxes", r#"boxes = "golden_boxes.npy""#, r#"boxes = "golden_logits.npy""#, ["[6, 3]", "[6, 4]"]),
        ("deviate", "boxes", "boxes_tolerance = 0.0001", "boxes_tolerance = -1.0", ["golden boxes", "at most -1.0"]),
        ("of rows", "rows-gru", "temperature = 1.0", "temperature = 1.0\nboxes = \"logits\"", ["head.boxes", "[input]"]),
    ] {
        let mut copy = Copy::of(bundle);
        copy.toml(from, to);
        assert_sentence(case, copy.open(), &parts);
    }
    let mut copy = Copy::of("boxes");
    let mut boxes = copy.files["golden_boxes.npy"].clone();
    *boxes.last_mut().unwrap() ^= 0x80;
    copy.put("golden_boxes.npy", boxes);
    assert_sentence("another box", copy.open(), &["golden boxes", "at most 0.000100"]);
}

#[test]
fn wrong_maps_are_refused() {
    let (at, golden) = ("map = \"where\"\n", "map = \"golden_map.npy\"\n");
    for (case, from, to, parts) in [
        ("an output that is not there", at, "map = \"place\"\n", ["input.map = \"place\"", "features, where"]),
        ("the features", at, "map = \"features\"\n", ["input.map = \"features\"", "first output, which is that of the features"]),
        ("no golden map", golden, "", ["golden.map", "input.map = \"where\" has to be held against something"]),
        (
            "no golden features",
            "features = \"golden_features.npy\"\n",
            "",
            ["golden.features", "has to be held against something"],
        ),
        ("no golden pictures", "frames = \"golden_frames.npy\"\n", "", ["golden.frames", "has to be held against something"]),
        ("golden maps of no map", at, "", ["golden.map = \"golden_map.npy\"", "input.map names no output"]),
        ("another array", golden, "map = \"golden_features.npy\"\n", ["[8, 96]", "[8, 5, 8, 8]"]),
        ("deviate", golden, "map = \"golden_map.npy\"\nmap_tolerance = -1.0\n", ["golden maps", "at most -1.0"]),
    ] {
        let mut copy = Copy::of("../../models/motion");
        copy.toml(from, to);
        assert_sentence(case, copy.open(), &parts);
    }
    let mut copy = Copy::of("../../models/motion");
    copy.open().expect("the bundle as it is");
    let mut map = copy.files["golden_map.npy"].clone();
    *map.last_mut().unwrap() ^= 0x80;
    copy.put("golden_map.npy", map);
    assert_sentence("another map", copy.open(), &["golden maps", "at most 0.05"]);
}

#[test]
fn wrong_networks_are_refused() {
    for (bundle, file) in [("resnet", ENCODER), ("resnet", HEAD), ("rows-lstm", HEAD), ("rows-carried", HEAD), ("c3d", ENCODER)] {
        let good = Copy::of(bundle);
        let bytes = good.files[file].clone();
        for (case, wrong) in [
            ("empty", vec![]),
            ("garbage", (0..3000u32).map(|k| (k.wrapping_mul(2_654_435_761) >> 24) as u8).collect()),
            ("text", b"this is not a network\n".to_vec()),
            ("zeros", vec![0; 4096]),
        ] {
            let mut copy = good.clone();
            copy.put(file, wrong.clone());
            assert_sentence(&format!("{bundle}/{file} {case}"), copy.open(), &[file, "ONNX"]);
        }
        for cut in [1, 100, bytes.len() / 2, bytes.len() - 1] {
            let mut copy = good.clone();
            copy.put(file, bytes[..cut].to_vec());
            assert_sentence(&format!("{bundle}/{file} cut at {cut}"), copy.open(), &[file, "no ONNX model"]);
        }
    }
    // tract would run the standard cell and say nothing.
    let mut copy = Copy::of("rows-rnn");
    let mut head = copy.files[HEAD].clone();
    let at = head.windows(4).position(|w| w == b"Tanh").unwrap();
    head[at..at + 4].copy_from_slice(b"Relu");
    copy.put(HEAD, head);
    assert_sentence("an RNN with ReLU", copy.open(), &["head.onnx", "Relu", "Tanh"]);
    let mut copy = Copy::of("resnet");
    let head = copy.files[HEAD].clone();
    copy.put(ENCODER, head);
    assert_sentence("the head as encoder", copy.open(), &["encoder.onnx", "rank 3"]);
    let mut copy = Copy::of("resnet");
    let encoder = copy.files[ENCODER].clone();
    copy.put(HEAD, encoder);
    assert_sentence("the encoder as head", copy.open(), &["head.onnx", "1, 1, 32, 32", "[1, 8, 16]"]);
    let mut copy = Copy::of("rows-lstm");
    let other = Copy::of("rows-lstm2").files[HEAD].clone();
    copy.put(HEAD, other);
    assert_sentence("another bundle's head", copy.open(), &["golden logits", "at most"]);
}

/// Whatever would fail with the first picture is refused before it (tests/qnn/odd.py makes these).
#[test]
fn encoders_that_cannot_run_are_refused() {
    for (name, parts) in [("bytes", ["U8", "features are F32"]), ("two", ["2 inputs", "a picture is all there is"])] {
        let mut copy = Copy::of("vgg");
        let file = format!("{}/tests/qnn/odd/encoders/{name}.onnx", env!("CARGO_MANIFEST_DIR"));
        copy.put(ENCODER, std::fs::read(file).unwrap());
        assert_sentence(name, copy.open(), &parts);
    }
}

/// Overwrites the element type of the graph's input, which the exporter wrote as `input`, f32 (1).
fn retype(bytes: &mut [u8], to: u8) {
    let at = bytes.windows(8).rposition(|w| w == b"\x0a\x05input\x12").unwrap();
    let kind = at + bytes[at..].windows(3).position(|w| w == b"\x08\x01\x12").unwrap() + 1;
    bytes[kind] = to;
}

#[test]
fn wrong_input_types_are_refused() {
    for (case, bundle, file, kind, parts) in [
        ("encoder of i64", "vgg", ENCODER, 7, ["encoder.onnx", "I64"]),
        ("encoder of strings", "vgg", ENCODER, 8, ["encoder.onnx", "String"]),
        ("encoder of a type unknown to ONNX", "vgg", ENCODER, 99, ["encoder.onnx", "99"]),
        ("head of i8", "rows-lstm", HEAD, 3, ["head.onnx", "I8"]),
        ("head of f64", "rows-lstm", HEAD, 11, ["head.onnx", "F64"]),
    ] {
        let mut copy = Copy::of(bundle);
        let mut bytes = copy.files[file].clone();
        retype(&mut bytes, kind);
        copy.put(file, bytes);
        assert_sentence(case, copy.open(), &parts);
    }
}

#[test]
fn wrong_golden_vectors_are_refused() {
    for (case, file, change, parts) in [
        (
            "features deviate",
            "golden_features.npy",
            &(|b: &mut Vec<u8>| *b.last_mut().unwrap() ^= 0x40) as &dyn Fn(&mut Vec<u8>),
            ["golden features", "0.087"],
        ),
        ("logits deviate", "golden_logits.npy", &|b| *b.last_mut().unwrap() ^= 0x80, ["golden logits", "0.000010"]),
        (
            "logits not finite",
            "golden_logits.npy",
            &|b| b.splice(128..132, f32::NAN.to_le_bytes()).for_each(drop),
            ["golden logits", "at most"],
        ),
        ("npy cut", "golden_windows.npy", &|b| b.truncate(200), ["golden_windows.npy", "does not fit the 72 bytes"]),
        ("npy too long", "golden_windows.npy", &|b| b.extend([0; 40]), ["golden_windows.npy", "does not fit the 2088 bytes"]),
        ("npy garbage", "golden_frames.npy", &|b| b.iter_mut().for_each(|v| *v = !*v), ["golden_frames.npy", "no .npy file"]),
        (
            "npy that is not text",
            "golden_windows.npy",
            &|b| b.splice(40..44, *b"\x1b[2J").for_each(drop),
            ["golden_windows.npy", "brackets inside brackets"],
        ),
        (
            "npy of a shape without end",
            "golden_windows.npy",
            &|b| b.splice(60..78, *b"(4294967296,99999)").for_each(drop),
            ["golden_windows.npy", "shape"],
        ),
        ("npy empty", "golden_frames.npy", &|b| b.clear(), ["golden_frames.npy", "0 bytes found"]),
        (
            "npy of another type",
            "golden_frames.npy",
            &|b| *b = Copy::of("resnet").files["golden_windows.npy"].clone(),
            ["golden_frames.npy", "1 bytes each does not fit"],
        ),
    ] {
        let mut copy = Copy::of("resnet");
        let mut bytes = copy.files[file].clone();
        change(&mut bytes);
        copy.put(file, bytes);
        assert_sentence(case, copy.open(), &parts);
    }
}

/// A head that takes its logits from row n of a table, n the largest number of the newest tick: it fails where there is no such row.
fn table() -> Vec<u8> {
    const INT64: i64 = 7;
    let mut graph = Graph::default();
    graph.longs("last", &[11]);
    let row = |class: usize| (0..4).map(move |k| if k == class { 8.0 } else { 0.0 });
    graph.floats("table", &[4, 4], &(0..4).flat_map(row).collect::<Vec<f32>>());
    graph.node("Gather", &["window", "last"], &["tick"], &[("axis", Attribute::Int(1))]);
    let over = [("axes", Attribute::Ints(vec![1, 2])), ("keepdims", Attribute::Int(0))];
    graph.node("ReduceMax", &["tick"], &["largest"], &over);
    graph.node("Cast", &["largest"], &["n"], &[("to", Attribute::Int(INT64))]);
    graph.node("Gather", &["table", "n"], &["logits"], &[("axis", Attribute::Int(0))]);
    graph.file(("window", &[1, 12, 6]), false, ("logits", &[1, 4]))
}

#[test]
fn a_tick_whose_head_fails_counts_as_held_and_the_next_one_goes_on() {
    let mut copy = Copy::of("rows-lstm");
    copy.put(HEAD, table());
    let mut pipeline = Pipeline::new(&copy.read().unwrap(), &Options::default()).unwrap();
    let mut labels = vec![];
    let mut step = |n: u64, row: &[f32]| {
        let at = Timestamp::from_ms(100 * n);
        let frame = Frame { at, seq: Seq(n as u32), payload: Payload::Row(row) };
        let done = pipeline.step(&frame, Timestamp::from_ms(100 * (n + 1)), &mut (), &mut |report| {
            if let Report::Class(now) = report {
                labels.push((n, now.label.to_string()));
            }
        });
        let counts = pipeline.counts();
        (done, counts.ticks, counts.held)
    };
    for n in 0..20 {
        assert!(matches!(step(n, &[1.0; 6]), (Ok(()), _, 0)), "tick {n}");
    }
    let (failed, ticks, held) = step(20, &[100.0; 6]);
    assert!(matches!(failed, Err(PipelineError::Head(_))), "{failed:?}");
    assert_eq!((ticks, held), (21, 1));
    // Both stages fail: the first is told, the tick is one.
    let (failed, ticks, held) = step(21, &[1.0; 5]);
    assert!(matches!(failed, Err(PipelineError::Payload { .. })), "{failed:?}");
    assert_eq!((ticks, held), (22, 2));
    for n in 22..40 {
        assert!(matches!(step(n, &[2.0; 6]), (Ok(()), _, 2)), "tick {n}");
    }
    let said = |from, to, label: &str| labels.iter().any(|(n, l)| (from..to).contains(n) && l == label);
    assert!(said(0, 20, "left") && said(22, 40, "right") && !said(20, 22, "left"), "{labels:?}");
}

#[test]
fn what_lies_in_the_folder_may_be_anything() {
    let remove = |name: &'static str| move |dir: &Path| std::fs::remove_file(dir.join(name)).unwrap();
    let folder = |name: &'static str| {
        move |dir: &Path| {
            std::fs::remove_file(dir.join(name)).unwrap();
            std::fs::create_dir(dir.join(name)).unwrap();
        }
    };
    let good = Copy::of("resnet");
    assert_sentence("no head", good.open_from_disk("no-head", remove(HEAD)), &["head.onnx"]);
    assert_sentence("no golden", good.open_from_disk("no-golden", remove("golden_frames.npy")), &["golden_frames.npy"]);
    assert_sentence("no contract", good.open_from_disk("no-contract", remove("bundle.toml")), &["bundle.toml"]);
    assert_sentence("folder for a head", good.open_from_disk("dir-head", folder(HEAD)), &["head.onnx", "file"]);
    assert_sentence("folder for a contract", good.open_from_disk("dir-toml", folder("bundle.toml")), &["bundle.toml", "file"]);
    let empty = |dir: &Path| std::fs::write(dir.join("bundle.toml"), "").unwrap();
    assert_sentence("empty contract", good.open_from_disk("empty-toml", empty), &["bundle.toml", "missing"]);
    let binary = |dir: &Path| std::fs::write(dir.join("bundle.toml"), [0xff, 0xfe, 0x00]).unwrap();
    assert_sentence("binary contract", good.open_from_disk("binary-toml", binary), &["bundle.toml", "UTF-8"]);
    let huge = |dir: &Path| std::fs::File::options().write(true).open(dir.join(HEAD)).unwrap().set_len(1 << 40).unwrap();
    assert_sentence("a terabyte of head", good.open_from_disk("huge", huge), &["head.onnx", "1099511627776", "33554432"]);
    let nowhere = PathBuf::from("/nowhere/to/be/found");
    assert_sentence("no folder", Bundle::open(&nowhere).map(|_| ()), &["/nowhere/to/be/found"]);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    assert_sentence("a file for a bundle", Bundle::open(&file).map(|_| ()), &["Cargo.toml"]);
}

/// Changes one to four places of a network, by a seed, and sees that nothing panics, hangs or breaks the sentence.
/// `LOOKOUT_TEST_ROUNDS` multiplies the rounds, for a longer look by hand.
fn throw_bits_at(bundle: &str, file: &str, rounds: u32) {
    let rounds = rounds * std::env::var("LOOKOUT_TEST_ROUNDS").ok().and_then(|v| v.parse().ok()).unwrap_or(1);
    let good = Copy::of(bundle);
    let (mut refused, mut panicked) = (0, vec![]);
    for seed in 0..rounds {
        let mut x = seed.wrapping_mul(2_654_435_761).wrapping_add(12_345);
        let mut next = move || {
            x ^= x << 13;
            x ^= x >> 17;
            x ^= x << 5;
            x as usize
        };
        let mut bytes = good.files[file].clone();
        let mut places = vec![];
        for _ in 0..1 + next() % 4 {
            // Half of the hits go to the first kilobytes of names, shapes and attributes rather than weights.
            let span = if next() % 2 == 0 { bytes.len().min(2048) } else { bytes.len() };
            let at = next() % span;
            bytes[at] = match next() % 4 {
                0 => 0,
                1 => 0xff,
                2 => bytes[at] ^ (1 << (next() % 8)),
                _ => next() as u8,
            };
            places.push((at, bytes[at]));
        }
        let mut copy = good.clone();
        copy.put(file, bytes);
        let (send, receive) = mpsc::channel();
        let job = std::thread::spawn(move || {
            let result = std::panic::catch_unwind(|| copy.open());
            let _ = send.send(result.map_err(|p| {
                p.downcast_ref::<String>()
                    .cloned()
                    .or_else(|| p.downcast_ref::<&str>().map(ToString::to_string))
                    .unwrap_or_default()
            }));
        });
        match receive.recv_timeout(Duration::from_secs(60)) {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => {
                refused += 1;
                assert_sentence(&format!("{file} seed {seed}"), Err(error), &[]);
            }
            Ok(Err(what)) => panicked.push(format!("seed {seed} {places:?}: {what}")),
            Err(_) => panicked.push(format!("seed {seed} {places:?}: still running after a minute")),
        }
        if panicked.is_empty() {
            job.join().unwrap();
        }
    }
    println!("{bundle}/{file}: {refused} of {rounds} refused, {} panicked", panicked.len());
    assert!(panicked.is_empty(), "{bundle}/{file}: {} of {rounds} panicked:\n{}", panicked.len(), panicked.join("\n"));
}

#[test]
fn hostile_heads_never_panic() {
    for bundle in ["rows-lstm", "rows-gru2", "rows-rnn", "rows-lstm-int8", "rows-carried"] {
        throw_bits_at(bundle, HEAD, 60);
    }
}

#[test]
fn hostile_encoders_never_panic() {
    for bundle in ["resnet", "vgg", "c3d", "resnet-qlinear", "mobilenet"] {
        throw_bits_at(bundle, ENCODER, 50);
    }
}
