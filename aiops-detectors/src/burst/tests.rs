//! The case table of the log facts, a test a row. Windows are numbered from 0.

use super::*;

/// Windows that fire.
fn fired(counts: &[u64]) -> Vec<u32> {
    let mut test = BurstTest::default();
    (0..)
        .zip(counts)
        .filter(|(window, count)| test.observe(*window, **count).fires())
        .map(|(window, _)| window)
        .collect()
}

/// `n` times `base`, then `last`: the verdict on the last.
fn after(n: usize, base: u64, last: u64) -> BurstVerdict {
    let mut test = BurstTest::default();
    for window in 0..n as u32 {
        assert!(!test.observe(window, base).fires(), "window {window}");
    }
    test.observe(n as u32, last)
}

#[test]
fn zero_history_is_learning() {
    assert_eq!(BurstTest::default().observe(0, 50).state, BurstState::Learning);
}

#[test]
fn short_history_fires_from_six_windows() {
    assert!(after(10, 0, 40).fires());
    assert!(after(6, 0, 40).fires());
    assert_eq!(after(5, 0, 40).state, BurstState::Learning);
}

#[test]
fn an_all_zero_baseline_fires_above_the_floor() {
    assert!(after(30, 0, 11).fires());
    assert_eq!(after(30, 0, 10).state, BurstState::Normal);
}

#[test]
fn a_flat_baseline_fires_from_twice_itself() {
    for (count, fires) in [(105, false), (160, false), (200, true), (250, true)] {
        assert_eq!(after(30, 100, count).fires(), fires, "{count}");
    }
}

#[test]
fn a_low_flat_baseline_fires_at_twelve() {
    let (silent, fires) = (after(30, 2, 11), after(30, 2, 12));
    assert!(!silent.fires() && fires.fires());
    assert!((silent.surprise - 1.17e-5_f64.log10().abs()).abs() < 0.01, "{silent:?}");
    assert!((fires.surprise - 2.2e-6_f64.log10().abs()).abs() < 0.02, "{fires:?}");
}

#[test]
fn a_burst_does_not_poison_the_history() {
    let mut counts = [8, 12].repeat(143);
    counts.extend([8, 1_000, 10, 200]);
    assert_eq!(fired(&counts), [287, 289]);
}

#[test]
fn a_night_burst_in_a_daily_cycle_fires_and_the_steps_do_not() {
    let day = [vec![5; 144], vec![200; 144]].concat();
    let mut counts = day.repeat(4);
    let first_morning: Vec<u32> = (144..156).collect();
    assert_eq!(fired(&counts), first_morning, "one burst of 12 windows, then a level; silent at every later step");
    counts[1_100] = 450;
    for at_night in [150, 30] {
        counts[900] = at_night;
        assert_eq!(fired(&counts)[12..], [900, 1_100], "{at_night} at night");
    }
}

#[test]
fn a_ramp_fires_once_it_is_twice_the_baseline() {
    let ramp = (1..=12).map(|step| (10.0 * 1.1_f64.powi(step)).round() as u64);
    let counts: Vec<u64> = [10].repeat(288).into_iter().chain(ramp).collect();
    assert_eq!((fired(&counts)[0], counts[298]), (298, 29));
}

#[test]
fn a_slow_ramp_fires_once_it_is_twice_the_baseline() {
    let counts: Vec<u64> = [10].repeat(288).into_iter().chain(11..40).collect();
    assert_eq!((fired(&counts)[0], counts[306]), (306, 29));
}

#[test]
fn a_level_shift_is_twelve_windows_and_then_the_baseline() {
    let counts = [vec![5; 288], vec![50; 600]].concat();
    let hour: Vec<u32> = (288..300).collect();
    assert_eq!(fired(&counts), hour);
    let mut test = BurstTest::default();
    let states: Vec<BurstState> =
        (0..).zip(&counts).map(|(window, count)| test.observe(window, *count).state).collect();
    assert_eq!(states[298..301], [BurstState::Burst, BurstState::LevelShift, BurstState::Normal]);
    assert!(test.observe(888, 500).fires(), "a burst above the new level");
}

