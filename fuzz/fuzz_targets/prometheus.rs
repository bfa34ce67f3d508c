//! Any bytes as answers of Prometheus' API: no panic, and no more samples than the body has room for.
#![no_main]

use aiops_detectors::client::{PrometheusAnswer, PrometheusValue};
use libfuzzer_sys::fuzz_target;

/// `[0,"0"]` is the shortest sample.
const SHORTEST: usize = 7;

fuzz_target!(|bytes: &[u8]| {
    let mut samples = 0;
    if let Ok(answer) = PrometheusAnswer::from_range_body(bytes) {
        samples = answer.value.iter().map(|series| series.samples.len()).sum();
    }
    if let Ok(answer) = PrometheusAnswer::from_query_body(bytes) {
        if let PrometheusValue::Vector(series) | PrometheusValue::Matrix(series) = answer.value {
            samples = samples.max(series.iter().map(|series| series.samples.len()).sum());
        }
    }
    assert!(samples <= bytes.len() / SHORTEST);
});
