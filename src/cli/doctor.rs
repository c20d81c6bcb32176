//! `lookout doctor`: what is there, what is missing, and what to do about it, in a technician's words.
//!
//! It opens cameras and GPIO chips only to ask them what they are, and does not open serial ports, FIFOs and the files of reports at
//! all: opening a port can reset what hangs on the other end. Every device is asked in a thread of its own and gets `PATIENCE`, the source more, so that
//! a driver that hangs is named instead of hanging the doctor. Exit code: 0 when nothing that the configuration needs is
//! broken, so that `run` would begin; 2 when board, configuration or bundle are wrong, else 1.

mod around;
mod camera;
mod disk;
mod finding;
mod lines;
mod places;
mod rights;
mod senses;
mod serial;
mod source;
mod strange;

use super::Failure;
use super::calibrate::piece;
use super::run::reads_extras;
use super::setup::{self, Chosen, choose, fit_taught};
use crate::baked;
use crate::board::{self, Board, Wiring};
use crate::bundle::Bundle;
use crate::button::left_alone;
use crate::config::{self, Config};
use crate::report::{Label, ReportSpec};
use crate::source::SourceError;
use crate::source::open::is_camera;
use crate::source::open::{Spec, camera_spec};
use crate::store::Store;
use crate::vitals::{self, Vitals};
use camera::Wanted;
use finding::{Finding, Findings};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// How long cameras, serial ports and GPIO chips together may take to answer.
const PATIENCE: Duration = Duration::from_millis(1500);
/// And the source: the network is made ready for its first frame, which takes a slow processor a while.
const PATIENCE_SOURCE: Duration = Duration::from_secs(10);

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Configuration [default: /etc/lookout/lookout.toml where it exists]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Board by name, or a board file [default: the one the device tree names]
    #[arg(long, value_name = "NAME|FILE")]
    board: Option<String>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// The exit code, with nothing more to say: what is broken was printed.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), Failure> {
    let mut all = Findings::default();
    let config = configuration(args, &mut all);
    let board = this_board(args, &config, &mut all);
    let running = this_bundle(&config, &mut all);
    all.add(signatures(&config));
    let needs = Needs::of(&config, board.as_ref(), running.as_ref(), &mut all);
    let shut_out = around::shut_out(&config, needs.other.as_ref().map(Spec::path), &needs.files);
    let begin = Instant::now();
    let Needs { camera, other, serial, files, gpio } = needs;
    let (state, clips) = (config.state.clone(), config.blackbox.dir.clone());
    // What comes through a FIFO or a device is live; a recording ends where its reports cannot be had.
    let live = other.as_ref().is_none_or(|spec| std::fs::metadata(spec.path()).is_ok_and(|m| !m.is_file() && !m.is_dir()));
    let running = running.filter(|_| camera.is_some() || other.is_some());
    let first =
        move || running.and_then(|running| source::look(&config, &running, other.as_ref())).into_iter().collect::<Vec<_>>();
    let asked = [
        ("source", PATIENCE_SOURCE, ask(first)),
        ("camera", PATIENCE, ask(move || camera::look(camera.as_ref()))),
        ("serial", PATIENCE, ask(move || serial::look(&serial))),
        ("gpio", PATIENCE, ask(move || lines::look(gpio.as_ref()))),
        ("report", PATIENCE, ask(move || places::look(&files, clips.as_deref(), live))),
        ("state", PATIENCE, ask(move || vec![disk::look(&state)])),
    ];
    for (area, patience, answer) in asked {
        match answer.recv_timeout(patience.saturating_sub(begin.elapsed())) {
            Ok(findings) => all.extend(findings),
            Err(_) => all.add(
                Finding::broken(area, 1, format!("a driver did not answer within {} ms", patience.as_millis()))
                    .fix("unplug the device and plug it in again, or mount anew what hangs; `dmesg` says which driver hangs"),
            ),
        }
    }
    if let Some(board) = &board {
        all.add(vital_signs(board));
    }
    all.extend(around::look());
    all.extend(shut_out);
    all.print(args.json, out)?;
    match all.code() {
        0 => Ok(()),
        code => Err(Failure { code, why: String::new() }),
    }
}

