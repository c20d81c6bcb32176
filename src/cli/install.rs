//! `lookout install`: a bundle becomes the one that this box runs, or everything stays as it was.
//!
//! In this order, and each step may refuse with one sentence: its signature, where `install.keys` asks for one; a trial in
//! a process of its own (contract, networks, golden vectors); whether this box's configuration and board have a use for
//! its classes, and a source for it; its version, where signatures are asked for; the copy; the switch. [`crate::store`] says why a
//! power cut at any instant is harmless. A running `lookout run` is not disturbed: it takes the new bundle when it starts next.

use super::Failure;
use super::calibrate::piece;
use super::run::reads_extras;
use super::setup::{self, StateArg, choose};
use crate::baked;
use crate::board::{self, Board};
use crate::bundle::{Bundle, Decision};
use crate::config::{Config, MAX_TOML_BYTES, read_file};
use crate::report::Label;
use crate::store::trial::{self, Verdict};
use crate::store::{Record, Store, StoreError, policy, sha256};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Bundle folder to install; left out: say what is installed
    #[arg(value_name = "BUNDLE")]
    dir: Option<PathBuf>,
    /// Go back to the bundle that ran before the last install
    #[arg(long, conflicts_with = "dir")]
    undo: bool,
    /// Configuration [default: /etc/lookout/lookout.toml where it exists]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    state: StateArg,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// The sentence and its exit code: 2 where the bundle is wrong, 1 where the card is.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), Failure> {
    let config = setup::config(args.config.as_deref())?;
    let store = args.state.store(&config);
    match (&args.dir, args.undo) {
        (Some(dir), _) => install(dir, args, &config, &store, out),
        (None, true) => undo(args, &config, &store, out),
        (None, false) => show(args, &config, &store, out),
    }
}

fn install(dir: &Path, args: &Args, config: &Config, store: &Store, out: &mut dyn Write) -> Result<(), Failure> {
    // Its own folder: the trial is another process, and messages are read later.
    let dir = &dir.canonicalize().map_err(|e| Failure::refused(format!("bundle {}: {e}", dir.display())))?;
    let refuse = |why: String| Failure::refused(format!("bundle {}: {why}", dir.display()));
    let signature = signature(dir)?;
    let contract = read_file(&dir.join("bundle.toml"), MAX_TOML_BYTES).map_err(|e| refuse(format!("bundle.toml: {e}")))?;
    if !config.install.keys.is_empty() {
        let text = signature.as_ref().ok_or_else(|| {
            refuse(format!("{} is missing: install.keys in the configuration asks for a signature", policy::SIGNATURE))
        })?;
        policy::verify(&contract, &String::from_utf8_lossy(text), &config.install.keys).map_err(refuse)?;
    }
    let tried = trial::run(dir, true).map_err(Failure::refused)?;
    if tried.hash != sha256(&contract) {
        return Err(refuse("bundle.toml changed while it was being tried".into()));
    }
    // What was taught on it comes back with it.
    let mut labels = tried.labels.clone();
    labels.extend(store.taught(&tried.hash).ok().flatten().iter().flat_map(|lesson| lesson.labels()).map(String::from));
    fits(&tried.thresholds(), &labels, &tried.extra, tried.rows, Some(dir), config)
        .map_err(|why| refuse(format!("this box cannot use it: {why}")))?;

    let change = store.change()?;
    let before = match store.record() {
        // What it kept is swept away, and the built-in bundle stays behind.
        Err(e @ StoreError::Damaged { .. }) => {
            log::warn!("{e}; it is written anew");
            left(store, &config.install.keys)
        }
        // So it is before the first install, and where the record was lost.
        Ok(record) if record == Record::default() => left(store, &config.install.keys),
        other => other?,
    };
    let mut record = before.with(&tried.hash);
    if !config.install.keys.is_empty() {
        keep_floor(&mut record, &tried.name, &tried.version).map_err(refuse)?;
    }
    let mut files = tried.files.clone();
    if let Some(signature) = signature {
        files.insert(policy::SIGNATURE.into(), sha256(&signature));
    }
    // What its maker knew to be ordinary is not listed, and goes along.
    match setup::ordinary(dir, &tried.hash) {
        Ok(Some((bytes, _))) => drop(files.insert(setup::ORDINARY.into(), sha256(&bytes))),
        Ok(None) => {}
        Err(e) => log::warn!("{}; it is left behind", e.why),
    }
    change.copy(dir, &tried.hash, &files)?;
    change.commit(&record)?;
    change.sweep(&record);
    say(args, &record, Some(&tried), config, store, out)
}

