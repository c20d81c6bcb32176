//! A black box's clip, tick by tick: what the encoder saw, as it saw it, at the stamps of the run that kept it.
//!
//! The whole file is read first: it is a few MB, and its checksum stands at its end. A torn file (power went while it was copied) is
//! played up to its tear, and said; one whose bytes differ from its checksum is refused, because what it would replay to is not what was seen.

use super::input::{refused, unopened};
use super::{Frame, Past, Payload, Seq, Shaped, Source, SourceError, Timestamp};
use crate::blackbox::{END, Header, MAGIC, MAX_HEADER, NEWS, OLDER, SAME, TICK_HEAD, checksum};
use crate::config::read_bounded;
use crate::extra::MAX_EXTRAS;
use crate::shaper::Region;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Largest file that is read, in bytes: an hour and a half of `motion` (20 kB a tick) at ten ticks a second.
const MAX_BYTES: u64 = 1 << 30;

/// A clip in memory.
pub struct Replay {
    path: String,
    header: Header,
    bytes: Vec<u8>,
    /// Where the first tick begins: behind what was remembered.
    start: usize,
    /// Where the next tick begins, and where the last one ends.
    at: usize,
    end: usize,
    n: u32,
    numbers: Vec<f32>,
    /// Extras of the tick in hand.
    extra: Vec<f32>,
    ticks: u64,
}

impl Replay {
    /// Opens a clip. `bundle`: the hash of the one that will replay it, and the bytes that its ticks have.
    ///
    /// # Errors
    /// [`SourceError::Refused`]: no black box, another bundle's, damaged, or without a whole tick; [`SourceError::Lost`] where it cannot be read just now.
    pub fn open(path: &str, bundle: Option<&(String, usize)>) -> Result<Self, SourceError> {
        Self::read(path, read_bounded(Path::new(path), MAX_BYTES).map_err(|e| unopened(path, &e))?, bundle)
    }

    /// The same from memory; `path` is for messages.
    ///
    /// # Errors
    /// As [`Replay::open`].
    pub fn read(path: &str, bytes: Vec<u8>, bundle: Option<&(String, usize)>) -> Result<Self, SourceError> {
        let refuse = |why: String| refused(path, why);
        let (header, behind) = header(&bytes).map_err(refuse)?;
        if header.tick_bytes == 0 || (header.rows && !header.tick_bytes.is_multiple_of(4)) || header.tick_ms == 0 {
            return Err(refuse(format!("ticks of {} bytes and {} ms in its header", header.tick_bytes, header.tick_ms)));
        }
        if !header.rows && (header.width == 0 || header.height == 0) {
            return Err(refuse("pictures of no size in its header".into()));
        }
        if let Some(region) = header.region
            && !(region.iter().all(|v| (0.0..=1.0).contains(v)) && region[2] > 0.0 && region[3] > 0.0)
        {
            return Err(refuse(format!("a region of {region:?} in its header")));
        }
        if header.extra > MAX_EXTRAS {
            return Err(refuse(format!("{} extra numbers in its header, at most {MAX_EXTRAS} expected", header.extra)));
        }
        if header.past_bytes > bytes.len() || header.head_bytes > header.past_bytes {
            return Err(refuse("torn within what was remembered".into()));
        }
        let short = |hash: &str| hash.chars().take(8).collect::<String>();
        match bundle {
            Some((hash, tick_bytes)) if *hash == header.bundle && *tick_bytes == header.tick_bytes => {}
            Some((hash, _)) => {
                let why = format!(
                    "kept with bundle {}, this one is {}; say the other with --bundle",
                    short(&header.bundle),
                    short(hash)
                );
                return Err(refuse(why));
            }
            None => return Err(refuse("a black box holds what an encoder saw, no pictures; classify and run replay it".into())),
        }
        let (extra, tick_head) = (vec![f32::NAN; header.extra], TICK_HEAD + 4 * header.extra);
        let start = behind + header.past_bytes;
        let (mut end, mut ticks, mut whole) = (start, 0, false);
        while let Some(head) = bytes.get(end..end + TICK_HEAD) {
            let next = match head[8] {
                NEWS => end + tick_head + header.tick_bytes,
                SAME => end + tick_head,
                END => {
                    let said =
                        bytes.get(end + TICK_HEAD..end + TICK_HEAD + 4).and_then(|b| b.try_into().ok()).map(u32::from_le_bytes);
                    if said.is_some_and(|said| said != checksum(&bytes[..end + TICK_HEAD])) {
                        return Err(refuse("damaged: its checksum is another one".into()));
                    }
                    whole = said.is_some();
                    break;
                }
                found => return Err(refuse(format!("damaged: tick {ticks} is of kind {found}, expected 0 to 2"))),
            };
            if next > bytes.len() {
                break;
            }
            (end, ticks) = (next, ticks + 1);
        }
        if ticks == 0 {
            return Err(refuse("not one whole tick in it".into()));
        }
        if !whole {
            log::warn!("{path}: torn; its first {ticks} ticks are whole and are replayed");
        }
        let numbers = vec![0.0; if header.rows { header.tick_bytes / 4 } else { 0 }];
        Ok(Self { path: path.into(), header, bytes, start, at: start, end, n: 0, numbers, extra, ticks })
    }
}

