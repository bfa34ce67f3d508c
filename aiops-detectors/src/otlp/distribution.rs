//! What a histogram point holds, whatever its buckets are.

use super::decoded::OtlpFault;

/// Counts in buckets with the number and the sum of the measurements.
#[derive(Debug, Clone, PartialEq)]
pub struct OtlpDistribution {
    pub(super) count: u64,
    pub(super) sum: Option<f64>,
    buckets: Buckets,
}

#[derive(Debug, Clone, PartialEq)]
enum Buckets {
    /// Counts up to each bound, and one for what is above the last.
    Explicit { bounds: Vec<f64>, counts: Vec<u64> },
    /// Bucket `i` holds what is above `base^i` and at most `base^(i+1)`, with `base = 2^(2^-scale)`.
    Exponential { scale: i32, zero: u64, positive: Side, negative: Side },
}

/// Counts of the buckets from index `offset` on.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Side {
    pub(super) offset: i64,
    pub(super) counts: Vec<u64>,
}

impl Side {
    /// The same at a scale that is `steps` lower: 2^steps buckets become one.
    fn coarser(&self, steps: u32) -> Self {
        let mut side = Self { offset: self.offset >> steps, counts: Vec::new() };
        for (index, count) in (self.offset..).zip(&self.counts) {
            let place = usize::try_from((index >> steps) - side.offset).unwrap_or(0);
            if place >= side.counts.len() {
                // One more at the most, as the indices follow each other.
                side.counts.push(0);
            }
            if let Some(total) = side.counts.get_mut(place) {
                *total = total.saturating_add(*count);
            }
        }
        side
    }

    /// What was added since `earlier`; none where a bucket shrank.
    fn since(&self, earlier: &Self) -> Option<Self> {
        let mut grown = self.clone();
        for (index, count) in (earlier.offset..).zip(&earlier.counts).filter(|(_, count)| **count > 0) {
            let place = usize::try_from(index - self.offset).ok()?;
            let left = grown.counts.get_mut(place)?;
            *left = left.checked_sub(*count)?;
        }
        Some(grown)
    }
}

impl OtlpDistribution {
    /// Buckets with bounds; both may be empty, where only the number and the sum were sent.
    pub(super) fn explicit(
        count: u64,
        sum: Option<f64>,
        bounds: Vec<f64>,
        counts: Vec<u64>,
    ) -> Result<Self, OtlpFault> {
        let fits = counts.len() == bounds.len() + 1 || counts.is_empty() && bounds.is_empty();
        let ordered = bounds.is_sorted_by(|a, b| a < b) && !bounds.iter().any(|bound| bound.is_nan());
        if !fits || !ordered {
            return Err(OtlpFault::Buckets);
        }
        Ok(Self { count, sum, buckets: Buckets::Explicit { bounds, counts } })
    }

    /// Buckets whose bounds are powers; scales are -10 to 20, as SDKs have them.
    pub(super) fn exponential(
        count: u64,
        sum: Option<f64>,
        scale: i32,
        zero: u64,
        [positive, negative]: [Side; 2],
    ) -> Result<Self, OtlpFault> {
        if !(-10..=20).contains(&scale) {
            return Err(OtlpFault::Buckets);
        }
        Ok(Self { count, sum, buckets: Buckets::Exponential { scale, zero, positive, negative } })
    }

    /// How many measurements there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their sum, where it was sent.
    #[must_use]
    pub fn sum(&self) -> Option<f64> {
        self.sum
    }

