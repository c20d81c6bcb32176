//! What starts us, what would notice a hang, and whether the clock has been set.
//!
//! Nothing here stops a report: a box without a service manager is one that somebody watches by hand, and nothing is decided by the
//! wall clock. It is what a technician looks for after a night in which the box was silent.

use super::finding::Finding;
use crate::report::FIRST_YEAR;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Where packages and people put the unit.
const UNITS: [&str; 3] =
    ["/etc/systemd/system/lookout.service", "/usr/lib/systemd/system/lookout.service", "/lib/systemd/system/lookout.service"];

/// One finding each about the service, the machine's watchdog and the clock, where there is something to say.
pub fn look() -> Vec<Finding> {
    let unit = UNITS.iter().find_map(|path| Some((*path, std::fs::read_to_string(path).ok()?)));
    let managed = unit.is_some();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let hardware = if managed { machine(Path::new("/sys/class/watchdog/watchdog0")) } else { None };
    [Some(service(unit)), hardware, clock(now)].into_iter().flatten().collect()
}

/// Is there a service manager with a watchdog around us?
fn service(unit: Option<(&str, String)>) -> Finding {
    let usec = std::env::var("WATCHDOG_USEC").ok().and_then(|v| v.parse::<u64>().ok());
    if let Some(usec) = usec {
        return Finding::ok("service", format!("started by systemd, watchdog {} ms", usec / 1000));
    }
    match unit {
        Some((path, text)) if text.lines().any(|l| l.trim_start().starts_with("WatchdogSec=")) => {
            Finding::ok("service", format!("{path} is installed, with a watchdog"))
        }
        Some((path, _)) => Finding::note("service", format!("{path} has no WatchdogSec: a hang would not be noticed"))
            .fix("take board/systemd/lookout.service, then `systemctl daemon-reload`"),
        None => Finding::ok("service", "not installed as a service; by hand this is all right"),
    }
}

/// Who starts the whole machine again when it hangs?
fn machine(watchdog: &Path) -> Option<Finding> {
    let says = |name: &str| std::fs::read_to_string(watchdog.join(name)).map(|text| text.trim().to_string());
    let feed = "`RuntimeWatchdogSec=30s` in /etc/systemd/system.conf.d/lookout.conf, then restart";
    let Ok(state) = says("state") else {
        return (!watchdog.exists()).then(|| {
            Finding::note("watchdog", "the machine has none: should all of it hang, it stays so until somebody comes")
                .fix(format!("load its driver (Raspberry Pi: `dtparam=watchdog=on`; one without any: softdog) and set {feed}"))
        });
    };
    let name = says("identity").unwrap_or_else(|_| "a watchdog".into());
    Some(match state.as_str() {
        "active" => Finding::ok("watchdog", format!("{name} resets the machine should all of it hang")),
        _ => {
            Finding::note("watchdog", format!("{name} is there and nobody feeds it: should all of the machine hang, it stays so"))
                .fix(feed)
        }
    })
}

/// Has the clock been set since power came?
fn clock(now: Duration) -> Option<Finding> {
    (now < FIRST_YEAR).then(|| {
        let year = 1970 + now.as_secs() / 31_556_952; // seconds of a mean Gregorian year
        Finding::note("clock", format!("it says {year}, so it was never set: dates of files and of the journal are wrong, reports are not"))
            .fix("give the box a battery for its clock, or `sudo timedatectl set-ntp true` where there is a network; no report waits for it")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_never_set_is_said_and_breaks_nothing() {
        let said = clock(Duration::from_secs(40)).expect("1970");
        assert!(said.says().starts_with("it says 1970, ") && !said.is_broken());
        assert!(clock(FIRST_YEAR).is_none());
    }

    #[test]
    fn a_unit_without_a_watchdog_is_said() {
        let says = |text: &str| service(Some(("/etc/x.service", text.into()))).says().to_string();
        assert_eq!(says("[Service]\nWatchdogSec=4\n"), "/etc/x.service is installed, with a watchdog");
        assert!(says("[Service]\n#WatchdogSec=4\n").contains("a hang would not be noticed"));
    }

    #[test]
    fn a_watchdog_that_nobody_feeds_is_said() {
        let dir = std::env::temp_dir().join(format!("lookout-watchdog-{}", std::process::id()));
        let says = || machine(&dir).map(|f| f.says().to_string());
        assert!(says().is_some_and(|text| text.contains("the machine has none")));
        std::fs::create_dir_all(&dir).expect("a folder");
        assert_eq!(says(), None, "a kernel that does not say");
        std::fs::write(dir.join("identity"), "i6300ESB timer\n").expect("a file");
        for (state, words) in [("inactive\n", "nobody feeds it"), ("active\n", "i6300ESB timer resets the machine")] {
            std::fs::write(dir.join("state"), state).expect("a file");
            assert!(says().is_some_and(|text| text.contains(words)), "{state}");
        }
        std::fs::remove_dir_all(&dir).expect("it was there");
    }
}
