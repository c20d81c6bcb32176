//! `lookout train --unsupervised`: a bundle that knows what is normal, from recordings without labels.
//!
//! A folder (every recording below it), one recording, or a table. A table may have labels: classes named by --strange are not learnt from, and with
//! --folds they have to be found again, which is the only way to know what an alarm without labels is worth.

use super::reading::{Ticked, unshown, warn};
use super::{Args, NewEncoder, channels, no_encoder_of_rows, wishes};
use crate::bundle::{Bundle, Channel};
use crate::cli::Failure;
use crate::cli::setup::load;
use crate::novelty::{FILE, NETWORK, Setup, normal};
use crate::ticks::{Kind, Maker};
use crate::train::course::cache_beside;
use crate::train::list::Listing;
use crate::train::set::Set;
use crate::train::unlabelled::{self, grid_draft, grid_input};
use crate::train::write::{self, Draft, MAX_HELD, Terms};
use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;

/// Runs the command.
pub fn run(args: &Args, name: String, out: &mut dyn Write) -> Result<(), Failure> {
    if matches!(args.encoder, Some(NewEncoder::Tiny | NewEncoder::Gait)) {
        return Err(Failure::refused(
            "--encoder tiny and gait go with labels; --unsupervised keeps the bundle's encoder, or takes --encoder grid",
        ));
    }
    let base = load(args.bundle.bundle.as_deref())?;
    let tick_ms = args.tick_ms.unwrap_or(base.contract.time.tick_ms);
    let listing = Listing::unlabelled(&args.clips, &wishes(args, tick_ms)?).map_err(Failure::refused)?;
    let strange = strange(args, &listing)?;
    let rows = listing.recordings.iter().all(|r| r.is_rows());
    no_encoder_of_rows(args, rows)?;
    let grid = args.encoder == Some(NewEncoder::Grid);
    let input = if grid {
        let sees = channels(args, &[Channel::Motion])?;
        if sees.contains(&Channel::Rgb) {
            return Err(Failure::refused("--channels rgb: a grid sees gray, motion, flow or a list of them"));
        }
        Some(grid_input(usize::from(args.size), tick_ms, args.span_ms, sees))
    } else {
        None
    };
    let description = format!("what is normal, learnt from {} recordings without labels", listing.recordings.len());
    let window = usize::from(args.window.unwrap_or(base.contract.time.window as u16));
    let mut terms =
        Terms { features: input.as_ref().map_or(0, |i| i.features), input, ..Terms::new(name, description, tick_ms, window) };
    // The bundle whose features are learnt from: the one that was named, or a new one, still without what is normal.
    let mut draft = if grid { Some(grid_draft(&mut terms)?) } else { None };
    let encoder: Option<Bundle> = match &draft {
        Some(draft) => Some(draft.open(&terms)?),
        None if rows => None,
        None => Some(base.clone()),
    };
    let extra = encoder.as_ref().map_or(&[][..], |b| &b.contract.extra);
    if !extra.is_empty() || !args.extra.is_empty() {
        let named = if args.extra.is_empty() { format!("bundle {}", base.contract.name) } else { "--extra".into() };
        return Err(Failure::refused(format!(
            "--unsupervised: {named} asks for extra numbers, which are not read here; `lookout learn CLIP --bundle DIR` takes them from the tables beside recordings"
        )));
    }
    let kind = encoder.as_ref().map_or(Kind::Rows, |b| Kind::Features(Box::new(b.clone())));
    let cache = args.cache.clone().unwrap_or_else(|| cache_beside(&args.out));
    let max_held = encoder.as_ref().map_or(MAX_HELD, |b| b.contract.time.max_held);
    let maker = Maker::new(kind, tick_ms, Some(cache.as_path())).map_err(Failure::broke)?.holding(max_held);
    let (listing, ticks) = read(listing, &maker)?;
    warn(unshown(&ticks, tick_ms, 0));
    let width = ticks[0].1.width;
    let set = Set::new(&listing, ticks, tick_ms, terms.window, 0);
    let learning = normal::Terms {
        loss: args.loss,
        hold_ms: args.hold_ms,
        horizon_ms: args.horizon_ms,
        seed: args.seed,
        each: args.each,
        ..normal::Terms::new(tick_ms, if rows { 0 } else { width })
    };
    if !strange.is_empty() && args.folds > 1 {
        judge(args, &set, &strange, &learning, out)?;
    }
    if rows {
        terms.features = width;
        let mut new = Draft::default();
        unlabelled::no_classes(&mut new, &mut terms)?;
        draft = Some(new);
    }
    let all: Vec<usize> = (0..set.sequences.len()).collect();
    let hash = encoder.as_ref().map_or(String::new(), |b| b.hash.clone());
    let ordinary = unlabelled::ordinary(&set, &all, &strange)?;
    let (learnt, network) = unlabelled::learn(width, &ordinary, args.predictor, &hash, &learning)?;
    let ticks = learnt.learnt;
    let file = serde_json::to_vec(&learnt).map_err(|e| Failure::broke(e.to_string()))?;
    let setup = Setup::of(learnt, network.as_deref()).map_err(Failure::broke)?;
    let said = crate::cli::promised::words(&setup);
    let card = format!(
        "# {}\n\n{}: {ticks} ticks of {tick_ms} ms. The score is calibrated on what was not learnt from. {said},\non footage like that; a box counts its own blocks and promises by them.\n",
        terms.name, terms.description
    );
    let network = network.map(|file| (NETWORK, file));
    let files: Vec<(&str, Vec<u8>)> = [(FILE, file), ("README.md", card.into_bytes())].into_iter().chain(network).collect();
    save(&args.out, draft, &base, &terms, files)?;
    writeln!(out, "bundle {} written to {}: learnt from {ticks} ticks; {said}", terms.name, args.out.display())?;
    Ok(())
}

