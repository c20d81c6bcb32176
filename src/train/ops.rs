//! Two operators of a small CNN in a form that trains quickly on a processor: patches (what a convolution multiplies) and batch
//! normalisation with ReLU. Everything is `[pictures, height, width, channels]`, so that a convolution is one matrix product, there and back, and
//! normalisation with its gradient three passes over the numbers instead of twenty operators.

use candle_core::{CpuStorage, CustomOp1, CustomOp3, Error, Layout, Result, Shape, Tensor};
use std::sync::{Arc, Mutex};

/// Variance below which a channel counts as silent.
pub const EPSILON: f32 = 1e-5;

/// 1 / (1 + e^-x), by the hyperbolic tangent.
///
/// # Errors
/// None in practice.
pub fn sigmoid(x: &Tensor) -> Result<Tensor> {
    x.affine(0.5, 0.0)?.tanh()?.affine(0.5, 0.5)
}

fn floats<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let (start, end) =
        layout.contiguous_offsets().ok_or_else(|| Error::Msg("a tensor that lies in one piece is expected".into()))?;
    Ok(&storage.as_slice::<f32>()?[start..end])
}

/// `[N,H,W,C]` to `[N*OH*OW, K*K*C]`: for every place of a K x K convolution with padding, what it sees. Beyond the border: zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patches {
    /// Side of the kernel.
    pub kernel: usize,
    /// Steps between places.
    pub stride: usize,
    /// Zeros around.
    pub pad: usize,
}

impl Patches {
    /// Places along a side of `n`.
    pub fn places(&self, n: usize) -> usize {
        (n + 2 * self.pad - self.kernel) / self.stride + 1
    }

    /// Calls `pair(place in the patches, place in the picture)` for every run of C numbers that both have.
    fn pairs(&self, n: usize, h: usize, w: usize, mut pair: impl FnMut(usize, usize)) {
        let (k, oh, ow) = (self.kernel, self.places(h), self.places(w));
        for picture in 0..n {
            for oy in 0..oh {
                for ox in 0..ow {
                    let row = ((picture * oh + oy) * ow + ox) * k * k;
                    for ky in 0..k {
                        let Some(y) = (oy * self.stride + ky).checked_sub(self.pad).filter(|y| *y < h) else { continue };
                        for kx in 0..k {
                            if let Some(x) = (ox * self.stride + kx).checked_sub(self.pad).filter(|x| *x < w) {
                                pair(row + ky * k + kx, (picture * h + y) * w + x);
                            }
                        }
                    }
                }
            }
        }
    }
}

impl CustomOp1 for Patches {
    fn name(&self) -> &'static str {
        "patches"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (n, h, w, c) = layout.shape().dims4()?;
        let x = floats(storage, layout)?;
        let (rows, depth) = (n * self.places(h) * self.places(w), self.kernel * self.kernel * c);
        let mut out = vec![0.0; rows * depth];
        self.pairs(n, h, w, |to, from| out[to * c..][..c].copy_from_slice(&x[from * c..][..c]));
        Ok((CpuStorage::F32(out), Shape::from((rows, depth))))
    }

    fn bwd(&self, arg: &Tensor, _res: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let (n, h, w, c) = arg.dims4()?;
        let g = grad.contiguous()?.flatten_all()?.to_vec1::<f32>()?;
        let mut out = vec![0.0f32; n * h * w * c];
        self.pairs(n, h, w, |from, to| {
            out[to * c..][..c].iter_mut().zip(&g[from * c..][..c]).for_each(|(o, g)| *o += g);
        });
        Ok(Some(Tensor::from_vec(out, (n, h, w, c), arg.device())?))
    }
}

/// Mean and variance of each channel of the last batch.
pub type Statistics = Arc<Mutex<(Vec<f32>, Vec<f32>)>>;

/// Batch normalisation with the batch's own statistics, then ReLU: `[rows, C]`, gain `[C]`, offset `[C]` (Ioffe, Szegedy 2015).
#[derive(Clone, Debug)]
pub struct Normalise {
    /// Filled on the way forward, for the running ones.
    pub seen: Statistics,
}

impl Normalise {
    fn statistics(x: &[f32], c: usize) -> (Vec<f32>, Vec<f32>) {
        let rows = (x.len() / c).max(1) as f32;
        let (mut sum, mut square) = (vec![0.0f64; c], vec![0.0f64; c]);
        // In pieces: f32 sums over a million rows would lose digits, f64 ones all the way would be slow.
        for piece in x.chunks(c * 256) {
            let (mut a, mut b) = (vec![0.0f32; c], vec![0.0f32; c]);
            for row in piece.chunks_exact(c) {
                for ((a, b), v) in a.iter_mut().zip(&mut b).zip(row) {
                    *a += v;
                    *b += v * v;
                }
            }
            sum.iter_mut().zip(&a).for_each(|(s, a)| *s += f64::from(*a));
            square.iter_mut().zip(&b).for_each(|(s, b)| *s += f64::from(*b));
        }
        let mean: Vec<f32> = sum.iter().map(|s| *s as f32 / rows).collect();
        let variance = square.iter().zip(&mean).map(|(s, m)| (*s as f32 / rows - m * m).max(0.0)).collect();
        (mean, variance)
    }
}

