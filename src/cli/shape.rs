//! `lookout shape`: a recording to the encoder's planes, as a `.npy` file. What the training recipes learn from.
//!
//! A network that is trained on pictures from another resizer sees another world on the device: so the device's own
//! shaper makes the training data. Ticks fall as they do live (`bundle.toml`, `[time]`, [`crate::ticks`]): tick k at t0 + k * tick_ms,
//! filled by the newest frame at or before it.
//!
//! Output: u8 `[ticks,P,H,W]`, or `[clips,ticks,P,H,W]` with `--clip-frames`, where the stream is cut into clips of that
//! many frames, each shaped as if it were alone.

use super::Failure;
use crate::bundle::{Input, one_line, plain};
use crate::config::read_text;
use crate::shaper::{Region, Shaper};
use crate::source::clip::Clip;
use crate::source::{Payload, Source, SourceError, Timestamp};
use crate::ticks::Walk;
use anyhow::{Context, bail, ensure};
use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What to shape, and where to put it.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Y4M file, `-` for stdin
    pub clip: String,
    /// Bundle folder or bundle.toml; only its `input` and `time` tables count, no other file is needed
    #[arg(long)]
    pub bundle: PathBuf,
    /// .npy file to write, `-` for stdout
    #[arg(long, short)]
    pub output: PathBuf,
    /// Cut the stream into clips of this many frames
    #[arg(long, value_name = "FRAMES")]
    pub clip_frames: Option<usize>,
}

/// Shapes one stream.
///
/// # Errors
/// One sentence about the stream, the contract or the output.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), Failure> {
    let (input, tick_ms) = contract(&args.bundle).map_err(|e| Failure::refused(format!("{e:#}")))?;
    let mut clip = Clip::open(&args.clip)?;
    let name = clip.describe();
    let place = args.output.display();
    // A source says what is wrong with it in its own words: an error of the system is one of the output.
    let failed = |e: anyhow::Error| match e.downcast_ref::<io::Error>() {
        Some(e) => Failure::broke(format!("{place}: {e}")),
        None => Failure::refused(format!("{name}: {e:#}")),
    };
    if args.output.to_str() == Some("-") {
        // Standard output cannot go back to fill in the number of ticks: keep the planes until it is known.
        let mut planes = Vec::new();
        let shape = shape(&mut clip, &input, tick_ms, args.clip_frames, &mut planes).map_err(failed)?;
        out.write_all(&header(&shape))?;
        return Ok(out.write_all(&planes)?);
    }
    let full = |e: io::Error| Failure::broke(format!("{place}: {e}"));
    let file = File::create(&args.output).map_err(|e| Failure::refused(format!("{place}: {e}")))?;
    let mut out = BufWriter::with_capacity(1 << 20, file);
    out.write_all(&header(&[0])).map_err(full)?;
    let shape = shape(&mut clip, &input, tick_ms, args.clip_frames, &mut out).map_err(failed)?;
    let mut out = out.into_inner().map_err(|e| full(e.into_error()))?;
    out.seek(SeekFrom::Start(0)).map_err(full)?;
    out.write_all(&header(&shape)).map_err(full)?;
    log::info!("{place}: {shape:?}");
    Ok(())
}

fn contract(path: &Path) -> anyhow::Result<(Input, u64)> {
    let path = if path.is_dir() { path.join("bundle.toml") } else { path.to_path_buf() };
    let text = read_text(&path).map_err(anyhow::Error::msg).with_context(|| path.display().to_string())?;
    unfinished(&text).with_context(|| path.display().to_string())
}

/// `[input]` and `time.tick_ms` of a contract that need not be finished yet.
///
/// # Errors
/// Without the file's name: no TOML, or one of the two is not there or not possible.
pub fn unfinished(text: &str) -> anyhow::Result<(Input, u64)> {
    let said = |e: toml::de::Error| anyhow::anyhow!(plain(&one_line(&e.to_string())));
    let table: toml::Table = toml::from_str(text).map_err(said)?;
    let mut input = table.get("input").cloned().context("[input] is missing")?;
    if let Some(t) = input.as_table_mut() {
        // Not known before the network is.
        t.entry("features").or_insert(toml::Value::Integer(1));
    }
    let input: Input = input.try_into().map_err(said).context("[input]")?;
    input.check().map_err(|why| anyhow::anyhow!(why))?;
    let tick = table.get("time").and_then(|t| t.get("tick_ms")).and_then(toml::Value::as_integer);
    let tick = tick.context("time.tick_ms, a whole number of milliseconds, is missing")?;
    let tick = u64::try_from(tick).ok().filter(|t| (5..=60_000).contains(t));
    Ok((input, tick.context("time.tick_ms is not within 5 to 60000")?))
}

