//! `lookout learn`: what is normal here, from the box's own camera or from recordings, without labels; and `lookout novelty`: how strange recordings are.
//!
//! Learning from a camera takes as long as it is told and as much memory as that comes to (said and refused beforehand where it is too much). Every
//! minute the features of the last one are added to `learn.rows` in the state folder and flushed, and said: a kill or a power cut costs what was not
//! said yet, and the same command goes on. When the time is up, or at a signal, everything is learnt at once, in seconds
//! ([`crate::novelty::normal`]), and `novelty.json` is replaced whole. `run` uses it from its next start on.

use super::Failure;
use super::setup::{BundleArg, StateArg, load};
use crate::bundle::Bundle;
use crate::config::Config;
use crate::novelty::normal::{self, Loss, Terms};
use crate::novelty::{FILE, Setup, memory};
use crate::pipeline::{Options, Pipeline, Probe};
use crate::report::Report;
use crate::source::ahead::Ahead;
use crate::source::open::{self, Spec};
use crate::source::{SourceError, Timestamp};
use rows::Kept;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

mod rows;

/// Features that are kept in memory while learning, bytes: a day of 32 numbers at 10 Hz is 110 MB.
const MAX_BYTES: u64 = 256 << 20;
/// Ticks of one piece of what is kept, ms.
const PIECE: Duration = Duration::from_secs(60);

/// Arguments of `learn`.
#[derive(Debug, clap::Args)]
pub struct LearnArgs {
    /// Recordings of ordinary footage, in which nothing happens that should be called out: files, folders of images, features:FILE
    #[arg(value_name = "CLIP", required_unless_present = "source", conflicts_with = "source")]
    clips: Vec<String>,
    /// Learn from a camera or pipe instead, as `run` takes it
    #[arg(long, value_name = "SPEC")]
    source: Option<String>,
    /// How long to look, with --source
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=10_080))]
    minutes: u32,
    /// Where what was learnt goes [default: novelty.json in the state folder]
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
    /// How far what comes is from what was foreseen
    #[arg(long, value_enum, default_value_t = Loss::Squared)]
    loss: Loss,
    /// How far ahead is foreseen, ms
    #[arg(long, value_name = "MS", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    horizon_ms: u32,
    /// How long what is strange stays so, ms
    #[arg(long, value_name = "MS", default_value_t = 8000, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    hold_ms: u32,
    /// Of everything that is drawn at random
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Ask of every number by itself, too, how far and how long it stayed where it never did
    #[arg(long)]
    each: bool,
    #[command(flatten)]
    bundle: BundleArg,
    #[command(flatten)]
    state: StateArg,
}

/// Arguments of `novelty`.
#[derive(Debug, clap::Args)]
pub struct NoveltyArgs {
    /// Recordings
    #[arg(required = true, value_name = "CLIP")]
    clips: Vec<String>,
    /// What `learn` wrote [default: the state folder's, else the bundle's]
    #[arg(long, value_name = "FILE")]
    normal: Option<PathBuf>,
    /// False alarms a day that are allowed
    #[arg(long, value_name = "N", default_value_t = 1.0)]
    false_alarms: f64,
    #[command(flatten)]
    bundle: BundleArg,
    #[command(flatten)]
    state: StateArg,
}

