//! The state folder: bundles that were installed on this box, and which of them runs.
//!
//! ```text
//! /var/lib/lookout/
//!   lock                 held while something changes here
//!   installed.toml       which bundle runs, which ran before it, and the versions below which none is taken
//!   taught/<sha256>.json what was taught on top of the bundle with that hash
//!   novelty.json         what is normal here ([`novelty`]); blocks.json: what was counted with it; learn.rows: what is being learnt from ([`rows`]), learn.source: where that comes from
//!   bundles/<sha256>/    one folder a bundle, named by its hash; what that covers never changes once it has that name
//! ```
//! A power cut or a kill at any instant leaves the old state or the new one. A bundle is written under another name,
//! flushed to the card, then renamed; only then `installed.toml`, which alone says what runs, is replaced by a rename of
//! a flushed file (rename(2): whoever looks sees the old file or the new one). The bundle before stays until the next
//! install. One that is there and whole keeps its place: what its hash does not cover, a signature and `ordinary.json`, is
//! replaced in it, file by file. What a cut leaves half written has a name that nothing points to and is swept away by the
//! next install.
//! `tests/store/` kills what writes here at every system call and cuts its power at every write.
//!
//! Files are readable by everyone whatever the umask: root installs, the service reads as a user of its own.

pub mod novelty;
pub mod policy;
pub mod rows;
mod taught;
pub mod trial;

use crate::bundle::{Bundle, plain};
use crate::config::read_file;
use rustix::fs::{FlockOperation, flock};
use rustix::io::{Errno, retry_on_intr};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Where it lies unless configuration or flag say otherwise.
pub const PATH: &str = "/var/lib/lookout";
const RECORD: &str = "installed.toml";
const BUNDLES: &str = "bundles";
/// Beginning of names that nothing points to yet, or any more.
const UNFINISHED: &str = ".unfinished-";
/// Longest record that is read; one holds two hashes and a version for each name.
const MAX_RECORD_BYTES: u64 = 64 << 10;

/// Why the state folder cannot be used, split by what an install does next. Exit code 1.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A full, read-only or vanished card: nothing may be changed.
    #[error("{what}: {why}")]
    Lost {
        /// File or folder.
        what: String,
        /// What the system said.
        why: String,
    },
    /// What is to be kept is more than could be read again.
    #[error("{what}: {why}")]
    TooMuch {
        /// The file.
        what: String,
        /// How much, and how much may be.
        why: String,
    },
    /// `installed.toml` was read and is not what an install writes: it is written anew.
    #[error("{what}: {why}")]
    Damaged {
        /// The file.
        what: String,
        /// What stands in it.
        why: String,
    },
}

fn at(path: &Path) -> impl Fn(io::Error) -> StoreError + '_ {
    move |e| StoreError::Lost {
        what: path.display().to_string(),
        why: match e.kind() {
            io::ErrorKind::StorageFull => "no space left here; nothing was changed".into(),
            io::ErrorKind::ReadOnlyFilesystem => "this file system is read-only; nothing was changed".into(),
            _ => e.to_string(),
        },
    }
}

fn damaged(path: &Path) -> impl Fn(String) -> StoreError + '_ {
    move |why| StoreError::Damaged { what: path.display().to_string(), why }
}

/// A file of the state folder, of at most `most` bytes; `None` where there is none.
fn read(path: &Path, most: u64) -> Result<Option<Vec<u8>>, StoreError> {
    match read_file(path, most) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) if e.kind() == io::ErrorKind::FileTooLarge => Err(damaged(path)(e.to_string())),
        Err(e) => Err(at(path)(e)),
    }
}

/// `installed.toml`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// Hash of the bundle that runs; none: the built-in one.
    pub current: Option<String>,
    /// Hash of the one before it; none: the built-in one.
    pub previous: Option<String>,
    /// Bundle name to the highest version that was installed under a signature policy.
    pub floor: BTreeMap<String, String>,
}

impl Record {
    /// `hash` runs, and what ran until now is kept behind it.
    #[must_use]
    pub fn with(&self, hash: &str) -> Self {
        let previous = if self.current.as_deref() == Some(hash) { self.previous.clone() } else { self.current.clone() };
        Self { current: Some(hash.into()), previous, floor: self.floor.clone() }
    }

