//! What a box keeps in its state folder, and what is signed: damaged cards and forged files.

use crate::harness::{Dice, LONGEST, folder, fuzz, line, root};
use lookout::bundle::Bundle;
use lookout::novelty::normal::{self, Terms};
use lookout::novelty::promise::Blocks;
use lookout::novelty::{self, Novelty, Setup};
use lookout::report::Novel;
use lookout::source::Timestamp;
use lookout::store::novelty as kept;
use lookout::store::rows::Kept;
use lookout::store::{Record, policy};
use lookout::taught::lesson::{Example, Lesson, Step};
use lookout::taught::packed::Packed;
use std::time::Duration;

#[test]
fn what_was_taught_and_learnt() {
    let traces = vec![Packed::round(&[0.5, -0.25, 0.0, 0.125]); 2];
    let example = Example { from: "wire".into(), traces, sure: Packed::round(&[0.75, 0.5]) };
    let mut lesson = Lesson::new("00aa", None);
    lesson.push(Step::Shown { label: "wave".into(), examples: vec![example] });
    lesson.push(Step::Forgotten { label: "wave".into() });
    let mut ordinary = std::fs::read(root().join("models/motion/ordinary.json")).unwrap();
    ordinary.truncate(LONGEST);
    let seeds = [lesson.file().unwrap().into_bytes(), ordinary];
    fuzz("lesson", &seeds, |bytes| {
        if let Err(e) = Lesson::parse(bytes) {
            line(&e);
        }
    });
    let dir = folder("novelty");
    let file = dir.join("novelty.json");
    let mut dice = Dice(7);
    let rows = (0..2 * 3000).map(|_| dice.below(100) as f32 / 100.0).collect();
    let learnt = normal::learn("00aa", 2, &[rows], &Terms { hidden: 4, each: true, ..Terms::new(100, 0) }, None).unwrap();
    kept::write(&file, &learnt).unwrap();
    let mut used = 0u64;
    fuzz("novelty", &[std::fs::read(&file).unwrap()], |bytes| {
        std::fs::write(&file, bytes).unwrap();
        // What is taken is run: its numbers may be any, its shapes must fit each other.
        match kept::read(&file).and_then(|n| Setup::of(n.unwrap(), None)) {
            Ok(setup) => {
                used += 1;
                look(setup, 2);
            }
            Err(e) => line(&e),
        }
    });
    println!("novelty: {used} of them still say what is normal");
    std::fs::remove_dir_all(dir).unwrap();
}

/// Forty ticks against what is normal, in blocks of eight.
fn look(setup: Setup, features: usize) {
    let mut novelty = Novelty::new(Setup { block: 8, ..setup }, Duration::from_secs(1));
    for n in 0..40u64 {
        let row = vec![n as f32 / 40.0; features];
        if let Some(report) = novelty.tick(Timestamp::from_ms(n * 100), &row) {
            assert!(report.now == Novel::Learning || report.threshold.is_finite(), "{report:?}");
        }
    }
}

#[test]
fn what_was_counted_and_what_is_being_learnt_from() {
    let dir = folder("counted");
    let bundle = Bundle::open(&root().join("tests/bundles/rows-lstm")).unwrap();
    let (features, tick_ms) = (bundle.features(), bundle.contract.time.tick_ms);
    let mut dice = Dice(9);
    let rows: Vec<f32> = (0..features * 3000).map(|_| dice.below(100) as f32 / 100.0).collect();
    let terms = Terms { hidden: 4, ..Terms::new(tick_ms, 0) };
    let learnt = normal::learn(&bundle.hash, features, std::slice::from_ref(&rows), &terms, None).unwrap();
    kept::write(&dir.join(novelty::FILE), &learnt).unwrap();
    let (file, name) = (dir.join("blocks.json"), kept::name(&learnt));
    let seeds = [Blocks { best: (0..60u8).map(|n| f32::from(n) / 9.0).collect(), alarms: vec![3, 59] }, Blocks::default()].map(
        |blocks| {
            kept::count(&dir, &name, 600, blocks).unwrap();
            std::fs::read(&file).unwrap()
        },
    );
    let mut used = 0u64;
    fuzz("counted", &seeds, |bytes| {
        std::fs::write(&file, bytes).unwrap();
        let setup = kept::of_place(&dir, &bundle).expect("what is normal is whole");
        used += u64::from(setup.blocks != learnt.blocks);
        look(setup, features);
    });
    println!("counted: {used} of them still say what was counted");
    let file = dir.join("learn.rows");
    let mut whole = Kept::open(&dir, &bundle).unwrap();
    [3, 5].iter().for_each(|n| whole.add(rows[..n * features].to_vec()).unwrap());
    drop(whole);
    let mut rows_left = 0usize;
    fuzz("rows to learn from", &[std::fs::read(&file).unwrap(), b"lookout learn 00aa 8\n".to_vec()], |bytes| {
        std::fs::write(&file, bytes).unwrap();
        let found = Kept::open(&dir, &bundle).unwrap();
        // A piece is taken whole and as it was written, or not at all.
        assert!(found.pieces.iter().all(|p| p.len() % features == 0 && p.iter().all(|v| rows.contains(v))), "{:?}", found.pieces);
        rows_left += found.pieces.len();
        drop(found);
        let again = Kept::open(&dir, &bundle).unwrap();
        assert!(again.pieces.len() <= 1000, "{}", again.pieces.len());
    });
    println!("rows to learn from: {rows_left} pieces of them are still whole");
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn records_and_signatures() {
    let (a, b) = ("a".repeat(64), "b".repeat(64));
    let record = format!("# x\ncurrent = \"{a}\"\nprevious = \"{b}\"\n\n[floor]\nmotion = \"1.2.0\"\n").into_bytes();
    let signature = std::fs::read(root().join("tests/golden/signed/1.2.0.toml.minisig")).unwrap();
    let contract = std::fs::read(root().join("tests/golden/signed/1.2.0.toml")).unwrap();
    let key = std::fs::read_to_string(root().join("tests/golden/signed/box.pub")).unwrap().trim().to_string();
    let keys = [key.clone()];
    let mut accepted = 0u64;
    fuzz("record", &[record], |bytes| {
        if let Err(e) = Record::parse(bytes) {
            line(&e);
        }
    });
    fuzz("signature", std::slice::from_ref(&signature), |bytes| {
        match policy::verify(&contract, &String::from_utf8_lossy(bytes), &keys) {
            // The first line, the untrusted comment, is not signed.
            Ok(()) => accepted += 1,
            Err(e) => line(&e),
        }
        let _ = policy::check_key(&String::from_utf8_lossy(bytes));
    });
    let mut forged = 0u64;
    fuzz("signed contract", std::slice::from_ref(&contract), |bytes| {
        forged += u64::from(bytes != contract && policy::verify(bytes, &String::from_utf8_lossy(&signature), &keys).is_ok());
    });
    println!("signature: {accepted} damaged ones still hold (their untrusted comment), {forged} changed contracts were accepted");
    assert_eq!(forged, 0);
}
