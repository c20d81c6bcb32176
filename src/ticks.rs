//! Recordings as the ring sees them, tick by tick, for whoever looks at many of them (training, search): planes for an encoder that is still to
//! learn, features of a bundle's int8 encoder, or rows of numbers.
//!
//! Ticks fall as in [`crate::pipeline`]: the newest frame at or before a tick fills it, a tick without one repeats. However many there are: a box's ring
//! is empty after a few, so [`Maker::holding`] refuses recordings that are mostly such. What was made can be kept in a folder, one file a recording (what
//! was noted of it, the size of its pictures, then `.npy`), named after the recording's name, size and time and after everything that shaped it, this
//! program among it; so the next training on the same recordings begins in seconds, and one that was interrupted goes on.

mod kept;

use crate::bundle::{Bundle, Channel, Input, hex, plain};
use crate::encoder::{Encoder, Form};
use crate::extra::{Extra, Extras, Table};
use crate::gate::Gate;
use crate::shaper::{Region, Shaper};
use crate::source::ahead::Ahead;
use crate::source::open::{self, Options, Spec};
use crate::source::{Frame, Payload, SourceError, Timestamp};
use kept::Note;
use sha2::{Digest, Sha256};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Longest time that one frame may stand for: a year between two frames would be a year of ticks in memory.
const MAX_GAP: Duration = Duration::from_secs(3600);
/// Damaged frames at the beginning of a recording after which it is none.
const MOST_DAMAGED: u32 = 100;

/// What a tick is made into.
#[derive(Clone, Debug)]
pub enum Kind {
    /// Shaped planes `[P,H,W]`, levels.
    Planes(Input),
    /// The features of a bundle's encoder.
    Features(Box<Bundle>),
    /// The same of the picture turned.
    Turned(Box<Bundle>, Turn),
    /// The same with activations that are not rounded to bytes: what int8 is measured against.
    Float(Box<Bundle>),
    /// Rows of numbers as they come.
    Rows,
}

/// Numbers of all ticks of a recording, row by row.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// Levels of planes.
    Levels(Vec<u8>),
    /// Features or rows.
    Numbers(Vec<f32>),
}

/// A recording in ticks.
#[derive(Clone, Debug, PartialEq)]
pub struct Ticks {
    /// Numbers a tick.
    pub width: usize,
    /// All of them.
    pub data: Data,
    /// Width and height of the recording's pictures, pixels; 0 for rows.
    pub size: [u32; 2],
}

impl Ticks {
    /// Ticks.
    pub fn len(&self) -> usize {
        let numbers = match &self.data {
            Data::Levels(l) => l.len(),
            Data::Numbers(n) => n.len(),
        };
        numbers / self.width.max(1)
    }

