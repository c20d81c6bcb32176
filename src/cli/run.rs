//! `lookout run`: live, until told to stop.
//!
//! Three kinds of threads: capture (in [`crate::capture`]), inference (this one, in `watch`), one writer per sink. A panic in any
//! of them ends the process with one line (`panic`): half a lookout is worse than one that is started again. Where there is
//! nothing to watch with - too many ends in a minute, no bundle - the sinks still say so (`standby`).

mod herald;
mod keeper;
mod latency;
mod notify;
mod panic;
mod standby;
mod teacher;
mod watch;

use super::Failure;
use super::ears::Ears;
use super::setup::{self, BundleArg, GateArg, StateArg, ThreadsArg, WhereArg, choose};
use crate::baked;
use crate::blackbox::Header;
use crate::blackbox::writer::{BlackBox, Wish};
use crate::board::{self, Board, Wiring};
use crate::bundle::Bundle;
use crate::capture::Capture;
use crate::complaint::Complaint;
use crate::config::{Config, ConfigError};
use crate::decision::Thresholds;
use crate::encoder::Form;
use crate::health::HealthClock;
use crate::life::Runs;
use crate::pipeline::{Options, Pipeline};
use crate::qnn::Engine;
use crate::report::desk::Desk;
use crate::report::{self, Identity, LastEnd, Pace, ReportSpec, Sink, State};
use crate::shaper::Region;
use crate::source::open::{self, Spec};
use crate::source::{SourceError, Timestamp};
use crate::store;
use crate::vitals::Vitals;
use herald::Herald;
use keeper::Keeper;
use notify::Notifier;
use standby::StandBy;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use teacher::Teacher;
use watch::Watch;

/// How long sinks may take to send what is queued when we are told to stop.
const DRAIN: Duration = Duration::from_millis(500);
/// After too many ends in a minute nothing is watched for this long; then it is tried again.
const SAFE_MODE: Duration = Duration::from_secs(300);
/// A bundle that cannot be used is tried again this often.
const BUNDLE_AGAIN: Duration = Duration::from_secs(2);

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Configuration [default: /etc/lookout/lookout.toml where it exists]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Board by name, or a board file [default: the one the device tree names]
    #[arg(long, value_name = "NAME|FILE")]
    board: Option<String>,
    #[command(flatten)]
    bundle: BundleArg,
    #[command(flatten)]
    state: StateArg,
    #[command(flatten)]
    gate: GateArg,
    #[command(flatten)]
    threads: ThreadsArg,
    #[command(flatten)]
    place: WhereArg,
    /// v4l2:PATH, pipe:-,nv12,640x480@30, y4m:FILE|-, avi:FILE, frames:DIR, features:FILE|- [default: the board's camera]
    #[arg(long, value_name = "SPEC")]
    source: Option<String>,
    /// serial:/dev/ttyAMA0,115200 (then ,rtscts for flow control), gpio, stdout, file:PATH, json:-|PATH; may be given more than once
    #[arg(long, value_name = "SPEC")]
    report: Vec<String>,
    /// Keep what was seen around events and alarms in this folder, as clips that `classify` replays
    #[arg(long, value_name = "DIR")]
    blackbox: Option<PathBuf>,
    /// Wait for a camera or bundle that is not there yet, and say so, instead of ending with exit code 1 or 2
    #[arg(long)]
    wait: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    let mut runs = Runs::begin(runtime_dir().as_deref());
    panic::abort_with_one_line(runs.file());
    if let Some(story) = runs.story() {
        log::warn!("{story}");
    }
    let done = lookout(args, &mut runs);
    match &done {
        Ok(()) => runs.end(LastEnd::Stopped, ""),
        Err(e) => runs.end(LastEnd::Failed, &e.why),
    }
    done
}

