//! Sentences or JSON lines to standard output, to a file or to a FIFO.
//!
//! One line is one write, so that lines of several writers never mix. After a failed write the next line starts with a
//! line end, so that a reader sees one damaged line and not two merged ones. A pipe that nobody will read again ends the
//! sink quietly; a full or read-only disk costs lines, is said once a minute and costs nothing else.
//!
//! A card that went away takes lines into the kernel's memory as if nothing had happened; that they are lost comes out when the file is synced. So
//! it is, once in [`SYNC`]. After any failure but a full disk the file is let go, so that the dead card can be unmounted, and opened again once the
//! card is back. A dead one may well be opened: the first line after that is synced at once.
//!
//! Just as often the file is looked for by its name: where somebody moved it (logrotate, another run with the same file) or deleted it, or mounted another
//! disk over it, it is made anew. A live run begins without one that cannot be had yet, so that other sinks are not silent for it, and goes on trying.
//!
//! A box without a clock of its own knows only later when it began: what a run begins with is said again when the clock was set.
//!
//! A FIFO whose reader is not there yet is no hindrance to whoever watches, and one whose reader left waits for the next: a service outlives its
//! readers. Until there is one, reports stay in the outbox, as for a reader who takes nothing. The reader of a recording who leaves has seen enough.

use super::outbox::{Outbox, Parcel, timespec};
use super::sentence::Sentence;
use super::writer::Writer;
use super::{FIRST_YEAR, Identity, Pace, ReportError, json};
use crate::complaint::Complaint;
use crate::source::Timestamp;
use crate::store::hand_over;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What was written is synced this often: as the kernel does it by itself (`dirty_expire_centisecs`), so a card wears no faster.
const SYNC: Duration = Duration::from_secs(30);
/// A file that failed is tried again this often: some file systems log four lines at each try.
const AGAIN: Duration = Duration::from_millis(if cfg!(test) { 50 } else { 5_000 });

/// How often a writer that waits looks whether it is to end, or a FIFO has a reader.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Longest report file of a live source, bytes: some two days. It becomes `FILE.1` then, in the place of an older one, so that a card never fills.
const LONGEST: u64 = if cfg!(test) { 64 } else { 8 << 20 };

/// When a run began is said again where the clock has it so much otherwise, ms: what readers make of it is promised to a few seconds.
const OFF_MS: u64 = 5_000;

/// What became of a file that has no name any more.
const DELETED: &str = "it was deleted";

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// [`sentence`](super::sentence)s, CR LF.
    Sentences,
    /// [`json`](super::json) objects, LF.
    Json,
}

impl Format {
    /// Who reports, where they begin with that.
    fn who(self, identity: &Identity) -> Option<Identity> {
        let born = identity.born.unwrap_or_else(Timestamp::now);
        (self == Self::Json).then(|| Identity { born: Some(born), ..identity.clone() })
    }

    fn line(self, parcel: &Parcel, line: &mut Vec<u8>) {
        line.clear();
        match (self, parcel) {
            (Self::Json, parcel) => json::line(parcel, line),
            (Self::Sentences, Parcel::Report(seq, report)) => {
                line.extend_from_slice(Sentence::of(*seq, report).encode().as_bytes())
            }
            (Self::Sentences, &Parcel::Gap { from, to }) => {
                line.extend_from_slice(Sentence::Gap { from, to }.encode().as_bytes())
            }
        }
    }
}

/// Ms since 1970 when a run that was born then began; `None` where the clock was never set.
fn unix_ms(born: Option<Timestamp>) -> Option<u64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok().filter(|now| *now >= FIRST_YEAR)?;
    let ago = born.map_or(Duration::ZERO, |born| Timestamp::now().since(born));
    u64::try_from(now.saturating_sub(ago).as_millis()).ok()
}

/// Standard output, as it was at this moment.
pub(super) fn stdout(format: Format, identity: &Identity, pace: Pace) -> Result<Writer, ReportError> {
    let lost = |e| ReportError::Lost { what: "stdout".into(), why: format!("cannot be written to: {e}") };
    let file = File::from(std::io::stdout().as_fd().try_clone_to_owned().map_err(lost)?);
    let (who, live) = (format.who(identity), pace == Pace::Live);
    let stream = Stream { who, live, ..Stream::new("stdout".into(), Some(file), None, false) };
    Ok(Writer::start("stdout", pace, move |outbox| stream.run(format, outbox))?.may_wait())
}

