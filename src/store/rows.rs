//! `learn.rows`: features that were seen, a minute at a time, so that a kill or a power cut costs the last minute and no more.
//!
//! One line that says what they are, then pieces: length in bytes and CRC-32 (little-endian), then numbers. A piece that is torn, and what follows it, is cut off.
//! `learn.source` beside it says what they were seen with: two places are not one normal. One process learns in a state folder: it holds a lock on the file.

use crate::bundle::{Bundle, plain};
use crate::config::read_whole;
use crate::store::{flush_dir, hand_over, leads_to, make, replace};
use crc::{CRC_32_ISO_HDLC, Crc};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;

const NAME: &str = "learn.rows";
const SOURCE: &str = "learn.source";
/// Longest name of a source that is read back.
const MAX_SOURCE: u64 = 64 << 10;
const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// Why what is kept cannot be gone on with, split by what the caller does next.
#[derive(Debug, thiserror::Error)]
pub enum KeptError {
    /// A file cannot be written: a restart may help.
    #[error("{0}")]
    Lost(String),
    /// What is kept is of another source: it does not.
    #[error("{0}")]
    Other(String),
}

/// What was kept, in memory and on the disk; this process's alone until it is dropped.
#[derive(Debug)]
pub struct Kept {
    /// Pieces of rows, `[ticks][features]` each.
    pub pieces: Vec<Vec<f32>>,
    file: File,
    path: String,
}

impl Kept {
    /// Opens what an earlier run left, if it is of the same bundle; begins anew otherwise.
    ///
    /// # Errors
    /// The file cannot be made, or another process keeps what it sees in it.
    pub fn open(state: &Path, bundle: &Bundle) -> Result<Self, String> {
        make(state).map_err(|e| format!("{}: {e}", state.display()))?;
        let path = state.join(NAME);
        let said = |e: std::io::Error| format!("{}: {e}", path.display());
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(said)?;
        hand_over(&path);
        flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|e| match e {
            Errno::WOULDBLOCK => {
                format!("{}: another `lookout learn` is at work here; wait for it, or name another --state", path.display())
            }
            e => said(e.into()),
        })?;
        // Another one was just about to forget it.
        if !leads_to(&path, &file).map_err(said)? {
            return Err(format!("{}: another `lookout learn` has just ended here; once more", path.display()));
        }
        let mut bytes = vec![];
        file.read_to_end(&mut bytes).map_err(said)?;
        let head = format!("lookout learn {} {}\n", bundle.hash, bundle.features());
        let (pieces, good) = match bytes.strip_prefix(head.as_bytes()) {
            Some(rest) => {
                let (pieces, read) = pieces(rest, bundle.features());
                (pieces, head.len() + read)
            }
            None => (vec![], 0),
        };
        if good < bytes.len() && !bytes.is_empty() {
            log::warn!("{}: {} bytes are torn or of another bundle and cut off", path.display(), bytes.len() - good);
        }
        file.set_len(good as u64).map_err(said)?;
        std::io::Seek::seek(&mut file, std::io::SeekFrom::End(0)).map_err(said)?;
        if good == 0 {
            file.write_all(head.as_bytes()).map_err(said)?;
        }
        file.sync_data().map_err(said)?;
        // It may be new: its name too must be on the disk.
        flush_dir(state).map_err(|e| e.to_string())?;
        Ok(Self { pieces, file, path: path.display().to_string() })
    }

    /// The same, of this source alone. What does not say its source, of an earlier version, is taken to be of it.
    ///
    /// # Errors
    /// What is kept is of another source, or this one cannot be written down.
    pub fn of(self, state: &Path, source: &str) -> Result<Self, KeptError> {
        let place = state.join(SOURCE);
        match read_whole(&place, MAX_SOURCE) {
            Ok(begun) if begun == source.as_bytes() => return Ok(self),
            Ok(begun) if !self.pieces.is_empty() => {
                let begun = plain(&String::from_utf8_lossy(&begun));
                let why =
                    format!("{}: begun with source {begun}, {source} found; go on with that one, or delete the file", self.path);
                return Err(KeptError::Other(why));
            }
            _ => {}
        }
        replace(&place, source.as_bytes()).map_err(|e| KeptError::Lost(e.to_string()))?;
        Ok(self)
    }

    /// Keeps a piece: on the disk when this returns.
    ///
    /// # Errors
    /// It cannot be written; it is kept in memory all the same.
    pub fn add(&mut self, rows: Vec<f32>) -> Result<(), String> {
        let numbers: Vec<u8> = rows.iter().flat_map(|v| v.to_le_bytes()).collect();
        let mut piece = (numbers.len() as u32).to_le_bytes().to_vec();
        piece.extend(CRC.checksum(&numbers).to_le_bytes());
        piece.extend(numbers);
        self.pieces.push(rows);
        self.file.write_all(&piece).and_then(|()| self.file.sync_data()).map_err(|e| format!("{}: {e}", self.path))
    }

    /// What was kept has been learnt from.
    pub fn forget(self, state: &Path) {
        [NAME, SOURCE].iter().for_each(|name| drop(std::fs::remove_file(state.join(name))));
    }
}

