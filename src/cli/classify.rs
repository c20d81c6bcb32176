//! `lookout classify`: one answer per recording, and its segments.
//!
//! Each recording is played ([`super::play`]) and its answer written ([`super::answer`]) before the next one begins. With known classes the answers are
//! scored too ([`super::score`]). Without more the baked bundle answers, by its own thresholds. With a configuration, or where what a box was taught or has
//! learnt is asked for, the bundle that runs there answers, by the thresholds that it has there: what `run` would say.

use super::Failure;
use super::alarms;
use super::answer::{Answers, Format};
use super::play::timeline;
use super::plot::{self, Thumbs};
use super::score::{Score, Truth};
use super::segments::Timeline;
use super::setup::{self, GateArg, StateArg, WhereArg, load, on_box};
use super::spare::spare;
use super::ticks::Ticks;
use crate::bundle::Bundle;
use crate::config::Config;
use crate::decision::Thresholds;
use crate::pipeline::Options;
use crate::recordings;
use crate::source::open::Spec;
use crate::source::shaped;
use crate::store::Store;
use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Arguments.
#[derive(Debug, clap::Args)]
#[group(id = "format", multiple = false, args = ["json", "csv", "srt"])]
pub struct Args {
    /// Recordings: files, folders of images or of recordings, or any source such as y4m:- or features:FILE
    #[arg(required = true, value_name = "CLIP")]
    clips: Vec<String>,
    /// Bundle folder [default: the one baked into the program; with --taught, --state or --config `bundle` of the configuration, else the installed one]
    #[arg(long, value_name = "DIR")]
    bundle: Option<PathBuf>,
    #[command(flatten)]
    gate: GateArg,
    /// The bundle's extra numbers over time: a table (CSV) with the columns ms and names [default: CLIP.extra.csv beside each]
    #[arg(long, value_name = "CSV")]
    extra: Option<PathBuf>,
    #[command(flatten)]
    place: WhereArg,
    /// With the classes that were taught on this box (`lookout teach`), by the bundle that runs on it; without it the answer is the bundle's alone
    #[arg(long)]
    taught: bool,
    /// State folder of a box, whose bundle answers: with what was learnt there (or else came with the bundle) score, threshold and alarms of novelty are said too
    /// (--csv, --srt: alarms), one false alarm a day allowed or what the configuration says (a clip of the black box has its run's own). Nothing in it is changed [default: no novelty; for --taught `state` of the configuration, else /var/lib/lookout]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// One JSON object a recording
    #[arg(long)]
    json: bool,
    /// One line a segment: clip,label,start_ms,end_ms,p; with --state also score,threshold, and a line ALARM each
    #[arg(long)]
    csv: bool,
    /// Subtitles of the segments, to lay over the one recording that they are of
    #[arg(long)]
    srt: bool,
    /// Draw probabilities over time with events and pictures: a file for one recording, a folder for several, which is made if need be
    #[arg(long, value_name = "SVG|DIR")]
    plot: Option<PathBuf>,
    /// Configuration of a box, to answer as `run` would there: its bundle, thresholds, part of the picture, and what novelty may say [default: with --taught or
    /// --state /etc/lookout/lookout.toml where it exists, else none]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Recordings of known classes: write a page with accuracy, confusion and the worst mistakes. The class is the folder's name
    #[arg(long, value_name = "HTML")]
    report: Option<PathBuf>,
    /// Write the probability of every class in every decided tick: a table (CSV) with the columns clip, ms and the labels
    #[arg(long, value_name = "CSV")]
    ticks: Option<PathBuf>,
    /// Classes for --report from a table (CSV) with the columns file and label
    #[arg(long, value_name = "CSV", requires = "report")]
    labels: Option<PathBuf>,
}

impl Args {
    fn format(&self) -> Format {
        match (self.json, self.csv, self.srt) {
            (true, ..) => Format::Json,
            (_, true, _) => Format::Csv,
            (.., true) => Format::Srt,
            _ => Format::Text,
        }
    }
}

