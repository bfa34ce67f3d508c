//! The in-memory sources keep their contracts, and the suites catch sources that do not.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use aiops_detectors::jiff::Timestamp;
use aiops_detectors::testing::{check_log_source, check_sample_source, check_span_source};
use aiops_detectors::{
    Labels, LogLine, MemoryLogSource, MemorySource, MemorySpanSource, Sample, SampleSource, Series, SeriesBatch,
    SourceError, SpanRecord,
};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn samples() -> MemorySource {
    let samples = (0..10).map(|index| Sample { at: at(index * 60), value: 1.0 }).collect();
    MemorySource::new("memory", vec![Series::new(Labels::new(), samples)])
}

#[tokio::test]
async fn the_references_pass() {
    check_sample_source(&samples(), at(60), at(300)).await.unwrap();
    let logs = MemoryLogSource::new("logs", 100);
    let spans = MemorySpanSource::new("spans", 100);
    for second in [5, 1, 3] {
        logs.push(LogLine::new(at(second), if second == 1 { "cart" } else { "web" }, "boom"));
        spans.push(SpanRecord::new(at(second), "web", "GET /", Duration::from_millis(3)).error(second == 1));
    }
    check_log_source(&logs, at(0), at(4)).await.unwrap();
    check_span_source(&spans, at(0), at(4)).await.unwrap();
}

/// Gives the sample at `to` as well.
#[derive(Debug)]
struct Closed(MemorySource);

#[async_trait::async_trait]
impl SampleSource for Closed {
    fn name(&self) -> &str {
        "closed"
    }

    async fn read(&self, from: Timestamp, to: Timestamp) -> Result<SeriesBatch, SourceError> {
        self.0.read(from, to.checked_add(aiops_detectors::jiff::SignedDuration::from_nanos(1)).unwrap()).await
    }
}

#[tokio::test]
async fn a_closed_interval_is_caught() {
    let violation = check_sample_source(&Closed(samples()), at(60), at(300)).await.unwrap_err();
    assert_eq!(violation.contract, "read gives from <= at < to");
}
