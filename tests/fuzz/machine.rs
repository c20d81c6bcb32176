//! What the machine says: the file of starts, temperatures and throttling below `/sys`, the device tree, and what a camera's driver offers.

use crate::harness::{folder, fuzz, line, texts};
use lookout::board::{self, Board, Thermal, Throttle};
use lookout::cli::shape::unfinished;
use lookout::life::{MANY, Runs, note_panic};
use lookout::report::LastEnd;
use lookout::shaper::{Region, Shaper};
use lookout::source::v4l2::negotiate::{Offer, Wish, choose};
use lookout::source::{Image, PixelFormat};
use lookout::sys::video::{Fourcc, Interval, IntervalRange, SizeRange};
use lookout::vitals::Vitals;
use std::time::Duration;

#[test]
fn starts_and_last_words() {
    let dir = folder("life");
    let file = dir.join("runs");
    let seeds = texts(&[
        "7\n1000 2000 3000 4000 5000 6000\nfailed bundle b: head.onnx: no\n",
        "0\n12\nkilled \n",
        "4294967295\n18446744073709551615 1 2\npanic at src/x.rs:1: no\n",
        "1\n\nstopped\n",
    ]);
    let mut read = 0u64;
    fuzz("starts", &seeds, |bytes| {
        std::fs::write(&file, bytes).unwrap();
        let runs = Runs::begin(Some(&dir));
        let life = runs.life(Duration::ZERO);
        read += u64::from(life.last_end != LastEnd::None);
        runs.too_many();
        if let Some(story) = runs.story() {
            line(&story);
        }
        // Whatever stood there, what was written at this start is read at the next: it counts one more.
        note_panic(runs.file().unwrap(), &String::from_utf8_lossy(bytes));
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.lines().count() == 3 && text.lines().nth(1).unwrap().split(' ').count() <= MANY + 1, "{text:?}");
        let next = Runs::begin(Some(&dir)).life(Duration::ZERO);
        assert_eq!((next.restarts, next.last_end), (life.restarts.saturating_add(1), LastEnd::Panic), "{text:?}");
    });
    println!("starts: {read} of them still say how the last run ended");
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn temperature_and_throttling() {
    let root = folder("vitals");
    let zone = root.join("sys/class/thermal/thermal_zone0");
    std::fs::create_dir_all(&zone).unwrap();
    std::fs::write(zone.join("type"), "cpu-thermal\n").unwrap();
    let (heat, flags) = (zone.join("temp"), root.join("flags"));
    std::fs::write(&heat, "").unwrap();
    std::fs::write(&flags, "").unwrap();
    let throttled = vec![Throttle::Flags { path: vec!["/flags".into()], mask: 0xf000_000f }];
    let vitals = Vitals::open_under(&root, &Thermal { zone: vec!["cpu-thermal".into()], throttled });
    assert_eq!(vitals.found(), (true, 1));
    let mut said = 0u64;
    fuzz("heat", &texts(&["47512\n", "-40600\n", "0x50005\n", "9223372036854775807", "50000\n"]), |bytes| {
        std::fs::write(&heat, bytes).unwrap();
        std::fs::write(&flags, bytes).unwrap();
        said += u64::from(vitals.read().celsius.is_some());
    });
    println!("heat: {said} of them still say a temperature");
    // Names of zones come from drivers.
    fuzz("zones", &texts(&["cpu-thermal\n", "gpu\n"]), |bytes| {
        std::fs::write(zone.join("type"), bytes).unwrap();
        let found = Vitals::open_under(&root, &Thermal { zone: vec!["cpu-thermal".into()], throttled: vec![] });
        assert_eq!(found.found().0, String::from_utf8_lossy(bytes).trim() == "cpu-thermal");
    });
    std::fs::remove_dir_all(root).unwrap();
}

#[test]
fn device_trees() {
    let boards =
        vec![Board::parse("host", &std::fs::read_to_string(crate::harness::root().join("board/host.toml")).unwrap()).unwrap()];
    fuzz(
        "device tree",
        &[b"raspberrypi,4-model-b\0brcm,bcm2711\0".to_vec(), b"radxa,rock-5b\0rockchip,rk3588\0".to_vec()],
        |bytes| {
            let machine = board::strings(bytes);
            if let Err(e) = Board::choose(&boards, None, &machine) {
                line(&e.to_string().chars().take(1000).collect::<String>());
            }
        },
    );
}

