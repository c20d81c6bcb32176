//! A recording, or a stretch of a live source, played through a pipeline of its own: what `classify`, `calibrate`, `teach` and `learn` do before they
//! look at what came out.
//!
//! What is seen here is what `run` sees: the same pipeline, the same extras ([`Ears`]), the same past where this is a piece of a longer run. A damaged
//! frame is said once and left out; only a source in which there is no frame at all is refused.

use super::Failure;
use super::ears::Ears;
use super::plot::Thumbs;
use super::progress::{Progress, bar};
use super::segments::Timeline;
use super::setup;
use crate::bundle::Bundle;
use crate::cli::run::heard;
use crate::complaint::Complaint;
use crate::extra::Table;
use crate::extra::listen::denied;
use crate::pipeline::{Counts, Options, Pipeline, Probe};
use crate::report::Report;
use crate::source::ahead::Ahead;
use crate::source::open::{self, Spec};
use crate::source::{Frame, Payload, Source, SourceError};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How a recording is played.
#[derive(Clone, Copy, Debug)]
pub struct Played<'a> {
    /// How; a piece of a longer run has a past whatever they say, and so has a live source.
    pub options: &'a Options,
    /// The table of its extras, where it does not lie beside it.
    pub extra: Option<&'a Path>,
    /// Devices that its extras come from, where it is none that has a table.
    pub heard: Option<&'a BTreeMap<String, String>>,
    /// Not longer than this; without it nothing that never ends is played.
    pub most: Option<Duration>,
    /// Ends it when it becomes true.
    pub stop: Option<&'a AtomicBool>,
}

impl<'a> Played<'a> {
    /// From its first to its last picture, with the table that lies beside it.
    pub fn whole(options: &'a Options) -> Self {
        Self { options, extra: None, heard: None, most: None, stop: None }
    }
}

/// Plays one recording, or a stretch of a live source, through a pipeline of its own.
pub fn play(
    clip: &str,
    bundle: &Bundle,
    played: Played<'_>,
    probe: &mut dyn Probe,
    look: &mut dyn FnMut(&Frame<'_>),
    out: &mut dyn FnMut(Report),
) -> Result<Counts, Failure> {
    let spec: Spec = clip.parse()?;
    let source = open::open(&spec, &open::Options { replay: played.most.is_none(), ..open::Options::for_bundle(bundle) })?;
    if source.is_live() && played.most.is_none() {
        return Err(Failure::refused(format!("{clip}: a camera never ends; use `lookout run` for it")));
    }
    // A piece of a longer run has a past, of which nothing may be made up.
    let still_before = played.options.still_before && !source.has_past() && !source.is_live();
    let mut pipeline = Pipeline::new(bundle, &Options { still_before, ..played.options.clone() })?;
    setup::recall(source.as_ref(), played.options.novelty.as_ref(), &mut pipeline);
    let (all, mut read) = (source.len_hint().filter(|all| *all > 0), 0u64);
    let progress = Progress::new();
    let mut ears = ears(clip, bundle, &played, source.as_ref())?;
    let mut source = Ahead::new(source);
    let (mut broken, mut begin, mut complaint) = (0u32, None, Complaint::default());
    while !played.stop.is_some_and(|stop| stop.load(Ordering::Relaxed)) {
        match source.read() {
            Ok(Some((frame, until))) => {
                look(&frame);
                ears.tell(frame.at, until, &mut pipeline);
                let over = played.most.is_some_and(|most| frame.at.since(*begin.get_or_insert(frame.at)) >= most);
                pipeline.play(&frame, until.filter(|_| !over), probe, out).map_err(|e| {
                    let Failure { code, why } = e.into();
                    Failure { code, why: format!("{clip}: bundle {}: {why}", bundle.origin) }
                })?;
                if over {
                    break;
                }
            }
            Ok(None) => break,
            Err(SourceError::Broken { what, why }) => {
                if broken == 0 {
                    log::warn!("{what}: {why}");
                }
                broken += 1;
            }
            // A clip on standard input is as quick as the program that makes it.
            Err(SourceError::Stalled { .. }) if played.most.is_none() => {}
            Err(e @ SourceError::Stalled { .. }) => complaint.say(format!("{clip}: {e}")),
            Err(e) => return Err(e.into()),
        }
        read += 1;
        progress.say(|| match all {
            Some(all) => format!("{clip} {} {} %", bar(read, all), (read * 100 / all).min(100)),
            None => format!("{clip} {read} frames"),
        });
    }
    if broken > 1 {
        log::warn!("{clip}: {broken} damaged frames or rows left out");
    }
    if pipeline.counts().frames == 0 {
        return Err(Failure::refused(format!("{clip}: no frame could be read from it")));
    }
    Ok(pipeline.counts())
}

/// Whoever gives the bundle's extras while `source` is played.
fn ears(clip: &str, bundle: &Bundle, played: &Played<'_>, source: &dyn Source) -> Result<Ears, Failure> {
    // A piece of an earlier run brings what was heard then.
    if source.has_past() {
        return Ok(Ears::deaf());
    }
    if let Some(devices) = played.heard {
        if let Some(why) = denied(heard(&bundle.contract.extra, devices)) {
            return Err(Failure::broke(why));
        }
        return Ears::open(bundle, devices, Some(clip), source.is_live());
    }
    let table = Table::of(clip, played.extra, &bundle.contract.extra).map_err(Failure::refused)?;
    Ok(table.map_or_else(Ears::deaf, |table| Ears::reading(table, bundle)))
}

/// Plays one recording: every decided tick and what was called. `extra`: the table of its extras, where it does not lie beside it.
pub fn timeline(
    clip: &str,
    bundle: &Bundle,
    options: &Options,
    extra: Option<&Path>,
    mut thumbs: Option<&mut Thumbs>,
) -> Result<Timeline, Failure> {
    let mut timeline = Timeline::new(bundle.labels.len(), 0);
    let mut ends = Timeline::new(bundle.labels.len(), 0);
    let mut look = |frame: &Frame<'_>| {
        if let (Some(thumbs), Payload::Image(image)) = (&mut thumbs, &frame.payload) {
            thumbs.take(frame.at, image);
        }
    };
    let counts =
        play(clip, bundle, Played { extra, ..Played::whole(options) }, &mut timeline, &mut look, &mut |r| ends.take(&r))?;
    if timeline.ticks() == 0 && counts.ticks >= bundle.contract.time.window as u32 {
        log::warn!("{clip}: none of its {} ticks gave a whole window of finite numbers; no answer", counts.ticks);
    } else if timeline.ticks() == 0 {
        let (found, needed) = (counts.ticks, bundle.contract.time.window);
        log::warn!(
            "{clip}: {found} ticks of {} ms are too few for a window of {needed}; no answer",
            bundle.contract.time.tick_ms
        );
    }
    // Once is a break in the recording.
    let apart = bundle.contract.time.patience();
    if counts.gaps > 1 && counts.gaps * 2 > counts.frames {
        log::warn!(
            "{clip}: its frames are more than {apart:?} apart, so no window is whole; the answer is a guess from single pictures"
        );
    }
    timeline.adopt(ends);
    Ok(timeline)
}
