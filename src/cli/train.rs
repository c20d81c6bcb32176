//! `lookout train`: classes of one's own, from recordings to a bundle that runs on the box unchanged. See [`crate::train`].

mod epochs;
mod page;
mod reading;
mod unlabelled;
mod words;

use super::Failure;
use super::setup::{self, BundleArg, load};
use crate::bundle::{Bundle, Channel, Input};
use crate::extra::Extra;
use crate::head::Head;
use crate::novelty::normal::Loss;
use crate::report::MAX_LABEL;
use crate::ticks::{Data, Kind, Maker, Turn, program};
use crate::train::course::{Course, Outcome, cache_beside};
use crate::train::fit::Settings;
use crate::train::list::{Listing, Wishes};
use crate::train::net::{self, Cell};
use crate::train::set::Set;
use crate::train::unlabelled::Predictor;
use crate::train::write::Terms;
use crate::train::{TrainError, gait, tiny};
use epochs::Epochs;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder of class folders, or a table (CSV) with file and label, and perhaps group, start_s and end_s; with --unsupervised any folder or recording
    #[arg(value_name = "CLIPS")]
    clips: PathBuf,
    /// Where the bundle goes: a folder that is not there yet
    #[arg(long, short, value_name = "DIR")]
    out: PathBuf,
    /// The bundle whose encoder is kept, and whose picture and tick are taken
    #[command(flatten)]
    bundle: BundleArg,
    /// A new encoder instead of the bundle's: a small CNN that is trained with the head, or one that needs no training
    #[arg(long, value_enum)]
    encoder: Option<NewEncoder>,
    /// Side of the new encoder's picture, pixels: a multiple of 16; of gait 48 to 80
    #[arg(long, value_name = "PIXELS", default_value_t = 64, value_parser = clap::value_parser!(u16).range(32..=256))]
    size: u16,
    /// What the new encoder sees: gray, rgb, motion, flow, or a list of them [default: motion,flow; of a grid: motion; of gait: flow]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    channels: Vec<String>,
    /// Channels of the new encoder's first layer, a multiple of 16: 16 is about 1.3 million products a tick at 64 pixels, 32 about 3
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(16..=128))]
    width: u16,
    /// Numbers that the new encoder gives a tick
    #[arg(long, value_name = "N", default_value_t = 48, value_parser = clap::value_parser!(u16).range(8..=512))]
    features: u16,
    /// Where in the picture it happens does not matter (whole) or does (grid)
    #[arg(long, value_enum, default_value_t = tiny::Pool::Whole)]
    pool: tiny::Pool,
    /// Learn from numbers beside the pictures too: names of columns of the tables CLIP.extra.csv beside the recordings
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    extra: Vec<String>,
    /// Milliseconds a tick [default: the bundle's]
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u32).range(5..=60_000))]
    tick_ms: Option<u32>,
    /// Ticks that the head looks at [default: the bundle's]
    #[arg(long, value_name = "TICKS", value_parser = clap::value_parser!(u16).range(2..=256))]
    window: Option<u16>,
    /// Recurrent cell
    #[arg(long, value_enum, default_value_t = Cell::Gru)]
    cell: Cell,
    /// Hidden numbers of each recurrent layer
    #[arg(long, value_name = "N", default_value_t = 48, value_parser = clap::value_parser!(u16).range(2..=1024))]
    hidden: u16,
    /// Recurrent layers
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=4))]
    layers: u8,
    /// Heads that are trained, each from other beginnings (and with --encoder tiny each with an encoder of its own), and answer together: what one of
    /// them believes by chance counts less. A training that was made with fewer goes on with the others
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=16))]
    heads: u8,
    /// Share of hidden numbers that is left out while learning
    #[arg(long, value_name = "SHARE", default_value_t = 0.3)]
    dropout: f32,
    /// Epochs at most
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u16).range(1..))]
    epochs: u16,
    /// Epochs without a better one after which training ends; with --folds there is no choice of epochs, so that nothing is judged by what chose it
    #[arg(long, value_name = "N", default_value_t = 15)]
    patience: usize,
    /// Windows a step
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..))]
    batch: u16,
    /// Learning rate
    #[arg(long, default_value_t = 2e-3)]
    rate: f64,
    /// How much a rare class counts: 0 as often as it is there, 1 as if all were equally frequent
    #[arg(long, value_name = "SHARE", default_value_t = 0.5)]
    balance: f32,
    /// Weight decay
    #[arg(long, default_value_t = 0.02)]
    decay: f64,
    /// Of everything that is drawn at random
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Judge every recording once, by nets that have not seen its group, in so many parts
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=50))]
    folds: u8,
    /// The class that means nothing is going on [default: one called background, idle, none, normal, nothing or no-...]
    #[arg(long, value_name = "LABEL")]
    background: Option<String>,
    /// Call a class otherwise, or leave it out: lying=down,sleeping=down,unclear=-
    #[arg(long, value_name = "OLD=NEW", value_delimiter = ',')]
    rename: Vec<String>,
    /// What no stretch of a long recording covers is background, instead of being left out
    #[arg(long)]
    rest: bool,
    /// UCF101's trainlistNN.txt; its testlistNN.txt lies beside it
    #[arg(long, value_name = "FILE", conflicts_with = "folds")]
    split: Option<PathBuf>,
    /// Learn from pictures in a mirror too; classes that a mirror exchanges are said as left=right
    #[arg(long, value_name = "A=B", value_delimiter = ',', num_args = 0..)]
    mirror: Option<Vec<String>>,
    /// Learn from pictures turned by quarters too: for a camera that looks straight down, and classes that mean no side of its picture
    #[arg(long)]
    turn: bool,
    /// Long recordings: answer so much later than what is asked for, to see how it ends
    #[arg(long, value_name = "MS", default_value_t = 0)]
    delay_ms: u64,
    /// False alarms that are allowed: of clips a share of the background clips [0.05], of long recordings a number in 10 minutes [1]. Too few clips or
    /// minutes to prove that lower no threshold below the default
    #[arg(long, value_name = "N")]
    false_alarms: Option<f32>,
    /// Learn what is normal instead of classes: an alarm for what was never there before, without labels
    #[arg(long, conflicts_with_all = [
        "width", "features", "pool", "cell", "hidden", "layers", "heads", "dropout", "epochs", "patience", "batch", "rate", "balance",
        "decay", "split", "mirror", "turn", "delay_ms", "false_alarms",
    ])]
    unsupervised: bool,
    /// With --unsupervised and a table: classes that are not learnt from, and are to be found with --folds
    #[arg(long, value_name = "LABELS", value_delimiter = ',')]
    strange: Vec<String>,
    /// With --unsupervised: how far what comes is from what was foreseen
    #[arg(long, value_enum, default_value_t = Loss::Squared)]
    loss: Loss,
    /// With --unsupervised: what remembers. An echo is drawn, not trained; the others travel as novelty.onnx
    #[arg(long, value_enum, default_value_t = Predictor::Echo)]
    predictor: Predictor,
    /// With --unsupervised: how far ahead is foreseen, ms
    #[arg(long, value_name = "MS", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    horizon_ms: u32,
    /// With --unsupervised, for one fixed place: ask of every number by itself, too, how far and how long it stayed where it never did
    #[arg(long)]
    each: bool,
    /// With --encoder grid: the slow plane shows what has changed since so long ago, ms; at most 64 ticks
    #[arg(long, value_name = "MS", default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    span_ms: u32,
    /// With --unsupervised: how long what is strange stays so, ms
    #[arg(long, value_name = "MS", default_value_t = 8000, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    hold_ms: u32,
    /// Where ticks and checkpoints are kept [default: beside the bundle, its name with .cache]
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
}

