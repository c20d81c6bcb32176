//! What was never here before: what is said of it in a text file of numbers and in pictures, learnt without labels, by `novelty`, `classify` and `run`.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test stops where something is missing and says what it saw")]

mod machine;
mod program;

use machine::{Change, folder, machine, noise, rows, text, trained};
use program::lookout;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Output;

/// Lines of `lookout novelty`: ms, score, what it comes to.
fn scores(out: &Output) -> Vec<(u64, f64, String)> {
    let said = text(&out.stdout);
    let mut lines = said.lines();
    assert_eq!(lines.next(), Some("clip,ms,score,threshold,now"), "{}", text(&out.stderr));
    lines
        .map(|l| {
            let f: Vec<&str> = l.rsplitn(5, ',').collect();
            (f[3].parse().expect("ms"), f[2].parse().expect("a score"), f[0].to_string())
        })
        .collect()
}

/// From a text file: a machine's sensors, learnt in 40 minutes; then five kinds of trouble in two hours, ten seconds each. Every one is found, and
/// the promise (one false alarm in as many minutes as were counted) is kept.
#[test]
fn rows_of_numbers_alone() {
    let dir = folder("rows");
    let (_, bundle) = machine(&dir, 40, 1);
    let bad = dir.join("bad.txt");
    let kinds = [Change::Faster, Change::Stopped, Change::Backwards, Change::Louder, Change::OneSensorDead];
    // One every ten minutes, once half an hour has been counted.
    let change = |t: usize| if t >= 18_000 && t % 6000 >= 5000 && t % 6000 < 5100 { kinds[t / 6000 % 5] } else { Change::None };
    rows(&bad, 120 * 600, 2, change);
    let bundle = bundle.to_str().unwrap();
    let run = lookout(&["novelty", &format!("features:{}", bad.display()), "--bundle", bundle, "--state", dir.to_str().unwrap()]);
    assert!(run.status.success(), "{}", text(&run.stderr));
    // The bundle's own blocks are of another place; here it starts to count anew, so the first 20 minutes are silent.
    let scores = scores(&run);
    let (mut found, mut all) = (vec![], vec![]);
    for event in 0..12 {
        let from = (event * 6000 + 5000) as u64 * 100;
        let inside = |ms: u64| (from..from + 20_000).contains(&ms);
        let alarmed = scores.iter().any(|(ms, _, now)| inside(*ms) && now == "ALARM");
        let kind = kinds[event % 5];
        if event >= 3 {
            println!("{kind:?} at {} s: {}", from / 1000, if alarmed { "alarm" } else { "missed" });
            all.push(kind);
            if alarmed {
                found.push(kind);
            }
        }
    }
    let troubled = |ms: u64| ms % 600_000 >= 500_000 && ms % 600_000 < 520_000;
    let minutes: std::collections::BTreeSet<u64> =
        scores.iter().filter(|(ms, _, now)| now == "ALARM" && !troubled(*ms)).map(|(ms, ..)| ms / 60_000).collect();
    println!("found {} of {}, false alarms in {} of 120 minutes", found.len(), all.len(), minutes.len());
    assert_eq!(found, all);
    // Expected is the sum of 1 / (n + 1) over n = 20 to 119 blocks, 1.8; five or fewer in 97 of 100 such days.
    assert!(minutes.len() <= 5, "false alarms in {minutes:?}");
    let _ = std::fs::remove_dir_all(dir);
}

/// A bundle that learnt from pictures runs like any other, and says what is novel on the wire.
#[test]
fn a_box_says_it_on_the_wire() {
    let dir = folder("wire");
    let (good, bundle) = machine(&dir, 10, 3);
    let check = lookout(&["check", bundle.to_str().unwrap()]);
    assert!(check.status.success(), "{}{}", text(&check.stdout), text(&check.stderr));
    let (source, file) = (format!("features:{}", good.display()), dir.join("said.json"));
    let json = format!("json:{}", file.display());
    let run = lookout(&[
        "run",
        "--bundle",
        bundle.to_str().unwrap(),
        "--source",
        &source,
        "--report",
        "stdout",
        "--report",
        &json,
        "--state",
        dir.to_str().unwrap(),
    ]);
    assert!(run.status.success(), "{}", text(&run.stderr));
    let said = text(&run.stdout);
    let lines: Vec<&str> = said.lines().filter(|l| l.starts_with("$PLKTN,")).collect();
    println!("{}\n{}", lines.first().unwrap_or(&""), lines.last().unwrap_or(&""));
    assert!(lines.len() >= 100 && lines.iter().all(|l| l.contains(",learning,")), "{} lines", lines.len());
    // What can be promised now, for programs: nothing yet.
    let json = std::fs::read_to_string(file).expect("lines");
    let promised = json.lines().filter(|l| l.contains("\"type\":\"novelty\""));
    assert_eq!(promised.filter(|l| l.contains("\"one_in\":null")).count(), lines.len(), "{json}");
    let _ = std::fs::remove_dir_all(dir);
}