    /// The two change places.
    #[must_use]
    pub fn undone(&self) -> Self {
        Self { current: self.previous.clone(), previous: self.current.clone(), floor: self.floor.clone() }
    }

    /// What stands in `installed.toml`.
    ///
    /// # Errors
    /// One sentence, without the file's name.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|e| format!("not UTF-8 text: {e}"))?;
        if text.trim().is_empty() {
            return Err("empty, expected what an install writes".into());
        }
        let record: Self = crate::board::from_toml(text)?;
        // A name from a damaged file must not become a path.
        let whole = |hash: &&String| hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit());
        match [&record.current, &record.previous].into_iter().flatten().find(|hash| !whole(hash)) {
            Some(bad) => Err(format!("{:?} is not the hash of a bundle", plain(bad))),
            None => Ok(record.clone()),
        }
    }

    fn keeps(&self, name: &str) -> bool {
        [&self.current, &self.previous].into_iter().flatten().any(|hash| hash == name)
    }
}

/// A state folder that may or may not exist.
#[derive(Clone, Debug)]
pub struct Store {
    dir: PathBuf,
}

impl Store {
    /// Names the folder; nothing is opened.
    pub fn at(dir: &Path) -> Self {
        Self { dir: dir.to_path_buf() }
    }

    /// The folder itself, where other things that a box learnt lie too.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The bundles that lie here whole, whatever the record says of them.
    pub fn whole(&self) -> Vec<Bundle> {
        let entries = fs::read_dir(self.dir.join(BUNDLES)).into_iter().flatten().flatten();
        entries.filter_map(|entry| open(self, entry.file_name().to_str()?).ok()).collect()
    }

    /// The folder of the bundle with this hash.
    pub fn folder(&self, hash: &str) -> PathBuf {
        self.dir.join(BUNDLES).join(hash)
    }

    /// What is installed; nothing where nothing was ever installed.
    ///
    /// # Errors
    /// A record that cannot be read, or that no install has written.
    pub fn record(&self) -> Result<Record, StoreError> {
        let path = self.dir.join(RECORD);
        let bytes = read(&path, MAX_RECORD_BYTES)?;
        bytes.map_or_else(|| Ok(Record::default()), |bytes| Record::parse(&bytes).map_err(damaged(&path)))
    }

    /// Takes the folder for this process, making it where there is none.
    ///
    /// # Errors
    /// It cannot be made or written, or another process is changing it.
    pub fn change(&self) -> Result<Change<'_>, StoreError> {
        let lock = self.dir.join("lock");
        let folder = |dir: &Path| {
            let new = !dir.exists();
            DirBuilder::new().recursive(true).mode(0o755).create(dir).map_err(at(dir))?;
            if new {
                hand_over(dir);
            }
            Ok(())
        };
        if !self.dir.exists() {
            folder(&self.dir)?;
            // The folder itself must survive as well; what lies above it was there or is flushed with it.
            self.dir.parent().filter(|d| !d.as_os_str().is_empty()).map_or(Ok(()), flush_dir)?;
        }
        // One that is there, whoever made it, is locked as it is: that takes no right to write.
        let file = match File::open(&lock) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                OpenOptions::new().create(true).append(true).mode(0o644).open(&lock).inspect(|_| hand_over(&lock))
            }
            other => other,
        };
        let file = file.map_err(at(&lock))?;
        flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|e| match e {
            Errno::WOULDBLOCK => StoreError::Lost {
                what: self.dir.display().to_string(),
                why: "another install is at work here, or something is being taught; wait for it".into(),
            },
            e => at(&lock)(e.into()),
        })?;
        folder(&self.dir.join(BUNDLES))?;
        flush_dir(&self.dir)?;
        Ok(Change { store: self, _lock: file })
    }
}

/// The right to change a state folder; given up when dropped, also by a kill.
#[derive(Debug)]
pub struct Change<'a> {
    store: &'a Store,
    _lock: File,
}

