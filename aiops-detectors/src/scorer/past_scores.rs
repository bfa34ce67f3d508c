//! How rare a score is among a series' own past scores.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// Scores that are remembered: two beyond the last decade that is counted and not extrapolated.
const CAPACITY: usize = 2_048;
/// Where counting ends: below it a decade has some twenty scores, above it the tail is a line.
const TAIL: f64 = 0.99;
/// Where the decade before it begins.
const BODY: f64 = 0.90;
/// Least rise of a score, in itself, that is a decade: scores that hardly vary must not make a hair a
/// surprise. An isolation forest of 50 trees varies by as much from planting to planting.
const SMALLEST_DECADE: f64 = 0.03;

/// The newest scores (0 to 1), in order of time and of size.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct PastScores {
    newest: VecDeque<f32>,
    #[serde(skip)]
    sorted: Vec<f32>,
    seen: u64,
}

impl PastScores {
    /// Scores so far, those forgotten included.
    pub(super) fn seen(&self) -> u64 {
        self.seen
    }

    pub(super) fn learn(&mut self, score: f64) {
        let score = score as f32;
        if self.newest.len() >= CAPACITY
            && let Some(oldest) = self.newest.pop_front()
        {
            self.sorted.remove(self.sorted.partition_point(|x| x.total_cmp(&oldest).is_lt()));
        }
        self.newest.push_back(score);
        self.sorted.insert(self.sorted.partition_point(|x| x.total_cmp(&score).is_lt()), score);
        self.seen = self.seen.saturating_add(1);
    }

    /// After reading saved state: the order by size follows from the other one.
    pub(super) fn settle(&mut self) {
        self.newest.drain(..self.newest.len().saturating_sub(CAPACITY));
        self.sorted = self.newest.iter().copied().collect();
        self.sorted.sort_by(f32::total_cmp);
    }

    fn quantile(&self, share: f64) -> f64 {
        let last = self.sorted.len().saturating_sub(1);
        self.sorted.get((share * last as f64) as usize).map_or(0.0, |x| f64::from(*x))
    }

    /// `-log10` of the share of scores this high: counted up to the 99 % quantile, beyond it a line that
    /// goes on from the decade before (an exponential tail).
    pub(super) fn decades(&self, score: f64) -> f64 {
        let n = self.sorted.len();
        let tail = self.quantile(TAIL);
        if score <= tail || n == 0 {
            let below = self.sorted.partition_point(|x| f64::from(*x) < score);
            return (((n + 1) as f64) / ((n - below + 1) as f64)).log10().min(-(1.0 - TAIL).log10());
        }
        let decade = (tail - self.quantile(BODY)).max(SMALLEST_DECADE);
        -(1.0 - TAIL).log10() + (score - tail) / decade
    }

    pub(super) fn heap_bytes(&self) -> usize {
        (self.newest.capacity() + self.sorted.capacity()) * size_of::<f32>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_decades_and_the_tail_is_a_line() {
        let mut past = PastScores::default();
        assert_eq!(past.decades(0.7), 0.0);
        // Of 1,000 scores with an exponential tail each decade is a tenth wide.
        for index in 0..1_000_u32 {
            past.learn(-0.1 * (1.0 - (f64::from(index) + 0.5) / 1_000.0).log10());
        }
        for (score, wanted) in [(0.03, 0.3), (0.1, 1.0), (0.19, 1.9), (0.3, 3.0), (0.5, 5.0)] {
            assert!((past.decades(score) - wanted).abs() < 0.1, "{score}: {}", past.decades(score));
        }
    }

    #[test]
    fn what_is_forgotten_is_the_oldest_and_reading_back_changes_nothing() {
        let mut past = PastScores::default();
        (0..5_000_u32).for_each(|index| past.learn(f64::from(index % 97) / 97.0));
        assert_eq!((past.sorted.len(), past.newest.len(), past.seen()), (CAPACITY, CAPACITY, 5_000));
        let mut read: PastScores = serde_json::from_slice(&serde_json::to_vec(&past).unwrap()).unwrap();
        read.settle();
        assert_eq!((&read.sorted, read.decades(0.8)), (&past.sorted, past.decades(0.8)));
    }
}
