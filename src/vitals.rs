//! How the board itself feels: temperature, throttling, time since boot.
//!
//! Heat and a weak supply are invisible on a box without a screen unless the health line says them. Which files tell is
//! the board file's business (`[thermal]`); they are found once, kept open and read again in place, without allocating,
//! once a second. A file that cannot be read says nothing (`None`), never a made-up number.
//! Formats: Documentation/ABI/testing/sysfs-class-thermal, sysfs-class-hwmon; `get_throttled` of the Pi's firmware driver.

use crate::board::{Thermal, Throttle};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Open files that tell temperature and throttling.
#[derive(Debug)]
pub struct Vitals {
    zone: Option<File>,
    signs: Vec<Sign>,
}

/// One open file, and how to read it.
#[derive(Debug)]
enum Sign {
    /// Hexadecimal, throttled while one of these bits is set.
    Bits(File, u32),
    /// Decimal, throttled while above 0.
    Positive(File),
}

/// What the files said just now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Degrees Celsius; `None` where the board has no sensor that can be read.
    pub celsius: Option<i16>,
    /// Is the processor being slowed down or badly fed; `None` where the board cannot say.
    pub throttled: Option<bool>,
}

impl Vitals {
    /// Finds and opens what the board file names. What is not there is left out.
    pub fn open(thermal: &Thermal) -> Self {
        Self::open_under(Path::new("/"), thermal)
    }

    /// As [`Vitals::open`] with another root: a copy of `/sys`, for tests.
    pub fn open_under(root: &Path, thermal: &Thermal) -> Self {
        let under = |path: &Path| root.join(path.strip_prefix("/").unwrap_or(path));
        let zones = named(&under(Path::new("/sys/class/thermal")), "thermal_zone", "type");
        let zone = thermal.zone.iter().find_map(|wanted| zones.iter().find(|(name, _)| name == wanted));
        let mut signs = Vec::new();
        for sign in &thermal.throttled {
            match sign {
                Throttle::Flags { path, mask } => {
                    signs.extend(path.iter().find_map(|p| File::open(under(p)).ok()).map(|f| Sign::Bits(f, *mask)));
                }
                Throttle::Alarm { hwmon, file } => {
                    let devices = named(&under(Path::new("/sys/class/hwmon")), "hwmon", "name");
                    let dir = devices.iter().find(|(name, _)| name == hwmon).map(|(_, dir)| dir.join(file));
                    signs.extend(dir.and_then(|p| File::open(p).ok()).map(Sign::Positive));
                }
                Throttle::Cooling { device } => {
                    let devices = named(&under(Path::new("/sys/class/thermal")), "cooling_device", "type");
                    let ours = devices.iter().filter(|(name, _)| device.contains(name));
                    signs.extend(ours.filter_map(|(_, dir)| File::open(dir.join("cur_state")).ok()).map(Sign::Positive));
                }
            }
        }
        Self { zone: zone.and_then(|(_, dir)| File::open(dir.join("temp")).ok()), signs }
    }

    /// Reads every file once. Allocates nothing.
    pub fn read(&self) -> Reading {
        // The kernel gives thousandths of a degree.
        let milli = self.zone.as_ref().and_then(|f| number(f, 10));
        let celsius = milli.and_then(|m| i16::try_from(m.saturating_add(500).div_euclid(1000)).ok());
        let mut throttled = None;
        for sign in &self.signs {
            let yes = match sign {
                Sign::Bits(file, mask) => number(file, 16).map(|v| v & i64::from(*mask) != 0),
                Sign::Positive(file) => number(file, 10).map(|v| v > 0),
            };
            throttled = yes.map(|y| y || throttled == Some(true)).or(throttled);
        }
        Reading { celsius, throttled }
    }

    /// Does the board have a temperature, and how many signs of throttling can be read?
    pub fn found(&self) -> (bool, usize) {
        (self.zone.is_some(), self.signs.len())
    }
}

/// Time since boot, sleep included; not from any wall clock.
pub fn uptime() -> Duration {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let (secs, nanos) = (u64::try_from(t.tv_sec).unwrap_or(0), u32::try_from(t.tv_nsec).unwrap_or(0));
    Duration::new(secs, nanos)
}

