//! How good it is: figures over recordings that were not learnt from.
//!
//! A clip is answered by the mean of its ticks' probabilities. Long recordings are judged tick by tick and by events. A call is the moment at which a
//! class comes on, and one that stays on is a call again every 8 s. A stretch of a class is found when such a call falls into it or within 2 s of
//! it; every call that is not near one is a false alarm. So an alarm that is always on finds some, and pays for it all the time.

use super::set::Set;
use crate::decision::{AGAIN, Decision, Thresholds, softmax};
use crate::report::{Edge, Label};
use crate::source::Timestamp;
use std::time::Duration;

/// How far from a stretch a call may be.
const NEAR_MS: u64 = 2_000;
/// Recordings below which an interval over them says nothing.
const FEW: usize = 5;
/// A class ends below this part of the probability at which it starts: near the default contract's 0.4 of 0.6, far enough that noise ends nothing.
const LEAVE: f32 = 0.6;
/// Bars of the reliability diagram.
pub const BINS: usize = 10;

/// Figures over some recordings.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Clips, or ticks of long recordings: `[truth][answer]`.
    pub counts: Vec<Vec<u32>>,
    /// Mean cross-entropy of labelled ticks, every recording the same.
    pub loss: f32,
    /// Area under the curve of "not background" against background (two classes: the other one against it), over clips or ticks.
    pub auc: Option<f32>,
    /// What that is of: how far each answer is from the background, and whether it should be.
    pub(super) scores: Vec<(f32, bool)>,
    /// Of each tenth of stated probability: answers, sum of stated probability, right ones.
    pub bins: [(u32, f32, u32); BINS],
    /// Right answers and all, of each recording that gave any.
    pub recordings: Vec<(u32, u32)>,
    /// The answer of every clip.
    pub clips: Vec<Clip>,
}

/// What was said of a clip.
#[derive(Clone, Copy, Debug)]
pub struct Clip {
    /// Which recording of the set.
    pub recording: usize,
    /// The class it was called.
    pub said: usize,
    /// Probability of that.
    pub p: f32,
}

impl Figures {
    /// Of these logits, `[ticks * classes]` for each recording of `of`.
    pub fn of(set: &Set, of: &[usize], logits: &[Vec<f32>], temperature: f32) -> Self {
        let classes = set.labels.len();
        let mut f = Self { counts: vec![vec![0; classes]; classes], ..Self::default() };
        let (mut recordings, mut scores) = (0, Vec::new());
        for (n, logits) in of.iter().zip(logits) {
            let s = &set.sequences[*n];
            let (mut mean, mut loss, mut ticks) = (vec![0.0f32; classes], 0.0, 0);
            let mut own = (0, 0);
            for (logits, class) in logits.chunks_exact(classes).zip(&s.classes) {
                let mut p = logits.to_vec();
                softmax(&mut p, temperature);
                mean.iter_mut().zip(&p).for_each(|(m, p)| *m += p / s.classes.len() as f32);
                if let Some(class) = class {
                    loss -= p[*class].max(1e-9).ln();
                    ticks += 1;
                    if s.whole.is_none() {
                        own = (own.0 + u32::from(f.answer(set, *class, &p, &mut scores)), own.1 + 1);
                    }
                }
            }
            if ticks > 0 {
                f.loss += loss / ticks as f32;
                recordings += 1;
            }
            if let Some(class) = s.whole {
                own = (u32::from(f.answer(set, class, &mean, &mut scores)), 1);
                let said = likeliest(&mean);
                f.clips.push(Clip { recording: *n, said, p: mean[said] });
            }
            f.recordings.extend(Some(own).filter(|own| own.1 > 0));
        }
        f.loss /= recordings.max(1) as f32;
        f.auc = auc(&mut scores);
        f.scores = scores;
        f
    }