/// Every file of a folder: name, bytes, and when it was written.
fn snapshot(dir: &Path) -> Vec<(PathBuf, Vec<u8>, std::time::SystemTime)> {
    let files = std::fs::read_dir(dir).expect("a folder").map(|e| e.expect("a file").path());
    let mut all: Vec<_> = files
        .map(|p| (p.clone(), std::fs::read(&p).expect("bytes"), p.metadata().and_then(|m| m.modified()).expect("a time")))
        .collect();
    all.sort();
    all
}

/// A recording in a box's state folder: `classify` gives the scores and alarms that `run` gave, and changes nothing there.
#[test]
fn classify_says_of_a_recording_what_run_says_of_it_and_learns_nothing() {
    let dir = folder("classify");
    let (_, bundle) = machine(&dir, 10, 7);
    let (good, bad, state) = (dir.join("good.txt"), dir.join("bad.txt"), dir.join("state"));
    // Every third minute is counted, and nothing is promised before twenty are.
    rows(&good, 66 * 600, 8, |_| Change::None);
    rows(&bad, 1800, 9, |t| if (900..1000).contains(&t) { Change::Stopped } else { Change::None });
    let source = |path: &Path| format!("features:{}", path.display());
    let (good, bad) = (source(&good), source(&bad));
    let known = ["--bundle", bundle.to_str().unwrap(), "--state", state.to_str().unwrap()];
    let learnt = lookout(&[&["learn", &good], &known[..]].concat());
    assert!(learnt.status.success(), "{}", text(&learnt.stderr));
    let before = snapshot(&state);
    let run = lookout(&[&["run", "--board", "host", "--source", &bad, "--report", "json:-"], &known[..]].concat());
    assert!(run.status.success(), "{}", text(&run.stderr));
    let said: Vec<serde_json::Value> = text(&run.stdout).lines().map(|l| serde_json::from_str(l).expect("an object")).collect();
    let json = lookout(&[&["classify", &bad, "--json"], &known[..]].concat());
    assert!(json.status.success(), "{}", text(&json.stderr));
    let all: serde_json::Value = serde_json::from_slice(&json.stdout).expect("an object");
    let ticks = all["novelty"]["ticks"].as_array().expect("ticks");
    let round = |v: &serde_json::Value| (v.as_f64().expect("a number") * 1e4).round() / 1e4;
    let mut same = 0;
    for n in said.iter().filter(|o| o["type"] == "novelty") {
        let tick = ticks.iter().find(|t| t[0] == n["ms"]).expect("the same tick");
        let found = (tick[1].as_f64(), tick[2].as_f64(), tick[3].as_str());
        assert_eq!(found, (Some(round(&n["score"])), Some(round(&n["threshold"])), n["now"].as_str()), "{n}");
        same += 1;
    }
    let alarms = all["novelty"]["alarms"].as_array().expect("alarms");
    println!("{same} reports of run and the ticks of classify alike; alarms {alarms:?}");
    let inside = |a: &&serde_json::Value| (90_000..=112_000).contains(&a["start_ms"].as_u64().unwrap_or(0));
    assert!(same >= 30 && ticks.len() > 1700 && alarms.iter().any(|a| inside(&a)), "{same}, {}", ticks.len());
    let plain = text(&lookout(&[&["classify", &bad], &known[..]].concat()).stdout);
    println!("{plain}");
    assert!(plain.contains("  ALARM ") && plain.contains("  novelty: score at most "), "{plain}");
    let (csv, srt) = (["classify", &bad, "--csv"], ["classify", &bad, "--srt"]);
    let (csv, srt) = (lookout(&[&csv, &known[..]].concat()), lookout(&[&srt, &known[..]].concat()));
    let (csv, srt) = (text(&csv.stdout), text(&srt.stdout));
    let mut table = csv.lines().map(|line| line.split(',').collect::<Vec<_>>());
    assert_eq!(table.next().expect("a head"), ["clip", "label", "start_ms", "end_ms", "p", "score", "threshold"]);
    let called: Vec<_> = table.inspect(|row| assert_eq!(row.len(), 7, "{csv}")).filter(|row| row[1] == "ALARM").collect();
    assert_eq!(called.len(), alarms.len(), "{csv}");
    for (row, alarm) in called.iter().zip(alarms) {
        let number = |n: usize| row[n].parse::<f64>().expect("a number");
        let wanted = ["start_ms", "end_ms", "score", "threshold"].map(|key| alarm[key].as_f64().expect("a number"));
        assert_eq!([2, 3, 5, 6].map(number), wanted, "{csv}");
    }
    assert_eq!(srt.matches("\nALARM ").count(), alarms.len(), "{srt}");
    let starts: Vec<&str> = srt.lines().filter(|line| line.contains(" --> ")).collect();
    assert!(starts.is_sorted(), "in time: {srt}");
    // Unasked, nothing is said of it; and a folder that knows nothing is said.
    assert!(!text(&lookout(&["classify", &bad, "--bundle", known[1]]).stdout).contains("novelty: "));
    let rows_lstm = "tests/bundles/rows-lstm";
    let zeros = dir.join("zeros.txt");
    let width = lookout::bundle::Bundle::open(Path::new(rows_lstm)).expect("a bundle").features();
    std::fs::write(&zeros, format!("{}\n", vec!["0"; width].join(" ")).repeat(50)).expect("written");
    let other = lookout(&["classify", &source(&zeros), "--bundle", rows_lstm, "--state", known[3]]);
    assert!(
        other.status.success() && text(&other.stderr).contains("nothing in it says what is normal"),
        "{}",
        text(&other.stderr)
    );
    assert!(before == snapshot(&state), "the state folder was changed");
    let _ = std::fs::remove_dir_all(dir);
}

