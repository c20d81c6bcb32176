//! The promise of `lookout install`: a bundle that is right runs from the next start on; one that is wrong is refused with one
//! sentence and changes nothing; and whatever happens to the files afterwards, `lookout run` finds a bundle that works and
//! says so when it is not the one that should run.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test stops where something is missing and says what it saw")]

mod program;

use lookout::store::sha256;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, Instant};

/// A configuration for bundles that take rows of numbers.
const ROWS: &str = "source = \"features:-\"\n";

/// A state folder, a bundle to install and a configuration, all in a folder of this test's own.
struct Box {
    dir: PathBuf,
}

impl Box {
    fn new(name: &str) -> Self {
        let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("install-{name}"));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("lookout.toml"), ROWS).unwrap();
        Self { dir }
    }

    fn configure(&self, text: &str) {
        fs::write(self.dir.join("lookout.toml"), text).unwrap();
    }

    fn state(&self) -> PathBuf {
        self.dir.join("state")
    }

    /// A copy of one of `tests/bundles`, to be installed or broken.
    fn copy(&self, name: &str) -> PathBuf {
        let to = self.dir.join("bundle");
        let _ = fs::remove_dir_all(&to);
        program::copy_bundle(Path::new("tests/bundles").join(name), &to);
        to
    }

    fn call(&self, command: &str, args: &[&str]) -> Output {
        program::command(&[command])
            .args(["--config".into(), self.dir.join("lookout.toml"), "--state".into(), self.state()])
            .args(args)
            .output()
            .unwrap()
    }

    fn install(&self, bundle: &Path) -> Output {
        self.call("install", &["--json", &bundle.display().to_string()])
    }

    /// Installs what must be right; its hash.
    fn installed(&self, bundle: &Path) -> String {
        let out = self.install(bundle);
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        json(&out)["hash"].as_str().unwrap().into()
    }

    /// What `lookout run` would take: where from, which hash, and why it is not the installed one.
    fn chosen(&self) -> (String, String, String) {
        let found = json(&self.call("install", &["--json"]));
        let text = |key: &str| found[key].as_str().unwrap_or_default().to_string();
        (text("from"), text("hash"), text("trouble"))
    }

    /// Forty rows of nothing, as a source.
    fn rows(&self) -> String {
        let rows = self.dir.join("rows.csv");
        fs::write(&rows, "0 0 0 0 0 0\n".repeat(40)).unwrap();
        format!("features:{}", rows.display())
    }

    /// Forty pictures of nothing, as a source.
    fn film(&self) -> String {
        let film = self.dir.join("film.y4m");
        let frame = [b"FRAME\n".to_vec(), vec![90; 32 * 32]].concat();
        fs::write(&film, [b"YUV4MPEG2 W32 H32 F10:1 Cmono\n".to_vec(), frame.repeat(40)].concat()).unwrap();
        format!("y4m:{}", film.display())
    }

    /// Turns a bit of the card under an installed network.
    fn damage(&self, hash: &str) {
        flip(&self.state().join("bundles").join(hash).join("head.onnx"), |n| n / 2);
    }

    /// `run` with this source and these reports: what it says, and its log.
    fn runs(&self, source: &str, more: &[&str]) -> (String, String) {
        let out = self.call("run", &[&["--source", source, "--report", "stdout"][..], more].concat());
        let log = String::from_utf8(out.stderr).unwrap();
        assert!(out.status.success(), "{log}");
        (String::from_utf8(out.stdout).unwrap(), log)
    }

    /// Everything in the state folder, to see that nothing changed.
    fn everything(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut all = vec![];
        let mut left = vec![self.state()];
        while let Some(dir) = left.pop() {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { left.push(path) } else { all.push((path.clone(), fs::read(path).unwrap())) }
            }
        }
        all.sort();
        all
    }
}

fn json(out: &Output) -> Value {
    serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {out:?}"))
}

/// The one sentence of a refusal, and its exit code.
fn refusal(out: &Output) -> (i32, String) {
    let text = String::from_utf8(out.stderr.clone()).unwrap();
    let ours: Vec<&str> = text.lines().filter(|l| !l.starts_with('[')).collect();
    assert!(ours.len() == 1 && ours[0].starts_with("lookout: ") && ours[0].len() < 500, "one sentence expected: {text}");
    assert!(out.stdout.is_empty(), "{}", String::from_utf8_lossy(&out.stdout));
    (out.status.code().unwrap(), ours[0].into())
}

