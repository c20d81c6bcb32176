//! A machine with four sensors, for tests of novelty: what it says when it runs as it should and when it does not, and a bundle that learnt from it.

use crate::program::lookout;
use std::io::Write;
use std::path::{Path, PathBuf};

/// An empty folder of this test alone.
pub fn folder(name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("lookout-novelty-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).expect("a folder");
    dir
}

/// What the program said.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Noise that is the same everywhere: the sum of four uniform numbers, of deviation about 1.
pub fn noise(x: &mut u64) -> f64 {
    let mut uniform = || {
        *x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*x >> 11) as f64 / (1u64 << 53) as f64 - 0.5
    };
    (uniform() + uniform() + uniform() + uniform()) * 1.7
}

/// What is done to the signal in a stretch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Change {
    None,
    Faster,
    Stopped,
    Backwards,
    Louder,
    OneSensorDead,
}

/// Four sensors of a machine that turns once in two seconds, ten rows a second: sines of one phase, one of them with a harmonic, noise on all.
pub fn rows(path: &Path, ticks: usize, seed: u64, change: impl Fn(usize) -> Change) {
    let (mut phase, mut x) = (0.0f64, seed);
    let mut file = std::io::BufWriter::new(std::fs::File::create(path).expect("a file"));
    for t in 0..ticks {
        let change = change(t);
        phase += match change {
            Change::Faster => 0.2,
            Change::Stopped => 0.0,
            Change::Backwards => -0.1,
            _ => 0.1,
        } / 2.0;
        let turn = phase * std::f64::consts::TAU;
        let size = if change == Change::Louder { 2.0 } else { 1.0 };
        let dead = if change == Change::OneSensorDead { 0.0 } else { 1.0 };
        let v = [turn.sin(), turn.cos() * dead, (turn + 1.0).sin() + 0.4 * (2.0 * turn).cos(), 20.0 + 5.0 * turn.cos()];
        let line: Vec<String> = v.iter().map(|v| format!("{:.4}", v * size + 0.05 * noise(&mut x))).collect();
        writeln!(file, "{}", line.join(" ")).expect("a line");
    }
}

/// A machine that runs as it should for so many minutes (`all.txt`), and the bundle that learnt from it.
pub fn machine(dir: &Path, minutes: usize, seed: u64) -> (PathBuf, PathBuf) {
    trained(dir, minutes, seed, "echo")
}

/// The same with a network of this kind.
pub fn trained(dir: &Path, minutes: usize, seed: u64, predictor: &str) -> (PathBuf, PathBuf) {
    let (good, bundle) = (dir.join("all.txt"), dir.join("machine"));
    rows(&good, minutes * 600, seed, |_| Change::None);
    let source = format!("features:{}", good.display());
    let run = lookout(&[
        "train",
        &source,
        "--unsupervised",
        "--tick-ms",
        "100",
        "--predictor",
        predictor,
        "--seed",
        "7",
        "--out",
        bundle.to_str().unwrap(),
    ]);
    assert!(run.status.success(), "{}", text(&run.stderr));
    println!("{}", text(&run.stdout).trim());
    (good, bundle)
}
