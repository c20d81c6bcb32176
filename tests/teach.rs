//! The promise of `lookout teach`: a few shown examples make a class, nothing else changes, what cannot be taught is refused with a sentence, and what
//! was acknowledged survives a kill at any instant.
//!
//! Rows of numbers and a recurrent network alone: quick, and the same on every machine. Pictures are measured by `models/motion/teach.py`.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a failed step is a failed test, and a figure is said")]

mod program;

use lookout::report::Label;
use lookout::report::desk::{self, Command as Order};
use lookout::report::sentence::{Query, Sentence};
use lookout::store::sha256;
use lookout::taught::Taught;
use lookout::taught::lesson::Lesson;
use program::lookout;
use serialport::{SerialPort, TTYPort};
use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

const BUNDLE: &str = "tests/bundles/rows-lstm2";

fn folder(name: &str) -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("teach-{name}"));
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("empty.toml"), "").unwrap();
    dir
}

struct Random(u32);

impl Random {
    /// -1 to 1; the Numerical Recipes generator.
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 8) as f32 / (1 << 23) as f32 - 1.0
    }
}

/// A recording of 6 s: ordinary numbers wander slowly; `wave` goes up and down in one of them, `ripple` half as high, `pair` in two against each
/// other.
fn rows(dir: &Path, kind: &str, seed: u32) -> String {
    let (mut random, mut at, mut text) = (Random(seed * 7_919 + 17), [0.0f32; 6], String::new());
    for _ in 0..50 {
        random.next();
    }
    let (period, phase, high) = (8.0 + random.next(), 6.3 * random.next(), 3.0 + 0.5 * random.next());
    for tick in 0..60 {
        at.iter_mut().for_each(|v| *v = 0.85 * *v + 0.1 * random.next());
        let mut row = at;
        if tick >= 15 {
            let swing = high * (std::f32::consts::TAU * tick as f32 / period + phase).sin();
            match kind {
                "wave" => row[0] += swing,
                "ripple" => row[0] += 0.5 * swing,
                "pair" => (row[3], row[4]) = (row[3] + swing, row[4] - swing),
                _ => {}
            }
        }
        for (n, v) in row.iter().enumerate() {
            write!(text, "{}{v:.4}", if n > 0 { "," } else { "" }).unwrap();
        }
        text.push('\n');
    }
    let path = dir.join(format!("{kind}{seed}.csv"));
    std::fs::write(&path, text).unwrap();
    format!("features:{}", path.display())
}

fn call(dir: &Path, args: &[&str], clips: &[String]) -> Output {
    let (state, config) = (dir.join("state"), dir.join("empty.toml"));
    let mut all = vec!["teach", "--bundle", BUNDLE, "--state", state.to_str().unwrap(), "--config", config.to_str().unwrap()];
    all.extend(args);
    all.extend(clips.iter().map(String::as_str));
    lookout(&all)
}

fn said(out: Output) -> String {
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

/// The sentence of a refusal.
fn refused(out: Output) -> String {
    assert_eq!(out.status.code(), Some(2), "{}", String::from_utf8_lossy(&out.stdout));
    let text = String::from_utf8(out.stderr).unwrap();
    let ours: Vec<&str> = text.lines().filter(|l| !l.starts_with('[')).collect();
    assert_eq!(ours.len(), 1, "{text}");
    ours[0].into()
}

/// The one answer of each recording.
fn answers(dir: &Path, bundle: &str, taught: bool, clips: &[String]) -> Vec<String> {
    let state = dir.join("state");
    let mut all = vec!["classify", "--bundle", bundle, "--json", "--state", state.to_str().unwrap()];
    all.extend(taught.then_some("--taught"));
    all.extend(clips.iter().map(String::as_str));
    let lines = said(lookout(&all));
    lines.lines().map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap()["label"].as_str().unwrap().to_string()).collect()
}

fn some(dir: &Path, kind: &str, seeds: std::ops::Range<u32>) -> Vec<String> {
    seeds.map(|s| rows(dir, kind, s)).collect()
}

