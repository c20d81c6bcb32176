//! What `classify` draws and writes of recordings, on films that the test paints.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod program;

use program::{lookout, street};
use std::fs;
use std::path::{Path, PathBuf};

fn folder(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("classify").join(name);
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).unwrap();
    dir
}

/// A site's thresholds decide, so a drawing and a page's drawings show those and not the bundle's.
#[test]
fn the_thresholds_that_decided_are_drawn() {
    let dir = folder("thresholds");
    let [site, svg, page] = ["site.toml", "film.svg", "page.html"].map(|name| dir.join(name).display().to_string());
    // It goes right, and lies among those that go left: a mistake, which the page draws.
    fs::create_dir_all(dir.join("left")).unwrap();
    let clip = street(&dir.join("left/film.y4m"), 60, 2.5, 10..50);
    let drawn = |decision: &str| {
        fs::write(&site, decision).unwrap();
        let told = ["classify", &clip, "--bundle", "models/motion", "--config", &site, "--plot", &svg, "--report", &page];
        let done = lookout(&told);
        assert_eq!(done.status.code(), Some(0), "{}", String::from_utf8_lossy(&done.stderr));
        let (svg, page) = (fs::read_to_string(&svg).unwrap(), fs::read_to_string(&page).unwrap());
        assert!(page.contains(svg.trim_end()), "the page shows the same drawing");
        svg
    };
    let all = drawn("[decision]\nenter = 0.85\nleave = 0.15\n");
    for (line, expected) in [("<title>enter 0.85</title>", 1), ("<title>leave 0.15</title>", 1), ("enter</text>", 1)] {
        assert_eq!(all.matches(line).count(), expected, "{line}: {all}");
    }
    let one = drawn("[decision]\nenter = 0.85\nleave = 0.15\n[decision.label.shake]\nenter = 0.95\n");
    for (line, expected) in
        [(": enter 0.85</title>", 5), ("<title>shake: enter 0.95</title>", 1), ("<title>leave 0.15</title>", 1)]
    {
        assert_eq!(one.matches(line).count(), expected, "{line}: {one}");
    }
}

/// Subtitles belong to one film: of several nobody could tell whose they are.
#[test]
fn subtitles_are_of_one_recording() {
    let dir = folder("subtitles");
    let clips = ["a.y4m", "b.y4m"].map(|name| street(&dir.join(name), 40, 2.5, 5..40));
    let all = dir.display().to_string();
    for several in [&[clips[0].as_str(), &clips[1]][..], &[&all]] {
        let done = lookout(&[&["classify", "--srt"], several].concat());
        let said = String::from_utf8(done.stderr).unwrap();
        assert!(done.status.code() == Some(2) && done.stdout.is_empty(), "{said}");
        assert!(
            said.contains("--srt: 2 recordings found, 1 expected: ") && said.contains("classify --srt CLIP > CLIP.srt"),
            "{said}"
        );
    }
    assert!(lookout(&["classify", "--srt", &clips[0]]).status.success());
}
