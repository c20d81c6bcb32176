//! Footage of a site to its thresholds: `calibrate`, on recordings that the test paints.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a failed step is a failed test; it prints its figures")]

mod program;

use program::{lookout, street};
use std::fs;
use std::path::{Path, PathBuf};

fn folder(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("calibrate").join(name);
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).unwrap();
    dir
}

#[test]
fn thresholds_for_a_site_keep_to_the_wanted_rate_and_say_what_footage_proves() {
    let dir = folder("calibrate");
    let busy = street(&dir.join("busy.y4m"), 300, -0.4, 0..300);
    let run = lookout(&["calibrate", &busy, "--false-alarms", "10"]);
    let (text, said) = (String::from_utf8(run.stdout).unwrap(), String::from_utf8(run.stderr).unwrap());
    assert_eq!(run.status.code(), Some(0), "{said}");
    assert!(said.contains("proves no rate below 36") && text.contains("[decision.label.left]"), "{said}{text}");
    assert!(
        said.contains("no threshold is lower than without `lookout calibrate`") && !text.contains("enter = 0.3"),
        "{said}{text}"
    );
    // What it prints is a configuration that `run` takes, and under it the same footage is quiet.
    let config = dir.join("site.toml");
    fs::write(&config, &text).unwrap();
    let source = format!("y4m:{busy}");
    let run = lookout(&[
        "run",
        "--config",
        &config.display().to_string(),
        "--board",
        "host",
        "--source",
        &source,
        "--report",
        "stdout",
    ]);
    let wire = String::from_utf8(run.stdout).unwrap();
    assert!(wire.contains("$PLKTC") && !wire.contains("$PLKTE"), "{wire}{}", String::from_utf8_lossy(&run.stderr));
    // Into a configuration: an earlier run's makes way, everything else stays, and what would not be one is left as it was.
    let site = config.display().to_string();
    use std::os::unix::fs::PermissionsExt;
    fs::write(&config, "heartbeat_s = 2\n").unwrap();
    fs::set_permissions(&config, fs::Permissions::from_mode(0o600)).unwrap();
    for rate in ["10", "5"] {
        let done = lookout(&["calibrate", &busy, "--false-alarms", rate, "--into", &site]);
        assert_eq!(done.status.code(), Some(0), "{}", String::from_utf8_lossy(&done.stderr));
    }
    let text = fs::read_to_string(&config).unwrap();
    assert_eq!(fs::metadata(&config).unwrap().permissions().mode() & 0o777, 0o600, "who may read it stays as it was");
    assert!(text.starts_with("heartbeat_s = 2\n\n# >>>") && text.matches("[decision.label.left]").count() == 1, "{text}");
    assert!(text.contains("at most 5 false alarms an hour") && !text.contains("at most 10"), "{text}");
}

/// A short clip in which something happens switches its class off. That is said, and no further run is bound by it.
#[test]
fn a_class_that_was_switched_off_is_named_and_the_next_run_judges_anew() {
    let dir = folder("off");
    let (loud, quiet) = (street(&dir.join("loud.y4m"), 60, -2.5, 20..50), street(&dir.join("quiet.y4m"), 60, 0.0, 0..0));
    let site = dir.join("site.toml");
    // What its owner switched off stays so, as long as nothing is proved.
    fs::write(&site, format!("state = {:?}\n[decision.label.shake]\nenter = 1.0\n", dir.join("state"))).unwrap();
    let calibrate = |clip: &str| {
        let done = lookout(&["calibrate", clip, "--into", &site.display().to_string()]);
        let said = String::from_utf8(done.stderr).unwrap();
        assert_eq!(done.status.code(), Some(0), "{said}");
        (said, fs::read_to_string(&site).unwrap())
    };
    let (said, text) = calibrate(&loud);
    let off =
        "switched off: left, shake; 0.00 hours of footage show no threshold for 1 an hour, 6.0 hours or more may show one\n";
    assert!(said.contains(off) && text.contains("[decision.label.left]\nenter = 1.0\n"), "{said}{text}");
    let (said, text) = calibrate(&quiet);
    assert!(
        said.contains("switched off: shake; ") && text.contains("[decision.label.shake]\nenter = 1.0 # lookout calibrate\n"),
        "{said}{text}"
    );
    assert!(text.contains("[decision.label.left]\nenter = 0.7\nleave = 0.35\n"), "the bundle's: {text}");
    // What holds for how long stays in the piece, as somebody wrote it there.
    fs::write(&site, text.replace("[decision.label.left]\n", "[decision.label.left]\nmin_ms = 300\n")).unwrap();
    let (_, text) = calibrate(&quiet);
    assert!(text.contains("[decision.label.left]\nenter = 0.7\nleave = 0.35\nmin_ms = 300\n"), "{text}");
    // In a table of its owner's too, whose own words come back with it.
    fs::write(&site, format!("state = {:?}\n[decision.label.left]\nenter = 0.8 # mine\n", dir.join("state"))).unwrap();
    let (_, text) = calibrate(&loud);
    let was = "# before lookout calibrate: enter = 0.8 # mine\n";
    assert!(text.contains("[decision.label.left]\nenter = 1.0 # lookout calibrate\n") && text.contains(was), "{text}");
    let (_, text) = calibrate(&quiet);
    assert!(
        text.contains("[decision.label.left]\nenter = 0.8 # lookout calibrate\n") && text.matches(was).count() == 1,
        "{text}"
    );
}