#[test]
fn five_examples_make_a_class_one_nearly_so_and_ordinary_answers_stay() {
    for (shots, least) in [(5, 0.85), (1, 0.6)] {
        let dir = folder(&format!("five{shots}"));
        let unseen = |kind: &str| some(&dir, kind, 1000..1020);
        let before = answers(&dir, BUNDLE, false, &unseen("ordinary"));
        said(call(&dir, &["--ordinary"], &some(&dir, "ordinary", 100..120)));
        said(call(&dir, &["wave"], &some(&dir, "wave", 0..shots)));
        said(call(&dir, &["pair"], &some(&dir, "pair", 0..shots)));
        for kind in ["wave", "pair"] {
            let right = answers(&dir, BUNDLE, true, &unseen(kind)).iter().filter(|a| *a == kind).count();
            println!("{kind}: {right} of 20 unseen with {shots} examples");
            assert!(right as f32 >= 20.0 * least);
        }
        let after = answers(&dir, BUNDLE, true, &unseen("ordinary"));
        let changed = before.iter().zip(&after).filter(|(a, b)| a != b).count();
        println!("ordinary: {changed} of 20 answers changed");
        assert_eq!(changed, 0);
        assert_eq!(answers(&dir, BUNDLE, false, &unseen("ordinary")), before, "without --taught nothing is different");
    }
}

/// The file is made by `models/motion/discriminant.py --golden tests/golden/taught.json`: lesson, states, and what numpy says of them in f64.
#[test]
fn what_numpy_computes_of_a_lesson_is_what_we_say() {
    let file: serde_json::Value = serde_json::from_str(include_str!("golden/taught.json")).unwrap();
    let rows = |key: &str| serde_json::from_value::<Vec<Vec<f32>>>(file[key].clone()).unwrap();
    let lesson = Lesson::parse(file["lesson"].to_string().as_bytes()).unwrap();
    let names = ["still", "go"].map(String::from);
    let mut taught = Taught::new(&lesson, &names, 3).unwrap().unwrap();
    // The same, where a class that was forgotten keeps its place between them.
    let labels = ["still", "go", "round", "gone", "up"].map(|l| Label::try_from(l).unwrap());
    let mut among = taught.clone().among(&labels, &lesson.labels());
    let mut worst = 0.0f32;
    for ((state, own), expected) in rows("states").iter().zip(rows("own")).zip(rows("expected")) {
        taught.take(&own);
        among.take(&own);
        let (said, moved) = (taught.judge(state).to_vec(), among.judge(state));
        worst = said.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(worst, f32::max);
        assert_eq!(moved, [said[0], said[1], said[3], 0.0, said[2]]);
    }
    println!("at most {worst:.1e} from numpy");
    assert!(worst < 1e-3);
}

/// What was never shown looks like what was, if there is nothing else to look like. A bundle's maker can show motions that have no name.
#[test]
fn what_resembles_a_motion_without_a_name_stays_unknown() {
    let dir = folder("nameless");
    let (bundle, motions) = (dir.join("bundle"), dir.join("motions/ripple"));
    std::fs::create_dir_all(&motions).unwrap();
    program::copy_bundle(BUNDLE, &bundle);
    (0..8).for_each(|seed| drop(rows(&motions, "ripple", 300 + seed)));
    let (bundle, to) = (bundle.to_str().unwrap().to_string(), bundle.join("ordinary.json"));
    let (ripples, waves) = (some(&dir, "ripple", 1000..1020), some(&dir, "wave", 1000..1020));
    let ordinary = some(&dir, "ordinary", 100..120);
    let mut called = [[0; 2]; 2];
    for (round, nameless) in [false, true].into_iter().enumerate() {
        let _ = std::fs::remove_dir_all(dir.join("state"));
        let (to, motions) = (to.to_str().unwrap(), dir.join("motions"));
        let mut args = vec!["teach", "--bundle", &bundle, "--ordinary", "--to", to];
        args.extend(if nameless { vec!["--nameless", motions.to_str().unwrap()] } else { vec![] });
        args.extend(ordinary.iter().map(String::as_str));
        said(lookout(&args));
        let (state, shown) = (dir.join("state"), some(&dir, "wave", 0..3));
        let mut args = vec!["teach", "--bundle", &bundle, "--state", state.to_str().unwrap(), "wave"];
        args.extend(shown.iter().map(String::as_str));
        said(lookout(&args));
        for (n, clips) in [&ripples, &waves].into_iter().enumerate() {
            called[round][n] = answers(&dir, &bundle, true, clips).iter().filter(|a| *a == "wave").count();
        }
    }
    // It goes along where the bundle is installed, and another one's does not.
    let (there, config) = (dir.join("there"), dir.join("there.toml"));
    std::fs::write(&config, format!("state = {there:?}\nsource = \"features:-\"\n")).unwrap();
    let config = config.to_str().unwrap();
    said(lookout(&["install", "--config", config, &bundle]));
    let mut args = vec!["teach", "--config", config, "wave"];
    let shown = some(&dir, "wave", 0..3);
    args.extend(shown.iter().map(String::as_str));
    assert!(said(lookout(&args)).contains("wave, class 4, 3 examples"));
    let strange = std::fs::read_to_string(&to).unwrap();
    let at = strange.find("\"bundle\":\"").unwrap() + 10;
    std::fs::write(&to, [&strange[..at], &"0".repeat(64), &strange[at + 64..]].concat()).unwrap();
    std::fs::remove_dir_all(&there).unwrap();
    let out = lookout(&["install", "--config", config, &bundle]);
    let log = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.success() && log.contains("it belongs to bundle 00000000") && log.contains("left behind"), "{log}");
    let [[before, _], [after, right]] = called;
    println!("called a wave: {before} of 20 ripples, {after} with ripples among the motions without a name; {right} of 20 waves");
    assert!(before >= 10 && after <= 2 && right >= 17, "{before}, {after}, {right}");
}

