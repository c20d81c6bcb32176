//! What is asked on the wire, and what is answered.
//!
//! Nothing that comes in can change anything on a box that is not armed (`[commands]`, `armed`): the only lines that have an effect are intact
//! queries, and their effect is an answer. On an armed box an intact command is put on inference's desk ([`super::desk`]), and what can
//! change is what was taught, nothing else. Noise is dropped up to the next line end; it is counted and never answered.

use super::desk::cut;
use super::envelope::{Line, MAX_COMMAND};
use super::sentence::{Answer, Page, Query, Sentence, Status};
use super::{Drops, Identity, Life, Report};
use heapless::{Deque, Vec};

/// Cuts what comes in into lines of bounded length. After a line that is too long it waits for the next line end.
#[derive(Debug, Default)]
pub struct LineAssembler {
    line: Vec<u8, { MAX_COMMAND - 2 }>,
    overlong: bool,
}

impl LineAssembler {
    /// Calls `each` for every whole line in `bytes` and what came before them, without line ends; empty lines are skipped. A NUL ends a line too:
    /// that is how a BREAK comes in, and the question behind it is whole.
    pub fn feed(&mut self, bytes: &[u8], mut each: impl FnMut(&[u8])) {
        for &byte in bytes {
            if matches!(byte, b'\r' | b'\n' | 0) {
                if !self.overlong && !self.line.is_empty() {
                    each(&self.line);
                }
                self.reset();
            } else if self.line.push(byte).is_err() {
                self.overlong = true;
            }
        }
    }

    /// Forgets the beginning of a line: for a wire that was opened again.
    pub fn reset(&mut self) {
        self.line.clear();
        self.overlong = false;
    }
}

/// What waits for its answer.
#[derive(Clone, Copy)]
enum Asked {
    Query(Query),
    /// A command that was not even put down, and why.
    Refused(&'static str),
}

/// Queries that wait for their answer, and where the answers come from.
pub(super) struct Replies {
    identity: Identity,
    status: Option<Status>,
    drops: Drops,
    age: (Option<u32>, Option<u32>),
    life: Life,
    /// More questions than this at a time are dropped: a reader has no use for the answers anyway.
    asked: Deque<Asked, 8>,
    /// The page of labels that is next, from 1, and the id of its first label.
    page: Option<(u16, usize)>,
}

impl Replies {
    pub fn new(mut identity: Identity) -> Self {
        identity.desk = identity.desk.for_a_wire();
        let (drops, age, life) = Default::default();
        Self { identity, status: None, drops, age, life, asked: Deque::new(), page: None }
    }

    /// Remembers the last health report.
    pub fn note(&mut self, report: &Report) {
        if let Report::Health(health) = report {
            self.status = Some(Status::of(health));
            (self.drops, self.age) = (health.drops, (health.p50_ms, health.p99_ms));
            self.life = health.life.unwrap_or(self.life);
        }
    }

    /// Takes a line from the wire. True if it was a query or a command.
    pub fn hear(&mut self, line: &[u8]) -> bool {
        let asked = match Sentence::decode(line) {
            Ok(Sentence::Query(query)) => Asked::Query(query),
            Ok(Sentence::Command(command)) => match self.identity.desk.put(command) {
                // Inference answers when it is done.
                Ok(()) => return true,
                Err(why) => Asked::Refused(why),
            },
            _ => return false,
        };
        // A full queue drops the question; the asker will ask again.
        let _ = self.asked.push_back(asked);
        true
    }

    /// The next line to answer with.
    pub fn next(&mut self) -> Option<Line> {
        let answer = match self.page {
            Some((page, first)) => self.labels(page, first),
            None => match self.asked.pop_front() {
                Some(Asked::Query(query)) => self.answer(query),
                Some(Asked::Refused(why)) => Answer::Error(cut(why)),
                None => self.identity.desk.outcome()?.map_or_else(Answer::Error, Answer::Teach),
            },
        };
        Some(Sentence::Answer(answer).encode())
    }

