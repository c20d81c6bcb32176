//! MJPEG in AVI: what many cameras, recorders and OpenCV write.
//!
//! AVI is a tree of chunks: four letters, a size, bytes, padded to even. It is read here as a flat stream from front
//! to back, going into every list on the way and passing over what is not needed. So no index is wanted, sizes
//! of lists are never believed, a recording whose writer was killed plays as far as it goes, and the `RIFF AVIX` parts
//! of long (OpenDML) recordings simply follow. Pictures are chunks such as `00dc`; an empty one stands for a picture
//! that was left out, and takes up its time.
//!
//! Where a chunk makes no sense the next picture chunk is looked for, one largest picture further a call.

use super::input::Input;
use super::jpeg::Jpeg;
use super::{Frame, Payload, Rate, Seq, Source, SourceError, check_size};
use std::io::Read;

/// Largest description of a stream that is read.
const MAX_HEADER: u32 = 1 << 16;

/// An MJPEG recording.
pub struct Avi {
    input: Input,
    jpeg: Jpeg,
    video: Video,
    picture: Vec<u8>,
    head: [u8; 8],
    state: State,
    /// The picture that comes next.
    n: u64,
}

/// What comes next in the file.
#[derive(Clone, Copy)]
enum State {
    /// The head of a chunk, of which so many bytes are there.
    Head(usize),
    /// The rest of picture `n - 1`.
    Picture,
    /// No idea: a picture is looked for.
    Lost,
    /// Nothing.
    End,
}

/// The stream of pictures, from its headers.
#[derive(Debug)]
struct Video {
    /// `00dc`, with the stream's number.
    id: [u8; 4],
    width: usize,
    height: usize,
    rate: Rate,
    frames: Option<u64>,
}

impl Avi {
    /// Opens a file and reads its headers. `luma_only`: see [`Jpeg::luma_only`].
    ///
    /// # Errors
    /// [`SourceError::Refused`] for a missing file, one that is not an AVI or one that holds no MJPEG.
    pub fn open(path: &str, luma_only: bool) -> Result<Self, SourceError> {
        Self::begin(Input::open(path)?, luma_only)
    }

    /// Reads a recording from anything. `name` is for messages.
    ///
    /// # Errors
    /// As [`Avi::open`].
    pub fn from_reader(name: &str, from: impl Read + Send + 'static, luma_only: bool) -> Result<Self, SourceError> {
        Self::begin(Input::new(name, None, Box::new(from)), luma_only)
    }

    /// Reads the headers.
    pub(super) fn begin(mut input: Input, luma_only: bool) -> Result<Self, SourceError> {
        let video = headers(&mut input)?;
        let jpeg = if luma_only { Jpeg::luma_only() } else { Jpeg::new() };
        Ok(Self { input, jpeg, video, picture: Vec::new(), head: [0; 8], state: State::Head(0), n: 0 })
    }

    /// A coded picture larger than this is not one.
    fn largest(&self) -> u32 {
        (self.video.width * self.video.height * 3 + (1 << 16)) as u32
    }

    fn broken(&self, n: u64, why: impl Into<String>) -> SourceError {
        self.input.broken(n, why)
    }

    /// Reads the next coded picture into `picture`; false at the end.
    fn read(&mut self) -> Result<bool, SourceError> {
        loop {
            match self.state {
                State::End => return Ok(false),
                State::Lost => {
                    let (from, limit) = (self.input.at, u64::from(self.largest()));
                    if !self.input.seek(&self.video.id, limit)? {
                        if self.input.at - from == limit {
                            return Err(self.broken(self.n, format!("no picture in {limit} bytes")));
                        }
                        self.state = State::End;
                        continue;
                    }
                    self.state = State::Head(self.video.id.len());
                    self.head[..4].copy_from_slice(&self.video.id);
                }
                State::Head(from) => {
                    let got = from + self.input.fill(&mut self.head[from..])?;
                    if got < self.head.len() {
                        self.state = State::End;
                        // A last stray byte is padding.
                        return if got < 2 {
                            Ok(false)
                        } else {
                            Err(self.broken(self.n, format!("chunk cut off: {got} of 8 bytes")))
                        };
                    }
                    match self.behind_head() {
                        Ok(next) => self.state = next,
                        Err(why) => {
                            self.state = State::Lost;
                            return Err(self.broken(self.n - 1, why));
                        }
                    }
                }
                State::Picture => {
                    let got = self.input.fill(&mut self.picture)?;
                    let size = self.picture.len();
                    if got < size {
                        self.state = State::End;
                        return Err(self.broken(self.n - 1, format!("cut off: {got} of {size} bytes")));
                    }
                    self.input.skip(size as u64 & 1);
                    self.state = State::Head(0);
                    return Ok(true);
                }
            }
        }
    }

