//! `lookout record`: labelled clips, out of the live camera.
//!
//! What is worth a clip is known only when it has begun, so the last ticks are always kept ([`Recorder`]): a clip begins `--before` seconds earlier than
//! the key was pressed. Its ticks are those that the device would see: each shows the newest frame at its time.

use super::Failure;
use super::clip::{Clip, Small, class};
use super::setup::{BundleArg, load};
use super::stop;
use crate::complaint::Complaint;
use crate::extra::listen::denied;
use crate::extra::table::Draft;
use crate::extra::{Extra, Extras, Listener, Value};
use crate::source::ahead::Ahead;
use crate::source::open::{self, Options};
use crate::source::{Payload, SourceError};
use crate::ticks::Walk;
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Arguments;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

/// Longest clip, ticks: an hour of ten a second.
const MAX_TICKS: usize = 36_000;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The class that the clips show: the name of their folder
    #[arg(long, value_name = "NAME")]
    label: String,
    /// Camera or pipe, as `run` takes it
    #[arg(long, value_name = "SPEC")]
    source: String,
    /// Folder of class folders
    #[arg(long, short, value_name = "DIR")]
    out: PathBuf,
    /// Seconds of a clip
    #[arg(long, value_name = "S", default_value_t = 4.0)]
    seconds: f32,
    /// Of those, seconds before the key was pressed
    #[arg(long, value_name = "S", default_value_t = 1.0)]
    before: f32,
    /// Do not wait for a key: so many clips one after the other
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    count: Option<u32>,
    /// Stop when this class folder holds so many megabytes
    #[arg(long, value_name = "MB", default_value_t = 1000)]
    limit_mb: u64,
    /// Widest picture that is kept, pixels. Colour and pictures a second are those that --bundle looks at
    #[arg(long, value_name = "PIXELS", default_value_t = 320, value_parser = clap::value_parser!(u16).range(16..=1920))]
    width: u16,
    /// Numbers beside the pictures, for a table beside each clip: speed=nmea:/dev/ttyUSB0,9600, level=rows:/run/audio,1; more than once
    #[arg(long, value_name = "NAME=SPEC")]
    extra: Vec<String>,
    #[command(flatten)]
    bundle: BundleArg,
}

/// Runs the command, until enough is recorded, the end of standard input, or told to stop.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), Failure> {
    let bundle = load(args.bundle.bundle.as_deref())?;
    let tick_ms = bundle.contract.time.tick_ms;
    let (length, before) = lengths(args, tick_ms)?;
    let dir = class(&args.out, &args.label)?;
    room(&dir, args.limit_mb).map_err(|why| Failure::refused(format!("{why}; nothing is recorded")))?;
    let source = open::open(&args.source.parse()?, &Options::for_bundle(&bundle))?;
    let (name, live, stop) = (source.describe(), source.is_live(), stop::flag()?);
    let (extra, ears) = listen(&args.extra)?;
    let presses = match args.count {
        Some(count) => Presses::counted(count),
        None => {
            log::info!("{name}; press Enter when it happens, Ctrl-C or Ctrl-D to end");
            Presses::typed()
        }
    };
    let (mut camera, mut senses) = (Small::new(&bundle, args.width), Extras::new(&extra, 0));
    let limit_mb = args.limit_mb;
    let mut recorder =
        Recorder { dir, limit_mb, extra, tick_ms, length, before, presses, past: VecDeque::new(), clip: None, full: false, out };
    let tick = Duration::from_millis(tick_ms.into());
    let (mut source, mut walk, mut complaint) = (Ahead::new(source), Walk::new(tick), Complaint::default());
    while !stop.load(Ordering::Relaxed) && !recorder.is_done() {
        let (frame, until) = match source.read() {
            Ok(Some(both)) => both,
            Ok(None) => break,
            Err(SourceError::Broken { .. }) => continue,
            Err(SourceError::Stalled { .. }) => {
                complaint.say(format!("{name}: no frames come; recording waits for them"));
                continue;
            }
            Err(e) => {
                recorder.finish()?;
                return Err(e.into());
            }
        };
        complaint.end(format_args!("{name}: frames come again"));
        let Payload::Image(image) = &frame.payload else {
            return Err(Failure::refused("rows of numbers are no pictures to record"));
        };
        let due = walk.due(frame.at, until);
        if due.is_empty() {
            continue;
        }
        let (header, picture) = camera.take(image)?;
        // Of a recording, what is newest when a frame is read came with it, as in `run`.
        ears.drain(|which, v| senses.push(which, Value { at: if live { v.at } else { until.unwrap_or(frame.at) }, ..v }));
        let ticks = due.end - due.start;
        if ticks > length as u64 {
            let silent_s = tick.as_secs_f64() * ticks as f64;
            senses.look(walk.at(due.start));
            recorder.pause(picture, senses.rejoin(), format_args!("{name}: no frames for {silent_s:.1} s"))?;
            walk = Walk::new(tick);
            continue;
        }
        for k in due {
            senses.look(walk.at(k));
            recorder.tick(&header, picture, senses.rejoin())?;
        }
    }
    recorder.finish()
}

