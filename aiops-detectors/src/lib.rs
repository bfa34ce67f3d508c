//! Detection: sources of samples, log lines and spans, and what reads them.
//!
//! # Features
//!
//! | feature | what it is for |
//! |---|---|
//! | `testing` | conformance suites of this crate's traits, for third parties' implementations |
#![cfg_attr(docsrs, feature(doc_cfg))]

mod log_burst;
mod scorer;
mod series;
mod source;
#[cfg(feature = "testing")]
pub mod testing;

/// Re-exported, since its types stand in this crate's API.
pub use jiff;

pub use crate::log_burst::LogBurst;
pub use crate::scorer::{Mad, Score, Scorer, ScorerStateError, SeasonalZScore};
pub use crate::series::{
    Direction, InvalidSeriesDetector, MissingSamples, SeriesDetector, SeriesDetectorBuilder, SeriesRule,
};
pub use crate::source::{
    BadRow, CsvError, CsvSamples, Full, Labels, LogBatch, LogLine, LogSource, MemoryLogSource, MemorySource,
    MemorySpanSource, PushSource, Sample, SampleSource, Series, SeriesBatch, ServiceCount, SourceError, SpanBatch,
    SpanRecord, SpanSource, read_csv,
};
