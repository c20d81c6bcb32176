//! `lookout calibrate`: thresholds for one site, from ordinary footage of it and a wanted rate of false alarms.
//!
//! Most of what a bundle gets wrong at a new place is calibration: another distance, another light, a tree. Footage of an ordinary day says how high
//! each class climbs there with no cause; the lowest threshold that keeps to the wanted rate finds the most. Each class may use an even share
//! of the rate. What comes out is a piece of lookout.toml (`calibrate/piece.rs`), and what an earlier run put there is no beginning for the next one: each
//! judges by what the bundle and the owner say. Footage of T hours without an alarm only proves, with 95 % confidence, a rate below 3 / T (the rule of
//! three), so that is said beside it, and less footage than that lowers no threshold. A class for which no threshold was found is switched off, and named.

pub mod piece;

use super::Failure;
use super::play::timeline;
use super::segments::Timeline;
use super::setup::{self, BoxBundleArg, GateArg, StateArg, on_box};
use crate::bundle::{self, Bundle};
use crate::config::Config;
use crate::decision::{AGAIN, Decision, Thresholds};
use crate::pipeline::Options;
use crate::recordings;
use crate::report::{Edge, Label};
use crate::store::Store;
use piece::Found;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Thresholds that are tried: 0.30, 0.32 to 0.98.
const STEPS: u32 = 35;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Ordinary footage of this site, in which nothing happens that should be called out: files, folders of images or of recordings, or any source that ends
    #[arg(required = true, value_name = "CLIP")]
    clips: Vec<String>,
    /// Put it into this configuration, in the place of an earlier run's; a class that has a table of its own is changed there
    #[arg(long, value_name = "FILE")]
    into: Option<PathBuf>,
    /// False alarms an hour that are allowed, all classes together
    #[arg(long, value_name = "N", default_value_t = 1.0)]
    false_alarms: f32,
    #[command(flatten)]
    bundle: BoxBundleArg,
    /// Configuration: which bundle, which part of the picture, how long a class must hold [default: the file of --into where it exists, else
    /// /etc/lookout/lookout.toml where it exists]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    state: StateArg,
    #[command(flatten)]
    gate: GateArg,
}

