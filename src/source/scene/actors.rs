//! What moves: people and cars, made of a dozen shapes each.

use super::paint::{Canvas, Colour, Paint, Shape, rgb, sine};

const RUBBER: Colour = rgb(34.0, 34.0, 36.0);
const GLASS: Colour = rgb(52.0, 64.0, 78.0);
const SKIN: Colour = rgb(204.0, 160.0, 132.0);
const SHADOW: Colour = rgb(40.0, 40.0, 44.0);

/// Where a person is and what the legs do.
#[derive(Clone, Copy, Debug)]
pub struct Person {
    /// Column of the feet.
    pub x: f32,
    /// Row of the feet.
    pub foot: f32,
    /// Height in pixels.
    pub tall: f32,
    /// Steps taken, in turns.
    pub stride: f32,
    /// -1 walks to the left, 1 to the right, 0 towards the camera or away.
    pub way: f32,
    /// Back or front.
    pub back: bool,
    /// Of the jacket.
    pub jacket: Colour,
    /// Of the trousers.
    pub trousers: Colour,
}

impl Person {
    /// Paints the person. Standing still is a stride of 0.
    pub fn draw(&self, canvas: &mut Canvas) {
        let h = self.tall;
        let at = |dx: f32, up: f32| (self.x + dx * h, self.foot - up * h);
        let line = |a: (f32, f32), b: (f32, f32), r: f32| Shape::Line(a.0, a.1, b.0, b.1, r * h);
        let cloth = |colour: Colour, rough: f32| Paint::plain(colour).rough(rough, 0.035 * h, 77).at(self.x, self.foot);
        let dark = |c: Colour| [c[0] * 0.72, c[1], c[2]];
        let swing = sine(self.stride);
        canvas.fill(Shape::Ellipse(self.x, self.foot, 0.2 * h, 0.035 * h), &Paint::plain(SHADOW).thin(0.45));
        let hip = |side: f32| at(if self.way == 0.0 { 0.06 * side } else { 0.0 }, 0.49);
        let bob = 0.012 * swing * swing;
        for side in [-1.0f32, 1.0] {
            let s = side * swing;
            // From the side a leg swings; from the front it is lifted, and looks shorter.
            let (reach, lift) = if self.way == 0.0 {
                (0.075 * side, 0.09 * s.max(0.0))
            } else {
                (0.2 * s, 0.05 * (1.0 - s).max(0.0) * swing.abs())
            };
            let knee = if self.way == 0.0 {
                at(0.07 * side, 0.27 + 0.4 * lift)
            } else {
                at(0.11 * s + 0.05 * self.way * (1.0 - s), 0.26)
            };
            let foot = at(reach, 0.03 + lift);
            let tone = if side < 0.0 { dark(self.trousers) } else { self.trousers };
            canvas.fill(line(hip(side), knee, 0.058), &cloth(tone, 12.0));
            canvas.fill(line(knee, foot, 0.045), &cloth(tone, 12.0));
            let toe = if self.way == 0.0 { at(reach * 1.1, 0.02 + lift) } else { at(reach + 0.07 * self.way, 0.02 + lift) };
            canvas.fill(line(foot, toe, 0.03), &Paint::plain(RUBBER));
        }
        let arm = |canvas: &mut Canvas, side: f32, tone: Colour| {
            let s = -side * swing;
            let shoulder = if self.way == 0.0 { at(0.13 * side, 0.79 + bob) } else { at(0.0, 0.79 + bob) };
            let (elbow, hand) = if self.way == 0.0 {
                (at(0.17 * side, 0.63), at(0.165 * side, 0.49 + 0.05 * s))
            } else {
                (at(0.1 * s - 0.02 * self.way, 0.64), at(0.17 * s + 0.06 * self.way, 0.54 + 0.04 * s.abs()))
            };
            canvas.fill(line(shoulder, elbow, 0.042), &cloth(tone, 14.0));
            canvas.fill(line(elbow, hand, 0.036), &cloth(tone, 14.0));
            canvas.fill(line(hand, hand, 0.034), &Paint::plain(SKIN));
        };
        arm(canvas, -1.0, dark(self.jacket));
        let lean = 0.02 * self.way;
        canvas.fill(
            line(at(0.0, 0.53 + bob), at(lean, 0.76 + bob), if self.way == 0.0 { 0.125 } else { 0.095 }),
            &cloth(self.jacket, 26.0),
        );
        let band = at(lean * 0.5, 0.66 + bob);
        let half = if self.way == 0.0 { 0.115 } else { 0.088 };
        canvas.fill(
            Shape::Box(band.0, band.1, half * h, 0.022 * h, 0.0),
            &cloth([self.jacket[0] * 0.4 + 130.0, 128.0, 128.0], 10.0),
        );
        arm(canvas, 1.0, self.jacket);
        let head = at(lean * 1.5, 0.925 + bob);
        canvas.fill(Shape::Ellipse(head.0, head.1, 0.062 * h, 0.075 * h), &cloth(SKIN, 8.0));
        let hair = Paint::plain(rgb(58.0, 44.0, 36.0)).rough(8.0, 0.02 * h, 5).at(self.x, self.foot);
        let (dx, dy) = if self.back { (0.0, 0.0) } else { (-0.018 * self.way, if self.way == 0.0 { 0.055 } else { 0.03 }) };
        canvas.fill(Shape::Ellipse(head.0 + dx * h, head.1 - dy * h, 0.064 * h, (0.076 - 0.6 * dy) * h), &hair);
    }
}

