//! The promise: recordings of every kind are read as ffmpeg and OpenCV read them, frame for frame, each frame at its
//! time, and what is damaged is said and passed over.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod program;

use lookout::source::avi::Avi;
use lookout::source::clip::Clip;
use lookout::source::open::{Options, Spec, open};
use lookout::source::picture::Picture;
use lookout::source::rows::Rows;
use lookout::source::{Image, Payload, PixelFormat, Rate, Source, SourceError, Timestamp};
use lookout::sys::alloc::{Counting, count};
use std::io::{Cursor, Write};
use std::path::PathBuf;

#[global_allocator]
static COUNTING: Counting = Counting;

fn path(name: &str) -> String {
    format!("{}/tests/golden/sources/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn golden(name: &str) -> Vec<u8> {
    std::fs::read(path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// The samples of a golden PGM or PPM; OpenCV writes a header of 13 bytes for these sizes.
fn samples(name: &str) -> Vec<u8> {
    golden(name)[13..].to_vec()
}

fn luma(image: &Image<'_>) -> Vec<u8> {
    let pixels = image.width() * image.height();
    let step = if image.format() == PixelFormat::Yuv444 { 3 } else { 1 };
    image.data().iter().step_by(step).take(pixels).copied().collect()
}

fn off_by(found: &[u8], expected: &[u8]) -> u8 {
    assert_eq!(found.len(), expected.len());
    found.iter().zip(expected).map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0)
}

/// Stamps in ms of what comes, or what is said.
fn story(source: &mut dyn Source) -> Vec<String> {
    let mut story = Vec::new();
    while story.len() < 1000 {
        match source.next() {
            Ok(Some(frame)) => story.push(frame.at.ms().to_string()),
            Ok(None) => return story,
            Err(e @ SourceError::Broken { .. }) => story.push(e.to_string()),
            Err(e) => panic!("{e}"),
        }
    }
    panic!("no end: {story:?}");
}

/// An empty folder of one's own.
fn folder(name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("lookout-sources-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).expect("temporary folder");
    dir
}

#[test]
fn clips_hold_what_the_other_decoder_found() {
    for (name, tolerance, format) in [
        ("420jpeg.y4m", 0, PixelFormat::I420),
        ("420mpeg2.y4m", 0, PixelFormat::I420),
        ("422.y4m", 0, PixelFormat::Yuv444),
        ("444.y4m", 0, PixelFormat::Yuv444),
        ("mono.y4m", 0, PixelFormat::Gray),
        ("clip.avi", 2, PixelFormat::Yuv444),
    ] {
        // By its path alone: the kind is told from the first bytes.
        let spec: Spec = path(name).parse().unwrap();
        let mut source = open(&spec, &Options::default()).unwrap();
        assert_eq!((source.len_hint(), source.is_live()), (Some(3), false), "{name}");
        let stem = name.split('.').next().unwrap();
        for n in 0..3 {
            let frame = source.next().unwrap().expect("three frames");
            assert_eq!(frame.at, Timestamp(n * 1_001_000_000_000 / 30_000), "{name}");
            assert_eq!(u64::from(frame.seq.0), n);
            let Payload::Image(image) = frame.payload else { panic!("{name}: no picture") };
            assert_eq!((image.format(), image.width(), image.height()), (format, 35, 21), "{name}");
            let off = off_by(&luma(&image), &samples(&format!("{stem}.{n}.pgm")));
            assert!(off <= tolerance, "{name} frame {n} is off by {off}");
        }
        assert!(source.next().unwrap().is_none() && source.next().unwrap().is_none());
    }
}

#[test]
fn pictures_hold_what_the_other_decoder_found() {
    let mut picture = Picture::new(false);
    for (file, format, expected) in [
        ("rgb.png", PixelFormat::Rgb, "rgb.ppm"),
        ("rgba.png", PixelFormat::Rgb, "rgb.ppm"),
        ("grey8.png", PixelFormat::Gray, "grey8.pgm"),
        ("grey16.png", PixelFormat::Gray, "grey8.pgm"),
        ("palette.png", PixelFormat::Rgb, "palette.ppm"),
        ("rgb.ppm", PixelFormat::Rgb, "rgb.ppm"),
        ("grey8.pgm", PixelFormat::Gray, "grey8.pgm"),
    ] {
        let image = picture.decode(&golden(file)).unwrap();
        assert_eq!((image.format(), image.width(), image.height()), (format, 35, 21), "{file}");
        assert_eq!(off_by(image.data(), &samples(expected)), 0, "{file}");
    }
}

#[test]
fn a_folder_is_read_in_the_order_a_person_would() {
    let dir = folder("frames");
    for (to, from) in [("a10.png", "rgb.png"), ("a9.JPG", "ff422.jpg"), ("a1.pgm", "grey8.pgm")] {
        std::fs::copy(path(from), dir.join(to)).unwrap();
    }
    std::fs::write(dir.join("a2.png"), b"no picture").unwrap();
    std::fs::write(dir.join("notes.txt"), b"not looked at").unwrap();
    std::fs::create_dir(dir.join("a3.png")).unwrap();
    let open_at = |text: String| open(&text.parse().unwrap(), &Options { tick_ms: 40, ..Options::default() }).unwrap();
    let mut source = open_at(format!("frames:{}@4", dir.display()));
    let said = story(source.as_mut());
    assert_eq!((source.len_hint(), said.len()), (Some(5), 5));
    assert!(said[1].contains("a2.png: begins with \"no pictu\"") && said[2].contains("a3.png: expected a file"), "{said:?}");
    assert_eq!([&said[0], &said[3], &said[4]], ["0", "750", "1000"]);
    let last = story(open_at(dir.display().to_string()).as_mut()).pop();
    assert_eq!(last.as_deref(), Some("160"), "one a tick where no rate is said");
    std::fs::remove_dir_all(&dir).unwrap();
}

/// Chunks of the golden AVI: everything before the first picture, and the pictures with their heads.
fn taken_apart() -> (Vec<u8>, Vec<Vec<u8>>) {
    let file = golden("clip.avi");
    let movi = file.windows(4).position(|w| w == b"movi").unwrap() + 4;
    let (mut at, mut pictures) = (movi, Vec::new());
    while &file[at..at + 4] == b"00dc" {
        let size = u32::from_le_bytes(file[at + 4..at + 8].try_into().unwrap()) as usize;
        let next = at + 8 + size.next_multiple_of(2);
        pictures.push(file[at..next].to_vec());
        at = next;
    }
    (file[..movi].to_vec(), pictures)
}

fn avi(bytes: Vec<u8>) -> Avi {
    Avi::from_reader("t.avi", Cursor::new(bytes), false).unwrap()
}

#[test]
fn an_avi_needs_no_index_and_no_sizes() {
    let (mut head, pictures) = taken_apart();
    // RIFF and movi of size 0, as a recorder leaves them when its power goes.
    head[4..8].fill(0);
    let movi = head.len();
    head[movi - 8..movi - 4].fill(0);
    let plain = [head.clone(), pictures.concat()].concat();
    assert_eq!(story(&mut avi(plain.clone())), ["0", "33", "66"]);
    // OpenDML parts, lists within, sound, an index, and an empty chunk for a picture left out.
    let list = |bytes: &[u8]| [b"LIST\xff\xff\xff\xffrec ", bytes].concat();
    let rich = [
        head.clone(),
        list(&pictures[0]),
        b"01wb\x03\0\0\0abc\0".to_vec(),
        b"00dc\0\0\0\0".to_vec(),
        b"idx1\x02\0\0\0xx".to_vec(),
        b"RIFF\0\0\0\0AVIXLIST\0\0\0\0movi".to_vec(),
        pictures[1].clone(),
        b"ix00\x04\0\0\0abcd".to_vec(),
        pictures[2].clone(),
    ];
    assert_eq!(story(&mut avi(rich.concat())), ["0", "66", "100"]);
}

#[test]
fn an_avi_with_a_damaged_chunk_goes_on_behind_it() {
    let (head, pictures) = taken_apart();
    let damaged = |at: usize, with: &[u8]| {
        let mut middle = pictures[1].clone();
        middle[at..at + with.len()].copy_from_slice(with);
        story(&mut avi([head.clone(), pictures[0].clone(), middle, pictures[2].clone()].concat()))
    };
    let said = damaged(0, b"\x00\x01\x02\x03");
    assert!(said[1].contains("t.avi frame 1: chunk \"\\x00\\x01\\x02\\x03\""), "{said:?}");
    assert_eq!((said[0].as_str(), said[2].as_str()), ("0", "66"));
    let said = damaged(4, b"\xff\xff\xff\x7f");
    assert!(said[1].contains("2147483647 bytes for a picture"), "{said:?}");
    assert_eq!(said[2], "66");
    assert!(said[1].ends_with("expected at most 67741"), "{said:?}");
    let said = damaged(8, b"\0\0");
    assert!(said[1].contains("t.avi frame 1: begins with [00, 00"), "{said:?}");
    assert_eq!(said[2], "66");
}

/// As a recorder leaves it when its power goes.
#[test]
fn an_avi_that_ends_within_a_picture_says_how_much_of_it_is_there() {
    let dir = folder("cut");
    let (head, pictures) = taken_apart();
    let file = dir.join("cut.avi");
    let size = u32::from_le_bytes(pictures[1][4..8].try_into().unwrap());
    let cut = |bytes: &[u8]| {
        std::fs::write(&file, [head.as_slice(), &pictures[0], bytes].concat()).unwrap();
        story(open(&file.display().to_string().parse().unwrap(), &Options::default()).unwrap().as_mut())
    };
    let broken = format!("{} frame 1: cut off: 100 of {size} bytes", file.display());
    assert_eq!(cut(&pictures[1][..108]), ["0", broken.as_str()]);
    // Where it is the size that is damaged, the picture behind it is found.
    let larger = [b"00dc".as_slice(), &60_000u32.to_le_bytes(), &pictures[1][8..], &pictures[2]].concat();
    let broken = format!("{} frame 1: cut off: {} of 60000 bytes", file.display(), larger.len() - 8);
    assert_eq!(cut(&larger), ["0", broken.as_str(), "66"]);
    std::fs::remove_dir_all(&dir).unwrap();
}

/// Of one of its frames or lines, with its name: once.
#[test]
fn damage_is_said_with_the_name_of_the_recording() {
    let dir = folder("damage");
    let rows = "0 0 0 0 0 0\n".repeat(30);
    for (name, bytes, says) in [
        ("cut.y4m", golden("420jpeg.y4m")[..2_000].to_vec(), "frame 1: cut off: 778 of 1131 bytes"),
        ("cut.avi", golden("clip.avi")[..6_800].to_vec(), "frame 1: cut off: 322 of 834 bytes"),
        ("bad.csv", format!("{rows}1 2\n{rows}").into_bytes(), "line 31: 2 numbers, the bundle has 6"),
    ] {
        let file = dir.join(name).display().to_string();
        std::fs::write(&file, bytes).unwrap();
        let mut args = vec!["classify", &file];
        if name == "bad.csv" {
            args.extend(["--bundle", "tests/bundles/rows-gru"]);
        }
        let said = String::from_utf8(program::lookout(&args).stderr).unwrap();
        let line = said.lines().find(|line| line.contains(says)).unwrap_or_else(|| panic!("{name}: {said}"));
        assert_eq!(line.matches(&file).count(), 1, "{line}");
    }
    std::fs::remove_dir_all(&dir).unwrap();
}

/// A FIFO in a folder of its own.
fn fifo(name: &str) -> PathBuf {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    let fifo = folder(name).join("fifo");
    mknodat(CWD, &fifo, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    fifo
}

/// Nothing is lost, and every picture has its time.
#[test]
fn an_avi_through_a_fifo_may_pause_anywhere() {
    let fifo = fifo("pauses");
    let (head, pictures) = taken_apart();
    // Sound of 5 bytes, and eight of damage in the place of a picture.
    let (sound, damage) = (b"01wb\x05\0\0\0abcde\0", [0u8; 8]);
    // Whoever opens both ends waits for nobody.
    let mut writer = std::fs::OpenOptions::new().read(true).write(true).open(&fifo).unwrap();
    writer.write_all(&head).unwrap();
    let mut source = open(&format!("avi:{}", fifo.display()).parse().unwrap(), &Options::default()).unwrap();
    let mut heard = |bytes: &[&[u8]]| {
        writer.write_all(&bytes.concat()).unwrap();
        let mut heard = vec![];
        loop {
            match source.next() {
                Ok(Some(frame)) => heard.push(frame.at.ms().to_string()),
                Err(SourceError::Stalled { .. }) => return heard,
                Err(SourceError::Broken { why, .. }) => heard.push(why),
                other => panic!("{heard:?}, then {other:?}"),
            }
        }
    };
    // In a picture; in the head of a chunk; in one that is passed over; in the head of a picture that was looked for.
    assert!(heard(&[&pictures[0][..100]]).is_empty());
    assert_eq!(heard(&[&pictures[0][100..], &sound[..6]]), ["0"]);
    assert!(heard(&[&sound[6..10]]).is_empty());
    let lost = "chunk \"\\x00\\x00\\x00\\x00\" of 0 bytes makes no sense";
    assert_eq!(heard(&[&sound[10..], &pictures[1], &damage, &pictures[2][..6]]), ["33", lost]);
    assert_eq!(heard(&[&pictures[2][6..]]), ["100"]);
    std::fs::remove_dir_all(fifo.parent().unwrap()).unwrap();
}

/// Whoever watches is told that nothing comes; whoever replays waits.
#[test]
fn an_avi_through_a_fifo_may_begin_in_pieces() {
    let fifo = fifo("pieces");
    let spec: Spec = format!("avi:{}", fifo.display()).parse().unwrap();
    let (head, pictures) = taken_apart();
    // Cut within the first chunk, within a later one, and just before the pictures.
    let pieces = [&head[..6], &head[6..70], &head[70..head.len() - 2]];
    let rest = [&head[head.len() - 2..], pictures.concat().as_slice()].concat();
    let write_end = || std::fs::OpenOptions::new().write(true).open(&fifo).unwrap();

    let mut source = open(&spec, &Options::default()).unwrap();
    let mut writer = write_end();
    for piece in pieces {
        writer.write_all(piece).unwrap();
        assert!(matches!(source.next(), Err(SourceError::Stalled { .. })));
    }
    writer.write_all(&rest).unwrap();
    drop(writer);
    assert_eq!(story(source.as_mut()), ["0", "33", "66"]);

    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut writer = write_end();
            for piece in pieces {
                writer.write_all(piece).unwrap();
                std::thread::sleep(std::time::Duration::from_millis(1_200));
            }
            writer.write_all(&rest).unwrap();
        });
        let mut source = open(&spec, &Options { replay: true, ..Options::default() }).unwrap();
        assert_eq!(story(source.as_mut()), ["0", "33", "66"]);
    });
    std::fs::remove_dir_all(fifo.parent().unwrap()).unwrap();
}

