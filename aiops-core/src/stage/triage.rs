//! Triage: one report for each incident, and one more when it gets worse.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tracing::Instrument;

use super::claims::{Claim, Claims, KEY, Remembered};
use super::inbox::{poison, publish, settled};
use super::span::span_of;
use super::{Measured, StageError, StageParts, ended, or_fresh};
use crate::bus::{Delivery, Envelope, EventBus, TRIAGED, TraceContext};
use crate::collector::gather_context;
use crate::context::{ContextQuery, ContextSource};
use crate::error::error_chain;
use crate::event::{DetectionEvent, Severity, Status};
use crate::incident_log::{IncidentEntry, IncidentRecord};
use crate::names::IncidentId;
use crate::notify::{Notice, NoticeKind};
use crate::observer::PipelineEvent;
use crate::plugin::guarded;
use crate::redact::Redactor;
use crate::store::StateError;
use crate::time::{plus, since};
use crate::triage::{Provenance, Triage, TriageReport, TriageRequest, Triaged, Triager};

/// The stage's name in errors and metrics.
pub(super) const STAGE: &str = "triage";
/// A page of a log store, not a report.
const CONTEXT_DEADLINE: Duration = Duration::from_secs(10);
/// A model with one retry and its fallback.
const TRIAGE_DEADLINE: Duration = Duration::from_secs(120);
/// Reports being written at a time: the bound of a model's load and cost.
const AT_ONCE: usize = 4;
/// Events of one incident that a triager is shown; more of them say no more.
const EVENTS: usize = 64;
/// Incidents that wait for their report; beyond it the bus holds the rest.
const WAITING: usize = 1_000;
/// A backlog after a restart: time for the rest of an incident's messages to arrive.
const BACKLOG_WAIT: Duration = Duration::from_secs(1);
/// Before messages are tried again whose report did not get out.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// Before an incident is looked at again whose report another replica is writing.
const ELSEWHERE_FOR: Duration = Duration::from_secs(5);
/// Added to all deadlines of a report: the publish's, and the store's.
const CLAIM_MARGIN: Duration = Duration::from_secs(90);

/// Builds a [`TriageStage`].
#[derive(Debug)]
#[must_use]
pub struct TriageStageBuilder {
    parts: Arc<StageParts>,
    triager: Arc<dyn Triager>,
    sources: Vec<Arc<dyn ContextSource>>,
    group_wait: Duration,
    context_deadline: Duration,
    triage_deadline: Duration,
    at_once: usize,
    redactor: Redactor,
}

impl TriageStageBuilder {
    /// Adds a context source; names must be unique.
    pub fn context(mut self, source: impl ContextSource) -> Self {
        self.sources.push(Arc::new(source));
        self
    }

    /// How long the first event of an incident waits for others (default 60 s).
    pub fn group_wait(mut self, wait: Duration) -> Self {
        self.group_wait = wait;
        self
    }

    /// How long each context source may take (default 10 s).
    pub fn context_deadline(mut self, deadline: Duration) -> Self {
        self.context_deadline = deadline;
        self
    }

    /// How long the triager may take (default 2 min). Together with the group wait and the context it
    /// must stay below the bus' ack deadline.
    pub fn triage_deadline(mut self, deadline: Duration) -> Self {
        self.triage_deadline = deadline;
        self
    }

    /// Reports being written at a time (default 4, at least 1).
    pub fn at_once(mut self, reports: usize) -> Self {
        self.at_once = reports.max(1);
        self
    }

    /// Another redactor of what sources find (default: [`Redactor::default`]).
    pub fn with_redactor(mut self, redactor: Redactor) -> Self {
        self.redactor = redactor;
        self
    }

    /// The stage.
    #[must_use]
    pub fn build(self) -> TriageStage {
        let longest = self.context_deadline.saturating_add(self.triage_deadline).saturating_add(CLAIM_MARGIN);
        TriageStage {
            work: Arc::new(Work {
                claims: Claims::of(self.parts.saved.as_ref(), longest),
                parts: self.parts,
                triager: self.triager,
                sources: self.sources,
                context_deadline: self.context_deadline,
                triage_deadline: self.triage_deadline,
                redactor: self.redactor,
            }),
            group_wait: self.group_wait,
            at_once: self.at_once,
            groups: BTreeMap::new(),
            known: Remembered::default(),
            unpublished: BTreeMap::new(),
            version: 0,
            restored: false,
        }
    }
}

