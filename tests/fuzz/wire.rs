//! What comes over a wire or stands behind a flag: sentences, a receiver's, rows of numbers, words for sources and reports.

use crate::harness::{folder, fuzz, line, texts};
use lookout::extra::rows::Lines;
use lookout::extra::{self, Extra, Table, nmea};
use lookout::report::ReportSpec;
use lookout::report::envelope::{Body, seal};
use lookout::report::queries::LineAssembler;
use lookout::report::sentence::{Query, Sentence};
use lookout::source::open::Spec;

/// Right sentences of every kind, as in the grammar's own text and in the README.
fn sentences() -> Vec<Vec<u8>> {
    texts(&[
        "$PLKTC,3,2100,0,idle,0.001,12,0,8436*51\r\n",
        "$PLKTE,4,S,right,1900,300,0.995,C9DC*00\r\n",
        "$PLKTE,10,E,right,1900,2700,0.996,9246*62\r\n",
        "$PLKTP,5,2100,right,250,500,125,300,41A3*75\r\n",
        "$PLKTQ,STATUS,5333*40\r\n",
        "$PLKTQ,VERSION,1DA6*0A\r\n",
        "$PLKTQ,LABELS,FDDD*45\r\n",
        "$PLKTQ,BUNDLE,FAD7*32\r\n",
    ])
}

#[test]
fn sentences_and_query_lines() {
    let mut read = 0u64;
    fuzz("sentence", &sentences(), |bytes| {
        let mut assembler = LineAssembler::default();
        // In pieces, as a wire gives them.
        for piece in bytes.chunks(7) {
            assembler.feed(piece, |line| {
                if let Ok(sentence) = Sentence::decode(line) {
                    read += 1;
                    let again = sentence.encode();
                    assert_eq!(again.trim_end().as_bytes(), line, "one value has one spelling");
                }
            });
        }
        if let Err(e) = Sentence::decode(bytes) {
            line(&e.to_string());
        }
    });
    println!("sentence: {read} of them were still right");
    // The two checksums refuse nearly all of those: here what they enclose is damaged, and both are right.
    let bodies = sentences().iter().map(|s| s[1..s.len() - 10].to_vec()).collect::<Vec<_>>();
    let mut read = 0u64;
    fuzz("sealed sentence", &bodies, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let Ok(body) = Body::try_from(&*text) else { return };
        let sealed = seal(&body);
        match Sentence::decode(sealed.trim_end().as_bytes()) {
            // Intact, and not known here: it is answered so, and not said again.
            Ok(Sentence::Query(Query::Unknown)) => {}
            Ok(sentence) => {
                read += 1;
                assert_eq!(sentence.encode(), sealed, "one value has one spelling");
            }
            Err(e) => line(&e.to_string()),
        }
    });
    println!("sealed sentence: {read} of them still say something");
}

/// What a receiver says, checksum left to the harness: sentences of several talkers and makers.
const RECEIVER: [&str; 8] = [
    "GPRMC,123519,A,4807.038,N,01131.000,E,022.4,084.4,230394,003.1,W",
    "GNRMC,120000.00,A,4807.03800,N,01131.00000,E,12.345,84.40,221126,,,A,V",
    "GNRMC,120000.00,V,,,,,,,221126,,,N",
    "GPVTG,054.7,T,034.4,M,005.5,N,010.2,K",
    "GLVTG,,T,,M,0.012,N,0.022,K,D",
    "GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,",
    "PUBX,00,081350.00,4717.113210,N,00833.915187,E,546.589,G3,2.1,2.0,0.007,77.52,0.007,,0.92,1.19,0.77,9,0,0",
    "GPGSV,3,1,11,03,03,111,00,04,15,270,00,06,01,010,00,13,06,292,00",
];