#[test]
fn an_avi_of_another_kind_is_refused_by_name() {
    let refusal = |edit: fn(&mut Vec<u8>)| {
        let mut file = golden("clip.avi");
        edit(&mut file);
        Avi::from_reader("t.avi", Cursor::new(file), false).err().map(|e| e.to_string()).unwrap_or_default()
    };
    assert!(refusal(|f| f[8..12].copy_from_slice(b"WAVE")).contains("expected RIFF and AVI"));
    let codec = refusal(|f| {
        let strf = f.windows(4).position(|w| w == b"strf").unwrap();
        f[strf + 8 + 16..strf + 8 + 20].copy_from_slice(b"H264");
    });
    assert!(codec.contains("coded as \"H264\", expected MJPG"), "{codec}");
    let size = refusal(|f| {
        let strf = f.windows(4).position(|w| w == b"strf").unwrap();
        f[strf + 12..strf + 16].copy_from_slice(&60_000u32.to_le_bytes());
    });
    assert!(size.contains("60000x21 pixels"), "{size}");
    let stream = refusal(|f| {
        let strh = f.windows(4).position(|w| w == b"vids").unwrap();
        f[strh..strh + 4].copy_from_slice(b"auds");
    });
    assert!(stream.contains("none with pictures"), "{stream}");
}