/// Whole pieces, and the bytes that they take.
fn pieces(bytes: &[u8], features: usize) -> (Vec<Vec<f32>>, usize) {
    let (mut all, mut at) = (vec![], 0);
    while let Some((head, rest)) = bytes.get(at..).and_then(|b| b.split_first_chunk::<8>()) {
        let number = |n: usize| u32::from_le_bytes([head[n], head[n + 1], head[n + 2], head[n + 3]]);
        let Some(numbers) = rest.get(..number(0) as usize).filter(|n| CRC.checksum(n) == number(4)) else { break };
        if numbers.len() % (4 * features).max(1) != 0 {
            break;
        }
        all.push(numbers.chunks_exact(4).map(|v| f32::from_le_bytes([v[0], v[1], v[2], v[3]])).collect());
        at += 8 + numbers.len();
    }
    (all, at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_flushed_comes_back_and_what_is_torn_is_cut_off() {
        let dir = std::env::temp_dir().join(format!("lookout-learn-{}", std::process::id()));
        let bundle = crate::baked::bundle().expect("the built-in bundle");
        let d = bundle.features();
        let piece = |n: usize| (0..n * d).map(|v| v as f32).collect::<Vec<f32>>();
        let mut kept = Kept::open(&dir, &bundle).expect("opened");
        for n in [3, 5, 7] {
            kept.add(piece(n)).expect("kept");
        }
        drop(kept);
        let path = dir.join(NAME);
        let whole = std::fs::read(&path).expect("read");
        for cut in 1..(7 * d * 4 + 8) {
            if cut % 97 != 1 {
                continue;
            }
            std::fs::write(&path, &whole[..whole.len() - cut]).expect("written");
            let kept = Kept::open(&dir, &bundle).expect("opened");
            assert_eq!(kept.pieces, [piece(3), piece(5)], "cut by {cut}");
        }
        let mut kept = Kept::open(&dir, &bundle).expect("opened");
        kept.add(piece(2)).expect("kept");
        let second = Kept::open(&dir, &bundle).expect_err("one at a time");
        assert!(second.contains("learn.rows: another `lookout learn` is at work here"), "{second}");
        drop(kept);
        assert_eq!(Kept::open(&dir, &bundle).expect("opened").pieces, [piece(3), piece(5), piece(2)]);
        // Another place is another normal; what was kept of the first one stays as it was.
        let open = |source| Kept::open(&dir, &bundle).expect("opened").of(&dir, source);
        assert_eq!(open("v4l2:/dev/video0").expect("no source was said").pieces.len(), 3);
        let other = open("v4l2:/dev/video1").expect_err("another source");
        assert!(matches!(&other, KeptError::Other(why) if why.contains("begun with source v4l2:/dev/video0, ")), "{other}");
        let same = open("v4l2:/dev/video0").expect("the same source");
        assert_eq!(same.pieces.len(), 3);
        same.forget(&dir);
        assert!(open("v4l2:/dev/video1").expect("nothing is kept").pieces.is_empty());
        assert!(open("v4l2:/dev/video0").is_ok());
        std::fs::write(&path, b"of something else\n1234").expect("written");
        assert!(Kept::open(&dir, &bundle).expect("opened").pieces.is_empty());
        let _ = std::fs::remove_dir_all(dir);
    }

    /// Tests run as root in CI; anybody else cannot make what is another's.
    #[test]
    fn what_root_learns_in_the_folder_of_a_service_is_the_services() {
        use std::os::unix::fs::{MetadataExt, chown};
        if !rustix::process::geteuid().is_root() {
            // Past the test harness, which keeps what a test prints that passes.
            std::io::stderr().write_all(b"SKIPPED what root learns: only root can make what is another's\n").expect("said");
            return;
        }
        let dir = std::env::temp_dir().join(format!("lookout-learn-theirs-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("made");
        chown(&dir, Some(65534), Some(65534)).expect("root gives");
        let (state, bundle) = (dir.join("state"), crate::baked::bundle().expect("the built-in bundle"));
        drop(Kept::open(&state, &bundle).expect("opened"));
        for path in [&state, &state.join(NAME)] {
            assert_eq!(path.metadata().expect("there").uid(), 65534, "{}", path.display());
        }
        std::fs::remove_dir_all(dir).expect("removed");
    }
}
