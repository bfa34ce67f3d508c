//! Plugins that say what a test tells them to, and remember what they were asked.
//!
//! For a plugin that only fails, a closure is shorter:
//! `detector_fn("broken", every, |_| async { Err("refused".into()) })`.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::detector::{Detector, DetectorError, Evaluation, Sighting, Tick};
use crate::event::DetectionEvent;
use crate::lock::lock;
use crate::names::EventId;
use crate::notify::{Notice, Notifier, NotifyError, Receipt};
use crate::responder::{Disposition, Plan, RespondError, Responder, Response};
use crate::triage::{Provenance, Triage, TriageError, TriageReport, TriageRequest, Triaged, Triager};

/// A detector that plays a script, one entry for each evaluation; afterwards it sees nothing.
#[derive(Debug)]
pub struct ScriptedDetector {
    name: String,
    every: Duration,
    script: Mutex<VecDeque<Result<Evaluation, String>>>,
    ticks: Mutex<Vec<Tick>>,
}

impl ScriptedDetector {
    /// A detector with an empty script.
    pub fn new(name: impl Into<String>, every: Duration) -> Self {
        Self { name: name.into(), every, script: Mutex::default(), ticks: Mutex::default() }
    }

    /// The next evaluation sees this.
    #[must_use]
    pub fn then(self, sightings: Vec<Sighting>) -> Self {
        lock(&self.script).push_back(Ok(Evaluation::new(sightings)));
        self
    }

    /// The next evaluation sees this event.
    #[must_use]
    pub fn then_firing(self, event: DetectionEvent) -> Self {
        self.then(vec![Sighting::Firing(Box::new(event))])
    }

    /// The next evaluation fails, retryably.
    #[must_use]
    pub fn then_error(self, why: impl Into<String>) -> Self {
        lock(&self.script).push_back(Err(why.into()));
        self
    }

    /// The ticks it was evaluated at.
    #[must_use]
    pub fn ticks(&self) -> Vec<Tick> {
        lock(&self.ticks).clone()
    }
}

#[async_trait]
impl Detector for ScriptedDetector {
    fn name(&self) -> &str {
        &self.name
    }

    fn every(&self) -> Duration {
        self.every
    }

    async fn evaluate(&self, tick: Tick) -> Result<Evaluation, DetectorError> {
        lock(&self.ticks).push(tick);
        let next = lock(&self.script).pop_front();
        next.unwrap_or_else(|| Ok(Evaluation::default())).map_err(|why| DetectorError::retryable(&self.name, why))
    }
}

/// A triager that plays a script; after its end, the last entry again. An empty script asks a person.
#[derive(Debug)]
pub struct ScriptedTriager {
    name: String,
    script: Mutex<VecDeque<Result<TriageReport, String>>>,
    requests: Mutex<Vec<TriageRequest>>,
}

impl ScriptedTriager {
    /// A triager with an empty script.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), script: Mutex::default(), requests: Mutex::default() }
    }

    /// The next answer is this report.
    #[must_use]
    pub fn then(self, report: TriageReport) -> Self {
        lock(&self.script).push_back(Ok(report));
        self
    }

    /// The next answer is a retryable error.
    #[must_use]
    pub fn then_error(self, why: impl Into<String>) -> Self {
        lock(&self.script).push_back(Err(why.into()));
        self
    }

    /// What it was asked.
    #[must_use]
    pub fn requests(&self) -> Vec<TriageRequest> {
        lock(&self.requests).clone()
    }
}

#[async_trait]
impl Triager for ScriptedTriager {
    fn name(&self) -> &str {
        &self.name
    }

    async fn triage(&self, request: &TriageRequest) -> Result<Triage, TriageError> {
        lock(&self.requests).push(request.clone());
        let mut script = lock(&self.script);
        let next = if script.len() > 1 { script.pop_front() } else { script.front().cloned() };
        drop(script);
        next.unwrap_or_else(|| Ok(TriageReport::new(request.event.explain())))
            .map(|report| Triage::new(report, Provenance::new(&self.name)))
            .map_err(|why| TriageError::retryable(&self.name, why))
    }
}

