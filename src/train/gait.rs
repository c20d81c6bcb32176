//! An encoder without anything to learn: how things move, wherever in the picture they are. A few hundred clips teach a CNN their scenes; they cannot
//! teach this one, because all it gives are means and maxima over the whole picture.
//!
//! It sees the flow of two ticks (a clip encoder, `clip = 2`). Convolutions with fixed weights, each cut off below 0, say how far every pixel moves in
//! eight directions, and how far its motion changed since the tick before; their sums over the directions are the length of both. Beside them stand
//! divergence and curl. Of each of these maps the mean above several thresholds is taken, and the share between two of them: a histogram.
//! The length of the mean motion of blocks from 2 pixels to the whole picture says how far things move as one, the largest block how much moves in one place.
//!
//! Of all numbers but the first, the logarithm of its ratio to the first (how much moves at all) is the feature. That is what makes them
//! learnable: another distance, another size or another camera changes all sums alike, and hardly their ratios; and a head that has to find
//! ratios by itself in a few hundred clips does not.
//!
//! Up to the maps everything is int8 (QDQ); the means are taken in float, since a mean over thousands of bytes has more digits than a byte.

use super::onnx::{Attribute, Graph};
use super::quantise::{Range, bytes};
use super::unlabelled::no_classes;
use super::write::{Draft, Terms};
use super::{Result, TrainError};
use crate::bundle::{Bundle, Channel, ENCODER, Input};
use crate::encoder::{Encoder, Form};
use crate::rng::Rng;
use ndarray::ArrayD;
use std::f32::consts::PI;

/// Directions of motion.
const DIRECTIONS: usize = 8;
/// Thresholds of length and change of the motion, pixels a tick; each but the last two about twice the one before.
const LENGTHS: [f32; 7] = [0.0, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0];
/// Thresholds of divergence and curl, pixels a tick over two pixels.
const TURNS: [f32; 3] = [0.0, 0.25, 1.0];
/// Longest motion that is told from a longer one, pixels a tick: beyond it the flow has lost its object.
const LONGEST: f32 = 6.0;
/// The same of the mean motion of a block of two pixels; of larger blocks less (so is what moves in a crowded block), by the root of their side.
const TOGETHER: f32 = 4.0;
/// What is added before the logarithm, pixels a tick: less than this, as a mean over the picture, is noise.
const SILENCE: f32 = 0.003;
/// A level of the flow planes, pixels a tick (see the shaper's flow), and the level of no motion.
const LEVEL: Range = Range { scale: 1.0 / 16.0, zero: 128 };
/// Largest side of a picture: sums over the whole of it fit 32 bits.
pub const LARGEST: usize = 80;
/// Golden pictures, and how far their features may be from stock tract's: a byte on the other side of a tie is a few hundredths of the largest block.
const GOLDEN: (usize, f32) = (8, 0.1);

/// What the encoder sees: flow of a picture of this side, now and a tick before.
pub fn input(size: usize) -> Input {
    let input = Input { clip: 2, ..Input::picture(size, size, vec![Channel::Flow]) };
    Input { features: combined(size).0.len() / means(size), ..input }
}

/// Sides of the blocks whose motion is taken together, and of those whose largest is sought.
fn blocks(size: usize) -> ([usize; 6], [usize; 4]) {
    ([2, 4, 8, 16, size / 2, size], [4, 8, 16, size / 2])
}

/// Products a tick.
pub fn products(size: usize) -> usize {
    let maps = 4 * 2 * DIRECTIONS + 9 * 4 * 4 + 2 * 2 * DIRECTIONS + 2 * 4 + 4 * thresholds().len();
    // A block's convolution sees every pixel once.
    size * size * (maps + blocks(size).0.len() * 4 * 2 * DIRECTIONS)
}