/// Appends to `path`, which is made if it is not there. A FIFO may have no reader yet: nobody is waited for.
pub(super) fn file(path: &Path, format: Format, identity: &Identity, pace: Pace) -> Result<Writer, ReportError> {
    let stream = Stream { who: format.who(identity), ..to_file(path, pace)? };
    Ok(Writer::start("file", pace, move |outbox| stream.run(format, outbox))?.may_wait())
}

fn to_file(path: &Path, pace: Pace) -> Result<Stream, ReportError> {
    let (what, live) = (path.display().to_string(), pace == Pace::Live);
    // One with a name of its own: a pipe behind /dev/stdout has none, and when its reader has left no other comes.
    let is_fifo = path.canonicalize().is_ok_and(|own| own.metadata().is_ok_and(|m| m.file_type().is_fifo()));
    let (file, missing) = match append(path, true) {
        Ok(file) => (Some(file), None),
        Err(e) if is_fifo && (live || has_no_reader(&e)) => (None, None),
        Err(e) if live && !is_for_good(&e) => (None, Some(e)),
        Err(e) => return Err(ReportError::Refused { what, why: format!("cannot be appended to: {e}") }),
    };
    let is_file = file.as_ref().is_some_and(|file| file.metadata().is_ok_and(|m| m.is_file()));
    let fifo = is_fifo.then(|| path.to_path_buf());
    // The file itself where a link leads to it: it makes way in its own folder. One without a name is taken as it is.
    let path = if missing.is_some() { Some(path.to_path_buf()) } else { path.canonicalize().ok().filter(|_| is_file) };
    // A file that may not be read is taken as it is.
    let torn = path.as_deref().is_some_and(|path| ends_in_mid_line(path).unwrap_or(false));
    let mut stream = Stream { live, fifo, ..Stream::new(what, file, path, torn) };
    if let Some(e) = missing {
        // It was on no disk yet: a card that is mounted later will do.
        stream.home = None;
        stream.let_go();
        stream.lost(&e.to_string());
    }
    Ok(stream)
}

/// Opens for appending, at once: a FIFO without a reader is an error.
fn append(path: &Path, create: bool) -> std::io::Result<File> {
    let new = create && !path.exists();
    let file = File::options().append(true).create(create).custom_flags(OFlags::NONBLOCK.bits() as i32).open(path)?;
    if new && let Ok(own) = path.canonicalize() {
        hand_over(&own);
    }
    Ok(file)
}

/// Can what has this name never be a file to append to? Rights, cards and folders come later.
fn is_for_good(e: &std::io::Error) -> bool {
    use ErrorKind::{InvalidFilename, InvalidInput, IsADirectory, NotADirectory};
    matches!(e.kind(), IsADirectory | NotADirectory | InvalidInput | InvalidFilename)
}

/// Is what a file is on still mounted, be it below something else (proc_pid_fdinfo(5), proc_pid_mountinfo(5))?
fn is_mounted(file: &File) -> bool {
    let own = |name: &str| std::fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
    let info = own(&format!("fdinfo/{}", file.as_raw_fd()));
    let id = info.lines().find_map(|line| line.strip_prefix("mnt_id:")).map(str::trim);
    id.is_some() && own("mountinfo").lines().any(|line| line.split(' ').next() == id)
}

/// The disk that the folder of a file is on.
fn disk(path: &Path) -> Option<u64> {
    Some(path.parent()?.metadata().ok()?.dev())
}

/// Where a file goes that has become long.
fn older(path: &Path) -> PathBuf {
    let mut older = path.as_os_str().to_owned();
    older.push(".1");
    older.into()
}

fn has_no_reader(e: &std::io::Error) -> bool {
    e.raw_os_error() == Some(Errno::NXIO.raw_os_error())
}

/// A run that was killed leaves half a line at the end.
fn ends_in_mid_line(path: &Path) -> std::io::Result<bool> {
    let mut file = File::open(path)?;
    let mut last = [b'\n'];
    if file.seek(SeekFrom::End(0))? > 0 {
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
    }
    Ok(last != [b'\n'])
}