/// Thresholds for a bundle that was named are of no use beside another one: what is missing is said, and with it the file runs.
#[test]
fn a_new_configuration_says_which_bundle_it_is_for() {
    let dir = folder("new");
    let quiet = street(&dir.join("quiet.y4m"), 60, 0.0, 0..0);
    let (site, state) = (dir.join("new.toml").display().to_string(), dir.join("state").display().to_string());
    let done = lookout(&["calibrate", &quiet, "--bundle", "tests/bundles/boxes", "--into", &site, "--state", &state]);
    let said = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(0), "{said}");
    let boxes = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bundles/boxes").canonicalize().unwrap();
    let missing = format!("bundle = {boxes:?}");
    assert!(
        said.contains("new.toml: bundle motion ")
            && said.contains("runs with it, and these thresholds are for bundle boxes 1.0.0; put"),
        "{said}"
    );
    assert!(said.contains(&format!("`{missing}`")) && said.contains(&format!("`lookout install {}`", boxes.display())), "{said}");
    let run = ["run", "--config", &site, "--state", &state, "--board", "host", "--report", "stdout", "--source", &quiet];
    assert_eq!(lookout(&run).status.code(), Some(2), "it is missing");
    fs::write(&site, format!("{missing}\n{}", fs::read_to_string(&site).unwrap())).unwrap();
    let done = lookout(&run);
    assert_eq!(done.status.code(), Some(0), "{}", String::from_utf8_lossy(&done.stderr));
}

/// Thresholds that were found for one bundle keep a box from no other: `install` says what to do, and that is possible.
#[test]
fn a_calibrated_box_gets_its_next_bundle() {
    let dir = folder("next");
    let quiet = street(&dir.join("quiet.y4m"), 60, 0.0, 0..0);
    let site = dir.join("site.toml").display().to_string();
    let call = |args: &[&str]| {
        let done = lookout(args);
        (done.status.code(), String::from_utf8(done.stderr).unwrap())
    };
    let install = ["install", "tests/bundles/boxes", "--config", &site];
    let anew = ["calibrate", &quiet, "--bundle", "tests/bundles/boxes", "--into", &site];
    fs::write(&site, format!("state = {:?}\n", dir.join("state"))).unwrap();
    let (code, said) = call(&["calibrate", &quiet, "--into", &site]);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = call(&install);
    assert!(code == Some(2) && said.contains("found these thresholds for another bundle: take out the lines"), "{said}");
    assert!(said.contains("`lookout calibrate CLIP... --bundle /") && said.contains(&format!("--into {site}`")), "{said}");
    // Both of what it names end it.
    let calibrated = fs::read_to_string(&site).unwrap();
    fs::write(&site, calibrated.split("# >>> lookout calibrate").next().unwrap()).unwrap();
    let (code, said) = call(&install);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(call(&["install", "--undo", "--config", &site]).0, Some(0));
    fs::write(&site, calibrated).unwrap();
    let (code, said) = call(&anew);
    assert!(code == Some(0) && said.contains("`lookout run` refuses the file until bundle boxes 1.0.0 runs with it, "), "{said}");
    let text = fs::read_to_string(&site).unwrap();
    assert!(text.contains("[decision.label.west]") && !text.contains("[decision.label.left]"), "{text}");
    let (code, said) = call(&install);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = call(&["run", "--config", &site, "--board", "host", "--report", "stdout", "--source", &quiet]);
    assert_eq!(code, Some(0), "{said}");
    // The way back is barred by the same, and the built-in bundle is nowhere that could be named.
    let (code, said) = call(&["install", "--undo", "--config", &site]);
    assert!(code == Some(2) && said.contains("those that end with `# lookout calibrate`\n"), "{said}");
    // What somebody wrote of another bundle's class is not calibrate's to take away.
    fs::write(&site, format!("state = {:?}\n[decision.label.left]\nenter = 0.9\n", dir.join("other"))).unwrap();
    let (code, said) = call(&["calibrate", &quiet, "--into", &site]);
    assert_eq!(code, Some(0), "{said}");
    let before = fs::read_to_string(&site).unwrap();
    let (code, said) = call(&anew);
    assert!(code == Some(2) && said.contains("site.toml: decision.label: the bundle has no class \"left\""), "{said}");
    assert_eq!(fs::read_to_string(&site).unwrap(), before);
}

