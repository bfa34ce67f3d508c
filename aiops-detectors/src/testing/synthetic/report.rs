//! What a scorer did on the suite, and its figures.

use std::fmt;
use std::time::Duration;

use super::{Fault, Kind};

/// A healthy series that was scored.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HealthyRun {
    /// Its kind.
    pub kind: Kind,
    /// Its sampling step.
    pub step: Duration,
    /// Its seed.
    pub seed: u64,
    /// Samples that count.
    pub scored: usize,
    /// Episodes among them, all of them false.
    pub episodes: usize,
    /// Samples in alert among them.
    pub alerts: usize,
}

/// A fault that was injected.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct InjectedRun {
    /// The kind of its series.
    pub kind: Kind,
    /// Its sampling step.
    pub step: Duration,
    /// Its seed.
    pub seed: u64,
    /// Which fault.
    pub fault: Fault,
    /// Samples from the fault's first to the first in alert (0 is at once); none where it was missed.
    pub delay: Option<usize>,
}

/// Figures of one kind over its steps and seeds.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct KindFigures {
    /// Which.
    pub kind: Kind,
    /// False episodes per 1,000 samples.
    pub false_per_1000: f64,
    /// The same for each step.
    pub by_step: Vec<(Duration, f64)>,
    /// Faults injected into it, and how many of them were caught.
    pub injected: usize,
    /// See `injected`.
    pub caught: usize,
}

/// Figures of one fault over kinds, steps and seeds.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct FaultFigures {
    /// Which.
    pub fault: Fault,
    /// How many.
    pub injected: usize,
    /// How many of them were caught.
    pub caught: usize,
    /// Median samples to the alert, of those caught.
    pub median_delay: Option<f64>,
}

/// What a scorer did on the suite. Its `Display` is a table.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Report {
    /// The scorer.
    pub scorer: &'static str,
    /// From which statistic on a sample was in alert.
    pub threshold: f64,
    /// One run for each healthy series.
    pub healthy: Vec<HealthyRun>,
    /// One run for each fault.
    pub injected: Vec<InjectedRun>,
}

fn ratio(part: usize, of: usize) -> f64 {
    if of == 0 { 0.0 } else { part as f64 / of as f64 }
}

fn per_1000<'a>(runs: impl Iterator<Item = &'a HealthyRun>) -> f64 {
    let (episodes, scored) = runs.fold((0, 0), |(e, s), run| (e + run.episodes, s + run.scored));
    1_000.0 * ratio(episodes, scored)
}

fn median(mut delays: Vec<usize>) -> Option<f64> {
    delays.sort_unstable();
    let (low, high) = (delays.get(delays.len().checked_sub(1)? / 2)?, delays.get(delays.len() / 2)?);
    Some((low + high) as f64 / 2.0)
}

impl Report {
    /// Each kind that ran, in the order of [`Kind::ALL`].
    #[must_use]
    pub fn kinds(&self) -> Vec<KindFigures> {
        let ran = Kind::ALL.iter().filter(|kind| self.healthy.iter().any(|run| run.kind == **kind));
        ran.map(|kind| self.kind(*kind)).collect()
    }

    fn kind(&self, kind: Kind) -> KindFigures {
        let runs = || self.healthy.iter().filter(|run| run.kind == kind);
        let mut steps: Vec<Duration> = runs().map(|run| run.step).collect();
        steps.sort_unstable();
        steps.dedup();
        let by_step = steps.into_iter().map(|step| (step, per_1000(runs().filter(|run| run.step == step))));
        let injected = || self.injected.iter().filter(|run| run.kind == kind);
        KindFigures {
            kind,
            false_per_1000: per_1000(runs()),
            by_step: by_step.collect(),
            injected: injected().count(),
            caught: injected().filter(|run| run.delay.is_some()).count(),
        }
    }

    /// Each fault, in the order of [`Fault::ALL`].
    #[must_use]
    pub fn faults(&self) -> Vec<FaultFigures> {
        let figures = |fault: &Fault| {
            let runs = || self.injected.iter().filter(|run| run.fault == *fault);
            let delays: Vec<usize> = runs().filter_map(|run| run.delay).collect();
            let caught = delays.len();
            FaultFigures { fault: *fault, injected: runs().count(), caught, median_delay: median(delays) }
        };
        Fault::ALL.iter().map(figures).collect()
    }