/// Runs `learn`.
pub fn learn(args: &LearnArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let bundle = load(&args.bundle)?;
    let tick_ms = bundle.contract.time.tick_ms;
    let alike = bundle.contract.input.as_ref().map_or(0, |i| i.features);
    let terms = Terms {
        loss: args.loss,
        horizon_ms: args.horizon_ms,
        hold_ms: args.hold_ms,
        seed: args.seed,
        each: args.each,
        ..Terms::new(tick_ms, alike)
    };
    let state = args.state.store(&Config::default()).dir().to_path_buf();
    let path = args.out.clone().unwrap_or_else(|| state.join(FILE));
    let stretches = match &args.source {
        Some(source) => from_camera(source, args, &bundle, &state)?,
        None => {
            let mut stretches = vec![];
            for clip in &args.clips {
                let mut taken = Taken::new(bundle.features());
                walk(clip, false, &bundle, &Options::default(), &mut taken, &mut |_| {}, &mut |_, _| Ok(true))?;
                stretches.append(&mut taken.stretches);
            }
            stretches
        }
    };
    let learnt = normal::learn(&bundle.hash, bundle.features(), &stretches, &terms).map_err(Failure::refused)?;
    memory::write(&path, &learnt).map_err(Failure::broke)?;
    if args.source.is_some() {
        Kept::forget(&state);
    }
    let hours = f64::from(tick_ms) * learnt.learnt as f64 / 3.6e6;
    let (ticks, blocks) = (learnt.learnt, learnt.blocks.best.len());
    let promise = promise(&Setup::of(learnt));
    writeln!(out, "{}: learnt from {ticks} ticks ({hours:.2} h), {blocks} blocks counted; {promise}", path.display())?;
    Ok(())
}

/// What can be promised, in words.
pub(super) fn promise(setup: &Setup) -> String {
    let promise = crate::novelty::promise::Promise::new(setup.rate, setup.block, &setup.blocks);
    match promise.one_in() {
        None => format!("no alarm before {} blocks are counted", crate::novelty::promise::LEAST),
        Some(n) => format!("at most one false alarm in {n} minutes can be promised now"),
    }
}

/// Minute by minute, until the time is up or a signal comes; then all that was kept.
fn from_camera(source: &str, args: &LearnArgs, bundle: &Bundle, state: &std::path::Path) -> Result<Vec<Vec<f32>>, Failure> {
    let (features, tick_ms) = (bundle.features(), bundle.contract.time.tick_ms);
    let bytes = u64::from(args.minutes) * u64::from(60_000 / tick_ms) * features as u64 * 4;
    if bytes > MAX_BYTES {
        let most = u64::from(args.minutes) * MAX_BYTES / bytes;
        return Err(Failure::refused(format!(
            "--minutes {}: at most {most} of this bundle's features are kept in memory",
            args.minutes
        )));
    }
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, stop.clone()).map_err(|e| Failure::broke(format!("signal {signal}: {e}")))?;
    }
    let mut kept = Kept::open(state, bundle).map_err(Failure::broke)?;
    let minutes = |pieces: &[Vec<f32>]| pieces.iter().map(Vec::len).sum::<usize>() / features * tick_ms as usize / 60_000;
    if !kept.pieces.is_empty() {
        log::info!("going on: {} of {} minutes are kept already", minutes(&kept.pieces), args.minutes);
    }
    let mut taken = Taken::new(features);
    let piece = (PIECE.as_millis() / u128::from(tick_ms)).max(1) as usize * features;
    let wanted = args.minutes as usize;
    walk(source, true, bundle, &Options::default(), &mut taken, &mut |_| {}, &mut |taken, ended| {
        let full = taken.stretches.last().map_or(0, Vec::len) >= piece;
        if full || ended || stop.load(Ordering::Relaxed) {
            for rows in taken.stretches.drain(..).filter(|rows| !rows.is_empty()) {
                kept.add(rows).map_err(Failure::broke)?;
            }
            log::info!("{} of {wanted} minutes kept", minutes(&kept.pieces));
        }
        Ok(!stop.load(Ordering::Relaxed) && minutes(&kept.pieces) < wanted)
    })?;
    Ok(kept.pieces)
}

/// Features of every tick, a new stretch after every gap.
struct Taken {
    features: usize,
    stretches: Vec<Vec<f32>>,
}

impl Taken {
    fn new(features: usize) -> Self {
        Self { features, stretches: vec![] }
    }
}

