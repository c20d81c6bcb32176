//! `lookout index` and `lookout find`: similar moments in a collection of recordings, by what the encoder saw over a window.
//!
//! A moment is a window of ticks, every half window one. It is described by the means of its four quarters, feature by feature, scaled as the
//! collection varies: so what happens first and what later counts, and what is always there does not. Likeness is the cosine, every
//! moment is compared, all of them in memory: 10^6 with 96 features are 392 MB. That is simple, exact, and enough for what a box records. Moments with a row that is
//! no number are left out and said, once a recording.
//!
//! The file itself is described in [`moments`].

pub mod moments;

use super::Failure;
use super::play::{Played, play};
use super::progress::Progress;
use super::setup::{BundleArg, load};
use super::spare::spare;
use crate::bundle::Bundle;
use crate::config::read_file;
use crate::pipeline::{Options, Probe};
use crate::recordings;
use crate::source::open::Spec;
use crate::source::shaped;
use crate::store::settle;
use crate::ticks::{Data, Kind, Maker, Ticks};
use moments::{Header, Index, KIND};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

/// Largest index that is read, bytes, because all of it is in memory while it is searched: ten million moments of 96 features are 3.9 GB.
const MAX_BYTES: u64 = 4 << 30;

/// Arguments of `index`.
#[derive(Debug, clap::Args)]
pub struct IndexArgs {
    /// Recordings: files, folders of images or of recordings, clips of the black box that were kept with the same bundle
    #[arg(required = true, value_name = "CLIP")]
    clips: Vec<String>,
    /// The file to write
    #[arg(long, short, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    bundle: BundleArg,
    /// Keep what the encoder saw in this folder, so that the next index of the same recordings is quick
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
}

/// Arguments of `find`.
#[derive(Debug, clap::Args)]
pub struct FindArgs {
    /// A recording of what is looked for, or a clip of the black box that was kept with the same bundle
    #[arg(value_name = "CLIP")]
    clip: String,
    /// The index to search
    #[arg(long, short, value_name = "FILE")]
    index: PathBuf,
    /// How many moments to show
    #[arg(long, value_name = "N", default_value_t = 10)]
    top: usize,
    /// One JSON object a moment
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    bundle: BundleArg,
}

/// Runs `index`. A recording that cannot be read is said and left out; the exit code tells.
pub fn index(args: &IndexArgs, out: &mut dyn Write) -> Result<(), Failure> {
    // It is replaced whole, by a rename, which would put a file in a device's place.
    if args.out.metadata().is_ok_and(|m| !m.is_file()) {
        let why = format!("{}: is there and is no file; a file's name is expected here", args.out.display());
        return Err(Failure::refused(why));
    }
    let bundle = load(args.bundle.bundle.as_deref())?;
    let named = recordings::named(&args.clips, &bundle).map_err(Failure::refused)?;
    spare(&args.out, &named, std::iter::empty())?;
    // An index makes way for a newer one, and so does a file without anything in it; everything else is somebody's.
    let free = match File::open(&args.out) {
        Ok(file) => file.metadata().is_ok_and(|m| m.len() == 0) || Header::begins(file),
        Err(_) => !args.out.exists(),
    };
    if !free {
        let why = format!("{}: is there and is no index of lookout; delete it or give another name", args.out.display());
        return Err(Failure::refused(why));
    }
    let progress = Progress::new();
    let done = |n: usize| progress.say(|| format!("{n} of {}", named.len()));
    let maker = Maker::new(kind(&bundle), bundle.contract.time.tick_ms, args.cache.as_deref()).map_err(Failure::broke)?;
    let made = maker.all(&named, &done);
    drop(progress);
    let (window, tick_ms) = (bundle.contract.time.window, bundle.contract.time.tick_ms);
    let (mut clips, mut all, mut failed) = (vec![], vec![], false);
    for (clip, ticks) in named.iter().zip(made) {
        let ticks = ticks.or_else(|why| replayed(clip, &bundle, why));
        match ticks.and_then(|ticks| usable(clip, ticks, bundle.frame_features(), window)) {
            Ok(ticks) => {
                clips.push(clip.clone());
                all.push(ticks);
            }
            Err(why) => {
                let _ = writeln!(std::io::stderr(), "lookout: {}", super::shown(&why));
                failed = true;
            }
        }
    }
    if all.is_empty() {
        return Err(Failure { code: 2, why: String::new() });
    }
    let (mean, deviation) = moments::spread(&all);
    let header = Header { kind: KIND.into(), bundle: bundle.hash.clone(), window, tick_ms, mean, deviation, clips };
    let failed_to = |e: io::Error| Failure::broke(format!("{}: {e}", args.out.display()));
    let line = serde_json::to_string(&header).map_err(|e| Failure::broke(e.to_string()))?;
    // Behind the whole name: a.x and a.y may lie side by side.
    let part = args.out.with_added_extension("part");
    let file = File::create(&part).map_err(failed_to)?;
    // What is half there would take the room of what could be whole.
    let moments = write(file, &line, &header, &all).inspect_err(|_| drop(std::fs::remove_file(&part))).map_err(failed_to)?;
    settle(&part, &args.out).map_err(failed_to)?;
    writeln!(out, "{moments} moments of {} recordings in {}", all.len(), args.out.display())?;
    if failed { Err(Failure { code: 2, why: String::new() }) } else { Ok(()) }
}

