//! Delay to detection.

use std::collections::BTreeMap;
use std::time::Duration;

/// Different values that are kept; further ones fall to the nearest longer one that is.
const MAX_VALUES: usize = 10_000;

/// Delays from the first sample of events to their detection, with their medians.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Delays {
    samples: BTreeMap<u64, u64>,
    times: BTreeMap<u64, u64>,
}

impl Delays {
    pub(super) fn push(&mut self, samples: u64, time: Option<Duration>) {
        add(&mut self.samples, samples, 1);
        if let Some(time) = time {
            add(&mut self.times, u64::try_from(time.as_millis()).unwrap_or(u64::MAX), 1);
        }
    }

    /// Adds those of another series.
    pub fn merge(&mut self, other: &Self) {
        other.samples.iter().for_each(|(value, count)| add(&mut self.samples, *value, *count));
        other.times.iter().for_each(|(value, count)| add(&mut self.times, *value, *count));
    }

    /// Half of the caught events were told within so many samples; none without events.
    #[must_use]
    pub fn median_samples(&self) -> Option<u64> {
        median(&self.samples)
    }

    /// Half of the caught events were told within this time, to the millisecond.
    #[must_use]
    pub fn median_time(&self) -> Option<Duration> {
        median(&self.times).map(Duration::from_millis)
    }
}

fn add(counts: &mut BTreeMap<u64, u64>, value: u64, count: u64) {
    let full = counts.len() >= MAX_VALUES && !counts.contains_key(&value);
    let near = || counts.range(value..).next().or_else(|| counts.last_key_value()).map(|(near, _)| *near);
    let value = if full { near().unwrap_or(value) } else { value };
    *counts.entry(value).or_default() += count;
}

/// The smallest value that at least half do not exceed.
fn median(counts: &BTreeMap<u64, u64>) -> Option<u64> {
    let total: u64 = counts.values().sum();
    let mut seen = 0;
    counts.iter().find_map(|(value, count)| {
        seen += count;
        (2 * seen >= total).then_some(*value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_delay_within_which_half_are_told() {
        let mut delays = Delays::default();
        assert_eq!((delays.median_samples(), delays.median_time()), (None, None));
        for samples in [9, 0, 4] {
            delays.push(samples, Some(Duration::from_secs(60 * samples)));
        }
        assert_eq!((delays.median_samples(), delays.median_time()), (Some(4), Some(Duration::from_secs(240))));
        let mut other = Delays::default();
        other.push(1, None);
        delays.merge(&other);
        assert_eq!(delays.median_samples(), Some(1));
    }

    #[test]
    fn memory_is_bounded() {
        let mut delays = Delays::default();
        (0..30_000).for_each(|samples| delays.push(samples, None));
        assert_eq!(delays.samples.len(), MAX_VALUES);
        assert_eq!(delays.samples.values().sum::<u64>(), 30_000);
    }
}
