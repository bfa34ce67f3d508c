//! Rows of the user reports about data that comes late, early, at an edge or not at all.
#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aiops_core::testing::MetricRecorder;
use aiops_core::{Detector, Evaluation, Sighting, Tick};
use aiops_detectors::jiff::Timestamp;
use aiops_detectors::{
    AdaptiveLogBurst, Direction, ErrorLogs, Labels, LogLine, LogSource, Mad, MemoryLogSource, MemorySource,
    MemorySpanSource, MissingSamples, PushSource, Sample, SampleSource, Series, SeriesBatch, SeriesDetector,
    SeriesDetectorBuilder, SourceError, SpanRecord, SpanSource,
};
use async_trait::async_trait;

/// 2026-11-20 00:00 UTC.
const START: i64 = 1_795_132_800;
const MINUTE: Duration = Duration::from_secs(60);
const FIVE_MINUTES: Duration = Duration::from_secs(300);

fn at(minute: i64) -> Timestamp {
    Timestamp::from_second(START + minute * 60).unwrap()
}

/// Requests in the five minutes before, about 100.
fn bucket(number: i64) -> Sample {
    Sample { at: at(number * 5), value: (100 + number * 7 % 20) as f64 }
}

fn detector<S: SampleSource>(source: S, every: Duration) -> SeriesDetectorBuilder<S> {
    SeriesDetector::builder("Requests", source, Mad::default()).service("shop").every(every)
}

fn firing(evaluation: &Evaluation) -> usize {
    evaluation.sightings.iter().filter(|sighting| matches!(sighting, Sighting::Firing(_))).count()
}

/// Buckets of five minutes, there at their time, and three minutes after it from the hundredth on.
#[derive(Debug, Clone, Default)]
struct ThreeMinutesLate {
    now: Arc<AtomicI64>,
}

#[async_trait]
impl SampleSource for ThreeMinutesLate {
    fn name(&self) -> &str {
        "late"
    }

    async fn read(&self, from: Timestamp, to: Timestamp) -> Result<SeriesBatch, SourceError> {
        let now = self.now.load(Ordering::Relaxed);
        let there = (0..=now / 5).filter(|number| number * 5 + if *number < 100 { 0 } else { 3 } <= now).map(bucket);
        let samples: Vec<Sample> = there.filter(|sample| from <= sample.at && sample.at < to).collect();
        let series = (!samples.is_empty()).then(|| Series::new(Labels::new(), samples));
        Ok(SeriesBatch::new(series.into_iter().collect()))
    }
}

#[tokio::test]
async fn row_21_a_bucket_that_comes_three_minutes_late_is_no_drop_with_an_evaluation_delay() {
    // Evaluated a minute after each bucket's time, which is two minutes before the bucket is there.
    let run = async |delay: Duration| {
        let source = ThreeMinutesLate::default();
        let detector = detector(source.clone(), FIVE_MINUTES)
            .direction(Direction::Both)
            .missing(MissingSamples::Zero)
            .evaluation_delay(delay)
            .build()
            .unwrap();
        let mut fired = 0;
        for number in 1..200 {
            source.now.store(number * 5 + 1, Ordering::Relaxed);
            let tick = Tick::new(at(number * 5 + 1), at(number * 5 + 6));
            fired += firing(&detector.evaluate(tick).await.unwrap());
        }
        (fired, detector.save())
    };
    let (fired, delayed) = run(MINUTE * 5).await;
    assert_eq!(fired, 0);
    assert!(run(Duration::ZERO).await.0 > 50, "buckets are drops without it");
    // What it has learnt is what it learns of the same buckets when none is late.
    let on_time = detector(
        MemorySource::new("all", vec![Series::new(Labels::new(), (0..200).map(bucket).collect())]),
        FIVE_MINUTES,
    );
    let on_time = on_time.direction(Direction::Both).missing(MissingSamples::Zero).build().unwrap();
    on_time.evaluate(Tick::new(at(199 * 5 + 1 - 5), at(1_000))).await.unwrap();
    assert_eq!(on_time.save(), delayed);
}

#[test]
fn row_21_without_a_delay_what_is_late_is_counted() {
    let metrics = MetricRecorder::default();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    metrics::with_local_recorder(&metrics, || {
        runtime.block_on(async {
            let push = PushSource::new("push", 10);
            let detector = detector(push.clone(), FIVE_MINUTES).build().unwrap();
            // Each third bucket comes after the one behind it.
            for number in 1..100 {
                let sent = match number % 3 {
                    0 => Vec::new(),
                    1 => vec![bucket(number), bucket(number - 1)],
                    _ => vec![bucket(number)],
                };
                sent.into_iter().for_each(|sample| push.offer(Labels::new(), sample).unwrap());
                let evaluation = detector.evaluate(Tick::new(at(number * 5 + 1), at(number * 5 + 6))).await.unwrap();
                assert_eq!(firing(&evaluation), 0);
            }
        });
    });
    assert_eq!(metrics.value("aiops_series_samples_refused_total"), Some(33.0), "out of order");
}