/// The triage layer: collects an incident's events, gathers context, asks the triager, publishes.
///
/// - An incident's events are collected for `group_wait` of event time after its first; then it gets
///   one report. Later events attach to it; one whose severity is above what was triaged brings one
///   report more, at once.
/// - A triager that fails, hangs or panicks escalates the incident with the reason, and a report that
///   asks for a person goes on in its place, so that the incident still gets its disposition.
/// - Messages are acked once the report is published. Triaged incidents are remembered and saved: a
///   message that comes again makes no second report.
/// - With a [`replica`](crate::StagePartsBuilder::replica) name it claims an incident before it asks the
///   triager, so that of several replicas one does. The claim of a replica that is gone ends when it starts
///   again under its name, or after all deadlines of a report and 90 s; without the store each replica asks
///   for itself.
/// - Resolved events are acked and start nothing.
#[derive(Debug)]
pub struct TriageStage {
    pub(crate) work: Arc<Work>,
    group_wait: Duration,
    at_once: usize,
    groups: BTreeMap<IncidentId, Group>,
    known: Remembered,
    /// Reports that the bus did not take: they wait for their messages to come again.
    unpublished: BTreeMap<IncidentId, Triaged>,
    version: u64,
    restored: bool,
}

/// What a triage needs; shared with its tasks.
#[derive(Debug)]
pub(crate) struct Work {
    pub(super) parts: Arc<StageParts>,
    /// Where replicas share the work.
    claims: Option<Claims>,
    triager: Arc<dyn Triager>,
    sources: Vec<Arc<dyn ContextSource>>,
    context_deadline: Duration,
    triage_deadline: Duration,
    redactor: Redactor,
}

/// The events of one incident that have no report yet.
#[derive(Debug, Default)]
struct Group {
    held: Messages,
    due: Timestamp,
    /// Messages of `held` that the running triage was shown; the others came later.
    running: Option<usize>,
}

type Messages = Vec<(DetectionEvent, Delivery)>;

impl Group {
    /// The messages that the triage was shown, and those that came later.
    fn split(mut self) -> (Messages, Messages) {
        let later = self.held.split_off(self.running.unwrap_or(0).min(self.held.len()));
        (self.held, later)
    }
}

/// One triage to be done.
#[derive(Debug)]
pub(crate) struct Job {
    incident: IncidentId,
    event: DetectionEvent,
    events: Vec<DetectionEvent>,
    made: Option<Triaged>,
    trace: TraceContext,
}

/// What came of it.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// A report, and whether the bus took it.
    Written { triaged: Box<Triaged>, published: bool },
    /// Another replica is writing one.
    Busy(IncidentId),
    /// Another replica has written one.
    Done(IncidentId, Severity),
}

impl Work {
    /// Gathers, asks and publishes.
    pub(crate) async fn triage(self: Arc<Self>, job: Job, bus: Arc<dyn EventBus>) -> Outcome {
        let span = span_of!("triage", job.incident, Some(&job.trace));
        self.work_on(job, bus).instrument(span).await
    }

    async fn work_on(&self, job: Job, bus: Arc<dyn EventBus>) -> Outcome {
        let started = self.parts.clock.now();
        let (triaged, written) = match job.made {
            Some(triaged) => (triaged, true),
            None => {
                if let Some(claims) = &self.claims {
                    match claims.claim(&job.incident, job.event.severity, self.parts.clock.now()).await {
                        Claim::Granted => {}
                        Claim::Busy => return Outcome::Busy(job.incident),
                        Claim::Done(severity) => return Outcome::Done(job.incident, severity),
                    }
                }
                self.parts.began(Measured::Triage, since(started, job.event.observed()));
                self.report(job.incident, job.event, job.events).await
            }
        };
        let message = Envelope::triaged(&triaged).with_trace(&job.trace);
        let published = publish(&bus, TRIAGED, message, &*self.parts.clock).await;
        if let Err(error) = &published {
            tracing::error!(error = error_chain(error), "the bus took no report; it is tried again");
            metrics::counter!("aiops_triage_publish_failed_total").increment(1);
        }
        ended(Measured::Triage, written && published.is_ok());
        if published.is_ok() {
            self.parts.took(Measured::Triage, since(self.parts.clock.now(), started));
        }
        Outcome::Written { triaged: Box::new(triaged), published: published.is_ok() }
    }

