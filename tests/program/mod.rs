//! The program as a user runs it, for tests that look at its exit code and output.

use std::process::{Command, Output, Stdio};

/// Runs the program that was built with the tests, or the one that `LOOKOUT_TEST_PROGRAM` names (the shipped one, say), under the
/// emulator in `LOOKOUT_TEST_RUNNER` where it is for another machine.
pub fn lookout(args: &[&str]) -> Output {
    let program = std::env::var("LOOKOUT_TEST_PROGRAM").unwrap_or_else(|_| env!("CARGO_BIN_EXE_lookout").into());
    let runner = std::env::var("LOOKOUT_TEST_RUNNER").unwrap_or_default();
    let mut words = runner.split_whitespace().chain([program.as_str()]);
    let first = words.next().expect("the program at least");
    Command::new(first).args(words).args(args).stdin(Stdio::null()).output().unwrap_or_else(|e| panic!("{first}: {e}"))
}
