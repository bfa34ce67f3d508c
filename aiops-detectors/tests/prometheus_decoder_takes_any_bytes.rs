//! No answer makes the decoder panic, whatever was done to it on the way.
#![cfg(feature = "client")]
#![allow(clippy::unwrap_used)]

use aiops_detectors::client::{ClientErrorKind, PrometheusAnswer};
use proptest::prelude::*;

const RANGE: &str = include_str!("fixtures/prometheus/prom_query_range_zscore.json");

proptest! {
    #[test]
    fn any_bytes_are_an_answer_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = PrometheusAnswer::from_range_body(&bytes);
    }

    /// Cut anywhere, with a few bytes replaced by those that JSON is made of.
    #[test]
    fn a_damaged_answer_is_an_answer_or_malformed(
        cut in 0..=RANGE.len(),
        damage in prop::collection::vec((0..RANGE.len(), prop::sample::select(b"\"[]{},:0-e.+nN\\ \xff".to_vec())), 0..6),
    ) {
        let mut body = RANGE.as_bytes().to_vec();
        for (at, byte) in damage {
            body[at] = byte;
        }
        body.truncate(cut);
        if let Err(error) = PrometheusAnswer::from_range_body(&body) {
            let damaged = matches!(error.kind, ClientErrorKind::Malformed | ClientErrorKind::Unavailable);
            prop_assert!(damaged && error.is_retryable(), "{error}");
        }
    }

    /// What is written as Prometheus writes it is read as it was, to the last bit.
    #[test]
    fn samples_are_read_as_they_were_written(
        samples in prop::collection::vec((0_i64..4_000_000_000_000, any::<f64>()), 1..50),
    ) {
        let text = |value: f64| if value.is_infinite() { format!("{}Inf", if value > 0.0 { "+" } else { "-" }) } else { format!("{value:e}") };
        let pairs: Vec<String> =
            samples.iter().map(|(at, value)| format!("[{}.{:03},\"{}\"]", at / 1_000, at % 1_000, text(*value))).collect();
        let body = format!(
            r#"{{"data":{{"result":[{{"values":[{}],"metric":{{"a":"\u00e4\n"}}}}],"resultType":"matrix"}},"status":"success"}}"#,
            pairs.join(",")
        );
        let answer = PrometheusAnswer::from_range_body(body.as_bytes()).unwrap();
        prop_assert_eq!(&answer.value[0].labels["a"], "ä\n");
        for (read, (at, value)) in answer.value[0].samples.iter().zip(&samples) {
            prop_assert_eq!(read.at.as_millisecond(), *at);
            prop_assert!(read.value == *value || read.value.is_nan() && value.is_nan());
        }
        prop_assert_eq!(answer.value[0].samples.len(), samples.len());
    }
}
