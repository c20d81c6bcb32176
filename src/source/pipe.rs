//! Raw frames on standard input or from a FIFO: how CSI cameras come in.
//!
//! `rpicam-vid --codec yuv420 -o -` and `gst-launch-1.0 ... ! fdsink` write bare frames, one after the other, so format
//! and size have to be said: `pipe:-,yuv420,640x480@30`. Live frames are stamped with CLOCK_MONOTONIC when their last byte has
//! come. In a replay (asked for, or a plain file) frame n is stamped n / rate, and the end of the stream is the end.
//!
//! Reads are polled: a silent second is [`SourceError::Stalled`]. Standard input ends when its writer goes. A FIFO does not:
//! it is opened again and waits for the next writer; so it is when it is silent and its name leads to another one by now.
//!
//! Raw frames have no mark. Where one writer takes another's place while this program stands still (SIGSTOP) the end of the first is never seen: a frame
//! that it left unfinished is filled up with the next writer's, and all frames stay shifted until that one ends or this program is started again.

use super::input::{PATIENCE, lost, ready, refused, unopened, words};
use super::{Fault, Frame, Image, Payload, PixelFormat, Rate, Seq, Source, SourceError, Timestamp, check_size};
use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::str::FromStr;

/// A camera is not this many times as fast as it is said to be: what comes so fast was recorded.
const HURRY: u32 = 4;

/// What comes through the pipe: the part after `pipe:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PipeSpec {
    /// `-` or a path.
    pub path: String,
    /// Layout of a frame, without padding between rows.
    pub format: PixelFormat,
    /// Pixels.
    pub width: usize,
    /// Pixels.
    pub height: usize,
    /// Frames a second: what a replay is stamped by; live frames bring their own time.
    pub rate: Rate,
}

/// Names of the formats, the usual one of several first.
const FORMATS: [(&str, PixelFormat); 9] = [
    ("yuv420", PixelFormat::I420),
    ("i420", PixelFormat::I420),
    ("yuv420p", PixelFormat::I420),
    ("nv12", PixelFormat::Nv12),
    ("yuyv", PixelFormat::Yuyv),
    ("yuyv422", PixelFormat::Yuyv),
    ("gray", PixelFormat::Gray),
    ("grey", PixelFormat::Gray),
    ("rgb24", PixelFormat::Rgb),
];

/// `-,nv12,640x480@30`
impl FromStr for PipeSpec {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let shape = || format!("pipe:{text}, expected pipe:PATH,FORMAT,WIDTHxHEIGHT@RATE such as pipe:-,nv12,640x480@30");
        let mut parts = text.rsplitn(3, ',');
        let (size, format, path) = (parts.next(), parts.next(), parts.next());
        let (Some(size), Some(format), Some(path)) = (size, format, path) else { return Err(shape()) };
        let (size, rate) = size.split_once('@').ok_or_else(shape)?;
        let (width, height) = size.split_once('x').ok_or_else(shape)?;
        let side = |t: &str| t.parse::<usize>().map_err(|_| shape());
        let (width, height) = (side(width)?, side(height)?);
        if path.is_empty() {
            return Err(shape());
        }
        let format = FORMATS.iter().find(|(name, _)| *name == format).map(|(_, f)| *f);
        let format = format.ok_or_else(|| format!("{}: expected yuv420, nv12, yuyv, gray or rgb24 for the format", shape()))?;
        check_size(width, height)?;
        Ok(Self { path: path.into(), format, width, height, rate: rate.parse()? })
    }
}

impl fmt::Display for PipeSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = FORMATS.iter().find(|(_, p)| *p == self.format).map_or("?", |(name, _)| name);
        write!(f, "{},{name},{}x{}@{}", self.path, self.width, self.height, self.rate)
    }
}

/// Raw frames from a pipe.
#[derive(Debug)]
pub struct Pipe {
    spec: PipeSpec,
    end: End,
    replay: bool,
    frame: Vec<u8>,
    stride: usize,
    got: usize,
    n: u64,
    /// When the first frame was whole.
    first: Option<Timestamp>,
    done: bool,
}

