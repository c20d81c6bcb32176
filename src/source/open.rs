//! `--source SPEC`: which source, from its name on the command line or in the configuration.
//! board/README.md has the table of them.

use super::avi::{Avi, has_headers};
use super::clip::Clip;
use super::faulty::{Faults, Faulty};
use super::ffmpeg::{self, Ffmpeg};
use super::images::{Images, is_picture};
use super::input::{Input, passes, refused, unopened, words};
use super::late::Late;
use super::pipe::{Pipe, PipeSpec};
use super::rows::{Rows, is_rows, may_be_live};
use super::shaped::Replay;
use super::v4l2::{self, Camera, CameraSpec};
use super::{Rate, Source, SourceError};
use crate::blackbox::{MAGIC, OLDER};
use crate::board;
use crate::bundle::{Bundle, Channel};
use std::fmt;
use std::io::Read;
use std::path::Path;
use std::str::FromStr;

/// Which source. Text to and from: as in board/README.md.
#[derive(Clone, Debug, PartialEq)]
pub enum Spec {
    /// A camera: what [`CameraSpec::read`] reads.
    V4l2(String),
    /// Raw frames.
    Pipe(PipeSpec),
    /// Y4M: a path or `-`.
    Y4m(String),
    /// MJPEG AVI: a path.
    Avi(String),
    /// Pictures: a folder (or one picture), and frames a second where they are said.
    Frames(String, Option<Rate>),
    /// Rows of numbers: a path or `-`.
    Features(String),
    /// A clip of the black box: a path.
    BlackBox(String),
    /// Anything that ffmpeg reads: a path.
    Ffmpeg(String),
    /// Another source with faults.
    Faulty(Faults, Box<Spec>),
    /// A path without more: looked at when opened.
    Guess(String),
}

/// What else a source has to know.
#[derive(Clone, Debug)]
pub struct Options {
    /// The bundle's tick: the pace of rows, and of pictures without a rate.
    pub tick_ms: u32,
    /// Numbers in a row, for a bundle that takes rows.
    pub columns: Option<usize>,
    /// Stamp pipes, raw frames and rows of numbers, by count instead of by the clock.
    pub replay: bool,
    /// Nobody looks at colour: JPEGs may leave it out, which saves about a third of their time.
    pub luma_only: bool,
    /// The bundle's hash and the bytes of one of its ticks: what the black box kept is this bundle's or none.
    pub shaped: Option<(String, usize)>,
    /// What the board asks of its camera; what the spec says comes first.
    pub board: Option<board::Camera>,
}

impl Default for Options {
    fn default() -> Self {
        Self { tick_ms: 100, columns: None, replay: false, luma_only: false, shaped: None, board: None }
    }
}

impl Options {
    /// Are rows of numbers live where they come through a FIFO? Not with a long tick.
    pub fn rows_may_be_live(&self) -> bool {
        !self.replay && may_be_live(Rate::per_tick(self.tick_ms))
    }

    /// What this bundle needs.
    pub fn for_bundle(bundle: &Bundle) -> Self {
        let contract = &bundle.contract;
        Self {
            tick_ms: contract.time.tick_ms,
            columns: contract.head.features,
            luma_only: contract.input.as_ref().is_some_and(|i| !i.channels.contains(&Channel::Rgb)),
            shaped: Some((bundle.hash.clone(), bundle.tick_bytes())),
            ..Self::default()
        }
    }
}

const SCHEMES: &str = "v4l2:, pipe:, y4m:, avi:, frames:, features:, ffmpeg:, blackbox:, faulty: or the path of a clip";

impl FromStr for Spec {
    type Err = SourceError;
    fn from_str(text: &str) -> Result<Self, SourceError> {
        let refuse = |why: String| refused(&format!("source {text:?}"), why);
        let (scheme, rest) = text.split_once(':').unwrap_or(("", text));
        if rest.is_empty() {
            return Err(refuse(format!("nothing to open, expected {SCHEMES}")));
        }
        let path = rest.to_string();
        Ok(match scheme {
            "v4l2" => Self::V4l2(path),
            "pipe" => Self::Pipe(rest.parse().map_err(refuse)?),
            "y4m" => Self::Y4m(path),
            "avi" => Self::Avi(path),
            "features" => Self::Features(path),
            "ffmpeg" => Self::Ffmpeg(path),
            "blackbox" => Self::BlackBox(path),
            "frames" => match rest.rsplit_once('@').map(|(dir, rate)| (dir, rate.parse())) {
                Some((dir, Ok(rate))) => Self::Frames(dir.into(), Some(rate)),
                // A folder may have an @ in its name, if no rate was meant.
                Some((_, Err(why))) if !Path::new(rest).exists() => return Err(refuse(why)),
                _ => Self::Frames(path, None),
            },
            "faulty" => {
                let how = "expected faulty:FAULTS:SPEC such as faulty:seed=7,drop=0.2:y4m:clip.y4m";
                let (faults, inner) = rest.split_once(':').ok_or_else(|| refuse(how.into()))?;
                let inner: Self = inner.parse()?;
                if matches!(inner, Self::Faulty(..)) {
                    return Err(refuse("faulty in faulty, expected one set of faults".into()));
                }
                Self::Faulty(faults.parse().map_err(refuse)?, Box::new(inner))
            }
            _ if text == "-" => {
                return Err(refuse("standard input of which kind? y4m:-, features:- or pipe:-,FORMAT,WxH@RATE".into()));
            }
            _ => Self::Guess(text.into()),
        })
    }
}

