//! `lookout train`, as a newcomer uses it: folders of clips in, a bundle out that tells new clips apart; interrupted it goes on; what is wrong with the
//! clips is said in one sentence.
#![allow(clippy::print_stdout, reason = "it prints its figures")]

mod program;

use program::lookout;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

fn said(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

/// An empty folder of this test's own.
fn folder(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("train").join(name);
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).expect("a folder");
    dir
}

/// A grey Y4M of 64x48 at 10 a second, 20 pictures: a bright block on a noisy floor that moves `step` pixels a picture.
fn clip(file: &Path, step: f32, seed: u32) {
    clip_of(file, step, seed, 1);
}

/// The same `times` as large, and with as many pictures a second.
fn clip_of(file: &Path, step: f32, seed: u32, times: u8) {
    let mut x = seed.wrapping_mul(2_654_435_761) | 1;
    let mut noise = || {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        x
    };
    let (top, start, level) = (4 + noise() % 24, (noise() % 16) as f32, 150 + noise() % 90);
    let start = if step < 0.0 { 48.0 - start } else { start };
    let mut bytes = format!("YUV4MPEG2 W{} H{} F{}:1 Cmono\n", 64 * times, 48 * u32::from(times), 10 * times).into_bytes();
    for t in 0..20 * times {
        bytes.extend_from_slice(b"FRAME\n");
        let left = start + step * f32::from(t) / f32::from(times);
        for py in (0..48 * u32::from(times)).map(|y| y / u32::from(times)) {
            for px in (0..64 * times).map(|x| x / times) {
                let block = (top..top + 14).contains(&py) && (left..left + 12.0).contains(&f32::from(px));
                bytes.push((if block { level } else { 70 } + noise() % 9) as u8);
            }
        }
    }
    fs::write(file, bytes).expect("written");
}