/// A bundle with the same names takes the thresholds of the one before without a word from TOML: who installs it, runs it or asks is told.
#[test]
fn thresholds_of_another_bundle_with_the_same_classes_are_said() {
    let dir = folder("whose");
    let quiet = street(&dir.join("quiet.y4m"), 60, 0.0, 0..0);
    let (site, bundle) = (dir.join("site.toml").display().to_string(), dir.join("bundle"));
    program::copy_bundle("tests/bundles/boxes", &bundle);
    fs::write(&site, format!("state = {:?}\n", dir.join("state"))).unwrap();
    let call = |args: &[&str]| {
        let done = lookout(args);
        (done.status.code(), String::from_utf8(done.stdout).unwrap() + &String::from_utf8(done.stderr).unwrap())
    };
    let run = ["run", "--config", &site, "--board", "host", "--report", "stdout", "--source", &quiet];
    let install = ["install", bundle.to_str().unwrap(), "--config", &site];
    assert_eq!(call(&install).0, Some(0));
    assert_eq!(call(&["calibrate", &quiet, "--into", &site]).0, Some(0));
    let told = format!("thresholds in {site} were found for boxes 1.0.0 ");
    for args in [&install[..], &run, &["doctor", "--config", &site, "--board", "host"]] {
        let (_, said) = call(args);
        assert!(!said.contains(&told), "{said}");
    }
    // The same but for its hash.
    let contract = bundle.join("bundle.toml");
    fs::write(&contract, fs::read_to_string(&contract).unwrap() + "\n# another\n").unwrap();
    for args in [&install[..], &run, &["doctor", "--config", &site, "--board", "host"]] {
        let (_, said) = call(args);
        assert!(said.contains(&told) && said.contains(": lookout calibrate again"), "{said}");
        assert_eq!(said.matches(&told).count(), 1, "{said}");
    }
    assert_eq!(call(&run).0, Some(0));
}

/// What holds at the site is the beginning: no threshold becomes lower, or 1, by rounding, and a class ends as far below as the site says.
#[test]
fn thresholds_of_a_site_are_kept_to_the_last_digit() {
    let dir = folder("digits");
    let quiet = street(&dir.join("quiet.y4m"), 60, 0.0, 0..0);
    let config = dir.join("site.toml").display().to_string();
    let own = "[decision]\nenter = 0.8\nleave = 0.75\n[decision.label.left]\nenter = 0.995\n";
    let shake = "[decision.label.shake]\nenter = 0.805\nleave = 0.5\nmin_ms = 100\n";
    fs::write(&config, format!("state = {:?}\n{own}{shake}", dir.join("state"))).unwrap();
    let done = lookout(&["calibrate", &quiet, "--config", &config]);
    let text = String::from_utf8(done.stdout).unwrap();
    assert_eq!(done.status.code(), Some(0), "{}", String::from_utf8_lossy(&done.stderr));
    for piece in
        ["[decision.label.left]\nenter = 0.995\nleave = 0.75\n", shake, "[decision.label.right]\nenter = 0.8\nleave = 0.75\n"]
    {
        assert!(text.contains(piece), "{piece} expected in {text}");
    }
}

