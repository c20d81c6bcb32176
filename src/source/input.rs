//! Bytes from a file, a FIFO or standard input, for the sources that read a format from front to back.
//!
//! What is no file may come from a program that has stopped, or has not begun: it is polled, and a silent second becomes
//! [`SourceError::Stalled`]. What had arrived by then is kept, so the same call made again goes on where it stopped, in the same buffer.

use super::{Fault, SourceError};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::fs::{File, Metadata};
use std::io::{BufRead, BufReader, Cursor, ErrorKind, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a source waits for bytes before it says so.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);
/// How often [`PATIENCE`] may pass before the next bytes have come, when a source is opened.
const FIRST_WAITS: u32 = 10;
/// A beginning longer than this is not waited for.
const MAX_AHEAD: usize = 1 << 20;

/// A named stream of bytes.
pub(super) struct Input {
    /// What the user called it.
    pub name: String,
    /// Its size, where it has one.
    pub bytes: Option<u64>,
    /// Bytes taken so far.
    pub at: u64,
    /// What was opened by its name.
    opened: Option<Metadata>,
    from: BufReader<Box<dyn Read + Send>>,
    /// What `arrive` has collected.
    ahead: Vec<u8>,
    /// How far the call to `fill` in progress is.
    got: usize,
    /// Bytes to pass over before anything else is read.
    over: u64,
    /// The last bytes that `seek` has seen.
    recent: u64,
}

impl Input {
    /// Opens a file or FIFO, or standard input for `-`. A FIFO may have no writer yet: nobody is waited for.
    pub fn open(path: &str) -> Result<Self, SourceError> {
        if path == "-" {
            let stdin = Polled { from: rustix::stdio::stdin(), patience: PATIENCE };
            return Ok(Self::new("standard input", None, Box::new(stdin)));
        }
        let (meta, from) = readable(Path::new(path), PATIENCE).map_err(|e| unopened(path, &e))?;
        if meta.is_dir() {
            return Err(refused(path, "a folder, expected a file (frames:DIR reads a folder of pictures)"));
        }
        let bytes = meta.is_file().then_some(meta.len());
        Ok(Self { opened: Some(meta), ..Self::new(path, bytes, from) })
    }

    /// Reads from anything.
    pub fn new(name: &str, bytes: Option<u64>, from: Box<dyn Read + Send>) -> Self {
        let from = BufReader::with_capacity(1 << 16, from);
        Self { name: name.into(), bytes, at: 0, opened: None, from, ahead: Vec::new(), got: 0, over: 0, recent: 0 }
    }

    /// Does its name lead to another file by now? Not where it leads nowhere: whoever writes into ours may go on.
    pub fn is_another(&self) -> bool {
        let file = |meta: &Metadata| (meta.dev(), meta.ino());
        let named = std::fs::metadata(&self.name).ok();
        named.is_some_and(|named| self.opened.as_ref().is_some_and(|ours| file(ours) != file(&named)))
    }

    /// A FIFO whose writer is gone is opened again, and waits for the next one. What stands in its place, or nothing, is [`SourceError::Lost`]: it may
    /// be a FIFO again in a moment.
    pub fn again(&mut self) -> Result<(), SourceError> {
        // A device that is at its end would be so again at once.
        if !self.opened.as_ref().is_some_and(|ours| ours.file_type().is_fifo()) {
            return Err(lost(&self.name, "it ended"));
        }
        let next = match Self::open(&self.name) {
            Ok(next) if next.bytes.is_some() => Err(self.refuse("a file, expected a FIFO")),
            other => other,
        };
        *self = next.map_err(may_come)?;
        Ok(())
    }

    /// Waits until `enough` has come of the first bytes, or the end. It stalls within two seconds, however slowly they come; then it is called
    /// again. Nothing is taken: they are read behind it. Call it before anything else is read.
    pub fn arrive(&mut self, enough: fn(&[u8]) -> bool) -> Result<(), SourceError> {
        let since = Instant::now();
        loop {
            let came = match self.from.fill_buf() {
                Ok(ready) => {
                    self.ahead.extend_from_slice(ready);
                    ready.len()
                }
                Err(e) => {
                    self.trouble(&e)?;
                    continue;
                }
            };
            self.from.consume(came);
            if came == 0 || self.ahead.len() >= MAX_AHEAD || enough(&self.ahead) {
                break;
            }
            if since.elapsed() >= PATIENCE {
                return Err(SourceError::Stalled { waited: PATIENCE });
            }
        }
        let nothing: Box<dyn Read + Send> = Box::new(std::io::empty());
        // Its buffer is empty: all of it is in `ahead`.
        let rest = std::mem::replace(&mut self.from, BufReader::with_capacity(0, nothing)).into_inner();
        let whole: Box<dyn Read + Send> = Box::new(Cursor::new(std::mem::take(&mut self.ahead)).chain(rest));
        self.from = BufReader::with_capacity(1 << 16, whole);
        Ok(())
    }

