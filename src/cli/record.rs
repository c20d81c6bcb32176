//! `lookout record` and `lookout label`: clips to learn from, out of the live camera or cut from longer recordings.
//!
//! Both write small Y4M clips ([`crate::source::film`]) into class folders, one picture a tick, which is what `lookout train` reads. A clip is written
//! beside its place and moved there whole, so that a power cut leaves no half clip among the good ones. Numbers beside the pictures
//! ([`crate::extra`]) go into a table beside the clip, a row a tick.

use super::Failure;
use super::setup::{BundleArg, load};
use super::stop;
use crate::bundle::{Bundle, Channel, plain};
use crate::complaint::Complaint;
use crate::extra::table::Draft;
use crate::extra::{self, Extra, Extras, Listener, Value};
use crate::source::ahead::Ahead;
use crate::source::film::{self, Film};
use crate::source::open::{self, Options, Spec};
use crate::source::{Image, Payload, SourceError, Timestamp};
use crate::store::settle;
use crate::table::{self, Table};
use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{BufRead, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

/// Arguments of `record`.
#[derive(Debug, clap::Args)]
pub struct RecordArgs {
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
    /// Widest picture that is kept, pixels
    #[arg(long, value_name = "PIXELS", default_value_t = 320, value_parser = clap::value_parser!(u16).range(16..=1920))]
    width: u16,
    /// Numbers beside the pictures, for a table beside each clip: speed=nmea:/dev/ttyUSB0,9600, level=rows:/run/audio,1; more than once
    #[arg(long, value_name = "NAME=SPEC")]
    extra: Vec<String>,
    #[command(flatten)]
    bundle: BundleArg,
}

/// Arguments of `label`.
#[derive(Debug, clap::Args)]
pub struct LabelArgs {
    /// A longer recording
    #[arg(value_name = "RECORDING")]
    recording: String,
    /// Table (CSV) of its stretches: start_s, end_s, label
    #[arg(long, value_name = "CSV")]
    times: PathBuf,
    /// Folder of class folders
    #[arg(long, short, value_name = "DIR")]
    out: PathBuf,
    /// Widest picture that is kept, pixels
    #[arg(long, value_name = "PIXELS", default_value_t = 320, value_parser = clap::value_parser!(u16).range(16..=1920))]
    width: u16,
    #[command(flatten)]
    bundle: BundleArg,
}

/// One clip on its way to the disk.
struct Clip {
    file: BufWriter<File>,
    part: PathBuf,
    place: PathBuf,
    table: Draft,
}

impl Clip {
    fn begin(place: PathBuf, header: &str, table: Draft) -> Result<Self, Failure> {
        let part = place.with_extension("part");
        let mut file = BufWriter::new(File::create(&part).map_err(|e| failed(&part, &e))?);
        file.write_all(header.as_bytes()).map_err(|e| lost(&part, &e))?;
        Ok(Self { file, part, place, table })
    }

    /// A tick: its picture, and its extras as value and mark.
    fn tick(&mut self, picture: &[u8], extras: &[f32]) -> Result<(), Failure> {
        self.table.tick(extras);
        film::write(&mut self.file, picture).map_err(|e| lost(&self.part, &e))
    }

    /// Whole and on the disk, or not there.
    fn end(self) -> Result<PathBuf, Failure> {
        let Self { file, part, place, table } = self;
        file.into_inner().map_err(|e| lost(&part, e.error()))?;
        table.save(&place).map_err(|e| lost(&part, &e))?;
        settle(&part, &place).map_err(|e| failed(&place, &e))?;
        Ok(place)
    }
}

/// What is half there would take the room of what could be whole.
fn lost(part: &Path, e: &std::io::Error) -> Failure {
    let _ = std::fs::remove_file(part);
    failed(part, e)
}

fn failed(path: &Path, e: &std::io::Error) -> Failure {
    Failure::broke(format!("{}: {e}", path.display()))
}

/// Can a class be called this? It becomes a folder's name.
fn is_name(label: &str) -> Result<(), String> {
    if label.is_empty() || !label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') {
        return Err(format!("label {label:?}: letters, digits, - and _ expected"));
    }
    Ok(())
}

/// The folder of a class, made if need be.
fn class(out: &Path, label: &str) -> Result<PathBuf, Failure> {
    is_name(label).map_err(Failure::refused)?;
    let dir = out.join(label);
    std::fs::create_dir_all(&dir).map_err(|e| failed(&dir, &e))?;
    Ok(dir)
}

/// The next name in a folder: clips of earlier recordings stay.
fn next_name(dir: &Path, stem: &str) -> PathBuf {
    (0u32..).map(|n| dir.join(format!("{stem}{n:04}.y4m"))).find(|p| !p.exists()).unwrap_or_else(|| dir.join("full.y4m"))
}