#[test]
fn a_hidden_template_fires_on_its_own_series() {
    let noise = |window: u64| 1_000 + window * 37 % 65 - 32;
    let total: Vec<u64> = (0..300).map(|window| noise(window) + 100 * u64::from(window >= 290)).collect();
    let template: Vec<u64> = (0..300).map(|window| 100 * u64::from(window >= 290)).collect();
    assert!(fired(&total).is_empty());
    assert_eq!(fired(&template)[0], 290);
}

#[test]
fn a_straddle_fires_in_the_window_between() {
    let mut test = BurstTest::default();
    for window in 0..288 {
        test.observe(window, 0);
    }
    assert!(!test.observe(288, 6).fires());
    // From the third minute of window 288: its 6 and the first 6 of window 289.
    assert!(test.sliding(3, 12).fires());
    assert!(!test.observe(289, 6).fires());
}

#[test]
fn late_lines_judge_their_own_window_once() {
    let mut test = BurstTest::default();
    for window in 0..30 {
        test.observe(window, 1);
    }
    assert!(!test.observe(30, 9).fires());
    assert!(!test.observe(31, 1).fires());
    assert!(test.amend(30, 15).is_some_and(|verdict| verdict.fires()), "40 % came late");
    assert_eq!(test.amend(30, 40), None, "its turn is over");
    assert_eq!(test.amend(31, 1), None, "nothing came");
    assert!(!test.observe(32, 8).fires());
}

#[test]
fn missing_windows_are_unknown_and_a_backlog_fires_nothing() {
    let mut test = BurstTest::default();
    for window in 0..100 {
        test.observe(window, 20);
    }
    assert_eq!(test.observe(104, 100).state, BurstState::Unknown, "20 minutes of backlog in one window");
    let next = test.observe(105, 21);
    assert_eq!((next.state, next.n), (BurstState::Normal, 100), "neither the gap nor the backlog is in the baseline");
    assert!((next.expected - 20.0).abs() < 0.5);
    assert!(test.observe(107, 60).fires(), "one unknown window delays nothing");
}

#[test]
fn a_counter_reset_is_no_burst() {
    let mut counter = CounterIncrements::default();
    let increments: Vec<Option<u64>> = [1_000, 1_010, 5].map(|reading| counter.next(reading)).to_vec();
    assert_eq!(increments, [None, Some(10), Some(5)]);
}

#[test]
fn zeros_that_a_source_drops_are_zeros() {
    // An error an hour: known from the sixth window on, not from the thirtieth with an error.
    let mut counts: Vec<u64> = (0..60).map(|window| u64::from(window % 12 == 0)).collect();
    counts.push(12);
    assert_eq!(fired(&counts), [60]);
}

#[test]
fn a_first_morning_is_not_held_out_for_ever() {
    // Without the hour after which a burst is a level, each day would fire again.
    let day: Vec<u64> = (0..288).map(|window| if window < 100 { 2 } else { 90 }).collect();
    assert_eq!(fired(&day.repeat(9)).len(), 12);
}

#[test]
fn saving_anywhere_changes_nothing() {
    let counts: Vec<u64> = (0..2_600).map(|w: u64| w * w % 23 + 400 * u64::from(w % 301 == 7)).collect();
    let mut test = BurstTest::default();
    let mut saved = BurstTest::default();
    for (window, count) in (0..).zip(&counts).filter(|(window, _)| window % 97 != 5) {
        assert_eq!(test.observe(window, *count), saved.observe(window, *count), "window {window}");
        if window % 250 == 0 {
            let mut fresh = BurstTest::default();
            fresh.restore(&saved.save()).unwrap();
            saved = fresh;
        }
    }
    let mut other = BurstTest::default();
    assert!(other.restore(b"{}").is_err());
    let (good, wrong) = (String::from_utf8(test.save()).unwrap(), "\"first\":9999999");
    let first = good.find("\"first\":").map(|at| &good[at..at + good[at..].find(',').unwrap()]).unwrap();
    assert!(other.restore(good.replace(first, wrong).as_bytes()).is_err());
}

#[test]
fn the_largest_numbers_are_counted_and_nothing_overflows() {
    let mut test = BurstTest::default();
    for window in [0, 1, 2, 3, 4, 5, 6, 7, u32::MAX - 1, u32::MAX, u32::MAX] {
        let verdict = test.observe(window, u64::MAX);
        assert!(verdict.expected.is_finite() && verdict.surprise.is_finite());
    }
    assert_eq!(test.sliding(9, u64::MAX).count, u64::MAX);
}
