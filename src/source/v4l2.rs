//! The real camera: a V4L2 node, single-planar, memory-mapped.
//!
//! `negotiate` chooses what to ask for, `stream` takes the frames; this file opens the node, sets it up in the order
//! that drivers need (format first, since it may reset the rate), and turns bytes into [`Frame`]s. What the driver
//! grants is used, never what was asked for: stride above all, since rows may be padded.
//!
//! A camera is best named by a link that says where it is plugged in (`/dev/v4l/by-path/...-video-index0`) or which one
//! it is (`by-id`): `/dev/video0` is whichever came first. The link is followed anew at every open. Coming back after an
//! unplug is the capture thread's business: it opens a new [`Camera`].

pub mod negotiate;
mod stream;

pub use stream::WAIT;

use crate::source::jpeg::Jpeg;
use crate::source::{Frame, Image, Losses, Payload, PixelFormat, Source, SourceError};
use crate::sys::video::{self, Device, Fourcc, Interval};
pub use negotiate::Choice;
use negotiate::{Offer, Wish};
use std::fmt;
use std::path::{Path, PathBuf};
use stream::{Frames, Missed, in_words};

/// Formats that can be read, best first: the ones that need no decoding lead.
pub const FORMATS: [Fourcc; 4] = [*b"YUYV", *b"NV12", *b"MJPG", *b"GREY"];

/// Which camera, and what to ask it for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CameraSpec {
    /// Node or link to one.
    pub path: PathBuf,
    /// Pixel formats in order of preference, each one of [`FORMATS`].
    pub formats: Vec<Fourcc>,
    /// Width wished for, in pixels.
    pub width: u32,
    /// Height wished for, in pixels.
    pub height: u32,
    /// Frames a second wished for.
    pub rate_hz: u32,
    /// Nobody looks at colour: MJPG frames are decoded to luma alone, which saves about a third of their time.
    pub luma_only: bool,
}

impl CameraSpec {
    /// A camera at its defaults: 640x480 at 30 Hz, formats as in [`FORMATS`].
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), formats: FORMATS.to_vec(), width: 640, height: 480, rate_hz: 30, luma_only: false }
    }

    /// Reads `PATH[,FORMAT...][,WIDTHxHEIGHT[@HZ]]`, e.g. `/dev/video0,mjpg,1280x720@30`, over the values in `self`.
    ///
    /// # Errors
    /// [`SourceError::Refused`] naming the part that is neither a format nor a size.
    pub fn read(mut self, text: &str) -> Result<Self, SourceError> {
        let mut parts = text.split(',').map(str::trim);
        let path = parts.next().unwrap_or_default();
        let refuse = |why: String| SourceError::Refused { what: format!("camera {text:?}"), why };
        if path.is_empty() || path.contains('\0') {
            return Err(refuse("no path in it; expected one such as v4l2:/dev/video0".into()));
        }
        self.path = path.into();
        let mut formats = Vec::new();
        for part in parts {
            let upper = part.to_ascii_uppercase();
            if let Some(&known) = FORMATS.iter().find(|f| f.as_slice() == upper.as_bytes()) {
                formats.push(known);
            } else if let Some((width, height, rate)) = size_and_rate(part) {
                (self.width, self.height) = (width, height);
                self.rate_hz = rate.unwrap_or(self.rate_hz);
            } else {
                return Err(refuse(format!(
                    "{part:?} is neither a format (yuyv, nv12, mjpg, grey) nor a size such as 640x480@30"
                )));
            }
        }
        if !formats.is_empty() {
            self.formats = formats;
        }
        Ok(self)
    }

    /// What will be asked of this camera, or `None` where it has none of the formats.
    pub fn choice(&self, device: &Device) -> Option<Choice> {
        negotiate::choose(&self.wish(), device)
    }

    /// Is `choice` as large as asked for, and at least half as fast? 25 frames a second for 30 are nothing to be told about.
    pub fn met_by(&self, choice: &Choice) -> bool {
        choice.misses(&Wish { rate_hz: self.rate_hz.div_ceil(2), ..self.wish() }) == (false, false)
    }

    fn wish(&self) -> Wish {
        Wish { formats: self.formats.clone(), width: self.width, height: self.height, rate_hz: self.rate_hz }
    }
}

/// `640x480`, `640x480@30`: nothing zero, no side above what a frame may have.
fn size_and_rate(text: &str) -> Option<(u32, u32, Option<u32>)> {
    let (size, rate) = text.split_once('@').map_or((text, None), |(s, r)| (s, Some(r)));
    let (w, h) = size.split_once('x')?;
    let side = |t: &str| t.parse::<u32>().ok().filter(|v| (1..=16_384).contains(v));
    let rate = match rate {
        None => None,
        Some(r) => Some(r.parse::<u32>().ok().filter(|v| (1..=1_000).contains(v))?),
    };
    Some((side(w)?, side(h)?, rate))
}