fn megabytes(dir: &Path) -> u64 {
    let files = std::fs::read_dir(dir).into_iter().flatten().flatten();
    files.filter_map(|f| f.metadata().ok()).map(|m| m.len()).sum::<u64>() >> 20
}

/// Frames made smaller, all like the first one.
struct Small {
    film: Option<Film>,
    width: usize,
    colour: bool,
    tick_ms: u32,
}

impl Small {
    /// The first line of a clip of such pictures, and the picture.
    fn take(&mut self, image: &Image<'_>) -> Result<(String, &[u8]), Failure> {
        let refused = |e: crate::shaper::ShaperError| Failure::refused(e.to_string());
        let film = match self.film.take() {
            Some(film) => film,
            None => Film::new(image, self.width, self.colour).map_err(refused)?,
        };
        let film = self.film.insert(film);
        Ok((film.header(self.tick_ms), film.picture(image).map_err(refused)?))
    }
}

fn in_colour(bundle: &Bundle) -> bool {
    bundle.contract.input.as_ref().is_none_or(|i| i.channels.contains(&Channel::Rgb))
}

/// `NAME=SPEC`
fn named(text: &str) -> Result<(String, String), Failure> {
    let (name, spec) = text.split_once('=').ok_or_else(|| Failure::refused(format!("--extra {text}: NAME=SPEC expected")))?;
    Ok((name.into(), spec.into()))
}

/// Ticks in so many seconds.
fn ticks(seconds: f32, tick_ms: u32) -> usize {
    (seconds * 1000.0 / tick_ms as f32).round() as usize
}

/// How many ticks from `due` on show the frame at `at`: those before the stamp of the next one, so that each shows what was newest then, as in
/// [`crate::pipeline`]. The last frame of all shows in one more.
fn filled(due: Timestamp, at: Timestamp, until: Option<Timestamp>, tick: Duration) -> u64 {
    let until = until.unwrap_or(due.max(at) + Duration::from_nanos(1));
    until.since(due).as_nanos().div_ceil(tick.as_nanos().max(1)) as u64
}