/// Runs the command. A recording that cannot be read is said on stderr and the others go on; the exit code tells.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), Failure> {
    // What was taught, learnt or configured belongs to the bundle that runs on that box: another one's answers would be wrong without a word.
    let on_a_box = args.taught || args.state.is_some() || args.config.is_some();
    let config = if on_a_box { setup::config(args.config.as_deref())? } else { Config::default() };
    let store = StateArg { state: args.state.clone() }.store(&config);
    let named = args.bundle.as_deref();
    let mut bundle = if on_a_box { on_box(named, &config, &store)? } else { load(named)? };
    if args.taught {
        setup::add_taught(&mut bundle, &store)?;
    }
    let thresholds = thresholds(args, &config, &bundle)?;
    let novelty = args.state.as_ref().and_then(|_| alarms::known(&store, &bundle, args.taught));
    // Without a configuration, in blocks as they were counted.
    let novelty = novelty.and_then(|setup| if config == Config::default() { Some(setup) } else { config.novelty.apply(setup) });
    let answers = Answers { bundle: &bundle, format: args.format(), places: args.place.on, novelty: novelty.is_some() };
    // What would be wrong at the end of long work is said before it.
    let clips = recordings::named(&args.clips, &bundle).map_err(Failure::refused)?;
    if args.srt && clips.len() > 1 {
        let how = "subtitles are of one; say `lookout classify --srt CLIP > CLIP.srt` for each";
        return Err(Failure::refused(format!("--srt: {} recordings found, 1 expected: {how}", clips.len())));
    }
    let truths = args.report.as_ref().map(|_| truths(args, &clips, &bundle)).transpose()?;
    let plots = args.plot.as_ref().map(|to| plots(to, &clips)).transpose()?;
    let files: Vec<&PathBuf> = args.report.iter().chain(&args.ticks).chain(plots.iter().flatten()).collect();
    files.iter().try_for_each(|file| can_be_written(args, &clips, file))?;
    if let Some(n) = twice(&files.iter().map(|file| place(file)).collect::<Vec<_>>()) {
        return Err(Failure::refused(format!(
            "{}: two of --report, --ticks and --plot would be written there",
            files[n].display()
        )));
    }
    let mut ticks = args.ticks.as_deref().map(|file| Ticks::new(file, &bundle)).transpose()?;
    let (region, gate, place) = (config.looked_at(), args.gate.on(), args.place.on);
    let mut options = Options { region, thresholds, gate, place, still_before: true, novelty, ..Options::default() };
    if options.novelty.is_some() {
        // Every tick's score is asked for.
        options.heartbeat = Duration::ZERO;
    }
    let mut score = truths.as_ref().map(|_| Score::new(&bundle));
    answers.begin(out)?;
    // The worst of what could not be read.
    let mut code = 0u8;
    for (n, clip) in clips.iter().enumerate() {
        let mut thumbs = (args.plot.is_some() || score.is_some()).then(Thumbs::new);
        match timeline(clip, &bundle, &options, args.extra.as_deref(), thumbs.as_mut()) {
            Ok(timeline) => {
                answers.write(clip, &timeline, out)?;
                if is_silent(&answers, &timeline) {
                    let _ = writeln!(std::io::stderr(), "{}: no segment", super::shown(clip));
                }
                ticks.iter_mut().try_for_each(|ticks| ticks.add(clip, &timeline))?;
                let used = &options.thresholds;
                let draw = || thumbs.as_ref().map_or(String::new(), |thumbs| drawing(clip, &answers, used, &timeline, thumbs));
                if let Some(to) = &plots {
                    save(&to[n], &draw())?;
                }
                if let (Some(score), Some(truths)) = (&mut score, &truths) {
                    score.add(clip, truths[n], timeline.answer(bundle.contract.decision.clip), draw);
                }
            }
            Err(e) => {
                let why = match kept_with(clip, &bundle, &store) {
                    Some(dir) => format!("{}; it is installed here: --bundle {}", e.why, dir.display()),
                    None => e.why,
                };
                let _ = writeln!(std::io::stderr(), "lookout: {}", super::shown(&why));
                score.iter_mut().for_each(|s| s.unread(&why));
                code = code.max(e.code);
            }
        }
    }
    ticks.iter_mut().try_for_each(Ticks::end)?;
    if let (Some(score), Some(to)) = (&score, &args.report) {
        save(to, &score.html())?;
        let _ = writeln!(std::io::stderr(), "{}; {}", score.sentence(), to.display());
    }
    if code == 0 { Ok(()) } else { Err(Failure { code, why: String::new() }) }
}

