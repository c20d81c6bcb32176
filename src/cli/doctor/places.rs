//! Files that reports are appended to, and the folder of the black box: could `run` have them?
//!
//! They are looked at, and neither opened nor made: a FIFO's reader would notice, and a file would be whose who asks. For the same reason one that only
//! this user may not write is a note: the service is another user. Root may write everything, so for root it is asked of the service's user: the owner of
//! /var/lib/lookout (`StateDirectory` of the unit).

use super::finding::Finding;
use crate::store::PATH;
use rustix::fs::{Access, PROC_SUPER_MAGIC, access, statfs};
use rustix::io::Errno;
use rustix::process::geteuid;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// One finding each. `live`: what is watched is no recording.
pub fn look(files: &[PathBuf], blackbox: Option<&Path>, live: bool) -> Vec<Finding> {
    let state = Path::new(PATH);
    files.iter().map(|path| file(path, state, live)).chain(blackbox.map(|dir| folder(dir, state))).collect()
}

/// A file, which is made if it is not there and its folder is.
fn file(path: &Path, state: &Path, live: bool) -> Finding {
    let at = path.display();
    // Live, `run` goes on without it and has it as soon as it can.
    let soon = if live { 1 } else { 2 };
    let broken = |code: u8, why: String| {
        Finding::broken("report", code, format!("{at}: {why}, and reports go to it"))
            .fix("name another file in `report`, such as file:/var/lib/lookout/reports.nmea")
    };
    let around = above(path);
    let found = match std::fs::metadata(path) {
        Ok(meta) if meta.is_dir() => return broken(2, "is a folder".into()),
        Ok(_) => access(path, Access::WRITE_OK),
        Err(_) if is_no_folder(around) => return broken(soon, format!("there is no folder {}", around.display())),
        Err(_) if statfs(around).is_ok_and(|disk| disk.f_type == PROC_SUPER_MAGIC) => {
            return broken(soon, "no file can be made there".into());
        }
        Err(_) => access(around, Access::WRITE_OK | Access::EXEC_OK),
    };
    match found {
        Ok(()) => theirs("report", path, if path.exists() { path } else { around }, state)
            .unwrap_or_else(|| Finding::ok("report", format!("{at} can be written, reports go to it"))),
        Err(Errno::ROFS) => broken(soon, "is on a disk that is mounted read-only".into()),
        Err(e) => Finding::note("report", format!("{at}: this user may not write it ({e}); `run` needs one who may")),
    }
}

/// A folder, which is made if need be, with those above it.
fn folder(dir: &Path, state: &Path) -> Finding {
    let at = dir.display();
    // The first that is there, from the folder upwards.
    let there = dir.ancestors().map(|dir| if dir.as_os_str().is_empty() { Path::new(".") } else { dir }).find(|dir| dir.exists());
    let there = there.unwrap_or(Path::new("/"));
    if !there.is_dir() {
        return Finding::broken("blackbox", 2, format!("{at} cannot be a folder: {} is none", there.display()))
            .fix("name another one as blackbox.dir");
    }
    match access(there, Access::WRITE_OK | Access::EXEC_OK) {
        Ok(()) => theirs("blackbox", dir, there, state)
            .unwrap_or_else(|| Finding::ok("blackbox", format!("clips go to {at}, which can be written"))),
        Err(Errno::ROFS) => Finding::note(
            "blackbox",
            format!("{at} is on a disk that is mounted read-only: no clips will be kept; reports go on"),
        ),
        Err(e) => Finding::note("blackbox", format!("{at}: this user may not write it ({e}); `run` needs one who may")),
    }
}

/// What root may write and the service may not, which runs as the owner of the state folder. `there` is what exists of the path.
fn theirs(area: &'static str, path: &Path, there: &Path, state: &Path) -> Option<Finding> {
    let service = state.metadata().ok().filter(|meta| geteuid().is_root() && meta.uid() != 0)?;
    let meta = there.metadata().ok()?;
    // A device is the group's, which the unit joins (`SupplementaryGroups`).
    if !meta.is_file() && !meta.is_dir() {
        return None;
    }
    let others = if meta.gid() == service.gid() { 0o020 } else { 0o002 };
    if meta.uid() == service.uid() || meta.mode() & others != 0 {
        return None;
    }
    let (at, state) = (path.display(), state.display());
    let (what, fix) = if path == there {
        ("it".to_string(), format!("`sudo chown {}:{} {at}`", service.uid(), service.gid()))
    } else {
        (there.display().to_string(), format!("name one below {state}"))
    };
    Some(Finding::note(area, format!("{at}: the service runs as the owner of {state} and may not write {what}")).fix(fix))
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
            let found = file(&path, &dir, false);
            assert_eq!(found.is_broken(), words.is_some(), "{found:?}");
            assert!(found.says().contains(words.unwrap_or("can be written")), "{found:?}");
        }
        assert!(folder(&old, &dir).is_broken() && folder(&old.join("below").join("it"), &dir).is_broken());
        assert!(!folder(&dir, &dir).is_broken() && !folder(&dir.join("new").join("one"), &dir).is_broken());
        assert_eq!(std::fs::read_dir(&dir).expect("it is there").count(), 1);
        std::fs::remove_dir_all(&dir).expect("it was there");
    }

    /// Tests run as root in CI; anybody else is asked for itself.
    #[test]
    fn root_is_told_what_the_service_may_not_write() {
        if !geteuid().is_root() {
            // Past the test harness, which keeps what a test prints that passes.
            let said = b"SKIPPED what root is told: only root can make what is another's\n";
            std::io::Write::write_all(&mut std::io::stderr(), said).expect("said");
            return;
        }
        let dir = std::env::temp_dir().join(format!("lookout-theirs-{}", std::process::id()));
        let (state, roots) = (dir.join("state"), dir.join("state").join("roots.nmea"));
        std::fs::create_dir_all(&state).expect("a folder");
        std::fs::write(&roots, "").expect("a file");
        let give = |path: &Path| std::os::unix::fs::chown(path, Some(65534), Some(65534)).expect("root gives");
        give(&state);
        let may = |found: Finding| found.says().contains("can be written");
        let said = format!("{:?}", file(&roots, &state, true));
        assert!(said.contains("the service runs as the owner of ") && said.contains("`sudo chown 65534:65534 /"), "{said}");
        give(&roots);
        assert!(may(file(&roots, &state, true)) && may(file(&state.join("new.nmea"), &state, true)));
        assert!(may(folder(&state.join("new"), &state)));
        let said = format!("{:?}", folder(&dir.join("new"), &state));
        assert!(said.contains("the service runs as the owner of ") && said.contains("name one below "), "{said}");
        std::fs::remove_dir_all(dir).expect("it was there");
    }
}
