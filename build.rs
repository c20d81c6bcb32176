//! Bakes `board/*.toml` and one bundle into the program.
//!
//! The bundle is `models/motion`, or the folder in `LOOKOUT_BUNDLE` (from the project's folder, or absolute). A bad board
//! file fails the build with its name and key, by the rules the program itself applies (`src/board/schema.rs` is shared);
//! of a bundle only names and sizes are checked here, its hashes when it is loaded.
#![allow(clippy::print_stdout)] // cargo reads its directives from stdout

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

#[allow(dead_code)] // the program uses all of it, the build only `Board::parse`
#[path = "src/board/schema.rs"]
mod schema;

/// Largest file in a bundle, as in `src/bundle.rs`.
const MAX_FILE_BYTES: u64 = 32 << 20;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/board/schema.rs");
    println!("cargo::rerun-if-env-changed=LOOKOUT_BUNDLE");
    if let Err(why) = bake() {
        println!("cargo::error={why}");
    }
}

fn bake() -> Result<(), String> {
    let root = PathBuf::from(env("CARGO_MANIFEST_DIR")?);
    let boards = boards(&root.join("board"))?;
    let bundle = match std::env::var("LOOKOUT_BUNDLE") {
        Ok(dir) if !dir.is_empty() => root.join(dir),
        _ => root.join("models/motion"),
    };
    let files = bundle_files(&bundle)?;
    let mut out = String::from("/// Name and text of every board file, in name order.\nstatic BOARDS: &[(&str, &str)] = &[\n");
    for (stem, path) in &boards {
        let _ = writeln!(out, "    ({stem:?}, include_str!({path:?})),");
    }
    out.push_str("];\n/// Name and packed bytes of every file of the bundle.\nstatic BUNDLE: &[(&str, &[u8])] = &[\n");
    let into = PathBuf::from(env("OUT_DIR")?);
    for (n, (name, path)) in files.iter().enumerate() {
        let _ = writeln!(out, "    ({name:?}, include_bytes!({:?})),", packed(path, &into.join(format!("{n}.z")))?);
    }
    out.push_str(
        "];\n/// What is ordinary to its head, packed, where its maker has summed that up: `ordinary.json` beside the bundle.\n",
    );
    let ordinary = bundle.join("ordinary.json");
    println!("cargo::rerun-if-changed={}", ordinary.display());
    if ordinary.is_file() {
        let _ = writeln!(out, "static ORDINARY: &[u8] = include_bytes!({:?});", packed(&ordinary, &into.join("ordinary.z"))?);
    } else {
        out.push_str("static ORDINARY: &[u8] = &[];\n");
    }
    let target = into.join("baked.rs");
    std::fs::write(&target, out).map_err(|e| format!("{}: {e}", target.display()))
}

/// Packs a file (zlib, RFC 1950) into another one, and gives that one's path: a third of a bundle is golden vectors and text.
fn packed<'p>(from: &Path, to: &'p Path) -> Result<&'p Path, String> {
    let named = |path: &Path, e: std::io::Error| format!("{}: {e}", path.display());
    let bytes = std::fs::read(from).map_err(|e| named(from, e))?;
    std::fs::write(to, miniz_oxide::deflate::compress_to_vec_zlib(&bytes, 9)).map_err(|e| named(to, e))?;
    Ok(to)
}

/// Name and path of every board file, each one checked, no machine claimed twice.
fn boards(dir: &Path) -> Result<Vec<(String, PathBuf)>, String> {
    println!("cargo::rerun-if-changed={}", dir.display());
    let mut found = Vec::new();
    let mut claimed: Vec<(String, String)> = Vec::new();
    let entries = std::fs::read_dir(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let mut paths: Vec<PathBuf> = entries.filter_map(|e| e.ok().map(|e| e.path())).collect();
    paths.sort();
    for path in paths {
        // The example configuration lies here too: it is installed from this folder.
        if path.extension().is_none_or(|e| e != "toml") || path.file_name().is_some_and(|n| n == "lookout.toml") {
            continue;
        }
        println!("cargo::rerun-if-changed={}", path.display());
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let fail = |why: String| format!("board/{stem}.toml: {why}");
        let text = std::fs::read_to_string(&path).map_err(|e| fail(e.to_string()))?;
        let board = schema::Board::parse(&stem, &text).map_err(fail)?;
        let names = if board.compatible.is_empty() { vec!["any machine".to_string()] } else { board.compatible };
        for name in names {
            if let Some((_, other)) = claimed.iter().find(|(n, _)| *n == name) {
                return Err(fail(format!("compatible: {name:?} is {other}'s already")));
            }
            claimed.push((name, stem.clone()));
        }
        found.push((stem, path));
    }
    Ok(found)
}

/// Name and path of every file that a bundle lists, and `bundle.toml` itself.
fn bundle_files(dir: &Path) -> Result<Vec<(String, PathBuf)>, String> {
    let contract = dir.join("bundle.toml");
    println!("cargo::rerun-if-changed={}", contract.display());
    let fail = |why: String| format!("bundle {}: {why}", dir.display());
    let text = std::fs::read_to_string(&contract)
        .map_err(|e| fail(format!("bundle.toml: {e}; set LOOKOUT_BUNDLE to a bundle's folder to bake another one")))?;
    let table: toml::Table = schema::from_toml(&text).map_err(|why| fail(format!("bundle.toml: {why}")))?;
    for key in ["name", "version", "time", "head", "files"] {
        if !table.contains_key(key) {
            return Err(fail(format!("bundle.toml: {key} is missing")));
        }
    }
    let listed = table.get("files").and_then(toml::Value::as_table);
    let listed = listed.ok_or_else(|| fail("bundle.toml: files is not a table of name = sha256".into()))?;
    let mut files = vec![("bundle.toml".to_string(), contract)];
    for name in listed.keys() {
        if name.contains(['/', '\\']) || name.starts_with('.') {
            return Err(fail(format!("files: {name:?} is not a plain file name")));
        }
        let path = dir.join(name);
        println!("cargo::rerun-if-changed={}", path.display());
        let meta = std::fs::metadata(&path).map_err(|e| fail(format!("{name}: {e}")))?;
        if !meta.is_file() || meta.len() == 0 || meta.len() > MAX_FILE_BYTES {
            return Err(fail(format!("{name}: {} bytes, expected a file of 1 to {MAX_FILE_BYTES} bytes", meta.len())));
        }
        files.push((name.clone(), path));
    }
    Ok(files)
}

fn env(name: &str) -> Result<String, String> {
    std::env::var(name).map_err(|e| format!("{name}: {e}"))
}
