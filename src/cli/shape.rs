//! `lookout shape`: a recording to the encoder's planes, as a `.npy` file. What the training recipes learn from.
//!
//! A network that is trained on pictures from another resizer sees another world on the device: so the device's own
//! shaper makes the training data. Ticks fall as they do live (`bundle.toml`, `[time]`): tick k at t0 + k * tick_ms, filled
//! by the newest frame at or before it.
//!
//! Output: u8 `[ticks,P,H,W]`, or `[clips,ticks,P,H,W]` with `--clip-frames`, where the stream is cut into clips of that
//! many frames, each shaped as if it were alone.

use crate::bundle::Input;
use crate::shaper::{Region, Shaper};
use crate::source::{Image, PixelFormat};
use anyhow::{Context, bail, ensure};
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// What to shape, and where to put it.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Y4M stream (4:2:0 or mono), `-` for stdin
    pub clip: PathBuf,
    /// Bundle folder or bundle.toml; only its [input] and [time] count, no other file is needed
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
pub fn run(args: &Args) -> anyhow::Result<()> {
    let (input, tick_ms) = contract(&args.bundle)?;
    let reader: Box<dyn Read> = match args.clip.to_str() {
        Some("-") => Box::new(std::io::stdin().lock()),
        _ => Box::new(File::open(&args.clip).with_context(|| args.clip.display().to_string())?),
    };
    let name = args.clip.display().to_string();
    let mut clip = Y4m::open(BufReader::with_capacity(1 << 20, reader)).with_context(|| name.clone())?;
    if args.output.to_str() == Some("-") {
        // Standard output cannot go back to fill in the number of ticks: keep the planes until it is known.
        let mut planes = Vec::new();
        let shape = shape(&mut clip, &input, tick_ms, args.clip_frames, &mut planes).context(name)?;
        let mut out = std::io::stdout().lock();
        out.write_all(&header(&shape))?;
        out.write_all(&planes)?;
        out.flush()?;
        return Ok(());
    }
    let context = || args.output.display().to_string();
    let mut out = BufWriter::with_capacity(1 << 20, File::create(&args.output).with_context(context)?);
    out.write_all(&header(&[0])).with_context(context)?;
    let shape = shape(&mut clip, &input, tick_ms, args.clip_frames, &mut out).context(name)?;
    let mut out = out.into_inner().with_context(context)?;
    out.seek(SeekFrom::Start(0)).with_context(context)?;
    out.write_all(&header(&shape)).with_context(context)?;
    log::info!("{}: {shape:?}", args.output.display());
    Ok(())
}

/// `[input]` and `time.tick_ms` of a contract that need not be finished yet.
fn contract(path: &Path) -> anyhow::Result<(Input, u64)> {
    let path = if path.is_dir() { path.join("bundle.toml") } else { path.to_path_buf() };
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let table: toml::Table = toml::from_str(&text).with_context(|| path.display().to_string())?;
    let mut input = table.get("input").cloned().with_context(|| format!("{}: [input] is missing", path.display()))?;
    if let Some(t) = input.as_table_mut() {
        // Not known before the network is.
        t.entry("features").or_insert(toml::Value::Integer(1));
    }
    let input: Input = input.try_into().with_context(|| format!("{}: [input]", path.display()))?;
    let tick = table.get("time").and_then(|t| t.get("tick_ms")).and_then(toml::Value::as_integer);
    let tick = tick.with_context(|| format!("{}: time.tick_ms, a whole number of milliseconds, is missing", path.display()))?;
    let tick = u64::try_from(tick).ok().filter(|t| (5..=60_000).contains(t));
    Ok((input, tick.with_context(|| format!("{}: time.tick_ms is not within 5 to 60000", path.display()))?))
}