struct Stream {
    name: String,
    /// `None`: it failed and was let go, or it is a FIFO that nobody reads.
    file: Option<File>,
    /// Where a file is opened again.
    path: Option<PathBuf>,
    /// The disk that it was on when it was opened last; `None`: it may be made on any.
    home: Option<u64>,
    /// Who every run says that it is, and every new file; `None`: nobody, in sentences.
    who: Option<Identity>,
    /// That has still to be said.
    fresh: bool,
    /// It was said already.
    again: bool,
    /// When the run began, as it was said last.
    began_ms: Option<u64>,
    /// It has become long and cannot make way, which was said.
    stays: bool,
    /// Where a FIFO is opened when it has a reader.
    fifo: Option<PathBuf>,
    /// The last byte that was written is not a line end.
    torn: bool,
    /// When it is to be synced, or, where it was let go, opened again.
    due: Instant,
    /// A recording's reports are one file however long, and know no time of day.
    live: bool,
    complaint: Complaint,
}

/// Nobody will ever read this again, or the time for closing is over.
struct End;

impl Stream {
    fn new(name: String, file: Option<File>, path: Option<PathBuf>, torn: bool) -> Self {
        let (due, complaint, home) = (Instant::now() + SYNC, Complaint::default(), path.as_deref().and_then(disk));
        let (who, fresh, again, began_ms, stays, fifo, live) = (None, true, false, None, false, None, false);
        Self { name, file, path, home, who, fresh, again, began_ms, stays, fifo, torn, due, live, complaint }
    }

    fn run(mut self, format: Format, outbox: &Outbox) {
        let mut line = Vec::with_capacity(512);
        if self.wait_for_reader(outbox).and_then(|()| self.write(&[], outbox)).is_err() {
            return;
        }
        loop {
            // Asked before looking: what is sent between a last look and the end would stay behind.
            let closing = outbox.closing().is_some();
            loop {
                // What nobody reads yet stays in the outbox, which knows what may be left out.
                if let Err(End) = self.wait_for_reader(outbox) {
                    return;
                }
                let Some(parcel) = outbox.pop() else { break };
                format.line(&parcel, &mut line);
                if let Err(End) = self.write(&line, outbox) {
                    return;
                }
                if self.torn || self.file.is_none() {
                    outbox.set_lost();
                }
            }
            if closing {
                if !self.live && !self.is_on_the_card() {
                    outbox.set_lost();
                }
                return;
            }
            outbox.sleep(None);
        }
    }

    fn write(&mut self, line: &[u8], outbox: &Outbox) -> Result<(), End> {
        if self.file.is_none() && self.path.is_some() {
            if Instant::now() < self.due {
                return Ok(());
            }
            if let Err(e) = self.open() {
                self.due = Instant::now() + AGAIN;
                self.lost(&e.to_string());
                return Ok(());
            }
            self.wait_for_reader(outbox)?;
        }
        if self.torn {
            self.torn = self.put(b"\n", outbox)?;
        }
        if self.fresh && !self.torn {
            let begin = self.begin();
            self.torn = self.put(&begin, outbox)?;
            (self.fresh, self.again) = (self.torn, self.again || !self.torn);
        }
        if !self.torn {
            self.torn = self.put(line, outbox)?;
        }
        if let Some(file) = &self.file
            && Instant::now() >= self.due
        {
            let synced = if self.path.is_some() { file.sync_data() } else { Ok(()) };
            self.due = Instant::now() + SYNC;
            if let Err(e) = synced.and_then(|()| self.follow(outbox)) {
                self.let_go();
                self.lost(&e.to_string());
            }
            self.fresh |= self.clock_was_set();
        }
        if self.file.is_some() && !self.torn {
            self.complaint.end(format_args!("{}: written again", self.name));
        }
        Ok(())
    }

    /// What a run and each of its files begin with.
    fn begin(&mut self) -> Vec<u8> {
        let mut line = Vec::new();
        self.began_ms = self.by_the_clock().or(self.began_ms);
        if let Some(who) = &self.who {
            let begin = if self.again { json::begin_again } else { json::begin };
            begin(who, self.began_ms, &mut line);
        }
        line
    }

    /// When the run began, as the clock has it now; of a recording `None`, so that it is the same bytes every time.
    fn by_the_clock(&self) -> Option<u64> {
        self.who.as_ref().filter(|_| self.live).and_then(|who| unix_ms(who.born))
    }

    /// Was the clock set since that was said last?
    fn clock_was_set(&self) -> bool {
        let off = |now: u64| self.began_ms.is_none_or(|said| said.abs_diff(now) > OFF_MS);
        self.by_the_clock().is_some_and(off)
    }