impl Change<'_> {
    /// Copies a bundle in, under its hash, flushed to the card. `files` are names and sha256 of everything it needs,
    /// `bundle.toml` among them: what is copied is what was tried, or it is refused.
    ///
    /// # Errors
    /// A file that cannot be read, is not the one that was tried, or cannot be written.
    pub fn copy(&self, from: &Path, hash: &str, files: &BTreeMap<String, String>) -> Result<(), StoreError> {
        let (bundles, target) = (self.store.dir.join(BUNDLES), self.store.folder(hash));
        if open(self.store, hash).is_ok() {
            // It may be the one that runs: what came beside it since takes its place in it.
            for (name, sha) in files {
                let place = target.join(name);
                if !fs::read(&place).is_ok_and(|bytes| is(&bytes, sha)) {
                    replace(&place, &tried(&from.join(name), sha)?)?;
                }
            }
            return Ok(());
        }
        let new = bundles.join(format!("{UNFINISHED}{hash}"));
        remove(&new)?;
        let written = self.write(from, &new, files).and_then(|()| {
            // One that is there and broken makes way, and comes back if that was for nothing.
            let old = bundles.join(format!("{UNFINISHED}old-{hash}"));
            remove(&old)?;
            if target.exists() {
                fs::rename(&target, &old).map_err(at(&target))?;
            }
            fs::rename(&new, &target).inspect_err(|_| drop(fs::rename(&old, &target))).map_err(at(&target))?;
            flush_dir(&bundles)
        });
        if written.is_err() {
            // The room is wanted back; if even that fails, the first error says more.
            let _ = remove(&new);
        }
        written
    }

    fn write(&self, from: &Path, to: &Path, files: &BTreeMap<String, String>) -> Result<(), StoreError> {
        DirBuilder::new().mode(0o755).create(to).map_err(at(to))?;
        hand_over(to);
        for (name, sha) in files {
            let to = to.join(name);
            write_new(&to, &tried(&from.join(name), sha)?, RIGHTS)?;
            hand_over(&to);
        }
        fs::set_permissions(to, fs::Permissions::from_mode(0o755)).map_err(at(to))?;
        flush_dir(to)
    }

    /// Makes `record` the one that holds: the instant of the install.
    ///
    /// # Errors
    /// It cannot be written; the old one holds then.
    pub fn commit(&self, record: &Record) -> Result<(), StoreError> {
        let path = self.store.dir.join(RECORD);
        let text =
            toml::to_string(record).map_err(|e| StoreError::Lost { what: path.display().to_string(), why: e.to_string() })?;
        let text = format!("# Written by `lookout install`; nothing else should change it.\n{text}");
        replace(&path, text.as_bytes())
    }

    /// Removes what nothing points to any more. What cannot be removed stays for the next time.
    pub fn sweep(&self, record: &Record) {
        for entry in fs::read_dir(self.store.dir.join(BUNDLES)).into_iter().flatten().flatten() {
            if !record.keeps(&entry.file_name().to_string_lossy())
                && let Err(e) = remove(&entry.path())
            {
                log::warn!("{e}; it is in nobody's way");
            }
        }
    }
}

/// A bundle of a state folder, whole and of the hash that the record says.
///
/// # Errors
/// One sentence: what does not fit.
pub fn open(store: &Store, hash: &str) -> Result<Bundle, String> {
    let bundle = Bundle::open(&store.folder(hash)).map_err(|e| e.to_string())?;
    if bundle.hash != hash {
        return Err(format!("bundle {}: its hash is {}, installed was {hash}", bundle.origin, bundle.hash));
    }
    Ok(bundle)
}

/// The bytes of a file, which are those that were tried.
fn tried(path: &Path, sha: &str) -> Result<Vec<u8>, StoreError> {
    let bytes = fs::read(path).map_err(at(path))?;
    if is(&bytes, sha) {
        return Ok(bytes);
    }
    Err(StoreError::Lost { what: path.display().to_string(), why: "it changed while it was being installed".into() })
}

/// Is this their sha256, in letters of either size, as in `bundle.toml`?
fn is(bytes: &[u8], sha: &str) -> bool {
    sha256(bytes).eq_ignore_ascii_case(sha)
}

/// Rights of what is written here, unless it takes the place of something that has its own.
const RIGHTS: u32 = 0o644;

