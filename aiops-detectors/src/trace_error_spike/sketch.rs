//! Quantiles of durations in bounded memory, each within 2 % of the true one.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Relative error of a quantile.
const ERROR: f64 = 0.02;
/// Durations are told apart between a microsecond and a day: some 630 buckets.
const SHORTEST: f64 = 1e-6;
const LONGEST: f64 = 86_400.0;

/// Counts by logarithmic buckets: the bucket of `x` is `ceil(log_g x)` with `g = (1 + e) / (1 - e)`, and
/// stands for `2 g^i / (g + 1)` (Masson, Rim and Lee, "DDSketch", VLDB 2019).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sketch {
    buckets: BTreeMap<i32, u64>,
    count: u64,
}

fn growth() -> f64 {
    (1.0 + ERROR) / (1.0 - ERROR)
}

fn bucket(duration: Duration) -> i32 {
    (duration.as_secs_f64().clamp(SHORTEST, LONGEST).ln() / growth().ln()).ceil() as i32
}

impl Sketch {
    pub(super) fn add(&mut self, duration: Duration) {
        *self.buckets.entry(bucket(duration)).or_default() += 1;
        self.count += 1;
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (bucket, count) in &other.buckets {
            *self.buckets.entry(*bucket).or_default() += count;
        }
        self.count += other.count;
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Whether it can be that of a saved state.
    pub(super) fn is_sound(&self) -> bool {
        let range = bucket(Duration::ZERO)..=bucket(Duration::MAX);
        self.buckets.keys().all(|bucket| range.contains(bucket))
            && self.buckets.values().try_fold(0_u64, |sum, count| sum.checked_add(*count)) == Some(self.count)
    }

    /// The duration below which a share of the counts lies, in seconds; none while it is empty.
    pub(super) fn quantile(&self, share: f64) -> Option<f64> {
        let bucket = self.bucket_of(share)?;
        Some(2.0 * growth().powi(bucket) / (growth() + 1.0))
    }

    fn bucket_of(&self, share: f64) -> Option<i32> {
        let wanted = (share * self.count as f64).ceil().max(1.0);
        let mut seen = 0;
        let reached = |(_, count): &(&i32, &u64)| {
            seen += **count;
            seen as f64 >= wanted
        };
        self.buckets.iter().find(reached).map(|(bucket, _)| *bucket)
    }

    /// How many counts of `self` lie in buckets above that of `other`'s quantile, and how many of
    /// `other`'s do.
    pub(super) fn above(&self, other: &Self, share: f64) -> Option<(u64, u64)> {
        let bucket = other.bucket_of(share)?;
        let beyond = |sketch: &Self| sketch.buckets.range(bucket + 1..).map(|(_, count)| count).sum();
        Some((beyond(self), beyond(other)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_their_error_and_merging_adds_up() {
        let (mut left, mut right) = (Sketch::default(), Sketch::default());
        for milli in 1..=10_000_u64 {
            let half = if milli % 2 == 0 { &mut left } else { &mut right };
            half.add(Duration::from_millis(milli * milli / 1_000 + 1));
        }
        left.merge(&right);
        for share in [0.1, 0.5, 0.9, 0.95, 0.999] {
            let milli = (share * 10_000.0) as u64;
            let (found, wanted) = (left.quantile(share).unwrap(), (milli * milli / 1_000 + 1) as f64 / 1_000.0);
            assert!((found / wanted - 1.0).abs() <= ERROR + 0.001, "{share}: {found} {wanted}");
        }
        assert!(left.is_sound() && left.count() == 10_000);
    }

    #[test]
    fn any_duration_has_a_bucket_and_their_number_is_bounded() {
        let mut sketch = Sketch::default();
        assert_eq!(sketch.quantile(0.5), None);
        (0..100_000).for_each(|step| sketch.add(Duration::from_nanos(1 << (step % 60))));
        sketch.add(Duration::ZERO);
        sketch.add(Duration::MAX);
        assert!(sketch.buckets.len() < 700 && sketch.is_sound());
    }
}
