//! The promise: whatever is asked wrongly ends with one sentence on stderr, nothing on stdout and the right exit code;
//! and what is asked rightly says the same on every sink.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod program;

use ::lookout::store::sha256;
use ::lookout::train::onnx::{Attribute, Graph};
use program::lookout;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

fn folder(name: &str) -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

/// The last line is ours; log lines before it start with `[`.
fn sentence(out: &Output) -> String {
    let text = String::from_utf8(out.stderr.clone()).unwrap();
    let ours: Vec<&str> = text.lines().filter(|l| !l.starts_with('[')).collect();
    assert_eq!(ours.len(), 1, "one sentence expected: {text}");
    assert!(ours[0].starts_with("lookout: "), "{text}");
    ours[0].to_string()
}

/// A good bundle with the head replaced by a network with an axis beyond its rank, and its hash put right.
fn bundle_that_makes_tract_panic(dir: &Path) -> String {
    program::copy_bundle("tests/bundles/rows-lstm", dir);
    let (head, hostile) = (dir.join("head.onnx"), std::fs::read("tests/qnn/hostile/axis_beyond.onnx").unwrap());
    let (contract, was) = (dir.join("bundle.toml"), sha256(&std::fs::read(&head).unwrap()));
    let text = std::fs::read_to_string(&contract).unwrap();
    assert!(text.contains(&was));
    std::fs::write(&contract, text.replace(&was, &sha256(&hostile))).unwrap();
    std::fs::write(&head, hostile).unwrap();
    dir.display().to_string()
}