/// `--encoder`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum NewEncoder {
    /// Five convolutions and a dense layer.
    Tiny,
    /// No weights: what moves in which block of the picture; with --unsupervised.
    Grid,
    /// Nothing to train: how things move (how far, how suddenly, how alike, how much in one place), wherever in the picture they are. For few clips.
    Gait,
}

impl From<TrainError> for Failure {
    fn from(e: TrainError) -> Self {
        match e {
            TrainError::Refused(why) => Self::refused(why),
            TrainError::Broke(why) => Self::broke(why),
        }
    }
}

/// Runs the command. How it goes is said on stderr, what came out on stdout.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), Failure> {
    let name = bundle_name(args)?;
    in_range(args)?;
    if args.unsupervised {
        return unlabelled::run(args, name, out);
    }
    if args.encoder == Some(NewEncoder::Grid) || !args.strange.is_empty() {
        return Err(Failure::refused("--encoder grid and --strange go with --unsupervised"));
    }
    let mut base = load(args.bundle.bundle.as_deref())?;
    let tick_ms = args.tick_ms.unwrap_or(base.contract.time.tick_ms);
    let window = usize::from(args.window.unwrap_or(base.contract.time.window as u16));
    let listing = Listing::of(&args.clips, &wishes(args, tick_ms)?).map_err(Failure::refused)?;
    // By most of them: what else lies there is said and left out when it is read.
    let rows = listing.recordings.iter().filter(|r| r.is_rows()).count() * 2 > listing.recordings.len();
    no_encoder_of_rows(args, rows)?;
    let (new, gait) = (args.encoder == Some(NewEncoder::Tiny), args.encoder == Some(NewEncoder::Gait));
    if gait {
        base = gait_bundle(args, tick_ms, window)?;
    }
    let input = if new { Some(new_input(args)?) } else { base.contract.input.clone().filter(|_| !rows) };
    if input.is_none() && !rows {
        return Err(Failure::refused(format!(
            "bundle {} takes rows of numbers, {} are pictures",
            base.origin,
            args.clips.display()
        )));
    }
    let extra: Vec<Extra> = args.extra.iter().map(|name| Extra::named(name)).collect();
    Extra::check(&extra).map_err(Failure::refused)?;
    if new && !extra.is_empty() {
        return Err(Failure::refused("--extra: a new encoder learns from pictures alone; leave out --encoder, or --extra"));
    }
    say(&listing, args);
    let cache = args.cache.clone().unwrap_or_else(|| cache_beside(&args.out));
    let turns = turns(args, input.as_ref())?;
    let kinds = kinds(input.as_ref(), &base, new, &turns);
    let (listing, ticks) = reading::ticks(listing, &kinds, &extra, (tick_ms, args.delay_ms), &cache)?;
    let width = ticks[0].1.width;
    let alike = if input.is_some() { width - 2 * extra.len() } else { 0 };
    let mut set = Set::new(&listing, ticks, tick_ms, window, args.delay_ms).alike(alike, extra.len());
    set.turns = turns;
    set.mirror = mirror(args.mirror.as_deref().unwrap_or_default(), &set.labels)?;
    if gait {
        unrounded(&mut set, &base, &extra, tick_ms, &cache)?;
    }
    let plan = input.as_ref().filter(|_| new).map(|i| tiny::Plan {
        width: i.width,
        height: i.height,
        planes: i.planes(),
        channels: usize::from(args.width),
        features: i.features,
        pool: args.pool,
    });
    set.planes = input.clone().zip(plan);
    let features = plan.map_or(width, |p| p.features);
    let key = key(&set, args, &base, features);
    let description = format!("{} trained on {} recordings", set.labels.join(", "), set.sequences.len());
    let course = Course {
        settings: settings(args, features, set.labels.len(), plan),
        heads: usize::from(args.heads),
        folds: usize::from(args.folds),
        terms: Terms {
            input,
            features: features - 2 * extra.len(),
            extra: args.extra.clone(),
            labels: set.labels.clone(),
            background: set.background.map_or(String::new(), |b| set.labels[b].clone()),
            mean: !set.stretches,
            ..Terms::new(name, description, tick_ms, window)
        },
        base: Some(base).filter(|_| !new && !rows),
        gait: gait.then(|| gait::products(usize::from(args.size))),
        false_alarms: args.false_alarms.unwrap_or(if set.stretches { 1.0 } else { 0.05 }),
        key,
        cache,
    };
    let mut epochs = Epochs::new(&course, &set);
    let outcome = course.run(&set, &mut |n, all, epoch| epochs.say(n, all, epoch))?;
    written(args, &set, &course, &outcome, out)
}

