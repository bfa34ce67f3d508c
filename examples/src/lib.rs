//! Shared parts of the example programs, and the doctests of the guides.

pub mod audit;
pub mod backtest;
pub mod decide;
#[cfg(feature = "model")]
pub mod doctor;
#[cfg(feature = "embedded")]
pub mod embedded;
pub mod evaluate;
pub mod features;
pub mod incidents;
pub mod lines;
pub mod log_templates;
#[cfg(feature = "model")]
pub mod model;
pub(crate) mod page;
pub mod petshop;
pub mod quickstart;
#[cfg(feature = "model")]
pub mod record;
pub mod replay;
pub mod review;
#[cfg(feature = "buses")]
pub mod three_services;

/// Every Rust block of the README and of the guides is a test of this crate.
#[cfg(doctest)]
mod guides {
    #[doc = include_str!("../../README.md")]
    struct Readme;
    #[doc = include_str!("../../CONTRIBUTING.md")]
    struct Contributing;
    #[doc = include_str!("../../docs/guide/backtest.md")]
    struct BacktestGuide;
    #[doc = include_str!("../../docs/guide/host.md")]
    struct HostGuide;
    #[doc = include_str!("../../docs/guide/logs.md")]
    struct LogsGuide;
    #[cfg(feature = "client")]
    #[doc = include_str!("../../docs/guide/models.md")]
    struct ModelsGuide;
    #[doc = include_str!("../../docs/guide/operating.md")]
    struct OperatingGuide;
    #[doc = include_str!("../../docs/guide/policy.md")]
    struct PolicyGuide;
    #[doc = include_str!("../../docs/guide/redaction.md")]
    struct RedactionGuide;
    #[doc = include_str!("../../docs/guide/replay.md")]
    struct ReplayGuide;
    #[cfg(feature = "client")]
    #[doc = include_str!("../../docs/guide/telemetry.md")]
    struct TelemetryGuide;
}
