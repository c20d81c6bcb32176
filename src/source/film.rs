//! Small pictures to keep: frames made smaller and written as Y4M, which [`super::clip`] reads again.
//!
//! Raw, because a box has no video encoder that is worth its dependency, and small, because no encoder here looks at more than a few hundred
//! pixels: 320 wide in grey at ten a second is 0.8 MB a second. A file that a power cut ends can be read up to its last whole picture.

use super::Image;
use crate::bundle::{Channel, Input};
use crate::shaper::{Region, Shaper, ShaperError};
use std::io::{self, Write};

/// Makes pictures smaller, all of them alike.
#[derive(Debug)]
pub struct Film {
    shaper: Shaper,
    width: usize,
    height: usize,
    colour: bool,
    yuv: Vec<u8>,
}

impl Film {
    /// For pictures like `image`, at most `width` pixels wide, in colour if `colour`.
    ///
    /// # Errors
    /// A picture of no size.
    pub fn new(image: &Image<'_>, width: usize, colour: bool) -> Result<Self, ShaperError> {
        let wide = image.width().clamp(8, width.max(8));
        let high = (image.height() * wide).div_ceil(image.width().max(1)).clamp(8, 4096);
        let input = Input::picture(wide, high, vec![if colour { Channel::Rgb } else { Channel::Gray }]);
        let shaper = Shaper::new(&input, Region::default())?;
        Ok(Self { shaper, width: wide, height: high, colour, yuv: vec![0; if colour { 3 * wide * high } else { 0 }] })
    }

    /// The first line of the file; `tick_ms` between pictures.
    pub fn header(&self, tick_ms: u32) -> String {
        let layout = if self.colour { "444" } else { "mono" };
        format!("YUV4MPEG2 W{} H{} F1000:{tick_ms} Ip A1:1 C{layout}\n", self.width, self.height)
    }

    /// One picture, made smaller.
    ///
    /// # Errors
    /// A picture of no size.
    pub fn picture(&mut self, image: &Image<'_>) -> Result<&[u8], ShaperError> {
        self.shaper.stage(image)?;
        let planes = self.shaper.finish();
        if !self.colour {
            return Ok(planes);
        }
        let pixels = self.width * self.height;
        let (luma, rest) = self.yuv.split_at_mut(pixels);
        let (u, v) = rest.split_at_mut(pixels);
        for i in 0..pixels {
            let [r, g, b] = [planes[i], planes[pixels + i], planes[2 * pixels + i]].map(f32::from);
            // BT.601, full range, as the shaper takes it apart.
            let y = 0.299 * r + 0.587 * g + 0.114 * b;
            let level = |value: f32| value.round().clamp(0.0, 255.0) as u8;
            (luma[i], u[i], v[i]) = (level(y), level(128.0 + (b - y) / 1.772), level(128.0 + (r - y) / 1.402));
        }
        Ok(&self.yuv)
    }
}

/// One picture of a Y4M file.
///
/// # Errors
/// As `out`.
pub fn write(out: &mut dyn Write, picture: &[u8]) -> io::Result<()> {
    out.write_all(b"FRAME\n")?;
    out.write_all(picture)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::clip::Clip;
    use crate::source::{Payload, PixelFormat, Source};

    #[test]
    fn a_film_is_read_again_as_it_was() {
        let rgb: Vec<u8> = (0..64 * 32).flat_map(|i| if i % 64 < 32 { [200, 40, 90] } else { [10, 220, 30] }).collect();
        let image = Image::new(PixelFormat::Rgb, 64, 32, 192, &rgb).expect("whole");
        for (colour, luma) in [(false, 93.0f32), (true, 93.0)] {
            let mut film = Film::new(&image, 16, colour).expect("a film");
            let mut bytes = film.header(100).into_bytes();
            write(&mut bytes, film.picture(&image).expect("a picture")).expect("written");
            let mut clip = Clip::from_reader("film", io::Cursor::new(bytes)).expect("a clip");
            let frame = clip.next().expect("read").expect("a frame");
            let Payload::Image(read) = frame.payload else { unreachable!("a picture") };
            assert_eq!((read.width(), read.height()), (16, 8));
            // 0.299 * 200 + 0.587 * 40 + 0.114 * 90
            assert!((f32::from(read.data()[0]) - luma).abs() <= 1.5, "{}", read.data()[0]);
        }
    }
}
