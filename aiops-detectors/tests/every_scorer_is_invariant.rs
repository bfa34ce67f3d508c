//! What must hold for every shipped scorer, whatever the series: the unit of a series decides nothing, nor
//! how much of it is still to come, nor a restart, nor samples that come twice or in the wrong order.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use aiops_core::DataState;
use aiops_detectors::jiff::Timestamp;
use aiops_detectors::{
    Cusum, Ensemble, Ewma, Filled, Mad, MissingValues, RollingZScore, Score, Scorer, SeasonalBaseline, scorer_by_name,
    scorer_names,
};
use proptest::prelude::*;

/// Five minutes, and how many of them a day has.
const STEP: i64 = 300;
const DAY: i64 = 288;
/// Three days and a half: every season by the day is known.
const SAMPLES: i64 = DAY * 7 / 2;
/// A Monday.
const START: i64 = 1_767_571_200;

/// Every scorer of this build at its default setting, and some others.
fn scorers() -> Vec<Box<dyn Scorer>> {
    let mut all: Vec<Box<dyn Scorer>> = scorer_names().filter_map(scorer_by_name).collect();
    all.push(Box::new(RollingZScore::new(Duration::from_secs(86_400))));
    all.push(Box::new(Mad::new(50).window(Duration::from_secs(7_200)).min_samples(5)));
    all.push(Box::new(Filled::new(Mad::default(), MissingValues::Zero)));
    let members: [Box<dyn Scorer>; 2] = [Box::new(Mad::default()), scorer_by_name("seasonal_zscore").unwrap()];
    all.push(Box::new(Ensemble::k_of_n(2, members).unwrap()));
    all
}

fn second(second: i64) -> Timestamp {
    Timestamp::from_second(START + second).unwrap()
}

fn at(index: i64) -> Timestamp {
    second(index * STEP)
}

