//! A triager that answers when another one cannot.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aiops_core::plugin::guarded;
use aiops_core::time::minus;
use aiops_core::{Clock, Confidence, SystemClock, Triage, TriageError, TriageRequest, Triager, error_chain};
use async_trait::async_trait;

/// Kept of the deadline for the fallback: rules answer in milliseconds.
const RESERVE: Duration = Duration::from_secs(2);

/// Asks a triager, and another one where the first fails, panics or runs out of time.
///
/// The fallback's answer is for a person: without actions, with confidence 0, and
/// `provenance.fallback_reason` says why the first gave none. Counted as `aiops_triage_fallback_total{triager}`.
///
/// ```
/// use aiops_core::{TriageReport, triager_fn};
/// use aiops_llm::{RuleTriager, WithFallback};
///
/// let ours = triager_fn("ours", |request| async move { Ok(TriageReport::new(request.event.explain())) });
/// let triager = WithFallback::new(ours, RuleTriager::default());
/// ```
pub struct WithFallback<P, F> {
    primary: P,
    fallback: F,
    reserve: Duration,
    clock: Arc<dyn Clock>,
}

impl<P: fmt::Debug, F: fmt::Debug> fmt::Debug for WithFallback<P, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WithFallback").field("primary", &self.primary).field("fallback", &self.fallback).finish()
    }
}

impl<P: Triager, F: Triager> WithFallback<P, F> {
    /// Asks `primary` until two seconds before the deadline, then `fallback`.
    pub fn new(primary: P, fallback: F) -> Self {
        Self { primary, fallback, reserve: RESERVE, clock: Arc::new(SystemClock) }
    }

    /// How much of the deadline is kept for the fallback (default 2 s).
    #[must_use]
    pub fn reserve(mut self, reserve: Duration) -> Self {
        self.reserve = reserve;
        self
    }

    /// Another clock.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }
}

#[async_trait]
impl<P: Triager, F: Triager> Triager for WithFallback<P, F> {
    fn name(&self) -> &str {
        self.primary.name()
    }

    async fn triage(&self, request: &TriageRequest) -> Result<Triage, TriageError> {
        let mut asked = request.clone();
        asked.deadline = minus(request.deadline, self.reserve);
        let reason = match guarded(&*self.clock, asked.deadline, self.primary.triage(&asked)).await {
            Ok(Ok(triage)) => return Ok(triage),
            Ok(Err(error)) => error_chain(&error),
            Err(fault) => format!("triager {:?} {}", self.primary.name(), fault.plain()),
        };
        metrics::counter!("aiops_triage_fallback_total", "triager" => self.primary.name().to_owned()).increment(1);
        tracing::warn!(incident = %request.incident_id, reason, "the fallback triager answers");
        Ok(for_a_person(self.fallback.triage(request).await?, &reason))
    }
}

/// Marks a fallback's answer as what it is: for a person, without actions, of no confidence.
pub(crate) fn for_a_person(mut triage: Triage, reason: &str) -> Triage {
    triage.report.recommended_actions.clear();
    triage.report.confidence = Confidence::ZERO;
    triage.report.needs_human = true;
    triage.provenance.fallback_reason = Some(aiops_core::text::clip(reason, 300));
    triage
}

#[cfg(test)]
mod tests {
    use aiops_core::testing::ManualClock;
    use aiops_core::{DetectionEvent, Severity, TriageContext, TriageReport, jiff::Timestamp, triager_fn};

    use super::*;
    use crate::RuleTriager;

    fn request() -> TriageRequest {
        let at = Timestamp::UNIX_EPOCH;
        let event = DetectionEvent::builder("k".into(), "web", Severity::Warning, at, "d").build();
        TriageRequest::new("inc".into(), event, TriageContext::default(), at, at + Duration::from_secs(10))
    }

    fn report() -> TriageReport {
        TriageReport::new("from the first")
    }

    async fn answer(primary: impl Triager) -> Triage {
        let clock = ManualClock::new(Timestamp::UNIX_EPOCH);
        let triager = WithFallback::new(primary, RuleTriager::default()).with_clock(clock.clone());
        let asked = request();
        let late = async {
            clock.wait_for_sleepers(1).await;
            clock.advance(Duration::from_secs(8));
            std::future::pending::<()>().await;
        };
        tokio::select! {
            triage = triager.triage(&asked) => triage.unwrap(),
            () = late => unreachable!(),
        }
    }

    #[tokio::test]
    async fn the_first_answers_when_it_can() {
        let triage = answer(triager_fn("ours", |_| async { Ok(report()) })).await;
        assert_eq!((triage.report.summary.as_str(), triage.provenance.fallback_reason), ("from the first", None));
    }

    #[tokio::test]
    async fn a_failure_a_panic_and_a_hang_are_answered_by_rules_with_the_reason() {
        let failed = answer(triager_fn("ours", |_| async { Err("quota used up".into()) })).await;
        assert_eq!(
            failed.provenance.fallback_reason.as_deref(),
            Some("triager \"ours\" gave no report: quota used up")
        );
        let panicked = answer(triager_fn("ours", |_| async { panic!("secret") })).await;
        assert_eq!(panicked.provenance.fallback_reason.as_deref(), Some("triager \"ours\" panicked"));
        let hung = answer(triager_fn("ours", |_| std::future::pending())).await;
        let reason = hung.provenance.fallback_reason.unwrap();
        assert_eq!(reason, "triager \"ours\" gave no answer within 8s");
        for triage in [failed.report, panicked.report, hung.report] {
            assert!(triage.needs_human && triage.recommended_actions.is_empty());
        }
    }
}
