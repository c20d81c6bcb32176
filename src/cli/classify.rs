//! `lookout classify`: one answer per recording, and its segments.

use super::Failure;
use super::alarms;
use super::ears::Ears;
use super::plot::{self, Thumbs};
use super::score::{Score, Truth};
use super::segments::{Segment, Timeline};
use super::setup::{self, BundleArg, GateArg, StateArg, WhereArg, load};
use crate::bundle::Bundle;
use crate::complaint::Complaint;
use crate::config::Config;
use crate::extra::Table;
use crate::pipeline::{Counts, Options, Pipeline, Probe};
use crate::report::{ClassId, Report};
use crate::shaper::Region;
use crate::source::ahead::Ahead;
use crate::source::images::is_picture;
use crate::source::open::{self, Spec};
use crate::source::{Frame, Payload, SourceError, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Arguments.
#[derive(Debug, clap::Args)]
#[group(id = "format", multiple = false, args = ["json", "csv", "srt"])]
pub struct Args {
    /// Recordings: files, folders of images, or any source such as y4m:- or features:FILE
    #[arg(required = true, value_name = "CLIP")]
    clips: Vec<String>,
    #[command(flatten)]
    bundle: BundleArg,
    #[command(flatten)]
    gate: GateArg,
    /// The bundle's extra numbers over time: a table (CSV) with the columns ms and names [default: CLIP.extra.csv beside each]
    #[arg(long, value_name = "CSV")]
    extra: Option<PathBuf>,
    #[command(flatten)]
    place: WhereArg,
    /// With the classes that were taught on this box (`lookout teach`); without it the answer is the bundle's alone
    #[arg(long)]
    taught: bool,
    /// State folder of a box: with what was learnt there (or else came with the bundle) score, threshold and alarms of novelty are said too
    /// (--csv, --srt: alarms), one false alarm a day allowed (a clip of the black box has its run's own). Nothing in it is changed [default: no novelty; for --taught /var/lib/lookout]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// One JSON object a recording
    #[arg(long)]
    json: bool,
    /// One line a segment: clip,label,start_ms,end_ms,p; with --state also score,threshold, and a line ALARM each
    #[arg(long)]
    csv: bool,
    /// Subtitles of the segments, to lay over the recording
    #[arg(long)]
    srt: bool,
    /// Draw probabilities over time with events and pictures: a file for one recording, a folder for several
    #[arg(long, value_name = "SVG|DIR")]
    plot: Option<PathBuf>,
    /// Configuration, for the part of the picture that is looked at
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Recordings of known classes: write a page with accuracy, confusion and the worst mistakes. The class is the folder's name
    #[arg(long, value_name = "HTML")]
    report: Option<PathBuf>,
    /// Classes for --report from a table (CSV) with the columns file and label
    #[arg(long, value_name = "CSV", requires = "report")]
    labels: Option<PathBuf>,
}

/// Runs the command. A recording that cannot be read is said on stderr and the others go on; the exit code tells.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), Failure> {
    let mut bundle = load(&args.bundle)?;
    let store = StateArg { state: args.state.clone() }.store(&Config::default());
    if args.taught {
        setup::add_taught(&mut bundle, &store)?;
    }
    let novelty = args.state.as_ref().and_then(|_| alarms::known(&store, &bundle, args.taught));
    let mut failed: Option<Failure> = None;
    if args.csv {
        writeln!(out, "clip,label,start_ms,end_ms,p{}", if novelty.is_some() { ",score,threshold" } else { "" })?;
    }
    // What would be wrong at the end of long work is said before it.
    let truths = args.report.as_ref().map(|_| truths(args, &bundle)).transpose()?;
    let plots =
        args.plot.as_ref().map(|to| args.clips.iter().map(|c| plot_file(to, c, args.clips.len())).collect::<Result<Vec<_>, _>>());
    let plots = plots.transpose()?;
    let mut drawn = BTreeSet::new();
    if let Some((n, file)) = plots.iter().flatten().enumerate().find(|(_, file)| !drawn.insert(*file)) {
        return Err(Failure::refused(format!(
            "--plot: {} would be the drawing of {} and of another",
            file.display(),
            args.clips[n]
        )));
    }
    for file in args.report.iter().chain(plots.iter().flatten()) {
        let folder = file.parent().filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if !folder.is_dir() {
            return Err(Failure::refused(format!("{}: {} is no folder that is there", file.display(), folder.display())));
        }
        spare(file, &args.clips, [&args.extra, &args.labels, &args.config].into_iter().flatten())?;
    }
    let config = args.config.as_deref().map(Config::open).transpose()?;
    let region = config.map_or_else(Default::default, |config| config.looked_at());
    let mut score = truths.as_ref().map(|_| Score::new(&bundle));
    for (n, clip) in args.clips.iter().enumerate() {
        let mut thumbs = (args.plot.is_some() || score.is_some()).then(Thumbs::new);
        let options = Options { region, gate: args.gate.on(), place: args.place.on, still_before: true, ..Options::default() };
        // Every tick's score is asked for.
        let heartbeat = if novelty.is_some() { Duration::ZERO } else { options.heartbeat };
        let options = Options { novelty: novelty.clone(), heartbeat, ..options };
        match timeline(clip, &bundle, &options, args.extra.as_deref(), thumbs.as_mut()) {
            Ok(timeline) => {
                write(args, out, clip, &bundle, &timeline, novelty.is_some())?;
                let draw = || thumbs.as_ref().map_or(String::new(), |thumbs| drawing(clip, &bundle, &timeline, thumbs));
                if let Some(to) = &plots {
                    save(&to[n], &draw())?;
                }
                if let (Some(score), Some(truths)) = (&mut score, &truths) {
                    score.add(clip, truths[n], timeline.answer(bundle.contract.decision.clip), draw);
                }
            }
            Err(e) => {
                let _ = writeln!(std::io::stderr(), "lookout: {}", super::shown(&e.why));
                score.iter_mut().for_each(|s| s.unread(&e.why));
                failed = Some(failed.map_or(e.code, |f| f.code.max(e.code))).map(|code| Failure { code, why: String::new() });
            }
        }
    }
    if let (Some(score), Some(to)) = (&score, &args.report) {
        save(to, &score.html())?;
        let _ = writeln!(std::io::stderr(), "{}; {}", score.sentence(), to.display());
    }
    failed.map_or(Ok(()), Err)
}

