//! The recurrent network behind novelty, trained without labels: a GRU that foresees the row a while later, or an LSTM that gives back, from its last
//! state alone, the rows of the last while (an auto-encoder).
//!
//! Windows are drawn from ordinary footage, from zero state, and the second half of each counts. What the box takes from the file is the recurrent part:
//! the linear layer behind it is fitted anew to what was seen ([`crate::novelty::normal::learn`]), on a box to its own place.

use super::Result;
use super::adam::Adam;
use super::fit::falling;
use super::net::{Cell, Net, Plan};
use super::write;
use crate::novelty::normal::{Loss, Terms};
use crate::novelty::sense::{BACK, lags};
use crate::rng::Rng;
use candle_core::{D, Device, Tensor};

/// Steps and windows a step: the loss is flat after that on hours of footage, and it takes a minute or two on a laptop.
const STEPS: usize = 1200;
const BATCH: usize = 32;
/// Learning rate at the beginning; it falls along half a cosine.
const RATE: f64 = 3e-3;
/// Shortest and longest window, ticks: a second of context at least, and a bound on time and memory.
const WINDOW: (usize, usize) = (16, 128);
/// Steps between two lines of the log.
const SAID: usize = 200;

/// Trains on pieces of `[ticks][inner]` ([`crate::novelty::normal::seen`]). The file, and the share of what varies that it leaves open at the end.
///
/// # Errors
/// No piece is as long as a window.
pub fn fit(pieces: &[Vec<f32>], inner: usize, terms: &Terms) -> Result<(Vec<u8>, f32)> {
    let horizon = (terms.horizon_ms / terms.tick_ms).max(1) as usize;
    let window = (2 * horizon).clamp(WINDOW.0, WINDOW.1);
    // Ticks before and behind a window's last that its targets need.
    let (before, behind) = if terms.back { (window / 2 + horizon.max(window / 2), 0) } else { (window, horizon) };
    let long: Vec<&[f32]> = pieces.iter().map(Vec::as_slice).filter(|p| p.len() / inner > before + behind).collect();
    if long.is_empty() {
        let why = format!("no stretch of {} ticks to train a network on; --predictor echo needs none", before + behind + 1);
        return Err(super::TrainError::Refused(why));
    }
    let (cell, times) = if terms.back { (Cell::Lstm, BACK) } else { (Cell::Gru, 1) };
    let plan = Plan { cell, features: inner, hidden: terms.hidden, layers: 1, classes: inner * times, dropout: 0.0 };
    let mut rng = Rng(terms.seed ^ 0xf0e5ee);
    let net = Net::new(plan, &mut rng)?;
    let mut adam = Adam::new(&net.weights(), 0.0)?;
    let last = window / 2;
    let steps: Vec<usize> = if terms.back { lags(horizon).to_vec() } else { vec![] };
    let (mut open, mut counted) = (0.0f32, 0.0f32);
    for step in 0..STEPS {
        let (mut x, mut y) = (Vec::with_capacity(BATCH * window * inner), vec![0.0f32; last * BATCH * inner * times]);
        for b in 0..BATCH {
            let piece = long[rng.below(long.len())];
            let end = before + rng.below(piece.len() / inner - before - behind);
            let row = |t: usize| &piece[t * inner..][..inner];
            x.extend_from_slice(&piece[(end + 1 - window) * inner..][..window * inner]);
            for k in 0..last {
                let at = end + 1 + k - last;
                let to = &mut y[(k * BATCH + b) * inner * times..][..inner * times];
                match terms.back {
                    true => to.chunks_exact_mut(inner).zip(&steps).for_each(|(to, lag)| to.copy_from_slice(row(at - lag))),
                    false => to.copy_from_slice(row(at + horizon)),
                }
            }
        }
        let x = Tensor::from_vec(x, (BATCH, window, inner), &Device::Cpu)?;
        let y = Tensor::from_vec(y, (last * BATCH, inner * times), &Device::Cpu)?;
        let said = net.run(&x, last, None)?;
        let loss = match terms.loss {
            // The covariance of Mahalanobis' distance is that of the errors, which are not known yet.
            Loss::Squared | Loss::Mahalanobis => (&said - &y)?.sqr()?.mean_all()?,
            Loss::Cosine => {
                let size = |t: &Tensor| (t.sqr()?.sum(D::Minus1)? + 1e-6)?.sqrt();
                (1.0 - ((&said * &y)?.sum(D::Minus1)? / (size(&said)? * size(&y)?)?)?.mean_all()?)?
            }
        };
        adam.step(&loss.backward()?, RATE * falling(step as f64 / STEPS as f64))?;
        let left = (&said - &y)?.sqr()?.mean_all()?.to_scalar::<f32>()? / y.sqr()?.mean_all()?.to_scalar::<f32>()?.max(1e-6);
        (open, counted) = (open + left, counted + 1.0);
        if (step + 1) % SAID == 0 {
            log::info!("network: step {} of {STEPS}, {:.3} of what varies left open", step + 1, open / counted);
            if step + 1 < STEPS {
                (open, counted) = (0.0, 0.0);
            }
        }
    }
    let net = write::rounded_head(&net, None, false)?;
    Ok((write::network(&net, window, if terms.back { "given_back" } else { "foreseen" })?, open / counted))
}