/// Map and threshold of every mean over a map: length, change, divergence, curl.
fn thresholds() -> Vec<(usize, f32)> {
    let of = |map: usize, list: &'static [f32]| list.iter().map(move |t| (map, *t));
    of(0, &LENGTHS).chain(of(1, &LENGTHS)).chain(of(2, &TURNS)).chain(of(3, &TURNS)).collect()
}

/// Numbers before the logarithm's ratios: means over maps, over blocks in every direction, and largest blocks.
fn means(size: usize) -> usize {
    thresholds().len() + blocks(size).0.len() * 2 * DIRECTIONS + blocks(size).1.len() * 4
}

/// Weights `[outputs][planes]` of the motion (in every direction) and of its change, over the planes u before, u, v before, v.
fn directions() -> Vec<[f32; 4]> {
    let angle = |k: usize| (k as f32 * 2.0 * PI / DIRECTIONS as f32).sin_cos();
    let now = (0..DIRECTIONS).map(angle).map(|(s, c)| [0.0, c, 0.0, s]);
    now.chain((0..DIRECTIONS).map(angle).map(|(s, c)| [-c, c, -s, s])).collect()
}

/// What becomes of the means: a matrix `[features][means]`, and one that makes logarithms ratios, `[features][features]`.
fn combined(size: usize) -> (Vec<f32>, Vec<f32>) {
    let all = means(size);
    let mut rows: Vec<Vec<f32>> = Vec::new();
    let mut row = |parts: &[(usize, f32)]| {
        let mut row = vec![0.0; all];
        parts.iter().for_each(|(n, w)| row[*n] = *w);
        rows.push(row);
    };
    let list = thresholds();
    for n in 0..list.len() {
        row(&[(n, 1.0)]);
        // The share between this threshold and the next one of the same map.
        if let Some((_, next)) = list.get(n + 1).filter(|(map, _)| *map == list[n].0) {
            let step = 1.0 / (next - list[n].1);
            row(&[(n, step), (n + 1, -step)]);
        }
    }
    let (together, largest) = blocks(size);
    for n in 0..2 * together.len() {
        // The mean over directions of a motion's part in each is its length over pi.
        let first = list.len() + n * DIRECTIONS;
        row(&(first..first + DIRECTIONS).map(|at| (at, PI / DIRECTIONS as f32)).collect::<Vec<_>>());
    }
    (list.len() + 2 * together.len() * DIRECTIONS..all).for_each(|n| row(&[(n, 1.0)]));
    debug_assert_eq!(largest.len() * 4, all - list.len() - 2 * together.len() * DIRECTIONS);
    let features = rows.len();
    let ratio = |n: usize| (0..features).map(move |k| f32::from(i8::from(k == n)) - f32::from(i8::from(n > 0 && k == 0)));
    (rows.concat(), (0..features).flat_map(ratio).collect())
}

/// Cuts off what is below 0 or above `most`, and makes it bytes; the name of what comes out. The limit is there in float as well: what a byte cannot
/// say must not be there for those who learn or compare either.
fn limited(graph: &mut Graph, name: &str, most: f32) -> String {
    let (high, clip) = (format!("{name}_high"), format!("{name}_limited"));
    graph.floats(&high, &[], &[most]);
    graph.node("Clip", &[name, "zero", &high], &[&clip], &[]);
    bytes(graph, &clip, Range::of(0.0, most))
}

/// A convolution of fixed weights `[outputs, inputs, side, side]` on bytes, cut off at 0 and `to`; the name of what comes out.
struct Fixed<'a> {
    name: &'a str,
    from: (&'a str, Range),
    shape: [usize; 4],
    weights: &'a [f32],
    bias: Option<&'a [f32]>,
    stride: usize,
    pad: usize,
    to: f32,
}

