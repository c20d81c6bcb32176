//! `lookout teach`: a class that the bundle does not have, from a few shown examples, with no training.
//!
//! What is shown is played through the pipeline like any recording; what the head felt is kept in the state folder, bound to the bundle by its hash,
//! and counts only when it is on the card. `lookout run` takes it up when it starts next; what it is taught over its own
//! wire counts at once. [`crate::taught`] says how it is judged.

mod export;

use super::Failure;
use super::play::{Played, play};
use super::setup::{self, BoxBundleArg, GateArg, StateArg, choose, short};
use crate::bundle::{Bundle, class};
use crate::config::Config;
use crate::head::Head;
use crate::pipeline::{Options, Probe};
use crate::recordings;
use crate::report::ClassId;
use crate::shaper::Region;
use crate::source::Timestamp;
use crate::store::Store;
use crate::taught::Taught;
use crate::taught::lesson::{Example, Lesson, MAX_CLASSES, MAX_EXAMPLES, MAX_NUMBERS, Step};
use crate::taught::moments::MAX_NAMELESS;
use crate::taught::show::{Ordinary, Show};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Arguments.
#[derive(Debug, clap::Args)]
#[group(id = "what", multiple = false, args = ["list", "forget", "undo", "export", "ordinary"])]
pub struct Args {
    /// The new class, then recordings of it, one example each: files, folders of images or of recordings, features:FILE
    #[arg(value_name = "LABEL CLIP")]
    words: Vec<String>,
    /// Show it live instead: camera or pipe as `run` takes it; one example
    #[arg(long, value_name = "SPEC")]
    source: Option<String>,
    /// How long a live example is
    #[arg(long, value_name = "S", default_value_t = 6.0)]
    seconds: f32,
    /// The recordings show an ordinary day: nothing that is to be taught
    #[arg(long)]
    ordinary: bool,
    /// With --ordinary: sum it up in a file to lie beside a bundle (ordinary.json) instead of keeping it on this box
    #[arg(long, value_name = "FILE", requires = "ordinary")]
    to: Option<PathBuf>,
    /// With --to: a folder of folders, one a motion that shall have no name, with recordings of it: what resembles it stays unknown
    #[arg(long, value_name = "DIR", requires = "to")]
    nameless: Option<PathBuf>,
    /// What was taught
    #[arg(long)]
    list: bool,
    /// Forget a class
    #[arg(long, value_name = "LABEL")]
    forget: Option<String>,
    /// Take the last step back
    #[arg(long)]
    undo: bool,
    /// Write a bundle that has the taught classes in it
    #[arg(long, value_name = "DIR")]
    export: Option<PathBuf>,
    #[command(flatten)]
    bundle: BoxBundleArg,
    /// Configuration [default: /etc/lookout/lookout.toml where it exists]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    state: StateArg,
    #[command(flatten)]
    gate: GateArg,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// The sentence and its exit code: 2 where what was shown cannot be taught, 1 where the card is.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), Failure> {
    let config = setup::config(args.config.as_deref())?;
    let store = args.state.store(&config);
    let named = args.bundle.bundle.as_deref().or(config.bundle.as_deref());
    let chosen = choose(named, &config, &store)?;
    if let Some(trouble) = &chosen.trouble {
        log::warn!("{trouble}");
    }
    let mut bundle = chosen.bundle;
    // An exported bundle brings a lesson; it is the first one here.
    let brought = bundle.lesson.take();
    bundle.labels.truncate(bundle.contract.head.labels.len());
    let pupil = Pupil::new(bundle, args, &config)?;