#[test]
fn what_is_asked_wrongly_gets_one_sentence_and_its_exit_code() {
    let dir = folder("wrong");
    let file = |name: &str, text: &str| {
        std::fs::write(dir.join(name), text).unwrap();
        dir.join(name).display().to_string()
    };
    let rows = file("rows.csv", "1 2 3\n4 5 6\n");
    let odd_key = file("odd.toml", "hartbeat_s = 5\n");
    let syntax = file("syntax.toml", "heartbeat_s = = 5\n");
    let empty = file("empty.y4m", "");
    let zero = file("zero.y4m", "YUV4MPEG2 W0 H0 F30:1 C420jpeg\nFRAME\n");
    let huge = file("huge.y4m", "YUV4MPEG2 W999999 H999999 F30:1 C420jpeg\nFRAME\n");
    let deep = file("deep.y4m", "YUV4MPEG2 W64 H64 F30:1 C420p10\nFRAME\n");
    let text = file("text.bin", "this is no clip\n");
    let here = dir.display().to_string();
    let y4m_folder = format!("y4m:{here}");
    let panics = bundle_that_makes_tract_panic(&dir.join("panics"));
    let rows_spec = format!("features:{rows}");
    let clip = "tests/golden/sources/mono.y4m";
    // Recordings without one frame that can be read.
    let bare = file("bare.y4m", "YUV4MPEG2 W8 H8 F10:1 Cmono\n");
    let header = format!("features:{}", file("header.csv", "a,b,c,d,e,f\n"));
    std::fs::create_dir_all(dir.join("damaged")).unwrap();
    file("damaged/a.png", "no picture");
    let (damaged, dropped) = (format!("frames:{}", dir.join("damaged").display()), format!("faulty:drop=1:y4m:{clip}"));
    let rare = file("rare.y4m", &format!("YUV4MPEG2 W8 H8 F1:86400 Cmono\n{0}{0}", format!("FRAME\n{}", "x".repeat(64))));
    let (out, up) = (dir.join("out").display().to_string(), file("up.csv", "start_s,end_s,label\n0,1,left\n1,2,../up\n"));
    let spans = file("spans.csv", "file,start_s,end_s,label\nmono.y4m,0,0.5,left\nmono.y4m,0.5,1,right\n");
    let twice = file("twice.csv", "file,label\nmono.y4m,left\nmono.y4m,right\n");
    let comma = file("comma.csv", "start_s,end_s,label\n0,0.1,left\n1,9,4,6,right\n");
    for (args, code, names) in [
        (vec!["classify", "nothing-here.y4m"], 2, "nothing-here.y4m"),
        (vec!["classify", &empty], 2, "empty.y4m"),
        (vec!["classify", &zero], 2, "0x0"),
        (vec!["classify", &huge], 2, "999999x999999"),
        (vec!["classify", &deep], 2, "deep.y4m"),
        (vec!["classify", &text], 2, "text.bin"),
        (vec!["classify", &y4m_folder], 2, "wrong"),
        (vec!["classify", &rows_spec], 2, "rows.csv: bundle built-in: a row of numbers given, the bundle expects pictures"),
        (vec!["classify", "--bundle", &here, &rows_spec], 2, "bundle.toml"),
        (vec!["check", &rows], 2, "rows.csv"),
        (vec!["run", "--report", "telegraph"], 2, "telegraph: not known; `serial:PATH,BAUD`, `serial` (the board's own port), "),
        (vec!["learn", clip, "--out", &out], 2, "expected: 3 recordings, or one of more than 120 s"),
        (vec!["novelty", clip, "--config", &odd_key], 2, "hartbeat_s"),
        (vec!["run", "--report", "serial:/dev/ttyS0,fast"], 2, "baud"),
        (vec!["run", "--source", "v4l2:/dev/lookout-no-such-camera", "--report", "stdout"], 1, "/dev/lookout-no-such-camera"),
        (vec!["run", "--source", "v4l2:/tmp", "--report", "stdout"], 2, "/tmp"),
        (vec!["run", "--source", "pipe:-,nv12,640x480", "--report", "stdout"], 2, "pipe"),
        (vec!["run", "--source", "ether:5", "--report", "stdout"], 2, "ether"),
        (vec!["run", "--board", "abacus"], 2, "abacus"),
        (vec!["run", "--report", "stdout", "--source", &bare], 2, "bare.y4m: no frame could be read from it"),
        (vec!["run", "--report", "stdout", "--source", &damaged], 2, "damaged: no frame could be read from it"),
        (vec!["run", "--report", "stdout", "--source", &dropped], 2, "mono.y4m: no frame could be read from it"),
        (
            vec!["run", "--report", "stdout", "--bundle", "tests/bundles/rows-gru", "--source", &header],
            2,
            "header.csv: no frame could be read from it",
        ),
        (vec!["run", "--config", &odd_key], 2, "hartbeat_s"),
        (vec!["run", "--config", &syntax], 2, "syntax.toml"),
        (vec!["run", "--config", "/no/such/lookout.toml"], 2, "/no/such/lookout.toml"),
        (vec!["bench", "--onnx", &rows], 2, "rows.csv"),
        // tract panics on it; where a build cannot catch that (the firmware aborts), the sentence and the code are the same.
        (
            vec!["bench", "--onnx", "tests/qnn/hostile/axis_beyond.onnx"],
            2,
            "axis_beyond.onnx: tract cannot work with this network",
        ),
        (vec!["check", &panics], 2, "panics: head.onnx: "),
        // What never ends, where a file is expected.
        (vec!["bench", "--onnx", "/dev/zero"], 2, "/dev/zero: more than 33554432 bytes"),
        (vec!["check", "--onnx", "/dev/zero", "--input", &rows], 2, "/dev/zero: more than"),
        (vec!["check", "--onnx", "tests/bundles/boxes/encoder.onnx", "--input", "/dev/zero"], 2, "/dev/zero: more than"),
        (vec!["label", clip, "--times", "/dev/zero", "--out", &out], 2, "/dev/zero: more than"),
        (vec!["train", "/dev/zero", "--out", &out], 2, "/dev/zero"),
        (vec!["classify", clip, "--report", &out, "--labels", "/dev/zero"], 2, "/dev/zero: more than"),
        (vec!["classify", clip, "--report", &out, "--labels", &spans], 2, "spans.csv: columns file, start_s, end_s, label found"),
        (vec!["classify", clip, "--report", &out, "--labels", &twice], 2, "line 3: mono.y4m is right, in line 2 it is left"),
        (vec!["shape", clip, "--bundle", "/dev/zero", "--output", &out], 2, "/dev/zero: more than"),
        (vec!["find", clip, "--index", "/dev/zero"], 2, "/dev/zero: a file is expected"),
        // An index takes its file's place by a rename: not that of a device, or of a folder.
        (vec!["index", clip, "--out", "/dev/null"], 2, "/dev/null: is there and is no file"),
        (vec!["index", clip, "--out", &here], 2, "is there and is no file"),
        // A year between two frames would be a year of ticks.
        (vec!["index", &rare, "--out", &out], 2, "after the frame at 0 s comes none for more than 1 h"),
        (vec!["record", "--label", "x", "--source", clip, "--out", &out, "--before=-5"], 2, "--before -5"),
        (vec!["record", "--label", "x", "--source", clip, "--out", &out, "--seconds", "nan"], 2, "--seconds NaN"),
        (vec!["label", clip, "--times", &up, "--out", &out], 2, "up.csv: line 3: label \"../up\""),
        (vec!["label", clip, "--times", &comma, "--out", &out], 2, "comma.csv: line 3: 5 fields found, 3 expected"),
        // Disks that are full, and names that would move the cursor.
        (vec!["shape", clip, "--bundle", "models/motion", "--output", "/dev/full"], 1, "/dev/full: No space left"),
        (vec!["demo", "--save", "/dev/full"], 1, "/dev/full: No space left"),
        (vec!["classify", "no\u{1b}[2J\nsuch.y4m"], 2, "no?[2J?such.y4m"),
    ] {
        let out = lookout(&args);
        let said = sentence(&out);
        assert_eq!(out.status.code(), Some(code), "{args:?}: {said}");
        assert!(said.contains(names), "{args:?} should name {names}: {said}");
        assert!(out.stdout.is_empty(), "{args:?}: {}", String::from_utf8_lossy(&out.stdout));
    }
    // clap's own refusals have more lines, and the same code.
    assert_eq!(lookout(&["frobnicate"]).status.code(), Some(2));
    assert_eq!(lookout(&["run", "--bogus"]).status.code(), Some(2));
    assert_eq!(lookout(&["--help"]).status.code(), Some(0));
}