/// Asks in a thread of its own. A thread that never answers ends with the process.
fn ask(f: impl FnOnce() -> Vec<Finding> + Send + 'static) -> mpsc::Receiver<Vec<Finding>> {
    let (answer, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        // Nobody listens any more once the time is up.
        let _ = answer.send(f());
    });
    receiver
}

/// The bundle that runs.
struct Running {
    bundle: Bundle,
    /// The one that was meant, and with what was taught: `run` leaves alone what is configured and does not fit another one.
    meant: bool,
}

/// What the configuration cannot do without.
struct Needs {
    /// The camera, if frames come from one.
    camera: Option<Wanted>,
    /// The recording or pipe, if they come from there.
    other: Option<Spec>,
    /// Ports that reports go to.
    serial: Vec<PathBuf>,
    /// Files that reports go to.
    files: Vec<PathBuf>,
    /// Lines and the bundle's labels, if reports go there.
    gpio: Option<(Wiring, Vec<Label>)>,
}

impl Needs {
    fn of(config: &Config, board: Option<&Board>, running: Option<&Running>, all: &mut Findings) -> Self {
        let mut needs = Self { camera: None, other: None, serial: Vec::new(), files: Vec::new(), gpio: None };
        match this_source(config, board) {
            Ok(Some(Given::Camera(camera))) => needs.camera = Some(camera),
            Ok(Some(Given::Other(spec))) => needs.other = Some(spec),
            Ok(None) => {}
            Err(e) => all.add(Finding::broken("camera", 2, e.to_string()).fix("correct `source` in the configuration")),
        }
        let Some(board) = board else { return needs };
        if let Err(e) = board.threads(config.threads) {
            all.add(Finding::broken("config", 2, e.to_string()).fix("say fewer `threads`"));
        }
        let reports = match board.reports(config.report.as_deref().unwrap_or_default()) {
            Ok(reports) => reports,
            Err(e) => {
                all.add(Finding::broken("report", 2, e.to_string()));
                return needs;
            }
        };
        for report in &reports {
            match report {
                ReportSpec::Serial { path, .. } => needs.serial.push(path.clone()),
                ReportSpec::File(path) | ReportSpec::Json(Some(path)) => needs.files.push(path.clone()),
                ReportSpec::Stdout | ReportSpec::Json(None) | ReportSpec::Gpio => {}
            }
        }
        if let Some(Running { bundle, meant }) = running {
            match board.wiring(&config.gpio, &bundle.labels) {
                Ok(wiring) => {
                    let wired = wiring.as_ref().is_some_and(|w| !w.is_empty());
                    let driven = reports.contains(&ReportSpec::Gpio);
                    if driven && !wired && *meant {
                        let says = "reports go to lines, and none is wired: neither a heartbeat nor one for novelty or a class of this bundle";
                        let fix = "take `gpio` out of `report`, or name a chip and lines under [gpio]";
                        all.add(Finding::broken("gpio", 2, says).fix(fix));
                    }
                    let driven = driven && wired;
                    let used = wiring.map(|w| if driven { w } else { w.buttons_only() });
                    needs.gpio = used.filter(|w| driven || !w.buttons.is_empty()).map(|w| (w, bundle.labels.clone()));
                }
                Err(e) => all.add(unfit("gpio", *meant, &e)),
            }
        }
        needs
    }
}

/// Where frames come from.
enum Given {
    Camera(Wanted),
    /// A recording or a pipe.
    Other(Spec),
}