    /// Mean and deviation of every number over all of these, where they are numbers.
    pub fn spread<'a>(all: impl Iterator<Item = &'a Self>) -> (Vec<f32>, Vec<f32>) {
        let (mut sums, mut n): (Vec<[f64; 2]>, f64) = (vec![], 0.0);
        for ticks in all {
            let Data::Numbers(numbers) = &ticks.data else { continue };
            sums.resize(ticks.width, [0.0; 2]);
            for row in numbers.chunks_exact(ticks.width.max(1)) {
                n += 1.0;
                for (sum, v) in sums.iter_mut().zip(row.iter().map(|v| f64::from(*v))) {
                    *sum = [sum[0] + v, sum[1] + v * v];
                }
            }
        }
        sums.iter().map(|[sum, square]| ((sum / n) as f32, (square / n - (sum / n).powi(2)).max(0.0).sqrt() as f32)).unzip()
    }

    /// Has a number of this mean and deviation never moved? Then it says nothing, and must not shout when it does: who divides by a deviation
    /// takes 1 for that.
    pub fn is_still(mean: f32, deviation: f32) -> bool {
        deviation <= 1e-6 * mean.abs().max(1e-3)
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Turns recordings into ticks and keeps what it made.
#[derive(Debug)]
pub struct Maker {
    kind: Kind,
    tick_ms: u32,
    cache: Option<PathBuf>,
    recipe: String,
    extra: Vec<Extra>,
    /// Ticks that most frames may stand for, where that matters.
    most: Option<u64>,
    /// Recordings that were refused because theirs stand for more.
    sparse: AtomicUsize,
    /// Recordings most frames of which stand for more than one tick.
    slow: Mutex<Vec<String>>,
    /// That nothing can be kept was said: of a full disk one recording after the other would say it.
    said: AtomicBool,
}

impl Maker {
    /// Results are kept in the folder `cache`, which is made if need be; without one they are not.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn new(kind: Kind, tick_ms: u32, cache: Option<&Path>) -> Result<Self, String> {
        if let Some(cache) = cache {
            std::fs::create_dir_all(cache).map_err(|e| format!("{}: {e}", cache.display()))?;
        }
        let recipe = match &kind {
            Kind::Planes(i) => {
                format!("planes {}x{} {:?} {} {:?} {tick_ms}", i.width, i.height, i.channels, i.motion_span, i.resize)
            }
            Kind::Features(b) => format!("features {} {tick_ms}", b.hash),
            Kind::Turned(b, turn) => format!("{turn:?} {} {tick_ms}", b.hash),
            Kind::Float(b) => format!("float {} {tick_ms}", b.hash),
            Kind::Rows => format!("rows {tick_ms}"),
        };
        let cache = cache.map(Path::to_path_buf);
        let (sparse, slow, said) = (AtomicUsize::new(0), Mutex::default(), AtomicBool::new(false));
        Ok(Self { kind, tick_ms, cache, recipe, extra: vec![], most: None, sparse, slow, said })
    }

    /// For a bundle whose ring repeats at most `max_held` ticks in a row: where most frames of a recording are farther apart, a box never has a whole window
    /// of it, so it is refused.
    pub fn holding(mut self, max_held: usize) -> Self {
        self.recipe += &format!(" held {max_held}");
        self.most = Some(max_held as u64 + 1);
        self
    }

    /// Refuses all of them where most were refused because their frames are too far apart; `all`: how many were to be made.
    ///
    /// # Errors
    /// How many, and what to do.
    pub fn dense(&self, all: usize) -> Result<(), String> {
        let sparse = self.sparse.load(Ordering::Relaxed);
        if sparse * 2 > all { Err(format!("{sparse} of {all} recordings: {}", self.apart())) } else { Ok(()) }
    }

    /// What is to be said where most of the recordings (`all`: how many were to be made) have fewer pictures than ticks, so that most are repeated.
    pub fn repeats(&self, all: usize) -> Option<String> {
        let slow = self.slow.lock().unwrap_or_else(PoisonError::into_inner);
        // Whichever thread came first: the same sentence every time.
        let first = slow.iter().min().filter(|_| slow.len() * 2 > all)?;
        let (slow, tick_ms) = (slow.len(), self.tick_ms);
        Some(format!(
            "{slow} of {all} recordings have fewer pictures than ticks of {tick_ms} ms, so most pictures are repeated; one of them: {first}; \
             a larger --tick-ms, or recordings with more pictures a second"
        ))
    }

    /// What is said of frames that are too far apart.
    fn apart(&self) -> String {
        let most = Duration::from_millis(u64::from(self.tick_ms) * self.most.unwrap_or_default());
        format!("frames are more than {most:?} apart, so no window is whole; a larger --tick-ms than {} is needed", self.tick_ms)
    }

    /// With these behind every tick's numbers, as value and mark, from the table beside each recording ([`Table::beside`]).
    pub fn with(mut self, extra: &[Extra]) -> Self {
        if !extra.is_empty() {
            self.recipe += &format!(" {extra:?}");
        }
        self.extra = extra.to_vec();
        self
    }

    /// Makes all of them, two at a time on two cores. `done` is told how many there are. In the order of `sources`.
    pub fn all(&self, sources: &[String], done: &(dyn Fn(usize) + Sync)) -> Vec<Result<Ticks, String>> {
        let (next, finished) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let workers = std::thread::available_parallelism().map_or(1, usize::from).min(sources.len()).max(1);
        let mut made: Vec<(usize, Result<Ticks, String>)> = Vec::with_capacity(sources.len());
        std::thread::scope(|scope| {
            let work = || {
                let mut mine = Vec::new();
                while let Some((n, source)) = Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|n| Some((n, sources.get(n)?)))
                {
                    mine.push((n, self.one(source)));
                    done(finished.fetch_add(1, Ordering::Relaxed) + 1);
                }
                mine
            };
            let threads: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
            for thread in threads {
                // A panic is ours, not a recording's: it goes on here, or answers would stand beside other questions.
                made.extend(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            }
        });
        made.sort_by_key(|(n, _)| *n);
        made.into_iter().map(|(_, ticks)| ticks).collect()
    }

    /// One recording, from the cache if it is there.
    fn one(&self, source: &str) -> Result<Ticks, String> {
        let make = || {
            let made = self.make(source).map_err(|e| if e.starts_with(source) { e } else { format!("{source}: {e}") })?;
            self.note(source, &made.1);
            Ok::<_, String>(made)
        };
        // What comes through standard input comes once.
        let once = source.parse::<Spec>().is_ok_and(|spec| spec.path() == "-");
        let Some(cache) = self.cache.as_ref().filter(|_| !once) else { return Ok(make()?.0) };
        let file = cache.join(format!("{}.ticks", self.key(source)?));
        let levels = matches!(self.kind, Kind::Planes(_));
        let kept = std::fs::read(&file).ok().and_then(|bytes| {
            let (note, rest) = Note::parse(&bytes)?;
            Some((Ticks::from_bytes(rest, levels).ok()?, note))
        });
        if let Some((ticks, note)) = kept {
            // Only for what it says of a recording without one.
            Table::of(source, None, &self.extra)?;
            self.note(source, &note);
            return Ok(ticks);
        }
        let (ticks, note) = make()?;
        // Written whole or not at all; a full disk costs the next run its head start, nothing else.
        let part = file.with_extension(format!("part{}", std::process::id()));
        let bytes = ticks.to_bytes().map(|bytes| [note.line().into_bytes(), bytes].concat());
        let written = bytes.and_then(|bytes| std::fs::write(&part, bytes).map_err(|e| e.to_string()));
        if let Err(e) = written.and_then(|()| std::fs::rename(&part, &file).map_err(|e| e.to_string())) {
            let _ = std::fs::remove_file(&part);
            if !self.said.swap(true, Ordering::Relaxed) {
                log::warn!("{}: not kept for the next time: {e}", file.display());
            }
        }
        Ok(ticks)
    }

    /// Says what was noted of a recording, whether it was made now or earlier.
    fn note(&self, source: &str, note: &Note) {
        if !note.damage.is_empty() {
            log::warn!("{}", note.damage);
        }
        if note.slow {
            self.slow.lock().unwrap_or_else(PoisonError::into_inner).push(source.into());
        }
    }

    /// What the result depends on, in hex: another file of the same name is another recording.
    fn key(&self, source: &str) -> Result<String, String> {
        let spec: Spec = source.parse().map_err(|e: SourceError| e.to_string())?;
        let path = Path::new(spec.path());
        let mut files = vec![path.to_path_buf()];
        if path.is_dir() {
            let list = std::fs::read_dir(path).map_err(|e| format!("{source}: {e}"))?;
            files = list.filter_map(|e| e.ok().map(|e| e.path())).collect();
            files.sort();
        }
        files.extend(Table::beside(source).filter(|_| !self.extra.is_empty()));
        let mut hash = Sha256::new();
        hash.update(format!("{} {} {source}", program(), self.recipe));
        for file in files {
            let meta = std::fs::metadata(&file).map_err(|e| format!("{source}: {e}"))?;
            let age = meta.modified().ok().and_then(|m| m.duration_since(std::time::UNIX_EPOCH).ok()).unwrap_or_default();
            hash.update(format!("{} {} {}", file.display(), meta.len(), age.as_nanos()));
        }
        Ok(hex(&hash.finalize())[..24].into())
    }

    fn make(&self, source: &str) -> Result<(Ticks, Note), String> {
        let input = match &self.kind {
            Kind::Planes(input) => Some(input),
            Kind::Features(bundle) | Kind::Turned(bundle, _) | Kind::Float(bundle) => bundle.contract.input.as_ref(),
            Kind::Rows => None,
        };
        let options = Options {
            tick_ms: self.tick_ms,
            replay: true,
            luma_only: input.is_some_and(|i| !i.channels.contains(&Channel::Rgb)),
            ..Options::default()
        };
        let spec = source.parse().map_err(|e: SourceError| e.to_string())?;
        let opened = open::open(&spec, &options).map_err(|e| e.to_string())?;
        let mut stages = Stages::new(&self.kind, input, &self.extra)?;
        let mut table = Table::of(source, None, &self.extra)?.unwrap_or_default();
        let mut walk = Walk::new(Duration::from_millis(self.tick_ms.into()));
        let mut from = Ahead::new(opened);
        let (mut broken, mut damaged) = (None, 0);
        let (mut frames, mut gaps, mut repeated) = (0u32, 0u32, 0u32);
        loop {
            match from.read() {
                Ok(Some((frame, until))) => {
                    table.feed(frame.at, until.unwrap_or(frame.at + walk.tick), |which, value| stages.extras.push(which, value));
                    let mut due = walk.due(frame.at, until);
                    walk.bounded(&due)?;
                    frames += 1;
                    gaps += u32::from(self.most.is_some_and(|most| due.end - due.start > most));
                    repeated += u32::from(due.end - due.start > 1);
                    if let Some(first) = due.next() {
                        stages.stage(&frame, walk.tick)?;
                        stages.fill(walk.at(first))?;
                        due.for_each(|_| stages.hold());
                    }
                }
                Ok(None) => break,
                Err(SourceError::Broken { what, why }) => {
                    broken = Some(format!("{what}: {why}"));
                    damaged += 1;
                    if damaged >= MOST_DAMAGED && stages.rows == 0 {
                        break;
                    }
                }
                // Whoever writes the stream pauses.
                Err(SourceError::Stalled { .. }) => {}
                Err(e) => return Err(e.to_string()),
            }
        }
        // Once is a break in the recording.
        if gaps > 1 && gaps * 2 > frames {
            self.sparse.fetch_add(1, Ordering::Relaxed);
            return Err(format!("its {}", self.apart()));
        }
        let damage = match broken {
            Some(why) if stages.rows == 0 => return Err(why),
            Some(why) => plain(&format!("{why}; learning from the {} ticks before and after", stages.rows)),
            None if stages.rows == 0 => return Err("no frame in it".into()),
            None => String::new(),
        };
        let width = match &stages.made {
            Data::Levels(l) => l.len() / stages.rows,
            Data::Numbers(n) => n.len() / stages.rows,
        };
        Ok((Ticks { width, data: stages.made, size: stages.size }, Note { damage, slow: repeated > frames / 2 }))
    }
}

