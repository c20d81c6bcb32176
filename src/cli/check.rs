//! `lookout check`: does this bundle compute here what it computed where it was trained, and how fast?
//!
//! With `--onnx` any ONNX file runs through the same engine on a `.npy` input, to compare with the framework it came from.
//! Either way it says what runs on bytes and what is left to tract, and why; for a float encoder, what int8 would give.

use super::Failure;
use super::bench::cpu_time;
use super::estimate::estimate;
use super::promised;
use super::setup::{ThreadsArg, load};
use crate::bundle::{Bundle, ENCODER, HEAD, Input, MAX_FILE_BYTES};
use crate::config::read_whole;
use crate::encoder::{Encoder, Form};
use crate::extra::Extra;
use crate::golden;
use crate::head::{Arithmetic, Head};
use crate::novelty;
use crate::onnx::{self, Any};
use crate::qnn::kernels::Isa;
use crate::qnn::{Engine, Report};
use ndarray_npy::WriteNpyExt;
use std::fmt::Display;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tract_onnx::prelude::*;

/// Largest `.npy` that is read: a clip of 64 pictures of 512 x 512 in three colours is 201 MB in f32.
const MAX_NPY_BYTES: u64 = 256 << 20;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Bundle folder instead of the one baked into the program
    #[arg(value_name = "BUNDLE", conflicts_with = "onnx")]
    dir: Option<PathBuf>,
    /// Check this ONNX file instead
    #[arg(long, value_name = "FILE", requires = "input")]
    onnx: Option<PathBuf>,
    /// Its input, .npy
    #[arg(long, value_name = "NPY", requires = "onnx")]
    input: Option<PathBuf>,
    /// Compare its output with this .npy
    #[arg(long, value_name = "NPY", requires = "onnx", conflicts_with = "output")]
    expect: Option<PathBuf>,
    /// Largest difference from --expect that is right; more is exit code 1
    #[arg(long, value_name = "X", requires = "expect")]
    tolerance: Option<f32>,
    /// Write its output to this .npy
    #[arg(long, value_name = "NPY", requires = "onnx")]
    output: Option<PathBuf>,
    #[command(flatten)]
    engine: EngineArg,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// `--isa` and `--threads`, for every command that runs an encoder to measure it.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct EngineArg {
    /// Instruction set of int8 encoders: scalar, avx2, avxvnni, vnni, neon or dotprod (default: the fastest here)
    #[arg(long, value_name = "ISA")]
    isa: Option<Isa>,
    #[command(flatten)]
    threads: ThreadsArg,
}

impl EngineArg {
    /// The instruction set asked for, or the fastest.
    pub fn isa(self) -> Result<Isa, Failure> {
        let Some(isa) = self.isa else { return Ok(Isa::best()) };
        if Isa::available().contains(&isa) {
            return Ok(isa);
        }
        let here: Vec<String> = Isa::available().iter().map(Isa::to_string).collect();
        Err(Failure::refused(format!("--isa {isa}: this processor has {}", here.join(", "))))
    }

    /// The form of an encoder that runs with it.
    pub fn form(self) -> Result<Form, Failure> {
        self.get().map(Form::On)
    }

    /// What the encoder runs on.
    pub fn get(self) -> Result<Engine, Failure> {
        Ok(Engine { isa: self.isa()?, threads: self.threads.or(1) })
    }
}

