//! A small picture, described once and written as SVG or as PNG: what a report shows has to fit a page and a slide.
//!
//! SVG is what a browser shows best; a PNG goes into a document that takes no SVG. Only what reports draw is here: boxes, lines, dots and short texts.
//! The PNG is painted at twice the size with nine samples a pixel, its letters are an 8x8 bitmap font: plain, and legible at every turn.

#![cfg_attr(not(feature = "train"), expect(dead_code, reason = "a device draws the matrix alone, and no PNG"))]

use super::plot::escaped;
use std::fmt::Write;

/// Red, green, blue.
pub type Colour = [u8; 3];
/// Texts and marks.
pub const INK: Colour = [0x22; 3];
/// What explains.
pub const FAINT: Colour = [0x66; 3];
/// Edges.
pub const EDGE: Colour = [0xcc; 3];

/// Where a text has its point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// It begins there.
    Start,
    /// It is around there.
    Middle,
    /// It ends there.
    End,
}

/// How a line is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stroke {
    /// Two pixels wide.
    Thick,
    /// One, in pieces.
    Dashed,
}

/// One thing. Places and lengths are pixels of the SVG, to the right and down.
#[derive(Clone, Debug)]
enum Shape {
    Box { at: (f32, f32), size: (f32, f32), fill: Option<Colour>, edge: Colour },
    Line { from: (f32, f32), to: (f32, f32), colour: Colour, stroke: Stroke },
    Dot { at: (f32, f32), radius: f32, colour: Colour, tip: String },
    Text { at: (f32, f32), text: String, anchor: Anchor, degrees: f32, colour: Colour },
}

/// See the module's text.
#[derive(Clone, Debug)]
pub struct Drawing {
    size: (usize, usize),
    letters: f32,
    shapes: Vec<Shape>,
}

impl Drawing {
    /// An empty one of so many pixels, with letters so high.
    pub fn new(width: usize, height: usize, letters: f32) -> Self {
        Self { size: (width, height), letters, shapes: Vec::new() }
    }

    /// A box with an edge, perhaps filled.
    pub fn boxed(&mut self, at: (f32, f32), size: (f32, f32), fill: Option<Colour>, edge: Colour) {
        self.shapes.push(Shape::Box { at, size, fill, edge });
    }

    /// A line.
    pub fn line(&mut self, from: (f32, f32), to: (f32, f32), colour: Colour, stroke: Stroke) {
        self.shapes.push(Shape::Line { from, to, colour, stroke });
    }

    /// A dot that lets half of what is behind it through; a browser shows `tip` under the pointer.
    pub fn dot(&mut self, at: (f32, f32), radius: f32, colour: Colour, tip: String) {
        self.shapes.push(Shape::Dot { at, radius, colour, tip });
    }

    /// A text on its base line, turned clockwise by so many degrees about its point.
    pub fn text(&mut self, at: (f32, f32), text: &str, anchor: Anchor, degrees: f32, colour: Colour) {
        self.shapes.push(Shape::Text { at, text: text.into(), anchor, degrees, colour });
    }

    /// As an SVG element.
    pub fn svg(&self) -> String {
        let (w, h) = self.size;
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {w} {h}\" width=\"{w}\" height=\"{h}\" font-size=\"{}\">",
            self.letters
        );
        for shape in &self.shapes {
            let _ = match shape {
                Shape::Box { at: (x, y), size: (w, h), fill, edge } => {
                    let fill = fill.map_or("none".into(), hex);
                    write!(
                        out,
                        "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{w:.1}\" height=\"{h:.1}\" fill=\"{fill}\" stroke=\"{}\"/>",
                        hex(*edge)
                    )
                }
                Shape::Line { from: (x, y), to: (u, v), colour, stroke } => {
                    let more = match stroke {
                        Stroke::Thick => " stroke-width=\"2\" stroke-linecap=\"round\"",
                        Stroke::Dashed => " stroke-dasharray=\"4 4\"",
                    };
                    write!(
                        out,
                        "<line x1=\"{x:.1}\" y1=\"{y:.1}\" x2=\"{u:.1}\" y2=\"{v:.1}\" stroke=\"{}\"{more}/>",
                        hex(*colour)
                    )
                }
                Shape::Dot { at: (x, y), radius, colour, tip } => write!(
                    out,
                    "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius:.1}\" fill=\"{}\" fill-opacity=\".55\"><title>{}</title></circle>",
                    hex(*colour),
                    escaped(tip)
                ),
                Shape::Text { at: (x, y), text, anchor, degrees, colour } => {
                    let anchor = match anchor {
                        Anchor::Start => "start",
                        Anchor::Middle => "middle",
                        Anchor::End => "end",
                    };
                    write!(
                        out,
                        "<text transform=\"translate({x:.1} {y:.1}) rotate({degrees})\" text-anchor=\"{anchor}\" fill=\"{}\">{}</text>",
                        hex(*colour),
                        escaped(text)
                    )
                }
            };
        }
        out.push_str("</svg>\n");
        out
    }
}