/// Tells this build from another: what another shaper or encoder made, or a training in its middle, is not to be gone on with.
pub fn program() -> String {
    let meta = std::env::current_exe().and_then(std::fs::metadata);
    let made = meta.map(|m| (m.len(), m.modified().ok().and_then(|t| t.duration_since(std::time::UNIX_EPOCH).ok()))).ok();
    format!("{} {made:?}", env!("CARGO_PKG_VERSION"))
}

/// Which ticks a frame fills: those of which it is the newest, as in [`crate::pipeline`].
#[derive(Debug)]
pub struct Walk {
    tick: Duration,
    start: Option<Timestamp>,
    /// The tick that is open.
    next: u64,
}

impl Walk {
    /// From the first frame on, a tick every `tick`.
    pub fn new(tick: Duration) -> Self {
        Self { tick, start: None, next: 0 }
    }

    /// Stamp of tick `k`.
    pub fn at(&self, k: u64) -> Timestamp {
        Timestamp(self.start.unwrap_or_default().0.saturating_add(k.saturating_mul(self.tick.as_nanos() as u64)))
    }

    /// Ticks from this frame's stamp until the next one's; the last frame of all (`None`) fills one more.
    pub fn due(&mut self, at: Timestamp, until: Option<Timestamp>) -> Range<u64> {
        self.start.get_or_insert(at);
        let until = until.unwrap_or_else(|| Timestamp(self.at(self.next).max(at).0.saturating_add(1)));
        let passed = until.since(self.start.unwrap_or_default()).as_nanos().div_ceil(self.tick.as_nanos()) as u64;
        let due = self.next..self.next.max(passed);
        self.next = due.end;
        due
    }

