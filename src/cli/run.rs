//! `lookout run`: live, until told to stop.
//!
//! Three kinds of threads: capture (in [`crate::capture`]), inference (this one), one writer per sink. systemd's
//! watchdog is fed by finished steps, or by a named state of waiting for the camera; never by a timer.

use super::Failure;
use super::setup::{BundleArg, GateArg, StateArg, ThreadsArg, choose};
use crate::baked;
use crate::board::{self, Board};
use crate::bundle::Bundle;
use crate::capture::{Arrival, Capture, Trouble};
use crate::config::Config;
use crate::decision::Thresholds;
use crate::encoder::Form;
use crate::health::HealthClock;
use crate::pipeline::{Options, Pipeline};
use crate::qnn::Engine;
use crate::report::{self, Identity, Pace, Report, ReportSpec, Sink, State};
use crate::shaper::Region;
use crate::source::open::{self, Spec};
use crate::source::{SourceError, Timestamp};
use crate::vitals::Vitals;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long sinks may take to send what is queued when we are told to stop.
const DRAIN: Duration = Duration::from_millis(500);
/// Longest wait for a frame before we look whether we are told to stop.
const LOOK_UP: Duration = Duration::from_millis(100);

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
    /// v4l2:PATH, pipe:-,nv12,640x480@30, y4m:FILE|-, avi:FILE, frames:DIR, features:FILE|- [default: the board's camera]
    #[arg(long, value_name = "SPEC")]
    source: Option<String>,
    /// serial:/dev/ttyAMA0,115200, gpio, stdout, file:PATH, json:-|PATH; may be given more than once
    #[arg(long, value_name = "SPEC")]
    report: Vec<String>,
    /// Wait for a camera that is not there yet instead of ending with exit code 1
    #[arg(long)]
    wait: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, stop.clone()).map_err(|e| Failure::broke(format!("signal {signal}: {e}")))?;
    }
    let config = match &args.config {
        Some(path) => Config::open(path),
        None => Config::installed(),
    };
    let config = config.map_err(|e| Failure::refused(e.to_string()))?;
    let refused = |e: board::BoardError| Failure::refused(e.to_string());
    let boards = baked::boards().map_err(refused)?;
    let wanted = args.board.as_deref().or(config.board.as_deref());
    let board = Board::choose(&boards, wanted, &board::machine()).map_err(refused)?;
    let named = args.bundle.bundle.as_deref().or(config.bundle.as_deref());
    let chosen = choose(named, &config, &args.state.store(&config))?;
    if let Some(trouble) = &chosen.trouble {
        log::error!("{trouble}");
    }
    let bundle = chosen.bundle;
    let options = options(&config, args, &board, &bundle)?;
    let pipeline = Pipeline::new(&bundle, &options)?;

    let reports = report_specs(args, &config, &board)?;
    let given = args.source.as_ref().or(config.source.as_ref()).map(|text| text.parse::<Spec>()).transpose()?;
    let how = open::Options { board: Some(board.camera.clone()), ..open::Options::for_bundle(&bundle) };
    let its = board.clone();
    let opener = move || open::open(&source_spec(given.as_ref(), &its)?, &how);
    let first = match opener() {
        Ok(source) => Some(source),
        Err(SourceError::Lost { device, why }) if args.wait => {
            log::warn!("{device}: {why}; waiting for it");
            None
        }
        Err(e) => return Err(e.into()),
    };
    let live = first.as_ref().is_none_or(|s| s.is_live());
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
    let sinks = sinks(&reports, &config, &board, &bundle, live)?;
    let capture = Capture::start(first, Box::new(opener)).map_err(|e| Failure::broke(format!("capture thread: {e}")))?;
    let vitals = Vitals::open(&board.thermal);
    let mut watch = Watch {
        capture,
        pipeline,
        herald: Herald { sinks, seq: 0 },
        vitals,
        health: HealthClock::new(&bundle.hash),
        live,
        begin: clock(),
    };
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    let done = watch.until(&stop);
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    watch.herald.sinks.iter_mut().for_each(|s| s.close(DRAIN));
    done
}