    if args.ordinary && args.to.is_some() {
        return sum_up(args, &pupil, out);
    }
    if args.list || args.export.is_some() {
        let lesson = known(&pupil, &store, brought)?;
        if let Some(dir) = &args.export {
            pupil.fits(&lesson).map_err(|why| Failure::refused(format!("{why}; nothing was written")))?;
            export::write(&pupil.bundle, &lesson, dir)?;
        }
        return say(args, &pupil, &lesson, out);
    }
    // Held to the end, so that two teachers do not lose each other's examples.
    let change = store.change()?;
    let mut lesson = known(&pupil, &store, brought)?.of(&pupil.bundle.hash);
    let before: Vec<String> = lesson.labels().into_iter().map(String::from).collect();
    match (&args.forget, args.undo, args.ordinary) {
        (Some(label), ..) => forget(&mut lesson, label)?,
        (_, true, _) => drop(
            lesson
                .undo()
                .ok_or_else(|| Failure::refused("nothing was taught here on this bundle: there is no step to take back"))?,
        ),
        (.., true) => lesson.push(pupil.ordinary(&args.words, &[])?),
        _ => {
            let step = pupil.shown(args, &lesson)?;
            lesson.push(step);
        }
    }
    // What was shown can always be taken away again, whatever is left.
    let less = args.forget.is_some() || args.undo;
    if !less {
        // An ordinary day may leave nothing of any class.
        let grown = args.words.first().filter(|_| !args.ordinary).map(String::as_str);
        pupil.proves(&lesson, grown).map_err(|why| Failure::refused(format!("{why}; nothing was changed")))?;
    }
    let gone = before.iter().filter(|label| !lesson.labels().contains(&label.as_str()));
    let owner = setup::own_words(&config);
    if let Some((label, key)) = gone.filter_map(|label| Some((label, owner.mentions(label)?))).next() {
        let file = &config.file;
        return Err(Failure::refused(format!(
            "{file}: {key} names {label}, without which `lookout run` would not start; take it out there first"
        )));
    }
    change.teach(&lesson)?;
    if less && let Err(why) = pupil.fits(&lesson) {
        log::warn!("what is left cannot be used, so no taught class is called: {why}");
    }
    say(args, &pupil, &lesson, out)
}

/// What was taught here, else what the bundle brings, else what its maker knew to be ordinary.
fn known(pupil: &Pupil, store: &Store, brought: Option<Lesson>) -> Result<Lesson, Failure> {
    let here = store.taught(&pupil.bundle.hash)?.or(brought);
    here.map_or_else(|| setup::beginning(&pupil.bundle), Ok)
}

fn forget(lesson: &mut Lesson, label: &str) -> Result<(), Failure> {
    let known = lesson.labels();
    if !known.contains(&label) {
        let known = if known.is_empty() { "nothing".into() } else { known.join(", ") };
        return Err(Failure::refused(format!("{label} was not taught on this bundle; taught: {known}")));
    }
    lesson.push(Step::Forgotten { label: label.into() });
    Ok(())
}

/// The bundle that is taught, and what of it teaching needs.
struct Pupil {
    bundle: Bundle,
    hidden: usize,
    gate: bool,
    /// What is shown is looked at as `run` does, and what is shown live is heard so.
    region: Region,
    extra: BTreeMap<String, String>,
}

impl Pupil {
    fn new(bundle: Bundle, args: &Args, config: &Config) -> Result<Self, Failure> {
        let hidden = Head::load(&bundle)?.state().map(<[f32]>::len).ok_or_else(|| {
            Failure::refused(format!(
                "bundle {}: tract runs its head, which does not show its state, so it cannot be taught",
                bundle.origin
            ))
        })?;
        if 2 * hidden > MAX_NUMBERS {
            let most = MAX_NUMBERS / 2;
            return Err(Failure::refused(format!(
                "bundle {}: a head of {hidden} hidden units, at most {most} can be taught",
                bundle.origin
            )));
        }
        Ok(Self { bundle, hidden, gate: args.gate.on(), region: config.looked_at(), extra: config.extra.clone() })
    }

    fn names(&self) -> &[String] {
        &self.bundle.contract.head.labels
    }

    /// Plays one recording to the end, or a stretch of a live source.
    fn play(&self, clip: &str, most: Option<Duration>, ordinary: Option<&mut Ordinary>) -> Result<Show, Failure> {
        let show = Show::new(self.hidden, self.names().len(), self.bundle.background);
        let mut watch = Watch { show, ordinary, p: vec![0.0; self.names().len()] };
        let options = Options { gate: self.gate, still_before: true, region: self.region, ..Options::default() };
        let heard = most.map(|_| &self.extra);
        play(clip, &self.bundle, Played { most, heard, ..Played::whole(&options) }, &mut watch, &mut |_| {}, &mut |_| {})?;
        Ok(watch.show)
    }