/// Class folders `still`, `left`, `right` of `n` clips each.
fn clips(name: &str, n: u32, seed: u32) -> PathBuf {
    let dir = folder(name);
    for (class, step) in [("idle", 0.0), ("left", -2.0), ("right", 2.0f32)] {
        fs::create_dir_all(dir.join(class)).expect("a folder");
        for k in 0..n {
            let pace = step * (1.0 + (k % 5) as f32 * 0.15);
            clip(&dir.join(class).join(format!("{k:02}.y4m")), pace, seed + k * 7 + (step as i32 + 3) as u32 * 1000);
        }
    }
    dir
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

/// Share of the clips of `dir` that `bundle` answers right.
fn right(bundle: &Path, dir: &Path) -> f32 {
    let (mut right, mut all) = (0, 0);
    for class in ["idle", "left", "right"] {
        let mut names: Vec<String> =
            fs::read_dir(dir.join(class)).expect("clips").map(|e| e.expect("a clip").path().display().to_string()).collect();
        names.sort();
        let mut args = vec!["classify", "--json", "--bundle", text(bundle)];
        args.extend(names.iter().map(String::as_str));
        let out = lookout(&args);
        assert!(out.status.success(), "{}", said(&out));
        for line in String::from_utf8_lossy(&out.stdout).lines() {
            let answer: serde_json::Value = serde_json::from_str(line).expect("JSON");
            right += i32::from(answer["label"] == class);
            all += 1;
        }
    }
    right as f32 / all as f32
}

const TINY: [&str; 12] =
    ["--encoder", "tiny", "--size", "32", "--channels", "motion,flow", "--window", "8", "--features", "16", "--hidden", "16"];

#[test]
fn three_folders_of_clips_become_a_bundle_that_tells_new_clips_apart() {
    let (learn, fresh, place) = (clips("learn", 24, 1), clips("fresh", 8, 9_000), folder("tiny"));
    let out = place.join("moves");
    let args = ["train", text(&learn), "--out", text(&out), "--epochs", "14", "--batch", "16"];
    let run = lookout(&[&args[..], &TINY[..]].concat());
    assert!(run.status.success(), "{}", said(&run));
    let summary = String::from_utf8_lossy(&run.stdout).into_owned();
    assert!(summary.contains("recordings right") && summary.contains("length and picture size alone"), "{summary}");
    let share = right(&out, &fresh);
    println!("figure: {:.0} % of 24 new clips right after 14 epochs on 72\n{summary}", share * 100.0);
    assert!(share >= 0.9, "{share}");
    // It is a bundle like any other, and says what it is.
    let check = lookout(&["check", text(&out)]);
    assert!(check.status.success(), "{}", said(&check));
    let check = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(!check.contains("left to tract in float: Conv"), "{check}");
    assert!(fs::read_to_string(out.join("report.html")).expect("a page").contains("Can stated probabilities be believed?"));
    assert!(fs::read_to_string(out.join("README.md")).expect("a card").contains("--encoder tiny"));
    let again = lookout(&["train", text(&learn), "--out", text(&out)]);
    assert!(again.status.code() == Some(2) && said(&again).contains("is there already"), "{}", said(&again));
}

/// With `--heads` every head has a CNN of its own, all in one encoder, and a training that was there goes on with the next one.
#[test]
fn several_small_encoders_answer_together() {
    let (learn, fresh, place) = (clips("several-learn", 16, 300), clips("several-fresh", 6, 11_000), folder("several"));
    let cache = place.join("cache");
    let train = |out: &Path, heads: &str| {
        let args = ["train", text(&learn), "--out", text(out), "--cache", text(&cache), "--epochs", "14", "--batch", "16"];
        let run = lookout(&[&args[..], &TINY[..], &["--heads", heads]].concat());
        assert!(run.status.success(), "{}", said(&run));
    };
    let (one, two) = (place.join("one"), place.join("two"));
    train(&one, "1");
    let made = || -> Vec<PathBuf> {
        let files = fs::read_dir(&cache).expect("a cache").map(|e| e.expect("a file").path());
        files.filter(|f| f.extension().is_some_and(|e| e == "training")).collect()
    };
    let [first] = &made()[..] else { panic!("{:?}: one training expected", made()) };
    let before = fs::metadata(first).and_then(|m| m.modified()).expect("its time");
    train(&two, "2");
    assert_eq!(made().len(), 2, "one more");
    assert_eq!(fs::metadata(first).and_then(|m| m.modified()).expect("its time"), before, "the first one is not made again");
    let contract = fs::read_to_string(two.join("bundle.toml")).expect("a contract");
    assert!(contract.contains("features = 32\n"), "{contract}");
    // All of it is one operator, and what it computes is what its golden vectors say.
    let check = lookout(&["check", text(&two)]);
    let checked = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(check.status.success() && !checked.contains("left to tract in float"), "{checked}{}", said(&check));
    let (one, two) = (right(&one, &fresh), right(&two, &fresh));
    println!("figure: of 18 new clips {:.0} % right by one, {:.0} % by two", one * 100.0, two * 100.0);
    assert!(two >= 0.85 && two >= one - 0.06, "{two} of two, {one} of one");
}

/// With `--turn` every side of the picture is any side: left, turned by two quarters, is right, and cannot be told from it any more.
#[test]
fn turned_pictures_are_learnt_from() {
    let (learn, fresh, place) = (clips("turn-learn", 16, 700), clips("turn-fresh", 8, 13_000), folder("turn-out"));
    let share = |name: &str, turn: &[&str]| {
        let out = place.join(name);
        let args = ["train", text(&learn), "--out", text(&out), "--epochs", "14", "--batch", "16"];
        let run = lookout(&[&args[..], &TINY[..], turn].concat());
        assert!(run.status.success(), "{}", said(&run));
        right(&out, &fresh)
    };
    let (with, without) = (share("with", &["--turn"]), share("without", &[]));
    println!("figure: of 24 new clips {:.0} % right without --turn, {:.0} % with it", without * 100.0, with * 100.0);
    // Idle is right, and of left and right one in two.
    assert!(without >= 0.9 && (0.4..0.85).contains(&with), "{without} without, {with} with");
}

/// What is learnt from a recording and from its mirrored form stays together, whatever lies between them.
#[test]
fn a_recording_that_cannot_be_read_changes_nothing_for_the_others() {
    let (learn, place) = (clips("unread", 6, 500), folder("unread-out"));
    let train = |name: &str| {
        let out = place.join(name);
        let args = ["train", text(&learn), "--out", text(&out), "--epochs", "3", "--hidden", "16", "--mirror", "left=right"];
        let run = lookout(&args);
        assert!(run.status.success(), "{}", said(&run));
        fs::read(out.join("head.onnx")).expect("a head")
    };
    let all = train("all");
    fs::write(learn.join("idle/00a.y4m"), "YUV4MPEG2 W64").expect("written");
    assert!(train("with-one-broken") == all, "another head");
}

#[test]
fn an_interrupted_training_goes_on_to_the_same_bundle() {
    let (learn, place) = (clips("interrupted", 10, 40), folder("resumed"));
    let args = |out: &str| -> Vec<String> {
        let list = ["train", text(&learn), "--out", text(&place.join(out)), "--cache", text(&place.join(format!("{out}.cache")))]
            .map(String::from);
        list.into_iter().chain(["--epochs", "12", "--hidden", "16", "--mirror", "left=right"].map(String::from)).collect()
    };
    let start = |out: &str| {
        let args = args(out);
        let mut command = program::command(&args.iter().map(String::as_str).collect::<Vec<_>>());
        command.stderr(Stdio::piped()).stdout(Stdio::null());
        command
    };
    let whole = start("whole").output().expect("it starts");
    assert!(whole.status.success(), "{}", said(&whole));
    let mut kills = 0;
    // Killed at moments of all kinds until it gets through.
    for wait in 1.. {
        let mut child = start("parts").spawn().expect("it starts");
        std::thread::sleep(Duration::from_millis(150 * wait));
        if child.try_wait().expect("waited").is_some_and(|s| s.success()) {
            break;
        }
        child.kill().expect("killed");
        child.wait().expect("gone");
        kills += 1;
        if place.join("parts").exists() {
            break;
        }
    }
    for file in ["head.onnx", "encoder.onnx", "golden_logits.npy", "bundle.toml"] {
        let [a, b] = ["whole", "parts"].map(|out| fs::read(place.join(out).join(file)).expect("a file"));
        let name = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace("whole", "parts").into_bytes();
        assert!(if file == "bundle.toml" { name(&a) == b } else { a == b }, "{file} differs after {kills} kills");
    }
    println!("figure: the same bundle after {kills} kills");
    assert!(kills > 0);
}

#[test]
fn rows_of_numbers_are_learnt_by_the_recurrent_network_alone() {
    let (dir, place) = (folder("rows"), folder("rows-out"));
    for (class, turn) in [("up", 1.0f32), ("down", -1.0)] {
        fs::create_dir_all(dir.join(class)).expect("a folder");
        for k in 0..12u32 {
            let rows =
                (0..24).map(|t| format!("{:.3} {:.3}\n", turn * (t as f32 - 12.0) * 0.3 + (k % 4) as f32, (k * t % 7) as f32));
            fs::write(dir.join(class).join(format!("{k}.csv")), rows.collect::<String>()).expect("written");
        }
    }
    let out = place.join("slope");
    let run = lookout(&[
        "train",
        text(&dir),
        "--out",
        text(&out),
        "--epochs",
        "40",
        "--hidden",
        "16",
        "--cell",
        "lstm",
        "--window",
        "8",
    ]);
    assert!(run.status.success(), "{}", said(&run));
    let answer = lookout(&["classify", "--json", "--bundle", text(&out), text(&dir.join("up/3.csv"))]);
    let text = String::from_utf8_lossy(&answer.stdout).into_owned();
    assert!(text.contains("\"label\":\"up\""), "{text}{}", said(&answer));
}

#[test]
fn numbers_beside_the_pictures_tell_classes_that_the_pictures_cannot() {
    let classes = [("idle", 0.2f32), ("left", 3.0), ("right", 9.0)];
    let write = |name: &str, n: u32, seed: u32| {
        let dir = folder(name);
        for (class, speed) in classes {
            fs::create_dir_all(dir.join(class)).expect("a folder");
            for k in 0..n {
                // The same picture in all of them: only the table differs.
                let file = dir.join(class).join(format!("{k}.y4m"));
                clip(&file, 0.0, 1);
                let rows = (0..8).map(|t| format!("{},{:.2}\n", t * 250, speed + ((seed + k + t) % 5) as f32 * 0.2));
                let table = format!("ms,speed\n{}", rows.collect::<String>());
                fs::write(format!("{}.extra.csv", file.display()), table).expect("written");
            }
        }
        dir
    };
    let (learn, fresh, place) = (write("extra-learn", 16, 5), write("extra-fresh", 6, 900), folder("extra-out"));
    let out = place.join("pace");
    let args = [
        "train",
        text(&learn),
        "--out",
        text(&out),
        "--epochs",
        "80",
        "--dropout",
        "0",
        "--hidden",
        "16",
        "--window",
        "8",
        "--extra",
        "speed",
    ];
    let run = lookout(&args);
    assert!(run.status.success(), "{}", said(&run));
    let contract = fs::read_to_string(out.join("bundle.toml")).expect("a contract");
    assert!(contract.contains("extra = [\"speed\"]"), "{contract}");
    let (mut found, mut all) = (0, 0);
    for class in classes.map(|c| c.0) {
        for k in 0..6 {
            let answer = lookout(&["classify", "--json", "--bundle", text(&out), text(&fresh.join(format!("{class}/{k}.y4m")))]);
            let line = String::from_utf8_lossy(&answer.stdout).into_owned();
            found += u32::from(line.contains(&format!("\"label\":\"{class}\"")));
            all += 1;
        }
    }
    println!("figure: {found} of {all} new clips right by their speed alone");
    assert!(found * 10 >= all * 9, "{found} of {all}");
}

/// Nothing of the encoder is trained, three heads are, and the device answers as they do together.
#[test]
fn gait_and_several_heads_tell_how_things_move() {
    let write = |name: &str, n: u32, seed: u32| {
        let dir = folder(name);
        for (class, step) in [("idle", 0.0f32), ("slow", 0.8), ("quick", 3.0)] {
            fs::create_dir_all(dir.join(class)).expect("a folder");
            (0..n).for_each(|k| clip(&dir.join(class).join(format!("{k}.y4m")), if k % 2 == 0 { step } else { -step }, seed + k));
        }
        dir
    };
    let (learn, fresh, place) = (write("gait-learn", 12, 40), write("gait-fresh", 6, 7_000), folder("gait-out"));
    let out = place.join("pace");
    let gait = ["--encoder", "gait", "--size", "48", "--window", "8", "--hidden", "12", "--epochs", "20"];
    let run = lookout(&[&["train", text(&learn), "--out", text(&out), "--heads", "3", "--folds", "2"], &gait[..]].concat());
    assert!(run.status.success(), "{}", said(&run));
    let mut found = 0;
    for class in ["idle", "slow", "quick"] {
        for k in 0..6 {
            let answer = lookout(&["classify", "--json", "--bundle", text(&out), text(&fresh.join(format!("{class}/{k}.y4m")))]);
            found += u32::from(String::from_utf8_lossy(&answer.stdout).contains(&format!("\"label\":\"{class}\"")));
        }
    }
    println!("figure: {found} of 18 new clips right\n{}", String::from_utf8_lossy(&run.stdout));
    assert!(found >= 16, "{found} of 18");
    for (list, says) in [
        (["--encoder", "gait", "--size", "32"], "--size 32: a multiple of 16 from 48 to 80 expected for gait"),
        (["--encoder", "gait", "--channels", "gray"], "gait sees flow and nothing else"),
    ] {
        let run = lookout(&[&["train", text(&learn), "--out", text(&place.join("x"))], &list[..]].concat());
        assert!(run.status.code() == Some(2) && said(&run).contains(says), "{says:?} expected: {}", said(&run));
    }
}

/// UCF101's folders and lists, a table of clips with groups, a table of stretches in longer recordings: each becomes a bundle. Sizes and rates are mixed,
/// and a class may be called what it likes.
#[test]
fn every_form_of_clips_is_learnt_from() {
    let dir = folder("forms");
    let (mut table, mut stretches) = ("file,label,scene\n".to_string(), "file,start_s,end_s,label\n".to_string());
    let mut lists = [String::new(), String::new()];
    for (class, step) in [("idle", 0.0), ("listening", 2.0f32)] {
        fs::create_dir_all(dir.join(class)).expect("a folder");
        for k in 0..6u8 {
            let name = format!("{class}/v_{class}_g0{k}_c01.y4m");
            clip_of(&dir.join(&name), step, 900 + u32::from(k), 1 + k % 3);
            table += &format!("{name},{class},scene {k}\n");
            lists[usize::from(k > 3)] += &format!("{name} 1\n");
            if class != "idle" {
                stretches += &format!("{name},0.5,2,{class}\n");
            }
        }
    }
    fs::create_dir_all(dir.join("ucfTrainTestlist")).expect("a folder");
    let list = |name: &str, text: &str| {
        let file = dir.join("ucfTrainTestlist").join(name);
        fs::write(&file, text).expect("written");
        file
    };
    let split = list("trainlist01.txt", &lists[0]);
    list("testlist01.txt", &lists[1]);
    fs::write(dir.join("clips.csv"), table).expect("written");
    fs::write(dir.join("stretches.csv"), stretches).expect("written");
    let place = folder("forms-out");
    let train = |clips: &Path, out: &str, more: &[&str]| {
        let out = place.join(out);
        let args = ["train", text(clips), "--out", text(&out), "--epochs", "2", "--hidden", "8"];
        lookout(&[&args[..], more].concat())
    };
    for (clips, out, more, says) in [
        (dir.clone(), "split", &["--split", text(&split)][..], "judged as the split says"),
        (dir.clone(), "folders", &["--cell", "rnn"][..], "one part judged"),
        (dir.join("clips.csv"), "table", &["--folds", "3", "--cell", "gru", "--balance", "1"][..], "3 parts"),
        (dir.join("stretches.csv"), "stretches", &["--rest", "--background", "none", "--delay-ms", "200"][..], "ticks right"),
        (dir.join("clips.csv"), "renamed", &["--rename", "listening=noise"][..], "noise"),
    ] {
        let run = train(&clips, out, more);
        let words = String::from_utf8_lossy(&run.stdout).into_owned();
        assert!(run.status.success() && words.contains(says), "{out}: {says:?} expected: {words}{}", said(&run));
        let check = lookout(&["check", text(&place.join(out))]);
        assert!(check.status.success(), "{out}: {}", said(&check));
    }
    // The other half of the same clips is another training, in the same cache too.
    let other = list("trainlist02.txt", &lists[1]);
    list("testlist02.txt", &lists[0]);
    let cache = place.join("halves");
    let halves = [&split, &other].map(|split| {
        let out = if *split == other { "second" } else { "first" };
        let run = train(&dir, out, &["--split", text(split), "--cache", text(&cache)]);
        assert!(run.status.success(), "{out}: {}", said(&run));
        fs::read(place.join(out).join("head.onnx")).expect("a head")
    });
    assert!(halves[0] != halves[1], "two splits, two heads");
    clip(&dir.join("idle/v_idle_g00_c02.y4m"), 0.0, 7);
    list("testlist01.txt", &format!("{}idle/v_idle_g00_c02.y4m 1\n", lists[1]));
    let run = train(&dir, "both", &["--split", text(&split)]);
    assert!(run.status.code() == Some(2) && said(&run).contains("group v_idle_g00 is in both"), "{}", said(&run));
}

/// A recording that was replaced by another one as long is learnt from anew, whatever the cache holds.
#[test]
fn a_replaced_clip_is_no_old_training() {
    let (learn, place) = (clips("replaced", 3, 60), folder("replaced-out"));
    let train = |out: &str| {
        let [out, cache] = [out, "cache"].map(|name| place.join(name));
        let run =
            lookout(&["train", text(&learn), "--out", text(&out), "--cache", text(&cache), "--epochs", "2", "--hidden", "8"]);
        assert!(run.status.success(), "{}", said(&run));
        fs::read(out.join("head.onnx")).expect("a head")
    };
    let before = train("before");
    assert!(train("again") == before, "the same clips, the same head");
    clip(&learn.join("left/01.y4m"), -3.0, 4_444);
    assert!(train("after") != before, "another clip, another head");
}

#[test]
fn what_is_wrong_with_the_clips_is_one_sentence() {
    let dir = clips("wrong", 3, 70);
    let out = folder("wrong-out").join("x");
    let refused = |clips: &Path, says: &str| {
        let run = lookout(&["train", text(clips), "--out", text(&out)]);
        let said = said(&run);
        assert!(run.status.code() == Some(2) && said.contains(says), "{says:?} expected: {said}");
        assert_eq!(said.lines().filter(|l| l.starts_with("lookout: ")).count(), 1, "{said}");
    };
    refused(Path::new("/nowhere"), "/nowhere: ");
    let empty = folder("empty");
    refused(&empty, "no recording found");
    fs::create_dir_all(empty.join("left")).expect("a folder");
    refused(&empty, "a class folder without a recording");
    let alone = folder("alone");
    for class in ["a", "b"] {
        fs::create_dir_all(alone.join(class)).expect("a folder");
        clip(&alone.join(class).join("1.y4m"), 1.0, 3);
    }
    clip(&alone.join("a/2.y4m"), 1.0, 4);
    refused(&alone, "class b has 1 clip, 2 or more needed");
    fs::create_dir_all(alone.join("A")).expect("a folder");
    clip(&alone.join("A/3.y4m"), 1.0, 5);
    refused(&alone, "differ only by case");
    fs::write(dir.join("t.csv"), "file,label\nidle/00.y4m,idle\nidle/99.y4m,idle\n").expect("written");
    refused(&dir.join("t.csv"), "line 3: ");
    fs::write(dir.join("t.csv"), "file,start_s,end_s,label\nidle/00.y4m,2,1,idle\n").expect("written");
    refused(&dir.join("t.csv"), "ends before it begins");
    // Half of what makes a stretch would make a whole clip of it.
    for (columns, row, missing) in [("start_s,ende", "0,1", "end_s"), ("end", "1", "start_s"), ("first_row", "3", "last_row")] {
        fs::write(dir.join("t.csv"), format!("file,label,{columns}\nidle/00.y4m,idle,{row}\n")).expect("written");
        refused(&dir.join("t.csv"), &format!("found, one must be called {missing}"));
    }
    // Stretches enough, but of one recording.
    let one =
        "file,start_s,end_s,label\nidle/00.y4m,0,0.5,left\nidle/00.y4m,1,1.5,left\nidle/01.y4m,0,1,idle\nidle/02.y4m,0,1,idle\n";
    fs::write(dir.join("t.csv"), one).expect("written");
    refused(&dir.join("t.csv"), "class left is in 1 recording (2 stretches), 2 or more recordings needed");
    let two = "file,start_s,end_s,label,camera\nidle/00.y4m,0,0.5,idle,east\nidle/00.y4m,1,1.5,left,west\n";
    fs::write(dir.join("t.csv"), two).expect("written");
    refused(&dir.join("t.csv"), "(line 2, class idle) is of group east, ");
    // A broken clip is said and left out; the others are learnt from.
    fs::write(dir.join("left/zz.y4m"), "YUV4MPEG2 W64").expect("written");
    let run = lookout(&["train", text(&dir), "--out", text(&out), "--epochs", "1"]);
    assert!(run.status.success() && said(&run).contains("left out: ") && said(&run).contains("zz.y4m"), "{}", said(&run));
}

/// Class folders `a` and `b` of six files each, with `n` rows of two numbers.
fn numbers(name: &str, n: usize) -> PathBuf {
    let dir = folder(name);
    for (class, value) in [("a", 0.2f32), ("b", 0.9)] {
        fs::create_dir_all(dir.join(class)).expect("a folder");
        for k in 0..6usize {
            let rows = (0..n).map(|t| format!("{:.3},{:.3}\n", value + (k * t % 5) as f32 * 0.02, (t % 7) as f32 * 0.1));
            fs::write(dir.join(class).join(format!("{k}.csv")), rows.collect::<String>()).expect("written");
        }
    }
    dir
}

/// What would be learnt wrongly, or not at all, is refused before anything is trained.
#[test]
fn what_would_teach_nothing_or_too_much_is_one_sentence() {
    let out = folder("teach-out").join("x");
    let train = |clips: &Path, more: &[&str]| {
        lookout(&[&["train", text(clips), "--out", text(&out), "--epochs", "1", "--hidden", "8", "--window", "8"], more].concat())
    };
    let refused = |clips: &Path, more: &[&str], says: &[&str]| {
        let run = train(clips, more);
        let said = said(&run);
        assert!(run.status.code() == Some(2) && says.iter().all(|s| said.contains(*s)), "{says:?} expected: {said}");
        assert_eq!(said.lines().filter(|l| l.starts_with("lookout: ")).count(), 1, "{said}");
        assert!(!said.contains("training 1 of"), "{said}");
    };
    let table = |dir: &Path, name: &str, text: &str| {
        let file = dir.join(name);
        fs::write(&file, text).expect("written");
        file
    };
    // One number that is none.
    for (name, number) in [("not-a-number", "nan"), ("endless", "inf"), ("huge", "1e31")] {
        let dir = numbers(name, 30);
        let rows = fs::read_to_string(dir.join("a/2.csv")).expect("rows");
        let rows: Vec<String> = rows
            .lines()
            .enumerate()
            .map(|(n, row)| if n == 4 { format!("0.1,{number}\n") } else { format!("{row}\n") })
            .collect();
        fs::write(dir.join("a/2.csv"), rows.concat()).expect("written");
        refused(&dir, &[], &["a/2.csv: row 5 holds ", "in column 2"]);
    }
    // A class of which nothing is left, or nothing to learn from.
    let dir = numbers("unlearnt", 30);
    refused(&dir, &["--rename", "c=d"], &["--rename c: no such label, found are a, b"]);
    let span = |k: usize, from: f32, to: f32, label: &str| format!("a/{k}.csv,{from},{to},{label}\n");
    let stretches = |from: f32, to: f32| {
        let lines: String = (0..6).map(|k| span(k, 0.0, 0.5, "walk") + &span(k, from, to, "fall")).collect();
        table(&dir, "stretches.csv", &format!("file,start_s,end_s,label\n{lines}"))
    };
    refused(
        &stretches(500.0, 505.0),
        &["--tick-ms", "50"],
        &["class fall: shown by 0 of 6 groups", "a/0.csv ends at 1.5 s, it is listed from 500 s on"],
    );
    refused(
        &stretches(0.51, 0.52),
        &["--tick-ms", "50"],
        &["class fall: shown by 0 of 6 groups", "shorter than a tick of 50 ms"],
    );
    refused(&dir, &["--encoder", "tiny"], &["--encoder: ", "holds rows of numbers, pictures expected"]);
    refused(&dir, &["--encoder", "gait"], &["--encoder: ", "holds rows of numbers, pictures expected"]);
    refused(&dir, &["--false-alarms", "nan"], &["--false-alarms NaN: a number above 0 expected"]);
    refused(&dir, &["--false-alarms=-1"], &["--false-alarms -1: a number above 0 expected"]);
    refused(&stretches(0.1, 0.4), &["--tick-ms", "50"], &["class fall: shown by 0 of 6 groups", "other stretches cover it"]);
    for k in 1..6 {
        fs::write(dir.join(format!("b/{k}.csv")), "").expect("written");
    }
    refused(&dir, &[], &["class b: shown by 1 of 6 groups", "5 of its recordings cannot be read"]);
    // Splits.
    let dir = numbers("lists", 30);
    let list = |of: &[(&str, usize)]| of.iter().map(|(class, k)| format!("{class}/{k}.csv 1\n")).collect::<String>();
    let both = [("a", 0), ("a", 1), ("a", 2), ("b", 0), ("b", 1), ("b", 2)];
    let judged = [("a", 3), ("a", 4), ("b", 3), ("b", 4)];
    let split = table(&dir, "trainlist01.txt", &list(&both[..3]));
    table(&dir, "testlist01.txt", &list(&judged));
    refused(&dir, &["--split", text(&split)], &["class b is only in the test list"]);
    let mine = table(&dir, "mytrain.txt", &list(&both));
    refused(&dir, &["--split", text(&mine)], &["mytrain.txt: a name with trainlist in it expected"]);
    // One recording under two names.
    table(&dir, "twice.csv", "file,label\na/0.csv,a\na/1.csv,a\nb/0.csv,b\nb/1.csv,b\na/./0.csv,b\n");
    refused(&dir.join("twice.csv"), &[], &["a/0.csv (line 2, class a)", "a/./0.csv (line 6, class b)", "the same file"]);
    std::os::unix::fs::symlink(dir.join("a/0.csv"), dir.join("b/link.csv")).expect("a link");
    refused(&dir, &[], &["b/link.csv (class b)", "the same file"]);
    fs::remove_file(dir.join("b/link.csv")).expect("removed");
    // A mark at the beginning of a list and clips that are not there cost nothing but a warning.
    let marked = format!("\u{feff}{}{}", list(&both), list(&[("a", 77), ("b", 78)]));
    let split = table(&dir, "trainlist01.txt", &marked);
    let run = train(&dir, &["--split", text(&split)]);
    assert!(run.status.success() && said(&run).contains("2 of 8 clips are not there; the first: a/77.csv"), "{}", said(&run));
    assert!(said(&run).contains("10 recordings in 10 groups"), "the first clip of the list is there: {}", said(&run));
    let words = String::from_utf8_lossy(&run.stdout).into_owned();
    assert!(words.contains("every clip is its own group") && words.contains("no groups are known"), "{words}");
}

/// A figure that is of fewer recordings than there are says so.
#[test]
fn what_is_too_short_to_be_judged_without_labels_is_counted() {
    let (dir, out) = (numbers("short", 150), folder("short-out").join("x"));
    fs::write(dir.join("a/short.csv"), "0.2,0.1\n0.3,0.1\n").expect("written");
    let names = (0..6).map(|k| k.to_string()).chain(["short".into()]);
    let rows: String = names.map(|name| format!("a/{name}.csv,a\n")).chain((0..6).map(|k| format!("b/{k}.csv,b\n"))).collect();
    fs::write(dir.join("all.csv"), format!("file,label\n{rows}")).expect("written");
    let all = dir.join("all.csv");
    let run = lookout(&["train", text(&all), "--out", text(&out), "--unsupervised", "--strange", "b", "--folds", "2"]);
    let words = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{}", said(&run));
    assert!(words.contains("not in these figures: 1 of 13 recordings, in which no labelled tick has a score\n"), "{words}");
}

/// What would be passed over in silence is refused.
#[test]
fn options_that_say_nothing_here_are_refused() {
    let (dir, out) = (numbers("options", 30), folder("options-out").join("x"));
    for (more, says) in [
        (&["--epochs", "0"][..], "--epochs"),
        (&["--unsupervised", "--heads", "3"][..], "--heads"),
        (&["--unsupervised", "--mirror"][..], "--mirror"),
        (&["--unsupervised", "--false-alarms", "1"][..], "--false-alarms"),
        (&["--unsupervised", "--encoder", "tiny"][..], "--encoder tiny and gait go with labels"),
        (&["--unsupervised", "--encoder", "gait"][..], "--encoder tiny and gait go with labels"),
    ] {
        let run = lookout(&[&["train", text(&dir), "--out", text(&out)][..], more].concat());
        assert!(run.status.code() == Some(2) && said(&run).contains(says), "{says:?} expected: {}", said(&run));
    }
}

/// A box empties its ring where a frame would have to stand for too long: what it never decides is not learnt, nor judged.
#[test]
fn frames_too_far_apart_for_a_window_are_not_learnt_from() {
    let (dir, place) = (clips("sparse", 3, 8_000), folder("sparse-out"));
    let slow = |file: PathBuf| {
        let film = fs::read(&file).expect("a clip");
        let rate = film.windows(6).position(|w| w == b" F10:1").expect("its rate");
        fs::write(file, [&film[..rate], &b" F1:1"[..], &film[rate + 6..]].concat()).expect("written");
    };
    let train = |out: &str, more: &[&str]| {
        let out = place.join(out);
        let args = ["train", text(&dir), "--out", text(&out), "--epochs", "1", "--hidden", "8", "--window", "8"];
        lookout(&[&args[..], more].concat())
    };
    slow(dir.join("idle/00.y4m"));
    let run = train("one", &[]);
    let why = "frames are more than 600ms apart, so no window is whole; a larger --tick-ms than 100 is needed";
    assert!(run.status.success() && said(&run).contains(&format!("idle/00.y4m: its {why}")), "{}", said(&run));
    for k in 0..3 {
        ["left", "right"].iter().for_each(|class| slow(dir.join(class).join(format!("{k:02}.y4m"))));
    }
    let run = train("most", &[]);
    assert!(run.status.code() == Some(2) && said(&run).contains(&format!("7 of 9 recordings: {why}")), "{}", said(&run));
    let run = train("larger", &["--tick-ms", "200"]);
    assert!(run.status.success() && !said(&run).contains("left out"), "{}", said(&run));
}

/// Two trainings of the same share a cache, and neither takes the other's files away.
#[test]
fn two_trainings_at_once_share_a_cache() {
    let (dir, place) = (numbers("at-once", 30), folder("at-once-out"));
    let cache = place.join("cache");
    let start = |name: &str| {
        let out = place.join(name);
        let args = ["train", text(&dir), "--out", text(&out), "--cache", text(&cache), "--hidden", "8", "--window", "8"];
        let mut command = program::command(&[&args[..], &["--epochs", "60", "--patience", "60"][..]].concat());
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts")
    };
    for child in ["one", "two"].map(start) {
        let run = child.wait_with_output().expect("ended");
        assert!(run.status.success(), "{}", said(&run));
    }
    let [one, two] = ["one", "two"].map(|name| fs::read(place.join(name).join("head.onnx")).expect("a head"));
    assert!(one == two, "the same training, another head");
}

/// What lies beside recordings makes them nothing else, and capitals are letters.
#[test]
fn notes_beside_clips_are_no_rows_and_capitals_are_letters() {
    let (dir, place) = (clips("notes", 3, 5_000), folder("notes-out"));
    for (note, words) in
        [("README.txt", "1 day in the lab.\n"), ("About.txt", "These were recorded\nin the lab.\n"), ("readme.md", "# Lab\n")]
    {
        fs::write(dir.join("idle").join(note), words).expect("written");
    }
    let short = ["--epochs", "1", "--hidden", "8", "--window", "8"];
    let run = lookout(&[&["train", text(&dir), "--out", text(&place.join("pictures"))], &short[..]].concat());
    assert!(run.status.success() && said(&run).contains("9 recordings in"), "{}", said(&run));
    assert!(!said(&run).contains("left out"), "{}", said(&run));
    let dir = numbers("capitals", 30);
    for class in ["a", "b"] {
        (0..6).for_each(|k| {
            fs::rename(dir.join(format!("{class}/{k}.csv")), dir.join(format!("{class}/{k}.CSV"))).expect("renamed");
        });
    }
    let run = lookout(&[&["train", text(&dir), "--out", text(&place.join("rows"))], &short[..]].concat());
    assert!(run.status.success() && said(&run).contains("12 recordings in"), "{}", said(&run));
}
