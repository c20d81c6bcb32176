//! The program as a user runs it, for tests that look at its exit code and output, and what several of them make for it.
//!
//! `LOOKOUT_TEST_PROGRAM` names another program than the one that was built with the tests: the shipped one, say. That one has no `train`, so
//! whatever is trained is trained by the one that was built, and the bundles that come of it are tried with the other.
#![allow(dead_code, clippy::unwrap_used, reason = "each test file takes what it needs from here; a failed step is a failed test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The program that was built with the tests, training included.
pub const BUILT: &str = env!("CARGO_BIN_EXE_lookout");

/// Where the program lies that is tried. From the root, so that it is found from any folder.
pub fn path() -> String {
    let named = std::env::var("LOOKOUT_TEST_PROGRAM").unwrap_or_else(|_| BUILT.into());
    Path::new(env!("CARGO_MANIFEST_DIR")).join(named).display().to_string()
}

/// The program with these arguments and nothing on its standard input, to be started.
pub fn command(args: &[&str]) -> Command {
    let program = if args.first() == Some(&"train") { BUILT.into() } else { path() };
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null());
    command
}

/// Runs it to its end.
pub fn lookout(args: &[&str]) -> Output {
    let mut command = command(args);
    command.output().unwrap_or_else(|e| panic!("{}: {e}", command.get_program().display()))
}

/// A FIFO in the place of whatever was there.
pub fn fifo(path: PathBuf) -> PathBuf {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    let _ = fs::remove_file(&path);
    mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    path
}

/// Copies the files of a bundle into another folder, which is made where it is not there.
pub fn copy_bundle(from: impl AsRef<Path>, to: impl AsRef<Path>) {
    fs::create_dir_all(&to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.as_ref().join(entry.file_name())).unwrap();
    }
}

/// A grey Y4M of 160x120 at 10 a second: a bright block that moves `step` pixels a picture between pictures `from` and `to`, and stands still else.
pub fn street(file: &Path, pictures: u32, step: f32, moving: std::ops::Range<u32>) -> String {
    let mut bytes = b"YUV4MPEG2 W160 H120 F10:1 Cmono\n".to_vec();
    let mut left = if step < 0.0 { 110.0 } else { 10.0 };
    for t in 0..pictures {
        bytes.extend_from_slice(b"FRAME\n");
        left += if moving.contains(&t) { step } else { 0.0 };
        for y in 0..120 {
            for x in 0..160 {
                let block = (40..80).contains(&y) && (left..left + 32.0).contains(&(x as f32));
                bytes.push(if block { 220 } else { 60 + ((x * 7 + y * 13) % 11) as u8 });
            }
        }
    }
    fs::write(file, bytes).unwrap();
    file.display().to_string()
}