    /// The examples that are shown now.
    fn shown(&self, args: &Args, lesson: &Lesson) -> Result<Step, Failure> {
        let Some((name, clips)) = args.words.split_first() else {
            return Err(Failure::refused(
                "which class? lookout teach LABEL CLIP..., or --list, --forget LABEL, --undo, --export DIR, --ordinary CLIP...",
            ));
        };
        let name = class("LABEL", name).map_err(Failure::refused)?;
        let clips = recordings::named(clips, &self.bundle).map_err(Failure::refused)?;
        if self.names().iter().any(|n| n == name.as_str()) {
            return Err(Failure::refused(format!(
                "{name} is a class of the bundle already; a taught class needs a name of its own"
            )));
        }
        if clips.is_empty() == args.source.is_none() {
            return Err(Failure::refused(format!(
                "{name}: no example was given; recordings (lookout teach {name} CLIP...) or --source SPEC are needed, not both"
            )));
        }
        let known = lesson.labels();
        if known.len() >= MAX_CLASSES && !known.contains(&name.as_str()) {
            return Err(Failure::refused(format!("{MAX_CLASSES} classes are taught already, which is the most; --forget one")));
        }
        if lesson.shown().count() + clips.len().max(1) > MAX_EXAMPLES {
            return Err(Failure::refused(format!(
                "more than {MAX_EXAMPLES} examples in all; --forget a class, or teach with fewer"
            )));
        }
        let most = Duration::try_from_secs_f32(args.seconds).ok().filter(|d| (1.0..=60.0).contains(&d.as_secs_f32()));
        let most = most.ok_or_else(|| Failure::refused(format!("--seconds {}: 1 to 60 expected", args.seconds)))?;
        let mut examples: Vec<Example> = vec![];
        for (clip, most) in clips.iter().map(|c| (c, None)).chain(args.source.iter().map(|s| (s, Some(most)))) {
            let example = self.play(clip, most, None)?.example(clip);
            let example = example.ok_or_else(|| {
                Failure::refused(format!(
                    "{clip}: too short to be an example; a second of it is the least, after a live source has warmed up"
                ))
            })?;
            let twice = |e: &Example| e.traces == example.traces;
            if let Some((other, e)) = lesson.shown().find(|(_, e)| twice(e)) {
                let why =
                    if other == name.as_str() { "it counts already".into() } else { format!("it cannot be {name} as well") };
                return Err(Failure::refused(format!("{clip}: the same was shown as {other} before ({}); {why}", e.from)));
            }
            if let Some(e) = examples.iter().find(|e| twice(e)) {
                return Err(Failure::refused(format!("{clip}: the same as {}; an example counts once", e.from)));
            }
            examples.push(example);
        }
        Ok(Step::Shown { label: name.to_string(), examples })
    }

    /// What is ordinary, from recordings of it, and from those of each motion without a name.
    fn ordinary(&self, clips: &[String], nameless: &[Vec<String>]) -> Result<Step, Failure> {
        if clips.is_empty() {
            return Err(Failure::refused("--ordinary: no recording was given"));
        }
        let mut ordinary = Ordinary::new(self.hidden, self.names().len(), nameless.len());
        let clips = recordings::named(clips, &self.bundle).map_err(Failure::refused)?;
        for clip in &clips {
            self.play(clip, None, Some(&mut ordinary))?;
        }
        for (n, clip) in nameless.iter().enumerate().flat_map(|(n, clips)| clips.iter().map(move |c| (n, c))) {
            if let Some(example) = self.play(clip, None, None)?.example(clip) {
                ordinary.nameless(n, &example);
            }
        }
        Ok(Step::Ordinary { recordings: clips.len(), moments: ordinary.moments() })
    }

    /// Can it be used?
    fn fits(&self, lesson: &Lesson) -> Result<(), String> {
        Taught::new(lesson, self.names(), self.hidden).map(drop)
    }

