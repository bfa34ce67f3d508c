//! Runs a scorer over the suite.

use std::time::Duration;

use super::{Fault, HealthyRun, InjectedRun, Kind, Raw, Report, SEEDS, STEPS, fault, raw, series};
use crate::scorer::Scorer;
use crate::source::Sample;

/// Share of a series at its start that is not scored, as in NAB ("probationary period").
const UNSCORED: f64 = 0.15;
/// Alerts with at most this many calm samples between them are one episode.
const JOINED_OVER: usize = 3;

/// What is evaluated; by default all of it.
#[derive(Debug, Clone)]
#[must_use]
pub struct Evaluation {
    kinds: Vec<Kind>,
    steps: Vec<Duration>,
    seeds: Vec<u64>,
    threshold: Option<f64>,
}

impl Default for Evaluation {
    /// Every kind, the [`STEPS`], the [`SEEDS`], the scorer's default threshold.
    fn default() -> Self {
        Self { kinds: Kind::ALL.to_vec(), steps: STEPS.to_vec(), seeds: SEEDS.to_vec(), threshold: None }
    }
}

/// The whole suite at the scorer's default threshold.
#[must_use]
pub fn evaluate(prototype: &dyn Scorer) -> Report {
    Evaluation::default().run(prototype)
}

impl Evaluation {
    /// These kinds only.
    pub fn kinds(mut self, kinds: impl IntoIterator<Item = Kind>) -> Self {
        self.kinds = kinds.into_iter().collect();
        self
    }

    /// These sampling steps only.
    pub fn steps(mut self, steps: impl IntoIterator<Item = Duration>) -> Self {
        self.steps = steps.into_iter().collect();
        self
    }

    /// These seeds.
    pub fn seeds(mut self, seeds: impl IntoIterator<Item = u64>) -> Self {
        self.seeds = seeds.into_iter().collect();
        self
    }

    /// Another threshold than the scorer's own, in its statistic.
    pub fn threshold(mut self, threshold: f64) -> Self {
        self.threshold = Some(threshold);
        self
    }

    /// Scores each healthy series from its start and each fault after the healthy history before it.
    ///
    /// A sample is in alert where the statistic, either sign, reaches the threshold. An episode is a run
    /// of alerts with at most three calm samples between two of them. In a healthy series each episode
    /// after the first 15 % is false. A fault is caught where an episode *begins* in it: a scorer that is
    /// always in alert catches none. Faults of fewer than four samples are given four.
    #[must_use]
    pub fn run(&self, prototype: &dyn Scorer) -> Report {
        let threshold = self.threshold.unwrap_or_else(|| prototype.default_threshold());
        let mut report = Report { scorer: prototype.name(), threshold, healthy: Vec::new(), injected: Vec::new() };
        for kind in &self.kinds {
            for step in &self.steps {
                for seed in &self.seeds {
                    one(prototype, threshold, (*kind, *step, *seed), &mut report);
                }
            }
        }
        report
    }
}

/// A fault's series from the fault on, and up to where it may be caught.
struct Case {
    fault: Fault,
    from: usize,
    samples: Vec<Sample>,
}

/// One healthy series, and each of its faults from the state that the scorer had before it: what came
/// before is the same, so scoring it again would give the same.
fn one(prototype: &dyn Scorer, threshold: f64, (kind, step, seed): (Kind, Duration, u64), report: &mut Report) {
    let clean: Vec<Raw> = raw(kind, step, seed);
    let mut cases: Vec<Case> =
        kind.faults().iter().filter_map(|fault| case(&clean, (kind, step, seed), *fault)).collect();
    cases.sort_by_key(|case| case.from);
    let mut cases = cases.into_iter().peekable();

    let samples = series(String::new(), &clean).samples;
    let first = (samples.len() as f64 * UNSCORED) as usize;
    let mut scorer = prototype.fresh();
    let mut episodes = Episodes::default();
    let mut run = HealthyRun { kind, step, seed, scored: samples.len() - first, episodes: 0, alerts: 0 };
    for (index, sample) in samples.iter().enumerate() {
        while let Some(case) = cases.next_if(|case| case.from == index) {
            let (saved, mut other) = (scorer.save(), prototype.fresh());
            // A scorer that cannot read its own state starts anew, and misses the fault.
            let _ = other.restore(&saved);
            let delay = caught(other.as_mut(), threshold, episodes, &case);
            report.injected.push(InjectedRun { kind, step, seed, fault: case.fault, delay });
        }
        let alert = alerts(scorer.as_mut(), threshold, sample);
        if index >= first {
            run.alerts += usize::from(alert);
            run.episodes += usize::from(episodes.begins(alert));
        }
    }
    report.healthy.push(run);
}