    /// Of one answer each, given as logits. `lengths`: how many of them, one after the other, are of one recording.
    pub fn of_answers(set: &Set, truths: &[u32], logits: Vec<Vec<f32>>, lengths: &[usize]) -> Self {
        let classes = set.labels.len();
        let mut f = Self { counts: vec![vec![0; classes]; classes], ..Self::default() };
        let mut scores = Vec::new();
        let mut answers = truths.iter().zip(logits);
        for length in lengths.iter().filter(|length| **length > 0) {
            let mut own = (0, 0);
            for (truth, mut p) in answers.by_ref().take(*length) {
                softmax(&mut p, 1.0);
                own = (own.0 + u32::from(f.answer(set, *truth as usize, &p, &mut scores)), own.1 + 1);
            }
            f.recordings.push(own);
        }
        f.auc = auc(&mut scores);
        f.scores = scores;
        f
    }

    /// Takes one answer; is it right?
    fn answer(&mut self, set: &Set, truth: usize, p: &[f32], scores: &mut Vec<(f32, bool)>) -> bool {
        let best = likeliest(p);
        self.counts[truth][best] += 1;
        let bin = &mut self.bins[((p[best] * BINS as f32) as usize).min(BINS - 1)];
        *bin = (bin.0 + 1, bin.1 + p[best], bin.2 + u32::from(truth == best));
        let calm = set.background.or((p.len() == 2).then_some(0));
        if let Some(calm) = calm {
            scores.push((1.0 - p[calm], truth != calm));
        }
        truth == best
    }

    /// Takes over the answers of another part.
    pub fn add(&mut self, other: &Self) {
        if self.counts.is_empty() {
            *self = other.clone();
            return;
        }
        for (mine, theirs) in self.counts.iter_mut().flatten().zip(other.counts.iter().flatten()) {
            *mine += theirs;
        }
        for (mine, theirs) in self.bins.iter_mut().zip(other.bins) {
            *mine = (mine.0 + theirs.0, mine.1 + theirs.1, mine.2 + theirs.2);
        }
        self.recordings.extend(&other.recordings);
        self.clips.extend(&other.clips);
        self.scores.extend(&other.scores);
        self.auc = auc(&mut self.scores);
    }

    /// Right answers and all.
    pub fn right(&self) -> (u32, u32) {
        let right = self.counts.iter().enumerate().map(|(n, row)| row[n]).sum();
        (right, self.counts.iter().flatten().sum())
    }

    /// Share of right answers.
    pub fn accuracy(&self) -> f32 {
        let (right, all) = self.right();
        right as f32 / all.max(1) as f32
    }

    /// The 95 % interval of [`Figures::accuracy`] in per cent where many answers are of one recording: neighbouring ticks are right or wrong together, so it
    /// is how far recordings differ that counts (the cluster-robust error of a ratio). `None` of fewer than five, which say nothing about that.
    pub fn interval(&self) -> Option<(f64, f64)> {
        let (right, all) = self.right();
        if self.recordings.len() < FEW || all == 0 {
            return None;
        }
        let p = f64::from(right) / f64::from(all);
        let off = |(right, all): &(u32, u32)| (f64::from(*right) - p * f64::from(*all)).powi(2);
        let spread = 1.959_964 * self.recordings.iter().map(off).sum::<f64>().sqrt() / f64::from(all);
        Some(((p - spread).max(0.0) * 100.0, (p + spread).min(1.0) * 100.0))
    }

    /// Share found of each class; `None` where there was none.
    pub fn recall(&self) -> Vec<Option<f32>> {
        let of = |(n, row): (usize, &Vec<u32>)| {
            Some(row.iter().sum::<u32>()).filter(|all| *all > 0).map(|all| row[n] as f32 / all as f32)
        };
        self.counts.iter().enumerate().map(of).collect()
    }

    /// Mean of the recalls.
    pub fn macro_recall(&self) -> f32 {
        let known: Vec<f32> = self.recall().into_iter().flatten().collect();
        known.iter().sum::<f32>() / known.len().max(1) as f32
    }

    /// Mean distance between stated and true probability, each tenth by how often it was stated (Guo et al. 2017).
    pub fn calibration_error(&self) -> f32 {
        let all: u32 = self.bins.iter().map(|b| b.0).sum();
        self.bins.iter().map(|(n, p, right)| (p - *right as f32).abs() * f32::from(u8::from(*n > 0))).sum::<f32>()
            / all.max(1) as f32
    }
}