/// What the encoder saw of a clip of the black box, in which there are no pictures that it could be made from; of anything else, `why` there is nothing.
fn replayed(clip: &str, bundle: &Bundle, why: String) -> Result<Ticks, String> {
    if clip.parse::<Spec>().ok().and_then(|spec| shaped::kept_with(spec.path())).is_none() {
        return Err(why);
    }
    let mut seen = Seen { width: bundle.frame_features(), numbers: vec![] };
    let options = Options::default();
    play(clip, bundle, Played::whole(&options), &mut seen, &mut |_| {}, &mut |_| {}).map_err(|e| e.why)?;
    Ok(Ticks { width: seen.width, data: Data::Numbers(seen.numbers), size: [0, 0] })
}

/// Features of every tick, without the extras behind them.
struct Seen {
    width: usize,
    numbers: Vec<f32>,
}

impl Probe for Seen {
    fn features(&mut self, features: &[f32]) {
        self.numbers.extend(features.iter().take(self.width));
    }
}

/// Refuses a recording of other rows, or one of which nothing can be compared; says how much of it cannot.
fn usable(clip: &str, ticks: Ticks, width: usize, window: usize) -> Result<Ticks, String> {
    if ticks.width != width {
        return Err(format!("{clip}: rows of {} numbers, {width} expected", ticks.width));
    }
    match moments::count(&ticks, window) {
        [0, _] => Err(format!("{clip}: every moment of it holds something that is no number; nothing is like that")),
        [_, 0] => Ok(ticks),
        [whole, rest] => {
            let all = whole + rest;
            log::warn!("{clip}: {rest} of its {all} moments hold something that is no number; they are left out");
            Ok(ticks)
        }
    }
}

/// Writes an index after its first `line`, and gives how many moments are in it.
fn write(file: File, line: &str, header: &Header, all: &[Ticks]) -> io::Result<usize> {
    let mut file = BufWriter::new(file);
    writeln!(file, "{line}")?;
    let mut moments = 0;
    for (n, ticks) in all.iter().enumerate() {
        moments += header.write(n, ticks, &mut file)?;
    }
    file.flush()?;
    Ok(moments)
}

/// Runs `find`.
pub fn find(args: &FindArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let place = args.index.display();
    let refuse = |why: String| Failure::refused(format!("{place}: {why}"));
    let bytes = read_file(&args.index, MAX_BYTES).map_err(|e| refuse(e.to_string()))?;
    let index = Index::parse(bytes).map_err(refuse)?;
    let header = &index.header;
    let bundle = load(args.bundle.bundle.as_deref())?;
    if header.bundle != bundle.hash {
        let [made, this] = [&header.bundle, &bundle.hash].map(|hash| &hash[..8]);
        return Err(refuse(format!("made with bundle {made}, this one is {this}; say it with --bundle")));
    }
    if header.mean.len() != bundle.frame_features() {
        return Err(refuse(format!("{} features a tick, this bundle has {}", header.mean.len(), bundle.frame_features())));
    }
    let maker = Maker::new(kind(&bundle), header.tick_ms, None).map_err(Failure::broke)?;
    let ticks = maker.all(std::slice::from_ref(&args.clip), &|_| {}).pop().unwrap_or_else(|| Err("nothing to look for".into()));
    let ticks = ticks.or_else(|why| replayed(&args.clip, &bundle, why));
    let ticks = ticks.and_then(|ticks| usable(&args.clip, ticks, header.mean.len(), header.window)).map_err(Failure::refused)?;
    for found in index.find(&ticks, args.top) {
        if args.json {
            let like = (f64::from(found.like) * 1000.0).round() / 1000.0;
            let (start_ms, end_ms) = (found.start_ms, found.end_ms);
            writeln!(out, "{}", serde_json::json!({ "clip": found.clip, "start_ms": start_ms, "end_ms": end_ms, "like": like }))?;
        } else {
            writeln!(out, "{:6.3}  {:>8.1} s  {}", found.like, found.start_ms as f64 / 1e3, found.clip)?;
        }
    }
    Ok(())
}

fn kind(bundle: &Bundle) -> Kind {
    if bundle.contract.input.is_some() { Kind::Features(Box::new(bundle.clone())) } else { Kind::Rows }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_searches_with_another_bundle_is_told_how_to_name_the_one_it_was_made_with() {
        let dir = std::env::temp_dir().join(format!("lookout-find-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a folder");
        let file = dir.join("rows.txt");
        std::fs::write(&file, "0 1 2 3 4 5\n".repeat(30)).expect("written");
        let (clip, out) = (format!("features:{}", file.display()), dir.join("rows.index"));
        let of = |name: &str| BundleArg { bundle: Some(format!("tests/bundles/{name}").into()) };
        let made = IndexArgs { clips: vec![clip.clone()], out: out.clone(), bundle: of("rows-lstm"), cache: None };
        index(&made, &mut io::sink()).expect("an index");
        let asked = |name: &str| FindArgs { clip: clip.clone(), index: out.clone(), top: 1, json: false, bundle: of(name) };
        let why = find(&asked("rows-gru"), &mut io::sink()).expect_err("another bundle").why;
        assert!(why.contains("rows.index: made with bundle ") && why.ends_with("; say it with --bundle"), "{why}");
        find(&asked("rows-lstm"), &mut io::sink()).expect("found");
        let _ = std::fs::remove_dir_all(dir);
    }
}
