//! The still part of the picture: a street corner on a grey day.
//!
//! Camera height is 1.45 m and the horizon lies at 112: a person's feet stand `0.83 *` their height in pixels below it.

use super::paint::{Canvas, Colour, Paint, Shape, hash, rgb};

/// Row of the horizon.
pub const HORIZON: f32 = 112.0;
/// Column of the vanishing point of the alley.
pub const ALLEY: f32 = 232.0;

const SKY: Colour = rgb(196.0, 208.0, 222.0);
const BRICK: Colour = rgb(150.0, 104.0, 86.0);
const PLASTER: Colour = rgb(188.0, 178.0, 156.0);
const CONCRETE: Colour = rgb(132.0, 136.0, 140.0);
const ASPHALT: Colour = rgb(92.0, 94.0, 98.0);
const PAVING: Colour = rgb(152.0, 148.0, 140.0);
const GLASS: Colour = rgb(58.0, 70.0, 84.0);
const LEAVES: Colour = rgb(74.0, 104.0, 58.0);
const WHITE: Colour = rgb(212.0, 212.0, 206.0);
const DARK: Colour = rgb(48.0, 48.0, 50.0);

/// Paints all that stands still.
pub fn street(canvas: &mut Canvas, seed: u32) {
    let mut paint = |shape, colour, rough, grain| {
        canvas.fill(shape, &Paint::plain(colour).rough(rough, grain, seed ^ hash(rough as i32, grain as i32, seed)));
    };
    let area =
        |x0: f32, y0: f32, x1: f32, y1: f32| Shape::Box((x0 + x1) / 2.0, (y0 + y1) / 2.0, (x1 - x0) / 2.0, (y1 - y0) / 2.0, 0.0);
    paint(area(-30.0, -30.0, 350.0, 130.0), SKY, 14.0, 46.0);
    // Far end of the alley, and houses to both sides of it.
    paint(area(196.0, 118.0, 268.0, 140.0), PAVING, 9.0, 4.0);
    paint(area(196.0, 74.0, 268.0, 122.0), rgb(150.0, 158.0, 168.0), 9.0, 7.0);
    paint(Shape::Ellipse(222.0, 92.0, 19.0, 15.0), LEAVES, 26.0, 4.0);
    paint(Shape::Ellipse(247.0, 97.0, 14.0, 12.0), LEAVES, 26.0, 3.5);
    paint(area(-30.0, 14.0, 92.0, 140.0), BRICK, 16.0, 3.0);
    paint(area(92.0, 34.0, 196.0, 140.0), PLASTER, 10.0, 9.0);
    paint(area(268.0, 4.0, 350.0, 140.0), CONCRETE, 12.0, 6.0);
    // Side walls run to the vanishing point.
    paint(Shape::Quad([(196.0, 34.0), (212.0, 70.0), (212.0, 121.0), (196.0, 138.0)]), rgb(134.0, 126.0, 110.0), 9.0, 6.0);
    paint(Shape::Quad([(268.0, 4.0), (251.0, 62.0), (251.0, 121.0), (268.0, 138.0)]), rgb(98.0, 102.0, 106.0), 9.0, 6.0);
    windows(&mut paint, (4.0, 26.0), (26.0, 31.0), (4, 3), (8.0, 10.0));
    windows(&mut paint, (107.0, 48.0), (24.0, 30.0), (4, 2), (6.5, 9.5));
    windows(&mut paint, (284.0, 18.0), (22.0, 26.0), (3, 4), (8.0, 7.5));
    // Ground: far pavement, road, near pavement, and the lane that comes out of the alley.
    paint(area(-30.0, 138.0, 350.0, 152.0), PAVING, 11.0, 5.0);
    paint(area(-30.0, 152.0, 350.0, 205.0), ASPHALT, 13.0, 2.6);
    paint(area(-30.0, 205.0, 350.0, 270.0), PAVING, 12.0, 8.0);
    paint(Shape::Quad([(215.0, 121.0), (249.0, 121.0), (262.0, 152.0), (190.0, 152.0)]), rgb(128.0, 124.0, 118.0), 11.0, 4.0);
    paint(area(-30.0, 151.0, 350.0, 153.0), rgb(178.0, 176.0, 170.0), 6.0, 9.0);
    paint(area(-30.0, 203.5, 350.0, 206.5), rgb(182.0, 180.0, 174.0), 6.0, 9.0);
    for k in 0..9 {
        let x = -14.0 + 42.0 * k as f32;
        paint(area(x, 176.5, x + 22.0, 179.0), WHITE, 10.0, 4.0);
    }
    for k in 0..11 {
        let x = -22.0 + 36.0 * k as f32;
        paint(Shape::Line(x, 207.0, x - 22.0, 268.0, 0.5), rgb(118.0, 114.0, 108.0), 5.0, 3.0);
    }
    furniture(&mut paint, area);
}

