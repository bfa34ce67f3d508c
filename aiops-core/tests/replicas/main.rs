//! Several replicas of detection and triage on one state store say what one of them would.
#![allow(clippy::unwrap_used)]
#![allow(clippy::panic, clippy::print_stdout)] // helpers outside #[test], and figures

#[path = "../common/mod.rs"]
mod common;
mod eight_cases;
mod one_model_call;
mod simulated;
mod support;
mod two_pipelines;