/// The bundle and its documents, written and said.
fn written(args: &Args, set: &Set, course: &Course, outcome: &Outcome, out: &mut dyn Write) -> Result<(), Failure> {
    let mut draft = crate::train::write::Draft { files: outcome.draft.files.clone() };
    let summary = words::summary(set, course, outcome);
    let head = Head::load(&draft.open(&outcome.terms)?)?;
    draft.files.insert("README.md".into(), words::card(&args.clips, set, course, &summary).into_bytes());
    draft.files.insert("report.html".into(), page::html(set, course, outcome, &summary, head.words()).into_bytes());
    // Checked like any other bundle before it is called one.
    let bundle = draft.open(&outcome.terms)?;
    crate::golden::prove(&bundle)?;
    draft.save(&outcome.terms, &args.out)?;
    write!(out, "{summary}")?;
    writeln!(
        out,
        "bundle {} written to {}; its report is {}",
        bundle.contract.name,
        args.out.display(),
        args.out.join("report.html").display()
    )?;
    Ok(())
}

/// The name of the bundle: that of its folder, which is not there yet.
fn bundle_name(args: &Args) -> Result<String, Failure> {
    if args.out.exists() {
        return Err(Failure::refused(format!(
            "{}: is there already; a new folder is expected for the bundle",
            args.out.display()
        )));
    }
    let name = args.out.file_name().map(|n| n.to_string_lossy().to_lowercase()).unwrap_or_default();
    if name.is_empty()
        || name.len() > MAX_LABEL
        || !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
    {
        return Err(Failure::refused(format!(
            "--out {}: the bundle is named after it, 1 to {MAX_LABEL} of a-z 0-9 _ - expected",
            args.out.display()
        )));
    }
    Ok(name)
}