/// What was found again of what is strange, said.
fn judge(
    args: &Args,
    set: &Set,
    strange: &BTreeSet<usize>,
    learning: &normal::Terms,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let (lines, left) = unlabelled::judge(set, strange, usize::from(args.folds), args.seed, args.predictor, learning)?;
    let what = if set.stretches { ["all ticks", "mean of recordings"] } else { ["clips", "clips"] };
    writeln!(out, "{:40} AUC {:>10} {:>20}", format!("judged in {} folds by group", args.folds), what[0], what[1])?;
    for line in lines {
        writeln!(out, "{:40}     {:>10.3} {:>20.3}", line.what, line.auc[0], line.auc[1])?;
    }
    if left > 0 {
        let all = set.sequences.len();
        writeln!(out, "not in these figures: {left} of {all} recordings, in which no labelled tick has a score")?;
    }
    Ok(())
}

/// Writes the bundle, proven: the new one (`draft`), or `base` with what was learnt, the first of `files`.
fn save(out: &Path, draft: Option<Draft>, base: &Bundle, terms: &Terms, files: Vec<(&str, Vec<u8>)>) -> Result<(), Failure> {
    if let Some(mut draft) = draft {
        draft.files.extend(files.into_iter().map(|(name, bytes)| (name.to_string(), bytes)));
        crate::golden::prove(&draft.open(terms)?)?;
        draft.save(terms, out)?;
        return Ok(());
    }
    let network = files.iter().find(|(name, _)| *name == NETWORK).map(|(_, bytes)| bytes.as_slice());
    let text = base.amended(Some(&terms.name), &[(FILE, Some(&files[0].1)), (NETWORK, network)])?;
    let mut all = base.files().clone();
    all.remove(NETWORK);
    all.extend(files.into_iter().map(|(name, bytes)| (name.to_string(), bytes)));
    crate::golden::prove(&write::in_memory(&all, &text)?)?;
    write::save(out, &all, &text)?;
    Ok(())
}

/// `--strange`, as numbers of classes.
fn strange(args: &Args, listing: &Listing) -> Result<BTreeSet<usize>, Failure> {
    let number = |label: &String| {
        let found = listing.labels.iter().position(|l| l == label);
        found.ok_or_else(|| Failure::refused(format!("--strange {label}: one of {} expected", listing.labels.join(", "))))
    };
    args.strange.iter().map(number).collect()
}

fn read(mut listing: Listing, maker: &Maker) -> Result<(Listing, Ticked), Failure> {
    let sources: Vec<String> = listing.recordings.iter().map(|r| r.source.clone()).collect();
    let made = maker.all(&sources, &|_| {});
    maker.dense(sources.len()).map_err(Failure::refused)?;
    maker.repeats(sources.len()).into_iter().for_each(|why| log::warn!("{why}"));
    let mut all = Vec::new();
    for (r, ticks) in listing.recordings.drain(..).zip(made) {
        match ticks {
            Ok(ticks) => all.push((r, ticks, vec![])),
            Err(why) => log::warn!("left out: {why}"),
        }
    }
    let Some((first, width)) = all.first().map(|(r, t, _)| (r.source.clone(), t.width)) else {
        return Err(Failure::refused("no recording could be read"));
    };
    if let Some((r, ticks, _)) = all.iter().find(|(_, t, _)| t.width != width) {
        return Err(Failure::refused(format!("{}: rows of {} numbers, in {first} of {width}", r.source, ticks.width)));
    }
    Ok((listing, all))
}