/// The header of a clip, and where what follows it begins.
fn header(bytes: &[u8]) -> Result<(Header, usize), String> {
    let rest = bytes.strip_prefix(MAGIC).or_else(|| bytes.strip_prefix(OLDER)).ok_or("no black box of this program")?;
    let line = rest.iter().take(MAX_HEADER).position(|b| *b == b'\n').ok_or("torn within its header")?;
    let header: Header =
        serde_json::from_slice(&rest[..line]).map_err(|e| format!("its header cannot be read at column {}", e.column()))?;
    // All three are said on consoles.
    let plain = |text: &str| text.len() <= 64 && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'));
    if !plain(&header.bundle) || !plain(&header.label) || !plain(&header.normal) {
        return Err("its header names no bundle or no class".into());
    }
    Ok((header, MAGIC.len() + line + 1))
}

/// The hash of the bundle that a clip was kept with; nothing where this is no clip of the black box.
pub fn kept_with(path: &str) -> Option<String> {
    // No camera and no pipe: what is read from those is gone.
    std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
    let mut bytes = Vec::new();
    File::open(path).ok()?.take((MAGIC.len() + MAX_HEADER) as u64).read_to_end(&mut bytes).ok()?;
    let (header, _) = header(&bytes).ok()?;
    // What stands in a file must not become a path.
    Some(header.bundle).filter(|hash| hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn read(bytes: &[u8], to: &mut [f32]) {
    to.iter_mut().zip(bytes.chunks_exact(4)).for_each(|(v, b)| *v = f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
}

impl Source for Replay {
    fn next(&mut self) -> Result<Option<Frame<'_>>, SourceError> {
        if self.at >= self.end {
            return Ok(None);
        }
        // `open` walked the same way.
        let (head, rest) = self.bytes[self.at..self.end].split_at(TICK_HEAD);
        let at = Timestamp(head[..8].iter().rev().fold(0, |all, b| all << 8 | u64::from(*b)));
        let (extra, rest) = rest.split_at(4 * self.extra.len());
        read(extra, &mut self.extra);
        let tick = if head[8] == NEWS {
            let levels = &rest[..self.header.tick_bytes];
            if self.header.rows {
                read(levels, &mut self.numbers);
                Shaped::Row(&self.numbers)
            } else {
                Shaped::Planes { levels, picture: (self.header.width, self.header.height) }
            }
        } else {
            Shaped::Same
        };
        self.at += TICK_HEAD + extra.len() + if head[8] == NEWS { self.header.tick_bytes } else { 0 };
        self.n += 1;
        Ok(Some(Frame { at, seq: Seq(self.n - 1), payload: Payload::Shaped(tick, &self.extra) }))
    }

    fn describe(&self) -> String {
        let Header { tick_ms, label, at_ms, .. } = &self.header;
        format!("{}: black box, {} ticks of {tick_ms} ms around {label} at {:.1} s", self.path, self.ticks, *at_ms as f64 / 1e3)
    }

    fn len_hint(&self) -> Option<u64> {
        Some(self.ticks)
    }

    fn has_past(&self) -> bool {
        true
    }

    fn past(&self) -> Option<Past<'_>> {
        let bytes = self.bytes.get(self.start.checked_sub(self.header.past_bytes)?..self.start)?;
        let (novelty, head) = bytes.split_at_checked(bytes.len().checked_sub(self.header.head_bytes)?)?;
        let region = self.header.region.map(|[x, y, w, h]| Region { x, y, w, h });
        Some(Past { normal: &self.header.normal, novelty, head, region })
    }
}
