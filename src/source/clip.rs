//! Y4M: raw pictures with a line of text in front, the format that ffmpeg and friends write to a pipe.
//!
//! `YUV4MPEG2 W640 H480 F30:1 C420jpeg`, then for each picture `FRAME` with optional parameters, a line feed and the
//! planes. Read from front to back, one picture in memory. 4:2:0 in all its sitings (chroma siting does not matter
//! here) and grey are lent as they lie; 4:2:2 and 4:4:4 are interleaved into [`PixelFormat::Yuv444`]. Interlaced clips
//! are taken as whole pictures. More than 8 bits a sample are refused: ffmpeg converts them better than we would.
//!
//! A picture whose `FRAME` is damaged is given up. The next one is expected where it should stand; if it is not there
//! either, bytes are missing or too many, and `FRAME` is looked for, about one picture further a call. What is found so is a picture only if another
//! `FRAME`, or the end, follows it.
//!
//! A header in the place of a `FRAME` begins another recording (`cat a.y4m b.y4m`): it is read by its own size, layout and rate, and its time goes on
//! from where the one before it ended.

use super::input::Input;
use super::{Frame, Image, Payload, PixelFormat, Rate, Seq, Source, SourceError, Timestamp, check_size};
use std::io::Read;

const MAGIC: &[u8] = b"YUV4MPEG2";
const MARK: &[u8; 6] = b"FRAME\n";
/// Longest header or frame line; real ones stay under 100 bytes.
const MAX_LINE: usize = 1024;

/// A Y4M recording or stream.
pub struct Clip {
    input: Input,
    header: Header,
    header_bytes: u64,
    state: State,
    mark: [u8; MARK.len()],
    line: Vec<u8>,
    planes: Vec<u8>,
    packed: Vec<u8>,
    /// The picture that comes next.
    n: u64,
    /// The first picture of this header, and its stamp.
    first: (u64, Timestamp),
}

/// What comes next in the stream.
#[derive(Clone, Copy)]
enum State {
    /// `FRAME`, or another header. `doubt`: the one before was damaged.
    Mark { doubt: bool },
    /// The rest of a `FRAME` line with parameters.
    Line,
    /// The rest of another header.
    Header,
    /// Pixels to keep. `found`: behind a `FRAME` that was looked for.
    Planes { found: bool },
    /// What follows the pixels behind a `FRAME` that was looked for.
    Proof,
    /// Pixels, or what stands in their place, to pass over.
    Skip,
    /// No idea; picture `n` should have begun at byte `since`.
    Lost { since: u64 },
    /// Nothing.
    End,
}

/// The first line, checked.
#[derive(Debug, PartialEq)]
struct Header {
    width: usize,
    height: usize,
    layout: Layout,
    rate: Rate,
}

/// Planes of a picture: a luma plane, and chroma of which size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    Mono,
    C420,
    C422,
    C444,
}

impl Clip {
    /// Opens a file, or standard input for `-`, and reads its header.
    ///
    /// # Errors
    /// [`SourceError::Refused`] for a missing file or a header that cannot be used, [`SourceError::Lost`] when nothing comes.
    pub fn open(path: &str) -> Result<Self, SourceError> {
        Self::begin(Input::open(path)?)
    }

    /// Reads a clip from anything, such as one built into the program. `name` is for messages.
    ///
    /// # Errors
    /// As [`Clip::open`].
    pub fn from_reader(name: &str, from: impl Read + Send + 'static) -> Result<Self, SourceError> {
        Self::begin(Input::new(name, None, Box::new(from)))
    }

    /// Reads the header.
    pub(super) fn begin(mut input: Input) -> Result<Self, SourceError> {
        let mut line = Vec::with_capacity(MAX_LINE);
        input.patiently(|i| i.line(&mut line, MAX_LINE))?;
        let header = Header::parse(&line).map_err(|why| input.refuse(why))?;
        let (planes, packed) = (vec![0; header.bytes()], vec![0; header.packed_bytes()]);
        let header_bytes = line.len() as u64;
        line.clear();
        let (state, first) = (State::Mark { doubt: false }, (0, Timestamp::default()));
        Ok(Self { input, header, header_bytes, state, mark: *MARK, line, planes, packed, n: 0, first })
    }

