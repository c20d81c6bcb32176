//! `lookout label`: labelled clips, cut from a longer recording by a table of its stretches.
//!
//! Stretches may overlap; each becomes one clip in the folder of its class. One that the recording does not have is refused at the end, with what was cut
//! kept: a table that does not fit its recording must not teach something else in silence.

use super::Failure;
use super::clip::{Clip, Small, class, is_name};
use super::progress::Progress;
use super::setup::{BundleArg, load};
use crate::bundle::plain;
use crate::extra::table::Draft;
use crate::extra::{self, Extra, Extras};
use crate::source::ahead::Ahead;
use crate::source::open::{self, Options, Spec};
use crate::source::{Payload, SourceError};
use crate::table::{self, Table};
use crate::ticks::Walk;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A longer recording
    #[arg(value_name = "RECORDING")]
    recording: String,
    /// Table (CSV) of its stretches: start_s, end_s, label; of a table of several recordings (file) its rows
    #[arg(long, value_name = "CSV")]
    times: PathBuf,
    /// Folder of class folders
    #[arg(long, short, value_name = "DIR")]
    out: PathBuf,
    /// Widest picture that is kept, pixels. Colour and pictures a second are those that --bundle looks at
    #[arg(long, value_name = "PIXELS", default_value_t = 320, value_parser = clap::value_parser!(u16).range(16..=1920))]
    width: u16,
    #[command(flatten)]
    bundle: BundleArg,
}

/// Start and end in ms from the first frame, and label.
pub type Stretch = (u64, u64, String);

/// Runs the command.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), Failure> {
    let bundle = load(args.bundle.bundle.as_deref())?;
    let tick_ms = bundle.contract.time.tick_ms;
    let stretches = table::text(&args.times)
        .and_then(|text| stretches(&text, Some(&args.recording)))
        .map_err(|why| Failure::refused(plain(&format!("{}: {why}", args.times.display()))))?;
    let recording = &args.recording;
    let source = open::open(&recording.parse()?, &Options { replay: true, ..Options::for_bundle(&bundle) })?;
    if source.is_live() {
        return Err(Failure::refused(format!("{recording}: a camera never ends; `lookout record` takes clips from it")));
    }
    let (extra, mut beside) = extra::table::Table::all(recording, &bundle.contract.extra).map_err(Failure::refused)?;
    let (mut camera, mut senses) = (Small::new(&bundle, args.width), Extras::new(&extra, 0));
    let mut cuts = Cuts {
        stretches: &stretches,
        folder: &args.out,
        stem: stem(recording),
        extra: &extra,
        tick_ms,
        open: vec![],
        written: 0,
        out,
    };
    let (mut walk, mut empty, mut end_ms) = (Walk::new(Duration::from_millis(tick_ms.into())), true, 0);
    let (mut source, mut broken) = (Ahead::new(source), 0u32);
    let progress = Progress::new();
    loop {
        let (frame, until) = match source.read() {
            Ok(Some(both)) => both,
            Ok(None) => break,
            Err(SourceError::Broken { what, why }) => {
                if broken == 0 {
                    log::warn!("{what}: {why}");
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
        empty = false;
        let due = walk.due(frame.at, until);
        if due.is_empty() {
            continue;
        }
        walk.bounded(&due).map_err(|why| Failure::refused(format!("{recording}: {why}")))?;
        let (header, picture) = camera.take(image)?;
        for k in due {
            beside.feed(frame.at, walk.at(k), |which, v| senses.push(which, v));
            senses.look(walk.at(k));
            cuts.tick(k * u64::from(tick_ms), &header, picture, senses.rejoin())?;
            end_ms = (k + 1) * u64::from(tick_ms);
        }
        progress.say(|| format!("{} s", end_ms / 1000));
    }
    drop(progress);
    let written = cuts.finish()?;
    if broken > 1 {
        log::warn!("{recording}: {broken} damaged frames left out");
    }
    if empty {
        return Err(Failure::refused(format!("{recording}: no frame could be read from it")));
    }
    all_there(&stretches, written, end_ms, tick_ms, recording)
}

/// What clips of a recording are called, before their number.
fn stem(recording: &str) -> String {
    let name = Path::new(recording).file_stem().map(|s| s.to_string_lossy().replace([':', ' '], "-"));
    format!("{}-", name.unwrap_or_default())
}

/// The clips of all stretches that the recording is in.
struct Cuts<'a> {
    stretches: &'a [Stretch],
    /// Of class folders.
    folder: &'a Path,
    stem: String,
    extra: &'a [Extra],
    tick_ms: u32,
    /// Number of the stretch, and its clip.
    open: Vec<(usize, Clip)>,
    written: usize,
    /// The names of whole clips go there.
    out: &'a mut dyn Write,
}

impl Cuts<'_> {
    /// The tick at `ms`: its picture, and its extras as value and mark. `header`: for clips that begin with it.
    fn tick(&mut self, ms: u64, header: &str, picture: &[u8], extras: &[f32]) -> Result<(), Failure> {
        let stretches = self.stretches;
        for (n, (from, to, label)) in stretches.iter().enumerate() {
            let inside = (*from..*to).contains(&ms);
            let place = self.open.iter().position(|(k, _)| *k == n);
            match (inside, place) {
                (true, None) => {
                    let table = Draft::new(self.extra, self.tick_ms);
                    let mut clip = Clip::begin(&class(self.folder, label)?, &self.stem, header, table)?;
                    clip.tick(picture, extras)?;
                    self.open.push((n, clip));
                }
                (true, Some(k)) => self.open[k].1.tick(picture, extras)?,
                (false, Some(k)) => {
                    let (_, clip) = self.open.swap_remove(k);
                    self.end(clip)?;
                }
                (false, None) => {}
            }
        }
        Ok(())
    }

    fn end(&mut self, clip: Clip) -> Result<(), Failure> {
        writeln!(self.out, "{}", clip.end()?.display())?;
        self.written += 1;
        Ok(())
    }

    /// At the end of the recording. How many clips there are.
    fn finish(mut self) -> Result<usize, Failure> {
        for (_, clip) in std::mem::take(&mut self.open) {
            self.end(clip)?;
        }
        Ok(self.written)
    }
}