/// Runs the command: a piece of configuration on stdout, what it is worth on stderr.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), Failure> {
    setup::false_alarms(args.false_alarms)?;
    // What it is put into is what holds on this box.
    let own = args.into.as_deref().filter(|file| file.exists());
    let mut config = setup::config(args.config.as_deref().or(own))?;
    piece::forget(&mut config)?;
    let bundle = as_it_runs(args.bundle.bundle.as_deref(), &config, &args.state.store(&config))?;
    let held = config.decisions(&bundle.contract.decision, &bundle.labels)?;
    let missing = args.into.as_ref().and_then(|file| could_take(file, &bundle, args).transpose()).transpose()?;
    let options = Options { region: config.looked_at(), gate: args.gate.on(), still_before: true, ..Options::default() };
    let clips = recordings::named(&args.clips, &bundle).map_err(Failure::refused)?;
    let timelines: Vec<Timeline> =
        clips.iter().map(|clip| timeline(clip, &bundle, &options, None, None)).collect::<Result<_, _>>()?;
    let ticks: usize = timelines.iter().map(Timeline::ticks).sum();
    let hours = ticks as f32 * bundle.contract.time.tick_ms as f32 / 3.6e6;
    if ticks == 0 {
        return Err(Failure::refused("no tick could be decided in this footage; longer recordings are needed"));
    }
    let d = &bundle.contract.decision;
    let allowed = args.false_alarms * hours / classes(&bundle).count() as f32;
    // Footage that proves nothing may make a class more careful, never less.
    let proves = args.false_alarms * hours >= 3.0;
    let mut found = Vec::new();
    for (class, label) in classes(&bundle) {
        let own = &held[class];
        let min_ms = config.decision.label.get(label.as_str()).and_then(|one| one.min_ms);
        let off = |says| Found { label: label.clone(), says, enter: 1.0, leave: None, min_ms };
        if own.enter >= 1.0 && !proves {
            found.push(off("switched off before".into()));
            continue;
        }
        let count = |enter: f32| {
            let wanted = Thresholds { enter, leave: leave(enter, own, d), min: Duration::from_millis(own.min_ms.into()) };
            let alone = alone(class, wanted, bundle.labels.len());
            timelines.iter().map(|t| alarms(t, &bundle, &alone)).sum::<u32>()
        };
        let tries = tries(own.enter, proves);
        let counted = tries.iter().map(|enter| (*enter, count(*enter)));
        let Some((enter, n)) = counted.take_while(|(_, n)| *n as f32 <= allowed).last() else {
            let highest = tries.first().copied().unwrap_or(own.enter);
            found.push(off(format!("{} alarms even at {highest}, so it is off", count(highest))));
            continue;
        };
        let says = format!("{n} alarms in the footage; the bundle's {} would give {}", d.enter, count(d.enter));
        found.push(Found { label: label.clone(), says, enter, leave: Some(leave(enter, own, d)), min_ms });
    }
    // Together: a class that is on keeps weaker ones out, and one that ends lets another begin.
    let chosen: Vec<Thresholds> =
        std::iter::zip(&bundle.labels, &held).map(|(label, own)| together(&found, label, own)).collect();
    let all = timelines.iter().map(|t| alarms(t, &bundle, &chosen)).sum::<u32>();
    let head =
        format!("{}: at most {} false alarms an hour, by {hours:.2} hours of footage", piece::bundle(&bundle), args.false_alarms);
    match &args.into {
        Some(file) => {
            if let Err(e) = piece::put(file, &head, &found) {
                // The file is another one by now, or its disk is full: the work of hours is not lost.
                let _ = writeln!(out, "{}", piece::text(&head, &found));
                return Err(e);
            }
        }
        None => writeln!(out, "{}", piece::text(&head, &found))?,
    }
    let mut err = std::io::stderr();
    let _ = writeln!(
        err,
        "{all} alarms in {hours:.2} hours of footage with these thresholds: at most {:.1} an hour (95 % confidence), had they been chosen before",
        bound(all) / hours
    );
    let off: Vec<&str> = found.iter().filter(|f| f.leave.is_none()).map(|f| f.label.as_str()).collect();
    if !off.is_empty() {
        let _ = writeln!(err, "switched off: {}; {}", off.join(", "), remedy(args.false_alarms, found.len(), hours));
    }
    if !proves {
        let needed = 3.0 / args.false_alarms;
        let _ = writeln!(
            err,
            "that much footage proves no rate below {:.1} an hour (95 % confidence), so no threshold is lower than without `lookout calibrate`; for {} an hour {needed:.1} hours without an alarm are needed",
            3.0 / hours,
            args.false_alarms
        );
    }
    if let Some(missing) = missing {
        let _ = writeln!(err, "{missing}");
    }
    Ok(())
}

/// The bundle of this box with what was taught on it, as `run` has it; one that is named, by itself.
fn as_it_runs(named: Option<&Path>, config: &Config, store: &Store) -> Result<Bundle, Failure> {
    let mut bundle = on_box(named, config, store)?;
    if named.is_none()
        && let Err(why) = setup::run_taught(&mut bundle, store)
    {
        log::error!("{why}");
    }
    Ok(bundle)
}

/// What could bring back a class for which so many hours show no threshold: more footage, where these prove nothing or allow no class even one alarm.
fn remedy(rate: f32, classes: usize, hours: f32) -> String {
    let enough = 3.0f32.max(classes as f32) / rate;
    if hours < enough {
        format!("{hours:.2} hours of footage show no threshold for {rate} an hour, {enough:.1} hours or more may show one")
    } else {
        format!("no threshold keeps to an even share of {rate} an hour here")
    }
}

/// No probability is as high.
const OFF: f32 = 2.0;

