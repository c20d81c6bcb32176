//! The promise: no file, however damaged, stops the program. Every truncation and thousands of changes of small valid files
//! end in frames, in one-line sentences and in an end; nothing panics, nothing runs on, nothing takes memory that the
//! file does not account for.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a failed step is a failed test, and a figure is said")]

use lookout::rng::Rng;
use lookout::source::avi::Avi;
use lookout::source::clip::Clip;
use lookout::source::jpeg::Jpeg;
use lookout::source::open::{Options, Spec, open};
use lookout::source::picture::Picture;
use lookout::source::rows::Rows;
use lookout::source::{Payload, Rate, Source, SourceError};
use proptest::prelude::*;
use std::io::Cursor;
use std::time::{Duration, Instant};

/// Each file, and a reader for its kind.
const FILES: [(&str, Kind); 14] = [
    ("420jpeg.y4m", Kind::Clip),
    ("444.y4m", Kind::Clip),
    ("mono.y4m", Kind::Clip),
    ("clip.avi", Kind::Avi),
    ("rgb.png", Kind::Picture),
    ("rgba.png", Kind::Picture),
    ("grey16.png", Kind::Picture),
    ("palette.png", Kind::Picture),
    ("cv420.jpg", Kind::Picture),
    ("ff444.jpg", Kind::Picture),
    ("progressive.jpg", Kind::Picture),
    ("grey8.pgm", Kind::Picture),
    ("rgb.ppm", Kind::Picture),
    ("rows", Kind::Rows),
];

#[derive(Clone, Copy, Debug)]
enum Kind {
    Clip,
    Avi,
    Picture,
    Rows,
}