impl Spec {
    /// The file, folder or device that it reads; `-`: standard input.
    pub fn path(&self) -> &str {
        match self {
            Self::Pipe(spec) => &spec.path,
            Self::Faulty(_, inner) => inner.path(),
            Self::Frames(path, _) => path,
            Self::V4l2(path) | Self::Y4m(path) | Self::Avi(path) | Self::Features(path) => path,
            Self::BlackBox(path) | Self::Ffmpeg(path) | Self::Guess(path) => path,
        }
    }

    /// Does it give rows of numbers, or else pictures? `None`: that is not known before it is opened.
    pub fn gives_rows(&self) -> Option<bool> {
        match self {
            Self::Features(_) => Some(true),
            Self::V4l2(_) | Self::Pipe(_) | Self::Y4m(_) | Self::Avi(_) | Self::Frames(..) | Self::Ffmpeg(_) => Some(false),
            // Whatever the bundle took that it was kept with.
            Self::BlackBox(_) => None,
            Self::Faulty(_, inner) => inner.gives_rows(),
            Self::Guess(path) => guess(path).ok()?.gives_rows(),
        }
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4l2(path) => write!(f, "v4l2:{path}"),
            Self::Pipe(spec) => write!(f, "pipe:{spec}"),
            Self::Y4m(path) => write!(f, "y4m:{path}"),
            Self::Avi(path) => write!(f, "avi:{path}"),
            Self::Frames(dir, None) => write!(f, "frames:{dir}"),
            Self::Frames(dir, Some(rate)) => write!(f, "frames:{dir}@{rate}"),
            Self::Features(path) => write!(f, "features:{path}"),
            Self::BlackBox(path) => write!(f, "blackbox:{path}"),
            Self::Ffmpeg(path) => write!(f, "ffmpeg:{path}"),
            Self::Faulty(faults, inner) => write!(f, "faulty:{faults}:{inner}"),
            Self::Guess(path) => f.write_str(path),
        }
    }
}

/// Opens a source.
///
/// # Errors
/// [`SourceError::Refused`] where it can never work, [`SourceError::Lost`] where it may later.
pub fn open(spec: &Spec, options: &Options) -> Result<Box<dyn Source>, SourceError> {
    let tick = Rate::per_tick(options.tick_ms);
    Ok(match spec {
        Spec::V4l2(path) => return camera(path, options),
        Spec::Pipe(spec) => Box::new(Pipe::open(spec, options.replay)?),
        Spec::Y4m(path) => {
            return recording(path, options, |head| head.contains(&b'\n'), |input| Ok(Box::new(Clip::begin(input)?)));
        }
        Spec::Avi(path) => {
            let luma_only = options.luma_only;
            return recording(path, options, has_headers, move |input| Ok(Box::new(Avi::begin(input, luma_only)?)));
        }
        Spec::Frames(dir, rate) => Box::new(Images::open(dir, rate.unwrap_or(tick), options.luma_only)?),
        Spec::Features(path) => Box::new(Rows::open(path, tick, options.columns, options.replay)?),
        Spec::BlackBox(path) => Box::new(Replay::open(path, options.shaped.as_ref())?),
        Spec::Ffmpeg(path) => Box::new(Ffmpeg::open(path)?),
        Spec::Faulty(faults, inner) => {
            let inner = if let Spec::Guess(path) = &**inner { guess(path)? } else { (**inner).clone() };
            if matches!(inner, Spec::BlackBox(_)) {
                return Err(refused(&inner.to_string(), "faults are made before the shaper, a black box comes after it"));
            }
            Box::new(Faulty::new(open(&inner, options)?, *faults))
        }
        Spec::Guess(path) => return open(&guess(path)?, options),
    })
}

