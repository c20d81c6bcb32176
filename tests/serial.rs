//! The serial sink on real pseudo-terminals: what goes over the wire is whole, in order, and exactly what stdout shows.
//!
//! A pty has no baud rate and no framing errors: those are not tested here.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test stops where something is missing and says what it saw")]

mod samples;

use lookout::report::queries::LineAssembler;
use lookout::report::sentence::{Answer, Query, Sentence};
use lookout::report::{Pace, Sink, open};
use samples::{any, class, event, health, identity};
use serialport::{SerialPort, TTYPort};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The far end of a wire, and a lasting name for the near end.
struct FarEnd {
    master: TTYPort,
    /// Held open, because `serialport` reads nothing more once the near end is closed, not even what is there.
    _near: TTYPort,
    dir: PathBuf,
}

impl FarEnd {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("lookout-serial-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let (master, near) = plug(&dir);
        Self { master, _near: near, dir }
    }

    fn path(&self) -> PathBuf {
        self.dir.join("tty")
    }

    fn sink(&self, pace: Pace) -> Box<dyn Sink> {
        sink(&self.path(), pace)
    }

    /// Everything that comes until nothing has come for `quiet`, or until `enough` says so.
    fn read_until(&mut self, quiet: Duration, mut enough: impl FnMut(&[u8]) -> bool) -> Vec<u8> {
        let (mut all, mut buffer) = (Vec::new(), [0; 1024]);
        let mut last = Instant::now();
        while last.elapsed() < quiet && !enough(&all) {
            match self.master.read(&mut buffer) {
                Ok(n) => {
                    all.extend_from_slice(&buffer[..n]);
                    last = Instant::now();
                }
                Err(e) if e.kind() == ErrorKind::TimedOut => {}
                // Nobody has the near end open at the moment.
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        }
        all
    }

    fn lines(&mut self, count: usize) -> Vec<String> {
        let bytes = self.read_until(Duration::from_secs(20), |all| all.iter().filter(|b| **b == b'\n').count() >= count);
        String::from_utf8(bytes).unwrap().lines().map(String::from).collect()
    }
}

impl Drop for FarEnd {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// A new pty behind the same name.
fn plug(dir: &Path) -> (TTYPort, TTYPort) {
    let (mut master, slave) = TTYPort::pair().unwrap();
    master.set_timeout(Duration::from_millis(20)).unwrap();
    let link = dir.join("tty");
    let _ = std::fs::remove_file(&link);
    std::os::unix::fs::symlink(slave.name().unwrap(), link).unwrap();
    (master, slave)
}

fn sink(path: &Path, pace: Pace) -> Box<dyn Sink> {
    let spec = format!("serial:{},115200", path.display()).parse().unwrap();
    open(&spec, &identity(), None, pace).unwrap()
}

fn expected(count: u32) -> Vec<u8> {
    (0..count).flat_map(|k| Sentence::of(k, &any(k)).encode().as_bytes().to_vec()).collect()
}

#[test]
fn reader_sees_exactly_what_a_file_or_stdout_gets() {
    let mut far = FarEnd::new("exact");
    let file = far.dir.join("sentences");
    let mut sinks = [
        far.sink(Pace::Recording),
        open(&format!("file:{}", file.display()).parse().unwrap(), &identity(), None, Pace::Recording).unwrap(),
    ];
    let sender = std::thread::spawn(move || {
        for k in 0..3_000 {
            sinks.iter_mut().for_each(|s| s.send(k, &any(k)));
        }
        for sink in &mut sinks {
            sink.close(Duration::from_secs(60));
        }
    });
    let want = expected(3_000);
    let got = far.read_until(Duration::from_secs(30), |all| all.len() >= want.len());
    sender.join().unwrap();
    assert!(got == want, "{} bytes read, {} expected", got.len(), want.len());
    assert!(std::fs::read(file).unwrap() == want);
}

#[test]
fn s3_one_byte_reader_gets_every_sentence_whole() {
    one_byte_reader(10_000);
}

#[test]
#[ignore = "minutes; run before a release"]
fn s3_one_byte_reader_gets_a_million_sentences_whole() {
    one_byte_reader(1_000_000);
}

/// More than a pty holds: writes are cut short all the time.
fn one_byte_reader(count: u32) {
    let mut far = FarEnd::new(&format!("onebyte-{count}"));
    let mut sink = far.sink(Pace::Recording);
    let sender = std::thread::spawn(move || {
        (0..count).for_each(|k| sink.send(k, &any(k)));
        sink.close(Duration::from_secs(600));
    });
    let (mut line, mut byte) = (Vec::new(), [0]);
    let (mut next, mut corrupt, mut bytes, mut last) = (0u32, 0, 0u64, Instant::now());
    while next < count && last.elapsed() < Duration::from_secs(20) {
        if !matches!(far.master.read(&mut byte), Ok(1)) {
            continue;
        }
        last = Instant::now();
        bytes += 1;
        line.push(byte[0]);
        if byte[0] == b'\n' {
            corrupt += usize::from(line != Sentence::of(next, &any(next)).encode().as_bytes());
            next += 1;
            line.clear();
        }
    }
    sender.join().unwrap();
    println!("figure: S3 {next} sentences ({count}), {bytes} bytes one at a time, {corrupt} corrupt, out of order or twice (0)");
    assert!(next == count && corrupt == 0 && line.is_empty(), "{next} of {count}, {corrupt} corrupt");
}

#[test]
fn s1_sending_costs_a_frame_nothing_while_nobody_reads_or_the_wire_is_stopped() {
    unread(Duration::from_secs(3));
}

#[test]
#[ignore = "two minutes; run before a release"]
fn s1_for_a_minute_each() {
    unread(Duration::from_secs(60));
}

/// Three reports a frame, on a wire that nobody reads, then on one that was stopped (XOFF). A send that waits for the wire is slow in every
/// run and by the kernel's own count; one whose processor was taken away by another program is not, so time without a processor is left out
/// and the best of three runs counts.
fn unread(span: Duration) {
    const MOST: Duration = Duration::from_micros(33_333 / 20);
    for stopped in [false, true] {
        let (mut p99, mut drained) = (Duration::MAX, Duration::MAX);
        for run in 0..3 {
            if p99 < MOST && drained < Duration::from_secs(2) {
                break;
            }
            let found = sending(span, stopped, run);
            (p99, drained) = (p99.min(found.0), drained.min(found.1));
        }
        println!(
            "figure: S1 {} for {} s: p99 of sending {} us of a frame's 33333 (1667, 5 %), the newest is there {} ms after reading began (2000)",
            if stopped { "stopped by XOFF" } else { "nobody reads" },
            span.as_secs(),
            p99.as_micros(),
            drained.as_millis()
        );
        assert!(p99 < MOST, "{p99:?}");
        assert!(drained < Duration::from_secs(2), "{drained:?}");
    }
}

/// How long this thread has stood ready without getting a processor, in all; nothing where the kernel does not count it.
fn kept_waiting() -> Duration {
    let counts = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(counts.split(' ').nth(1).and_then(|ns| ns.parse().ok()).unwrap_or(0))
}

/// The 99th percentile of what sending took, and the time until the newest report came once somebody read.
fn sending(span: Duration, stopped: bool, run: u32) -> (Duration, Duration) {
    let mut far = FarEnd::new(&format!("s1-{stopped}-{}-{run}", span.as_secs()));
    let mut sink = far.sink(Pace::Live);
    let near = std::fs::File::options().read(true).write(true).open(far.path()).unwrap();
    if stopped {
        rustix::termios::tcflow(&near, rustix::termios::Action::OOff).unwrap();
    }
    let (mut took, mut k) = (Vec::new(), 0);
    let start = Instant::now();
    while start.elapsed() < span {
        let (waiting, at) = (kept_waiting(), Instant::now());
        for report in [event(k), class(k + 1), health(k + 2)] {
            sink.send(k, &report);
            k += 1;
        }
        let all = at.elapsed();
        took.push(all.saturating_sub(kept_waiting() - waiting));
        // Oftener than frames come: enough of them for a percentile.
        std::thread::sleep(Duration::from_millis(5).saturating_sub(at.elapsed()));
    }
    if stopped {
        rustix::termios::tcflow(&near, rustix::termios::Action::OOn).unwrap();
    }
    let start = Instant::now();
    let newest = format!(",{},", (k - 1) % 10_000);
    far.read_until(Duration::from_secs(2), |all| {
        String::from_utf8_lossy(all)
            .lines()
            .any(|l| l.starts_with("$PLKTH") && l.contains(&newest) && Sentence::decode(l.as_bytes()).is_ok())
    });
    let drained = start.elapsed();
    took.sort_unstable();
    (took[took.len() * 99 / 100], drained)
}

#[test]
fn nobody_reads_then_everything_that_counts_comes() {
    let mut far = FarEnd::new("unread");
    let mut sink = far.sink(Pace::Live);
    let mut slowest = Duration::ZERO;
    const LAST: u32 = 9_999; // the last number before they begin anew; 100 kB of events, more than pty and outbox hold
    for k in 0..=LAST {
        let report = match k % 4 {
            0 => event(k),
            3 => health(k),
            _ => class(k),
        };
        let start = Instant::now();
        sink.send(k, &report);
        slowest = slowest.max(start.elapsed());
    }
    // A loaded machine may take the processor away for a moment; a blocked write would never end.
    assert!(slowest < Duration::from_millis(500), "a send took {slowest:?}");
    std::thread::sleep(Duration::from_millis(200));
    let start = Instant::now();
    let text = far.read_until(Duration::from_millis(500), |_| false);
    assert!(start.elapsed() < Duration::from_millis(2_500), "drained in {:?}", start.elapsed());

    let (mut events, mut gaps, mut last_seq, mut last_health) = (Vec::new(), Vec::new(), None, None);
    for line in String::from_utf8(text).unwrap().lines() {
        let seq = match Sentence::decode(line.as_bytes()).unwrap_or_else(|e| panic!("{line:?}: {e}")) {
            Sentence::Event { seq, .. } => {
                events.push(seq);
                seq
            }
            Sentence::Gap { from, to } => {
                gaps.push(from..=to);
                continue;
            }
            Sentence::Health { seq, .. } => {
                last_health = Some(seq);
                seq
            }
            Sentence::Class { seq, .. } => seq,
            other => panic!("{other:?}"),
        };
        assert!(last_seq < Some(seq), "{last_seq:?} then {seq}");
        last_seq = Some(seq);
    }
    assert_eq!(last_health, Some(LAST), "the newest status is said; last {last_seq:?}, {} events, gaps {gaps:?}", events.len());
    for k in (0..=LAST).step_by(4) {
        assert!(events.contains(&k) != gaps.iter().any(|gap| gap.contains(&k)), "event {k} is either said or announced as lost");
    }
    assert!(!gaps.is_empty() && events.len() >= 256, "{} events, gaps {gaps:?}", events.len());
}

#[test]
fn states_that_changed_while_the_wire_was_stopped_are_all_said_in_order() {
    let mut far = FarEnd::new("states");
    let mut sink = far.sink(Pace::Live);
    let near = std::fs::File::options().read(true).write(true).open(far.path()).unwrap();
    rustix::termios::tcflow(&near, rustix::termios::Action::OOff).unwrap();
    // Five states, of which each is over a moment later; between them what is said ten times a second.
    for k in 0..5 {
        sink.send(2 * k, &health(k));
        sink.send(2 * k + 1, &class(k));
    }
    rustix::termios::tcflow(&near, rustix::termios::Action::OOn).unwrap();
    let mut want: Vec<String> = (0..5).map(|k| Sentence::of(2 * k, &health(k)).encode().trim_end().into()).collect();
    want.push(Sentence::of(9, &class(4)).encode().trim_end().into());
    let mut lines = far.lines(want.len());
    lines.retain(|line| !line.starts_with("$PLKTC") || line == want.last().unwrap());
    assert_eq!(lines, want);
}

#[test]
fn port_that_comes_back_is_opened_again_and_no_half_sentence_is_accepted() {
    let mut far = FarEnd::new("replug");
    let mut sink = far.sink(Pace::Live);
    sink.send(0, &event(0));
    assert_eq!(far.lines(1).len(), 1);
    // Fill the wire, so that it breaks within a sentence.
    (1..=100).for_each(|k| sink.send(k, &event(k)));
    std::thread::sleep(Duration::from_millis(100)); // written, and stuck
    let mut seen_before = vec![0; 100];
    let _ = far.master.read(&mut seen_before);
    (far.master, far._near) = plug(&far.dir);
    sink.send(101, &event(101));
    let start = Instant::now();
    let seen = far.read_until(Duration::from_secs(4), |all| {
        std::str::from_utf8(all).is_ok_and(|text| text.contains("$PLKTE,101,") && text.ends_with('\n'))
    });
    println!("figure: S2 sentences again {} ms after the port came back (2000)", start.elapsed().as_millis());
    assert!(start.elapsed() < Duration::from_secs(2), "back after {:?}", start.elapsed());
    assert!(seen.starts_with(b"\r\n"), "a line end goes first");
    let text = String::from_utf8(seen).unwrap();
    let mut seqs = text.lines().skip(1).map(|line| match Sentence::decode(line.as_bytes()) {
        Ok(Sentence::Event { seq, .. }) => seq,
        other => panic!("{line:?}: {other:?}"),
    });
    let first = seqs.next().unwrap();
    assert!(seqs.eq(first + 1..=101), "from {first}: no sentence lost after the one that was under way, none twice");
}

#[test]
fn port_that_is_not_there_yet_is_waited_for() {
    let mut far = FarEnd::new("late");
    std::fs::rename(far.path(), far.dir.join("away")).unwrap();
    let mut sink = far.sink(Pace::Live);
    sink.send(7, &event(7));
    std::fs::rename(far.dir.join("away"), far.path()).unwrap();
    let want = Sentence::of(7, &event(7)).encode();
    assert_eq!(far.lines(1), [want.trim_end()]);
}

#[test]
fn queries_are_answered_on_the_same_wire() {
    let mut far = FarEnd::new("queries");
    let mut sink = far.sink(Pace::Live);
    sink.send(1, &health(1));
    assert_eq!(far.lines(1).len(), 1);
    for (query, starts) in [
        (Query::Version, "$PLKTA,VERSION,lookout 0.1.0,"),
        (Query::Bundle, "$PLKTA,BUNDLE,motion 3,01234567,"),
        (Query::Labels, "$PLKTA,LABELS,1/1,0,idle,left,right,toward,away,shake,covered,"),
        (Query::Status, "$PLKTA,STATUS,100,WARMING 3/16,29.9,1,,-7,0,,"),
    ] {
        far.master.write_all(query.sentence().as_bytes()).unwrap();
        let lines = far.lines(1);
        assert!(lines[0].starts_with(starts), "{lines:?}");
        assert!(matches!(Sentence::decode(lines[0].as_bytes()), Ok(Sentence::Answer(a)) if !matches!(a, Answer::Error(_))));
    }
}

#[test]
fn bad_command_lines_are_never_executed() {
    let mut far = FarEnd::new("flood");
    let mut sink = far.sink(Pace::Live);
    let mut reader = far.master.try_clone_native().unwrap();
    let flood = std::thread::spawn(move || {
        let mut random = Random(7);
        let mut bytes = Vec::new();
        for _ in 0..100_000 {
            bytes.clear();
            bytes.extend_from_slice(&random.broken_query());
            bytes.extend_from_slice(b"\r\n");
            far.master.set_timeout(Duration::from_secs(10)).unwrap();
            far.master.write_all(&bytes).unwrap();
        }
        far.master.write_all(Query::Version.sentence().as_bytes()).unwrap();
        far
    });
    let (mut got, mut buffer) = (Vec::new(), [0; 1024]);
    let start = Instant::now();
    while !got.ends_with(b"\n") && start.elapsed() < Duration::from_secs(120) {
        if let Ok(n) = reader.read(&mut buffer) {
            got.extend_from_slice(&buffer[..n]);
        }
    }
    let far = flood.join().unwrap();
    sink.close(Duration::from_secs(1));
    let text = String::from_utf8(got).unwrap();
    assert!(text.starts_with("$PLKTA,VERSION,lookout 0.1.0,") && text.lines().count() == 1, "{text:?}");
    drop(far);
}

#[test]
fn s4_hundreds_of_thousands_of_broken_lines_decode_to_nothing() {
    broken_lines(300_000);
}

#[test]
#[ignore = "a minute; run before a release"]
fn s4_ten_million_broken_lines_decode_to_nothing() {
    broken_lines(10_000_000);
}

/// Noise with a rate of wrong bits too: every line has one to eight changes.
fn broken_lines(count: u32) {
    let mut random = Random(11);
    let mut assembler = LineAssembler::default();
    let mut heard = 0;
    for _ in 0..count {
        let line = random.broken_query();
        assembler.feed(&line, |_| unreachable!("no line end yet"));
        assembler.feed(b"\n", |line| heard += usize::from(Sentence::decode(line).is_ok()));
    }
    println!("figure: S4 {count} bad command lines, {heard} executed (0)");
    assert_eq!(heard, 0);
}

#[test]
fn closing_keeps_its_limit_when_nobody_reads() {
    let far = FarEnd::new("close");
    let mut sink = far.sink(Pace::Live);
    (0..300).for_each(|k| sink.send(k, &event(k)));
    let start = Instant::now();
    sink.close(Duration::from_millis(200));
    assert!(start.elapsed() < Duration::from_millis(800), "{:?}", start.elapsed());
}

/// A small generator with a seed: the same lines every time.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % n
    }