fn golden(name: &str) -> Vec<u8> {
    if name == "rows" {
        return b"time, x, y\n# three columns\n1 2 3\n4,5,nan\n-1e-3;+7;.5\n\n7 8 9 # end\n".to_vec();
    }
    std::fs::read(format!("{}/tests/golden/sources/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// Reads to the end. Frames and sentences together may not be more than the bytes can stand for.
fn read(kind: Kind, bytes: &[u8]) -> Result<usize, String> {
    let begun = Instant::now();
    let from = Cursor::new(bytes.to_vec());
    let source: Result<Box<dyn Source>, SourceError> = match kind {
        Kind::Clip => Clip::from_reader("t", from).map(|c| Box::new(c) as _),
        Kind::Avi => Avi::from_reader("t", from, false).map(|a| Box::new(a) as _),
        Kind::Rows => Ok(Box::new(Rows::from_reader("t", from, Rate::per_tick(100), None))),
        Kind::Picture => {
            return match Picture::new(false).decode(bytes) {
                Ok(_) => Ok(1),
                Err(e) => Err(sentence(&e)),
            };
        }
    };
    let mut source = source.map_err(|e| sentence(&e))?;
    let mut frames = 0;
    for _ in 0..bytes.len() + 2 {
        match source.next() {
            Ok(None) => {
                // With room for a busy machine: what is meant is that nothing runs away.
                assert!(begun.elapsed() < Duration::from_secs(20), "took {:?}", begun.elapsed());
                return Ok(frames);
            }
            Ok(Some(frame)) => {
                frames += 1;
                if let Payload::Row(row) = frame.payload {
                    assert!(!row.is_empty());
                }
            }
            Err(e @ SourceError::Refused { .. }) => return Err(sentence(&e)),
            Err(e) => drop(sentence(&e)),
        }
    }
    panic!("{kind:?}: no end");
}

/// One line, not empty, not endless.
fn sentence(e: &SourceError) -> String {
    let text = e.to_string();
    assert!(!text.contains(char::is_control) && (5..400).contains(&text.len()), "{text:?}");
    text
}

#[test]
fn every_truncation_ends_well() {
    for (name, kind) in FILES {
        let file = golden(name);
        let whole = read(kind, &file).unwrap();
        // ffmpeg leaves 5 kB of padding before the pictures of an AVI: one cut in 8 is enough there.
        let step = if file.len() > 4000 { 7 } else { 1 };
        for end in (0..file.len()).step_by(step) {
            if let Ok(frames) = read(kind, &file[..end]) {
                assert!(frames <= whole, "{name} cut at {end}");
            }
        }
    }
}

#[test]
fn every_changed_byte_of_the_headers_ends_well() {
    for (name, kind) in FILES {
        let mut file = golden(name);
        for at in 0..file.len().min(400) {
            let was = file[at];
            for value in [0, 1, b' ', b'0', b'9', b'\n', 0x7f, 0x80, 0xff, was ^ 1, was ^ 0x80, was.wrapping_add(1)] {
                file[at] = value;
                let _ = read(kind, &file);
            }
            file[at] = was;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_damage_ends_well(
        which in 0..FILES.len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        cut in any::<prop::sample::Index>(),
        insert in prop::collection::vec(any::<u8>(), 0..24),
        copy in any::<(prop::sample::Index, prop::sample::Index)>(),
        how in 0..4,
    ) {
        let (name, kind) = FILES[which];
        let mut file = golden(name);
        for (at, value) in changes {
            let at = at.index(file.len());
            file[at] = value;
        }
        let at = cut.index(file.len());
        match how {
            0 => file.truncate(at),
            1 => drop(file.splice(at..at, insert)),
            2 => drop(file.drain(at..(at + insert.len()).min(file.len()))),
            // A stretch of the file once more, somewhere else.
            _ => {
                let (a, b) = (copy.0.index(file.len()), copy.1.index(file.len()));
                let again = file[a.min(b)..a.max(b)].to_vec();
                file.splice(at..at, again);
            }
        }
        let _ = read(kind, &file);
    }

    #[test]
    fn any_bytes_behind_a_right_beginning_end_well(which in 0..FILES.len(), keep in 0usize..64, rest in prop::collection::vec(any::<u8>(), 0..2000)) {
        let (name, kind) = FILES[which];
        let file = golden(name);
        let _ = read(kind, &[&file[..keep.min(file.len())], &rest[..]].concat());
    }

    #[test]
    fn any_words_for_a_source_end_well(text in "(v4l2|pipe|y4m|avi|frames|features|faulty|x)?:?[-a-z0-9=.,@:/x]{0,40}") {
        if let Ok(spec) = text.parse::<Spec>() {
            prop_assert_eq!(spec.to_string().parse::<Spec>().unwrap().to_string(), spec.to_string());
        }
    }
}

#[test]
fn sizes_that_no_file_backs_are_refused_or_cost_nothing() {
    for header in
        ["W0 H0", "W1 H0", "W16385 H1", "W4294967296 H4294967296", "W99999999999999999999 H1", "W16384 H16384", "W-1 H1"]
    {
        assert!(read(Kind::Clip, format!("YUV4MPEG2 {header} F30:1\nFRAME\n").as_bytes()).is_err(), "{header}");
    }
    for header in ["W1 H1", "W3 H1", "W1 H3 C422", "W5 H5 C444", "W7 H3 Cmono"] {
        let body = format!("YUV4MPEG2 {header} F30:1\nFRAME\n{}", "x".repeat(75));
        assert!(read(Kind::Clip, body.as_bytes()).is_ok(), "{header}");
    }
    // The largest there is, cut off behind its header.
    let e =
        Clip::from_reader("t", Cursor::new(b"YUV4MPEG2 W16384 H2441 F30:1\nFRAME\nxyz".to_vec())).unwrap().next().unwrap_err();
    assert!(e.to_string().contains("t frame 0: cut off: 3 of "), "{e}");
}

#[test]
fn things_that_are_no_file_are_named() {
    for (text, says) in [
        ("y4m:/", "folder"),
        ("avi:/", "folder"),
        ("features:/", "folder"),
        ("frames:/nowhere", "no such file"),
        ("pipe:/nowhere,nv12,64x64@30", "no such file"),
        ("pipe:/,nv12,64x64@30", "folder"),
        ("frames:/proc/self/fdinfo", "no pictures"),
        ("/nowhere.y4m", "no such file"),
        ("v4l2:/nowhere", "/nowhere"),
        ("v4l2:/dev/null", "/dev/null"),
        ("/dev/null", "/dev/null"),
    ] {
        let spec: Spec = text.parse().unwrap();
        let e = open(&spec, &Options::default()).err().map(|e| sentence(&e)).unwrap_or_default();
        assert!(e.contains(says), "{text}: {e}");
    }
}

/// Processor time of this thread: what others take away in between does not count.
fn cpu_us() -> i64 {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    t.tv_sec * 1_000_000 + t.tv_nsec / 1_000
}

#[test]
fn c8_a_damaged_picture_costs_no_more_than_a_whole_one() {
    // 640x480, 4:2:2, as a USB camera sends it.
    let whole = golden("vga.jpg");
    let mut decoder = Jpeg::new().no_larger(640, 480);
    // The least of five: the machine is busy with other things at times.
    let mut cost = |bytes: &[u8]| {
        let once = |_| {
            let begun = cpu_us();
            let good = decoder.decode(bytes).is_ok();
            (cpu_us() - begun, good)
        };
        (0..5).map(once).min().unwrap()
    };
    let (period, good) = cost(&whole);
    assert!(good);
    // Every bit of the header that says how large the picture is and how it is coded, then what a bad cable, a full bus and a broken camera
    // do: bits, cuts, a stretch lost, a stretch twice, other headers.
    let frame = whole.windows(2).position(|w| w == [0xff, 0xc0]).unwrap();
    let mut damaged: Vec<Vec<u8>> = Vec::new();
    for bit in 0..8 * 19 {
        let mut bytes = whole.clone();
        bytes[frame + bit / 8] ^= 1 << (bit % 8);
        damaged.push(bytes);
    }
    let mut rng = Rng(8);
    for round in 0..600 {
        let mut bytes = whole.clone();
        let (at, to) = (rng.below(bytes.len()), rng.below(bytes.len()));
        match round % 5 {
            0 => bytes[at] ^= 1 << rng.below(8),
            1 => bytes.truncate(at),
            2 => drop(bytes.drain(at.min(to)..at.max(to))),
            3 => drop(bytes.splice(at..at, whole[at.min(to)..at.max(to)].to_vec())),
            _ => bytes[at % 640] = rng.below(256) as u8,
        }
        damaged.push(bytes);
    }
    let costs: Vec<(i64, bool)> = damaged.iter().map(|bytes| cost(bytes)).collect();
    let (worst, which) = costs.iter().enumerate().map(|(k, c)| (c.0, k)).max().unwrap();
    let (all, refused) = (costs.len(), costs.iter().filter(|c| !c.1).count());
    println!(
        "figure: C8 {all} damaged pictures of 640x480, {refused} refused: at most {worst} us each (the one of number {which}), a whole one {period} us (at most twice that)"
    );
    assert!(worst <= 2 * period, "{worst} us against {period}");
}
