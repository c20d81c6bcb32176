//! One node over tensors that have their places, as kernel layers.

use super::graph::{Conv, Kind, Quant, Windows};
use super::kernels::{self, Add, Depthwise, Layer, Lookup, Mul, Pool, PoolKind, Requant, Residual, Sum, Window};

/// A tensor in the arena.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Offset of channel 0 of pixel (0, 0).
    pub origin: usize,
    /// Bytes between rows.
    pub row: usize,
    /// Bytes between pixels.
    pub pixel: usize,
    /// Bytes between channels.
    pub plane: usize,
    /// Do planes stand one after the other?
    pub planar: bool,
    /// Channels, height, width.
    pub picture: [usize; 3],
    /// Scale and zero point.
    pub quant: Quant,
}

impl Place {
    /// Every pixel of `output` beside the pixel of `self` at the same place.
    fn window(&self, output: &Place) -> Window {
        let [_, height, width] = output.picture;
        Window {
            height,
            width,
            input: self.origin,
            row_in: self.row,
            pixel_in: self.pixel,
            output: output.origin,
            row_out: output.row,
            pixel_out: output.pixel,
        }
    }
}

/// The conv's own scale, the sum's range, the other tensor.
pub type Addition = (Quant, [u8; 2], Place);

/// Makes layers.
#[derive(Debug, Default)]
pub struct Lower {
    /// What was made.
    pub layers: Vec<Layer>,
    /// Multiplications in them.
    pub macs: u64,
}

/// A factor between scales: f64 inside, f32 once at the end.
fn ratio(factors: f64) -> Result<f32, String> {
    let scale = factors as f32;
    if scale.is_finite() && scale >= f32::MIN_POSITIVE { Ok(scale) } else { Err(format!("scales with a ratio of {factors:e}")) }
}

fn sum(a: Quant, b: Quant, out: Quant, [low, high]: [u8; 2]) -> Result<Sum, String> {
    let to = |q: Quant| ratio(f64::from(q.scale) / f64::from(out.scale));
    Ok(Sum { a_zero: a.zero.into(), a_scale: to(a)?, b_zero: b.zero.into(), b_scale: to(b)?, zero: out.zero.into(), low, high })
}

impl Lower {
    /// The same bytes elsewhere.
    pub fn copy(&mut self, from: &Place, to: &Place) {
        let table = Box::new(std::array::from_fn(|b| b as u8));
        self.layers.push(Layer::Lookup(Lookup { window: flat(from.window(to), None), channels: from.picture[0], table }));
    }

    /// A node other than those that only move bytes.
    pub fn node(
        &mut self,
        kind: &Kind,
        inputs: &[Place],
        output: &Place,
        range: [u8; 2],
        add: Option<Addition>,
    ) -> Result<(), String> {
        let a = inputs.first().ok_or("a node without input")?;
        let [low, high] = range;
        let channels = output.picture[0];
        match kind {
            Kind::Conv(conv) => return self.conv(conv, a, output, range, add),
            Kind::Lookup(table) => {
                let table = table.clone();
                self.layers.push(Layer::Lookup(Lookup { window: flat(a.window(output), None), channels, table }));
            }
            Kind::Add | Kind::Mul => {
                let b = inputs.get(1).ok_or("a sum of one")?;
                let (row_b, pixel_b) = if b.picture == output.picture { (b.row, b.pixel) } else { (0, 0) };
                let window = flat(a.window(output), Some((row_b, pixel_b)));
                let (q, out) = (a.quant, output.quant);
                self.layers.push(match kind {
                    Kind::Add => {
                        let sum = sum(q, b.quant, out, range)?;
                        Layer::Add(Add { window, b: b.origin, row_b, pixel_b, channels, sum })
                    }
                    _ => Layer::Mul(Mul {
                        window,
                        b: b.origin,
                        row_b,
                        pixel_b,
                        channels,
                        a_zero: q.zero.into(),
                        b_zero: b.quant.zero.into(),
                        scale: ratio(f64::from(q.scale) * f64::from(b.quant.scale) / f64::from(out.scale))?,
                        zero: out.zero.into(),
                        low,
                        high,
                    }),
                });
            }
            Kind::MaxPool(w) | Kind::Mean(w, _) => {
                let [_, height, width] = output.picture;
                let window = a.window(output);
                let kind = match kind {
                    Kind::Mean(_, full) => PoolKind::Mean {
                        in_zero: a.quant.zero.into(),
                        scale: ratio(f64::from(a.quant.scale) / f64::from(output.quant.scale))?,
                        count: full.then_some(w.kernel[0] * w.kernel[1]),
                        zero: output.quant.zero.into(),
                        low,
                        high,
                    },
                    _ => PoolKind::Max,
                };
                let (rows, columns) = (spans(w, 0, height, a.picture[1]), spans(w, 1, width, a.picture[2]));
                self.layers.push(Layer::Pool(Pool { window, rows, columns, channels, kind }));
            }
            Kind::Quantise(_) | Kind::Concat | Kind::Reshape | Kind::Pad(..) => {}
        }
        Ok(())
    }