/// A bright or dark box goes from left to right every four seconds; `wrong`: from 20 s to 26 s of every 40 s the one that is there stands still, or goes back.
fn street(path: &Path, ticks: usize, wrong: Change) {
    const SIZE: [usize; 2] = [64, 48];
    let mut file = std::io::BufWriter::new(std::fs::File::create(path).expect("a file"));
    writeln!(file, "YUV4MPEG2 W{} H{} F10:1 Cmono", SIZE[0], SIZE[1]).expect("a line");
    let mut x = 5u64;
    for t in 0..ticks {
        let troubled = wrong != Change::None && (200..260).contains(&(t % 400));
        let at = match wrong {
            Change::Stopped if troubled => 12,
            Change::Backwards if troubled => 39 - t % 40,
            _ => t % 40,
        };
        let level = [60.0, 190.0, 90.0][if troubled { 0 } else { t / 40 % 3 }];
        writeln!(file, "FRAME").expect("a line");
        let mut picture = [0u8; SIZE[0] * SIZE[1]];
        for (n, to) in picture.iter_mut().enumerate() {
            let (col, row) = (n % SIZE[0], n / SIZE[0]);
            let inside = (20..30).contains(&row) && (2 * at..2 * at + 12).contains(&(col + 12));
            *to = (if inside { level } else { 110.0 + (col * 7 % 16) as f64 } + noise(&mut x)) as u8;
        }
        file.write_all(&picture).expect("a picture");
    }
}