/// Refuses numbers that nothing can be learnt with.
fn in_range(args: &Args) -> Result<(), Failure> {
    if let Some(bad) = [
        ("--dropout", args.dropout, 0.0, 0.9),
        ("--rate", args.rate as f32, 1e-6, 1.0),
        ("--balance", args.balance, 0.0, 1.0),
        ("--decay", args.decay as f32, 0.0, 10.0),
    ]
    .iter()
    .find(|(_, v, low, high)| !(*low..=*high).contains(v))
    {
        return Err(Failure::refused(format!("{} {}: {} to {} expected", bad.0, bad.1, bad.2, bad.3)));
    }
    if let Some(rate) = args.false_alarms {
        setup::false_alarms(rate)?;
    }
    Ok(())
}

/// Refuses a new encoder for rows of numbers.
fn no_encoder_of_rows(args: &Args, rows: bool) -> Result<(), Failure> {
    if rows && args.encoder.is_some() {
        let clips = args.clips.display();
        let why = format!("--encoder: {clips} holds rows of numbers, pictures expected; rows need no encoder");
        return Err(Failure::refused(why));
    }
    Ok(())
}

/// What the ticks of recordings are made into: planes for a `new` encoder, features of one that is kept and those of every turned picture, or rows.
fn kinds(input: Option<&Input>, base: &Bundle, new: bool, turns: &[Turn]) -> Vec<Kind> {
    match (input, new) {
        (Some(input), true) => vec![Kind::Planes(input.clone())],
        (Some(_), false) => {
            let kept = Box::new(base.clone());
            let turned = turns[1..].iter().map(|turn| Kind::Turned(kept.clone(), *turn));
            [Kind::Features(kept.clone())].into_iter().chain(turned).collect()
        }
        (None, _) => vec![Kind::Rows],
    }
}

