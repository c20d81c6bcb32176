//! Sentences and JSON lines to files and to standard output, a pipe that is closed included.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod program;
mod samples;

use lookout::report::sentence::Sentence;
use lookout::report::{Pace, ReportError, Sink, open};
use lookout::sys::alloc::{Counting, count};
use program::lookout;
use samples::{any, identity};
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn temporary(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("lookout-streams-{name}-{}", std::process::id()))
}

fn send(spec: &str, count: u32) {
    let mut sink = open(&spec.parse().unwrap(), &identity(), None, Pace::Recording).unwrap();
    (0..count).for_each(|k| sink.send(k, &any(k)));
    sink.close(Duration::from_secs(10));
}

/// Sends until the sink says that nobody will ever read it again; false after ten seconds.
fn goes(sink: &mut dyn Sink) -> bool {
    let start = Instant::now();
    for k in 0.. {
        sink.send(k, &any(k));
        if sink.gone() || start.elapsed() > Duration::from_secs(10) {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    sink.gone()
}

#[test]
fn file_is_appended_to_and_a_torn_line_is_ended_first() {
    let path = temporary("append");
    std::fs::write(&path, "$PLKTC,1,half").unwrap();
    send(&format!("file:{}", path.display()), 2);
    send(&format!("file:{}", path.display()), 1);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let sentence = |k| Sentence::of(k, &any(k)).encode();
    assert_eq!(text, format!("$PLKTC,1,half\n{}{}{}", sentence(0), sentence(1), sentence(0)));
}

#[test]
fn json_lines_are_objects() {
    let path = temporary("json");
    send(&format!("json:{}", path.display()), 500);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let objects: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(objects.len(), 501);
    for (k, object) in objects[1..].iter().enumerate() {
        let kind = ["class", "class", "event", "novelty", "place", "health"][k % 6];
        assert_eq!((object["seq"].as_u64(), object["type"].as_str()), (Some(u64::try_from(k).unwrap()), Some(kind)));
    }
}

/// Whoever writes a recording into standard input may take his time: its reports are of its own time.
#[test]
fn a_recording_that_pauses_gives_the_same_reports() {
    use std::io::Write;
    let film = lookout(&["demo", "--save", "-"]).stdout;
    assert!(film.len() > 1_000_000);
    let said = |pause: Duration| {
        let args = ["run", "--board", "host", "--source", "y4m:-", "--report", "stdout"];
        let mut run = program::command(&args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (mut to, film) = (run.stdin.take().unwrap(), film.clone());
        let writer = std::thread::spawn(move || {
            // In the middle of an event, and of a frame.
            let (first, second) = film.split_at(film.len() / 8);
            to.write_all(first).and_then(|()| to.flush()).unwrap();
            std::thread::sleep(pause);
            to.write_all(second).unwrap();
        });
        let mut text = String::new();
        run.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        writer.join().unwrap();
        assert!(run.wait().unwrap().success());
        // Without numbers and checksums, and without health, which says that frames were missing.
        let plain =
            |line: &str| line.split(',').enumerate().filter(|(n, _)| *n != 1).map(|(_, f)| f.to_string()).collect::<Vec<_>>();
        let lines: Vec<Vec<String>> = text.lines().filter(|l| !l.starts_with("$PLKTH")).map(plain).collect();
        lines
            .into_iter()
            .map(|mut fields| {
                fields.pop();
                fields.join(",")
            })
            .collect::<Vec<_>>()
    };
    let at_once = said(Duration::ZERO);
    assert!(at_once.len() > 20);
    assert_eq!(said(Duration::from_millis(2500)), at_once);
}

/// As `--config <(...)` gives it: the program that writes it may take its time, but is not waited for for ever.
#[test]
fn a_configuration_may_come_through_a_fifo() {
    use std::io::Write;
    let (fifo, rows) = (program::fifo(temporary("config")), temporary("config-rows"));
    std::fs::write(&rows, "0 0 0 0 0 0\n".repeat(60)).unwrap();
    let (config, source) = (fifo.display().to_string(), format!("features:{}", rows.display()));
    let args = ["run", "--config", &config, "--board", "host", "--bundle", "tests/bundles/rows-gru", "--source", &source];
    let args = [&args[..], &["--report", "stdout"]].concat();
    let child = program::command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut writer = std::fs::OpenOptions::new().write(true).open(&fifo).unwrap();
    writer.write_all(b"heartbeat_s ").unwrap();
    std::thread::sleep(Duration::from_millis(1_200));
    writer.write_all(b"= 2\n").unwrap();
    drop(writer);
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success() && !out.stdout.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
    // Nobody writes.
    let out = lookout(&args);
    let said = String::from_utf8(out.stderr).unwrap();
    [&fifo, &rows].into_iter().for_each(|path| std::fs::remove_file(path).unwrap());
    assert!(out.status.code() == Some(2) && said.contains(&format!("{config}: nothing came within 10s")), "{said}");
}

/// `ffmpeg ... -f rawvideo - | lookout run --source pipe:-,...`: 20 seconds of it in a moment are no camera.
#[test]
fn a_recording_that_is_taken_for_a_camera_is_called_one() {
    use std::io::Write;
    let source = "pipe:-,gray,32x32@20";
    let args = ["run", "--board", "host", "--bundle", "tests/bundles/resnet", "--source", source, "--report", "stdout"];
    let mut command = program::command(&args);
    let mut run = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    run.stdin.take().unwrap().write_all(&vec![128; 401 * 32 * 32]).unwrap();
    let said = String::from_utf8(run.wait_with_output().unwrap().stderr).unwrap();
    assert!(said.contains("401 frames, 20.0 s of them, came within ") && said.contains("y4m:-"), "{said}");
}

#[test]
fn what_cannot_be_written_is_refused_at_once() {
    let refused = |path: &str, pace| {
        let error = open(&format!("file:{path}").parse().unwrap(), &identity(), None, pace).err()?;
        assert!(matches!(&error, ReportError::Refused { .. }) && error.to_string().starts_with(path), "{error}");
        Some(error)
    };
    for path in ["/", "/dev/null/below", &format!("/tmp/{}", "x".repeat(300)), "/nowhere/at/all"] {
        assert!(refused(path, Pace::Recording).is_some(), "{path}");
        // Live, a folder may come later, and what else reports go to is not silent until then.
        assert_eq!(refused(path, Pace::Live).is_some(), path != "/nowhere/at/all", "{path}");
    }
}

#[test]
fn full_disk_costs_reports_and_the_exit_code_says_so() {
    // /dev/full takes no byte.
    let start = Instant::now();
    send("file:/dev/full", 500);
    assert!(start.elapsed() < Duration::from_secs(5));
    // The program says the same on its other sink, one sentence about the full one, and that not all was written.
    let rows = temporary("full");
    std::fs::write(&rows, "0 0 0 0 0 0\n".repeat(60)).unwrap();
    let source = format!("features:{}", rows.display());
    let run = |more: &[&str], code: i32| {
        let args = ["run", "--board", "host", "--bundle", "tests/bundles/rows-gru", "--source", &source, "--report", "stdout"];
        let out = lookout(&[&args[..], more].concat());
        assert_eq!(out.status.code(), Some(code), "{}", String::from_utf8_lossy(&out.stderr));
        (String::from_utf8(out.stdout).unwrap(), String::from_utf8(out.stderr).unwrap())
    };
    let ((plain, _), (beside, log)) = (run(&[], 0), run(&["--report", "file:/dev/full"], 1));
    std::fs::remove_file(&rows).unwrap();
    assert!(plain.lines().count() > 4, "{plain}");
    assert_eq!(beside, plain);
    assert_eq!(log.matches("/dev/full: reports are lost: No space left").count(), 1, "said once: {log}");
    assert!(log.contains("not all reports of this recording could be written"), "{log}");
}

#[test]
fn two_reports_never_share_a_file() {
    let path = temporary("shared");
    let (file, json) = (format!("file:{}", path.display()), format!("json:{}", path.display()));
    let out = lookout(&["run", "--board", "host", "--source", "features:/nowhere", "--report", &file, "--report", &json]);
    let said = String::from_utf8(out.stderr).unwrap();
    assert!(out.status.code() == Some(2) && said.contains("another report goes there already"), "{said}");
    assert!(!path.exists(), "nothing was opened");
}

/// What is sent just before the end is there, whatever the writer did at that moment. Many at once, so that each is now and then interrupted anywhere.
#[test]
fn nothing_is_lost_between_the_last_look_and_the_end() {
    let one = |n: u32| {
        let path = temporary(&format!("end{n}"));
        let spec = format!("file:{}", path.display()).parse().unwrap();
        for round in 0..1_000u64 {
            // Live: a recording's file is flushed at its end, and this would be about the disk.
            let mut sink = open(&spec, &identity(), None, Pace::Live).unwrap();
            std::thread::sleep(Duration::from_micros(round % 150));
            sink.send(0, &any(0));
            sink.close(Duration::from_secs(10));
            assert_eq!(std::fs::read_to_string(&path).unwrap(), Sentence::of(0, &any(0)).encode().as_str(), "round {round}");
            std::fs::remove_file(&path).unwrap();
        }
    };
    std::thread::scope(|all| (0..8).for_each(|n| drop(all.spawn(move || one(n)))));
}

/// A reader who is away for longer than a run that is told to stop waits: the end of a recording is as whole as the rest of it.
#[test]
fn the_end_of_a_recording_waits_for_a_slow_reader() {
    let (fifo, rows) = (program::fifo(temporary("slow")), temporary("rows"));
    // Classes that change, so that more is said than a pipe holds.
    let row = |n: usize| if n % 60 < 30 { "2.5,-2.5,2.5,-2.5,2.5,-2.5\n" } else { "0,0,0,0,0,0\n" };
    std::fs::write(&rows, (0..1_500).map(row).collect::<String>()).unwrap();
    let run = |report: &str| {
        let source = format!("features:{}", rows.display());
        let args = ["run", "--board", "host", "--bundle", "tests/bundles/rows-lstm", "--source", &source, "--report", report];
        let mut command = program::command(&args);
        command.stderr(Stdio::null());
        command
    };
    let whole = run("stdout").output().unwrap().stdout;
    let mut child = run(&format!("file:{}", fifo.display())).spawn().unwrap();
    let mut reader = std::fs::File::open(&fifo).unwrap();
    rustix::pipe::fcntl_setpipe_size(&reader, 4096).unwrap();
    std::thread::sleep(Duration::from_millis(1_500));
    let mut heard = vec![];
    reader.read_to_end(&mut heard).unwrap();
    assert!(child.wait().unwrap().success());
    [&fifo, &rows].into_iter().for_each(|path| std::fs::remove_file(path).unwrap());
    assert!(whole.len() > 2 * 4096, "{} bytes", whole.len());
    assert_eq!(String::from_utf8(heard).unwrap(), String::from_utf8(whole).unwrap());
}

/// A program that reads may be started after ours, which does not wait for it.
#[test]
fn a_fifo_need_not_have_a_reader_yet_and_he_hears_what_waited() {
    for pace in [Pace::Live, Pace::Recording] {
        let fifo = program::fifo(temporary("late"));
        let mut sink = open(&format!("file:{}", fifo.display()).parse().unwrap(), &identity(), None, pace).unwrap();
        (0..20).for_each(|k| sink.send(k, &any(k)));
        let mut reader = std::fs::File::open(&fifo).unwrap();
        assert!(sink.close(Duration::from_secs(10)), "{pace:?}");
        let mut heard = String::new();
        reader.read_to_string(&mut heard).unwrap();
        std::fs::remove_file(&fifo).unwrap();
        let sentence = |k: u32| Sentence::of(k, &any(k)).encode().to_string();
        match pace {
            Pace::Recording => assert_eq!(heard, (0..20).map(sentence).collect::<String>()),
            // Every event, and what is newest of the rest.
            Pace::Live => assert!((2..20).step_by(6).all(|k| heard.contains(&sentence(k))), "{heard}"),
        }
    }
}

/// `/dev/stdout` in a pipeline looks like a FIFO; who left it never comes back.
#[test]
fn a_pipe_without_a_name_is_gone_with_its_reader() {
    use rustix::pipe::{PipeFlags, pipe_with};
    use std::os::fd::AsRawFd;
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    let spec = format!("file:/proc/self/fd/{}", writer.as_raw_fd());
    let mut sink = open(&spec.parse().unwrap(), &identity(), None, Pace::Live).unwrap();
    drop(reader);
    assert!(goes(sink.as_mut()));
}

#[test]
fn sending_allocates_nothing() {
    let path = temporary("allocations");
    for pace in [Pace::Live, Pace::Recording] {
        let mut sink = open(&format!("file:{}", path.display()).parse().unwrap(), &identity(), None, pace).unwrap();
        let reports: Vec<_> = (0..6).map(any).collect();
        let before = count();
        for k in 0..2_000 {
            sink.send(k, &reports[usize::try_from(k).unwrap() % 6]);
        }
        assert_eq!(count(), before, "{pace:?}");
        assert!(before > 0, "the counter counts");
    }
    std::fs::remove_file(&path).unwrap();
}

/// This test file again, as a program whose standard output is ours.
fn child(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--ignored", "--nocapture"]).stdout(Stdio::piped());
    command
}

#[test]
fn stdout_gets_every_sentence() {
    let output = child("child_sends_to_stdout").output().unwrap();
    assert!(output.status.success());
    let want: Vec<u8> = (0..2_000).flat_map(|k| Sentence::of(k, &any(k)).encode().as_bytes().to_vec()).collect();
    let at = output.stdout.windows(5).position(|w| w == b"$PLKT").unwrap();
    assert!(output.stdout[at..].starts_with(&want));
}

#[test]
fn stdout_that_nobody_reads_any_more_is_gone() {
    let mut child = child("child_sends_until_gone").spawn().unwrap();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("$PLKT") {
        line.clear();
        assert!(reader.read_line(&mut line).unwrap() > 0);
    }
    drop(reader);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn stdout_that_nobody_reads_does_not_hold_up_closing() {
    let mut child = child("child_closes_in_time").spawn().unwrap();
    let code = child.wait().unwrap().code();
    let mut rest = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut rest).unwrap();
    assert_eq!(code, Some(0));
}

#[test]
#[ignore = "run by stdout_gets_every_sentence"]
fn child_sends_to_stdout() {
    send("stdout", 2_000);
    std::process::exit(0);
}

#[test]
#[ignore = "run by stdout_that_nobody_reads_any_more_is_gone"]
fn child_sends_until_gone() {
    let mut sink = open(&"stdout".parse().unwrap(), &identity(), None, Pace::Live).unwrap();
    std::process::exit(if goes(sink.as_mut()) { 0 } else { 3 });
}

#[test]
#[ignore = "run by stdout_that_nobody_reads_does_not_hold_up_closing"]
fn child_closes_in_time() {
    let mut sink = open(&"json:-".parse().unwrap(), &identity(), None, Pace::Live).unwrap();
    for k in 0..5_000 {
        sink.send(k, &any(k));
        if k % 16 == 0 {
            std::thread::sleep(Duration::from_micros(200));
        }
    }
    let start = Instant::now();
    sink.close(Duration::from_millis(300));
    std::process::exit(if start.elapsed() < Duration::from_millis(1_500) { 0 } else { 3 });
}

/// Runs that were appended to one file can be told apart, and a live one says when it was.
#[test]
fn every_run_begins_its_json_with_who_it_is_and_when() {
    let path = temporary("begin");
    let spec = format!("json:{}", path.display());
    let now = || u64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
    let before = now();
    (0..2).for_each(|_| send(&spec, 3));
    let mut sink = open(&spec.parse().unwrap(), &identity(), None, Pace::Live).unwrap();
    assert!(sink.close(Duration::from_secs(10)), "also where there was nothing to report");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let begins: Vec<usize> = (0..lines.len()).filter(|n| lines[*n]["type"] == "begin").collect();
    assert_eq!((begins.as_slice(), lines.len()), (&[0, 4, 8][..], 9), "{text}");
    let who = identity();
    for line in begins.iter().map(|n| &lines[*n]) {
        let said = ["version", "bundle", "hash"].map(|key| line[key].as_str().unwrap());
        assert_eq!(said, [&who.version, &who.bundle, &who.hash]);
        assert_eq!(line["labels"], serde_json::json!(who.labels));
    }
    assert!(lines[0]["unix_ms"].is_null() && lines[0] == lines[4], "a recording gives the same bytes every time");
    let when = lines[8]["unix_ms"].as_u64().unwrap();
    assert!((before..=now()).contains(&when), "{when}");
}
