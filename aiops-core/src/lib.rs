//! Contracts, traits and the pure decision logic of the aiops pipeline.
//!
//! # Features
//!
//! | feature | what it is for |
//! |---|---|
//! | `calibration` | whether confidences can be trusted: Brier score, calibration error, risk and coverage, advice for a threshold |
//! | `kafka` | the event bus over Kafka; compiles librdkafka with a C compiler |
//! | `nats` | the event bus over NATS JetStream |
//! | `redis` | the event bus over Redis Streams, and state that several processes share |
//! | `testing` | fakes, `ManualClock` and the conformance suites that a third party's plugin can run |
#![cfg_attr(docsrs, feature(doc_cfg))]

mod action;
mod bus;
#[cfg(feature = "calibration")]
#[cfg_attr(docsrs, doc(cfg(feature = "calibration")))]
pub mod calibration;
mod channel;
mod clock;
mod collector;
mod context;
mod correlate;
mod data_state;
mod deploy_log;
mod detector;
pub mod doctor;
mod error;
mod event;
mod fingerprint;
mod graph;
mod incident_log;
mod live;
mod lock;
mod menu;
mod names;
mod notify;
mod observer;
mod pipeline;
mod placeholders;
mod plan_only;
pub mod plugin;
mod probe;
mod redact;
mod related_alerts;
mod responder;
mod reviewed;
pub mod schema;
mod signal;
mod stage;
mod store;
#[cfg(feature = "testing")]
pub mod testing;
pub mod text;
pub mod time;
mod triage;
mod virtual_clock;

/// Re-exported, since its types stand in this crate's API.
pub use jiff;
pub use tokio_util::sync::CancellationToken;

pub use crate::action::{
    ActionError, ActionHandler, ActionRequest, Applied, Compensation, HandlerFn, Inspection, Outcome, Precondition,
    Target, handler_fn,
};
#[cfg(feature = "kafka")]
#[cfg_attr(docsrs, doc(cfg(feature = "kafka")))]
pub use crate::bus::KafkaBus;
#[cfg(feature = "nats")]
#[cfg_attr(docsrs, doc(cfg(feature = "nats")))]
pub use crate::bus::NatsBus;
pub use crate::bus::{
    BusError, DETECTIONS, Delivery, Envelope, EnvelopeError, EventBus, InvalidTraceparent, MemoryBus, MemoryBusBuilder,
    RESPONSES, Settle, Subscription, TRIAGED, TraceContext, Undelivered, dead_letter_topic,
};
#[cfg(any(feature = "nats", feature = "redis", feature = "kafka"))]
#[cfg_attr(docsrs, doc(cfg(any(feature = "nats", feature = "redis", feature = "kafka"))))]
pub use crate::bus::{BusSettings, GroupStatus};
#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
pub use crate::bus::{RedisBus, RedisBusFinding};
pub use crate::channel::Channel;
pub use crate::clock::{Clock, SystemClock};
pub use crate::collector::gather_context;
pub use crate::context::{
    ContextError, ContextFinding, ContextFn, ContextItem, ContextKind, ContextQuery, ContextSource, Missing,
    TriageContext, Trust, context_fn,
};
pub use crate::correlate::{
    Correlated, CorrelationDecision, CorrelationRule, Correlator, CorrelatorConfig, Day, FlapRule, IncidentChange,
    InhibitRule, InvalidCorrelatorConfig, InvalidMaintenanceWindows, LocalTime, MaintenanceWindow, MaintenanceWindows,
    RestoreError,
};
pub use crate::data_state::DataState;
pub use crate::deploy_log::{Deploy, DeployLog, DeployWindow, Rollout, RolloutKind, RolloutPhase};
pub use crate::detector::{Detector, DetectorError, DetectorFn, Evaluation, Sighting, Tick, detector_fn};
pub use crate::error::{BoxError, error_chain};
pub use crate::event::{DetectionEvent, DetectionEventBuilder, EventKind, Severity, Status};
pub use crate::fingerprint::{
    BUCKET_SECONDS, Fingerprint, Identity, IdentityScheme, MissingIdentityLabel, encode, fingerprint,
    raw as raw_fingerprint,
};
pub use crate::graph::DependencyGraph;
pub use crate::incident_log::{
    Incident, IncidentEntry, IncidentLog, IncidentLogError, IncidentQuery, IncidentRecord, IncidentState,
    MemoryIncidentLog,
};
pub use crate::live::Live;
pub use crate::menu::{ActionMenu, MenuEntry};
pub use crate::names::{
    ActionName, Confidence, EpisodeId, EventId, IncidentId, InvalidActionName, InvalidConfidence, ServiceName,
};
pub use crate::notify::{LogNotifier, Notice, NoticeDelivery, NoticeKind, Notifier, NotifyError, Receipt};
pub use crate::observer::{Observer, PipelineEvent};
pub use crate::pipeline::{InvalidPipeline, Pipeline, PipelineBuilder, Replay};
pub use crate::placeholders::{InvalidPlaceholders, Placeholders};
pub use crate::plan_only::PlanOnly;
pub use crate::probe::{MemoryProbe, Probe, ProbeError, ProbeQuery, Reading};
pub use crate::redact::{InvalidRedactor, Redacted, Redactions, Redactor, RedactorBuilder};
pub use crate::related_alerts::RelatedAlerts;
pub use crate::responder::{
    Decision, Disposition, Plan, Recovered, RespondError, Responder, Response, RuleInput, RuleVerdict, Step,
};
pub use crate::reviewed::{ReviewedCase, Verdict};
pub use crate::signal::{Band, Evidence, Signal};
pub use crate::stage::{
    DetectionStage, DetectionStageBuilder, Intake, IntakeError, Objective, Objectives, REMEDIATION_GROUP,
    RemediationStage, RemediationStageBuilder, StageError, StageParts, StagePartsBuilder, TRIAGE_GROUP, TriageStage,
    TriageStageBuilder,
};
#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
pub use crate::store::RedisStateStore;
pub use crate::store::{FileStateStore, MemoryStateStore, StateError, StateStore, Versioned};
pub use crate::triage::{
    Provenance, Triage, TriageError, TriageReport, TriageRequest, Triaged, Triager, TriagerFn, triager_fn,
};
pub use crate::virtual_clock::VirtualClock;
