//! `lookout bench`: time per stage and allocations on this machine, or the time of any ONNX file.

use super::Failure;
use super::check::{EngineArg, any_onnx, isa_text};
use super::setup::{BundleArg, GateArg, WhereArg, load};
use super::stillness;
use super::stopwatch::{STAGES, Stopwatch};
use crate::bundle::{Bundle, MAX_FILE_BYTES};
use crate::config::read_whole;
use crate::head::{HeadError, HeadFile};
use crate::novelty;
use crate::onnx;
use crate::pipeline::{Options, Pipeline, Stage};
use crate::qnn::kernels::Isa;
use crate::report::sentence::Sentence;
use crate::rng::Rng;
use crate::source::ahead::Ahead;
use crate::source::scene::Scene;
use crate::source::{Frame, Payload, Seq, Source, SourceError, Timestamp};
use crate::sys::alloc;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    bundle: BundleArg,
    #[command(flatten)]
    gate: GateArg,
    #[command(flatten)]
    place: WhereArg,
    /// Time this ONNX file instead of the whole pipeline
    #[arg(long, value_name = "FILE", conflicts_with = "bundle")]
    onnx: Option<PathBuf>,
    /// With --onnx: each layer that runs on bytes, by its share of the time
    #[arg(long, requires = "onnx")]
    layers: bool,
    #[command(flatten)]
    engine: EngineArg,
    /// Rounds of the built-in clip, or runs of the ONNX file
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rounds: u32,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), Failure> {
    match &args.onnx {
        Some(file) => onnx(file, args, out),
        None => pipeline(args, out),
    }
}

fn pipeline(args: &Args, out: &mut dyn Write) -> Result<(), Failure> {
    let bundle = load(args.bundle.bundle.as_deref())?;
    let pictures = bundle.contract.input.is_some();
    let mut watch = Stopwatch::new(args.rounds as usize * 400);
    let mut letters = 0usize;
    for round in 0..args.rounds {
        let novelty = novelty::of_bundle(&bundle).map_err(Failure::refused)?;
        // A fresh pipeline a round: each plays the same clip from its start.
        let (gate, place, form) = (args.gate.on(), args.place.on, args.engine.form()?);
        let mut pipeline = Pipeline::new(&bundle, &Options { gate, place, form, novelty, ..Options::default() })?;
        let mut scene = Ahead::new(if pictures {
            Box::new(Scene::new(u64::from(round) + 1))
        } else {
            Box::new(Numbers::new(&bundle, round))
        });
        watch.again();
        let mut seq = 0;
        let mut say = |report| {
            letters += Sentence::of(seq, &report).encode().len();
            seq += 1;
        };
        while let Some((frame, Some(until))) = scene.read()? {
            pipeline.play(&frame, Some(until), &mut watch, &mut say)?;
        }
    }
    let (whole, mean, allocs) = watch.whole();
    if args.json {
        for (stage, name) in STAGES {
            let (median, mean, allocs) = watch.stage(stage);
            writeln!(
                out,
                "{}",
                serde_json::json!({ "name": name, "us_median": us(median), "us_mean": us(mean), "allocs": allocs, "ticks": watch.ticks() })
            )?;
        }
        writeln!(
            out,
            "{}",
            serde_json::json!({ "name": "tick", "us_median": us(whole), "us_mean": us(mean), "allocs": allocs, "ticks": watch.ticks() })
        )?;
        return if pictures { stillness::table(&bundle, true, out) } else { Ok(()) };
    }
    writeln!(
        out,
        "bundle {} {}, {} ticks of {} ({} bytes of sentences)",
        bundle.contract.name,
        bundle.contract.version,
        watch.ticks(),
        if pictures { "the built-in clip" } else { "pseudo-random rows" },
        letters
    )?;
    writeln!(out, "{:<20} {:>10} {:>10} {:>12}", "stage", "median µs", "mean µs", "allocations")?;
    for (stage, name) in STAGES {
        let (median, mean, allocs) = watch.stage(stage);
        writeln!(out, "{name:<20} {:>10.1} {:>10.1} {allocs:>12.1}", us(median), us(mean))?;
    }
    writeln!(out, "{:<20} {:>10.1} {:>10.1} {allocs:>12.1}", "tick", us(whole), us(mean))?;
    if !pictures {
        return Ok(());
    }
    let own = [Stage::Shaper, Stage::Ring, Stage::Decision].map(|s| us(watch.stage(s).0)).iter().sum::<f64>();
    let encoder = us(watch.stage(Stage::Encoder).0);
    writeln!(out, "shaper + ring + decision + sentence: {own:.1} µs, {:.1} % of the encoder", 100.0 * own / encoder.max(1e-9))?;
    writeln!(
        out,
        "a core can do {:.0} ticks a second; this bundle asks for {:.1}",
        1e6 / us(mean).max(1e-9),
        1e3 / f64::from(bundle.contract.time.tick_ms)
    )?;
    stillness::table(&bundle, false, out)
}