/// The classes that the recordings really are.
fn truths(args: &Args, bundle: &Bundle) -> Result<Vec<usize>, Failure> {
    let truth = args.labels.as_ref().map_or(Ok(Truth::Folders), |file| Truth::read(file)).map_err(Failure::refused)?;
    args.clips.iter().map(|clip| truth.of(clip, &bundle.labels).map_err(Failure::refused)).collect()
}

/// Where the drawing of one of `count` recordings goes.
fn plot_file(to: &Path, clip: &str, count: usize) -> Result<PathBuf, Failure> {
    if to.is_dir() {
        // The whole path: recordings of the same name in different folders are different recordings.
        let name = clip.trim_matches(['.', '/']).replace(['/', ':'], "-");
        return Ok(to.join(format!("{name}.svg")));
    }
    if count > 1 {
        let why = format!("--plot {}: {count} recordings need a folder that is there, found none", to.display());
        return Err(Failure::refused(why));
    }
    Ok(to.to_path_buf())
}

/// Refuses to write `out` over a recording, over a picture of a folder of them, or over another file that is read (`others`).
pub(super) fn spare<'a>(out: &Path, clips: &[String], others: impl Iterator<Item = &'a PathBuf>) -> Result<(), Failure> {
    // What is not there yet takes nobody's place.
    let Ok(place) = out.canonicalize() else { return Ok(()) };
    let read = |clip: &String| clip.parse::<Spec>().ok().map(|spec| PathBuf::from(spec.path()));
    let beside = clips.iter().filter_map(|clip| Table::beside(clip));
    let inputs = clips.iter().filter_map(read).chain(beside).chain(others.cloned());
    for input in inputs.filter_map(|input| input.canonicalize().ok()) {
        let within = input.is_dir() && is_picture(&place) && place.parent() == Some(input.as_path());
        if place == input || within {
            let why = format!("{}: it is read here, and would be written over; another name is needed", out.display());
            return Err(Failure::refused(why));
        }
    }
    Ok(())
}

