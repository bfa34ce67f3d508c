//! Assembling a pipeline.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::{Pipeline, Replay};
use crate::bus::{EventBus, MemoryBus};
use crate::clock::Clock;
use crate::context::ContextSource;
use crate::correlate::{Correlator, CorrelatorConfig, MaintenanceWindows};
use crate::deploy_log::{DeployLog, DeployWindow};
use crate::detector::Detector;
use crate::graph::DependencyGraph;
use crate::incident_log::IncidentLog;
use crate::live::Live;
use crate::notify::{NoticeDelivery, Notifier};
use crate::observer::Observer;
use crate::redact::Redactor;
use crate::responder::Responder;
use crate::stage::{DetectionStage, Objectives, RemediationStage, StageParts, StagePartsBuilder, TriageStage};
use crate::store::StateStore;
use crate::triage::Triager;
use crate::virtual_clock::VirtualClock;

/// Builds a [`Pipeline`], or a [`Replay`] of it.
#[derive(Debug)]
#[must_use]
pub struct PipelineBuilder {
    parts: StagePartsBuilder,
    detectors: Vec<Arc<dyn Detector>>,
    intake: Option<usize>,
    config: CorrelatorConfig,
    deploys: Option<(DeployLog, DeployWindow)>,
    maintenance: Option<Live<MaintenanceWindows>>,
    graph: Option<Live<DependencyGraph>>,
    sources: Vec<Arc<dyn ContextSource>>,
    triager: Option<Arc<dyn Triager>>,
    responder: Option<Arc<dyn Responder>>,
    bus: Option<Arc<dyn EventBus>>,
    evaluation_deadline: Option<Duration>,
    context_deadline: Option<Duration>,
    triage_deadline: Option<Duration>,
    respond_deadline: Option<Duration>,
    redactor: Redactor,
}

/// A pipeline that cannot work: every fault, with what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("pipeline cannot be built: {}", .0.join("; "))]
pub struct InvalidPipeline(Vec<String>);

impl InvalidPipeline {
    /// The faults.
    #[must_use]
    pub fn faults(&self) -> &[String] {
        &self.0
    }
}

type Stages = (DetectionStage, Option<TriageStage>, Option<RemediationStage>);

impl PipelineBuilder {
    pub(super) fn new() -> Self {
        Self {
            parts: StageParts::builder(),
            detectors: Vec::new(),
            intake: None,
            config: CorrelatorConfig::default(),
            deploys: None,
            maintenance: None,
            graph: None,
            sources: Vec::new(),
            triager: None,
            responder: None,
            bus: None,
            evaluation_deadline: None,
            context_deadline: None,
            triage_deadline: None,
            respond_deadline: None,
            redactor: Redactor::default(),
        }
    }

    /// Adds a detector; names must be unique.
    pub fn detector(mut self, detector: impl Detector) -> Self {
        self.detectors.push(Arc::new(detector));
        self
    }

    /// Takes pushed events as well, up to so many that wait; see [`Pipeline::intake`]. A pipeline with
    /// neither a detector nor an intake would never see anything.
    pub fn intake(mut self, capacity: usize) -> Self {
        self.intake = Some(capacity);
        self
    }

    /// Holds back what is seen during rollouts.
    pub fn suppress(mut self, deploys: DeployLog, window: DeployWindow) -> Self {
        self.deploys = Some((deploys, window));
        self
    }

    /// Holds back what is seen during maintenance.
    pub fn maintenance(mut self, windows: impl Into<Live<MaintenanceWindows>>) -> Self {
        self.maintenance = Some(windows.into());
        self
    }

    /// Joins anomalies of services that call each other into one incident.
    pub fn graph(mut self, graph: impl Into<Live<DependencyGraph>>) -> Self {
        self.graph = Some(graph.into());
        self
    }

    /// Settings of episodes, dedup, flapping, inhibition and grouping.
    pub fn correlator_config(mut self, config: CorrelatorConfig) -> Self {
        self.config = config;
        self
    }

