//! Rows of the user reports about detection, each through a series detector, and a restart in mid-season.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use aiops_core::testing::{MetricRecorder, RecordingNotifier};
use aiops_core::{DataState, DetectionEvent, Detector, Evaluation, Notice, NoticeKind, Pipeline, Sighting, Tick, time};
use aiops_detectors::jiff::Timestamp;
use aiops_detectors::{
    Adaptive, Direction, Labels, LogBurst, LogLine, Mad, MemoryLogSource, MemorySource, MissingSamples, PushSource,
    Sample, SampleSource, Scorer, SeasonalBaseline, SeasonalZScore, Series, SeriesDetector, SeriesDetectorBuilder,
    read_csv, scorer_by_name, scorer_names,
};

/// A Monday, midnight.
const START: &str = "2026-01-05T00:00:00Z";
const FIVE_MINUTES: Duration = Duration::from_secs(300);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

fn at(step: Duration, index: u32) -> Timestamp {
    time::plus(START.parse().unwrap(), step * index)
}

fn samples(step: Duration, values: impl IntoIterator<Item = f64>) -> Vec<Sample> {
    values.into_iter().zip(0..).map(|(value, index)| Sample { at: at(step, index), value }).collect()
}

fn one(samples: Vec<Sample>) -> MemorySource {
    MemorySource::new("recorded", vec![Series::new(Labels::new(), samples)])
}

/// About 100, with noise in twentieths.
fn noisy(index: u32) -> f64 {
    100.0 + f64::from(index * 7 % 20)
}

fn detector<S: SampleSource>(source: S, scorer: impl Scorer, step: Duration) -> SeriesDetectorBuilder<S> {
    SeriesDetector::builder("Requests", source, scorer).service("shop").every(step).lookback(DAY * 60)
}

async fn look(detector: &impl Detector, step: Duration, index: u32) -> Evaluation {
    detector.evaluate(Tick::new(at(step, index), at(step, index + 1))).await.unwrap()
}

/// The only sighting of an evaluation.
async fn seen(detector: &impl Detector, step: Duration, index: u32) -> Sighting {
    let mut sightings = look(detector, step, index).await.sightings;
    assert_eq!(sightings.len(), 1, "{sightings:?}");
    sightings.remove(0)
}

/// What was decided, without the identifiers that are made for each event.
fn decided(evaluation: &Evaluation) -> Vec<String> {
    let one = |sighting: &Sighting| match sighting {
        Sighting::Firing(event) => format!("{} {:?} {:?}", event.fingerprint, event.severity, event.signal),
        other => format!("{other:?}"),
    };
    evaluation.sightings.iter().map(one).collect()
}

fn fires(sighting: &Sighting) -> bool {
    matches!(sighting, Sighting::Firing(_))
}

#[tokio::test]
async fn row_20_traffic_that_stops_is_told_when_it_stops_and_not_when_it_returns() {
    let history = |index: u32| !(100..106).contains(&index);
    let recorded = samples(FIVE_MINUTES, (0..120).map(noisy));
    let recorded: Vec<Sample> = recorded.into_iter().zip(0..).filter(|(_, i)| history(*i)).map(|(s, _)| s).collect();
    for scorer in ["mad", "adaptive"] {
        let scorer = || scorer_by_name(scorer).unwrap();
        let zero = detector(one(recorded.clone()), scorer(), FIVE_MINUTES)
            .direction(Direction::Both)
            .missing(MissingSamples::Zero)
            .build()
            .unwrap();
        let unknown = detector(one(recorded.clone()), scorer(), FIVE_MINUTES).build().unwrap();
        let (mut fired, mut stale) = (Vec::new(), Vec::new());
        for index in 90..120 {
            if fires(&seen(&zero, FIVE_MINUTES, index + 1).await) {
                fired.push(index);
            }
            match seen(&unknown, FIVE_MINUTES, index + 1).await {
                Sighting::Unknown(_, DataState::Stale) => stale.push(index),
                sighting => assert!(!fires(&sighting), "{index}: {sighting:?}"),
            }
        }
        assert_eq!(fired.first(), Some(&100), "{scorer:?} at the onset: {fired:?}", scorer = scorer().name());
        assert!(fired.iter().all(|index| *index < 106), "and not at the return: {fired:?}");
        assert_eq!(stale, [104, 105], "without a policy it is unknown, five intervals after the last sample");
    }
}