    /// What was added since an earlier reading of the same stream; none where something shrank or the
    /// bounds are others: the stream began anew.
    pub(super) fn since(&self, earlier: &Self) -> Option<Self> {
        let buckets = match (&self.buckets, &earlier.buckets) {
            (Buckets::Explicit { bounds, counts }, Buckets::Explicit { bounds: before, counts: taken }) => {
                if bounds != before || counts.len() != taken.len() {
                    return None;
                }
                let counts: Option<Vec<u64>> =
                    counts.iter().zip(taken).map(|(now, then)| now.checked_sub(*then)).collect();
                Buckets::Explicit { bounds: bounds.clone(), counts: counts? }
            }
            (
                Buckets::Exponential { scale, zero, positive, negative },
                Buckets::Exponential { scale: before, zero: zero_before, positive: up, negative: down },
            ) => {
                // A sender halves its resolution when its buckets do not suffice.
                let to = *scale.min(before);
                let steps = |from: &i32| from.abs_diff(to);
                let grown = |now: &Side, then: &Side| now.coarser(steps(scale)).since(&then.coarser(steps(before)));
                Buckets::Exponential {
                    scale: to,
                    zero: zero.checked_sub(*zero_before)?,
                    positive: grown(positive, up)?,
                    negative: grown(negative, down)?,
                }
            }
            _ => return None,
        };
        let sum = self.sum.zip(earlier.sum).map(|(now, then)| now - then);
        Some(Self { count: self.count.checked_sub(earlier.count)?, sum, buckets })
    }

    /// The value that a share `q` of the measurements does not exceed, as far as the buckets tell; none
    /// without measurements or buckets.
    ///
    /// Within a bucket it is interpolated: evenly as by Prometheus' `histogram_quantile`, of which the
    /// first bucket begins at 0 and the last gives its lower bound; evenly in powers for exponential buckets, where
    /// the error is at most the base.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let ranges = self.ranges();
        let total: f64 = ranges.iter().map(|range| range.count).sum();
        if total <= 0.0 || !(0.0..=1.0).contains(&q) {
            return None;
        }
        let rank = q * total;
        let mut below = 0.0;
        for range in ranges.iter().filter(|range| range.count > 0.0) {
            if below + range.count >= rank {
                return Some(range.at((rank - below) / range.count));
            }
            below += range.count;
        }
        // Rounding left the rank above the sum.
        ranges.iter().rev().find(|range| range.count > 0.0).map(|range| range.at(1.0))
    }

    /// The buckets by their bounds, in ascending order; those of a histogram without any are none.
    fn ranges(&self) -> Vec<Range> {
        match &self.buckets {
            Buckets::Explicit { bounds, counts } => {
                let highest = bounds.last().copied().filter(|bound| bound.is_finite());
                let mut low = bounds.first().map_or(0.0, |first| first.min(0.0));
                let uppers = bounds.iter().copied().chain(highest);
                let range = |(high, count): (f64, &u64)| {
                    let range = Range { low, high, count: *count as f64, powers: false };
                    low = high;
                    range
                };
                uppers.zip(counts).map(range).collect()
            }
            Buckets::Exponential { scale, zero, positive, negative } => {
                let bound = |index: i64| (index as f64 * f64::from(-scale).exp2()).exp2();
                let mut ranges = Vec::with_capacity(positive.counts.len() + negative.counts.len() + 1);
                for (index, count) in (negative.offset..).zip(&negative.counts) {
                    ranges.push(Range {
                        low: -bound(index + 1),
                        high: -bound(index),
                        count: *count as f64,
                        powers: true,
                    });
                }
                ranges.reverse();
                ranges.push(Range { low: 0.0, high: 0.0, count: *zero as f64, powers: false });
                for (index, count) in (positive.offset..).zip(&positive.counts) {
                    ranges.push(Range {
                        low: bound(index),
                        high: bound(index + 1),
                        count: *count as f64,
                        powers: true,
                    });
                }
                ranges
            }
        }
    }
}

/// A bucket: what is above `low` and at most `high`.
struct Range {
    low: f64,
    high: f64,
    count: f64,
    powers: bool,
}

impl Range {
    /// The value at a share of it.
    fn at(&self, share: f64) -> f64 {
        if !self.high.is_finite() {
            return self.low;
        }
        if !self.powers {
            return self.low + (self.high - self.low) * share;
        }
        let (low, high) = (self.low.abs().log2(), self.high.abs().log2());
        (low + (high - low) * share).exp2().copysign(self.low + self.high)
    }
}
