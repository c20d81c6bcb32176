//! The built-in clip: 22 s of a street corner in which every class of `models/motion` occurs.
//!
//! It is painted, not stored, so that `lookout demo` needs no file, and painted the same on every machine: own noise, own
//! sine, exactly rounded f32 only. The network has never seen it. 320x240, 30 frames a second, 4:2:0.

mod actors;
mod paint;
mod street;

use super::{Frame, Image, Payload, PixelFormat, Seq, Source, SourceError, Timestamp};
use actors::{Car, Person};
use paint::{Canvas, MARGIN, clouds, hash, rgb, sine};
use std::io::{self, Write};
use street::{ALLEY, HORIZON};

/// What happens when: from and to in ms, and the label. No gaps.
pub const SCRIPT: &[(u64, u64, &str)] = &[
    (0, 2_000, "idle"),
    (2_000, 4_300, "right"),
    (4_300, 5_500, "idle"),
    (5_500, 7_700, "left"),
    (7_700, 8_800, "idle"),
    (8_800, 10_500, "toward"),
    (10_500, 11_700, "idle"),
    (11_700, 13_400, "away"),
    (13_400, 14_500, "idle"),
    (14_500, 15_300, "shake"),
    (15_300, 16_400, "idle"),
    (16_400, 18_500, "covered"),
    (18_500, 19_600, "idle"),
    (19_600, 21_900, "left"),
];

/// What is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Play {
    /// [`SCRIPT`].
    Script,
    /// Nothing at all happens; the sensor's noise goes on.
    Still,
    /// Cars and a jogger all the time, a visitor who comes and goes.
    Busy,
}

/// Width in pixels.
pub const WIDTH: usize = 320;
/// Height in pixels.
pub const HEIGHT: usize = 240;
/// Frames a second.
pub const FPS: u64 = 30;
const FRAMES: u64 = 22 * FPS;
/// Entries of sensor noise; prime, so that rows do not repeat.
const GRAINS: usize = 65_537;

/// The clip, frame by frame. See the module's text.
#[derive(Debug)]
pub struct Scene {
    seed: u32,
    play: Play,
    index: u64,
    /// All that stands still.
    still: Canvas,
    canvas: Canvas,
    grains: Vec<i8>,
    frame: Vec<u8>,
}

impl Scene {
    /// The clip with its own textures and sensor noise for every seed; what happens is the same.
    pub fn new(seed: u64) -> Self {
        Self::playing(seed, Play::Script)
    }

    /// The same street, where something else happens.
    pub fn playing(seed: u64, play: Play) -> Self {
        let seed = hash(seed as i32, (seed >> 32) as i32, 0x10_0c);
        let mut still = Canvas::new(WIDTH, HEIGHT);
        street::street(&mut still, seed);
        // A sum of four uniform numbers is bell-shaped enough: about 2 levels of noise.
        let grain = |i: usize| {
            let h = hash(i as i32, 4_711, seed);
            let sum: i32 = h.to_le_bytes().iter().map(|&b| i32::from(b)).sum();
            ((sum - 510) / 74) as i8
        };
        Self {
            seed,
            play,
            index: 0,
            canvas: still.clone(),
            still,
            grains: (0..GRAINS).map(grain).collect(),
            frame: vec![0; WIDTH * HEIGHT * 3 / 2],
        }
    }