/// Folders under `dir` that begin with `prefix`, in order of their numbers, with the text of their file `tag`.
fn named(dir: &Path, prefix: &str, tag: &str) -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok) {
        let name = entry.file_name();
        let Some(n) = name.to_str().and_then(|n| n.strip_prefix(prefix)).and_then(|n| n.parse::<u32>().ok()) else { continue };
        if let Ok(text) = std::fs::read_to_string(entry.path().join(tag)) {
            found.push((n, text.trim().to_string(), entry.path()));
        }
    }
    found.sort();
    found.into_iter().map(|(_, text, path)| (text, path)).collect()
}

/// The number a small file holds now, read from its start.
fn number(file: &File, radix: u32) -> Option<i64> {
    let mut bytes = [0; 32];
    let n = file.read_at(&mut bytes, 0).ok()?;
    let text = std::str::from_utf8(bytes.get(..n)?).ok()?.trim();
    i64::from_str_radix(text.strip_prefix("0x").unwrap_or(text), radix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A small copy of /sys that goes away at the end.
    struct Sys(PathBuf);

    impl Sys {
        fn new(test: &str, files: &[(&str, &str)]) -> Self {
            let sys = Self(std::env::temp_dir().join(format!("lookout-vitals-{test}-{}", std::process::id())));
            files.iter().for_each(|(path, text)| sys.set(path, text));
            sys
        }
        fn set(&self, path: &str, text: &str) {
            let path = self.0.join("sys").join(path);
            std::fs::create_dir_all(path.parent().expect("below the root")).expect("temporary folder");
            std::fs::write(path, text).expect("temporary file");
        }
    }

    impl Drop for Sys {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn thermal() -> Thermal {
        let flags = Throttle::Flags { path: vec!["/sys/no".into(), "/sys/fw/get_throttled".into()], mask: 0xf };
        let alarm = Throttle::Alarm { hwmon: "rpi_volt".into(), file: "in0_lcrit_alarm".into() };
        let cooling = Throttle::Cooling { device: vec!["cpu-throttle-alert".into()] };
        Thermal { zone: vec!["cpu-thermal".into()], throttled: vec![flags, alarm, cooling] }
    }

    #[test]
    fn temperature_and_flags_follow_the_files() {
        let sys = Sys::new(
            "pi",
            &[
                ("class/thermal/thermal_zone0/type", "gpu\n"),
                ("class/thermal/thermal_zone0/temp", "1000\n"),
                ("class/thermal/thermal_zone1/type", "cpu-thermal\n"),
                ("class/thermal/thermal_zone1/temp", "47512\n"),
                ("fw/get_throttled", "50000\n"),
                ("class/hwmon/hwmon3/name", "rpi_volt\n"),
                ("class/hwmon/hwmon3/in0_lcrit_alarm", "0\n"),
            ],
        );
        let vitals = Vitals::open_under(&sys.0, &thermal());
        assert_eq!(vitals.found(), (true, 2));
        assert_eq!(vitals.read(), Reading { celsius: Some(48), throttled: Some(false) });
        sys.set("fw/get_throttled", "50005\n");
        sys.set("class/thermal/thermal_zone1/temp", "-40600\n");
        assert_eq!(vitals.read(), Reading { celsius: Some(-41), throttled: Some(true) });
        sys.set("fw/get_throttled", "0\n");
        sys.set("class/hwmon/hwmon3/in0_lcrit_alarm", "1\n");
        assert_eq!(vitals.read().throttled, Some(true));
    }

    #[test]
    fn a_fan_is_no_throttling_and_an_alert_is() {
        let sys = Sys::new(
            "jetson",
            &[
                ("class/thermal/cooling_device0/type", "pwm-fan\n"),
                ("class/thermal/cooling_device0/cur_state", "3\n"),
                ("class/thermal/cooling_device10/type", "cpu-throttle-alert\n"),
                ("class/thermal/cooling_device10/cur_state", "0\n"),
            ],
        );
        let vitals = Vitals::open_under(&sys.0, &thermal());
        assert_eq!(vitals.read(), Reading { celsius: None, throttled: Some(false) });
        sys.set("class/thermal/cooling_device10/cur_state", "1\n");
        assert_eq!(vitals.read().throttled, Some(true));
    }

    #[test]
    fn nothing_there_says_nothing() {
        let sys = Sys::new("bare", &[("class/thermal/thermal_zone0/type", "cpu-thermal")]);
        sys.set("class/thermal/thermal_zone0/temp", "warm\n");
        let vitals = Vitals::open_under(&sys.0, &thermal());
        assert_eq!(vitals.read(), Reading::default());
        assert!(uptime() > Duration::ZERO);
    }
}
