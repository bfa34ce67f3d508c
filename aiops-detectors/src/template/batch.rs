//! Many lines at once: what they need of memory is asked for together, and waited for once.

use super::hash::hash;
use super::miner::{Observed, TemplateMiner};
use super::record;

/// Lines that are masked before the first of them is counted.
const BATCH: usize = 32;

/// A masked line that is to be counted; its memory is used again.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    masked: Vec<u8>,
    key: u64,
}

impl TemplateMiner {
    /// As [`observe`](Self::observe) for each record in turn: the way to take in what is at hand as a
    /// whole, a little faster where thousands of masked lines are kept. What each one was is pushed to
    /// `observed`.
    ///
    /// ```
    /// let (mut miner, mut observed) = (aiops_detectors::TemplateMiner::default(), Vec::new());
    /// miner.observe_all("order 17 paid\norder 18 paid".lines().map(str::as_bytes), &mut observed);
    /// assert!(observed[0].new && !observed[1].new);
    /// ```
    pub fn observe_all<'a>(&mut self, records: impl IntoIterator<Item = &'a [u8]>, observed: &mut Vec<Observed>) {
        let mut records = records.into_iter();
        let mut batch: [&[u8]; BATCH] = [&[]; BATCH];
        self.waiting.resize_with(BATCH, Waiting::default);
        loop {
            let mut length = 0;
            for ((place, line), record) in batch.iter_mut().zip(&mut self.waiting).zip(&mut records) {
                record::masked(record, &mut line.masked);
                line.key = hash(&line.masked);
                *place = record;
                length += 1;
            }
            if length == 0 {
                return;
            }
            self.counted.ask_for(self.waiting[..length].iter().map(|line| line.key));
            for (at, record) in batch[..length].iter().enumerate() {
                let key = self.waiting[at].key;
                observed.push(self.count_known(key).unwrap_or_else(|| {
                    std::mem::swap(&mut self.masked, &mut self.waiting[at].masked);
                    self.take_new(key, record)
                }));
            }
        }
    }
}
