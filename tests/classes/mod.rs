//! Recordings in class folders, small enough to be learnt from within seconds, for the tests of `lookout train`.
#![allow(dead_code, reason = "each test file takes what it needs from here")]

use crate::program::lookout;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

/// What it said on stderr.
pub fn said(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

/// An empty folder of this test's own.
pub fn folder(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("train").join(name);
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).expect("a folder");
    dir
}

/// A grey Y4M of 64x48 at 10 a second, 20 pictures: a bright block on a noisy floor that moves `step` pixels a picture.
pub fn clip(file: &Path, step: f32, seed: u32) {
    clip_of(file, step, seed, 1);
}

/// The same `times` as large, and with as many pictures a second.
pub fn clip_of(file: &Path, step: f32, seed: u32, times: u8) {
    let mut x = seed.wrapping_mul(2_654_435_761) | 1;
    let mut noise = || {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        x
    };
    let (top, start, level) = (4 + noise() % 24, (noise() % 16) as f32, 150 + noise() % 90);
    let start = if step < 0.0 { 48.0 - start } else { start };
    let mut bytes = format!("YUV4MPEG2 W{} H{} F{}:1 Cmono\n", 64 * times, 48 * u32::from(times), 10 * times).into_bytes();
    for t in 0..20 * times {
        bytes.extend_from_slice(b"FRAME\n");
        let left = start + step * f32::from(t) / f32::from(times);
        for py in (0..48 * u32::from(times)).map(|y| y / u32::from(times)) {
            for px in (0..64 * times).map(|x| x / times) {
                let block = (top..top + 14).contains(&py) && (left..left + 12.0).contains(&f32::from(px));
                bytes.push((if block { level } else { 70 } + noise() % 9) as u8);
            }
        }
    }
    fs::write(file, bytes).expect("written");
}

/// Class folders `still`, `left`, `right` of `n` clips each.
pub fn clips(name: &str, n: u32, seed: u32) -> PathBuf {
    let dir = folder(name);
    for (class, step) in [("idle", 0.0), ("left", -2.0), ("right", 2.0f32)] {
        fs::create_dir_all(dir.join(class)).expect("a folder");
        for k in 0..n {
            let pace = step * (1.0 + (k % 5) as f32 * 0.15);
            clip(&dir.join(class).join(format!("{k:02}.y4m")), pace, seed + k * 7 + (step as i32 + 3) as u32 * 1000);
        }
    }
    dir
}

/// A path as an argument.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

/// Share of the clips of `dir` that `bundle` answers right.
pub fn right(bundle: &Path, dir: &Path) -> f32 {
    let (mut right, mut all) = (0, 0);
    for class in ["idle", "left", "right"] {
        let mut names: Vec<String> =
            fs::read_dir(dir.join(class)).expect("clips").map(|e| e.expect("a clip").path().display().to_string()).collect();
        names.sort();
        let mut args = vec!["classify", "--json", "--bundle", text(bundle)];
        args.extend(names.iter().map(String::as_str));
        let out = lookout(&args);
        assert!(out.status.success(), "{}", said(&out));
        for line in String::from_utf8_lossy(&out.stdout).lines() {
            let answer: serde_json::Value = serde_json::from_str(line).expect("JSON");
            right += i32::from(answer["label"] == class);
            all += 1;
        }
    }
    right as f32 / all as f32
}

/// A small encoder that is trained in seconds.
pub const TINY: [&str; 12] =
    ["--encoder", "tiny", "--size", "32", "--channels", "motion,flow", "--window", "8", "--features", "16", "--hidden", "16"];

/// Class folders `a` and `b` of six files each, with `n` rows of two numbers.
pub fn numbers(name: &str, n: usize) -> PathBuf {
    let dir = folder(name);
    for (class, value) in [("a", 0.2f32), ("b", 0.9)] {
        fs::create_dir_all(dir.join(class)).expect("a folder");
        for k in 0..6usize {
            let rows = (0..n).map(|t| format!("{:.3},{:.3}\n", value + (k * t % 5) as f32 * 0.02, (t % 7) as f32 * 0.1));
            fs::write(dir.join(class).join(format!("{k}.csv")), rows.collect::<String>()).expect("written");
        }
    }
    dir
}
