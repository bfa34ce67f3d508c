//! Conformance suites of this crate's traits, and made series to
//! compare scorers and burst detectors by. Each
//! conformance suite gives the first broken line of the contract.

#[cfg(feature = "server")]
mod authoriser;
pub mod bursts;
mod scorer;
pub mod synthetic;

use aiops_core::testing::{Violation, ensure};
use jiff::Timestamp;

#[cfg(feature = "server")]
#[cfg_attr(docsrs, doc(cfg(feature = "server")))]
pub use self::authoriser::check_authoriser;
pub use self::scorer::check_scorer;
use crate::source::{LogSource, SampleSource, SpanSource};

/// Checks a sample source that holds at least one sample in `[from, to)`; not for a drained source.
///
/// # Errors
/// The first violation.
pub async fn check_sample_source(source: &dyn SampleSource, from: Timestamp, to: Timestamp) -> Result<(), Violation> {
    let read = |from, to| async move {
        source
            .read(from, to)
            .await
            .map_err(|error| Violation::new("a read of known samples succeeds", error.to_string()))
    };
    let all = read(from, to).await?;
    let count: usize = all.series.iter().map(|series| series.samples.len()).sum();
    ensure(count > 0, "the range given to the suite holds samples", || format!("none in {from}..{to}"))?;
    for series in &all.series {
        let outside = series.samples.iter().find(|sample| sample.at < from || sample.at >= to);
        ensure(outside.is_none(), "read gives from <= at < to", || format!("{outside:?} in {from}..{to}"))?;
    }
    let mut labels: Vec<_> = all.series.iter().map(|series| &series.labels).collect();
    labels.sort();
    labels.dedup();
    ensure(labels.len() == all.series.len(), "each series comes once", || format!("{labels:?}"))?;
    let again = read(from, to).await?;
    ensure(again == all, "reading a range again gives the same samples", || format!("{count} samples, then others"))?;
    let empty = read(from, from).await?;
    let none = empty.series.iter().all(|series| series.samples.is_empty());
    ensure(none, "an empty range is empty and no error", || format!("{:?}", empty.series.first()))
}

/// Checks a log source that holds at least one line in `[from, to)`.
///
/// # Errors
/// The first violation.
pub async fn check_log_source(source: &dyn LogSource, from: Timestamp, to: Timestamp) -> Result<(), Violation> {
    let failed = |error: crate::SourceError| Violation::new("a read of known lines succeeds", error.to_string());
    let batch = source.read(from, to).await.map_err(failed)?;
    ensure(!batch.lines.is_empty(), "the range given to the suite holds lines", || format!("none in {from}..{to}"))?;
    let outside = batch.lines.iter().find(|line| line.at < from || line.at >= to);
    ensure(outside.is_none(), "read gives from <= at < to", || format!("{outside:?}"))?;
    ensure(batch.lines.is_sorted_by_key(|line| line.at), "lines come oldest first", || "they do not".to_owned())?;
    let counts = source.count(from, to).await.map_err(failed)?;
    let mut services: Vec<_> = counts.iter().map(|count| &count.service).collect();
    services.sort();
    services.dedup();
    ensure(services.len() == counts.len(), "count gives a service once", || format!("{counts:?}"))?;
    let counted: u64 = counts.iter().map(|count| count.count).sum();
    let lines = batch.lines.len() as u64 + batch.cut;
    ensure(counted == lines, "count and read agree", || format!("{counted} counted, {lines} read or cut"))?;
    let empty = source.count(from, from).await.map_err(failed)?;
    ensure(empty.iter().all(|count| count.count == 0), "an empty range is empty and no error", || format!("{empty:?}"))
}

/// Checks a span source that holds at least one span in `[from, to)`.
///
/// # Errors
/// The first violation.
pub async fn check_span_source(source: &dyn SpanSource, from: Timestamp, to: Timestamp) -> Result<(), Violation> {
    let failed = |error: crate::SourceError| Violation::new("a read of known spans succeeds", error.to_string());
    let batch = source.read(from, to).await.map_err(failed)?;
    ensure(!batch.spans.is_empty(), "the range given to the suite holds spans", || format!("none in {from}..{to}"))?;
    let outside = batch.spans.iter().find(|span| span.at < from || span.at >= to);
    ensure(outside.is_none(), "read gives from <= at < to", || format!("{outside:?}"))?;
    let sorted = batch.spans.is_sorted_by_key(|span| span.at);
    ensure(sorted, "spans come oldest end first", || "they do not".to_owned())?;
    let empty = source.read(from, from).await.map_err(failed)?;
    ensure(empty.spans.is_empty(), "an empty range is empty and no error", || format!("{:?}", empty.spans.first()))
}
