//! A layer as two halves that write different bytes, for two threads.
//!
//! A picture is cut across its rows (its columns, where it has one row), so that each half reads little more than half of the input.
//! Where the weights are longer than what they are laid over, the output channels are cut instead, so that each half reads half of the weights.
//! The halves are layers like any other; together they compute, bit for bit, what the whole one does.

#![allow(clippy::result_large_err)] // a layer given back is no error, only left whole

use super::kernels::{Conv, Layer, Requant, Window};

/// Less work than this is done sooner by one thread than two have met: about a microsecond with VNNI, five on a Cortex-A76. In
/// multiplications of a convolution.
const WORTH: usize = 150_000;
/// Output channels that a kernel computes together; a cut between them costs nothing.
const TILE: usize = 16;

impl Layer {
    /// Is it enough work for two threads?
    pub(super) fn is_large(&self) -> bool {
        // What does more than multiply and add, or does it byte by byte, takes longer for each.
        let each = match self {
            Layer::Conv(conv) => conv.taps.len() * conv.depth * conv.outputs,
            Layer::Depthwise(dw) => 4 * dw.parts * dw.height * dw.width * dw.channels,
            Layer::Add(add) => 4 * add.channels,
            Layer::Mul(mul) => 4 * mul.channels,
            Layer::Lookup(lookup) => 8 * lookup.channels,
            Layer::Pool(pool) => {
                let under = |spans: &[(usize, usize)]| spans.first().map_or(0, |s| s.1);
                4 * under(&pool.rows) * under(&pool.columns) * pool.channels
            }
        };
        let window = self.window();
        each.saturating_mul(window.height).saturating_mul(window.width) >= WORTH
    }

    /// The two halves, or the layer itself where it cannot be cut. The layer has an [`extent`](Layer::extent), and so have its halves.
    pub(super) fn halves(self) -> Result<[Layer; 2], Layer> {
        match self {
            Layer::Conv(conv) => {
                let w = &conv.window;
                let read = w.height.saturating_mul(w.width).saturating_mul(w.pixel_in);
                let channels = conv.outputs > TILE && (conv.weights.len() > read || w.height * w.width == 1);
                if channels { Ok(by_channels(conv)) } else { by_pixels(Layer::Conv(conv)) }
            }
            layer => by_pixels(layer),
        }
    }
}

/// Output pixels `first .. first + count` along one side.
#[derive(Clone, Copy)]
struct Stretch {
    rows: bool,
    first: usize,
    count: usize,
}

impl Stretch {
    fn window(self, w: &mut Window) {
        if self.rows {
            w.height = self.count;
        } else {
            w.width = self.count;
        }
        w.output += self.of(w.row_out, w.pixel_out);
    }

    /// How far a tensor with these steps begins behind its beginning.
    fn of(self, row: usize, pixel: usize) -> usize {
        self.first * if self.rows { row } else { pixel }
    }

    fn cut(self, mut layer: Layer) -> Layer {
        let behind = |w: &mut Window| {
            w.input += self.of(w.row_in, w.pixel_in);
            self.window(w);
        };
        match &mut layer {
            Layer::Conv(conv) => {
                behind(&mut conv.window);
                if let Some(other) = &mut conv.residual {
                    other.offset += self.of(other.row, other.pixel);
                }
            }
            Layer::Depthwise(dw) => behind(&mut dw.window),
            Layer::Add(add) => {
                behind(&mut add.window);
                add.b += self.of(add.row_b, add.pixel_b);
            }
            Layer::Mul(mul) => {
                behind(&mut mul.window);
                mul.b += self.of(mul.row_b, mul.pixel_b);
            }
            Layer::Lookup(lookup) => behind(&mut lookup.window),
            Layer::Pool(pool) => {
                // Its rows and columns say where they are themselves.
                self.window(&mut pool.window);
                let spans = if self.rows { &mut pool.rows } else { &mut pool.columns };
                *spans = spans[self.first..][..self.count].to_vec();
            }
        }
        layer
    }
}

fn by_pixels(layer: Layer) -> Result<[Layer; 2], Layer> {
    let w = layer.window();
    let rows = w.height > 1;
    let all = if rows { w.height } else { w.width };
    if all < 2 || w.height == 0 {
        return Err(layer);
    }
    let first = all.div_ceil(2);
    let upper = Stretch { rows, first: 0, count: first }.cut(layer.clone());
    Ok([upper, Stretch { rows, first, count: all - first }.cut(layer)])
}

fn by_channels(mut conv: Conv) -> [Layer; 2] {
    let first = (conv.outputs / 2).next_multiple_of(TILE).min(conv.outputs - 1);
    let mut rest = conv.clone();
    let each = conv.taps.len() * conv.depth;
    (conv.outputs, rest.outputs) = (first, conv.outputs - first);
    conv.weights.truncate(first * each);
    rest.weights.drain(..first * each);
    conv.bias.truncate(first);
    rest.bias.drain(..first);
    rest.lift.drain(..first.min(conv.lift.len()));
    conv.lift.truncate(first);
    let Requant { scale, .. } = &mut conv.requant;
    scale.truncate(first);
    rest.requant.scale.drain(..first);
    rest.window.output += first;
    if let Some(other) = &mut rest.residual {
        other.offset += first;
    }
    [Layer::Conv(conv), Layer::Conv(rest)]
}
