//! The promise: nothing that comes in from a wire, a card or a camera, however damaged, makes a parser panic, run on or ask for
//! memory that no file of its kind needs; and what it says about it is one line.
//!
//! One harness for every parser ([`harness`]), 10 000 damaged files a parser (`LOOKOUT_FUZZ_ROUNDS` for more: 10^5 in `.ci/run`, 10^7 before a
//! release). A failure names target and round; `LOOKOUT_FUZZ_ROUND=N` runs that one alone.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test stops where something is missing and says what it saw")]

mod every;
mod footage;
mod harness;
mod machine;
mod models;
#[path = "../samples/mod.rs"]
mod samples;
mod state;
mod training;
mod wire;

use lookout::sys::alloc::Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;
