//! What a command works with: bundle, board and configuration, flags over file over board over defaults.

use super::Failure;
use super::calibrate::piece;
use crate::bundle::Bundle;
use crate::config::{Config, MAX_TOML_BYTES, read_file, read_whole};
use crate::head::Head;
use crate::novelty::Setup;
use crate::pipeline::Pipeline;
use crate::qnn::MAX_THREADS;
use crate::report::Label;
use crate::source::Source;
use crate::source::open::Spec;
use crate::store::novelty::name;
use crate::store::{self, Record, Store, policy, trial};
use crate::taught::Taught;
use crate::taught::lesson::{Lesson, MAX_BYTES};
use crate::{baked, golden};
use std::fmt;
use std::path::{Path, PathBuf};

/// `--bundle`, for a command that has nothing to do with what runs on this box.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct BundleArg {
    /// Bundle folder [default: the one baked into the program, whatever is installed or configured]
    #[arg(long, value_name = "DIR")]
    pub bundle: Option<PathBuf>,
}

/// `--bundle`, for a command that runs on this box or prepares what does.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct BoxBundleArg {
    /// Bundle folder [default: `bundle` of the configuration, else the installed one, else the one baked into the program]
    #[arg(long, value_name = "DIR")]
    pub bundle: Option<PathBuf>,
}

/// `--gate`, for every command that plays pictures.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct GateArg {
    /// Leave out the encoder where nothing changed, as far as the bundle allows, or encode every tick
    #[arg(long = "gate", value_name = "on|off", value_enum, default_value_t = Switch::On, hide_possible_values = true)]
    switch: Switch,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Switch {
    On,
    Off,
}

impl GateArg {
    /// May the gate leave out the encoder?
    pub fn on(self) -> bool {
        self.switch == Switch::On
    }
}

/// `--where`, for every command that reports.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct WhereArg {
    /// Say where in the picture something moves, as a box
    #[arg(long = "where")]
    pub on: bool,
}

/// `--threads`, for the commands that run an encoder all the time or time it.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct ThreadsArg {
    /// Threads of the int8 encoder, 1 or 2: two where a large network is too slow on one core [default: 1; of `run`: `threads` of the
    /// configuration]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=MAX_THREADS as i64))]
    threads: Option<u8>,
}

impl ThreadsArg {
    /// What is asked for, or else `default`.
    pub fn or(self, default: usize) -> usize {
        self.threads.map_or(default, usize::from)
    }
}

/// The configuration: the file that is given, else the installed one, else the defaults.
pub fn config(given: Option<&Path>) -> Result<Config, Failure> {
    Ok(given.map_or_else(Config::installed, Config::open)?)
}

/// Refuses a rate of `--false-alarms` that nothing can keep to.
pub fn false_alarms(rate: impl Copy + Into<f64> + fmt::Display) -> Result<(), Failure> {
    let number: f64 = rate.into();
    if number.is_finite() && number > 0.0 {
        return Ok(());
    }
    Err(Failure::refused(format!("--false-alarms {rate}: a number above 0 expected")))
}

/// The bundle that is named, else the built-in one, files and hashes checked.
pub fn load(named: Option<&Path>) -> Result<Bundle, Failure> {
    Ok(match named {
        Some(dir) => Bundle::open(dir)?,
        None => baked::bundle()?,
    })
}

/// The bundle that runs on this box, to learn for it: the one that is named, here or in the configuration, else what `run` would take.
pub fn on_box(named: Option<&Path>, config: &Config, store: &Store) -> Result<Bundle, Failure> {
    if let Some(dir) = named.or(config.bundle.as_deref()) {
        return Ok(Bundle::open(dir)?);
    }
    let chosen = choose(None, config, store)?;
    chosen.trouble.iter().for_each(|trouble| log::warn!("{trouble}"));
    Ok(chosen.bundle)
}

/// `--state`, for commands that look at what is installed.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct StateArg {
    /// State folder, where installed bundles lie [default: `state` of the configuration, else /var/lib/lookout]
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
}

impl StateArg {
    /// The state folder asked for.
    pub fn store(&self, config: &Config) -> Store {
        Store::at(self.state.as_deref().unwrap_or(&config.state))
    }
}

/// Lets the head and novelty go on from what the run remembered of which `source` is a piece, if it is one and the learning is the same, else says so;
/// and boxes are said in the picture that was seen then.
pub fn recall(source: &dyn Source, novelty: Option<&Setup>, pipeline: &mut Pipeline) {
    let past = source.past();
    past.into_iter().for_each(|past| pipeline.recall_region(past.region.unwrap_or_default()));
    if past.is_some_and(|past| !past.head.is_empty() && !pipeline.recall_head(past.head)) {
        log::warn!("{}: the state of the head in it cannot be read, so it begins anew", source.describe());
    }
    let Some(setup) = novelty else { return };
    let why = match past.filter(|past| !past.novelty.is_empty()) {
        Some(past) if past.normal == name(&setup.normal) => {
            if pipeline.recall(past.novelty) {
                return;
            }
            "what novelty remembered in it cannot be read"
        }
        Some(_) => "novelty had learnt something else when it was kept",
        None if source.has_past() => "what novelty remembered was not kept with it",
        None => return,
    };
    log::warn!("{}: {why}, so scores and alarms are made anew, as if nothing had been before it", source.describe());
}

