//! Any bytes as OTLP requests of all three signals in both encodings: no panic, and nothing beyond the bounds.
#![no_main]

use aiops_detectors::jiff::Timestamp;
use aiops_detectors::otlp::{
    OtlpEncoding, OtlpIntake, OtlpQuantity, OtlpSettings, OtlpSource, decode_logs, decode_points, decode_spans,
};
use libfuzzer_sys::fuzz_target;

/// 2026-11-20 00:10 UTC: after the requests of the corpus.
const RECEIVED: i64 = 1_795_133_400;
/// So few that the bounds are met.
const MAX_ITEMS: usize = 8;
const MAX_ATTRIBUTES: usize = 3;
const MAX_BYTES: usize = 16;
/// The metrics of aiops-detectors/tests/fixtures/otlp, which make a good corpus, each with a quantity that it has.
const METRICS: [(&str, OtlpQuantity); 5] = [
    ("gauge", OtlpQuantity::Value),
    ("requests", OtlpQuantity::Rate),
    ("duration", OtlpQuantity::Quantile(0.99)),
    ("size", OtlpQuantity::Quantile(0.5)),
    ("latency", OtlpQuantity::Mean),
];

fuzz_target!(|bytes: &[u8]| {
    let mut settings = OtlpSettings::default();
    settings.max_items = MAX_ITEMS;
    settings.max_attributes = MAX_ATTRIBUTES;
    settings.max_label_bytes = MAX_BYTES;
    settings.max_line_bytes = MAX_BYTES;
    // Beside its attributes an item has the labels of its resource, and up to two of its own fields.
    let max_labels = MAX_ATTRIBUTES + settings.resource_labels.len() + 2;
    let received = Timestamp::from_second(RECEIVED).unwrap_or_default();
    for encoding in [OtlpEncoding::Protobuf, OtlpEncoding::Json] {
        if let Ok(batch) = decode_points(bytes, encoding, &settings) {
            assert!(batch.items.len() <= MAX_ITEMS);
            assert!(batch.items.iter().all(|point| point.labels.len() <= max_labels));
        }
        if let Ok(batch) = decode_logs(bytes, encoding, &settings, received) {
            assert!(batch.items.len() <= MAX_ITEMS);
            assert!(batch.items.iter().all(|item| item.line.text.len() <= MAX_BYTES));
            assert!(batch.items.iter().all(|item| item.line.labels.len() <= max_labels));
        }
        if let Ok(batch) = decode_spans(bytes, encoding, &settings) {
            assert!(batch.items.len() <= MAX_ITEMS);
            assert!(batch.items.iter().all(|span| span.operation.len() <= MAX_BYTES));
        }
        let sources = METRICS.map(|(metric, quantity)| OtlpSource::new(metric, metric, quantity, 4));
        let intake = sources.into_iter().fold(OtlpIntake::new(), OtlpIntake::metric);
        // The second time on what the first one left.
        for _ in 0..2 {
            let _ = intake.take_metrics(bytes, encoding, received);
        }
    }
});