fn lookout(args: &Args, runs: &mut Runs) -> Result<(), Failure> {
    let born = Timestamp::now();
    // Told to stop, the loop ends; while a recording's last reports wait for a slow reader there is no loop, and the signal itself ends it.
    let (stop, ended) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_default(signal, ended.clone())
            .and_then(|_| signal_hook::flag::register(signal, stop.clone()))
            .map_err(|e| Failure::broke(format!("signal {signal}: {e}")))?;
    }
    let config = match &args.config {
        Some(path) => Config::open(path),
        None => Config::installed(),
    };
    let refuse = |e: ConfigError| Failure::refused(e.to_string());
    let config = config.map_err(refuse)?;
    let refused = |e: board::BoardError| Failure::refused(e.to_string());
    let boards = baked::boards().map_err(refused)?;
    let wanted = args.board.as_deref().or(config.board.as_deref());
    let board = Board::choose(&boards, wanted, &board::machine()).map_err(refused)?;
    let reports = report_specs(args, &config, &board)?;
    let mut notifier = Notifier::open();
    let mut seq = 0;
    if runs.too_many() {
        log::error!(
            "{} starts within {:?}: safe mode, nothing is watched for {SAFE_MODE:?}",
            crate::life::MANY + 1,
            crate::life::SPAN
        );
        let mut standby = StandBy::open(&reports, &board, State::SafeMode, born, seq)?;
        seq = standby.wait(&mut notifier, &stop, runs, SAFE_MODE);
        runs.forgive();
    }
    let prepare = || {
        let named = args.bundle.bundle.as_deref().or(config.bundle.as_deref());
        let store = args.state.store(&config);
        let mut chosen = choose(named, &config, &store)?;
        let taught = setup::run_taught(&mut chosen.bundle, &store);
        let ready = || {
            let labels = &chosen.bundle.labels;
            let left_alone = match config.names(labels) {
                // Another bundle runs than the one that was meant, or without what was taught: its classes cannot be the ones that are named.
                Err(e) if chosen.trouble.is_some() || taught.is_none() => Some(e),
                named => named.map_err(refuse).map(|()| None)?,
            };
            let wiring = board.wiring(&config.gpio, labels).map_err(refused)?;
            let mut options = options(&config, args, &board, &chosen.bundle)?;
            let here = store::novelty::of_place(store.dir(), &chosen.bundle);
            options.novelty = here.and_then(|setup| config.novelty.apply(setup));
            let pipeline = Pipeline::new(&chosen.bundle, &options)?;
            Ok::<_, Failure>((pipeline, wiring, left_alone, options.novelty))
        };
        match (ready(), &chosen.trouble) {
            (Err(e), Some(trouble)) => Err(Failure { why: format!("{trouble}; {}", e.why), ..e }),
            (ready, _) => ready.map(|ready| (chosen, taught, ready)),
        }
    };
    let (mut standby, mut complaint) = (None, Complaint::default());
    let (chosen, taught, (mut pipeline, wiring, left_alone, novelty)) = loop {
        match prepare() {
            Ok(ready) => break ready,
            Err(e) if stop.load(Ordering::Relaxed) || !args.wait => return if args.wait { Ok(()) } else { Err(e) },
            Err(e) => {
                complaint.say(format!("{}; waiting for a bundle that can be used", e.why));
                if standby.is_none() {
                    standby = Some(StandBy::open(&reports, &board, State::NoBundle, born, seq)?);
                }
                seq = standby.as_mut().map_or(seq, |s| s.wait(&mut notifier, &stop, runs, BUNDLE_AGAIN));
            }
        }
    };
    drop(standby);
    if let Some(trouble) = &chosen.trouble {
        log::error!("{trouble}");
    }
    let mut reports = reports;
    if let Some(names) = left_alone {
        log::error!("{names}; left alone");
        // Lines for classes that are not there are no reason to stop.
        reports.retain(|spec| *spec != ReportSpec::Gpio || wiring.as_ref().is_some_and(|wiring| !wiring.is_empty()));
    }
    if let Some(taught) = taught.filter(|taught| *taught > 0) {
        log::info!("{taught} taught classes behind the bundle's own");
    }
    let fallback = chosen.trouble.is_some();
    let bundle = chosen.bundle;
    let given = args.source.as_ref().or(config.source.as_ref()).map(|text| text.parse::<Spec>()).transpose()?;
    let how = open::Options { board: Some(board.camera.clone()), ..open::Options::for_bundle(&bundle) };
    let its = board.clone();
    let opener = move || open::open(&source_spec(given.as_ref(), &its)?, &how);
    let (first, mut refusal) = match opener() {
        Ok(source) => (Some(source), None),
        // The capture thread says so, and counts it as its first attempt: a camera that is busy is asked every 2 s, not twice at once.
        Err(e @ SourceError::Lost { .. }) if args.wait => (None, Some(e)),
        Err(e) => return Err(e.into()),
    };
    let reopen = move || refusal.take().map_or_else(&opener, Err);
    let live = first.as_ref().is_none_or(|s| s.is_live());
    // A piece of an earlier run brings what was heard then.
    let kept = first.as_ref().is_some_and(|s| s.has_past());
    first.iter().for_each(|source| setup::recall(source.as_ref(), novelty.as_ref(), &mut pipeline));
    let from = first.as_ref().map_or_else(|| "waiting for the camera".into(), |s| s.describe());
    log::info!(
        "lookout {}, board {} ({}), bundle {} {} {} ({}), {from}",
        env!("CARGO_PKG_VERSION"),
        board.name,
        board.trust(),
        bundle.contract.name,
        bundle.contract.version,
        &bundle.hash[..8],
        chosen.from
    );
    let state = args.state.store(&config);
    // A recording is of another time, and counts nothing here.
    let keeper = novelty.filter(|_| live).map(|setup| Keeper::start(state.dir(), &setup)).transpose();
    let keeper = keeper.map_err(|e| Failure::broke(format!("novelty thread: {e}")))?;
    let desk = if config.commands.armed { Desk::armed() } else { Desk::default() };
    let sinks = sinks(&reports, wiring.as_ref(), &bundle, &desk, live)?;
    let ears = if kept {
        Ears::deaf()
    } else {
        Ears::open(&bundle, &config.extra, args.source.as_deref().or(config.source.as_deref()), live)?
    };
    let capture = Capture::start(first, Box::new(reopen)).map_err(|e| Failure::broke(format!("capture thread: {e}")))?;
    let blackbox = blackbox(args, &config, &bundle, live, &pipeline)?;
    let vitals = Vitals::open(&board.thermal);
    let mut watch = Watch {
        capture,
        ears,
        pipeline,
        keeper,
        herald: Herald { sinks, seq, begun: None, alarm: false },
        blackbox,
        teacher: Teacher::new(desk, &bundle, args.state.store(&config), &config),
        vitals,
        health: HealthClock::new(&bundle.hash).instead(fallback),
        live,
        begin: Timestamp::now(),
        born,
        notifier,
        runs,
    };
    watch.notifier.ready();
    let done = watch.until(&stop);
    watch.notifier.stopping();
    // The end of a recording is as whole as the rest of it: a slow reader is waited for as in the middle.
    let told = live || stop.load(Ordering::Relaxed);
    ended.store(!told, Ordering::Relaxed);
    watch.herald.close(if told { DRAIN } else { report::outbox::PATIENCE });
    watch.blackbox.iter_mut().for_each(|b| b.close(DRAIN));
    done
}