/// The class of the highest probability.
fn likeliest(p: &[f32]) -> usize {
    (0..p.len()).max_by(|a, b| p[*a].total_cmp(&p[*b])).unwrap_or(0)
}

/// Share of pairs in which the positive one scores higher; ties count half. What is not a number ranks as the order of its bits says.
pub(super) fn auc(scores: &mut [(f32, bool)]) -> Option<f32> {
    scores.sort_by(|a, b| a.0.total_cmp(&b.0));
    let positives = scores.iter().filter(|s| s.1).count();
    let pairs = positives * (scores.len() - positives);
    let (mut rank, mut at) = (0.0f64, 0);
    while at < scores.len() {
        // By the order they were sorted in: a NaN is its own equal there, and by `==` it would never be passed.
        let ties = scores[at..].iter().take_while(|s| s.0.total_cmp(&scores[at].0).is_eq()).count();
        let middle = at as f64 + (ties as f64 + 1.0) / 2.0;
        rank += middle * scores[at..at + ties].iter().filter(|s| s.1).count() as f64;
        at += ties;
    }
    let p = positives as f64;
    (pairs > 0).then(|| ((rank - p * (p + 1.0) / 2.0) / pairs as f64) as f32)
}

/// The temperature under which these logits are least surprised by the truth.
pub fn temperature(set: &Set, of: &[usize], logits: &[Vec<f32>]) -> f32 {
    // 0.4 to 4 in 47 steps of 5 %: finer ones would not be seen in a probability of two digits.
    let choices = (0..47).map(|n| 0.4 * 1.05f32.powi(n));
    let loss = |t: f32| Figures::of(set, of, logits, t).loss;
    choices.map(|t| (t, loss(t))).min_by(|a, b| a.1.total_cmp(&b.1)).map_or(1.0, |(t, _)| (t * 1000.0).round() / 1000.0)
}

/// Events of one class over long recordings, or alarms over clips.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Events {
    /// Stretches (or clips) of a class that is not background.
    pub all: u32,
    /// Of those, called in time and by name.
    pub found: u32,
    /// Calls with no such stretch near; one that stays on is one again every 8 s.
    pub false_alarms: u32,
    /// Minutes that were watched.
    pub minutes: f32,
}

impl Events {
    /// False alarms in ten minutes.
    pub fn in_ten_minutes(&self) -> f32 {
        self.false_alarms as f32 * 10.0 / self.minutes.max(1e-6)
    }
}

/// What `lookout` would call with these thresholds, class by class; where one is named, as if there were nobody to call the others. The
/// background has none.
pub fn events(
    set: &Set,
    of: &[usize],
    logits: &[Vec<f32>],
    temperature: f32,
    tick_ms: u32,
    thresholds: Thresholds,
    only: Option<usize>,
) -> Vec<Events> {
    let classes = set.labels.len();
    // Without a background there is one more class, which is never seen.
    let background = set.background.unwrap_or(classes);
    let names = set.labels.iter().map(|l| Label::try_from(l.as_str()).unwrap_or_default());
    let names: Vec<Label> = names.chain((background == classes).then(Label::default)).collect();
    let never = Thresholds { enter: 2.0, ..thresholds };
    let each = |class: usize| if only.is_none_or(|only| only == class) { thresholds } else { never };
    let each: Vec<Thresholds> = (0..names.len()).map(each).collect();
    let mut found = vec![Events::default(); classes];
    for (n, logits) in of.iter().zip(logits) {
        let s = &set.sequences[*n];
        let mut decision = Decision::new(&names, &each, background);
        let mut calls: Vec<(usize, u64, u64)> = Vec::new();
        let at = |t: usize| Timestamp::from_ms(t as u64 * u64::from(tick_ms));
        let mut take = |e: &crate::report::Event| {
            if e.edge == Edge::End {
                calls.push((usize::from(e.class.0), e.onset.ms(), e.onset.ms() + u64::from(e.duration_ms)));
            }
        };
        for (t, logits) in logits.chunks_exact(classes).enumerate() {
            let mut p = logits.to_vec();
            softmax(&mut p, temperature);
            p.resize(names.len(), 0.0);
            decision.update(at(t), &p).events.iter().for_each(&mut take);
        }
        decision.interrupt(at(s.classes.len())).iter().for_each(&mut take);
        let stretches = stretches(&s.classes, tick_ms);
        for (class, events) in found.iter_mut().enumerate().filter(|(c, _)| Some(*c) != set.background) {
            let mine = |list: &[(usize, u64, u64)]| list.iter().filter(|c| c.0 == class).map(|c| (c.1, c.2)).collect::<Vec<_>>();
            let (calls, truths) = (moments(&mine(&calls)), mine(&stretches));
            let near = |at: &u64, (start, end): &(u64, u64)| *start <= at + NEAR_MS && *at <= end + NEAR_MS;
            events.all += truths.len() as u32;
            events.found += truths.iter().filter(|t| calls.iter().any(|c| near(c, t))).count() as u32;
            events.false_alarms += calls.iter().filter(|c| !truths.iter().any(|t| near(c, t))).count() as u32;
            events.minutes += (s.classes.len() as u64 * u64::from(tick_ms)) as f32 / 60e3;
        }
    }
    found
}

