//! A service that waits: what udev has not given to its group yet is awaited, and refused with a sentence to a person; and a log that a night of waiting
//! does not fill.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod program;

use program::street;
use rustix::process::{Pid, Signal, getuid, kill_process};
use serialport::{SerialPort, TTYPort};
use std::fs::{self, File, Permissions};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What is said of a port that this user may not open.
const DENIED: &str = "may not be opened: add the user to the group of the device (`dialout` on Debian)";
/// The port is tried at least once a second; a busy machine is slow.
const LONG: Duration = Duration::from_secs(30);

fn folder(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("service").join(name);
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).unwrap();
    dir
}

/// The program as a user for whom the rights of files count, as they do not for root with all capabilities (setpriv is of util-linux).
fn without_privileges(args: &[&str]) -> Command {
    if !getuid().is_root() {
        return program::command(args);
    }
    let mut command = Command::new("setpriv");
    let program = program::path();
    command.args(["--bounding-set=-all", "--inh-caps=-all", "--", &program]).args(args).stdin(Stdio::null());
    command
}

/// A pty that nobody may open, as a port that the kernel has just made.
fn port() -> (TTYPort, TTYPort, String) {
    let (mut far, near) = TTYPort::pair().unwrap();
    far.set_timeout(Duration::from_millis(20)).unwrap();
    let name = near.name().unwrap();
    fs::set_permissions(&name, Permissions::from_mode(0o000)).unwrap();
    (far, near, name)
}

fn until(mut done: impl FnMut() -> bool) -> bool {
    let begin = Instant::now();
    while begin.elapsed() < LONG {
        if done() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}

#[test]
fn a_port_that_may_not_be_opened_yet_is_awaited_also_with_nothing_to_watch() {
    let dir = folder("rights");
    let (mut far, near, name) = port();
    // Who has it open keeps it from being had alone.
    drop(near);
    let (log, report) = (dir.join("log"), format!("serial:{name},115200"));
    let nowhere = dir.join("nowhere").display().to_string();
    let args = ["run", "--board", "host", "--wait", "--bundle", &nowhere, "--report", &report];
    let mut run = without_privileges(&args).stderr(File::create(&log).unwrap()).spawn().unwrap();
    assert!(until(|| fs::read_to_string(&log).unwrap().contains(DENIED)), "{}", fs::read_to_string(&log).unwrap());
    fs::set_permissions(&name, Permissions::from_mode(0o600)).unwrap();
    let (mut heard, mut bytes) = (String::new(), [0; 256]);
    let came = until(|| {
        let n = far.read(&mut bytes).unwrap_or_default();
        heard += &String::from_utf8_lossy(&bytes[..n]);
        heard.contains(",NO BUNDLE,")
    });
    kill_process(Pid::from_child(&run), Signal::TERM).unwrap();
    assert_eq!(run.wait().unwrap().code(), Some(0));
    assert!(came, "{heard}{}", fs::read_to_string(&log).unwrap());
}

#[test]
fn without_wait_a_port_that_may_not_be_opened_ends_the_run_with_the_same_sentence() {
    let dir = folder("denied");
    let (_far, _near, name) = port();
    let (clip, report) = (street(&dir.join("quiet.y4m"), 20, 0.0, 0..0), format!("serial:{name},115200"));
    let config = dir.join("box.toml");
    fs::write(&config, format!("state = {:?}\n", dir.join("state"))).unwrap();
    let args = ["run", "--config", config.to_str().unwrap(), "--board", "host", "--source", &clip, "--report", &report];
    let done = without_privileges(&args).output().unwrap();
    let said = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("{name}: {DENIED}")), "{said}");
}

/// The bundle is tried again every two seconds: what else is wrong is said when it runs, not at each try.
#[test]
fn waiting_for_a_bundle_says_nothing_twice() {
    let dir = folder("quiet");
    let state = dir.join("state");
    fs::create_dir_all(&state).unwrap();
    fs::write(state.join("novelty.json"), "torn").unwrap();
    let (config, log, said) = (dir.join("box.toml"), dir.join("log"), dir.join("said"));
    // No place can be said of rows of numbers, so this bundle is never the one.
    fs::write(&config, format!("state = {state:?}\nsource = \"features:-\"\nwhere = true\n")).unwrap();
    let report = format!("file:{}", said.display());
    let bundle = "tests/bundles/rows-gru";
    let args =
        ["run", "--wait", "--config", config.to_str().unwrap(), "--board", "host", "--bundle", bundle, "--report", &report];
    let mut run = program::command(&args).stderr(File::create(&log).unwrap()).spawn().unwrap();
    // Once a second, so that there were two tries more.
    let waited = until(|| fs::read_to_string(&said).unwrap_or_default().matches(",NO BUNDLE,").count() >= 6);
    kill_process(Pid::from_child(&run), Signal::TERM).unwrap();
    assert_eq!(run.wait().unwrap().code(), Some(0));
    let log = fs::read_to_string(&log).unwrap();
    assert!(waited && log.matches("waiting for a bundle").count() == 1, "{log}");
    assert!(log.matches("novelty.json").count() <= 1, "{log}");
}