#[test]
fn sentences_of_a_receiver() {
    let sealed = |body: &[u8]| {
        let sum = body.iter().fold(0, |sum, b| sum ^ b);
        [b"$", body, format!("*{sum:02X}\r\n").as_bytes()].concat()
    };
    // Damaged after it was sealed: whatever is still taken is what was sent.
    let sent: Vec<_> = RECEIVER.map(|body| nmea::motion(sealed(body.as_bytes()).trim_ascii_end())).into();
    let right = |motion: &nmea::Motion| {
        motion[0].is_none_or(|v| (0.0..=600.0).contains(&v)) && motion[1].is_none_or(|c| (0.0..=360.0).contains(&c))
    };
    let (mut heard, mut taken, mut other) = (0u64, 0u64, 0u64);
    fuzz("receiver", &RECEIVER.map(|body| sealed(body.as_bytes())), |bytes| {
        let mut assembler = LineAssembler::default();
        for piece in bytes.chunks(7) {
            assembler.feed(piece, |line| {
                heard += 1;
                if let Some(motion) = nmea::motion(line) {
                    taken += 1;
                    other += u64::from(!sent.contains(&Some(motion)));
                    assert!(right(&motion), "{motion:?}");
                }
            });
        }
    });
    println!(
        "figure: of {heard} damaged lines of a receiver {taken} taken, {other} with other numbers (an 8-bit sum lets through 1 in 256)"
    );
    assert!(other * 256 <= heard, "{other} of {heard}");
    // Damaged before it was sealed: the sum is right, the fields are anything.
    fuzz("sealed receiver", &RECEIVER.map(|body| body.as_bytes().to_vec()), |bytes| {
        if let Some(motion) = nmea::motion(sealed(bytes).trim_ascii_end()) {
            assert!(right(&motion), "{motion:?}");
        }
    });
}

#[test]
fn extras_and_where_they_come_from() {
    fuzz("rows of extras", &texts(&["0.1 90\n# x\n1,nan;3\r\n", "a b\n1e9 -3\n\n7\n"]), |bytes| {
        let mut lines = Lines::default();
        bytes.chunks(5).for_each(|piece| lines.feed(piece, &mut |row| assert!(!row.is_empty() && row.len() <= 512)));
    });
    fuzz("spec of an extra", &texts(&["nmea:/dev/ttyUSB0,9600,speed", "rows:/run/imu,3", "none"]), |bytes| {
        if let Err(e) = extra::Spec::read("speed", &String::from_utf8_lossy(bytes)) {
            line(&e);
        }
    });
    let dir = folder("extras");
    let file = dir.join("x.extra.csv");
    let seeds = texts(&["ms,speed,course\n0,12.4,88.0\n250,,88.5\n1000,nan,nan\n"]);
    fuzz("table of extras", &seeds, |bytes| {
        std::fs::write(&file, bytes).unwrap();
        if let Ok(mut table) = Table::read(&file, &[Extra::named("speed")]) {
            let all = lookout::source::Timestamp(u64::MAX);
            table.feed(Default::default(), all, |which, _| assert_eq!(which, 0));
        }
    });
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn words_for_sources_and_reports() {
    let seeds = texts(&[
        "pipe:-,nv12,640x480@30",
        "v4l2:/dev/video0,640x480@30,mjpg",
        "frames:/x@25",
        "features:-",
        "avi:/x.avi",
        "faulty:3:drop=0.1,repeat=0.2:y4m:/x.y4m",
        "serial:/dev/ttyAMA0,115200",
        "json:-",
        "file:/x",
        "gpio",
    ]);
    fuzz("spec", &seeds, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        // What is said quotes what was written: line ends in it are the writer's own.
        let one_line = !text.contains(|c: char| c.is_control());
        match text.parse::<Spec>() {
            Ok(spec) => assert_eq!(spec.to_string().parse::<Spec>().unwrap().to_string(), spec.to_string()),
            Err(e) if one_line && text.len() < 1000 => line(&e.to_string()),
            Err(_) => {}
        }
        match text.parse::<ReportSpec>() {
            Err(e) if one_line && text.len() < 1000 => line(&e.to_string()),
            _ => {}
        }
    });
}