    /// Fills `buf`. Fewer bytes come back only at the end of the stream.
    pub fn fill(&mut self, buf: &mut [u8]) -> Result<usize, SourceError> {
        self.pass_over()?;
        while self.got < buf.len() {
            match self.from.read(&mut buf[self.got..]) {
                Ok(0) => break,
                Ok(n) => self.got += n,
                Err(e) => self.trouble(&e)?,
            }
        }
        self.at += self.got as u64;
        Ok(std::mem::take(&mut self.got))
    }

    /// Appends to `line` up to and with a line feed, until it holds `limit` bytes, or up to the end of the stream.
    pub fn line(&mut self, line: &mut Vec<u8>, limit: usize) -> Result<(), SourceError> {
        self.pass_over()?;
        let since = Instant::now();
        while line.len() < limit && line.last() != Some(&b'\n') {
            // What comes without an end of line is no line yet, however much of it.
            if since.elapsed() >= PATIENCE {
                return Err(SourceError::Stalled { waited: PATIENCE });
            }
            let ready = match self.from.fill_buf() {
                Ok([]) => break,
                Ok(ready) => &ready[..ready.len().min(limit - line.len())],
                Err(e) => {
                    self.trouble(&e)?;
                    continue;
                }
            };
            let take = ready.iter().position(|b| *b == b'\n').map_or(ready.len(), |i| i + 1);
            line.extend_from_slice(&ready[..take]);
            self.from.consume(take);
            self.at += take as u64;
        }
        Ok(())
    }

    /// Whatever is read next, it is read from `n` bytes further on.
    pub fn skip(&mut self, n: u64) {
        self.over += n;
    }

    /// Passes over what is to be skipped; less only at the end of the stream.
    fn pass_over(&mut self) -> Result<(), SourceError> {
        while self.over > 0 {
            match self.from.fill_buf() {
                Ok([]) => break,
                Ok(ready) => {
                    let take = usize::try_from(self.over).map_or(ready.len(), |over| over.min(ready.len()));
                    self.from.consume(take);
                    self.at += take as u64;
                    self.over -= take as u64;
                }
                Err(e) => self.trouble(&e)?,
            }
        }
        Ok(())
    }

