//! Series that come late, fall silent or never say anything: what is known of the others stands, and room
//! is given back.
#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aiops_core::{DataState, Detector, Sighting, Tick};
use aiops_detectors::jiff::Timestamp;
use aiops_detectors::{
    Direction, Filled, Labels, Mad, MemorySource, MissingSamples, MissingValues, PushSource, Sample, SampleSource,
    Scorer, Series, SeriesBatch, SeriesDetector, SeriesDetectorBuilder, SourceError,
};

const STEP: i64 = 30;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn pod(name: &str) -> Labels {
    Labels::from([("pod".to_owned(), name.to_owned())])
}

/// Samples of steps `from..to`; those in `slow` are anomalies.
fn series(name: &str, from: i64, to: i64, slow: std::ops::Range<i64>) -> Series {
    let value = |index: i64| if slow.contains(&index) { 90.0 } else { 10.0 + (index % 5) as f64 / 10.0 };
    Series::new(pod(name), (from..to).map(|index| Sample { at: at(index * STEP), value: value(index) }).collect())
}

fn builder<S: SampleSource>(source: S) -> SeriesDetectorBuilder<S> {
    SeriesDetector::builder("Latency", source, Mad::default()).service("cart").every(Duration::from_secs(30))
}

async fn look(detector: &impl Detector, index: i64) -> Vec<Sighting> {
    detector.evaluate(Tick::new(at(index * STEP), at(index * STEP + STEP))).await.unwrap().sightings
}

fn fires(seen: &[Sighting]) -> bool {
    matches!(seen, [Sighting::Firing(_)])
}

#[tokio::test]
async fn a_replaced_replica_does_not_hide_what_the_others_say() {
    // The old one is replaced at 100, in good health; the new one must warm up first.
    let source = MemorySource::new("m", vec![series("old", 0, 100, 0..0), series("new", 100, 400, 300..310)]);
    let detector = builder(source).build().unwrap();
    assert!(matches!(look(&detector, 100).await[..], [Sighting::Normal(_)]));
    assert!(matches!(look(&detector, 120).await[..], [Sighting::Unknown(_, DataState::Warming { .. })]));
    assert!(matches!(look(&detector, 200).await[..], [Sighting::Normal(_)]));
    assert!(fires(&look(&detector, 305).await));
    assert!(matches!(look(&detector, 320).await[..], [Sighting::Normal(_)]));
}

#[tokio::test]
async fn a_replica_that_falls_silent_while_it_fires_is_missed_for_an_hour() {
    let source = MemorySource::new("m", vec![series("slow", 0, 100, 90..100), series("other", 0, 400, 0..0)]);
    let detector = builder(source).build().unwrap();
    assert!(fires(&look(&detector, 100).await));
    for (index, missed) in [(110, true), (215, true), (225, false), (399, false)] {
        let seen = look(&detector, index).await;
        let told = matches!(seen[..], [Sighting::Unknown(_, DataState::Stale)]);
        assert_eq!(told, missed, "{index}: {seen:?}");
        assert_eq!(matches!(seen[..], [Sighting::Normal(_)]), !missed, "{index}: {seen:?}");
    }
}

#[tokio::test]
async fn a_sample_that_comes_after_an_interval_is_seen_still() {
    let source = PushSource::new("push", 1_000);
    let detector = builder(source.clone()).build().unwrap();
    let mut fired = Vec::new();
    for index in 0..100 {
        // Each is pushed when two intervals have gone by.
        for sample in series("p", index, index + 1, 80..81).samples {
            source.offer(pod("p"), sample).unwrap();
        }
        if fires(&look(&detector, index + 3).await) {
            fired.push(index);
        }
    }
    assert_eq!(fired, [80]);
}

#[tokio::test]
async fn an_outage_that_runs_at_the_start_is_seen_though_its_newest_sample_is_older_than_an_interval() {
    let detector = builder(MemorySource::new("m", vec![series("p", 0, 100, 95..100)])).build().unwrap();
    assert!(fires(&look(&detector, 102).await));
}

#[derive(Debug)]
struct Failing(MemorySource, AtomicBool);

#[async_trait::async_trait]
impl SampleSource for Failing {
    fn name(&self) -> &str {
        "failing"
    }

    async fn read(&self, from: Timestamp, to: Timestamp) -> Result<SeriesBatch, SourceError> {
        if self.1.load(Ordering::Relaxed) {
            return Err(SourceError::retryable("failing", "connection refused"));
        }
        self.0.read(from, to).await
    }
}