impl Fixed<'_> {
    fn add(&self, graph: &mut Graph) -> (String, Range) {
        let [w, b] = ["w", "b"].map(|part| format!("{}_{part}", self.name));
        let scales = graph.weights(&w, &self.shape, 0, self.weights);
        let mut inputs = vec![self.from.0, &w];
        if let Some(bias) = self.bias {
            let steps: Vec<f32> = scales.iter().map(|s| s * self.from.1.scale).collect();
            graph.bias(&b, bias, &steps);
            inputs.push(&b);
        }
        let (side, stride, pad) = (self.shape[3] as i64, self.stride as i64, self.pad as i64);
        let attributes = [
            ("kernel_shape", Attribute::Ints(vec![side; 2])),
            ("strides", Attribute::Ints(vec![stride; 2])),
            ("pads", Attribute::Ints(vec![pad; 4])),
        ];
        graph.node("Conv", &inputs, &[self.name], &attributes);
        (limited(graph, self.name, self.to), Range::of(0.0, self.to))
    }
}

/// Weights of 1 where an input belongs to an output, `[outputs][inputs]`.
fn chosen(outputs: usize, inputs: usize, weight: f32, belongs: impl Fn(usize, usize) -> bool) -> Vec<f32> {
    (0..outputs * inputs).map(|n| if belongs(n / inputs, n % inputs) { weight } else { 0.0 }).collect()
}

/// The encoder's file.
pub fn file(size: usize) -> Vec<u8> {
    let mut graph = Graph::default();
    graph.longs("sees", &[1, 4, size as i64, size as i64]);
    graph.floats("zero", &[], &[0.0]);
    graph.node("Reshape", &["levels", "sees"], &["planes"], &[]);
    let [s, z] = graph.quantiser("planes", LEVEL.scale, LEVEL.zero);
    graph.node("DequantizeLinear", &["planes", &s, &z], &["flow"], &[]);
    let both = 2 * DIRECTIONS;
    let ways = directions();
    let conv = Fixed { name: "", from: ("flow", LEVEL), shape: [0; 4], weights: &[], bias: None, stride: 1, pad: 0, to: LONGEST };
    // How far every pixel moves, and how far that changed: in every direction, then in all.
    let (each, range) = Fixed { name: "ways", shape: [both, 4, 1, 1], weights: &ways.concat(), ..conv }.add(&mut graph);
    let sums = chosen(2, both, PI / DIRECTIONS as f32, |o, i| i / DIRECTIONS == o);
    let sums = Fixed { name: "lengths", from: (&each, range), shape: [2, both, 1, 1], weights: &sums, ..conv }.add(&mut graph);
    // Divergence and curl, both signs of each: ux + vy and vx - uy.
    let mut turns = vec![0.0; 4 * 4 * 9];
    for (output, (plane, place, weight)) in [
        (0, (1, 5, 0.5)),
        (0, (1, 3, -0.5)),
        (0, (3, 7, 0.5)),
        (0, (3, 1, -0.5)),
        (2, (3, 5, 0.5)),
        (2, (3, 3, -0.5)),
        (2, (1, 1, 0.5)),
        (2, (1, 7, -0.5)),
    ] {
        turns[(output * 4 + plane) * 9 + place] = weight;
        turns[((output + 1) * 4 + plane) * 9 + place] = -weight;
    }
    let (each, range) = Fixed { name: "turns", shape: [4, 4, 3, 3], weights: &turns, pad: 1, ..conv }.add(&mut graph);
    let turned = chosen(2, 4, 1.0, |o, i| i / 2 == o);
    let turned = Fixed { name: "turned", from: (&each, range), shape: [2, 4, 1, 1], weights: &turned, ..conv }.add(&mut graph);
    graph.node("Concat", &[&sums.0, &turned.0], &["joined"], &[("axis", Attribute::Int(1))]);
    let maps = (bytes(&mut graph, "joined", sums.1), sums.1);
    let mut pooled: Vec<String> = Vec::new();
    let mean = |graph: &mut Graph, of: &str| {
        let name = format!("{of}_mean");
        graph.node("GlobalAveragePool", &[of], &[&name], &[]);
        name
    };
    let list = thresholds();
    let above = chosen(list.len(), 4, 1.0, |o, i| list[o].0 == i);
    let below: Vec<f32> = list.iter().map(|(_, t)| -t).collect();
    let above = Fixed {
        name: "above",
        from: (&maps.0, maps.1),
        shape: [list.len(), 4, 1, 1],
        weights: &above,
        bias: Some(&below),
        ..conv
    };
    let above = above.add(&mut graph).0;
    pooled.push(mean(&mut graph, &above));
    let (together, largest) = blocks(size);
    for side in together {
        let share = 1.0 / (side * side) as f32;
        let weights: Vec<f32> = ways.iter().flatten().flat_map(|w| vec![w * share; side * side]).collect();
        let (name, to) = (format!("block{side}"), TOGETHER * (2.0 / side as f32).sqrt());
        let block = Fixed { name: &name, shape: [both, 4, side, side], weights: &weights, stride: side, to, ..conv };
        let block = block.add(&mut graph).0;
        pooled.push(mean(&mut graph, &block));
    }
    for side in largest {
        let (name, most) = (format!("crowd{side}"), format!("crowd{side}_most"));
        let shape = |side: usize| ("kernel_shape", Attribute::Ints(vec![side as i64; 2]));
        graph.node("AveragePool", &[&maps.0], &[&name], &[shape(side), ("strides", Attribute::Ints(vec![side as i64; 2]))]);
        let blocks = limited(&mut graph, &name, LONGEST * (2.0 / side as f32).sqrt());
        graph.node("MaxPool", &[&blocks], &[&most], &[shape(size / side)]);
        pooled.push(most);
    }
    let names: Vec<&str> = pooled.iter().map(String::as_str).collect();
    graph.node("Concat", &names, &["means"], &[("axis", Attribute::Int(1))]);
    graph.node("Flatten", &["means"], &["row"], &[("axis", Attribute::Int(1))]);
    let (made, ratios) = combined(size);
    let (from, features) = (means(size), made.len() / means(size));
    graph.floats("made", &[features, from], &made);
    graph.floats("silence", &[features], &vec![SILENCE; features]);
    graph.floats("ratios", &[features, features], &ratios);
    graph.floats("nothing", &[features], &vec![0.0; features]);
    let turn = [("transB", Attribute::Int(1))];
    graph.node("Gemm", &["row", "made", "nothing"], &["sums"], &turn);
    // Two means that were rounded each by itself may differ the wrong way by the last digit.
    graph.node("Relu", &["sums"], &["amounts"], &[]);
    graph.node("Add", &["amounts", "silence"], &["heard"], &[]);
    graph.node("Log", &["heard"], &["logarithms"], &[]);
    graph.node("Gemm", &["logarithms", "ratios", "nothing"], &["features"], &turn);
    graph.file(("levels", &[1, 2, 2, size, size]), true, ("features", &[1, features]))
}

