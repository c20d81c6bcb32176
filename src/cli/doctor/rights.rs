//! May we use a device, and if not, which command changes that?
//!
//! Who we are is read from /proc and /etc, without a C library's name service: on a box that is where the names are.

use rustix::fs::Access;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Why we may not read and write `path`, and the command that helps; `None` when we may.
pub fn denied(path: &Path) -> Option<(String, String)> {
    if rustix::fs::access(path, Access::READ_OK | Access::WRITE_OK).is_ok() {
        return None;
    }
    let Ok(meta) = std::fs::metadata(path) else { return Some(("it went away".into(), "plug it in again".into())) };
    let group = name("/etc/group", meta.gid());
    let (me, groups) = me();
    let user = name("/etc/passwd", me);
    let why = format!(
        "{user} may not use it (owner {}, group {group}, mode {:o})",
        name("/etc/passwd", meta.uid()),
        meta.mode() & 0o777
    );
    let fix = if meta.mode() & 0o060 != 0o060 {
        "install board/udev/99-lookout.rules, then `sudo udevadm control --reload && sudo udevadm trigger`".into()
    } else if listed(&group, &user) && !groups.contains(&meta.gid()) {
        format!("{user} is in the group {group} since this session began: log out and in again")
    } else {
        format!("`sudo usermod -aG {group} {user}`, then log out and in again")
    };
    Some((why, fix))
}

/// Our effective user and all our groups.
fn me() -> (u32, Vec<u32>) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let row = |key: &str| -> Vec<u32> {
        let line = status.lines().find_map(|l| l.strip_prefix(key)).unwrap_or_default();
        line.split_whitespace().filter_map(|n| n.parse().ok()).collect()
    };
    // Real, effective, saved, file system.
    let user = row("Uid:").get(1).copied().unwrap_or(0);
    (user, row("Groups:").into_iter().chain(row("Gid:").get(1).copied()).collect())
}

/// The name of a user or group, or its number.
fn name(file: &str, id: u32) -> String {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let found = text.lines().find_map(|l| {
        let mut parts = l.split(':');
        let name = parts.next()?;
        (parts.nth(1)?.parse() == Ok(id)).then(|| name.to_string())
    });
    found.unwrap_or_else(|| id.to_string())
}

/// Does /etc/group list the user in the group?
fn listed(group: &str, user: &str) -> bool {
    let text = std::fs::read_to_string("/etc/group").unwrap_or_default();
    text.lines().any(|l| {
        let parts: Vec<&str> = l.split(':').collect();
        parts.first() == Some(&group) && parts.get(3).is_some_and(|members| members.split(',').any(|m| m == user))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_we_may_use_is_not_denied_and_ids_have_names() {
        assert_eq!(denied(Path::new("/dev/null")), None);
        assert!(denied(Path::new("/dev/no-such-device")).is_some_and(|(why, _)| why == "it went away"));
        assert_eq!(name("/etc/passwd", 0), "root");
        assert_eq!(name("/etc/group", 4_000_000_001), "4000000001");
        assert!(!listed("no-such-group", "root"));
    }
}
