//! The series detector on recorded and broken samples.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use aiops_core::{DataState, Detector, Evaluation, Severity, Sighting, Tick};
use aiops_detectors::jiff::Timestamp;
use aiops_detectors::{
    Adaptive, Direction, Labels, Mad, MemorySource, MissingSamples, PushSource, Sample, Series, SeriesDetector,
};
use proptest::prelude::*;

const STEP: i64 = 300;

fn at(index: i64) -> Timestamp {
    Timestamp::from_second(index * STEP).unwrap()
}

fn labels(service: &str, pod: &str) -> Labels {
    Labels::from([("service".to_owned(), service.to_owned()), ("pod".to_owned(), pod.to_owned())])
}

fn series(service: &str, pod: &str, values: &[f64]) -> Series {
    let samples = values.iter().zip(0..).map(|(value, index)| Sample { at: at(index), value: *value }).collect();
    Series::new(labels(service, pod), samples)
}

fn detector(series: Vec<Series>) -> SeriesDetector<MemorySource> {
    SeriesDetector::builder("Latency", MemorySource::new("memory", series), Mad::default())
        .service_label("service")
        .every(Duration::from_secs(300))
        .lookback(Duration::from_secs(30 * 86_400))
        .critical_at(4.0)
        .unit("s")
        .build()
        .unwrap()
}

async fn evaluate(detector: &impl Detector, index: i64) -> Evaluation {
    detector.evaluate(Tick::new(at(index), at(index + 1))).await.unwrap()
}

fn noisy(n: usize) -> Vec<f64> {
    (0..n).map(|index| 10.0 + (index % 5) as f64 / 10.0).collect()
}

#[tokio::test]
async fn replicas_of_one_service_are_one_sighting_the_worst() {
    let (mut one, mut two) = (noisy(60), noisy(60));
    one.push(12.0);
    two.push(90.0);
    let detector = detector(vec![series("cart", "a", &one), series("cart", "b", &two), series("web", "c", &noisy(61))]);
    let before = evaluate(&detector, 60).await;
    assert!(before.sightings.iter().all(|sighting| matches!(sighting, Sighting::Normal(_))), "{before:?}");
    let seen = evaluate(&detector, 61).await.sightings;
    assert_eq!(seen.len(), 2);
    let Sighting::Firing(event) = &seen[0] else { panic!("{seen:?}") };
    assert_eq!((event.service.as_str(), event.labels["pod"].as_str()), ("cart", "b"));
    assert_eq!((event.severity, event.observed()), (Severity::Critical, at(60)));
    let text = event.explain();
    for part in ["value 90 s", "expected 10.2 s", "threshold 6", "window 5h", "60 samples"] {
        assert!(text.contains(part), "{text} lacks {part}");
    }
}

#[tokio::test]
async fn a_spike_between_two_evaluations_is_seen_once() {
    let mut values = noisy(60);
    values.extend([90.0, 10.1, 10.2]);
    let detector =
        SeriesDetector::builder("L", MemorySource::new("m", vec![series("s", "p", &values)]), Mad::default())
            .service("s")
            .every(Duration::from_secs(900))
            .lookback(Duration::from_secs(30 * 86_400))
            .build()
            .unwrap();
    evaluate(&detector, 60).await;
    assert!(matches!(evaluate(&detector, 63).await.sightings[0], Sighting::Firing(_)));
    assert!(
        matches!(evaluate(&detector, 64).await.sightings[0], Sighting::Firing(_)),
        "the verdict stands while fresh"
    );
}

#[tokio::test]
async fn no_traffic_is_seen_at_its_onset_where_missing_means_zero() {
    // Row 20 of the user reports.
    let source = MemorySource::new("m", vec![series("shop", "p", &noisy(60))]);
    let drop = SeriesDetector::builder("Requests", source, Mad::default())
        .service_label("service")
        .every(Duration::from_secs(300))
        .lookback(Duration::from_secs(30 * 86_400))
        .direction(Direction::Down)
        .missing(MissingSamples::Zero)
        .build()
        .unwrap();
    assert!(matches!(evaluate(&drop, 60).await.sightings[0], Sighting::Normal(_)));
    assert!(matches!(evaluate(&drop, 61).await.sightings[0], Sighting::Firing(_)));
    let unknown = detector(vec![series("shop", "p", &noisy(60))]);
    evaluate(&unknown, 60).await;
    let seen = evaluate(&unknown, 70).await.sightings;
    assert!(matches!(seen[0], Sighting::Unknown(_, DataState::Stale)), "{seen:?}");
}