/// Shapes the whole stream into `out`; gives the array's shape.
fn shape(
    clip: &mut dyn Source,
    input: &Input,
    tick_ms: u64,
    clip_frames: Option<usize>,
    out: &mut dyn Write,
) -> anyhow::Result<Vec<usize>> {
    let mut shaper = Shaper::new(input, Region::default())?;
    let frames = clip_frames.map_or(u64::MAX, |f| f as u64);
    ensure!(frames > 0, "a clip of 0 frames has no ticks");
    let tick = Duration::from_millis(tick_ms);
    let mut walk = Walk::new(tick);
    let mut last_at = Timestamp::default();
    let (mut clips, mut per_clip, mut ticks, mut index) = (0, 0, 0u64, 0u64);
    // A recording's own time ends with its last frame: the tick at that very time is the last.
    let end = |last: Timestamp| Some(Timestamp(last.0.saturating_add(1)));
    loop {
        let frame = match clip.next() {
            Ok(Some(frame)) => frame,
            Ok(None) => break,
            // Whoever writes the stream pauses.
            Err(SourceError::Stalled { .. }) => continue,
            Err(e) => return Err(e.into()),
        };
        let Payload::Image(image) = frame.payload else { bail!("rows of numbers have no pixels to shape") };
        if index == 0 {
            shaper.reset();
            (walk, ticks) = (Walk::new(tick), 0);
        } else {
            ticks += fill(&mut shaper, last_at, tick, walk.due(last_at, Some(frame.at)), out)?;
        }
        shaper.stage(&image)?;
        (index, last_at) = (index + 1, frame.at);
        if index == frames {
            ticks += fill(&mut shaper, last_at, tick, walk.due(last_at, end(last_at)), out)?;
            ensure!(clips == 0 || ticks == per_clip, "clip {clips} has {ticks} ticks, the ones before {per_clip}");
            (clips, per_clip, index) = (clips + 1, ticks, 0);
        }
    }
    let tail = vec![input.planes(), input.height, input.width];
    if clip_frames.is_some() {
        ensure!(index == 0, "the last clip has {index} frames, expected {frames}");
        return Ok([vec![clips, per_clip as usize], tail].concat());
    }
    ensure!(index > 0, "the stream holds no frame");
    ticks += fill(&mut shaper, last_at, tick, walk.due(last_at, end(last_at)), out)?;
    Ok([vec![ticks as usize], tail].concat())
}

/// The ticks that the staged picture, taken at `at`, fills: the first with it, the others with what was there. As many as there are.
fn fill(shaper: &mut Shaper, at: Timestamp, tick: Duration, due: Range<u64>, out: &mut dyn Write) -> anyhow::Result<u64> {
    for k in due.clone() {
        if k == due.start {
            shaper.taken(at, tick);
            out.write_all(shaper.finish())?;
        } else {
            shaper.hold();
            out.write_all(shaper.planes())?;
        }
    }
    Ok(due.end - due.start)
}