/// In the place of a record that cannot be read: the versions of the bundles that still lie here, whole and signed.
fn left(store: &Store, keys: &[String]) -> Record {
    let mut record = Record::default();
    for bundle in store.whole() {
        if let Ok(Some(signature)) = signature(Path::new(&bundle.origin))
            && policy::verify(bundle.text().as_bytes(), &String::from_utf8_lossy(&signature), keys).is_ok()
        {
            // An older one than another is no floor.
            let _ = keep_floor(&mut record, &bundle.contract.name, &bundle.contract.version);
        }
    }
    record
}

/// Refuses a version below the highest one so far, and remembers this one.
fn keep_floor(record: &mut Record, name: &str, version: &str) -> Result<(), String> {
    let floor = record.floor.get(name).map_or("0", String::as_str);
    if policy::compare(version, floor)?.is_lt() {
        return Err(format!("{name} {version} is older than {floor}, which was installed here; versions never go back"));
    }
    record.floor.insert(name.into(), version.into());
    Ok(())
}

/// Would `lookout run` start with it? Thresholds and lines are configured by class name, devices by the name of an extra, and a source gives rows of numbers
/// or pictures. `dir`: where it lies, if it is not the built-in one.
fn fits(
    thresholds: &Decision,
    labels: &[String],
    extra: &[String],
    rows: bool,
    dir: Option<&Path>,
    config: &Config,
) -> Result<(), String> {
    let labels: Vec<Label> = labels.iter().filter_map(|l| Label::try_from(l.as_str()).ok()).collect();
    let decides = |config: &Config| config.names(&labels).and_then(|()| config.decisions(thresholds, &labels));
    decides(config).map_err(|e| match piece::without(&config.file) {
        Ok(Some(rest)) if decides(&rest).is_ok() => calibrated(&e.to_string(), dir, &config.file),
        _ => e.to_string(),
    })?;
    reads_extras(config, extra.iter().map(String::as_str)).map_err(|e| e.to_string())?;
    // A machine without a board file of its own has no wiring that could contradict.
    let boards = baked::boards().map_err(|e| e.to_string())?;
    if let Ok(board) = Board::choose(&boards, config.board.as_deref(), &board::machine()) {
        board.wiring(&config.gpio, &labels).map_err(|e| e.to_string())?;
    }
    if rows && config.place {
        return Err(format!("{}: where = true, and where something moves cannot be said of rows of numbers", config.file));
    }
    setup::takes(rows, config)
}

/// What to do where only what `lookout calibrate` found for another bundle stands in a bundle's way.
fn calibrated(why: &str, dir: Option<&Path>, file: &str) -> String {
    let anew = dir.map(|dir| {
        format!(", or let `lookout calibrate CLIP... --bundle {} --into {file}` take their place first", dir.display())
    });
    format!(
        "{why}; `lookout calibrate` found these thresholds for another bundle: take out the lines between its marks and those that end with `# lookout calibrate`{}",
        anew.unwrap_or_default()
    )
}

