//! What a stage remembers, in bytes, so that a later run goes on from there ([`crate::blackbox`]).
//!
//! Each stage writes its own and reads it back in the same order; little-endian. Nothing here is trusted: what is too short, or is not what its stage
//! can hold, reads as `None`, and the stage is then to forget everything.

/// Adds numbers.
pub fn put(to: &mut Vec<u8>, numbers: &[f32]) {
    numbers.iter().for_each(|v| to.extend_from_slice(&v.to_le_bytes()));
}

/// Adds a count.
pub fn put_count(to: &mut Vec<u8>, count: u64) {
    to.extend_from_slice(&count.to_le_bytes());
}

/// Takes as many numbers as `to` holds, whatever they are: only the stage knows which it can hold.
pub fn take(from: &mut &[u8], to: &mut [f32]) -> Option<()> {
    let (bytes, rest) = from.split_at_checked(to.len().checked_mul(4)?)?;
    *from = rest;
    to.iter_mut().zip(bytes.chunks_exact(4)).for_each(|(v, b)| *v = f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    Some(())
}

/// Takes a count that is at most `most`.
pub fn take_count(from: &mut &[u8], most: u64) -> Option<u64> {
    let (bytes, rest) = from.split_first_chunk::<8>()?;
    *from = rest;
    Some(u64::from_le_bytes(*bytes)).filter(|count| *count <= most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_is_taken_and_no_more() {
        let (mut bytes, mut numbers) = (vec![], [0.0; 2]);
        put(&mut bytes, &[1.5, f32::NEG_INFINITY]);
        put_count(&mut bytes, 7);
        let mut from = &bytes[..];
        assert_eq!(take(&mut from, &mut numbers), Some(()));
        assert_eq!((numbers, take_count(&mut &*from, 6)), ([1.5, f32::NEG_INFINITY], None), "more than there can be");
        assert_eq!((take_count(&mut from, 7), take_count(&mut from, 7)), (Some(7), None));
        assert_eq!(take(&mut from, &mut numbers), None);
    }
}