/// Between 0 and 1, another one for each seed and index (SplitMix64).
fn noise(seed: u64, index: i64) -> f64 {
    let mut bits = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (index as u64).wrapping_mul(0xD1B5_4A32_D192_ED03);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((bits ^ (bits >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

/// A day's wave with noise, spikes now and then, and a shift at the end.
fn value(seed: u64, index: i64) -> f64 {
    let wave = (std::f64::consts::TAU * (index % DAY) as f64 / DAY as f64).sin();
    let spike = if noise(seed + 1, index) > 0.99 { 300.0 * (noise(seed + 2, index) - 0.5).signum() } else { 0.0 };
    let shift = if index > SAMPLES - DAY / 2 { 40.0 } else { 0.0 };
    100.0 + 20.0 * wave + 6.0 * noise(seed, index) + spike + shift
}

fn run(scorer: &mut dyn Scorer, samples: impl IntoIterator<Item = (Timestamp, f64)>) -> Vec<Score> {
    samples.into_iter().map(|(at, value)| scorer.observe(at, value)).collect()
}

fn series(seed: u64, change: impl Fn(f64) -> f64) -> impl Iterator<Item = (Timestamp, f64)> {
    (0..SAMPLES).map(move |index| (at(index), change(value(seed, index))))
}

/// Where the decisions differ, but for those within a millionth of the threshold, which rounding decides.
fn decisions(scorer: &dyn Scorer, one: &[Score], other: &[Score]) -> Vec<usize> {
    let ratio = |score: &Score| score.statistic / scorer.default_threshold();
    let edge = |score: &Score| (ratio(score).abs() - 1.0).abs() < 1e-6;
    let decided = |score: &Score| (ratio(score) >= 1.0, ratio(score) <= -1.0);
    let pairs = one.iter().zip(other).enumerate();
    pairs.filter(|(_, (a, b))| decided(a) != decided(b) && !edge(a) && !edge(b)).map(|(index, _)| index).collect()
}

#[test]
fn these_series_are_decided_on() {
    for mut scorer in scorers() {
        let threshold = scorer.default_threshold();
        let found = run(&mut *scorer, series(7, |value| value));
        let over = found.iter().filter(|score| score.statistic.abs() >= threshold).count();
        assert!((1..SAMPLES as usize / 4).contains(&over), "{}: {over}", scorer.name());
    }
}

#[test]
fn scaling_a_series_changes_no_decision() {
    for (seed, scale) in (0..6).zip([1e9, 1e-9, 3.0].into_iter().cycle()) {
        for prototype in scorers() {
            let one = run(&mut *prototype.fresh(), series(seed, |value| value));
            let scaled = run(&mut *prototype.fresh(), series(seed, |value| value * scale));
            let differ = decisions(&*prototype, &one, &scaled);
            assert!(differ.is_empty(), "{} times {scale} decides otherwise at {differ:?}", prototype.name());
        }
    }
}

#[test]
fn shifting_a_series_changes_no_decision_where_no_floor_is_a_share_of_its_level() {
    for (seed, shift) in (0..8).zip([-1e4, -100.0, 1e3, 1e4].into_iter().cycle()) {
        let mut free: Vec<Box<dyn Scorer>> = vec![
            Box::new(Mad::default().relative_floor(0.0)),
            Box::new(Ewma::default().relative_floor(0.0)),
            Box::new(RollingZScore::new(Duration::from_secs(86_400)).relative_floor(0.0)),
            Box::new(SeasonalBaseline::default().relative_floor(0.0)),
            Box::new(Cusum::default().relative_floor(0.0)),
        ];
        free.extend(["adaptive", "seasonal_zscore", "field_report"].into_iter().filter_map(scorer_by_name));
        for prototype in free {
            let one = run(&mut *prototype.fresh(), series(seed, |value| value));
            let shifted = run(&mut *prototype.fresh(), series(seed, |value| value + shift));
            let differ = decisions(&*prototype, &one, &shifted);
            assert!(differ.is_empty(), "{} {shift:+} decides otherwise at {differ:?}", prototype.name());
        }
    }
}

#[test]
fn neighbours_in_the_wrong_order_do_not_shift_the_season() {
    for seed in 0..4 {
        // A steep wave: a season that is five minutes off expects up to 2 less, one by the index 100 less.
        let phase = |index: i64| std::f64::consts::TAU * (index % DAY) as f64 / DAY as f64;
        let steep = |index: i64| 200.0 + 100.0 * phase(index).sin() + 2.0 * noise(seed, index);
        for name in ["adaptive", "cusum", "field_report", "seasonal_baseline", "seasonal_zscore"] {
            let (mut clean, mut swapped) = (scorer_by_name(name).unwrap(), scorer_by_name(name).unwrap());
            let (mut largest, mut compared, mut refused) = (0.0f64, 0, 0);
            for index in 0..SAMPLES {
                let wanted = clean.observe(at(index), steep(index));
                // Each tenth sample comes before its elder neighbour, which then is too late.
                let place = match index % 10 {
                    4 => index + 1,
                    5 => index - 1,
                    _ => index,
                };
                let found = swapped.observe(at(place), steep(place));
                refused += usize::from(found.state == DataState::Error);
                if index % 10 != 0 || index < 2 * DAY {
                    continue;
                }
                // A tenth of the samples less moves a score, but not from nothing to an alert.
                let ratio = |score: &Score| score.statistic.abs() / clean.default_threshold();
                let (less, more) = (ratio(&wanted).min(ratio(&found)), ratio(&wanted).max(ratio(&found)));
                assert!(more < 1.0 || less > 0.5, "{} at {}: {:?} {:?}", name, index, wanted, found);
                // The default scorer's expectation is that of the view that decides, not always the season's.
                if let (Some(a), Some(b), true) = (wanted.expected, found.expected, name != "adaptive") {
                    largest = largest.max((a - b).abs());
                    compared += 1;
                }
            }
            assert_eq!(refused, (0..SAMPLES).filter(|index| index % 10 == 5).count(), "each that is too late is told");
            assert!(
                (compared > 30 || name == "adaptive") && largest < 5.0,
                "{}: off by {} in {} samples",
                name,
                largest,
                compared
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4))]

    #[test]
    fn a_prefix_scores_as_the_whole(seed in any::<u64>(), cut in 1..SAMPLES) {
        for prototype in scorers() {
            let whole = run(&mut *prototype.fresh(), series(seed, |value| value));
            let prefix = run(&mut *prototype.fresh(), series(seed, |value| value).take(cut as usize));
            prop_assert!(whole.starts_with(&prefix), "{}", prototype.name());
        }
    }

    #[test]
    fn saved_and_loaded_at_any_point_it_scores_the_same(
        seed in any::<u64>(), mut points in prop::collection::vec(0..SAMPLES, 1..8)
    ) {
        points.push(seed as i64 & 63);
        for prototype in scorers() {
            // Broken samples on the way, and a gap.
            let samples = || (0..SAMPLES).map(|index| {
                let gap = if index > SAMPLES / 2 { 50 } else { 0 };
                let value = value(seed, index);
                (at(index + gap), if index % 97 == 13 { f64::INFINITY } else { value })
            });
            let whole = run(&mut *prototype.fresh(), samples());
            let mut scorer = prototype.fresh();
            for (index, (sample, wanted)) in samples().zip(&whole).enumerate() {
                if points.contains(&(index as i64)) {
                    let saved = scorer.save();
                    scorer = prototype.fresh();
                    scorer.restore(&saved).unwrap();
                }
                let score = scorer.observe(sample.0, sample.1);
                prop_assert_eq!(&score, wanted, "{} after restarts at {:?}, at {}", prototype.name(), points, index);
            }
        }
    }

    #[test]
    fn a_sample_that_comes_twice_changes_nothing(seed in any::<u64>()) {
        for prototype in scorers() {
            let clean = run(&mut *prototype.fresh(), series(seed, |value| value));
            let mut scorer = prototype.fresh();
            for ((at, value), wanted) in series(seed, |value| value).zip(&clean) {
                prop_assert_eq!(&scorer.observe(at, value), wanted, "{}", prototype.name());
                for other in [value, value + 50.0] {
                    let score = scorer.observe(at, other);
                    prop_assert_eq!((score.state, score.statistic), (DataState::Error, 0.0));
                }
            }
        }
    }

    #[test]
    fn no_input_panics_and_each_number_is_finite(
        samples in prop::collection::vec(
            (
                prop_oneof![8 => Just(300i64), 2 => -600i64..600, 1 => prop::sample::select(vec![86_400i64, -40_000_000, 4_000_000_000, 20_000_000_000])],
                prop_oneof![
                    6 => 0.0f64..100.0, 2 => Just(5.0), 1 => prop::num::f64::ANY,
                    1 => prop::sample::select(vec![f64::NAN, f64::INFINITY, f64::MAX, f64::MIN, 5e-324, -0.0])
                ],
            ),
            1..600,
        )
    ) {
        for prototype in scorers() {
            let (mut scorer, mut now, mut newest) = (prototype.fresh(), 0i64, None);
            let mut restored = prototype.fresh();
            for (index, (step, value)) in samples.iter().enumerate() {
                now = (now + step).clamp(-300_000_000_000, 200_000_000_000);
                let score = scorer.observe(second(now), *value);
                let again = restored.observe(second(now), *value);
                prop_assert_eq!(
                    (again.statistic, again.persisting, again.expected, again.state),
                    (score.statistic, score.persisting, score.expected, score.state),
                    "{} after a restart", prototype.name()
                );
                if index % 50 == 20 {
                    restored = prototype.fresh();
                    restored.restore(&scorer.save()).unwrap();
                }
                let band = score.band.map_or([0.0; 2], |band| [band.low, band.high]);
                let numbers = [score.statistic, score.persisting, score.surprise, score.expected.unwrap_or(0.0)];
                prop_assert!(numbers.iter().chain(&band).all(|number| number.is_finite()), "{}: {:?}", prototype.name(), score);
                let late = newest.is_some_and(|newest| now <= newest);
                let missing = value.is_nan() && prototype.name() == "mad";
                if late || (!value.is_finite() && !missing) {
                    prop_assert_eq!(score.state, DataState::Error, "{}: {:?} is told", prototype.name(), score);
                } else if !missing {
                    prop_assert!(score.state != DataState::Error, "{}: {:?} at {}", prototype.name(), score, now);
                }
                if score.state != DataState::Error {
                    newest = Some(now);
                }
            }
        }
    }
}

#[test]
fn one_sample_is_no_history_and_says_so() {
    for mut scorer in scorers() {
        let score = scorer.observe(at(0), 5.0);
        assert!(matches!(score.state, DataState::Warming { n: 0..=1, of } if of > 1), "{}: {score:?}", scorer.name());
        assert_eq!((score.statistic, score.surprise, score.expected), (0.0, 0.0, None));
    }
}

#[test]
fn warm_up_progresses_and_ends() {
    for mut scorer in scorers() {
        let scores = run(&mut *scorer, (0..SAMPLES).map(|index| (at(index), value(3, index))));
        let last = scores.last().unwrap().state;
        assert_eq!(last, DataState::Ok, "{}", scorer.name());
        for score in scores {
            if let DataState::Warming { n, of } = score.state {
                assert!(n <= of, "{}: {n} of {of}", scorer.name());
            }
        }
    }
}

#[test]
fn the_window_that_is_told_is_that_of_the_baseline() {
    const HOUR: u64 = 3_600;
    for (name, hours) in [
        // As long as it has run: three days and a half, less the first sample.
        ("adaptive", Some(84)),
        ("cusum", Some(21 * 24)),
        ("ewma", Some(1)),
        ("field_report", Some(1)),
        // 288 samples.
        ("mad", Some(23)),
        // 360 samples.
        ("rolling_zscore", Some(29)),
        ("seasonal_baseline", Some(21 * 24)),
        ("seasonal_zscore", Some(1)),
        ("isolation_forest", None),
    ] {
        let mut scorer = scorer_by_name(name).unwrap();
        run(&mut *scorer, series(1, |value| value));
        assert_eq!(scorer.window().map(|window| window.as_secs() / HOUR), hours, "{name}");
        assert_eq!(Filled::new(scorer, MissingValues::Last).window().map(|window| window.as_secs() / HOUR), hours);
    }
}
