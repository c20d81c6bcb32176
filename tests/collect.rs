//! Footage to clips and to an index: `record`, `label`, `index`, `find`, on recordings that the test paints.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a failed step is a failed test; it prints its figures")]

mod program;

use lookout::decision::softmax;
use lookout::head::Head;
use lookout::pipeline::{self, Pipeline, Probe};
use lookout::report::ClassId;
use lookout::source::{Timestamp, ahead::Ahead, open};
use lookout::ticks::{Data, Kind, Maker};
use program::{lookout, street};
use std::fs;
use std::path::{Path, PathBuf};

fn folder(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("collect").join(name);
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).unwrap();
    dir
}

fn ticks(clip: &Path) -> usize {
    let bytes = fs::read(clip).unwrap();
    let head = bytes.iter().position(|b| *b == b'\n').unwrap() + 1;
    let text = String::from_utf8_lossy(&bytes[..head]).into_owned();
    let side = |letter: char| text.split(' ').find_map(|p| p.strip_prefix(letter)).unwrap().parse::<usize>().unwrap();
    let picture = side('W') * side('H') + 6;
    assert_eq!((bytes.len() - head) % picture, 0, "whole pictures");
    (bytes.len() - head) / picture
}

#[test]
fn clips_are_recorded_with_what_was_before_and_within_bounds() {
    let dir = folder("record");
    let film = street(&dir.join("film.y4m"), 200, 0.5, 0..200);
    let source = format!("y4m:{film}");
    let record = |more: &[&str]| {
        let out = dir.join("clips").display().to_string();
        lookout(
            &[&["record", "--label", "walk", "--source", &source, "--out", &out, "--seconds", "2", "--before", "0.5"], more]
                .concat(),
        )
    };
    let out = record(&["--count", "3", "--width", "80"]);
    assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
    let clips: Vec<PathBuf> = String::from_utf8(out.stdout).unwrap().lines().map(PathBuf::from).collect();
    assert_eq!(clips.iter().map(|c| ticks(c)).collect::<Vec<_>>(), [20, 20, 20]);
    // The next recording goes on behind them, and what is told in `--limit-mb` ends it.
    let out = record(&["--count", "1"]);
    assert!(String::from_utf8(out.stdout).unwrap().contains("clip0003.y4m"));
    let out = record(&["--count", "100", "--limit-mb", "1", "--width", "160"]);
    let (text, said) = (String::from_utf8(out.stdout).unwrap(), String::from_utf8(out.stderr).unwrap());
    assert!(said.contains("1 allowed; recording ends") && text.lines().count() < 9, "{said}{text}");
    // Full is full: the next call adds nothing.
    let before = fs::read_dir(dir.join("clips/walk")).unwrap().count();
    let out = record(&["--count", "1", "--limit-mb", "1"]);
    let said = String::from_utf8(out.stderr).unwrap();
    assert!(out.status.code() == Some(2) && said.contains("1 MB, 1 allowed; nothing is recorded"), "{said}");
    assert_eq!(fs::read_dir(dir.join("clips/walk")).unwrap().count(), before);
    let out = lookout(&["record", "--label", "a b", "--source", &source, "--out", "x"]);
    assert!(out.status.code() == Some(2) && String::from_utf8_lossy(&out.stderr).contains("label \"a b\""));
}

/// A grey Y4M of 32x32: one level a picture.
fn levels(file: &Path, rate: u32, levels: &[u8]) -> String {
    let mut bytes = format!("YUV4MPEG2 W32 H32 F{rate}:1 Cmono\n").into_bytes();
    levels.iter().for_each(|level| bytes.extend([&b"FRAME\n"[..], &[*level; 32 * 32]].concat()));
    fs::write(file, bytes).unwrap();
    file.display().to_string()
}

/// The level of every picture of such a clip.
fn shown(clip: &Path) -> Vec<u8> {
    let bytes = fs::read(clip).unwrap();
    let head = bytes.iter().position(|b| *b == b'\n').unwrap() + 1;
    bytes[head..].chunks(6 + 32 * 32).map(|picture| picture[6]).collect()
}