    /// What comes behind the head of a chunk, or what is wrong with it.
    fn behind_head(&mut self) -> Result<State, String> {
        let (id, size) = split(&self.head);
        if &id == b"RIFF" || &id == b"LIST" {
            // Go in: `AVIX`, `movi`, `rec `; what else there may be is passed over chunk by chunk.
            self.input.skip(4);
            return Ok(State::Head(0));
        }
        let picture = id[..2] == self.video.id[..2] && matches!(&id[2..], b"dc" | b"db");
        // Nobody knows where a stream ends.
        let left = self.input.bytes.map_or(u64::MAX, |bytes| bytes.saturating_sub(self.input.at));
        let (whole, most) = (u64::from(size) <= left, self.largest());
        if !picture && whole && sensible(id) {
            self.input.skip(u64::from(size) + u64::from(size & 1));
            return Ok(State::Head(0));
        }
        // A picture, or what stands in the place of one.
        self.n += 1;
        if !picture {
            Err(format!("chunk \"{}\" of {size} bytes makes no sense", id.escape_ascii()))
        } else if size > most {
            Err(format!("{size} bytes for a picture, expected at most {most}"))
        } else if !whole {
            Err(format!("cut off: {left} of {size} bytes"))
        } else if size == 0 {
            Ok(State::Head(0))
        } else {
            self.picture.resize(size as usize, 0);
            Ok(State::Picture)
        }
    }
}

impl Source for Avi {
    fn next(&mut self) -> Result<Option<Frame<'_>>, SourceError> {
        if !self.read()? {
            return Ok(None);
        }
        let n = self.n - 1;
        let Self { jpeg, picture, input, .. } = self;
        let image = jpeg.decode(picture).map_err(|e| match e {
            SourceError::Broken { why, .. } => input.broken(n, why),
            other => other,
        })?;
        Ok(Some(Frame { at: self.video.rate.at(n), seq: Seq(n as u32), payload: Payload::Image(image) }))
    }

    fn describe(&self) -> String {
        let Video { width, height, rate, .. } = &self.video;
        format!("{}: AVI MJPEG {width}x{height} at {rate} a second", self.input.name)
    }

    fn len_hint(&self) -> Option<u64> {
        self.video.frames
    }
}

/// Id and size of a chunk.
fn split(head: &[u8; 8]) -> ([u8; 4], u32) {
    let [a, b, c, d, s0, s1, s2, s3] = *head;
    ([a, b, c, d], u32::from_le_bytes([s0, s1, s2, s3]))
}

/// Ids are letters, digits, spaces and underlines.
fn sensible(id: [u8; 4]) -> bool {
    id.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b' ' | b'_'))
}

/// Little-endian number at `at`.
fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// Do the headers end within these first bytes of a file, or are they another file's?
pub(super) fn has_headers(bytes: &[u8]) -> bool {
    let other = bytes.len() >= 12 && (!bytes.starts_with(b"RIFF") || &bytes[8..12] != b"AVI ");
    other || bytes.windows(12).any(|w| w.starts_with(b"LIST") && w.ends_with(b"movi"))
}