#[test]
fn a_class_is_listed_forgotten_brought_back_and_exported_as_a_bundle() {
    let dir = folder("steps");
    let refusal = refused(call(&dir, &["wave"], &some(&dir, "wave", 0..2)));
    assert!(refusal.contains("--ordinary"), "{refusal}");
    said(call(&dir, &["--ordinary"], &some(&dir, "ordinary", 100..110)));
    said(call(&dir, &["wave"], &some(&dir, "wave", 0..3)));
    assert!(said(call(&dir, &["pair"], &some(&dir, "pair", 0..3))).contains("pair, class 5, 3 examples"));
    assert!(!said(call(&dir, &["--forget", "wave"], &[])).contains("wave"));
    assert!(refused(call(&dir, &["--forget", "wave"], &[])).contains("taught: pair"));
    let list = said(call(&dir, &["--undo"], &[]));
    assert!(list.contains("wave, class 4, 3 examples"), "{list}");
    let list: serde_json::Value = serde_json::from_str(&said(call(&dir, &["--list", "--json"], &[]))).unwrap();
    assert_eq!(list["taught"], serde_json::json!({ "wave": 3, "pair": 3 }));
    let config = dir.join("box.toml");
    std::fs::write(&config, format!("bundle = {BUNDLE:?}\nstate = {:?}\n", dir.join("state"))).unwrap();
    let doctor = lookout(&["doctor", "--config", config.to_str().unwrap()]);
    let doctor = String::from_utf8(doctor.stdout).unwrap();
    assert!(doctor.contains("wave, pair (6 examples)") && doctor.contains("shake, wave, pair"), "{doctor}");

    // What the configuration names cannot be forgotten: `run` would not start without it.
    std::fs::write(
        &config,
        format!("bundle = {BUNDLE:?}\nstate = {:?}\n[decision.label.pair]\nenter = 0.9\n", dir.join("state")),
    )
    .unwrap();
    let config = config.to_str().unwrap();
    let forget = |label: &str| lookout(&["teach", "--config", config, "--forget", label]);
    let why = refused(forget("pair"));
    assert!(why.contains("box.toml: decision.label names pair"), "{why}");
    assert!(!said(forget("wave")).contains("wave"));
    assert!(said(call(&dir, &["--undo"], &[])).contains("wave, class 4, 3 examples"));

    let exported = dir.join("exported");
    let to = exported.to_str().unwrap();
    said(call(&dir, &["--export", to], &[]));
    let unseen: Vec<String> = ["wave", "pair", "ordinary"].iter().flat_map(|k| some(&dir, k, 2000..2005)).collect();
    assert_eq!(answers(&dir, to, false, &unseen), answers(&dir, BUNDLE, true, &unseen), "the bundle knows what the box knows");
    let checked = said(lookout(&["check", to]));
    assert!(checked.contains("wave pair (6 examples)"), "{checked}");
    assert!(refused(call(&dir, &["--export", to], &[])).contains("not empty"));
    // What lies in the exported folder is covered by its hash.
    let file = exported.join("taught.json");
    std::fs::write(&file, std::fs::read_to_string(&file).unwrap().replace("wave", "tide")).unwrap();
    assert!(refused(lookout(&["check", to])).contains("taught.json: sha256"));
}