/// Shapes the whole stream into `out`; gives the array's shape.
fn shape(
    clip: &mut Y4m<impl BufRead>,
    input: &Input,
    tick_ms: u64,
    clip_frames: Option<usize>,
    out: &mut impl Write,
) -> anyhow::Result<Vec<usize>> {
    let mut shaper = Shaper::new(input, Region::default())?;
    let frames = clip_frames.map_or(u64::MAX, |f| f as u64);
    ensure!(frames > 0, "a clip of 0 frames has no ticks");
    let (mut clips, mut ticks, mut index) = (0, 0, 0u64);
    let mut per_clip = 0;
    while clip.read()? {
        let at = clip.stamp_ns(index);
        let tick = |k: u64| k * tick_ms * 1_000_000;
        if index == 0 {
            shaper.reset();
            ticks = 0;
        } else {
            // Ticks before this frame belong to the one that is staged, which no tick has used yet.
            let mut fresh = true;
            while tick(ticks as u64) < at {
                if std::mem::take(&mut fresh) {
                    out.write_all(shaper.finish())?;
                } else {
                    shaper.hold();
                    out.write_all(shaper.planes())?;
                }
                ticks += 1;
            }
        }
        shaper.stage(&clip.image()?)?;
        index += 1;
        if index == frames {
            ticks = last(&mut shaper, tick(ticks as u64) <= at, ticks, out)?;
            ensure!(clips == 0 || ticks == per_clip, "clip {clips} has {ticks} ticks, the ones before {per_clip}");
            (clips, per_clip, index) = (clips + 1, ticks, 0);
        }
    }
    let tail = vec![input.planes(), input.height, input.width];
    if clip_frames.is_some() {
        ensure!(index == 0, "the last clip has {index} frames, expected {frames}");
        return Ok([vec![clips, per_clip], tail].concat());
    }
    ensure!(index > 0, "the stream holds no frame");
    let due = ticks as u64 * tick_ms * 1_000_000 <= clip.stamp_ns(index - 1);
    ticks = last(&mut shaper, due, ticks, out)?;
    Ok([vec![ticks], tail].concat())
}

/// The tick at the end of a recording, when it is due at the very time of the last frame.
fn last(shaper: &mut Shaper, due: bool, ticks: usize, out: &mut impl Write) -> anyhow::Result<usize> {
    if due {
        out.write_all(shaper.finish())?;
    }
    Ok(ticks + usize::from(due))
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

/// A Y4M stream, frame by frame.
struct Y4m<R> {
    reader: R,
    format: PixelFormat,
    width: usize,
    height: usize,
    fps: (u64, u64),
    frame: Vec<u8>,
}

impl<R: BufRead> Y4m<R> {
    fn open(mut reader: R) -> anyhow::Result<Self> {
        let line = Self::line(&mut reader)?.context("empty")?;
        let mut words = line.split(' ');
        ensure!(words.next() == Some("YUV4MPEG2"), "this is no Y4M stream: it starts with {:?}", line.get(..9).unwrap_or(&line));
        let (mut width, mut height, mut fps, mut format) = (0, 0, (30, 1), PixelFormat::I420);
        for word in words {
            let (key, value) = word.split_at_checked(1).unwrap_or(("", ""));
            match key {
                "W" => width = value.parse().with_context(|| format!("width {value:?}"))?,
                "H" => height = value.parse().with_context(|| format!("height {value:?}"))?,
                "F" => {
                    fps =
                        value.split_once(':').and_then(|(n, d)| Some((n.parse().ok()?, d.parse().ok()?))).context("frame rate")?
                }
                "C" if value == "mono" => format = PixelFormat::Gray,
                "C" if value.starts_with("420") && !value.contains('p') | value.contains("paldv") => {}
                "C" => bail!("colour space {value:?}, expected 420 or mono"),
                _ => {}
            }
        }
        ensure!(fps.0 > 0 && fps.1 > 0, "frame rate {}:{}", fps.0, fps.1);
        let bytes = format.frame_bytes(width, height, width).context("a picture without pixels")?;
        ensure!(bytes <= 2 * crate::source::MAX_PIXELS, "{width}x{height} is too large");
        Ok(Self { reader, format, width, height, fps, frame: vec![0; bytes] })
    }

    fn line(reader: &mut R) -> anyhow::Result<Option<String>> {
        let mut bytes = Vec::new();
        reader.by_ref().take(4096).read_until(b'\n', &mut bytes)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        ensure!(bytes.pop() == Some(b'\n'), "a line of the header does not end");
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }

    fn read(&mut self) -> anyhow::Result<bool> {
        let Some(line) = Self::line(&mut self.reader)? else { return Ok(false) };
        ensure!(line.starts_with("FRAME"), "found {line:?} where a frame is expected");
        self.reader.read_exact(&mut self.frame).context("the last frame is cut off")?;
        Ok(true)
    }

    fn image(&self) -> anyhow::Result<Image<'_>> {
        Ok(Image::new(self.format, self.width, self.height, self.width, &self.frame)?)
    }

    fn stamp_ns(&self, index: u64) -> u64 {
        (u128::from(index) * 1_000_000_000 * u128::from(self.fps.1) / u128::from(self.fps.0)) as u64
    }
}