    fn conv(&mut self, conv: &Conv, a: &Place, output: &Place, range: [u8; 2], add: Option<Addition>) -> Result<(), String> {
        let [outputs, height, width] = output.picture;
        let [channels, ..] = a.picture;
        let w = &conv.windows;
        let taps = w.kernel[0] * w.kernel[1];
        let depth = channels / conv.groups;
        self.macs += (height * width * outputs * depth * taps) as u64;
        let window = Window {
            height,
            width,
            // The border is at least as wide as the pads.
            input: a.origin - w.pad[0] * a.row - w.pad[1] * a.pixel,
            row_in: w.stride[0] * a.row,
            pixel_in: w.stride[1] * a.pixel,
            output: output.origin,
            row_out: output.row,
            pixel_out: output.pixel,
        };
        // All scales and biases as the whole layer needs them.
        let each = depth * taps;
        let mut scale = vec![];
        let mut bias = vec![];
        let own = add.as_ref().map_or(output.quant, |(own, ..)| *own);
        for (o, row) in conv.weights.chunks_exact(each).enumerate() {
            scale.push(ratio(f64::from(a.quant.scale) * f64::from(conv.scales[o]) / f64::from(own.scale))?);
            let sum: i32 = row.iter().map(|w| i32::from(*w)).sum();
            bias.push(conv.bias[o] - sum * i32::from(a.quant.zero));
        }
        let requant = Requant { scale, zero: own.zero.into(), low: range[0], high: range[1] };
        let narrow = conv.weights.iter().all(|w| (-128..128).contains(w));
        if depth == 1 && conv.groups == channels && outputs == channels && channels > 1 && add.is_none() {
            let parts = (1..PARTS).filter(|n| conv.weights.iter().any(|w| part(*w, *n) != 0)).max().map_or(1, |last| last + 1);
            let tap = |n: usize, t: usize| (0..channels).map(move |c| part(conv.weights[c * taps + t], n));
            let weights = (0..parts).flat_map(|n| (0..taps).flat_map(move |t| tap(n, t))).collect();
            self.layers.push(Layer::Depthwise(Depthwise {
                window,
                height: w.kernel[0],
                width: w.kernel[1],
                row: w.dilation[0] * a.row,
                pixel: w.dilation[1] * a.pixel,
                channels,
                parts,
                weights,
                bias,
                requant,
            }));
            return Ok(());
        }
        let residual = match add {
            None => None,
            Some((own, range, other)) => Some(Residual {
                offset: other.origin,
                row: other.row,
                pixel: other.pixel,
                sum: sum(own, other.quant, output.quant, range)?,
            }),
        };
        // Groups of few channels are joined, their weights among zeros: a kernel wants some bytes at a time.
        let mut joined = 1;
        while joined * depth < 16 && joined < conv.groups {
            joined = (joined + 1..=conv.groups).find(|j| conv.groups.is_multiple_of(*j)).unwrap_or(conv.groups);
        }
        let (each_in, each_out) = (joined * depth, joined * outputs / conv.groups);
        for block in 0..conv.groups / joined {
            let first = block * each_in;
            let cell = |c: usize, i: usize, j: usize| Cell {
                at: (first + c) * a.plane + i * w.dilation[0] * a.row + j * w.dilation[1] * a.pixel,
                weight: (c % depth) * taps + i * w.kernel[1] + j,
                group: c / depth,
            };
            // One place after another: (channel in the block, kernel row, kernel column).
            let mut cells: Vec<Cell> = vec![];
            if a.planar {
                (0..each_in).for_each(|c| (0..w.kernel[0]).for_each(|i| cells.extend((0..w.kernel[1]).map(|j| cell(c, i, j)))));
            } else {
                (0..w.kernel[0]).for_each(|i| (0..w.kernel[1]).for_each(|j| cells.extend((0..each_in).map(|c| cell(c, i, j)))));
            }
            let rows = &conv.weights[block * each_out * each..(block + 1) * each_out * each];
            let Laid { taps, depth, weights, lift } = arrange(&cells, rows, each, outputs / conv.groups, narrow);
            let pick = block * each_out..(block + 1) * each_out;
            self.layers.push(Layer::Conv(kernels::Conv {
                window: flat(
                    Window { output: window.output + block * each_out, ..window },
                    residual.as_ref().map(|r| (r.row, r.pixel)),
                ),
                taps,
                depth,
                outputs: each_out,
                weights,
                lift,
                bias: bias[pick.clone()].to_vec(),
                requant: Requant { scale: requant.scale[pick].to_vec(), ..requant.clone() },
                residual: residual.clone(),
            }));
        }
        Ok(())
    }
}