    /// Writes what is left of the clip as Y4M.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write_y4m(&mut self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "YUV4MPEG2 W{WIDTH} H{HEIGHT} F{FPS}:1 Ip A1:1 C420jpeg XCOLORRANGE=FULL")?;
        while self.index < FRAMES {
            self.render();
            out.write_all(b"FRAME\n")?;
            out.write_all(&self.frame)?;
        }
        out.flush()
    }

    /// Paints the next frame.
    fn render(&mut self) {
        let t = self.index as f32 / FPS as f32;
        self.canvas.copy_from(&self.still);
        if self.play != Play::Still {
            self.actors(t);
        }
        let (dx, dy) = if self.play == Play::Script { knock(t) } else { (0.0, 0.0) };
        self.develop(dx, dy);
        if self.play == Play::Script {
            self.cover(t);
        }
        self.sense();
        self.index += 1;
    }

    /// People and cars, far ones first.
    fn actors(&mut self, t: f32) {
        let (busy, cast) = (self.play == Play::Busy, Cast::at(t, self.play == Play::Busy));
        let Cast { near, visitor, red, jogger, white } = cast;
        let canvas = &mut self.canvas;
        if near < 0.3 {
            visitor.draw(canvas);
        }
        if busy || (1.8..4.6).contains(&t) {
            red.draw(canvas);
        }
        if busy || (5.3..8.0).contains(&t) {
            jogger.draw(canvas);
        }
        if busy || t >= 19.4 {
            white.draw(canvas);
        }
        if near >= 0.3 {
            visitor.draw(canvas);
        }
    }

    /// What the thing that comes, goes or passes by covers of the last frame, its shadow included: left and upper edge, width and
    /// height as fractions of the picture. `None` while nothing does; of the script alone.
    pub fn moving(&self) -> Option<[f32; 4]> {
        let t = self.index.checked_sub(1)? as f32 / FPS as f32;
        let mut canvas = self.still.clone();
        let Cast { visitor, red, jogger, white, .. } = Cast::at(t, false);
        match t {
            t if (2.0..4.3).contains(&t) => red.draw(&mut canvas),
            t if (5.5..7.7).contains(&t) => jogger.draw(&mut canvas),
            t if (8.8..10.5).contains(&t) || (11.7..13.4).contains(&t) => visitor.draw(&mut canvas),
            t if (19.6..21.9).contains(&t) => white.draw(&mut canvas),
            _ => return None,
        }
        let differs = |x: usize, y: usize| {
            let at = (y + MARGIN) * canvas.width + x + MARGIN;
            // A few levels: the soft rim of a brush and its texture are the thing, rounding is not.
            canvas.planes[0][at].abs_diff(self.still.planes[0][at]) > 4
        };
        let columns = (0..WIDTH).filter(|x| (0..HEIGHT).any(|y| differs(*x, y)));
        let rows = (0..HEIGHT).filter(|y| (0..WIDTH).any(|x| differs(x, *y)));
        let (left, right) = columns.fold((WIDTH, 0), |(a, b), x| (a.min(x), b.max(x + 1)));
        let (top, low) = rows.fold((HEIGHT, 0), |(a, b), y| (a.min(y), b.max(y + 1)));
        let (w, h) = (WIDTH as f32, HEIGHT as f32);
        (left < right).then(|| [left as f32 / w, top as f32 / h, (right - left) as f32 / w, (low - top) as f32 / h])
    }
}

/// Everybody's place at a time.
struct Cast {
    /// How far the visitor has come, 0 to 1.
    near: f32,
    visitor: Person,
    red: Car,
    jogger: Person,
    white: Car,
}

impl Cast {
    fn at(t: f32, busy: bool) -> Self {
        // Stands in the alley, comes up to the camera, stands, goes back.
        let (near, going) = match t {
            t if busy => (((t / 2.0) % 2.0 - 1.0).abs(), t),
            t if t < 8.8 => (0.0, 0.0),
            t if t < 10.5 => ((t - 8.8) / 1.7, t - 8.8),
            t if t < 11.7 => (1.0, 0.0),
            t if t < 13.4 => (1.0 - (t - 11.7) / 1.7, t - 11.7),
            _ => (0.0, 0.0),
        };
        let tall = 38.0 + 92.0 * near;
        let visitor = Person {
            // A little to one side, as people come: straight at the lens would be too easy, and more would be `left`.
            x: ALLEY - 0.35 * (tall - 38.0),
            foot: HORIZON + 0.83 * tall,
            tall,
            stride: 1.9 * going,
            way: 0.0,
            back: t >= 11.5,
            jacket: rgb(52.0, 74.0, 122.0),
            trousers: rgb(46.0, 46.0, 52.0),
        };
        // Busy: round and round, so that there is always somebody.
        let (x, stride) =
            if busy { (345.0 - (152.0 * t) % 380.0, 1.35 * t) } else { (345.0 - 152.0 * (t - 5.4), 1.35 * (t - 5.4)) };
        let long_way = if busy { -75.0 + (181.0 * t) % 470.0 } else { -75.0 + 181.0 * (t - 1.85) };
        let red = Car { x: long_way, foot: 172.0, long: 150.0, way: 1.0, colour: rgb(158.0, 40.0, 38.0) };
        let back = if busy { 408.0 - (192.0 * t + 200.0) % 500.0 } else { 408.0 - 192.0 * (t - 19.45) };
        let white = Car { x: back, foot: 196.0, long: 176.0, way: -1.0, colour: rgb(214.0, 216.0, 218.0) };
        let jogger = Person {
            x,
            foot: 219.0,
            tall: 104.0,
            stride,
            way: -1.0,
            back: false,
            jacket: rgb(204.0, 120.0, 36.0),
            trousers: rgb(36.0, 40.0, 58.0),
        };
        Self { near, visitor, red, jogger, white }
    }
}

