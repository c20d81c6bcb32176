//! What a training came to, in words: for stdout, the page and the model card.

use crate::bundle::Decision;
use crate::train::course::{Course, Outcome};
use crate::train::judge::{Choice, Figures};
use crate::train::set::Set;
use std::path::Path;

/// The first column of the table of classes is at least so wide, letters: with the others a line of 66, which no terminal breaks.
const NARROW: usize = 24;

/// `82.4 % (77 to 87)`. Ticks of one recording are no answers apart from each other: of them the interval is over recordings, or left out where there are
/// too few.
pub fn share(f: &Figures, ticks: bool) -> String {
    let (right, all) = f.right();
    let interval = if ticks { f.interval() } else { Some(crate::cli::confusion::wilson(right, all)) };
    let interval = interval.map_or(String::new(), |(low, high)| format!(" ({low:.0} to {high:.0})"));
    format!("{:.1} %{interval}", 100.0 * f.accuracy())
}

/// What stands apart on the two sides, as far as anybody has said.
pub fn apart(set: &Set) -> &'static str {
    match (set.has_no_groups(), set.stretches) {
        (false, _) => "no group on both sides",
        (true, false) => "every clip is its own group",
        (true, true) => "every recording is its own group",
    }
}

/// What came out, as text: for stdout, the card and the page.
pub fn summary(set: &Set, course: &Course, o: &Outcome) -> String {
    let what = if set.stretches { "ticks" } else { "recordings" };
    let share = |f: &Figures| share(f, set.stretches);
    let (_, all) = o.found.device.right();
    let interval = match (set.stretches, o.found.device.interval()) {
        (false, _) => ", 95 % interval in brackets",
        (true, Some(_)) => ", 95 % interval over recordings in brackets",
        (true, None) => ", no interval from so few recordings",
    };
    let auc = |f: &Figures| f.auc.map_or(String::new(), |a| format!(", AUC {a:.3}"));
    let mut lines = vec![format!(
        "{} of {all} {what} right{interval}{}, mean recall {:.3}; {}, {}",
        share(&o.found.device),
        auc(&o.found.device),
        o.found.device.macro_recall(),
        apart(set),
        match (set.is_split(), course.folds, course.settings.patience) {
            (true, _, 0) => "judged as the split says".into(),
            (true, ..) => "judged as the split says, which also chose the epoch".into(),
            (_, 2.., _) => format!("{} parts", course.folds),
            (.., 0) => "one part judged".into(),
            _ => "one part judged, which also chose the epoch (--folds 5 does not)".into(),
        }
    )];
    if set.has_no_groups() {
        lines.push(format!(
            "no groups are known: {} may be on both sides, and then new ones are told apart less well than this; a table (CSV) with the columns \
             file,label,group says what belongs together (a scene, a person, a day)",
            if set.stretches { "recordings of one scene" } else { "cuts of one recording" }
        ));
    }
    let features = if course.reads_rows() { "" } else { " and features" };
    lines.push(format!("in float, before weights{features} became int8: {}{}", share(&o.found.float), auc(&o.found.float)));
    for (look, figures) in &o.baselines {
        if figures.right().1 > 0 {
            lines.push(format!("{}: {}{}", look.words(set.stretches), share(figures), auc(figures)));
        }
    }
    let wide = set.labels.iter().map(String::len).max().unwrap_or_default().max(NARROW);
    lines.push(format!("{:<wide$}{:>10}{:>9}{:>9}{:>14}", "class", what, "recall", "events", "false/10 min"));
    for (n, label) in set.labels.iter().enumerate() {
        let of: u32 = o.found.device.counts[n].iter().sum();
        let recall = o.found.device.recall()[n].map_or("-".into(), |r| format!("{:.1} %", r * 100.0));
        let e = &o.found.events[n];
        let (events, wrong) = if Some(n) == set.background {
            ("-".into(), "-".into())
        } else {
            (format!("{}/{}", e.found, e.all), format!("{:.2}", e.in_ten_minutes()))
        };
        lines.push(format!("{label:<wide$}{of:>10}{recall:>9}{events:>9}{wrong:>14}"));
    }
    if set.stretches {
        for (n, label) in set.labels.iter().enumerate().filter(|(n, _)| Some(*n) != set.background) {
            let [one, two] = o.found.reach[n];
            lines.push(format!(
                "{label}: {one} of {} found at 1 false alarm in 10 minutes, {two} at 2, by its own threshold",
                o.found.events[n].all
            ));
        }
    }
    let t = &o.terms;
    lines.push(format!(
        "temperature {}, calibration error {:.3}; a class is on from {} ({})",
        t.temperature,
        o.found.device.calibration_error(),
        t.enter,
        chosen(o.found.choice, course.false_alarms, set)
    ));
    lines.join("\n") + "\n"
}

