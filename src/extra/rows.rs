//! Rows of numbers from another program: an IMU, a microphone's level, anything that can print.
//!
//! A FIFO (`mkfifo`) gives a row a line, as it comes; its writer may die and come back, and half a line that it left is dropped. A plain
//! file is looked at ten times a second and its last whole line taken whenever it was written anew; what lay there before we looked is of
//! unknown age and does not count. Numbers are written as for `features:` ([`crate::source::rows`]); `nan` says that the sensor does not know.

use super::listen::Device;
use crate::report::port::PortError;
use crate::source::rows::{Parsed, parse};
use heapless::Vec as Bounded;
use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Longest row in bytes: 64 numbers of 16 characters.
pub const MAX_ROW: usize = 1024;
/// A FIFO that says nothing is looked for again this often: another one may have taken its name.
const SAME: Duration = Duration::from_secs(1);

/// See the module's documentation.
#[derive(Debug)]
pub struct Rows {
    path: PathBuf,
    from: Option<From>,
    lines: Lines,
}

#[derive(Debug)]
enum From {
    /// And when it last gave something, or was looked for.
    Fifo(OwnedFd, Instant),
    /// What of it was last seen: file, length, time of writing.
    File((u64, i64, i64, u64)),
}

impl Rows {
    /// Rows from this FIFO or file, not yet opened.
    pub fn new(path: PathBuf) -> Self {
        Self { path, from: None, lines: Lines::default() }
    }

    fn written(&self) -> Result<(u64, i64, i64, u64), String> {
        let s: Stat = rustix::fs::stat(&self.path).map_err(|e| e.to_string())?;
        #[allow(clippy::unnecessary_cast, clippy::useless_conversion, reason = "these types differ between processors")]
        Ok((s.st_ino as u64, s.st_size as i64, s.st_mtime as i64, s.st_mtime_nsec as u64))
    }
}

