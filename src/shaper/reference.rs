//! The definitions, written plainly in f64, and the tests that hold the fast passes against them.

use super::{Region, Shaper};
use crate::bundle::{Channel, Input, Resize};
use crate::source::{Image, PixelFormat, Timestamp};
use proptest::prelude::*;
use std::time::Duration;

const FORMATS: [PixelFormat; 6] =
    [PixelFormat::Gray, PixelFormat::Yuyv, PixelFormat::Nv12, PixelFormat::I420, PixelFormat::Yuv444, PixelFormat::Rgb];
const ALL: [Channel; 4] = [Channel::Flow, Channel::Gray, Channel::Rgb, Channel::Motion];

fn input(width: usize, height: usize, channels: &[Channel], resize: Resize) -> Input {
    let channels = channels.to_vec();
    Input { motion_span: 3, resize, ..Input::picture(width, height, channels) }
}

/// xorshift32.
fn noise(seed: u32) -> impl FnMut() -> u8 {
    let mut x = seed | 1;
    move || {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        (x >> 11) as u8
    }
}

/// A component of an image: the size of its plane, its subsampling and its pixels.
struct Component<'a>(usize, usize, f64, Box<dyn Fn(usize, usize) -> u8 + 'a>);

fn component<'a>(image: &Image<'a>, index: usize) -> Option<Component<'a>> {
    let (w, h, s, d) = (image.width(), image.height(), image.stride_bytes(), image.data());
    let (hw, hh) = (w.div_ceil(2), h.div_ceil(2));
    Some(match (image.format(), index) {
        (PixelFormat::Gray | PixelFormat::Nv12 | PixelFormat::I420, 0) => {
            Component(w, h, 1.0, Box::new(move |x, y| d[y * s + x]))
        }
        (PixelFormat::Gray, _) => return None,
        (PixelFormat::Yuyv, 0) => Component(w, h, 1.0, Box::new(move |x, y| d[y * s + 2 * x])),
        (PixelFormat::Yuyv, i) => Component(hw, h, 1.0, Box::new(move |x, y| d[y * s + 4 * x + 2 * i - 1])),
        (PixelFormat::Yuv444 | PixelFormat::Rgb, i) => Component(w, h, 1.0, Box::new(move |x, y| d[y * s + 3 * x + i])),
        (PixelFormat::Nv12, i) => {
            let chroma = s.next_multiple_of(2);
            Component(hw, hh, 2.0, Box::new(move |x, y| d[s * h + y * chroma + 2 * x + i - 1]))
        }
        (PixelFormat::I420, i) => {
            let chroma = s.div_ceil(2);
            Component(hw, hh, 2.0, Box::new(move |x, y| d[s * h + (i - 1) * chroma * hh + y * chroma + x]))
        }
    })
}

/// The mean level over a rectangle in pixels of the component.
fn mean(c: &Component<'_>, x: (f64, f64), y: (f64, f64)) -> f64 {
    let overlap = |i: usize, (a, b): (f64, f64)| (b.min(i as f64 + 1.0) - a.max(i as f64)).max(0.0);
    let mut sum = 0.0;
    for r in 0..c.1 {
        for col in 0..c.0 {
            sum += f64::from((c.3)(col, r)) * overlap(col, x) * overlap(r, y);
        }
    }
    sum / ((x.1 - x.0) * (y.1 - y.0))
}

/// Luma, R, G, B of every output pixel.
fn shaped(image: &Image<'_>, region: Region, resize: Resize, (ow, oh): (usize, usize)) -> [Vec<f64>; 4] {
    let (pw, ph) = (image.width() as f64, image.height() as f64);
    let (mut x, mut y) = (f64::from(region.x) * pw, f64::from(region.y) * ph);
    let (mut w, mut h) = ((f64::from(region.w) * pw).min(pw - x), (f64::from(region.h) * ph).min(ph - y));
    let (mut dx, mut dy, mut dw, mut dh) = (0, 0, ow, oh);
    let wanted = ow as f64 / oh as f64;
    match resize {
        Resize::Stretch => {}
        Resize::Crop if w / h > wanted => {
            x += (w - h * wanted) / 2.0;
            w = h * wanted;
        }
        Resize::Crop => {
            y += (h - w / wanted) / 2.0;
            h = w / wanted;
        }
        Resize::Letterbox if w / h > wanted => {
            dh = ((ow as f64 * h / w).round() as usize).clamp(1, oh);
            dy = (oh - dh) / 2;
        }
        Resize::Letterbox => {
            dw = ((oh as f64 * w / h).round() as usize).clamp(1, ow);
            dx = (ow - dw) / 2;
        }
    }
    let mut out: [Vec<f64>; 4] = std::array::from_fn(|_| vec![0.0; ow * oh]);
    for (j, i) in (0..dh).flat_map(|j| (0..dw).map(move |i| (j, i))) {
        let part = |index: usize| {
            let c = component(image, index)?;
            let sub_x = if c.0 == image.width() && c.2 == 1.0 { 1.0 } else { 2.0 };
            let span = |at: f64, length: f64, k: usize, n: usize, sub: f64| {
                ((at + length * k as f64 / n as f64) / sub, (at + length * (k + 1) as f64 / n as f64) / sub)
            };
            Some(mean(&c, span(x, w, i, dw, sub_x), span(y, h, j, dh, c.2)))
        };
        let (a, b, c) = (part(0).unwrap_or(0.0), part(1).unwrap_or(128.0), part(2).unwrap_or(128.0));
        let at = (dy + j) * ow + dx + i;
        let values = if image.format() == PixelFormat::Rgb {
            [0.299 * a + 0.587 * b + 0.114 * c, a, b, c]
        } else {
            let (u, v) = (b - 128.0, c - 128.0);
            [a, a + 1.402 * v, a - 0.344136 * u - 0.714136 * v, a + 1.772 * u]
        };
        for (plane, v) in out.iter_mut().zip(values) {
            plane[at] = v.clamp(0.0, 255.0);
        }
    }
    out
}