    /// A report, and whether the triager wrote it.
    async fn report(
        &self,
        incident: IncidentId,
        event: DetectionEvent,
        events: Vec<DetectionEvent>,
    ) -> (Triaged, bool) {
        let clock = &*self.parts.clock;
        let now = clock.now();
        let query = ContextQuery::new(event.clone(), incident.clone(), now, plus(now, self.context_deadline))
            .services(events.iter().map(|event| event.service.clone()));
        let context = gather_context(&self.sources, &query, clock, &self.redactor).await;
        self.parts.tell(&PipelineEvent::ContextGathered { at: now, event: &event, context: &context });

        let now = clock.now();
        let deadline = plus(now, self.triage_deadline);
        let request = TriageRequest::new(incident, event, context, now, deadline).events(events);
        let asked = guarded(clock, deadline, async { self.triager.triage(&request).await }).await;
        let (why, reason, detail) = match asked {
            Ok(Ok(triage)) => {
                metrics::counter!("aiops_triage_reports_total", "triager" => self.triager.name().to_owned())
                    .increment(1);
                return (Triaged::new(&request, triage, clock.now()), true);
            }
            // The error's own first line says which triager failed; the chain may hold foreign text.
            Ok(Err(error)) => ("error", error.to_string(), error_chain(&error)),
            Err(fault) => {
                let triager = crate::text::clip(self.triager.name(), 80);
                (fault.label(), format!("triager {triager:?} {}", fault.plain()), fault.to_string())
            }
        };
        tracing::error!(triager = self.triager.name(), error = detail, "no report");
        metrics::counter!("aiops_triage_failed_total", "triager" => self.triager.name().to_owned(), "why" => why)
            .increment(1);
        let report = TriageReport::new(format!("No report: {reason}. {}", request.event.explain()));
        let provenance = Provenance::new(STAGE).fallback(reason);
        (Triaged::new(&request, Triage::new(report, provenance), clock.now()), false)
    }

    /// Notes a report and tells people of it.
    pub(crate) async fn announce(self: Arc<Self>, triaged: Triaged) {
        let at = triaged.at;
        let (incident, event) = (triaged.incident_id.clone(), triaged.event.clone());
        self.parts.tell(&PipelineEvent::Triaged(&triaged));
        let entry = IncidentEntry::Triaged { triaged: Box::new(triaged.clone()) };
        self.parts.append(IncidentRecord::new(incident.clone(), event.service.clone(), at, entry)).await;
        let kind = match &triaged.provenance.fallback_reason {
            Some(reason) if triaged.provenance.triager == STAGE => {
                NoticeKind::Escalated { reason: reason.clone(), response: None }
            }
            _ => NoticeKind::Updated { triaged: Some(Box::new(triaged)), response: None },
        };
        self.parts.notify(Notice::new(incident, event, kind, at)).await;
    }
}

impl TriageStage {
    /// A stage with this triager and no context source.
    pub fn builder(parts: Arc<StageParts>, triager: impl Triager) -> TriageStageBuilder {
        TriageStageBuilder {
            parts,
            triager: Arc::new(triager),
            sources: Vec::new(),
            group_wait: Duration::from_secs(60),
            context_deadline: CONTEXT_DEADLINE,
            triage_deadline: TRIAGE_DEADLINE,
            at_once: AT_ONCE,
            redactor: Redactor::default(),
        }
    }

    /// Whether more messages may be taken off the bus.
    pub(super) fn has_room(&self) -> bool {
        self.groups.len() < WAITING
    }

    /// Takes one message of the detections topic.
    pub(crate) async fn accept(&mut self, delivery: Delivery, now: Timestamp) {
        let event = match delivery.envelope().to_detection() {
            Ok(event) => event,
            Err(error) => return poison(STAGE, delivery, &error).await,
        };
        if event.status == Status::Resolved {
            return settled(STAGE, delivery.ack().await);
        }
        let incident = event.incident();
        let triaged = self.known.severity(&incident);
        if let Some(group) = self.groups.get_mut(&incident) {
            let shown = group.running.unwrap_or(0);
            // The same message again, since its deadline passed: the newer delivery is the valid one.
            let same = group.held.iter_mut().skip(shown).find(|(known, _)| known.event_id == event.event_id);
            if let Some((_, known)) = same {
                *known = delivery;
            } else if group.held.len() < EVENTS {
                group.held.push((event, delivery));
            } else {
                self.attach(delivery).await;
            }
        } else if triaged.is_some_and(|severity| severity >= event.severity) {
            self.attach(delivery).await;
        } else {
            let due = if triaged.is_some() { now } else { self.due(&event, now) };
            self.groups.insert(incident, Group { held: vec![(event, delivery)], due, running: None });
        }
    }

    async fn attach(&self, delivery: Delivery) {
        metrics::counter!("aiops_triage_attached_total").increment(1);
        settled(STAGE, delivery.ack().await);
    }

    /// The wait counts by event time; a backlog gets a moment, and a clock that runs ahead no more
    /// than the wait.
    fn due(&self, event: &DetectionEvent, now: Timestamp) -> Timestamp {
        let latest = plus(now, self.group_wait);
        let earliest = plus(now, self.group_wait.min(BACKLOG_WAIT));
        plus(event.observed(), self.group_wait).clamp(earliest, latest)
    }