fn hex([r, g, b]: Colour) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}

/// The same as pixels.
#[cfg(feature = "train")]
mod paint {
    use super::{Anchor, Colour, Drawing, Shape, Stroke};
    use font8x8::UnicodeFonts;

    /// Pixels of the PNG to one of the SVG.
    const SCALE: usize = 2;
    /// Samples of a pixel, across and down.
    const SAMPLES: usize = 3;
    /// A letter's width to its height in a page, about.
    const PITCH: f32 = 0.6;

    impl Drawing {
        /// As a PNG file.
        pub fn png(&self) -> Vec<u8> {
            let (w, h) = (self.size.0 * SCALE, self.size.1 * SCALE);
            let mut pixels = vec![255u8; w * h * 3];
            for shape in &self.shapes {
                let (low, high) = self.extent(shape);
                let pixel = |at: f32, limit: usize| ((at * SCALE as f32).max(0.0) as usize).min(limit);
                for y in pixel(low.1, h)..pixel(high.1 + 1.0, h) {
                    for x in pixel(low.0, w)..pixel(high.0 + 1.0, w) {
                        self.blend(shape, (x, y), &mut pixels[3 * (y * w + x)..][..3]);
                    }
                }
            }
            crate::cli::plot::png(&pixels, w, h).unwrap_or_default()
        }

        /// The mean of what covers a pixel's samples, over what is there.
        fn blend(&self, shape: &Shape, pixel: (usize, usize), to: &mut [u8]) {
            let mut sum = [0.0f32; 3];
            for n in 0..SAMPLES * SAMPLES {
                let part = |pixel: usize, n: usize| (pixel as f32 + (n as f32 + 0.5) / SAMPLES as f32) / SCALE as f32;
                let at = (part(pixel.0, n % SAMPLES), part(pixel.1, n / SAMPLES));
                let (colour, cover) = self.covers(shape, at).unwrap_or_default();
                for (sum, (old, new)) in sum.iter_mut().zip(to.iter().zip(colour)) {
                    *sum += f32::from(*old) * (1.0 - cover) + f32::from(new) * cover;
                }
            }
            for (to, sum) in to.iter_mut().zip(sum) {
                *to = (sum / (SAMPLES * SAMPLES) as f32).round() as u8;
            }
        }

        /// What a shape shows at a point, and how much of what is behind it that hides.
        fn covers(&self, shape: &Shape, (px, py): (f32, f32)) -> Option<(Colour, f32)> {
            match shape {
                Shape::Box { at: (x, y), size: (w, h), fill, edge } => {
                    let deep = (px - x).min(x + w - px).min((py - y).min(y + h - py));
                    if deep.abs() <= 0.5 { Some((*edge, 1.0)) } else { fill.filter(|_| deep > 0.0).map(|fill| (fill, 1.0)) }
                }
                Shape::Line { from, to, colour, stroke } => {
                    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
                    let length = dx.hypot(dy).max(1e-6);
                    let along = ((px - from.0) * dx + (py - from.1) * dy) / length;
                    let beside = ((px - from.0) * dy - (py - from.1) * dx) / length;
                    let half = if *stroke == Stroke::Thick { 1.0 } else { 0.5 };
                    let gap = *stroke == Stroke::Dashed && along % 8.0 >= 4.0;
                    let drawn = (0.0..=length).contains(&along) && beside.abs() <= half && !gap;
                    drawn.then_some((*colour, 1.0))
                }
                Shape::Dot { at, radius, colour, .. } => ((px - at.0).hypot(py - at.1) <= *radius).then_some((*colour, 0.55)),
                Shape::Text { at, text, anchor, degrees, colour } => {
                    let (sin, cos) = degrees.to_radians().sin_cos();
                    let (dx, dy) = (px - at.0, py - at.1);
                    let (along, up) = (dx * cos + dy * sin, dx * sin - dy * cos);
                    // A letter is 8 rows high, the lowest of which is below the base line.
                    let cell = self.letters * PITCH / 8.0;
                    let column = (along + self.before(text, *anchor)) / cell;
                    let row = 7.0 - up / cell;
                    if !(0.0..8.0).contains(&row) || column < 0.0 {
                        return None;
                    }
                    let letter = text.chars().nth((column / 8.0) as usize)?;
                    let rows = font8x8::BASIC_FONTS.get(letter).or_else(|| font8x8::LATIN_FONTS.get(letter))?;
                    let lit = rows[row as usize] >> (column % 8.0) as u32 & 1 == 1;
                    lit.then_some((*colour, 1.0))
                }
            }
        }