/// Refuses a table that has stretches which gave no clip; one that the end of the recording cuts short is only said.
fn all_there(stretches: &[Stretch], written: usize, end_ms: u64, tick_ms: u32, recording: &str) -> Result<(), Failure> {
    let end_s = end_ms as f64 / 1e3;
    if let Some((_, to, label)) = stretches.iter().find(|(from, to, _)| *from < end_ms && *to > end_ms + u64::from(tick_ms)) {
        let to_s = *to as f64 / 1e3;
        log::warn!("{recording}: {label} up to {to_s:.1} s ends with the recording at {end_s:.1} s");
    }
    let all = stretches.len();
    if written >= all {
        return Ok(());
    }
    let why = match stretches.iter().filter(|(from, ..)| *from >= end_ms).count() {
        0 => format!("{} of {all} stretches are shorter than a tick of {tick_ms} ms", all - written),
        beyond => format!("{beyond} of {all} stretches lie beyond the end at {end_s:.1} s"),
    };
    Err(Failure::refused(format!("{recording}: {why}")))
}

/// The stretches of a table of `start_s`, `end_s`, `label`. Where it has a column `file`, as `train` reads it, only the rows of `recording` count.
///
/// # Errors
/// A sentence: the line and what is wrong in it.
pub fn stretches(text: &str, recording: Option<&str>) -> Result<Vec<Stretch>, String> {
    let table = Table::parse(text)?;
    let file = table.column(&["file", "clip", "path"]);
    let place = recording.and_then(|r| r.parse::<Spec>().ok()).map(|spec| PathBuf::from(spec.path()));
    let is_its = |name: &str| place.as_ref().is_none_or(|place| place.ends_with(name.strip_prefix("./").unwrap_or(name)));
    let (start, end) = (table.needed(&["start_s", "start"])?, table.needed(&["end_s", "end"])?);
    let label = table.needed(&["label", "class"])?;
    let mut list = Vec::new();
    for (line, row) in table.rows() {
        if file.is_some_and(|file| !is_its(row.get(file))) {
            continue;
        }
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
    match recording.filter(|_| file.is_some()) {
        _ if !list.is_empty() => Ok(list),
        Some(recording) => Err(format!("no stretch of {recording} in it")),
        None => Err("no stretch in it".into()),
    }
}
