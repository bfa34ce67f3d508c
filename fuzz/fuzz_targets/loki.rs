//! Any bytes as answers of Loki's API: no panic, and no more entries or samples than the body has room for. Its numbers
//! come as Prometheus'.
#![no_main]

use aiops_detectors::client::{LogStream, PrometheusAnswer, PrometheusValue};
use libfuzzer_sys::fuzz_target;

/// `["0",""]` is the shortest entry, `[0,"0"]` the shortest sample.
const SHORTEST: usize = 7;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(streams) = LogStream::from_range_body(bytes) {
        let entries: usize = streams.iter().map(|stream| stream.entries.len()).sum();
        let text: usize = streams.iter().flat_map(|stream| &stream.entries).map(|(_, line)| line.len()).sum();
        assert!(entries <= bytes.len() / SHORTEST && text <= bytes.len());
    }
    if let Ok(answer) = PrometheusAnswer::from_query_body(bytes) {
        if let PrometheusValue::Vector(series) | PrometheusValue::Matrix(series) = answer.value {
            assert!(series.iter().map(|series| series.samples.len()).sum::<usize>() <= bytes.len() / SHORTEST);
        }
    }
});
