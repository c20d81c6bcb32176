//! `lookout learn`: what is normal here, from the box's own camera or from recordings, without labels; and `lookout novelty`: how strange recordings are.
//!
//! Learning from a camera takes as long as it is told and as much memory as that comes to (said and refused beforehand where it is too much). Every
//! minute the features of the last one are added to `learn.rows` in the state folder and flushed, and said: a kill or a power cut costs what was not
//! said yet, and the same command goes on; with another source it is refused, because two places are not one normal. When the time is up, or at a
//! signal, everything is learnt at once, in seconds ([`crate::novelty::normal`]), and `novelty.json` is replaced whole. `run` uses it from its next
//! start on. A source that ends sooner has broken, and half a day is no day: nothing is learnt, and what was kept stays for the same command.

use super::Failure;
use super::play::{Played, play};
use super::promised;
use super::setup::{self, BoxBundleArg, StateArg, on_box};
use super::stop;
use crate::bundle::Bundle;
use crate::config::Config;
use crate::novelty::normal::{self, Loss, Terms};
use crate::novelty::{self, FILE, NETWORK, Setup};
use crate::pipeline::{Options, Probe};
use crate::report::Report;
use crate::source::{Frame, Shaped, Timestamp};
use crate::store::novelty as kept;
use crate::store::rows::{Kept, KeptError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Features that are kept in memory while learning, bytes: a day of the built-in bundle's 96 numbers at 10 Hz is 332 MB.
const MAX_BYTES: u64 = 384 << 20;
/// What is learnt from goes onto the disk in pieces of this length.
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
    /// How long to look, with --source; one that ends sooner is exit code 1, and the same command goes on from what was kept
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=10_080))]
    minutes: u32,
    /// Where what was learnt goes [default: novelty.json in the state folder]
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
    /// How far what comes is from what was foreseen
    #[arg(long, value_enum, default_value_t = Loss::Squared)]
    loss: Loss,
    /// How far ahead is foreseen, ms
    #[arg(long, value_name = "MS", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=30_000))]
    horizon_ms: u32,
    /// How long what is strange stays so, ms
    #[arg(long, value_name = "MS", default_value_t = 8000, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    hold_ms: u32,
    /// Of everything that is drawn at random; a bundle with a network of its own keeps that one's
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Ask of every number by itself, too, how far and how long it stayed where it never did
    #[arg(long)]
    each: bool,
    /// Configuration: its bundle and state folder, the part of the picture that is looked at and, with --source, the devices that a bundle's extra numbers
    /// come from [default: /etc/lookout/lookout.toml where it exists]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    bundle: BoxBundleArg,
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
    /// False alarms a day that are allowed; a clip of the black box has its run's own
    #[arg(long, value_name = "N", default_value_t = 1.0)]
    false_alarms: f64,
    /// Configuration: its bundle and state folder, and the part of the picture that is looked at, which is to be the one that was learnt from [default:
    /// /etc/lookout/lookout.toml where it exists]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    bundle: BoxBundleArg,
    #[command(flatten)]
    state: StateArg,
}

/// Runs `learn`.
pub fn learn(args: &LearnArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let config = setup::config(args.config.as_deref())?;
    let store = args.state.store(&config);
    let bundle = on_box(args.bundle.bundle.as_deref(), &config, &store)?;
    let tick_ms = bundle.contract.time.tick_ms;
    let alike = bundle.contract.input.as_ref().map_or(0, |i| i.features);
    // A bundle's own network goes on being used; what stands behind it is learnt here.
    let brought = novelty::of_bundle(&bundle).map_err(Failure::refused)?.filter(|setup| !setup.normal.network.is_empty());
    let network = brought.as_ref().and_then(|_| bundle.file(NETWORK));
    let terms = Terms {
        back: brought.as_ref().is_some_and(|setup| setup.normal.back),
        loss: args.loss,
        horizon_ms: args.horizon_ms,
        hold_ms: args.hold_ms,
        // Wide rows are looked at through sums that are drawn from it: the network knows those of its own training.
        seed: brought.as_ref().map_or(args.seed, |setup| setup.normal.seed),
        each: args.each,
        block: config.novelty.block(tick_ms),
        ..Terms::new(tick_ms, alike)
    };
    // Before the long work.
    terms.check().map_err(Failure::refused)?;
    let state = store.dir().to_path_buf();
    let path = args.out.clone().unwrap_or_else(|| state.join(FILE));
    if args.source.is_some() {
        let fewest = terms.fewest_minutes().map_err(Failure::refused)?;
        if args.minutes < fewest {
            let why = format!("--minutes {}: too few to learn from, at least {fewest} expected with this bundle", args.minutes);
            return Err(Failure::refused(why));
        }
    }
    // Nobody else adds to what was kept before it has been learnt from and is forgotten.
    let (stretches, rows) = match &args.source {
        Some(source) => {
            let (stretches, rows) = from_camera(source, args, &config, &bundle, &state)?;
            (stretches, Some(rows))
        }
        None => {
            let (mut taken, options) = (Taken::default(), Options { region: config.looked_at(), ..Options::default() });
            for clip in &args.clips {
                play(clip, &bundle, Played::whole(&options), &mut taken, &mut |_| {}, &mut |_| {})?;
            }
            (taken.stretches, None)
        }
    };
    let learnt = normal::learn(&bundle.hash, bundle.features(), &stretches, &terms, network).map_err(Failure::refused)?;
    kept::write(&path, &learnt).map_err(Failure::broke)?;
    if let Some(rows) = rows {
        rows.forget(&state);
    }
    let hours = f64::from(tick_ms) * learnt.learnt as f64 / 3.6e6;
    let ticks = learnt.learnt;
    let promise = promised::words(&Setup::of(learnt, network).map_err(Failure::broke)?);
    let c = &bundle.contract;
    writeln!(
        out,
        "{}: learnt from {ticks} ticks ({hours:.2} h), a third of them kept to judge by, for bundle {} {}; {promise}",
        path.display(),
        c.name,
        c.version
    )?;
    Ok(())
}

