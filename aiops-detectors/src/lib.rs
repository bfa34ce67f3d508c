//! Detection: sources of samples, log lines and spans, and what reads them.
//!
//! Detection and a channel alone are a complete pipeline (here over latencies that the host pushes):
//!
//! ```
//! use aiops_core::{CancellationToken, LogNotifier, Pipeline, jiff::Timestamp};
//! use aiops_detectors::{Labels, Mad, PushSource, Sample, SeriesDetector};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let samples = PushSource::new("latency", 10_000);
//! let detector = SeriesDetector::builder("P99LatencyAnomaly", samples.clone(), Mad::default())
//!     .service_label("service")
//!     .unit("s")
//!     .build()?;
//! let pipeline = Pipeline::builder().detector(detector).notify(LogNotifier).build()?;
//!
//! // From the request path, which it never blocks:
//! let labels = Labels::from([("service".to_owned(), "checkout".to_owned())]);
//! samples.offer(labels, Sample { at: Timestamp::now(), value: 0.12 })?;
//!
//! let shutdown = CancellationToken::new();
//! # shutdown.cancel();
//! pipeline.run(shutdown).await?;
//! # Ok(()) }
//! ```
//!
//! # Features
//!
//! | feature | what it is for |
//! |---|---|
//! | `client` | the clients of Prometheus and its like, Loki, Tempo and Alertmanager, with the sources and the channel over them, on the HTTP client that the host passes in |
//! | `mstl` | the scorer `Mstl`: trend and seasons by repeated LOESS, in place of Prophet |
//! | `otlp` | the intake of OTLP metrics, logs and traces, with its router |
//! | `server` | routers that a host mounts into its own axum server: Alertmanager's webhook and deploys |
//! | `testing` | conformance suites of this crate's traits, for third parties' implementations |
#![cfg_attr(docsrs, feature(doc_cfg))]

mod adaptive_log_burst;
#[cfg(any(feature = "client", feature = "server"))]
mod alert_mapping;
pub mod backtest;
mod burst;
#[cfg(feature = "client")]
#[cfg_attr(docsrs, doc(cfg(feature = "client")))]
pub mod client;
mod deploy_metric;
mod error_log_burst;
mod error_logs;
mod log_burst;
mod log_state;
mod new_template;
#[cfg(feature = "otlp")]
#[cfg_attr(docsrs, doc(cfg(feature = "otlp")))]
pub mod otlp;
mod random;
mod scorer;
mod series;
#[cfg(feature = "server")]
#[cfg_attr(docsrs, doc(cfg(feature = "server")))]
pub mod server;
mod source;
mod template;
#[cfg(feature = "testing")]
pub mod testing;
mod trace_error_spike;

/// Re-exported, since its types stand in this crate's API.
pub use jiff;

pub use crate::adaptive_log_burst::AdaptiveLogBurst;
#[cfg(any(feature = "client", feature = "server"))]
#[cfg_attr(docsrs, doc(cfg(any(feature = "client", feature = "server"))))]
pub use crate::alert_mapping::AlertMapping;
pub use crate::burst::{BURST_WINDOW_SECONDS, BurstState, BurstTest, BurstVerdict, CounterIncrements};
pub use crate::deploy_metric::DeployMetric;
pub use crate::error_log_burst::ErrorLogBurst;
pub use crate::error_logs::{ErrorGroup, ErrorLogContext, ErrorLogs, ErrorSummary};
pub use crate::log_burst::LogBurst;
pub use crate::log_state::{Kept, LogState};
pub use crate::new_template::NewTemplate;
pub use crate::scorer::{
    Adaptive, Cusum, DEFAULT_SCORER, Ewma, FieldReport, IsolationForest, Mad, RollingZScore, Score, Scorer,
    ScorerStateError, SeasonalBaseline, SeasonalZScore, scorer_by_name, scorer_names,
};
pub use crate::scorer::{BankPart, Ensemble, EnsembleMeasure, Filled, InvalidEnsemble, MissingValues, ScorerBank};
#[cfg(feature = "mstl")]
pub use crate::scorer::{Mstl, MstlError, MstlFit, MstlHistory};
pub use crate::series::{
    Combine, Direction, InvalidSeriesDetector, MissingSamples, SeriesDetector, SeriesDetectorBuilder,
    SeriesDetectorStatus, SeriesRule, SeriesStatus,
};
pub use crate::source::{
    BadRow, CsvError, CsvReader, CsvRow, CsvSamples, Full, Labels, LogBatch, LogLine, LogSource, MemoryLogSource,
    MemorySource, MemorySpanSource, PushSource, RowFault, Sample, SampleSource, Series, SeriesBatch, ServiceCount,
    SourceError, SpanBatch, SpanRecord, SpanSource, count_csv_rows, read_csv,
};
pub use crate::template::{
    DEFAULT_TEMPLATES, GroupCount, InvalidLineFingerprint, LineFingerprint, Observed, TemplateGroup, TemplateMiner,
    TemplateStateError, fingerprint_line, mask_line,
};
pub use crate::trace_error_spike::TraceErrorSpike;