    fn answer(&mut self, query: Query) -> Answer {
        match query {
            Query::Status => Answer::Status(self.status.clone()),
            Query::Drops => Answer::Drops(self.drops),
            Query::Age => Answer::Age(self.age.0, self.age.1),
            Query::Uptime => Answer::Uptime(self.life),
            Query::Version => Answer::Version(cut(&self.identity.version)),
            Query::Bundle => Answer::Bundle { name: cut(&self.identity.bundle), hash: cut(&self.identity.hash) },
            Query::Labels => {
                self.identity.labels = self.identity.desk.labels().unwrap_or_else(|| std::mem::take(&mut self.identity.labels));
                self.labels(1, 0)
            }
            Query::Unknown => Answer::Error(cut("unknown query")),
        }
    }

    fn labels(&mut self, page: u16, first: usize) -> Answer {
        let (names, next) = fill(&self.identity.labels, first);
        let mut pages = page;
        let mut from = next;
        while from < self.identity.labels.len() {
            from = fill(&self.identity.labels, from).1;
            pages = pages.saturating_add(1);
        }
        self.page = (next < self.identity.labels.len()).then_some((page + 1, next));
        Answer::Labels { page, pages, first: u8::try_from(first).unwrap_or(u8::MAX), names }
    }
}

/// As many labels as fit into one page, and the first one of the next page.
fn fill(labels: &[String], first: usize) -> (Page, usize) {
    let mut names = Page::new();
    let mut at = first;
    while let Some(label) = labels.get(at).filter(|_| at <= usize::from(u8::MAX)) {
        let comma = usize::from(at > first);
        if at > first && names.len() + comma + label.len() > names.capacity() {
            return (names, at);
        }
        // A label is at most 32 bytes when the bundle was read: the first one of a page always fits.
        let _ = if comma > 0 { names.push(',') } else { Ok(()) };
        let _ = names.push_str(label);
        at += 1;
    }
    (names, labels.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Label;
    use crate::report::desk::{Command, Desk};
    use crate::report::tests::health;
    use heapless::String as Text;

    fn replies(labels: Vec<String, 300>) -> Replies {
        let labels = labels.into_iter().collect();
        Replies::new(Identity {
            version: "lookout 0.1.0".into(),
            bundle: "motion 3".into(),
            hash: "0011aabbccdd".into(),
            labels,
            ..Identity::default()
        })
    }

    fn ask(replies: &mut Replies, query: Query) -> String {
        assert!(replies.hear(query.sentence().trim_end().as_bytes()));
        let mut text = String::new();
        while let Some(line) = replies.next() {
            text.push_str(&line[..line.len() - 10]);
            text.push('\n');
            assert!(Sentence::decode(line.as_bytes()).is_ok(), "{line}");
        }
        text
    }

    #[test]
    fn every_query_is_answered() {
        let mut replies = replies(["idle", "left", "right"].map(String::from).into_iter().collect());
        assert_eq!(ask(&mut replies, Query::Status), "$PLKTA,STATUS,,,,,,,,\n");
        replies.note(&health());
        assert_eq!(ask(&mut replies, Query::Status), "$PLKTA,STATUS,61200,WARMING 3/16,29.9,4,,-5,0,\n");
        assert_eq!(ask(&mut replies, Query::Drops), "$PLKTA,DROPS,1,1,2,0\n");
        assert_eq!(ask(&mut replies, Query::Age), "$PLKTA,AGE,,\n");
        assert_eq!(ask(&mut replies, Query::Uptime), "$PLKTA,UPTIME,62,1,killed\n");
        assert_eq!(ask(&mut replies, Query::Version), "$PLKTA,VERSION,lookout 0.1.0\n");
        assert_eq!(ask(&mut replies, Query::Bundle), "$PLKTA,BUNDLE,motion 3,0011aabb\n");
        assert_eq!(ask(&mut replies, Query::Labels), "$PLKTA,LABELS,1/1,0,idle,left,right\n");
        let unknown = super::super::envelope::seal(&Text::try_from("PLKTQ,REBOOT").unwrap());
        assert!(replies.hear(unknown.as_bytes()));
        assert!(replies.next().unwrap().starts_with("$PLKTA,ERROR,unknown query,"));
    }

    #[test]
    fn a_command_is_put_down_on_an_armed_box_and_refused_on_any_other() {
        let command = |word: &str| super::super::envelope::seal(&Text::try_from(word).unwrap());
        let mut asleep = replies(Vec::new());
        assert!(asleep.hear(command("PLKTQ,TEACH,circling").as_bytes()));
        assert!(asleep.next().unwrap().starts_with("$PLKTA,ERROR,not armed; see [commands],"));
        let desk = Desk::open(true);
        let mut armed = Replies::new(Identity { desk: desk.clone(), ..Identity::default() });
        assert!(armed.hear(command("PLKTQ,TEACH,circling").as_bytes()));
        assert!(armed.next().is_none(), "inference answers");
        assert!(armed.hear(command("PLKTQ,KEEP,circling").as_bytes()));
        assert!(armed.next().unwrap().starts_with("$PLKTA,ERROR,busy"));
        let (taken, asker) = desk.take().unwrap();
        assert_eq!(taken, Command::Teach(Label::try_from("circling").unwrap()));
        desk.say(asker, Ok("showing circling".into()));
        let mut other = Replies::new(Identity { desk: desk.clone(), ..Identity::default() });
        assert!(other.next().is_none(), "only who asked is answered");
        assert!(armed.next().unwrap().starts_with("$PLKTA,TEACH,showing circling,"));
        assert!(armed.hear(command("PLKTQ,KEEP,circling").as_bytes()), "too soon");
        assert!(armed.next().unwrap().starts_with("$PLKTA,ERROR,busy"));
        // A label that cannot be one is no command.
        assert!(armed.hear(command("PLKTQ,TEACH,../../etc").as_bytes()));
        assert!(armed.next().unwrap().starts_with("$PLKTA,ERROR,unknown query,"));
        assert_eq!(desk.take(), None);
    }

    #[test]
    fn many_labels_come_on_numbered_pages() {
        let all: Vec<String, 300> = (0..256).map(|k| format!("{k:0>width$}", width = [3, 32, 10][k % 3])).collect();
        let mut replies = replies(all.clone());
        let text = ask(&mut replies, Query::Labels);
        let pages = text.lines().count();
        let mut seen = std::vec::Vec::new();
        for (k, line) in text.lines().enumerate() {
            let mut fields = line.split(',').skip(2);
            assert_eq!(fields.next().unwrap(), format!("{}/{pages}", k + 1));
            assert_eq!(fields.next().unwrap(), seen.len().to_string());
            seen.extend(fields.map(String::from));
        }
        assert_eq!(seen, all.into_iter().collect::<std::vec::Vec<_>>());
    }

    #[test]
    fn no_labels_is_one_empty_page() {
        assert_eq!(ask(&mut replies(Vec::new()), Query::Labels), "$PLKTA,LABELS,1/1,0,\n");
    }

    #[test]
    fn lines_are_cut_at_either_end_and_overlong_ones_dropped() {
        let mut assembler = LineAssembler::default();
        let mut seen = std::vec::Vec::new();
        let long = "x".repeat(500);
        for part in ["a", "b\r\nc\r\r", &long, "tail\nd\n", &long[..126], "\n", &long[..127], "\n", "\0e\0\0f\n"] {
            assembler.feed(part.as_bytes(), |line| seen.push(line.len()));
        }
        assert_eq!(seen, [2, 1, 1, 126, 1, 1]);
    }

    #[test]
    fn questions_beyond_the_bound_are_dropped() {
        let mut replies = replies(Vec::new());
        for _ in 0..100 {
            replies.hear(Query::Version.sentence().as_bytes());
        }
        assert_eq!(std::iter::from_fn(|| replies.next()).count(), 8);
    }
}