/// Minute by minute, until the time is up or a signal comes; then the stretches of all that was kept, and the files that they were kept in.
fn from_camera(
    source: &str,
    args: &LearnArgs,
    config: &Config,
    bundle: &Bundle,
    state: &Path,
) -> Result<(Vec<Vec<f32>>, Kept), Failure> {
    let (features, tick_ms) = (bundle.features(), bundle.contract.time.tick_ms);
    let bytes = u64::from(args.minutes) * u64::from(60_000 / tick_ms) * features as u64 * 4;
    if bytes > MAX_BYTES {
        let most = u64::from(args.minutes) * MAX_BYTES / bytes;
        return Err(Failure::refused(format!(
            "--minutes {}: at most {most} of this bundle's features are kept in memory",
            args.minutes
        )));
    }
    let stop = stop::flag_of_the_resumable()?;
    let mut minutes = Minutes {
        kept: Kept::open(state, bundle).map_err(Failure::broke)?.of(state, source)?,
        piece: vec![],
        full: (PIECE.as_millis() / u128::from(tick_ms)).max(1) as usize * features,
        row_ms: f64::from(tick_ms) / features as f64,
        wanted: args.minutes,
        stop: &stop,
        failed: None,
    };
    if !minutes.kept.pieces.is_empty() {
        log::info!("going on: {} of {} minutes are kept already", minutes.done(), args.minutes);
    }
    let left = args.minutes.saturating_sub(minutes.done());
    if left > 0 {
        let options = Options { region: config.looked_at(), ..Options::default() };
        let most = Duration::from_secs(60 * u64::from(left));
        let played = Played { most: Some(most), stop: Some(&stop), heard: Some(&config.extra), ..Played::whole(&options) };
        let (mut first, mut last) = (None, Timestamp::default());
        let mut look = |frame: &Frame<'_>| {
            first.get_or_insert(frame.at);
            last = frame.at;
        };
        let seen = play(source, bundle, played, &mut minutes, &mut look, &mut |_| {});
        minutes.flush();
        if let Some(why) = minutes.failed.take() {
            return Err(Failure::broke(why));
        }
        let told = stop.load(Ordering::Relaxed);
        // Told to stop before the camera gave anything: what was kept before is learnt from.
        if !told || minutes.kept.pieces.is_empty() {
            seen?;
        }
        let over = first.is_some_and(|first| last.since(first) >= most);
        if !told && !over && minutes.done() < args.minutes {
            let (done, all) = (minutes.done(), args.minutes);
            let why = format!("{source}: the source ended after {done} of {all} minutes; the same command goes on");
            return Err(Failure::broke(why));
        }
    }
    let Minutes { mut kept, full, .. } = minutes;
    Ok((joined(std::mem::take(&mut kept.pieces), full), kept))
}

/// Pieces as stretches: one that is full is followed by the next, as long as nothing broke in between. That it was a restart is not known of it, and costs
/// a second of one minute.
fn joined(pieces: Vec<Vec<f32>>, full: usize) -> Vec<Vec<f32>> {
    let (mut stretches, mut goes_on) = (Vec::<Vec<f32>>::new(), false);
    for piece in pieces {
        let is_full = piece.len() >= full;
        match stretches.last_mut().filter(|_| goes_on) {
            Some(stretch) => stretch.extend(piece),
            None => stretches.push(piece),
        }
        goes_on = is_full;
    }
    stretches
}

impl From<KeptError> for Failure {
    fn from(e: KeptError) -> Self {
        match e {
            KeptError::Lost(why) => Self::broke(why),
            KeptError::Other(why) => Self::refused(why),
        }
    }
}

