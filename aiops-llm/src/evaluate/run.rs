//! Replays incidents through a triager.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aiops_core::calibration::CalibrationSettings;
use aiops_core::plugin::guarded;
use aiops_core::time::{plus, since};
use aiops_core::{Clock, Confidence, SystemClock, Triager, error_chain, text};

use super::IncidentSet;
use super::report::EvaluationReport;
use super::score::Scorer;

/// Every answer is kept in the report.
const MAX_REPEATS: u32 = 1_000;
/// The threshold of a policy unless it says otherwise.
const THRESHOLD: f64 = 0.7;

/// How recorded incidents are replayed and scored.
///
/// A triager that keeps answers gives the same one to each repeat: build it with
/// [`cache_for`](crate::LlmTriagerBuilder::cache_for)`(Duration::ZERO)`, and with a
/// [`salt`](crate::LlmTriagerBuilder::salt) where a cassette answers.
pub struct Evaluation {
    settings: CalibrationSettings,
    repeats: u32,
    top: usize,
    limit: Duration,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Evaluation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Evaluation")
            .field("settings", &self.settings)
            .field("repeats", &self.repeats)
            .field("top", &self.top)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

impl Default for Evaluation {
    fn default() -> Self {
        let threshold = Confidence::new(THRESHOLD).unwrap_or(Confidence::ZERO);
        Self {
            settings: CalibrationSettings::new(threshold),
            repeats: 1,
            top: 3,
            limit: Duration::from_secs(60),
            clock: Arc::new(SystemClock),
        }
    }
}

impl Evaluation {
    /// The policy's threshold (default 0.7), the wanted error rate, and the seed of intervals.
    #[must_use]
    pub fn calibration(mut self, settings: CalibrationSettings) -> Self {
        self.settings = settings;
        self
    }

    /// How often each incident is asked (default 1, from 1 to 1,000: every answer is kept).
    #[must_use]
    pub fn repeats(mut self, repeats: u32) -> Self {
        self.repeats = repeats.clamp(1, MAX_REPEATS);
        self
    }

    /// Among how many causes the right one is looked for (default 3, at least 1).
    #[must_use]
    pub fn top(mut self, causes: usize) -> Self {
        self.top = causes.max(1);
        self
    }

    /// How long one answer may take (default 60 s).
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Another clock: the triager's.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Asks `triager` about every incident, one after the other. One that fails, panics or is late costs that answer
    /// only.
    pub async fn run(&self, triager: &dyn Triager, set: &IncidentSet) -> EvaluationReport {
        let scorer = Scorer { menu: set.menu.as_ref(), threshold: self.settings.threshold, top: self.top };
        let mut scores = Vec::new();
        for incident in &set.incidents {
            for repeat in 1..=self.repeats {
                let started = self.clock.now();
                let deadline = plus(started, self.limit);
                let request = incident.request(deadline);
                let answer = match guarded(&*self.clock, deadline, triager.triage(&request)).await {
                    Ok(Ok(triage)) => Ok(triage),
                    Ok(Err(error)) => Err(text::clip(&error_chain(&error), 300)),
                    Err(fault) => Err(fault.plain()),
                };
                let mut score = scorer.score(incident, answer);
                score.repeat = repeat;
                score.seconds = since(self.clock.now(), started).as_secs_f64();
                scores.push(score);
            }
        }
        EvaluationReport::new(triager.name(), set, scores, &self.settings, self.top, self.repeats)
    }
}
