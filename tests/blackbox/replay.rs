//! What comes back out of a clip: the same probabilities, sentences and alarms as when it was written.

use super::{Ticks, clips, film, folder, lookout, said};
use lookout::baked;
use lookout::blackbox::Header;
use lookout::blackbox::writer::{BlackBox, Wish};
use lookout::extra::Table;
use lookout::pipeline::{Options, Pipeline};
use lookout::source::ahead::Ahead;
use lookout::source::open::{self, Spec};
use lookout::source::scene::{Play, Scene};
use lookout::source::{Payload, Timestamp};
use lookout::store::sha256;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::process::Output;
use std::time::Duration;

#[test]
fn a_clip_replays_to_the_same_probabilities_bit_for_bit_and_the_same_sentences() {
    let (dir, bundle) = (folder("same"), baked::bundle().unwrap());
    let film = film(&dir, Play::Script);
    let kept = dir.join("kept");
    let box_dir = kept.display().to_string();
    let run = ["run", "--board", "host", "--report", "stdout", "--source"];
    let live = lookout(&[&run[..], &[&film, "--blackbox", &box_dir]].concat());
    let live_said = said(&live);
    // What is kept changes nothing that is said.
    assert_eq!(lookout(&[&run[..], &[&film]].concat()).stdout, live.stdout);
    let clips = clips(&kept);
    let starts = live_said.iter().filter(|s| s.starts_with("$PLKTE,S,")).count();
    println!("{starts} events, {} clips", clips.len());
    assert!(clips.len() >= 5 && starts >= clips.len());

    // Live, tick by tick.
    let mut ticks = Ticks::default();
    let mut pipeline = Pipeline::new(&bundle, &Options::default()).unwrap();
    let mut scene = Ahead::new(Box::new(Scene::new(1)));
    while let Some((frame, until)) = scene.read().unwrap() {
        match until {
            Some(until) => pipeline.step(&frame, until, &mut ticks, &mut |_| {}).unwrap(),
            None => pipeline.finish(Some(&frame), &mut ticks, &mut |_| {}).unwrap(),
        }
    }
    let (mut same, mut events) = (0, 0);
    for clip in &clips {
        let path = clip.display().to_string();
        let source = open::open(&path.parse::<Spec>().unwrap(), &open::Options::for_bundle(&bundle)).unwrap();
        let mut again = Ticks::default();
        let mut pipeline = Pipeline::new(&bundle, &Options::default()).unwrap();
        let mut source = Ahead::new(source);
        while let Some((frame, until)) = source.read().unwrap() {
            match until {
                Some(until) => pipeline.step(&frame, until, &mut again, &mut |_| {}).unwrap(),
                None => pipeline.finish(Some(&frame), &mut again, &mut |_| {}).unwrap(),
            }
        }
        assert!(again.0.len() > 30, "{path}: {} ticks decided", again.0.len());
        for (at, (p, _)) in &again.0 {
            assert_eq!(Some(p), ticks.0.get(at).map(|(p, _)| p), "{path} at {at} ms");
            same += 1;
        }
        // The event for which it was written, and every other that begins and ends in it.
        let replayed = said(&lookout(&[&run[..], &[path.as_str()]].concat()));
        let label = clip.file_stem().unwrap().to_str().unwrap().split_once('-').unwrap().1.to_string();
        let start: Vec<&String> =
            replayed.iter().filter(|s| s.starts_with(&format!("$PLKTE,S,{label},")) && live_said.contains(s)).collect();
        assert!(!start.is_empty(), "{path}: {replayed:?}");
        events += start.len();
        let json = lookout(&["classify", "--json", &path]);
        assert!(json.status.success() && String::from_utf8_lossy(&json.stdout).contains(&format!("\"label\":\"{label}\"")));
    }
    println!("{same} ticks of {} clips have the same probabilities to the last bit; {events} events begin the same", clips.len());
    // Another bundle's, and what is no recording's business, end in a sentence.
    let path = clips[0].display().to_string();
    let out = lookout(&["classify", "--bundle", "tests/bundles/resnet", &path]);
    assert_eq!(out.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&out.stderr).contains("kept with bundle"), "{}", String::from_utf8_lossy(&out.stderr));
    assert_eq!(lookout(&["classify", &format!("faulty:drop=0.1:blackbox:{path}")]).status.code(), Some(2));
}