#[tokio::test]
async fn a_failed_read_does_not_cost_the_anomaly() {
    let source = Failing(MemorySource::new("m", vec![series("p", 0, 200, 100..101)]), AtomicBool::new(false));
    let source = std::sync::Arc::new(source);
    let detector = builder(std::sync::Arc::<Failing>::clone(&source)).build().unwrap();
    assert!(matches!(look(&detector, 100).await[..], [Sighting::Normal(_)]));
    source.1.store(true, Ordering::Relaxed);
    for index in 101..103 {
        assert!(detector.evaluate(Tick::new(at(index * STEP), at(index * STEP + STEP))).await.is_err());
    }
    source.1.store(false, Ordering::Relaxed);
    assert!(fires(&look(&detector, 103).await));
    assert!(matches!(look(&detector, 104).await[..], [Sighting::Normal(_)]));
}

#[tokio::test]
async fn without_a_look_back_it_starts_at_the_first_evaluation() {
    let source = MemorySource::new("m", vec![series("p", 0, 100, 80..81)]);
    let detector = builder(source).lookback(Duration::ZERO).build().unwrap();
    assert!(look(&detector, 10).await.is_empty());
    assert!(matches!(look(&detector, 11).await[..], [Sighting::Unknown(_, DataState::Warming { n: 0, .. })]));
    look(&detector, 80).await;
    assert!(fires(&look(&detector, 81).await));
}

#[tokio::test]
async fn a_series_is_forgotten_when_its_source_is_silent_whatever_stands_in_for_its_samples() {
    let nan = Series::new(pod("nan"), vec![Sample { at: at(0), value: f64::NAN }]);
    for missing in [MissingSamples::Zero, MissingSamples::Previous, MissingSamples::Ignore] {
        let source = MemorySource::new("m", vec![series("gone", 0, 10, 0..0), nan.clone()]);
        let detector = builder(source).missing(missing).idle_after(Duration::from_secs(3_000)).build().unwrap();
        look(&detector, 10).await;
        assert_eq!(detector.series(), 2);
        for index in 11..109 {
            look(&detector, index).await;
            assert_eq!(detector.series(), 2, "{missing:?} at {index}");
        }
        look(&detector, 111).await;
        assert_eq!(detector.series(), 0, "{missing:?}");
    }
}

#[tokio::test]
async fn the_previous_value_stands_until_the_next_one() {
    // A gauge that only tells changes: up at 100, down again at 160.
    let mut level = series("p", 0, 100, 0..0);
    level.samples.extend([(100, 90.0), (160, 10.0)].map(|(index, value)| Sample { at: at(index * STEP), value }));
    let scorer = || Mad::new(1_000);
    for (missing, wanted) in [(MissingSamples::Previous, "firing"), (MissingSamples::Ignore, "stale")] {
        let detector = SeriesDetector::builder("Level", MemorySource::new("m", vec![level.clone()]), scorer())
            .service("cart")
            .missing(missing)
            .build()
            .unwrap();
        look(&detector, 101).await;
        let saved = detector.save();
        for index in 102..130 {
            look(&detector, index).await;
        }
        let seen = look(&detector, 130).await;
        let told = match seen[..] {
            [Sighting::Firing(_)] => "firing",
            [Sighting::Unknown(_, DataState::Stale)] => "stale",
            _ => "something else",
        };
        assert_eq!(told, wanted, "{missing:?}: {seen:?}");
        assert!(matches!(look(&detector, 161).await[..], [Sighting::Normal(_)]), "{missing:?}");

        detector.restore(&saved).unwrap();
        assert_eq!(fires(&look(&detector, 103).await), missing == MissingSamples::Previous, "known after a restart");
    }
}

#[tokio::test]
async fn silence_is_an_alert_of_its_own_where_the_host_says_so() {
    // One replica is replaced at 100; at 200 both are silent until 260.
    let mut new = series("new", 90, 200, 0..0);
    new.samples.extend(series("new", 260, 300, 0..0).samples);
    let source = std::sync::Arc::new(Failing(
        MemorySource::new("m", vec![series("old", 0, 100, 0..0), new]),
        AtomicBool::new(false),
    ));
    let detector = builder(std::sync::Arc::<Failing>::clone(&source)).missing(MissingSamples::Alert).build().unwrap();
    let mut told: Vec<(i64, &str)> = Vec::new();
    for index in 95..290 {
        // Nobody knows whether a source that does not answer is silent.
        source.1.store((150..190).contains(&index), Ordering::Relaxed);
        let Ok(seen) = detector.evaluate(Tick::new(at(index * STEP), at(index * STEP + STEP))).await else {
            continue;
        };
        let [_, silence] = &seen.sightings[..] else { panic!("{seen:?}") };
        let now = match silence {
            Sighting::Firing(event) if event.alertname() == "LatencyNoData" => {
                assert_eq!(event.signal.extra["state"], "no data");
                "silent"
            }
            Sighting::Normal(identity) if identity.alertname == "LatencyNoData" => "heard",
            other => panic!("{other:?}"),
        };
        if told.last().is_none_or(|(_, before)| *before != now) {
            told.push((index, now));
        }
    }
    // Five intervals after the last sample, at 199, and with the first at 260.
    assert_eq!(told, [(95, "heard"), (205, "silent"), (261, "heard")]);
}