#[test]
fn what_cannot_be_taught_is_refused_and_changes_nothing() {
    let dir = folder("refused");
    said(call(&dir, &["--ordinary"], &some(&dir, "ordinary", 100..110)));
    said(call(&dir, &["wave"], &some(&dir, "wave", 0..3)));
    let before = std::fs::read_dir(dir.join("state/taught"))
        .unwrap()
        .map(|e| std::fs::read(e.unwrap().path()).unwrap())
        .collect::<Vec<_>>();
    let short = dir.join("short.csv");
    std::fs::write(&short, "1,2,3,4,5,6\n").unwrap();
    let (short, wave) = (format!("features:{}", short.display()), rows(&dir, "wave", 1));
    let mess = [some(&dir, "wave", 10..12), some(&dir, "pair", 0..2), some(&dir, "ordinary", 400..405)].concat();
    for (args, clips, names) in [
        (vec!["pair"], vec![], "no example"),
        (vec![], vec![], "which class?"),
        (vec!["pair"], vec![wave.clone()], "shown as wave before"),
        (vec!["wave"], vec![wave], "it counts already"),
        (vec!["pair"], [rows(&dir, "pair", 1), rows(&dir, "pair", 1)].to_vec(), "counts once"),
        (vec!["nothing"], some(&dir, "ordinary", 300..304), "cannot be told from"),
        // Two things and nothing at all are no class; and an ordinary day full of waves would leave no wave.
        (vec!["mess"], mess, " of 9 examples contradict it: "),
        (vec!["--ordinary"], some(&dir, "wave", 500..505), "wave: 3 of 3 examples contradict it: "),
        (vec!["left"], some(&dir, "pair", 0..1), "a class of the bundle already"),
        (vec!["Big Label"], some(&dir, "pair", 0..1), "expected 1 to 32 of a-z"),
        (vec!["pair"], vec![short], "too short"),
        (vec!["pair"], vec!["nowhere.y4m".into()], "nowhere.y4m"),
        (vec!["pair", "--source", "features:-", "--seconds", "900"], vec![], "1 to 60"),
    ] {
        let sentence = refused(call(&dir, &args, &clips));
        assert!(sentence.contains(names), "{args:?}: {sentence}");
    }
    let sentence = refused(call(&dir, &["--ordinary"], &some(&dir, "wave", 500..520)));
    let why = "wave: its examples cannot be told from ";
    assert!(sentence.contains(why) && sentence.ends_with("; nothing was changed"), "{sentence}");
    // Another bundle's lesson, put where this one's belongs.
    let ours = std::fs::read_dir(dir.join("state/taught")).unwrap().next().unwrap().unwrap().path();
    assert_eq!(before[0], std::fs::read(&ours).unwrap(), "nothing was changed");
    let text = std::fs::read_to_string(&ours).unwrap();
    std::fs::write(&ours, text.replacen("\"bundle\":\"", "\"bundle\":\"f00d", 1)).unwrap();
    let out = call(&dir, &["--list"], &[]);
    assert_eq!(out.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&out.stderr).contains("taught on bundle f00d"), "{}", String::from_utf8_lossy(&out.stderr));
}