impl Offer for Device {
    fn formats(&self) -> Vec<Fourcc> {
        Self::formats(self)
    }
    fn sizes(&self, fourcc: Fourcc) -> Vec<video::SizeRange> {
        Self::sizes(self, fourcc)
    }
    fn intervals(&self, fourcc: Fourcc, width: u32, height: u32) -> Vec<video::IntervalRange> {
        Self::intervals(self, fourcc, width, height)
    }
}

/// How the bytes become a picture.
#[derive(Debug)]
enum Layout {
    Plain(PixelFormat),
    Jpeg(Box<Jpeg>),
}

/// An open camera. Dropping it stops the stream and closes the node.
#[derive(Debug)]
pub struct Camera {
    name: String,
    card: String,
    granted: video::Granted,
    interval: Option<Interval>,
    layout: Layout,
    frames: Frames,
    /// Pictures that could not be decoded, or were shorter than their format says.
    undecoded: u32,
}

impl Camera {
    /// Opens the node, chooses and sets format, size and rate, maps buffers. Streaming starts with the first frame asked for.
    ///
    /// # Errors
    /// [`SourceError::Refused`] where the path can never be a camera or has none of the formats; [`SourceError::Lost`]
    /// where another try may help (not plugged in, in use, no rights yet).
    pub fn open(spec: &CameraSpec) -> Result<Self, SourceError> {
        let name = spec.path.display().to_string();
        let (device, card) = open_node(&spec.path, &name)?;
        let Some(choice) = spec.choice(&device) else {
            let why = format!("offers {}, wanted one of {}", list(&device.formats()), list(&spec.formats));
            return Err(SourceError::Refused { what: name, why });
        };
        let words = |doing: &str, e: std::io::Error| in_words(&name, doing, &e);
        let granted =
            device.set_format(choice.fourcc, choice.width, choice.height).map_err(|e| words("setting the format", e))?;
        let layout = match &granted.fourcc {
            b"YUYV" => Layout::Plain(PixelFormat::Yuyv),
            b"NV12" => Layout::Plain(PixelFormat::Nv12),
            b"GREY" => Layout::Plain(PixelFormat::Gray),
            b"MJPG" => {
                let decoder = if spec.luma_only { Jpeg::luma_only() } else { Jpeg::new() };
                Layout::Jpeg(Box::new(decoder.no_larger(granted.width as usize, granted.height as usize)))
            }
            other => {
                let why = format!("gives {} after being asked for {}", list(&[*other]), list(&[choice.fourcc]));
                return Err(SourceError::Refused { what: name, why });
            }
        };
        let interval = device.set_interval(Some(choice.interval)).map_err(|e| words("setting the rate", e))?;
        let frames = Frames::new(device).map_err(|e| words("asking for buffers", e))?;
        Ok(Self { name, card, granted, interval, layout, frames, undecoded: 0 })
    }
}

/// Formats as text; a test driver may offer seventy.
fn list(formats: &[Fourcc]) -> String {
    const SHOWN: usize = 12;
    let mut names: Vec<_> = formats.iter().take(SHOWN).map(|f| f.escape_ascii().to_string().trim().to_owned()).collect();
    if formats.len() > SHOWN {
        names.push(format!("and {} more", formats.len() - SHOWN));
    }
    if names.is_empty() { "no picture format".into() } else { names.join(", ") }
}

/// Opens `path` if it is a capture node; nothing else is ever opened (opening a watchdog, say, arms it).
fn open_node(path: &Path, name: &str) -> Result<(Device, String), SourceError> {
    let refuse = |why: &str| Err(SourceError::Refused { what: name.to_owned(), why: why.to_owned() });
    let stat = rustix::fs::stat(path).map_err(|e| in_words(name, "looking for it", &e.into()))?;
    /// Character devices of Video4Linux, see the kernel's `devices.txt`.
    const VIDEO4LINUX: u32 = 81;
    match rustix::fs::FileType::from_raw_mode(stat.st_mode) {
        rustix::fs::FileType::CharacterDevice if rustix::fs::major(stat.st_rdev) == VIDEO4LINUX => {}
        rustix::fs::FileType::CharacterDevice => {
            return refuse("is a device, but not a camera; expected one such as /dev/video0");
        }
        rustix::fs::FileType::Directory => {
            return refuse("is a directory; expected a camera such as /dev/video0 or a link in /dev/v4l/by-path");
        }
        _ => return refuse("is a file, not a camera; recordings are played with y4m:, avi: or frames:"),
    }
    let device = Device::open(path).map_err(|e| in_words(name, "opening it", &e))?;
    let is = device.capability().map_err(|e| in_words(name, "asking what it is", &e))?;
    match (is.captures, is.multi_planar) {
        (true, _) if is.streams => Ok((device, format!("{} ({})", is.card, is.driver))),
        (true, _) => refuse("cannot stream into mapped buffers, which is the only way this program reads a camera"),
        (false, true) => {
            refuse("is multi-planar (a CSI bridge or codec); bring it in through `pipe:`, e.g. rpicam-vid --codec yuv420 -o -")
        }
        (false, false) => refuse(
            "gives no pictures (metadata, radio or output); try this camera's other node, the link ending in -video-index0",
        ),
    }
}