    /// Adds a channel, behind those given before; names must be unique.
    pub fn notify(mut self, channel: impl Notifier) -> Self {
        self.parts = self.parts.notify(channel);
        self
    }

    /// Which channels get a notice (default: the first that takes it).
    pub fn notice_delivery(mut self, delivery: NoticeDelivery) -> Self {
        self.parts = self.parts.notice_delivery(delivery);
        self
    }

    /// Adds a context source for the triager; names must be unique.
    pub fn context(mut self, source: impl ContextSource) -> Self {
        self.sources.push(Arc::new(source));
        self
    }

    /// Writes a report for each incident, beside the announcements.
    pub fn triager(mut self, triager: impl Triager) -> Self {
        self.triager = Some(Arc::new(triager));
        self
    }

    /// Decides what becomes of reports.
    pub fn responder(mut self, responder: impl Responder) -> Self {
        self.responder = Some(Arc::new(responder));
        self
    }

    /// Another bus than an in-process one.
    pub fn bus(mut self, bus: impl EventBus) -> Self {
        self.bus = Some(Arc::new(bus));
        self
    }

    /// Where state outlives the process; without it a restart announces again what still fires.
    pub fn state(mut self, store: impl StateStore) -> Self {
        self.parts = self.parts.state(store);
        self
    }

    /// This process's name among several that work on one store: see [`StagePartsBuilder::replica`](crate::StagePartsBuilder::replica).
    pub fn replica(mut self, name: impl Into<String>) -> Self {
        self.parts = self.parts.replica(name);
        self
    }

    /// Where the timeline of incidents is kept (default: in memory).
    pub fn incident_log(mut self, log: impl IncidentLog) -> Self {
        self.parts = self.parts.incident_log(log);
        self
    }

    /// Sees every step.
    pub fn observe(mut self, observer: impl Observer) -> Self {
        self.parts = self.parts.observe(observer);
        self
    }

    /// The longest that one evaluation may take (default 30 s; never longer than its interval).
    pub fn evaluation_deadline(mut self, deadline: Duration) -> Self {
        self.evaluation_deadline = Some(deadline);
        self
    }

    /// How long one channel may take (default 10 s).
    pub fn notify_deadline(mut self, deadline: Duration) -> Self {
        self.parts = self.parts.notify_deadline(deadline);
        self
    }

    /// How long each context source may take (default 10 s).
    pub fn context_deadline(mut self, deadline: Duration) -> Self {
        self.context_deadline = Some(deadline);
        self
    }

    /// How long the triager may take (default 2 min).
    pub fn triage_deadline(mut self, deadline: Duration) -> Self {
        self.triage_deadline = Some(deadline);
        self
    }

    /// How long the responder may take (default 4 min).
    pub fn respond_deadline(mut self, deadline: Duration) -> Self {
        self.respond_deadline = Some(deadline);
        self
    }

    /// What the stages are held to, in their metrics.
    pub fn objectives(mut self, objectives: Objectives) -> Self {
        self.parts = self.parts.objectives(objectives);
        self
    }

    /// Another redactor of what context sources find (default: [`Redactor::default`]).
    pub fn with_redactor(mut self, redactor: Redactor) -> Self {
        self.redactor = redactor;
        self
    }

