//! Where tensors lie: buffers with physical borders, and one arena in which those that live at different times share bytes.
//!
//! A buffer is a picture, pixel after pixel with all its channels (or plane after plane for the network's input), with as many
//! pixels around it as any reader's windows reach out; these hold the zero point, so that no kernel knows about padding.
//! Borders are filled when the arena is made, and again at each run where another buffer uses the same bytes.

use super::kernels::SLACK;

/// Most bytes of an arena.
const MAX_ARENA: usize = 256 << 20;
/// Buffers begin on cache lines.
const LINE: usize = 64;

/// One buffer.
#[derive(Clone, Debug)]
pub struct Buffer {
    /// Channels of a pixel (planes, where `planar`).
    pub channels: usize,
    /// Rows and columns of the picture without its border.
    pub height: usize,
    /// See `height`.
    pub width: usize,
    /// Border above, left, below, right, in pixels.
    pub border: [usize; 4],
    /// Plane after plane instead of pixel after pixel.
    pub planar: bool,
    /// What the border holds.
    pub zero: u8,
    /// First and last step at which its bytes matter.
    pub life: (usize, usize),
    /// Where it begins in the arena.
    pub offset: usize,
}

impl Buffer {
    /// Bytes between pixels of a row.
    pub fn pixel(&self) -> usize {
        if self.planar { 1 } else { self.channels }
    }

    /// Bytes between rows.
    pub fn row(&self) -> usize {
        (self.width + self.border[1] + self.border[3]) * self.pixel()
    }

    /// Rows with the border.
    fn rows(&self) -> usize {
        self.height + self.border[0] + self.border[2]
    }

    /// Bytes between planes, where it is planar.
    pub fn plane(&self) -> usize {
        self.rows() * self.row()
    }

    /// Bytes in all.
    pub fn len(&self) -> usize {
        self.plane() * if self.planar { self.channels } else { 1 }
    }

    /// Offset in the arena of channel 0 of pixel (0, 0) of the picture.
    pub fn origin(&self) -> usize {
        self.offset + self.border[0] * self.row() + self.border[1] * self.pixel()
    }

    /// The border as fills.
    fn fills(&self, out: &mut Vec<Fill>) {
        let [top, left, bottom, right] = self.border;
        let (pixel, row) = (self.pixel(), self.row());
        for plane in 0..if self.planar { self.channels } else { 1 } {
            let at = self.offset + plane * self.plane();
            let mut fill = |offset, rows, bytes| {
                if rows * bytes > 0 {
                    out.push(Fill { offset, rows, row, bytes, value: self.zero });
                }
            };
            fill(at, 1, top * row);
            fill(at + (top + self.height) * row, 1, bottom * row);
            if right > 0 && self.height > 1 {
                // The right border of a row and the left one of the next are neighbours.
                fill(at + top * row, 1, left * pixel);
                fill(at + top * row + (left + self.width) * pixel, self.height - 1, (right + left) * pixel);
                fill(at + (top + self.height) * row - right * pixel, 1, right * pixel);
            } else {
                fill(at + top * row, self.height, left * pixel);
                fill(at + top * row + (left + self.width) * pixel, self.height, right * pixel);
            }
        }
    }
}

/// `rows` stretches of `bytes` bytes that get one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fill {
    /// Offset of the first.
    pub offset: usize,
    /// How many.
    pub rows: usize,
    /// Bytes between their beginnings.
    pub row: usize,
    /// Length of each.
    pub bytes: usize,
    /// What they get.
    pub value: u8,
}

impl Fill {
    /// Fills.
    pub fn run(&self, arena: &mut [u8]) {
        for y in 0..self.rows {
            arena[self.offset + y * self.row..][..self.bytes].fill(self.value);
        }
    }
}

