//! The promise: a configuration that `run` refuses is one that `doctor` calls broken, with the same exit code; and looking makes and takes nothing.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod program;

use program::lookout;
use std::fs;
use std::path::{Path, PathBuf};

fn folder(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("doctor").join(name);
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).unwrap();
    dir
}

/// A box of this folder: its configuration says so much and what is given, and frames come from a clip where nothing else is given.
fn configured(dir: &Path, text: &str) -> String {
    let config = dir.join("lookout.toml");
    let mut all = format!("state = {:?}\n", dir.join("state"));
    if !text.contains("board = ") {
        all += "board = \"host\"\n";
    }
    if !text.contains("source = ") {
        all += &format!("source = \"y4m:{}/tests/golden/sources/mono.y4m\"\n", env!("CARGO_MANIFEST_DIR"));
    }
    fs::write(&config, all + text).unwrap();
    config.display().to_string()
}

/// What `doctor` says of it, and its exit code.
fn doctor(config: &str) -> (Option<i32>, String) {
    let out = lookout(&["doctor", "--config", config]);
    (out.status.code(), String::from_utf8(out.stdout).unwrap())
}

fn names(dir: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.sort();
    all
}

#[test]
fn what_run_refuses_is_broken() {
    let dir = folder("refused");
    let at = |name: &str| dir.join(name).display().to_string();
    fs::write(at("afile"), "").unwrap();
    fs::create_dir(at("adir")).unwrap();
    fs::write(at("six.csv"), "1,2,3,4,5,6\n6,5,4,3,2,1\n").unwrap();
    fs::write(at("three.csv"), "1,2,3\n").unwrap();
    let host = fs::read_to_string("board/host.toml").unwrap();
    fs::write(at("host.toml"), host.replace("threads = 2", "threads = 1")).unwrap();
    let rows = format!("bundle = \"{}/tests/bundles/rows-gru\"\n", env!("CARGO_MANIFEST_DIR"));
    let other =
        host.replace("compatible = []", "compatible = [\"nobody,nothing\"]").replace("name = \"host\"", "name = \"other\"");
    fs::write(at("other.toml"), other).unwrap();
    let senses = format!("bundle = \"{}/tests/bundles/senses\"\n", env!("CARGO_MANIFEST_DIR"));
    let (afile, adir) = (at("afile"), at("adir"));
    for (text, code, words) in [
        ("report = [\"gpio\"]".to_string(), 2, "reports go to lines, and none is wired"),
        (format!("report = [\"file:{}\"]", at("none/x")), 2, "there is no folder"),
        (format!("report = [\"stdout\", \"json:{adir}\"]"), 2, "is a folder, and reports go to it"),
        ("report = [\"json:/proc/x\"]".into(), 2, "no file can be made there"),
        (format!("report = [\"serial:{afile}\"]"), 2, "is no serial port"),
        (format!("[blackbox]\ndir = {afile:?}"), 2, "cannot be a folder"),
        (format!("source = {:?}", at("none.y4m")), 2, "none.y4m: no such file"),
        (format!("source = \"frames:{}\"", at("none")), 2, "none: no such file"),
        (format!("{rows}source = \"features:{}\"", at("none.csv")), 2, "none.csv: no such file"),
        (format!("source = {adir:?}"), 2, "no pictures in this folder"),
        (format!("source = {afile:?}"), 2, "0 bytes, expected a clip"),
        (format!("source = \"pipe:{},gray,64x64@10\"", at("none")), 1, "`mkfifo` makes a pipe"),
        (format!("source = \"features:{}\"", at("six.csv")), 2, "gives rows of numbers, the bundle takes pictures"),
        (format!("{rows}source = \"features:{}\"", at("three.csv")), 2, "3 numbers, the bundle has 6"),
        (format!("{rows}source = \"features:{}\"\nwhere = true", at("six.csv")), 2, "cannot be said of rows of numbers"),
        (rows.clone(), 2, "gives pictures, the bundle takes rows of numbers"),
        ("[region]\nx = 0.5\ny = 0.5\nwidth = 0.001\nheight = 0.001".into(), 2, "less than a pixel of a picture of 35x21"),
        (format!("board = {:?}\nthreads = 2", at("host.toml")), 2, "threads = 2: 1 are for inference here"),
        (format!("board = {:?}", at("other.toml")), 2, "it is for \"nobody,nothing\", but this machine is "),
        ("[extra]\nspeed = \"rows:/tmp/x,1\"".into(), 2, "extra: the bundle reads no extra \"speed\", it reads none"),
        (format!("{senses}[extra]\nsped = \"none\""), 2, "extra: the bundle reads no extra \"sped\", it reads speed, audio"),
        (format!("{senses}[extra]\nspeed = \"rows:tmp\""), 2, "extra.speed = \"rows:tmp\", a path from / is missing"),
        (format!("{senses}[extra]\naudio = \"rows:{adir}\""), 2, "adir is neither a FIFO nor a file"),
    ] {
        let config = configured(&dir, &text);
        let before = names(&dir);
        let (found, says) = doctor(&config);
        assert!(found == Some(code) && says.contains(words), "{text}: {found:?} {says}");
        assert!(!says.lines().any(|line| line.trim() == "device tree"), "{text}: {says}");
        assert_eq!(names(&dir), before, "{text}: something was made");
        let run = lookout(&["run", "--config", &config]);
        assert_eq!(run.status.code(), Some(code), "{text}: {}", String::from_utf8_lossy(&run.stderr));
    }
    // Of a camera that is not there either, `run` may say that first.
    let (found, says) = doctor(&configured(&dir, &format!("{rows}source = \"v4l2:/dev/no-such-video\"")));
    assert!(found == Some(2) && says.contains("gives pictures, the bundle takes rows of numbers"), "{found:?} {says}");
}

