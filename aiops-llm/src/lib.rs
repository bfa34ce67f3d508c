//! Triage: what stands between an incident's context and a report.
//!
//! | you want | take |
//! |---|---|
//! | a report without any model | [`RuleTriager::new`] with a menu |
//! | somebody to answer when the model cannot | [`WithFallback`] around it and [`RuleTriager::default`] |
//! | a report out of a model's raw text | [`reply`] |
//! | a model endpoint of your own | [`ChatModel`] |
//! | the schema that a model's report must have | [`report_schema`] |
//!
//! A triager picks names from a menu. What it writes is checked by the responder behind it, never here
//! alone.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod chat;
mod fallback;
pub mod reply;
mod rules;
mod schema;

pub use crate::chat::{
    ChatError, ChatErrorKind, ChatModel, ChatReply, ChatRequest, InvalidSchema, OutputSchema, Usage,
};
pub use crate::fallback::WithFallback;
pub use crate::rules::{ActionRule, RuleTriager, RuleTriagerBuilder, When};
pub use crate::schema::{MenuTooLarge, bounded_report_schema, report_schema};