/// Runs `record`, until enough is recorded, the end of standard input, or told to stop.
pub fn record(args: &RecordArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let bundle = load(&args.bundle)?;
    let tick_ms = bundle.contract.time.tick_ms;
    let (length, before) = (ticks(args.seconds, tick_ms), ticks(args.before, tick_ms));
    if length == 0 || before >= length || length > 36_000 || args.before < 0.0 {
        let why = format!(
            "--seconds {} --before {}: a clip of 1 to 36000 ticks of {tick_ms} ms, longer than what is before it, expected",
            args.seconds, args.before
        );
        return Err(Failure::refused(why));
    }
    let dir = class(&args.out, &args.label)?;
    let full = megabytes(&dir);
    if full >= args.limit_mb {
        let why = format!("{}: {full} MB, {} allowed; nothing is recorded", dir.display(), args.limit_mb);
        return Err(Failure::refused(why));
    }
    let spec: Spec = args.source.parse()?;
    let source = open::open(&spec, &Options::for_bundle(&bundle))?;
    let stop = stop::flag()?;
    let (presses, over) = (Arc::new(AtomicU32::new(args.count.unwrap_or(0))), Arc::new(AtomicBool::new(args.count.is_some())));
    if args.count.is_none() {
        log::info!("{}; press Enter when it happens, Ctrl-C or Ctrl-D to end", source.describe());
        let (presses, over) = (presses.clone(), over.clone());
        std::thread::spawn(move || {
            for _ in std::io::stdin().lock().lines().map_while(Result::ok) {
                presses.fetch_add(1, Ordering::Relaxed);
            }
            over.store(true, Ordering::Relaxed);
        });
    }
    let mut camera = Small { film: None, width: args.width.into(), colour: in_colour(&bundle), tick_ms };
    let given = args.extra.iter().map(|text| named(text)).collect::<Result<BTreeMap<_, _>, _>>()?;
    let extra: Vec<Extra> = given.keys().map(|name| Extra::named(name)).collect();
    Extra::check(&extra).map_err(Failure::refused)?;
    let (ears, mut senses, live) =
        (Listener::start(&extra, &given).map_err(Failure::refused)?, Extras::new(&extra, 0), source.is_live());
    // A whole clip; true when there is no room for another.
    let mut ended = |file: Clip| -> Result<bool, Failure> {
        writeln!(out, "{}", file.end()?.display())?;
        out.flush()?;
        let full = megabytes(&dir);
        if full >= args.limit_mb {
            log::warn!("{}: {full} MB, {} allowed; recording ends", dir.display(), args.limit_mb);
        }
        Ok(full >= args.limit_mb)
    };
    let mut past: VecDeque<(Vec<u8>, Vec<f32>)> = VecDeque::new();
    let mut clip: Option<(Clip, usize)> = None;
    let (mut due, tick) = (None::<Timestamp>, Duration::from_millis(tick_ms.into()));
    let (name, mut complaint) = (source.describe(), Complaint::default());
    let mut source = Ahead::new(source);
    while !stop.load(Ordering::Relaxed) {
        if clip.is_none() && presses.load(Ordering::Relaxed) == 0 && over.load(Ordering::Relaxed) {
            break;
        }
        let (frame, until) = match source.read() {
            Ok(Some(both)) => both,
            Ok(None) => break,
            Err(SourceError::Broken { .. }) => continue,
            Err(SourceError::Stalled { .. }) => {
                complaint.say(format!("{name}: no frames come; recording waits for them"));
                continue;
            }
            Err(e) => return Err(e.into()),
        };
        complaint.end(format_args!("{name}: frames come again"));
        let Payload::Image(image) = &frame.payload else {
            return Err(Failure::refused("rows of numbers are no pictures to record"));
        };
        let at = *due.get_or_insert(frame.at);
        let ticks = filled(at, frame.at, until, tick);
        if ticks == 0 {
            continue;
        }
        // A pause shows what came before it. One that is longer than a clip is left out: what comes after it begins anew.
        let pause = ticks > length as u64;
        let copies = if pause { 1 } else { ticks as u32 };
        due = Some(at + tick * copies).filter(|_| !pause);
        let (header, picture) = camera.take(image)?;
        // Of a recording, what is newest when a frame is read came with it, as in `run`.
        ears.drain(|which, v| senses.push(which, Value { at: if live { v.at } else { until.unwrap_or(frame.at) }, ..v }));
        for n in 0..copies {
            senses.look(at + tick * n);
            let numbers = senses.rejoin();
            if clip.is_none() && !pause && past.len() >= before && presses.load(Ordering::Relaxed) > 0 {
                presses.fetch_sub(1, Ordering::Relaxed);
                let mut new = Clip::begin(next_name(&dir, "clip"), &header, Draft::new(&extra, tick_ms))?;
                let kept = past.len();
                past.drain(..).try_for_each(|(p, numbers)| new.tick(&p, &numbers))?;
                clip = Some((new, kept));
            }
            match &mut clip {
                Some((file, n)) => {
                    file.tick(picture, numbers)?;
                    *n += 1;
                }
                None if before > 0 => {
                    if past.len() == before {
                        past.pop_front();
                    }
                    past.push_back((picture.to_vec(), numbers.to_vec()));
                }
                None => {}
            }
            if let Some((file, _)) = clip.take_if(|(_, n)| *n >= length)
                && ended(file)?
            {
                return Ok(());
            }
        }
        if pause {
            past.clear();
            if let Some((file, n)) = clip.take() {
                let silent = tick.as_secs_f64() * ticks as f64;
                log::warn!("{name}: no frames for {silent:.1} s; the clip ends with tick {n} of {length}");
                if ended(file)? {
                    return Ok(());
                }
            }
        }
    }
    if let Some((file, n)) = clip {
        // Told to stop in the middle: what is there is a shorter clip.
        log::info!("the last clip has {n} ticks of {length}");
        ended(file)?;
    }
    Ok(())
}