/// A recording by what it begins with, when there is `enough` of it. Where that comes from a program it may come late: a replay waits, as long as it
/// takes. Who watches does not wait for it here, where nobody can stop him.
fn recording(
    path: &str,
    options: &Options,
    enough: fn(&[u8]) -> bool,
    begin: impl FnOnce(Input) -> Result<Box<dyn Source>, SourceError> + Send + 'static,
) -> Result<Box<dyn Source>, SourceError> {
    let mut input = Input::open(path)?;
    while input.bytes.is_none() {
        match input.arrive(enough) {
            Err(SourceError::Stalled { .. }) if options.replay => {}
            Err(SourceError::Stalled { .. }) => return Ok(Box::new(Late::new(input, enough, Box::new(begin)))),
            Err(e) => return Err(e),
            Ok(()) => break,
        }
    }
    begin(input)
}

/// The camera on a V4L2 node.
fn camera(text: &str, options: &Options) -> Result<Box<dyn Source>, SourceError> {
    let spec = CameraSpec { luma_only: options.luma_only, ..camera_spec(text, options.board.as_ref())? };
    Ok(Box::new(Camera::open(&spec)?))
}

/// What `v4l2:TEXT` asks for on a board: what the text leaves out, the board says.
///
/// # Errors
/// As [`CameraSpec::read`].
pub fn camera_spec(text: &str, board: Option<&board::Camera>) -> Result<CameraSpec, SourceError> {
    let mut spec = CameraSpec::new("");
    if let Some(board) = board {
        let known = |name: &String| v4l2::FORMATS.into_iter().find(|f| f.as_slice() == name.as_bytes());
        spec.formats = board.formats.iter().filter_map(known).collect();
        (spec.width, spec.height, spec.rate_hz) = (board.width, board.height, board.rate_hz);
    }
    spec.read(text)
}

/// Does a bare path mean a camera: a device, or the name of one that is not there?
pub fn is_camera(path: &str) -> bool {
    use std::os::unix::fs::FileTypeExt;
    path.starts_with("/dev/") && std::fs::metadata(path).map_or(true, |meta| meta.file_type().is_char_device())
}

/// What a bare path is, from its first bytes.
fn guess(path: &str) -> Result<Spec, SourceError> {
    // Also one that is not there yet; a recording that somebody keeps below /dev (/dev/shm) is one.
    if is_camera(path) {
        return Ok(Spec::V4l2(path.into()));
    }
    let meta = std::fs::metadata(path).map_err(|e| match path.split_once(':') {
        Some((scheme, _)) if !passes(&e) => {
            refused(path, format!("{}, and {scheme}: is no kind of source; expected {SCHEMES}", words(&e)))
        }
        _ => unopened(path, &e),
    })?;
    if meta.is_dir() || (meta.is_file() && is_picture(Path::new(path))) {
        return Ok(Spec::Frames(path.into(), None));
    }
    if !meta.is_file() {
        return Err(refused(
            path,
            "expected a file; a FIFO needs its kind, y4m:PATH, avi:PATH, features:PATH or pipe:PATH,FORMAT,WxH@RATE",
        ));
    }
    let mut head = Vec::new();
    let file = std::fs::File::open(path).map_err(|e| unopened(path, &e))?;
    file.take(4096).read_to_end(&mut head).map_err(|e| unopened(path, &e))?;
    match head.as_slice() {
        [] => Err(refused(path, "0 bytes, expected a clip")),
        h if [MAGIC, OLDER].iter().any(|magic| h.starts_with(magic)) => Ok(Spec::BlackBox(path.into())),
        h if h.starts_with(b"YUV4MPEG2") => Ok(Spec::Y4m(path.into())),
        // Its codec stands behind `vids` in the stream's header.
        h if is_avi(h) && ffmpeg::installed() && codec(h).is_some_and(|c| !c.eq_ignore_ascii_case(b"MJPG")) => {
            Ok(Spec::Ffmpeg(path.into()))
        }
        h if is_avi(h) => Ok(Spec::Avi(path.into())),
        h if h.starts_with(b"\x89PNG") || h.starts_with(b"\xff\xd8\xff") => Ok(Spec::Frames(path.into(), None)),
        // Every second byte of plain text in UTF-16.
        h if is_rows(Path::new(path)) && h.contains(&0) => {
            Err(refused(path, "it holds NUL bytes, expected rows of numbers in plain text; is it UTF-16? save it as UTF-8"))
        }
        _ if is_rows(Path::new(path)) => Ok(Spec::Features(path.into())),
        _ if ffmpeg::installed() => Ok(Spec::Ffmpeg(path.into())),
        _ => Err(refused(
            path,
            "neither Y4M, AVI nor a picture (rows of numbers: features:FILE); ffmpeg reads the rest: ffmpeg -i FILE -pix_fmt yuv420p -f yuv4mpegpipe - | \
             lookout ... --source y4m:-",
        )),
    }
}

