//! What needs no training worth the name, to hold against what does: logistic regression on the length and size of the recordings alone, and on
//! their mean numbers without any order in time. A net that does not beat the first has learnt how the clips were cut; one that does not
//! beat the second has no use for its memory.

use super::adam::Adam;
use super::judge::Figures;
use super::set::{Sequence, Set};
use super::{Result, fit};
use crate::ticks::Data;
use candle_core::{D, Device, Tensor, Var};

/// Steps of each regression; more changes nothing on standardised numbers.
const STEPS: usize = 200;
/// Weight decay: there are often more numbers than recordings.
const DECAY: f64 = 3.0;
/// Side of the grid that planes are averaged over.
const GRID: usize = 4;

/// What a regression looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Ticks, width and height.
    Frame,
    /// Mean and deviation of every number over the recording; for long recordings the numbers of the tick alone.
    Mean,
}

impl Look {
    /// For a report.
    pub fn words(self, stretches: bool) -> &'static str {
        match (self, stretches) {
            (Self::Frame, _) => "length and picture size alone, logistic regression",
            (Self::Mean, false) => "mean and deviation of the numbers, logistic regression",
            (Self::Mean, true) => "each tick by itself, logistic regression",
        }
    }
}

/// Figures of a regression learnt on `learn` and judged by `judged`.
///
/// # Errors
/// None in practice.
pub fn figures(set: &Set, look: Look, learn: &[usize], judged: &[usize]) -> Result<Figures> {
    let rows = |of: &[usize]| -> (Vec<Vec<f32>>, Vec<u32>, Vec<usize>) {
        let (mut x, mut y, mut lengths) = (vec![], vec![], vec![]);
        for n in of {
            let s = &set.sequences[*n];
            let before = x.len();
            match (s.whole, look) {
                (Some(class), _) => {
                    x.push(numbers(set, s, look));
                    y.push(class as u32);
                }
                (None, Look::Frame) => {}
                // One tick in five: neighbours say the same.
                (None, Look::Mean) => {
                    for (t, class) in s.classes.iter().enumerate().step_by(5).filter_map(|(t, c)| Some((t, (*c)?))) {
                        x.push(tick(set, s, t));
                        y.push(class as u32);
                    }
                }
            }
            lengths.push(x.len() - before);
        }
        (x, y, lengths)
    };
    let (mut x, y, _) = rows(learn);
    let (mut judged_x, judged_y, lengths) = rows(judged);
    let classes = set.labels.len();
    if x.is_empty() || judged_x.is_empty() {
        return Ok(Figures { counts: vec![vec![0; classes]; classes], ..Figures::default() });
    }
    standardise(&mut x, &mut judged_x);
    let width = x[0].len();
    let tensor = |x: Vec<Vec<f32>>| Tensor::from_vec(x.concat(), ((), width), &Device::Cpu);
    let (w, b) = (
        Var::zeros((classes, width), candle_core::DType::F32, &Device::Cpu)?,
        Var::zeros(classes, candle_core::DType::F32, &Device::Cpu)?,
    );
    let mut adam = Adam::new(&[("w".into(), w.clone()), ("b".into(), b.clone())], DECAY)?;
    let x = tensor(x)?;
    let n = y.len();
    let y = Tensor::from_vec(y, (n, 1), &Device::Cpu)?;
    let logits = |x: &Tensor| -> Result<Tensor> { Ok(x.matmul(&w.t()?)?.broadcast_add(&b)?) };
    for step in 0..STEPS {
        let loss = fit::log_softmax(&logits(&x)?)?.gather(&y, D::Minus1)?.mean_all()?.neg()?;
        adam.step(&loss.backward()?, 0.03 * (1.0 - step as f64 / STEPS as f64))?;
    }
    let p = logits(&tensor(judged_x)?)?.to_vec2::<f32>()?;
    Ok(Figures::of_answers(set, &judged_y, p, &lengths))
}

fn standardise(x: &mut [Vec<f32>], other: &mut [Vec<f32>]) {
    for n in 0..x[0].len() {
        let mean = x.iter().map(|r| r[n]).sum::<f32>() / x.len() as f32;
        let deviation = (x.iter().map(|r| (r[n] - mean).powi(2)).sum::<f32>() / x.len() as f32).sqrt().max(1e-6);
        x.iter_mut().chain(other.iter_mut()).for_each(|r| r[n] = (r[n] - mean) / deviation);
    }
}

fn numbers(set: &Set, s: &Sequence, look: Look) -> Vec<f32> {
    if look == Look::Frame {
        let [w, h] = s.ticks.size.map(|side| side as f32);
        return vec![(s.ticks.len() as f32).ln(), w.max(1.0).ln(), h.max(1.0).ln(), w / h.max(1.0)];
    }
    let ticks: Vec<Vec<f32>> = (0..s.ticks.len()).map(|t| tick(set, s, t)).collect();
    let n = ticks.len() as f32;
    let width = ticks.first().map_or(0, Vec::len);
    let mean: Vec<f32> = (0..width).map(|k| ticks.iter().map(|t| t[k]).sum::<f32>() / n).collect();
    let deviation = (0..width).map(|k| (ticks.iter().map(|t| (t[k] - mean[k]).powi(2)).sum::<f32>() / n).sqrt());
    let deviation: Vec<f32> = deviation.collect();
    [mean, deviation].concat()
}

/// The numbers of one tick: features as they are, planes as means over a coarse grid.
fn tick(set: &Set, s: &Sequence, t: usize) -> Vec<f32> {
    let range = t * s.ticks.width..(t + 1) * s.ticks.width;
    match (&s.ticks.data, &set.planes) {
        (Data::Numbers(numbers), _) => numbers[range].to_vec(),
        (Data::Levels(levels), Some((input, _))) => {
            let (w, h) = (input.width, input.height);
            let mut cells = vec![0.0f32; input.planes() * GRID * GRID];
            for (p, plane) in levels[range].chunks_exact(w * h).enumerate() {
                for (at, level) in plane.iter().enumerate() {
                    let (y, x) = (at / w * GRID / h, at % w * GRID / w);
                    cells[(p * GRID + y) * GRID + x] += f32::from(*level);
                }
            }
            cells
        }
        (Data::Levels(_), None) => vec![],
    }
}
