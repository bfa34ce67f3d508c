//! Gauges, sums, histograms and summaries become samples of the quantity that was asked for: the same ones for
//! cumulative streams and deltas, across restarts.
#![cfg(feature = "otlp")]
#![allow(clippy::unwrap_used, clippy::panic)] // helpers outside `#[test]`

use aiops_core::testing::MetricRecorder;
use aiops_detectors::jiff::Timestamp;
use aiops_detectors::otlp::{OtlpEncoding, OtlpIntake, OtlpQuantity, OtlpRefusal, OtlpSource, OtlpTally};
use aiops_detectors::{Labels, SampleSource};
use serde_json::{Value, json};

/// 2026-11-20 00:00 UTC.
const START: i64 = 1_795_132_800;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(START + seconds).unwrap()
}

fn nanos(seconds: i64) -> String {
    format!("{}", at(seconds).as_nanosecond())
}

/// A request of one process, with one metric of one kind.
fn request(process: &str, kind: &str, data: Value) -> Vec<u8> {
    let attributes = json!([
        {"key": "service.name", "value": {"stringValue": "cart"}},
        {"key": "host.name", "value": {"stringValue": process}},
    ]);
    let metric = json!({"name": "m", kind: data});
    let group = json!({"resource": {"attributes": attributes}, "scopeMetrics": [{"metrics": [metric]}]});
    serde_json::to_vec(&json!({"resourceMetrics": [group]})).unwrap()
}

/// One source in one intake.
struct Fed {
    source: OtlpSource,
    intake: OtlpIntake,
}

impl Fed {
    fn new(quantity: OtlpQuantity) -> Self {
        Self::with_capacity(quantity, 100)
    }

    fn with_capacity(quantity: OtlpQuantity, capacity: usize) -> Self {
        let source = OtlpSource::new("s", "m", quantity, capacity);
        Self { intake: OtlpIntake::new().metric(source.clone()), source }
    }

    fn take(&self, body: &[u8], second: i64) -> Result<OtlpTally, OtlpRefusal> {
        self.intake.take_metrics(body, OtlpEncoding::Json, at(second))
    }

    /// A point of a sum that began at `start`.
    fn sum(&self, process: &str, temporality: u8, [start, second, value]: [i64; 3]) {
        let point = json!({"startTimeUnixNano": nanos(start), "timeUnixNano": nanos(second), "asInt": value});
        let data = json!({"aggregationTemporality": temporality, "isMonotonic": true, "dataPoints": [point]});
        let tally = self.take(&request(process, "sum", data), second).unwrap();
        assert_eq!(tally.rejected(), 0, "{tally}");
    }

    /// Seconds and values of the one series; drains it.
    async fn samples(&self) -> Vec<(i64, f64)> {
        let mut series = self.source.read(at(0), at(100_000)).await.unwrap().series;
        let Some(only) = series.pop() else { return Vec::new() };
        assert!(series.is_empty());
        assert_eq!(only.labels, Labels::from([("service.name".to_owned(), "cart".to_owned())]));
        only.samples.iter().map(|sample| (sample.at.as_second() - START, sample.value)).collect()
    }
}

const DELTA: u8 = 1;
const CUMULATIVE: u8 = 2;

#[tokio::test]
async fn a_counter_gives_the_same_rates_as_its_deltas() {
    let (cumulative, delta) = (Fed::new(OtlpQuantity::Rate), Fed::new(OtlpQuantity::Rate));
    let mut total = 1_000;
    cumulative.sum("a", CUMULATIVE, [-9_000, 0, total]);
    for (number, added) in [60, 0, 90, 30].into_iter().enumerate() {
        let end = 60 * (number as i64 + 1);
        total += added;
        cumulative.sum("a", CUMULATIVE, [-9_000, end, total]);
        delta.sum("a", DELTA, [end - 60, end, added]);
    }
    let expected = [(60, 1.0), (120, 0.0), (180, 1.5), (240, 0.5)];
    assert_eq!(cumulative.samples().await, expected, "nothing of the 1,000 from before");
    assert_eq!(delta.samples().await, expected);
}

#[tokio::test]
async fn a_restart_counts_from_its_start_whether_the_sender_says_so_or_not() {
    let fed = Fed::new(OtlpQuantity::Increase);
    fed.sum("a", CUMULATIVE, [0, 10, 500]);
    fed.sum("a", CUMULATIVE, [15, 20, 7]); // a new start
    fed.sum("a", CUMULATIVE, [22, 30, 900]); // a new start, above the old value
    fed.sum("a", CUMULATIVE, [22, 40, 5]); // shrank under the same start
    fed.sum("a", CUMULATIVE, [50, 50, 77]); // started at this point: what it holds is from before
    fed.sum("a", CUMULATIVE, [50, 60, 78]);
    assert_eq!(fed.samples().await, [(20, 7.0), (30, 900.0), (40, 5.0), (60, 1.0)]);
}