/// Pseudo-random rows, one a tick, for bundles without an encoder.
#[derive(Debug)]
struct Numbers {
    row: Vec<f32>,
    draw: Rng,
    tick: u32,
    tick_ms: u32,
}

impl Numbers {
    fn new(bundle: &Bundle, seed: u32) -> Self {
        Self { row: vec![0.0; bundle.frame_features()], draw: Rng(seed.into()), tick: 0, tick_ms: bundle.contract.time.tick_ms }
    }
}

impl Source for Numbers {
    fn next(&mut self) -> Result<Option<Frame<'_>>, SourceError> {
        if self.tick == 300 {
            return Ok(None);
        }
        for v in &mut self.row {
            *v = self.draw.within(-1.0, 1.0);
        }
        let at = Timestamp::from_ms(u64::from(self.tick) * u64::from(self.tick_ms));
        self.tick += 1;
        Ok(Some(Frame { at, seq: Seq(self.tick), payload: Payload::Row(&self.row) }))
    }

    fn describe(&self) -> String {
        "pseudo-random rows".into()
    }
}

fn onnx(file: &std::path::Path, args: &Args, out: &mut dyn Write) -> Result<(), Failure> {
    let engine = args.engine.get()?;
    let head = if args.layers { None } else { head_file(file, engine.isa) };
    if let Some(head) = head {
        return recurrent(file, head, args, out);
    }
    let mut graph = any_onnx(file, engine)?;
    let input = std::sync::Arc::new(graph.zeros());
    let rounds = args.rounds.max(20);
    let (mut times, mut walls) = (Vec::with_capacity(rounds as usize), Vec::with_capacity(rounds as usize));
    let mut allocs = 0;
    for round in 0..rounds + 3 {
        let (before, start, wall) = (alloc::count(), cpu_time(), Instant::now());
        graph.any.time(&input).map_err(|e| graph.broke(e))?;
        // The first three make what tract keeps.
        if round >= 3 {
            times.push(cpu_time().saturating_sub(start));
            walls.push(wall.elapsed());
            allocs += alloc::count() - before;
        }
    }
    times.sort_unstable();
    walls.sort_unstable();
    let (median, min, wall) = (times[times.len() / 2], times[0], walls[walls.len() / 2]);
    if args.layers {
        return layers(&graph.any.profile(rounds as usize), wall, args.json, out);
    }
    let name = file.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    let allocs = allocs as f64 / f64::from(rounds);
    let (isa, advice) = (isa_text(graph.any.report()), graph.int8(median, engine.isa));
    if args.json {
        let line = serde_json::json!({ "name": name, "isa": isa, "cpu_ms_median": us(median) / 1e3, "cpu_ms_min": us(min) / 1e3, "rounds": rounds, "allocs": allocs, "threads": engine.threads, "wall_ms_median": us(wall) / 1e3, "int8": advice });
        writeln!(out, "{line}")?;
    } else {
        writeln!(
            out,
            "{name} on {isa}: median {:.3} ms, best {:.3} ms of processor time in {rounds} runs, {allocs:.0} allocations a run{}",
            us(median) / 1e3,
            us(min) / 1e3,
            match graph.any.report().macs {
                0 => String::new(),
                macs => format!(", {:.1} billion multiplications a second", macs as f64 / us(median) / 1e3),
            }
        )?;
        if engine.threads > 1 {
            writeln!(out, "{name} on {} threads: median {:.3} ms from start to end", engine.threads, us(wall) / 1e3)?;
        }
        if let Some(advice) = advice {
            writeln!(out, "{name} in int8: {advice}")?;
        }
    }
    Ok(())
}