/// Ticks of a clip, and those of them that are before the key.
fn lengths(args: &Args, tick_ms: u32) -> Result<(usize, usize), Failure> {
    let ticks = |seconds: f32| (seconds * 1000.0 / tick_ms as f32).round() as usize;
    let (length, before) = (ticks(args.seconds), ticks(args.before));
    if length == 0 || before >= length || length > MAX_TICKS || !(0.0..=f32::MAX).contains(&args.before) {
        let why = format!(
            "--seconds {} --before {}: a clip of 1 to {MAX_TICKS} ticks of {tick_ms} ms, longer than what is before it, expected",
            args.seconds, args.before
        );
        return Err(Failure::refused(why));
    }
    Ok((length, before))
}

/// Is there room for another clip in this folder? If not, what was found and what is allowed.
fn room(dir: &Path, limit_mb: u64) -> Result<(), String> {
    let files = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let full = files.filter_map(|f| f.metadata().ok()).map(|m| m.len()).sum::<u64>() >> 20;
    if full < limit_mb { Ok(()) } else { Err(format!("{}: {full} MB, {limit_mb} allowed", dir.display())) }
}

/// The numbers of `--extra`, and whoever hears them.
fn listen(given: &[String]) -> Result<(Vec<Extra>, Listener), Failure> {
    let given = given.iter().map(|text| named(text)).collect::<Result<BTreeMap<_, _>, _>>()?;
    let extra: Vec<Extra> = given.keys().map(|name| Extra::named(name)).collect();
    Extra::check(&extra).map_err(Failure::refused)?;
    if let Some(why) = denied(given.iter().map(|(name, text)| (name.as_str(), text.as_str()))) {
        return Err(Failure::broke(why));
    }
    let ears = Listener::start(&extra, &given).map_err(Failure::refused)?;
    Ok((extra, ears))
}

/// `NAME=SPEC`
fn named(text: &str) -> Result<(String, String), Failure> {
    let (name, spec) = text.split_once('=').ok_or_else(|| Failure::refused(format!("--extra {text}: NAME=SPEC expected")))?;
    Ok((name.into(), spec.into()))
}

/// How many clips are asked for, by Enter or beforehand.
#[derive(Clone, Default)]
struct Presses {
    /// Those that no clip has begun for.
    waiting: Arc<AtomicU32>,
    /// No more will come.
    over: Arc<AtomicBool>,
}

impl Presses {
    /// So many clips one after the other.
    fn counted(count: u32) -> Self {
        Self { waiting: Arc::new(AtomicU32::new(count)), over: Arc::new(AtomicBool::new(true)) }
    }

