//! What starts us and whether it runs, what of the configuration it shuts out, what would notice a hang, and whether the clock has been set.
//!
//! Nothing here stops a report: a box without a service manager is one that somebody watches by hand, and nothing is decided by the
//! wall clock. It is what a technician looks for after a night in which the box was silent.

use super::finding::Finding;
use crate::config::Config;
use crate::life::Runs;
use crate::report::FIRST_YEAR;
use crate::store::PATH;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Where packages and people put the unit.
const UNITS: [&str; 3] =
    ["/etc/systemd/system/lookout.service", "/usr/lib/systemd/system/lookout.service", "/lib/systemd/system/lookout.service"];

/// Where changes to it lie.
const DROP_INS: &str = "/etc/systemd/system/lookout.service.d";

/// Where a service manager keeps what its services run in: cgroups of version 2, 1 and both.
const SLICES: [&str; 3] =
    ["/sys/fs/cgroup/system.slice", "/sys/fs/cgroup/systemd/system.slice", "/sys/fs/cgroup/unified/system.slice"];
/// Where the unit's `RuntimeDirectory` is.
const RUNTIME: &str = "/run/lookout";
/// What `ProtectHome=yes` hides (systemd.exec(5)).
const HOMES: [&str; 3] = ["/home", "/root", "/run/user"];
/// What `PrivateTmp=yes` puts another folder in the place of.
const TEMPORARY: [&str; 2] = ["/tmp", "/var/tmp"];

/// One finding each about the service, the machine's watchdog and the clock, where there is something to say.
pub fn look() -> Vec<Finding> {
    let unit = unit();
    let managed = unit.is_some();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let hardware = if managed { machine(Path::new("/sys/class/watchdog/watchdog0")) } else { None };
    let slice = SLICES.into_iter().map(Path::new).find(|slice| slice.is_dir()).filter(|_| managed);
    let runs = slice.map(|slice| running(slice, Path::new(RUNTIME)));
    [Some(service(unit)), runs, hardware, clock(now)].into_iter().flatten().collect()
}

/// What is configured and the service, where it is installed, does not see or may not write. `source`: the recording or pipe; `files`: what reports are
/// appended to.
pub fn shut_out(config: &Config, source: Option<&str>, files: &[PathBuf]) -> Vec<Finding> {
    // What its owner changed of it (`systemctl edit lookout`) may let in more.
    let unit = unit().filter(|_| !Path::new(DROP_INS).is_dir());
    unit.map(|(_, text)| outside(&text, config, source, files)).unwrap_or_default()
}

fn outside(unit: &str, config: &Config, source: Option<&str>, files: &[PathBuf]) -> Vec<Finding> {
    let says = |line: &str| unit.lines().any(|l| l.trim() == line);
    let (no_homes, own_tmp, strict) = (says("ProtectHome=yes"), says("PrivateTmp=yes"), says("ProtectSystem=strict"));
    let below = |path: &Path, dirs: &[&str]| dirs.iter().any(|dir| path.starts_with(dir));
    let hidden = |path: &Path| (no_homes && below(path, &HOMES)) || (own_tmp && below(path, &TEMPORARY));
    // A FIFO or a device is written through, also where nothing can be changed.
    let is_through = |path: &Path| std::fs::metadata(path).is_ok_and(|meta| !meta.is_file() && !meta.is_dir());
    let kept = |path: &Path| !strict || path.starts_with(PATH) || path.starts_with(RUNTIME) || is_through(path);
    let read = [("source", source.map(Path::new)), ("bundle", config.bundle.as_deref())];
    let read = read.into_iter().filter_map(|(key, path)| Some((key, path?))).filter(|&(_, path)| hidden(path));
    let written = files.iter().map(|file| ("report", file)).chain(config.blackbox.dir.iter().map(|dir| ("blackbox", dir)));
    let written = written.chain([("state", &config.state)]);
    let written = written.map(|(key, path)| (key, path.as_path())).filter(|&(_, path)| hidden(path) || !kept(path));
    let note = |(key, path): (&str, &Path), what: &str| {
        let says = format!("{key}: the service {what} {}, its unit shuts it out there", path.display());
        Finding::note("service", says).fix(format!("take a place in {PATH}"))
    };
    read.map(|one| note(one, "does not see")).chain(written.map(|one| note(one, "may not write"))).collect()
}

/// The unit, and what stands in it.
fn unit() -> Option<(&'static str, String)> {
    UNITS.iter().find_map(|path| Some((*path, std::fs::read_to_string(path).ok()?)))
}

/// Does the service that is installed run? `slice`: what services run in; `runtime`: where it counts its starts.
fn running(slice: &Path, runtime: &Path) -> Finding {
    let processes = std::fs::read_to_string(slice.join("lookout.service/cgroup.procs")).unwrap_or_default();
    if processes.trim().is_empty() {
        return Finding::note("service", "it is installed and does not run: nothing is watched")
            .fix("`systemctl status lookout` says why, `sudo systemctl start lookout` starts it");
    }
    let story = Runs::look(runtime).map(|story| format!("; {story}"));
    Finding::ok("service", format!("it runs{}", story.unwrap_or_default()))
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
    use crate::config::BlackBox;
    use crate::report::LastEnd;

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
    fn a_service_that_is_dead_is_said_and_one_that_runs_says_how_the_last_run_ended() {
        let dir = std::env::temp_dir().join(format!("lookout-slice-{}", std::process::id()));
        let says = || running(&dir, &dir).says().to_string();
        let dead = "it is installed and does not run: nothing is watched";
        assert_eq!(says(), dead, "it was never started");
        std::fs::create_dir_all(dir.join("lookout.service")).expect("a folder");
        let processes = |text: &str| std::fs::write(dir.join("lookout.service/cgroup.procs"), text).expect("a file");
        processes("");
        assert_eq!(says(), dead);
        processes("714\n");
        assert_eq!(says(), "it runs");
        Runs::begin(Some(&dir)).end(LastEnd::Failed, "no camera");
        Runs::begin(Some(&dir));
        assert_eq!(says(), "it runs; start 2 since power came on or it was stopped; the last run ended: no camera");
        std::fs::remove_dir_all(&dir).expect("it was there");
    }

    #[test]
    fn what_the_unit_shuts_out_is_said() {
        let unit = include_str!("../../../board/systemd/lookout.service");
        let dir = Some("/home/me/clips".into());
        let config =
            Config { bundle: Some("/root/mine".into()), blackbox: BlackBox { dir, ..BlackBox::default() }, ..Config::default() };
        let files =
            ["/srv/reports.nmea", "/var/lib/lookout/reports.nmea", "/run/lookout/reports.nmea", "/dev/null"].map(PathBuf::from);
        let found = outside(unit, &config, Some("/tmp/camera.fifo"), &files);
        let says: Vec<&str> = found.iter().map(Finding::says).collect();
        let expected = [
            "source: the service does not see /tmp/camera.fifo, its unit shuts it out there",
            "bundle: the service does not see /root/mine, its unit shuts it out there",
            "report: the service may not write /srv/reports.nmea, its unit shuts it out there",
            "blackbox: the service may not write /home/me/clips, its unit shuts it out there",
        ];
        assert_eq!(says, expected);
        assert!(!found.iter().any(Finding::is_broken) && outside("[Service]\n", &config, Some("/tmp/x"), &files).is_empty());
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
