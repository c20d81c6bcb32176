//! What is brought to a host: tables of clips and stretches, split files, answers that are known, caches, checkpoints, indices, unfinished contracts.

use crate::harness::{folder, fuzz, line, root, texts};
use lookout::cli::index::moments::{Header, Index, KIND};
use lookout::cli::{label, score, shape};
use lookout::report::Label;
use lookout::shaper::{Region, Shaper};
use lookout::ticks::{Data, Ticks};
use lookout::train::fit::{Settings, fit};
use lookout::train::list::{Listing, Recording, Side, Span, Wishes};
use lookout::train::net::{Cell, Plan};
use lookout::train::set::Set;
use std::collections::BTreeMap;

#[test]
fn tables_of_clips_and_of_stretches() {
    let dir = folder("tables");
    for clip in ["a.avi", "b.avi", "c.avi", "d.avi", "a, \"b\".avi"] {
        std::fs::write(dir.join(clip), "").unwrap();
    }
    let seeds = texts(&[
        "file,label,group\na.avi,left,day1\nb.avi,left,day2\nc.avi,idle,day1\n\"a, \"\"b\"\".avi\",idle,day2\n",
        "file,start_s,end_s,label\na.avi,0,2.5,left\na.avi,2.5,4,idle\nb.avi,1,2,left\nc.avi,0,9,idle\n",
        "clip;class\na.avi;left\n",
        "path,first_row,last_row,class\na.avi,0,24,left\nb.avi,25,49,left\nc.avi,0,1,idle\nd.avi,0,1,idle\n",
    ]);
    let table = dir.join("labels.csv");
    let rename = BTreeMap::from([("idle".to_string(), "none".to_string())]);
    let wishes = [
        Wishes { tick_ms: 100, ..Wishes::default() },
        Wishes { tick_ms: 60_000, rest_is_background: true, rename, ..Wishes::default() },
    ];
    let mut taken = 0u64;
    fuzz("table of clips", &seeds, |bytes| {
        std::fs::write(&table, bytes).unwrap();
        for wishes in &wishes {
            match Listing::of(&table, wishes) {
                Ok(listing) => {
                    taken += 1;
                    let spans = || listing.recordings.iter().flat_map(|r| &r.spans);
                    assert!(spans().all(|s| s.start_ms < s.end_ms && s.label.is_none_or(|l| l < listing.labels.len())));
                    assert!(listing.labels.iter().all(|l| Label::try_from(l.as_str()).is_ok()));
                }
                Err(e) => line(&e),
            }
        }
    });
    println!("table of clips: {taken} of them still name classes");
    std::fs::remove_dir_all(dir).unwrap();
    let seeds = texts(&["start_s,end_s,label\n0,2.5,left\n2.5,4,idle\n", "Start , End,Class\r\n\"1\",2,a-b_c\r\n"]);
    fuzz("stretches", &seeds, |bytes| match label::stretches(&String::from_utf8_lossy(bytes), None) {
        // Each label becomes the name of a folder.
        Ok(list) => assert!(list.iter().all(|(from, to, label)| from < to && !label.contains(['/', '.', '\0']))),
        Err(e) => assert!(e.len() > 3),
    });
}

