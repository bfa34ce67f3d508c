//! Labels that do not identify a series: pods that each deploy names anew, and instances that send when they like.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use aiops_core::testing::MetricRecorder;
use aiops_core::{DataState, Detector, Evaluation, Sighting, Tick};
use aiops_detectors::jiff::Timestamp;
use aiops_detectors::{
    Combine, Direction, Labels, Mad, MemorySource, MissingSamples, PushSource, Sample, SampleSource, Series,
    SeriesDetector, SeriesDetectorBuilder,
};

const MINUTE: Duration = Duration::from_secs(60);

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_795_132_800 + second).unwrap()
}

fn labels(pod: &str) -> Labels {
    [("service", "cart"), ("pod", pod)].map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

fn value(minute: i64) -> f64 {
    100.0 + (minute * 7 % 20) as f64
}

/// Samples of minutes, each at its start.
fn of(pod: &str, minutes: std::ops::Range<i64>, value: impl Fn(i64) -> f64) -> Series {
    let samples = minutes.map(|minute| Sample { at: at(minute * 60), value: value(minute) });
    Series::new(labels(pod), samples.collect())
}

fn builder<S: SampleSource>(source: S) -> SeriesDetectorBuilder<S> {
    SeriesDetector::builder("Load", source, Mad::default())
        .service_label("service")
        .every(MINUTE)
        .direction(Direction::Both)
        .lookback(Duration::ZERO)
}

async fn look(detector: &impl Detector, second: i64) -> Evaluation {
    detector.evaluate(Tick::new(at(second), at(second + 60))).await.unwrap()
}

#[tokio::test]
async fn a_deploy_with_new_pods_goes_on_where_the_old_ones_were() {
    // A rollout in the hundredth minute, one pod after the other.
    let pods = || {
        vec![of("a-1", 0..100, value), of("a-2", 0..103, value), of("b-1", 100..160, value), of("b-2", 103..160, value)]
    };
    let one = builder(MemorySource::new("pods", pods())).without_labels(["pod"], Combine::Mean).build().unwrap();
    let each = builder(MemorySource::new("pods", pods())).build().unwrap();
    let mut cold = 0;
    for minute in 0..=159 {
        let seen = look(&one, minute * 60).await.sightings;
        if minute > 60 {
            assert!(matches!(&seen[..], [Sighting::Normal(_)]), "{minute}: {seen:?}");
        }
        look(&each, minute * 60).await;
        let warming = |state: DataState| matches!(state, DataState::Warming { .. });
        cold += usize::from(minute > 60 && each.status().series.iter().any(|series| warming(series.state)));
    }
    assert!(cold > 20, "without it the new pods are cold for {cold} minutes");
    let status = one.status().series;
    assert_eq!((status.len(), status[0].labels.get("pod"), status[0].labels["service"].as_str()), (1, None, "cart"));
}

#[tokio::test]
async fn each_rule_makes_its_number_of_what_the_instances_say_at_one_step() {
    for (combine, expected) in
        [(Combine::Mean, 400.0), (Combine::Sum, 1_200.0), (Combine::Max, 900.0), (Combine::Min, 100.0)]
    {
        // In the last minute 100, 200 and 900; NaN is no number of a fourth one.
        let last = |value: f64| move |minute: i64| if minute == 99 { value } else { 10.0 + (minute % 3) as f64 };
        let pods = vec![
            of("a", 0..100, last(100.0)),
            of("b", 0..100, last(200.0)),
            of("c", 0..100, last(900.0)),
            of("d", 99..100, |_| f64::NAN),
        ];
        let detector = builder(MemorySource::new("pods", pods)).without_labels(["pod"], combine).build().unwrap();
        look(&detector, 0).await;
        let seen = look(&detector, 99 * 60 + 60).await.sightings;
        let [Sighting::Firing(event)] = &seen[..] else { unreachable!("{seen:?}") };
        assert_eq!(event.signal.value, Some(expected), "{combine:?}");
    }
}

#[test]
fn instances_that_send_at_their_own_times_are_summed_once_a_step_is_over() {
    let metrics = MetricRecorder::default();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let status = metrics::with_local_recorder(&metrics, || {
        runtime.block_on(async {
            let push = PushSource::new("otlp", 100);
            let detector = builder(push.clone())
                .without_labels(["pod"], Combine::Sum)
                .missing(MissingSamples::Zero)
                .evaluation_delay(Duration::from_secs(10))
                .build()
                .unwrap();
            // Three instances, at 3, 31 and 58 seconds of each minute; the second one twice. An evaluation a minute, at
            // 17 seconds: a part of a minute would be a drop.
            for second in 0..120 * 60 {
                for (pod, sends) in [("a", &[3][..]), ("b", &[30, 31]), ("c", &[58])] {
                    if sends.contains(&(second % 60)) {
                        // The first of the two is not the newest of its minute.
                        let value = if second % 60 == 30 { 1e9 } else { value(second / 60) };
                        push.offer(labels(pod), Sample { at: at(second), value }).unwrap();
                    }
                }
                if second % 60 == 17 {
                    let seen = look(&detector, second).await.sightings;
                    assert!(!seen.iter().any(|sighting| matches!(sighting, Sighting::Firing(_))), "{second}: {seen:?}");
                }
            }
            detector.status()
        })
    });
    let [series] = &status.series[..] else { unreachable!("{status:?}") };
    assert_eq!((series.last, series.state), (Some(at(118 * 60 + 58)), DataState::Ok));
    assert_eq!(metrics.value("aiops_series_samples_combined_total"), Some(3.0 * 119.0), "four became one");
    assert_eq!(metrics.value("aiops_series_samples_refused_total"), None);
}

#[tokio::test]
async fn a_restart_by_back_fill_gives_the_state_of_one_that_never_stopped() {
    let source = || {
        let pods = vec![of("a", 0..100, value), of("b", 40..200, value), of("c", 100..200, value)];
        builder(MemorySource::new("pods", pods)).without_labels(["pod"], Combine::Sum)
    };
    let never_stopped = source().build().unwrap();
    for second in (17..180 * 60).step_by(60) {
        look(&never_stopped, second).await;
    }
    let restarted = source().lookback(Duration::from_secs(180 * 60 + 5)).build().unwrap();
    look(&restarted, 179 * 60 + 41).await;
    assert_eq!(restarted.save(), never_stopped.save());
}

#[test]
fn labels_that_name_the_service_or_the_identity_cannot_be_left_out() {
    let build = |labels: [&'static str; 2]| {
        builder(MemorySource::default()).identity_labels(["cluster"]).without_labels(labels, Combine::Max).build()
    };
    assert!(build(["pod", "instance"]).is_ok());
    for name in ["service", "cluster"] {
        let fault = format!("without_labels: {name} says which service or identity a series is of");
        assert!(build(["pod", name]).unwrap_err().to_string().contains(&fault));
    }
}
