use jiff::SignedDuration;
use proptest::prelude::*;

use super::*;

/// Five minutes apart.
fn at(index: i64) -> Timestamp {
    Timestamp::from_second(1_767_571_200 + index * 300).unwrap()
}

/// A day's cycle with some noise.
fn daily(index: i64) -> f64 {
    let phase = (index % 288) as f64 / 288.0 * std::f64::consts::TAU;
    100.0 + 40.0 * phase.sin() + ((index * 7_919) % 101) as f64 / 25.0
}

fn after(values: impl IntoIterator<Item = f64>) -> (Adaptive, i64) {
    let mut scorer = Adaptive::new();
    let mut index = 0;
    for value in values {
        scorer.observe(at(index), value);
        index += 1;
    }
    (scorer, index)
}

#[test]
fn passes_the_conformance_suite() {
    crate::testing::check_scorer(&Adaptive::new()).unwrap();
}

#[test]
fn says_how_far_it_has_warmed_up() {
    let (mut scorer, next) = after((0..20).map(daily));
    assert_eq!(scorer.observe(at(next), 1e9).state, DataState::Warming { n: 21, of: 50 });
}

#[test]
fn a_spike_a_drop_and_a_shift_stand_out_of_a_daily_season() {
    for (change, sign) in [(60.0, 1.0), (-60.0, -1.0)] {
        let (mut scorer, next) = after((0..2_000).map(daily));
        let score = scorer.observe(at(next), daily(next) + change);
        assert!(score.statistic * sign >= THRESHOLD, "{score:?}");
        let expected = score.expected.unwrap();
        assert!((expected - daily(next)).abs() < 15.0, "{expected} for {}", daily(next));
        let band = score.band.unwrap();
        assert!(band.low < expected && expected < band.high && score.value != score.value.clamp(band.low, band.high));
    }
}

#[test]
fn an_anomaly_goes_on_but_does_not_alert_again_below_its_bar() {
    let (mut scorer, next) = after((0..2_000).map(daily));
    let first = scorer.observe(at(next), daily(next) + 60.0);
    let second = scorer.observe(at(next + 1), daily(next + 1) + 50.0);
    assert!(first.statistic >= THRESHOLD);
    assert!(second.statistic == 0.0 && second.persisting >= THRESHOLD, "{second:?}");
}

#[test]
fn a_constant_series_scores_its_first_change_whatever_its_value() {
    for constant in [0.0, 5.0, -1e9, f64::MAX] {
        let (mut scorer, next) = after(std::iter::repeat_n(constant, 300));
        let calm = scorer.observe(at(next), constant);
        assert_eq!((calm.statistic, calm.expected, calm.state), (0.0, Some(constant), DataState::Ok));
        let score = scorer.observe(at(next + 1), constant / 2.0 + 1.0);
        assert!(score.statistic.abs() >= THRESHOLD, "{constant}: {score:?}");
    }
}

#[test]
fn a_gap_of_years_and_another_step_are_nothing_special() {
    let (mut scorer, next) = after((0..2_000).map(daily));
    let later = at(next).checked_add(SignedDuration::from_hours(24 * 365 * 3)).unwrap();
    for minute in 0..600 {
        let when = later.checked_add(SignedDuration::from_mins(minute)).unwrap();
        // The same time of the day, sampled each minute.
        let index = (when.as_second() - at(0).as_second()) / 300;
        let score = scorer.observe(when, daily(index));
        assert!(score.statistic < THRESHOLD, "{minute}: {score:?}");
    }
}

#[test]
fn state_is_small_and_does_not_grow() {
    let (mut scorer, next) = after((0..3_000).map(daily));
    let size = scorer.size_bytes();
    assert!(size <= 16 * 1_024, "{size}");
    for index in next..next + 9_000 {
        scorer.observe(at(index), daily(index));
    }
    assert_eq!(scorer.size_bytes(), size);
}

#[test]
fn state_of_other_numbers_is_refused() {
    let (scorer, _) = after((0..200).map(daily));
    let good = String::from_utf8(scorer.save()).unwrap();
    for (from, to) in [
        ("\"unit\":", "\"unit\":-"),
        ("\"slots_per_day\":288", "\"slots_per_day\":287"),
        ("\"counts\":[0,", "\"counts\":["),
    ] {
        let bad = good.replacen(from, to, 1);
        assert_ne!(bad, good, "{from}");
        assert!(Adaptive::new().restore(bad.as_bytes()).is_err(), "{to}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn scale_and_offset_change_no_decision(
        seed in 0i64..1_000, scale in prop::sample::select(vec![1e-9, 1e9, -3.0, 0.1]), offset in -1e4f64..1e4
    ) {
        let noise = |index: i64| ((index * 7_919 + seed) * 104_729 % 997) as f64 / 100.0;
        let value = |index: i64| daily(index) + noise(index) + if (index + seed) % 331 == 0 { 80.0 } else { 0.0 };
        let (mut one, mut scaled, mut shifted) = (Adaptive::new(), Adaptive::new(), Adaptive::new());
        for index in 0..1_500 {
            let score = one.observe(at(index), value(index));
            let other = scaled.observe(at(index), value(index) * scale);
            prop_assert_eq!(score.statistic >= THRESHOLD, other.statistic * scale.signum() >= THRESHOLD, "{} {:?} {:?}", index, score, other);
            let other = shifted.observe(at(index), value(index) + offset);
            prop_assert_eq!(score.statistic >= THRESHOLD, other.statistic >= THRESHOLD, "{} {:?} {:?}", index, score, other);
        }
    }

    #[test]
    fn any_values_at_any_times_give_finite_scores(
        samples in prop::collection::vec((0i64..200_000, prop::num::f64::ANY), 60..400)
    ) {
        let mut scorer = Adaptive::new();
        let mut now = 0;
        for (wait, value) in samples {
            now += wait - 100;
            let score = scorer.observe(Timestamp::from_second(now).unwrap(), value);
            let numbers = [score.surprise, score.statistic, score.persisting, score.expected.unwrap_or(0.0)];
            prop_assert!(numbers.iter().all(|number| number.is_finite()), "{:?}", score);
            let band = score.band.map_or([0.0; 2], |band| [band.low, band.high]);
            prop_assert!(band.iter().all(|number| number.is_finite()), "{:?}", score);
        }
        let mut other = Adaptive::new();
        other.restore(&scorer.save()).unwrap();
        prop_assert_eq!(other.save(), scorer.save());
    }
}