impl Scene {
    /// The canvas seen from `dx`, `dy` pixels beside the usual place, into the frame.
    fn develop(&mut self, dx: f32, dy: f32) {
        let (luma, chroma) = self.frame.split_at_mut(WIDTH * HEIGHT);
        let (u, v) = chroma.split_at_mut(WIDTH * HEIGHT / 4);
        let width = self.canvas.width;
        shift(&self.canvas.planes[0], width, (MARGIN as f32 + dx, MARGIN as f32 + dy), luma, WIDTH);
        let half = ((MARGIN as f32 + dx) / 2.0, (MARGIN as f32 + dy) / 2.0);
        shift(&self.canvas.planes[1], width / 2, half, u, WIDTH / 2);
        shift(&self.canvas.planes[2], width / 2, half, v, WIDTH / 2);
    }

    /// A cloth falls over the lens from above, and is taken away again.
    fn cover(&mut self, t: f32) {
        let part = ((t - 16.4) / 0.2).min((18.5 - t) / 0.2).clamp(0.0, 1.0);
        if part <= 0.0 {
            return;
        }
        let edge = part * (HEIGHT as f32 + 24.0) - 12.0;
        for (y, row) in self.frame[..WIDTH * HEIGHT].chunks_exact_mut(WIDTH).enumerate() {
            let over = ((edge - y as f32) / 12.0 + 0.5).clamp(0.0, 1.0);
            if over > 0.0 {
                for (x, p) in row.iter_mut().enumerate() {
                    let cloth = 12.0 + 9.0 * clouds(x as f32 / 40.0, (y as f32 - edge) / 40.0, self.seed) + 0.02 * x as f32;
                    *p = (f32::from(*p) + over * (cloth - f32::from(*p)) + 0.5) as u8;
                }
            }
        }
        for plane in self.frame[WIDTH * HEIGHT..].chunks_exact_mut(WIDTH * HEIGHT / 4) {
            for (y, row) in plane.chunks_exact_mut(WIDTH / 2).enumerate() {
                let over = ((edge - 2.0 * y as f32) / 12.0 + 0.5).clamp(0.0, 1.0);
                row.iter_mut().for_each(|p| *p = (f32::from(*p) + over * (128.0 - f32::from(*p)) + 0.5) as u8);
            }
        }
    }

    /// Sensor noise, another one in every row of every frame.
    fn sense(&mut self) {
        for (y, row) in self.frame[..WIDTH * HEIGHT].chunks_exact_mut(WIDTH).enumerate() {
            let from = hash(y as i32, self.index as i32, self.seed) as usize % (GRAINS - WIDTH);
            for (p, &g) in row.iter_mut().zip(&self.grains[from..]) {
                *p = p.saturating_add_signed(g);
            }
        }
    }
}

/// Somebody knocks against the box: pixels to the side and up at `t` seconds.
fn knock(t: f32) -> (f32, f32) {
    let s = (t - 14.5) / 0.8;
    if !(0.0..1.0).contains(&s) {
        return (0.0, 0.0);
    }
    let left = (1.0 - s) * (1.0 - s);
    (19.0 * left * sine(4.0 * 0.8 * s), 8.0 * left * sine(5.2 * 0.8 * s + 0.15))
}

/// Copies a window at a place between pixels (bilinear, in 1/16 of a pixel).
fn shift(from: &[u8], from_width: usize, at: (f32, f32), to: &mut [u8], width: usize) {
    let (x16, y16) = ((at.0 * 16.0 + 0.5) as usize, (at.1 * 16.0 + 0.5) as usize);
    let (x, fx, y, fy) = (x16 / 16, (x16 % 16) as u16, y16 / 16, (y16 % 16) as u16);
    for (r, out) in to.chunks_exact_mut(width).enumerate() {
        let line = |k: usize| &from[(y + r + k) * from_width + x..][..width + 1];
        if fx == 0 && fy == 0 {
            out.copy_from_slice(&line(0)[..width]);
            continue;
        }
        let (top, bottom) = (line(0), line(usize::from(fy > 0)));
        for (i, o) in out.iter_mut().enumerate() {
            let across = |l: &[u8]| u16::from(l[i]) * (16 - fx) + u16::from(l[i + 1]) * fx;
            *o = ((across(top) * (16 - fy) + across(bottom) * fy + 128) / 256) as u8;
        }
    }
}