/// Header of a `.npy` file (format 1.0) of bytes, always 128 long so that it can be written over.
fn header(shape: &[usize]) -> Vec<u8> {
    let list = shape.iter().fold(String::new(), |s, n| s + &n.to_string() + ",");
    let mut dict = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': ({list}), }}");
    while dict.len() < 117 {
        dict.push(' ');
    }
    [b"\x93NUMPY\x01\x00\x76\x00", dict.as_bytes(), b"\n"].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `frames` grey pictures of 8x8 at `fps`, each brighter by 10 than the one before.
    fn stream(fps: u32, frames: u8) -> Clip {
        let mut bytes = format!("YUV4MPEG2 W8 H8 F{fps}:1 Cmono\n").into_bytes();
        for k in 0..frames {
            bytes.extend_from_slice(b"FRAME\n");
            bytes.extend_from_slice(&[k * 10; 64]);
        }
        Clip::from_reader("test", std::io::Cursor::new(bytes)).expect("a clip")
    }

    fn grey() -> Input {
        let text = "width = 8\nheight = 8\nchannels = [\"gray\", \"motion\"]\nmotion_span = 2\nfeatures = 1";
        toml::from_str(text).expect("an input")
    }

    /// First level of every plane.
    fn levels(fps: u32, frames: u8, cut: Option<usize>) -> (Vec<usize>, Vec<Vec<u8>>) {
        let mut out = Vec::new();
        let shape = shape(&mut stream(fps, frames), &grey(), 100, cut, &mut out).expect("shaped");
        assert_eq!(shape.iter().product::<usize>(), out.len());
        (shape, out.chunks(3 * 64).map(|t| t.iter().step_by(64).copied().collect()).collect())
    }

    #[test]
    fn ticks_take_the_newest_frame_at_or_before_them() {
        let (shape, ticks) = levels(30, 8, None);
        assert_eq!(shape, [3, 3, 8, 8]);
        assert_eq!(ticks, [[0, 0, 0], [30, 30, 30], [60, 30, 60]]);
    }

    #[test]
    fn slow_stream_repeats_its_planes() {
        let (_, ticks) = levels(5, 3, None);
        assert_eq!(ticks, [[0, 0, 0], [0, 0, 0], [10, 10, 10], [10, 10, 10], [20, 10, 10]]);
    }

    #[test]
    fn cut_clips_stand_alone() {
        let (shape, ticks) = levels(30, 8, Some(4));
        assert_eq!(shape, [2, 2, 3, 8, 8]);
        assert_eq!(ticks, [[0, 0, 0], [30, 30, 30], [40, 0, 0], [70, 30, 30]]);
        assert!(super::shape(&mut stream(30, 7), &grey(), 100, Some(4), &mut Vec::new()).is_err());
    }

    /// Half a second of a textured square that goes 10 pixels a second to the right, where more of the texture stands still: the flow of its ticks of 100 ms.
    fn flow(fps: u32) -> Vec<u8> {
        let mut bytes = format!("YUV4MPEG2 W64 H64 F{fps}:1 Cmono\n").into_bytes();
        for k in 0..=fps / 2 {
            bytes.extend_from_slice(b"FRAME\n");
            let gone = (10 * k) as f32 / fps as f32;
            bytes.extend((0..64 * 64).map(|n: usize| {
                let (x, y) = (n % 64, n / 64);
                let moves = (16..48).contains(&x) && (16..48).contains(&y);
                let (x, y) = (x as f32 - if moves { gone } else { 0.0 }, y as f32);
                (128.0 + 50.0 * (0.7 * x).sin() + 50.0 * (0.2 * x + 0.6 * y).cos()) as u8
            }));
        }
        let mut clip = Clip::from_reader("test", std::io::Cursor::new(bytes)).expect("a clip");
        let text = "width = 64\nheight = 64\nchannels = [\"flow\"]\nfeatures = 1";
        let mut out = Vec::new();
        let shape = shape(&mut clip, &toml::from_str(text).expect("an input"), 100, None, &mut out).expect("shaped");
        assert_eq!(shape, [6, 2, 64, 64]);
        out
    }

    #[test]
    fn flow_is_what_moves_in_a_tick_at_any_frame_rate() {
        let (quick, slow) = (flow(30), flow(10));
        // In the middle of the square, in the third tick: one pixel a tick is 16 levels above 128, of which flow on so steep a texture misses two.
        let middle = slow[2 * 2 * 64 * 64 + 32 * 64 + 32];
        assert!((140..=148).contains(&middle), "{middle}");
        let apart = quick.iter().zip(&slow).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(apart <= Some(1), "{apart:?} levels between 30 and 10 pictures a second");
    }

    #[test]
    fn header_is_128_bytes_of_python() {
        let h = header(&[12, 3, 96, 96]);
        assert_eq!(h.len(), 128);
        assert!(h.starts_with(b"\x93NUMPY\x01\x00v\x00{'descr': '|u1', 'fortran_order': False, 'shape': (12,3,96,96,), }"));
    }
}
