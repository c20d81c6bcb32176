//! Adam (Kingma, Ba 2015) with decoupled weight decay (Loshchilov, Hutter 2019), its moments where a checkpoint can hold them.

use candle_core::backprop::GradStore;
use candle_core::{Result, Tensor, Var};

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPSILON: f64 = 1e-8;
/// Longest step that a gradient may ask for (its norm over all weights): recurrent nets now and then see one a hundred times too long.
const LONGEST: f64 = 1.0;

/// One weight and what Adam remembers of it.
#[derive(Debug)]
pub struct Weight {
    /// For checkpoints.
    pub name: String,
    /// The weight itself.
    pub var: Var,
    /// Does it decay? Matrices do, biases and gains do not.
    pub decays: bool,
    /// First and second moment.
    pub moments: [Var; 2],
}

/// The optimiser.
#[derive(Debug)]
pub struct Adam {
    /// In the order in which they were given.
    pub weights: Vec<Weight>,
    /// Steps made.
    pub steps: u32,
    decay: f64,
}

impl Adam {
    /// For these weights; matrices lose `decay` of themselves a step, times the learning rate.
    ///
    /// # Errors
    /// None in practice: memory for the moments.
    pub fn new(vars: &[(String, Var)], decay: f64) -> Result<Self> {
        let weight = |(name, var): &(String, Var)| {
            let zeros = || Var::zeros(var.shape(), var.dtype(), var.device());
            Ok(Weight { name: name.clone(), var: var.clone(), decays: var.dims().len() > 1, moments: [zeros()?, zeros()?] })
        };
        Ok(Self { weights: vars.iter().map(weight).collect::<Result<_>>()?, steps: 0, decay })
    }

    /// One step down the gradients.
    ///
    /// # Errors
    /// None in practice: shapes are those of the weights.
    pub fn step(&mut self, grads: &GradStore, rate: f64) -> Result<()> {
        self.steps += 1;
        let n = self.steps as i32;
        let mut square = 0.0;
        for w in &self.weights {
            if let Some(g) = grads.get(&w.var) {
                square += f64::from(g.sqr()?.sum_all()?.to_scalar::<f32>()?);
            }
        }
        let norm = square.sqrt();
        // One batch that went beyond what f32 holds must not take all weights with it.
        if !norm.is_finite() {
            return Ok(());
        }
        let shorten = if norm > LONGEST { LONGEST / norm } else { 1.0 };
        let unbias = |beta: f64| 1.0 / (1.0 - beta.powi(n));
        for w in &self.weights {
            let Some(g) = grads.get(&w.var) else { continue };
            let g = (g * shorten)?;
            let [m, v] = &w.moments;
            m.set(&((m.as_tensor() * BETA1)? + (&g * (1.0 - BETA1))?)?)?;
            v.set(&((v.as_tensor() * BETA2)? + (g.sqr()? * (1.0 - BETA2))?)?)?;
            let deviation: Tensor = ((v.as_tensor() * unbias(BETA2))?.sqrt()? + EPSILON)?;
            let step = ((m.as_tensor() * (unbias(BETA1) * rate))? / deviation)?;
            let kept = if w.decays { (w.var.as_tensor() * (1.0 - rate * self.decay))? } else { w.var.as_tensor().clone() };
            w.var.set(&(kept - step)?)?;
        }
        Ok(())
    }
}
