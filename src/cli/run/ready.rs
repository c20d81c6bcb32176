//! The bundle that runs, and what is made of it for this box before anything is watched.

use super::Args;
use crate::board::{Board, Wiring};
use crate::bundle::Bundle;
use crate::cli::Failure;
use crate::cli::setup::{self, Chosen, choose};
use crate::config::{Config, ConfigError};
use crate::decision::Thresholds;
use crate::encoder::Form;
use crate::novelty::Setup;
use crate::pipeline::{Options, Pipeline};
use crate::qnn::Engine;
use crate::store::{self, Store};
use std::time::Duration;

/// See the module's documentation.
pub struct Ready {
    /// The bundle, and where it comes from.
    pub chosen: Chosen,
    /// Classes that were taught here; `None`: what was taught cannot be used.
    pub taught: Option<usize>,
    pub pipeline: Pipeline,
    pub wiring: Option<Wiring>,
    /// The configuration names classes that are not there, which is no fault while another bundle runs than was meant, or without what was taught.
    pub left_alone: Option<ConfigError>,
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
    let named = args.bundle.bundle.as_deref().or(config.bundle.as_deref());
    let mut chosen = choose(named, config, store)?;
    let taught = setup::run_taught(&mut chosen.bundle, store);
    let trouble = chosen.trouble.clone();
    make(chosen, taught, args, config, store, board).map_err(|e| match trouble {
        Some(trouble) => Failure { why: format!("{trouble}; {}", e.why), ..e },
        None => e,
    })
}

fn make(
    chosen: Chosen,
    taught: Option<usize>,
    args: &Args,
    config: &Config,
    store: &Store,
    board: &Board,
) -> Result<Ready, Failure> {
    let labels = &chosen.bundle.labels;
    let left_alone = match config.names(labels) {
        // Another bundle runs than the one that was meant, or without what was taught: its classes cannot be the ones that are named.
        Err(e) if chosen.trouble.is_some() || taught.is_none() => Some(e),
        named => named.map(|()| None)?,
    };
    let wiring = board.wiring(&config.gpio, labels)?;
    let mut options = options(args, config, board, &chosen.bundle)?;
    let here = store::novelty::of_place(store.dir(), &chosen.bundle);
    options.novelty = here.and_then(|setup| config.novelty.apply(setup));
    let pipeline = Pipeline::new(&chosen.bundle, &options)?;
    Ok(Ready { chosen, taught, pipeline, wiring, left_alone, novelty: options.novelty })
}

fn options(args: &Args, config: &Config, board: &Board, bundle: &Bundle) -> Result<Options, Failure> {
    let decisions = config.decisions(&bundle.contract.decision, &bundle.labels)?;
    let threads = args.threads.or(config.threads);
    if threads > board.threads {
        return Err(Failure::refused(format!("threads = {threads}: board {} has {} for inference", board.name, board.threads)));
    }
    Ok(Options {
        region: config.looked_at(),
        thresholds: decisions.iter().map(Thresholds::from).collect(),
        heartbeat: Duration::from_secs(config.heartbeat_s.into()),
        gate: args.gate.on(),
        place: args.place.on || config.place,
        form: Form::On(Engine { threads, ..Engine::best() }),
        ..Options::default()
    })
}
