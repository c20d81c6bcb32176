//! The command line: one file per subcommand. Results go to stdout or to sinks, logs to stderr.
//!
//! Exit codes are an interface: 0 asked to stop, 1 lost a device or broke (a restart helps), 2 wrong board,
//! configuration, bundle or arguments (it does not).

mod alarms;
mod answer;
mod bench;
mod calibrate;
mod check;
mod classify;
mod clip;
mod confusion;
mod demo;
pub mod doctor;
mod drawing;
mod ears;
mod estimate;
mod failure;
pub mod index;
mod install;
pub mod label;
mod learn;
mod play;
mod plot;
mod progress;
mod promised;
mod record;
mod run;
pub mod score;
mod segments;
mod setup;
pub mod shape;
mod spare;
mod stillness;
mod stop;
mod stopwatch;
mod teach;
mod ticks;
#[cfg(feature = "train")]
mod train;
mod trial;

pub use failure::Failure;

use crate::sys::stderr;
use clap::{Parser, Subcommand};
use env_logger::Target;
use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;

/// Watches a camera and calls out what happens.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Say more on stderr (twice: everything)
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    verbose: u8,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Play the built-in clip through the whole pipeline, sentences on stdout
    Demo(demo::Args),
    /// Watch live until told to stop
    Run(run::Args),
    /// One answer per clip, and its segments
    Classify(classify::Args),
    /// Check a bundle: contract, golden vectors, time of int8 and float, memory
    Check(check::Args),
    /// Thresholds for one site, from ordinary footage of it
    Calibrate(calibrate::Args),
    /// Take labelled clips from the live camera
    Record(record::Args),
    /// Cut labelled clips from a longer recording
    Label(label::Args),
    /// Make a collection of recordings searchable
    Index(index::IndexArgs),
    /// Moments in an indexed collection that are like a recording
    Find(index::FindArgs),
    /// Classes taught on this box: a few shown examples, no training
    Teach(teach::Args),
    /// What is normal here, from the box's own camera or recordings, without labels
    Learn(learn::LearnArgs),
    /// How strange recordings are, tick by tick, against what was learnt
    Novelty(learn::NoveltyArgs),
    /// Install a bundle on this box, go back to the one before, or say which one runs
    Install(install::Args),
    /// What is there, what is missing, and what to do about it
    Doctor(doctor::Args),
    /// Time per stage and allocations on this machine
    Bench(bench::Args),
    /// What the encoder sees: a recording's shaped ticks as .npy, for training
    Shape(shape::Args),
    /// Classes of your own: from a folder of clips to a bundle
    #[cfg(feature = "train")]
    Train(train::Args),
    /// Try a bundle within limits: `install` and `run` start this in a process of its own
    #[command(hide = true)]
    Trial(trial::Args),
}

/// Parses the arguments and runs the command.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            let _ = e.print();
            return ExitCode::from(if e.use_stderr() { 2 } else { 0 });
        }
    };
    let level = ["info", "debug", "trace"][usize::from(cli.verbose.min(2))];
    // tract tells the world about its optimiser; a technician does not want to know.
    let filter = if cli.verbose < 2 {
        format!("{level},tract_core=warn,tract_onnx=warn,tract_hir=warn,tract_linalg=warn")
    } else {
        level.into()
    };
    let live = matches!(cli.command, Command::Run(_));
    log_since_start(&filter, live);
    let mut out = std::io::stdout().lock();
    let done = match cli.command {
        Command::Demo(args) => demo::run(&args, &mut out),
        Command::Run(args) => {
            drop(out);
            return exit(run::run(&args), live);
        }
        Command::Classify(args) => classify::run(&args, &mut out),
        Command::Calibrate(args) => calibrate::run(&args, &mut out),
        Command::Check(args) => check::run(&args, &mut out),
        Command::Record(args) => record::run(&args, &mut out),
        Command::Label(args) => label::run(&args, &mut out),
        Command::Index(args) => index::index(&args, &mut out),
        Command::Find(args) => index::find(&args, &mut out),
        Command::Teach(args) => teach::run(&args, &mut out),
        Command::Learn(args) => learn::learn(&args, &mut out),
        Command::Novelty(args) => learn::novelty(&args, &mut out),
        Command::Install(args) => install::run(&args, &mut out),
        Command::Doctor(args) => doctor::run(&args, &mut out),
        Command::Bench(args) => bench::run(&args, &mut out),
        Command::Trial(args) => trial::run(&args, &mut out),
        #[cfg(feature = "train")]
        Command::Train(args) => train::run(&args, &mut out),
        Command::Shape(args) => shape::run(&args, &mut out),
    };
    exit(done.and_then(|()| out.flush().map_err(Failure::from)), live)
}

/// Logs to stderr, each line with the seconds since the program began: a box may not know the date, and journald adds it where it is known.
fn log_since_start(filter: &str, live: bool) {
    let began = Instant::now();
    env_logger::Builder::new()
        .target(if live { Target::Pipe(Box::new(stderr::Unwaited)) } else { Target::Stderr })
        .parse_filters(filter)
        .format(move |line, record| {
            let at = began.elapsed().as_secs_f64();
            writeln!(line, "[{at:9.3} {:<5} {}] {}", record.level(), record.target(), shown(&record.args().to_string()))
        })
        .init();
}

/// What is said, without what would move a terminal's cursor: names of files and devices come from elsewhere.
fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

fn exit(done: Result<(), Failure>, live: bool) -> ExitCode {
    let (code, why) = done.map_or_else(|failure| (failure.code, failure.why), |()| (0, String::new()));
    let line = if why.is_empty() { why } else { format!("lookout: {}\n", shown(&why)) };
    if live {
        stderr::last_word(&line);
    } else {
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
    ExitCode::from(code)
}