    /// A byte that is no line end; a NUL, which a BREAK leaves, is one.
    fn byte(&mut self) -> u8 {
        loop {
            let byte = u8::try_from(self.below(256)).unwrap();
            if !matches!(byte, b'\r' | b'\n' | 0) {
                return byte;
            }
        }
    }

    /// One to eight changes to a query, or two queries run together; never an intact query.
    fn broken_query(&mut self) -> Vec<u8> {
        let queries = [Query::Status, Query::Version, Query::Labels, Query::Bundle].map(|q| q.sentence());
        loop {
            let mut line = queries[self.below(4)].trim_end().as_bytes().to_vec();
            for _ in 0..=self.below(8) {
                let at = self.below(line.len().max(1)).min(line.len().saturating_sub(1));
                match self.below(6) {
                    0 | 1 if !line.is_empty() => line[at] = self.byte(),
                    2 if line.len() > 1 => drop(line.remove(at)),
                    3 => line.insert(at, self.byte()),
                    4 if at + 1 < line.len() => line.swap(at, at + 1),
                    _ => {
                        let other = queries[self.below(4)].trim_end().as_bytes();
                        line.truncate(at);
                        line.extend_from_slice(&other[self.below(other.len())..]);
                    }
                }
            }
            if queries.iter().all(|q| q.trim_end().as_bytes() != line) {
                return line;
            }
        }
    }
}
