//! Listed recordings to ticks, and whether what was listed and asked for is in those that could be read: every class, to be learnt and judged, every stretch,
//! extras and colours.

use crate::bundle::{Channel, Input};
use crate::cli::Failure;
use crate::cli::progress::Progress;
use crate::extra::Extra;
use crate::ticks::{Data, Kind, Maker, Ticks};
use crate::train::list::{Listing, Recording, Side};
use crate::train::set;
use crate::train::write::MAX_HELD;
use std::collections::BTreeSet;
use std::path::Path;

/// Recordings with their ticks, and with those of their turned pictures where asked.
pub type Ticked = Vec<(Recording, Ticks, Vec<Ticks>)>;

/// Every recording in ticks. One that cannot be read, or of which a box has no whole window, is said and left out; if that is most of them, it is refused.
pub fn ticks(
    mut listing: Listing,
    kinds: &[Kind],
    extra: &[Extra],
    (tick_ms, delay_ms): (u32, u64),
    cache: &Path,
) -> Result<(Listing, Ticked), Failure> {
    let sources: Vec<String> = listing.recordings.iter().map(|r| r.source.clone()).collect();
    let mut made = Vec::new();
    for kind in kinds {
        let maker = Maker::new(kind.clone(), tick_ms, Some(cache)).map_err(Failure::broke)?.with(extra).holding(MAX_HELD);
        let progress = Progress::new();
        let done = |n: usize| progress.say(|| format!("reading recordings: {n} of {}", sources.len()));
        made.push(maker.all(&sources, &done).into_iter());
        drop(progress);
        maker.dense(sources.len()).map_err(Failure::refused)?;
        // Of the turned pictures it is the same.
        maker.repeats(sources.len()).filter(|_| made.len() == 1).into_iter().for_each(|why| log::warn!("{why}"));
    }
    let mut all = Vec::new();
    let mut lost = Vec::new();
    for r in listing.recordings.drain(..) {
        // All of them are asked, whatever the first one says: the next recording is the next one of each.
        let each: Vec<_> = made.iter_mut().filter_map(Iterator::next).collect();
        match each.into_iter().collect::<Result<Vec<Ticks>, String>>() {
            Ok(mut each) if !each.is_empty() => all.push((r, each.remove(0), each)),
            Ok(_) => {}
            Err(why) => lost.push((r, why)),
        }
    }
    warn(lost.iter().map(|(_, why)| format!("left out: {why}")).collect());
    warn(unshown(&all, tick_ms, delay_ms));
    let classes: Vec<_> = all.iter().map(|(r, ticks, _)| set::classes(r, ticks.len(), tick_ms, delay_ms)).collect();
    let of: Vec<Shown<'_>> = all.iter().zip(&classes).map(|((r, ..), classes)| (r, classes.as_slice())).collect();
    for n in 0..listing.labels.len() {
        taught(&listing, n, &of, &lost, (tick_ms, delay_ms)).map_err(Failure::refused)?;
    }
    let width = all[0].1.width;
    if let Some((r, ticks, _)) = all.iter().find(|(_, t, _)| t.width != width) {
        let why = format!("{}: rows of {} numbers, in {} of {width}", r.source, ticks.width, all[0].0.source);
        return Err(Failure::refused(why));
    }
    for (r, ticks, _) in &all {
        let Data::Numbers(numbers) = &ticks.data else { continue };
        if let Some(n) = numbers.iter().position(|v| !(-LARGEST..=LARGEST).contains(v)) {
            let (row, column, found) = (n / width + 1, n % width + 1, numbers[n]);
            return Err(Failure::refused(format!(
                "{}: row {row} holds {found:e} in column {column}, numbers up to {LARGEST:e} expected; mend that row or take it out",
                r.source
            )));
        }
    }
    never_given(&all, extra).map_err(Failure::refused)?;
    if let Kind::Planes(input) = &kinds[0] {
        colourless(&all, input).into_iter().for_each(|why| log::warn!("{why}"));
    }
    Ok((listing, all))
}

/// Says the first ten of these, and how many more there are.
pub fn warn(sentences: Vec<String>) {
    sentences.iter().take(10).for_each(|why| log::warn!("{why}"));
    if sentences.len() > 10 {
        log::warn!("and {} more like these", sentences.len() - 10);
    }
}

/// Of which recordings stretches are listed that no tick shows: behind the end, mostly because their times were counted in other ticks, or too short.
pub fn unshown(all: &Ticked, tick_ms: u32, delay_ms: u64) -> Vec<String> {
    let of = |(r, ticks, _): &(Recording, Ticks, Vec<Ticks>)| {
        // What the rest is has no beginning of its own.
        let listed = || r.spans.iter().filter(|s| s.label.is_some() && s.end_ms != u64::MAX);
        let length_ms = ticks.len() as u64 * u64::from(tick_ms);
        let (all, behind) = (listed().count(), listed().filter(|s| s.start_ms >= length_ms).count());
        let short = listed().filter(|s| s.start_ms < length_ms && !set::shows_a_tick(s, ticks.len(), tick_ms, delay_ms)).count();
        let rows = if r.is_rows() { format!(" at {tick_ms} ms a row") } else { String::new() };
        let seconds = length_ms as f64 / 1e3;
        let behind = (behind > 0).then(|| {
            format!("{behind} of {all} stretches of {} begin behind its end ({seconds} s{rows}): is --tick-ms right?", r.source)
        });
        let short = (short > 0).then(|| {
            format!("{short} of {all} stretches of {} show no tick of {tick_ms} ms: too short, or too near its end", r.source)
        });
        behind.into_iter().chain(short)
    };
    all.iter().flat_map(of).collect()
}