    /// A file that has become long makes way for a new one, and one that lost its name is made anew.
    fn follow(&mut self, outbox: &Outbox) -> std::io::Result<()> {
        let (Some(file), Some(path)) = (&self.file, &self.path) else { return Ok(()) };
        let (held, named) = (file.metadata()?, path.symlink_metadata());
        if named.is_ok_and(|named| (named.dev(), named.ino()) == (held.dev(), held.ino())) {
            if !self.live || self.torn || held.len() < LONGEST {
                return Ok(());
            }
            if let Err(e) = std::fs::rename(path, older(path)) {
                // No reason to lose any: lines still arrive.
                if !std::mem::replace(&mut self.stays, true) {
                    log::warn!("{}: cannot make way: {e}; it goes on growing", self.name);
                }
                return Ok(());
            }
        } else if held.nlink() == 0 {
            outbox.set_lost();
            self.lost(DELETED);
        } else if !self.is_home() {
            if disk(path).is_none() || !is_mounted(file) {
                // Its card is being taken away, or its folder was: lines still arrive where they did.
                return Ok(());
            }
            log::warn!("{}: another disk is mounted over it; reports go to the file there now", self.name);
            self.home = None;
        }
        // Also where another run has begun it: each says what it is.
        self.fresh = true;
        self.open()
    }

    /// Opens the file, and makes it where it is not there; but not on another disk than before: while nothing is mounted there, that would be a file below
    /// the mount.
    fn open(&mut self) -> std::io::Result<()> {
        let Some(path) = self.path.clone() else { return Ok(()) };
        if self.live && path.metadata().is_ok_and(|m| m.file_type().is_fifo()) {
            // Its reader made it meanwhile.
            (self.fifo, self.path, self.file) = (Some(path), None, None);
            return Ok(());
        }
        let file = append(&path, self.is_home())?;
        self.torn = ends_in_mid_line(&path).unwrap_or(true);
        self.fresh |= file.metadata()?.len() == 0;
        // A link may have taken its place.
        let own = path.canonicalize()?;
        (self.home, self.file, self.path, self.stays) = (disk(&own), Some(file), Some(own), false);
        Ok(())
    }

    /// Does its name lead to the disk that it was on, if it was on any?
    fn is_home(&self) -> bool {
        self.home.is_none() || self.path.as_deref().and_then(disk) == self.home
    }