    /// When the next report is due; none while nothing waits.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        let running = self.groups.values().filter(|group| group.running.is_some()).count();
        if running >= self.at_once {
            return None;
        }
        self.groups.values().filter(|group| group.running.is_none()).map(|group| group.due).min()
    }

    /// The next triage that is due; its incident is busy until [`finish`](Self::finish).
    pub(crate) fn start(&mut self, now: Timestamp) -> Option<Job> {
        let due = self.next_due().filter(|due| *due <= now)?;
        let (incident, group) =
            self.groups.iter_mut().find(|(_, group)| group.running.is_none() && group.due == due)?;
        group.running = Some(group.held.len());
        let events: Vec<DetectionEvent> = group.held.iter().map(|(event, _)| event.clone()).collect();
        let worst = events.iter().map(|event| event.severity).max()?;
        let (event, delivery) = group.held.iter().find(|(event, _)| event.severity == worst)?;
        let event = event.clone();
        let cause = delivery.envelope().trace();
        let cause = cause.unwrap_or_else(|| TraceContext::of_incident(incident, event.event_id.as_str()));
        let made = self.unpublished.remove(incident).filter(|triaged| triaged.event.event_id == event.event_id);
        Some(Job { incident: incident.clone(), event, events, made, trace: cause.child("triage") })
    }

    /// Settles the messages of a triage; gives the report to be announced, if it is out.
    pub(crate) async fn finish(&mut self, outcome: Outcome, now: Timestamp) -> Option<Triaged> {
        match outcome {
            Outcome::Written { triaged, published: true } => {
                let incident = &triaged.incident_id;
                let group = self.groups.remove(incident)?;
                self.known.remember(incident, triaged.event.severity);
                self.save(incident, triaged.event.severity).await;
                let (shown, later) = group.split();
                for (_, delivery) in shown {
                    settled(STAGE, delivery.ack().await);
                }
                self.accept_all(later, now).await;
                Some(*triaged)
            }
            Outcome::Written { triaged, published: false } => {
                let (shown, later) = self.groups.remove(&triaged.incident_id)?.split();
                for (event, delivery) in shown {
                    tracing::debug!(event = event.event_id.as_str(), "handed back");
                    settled(STAGE, delivery.nak(RETRY_AFTER, "the bus took no report").await);
                }
                self.accept_all(later, now).await;
                self.unpublished.insert(triaged.incident_id.clone(), *triaged);
                if self.unpublished.len() > WAITING {
                    self.unpublished.pop_first();
                }
                None
            }
            Outcome::Busy(incident) => {
                let group = self.groups.get_mut(&incident)?;
                (group.running, group.due) = (None, plus(now, ELSEWHERE_FOR));
                None
            }
            Outcome::Done(incident, severity) => {
                let (shown, later) = self.groups.remove(&incident)?.split();
                self.known.remember(&incident, severity);
                for (_, delivery) in shown {
                    self.attach(delivery).await;
                }
                self.accept_all(later, now).await;
                None
            }
        }
    }

    async fn accept_all(&mut self, deliveries: Messages, now: Timestamp) {
        for (_, delivery) in deliveries {
            self.accept(delivery, now).await;
        }
    }

    /// Hands back every message that has no report.
    pub(super) async fn hand_back(&mut self) {
        for (_, group) in std::mem::take(&mut self.groups) {
            for (_, delivery) in group.held {
                settled(STAGE, delivery.nak(Duration::ZERO, "the stage shut down").await);
            }
        }
    }

    /// Loads what was saved, once.
    pub(crate) async fn restore(&mut self) -> Result<(), StageError> {
        let Some(saved) = self.work.parts.saved.clone().filter(|_| !self.restored) else { return Ok(()) };
        if let Some((remembered, version)) = or_fresh(STAGE, saved.load::<Remembered>(KEY).await)? {
            (self.known, self.version) = (remembered, version);
        }
        if let Some(claims) = &self.work.claims {
            claims.begin().await;
        }
        self.restored = true;
        Ok(())
    }

    /// Saves what was triaged. A save that fails is made up for by the next one.
    async fn save(&mut self, incident: &IncidentId, severity: Severity) {
        if let Some(claims) = &self.work.claims {
            return claims.done(incident, severity).await;
        }
        let Some(saved) = self.work.parts.saved.clone() else { return };
        match saved.save(KEY, &self.known, self.version).await {
            Ok(version) => self.version = version,
            Err(StateError::Conflict { found, .. }) => self.version = found,
            Err(_) => {}
        }
    }
}
