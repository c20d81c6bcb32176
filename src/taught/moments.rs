//! What is ordinary, in numbers of fixed size: how often each class of the bundle, its mean trace, and how traces vary within their class.
//!
//! Behind the bundle's classes may stand motions that have no name. A head's own classes say how far left walks differ among each other,
//! which is less than circles do; how motions vary that it was never trained on is learnt from those. And whatever is
//! nearer to one of them than to anything taught stays unknown.
//!
//! Running sums (Welford, Chan et al.): traces come one by one, two sets are joined exactly, and however much footage there was, it is one matrix.

use super::packed::Packed;
use serde::{Deserialize, Serialize};

/// Most motions without a name: each costs a product of a trace a tick.
pub const MAX_NAMELESS: usize = 32;

/// A class's count and mean.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mean {
    /// Traces.
    pub count: f64,
    /// Their mean.
    pub mean: Packed,
}

/// See the module's documentation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Moments {
    /// One a label of the bundle; behind them, motions that have no name.
    pub classes: Vec<Mean>,
    /// Covariance within the classes: rows of the lower triangle.
    pub covariance: Packed,
}

/// Sums that are still being made, in f64.
#[derive(Clone, Debug)]
pub struct Sums {
    numbers: usize,
    /// Count and mean a class.
    pub classes: Vec<(f64, Vec<f64>)>,
    /// Lower triangle of the products of deviations from the class's mean.
    pub scatter: Vec<f64>,
}

impl Sums {
    /// Nothing yet, for traces of `numbers` numbers of `classes` classes, those without a name counted in.
    pub fn new(classes: usize, numbers: usize) -> Self {
        Self { numbers, classes: vec![(0.0, vec![0.0; numbers]); classes], scatter: vec![0.0; numbers * (numbers + 1) / 2] }
    }

    /// Traces that were taken.
    pub fn count(&self) -> f64 {
        self.classes.iter().map(|c| c.0).sum()
    }

    /// Takes a trace of a class.
    pub fn add(&mut self, class: usize, trace: &[f32]) {
        let (count, mean) = &mut self.classes[class];
        let before = *count;
        *count += 1.0;
        let away: Vec<f64> = trace.iter().zip(mean.iter()).map(|(v, m)| f64::from(*v) - m).collect();
        mean.iter_mut().zip(&away).for_each(|(m, d)| *m += d / *count);
        spread(&mut self.scatter, &away, before / *count);
    }

    /// Takes traces that were summed up elsewhere, of the same bundle and of no more classes than there are here.
    pub fn join(&mut self, other: &Moments) {
        let count: f64 = other.classes.iter().map(|c| c.count).sum();
        self.scatter.iter_mut().zip(&other.covariance.0).for_each(|(s, c)| *s += f64::from(*c) * count);
        for (mine, its) in self.classes.iter_mut().zip(&other.classes).filter(|(_, its)| its.count > 0.0) {
            let (before, all) = (mine.0, mine.0 + its.count);
            let away: Vec<f64> = its.mean.0.iter().zip(&mine.1).map(|(v, m)| f64::from(*v) - m).collect();
            mine.1.iter_mut().zip(&away).for_each(|(m, d)| *m += d * its.count / all);
            spread(&mut self.scatter, &away, before * its.count / all);
            mine.0 = all;
        }
    }

    /// As it is kept.
    pub fn moments(&self) -> Moments {
        let count = self.count().max(1.0);
        let small = |v: &[f64]| Packed::round(&v.iter().map(|v| *v as f32).collect::<Vec<f32>>());
        let covariance: Vec<f64> = self.scatter.iter().map(|s| s / count).collect();
        Moments {
            classes: self.classes.iter().map(|(count, mean)| Mean { count: *count, mean: small(mean) }).collect(),
            covariance: small(&covariance),
        }
    }

    /// Numbers of a trace.
    pub fn numbers(&self) -> usize {
        self.numbers
    }
}

impl Moments {
    /// Are these of a bundle of `classes` classes and of traces of `numbers` numbers?
    pub fn fits(&self, classes: usize, numbers: usize) -> bool {
        (classes..=classes + MAX_NAMELESS).contains(&self.classes.len())
            && self.classes.iter().all(|c| c.mean.0.len() == numbers && c.count.is_finite() && (0.0..1e12).contains(&c.count))
            && self.covariance.0.len() == numbers * (numbers + 1) / 2
    }
}

/// `scatter += weight * away * away'`, the lower triangle.
pub fn spread(scatter: &mut [f64], away: &[f64], weight: f64) {
    let mut at = 0;
    for (row, a) in away.iter().enumerate() {
        let (cells, a) = (&mut scatter[at..=at + row], a * weight);
        cells.iter_mut().zip(away).for_each(|(s, b)| *s += a * b);
        at += row + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_made_in_two_parts_are_the_sums_of_all() {
        let rows: Vec<(usize, [f32; 2])> = (0..60).map(|n| (n % 3, [(n * n % 17) as f32 / 8.0, (n % 5) as f32])).collect();
        let (mut all, mut a, mut b) = (Sums::new(3, 2), Sums::new(3, 2), Sums::new(3, 2));
        for (n, (class, row)) in rows.iter().enumerate() {
            all.add(*class, row);
            if n < 25 { a.add(*class, row) } else { b.add(*class, row) }
        }
        a.join(&b.moments());
        assert_eq!(a.count(), 60.0);
        let close = |x: &[f64], y: &[f64]| x.iter().zip(y).all(|(x, y)| (x - y).abs() < 2e-3 * y.abs().max(1.0));
        assert!(close(&a.scatter, &all.scatter), "{:?} {:?}", a.scatter, all.scatter);
        assert!(a.classes.iter().zip(&all.classes).all(|(x, y)| x.0 == y.0 && close(&x.1, &y.1)));
        // By hand: within class 0 the first number's variance.
        let zero: Vec<f64> = rows.iter().filter(|r| r.0 == 0).map(|r| f64::from(r.1[0])).collect();
        let mean = zero.iter().sum::<f64>() / 20.0;
        assert!((all.classes[0].1[0] - mean).abs() < 1e-9);
    }
}
