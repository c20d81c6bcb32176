//! The arithmetic of learning what is normal: scales, k-means, and a symmetric system of equations.

use super::normal::PLACES;
use crate::lanes::{Here, beside, nearest};
use crate::rng::Rng;

/// Rounds of k-means: the places hardly move after that.
const ROUNDS: usize = 12;

/// Mean and scale of every number: one scale for the first `alike`, its own for each behind.
pub(super) fn spread(learnt: &[&[f32]], features: usize, alike: usize) -> (Vec<f32>, Vec<f32>) {
    let mut sums = vec![[0.0f64; 2]; features];
    let mut n = 0.0f64;
    for row in learnt.iter().flat_map(|p| p.chunks_exact(features)) {
        n += 1.0;
        for (sum, v) in sums.iter_mut().zip(row) {
            *sum = [sum[0] + f64::from(*v), sum[1] + f64::from(*v).powi(2)];
        }
    }
    let n = n.max(1.0);
    let mean: Vec<f64> = sums.iter().map(|s| s[0] / n).collect();
    let variance: Vec<f64> = sums.iter().zip(&mean).map(|(s, m)| (s[1] / n - m * m).max(0.0)).collect();
    let shared = variance.iter().take(alike).sum::<f64>() / alike.clamp(1, features) as f64;
    // A number that never moved while learning is worth its own size: then any change is a large one, and none divides by zero.
    let own = |k: usize| if k < alike { shared } else { variance[k] };
    let scale = |k: usize| if own(k) > 1e-12 { own(k).sqrt() as f32 } else { (0.1 * mean[k].abs() as f32).max(1e-3) };
    (mean.iter().map(|m| *m as f32).collect(), (0..features).map(scale).collect())
}

/// k-means from rows drawn at random. Fewer rows than places: some places are the same.
pub(super) fn places(rows: &[f32], width: usize, draw: &mut Rng) -> Vec<f32> {
    let (count, here) = (rows.len() / width, Here::best());
    let mut places: Vec<f32> = (0..PLACES).flat_map(|_| rows[draw.below(count) * width..][..width].to_vec()).collect();
    for _ in 0..ROUNDS {
        let (mut sums, mut counts) = (vec![0.0f32; PLACES * width], [0.0f32; PLACES]);
        let side = beside(&places, width);
        for row in rows.chunks_exact(width) {
            let (n, _) = nearest(here, &side, row);
            counts[n] += 1.0;
            sums[n * width..][..width].iter_mut().zip(row).for_each(|(s, v)| *s += v);
        }
        for ((place, sum), count) in places.chunks_exact_mut(width).zip(sums.chunks_exact(width)).zip(counts) {
            if count > 0.0 {
                place.iter_mut().zip(sum).for_each(|(p, s)| *p = s / count);
            }
        }
    }
    places
}

/// Solves `a x = b` for a symmetric positive `a` `[n][n]` (overwritten) and `b` `[n][m]` by Cholesky's decomposition.
pub(super) fn solve(a: &mut [f64], n: usize, b: &[f64], m: usize) -> Result<Vec<f64>, String> {
    for j in 0..n {
        for i in j..n {
            let (row_i, row_j) = (&a[i * n..i * n + j], &a[j * n..j * n + j]);
            let sum = a[i * n + j] - row_i.iter().zip(row_j).map(|(x, y)| x * y).sum::<f64>();
            if i == j {
                if sum.is_nan() || sum <= 0.0 {
                    return Err("the numbers to learn from cannot be told apart".into());
                }
                a[j * n + j] = sum.sqrt();
            } else {
                a[i * n + j] = sum / a[j * n + j];
            }
        }
    }
    let mut x = b.to_vec();
    for i in 0..n {
        let (done, rest) = x.split_at_mut(i * m);
        for (k, solved) in done.chunks_exact(m).enumerate() {
            let w = a[i * n + k];
            rest[..m].iter_mut().zip(solved).for_each(|(x, s)| *x -= w * s);
        }
        rest[..m].iter_mut().for_each(|x| *x /= a[i * n + i]);
    }
    for i in (0..n).rev() {
        let (before, done) = x.split_at_mut((i + 1) * m);
        let row = &mut before[i * m..];
        for (k, solved) in done.chunks_exact(m).enumerate() {
            let w = a[(i + 1 + k) * n + i];
            row.iter_mut().zip(solved).for_each(|(x, s)| *x -= w * s);
        }
        row.iter_mut().for_each(|x| *x /= a[i * n + i]);
    }
    Ok(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_is_solved() {
        // numpy: np.linalg.solve([[4, 1.2, -.5], [1.2, 2, .3], [-.5, .3, 1]], [[1, 0], [2, 1], [3, -1]])
        let mut a = vec![4.0, 1.2, -0.5, 1.2, 2.0, 0.3, -0.5, 0.3, 1.0];
        let x = solve(&mut a, 3, &[1.0, 0.0, 2.0, 1.0, 3.0, -1.0], 2).expect("a solution");
        let back = |r: [f64; 3], c: usize| (0..3).map(|k| r[k] * x[k * 2 + c]).sum::<f64>();
        for (r, b) in [([4.0, 1.2, -0.5], [1.0, 0.0]), ([1.2, 2.0, 0.3], [2.0, 1.0]), ([-0.5, 0.3, 1.0], [3.0, -1.0])] {
            assert!((0..2).all(|c| (back(r, c) - b[c]).abs() < 1e-9), "{x:?}");
        }
        assert!(solve(&mut [1.0, 2.0, 2.0, 1.0], 2, &[1.0, 1.0], 1).is_err(), "not positive");
    }

    #[test]
    fn places_lie_where_rows_lie() {
        let rows: Vec<f32> = (0..900).flat_map(|n| [(n % 3) as f32 * 10.0, (n % 7) as f32 * 0.01]).collect();
        let found = beside(&places(&rows, 2, &mut Rng(1)), 2);
        let worst = rows.chunks_exact(2).map(|r| nearest(Here::best(), &found, r).1).fold(0.0, f32::max);
        assert!(worst < 0.01, "{worst}");
    }

    #[test]
    fn numbers_of_one_kind_share_a_scale() {
        let rows: Vec<f32> = (0..100).flat_map(|n| [(n % 2) as f32, (n % 2) as f32 * 3.0, (n % 2) as f32 * 100.0, 7.0]).collect();
        let (mean, scale) = spread(&[&rows], 4, 2);
        assert_eq!(mean, [0.5, 1.5, 50.0, 7.0]);
        assert!((scale[0] - 1.25f32.sqrt()).abs() < 1e-6 && scale[0] == scale[1], "{scale:?}");
        assert!((scale[2] - 50.0).abs() < 1e-4 && (scale[3] - 0.7).abs() < 1e-6, "{scale:?}");
    }
}
