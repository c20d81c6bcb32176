//! A brush: soft-edged shapes with a little texture, on a canvas that is larger than the picture.
//!
//! Only `+ - * /`, `sqrt` and `floor` in f32, all exactly rounded, so that every machine paints the same bytes.

/// Pixels around the picture, so that a knocked box still sees a street.
pub const MARGIN: usize = 24;

/// Y, U, V levels.
pub type Colour = [f32; 3];

/// A colour from red, green and blue (BT.601, full range).
pub const fn rgb(r: f32, g: f32, b: f32) -> Colour {
    let y = 0.299 * r + 0.587 * g + 0.114 * b;
    [y, 128.0 + 0.564 * (b - y), 128.0 + 0.713 * (r - y)]
}

/// What is painted, in pixels of the picture (the margin is negative).
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// Centre, half size, radius of the corners.
    Box(f32, f32, f32, f32, f32),
    /// Centre, radii.
    Ellipse(f32, f32, f32, f32),
    /// A thick line: from, to, radius.
    Line(f32, f32, f32, f32, f32),
    /// Convex, corners in order.
    Quad([(f32, f32); 4]),
}

impl Shape {
    /// Distance to the edge in pixels, negative inside; near the edge, where it counts.
    fn distance(&self, x: f32, y: f32) -> f32 {
        match *self {
            Self::Box(cx, cy, w, h, r) => {
                let (dx, dy) = ((x - cx).abs() - w + r, (y - cy).abs() - h + r);
                let (ox, oy) = (dx.max(0.0), dy.max(0.0));
                (ox * ox + oy * oy).sqrt() + dx.max(dy).min(0.0) - r
            }
            Self::Ellipse(cx, cy, rx, ry) => {
                let (dx, dy) = ((x - cx) / rx, (y - cy) / ry);
                ((dx * dx + dy * dy).sqrt() - 1.0) * rx.min(ry)
            }
            Self::Line(ax, ay, bx, by, r) => {
                let (px, py, dx, dy) = (x - ax, y - ay, bx - ax, by - ay);
                let along = ((px * dx + py * dy) / (dx * dx + dy * dy).max(1e-6)).clamp(0.0, 1.0);
                let (ex, ey) = (px - along * dx, py - along * dy);
                (ex * ex + ey * ey).sqrt() - r
            }
            Self::Quad(c) => {
                let turn = |i: usize, x: f32, y: f32| {
                    let ((ax, ay), (bx, by)) = (c[i], c[(i + 1) % 4]);
                    let (dx, dy) = (bx - ax, by - ay);
                    (dx * (y - ay) - dy * (x - ax)) / (dx * dx + dy * dy).sqrt().max(1e-6)
                };
                let side = if turn(0, c[2].0, c[2].1) > 0.0 { -1.0 } else { 1.0 };
                (0..4).map(|i| side * turn(i, x, y)).fold(f32::MIN, f32::max)
            }
        }
    }

    /// Left, top, right, bottom.
    fn bounds(&self) -> [f32; 4] {
        match *self {
            Self::Box(cx, cy, w, h, _) | Self::Ellipse(cx, cy, w, h) => [cx - w, cy - h, cx + w, cy + h],
            Self::Line(ax, ay, bx, by, r) => [ax.min(bx) - r, ay.min(by) - r, ax.max(bx) + r, ay.max(by) + r],
            Self::Quad(c) => c.iter().fold([f32::MAX, f32::MAX, f32::MIN, f32::MIN], |b, &(x, y)| {
                [b[0].min(x), b[1].min(y), b[2].max(x), b[3].max(y)]
            }),
        }
    }
}

/// Colour and texture.
#[derive(Clone, Copy, Debug)]
pub struct Paint {
    /// Mean colour.
    pub colour: Colour,
    /// Luma levels of texture, up and down.
    pub rough: f32,
    /// Size of a grain in pixels.
    pub grain: f32,
    /// Where the texture is fixed: moving things take theirs along.
    pub origin: (f32, f32),
    /// Another texture for every seed.
    pub seed: u32,
    /// 1 covers, 0 is invisible.
    pub opacity: f32,
}

impl Paint {
    /// Smooth and opaque.
    pub const fn plain(colour: Colour) -> Self {
        Self { colour, rough: 0.0, grain: 1.0, origin: (0.0, 0.0), seed: 0, opacity: 1.0 }
    }

    /// With a texture.
    pub const fn rough(self, rough: f32, grain: f32, seed: u32) -> Self {
        Self { rough, grain, seed, ..self }
    }

    /// Lets what lies below through.
    pub const fn thin(self, opacity: f32) -> Self {
        Self { opacity, ..self }
    }