    /// Refuses a recording in which one frame stands for more than an hour.
    ///
    /// # Errors
    /// Where.
    pub fn bounded(&self, due: &Range<u64>) -> Result<(), String> {
        let (at_s, gap_h) = (self.at(due.start).ms() / 1000, MAX_GAP.as_secs() / 3600);
        if u128::from(due.end - due.start) * self.tick.as_nanos() > MAX_GAP.as_nanos() {
            return Err(format!("after the frame at {at_s} s comes none for more than {gap_h} h; cut the recording there"));
        }
        Ok(())
    }
}

/// The device's stages up to the ring.
struct Stages {
    shaper: Option<Shaper>,
    gate: Option<Gate>,
    encoder: Option<Encoder>,
    /// How the planes of which input are turned.
    turn: Option<(Turn, Input)>,
    features: Vec<f32>,
    /// Those of the last filled tick; a held one repeats them with its features.
    extras: Extras,
    made: Data,
    rows: usize,
    size: [u32; 2],
}

impl Stages {
    fn new(kind: &Kind, input: Option<&Input>, extra: &[Extra]) -> Result<Self, String> {
        let shaper = input.map(|i| Shaper::new(i, Region::default())).transpose().map_err(|e| e.to_string())?;
        let (bundle, made) = match kind {
            Kind::Planes(_) => (None, Data::Levels(vec![])),
            Kind::Features(b) | Kind::Turned(b, _) | Kind::Float(b) => (Some(b), Data::Numbers(vec![])),
            Kind::Rows => (None, Data::Numbers(vec![])),
        };
        let form = if matches!(kind, Kind::Float(_)) { Form::Float } else { Form::AsBuilt };
        let encoder = bundle.map(|b| Encoder::load(b, form)).transpose().map_err(|e| e.to_string())?;
        let gate = if encoder.is_some() { input.and_then(Gate::new) } else { None };
        let turn = if let Kind::Turned(_, turn) = kind { input.cloned().map(|i| (*turn, i)) } else { None };
        let extras = Extras::new(extra, 0);
        Ok(Self { shaper, gate, encoder, turn, features: vec![], extras, made, rows: 0, size: [0; 2] })
    }