fn replace(file: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(file).unwrap();
    assert!(text.contains(from), "{from:?} stands in {}", file.display());
    fs::write(file, text.replacen(from, to, 1)).unwrap();
}

/// Makes the hashes in `bundle.toml` those of the files as they are now.
fn rehash(dir: &Path) {
    let text = fs::read_to_string(dir.join("bundle.toml")).unwrap();
    let line = |line: &str| match line.strip_prefix('"').and_then(|l| l.split_once('"')) {
        Some((name, _)) => {
            let hash = sha256(&fs::read(dir.join(name)).unwrap());
            format!("\"{name}\" = \"{hash}\"\n")
        }
        None => format!("{line}\n"),
    };
    fs::write(dir.join("bundle.toml"), text.lines().map(line).collect::<String>()).unwrap();
}

fn flip(file: &Path, at: impl Fn(usize) -> usize) {
    let mut bytes = fs::read(file).unwrap();
    let at = at(bytes.len());
    bytes[at] ^= 0x40;
    fs::write(file, bytes).unwrap();
}

#[test]
fn what_is_installed_runs_and_one_step_back_is_possible() {
    let here = Box::new("right");
    assert_eq!(here.chosen().0, "built-in");
    assert_eq!(refusal(&here.call("install", &["--undo"])).0, 2, "nothing to undo");
    let first = here.installed(&here.copy("rows-lstm"));
    assert_eq!(here.chosen(), ("installed".into(), first.clone(), String::new()));
    let begun = Instant::now();
    let second = here.installed(&here.copy("rows-gru"));
    println!("install: rows-gru in {} ms", begun.elapsed().as_millis());
    assert_eq!(here.chosen().1, second);

    let (said, log) = here.runs(&here.rows(), &[]);
    assert!(said.contains(&format!(",{},", &second[..8])), "{said}");
    assert!(log.contains("rows-gru 1.0.0"), "the log names it");

    for expected in [&first, &second] {
        assert!(here.call("install", &["--undo"]).status.success());
        assert_eq!(&here.chosen().1, expected);
    }
    // The same once more is no step, and a third one sweeps the first away.
    here.installed(&here.copy("rows-gru"));
    assert!(here.state().join("bundles").join(&first).is_dir());
    here.installed(&here.copy("rows-rnn"));
    let kept = fs::read_dir(here.state().join("bundles")).unwrap().count();
    assert!(kept == 2 && !here.state().join("bundles").join(&first).exists(), "{kept} bundles kept");
}

/// What may run just now is never out of its place: a kill or a broken card in the middle would lose it.
#[test]
fn a_bundle_that_is_installed_again_with_something_new_beside_it_stays_where_it_is() {
    let here = Box::new("again");
    let bundle = here.copy("rows-lstm");
    let hash = here.installed(&bundle);
    let kept = here.state().join("bundles").join(&hash);
    let places = || [".", "bundle.toml", "head.onnx"].map(|name| fs::metadata(kept.join(name)).unwrap().ino());
    let before = places();
    for signature in ["the first", "another"] {
        fs::write(bundle.join("bundle.toml.minisig"), signature).unwrap();
        assert_eq!(here.installed(&bundle), hash);
        assert_eq!(fs::read_to_string(kept.join("bundle.toml.minisig")).unwrap(), signature);
        assert_eq!(places(), before, "the folder and what its hash covers are the same ones");
    }
    let names = |dir: &Path| fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name()).collect::<BTreeSet<_>>();
    assert_eq!(names(&kept), names(&bundle), "nothing half written");
    assert_eq!(here.chosen(), ("installed".into(), hash, String::new()));
}

#[test]
fn a_hash_may_be_written_in_capital_letters() {
    let here = Box::new("capitals");
    let bundle = here.copy("rows-lstm");
    let hash = sha256(&fs::read(bundle.join("head.onnx")).unwrap());
    replace(&bundle.join("bundle.toml"), &hash, &hash.to_uppercase());
    here.installed(&bundle);
}

