//! One JPEG decoder for everything that sends JPEG: UVC cameras, MJPEG recordings, folders of pictures.
//!
//! zune-jpeg does the decoding; this file stands in front of it because a camera's bytes are not to be trusted. The
//! headers are walked first, so that a frame that is cut off, too large, or of a kind that cannot be decoded is refused
//! before anything is allocated for it, and so that the shapes which reach the decoder are the few that cameras make.
//! Many cameras leave the Huffman tables out (every one of them uses the same): the standard ones are then put in.
//!
//! The picture stays as it was coded: Y, Cb and Cr at full size ([`PixelFormat::Yuv444`]) or luma alone
//! ([`PixelFormat::Gray`]), full range, with no way through RGB. It lies in a buffer that is kept from frame to frame;
//! zune-jpeg itself has no such thing and allocates on every call (its tables, about one row of blocks a component,
//! for progressive or multi-scan files the whole picture twice). That is bounded by the size checked here.

use super::{Image, MAX_SIDE, PixelFormat, SourceError, check_size};
use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

/// Scans of a progressive picture that are read; encoders write about ten.
const MAX_SCANS: usize = 24;
/// An `APP0 AVI1` segment: tells zune-jpeg that missing Huffman tables are the standard ones.
const AVI1: [u8; 18] = *b"\xff\xe0\x00\x10AVI1\0\0\0\0\0\0\0\0\0\0";

/// A decoder and its buffers. One per source.
#[derive(Debug, Default)]
pub struct Jpeg {
    pixels: Vec<u8>,
    patched: Vec<u8>,
    luma_only: bool,
    /// Width and height that no picture exceeds, where they are known.
    most: Option<(usize, usize)>,
}

impl Jpeg {
    /// A decoder that gives what the file holds: [`PixelFormat::Yuv444`], [`PixelFormat::Gray`], or
    /// [`PixelFormat::Rgb`] for the rare file that was coded as RGB.
    pub fn new() -> Self {
        Self::default()
    }

    /// A decoder that gives luma alone ([`PixelFormat::Gray`]) where it can: colour is then skipped over, not computed.
    pub fn luma_only() -> Self {
        Self { luma_only: true, ..Self::default() }
    }

    /// Nothing larger is decoded, but for the blocks of 16 that a size is rounded up to. A camera agreed to its size before: one bit of a damaged
    /// header may say twenty times as many pixels, which would cost as many frames' time, and memory for good.
    #[must_use]
    pub fn no_larger(self, width: usize, height: usize) -> Self {
        Self { most: Some((width.next_multiple_of(16), height.next_multiple_of(16))), ..self }
    }

    /// Decodes one whole JPEG (baseline or progressive, 8 bit). Bytes after its end marker are ignored.
    ///
    /// # Errors
    /// [`SourceError::Broken`], with what was found: not a JPEG, cut off, damaged, too large or of an unusual kind.
    /// The next call starts afresh.
    pub fn decode<'a>(&'a mut self, bytes: &[u8]) -> Result<Image<'a>, SourceError> {
        let shape = Shape::read(bytes).map_err(broken)?;
        if let Some((w, h)) = self.most.filter(|(w, h)| shape.width > *w || shape.height > *h) {
            return Err(broken(format!("{}x{} pixels, at most {w}x{h} was agreed", shape.width, shape.height)));
        }
        let bytes = if shape.huffman {
            bytes
        } else {
            self.patched.clear();
            self.patched.extend_from_slice(&bytes[..2]);
            self.patched.extend_from_slice(&AVI1);
            self.patched.extend_from_slice(&bytes[2..]);
            &self.patched[..]
        };
        let options = DecoderOptions::default()
            .set_strict_mode(true)
            .set_max_width(MAX_SIDE)
            .set_max_height(MAX_SIDE)
            .jpeg_set_max_scans(MAX_SCANS);
        let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
        decoder.decode_headers().map_err(|e| broken(words(&e)))?;
        let (space, format) = match (shape.components, decoder.input_colorspace()) {
            (1, _) => (ColorSpace::Luma, PixelFormat::Gray),
            (_, Some(ColorSpace::YCbCr)) if self.luma_only && shape.luma_alone => (ColorSpace::Luma, PixelFormat::Gray),
            (_, Some(ColorSpace::YCbCr)) => (ColorSpace::YCbCr, PixelFormat::Yuv444),
            // An Adobe marker that says "no transform" makes three components RGB; zune-jpeg calls that CMYK at first.
            (_, Some(ColorSpace::RGB | ColorSpace::CMYK)) => (ColorSpace::RGB, PixelFormat::Rgb),
            (_, other) => return Err(broken(format!("colour space {other:?}, expected grey, YCbCr or RGB"))),
        };
        decoder.set_options(decoder.options().jpeg_set_out_colorspace(space));
        let stride = format.min_stride(shape.width);
        let need = stride * shape.height;
        if decoder.dimensions() != Some((shape.width, shape.height)) || decoder.output_buffer_size() != Some(need) {
            return Err(broken(format!("two sizes in one picture, {}x{} first", shape.width, shape.height)));
        }
        self.pixels.resize(need, 0);
        decoder.decode_into(&mut self.pixels).map_err(|e| broken(words(&e)))?;
        Image::new(format, shape.width, shape.height, stride, &self.pixels)
    }
}

