//! `lookout index` and `lookout find`: similar moments in a collection of recordings, by what the encoder saw over a window.
//!
//! A moment is a window of ticks, every half window one. It is described by the means of its four quarters, feature by feature, scaled as the
//! collection varies: so what happens first and what later counts, and what is always there does not. Likeness is the cosine, every
//! moment is compared, all of them in memory: 10^6 with 96 features are 392 MB. That is simple, exact, and enough for what a box records.
//!
//! The file: a line of JSON ([`Header`]), then for every moment its recording (u32), its start in ms (u32), both little-endian, and its description as
//! one i8 a number, 127 for 1.

use super::Failure;
use super::setup::{BundleArg, load};
use crate::bundle::Bundle;
use crate::ticks::{Data, Kind, Maker, Ticks};
use serde::{Deserialize, Serialize};
use std::io::{BufWriter, IsTerminal, Write};
use std::path::PathBuf;

/// Parts of a window whose means are taken.
const PARTS: usize = 4;
/// Bytes before the numbers of a moment.
const PLACE: usize = 8;

/// Arguments of `index`.
#[derive(Debug, clap::Args)]
pub struct IndexArgs {
    /// Recordings
    #[arg(required = true, value_name = "CLIP")]
    clips: Vec<String>,
    /// The file to write
    #[arg(long, short, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    bundle: BundleArg,
    /// Keep what the encoder saw in this folder, so that the next index of the same recordings is quick
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
}

/// Arguments of `find`.
#[derive(Debug, clap::Args)]
pub struct FindArgs {
    /// A recording of what is looked for
    #[arg(value_name = "CLIP")]
    clip: String,
    /// The index to search
    #[arg(long, short, value_name = "FILE")]
    index: PathBuf,
    /// How many moments to show
    #[arg(long, value_name = "N", default_value_t = 10)]
    top: usize,
    /// One JSON object a moment
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    bundle: BundleArg,
}

/// The first line of an index.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    /// `lookout index 1`
    kind: String,
    /// Hash of the bundle whose encoder saw it.
    bundle: String,
    /// Ticks of a moment.
    window: usize,
    /// Milliseconds a tick.
    tick_ms: u32,
    /// Mean and deviation of every feature over the collection.
    mean: Vec<f32>,
    deviation: Vec<f32>,
    clips: Vec<String>,
}

const KIND: &str = "lookout index 1";

/// Runs `index`. A recording that cannot be read is said and left out; the exit code tells.
pub fn index(args: &IndexArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let bundle = load(&args.bundle)?;
    let shown = std::io::stderr().is_terminal();
    let done = |n: usize| {
        if shown {
            let _ = write!(std::io::stderr(), "\r\x1b[K{n} of {}", args.clips.len());
        }
    };
    let maker = Maker::new(kind(&bundle), bundle.contract.time.tick_ms, args.cache.as_deref()).map_err(Failure::broke)?;
    let made = maker.all(&args.clips, &done);
    if shown {
        let _ = write!(std::io::stderr(), "\r\x1b[K");
    }
    let (mut clips, mut all, mut failed) = (vec![], vec![], false);
    for (clip, ticks) in args.clips.iter().zip(made) {
        match ticks.and_then(|t| {
            if t.width == bundle.frame_features() { Ok(t) } else { Err(format!("{clip}: rows of {} numbers", t.width)) }
        }) {
            Ok(ticks) => {
                clips.push(clip.clone());
                all.push(ticks);
            }
            Err(why) => {
                let _ = writeln!(std::io::stderr(), "lookout: {why}");
                failed = true;
            }
        }
    }
    if all.is_empty() {
        return Err(Failure { code: 2, why: String::new() });
    }
    let (mean, deviation) = Ticks::spread(all.iter());
    let (window, tick_ms) = (bundle.contract.time.window, bundle.contract.time.tick_ms);
    let header = Header { kind: KIND.into(), bundle: bundle.hash.clone(), window, tick_ms, mean, deviation, clips };
    let failed_to = |e: std::io::Error| Failure::broke(format!("{}: {e}", args.out.display()));
    let part = args.out.with_extension("part");
    let mut file = BufWriter::new(std::fs::File::create(&part).map_err(failed_to)?);
    let line = serde_json::to_string(&header).map_err(|e| Failure::broke(e.to_string()))?;
    writeln!(file, "{line}").map_err(failed_to)?;
    let mut moments = 0;
    for (n, ticks) in all.iter().enumerate() {
        for (start, described) in described(ticks, &header) {
            let place = [n as u32, (start as u64 * u64::from(tick_ms)) as u32].map(u32::to_le_bytes).concat();
            let bytes: Vec<u8> = described.iter().map(|v| (v * 127.0).round() as i8 as u8).collect();
            file.write_all(&place).and_then(|()| file.write_all(&bytes)).map_err(failed_to)?;
            moments += 1;
        }
    }
    file.into_inner().map_err(|e| failed_to(e.into_error()))?.sync_all().map_err(failed_to)?;
    std::fs::rename(&part, &args.out).map_err(failed_to)?;
    writeln!(out, "{moments} moments of {} recordings in {}", all.len(), args.out.display())?;
    if failed { Err(Failure { code: 2, why: String::new() }) } else { Ok(()) }
}