/// Runs the command.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), Failure> {
    if let (Some(file), Some(input)) = (&args.onnx, &args.input) {
        return parity(file, input, args, out);
    }
    let bundle = load(args.dir.as_deref())?;
    let form = args.engine.form()?;
    let mut mapped = bundle.contract.input.as_ref().map(|_| Encoder::load_with_map(&bundle, form)).transpose()?;
    // What is timed and told of is what runs unless boxes are asked for.
    let mut encoder = bundle.contract.input.as_ref().map(|_| Encoder::load(&bundle, form)).transpose()?;
    let mut float = bundle.contract.input.as_ref().map(|_| Encoder::load(&bundle, Form::Float)).transpose()?;
    let mut head = Head::load_with(&bundle, Arithmetic::Quickest, args.engine.isa()?)?;
    let deviation = golden::run(&bundle, mapped.as_mut(), &mut head)?;
    let levels = bundle.contract.input.as_ref().map(|i| vec![128u8; i.planes() * i.height * i.width]).unwrap_or_default();
    let timed = |encoder: &mut Encoder| time(|| encoder.run(&levels).map(|_| ()));
    let built = encoder.as_mut().map(timed).transpose()?;
    let grey = encoder.as_mut().map(|encoder| encoder.run(&levels)).transpose();
    if let Some(features) = grey.map_err(|e| bundle.refuse(e.to_string()))?
        && let Some(bad) = features.iter().find(|f| !f.is_finite())
    {
        return Err(bundle.refuse(format!("{ENCODER}: a grey picture gives a feature of {bad}, finite numbers expected")).into());
    }
    let plain = float.as_mut().map(timed).transpose()?;
    let window = vec![0.0; bundle.contract.time.window * bundle.features()];
    let step = time(|| head.run_window(&window).map(|_| ()))?;
    let d = deviation.unwrap_or_default();
    let report = encoder.as_ref().map(|e| e.report().clone()).unwrap_or_default();
    let novelty = novelty::of_bundle(&bundle).map_err(Failure::refused)?;
    let advice = match (&bundle.contract.input, built) {
        (Some(input), Some(built)) if report.isa.is_none() => int8(&bundle, input, built, args.engine)?,
        _ => None,
    };
    if args.json {
        let novelty = novelty.map(|setup| {
            let (ticks, blocks) = (setup.normal.learnt, setup.blocks.best.len());
            let (one_in, promise) = (promised::one_in(&setup), promised::words(&setup));
            serde_json::json!({ "network": setup.sense.words(), "learnt_ticks": ticks, "blocks": blocks, "one_in": one_in, "promise": promise })
        });
        let line = serde_json::json!({
            "ok": true, "bundle": bundle.contract.name, "version": bundle.contract.version, "hash": bundle.hash,
            "max_abs": d.features.unwrap_or(0.0).max(d.logits).max(d.boxes.unwrap_or(0.0)).max(d.map.unwrap_or(0.0)), "top1_equal": d.top1_equal, "vectors": d.vectors,
            "encoder_ms": built.map(ms), "encoder_f32_ms": plain.map(ms), "head_ms": ms(step), "cached": head.is_cached(), "head": head.words(),
            "taken": report.taken_texts(), "behind": report.behind_texts(), "left": report.left, "isa": isa_text(&report), "int8": advice,
            "novelty": novelty, "rss_kb": peak_kb(),
        });
        writeln!(out, "{line}")?;
        return Ok(());
    }
    describe(&bundle, out)?;
    match deviation {
        Some(d) => {
            let features = d.features.map_or(String::new(), |f| format!("features within {f:.6}, "));
            let boxes = d.boxes.map_or(String::new(), |b| format!("boxes within {b:.6}, "));
            let map = d.map.map_or(String::new(), |m| format!("map within {m:.6}, "));
            writeln!(
                out,
                "golden    {} vectors: {features}{map}{boxes}logits within {:.6}, best class {}",
                d.vectors,
                d.logits,
                if d.top1_equal { "always equal" } else { "differs" }
            )?;
        }
        None => writeln!(
            out,
            "golden    none in this bundle: nothing proves that it computes here what it computed where it was trained"
        )?,
    }
    if let (Some(built), Some(plain)) = (built, plain) {
        writeln!(out, "encoder   {:.3} ms as built, {:.3} ms in float, of processor time a tick", ms(built), ms(plain))?;
    }
    if encoder.is_some() {
        describe_report(&report, advice.as_deref(), out)?;
    }
    writeln!(out, "head      {:.3} ms a window, projections included: {}", ms(step), head.words())?;
    if let Some(setup) = novelty {
        writeln!(out, "novelty   {}: learnt from {} ticks", setup.sense.words(), setup.normal.learnt)?;
        writeln!(out, "promise   {}, on footage like that; a box counts its own", promised::words(&setup))?;
    }
    writeln!(out, "memory    {:.1} MB at most so far", f64::from(peak_kb()) / 1e3)?;
    writeln!(out, "ok")?;
    Ok(())
}

/// What an encoder that runs in float would take as int8, in words.
fn int8(bundle: &Bundle, input: &Input, built: Duration, engine: EngineArg) -> Result<Option<String>, Failure> {
    let proto = onnx::parse(bundle.file(ENCODER).unwrap_or_default()).map_err(Failure::refused)?;
    Ok(estimate(&proto, &input.shape(), built, engine.isa()?))
}

