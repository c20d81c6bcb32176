//! What the head felt over the last ten ticks, a second of most bundles: mean and spread of its state, the numbers that teaching works on.
//!
//! One state says what goes on now; going to and fro, meeting and circling are told by how it changes. The spread is the root of the deviation: most deviations
//! are small and a few are large, and what follows takes numbers to scatter alike everywhere. A second, because a longer look back mixes what was
//! before into it, and a shorter one sees less than half a turn.

/// Ticks that are looked back on. The head itself looks back a window behind each of them.
pub const SPAN: usize = 10;

/// See the module's documentation.
#[derive(Clone, Debug)]
pub struct Trace {
    /// The last [`SPAN`] states, a ring.
    states: Box<[f32]>,
    next: usize,
    /// Nothing has come yet.
    young: bool,
    out: Box<[f32]>,
}

impl Trace {
    /// For a state of `hidden` numbers.
    pub fn new(hidden: usize) -> Self {
        Self { states: vec![0.0; SPAN * hidden].into(), next: 0, young: true, out: vec![0.0; 2 * hidden].into() }
    }

    /// Numbers that come out: twice the state's.
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Is the state of no numbers?
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// Takes the state of a tick: means, then roots of the deviations. Before the first one the world stood as it showed.
    ///
    /// # Panics
    /// On a state of another length.
    pub fn push(&mut self, state: &[f32]) -> &[f32] {
        let hidden = self.out.len() / 2;
        assert!(state.len() == hidden, "the head's state has one length");
        if std::mem::take(&mut self.young) {
            self.states.chunks_exact_mut(hidden).for_each(|s| s.copy_from_slice(state));
        }
        self.states[self.next * hidden..][..hidden].copy_from_slice(state);
        self.next = (self.next + 1) % SPAN;
        let (mean, spread) = self.out.split_at_mut(hidden);
        mean.fill(0.0);
        spread.fill(0.0);
        // Always in the ring's order: the same states give the same sums on every machine.
        for s in self.states.chunks_exact(hidden) {
            mean.iter_mut().zip(s).for_each(|(m, v)| *m += v);
        }
        mean.iter_mut().for_each(|m| *m /= SPAN as f32);
        for s in self.states.chunks_exact(hidden) {
            spread.iter_mut().zip(s).zip(mean.iter()).for_each(|((d, v), m)| *d += (v - m) * (v - m) / SPAN as f32);
        }
        // The fourth root of the variance.
        spread.iter_mut().for_each(|d| *d = d.sqrt().sqrt());
        &self.out
    }

    /// Forgets what came: after a gap.
    pub fn reset(&mut self) {
        self.young = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_and_spread_of_the_last_second_and_nothing_older() {
        let mut trace = Trace::new(1);
        assert_eq!(trace.push(&[0.5]), [0.5, 0.0], "the world stood still before");
        for _ in 0..50 {
            trace.push(&[-1.0]);
        }
        for n in 0..SPAN {
            trace.push(&[if n % 2 == 0 { 0.0 } else { 1.0 }]);
        }
        let out = trace.push(&[0.0]).to_vec();
        assert!((out[0] - 0.5).abs() < 1e-6 && (out[1] - 0.5f32.sqrt()).abs() < 1e-6, "{out:?}");
        trace.reset();
        assert_eq!(trace.push(&[0.25]), [0.25, 0.0]);
    }
}