/// When each call, from when to when it was on, counts: as it comes on, and again while it stays.
fn moments(calls: &[(u64, u64)]) -> Vec<u64> {
    calls.iter().flat_map(|(from, to)| (*from..(*to).max(from + 1)).step_by(AGAIN.as_millis() as usize)).collect()
}

/// Stretches of one class in a row: class, start, end in ms.
fn stretches(classes: &[Option<usize>], tick_ms: u32) -> Vec<(usize, u64, u64)> {
    let mut list: Vec<(usize, u64, u64)> = Vec::new();
    let ms = |t: usize| t as u64 * u64::from(tick_ms);
    for (t, class) in classes.iter().enumerate() {
        match (class, list.last_mut()) {
            (Some(c), Some(last)) if last.0 == *c && last.2 == ms(t) => last.2 = ms(t + 1),
            (Some(c), _) => list.push((*c, ms(t), ms(t + 1))),
            _ => {}
        }
    }
    list
}

/// A threshold for all classes, and what it is worth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// Probability at which a class starts.
    pub enter: f32,
    /// Background clips that raise a false alarm at that; of long recordings all false alarms.
    pub found: u32,
    /// Background clips that were judged; of long recordings tens of minutes.
    pub of: f32,
    /// Is that within what is allowed? Where it is at no threshold, this is the highest.
    pub kept: bool,
    /// Was enough judged to prove what is allowed?
    pub proves: bool,
}

impl Choice {
    /// False alarms: of clips the share of background clips that raise one, of long recordings in ten minutes.
    pub fn rate(&self) -> f32 {
        self.found as f32 / self.of
    }
}

/// Where a class ends that starts at this probability.
pub fn leave(enter: f32) -> f32 {
    enter * LEAVE
}