/// A bundle of this encoder that knows no classes yet. Of `terms` the name, tick and window count.
///
/// # Errors
/// A picture of another form: a fault of ours.
pub fn bundle(size: usize, terms: Terms) -> Result<Bundle> {
    let input = input(size);
    let mut terms = Terms { features: input.features, features_tolerance: GOLDEN.1, input: Some(input), ..terms };
    let mut draft = Draft::default();
    draft.files.insert(ENCODER.into(), file(size));
    no_classes(&mut draft, &mut terms)?;
    let broke = |e: &dyn std::fmt::Display| TrainError::Broke(e.to_string());
    let mut encoder = Encoder::load(&draft.open(&terms)?, Form::Reference).map_err(|e| broke(&e))?;
    let frames = drawn(size);
    let mut features = Vec::new();
    for frame in frames.chunks_exact(4 * size * size) {
        features.extend_from_slice(encoder.run_clip(frame).map_err(|e| broke(&e))?);
    }
    let frames = ArrayD::from_shape_vec(&[GOLDEN.0, 2, 2, size, size][..], frames).map_err(|e| broke(&e))?;
    draft.array("golden_frames.npy", &frames)?;
    let features = ArrayD::from_shape_vec(&[GOLDEN.0, terms.features][..], features).map_err(|e| broke(&e))?;
    draft.array("golden_features.npy", &features)?;
    draft.open(&terms)
}