    /// True when not all of it was written.
    fn put(&mut self, bytes: &[u8], outbox: &Outbox) -> Result<bool, End> {
        let mut left = bytes;
        while !left.is_empty() {
            self.wait_for_room(outbox)?;
            let Some(file) = &mut self.file else { return Ok(true) };
            match file.write(left) {
                Ok(n) if n > 0 => left = &left[n..],
                Err(e) if matches!(e.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {}
                Err(e) if e.kind() == ErrorKind::BrokenPipe && self.live && self.fifo.is_some() => {
                    self.file = None;
                    // Also where the next reader is always there already.
                    if outbox.closing().is_some_and(|at| at <= Instant::now()) {
                        outbox.set_lost();
                        return Err(End);
                    }
                    self.wait_for_reader(outbox)?;
                    left = bytes;
                }
                Err(e) if e.kind() == ErrorKind::BrokenPipe => {
                    outbox.set_gone();
                    return Err(End);
                }
                failed => {
                    let full = failed.as_ref().is_err_and(|e| e.kind() == ErrorKind::StorageFull);
                    if !full && self.path.is_some() {
                        self.let_go();
                    }
                    self.lost(&failed.err().map_or_else(|| "no byte was taken".into(), |e| e.to_string()));
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// A recording's reports are wanted whole, and a run that says it went well has written them. Standard output and pipes are their reader's.
    fn is_on_the_card(&mut self) -> bool {
        let (Some(file), Some(_)) = (&self.file, &self.path) else { return true };
        let synced = file.sync_data().and_then(|()| file.metadata()).map_err(|e| e.to_string());
        let kept = synced.and_then(|held| if held.nlink() > 0 { Ok(()) } else { Err(DELETED.into()) });
        kept.inspect_err(|why| self.complaint.say(format!("{}: reports are lost: {why}", self.name))).is_ok()
    }

    fn let_go(&mut self) {
        (self.file, self.due) = (None, Instant::now() + AGAIN);
    }

    fn lost(&mut self, why: &str) {
        self.complaint.say(format!("{}: reports are lost: {why}", self.name));
    }

    /// Waits until a FIFO has a reader: of a recording up to the end of closing, live no longer than until then.
    fn wait_for_reader(&mut self, outbox: &Outbox) -> Result<(), End> {
        let Some(fifo) = &self.fifo else { return Ok(()) };
        while self.file.is_none() {
            match append(fifo, false) {
                Ok(file) => {
                    self.file = Some(file);
                    self.complaint.end(format_args!("{}: it has a reader", self.name));
                }
                Err(e) => {
                    let why = if has_no_reader(&e) { "nobody reads it".into() } else { e.to_string() };
                    self.complaint.say(format!("{}: {why}; reports wait for a reader", self.name));
                    if outbox.closing().is_some_and(|at| self.live || at <= Instant::now()) {
                        outbox.set_lost();
                        return Err(End);
                    }
                    outbox.sleep(Some(Instant::now() + LOOK_AGAIN));
                }
            }
        }
        Ok(())
    }

    /// Waits without blocking in `write`, so that closing keeps its limit even when the reader of a pipe sleeps.
    fn wait_for_room(&self, outbox: &Outbox) -> Result<(), End> {
        loop {
            let Some(file) = &self.file else { return Ok(()) };
            let mut fds = [PollFd::new(file, PollFlags::OUT)];
            match poll(&mut fds, Some(&timespec(LOOK_AGAIN))) {
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                // Ready, or an error that the write itself will name.
                _ => return Ok(()),
            }
            if outbox.closing().is_some_and(|at| at <= Instant::now()) {
                outbox.set_lost();
                return Err(End);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_file_makes_way_for_a_new_one_and_one_older_is_kept() {
        let dir = std::env::temp_dir().join(format!("lookout-turn-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let (path, older) = (dir.join("r.nmea"), dir.join("r.nmea.1"));
        let outbox = Outbox::new(Pace::Live).unwrap();
        let file = File::options().append(true).create(true).open(&path).unwrap();
        let mut stream = Stream { live: true, ..Stream::new("file".into(), Some(file), Some(path.clone()), false) };
        for n in 0..20 {
            stream.due = Instant::now(); // as if half a minute had passed
            assert!(stream.write(format!("line {n:02}\n").as_bytes(), &outbox).is_ok());
        }
        let text = |path: &Path| std::fs::read_to_string(path).unwrap();
        assert_eq!(text(&older).lines().count(), 8, "{}", text(&older));
        assert_eq!(text(&path), "line 16\nline 17\nline 18\nline 19\n");
        std::fs::remove_dir_all(dir).unwrap();
    }

    /// Two runs with one file, which is long for both: the second does not turn over what the first has just begun.
    #[test]
    fn a_file_that_another_run_turned_over_is_followed() {
        let dir = std::env::temp_dir().join(format!("lookout-shared-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("r.nmea");
        let outbox = Outbox::new(Pace::Live).unwrap();
        let [mut first, mut second] = [(); 2].map(|()| to_file(&path, Pace::Live).unwrap());
        let long = format!("{}\n", "x".repeat(LONGEST as usize));
        assert!(first.write(long.as_bytes(), &outbox).is_ok());
        for stream in [&mut first, &mut second] {
            stream.due = Instant::now(); // as if half a minute had passed
            assert!(stream.write(b"last\n", &outbox).is_ok() && stream.write(b"new\n", &outbox).is_ok());
        }
        let text = |path: &Path| std::fs::read_to_string(path).unwrap();
        assert_eq!((text(&older(&path)), text(&path)), (format!("{long}last\nlast\n"), "new\nnew\n".into()));
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_long_file_behind_a_link_makes_way_in_its_own_folder() {
        let dir = std::env::temp_dir().join(format!("lookout-link-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("stick")).unwrap();
        let (link, path) = (dir.join("r.nmea"), dir.join("stick/r.nmea"));
        std::fs::write(&path, "").unwrap();
        std::os::unix::fs::symlink("stick/r.nmea", &link).unwrap();
        let outbox = Outbox::new(Pace::Live).unwrap();
        let mut stream = to_file(&link, Pace::Live).unwrap();
        let long = format!("{}\n", "x".repeat(LONGEST as usize));
        stream.due = Instant::now(); // as if half a minute had passed
        assert!(stream.write(long.as_bytes(), &outbox).is_ok() && stream.write(b"new\n", &outbox).is_ok());
        let text = |path: &Path| std::fs::read_to_string(path).unwrap();
        assert_eq!((text(&older(&path)), text(&path), text(&link)), (long, "new\n".into(), "new\n".into()));
        assert!(link.is_symlink() && !older(&link).exists());
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_file_that_was_moved_or_deleted_is_made_anew() {
        let dir = std::env::temp_dir().join(format!("lookout-moved-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let (path, moved) = (dir.join("r.json"), dir.join("r.json.2026-12-01"));
        let outbox = Outbox::new(Pace::Live).unwrap();
        let who = Format::Json.who(&Identity::default());
        let mut stream = Stream { who, ..to_file(&path, Pace::Live).unwrap() };
        let mut say = |line: &str, due: bool| {
            if due {
                stream.due = Instant::now(); // as if half a minute had passed
            }
            assert!(stream.write(line.as_bytes(), &outbox).is_ok());
        };
        // Of what a run begins with only whether it says it again.
        let text = |path: &Path| {
            let short = |line: &str| match serde_json::from_str::<serde_json::Value>(line) {
                Ok(begin) => format!("begin {}\n", begin["again"]),
                Err(_) => format!("{line}\n"),
            };
            std::fs::read_to_string(path).unwrap().lines().map(short).collect::<String>()
        };
        say("one\n", false);
        std::fs::rename(&path, &moved).unwrap();
        say("two\n", true);
        say("three\n", false);
        assert_eq!((text(&moved), text(&path)), ("begin null\none\ntwo\n".into(), "begin true\nthree\n".into()));
        assert!(!outbox.lost(), "nothing was lost");
        // As logrotate does, and as whoever cleans up.
        std::fs::remove_file(&moved).unwrap();
        std::fs::rename(&path, &moved).unwrap();
        std::fs::write(&path, "").unwrap();
        say("four\n", true);
        std::fs::remove_dir_all(&dir).unwrap();
        say("lost\n", true);
        assert!(outbox.lost(), "what went into a deleted file");
        std::fs::create_dir(&dir).unwrap();
        std::thread::sleep(AGAIN);
        say("five\n", false);
        // Long, as tests have it: it has made way already.
        assert_eq!(text(&older(&path)), "begin true\nfive\n");
        std::fs::remove_dir_all(dir).unwrap();
    }

    /// Where a reader makes a FIFO in the place of the file that could not be had.
    #[test]
    fn a_fifo_that_comes_later_is_a_fifo() {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        let dir = std::env::temp_dir().join(format!("lookout-later-{}", std::process::id()));
        let (path, outbox) = (dir.join("r.fifo"), Outbox::new(Pace::Live).unwrap());
        let mut stream = to_file(&path, Pace::Live).unwrap();
        std::fs::create_dir_all(&dir).unwrap();
        mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        let reader = File::options().read(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(&path).unwrap();
        std::thread::sleep(AGAIN);
        for line in ["one\n", "two\n"] {
            stream.due = Instant::now(); // as if half a minute had passed
            assert!(stream.write(line.as_bytes(), &outbox).is_ok());
        }
        let mut heard = [0; 64];
        let n = std::io::Read::read(&mut { reader }, &mut heard).unwrap();
        assert_eq!(std::str::from_utf8(&heard[..n]), Ok("one\ntwo\n"));
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_file_that_made_way_when_no_new_one_could_be_made_is_made_later() {
        let name = "report::stream::tests::child_has_no_descriptor_left_when_its_file_makes_way";
        let child = std::process::Command::new(std::env::current_exe().unwrap()).args(["--exact", name, "--ignored"]).output();
        let said = String::from_utf8(child.unwrap().stdout).unwrap();
        assert!(said.contains("1 passed"), "{said}");
    }

    #[test]
    #[ignore = "run by a_file_that_made_way_when_no_new_one_could_be_made_is_made_later: its limit is the whole process's"]
    fn child_has_no_descriptor_left_when_its_file_makes_way() {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let dir = std::env::temp_dir().join(format!("lookout-made-way-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("r.nmea");
        let outbox = Outbox::new(Pace::Live).unwrap();
        let file = append(&path, true).unwrap();
        let mut stream = Stream { live: true, ..Stream::new("file".into(), Some(file), Some(path.clone()), false) };
        let long = format!("{}\n", "x".repeat(LONGEST as usize));
        let limit = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(1), ..limit }).unwrap();
        stream.due = Instant::now(); // as if half a minute had passed
        assert!(stream.write(long.as_bytes(), &outbox).is_ok());
        assert!(stream.file.is_none() && !path.exists(), "it made way, and no new one could be made");
        setrlimit(Resource::Nofile, limit).unwrap();
        std::thread::sleep(AGAIN);
        assert!(stream.write(b"again\n", &outbox).is_ok());
        let text = |path: &Path| std::fs::read_to_string(path).unwrap();
        assert_eq!((text(&older(&path)), text(&path)), (long, "again\n".into()));
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_file_that_fails_is_let_go_and_opened_again_but_never_made_on_another_disk() {
        let path = std::env::temp_dir().join(format!("lookout-stream-{}", std::process::id()));
        std::fs::write(&path, "kept\n").unwrap();
        let outbox = Outbox::new(Pace::Live).unwrap();
        // Opened for reading only, so that a write fails as on a dead card.
        let mut stream = Stream::new("file".into(), Some(File::open(&path).unwrap()), Some(path.clone()), false);
        // As if a card had been mounted there, which is gone now: no disk has this number.
        stream.home = Some(u64::MAX);
        let mut say = |line: &str| {
            assert!(stream.write(line.as_bytes(), &outbox).is_ok());
            stream.file.is_some()
        };
        assert!(!say("lost\n"));
        assert!(!say("too soon\n"));
        std::fs::remove_file(&path).unwrap();
        std::thread::sleep(AGAIN);
        assert!(!say("unmounted\n") && !path.exists());
        std::fs::write(&path, "kept\nhal").unwrap();
        std::thread::sleep(AGAIN);
        assert!(say("again\n") && say("and on\n"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "kept\nhal\nagain\nand on\n");
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_long_file_that_cannot_make_way_goes_on_growing_and_loses_nothing() {
        let dir = std::env::temp_dir().join(format!("lookout-stays-{}", std::process::id()));
        let path = dir.join("r.nmea");
        std::fs::create_dir_all(older(&path)).unwrap();
        let outbox = Outbox::new(Pace::Live).unwrap();
        let mut stream = to_file(&path, Pace::Live).unwrap();
        let mut say = |line: &str| {
            stream.due = Instant::now(); // as if half a minute had passed
            assert!(stream.write(line.as_bytes(), &outbox).is_ok() && stream.file.is_some(), "{line}");
        };
        let long = format!("{}\n", "x".repeat(LONGEST as usize));
        [long.as_str(), "two\n", "three\n"].iter().for_each(|line| say(line));
        let text = |path: &Path| std::fs::read_to_string(path).unwrap();
        assert_eq!(text(&path), format!("{long}two\nthree\n"));
        // Tried again each time: what was in the way is gone.
        std::fs::remove_dir(older(&path)).unwrap();
        ["four\n", "five\n"].iter().for_each(|line| say(line));
        assert_eq!((text(&older(&path)), text(&path)), (format!("{long}two\nthree\nfour\n"), "five\n".into()));
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_live_run_begins_without_its_file_and_has_it_when_it_can() {
        let dir = std::env::temp_dir().join(format!("lookout-later-{}", std::process::id()));
        let path = dir.join("card").join("r.nmea");
        assert!(matches!(to_file(&path, Pace::Recording), Err(ReportError::Refused { .. })), "a recording is wanted whole");
        let outbox = Outbox::new(Pace::Live).unwrap();
        let mut stream = to_file(&path, Pace::Live).unwrap();
        assert!(stream.write(b"lost\n", &outbox).is_ok() && stream.file.is_none());
        std::fs::create_dir_all(dir.join("card")).unwrap();
        std::thread::sleep(AGAIN);
        assert!(stream.write(b"kept\n", &outbox).is_ok());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "kept\n");
        std::fs::remove_dir_all(dir).unwrap();
    }

    /// A box without a clock of its own: hours after 1970 when it starts, or a day off, and set later.
    #[test]
    fn when_a_run_began_is_said_again_once_the_clock_is_set() {
        let path = std::env::temp_dir().join(format!("lookout-clock-{}", std::process::id()));
        let outbox = Outbox::new(Pace::Live).unwrap();
        let who = Format::Json.who(&Identity::default());
        let file = append(&path, true).unwrap();
        let mut stream = Stream { who, live: true, ..Stream::new("stdout".into(), Some(file), None, false) };
        assert!(stream.write(b"1\n", &outbox).is_ok());
        let right = stream.began_ms.unwrap();
        for said in [None, Some(right - 86_400_000), Some(right + 1_000)] {
            stream.began_ms = said; // as if the clock had been so then
            stream.due = Instant::now(); // as if half a minute had passed
            assert!(stream.write(b"2\n", &outbox).is_ok() && stream.write(b"3\n", &outbox).is_ok());
        }
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let begins: Vec<&serde_json::Value> = lines.iter().filter(|line| line.is_object()).collect();
        let again: Vec<bool> = begins.iter().map(|begin| begin["again"] == true).collect();
        assert_eq!(again, [false, true, true], "a second is no other time: {text}");
        for begin in begins {
            assert!(begin["unix_ms"].as_u64().unwrap().abs_diff(right) < 1_000, "{text}");
        }
    }

    /// Tests run as root in CI; anybody else cannot make what is another's.
    #[test]
    fn a_file_that_root_makes_in_the_folder_of_a_service_is_the_services() {
        if !rustix::process::geteuid().is_root() {
            // Past the test harness, which keeps what a test prints that passes.
            std::io::stderr().write_all(b"SKIPPED a file that root makes: only root can make what is another's\n").unwrap();
            return;
        }
        let dir = std::env::temp_dir().join(format!("lookout-given-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let [theirs, roots] = ["theirs.nmea", "roots.nmea"].map(|name| dir.join(name));
        std::fs::write(&roots, "").unwrap();
        std::os::unix::fs::chown(&dir, Some(65534), Some(65534)).unwrap();
        [&theirs, &roots].into_iter().for_each(|path| drop(to_file(path, Pace::Live).unwrap()));
        let owner = |path: &Path| path.metadata().unwrap().uid();
        assert_eq!((owner(&theirs), owner(&roots)), (65534, 0), "what was there stays whose it was");
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_disk_that_is_mounted_over_the_folder_gets_the_reports() {
        let name = "report::stream::tests::child_has_a_disk_mounted_over_its_folder";
        let mut child = std::process::Command::new("unshare");
        let child = child.arg("-rm").arg(std::env::current_exe().unwrap()).args(["--exact", name, "--ignored"]).output();
        let (why, passed) = match child {
            Ok(out) if out.status.code() == Some(77) => ("mount refuses".into(), false),
            Ok(out) => {
                let said = [out.stdout, out.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
                let passed = said.contains("1 passed");
                (said, passed)
            }
            Err(e) => (e.to_string(), false),
        };
        if !passed {
            assert!(!why.contains("running 1 test"), "{why}");
            // Past the test harness, which keeps what a test prints that passes.
            let skipped = format!("SKIPPED a disk over a folder: nothing can be mounted here: unshare -rm: {why}\n");
            std::io::stderr().write_all(skipped.as_bytes()).unwrap();
        }
    }

    #[test]
    #[ignore = "run by a_disk_that_is_mounted_over_the_folder_gets_the_reports: in a namespace of its own"]
    fn child_has_a_disk_mounted_over_its_folder() {
        let dir = std::env::temp_dir().join(format!("lookout-over-{}", std::process::id()));
        let (card, path) = (dir.join("card"), dir.join("card").join("r.nmea"));
        std::fs::create_dir_all(&card).unwrap();
        let outbox = Outbox::new(Pace::Live).unwrap();
        let mut stream = to_file(&path, Pace::Live).unwrap();
        let mut say = |line: &str| {
            stream.due = Instant::now(); // as if half a minute had passed
            assert!(stream.write(line.as_bytes(), &outbox).is_ok());
        };
        let done = |args: &[&str]| {
            std::process::Command::new(args[0]).args(&args[1..]).arg(&card).status().is_ok_and(|status| status.success())
        };
        let text = || std::fs::read_to_string(&path).unwrap();
        say("below\n");
        if !done(&["mount", "-t", "tmpfs", "none"]) {
            std::fs::remove_dir_all(dir).unwrap();
            std::process::exit(77);
        }
        ["below too\n", "on the disk\n"].iter().for_each(|line| say(line));
        assert_eq!(text(), "on the disk\n");
        // Being taken away it is no disk below another: nothing is made below the mount.
        assert!(done(&["umount", "-l"]));
        ["on the disk\n", "on the disk\n"].iter().for_each(|line| say(line));
        assert_eq!(text(), "below\nbelow too\n");
        std::fs::remove_dir_all(dir).unwrap();
    }
}