fn broken(why: impl Into<String>) -> SourceError {
    SourceError::Broken { what: "JPEG".into(), why: why.into() }
}

/// zune-jpeg's message on one line.
fn words(e: &DecodeErrors) -> String {
    format!("{e:?}").split_whitespace().collect::<Vec<_>>().join(" ").replace('"', "")
}

/// What the headers say, checked.
#[derive(Debug, PartialEq)]
struct Shape {
    width: usize,
    height: usize,
    components: u8,
    /// zune-jpeg can leave colour out for these sampling factors (for 1x2 it reads past the last row).
    luma_alone: bool,
    /// The picture brings its Huffman tables.
    huffman: bool,
}

impl Shape {
    /// Walks the segments up to the first scan.
    fn read(bytes: &[u8]) -> Result<Self, String> {
        if bytes.is_empty() {
            return Err("0 bytes, expected a JPEG".into());
        }
        if !bytes.starts_with(b"\xff\xd8") {
            return Err(format!("begins with {:02x?}, expected ff d8", &bytes[..bytes.len().min(4)]));
        }
        let mut at = 2;
        let mut frame = None;
        let mut huffman = false;
        loop {
            // A marker may have any number of ff in front of it.
            let fill = bytes[at..].iter().take_while(|b| **b == 0xff).count();
            let marker = *bytes.get(at + fill).ok_or("ends before its first scan")?;
            if fill == 0 {
                return Err(format!("{marker:02x} at byte {at}, expected a marker"));
            }
            at += fill + 1;
            if matches!(marker, 0x00 | 0x01 | 0xd0..=0xd9) {
                return Err(format!("marker ff {marker:02x} at byte {}, expected headers and a scan", at - 1));
            }
            let length = usize::from(u16::from_be_bytes([*bytes.get(at).ok_or(CUT)?, *bytes.get(at + 1).ok_or(CUT)?]));
            let body = bytes.get(at + 2..at + length.max(2)).ok_or(CUT)?;
            match marker {
                0xc4 => huffman = true,
                0xc0..=0xc2 if frame.is_none() => frame = Some(Self::frame(body)?),
                0xc0..=0xc2 => return Err("two frame headers in one picture".into()),
                0xc3 | 0xc5..=0xcf => return Err(format!("coding ff {marker:02x}, expected baseline or progressive Huffman")),
                0xda => break,
                _ => {}
            }
            at += length.max(2);
        }
        let (width, height, components, luma_alone) = frame.ok_or("a scan without a frame header")?;
        let coded = &bytes[at..];
        // Inside a scan ff is always followed by 00 or a restart, so this pair is the end wherever it stands.
        if !coded.windows(2).rev().any(|w| w == b"\xff\xd9") {
            return Err(format!("cut off: no end marker in {} bytes", bytes.len()));
        }
        let blocks = width.div_ceil(8) * height.div_ceil(8);
        if coded.len() < blocks / 8 {
            return Err(format!("cut off: {} bytes cannot hold {width}x{height} pixels", coded.len()));
        }
        Ok(Self { width, height, components, luma_alone, huffman })
    }

