//! Conformance suites of this crate's traits, and a suite of made series to compare scorers by. Each
//! conformance suite gives the first broken line of the contract.

pub mod synthetic;

use aiops_core::DataState;
use aiops_core::testing::{Violation, ensure};
use jiff::Timestamp;

use crate::scorer::Scorer;
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

/// Checks a scorer: finite for any input, what is refused changes nothing, state reads back, an empty
/// copy is empty.
///
/// # Errors
/// The first violation.
pub fn check_scorer(prototype: &dyn Scorer) -> Result<(), Violation> {
    const STEP: i64 = 300;
    let at = |index: i64| Timestamp::from_second(index * STEP).unwrap_or(Timestamp::UNIX_EPOCH);
    let value = |index: i64| 10.0 + (index % 7) as f64 + if index % 211 == 210 { 90.0 } else { 0.0 };
    let mut one = prototype.fresh();
    let mut restored = prototype.fresh();
    for index in 0..1_000 {
        let score = one.observe(at(index), value(index));
        let numbers = [score.statistic, score.surprise, score.expected.unwrap_or(0.0)];
        let finite = numbers.iter().all(|number| number.is_finite()) && score.surprise >= 0.0;
        ensure(finite, "a score is finite, its surprise not negative", || format!("{score:?} at {index}"))?;
        let other = restored.observe(at(index), value(index));
        ensure(score == other, "saved and loaded state decides the same", || {
            format!("{score:?}, {other:?} at {index}")
        })?;
        if index % 97 == 0 {
            let bytes = one.save();
            restored = prototype.fresh();
            let read = restored.restore(&bytes);
            ensure(read.is_ok(), "saved state reads back", || format!("{read:?}"))?;
        }
    }
    let before = one.save();
    let last = at(999);
    for (time, odd) in [(at(1_000), f64::INFINITY), (at(1_000), f64::NEG_INFINITY), (last, 5.0), (at(5), 5.0)] {
        let score = one.observe(time, odd);
        let calm = score.surprise == 0.0 && score.statistic == 0.0;
        ensure(calm, "a sample that is refused scores 0", || format!("{score:?} for {odd} at {time}"))?;
    }
    ensure(one.save() == before, "a sample that is refused changes nothing", || "the state moved".to_owned())?;
    let score = one.observe(at(1_000), f64::NAN);
    let calm = score.surprise == 0.0 && score.statistic == 0.0 && one.save() == before;
    let scored = score.statistic.is_finite() && score.surprise.is_finite() && score.surprise >= 0.0;
    let sound = if score.state == DataState::Error { calm } else { scored };
    ensure(sound, "NaN is refused, or scored as the value that it stands for", || format!("{score:?}"))?;
    for huge in [f64::MAX, f64::MIN, f64::MIN_POSITIVE / 4.0] {
        let mut scorer = prototype.fresh();
        for index in 0..600 {
            let score = scorer.observe(at(index), if index % 3 == 0 { huge } else { 1.0 });
            let finite = score.statistic.is_finite() && score.surprise.is_finite();
            ensure(finite, "a score is finite for any finite input", || format!("{score:?} for {huge}"))?;
        }
    }
    let garbage = one.fresh().restore(b"{\"v\":999}");
    ensure(garbage.is_err(), "state of another version is refused", || "it was taken".to_owned())
}
