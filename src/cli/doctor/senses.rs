//! Extras of the bundle: is there anything that gives them?
//!
//! One that is missing is marked as such and nothing breaks, so nothing here is worse than worth knowing. Nothing is opened.

use super::finding::Finding;
use super::rights;
use crate::bundle::Bundle;
use crate::config::Config;
use crate::extra::Spec;

/// One finding an extra.
pub fn look(config: &Config, bundle: &Bundle) -> Vec<Finding> {
    bundle.contract.extra.iter().map(|extra| one(&extra.name, config.extra.get(&extra.name).map(String::as_str))).collect()
}

fn one(name: &str, given: Option<&str>) -> Finding {
    let Some(text) = given else {
        return Finding::note("extra", format!("{name}: the bundle reads it, and nothing says from where; it is missing"))
            .fix("name it under [extra] in the configuration; \"none\" where this box has none");
    };
    let path = match Spec::read(name, text) {
        Ok(Spec::None) => return Finding::ok("extra", format!("{name}: this box has none")),
        // A configuration that was read has no other.
        Err(why) => return Finding::note("extra", why),
        Ok(Spec::Nmea { path, .. } | Spec::Rows { path, .. }) => path,
    };
    let at = path.display();
    if !path.exists() {
        return Finding::note("extra", format!("{name}: {at} is not there; it is missing until it comes"))
            .fix("plug the receiver in, or start the program that writes it (`mkfifo` makes a FIFO)");
    }
    match rights::denied(&path).filter(|_| text.starts_with("nmea:")) {
        Some((why, fix)) => Finding::note("extra", format!("{name}: {at}: {why}")).fix(fix),
        None => Finding::ok("extra", format!("{name}: from {at}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_extra_is_named_with_what_to_do_and_none_is_broken() {
        let says = |given| {
            let found = one("speed", given);
            assert!(!found.is_broken());
            found.says().to_string()
        };
        assert_eq!(says(None), "speed: the bundle reads it, and nothing says from where; it is missing");
        assert_eq!(says(Some("none")), "speed: this box has none");
        assert_eq!(says(Some("nmea:/dev/nowhere")), "speed: /dev/nowhere is not there; it is missing until it comes");
        assert_eq!(says(Some("rows:/dev/null")), "speed: from /dev/null");
    }
}