fn options(config: &Config, args: &Args, board: &Board, bundle: &Bundle) -> Result<Options, Failure> {
    let file = args.config.as_ref().map_or(crate::config::PATH.into(), |p| p.display().to_string());
    let decisions =
        config.decisions(&file, &bundle.contract.decision, &bundle.labels).map_err(|e| Failure::refused(e.to_string()))?;
    let thresholds =
        decisions.iter().map(|d| Thresholds { enter: d.enter, leave: d.leave, min: Duration::from_millis(d.min_ms.into()) });
    let threads = args.threads.or(config.threads);
    if threads > board.threads {
        return Err(Failure::refused(format!("threads = {threads}: board {} has {} for inference", board.name, board.threads)));
    }
    let region = config.region.map_or_else(Region::default, |r| Region { x: r.x, y: r.y, w: r.width, h: r.height });
    Ok(Options {
        region,
        thresholds: thresholds.collect(),
        heartbeat: Duration::from_secs(config.heartbeat_s.into()),
        gate: args.gate.on(),
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
    board.reports(given).map_err(|e| Failure::refused(e.to_string()))
}

fn sinks(
    specs: &[ReportSpec],
    config: &Config,
    board: &Board,
    bundle: &Bundle,
    live: bool,
) -> Result<Vec<Box<dyn Sink>>, Failure> {
    let identity = Identity::new(bundle);
    let wiring = board.wiring(&config.gpio, &bundle.labels).map_err(|e| Failure::refused(e.to_string()))?;
    let pace = if live { Pace::Live } else { Pace::Recording };
    specs.iter().map(|spec| Ok(report::open(spec, &identity, wiring.as_ref(), pace)?)).collect()
}

/// Numbers the reports and hands each to every sink.
struct Herald {
    sinks: Vec<Box<dyn Sink>>,
    seq: u32,
}

impl Herald {
    fn say(&mut self, report: &Report) {
        self.sinks.iter_mut().for_each(|s| s.send(self.seq, report));
        self.seq = self.seq.wrapping_add(1);
    }
}

/// Everything the inference thread owns.
struct Watch {
    capture: Capture,
    pipeline: Pipeline,
    herald: Herald,
    vitals: Vitals,
    health: HealthClock,
    /// A camera; a recording's health counts its own time, so that it says the same each time.
    live: bool,
    /// When we began to watch: a live source's reports count from its first frame, health before that from here.
    begin: Timestamp,
}

impl Watch {
    fn until(&mut self, stop: &AtomicBool) -> Result<(), Failure> {
        let mut missing = None;
        let mut latency = Latency::default();
        let mut first_frame = None;
        let mut complained = false;
        // A run whose only readers went away for good has nobody to watch for.
        while !stop.load(Ordering::Relaxed) && !self.herald.sinks.iter().all(|s| s.gone()) {
            match self.capture.wait(LOOK_UP) {
                Arrival::Frame => {
                    missing = None;
                    let Some((frame, until)) = self.capture.settled()? else { continue };
                    first_frame.get_or_insert(frame.at);
                    let (ticks, herald) = (self.pipeline.counts().ticks, &mut self.herald);
                    let done = self.pipeline.step(&frame, until, &mut (), &mut |r| herald.say(&r));
                    if let Err(e) = done {
                        let e = Failure::from(e);
                        if e.code == 2 {
                            return Err(e);
                        }
                        if !complained {
                            log::error!("{}; the tick repeats the last one", e.why);
                        }
                        complained = true;
                    }
                    if self.live && self.pipeline.counts().ticks > ticks {
                        latency.add(clock().since(frame.at));
                    }
                    self.alive();
                }
                Arrival::Trouble(trouble) => {
                    let herald = &mut self.herald;
                    // What comes back is another stream: nothing connects it with the frame in hand.
                    self.capture.last()?;
                    self.pipeline.interrupt(&mut |r| herald.say(&r));
                    missing = Some(match trouble {
                        Trouble::NoFrames => State::NoFrames,
                        Trouble::NoCamera(_) => State::NoCamera,
                    });
                }
                Arrival::Nothing => {}
                Arrival::End => {
                    let herald = &mut self.herald;
                    self.pipeline.finish(self.capture.last()?.as_ref(), &mut (), &mut |r| herald.say(&r))?;
                    return Ok(());
                }
                Arrival::Refused(e) => return Err(e.into()),
            }
            if missing.is_some() {
                self.alive();
            }
            let now = match (self.live, first_frame) {
                (false, _) => self.pipeline.now(),
                (true, first) => Timestamp(clock().0.saturating_sub(first.unwrap_or(self.begin).0)),
            };
            if let Some(mut health) = self.health.due(now, &self.pipeline) {
                health.state = missing.clone().unwrap_or(health.state);
                health.dropped = health.dropped.saturating_add(self.capture.broken());
                if self.live {
                    let vitals = self.vitals.read();
                    (health.celsius, health.throttled, health.p99_ms) = (vitals.celsius, vitals.throttled, latency.p99());
                }
                self.herald.say(&Report::Health(health));
            }
        }
        let herald = &mut self.herald;
        self.pipeline.interrupt(&mut |r| herald.say(&r));
        Ok(())
    }

    /// Something was decided, or we know what we wait for.
    fn alive(&self) {
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
    }
}

/// Time from a frame's stamp to its decision, over the last minute at ten ticks a second.
struct Latency {
    ms: [u16; 600],
    len: usize,
    next: usize,
}

impl Default for Latency {
    fn default() -> Self {
        Self { ms: [0; 600], len: 0, next: 0 }
    }
}

impl Latency {
    fn add(&mut self, d: Duration) {
        self.ms[self.next] = u16::try_from(d.as_millis()).unwrap_or(u16::MAX);
        self.next = (self.next + 1) % self.ms.len();
        self.len = (self.len + 1).min(self.ms.len());
    }

    fn p99(&self) -> Option<u32> {
        let mut sorted = self.ms;
        let sorted = &mut sorted[..self.len];
        sorted.sort_unstable();
        sorted.get(self.len * 99 / 100).map(|ms| u32::from(*ms))
    }
}

/// CLOCK_MONOTONIC, which the drivers stamp frames with.
fn clock() -> Timestamp {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Timestamp(u64::try_from(t.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(t.tv_nsec).unwrap_or(0))
}