#[tokio::test]
async fn for_and_hysteresis_and_floors_hold_back() {
    let mut values = noisy(60);
    values.extend([90.0, 90.0, 90.0]);
    let build = || {
        let source = MemorySource::new("m", vec![series("s", "p", &values)]);
        SeriesDetector::builder("L", source, Mad::default())
            .service("s")
            .every(Duration::from_secs(300))
            .lookback(Duration::from_secs(30 * 86_400))
    };
    let lasting = build().for_duration(Duration::from_secs(600)).build().unwrap();
    let firing = |evaluation: &Evaluation| matches!(evaluation.sightings[0], Sighting::Firing(_));
    let mut seen = Vec::new();
    for index in 60..64 {
        seen.push(firing(&evaluate(&lasting, index).await));
    }
    assert_eq!(seen, [false, false, false, true]);
    for held in [build().floor(100.0), build().min_change(100.0), build().min_relative_change(10.0)] {
        let detector = held.build().unwrap();
        evaluate(&detector, 60).await;
        assert!(!firing(&evaluate(&detector, 61).await));
    }
}

#[tokio::test]
async fn a_restart_with_saved_state_decides_as_if_it_had_not_stopped() {
    let mut values = noisy(60);
    values.push(90.0);
    let (one, two) = (detector(vec![series("s", "p", &values)]), detector(vec![series("s", "p", &values)]));
    evaluate(&one, 60).await;
    two.restore(&one.save()).unwrap();
    assert!(two.restore(b"{}").is_err());
    let (Sighting::Firing(a), Sighting::Firing(b)) =
        (&evaluate(&one, 61).await.sightings[0], &evaluate(&two, 61).await.sightings[0])
    else {
        panic!("both fire")
    };
    assert_eq!((a.signal.clone(), &a.fingerprint), (b.signal.clone(), &b.fingerprint));
}

#[test]
fn settings_that_cannot_work_are_told_all_at_once() {
    let built = SeriesDetector::builder("L", MemorySource::default(), Mad::default())
        .threshold(f64::NAN)
        .hysteresis(1.0)
        .every(Duration::ZERO)
        .build();
    let text = built.unwrap_err().to_string();
    for part in ["service", "threshold", "hysteresis", "every"] {
        assert!(text.contains(part), "{text} lacks {part}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn no_sample_breaks_it_and_no_event_carries_a_number_that_is_not_finite(
        samples in prop::collection::vec(
            (0i64..80, prop_oneof![4 => 0.0f64..20.0, 1 => prop::num::f64::ANY, 1 => Just(1e300)]), 0..200)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let source = PushSource::new("push", 1_000);
        let detector = SeriesDetector::builder("L", source.clone(), Mad::new(20).min_samples(5))
            .service("s")
            .every(Duration::from_secs(300))
            .direction(Direction::Both)
            .build()
            .unwrap();
        for (index, (place, value)) in samples.into_iter().enumerate() {
            source.offer(Labels::new(), Sample { at: at(place), value }).unwrap();
            if index % 7 == 0 {
                let seen = runtime.block_on(evaluate(&detector, place + 1));
                for sighting in &seen.sightings {
                    if let Sighting::Firing(event) = sighting {
                        let json = serde_json::to_value(&event.signal).unwrap();
                        prop_assert!(json.as_object().unwrap().values().all(|value| !value.is_null()), "{}", json);
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn an_outage_fires_from_its_start_to_its_end_though_the_scorer_raises_its_bar() {
    let mut values: Vec<f64> = (0..600).map(|index| 10.0 + ((index * 7) % 11) as f64 / 10.0).collect();
    values.extend([60.0; 6]);
    values.extend([10.3, 10.1, 10.5, 10.0]);
    let source = MemorySource::new("memory", vec![series("cart", "a", &values)]);
    let detector = SeriesDetector::builder("Latency", source, Adaptive::new())
        .service("cart")
        .every(Duration::from_secs(300))
        .lookback(Duration::from_secs(30 * 86_400))
        .for_duration(Duration::from_secs(600))
        .build()
        .unwrap();
    let mut firing = Vec::new();
    for index in 600..610 {
        let seen = evaluate(&detector, index + 1).await.sightings;
        firing.push(matches!(seen[0], Sighting::Firing(_)));
    }
    // The way back to normal is a jump of its own, and may count for one sample.
    assert_eq!(firing[..6], [false, false, true, true, true, true]);
    assert_eq!(firing[7..], [false; 3]);
}