/// Runs `find`.
pub fn find(args: &FindArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let place = args.index.display();
    let bytes = std::fs::read(&args.index).map_err(|e| Failure::refused(format!("{place}: {e}")))?;
    let end = bytes.iter().position(|b| *b == b'\n').unwrap_or(bytes.len());
    let header: Option<Header> = serde_json::from_slice(&bytes[..end]).ok().filter(|h: &Header| h.kind == KIND);
    let header = header.ok_or_else(|| Failure::refused(format!("{place}: not an index of lookout")))?;
    let bundle = load(&args.bundle)?;
    if header.bundle != bundle.hash {
        let why = format!(
            "{place}: made with bundle {}, this one is {}",
            header.bundle.get(..8).unwrap_or_default(),
            &bundle.hash[..8]
        );
        return Err(Failure::refused(why));
    }
    let numbers = PARTS * header.mean.len();
    let moments = bytes.get(end + 1..).unwrap_or_default();
    if header.mean.len() != bundle.frame_features()
        || header.deviation.len() != header.mean.len()
        || moments.len() % (PLACE + numbers) != 0
    {
        return Err(Failure::refused(format!("{place}: it is damaged or was cut short; index the recordings again")));
    }
    let maker = Maker::new(kind(&bundle), header.tick_ms, None).map_err(Failure::broke)?;
    let ticks = maker.all(std::slice::from_ref(&args.clip), &|_| {}).pop().unwrap_or_else(|| Err("nothing to look for".into()));
    let asked: Vec<Vec<f32>> = described(&ticks.map_err(Failure::refused)?, &header).into_iter().map(|(_, d)| d).collect();
    let mut found: Vec<(f32, u32, u32)> = Vec::new();
    for moment in moments.chunks_exact(PLACE + numbers) {
        let (place, described) = moment.split_at(PLACE);
        let number = |at: usize| u32::from_le_bytes([place[at], place[at + 1], place[at + 2], place[at + 3]]);
        let like = |asked: &Vec<f32>| asked.iter().zip(described).map(|(a, b)| a * f32::from(*b as i8)).sum::<f32>() / 127.0;
        // An i8 a number rounds a moment's length a little past 1.
        found.push((asked.iter().map(like).fold(-1.0, f32::max).min(1.0), number(0), number(4)));
    }
    found.sort_by(|a, b| b.0.total_cmp(&a.0));
    let length = header.window as u32 * header.tick_ms;
    let mut shown: Vec<(f32, u32, u32)> = Vec::new();
    for moment in found {
        // Half of a moment is its neighbour's: one of them is enough.
        if shown.len() < args.top && !shown.iter().any(|s| s.1 == moment.1 && s.2.abs_diff(moment.2) < length) {
            shown.push(moment);
        }
    }
    for (like, clip, start_ms) in shown {
        let clip = header.clips.get(clip as usize).map_or("?", String::as_str);
        if args.json {
            let like = (f64::from(like) * 1000.0).round() / 1000.0;
            writeln!(
                out,
                "{}",
                serde_json::json!({ "clip": clip, "start_ms": start_ms, "end_ms": start_ms + length, "like": like })
            )?;
        } else {
            writeln!(out, "{like:6.3}  {:>8.1} s  {clip}", f64::from(start_ms) / 1e3)?;
        }
    }
    Ok(())
}

fn kind(bundle: &Bundle) -> Kind {
    if bundle.contract.input.is_some() { Kind::Features(Box::new(bundle.clone())) } else { Kind::Rows }
}

fn numbers(ticks: &Ticks) -> &[f32] {
    if let Data::Numbers(numbers) = &ticks.data { numbers } else { &[] }
}

/// Every half window from the start on: its first tick and its description, of length 1. A short recording is one moment.
fn described(ticks: &Ticks, header: &Header) -> Vec<(usize, Vec<f32>)> {
    let (width, len) = (header.mean.len(), ticks.len());
    let rows: Vec<&[f32]> = numbers(ticks).chunks_exact(width.max(1)).collect();
    let starts = (0..len.saturating_sub(header.window) + 1).step_by((header.window / 2).max(1));
    let describe = |start: usize| {
        let window = &rows[start..len.min(start + header.window)];
        let mut all = Vec::with_capacity(PARTS * width);
        for part in 0..PARTS {
            let (from, to) =
                (window.len() * part / PARTS, (window.len() * (part + 1) / PARTS).max(window.len() * part / PARTS + 1));
            let part = &window[from.min(window.len() - 1)..to.min(window.len())];
            for k in 0..width {
                let mean = part.iter().map(|row| row[k]).sum::<f32>() / part.len() as f32;
                all.push((mean - header.mean[k]) / header.deviation[k].max(1e-6));
            }
        }
        let length = all.iter().map(|v| v * v).sum::<f32>().sqrt().max(1e-9);
        all.iter_mut().for_each(|v| *v /= length);
        (start, all)
    };
    starts.map(describe).collect()
}