/// The classes that may be called out, with their numbers.
fn classes(bundle: &Bundle) -> impl Iterator<Item = (usize, &Label)> {
    bundle.labels.iter().enumerate().filter(move |(class, _)| *class != bundle.background)
}

/// Will a configuration take what is found, whatever it is, and `run` start with it? What is missing for that, if it is written anew or
/// an earlier run's piece, for the bundle that runs with it, makes way.
fn could_take(file: &Path, bundle: &Bundle, args: &Args) -> Result<Option<String>, Failure> {
    let off =
        |(_, label): (usize, &Label)| Found { label: label.clone(), says: String::new(), enter: 1.0, leave: None, min_ms: None };
    piece::within(file, "", &classes(bundle).map(off).collect::<Vec<_>>())?;
    let is_new = !file.exists();
    // Only what was named may be another bundle than the one that runs with this configuration.
    if !is_new && args.bundle.bundle.is_none() && args.config.is_none() {
        return Ok(None);
    }
    let site = if is_new { Config::default() } else { Config::open(file)? };
    // A bundle that is not here runs on another machine; which classes it has is not known.
    let Ok(theirs) = as_it_runs(None, &site, &args.state.store(&site)) else { return Ok(None) };
    let (mine, c) = (&bundle.contract, &theirs.contract);
    let (name, version) = (&mine.name, &mine.version);
    let other = format!("{}: bundle {} {} runs with it", file.display(), c.name, c.version);
    if is_new && theirs.hash != bundle.hash {
        let origin = Path::new(&bundle.origin);
        let how = match origin.canonicalize() {
            Ok(dir) if dir.is_dir() => {
                format!("put `bundle = {dir:?}` above its first line, or `lookout install {}`", dir.display())
            }
            _ => "give it `bundle` and `state` as the other configuration has them".into(),
        };
        return Ok(Some(format!("{other}, and these thresholds are for bundle {name} {version}; {how}")));
    }
    let Some((_, label)) = classes(bundle).find(|(_, label)| !theirs.labels.contains(label)) else { return Ok(None) };
    let why = format!("{other}, which has no class {label}");
    let Some(rest) = piece::without(&site.file)? else {
        let how = "by `bundle` in it or `lookout install`";
        return Err(Failure::refused(format!("{why}; let it be bundle {name} {version} first, {how}")));
    };
    // An earlier run's thresholds keep `lookout install` from this bundle, so they make way before it; nothing else in the file may.
    rest.names(&bundle.labels)?;
    let how = format!("by `bundle` in it or `lookout install {}`", bundle.origin);
    Ok(Some(format!("{why}: `lookout run` refuses the file until bundle {name} {version} runs with it, {how}")))
}

/// Thresholds to try for a class that has `own`, the highest first; of footage that proves nothing, none below it. None is 1, at which nothing starts.
fn tries(own: f32, proves: bool) -> Vec<f32> {
    let mut tries: Vec<f32> = (0..STEPS).map(|n| (30 + 2 * n) as f32 / 100.0).chain([own]).collect();
    tries.retain(|enter| *enter < 1.0 && (proves || *enter >= own));
    tries.sort_by(|a, b| b.total_cmp(a));
    tries.dedup();
    tries
}

/// Where a class ends that starts at `enter`: as far below it as by what holds for it, or by the bundle where it is switched off.
fn leave(enter: f32, own: &bundle::Decision, bundle: &bundle::Decision) -> f32 {
    if enter == own.enter {
        return own.leave;
    }
    let d = if own.enter < 1.0 { own } else { bundle };
    let leave = enter * (d.leave / d.enter.max(0.01)).min(1.0);
    ((leave * 1000.0).round() / 1000.0).min(enter)
}