/// Puts what was taught on this box on top of a bundle, and says what was taught on another one.
pub fn add_taught(bundle: &mut Bundle, store: &Store) -> Result<(), Failure> {
    put_taught(bundle, store)?;
    taught_elsewhere(bundle, store).iter().for_each(|what| log::info!("{what}"));
    Ok(())
}

fn put_taught(bundle: &mut Bundle, store: &Store) -> Result<(), Failure> {
    if let Some(lesson) = store.taught(&bundle.hash)? {
        bundle.teach(lesson)?;
    }
    Ok(())
}

/// What a configuration says beside what `calibrate` found: whoever named a class there himself is to be asked before it goes.
pub fn own_words(config: &Config) -> Config {
    piece::without(&config.file).ok().flatten().unwrap_or_else(|| config.clone())
}

/// Do only names stand in a bundle's way that its box need not stop for? Of classes that were taught on another bundle, or that nobody named but
/// `calibrate`, for this one.
pub fn spares(config: &Config, bundle: &Bundle, store: &Store) -> bool {
    let others =
        store.taught_bundles().into_iter().filter(|other| *other != bundle.hash).filter_map(|other| store.taught(&other).ok()?);
    let taught =
        others.flat_map(|lesson| lesson.labels().into_iter().filter_map(|l| Label::try_from(l).ok()).collect::<Vec<_>>());
    let known: Vec<Label> = bundle.labels.iter().cloned().chain(taught).collect();
    let words = if piece::of_another(&config.file, &bundle.hash).is_none() { own_words(config) } else { config.clone() };
    words.names(&known).is_ok()
}

/// [`not_called`] of a bundle with what was taught on it.
pub fn taught_elsewhere(bundle: &Bundle, store: &Store) -> Option<String> {
    let own: Vec<&str> = bundle.labels.iter().map(|label| label.as_str()).collect();
    not_called(&bundle.hash, &own, store)
}

/// Which classes were taught on this box on other bundles than the one of this hash, whose classes are `own`, in a sentence each. `None`: there are none.
pub fn not_called(hash: &str, own: &[&str], store: &Store) -> Option<String> {
    let says = |other: &String| {
        let names = match store.taught(other) {
            Ok(lesson) => {
                let labels = lesson.iter().flat_map(Lesson::labels);
                labels.filter(|label| !own.contains(label)).collect::<Vec<_>>().join(", ")
            }
            Err(_) => "something".into(),
        };
        let said = format!("{names}: taught on bundle {}, this is {}: not called", short(other), short(hash));
        (!names.is_empty()).then_some(said)
    };
    let mut others: Vec<String> = store.taught_bundles().iter().filter(|other| *other != hash).filter_map(says).collect();
    others.sort();
    (!others.is_empty()).then(|| others.join("; "))
}

/// What is ordinary to a bundle's head, beside the bundle: what `lookout teach --ordinary CLIP... --to FILE` wrote.
pub const ORDINARY: &str = "ordinary.json";

/// That file in the folder of the bundle of this hash, and what it says; `None` where there is none.
///
/// # Errors
/// It cannot be read, or belongs to another bundle.
pub fn ordinary(dir: &Path, hash: &str) -> Result<Option<(Vec<u8>, Lesson)>, Failure> {
    let file = dir.join(ORDINARY);
    if !file.is_file() {
        return Ok(None);
    }
    let refuse = |why: String| Failure::refused(format!("{}: {why}", file.display()));
    let bytes = read_whole(&file, MAX_BYTES).map_err(refuse)?;
    let found = Lesson::parse(&bytes).map_err(refuse)?;
    if found.bundle != hash {
        return Err(refuse(format!("it belongs to bundle {}, this is {}", short(&found.bundle), short(hash))));
    }
    Ok(Some((bytes, found)))
}

/// A lesson in which nothing was taught yet, with what the bundle's maker knew to be ordinary.
pub fn beginning(bundle: &Bundle) -> Result<Lesson, Failure> {
    if let Some((_, beside)) = ordinary(Path::new(&bundle.origin), &bundle.hash)? {
        return Ok(beside);
    }
    let nothing = Lesson::new(&bundle.hash, None);
    let bytes = baked::ordinary().map_err(Failure::broke)?;
    if bytes.is_empty() {
        return Ok(nothing);
    }
    // The built-in one is the built-in bundle's, wherever that one lies.
    let found = Lesson::parse(&bytes).map_err(|why| Failure::refused(format!("{ORDINARY}: {why}")))?;
    Ok(if found.bundle == bundle.hash { found } else { nothing })
}