    /// Another clock.
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.parts = self.parts.with_clock(clock);
        self
    }

    /// The pipeline.
    ///
    /// # Errors
    /// All faults at once: no detector or intake, no channel, names used twice, a responder or a context
    /// source without a triager, correlator settings that cannot work, a
    /// replica without a state store.
    pub fn build(mut self) -> Result<Pipeline, InvalidPipeline> {
        let bus = self.bus.take();
        let bus =
            bus.unwrap_or_else(|| Arc::new(MemoryBus::builder().with_clock(Arc::clone(&self.parts.clock)).build()));
        let (detection, triage, remediation) = self.stages()?;
        Ok(Pipeline { bus, detection, triage, remediation })
    }

    /// The same pipeline in virtual time from `from` on, over a bus of its own; a clock or bus that was
    /// given is not used. Intake is not asked for, since [`Replay::ingest`] takes events.
    ///
    /// # Errors
    /// As [`build`](Self::build).
    pub fn replay(self, from: Timestamp) -> Result<Replay, InvalidPipeline> {
        self.replay_on(VirtualClock::new(from))
    }

    /// As [`replay`](Self::replay), from what `clock` shows on: for plugins that hold a clock, so that
    /// they live in the same time.
    ///
    /// # Errors
    /// As [`build`](Self::build).
    pub fn replay_on(mut self, clock: VirtualClock) -> Result<Replay, InvalidPipeline> {
        self.parts = self.parts.with_clock(clock.clone());
        self.intake.get_or_insert(1);
        let (detection, triage, remediation) = self.stages()?;
        Ok(Replay::new(clock, detection, triage, remediation))
    }

    fn stages(self) -> Result<Stages, InvalidPipeline> {
        let mut faults = self.faults();
        let correlator = Correlator::new(self.config.clone());
        if let Err(error) = &correlator {
            faults.push(error.to_string());
        }
        let (Ok(mut correlator), true) = (correlator, faults.is_empty()) else { return Err(InvalidPipeline(faults)) };
        if let Some((deploys, window)) = self.deploys {
            correlator = correlator.with_deploys(deploys, window);
        }
        if let Some(windows) = self.maintenance {
            correlator = correlator.with_maintenance(windows);
        }
        if let Some(graph) = self.graph {
            correlator = correlator.with_graph(graph);
        }

        let parts = self.parts.build();
        let mut detection = DetectionStage::builder(Arc::clone(&parts), correlator);
        for detector in self.detectors {
            detection = detection.detector(detector);
        }
        if let Some(capacity) = self.intake {
            detection = detection.intake_capacity(capacity);
        }
        if let Some(deadline) = self.evaluation_deadline {
            detection = detection.evaluation_deadline(deadline);
        }
        let triage = self.triager.map(|triager| {
            let mut triage = TriageStage::builder(Arc::clone(&parts), triager)
                .group_wait(self.config.group_wait)
                .with_redactor(self.redactor);
            for source in self.sources {
                triage = triage.context(source);
            }
            if let Some(deadline) = self.context_deadline {
                triage = triage.context_deadline(deadline);
            }
            if let Some(deadline) = self.triage_deadline {
                triage = triage.triage_deadline(deadline);
            }
            triage.build()
        });
        let remediation = self.responder.map(|responder| {
            let remediation = RemediationStage::builder(parts, responder);
            match self.respond_deadline {
                Some(deadline) => remediation.respond_deadline(deadline).build(),
                None => remediation.build(),
            }
        });
        Ok((detection.build(), triage, remediation))
    }

    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.detectors.is_empty() && self.intake.is_none() {
            faults.push("it sees nothing; add .detector(..), or .intake(..) for pushed events".to_owned());
        }
        if self.parts.channels.is_empty() {
            faults.push("it tells nobody; add .notify(..), LogNotifier for a start".to_owned());
        }
        if self.parts.shares_nothing() {
            faults.push("replicas share their state; add .state(..) or drop .replica(..)".to_owned());
        }
        if self.triager.is_none() {
            if self.responder.is_some() {
                faults.push("a responder answers reports and nobody writes any; add .triager(..)".to_owned());
            }
            if !self.sources.is_empty() {
                faults.push("context is gathered for a triager; add .triager(..) or drop .context(..)".to_owned());
            }
        }
        let detectors = self.detectors.iter().map(|detector| ("detector", detector.name()));
        let sources = self.sources.iter().map(|source| ("context source", source.name()));
        let channels = self.parts.channels.iter().map(|channel| ("channel", channel.channel()));
        let mut seen = BTreeSet::new();
        for (what, name) in detectors.chain(sources).chain(channels) {
            if !seen.insert((what, name)) {
                faults.push(format!("{what} {name:?} is there twice; give one another name"));
            }
        }
        faults
    }
}