impl Source for Scene {
    fn next(&mut self) -> Result<Option<Frame<'_>>, SourceError> {
        if self.index == FRAMES {
            return Ok(None);
        }
        self.render();
        let index = self.index - 1;
        let image = Image::new(PixelFormat::I420, WIDTH, HEIGHT, WIDTH, &self.frame)?;
        let at = Timestamp(index * 1_000_000_000 / FPS);
        Ok(Some(Frame { at, seq: Seq(index as u32), payload: Payload::Image(image) }))
    }

    fn describe(&self) -> String {
        format!("built-in clip, {WIDTH}x{HEIGHT} I420 at {FPS} fps")
    }

    fn len_hint(&self) -> Option<u64> {
        Some(FRAMES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};

    fn frame(scene: &mut Scene, index: u64) -> &[u8] {
        scene.index = index;
        scene.render();
        &scene.frame
    }

    #[test]
    fn script_has_no_gaps_and_every_class() {
        assert!(SCRIPT.windows(2).all(|w| w[0].1 == w[1].0 && w[0].0 < w[0].1));
        assert!(SCRIPT.last().is_some_and(|(_, end, _)| *end <= FRAMES * 1000 / FPS));
        for label in ["idle", "left", "right", "toward", "away", "shake", "covered"] {
            assert!(SCRIPT.iter().any(|s| s.2 == label), "{label}");
        }
    }

    #[test]
    fn every_machine_paints_the_same_clip() {
        let mut scene = Scene::new(1);
        let mut digest = Sha256::new();
        for index in (0..FRAMES).step_by(20) {
            digest.update(frame(&mut scene, index));
        }
        let hex: String = digest.finalize().iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, "64147a37de42a5ba205abffafdf6ab0f2620fa88416af91589c42c6bbae2f3d3");
    }

    #[test]
    fn another_seed_is_another_texture() {
        assert_ne!(frame(&mut Scene::new(1), 0), frame(&mut Scene::new(2), 0));
    }

    #[test]
    fn idle_changes_by_noise_alone_and_events_by_more() {
        let mut scene = Scene::new(1);
        let mut change = |index: u64| {
            let before = frame(&mut scene, index)[..WIDTH * HEIGHT].to_vec();
            let now = frame(&mut scene, index + 3);
            before.iter().zip(now).filter(|(a, b)| a.abs_diff(**b) > 16).count()
        };
        for (from, to, label) in SCRIPT {
            let moved = change((from + to) / 2 * FPS / 1000);
            let still = matches!(*label, "idle" | "covered");
            assert!(if still { moved < 20 } else { moved > 400 }, "{label} at {from} ms: {moved} pixels");
        }
    }

    #[test]
    fn in_a_still_scene_nothing_moves_but_noise_and_a_busy_one_never_rests() {
        for (play, still) in [(Play::Still, true), (Play::Busy, false)] {
            let mut scene = Scene::playing(1, play);
            for index in (0..FRAMES - 3).step_by(97) {
                let before = frame(&mut scene, index)[..WIDTH * HEIGHT].to_vec();
                let now = frame(&mut scene, index + 3);
                assert_ne!(before, now[..WIDTH * HEIGHT], "noise");
                let moved = before.iter().zip(now).filter(|(a, b)| a.abs_diff(**b) > 16).count();
                assert!(if still { moved < 20 } else { moved > 400 }, "{play:?} at {index}: {moved} pixels");
            }
        }
    }

    #[test]
    fn y4m_holds_every_frame() {
        let mut bytes = Vec::new();
        let mut scene = Scene::new(1);
        scene.index = FRAMES - 2;
        scene.write_y4m(&mut bytes).expect("memory");
        let header = bytes.iter().position(|&b| b == b'\n').expect("a header") + 1;
        assert_eq!(bytes.len() - header, 2 * (6 + WIDTH * HEIGHT * 3 / 2));
        assert!(scene.next().expect("painted").is_none());
    }
}