/// The lowest threshold (of 0.30, 0.35 to 0.95) whose false alarms stay within what is allowed: of clips a share of background clips that raise
/// one, of long recordings a number in ten minutes. None in n clips (or tens of minutes) only proves, with 95 % confidence, a rate below 3 / n (the rule of
/// three); where that is more than is allowed, nothing below a contract's default is tried. `None` where no background clip is judged, which says nothing.
pub fn threshold(
    set: &Set,
    of: &[usize],
    logits: &[Vec<f32>],
    temperature: f32,
    tick_ms: u32,
    min: Duration,
    allowed: f32,
) -> Option<Choice> {
    let calm: Vec<usize> = (0..of.len()).filter(|n| set.sequences[of[*n]].whole == set.background).collect();
    let ticks: usize = of.iter().map(|n| set.sequences[*n].classes.len()).sum();
    let judged = if set.stretches { ticks as f32 * tick_ms as f32 / 600e3 } else { calm.len() as f32 };
    if judged == 0.0 {
        return None;
    }
    let false_alarms = |of: &[usize], logits: &[Vec<f32>], enter: f32| -> u32 {
        let thresholds = Thresholds { enter, leave: leave(enter), min };
        events(set, of, logits, temperature, tick_ms, thresholds, None).iter().map(|e| e.false_alarms).sum()
    };
    let proves = judged * allowed >= 3.0;
    let lowest = if proves { 0.3 } else { crate::bundle::Decision::default().enter };
    let mut choice = None;
    for enter in (0..14).rev().map(|step| 0.3 + 0.05 * step as f32).filter(|enter| *enter > lowest - 0.01) {
        let found = if set.stretches {
            false_alarms(of, logits, enter)
        } else {
            let loud = |n: &&usize| false_alarms(&of[**n..**n + 1], &logits[**n..**n + 1], enter) > 0;
            calm.iter().filter(loud).count() as u32
        };
        let tried = Choice { enter, found, of: judged, kept: found as f32 / judged <= allowed, proves };
        if tried.kept || choice.is_none() {
            choice = Some(tried);
        }
        if !tried.kept {
            break;
        }
    }
    choice
}

#[cfg(test)]
mod tests {
    use super::super::list::{Listing, Recording, Span};
    use super::*;
    use crate::ticks::{Data, Ticks};

    #[test]
    fn auc_is_the_share_of_ordered_pairs() {
        assert_eq!(auc(&mut [(0.1, false), (0.4, false), (0.35, true), (0.8, true)]), Some(0.75));
        assert_eq!(auc(&mut [(0.5, false), (0.5, true)]), Some(0.5));
        assert_eq!(auc(&mut [(0.5, true)]), None);
    }

    #[test]
    fn auc_comes_to_an_end_over_what_is_no_number() {
        let all = auc(&mut [(f32::NAN, true), (0.5, false), (-f32::NAN, false), (f32::NAN, false), (f32::INFINITY, true)]);
        assert!(all.is_some_and(|a| (0.0..=1.0).contains(&a)), "{all:?}");
    }

    /// A recording of `seconds` at ten ticks a second in which `fall` is true from second to second, and called from second to second.
    fn scored(seconds: usize, truth: (u64, u64), call: (usize, usize)) -> Events {
        let span = |start_ms, end_ms, label| Span { start_ms, end_ms, label: Some(label) };
        let spans = vec![span(truth.0 * 1000, truth.1 * 1000, 1), span(0, u64::MAX, 0)];
        let recording = Recording { source: "day".into(), group: "day".into(), spans, side: None };
        let labels = vec!["idle".to_string(), "fall".into()];
        let listing = Listing { labels, background: Some(0), recordings: vec![], stretches: true };
        let ticks = Ticks { width: 1, data: Data::Numbers(vec![0.0; seconds * 10]), size: [0; 2] };
        let set = Set::new(&listing, vec![(recording, ticks, vec![])], 100, 4, 0);
        let on = |t: usize| if (call.0 * 10..call.1 * 10).contains(&t) { [-5.0f32, 5.0] } else { [5.0, -5.0] };
        let logits: Vec<f32> = (0..seconds * 10).flat_map(on).collect();
        let thresholds = Thresholds { enter: 0.6, leave: 0.4, min: Duration::from_millis(200) };
        events(&set, &[0], &[logits], 1.0, 100, thresholds, None)[1]
    }

    #[test]
    fn an_alarm_that_is_always_on_does_not_win() {
        // Calls at 0, 8, 16 ... 56 s: that at 32 s is within 2 s of the fall, seven are not.
        let always = scored(60, (29, 31), (0, 60));
        assert_eq!((always.all, always.found, always.false_alarms), (1, 1, 7));
        // None of them falls near this one.
        let missed = scored(60, (11, 13), (0, 60));
        assert_eq!((missed.found, missed.false_alarms), (0, 8));
        // Two seconds early is near, three are not; one that stays on through the fall for less than 8 s is one call.
        for (from, found, wrong) in [(30, 1, 0), (28, 1, 0), (33, 1, 0), (26, 0, 1), (35, 0, 1)] {
            let e = scored(60, (30, 31), (from, from + 7));
            assert_eq!((e.found, e.false_alarms), (found, wrong), "from {from} s");
        }
    }

