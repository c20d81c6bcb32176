//! The threads that listen: one a device, however many extras it gives.
//!
//! The hand-over is bounded: [`KEPT`] values a name, the oldest goes first, and of values that come within the same 10 ms only the last
//! is kept. No device is read more often than that, nor more than 16 kB at a time, so that a sensor that floods us waits for us. A device
//! that goes away, or is not there yet, is looked for again for ever, said once; meanwhile its values grow old and are missing. None of these
//! threads feeds the watchdog: a box whose receiver hangs still watches, and its rows say what is missing.
//!
//! A value is stamped when it is read. What a sensor takes to say it is not known here; it is the same in what `record` writes and `train` learns.

use super::nmea::Receiver;
use super::rows::Rows;
use super::{Extra, KEPT, Spec, Value};
use crate::complaint::Complaint;
use crate::report::port::{self, PortError};
use crate::source::Timestamp;
use heapless::Deque;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Longest sleep before a thread looks whether it is to stop, and pace at which files are looked at.
pub(super) const LOOK: Duration = Duration::from_millis(100);
/// First and longest wait before a device is tried again, as for the port of reports.
const RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(1));
/// Values of one name within the same slot of this length are one.
const SLOT_NS: u64 = 10_000_000;
/// An open device that has given nothing usable for this long is complained about: a wrong baud rate looks like that.
const SILENT: Duration = Duration::from_secs(10);

/// What a thread listens to.
pub(super) trait Device: Send {
    /// For messages.
    fn name(&self) -> String;
    /// What is missing when it is open and nothing usable comes.
    fn silence(&self) -> &'static str;
    /// Opens it.
    fn open(&mut self) -> Result<(), PortError>;
    /// What to wait for; `None`: it is only looked at now and then.
    fn fd(&self) -> Option<BorrowedFd<'_>>;
    /// Reads what is there without waiting. Numbers that are not finite say that the sensor does not know. An error: it is gone.
    fn read(&mut self, heard: &mut dyn FnMut(&[f32])) -> Result<(), String>;
    /// Lets go of it.
    fn close(&mut self);
}

type Queue = Deque<Value, KEPT>;

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    /// One queue a name.
    queues: Mutex<Box<[Queue]>>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Box<[Queue]>> {
        // A panic in another thread leaves queues that are still whole.
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, which: usize, value: Value) {
        let mut queues = self.lock();
        let Some(queue) = queues.get_mut(which) else { return };
        if queue.back().is_some_and(|last| last.at.0 / SLOT_NS == value.at.0 / SLOT_NS) {
            queue.pop_back();
        } else if queue.is_full() {
            queue.pop_front();
        }
        // There is room now.
        let _ = queue.push_back(value);
    }
}

/// The listening threads of a run; they end with it.
#[derive(Debug, Default)]
pub struct Listener {
    shared: Arc<Shared>,
    any: bool,
}

/// One device: how it is opened, and which of its numbers is which extra.
struct Job {
    device: Box<dyn Device>,
    spec: Spec,
    /// Place in the device's numbers, number of the extra.
    wanted: Vec<(usize, usize)>,
}

/// The receiver that this user may not open, of those from which `given` says that numbers come, and what helps. Asked where nobody waits until udev has
/// given it to its group.
pub fn denied<'a>(mut given: impl Iterator<Item = (&'a str, &'a str)>) -> Option<String> {
    given.find_map(|(name, text)| match Spec::read(name, text) {
        Ok(Spec::Nmea { path, .. }) => Some(format!("{}: {}", path.display(), port::denied(&path)?)),
        _ => None,
    })
}