impl Device for Rows {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn silence(&self) -> &'static str {
        "no row with the number that is asked for"
    }

    fn open(&mut self) -> Result<(), PortError> {
        self.lines = Lines::default();
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = rustix::fs::open(&self.path, flags, Mode::empty()).map_err(|e| match e {
            Errno::NOENT => PortError::NotNow("is not there".into()),
            e => PortError::NotNow(format!("cannot be opened: {e}")),
        })?;
        let kind = rustix::fs::fstat(&fd).map(|s| FileType::from_raw_mode(s.st_mode));
        self.from = Some(match kind {
            Ok(FileType::Fifo) => From::Fifo(fd, Instant::now()),
            Ok(FileType::RegularFile) => From::File(self.written().map_err(PortError::NotNow)?),
            Ok(FileType::Directory) => {
                return Err(PortError::Never("is a folder, a FIFO (mkfifo makes one) or a file expected".into()));
            }
            // Devices too: /dev/null is at its end for ever, /dev/zero never.
            _ => return Err(PortError::Never("is neither a FIFO (mkfifo makes one) nor a file".into())),
        });
        Ok(())
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.from {
            Some(From::Fifo(fd, _)) => Some(fd.as_fd()),
            _ => None,
        }
    }

    fn read(&mut self, heard: &mut dyn FnMut(&[f32])) -> Result<(), String> {
        let mut bytes = [0; MAX_ROW];
        match &mut self.from {
            Some(From::Fifo(fd, heard_at)) => {
                // Bounded, so that a flood cannot keep the thread from looking up.
                for _ in 0..16 {
                    match rustix::io::read(&*fd, &mut bytes) {
                        Ok(0) => {
                            // The writer is gone; a FIFO opened anew waits for the next one.
                            return self.open().map_err(|(PortError::Never(why) | PortError::NotNow(why))| why);
                        }
                        Ok(n) => {
                            *heard_at = Instant::now();
                            self.lines.feed(&bytes[..n], heard);
                        }
                        Err(Errno::AGAIN) => break,
                        Err(Errno::INTR) => {}
                        Err(e) => return Err(e.to_string()),
                    }
                }
                if heard_at.elapsed() > SAME {
                    *heard_at = Instant::now();
                    let file = |s: Stat| (s.st_dev, s.st_ino);
                    let (ours, named) = (rustix::fs::fstat(&*fd).map(file), rustix::fs::stat(&self.path).map(file));
                    if ours != named {
                        return Err("is another one now".into());
                    }
                }
                Ok(())
            }
            Some(From::File(seen)) => {
                let before = *seen;
                let now = self.written()?;
                if now == before {
                    return Ok(());
                }
                self.from = Some(From::File(now));
                let mut file = File::open(&self.path).map_err(|e| e.to_string())?;
                // The longest row, and the line ends on either side of it.
                let back = MAX_ROW as u64 + 2;
                let first = u64::try_from(now.1).unwrap_or(0).saturating_sub(back);
                file.seek(SeekFrom::Start(first)).map_err(|e| e.to_string())?;
                let mut tail = Vec::with_capacity(MAX_ROW + 2);
                file.take(back).read_to_end(&mut tail).map_err(|e| e.to_string())?;
                let whole = tail.iter().rposition(|b| *b == b'\n').map_or(0, |n| n + 1);
                let before = tail[..whole.saturating_sub(1)].iter().rposition(|b| *b == b'\n').map(|n| n + 1);
                // A row whose beginning is not here is too long, as one out of a FIFO would be.
                if let Some(from) = before.or((first == 0).then_some(0)) {
                    self.lines.feed(&tail[from..whole], heard);
                }
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn close(&mut self) {
        self.from = None;
    }
}

/// Cuts what comes into lines and those into numbers.
#[derive(Debug, Default)]
pub struct Lines {
    line: Bounded<u8, MAX_ROW>,
    /// The rest of a line that is too long is being passed over.
    long: bool,
    row: Vec<f32>,
}

impl Lines {
    /// Calls `heard` with every whole row in `bytes` and what came before them. Lines that are no row of numbers are passed over.
    pub fn feed(&mut self, bytes: &[u8], heard: &mut dyn FnMut(&[f32])) {
        for &byte in bytes {
            if byte != b'\n' {
                self.long |= self.line.push(byte).is_err();
                continue;
            }
            if !self.long && matches!(parse(&self.line, &mut self.row), Ok(Parsed::Row)) {
                heard(&self.row);
            }
            self.line.clear();
            self.long = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_whole_whatever_pieces_they_come_in() {
        let text = format!("x y\n1 2\n3,nan\n\n4 x\n{}\n5;6\r\n7 8", "9 ".repeat(MAX_ROW));
        for piece in [1, 7, 4096] {
            let (mut lines, mut found) = (Lines::default(), vec![]);
            text.as_bytes().chunks(piece).for_each(|bytes| lines.feed(bytes, &mut |row| found.push(format!("{row:?}"))));
            assert_eq!(found, ["[1.0, 2.0]", "[3.0, NaN]", "[5.0, 6.0]"], "in pieces of {piece}");
        }
    }

    #[test]
    fn a_file_is_heard_when_it_is_written_anew_and_only_its_last_whole_line() {
        let path = std::env::temp_dir().join(format!("lookout-extra-file-{}", std::process::id()));
        std::fs::write(&path, "1\n").unwrap();
        let mut rows = Rows::new(path.clone());
        assert!(rows.open().is_ok());
        let heard = |rows: &mut Rows| {
            let mut found = vec![];
            rows.read(&mut |row| found.extend_from_slice(row)).unwrap();
            found
        };
        assert!(heard(&mut rows).is_empty(), "of unknown age");
        std::fs::write(&path, "2\n3\n4").unwrap();
        assert_eq!(heard(&mut rows), [3.0]);
        assert!(heard(&mut rows).is_empty());
        // Of a row that is too long the end is no row.
        std::fs::write(&path, format!("6\n{}\n", "1000 ".repeat(MAX_ROW / 4))).unwrap();
        assert!(heard(&mut rows).is_empty());
        std::fs::write(&path, format!("{}\n7\n", "1000 ".repeat(MAX_ROW / 4))).unwrap();
        assert_eq!(heard(&mut rows), [7.0]);
        std::fs::remove_file(path).unwrap();
        assert!(rows.read(&mut |_| {}).is_err());
    }

    #[test]
    fn what_took_the_place_of_a_fifo_is_looked_at_when_its_writer_goes() {
        let path = std::env::temp_dir().join(format!("lookout-extra-place-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        rustix::fs::mknodat(rustix::fs::CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        let mut rows = Rows::new(path.clone());
        assert!(rows.open().is_ok());
        let writer = File::options().write(true).open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/dev/null", &path).unwrap();
        drop(writer);
        assert_eq!(rows.read(&mut |_| {}).unwrap_err(), "is neither a FIFO (mkfifo makes one) nor a file");
        std::fs::remove_file(path).unwrap();
    }
}
