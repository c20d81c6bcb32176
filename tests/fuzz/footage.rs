//! Recordings and pictures: what a camera, a pipe and a card give.

use crate::harness::{files, fuzz, line, texts};
use lookout::blackbox::{Header, Recorder, checksum};
use lookout::pipeline::Before;
use lookout::source::avi::Avi;
use lookout::source::clip::Clip;
use lookout::source::jpeg::Jpeg;
use lookout::source::picture::Picture;
use lookout::source::rows::Rows;
use lookout::source::shaped::Replay;
use lookout::source::{Payload, Rate, Shaped, Source, SourceError, Timestamp};
use std::io::Cursor;

/// Reads a source to its end, which must come.
fn play(source: Result<impl Source, SourceError>, bytes: usize) {
    let mut source = match source {
        Ok(source) => source,
        Err(e) => return line(&e.to_string()),
    };
    for _ in 0..bytes + 2 {
        match source.next() {
            Ok(None) => return,
            Ok(Some(frame)) => {
                if let Payload::Row(row) = frame.payload {
                    assert!(!row.is_empty());
                }
            }
            Err(e) => {
                line(&e.to_string());
                if matches!(e, SourceError::Refused { .. }) {
                    return;
                }
            }
        }
    }
    panic!("no end");
}

#[test]
fn y4m_clips() {
    let seeds: Vec<Vec<u8>> = files("tests/golden/sources", ".y4m").into_iter().filter(|s| s.len() < 20_000).collect();
    fuzz("y4m", &seeds, |bytes| play(Clip::from_reader("t", Cursor::new(bytes.to_vec())), bytes.len()));
}

#[test]
fn clips_of_the_black_box() {
    let header = Header { bundle: "00aa".into(), tick_ms: 100, tick_bytes: 8, label: "right".into(), ..Header::default() };
    let seeds = [false, true].map(|rows| {
        let mut recorder = Recorder::new(Header { rows, extra: rows.into(), ..header.clone() }, 5, Before::default());
        for n in 0..7 {
            let planes = Shaped::Planes { levels: &[n as u8; 8], picture: (4, 2) };
            let news = if rows { Shaped::Row(&[n as f32, 0.5]) } else { planes };
            recorder.keep(Timestamp::from_ms(n * 100), if n % 3 == 2 { Shaped::Same } else { news }, &[n as f32, 1.0]);
        }
        let mut clip = vec![];
        recorder.write("right", 300, 7, &mut clip);
        clip.extend_from_slice(&checksum(&clip).to_le_bytes());
        clip
    });
    let bundle = ("00aa".to_string(), 8);
    for seed in &seeds {
        assert!(Replay::read("t", seed.clone(), Some(&bundle)).is_ok());
    }
    fuzz("black box", &seeds, |bytes| play(Replay::read("t", bytes.to_vec(), Some(&bundle)), bytes.len()));
}

#[test]
fn avi_clips() {
    fuzz("avi", &files("tests/golden/sources", ".avi"), |bytes| {
        play(Avi::from_reader("t", Cursor::new(bytes.to_vec()), false), bytes.len());
    });
}

#[test]
fn jpeg_frames_of_a_camera() {
    let mut jpeg = Jpeg::luma_only();
    fuzz("mjpeg", &files("tests/golden/sources", ".jpg"), |bytes| {
        if let Err(e) = jpeg.decode(bytes) {
            line(&e.to_string());
        }
    });
}

/// The same PNG with the checksums of its chunks made right: else they refuse nearly everything.
fn whole_png(bytes: &[u8]) -> Vec<u8> {
    let (mut out, mut at) = (bytes.to_vec(), 8);
    while let Some(length) = out.get(at..at + 4) {
        let end = at + 8 + u32::from_be_bytes([length[0], length[1], length[2], length[3]]) as usize;
        if !bytes.starts_with(b"\x89PNG") || end + 4 > out.len() {
            break;
        }
        let sum = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(&out[at + 4..end]);
        out[end..end + 4].copy_from_slice(&sum.to_be_bytes());
        at = end + 4;
    }
    out
}

#[test]
fn pictures() {
    let mut seeds = files("tests/golden/sources", ".png");
    seeds.extend(files("tests/golden/sources", "grey8.pgm"));
    seeds.extend(files("tests/golden/sources", ".ppm"));
    let (mut picture, mut good) = (Picture::new(false), 0u64);
    fuzz("picture", &seeds, |bytes| match picture.decode(&whole_png(bytes)) {
        Ok(_) => good += 1,
        Err(e) => line(&e.to_string()),
    });
    println!("picture: {good} of them still show something");
}

#[test]
fn rows_of_numbers() {
    let seeds = texts(&["time, x, y\n# three columns\n1 2 3\n4,5,nan\n-1e-3;+7;.5\n\n7 8 9 # end\n", "1\t2\n3\t4\n"]);
    fuzz("rows", &seeds, |bytes| {
        play(Ok(Rows::from_reader("t", Cursor::new(bytes.to_vec()), Rate::per_tick(100), None)), bytes.len())
    });
}