fn case(clean: &[Raw], (kind, step, seed): (Kind, Duration, u64), fault: Fault) -> Option<Case> {
    let mut faulty = clean.to_vec();
    let (from, to) = fault::inject(&mut faulty, kind, step, seed, fault)?;
    let to = to.max(from + 1 + JOINED_OVER).min(faulty.len());
    Some(Case { fault, from, samples: series(String::new(), &faulty[from..to]).samples })
}

/// Samples from the fault's first to the first of an episode.
fn caught(scorer: &mut dyn Scorer, threshold: f64, mut episodes: Episodes, case: &Case) -> Option<usize> {
    case.samples.iter().position(|sample| {
        let alert = alerts(scorer, threshold, sample);
        episodes.begins(alert)
    })
}

fn alerts(scorer: &mut dyn Scorer, threshold: f64, sample: &Sample) -> bool {
    scorer.observe(sample.at, sample.value).statistic.abs() >= threshold
}

/// Joins alerts to episodes.
#[derive(Debug, Clone, Copy, Default)]
struct Episodes {
    /// How far back the last alert is: 1 for the sample right after it. None before the first.
    since: Option<usize>,
}

impl Episodes {
    /// Takes the next sample; whether an episode begins with it.
    fn begins(&mut self, alert: bool) -> bool {
        let running = self.since.is_some_and(|since| since <= JOINED_OVER + 1);
        self.since = if alert { Some(1) } else { self.since.map(|since| since.saturating_add(1)) };
        alert && !running
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::scorer::{Score, ScorerStateError, SeasonalZScore};

    /// Alerts on every `every`th sample of a whole series; 0 is never.
    #[derive(Debug, Default)]
    struct Clockwork {
        every: u64,
        seen: u64,
    }

    impl Scorer for Clockwork {
        fn name(&self) -> &'static str {
            "clockwork"
        }
        fn default_threshold(&self) -> f64 {
            1.0
        }
        fn observe(&mut self, at: Timestamp, value: f64) -> Score {
            let mut score = SeasonalZScore::default().observe(at, value);
            self.seen += 1;
            score.statistic = if self.every > 0 && self.seen.is_multiple_of(self.every) { -2.0 } else { 0.0 };
            score
        }
        fn save(&self) -> Vec<u8> {
            self.seen.to_le_bytes().to_vec()
        }
        fn restore(&mut self, bytes: &[u8]) -> Result<(), ScorerStateError> {
            self.seen = u64::from_le_bytes(bytes.try_into().unwrap());
            Ok(())
        }
        fn size_bytes(&self) -> usize {
            size_of::<Self>()
        }
        fn fresh(&self) -> Box<dyn Scorer> {
            Box::new(Self { every: self.every, seen: 0 })
        }
    }

    fn run(every: u64) -> Report {
        Evaluation::default().steps([STEPS[2]]).run(&Clockwork { every, seen: 0 })
    }

    #[test]
    fn a_scorer_that_never_alerts_has_no_false_episodes_and_no_recall() {
        let report = run(0);
        assert_eq!((report.mean_false_per_1000(), report.recall(), report.recall_all()), (0.0, 0.0, 0.0));
        assert!(report.faults().iter().all(|figures| figures.injected > 0 && figures.median_delay.is_none()));
    }

    #[test]
    fn a_scorer_that_always_alerts_has_one_episode_a_series_and_no_recall() {
        let report = run(1);
        assert!(report.healthy.iter().all(|run| run.episodes == 1 && run.alerts == run.scored));
        assert_eq!((report.recall(), report.alert_share()), (0.0, 1.0));
        // Alerts four samples apart have three calm ones between them: one episode still.
        assert!(run(4).healthy.iter().all(|run| run.episodes == 1));
    }

    #[test]
    fn alerts_further_apart_are_episodes_of_their_own() {
        let report = run(5);
        for run in &report.healthy {
            assert!(run.episodes.abs_diff(run.scored / 5) <= 1, "{run:?}");
        }
        assert!((report.mean_false_per_1000() - 200.0).abs() < 1.0, "{}", report.mean_false_per_1000());
        // Any five samples hold one: all but short faults are caught, with a delay of at most four.
        let shift = report.faults().into_iter().find(|figures| figures.fault == Fault::Shift).unwrap();
        assert_eq!(shift.caught, shift.injected);
        assert!(shift.median_delay.unwrap() <= 4.0);
    }

    #[test]
    fn a_threshold_of_the_host_replaces_the_scorers() {
        let report = Evaluation::default().kinds([Kind::Flat]).threshold(3.0).run(&Clockwork { every: 1, seen: 0 });
        assert_eq!((report.threshold, report.mean_false_per_1000()), (3.0, 0.0));
    }
}
