//! What a frame is before anyone looks at it, and where frames come from.
//!
//! A source lends one frame at a time from a buffer that it owns, so the steady state copies and allocates nothing.
//! Time enters the program here and nowhere else: `Frame::at` is the driver's monotonic stamp on a live camera and
//! the frame's place in the recording otherwise. A recording therefore replays to the same reports, byte for byte.

pub mod ahead;
pub mod avi;
pub mod clip;
pub mod faulty;
pub mod ffmpeg;
pub mod film;
pub mod images;
mod input;
pub mod jpeg;
mod late;
pub mod open;
pub mod picture;
pub mod pipe;
mod rate;
pub mod rows;
pub mod scene;
pub mod shaped;
pub mod v4l2;

pub(crate) use input::{may_come, readable};
pub use rate::Rate;

use crate::shaper::Region;
use std::time::Duration;

/// Monotonic nanoseconds since an arbitrary start (boot for a camera, the first frame for a recording).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The stamp `ms` milliseconds after the start.
    pub const fn from_ms(ms: u64) -> Self {
        Self(ms * 1_000_000)
    }
    /// Whole milliseconds since the start.
    pub const fn ms(self) -> u64 {
        self.0 / 1_000_000
    }
    /// Now, on the clock that drivers stamp frames with. For the two ends; no stage in the middle asks.
    pub fn now() -> Self {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let (s, ns) = (u64::try_from(now.tv_sec).unwrap_or(0), u64::try_from(now.tv_nsec).unwrap_or(0));
        Self(s.saturating_mul(1_000_000_000).saturating_add(ns))
    }
    /// Time from `earlier` to `self`; zero when `earlier` is later (a clock that went back).
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl std::ops::Add<Duration> for Timestamp {
    type Output = Self;
    fn add(self, d: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// The driver's frame counter. A jump says how many frames were lost; it may wrap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seq(pub u32);

/// How the bytes of an [`Image`] are laid out. All chroma is BT.601.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PixelFormat {
    /// 8-bit luma, one byte a pixel.
    Gray,
    /// Packed 4:2:2, `Y0 U Y1 V`: two bytes a pixel; width is even.
    Yuyv,
    /// 4:2:0, a luma plane, then one plane of interleaved `U V` at half size with the same stride.
    Nv12,
    /// 4:2:0, luma plane, U plane, V plane; the chroma stride is half the luma stride, rounded up.
    I420,
    /// Packed 4:4:4 `Y U V`, three bytes a pixel: what a JPEG decoder gives without a colour conversion.
    Yuv444,
    /// Packed `R G B`, three bytes a pixel (PNG).
    Rgb,
}

impl PixelFormat {
    /// The shortest stride a row of `width` pixels can have, in bytes (the luma stride for planar formats).
    pub const fn min_stride(self, width: usize) -> usize {
        match self {
            Self::Gray | Self::Nv12 | Self::I420 => width,
            Self::Yuyv => width.div_ceil(2) * 4,
            Self::Yuv444 | Self::Rgb => width * 3,
        }
    }

    /// Bytes that an image of this format needs, or `None` where the product does not fit.
    pub fn frame_bytes(self, width: usize, height: usize, stride: usize) -> Option<usize> {
        if width == 0 || height == 0 || stride < self.min_stride(width) {
            return None;
        }
        let luma = stride.checked_mul(height)?;
        let half = height.div_ceil(2);
        match self {
            Self::Gray | Self::Yuyv | Self::Yuv444 | Self::Rgb => Some(luma),
            // Interleaved pairs: an odd width still has a whole pair at the end.
            Self::Nv12 => luma.checked_add(stride.next_multiple_of(2).checked_mul(half)?),
            Self::I420 => luma.checked_add(stride.div_ceil(2).checked_mul(half)?.checked_mul(2)?),
        }
    }
}

/// A borrowed picture. Invariant (kept by [`Image::new`]): `data` holds at least `format.frame_bytes(..)` bytes.
#[derive(Clone, Copy, Debug)]
pub struct Image<'a> {
    format: PixelFormat,
    width: usize,
    height: usize,
    stride_bytes: usize,
    data: &'a [u8],
}

/// Largest width or height accepted from any file, pipe or device, in pixels (8K and some margin).
pub const MAX_SIDE: usize = 16_384;
/// Largest frame accepted, in pixels: 8K UHD is 33 million.
pub const MAX_PIXELS: usize = 40_000_000;

/// Checks the size of a picture, in pixels, before anything is allocated for it. The error says what was found and expected.
fn check_size(width: usize, height: usize) -> Result<(), String> {
    let side = 1..=MAX_SIDE;
    if side.contains(&width) && side.contains(&height) && width * height <= MAX_PIXELS {
        return Ok(());
    }
    Err(format!("{width}x{height} pixels, expected 1 to {MAX_SIDE} a side and at most {MAX_PIXELS} in all"))
}

impl<'a> Image<'a> {
    /// Checks that `data` really holds such a picture. `stride_bytes` is the luma stride for planar formats.
    ///
    /// # Errors
    /// [`SourceError::Broken`] naming the size found and the size expected.
    pub fn new(
        format: PixelFormat,
        width: usize,
        height: usize,
        stride_bytes: usize,
        data: &'a [u8],
    ) -> Result<Self, SourceError> {
        let broken = |why: String| SourceError::Broken { what: "frame".into(), why };
        check_size(width, height).map_err(broken)?;
        match format.frame_bytes(width, height, stride_bytes) {
            None => Err(broken(format!("{width}x{height} {format:?} with a stride of {stride_bytes} bytes is no picture"))),
            Some(need) if data.len() < need => {
                let found = data.len();
                Err(broken(format!("{found} bytes found, {width}x{height} {format:?} with stride {stride_bytes} needs {need}")))
            }
            Some(_) => Ok(Self { format, width, height, stride_bytes, data }),
        }
    }
    /// Layout of the bytes.
    pub const fn format(&self) -> PixelFormat {
        self.format
    }
    /// Width in pixels, at least 1.
    pub const fn width(&self) -> usize {
        self.width
    }
    /// Height in pixels, at least 1.
    pub const fn height(&self) -> usize {
        self.height
    }
    /// Bytes from one (luma) row to the next.
    pub const fn stride_bytes(&self) -> usize {
        self.stride_bytes
    }
    /// All bytes, luma first.
    pub const fn data(&self) -> &'a [u8] {
        self.data
    }
}

