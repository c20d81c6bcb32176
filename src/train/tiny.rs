//! A small CNN of one's own, trained together with its head: grey, motion or flow planes of a tick to one feature vector.
//!
//! Its form is that of `models/motion`: patches of 4x4 levels without padding (a border of zeros would look like motion), then 3x3 layers with
//! batch normalisation, two of them beside a shortcut, then a dense layer: over mean and maximum of each channel ([`Pool::Whole`]: it does not matter
//! where in the picture something happens, which a few hundred clips cannot teach), or over the last grid ([`Pool::Grid`]: it does).
//! Channels are multiples of 16, whole registers of the int8 kernels. Everything is `[pictures, height, width, channels]`.

use super::net::{even, mask};
use super::ops::{EPSILON, Normalise, Patches, Statistics};
use crate::rng::Rng;
use candle_core::{Device, Result, Tensor, Var};

/// Levels a side of a patch of the first layer.
pub const PATCH: usize = 4;

/// What the dense layer looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Pool {
    /// Mean and maximum of each channel.
    Whole,
    /// Every place of the last grid.
    Grid,
}

/// Why a CNN is run.
#[derive(Debug)]
pub enum Pass<'a> {
    /// To learn: normalised by the batch, a tenth of the dense layer's inputs left out at random.
    Learn(&'a mut Rng),
    /// To measure: the batch's statistics become those that judging uses.
    Settle,
    /// To judge.
    Judge,
}

/// What a CNN is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Picture, pixels; both multiples of 16.
    pub width: usize,
    /// See `width`.
    pub height: usize,
    /// Planes that come in.
    pub planes: usize,
    /// Channels of the first layer; a multiple of 16.
    pub channels: usize,
    /// Features that come out.
    pub features: usize,
    /// What the dense layer looks at.
    pub pool: Pool,
}

/// One convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// What it sees.
    pub patches: Patches,
    /// Channels in.
    pub inputs: usize,
    /// Channels out.
    pub outputs: usize,
    /// Its input is added to what it gives.
    pub shortcut: bool,
}

impl Plan {
    /// The convolutions in order.
    pub fn steps(&self) -> [Step; 5] {
        let c = self.channels;
        let step = |kernel, stride, pad, inputs, outputs, shortcut| Step {
            patches: Patches { kernel, stride, pad },
            inputs,
            outputs,
            shortcut,
        };
        [
            step(PATCH, PATCH, 0, self.planes, c, false),
            step(3, 2, 1, c, c + 16, false),
            step(3, 1, 1, c + 16, c + 16, true),
            step(3, 2, 1, c + 16, c + 32, false),
            step(3, 1, 1, c + 32, c + 32, true),
        ]
    }

    /// Height and width behind each convolution.
    pub fn sizes(&self) -> [(usize, usize); 5] {
        let mut size = (self.height, self.width);
        self.steps().map(|s| {
            size = (s.patches.places(size.0), s.patches.places(size.1));
            size
        })
    }

    /// Numbers before the dense layer.
    pub fn flat(&self) -> usize {
        let (h, w) = self.sizes()[4];
        (self.channels + 32) * if self.pool == Pool::Grid { h * w } else { 2 }
    }

    /// Products a tick.
    pub fn products(&self) -> usize {
        let steps = self.steps().into_iter().zip(self.sizes());
        let convolutions: usize = steps.map(|(s, (h, w))| h * w * s.patches.kernel.pow(2) * s.inputs * s.outputs).sum();
        convolutions + self.flat() * self.features
    }
}

/// One convolution while it learns: `[kernel * kernel * inputs, outputs]`, then normalised.
#[derive(Debug)]
pub struct Layer {
    /// Weights.
    pub w: Var,
    /// Gain of the normalisation.
    pub gain: Var,
    /// Offset of the normalisation.
    pub offset: Var,
    /// Settled mean and variance: what takes the place of a batch's when nothing is learnt.
    pub running: [Var; 2],
}

/// A CNN that can learn.
#[derive(Debug)]
pub struct Tiny {
    /// Its shape.
    pub plan: Plan,
    /// From the input on.
    pub layers: Vec<Layer>,
    /// `[flat, features]`, flat in the order height, width, channels.
    pub dense: Var,
    /// `[features]`
    pub bias: Var,
}