#[test]
fn row_22_what_is_a_day_late_or_ahead_is_counted_by_each_door_and_makes_no_window() {
    let metrics = MetricRecorder::default();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    metrics::with_local_recorder(&metrics, || {
        runtime.block_on(async {
            let push = PushSource::new("push", 10);
            let detector = detector(push.clone(), MINUTE).build().unwrap();
            for (minute, now) in [0, -27 * 60, 2, 27 * 60].into_iter().zip(3..) {
                push.offer(Labels::new(), Sample { at: at(minute), value: 1.0 }).unwrap();
                detector.evaluate(Tick::new(at(now), at(now + 1))).await.unwrap();
            }
            assert_eq!(detector.status().series[0].last, Some(at(2)));
        });
        let logs = ErrorLogs::new(at(-60));
        for minute in [-27 * 60, 6, 27 * 60] {
            logs.push(&LogLine::new(at(minute), "cart", "no connection"), at(0));
        }
        assert_eq!(logs.services(), 0, "no window was made");
        logs.push(&LogLine::new(at(5), "cart", "no connection"), at(0));
        assert_eq!(logs.services(), 1);
    });
    assert_eq!(metrics.value("aiops_series_samples_refused_total"), Some(2.0), "one late, one ahead");
    assert_eq!(metrics.value("aiops_error_logs_dropped_total"), Some(3.0), "one late, two ahead");
}

#[cfg(feature = "otlp")]
#[test]
fn row_22_of_otlp_what_is_ahead_is_refused_and_what_is_late_is_told_to_the_sender() {
    use aiops_detectors::otlp::{OtlpEncoding, OtlpFault, OtlpIntake, OtlpQuantity, OtlpSource};
    use serde_json::json;

    let nanos = |minute: i64| at(minute).as_nanosecond().to_string();
    let minutes = [-27 * 60, -61, -60, 0, 5, 6, 27 * 60];
    let items =
        |item: &dyn Fn(i64) -> serde_json::Value| minutes.iter().map(|minute| item(*minute)).collect::<Vec<_>>();
    let points = items(&|minute| json!({"timeUnixNano": nanos(minute), "asInt": 1}));
    let records = items(&|minute| json!({"timeUnixNano": nanos(minute), "body": {"stringValue": "x"}}));
    let spans = items(
        &|minute| json!({"traceId": "1".repeat(32), "startTimeUnixNano": nanos(minute), "endTimeUnixNano": nanos(minute)}),
    );
    let body = |groups: &str, scopes: &str, items: &str, content: serde_json::Value| {
        json!({groups: [{scopes: [{items: content}]}]}).to_string().into_bytes()
    };
    let metric = json!([{"name": "queue", "gauge": {"dataPoints": points}}]);
    let bodies = [
        body("resourceMetrics", "scopeMetrics", "metrics", metric),
        body("resourceLogs", "scopeLogs", "logRecords", json!(records)),
        body("resourceSpans", "scopeSpans", "spans", json!(spans)),
    ];
    let logs = MemoryLogSource::new("logs", 10);
    let intake = OtlpIntake::new()
        .metric(OtlpSource::new("queue", "queue", OtlpQuantity::Value, 10))
        .logs(logs.clone())
        .spans(MemorySpanSource::new("spans", 10));
    let metrics = MetricRecorder::default();
    let tallies = metrics::with_local_recorder(&metrics, || {
        [
            intake.take_metrics(&bodies[0], OtlpEncoding::Json, at(0)).unwrap(),
            intake.take_logs(&bodies[1], OtlpEncoding::Json, at(0)).unwrap(),
            intake.take_traces(&bodies[2], OtlpEncoding::Json, at(0)).unwrap(),
        ]
    });
    for (tally, signal) in tallies.iter().zip(["metrics", "logs", "traces"]) {
        assert_eq!((&tally.rejected, tally.late), (&[(OtlpFault::Ahead, 2)].into(), 2), "{signal}");
        let told = tally.to_string();
        assert!(told.contains("2 rejected: ahead") && told.ends_with("2 more than an hour late"), "{told}");
    }
    let counted = ["aiops_otlp_late_total", "aiops_otlp_rejected_total"].map(|name| metrics.value(name));
    assert_eq!(counted, [Some(6.0), Some(6.0)]);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let later = runtime.block_on(logs.read(at(6), Timestamp::MAX)).unwrap();
    assert!(later.lines.is_empty(), "no window of the future is filled");
}