    /// One for every line on standard input, until it ends.
    fn typed() -> Self {
        let presses = Self::default();
        let Self { waiting, over } = presses.clone();
        std::thread::spawn(move || {
            for _ in std::io::stdin().lock().lines().map_while(Result::ok) {
                waiting.fetch_add(1, Ordering::Relaxed);
            }
            over.store(true, Ordering::Release);
        });
        presses
    }

    /// Takes one, if one waits.
    fn take(&self) -> bool {
        let waits = self.waiting.load(Ordering::Relaxed) > 0;
        if waits {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        waits
    }

    /// None waits, and none will come: asked in this order, or the last one could come in between.
    fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire) && self.waiting.load(Ordering::Relaxed) == 0
    }
}

/// Takes ticks one after the other: into the clip that is open, or else into what will be before the next one.
struct Recorder<'a> {
    dir: PathBuf,
    limit_mb: u64,
    extra: Vec<Extra>,
    tick_ms: u32,
    /// Ticks of a clip.
    length: usize,
    /// Those of them that are before the key.
    before: usize,
    presses: Presses,
    /// Pictures and extras of the last `before` ticks, or as many as there were since a clip or a pause.
    past: VecDeque<(Vec<u8>, Vec<f32>)>,
    clip: Option<Clip>,
    /// There is no room for another clip.
    full: bool,
    /// The names of whole clips go there.
    out: &'a mut dyn Write,
}

impl Recorder<'_> {
    /// No clip is open, and none will be.
    fn is_done(&self) -> bool {
        self.clip.is_none() && (self.full || self.presses.is_over())
    }

    /// The next tick: its picture, and its extras as value and mark. `header`: for the clip that may begin with it.
    fn tick(&mut self, header: &str, picture: &[u8], extras: &[f32]) -> Result<(), Failure> {
        if self.clip.is_none() && !self.full && self.past.len() >= self.before && self.presses.take() {
            self.begin(header)?;
        }
        if self.clip.is_some() {
            return self.add(picture, extras);
        }
        if self.before > 0 {
            if self.past.len() == self.before {
                self.past.pop_front();
            }
            self.past.push_back((picture.to_vec(), extras.to_vec()));
        }
        Ok(())
    }

    /// Nothing came for longer than a clip, which is left out: one tick shows what was there before it, and what comes after it begins anew.
    fn pause(&mut self, picture: &[u8], extras: &[f32], why: Arguments<'_>) -> Result<(), Failure> {
        self.past.clear();
        self.add(picture, extras)?;
        if let Some(clip) = &self.clip {
            log::warn!("{why}; the clip ends with tick {} of {}", clip.ticks(), self.length);
        }
        self.end()
    }

    /// Told to stop, or nothing more comes: what is there of a clip is a shorter one.
    fn finish(mut self) -> Result<(), Failure> {
        if let Some(clip) = &self.clip {
            log::info!("the last clip has {} ticks of {}", clip.ticks(), self.length);
        }
        self.end()
    }

    fn begin(&mut self, header: &str) -> Result<(), Failure> {
        let mut clip = Clip::begin(&self.dir, "clip", header, Draft::new(&self.extra, self.tick_ms))?;
        self.past.drain(..).try_for_each(|(picture, extras)| clip.tick(&picture, &extras))?;
        self.clip = Some(clip);
        Ok(())
    }

    /// A tick of the clip that is open, if one is; it may be its last.
    fn add(&mut self, picture: &[u8], extras: &[f32]) -> Result<(), Failure> {
        let Some(clip) = &mut self.clip else { return Ok(()) };
        clip.tick(picture, extras)?;
        if clip.ticks() >= self.length { self.end() } else { Ok(()) }
    }

    /// Ends the clip that is open, if one is.
    fn end(&mut self) -> Result<(), Failure> {
        let Some(clip) = self.clip.take() else { return Ok(()) };
        writeln!(self.out, "{}", clip.end()?.display())?;
        self.out.flush()?;
        if let Err(why) = room(&self.dir, self.limit_mb) {
            log::warn!("{why}; recording ends");
            self.full = true;
        }
        Ok(())
    }
}
