//! Bins of about equally many cases: the reliability table and the calibration error.

use serde::{Deserialize, Serialize};

use super::groups::{Groups, sorted};
use super::interval::{Interval, quantile, wilson};
use super::{Judged, Unmeasurable, share};

/// Bins at the most: with more, a few hundred cases leave too few in each.
pub const MAX_BINS: usize = 10;
/// Resamples of the interval. The ends move by some 3 % of its width between seeds.
const RESAMPLES: usize = 1_000;

/// Cases of neighbouring confidences.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bin {
    pub(super) cases: usize,
    correct: usize,
    sum: f64,
    low: f64,
    high: f64,
}

impl Bin {
    pub(super) fn mean(&self) -> f64 {
        self.sum / share(self.cases, 1)
    }

    pub(super) fn accuracy(&self) -> f64 {
        share(self.correct, self.cases)
    }
}

/// A case is in the bin of its rank, equal confidences in that of the first of them: none is torn apart.
pub(super) fn bins(groups: &Groups, wanted: usize) -> Vec<Bin> {
    let wanted = wanted.clamp(1, MAX_BINS);
    let mut bins: Vec<(usize, Bin)> = Vec::with_capacity(wanted);
    let mut before = 0;
    for group in &groups.groups {
        let place = before * wanted / groups.cases;
        before += group.cases;
        let sum = group.confidence * share(group.cases, 1);
        match bins.last_mut().filter(|(at, _)| *at == place) {
            Some((_, bin)) => {
                bin.cases += group.cases;
                bin.correct += group.correct;
                bin.sum += sum;
                bin.high = group.confidence;
            }
            None => {
                let (low, high) = (group.confidence, group.confidence);
                bins.push((place, Bin { cases: group.cases, correct: group.correct, sum, low, high }));
            }
        }
    }
    bins.into_iter().map(|(_, bin)| bin).collect()
}

/// One row of the reliability table.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ReliabilityBin {
    /// The lowest confidence in it.
    pub low: f64,
    /// The highest confidence in it.
    pub high: f64,
    /// Cases.
    pub cases: usize,
    /// Of them, right ones.
    pub correct: usize,
    /// What the cases said of themselves.
    pub mean_confidence: f64,
    /// The share of right ones.
    pub accuracy: f64,
    /// The 95 % interval of that share (Wilson).
    pub interval: Interval,
}

/// What cases said of themselves against how many were right, in at most `bins_wanted` bins (1 to [`MAX_BINS`]) of
/// about equally many cases, the lowest confidence first.
///
/// # Errors
/// [`Unmeasurable::NoCases`].
pub fn reliability(cases: &[Judged], bins_wanted: usize) -> Result<Vec<ReliabilityBin>, Unmeasurable> {
    let row = |bin: Bin| ReliabilityBin {
        low: bin.low,
        high: bin.high,
        cases: bin.cases,
        correct: bin.correct,
        mean_confidence: bin.mean(),
        accuracy: bin.accuracy(),
        interval: wilson(bin.correct, bin.cases),
    };
    Ok(bins(&Groups::of(cases)?, bins_wanted).into_iter().map(row).collect())
}

/// The expected calibration error, `0..=1`, 0 is best.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Ece {
    /// The mean distance between confidence and share of right cases, over bins by their cases.
    pub value: f64,
    /// The bootstrapped 95 % interval. With few cases it lies above 0 even for a perfect model: chance alone
    /// makes a distance in each bin.
    pub interval: Interval,
}

/// The expected calibration error over bins of about equally many cases (Nguyen and O'Connor, 2015), with the
/// percentile interval of 1,000 resamples drawn from `seed`: equal seeds give equal intervals.
///
/// The work grows with 1,000 times the cases.
///
/// # Errors
/// [`Unmeasurable::NoCases`].
pub fn ece(cases: &[Judged], bins_wanted: usize, seed: u64) -> Result<Ece, Unmeasurable> {
    let value = distance(&Groups::of(cases)?, bins_wanted);
    let cases = sorted(cases);
    let mut random = SplitMix(seed);
    let mut resampled = Vec::with_capacity(RESAMPLES);
    let mut times = vec![0; cases.len()];
    for _ in 0..RESAMPLES {
        times.fill(0);
        for _ in 0..cases.len() {
            times[random.below(cases.len())] += 1;
        }
        let drawn = cases.iter().zip(&times).map(|((confidence, correct), times)| (*confidence, *correct, *times));
        resampled.push(distance(&Groups::counted(drawn)?, bins_wanted));
    }
    resampled.sort_by(f64::total_cmp);
    let interval = Interval { low: quantile(&resampled, 0.025), high: quantile(&resampled, 0.975) };
    Ok(Ece { value, interval })
}

fn distance(groups: &Groups, wanted: usize) -> f64 {
    let far = |bin: &Bin| share(bin.cases, groups.cases) * (bin.mean() - bin.accuracy()).abs();
    bins(groups, wanted).iter().map(far).sum()
}

/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A whole number below `end`.
    #[allow(clippy::cast_possible_truncation)] // below `end`
    fn below(&mut self, end: usize) -> usize {
        ((u128::from(self.next()) * end as u128) >> 64) as usize
    }
}
