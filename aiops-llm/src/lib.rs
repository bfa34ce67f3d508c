//! Triage: what stands between an incident's context and a report.
//!
//! | you want | take |
//! |---|---|
//! | a report without any model | [`RuleTriager::new`] with a menu |
//! | somebody to answer when the model cannot | [`WithFallback`] around it and [`RuleTriager::default`] |
//! | a report out of a model's raw text | [`reply`] |
//! | a report by a model | [`LlmTriager`] |
//! | a model endpoint | [`adapters`] (feature `client`) |
//! | a model endpoint of your own | [`ChatModel`] |
//! | the schema that a model's report must have | [`report_schema`] |
//! | whether a model works, before you rely on it | [`doctor`] |
//! | a model's replies again, without the model | [`cassette`] |
//! | how well a triager does on recorded incidents | [`evaluate`] (feature `evaluate`) |
//!
//! A triager picks names from a menu. What it writes is checked by the responder behind it, never here
//! alone.
//!
//! # Features
//!
//! | feature | what it is for |
//! |---|---|
//! | `client` | the adapters of model endpoints, with TLS: rustls on aws-lc-rs, unless the host has installed another provider |
//! | `client-no-provider` | the adapters without a TLS backend: for plain `http`, or for a host that passes in an HTTP client of its own |
//! | `evaluate` | how well a triager does on recorded incidents: scores, calibration, a gate for builds |
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "client-no-provider")]
#[cfg_attr(docsrs, doc(cfg(feature = "client-no-provider")))]
pub mod adapters;
mod canary;
pub mod cassette;
mod chat;
mod check;
pub mod doctor;
#[cfg(feature = "evaluate")]
#[cfg_attr(docsrs, doc(cfg(feature = "evaluate")))]
pub mod evaluate;
mod fallback;
mod limits;
mod prompt;
pub mod reply;
mod rules;
mod schema;
mod triager;

pub use crate::canary::{Enforced, enforces_schema};
pub use crate::chat::{
    ChatError, ChatErrorKind, ChatModel, ChatReply, ChatRequest, InvalidSchema, OutputSchema, Usage,
};
pub use crate::check::{Flag, Violation};
pub use crate::fallback::WithFallback;
pub use crate::limits::{Budget, BudgetSpent, ModelPrice, Prices};
pub use crate::prompt::EvidenceTooLarge;
pub use crate::rules::{ActionRule, RuleTriager, RuleTriagerBuilder, When};
pub use crate::schema::{MenuTooLarge, bounded_report_schema, report_schema};
pub use crate::triager::{AskError, InvalidTriager, LlmTriager, LlmTriagerBuilder, TriagePreview};