#[cfg(test)]
#[allow(clippy::print_stdout, reason = "each says the figure it asserts")]
mod tests {
    use super::*;
    use crate::head::memory::Memory;

    /// Two sines that turn at different paces: a second later is there to be foreseen. Seen but a while, they can be given back.
    #[test]
    fn what_can_be_foreseen_is_foreseen() {
        let rows: Vec<f32> = (0..2000).flat_map(|t| [0.2, 0.33].map(|pace| 1.4 * (pace * t as f32).sin()).into_iter()).collect();
        for back in [false, true] {
            let terms = Terms { back, hidden: 16, ..Terms::new(100, 2) };
            let (file, open) = fit(std::slice::from_ref(&rows), 2, &terms).expect("trained");
            println!("back {back}: {open:.3} of what varies left open");
            assert!(open < 0.1, "{open}");
            assert_eq!(Memory::read(&file, 2).expect("a network that our own cells run").hidden(), 16);
        }
    }

    /// What the box's int8 cells remember of the file is what the trained weights remember.
    #[test]
    fn the_box_remembers_what_the_trained_network_does() {
        for cell in [Cell::Gru, Cell::Lstm] {
            let plan = Plan { cell, features: 5, hidden: 16, layers: 1, classes: 16, dropout: 0.0 };
            let mut net = Net::new(plan, &mut Rng(3)).expect("a net");
            // Its states come out as they are.
            net.dense = candle_core::Var::from_tensor(&Tensor::eye(16, candle_core::DType::F32, &Device::Cpu).expect("ones"))
                .expect("a weight");
            net.bias = candle_core::Var::zeros(16, candle_core::DType::F32, &Device::Cpu).expect("a bias");
            let net = write::rounded_head(&net, None, false).expect("rounded");
            let mut draw = Rng(4);
            let x: Vec<f32> = (0..60 * 5).map(|_| draw.within(-2.0, 2.0)).collect();
            let windows = Tensor::from_vec(x.clone(), (1, 60, 5), &Device::Cpu).expect("a window");
            let wanted = net.run(&windows, 60, None).and_then(|y| y.to_vec2::<f32>()).expect("states");
            let mut memory = Memory::read(&write::network(&net, 60, "foreseen").expect("a file"), 5).expect("read");
            let mut worst = 0.0f32;
            for (x, wanted) in x.chunks_exact(5).zip(&wanted) {
                worst = memory.step(x).iter().zip(wanted).fold(worst, |w, (a, b)| w.max((a - b).abs()));
            }
            println!("{cell:?}: {worst} from candle");
            assert!(worst < 5e-3, "{worst}");
        }
    }
}
