//! What is written: whole or refused, within its bound, through SIGKILL and full disks, and never in the way.

use super::{clips, film, folder, header, lookout, program};
use lookout::baked;
use lookout::blackbox::writer::{BlackBox, Wish};
use lookout::blackbox::{Header, Recorder};
use lookout::novelty::normal::{Terms, learn};
use lookout::novelty::{Novelty, Setup};
use lookout::pipeline::{Before, Probe};
use lookout::source::ahead::Ahead;
use lookout::source::open::{self, Spec};
use lookout::source::scene::{Play, Scene};
use lookout::source::{Shaped, Timestamp};
use lookout::sys::alloc::count;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[test]
fn a_torn_clip_is_read_up_to_its_tear_and_a_damaged_one_is_refused() {
    let dir = folder("torn");
    let film = film(&dir, Play::Script);
    let kept = dir.join("kept").display().to_string();
    lookout(&["run", "--board", "host", "--report", "stdout", "--source", &film, "--blackbox", &kept]);
    let clip = clips(Path::new(&kept))[1].clone();
    let bytes = fs::read(&clip).unwrap();
    let bundle = baked::bundle().unwrap();
    let open = |bytes: &[u8]| {
        fs::write(dir.join("t.lkb"), bytes).unwrap();
        let spec: Spec = dir.join("t.lkb").display().to_string().parse().unwrap();
        open::open(&spec, &open::Options::for_bundle(&bundle))
    };
    let all = open(&bytes).unwrap().len_hint().unwrap();
    let half = open(&bytes[..bytes.len() / 2]).unwrap().len_hint().unwrap();
    println!("{all} ticks, {half} in the first half of the bytes");
    assert!(half < all && half > all / 4);
    // Every length: opened or refused, never a panic.
    for n in (0..bytes.len()).step_by(bytes.len() / 97).chain(0..400).chain(bytes.len() - 20..bytes.len()) {
        if let Ok(source) = open(&bytes[..n]) {
            assert!(source.len_hint().unwrap() <= all);
        }
    }
    let mut damaged = bytes.clone();
    damaged[bytes.len() / 2] ^= 1;
    let why = open(&damaged).err().unwrap().to_string();
    assert!(why.contains("checksum") || why.contains("damaged"), "{why}");
}

/// What no restart helps is refused. A card that is full or broken at the start is not: `tests/store/kill.py` shows that reports go on.
#[test]
fn a_folder_that_cannot_be_one_is_refused_at_the_start() {
    let dir = folder("refused");
    fs::write(dir.join("file"), "").unwrap();
    for wrong in ["file", "file/below"] {
        let wish = Wish { dir: dir.join(wrong), before: 20, after: 2, limit: 1 << 20, patient: true };
        let said = BlackBox::start(header(), wish, Before::default()).err().unwrap();
        assert!(said.starts_with("black box ") && said.contains(wrong) && !said.contains('\n'), "{said}");
    }
}

#[test]
fn clips_stay_within_their_bound_and_the_oldest_go_first() {
    let dir = folder("bound");
    let kept = dir.join("kept");
    let wish = Wish { dir: kept.clone(), before: 20, after: 2, limit: 1 << 20, patient: true };
    let mut blackbox = BlackBox::start(header(), wish, Before::default()).unwrap();
    let planes = vec![7u8; header().tick_bytes];
    let label = "right".try_into().unwrap();
    for n in 0..600u64 {
        let at = Timestamp::from_ms(n * 100);
        blackbox.taken(at, Shaped::Planes { levels: &planes, picture: (320, 240) }, &[], n == 0);
        if n % 20 == 19 {
            blackbox.press(&label, at);
        }
        let all: u64 = clips(&kept).iter().filter_map(|c| fs::metadata(c).ok()).map(|m| m.len()).sum();
        assert!(all <= 1 << 20, "{all} bytes");
    }
    blackbox.close(Duration::from_secs(5));
    let left = clips(&kept);
    let names: Vec<&str> = left.iter().filter_map(|c| c.file_name()?.to_str()).collect();
    println!("30 events, {names:?} left in 1 MiB");
    assert!(names.len() == 2 && names[1].starts_with("000029-right"), "{names:?}");
}

