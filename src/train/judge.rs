//! How good it is: figures over recordings that were not learnt from.
//!
//! A clip is answered by the mean of its ticks' probabilities. Long recordings are judged tick by tick and by events: a stretch of a class counts
//! as found when the class is called within 2 s of it, a call with no such stretch near is a false alarm, and one that goes on counts
//! again every 8 s, or an alarm that is always on would win.

use super::set::Set;
use crate::decision::{Decision, Thresholds, softmax};
use crate::report::{Edge, Label};
use crate::source::Timestamp;
use std::time::Duration;

/// How far from a stretch a call may be.
const NEAR_MS: u64 = 2_000;
/// A false alarm this long counts again.
const AGAIN_MS: u64 = 8_000;
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
            for (logits, class) in logits.chunks_exact(classes).zip(&s.classes) {
                let mut p = logits.to_vec();
                softmax(&mut p, temperature);
                mean.iter_mut().zip(&p).for_each(|(m, p)| *m += p / s.classes.len() as f32);
                if let Some(class) = class {
                    loss -= p[*class].max(1e-9).ln();
                    ticks += 1;
                    if s.whole.is_none() {
                        f.answer(set, *class, &p, &mut scores);
                    }
                }
            }
            if ticks > 0 {
                f.loss += loss / ticks as f32;
                recordings += 1;
            }
            if let Some(class) = s.whole {
                f.answer(set, class, &mean, &mut scores);
            }
        }
        f.loss /= recordings.max(1) as f32;
        f.auc = auc(&mut scores);
        f.scores = scores;
        f
    }

    /// Of one answer each, given as logits.
    pub fn of_answers(set: &Set, truths: &[u32], logits: Vec<Vec<f32>>) -> Self {
        let classes = set.labels.len();
        let mut f = Self { counts: vec![vec![0; classes]; classes], ..Self::default() };
        let mut scores = Vec::new();
        for (truth, mut p) in truths.iter().zip(logits) {
            softmax(&mut p, 1.0);
            f.answer(set, *truth as usize, &p, &mut scores);
        }
        f.auc = auc(&mut scores);
        f.scores = scores;
        f
    }

    fn answer(&mut self, set: &Set, truth: usize, p: &[f32], scores: &mut Vec<(f32, bool)>) {
        let best = (0..p.len()).max_by(|a, b| p[*a].total_cmp(&p[*b])).unwrap_or(0);
        self.counts[truth][best] += 1;
        let bin = &mut self.bins[((p[best] * BINS as f32) as usize).min(BINS - 1)];
        *bin = (bin.0 + 1, bin.1 + p[best], bin.2 + u32::from(truth == best));
        let calm = set.background.or((p.len() == 2).then_some(0));
        if let Some(calm) = calm {
            scores.push((1.0 - p[calm], truth != calm));
        }
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

/// Share of pairs in which the positive one scores higher; ties count half.
pub(super) fn auc(scores: &mut [(f32, bool)]) -> Option<f32> {
    scores.sort_by(|a, b| a.0.total_cmp(&b.0));
    let positives = scores.iter().filter(|s| s.1).count();
    let pairs = positives * (scores.len() - positives);
    let (mut rank, mut at) = (0.0f64, 0);
    while at < scores.len() {
        let ties = scores[at..].iter().take_while(|s| s.0 == scores[at].0).count();
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
    /// Calls with no such stretch near.
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
            let near = |(_, a, b): &(usize, u64, u64), (_, x, y): &(usize, u64, u64)| *a <= y + NEAR_MS && *x <= b + NEAR_MS;
            let mine = |list: &[(usize, u64, u64)]| list.iter().filter(|c| c.0 == class).copied().collect::<Vec<_>>();
            let (calls, truths) = (mine(&calls), mine(&stretches));
            events.all += truths.len() as u32;
            events.found += truths.iter().filter(|t| calls.iter().any(|c| near(c, t))).count() as u32;
            let wrong = calls.iter().filter(|c| !truths.iter().any(|t| near(c, t)));
            events.false_alarms += wrong.map(|(_, a, b)| 1 + ((b - a) / AGAIN_MS) as u32).sum::<u32>();
            events.minutes += (s.classes.len() as u64 * u64::from(tick_ms)) as f32 / 60e3;
        }
    }
    found
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

/// The lowest threshold (of 0.30, 0.35 to 0.95) whose false alarms stay within what is allowed: of clips a share of background clips that raise
/// one, of long recordings a number in ten minutes. With what it finds; `None` where no background clip is judged, which says nothing.
pub fn threshold(
    set: &Set,
    of: &[usize],
    logits: &[Vec<f32>],
    temperature: f32,
    tick_ms: u32,
    min: Duration,
    allowed: f32,
) -> Option<(f32, f32)> {
    let calm: Vec<usize> = (0..of.len()).filter(|n| set.sequences[of[*n]].whole == set.background).collect();
    if calm.is_empty() && !set.stretches {
        return None;
    }
    let mut found = (0.95, f32::NAN);
    for step in (0..14).rev() {
        let enter = 0.3 + 0.05 * step as f32;
        let each = events(set, of, logits, temperature, tick_ms, Thresholds { enter, leave: enter * 0.6, min }, None);
        let rate = if set.stretches {
            each.iter().map(Events::in_ten_minutes).sum()
        } else {
            let loud = calm.iter().filter(|n| {
                let alone = events(
                    set,
                    &of[**n..**n + 1],
                    &logits[**n..**n + 1],
                    temperature,
                    tick_ms,
                    Thresholds { enter, leave: enter * 0.6, min },
                    None,
                );
                alone.iter().any(|e| e.false_alarms > 0)
            });
            loud.count() as f32 / calm.len() as f32
        };
        if rate > allowed {
            break;
        }
        found = (enter, rate);
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auc_is_the_share_of_ordered_pairs() {
        assert_eq!(auc(&mut [(0.1, false), (0.4, false), (0.35, true), (0.8, true)]), Some(0.75));
        assert_eq!(auc(&mut [(0.5, false), (0.5, true)]), Some(0.5));
        assert_eq!(auc(&mut [(0.5, true)]), None);
    }

    #[test]
    fn runs_of_a_class_are_stretches() {
        let classes = [None, Some(1), Some(1), None, Some(1), Some(0)];
        assert_eq!(stretches(&classes, 100), [(1, 100, 300), (1, 400, 500), (0, 500, 600)]);
    }
}