/// What a tick is made from.
#[derive(Clone, Copy, Debug)]
pub enum Payload<'a> {
    /// Pixels for the shaper and the encoder.
    Image(Image<'a>),
    /// What an earlier run made of a frame: goes around the shaper and the gate. And its extras as the head read them, not a number where one was missing.
    Shaped(Shaped<'a>, &'a [f32]),
    /// One row of numbers that goes straight into the ring: the recurrent network alone.
    Row(&'a [f32]),
}

/// A tick as the encoder (or the head, of rows) saw it.
#[derive(Clone, Copy, Debug)]
pub enum Shaped<'a> {
    /// Planes, and the size of the camera's picture.
    Planes {
        /// `[P, H, W]` levels.
        levels: &'a [u8],
        /// Width and height, pixels.
        picture: (usize, usize),
    },
    /// Numbers.
    Row(&'a [f32]),
    /// No news: what the tick before it said stands for it.
    Same,
}

/// One frame, lent by a [`Source`] until the next call.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// When the frame was taken (monotonic).
    pub at: Timestamp,
    /// The source's own count.
    pub seq: Seq,
    /// Pixels or numbers.
    pub payload: Payload<'a>,
}

/// Why a source gave no frame, split by what the caller does next.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// This frame is damaged: count it, go on with the next one.
    #[error("{what}: {why}")]
    Broken {
        /// The frame or record, for a person.
        what: String,
        /// Found against expected.
        why: String,
    },
    /// No frame within the wait: nothing is wrong with the handle yet. Call again.
    #[error("no frame for {waited:?}")]
    Stalled {
        /// How long the source has waited.
        waited: Duration,
    },
    /// The device went away, its stream broke or it may not be had: open the source again (exit code 1 if nobody does).
    #[error("{device}: {why}")]
    Lost {
        /// Device or file.
        device: String,
        /// What the system said, in the user's words.
        why: String,
        /// What kind of trouble it is: how soon to try again, and what the health line calls it.
        fault: Fault,
    },
    /// The source can never work as asked: wrong file, format or argument (exit code 2).
    #[error("{what}: {why}")]
    Refused {
        /// File, device or argument.
        what: String,
        /// Found against expected, and what to try.
        why: String,
    },
}

/// What keeps a source from giving frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Its name leads nowhere.
    Absent,
    /// It was there, and answers no more.
    Unplugged,
    /// It is there and its stream broke.
    StreamBroke,
    /// Another program has it.
    Busy,
    /// The USB bus has no room for it.
    NoBandwidth,
    /// We may not open it.
    NoRights,
    /// It is there and refuses what we ask.
    Refuses,
}

/// Frames that a source knows of and never gave, since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Never came out of the driver: holes in its count.
    pub lost: u32,
    /// Came, and were flagged as damaged, cut short or could not be decoded.
    pub damaged: u32,
    /// Were good, and newer ones were there when we came to look.
    pub unread: u32,
}

impl std::ops::Add for Losses {
    type Output = Self;
    fn add(self, o: Self) -> Self {
        let sum = u32::saturating_add;
        Self { lost: sum(self.lost, o.lost), damaged: sum(self.damaged, o.damaged), unread: sum(self.unread, o.unread) }
    }
}

/// What was remembered in an earlier run.
#[derive(Clone, Copy, Debug)]
pub struct Past<'a> {
    /// Which learning gave its scores: hex sha256.
    pub normal: &'a str,
    /// See [`crate::novelty::Novelty::remember`]; empty without novelty.
    pub novelty: &'a [u8],
    /// See [`crate::head::Head::remember`]; empty where it carries no state.
    pub head: &'a [u8],
    /// The part of the camera's picture that was looked at, where that was not all of it.
    pub region: Option<Region>,
}

/// A camera, a recording or a pipe.
pub trait Source: Send {
    /// The next frame, or `None` at the end of a recording. A live camera never ends.
    ///
    /// # Errors
    /// See [`SourceError`]: each variant says what to do next.
    fn next(&mut self) -> Result<Option<Frame<'_>>, SourceError>;

    /// One line for the log: device or file, format, size, rate.
    fn describe(&self) -> String;

    /// Does the world go on while nobody reads? Then the newest frame wins; a recording waits instead.
    fn is_live(&self) -> bool {
        false
    }

    /// Does it help to open the source again after [`SourceError::Stalled`]? A camera may have hung itself up; in a pipe, what has
    /// arrived so far would be lost.
    fn reopens_after_stall(&self) -> bool {
        false
    }

    /// Is this a piece of a longer run: did the world go on before its first frame?
    fn has_past(&self) -> bool {
        false
    }

    /// What novelty and the head remembered before its first frame, where this is a piece of a longer run that kept it.
    fn past(&self) -> Option<Past<'_>> {
        None
    }

    /// What was left out, where the source keeps count; `None`: the gaps in its numbers are all there is to know.
    fn losses(&self) -> Option<Losses> {
        None
    }

    /// Frames in all, where the recording says so: for a progress bar.
    fn len_hint(&self) -> Option<u64> {
        None
    }
}