    /// When picture `n` was taken.
    fn stamp(&self, n: u64) -> Timestamp {
        let (first, began) = self.first;
        began + self.header.rate.at(n - first).since(Timestamp::default())
    }

    /// Goes on with the pictures of another header.
    fn follow(&mut self, header: Header) {
        self.first = (self.n, self.stamp(self.n));
        (self.planes, self.packed) = (vec![0; header.bytes()], vec![0; header.packed_bytes()]);
        if std::mem::replace(&mut self.header, header) != self.header {
            log::info!("{} from frame {} on", self.describe(), self.n);
        }
    }

    /// What comes behind the mark, if the `got` bytes of it are one.
    fn behind_mark(&mut self, got: usize) -> Option<State> {
        match &self.mark[..got] {
            [] => Some(State::End),
            b"FRAME\n" => Some(State::Planes { found: false }),
            b"FRAME " => Some(State::Line),
            start if got == MARK.len() && MAGIC.starts_with(start) => {
                self.line.extend_from_slice(start);
                Some(State::Header)
            }
            _ => None,
        }
    }

    /// Reads one picture into `planes`; false at the end.
    fn read(&mut self) -> Result<bool, SourceError> {
        loop {
            let (whole, damaged) = (self.frame_bytes(), |c: &Self, why: String| Err(c.input.broken(c.n, why)));
            match self.state {
                State::Mark { doubt } => {
                    let got = self.input.fill(&mut self.mark)?;
                    let Some(next) = self.behind_mark(got) else {
                        self.state = if doubt { State::Lost { since: self.input.at - got as u64 } } else { State::Skip };
                        return damaged(self, format!("begins with \"{}\", expected FRAME", self.mark[..got].escape_ascii()));
                    };
                    self.state = next;
                }
                State::Line => {
                    self.input.line(&mut self.line, MAX_LINE)?;
                    let whole = self.line.last() == Some(&b'\n');
                    self.line.clear();
                    self.state = if whole { State::Planes { found: false } } else { State::Skip };
                    if !whole {
                        return damaged(self, format!("FRAME has no line end within {MAX_LINE} bytes"));
                    }
                }
                State::Header => {
                    self.input.line(&mut self.line, MAX_LINE)?;
                    let header = Header::parse(&self.line);
                    self.line.clear();
                    self.state = State::End;
                    let refuse = |why: String| self.input.refuse(format!("another recording begins at frame {}: {why}", self.n));
                    let header = header.map_err(refuse)?;
                    self.follow(header);
                    self.state = State::Mark { doubt: false };
                }
                State::Planes { found } => {
                    let got = self.input.fill(&mut self.planes)?;
                    if got < self.planes.len() {
                        self.state = State::End;
                        return damaged(self, format!("cut off: {got} of {} bytes", self.planes.len()));
                    }
                    if found {
                        self.state = State::Proof;
                        continue;
                    }
                    self.state = State::Mark { doubt: false };
                    self.n += 1;
                    return Ok(true);
                }
                State::Proof => {
                    let got = self.input.fill(&mut self.mark)?;
                    let Some(next) = self.behind_mark(got) else {
                        // What looked like its mark were pixels, or the pictures here are of another size.
                        self.state = State::Lost { since: self.input.at - got as u64 - whole };
                        return damaged(self, format!("\"{}\" follows it, expected FRAME", self.mark[..got].escape_ascii()));
                    };
                    self.state = next;
                    self.n += 1;
                    return Ok(true);
                }
                State::Skip => {
                    self.input.fill(&mut self.planes)?;
                    self.state = State::Mark { doubt: true };
                    self.n += 1;
                }
                State::Lost { since } => {
                    let from = self.input.at;
                    if self.input.seek(MARK, whole)? {
                        // What went by still takes up its time: whole pictures, to the nearest.
                        let passed = self.input.at - MARK.len() as u64 - since;
                        self.n += (passed + whole / 2) / whole;
                        self.state = State::Planes { found: true };
                    } else if self.input.at - from < whole {
                        self.state = State::End;
                    } else {
                        return damaged(self, format!("no FRAME in {whole} bytes"));
                    }
                }
                State::End => return Ok(false),
            }
        }
    }