/// Reads up to the pictures.
fn headers(input: &mut Input) -> Result<Video, SourceError> {
    let mut head = [0; 12];
    let got = input.patiently(|i| i.fill(&mut head))?;
    if got < 12 || &head[..4] != b"RIFF" || &head[8..] != b"AVI " {
        return Err(input.refuse(format!("begins with \"{}\", expected RIFF and AVI", head[..got].escape_ascii())));
    }
    let (mut head, mut body, mut kind) = ([0; 8], Vec::new(), [0; 4]);
    let (mut streams, mut period, mut rate, mut frames) = (0u32, 0, None, None);
    let mut video = None;
    loop {
        if input.patiently(|i| i.fill(&mut head))? < head.len() {
            return Err(input.refuse("ends within its headers"));
        }
        let (id, size) = split(&head);
        match &id {
            b"LIST" => {
                input.patiently(|i| i.fill(&mut kind))?;
                if &kind == b"movi" {
                    break;
                }
            }
            b"avih" | b"strh" | b"strf" => {
                if size > MAX_HEADER {
                    return Err(input.refuse(format!("{} has {size} bytes, expected at most {MAX_HEADER}", id.escape_ascii())));
                }
                body.clear();
                body.resize(size as usize, 0);
                if input.patiently(|i| i.fill(&mut body))? < body.len() {
                    return Err(input.refuse("ends within its headers"));
                }
                input.skip(u64::from(size & 1));
                match &id {
                    b"avih" => period = number(&body, 0).unwrap_or(0),
                    b"strh" => {
                        kind = [0; 4];
                        kind[..body.len().min(4)].copy_from_slice(&body[..body.len().min(4)]);
                        streams += 1;
                        if &kind == b"vids" && video.is_none() {
                            rate = number(&body, 24).zip(number(&body, 20)).and_then(|(r, s)| Rate::new(r, s));
                            frames = number(&body, 32).filter(|n| *n > 0).map(u64::from);
                        }
                    }
                    _ if &kind == b"vids" && video.is_none() && streams > 0 => {
                        video = Some((streams - 1, picture(&body).map_err(|w| input.refuse(w))?))
                    }
                    _ => {}
                }
            }
            _ if sensible(id) => input.skip(u64::from(size) + u64::from(size & 1)),
            _ => return Err(input.refuse(format!("chunk \"{}\" in its headers makes no sense", id.escape_ascii()))),
        }
    }
    let (stream, (width, height)) =
        video.ok_or_else(|| input.refuse(format!("{streams} streams described, none with pictures")))?;
    if stream > 99 {
        return Err(input.refuse(format!("{streams} streams, expected at most 99")));
    }
    // The stream's own rate, then the file's (microseconds a picture), then what ffmpeg takes.
    let rate = rate.or_else(|| Rate::new(1_000_000, period)).or(Rate::new(25, 1));
    let rate = rate.ok_or_else(|| input.refuse("no rate"))?;
    Ok(Video { id: [b'0' + (stream / 10) as u8, b'0' + (stream % 10) as u8, b'd', b'c'], width, height, rate, frames })
}

/// `strf` of a picture stream: width and height, where it is MJPEG of a sane size.
fn picture(format: &[u8]) -> Result<(usize, usize), String> {
    let (Some(width), Some(height), Some(codec)) = (number(format, 4), number(format, 8), format.get(16..20)) else {
        return Err(format!("stream format has {} bytes, expected 40", format.len()));
    };
    if !matches!(codec.to_ascii_uppercase().as_slice(), b"MJPG" | b"JPEG" | b"MJPA" | b"AVRN" | b"DMB1" | b"LJPG") {
        let how = "ffmpeg -i FILE -f yuv4mpegpipe - reads the rest";
        return Err(format!("pictures coded as \"{}\", expected MJPG ({how})", codec.escape_ascii()));
    }
    // A negative height says that rows run from the top, as they do in a JPEG anyway.
    let (width, height) = (width as usize, (height as i32).unsigned_abs() as usize);
    check_size(width, height)?;
    Ok((width, height))
}
