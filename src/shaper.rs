//! Pixels to the encoder's planes: crop, area-averaged resize, colour, change and flow, as levels 0..=255.
//!
//! The pixel pass ([`Shaper::stage`]) reads the camera's own layout once and leaves a picture of the encoder's size; it
//! runs for every frame that a tick asks for, and the newest wins. A tick then closes over the staged picture
//! ([`Shaper::finish`]): what changed and what moved since earlier *ticks*, not frames, and what moved
//! by the time between the two pictures, so 15 and 30 fps look alike.
//!
//! Levels are bytes whatever the encoder eats: the same bytes train the network (`lookout shape`), are kept as golden
//! vectors and are fed as they are to an encoder with a u8 input. Everything is pure and, after `new`, allocates only
//! when the frames change their format or size. Results are equal on every machine: integers, and f32 in a fixed order.

mod flow;
mod layout;
mod motion;
#[cfg(test)]
mod reference;
mod scale;

use crate::bundle::{Channel, Input, Resize};
use crate::source::{Image, Timestamp};
use flow::{Flow, round};
use layout::{Colour, Plan};
use motion::History;
use scale::Scratch;
use std::time::Duration;

/// The part of the picture that is looked at, as fractions of its width and height.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Region {
    /// Left edge.
    pub x: f32,
    /// Upper edge.
    pub y: f32,
    /// Width.
    pub w: f32,
    /// Height.
    pub h: f32,
}

impl Default for Region {
    /// All of it.
    fn default() -> Self {
        Self { x: 0.0, y: 0.0, w: 1.0, h: 1.0 }
    }
}

/// Why pictures cannot be shaped as asked. It does not help to try again (exit code 2).
#[derive(Debug, thiserror::Error)]
pub enum ShaperError {
    /// The region is not inside the picture.
    #[error("region {x},{y} {w}x{h}: expected fractions with x, y >= 0, w, h > 0, x + w <= 1 and y + h <= 1", x = .0.x, y = .0.y, w = .0.w, h = .0.h)]
    Region(Region),
    /// The region covers less than a pixel of this picture.
    #[error("region {x},{y} {w}x{h} is less than a pixel of a picture of {width}x{height}", x = region.x, y = region.y, w = region.w, h = region.h)]
    Tiny {
        /// As configured.
        region: Region,
        /// Of the picture, in pixels.
        width: usize,
        /// Of the picture, in pixels.
        height: usize,
    },
    /// A slow motion plane that would look too far back.
    #[error("motion_span = {0}, expected 1 to 256")]
    Span(usize),
    /// The encoder's picture has no pixels, no planes or too many.
    #[error("input of {width}x{height} with {planes} planes, expected 1 to 4096 pixels a side and 1 to 64 planes")]
    Input {
        /// Pixels.
        width: usize,
        /// Pixels.
        height: usize,
        /// In all.
        planes: usize,
    },
}

/// Pictures that are nearer than half a tick count as half a tick apart: their noise would be taken for movement, more than twofold.
const LEAST_APART: f32 = 0.5;

/// The stage. See the module's text.
#[derive(Debug)]
pub struct Shaper {
    channels: Vec<Channel>,
    size: (usize, usize),
    span: usize,
    resize: Resize,
    region: Region,
    plan: Option<Plan>,
    /// Width and height of the pictures that come, in pixels; 0 before the first.
    picture: (usize, usize),
    /// The planes are another run's: nothing is left to do for this tick.
    adopted: bool,
    /// Scaled components of the staged frame: luma or R, then U, V or G, B.
    parts: Vec<Vec<f32>>,
    scratch: Scratch,
    luma: Vec<u8>,
    rgb: Vec<u8>,
    history: History,
    flow: Option<Flow>,
    /// When the staged picture was taken, where that was said.
    taken: Option<Timestamp>,
    /// Ticks between it and the picture that the flow comes from.
    apart: f32,
    planes: Vec<u8>,
}