impl Tiny {
    /// With weights as He et al. begin (2015).
    ///
    /// # Errors
    /// None in practice.
    pub fn new(plan: Plan, rng: &mut Rng) -> Result<Self> {
        let constant = |n: usize, value: f32| Var::from_vec(vec![value; n], n, &Device::Cpu);
        let mut layer = |s: Step| {
            let (depth, c) = (s.patches.kernel.pow(2) * s.inputs, s.outputs);
            let w = even(rng, &[depth, c], (6.0 / depth as f32).sqrt())?;
            // A layer beside a shortcut begins as nothing.
            let gain = constant(c, if s.shortcut { 0.1 } else { 1.0 })?;
            Ok(Layer { w, gain, offset: constant(c, 0.0)?, running: [constant(c, 0.0)?, constant(c, 1.0)?] })
        };
        let layers = plan.steps().into_iter().map(&mut layer).collect::<Result<_>>()?;
        let dense = even(rng, &[plan.flat(), plan.features], (3.0 / plan.flat() as f32).sqrt())?;
        Ok(Self { plan, layers, dense, bias: constant(plan.features, 0.0)? })
    }

    /// All weights that learn, by name.
    pub fn weights(&self) -> Vec<(String, Var)> {
        let mut all = Vec::new();
        for (n, l) in self.layers.iter().enumerate() {
            for (name, var) in [("w", &l.w), ("gain", &l.gain), ("offset", &l.offset)] {
                all.push((format!("conv{n}.{name}"), var.clone()));
            }
        }
        all.push(("features.w".into(), self.dense.clone()));
        all.push(("features.b".into(), self.bias.clone()));
        all
    }

    /// What is kept beside them: settled statistics.
    pub fn statistics(&self) -> Vec<(String, Var)> {
        let of = |(n, l): (usize, &Layer)| {
            [(format!("conv{n}.mean"), l.running[0].clone()), (format!("conv{n}.variance"), l.running[1].clone())]
        };
        self.layers.iter().enumerate().flat_map(of).collect()
    }

    /// Features `[N, features]` of pictures that are patches already: `[N * h * w, 16 * planes]`, values of [`value`].
    ///
    /// # Errors
    /// None in practice: shapes are the plan's.
    pub fn run(&self, patches: &Tensor, mut pass: Pass<'_>) -> Result<Tensor> {
        let mut x = patches.clone();
        for ((layer, step), (h, w)) in self.layers.iter().zip(self.plan.steps()).zip(self.plan.sizes()) {
            let before = x.clone();
            let rows = if step.patches.stride == PATCH { x } else { x.apply_op1(step.patches)? };
            let y = layer.normalise(&rows.matmul(&layer.w)?, &pass)?;
            let pictures = y.dim(0)? / (h * w);
            let y = y.reshape((pictures, h, w, step.outputs))?;
            x = if step.shortcut { (before + y)? } else { y };
        }
        let mut flat = self.plan.pool.pooled(&x)?;
        if let Pass::Learn(rng) = &mut pass {
            flat = (&flat * mask(flat.dims(), 0.1, rng)?)?;
        }
        flat.matmul(&self.dense)?.broadcast_add(&self.bias)
    }
}

impl Pool {
    /// `[N, h, w, c]` to what the dense layer takes.
    ///
    /// # Errors
    /// None in practice.
    pub fn pooled(self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Grid => x.flatten_from(1),
            Self::Whole => {
                let places = x.flatten(1, 2)?;
                Tensor::cat(&[places.mean(1)?, places.max(1)?], 1)
            }
        }
    }
}

impl Layer {
    fn normalise(&self, x: &Tensor, pass: &Pass<'_>) -> Result<Tensor> {
        if matches!(pass, Pass::Judge) {
            let (scale, offset) = self.folded()?;
            return x.broadcast_mul(&scale)?.broadcast_add(&offset)?.relu();
        }
        let seen = Statistics::default();
        let y = x.apply_op3(&self.gain, &self.offset, Normalise { seen: seen.clone() })?;
        if matches!(pass, Pass::Settle) {
            let (mean, variance) = seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
            for (running, new) in self.running.iter().zip([mean, variance]) {
                running.set(&Tensor::from_vec(new, running.shape(), running.device())?)?;
            }
        }
        Ok(y)
    }

    /// The normalisation as one gain and one offset a channel.
    ///
    /// # Errors
    /// None in practice.
    pub fn folded(&self) -> Result<(Tensor, Tensor)> {
        let [mean, variance] = &self.running;
        let scale = (self.gain.as_tensor() / (variance.as_tensor() + f64::from(EPSILON))?.sqrt()?)?;
        let offset = (self.offset.as_tensor() - (mean.as_tensor() * &scale)?)?;
        Ok((scale, offset))
    }
}

/// What the CNN takes for a level: the shaper's byte, around zero.
pub fn value(level: u8) -> f32 {
    (f32::from(level) - 128.0) / 64.0
}