/// Why a class is on from where it is, and what that is worth.
fn chosen(choice: Option<Choice>, allowed: f32, set: &Set) -> String {
    let Some(c) = choice else {
        let why = if set.background.is_some() { "no background clip was judged" } else { "there is no background" };
        return format!("the default, for {why}");
    };
    let found = if set.stretches {
        format!("{} in {:.1} minutes", c.found, c.of * 10.0)
    } else {
        format!("{} of {} background clips", c.found, c.of)
    };
    match (c.kept, c.proves) {
        (true, true) => format!("chosen for {allowed} false alarms, found {:.3}", c.rate()),
        (true, false) => {
            // Of a share exactly what the rule of three is near to.
            let least = if set.stretches {
                format!("{:.1} in 10 minutes", 3.0 / c.of)
            } else {
                format!("{:.0} %", 100.0 * (1.0 - 0.05f32.powf(1.0 / c.of)))
            };
            let default = Decision::default().enter;
            format!("{found}; that proves no rate below {least}, {allowed} was asked for, so nothing below {default} was tried")
        }
        (false, _) => format!("the highest that is tried; none keeps to {allowed} false alarms, at this one {found}"),
    }
}

/// A word of a command as a POSIX shell takes it for one (Shell Command Language, 2.2).
fn quoted(word: &str) -> String {
    // What means nothing to a shell, wherever it stands in a word behind the first.
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./,:=+@%".contains(&b);
    if !word.is_empty() && word.bytes().all(plain) { word.into() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

/// The model card.
pub fn card(clips: &Path, set: &Set, course: &Course, summary: &str) -> String {
    let command: Vec<String> = std::env::args().skip(1).map(|word| quoted(&word)).collect();
    let encoder = match (&course.settings.encoder, course.gait, &course.base) {
        (Some(plan), ..) => format!("new, {} products a tick, int8", course.heads * plan.products()),
        (None, Some(products), _) => format!("gait, nothing in it is trained, {products} products a tick, int8"),
        (None, None, Some(base)) => format!("of bundle {} {}", base.contract.name, base.contract.version),
        (None, None, None) => "none, rows of numbers".into(),
    };
    let h = &course.settings.head;
    format!(
        "# {}\n\nTrained by lookout {} on {} recordings of {}.\n\n```\nlookout {}\n```\n\n- Classes: {}\n- Encoder: {encoder}\n- Head: {} of {:?}, {} layer(s) of {}, window {} ticks of {} ms\n- Figures and curves: report.html\n\n```\n{summary}```\n\nLicence of the data: say it here before you pass this on.\n",
        course.terms.name,
        env!("CARGO_PKG_VERSION"),
        set.sequences.len(),
        clips.display(),
        command.join(" "),
        set.labels.join(", "),
        course.heads,
        h.cell,
        h.layers,
        h.hidden,
        set.window,
        course.terms.tick_ms,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::list::Listing;

    #[test]
    fn a_command_can_be_pasted() {
        let words = ["train", "my clips/day 1", "it's", "$HOME", "", "--rename", "a=b,c=-", "a\nb"];
        let line = format!("printf '%s\\0' {}", words.map(quoted).join(" "));
        let out = std::process::Command::new("sh").args(["-c", &line]).output().expect("a shell");
        assert_eq!(out.stdout, words.map(|word| format!("{word}\0")).concat().into_bytes(), "{line}");
    }

    #[test]
    fn a_threshold_is_said_with_what_it_is_worth() {
        let set = |background: Option<usize>, stretches: bool| {
            let labels = vec!["idle".to_string(), "fall".into()];
            Set::new(&Listing { labels, background, recordings: vec![], stretches }, vec![], 100, 4, 0)
        };
        let (clips, long) = (set(Some(0), false), set(Some(0), true));
        let few = Choice { enter: 0.6, found: 0, of: 2.0, kept: true, proves: false };
        let said = chosen(Some(few), 0.05, &clips);
        assert!(said.starts_with("0 of 2 background clips; that proves no rate below 78 %, 0.05 was asked for"), "{said}");
        assert!(said.ends_with("nothing below 0.6 was tried"), "{said}");
        let short = chosen(Some(Choice { found: 1, of: 0.5, ..few }), 2.0, &long);
        assert!(short.starts_with("1 in 5.0 minutes; that proves no rate below 6.0 in 10 minutes"), "{short}");
        let fight = Choice { enter: 0.75, found: 17, of: 105.0, kept: true, proves: true };
        assert_eq!(chosen(Some(fight), 0.2, &clips), "chosen for 0.2 false alarms, found 0.162");
        let none = chosen(Some(Choice { enter: 0.95, found: 9, of: 12.0, kept: false, proves: false }), 0.05, &clips);
        assert!(none.contains("none keeps to 0.05 false alarms, at this one 9 of 12 background clips"), "{none}");
        assert_eq!(chosen(None, 0.05, &clips), "the default, for no background clip was judged");
        assert_eq!(chosen(None, 0.05, &set(None, false)), "the default, for there is no background");
    }
}