#[tokio::test]
async fn a_stream_that_began_under_our_eyes_counts_from_its_first_point() {
    let fed = Fed::new(OtlpQuantity::Rate);
    fed.sum("a", CUMULATIVE, [-50, 0, 100]);
    fed.sum("b", CUMULATIVE, [10, 20, 30]); // a new pod fails from its first second on
    fed.sum("c", CUMULATIVE, [-10, 30, 30]); // began before: how much of it is new is unknown
    assert_eq!(fed.samples().await, [(20, 3.0)]);
}

#[tokio::test]
async fn processes_without_an_instance_id_are_no_restarts_of_each_other() {
    let fed = Fed::new(OtlpQuantity::Increase);
    for (second, [a, b]) in [(0, [1_000, 10]), (10, [1_001, 12]), (20, [1_003, 15])] {
        fed.sum("b", CUMULATIVE, [-5, second + 1, b]);
        fed.sum("a", CUMULATIVE, [-9, second, a]); // measured before, sent after
    }
    assert_eq!(fed.samples().await, [(10, 1.0), (11, 2.0), (20, 2.0), (21, 3.0)]);
}

#[test]
fn each_point_that_gives_no_sample_is_counted() {
    let fed = Fed::with_capacity(OtlpQuantity::Rate, 2);
    let gauge = request("a", "gauge", json!({"dataPoints": [{"timeUnixNano": nanos(10), "asInt": 1}]}));
    let steps: [(&str, &dyn Fn()); 7] = [
        ("the first of its stream", &|| fed.sum("a", CUMULATIVE, [-1, 10, 1])),
        ("sent again", &|| fed.sum("a", CUMULATIVE, [-1, 10, 1])),
        ("late", &|| fed.sum("a", CUMULATIVE, [-1, 5, 1])),
        ("another first", &|| fed.sum("b", CUMULATIVE, [-1, 10, 1])),
        ("no room for a third stream", &|| fed.sum("c", CUMULATIVE, [-1, 10, 1])),
        ("over no time", &|| fed.sum("a", DELTA, [20, 20, 1])),
        ("a gauge has no rate", &|| assert_eq!(fed.take(&gauge, 10).unwrap().rejected(), 0)),
    ];
    for (what, step) in steps {
        let recorder = MetricRecorder::default();
        metrics::with_local_recorder(&recorder, step);
        assert_eq!(recorder.value("aiops_otlp_no_sample_total"), Some(1.0), "{what}");
        assert_eq!(recorder.value("aiops_otlp_items_total"), Some(1.0), "{what}");
    }
}

#[tokio::test]
async fn idle_streams_make_room_for_new_ones() {
    let fed = Fed::with_capacity(OtlpQuantity::Increase, 2);
    fed.sum("a", CUMULATIVE, [-1, 0, 5]);
    fed.sum("b", CUMULATIVE, [-1, 0, 5]);
    fed.sum("b", CUMULATIVE, [-1, 3_000, 6]);
    fed.sum("c", CUMULATIVE, [-1, 3_001, 7]); // "a" may come back yet
    fed.sum("b", CUMULATIVE, [-1, 4_000, 6]);
    assert_eq!(fed.samples().await, [(3_000, 1.0), (4_000, 0.0)]);
    fed.sum("c", CUMULATIVE, [-1, 4_001, 7]); // it did not for an hour
    fed.sum("c", CUMULATIVE, [-1, 4_002, 9]);
    assert_eq!(fed.samples().await, [(4_002, 2.0)]);
}

/// A cumulative histogram point with bounds 1, 2, 4.
fn histogram(second: i64, counts: [u64; 4], sum: f64) -> Vec<u8> {
    let point = json!({
        "startTimeUnixNano": nanos(-60), "timeUnixNano": nanos(second), "count": counts.iter().sum::<u64>(), "sum": sum,
        "bucketCounts": counts, "explicitBounds": [1, 2, 4],
    });
    request("a", "histogram", json!({"aggregationTemporality": 2, "dataPoints": [point]}))
}

#[tokio::test]
async fn a_histogram_gives_the_mean_and_quantiles_of_what_was_added() {
    for (quantity, expected) in [
        (OtlpQuantity::Mean, vec![(10, 2.5), (40, 4.0)]),
        // 8 more between 1 and 2, 2 more above 4: the rank of half is 5 of the 8; then one between 2 and 4.
        (OtlpQuantity::Quantile(0.5), vec![(10, 1.625), (40, 3.0)]),
        (OtlpQuantity::Quantile(1.0), vec![(10, 4.0), (40, 4.0)]),
        (OtlpQuantity::Rate, vec![(10, 1.0), (20, 0.0), (40, 0.05)]),
    ] {
        let fed = Fed::new(quantity);
        let readings = [(0, [900, 0, 0, 0], 500.0), (10, [900, 8, 0, 2], 525.0), (20, [900, 8, 0, 2], 525.0)];
        for (second, counts, sum) in readings {
            fed.take(&histogram(second, counts, sum), second).unwrap();
        }
        fed.take(&histogram(40, [900, 8, 1, 2], 529.0), 40).unwrap();
        assert_eq!(fed.samples().await, expected, "{quantity:?}");
    }
}