    /// Bytes from one `FRAME` to the next.
    fn frame_bytes(&self) -> u64 {
        (MARK.len() + self.planes.len()) as u64
    }
}

impl Source for Clip {
    fn next(&mut self) -> Result<Option<Frame<'_>>, SourceError> {
        if !self.read()? {
            return Ok(None);
        }
        let &Header { width, height, layout, .. } = &self.header;
        let (format, data) = match layout {
            Layout::Mono => (PixelFormat::Gray, &self.planes),
            Layout::C420 => (PixelFormat::I420, &self.planes),
            Layout::C422 | Layout::C444 => {
                interleave(&self.planes, &mut self.packed, width, layout == Layout::C422);
                (PixelFormat::Yuv444, &self.packed)
            }
        };
        let image = Image::new(format, width, height, format.min_stride(width), data)?;
        let n = self.n - 1;
        Ok(Some(Frame { at: self.stamp(n), seq: Seq(n as u32), payload: Payload::Image(image) }))
    }

    fn describe(&self) -> String {
        let Header { width, height, layout, rate } = &self.header;
        format!("{}: Y4M {layout:?} {width}x{height} at {rate} a second", self.input.name)
    }

    fn len_hint(&self) -> Option<u64> {
        self.input.bytes.map(|b| b.saturating_sub(self.header_bytes) / self.frame_bytes())
    }
}

/// Three planes to packed `Y U V`; `halved`: chroma has half the width, rounded up.
fn interleave(planes: &[u8], packed: &mut [u8], width: usize, halved: bool) {
    let pixels = packed.len() / 3;
    let (luma, chroma) = planes.split_at(pixels);
    let (u, v) = chroma.split_at(chroma.len() / 2);
    let (cw, step) = if halved { (width.div_ceil(2), 2) } else { (width, 1) };
    for (((to, y), u), v) in
        packed.chunks_exact_mut(width * 3).zip(luma.chunks_exact(width)).zip(u.chunks_exact(cw)).zip(v.chunks_exact(cw))
    {
        for (x, (to, y)) in to.chunks_exact_mut(3).zip(y).enumerate() {
            to.copy_from_slice(&[*y, u[x / step], v[x / step]]);
        }
    }
}

impl Header {
    fn parse(line: &[u8]) -> Result<Self, String> {
        let Some(rest) = line.strip_prefix(MAGIC) else {
            return Err(match line {
                [] => "empty, expected a Y4M file".into(),
                _ => format!("begins with \"{}\", expected YUV4MPEG2", line[..line.len().min(9)].escape_ascii()),
            });
        };
        let text = rest.strip_suffix(b"\n").and_then(|r| std::str::from_utf8(r).ok());
        let text = text.ok_or_else(|| format!("header is not a line of text of at most {MAX_LINE} bytes"))?;
        let (mut width, mut height, mut layout, mut rate) = (0, 0, Layout::C420, None);
        for part in text.split(' ').filter(|p| !p.is_empty()) {
            let mut letters = part.chars();
            let (key, value) = (letters.next().unwrap_or(' '), letters.as_str());
            // Quoted and cut: these bytes may be anything.
            let shown = || format!("{:?}", part.chars().take(24).collect::<String>());
            let number = || value.parse::<usize>().map_err(|_| format!("header says {}, expected a number there", shown()));
            match key {
                'W' => width = number()?,
                'H' => height = number()?,
                // 0:0 stands for "unknown".
                'F' if value == "0:0" => {}
                'F' => {
                    rate = Some(
                        value.parse::<Rate>().map_err(|_| format!("header says {}, expected a rate such as F30:1", shown()))?,
                    )
                }
                'C' => layout = Layout::parse(value).ok_or_else(|| format!("header says {}, expected {LAYOUTS}", shown()))?,
                _ => {} // I interlacing, A pixel shape, X comments
            }
        }
        check_size(width, height).map_err(|why| format!("header says {why}"))?;
        // As ffmpeg takes it where the header does not say.
        let rate = rate.or(Rate::new(25, 1)).ok_or("no rate")?;
        Ok(Self { width, height, layout, rate })
    }