impl Shaper {
    /// Buffers for the pictures that `input` describes.
    ///
    /// # Errors
    /// [`ShaperError::Region`], [`ShaperError::Input`] or [`ShaperError::Span`].
    pub fn new(input: &Input, region: Region) -> Result<Self, ShaperError> {
        let Region { x, y, w, h } = region;
        // A third of a width times three may be a rounding above one.
        let inside = |at: f32, length: f32| at >= 0.0 && length > 0.0 && at < 1.0 && at + length <= 1.0 + 1e-5;
        if !(inside(x, w) && inside(y, h)) {
            return Err(ShaperError::Region(region));
        }
        let (width, height, planes) = (input.width, input.height, input.planes());
        if !(1..=4096).contains(&width) || !(1..=4096).contains(&height) || !(1..=64).contains(&planes) {
            return Err(ShaperError::Input { width, height, planes });
        }
        let pixels = width * height;
        let has = |c: Channel| input.channels.contains(&c);
        let span = if has(Channel::Motion) { input.motion_span } else { 1 };
        if !(1..=256).contains(&span) {
            return Err(ShaperError::Span(span));
        }
        Ok(Self {
            channels: input.channels.clone(),
            size: (width, height),
            span,
            resize: input.resize,
            region,
            plan: None,
            picture: (0, 0),
            adopted: false,
            parts: vec![vec![0.0; pixels]; 3],
            scratch: Scratch::default(),
            luma: vec![0; pixels],
            rgb: vec![0; if has(Channel::Rgb) { 3 * pixels } else { 0 }],
            history: History::new(pixels, span),
            flow: has(Channel::Flow).then(|| Flow::new(width, height)),
            taken: None,
            apart: 1.0,
            planes: vec![0; planes * pixels],
        })
    }

    /// The pixel pass over one frame, into the picture that the next tick takes. Called for every frame that a tick asks for; the
    /// newest wins. Plans anew, and allocates, only when format or size differ from the last frame's.
    ///
    /// # Errors
    /// [`ShaperError::Tiny`].
    pub fn stage(&mut self, image: &Image<'_>) -> Result<(), ShaperError> {
        let plan = match self.plan.take() {
            Some(plan) if plan.fits(image) => plan,
            _ => self.replan(image)?,
        };
        for pass in &plan.passes {
            pass.run(image.data(), &mut self.scratch, &mut self.parts);
        }
        self.colour(plan.colour);
        self.plan = Some(plan);
        self.adopted = false;
        Ok(())
    }

    /// The staged picture was taken at `at`: flow is what moves in a `tick`, however far from the picture before it. Where nobody says so, pictures are
    /// a tick apart.
    pub fn taken(&mut self, at: Timestamp, tick: Duration) {
        let apart = self.taken.replace(at).map(|before| at.since(before)).filter(|apart| !apart.is_zero());
        self.apart = apart.map_or(1.0, |apart| (apart.as_secs_f64() / tick.as_secs_f64()) as f32).max(LEAST_APART);
    }

    /// Instead of [`Shaper::stage`]: the planes that an earlier run made of a picture of this size, in pixels. `false` when they are of another length.
    pub fn adopt(&mut self, planes: &[u8], picture: (usize, usize)) -> bool {
        let fits = planes.len() == self.planes.len();
        if fits {
            self.planes.copy_from_slice(planes);
            (self.picture, self.adopted) = (picture, true);
        }
        fits
    }

    /// The planes to adopt were made of this part of the picture.
    pub fn recall(&mut self, region: Region) {
        self.region = region;
    }

    fn replan(&mut self, image: &Image<'_>) -> Result<Plan, ShaperError> {
        let (region, width, height) = (self.region, image.width(), image.height());
        if region.w * (width as f32) < 0.999 || region.h * (height as f32) < 0.999 {
            return Err(ShaperError::Tiny { region, width, height });
        }
        let plan = Plan::new(image, region, self.resize, self.size, !self.rgb.is_empty());
        self.picture = (width, height);
        self.scratch = Scratch::new(&plan.passes);
        // Outside a letterbox: black, without colour.
        let neutral = if plan.colour == Colour::Yuv { 128.0 } else { 0.0 };
        for (part, level) in self.parts.iter_mut().zip([0.0, neutral, neutral]) {
            part.fill(level);
        }
        Ok(plan)
    }

    /// From scaled components to luma and, where asked, R, G, B. BT.601, full range (JPEG).
    fn colour(&mut self, colour: Colour) {
        let pixels = self.luma.len();
        let [a, b, c] = [&self.parts[0][..pixels], &self.parts[1][..pixels], &self.parts[2][..pixels]];
        if colour == Colour::Rgb {
            for (i, o) in self.luma.iter_mut().enumerate() {
                *o = round(0.299 * a[i] + 0.587 * b[i] + 0.114 * c[i]);
            }
        } else {
            self.luma.iter_mut().zip(a).for_each(|(o, &y)| *o = round(y));
        }
        if self.rgb.is_empty() {
            return;
        }
        let (red, rest) = self.rgb.split_at_mut(pixels);
        let (green, blue) = rest.split_at_mut(pixels);
        match colour {
            Colour::Luma => [red, green, blue].into_iter().for_each(|plane| plane.copy_from_slice(&self.luma)),
            Colour::Rgb => {
                for (plane, part) in [red, green, blue].into_iter().zip([a, b, c]) {
                    plane.iter_mut().zip(part).for_each(|(o, &level)| *o = round(level));
                }
            }
            Colour::Yuv => {
                for i in 0..pixels {
                    let (y, u, v) = (a[i], b[i] - 128.0, c[i] - 128.0);
                    red[i] = round(y + 1.402 * v);
                    green[i] = round(y - 0.344_136 * u - 0.714_136 * v);
                    blue[i] = round(y + 1.772 * u);
                }
            }
        }
    }