        /// How much of a text lies before its point.
        fn before(&self, text: &str, anchor: Anchor) -> f32 {
            let wide = text.chars().count() as f32 * self.letters * PITCH;
            match anchor {
                Anchor::Start => 0.0,
                Anchor::Middle => wide / 2.0,
                Anchor::End => wide,
            }
        }

        /// Corners of what holds a shape.
        fn extent(&self, shape: &Shape) -> ((f32, f32), (f32, f32)) {
            let around = |(x, y): (f32, f32), r: f32| ((x - r, y - r), (x + r, y + r));
            match shape {
                Shape::Box { at, size, .. } => ((at.0 - 1.0, at.1 - 1.0), (at.0 + size.0 + 1.0, at.1 + size.1 + 1.0)),
                Shape::Line { from, to, .. } => {
                    let (low, high) = ((from.0.min(to.0), from.1.min(to.1)), (from.0.max(to.0), from.1.max(to.1)));
                    ((low.0 - 1.0, low.1 - 1.0), (high.0 + 1.0, high.1 + 1.0))
                }
                Shape::Dot { at, radius, .. } => around(*at, *radius + 1.0),
                Shape::Text { at, text, .. } => around(*at, self.before(text, Anchor::End) + self.letters),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Drawing {
        /// What its PNG shows, R, G and B pixel by pixel, and how many pixels a row has.
        pub fn pixels(&self) -> (Vec<u8>, usize) {
            let mut reader = png::Decoder::new(std::io::Cursor::new(self.png())).read_info().unwrap();
            let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
            let info = reader.next_frame(&mut pixels).unwrap();
            (pixels, info.width as usize)
        }
    }

    #[test]
    fn both_forms_show_the_same() {
        let mut drawing = Drawing::new(60, 40, 12.0);
        drawing.boxed((10.0, 10.0), (20.0, 20.0), Some([0, 0, 200]), EDGE);
        drawing.line((0.0, 35.0), (60.0, 35.0), INK, Stroke::Thick);
        drawing.text((45.0, 30.0), "I<", Anchor::Middle, -90.0, [200, 0, 0]);
        let svg = drawing.svg();
        assert!(svg.contains("fill=\"#0000c8\"") && svg.contains("I&lt;</text>") && svg.ends_with("</svg>\n"), "{svg}");
        let (pixels, wide) = drawing.pixels();
        assert_eq!((wide, pixels.len()), (120, 3 * 120 * 80));
        let at = |x: usize, y: usize| &pixels[3 * (2 * y * 120 + 2 * x)..][..3];
        assert_eq!((at(20, 20), at(3, 3)), (&[0, 0, 200][..], &[255, 255, 255][..]));
        let dark = |x: usize| (0..40).any(|y| at(x, y).iter().all(|level| *level < 0x60));
        assert!(dark(2) && dark(58), "the line reaches both ends");
        // Upwards, the letters stand above their middle and below it, and nowhere else.
        let red: Vec<usize> = (0..40).filter(|y| (36..50).any(|x| at(x, *y)[0] > 150 && at(x, *y)[1] < 100)).collect();
        assert!(!red.is_empty() && *red.first().unwrap() >= 22 && *red.last().unwrap() <= 38, "{red:?}");
    }
}