    /// Bytes in a picture whose planes are interleaved; 0 where they are lent as they lie.
    fn packed_bytes(&self) -> usize {
        match self.layout {
            Layout::Mono | Layout::C420 => 0,
            Layout::C422 | Layout::C444 => self.width * self.height * 3,
        }
    }

    /// Bytes in a picture. At most 3 * [`super::MAX_PIXELS`].
    fn bytes(&self) -> usize {
        let (w, h) = (self.width, self.height);
        w * h
            + 2 * match self.layout {
                Layout::Mono => 0,
                Layout::C420 => w.div_ceil(2) * h.div_ceil(2),
                Layout::C422 => w.div_ceil(2) * h,
                Layout::C444 => w * h,
            }
    }
}

const LAYOUTS: &str = "8-bit C420, C420jpeg, C420mpeg2, C420paldv, C422, C444 or Cmono (ffmpeg -pix_fmt yuv420p makes it)";

impl Layout {
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "420" | "420jpeg" | "420mpeg2" | "420paldv" => Self::C420,
            "mono" => Self::Mono,
            "422" => Self::C422,
            "444" => Self::C444,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clip(bytes: &[u8]) -> Result<Clip, SourceError> {
        Clip::from_reader("t.y4m", std::io::Cursor::new(bytes.to_vec()))
    }

    fn refusal(header: &str) -> String {
        clip(header.as_bytes()).err().map(|e| e.to_string()).unwrap_or_default()
    }

    #[test]
    fn frames_have_their_place_in_the_recording() {
        let mut c = clip(b"YUV4MPEG2 W2 H2 F30000:1001 It A1:1 C420paldv XWHAT\nFRAME It\n123456FRAME\nabcdef").unwrap();
        let f = c.next().unwrap().unwrap();
        assert_eq!((f.at.0, f.seq), (0, Seq(0)));
        let f = c.next().unwrap().unwrap();
        assert_eq!((f.at.0, f.seq), (33_366_666, Seq(1)));
        let Payload::Image(i) = f.payload else { panic!() };
        assert_eq!((i.format(), i.data()), (PixelFormat::I420, &b"abcdef"[..]));
        assert!(c.next().unwrap().is_none() && c.next().unwrap().is_none());
    }

    #[test]
    fn half_width_chroma_is_spread_over_an_odd_width() {
        let mut c = clip(b"YUV4MPEG2 W3 H1 C422\nFRAME\nabcUVuv").unwrap();
        let Payload::Image(i) = c.next().unwrap().unwrap().payload else { panic!() };
        assert_eq!((i.format(), i.data()), (PixelFormat::Yuv444, &b"aUubUucVv"[..]));
    }

    #[test]
    fn headers_that_cannot_be_used_are_refused_in_a_sentence() {
        for (header, says) in [
            ("", "empty"),
            ("RIFF", "expected YUV4MPEG2"),
            ("YUV4MPEG2 W0 H2\n", "0x2"),
            ("YUV4MPEG2 H2\n", "0x2"),
            ("YUV4MPEG2 W99999 H99999\n", "99999x99999"),
            ("YUV4MPEG2 W16384 H16384\n", "16384x16384"),
            ("YUV4MPEG2 W-2 H2\n", "\"W-2\""),
            ("YUV4MPEG2 W2 H2 C420p10 F25:1\n", "C420p10"),
            ("YUV4MPEG2 W2 H2 F25:0\n", "25:0"),
            ("YUV4MPEG2 W2 H2", "not a line"),
        ] {
            let found = refusal(header);
            assert!(found.contains(says) && found.starts_with("t.y4m"), "{header:?}: {found}");
        }
    }

