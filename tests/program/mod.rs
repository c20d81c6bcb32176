//! The program as a user runs it, for tests that look at its exit code and output.

use std::process::{Command, Output, Stdio};

/// Runs the program that was built with the tests, or the one that `LOOKOUT_TEST_PROGRAM` names (the shipped one, say).
pub fn lookout(args: &[&str]) -> Output {
    let program = std::env::var("LOOKOUT_TEST_PROGRAM").unwrap_or_else(|_| env!("CARGO_BIN_EXE_lookout").into());
    Command::new(&program).args(args).stdin(Stdio::null()).output().unwrap_or_else(|e| panic!("{program}: {e}"))
}
