//! Remediation: one disposition for each report, and a word to the responder when an episode ends.

use std::sync::Arc;
use std::time::Duration;

use tracing::Instrument;

use super::inbox::{poison, publish, settled};
use super::lanes::Lanes;
use super::span::span_of;
use super::{Measured, StageParts, ended};
use crate::bus::{Delivery, Envelope, EventBus, RESPONSES, TraceContext};
use crate::error::error_chain;
use crate::event::{DetectionEvent, Status};
use crate::incident_log::{IncidentEntry, IncidentRecord};
use crate::names::IncidentId;
use crate::notify::{Notice, NoticeKind};
use crate::observer::PipelineEvent;
use crate::plugin::{caught, guarded};
use crate::responder::{Disposition, Plan, Recovered, RespondError, Responder, Response};
use crate::time::{plus, since};
use crate::triage::Triaged;

/// The stage's name in errors and metrics.
pub(super) const STAGE: &str = "remediation";
/// Below the ack deadline of the bus (5 min), so that a report is not with two responders at once.
const RESPOND_DEADLINE: Duration = Duration::from_secs(240);
/// Reports being answered at a time.
const AT_ONCE: usize = 4;
/// Attempts before a person is told instead; the in-process bus gives up after as many.
const MAX_ATTEMPTS: u32 = 5;
/// The wait after the first failed attempt; it doubles with each.
const FIRST_BACKOFF: Duration = Duration::from_secs(5);
/// No wait between attempts is longer.
const LONGEST_BACKOFF: Duration = Duration::from_secs(300);
/// Between two looks for what was left without an answer.
const RECOVER_EVERY: Duration = Duration::from_secs(30);
/// Messages taken off the bus and not answered yet.
const HELD: usize = 256;

/// Builds a [`RemediationStage`].
#[derive(Debug)]
#[must_use]
pub struct RemediationStageBuilder {
    work: Work,
    at_once: usize,
}

impl RemediationStageBuilder {
    /// How long the responder may take (default 4 min). It must stay below the bus' ack deadline.
    pub fn respond_deadline(mut self, deadline: Duration) -> Self {
        self.work.deadline = deadline;
        self
    }

    /// Attempts before the report goes to the dead letter and a person is told (default 5, at least 1;
    /// at most as many as the bus makes).
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.work.max_attempts = attempts.max(1);
        self
    }

    /// How often it looks for what has no answer, and tries notices again that no channel took (default 30 s).
    pub fn recover_every(mut self, time: Duration) -> Self {
        self.work.recover_every = time;
        self
    }

    /// Reports being answered at a time (default 4, at least 1).
    pub fn at_once(mut self, reports: usize) -> Self {
        self.at_once = reports.max(1);
        self
    }

    /// The stage.
    #[must_use]
    pub fn build(self) -> RemediationStage {
        RemediationStage { work: Arc::new(self.work), lanes: Lanes::new(self.at_once), held: 0 }
    }
}

/// The remediation layer: asks the responder, publishes its answer, tells people.
///
/// - A report is acked once it is answered or the responder has taken it over. A responder that fails, hangs or panicks gets it again,
///   with back-off; after the last attempt the report is a dead letter, its disposition is
///   `escalated`, and a person is told.
/// - Reports and resolves of one incident come to the responder one after the other, in order.
/// - At its start, every half minute (see [`recover_every`](RemediationStageBuilder::recover_every)) and when the responder asks for it, it calls the responder for reports
///   that waited, or that a crash or a deadline left without an answer, and tells what became of them.
/// - An answer that the bus does not take is counted and stands in the incident log: the report is not
///   asked again for it, since the responder has acted.
#[derive(Debug)]
pub struct RemediationStage {
    pub(crate) work: Arc<Work>,
    lanes: Lanes<IncidentId, Message>,
    held: usize,
}

/// What an answer needs; shared with its tasks.
#[derive(Debug)]
pub(crate) struct Work {
    pub(super) parts: Arc<StageParts>,
    responder: Arc<dyn Responder>,
    deadline: Duration,
    max_attempts: u32,
    pub(super) recover_every: Duration,
}

/// One message for the responder.
#[derive(Debug)]
pub(crate) enum Message {
    Report(Box<Triaged>, Delivery),
    Resolved(Box<DetectionEvent>, Delivery),
}