    fn stage(&mut self, frame: &Frame<'_>, tick: Duration) -> Result<(), String> {
        match (&frame.payload, &mut self.shaper) {
            (Payload::Image(image), Some(shaper)) => {
                self.size = [image.width() as u32, image.height() as u32];
                shaper.stage(image).map_err(|e| e.to_string())?;
                shaper.taken(frame.at, tick);
                Ok(())
            }
            (Payload::Row(row), None) => {
                self.features = row.to_vec();
                Ok(())
            }
            (Payload::Shaped(..), _) => Err("a clip of the black box found, without pictures; a recording expected".into()),
            (Payload::Image(_), None) => Err("pictures found, rows of numbers expected".into()),
            (Payload::Row(_), Some(_)) => Err("rows of numbers found, pictures expected".into()),
        }
    }

    /// A tick with a new frame.
    fn fill(&mut self, tick: Timestamp) -> Result<(), String> {
        self.extras.look(tick);
        if let Some(shaper) = &mut self.shaper {
            shaper.close();
            let still = self.gate.as_mut().is_some_and(|g| g.is_still(shaper.planes())) && self.rows > 0;
            if still {
                shaper.skip_flow();
            } else {
                shaper.flow();
                if let Some(encoder) = &mut self.encoder {
                    let turned = self.turn.as_ref().map(|(turn, input)| turn.of(shaper.planes(), input));
                    let planes = turned.as_deref().unwrap_or(shaper.planes());
                    self.features = encoder.run(planes).map_err(|e| e.to_string())?.to_vec();
                    self.gate.iter_mut().for_each(|g| g.keep(shaper.planes()));
                }
            }
        }
        self.push();
        Ok(())
    }