#[test]
fn split_files() {
    let dir = folder("split");
    for (class, clips) in [
        ("Diving", ["v_Diving_g01_c01.avi", "v_Diving_g02_c01.avi"]),
        ("Walking", ["v_Walking_g01_c01.avi", "v_Walking_g02_c01.avi"]),
    ] {
        std::fs::create_dir(dir.join(class)).unwrap();
        clips.iter().for_each(|clip| std::fs::write(dir.join(class).join(clip), "").unwrap());
    }
    let (train, judge) = (dir.join("trainlist01.txt"), dir.join("testlist01.txt"));
    let wishes = Wishes { split: Some(train.clone()), ..Wishes::default() };
    let seeds = texts(&[
        "Diving/v_Diving_g01_c01.avi 1\nWalking/v_Walking_g01_c01.avi 2\n",
        "Diving/v_Diving_g02_c01.avi\r\nWalking/v_Walking_g02_c01.avi\r\n",
    ]);
    fuzz("split", &seeds, |bytes| {
        std::fs::write(&train, bytes).unwrap();
        std::fs::write(&judge, &seeds[usize::from(bytes.len() % 2 == 0)]).unwrap();
        match Listing::of(&dir, &wishes) {
            Ok(listing) => {
                assert!(listing.recordings.iter().all(|r| r.side.is_some_and(|s| s == Side::Train || s == Side::Judge)))
            }
            Err(e) => line(&e),
        }
    });
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn known_answers() {
    let dir = folder("truth");
    let file = dir.join("truth.csv");
    let labels = ["left", "idle"].map(|l| Label::try_from(l).unwrap());
    fuzz(
        "known answers",
        &texts(&["group, file ,label\n1,b.avi,left\n\n2,c.avi, idle\n", "clip,class\n/a/b.avi,idle\n"]),
        |bytes| {
            std::fs::write(&file, bytes).unwrap();
            match score::Truth::read(&file) {
                Ok(truth) => {
                    let found = truth.of("avi:/a/b.avi", &labels);
                    assert!(
                        found.is_ok_and(|n| n < 2)
                            || truth.of("/a/b.avi", &labels).is_err_and(|e| e.len() > 3)
                            || truth.of("c.avi", &labels).is_ok()
                    );
                }
                Err(e) => line(&e),
            }
        },
    );
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn kept_ticks_and_indices() {
    let rows = Ticks { width: 3, data: Data::Numbers((0..27).map(|n| n as f32 / 9.0).collect()), size: [0, 0] };
    let planes = Ticks { width: 4, data: Data::Levels((0..20).collect()), size: [320, 240] };
    let seeds = [rows.to_bytes().unwrap(), planes.to_bytes().unwrap()];
    let mut read = 0u64;
    fuzz("kept ticks", &seeds, |bytes| {
        for levels in [false, true] {
            match Ticks::from_bytes(bytes, levels) {
                Ok(ticks) => {
                    read += 1;
                    let held = match &ticks.data {
                        Data::Levels(l) => l.len(),
                        Data::Numbers(n) => n.len(),
                    };
                    assert!(ticks.width > 0 && held == ticks.len() * ticks.width && held <= bytes.len());
                }
                Err(e) => line(&e),
            }
        }
    });
    println!("kept ticks: {read} of them are still some");
    let (mean, deviation) = Ticks::spread([&rows].into_iter());
    let header = |window| Header {
        kind: KIND.into(),
        bundle: "0a".repeat(32),
        window,
        tick_ms: 100,
        mean: mean.clone(),
        deviation: deviation.clone(),
        clips: vec!["a.avi".into(), "b.avi".into()],
    };
    let seeds = [4, 100].map(|window| {
        let mut bytes = format!("{}\n", serde_json::to_string(&header(window)).unwrap()).into_bytes();
        header(window).write(1, &rows, &mut bytes).unwrap();
        bytes
    });
    let mut searched = 0u64;
    fuzz("index", &seeds, |bytes| match Index::parse(bytes.to_vec()) {
        Ok(index) => {
            searched += 1;
            let found = index.find(&rows, 5);
            assert!(found.len() <= 5 && found.iter().all(|f| f.start_ms < f.end_ms), "{found:?}");
        }
        Err(e) => line(&e),
    });
    println!("index: {searched} of them can still be searched");
}

#[test]
fn checkpoints() {
    let dir = folder("checkpoint");
    let listing = Listing { labels: vec!["a".into(), "b".into()], background: None, recordings: vec![], stretches: false };
    let one = |n: usize| {
        let spans = vec![Span { start_ms: 0, end_ms: u64::MAX, label: Some(n % 2) }];
        let recording = Recording { source: format!("{n}"), group: format!("{n}"), spans, side: None };
        let ticks = Ticks { width: 2, data: Data::Numbers((0..8).map(|v| (v + n) as f32).collect()), size: [0; 2] };
        (recording, ticks, vec![])
    };
    let set = Set::new(&listing, (0..4).map(one).collect(), 100, 2, 0);
    let head = Plan { cell: Cell::Gru, features: 2, hidden: 2, layers: 1, classes: 2, dropout: 0.0 };
    let settings =
        Settings { head, encoder: None, epochs: 1, patience: 0, batch: 128, rate: 0.01, balance: 0.0, decay: 0.0, seed: 1 };
    let file = dir.join("0.training");
    fit(&set, &settings, (&[0, 1, 2, 3], &[]), Some(&file), &mut |_| {}).unwrap();
    let whole = std::fs::read(&file).unwrap();
    // Nothing more is learnt: what is kept, or what a seed gives.
    let settings = Settings { epochs: 0, ..settings };
    let drawn = fit(&set, &settings, (&[0, 1, 2, 3], &[]), None, &mut |_| {}).unwrap().model.judge(&set, &[0]).unwrap();
    let mut gone_on = 0u64;
    fuzz("checkpoint", &[whole], |bytes| {
        std::fs::write(&file, bytes).unwrap();
        let fitted = fit(&set, &settings, (&[0, 1, 2, 3], &[]), Some(&file), &mut |_| {}).unwrap();
        if fitted.history.is_empty() {
            assert_eq!(fitted.model.judge(&set, &[0]).unwrap(), drawn, "all of a checkpoint or nothing");
        } else {
            gone_on += 1;
        }
    });
    println!("checkpoint: {gone_on} of them still go on");
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn unfinished_contracts() {
    let seeds = [
        std::fs::read(root().join("models/motion/bundle.toml")).unwrap(),
        b"[input]\nwidth = 16\nheight = 8\nchannels = [\"rgb\", \"flow\"]\n[time]\ntick_ms = 40\n".to_vec(),
    ];
    let mut taken = 0u64;
    fuzz("unfinished contract", &seeds, |bytes| match shape::unfinished(&String::from_utf8_lossy(bytes)) {
        Ok((input, _)) => {
            taken += 1;
            if let Err(e) = Shaper::new(&input, Region::default()) {
                line(&e.to_string());
            }
        }
        Err(e) => line(&format!("{e:#}")),
    });
    println!("unfinished contract: {taken} of them can still be shaped by");
}
