//! Extras of the bundle: is there anything that gives them?
//!
//! One that is missing is marked as such and nothing breaks, so that is no worse than worth knowing; what can never give numbers is refused by `run`.
//! Nothing is opened.

use super::finding::Finding;
use super::rights;
use crate::bundle::Bundle;
use crate::config::Config;
use crate::extra::Spec;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

/// One finding an extra.
pub fn look(config: &Config, bundle: &Bundle) -> Vec<Finding> {
    bundle.contract.extra.iter().map(|extra| one(&extra.name, config.extra.get(&extra.name).map(String::as_str))).collect()
}

fn one(name: &str, given: Option<&str>) -> Finding {
    let Some(text) = given else {
        return Finding::note("extra", format!("{name}: the bundle reads it, and nothing says from where; it is missing"))
            .fix("name it under [extra] in the configuration; \"none\" where this box has none");
    };
    let (path, is_port) = match Spec::read(name, text) {
        Ok(Spec::None) => return Finding::ok("extra", format!("{name}: this box has none")),
        // A configuration that was read has no other.
        Err(why) => return Finding::note("extra", why),
        Ok(Spec::Nmea { path, .. }) => (path, true),
        Ok(Spec::Rows { path, .. }) => (path, false),
    };
    let at = path.display();
    let Ok(meta) = std::fs::metadata(&path) else {
        return Finding::note("extra", format!("{name}: {at} is not there; it is missing until it comes"))
            .fix("plug the receiver in, or start the program that writes it (`mkfifo` makes a FIFO)");
    };
    let kind = meta.file_type();
    // /dev/null and its like are of major number 1 (Linux, devices.txt).
    let is_device = kind.is_char_device() && rustix::fs::major(meta.rdev()) != 1;
    let (fits, wrong) = match is_port {
        true => (is_device, "no serial port"),
        false => (kind.is_fifo() || kind.is_file(), "neither a FIFO nor a file"),
    };
    if !fits {
        return Finding::broken("extra", 2, format!("{name}: {at} is {wrong}")).fix("name another one under [extra]");
    }
    match rights::denied(&path).filter(|_| is_port) {
        Some((why, fix)) => Finding::note("extra", format!("{name}: {at}: {why}")).fix(fix),
        None => Finding::ok("extra", format!("{name}: from {at}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_extra_is_named_and_broken_only_where_it_can_never_be_heard() {
        for (given, broken, says) in [
            (None, false, "speed: the bundle reads it, and nothing says from where; it is missing"),
            (Some("none"), false, "speed: this box has none"),
            (Some("nmea:/dev/nowhere"), false, "speed: /dev/nowhere is not there; it is missing until it comes"),
            (Some("rows:/proc/version"), false, "speed: from /proc/version"),
            (Some("rows:/dev/null"), true, "speed: /dev/null is neither a FIFO nor a file"),
            (Some("nmea:/dev/null"), true, "speed: /dev/null is no serial port"),
            (Some("nmea:/proc/version"), true, "speed: /proc/version is no serial port"),
        ] {
            let found = one("speed", given);
            assert_eq!((found.is_broken(), found.says()), (broken, says));
        }
    }
}
