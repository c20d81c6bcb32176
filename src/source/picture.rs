//! One picture file to pixels: PNG, JPEG or binary PNM, told apart by their first bytes.
//!
//! All of it lands in buffers that are kept from picture to picture. Sizes are checked before anything is allocated.
//! Grey stays grey, colour becomes RGB (JPEG stays YCbCr), 16 bits become 8, palettes are looked up, alpha is left out.

use super::jpeg::Jpeg;
use super::{Image, MAX_PIXELS, PixelFormat, SourceError, check_size};
use png::{ColorType, Transformations};
use std::io::Cursor;

/// Decoders and their buffers.
#[derive(Debug, Default)]
pub struct Picture {
    jpeg: Jpeg,
    pixels: Vec<u8>,
}

impl Picture {
    /// `luma_only`: see [`Jpeg::luma_only`]; PNG and PNM are as they are.
    pub fn new(luma_only: bool) -> Self {
        Self { jpeg: if luma_only { Jpeg::luma_only() } else { Jpeg::new() }, pixels: Vec::new() }
    }

    /// Decodes the bytes of one file.
    ///
    /// # Errors
    /// [`SourceError::Broken`], with what was found.
    pub fn decode<'a>(&'a mut self, bytes: &[u8]) -> Result<Image<'a>, SourceError> {
        let broken = |why| SourceError::Broken { what: "picture".into(), why };
        let (format, width, height) = match bytes {
            [0xff, 0xd8, ..] => return self.jpeg.decode(bytes),
            [0x89, b'P', b'N', b'G', ..] => self.png(bytes).map_err(broken)?,
            [b'P', b'5' | b'6', ..] => self.pnm(bytes).map_err(broken)?,
            [] => return Err(broken("0 bytes, expected PNG, JPEG or PGM".into())),
            _ => {
                let start = bytes[..bytes.len().min(8)].escape_ascii();
                return Err(broken(format!("begins with \"{start}\", expected PNG, JPEG, PGM (P5) or PPM (P6)")));
            }
        };
        Image::new(format, width, height, format.min_stride(width), &self.pixels)
    }

    fn png(&mut self, bytes: &[u8]) -> Result<(PixelFormat, usize, usize), String> {
        let limits = png::Limits { bytes: 4 * MAX_PIXELS };
        let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), limits);
        decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
        decoder.set_ignore_text_chunk(true);
        decoder.set_ignore_iccp_chunk(true);
        let header = decoder.read_header_info().map_err(words)?;
        let (width, height) = (header.width as usize, header.height as usize);
        check_size(width, height)?;
        let mut reader = decoder.read_info().map_err(words)?;
        let (color, _) = reader.output_color_type();
        let samples = color.samples();
        let need = width * height * samples;
        if reader.output_buffer_size() != Some(need) {
            return Err(format!("PNG of {width}x{height} {color:?} does not add up"));
        }
        // No zlib stream expands more than 1032 times: a small file is not given a large buffer. One bit a pixel is the least.
        if bytes.len().saturating_mul(1032) < height * (width / 8 + 1) {
            return Err(format!("cut off: {} bytes cannot hold {width}x{height} pixels", bytes.len()));
        }
        self.pixels.resize(need, 0);
        reader.next_frame(&mut self.pixels).map_err(words)?;
        let (format, keep) = match color {
            ColorType::Grayscale | ColorType::GrayscaleAlpha => (PixelFormat::Gray, 1),
            ColorType::Rgb | ColorType::Rgba => (PixelFormat::Rgb, 3),
            ColorType::Indexed => return Err("palette that could not be looked up".into()),
        };
        if keep < samples {
            for i in 0..width * height {
                self.pixels.copy_within(i * samples..i * samples + keep, i * keep);
            }
            self.pixels.truncate(width * height * keep);
        }
        Ok((format, width, height))
    }

    fn pnm(&mut self, bytes: &[u8]) -> Result<(PixelFormat, usize, usize), String> {
        let (format, channels) = if bytes[1] == b'5' { (PixelFormat::Gray, 1) } else { (PixelFormat::Rgb, 3) };
        let mut at = 2;
        let mut number = |what: &str| {
            // White space and comments, then digits.
            loop {
                match bytes.get(at) {
                    Some(b'#') => at += bytes[at..].iter().take_while(|b| **b != b'\n').count(),
                    Some(b) if b.is_ascii_whitespace() => at += 1,
                    _ => break,
                }
            }
            let digits = bytes[at..].iter().take_while(|b| b.is_ascii_digit()).count();
            let text = std::str::from_utf8(&bytes[at..at + digits]).unwrap_or_default();
            at += digits;
            let value = text.parse::<usize>().ok().filter(|_| digits < 9);
            value.map(|v| (v, at)).ok_or_else(|| format!("PNM header has no {what} where one is expected"))
        };
        let (width, height) = (number("width")?.0, number("height")?.0);
        let (top, at) = number("largest value")?;
        check_size(width, height)?;
        if !(1..=65_535).contains(&top) || !bytes.get(at).is_some_and(u8::is_ascii_whitespace) {
            return Err(format!("PNM with a largest value of {top}, expected 1 to 65535 and one blank"));
        }
        let deep = if top > 255 { 2 } else { 1 };
        let (found, need) = (&bytes[at + 1..], width * height * channels);
        if found.len() < need * deep {
            return Err(format!("cut off: {} of {} bytes", found.len(), need * deep));
        }
        self.pixels.clear();
        let level = |v: usize| (v.min(top) * 255 / top) as u8;
        match (top, deep) {
            (255, _) => self.pixels.extend_from_slice(&found[..need]),
            (_, 1) => self.pixels.extend(found[..need].iter().map(|v| level(usize::from(*v)))),
            _ => self
                .pixels
                .extend(found[..2 * need].chunks_exact(2).map(|v| level(usize::from(u16::from_be_bytes([v[0], v[1]]))))),
        }
        Ok((format, width, height))
    }
}

fn words(e: png::DecodingError) -> String {
    e.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pnm_of_any_depth_becomes_bytes() {
        let mut p = Picture::new(false);
        for (file, expected) in [
            (&b"P5 2 1 255\n\x10\x20"[..], &[16, 32][..]),
            (b"P5\n# by hand\n2\t1\n15\n\x0f\x05", &[255, 85]),
            (b"P5 2 1 65535 \xff\xff\x80\x00", &[255, 127]),
            (b"P6 1 1 255\nabc", b"abc"),
        ] {
            assert_eq!(p.decode(file).unwrap().data(), expected);
        }
    }

    #[test]
    fn pnm_that_makes_no_sense_ends_in_a_sentence() {
        let mut p = Picture::new(false);
        for (file, says) in [
            (&b"P5"[..], "no width"),
            (b"P5 2", "no height"),
            (b"P5 2 2 0\nabcd", "largest value of 0"),
            (b"P5 2 2 255\nabc", "3 of 4 bytes"),
            (b"P5 0 2 255\n", "0x2 pixels"),
            (b"P5 99999 99999 255\n", "99999x99999"),
            (b"P5 99999999999999999999 1 255\n", "no width"),
            (b"P2 1 1 255\n7", "expected PNG"),
            (b"GIF89a", "GIF89a"),
            (b"", "0 bytes"),
        ] {
            let found = p.decode(file).unwrap_err().to_string();
            assert!(found.contains(says), "{found}");
        }
    }
}