/// Hours of footage are not played for nothing: what the configuration cannot take is refused before, and what it cannot take any more is printed.
#[test]
fn what_was_found_comes_into_a_configuration_that_says_something_of_these_classes() {
    use std::io::Write;
    use std::process::Stdio;
    let dir = folder("into");
    let quiet = street(&dir.join("quiet.y4m"), 60, 0.0, 0..0);
    let (site, state) = (dir.join("site.toml"), format!("state = {:?}\n", dir.join("state")));
    let into = site.display().to_string();
    let calibrate = |clip: &str, more: &[&str]| {
        let done = lookout(&[&["calibrate", clip, "--into", &into], more].concat());
        (done.status.code(), String::from_utf8(done.stdout).unwrap(), String::from_utf8(done.stderr).unwrap())
    };
    // The installed example, with its own example taken up.
    let example = fs::read_to_string("board/lookout.toml").unwrap();
    let example = example
        .replace("#[decision.label.shake]\n#enter = 0.8\n#min_ms = 100\n", "[decision.label.shake]\nenter = 0.8\nmin_ms = 100\n");
    let example = example.replace("state = \"/var/lib/lookout\"\n", &state);
    fs::write(&site, &example).unwrap();
    for _ in 0..2 {
        let (code, _, said) = calibrate(&quiet, &[]);
        assert_eq!(code, Some(0), "{said}");
        let text = fs::read_to_string(&site).unwrap();
        assert!(
            text.contains("[decision.label.shake]\nenter = 0.8 # lookout calibrate\nleave = 0.35 # lookout calibrate\n# before"),
            "{text}"
        );
        assert_eq!(
            (text.matches("[decision.label.shake]").count(), text.matches("[decision.label.left]").count()),
            (1, 1),
            "{text}"
        );
    }
    // In words that cannot be changed: refused before there is any footage.
    let odd = format!("{state}[decision]\nlabel.shake.enter = 0.8\n");
    fs::write(&site, &odd).unwrap();
    let (code, _, said) = calibrate("nothing-here.y4m", &[]);
    assert!(
        code == Some(2) && said.contains("site.toml: decision.label.shake stands in it") && said.contains("take it out"),
        "{said}"
    );
    // So are classes of a bundle that does not run with it.
    fs::write(&site, &state).unwrap();
    let (code, _, said) = calibrate("nothing-here.y4m", &["--bundle", "tests/bundles/boxes"]);
    assert!(
        code == Some(2) && said.contains("site.toml: bundle motion ") && said.contains("no class west; let it be bundle boxes "),
        "{said}"
    );
    assert_eq!(fs::read_to_string(&site).unwrap(), state);
    let boxes = format!("{state}bundle = {:?}\n", Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bundles/boxes"));
    fs::write(&site, &boxes).unwrap();
    let (code, _, said) = calibrate(&quiet, &["--bundle", "tests/bundles/boxes"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(fs::read_to_string(&site).unwrap().contains("[decision.label.west]"));
    // Spoilt while the footage is played, which begins when the camera is there.
    fs::write(&site, &state).unwrap();
    let fifo = program::fifo(dir.join("footage"));
    let spec = format!("y4m:{}", fifo.display());
    let child = program::command(&["calibrate", &spec, "--into", &into]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut footage = fs::OpenOptions::new().write(true).open(&fifo).unwrap();
    fs::write(&site, &odd).unwrap();
    footage.write_all(&fs::read(&quiet).unwrap()).unwrap();
    drop(footage);
    let done = child.unwrap().wait_with_output().unwrap();
    let (text, said) = (String::from_utf8(done.stdout).unwrap(), String::from_utf8(done.stderr).unwrap());
    assert!(done.status.code() == Some(2) && said.contains("decision.label.shake stands in it"), "{said}");
    assert!(text.starts_with("# >>> lookout calibrate\n") && text.contains("[decision.label.shake]\nenter = 0.7\n"), "{text}");
    assert_eq!(fs::read_to_string(&site).unwrap(), odd);
}