/// `$PLKTN` without number and checksum: time in ms, and the line from there on.
fn novel(out: &Output) -> Vec<(u64, String)> {
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8(out.stdout.clone()).unwrap();
    let fields = |line: &str| line.split(',').map(String::from).collect::<Vec<_>>();
    text.lines()
        .filter(|line| line.starts_with("$PLKTN"))
        .map(fields)
        .map(|f| (f[2].parse().unwrap(), f[2..f.len() - 1].join(",")))
        .collect()
}

/// `classify --json` with this state folder: what it says of novelty.
fn judged(clip: &str, state: &str) -> serde_json::Value {
    let out = lookout(&["classify", "--json", clip, "--state", state]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let mut all: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    all["novelty"].take()
}

/// A part of the picture was looked at: boxes are said in the whole picture, live and from the clip.
#[test]
fn a_clip_knows_which_part_of_the_picture_it_shows() {
    let dir = folder("region");
    let (film, kept, config) = (film(&dir, Play::Script), dir.join("kept"), dir.join("box.toml"));
    fs::write(&config, "[region]\nx = 0.0\ny = 0.25\nwidth = 1.0\nheight = 0.75\n").unwrap();
    let [kept_in, config] = [&kept, &config].map(|p| p.display().to_string());
    let run = [
        "run",
        "--board",
        "host",
        "--config",
        &config,
        "--where",
        "--report",
        "json:-",
        "--source",
        &film,
        "--blackbox",
        &kept_in,
    ];
    let live = lookout(&run);
    assert!(live.status.success(), "{}", String::from_utf8_lossy(&live.stderr));
    let number = |v: &serde_json::Value| v.as_f64().unwrap();
    let mut boxes: BTreeMap<u64, [f64; 4]> = BTreeMap::new();
    for line in String::from_utf8(live.stdout).unwrap().lines() {
        let said: serde_json::Value = serde_json::from_str(line).unwrap();
        if said["type"] == "place" {
            boxes.insert(said["ms"].as_u64().unwrap(), ["x", "y", "w", "h"].map(|key| number(&said[key])));
        }
    }
    let (mut same, mut all) = (0, 0);
    for clip in clips(&kept) {
        let out = lookout(&["classify", "--json", "--where", &clip.display().to_string()]);
        let said: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
        for found in said["where"].as_array().unwrap() {
            // The box is followed over time, which begins anew with the clip: a little beside it is the same.
            if let Some(live) = boxes.get(&found[0].as_u64().unwrap()) {
                same += usize::from((0..4).all(|k| (number(&found[k + 1]) - live[k]).abs() < 0.02));
                all += 1;
            }
        }
    }
    println!("{same} of {all} boxes of the clips are those that were said live");
    assert!(all >= 5 && same * 10 >= all * 9, "{same} of {all}");
}

/// Blocks that a box may have counted: thirty of this score.
fn counted(state: &Path, best: f64) {
    let normal = sha256(&fs::read(state.join("novelty.json")).unwrap());
    let blocks = serde_json::json!({ "normal": normal, "blocks": { "best": vec![best; 30], "alarms": [] } });
    fs::write(state.join("blocks.json"), blocks.to_string()).unwrap();
}

/// What is normal is an empty street; then somebody comes. What the alarm was for is in the clip, and so is what novelty remembered and had counted before it.
#[test]
fn a_clip_written_for_an_alarm_gives_the_same_alarm_back_whatever_was_counted_since() {
    let dir = folder("alarm");
    let state_dir = dir.join("state");
    let state = state_dir.display().to_string();
    let still: Vec<String> = (2..8u64)
        .map(|seed| {
            let file = dir.join(format!("still-{seed}.y4m"));
            let mut to = std::io::BufWriter::new(File::create(&file).unwrap());
            Scene::playing(seed, Play::Still).write_y4m(&mut to).unwrap();
            file.display().to_string()
        })
        .collect();
    let learn: Vec<&str> = ["learn", "--state", &state].into_iter().chain(still[1..].iter().map(String::as_str)).collect();
    let learnt = lookout(&learn);
    assert!(learnt.status.success(), "{}", String::from_utf8_lossy(&learnt.stderr));
    counted(&state_dir, judged(&still[0], &state)["score"].as_f64().unwrap());

    let (film, kept) = (film(&dir, Play::Script), dir.join("kept"));
    let run = ["run", "--board", "host", "--report", "stdout", "--state", &state, "--source"];
    let live = lookout(&[&run[..], &[&film, "--blackbox", &kept.display().to_string()]].concat());
    assert_eq!(lookout(&[&run[..], &[&film]].concat()).stdout, live.stdout, "what is kept changes nothing that is said");
    let (live_novel, live_said, whole) = (novel(&live), said(&live), judged(&film, &state));
    let scores: BTreeMap<u64, &serde_json::Value> =
        whole["ticks"].as_array().unwrap().iter().map(|t| (t[0].as_u64().unwrap(), t)).collect();
    let (mut same, mut lines, mut alarms, mut events) = (0, 0, 0, 0);
    let all = clips(&kept);
    // It is called after the alarm, also where an event opened it before that came.
    let mut paths = all.iter().map(|c| c.display().to_string());
    let alarmed = paths.find(|path| path.ends_with("-novelty.lkb")).expect("a clip for an alarm");
    for clip in &all {
        let path = clip.display().to_string();
        let again = judged(&path, &state);
        let ticks = again["ticks"].as_array().unwrap();
        let (first, last) = (ticks[0][0].as_u64().unwrap(), ticks[ticks.len() - 1][0].as_u64().unwrap());
        for tick in ticks {
            assert_eq!(Some(&tick), scores.get(&tick[0].as_u64().unwrap()), "{path}");
            same += 1;
        }
        alarms += again["alarms"].as_array().unwrap().len();
        // The same sentences, at the same times.
        let replay = lookout(&[&run[..], &[&path]].concat());
        let theirs: Vec<_> = live_novel.iter().filter(|(ms, _)| (first..=last).contains(ms)).cloned().collect();
        assert_eq!(novel(&replay), theirs, "{path}");
        lines += theirs.len();
        // Classes as well: what begins when the window is full of what is in the clip.
        let replayed = said(&replay);
        let begins = |s: &&String| {
            let f: Vec<&str> = s.split(',').collect();
            s.starts_with("$PLKTE,S") && f[3].parse().is_ok_and(|ms: u64| (first + 2500..last - 500).contains(&ms))
        };
        for event in live_said.iter().filter(begins) {
            assert!(replayed.contains(event), "{path}: {event} in {replayed:?}");
            events += 1;
        }
    }
    println!(
        "{} clips: {same} ticks with the same score and threshold, {lines} $PLKTN lines, {events} events, {alarms} alarms",
        all.len()
    );
    assert!(same > 300 && lines > 10 && events > 3);

    // The box goes on counting, and an alarm itself moves its threshold up: from the whole film there would be none any more. The clip still has it.
    let before = judged(&alarmed, &state);
    assert!(!before["alarms"].as_array().unwrap().is_empty(), "{before}");
    counted(&state_dir, 1e6);
    assert_eq!(judged(&film, &state)["alarms"].as_array().unwrap().len(), 0);
    assert_eq!(judged(&alarmed, &state), before);
    // Nothing of novelty without a state folder; with another learning, that is said, and it is scored anew.
    let plain = lookout(&["classify", &alarmed]);
    assert!(plain.status.success() && !String::from_utf8_lossy(&plain.stdout).contains("novelty:"));
    assert!(lookout(&[&learn[..], &["--seed", "2"]].concat()).status.success());
    let other = lookout(&["classify", &alarmed, "--state", &state]);
    let log = String::from_utf8_lossy(&other.stderr);
    assert!(other.status.success() && log.contains("novelty had learnt something else when it was kept"), "{log}");
    assert!(String::from_utf8_lossy(&other.stdout).contains("novelty: "));
}

/// A vehicle's speed and a level beside pictures that stand still: the clip has them, and where they were missing.
#[test]
fn numbers_beside_the_pictures_are_kept_and_replayed_without_their_devices() {
    let (dir, place) = (folder("senses"), "tests/bundles/senses");
    let bundle = lookout::bundle::Bundle::open(Path::new(place)).unwrap();
    let clip = dir.join("a.y4m").display().to_string();
    let mut bytes = b"YUV4MPEG2 W32 H32 F20:1 Cmono\n".to_vec();
    // Something moves in the fifth second, so most ticks are no news but for their numbers.
    (0..200u32).for_each(|n| {
        let level = if (80..100).contains(&n) { (n * 5 % 256) as u8 } else { 100 };
        bytes.extend(b"FRAME\n".iter().chain(&[level; 32 * 32]));
    });
    fs::write(&clip, bytes).unwrap();
    // Slow, fast, silent and so missing after a while, loud, unknown to the sensor.
    let mut table = "ms,speed,audio\n".to_string();
    (1000..5000u64)
        .step_by(200)
        .for_each(|ms| table += &format!("{ms},{},\n", if ms < 3000 { 2.0 + ms as f32 / 1e4 } else { 9.3 }));
    (7000..8000u64).step_by(100).for_each(|ms| table += &format!("{ms},3,{}\n", 88.0 + ms as f32 / 1e3));
    table += "8000,nan,nan\n";
    fs::write(format!("{clip}.extra.csv"), table).unwrap();
    let config = dir.join("lookout.toml");
    fs::write(&config, "[blackbox]\nseconds_before = 2\nseconds_after = 1\n").unwrap();
    let kept = dir.join("kept");
    let run =
        ["run", "--board", "host", "--bundle", place, "--report", "stdout", "--config", config.to_str().unwrap(), "--source"];
    let live = lookout(&[&run[..], &[&clip, "--blackbox", &kept.display().to_string()]].concat());
    assert_eq!(lookout(&[&run[..], &[&clip]].concat()).stdout, live.stdout);
    let live_said = said(&live);

    let play = |path: &str, beside: bool| {
        let (mut ticks, mut pipeline) = (Ticks::default(), Pipeline::new(&bundle, &Options::default()).unwrap());
        let mut source = Ahead::new(open::open(&path.parse().unwrap(), &open::Options::for_bundle(&bundle)).unwrap());
        let extra = &bundle.contract.extra;
        let mut table = if beside { Table::of(path, None, extra).unwrap().unwrap() } else { Table::default() };
        while let Some((frame, until)) = source.read().unwrap() {
            table.feed(frame.at, until.unwrap_or(frame.at + Duration::from_millis(100)), |n, v| pipeline.sense(n, v));
            match until {
                Some(until) => pipeline.step(&frame, until, &mut ticks, &mut |_| {}).unwrap(),
                None => pipeline.finish(Some(&frame), &mut ticks, &mut |_| {}).unwrap(),
            }
        }
        (ticks.0, pipeline.counts().reused)
    };
    let (whole, reused) = play(&clip, true);
    let (mut same, mut events, mut seen) = (0, 0, vec![]);
    for clip in clips(&kept) {
        let path = clip.display().to_string();
        let (again, _) = play(&path, false);
        assert!(again.len() >= 10, "{path}: {} ticks", again.len());
        again.iter().for_each(|(at, (p, _))| assert_eq!(Some(p), whole.get(at).map(|(p, _)| p), "{path} at {at} ms"));
        same += again.len();
        let replay = lookout(&[&run[..], &[&path]].concat());
        let log = String::from_utf8_lossy(&replay.stderr).to_string();
        assert!(!log.contains("does not say from where") && !log.contains("missing"), "{log}");
        let label = clip.file_stem().unwrap().to_str().unwrap().split_once('-').unwrap().1.to_string();
        let start = |s: &&String| s.starts_with(&format!("$PLKTE,S,{label},"));
        let replayed = said(&replay);
        assert!(replayed.iter().filter(start).any(|s| live_said.contains(s)), "{path}: {replayed:?}, {live_said:?}");
        events += 1;
        let classified = lookout(&["classify", "--bundle", place, &path]);
        assert!(classified.status.success() && !String::from_utf8_lossy(&classified.stderr).contains("missing"));
        seen.push(label);
    }
    println!("{seen:?}: {same} ticks with the same probabilities to the last bit, {events} events; {reused} ticks were no news");
    assert!(["fast", "lost", "loud"].iter().all(|l| seen.iter().any(|s| s == l)) && reused > 50, "{seen:?}, {reused}");
}

/// A clip of the first format, before clips had what is remembered in them: what the test of rows below kept at commit 59f069c, with rows-lstm.
#[test]
fn an_older_clip_is_read() {
    let out = lookout(&["classify", "--json", "--bundle", "tests/bundles/rows-lstm", "tests/golden/blackbox-1.lkb"]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let said: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    println!("{said}");
    assert!(said["ticks"].as_u64().unwrap() > 30);
}

/// A box's own clips are played by the bundle that is installed there; where another one is asked, the sentence says where that lies.
#[test]
fn a_clip_of_an_installed_bundle_finds_it() {
    let (dir, clip) = (folder("installed"), "tests/golden/blackbox-1.lkb");
    let [state, config] = ["state", "box.toml"].map(|name| dir.join(name).display().to_string());
    fs::write(&config, format!("state = {state:?}\nsource = \"features:-\"\n")).unwrap();
    let installed = lookout(&["install", "--config", &config, "tests/bundles/rows-lstm"]);
    assert!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
    let its = lookout::bundle::Bundle::open(Path::new("tests/bundles/rows-lstm")).unwrap();
    let out = lookout(&["classify", "--config", &config, "--bundle", "tests/bundles/senses", clip]);
    let why = String::from_utf8(out.stderr).unwrap();
    let place = format!("; it is installed here: --bundle {state}/bundles/{}\n", its.hash);
    assert!(out.status.code() == Some(2) && why.contains("kept with bundle ") && why.ends_with(&place), "{why}");
    for known in [["--state", &state], ["--config", &config], ["--bundle", &format!("{state}/bundles/{}", its.hash)]] {
        let out = lookout(&[&["classify", "--json", clip], &known[..]].concat());
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    }
}

/// Events of the pipeline are what opens a clip; rows of numbers have them too. A head that carries its state goes on from the one that it had.
#[test]
fn rows_of_numbers_are_kept_and_replayed_as_well() {
    for (bundle, carried) in [("rows-lstm", false), ("rows-carried", true), ("rows-carried2", true)] {
        let dir = folder(bundle);
        let its = lookout::bundle::Bundle::open(&Path::new("tests/bundles").join(bundle)).unwrap();
        let kept = dir.join("kept");
        let wish = Wish { dir: kept.clone(), before: 40, after: 10, limit: 1 << 20, patient: true };
        let (tick_ms, tick_bytes) = (its.contract.time.tick_ms, its.tick_bytes());
        let header = Header { bundle: its.hash.clone(), tick_ms, tick_bytes, rows: true, ..Header::default() };
        let mut pipeline = Pipeline::new(&its, &Options::default()).unwrap();
        let mut both = (BlackBox::start(header, wish, pipeline.before()).unwrap(), Ticks::default());
        let width = its.features();
        for n in 0..100u32 {
            let row: Vec<f32> = (0..width as u32).map(|k| ((n * 31 + k * 7) % 97) as f32 / 48.5 - 1.0).collect();
            let at = |n: u32| Timestamp::from_ms(u64::from(n * tick_ms));
            let frame = lookout::source::Frame { at: at(n), seq: lookout::source::Seq(n), payload: Payload::Row(&row) };
            pipeline.step(&frame, at(n + 1), &mut both, &mut |_| {}).unwrap();
            if n == 70 {
                both.0.press(&"idle".try_into().unwrap(), at(n));
            }
        }
        both.0.close(Duration::from_secs(5));
        let clip = clips(&kept)[0].display().to_string();
        let replay = |state: bool| {
            let source = open::open(&clip.parse().unwrap(), &open::Options::for_bundle(&its)).unwrap();
            let (mut again, mut pipeline) = (Ticks::default(), Pipeline::new(&its, &Options::default()).unwrap());
            if let Some(past) = source.past().filter(|_| state) {
                assert_eq!(past.head.is_empty(), !carried);
                let torn = &past.head[..past.head.len().saturating_sub(1)];
                assert_eq!(pipeline.recall_head(torn), !carried, "a state that is cut short is not taken");
                assert!(pipeline.recall_head(past.head));
            }
            let mut source = Ahead::new(source);
            while let Some((frame, until)) = source.read().unwrap() {
                match until {
                    Some(until) => pipeline.step(&frame, until, &mut again, &mut |_| {}).unwrap(),
                    None => pipeline.finish(Some(&frame), &mut again, &mut |_| {}).unwrap(),
                }
            }
            let same = again.0.iter().filter(|(at, (p, _))| both.1.0.get(at).map(|(q, _)| q) == Some(p)).count();
            (same, again.0.len())
        };
        let ((same, all), (cold, _)) = (replay(true), replay(false));
        println!("{bundle}: {same} of {all} ticks of rows replayed the same, {cold} without the head's state");
        assert!(all > 30 && same == all && (cold < all) == carried, "{bundle}");
        assert!(lookout(&["classify", "--bundle", &format!("tests/bundles/{bundle}"), &clip]).status.success());
    }
}
