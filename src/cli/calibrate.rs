//! `lookout calibrate`: thresholds for one site, from ordinary footage of it and a wanted rate of false alarms.
//!
//! Most of what a bundle gets wrong at a new place is calibration: another distance, another light, a tree. Footage of an ordinary day says how high
//! each class climbs there with no cause; the lowest threshold that keeps to the wanted rate finds the most. Each class may use an even share
//! of the rate. What comes out is a piece of lookout.toml. Footage of T hours without an alarm only proves, with 95 % confidence, a rate below 3 / T
//! (the rule of three), so that is said beside it, and less footage than that lowers no threshold.

use super::Failure;
use super::play::timeline;
use super::segments::Timeline;
use super::setup::{self, BundleArg, GateArg, StateArg, on_box};
use crate::bundle::Bundle;
use crate::config::{Config, read_text};
use crate::decision::{AGAIN, Decision, Thresholds};
use crate::pipeline::Options;
use crate::report::Edge;
use crate::store::replace;
use std::fmt::Write as _;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Thresholds that are tried: 0.30, 0.32 to 0.98.
const STEPS: u32 = 35;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Ordinary footage of this site, in which nothing happens that should be called out: files, folders of images, or any source that ends
    #[arg(required = true, value_name = "CLIP")]
    clips: Vec<String>,
    /// Put it into this configuration, in the place of an earlier run's
    #[arg(long, value_name = "FILE")]
    into: Option<PathBuf>,
    /// False alarms an hour that are allowed, all classes together
    #[arg(long, value_name = "N", default_value_t = 1.0)]
    false_alarms: f32,
    #[command(flatten)]
    bundle: BundleArg,
    /// Configuration: which bundle, which part of the picture, how long a class must hold [default: /etc/lookout/lookout.toml where it exists]
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
    let config = setup::config(args.config.as_deref().or(own))?;
    let bundle = on_box(&args.bundle, &config, &args.state.store(&config))?;
    let held = config.decisions(&bundle.contract.decision, &bundle.labels)?;
    let options = Options { region: config.looked_at(), gate: args.gate.on(), still_before: true, ..Options::default() };
    let timelines: Vec<Timeline> =
        args.clips.iter().map(|clip| timeline(clip, &bundle, &options, None, None)).collect::<Result<_, _>>()?;
    let ticks: usize = timelines.iter().map(Timeline::ticks).sum();
    let hours = ticks as f32 * bundle.contract.time.tick_ms as f32 / 3.6e6;
    if ticks == 0 {
        return Err(Failure::refused("no tick could be decided in this footage; longer recordings are needed"));
    }
    let d = &bundle.contract.decision;
    let classes = bundle.labels.len() - 1;
    let allowed = args.false_alarms * hours / classes as f32;
    // Footage that proves nothing may make a class more careful, never less.
    let proves = args.false_alarms * hours >= 3.0;
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{BEGIN}\n# bundle {} {}: at most {} false alarms an hour, by {:.2} hours of footage",
        bundle.contract.name, bundle.contract.version, args.false_alarms, hours
    );
    let mut all = 0;
    for class in (0..bundle.labels.len()).filter(|c| *c != bundle.background) {
        let min = Duration::from_millis(held[class].min_ms.into());
        let own = held[class].enter;
        if own >= 1.0 && !proves {
            let _ = writeln!(text, "\n# {0}: switched off before\n[decision.label.{0}]\nenter = 1.0", bundle.labels[class]);
            continue;
        }
        let count = |enter: f32| timelines.iter().map(|t| alarms(t, &bundle, class, enter, min)).sum::<u32>();
        let steps = (0..STEPS).rev().map(|n| 0.3 + 0.02 * n as f32).filter(|enter| proves || *enter > own);
        let tried = steps.chain((!proves).then_some(own)).map(|enter| (enter, count(enter)));
        let Some((enter, found)) = tried.take_while(|(_, n)| *n as f32 <= allowed).last() else {
            let _ = writeln!(
                text,
                "\n# {}: {} alarms even at 0.98; it cannot be used here\n[decision.label.{0}]\nenter = 1.0",
                bundle.labels[class],
                count(0.98)
            );
            continue;
        };
        all += found;
        let leave = enter * (d.leave / d.enter.max(0.01)).min(1.0);
        let _ = writeln!(text, "\n# {found} alarms in the footage; the bundle's {:.2} would give {}", d.enter, count(d.enter));
        let _ = writeln!(text, "[decision.label.{}]\nenter = {enter:.2}\nleave = {leave:.2}", bundle.labels[class]);
    }
    text.push_str(END);
    match &args.into {
        Some(file) => put_into(file, &text)?,
        None => writeln!(out, "{text}")?,
    }
    let mut err = std::io::stderr();
    let _ = writeln!(
        err,
        "{all} alarms in {hours:.2} hours of footage with these thresholds: at most {:.1} an hour (95 % confidence), had they been chosen before",
        bound(all) / hours
    );
    if !proves {
        let needed = 3.0 / args.false_alarms;
        let _ = writeln!(
            err,
            "that much footage proves no rate below {:.1} an hour (95 % confidence), so no threshold is lower than it was; for {} an hour {needed:.1} hours without an alarm are needed",
            3.0 / hours,
            args.false_alarms
        );
    }
    Ok(())
}

/// First and last line of what is printed: between them an earlier run's stands in a configuration.
const BEGIN: &str = "# >>> lookout calibrate";
const END: &str = "# <<< lookout calibrate";

/// Puts the piece into a configuration, which has to be one with it.
fn put_into(file: &Path, piece: &str) -> Result<(), Failure> {
    let refuse = |why: String| Failure::refused(format!("{}: {why}", file.display()));
    // Through a link to the file itself.
    let place = file.canonicalize().unwrap_or_else(|_| file.to_path_buf());
    if !place.parent().is_some_and(|folder| folder.as_os_str().is_empty() || folder.is_dir()) {
        return Err(refuse("no such folder".into()));
    }
    let before = if place.exists() { read_text(file).map_err(refuse)? } else { String::new() };
    let after = match (before.find(BEGIN), before.find(END)) {
        (Some(begin), Some(end)) if begin < end => format!("{}{piece}{}", &before[..begin], &before[end + END.len()..]),
        (None, None) => format!("{}{}{piece}\n", before.trim_end(), if before.trim().is_empty() { "" } else { "\n\n" }),
        _ => return Err(refuse(format!("{BEGIN} and {END} do not stand around one piece; correct or delete both"))),
    };
    Config::parse(&file.display().to_string(), &after).map_err(|e| Failure::refused(format!("with what was found: {e}")))?;
    replace(&place, after.as_bytes()).map_err(Failure::from)
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

/// Alarms of one class alone at a threshold that it has to hold for `min`.
fn alarms(timeline: &Timeline, bundle: &Bundle, class: usize, enter: f32, min: Duration) -> u32 {
    let d = &bundle.contract.decision;
    let mut thresholds = vec![Thresholds { enter: 2.0, leave: 2.0, min }; bundle.labels.len()];
    thresholds[class] = Thresholds { enter, leave: enter * (d.leave / d.enter.max(0.01)).min(1.0), min };
    let mut decision = Decision::new(&bundle.labels, &thresholds, bundle.background);
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