/// M3: a kind of mismatch, what is done to a copy of rows-lstm, and what the sentence names.
type Mismatch = (&'static str, fn(&Path), &'static [&'static str]);

#[test]
fn every_kind_of_mismatch_is_refused_and_the_last_good_one_stays() {
    const KINDS: [Mismatch; 14] = [
        ("labels", |d| replace(&d.join("bundle.toml"), r#", "shake"]"#, "]"), &["head.onnx", "3", "4"]),
        ("label not allowed", |d| replace(&d.join("bundle.toml"), "left", "Left!"), &["head.labels", "Left!"]),
        (
            "background",
            |d| replace(&d.join("bundle.toml"), r#"background = "idle""#, r#"background = "x""#),
            &["head.background"],
        ),
        ("features", |d| replace(&d.join("bundle.toml"), "features = 6", "features = 7"), &["head.onnx", "6", "7"]),
        ("window", |d| replace(&d.join("bundle.toml"), "window = 12", "window = 11"), &["head.onnx", "12", "11"]),
        ("unknown key", |d| replace(&d.join("bundle.toml"), "tick_ms = 100", "tick_ms = 100\ntick_hz = 10"), &["tick_hz"]),
        ("hash", |d| flip(&d.join("head.onnx"), |n| n - 1), &["head.onnx", "sha256"]),
        ("file missing", |d| fs::remove_file(d.join("head.onnx")).unwrap(), &["head.onnx", "No such file"]),
        ("contract missing", |d| fs::remove_file(d.join("bundle.toml")).unwrap(), &["bundle.toml"]),
        (
            "another network",
            |d| {
                fs::copy("tests/bundles/rows-lstm2/head.onnx", d.join("head.onnx")).unwrap();
                rehash(d);
            },
            &["golden logits", "at most"],
        ),
        (
            "golden vectors",
            |d| {
                flip(&d.join("golden_logits.npy"), |n| n - 1);
                rehash(d);
            },
            &["golden logits", "at most"],
        ),
        (
            "no golden vectors",
            |d| {
                let text = fs::read_to_string(d.join("bundle.toml")).unwrap();
                let (head, tail) = (text.split("[golden]").next().unwrap(), text.split("[files]").nth(1).unwrap());
                fs::write(d.join("bundle.toml"), format!("{head}[files]{tail}")).unwrap();
            },
            &["no golden vectors"],
        ),
        (
            "no network",
            |d| {
                fs::write(d.join("head.onnx"), "this is not a network").unwrap();
                rehash(d);
            },
            &["head.onnx", "ONNX"],
        ),
        ("path", |d| replace(&d.join("bundle.toml"), "\"head.onnx\" = ", "\"../head.onnx\" = "), &["../head.onnx"]),
    ];
    let here = Box::new("wrong");
    let good = here.installed(&here.copy("rows-gru"));
    let before = here.everything();
    for (kind, breaks, names) in KINDS {
        let bundle = here.copy("rows-lstm");
        breaks(&bundle);
        let (code, said) = refusal(&here.install(&bundle));
        println!("{kind}: {said}");
        assert_eq!(code, 2, "{kind}");
        assert!(names.iter().all(|n| said.contains(n)), "{kind}: {names:?} expected in: {said}");
        assert!(here.everything() == before, "{kind}: the state folder changed");
    }
    assert_eq!(here.chosen(), ("installed".into(), good, String::new()));
    println!("M3: {} kinds refused, the last good bundle stays", KINDS.len());
}

#[test]
fn a_bundle_that_this_box_has_no_use_for_is_refused() {
    let here = Box::new("useless");
    here.configure("[decision.label.toward]\nenter = 0.9\n");
    let (code, said) = refusal(&here.install(&here.copy("rows-lstm")));
    assert!(code == 2 && said.contains("toward") && said.contains("this box cannot use it"), "{said}");
    here.configure(&format!("{ROWS}[extra]\nspeed = \"none\"\n"));
    let (code, said) = refusal(&here.install(&here.copy("rows-lstm")));
    assert!(code == 2 && said.contains("no extra \"speed\", it reads none"), "{said}");
    assert!(!here.state().exists(), "nothing was made");
}

#[test]
fn a_broken_bundle_does_not_stop_the_box_and_is_named() {
    let here = Box::new("broken");
    let first = here.installed(&here.copy("rows-lstm"));
    let second = here.installed(&here.copy("rows-gru"));
    // A bit of the card turns; the sha256 sees it.
    here.damage(&second);
    let (from, hash, why) = here.chosen();
    assert!(from == "previous" && hash == first && why.contains("head.onnx: sha256 is"), "{from}: {why}");
    let (said, log) = here.runs(&here.rows(), &[]);
    assert!(log.matches("the previous one runs instead").count() == 1, "{log}");
    assert!(said.contains(&first[..8]) && said.contains(",FALLBACK,"), "health says that it is another one, and which: {said}");
    // Both broken: the program's own. Installing again heals.
    fs::remove_dir_all(here.state().join("bundles").join(&first)).unwrap();
    let (from, _, why) = here.chosen();
    assert!(from == "built-in" && why.contains("head.onnx"), "{from}: {why}");
    assert!(refusal(&here.call("install", &["--undo"])).1.contains("nothing was changed"));
    assert_eq!(here.installed(&here.copy("rows-gru")), second);
    assert_eq!(here.chosen(), ("installed".into(), second.clone(), String::new()));
    // A record that cannot be read, too.
    fs::write(here.state().join("installed.toml"), "current = 7").unwrap();
    let (from, _, why) = here.chosen();
    assert!(from == "built-in" && why.contains("installed.toml"), "{from}: {why}");
    here.installed(&here.copy("rows-gru"));
    assert_eq!(here.chosen().1, second);
    // A named one is taken or refused (M4): the golden vectors are run before anything is watched.
    let bundle = here.copy("rows-gru");
    flip(&bundle.join("golden_logits.npy"), |n| n - 1);
    rehash(&bundle);
    let (code, said) = refusal(&here.call("run", &["--bundle", &bundle.display().to_string(), "--report", "stdout"]));
    assert!(code == 2 && said.contains("golden logits"), "{said}");
}

#[test]
fn classes_that_are_named_do_not_stop_the_box_when_another_bundle_has_to_run() {
    let here = Box::new("named");
    here.configure("");
    let hash = here.installed(&here.copy("boxes"));
    let wired = "[decision.label.west]\nenter = 0.9\n[gpio]\nchip = \"none\"\nlines.west = { line = 5 }\n";
    here.configure(wired);
    // The built-in bundle has no such class, so there is no way back to it, and nothing was changed.
    let (code, said) = refusal(&here.call("install", &["--undo"]));
    assert!(code == 2 && said.contains("no class \"west\"") && said.contains("nothing was changed"), "{said}");
    assert_eq!(here.chosen().1, hash);
    here.damage(&hash);
    here.configure(&format!("{wired}[extra]\nspeed = \"none\"\n"));
    let (said, log) = here.runs(&here.film(), &["--report", "gpio"]);
    assert!(log.contains("the built-in one runs instead") && log.contains("no class \"west\""), "{log}");
    assert!(log.contains("no extra \"speed\", it reads none; left alone"), "{log}");
    assert!(said.contains(",FALLBACK,"), "{log}");
    // Nor does a board file whose lines are all for its classes.
    here.configure("");
    let board = here.dir.join("host.toml");
    let host = fs::read_to_string("board/host.toml").unwrap();
    fs::write(&board, host + "\n[gpio]\nchip = \"none\"\nlines.west = { line = 5 }\n").unwrap();
    let (said, log) = here.runs(&here.film(), &["--report", "gpio", "--board", &board.display().to_string()]);
    assert!(said.contains(",FALLBACK,"), "{log}");
    // Where the bundle is the one that was meant, a name that it does not have is a mistake.
    here.configure("[decision.label.wets]\nenter = 0.9\n");
    here.copy("boxes");
    let named = here.dir.join("bundle").display().to_string();
    let (code, said) = refusal(&here.call("run", &["--bundle", &named, "--report", "stdout"]));
    assert!(code == 2 && said.contains("lookout.toml: decision.label: the bundle has no class \"wets\""), "{said}");
}

#[test]
fn thresholds_of_the_bundle_that_was_meant_do_not_stop_the_box_when_another_has_to_run() {
    let here = Box::new("thresholds");
    here.configure("[decision]\nleave = 0.8\n");
    let bundle = here.copy("boxes");
    replace(&bundle.join("bundle.toml"), "enter = 0.6", "enter = 0.9");
    let hash = here.installed(&bundle);
    let (_, log) = here.runs(&here.film(), &[]);
    assert!(!log.contains("leave = 0.8"), "{log}");
    here.damage(&hash);
    let (said, log) = here.runs(&here.film(), &[]);
    assert!(log.contains("the built-in one runs instead"), "{log}");
    assert!(log.contains("leave = 0.8 is above enter = 0.7 (bundle: enter 0.7, leave 0.35); the bundle's own hold"), "{log}");
    assert!(said.contains(",FALLBACK,"), "{log}");
    // Of the one that is meant they are a mistake.
    let named = here.copy("boxes").display().to_string();
    let (code, said) = refusal(&here.call("run", &["--bundle", &named, "--report", "stdout"]));
    assert!(code == 2 && said.contains("leave = 0.8 is above enter = 0.6"), "{said}");
}

#[test]
fn the_bundle_before_runs_instead_if_it_takes_what_the_source_gives() {
    let here = Box::new("before");
    let before = here.installed(&here.copy("rows-lstm"));
    // The box gets a camera.
    here.configure("where = true\n");
    let hash = here.installed(&here.copy("boxes"));
    here.damage(&hash);
    assert_eq!(here.chosen().0, "built-in");
    let (said, log) = here.runs(&here.film(), &[]);
    assert!(said.contains(",FALLBACK,") && log.contains("the built-in one runs instead"), "{log}");
    let (said, log) = here.runs(&here.rows(), &[]);
    assert!(said.contains(",FALLBACK,") && said.contains(&before[..8]) && log.contains("the previous one runs instead"), "{log}");
    assert!(log.contains("where something moves cannot be said of rows of numbers; `where` is left alone"), "{log}");
}

#[test]
fn a_bundle_that_takes_what_the_source_does_not_give_is_refused() {
    let here = Box::new("source");
    for (config, bundle, says) in [
        ("", "rows-lstm", "without `source` the board's camera gives pictures, the bundle takes rows of numbers"),
        ("source = \"y4m:/x\"\n", "rows-lstm", "source = \"y4m:/x\" gives pictures, the bundle takes rows of numbers"),
        (ROWS, "boxes", "source = \"features:-\" gives rows of numbers, the bundle takes pictures"),
        ("source = \"features:-\"\nwhere = true\n", "rows-lstm", "where = true"),
    ] {
        here.configure(config);
        let (code, said) = refusal(&here.install(&here.copy(bundle)));
        assert!(code == 2 && said.contains("this box cannot use it: ") && said.contains(says), "{said}");
        assert!(!here.state().exists(), "nothing was made");
    }
    // Nor is there a way back to such a one.
    here.configure(ROWS);
    here.installed(&here.copy("rows-lstm"));
    let (code, said) = refusal(&here.call("install", &["--undo"]));
    assert!(code == 2 && said.contains("gives rows of numbers, the bundle takes pictures"), "{said}");
    assert!(said.contains("nothing was changed"), "{said}");
}

#[test]
fn signatures_are_asked_for_and_versions_never_go_back() {
    let here = Box::new("signed");
    let signed = |version: &str, signature: &str| {
        let (bundle, from) = (here.copy("rows-lstm"), Path::new("tests/golden/signed"));
        fs::copy(from.join(format!("{version}.toml")), bundle.join("bundle.toml")).unwrap();
        fs::copy(from.join(format!("{signature}.minisig")), bundle.join("bundle.toml.minisig")).unwrap();
        bundle
    };
    // Without a policy a signature is carried along, and any version goes.
    here.installed(&signed("1.10.0", "1.10.0.toml"));
    here.installed(&signed("1.2.0", "1.2.0.toml"));
    let key = fs::read_to_string("tests/golden/signed/box.pub").unwrap();
    here.configure(&format!("{ROWS}[install]\nkeys = [{:?}]\n", key.trim()));
    assert_eq!(here.chosen().0, "installed", "its signature is right");

    let newest = here.installed(&signed("1.10.0", "1.10.0.toml"));
    let before = here.everything();
    type Case<'a> = (&'static str, &'a dyn Fn() -> PathBuf, [&'static str; 2]);
    let cases: [Case<'_>; 4] = [
        ("not signed", &|| here.copy("rows-gru"), ["bundle.toml.minisig", "missing"]),
        ("by a stranger", &|| signed("1.11.0", "stranger"), ["bundle.toml.minisig", "install.keys"]),
        ("of another contract", &|| signed("1.11.0", "1.10.0.toml"), ["bundle.toml.minisig", "changed after it was signed"]),
        ("older", &|| signed("1.2.0", "1.2.0.toml"), ["rows-lstm 1.2.0 is older than 1.10.0", "never go back"]),
    ];
    for (case, bundle, names) in cases {
        let bundle = bundle();
        let (code, said) = refusal(&here.install(&bundle));
        println!("{case}: {said}");
        assert!(code == 2 && names.iter().all(|n| said.contains(n)), "{case}: {said}");
        assert!(here.everything() == before, "{case}: the state folder changed");
    }
    assert_eq!(here.chosen(), ("installed".into(), newest.clone(), String::new()));
    let latest = here.installed(&signed("1.11.0", "1.11.0.toml"));
    assert!(here.call("install", &["--undo"]).status.success(), "one step back to what ran here");
    assert_eq!(here.chosen().1, newest);
    assert!(refusal(&here.install(&signed("1.10.0", "1.10.0.toml"))).1.contains("older than 1.11.0"), "but not by an install");
    here.installed(&signed("1.11.0", "1.11.0.toml"));
    // Nor where what was written down of them is damaged.
    let record = here.state().join("installed.toml");
    let whole = fs::read(&record).unwrap();
    for damaged in ["current = 7", ""] {
        fs::write(&record, damaged).unwrap();
        let (code, said) = refusal(&here.install(&signed("1.10.0", "1.10.0.toml")));
        assert!(code == 2 && said.contains("rows-lstm 1.10.0 is older than 1.11.0"), "{damaged:?}: {said}");
    }
    fs::write(&record, whole).unwrap();
    // Files changed behind our back, hashes and all: the signature sees it.
    let kept = here.state().join("bundles").join(&latest);
    flip(&kept.join("golden_logits.npy"), |n| n - 1);
    rehash(&kept);
    let (from, hash, why) = here.chosen();
    assert!(from == "previous" && hash == newest && why.contains("changed after it was signed"), "{from}: {why}");
    // A named folder is held to the same policy.
    let (code, said) = refusal(&here.call("run", &["--bundle", "tests/bundles/rows-lstm", "--report", "stdout"]));
    assert!(code == 2 && said.contains("minisig"), "{said}");
    // And what lies there in the place of a signature is not read to its end.
    let long = signed("1.11.0", "1.11.0.toml");
    let signature = long.join("bundle.toml.minisig");
    fs::write(&signature, fs::read_to_string(&signature).unwrap() + &"\n".repeat(5000)).unwrap();
    let (code, said) = refusal(&here.call("run", &["--bundle", &long.display().to_string(), "--report", "stdout"]));
    assert!(code == 2 && said.contains("bundle.toml.minisig: ") && said.contains(" bytes, at most 4096 are read"), "{said}");
    here.configure("[install]\nkeys = [\"RWQ\"]\n");
    assert!(refusal(&here.install(&signed("1.11.0", "1.11.0.toml"))).1.contains("install.keys"));
}

/// A bundle whose head asks for too much.
fn greedy(here: &Box, head: &str) -> Output {
    let bundle = here.copy("rows-lstm");
    fs::copy(format!("tests/golden/hostile/{head}.onnx"), bundle.join("head.onnx")).unwrap();
    rehash(&bundle);
    here.install(&bundle)
}

#[test]
fn a_network_that_takes_all_memory_takes_only_its_trial() {
    let here = Box::new("memory");
    let (code, said) = refusal(&greedy(&here, "memory"));
    println!("{said}");
    // tract asks politely and is told no; an allocation of our own would end the trial.
    assert!(code == 2 && (said.contains("failed to allocate") || said.contains("512 MiB")), "{said}");
}

#[test]
#[ignore = "takes the minute of processor time that a trial may take"]
fn a_network_that_runs_for_ever_is_stopped() {
    let here = Box::new("time");
    let begun = Instant::now();
    let (code, said) = refusal(&greedy(&here, "time"));
    println!("{said}, after {} s", begun.elapsed().as_secs());
    assert!(code == 2 && (said.contains("60 s of processor time") || said.contains("120 s")), "{said}");
    assert!(begun.elapsed() < Duration::from_secs(150));
}