/// Gives every buffer its place; the arena's length without slack.
///
/// # Errors
/// Too many bytes.
pub fn place(buffers: &mut [Buffer]) -> Result<usize, String> {
    let mut order: Vec<usize> = (0..buffers.len()).collect();
    order.sort_by_key(|b| (std::cmp::Reverse(buffers[*b].len()), *b));
    let mut placed: Vec<usize> = vec![];
    let mut end = 0;
    for b in order {
        let size = buffers[b].len().next_multiple_of(LINE);
        let (first, last) = buffers[b].life;
        let mut others: Vec<(usize, usize)> = placed
            .iter()
            .map(|o| &buffers[*o])
            .filter(|o| o.life.0 <= last && first <= o.life.1)
            .map(|o| (o.offset, o.offset + o.len().next_multiple_of(LINE)))
            .collect();
        others.sort_unstable();
        let mut at = 0;
        for (from, to) in others {
            if from >= at + size {
                break;
            }
            at = at.max(to);
        }
        buffers[b].offset = at;
        end = end.max(at + size);
        if end > MAX_ARENA {
            return Err(format!("its tensors need more than {} MiB", MAX_ARENA >> 20));
        }
        placed.push(b);
    }
    Ok(end)
}

/// The borders of all buffers: those filled once, and those filled before a step at each run.
pub fn borders(buffers: &[Buffer]) -> (Vec<Fill>, Vec<(usize, Fill)>) {
    let (mut once, mut each) = (vec![], vec![]);
    for (n, b) in buffers.iter().enumerate() {
        let meets = |o: &Buffer| o.offset < b.offset + b.len() && b.offset < o.offset + o.len();
        let alone = buffers.iter().enumerate().all(|(k, o)| k == n || !meets(o));
        let mut fills = vec![];
        b.fills(&mut fills);
        if alone { once.extend(fills) } else { each.extend(fills.into_iter().map(|f| (b.life.0, f))) }
    }
    (once, each)
}

/// The bytes that a plan runs on.
pub struct Arena {
    lines: Box<[Line]>,
    len: usize,
}

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; LINE]);

impl Arena {
    /// `len` bytes of 0, and the slack behind them.
    pub fn new(len: usize) -> Self {
        Self { lines: vec![Line([0; LINE]); (len + SLACK).div_ceil(LINE)].into(), len: len + SLACK }
    }

    /// All bytes.
    #[allow(unsafe_code, reason = "the one view of aligned lines as bytes")]
    pub fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: lines are bytes without padding (size 64, align 64), `new` made at least `len` of them, and they are
        // borrowed as long as the slice lives.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast::<u8>(), self.len) }
    }
}

impl std::fmt::Debug for Arena {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Arena({} bytes)", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn buffers() -> impl Strategy<Value = Vec<Buffer>> {
        let one = (1usize..9, 1usize..9, 1usize..9, [0usize..3, 0..3, 0..3, 0..3], any::<bool>(), (0usize..6, 0usize..6));
        let one = one.prop_map(|(channels, height, width, border, planar, (first, more))| Buffer {
            channels,
            height,
            width,
            border,
            planar,
            zero: 7,
            life: (first, first + more),
            offset: 0,
        });
        proptest::collection::vec(one, 1..20)
    }

    proptest! {
        #[test]
        fn tensors_that_live_at_the_same_time_share_no_byte(mut all in buffers()) {
            let end = place(&mut all).unwrap_or(0);
            for (n, a) in all.iter().enumerate() {
                prop_assert!(a.offset + a.len() <= end);
                for b in &all[n + 1..] {
                    let apart = a.offset + a.len() <= b.offset || b.offset + b.len() <= a.offset;
                    prop_assert!(apart || a.life.1 < b.life.0 || b.life.1 < a.life.0, "{a:?} and {b:?}");
                }
            }
        }

        #[test]
        fn borders_are_filled_and_pictures_are_not(mut all in buffers()) {
            let end = place(&mut all).unwrap_or(0);
            for b in &all {
                let mut arena = vec![0u8; end];
                let mut fills = vec![];
                b.fills(&mut fills);
                fills.iter().for_each(|f| f.run(&mut arena));
                let filled = arena.iter().filter(|v| **v == b.zero).count();
                prop_assert_eq!(filled, b.len() - b.channels * b.height * b.width);
                for y in 0..b.height {
                    for x in 0..b.width {
                        for c in 0..b.channels {
                            let at = b.origin() + y * b.row() + x * b.pixel() + if b.planar { c * b.plane() } else { c };
                            prop_assert_eq!(arena[at], 0);
                        }
                    }
                }
            }
        }
    }
}
