//! `lookout run`: live, until told to stop.
//!
//! Reports pass through capture (in [`crate::capture`]), inference (this thread, in `watch`; with `threads = 2` another one for the encoder) and one writer
//! per sink. Beside them, where there is something for them to do and in nobody's way: one thread a device of extras, one each for buttons, the black box,
//! what novelty counts (`keeper`) and what is being taught (`teacher`). A panic in any of them ends the process with one line (`panic`): half a lookout is
//! worse than one that is started again. Where there is nothing to watch with - too many ends in a minute, no bundle - the sinks still say so (`standby`).

mod herald;
mod keeper;
mod latency;
mod notify;
mod panic;
mod ready;
mod standby;
mod teacher;
mod watch;

use super::Failure;
use super::ears::Ears;
use super::setup::{self, BoxBundleArg, Chosen, GateArg, Origin, StateArg, ThreadsArg, WhereArg};
use super::stop;
use crate::baked;
use crate::blackbox::Header;
use crate::blackbox::writer::{BlackBox, Wish};
use crate::board::{self, Board, Wiring};
use crate::bundle::Bundle;
use crate::button::Buttons;
use crate::capture::{Capture, Opener};
use crate::complaint::Complaint;
use crate::config::Config;
use crate::health::HealthClock;
use crate::life::Runs;
use crate::pipeline::Pipeline;
use crate::report::desk::Desk;
use crate::report::{self, Identity, LastEnd, Pace, ReportSpec, Sink, State};
use crate::shaper::Region;
use crate::source::open::{self, Spec};
use crate::source::{Fault, Source, SourceError, Timestamp, may_come};
use crate::store::trial;
use crate::sys::stderr;
use crate::vitals::Vitals;
use herald::Herald;
use keeper::Keeper;
use notify::Notifier;
use ready::{Ready, prepare};
pub use ready::{heard, reads_extras};
use standby::{Pause, StandBy};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;
use teacher::Teacher;
use watch::Watch;

/// How long sinks may take to send what is queued when we are told to stop.
const DRAIN: Duration = Duration::from_millis(500);
/// After too many ends in a minute nothing is watched for this long; then it is tried again.
const SAFE_MODE: Duration = Duration::from_secs(300);
/// A bundle that cannot be used is tried again this often.
const BUNDLE_AGAIN: Duration = Duration::from_secs(2);
/// Longest time from the beginning of a try to the first ping: the trials of the installed bundle and of the one before it, and as long as one of them
/// for all that is done here: loading, golden vectors, opening the camera.
const READY_WITHIN: Duration = Duration::from_secs(3 * trial::WALL.as_secs());

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Configuration [default: /etc/lookout/lookout.toml where it exists]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Board by name, or a board file [default: `board` of the configuration, else the one the device tree names]
    #[arg(long, value_name = "NAME|FILE")]
    board: Option<String>,
    #[command(flatten)]
    bundle: BoxBundleArg,
    #[command(flatten)]
    state: StateArg,
    #[command(flatten)]
    gate: GateArg,
    #[command(flatten)]
    threads: ThreadsArg,
    #[command(flatten)]
    place: WhereArg,
    /// v4l2:PATH, pipe:-,nv12,640x480@30, y4m:FILE|-, avi:FILE, frames:DIR, features:FILE|- [default: `source` of the configuration, else the board's
    /// camera]
    #[arg(long, value_name = "SPEC")]
    source: Option<String>,
    /// serial:/dev/ttyAMA0,115200 (then ,rtscts for flow control), serial (the board's own port), gpio, stdout, file:PATH, json:-|PATH; may be given more
    /// than once [default: `report` of the configuration, else what the board says]
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
        Ok(LastEnd::Stopped) => runs.end(LastEnd::Stopped, ""),
        // A service that plays the same recording again and again is no service.
        Ok(how) => runs.end(*how, "the source has ended"),
        Err(e) => runs.end(LastEnd::Failed, &e.why),
    }
    done.map(drop)
}

