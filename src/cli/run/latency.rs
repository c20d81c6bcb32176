//! Time from a frame's stamp to its decision, over the last 600 of them: a minute at ten ticks a second.

use std::time::Duration;

/// See the module's documentation.
pub struct Latency {
    ms: [u16; 600],
    len: usize,
    next: usize,
}

impl Default for Latency {
    fn default() -> Self {
        Self { ms: [0; 600], len: 0, next: 0 }
    }
}

impl Latency {
    pub fn add(&mut self, d: Duration) {
        self.ms[self.next] = u16::try_from(d.as_millis()).unwrap_or(u16::MAX);
        self.next = (self.next + 1) % self.ms.len();
        self.len = (self.len + 1).min(self.ms.len());
    }

    /// Median and 99th percentile in ms; `None` before the first. Sorts on the stack, once a second.
    pub fn p50_and_p99(&self) -> (Option<u32>, Option<u32>) {
        let mut sorted = self.ms;
        let sorted = &mut sorted[..self.len];
        sorted.sort_unstable();
        let at = |percent: usize| sorted.get(self.len * percent / 100).map(|ms| u32::from(*ms));
        (at(50), at(99))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_last_minute() {
        let mut latency = Latency::default();
        assert_eq!(latency.p50_and_p99(), (None, None));
        (0..600).for_each(|_| latency.add(Duration::from_secs(5)));
        (1..=600).for_each(|ms| latency.add(Duration::from_millis(ms)));
        assert_eq!(latency.p50_and_p99(), (Some(301), Some(595)));
    }
}
