//! From what was shown to a discriminant: one Gaussian a class, all with one covariance, shrunk (linear discriminant analysis).
//!
//! The covariance is mostly that of ordinary footage, so one example is enough to place a class. It is shrunk towards its
//! diagonal, and a share of its mean variance is added to the diagonal (numbers and their reason below). Distances are taken after whitening with it: one product
//! with a lower triangle a tick.
//!
//! A mean of few examples is off by about as much as examples differ among themselves, and would lose against the bundle's classes, whose means are
//! known well: its distances are divided by `1 + DOUBT / examples`. And to be called, a trace must lie within a radius that the
//! class's own examples and ordinary footage say, and must not be nearer to a motion without a name: what was never shown stays unknown.
//!
//! Constants were chosen by a numpy twin of this arithmetic on clips that the reported figures do not use (models/motion/README.md, "Taught on top"; there,
//! too, what they cost and gain).

use super::lesson::{Lesson, MAX_NUMBERS};
use super::moments::{Sums, spread};
use crate::lanes::lower;

/// Share of the covariance that is left to its diagonal alone.
const SHRINK: f64 = 0.5;
/// Share of the mean variance that every number has at least.
const RIDGE: f64 = 0.05;
/// See the module's text.
const DOUBT: f64 = 0.15;
/// Largest radius, in mean squared distances of ordinary traces from their class; that of a single example, too.
const MAX_RADIUS: f64 = 3.0;
/// Smallest radius of several examples, however alike they are.
const MIN_RADIUS: f64 = 2.5;
/// Motions without a name are put back by so much, in the same unit, and by [`BEHIND_ONE`] divided by the fewest examples that a taught class has.
const BEHIND: f64 = 0.28;
/// See [`BEHIND`].
const BEHIND_ONE: f64 = 0.28;
/// Classes differ in how far their examples lie apart: squared distances are divided by this power of it, relative to the other taught ones, so that a narrow
/// class does not lose to a wide one, and the wide one is put back by [`VOLUME`] of that power's logarithm, which is what a wider Gaussian is lower.
const OWN: f64 = 0.25;
/// See [`OWN`]; in the same unit. A Gaussian of independent numbers would have 1.
const VOLUME: f64 = 0.6;
/// A class whose mean is nearer than this, and [`ALIKE_ONE`] by the number of its examples, to an ordinary one cannot be told from it. In the same unit:
/// so that one recording in which nothing happens is mostly refused, and five of a rendered new class are not.
const ALIKE: f64 = 0.1;
/// See [`ALIKE`].
const ALIKE_ONE: f64 = 0.25;
/// An example's trace counts as much as so many ordinary ones where it is measured how traces vary: what varies within a taught class must not
/// tell it from another.
const WEIGHT: f64 = 6.0;
/// The same as [`ALIKE`] between two taught classes; circling and back-and-forth, both new to the head, are told apart.
const SAME: f64 = 0.2;
/// Ordinary traces that are the least to say what is ordinary: 20 s of footage at ten ticks a second.
pub const LEAST: f64 = 50.0;

/// A class of the discriminant, whitened.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its mean.
    pub mean: Vec<f32>,
    /// Squared distances are divided by this: how little is known of its mean, and how wide it is.
    pub doubt: f32,
    /// Squared distance, after that, beyond which it is not called; infinite for what is not taught.
    pub radius: f32,
    /// Added to the squared distance after that; what has no name must be the nearer by this.
    pub behind: f32,
}

/// See the module's documentation.
#[derive(Clone, Debug)]
pub struct Fitted {
    /// Rows of a lower triangle, each filled up with zeros to whole lanes (src/lanes.rs): the whitening.
    pub white: Vec<f32>,
    /// Ordinary classes and motions without a name that were seen, then the taught ones in the order of the lesson's labels.
    pub places: Vec<Place>,
    /// How many of them are taught.
    pub taught: usize,
}