/// Runs until it is told to stop, or the source has ended (`Failed`).
fn lookout(args: &Args, runs: &mut Runs) -> Result<LastEnd, Failure> {
    let born = Timestamp::now();
    let stop = stop::flag()?;
    // While a recording's last reports wait for a slow reader nobody looks at it, and the signal itself ends the run.
    let ended = stop::at_once()?;
    let config = setup::config(args.config.as_deref())?;
    let store = args.state.store(&config);
    let source = args.source.as_deref().or(config.source.as_deref());
    let board = Board::choose(&baked::boards()?, args.board.as_deref().or(config.board.as_deref()), &board::machine())?;
    let mut reports = report_specs(args, &config, &board)?;

    let mut pause = Pause { reports: &reports, board: &board, born, stop: &stop, runs, notifier: Notifier::open(), seq: 0 };
    if pause.runs.too_many() {
        safe_mode(&mut pause)?;
    }
    let Some(ready) = wait_for_bundle(&mut pause, args.wait, || prepare(args, &config, &store, &board))? else {
        return Ok(LastEnd::Stopped);
    };
    let Pause { notifier, seq, .. } = pause;
    say_what_differs(&ready);
    if ready.chosen.trouble.is_some() || ready.taught.is_none() {
        // Lines for classes that are not there are no reason to stop.
        reports.retain(|spec| *spec != ReportSpec::Gpio || ready.has_lines());
    }
    let Ready { chosen, mut pipeline, wiring, novelty, .. } = ready;
    let Chosen { bundle, from, trouble } = chosen;

    let Opened { first, again } = open_source(source, &board, &bundle, args.wait)?;
    let live = first.as_ref().is_none_or(|s| s.is_live());
    if !live {
        stderr::wait_for_reader();
    }
    // A piece of an earlier run brings what was heard then.
    let kept = first.as_ref().is_some_and(|s| s.has_past());
    first.iter().for_each(|source| setup::recall(source.as_ref(), novelty.as_ref(), &mut pipeline));
    announce(&board, &bundle, from, first.as_deref());

    // A recording is of another time, and counts nothing here.
    let keeper = novelty.filter(|_| live).map(|setup| Keeper::start(store.dir(), &setup)).transpose();
    let keeper = keeper.map_err(|e| Failure::broke(format!("novelty thread: {e}")))?.flatten();
    let buttons = wiring.as_ref().filter(|wiring| !wiring.buttons.is_empty());
    let commanded = config.commands.armed || buttons.is_some();
    let desk = if commanded { Desk::open(config.commands.armed) } else { Desk::default() };
    let buttons = buttons.map(|wiring| Buttons::start(wiring, &bundle.contract.head.labels, &desk)).transpose();
    let _buttons = buttons.map_err(Failure::refused)?;
    let identity = Identity { desk: desk.clone(), born: Some(born), ..Identity::new(&bundle) };
    let sinks = sinks(&reports, wiring.as_ref(), &identity, live)?;
    let ears = if kept { Ears::deaf() } else { Ears::open(&bundle, &config.extra, source, live)? };
    let capture = Capture::start(first, again).map_err(|e| Failure::broke(format!("capture thread: {e}")))?;
    let blackbox = blackbox(args, &config, &bundle, live, &pipeline)?;
    let vitals = Vitals::open(&board.thermal);
    let mut watch = Watch {
        source: source.unwrap_or("the camera").into(),
        capture,
        ears,
        pipeline,
        keeper,
        herald: Herald { sinks, seq, begun: None, alarm: false },
        blackbox,
        teacher: Teacher::new(desk, &bundle, store, &config),
        vitals,
        health: HealthClock::new(&bundle.hash).instead(trouble.is_some()),
        live,
        begin: Timestamp::now(),
        born,
        notifier,
        runs,
        patience: bundle.contract.time.patience(),
    };

    watch.notifier.ready();
    let mut done = watch.until(&stop);
    watch.notifier.stopping();
    if live && done.is_ok() && !stop.load(Ordering::Relaxed) && !watch.herald.is_alone() {
        // A camera's program that ends is a camera that is gone; a service is to be started again for it.
        let why = "the pipe has ended: no frames come any more";
        if args.wait { done = Err(Failure::broke(why)) } else { log::warn!("{why}") }
    }
    // The end of a recording is as whole as the rest of it: a slow reader is waited for as in the middle.
    let told = live || stop.load(Ordering::Relaxed);
    ended.store(!told, Ordering::Relaxed);
    let whole = watch.herald.close(if told { DRAIN } else { report::outbox::PATIENCE });
    if !told && !whole && done.is_ok() {
        done = Err(Failure::broke("not all reports of this recording could be written"));
    }
    watch.blackbox.iter_mut().for_each(|b| b.close(DRAIN));
    done.map(|()| if stop.load(Ordering::Relaxed) { LastEnd::Stopped } else { LastEnd::Failed })
}

/// After too many ends in a minute: nothing is watched for a while, and the sinks say so.
fn safe_mode(pause: &mut Pause<'_>) -> Result<(), Failure> {
    log::error!(
        "{} starts within {:?}: safe mode, nothing is watched for {SAFE_MODE:?}",
        crate::life::MANY + 1,
        crate::life::SPAN
    );
    let mut standby = StandBy::open(pause, State::SafeMode)?;
    standby.wait(pause, SAFE_MODE);
    pause.runs.forgive();
    Ok(())
}

