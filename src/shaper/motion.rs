//! The last luma pictures, one a tick, and what changed against them.

/// Luma pictures of the last `span + 1` ticks, in place; never grows.
#[derive(Debug)]
pub(super) struct History {
    pixels: usize,
    slots: usize,
    newest: usize,
    len: usize,
    data: Vec<u8>,
}

impl History {
    /// Room for the picture of now and `span` before it, `pixels` bytes each.
    pub fn new(pixels: usize, span: usize) -> Self {
        let slots = span + 1;
        Self { pixels, slots, newest: 0, len: 0, data: vec![0; slots * pixels] }
    }

    /// The next tick's picture.
    pub fn push(&mut self, luma: &[u8]) {
        self.newest = if self.len == 0 { 0 } else { (self.newest + 1) % self.slots };
        self.len = (self.len + 1).min(self.slots);
        self.data[self.newest * self.pixels..][..self.pixels].copy_from_slice(luma);
    }

    /// The last picture once more; nothing happens when there is none.
    pub fn repeat(&mut self) {
        if self.len > 0 {
            let from = self.newest * self.pixels;
            self.newest = (self.newest + 1) % self.slots;
            self.len = (self.len + 1).min(self.slots);
            self.data.copy_within(from..from + self.pixels, self.newest * self.pixels);
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// The picture `ticks` ago, or the oldest there is. All zero before the first push.
    pub fn ago(&self, ticks: usize) -> &[u8] {
        let back = ticks.min(self.len.saturating_sub(1));
        let slot = (self.newest + self.slots - back) % self.slots;
        &self.data[slot * self.pixels..][..self.pixels]
    }

    /// `out` = |luma now - luma `ticks` ago|.
    pub fn change(&self, ticks: usize, out: &mut [u8]) {
        for ((o, &a), &b) in out.iter_mut().zip(self.ago(0)).zip(self.ago(ticks)) {
            *o = a.abs_diff(b);
        }
    }
}