/// What earlier versions let be taught may be of no use: it is taken away step by step, and said as long as it is so.
#[test]
fn what_was_shown_can_be_taken_away_whatever_is_left() {
    let dir = folder("less");
    said(call(&dir, &["--ordinary"], &some(&dir, "ordinary", 100..110)));
    said(call(&dir, &["wave"], &some(&dir, "wave", 0..3)));
    said(call(&dir, &["pair"], &some(&dir, "pair", 0..3)));
    // An ordinary day full of waves, which is refused now.
    let day = dir.join("day.json");
    said(call(&dir, &["--ordinary", "--to", day.to_str().unwrap()], &some(&dir, "wave", 500..520)));
    let json = |path: &Path| serde_json::from_slice::<serde_json::Value>(&std::fs::read(path).unwrap()).unwrap();
    let kept = std::fs::read_dir(dir.join("state/taught")).unwrap().next().unwrap().unwrap().path();
    let mut lesson = json(&kept);
    let step = serde_json::json!({ "ordinary": { "recordings": 20, "moments": json(&day)["ordinary"] } });
    lesson["steps"].as_array_mut().unwrap().push(step);
    std::fs::write(&kept, lesson.to_string()).unwrap();

    // Over the wire, on a box that runs without its taught classes.
    let mut armed = Wired::start(&dir, true);
    (0..30).for_each(|_| armed.feed());
    assert_eq!(armed.say(Order::Forget(Label::try_from("pair").unwrap())), "$PLKTA,TEACH,forgot pair; the others are off");
    drop(armed);
    let useless = "WARN  lookout::cli::teach] what is left cannot be used, so no taught class is called: wave: its examples cannot be told from ";
    for (args, left, warned) in [
        (&["--undo"][..], "pair, class 5, 3 examples", true),
        (&["--forget", "pair"][..], "wave, class 4, 3 examples", true),
        (&["--undo"][..], "pair, class 5, 3 examples", true),
        (&["--forget", "wave"][..], "pair, class 4, 3 examples", false),
    ] {
        let out = call(&dir, args, &[]);
        let log = String::from_utf8(out.stderr.clone()).unwrap();
        assert!(log.contains(useless) == warned, "{args:?}: {log}");
        let list = said(out);
        assert!(list.contains(left), "{args:?}: {list}");
    }
}

/// What was taught is of the bundle that runs on the box: that one is asked, without being named again.
#[test]
fn what_was_taught_on_an_installed_bundle_is_asked_of_that_bundle() {
    let dir = folder("installed");
    let (state, config) = (dir.join("state").display().to_string(), dir.join("box.toml").display().to_string());
    std::fs::write(&config, format!("state = {state:?}\nsource = \"features:-\"\n")).unwrap();
    said(lookout(&["install", "--config", &config, BUNDLE]));
    for (what, clips) in [("--ordinary", some(&dir, "ordinary", 100..110)), ("wave", some(&dir, "wave", 0..3))] {
        let clips: Vec<&str> = clips.iter().map(String::as_str).collect();
        said(lookout(&[&["teach", "--config", &config, what], &clips[..]].concat()));
    }
    let unseen = [some(&dir, "wave", 1000..1005), some(&dir, "ordinary", 1000..1005)].concat();
    let named = answers(&dir, BUNDLE, true, &unseen);
    assert!(named.iter().any(|label| label == "wave"), "{named:?}");
    let clips: Vec<&str> = unseen.iter().map(String::as_str).collect();
    for known in [&["--taught", "--config", &config][..], &["--taught", "--config", &config, "--state", &state][..]] {
        let lines = said(lookout(&[&["classify", "--json"], known, &clips[..]].concat()));
        let label = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["label"].as_str().unwrap().to_string();
        assert_eq!(lines.lines().map(label).collect::<Vec<_>>(), named, "{known:?}");
    }
}