/// Features of every tick, a new stretch where nothing connects it with what was.
#[derive(Default)]
struct Taken {
    stretches: Vec<Vec<f32>>,
}

impl Probe for Taken {
    fn taken(&mut self, _: Timestamp, _: Shaped<'_>, _: &[f32], first: bool) {
        if first {
            self.stretches.push(vec![]);
        }
    }

    fn features(&mut self, features: &[f32]) {
        self.stretches.last_mut().into_iter().for_each(|s| s.extend_from_slice(features));
    }
}

/// The same, a minute at a time onto the disk.
struct Minutes<'a> {
    kept: Kept,
    piece: Vec<f32>,
    /// Numbers of a whole piece.
    full: usize,
    /// Time that a number stands for, ms.
    row_ms: f64,
    wanted: u32,
    /// Told to stop; also set here, where nothing more can be kept.
    stop: &'a AtomicBool,
    failed: Option<String>,
}

impl Minutes<'_> {
    fn done(&self) -> u32 {
        (self.kept.pieces.iter().map(Vec::len).sum::<usize>() as f64 * self.row_ms / 60_000.0 + 1e-6) as u32
    }

    fn flush(&mut self) {
        if self.piece.is_empty() || self.failed.is_some() {
            return;
        }
        match self.kept.add(std::mem::take(&mut self.piece)) {
            Ok(()) => log::info!("{} of {} minutes kept", self.done(), self.wanted),
            Err(why) => {
                self.failed = Some(why);
                self.stop.store(true, Ordering::Relaxed);
            }
        }
    }
}

impl Probe for Minutes<'_> {
    fn taken(&mut self, _: Timestamp, _: Shaped<'_>, _: &[f32], first: bool) {
        if first {
            self.flush();
        }
    }

    fn features(&mut self, features: &[f32]) {
        self.piece.extend_from_slice(features);
        if self.piece.len() >= self.full {
            self.flush();
        }
    }
}

/// Runs `novelty`: one line a tick.
pub fn novelty(args: &NoveltyArgs, out: &mut dyn Write) -> Result<(), Failure> {
    setup::false_alarms(args.false_alarms)?;
    let config = setup::config(args.config.as_deref())?;
    let store = args.state.store(&config);
    let bundle = on_box(args.bundle.bundle.as_deref(), &config, &store)?;
    let state = store.dir().to_path_buf();
    let setup = match &args.normal {
        Some(path) => {
            let named = |why: String| Failure::refused(format!("{}: {why}", path.display()));
            let normal = kept::read(path).map_err(Failure::refused)?.ok_or_else(|| named("no such file".into()))?;
            normal.fits(bundle.features(), bundle.contract.time.tick_ms).map_err(named)?;
            Some(Setup::of(normal, bundle.file(NETWORK)).map_err(named)?)
        }
        None => kept::of_place(&state, &bundle),
    };
    let nothing = || format!("nothing says what is normal with bundle {}; `lookout learn` finds out", bundle.contract.name);
    let mut setup = setup.ok_or_else(|| Failure::refused(nothing()))?;
    setup.rate = args.false_alarms * f64::from(setup.block) * f64::from(setup.normal.tick_ms) / 86_400_000.0;
    writeln!(out, "clip,ms,score,threshold,now")?;
    for clip in &args.clips {
        let region = config.looked_at();
        let options = Options { novelty: Some(setup.clone()), heartbeat: Duration::ZERO, region, ..Options::default() };
        let mut lines = vec![];
        let mut say = |report: Report| {
            if let Report::Novelty(n) = report {
                let number = |v: f32| if v.is_finite() { format!("{v:.4}") } else { String::new() };
                lines.push(format!("{},{},{},{}", Timestamp::ms(n.at), number(n.score), number(n.threshold), n.now.words()));
            }
        };
        play(clip, &bundle, Played::whole(&options), &mut (), &mut |_| {}, &mut say)?;
        if lines.is_empty() {
            let first = setup.normal.horizon + setup.normal.warm + 1;
            log::warn!("{clip}: too short for a score, which comes with tick {first} of what has no gap");
        }
        for line in lines {
            writeln!(out, "{},{line}", super::answer::quoted(clip))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_minutes_that_follow_each_other_are_one_stretch_and_one_that_broke_off_ends_it() {
        let piece = |ticks: usize, first: f32| (0..ticks).map(|n| first + n as f32).collect::<Vec<f32>>();
        let pieces = vec![piece(4, 0.0), piece(4, 4.0), piece(2, 8.0), piece(4, 20.0), piece(1, 24.0)];
        assert_eq!(joined(pieces, 4), [piece(10, 0.0), piece(5, 20.0)]);
        assert!(joined(vec![], 4).is_empty());
    }
}