#[tokio::test]
async fn row_26_what_lies_on_the_edge_of_two_windows_is_in_the_later_one_wherever_it_is_counted_or_listed() {
    let edge = at(100);
    let (lines, spans, push) =
        (MemoryLogSource::new("lines", 10), MemorySpanSource::new("spans", 10), PushSource::new("push", 10));
    lines.push(LogLine::new(edge, "cart", "no connection"));
    spans.push(SpanRecord::new(edge, "cart", "GET /", MINUTE));
    push.offer(Labels::new(), Sample { at: edge, value: 1.0 }).unwrap();
    let memory = MemorySource::new("memory", vec![Series::new(Labels::new(), vec![Sample { at: edge, value: 1.0 }])]);
    for (from, to, inside) in [(at(95), edge, 0), (edge, at(105), 1), (at(105), at(110), 0)] {
        let counted: u64 = lines.count(from, to).await.unwrap().iter().map(|count| count.count).sum();
        let listed = [
            usize::try_from(counted).unwrap(),
            lines.read(from, to).await.unwrap().lines.len(),
            spans.read(from, to).await.unwrap().spans.len(),
            memory.read(from, to).await.unwrap().series.iter().map(|series| series.samples.len()).sum(),
            push.read(from, to).await.unwrap().series.iter().map(|series| series.samples.len()).sum(),
        ];
        assert_eq!(listed, [inside; 5], "{from} to {to}");
    }
    // A spike on the edge of two evaluations is told by one of them, and counted by its status there.
    let value = |minute: i64| if minute == 100 { 900.0 } else { (100 + minute * 7 % 20) as f64 };
    let samples = (0..120).map(|minute| Sample { at: at(minute), value: value(minute) }).collect();
    let detector = detector(MemorySource::new("memory", vec![Series::new(Labels::new(), samples)]), MINUTE * 10);
    let detector = detector.stale_after(MINUTE * 10).build().unwrap();
    let mut told = Vec::new();
    for number in 1..=12 {
        let evaluation = detector.evaluate(Tick::new(at(number * 10), at(number * 10 + 10))).await.unwrap();
        let events = evaluation.sightings.iter().filter_map(|sighting| match sighting {
            Sighting::Firing(event) => Some((number, event.detected_at)),
            _ => None,
        });
        told.extend(events);
    }
    assert_eq!(told, [(11, edge)]);
}

/// Counts lines of a source, unless it is told to fail.
#[derive(Debug, Clone)]
struct Failing(MemoryLogSource, Arc<Mutex<bool>>);

#[async_trait]
impl LogSource for Failing {
    fn name(&self) -> &str {
        "failing"
    }

    async fn read(&self, from: Timestamp, to: Timestamp) -> Result<aiops_detectors::LogBatch, SourceError> {
        self.0.read(from, to).await
    }

    async fn count(&self, from: Timestamp, to: Timestamp) -> Result<Vec<aiops_detectors::ServiceCount>, SourceError> {
        if *self.1.lock().unwrap() {
            return Err(SourceError::retryable("failing", "connection refused"));
        }
        self.0.count(from, to).await
    }
}

#[tokio::test]
async fn row_28_windows_go_on_through_a_gap_of_many() {
    for stopped in [true, false] {
        let lines = MemoryLogSource::new("lines", 100_000);
        let down = Arc::new(Mutex::new(false));
        let source = Failing(lines.clone(), Arc::<Mutex<bool>>::clone(&down));
        let bursts = AdaptiveLogBurst::new(source).services(["cart"]);
        let mut fired = Vec::new();
        for minute in 0..900 {
            // Two lines a minute; 80 at 800 to 804, eight hours after a gap of 24 windows.
            let count = if (800..805).contains(&minute) { 80 } else { 2 };
            (0..count).for_each(|_| lines.push(LogLine::new(at(minute), "cart", "no connection")));
            let gap = (200..320).contains(&minute);
            *down.lock().unwrap() = gap;
            if gap && stopped {
                continue;
            }
            match bursts.evaluate(Tick::new(at(minute + 1), at(minute + 2))).await {
                Ok(evaluation) if firing(&evaluation) > 0 => fired.push(minute),
                Ok(_) => {}
                Err(error) => assert!(gap, "{minute}: {error}"),
            }
        }
        assert!(fired.first().is_some_and(|first| (800..=806).contains(first)), "stopped: {stopped}, {fired:?}");
        assert!(fired.iter().all(|minute| *minute < 830), "{fired:?}");
    }
    // Samples: after a gap of 24 intervals the first one is judged, and one more spike is seen.
    let value = |minute: i64| if minute == 1_300 { 900.0 } else { (100 + minute / 5 * 7 % 20) as f64 };
    let samples = (0..300).map(|number| number * 5).filter(|minute| !(1_000..1_120).contains(minute));
    let samples = samples.map(|minute| Sample { at: at(minute), value: value(minute) }).collect();
    let source = MemorySource::new("memory", vec![Series::new(Labels::new(), samples)]);
    let detector = detector(source, FIVE_MINUTES).build().unwrap();
    let mut fired = Vec::new();
    for minute in (5..1_500).step_by(5) {
        if firing(&detector.evaluate(Tick::new(at(minute), at(minute + 5))).await.unwrap()) > 0 {
            fired.push(minute - 5);
        }
    }
    assert_eq!(fired, [1_300]);
}