fn wishes(args: &Args, tick_ms: u32) -> Result<Wishes, Failure> {
    let pair = |text: &String| {
        let (old, new) = text.split_once('=').ok_or_else(|| Failure::refused(format!("--rename {text}: OLD=NEW expected")))?;
        Ok((old.to_string(), new.to_string()))
    };
    let rename = args.rename.iter().map(pair).collect::<Result<BTreeMap<_, _>, Failure>>()?;
    let (background, split) = (args.background.clone(), args.split.clone());
    Ok(Wishes {
        background,
        rename,
        split,
        rest_is_background: args.rest,
        overlap: args.unsupervised && args.strange.is_empty(),
        tick_ms,
    })
}

/// `--channels`, or what is seen without it.
fn channels(args: &Args, otherwise: &[Channel]) -> Result<Vec<Channel>, Failure> {
    let channel = |name: &String| {
        [Channel::Gray, Channel::Rgb, Channel::Motion, Channel::Flow]
            .into_iter()
            .find(|c| crate::train::write::channel(*c) == name)
            .ok_or_else(|| Failure::refused(format!("--channels {name}: gray, rgb, motion, flow or a list of them expected")))
    };
    if args.channels.is_empty() { Ok(otherwise.into()) } else { args.channels.iter().map(channel).collect() }
}

fn new_input(args: &Args) -> Result<Input, Failure> {
    let (size, width) = (usize::from(args.size), usize::from(args.width));
    if size % 16 != 0 || width % 16 != 0 {
        return Err(Failure::refused(format!("--size {size}, --width {width}: multiples of 16 expected")));
    }
    let channels = channels(args, &[Channel::Motion, Channel::Flow])?;
    Ok(Input { features: usize::from(args.features), ..Input::picture(size, size, channels) })
}

/// The bundle whose encoder says how things move: it knows no classes yet.
fn gait_bundle(args: &Args, tick_ms: u32, window: usize) -> Result<Bundle, Failure> {
    let size = usize::from(args.size);
    if size % 16 != 0 || !(48..=gait::LARGEST).contains(&size) {
        return Err(Failure::refused(format!("--size {size}: a multiple of 16 from 48 to {} expected for gait", gait::LARGEST)));
    }
    if channels(args, &[Channel::Flow])? != [Channel::Flow] {
        return Err(Failure::refused("--channels: gait sees flow and nothing else"));
    }
    // Not named as the new bundle is: what was kept of the recordings serves the next one too.
    Ok(gait::bundle(size, Terms::new("gait".into(), "how things move".into(), tick_ms, window))?)
}

/// The features of all recordings once more, in float: what the device's int8 ones are held against.
fn unrounded(set: &mut Set, base: &Bundle, extra: &[Extra], tick_ms: u32, cache: &Path) -> Result<(), Failure> {
    let maker = Maker::new(Kind::Float(Box::new(base.clone())), tick_ms, Some(cache)).map_err(Failure::broke)?.with(extra);
    let sources: Vec<String> = set.sequences.iter().map(|s| s.source.clone()).collect();
    for (s, ticks) in set.sequences.iter_mut().zip(maker.all(&sources, &|_| {})) {
        s.float = Some(ticks.map_err(Failure::broke)?);
    }
    Ok(())
}