/// The thresholds of every class, as they are configured.
fn thresholds(args: &Args, config: &Config, bundle: &Bundle) -> Result<Vec<Thresholds>, Failure> {
    match config.names(&bundle.labels) {
        Err(e) if args.taught => return Err(e.into()),
        // It may be one that was taught there.
        Err(e) => log::warn!("{e}; left alone"),
        Ok(()) => {}
    }
    Ok(config.decisions(&bundle.contract.decision, &bundle.labels)?.iter().map(Thresholds::from).collect())
}

/// Where the bundle lies that a clip of the black box was kept with, if that is another one than this and installed here.
fn kept_with(clip: &str, bundle: &Bundle, store: &Store) -> Option<PathBuf> {
    let hash = shaped::kept_with(clip.parse::<Spec>().ok()?.path())?;
    Some(store.folder(&hash)).filter(|dir| hash != bundle.hash && dir.is_dir())
}

/// The classes that the recordings really are.
fn truths(args: &Args, clips: &[String], bundle: &Bundle) -> Result<Vec<usize>, Failure> {
    let truth = args.labels.as_ref().map_or(Ok(Truth::Folders), |file| Truth::read(file)).map_err(Failure::refused)?;
    clips.iter().map(|clip| truth.of(clip, &bundle.labels).map_err(Failure::refused)).collect()
}

/// Where the drawing of each recording goes, no two to the same place.
fn plots(to: &Path, clips: &[String]) -> Result<Vec<PathBuf>, Failure> {
    if clips.len() > 1 {
        let why = |e: std::io::Error| {
            format!("--plot {}: {} recordings need a folder, which cannot be made: {e}", to.display(), clips.len())
        };
        std::fs::create_dir_all(to).map_err(|e| Failure::refused(why(e)))?;
    }
    let files: Vec<PathBuf> = clips.iter().map(|clip| plot_file(to, clip)).collect();
    if let Some(n) = twice(&files) {
        let (file, clip) = (files[n].display(), &clips[n]);
        return Err(Failure::refused(format!("--plot: {file} would be the drawing of {clip} and of another")));
    }
    Ok(files)
}

/// Where the drawing of a recording goes.
fn plot_file(to: &Path, clip: &str) -> PathBuf {
    if to.is_dir() {
        // The whole path: recordings of the same name in different folders are different recordings.
        let name = clip.trim_matches(['.', '/']).replace(['/', ':'], "-");
        return to.join(format!("{name}.svg"));
    }
    to.to_path_buf()
}

/// The same, in whatever words its folder is named.
fn place(file: &Path) -> PathBuf {
    let folder = Path::new(".").join(file.parent().unwrap_or(Path::new("")));
    folder.canonicalize().unwrap_or(folder).join(file.file_name().unwrap_or_default())
}

/// The first that stands in the list a second time.
fn twice<F: AsRef<Path>>(files: &[F]) -> Option<usize> {
    let mut seen = BTreeSet::new();
    files.iter().position(|file| !seen.insert(file.as_ref()))
}

/// Refuses a file to write whose folder is not there, or that is read here.
fn can_be_written(args: &Args, clips: &[String], file: &Path) -> Result<(), Failure> {
    let folder = file.parent().filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        return Err(Failure::refused(format!("{}: {} is no folder that is there", file.display(), folder.display())));
    }
    spare(file, clips, [&args.extra, &args.labels, &args.config].into_iter().flatten())
}

/// Does a table or a film's subtitles say nothing of this recording? Among many it would be missed.
fn is_silent(answers: &Answers<'_>, timeline: &Timeline) -> bool {
    let tick_ms = answers.bundle.contract.time.tick_ms;
    matches!(answers.format, Format::Csv | Format::Srt)
        && timeline.segments().is_empty()
        && alarms::of(timeline.novel(), tick_ms).is_empty()
}

fn drawing(clip: &str, answers: &Answers<'_>, used: &[Thresholds], timeline: &Timeline, thumbs: &Thumbs) -> String {
    let answer = answers.of(timeline).map_or("no answer".into(), |(name, p)| format!("{name} {:.0} %", p * 100.0));
    plot::svg(&format!("{clip}: {answer}"), answers.bundle, used, timeline, thumbs)
}

fn save(file: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(file, text).map_err(|e| Failure::broke(format!("{}: {e}", file.display())))
}