impl Listener {
    /// Starts a thread for every device that the bundle's extras come from. `given`: name to text, see [`Spec`].
    ///
    /// # Errors
    /// A sentence, where a device can never be what it is said to be.
    pub fn start(extra: &[Extra], given: &BTreeMap<String, String>) -> Result<Self, String> {
        let mut jobs: Vec<Job> = Vec::new();
        for (which, extra) in extra.iter().enumerate() {
            let name = &extra.name;
            let Some(text) = given.get(name) else {
                log::warn!(
                    "the bundle reads {name:?} and extra.{name} in the configuration does not say from where: it is always missing"
                );
                continue;
            };
            let spec = Spec::read(name, text)?;
            let place = match &spec {
                Spec::Nmea { field, .. } => *field as usize,
                Spec::Rows { column, .. } => *column,
                Spec::None => continue,
            };
            match jobs.iter_mut().find(|job| same_device(&job.spec, &spec)) {
                Some(job) => match (&job.spec, &spec) {
                    (Spec::Nmea { baud: a, .. }, Spec::Nmea { baud: b, path, .. }) if a != b => {
                        return Err(format!("extra.{name}: {} at {b} baud, another extra says {a}", path.display()));
                    }
                    _ => job.wanted.push((place, which)),
                },
                None => jobs.extend(device(&spec).map(|device| Job { device, spec, wanted: vec![(place, which)] })),
            }
        }
        for name in given.keys().filter(|name| !extra.iter().any(|e| e.name == **name)) {
            log::info!("extra.{name}: the bundle does not read it, so nobody listens");
        }
        let shared = Arc::new(Shared::default());
        *shared.lock() = extra.iter().map(|_| Queue::new()).collect();
        let any = !jobs.is_empty();
        // Made before any thread is: whatever goes wrong from here on stops them.
        let listener = Self { shared: shared.clone(), any };
        for mut job in jobs {
            let opened = match job.device.open() {
                Err(PortError::Never(why)) => return Err(format!("{}: {why}", job.device.name())),
                Err(PortError::NotNow(why)) => Err(why),
                Ok(()) => Ok(()),
            };
            let shared = shared.clone();
            let thread = std::thread::Builder::new().name("extra".into());
            thread.spawn(move || work(&shared, job, opened)).map_err(|e| format!("extra thread: {e}"))?;
        }
        Ok(listener)
    }

