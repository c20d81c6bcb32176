//! GPIO chips and lines: labels, names, and who holds a line that we need. Which chip that is on is found as `run` finds it, for what it drives and
//! for the buttons that it reads.

use super::finding::Finding;
use super::rights;
use crate::board::{LineSpec, Wiring};
use crate::gpio::{self, CONSUMER, Trouble};
use crate::report::{Label, NOVELTY};
use gpiocdev::Chip;
use gpiocdev::line::Info;
use std::path::Path;

/// Named lines shown of a chip.
const SHOWN: usize = 64;

/// Lists chips; what `needed` names must be there and free.
pub fn look(needed: Option<&(Wiring, Vec<Label>)>) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut denied = false;
    for path in gpiocdev::chip::chips().unwrap_or_default() {
        if let Some((why, fix)) = rights::denied(&path) {
            found.push(Finding::bad("gpio", needed.is_some(), format!("{}: {why}", path.display())).fix(fix));
            denied = true;
            continue;
        }
        let opened = Chip::from_path(&path).and_then(|chip| Ok((chip.info()?, chip)));
        let (info, chip) = match opened {
            Ok(opened) => opened,
            Err(e) => {
                found.push(Finding::bad("gpio", needed.is_some(), format!("{}: cannot be asked: {e}", path.display())));
                continue;
            }
        };
        let lines = infos(&chip);
        let named: Vec<&str> = lines.iter().map(|l| l.name.as_str()).filter(|n| !n.is_empty() && *n != "-").collect();
        let text = format!("{} {}: {} lines, {} named", path.display(), info.label, info.num_lines, named.len());
        let mut finding = Finding::ok("gpio", text);
        if !named.is_empty() {
            finding = finding.more(named[..named.len().min(SHOWN)].join(" "));
        }
        found.push(finding);
        if info.num_lines > 0 && lines.is_empty() {
            found.push(
                Finding::bad("gpio", needed.is_some(), format!("{}: its lines cannot be asked about", path.display()))
                    .fix("GPIO needs the kernel's character device version 2: kernel 5.10 or later"),
            );
        }
    }
    if let Some((needed, labels)) = needed {
        found.extend(check(needed, labels, denied));
    } else if found.is_empty() {
        found.push(Finding::ok("gpio", "no chip; reports do not need one"));
    }
    found
}

fn infos(chip: &Chip) -> Vec<Info> {
    chip.line_info_iter().into_iter().flatten().filter_map(Result::ok).collect()
}

/// Are the lines we need there, and is each one free? `denied`: some chip may not be asked, which was said.
fn check(needed: &Wiring, labels: &[Label], denied: bool) -> Vec<Finding> {
    let heart = needed.heartbeat.iter().map(|line| ("heartbeat", line));
    let label = |class: usize| labels.get(class).map_or("a class", |l| l.as_str());
    let classes = needed.lines.iter().map(|(class, l)| (label(*class), &l.line));
    let driven: Vec<_> = heart.chain(classes).chain(needed.alarm.iter().map(|l| (NOVELTY, &l.line))).collect();
    let read: Vec<_> = needed.buttons.iter().map(|(_, button)| ("a button", &button.line)).collect();
    let mut found = Vec::new();
    for (who, jobs, out) in [("reports", driven, "`gpio` out of `report`"), ("buttons", read, "[gpio.buttons] out")] {
        if jobs.is_empty() {
            continue;
        }
        match gpio::find(&needed.chip, jobs.iter().map(|(_, line)| *line)) {
            Ok(chip) => found.extend(held(who, &jobs, chip.path(), &infos(&chip))),
            // Which of the chips it is cannot be told without asking them.
            Err(_) if denied => {}
            Err(Trouble::Never(why)) => found.push(
                Finding::broken("gpio", 2, format!("{why}; {who} need it"))
                    .fix("correct gpio.chip, or name the lines by their names"),
            ),
            Err(Trouble::Denied(_) | Trouble::NotNow(_)) => found.push(
                Finding::broken("gpio", 1, format!("no GPIO chip called {} can be used, and {who} need it", needed.chip))
                    .fix(format!("name a chip listed here as gpio.chip, or take {out}")),
            ),
        }
    }
    found
}

/// Are these lines of a chip there, and is each one free?
fn held(who: &str, jobs: &[(&str, &LineSpec)], path: &Path, lines: &[Info]) -> Vec<Finding> {
    let (mut found, mut ours) = (Vec::new(), 0);
    for (job, line) in jobs {
        let there = lines.iter().find(|l| match line {
            LineSpec::Offset(offset) => l.offset == *offset,
            LineSpec::Name(name) => l.name == *name,
        });
        match there {
            None => found.push(
                Finding::broken("gpio", 2, format!("{} has no line {line}, which is meant for {job}", path.display()))
                    .fix("name another line, or bring the kernel up to date: line names come with its device tree"),
            ),
            Some(l) if l.used && l.consumer == CONSUMER => ours += 1,
            Some(l) if l.used => found.push(
                Finding::broken("gpio", 1, format!("line {line}, meant for {job}, is held by {:?}", l.consumer))
                    .fix("end that program, take the overlay out, or name another line"),
            ),
            Some(_) => {}
        }
    }
    if found.is_empty() {
        let says = match ours {
            0 => format!("every line that {who} need is free"),
            _ => format!("every line that {who} need is there; a running lookout holds {ours}"),
        };
        found.push(Finding::ok("gpio", format!("{says}, on {}", path.display())));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needed(line: LineSpec) -> Wiring {
        Wiring { chip: "no-such-chip".into(), heartbeat: Some(line), lines: Vec::new(), alarm: None, buttons: Vec::new() }
    }

    #[test]
    fn a_missing_chip_is_broken_only_where_it_is_needed() {
        let found = look(Some(&(needed(LineSpec::Offset(1)), Vec::new())));
        assert!(found.iter().any(|f| f.is_broken() && f.says().contains("no-such-chip")), "{found:?}");
        assert!(!look(None).iter().any(Finding::is_broken));
    }

    #[test]
    fn a_missing_or_held_line_names_its_job() {
        let line = |name: &str, used, by: &str| Info { name: name.into(), used, consumer: by.into(), ..Info::default() };
        let lines = [line("A", true, "leds"), line("B", false, ""), line("D", true, CONSUMER)];
        let says = |name: &str| {
            let found = held("reports", &[("heartbeat", &LineSpec::Name(name.into()))], Path::new("/dev/gpiochip0"), &lines);
            assert!(found.len() == 1 && found[0].is_broken() == ["A", "C"].contains(&name), "{found:?}");
            found[0].says().to_string()
        };
        assert!(says("A").contains("meant for heartbeat, is held by \"leds\""));
        assert!(says("B").contains("every line that reports need is free"));
        assert!(says("C").contains("has no line C"));
        assert!(says("D").contains("a running lookout holds 1"));
    }
}