fn drawing(clip: &str, bundle: &Bundle, timeline: &Timeline, thumbs: &Thumbs) -> String {
    let answer = timeline
        .answer(bundle.contract.decision.clip)
        .map_or("no answer".into(), |(class, p)| format!("{} {:.0} %", bundle.labels[usize::from(class.0)], p * 100.0));
    plot::svg(&format!("{clip}: {answer}"), bundle, timeline, thumbs)
}

fn save(file: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(file, text).map_err(|e| Failure::broke(format!("{}: {e}", file.display())))
}

/// Plays one recording: every decided tick and what was called. `extra`: the table of its extras, where it does not lie beside it.
pub fn timeline(
    clip: &str,
    bundle: &Bundle,
    options: &Options,
    extra: Option<&Path>,
    mut thumbs: Option<&mut Thumbs>,
) -> Result<Timeline, Failure> {
    let mut timeline = Timeline::new(bundle.labels.len(), 0);
    let mut ends = Timeline::new(bundle.labels.len(), 0);
    let mut look = |frame: &Frame<'_>| {
        if let (Some(thumbs), Payload::Image(image)) = (&mut thumbs, &frame.payload) {
            thumbs.take(frame.at, image);
        }
    };
    let counts =
        play(clip, bundle, Played { extra, ..Played::whole(options) }, &mut timeline, &mut look, &mut |r| ends.take(&r))?;
    if timeline.ticks() == 0 && counts.ticks >= bundle.contract.time.window as u32 {
        log::warn!("{clip}: none of its {} ticks gave a whole window of finite numbers; no answer", counts.ticks);
    } else if timeline.ticks() == 0 {
        let (found, needed) = (counts.ticks, bundle.contract.time.window);
        log::warn!(
            "{clip}: {found} ticks of {} ms are too few for a window of {needed}; no answer",
            bundle.contract.time.tick_ms
        );
    }
    // Once is a break in the recording.
    let apart = bundle.contract.time.patience();
    if counts.gaps > 1 && counts.gaps * 2 > counts.frames {
        log::warn!(
            "{clip}: its frames are more than {apart:?} apart, so no window is whole; the answer is a guess from single pictures"
        );
    }
    timeline.adopt(ends);
    Ok(timeline)
}

/// How a recording is played.
#[derive(Clone, Copy, Debug)]
pub struct Played<'a> {
    /// How; a piece of a longer run has a past whatever they say, and so has a live source.
    pub options: &'a Options,
    /// The table of its extras, where it does not lie beside it.
    pub extra: Option<&'a Path>,
    /// Devices that its extras come from, where it is none that has a table.
    pub heard: Option<&'a BTreeMap<String, String>>,
    /// Not longer than this; without it nothing that never ends is played.
    pub most: Option<Duration>,
    /// Ends it when it becomes true.
    pub stop: Option<&'a AtomicBool>,
}

impl<'a> Played<'a> {
    /// From its first to its last picture, with the table that lies beside it.
    pub fn whole(options: &'a Options) -> Self {
        Self { options, extra: None, heard: None, most: None, stop: None }
    }
}

