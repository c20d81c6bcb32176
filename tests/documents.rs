//! What the documents show is what the program says and takes: sentences, JSON keys, sources, and links from one document to another.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod samples;

use lookout::config::Config;
use lookout::report::json;
use lookout::report::outbox::Parcel;
use lookout::report::sentence::Sentence;
use lookout::source::open::{Spec, camera_spec};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).canonicalize().unwrap()
}

fn text(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

/// What stands between `left` and the next `right`, each time.
fn between<'a>(text: &'a str, left: &'a str, right: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(left).skip(1).filter_map(move |rest| rest.split_once(right).map(|(inner, _)| inner))
}

#[test]
fn sentences_in_the_documents_are_whole() {
    // Those of the demo; the queries, one worked command, and three commands with their answers.
    for (path, expected) in [("README.md", 13), ("board/wire.md", 14)] {
        let text = text(path);
        let lines = text.split("$PLKT").skip(1).filter_map(|rest| {
            let (body, sum) = rest.lines().next()?.split_once('*')?;
            // Not the grammar's `crc*xx`.
            let sum = sum.get(..2).filter(|sum| sum.bytes().all(|b| b.is_ascii_hexdigit()))?;
            Some(format!("$PLKT{body}*{sum}"))
        });
        let lines: Vec<String> = lines.collect();
        assert_eq!(lines.len(), expected, "{path}: {lines:?}");
        lines.iter().for_each(|line| assert!(Sentence::decode(line.as_bytes()).is_ok(), "{path}: {line}"));
    }
}

#[test]
fn every_key_of_a_json_report_is_described() {
    let text = text("board/json.md");
    let described: BTreeSet<&str> = text.split('`').skip(1).step_by(2).collect();
    let parcels = (0..100).map(|k| Parcel::Report(k, samples::any(k))).chain([Parcel::Gap { from: 3, to: 9 }]);
    let mut lines = vec![];
    json::begin(&samples::identity(), None, &mut lines);
    parcels.for_each(|parcel| json::line(&parcel, &mut lines));
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        let object: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(line).unwrap();
        let unknown: Vec<&String> = object.keys().filter(|key| !described.contains(key.as_str())).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }
    let shown: Vec<&str> = between(&text, "```json\n", "```").flat_map(str::lines).collect();
    assert_eq!(shown.len(), 10);
    shown.iter().for_each(|line| drop(serde_json::from_str::<serde_json::Value>(line).unwrap()));
}

#[test]
fn sources_in_the_documents_are_taken() {
    let (table, config) = (text("board/README.md"), text("board/lookout.toml"));
    for kind in ["v4l2:", "pipe:", "y4m:", "avi:", "frames:", "features:", "ffmpeg:", "blackbox:", "faulty:"] {
        assert!(table.contains(&format!("\n| `{kind}")), "{kind}");
    }
    let faulty = between(&table, "`faulty:seed", "`").map(|rest| format!("faulty:seed{rest}"));
    let camera = between(&table, "`v4l2:/dev", "`").map(|rest| format!("v4l2:/dev{rest}"));
    let given = between(&config, "#source = \"", "\"").map(String::from);
    let specs: Vec<String> = faulty.chain(camera).chain(given).collect();
    assert!(specs.len() >= 5, "{specs:?}");
    for text in specs {
        match text.parse::<Spec>().unwrap() {
            Spec::V4l2(camera) => drop(camera_spec(&camera, None).unwrap()),
            spec => assert_eq!(spec.to_string(), text),
        }
    }
    assert!(Config::open(&root().join("board/lookout.toml")).is_ok());
}

/// As a heading is named in links to it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().to_lowercase();
    kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_')).map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn links_between_documents_lead_somewhere() {
    let (mut left, mut seen) = (vec![root().join("README.md")], BTreeSet::new());
    while let Some(document) = left.pop() {
        if !seen.insert(document.clone()) {
            continue;
        }
        let text = std::fs::read_to_string(&document).unwrap();
        for link in between(&text, "](", ")").filter(|link| !link.contains("://")) {
            let (path, name) = link.split_once('#').unwrap_or((link, ""));
            let to = if path.is_empty() { document.clone() } else { document.parent().unwrap().join(path) };
            let to = to.canonicalize().unwrap_or_else(|e| panic!("{}: {link}: {e}", document.display()));
            if to.extension().is_none_or(|ending| ending != "md") {
                continue;
            }
            let headings = std::fs::read_to_string(&to).unwrap();
            let found = name.is_empty() || headings.lines().any(|line| line.starts_with('#') && anchor(line) == name);
            assert!(found, "{}: {link}: no such heading", document.display());
            left.push(to);
        }
    }
    assert!(seen.len() > 10, "{seen:?}");
}