/// From pictures, in one fixed place: what stands where things only pass, and what goes against the others, stands above all that was ever ordinary.
#[test]
fn what_stops_and_what_goes_against_the_others() {
    let dir = folder("street");
    let (good, bundle) = (dir.join("good.y4m"), dir.join("street"));
    street(&good, 2400, Change::None);
    let grid = ["--unsupervised", "--encoder", "grid", "--channels", "flow,gray", "--each", "--hold-ms", "1000"];
    let run = lookout(&[&["train", good.to_str().unwrap(), "--out", bundle.to_str().unwrap()], &grid[..]].concat());
    assert!(run.status.success(), "{}", text(&run.stderr));
    for wrong in [Change::Stopped, Change::Backwards] {
        let bad = dir.join("bad.y4m");
        street(&bad, 1600, wrong);
        let run =
            lookout(&["novelty", bad.to_str().unwrap(), "--bundle", bundle.to_str().unwrap(), "--state", dir.to_str().unwrap()]);
        assert!(run.status.success(), "{}", text(&run.stderr));
        let said = scores(&run);
        // Three seconds until it is a stand, two seconds afterwards to be forgotten.
        let at = |from: u64, to: u64| said.iter().filter(move |s| (from..to).contains(&(s.0 % 40_000))).map(|s| s.1);
        let ordinary = at(2_000, 20_000).chain(at(30_000, 40_000)).fold(f64::MIN, f64::max);
        let troubled = at(23_000, 26_000).fold(f64::MAX, f64::min);
        println!("{wrong:?}: at least {troubled:.2}, ordinary at most {ordinary:.2}");
        assert!(troubled > ordinary, "{wrong:?}: {troubled}, {ordinary}");
    }
    let rgb = ["--unsupervised", "--encoder", "grid", "--channels", "rgb", "--out", "never"];
    let run = lookout(&[&["train", good.to_str().unwrap()], &rgb[..]].concat());
    assert!(run.status.code() == Some(2) && text(&run.stderr).contains("--channels rgb: "), "{}", text(&run.stderr));
    let _ = std::fs::remove_dir_all(dir);
}

/// With `--where` an alarm says where: a box right behind it, on the wire and for programs; without it nothing is said.
#[test]
fn an_alarm_says_where() {
    let dir = folder("where");
    let path = |name: &str| dir.join(name).display().to_string();
    street(&dir.join("good.y4m"), 2400, Change::None);
    street(&dir.join("bad.y4m"), 300, Change::Backwards);
    let grid = ["--unsupervised", "--encoder", "grid", "--channels", "flow,gray", "--each", "--hold-ms", "1000"];
    let run = lookout(&[&["train", &path("good.y4m"), "--out", &path("street")], &grid[..]].concat());
    assert!(run.status.success(), "{}", text(&run.stderr));
    // Four ordinary minutes, counted second by second, and half of one in which a box goes back from 260 to 266 s.
    let (mut both, bad) = (std::fs::read(dir.join("good.y4m")).unwrap(), std::fs::read(dir.join("bad.y4m")).unwrap());
    both.extend_from_slice(&bad[bad.iter().position(|b| *b == b'\n').unwrap() + 1..]);
    std::fs::write(dir.join("both.y4m"), both).unwrap();
    // One false alarm in 200 blocks of a second.
    std::fs::write(dir.join("lookout.toml"), "heartbeat_s = 1\n[novelty]\nfalse_alarms = 432.0\nblock_s = 1\n").unwrap();
    let config = path("lookout.toml");
    let args = ["run", "--board", "host", "--config", &config, "--bundle", &path("street"), "--source", &path("both.y4m")];
    let said = |more: &[&str]| {
        let state = path(&format!("state{}", more.len()));
        let run = lookout(
            &[&args[..], &["--report", "stdout", "--report", &format!("json:{state}.json"), "--state", &state], more].concat(),
        );
        assert!(run.status.success(), "{}", text(&run.stderr));
        let json = std::fs::read_to_string(format!("{state}.json")).expect("lines");
        (text(&run.stdout), json.lines().map(|l| serde_json::from_str(l).expect("an object")).collect::<Vec<serde_json::Value>>())
    };
    let (wire, json) = said(&["--where"]);
    let lines: Vec<Vec<&str>> = wire.lines().map(|l| l.split(',').collect()).collect();
    // Where it is painted in a tick: 12 x 10 of 64 x 48 pixels.
    let painted = |ms: u64| {
        let left = 2.0 * (39 - (ms - 240_000) / 100 % 40) as f32 - 12.0;
        lookout::shaper::Region { x: left / 64.0, y: 20.0 / 48.0, w: 12.0 / 64.0, h: 10.0 / 48.0 }
    };
    let mut boxes = 0;
    for (n, alarm) in lines.iter().enumerate().filter(|(_, l)| l[0] == "$PLKTN" && l[6] == "ALARM") {
        let (ms, place) = (alarm[2].parse().expect("ms"), &lines[n + 1]);
        // It went the right way until the first tick of this, and has to be in the picture for a while.
        if !(260_200..266_000).contains(&ms) || !(0.1..0.7).contains(&painted(ms).x) {
            continue;
        }
        assert_eq!((place[0], place[2], place[3]), ("$PLKTP", alarm[2], "novelty"), "{alarm:?} without its box");
        let [x, y, w, h] = [4, 5, 6, 7].map(|k| place[k].parse::<f32>().expect("a number") / 1000.0);
        let overlap = lookout::place::overlap(&lookout::shaper::Region { x, y, w, h }, &painted(ms));
        println!("{} and {}: IoU {overlap:.2}", alarm.join(","), place.join(","));
        assert!(overlap > 0.3, "{overlap}");
        boxes += 1;
    }
    assert!(boxes >= 2, "{boxes} alarms with a box: {wire}");
    let strange = |o: &&serde_json::Value| o["type"] == "place" && o["label"] == "novelty";
    assert_eq!(json.iter().filter(strange).count(), lines.iter().filter(|l| l[0] == "$PLKTP" && l[3] == "novelty").count());
    let (quiet, _) = said(&[]);
    assert!(quiet.contains(",ALARM,") && !quiet.contains("$PLKTP,"), "{quiet}");
    let _ = std::fs::remove_dir_all(dir);
}