#[tokio::test]
async fn row_23_one_instant_is_one_phase_however_it_is_written_and_midnight_is_a_time() {
    // Fourteen days by the hour, in UTC and in the clock of Kolkata, with a spike in the last morning.
    let value =
        |index: u32| f64::from(index % 24) * 10.0 + f64::from(index % 5) + if index == 320 { 400.0 } else { 0.0 };
    let zone = time::parse_human("5h 30m").unwrap();
    let (mut naive, mut offset) = ("timestamp,value\n".to_owned(), "timestamp,value\n".to_owned());
    for index in 0..336 {
        let (utc, local) = (at(HOUR, index), time::plus(at(HOUR, index), zone));
        naive += &format!("{},{}\n", utc.to_string().replace('T', " ").trim_end_matches('Z'), value(index));
        offset += &format!("{},{}\n", local.to_string().replace('Z', "+05:30"), value(index));
    }
    let mut told = Vec::new();
    for text in [naive, offset] {
        let read = read_csv(text.as_bytes()).unwrap();
        assert_eq!((read.samples.len(), read.bad_count), (336, 0));
        let detector = detector(one(read.samples), SeasonalBaseline::default(), HOUR).build().unwrap();
        let mut fired = Vec::new();
        for index in 240..336 {
            if let Sighting::Firing(event) = seen(&detector, HOUR, index + 1).await {
                fired.push((index, event.signal));
            }
        }
        told.push(fired);
    }
    assert_eq!(told[0], told[1]);
    assert_eq!(told[0].iter().map(|(index, _)| *index).collect::<Vec<_>>(), [320]);

    // A sample a day, at midnight, written as a date alone or with its time.
    let day = |index: u32| f64::from(index % 7) + if index == 50 { 60.0 } else { 0.0 };
    let rows = (0..56).map(|index| {
        let text = at(DAY, index).to_string();
        format!("{},{}\n", if index % 2 == 0 { &text[..10] } else { &text }, day(index))
    });
    let read = read_csv(format!("timestamp,value\n{}", rows.collect::<String>()).as_bytes()).unwrap();
    assert_eq!((read.samples.len(), read.bad_count), (56, 0));
    let weekly = detector(one(read.samples), Mad::default(), DAY).build().unwrap();
    for index in 45..56 {
        assert_eq!(fires(&seen(&weekly, DAY, index + 1).await), index == 50, "{index}");
    }
}

#[tokio::test]
async fn row_24_what_is_not_found_yet_has_a_reason_and_after_the_warm_up_the_spike_is_found() {
    const FIVE_SECONDS: Duration = Duration::from_secs(5);
    let value = |index: u32| noisy(index) + if index == 20 || index == 400 { 900.0 } else { 0.0 };
    for name in ["adaptive", "mad", "ewma", "rolling_zscore"] {
        let recorded = one(samples(FIVE_SECONDS, (0..420).map(value)));
        let detector = detector(recorded, scorer_by_name(name).unwrap(), FIVE_SECONDS).build().unwrap();
        let mut before = 0;
        for index in 0..420 {
            match seen(&detector, FIVE_SECONDS, index + 1).await {
                Sighting::Unknown(_, DataState::Warming { n, of }) => {
                    assert!(n >= before && n <= of && index < 60, "{name}: {n} of {of} at {index}");
                    before = n;
                }
                // The default scorer sees it go on for as long as it stands in a mean of eight.
                sighting if name == "adaptive" && (401..408).contains(&index) => {
                    assert!(fires(&sighting) || index > 401)
                }
                sighting => assert_eq!(fires(&sighting), index == 400, "{name} at {index}: {sighting:?}"),
            }
        }
        assert!(before >= 20, "{name} showed how far it was: {before}");
    }
}

#[tokio::test]
async fn row_25_a_step_to_a_tenth_in_a_ramp_of_forty_points_is_found() {
    let ramp = |index: u32| if index == 40 { 13.9 } else { 100.0 + f64::from(index) };
    let recorded = one(samples(FIVE_MINUTES, (0..41).map(ramp)));
    let detector = detector(recorded, Mad::default(), FIVE_MINUTES).direction(Direction::Down).build().unwrap();
    for index in 0..41 {
        assert_eq!(fires(&seen(&detector, FIVE_MINUTES, index + 1).await), index == 40, "{index}");
    }
}