fn settings(args: &Args, features: usize, classes: usize, encoder: Option<tiny::Plan>) -> Settings {
    Settings {
        head: net::Plan {
            cell: args.cell,
            features,
            hidden: usize::from(args.hidden),
            layers: usize::from(args.layers),
            classes,
            dropout: args.dropout,
        },
        encoder,
        epochs: usize::from(args.epochs),
        patience: args.patience,
        batch: usize::from(args.batch),
        rate: args.rate,
        balance: args.balance,
        decay: args.decay,
        seed: args.seed,
    }
}

/// How pictures may be turned. Rows are not.
fn turns(args: &Args, input: Option<&Input>) -> Result<Vec<Turn>, Failure> {
    let Some(input) = input else {
        return match (&args.mirror, args.turn) {
            (None, false) => Ok(vec![Turn::default()]),
            _ => Err(Failure::refused("--mirror, --turn: rows of numbers are no pictures that could be turned")),
        };
    };
    if args.turn && input.width != input.height {
        let found = format!("the encoder's picture is {}x{}", input.width, input.height);
        return Err(Failure::refused(format!("--turn: {found}, a square one expected")));
    }
    let mirrors = if args.mirror.is_some() { 2 } else { 1 };
    let quarters = if args.turn { 4 } else { 1 };
    Ok((0..mirrors * quarters).map(|n| Turn { mirror: n >= quarters, quarters: n % quarters }).collect())
}

/// `left=right` for both ways; what is not named stays.
fn mirror(pairs: &[String], labels: &[String]) -> Result<Vec<usize>, Failure> {
    let mut turned: Vec<usize> = (0..labels.len()).collect();
    for text in pairs {
        let number = |name: &str| labels.iter().position(|l| l == name);
        match text.split_once('=').map(|(a, b)| (number(a), number(b))) {
            Some((Some(a), Some(b))) => (turned[a], turned[b]) = (b, a),
            _ => return Err(Failure::refused(format!("--mirror {text}: A=B of {} expected", labels.join(", ")))),
        }
    }
    Ok(turned)
}

/// What was found, before the long work.
fn say(listing: &Listing, args: &Args) {
    let classes: Vec<String> = listing.labels.iter().zip(listing.counts()).map(|(l, n)| format!("{l} {n}")).collect();
    let groups: BTreeSet<&str> = listing.recordings.iter().map(|r| r.group.as_str()).collect();
    let background = listing.background.map_or("none (every class is called out)", |b| &listing.labels[b]);
    log::info!(
        "{}: {} recordings in {} groups: {}; background {background}",
        args.clips.display(),
        listing.recordings.len(),
        groups.len(),
        classes.join(", ")
    );
}

/// Tells one training from another, so that only the same goes on from its checkpoints. How many heads there will be changes none of them.
fn key(set: &Set, args: &Args, base: &Bundle, features: usize) -> String {
    let mut hash = Sha256::new();
    hash.update(program());
    hash.update(&base.hash);
    for s in &set.sequences {
        hash.update(format!("{} {} {:?} {} {:?}\n", s.source, s.group, s.side, s.ticks.len(), s.classes));
        match &s.ticks.data {
            Data::Levels(levels) => hash.update(levels),
            Data::Numbers(numbers) => numbers.iter().for_each(|n| hash.update(n.to_le_bytes())),
        }
    }
    let Args { encoder, size, channels, width, pool, tick_ms, window, cell, hidden, layers, dropout, .. } = args;
    hash.update(format!(
        "{encoder:?} {size} {channels:?} {width} {pool:?} {features} {tick_ms:?} {window:?} {cell:?} {hidden} {layers} {dropout}"
    ));
    let Args { epochs, patience, batch, rate, decay, seed, folds, mirror, turn, bundle, extra, balance, .. } = args;
    hash.update(format!(
        "{epochs} {patience} {batch} {rate} {decay} {seed} {folds} {mirror:?} {turn} {bundle:?} {extra:?} {balance}"
    ));
    crate::bundle::hex(&hash.finalize())[..16].into()
}
