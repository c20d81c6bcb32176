//! Is this picture news? A tick that shows what the last encoded one showed takes its features from there.
//!
//! Most of the time nothing happens in front of a fixed camera, and sensor noise is all that differs. The measure is made
//! so that noise stays below it and things do not: in every block of 8x8 levels of every plane, the mean |difference| from
//! the last *encoded* picture. A mean over 64 levels hardly moves with noise (a few hundredths of a level), so the threshold
//! can lie close above it; the worst block decides, so that something small in a corner counts as much as something large.
//! Comparing with the encoded picture and not with the last one lets nothing slow creep by: differences add up until they show.
//!
//! Planes of change are compared like any other: after something moved, they must have settled. Planes of flow are left out;
//! between two pictures that look alike and have changed alike, flow is noise, and need not be computed. So a gate wants
//! `motion` beside `flow`, which the contract asks for. Clip encoders have no gate: their input is never the same twice.

use crate::bundle::{Channel, Input};

/// Rows and columns of a block.
const BLOCK: usize = 8;

/// See the module's documentation.
#[derive(Debug)]
pub struct Gate {
    /// Mean |difference| of a block up to which it counts as still, in 1/256 of a level.
    limit: u32,
    width: usize,
    height: usize,
    /// Planes that are compared, by number.
    planes: Vec<usize>,
    /// The last encoded picture.
    encoded: Vec<u8>,
    known: bool,
    /// Sums of |difference| of each column over the rows of a block.
    columns: Vec<u16>,
}

impl Gate {
    /// The gate that the contract asks for; `None` where it asks for none.
    pub fn new(input: &Input) -> Option<Self> {
        if input.gate <= 0.0 || input.clip > 1 {
            return None;
        }
        let mut at = 0;
        let mut planes = vec![];
        for channel in &input.channels {
            let here = at..at + channel.planes();
            at = here.end;
            if *channel != Channel::Flow {
                planes.extend(here);
            }
        }
        Some(Self {
            // At most 255 levels, by the contract.
            limit: (input.gate * 256.0) as u32,
            width: input.width,
            height: input.height,
            planes,
            encoded: vec![0; input.planes() * input.width * input.height],
            known: false,
            columns: vec![0; input.width],
        })
    }

    /// Do these planes `[P, H, W]` show what the last encoded ones showed?
    pub fn is_still(&mut self, planes: &[u8]) -> bool {
        let Self { limit, width, height, encoded, columns, .. } = self;
        let size = *width * *height;
        self.known
            && self.planes.iter().all(|p| {
                let (now, then) = (&planes[p * size..(p + 1) * size], &encoded[p * size..(p + 1) * size]);
                let rows = BLOCK * *width;
                now.chunks(rows).zip(then.chunks(rows)).all(|(now, then)| row_of_blocks(now, then, columns, *limit))
            })
    }

    /// These planes have been encoded.
    pub fn keep(&mut self, planes: &[u8]) {
        self.encoded.copy_from_slice(planes);
        self.known = true;
    }

    /// Nothing is known any more (after a gap).
    pub fn reset(&mut self) {
        self.known = false;
    }
}

/// Is every block of these (up to eight) rows within the limit?
fn row_of_blocks(now: &[u8], then: &[u8], columns: &mut [u16], limit: u32) -> bool {
    let width = columns.len();
    columns.fill(0);
    for (now, then) in now.chunks_exact(width).zip(then.chunks_exact(width)) {
        // At most 8 * 255 a column.
        columns.iter_mut().zip(now.iter().zip(then)).for_each(|(sum, (a, b))| *sum += u16::from(a.abs_diff(*b)));
    }
    let rows = (now.len() / width) as u32;
    columns.chunks(BLOCK).all(|block| {
        let sum: u32 = block.iter().map(|s| u32::from(*s)).sum();
        256 * sum <= limit * rows * block.len() as u32
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(channels: Vec<Channel>, gate: f32) -> Input {
        let text = "width = 20\nheight = 12\nchannels = [\"gray\"]\nfeatures = 4";
        Input { channels, gate, ..toml::from_str(text).unwrap() }
    }

    #[test]
    fn noise_is_still_and_one_small_thing_is_not() {
        let mut gate = Gate::new(&input(vec![Channel::Gray], 1.5)).unwrap();
        let picture = vec![100u8; 20 * 12];
        assert!(!gate.is_still(&picture), "nothing was encoded yet");
        gate.keep(&picture);
        assert!(gate.is_still(&picture));
        let noisy: Vec<u8> = picture.iter().enumerate().map(|(n, p)| p + (n * 7 % 3) as u8).collect();
        assert!(gate.is_still(&noisy), "one level on average");
        // In every corner, the last blocks being 4 levels wide and 4 high.
        for (x, y) in [(0, 0), (19, 0), (0, 11), (19, 11), (9, 5)] {
            let mut thing = picture.clone();
            thing[y * 20 + x] += 100;
            assert!(!gate.is_still(&thing), "at {x}, {y}");
        }
        gate.reset();
        assert!(!gate.is_still(&picture));
    }

    #[test]
    fn what_creeps_shows_in_the_end() {
        let mut gate = Gate::new(&input(vec![Channel::Gray], 2.0)).unwrap();
        gate.keep(&[50; 20 * 12]);
        let still: Vec<bool> = (50..=55).map(|level| gate.is_still(&[level; 20 * 12])).collect();
        assert_eq!(still, [true, true, true, false, false, false]);
    }

    #[test]
    fn change_counts_and_flow_does_not() {
        let planes = |level: [u8; 5]| -> Vec<u8> { level.iter().flat_map(|l| [*l; 20 * 12]).collect() };
        let mut gate = Gate::new(&input(vec![Channel::Gray, Channel::Motion, Channel::Flow], 1.0)).unwrap();
        gate.keep(&planes([9, 0, 0, 128, 128]));
        assert!(gate.is_still(&planes([9, 0, 0, 150, 100])));
        assert!(!gate.is_still(&planes([9, 0, 3, 128, 128])), "the slow change has not settled");
        assert!(Gate::new(&input(vec![Channel::Gray], 0.0)).is_none());
        assert!(Gate::new(&Input { clip: 4, ..input(vec![Channel::Gray], 1.0) }).is_none());
    }
}