/// A door, a lamp post, a tree, bins: edges that stay where they are.
fn furniture(paint: &mut impl FnMut(Shape, Colour, f32, f32), area: impl Fn(f32, f32, f32, f32) -> Shape) {
    paint(area(62.0, 112.0, 78.0, 140.0), rgb(70.0, 58.0, 50.0), 8.0, 3.0);
    paint(area(120.0, 112.0, 178.0, 140.0), GLASS, 10.0, 8.0);
    paint(area(118.0, 106.0, 180.0, 112.0), rgb(150.0, 52.0, 48.0), 14.0, 3.0);
    paint(area(148.0, 112.0, 150.0, 140.0), WHITE, 4.0, 4.0);
    paint(area(24.0, 60.0, 27.0, 148.0), DARK, 5.0, 4.0);
    paint(Shape::Line(25.5, 61.0, 44.0, 55.0, 1.3), DARK, 4.0, 4.0);
    paint(Shape::Ellipse(46.0, 56.0, 5.0, 2.4), WHITE, 4.0, 2.0);
    paint(area(300.0, 100.0, 305.0, 150.0), rgb(86.0, 72.0, 58.0), 12.0, 2.0);
    for (x, y, r) in [(303.0, 84.0, 24.0), (288.0, 96.0, 15.0), (318.0, 98.0, 16.0), (306.0, 66.0, 16.0)] {
        paint(Shape::Ellipse(x, y, r, r * 0.85), LEAVES, 34.0, 4.2);
    }
    paint(Shape::Box(94.0, 141.0, 6.0, 9.0, 2.0), rgb(60.0, 84.0, 72.0), 9.0, 3.0);
    paint(Shape::Box(108.0, 142.0, 6.0, 8.0, 2.0), rgb(52.0, 62.0, 88.0), 9.0, 3.0);
    paint(Shape::Box(12.0, 226.0, 16.0, 22.0, 2.0), rgb(112.0, 116.0, 118.0), 10.0, 3.0);
    paint(Shape::Box(12.0, 218.0, 11.0, 6.0, 1.0), DARK, 6.0, 3.0);
}

fn windows(
    paint: &mut impl FnMut(Shape, Colour, f32, f32),
    first: (f32, f32),
    apart: (f32, f32),
    count: (usize, usize),
    half: (f32, f32),
) {
    for k in 0..count.0 * count.1 {
        let (x, y) = (first.0 + apart.0 * (k % count.0) as f32, first.1 + apart.1 * (k / count.0) as f32);
        paint(Shape::Box(x, y, half.0 + 1.2, half.1 + 1.2, 0.5), WHITE, 5.0, 4.0);
        paint(Shape::Box(x, y, half.0, half.1, 0.5), GLASS, 16.0, 6.0);
        paint(Shape::Box(x, y, 0.6, half.1, 0.0), WHITE, 0.0, 1.0);
        paint(Shape::Box(x, y + half.1 + 2.0, half.0 + 2.0, 1.0, 0.0), PAVING, 4.0, 3.0);
    }
}