/// The mean of which `found` or fewer would be seen by chance once in twenty (Poisson): 3 for none.
fn bound(found: u32) -> f32 {
    let seen = f64::from(found);
    // Of so many the distribution is a normal one (its 95 % lie 1.645 deviations up), and e^-mean is near the smallest number there is.
    if found > 500 {
        return (seen + 1.645 * seen.sqrt()) as f32;
    }
    let chance = |mean: f64| {
        let mut term = (-mean).exp();
        let mut sum = term;
        for k in 1..=found {
            term *= mean / f64::from(k);
            sum += term;
        }
        sum
    };
    // Between what was seen and three deviations more; halved until nothing is left to tell.
    let (mut low, mut high) = (seen, seen + 4.0 + 3.0 * seen.sqrt());
    for _ in 0..40 {
        let middle = (low + high) / 2.0;
        if chance(middle) > 0.05 { low = middle } else { high = middle }
    }
    high as f32
}

/// One class of so many at these thresholds, the others off.
fn alone(class: usize, wanted: Thresholds, classes: usize) -> Vec<Thresholds> {
    let mut thresholds = vec![Thresholds { enter: OFF, leave: OFF, ..wanted }; classes];
    thresholds[class] = wanted;
    thresholds
}

/// What was chosen for a class.
fn together(found: &[Found], label: &Label, own: &bundle::Decision) -> Thresholds {
    let chosen = found.iter().find(|f| f.label == *label && f.enter < 1.0);
    let (enter, leave) = chosen.map_or((OFF, OFF), |f| (f.enter, f.leave.unwrap_or(f.enter)));
    Thresholds { enter, leave, min: Duration::from_millis(own.min_ms.into()) }
}

/// Alarms at these thresholds.
fn alarms(timeline: &Timeline, bundle: &Bundle, thresholds: &[Thresholds]) -> u32 {
    let mut decision = Decision::new(&bundle.labels, thresholds, bundle.background);
    let (mut found, mut counted) = (0, None);
    for (tick, at) in timeline.stamps().iter().enumerate() {
        for event in decision.update(*at, timeline.p(tick)).events {
            counted = (event.edge == Edge::Start).then_some(*at);
            found += u32::from(event.edge == Edge::Start);
        }
        if counted.is_some_and(|last| at.since(last) >= AGAIN) {
            (found, counted) = (found + 1, Some(*at));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn footage_that_proves_nothing_lowers_no_threshold_by_a_digit() {
        assert_eq!(tries(0.995, false), [0.995]);
        assert_eq!(tries(0.945, false), [0.98, 0.96, 0.945]);
        assert_eq!(tries(0.96, false), [0.98, 0.96]);
        assert!(tries(1.0, false).is_empty());
        // What proves may lower, and tries its own too.
        let all = tries(0.995, true);
        assert_eq!((all.len(), all[0], all[1], all[35]), (36, 0.995, 0.98, 0.3));
        assert_eq!((tries(1.0, true).len(), tries(0.705, true).len()), (35, 36));
    }

    #[test]
    fn a_class_ends_as_far_below_as_the_site_says() {
        let of = |enter, leave| bundle::Decision { enter, leave, ..bundle::Decision::default() };
        let bundles = of(0.7, 0.4);
        assert_eq!(leave(0.8, &of(0.8, 0.75), &bundles), 0.75, "what is not changed ends where it did");
        assert_eq!(leave(0.96, &of(0.8, 0.75), &bundles), 0.9);
        assert_eq!(leave(0.42, &of(0.7, 0.4), &bundles), 0.24);
        assert_eq!(leave(0.42, &of(1.0, 0.9), &bundles), 0.24, "what is switched off ends as by the bundle");
        assert_eq!(leave(0.32, &of(0.8, 0.8), &bundles), 0.32);
    }

    /// Quantiles of the chi-square distribution, halved: 2.996, 4.744, 18.21 in every table.
    #[test]
    fn what_was_seen_bounds_what_may_come() {
        for (found, mean) in [(0, 2.996), (1, 4.744), (11, 18.208)] {
            assert!((bound(found) - mean).abs() < 0.01, "{found}: {}", bound(found));
        }
        assert!(
            (bound(501) - bound(500) - 1.0).abs() < 2.0,
            "one way of computing goes over into the other: {} {}",
            bound(500),
            bound(501)
        );
    }
}