/// Where frames come from, if anything says so.
fn this_source(config: &Config, board: Option<&Board>) -> Result<Option<Given>, SourceError> {
    let ask = board.map(|b| &b.camera);
    let Some(text) = &config.source else {
        let Some(ask) = ask else { return Ok(None) };
        // The path is one of several; only the wishes count.
        let spec = camera_spec("board", Some(ask))?;
        return Ok(Some(Given::Camera(Wanted { paths: ask.device.clone(), spec })));
    };
    let spec: Spec = text.parse()?;
    let within: &Spec = if let Spec::Faulty(_, within) = &spec { within } else { &spec };
    let camera = match within {
        Spec::V4l2(text) => text,
        Spec::Guess(path) if is_camera(path) => path,
        _ => return Ok(Some(Given::Other(spec))),
    };
    let spec = camera_spec(camera, ask)?;
    Ok(Some(Given::Camera(Wanted { paths: vec![spec.path.clone()], spec })))
}

fn configuration(args: &Args, all: &mut Findings) -> Config {
    let from = match &args.config {
        Some(path) => path.display().to_string(),
        None if Path::new(config::PATH).exists() => config::PATH.into(),
        None => "none installed, the defaults hold".into(),
    };
    match setup::config(args.config.as_deref()) {
        Ok(config) => {
            all.add(Finding::ok("config", from));
            config
        }
        Err(e) => {
            all.add(Finding::broken("config", 2, e.why).fix("correct it; below, the defaults are assumed"));
            Config::default()
        }
    }
}

fn this_board(args: &Args, config: &Config, all: &mut Findings) -> Option<Board> {
    let wanted = args.board.as_deref().or(config.board.as_deref());
    let machine = board::machine();
    let tree = if machine.is_empty() { "no device tree".into() } else { format!("device tree {}", machine.join(", ")) };
    match baked::boards().and_then(|boards| Board::choose(&boards, wanted, &machine)) {
        Ok(board) => {
            all.add(Finding::ok("board", format!("{}: {}, {}", board.name, board.title, board.trust())).more(tree));
            Some(board)
        }
        Err(e) => {
            all.add(Finding::broken("board", 2, e.to_string()).more(tree));
            None
        }
    }
}

/// What is configured and does not fit the bundle that runs.
fn unfit(area: &'static str, meant: bool, why: &dyn std::error::Error) -> Finding {
    if meant {
        return Finding::broken(area, 2, why.to_string());
    }
    Finding::note(area, format!("{why}; left alone while another bundle runs than the one that was meant"))
}

fn this_bundle(config: &Config, all: &mut Findings) -> Option<Running> {
    match choose(config.bundle.as_deref(), config, &Store::at(&config.state)) {
        Ok(Chosen { mut bundle, from, trouble }) => {
            let taught = fit_taught(&mut bundle, &Store::at(&config.state));
            let elsewhere = setup::taught_elsewhere(&bundle, &Store::at(&config.state));
            let extras = reads_extras(config, bundle.contract.extra.iter().map(|extra| extra.name.as_str()));
            let decisions = config.decisions(&bundle.contract.decision, &bundle.labels).map(drop);
            let meant = trouble.is_none() && taught.is_ok();
            let spared = setup::spares(config, &bundle, &Store::at(&config.state));
            let all_fit = [(config.names(&bundle.labels), meant && !spared), (extras, meant), (decisions, meant)];
            let labels: Vec<&str> = bundle.labels.iter().map(|l| l.as_str()).collect();
            let c = &bundle.contract;
            let text = format!("{} {} {} ({from}), hashes and golden vectors right", c.name, c.version, &bundle.hash[..8]);
            all.add(Finding::ok("bundle", text).more(format!("classes {}", labels.join(", "))));
            match (taught, &bundle.lesson) {
                (Err(e), _) => all.add(
                    Finding::note("taught", format!("{}; the bundle's own classes run without it", e.why))
                        .fix("`lookout teach --undo`, or show the examples again"),
                ),
                (Ok(1..), Some(lesson)) => {
                    let says = format!("{} ({} examples)", lesson.labels().join(", "), lesson.shown().count());
                    all.add(Finding::ok("taught", says));
                }
                _ => {}
            }
            if let Some(trouble) = trouble {
                all.add(Finding::note("bundle", trouble).fix("`lookout install` it once more, or `lookout install --undo`"));
            }
            if let Some(what) = elsewhere {
                let fix = "show the examples again (`lookout teach`), or install that bundle again";
                all.add(Finding::note("taught", what).fix(fix));
            }
            if let Some(what) = piece::of_another(&config.file, &bundle.hash) {
                all.add(Finding::note("config", what));
            }
            for (fits, binds) in all_fit {
                fits.unwrap_or_else(|e| all.add(unfit("config", binds, &e)));
            }
            for label in config.gpio.buttons.keys().filter(|label| c.head.labels.contains(label)) {
                all.add(
                    Finding::note("gpio", left_alone(label))
                        .fix("name a class that the bundle does not have, or take the button out"),
                );
            }
            all.extend(senses::look(config, &bundle));
            all.extend(strange::look(config, &bundle));
            Some(Running { bundle, meant })
        }
        Err(e) => {
            all.add(Finding::broken("bundle", 2, e.why).fix("copy it again, or leave `bundle` out for the built-in one"));
            None
        }
    }
}

