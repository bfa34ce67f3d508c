//! Series that differ only in labels of no account, as one.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::source::{Labels, Sample, Series};

/// What the samples of several instances at one step become; see
/// [`SeriesDetectorBuilder::without_labels`](super::SeriesDetectorBuilder::without_labels).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Combine {
    /// Their mean, of those that gave a sample: shares and mean times.
    Mean,
    /// Their sum, of those that gave a sample: rates, counts and queues. One that gives none lowers it.
    Sum,
    /// The largest: times and quantiles, of which one bad instance matters.
    Max,
    /// The smallest: free room, or whether all are up.
    Min,
}

impl Combine {
    fn of(self, values: impl Iterator<Item = f64>) -> Option<f64> {
        match self {
            Self::Mean => {
                let (sum, count) = values.fold((0.0, 0_u32), |(sum, count), value| (sum + value, count + 1));
                (count > 0).then(|| sum / f64::from(count))
            }
            Self::Sum => values.reduce(|sum, value| sum + value),
            Self::Max => values.reduce(f64::max),
            Self::Min => values.reduce(f64::min),
        }
    }
}

/// The labels that are left out, and what becomes of the samples of series that are then the same.
#[derive(Debug, Clone)]
pub(super) struct Merge {
    pub(super) labels: Vec<String>,
    pub(super) combine: Combine,
}

impl Merge {
    /// Series without the labels, with one sample for each step, and how many samples are fewer by that. Of each
    /// series the newest sample of a step counts, of those that are numbers; the combined one has the time of the
    /// newest of all.
    pub(super) fn apply(&self, read: Vec<Series>, step: Duration) -> (Vec<Series>, u64) {
        let mut groups: BTreeMap<Labels, Vec<Sample>> = BTreeMap::new();
        let mut fewer = 0_u64;
        for Series { mut labels, mut samples } in read {
            self.labels.iter().for_each(|name| drop(labels.remove(name)));
            fewer += samples.len() as u64;
            samples.sort_by_key(|sample| sample.at);
            let steps = samples.chunk_by(|a, b| number(a.at, step) == number(b.at, step));
            let newest = steps.filter_map(|step| step.iter().rfind(|sample| sample.value.is_finite()).or(step.last()));
            groups.entry(labels).or_default().extend(newest);
        }
        let series = groups.into_iter().map(|(labels, mut samples)| {
            samples.sort_by_key(|sample| sample.at);
            let steps = samples.chunk_by(|a, b| number(a.at, step) == number(b.at, step));
            let samples: Vec<Sample> = steps.filter_map(|step| self.one(step)).collect();
            fewer -= samples.len() as u64;
            Series::new(labels, samples)
        });
        let series: Vec<Series> = series.collect();
        (series, fewer)
    }

    /// The samples of one step as one, at the time of the newest.
    fn one(&self, step: &[Sample]) -> Option<Sample> {
        let newest = step.last()?;
        let finite = step.iter().map(|sample| sample.value).filter(|value| value.is_finite());
        // Where none is a number, that is for the series to refuse.
        Some(Sample { at: newest.at, value: self.combine.of(finite).unwrap_or(newest.value) })
    }
}

/// Steps since the epoch, down.
fn number(at: Timestamp, step: Duration) -> i128 {
    at.as_nanosecond().div_euclid(nanos(step))
}

fn nanos(step: Duration) -> i128 {
    i128::try_from(step.as_nanos()).unwrap_or(i128::MAX).max(1)
}

/// The start of the step that a time is in.
pub(super) fn start_of_step(at: Timestamp, step: Duration) -> Timestamp {
    let start = number(at, step).saturating_mul(nanos(step));
    // Earlier than a time can be only in the first step of all.
    Timestamp::from_nanosecond(start).unwrap_or(Timestamp::MIN)
}