/// Thresholds are found for all that the box calls out, and a bundle on which that was not taught, as after an update of the program, still watches.
#[test]
fn a_taught_class_is_calibrated_and_another_bundle_runs_without_it() {
    let dir = folder("calibrated");
    let config = dir.join("box.toml").display().to_string();
    std::fs::write(&config, format!("state = {:?}\nsource = \"features:-\"\n", dir.join("state"))).unwrap();
    said(lookout(&["install", "--config", &config, BUNDLE]));
    for (what, clips) in [("--ordinary", some(&dir, "ordinary", 100..110)), ("wave", some(&dir, "wave", 0..3))] {
        let clips: Vec<&str> = clips.iter().map(String::as_str).collect();
        said(lookout(&[&["teach", "--config", &config, what], &clips[..]].concat()));
    }
    let wave = rows(&dir, "wave", 1000);
    said(lookout(&["calibrate", "--config", &config, "--into", &config, &wave]));
    let text = std::fs::read_to_string(&config).unwrap();
    assert!(text.contains("[decision.label.wave]\n"), "{text}");
    let run = |bundle: &[&str]| {
        let given = ["run", "--config", &config, "--board", "host", "--report", "stdout", "--source", &wave];
        let out = lookout(&[&given[..], bundle].concat());
        let log = String::from_utf8(out.stderr).unwrap();
        assert!(out.status.success(), "{log}");
        (String::from_utf8(out.stdout).unwrap(), log)
    };
    let (heard, log) = run(&[]);
    assert!(!heard.contains(",FALLBACK,") && !log.contains("not called"), "{heard}{log}");
    let (heard, log) = run(&["--bundle", "tests/bundles/rows-gru"]);
    assert!(heard.contains(",FALLBACK,"), "{heard}{log}");
    assert!(
        log.contains("wave: taught on bundle ") && log.contains("no class \"wave\", it has idle, left, right, shake; left alone"),
        "{log}"
    );
    // What the box runs already may be installed again, thresholds of taught classes and all.
    said(lookout(&["install", "--config", &config, BUNDLE]));
    // Without its state folder it watches with less; a class that its owner named himself is still missed.
    let (state, away) = (dir.join("state"), dir.join("away"));
    std::fs::rename(&state, &away).unwrap();
    let (heard, log) = run(&["--bundle", BUNDLE]);
    assert!(heard.contains(",FALLBACK,") && log.contains("no class \"wave\""), "{heard}{log}");
    let _ = std::fs::remove_dir_all(&state);
    std::fs::rename(&away, &state).unwrap();
    std::fs::write(&config, format!("[decision.label.wawe]\nenter = 0.9\n{text}")).unwrap();
    let out = lookout(&["run", "--config", &config, "--board", "host", "--report", "stdout", "--source", &wave]);
    assert_eq!(out.status.code(), Some(2), "a slip of the pen is none of a taught class");
    std::fs::write(&config, &text).unwrap();
    // So it is said before anybody misses it.
    let out = lookout(&["doctor", "--config", &config, "--board", "host", "--json"]);
    assert!(!String::from_utf8(out.stdout).unwrap().contains("not called"));
    let plain = text.split("# >>>").next().unwrap();
    std::fs::write(&config, plain).unwrap();
    let out = lookout(&["install", "--config", &config, "tests/bundles/rows-gru"]);
    let log = String::from_utf8(out.stderr).unwrap();
    assert!(out.status.success() && log.contains("wave: taught on bundle "), "{log}");
    let out = lookout(&["doctor", "--config", &config, "--board", "host"]);
    let found = String::from_utf8(out.stdout).unwrap();
    assert!(found.contains("~ taught   wave: taught on bundle ") && found.contains(": not called\n"), "{found}");
    std::fs::write(&config, &text).unwrap();
    let out = lookout(&["doctor", "--config", &config, "--board", "host"]);
    let found = String::from_utf8(out.stdout).unwrap();
    assert!(found.contains("no class \"wave\"") && found.contains("; left alone while another bundle runs"), "{found}");
}

#[test]
fn a_kill_at_any_instant_loses_nothing_that_was_acknowledged() {
    let dir = folder("kill");
    said(call(&dir, &["--ordinary"], &some(&dir, "ordinary", 100..110)));
    let start = std::time::Instant::now();
    said(call(&dir, &["wave"], &some(&dir, "wave", 400..401)));
    let whole = start.elapsed();
    let (mut acknowledged, mut killed) = (1, 0);
    for round in 0..40u32 {
        let clip = rows(&dir, "wave", 500 + round);
        let (state, config) = (dir.join("state"), dir.join("empty.toml"));
        let mut child = program::command(&["teach", "--bundle", BUNDLE, "--json", "wave", &clip])
            .args(["--state", state.to_str().unwrap(), "--config", config.to_str().unwrap()])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // From before it has begun to after it is done, most often where it writes: at the end.
        std::thread::sleep(whole.mul_f32(if round < 8 { round as f32 / 8.0 } else { 0.6 + round as f32 / 60.0 }));
        let _ = child.kill();
        let out = child.wait_with_output().unwrap();
        let said_so = String::from_utf8(out.stdout).unwrap().contains("\"wave\"");
        killed += u32::from(!said_so);
        let list: serde_json::Value = serde_json::from_str(&said(call(&dir, &["--list", "--json"], &[]))).unwrap();
        let now = list["taught"]["wave"].as_u64().unwrap_or(0);
        // One that was not acknowledged may be there or not; one that was, must.
        let least = acknowledged + u64::from(said_so);
        assert!(
            now == least || (!said_so && now == acknowledged + 1),
            "round {round}: {now} examples, {acknowledged} before, said so: {said_so}"
        );
        acknowledged = now;
    }
    println!("{killed} of 40 teachers were killed before they said so; {acknowledged} examples are kept");
    assert!(killed > 0, "none was killed in time");
    said(call(&dir, &["wave"], &some(&dir, "wave", 900..901)));
}