impl fmt::Display for Camera {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let g = &self.granted;
        write!(f, "{} [{}]: {} {}x{}", self.name, self.card, list(&[g.fourcc]), g.width, g.height)?;
        if g.stride_bytes > 0 {
            write!(f, " stride {}", g.stride_bytes)?;
        }
        match self.interval {
            Some(i) => write!(f, " at {:.4} fps", f64::from(i.den) / f64::from(i.num)),
            None => write!(f, " at the camera's own rate"),
        }
    }
}

impl Source for Camera {
    fn next(&mut self) -> Result<Option<Frame<'_>>, SourceError> {
        let taken = match self.frames.next() {
            Ok(taken) => taken,
            Err(Missed::Stalled) => return Err(SourceError::Stalled { waited: WAIT }),
            Err(Missed::Damaged(seq)) => {
                let why = "flagged as damaged by the driver".to_owned();
                return Err(SourceError::Broken { what: format!("{} frame {}", self.name, seq.0), why });
            }
            Err(Missed::Failed(doing, e)) => return Err(in_words(&self.name, doing, &e)),
        };
        let undecoded = &mut self.undecoded;
        let image = read(&mut self.layout, &self.granted, self.frames.bytes());
        let image = image.inspect_err(|_| *undecoded = undecoded.saturating_add(1)).map_err(|e| match e {
            SourceError::Broken { why, .. } => SourceError::Broken { what: format!("{} frame {}", self.name, taken.seq.0), why },
            other => other,
        })?;
        Ok(Some(Frame { at: taken.at, seq: taken.seq, payload: Payload::Image(image) }))
    }

    fn describe(&self) -> String {
        self.to_string()
    }

    fn is_live(&self) -> bool {
        true
    }

    fn reopens_after_stall(&self) -> bool {
        true
    }

    fn losses(&self) -> Option<Losses> {
        Some(self.frames.losses() + Losses { damaged: self.undecoded, ..Losses::default() })
    }
}

/// The picture in a buffer, which may be shorter than it should be.
fn read<'a>(layout: &'a mut Layout, granted: &video::Granted, bytes: &'a [u8]) -> Result<Image<'a>, SourceError> {
    match layout {
        Layout::Jpeg(decoder) => decoder.decode(bytes),
        Layout::Plain(format) => {
            let g = granted;
            Image::new(*format, g.width as usize, g.height as usize, g.stride_bytes as usize, bytes)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(path: &str) -> String {
        match Camera::open(&CameraSpec::new(path)) {
            Err(e @ SourceError::Refused { .. }) => e.to_string(),
            other => panic!("{path}: {other:?}"),
        }
    }

    #[test]
    fn what_is_no_camera_is_refused_in_one_sentence() {
        assert!(refused("/").contains("is a directory"));
        assert!(refused("/dev/null").contains("not a camera"));
        assert!(refused(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).contains("is a file"));
    }

    #[test]
    fn a_missing_camera_may_come_back() {
        let missing = Camera::open(&CameraSpec::new("/dev/video-that-is-not-there"));
        assert!(matches!(&missing, Err(SourceError::Lost { why, .. }) if why.contains("plugged in")), "{missing:?}");
    }

    #[test]
    fn a_specification_is_read_over_the_defaults() {
        let spec = CameraSpec::new("/dev/video9").read("/dev/video0,MJPG,yuyv,1280x720@60").unwrap();
        assert_eq!((spec.path.to_str(), spec.width, spec.height, spec.rate_hz), (Some("/dev/video0"), 1280, 720, 60));
        assert_eq!(spec.formats, [*b"MJPG", *b"YUYV"]);
        let spec = CameraSpec::new("").read("/dev/v4l/by-path/pci-0000:00:14.0-usb-0:1:1.0-video-index0").unwrap();
        assert_eq!((spec.width, spec.rate_hz, spec.formats.len()), (640, 30, FORMATS.len()));
        for wrong in [
            "",
            ",640x480",
            "/dev/video0,h264",
            "/dev/video0,0x480",
            "/dev/video0,640x480@0",
            "/dev/video0,640x99999",
            "/dev/video0,",
        ] {
            assert!(matches!(CameraSpec::new("x").read(wrong), Err(SourceError::Refused { .. })), "{wrong}");
        }
    }

    #[test]
    fn system_errors_are_said_in_the_users_words() {
        let say = |code| in_words("/dev/video0", "reading frames", &std::io::Error::from_raw_os_error(code)).to_string();
        assert_eq!(say(19), "/dev/video0: the camera was unplugged");
        assert!(say(28).contains("USB bus has no bandwidth"));
        assert!(say(16).contains("another program"));
        assert!(say(5).contains("stream broke"));
        assert!(say(13).contains("group `video`"));
    }
}