fn is_avi(head: &[u8]) -> bool {
    head.starts_with(b"RIFF") && head.get(8..12) == Some(b"AVI ")
}

fn codec(head: &[u8]) -> Option<&[u8]> {
    let at = head.windows(4).position(|w| w == b"vids")?;
    head.get(at + 4..at + 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specs_are_read_and_written_alike() {
        for text in [
            "v4l2:/dev/v4l/by-path/platform-xhci-usb-0:1:1.0-video-index0",
            "pipe:-,nv12,640x480@30",
            "y4m:-",
            "avi:a b.avi",
            "frames:slices",
            "frames:slices@12",
            "features:rows.csv",
            "ffmpeg:a.mp4",
            "blackbox:000001-right.lkb",
            "faulty:seed=7,drop=0.2,repeat=0,delay=0,corrupt=0,back=0:frames:slices@12",
            "clip.y4m",
        ] {
            assert_eq!(text.parse::<Spec>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_bare_device_is_a_camera_also_before_it_is_there_and_a_recording_below_dev_is_one() {
        let absent = open(&"/dev/nowhere".parse().unwrap(), &Options::default()).err().unwrap();
        assert!(matches!(&absent, SourceError::Lost { .. }), "{absent}");
        let film = format!("/dev/shm/lookout-open-{}.y4m", std::process::id());
        std::fs::write(&film, b"YUV4MPEG2 W16 H16 F10:1 Cmono\n").unwrap();
        let found = guess(&film).unwrap();
        std::fs::remove_file(&film).unwrap();
        assert_eq!(found.to_string(), format!("y4m:{film}"));
        for (text, path) in [("faulty:drop=0.1:frames:a@12", "a"), ("pipe:-,gray,32x32@5", "-"), ("x.y4m", "x.y4m")] {
            assert_eq!(text.parse::<Spec>().unwrap().path(), path);
        }
    }

    #[test]
    fn rows_by_their_ending_may_have_any_header_but_no_nul_bytes() {
        let file = std::env::temp_dir().join(format!("lookout-open-{}.csv", std::process::id()));
        let path = file.to_str().unwrap();
        std::fs::write(&file, "Zeit;°C\n1;2\n").unwrap();
        let found = guess(path).map(|spec| spec.to_string());
        assert_eq!(found.unwrap(), format!("features:{path}"));
        std::fs::write(&file, b"\xff\xfe1\0;\x002\0").unwrap();
        let refused = guess(path).unwrap_err().to_string();
        std::fs::remove_file(&file).unwrap();
        assert!(refused.contains("is it UTF-16? save it as UTF-8"), "{refused}");
    }

    #[test]
    fn what_a_source_gives_is_known_before_it_is_opened_where_it_can_be() {
        for (text, rows) in [
            ("features:-", Some(true)),
            ("faulty:drop=0.1:features:rows.csv", Some(true)),
            ("/dev/nowhere", Some(false)),
            ("pipe:-,gray,32x32@5", Some(false)),
            ("frames:slices@12", Some(false)),
            ("blackbox:000001-right.lkb", None),
            ("nowhere.y4m", None),
        ] {
            assert_eq!(text.parse::<Spec>().unwrap().gives_rows(), rows, "{text}");
        }
    }

    #[test]
    fn specs_that_make_no_sense_end_in_one_sentence() {
        for (text, says) in [
            ("", "nothing to open"),
            ("y4m:", "nothing to open"),
            ("-", "which kind"),
            ("pipe:-", "FORMAT"),
            ("frames:/nowhere@x", "rate \"x\""),
            ("faulty:drop=0.2", "faulty:FAULTS:SPEC"),
            ("faulty:drop=2:y4m:a", "drop=2"),
            ("faulty:drop=0.1:faulty:drop=0.1:y4m:a", "one set"),
        ] {
            let e = text.parse::<Spec>().unwrap_err();
            assert!(matches!(e, SourceError::Refused { .. }) && e.to_string().contains(says), "{text}: {e}");
        }
    }

    #[test]
    fn a_missing_file_or_scheme_is_named() {
        for (text, says) in [
            ("nowhere.y4m", "no such file"),
            ("mp4:x.mp4", "mp4: is no kind of source"),
            ("y4m:/", "folder"),
            ("avi:/x", "no such"),
        ] {
            let spec = text.parse::<Spec>().unwrap();
            let e = open(&spec, &Options::default()).err().map(|e| e.to_string()).unwrap_or_default();
            assert!(e.contains(says), "{text}: {e}");
        }
    }
}