/// Who may make bundles for this box?
fn signatures(config: &Config) -> Finding {
    let (keys, state) = (config.install.keys.len(), config.state.display());
    match keys {
        0 => {
            Finding::ok("install", format!("bundles go to {state}; anybody who may write there decides what runs (install.keys)"))
        }
        _ => Finding::ok("install", format!("bundles go to {state}; only those signed by {keys} known keys run")),
    }
}

fn vital_signs(board: &Board) -> Finding {
    let vitals = Vitals::open(&board.thermal);
    let now = vitals.read();
    let heat = now.celsius.map_or("no temperature to be read".into(), |c| format!("{c} degrees C"));
    let up = vitals::uptime().as_secs();
    let since = format!("up {} h {} min", up / 3600, up / 60 % 60);
    match now.throttled {
        Some(true) => Finding::note("heat", format!("{heat}, {since}: the processor is being slowed down"))
            .fix("cool the box, and give it the supply its maker asks for: under-voltage shows here too"),
        Some(false) => Finding::ok("heat", format!("{heat}, not throttled, {since}")),
        None => Finding::ok("heat", format!("{heat}, throttling unknown on this board, {since}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(args: &Args) -> (u8, String) {
        let mut out = Vec::new();
        let code = run(args, &mut out).map_or_else(|f| f.code, |()| 0);
        (code, String::from_utf8(out).expect("text"))
    }

    #[test]
    fn a_wrong_configuration_is_code_2_and_the_rest_is_still_said() {
        let start = Instant::now();
        let config = Some(PathBuf::from("/nowhere/lookout.toml"));
        let (code, text) = say(&Args { config, board: Some("host".into()), json: false });
        assert_eq!(code, 2);
        assert!(text.contains("/nowhere/lookout.toml: ") && text.contains("board    host"), "{text}");
        assert!(start.elapsed() < PATIENCE + Duration::from_millis(500));
    }

    #[test]
    fn json_is_one_object_a_line_and_ends_with_the_verdict() {
        let (code, text) = say(&Args { config: None, board: Some("no-such-board".into()), json: true });
        assert_eq!(code, 2);
        let lines: Vec<serde_json::Value> = text.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
        let verdict = lines.last().expect("some");
        assert_eq!((verdict["ok"].as_bool(), verdict["code"].as_u64()), (Some(false), Some(2)));
        assert!(lines.iter().any(|l| l["area"] == "board" && l["level"] == "broken"));
    }

    #[test]
    fn a_driver_that_hangs_does_not_hang_the_doctor() {
        let answer = ask(|| {
            std::thread::park();
            Vec::new()
        });
        assert!(answer.recv_timeout(Duration::from_millis(5)).is_err());
    }
}