impl Probe for Taken {
    fn features(&mut self, features: &[f32]) {
        debug_assert_eq!(features.len(), self.features);
        if self.stretches.is_empty() {
            self.stretches.push(vec![]);
        }
        self.stretches.last_mut().into_iter().for_each(|s| s.extend_from_slice(features));
    }
}

/// Plays a source through the pipeline. After every frame `go_on` is asked, and once more at the end.
fn walk(
    source: &str,
    live: bool,
    bundle: &Bundle,
    options: &Options,
    taken: &mut Taken,
    out: &mut dyn FnMut(Report),
    go_on: &mut dyn FnMut(&mut Taken, bool) -> Result<bool, Failure>,
) -> Result<(), Failure> {
    let spec: Spec = source.parse()?;
    // Pipes of a camera are stamped by the clock, as `run` does it; what is not live goes by its own numbers.
    let opened = open::open(&spec, &open::Options { replay: !live, ..open::Options::for_bundle(bundle) })?;
    let mut pipeline = Pipeline::new(bundle, options)?;
    let mut source_ = Ahead::new(opened);
    let (mut gaps, mut broken) = (0, crate::complaint::Complaint::default());
    loop {
        match source_.read() {
            Ok(Some((frame, Some(until)))) => pipeline.step(&frame, until, taken, &mut |r| out(r))?,
            Ok(Some((frame, None))) => pipeline.finish(Some(&frame), taken, &mut |r| out(r))?,
            Ok(None) => break,
            Err(SourceError::Broken { what, why }) => broken.say(format!("{source}: {what}: {why}")),
            Err(e @ SourceError::Stalled { .. }) => {
                broken.say(e.to_string());
                pipeline.interrupt(&mut |r| out(r));
            }
            Err(e) => return Err(e.into()),
        }
        if pipeline.counts().gaps != gaps {
            gaps = pipeline.counts().gaps;
            taken.stretches.push(vec![]);
        }
        if !go_on(taken, false)? {
            return Ok(());
        }
    }
    if pipeline.counts().frames == 0 {
        return Err(Failure::refused(format!("{source}: no frame could be read from it")));
    }
    go_on(taken, true).map(|_| ())
}

/// Runs `novelty`: one line a tick.
pub fn novelty(args: &NoveltyArgs, out: &mut dyn Write) -> Result<(), Failure> {
    if !(args.false_alarms.is_finite() && args.false_alarms > 0.0) {
        return Err(Failure::refused(format!("--false-alarms {}: a number above 0 expected", args.false_alarms)));
    }
    let bundle = load(&args.bundle)?;
    let state = args.state.store(&Config::default()).dir().to_path_buf();
    let setup = match &args.normal {
        Some(path) => memory::read(path).map_err(Failure::refused)?.map(Setup::of),
        None => memory::of_place(&state, &bundle),
    };
    let nothing = || format!("nothing says what is normal with bundle {}; `lookout learn` finds out", bundle.contract.name);
    let mut setup = setup.ok_or_else(|| Failure::refused(nothing()))?;
    setup.rate = args.false_alarms / 1440.0;
    writeln!(out, "clip,ms,score,threshold,now")?;
    for clip in &args.clips {
        let options = Options { novelty: Some(setup.clone()), heartbeat: Duration::ZERO, ..Options::default() };
        let mut lines = vec![];
        let mut say = |report: Report| {
            if let Report::Novelty(n) = report {
                let threshold = if n.threshold.is_finite() { format!("{:.4}", n.threshold) } else { String::new() };
                lines.push(format!("{},{:.4},{threshold},{}", Timestamp::ms(n.at), n.score, n.now.words()));
            }
        };
        walk(clip, false, &bundle, &options, &mut Taken::new(bundle.features()), &mut say, &mut |taken, _| {
            taken.stretches.clear();
            Ok(true)
        })?;
        for line in lines {
            writeln!(out, "{},{line}", super::classify::quoted(clip))?;
        }
    }
    Ok(())
}
