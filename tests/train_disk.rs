//! `lookout train` on a disk that is full: one sentence, nothing lost that was kept, nothing half written left, and the same command goes on when there
//! is room.
//!
//! Rows of numbers and a small recurrent network on a tmpfs of its own, in a namespace; says `SKIPPED` and why where nothing can be mounted.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test stops where something is missing and says what it saw")]

mod program;

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// An empty folder of this test's own, with class folders `clips/up` and `clips/down` of recordings as rows of numbers.
fn folder(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("train-disk").join(name);
    let _ = fs::remove_dir_all(&dir);
    for (class, turn) in [("up", 1.0f32), ("down", -1.0)] {
        fs::create_dir_all(dir.join("clips").join(class)).unwrap();
        for k in 0..12u32 {
            let mut rows = String::new();
            for t in 0..24u32 {
                writeln!(rows, "{:.3} {:.3}", turn * (t as f32 - 12.0) * 0.3 + (k % 4) as f32, (k * t % 7) as f32).unwrap();
            }
            fs::write(dir.join("clips").join(class).join(format!("{k}.csv")), rows).unwrap();
        }
    }
    dir
}

/// Runs a script in `dir`, on whose `disk` there are 4 MiB; `train CACHE OUT` is what it tries. `None`, and said, where nothing can be mounted.
fn on_a_small_disk(dir: &Path, script: &str) -> Option<Output> {
    let whole = format!(
        r#"
        set -e
        cd "$1"
        mkdir disk
        mount -t tmpfs -o size=4m none disk || exit 77
        train() {{ "$0" train clips --cache "$1" --out "$2" --epochs 30 --hidden 24 --window 8 --cell lstm; }}
        fill() {{ head -c 4m /dev/zero > disk/other 2> /dev/null || true; }}
        {script}
        "#
    );
    let args = ["-rm", "bash", "-c", &whole, program::BUILT];
    let out = Command::new("unshare").args(args).arg(dir).stdin(Stdio::null()).output();
    let why = match out {
        Ok(out) if out.status.success() => return Some(out),
        Ok(out) => {
            let said = String::from_utf8_lossy(&out.stderr).trim().to_string();
            assert!(out.status.code() == Some(77) || said.starts_with("unshare"), "{said}{}", read(dir, "log"));
            said
        }
        Err(e) => e.to_string(),
    };
    // Past the test harness, which keeps what a test prints that passes.
    let skipped = format!("SKIPPED {}: no file system can be mounted here: unshare -rm: {why}\n", dir.display());
    std::io::stderr().write_all(skipped.as_bytes()).unwrap();
    None
}

fn read(dir: &Path, name: &str) -> String {
    String::from_utf8_lossy(&fs::read(dir.join(name)).unwrap_or_default()).into_owned()
}

/// Lines that the program says for itself: what it logs begins with `[`, how training goes with a blank or `training`.
fn said(dir: &Path, name: &str) -> Vec<String> {
    let log = read(dir, name);
    let ours = |l: &&str| !l.starts_with('[') && !l.starts_with(' ') && !l.starts_with("training");
    log.lines().filter(ours).map(String::from).collect()
}

/// The bundle that `name` holds is the one that a training without trouble gave.
fn is_the_same(dir: &Path, name: &str) {
    for file in ["head.onnx", "golden_logits.npy"] {
        let [a, b] = ["whole", name].map(|out| fs::read(dir.join(out).join(file)).unwrap());
        assert!(a == b, "{file} differs");
    }
}

#[test]
fn a_disk_that_is_full_from_the_start_costs_the_training_and_nothing_else() {
    let dir = folder("start");
    let script = r#"
        train free whole 2> /dev/null > /dev/null
        mkdir disk/cache
        fill
        code=0; train disk/cache parts > /dev/null 2> log || code=$?
        echo $code > code
        ls -A disk/cache > left
        test ! -e parts
        rm disk/other
        train disk/cache parts > /dev/null 2> log2
    "#;
    if on_a_small_disk(&dir, script).is_none() {
        return;
    }
    let (log, said) = (read(&dir, "log"), said(&dir, "log"));
    assert_eq!((read(&dir, "code").trim(), said.len()), ("1", 1), "{log}");
    assert!(said[0].contains(".training") && said[0].contains("No space left"), "{log}");
    // What was read of 24 recordings is not kept for the next time either; that is said once.
    assert_eq!(log.matches("not kept for the next time").count(), 1, "{log}");
    assert_eq!(read(&dir, "left"), "", "nothing half written");
    is_the_same(&dir, "parts");
}

#[test]
fn a_disk_that_fills_up_in_the_middle_costs_what_was_not_kept_yet() {
    let dir = folder("middle");
    let script = r#"
        train free whole 2> /dev/null > /dev/null
        train disk/cache parts > /dev/null 2> log & training=$!
        until grep -q "epoch   3" log; do sleep 0.005; done
        fill
        code=0; wait $training || code=$?
        echo $code > code
        ls -A disk/cache | grep -v ticks > left
        test ! -e parts
        rm disk/other
        train disk/cache parts > /dev/null 2> log2
    "#;
    if on_a_small_disk(&dir, script).is_none() {
        return;
    }
    let (log, said) = (read(&dir, "log"), said(&dir, "log"));
    assert_eq!((read(&dir, "code").trim(), said.len()), ("1", 1), "{log}");
    assert!(said[0].contains("No space left"), "{log}");
    let left = read(&dir, "left");
    assert!(
        left.lines().count() == 1 && left.trim().ends_with(".training"),
        "the last checkpoint and nothing half written: {left}"
    );
    // Epochs that were kept come back as they were, times and all; the next ones take time of their own.
    let epochs =
        |name: &str| -> Vec<String> { read(&dir, name).lines().filter(|l| l.contains("epoch")).map(String::from).collect() };
    let (first, second) = (epochs("log"), epochs("log2"));
    println!("figure: full after epoch {} of {}", first.len(), second.len());
    assert!((3..30).contains(&first.len()) && second[..first.len()] == first[..], "{first:?} {second:?}");
    is_the_same(&dir, "parts");
}

#[test]
fn a_disk_that_is_full_at_the_end_costs_the_bundle_until_there_is_room() {
    let dir = folder("end");
    let script = r#"
        train free whole 2> /dev/null > /dev/null
        fill
        code=0; train free disk/parts > /dev/null 2> log || code=$?
        echo $code > code
        ls -A disk > left
        rm disk/other
        train free disk/parts > /dev/null 2> log2
        cp -r disk/parts parts
    "#;
    if on_a_small_disk(&dir, script).is_none() {
        return;
    }
    let (log, said) = (read(&dir, "log"), said(&dir, "log"));
    assert_eq!((read(&dir, "code").trim(), said.len()), ("1", 1), "{log}");
    assert!(said[0].to_lowercase().contains("no space left"), "{log}");
    assert_eq!(read(&dir, "left"), "other\n", "nothing half written");
    is_the_same(&dir, "parts");
}
