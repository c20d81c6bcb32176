//! GPIO chips and lines by the names that people give them: what the lines that are driven and the buttons that are read have in common.

use crate::board::LineSpec;
use gpiocdev::Chip;
use gpiocdev::line::Offset;
use std::time::Duration;

/// Who the kernel says holds a line of ours.
pub const CONSUMER: &str = "lookout";
/// First and longest wait before a missing chip or line is tried again.
pub(crate) const RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(2));

/// Why lines cannot be had.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The configuration is wrong.
    Never(String),
    /// This user may not open the chip: to be tried again, since the kernel makes it root's and udev gives it to its group a while later.
    Denied(String),
    /// Not now: try again.
    NotNow(String),
}

/// The chip of this path, name or label; among several of one label, the one that has all of these lines that have a name.
///
/// # Errors
/// No such chip, more than one, or no right to open it.
pub(crate) fn find<'a>(called: &str, lines: impl Iterator<Item = &'a LineSpec> + Clone) -> Result<Chip, Trouble> {
    let unusable = |path: &std::path::Path, e: &gpiocdev::Error| {
        let text = format!("GPIO chip {}: cannot be opened: {e}", path.display());
        if is_denied(e) {
            Trouble::Denied(format!("{text}: add the user to the group of the device (`gpio` on many boards)"))
        } else {
            Trouble::NotNow(text)
        }
    };
    if called.starts_with('/') {
        return Chip::from_path(called).map_err(|e| unusable(called.as_ref(), &e));
    }
    let (mut found, mut others, mut denied) = (Vec::new(), Vec::new(), None);
    for path in gpiocdev::chip::chips().unwrap_or_default() {
        match Chip::from_path(&path).and_then(|chip| Ok((chip.info()?, chip))) {
            Ok((info, chip)) if info.label == called || info.name == called => found.push(chip),
            Ok((info, _)) => others.push(info.label),
            Err(e) => denied = Some(unusable(&path, &e)),
        }
    }
    if found.len() > 1 {
        let has = |chip: &Chip, line: &LineSpec| matches!(line, LineSpec::Offset(_)) || resolve(chip, called, line).is_ok();
        found.retain(|chip| lines.clone().all(|line| has(chip, line)));
    }
    match (found.pop(), found.pop(), denied) {
        (Some(chip), None, _) => Ok(chip),
        (Some(a), Some(b), _) => Err(Trouble::Never(format!(
            "GPIO chip {called}: {} and {} are both called so; name the lines, or the chip by its path",
            a.name(),
            b.name()
        ))),
        (None, _, Some(denied)) => Err(denied),
        (None, ..) => {
            let others = if others.is_empty() { "none".into() } else { others.join(", ") };
            Err(Trouble::NotNow(format!("GPIO chip {called} is not there (found: {others}); trying again")))
        }
    }
}

/// The offset of a line on this chip, which the configuration calls `called`.
///
/// # Errors
/// There is no such line.
pub(crate) fn resolve(chip: &Chip, called: &str, line: &LineSpec) -> Result<Offset, Trouble> {
    let lines = chip.info().map_err(|e| Trouble::NotNow(format!("GPIO chip {called}: {e}")))?.num_lines;
    match line {
        LineSpec::Offset(offset) if *offset < lines => Ok(*offset),
        LineSpec::Offset(offset) => {
            Err(Trouble::Never(format!("GPIO chip {called} has {lines} lines, there is no line {offset}")))
        }
        LineSpec::Name(name) => {
            let found = chip.find_line_info(name).map(|info| info.offset);
            found.ok_or_else(|| Trouble::Never(format!("GPIO chip {called} has no line called {name}")))
        }
    }
}

/// Why the kernel refused a line.
pub(crate) fn why_not(chip: &Chip, offset: Offset, e: &gpiocdev::Error) -> String {
    match chip.line_info(offset) {
        Ok(info) if info.used => format!("is held by `{}`", info.consumer),
        _ => format!("cannot be had: {e}"),
    }
}

fn is_denied(e: &gpiocdev::Error) -> bool {
    const EPERM: i32 = 1;
    const EACCES: i32 = 13;
    matches!(e, gpiocdev::Error::Os(errno) if [EPERM, EACCES].contains(&errno.0))
}