/// A running box whose rows the test writes and whose wire the test reads.
struct Wired {
    child: std::process::Child,
    rows: std::process::ChildStdin,
    master: TTYPort,
    _near: TTYPort,
    tick: u32,
    heard: String,
    asked: Option<Instant>,
}

impl Wired {
    fn start(dir: &Path, armed: bool) -> Self {
        Self::with(dir, armed, &["--bundle", BUNDLE])
    }

    /// The same with these arguments more; its log is `run.log`.
    fn with(dir: &Path, armed: bool, more: &[&str]) -> Self {
        let (mut master, near) = TTYPort::pair().unwrap();
        master.set_timeout(Duration::from_millis(5)).unwrap();
        let config = dir.join(if armed { "armed.toml" } else { "asleep.toml" });
        std::fs::write(&config, if armed { "[commands]\narmed = true\n" } else { "" }).unwrap();
        let serial = format!("serial:{}", near.name().unwrap());
        let mut child = program::command(&["run", "--board", "host", "--source", "features:-"])
            .args(["--report", &serial, "--state", dir.join("state").to_str().unwrap(), "--config", config.to_str().unwrap()])
            .args(more)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(dir.join("run.log")).unwrap())
            .spawn()
            .unwrap();
        let rows = child.stdin.take().unwrap();
        Self { child, rows, master, _near: near, tick: 0, heard: String::new(), asked: None }
    }

    /// One tick of a wave.
    fn feed(&mut self) {
        let swing = 3.0 * (std::f32::consts::TAU * self.tick as f32 / 8.0).sin();
        self.tick += 1;
        writeln!(self.rows, "{swing},0.1,0.2,-0.1,0,0.3").unwrap();
        self.rows.flush().unwrap();
        std::thread::sleep(Duration::from_millis(20));
        let mut buffer = [0; 1024];
        if let Ok(n) = self.master.read(&mut buffer) {
            self.heard.push_str(std::str::from_utf8(&buffer[..n]).unwrap());
        }
    }

    /// Says a command, not too soon after the last, and goes on feeding until it is answered.
    fn say(&mut self, command: Order) -> String {
        while self.asked.is_some_and(|asked| asked.elapsed() < desk::LEAST) {
            self.feed();
        }
        let answer = self.answer(&Sentence::Command(command));
        // From the answer on: the box counts from when it took the command, which is later than when that was sent.
        self.asked = Some(Instant::now());
        answer
    }

    /// The labels.
    fn ask(&mut self) -> String {
        self.answer(&Sentence::Query(Query::Labels))
    }

    fn answer(&mut self, said: &Sentence) -> String {
        self.heard.clear();
        self.master.write_all(said.encode().as_bytes()).unwrap();
        for _ in 0..1000 {
            self.feed();
            if let Some(line) =
                self.heard.lines().find(|l| l.starts_with("$PLKTA,") && l.len() > 15 && l[l.len() - 3..].starts_with('*'))
            {
                return line.rsplit_once(',').unwrap().0.to_string();
            }
        }
        panic!("no answer: {}", self.heard);
    }
}