impl CustomOp3 for Normalise {
    fn name(&self) -> &'static str {
        "normalise"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        gain: &CpuStorage,
        gl: &Layout,
        offset: &CpuStorage,
        ol: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (rows, c) = xl.shape().dims2()?;
        let (x, gain, offset) = (floats(x, xl)?, floats(gain, gl)?, floats(offset, ol)?);
        let (mean, variance) = Self::statistics(x, c);
        let scale: Vec<f32> = gain.iter().zip(&variance).map(|(g, v)| g / (v + EPSILON).sqrt()).collect();
        let mut out = Vec::with_capacity(x.len());
        for row in x.chunks_exact(c) {
            let each = row.iter().zip(&mean).zip(&scale).zip(offset);
            out.extend(each.map(|(((x, m), s), o)| ((x - m) * s + o).max(0.0)));
        }
        *self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = (mean, variance);
        Ok((CpuStorage::F32(out), Shape::from((rows, c))))
    }

    fn bwd(
        &self,
        x: &Tensor,
        gain: &Tensor,
        offset: &Tensor,
        res: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (rows, c) = x.dims2()?;
        let list = |t: &Tensor| t.contiguous()?.flatten_all()?.to_vec1::<f32>();
        let (values, gains, out, mut g) = (list(x)?, list(gain)?, list(res)?, list(grad)?);
        let (mean, variance) = Self::statistics(&values, c);
        let inverse: Vec<f32> = variance.iter().map(|v| 1.0 / (v + EPSILON).sqrt()).collect();
        let (mut to_gain, mut to_offset) = (vec![0.0f32; c], vec![0.0f32; c]);
        for ((g, out), x) in g.chunks_exact_mut(c).zip(out.chunks_exact(c)).zip(values.chunks_exact(c)) {
            for n in 0..c {
                g[n] = if out[n] > 0.0 { g[n] } else { 0.0 };
                to_offset[n] += g[n];
                to_gain[n] += g[n] * (x[n] - mean[n]) * inverse[n];
            }
        }
        let each = 1.0 / rows as f32;
        for (g, x) in g.chunks_exact_mut(c).zip(values.chunks_exact(c)) {
            for n in 0..c {
                let normal = (x[n] - mean[n]) * inverse[n];
                g[n] = gains[n] * inverse[n] * (g[n] - each * (to_offset[n] + normal * to_gain[n]));
            }
        }
        let device = x.device();
        let back = |v: Vec<f32>, like: &Tensor| Tensor::from_vec(v, like.shape(), device).map(Some);
        Ok((back(g, x)?, back(to_gain, gain)?, back(to_offset, offset)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use candle_core::{Device, Var};

    fn random(shape: &[usize], seed: u64) -> Var {
        let mut rng = Rng(seed);
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| rng.within(-1.0, 1.0)).collect();
        Var::from_vec(values, shape, &Device::Cpu).expect("a tensor")
    }

    fn list(t: &Tensor) -> Vec<f32> {
        t.flatten_all().and_then(|t| t.to_vec1()).expect("numbers")
    }

    fn apart(a: &Tensor, b: &Tensor) -> f32 {
        list(a).iter().zip(list(b)).fold(0.0, |worst, (a, b)| worst.max((a - b).abs()))
    }

    #[test]
    fn patches_times_weights_is_candles_convolution_there_and_back() {
        for (kernel, stride, pad) in [(3, 1, 1), (3, 2, 1), (4, 4, 0)] {
            let (x, w) = (random(&[2, 8, 8, 3], 1), random(&[5, kernel, kernel, 3], 2));
            let op = Patches { kernel, stride, pad };
            let rows = x.apply_op1(op).expect("patches");
            let ours = rows.matmul(&w.reshape((5, ())).expect("rows").t().expect("turned")).expect("product");
            let nchw = |t: &Tensor| t.permute((0, 3, 1, 2)).and_then(|t| t.contiguous()).expect("turned");
            let theirs = nchw(&x).conv2d(&nchw(&w), pad, stride, 1, 1).expect("convolution");
            let theirs = theirs.permute((0, 2, 3, 1)).and_then(|t| t.reshape(((), 5))).expect("rows");
            assert!(apart(&ours, &theirs) < 1e-5);
            let loss = |y: &Tensor| y.sqr().and_then(|y| y.sum_all()).and_then(|l| l.backward()).expect("gradients");
            let (a, b) = (loss(&ours), loss(&theirs));
            for var in [&x, &w] {
                assert!(apart(a.get(var).expect("ours"), b.get(var).expect("theirs")) < 1e-3, "{kernel} {stride}");
            }
        }
    }

    #[test]
    fn normalising_is_what_it_is_made_of_there_and_back() {
        let (x, gain, offset, pull) = (random(&[50, 4], 3), random(&[4], 4), random(&[4], 5), random(&[50, 4], 6));
        let ours = x.apply_op3(&gain, &offset, Normalise { seen: Statistics::default() }).expect("normalised");
        let parts = || -> Result<Tensor> {
            let centred = x.broadcast_sub(&x.mean_keepdim(0)?)?;
            let deviation = (centred.sqr()?.mean_keepdim(0)? + f64::from(EPSILON))?.sqrt()?;
            centred.broadcast_div(&deviation)?.broadcast_mul(&gain)?.broadcast_add(&offset)?.relu()
        };
        let theirs = parts().expect("normalised");
        assert!(apart(&ours, &theirs) < 1e-5);
        let loss = |y: &Tensor| (y * pull.as_tensor()).and_then(|y| y.sum_all()).and_then(|l| l.backward()).expect("gradients");
        let (a, b) = (loss(&ours), loss(&theirs));
        for var in [&x, &gain, &offset] {
            assert!(apart(a.get(var).expect("ours"), b.get(var).expect("theirs")) < 1e-4);
        }
    }
}