/// What is kept around events, where that is asked for.
fn blackbox(args: &Args, config: &Config, bundle: &Bundle, live: bool, pipeline: &Pipeline) -> Result<Option<BlackBox>, Failure> {
    let (wish, time) = (&config.blackbox, &bundle.contract.time);
    let Some(dir) = args.blackbox.clone().or_else(|| wish.dir.clone()) else { return Ok(None) };
    let ticks = |seconds: u32| (u64::from(seconds) * 1000).div_ceil(time.tick_ms.into()) as usize;
    let looked_at = Some(config.looked_at()).filter(|region| *region != Region::default());
    let header = Header {
        region: looked_at.map(|r| [r.x, r.y, r.w, r.h]),
        bundle: bundle.hash.clone(),
        tick_ms: time.tick_ms,
        tick_bytes: bundle.tick_bytes(),
        rows: bundle.contract.input.is_none(),
        extra: bundle.contract.extra.len(),
        ..Header::default()
    };
    let wish = Wish {
        dir,
        // A window before the event's own first tick, or its replay would still be warming up.
        before: ticks(wish.seconds_before).max(2 * time.window),
        after: ticks(wish.seconds_after),
        limit: u64::from(wish.max_mib) << 20,
        patient: !live,
    };
    BlackBox::start(header, wish, pipeline.before()).map(Some).map_err(Failure::refused)
}

fn options(config: &Config, args: &Args, board: &Board, bundle: &Bundle) -> Result<Options, Failure> {
    let decisions = config.decisions(&bundle.contract.decision, &bundle.labels).map_err(|e| Failure::refused(e.to_string()))?;
    let threads = args.threads.or(config.threads);
    if threads > board.threads {
        return Err(Failure::refused(format!("threads = {threads}: board {} has {} for inference", board.name, board.threads)));
    }
    let region = config.looked_at();
    Ok(Options {
        region,
        thresholds: decisions.iter().map(Thresholds::from).collect(),
        heartbeat: Duration::from_secs(config.heartbeat_s.into()),
        gate: args.gate.on(),
        place: args.place.on || config.place,
        form: Form::On(Engine { threads, ..Engine::best() }),
        ..Options::default()
    })
}

/// The source asked for, or the board's camera as it is called just now: it is looked for again at each opening, because
/// one that is not there yet has no name to wait for.
fn source_spec(given: Option<&Spec>, board: &Board) -> Result<Spec, SourceError> {
    if let Some(spec) = given {
        return Ok(spec.clone());
    }
    let what = format!("board {}", board.name);
    let path = board.camera_path().or_else(|| board.camera.device.first().map(PathBuf::from));
    let path = path.ok_or_else(|| SourceError::Refused { what, why: "it names no camera; say --source v4l2:PATH".into() })?;
    format!("v4l2:{}", path.display()).parse()
}

/// Which sinks are meant. Read before anything is opened: a misspelt word must not be said last.
fn report_specs(args: &Args, config: &Config, board: &Board) -> Result<Vec<ReportSpec>, Failure> {
    let given = if args.report.is_empty() { config.report.as_deref().unwrap_or_default() } else { args.report.as_slice() };
    Ok(board.reports(given)?)
}

fn sinks(
    specs: &[ReportSpec],
    wiring: Option<&Wiring>,
    bundle: &Bundle,
    desk: &Desk,
    live: bool,
) -> Result<Vec<Box<dyn Sink>>, Failure> {
    let identity = Identity { desk: desk.clone(), ..Identity::new(bundle) };
    let pace = if live { Pace::Live } else { Pace::Recording };
    specs.iter().map(|spec| Ok(report::open(spec, &identity, wiring, pace)?)).collect()
}

/// Where the service manager lets us keep what should outlive a run, but not a boot.
fn runtime_dir() -> Option<PathBuf> {
    let dirs = std::env::var_os("RUNTIME_DIRECTORY")?;
    std::env::split_paths(&dirs).next().filter(|dir| dir.is_absolute())
}