fn describe(bundle: &Bundle, out: &mut dyn Write) -> std::io::Result<()> {
    let c = &bundle.contract;
    writeln!(out, "bundle    {} {} ({}), hash {}", c.name, c.version, bundle.origin, &bundle.hash[..8])?;
    if !c.description.is_empty() {
        writeln!(out, "          {}", c.description)?;
    }
    if let Some(i) = &c.input {
        writeln!(
            out,
            "input     {}x{}, {} planes {:?}, {:?}, {} features",
            i.width,
            i.height,
            i.planes(),
            i.channels,
            i.resize,
            i.features
        )?;
    }
    if !c.extra.is_empty() {
        let words = |e: &Extra| format!("{} (mean {}, scale {}, missing after {} ms)", e.name, e.mean, e.scale, e.age_ms);
        writeln!(out, "extra     {}: two numbers each", c.extra.iter().map(words).collect::<Vec<_>>().join(", "))?;
    }
    writeln!(out, "time      a tick is {} ms, a window {} of them, mode {:?}", c.time.tick_ms, c.time.window, c.time.mode)?;
    writeln!(out, "classes   {} (background: {})", c.head.labels.join(" "), c.head.background)?;
    if let Some(name) = c.input.as_ref().and_then(|i| i.map.as_ref()) {
        writeln!(out, "map       by the encoder's output {name:?}; computed only where boxes are asked for")?;
    }
    if let Some(name) = &c.head.boxes {
        writeln!(out, "boxes     by the head's output {name:?}, while a class other than {} is on", c.head.background)?;
    }
    if let Some(lesson) = bundle.lesson.as_ref().filter(|l| !l.labels().is_empty()) {
        writeln!(out, "taught    {} ({} examples)", lesson.labels().join(" "), lesson.shown().count())?;
    }
    let kb = |name| bundle.file(name).map(|bytes| format!("{name} {:.0} kB", bytes.len() as f64 / 1e3));
    writeln!(out, "files     {}", [ENCODER, HEAD].into_iter().filter_map(kb).collect::<Vec<_>>().join(", "))
}

/// The instruction set in use, for programs.
pub fn isa_text(report: &Report) -> String {
    report.isa.map_or("tract".into(), |isa| isa.to_string())
}

/// What runs on bytes and what does not, and what int8 would give, for people.
fn describe_report(report: &Report, advice: Option<&str>, out: &mut dyn Write) -> std::io::Result<()> {
    if let Some(isa) = report.isa {
        let taken = report.taken_texts().join(", ");
        writeln!(out, "on bytes  {taken}: {:.1} million multiplications on {isa}", report.macs as f64 / 1e6)?;
        if !report.behind.is_empty() {
            writeln!(out, "in float  {}, behind those, by our own loops", report.behind_texts().join(", "))?;
        }
    }
    const MOST: usize = 12;
    for left in report.left.iter().take(MOST) {
        writeln!(out, "by tract  {left}")?;
    }
    if report.left.len() > MOST {
        writeln!(out, "by tract  and {} more", report.left.len() - MOST)?;
    }
    advice.map_or(Ok(()), |advice| writeln!(out, "int8      {advice}"))
}

/// Median processor time of a run, after a warm-up: until 20 of them were timed and half a second has gone by, at most 200 in all.
fn time<E: Display>(mut run: impl FnMut() -> Result<(), E>) -> Result<Duration, Failure> {
    let mut times = vec![];
    let begin = cpu_time();
    for n in 0..200 {
        let start = cpu_time();
        run().map_err(|e| Failure::broke(e.to_string()))?;
        if n >= 3 {
            times.push(cpu_time().saturating_sub(start));
        }
        if times.len() >= 20 && cpu_time().saturating_sub(begin) > Duration::from_millis(500) {
            break;
        }
    }
    times.sort_unstable();
    Ok(times[times.len() / 2])
}

fn ms(d: Duration) -> f64 {
    (d.as_secs_f64() * 1e6).round() / 1e3
}

/// Most memory this process ever held, kB, as Linux counts it.
fn peak_kb() -> u32 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    line.and_then(|l| l.trim().trim_end_matches("kB").trim().parse().ok()).unwrap_or(0)
}

/// An ONNX file, ready to run.
pub struct AnyOnnx {
    file: PathBuf,
    name: String,
    /// What runs.
    pub any: Any,
}

/// Loads any ONNX file with one input; open dimensions become 1.
pub fn any_onnx(file: &Path, engine: Engine) -> Result<AnyOnnx, Failure> {
    let name = file.display().to_string();
    let refuse = |why: String| Failure::refused(format!("{name}: {why}"));
    let bytes = read_whole(file, MAX_FILE_BYTES).map_err(refuse)?;
    let any = onnx::caught(name.clone(), || Any::load(&bytes, Some(engine))).and_then(|loaded| loaded).map_err(refuse)?;
    Ok(AnyOnnx { file: file.into(), name, any })
}

impl AnyOnnx {
    /// An input of zeros.
    pub fn zeros(&self) -> Tensor {
        Tensor::zero_dt(self.any.kind(), self.any.shape()).unwrap_or_default()
    }

    /// What int8 would give an encoder none of which runs on bytes, in words. `built`: what a run takes as it is.
    pub fn int8(&self, built: Duration, isa: Isa) -> Option<String> {
        if self.any.report().isa.is_some() {
            return None;
        }
        let proto = onnx::parse(&read_whole(&self.file, MAX_FILE_BYTES).ok()?).ok()?;
        onnx::caught(self.name.clone(), || estimate(&proto, self.any.shape(), built, isa)).ok().flatten()
    }