#[tokio::test]
async fn the_status_says_what_is_known_of_each_series() {
    let source = std::sync::Arc::new(Failing(
        MemorySource::new("m", vec![series("a", 0, 200, 100..101), series("late", 140, 160, 0..0)]),
        AtomicBool::new(false),
    ));
    let detector = builder(std::sync::Arc::<Failing>::clone(&source)).build().unwrap();
    assert_eq!(detector.status().state, DataState::NoData);
    look(&detector, 20).await;
    assert_eq!(detector.status().state.to_string(), "warming (19 of 30)");
    look(&detector, 101).await;
    let status = detector.status();
    assert_eq!((status.state, status.series[0].firing, status.read_to), (DataState::Ok, true, Some(at(101 * STEP))));
    look(&detector, 150).await;
    let states = |status: &aiops_detectors::SeriesDetectorStatus| -> Vec<String> {
        status.series.iter().map(|series| series.state.to_string()).collect()
    };
    assert_eq!(states(&detector.status()), ["ok", "warming (9 of 30)"]);
    look(&detector, 170).await;
    assert_eq!(states(&detector.status()), ["ok", "stale"]);
    assert_eq!(detector.status().series[1].last, Some(at(159 * STEP)));

    source.1.store(true, Ordering::Relaxed);
    detector.evaluate(Tick::new(at(171 * STEP), at(172 * STEP))).await.unwrap_err();
    let status = detector.status();
    assert_eq!((status.state, states(&status)), (DataState::Error, vec!["error".to_owned(); 2]));
    assert!(status.error.unwrap().contains("connection refused"));
    source.1.store(false, Ordering::Relaxed);
    look(&detector, 172).await;
    let status = detector.status();
    assert_eq!((status.state, status.error), (DataState::Ok, None));
}

#[tokio::test]
async fn saved_state_of_more_series_than_the_bound_keeps_the_newest() {
    let source = || MemorySource::new("m", vec![series("a", 0, 50, 0..0), series("b", 0, 90, 0..0)]);
    let (wide, narrow) = (builder(source()).build().unwrap(), builder(source()).max_series(1).build().unwrap());
    look(&wide, 90).await;
    narrow.restore(&wide.save()).unwrap();
    assert_eq!(narrow.series(), 1);
    assert!(matches!(look(&narrow, 91).await[..], [Sighting::Unknown(_, DataState::NoData)]), "b, not a stale one");
}

#[tokio::test]
async fn what_nan_stands_for_is_the_scorers_to_say() {
    // A ratio of 0 to 0 from sample 60 on.
    let mut ratio = series("p", 0, 60, 0..0);
    ratio.samples.extend((60..64).map(|index| Sample { at: at(index * STEP), value: f64::NAN }));
    let build = |scorer: Box<dyn Scorer>| {
        SeriesDetector::builder("Ratio", MemorySource::new("m", vec![ratio.clone()]), scorer)
            .service("cart")
            .direction(Direction::Down)
            .build()
            .unwrap()
    };
    for (missing, wanted) in [
        (MissingValues::Zero, "firing"),
        (MissingValues::Last, "unknown: no data"),
        (MissingValues::Refuse, "normal, as before"),
    ] {
        let detector = build(Box::new(Filled::new(Mad::default(), missing)));
        assert!(matches!(look(&detector, 60).await[..], [Sighting::Normal(_)]));
        let seen = look(&detector, 61).await;
        let told = match &seen[..] {
            [Sighting::Firing(event)] if event.signal.value == Some(0.0) => "firing",
            [Sighting::Unknown(_, DataState::NoData)] => "unknown: no data",
            [Sighting::Normal(_)] => "normal, as before",
            _ => "something else",
        };
        assert_eq!(told, wanted, "{missing:?}: {seen:?}");
    }
}

#[test]
fn spans_shorter_than_the_interval_are_refused() {
    let built = builder(MemorySource::default()).stale_after(Duration::ZERO).idle_after(Duration::from_secs(1)).build();
    let text = built.unwrap_err().to_string();
    assert!(text.contains("stale_after: 0s") && text.contains("idle_after: 1s"), "{text}");
}