/// Refuses an extra that no tick of any recording has: the bundle's answers would hang on weights that nothing has taught.
fn never_given(all: &Ticked, extra: &[Extra]) -> Result<(), String> {
    for (n, one) in extra.iter().enumerate() {
        // A pair each, value and mark, at the end of the row.
        let mark = 2 * (extra.len() - n) - 1;
        let given = |ticks: &Ticks| match &ticks.data {
            Data::Numbers(numbers) => numbers.chunks_exact(ticks.width).any(|row| row[row.len() - mark] != 0.0),
            Data::Levels(_) => false,
        };
        if !all.iter().any(|(_, ticks, _)| given(ticks)) {
            let name = &one.name;
            return Err(format!(
                "--extra {name}: no recording has {name}; a table CLIP.extra.csv with the columns ms and {name} expected beside them"
            ));
        }
    }
    Ok(())
}

/// What is to be said where colours are to be learnt from and most recordings have none.
fn colourless(all: &Ticked, input: &Input) -> Option<String> {
    let mut planes = input.channels.iter().flat_map(|c| vec![*c; c.planes()]);
    let (red, pixels) = (planes.position(|c| c == Channel::Rgb)?, input.width * input.height);
    // Red, green and blue stand one after the other, and are the same plane of what is grey.
    let grey = |ticks: &Ticks| match &ticks.data {
        Data::Levels(levels) => levels.chunks_exact(ticks.width).all(|tick| {
            let [red, green, blue] = [0, 1, 2].map(|n| &tick[(red + n) * pixels..][..pixels]);
            red == green && green == blue
        }),
        Data::Numbers(_) => false,
    };
    let found: Vec<&str> = all.iter().filter(|(_, ticks, _)| grey(ticks)).map(|(r, ..)| r.source.as_str()).collect();
    let first = found.first().filter(|_| found.len() * 2 > all.len())?;
    Some(format!(
        "--channels rgb: {} of {} recordings are grey, {first} is one; a camera's colours would be news to the bundle. \
         `record` and `label` keep colours with --bundle of one that looks at them",
        found.len(),
        all.len()
    ))
}

/// Nothing that is measured is larger, and 32 bits have no room for what would be computed of it.
const LARGEST: f32 = 1e30;

/// A recording and the class of each of its ticks.
type Shown<'a> = (&'a Recording, &'a [Option<usize>]);

/// Is class `n` still shown by enough of what could be read? Every class is to be learnt and judged; of a given
/// split it is to be learnt.
fn taught(
    listing: &Listing,
    n: usize,
    of: &[Shown<'_>],
    lost: &[(Recording, String)],
    (tick_ms, delay_ms): (u32, u64),
) -> Result<(), String> {
    let is_split = of.iter().map(|(r, _)| *r).chain(lost.iter().map(|(r, _)| r)).any(|r| r.side.is_some());
    let asked = |r: &Recording| !is_split || r.side == Some(Side::Train);
    let listed = |r: &Recording| asked(r) && r.spans.iter().any(|s| s.label == Some(n));
    let mine = of.iter().copied().filter(|(r, _)| listed(r));
    let (good, bad): (Vec<Shown<'_>>, Vec<Shown<'_>>) = mine.partition(|(_, classes)| classes.contains(&Some(n)));
    let groups: BTreeSet<&str> = good.iter().map(|(r, _)| r.group.as_str()).collect();
    // What no stretch covers may be in one recording alone.
    let least = if is_split || (listing.stretches && Some(n) == listing.background) { 1 } else { 2 };
    if groups.len() >= least {
        return Ok(());
    }
    let unread: Vec<&str> = lost.iter().filter(|(r, _)| listed(r)).map(|(_, why)| why.as_str()).collect();
    let why = match (unread.first(), bad.first()) {
        (Some(why), _) => format!("{} of its recordings cannot be read, the first: {why}", unread.len()),
        (None, Some((r, classes))) => unseen(r, n, classes.len(), tick_ms, delay_ms),
        (None, None) => "no more of it is listed".into(),
    };
    let (label, found) = (&listing.labels[n], groups.len());
    let all = of.iter().map(|(r, _)| *r).chain(lost.iter().map(|(r, _)| r)).filter(|r| listed(r));
    let all = all.map(|r| r.group.as_str()).collect::<BTreeSet<_>>().len();
    let needed = match (is_split, least) {
        (true, _) => "one needed to learn from",
        (_, 1) => "one needed",
        _ => "2 or more needed: one to learn from, one to judge by",
    };
    Err(format!("class {label}: shown by {found} of {all} groups of recordings, {needed}; {why}"))
}

/// Why no tick of a recording shows a class that it is listed with.
fn unseen(r: &Recording, n: usize, ticks: usize, tick_ms: u32, delay_ms: u64) -> String {
    let length_ms = ticks as u64 * u64::from(tick_ms);
    let seconds = |ms: u64| ms as f64 / 1e3;
    match r.spans.iter().find(|s| s.label == Some(n)) {
        Some(s) if s.start_ms + delay_ms + u64::from(tick_ms) > length_ms => {
            let late = if delay_ms > 0 { format!(" and is answered {delay_ms} ms later") } else { String::new() };
            format!("{} ends at {} s, it is listed from {} s on{late}", r.source, seconds(length_ms), seconds(s.start_ms))
        }
        Some(s) if s.end_ms - s.start_ms < u64::from(tick_ms) => {
            let (start, end) = (seconds(s.start_ms), seconds(s.end_ms));
            format!("{}: from {start} to {end} s is shorter than a tick of {tick_ms} ms", r.source)
        }
        _ => format!("{}: other stretches cover it", r.source),
    }
}