    /// Stamps in seconds, or what was said.
    fn story(bytes: &[u8]) -> Vec<String> {
        let mut c = clip(bytes).unwrap();
        let mut story = Vec::new();
        loop {
            match c.next() {
                Ok(Some(f)) => story.push((f.at.ms() / 1000).to_string()),
                Ok(None) => return story,
                Err(e) => story.push(e.to_string()),
            }
        }
    }

    #[test]
    fn a_damaged_frame_is_said_and_the_next_one_comes_at_its_time() {
        assert_eq!(
            story(b"YUV4MPEG2 W2 H1 Cmono F1:1\nFRAME\nabFRbME\ncdFRAMExefFRAME\nghFRAME\ni"),
            [
                "0",
                "t.y4m frame 1: begins with \"FRbME\\n\", expected FRAME",
                "t.y4m frame 2: begins with \"FRAMEx\", expected FRAME",
                "3",
                "t.y4m frame 4: cut off: 1 of 2 bytes"
            ]
        );
    }

    #[test]
    fn missing_and_added_bytes_are_recovered_from() {
        let text = b"YUV4MPEG2 W4 H1 Cmono F1:1\nFRAME\n0000FRAME\n11FRAME\n2222FRAME\n3333FRAME\n4444FRAME\n5555";
        assert_eq!(story(text).last().map(String::as_str), Some("5"));
        let text = b"YUV4MPEG2 W4 H1 Cmono F1:1\nFRAME\n0000FRAME\n111xxxx1FRAME\n2222FRAME\n3333FRAME\n4444";
        assert_eq!(story(text).last().map(String::as_str), Some("4"));
    }

    #[test]
    fn a_recording_behind_another_is_read_by_its_own_header() {
        let both = b"YUV4MPEG2 W2 H1 Cmono F1:1\nFRAME\nabFRAME\ncdYUV4MPEG2 W1 H2 C444 F1:2\nFRAME\nefghijFRAME x\nklmnop";
        let mut c = clip(both).unwrap();
        let mut found = vec![];
        while let Some(frame) = c.next().unwrap() {
            let Payload::Image(i) = frame.payload else { panic!() };
            let (s, pixels) = (frame.at.ms() / 1000, String::from_utf8_lossy(i.data()));
            found.push(format!("{s} s, {}: {:?} {}x{} {pixels}", frame.seq.0, i.format(), i.width(), i.height()));
        }
        assert_eq!(
            found,
            ["0 s, 0: Gray 2x1 ab", "1 s, 1: Gray 2x1 cd", "2 s, 2: Yuv444 1x2 egifhj", "4 s, 3: Yuv444 1x2 kmolnp"]
        );
        let said = story(b"YUV4MPEG2 W2 H1 Cmono F1:1\nFRAME\nabYUV4MPEG2 W4 H1 C420p10\nFRAME\n");
        assert_eq!((said.len(), said[0].as_str()), (2, "0"));
        assert!(said[1].starts_with("t.y4m: another recording begins at frame 1: header says \"C420p10\""), "{said:?}");
    }

    #[test]
    fn pictures_of_another_size_than_the_header_says_are_not_put_together_into_one() {
        let text = b"YUV4MPEG2 W4 H1 Cmono F1:1\nFRAME\n0000FRAxE\n1111FRAxE\n2222FRAME\n33FRAME\n44FRAME\n55FRAME\n66";
        let said = story(text);
        assert_eq!(said.iter().filter(|s| s.parse::<u64>().is_ok()).count(), 1, "{said:?}");
        assert_eq!(said[3], "t.y4m frame 3: \"AME\\n44\" follows it, expected FRAME");
    }
}