/// What `prepare` makes ready; where we may wait, as soon as there is a bundle that can be used. `None`: told to stop before.
fn wait_for_bundle(
    pause: &mut Pause<'_>,
    wait: bool,
    prepare: impl Fn() -> Result<Ready, Failure>,
) -> Result<Option<Ready>, Failure> {
    let (mut standby, mut complaint) = (None, Complaint::default());
    loop {
        pause.notifier.busy(READY_WITHIN);
        match prepare() {
            Ok(ready) => return Ok(Some(ready)),
            Err(e) if !wait => return Err(e),
            Err(_) if pause.stop.load(Ordering::Relaxed) => return Ok(None),
            Err(e) => {
                complaint.say(format!("{}; waiting for a bundle that can be used", e.why));
                let mut here = match standby.take() {
                    Some(here) => here,
                    None => StandBy::open(pause, State::NoBundle)?,
                };
                here.wait(pause, BUNDLE_AGAIN);
                standby = Some(here);
            }
        }
    }
}

/// What is not as it was meant to be, and what was taught.
fn say_what_differs(ready: &Ready) {
    if let Some(trouble) = &ready.chosen.trouble {
        log::error!("{trouble}");
    }
    ready.left_alone.iter().for_each(|what| log::error!("{what}"));
    if let Some(taught) = ready.taught.filter(|taught| *taught > 0) {
        log::info!("{taught} taught classes behind the bundle's own");
    }
}

/// A source, and what opens it again.
struct Opened {
    /// `None`: it is not there yet, and may come.
    first: Option<Box<dyn Source>>,
    again: Opener,
}

fn open_source(text: Option<&str>, board: &Board, bundle: &Bundle, wait: bool) -> Result<Opened, Failure> {
    let given = text.map(str::parse::<Spec>).transpose()?;
    let is_rows = given.as_ref().and_then(Spec::gives_rows) == Some(true);
    let how = open::Options { board: Some(board.camera.clone()), ..open::Options::for_bundle(bundle) };
    let its = board.clone();
    let opener = move || {
        let spec = source_spec(given.as_ref(), &its)?;
        // A FIFO of rows that nobody has made yet, or that is not ours yet.
        let there = Path::new(spec.path()).metadata().is_ok_and(|meta| meta.is_file() || meta.is_dir());
        let awaited = wait && is_rows && how.rows_may_be_live() && !there;
        open::open(&spec, &how).map_err(|e| if awaited { may_come(e) } else { e })
    };
    let (first, mut refusal) = match opener() {
        Ok(source) => (Some(source), None),
        // The capture thread says so, and counts it as its first attempt: a camera that is busy is asked every 2 s, not twice at once.
        Err(e @ SourceError::Lost { .. }) if wait => (None, Some(e)),
        Err(e) => return Err(e.into()),
    };
    let live_rows = is_rows && first.as_ref().is_none_or(|source| source.is_live());
    let again = move || match refusal.take().map_or_else(&opener, Err)? {
        // It would be played as a recording, in the middle of what is live.
        source if live_rows && !source.is_live() => {
            let (device, why) = (source.describe(), "a file, expected a FIFO".into());
            Err(SourceError::Lost { device, why, fault: Fault::Refuses })
        }
        source => Ok(source),
    };
    Ok(Opened { first, again: Box::new(again) })
}

/// The one line that says what runs: version, board, bundle, source.
fn announce(board: &Board, bundle: &Bundle, from: Origin, source: Option<&dyn Source>) {
    let source = source.map_or_else(|| "waiting for the camera".into(), |s| s.describe());
    log::info!(
        "lookout {}, board {} ({}), bundle {} {} {} ({from}), {source}",
        env!("CARGO_PKG_VERSION"),
        board.name,
        board.trust(),
        bundle.contract.name,
        bundle.contract.version,
        &bundle.hash[..8]
    );
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

fn sinks(specs: &[ReportSpec], wiring: Option<&Wiring>, identity: &Identity, live: bool) -> Result<Vec<Box<dyn Sink>>, Failure> {
    let pace = if live { Pace::Live } else { Pace::Recording };
    specs.iter().map(|spec| Ok(report::open(spec, identity, wiring, pace)?)).collect()
}

/// Where the service manager lets us keep what should outlive a run, but not a boot.
fn runtime_dir() -> Option<PathBuf> {
    let dirs = std::env::var_os("RUNTIME_DIRECTORY")?;
    std::env::split_paths(&dirs).next().filter(|dir| dir.is_absolute())
}