/// Puts what was taught on this box on top of a bundle, and fits it; where it cannot be used the bundle is what it was. How many classes were added.
pub fn fit_taught(bundle: &mut Bundle, store: &Store) -> Result<usize, Failure> {
    let before = bundle.clone();
    let fitted = put_taught(bundle, store).and_then(|()| {
        let Some(lesson) = bundle.lesson.as_ref().filter(|l| !l.labels().is_empty()) else { return Ok(0) };
        let refuse = |why: String| Failure::from(bundle.refuse(why));
        let head = Head::load(bundle)?;
        let state = head.state().ok_or_else(|| refuse("tract runs its head, which does not show its state".into()))?;
        Taught::new(lesson, &bundle.contract.head.labels, state.len()).map_err(refuse)?;
        Ok(lesson.labels().len())
    });
    fitted.inspect_err(|_| *bundle = before)
}

/// The same for a box that must run: where what was taught cannot be used, a sentence for the log, and the bundle runs without it.
pub fn run_taught(bundle: &mut Bundle, store: &Store) -> Result<usize, String> {
    let without = |e: Failure| format!("what was taught cannot be used, the bundle's own classes run without it: {}", e.why);
    fit_taught(bundle, store).map_err(without)
}

/// The beginning of a hash, as people compare them.
pub fn short(hash: &str) -> &str {
    hash.get(..8).unwrap_or(hash)
}

/// Where the bundle that runs comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A folder that was named.
    Named,
    /// The installed one.
    Installed,
    /// The one that ran before the installed one.
    Previous,
    /// The one baked into the program.
    BuiltIn,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Named => "named",
            Self::Installed => "installed",
            Self::Previous => "previous",
            Self::BuiltIn => "built-in",
        })
    }
}

/// Refuses a bundle that takes `rows` of numbers, or else pictures, where the configured source, or without one the board's camera, gives the other.
///
/// # Errors
/// One sentence: file, source, what it gives, what is taken.
pub fn takes(rows: bool, config: &Config) -> Result<(), String> {
    let source = config.source.as_deref().map(str::parse::<Spec>).transpose().map_err(|e| e.to_string())?;
    let given = source.as_ref().map_or(Some(false), Spec::gives_rows);
    if given.is_none_or(|given| given == rows) {
        return Ok(());
    }
    let (gives, takes) = if rows { ("pictures", "rows of numbers") } else { ("rows of numbers", "pictures") };
    let source = source.map_or_else(|| "without `source` the board's camera".into(), |source| format!("source = \"{source}\""));
    Err(format!("{}: {source} gives {gives}, the bundle takes {takes}", config.file))
}

/// The bundle to run, proved.
#[derive(Debug)]
pub struct Chosen {
    /// It passed its golden vectors here.
    pub bundle: Bundle,
    /// Where it comes from.
    pub from: Origin,
    /// Why it is not the one that should run, if so.
    pub trouble: Option<String>,
}

/// The bundle to run: the one that is named, else the installed one, else what ran before it if it takes what the source gives, else the
/// built-in one. One that was named is taken or refused; an installed one that is broken must not stop a box that can run another.
///
/// # Errors
/// The named one is wrong, or the built-in one is.
pub fn choose(named: Option<&Path>, config: &Config, store: &Store) -> Result<Chosen, Failure> {
    let keys = config.install.keys.as_slice();
    if let Some(dir) = named {
        signed(dir, keys).map_err(Failure::refused)?;
        let bundle = Bundle::open(dir)?;
        golden::prove(&bundle)?;
        return Ok(Chosen { bundle, from: Origin::Named, trouble: None });
    }
    let (record, mut trouble) = match store.record() {
        Ok(record) => (record, None),
        Err(e) => (Record::default(), Some(e.to_string())),
    };
    for (hash, from) in [(&record.current, Origin::Installed), (&record.previous, Origin::Previous)] {
        let Some(hash) = hash else { break };
        let dir = store.folder(hash);
        // In a process of its own: whatever it does there, the next one can still be tried here.
        let tried = signed(&dir, keys).and_then(|()| trial::run(&dir, false));
        let fits = tried.and_then(|tried| if from == Origin::Previous { takes(tried.rows, config) } else { Ok(()) });
        match fits.and_then(|()| store::open(store, hash)) {
            Ok(bundle) => return Ok(Chosen { bundle, from, trouble: trouble.map(|why| instead(&why, from)) }),
            Err(why) => drop(trouble.get_or_insert(why)),
        }
    }
    let bundle = baked::bundle()?;
    golden::prove(&bundle)?;
    Ok(Chosen { bundle, from: Origin::BuiltIn, trouble: trouble.map(|why| instead(&why, Origin::BuiltIn)) })
}

fn instead(why: &str, from: Origin) -> String {
    format!("the installed bundle cannot be used, the {from} one runs instead: {why}")
}

/// Is this folder signed, where signatures are asked for?
fn signed(dir: &Path, keys: &[String]) -> Result<(), String> {
    if keys.is_empty() {
        return Ok(());
    }
    let refuse = |why: String| format!("bundle {}: {why}", dir.display());
    let read = |name: &str, most: u64| read_file(&dir.join(name), most).map_err(|e| refuse(format!("{name}: {e}")));
    let signature = read(policy::SIGNATURE, policy::MAX_SIGNATURE_BYTES)?;
    policy::verify(&read("bundle.toml", MAX_TOML_BYTES)?, &String::from_utf8_lossy(&signature), keys).map_err(refuse)
}
