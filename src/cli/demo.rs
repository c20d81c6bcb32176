//! `lookout demo`: the built-in clip through the whole pipeline, and how much of it was right.
//!
//! The clip is rendered by the program itself, so a newcomer needs no file; the sentences on stdout are byte for byte
//! what the serial line would carry.

use super::Failure;
use super::segments::Timeline;
use super::setup::{BundleArg, GateArg, WhereArg, load};
use super::stopwatch::{STAGES, Stopwatch, WARM_UP};
use crate::health::HealthClock;
use crate::pipeline::{Options, Pipeline};
use crate::report::sentence::Sentence;
use crate::report::{ClassId, Report};
use crate::source::ahead::Ahead;
use crate::source::scene::{SCRIPT, Scene};
use crate::source::{Source, Timestamp};
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

/// Ticks this close to a change of the script are not judged: two people would not agree on them either.
const GRACE: Duration = Duration::from_millis(300);

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    bundle: BundleArg,
    #[command(flatten)]
    gate: GateArg,
    #[command(flatten)]
    place: WhereArg,
    /// Write the clip as Y4M to this file instead (`-` for stdout)
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Print nothing but the sentences
    #[arg(long)]
    quiet: bool,
}

/// Runs the command.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), Failure> {
    let mut scene = Scene::new(1);
    if let Some(path) = &args.save {
        let named = |e: std::io::Error| format!("{}: {e}", path.display());
        return match path.to_str() {
            Some("-") => Ok(scene.write_y4m(out)?),
            _ => {
                let file = std::fs::File::create(path).map_err(|e| Failure::refused(named(e)))?;
                scene.write_y4m(&mut std::io::BufWriter::new(file)).map_err(|e| Failure::broke(named(e)))
            }
        };
    }
    let bundle = load(args.bundle.bundle.as_deref())?;
    if bundle.contract.input.is_none() {
        let why = "it takes rows of numbers, the built-in clip is pictures; `lookout classify ROWS --bundle DIR` plays rows";
        return Err(Failure::refused(format!("{}: {why}", bundle.origin)));
    }
    let mut pipeline = Pipeline::new(&bundle, &Options { gate: args.gate.on(), place: args.place.on, ..Options::default() })?;
    let ticks = usize::try_from(scene.len_hint().unwrap_or(0)).unwrap_or(0);
    let mut probe = (Stopwatch::new(ticks), Timeline::new(bundle.labels.len(), ticks));
    let mut ends = Timeline::new(bundle.labels.len(), 0);
    let mut health = HealthClock::new(&bundle.hash);
    let (mut seq, mut written) = (0u32, Ok(()));
    let mut say = |report: Report| {
        let line = Sentence::of(seq, &report).encode();
        seq = seq.wrapping_add(1);
        ends.take(&report);
        if written.is_ok() {
            written = out.write_all(line.as_bytes());
        }
    };
    let mut ahead = Ahead::new(Box::new(scene));
    while let Some((frame, until)) = ahead.read()? {
        pipeline.play(&frame, until, &mut probe, &mut say)?;
        if let Some(h) = health.due(pipeline.now(), &pipeline) {
            say(Report::Health(h));
        }
    }
    written?;
    if args.quiet {
        return Ok(());
    }
    let (watch, timeline) = probe;
    let background = ClassId(bundle.background as u8);
    let mut right = vec![(0u32, 0u32); SCRIPT.len()];
    for at in timeline.stamps() {
        let Some(n) = judged(*at) else { continue };
        let found = ends.class_at(*at, background);
        right[n].1 += 1;
        right[n].0 += u32::from(bundle.labels[usize::from(found.0)] == SCRIPT[n].2);
    }
    let (good, all) = right.iter().fold((0, 0), |(g, a), (good, all)| (g + good, a + all));
    writeln!(out, "\n{:>10}  {:<10} ticks right", "time", "what happens")?;
    for ((from, to, label), (good, all)) in SCRIPT.iter().zip(&right) {
        writeln!(out, "{:>4.1}-{:>4.1}s  {label:<12} {good}/{all}", *from as f32 / 1e3, *to as f32 / 1e3)?;
    }
    let counts = pipeline.counts();
    let percent = 100.0 * f64::from(good) / f64::from(all.max(1));
    writeln!(out, "{good} of {all} ticks right ({percent:.1} %), outside {} ms around changes", GRACE.as_millis())?;
    writeln!(
        out,
        "\n{} frames, {} ticks, {} held, {} no news to encode, bundle {} {}",
        counts.frames, counts.ticks, counts.held, counts.reused, bundle.contract.name, bundle.contract.version
    )?;
    writeln!(out, "{:<20} {:>12} {:>18}", "stage", "mean µs/tick", "allocations/tick")?;
    for (stage, name) in STAGES {
        let (_, mean, allocs) = watch.stage(stage);
        writeln!(out, "{name:<20} {:>12.1} {allocs:>18.1}", mean.as_secs_f64() * 1e6)?;
    }
    writeln!(out, "(after {WARM_UP} ticks where there are more; what tract runs allocates, our own stages must say 0.0)")?;
    Ok(())
}

/// The part of the script that a tick at `at` is judged by; `None` near its edges.
fn judged(at: Timestamp) -> Option<usize> {
    let grace = GRACE.as_millis() as u64;
    SCRIPT.iter().position(|(from, to, _)| (from + grace..to.saturating_sub(grace)).contains(&at.ms()))
}