/// A channel that keeps what it was sent. Its receipt is the number of the notice, counted from 1.
#[derive(Debug)]
pub struct RecordingNotifier {
    channel: String,
    failures: AtomicUsize,
    sent: Mutex<Vec<(Notice, Option<Receipt>)>>,
}

impl RecordingNotifier {
    /// A channel that takes everything.
    pub fn new(channel: impl Into<String>) -> Self {
        Self { channel: channel.into(), failures: AtomicUsize::new(0), sent: Mutex::default() }
    }

    /// The next `count` notices fail, retryably.
    #[must_use]
    pub fn failing(self, count: usize) -> Self {
        self.failures.store(count, Ordering::Relaxed);
        self
    }

    /// The notices it took, in order.
    #[must_use]
    pub fn notices(&self) -> Vec<Notice> {
        lock(&self.sent).iter().map(|(notice, _)| notice.clone()).collect()
    }

    /// The notices it took, each with the receipt that came with it.
    #[must_use]
    pub fn sent(&self) -> Vec<(Notice, Option<Receipt>)> {
        lock(&self.sent).clone()
    }
}

#[async_trait]
impl Notifier for RecordingNotifier {
    fn channel(&self) -> &str {
        &self.channel
    }

    async fn notify(&self, notice: &Notice, previous: Option<&Receipt>) -> Result<Receipt, NotifyError> {
        let less = |left: usize| left.checked_sub(1);
        if self.failures.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok() {
            return Err(NotifyError::retryable(&self.channel, "told to fail"));
        }
        let mut sent = lock(&self.sent);
        sent.push((notice.clone(), previous.cloned()));
        Ok(Receipt::new(sent.len()))
    }
}

/// A responder that keeps what it was given and answers the same to all; a report that it has seen is
/// a duplicate.
#[derive(Debug)]
pub struct RecordingResponder {
    answer: Disposition,
    failures: AtomicUsize,
    seen: Mutex<Vec<EventId>>,
    reports: Mutex<Vec<Triaged>>,
    resolved: Mutex<Vec<DetectionEvent>>,
}

impl RecordingResponder {
    /// A responder with one answer.
    #[must_use]
    pub fn new(answer: Disposition) -> Self {
        Self {
            answer,
            failures: AtomicUsize::new(0),
            seen: Mutex::default(),
            reports: Mutex::default(),
            resolved: Mutex::default(),
        }
    }

    /// The next `count` reports fail, retryably.
    #[must_use]
    pub fn failing(self, count: usize) -> Self {
        self.failures.store(count, Ordering::Relaxed);
        self
    }

    /// The reports it answered, duplicates left out.
    #[must_use]
    pub fn reports(&self) -> Vec<Triaged> {
        lock(&self.reports).clone()
    }

    /// The resolves it was told of.
    #[must_use]
    pub fn resolves(&self) -> Vec<DetectionEvent> {
        lock(&self.resolved).clone()
    }
}

#[async_trait]
impl Responder for RecordingResponder {
    async fn respond(&self, triaged: &Triaged, now: Timestamp) -> Result<Response, RespondError> {
        let less = |left: usize| left.checked_sub(1);
        if self.failures.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok() {
            return Err(RespondError::retryable(triaged.incident_id.clone(), "told to fail"));
        }
        let mut seen = lock(&self.seen);
        let disposition = if seen.contains(&triaged.event.event_id) {
            Disposition::Duplicate
        } else {
            seen.push(triaged.event.event_id.clone());
            lock(&self.reports).push(triaged.clone());
            self.answer.clone()
        };
        Ok(Response::new(triaged.incident_id.clone(), disposition, Plan::default(), now))
    }

    async fn resolved(&self, event: &DetectionEvent, _now: Timestamp) -> Result<(), RespondError> {
        lock(&self.resolved).push(event.clone());
        Ok(())
    }
}
