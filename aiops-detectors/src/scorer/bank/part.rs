//! A part of a batch, over series that no other part holds.

use std::hash::Hash;

use aiops_core::DataState;

use super::{Score, Scorer, ScorerBank, Slot};
use crate::source::Sample;

/// The samples of a batch for one part of the series; see [`ScorerBank::parts`].
#[derive(Debug)]
#[must_use = "samples are scored by `run`"]
pub struct BankPart<'a, K, S> {
    slots: &'a mut [Slot<K, S>],
    /// Place in `slots`, place in the batch, and the sample.
    work: Vec<(usize, usize, Sample)>,
    /// Samples of no series, by their place in the batch: the bank is full.
    refused: Vec<(usize, f64)>,
}

impl<K, S: Scorer> BankPart<'_, K, S> {
    /// Samples in this part.
    #[must_use]
    pub fn len(&self) -> usize {
        self.work.len() + self.refused.len()
    }

    /// Whether there is nothing to score.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Scores the samples of this part: each score with its sample's place in the batch.
    #[must_use]
    pub fn run(self) -> Vec<(usize, Score)> {
        let Self { slots, work, refused } = self;
        let scored = work.into_iter().map(|(place, index, sample)| (index, slots[place].observe(sample)));
        let refused = refused.into_iter().map(|(index, value)| (index, Score::none(value, DataState::Error)));
        scored.chain(refused).collect()
    }
}

impl<K: Clone + Eq + Hash, S: Scorer> ScorerBank<K, S> {
    /// Splits a batch by series into at most `parts` parts that may run at the same time, on threads or
    /// tasks of the host; the scores are those of [`observe`](Self::observe). A part that is dropped
    /// instead of run has scored nothing.
    ///
    /// ```
    /// use aiops_detectors::{Mad, Sample, Score, ScorerBank};
    /// # use aiops_detectors::jiff::Timestamp;
    /// # let batch: Vec<(u64, Sample)> = (0..10).map(|key| (key, Sample { at: Timestamp::UNIX_EPOCH, value: 1.0 })).collect();
    /// let mut bank = ScorerBank::new(Mad::default);
    /// let scores: Vec<(usize, Score)> = std::thread::scope(|scope| {
    ///     let parts = bank.parts(&batch, 2);
    ///     let running: Vec<_> = parts.into_iter().map(|part| scope.spawn(|| part.run())).collect();
    ///     running.into_iter().filter_map(|thread| thread.join().ok()).flatten().collect()
    /// });
    /// assert_eq!(scores.len(), batch.len());
    /// ```
    pub fn parts(&mut self, samples: &[(K, Sample)], parts: usize) -> Vec<BankPart<'_, K, S>> {
        let mut guess = 0;
        let places: Vec<Option<usize>> = samples
            .iter()
            .map(|(key, sample)| self.place(key, guess, sample.at).inspect(|place| guess = place + 1))
            .collect();
        let size = self.slots.len().div_ceil(parts.max(1)).max(1);
        let part = |slots| BankPart { slots, work: Vec::new(), refused: Vec::new() };
        let mut split: Vec<_> = self.slots.chunks_mut(size).map(part).collect();
        for (index, ((_, sample), place)) in samples.iter().zip(places).enumerate() {
            match place {
                Some(place) => split[place / size].work.push((place % size, index, *sample)),
                // A full bank has a series, and so a first part.
                None => split[0].refused.push((index, sample.value)),
            }
        }
        split.retain(|part| !part.is_empty());
        split
    }
}
