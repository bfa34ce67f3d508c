//! Plugins that the tests of stages and pipelines share.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aiops_core::jiff::Timestamp;
use aiops_core::{
    BoxError, DetectionEvent, Detector, Evaluation, EventKind, Identity, Notice, NoticeKind, Notifier, NotifyError,
    Observer, PipelineEvent, Receipt, Severity, Sighting, Signal, Tick, detector_fn,
};

/// A quiet morning.
pub fn start() -> Timestamp {
    "2025-05-05T08:00:00Z".parse().unwrap()
}

pub fn after(seconds: u64) -> Timestamp {
    aiops_core::time::plus(start(), Duration::from_secs(seconds))
}

pub fn identity(service: &str) -> Identity {
    Identity::new(EventKind::MetricAnomaly, service, "P99LatencyAnomaly")
}

pub fn event(service: &str, severity: Severity, at: Timestamp) -> DetectionEvent {
    let signal =
        Signal::new(0.85).expected(0.12).score(7.1).threshold(3.0).window(Duration::from_secs(3_600)).unit("s").n(12);
    DetectionEvent::builder(EventKind::MetricAnomaly, service, severity, at, "zscore")
        .alertname("P99LatencyAnomaly")
        .signal(signal)
        .build()
}

/// Sees a service's anomaly in `from..to` seconds after the start, and says that all is well else.
pub fn anomaly(service: &'static str, every: u64, from: u64, to: u64) -> impl Detector {
    let name = format!("latency-{service}");
    seeing(name, every, move |tick| {
        if (after(from)..after(to)).contains(&tick.now) {
            Sighting::Firing(Box::new(event(service, Severity::Warning, tick.now)))
        } else {
            Sighting::Normal(identity(service))
        }
    })
}

/// A detector of one sighting an evaluation.
pub fn seeing(
    name: impl Into<String>,
    every: u64,
    see: impl Fn(Tick) -> Sighting + Send + Sync + 'static,
) -> impl Detector {
    detector_fn(name, Duration::from_secs(every), move |tick| {
        let seen: Result<Evaluation, BoxError> = Ok(Evaluation::new(vec![see(tick)]));
        async move { seen }
    })
}

/// What happened, in order, as short words: `announced checkout`, `triaged checkout`.
#[derive(Debug, Clone, Default)]
pub struct Journal(Arc<Mutex<Vec<String>>>);

impl Journal {
    pub fn add(&self, line: impl Into<String>) {
        self.0.lock().unwrap().push(line.into());
    }

    pub fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    pub fn count(&self, start: &str) -> usize {
        self.lines().iter().filter(|line| line.starts_with(start)).count()
    }
}

/// Writes notices into the journal; each must carry its sentence.
#[derive(Debug)]
pub struct Pager(pub Journal);

pub fn word(kind: &NoticeKind) -> &'static str {
    match kind {
        NoticeKind::Announced { .. } => "announced",
        NoticeKind::Updated { triaged: Some(_), .. } => "triaged",
        NoticeKind::Updated { .. } => "responded",
        NoticeKind::Escalated { .. } => "escalated",
        NoticeKind::AwaitingApproval { .. } => "awaiting",
        NoticeKind::Resolved => "resolved",
        _ => "other",
    }
}

#[async_trait::async_trait]
impl Notifier for Pager {
    fn channel(&self) -> &str {
        "pager"
    }

    async fn notify(&self, notice: &Notice, previous: Option<&Receipt>) -> Result<Receipt, NotifyError> {
        for part in ["value 0.85 s", "expected 0.12 s", "score 7.1", "threshold 3", "window 1h"] {
            assert!(notice.explain.contains(part), "{}", notice.explain);
        }
        self.0.add(format!("{} {}", word(&notice.kind), notice.service()));
        Ok(previous.cloned().unwrap_or_else(|| Receipt::new(notice.incident_id.as_str())))
    }
}

/// Writes every decision into the journal.
#[derive(Debug)]
pub struct Witness(pub Journal);

impl Observer for Witness {
    fn observe(&self, event: &PipelineEvent<'_>) {
        match event {
            PipelineEvent::Correlated { at, correlated } => {
                let id = correlated.episode_id().map(ToString::to_string).unwrap_or_default();
                self.0.add(format!("{at} {} {id}", correlated.decision.as_str()));
            }
            PipelineEvent::Triaged(triaged) => self.0.add(format!("report {}", triaged.incident_id)),
            PipelineEvent::Responded { response, .. } => self.0.add(response.disposition.as_str()),
            PipelineEvent::Noticed { notice, .. } => self.0.add(format!("notice {}", word(&notice.kind))),
            _ => {}
        }
    }
}

/// Tokio's paused time as a clock: everything that waits moves the time on, at once.
#[derive(Debug, Clone, Copy)]
pub struct PausedClock(tokio::time::Instant);

impl PausedClock {
    pub fn new() -> Self {
        Self(tokio::time::Instant::now())
    }

    pub fn seconds(&self) -> u64 {
        self.0.elapsed().as_secs()
    }
}

#[async_trait::async_trait]
impl aiops_core::Clock for PausedClock {
    fn now(&self) -> Timestamp {
        aiops_core::time::plus(start(), self.0.elapsed())
    }

    async fn sleep_until(&self, at: Timestamp) {
        // Tokio's timer counts whole milliseconds: one more, so that `now() >= at` holds.
        let left = aiops_core::time::since(at, self.now());
        if !left.is_zero() {
            tokio::time::sleep(left + Duration::from_millis(1)).await;
        }
    }
}

/// Runs a pipeline for so many seconds of its clock, then shuts it down.
pub async fn run_for(pipeline: aiops_core::Pipeline, seconds: u64) -> Result<(), aiops_core::StageError> {
    let shutdown = aiops_core::CancellationToken::new();
    let stop = shutdown.clone();
    let (outcome, ()) = tokio::join!(pipeline.run(shutdown), async {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        stop.cancel();
    });
    outcome
}
