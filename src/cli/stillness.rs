//! What a tick costs in a still, a normal and a busy scene, with and without the gate: a part of `lookout bench`.

use super::Failure;
use super::bench::cpu_time;
use crate::bundle::Bundle;
use crate::pipeline::{Options, Pipeline};
use crate::source::ahead::Ahead;
use crate::source::scene::{Play, Scene};
use std::io::Write;
use std::time::Duration;

/// What one clip cost.
struct Cost {
    /// Processor time a tick, all stages, mean over the clip; the painting of the clip does not count.
    us: f64,
    ticks: u32,
    reused: u32,
}

/// Plays the three clips twice each and says what they cost, in words or as JSON lines.
pub fn table(bundle: &Bundle, json: bool, out: &mut dyn Write) -> Result<(), Failure> {
    let threshold = bundle.contract.input.as_ref().map_or(0.0, |i| i.gate);
    if !json {
        writeln!(out, "\n{:<20} {:>12} {:>12} {:>10}", "processor time a tick", "gate off, µs", "gate on, µs", "no news")?;
    }
    for (play, name) in [(Play::Still, "still"), (Play::Script, "normal"), (Play::Busy, "busy")] {
        let (off, on) = (cost(bundle, play, false)?, cost(bundle, play, true)?);
        let part = f64::from(on.reused) / f64::from(on.ticks.max(1));
        if json {
            let line = serde_json::json!({
                "name": name, "us_gate_off": off.us, "us_gate_on": on.us, "ticks": on.ticks, "reused": on.reused, "gate": threshold,
            });
            writeln!(out, "{line}")?;
        } else {
            let percent = format!("{:.1} %", 100.0 * part);
            writeln!(out, "{name:<20} {:>13.1} {:>12.1} {percent:>10}", off.us, on.us)?;
        }
    }
    if !json && threshold == 0.0 {
        writeln!(out, "(this bundle asks for no gate: input.gate is 0)")?;
    }
    Ok(())
}

fn cost(bundle: &Bundle, play: Play, gate: bool) -> Result<Cost, Failure> {
    let mut pipeline = Pipeline::new(bundle, &Options { gate, ..Options::default() })?;
    let mut scene = Ahead::new(Box::new(Scene::playing(1, play)));
    let mut spent = Duration::ZERO;
    let mut from = pipeline.counts();
    while let Some((frame, Some(until))) = scene.read()? {
        let start = cpu_time();
        pipeline.play(&frame, Some(until), &mut (), &mut |_| ())?;
        spent += cpu_time().saturating_sub(start);
        let now = pipeline.counts();
        // Caches are warm and the ring is full.
        if from.ticks == 0 && now.ticks == 40 {
            (from, spent) = (now, Duration::ZERO);
        }
    }
    let now = pipeline.counts();
    let (ticks, reused) = (now.ticks - from.ticks, now.reused - from.reused);
    Ok(Cost { us: spent.as_secs_f64() * 1e6 / f64::from(ticks.max(1)), ticks, reused })
}
