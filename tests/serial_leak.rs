//! A serial port that comes and goes costs neither file descriptors nor threads. A test of its own, because both are the
//! whole process's.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod samples;

use lookout::report::{Pace, open};
use samples::{event, identity};
use serialport::{SerialPort, TTYPort};
use std::io::Read;
use std::time::{Duration, Instant};

fn entries(dir: &str) -> usize {
    std::fs::read_dir(dir).unwrap().count()
}

#[test]
fn replugging_leaks_nothing() {
    let link = std::env::temp_dir().join(format!("lookout-serial-leak-{}", std::process::id()));
    let plug = || {
        let (mut master, near) = TTYPort::pair().unwrap();
        master.set_timeout(Duration::from_millis(20)).unwrap();
        let _ = std::fs::remove_file(&link);
        std::os::unix::fs::symlink(near.name().unwrap(), &link).unwrap();
        (master, near)
    };
    let mut far = plug();
    let spec = format!("serial:{}", link.display()).parse().unwrap();
    let mut sink = open(&spec, &identity(), None, Pace::Live).unwrap();
    let mut counts = Vec::new();
    for k in 0..8 {
        let (start, mut byte) = (Instant::now(), [0; 64]);
        sink.send(k, &event(k));
        while far.0.read(&mut byte).is_err() {
            assert!(start.elapsed() < Duration::from_secs(20), "cycle {k}: nothing comes");
        }
        counts.push((entries("/proc/self/fd"), entries("/proc/self/task")));
        drop(far);
        far = plug();
    }
    sink.close(Duration::from_secs(1));
    std::fs::remove_file(&link).unwrap();
    assert!(counts.iter().all(|c| *c == counts[0]), "{counts:?}");
}