/// Flow levels of the definition.
fn flow(before: &[u8], now: &[u8], w: usize, h: usize) -> [Vec<f64>; 2] {
    let at = |x: isize, y: isize| y.clamp(0, h as isize - 1) as usize * w + x.clamp(0, w as isize - 1) as usize;
    let each = |f: &dyn Fn(isize, isize) -> f64| -> Vec<f64> {
        (0..h as isize).flat_map(|y| (0..w as isize).map(move |x| (x, y))).map(|(x, y)| f(x, y)).collect()
    };
    let blur = |p: &[u8]| {
        each(&|x, y| {
            let weight = |d: isize| if d == 0 { 0.5 } else { 0.25 };
            (-1..=1)
                .flat_map(|j| (-1..=1).map(move |i| (i, j)))
                .map(|(i, j)| weight(i) * weight(j) * f64::from(p[at(x + i, y + j)]))
                .sum()
        })
    };
    let (b, n) = (blur(before), blur(now));
    let m = |x, y| (b[at(x, y)] + n[at(x, y)]) / 2.0;
    let ix = each(&|x, y| (m(x + 1, y) - m(x - 1, y)) / 2.0);
    let iy = each(&|x, y| (m(x, y + 1) - m(x, y - 1)) / 2.0);
    let it = each(&|x, y| n[at(x, y)] - b[at(x, y)]);
    let sum = |p: &[f64], q: &[f64]| {
        each(&|x, y| (-2..=2).flat_map(|j| (-2..=2).map(move |i| at(x + i, y + j))).map(|k| p[k] * q[k]).sum())
    };
    let (xx, xy, yy, xt, yt) = (sum(&ix, &ix), sum(&ix, &iy), sum(&iy, &iy), sum(&ix, &it), sum(&iy, &it));
    let solve = |k: usize| {
        let (a, b, c) = (xx[k] + 100.0, xy[k], yy[k] + 100.0);
        let det = a * c - b * b;
        ((b * yt[k] - c * xt[k]) / det, (b * xt[k] - a * yt[k]) / det)
    };
    let (u, v): (Vec<f64>, Vec<f64>) = (0..w * h).map(solve).unzip();
    [u, v].map(|f| {
        let mut sorted = f.clone();
        sorted.sort_by(f64::total_cmp);
        let median = sorted[(f.len() - 1) / 2];
        f.iter().map(|x| (128.0 + 16.0 * (x - median)).clamp(0.0, 255.0)).collect()
    })
}

fn near(what: &str, found: &[u8], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (i, (&f, &e)) in found.iter().zip(expected).enumerate() {
        assert!((f64::from(f) - e).abs() <= 1.0, "{what}[{i}]: {f}, expected {e}");
    }
}

fn bytes(format: PixelFormat, w: usize, h: usize, slack: usize, seed: u32) -> (usize, Vec<u8>) {
    let stride = format.min_stride(w) + slack;
    let mut next = noise(seed);
    // Coarse levels too: extremes make weights that do not add up show.
    let mut level = || if seed.is_multiple_of(3) { 255 * (next() & 1) } else { next() };
    (stride, (0..format.frame_bytes(w, h, stride).expect("sizes are small")).map(|_| level()).collect())
}