/// As the device sees it: never what comes later.
#[test]
fn a_tick_of_a_clip_shows_the_newest_picture_at_or_before_it() {
    let dir = folder("slow");
    let film = levels(&dir.join("film.y4m"), 5, &[50, 60, 70, 80, 90]);
    let (out, times) = (dir.join("clips").display().to_string(), dir.join("times.csv").display().to_string());
    fs::write(&times, "start_s,end_s,label\n0,0.6,walk\n0.3,0.9,sit\n").unwrap();
    let cut = lookout(&["label", &film, "--times", &times, "--out", &out]);
    assert_eq!(cut.status.code(), Some(0), "{}", String::from_utf8_lossy(&cut.stderr));
    assert_eq!(shown(&dir.join("clips/walk/film-0000.y4m")), [50, 50, 60, 60, 70, 70]);
    assert_eq!(shown(&dir.join("clips/sit/film-0000.y4m")), [60, 70, 70, 80, 80, 90]);
    // A second between two pictures is filled with the first of them.
    let rare = levels(&dir.join("rare.y4m"), 1, &[50, 60]);
    fs::write(&times, "start_s,end_s,label\n0.8,1.1,stand\n").unwrap();
    let cut = lookout(&["label", &rare, "--times", &times, "--out", &out]);
    assert_eq!(cut.status.code(), Some(0), "{}", String::from_utf8_lossy(&cut.stderr));
    assert_eq!(shown(&dir.join("clips/stand/rare-0000.y4m")), [50, 50, 60]);
    let source = format!("y4m:{film}");
    let record = ["record", "--label", "run", "--source", &source, "--out", &out, "--seconds", "0.6", "--before", "0"];
    let done = lookout(&[&record[..], &["--count", "1"]].concat());
    assert_eq!(done.status.code(), Some(0), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(shown(&dir.join("clips/run/clip0000.y4m")), [50, 50, 60, 60, 70, 70]);
}

#[test]
fn what_is_damaged_in_a_recording_is_said_when_it_is_cut() {
    let dir = folder("damaged");
    let film = levels(&dir.join("film.y4m"), 10, &[50; 12]);
    let (out, times) = (dir.join("clips").display().to_string(), dir.join("times.csv").display().to_string());
    let bytes = fs::read(&film).unwrap();
    fs::write(&film, &bytes[..bytes.len() - 99]).unwrap();
    fs::write(&times, "start_s,end_s,label\n0,1,walk\n").unwrap();
    let cut = lookout(&["label", &film, "--times", &times, "--out", &out]);
    let said = String::from_utf8(cut.stderr).unwrap();
    assert!(cut.status.code() == Some(0) && said.contains("film.y4m frame 11: cut off"), "{said}");
    assert_eq!(shown(&dir.join("clips/walk/film-0000.y4m")), [50; 10]);
    fs::write(&film, &bytes[..99]).unwrap();
    let cut = lookout(&["label", &film, "--times", &times, "--out", &out]);
    let said = String::from_utf8(cut.stderr).unwrap();
    assert!(cut.status.code() == Some(2) && said.contains("no frame could be read from it"), "{said}");
}

/// A bad second of one recording costs its own moments and not the index.
#[test]
fn moments_with_a_row_that_is_no_number_are_left_out_of_an_index_and_said() {
    let dir = folder("holes");
    let index = dir.join("all.index").display().to_string();
    let rows = |name: &str, bad: std::ops::Range<usize>| {
        let number = |n: usize, k: usize| ((n * 31 + k * 17) % 97) as f32 / 48.5 - 1.0;
        let row = |n: usize| if bad.contains(&n) { [f32::NAN; 6] } else { [0, 1, 2, 3, 4, 5].map(|k| number(n, k)) };
        let line = |n: usize| row(n).map(|v| v.to_string()).join(",") + "\n";
        fs::write(dir.join(name), (0..60).map(line).collect::<String>()).unwrap();
        format!("features:{}", dir.join(name).display())
    };
    let (whole, torn, none) = (rows("whole.csv", 0..0), rows("torn.csv", 30..31), rows("none.csv", 0..60));
    let with = ["--bundle", "tests/bundles/rows-lstm2"];
    // Windows of 12 ticks, one every 6: tick 30 is in two of the nine.
    let made = lookout(&[&["index", "--out", &index, &whole, &torn, &none], &with[..]].concat());
    let (out, said) = (String::from_utf8(made.stdout).unwrap(), String::from_utf8(made.stderr).unwrap());
    assert!(made.status.code() == Some(2) && out.starts_with("16 moments of 2 recordings"), "{out}{said}");
    assert_eq!(said.matches("torn.csv: 2 of its 9 moments hold something that is no number").count(), 1, "{said}");
    assert!(said.contains("none.csv: every moment of it holds something that is no number"), "{said}");
    let find = |clip: &str| lookout(&[&["find", clip, "--index", &index, "--top", "1", "--json"], &with[..]].concat());
    let found = find(&torn);
    let likest: serde_json::Value = serde_json::from_slice(&found.stdout).unwrap();
    assert!(found.status.code() == Some(0) && likest["like"].as_f64().unwrap() > 0.99, "{likest}");
    let found = find(&none);
    let said = String::from_utf8(found.stderr).unwrap();
    assert!(found.status.code() == Some(2) && said.contains("none.csv: every moment of it"), "{said}");
    // Nothing but it: there is no index.
    let alone = dir.join("alone.index").display().to_string();
    let made = lookout(&[&["index", "--out", &alone, &none], &with[..]].concat());
    assert!(made.status.code() == Some(2) && !Path::new(&alone).exists());
}

/// What is read stays what it was.
#[test]
fn nothing_is_written_over_what_is_read() {
    let dir = folder("spare");
    let [one, two] = ["one.y4m", "two.y4m"].map(|name| levels(&dir.join(name), 10, &[50; 30]));
    let [link, notes, index, svg] = ["link.y4m", "notes.txt", "all.index", "one.svg"].map(|n| dir.join(n).display().to_string());
    std::os::unix::fs::symlink(&one, &link).unwrap();
    fs::write(&notes, "mine").unwrap();
    let before = fs::read(&one).unwrap();
    let refused = |args: &[&str], why: &str| {
        let done = lookout(args);
        let said = String::from_utf8(done.stderr).unwrap();
        assert!(done.status.code() == Some(2) && said.contains(why) && done.stdout.is_empty(), "{args:?}: {said}");
    };
    let read = "it is read here, and would be written over";
    refused(&["index", "--out", &one, &two, &one], read);
    refused(&["index", "--out", &link, &one], read);
    refused(&["index", "--out", &one, &two], "one.y4m: is there and is no index of lookout");
    refused(&["index", "--out", &notes, &two], "notes.txt: is there and is no index of lookout");
    refused(&["classify", &one, "--plot", &one], read);
    refused(&["classify", &format!("y4m:{one}"), "--plot", &link], read);
    let table = dir.join("labels.csv").display().to_string();
    fs::write(&table, "file,label\none.y4m,idle\ntwo.y4m,idle\n").unwrap();
    for page in [&two, &table] {
        refused(&["classify", &one, &two, "--report", page, "--labels", &table], read);
    }
    assert!(fs::read(&one).unwrap() == before && fs::read(&two).unwrap() == before && fs::read(&notes).unwrap() == b"mine");
    // What lookout wrote makes way for the next.
    for _ in 0..2 {
        assert_eq!(lookout(&["index", "--out", &index, &one, &two]).status.code(), Some(0));
        assert_eq!(lookout(&["classify", &one, "--plot", &svg]).status.code(), Some(0));
    }
}

#[test]
fn a_camera_that_stalls_while_recording_is_said_once_and_when_it_goes_on() {
    use std::io::Write;
    let dir = folder("stall");
    let record = |name: &str, seconds: &str, clips: &str| {
        let fifo = program::fifo(dir.join(name));
        let path = fifo.clone();
        let camera = std::thread::spawn(move || {
            let mut camera = fs::OpenOptions::new().write(true).open(path).unwrap();
            for n in 0..200 {
                // A pipe is silent for a second before that is called a stall; here it is three times over.
                std::thread::sleep(std::time::Duration::from_millis(if n == 3 { 3500 } else { 20 }));
                if camera.write_all(&[n; 32 * 32]).is_err() {
                    return;
                }
            }
        });
        let (source, out) = (format!("pipe:{},gray,32x32@50", fifo.display()), dir.join("clips").display().to_string());
        let to = ["--label", name, "--source", &source, "--out", &out];
        let done = lookout(&[&["record"], &to[..], &["--seconds", seconds, "--before", "0", "--count", clips]].concat());
        camera.join().unwrap();
        let said = String::from_utf8(done.stderr).unwrap();
        assert_eq!(done.status.code(), Some(0), "{said}");
        said
    };
    let said = record("walk", "4", "1");
    let count = |what: &str| said.matches(what).count();
    println!("figure: said of a stall of 3.5 s:\n{said}");
    assert_eq!((count("no frames come; recording waits for them"), count("frames come again")), (1, 1), "{said}");
    assert_eq!(ticks(&dir.join("clips/walk/clip0000.y4m")), 40);
    // A clip that is shorter than the stall ends with it, and the next one shows what came then, tick by tick.
    let said = record("sit", "2", "2");
    assert!(said.contains("the clip ends with tick"), "{said}");
    let clip = |n: u8| dir.join(format!("clips/sit/clip000{n}.y4m"));
    assert!(ticks(&clip(0)) < 3);
    assert_eq!(ticks(&clip(1)), 20);
    let bytes = fs::read(clip(1)).unwrap();
    let first = bytes.iter().position(|b| *b == b'\n').unwrap() + 1 + 6;
    let shown: Vec<u8> = bytes[first..].iter().copied().step_by(6 + 32 * 32).collect();
    // On a busy machine one is read late, and stands for some ticks.
    let pictures: std::collections::BTreeSet<u8> = shown.iter().copied().collect();
    assert!(shown.is_sorted() && shown[0] >= 3 && pictures.len() >= 10, "hardly two ticks show the same: {shown:?}");
}

/// What is pressed for has happened already: the clip begins `--before` earlier, and has its length, however long nothing was pressed.
#[test]
fn a_recording_begins_before_the_key_was_pressed() {
    use std::io::Write;
    use std::process::Stdio;
    let dir = folder("before");
    let fifo = program::fifo(dir.join("camera"));
    let (source, out) = (format!("pipe:{},gray,256x256@20", fifo.display()), dir.join("clips"));
    let mut child = program::command(&["record", "--label", "walk", "--source", &source, "--out", out.to_str().unwrap()])
        .args(["--width", "64", "--seconds", "1.5", "--before", "0.5"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // A picture is as large as a pipe, so no more than one waits in it: what is written has been seen. The n-th is n steps light.
    let mut camera = fs::OpenOptions::new().write(true).open(&fifo).unwrap();
    let (mut key, pressed) = (child.stdin.take(), 60u8);
    for n in 0..200u8 {
        if n == pressed {
            // Pressed once, and the end: recording ends with this clip.
            key.take().unwrap().write_all(b"\n").unwrap();
        }
        if camera.write_all(&[20 + n; 256 * 256]).is_err() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert!(child.wait().unwrap().success());
    let clip = out.join("walk/clip0000.y4m");
    let bytes = fs::read(&clip).unwrap();
    let head = bytes.iter().position(|b| *b == b'\n').unwrap() + 1;
    let seen: Vec<u8> = bytes[head..].chunks(6 + 64 * 64).map(|picture| picture[6 + 999] - 20).collect();
    println!("figure: pressed at picture {pressed}; recorded are {seen:?}");
    assert_eq!(ticks(&clip), 15, "no longer than it was asked to be");
    // Half a second before are ten pictures, two a tick; the key is looked at once a tick, and a busy machine is a few pictures late.
    let earlier = pressed - seen[0];
    assert!((6..=14).contains(&earlier), "{earlier} pictures before the key, 10 expected");
    assert!(seen.windows(2).all(|two| two[0] <= two[1]) && seen[14] > pressed + 10);
}

#[test]
fn numbers_beside_the_pictures_are_recorded_in_a_table() {
    use std::io::Write;
    let dir = folder("extra");
    let [eye, ear] = ["camera", "level"].map(|name| program::fifo(dir.join(name)));
    let film = street(&dir.join("film.y4m"), 120, 0.5, 0..120);
    let write = |path: PathBuf, pause: u64, what: Box<dyn Fn(u32) -> Vec<u8> + Send>| {
        std::thread::spawn(move || {
            let mut file = fs::OpenOptions::new().write(true).open(path).unwrap();
            for n in 0..400 {
                std::thread::sleep(std::time::Duration::from_millis(pause));
                if file.write_all(&what(n)).is_err() {
                    return;
                }
            }
        })
    };
    let threads = [
        write(eye.clone(), 25, Box::new(|_| vec![90; 32 * 32])),
        // Three times for every tick, one more each.
        write(ear.clone(), 33, Box::new(|n| format!("{n}\n").into_bytes())),
    ];
    let (source, out) = (format!("pipe:{},gray,32x32@40", eye.display()), dir.join("clips").display().to_string());
    let level = format!("level=rows:{}", ear.display());
    let args =
        ["record", "--label", "walk", "--source", &source, "--out", &out, "--seconds", "3", "--before", "0.5", "--count", "1"];
    let done = lookout(&[&args[..], &["--extra", &level]].concat());
    assert_eq!(done.status.code(), Some(0), "{}", String::from_utf8_lossy(&done.stderr));
    let table = fs::read_to_string(dir.join("clips/walk/clip0000.y4m.extra.csv")).unwrap();
    let rows: Vec<Vec<f32>> = table.lines().skip(1).map(|l| l.split(',').map(|v| v.parse().unwrap()).collect()).collect();
    let values: Vec<f32> = rows.iter().map(|r| r[1]).skip_while(|v| v.is_nan()).collect();
    println!("figure: {} rows for {} ticks, level {values:?}", rows.len(), ticks(&dir.join("clips/walk/clip0000.y4m")));
    assert!(table.starts_with("ms,level\n0,") && rows.len() == 30 && rows[29][0] == 2900.0, "{table}");
    assert!(values.len() >= 25 && values.is_sorted() && values[values.len() - 1] > 20.0, "{values:?}");
    let done =
        lookout(&["record", "--label", "x", "--source", &film, "--out", &out, "--count", "1", "--extra", "level=rows:level"]);
    assert!(done.status.code() == Some(2) && String::from_utf8_lossy(&done.stderr).contains("a path from / is missing"));
    threads.into_iter().for_each(|t| t.join().unwrap());
}

#[test]
fn a_long_recording_is_cut_by_a_table() {
    let dir = folder("label");
    let film = street(&dir.join("film.y4m"), 100, 0.8, 20..60);
    let out = dir.join("clips").display().to_string();
    let table = dir.join("times.csv");
    fs::write(&table, "start_s,end_s,label\n0,2,idle\n2,6,right\n5.5,8,mixed\n").unwrap();
    // What else was measured is cut along.
    let speed: String = (0..10).map(|s| format!("{s}000,{s}\n")).collect();
    fs::write(dir.join("film.y4m.extra.csv"), format!("ms,speed\n{speed}")).unwrap();
    let cut = lookout(&["label", &film, "--times", &table.display().to_string(), "--out", &out]);
    assert_eq!(cut.status.code(), Some(0), "{}", String::from_utf8_lossy(&cut.stderr));
    let lengths = ["idle", "right", "mixed"].map(|class| ticks(&dir.join("clips").join(class).join("film-0000.y4m")));
    assert_eq!(lengths, [20, 40, 25]);
    let beside = fs::read_to_string(dir.join("clips/right/film-0000.y4m.extra.csv")).unwrap();
    let rows: Vec<&str> = beside.lines().collect();
    assert_eq!((rows.len(), rows[0], rows[1], rows[11], rows[40]), (41, "ms,speed", "0,2", "1000,3", "3900,5"), "{beside}");
    // What a bundle makes of the numbers is its own business: the table of a clip has what was measured.
    let own = dir.join("own").display().to_string();
    let cut =
        lookout(&["label", &film, "--times", &table.display().to_string(), "--out", &own, "--bundle", "tests/bundles/senses"]);
    assert_eq!(cut.status.code(), Some(0), "{}", String::from_utf8_lossy(&cut.stderr));
    let beside = fs::read_to_string(dir.join("own/right/film-0000.y4m.extra.csv")).unwrap();
    let rows: Vec<&str> = beside.lines().collect();
    assert_eq!((rows.len(), rows[0], rows[1], rows[11]), (41, "ms,speed", "0,2", "1000,3"), "{beside}");
    // The table that `train` reads, of several recordings.
    let others = dir.join("others").display().to_string();
    for (name, label, code) in [("film.y4m", "right", 0), ("other.y4m", "NOVELTY", 2), ("film.y4m", "NOVELTY", 2)] {
        fs::write(&table, format!("file,start_s,end_s,label\n{name},2,6,{label}\nelse.y4m,0,2,idle\n")).unwrap();
        let cut = lookout(&["label", &film, "--times", &table.display().to_string(), "--out", &others]);
        assert_eq!(cut.status.code(), Some(code), "{name} {label}: {}", String::from_utf8_lossy(&cut.stderr));
    }
    assert!(dir.join("others/right/film-0000.y4m").exists() && !dir.join("others/idle").exists());
    fs::write(&table, "start_s,end_s,label\n50,52,idle\n").unwrap();
    let cut = lookout(&["label", &film, "--times", &table.display().to_string(), "--out", &out]);
    assert!(
        cut.status.code() == Some(2)
            && String::from_utf8_lossy(&cut.stderr).contains("1 of 1 stretches lie beyond the end at 10.0 s")
    );
    fs::write(&table, "start_s,end_s,label\n5,2,idle\n").unwrap();
    let cut = lookout(&["label", &film, "--times", &table.display().to_string(), "--out", &out]);
    assert!(cut.status.code() == Some(2) && String::from_utf8_lossy(&cut.stderr).contains("line 2: \"5\" to \"2\" found"));
}

/// Each stretch is a clip of its own, however they lie. What a killed run left half written makes way; what another one is writing does not.
#[test]
fn stretches_of_one_class_that_overlap_are_clips_of_their_own() {
    use rustix::fs::{FlockOperation, flock};
    let dir = folder("overlap");
    let film = levels(&dir.join("film.y4m"), 10, &[50, 60, 70, 80, 90, 100]);
    let (out, times) = (dir.join("clips").display().to_string(), dir.join("times.csv").display().to_string());
    let class = dir.join("clips/walk");
    fs::create_dir_all(&class).unwrap();
    fs::write(class.join("film-0000.part"), vec![7u8; 99_999]).unwrap();
    let busy = fs::File::create(class.join("film-0001.part")).unwrap();
    flock(&busy, FlockOperation::LockExclusive).unwrap();
    fs::write(&times, "start_s,end_s,label\n0,0.4,walk\n0.2,0.6,walk\n0.4,0.6,walk\n0,0.4,walk\n").unwrap();
    let cut = lookout(&["label", &film, "--times", &times, "--out", &out]);
    assert_eq!(cut.status.code(), Some(0), "{}", String::from_utf8_lossy(&cut.stderr));
    for (clip, pictures) in [
        ("film-0000.y4m", &[50, 60, 70, 80][..]),
        ("film-0002.y4m", &[50, 60, 70, 80]),
        ("film-0003.y4m", &[70, 80, 90, 100]),
        ("film-0004.y4m", &[90, 100]),
    ] {
        assert_eq!(shown(&class.join(clip)), pictures, "{clip}");
    }
    assert_eq!(String::from_utf8(cut.stdout).unwrap().lines().count(), 4);
    assert_eq!(fs::read_dir(&class).unwrap().count(), 5, "four clips, and what another one is writing");
    drop(busy);
    fs::write(&times, "start_s,end_s,label\n0,0.2,walk\n").unwrap();
    let cut = lookout(&["label", &film, "--times", &times, "--out", &out]);
    assert_eq!(cut.status.code(), Some(0), "{}", String::from_utf8_lossy(&cut.stderr));
    assert_eq!(shown(&class.join("film-0001.y4m")), [50, 60]);
    assert_eq!(fs::read_dir(&class).unwrap().count(), 5);
}

#[test]
fn what_is_alike_is_found_in_a_collection() {
    let dir = folder("find");
    let mut clips = Vec::new();
    for n in 0..6u32 {
        let pace = 2.0 + n as f32 * 0.2;
        clips.push(street(&dir.join(format!("left{n}.y4m")), 30, -pace, 5..30));
        clips.push(street(&dir.join(format!("right{n}.y4m")), 30, pace, 5..30));
        clips.push(street(&dir.join(format!("still{n}.y4m")), 30, 0.0, 0..0));
    }
    let asked = street(&dir.join("asked.y4m"), 30, -2.5, 5..30);
    let index = dir.join("all.index").display().to_string();
    let made = lookout(&[&["index", "--out", &index], &clips.iter().map(String::as_str).collect::<Vec<_>>()[..]].concat());
    assert_eq!(made.status.code(), Some(0), "{}", String::from_utf8_lossy(&made.stderr));
    let found = lookout(&["find", &asked, "--index", &index, "--top", "6", "--json"]);
    let text = String::from_utf8(found.stdout).unwrap();
    let lefts = text.lines().filter(|l| l.contains("/left")).count();
    println!("figure: {lefts} of the 6 most alike move the same way\n{text}");
    assert!(text.lines().count() == 6 && lefts >= 5, "{text}");
    let bytes = fs::read(&index).unwrap();
    fs::write(&index, &bytes[..bytes.len() - 3]).unwrap();
    let cut = lookout(&["find", &asked, "--index", &index]);
    assert!(cut.status.code() == Some(2) && String::from_utf8_lossy(&cut.stderr).contains("cut short"));
    let other = lookout(&["find", &asked, "--index", &clips[0]]);
    assert!(other.status.code() == Some(2) && String::from_utf8_lossy(&other.stderr).contains("not an index"));
}

/// What the black box kept is what the encoder saw, so more like it can be found.
#[test]
fn what_is_like_a_clip_of_the_black_box_is_found() {
    let dir = folder("kept");
    let film = street(&dir.join("film.y4m"), 120, 2.5, 40..80);
    let (kept, index) = (dir.join("kept").display().to_string(), dir.join("all.index").display().to_string());
    let run = lookout(&["run", "--board", "host", "--report", "stdout", "--source", &film, "--blackbox", &kept]);
    assert_eq!(run.status.code(), Some(0), "{}", String::from_utf8_lossy(&run.stderr));
    let mut clips: Vec<String> = fs::read_dir(&kept).unwrap().map(|e| e.unwrap().path().display().to_string()).collect();
    clips.retain(|clip| clip.ends_with(".lkb"));
    let likest = |recordings: &[&str]| {
        let made = lookout(&[&["index", "--out", &index], recordings].concat());
        let said = String::from_utf8(made.stdout).unwrap();
        assert_eq!(made.status.code(), Some(0), "{}", String::from_utf8_lossy(&made.stderr));
        let found = lookout(&["find", &clips[0], "--index", &index, "--top", "1", "--json"]);
        assert_eq!(found.status.code(), Some(0), "{}", String::from_utf8_lossy(&found.stderr));
        (said, serde_json::from_slice::<serde_json::Value>(&found.stdout).unwrap())
    };
    assert_eq!(likest(&[&film]).1["clip"], film.as_str());
    let (said, found) = likest(&[&kept]);
    assert!(said.contains(&format!(" moments of {} recordings ", clips.len())), "{said}");
    println!("figure: {found} of {clips:?}");
    assert!(found["like"].as_f64().unwrap() > 0.99, "{found}");
    let other = lookout(&["find", "tests/golden/blackbox-1.lkb", "--index", &index]);
    let said = String::from_utf8(other.stderr).unwrap();
    assert!(other.status.code() == Some(2) && said.contains("blackbox-1.lkb: kept with bundle "), "{said}");
}

/// Every tick's probabilities, as `run` and `classify` decide by them.
#[derive(Default)]
struct Decided(Vec<Vec<f32>>);

impl Probe for Decided {
    fn decided(&mut self, _at: Timestamp, p: &[f32], _class: ClassId) {
        self.0.push(p.to_vec());
    }
}

/// The promise of `train`: what it learns from is what the device computes, bit for bit, still pictures and all.
#[test]
fn training_sees_the_features_that_the_device_sees() {
    let dir = folder("same");
    let bundle = lookout::baked::bundle().unwrap();
    let film = street(&dir.join("film.y4m"), 80, 1.3, 20..60);
    let mut pipeline = Pipeline::new(&bundle, &pipeline::Options { still_before: true, ..Default::default() }).unwrap();
    let (mut decided, options) = (Decided::default(), open::Options { replay: true, ..open::Options::for_bundle(&bundle) });
    let mut source = Ahead::new(open::open(&film.parse().unwrap(), &options).unwrap());
    while let Some((frame, until)) = source.read().unwrap() {
        match until {
            Some(until) => pipeline.step(&frame, until, &mut decided, &mut |_| {}).unwrap(),
            None => pipeline.finish(Some(&frame), &mut decided, &mut |_| {}).unwrap(),
        }
    }
    let (tick_ms, window, width) = (bundle.contract.time.tick_ms, bundle.contract.time.window, bundle.features());
    let maker = Maker::new(Kind::Features(Box::new(bundle.clone())), tick_ms, None).unwrap();
    let ticks = maker.all(&[film], &|_| {}).pop().unwrap().unwrap();
    let Data::Numbers(rows) = &ticks.data else { unreachable!("features are numbers") };
    let mut head = Head::load(&bundle).unwrap();
    let windows = (0..ticks.len()).map(|end| {
        let rows = (0..window).map(|j| &rows[(end + 1 + j).saturating_sub(window) * width..][..width]);
        let mut p = head.run_window(&rows.flatten().copied().collect::<Vec<_>>()).unwrap().to_vec();
        softmax(&mut p, bundle.contract.head.temperature);
        p
    });
    let windows: Vec<Vec<f32>> = windows.collect();
    println!("figure: {} ticks alike, {} of them no news to encode", windows.len(), pipeline.counts().reused);
    assert!(pipeline.counts().reused > 10 && windows.len() == 80);
    assert_eq!(windows, decided.0);
}

/// A stand-in for ffmpeg, so that the way to it is tried where none is installed: it "decodes" FILE by printing FILE.y4m.
const DECODER: &str = "#!/bin/sh
for word; do case $word in file:*) file=${word#file:};; esac; done
case $file in
  *bad*) echo \"[x @ 0x55] moov atom not found\" >&2; exit 1;;
  *cut*) head -c 60000 \"$file.y4m\"; echo 'error while decoding' >&2; exit 1;;
esac
exec cat \"$file.y4m\"
";

#[test]
fn other_recordings_come_through_ffmpeg_with_its_own_words_when_they_cannot() {
    use std::os::unix::fs::PermissionsExt;
    let dir = folder("ffmpeg");
    let decoder = dir.join("ffmpeg");
    fs::write(&decoder, DECODER).unwrap();
    fs::set_permissions(&decoder, fs::Permissions::from_mode(0o755)).unwrap();
    for name in ["good.mp4", "bad.mp4", "cut.mp4"] {
        street(&dir.join(format!("{name}.y4m")), 30, 2.0, 5..30);
        fs::write(dir.join(name), b"\0\0\0\x20ftypisom").unwrap();
    }
    let path = format!("{}:/usr/bin:/bin", dir.display());
    let classify = |name: &str, path: &str| {
        program::command(&["classify", "--json", &dir.join(name).display().to_string()]).env("PATH", path).output().unwrap()
    };
    let out = classify("good.mp4", &path);
    assert!(out.status.success() && String::from_utf8_lossy(&out.stdout).contains("\"ticks\":30"), "{out:?}");
    let out = classify("bad.mp4", &path);
    assert!(out.status.code() == Some(2) && String::from_utf8_lossy(&out.stderr).contains("bad.mp4: ffmpeg: "), "{out:?}");
    assert!(String::from_utf8_lossy(&out.stderr).contains("moov atom not found"), "{out:?}");
    // What came before it broke (60 000 bytes, three pictures and a piece) is answered, and the rest said to be damaged.
    let out = classify("cut.mp4", &path);
    assert!(out.status.success() && String::from_utf8_lossy(&out.stdout).contains("\"ticks\":3}"), "{out:?}");
    assert!(String::from_utf8_lossy(&out.stderr).contains("cut.mp4 frame 3: cut off"), "{out:?}");
    let out = classify("good.mp4", "/nowhere");
    assert!(out.status.code() == Some(2) && String::from_utf8_lossy(&out.stderr).contains("ffmpeg reads the rest"), "{out:?}");
}