impl RemediationStage {
    /// A stage with this responder.
    pub fn builder(parts: Arc<StageParts>, responder: impl Responder) -> RemediationStageBuilder {
        let work = Work {
            parts,
            responder: Arc::new(responder),
            deadline: RESPOND_DEADLINE,
            max_attempts: MAX_ATTEMPTS,
            recover_every: RECOVER_EVERY,
        };
        RemediationStageBuilder { work, at_once: AT_ONCE }
    }

    /// Whether more messages may be taken off the bus.
    pub(super) fn has_room(&self) -> bool {
        self.held < HELD
    }

    /// Takes one message of the triaged topic.
    pub(crate) async fn accept_report(&mut self, delivery: Delivery) {
        match delivery.envelope().to_triaged() {
            Ok(triaged) => self.push(triaged.incident_id.clone(), Message::Report(Box::new(triaged), delivery)),
            Err(error) => poison(STAGE, delivery, &error).await,
        }
    }

    /// Takes one message of the detections topic; only resolves are for the responder.
    pub(crate) async fn accept_detection(&mut self, delivery: Delivery) {
        match delivery.envelope().to_detection() {
            Ok(event) if event.status == Status::Resolved => {
                self.push(event.incident(), Message::Resolved(Box::new(event), delivery));
            }
            Ok(_) => settled(STAGE, delivery.ack().await),
            Err(error) => poison(STAGE, delivery, &error).await,
        }
    }

    fn push(&mut self, incident: IncidentId, message: Message) {
        self.held += 1;
        self.lanes.push(incident, message);
    }

    /// The next message whose incident is free.
    pub(crate) fn start(&mut self) -> Option<(IncidentId, Message)> {
        self.lanes.start()
    }

    /// The incident's message was handled.
    pub(crate) fn finish(&mut self, incident: &IncidentId) {
        self.held = self.held.saturating_sub(1);
        self.lanes.done(incident);
    }

    /// Hands back what has not begun.
    pub(super) async fn hand_back(&mut self) {
        for message in self.lanes.drain() {
            let (Message::Report(_, delivery) | Message::Resolved(_, delivery)) = message;
            settled(STAGE, delivery.nak(Duration::ZERO, "the stage shut down").await);
        }
    }
}

impl Work {
    /// Asks the responder about one message and settles it.
    pub(crate) async fn handle(self: Arc<Self>, message: Message, bus: Arc<dyn EventBus>) {
        match message {
            Message::Report(triaged, delivery) => self.respond(*triaged, delivery, &bus).await,
            Message::Resolved(event, delivery) => {
                let now = self.parts.clock.now();
                let told = self.ask(async { self.responder.resolved(&event, now).await }).await;
                match told {
                    Ok(()) => settled(STAGE, delivery.ack().await),
                    Err(failure) => {
                        let wait = backoff(delivery.attempt());
                        settled(STAGE, delivery.nak(wait, failure.reason).await);
                    }
                }
            }
        }
    }