/// Plays one recording, or a stretch of a live source, through a pipeline of its own.
pub fn play(
    clip: &str,
    bundle: &Bundle,
    played: Played<'_>,
    probe: &mut dyn Probe,
    look: &mut dyn FnMut(&Frame<'_>),
    out: &mut dyn FnMut(Report),
) -> Result<Counts, Failure> {
    let spec: Spec = clip.parse()?;
    let source = open::open(&spec, &open::Options { replay: played.most.is_none(), ..open::Options::for_bundle(bundle) })?;
    if source.is_live() && played.most.is_none() {
        return Err(Failure::refused(format!("{clip}: a camera never ends; use `lookout run` for it")));
    }
    // A piece of a longer run has a past, of which nothing may be made up.
    let still_before = played.options.still_before && !source.has_past() && !source.is_live();
    let mut pipeline = Pipeline::new(bundle, &Options { still_before, ..played.options.clone() })?;
    setup::recall(source.as_ref(), played.options.novelty.as_ref(), &mut pipeline);
    let mut progress = Progress::new(clip, source.len_hint());
    let mut ears = match played.heard {
        // A piece of an earlier run brings what was heard then.
        _ if source.has_past() => Ears::deaf(),
        Some(devices) => Ears::open(bundle, devices, Some(clip), source.is_live())?,
        None => {
            let table = Table::of(clip, played.extra, &bundle.contract.extra).map_err(Failure::refused)?;
            table.map_or_else(Ears::deaf, |table| Ears::reading(table, bundle))
        }
    };
    let mut source = Ahead::new(source);
    let (mut broken, mut begin, mut complaint) = (0u32, None, Complaint::default());
    while !played.stop.is_some_and(|stop| stop.load(Ordering::Relaxed)) {
        match source.read() {
            Ok(Some((frame, until))) => {
                look(&frame);
                ears.tell(frame.at, until, &mut pipeline);
                let over = played.most.is_some_and(|most| frame.at.since(*begin.get_or_insert(frame.at)) >= most);
                pipeline.play(&frame, until.filter(|_| !over), probe, out)?;
                if over {
                    break;
                }
            }
            Ok(None) => break,
            Err(SourceError::Broken { what, why }) => {
                if broken == 0 {
                    log::warn!("{clip}: {what}: {why}");
                }
                broken += 1;
            }
            // A clip on standard input is as quick as the program that makes it.
            Err(SourceError::Stalled { .. }) if played.most.is_none() => {}
            Err(e @ SourceError::Stalled { .. }) => complaint.say(format!("{clip}: {e}")),
            Err(e) => return Err(e.into()),
        }
        progress.step();
    }
    if broken > 1 {
        log::warn!("{clip}: {broken} damaged frames left out");
    }
    if pipeline.counts().frames == 0 {
        return Err(Failure::refused(format!("{clip}: no frame could be read from it")));
    }
    Ok(pipeline.counts())
}

fn write(
    args: &Args,
    out: &mut dyn Write,
    clip: &str,
    bundle: &Bundle,
    timeline: &Timeline,
    novelty: bool,
) -> Result<(), Failure> {
    let tick_ms = bundle.contract.time.tick_ms;
    let segments = timeline.segments();
    let answer = timeline.answer(bundle.contract.decision.clip);
    let label = |c: ClassId| bundle.labels[usize::from(c.0)].as_str();
    if args.json {
        let segments: Vec<_> = segments.iter().map(json).collect();
        let (name, p) = answer.map_or((None, 0.0), |(c, p)| (Some(label(c)), p));
        let mut line =
            serde_json::json!({ "clip": clip, "label": name, "p": round(p), "ticks": timeline.ticks(), "segments": segments });
        let mean = bundle.labels.iter().zip(timeline.mean());
        line["mean"] = mean.map(|(label, p)| (label.to_string(), round(p).into())).collect::<serde_json::Map<_, _>>().into();
        if args.place.on {
            line["where"] = timeline.places().iter().map(|(at, b)| where_json(*at, b)).collect();
        }
        if novelty {
            line["novelty"] = alarms::json(timeline.novel(), timeline.places(), tick_ms);
        }
        writeln!(out, "{line}")?;
    } else if args.csv {
        let (clip, rest) = (quoted(clip), if novelty { ",," } else { "" });
        for s in &segments {
            writeln!(out, "{clip},{},{},{},{:.3}{rest}", s.label, s.start_ms, s.end_ms, s.p)?;
        }
        for a in alarms::of(timeline.novel(), tick_ms) {
            writeln!(out, "{clip},ALARM,{},{},,{:.4},{:.4}", a.start_ms, a.end_ms, a.score, a.threshold)?;
        }
    } else if args.srt {
        let called = segments.iter().map(|s| (s.start_ms, s.end_ms, format!("{} {:.0} %", s.label, s.p * 100.0)));
        let strange = alarms::of(timeline.novel(), tick_ms).into_iter();
        let strange = strange.map(|a| (a.start_ms, a.end_ms, format!("ALARM {:.2} above {:.2}", a.score, a.threshold)));
        let mut all: Vec<_> = called.chain(strange).collect();
        all.sort_by_key(|(start, ..)| *start);
        for (n, (start, end, text)) in all.iter().enumerate() {
            writeln!(out, "{}\n{} --> {}\n{text}\n", n + 1, srt(*start), srt(*end))?;
        }
    } else {
        let (name, p) = answer.map_or(("no answer", 0.0), |(c, p)| (label(c), p));
        writeln!(out, "{clip}: {name} {:.0} %  ({} ticks)", p * 100.0, timeline.ticks())?;
        for s in &segments {
            writeln!(
                out,
                "  {:>8.1} - {:>6.1} s  {:<16} {:>3.0} %",
                s.start_ms as f64 / 1e3,
                s.end_ms as f64 / 1e3,
                s.label,
                s.p * 100.0
            )?;
        }
        if novelty {
            alarms::write(timeline.novel(), tick_ms, out)?;
        }
    }
    Ok(out.flush()?)
}

fn json(s: &Segment) -> serde_json::Value {
    serde_json::json!({ "label": s.label.as_str(), "start_ms": s.start_ms, "end_ms": s.end_ms, "p": round(s.p) })
}

/// Time in ms and the box: x, y, w, h.
fn where_json(at: Timestamp, b: &Region) -> serde_json::Value {
    serde_json::json!([at.ms(), round(b.x), round(b.y), round(b.w), round(b.h)])
}

/// Three decimals: more would be noise, and differ between processors.
fn round(p: f32) -> f64 {
    (f64::from(p) * 1000.0).round() / 1000.0
}

/// A CSV field, quoted where it must be (RFC 4180).
pub(super) fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.into() }
}