/// Fits, or says in one sentence why that cannot be done. `names` are the bundle's own labels.
///
/// # Errors
/// Too little is known of what is ordinary; classes that cannot be told apart; a lesson of another head.
pub fn fit(lesson: &Lesson, names: &[String]) -> Result<Fitted, String> {
    let numbers = lesson.numbers().ok_or("nothing was shown yet")?;
    if numbers == 0 || numbers > MAX_NUMBERS {
        return Err(format!(
            "traces of {numbers} numbers, at most {MAX_NUMBERS} can be fitted: a head of up to {} hidden units",
            MAX_NUMBERS / 2
        ));
    }
    let classes = lesson.moments().map(|m| m.classes.len()).fold(names.len(), usize::max);
    let mut sums = Sums::new(classes, numbers);
    for moments in lesson.moments() {
        if !moments.fits(names.len(), numbers) {
            return Err(format!(
                "what is ordinary was summed up for {} classes, this bundle has {}",
                moments.classes.len(),
                names.len()
            ));
        }
        sums.join(moments);
    }
    let known: f64 = sums.classes[..names.len()].iter().map(|c| c.0).sum();
    if known < LEAST {
        return Err(format!(
            "what is ordinary here is known from {:.0} looks, at least {LEAST} are needed (one each ten ticks): show recordings of an ordinary day, in which nothing \
             happens that is to be taught, with `lookout teach --ordinary CLIP...`",
            known
        ));
    }
    // The examples' own spread counts as well.
    let labels = lesson.labels();
    let mut count = sums.count();
    let mut examples: Vec<Vec<Vec<Vec<f64>>>> = vec![];
    let mut means = vec![];
    for label in &labels {
        let of: Vec<Vec<Vec<f64>>> =
            lesson.shown().filter(|(l, _)| l == label).map(|(_, e)| e.traces.iter().map(|t| wide(&t.0)).collect()).collect();
        let each: Vec<Vec<f64>> = of.iter().map(|e| mean(e)).collect();
        let middle = mean(&each);
        for trace in of.iter().flatten() {
            spread(&mut sums.scatter, &minus(trace, &middle), WEIGHT);
            count += WEIGHT;
        }
        examples.push(of);
        means.push(middle);
    }
    let covariance: Vec<f64> = sums.scatter.iter().map(|s| s / count).collect();
    let white = whitening(&shrunk(&covariance, numbers), numbers)?;
    let unit = unit(&white, &covariance, numbers);

    let ordinary: Vec<(usize, Vec<f64>)> =
        sums.classes.iter().enumerate().filter(|(_, c)| c.0 >= 3.0).map(|(n, c)| (n, times(&white, &c.1))).collect();
    if ordinary.is_empty() {
        return Err(
            "what is ordinary here is spread over so many classes that none was seen often enough; show more of an ordinary day"
                .into(),
        );
    }
    let centres: Vec<Vec<f64>> = means.iter().map(|m| times(&white, m)).collect();
    for (n, centre) in centres.iter().enumerate() {
        let alike = ALIKE + ALIKE_ONE / examples[n].len() as f64;
        let near = ordinary.iter().filter_map(|(k, o)| Some((names.get(*k)?.as_str(), distance(centre, o), alike)));
        let near = near.chain(centres[..n].iter().zip(&labels).map(|(c, label)| (*label, distance(centre, c), SAME)));
        if let Some((other, d, _)) = near.filter(|(_, d, least)| *d < least * unit).min_by(|a, b| a.1.total_cmp(&b.1)) {
            return Err(format!(
                "{}: its examples cannot be told from {other} ({:.2} of the usual spread apart); show it more clearly, or others of it",
                labels[n],
                d / unit
            ));
        }
    }
    let narrow = |v: &[f64]| v.iter().map(|v| *v as f32).collect::<Vec<f32>>();
    let fewest = examples.iter().map(Vec::len).min().unwrap_or(1) as f64;
    let nameless = ((BEHIND + BEHIND_ONE / fewest) * unit) as f32;
    let behind = |k: usize| if k < names.len() { 0.0 } else { nameless };
    let known = |(k, o): &(usize, Vec<f64>)| Place { mean: narrow(o), doubt: 1.0, radius: f32::INFINITY, behind: behind(*k) };
    let mut places: Vec<Place> = ordinary.iter().map(known).collect();
    let spreads: Vec<Option<Spread>> = examples.iter().map(|of| among(of, &white)).collect();
    let logs: Vec<f64> = spreads.iter().flatten().map(|s| s.mean.max(f64::MIN_POSITIVE).ln()).collect();
    let usual = logs.iter().sum::<f64>() / logs.len().max(1) as f64;
    for ((centre, of), spread) in centres.iter().zip(&examples).zip(&spreads) {
        let own = spread.as_ref().map_or(0.0, |s| OWN * (s.mean.max(f64::MIN_POSITIVE).ln() - usual));
        let radius = spread.as_ref().map_or(MAX_RADIUS, |s| (1.1 * s.most / unit).clamp(MIN_RADIUS, MAX_RADIUS));
        places.push(Place {
            mean: narrow(centre),
            doubt: ((1.0 + DOUBT / of.len() as f64) * own.exp()) as f32,
            radius: (radius * unit) as f32,
            behind: (VOLUME * unit * own) as f32,
        });
    }
    Ok(Fitted { white: lower(numbers, |r, c| row(&white, r)[c] as f32), places, taught: labels.len() })
}

/// How far traces lie from the mean of the other examples.
struct Spread {
    mean: f64,
    most: f64,
}

/// The same, where there are others.
fn among(examples: &[Vec<Vec<f64>>], white: &[f64]) -> Option<Spread> {
    if examples.len() < 2 {
        return None;
    }
    let doubt = 1.0 + DOUBT / (examples.len() - 1) as f64;
    let (mut sum, mut most) = (0.0, 0.0f64);
    for (n, example) in examples.iter().enumerate() {
        let others: Vec<Vec<f64>> = examples.iter().enumerate().filter(|(k, _)| *k != n).map(|(_, e)| mean(e)).collect();
        let centre = times(white, &mean(&others));
        let apart: Vec<f64> = example.iter().map(|t| distance(&times(white, t), &centre) / doubt).collect();
        sum += apart.iter().sum::<f64>() / apart.len() as f64;
        most = apart.into_iter().fold(most, f64::max);
    }
    Some(Spread { mean: sum / examples.len() as f64, most })
}