    /// What is chosen over background recordings of so many ticks, in all of which the other class has this probability.
    fn chosen(lengths: &[usize], stretches: bool, p: f32, allowed: f32) -> Option<Choice> {
        let listing = Listing { labels: vec!["idle".into(), "fall".into()], background: Some(0), recordings: vec![], stretches };
        let recording = |(n, ticks): (usize, &usize)| {
            let spans = vec![Span { start_ms: 0, end_ms: u64::MAX, label: Some(0) }];
            let recording = Recording { source: format!("{n}"), group: format!("{n}"), spans, side: None };
            (recording, Ticks { width: 1, data: Data::Numbers(vec![0.0; *ticks]), size: [0; 2] }, vec![])
        };
        let set = Set::new(&listing, lengths.iter().enumerate().map(recording).collect(), 100, 4, 0);
        let of: Vec<usize> = (0..lengths.len()).collect();
        let logits: Vec<Vec<f32>> = lengths.iter().map(|ticks| [0.0, (p / (1.0 - p)).ln()].repeat(*ticks)).collect();
        threshold(&set, &of, &logits, 1.0, 100, Duration::from_millis(200), allowed)
    }

    #[test]
    fn what_proves_nothing_lowers_no_threshold() {
        // Clips, then minutes of long recordings: in none of them is anything called.
        for (lengths, stretches, allowed, enter) in [
            (&[20; 2][..], false, 0.05, 0.6),
            (&[20; 59][..], false, 0.05, 0.6),
            (&[20; 60][..], false, 0.05, 0.3),
            (&[20; 15][..], false, 0.2, 0.3),
            (&[3_000][..], true, 1.0, 0.6),
            (&[18_000][..], true, 1.0, 0.3),
        ] {
            let choice = chosen(lengths, stretches, 0.01, allowed).expect("judged");
            let expected: f32 = 100.0 * enter;
            assert_eq!(((choice.enter * 100.0).round(), choice.found, choice.kept), (expected.round(), 0, true), "{choice:?}");
            assert_eq!(choice.proves, enter < 0.5, "{choice:?}");
        }
        // What the footage does not keep to is raised, however little it is.
        let raised = chosen(&[20; 2], false, 0.72, 0.05).expect("judged");
        assert_eq!(((raised.enter * 100.0).round(), raised.kept, raised.proves), (75.0, true, false), "{raised:?}");
        // No threshold keeps to it, and what was found says so.
        let none = chosen(&[20; 2], false, 0.99, 0.05).expect("judged");
        assert_eq!(((none.enter * 100.0).round(), none.found, none.kept, none.rate()), (95.0, 2, false, 1.0), "{none:?}");
        assert_eq!(chosen(&[], false, 0.01, 0.05), None);
    }

    #[test]
    fn ticks_of_a_few_recordings_are_few_answers() {
        let figures = |each: &[(u32, u32)]| {
            let (right, all) = each.iter().fold((0u32, 0u32), |sum, r| (sum.0 + r.0, sum.1 + r.1));
            Figures { counts: vec![vec![right, all - right], vec![0, 0]], recordings: each.to_vec(), ..Figures::default() }
        };
        assert_eq!(figures(&[(100, 100), (0, 100)]).interval(), None);
        // By hand: p 0.5, six recordings 50 answers off it each, 1.96 * sqrt(6 * 2500) / 600.
        let half = figures(&[(100, 100), (0, 100), (100, 100), (0, 100), (100, 100), (0, 100)]);
        let (low, high) = half.interval().expect("six recordings");
        assert!((low - 9.99).abs() < 0.01 && (high - 90.01).abs() < 0.01, "{low} to {high}");
    }

    #[test]
    fn runs_of_a_class_are_stretches() {
        let classes = [None, Some(1), Some(1), None, Some(1), Some(0)];
        assert_eq!(stretches(&classes, 100), [(1, 100, 300), (1, 400, 500), (0, 500, 600)]);
    }
}