/// Layers, those that take longest first, and what the rest of a run of `whole` takes: tensors in and out, and what tract computes.
fn layers(all: &[(String, u64, Duration)], whole: Duration, json: bool, out: &mut dyn Write) -> Result<(), Failure> {
    let mut all: Vec<_> = all.iter().collect();
    all.sort_by_key(|(_, _, time)| std::cmp::Reverse(*time));
    let rest = whole.saturating_sub(all.iter().map(|(_, _, time)| *time).sum());
    let share = |time: Duration| 100.0 * us(time) / us(whole).max(1e-9);
    let rate = |macs: u64, time: Duration| macs as f64 / us(time).max(1e-9) / 1e3;
    if json {
        for (what, macs, time) in all {
            let line = serde_json::json!({ "layer": what, "macs": macs, "us_median": us(*time), "share": share(*time) });
            writeln!(out, "{line}")?;
        }
        writeln!(out, "{}", serde_json::json!({ "layer": "rest", "macs": 0, "us_median": us(rest), "share": share(rest) }))?;
        return Ok(());
    }
    writeln!(out, "{:>9} {:>6} {:>12} {:>9}  layer", "µs", "%", "million", "billion/s")?;
    for (what, macs, time) in all {
        let (time, macs) = (*time, *macs);
        writeln!(out, "{:9.1} {:6.1} {:12.3} {:9.1}  {what}", us(time), share(time), macs as f64 / 1e6, rate(macs, time))?;
    }
    writeln!(out, "{:9.1} {:6.1} {:>12} {:>9}  in and out, rows in float, what is left to tract", us(rest), share(rest), "", "")?;
    Ok(())
}

/// The file as a head of our own cells, if it is one.
fn head_file(file: &std::path::Path, isa: Isa) -> Option<HeadFile> {
    let proto = onnx::parse(&read_whole(file, MAX_FILE_BYTES).ok()?).ok()?;
    HeadFile::read(&proto, isa).map_err(|why| log::info!("{}: no head of our own cells: {why}", file.display())).ok()
}

/// Time of a head: a whole run, and the two halves of a tick.
fn recurrent(file: &std::path::Path, mut head: HeadFile, args: &Args, out: &mut dyn Write) -> Result<(), Failure> {
    let name = file.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    let rounds = args.rounds.max(20);
    let before = alloc::count();
    head.run().map_err(|e| Failure::broke(e.to_string()))?;
    let allocs = alloc::count() - before;
    let run = timed(rounds, || head.run().map(|_| ()))?;
    let project = timed(rounds, || head.project())?;
    let step = timed(rounds, || {
        head.step();
        Ok(())
    })?;
    if args.json {
        let line = serde_json::json!({
            "name": name, "isa": args.engine.isa()?.to_string(), "cpu_ms_median": us(run.0) / 1e3, "cpu_ms_min": us(run.1) / 1e3,
            "rounds": rounds, "allocs": allocs, "project_us": us(project.0), "step_us": us(step.0), "head": head.words(),
        });
        writeln!(out, "{line}")?;
        return Ok(());
    }
    writeln!(
        out,
        "{name}: median {:.1} µs, best {:.1} µs of processor time in {rounds} runs, {allocs} allocations a run\n\
         {name}: a tick is {:.1} µs of projection and {:.1} µs of recurrent step\n{name}: {}",
        us(run.0),
        us(run.1),
        us(project.0),
        us(step.0),
        head.words()
    )?;
    Ok(())
}

/// Median and best processor time of something too short for the clock: sixteen at a time.
fn timed(rounds: u32, mut work: impl FnMut() -> Result<(), HeadError>) -> Result<(Duration, Duration), Failure> {
    const AT_ONCE: u32 = 16;
    let mut times = Vec::with_capacity(rounds as usize);
    for round in 0..rounds + 3 {
        let start = cpu_time();
        for _ in 0..AT_ONCE {
            work().map_err(|e| Failure::broke(e.to_string()))?;
        }
        // The first three fill the caches.
        if round >= 3 {
            times.push(cpu_time().saturating_sub(start) / AT_ONCE);
        }
    }
    times.sort_unstable();
    Ok((times[times.len() / 2], times[0]))
}

fn us(d: Duration) -> f64 {
    d.as_secs_f64() * 1e6
}

/// Processor time of this process so far: what other programs on the machine do does not count.
pub fn cpu_time() -> Duration {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(t.tv_sec).unwrap_or(0), u32::try_from(t.tv_nsec).unwrap_or(0))
}
