//! Every frame together with the stamp of the one after it.
//!
//! A tick is filled by the newest frame at or before it, so whether a frame counts at all is known only when the next
//! one is there. Looking one frame ahead lets the pipeline leave frames alone that no tick will ask for: at 30 fps and
//! ten ticks a second, two of three.

use super::{Frame, Image, Payload, PixelFormat, Seq, Shaped, Source, SourceError, Timestamp};

/// A frame that owns its pixels or numbers; refilled in place, so it allocates only until it has seen its largest frame.
#[derive(Debug, Default)]
pub struct Owned {
    at: Timestamp,
    seq: Seq,
    shape: Option<(PixelFormat, usize, usize, usize)>,
    shaped: Option<Kept>,
    bytes: Vec<u8>,
    row: Vec<f32>,
    extra: Vec<f32>,
}

/// Of which kind the tick of an earlier run is, and the size of its camera's picture.
#[derive(Clone, Copy, Debug)]
enum Kept {
    Planes((usize, usize)),
    Row,
    Same,
}

impl Owned {
    /// Takes over what `frame` shows.
    pub fn copy(&mut self, frame: &Frame<'_>) {
        (self.at, self.seq, self.shaped) = (frame.at, frame.seq, None);
        match frame.payload {
            Payload::Shaped(tick, extra) => {
                self.extra.clear();
                self.extra.extend_from_slice(extra);
                self.shaped = Some(match tick {
                    Shaped::Planes { levels, picture } => {
                        self.bytes.clear();
                        self.bytes.extend_from_slice(levels);
                        Kept::Planes(picture)
                    }
                    Shaped::Row(row) => {
                        self.row.clear();
                        self.row.extend_from_slice(row);
                        Kept::Row
                    }
                    Shaped::Same => Kept::Same,
                });
            }
            Payload::Image(image) => {
                self.shape = Some((image.format(), image.width(), image.height(), image.stride_bytes()));
                self.bytes.clear();
                self.bytes.extend_from_slice(image.data());
            }
            Payload::Row(row) => {
                self.shape = None;
                self.row.clear();
                self.row.extend_from_slice(row);
            }
        }
    }

    /// When it was taken.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// The frame as the pipeline takes it.
    ///
    /// # Errors
    /// Never for a frame that was copied from a valid one.
    pub fn frame(&self) -> Result<Frame<'_>, SourceError> {
        let shaped = |tick| Payload::Shaped(tick, &self.extra);
        let payload = match (self.shaped, self.shape) {
            (Some(Kept::Planes(picture)), _) => shaped(Shaped::Planes { levels: &self.bytes, picture }),
            (Some(Kept::Row), _) => shaped(Shaped::Row(&self.row)),
            (Some(Kept::Same), _) => shaped(Shaped::Same),
            (None, Some((format, width, height, stride))) => {
                Payload::Image(Image::new(format, width, height, stride, &self.bytes)?)
            }
            (None, None) => Payload::Row(&self.row),
        };
        Ok(Frame { at: self.at, seq: self.seq, payload })
    }
}

/// A recording, read one frame ahead.
pub struct Ahead {
    source: Box<dyn Source>,
    now: Owned,
    next: Owned,
    state: State,
}

/// What the two buffers hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing yet.
    Empty,
    /// `now` has not been lent; `next` is not read.
    One,
    /// `now` was lent; `next` is the one after it.
    Both,
    /// `now` was lent and was the last.
    Ended,
}

impl Ahead {
    /// Reads `source` one frame ahead.
    pub fn new(source: Box<dyn Source>) -> Self {
        Self { source, now: Owned::default(), next: Owned::default(), state: State::Empty }
    }

    /// The next frame and the stamp of the one after it; `None` in its place for the last frame of all.
    ///
    /// # Errors
    /// As [`Source::next`]; no frame is lost by it.
    pub fn read(&mut self) -> Result<Option<(Frame<'_>, Option<Timestamp>)>, SourceError> {
        match self.state {
            State::Ended => return Ok(None),
            State::Both => {
                std::mem::swap(&mut self.now, &mut self.next);
                self.state = State::One;
            }
            State::Empty => match self.source.next()? {
                None => {
                    self.state = State::Ended;
                    return Ok(None);
                }
                Some(frame) => {
                    self.now.copy(&frame);
                    self.state = State::One;
                }
            },
            State::One => {}
        }
        let until = match self.source.next()? {
            Some(frame) => {
                self.next.copy(&frame);
                self.state = State::Both;
                Some(frame.at)
            }
            None => {
                self.state = State::Ended;
                None
            }
        };
        Ok(Some((self.now.frame()?, until)))
    }
}
