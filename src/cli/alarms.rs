//! What novelty says of a whole recording: every tick's score, and the stretches of alarm.

use super::Failure;
use crate::bundle::Bundle;
use crate::novelty::Setup;
use crate::novelty::promise::LEAST;
use crate::report::{Novel, Novelty};
use crate::shaper::Region;
use crate::source::Timestamp;
use crate::store::{Store, novelty};
use serde_json::{Value, json};
use std::io::Write;

/// A stretch of alarm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Alarm {
    /// First tick, ms from the first frame.
    pub start_ms: u64,
    /// First tick after it, or the end.
    pub end_ms: u64,
    /// The highest score in it.
    pub score: f32,
    /// What it was above.
    pub threshold: f32,
    /// When that was.
    pub at: Timestamp,
}

/// What is normal in a state folder, or to the bundle, only read. `quiet`: the folder is asked for other things too, so it is no news if there is nothing.
pub fn known(store: &Store, bundle: &Bundle, quiet: bool) -> Option<Setup> {
    let setup = novelty::of_place(store.dir(), bundle);
    if setup.is_none() && !quiet {
        log::warn!("{}: nothing in it says what is normal with this bundle; `lookout learn` finds out", store.dir().display());
    }
    setup
}

/// Stretches of alarm in ticks of `tick_ms` that follow each other.
pub fn of(ticks: &[Novelty], tick_ms: u32) -> Vec<Alarm> {
    let mut alarms: Vec<Alarm> = vec![];
    let mut on = false;
    for n in ticks {
        let (at, alarm) = (n.at.ms(), n.now == Novel::Alarm);
        match alarms.last_mut().filter(|_| on) {
            Some(last) => {
                last.end_ms = if alarm { at + u64::from(tick_ms) } else { at };
                if alarm && n.score > last.score {
                    (last.score, last.threshold, last.at) = (n.score, n.threshold, n.at);
                }
            }
            None if alarm => {
                let end_ms = at + u64::from(tick_ms);
                alarms.push(Alarm { start_ms: at, end_ms, score: n.score, threshold: n.threshold, at: n.at });
            }
            None => {}
        }
        on = alarm;
    }
    alarms
}

fn highest(ticks: &[Novelty]) -> Option<&Novelty> {
    scored(ticks).max_by(|a, b| a.score.total_cmp(&b.score))
}

/// Those that have a score: an alarm that a gap ends is said to end without one.
fn scored(ticks: &[Novelty]) -> impl DoubleEndedIterator<Item = &Novelty> {
    ticks.iter().filter(|n| n.score.is_finite())
}

/// For people: a line an alarm, and one for the whole.
pub fn write(ticks: &[Novelty], tick_ms: u32, out: &mut dyn Write) -> Result<(), Failure> {
    let (Some(highest), Some(last)) = (highest(ticks), scored(ticks).next_back()) else {
        return Ok(writeln!(out, "  novelty: too short for a score")?);
    };
    let alarms = of(ticks, tick_ms);
    for a in &alarms {
        let (from, to) = (a.start_ms as f64 / 1e3, a.end_ms as f64 / 1e3);
        writeln!(out, "  {from:>8.1} - {to:>6.1} s  {:<16} score {:.2} above {:.2}", "ALARM", a.score, a.threshold)?;
    }
    let (score, at) = (highest.score, highest.at.ms() as f64 / 1e3);
    let means = match alarms.len() {
        0 if last.now == Novel::Learning => format!("no alarm before {LEAST} blocks, {} are counted", last.blocks),
        n => {
            let promised = last.one_in.map_or(String::new(), |one_in| format!(" (at most one false alarm in {one_in})"));
            format!("threshold {:.2} of {} blocks{promised}, alarms: {n}", last.threshold, last.blocks)
        }
    };
    Ok(writeln!(out, "  novelty: score at most {score:.2} at {at:.1} s, {means}")?)
}

/// For programs. A threshold is `null` while nothing can be promised. `places`: what moved where, by tick; an alarm has the box of its highest score, or the
/// last one in it before that.
pub fn json(ticks: &[Novelty], places: &[(Timestamp, Region)], tick_ms: u32) -> Value {
    let alarms: Vec<Value> = of(ticks, tick_ms)
        .iter()
        .map(|a| {
            let mut alarm =
                json!({ "start_ms": a.start_ms, "end_ms": a.end_ms, "score": round(a.score), "threshold": round(a.threshold) });
            let until = &places[..places.partition_point(|(at, _)| *at <= a.at)];
            if let Some((_, b)) = until.last().filter(|(at, _)| at.ms() >= a.start_ms) {
                alarm["where"] = json!([b.x, b.y, b.w, b.h].map(|v| (f64::from(v) * 1e3).round() / 1e3));
            }
            alarm
        })
        .collect();
    let all: Vec<Value> = ticks.iter().map(|n| json!([n.at.ms(), round(n.score), round(n.threshold), n.now.words()])).collect();
    let last = scored(ticks).next_back();
    json!({
        "score": highest(ticks).map(|n| round(n.score)), "at_ms": highest(ticks).map(|n| n.at.ms()),
        "threshold": last.and_then(|n| round(n.threshold)), "blocks": last.map_or(0, |n| n.blocks), "one_in": last.and_then(|n| n.one_in),
        "alarms": alarms, "ticks": all,
    })
}

/// Four decimals, as `lookout novelty` says them.
fn round(v: f32) -> Option<f64> {
    v.is_finite().then(|| (f64::from(v) * 1e4).round() / 1e4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tick(at: u64, score: f32, now: Novel) -> Novelty {
        Novelty { at: Timestamp::from_ms(at), score, threshold: 3.0, blocks: 30, one_in: Some(31), now }
    }

    #[test]
    fn an_alarm_is_a_stretch_and_says_its_highest_score() {
        let ticks = [
            tick(100, 1.0, Novel::Ok),
            tick(200, 4.0, Novel::Alarm),
            tick(300, 5.0, Novel::Alarm),
            tick(400, 2.0, Novel::Drift),
            tick(500, 3.5, Novel::Alarm),
        ];
        let alarm = |start_ms, end_ms, score, at| Alarm { start_ms, end_ms, score, threshold: 3.0, at: Timestamp::from_ms(at) };
        assert_eq!(of(&ticks, 100), [alarm(200, 400, 5.0, 300), alarm(500, 600, 3.5, 500)]);
        let mut text = vec![];
        write(&ticks, 100, &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(
            text.ends_with(
                "novelty: score at most 5.00 at 0.3 s, threshold 3.00 of 30 blocks (at most one false alarm in 31), alarms: 2\n"
            ),
            "{text}"
        );
        let learning = Novelty { threshold: f32::INFINITY, ..tick(0, 9.0, Novel::Learning) };
        assert_eq!(json(&[learning], &[], 100)["threshold"], Value::Null);
        let place = |at, x| (Timestamp::from_ms(at), Region { x, y: 0.5, w: 0.25, h: 0.125 });
        let said = json(&ticks, &[place(100, 0.1), place(200, 0.2), place(400, 0.4)], 100);
        assert_eq!((&said["alarms"][0]["end_ms"], &said["blocks"], &said["one_in"]), (&400.into(), &30.into(), &31.into()));
        // Nothing moved in the second one.
        assert_eq!((&said["alarms"][0]["where"], &said["alarms"][1]["where"]), (&json!([0.2, 0.5, 0.25, 0.125]), &Value::Null));
    }
}
