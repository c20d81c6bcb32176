//! The state folder: is it there, may we write there, and is there room?
//!
//! Reports need none of it, so what is wrong here is worth knowing and breaks nothing: installing, teaching, learning and the black box would fail.

use super::finding::Finding;
use rustix::fs::{Access, StatVfsMountFlags};
use std::path::Path;

/// Less room than this is too little for an install: two bundles of a MB, what is unfinished of a third, and some counting.
const ROOM_MIB: u64 = 16;

/// Looks at the folder.
pub fn look(state: &Path) -> Finding {
    let place = state.display();
    let later = "nothing can be installed, taught or learnt; reports go on";
    let Ok(meta) = std::fs::metadata(state) else {
        return Finding::ok("state", format!("{place} is not there yet; what is installed, taught or learnt makes it"));
    };
    if !meta.is_dir() {
        return Finding::note("state", format!("{place} is no folder: {later}"))
            .fix("move it away, or name another one as `state`");
    }
    let Ok(disk) = rustix::fs::statvfs(state) else {
        return Finding::note("state", format!("{place}: its disk cannot be asked: {later}"))
            .fix("look at `dmesg`; the card may be dying");
    };
    if disk.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Finding::note("state", format!("{place} is on a disk that is mounted read-only: {later}"))
            .fix("where it was not meant so, look at `dmesg` and check the disk: a file system with errors is made read-only");
    }
    let room = disk.f_bavail.saturating_mul(disk.f_frsize) >> 20;
    if room < ROOM_MIB {
        return Finding::note("state", format!("{place} has {room} MiB left, an install may need {ROOM_MIB}: {later}"))
            .fix("delete what nobody needs there; the black box keeps within blackbox.max_mib");
    }
    if rustix::fs::access(state, Access::WRITE_OK | Access::EXEC_OK).is_err() {
        return Finding::ok("state", format!("{place} has {room} MiB left; only its owner may write there"));
    }
    Finding::ok("state", format!("{place} can be written, {room} MiB left"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_judged_by_what_it_is_on() {
        let dir = std::env::temp_dir();
        let says = |path: &Path| look(path).says().to_string();
        assert!(says(&dir).contains("MiB left"), "{}", says(&dir));
        assert!(says(&dir.join("never-made")).contains("is not there yet"));
        assert!(says(Path::new("/dev/null")).contains("is no folder"));
        // A file system without room and without writing that every Linux has.
        assert!(
            says(Path::new("/proc")).contains("MiB left, an install may need") || says(Path::new("/proc")).contains("read-only")
        );
    }
}