/// A class that comes every few seconds does not push out the one alarm of the night; alarms alone push out the oldest of them.
#[test]
fn clips_of_novelty_go_last_while_they_take_no_more_than_half() {
    let kept = folder("rare");
    // Room for some four clips.
    let wish = Wish { dir: kept.clone(), before: 20, after: 2, limit: 2 << 20, patient: true };
    let mut blackbox = BlackBox::start(header(), wish, Before::default()).unwrap();
    let planes = vec![7u8; header().tick_bytes];
    let there = |name: &str| kept.join(name).is_file();
    for n in 0..500u64 {
        let at = Timestamp::from_ms(n * 100);
        blackbox.taken(at, Shaped::Planes { levels: &planes, picture: (320, 240) }, &[], n == 0);
        if n % 20 == 19 {
            // The second one is an alarm, and the last ten are.
            let label = if n / 20 == 1 || n / 20 >= 15 { "novelty" } else { "right" }.try_into().unwrap();
            blackbox.press(&label, at);
        }
        // From when the third clip is handed over, for which the writer is done with the second, to the last of a class.
        assert!(!(62..=300).contains(&n) || there("000001-novelty.lkb"), "tick {n}: {:?}", clips(&kept));
    }
    blackbox.close(Duration::from_secs(5));
    println!("{:?}", clips(&kept));
    assert!(!there("000000-right.lkb") && !there("000001-novelty.lkb") && there("000024-novelty.lkb"));
}

/// Tests run as root in CI; anybody else cannot make what is another's.
#[test]
fn what_root_keeps_in_the_folder_of_a_service_is_the_services() {
    use std::os::unix::fs::{MetadataExt, chown};
    if !rustix::process::geteuid().is_root() {
        // Past the test harness, which keeps what a test prints that passes.
        std::io::stderr().write_all(b"SKIPPED what root keeps: only root can make what is another's\n").unwrap();
        return;
    }
    let dir = folder("theirs");
    chown(&dir, Some(65534), Some(65534)).unwrap();
    let kept = dir.join("box").join("clips");
    let wish = Wish { dir: kept.clone(), before: 20, after: 2, limit: 1 << 20, patient: true };
    let mut blackbox = BlackBox::start(header(), wish, Before::default()).unwrap();
    let planes = vec![7u8; header().tick_bytes];
    let label = "right".try_into().unwrap();
    for n in 0..30u64 {
        let at = Timestamp::from_ms(n * 100);
        blackbox.taken(at, Shaped::Planes { levels: &planes, picture: (320, 240) }, &[], n == 0);
        if n == 25 {
            blackbox.press(&label, at);
        }
    }
    blackbox.close(Duration::from_secs(5));
    for path in [&dir.join("box"), &kept, &kept.join("000000-right.lkb")] {
        assert_eq!(path.metadata().unwrap().uid(), 65534, "{}", path.display());
    }
}