    /// Passes over bytes until just behind `mark` (at most 8 bytes), at most `limit` of them. True when it was found.
    pub fn seek(&mut self, mark: &[u8], limit: u64) -> Result<bool, SourceError> {
        let number = |bytes: &[u8]| bytes.iter().fold(0, |all, b| all << 8 | u64::from(*b));
        let (wanted, mask) = (number(mark), u64::MAX >> (64 - 8 * mark.len()));
        let mut byte = [0];
        for _ in 0..limit {
            if self.fill(&mut byte)? == 0 {
                return Ok(false);
            }
            self.recent = self.recent << 8 | u64::from(byte[0]);
            if self.recent & mask == wanted {
                self.recent = 0;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Runs `read` again over stalls, while a source is being opened.
    pub fn patiently<T>(&mut self, mut read: impl FnMut(&mut Self) -> Result<T, SourceError>) -> Result<T, SourceError> {
        for _ in 1..FIRST_WAITS {
            match read(self) {
                Err(SourceError::Stalled { .. }) => {}
                done => return done,
            }
        }
        let why = format!("nothing came within {:?}", PATIENCE * FIRST_WAITS);
        read(self).map_err(|e| if matches!(e, SourceError::Stalled { .. }) { lost(&self.name, why) } else { e })
    }

    fn trouble(&self, e: &std::io::Error) -> Result<(), SourceError> {
        match e.kind() {
            ErrorKind::Interrupted => Ok(()),
            ErrorKind::TimedOut => Err(SourceError::Stalled { waited: PATIENCE }),
            _ => Err(lost(&self.name, words(e))),
        }
    }

    /// An error about this stream that nothing will mend.
    pub fn refuse(&self, why: impl Into<String>) -> SourceError {
        refused(&self.name, why)
    }

    /// An error about one frame of it.
    pub fn broken(&self, n: u64, why: impl Into<String>) -> SourceError {
        SourceError::Broken { what: format!("{} frame {n}", self.name), why: why.into() }
    }
}

/// [`SourceError::Refused`].
pub(super) fn refused(what: &str, why: impl Into<String>) -> SourceError {
    SourceError::Refused { what: what.into(), why: why.into() }
}

/// [`SourceError::Lost`].
pub(super) fn lost(device: &str, why: impl Into<String>) -> SourceError {
    SourceError::Lost { device: device.into(), why: why.into(), fault: Fault::Unplugged }
}

/// What is refused of a name that may be a FIFO again, or soon, is [`SourceError::Lost`].
pub(crate) fn may_come(e: SourceError) -> SourceError {
    match e {
        SourceError::Refused { what, why } => {
            let fault = if Path::new(&what).exists() { Fault::Refuses } else { Fault::Absent };
            SourceError::Lost { device: what, why, fault }
        }
        e => e,
    }
}

/// Why `path` could not be opened or looked at: [`SourceError::Lost`] where that [`passes`], [`SourceError::Refused`] else.
pub(super) fn unopened(path: &str, e: &std::io::Error) -> SourceError {
    if passes(e) {
        return SourceError::Lost { device: path.into(), why: words(e), fault: Fault::Refuses };
    }
    refused(path, words(e))
}

/// Is it this moment's trouble, whatever was asked for: too many open files or programs, no memory, a disk that does not answer?
pub(super) fn passes(e: &std::io::Error) -> bool {
    matches!(Errno::from_io_error(e), Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::AGAIN | Errno::IO))
}

/// What the system said, without its error number.
pub(super) fn words(e: &std::io::Error) -> String {
    match e.kind() {
        ErrorKind::NotFound => "no such file".into(),
        ErrorKind::PermissionDenied => "permission denied".into(),
        ErrorKind::IsADirectory => "a folder, expected a file".into(),
        _ => e.to_string().split(" (os error").next().unwrap_or_default().to_lowercase(),
    }
}

/// True as soon as a read from `fd` will not block, false when `patience` (whole seconds) has passed.
pub(super) fn ready(fd: impl AsFd, patience: Duration) -> rustix::io::Result<bool> {
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    let patience = Timespec { tv_sec: patience.as_secs() as i64, tv_nsec: 0 };
    poll(&mut fds, Some(&patience)).map(|n| n > 0)
}

/// Opens a file, or what is none: nobody is waited for at the other end of a FIFO, and a read of it that brings nothing within `patience` (whole seconds)
/// is an error of kind `TimedOut`.
pub(crate) fn readable(path: &Path, patience: Duration) -> std::io::Result<(Metadata, Box<dyn Read + Send>)> {
    let file = File::options().read(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(path)?;
    let meta = file.metadata()?;
    let from: Box<dyn Read + Send> = if meta.is_file() { Box::new(file) } else { Box::new(Polled { from: file, patience }) };
    Ok((meta, from))
}

/// A stream that times out.
struct Polled<F> {
    from: F,
    patience: Duration,
}

impl<F: AsFd> Read for Polled<F> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        if !ready(&self.from, self.patience)? {
            return Err(std::io::Error::new(ErrorKind::TimedOut, format!("nothing came within {:?}", self.patience)));
        }
        match rustix::io::read(&self.from, buf) {
            // Another reader was quicker: it is looked at again.
            Err(Errno::AGAIN) => Err(ErrorKind::Interrupted.into()),
            done => done.map_err(std::io::Error::from),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Half a line comes for ever, as from a program that ends its lines otherwise: whoever waits for it is heard in between.
    #[test]
    fn what_never_ends_a_line_stalls_and_keeps_what_came() {
        struct Drip;
        impl Read for Drip {
            fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
                std::thread::sleep(Duration::from_millis(100));
                buf[0] = b'7';
                Ok(1)
            }
        }
        let (mut input, mut line) = (Input::new("drip", None, Box::new(Drip)), Vec::new());
        for _ in 0..2 {
            let before = line.len();
            assert!(matches!(input.line(&mut line, 1 << 20), Err(SourceError::Stalled { .. })));
            assert!(line.len() > before, "what came is kept");
        }
    }

    #[test]
    fn what_only_the_moment_is_to_blame_for_is_tried_again() {
        let said = |e: Errno| unopened("a.y4m", &e.into());
        for passing in [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::IO] {
            assert!(matches!(said(passing), SourceError::Lost { .. }), "{passing:?}");
        }
        for lasting in [Errno::NOENT, Errno::ACCESS, Errno::NOTDIR, Errno::LOOP] {
            assert!(matches!(said(lasting), SourceError::Refused { .. }), "{lasting:?}");
        }
    }
}
