//! `lookout train`, as a newcomer uses it: folders of clips in, a bundle out that tells new clips apart; interrupted it goes on; what is wrong with the
//! clips is said in one sentence.
#![allow(clippy::print_stdout, reason = "it prints its figures")]

mod classes;
mod program;

use classes::{TINY, clip, clips, folder, numbers, right, said, text};
use program::lookout;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

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
    fs::write(empty.join("left/000001-left.lkb"), "lookout black box 2\n").expect("written");
    refused(
        &empty,
        "a class folder without a recording in it; 1 clips of the black box hold what an encoder saw, and no pictures",
    );
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
    refused(
        &stretches(0.1, 0.4),
        &["--tick-ms", "50"],
        &["a/0.csv: walk from 0 to 0.5 s and fall from 0.1 to 0.4 s are at the same time, one class at a time expected"],
    );
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
        (&["--unsupervised", "--encoder", "grid", "--channels", "gray"][..], "holds rows of numbers, pictures expected"),
    ] {
        let run = lookout(&[&["train", text(&dir), "--out", text(&out)][..], more].concat());
        assert!(run.status.code() == Some(2) && said(&run).contains(says), "{says:?} expected: {}", said(&run));
    }
}

/// Stretches that teach nothing are counted, and one that is left out hides no other.
#[test]
fn stretches_that_no_tick_shows_are_said() {
    let (dir, place) = (numbers("unshown", 30), folder("unshown-out"));
    let span = |from: f32, to: f32, label: &'static str| move |k: usize| format!("a/{k}.csv,{from},{to},{label}\n");
    let each = |line: &dyn Fn(usize) -> String| (0..6).map(line).collect::<String>();
    let behind: String = (0..8).map(|n| span(9_000.0 + n as f32, 9_000.5 + n as f32, "fall")(0)).collect();
    let lines = [
        each(&span(0.0, 0.4, "walk")),
        each(&span(0.6, 1.2, "fall")),
        // Falls inside of what is left out, and a stretch that is shorter than a tick.
        each(&span(0.5, 1.4, "person")),
        span(0.41, 0.42, "walk")(1),
        behind,
    ];
    let table = dir.join("stretches.csv");
    fs::write(&table, format!("file,start_s,end_s,label\n{}", lines.concat())).expect("written");
    let train = |out: &str, more: &[&str]| {
        let out = place.join(out);
        lookout(&[&["train", text(&table), "--out", text(&out), "--window", "8", "--tick-ms", "50"], more].concat())
    };
    let short = ["--epochs", "1", "--hidden", "8", "--rename", "person=-"];
    let run = train("refused", &short[..4]);
    let why = "a/0.csv: person from 0.5 to 1.4 s and fall from 0.6 to 1.2 s are at the same time";
    assert!(run.status.code() == Some(2) && said(&run).contains(why), "{}", said(&run));
    let run = train("labels", &short);
    assert!(run.status.success(), "{}", said(&run));
    // Too little to learn from without labels, but the same is said.
    let others = train("none", &["--unsupervised", "--strange", "fall", "--rename", "person=-"]);
    for said in [said(&run), said(&others)] {
        let behind = "a/0.csv begin behind its end (1.5 s at 50 ms a row): is --tick-ms right?";
        assert!(said.lines().any(|l| l.contains("8 of 10 stretches of ") && l.contains(behind)), "{said}");
        let short = "a/1.csv show no tick of 50 ms";
        assert!(said.lines().any(|l| l.contains("1 of 3 stretches of ") && l.contains(short)), "{said}");
        assert_eq!(said.matches("is --tick-ms right?").count(), 1, "{said}");
    }
}

/// What an encoder would not learn from these recordings, though it is asked to, is said once.
#[test]
fn colours_and_pictures_that_are_not_there_are_said() {
    let (dir, place) = (clips("colours", 3, 4_000), folder("colours-out"));
    let cache = place.join("cache");
    let train = |out: &str, more: &[&str]| {
        let out = place.join(out);
        let args = ["train", text(&dir), "--out", text(&out), "--cache", text(&cache), "--epochs", "1", "--hidden", "8"];
        let run =
            lookout(&[&args[..], &["--encoder", "tiny", "--size", "32", "--window", "8", "--features", "16"], more].concat());
        assert!(run.status.success(), "{}", said(&run));
        said(&run)
    };
    let (grey, few) =
        ("--channels rgb: 9 of 9 recordings are grey, ", "9 of 9 recordings have fewer pictures than ticks of 40 ms");
    // Made, then from the cache.
    for out in ["made", "kept"] {
        let said = train(out, &["--channels", "rgb", "--tick-ms", "40"]);
        assert_eq!((said.matches(grey).count(), said.matches(few).count()), (1, 1), "{said}");
        assert_eq!(said.matches("idle/00.y4m").count(), 2, "an example each: {said}");
    }
    let said = train("well", &["--channels", "gray"]);
    assert!(!said.contains("are grey") && !said.contains("fewer pictures"), "{said}");
}

/// An extra that nothing has is refused; what is missing or damaged is said again when the ticks are there already.
#[test]
fn what_is_missing_is_said_every_time() {
    let (dir, place) = (clips("missing", 3, 6_000), folder("missing-out"));
    let cache = place.join("cache");
    let train = |out: &str, extra: &str| {
        let out = place.join(out);
        let args = ["train", text(&dir), "--out", text(&out), "--cache", text(&cache), "--epochs", "1", "--hidden", "8"];
        lookout(&[&args[..], &["--window", "8", "--extra", extra]].concat())
    };
    for _ in 0..2 {
        let run = train("refused", "spd");
        assert!(run.status.code() == Some(2) && said(&run).contains("--extra spd: no recording has spd; "), "{}", said(&run));
        assert_eq!(said(&run).matches("no table ").count(), 9, "{}", said(&run));
    }
    let damaged = dir.join("left/01.y4m");
    let film = fs::read(&damaged).expect("a clip");
    fs::write(&damaged, &film[..film.len() - 100]).expect("written");
    fs::write(dir.join("idle/00.y4m.extra.csv"), "ms,speed\n0,1.5\n500,2.5\n").expect("written");
    for out in ["made", "kept"] {
        let run = train(out, "speed");
        assert!(run.status.success(), "{}", said(&run));
        let said = said(&run);
        assert_eq!(said.matches("no table ").count(), 8, "{said}");
        let damage = said.lines().filter(|l| l.contains("left/01.y4m frame 19: cut off") && l.contains("; learning from the "));
        assert_eq!(damage.count(), 1, "{said}");
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