#[test]
fn what_run_takes_is_not_and_nothing_is_made_or_read() {
    let dir = folder("taken");
    let at = |name: &str| dir.join(name).display().to_string();
    let good = format!("report = [\"file:{}\"]\n[blackbox]\ndir = {:?}\n", at("new.nmea"), at("clips"));
    let config = configured(&dir, &good);
    let before = names(&dir);
    let (found, says) = doctor(&config);
    assert!(found == Some(0) && says.contains("mono.y4m: Y4M ") && says.contains("new.nmea can be written"), "{says}");
    assert_eq!(names(&dir), before);
    let run = lookout(&["run", "--config", &config]);
    assert_eq!(run.status.code(), Some(0), "{}", String::from_utf8_lossy(&run.stderr));
    assert_eq!(doctor(&config).0, Some(0), "and once they are there");
    // A FIFO that nobody writes into would hold up whoever opens it.
    let fifo = program::fifo(dir.join("camera"));
    let pipe = format!("source = \"pipe:{},gray,64x64@10\"\n", fifo.display());
    for text in [&pipe, &format!("source = \"y4m:{}\"\n", fifo.display())] {
        let (found, says) = doctor(&configured(&dir, text));
        assert_eq!(found, Some(0), "{says}");
    }
    let tiny = "[region]\nx = 0.5\ny = 0.5\nwidth = 0.01\nheight = 0.01\n";
    let (found, says) = doctor(&configured(&dir, &format!("{pipe}{tiny}")));
    assert!(found == Some(2) && says.contains("less than a pixel of a picture of 64x64"), "{says}");
}

/// No user may write there and `run` needs nobody who may: it goes on without clips. Says `SKIPPED` and why where nothing can be mounted.
#[test]
fn a_black_box_on_a_disk_that_is_read_only_is_said_and_breaks_nothing() {
    let dir = folder("fixed");
    let disk = dir.join("disk");
    fs::create_dir(&disk).unwrap();
    let config = configured(&dir, &format!("[blackbox]\ndir = {:?}\n", disk.join("clips")));
    let script = "mount -t tmpfs -o ro none \"$1\" || exit 77; exec \"$0\" doctor --config \"$2\"";
    let mut command = std::process::Command::new("unshare");
    let out = command.args(["-rm", "sh", "-c", script, &program::path()]).arg(&disk).arg(&config).output();
    let (code, says, why) = match out {
        Ok(out) => (
            out.status.code(),
            String::from_utf8_lossy(&out.stdout).into_owned(),
            String::from_utf8_lossy(&out.stderr).into_owned(),
        ),
        Err(e) => (Some(77), String::new(), e.to_string()),
    };
    if code == Some(77) || why.starts_with("unshare") {
        // Past the test harness, which keeps what a test prints that passes.
        let skipped = format!("SKIPPED a disk that is read-only: nothing can be mounted here: unshare -rm: {why}\n");
        std::io::Write::write_all(&mut std::io::stderr(), skipped.as_bytes()).unwrap();
        return;
    }
    let words = "clips is on a disk that is mounted read-only: no clips will be kept; reports go on";
    assert!(code == Some(0) && says.contains(words), "{code:?} {says}{why}");
}