    /// False episodes per 1,000 samples, the mean over the kinds.
    #[must_use]
    pub fn mean_false_per_1000(&self) -> f64 {
        let kinds = self.kinds();
        kinds.iter().map(|kind| kind.false_per_1000).sum::<f64>() / (kinds.len().max(1)) as f64
    }

    /// The kind with the most false episodes; none where nothing ran.
    #[must_use]
    pub fn worst(&self) -> Option<KindFigures> {
        self.kinds().into_iter().max_by(|one, other| one.false_per_1000.total_cmp(&other.false_per_1000))
    }

    /// Share of the spikes, drops and shifts that were caught ([`Fault::must_show`]).
    #[must_use]
    pub fn recall(&self) -> f64 {
        self.recall_of(Fault::must_show)
    }

    /// Share of all faults that were caught.
    #[must_use]
    pub fn recall_all(&self) -> f64 {
        self.recall_of(|_| true)
    }

    fn recall_of(&self, counts: impl Fn(Fault) -> bool) -> f64 {
        let runs = || self.injected.iter().filter(|run| counts(run.fault));
        ratio(runs().filter(|run| run.delay.is_some()).count(), runs().count())
    }

    /// Share of the healthy samples that were in alert.
    #[must_use]
    pub fn alert_share(&self) -> f64 {
        let (alerts, scored) = self.healthy.iter().fold((0, 0), |(a, s), run| (a + run.alerts, s + run.scored));
        ratio(alerts, scored)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "scorer {}, threshold {}", self.scorer, self.threshold)?;
        let kinds = self.kinds();
        write!(f, "\n{:<18} {:>11}", "kind", "false/1,000")?;
        for (step, _) in kinds.first().map_or(&[][..], |kind| &kind.by_step) {
            write!(f, " {:>8}", format!("{} s", step.as_secs()))?;
        }
        writeln!(f, " {:>9}", "caught")?;
        for kind in &kinds {
            write!(f, "{:<18} {:>11.2}", kind.kind.name(), kind.false_per_1000)?;
            for (_, rate) in &kind.by_step {
                write!(f, " {rate:>8.2}")?;
            }
            let caught = if kind.injected == 0 { String::new() } else { format!("{}/{}", kind.caught, kind.injected) };
            writeln!(f, " {caught:>9}")?;
        }
        writeln!(f, "\n{:<18} {:>9} {:>7} {:>13}", "fault", "caught", "recall", "median delay")?;
        for fault in self.faults() {
            let caught = format!("{}/{}", fault.caught, fault.injected);
            let recall = ratio(fault.caught, fault.injected);
            let delay = fault.median_delay.map_or_else(|| "-".to_owned(), |delay| format!("{delay} samples"));
            writeln!(f, "{:<18} {caught:>9} {recall:>7.2} {delay:>13}", fault.fault.name())?;
        }
        let worst = self
            .worst()
            .map_or_else(String::new, |kind| format!(", worst {} {:.2}", kind.kind.name(), kind.false_per_1000));
        writeln!(f, "\nfalse episodes per 1,000 samples: mean over kinds {:.2}{worst}", self.mean_false_per_1000())?;
        writeln!(f, "samples in alert: {:.2} %", 100.0 * self.alert_share())?;
        write!(f, "recall: {:.2} of spikes, drops and shifts, {:.2} of all faults", self.recall(), self.recall_all())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_of_nothing_is_no_division_by_zero() {
        let report = Report { scorer: "none", threshold: 1.0, healthy: Vec::new(), injected: Vec::new() };
        assert_eq!((report.mean_false_per_1000(), report.recall(), report.worst()), (0.0, 0.0, None));
        assert!(!report.to_string().contains("NaN"));
    }

    #[test]
    fn the_median_of_an_even_number_is_between_the_middle_two() {
        assert_eq!((median(vec![]), median(vec![4]), median(vec![9, 1, 4, 2])), (None, Some(4.0), Some(3.0)));
    }
}