/// A new file with its bytes on the card.
fn write_new(path: &Path, bytes: &[u8], rights: u32) -> Result<(), StoreError> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(rights).open(path).map_err(at(path))?;
    file.write_all(bytes).map_err(at(path))?;
    file.set_permissions(fs::Permissions::from_mode(rights)).map_err(at(path))?;
    file.sync_all().map_err(at(path))
}

/// The file of this name, made where there is none, locked as `how` says. The name still leads to it: whoever had it locked before may have moved or
/// deleted theirs, and then there is another.
///
/// # Errors
/// It cannot be made or locked (nothing is left of it: where nothing can be locked nobody writes); `WouldBlock` where somebody has it and `how` does not wait.
pub(crate) fn held(path: &Path, how: FlockOperation) -> io::Result<File> {
    loop {
        let file = File::options().write(true).create(true).truncate(false).open(path)?;
        match retry_on_intr(|| flock(&file, how)) {
            Ok(()) if leads_to(path, &file)? => return Ok(file),
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(Errno::WOULDBLOCK.into()),
            Err(e) => {
                let _ = fs::remove_file(path);
                return Err(e.into());
            }
        }
    }
}

/// Does this name still lead to the file in hand? Whoever had it locked before may have moved or deleted it.
///
/// # Errors
/// The file in hand cannot be looked at.
pub(crate) fn leads_to(path: &Path, file: &File) -> io::Result<bool> {
    let place = |meta: fs::Metadata| (meta.dev(), meta.ino());
    Ok(fs::metadata(path).map(place).ok() == Some(file.metadata().map(place)?))
}

/// A folder's names on the card: a renamed file is only found again once its folder is flushed too.
pub(crate) fn flush_dir(dir: &Path) -> Result<(), StoreError> {
    flush(dir).map_err(at(dir))
}

/// [`flush_dir`]. A file system that has no such flush says so and is not asked for more.
fn flush(dir: &Path) -> io::Result<()> {
    let flushed = File::open(dir).and_then(|d| d.sync_all());
    flushed.or_else(|e| if e.kind() == io::ErrorKind::InvalidInput { Ok(()) } else { Err(e) })
}

/// Removes a file or a folder; one that is not there is no error.
fn remove(path: &Path) -> Result<(), StoreError> {
    let gone = match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(e) => Err(e),
    };
    gone.or_else(|e| if e.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(e) }).map_err(at(path))
}

/// Makes `bytes` what a file holds, whole or not at all: written beside, flushed, renamed. Its folder is made if need be, and
/// flushed into the one above it; a file that is there keeps its rights.
///
/// # Errors
/// It cannot be written; what was there before holds then.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let dir = path.parent().filter(|d| !d.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let new = dir.join(format!("{UNFINISHED}{name}"));
    if !dir.exists() {
        fs::create_dir_all(dir).map_err(at(dir))?;
        // Whatever the umask: the service reads as a user of its own.
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).map_err(at(dir))?;
        hand_over(dir);
        dir.parent().filter(|d| !d.as_os_str().is_empty()).map_or(Ok(()), flush_dir)?;
    }
    remove(&new)?;
    let rights = fs::metadata(path).map_or(RIGHTS, |there| there.permissions().mode() & 0o777);
    if let Err(e) = write_new(&new, bytes, rights) {
        let _ = remove(&new);
        return Err(e);
    }
    rename(&new, path).map_err(at(path))
}

/// Gives what was written under another name, a file or a folder, its own, on the card when this returns.
///
/// # Errors
/// What the system says; then what was written is gone again, so that the room is free, unless only the flush of the folder around it failed.
pub(crate) fn settle(part: &Path, place: &Path) -> io::Result<()> {
    if let Err(e) = File::open(part).and_then(|f| f.sync_all()) {
        let _ = remove(part);
        return Err(e);
    }
    rename(part, place)
}

/// What root makes in the folder of somebody else, a service's, becomes theirs: they have to change it some day. For anybody else it does nothing.
pub(crate) fn hand_over(path: &Path) {
    let Some(around) = path.parent().filter(|_| rustix::process::geteuid().is_root()) else { return };
    // A link stays what it leads to: that may be anybody's.
    if let (Ok(own), Ok(theirs)) = (fs::symlink_metadata(path), fs::metadata(around))
        && own.uid() != theirs.uid()
        && let Err(e) = std::os::unix::fs::lchown(path, Some(theirs.uid()), Some(theirs.gid()))
    {
        log::warn!("{}: it stays root's: {e}", path.display());
    }
}

