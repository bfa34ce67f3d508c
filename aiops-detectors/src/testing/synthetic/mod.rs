//! A suite without labels: healthy series on which nobody should be woken, and faults that anybody
//! would see, all from seeds.
//!
//! [`healthy`] gives one series of a [`Kind`], [`with_fault`] the same series with one [`Fault`] in it,
//! and [`evaluate`] runs a scorer over all of them. Choosing settings by this suite cannot fit them to the
//! labels of a data set. The figures are those of no real system: they compare scorers, and show what
//! shape of series one cannot cope with.

mod distributions;
mod evaluate;
mod fault;
mod kind;
mod report;
mod shapes;

use std::time::Duration;

use jiff::Timestamp;

pub use self::evaluate::{Evaluation, evaluate};
pub use self::fault::Fault;
pub use self::kind::Kind;
pub use self::report::{FaultFigures, HealthyRun, InjectedRun, KindFigures, Report};
use crate::random::Random;
use crate::source::Sample;

const MINUTE: u64 = 60;
const HOUR: u64 = 3_600;
const DAY: u64 = 86_400;

/// Sampling steps of the suite: a scrape, a usual recording rule, and what cloud providers keep for long.
pub const STEPS: [Duration; 3] =
    [Duration::from_secs(MINUTE), Duration::from_secs(5 * MINUTE), Duration::from_secs(HOUR)];

/// Seeds of the suite.
pub const SEEDS: [u64; 2] = [1, 2];

/// Monday 2026-01-05 00:00 UTC, so that weekdays are known.
const START: i64 = 1_767_571_200;

/// The time that a series of this step covers: ten days below five minutes (fewer than Prometheus keeps
/// by default, 15, and one week season only), four weeks below an hour (four week seasons), else 120 days
/// (as the longer series of the public data sets have).
fn span(step: Duration) -> Duration {
    let days = match step.as_secs() {
        0..300 => 10,
        300..3_600 => 28,
        _ => 120,
    };
    Duration::from_secs(days * DAY)
}

/// One series of the suite.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct SyntheticSeries {
    /// `kind/step/seed`, and `/fault` where there is one; the step in seconds.
    pub name: String,
    /// Oldest first, finite, each time once.
    pub samples: Vec<Sample>,
    /// What was injected.
    pub faults: Vec<Injected>,
}

/// Where a fault is in a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Injected {
    /// Which.
    pub fault: Fault,
    /// The first changed sample.
    pub from: Timestamp,
    /// The first sample after it.
    pub to: Timestamp,
}

/// One sample as the generators make it.
#[derive(Debug, Clone, Copy)]
struct Raw {
    /// Seconds since the epoch.
    at: i64,
    value: f64,
    /// The value had the day's cycle not come; the value itself where there is no such cycle.
    quiet: f64,
    /// The unit of fault sizes here: see [`Fault`].
    unit: f64,
}

fn raw(kind: Kind, step: Duration, seed: u64) -> Vec<Raw> {
    // At least a second: times are whole seconds here.
    let step = step.as_secs().max(1);
    let mut random = Random::new(&[kind.key(), step, seed]);
    shapes::generate(kind, step, (span(Duration::from_secs(step)).as_secs() / step).max(1), &mut random)
}

fn series(name: String, raw: &[Raw]) -> SyntheticSeries {
    let at = |seconds| Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH);
    let samples = raw.iter().map(|raw| Sample { at: at(raw.at), value: raw.value }).collect();
    SyntheticSeries { name, samples, faults: Vec::new() }
}

/// A series without faults. The same arguments give the same bits.
#[must_use]
pub fn healthy(kind: Kind, step: Duration, seed: u64) -> SyntheticSeries {
    series(format!("{}/{}/{seed}", kind.name(), step.as_secs()), &raw(kind, step, seed))
}

/// [`healthy`] with one fault in its second half; equal to it before the fault and after it. None
/// where the kind does not carry that fault ([`Kind::faults`]).
#[must_use]
pub fn with_fault(kind: Kind, step: Duration, seed: u64, fault: Fault) -> Option<SyntheticSeries> {
    let mut raw = raw(kind, step, seed);
    let (from, to) = fault::inject(&mut raw, kind, step, seed, fault)?;
    let mut series = series(format!("{}/{}/{seed}/{}", kind.name(), step.as_secs(), fault.name()), &raw);
    let (from, to) = (series.samples[from].at, series.samples[to].at);
    series.faults.push(Injected { fault, from, to });
    Some(series)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bits(series: &SyntheticSeries) -> Vec<(Timestamp, u64)> {
        series.samples.iter().map(|sample| (sample.at, sample.value.to_bits())).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_bits_and_another_one_does_not() {
        for kind in Kind::ALL {
            let one = healthy(*kind, STEPS[2], 1);
            assert_eq!(bits(&one), bits(&healthy(*kind, STEPS[2], 1)), "{kind:?}");
            if !matches!(kind, Kind::Flat | Kind::Zeros) {
                assert_ne!(bits(&one), bits(&healthy(*kind, STEPS[2], 2)), "{kind:?}");
            }
        }
    }

    #[test]
    fn there_are_enough_kinds_each_finite_and_in_order() {
        assert!(Kind::ALL.len() >= 22);
        for kind in Kind::ALL {
            for step in STEPS {
                let series = healthy(*kind, step, 1);
                assert!(series.samples.len() >= 2_000, "{}: {}", series.name, series.samples.len());
                assert!(series.samples.iter().all(|sample| sample.value.is_finite()), "{}", series.name);
                assert!(series.samples.is_sorted_by(|a, b| a.at < b.at), "{}", series.name);
            }
        }
    }

    #[test]
    fn a_fault_changes_its_own_samples_and_no_other() {
        let carriers = Kind::ALL.iter().filter(|kind| !kind.faults().is_empty());
        assert!(carriers.count() >= 10);
        for kind in Kind::ALL {
            for (step, fault) in STEPS.iter().flat_map(|step| Fault::ALL.iter().map(move |fault| (*step, *fault))) {
                let Some(faulty) = with_fault(*kind, step, 2, fault) else {
                    assert!(!kind.faults().contains(&fault));
                    continue;
                };
                let clean = healthy(*kind, step, 2);
                let injected = faulty.faults[0];
                let mut changed = 0;
                for (one, other) in clean.samples.iter().zip(&faulty.samples) {
                    assert_eq!(one.at, other.at);
                    if one.at < injected.from || one.at >= injected.to {
                        assert_eq!(one.value.to_bits(), other.value.to_bits(), "{} at {}", faulty.name, one.at);
                    } else {
                        changed += usize::from(one.value != other.value);
                    }
                    assert!(other.value.is_finite());
                }
                assert!(changed > 0, "{}", faulty.name);
            }
        }
    }

    #[test]
    fn an_unusual_step_is_no_panic() {
        for step in [7, 30, DAY, 60 * DAY, 1_000 * DAY] {
            for kind in [Kind::Gaps, Kind::DailyBatch, Kind::DailyWeekend, Kind::DstShift] {
                let step = Duration::from_secs(step);
                assert!(!healthy(kind, step, 1).samples.is_empty());
                let _ = with_fault(kind, step, 1, Fault::MissingSeason);
            }
        }
    }
}
