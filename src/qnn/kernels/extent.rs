//! How far into the arena a layer reaches: what makes it safe to run.
//!
//! A plan is made from a file, so nothing here may overflow, and tables that are not as long as the numbers beside them say have no
//! extent at all; kernels rely on both and check neither.

use super::{Layer, PoolKind, Sum, Window};

impl Layer {
    /// Bytes from the arena's beginning that hold everything the layer reads and writes ([`SLACK`](super::SLACK) comes on top); `None` where
    /// that overflows, where tables are not as long as the numbers beside them say, or where `low` is above `high`.
    pub fn extent(&self) -> Option<usize> {
        match self {
            Layer::Conv(conv) => {
                let w = &conv.window;
                let (outputs, weights) = (conv.outputs, conv.taps.len().checked_mul(conv.depth)?.checked_mul(conv.outputs)?);
                let lengths = [conv.bias.len(), conv.requant.scale.len()] == [outputs; 2] && conv.weights.len() == weights;
                let lengths = lengths && [0, outputs].contains(&conv.lift.len());
                let far = conv.taps.iter().copied().max()?.checked_add(conv.depth)?;
                let mut end = w.input_end(far)?.max(w.output_end(outputs)?);
                let mut ranges = conv.requant.low <= conv.requant.high && (0..256).contains(&conv.requant.zero);
                if let Some(other) = &conv.residual {
                    end = end.max(reach(w, other.offset, other.row, other.pixel, outputs)?);
                    ranges &= other.sum.in_range();
                }
                (lengths && ranges).then_some(end)
            }
            Layer::Depthwise(dw) => {
                let (w, taps) = (&dw.window, dw.height.checked_mul(dw.width)?);
                let weights = taps.checked_mul(dw.parts)?.checked_mul(dw.channels)?;
                let lengths =
                    [dw.bias.len(), dw.requant.scale.len()] == [dw.channels; 2] && dw.weights.len() == weights && weights > 0;
                let across = (dw.width.checked_sub(1)?).checked_mul(dw.pixel)?;
                let far = (dw.height.checked_sub(1)?).checked_mul(dw.row)?.checked_add(across)?.checked_add(dw.channels)?;
                let ranges = dw.requant.low <= dw.requant.high && (0..256).contains(&dw.requant.zero);
                (lengths && ranges).then_some(w.input_end(far)?.max(w.output_end(dw.channels)?))
            }
            Layer::Add(add) => {
                let (w, b) = (&add.window, reach(&add.window, add.b, add.row_b, add.pixel_b, add.channels)?);
                add.sum.in_range().then_some(w.input_end(add.channels)?.max(w.output_end(add.channels)?).max(b))
            }
            Layer::Mul(mul) => {
                let (w, b) = (&mul.window, reach(&mul.window, mul.b, mul.row_b, mul.pixel_b, mul.channels)?);
                let ranges = mul.low <= mul.high && [mul.a_zero, mul.b_zero, mul.zero].iter().all(|zero| (0..256).contains(zero));
                ranges.then_some(w.input_end(mul.channels)?.max(w.output_end(mul.channels)?).max(b))
            }
            Layer::Lookup(lookup) => {
                let w = &lookup.window;
                Some(w.input_end(lookup.channels)?.max(w.output_end(lookup.channels)?))
            }
            Layer::Pool(pool) => {
                let w = &pool.window;
                let last = |spans: &[(usize, usize)]| {
                    let ends = spans.iter().map(|&(first, count)| first.checked_add(count.checked_sub(1)?));
                    ends.collect::<Option<Vec<usize>>>().map(|ends| ends.into_iter().max().unwrap_or(0))
                };
                let (row, column) = (last(&pool.rows)?.checked_mul(w.row_in)?, last(&pool.columns)?.checked_mul(w.pixel_in)?);
                let end = w.input.checked_add(row)?.checked_add(column)?.checked_add(pool.channels)?;
                let ranges = match &pool.kind {
                    PoolKind::Max => true,
                    PoolKind::Mean { in_zero, zero, low, high, count, .. } => {
                        low <= high && (0..256).contains(zero) && (0..256).contains(in_zero) && *count != Some(0)
                    }
                };
                let lengths = pool.rows.len() == w.height && pool.columns.len() == w.width;
                (lengths && ranges).then_some(end.max(w.output_end(pool.channels)?))
            }
        }
    }
}

impl Window {
    /// The end of what is read, `far` bytes of it from each pixel's first tap.
    fn input_end(&self, far: usize) -> Option<usize> {
        reach(self, self.input, self.row_in, self.pixel_in, far)
    }

    /// The end of what is written.
    fn output_end(&self, channels: usize) -> Option<usize> {
        reach(self, self.output, self.row_out, self.pixel_out, channels)
    }
}

impl Sum {
    fn in_range(&self) -> bool {
        self.low <= self.high && [self.a_zero, self.b_zero, self.zero].iter().all(|zero| (0..256).contains(zero))
    }
}

/// The end of a tensor of `window`'s size that begins at `offset`.
fn reach(window: &Window, offset: usize, row: usize, pixel: usize, bytes: usize) -> Option<usize> {
    let (Some(y), Some(x)) = (window.height.checked_sub(1), window.width.checked_sub(1)) else { return Some(0) };
    offset.checked_add(y.checked_mul(row)?)?.checked_add(x.checked_mul(pixel)?)?.checked_add(bytes)
}
