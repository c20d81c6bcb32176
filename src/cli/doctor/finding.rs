//! One fact about the machine, and how a list of them is printed.
//!
//! Names that devices give themselves are shown to a person on a terminal, so control characters are taken out.

use std::io::{self, Write};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    /// As it should be, or merely there.
    Ok,
    /// Worth knowing; nothing that the configuration needs.
    Note,
    /// Needed and broken; the exit code.
    Broken(u8),
}

/// One fact.
#[derive(Clone, Debug)]
pub struct Finding {
    area: &'static str,
    level: Level,
    says: String,
    fix: Option<String>,
    more: Vec<String>,
}

impl Finding {
    /// As it should be.
    pub fn ok(area: &'static str, says: impl Into<String>) -> Self {
        Self { area, level: Level::Ok, says: says.into(), fix: None, more: Vec::new() }
    }
    /// Worth knowing.
    pub fn note(area: &'static str, says: impl Into<String>) -> Self {
        Self { level: Level::Note, ..Self::ok(area, says) }
    }
    /// Needed and broken: exit code 1 (a device) or 2 (board, configuration, bundle).
    pub fn broken(area: &'static str, code: u8, says: impl Into<String>) -> Self {
        Self { level: Level::Broken(code), ..Self::ok(area, says) }
    }
    /// Broken where it is needed, else a note.
    pub fn bad(area: &'static str, needed: bool, says: impl Into<String>) -> Self {
        if needed { Self::broken(area, 1, says) } else { Self::note(area, says) }
    }
    /// What to do about it.
    pub fn fix(self, fix: impl Into<String>) -> Self {
        Self { fix: Some(fix.into()), ..self }
    }
    /// A line of detail.
    pub fn more(mut self, more: impl Into<String>) -> Self {
        self.more.push(more.into());
        self
    }
    /// The sentence, for tests.
    #[cfg(test)]
    pub fn says(&self) -> &str {
        &self.says
    }
    /// Is it broken and needed, for tests.
    #[cfg(test)]
    pub fn is_broken(&self) -> bool {
        matches!(self.level, Level::Broken(_))
    }
}

/// All of them.
#[derive(Debug, Default)]
pub struct Findings(Vec<Finding>);

impl Findings {
    pub fn add(&mut self, finding: Finding) {
        self.0.push(finding);
    }

    pub fn extend(&mut self, findings: Vec<Finding>) {
        self.0.extend(findings);
    }

    /// 0, or the worst: 2 (starting again does not help) before 1.
    pub fn code(&self) -> u8 {
        self.0.iter().map(|f| if let Level::Broken(code) = f.level { code } else { 0 }).max().unwrap_or(0)
    }

    /// Prints them and the verdict.
    pub fn print(&self, json: bool, out: &mut dyn Write) -> io::Result<()> {
        let broken = self.0.iter().filter(|f| matches!(f.level, Level::Broken(_))).count();
        if json {
            for f in &self.0 {
                let level = match f.level {
                    Level::Ok => "ok",
                    Level::Note => "note",
                    Level::Broken(_) => "broken",
                };
                let object = serde_json::json!({"area": f.area, "level": level, "says": f.says, "do": f.fix, "more": f.more});
                writeln!(out, "{object}")?;
            }
            let verdict = serde_json::json!({"ok": broken == 0, "broken": broken, "code": self.code()});
            return writeln!(out, "{verdict}");
        }
        let mut text = String::new();
        for f in &self.0 {
            let mark = match f.level {
                Level::Ok => ' ',
                Level::Note => '~',
                Level::Broken(_) => '!',
            };
            text += &format!("{mark} {:8} {}\n", f.area, plain(&f.says));
            for more in &f.more {
                text += &format!("           {}\n", plain(more));
            }
            if let Some(fix) = &f.fix {
                text += &format!("        -> {}\n", plain(fix));
            }
        }
        text += &match broken {
            0 => "\nNothing that the configuration needs is broken.\n".to_string(),
            1 => "\n1 thing to fix (marked !).\n".to_string(),
            n => format!("\n{n} things to fix (marked !).\n"),
        };
        out.write_all(text.as_bytes())
    }
}

fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_decides_and_names_stay_on_their_line() {
        let mut all = Findings::default();
        assert_eq!(all.code(), 0);
        all.add(Finding::note("camera", "evil\x1b[2Jname\n"));
        assert_eq!(all.code(), 0);
        all.add(Finding::bad("serial", true, "gone").fix("plug it in"));
        assert_eq!(all.code(), 1);
        all.add(Finding::broken("board", 2, "wrong").more("detail"));
        assert_eq!(all.code(), 2);
        let mut out = Vec::new();
        all.print(false, &mut out).expect("memory");
        let text = String::from_utf8(out).expect("text");
        assert!(text.starts_with("~ camera   evil?[2Jname?\n! serial   gone\n        -> plug it in\n! board"), "{text}");
        assert!(text.ends_with("2 things to fix (marked !).\n"), "{text}");
    }
}
