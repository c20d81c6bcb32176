//! The bundle that runs, and what is made of it for this box before anything is watched.
//!
//! Where another bundle runs than the one that was meant, what is configured may not fit it. That is left alone and said: a box that watches
//! with less is better than one that does not watch. So it is with names of classes that were taught on another bundle, as after an update of the
//! built-in one, or that only `calibrate` wrote down. The bundle that was meant is refused for anything else. What is to be said of it is said when all is ready: a try that fails is made again every few seconds.

use super::Args;
use crate::board::{Board, Wiring};
use crate::bundle::{Bundle, Decision};
use crate::cli::Failure;
use crate::cli::calibrate::piece;
use crate::cli::setup::{self, Chosen, choose};
use crate::config::{Config, ConfigError};
use crate::decision::Thresholds;
use crate::encoder::Form;
use crate::extra::{Extra, listen};
use crate::gpio::{self, Trouble};
use crate::novelty::Setup;
use crate::pipeline::{Options, Pipeline};
use crate::qnn::Engine;
use crate::report::{Label, ReportSpec, port};
use crate::store::{self, Store};
use log::Level;
use std::collections::BTreeMap;
use std::time::Duration;

/// See the module's documentation.
pub struct Ready {
    /// The bundle, and where it comes from.
    pub chosen: Chosen,
    /// Classes that were taught here; `None`: what was taught cannot be used.
    pub taught: Option<usize>,
    pub pipeline: Pipeline,
    pub wiring: Option<Wiring>,
    /// What is configured and left alone, a sentence each.
    pub left_alone: Vec<String>,
    /// What is normal here, if that is known.
    pub novelty: Option<Setup>,
}

impl Ready {
    /// Is there a line to drive?
    pub fn has_lines(&self) -> bool {
        self.wiring.as_ref().is_some_and(|wiring| !wiring.is_empty())
    }
}

/// Takes the bundle that shall run, or the one that runs in its place, and makes it ready.
pub fn prepare(args: &Args, config: &Config, store: &Store, board: &Board) -> Result<Ready, Failure> {
    // What is said with the command takes the place of what is configured.
    let source = args.source.clone().or_else(|| config.source.clone());
    let config = &Config { source, place: args.place.on || config.place, ..config.clone() };
    let named = args.bundle.bundle.as_deref().or(config.bundle.as_deref());
    let mut chosen = choose(named, config, store)?;
    let mut notes = Vec::new();
    let taught = setup::run_taught(&mut chosen.bundle, store).map_err(|why| notes.push((Level::Error, why))).ok();
    let trouble = chosen.trouble.clone();
    let ready = make(chosen, taught, args, config, store, board, &mut notes).map_err(|e| match trouble {
        Some(trouble) => Failure { why: format!("{trouble}; {}", e.why), ..e },
        None => e,
    })?;
    notes.iter().for_each(|(level, what)| log::log!(*level, "{what}"));
    Ok(ready)
}

/// `notes`: gets what is to be said once all is ready.
fn make(
    mut chosen: Chosen,
    taught: Option<usize>,
    args: &Args,
    config: &Config,
    store: &Store,
    board: &Board,
    notes: &mut Vec<(Level, String)>,
) -> Result<Ready, Failure> {
    let bundle = &chosen.bundle;
    let (labels, own) = (&bundle.labels, &bundle.contract.decision);
    let elsewhere = setup::taught_elsewhere(bundle, store);
    // Another bundle runs than the one that was meant, or without what was taught.
    let other = chosen.trouble.is_some() || taught.is_none();
    let mut left_alone = Vec::new();
    let mut leave = |e: Failure, may: bool, what: &str| {
        if !may {
            return Err(e);
        }
        left_alone.push(format!("{}; {what}", e.why));
        Ok(())
    };
    config.names(labels).or_else(|e| leave(e.into(), other || setup::spares(config, bundle, store), "left alone"))?;
    let extras = bundle.contract.extra.iter().map(|extra| extra.name.as_str());
    reads_extras(config, extras).or_else(|e| leave(e.into(), other, "left alone"))?;
    let wiring = board.wiring(&config.gpio, labels).or_else(|e| leave(e.into(), other, "no line is driven").map(|()| None))?;
    let fits = config.decisions(own, labels).map(drop);
    fits.or_else(|e| leave(e.into(), other, "the bundle's own hold where these do not fit"))?;
    let place = config.place && (bundle.contract.input.is_some() || !other);
    if place != config.place {
        left_alone.push("where something moves cannot be said of rows of numbers; `where` is left alone".into());
    }
    if !args.wait {
        may_be_opened(args, config, board, bundle, wiring.as_ref())?;
    }
    let threads = board.threads(args.threads.or(config.threads))?;
    notes.extend(piece::of_another(&config.file, &bundle.hash).map(|what| (Level::Warn, what)));
    let (known, trouble) = store::novelty::look(store.dir(), bundle);
    notes.extend(trouble.into_iter().map(|why| (Level::Warn, why)));
    let options = Options {
        region: config.looked_at(),
        thresholds: thresholds(config, own, labels),
        heartbeat: Duration::from_secs(config.heartbeat_s.into()),
        gate: args.gate.on(),
        place,
        form: Form::On(Engine { threads, ..Engine::best() }),
        novelty: known.and_then(|setup| config.novelty.apply(setup)),
        ..Options::default()
    };
    let pipeline = Pipeline::new(bundle, &options)?;
    notes.extend(elsewhere.map(|what| (Level::Info, what)));
    // What its owner configured is of another bundle: a fallback, as where an installed one is broken.
    chosen.trouble = chosen.trouble.or_else(|| left_alone.first().cloned());
    Ok(Ready { chosen, taught, pipeline, wiring, left_alone, novelty: options.novelty })
}