    /// Until the responder asks to be called.
    pub(super) async fn woken(&self) {
        // A plugin that panics here must not end the stage.
        if caught(self.responder.woken()).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Asks the responder for what was left without an answer, and tells it.
    pub(super) async fn recover(&self, bus: &Arc<dyn EventBus>) {
        let now = self.parts.clock.now();
        // A failure is counted and logged; the next round asks again.
        let Ok(found) = self.ask(async { self.responder.recover(now).await }).await else { return };
        for recovered in found {
            let Recovered { triaged, response, .. } = recovered;
            // The message is gone; its incident says which trace it was.
            let event = triaged.event.event_id.as_str();
            let trace = TraceContext::of_incident(&triaged.incident_id, event).child("recovery");
            let span = span_of!("remediation", triaged.incident_id, Some(&trace));
            self.answered(triaged, response, &trace, bus).instrument(span).await;
        }
    }

    async fn respond(&self, triaged: Triaged, delivery: Delivery, bus: &Arc<dyn EventBus>) {
        let cause = delivery.envelope().trace();
        let event = triaged.event.event_id.as_str();
        let cause = cause.unwrap_or_else(|| TraceContext::of_incident(&triaged.incident_id, event));
        let trace = cause.child("remediation");
        let span = span_of!("remediation", triaged.incident_id, Some(&trace));
        let started = self.parts.clock.now();
        self.parts.began(Measured::Remediation, since(started, triaged.at));
        let answered = self.answer(triaged, delivery, &trace, bus).instrument(span).await;
        ended(Measured::Remediation, answered);
        if answered {
            self.parts.took(Measured::Remediation, since(self.parts.clock.now(), started));
        }
    }

    /// Whether the responder answered, or took the report over.
    async fn answer(
        &self,
        triaged: Triaged,
        delivery: Delivery,
        trace: &TraceContext,
        bus: &Arc<dyn EventBus>,
    ) -> bool {
        let now = self.parts.clock.now();
        let answer = self.ask(async { self.responder.accept(&triaged, now).await }).await;
        match answer {
            Ok(Some(response)) => {
                // Told first: a message that comes again is told again where the responder keeps no answers.
                self.answered(triaged, response, trace, bus).await;
                settled(STAGE, delivery.ack().await);
                true
            }
            Ok(None) => {
                settled(STAGE, delivery.ack().await);
                let now = self.parts.clock.now();
                // What fails here is counted and logged; the report is the responder's, and recovery answers it.
                let finished = self.ask(async { self.responder.finish(&triaged, now).await }).await;
                let well = finished.is_ok();
                if let Ok(Some(response)) = finished {
                    self.answered(triaged, response, trace, bus).await;
                }
                well
            }
            Err(failure) if failure.retryable && delivery.attempt() < self.max_attempts => {
                let wait = backoff(delivery.attempt());
                settled(STAGE, delivery.nak(wait, failure.reason).await);
                false
            }
            Err(failure) => {
                let attempts = delivery.attempt();
                let reason = format!("responder gave no answer in {attempts} attempts: {}", failure.reason);
                settled(STAGE, delivery.dead_letter(reason.clone()).await);
                let now = self.parts.clock.now();
                let escalated = Disposition::Escalated { reason };
                let response = Response::new(triaged.incident_id.clone(), escalated, Plan::default(), now);
                self.answered(triaged, response, trace, bus).await;
                false
            }
        }
    }

    /// The responder behind its deadline.
    async fn ask<T>(&self, asked: impl Future<Output = Result<T, RespondError>> + Send) -> Result<T, Failure> {
        let deadline = plus(self.parts.clock.now(), self.deadline);
        let (why, failure) = match guarded(&*self.parts.clock, deadline, asked).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => ("error", Failure { retryable: error.is_retryable(), reason: error_chain(&error) }),
            Err(fault) => (fault.label(), Failure { retryable: true, reason: fault.to_string() }),
        };
        tracing::error!(error = failure.reason, "responder failed");
        metrics::counter!("aiops_remediation_failed_total", "why" => why).increment(1);
        Err(failure)
    }

    /// Publishes an answer, notes it, tells people, and tells the responder that they were told.
    async fn answered(&self, triaged: Triaged, response: Response, trace: &TraceContext, bus: &Arc<dyn EventBus>) {
        let disposition = response.disposition.as_str();
        metrics::counter!("aiops_remediation_responses_total", "disposition" => disposition).increment(1);
        self.parts.tell(&PipelineEvent::Responded { triaged: &triaged, response: &response });
        let message = Envelope::response(&triaged.event.event_id, &response).with_trace(trace);
        if let Err(error) = publish(bus, RESPONSES, message, &*self.parts.clock).await {
            tracing::error!(error = error_chain(&error), "the bus took no answer");
            metrics::counter!("aiops_remediation_publish_failed_total").increment(1);
        }
        let incident_id = triaged.incident_id.clone();
        let at = response.at;
        let boxed = Box::new(response.clone());
        let entry = IncidentEntry::Responded { response: boxed.clone() };
        self.parts.append(IncidentRecord::new(incident_id.clone(), triaged.event.service.clone(), at, entry)).await;
        let kind = match &boxed.disposition {
            Disposition::Escalated { reason } => {
                NoticeKind::Escalated { reason: reason.clone(), response: Some(boxed) }
            }
            Disposition::Rejected { reason } => {
                NoticeKind::Escalated { reason: format!("report rejected: {reason}"), response: Some(boxed) }
            }
            Disposition::AwaitingApproval => NoticeKind::AwaitingApproval { response: boxed },
            // People were told when it was handled.
            Disposition::Duplicate => return,
            _ => NoticeKind::Updated { triaged: None, response: Some(boxed) },
        };
        if self.parts.notify(Notice::new(incident_id, triaged.event.clone(), kind, at)).await {
            let now = self.parts.clock.now();
            // A failure is counted and logged; people may be told once more.
            let _ = self.ask(async { self.responder.told(&triaged, &response, now).await }).await;
        }
    }
}

struct Failure {
    retryable: bool,
    reason: String,
}

fn backoff(attempt: u32) -> Duration {
    FIRST_BACKOFF.saturating_mul(1 << attempt.saturating_sub(1).min(10)).min(LONGEST_BACKOFF)
}