/// What is said of a default is what happens without the argument.
#[test]
fn help_says_which_bundle_and_which_configuration_count() {
    let built_in = "Bundle folder [default: the one baked into the program, whatever is installed or configured]";
    let on_box =
        "Bundle folder [default: `bundle` of the configuration, else the installed one, else the one baked into the program]";
    let either = "with --taught, --state or --config `bundle` of the configuration, else the installed one]";
    for (says, commands) in [
        (built_in, &["demo", "bench", "record", "label", "index", "find"][..]),
        (on_box, &["run", "learn", "novelty", "calibrate", "teach"][..]),
        (either, &["classify"][..]),
        ("[default: 1; of `run`: `threads` of the configuration]", &["run", "check"][..]),
        ("[default: the file of --into where it exists, else /etc/lookout/lookout.toml where it exists]", &["calibrate"][..]),
        ("[default: `source` of the configuration, else the board's camera]", &["run"][..]),
    ] {
        for command in commands {
            let text = String::from_utf8(lookout(&["help", command]).stdout).unwrap();
            let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(words.contains(says), "{command}: {says}: {text}");
        }
    }
}

/// A place's recordings are looked at as they were learnt from: only within [region].
#[test]
fn novelty_sees_the_part_of_the_picture_that_is_configured() {
    let dir = folder("region");
    let street = |name: &str, pictures: u32, step: f32, moving| program::street(&dir.join(name), pictures, step, moving);
    let learnt = [0.5, -0.5, 0.3].map(|step| street(&format!("{step}.y4m"), 90, step, 5..90));
    let (moving, still) = (street("moving.y4m", 60, -2.5, 20..50), street("still.y4m", 60, 0.0, 0..0));
    let [normal, state, site] = ["n.json", "state", "site.toml"].map(|name| dir.join(name).display().to_string());
    let done = lookout(&["learn", &learnt[0], &learnt[1], &learnt[2], "--out", &normal, "--state", &state]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    // The block moves above it.
    std::fs::write(&site, "[region]\nx = 0.0\ny = 0.75\nwidth = 1.0\nheight = 0.25\n").unwrap();
    let scores = |clip: &str, more: &[&str]| {
        let done = lookout(&[&["novelty", clip, "--normal", &normal, "--state", &state], more].concat());
        let text = String::from_utf8(done.stdout).unwrap();
        assert!(done.status.success() && text.lines().count() > 20, "{text}{}", String::from_utf8_lossy(&done.stderr));
        text.replace(clip, "")
    };
    assert_ne!(scores(&moving, &[]), scores(&still, &[]));
    assert_eq!(scores(&moving, &["--config", &site]), scores(&still, &["--config", &site]));
}

/// The program with its output somewhere else.
fn writing_to(args: &[&str], out: Stdio, dir: &Path) -> Output {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let args = args.iter().map(|a| if a.starts_with("tests/") || a.starts_with("models/") { root.join(a) } else { a.into() });
    let child = program::command(&[]).args(args).current_dir(dir).stdout(out).stderr(Stdio::piped()).spawn();
    child.unwrap().wait_with_output().unwrap()
}

#[test]
fn an_output_that_is_full_is_said_and_a_reader_that_has_gone_is_no_error() {
    let dir = folder("outputs");
    let clip = "tests/golden/sources/mono.y4m";
    for args in [
        &["demo"][..],
        &["classify", clip],
        &["classify", clip, "--json"],
        &["check", "tests/bundles/rows-gru"],
        &["calibrate", clip],
        &["index", clip, "--out", "i"],
        &["find", clip, "--index", "i"],
        &["label", clip, "--times", "t.csv", "--out", "cut"],
        &["shape", clip, "--bundle", "models/motion", "--output", "-"],
        &["teach", "--list", "--state", "s"],
        &["install", "--state", "s"],
    ] {
        std::fs::write(dir.join("t.csv"), "start_s,end_s,label\n0,0.05,left\n").unwrap();
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let out = writing_to(args, full.into(), &dir);
        let last = String::from_utf8(out.stderr.clone()).unwrap().lines().last().unwrap_or_default().to_string();
        assert!(last.starts_with("lookout: standard output: No space left"), "{args:?}: {last}");
        assert_eq!(out.status.code(), Some(1), "{args:?}");
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let out = writing_to(args, writer.into(), &dir);
        let said = String::from_utf8(out.stderr).unwrap();
        assert!(out.status.code() == Some(0) && !said.contains("lookout: ") && !said.contains("ipe"), "{args:?}: {said}");
    }
    // A state folder by a relative path that is not there yet.
    let out = writing_to(&["install", "--undo", "--state", "new"], Stdio::piped(), &dir);
    assert!(out.status.code() == Some(2) && sentence(&out).contains("nothing was installed here"), "{}", sentence(&out));
}

#[test]
fn a_float_encoder_is_told_what_int8_would_give() {
    let dir = folder("float");
    // Two layers of three by three over 32 x 32 pixels, as a framework exports them before quantising.
    let mut graph = Graph::default();
    let numbers = |n: usize| (0..n).map(|k| (k * 37 % 101) as f32 / 500.0 - 0.1).collect::<Vec<f32>>();
    let pads = [("pads", Attribute::Ints(vec![1; 4])), ("kernel_shape", Attribute::Ints(vec![3; 2]))];
    graph.floats("w1", &[64, 16, 3, 3], &numbers(64 * 16 * 9));
    graph.node("Conv", &["x", "w1"], &["a"], &pads);
    graph.node("Relu", &["a"], &["b"], &[]);
    graph.floats("w2", &[64, 64, 3, 3], &numbers(64 * 64 * 9));
    graph.node("Conv", &["b", "w2"], &["c"], &pads);
    graph.node("GlobalAveragePool", &["c"], &["y"], &[]);
    let file = graph.file(("x", &[1, 16, 32, 32]), false, ("y", &[1, 64, 1, 1]));
    let (onnx, input) = (dir.join("float.onnx").display().to_string(), dir.join("x.npy").display().to_string());
    std::fs::write(&onnx, file).unwrap();
    ndarray_npy::write_npy(&input, &ndarray::Array4::<f32>::zeros((1, 16, 32, 32))).unwrap();
    // 9 x 16 x 64 and 9 x 64 x 64 products for each of 1024 pixels.
    let says = |text: &str| {
        assert!(text.contains("nothing here is quantised; 47.2 million multiplications would take about "), "{text}");
        assert!(text.contains(" ms on bytes (") && text.contains(" ms as it is: "), "{text}");
    };
    let said = |args: &[&str]| {
        let out = lookout(args);
        assert_eq!(out.status.code(), Some(0), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    };
    let json = |args: &[&str]| serde_json::from_str::<serde_json::Value>(&said(args)).unwrap()["int8"].clone();
    for args in [&["check", "--onnx", &onnx, "--input", &input][..], &["bench", "--onnx", &onnx]] {
        says(&said(args));
        says(json(&[args, &["--json"]].concat()).as_str().unwrap());
    }
    // What runs on bytes already, and a head, which no convolution slows down, are told nothing.
    for file in ["models/motion/encoder.onnx", "tests/bundles/rows-lstm/head.onnx"] {
        assert_eq!(json(&["bench", "--json", "--onnx", file]), serde_json::Value::Null, "{file}");
    }
}

#[test]
fn demo_is_right_and_a_saved_clip_says_the_same_on_every_sink() {
    let dir = folder("right");
    let clip = dir.join("clip.y4m");
    assert!(lookout(&["demo", "--save", &clip.display().to_string()]).status.success());
    let demo = String::from_utf8(lookout(&["demo"]).stdout).unwrap();
    let percent = demo.split_once(" ticks right (").unwrap().1.split(' ').next().unwrap().parse::<f32>().unwrap();
    assert!(percent >= 95.0, "{demo}");
    assert!(demo.lines().filter(|l| l.starts_with('$')).all(|l| l.len() <= 80), "82 with CR LF");
    for ours in ["shaper", "gate", "flow", "ring", "decision"] {
        let row = demo.lines().find(|l| l.starts_with(ours)).unwrap_or_else(|| panic!("no {ours} in {demo}"));
        assert!(row.ends_with(" 0.0"), "allocates: {row}");
    }

    let source = format!("y4m:{}", clip.display());
    let (text, json) = (dir.join("out.txt"), dir.join("out.json"));
    std::fs::remove_file(&text).ok();
    std::fs::remove_file(&json).ok();
    let (to_text, to_json) = (format!("file:{}", text.display()), format!("json:{}", json.display()));
    let out = lookout(&["run", "--source", &source, "--report", "stdout", "--report", &to_text, "--report", &to_json]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    assert_eq!(out.stdout, std::fs::read(&text).unwrap());
    let lines = out.stdout.iter().filter(|b| **b == b'\n').count();
    assert!(lines > 30, "{lines} lines");
    let objects = std::fs::read_to_string(&json).unwrap();
    assert_eq!(objects.lines().count(), 1 + lines, "and the one that a run begins with");
    assert!(objects.lines().all(|l| serde_json::from_str::<serde_json::Value>(l).is_ok_and(|v| v.is_object())));

    let again = lookout(&["run", "--source", &source, "--report", "stdout"]);
    assert_eq!(again.stdout, out.stdout, "the same clip twice");

    let answer = lookout(&["classify", "--json", &clip.display().to_string()]);
    let answer: serde_json::Value = serde_json::from_slice(&answer.stdout).unwrap();
    let found: Vec<&str> = answer["segments"].as_array().unwrap().iter().map(|s| s["label"].as_str().unwrap()).collect();
    assert_eq!(found, ["right", "left", "toward", "away", "shake", "covered", "left"]);
    // Half a second (six ticks with both ends) is less than a window: what came before the first picture is taken to have stood still.
    let bytes = std::fs::read(&clip).unwrap();
    let line = bytes.iter().position(|b| *b == b'\n').unwrap();
    let header = String::from_utf8(bytes[..line].to_vec()).unwrap();
    let size = |key| header.split(' ').find_map(|t| t.strip_prefix(key)?.parse::<usize>().ok()).unwrap();
    let rate = header.split(' ').find_map(|t| t.strip_prefix('F')?.split(':').next()?.parse::<usize>().ok()).unwrap();
    let short = dir.join("short.y4m");
    std::fs::write(&short, &bytes[..=line + rate / 2 * ("FRAME\n".len() + size("W") * size("H") * 3 / 2)]).unwrap();
    let short = lookout(&["classify", "--json", &short.display().to_string()]);
    let short: serde_json::Value = serde_json::from_slice(&short.stdout).unwrap();
    assert_eq!((short["label"].as_str(), short["ticks"].as_u64()), (Some("idle"), Some(6)), "{short}");
    let srt = lookout(&["classify", "--srt", &clip.display().to_string()]);
    assert!(String::from_utf8(srt.stdout).unwrap().starts_with("1\n00:00:0"));
}

#[test]
fn check_and_bench_say_what_they_found() {
    let out = lookout(&["check"]);
    let text = String::from_utf8(out.stdout).unwrap();
    assert!(out.status.success() && text.contains("golden") && text.ends_with("ok\n"), "{text}");
    let bundle = Path::new("tests/bundles/rows-gru").display().to_string();
    let out = lookout(&["check", "--json", &bundle]);
    let answer: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert!(answer["ok"] == true && answer["top1_equal"] == true && answer["max_abs"].as_f64().unwrap() < 1e-4);
    let out = lookout(&["bench", "--json", "--rounds", "1"]);
    let text = String::from_utf8(out.stdout).unwrap();
    assert_eq!(text.lines().count(), 13, "nine stages, the whole tick and three scenes: {text}");
    let cost = |args: &[&str]| {
        let text = String::from_utf8(lookout(args).stdout).unwrap();
        let mut lines = text.lines().map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap());
        lines.find(|l| l["name"] == "place").unwrap()["us_median"].as_f64().unwrap()
    };
    let (without, with) = (cost(&["bench", "--json", "--rounds", "1"]), cost(&["bench", "--json", "--rounds", "1", "--where"]));
    assert!(with > 2.0 * without, "{with} us, {without} without");
    let rows = lookout(&["bench", "--json", "--rounds", "1", "--bundle", &bundle]);
    assert_eq!(String::from_utf8(rows.stdout).unwrap().lines().count(), 10, "without pictures: stages and the whole tick");
    // Layers of the baked encoder: their times and the rest are the whole, their products are what `bench --onnx` counts.
    let out = lookout(&["bench", "--json", "--onnx", "models/motion/encoder.onnx", "--layers"]);
    let layers: Vec<serde_json::Value> =
        String::from_utf8(out.stdout).unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let sum = |key: &str| layers.iter().map(|l| l[key].as_f64().unwrap()).sum::<f64>();
    assert!(layers.len() > 6 && sum("share") > 99.9 && sum("macs") > 4e6, "{layers:?}");
    assert!(layers.iter().any(|l| l["layer"].as_str().unwrap().starts_with("conv ")), "{layers:?}");
    let out = lookout(&["bench", "--json", "--onnx", "tests/bundles/rows-lstm/head.onnx"]);
    let answer: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert!(answer["head"].as_str().unwrap().starts_with("LSTM 6 -> 16"), "{answer}");
    assert!(answer["allocs"] == 0 && answer["step_us"].as_f64().unwrap() > 0.0, "{answer}");
}

#[test]
fn a_recording_is_drawn_and_many_are_judged() {
    let dir = folder("drawn");
    let (left, right) = (dir.join("left"), dir.join("right"));
    [&left, &right].iter().for_each(|d| std::fs::create_dir_all(d).unwrap());
    let (good, bad) = (left.join("demo.y4m"), right.join("demo.y4m"));
    // The demo's clip ends with somebody going left, and goes left twice: that is its answer.
    assert!(lookout(&["demo", "--save", &good.display().to_string()]).status.success());
    std::fs::copy(&good, &bad).unwrap();
    let (good, bad) = (good.display().to_string(), bad.display().to_string());
    let (svg, html, table) = (dir.join("demo.svg"), dir.join("report.html"), dir.join("labels.csv"));
    assert_eq!(lookout(&["classify", &good, "--plot", &svg.display().to_string()]).status.code(), Some(0));
    let drawing = std::fs::read_to_string(&svg).unwrap();
    assert_eq!(drawing.matches("<polyline").count(), 7, "one line a class");
    assert_eq!(drawing.matches("%</title>").count(), 7, "seven events in the demo");
    assert!(drawing.matches("<image").count() >= 6 && drawing.contains("time, s"));

    let page = html.display().to_string();
    assert_eq!(lookout(&["classify", &good, &bad, "--report", &page]).status.code(), Some(0));
    let report = std::fs::read_to_string(&html).unwrap();
    assert!(report.contains("50.0 % of 2 recordings right (9 to 91 at 95 % confidence)"), "{report:.600}");
    assert!(report.contains("is <b>right</b>, said <b>left") && report.matches("<polyline").count() == 7, "one mistake, drawn");

    std::fs::write(&table, "file,label\nright/demo.y4m,left\nleft/demo.y4m,left\n").unwrap();
    assert_eq!(
        lookout(&["classify", &good, &bad, "--report", &page, "--labels", &table.display().to_string()]).status.code(),
        Some(0)
    );
    assert!(std::fs::read_to_string(&html).unwrap().contains("100.0 % of 2 recordings right"));
    std::fs::write(&table, "file,label\nleft/demo.y4m,Lift\n").unwrap();
    let out = lookout(&["classify", &good, "--report", &page, "--labels", &table.display().to_string()]);
    assert_eq!(out.status.code(), Some(2));
    assert!(sentence(&out).contains("label \"Lift\" found, the bundle has idle, left"), "{}", sentence(&out));
    // Two recordings of one name are two drawings.
    let drawings = dir.join("new/all");
    let _ = std::fs::remove_dir_all(dir.join("new"));
    assert_eq!(lookout(&["classify", &good, &bad, "--plot", &drawings.display().to_string()]).status.code(), Some(0));
    assert_eq!(std::fs::read_dir(&drawings).unwrap().count(), 2);
    let out = lookout(&["classify", &good, &bad, "--plot", &svg.display().to_string()]);
    assert!(out.status.code() == Some(2) && sentence(&out).contains("2 recordings need a folder"), "{}", sentence(&out));
}

/// What `record` and `label` write is what these commands take: a folder of recordings is each of them.
#[test]
fn a_folder_of_recordings_is_each_of_them_and_a_folder_of_pictures_is_one() {
    let dir = folder("clips");
    let _ = std::fs::remove_dir_all(&dir);
    ["all/right", "all/still", "pictures", "nothing"].iter().for_each(|name| drop(folder(&format!("clips/{name}"))));
    let at = |name: &str| dir.join(name).display().to_string();
    let moving = program::street(&dir.join("all/right/b.y4m"), 90, 2.5, 20..60);
    let still = program::street(&dir.join("all/still/c.y4m"), 60, 0.0, 0..0);
    let other = program::street(&dir.join("all/right/a.y4m"), 90, 2.5, 20..60);
    std::fs::write(at("all/labels.csv"), "file,label\nright/b.y4m,right\n").unwrap();
    for n in 0..4 {
        std::fs::write(at(&format!("pictures/{n}.pgm")), [b"P5\n32 32\n255\n".to_vec(), vec![90; 32 * 32]].concat()).unwrap();
    }
    std::fs::copy(&still, at("pictures/film.y4m")).unwrap();
    let (all, pictures, nothing) = (at("all"), at("pictures"), at("nothing"));
    let out = lookout(&["classify", "--json", &all, &pictures]);
    let said = String::from_utf8(out.stdout).unwrap();
    assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
    let line = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["clip"].as_str().unwrap().to_string();
    assert_eq!(said.lines().map(line).collect::<Vec<_>>(), [&other[..], &moving, &still, &pictures]);
    let out = lookout(&["classify", &nothing]);
    assert!(out.status.code() == Some(2) && sentence(&out).contains("no pictures in this folder"), "{}", sentence(&out));
    // The table has a line a segment; a recording without one is named beside it.
    let out = lookout(&["classify", "--csv", &all]);
    let log = String::from_utf8(out.stderr).unwrap();
    assert!(out.status.code() == Some(0) && log.contains(&format!("{still}: no segment\n")), "{log}");
    assert!(!log.contains(&moving) && String::from_utf8_lossy(&out.stdout).contains(&moving), "{log}");
    let out = lookout(&["index", &all, "--out", &at("all.index")]);
    assert!(
        String::from_utf8_lossy(&out.stdout).contains(" moments of 3 recordings "),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    std::fs::write(at("empty.toml"), "").unwrap();
    let teach =
        ["teach", "--ordinary", "--to", &at("ordinary.json"), "--state", &at("state"), "--config", &at("empty.toml"), &all];
    let out = lookout(&teach);
    assert!(
        String::from_utf8_lossy(&out.stdout).contains(": 3 recordings summed up"),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
}

/// One configuration, one answer: what `run` calls with it, `classify` calls.
#[test]
fn a_recording_is_answered_as_the_configured_box_would_and_every_tick_can_be_looked_at() {
    let dir = folder("configured");
    let at = |name: &str| dir.join(name).display().to_string();
    let clip = program::street(&dir.join("street.y4m"), 90, 2.5, 20..60);
    let classify = |more: &[&str]| program::lookout(&[&["classify", &clip, "--csv"], more].concat());
    let called = |out: &Output| String::from_utf8_lossy(&out.stdout).lines().filter(|line| line.contains(",right,")).count();
    assert!(called(&classify(&[])) > 0);
    std::fs::write(at("off.toml"), "[decision.label.right]\nenter = 1.0\n").unwrap();
    let off = classify(&["--config", &at("off.toml"), "--ticks", &at("ticks.csv"), "-v"]);
    assert_eq!((off.status.code(), called(&off)), (Some(0), 0));
    // Why: it came near enough by the bundle's own threshold.
    let log = String::from_utf8_lossy(&off.stderr);
    assert!(log.contains("right came to ") && log.contains(" and did not start: that takes 1 for "), "{log}");
    let ticks = std::fs::read_to_string(at("ticks.csv")).unwrap();
    assert!(ticks.starts_with("clip,ms,idle,left,right,"), "{ticks}");
    let column = |line: &str| line.split(',').nth(4).and_then(|p| p.parse::<f32>().ok());
    assert!(ticks.lines().skip(1).filter_map(column).any(|p| p > 0.8), "{ticks}");
    let bundle = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bundles/resnet");
    std::fs::write(at("other.toml"), format!("bundle = {:?}\n", bundle.display().to_string())).unwrap();
    let other = program::lookout(&["classify", &clip, "--json", "--config", &at("other.toml")]);
    let line: serde_json::Value = serde_json::from_slice(&other.stdout).unwrap();
    assert!(line["mean"].get("covered").is_none(), "{line}");
}