    /// Fixes the texture at a point of a moving thing.
    pub const fn at(self, x: f32, y: f32) -> Self {
        Self { origin: (x, y), ..self }
    }
}

/// 4:2:0 planes of picture and margin.
#[derive(Clone, Debug)]
pub struct Canvas {
    pub width: usize,
    pub height: usize,
    /// Y, U, V.
    pub planes: [Vec<u8>; 3],
}

impl Canvas {
    /// For a picture of `width` x `height` (both even).
    pub fn new(width: usize, height: usize) -> Self {
        let (width, height) = (width + 2 * MARGIN, height + 2 * MARGIN);
        let quarter = width / 2 * (height / 2);
        Self { width, height, planes: [vec![0; width * height], vec![128; quarter], vec![128; quarter]] }
    }

    /// Starts again from a picture painted before.
    pub fn copy_from(&mut self, other: &Self) {
        for (to, from) in self.planes.iter_mut().zip(&other.planes) {
            to.copy_from_slice(from);
        }
    }

    /// Paints one shape.
    pub fn fill(&mut self, shape: Shape, paint: &Paint) {
        let bounds = shape.bounds();
        for (component, plane) in self.planes.iter_mut().enumerate() {
            let size = if component == 0 { 1.0f32 } else { 2.0 };
            let (columns, rows) = if component == 0 { (self.width, self.height) } else { (self.width / 2, self.height / 2) };
            let cell = |v: f32, limit: usize| (((v + MARGIN as f32) / size).max(0.0) as usize).min(limit);
            let (left, right) = (cell(bounds[0] - 2.0, columns), cell(bounds[2] + 3.0, columns));
            for row in cell(bounds[1] - 2.0, rows)..cell(bounds[3] + 3.0, rows) {
                let y = (row as f32 + 0.5) * size - MARGIN as f32;
                for (k, old) in plane[row * columns + left..row * columns + right].iter_mut().enumerate() {
                    let x = ((left + k) as f32 + 0.5) * size - MARGIN as f32;
                    let cover = (0.5 - shape.distance(x, y) / size).clamp(0.0, 1.0) * paint.opacity;
                    if cover > 0.0 {
                        let mut level = paint.colour[component];
                        if component == 0 && paint.rough > 0.0 {
                            let (px, py) = ((x - paint.origin.0) / paint.grain, (y - paint.origin.1) / paint.grain);
                            level += paint.rough * (2.0 * clouds(px, py, paint.seed) - 1.0);
                        }
                        let before = f32::from(*old);
                        *old = (before + cover * (level - before) + 0.5) as u8;
                    }
                }
            }
        }
    }
}

/// Value noise of two octaves, 0 to 1.
pub fn clouds(x: f32, y: f32, seed: u32) -> f32 {
    0.65 * smooth_noise(x, y, seed) + 0.35 * smooth_noise(x * 2.3 + 17.0, y * 2.3 + 5.0, seed ^ 0x9e37)
}

fn smooth_noise(x: f32, y: f32, seed: u32) -> f32 {
    let (fx, fy) = (x.floor(), y.floor());
    let (ix, iy) = (fx as i32, fy as i32);
    let ease = |t: f32| t * t * (3.0 - 2.0 * t);
    let (tx, ty) = (ease(x - fx), ease(y - fy));
    let corner = |dx: i32, dy: i32| (hash(ix.wrapping_add(dx), iy.wrapping_add(dy), seed) >> 8) as f32 / 16_777_216.0;
    let top = corner(0, 0) + tx * (corner(1, 0) - corner(0, 0));
    let bottom = corner(0, 1) + tx * (corner(1, 1) - corner(0, 1));
    top + ty * (bottom - top)
}

/// A well-mixed number for a place.
pub fn hash(x: i32, y: i32, seed: u32) -> u32 {
    let mut h = (x as u32).wrapping_mul(0x85eb_ca6b) ^ (y as u32).wrapping_mul(0xc2b2_ae35) ^ seed.wrapping_mul(0x27d4_eb2f);
    h = (h ^ (h >> 15)).wrapping_mul(0x2c1b_3c6d);
    h = (h ^ (h >> 12)).wrapping_mul(0x297a_2d39);
    h ^ (h >> 15)
}

/// A sine to 0.1 %, of turns: the library's may differ from machine to machine.
pub fn sine(turns: f32) -> f32 {
    let t = turns - turns.floor();
    let (half, sign) = if t < 0.5 { (t, 1.0) } else { (t - 0.5, -1.0) };
    let p = 16.0 * half * (0.5 - half);
    // p runs 0..1..0 as a parabola; the second term bends it to a sine.
    sign * p * (0.775 + 0.225 * p)
}