#[tokio::test]
async fn row_27_anomalies_two_hours_apart_are_two_and_neighbours_are_one() {
    const EVERY: Duration = Duration::from_secs(30);
    let slow = [240..260, 500..504, 504..520];
    let value = |index: u32| if slow.iter().any(|slow| slow.contains(&index)) { 900.0 } else { noisy(index) };
    let detector = detector(one(samples(EVERY, (0..700).map(value))), Mad::default(), EVERY).build().unwrap();
    let pager = Arc::new(RecordingNotifier::new("pager"));
    let mut replay = Pipeline::builder().detector(detector).notify(Arc::clone(&pager)).replay(at(EVERY, 0)).unwrap();
    replay.run_to(at(EVERY, 700)).await.unwrap();
    replay.finish().await.unwrap();
    let told: Vec<Notice> = pager.notices();
    let kinds: Vec<&NoticeKind> = told.iter().map(|notice| &notice.kind).collect();
    let two = |kinds: &[&NoticeKind]| {
        matches!(
            kinds,
            [NoticeKind::Announced { .. }, NoticeKind::Resolved, NoticeKind::Announced { .. }, NoticeKind::Resolved]
        )
    };
    assert!(two(&kinds), "{kinds:?}");
    assert!(time::since(told[2].at, told[1].at) > HOUR, "the second is news of its own");
}

fn ratio_of(event: &DetectionEvent) -> (f64, f64) {
    let ratio = event.signal.extra.get("ratio").and_then(|ratio| ratio.as_f64());
    let surprise = event.signal.extra.get("surprise").and_then(|surprise| surprise.as_f64());
    assert_eq!(ratio, event.signal.ratio(), "{event:?}");
    (ratio.unwrap(), surprise.unwrap_or(f64::NAN))
}

#[tokio::test]
async fn row_29_every_detector_says_score_by_threshold_beside_the_decades() {
    for name in scorer_names() {
        // Each minute of three days and a half, then ten times as much.
        const MINUTE: Duration = Duration::from_secs(60);
        let recorded = samples(MINUTE, (0..5_040).map(|i| noisy(i) * if i >= 5_010 { 10.0 } else { 1.0 }));
        let scorer = scorer_by_name(name).unwrap();
        let threshold = scorer.default_threshold();
        let detector = detector(one(recorded), scorer, MINUTE).build().unwrap();
        let mut told = None;
        for index in 5_000..5_040 {
            if let Sighting::Firing(event) = seen(&detector, MINUTE, index + 1).await {
                let (ratio, surprise) = ratio_of(&event);
                assert!(ratio >= 1.0 && surprise.is_finite(), "{name}: {ratio} {surprise}");
                assert!((ratio * threshold - event.signal.score.unwrap()).abs() <= 1e-9 * ratio * threshold);
                told.get_or_insert(ratio);
            } else {
                assert!(index >= 5_000, "{name}");
            }
        }
        assert!(told.is_some(), "{name} saw nothing");
    }
    let logs = MemoryLogSource::new("logs", 10_000);
    for window in 0..40 {
        for _ in 0..if window == 39 { 100 } else { 2 + window % 3 } {
            logs.push(LogLine::new(at(FIVE_MINUTES, window), "shop", "boom"));
        }
    }
    let burst = LogBurst::new(logs).services(["shop"]);
    for window in 0..40 {
        if let Sighting::Firing(event) = seen(&burst, FIVE_MINUTES, window + 1).await {
            assert!(window == 39 && event.signal.ratio().unwrap() > 1.0, "{event:?}");
            return;
        }
    }
    panic!("no burst was seen");
}

#[tokio::test]
async fn row_30_flat_series_have_finite_scores_and_their_order_decides_nothing() {
    let service = |name: &str| Labels::from([("service".to_owned(), name.to_owned())]);
    let flat = |name: &str, last: f64| {
        let values = (0..400).map(|index| if index == 399 { last } else { 100.0 });
        Series::new(service(name), samples(FIVE_MINUTES, values))
    };
    let all = [flat("a", 100.0), flat("b", 97.0), flat("c", 20.0), flat("d", 100.0), flat("e", 1e300)];
    for name in scorer_names() {
        let mut ranks: Vec<Vec<(String, f64)>> = Vec::new();
        for turn in 0..all.len() {
            let mut series = all.to_vec();
            series.rotate_left(turn);
            if turn % 2 == 1 {
                series.reverse();
            }
            let detector =
                SeriesDetector::builder("Flat", MemorySource::new("m", series), scorer_by_name(name).unwrap())
                    .service_label("service")
                    .every(FIVE_MINUTES)
                    .lookback(DAY * 60)
                    .direction(Direction::Both)
                    .build()
                    .unwrap();
            look(&detector, FIVE_MINUTES, 399).await;
            let mut rank: Vec<(String, f64)> = look(&detector, FIVE_MINUTES, 400)
                .await
                .sightings
                .into_iter()
                .filter_map(|sighting| match sighting {
                    Sighting::Firing(event) => Some((event.service.to_string(), event.signal.score.unwrap())),
                    _ => None,
                })
                .collect();
            assert!(rank.iter().all(|(_, score)| score.is_finite() && *score <= 1e6), "{name}: {rank:?}");
            rank.sort_by(|(a, x), (b, y)| y.total_cmp(x).then_with(|| a.cmp(b)));
            ranks.push(rank);
        }
        assert!(ranks.iter().all(|rank| *rank == ranks[0]), "{name}: {ranks:?}");
        let told = |service: &str| ranks[0].iter().any(|(name, _)| name == service);
        assert!(!told("a") && !told("d"), "{name}: what did not move is no anomaly: {:?}", ranks[0]);
    }
}