/// `00:00:01,500`
fn srt(ms: u64) -> String {
    format!("{:02}:{:02}:{:02},{:03}", ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60, ms % 1_000)
}

/// A line on stderr that says how far a long recording is; nothing when nobody looks.
struct Progress<'a> {
    clip: &'a str,
    all: Option<u64>,
    done: u64,
    shown: Option<Instant>,
}

impl<'a> Progress<'a> {
    fn new(clip: &'a str, all: Option<u64>) -> Self {
        Self { clip, all, done: 0, shown: std::io::stderr().is_terminal().then(Instant::now) }
    }

    fn step(&mut self) {
        self.done += 1;
        // Short work needs no bar: the first line comes after half a second, then four a second.
        let pause = Duration::from_millis(if self.done < 50 { 500 } else { 250 });
        if self.shown.is_none_or(|shown| shown.elapsed() <= pause) {
            return;
        }
        self.shown = Some(Instant::now());
        let mut err = std::io::stderr();
        let _ = match self.all {
            Some(all) if all > 0 => {
                let twentieths = (self.done * 20 / all).min(20) as usize;
                write!(
                    err,
                    "\r\x1b[K{} [{}{}] {} %",
                    self.clip,
                    "#".repeat(twentieths),
                    ".".repeat(20 - twentieths),
                    (self.done * 100 / all).min(100)
                )
            }
            _ => write!(err, "\r\x1b[K{} {} frames", self.clip, self.done),
        };
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        if self.shown.is_some() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