/// A card that is taken out, and another one in its place with clips of its own.
#[test]
fn a_folder_that_went_away_is_made_again_and_clips_of_another_card_stay() {
    let kept = folder("away").join("kept");
    let wish = Wish { dir: kept.clone(), before: 20, after: 2, limit: 1 << 20, patient: true };
    let mut blackbox = BlackBox::start(header(), wish, Before::default()).unwrap();
    let planes = vec![7u8; header().tick_bytes];
    let label = "right".try_into().unwrap();
    let mut ticks = 0..;
    let mut happens = |name: &str| {
        for n in ticks.by_ref().take(30) {
            let at = Timestamp::from_ms(n * 100);
            blackbox.taken(at, Shaped::Planes { levels: &planes, picture: (320, 240) }, &[], n == 0);
            if n % 30 == 25 {
                blackbox.press(&label, at);
            }
        }
        let start = Instant::now();
        while !kept.join(name).is_file() {
            assert!(start.elapsed() < Duration::from_secs(20), "no {name}");
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    happens("000000-right.lkb");
    fs::remove_dir_all(&kept).unwrap();
    happens("000001-right.lkb");
    fs::remove_dir_all(&kept).unwrap();
    fs::create_dir(&kept).unwrap();
    for theirs in ["000002-right.lkb", "000007-left.lkb"] {
        fs::write(kept.join(theirs), "theirs").unwrap();
    }
    happens("000008-right.lkb");
    assert_eq!(fs::read(kept.join("000002-right.lkb")).unwrap(), b"theirs");
    assert_eq!(clips(&kept).len(), 3);
}

/// Two boxes that were given one folder: neither takes the other's names, or what the other is writing.
#[test]
fn two_runs_in_one_folder_lose_no_clip() {
    let kept = folder("two").join("kept");
    let label = "right".try_into().unwrap();
    let (bytes, each) = (4096, 40);
    let run = || {
        let wish = Wish { dir: kept.clone(), before: 20, after: 2, limit: 64 << 20, patient: true };
        let mut blackbox = BlackBox::start(Header { tick_bytes: bytes, ..header() }, wish, Before::default()).unwrap();
        let planes = vec![7u8; bytes];
        for n in 0..each * 10 {
            let at = Timestamp::from_ms(n * 100);
            blackbox.taken(at, Shaped::Planes { levels: &planes, picture: (320, 240) }, &[], n == 0);
            if n % 10 == 5 {
                blackbox.press(&label, at);
            }
        }
        blackbox.close(Duration::from_secs(20));
    };
    std::thread::scope(|both| (0..2).for_each(|_| drop(both.spawn(run))));
    let all = clips(&kept);
    assert_eq!(all.len() as u64, 2 * each, "{all:?}");
    for clip in &all {
        let bytes = fs::read(clip).unwrap();
        let end = bytes.len() - 4;
        assert_eq!(lookout::blackbox::checksum(&bytes[..end]).to_le_bytes(), bytes[end..], "{}", clip.display());
    }
    assert_eq!(fs::read_dir(&kept).unwrap().count(), all.len(), "nothing else is left");
}

/// Who looks for what an alarm was for finds it by its name, whatever class was on.
#[test]
fn a_clip_with_an_alarm_is_called_after_it() {
    let planes = vec![7u8; header().tick_bytes];
    for (first, second, called) in [
        ("right", "novelty", "000000-novelty.lkb"),
        ("novelty", "right", "000000-novelty.lkb"),
        ("right", "left", "000000-right.lkb"),
    ] {
        let dir = folder("called");
        let wish = Wish { dir: dir.clone(), before: 20, after: 10, limit: 64 << 20, patient: true };
        let mut blackbox = BlackBox::start(header(), wish, Before::default()).unwrap();
        for n in 0..60u64 {
            let at = Timestamp::from_ms(n * 100);
            blackbox.taken(at, Shaped::Planes { levels: &planes, picture: (320, 240) }, &[], n == 0);
            for (tick, label) in [(30, first), (33, second)] {
                if n == tick {
                    blackbox.press(&label.try_into().unwrap(), at);
                }
            }
        }
        blackbox.close(Duration::from_secs(5));
        assert_eq!(clips(&dir), [dir.join(called)], "{first}, then {second}");
    }
}

/// What begins while a clip is in progress has what came after it too, in that clip or in one of its own.
#[test]
fn every_event_has_what_came_before_and_after_it() {
    let bundle = baked::bundle().unwrap();
    let planes = vec![7u8; header().tick_bytes];
    let label = "right".try_into().unwrap();
    let cases: [&[u64]; 6] = [&[], &[3], &[5], &[6], &[4, 4, 4, 4], &[1, 2, 3, 4, 5, 6, 7]];
    for gaps in cases {
        let dir = folder("around");
        let wish = Wish { dir: dir.clone(), before: 20, after: 10, limit: 64 << 20, patient: true };
        let mut blackbox = BlackBox::start(header(), wish, Before::default()).unwrap();
        let mut events = vec![40];
        for gap in gaps {
            events.push(events[events.len() - 1] + gap);
        }
        for n in 0..120u64 {
            let at = Timestamp::from_ms(n * 100);
            blackbox.taken(at, Shaped::Planes { levels: &planes, picture: (320, 240) }, &[], n == 0);
            if events.contains(&n) {
                blackbox.press(&label, at);
            }
        }
        blackbox.close(Duration::from_secs(5));
        let mut ends: Vec<(u64, u64)> = vec![];
        for clip in clips(&dir) {
            let spec: Spec = clip.display().to_string().parse().unwrap();
            let mut source = Ahead::new(open::open(&spec, &open::Options::for_bundle(&bundle)).unwrap());
            let mut ticks = vec![];
            while let Some((frame, _)) = source.read().unwrap() {
                ticks.push(frame.at.ms() / 100);
            }
            ends.push((ticks[0], ticks[ticks.len() - 1]));
        }
        for event in &events {
            let around = |(first, last): &(u64, u64)| first + 19 <= *event && event + 10 <= *last;
            assert!(ends.iter().any(around), "{event} of {events:?}: {ends:?}");
        }
        assert!(ends.iter().all(|(first, last)| last - first < 20 + 15), "{events:?}: {ends:?}");
    }
}

/// What fits is kept: no clip grows beyond what all may have together.
#[test]
fn a_clip_does_not_go_on_where_the_bound_is_too_small_for_it() {
    let bundle = baked::bundle().unwrap();
    let planes = vec![7u8; header().tick_bytes];
    let label = "right".try_into().unwrap();
    let most = |ticks| Recorder::new(header(), ticks, Before::default()).max_bytes() as u64;
    for (limit, ticks) in [(most(30), 30), (most(35) - 1, 30), (most(35), 33)] {
        let dir = folder("small");
        let wish = Wish { dir: dir.clone(), before: 20, after: 10, limit, patient: true };
        let mut blackbox = BlackBox::start(header(), wish, Before::default()).unwrap();
        for n in 0..80u64 {
            let at = Timestamp::from_ms(n * 100);
            blackbox.taken(at, Shaped::Planes { levels: &planes, picture: (320, 240) }, &[], n == 0);
            if [40, 43].contains(&n) {
                blackbox.press(&label, at);
            }
        }
        blackbox.close(Duration::from_secs(5));
        let kept = clips(&dir);
        assert_eq!(kept.len(), 1, "{limit}: {kept:?}");
        let spec: Spec = kept[0].display().to_string().parse().unwrap();
        let clip = open::open(&spec, &open::Options::for_bundle(&bundle)).unwrap();
        assert_eq!(clip.len_hint(), Some(ticks), "{limit}");
    }
}

#[test]
fn a_tick_allocates_nothing() {
    // With novelty over as many numbers as the built-in bundle has, and two numbers beside the pictures.
    let width = baked::bundle().unwrap().features();
    let rows: Vec<f32> = (0..1800 * width).map(|n| (n as f32 * 0.37).sin()).collect();
    let terms = Terms { each: true, ..Terms::new(100, width) };
    let normal = learn("", width, std::slice::from_ref(&rows), &terms, None).unwrap();
    let mut novelty = Novelty::new(Setup::of(normal, None).unwrap(), Duration::from_secs(1));
    let mut recorder = Recorder::new(Header { extra: 2, ..header() }, 100, Before { novelty: Some(&novelty), head: None });
    let planes = vec![7u8; header().tick_bytes];
    let mut clip = Vec::with_capacity(recorder.max_bytes());
    let (mut allocated, mut spent) = (0, Duration::ZERO);
    for n in 0..1000u64 {
        let tick = if n % 3 == 0 { Shaped::Same } else { Shaped::Planes { levels: &planes, picture: (320, 240) } };
        let (before, start) = (count(), Instant::now());
        recorder.keep(Timestamp(n), tick, &[0.5, 1.0, 0.0, 0.0]);
        recorder.note(Before { novelty: Some(&novelty), head: None });
        spent += start.elapsed();
        novelty.tick(Timestamp(n), &rows[n as usize * width..][..width]);
        allocated += count() - before;
    }
    let before = count();
    recorder.write("right", 1, 100, &mut clip);
    allocated += count() - before;
    let most = novelty.most();
    println!("{:.2} us a tick, {allocated} allocations; novelty remembers {most} bytes at most", spent.as_secs_f64() * 1e3);
    assert_eq!(allocated, 0);
    assert!(clip.capacity() <= recorder.max_bytes() && clip.len() > 60 * planes.len());
}

#[test]
fn after_sigkill_there_are_only_whole_clips() {
    let dir = folder("kill");
    let film = film(&dir, Play::Busy);
    let (kept, bundle) = (dir.join("kept"), baked::bundle().unwrap());
    let config = dir.join("lookout.toml");
    fs::write(&config, "[blackbox]\nseconds_before = 3\nseconds_after = 0\n").unwrap();
    let (mut whole, mut killed) = (0, 0);
    for n in 0..12u64 {
        let mut child = program::command(&["run", "--board", "host", "--report", "stdout", "--source", &film])
            .args(["--config", &config.display().to_string(), "--blackbox", &kept.display().to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // As soon as something is being written, at another moment each time.
        let until = Instant::now() + Duration::from_secs(20);
        let before = fs::read_dir(&kept).map_or(0, Iterator::count);
        while fs::read_dir(&kept).map_or(0, Iterator::count) <= before
            && child.try_wait().unwrap().is_none()
            && Instant::now() < until
        {
            std::thread::yield_now();
        }
        std::thread::sleep(Duration::from_micros(n * 300));
        killed += u32::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
        for clip in clips(&kept) {
            let bytes = fs::read(&clip).unwrap();
            let end = bytes.len() - 4;
            assert_eq!(lookout::blackbox::checksum(&bytes[..end]).to_le_bytes(), bytes[end..], "{}", clip.display());
            let source = open::open(&clip.display().to_string().parse().unwrap(), &open::Options::for_bundle(&bundle));
            assert!(source.is_ok());
            whole += 1;
        }
    }
    println!("killed {killed} times of 12; {whole} clips looked at, all whole");
    assert!(killed >= 6 && whole > 0);
    // What was left half written is gone after the next start.
    lookout(&["run", "--board", "host", "--report", "stdout", "--source", &film, "--blackbox", &kept.display().to_string()]);
    assert!(fs::read_dir(&kept).unwrap().all(|e| !e.unwrap().file_name().to_string_lossy().ends_with(".part")));
}

#[test]
fn a_full_disk_is_said_once_and_reports_go_on() {
    let dir = folder("full");
    let film = film(&dir, Play::Script);
    let run = |limit: &str, kept: &Path| {
        let line = format!("{limit} exec \"$0\" run --board host --report stdout --source \"$1\" --blackbox \"$2\"");
        Command::new("bash")
            .args(["-c", &line, &program::path(), &film, &kept.display().to_string()])
            .stdin(Stdio::null())
            .output()
            .unwrap()
    };
    // No file may be longer than 64 KiB: what a full disk does, a write that fails in the middle. `trap` keeps the signal from ending it.
    let full = run("trap '' XFSZ; ulimit -f 64;", &dir.join("kept"));
    let free = run("", &dir.join("free"));
    assert!(full.status.success());
    assert_eq!(full.stdout, free.stdout, "reports go on");
    let log = String::from_utf8_lossy(&full.stderr);
    assert_eq!(log.lines().filter(|l| l.contains("reports go on")).count(), 1, "{log}");
    assert_eq!(fs::read_dir(dir.join("kept")).unwrap().count(), 0, "nothing half written is left");
    assert!(clips(&dir.join("free")).len() >= 5);
}

/// A small disk of its own (tmpfs in a user and mount namespace), full when the first clips are to be written; then there is room.
#[test]
fn a_disk_that_is_really_full_costs_clips_until_there_is_room() {
    let probe = Command::new("unshare").args(["-rm", "mount", "-t", "tmpfs", "none", "/mnt"]).stdin(Stdio::null()).output();
    let why = match probe {
        Ok(out) if out.status.success() => None,
        Ok(out) => Some(String::from_utf8_lossy(&out.stderr).trim().to_string()),
        Err(e) => Some(e.to_string()),
    };
    if let Some(why) = why {
        // Past the test harness, which keeps what a test prints that passes.
        let skipped = format!("SKIPPED a_disk_that_is_really_full: no file system can be mounted here: unshare -rm: {why}\n");
        std::io::stderr().write_all(skipped.as_bytes()).unwrap();
        return;
    }
    let dir = folder("disk");
    // One stream of two films: the second without its header.
    let (first, second) = (dir.join("film.y4m"), dir.join("more"));
    film(&dir, Play::Script);
    let mut more = vec![];
    Scene::playing(2, Play::Script).write_y4m(&mut more).unwrap();
    let header = more.iter().position(|b| *b == b'\n').unwrap() + 1;
    fs::write(&second, &more[header..]).unwrap();
    let script = r#"
        set -e
        cd "$1"
        mkdir disk free out
        run() { "$0" run --board host --report stdout --source y4m:- --blackbox "$1"; }
        cat film.y4m more | run free > free.said 2> free.log
        mount -t tmpfs -o size=32m none disk
        head -c 33000000 /dev/zero > disk/other
        {
            cat film.y4m
            n=0
            until grep -q "reports go on" disk.log || [ $n -ge 200 ]; do sleep 0.05; n=$((n + 1)); done
            ls disk > then
            rm disk/other
            cat more
        } | run disk > disk.said 2> disk.log
        ls disk > now
        cp disk/*.lkb out/
    "#;
    let whole = ["-rm", "bash", "-c", script, &program::path()];
    let out = Command::new("unshare").args(whole).arg(&dir).stdin(Stdio::null()).output().unwrap();
    let read = |name: &str| String::from_utf8_lossy(&fs::read(dir.join(name)).unwrap_or_default()).into_owned();
    let log = read("disk.log");
    assert!(out.status.success(), "{}{log}", String::from_utf8_lossy(&out.stderr));
    assert!(first.is_file() && read("free.said").lines().count() > 50 && read("free.said") == read("disk.said"), "reports go on");
    let count = |what: &str| log.matches(what).count();
    assert_eq!((count("No space left"), count("reports go on"), count("clips are written again")), (1, 1, 1), "{log}");
    assert_eq!(read("then"), "other\n", "nothing half written while it was full");
    let written = clips(&dir.join("out"));
    let all = clips(&dir.join("free"));
    for clip in &written {
        let bytes = fs::read(clip).unwrap();
        let end = bytes.len() - 4;
        assert_eq!(lookout::blackbox::checksum(&bytes[..end]).to_le_bytes(), bytes[end..], "{}", clip.display());
    }
    println!(
        "{} lines the same; {} clips with room for them, {} once there was room, all whole",
        read("free.said").lines().count(),
        all.len(),
        written.len()
    );
    assert!(written.len() >= 4 && written.len() < all.len() && !read("now").contains("part"), "{}", read("now"));
}