/// One long row instead of many, where nothing lies between them; `other` are the row and pixel of a second tensor read.
fn flat(w: Window, other: Option<(usize, usize)>) -> Window {
    let fits = w.row_in == w.width * w.pixel_in && w.row_out == w.width * w.pixel_out;
    let fits = fits && other.is_none_or(|(row, pixel)| row == w.width * pixel);
    if fits { Window { height: 1, width: w.width * w.height, ..w } } else { w }
}

/// One place that a convolution reads: where it lies, which weight of an output's row it takes, and the group it belongs to.
#[derive(Clone, Copy)]
struct Cell {
    at: usize,
    weight: usize,
    group: usize,
}

/// Parts that a weight may have: it is at most 255 in size, and a part at most 127.
const PARTS: usize = 3;

/// Part `n` of a weight: as much of it as an i8 holds beside the parts before.
fn part(w: i16, n: usize) -> i8 {
    (0..n).fold(w, |rest, _| rest - rest.clamp(-128, 127)).clamp(-128, 127) as i8
}

/// What all weights between these lack so that an i8 holds them: as little as possible.
fn lift([low, high]: [i16; 2]) -> Option<i16> {
    (high - low <= 255).then(|| 0.clamp(high - 127, low + 128))
}

/// Taps and weights of a convolution; see [`kernels::Conv`].
struct Laid {
    taps: Vec<usize>,
    depth: usize,
    weights: Vec<i8>,
    lift: Vec<i32>,
}

