//! What a model, a board and an installation are told by: configurations, board files, contracts, networks, golden vectors.

use crate::harness::{files, fuzz, line, of_bundles, root};
use lookout::board::Board;
use lookout::bundle::{Bundle, BundleError};
use lookout::config::Config;
use lookout::qnn::{self, Engine, Options};
use lookout::{head, onnx};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind, set_hook, take_hook};

/// The example of a configuration with every key that it explains given.
pub fn complete(example: &str) -> String {
    let mut known = BTreeSet::new();
    let mut given = |line: &str| {
        let text = line.strip_prefix('#').filter(|t| t.contains(" = ") || t.starts_with('[')).unwrap_or(line);
        // Of two examples of one key the first; a table begins anew.
        if text.starts_with('[') {
            known.clear();
        }
        let again = text.split_once(" = ").is_some_and(|(key, _)| !key.starts_with('#') && !known.insert(key.trim().to_string()));
        format!("{}\n", if again { line } else { text })
    };
    example.lines().map(&mut given).collect()
}

#[test]
fn configurations() {
    let example = std::fs::read_to_string(root().join("board/lookout.toml")).unwrap();
    let all = complete(&example);
    fuzz("config", &[example.into_bytes(), all.into_bytes(), b"[install]\nkeys = [\"RWQ\"]\n".to_vec()], |bytes| {
        if let Err(e) = Config::parse("lookout.toml", &String::from_utf8_lossy(bytes)) {
            line(&e.to_string());
        }
    });
}

#[test]
fn board_files() {
    let mut seeds = files("board", ".toml");
    seeds.retain(|s| s.windows(9).any(|w| w == b"[camera]\n"));
    fuzz("board", &seeds, |bytes| {
        if let Err(e) = Board::parse("host", &String::from_utf8_lossy(bytes)) {
            line(&e);
        }
    });
}

/// A bundle of which only the contract is there.
pub fn without_files(contract: &[u8]) -> impl Fn(&str) -> Result<Vec<u8>, BundleError> {
    let missing = |name: &str| BundleError { bundle: "b".into(), why: format!("{name}: not there") };
    move |name| if name == "bundle.toml" { Ok(contract.to_vec()) } else { Err(missing(name)) }
}

#[test]
fn contracts() {
    fuzz("bundle.toml", &of_bundles("bundle.toml"), |bytes| {
        line(&Bundle::load("b", without_files(bytes)).expect_err("its files are not there").to_string());
    });
}

/// Networks, the small ones first; the large ones cost more a round than they teach.
pub fn networks() -> Vec<Vec<u8>> {
    let mut all = of_bundles("head.onnx");
    all.extend(of_bundles("encoder.onnx"));
    all.sort_by_key(Vec::len);
    all.truncate(14);
    all
}

#[test]
fn networks_before_tract_sees_them() {
    let mut good = 0u64;
    fuzz("onnx", &networks(), |bytes| match onnx::parse(bytes) {
        Ok(_) => good += 1,
        Err(e) => line(&e),
    });
    println!("onnx: {good} of them would be shown to tract");
}

#[test]
fn networks_as_our_own_code_reads_them() {
    let mut good = 0u64;
    fuzz("head by our own cells", &of_bundles("head.onnx"), |bytes| {
        let Ok(proto) = onnx::parse(bytes) else { return };
        for (window, features) in [(12, 6), (1, 6)] {
            match head::alone(&proto, window, features) {
                Ok(_) => good += 1,
                Err(e) => assert!(!e.is_empty()),
            }
        }
    });
    println!("head by our own cells: {good} of them still run");
}

thread_local! {
    /// Was the last panic of this thread in our own code?
    static OURS: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work`, in which tract may panic (a bundle is loaded behind `onnx/guard.rs`, which makes a refusal of it) and our own code may not.
fn tract_may_panic(work: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(work))
        && OURS.get()
    {
        resume_unwind(panic);
    }
}

#[test]
fn encoders_as_our_own_code_cuts_them() {
    let before = take_hook();
    set_hook(Box::new(move |info| {
        // Files of a dependency are named from the root of the disk.
        let ours = info.location().is_some_and(|l| l.file().starts_with("src/") || l.file().starts_with("tests/"));
        OURS.set(ours);
        if ours {
            before(info);
        }
    }));
    // Without those of the bundles whose encoder is one layer in float.
    let mut encoders = of_bundles("encoder.onnx");
    encoders.retain(|e| e.len() > 1000);
    let mut taken = 0u64;
    fuzz("encoder by our own operator", &encoders, |bytes| {
        let Ok(proto) = onnx::parse(bytes) else { return };
        for shape in [&[1, 3, 32, 32][..], &[1, 1, 32, 32], &[1, 1, 4, 24, 24]] {
            tract_may_panic(|| {
                if let Ok(cut) = qnn::cut(&proto, shape, Options { engine: Engine::best(), bytes_in: true }) {
                    taken += u64::from(!cut.regions.is_empty());
                }
            });
        }
    });
    println!("encoder by our own operator: {taken} of them are still taken by it");
}

#[test]
fn golden_vectors() {
    let mut seeds = of_bundles("golden_logits.npy");
    seeds.extend(of_bundles("golden_windows.npy").into_iter().map(|mut s| {
        s.truncate(4000);
        s
    }));
    fuzz("npy", &seeds, |bytes| {
        let _ = lookout::golden::array::<f32>(bytes).map_err(|e| line(&e));
        let _ = lookout::golden::array::<u8>(bytes).map_err(|e| line(&e));
    });
}