/// What is read from.
#[derive(Debug)]
enum End {
    Stdin,
    Fifo(OwnedFd),
    File(OwnedFd),
}

impl Pipe {
    /// Opens the pipe; does not wait for a writer. `replay`: stamp by count instead of by the clock.
    ///
    /// # Errors
    /// [`SourceError::Lost`] for a path that is not there or may not be opened, [`SourceError::Refused`] for one that is neither a FIFO nor a file.
    pub fn open(spec: &PipeSpec, replay: bool) -> Result<Self, SourceError> {
        let end = if spec.path == "-" { End::Stdin } else { open(&spec.path)? };
        let stdin = rustix::fs::fstat(rustix::stdio::stdin()).map(|s| FileType::from_raw_mode(s.st_mode));
        let file = matches!(end, End::File(_)) || (matches!(end, End::Stdin) && stdin == Ok(FileType::RegularFile));
        let stride = spec.format.min_stride(spec.width);
        let bytes = spec.format.frame_bytes(spec.width, spec.height, stride);
        let bytes = bytes.ok_or_else(|| refused(&spec.path, format!("{}x{} is no picture", spec.width, spec.height)))?;
        let frame = vec![0; bytes];
        Ok(Self { spec: spec.clone(), end, replay: replay || file, frame, stride, got: 0, n: 0, first: None, done: false })
    }

    /// Reads until the frame is whole; false at the end of the stream.
    fn read(&mut self) -> Result<bool, SourceError> {
        while !self.done && self.got < self.frame.len() {
            let fd: BorrowedFd<'_> = match &self.end {
                End::Stdin => rustix::stdio::stdin(),
                End::Fifo(fd) | End::File(fd) => fd.as_fd(),
            };
            let read = match ready(fd, PATIENCE) {
                Ok(true) => rustix::io::read(fd, &mut self.frame[self.got..]),
                // Whoever comes to write will never find ours.
                Ok(false) if self.is_another() => Ok(0),
                Ok(false) => return Err(SourceError::Stalled { waited: PATIENCE }),
                Err(e) => Err(e),
            };
            match read {
                Ok(0) => {
                    self.writer_gone()?;
                }
                Ok(n) => self.got += n,
                // INTR: a signal. AGAIN: another reader was quicker; poll again.
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(e) => return Err(lost(&self.spec.path, words(&e.into()))),
            }
        }
        Ok(!self.done)
    }

    /// Does the name of a live FIFO lead to another one by now? Not where it leads nowhere: whoever writes into ours may go on.
    fn is_another(&self) -> bool {
        let End::Fifo(fd) = &self.end else { return false };
        let file = |s: Stat| (s.st_dev, s.st_ino);
        let ours = rustix::fs::fstat(fd).map(file);
        !self.replay && rustix::fs::stat(self.spec.path.as_str()).map(file).is_ok_and(|named| ours != Ok(named))
    }

    /// End of the stream, or a FIFO without a writer.
    fn writer_gone(&mut self) -> Result<(), SourceError> {
        match &self.end {
            End::Fifo(fd) if !self.replay => {
                let kind = rustix::fs::fstat(fd).map(|s| FileType::from_raw_mode(s.st_mode));
                // A device that is at its end would be so again at once.
                if kind != Ok(FileType::Fifo) {
                    return Err(lost(&self.spec.path, "it ended"));
                }
                // Whatever stands in its place, it may be a FIFO again in a moment.
                let refuses = |device, why| SourceError::Lost { device, why, fault: Fault::Refuses };
                self.end = match open(&self.spec.path) {
                    Ok(End::File(_)) => Err(refuses(self.spec.path.clone(), "a file, expected a FIFO".into())),
                    Err(SourceError::Refused { what, why }) => Err(refuses(what, why)),
                    other => other,
                }?;
            }
            _ => {
                self.done = true;
                self.say_if_recorded();
            }
        }
        match std::mem::take(&mut self.got) {
            0 => Ok(()),
            got => {
                let why = format!("cut off: {got} of {} bytes when the writer went away", self.frame.len());
                let what = format!("{} frame {}", self.spec.path, self.n);
                // It has its number: who counts the holes finds it among the damaged ones.
                self.n += 1;
                Err(SourceError::Broken { what, why })
            }
        }
    }

    /// At the end of a stream that was taken for a camera's: says so where it came too fast for one, because then most of it was for no tick.
    fn say_if_recorded(&self) {
        let Some(first) = self.first.filter(|_| !self.replay) else { return };
        let (n, took) = (self.n, Timestamp::now().since(first));
        let long = self.spec.rate.at(n - 1).since(Timestamp::default());
        if took * HURRY < long {
            log::warn!(
                "pipe:{}: {n} frames, {:.1} s of them, came within {:.1} s: they were taken as a camera's, and most were passed over; a recording is \
                 played by `lookout classify`, or as y4m:-",
                self.spec,
                long.as_secs_f32(),
                took.as_secs_f32()
            );
        }
    }
}