#[test]
fn nothing_is_allocated_per_frame() {
    let y4m = golden("420jpeg.y4m");
    let line = y4m.iter().position(|b| *b == b'\n').unwrap() + 1;
    let many = [&y4m[..line], &y4m[line..].repeat(50)].concat();
    let four = golden("444.y4m");
    let line = four.iter().position(|b| *b == b'\n').unwrap() + 1;
    let four = [&four[..line], &four[line..].repeat(50)].concat();
    let rows: String = (0..150).map(|n| format!("{n},{},nan # {n}\n", n * n)).collect();
    let sources: [(&str, Box<dyn Source>); 3] = [
        ("y4m", Box::new(Clip::from_reader("t", Cursor::new(many)).unwrap())),
        ("444", Box::new(Clip::from_reader("t", Cursor::new(four)).unwrap())),
        ("rows", Box::new(Rows::from_reader("t", Cursor::new(rows), Rate::per_tick(100), Some(3)))),
    ];
    for (name, mut source) in sources {
        for _ in 0..20 {
            assert!(source.next().unwrap().is_some());
        }
        let before = count();
        for _ in 0..100 {
            assert!(source.next().unwrap().is_some());
        }
        assert_eq!(count() - before, 0, "{name}");
    }
}

#[test]
fn faults_of_one_seed_are_the_same_on_pictures() {
    let run = || {
        let text = format!("faulty:seed=3,drop=0.3,repeat=0.3,corrupt=0.5:y4m:{}", path("420jpeg.y4m"));
        let mut source = open(&text.parse().unwrap(), &Options::default()).unwrap();
        let mut all = Vec::new();
        while let Some(frame) = source.next().unwrap() {
            let Payload::Image(image) = frame.payload else { panic!("no picture") };
            all.push((frame.at, frame.seq, image.data().to_vec()));
        }
        all
    };
    assert_eq!(run(), run());
}
