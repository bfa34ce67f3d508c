//! Deterministic remediation: a report is answered by a plan that a policy made, and what the plan
//! allows is done at most once.
//!
//! # Features
//!
//! | feature | what it is for |
//! |---|---|
//! | `client` | channels to people and actions over HTTP, on the client that the host passes in: any webhook (signed), Slack, PagerDuty |
//! | `command` | actions by the programs that a team already has, without a shell; on Unix |
//! | `kubernetes` | handlers of Kubernetes (restart a pod, scale, roll back, drain a node, run an Argo workflow) and a watcher of its rollouts, on the client that the host passes in |
//! | `kubernetes-tls` | `kubernetes` with TLS by rustls and aws-lc, for hosts without a client of their own; compiles aws-lc with a C compiler |
//! | `review` | the weekly review of an audit log: what passed the threshold, verdicts, calibration of each model |
//! | `redis` | the remediation store in Redis, for several processes |
//! | `server` | the HTTP surface that a host nests into its own axum server: approvals, incidents, review, kill switch, health, pages |
//! | `sim` | a simulated cluster with handlers for the field report's five actions: for tests and examples |
//! | `sqlite` (default) | the remediation store in one SQLite file, for one process; compiles SQLite with a C compiler |
//! | `testing` | conformance suites of this crate's traits, for third parties' implementations; failpoints for crash tests |
#![cfg_attr(docsrs, feature(doc_cfg))]

mod audit;
mod catalogue;
#[cfg(all(feature = "command", unix))]
#[cfg_attr(docsrs, doc(cfg(feature = "command")))]
pub mod command;
mod dispatcher;
#[cfg(feature = "client")]
mod hook;
#[cfg(feature = "kubernetes")]
#[cfg_attr(docsrs, doc(cfg(feature = "kubernetes")))]
pub mod kubernetes;
mod mutant;
#[cfg(feature = "client")]
#[cfg_attr(docsrs, doc(cfg(feature = "client")))]
pub mod notify;
pub mod parameters;
mod plan;
mod policy;
#[cfg(feature = "review")]
#[cfg_attr(docsrs, doc(cfg(feature = "review")))]
pub mod review;
#[cfg(feature = "server")]
#[cfg_attr(docsrs, doc(cfg(feature = "server")))]
pub mod server;
mod sha256;
#[cfg(feature = "sim")]
#[cfg_attr(docsrs, doc(cfg(feature = "sim")))]
pub mod sim;
mod store;
#[cfg(feature = "testing")]
#[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
pub mod testing;
#[cfg(feature = "client")]
#[cfg_attr(docsrs, doc(cfg(feature = "client")))]
pub mod webhook;
mod yaml;

pub use crate::audit::{
    AuditChain, AuditEntry, AuditError, AuditKind, AuditLine, AuditLog, AuditReader, AuditRecord, AuditStep, Broken,
    ChainEnd, ChainFault, FileAudit, MAX_AUDIT_LINE, MemoryAudit, Verified, verify, verify_after, verify_pinned,
};
pub use crate::catalogue::{ActionCatalogue, ActionSpec, BlastRadius, CommandSpec, Condition, Limit, NoTarget};
pub use crate::dispatcher::{ApprovalAuthoriser, ApprovalError, Dispatcher, DispatcherBuilder, InvalidDispatcher};
pub use crate::plan::{PlanVerdict, PolicyState};
pub use crate::policy::{Freeze, HealthGuard, LoopGuard, Mode, Policy};
#[cfg(feature = "sqlite")]
#[cfg_attr(docsrs, doc(cfg(feature = "sqlite")))]
pub use crate::store::SqliteStore;
pub use crate::store::{
    Acquired, Approval, ApprovalId, ApprovalOpened, ApprovalState, Begun, Budget, BudgetScope, EpisodeKey, GuardState,
    JournalEntry, JournalState, JsonlStore, KillSwitch, Lease, MemoryStore, Opened, RemediationStore, ReportId,
    ReportRecord, Reservation, Reserved, Run, Settled, Snapshot, SnapshotQuery, StepEnd, StepKey, StoreError, Torn,
};
#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
pub use crate::store::{RedisFinding, RedisStore};
pub use crate::yaml::{ConfigError, Finding};
