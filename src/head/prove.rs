//! Which arithmetic a head runs in: proven at load against tract's f32 graph, on this bundle's own windows.
//!
//! The order is int8, then f32 in our own chain, then tract. Int8 is taken where no probability moves by more than
//! [`INT8_TOLERANCE`] on pseudo-random windows and on the golden ones, and no golden logit by more than half of what the
//! bundle allows; f32 where logits stay within [`CACHE_TOLERANCE`](super::CACHE_TOLERANCE). Nothing depends on the
//! processor here: our own chain gives the same bits on each, and tract's differ far below these bounds.

use super::HeadError;
use super::own::Own;
use super::read::Link;
use super::{Arithmetic, CACHE_TOLERANCE};
use crate::bundle::Bundle;
use crate::decision::softmax;
use crate::golden::{self, apart};
use crate::lanes::Here;
use crate::qnn::kernels::Isa;
use crate::rng::Rng;

/// Largest accepted difference of a probability between int8 and the f32 graph.
pub const INT8_TOLERANCE: f32 = 1e-3;

/// What a head has to keep to.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    /// Ticks of a window, and numbers of a tick.
    pub(super) window: usize,
    pub(super) features: usize,
    pub(super) classes: usize,
    /// Logits are divided by it before the softmax.
    pub(super) temperature: f32,
    /// Largest accepted difference of a golden logit.
    pub(super) allowed: f32,
    /// Is there a box behind the logits, and how far may its edges be off?
    pub(super) boxes: Option<f32>,
    /// Golden windows.
    pub(super) golden: Vec<Vec<f32>>,
}

impl Terms {
    /// What this bundle asks for.
    pub(super) fn of(bundle: &Bundle) -> Self {
        let (window, features) = (bundle.contract.time.window, bundle.features());
        let contract = bundle.contract.golden.as_ref();
        // Golden vectors of a wrong shape are refused where they are run.
        let windows = contract.and_then(|g| golden::array::<f32>(bundle.file(&g.windows)?).ok());
        let windows: Vec<f32> = windows.map(|w| w.iter().copied().collect()).unwrap_or_default();
        Self {
            window,
            features,
            classes: bundle.contract.head.labels.len(),
            temperature: bundle.contract.head.temperature,
            // Half of what the bundle allows, or of a thousandth.
            boxes: bundle.contract.head.boxes.as_ref().map(|_| contract.map_or(0.0005, |g| g.boxes_tolerance / 2.0)),
            allowed: contract.map_or(f32::INFINITY, |g| g.logits_tolerance / 2.0),
            golden: windows.chunks_exact(window * features).take(8).map(<[f32]>::to_vec).collect(),
        }
    }
}

/// A window, what the f32 graph makes of it (logits, and four numbers of a box where there is one), and whether it is a golden one.
struct Trial {
    window: Vec<f32>,
    logits: Vec<f32>,
    golden: bool,
}

/// Largest differences found, in probability, in logits (as parts of the largest logit above 1), in golden logits and in edges of boxes.
#[derive(Clone, Copy, Debug, Default)]
struct Apart {
    p: f32,
    logits: f32,
    golden: f32,
    edge: f32,
}

/// The first arithmetic that passes, with a sentence about it; or why none did.
pub(super) fn choose(
    terms: &Terms,
    (chain, boxes): (&[Link], Option<&[Link]>),
    arithmetic: Arithmetic,
    isa: Isa,
    mut reference: impl FnMut(&[f32], &mut [f32]) -> Result<(), HeadError>,
) -> Result<Result<(Own, String), String>, HeadError> {
    let classes = terms.classes;
    let mut trials = trials(terms);
    for trial in &mut trials {
        trial.logits.resize(classes + if boxes.is_some() { 4 } else { 0 }, 0.0);
        reference(&trial.window, &mut trial.logits)?;
    }
    let mut said = String::new();
    for int8 in [true, false] {
        if (arithmetic == Arithmetic::Float && int8) || (arithmetic == Arithmetic::Int8 && !int8) {
            continue;
        }
        let Some(mut own) = Own::new(chain, boxes, terms.features, int8, Here::of(isa)).filter(|o| o.classes() == classes) else {
            return Ok(Err(format!("the chain does not end in {classes} numbers")));
        };
        let apart = compare(&mut own, &trials, classes, terms.temperature)?;
        let edge = terms.boxes.unwrap_or(0.0);
        let forced = arithmetic == Arithmetic::Int8 && apart.p.is_finite();
        if int8 && (forced || (apart.p <= INT8_TOLERANCE && apart.golden <= terms.allowed && apart.edge <= edge)) {
            let words = format!("{}, probabilities within {:.0e} of the f32 graph", own.words(), apart.p);
            return Ok(Ok((own, words)));
        }
        if !int8 && apart.logits <= CACHE_TOLERANCE && apart.edge <= CACHE_TOLERANCE.min(edge.max(f32::EPSILON)) {
            let words = format!("{}{said}", own.words());
            return Ok(Ok((own, words)));
        }
        said = match int8 {
            true if apart.p > INT8_TOLERANCE => format!(", because int8 moves probabilities by {:.0e}", apart.p),
            true if apart.golden > terms.allowed => format!(", because int8 moves golden logits by {:.0e}", apart.golden),
            true => format!(", because int8 moves edges of boxes by {:.0e}", apart.edge),
            false => format!("our own chain differs by {:e} in f32", apart.logits.max(apart.edge)),
        };
    }
    Ok(Err(said))
}

fn compare(own: &mut Own, trials: &[Trial], classes: usize, temperature: f32) -> Result<Apart, HeadError> {
    let mut worst = Apart::default();
    for trial in trials {
        let mut found = vec![0.0; classes];
        own.run_window(&trial.window, &mut found)?;
        let (wanted, place) = trial.logits.split_at(classes);
        if let Some(found) = own.place() {
            worst.edge = worst.edge.max(apart(&found, place));
        }
        let size = wanted.iter().fold(1.0f32, |s, l| s.max(l.abs()));
        let logits = apart(&found, wanted);
        let mut wanted = wanted.to_vec();
        // A softmax that cannot be made leaves numbers that are not finite, which count as infinitely far.
        let both = softmax(&mut found, temperature) & softmax(&mut wanted, temperature);
        worst.p = worst.p.max(if both { apart(&found, &wanted) } else { f32::INFINITY });
        worst.logits = worst.logits.max(logits / size);
        worst.golden = worst.golden.max(if trial.golden { logits } else { 0.0 });
    }
    Ok(worst)
}

/// Pseudo-random windows of two sizes, and the first golden ones.
fn trials(terms: &Terms) -> Vec<Trial> {
    let len = terms.window * terms.features;
    // Any fixed sequence will do.
    let mut rng = Rng(1);
    let trial = |size: f32| {
        let window = (0..len).map(|_| rng.within(-size, size)).collect();
        Trial { window, logits: vec![], golden: false }
    };
    let mut trials: Vec<Trial> = [1.0, 1.0, 3.0, 3.0].map(trial).into();
    trials.extend(terms.golden.iter().map(|w| Trial { window: w.clone(), logits: vec![], golden: true }));
    trials
}
