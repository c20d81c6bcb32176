//! `lookout train` with more than one net: folds, given splits and heads, and what is said of recordings that were judged.
#![allow(clippy::print_stdout, reason = "it prints its figures")]

mod classes;
mod program;

use classes::{TINY, clip, clip_of, clips, folder, numbers, right, said, text};
use program::lookout;
use std::fs;
use std::path::{Path, PathBuf};

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

/// Whoever looks for a wrong label finds the recording, and the card's command can be pasted, whatever things are called.
#[test]
fn the_report_lists_what_was_judged_wrong() {
    let (dir, out) = (numbers("report of rows", 30), folder("report-out").join("x"));
    fs::copy(dir.join("b/1.csv"), dir.join("a/x&y.csv")).expect("copied");
    let gate = "walks-through-the-open-gate";
    let rename = format!("a=Schlägerei,b={gate}");
    let args = ["train", text(&dir), "--out", text(&out), "--folds", "2", "--epochs", "40", "--hidden", "16", "--window", "8"];
    let run = lookout(&[&args[..], &["--rename", &rename]].concat());
    assert!(run.status.success(), "{}", said(&run));
    assert_eq!(said(&run).matches("label \"Schlägerei\" is called schl-gerei").count(), 1, "{}", said(&run));
    assert!(!said(&run).contains("label \"walks"), "{}", said(&run));
    let page = fs::read_to_string(out.join("report.html")).expect("a page");
    let (before, table) = page.split_once("<th>p</th><th>part</th></tr>\n").expect("a table of recordings");
    let (table, _) = table.split_once("</table>").expect("its end");
    let rows: Vec<&str> = table.lines().collect();
    let wrong =
        rows.iter().position(|row| row.contains("a/x&amp;y.csv</td><td>schl-gerei</td><td>walks-")).expect("it is listed");
    let right = rows.iter().position(|row| row.contains(&format!("<td>{gate}</td><td>{gate}</td>"))).expect("a right one");
    assert!(rows.len() == 13 && wrong < right, "{table}");
    assert!(rows.iter().all(|row| row.ends_with("<td>1</td></tr>") || row.ends_with("<td>2</td></tr>")), "{table}");
    assert!(before.contains("Judged as the device computes (head: GRU "), "{before}");
    let card = fs::read_to_string(out.join("README.md")).expect("a card");
    assert!(card.contains(&format!("lookout train '{}' --out ", dir.display())) && !card.contains("Pictures"), "{card}");
    assert!(card.contains("before weights became int8"), "{card}");
    let summary = String::from_utf8_lossy(&run.stdout).into_owned();
    let line = |begins: &str| summary.lines().find(|l| l.starts_with(begins)).map(str::len);
    assert!(line("class ").is_some() && line("class ") == line(gate) && line(gate) == line("schl-gerei"), "{summary}");
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