fn wide(v: &[f32]) -> Vec<f64> {
    v.iter().map(|v| f64::from(*v)).collect()
}

fn mean(rows: &[Vec<f64>]) -> Vec<f64> {
    let mut out = vec![0.0; rows.first().map_or(0, Vec::len)];
    for row in rows {
        out.iter_mut().zip(row).for_each(|(o, v)| *o += v / rows.len() as f64);
    }
    out
}

fn minus(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

/// Row `r` of a lower triangle.
fn row<T>(triangle: &[T], r: usize) -> &[T] {
    &triangle[r * (r + 1) / 2..][..=r]
}

fn shrunk(covariance: &[f64], numbers: usize) -> Vec<f64> {
    let mean = (0..numbers).map(|r| row(covariance, r)[r]).sum::<f64>() / numbers as f64;
    let mut out: Vec<f64> = covariance.iter().map(|c| c * (1.0 - SHRINK)).collect();
    for r in 0..numbers {
        let at = r * (r + 1) / 2 + r;
        // A head that never moves has no variance at all: any positive number will do.
        out[at] = covariance[at] + RIDGE * mean + 1e-9;
    }
    out
}

/// The inverse of the lower Cholesky factor: what makes the covariance a unit.
fn whitening(covariance: &[f64], numbers: usize) -> Result<Vec<f64>, String> {
    let mut factor = covariance.to_vec();
    for r in 0..numbers {
        for c in 0..=r {
            let dot: f64 = row(&factor, r)[..c].iter().zip(&row(&factor, c)[..c]).map(|(a, b)| a * b).sum();
            let (at, value) = (r * (r + 1) / 2 + c, row(covariance, r)[c] - dot);
            factor[at] = if r == c { value.sqrt() } else { value / row(&factor, c)[c] };
        }
        if !row(&factor, r)[r].is_finite() || row(&factor, r)[r] <= 0.0 {
            return Err("what was shown does not vary in a way that could be fitted".into());
        }
    }
    let mut inverse = vec![0.0; factor.len()];
    for r in 0..numbers {
        let at = r * (r + 1) / 2;
        let own = row(&factor, r)[r];
        inverse[at + r] = 1.0 / own;
        for k in 0..r {
            let f = factor[at + k];
            for c in 0..=k {
                inverse[at + c] -= f * inverse[k * (k + 1) / 2 + c] / own;
            }
        }
    }
    Ok(inverse)
}

/// Mean squared distance of an ordinary trace from its class: the trace of `white * covariance * white'`.
fn unit(white: &[f64], covariance: &[f64], numbers: usize) -> f64 {
    let mut sum = 0.0;
    for r in 0..numbers {
        let w = row(white, r);
        for (i, a) in w.iter().enumerate() {
            let c = row(covariance, i);
            let off: f64 = w[..i].iter().zip(c).map(|(b, c)| b * c).sum();
            sum += a * (2.0 * off + a * c[i]);
        }
    }
    sum
}

fn times(white: &[f64], x: &[f64]) -> Vec<f64> {
    (0..x.len()).map(|r| row(white, r).iter().zip(x).map(|(w, x)| w * x).sum()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whitening_makes_the_covariance_a_unit() {
        let covariance = [4.0, 1.2, 2.0, -0.5, 0.3, 1.0];
        let white = whitening(&covariance, 3).unwrap();
        assert!((unit(&white, &covariance, 3) - 3.0).abs() < 1e-9);
        // numpy: np.linalg.inv(np.linalg.cholesky([[4, 1.2, -.5], [1.2, 2, .3], [-.5, .3, 1]])) @ [1, 2, 3]
        let z = times(&white, &[1.0, 2.0, 3.0]);
        let x = z.iter().map(|v| v * v).sum::<f64>();
        // x' inv(C) x by Cramer's rule.
        let det = 4.0 * (2.0 - 0.09) - 1.2 * (1.2 + 0.15) - 0.5 * (0.36 + 1.0);
        let adj = [
            [2.0 - 0.09, -(1.2 + 0.15), 0.36 + 1.0],
            [-(1.2 + 0.15), 4.0 - 0.25, -(1.2 + 0.6)],
            [0.36 + 1.0, -(1.2 + 0.6), 8.0 - 1.44],
        ];
        let v = [1.0, 2.0, 3.0];
        let expected: f64 = (0..3).map(|i| (0..3).map(|j| v[i] * adj[i][j] * v[j]).sum::<f64>()).sum::<f64>() / det;
        assert!((x - expected).abs() < 1e-9, "{x} {expected}");
    }
}