#[tokio::test]
async fn a_restart_in_mid_season_decides_as_a_run_that_never_stopped() {
    // Four days of a daily wave; saved half an hour past the third midnight; spikes and a shift after it.
    let wave = |index: u32| (f64::from(index % 288) / 288.0 * std::f64::consts::TAU).sin();
    let value = |index: u32| {
        let spike = if [860, 880, 950, 1_100].contains(&index) { 300.0 } else { 0.0 };
        let shift = if (1_000..1_050).contains(&index) { 200.0 } else { 0.0 };
        noisy(index) + 50.0 * wave(index) + spike + shift
    };
    for name in scorer_names() {
        let scorer = scorer_by_name(name).unwrap();
        let build = |scorer: Box<dyn Scorer>| {
            let recorded = one(samples(FIVE_MINUTES, (0..1_152).map(value)));
            detector(recorded, scorer, FIVE_MINUTES).direction(Direction::Both).build().unwrap()
        };
        let (whole, first, second) = (build(scorer.fresh()), build(scorer.fresh()), build(scorer));
        for index in [855, 870, 871] {
            let (one, other) = (look(&whole, FIVE_MINUTES, index).await, look(&first, FIVE_MINUTES, index).await);
            assert_eq!(decided(&one), decided(&other), "{name}");
        }
        second.restore(&first.save()).unwrap();
        let mut fired = 0;
        for index in 872..1_153 {
            let wanted = look(&whole, FIVE_MINUTES, index).await;
            fired += wanted.sightings.iter().filter(|sighting| fires(sighting)).count();
            let found = look(&second, FIVE_MINUTES, index).await;
            assert_eq!(decided(&found), decided(&wanted), "{name} at {index}");
        }
        assert!(fired > 0, "{name} had nothing to decide");
    }
    // Where a value is compared with the day before, the day before is in the state.
    let recorded = || one(samples(FIVE_MINUTES, (0..1_152).map(value)));
    let (first, second) = (
        detector(recorded(), SeasonalZScore::default(), FIVE_MINUTES).build().unwrap(),
        detector(recorded(), SeasonalZScore::default(), FIVE_MINUTES).lookback(FIVE_MINUTES).build().unwrap(),
    );
    look(&first, FIVE_MINUTES, 871).await;
    second.restore(&first.save()).unwrap();
    assert!(matches!(seen(&second, FIVE_MINUTES, 872).await, Sighting::Normal(_)), "warm at once");
}

#[test]
fn what_enters_no_baseline_is_counted_by_reason_and_changes_nothing() {
    let metrics = MetricRecorder::default();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let run = |broken: bool| {
        let source = PushSource::new("push", 10_000);
        let detector = detector(source.clone(), Adaptive::new(), FIVE_MINUTES).build().unwrap();
        let mut all = Vec::new();
        for index in 0..400 {
            let sample = |value| Sample { at: at(FIVE_MINUTES, index), value };
            source.offer(Labels::new(), sample(noisy(index) + if index == 390 { 900.0 } else { 0.0 })).unwrap();
            if broken && index % 10 == 5 {
                source.offer(Labels::new(), sample(f64::NAN)).unwrap();
                source.offer(Labels::new(), sample(f64::NEG_INFINITY)).unwrap();
                source.offer(Labels::new(), sample(1e9)).unwrap();
            }
            all.push(runtime.block_on(look(&detector, FIVE_MINUTES, index + 1)));
        }
        all
    };
    let clean = run(false);
    let broken = metrics::with_local_recorder(&metrics, || run(true));
    let told = |run: &[Evaluation]| run.iter().map(decided).collect::<Vec<_>>();
    assert_eq!(told(&clean), told(&broken));
    assert!(clean.iter().flat_map(|evaluation| &evaluation.sightings).any(fires));
    assert_eq!(metrics.value("aiops_series_samples_refused_total"), Some(120.0));
}