    /// A failure of a run as the command's.
    pub fn broke(&self, why: String) -> Failure {
        Failure::broke(format!("{}: {why}", self.name))
    }

    fn read(&self, file: &Path) -> Result<Tensor, Failure> {
        let bytes = read_whole(file, MAX_NPY_BYTES).map_err(|e| Failure::refused(format!("{}: {e}", file.display())))?;
        let refuse = |e: String| Failure::refused(format!("{}: {e}; {} takes {:?}", file.display(), self.name, self.any.kind()));
        macro_rules! as_kind {
            ($t:ty) => {{
                let a = golden::array::<$t>(&bytes).map_err(refuse)?;
                let flat: Vec<$t> = a.iter().copied().collect();
                Tensor::from_shape(a.shape(), &flat).map_err(|e| refuse(onnx::sentence(&e)))?
            }};
        }
        let tensor = match self.any.kind() {
            DatumType::U8 => as_kind!(u8),
            DatumType::I8 => as_kind!(i8),
            DatumType::I64 => as_kind!(i64),
            DatumType::F32 => as_kind!(f32),
            other => {
                return Err(Failure::refused(format!("{}: its input is {other:?}; f32, u8, i8 and i64 can be read", self.name)));
            }
        };
        if tensor.shape() != self.any.shape() {
            return Err(Failure::refused(format!(
                "{}: shape {:?} found, {} takes {:?}",
                file.display(),
                tensor.shape(),
                self.name,
                self.any.shape()
            )));
        }
        Ok(tensor)
    }
}

/// See [`AnyOnnx::int8`]; timed only where there is something to say.
fn advice(graph: &mut AnyOnnx, isa: Isa) -> Result<Option<String>, Failure> {
    if graph.any.report().isa.is_some() || !matches!(graph.any.shape().len(), 4 | 5) {
        return Ok(None);
    }
    let input = std::sync::Arc::new(graph.zeros());
    let built = time(|| graph.any.time(&input))?;
    Ok(graph.int8(built, isa))
}

fn parity(file: &Path, input: &Path, args: &Args, out: &mut dyn Write) -> Result<(), Failure> {
    let mut graph = any_onnx(file, args.engine.get()?)?;
    let read = graph.read(input)?;
    let found = graph.any.run(read).map_err(|e| graph.broke(e))?;
    let advice = advice(&mut graph, args.engine.isa()?)?;
    let report = graph.any.report();
    if let Some(path) = &args.output {
        let named = |e: String| Failure::broke(format!("{}: {e}", path.display()));
        let file = std::fs::File::create(path).map_err(|e| named(e.to_string()))?;
        found.write_npy(file).map_err(|e| named(e.to_string()))?;
    }
    let Some(path) = &args.expect else {
        if args.json {
            let line = serde_json::json!({
                "ok": true, "taken": report.taken_texts(), "behind": report.behind_texts(), "left": report.left, "isa": isa_text(report), "int8": advice,
            });
            writeln!(out, "{line}")?;
        } else {
            writeln!(out, "{}: output {:?}", file.display(), found.shape())?;
            describe_report(report, advice.as_deref(), out)?;
        }
        return Ok(());
    };
    let bytes = read_whole(path, MAX_NPY_BYTES).map_err(|e| Failure::refused(format!("{}: {e}", path.display())))?;
    let wanted = golden::array::<f32>(&bytes).map_err(|e| Failure::refused(format!("{}: {e}", path.display())))?;
    if wanted.shape() != found.shape() {
        return Err(Failure::refused(format!(
            "{}: shape {:?}, the graph gives {:?}",
            path.display(),
            wanted.shape(),
            found.shape()
        )));
    }
    let worst = golden::apart(&found, &wanted);
    let equal = golden::best(&found) == golden::best(&wanted);
    let right = worst.is_finite() && args.tolerance.is_none_or(|most| worst <= most);
    if args.json {
        writeln!(
            out,
            "{}",
            serde_json::json!({
                "ok": right, "max_abs": worst, "top1_equal": equal,
                "taken": report.taken_texts(), "behind": report.behind_texts(), "left": report.left, "isa": isa_text(report), "int8": advice,
            })
        )?;
    } else {
        writeln!(
            out,
            "{}: largest difference {worst:e}, best index {}",
            file.display(),
            if equal { "equal" } else { "differs" }
        )?;
        describe_report(report, advice.as_deref(), out)?;
    }
    match args.tolerance {
        Some(most) if !right => {
            Err(Failure::broke(format!("{}: differs by {worst:e}, at most {most:e} is right", file.display())))
        }
        _ => Ok(()),
    }
}