    /// A tick without one.
    fn hold(&mut self) {
        self.shaper.iter_mut().for_each(Shaper::hold);
        self.push();
    }

    fn push(&mut self) {
        match (&mut self.made, &self.shaper) {
            (Data::Levels(levels), Some(shaper)) => levels.extend_from_slice(shaper.planes()),
            (Data::Numbers(numbers), _) => {
                numbers.extend_from_slice(&self.features);
                numbers.extend_from_slice(self.extras.rejoin());
            }
            (Data::Levels(_), None) => {}
        }
        self.rows += 1;
    }
}

/// How a picture is turned: in a mirror, then by quarters clockwise. By none where nothing is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// Left becomes right.
    pub mirror: bool,
    /// Quarters of a turn; only for square pictures.
    pub quarters: u8,
}

impl Turn {
    /// The planes `[P,H,W]` of a tick as they would have been: pixels elsewhere, and what moves goes another way.
    pub fn of(self, planes: &[u8], input: &Input) -> Vec<u8> {
        let mut turned = planes.to_vec();
        let pixels = input.width * input.height;
        // 128 stands for no motion.
        let opposite = |plane: &mut [u8]| plane.iter_mut().for_each(|u| *u = 0u8.wrapping_sub(*u).max(u8::from(*u == 0) * 255));
        let flows = |turned: &mut [u8], change: &dyn Fn(&mut [u8], &mut [u8])| {
            let mut rest = turned;
            for channel in &input.channels {
                let (mine, others) = rest.split_at_mut(channel.planes() * pixels);
                rest = others;
                if let (Channel::Flow, (u, v)) = (channel, mine.split_at_mut(mine.len() / 2)) {
                    change(u, v);
                }
            }
        };
        if self.mirror {
            turned.chunks_exact_mut(input.width).for_each(<[u8]>::reverse);
            flows(&mut turned, &|u, _| opposite(u));
        }
        for _ in 0..self.quarters {
            let before = turned.clone();
            for (new, old) in turned.chunks_exact_mut(pixels).zip(before.chunks_exact(pixels)) {
                for (y, row) in new.chunks_exact_mut(input.width).enumerate() {
                    row.iter_mut().zip(old.chunks_exact(input.width).rev()).for_each(|(level, from)| *level = from[y]);
                }
            }
            // What went right goes down, what went down goes left.
            flows(&mut turned, &|u, v| {
                u.swap_with_slice(v);
                opposite(u);
            });
        }
        turned
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_turns_rows_and_what_moves_along_them() {
        let input: Input =
            toml::from_str("width = 2\nheight = 1\nchannels = [\"gray\", \"flow\"]\nfeatures = 1").expect("an input");
        let mirror = Turn { mirror: true, quarters: 0 };
        assert_eq!(mirror.of(&[1, 2, 0, 130, 7, 9], &input), [2, 1, 126, 255, 9, 7]);
        assert_eq!(mirror.of(&[0, 0, 128, 1, 0, 0], &input), [0, 0, 255, 128, 0, 0]);
    }

    #[test]
    fn a_quarter_moves_pixels_clockwise_and_what_goes_right_goes_down() {
        let input: Input =
            toml::from_str("width = 2\nheight = 2\nchannels = [\"flow\", \"gray\"]\nfeatures = 1").expect("an input");
        // The pixel in the upper left corner goes right by 10, the one beside it down by 5, the others stand.
        let planes = [138, 128, 128, 128, 128, 133, 128, 128, 1, 2, 3, 4];
        let turned = Turn { mirror: false, quarters: 1 }.of(&planes, &input);
        assert_eq!(turned, [128, 128, 128, 123, 128, 138, 128, 128, 3, 1, 4, 2]);
        assert_eq!(Turn { mirror: false, quarters: 4 }.of(&planes, &input), planes);
    }

    #[test]
    fn ticks_take_frames_as_the_pipeline_does() {
        let mut walk = Walk::new(Duration::from_millis(100));
        let ms = Timestamp::from_ms;
        // 30 frames a second, then a hole, then the end.
        let frames = [(0, 33), (33, 66), (66, 100), (100, 400)];
        let due: Vec<_> = frames.into_iter().map(|(a, b)| walk.due(ms(a), Some(ms(b)))).collect();
        assert_eq!((due, walk.due(ms(400), None)), (vec![0..1, 1..1, 1..1, 1..4], 4..5));
        let gap = walk.due(ms(500), Some(Timestamp(u64::MAX)));
        assert!(walk.bounded(&gap).is_err_and(|why| why.contains("more than 1 h")));
        assert_eq!(walk.bounded(&(4..5)), Ok(()));
    }

    #[test]
    fn frames_too_far_apart_for_a_window_are_refused() {
        let dir = std::env::temp_dir().join(format!("lookout-ticks-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a folder");
        let film = |rate_hz: u32| {
            let (file, picture) = (dir.join(format!("{rate_hz}.y4m")), "FRAME\n".to_string() + &"x".repeat(256));
            let text = format!("YUV4MPEG2 W16 H16 F{rate_hz}:1 Cmono\n{}", picture.repeat(6));
            std::fs::write(&file, text).expect("written");
            file.display().to_string()
        };
        let films = [1, 2, 10].map(film);
        let input: Input = toml::from_str("width = 16\nheight = 16\nchannels = [\"gray\"]\nfeatures = 1").expect("an input");
        let maker = || Maker::new(Kind::Planes(input.clone()), 100, None).expect("nothing is kept");
        // Half a second is four ticks without a frame.
        for (maker, refused) in [(maker(), 0), (maker().holding(9), 0), (maker().holding(4), 1), (maker().holding(3), 2)] {
            let made = maker.all(&films, &|_| {});
            assert_eq!(made.iter().filter(|ticks| ticks.is_err()).count(), refused, "{made:?}");
            assert_eq!(maker.dense(films.len()).is_err(), refused == 2);
            // Each picture of ten a second is a tick; those of the other two are repeated, unless they are refused.
            assert_eq!(maker.repeats(films.len()).is_some(), refused == 0);
            let why = made.into_iter().find_map(Result::err).unwrap_or_default();
            assert_eq!(why.contains("1.y4m: its frames are more than ") && why.contains("so no window is whole"), refused > 0);
        }
        std::fs::remove_dir_all(&dir).expect("removed");
    }
}
