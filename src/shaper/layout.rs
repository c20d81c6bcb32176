//! What lies where: from pixel format, size, region and resize mode to the passes that read it.
//!
//! Chroma is averaged at its own resolution over the same region of the picture and meets luma only after scaling: the
//! average of a conversion that is linear is the conversion of the averages.

use super::Region;
use super::scale::{Part, Pass, Place, Rect};
use crate::bundle::Resize;
use crate::source::{Image, PixelFormat};

/// Which colours the outputs of the passes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colour {
    /// Output 0 is luma; there is no chroma, or nobody asked for it.
    Luma,
    /// Y, U, V.
    Yuv,
    /// R, G, B.
    Rgb,
}

/// Everything that follows from the format and size of the frames; made again only when one of them changes.
#[derive(Debug)]
pub(super) struct Plan {
    key: (PixelFormat, usize, usize, usize),
    pub passes: Vec<Pass>,
    pub colour: Colour,
}

impl Plan {
    /// True when the plan was made for pictures like this one.
    pub fn fits(&self, image: &Image<'_>) -> bool {
        self.key == key(image)
    }

    /// Plans the passes for pictures like `image` into an output of `size` (width, height). `colour` says whether R, G, B
    /// are wanted.
    pub fn new(image: &Image<'_>, region: Region, resize: Resize, size: (usize, usize), colour: bool) -> Self {
        let (w, h, stride) = (image.width(), image.height(), image.stride_bytes());
        let (rect, place) = fit(region, resize, (w, h), size);
        let half = Rect { y: rect.y / 2.0, h: rect.h / 2.0, ..rect };
        let (half_w, half_h) = (w.div_ceil(2), h.div_ceil(2));
        let part = |offset, step, out| Part { offset, step, pixels: w, sub_x: 1, out };
        let chroma = |offset, step, out| Part { offset, step, pixels: half_w, sub_x: 2, out };
        let whole = |parts: &[Part]| Pass::new(0, stride, h, rect, place, parts);
        let quarter = |base, stride, parts: &[Part]| Pass::new(base, stride, half_h, half, place, parts);
        let (passes, kind) = match (image.format(), colour) {
            (PixelFormat::Gray, _) | (PixelFormat::Nv12 | PixelFormat::I420, false) => {
                (vec![whole(&[part(0, 1, 0)])], Colour::Luma)
            }
            (PixelFormat::Yuyv, false) => (vec![whole(&[part(0, 2, 0)])], Colour::Luma),
            (PixelFormat::Yuv444, false) => (vec![whole(&[part(0, 3, 0)])], Colour::Luma),
            (PixelFormat::Yuyv, true) => (vec![whole(&[part(0, 2, 0), chroma(1, 4, 1), chroma(3, 4, 2)])], Colour::Yuv),
            (PixelFormat::Yuv444, true) => (vec![whole(&[part(0, 3, 0), part(1, 3, 1), part(2, 3, 2)])], Colour::Yuv),
            (PixelFormat::Rgb, _) => (vec![whole(&[part(0, 3, 0), part(1, 3, 1), part(2, 3, 2)])], Colour::Rgb),
            (PixelFormat::Nv12, true) => {
                let pair = quarter(stride * h, stride.next_multiple_of(2), &[chroma(0, 2, 1), chroma(1, 2, 2)]);
                (vec![whole(&[part(0, 1, 0)]), pair], Colour::Yuv)
            }
            (PixelFormat::I420, true) => {
                let narrow = stride.div_ceil(2);
                let u = quarter(stride * h, narrow, &[chroma(0, 1, 1)]);
                let v = quarter(stride * h + narrow * half_h, narrow, &[chroma(0, 1, 2)]);
                (vec![whole(&[part(0, 1, 0)]), u, v], Colour::Yuv)
            }
        };
        Self { key: key(image), passes, colour: kind }
    }
}

fn key(image: &Image<'_>) -> (PixelFormat, usize, usize, usize) {
    (image.format(), image.width(), image.height(), image.stride_bytes())
}

/// The part of the picture that is looked at, in pixels, and the part of the output that it fills.
pub(super) fn fit(region: Region, resize: Resize, picture: (usize, usize), out: (usize, usize)) -> (Rect, Place) {
    let (pw, ph) = (picture.0 as f64, picture.1 as f64);
    let (ow, oh) = (out.0 as f64, out.1 as f64);
    let (x, y) = (f64::from(region.x) * pw, f64::from(region.y) * ph);
    let rect = Rect { x, y, w: (f64::from(region.w) * pw).min(pw - x), h: (f64::from(region.h) * ph).min(ph - y) };
    let all = Place { x: 0, y: 0, w: out.0, h: out.1, width: out.0 };
    match resize {
        Resize::Stretch => (rect, all),
        Resize::Crop => {
            let scale = (rect.w / ow).min(rect.h / oh);
            let (w, h) = (ow * scale, oh * scale);
            (Rect { x: rect.x + (rect.w - w) / 2.0, y: rect.y + (rect.h - h) / 2.0, w, h }, all)
        }
        Resize::Letterbox => {
            // Whole output pixels: a half-covered border would be an edge that is not in the picture.
            // One division each: by way of a scale, half a pixel would be rounded one way or the other as its last digit falls.
            let side = |length: f64, limit: usize| (length.round() as usize).clamp(1, limit);
            let wide = rect.w * oh >= rect.h * ow;
            let (w, h) =
                if wide { (out.0, side(ow * rect.h / rect.w, out.1)) } else { (side(oh * rect.w / rect.h, out.0), out.1) };
            (rect, Place { x: (out.0 - w) / 2, y: (out.1 - h) / 2, w, h, width: out.0 })
        }
    }
}