impl Drop for Wired {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Two installs sweep away the bundle that still runs, and what its maker knew to be ordinary with it.
#[test]
fn a_box_can_be_taught_when_the_bundle_that_it_runs_lies_there_no_more() {
    let dir = folder("swept");
    let (bundle, config) = (dir.join("bundle"), dir.join("box.toml"));
    std::fs::write(&config, format!("state = {:?}\nsource = \"features:-\"\n", dir.join("state"))).unwrap();
    program::copy_bundle(BUNDLE, &bundle);
    let to = bundle.join("ordinary.json");
    said(call(&dir, &["--ordinary", "--to", to.to_str().unwrap()], &some(&dir, "ordinary", 100..110)));
    let install = |bundle: &str| said(lookout(&["install", "--config", config.to_str().unwrap(), bundle]));
    install(bundle.to_str().unwrap());
    let wave = || Label::try_from("wave").unwrap();
    let mut armed = Wired::with(&dir, true, &[]);
    assert_eq!(armed.say(Order::Keep(wave())), "$PLKTA,ERROR,not showing wave");
    install("tests/bundles/rows-gru");
    install("tests/bundles/rows-rnn");
    let hash = sha256(&std::fs::read(bundle.join("bundle.toml")).unwrap());
    assert!(!dir.join("state/bundles").join(hash).exists(), "it was swept away");
    assert_eq!(armed.say(Order::Teach(wave())), "$PLKTA,TEACH,showing wave");
    (0..40).for_each(|_| armed.feed());
    assert_eq!(armed.say(Order::Keep(wave())), "$PLKTA,TEACH,kept wave 1");
}

#[test]
fn an_armed_box_learns_over_the_wire_and_any_other_does_not() {
    let dir = folder("wire");
    said(call(&dir, &["--ordinary"], &some(&dir, "ordinary", 100..110)));
    let label = |text: &str| Label::try_from(text).unwrap();
    let mut asleep = Wired::start(&dir, false);
    assert_eq!(asleep.say(Order::Teach(label("wave"))), "$PLKTA,ERROR,not armed; see [commands]");
    drop(asleep);
    assert!(!said(call(&dir, &["--list"], &[])).contains("wave"), "nothing was changed");

    let mut armed = Wired::start(&dir, true);
    // The head is warm before the example begins.
    (0..30).for_each(|_| armed.feed());
    assert_eq!(armed.say(Order::Keep(label("wave"))), "$PLKTA,ERROR,not showing wave");
    assert_eq!(armed.say(Order::Teach(label("left"))), "$PLKTA,ERROR,left is a class of the bundle");
    assert_eq!(armed.say(Order::Teach(label("wave"))), "$PLKTA,TEACH,showing wave");
    // One example at a time: another class waits, the same begins anew.
    assert_eq!(armed.say(Order::Teach(label("pair"))), "$PLKTA,ERROR,showing wave; KEEP or FORGET ends it");
    assert_eq!(armed.say(Order::Teach(label("wave"))), "$PLKTA,TEACH,showing wave");
    (0..40).for_each(|_| armed.feed());
    assert!(!armed.heard.contains(",wave,"), "nobody has a name for it yet");
    assert_eq!(armed.say(Order::Keep(label("wave"))), "$PLKTA,TEACH,kept wave 1");
    // The wire has room for the beginning of a reason; the log has all of it.
    let long = "a".repeat(32);
    assert_eq!(armed.say(Order::Forget(label(&long))), format!("$PLKTA,ERROR,{long} was not"));
    let log = std::fs::read_to_string(dir.join("run.log")).unwrap();
    assert!(log.contains(&format!("commanded: {long} was not taught\n")), "{log}");
    // It counts at once.
    armed.heard.clear();
    (0..60).for_each(|_| armed.feed());
    assert!(armed.heard.contains(",wave,"), "it calls out what it was shown: {}", armed.heard);
    assert_eq!(armed.ask(), "$PLKTA,LABELS,1/1,0,idle,left,right,shake,wave");
    // Acknowledged is on the card: SIGKILL.
    drop(armed);
    assert!(said(call(&dir, &["--list"], &[])).contains("wave, class 4, 1 example"));
    let mut again = Wired::start(&dir, true);
    (0..120).for_each(|_| again.feed());
    assert!(again.heard.contains(",wave,"), "it calls out what it was shown: {}", again.heard);
    assert_eq!(again.say(Order::Forget(label("wave"))), "$PLKTA,TEACH,forgot wave");
    (0..20).for_each(|_| again.feed());
    again.heard.clear();
    (0..100).for_each(|_| again.feed());
    assert!(again.heard.contains("$PLKT") && !again.heard.contains(",wave,"), "forgotten at once: {}", again.heard);
    drop(again);
    assert!(said(call(&dir, &["--list"], &[])).contains("taught   nothing"));
}
