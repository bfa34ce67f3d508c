//! Deterministic remediation: a report is answered by a plan that a policy made, and what the plan
//! allows is done at most once.
//!
//! # Features
//!
//! | feature | what it is for |
//! |---|---|
//! | `sim` | a simulated cluster with handlers for the field report's five actions: for tests and examples |
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod parameters;
#[cfg(feature = "sim")]
#[cfg_attr(docsrs, doc(cfg(feature = "sim")))]
pub mod sim;
mod store;

pub use crate::store::{
    Acquired, Begun, EpisodeKey, JournalEntry, JournalState, JsonlStore, KillSwitch, Lease, MemoryStore, Opened,
    RemediationStore, ReportId, ReportRecord, Reservation, Reserved, Run, Snapshot, SnapshotQuery, StepEnd, StepKey,
    StoreError, Torn,
};