/// Runs `label`.
pub fn label(args: &LabelArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let bundle = load(&args.bundle)?;
    let tick_ms = bundle.contract.time.tick_ms;
    let stretches = table::text(&args.times)
        .and_then(|text| stretches(&text))
        .map_err(|why| Failure::refused(plain(&format!("{}: {why}", args.times.display()))))?;
    let source = open::open(&args.recording.parse()?, &Options { replay: true, ..Options::for_bundle(&bundle) })?;
    if source.is_live() {
        return Err(Failure::refused(format!("{}: a camera never ends; `lookout record` takes clips from it", args.recording)));
    }
    let (extra, mut beside) = extra::table::Table::all(&args.recording, &bundle.contract.extra).map_err(Failure::refused)?;
    let mut senses = Extras::new(&extra, 0);
    let stem = Path::new(&args.recording).file_stem().map(|s| s.to_string_lossy().replace([':', ' '], "-")).unwrap_or_default();
    let mut open: Vec<(usize, Clip)> = Vec::new();
    let mut camera = Small { film: None, width: args.width.into(), colour: in_colour(&bundle), tick_ms };
    let (mut start, mut due, tick) = (None::<Timestamp>, Timestamp::default(), Duration::from_millis(tick_ms.into()));
    let mut written = 0;
    let shown = std::io::stderr().is_terminal();
    let (mut source, mut broken) = (Ahead::new(source), 0u32);
    loop {
        let (frame, until) = match source.read() {
            Ok(Some(both)) => both,
            Ok(None) => break,
            Err(SourceError::Broken { what, why }) => {
                if broken == 0 {
                    log::warn!("{}: {what}: {why}", args.recording);
                }
                broken += 1;
                continue;
            }
            // A recording on standard input is as quick as the program that makes it.
            Err(SourceError::Stalled { .. }) => continue,
            Err(e) => return Err(e.into()),
        };
        let Payload::Image(image) = &frame.payload else {
            return Err(Failure::refused("rows of numbers are no pictures to cut"));
        };
        let begin = *start.get_or_insert(frame.at);
        let ticks = filled(begin + Duration::from_nanos(due.0), frame.at, until, tick);
        if ticks == 0 {
            continue;
        }
        let (header, picture) = camera.take(image)?;
        for _ in 0..ticks {
            let now = begin + Duration::from_nanos(due.0);
            beside.feed(frame.at, now, |which, v| senses.push(which, v));
            senses.look(now);
            let numbers = senses.rejoin();
            for (n, (from, to, name)) in stretches.iter().enumerate() {
                let inside = (*from..*to).contains(&due.ms());
                let place = open.iter().position(|(k, _)| *k == n);
                match (inside, place) {
                    (true, None) => {
                        let (file, table) =
                            (next_name(&class(&args.out, name)?, &format!("{stem}-")), Draft::new(&extra, tick_ms));
                        let mut clip = Clip::begin(file, &header, table)?;
                        clip.tick(picture, numbers)?;
                        open.push((n, clip));
                    }
                    (true, Some(k)) => open[k].1.tick(picture, numbers)?,
                    (false, Some(k)) => {
                        writeln!(out, "{}", open.swap_remove(k).1.end()?.display())?;
                        written += 1;
                    }
                    (false, None) => {}
                }
            }
            due = due + tick;
        }
        if shown {
            let _ = write!(std::io::stderr(), "\r\x1b[K{:.0} s", due.ms() as f64 / 1e3);
        }
    }
    if shown {
        let _ = write!(std::io::stderr(), "\r\x1b[K");
    }
    for (_, clip) in open {
        writeln!(out, "{}", clip.end()?.display())?;
        written += 1;
    }
    if broken > 1 {
        log::warn!("{}: {broken} damaged frames left out", args.recording);
    }
    if start.is_none() {
        return Err(Failure::refused(format!("{}: no frame could be read from it", args.recording)));
    }
    let end = due.ms();
    if let Some((_, to, name)) = stretches.iter().find(|(from, to, _)| *from < end && *to > end + u64::from(tick_ms)) {
        log::warn!(
            "{}: {name} up to {:.1} s ends with the recording at {:.1} s",
            args.recording,
            *to as f64 / 1e3,
            end as f64 / 1e3
        );
    }
    if written < stretches.len() {
        let beyond = stretches.iter().filter(|(from, ..)| *from >= end).count();
        let why = match beyond {
            0 => format!(
                "{}: {} of {} stretches are shorter than a tick of {tick_ms} ms",
                args.recording,
                stretches.len() - written,
                stretches.len()
            ),
            n => format!(
                "{}: {n} of {} stretches lie beyond the end at {:.1} s",
                args.recording,
                stretches.len(),
                end as f64 / 1e3
            ),
        };
        return Err(Failure::refused(why));
    }
    Ok(())
}

/// Start and end in ms, and label, from a table of `start_s`, `end_s`, `label`.
///
/// # Errors
/// A sentence: the line and what is wrong in it.
pub fn stretches(text: &str) -> Result<Vec<(u64, u64, String)>, String> {
    let table = Table::parse(text)?;
    let (start, end) = (table.needed(&["start_s", "start"])?, table.needed(&["end_s", "end"])?);
    let label = table.needed(&["label", "class"])?;
    let mut list = Vec::new();
    for (line, row) in table.rows() {
        let time =
            |column| row.get(column).parse::<f64>().ok().filter(|v| (0.0..1e7).contains(v)).map(|s| (s * 1e3).round() as u64);
        match (time(start), time(end)) {
            (Some(a), Some(b)) if a < b => {
                let label = row.get(label);
                is_name(label).map_err(|why| format!("line {line}: {why}"))?;
                list.push((a, b, label.to_string()));
            }
            _ => {
                return Err(format!(
                    "line {line}: {:?} to {:?} found, a start before an end in seconds expected",
                    row.get(start),
                    row.get(end)
                ));
            }
        }
    }
    if list.is_empty() { Err("no stretch in it".into()) } else { Ok(list) }
}
