//! The bundle `models/fight` as it is committed: it loads, computes what was written down when it was made, and costs what its card says.
#![allow(clippy::unwrap_used, reason = "a test stops where something is missing")]

use lookout::bundle::Bundle;
use lookout::encoder::{Encoder, Form};
use lookout::golden;
use lookout::head::Head;
use std::path::{Path, PathBuf};

/// Products a tick that a small board has time for (issue 5), and bytes that are lost in a firmware image.
const PRODUCTS: u64 = 20_000_000;
const BYTES: u64 = 1_000_000;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models/fight")
}

#[test]
fn golden_vectors_hold() {
    let bundle = Bundle::open(&folder()).unwrap();
    let mut encoder = Encoder::load(&bundle, Form::AsBuilt).unwrap();
    let mut head = Head::load(&bundle).unwrap();
    let found = golden::run(&bundle, Some(&mut encoder), &mut head).unwrap().unwrap();
    assert!(found.features.is_some() && found.top1_equal, "{found:?}");
    assert!(head.is_own(), "{}", head.words());
}

#[test]
fn it_costs_what_its_card_says() {
    let bundle = Bundle::open(&folder()).unwrap();
    let products = Encoder::load(&bundle, Form::AsBuilt).unwrap().report().macs;
    let words = format!("{:.1} million products a tick", products as f64 / 1e6);
    let card = std::fs::read_to_string(folder().join("README.md")).unwrap();
    assert!(card.contains(&words), "the card does not say {words}");
    assert!(products < PRODUCTS);
    let files = std::fs::read_dir(folder()).unwrap().map(|f| f.unwrap().metadata().unwrap().len());
    assert!(files.sum::<u64>() < BYTES);
}