/// Golden pictures: discs that move on a ground that hardly does, from one disc to eight. `[u before, u, v before, v]` each.
///
/// The discs lean: a pixel counts as lower by its column's share of the width, up to one row. The golden features, and so the hash of every bundle with
/// this encoder, hang on that, and any picture serves.
fn drawn(size: usize) -> Vec<u8> {
    let mut rng = Rng(7);
    let mut frames = Vec::new();
    for n in 0..GOLDEN.0 {
        let mut planes: Vec<u8> = (0..4 * size * size).map(|_| (128.5 + rng.normal()) as u8).collect();
        for _ in 0..=n {
            let mut within = |low, high| rng.within(low, high);
            let (x, y, reach) = (within(0.0, size as f32), within(0.0, size as f32), within(2.0, size as f32 / 5.0));
            let levels: [u8; 4] = std::array::from_fn(|_| within(60.0, 196.0) as u8);
            for at in 0..size * size {
                if (at as f32 / size as f32 - y).powi(2) + ((at % size) as f32 - x).powi(2) < reach * reach {
                    levels.iter().enumerate().for_each(|(p, level)| planes[p * size * size + at] = *level);
                }
            }
        }
        frames.extend(planes);
    }
    frames
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden;
    use crate::head::Head;

    fn terms() -> Terms {
        Terms {
            name: "gait".into(),
            description: String::new(),
            input: None,
            features: 0,
            extra: vec![],
            tick_ms: 100,
            window: 4,
            labels: vec![],
            background: String::new(),
            temperature: 1.0,
            enter: 0.6,
            min_ms: 200,
            mean: false,
            features_tolerance: 0.0,
            map_tolerance: 0.0,
        }
    }

    /// A disc of 12 pixels around `middle` that moved by `before` and now by `now` levels to the right, on still ground.
    fn disc(middle: usize, before: u8, now: u8) -> Vec<u8> {
        let mut planes = vec![128u8; 4 * 64 * 64];
        for at in 0..64 * 64usize {
            if (at / 64).abs_diff(middle).pow(2) + (at % 64).abs_diff(middle).pow(2) < 36 {
                (planes[at], planes[64 * 64 + at]) = (before, now);
            }
        }
        planes
    }

    #[test]
    fn our_int8_is_stock_tracts_and_every_product_is_on_bytes() {
        for size in [48, 64, LARGEST] {
            let bundle = bundle(size, terms()).expect("a bundle");
            let mut encoder = Encoder::load(&bundle, Form::AsBuilt).expect("an encoder");
            let found = golden::run(&bundle, Some(&mut encoder), &mut Head::load(&bundle).expect("a head")).expect("within");
            assert!(found.and_then(|f| f.features).is_some_and(|f| f <= GOLDEN.1), "{size}: {found:?}");
            assert_eq!(encoder.report().macs, products(size) as u64, "{size}");
        }
    }

    /// What is said of motion does not depend on where it is, and little on how far away.
    #[test]
    fn another_place_is_the_same_and_a_sudden_change_is_not() {
        let bundle = bundle(64, terms()).expect("a bundle");
        let mut encoder = Encoder::load(&bundle, Form::AsBuilt).expect("an encoder");
        let mut say = |planes: &[u8]| encoder.run_clip(planes).expect("features").to_vec();
        let (here, there, sudden) = (say(&disc(24, 160, 160)), say(&disc(40, 160, 160)), say(&disc(24, 96, 160)));
        let apart = |a: &[f32], b: &[f32]| a.iter().zip(b).fold(0.0f32, |w, (a, b)| w.max((a - b).abs()));
        assert!(apart(&here, &there) < 0.3, "{}", apart(&here, &there));
        assert!(apart(&here, &sudden) > 3.0, "{}", apart(&here, &sudden));
    }
}