/// [`settle`] for what is flushed already.
fn rename(part: &Path, place: &Path) -> io::Result<()> {
    hand_over(part);
    if let Err(e) = fs::rename(part, place) {
        let _ = remove(part);
        return Err(e);
    }
    let dir = place.parent().filter(|d| !d.as_os_str().is_empty()).unwrap_or(Path::new("."));
    flush(dir).map_err(|e| io::Error::other(format!("it has its name, but a power cut may take that back: {e}")))
}

/// Makes a folder where it is not there, and those above it. What root makes in a service's folder is the service's.
///
/// # Errors
/// One of them cannot be made.
pub(crate) fn make(dir: &Path) -> io::Result<()> {
    let new: Vec<&Path> = dir.ancestors().take_while(|dir| !dir.exists()).collect();
    fs::create_dir_all(dir)?;
    new.into_iter().rev().for_each(hand_over);
    Ok(())
}

/// Hex sha256.
pub fn sha256(bytes: &[u8]) -> String {
    crate::bundle::hex(&Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("lookout-store-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        dir
    }

    /// Tests run as root in CI; anybody else cannot make what is another's.
    #[test]
    fn what_root_makes_in_the_folder_of_a_service_is_the_services() {
        if !rustix::process::geteuid().is_root() {
            // Past the test harness, which keeps what a test prints that passes.
            io::stderr().write_all(b"SKIPPED what root makes: only root can make what is another's\n").unwrap();
            return;
        }
        let dir = folder("owner");
        fs::create_dir_all(&dir).unwrap();
        std::os::unix::fs::chown(&dir, Some(65534), Some(65534)).unwrap();
        drop(Store::at(&dir).change().unwrap());
        replace(&dir.join("taught").join("a.json"), b"{}").unwrap();
        make(&dir.join("clips/day")).unwrap();
        for name in ["lock", BUNDLES, "taught", "taught/a.json", "clips", "clips/day"] {
            assert_eq!(fs::metadata(dir.join(name)).unwrap().uid(), 65534, "{name}");
        }
        // Never what a link leads to.
        let (roots, link) = (dir.with_extension("roots"), dir.join("link"));
        fs::write(&roots, "").unwrap();
        std::os::unix::fs::symlink(&roots, &link).unwrap();
        hand_over(&link);
        assert_eq!(fs::metadata(&link).unwrap().uid(), 0);
        fs::remove_file(roots).unwrap();
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn the_bundle_before_is_kept_and_one_step_back_is_possible() {
        let (a, b, c) = ("a".repeat(64), "b".repeat(64), "c".repeat(64));
        let record = Record::default().with(&a).with(&b);
        assert_eq!((record.current.as_deref(), record.previous.as_deref()), (Some(&*b), Some(&*a)));
        assert_eq!(record.with(&b), record, "the same once more changes nothing");
        assert_eq!(record.undone().undone(), record);
        assert!(record.keeps(&a) && record.keeps(&b) && !record.keeps(&c));
    }

    #[test]
    fn a_record_comes_back_as_it_was_written_and_a_damaged_one_is_named() {
        let dir = folder("record");
        let store = Store::at(&dir);
        assert_eq!(store.record().unwrap(), Record::default(), "nothing was ever installed");
        let mut record = Record::default().with(&"a".repeat(64));
        record.floor.insert("motion".into(), "1.2.0".into());
        store.change().unwrap().commit(&record).unwrap();
        assert_eq!(store.record().unwrap(), record);
        for wrong in ["current = \"../../etc\"\n", "current = 3\n", "\0\0\0", ""] {
            fs::write(dir.join(RECORD), wrong).unwrap();
            let said = store.record().unwrap_err().to_string();
            assert!(said.contains(RECORD) && !said.contains('\n'), "{said}");
        }
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn one_at_a_time() {
        let dir = folder("lock");
        let store = Store::at(&dir);
        let first = store.change().unwrap();
        assert!(store.change().unwrap_err().to_string().contains("another install"));
        drop(first);
        store.change().unwrap();
        fs::remove_dir_all(dir).unwrap();
    }
}