proptest! {
    #[test]
    fn every_format_size_and_fit_is_within_a_level_of_the_definition(
        format in 0..6usize, w in 1..48usize, h in 1..40usize, slack in 0..7usize, seed in any::<u32>(),
        ow in 1..20usize, oh in 1..20usize, mode in 0..3usize, part in any::<bool>(), colour in any::<bool>(),
    ) {
        let format = FORMATS[format];
        let (stride, data) = bytes(format, w, h, slack, seed);
        let image = Image::new(format, w, h, stride, &data).expect("whole");
        let resize = [Resize::Stretch, Resize::Crop, Resize::Letterbox][mode];
        let region = if part && w > 4 && h > 4 { Region { x: 0.125, y: 0.3, w: 0.7, h: 0.45 } } else { Region::default() };
        let channels: &[Channel] = if colour { &[Channel::Gray, Channel::Rgb] } else { &[Channel::Gray] };
        let mut shaper = Shaper::new(&input(ow, oh, channels, resize), region).expect("good");
        shaper.stage(&image).expect("not tiny");
        let planes = shaper.finish();
        let expected = shaped(&image, region, resize, (ow, oh));
        for (k, (found, expected)) in planes.chunks(ow * oh).zip(&expected).enumerate() {
            near(&format!("{format:?} plane {k}"), found, expected);
        }
    }

    #[test]
    fn flow_is_within_a_level_of_the_definition(w in 1..24usize, h in 1..24usize, seed in any::<u32>(), smooth in 0..3usize) {
        let picture = |seed: u32| -> Vec<u8> {
            let (_, mut p) = bytes(PixelFormat::Gray, w, h, 0, seed);
            for _ in 0..smooth {
                for i in 1..p.len() {
                    p[i] = ((u16::from(p[i]) + 3 * u16::from(p[i - 1])) / 4) as u8;
                }
            }
            p
        };
        let (a, b) = (picture(seed), picture(seed ^ 0x5555));
        let mut shaper = Shaper::new(&input(w, h, &[Channel::Flow], Resize::Stretch), Region::default()).expect("good");
        for p in [&a, &b] {
            shaper.stage(&Image::new(PixelFormat::Gray, w, h, w, p).expect("whole")).expect("not tiny");
            shaper.finish();
        }
        let [u, v] = flow(&a, &b, w, h);
        near("u", &shaper.planes()[..w * h], &u);
        near("v", &shaper.planes()[w * h..], &v);
    }
}

/// By way of a scale, 15 * 11 / 22 comes out below a half.
#[test]
fn half_a_pixel_of_a_letterbox_is_rounded_up_whatever_the_sizes() {
    for (picture, out, wide) in [((11, 22), (8, 15), 8), ((13, 26), (10, 15), 8), ((11, 22), (9, 15), 8)] {
        let (_, place) = super::layout::fit(Region::default(), Resize::Letterbox, picture, out);
        assert_eq!((place.w, place.h), (wide, out.1), "{picture:?} in {out:?}");
    }
}

#[test]
fn large_frames_are_as_right_as_small_ones() {
    for (format, w, h) in [(PixelFormat::Yuyv, 1280, 720), (PixelFormat::Nv12, 641, 1203), (PixelFormat::Gray, 9, 4000)] {
        let (stride, data) = bytes(format, w, h, 3, 3);
        let image = Image::new(format, w, h, stride, &data).expect("whole");
        let mut shaper =
            Shaper::new(&input(8, 8, &[Channel::Gray, Channel::Rgb], Resize::Stretch), Region::default()).expect("good");
        shaper.stage(&image).expect("not tiny");
        let planes = shaper.finish().to_vec();
        for (k, expected) in shaped(&image, Region::default(), Resize::Stretch, (8, 8)).iter().enumerate() {
            near(&format!("{format:?} plane {k}"), &planes[k * 64..][..64], expected);
        }
    }
}

/// A still textured wall and, in front of it, a textured block at `x`, `y`.
fn scene(x: f64, y: f64) -> Vec<u8> {
    let texture = |x: f64, y: f64| 128.0 + 45.0 * (x * 0.6).sin() + 45.0 * (y * 0.55 + 1.0).cos();
    let level = |i: usize| {
        let (px, py) = ((i % 64) as f64, (i / 64) as f64);
        let inside = (20.0..44.0).contains(&(px - x)) && (20.0..44.0).contains(&(py - y));
        let v = if inside { texture(px - x, py - y) } else { texture(px * 0.7 + 3.0, py * 0.8) };
        v.round() as u8
    };
    (0..64 * 64).map(level).collect()
}

