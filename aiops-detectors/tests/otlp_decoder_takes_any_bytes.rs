//! No request makes the OTLP decoder panic or take more than its bounds, whatever was done to it on the way.
#![cfg(feature = "otlp")]
#![allow(clippy::unwrap_used)]

use aiops_detectors::jiff::Timestamp;
use aiops_detectors::otlp::{OtlpEncoding, OtlpSettings, decode_logs, decode_points, decode_spans};
use proptest::prelude::*;

const BODIES: [(&[u8], OtlpEncoding); 6] = [
    (include_bytes!("fixtures/otlp/metrics.pb"), OtlpEncoding::Protobuf),
    (include_bytes!("fixtures/otlp/logs.pb"), OtlpEncoding::Protobuf),
    (include_bytes!("fixtures/otlp/traces.pb"), OtlpEncoding::Protobuf),
    (include_bytes!("fixtures/otlp/metrics.json"), OtlpEncoding::Json),
    (include_bytes!("fixtures/otlp/logs.json"), OtlpEncoding::Json),
    (include_bytes!("fixtures/otlp/traces.json"), OtlpEncoding::Json),
];

/// Reads a body as each signal, and gives how many items there were at the most.
fn items(body: &[u8], encoding: OtlpEncoding) -> usize {
    let mut settings = OtlpSettings::default();
    settings.max_items = 10;
    let received = Timestamp::UNIX_EPOCH;
    let points = decode_points(body, encoding, &settings).map_or(0, |batch| {
        for point in &batch.items {
            if let aiops_detectors::otlp::OtlpValue::Histogram { distribution, .. } = &point.value {
                let _ = distribution.quantile(0.99);
            }
        }
        batch.items.len()
    });
    let lines = decode_logs(body, encoding, &settings, received).map_or(0, |batch| batch.items.len());
    let spans = decode_spans(body, encoding, &settings).map_or(0, |batch| batch.items.len());
    points.max(lines).max(spans)
}

proptest! {
    #[test]
    fn any_bytes_are_a_request_or_malformed(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        json in any::<bool>(),
    ) {
        let encoding = if json { OtlpEncoding::Json } else { OtlpEncoding::Protobuf };
        prop_assert!(items(&bytes, encoding) <= 10);
    }

    /// Cut anywhere, with a few bytes replaced.
    #[test]
    fn a_damaged_request_is_a_request_or_malformed(
        (body, encoding) in prop::sample::select(BODIES.to_vec()),
        cut in any::<prop::sample::Index>(),
        whole in any::<bool>(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
    ) {
        let mut body = body.to_vec();
        for (at, byte) in damage {
            *at.get_mut(&mut body) = byte;
        }
        if !whole {
            body.truncate(cut.index(body.len()));
        }
        prop_assert!(items(&body, encoding) <= 10);
    }
}