/// A trained network travels as `novelty.onnx`: it is said, it finds trouble, a box goes on with it, and without it nothing is made up.
#[test]
fn a_trained_network_travels_with_the_bundle() {
    for (predictor, cell) in [("gru", "GRU"), ("autoencoder", "LSTM")] {
        let dir = folder(predictor);
        let (good, bundle) = trained(&dir, 10, 5, predictor);
        let bundle_arg = bundle.to_str().unwrap();
        let check = text(&lookout(&["check", bundle_arg]).stdout);
        let line = check.lines().find(|l| l.starts_with("novelty")).unwrap_or_default();
        println!("{line}");
        assert!(line.contains(&format!("{cell} 4 -> 64, int8")) && line.contains("6000 ticks"), "{check}");
        // The same for programs; a bundle that knows nothing of it says so.
        let json = |dir: &str| -> serde_json::Value {
            serde_json::from_slice(&lookout(&["check", "--json", dir]).stdout).expect("an object")
        };
        let says = &json(bundle_arg)["novelty"];
        println!("{says}");
        let words = format!("novelty   {}: learnt from {} ticks", says["network"].as_str().unwrap(), says["learnt_ticks"]);
        assert_eq!(line, words);
        // Ten minutes, of which every third was not learnt from.
        assert_eq!((&says["blocks"], &says["one_in"]), (&3.into(), &serde_json::Value::Null));
        let promise = "promise   3 blocks of 60 s are counted: no alarm before there are 20, 17 min more, on footage like that; a box counts its own";
        assert!(check.lines().any(|l| l == promise) && promise.contains(says["promise"].as_str().unwrap()), "{check}");
        assert!(json("tests/bundles/rows-lstm")["novelty"].is_null());
        // The box learns what stands behind the network from its own footage, and finds what is wrong.
        let state = dir.join("state");
        let (good, state) = (format!("features:{}", good.display()), state.to_str().unwrap());
        let run = lookout(&["learn", &good, "--bundle", bundle_arg, "--state", state]);
        assert!(run.status.success(), "{}", text(&run.stderr));
        let learnt = std::fs::read_to_string(Path::new(state).join("novelty.json")).expect("what was learnt");
        assert!(learnt.contains("\"seed\":7,"), "a network is used with the sums of its own training");
        let bad = dir.join("bad.txt");
        rows(&bad, 1200, 6, |t| if (600..700).contains(&t) { Change::Stopped } else { Change::None });
        let bad = format!("features:{}", bad.display());
        let scores = scores(&lookout(&["novelty", &bad, "--bundle", bundle_arg, "--state", state]));
        let mean = |from: u64, to: u64| {
            let some: Vec<f64> = scores.iter().filter(|s| (from..to).contains(&s.0)).map(|s| s.1).collect();
            some.iter().sum::<f64>() / some.len() as f64
        };
        let (ordinary, stopped) = (mean(20_000, 60_000), mean(62_000, 72_000));
        println!("{predictor}: {ordinary:.2} ordinary, {stopped:.2} stopped, deviations");
        assert!(stopped > ordinary + 4.0);
        std::fs::remove_file(bundle.join("novelty.onnx")).expect("removed");
        let run = lookout(&["novelty", &bad, "--bundle", bundle_arg, "--state", state]);
        assert!(run.status.code() == Some(2) && text(&run.stderr).contains("novelty.onnx"), "{}", text(&run.stderr));
        let _ = std::fs::remove_dir_all(dir);
    }
}