/// Opens a FIFO or a file without waiting.
fn open(path: &str) -> Result<End, SourceError> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(|e| {
        let lost = |why: &str, fault| SourceError::Lost { device: path.into(), why: why.into(), fault };
        match e {
            // Whoever makes it has not come yet, or has yet to give it to us.
            Errno::NOENT => lost("no such file; mkfifo makes a pipe", Fault::Absent),
            Errno::ACCESS | Errno::PERM => lost("no right to read it; chgrp and chmod give it", Fault::NoRights),
            e => unopened(path, &e.into()),
        }
    })?;
    let kind = rustix::fs::fstat(&fd).map(|s| FileType::from_raw_mode(s.st_mode));
    match kind {
        Ok(FileType::Fifo | FileType::CharacterDevice | FileType::Socket) => Ok(End::Fifo(fd)),
        Ok(FileType::RegularFile) => Ok(End::File(fd)),
        Ok(FileType::Directory) => Err(refused(path, "a folder, expected a FIFO (mkfifo makes one) or a file")),
        Ok(other) => Err(refused(path, format!("{other:?}, expected a FIFO (mkfifo makes one) or a file"))),
        Err(e) => Err(unopened(path, &e.into())),
    }
}

impl Source for Pipe {
    fn next(&mut self) -> Result<Option<Frame<'_>>, SourceError> {
        if !self.read()? {
            return Ok(None);
        }
        self.got = 0;
        let n = self.n;
        self.n += 1;
        let at = if self.replay { self.spec.rate.at(n) } else { Timestamp::now() };
        self.first.get_or_insert(at);
        let PipeSpec { format, width, height, .. } = self.spec;
        let image = Image::new(format, width, height, self.stride, &self.frame)?;
        Ok(Some(Frame { at, seq: Seq(n as u32), payload: Payload::Image(image) }))
    }

    fn describe(&self) -> String {
        let how = if self.replay { "stamped by count" } else { "live" };
        format!("pipe:{} ({} bytes a frame, {how})", self.spec, self.frame.len())
    }

    fn is_live(&self) -> bool {
        !self.replay
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_spec_is_read_and_written_alike() {
        let spec: PipeSpec = "/tmp/a,b,nv12,640x480@30000/1001".parse().unwrap();
        assert_eq!((spec.path.as_str(), spec.format), ("/tmp/a,b", PixelFormat::Nv12));
        assert_eq!(spec.to_string().parse(), Ok(spec));
        for text in
            ["", "-", "-,nv12", "-,nv12,640x480", "-,nv12,640@30", "-,h264,640x480@30", "-,nv12,0x480@30", "-,nv12,99999x1@30"]
        {
            assert!(text.parse::<PipeSpec>().is_err(), "{text}");
        }
        assert!("-,nv12,640x480@0".parse::<PipeSpec>().is_err());
    }

    #[test]
    fn a_plain_file_is_a_replay_with_a_sentence_for_its_short_end() {
        let path = std::env::temp_dir().join(format!("lookout-pipe-{}", std::process::id()));
        std::fs::write(&path, b"abcdefghi").unwrap();
        let spec = format!("{},gray,2x2@10", path.display()).parse().unwrap();
        let mut pipe = Pipe::open(&spec, false).unwrap();
        for (n, bytes) in [b"abcd", b"efgh"].into_iter().enumerate() {
            let frame = pipe.next().unwrap().unwrap();
            let Payload::Image(image) = frame.payload else { panic!() };
            assert_eq!((frame.at, image.data()), (Timestamp::from_ms(n as u64 * 100), &bytes[..]));
        }
        assert!(pipe.next().unwrap_err().to_string().contains("frame 2: cut off: 1 of 4 bytes"));
        assert!(pipe.next().unwrap().is_none());
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_fifo_stalls_delivers_and_waits_for_the_next_writer() {
        let path = std::env::temp_dir().join(format!("lookout-fifo-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        rustix::fs::mknodat(rustix::fs::CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        let spec = format!("{},gray,2x2@10", path.display()).parse().unwrap();
        let mut pipe = Pipe::open(&spec, false).unwrap();
        assert!(matches!(pipe.next(), Err(SourceError::Stalled { .. })), "nobody writes yet");
        for _ in 0..2 {
            let mut writer = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
            let before = Timestamp::now();
            writer.write_all(b"abcdef").unwrap();
            let frame = pipe.next().unwrap().unwrap();
            assert!(frame.at >= before, "stamped by the clock");
            drop(writer);
            assert!(pipe.next().unwrap_err().to_string().contains("2 of 4 bytes when the writer went away"));
        }
        assert!(matches!(pipe.next(), Err(SourceError::Stalled { .. })), "waits again");
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_fifo_that_was_made_anew_is_found_and_one_that_lost_its_name_is_kept() {
        let path = std::env::temp_dir().join(format!("lookout-anew-{}", std::process::id()));
        let anew = || {
            let _ = std::fs::remove_file(&path);
            rustix::fs::mknodat(rustix::fs::CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
            // Both ends: whoever opens one alone waits for the other.
            std::fs::File::options().read(true).write(true).open(&path).unwrap()
        };
        let mut before = anew();
        let spec = format!("{},gray,2x2@10", path.display()).parse().unwrap();
        let mut pipe = Pipe::open(&spec, false).unwrap();
        std::fs::remove_file(&path).unwrap();
        before.write_all(b"ab").unwrap();
        assert!(matches!(pipe.next(), Err(SourceError::Stalled { .. })), "a pause");
        before.write_all(b"cdef").unwrap();
        assert!(pipe.next().unwrap().is_some(), "nothing was lost");
        let mut after = anew();
        after.write_all(b"ghij").unwrap();
        assert!(pipe.next().unwrap_err().to_string().contains("frame 1: cut off: 2 of 4 bytes"));
        let Payload::Image(image) = pipe.next().unwrap().unwrap().payload else { panic!() };
        assert_eq!(image.data(), b"ghij");
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn what_stands_in_the_place_of_a_fifo_for_a_moment_is_no_refusal() {
        let path = std::env::temp_dir().join(format!("lookout-place-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        rustix::fs::mknodat(rustix::fs::CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        let spec = format!("{},gray,2x2@10", path.display()).parse().unwrap();
        let mut pipe = Pipe::open(&spec, false).unwrap();
        let writer = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        drop(writer);
        let lost = pipe.next().unwrap_err();
        assert!(matches!(&lost, SourceError::Lost { fault: Fault::Refuses, why, .. } if why.contains("a folder")), "{lost:?}");
        assert!(matches!(Pipe::open(&spec, false), Err(SourceError::Refused { .. })), "at the start it is a wrong path");
        std::fs::remove_dir(path).unwrap();
    }
}
