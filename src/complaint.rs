//! Trouble is said when it begins and when it ends; at most once a minute per cause while it comes and goes.

use std::time::{Duration, Instant};

/// A cause that lasts is repeated this often.
const AGAIN: Duration = Duration::from_secs(60);

/// What one device complains about.
#[derive(Debug, Default)]
pub(crate) struct Complaint {
    /// What was logged within the last minute. A handful of causes exist, each with one text.
    said: Vec<(Instant, String)>,
    /// Something was logged that has not been taken back.
    open: bool,
}

impl Complaint {
    /// Logs `text` unless it was logged within the last minute.
    pub fn say(&mut self, text: String) {
        self.said.retain(|(at, _)| at.elapsed() < AGAIN);
        if !self.said.iter().any(|(_, said)| *said == text) {
            log::warn!("{text}");
            self.said.push((Instant::now(), text));
            self.open = true;
        }
    }

    /// Logs `text` if a complaint was logged since the last end.
    pub fn end(&mut self, text: std::fmt::Arguments<'_>) {
        if std::mem::take(&mut self.open) {
            log::info!("{text}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_that_comes_and_goes_is_said_once_a_minute() {
        let mut complaint = Complaint::default();
        for cause in ["gone", "busy", "gone", "busy"] {
            complaint.say(cause.into());
            complaint.end(format_args!("back"));
            assert!(!complaint.open);
        }
        assert_eq!(complaint.said.len(), 2);
    }
}