fn undo(args: &Args, config: &Config, store: &Store, out: &mut dyn Write) -> Result<(), Failure> {
    let change = store.change()?;
    let before = store.record()?;
    if before == before.undone() {
        return Err(Failure::refused("nothing was installed here: the built-in bundle runs already"));
    }
    let record = before.undone();
    let tried = record.current.as_ref().map(|hash| trial::run(&store.folder(hash), true)).transpose();
    let tried = tried.map_err(|why| Failure::refused(format!("the bundle before is broken, nothing was changed: {why}")))?;
    let cannot = |why: String| Failure::refused(format!("this box cannot use the bundle before, nothing was changed: {why}"));
    let (hash, thresholds, mut labels, extra, rows) = match &tried {
        Some(tried) => (tried.hash.clone(), tried.thresholds(), tried.labels.clone(), tried.extra.clone(), tried.rows),
        None => {
            let Bundle { hash, contract: c, .. } = baked::bundle()?;
            let extra = c.extra.into_iter().map(|extra| extra.name).collect();
            (hash, c.decision, c.head.labels, extra, c.input.is_none())
        }
    };
    // What was taught on that bundle comes back with it.
    labels.extend(store.taught(&hash)?.iter().flat_map(|lesson| lesson.labels()).map(String::from));
    let dir = record.current.as_ref().map(|hash| store.folder(hash));
    fits(&thresholds, &labels, &extra, rows, dir.as_deref(), config).map_err(cannot)?;
    change.commit(&record)?;
    say(args, &record, tried.as_ref(), config, store, out)
}

/// What is installed, and what of this box was made for another bundle and does not go with it.
fn say(
    args: &Args,
    record: &Record,
    tried: Option<&Verdict>,
    config: &Config,
    store: &Store,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let (name, version, hash, mut labels) = match tried {
        Some(t) => (t.name.clone(), t.version.clone(), t.hash.clone(), t.labels.clone()),
        None => baked::bundle().map(|b| (b.contract.name, b.contract.version, b.hash, b.contract.head.labels))?,
    };
    if let Ok(Some(lesson)) = store.taught(&hash) {
        labels.extend(lesson.labels().into_iter().map(String::from));
    }
    let own: Vec<&str> = labels.iter().map(String::as_str).collect();
    if config.bundle.is_none() {
        let unfit = [setup::not_called(&hash, &own, store), piece::of_another(&config.file, &hash)];
        unfit.iter().flatten().for_each(|what| log::warn!("{what}"));
    }
    if args.json {
        let line = serde_json::json!({
            "ok": true, "name": name, "version": version, "hash": record.current, "built_in": record.current.is_none(),
            "previous": record.previous, "vectors": tried.map(|t| t.vectors),
        });
        writeln!(out, "{line}")?;
        return Ok(());
    }
    let short = |hash: &Option<String>| hash.as_ref().map_or("built-in".to_string(), |h| h[..8].to_string());
    writeln!(out, "{name} {version} ({}) is installed; before it: {}", short(&record.current), short(&record.previous))?;
    writeln!(out, "`lookout run` takes it when it starts next (systemctl restart lookout)")?;
    Ok(())
}

/// What is installed, and what `lookout run` would take.
fn show(args: &Args, config: &Config, store: &Store, out: &mut dyn Write) -> Result<(), Failure> {
    let chosen = choose(None, config, store)?;
    let c = &chosen.bundle.contract;
    let record = store.record().unwrap_or_default();
    if args.json {
        let line = serde_json::json!({
            "ok": chosen.trouble.is_none(), "name": c.name, "version": c.version, "hash": chosen.bundle.hash,
            "from": chosen.from.to_string(), "current": record.current, "previous": record.previous, "trouble": chosen.trouble,
        });
        writeln!(out, "{line}")?;
    } else {
        writeln!(out, "{} {} ({}) would run: {}", c.name, c.version, &chosen.bundle.hash[..8], chosen.from)?;
        if let Some(trouble) = &chosen.trouble {
            writeln!(out, "{trouble}")?;
        }
    }
    Ok(())
}

/// The signature beside a bundle, if there is one.
fn signature(dir: &Path) -> Result<Option<Vec<u8>>, Failure> {
    let path = dir.join(policy::SIGNATURE);
    match read_file(&path, policy::MAX_SIGNATURE_BYTES) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Failure::refused(format!("{}: {e}", path.display()))),
    }
}