/// A cumulative exponential histogram point.
fn exponential(second: i64, scale: i32, offset: i32, counts: &[u64]) -> Vec<u8> {
    let point = json!({
        "startTimeUnixNano": nanos(-60), "timeUnixNano": nanos(second), "count": counts.iter().sum::<u64>(), "sum": 1,
        "scale": scale, "positive": {"offset": offset, "bucketCounts": counts},
    });
    request("a", "exponentialHistogram", json!({"aggregationTemporality": 2, "dataPoints": [point]}))
}

#[tokio::test]
async fn an_exponential_histogram_goes_on_when_its_sender_halves_the_resolution() {
    let fed = Fed::new(OtlpQuantity::Quantile(1.0));
    // Scale 1: buckets of sqrt 2 from index -3 on; scale 0: of 2 from index -2 on. -3>>1 = -2, -2>>1 = -1, -1>>1 = -1, 0>>1 = 0.
    fed.take(&exponential(0, 1, -3, &[1, 2, 3, 4]), 0).unwrap();
    fed.take(&exponential(10, 0, -2, &[1, 5, 4, 0, 6]), 10).unwrap(); // six more in (4, 8]
    fed.take(&exponential(20, 0, -2, &[1, 7, 4, 0, 6]), 20).unwrap(); // two more in (0.5, 1]
    let samples = fed.samples().await;
    assert_eq!(samples, [(10, 8.0), (20, 1.0)]);
    // Fewer than before in one bucket: a restart, all of it is new.
    fed.take(&exponential(30, 0, -2, &[1]), 30).unwrap();
    assert_eq!(fed.samples().await, [(30, 0.5)]);
}

#[tokio::test]
async fn exponential_quantiles_are_within_their_base_of_the_exact_ones() {
    // 1 to 1,000 ms, each once, in buckets of scale 3: base 2^(1/8), 9 %.
    let base = 2.0_f64.powf(0.125);
    let mut counts = vec![0_u64; 90];
    for value in 1..=1_000 {
        // (base^i, base^(i+1)] holds the value.
        counts[(f64::from(value).ln() / base.ln()).ceil().max(1.0) as usize - 1] += 1;
    }
    counts[0] += 0;
    for q in [0.1, 0.5, 0.9, 0.99, 1.0] {
        let fed = Fed::new(OtlpQuantity::Quantile(q));
        fed.take(&exponential(0, 3, 0, &[]), 0).unwrap();
        fed.take(&exponential(10, 3, 0, &counts), 10).unwrap();
        let (_, found) = fed.samples().await[0];
        let ratio = found / (1_000.0 * q);
        assert!((1.0 / base..=base).contains(&ratio), "{q}: {found}");
    }
}

#[tokio::test]
async fn a_summary_gives_the_quantiles_it_was_sent_with() {
    let body = |second: i64, count: u64, sum: f64| {
        let quantiles = json!([{"quantile": 0.5, "value": 2}, {"quantile": 0.99, "value": 7}]);
        let point = json!({"timeUnixNano": nanos(second), "count": count, "sum": sum, "quantileValues": quantiles});
        request("a", "summary", json!({"dataPoints": [point]}))
    };
    for (quantity, expected) in [
        (OtlpQuantity::Quantile(0.99), vec![(0, 7.0), (10, 7.0)]),
        (OtlpQuantity::Quantile(0.9), vec![]),
        (OtlpQuantity::Mean, vec![(10, 3.0)]),
        (OtlpQuantity::Rate, vec![(10, 0.4)]),
    ] {
        let fed = Fed::new(quantity);
        fed.take(&body(0, 10, 20.0), 0).unwrap();
        fed.take(&body(10, 14, 32.0), 10).unwrap();
        assert_eq!(fed.samples().await, expected, "{quantity:?}");
    }
}

#[tokio::test]
async fn a_full_buffer_takes_nothing_and_asks_to_come_again() {
    let fed = Fed::with_capacity(OtlpQuantity::Value, 2);
    let body = |seconds: &[i64]| {
        let points: Vec<Value> =
            seconds.iter().map(|second| json!({"timeUnixNano": nanos(*second), "asInt": *second})).collect();
        request("a", "gauge", json!({"dataPoints": points}))
    };
    let tally = fed.take(&body(&[1, 2, 3]), 3).unwrap();
    assert_eq!((tally.rejected(), tally.to_string().contains("1 rejected: full")), (1, true), "{tally}");
    let refusal = fed.take(&body(&[4]), 4).unwrap_err();
    assert!(refusal == OtlpRefusal::Busy && refusal.is_retryable());
    assert_eq!(fed.samples().await, [(1, 1.0), (2, 2.0)]);
    fed.take(&body(&[4]), 5).unwrap();
    assert_eq!(fed.samples().await, [(4, 4.0)]);
}