    /// A frame header: width, height, components, and whether luma can be had alone.
    fn frame(body: &[u8]) -> Result<(usize, usize, u8, bool), String> {
        let &[depth, h1, h0, w1, w0, components, ref factors @ ..] = body else {
            return Err("frame header is cut off".into());
        };
        let (width, height) = (usize::from(u16::from_be_bytes([w1, w0])), usize::from(u16::from_be_bytes([h1, h0])));
        if depth != 8 {
            return Err(format!("{depth} bits a sample, expected 8"));
        }
        check_size(width, height)?;
        if !matches!(components, 1 | 3) {
            return Err(format!("{components} components, expected 1 (grey) or 3 (colour)"));
        }
        if factors.len() != 3 * usize::from(components) {
            return Err(format!("frame header with {} bytes for {components} components", factors.len()));
        }
        let (h, v) = (factors[1] >> 4, factors[1] & 15);
        for f in factors.chunks_exact(3) {
            let (ch, cv, table) = (f[1] >> 4, f[1] & 15, f[2]);
            let fits = |luma: u8, part: u8| matches!(luma, 1 | 2 | 4) && part != 0 && luma.is_multiple_of(part);
            if !fits(h, ch) || !fits(v, cv) || table > 3 {
                return Err(format!(
                    "sampling {ch}x{cv} under {h}x{v} with table {table}, expected 1, 2 or 4 each way and table 0 to 3"
                ));
            }
        }
        Ok((width, height, components, matches!((h, v), (1, 1) | (2, 1) | (2, 2))))
    }
}

const CUT: &str = "cut off in its headers";

#[cfg(test)]
mod tests {
    use super::*;

    fn golden(name: &str) -> Vec<u8> {
        std::fs::read(format!("{}/tests/golden/sources/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
    }

    /// Luma that another decoder found, from a PGM whose header is 13 bytes long.
    fn expected(name: &str) -> Vec<u8> {
        golden(&format!("{name}.pgm"))[13..].to_vec()
    }

    const ALL: [&str; 8] = ["ff420", "ff422", "ff444", "cv420", "grey", "progressive", "restart", "bare"];

    #[test]
    fn luma_agrees_with_another_decoder() {
        for name in ALL {
            let (file, expected) = (golden(&format!("{name}.jpg")), expected(name));
            for mut jpeg in [Jpeg::new(), Jpeg::luma_only()] {
                let image = jpeg.decode(&file).unwrap_or_else(|e| panic!("{name}: {e}"));
                assert_eq!((image.width(), image.height()), (35, 21), "{name}");
                let step = if image.format() == PixelFormat::Gray { 1 } else { 3 };
                let found: Vec<u8> = image.data().iter().step_by(step).copied().collect();
                let worst = found.iter().zip(&expected).map(|(a, b)| a.abs_diff(*b)).max();
                assert_eq!(found.len(), expected.len(), "{name}");
                assert!(worst <= Some(2), "{name} step {step}: off by {worst:?}");
            }
        }
    }

    #[test]
    fn every_truncation_is_broken_and_the_next_frame_is_good() {
        for name in ALL {
            let file = golden(&format!("{name}.jpg"));
            let mut jpeg = Jpeg::new();
            for end in 0..file.len() {
                assert!(matches!(jpeg.decode(&file[..end]), Err(SourceError::Broken { .. })), "{name} cut at {end}");
            }
            assert!(jpeg.decode(&file).is_ok());
        }
    }

    #[test]
    fn any_changed_byte_ends_in_a_picture_or_a_sentence() {
        for name in ALL {
            let mut file = golden(&format!("{name}.jpg"));
            let mut jpeg = Jpeg::new();
            for at in 0..file.len() {
                let was = file[at];
                for value in
                    [0x00, 0x01, 0x7f, 0x80, 0xd8, 0xd9, 0xda, 0xc4, 0xc0, 0xff, was ^ 1, was ^ 0x10, was.wrapping_add(1)]
                {
                    file[at] = value;
                    if let Err(e) = jpeg.decode(&file) {
                        assert!(matches!(e, SourceError::Broken { .. }) && !e.to_string().contains('\n'), "{name} {at}: {e}");
                    }
                }
                file[at] = was;
            }
        }
    }

    #[test]
    fn huge_sizes_are_refused_before_anything_is_allocated() {
        let mut file = golden("cv420.jpg");
        let sof = file.windows(2).position(|w| w == b"\xff\xc0").unwrap();
        for (w, h, says) in
            [(0u16, 21u16, "0x21"), (35, 0, "35x0"), (65_535, 65_535, "65535x65535"), (16_000, 2_400, "cannot hold")]
        {
            file[sof + 5..sof + 7].copy_from_slice(&h.to_be_bytes());
            file[sof + 7..sof + 9].copy_from_slice(&w.to_be_bytes());
            let mut jpeg = Jpeg::new();
            let sentence = jpeg.decode(&file).unwrap_err().to_string();
            assert!(sentence.contains(says), "{sentence}");
            assert_eq!(jpeg.pixels.capacity(), 0);
        }
    }
}