    /// And does it agree with itself? `grown`: the class that was shown just now; `None`: all are asked.
    fn proves(&self, lesson: &Lesson, grown: Option<&str>) -> Result<(), String> {
        Taught::proved(lesson, self.names(), self.hidden, grown).map(drop)
    }
}

/// What is looked at while a recording is played.
struct Watch<'a> {
    show: Show,
    ordinary: Option<&'a mut Ordinary>,
    p: Vec<f32>,
}

impl Probe for Watch<'_> {
    fn decided(&mut self, _: Timestamp, p: &[f32], _: ClassId) {
        self.p.copy_from_slice(p);
    }

    fn felt(&mut self, state: Option<&[f32]>) {
        let class = self.show.tick(state.unwrap_or_default(), &self.p);
        if let Some(ordinary) = &mut self.ordinary {
            ordinary.take(&self.show, class);
        }
    }
}

/// `ordinary.json` for whoever ships a bundle.
fn sum_up(args: &Args, pupil: &Pupil, out: &mut dyn Write) -> Result<(), Failure> {
    let nameless = args.nameless.as_deref().map_or(Ok(vec![]), motions)?;
    let (Step::Ordinary { moments, recordings }, Some(to)) = (pupil.ordinary(&args.words, &nameless)?, &args.to) else {
        return Ok(());
    };
    let lesson = Lesson::new(&pupil.bundle.hash, Some(moments));
    std::fs::write(to, lesson.file().map_err(Failure::refused)?).map_err(|e| Failure::broke(format!("{}: {e}", to.display())))?;
    Ok(writeln!(out, "{}: {recordings} recordings summed up for bundle {}", to.display(), short(&pupil.bundle.hash))?)
}

/// The recordings in each folder of a folder, all by name.
fn motions(dir: &Path) -> Result<Vec<Vec<String>>, Failure> {
    let list = |dir: &Path| {
        let entries = std::fs::read_dir(dir).and_then(|all| all.map(|e| e.map(|e| e.path())).collect::<Result<Vec<_>, _>>());
        let mut paths = entries.map_err(|e| Failure::refused(format!("{}: {e}", dir.display())))?;
        paths.sort();
        Ok::<_, Failure>(paths)
    };
    let folders: Vec<PathBuf> = list(dir)?.into_iter().filter(|p| p.is_dir()).collect();
    if folders.is_empty() || folders.len() > MAX_NAMELESS {
        let why = format!("{}: {} folders, 1 to {MAX_NAMELESS} motions without a name expected", dir.display(), folders.len());
        return Err(Failure::refused(why));
    }
    folders.iter().map(|f| Ok(list(f)?.iter().map(|p| p.display().to_string()).collect())).collect()
}

fn say(args: &Args, pupil: &Pupil, lesson: &Lesson, out: &mut dyn Write) -> Result<(), Failure> {
    let c = &pupil.bundle.contract;
    let count = |label: &str| lesson.shown().filter(|(l, _)| *l == label).count();
    let ordinary: f64 =
        lesson.moments().flat_map(|m| m.classes.iter().take(pupil.names().len())).fold(0.0, |all, c| all + c.count);
    if args.json {
        let classes: serde_json::Map<_, _> = lesson.labels().into_iter().map(|l| (l.to_string(), count(l).into())).collect();
        let line = serde_json::json!({ "bundle": pupil.bundle.hash, "taught": classes, "ordinary": ordinary });
        return Ok(writeln!(out, "{line}")?);
    }
    writeln!(out, "bundle   {} {} {}", c.name, c.version, short(&pupil.bundle.hash))?;
    writeln!(out, "ordinary {ordinary:.0} looks")?;
    if lesson.labels().is_empty() {
        writeln!(out, "taught   nothing")?;
    }
    for (n, label) in lesson.labels().into_iter().enumerate() {
        let examples = count(label);
        writeln!(
            out,
            "taught   {label}, class {}, {examples} example{}",
            pupil.names().len() + n,
            if examples == 1 { "" } else { "s" }
        )?;
    }
    Ok(())
}