/// May this user open what is configured? Asked where nobody waits: with `--wait` a device that udev has not given to its group yet is tried again.
///
/// # Errors
/// The first that may not be opened, and the group that helps: exit code 1, since a restart may find it given.
fn may_be_opened(args: &Args, config: &Config, board: &Board, bundle: &Bundle, wiring: Option<&Wiring>) -> Result<(), Failure> {
    let reports = super::report_specs(args, config, board)?;
    let shut = reports.iter().find_map(|spec| match spec {
        ReportSpec::Serial { path, .. } => Some(format!("{}: {}", path.display(), port::denied(path)?)),
        _ => None,
    });
    if let Some(why) = shut.or_else(|| listen::denied(heard(&bundle.contract.extra, &config.extra))) {
        return Err(Failure::broke(why));
    }
    let used = wiring.filter(|w| !w.buttons.is_empty() || (reports.contains(&ReportSpec::Gpio) && !w.is_empty()));
    match used.map(|wiring| gpio::find(&wiring.chip, wiring.lines.iter().map(|(_, out)| &out.line))) {
        Some(Err(Trouble::Denied(why))) => Err(Failure::broke(why)),
        _ => Ok(()),
    }
}

/// Where the extras of a bundle come from, of those that are given.
pub fn heard<'a>(extra: &'a [Extra], given: &'a BTreeMap<String, String>) -> impl Iterator<Item = (&'a str, &'a str)> {
    extra.iter().filter_map(|extra| Some((extra.name.as_str(), given.get(&extra.name)?.as_str())))
}

/// Does `[extra]` name only what a bundle with these extras reads?
///
/// # Errors
/// A name that it does not read.
pub fn reads_extras<'a>(config: &Config, names: impl Iterator<Item = &'a str>) -> Result<(), ConfigError> {
    let names: Vec<&str> = names.collect();
    let Some(name) = config.extra.keys().find(|name| !names.contains(&name.as_str())) else { return Ok(()) };
    let names = if names.is_empty() { "none".into() } else { names.join(", ") };
    Err(ConfigError { file: config.file.clone(), why: format!("extra: the bundle reads no extra {name:?}, it reads {names}") })
}

/// The thresholds of every class: as they are configured, and the bundle's own where those do not fit it.
pub fn thresholds(config: &Config, own: &Decision, labels: &[Label]) -> Vec<Thresholds> {
    let one = |label: &Label| match config.decisions(own, std::slice::from_ref(label)).as_deref() {
        Ok([configured]) => Thresholds::from(configured),
        _ => Thresholds::from(own),
    };
    labels.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bundles_own_thresholds_hold_where_those_that_are_configured_do_not_fit() {
        let text = "[decision]\nleave = 0.8\n[decision.label.wave]\nenter = 0.9\n";
        let config = Config::parse("x", text).expect("alone it is fine");
        let labels: Vec<Label> = ["idle", "wave"].map(|name| Label::try_from(name).expect("short")).to_vec();
        let own = Decision::default();
        assert!(config.decisions(&own, &labels).is_err());
        let all = thresholds(&config, &own, &labels);
        let found: Vec<_> = all.iter().map(|t| (t.enter, t.leave)).collect();
        assert_eq!(found, [(own.enter, own.leave), (0.9, 0.8)]);
    }
}
