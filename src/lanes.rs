//! Sums over two rows of numbers, in eight lanes and a rest: a single sum would have to be made one number after the other, and a compiler may not
//! change the order of a sum of floats. This order is the same on every machine, so the results are.

/// Sum of `term` over both rows, which are of one length.
#[inline(always)]
fn sum(a: &[f32], b: &[f32], term: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0f32; 8];
    let (a8, b8) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f32 = a8.remainder().iter().zip(b8.remainder()).map(|(a, b)| term(*a, *b)).sum();
    for (a, b) in a8.zip(b8) {
        for (lane, (a, b)) in lanes.iter_mut().zip(a.iter().zip(b)) {
            *lane += term(*a, *b);
        }
    }
    lanes.iter().sum::<f32>() + rest
}

/// Sum of products.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    sum(a, b, |a, b| a * b)
}

/// Squared distance.
pub(crate) fn apart(a: &[f32], b: &[f32]) -> f32 {
    sum(a, b, |a, b| (a - b) * (a - b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_counts_once_whatever_the_length() {
        for n in 0..40u32 {
            let (a, b): (Vec<f32>, Vec<f32>) = (0..n).map(|k| (k as f32, 2.0 * k as f32)).unzip();
            // Small whole numbers: exact in any order.
            let squares: f32 = (0..n).map(|k| (k * k) as f32).sum();
            assert_eq!((dot(&a, &b), apart(&a, &b)), (2.0 * squares, squares), "{n} numbers");
        }
    }
}
