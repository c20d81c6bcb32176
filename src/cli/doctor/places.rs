//! Files that reports are appended to, and the folder of the black box: could `run` have them?
//!
//! They are looked at, and neither opened nor made: a FIFO's reader would notice, and a file would be whose who asks. For the same reason one that only
//! this user may not write is a note: the service is another user.

use super::finding::Finding;
use rustix::fs::{Access, PROC_SUPER_MAGIC, access, statfs};
use rustix::io::Errno;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// One finding each.
pub fn look(files: &[PathBuf], blackbox: Option<&Path>) -> Vec<Finding> {
    files.iter().map(|path| file(path)).chain(blackbox.map(folder)).collect()
}

/// A file, which is made if it is not there and its folder is.
fn file(path: &Path) -> Finding {
    let at = path.display();
    let broken = |why: String| {
        Finding::broken("report", 2, format!("{at}: {why}, and reports go to it"))
            .fix("name another file in `report`, such as file:/var/lib/lookout/reports.nmea")
    };
    let around = above(path);
    let found = match std::fs::metadata(path) {
        Ok(meta) if meta.is_dir() => return broken("is a folder".into()),
        Ok(_) => access(path, Access::WRITE_OK),
        Err(_) if is_no_folder(around) => return broken(format!("there is no folder {}", around.display())),
        Err(_) if statfs(around).is_ok_and(|disk| disk.f_type == PROC_SUPER_MAGIC) => {
            return broken("no file can be made there".into());
        }
        Err(_) => access(around, Access::WRITE_OK | Access::EXEC_OK),
    };
    match found {
        Ok(()) => Finding::ok("report", format!("{at} can be written, reports go to it")),
        Err(Errno::ROFS) => broken("is on a disk that is mounted read-only".into()),
        Err(e) => Finding::note("report", format!("{at}: this user may not write it ({e}); `run` needs one who may")),
    }
}

/// A folder, which is made if need be, with those above it.
fn folder(dir: &Path) -> Finding {
    let at = dir.display();
    // The first that is there, from the folder upwards.
    let there = dir.ancestors().map(|dir| if dir.as_os_str().is_empty() { Path::new(".") } else { dir }).find(|dir| dir.exists());
    let there = there.unwrap_or(Path::new("/"));
    if !there.is_dir() {
        return Finding::broken("blackbox", 2, format!("{at} cannot be a folder: {} is none", there.display()))
            .fix("name another one as blackbox.dir");
    }
    match access(there, Access::WRITE_OK | Access::EXEC_OK) {
        Ok(()) => Finding::ok("blackbox", format!("clips go to {at}, which can be written")),
        Err(e) => Finding::note("blackbox", format!("{at}: this user may not write it ({e}); `run` needs one who may")),
    }
}

/// The folder that something lies in.
fn above(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Is there certainly no folder of this name? One that this user may not ask about may be one.
fn is_no_folder(path: &Path) -> bool {
    match std::fs::metadata(path) {
        Ok(meta) => !meta.is_dir(),
        Err(e) => matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_written_is_broken_and_nothing_is_made() {
        let dir = std::env::temp_dir().join(format!("lookout-places-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a folder");
        let old = dir.join("old.nmea");
        std::fs::write(&old, "").expect("a file");
        for (path, words) in [
            (PathBuf::from("/no-such-folder/x"), Some("there is no folder /no-such-folder")),
            (old.join("x"), Some("there is no folder ")),
            (dir.clone(), Some("is a folder")),
            ("/proc/x".into(), Some("no file can be made there")),
            (old.clone(), None),
            (dir.join("new.nmea"), None),
            ("/dev/null".into(), None),
        ] {
            let found = file(&path);
            assert_eq!(found.is_broken(), words.is_some(), "{found:?}");
            assert!(found.says().contains(words.unwrap_or("can be written")), "{found:?}");
        }
        assert!(folder(&old).is_broken() && folder(&old.join("below").join("it")).is_broken());
        assert!(!folder(&dir).is_broken() && !folder(&dir.join("new").join("one")).is_broken());
        assert_eq!(std::fs::read_dir(&dir).expect("it is there").count(), 1);
        std::fs::remove_dir_all(&dir).expect("it was there");
    }
}
