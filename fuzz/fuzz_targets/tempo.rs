//! Any bytes as answers of Tempo's API: no panic, and no more spans or samples than the body has room for.
#![no_main]

use aiops_detectors::client::{FoundTrace, TempoAnswer};
use libfuzzer_sys::fuzz_target;

/// `{}` is the shortest item.
const SHORTEST: usize = 2;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(traces) = FoundTrace::from_search_body(bytes) {
        let spans: usize = traces.iter().map(|trace| trace.spans.len()).sum();
        assert!(traces.len() + spans <= bytes.len() / SHORTEST);
        assert!(traces.iter().all(|trace| trace.trace_id.len() >= 32));
    }
    if let Ok(answer) = TempoAnswer::from_range_body(bytes) {
        for series in &answer.series {
            assert!(series.samples.is_sorted_by_key(|sample| sample.at));
        }
        assert!(answer.series.iter().map(|series| series.samples.len()).sum::<usize>() <= bytes.len() / SHORTEST);
    }
});