/// Places in order as taps of equal length, and the weights for them: `rows` are `each` weights an output, `outputs` outputs a
/// group. Where an i8 does not hold some weights (not `narrow`), they are split into several and the places they belong to read again, if
/// those are few; else all weights of an output are lifted.
fn arrange(cells: &[Cell], rows: &[i16], each: usize, outputs: usize, narrow: bool) -> Laid {
    // Stretches of neighbours.
    let mut runs: Vec<(usize, usize)> = vec![];
    for (k, cell) in cells.iter().enumerate() {
        match runs.last_mut() {
            Some((start, len)) if cells[*start].at + *len == cell.at => *len += 1,
            _ => runs.push((k, 1)),
        }
    }
    // All stretches are as long as the longest piece that all of them are made of.
    let depth = runs.iter().fold(0, |d, (_, len)| gcd(d, *len)).max(1);
    let pieces: Vec<usize> = runs.iter().flat_map(|(start, len)| (*start..start + len).step_by(depth)).collect();
    let weight = |o: usize, row: &[i16], cell: &Cell| if cell.group == o / outputs { row[cell.weight] } else { 0 };
    let mut taps: Vec<(usize, usize)> = pieces.iter().map(|p| (*p, 0)).collect();
    for pass in if narrow { 1..1 } else { 1..PARTS } {
        let wide = |p: usize| {
            rows.chunks_exact(each)
                .enumerate()
                .any(|(o, row)| cells[p..p + depth].iter().any(|c| part(weight(o, row, c), pass) != 0))
        };
        taps.extend(pieces.iter().filter(|p| wide(**p)).map(|p| (*p, pass)));
    }
    // Lifting looks at every byte a pixel reads, one by one: where hardly any tap is read again (a first layer of 27 bytes, one piece of nine), that
    // would cost more. Where exactly it begins to pay was not measured.
    let range = |(o, row): (usize, &[i16])| {
        cells.iter().map(|c| weight(o, row, c)).fold([0; 2], |[low, high]: [i16; 2], w| [low.min(w), high.max(w)])
    };
    let many = taps.len() > pieces.len() + pieces.len() / 8;
    let lifts: Option<Vec<i16>> =
        if many { rows.chunks_exact(each).enumerate().map(|at| lift(range(at))).collect() } else { None };
    taps.truncate(if lifts.is_some() { pieces.len() } else { taps.len() });
    let mut weights = Vec::with_capacity(rows.len() / each * taps.len() * depth);
    for (o, row) in rows.chunks_exact(each).enumerate() {
        let lift = lifts.as_ref().map_or(0, |lifts| lifts[o]);
        for (p, pass) in &taps {
            weights.extend(cells[*p..*p + depth].iter().map(|c| part(weight(o, row, c) - lift, *pass)));
        }
    }
    let lift = lifts.iter().flatten().map(|lift| i32::from(*lift)).collect();
    Laid { taps: taps.iter().map(|(p, _)| cells[*p].at).collect(), depth, weights, lift }
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// First place and number of places inside the picture, for each window along an axis.
fn spans(w: &Windows, axis: usize, out: usize, side: usize) -> Vec<(usize, usize)> {
    (0..out)
        .map(|n| {
            let from = n * w.stride[axis];
            let (first, end) = (from.max(w.pad[axis]), (from + w.kernel[axis]).min(side + w.pad[axis]));
            (first - w.pad[axis], end.saturating_sub(first))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Weights of bytes with any zero point, few and many beyond an i8, alone and in groups that are joined: taps, weights and lift together say
    /// what the weights said.
    #[test]
    fn what_no_i8_holds_is_kept_to_the_last_unit() {
        let mut rng = crate::rng::Rng(7);
        let mut draw = |n: usize| rng.below(n);
        let (mut split, mut lifted) = (0, 0);
        for _ in 0..300 {
            let (groups, depth, outputs) = ([1, 1, 2][draw(3)], 4 + draw(60), 1 + draw(5));
            let (zero, seldom) = ([0, 60, 120, 128, 255][draw(5)], draw(2) > 0);
            let each = depth;
            let byte = |n: usize| if seldom && !n.is_multiple_of(61) { zero } else { draw(256) as i16 };
            let rows: Vec<i16> = (0..groups * outputs * each).map(byte).map(|byte| byte - zero).collect();
            let cells: Vec<Cell> =
                (0..groups * depth).map(|c| Cell { at: c + c / 4 * 3, weight: c % depth, group: c / depth }).collect();
            let narrow = rows.iter().all(|w| (-128..128).contains(w));
            let laid = arrange(&cells, &rows, each, outputs, narrow);
            assert!(!narrow || laid.lift.is_empty() && laid.taps.len() * laid.depth == cells.len());
            split += usize::from(laid.taps.len() * laid.depth > cells.len());
            lifted += usize::from(!laid.lift.is_empty());
            let inputs = laid.taps.len() * laid.depth;
            for (o, row) in rows.chunks_exact(each).enumerate() {
                let lift = laid.lift.get(o).copied().unwrap_or(0);
                for cell in &cells {
                    let wanted = if cell.group == o / outputs { row[cell.weight] } else { 0 };
                    let found = (0..inputs).filter(|k| laid.taps[k / laid.depth] + k % laid.depth == cell.at);
                    let found: i32 = found.map(|k| i32::from(laid.weights[o * inputs + k]) + lift).sum();
                    assert_eq!(found, i32::from(wanted), "zero {zero}, {} of {inputs}", laid.taps.len());
                }
            }
        }
        assert!(split > 10 && lifted > 10, "{split} split, {lifted} lifted");
    }
}