/// A car seen from the side.
#[derive(Clone, Copy, Debug)]
pub struct Car {
    /// Column of the middle.
    pub x: f32,
    /// Row of the wheels' feet.
    pub foot: f32,
    /// Length in pixels.
    pub long: f32,
    /// -1 drives to the left, 1 to the right.
    pub way: f32,
    /// Of the body.
    pub colour: Colour,
}

impl Car {
    /// Paints the car.
    pub fn draw(&self, canvas: &mut Canvas) {
        let l = self.long;
        let at = |forward: f32, up: f32| (self.x + self.way * forward * l, self.foot - up * l);
        let part = |x: f32, up: f32, w: f32, h: f32, r: f32| {
            let c = at(x, up);
            Shape::Box(c.0, c.1, w * l, h * l, r * l)
        };
        let body = Paint::plain(self.colour).rough(9.0, 0.05 * l, 31).at(self.x, self.foot);
        let low = Paint { colour: [self.colour[0] * 0.66, self.colour[1], self.colour[2]], ..body };
        let glass = Paint::plain(GLASS).rough(18.0, 0.06 * l, 8).at(self.x, self.foot);
        canvas.fill(Shape::Ellipse(self.x, self.foot, 0.54 * l, 0.035 * l), &Paint::plain(SHADOW).thin(0.6));
        canvas.fill(Shape::Quad([at(-0.36, 0.2), at(-0.24, 0.345), at(0.12, 0.345), at(0.29, 0.2)]), &body);
        canvas.fill(part(0.0, 0.155, 0.5, 0.075, 0.045), &body);
        canvas.fill(part(0.0, 0.095, 0.49, 0.03, 0.02), &low);
        canvas.fill(Shape::Quad([at(-0.3, 0.215), at(-0.215, 0.32), at(-0.06, 0.32), at(-0.06, 0.215)]), &glass);
        canvas.fill(Shape::Quad([at(-0.03, 0.215), at(-0.03, 0.32), at(0.1, 0.32), at(0.22, 0.215)]), &glass);
        let seam = Paint { colour: [self.colour[0] * 0.5, self.colour[1], self.colour[2]], ..body };
        for x in [-0.19, -0.045, 0.19] {
            canvas.fill(part(x, 0.145, 0.004, 0.055, 0.0), &seam);
        }
        canvas.fill(part(-0.01, 0.185, 0.022, 0.006, 0.0), &seam);
        canvas.fill(part(0.47, 0.165, 0.026, 0.018, 0.01), &Paint::plain(rgb(236.0, 232.0, 210.0)));
        canvas.fill(part(-0.475, 0.17, 0.022, 0.02, 0.008), &Paint::plain(rgb(168.0, 34.0, 30.0)));
        for x in [-0.29, 0.3] {
            let (cx, cy) = at(x, 0.085);
            canvas.fill(Shape::Ellipse(cx, cy, 0.086 * l, 0.086 * l), &Paint::plain(RUBBER));
            canvas.fill(Shape::Ellipse(cx, cy, 0.052 * l, 0.052 * l), &Paint::plain(rgb(150.0, 152.0, 156.0)));
            // Spokes turn with the way driven.
            let turn = self.x * self.way / (0.54 * l);
            for k in 0..3 {
                let t = turn + k as f32 / 6.0;
                let (dx, dy) = (0.045 * l * sine(t + 0.25), 0.045 * l * sine(t));
                canvas.fill(Shape::Line(cx - dx, cy - dy, cx + dx, cy + dy, 0.007 * l), &Paint::plain(rgb(70.0, 70.0, 74.0)));
            }
        }
    }
}