#[test]
fn right_and_down_are_positive() {
    for (dx, dy) in [(1.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (0.0, -1.0), (0.5, -0.5)] {
        let mut shaper = Shaper::new(&input(64, 64, &[Channel::Flow], Resize::Stretch), Region::default()).expect("good");
        for p in [scene(0.0, 0.0), scene(dx, dy)] {
            shaper.stage(&Image::new(PixelFormat::Gray, 64, 64, 64, &p).expect("whole")).expect("not tiny");
            shaper.finish();
        }
        for (plane, shift) in shaper.planes().chunks(64 * 64).zip([dx, dy]) {
            let middle = f64::from(plane[32 * 64 + 32]);
            assert!((middle - (128.0 + 16.0 * shift)).abs() <= 3.0, "{middle} for a shift of {shift}");
            assert_eq!(plane[5 * 64 + 5], 128, "the wall stands still");
        }
    }
}

/// Whatever lies between two pictures: the same walk at 25 frames a second, at 12.5, and seen a moment after the last picture.
#[test]
fn flow_is_what_moves_in_a_tick() {
    let tick = Duration::from_millis(100);
    for (ms, shown) in [(80u32, 1.0), (120, 1.0), (160, 1.0), (40, 0.8)] {
        let mut shaper = Shaper::new(&input(64, 64, &[Channel::Flow], Resize::Stretch), Region::default()).expect("good");
        let walked = f64::from(ms) / 100.0;
        for (at, p) in [(0, scene(0.0, 0.0)), (ms, scene(walked, 0.0))] {
            shaper.stage(&Image::new(PixelFormat::Gray, 64, 64, 64, &p).expect("whole")).expect("not tiny");
            shaper.taken(Timestamp(u64::from(at) * 1_000_000), tick);
            shaper.finish();
        }
        let middle = f64::from(shaper.planes()[32 * 64 + 32]);
        assert!((middle - (128.0 + 16.0 * shown)).abs() <= 3.0, "{middle} for {walked} pixels in {ms} ms");
    }
}

fn flat(shaper: &mut Shaper, level: u8) {
    shaper.stage(&Image::new(PixelFormat::Gray, 8, 8, 8, &[level; 64]).expect("whole")).expect("not tiny");
}

#[test]
fn change_is_counted_in_ticks_held_ones_included() {
    let mut shaper = Shaper::new(&input(8, 8, &[Channel::Motion], Resize::Stretch), Region::default()).expect("good");
    let fast_slow = |p: &[u8]| (p[0], p[64]);
    let mut step = |level: Option<u8>| {
        let Some(level) = level else {
            shaper.hold();
            return (0, 0);
        };
        flat(&mut shaper, 255);
        flat(&mut shaper, level);
        fast_slow(shaper.finish())
    };
    assert_eq!(step(Some(100)), (0, 0), "the first tick has no past");
    assert_eq!(step(Some(110)), (10, 10), "the oldest there is");
    assert_eq!(step(Some(90)), (20, 10));
    assert_eq!(step(Some(95)), (5, 5), "three ticks ago was 100");
    assert_eq!(step(None), (0, 0));
    assert_eq!(step(Some(60)), (35, 30), "three ticks ago was 90, then 95 twice");
    shaper.reset();
    flat(&mut shaper, 10);
    assert_eq!(fast_slow(shaper.finish()), (0, 0), "reset forgets");
}

#[test]
fn first_flow_after_a_reset_is_still() {
    let mut shaper = Shaper::new(&input(8, 8, &[Channel::Flow], Resize::Stretch), Region::default()).expect("good");
    for level in [0, 200] {
        shaper.reset();
        flat(&mut shaper, level);
        assert!(shaper.finish().iter().all(|&l| l == 128));
    }
}

#[test]
fn planes_stand_in_the_order_of_the_channels() {
    let mut shaper = Shaper::new(&input(4, 4, &ALL, Resize::Stretch), Region::default()).expect("good");
    shaper.stage(&Image::new(PixelFormat::Rgb, 1, 1, 3, &[255, 0, 0]).expect("whole")).expect("not tiny");
    let levels: Vec<u8> = shaper.finish().chunks(16).map(|p| p[0]).collect();
    assert_eq!(levels, [128, 128, 76, 255, 0, 0, 0, 0]);
}

#[test]
fn regions_outside_the_picture_are_refused() {
    let input = input(8, 8, &[Channel::Gray], Resize::Stretch);
    for (x, y, w, h) in
        [(0.0, 0.0, 1.1, 1.0), (-0.1, 0.0, 0.5, 0.5), (0.5, 0.5, 0.6, 0.5), (0.0, 0.0, 0.0, 1.0), (f32::NAN, 0.0, 1.0, 1.0)]
    {
        assert!(Shaper::new(&input, Region { x, y, w, h }).is_err(), "{x} {y} {w} {h}");
    }
    let mut tiny = Shaper::new(&input, Region { x: 0.5, y: 0.5, w: 0.01, h: 0.01 }).expect("inside");
    let error = tiny.stage(&Image::new(PixelFormat::Gray, 8, 8, 8, &[0; 64]).expect("whole")).expect_err("less than a pixel");
    assert_eq!(error.to_string(), "region 0.5,0.5 0.01x0.01 is less than a pixel of a picture of 8x8");
}