    /// Hands over what came since the last time: number of the extra, value.
    pub fn drain(&self, mut each: impl FnMut(usize, Value)) {
        if !self.any {
            return;
        }
        for (which, queue) in self.shared.lock().iter_mut().enumerate() {
            while let Some(value) = queue.pop_front() {
                each(which, value);
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // They look up within LOOK; a process on its way out need not wait.
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

fn same_device(a: &Spec, b: &Spec) -> bool {
    match (a, b) {
        (Spec::Nmea { path: a, .. }, Spec::Nmea { path: b, .. }) | (Spec::Rows { path: a, .. }, Spec::Rows { path: b, .. }) => {
            a == b
        }
        _ => false,
    }
}

fn device(spec: &Spec) -> Option<Box<dyn Device>> {
    match spec {
        Spec::Rows { path, .. } => Some(Box::new(Rows::new(path.clone()))),
        Spec::Nmea { path, baud, .. } => Some(Box::new(Receiver::new(path.clone(), *baud))),
        Spec::None => None,
    }
}

fn work(shared: &Shared, job: Job, opened: Result<(), String>) {
    let Job { mut device, wanted, .. } = job;
    let (mut complaint, mut wait) = (Complaint::default(), RETRY.0);
    let (mut open, mut heard_at) = (false, Instant::now());
    let mut trouble = opened.err();
    if trouble.is_none() {
        log::info!("{}: open", device.name());
        open = true;
    }
    while !shared.stop.load(Ordering::Relaxed) {
        if open {
            let at = Timestamp::now();
            let done = device.read(&mut |row| {
                for (place, which) in &wanted {
                    let Some(v) = row.get(*place) else { continue };
                    let value = Some(*v).filter(|v| v.is_finite());
                    if value.is_some() {
                        heard_at = Instant::now();
                    }
                    shared.push(*which, Value { at, value });
                }
            });
            trouble = done.err();
            if heard_at.elapsed() > SILENT {
                complaint.say(format!("{}: {}; what it gives is missing", device.name(), device.silence()));
            } else if trouble.is_none() && heard_at + LOOK > Instant::now() {
                complaint.end(format_args!("{}: heard again", device.name()));
            }
        }
        if let Some(why) = trouble.take() {
            device.close();
            open = false;
            complaint.say(format!("{}: {why}; what it gives is missing, trying again", device.name()));
            sleep(shared, wait);
            wait = (wait * 2).min(RETRY.1);
        }
        if !open {
            match device.open() {
                Ok(()) => (open, wait, heard_at) = (true, RETRY.0, Instant::now()),
                Err(PortError::Never(why) | PortError::NotNow(why)) => trouble = Some(why),
            }
            continue;
        }
        rest(device.as_ref());
    }
}

/// Until something comes, at least a slot and at most [`LOOK`].
fn rest(device: &dyn Device) {
    match device.fd() {
        Some(fd) => {
            // A flood, or a device that hangs up without end, must not spin.
            let slot = Duration::from_nanos(SLOT_NS);
            std::thread::sleep(slot);
            let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
            let limit = Timespec { tv_sec: 0, tv_nsec: i64::from((LOOK - slot).subsec_nanos()) };
            // What is wrong with it, the next read will tell.
            if poll(&mut fds, Some(&limit)).is_err() {
                std::thread::sleep(LOOK);
            }
        }
        None => std::thread::sleep(LOOK),
    }
}

fn sleep(shared: &Shared, all: Duration) {
    let until = Instant::now() + all;
    while Instant::now() < until && !shared.stop.load(Ordering::Relaxed) {
        std::thread::sleep(LOOK.min(until.saturating_duration_since(Instant::now())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_thinned_to_one_value_in_ten_ms_and_bounded() {
        let shared = Shared::default();
        *shared.lock() = vec![Queue::new(), Queue::new()].into();
        // Ten a millisecond for ten seconds.
        for n in 0..100_000u64 {
            shared.push(0, Value { at: Timestamp(n * 100_000), value: Some(n as f32) });
        }
        shared.push(1, Value { at: Timestamp(5), value: None });
        let queues = shared.lock();
        assert_eq!((queues[0].len(), queues[1].len()), (KEPT, 1), "one does not push out the other");
        let values: Vec<f32> = queues[0].iter().filter_map(|v| v.value).collect();
        assert!(values.windows(2).all(|w| w[1] - w[0] == 100.0), "the last of every slot");
        assert_eq!(values.last(), Some(&99_999.0));
    }

    #[test]
    fn who_floods_us_waits_and_is_heard() {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        use std::io::Write;
        let path = std::env::temp_dir().join(format!("lookout-extra-flood-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        let given = [("a".to_string(), format!("rows:{}", path.display()))].into();
        let listener = Listener::start(&[Extra::named("a")], &given).unwrap();
        let mut writer = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        // What is no row takes no time to read.
        let text = format!("{}\n7\n", "x".repeat(4096));
        let (start, mut bytes) = (Instant::now(), 0);
        while start.elapsed() < Duration::from_secs(1) {
            writer.write_all(text.as_bytes()).unwrap();
            bytes += text.len();
        }
        // Behind what the FIFO holds 16 kB in 10 ms, and room for a rest that was cut short.
        let most = (1 << 17) + start.elapsed().as_millis() * 4096;
        assert!(bytes as u128 <= most, "{bytes} bytes read, at most {most} expected");
        let mut heard = vec![];
        listener.drain(|_, value| heard.push(value.value));
        assert!(!heard.is_empty() && heard.iter().all(|value| *value == Some(7.0)), "{heard:?}");
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn one_port_at_two_rates_is_refused() {
        let given = [("speed", "nmea:/dev/x,4800"), ("course", "nmea:/dev/x,9600")];
        let given = given.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect();
        let why = Listener::start(&[Extra::named("speed"), Extra::named("course")], &given).unwrap_err();
        assert_eq!(why, "extra.course: /dev/x at 9600 baud, another extra says 4800");
        let folder = [("a".to_string(), "rows:/tmp".to_string())].into();
        assert!(Listener::start(&[Extra::named("a")], &folder).unwrap_err().contains("is a folder"));
    }
}