    /// Closes the tick with the staged picture and gives its planes, `[P,H,W]` levels in the order of the channels.
    /// Without a new frame the staged picture is the old one: nothing has changed.
    pub fn finish(&mut self) -> &[u8] {
        self.close();
        self.flow();
        self.planes()
    }

    /// The first half of [`Shaper::finish`]: the picture and its changes. [`Shaper::flow`] must follow.
    pub fn close(&mut self) {
        if self.adopted {
            return;
        }
        let pixels = self.luma.len();
        self.history.push(&self.luma);
        let mut rest = &mut self.planes[..];
        for channel in &self.channels {
            let (here, after) = rest.split_at_mut(channel.planes() * pixels);
            match channel {
                Channel::Gray => here.copy_from_slice(&self.luma),
                Channel::Rgb => here.copy_from_slice(&self.rgb),
                Channel::Motion => {
                    let (fast, slow) = here.split_at_mut(pixels);
                    self.history.change(1, fast);
                    self.history.change(self.span, slow);
                }
                Channel::Flow => {}
            }
            rest = after;
        }
    }

    /// The second half of [`Shaper::finish`]: optical flow, where a channel asks for it.
    pub fn flow(&mut self) {
        let Some(flow) = self.flow.as_mut().filter(|_| !self.adopted) else { return };
        let pixels = self.luma.len();
        let mut at = 0;
        let mut first: Option<usize> = None;
        for channel in &self.channels {
            let here = at;
            at += channel.planes() * pixels;
            match (channel, first) {
                (Channel::Flow, None) => {
                    let (u, v) = self.planes[here..at].split_at_mut(pixels);
                    flow.run(&self.luma, self.apart, u, v);
                    first = Some(here);
                }
                // Named twice: the same planes again.
                (Channel::Flow, Some(done)) => self.planes.copy_within(done..done + 2 * pixels, here),
                _ => {}
            }
        }
    }

    /// Instead of [`Shaper::flow`], for a tick whose planes nobody will read: its picture is the next one's past, and the
    /// flow planes stay as they are.
    pub fn skip_flow(&mut self) {
        if let Some(flow) = &mut self.flow {
            flow.skip(&self.luma);
        }
    }

    /// Width and height of the camera's picture, pixels; 0 before the first.
    pub fn picture(&self) -> (usize, usize) {
        self.picture
    }

    /// The planes of the last closed tick, `[P,H,W]`.
    pub fn planes(&self) -> &[u8] {
        &self.planes
    }

    /// A box in fractions of the encoder's picture, as fractions of the camera's: region, crop and letterbox undone. `None` before
    /// the first picture, and for what lies in a letterbox's bars.
    pub fn in_camera(&self, inside: Region) -> Option<Region> {
        if self.picture == (0, 0) {
            return None;
        }
        let (rect, place) = layout::fit(self.region, self.resize, self.picture, self.size);
        let edge = |at: f32, all: usize, first: usize, part: usize, from: f64, length: f64, whole: usize| {
            let within = (f64::from(at) * all as f64 - first as f64) / part as f64;
            ((from + within.clamp(0.0, 1.0) * length) / whole as f64) as f32
        };
        let ((wide, high), (pw, ph)) = (self.size, self.picture);
        let x = |at| edge(at, wide, place.x, place.w, rect.x, rect.w, pw);
        let y = |at| edge(at, high, place.y, place.h, rect.y, rect.h, ph);
        let (left, top) = (x(inside.x), y(inside.y));
        let found = Region { x: left, y: top, w: x(inside.x + inside.w) - left, h: y(inside.y + inside.h) - top };
        (found.w > 0.0 && found.h > 0.0).then_some(found)
    }

    /// A tick without a new frame: the last picture counts for it, so that "several ticks ago" stays true in time.
    /// The planes stay as they are.
    pub fn hold(&mut self) {
        self.history.repeat();
    }

    /// Forgets all earlier ticks (after a gap). A staged frame stays staged.
    pub fn reset(&mut self) {
        self.history.clear();
        self.taken = None;
        if let Some(flow) = &mut self.flow {
            flow.reset();
        }
    }
}