/// A driver that offers whatever these bytes say.
struct Driver<'a>(&'a [u8]);

impl Driver<'_> {
    fn words(&self, from: usize) -> impl Iterator<Item = u32> {
        self.0
            .iter()
            .skip(from)
            .copied()
            .collect::<Vec<u8>>()
            .chunks_exact(4)
            .map(|w| u32::from_le_bytes([w[0], w[1], w[2], w[3]]))
            .collect::<Vec<_>>()
            .into_iter()
    }
}

impl Offer for Driver<'_> {
    fn formats(&self) -> Vec<Fourcc> {
        vec![*b"YUYV", *b"MJPG"]
    }
    fn sizes(&self, fourcc: Fourcc) -> Vec<SizeRange> {
        let words: Vec<u32> = self.words(usize::from(fourcc[0] & 4)).collect();
        words.chunks_exact(6).map(|w| SizeRange { width: (w[0], w[1], w[2]), height: (w[3], w[4], w[5]) }).collect()
    }
    fn intervals(&self, _: Fourcc, width: u32, _: u32) -> Vec<IntervalRange> {
        let words: Vec<u32> = self.words(width as usize % 16).collect();
        let interval = |w: &[u32]| Interval { num: w[0], den: w[1] };
        words.chunks_exact(4).map(|w| IntervalRange { min: interval(w), max: interval(&w[2..]) }).collect()
    }
}

#[test]
fn what_a_camera_offers() {
    let seed = |words: &[u32]| words.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<u8>>();
    let seeds = [
        seed(&[640, 640, 0, 480, 480, 0, 1920, 1920, 0, 1080, 1080, 0]),
        seed(&[16, 4096, 16, 16, 2160, 2, 1, 30, 1, 5, 1, 60, 1, 60]),
        seed(&[1, u32::MAX, 1, 1, u32::MAX, 1, 0, 0, u32::MAX, u32::MAX]),
    ];
    let wishes = [(640, 480, 30), (1, 1, 0), (u32::MAX, u32::MAX, u32::MAX)];
    fuzz("camera's offer", &seeds, |bytes| {
        for (width, height, rate_hz) in wishes {
            let wish = Wish { formats: vec![*b"MJPG", *b"YUYV"], width, height, rate_hz };
            let choice = choose(&wish, &Driver(bytes)).unwrap();
            assert!(choice.interval.num > 0 && choice.interval.den > 0, "{choice:?}");
        }
    });
    // What it grants, and a buffer of any length: a picture within those bytes, or a sentence.
    let formats =
        [PixelFormat::Gray, PixelFormat::Yuyv, PixelFormat::Nv12, PixelFormat::I420, PixelFormat::Yuv444, PixelFormat::Rgb];
    let seeds = [seed(&[4, 2, 8, 0, 0, 0, 0, 0, 0, 0]), seed(&[2, 2, 2, u32::MAX]), [seed(&[8, 8, 32]), vec![7; 256]].concat()];
    let input = unfinished("[input]\nwidth = 8\nheight = 8\nchannels = [\"gray\", \"rgb\"]\n[time]\ntick_ms = 100\n").unwrap().0;
    let mut shaper = Shaper::new(&input, Region::default()).unwrap();
    fuzz("granted picture", &seeds, |bytes| {
        let words: Vec<u32> = Driver(bytes).words(0).take(3).collect();
        let [width, height, stride] = words[..] else { return };
        for format in formats {
            match Image::new(format, width as usize, height as usize, stride as usize, &bytes[12..]) {
                Ok(image) => {
                    assert!(image.width() * image.height() <= bytes.len(), "{width}x{height}");
                    // The pixel pass reads where the picture says that it lies.
                    if let Err(e) = shaper.stage(&image) {
                        line(&e.to_string());
                    }
                }
                Err(e) => line(&e.to_string()),
            }
        }
    });
}
