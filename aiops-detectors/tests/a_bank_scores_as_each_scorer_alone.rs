//! A bank of scorers gives the scores of a scorer for each series, within its bound.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use aiops_core::DataState;
use aiops_detectors::jiff::Timestamp;
use aiops_detectors::{Mad, Sample, Score, Scorer, ScorerBank, SeasonalZScore, scorer_by_name};
use proptest::prelude::*;

fn at(index: i64) -> Timestamp {
    Timestamp::from_second(index * 300).unwrap()
}

fn sample(index: i64, value: f64) -> Sample {
    Sample { at: at(index), value }
}

/// What scorers alone say, series by series.
fn alone(batches: &[Vec<(u8, Sample)>], make: impl Fn() -> Mad) -> Vec<Vec<Score>> {
    let mut scorers: Vec<Mad> = (0..=u8::MAX).map(|_| make()).collect();
    let one = |(key, sample): &(u8, Sample), scorers: &mut Vec<Mad>| {
        scorers[usize::from(*key)].observe(sample.at, sample.value)
    };
    batches.iter().map(|batch| batch.iter().map(|point| one(point, &mut scorers)).collect()).collect()
}

fn batches() -> impl Strategy<Value = Vec<Vec<(u8, Sample)>>> {
    let value = prop_oneof![8 => -1e3f64..1e3, 1 => Just(f64::NAN), 1 => Just(1e300)];
    // Keys repeat within a batch, are missing from it, and come in any order; times repeat too.
    let batch = prop::collection::vec((0u8..12, 0i64..3, value), 0..24);
    prop::collection::vec(batch, 1..40).prop_map(|batches| {
        let place = |(round, batch): (usize, Vec<(u8, i64, f64)>)| {
            let point = |(key, late, value)| (key, sample(round as i64 * 3 + late, value));
            batch.into_iter().map(point).collect()
        };
        batches.into_iter().enumerate().map(place).collect()
    })
}

/// Equal, where NaN is the value of a sample that was refused.
fn same(one: &[Score], other: &[Score]) -> bool {
    let bits = |score: &Score| (format!("{score:?}"), score.statistic.to_bits(), score.surprise.to_bits());
    one.iter().map(bits).eq(other.iter().map(bits))
}

fn small() -> Mad {
    Mad::new(12).min_samples(3)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn in_one_batch_in_parts_and_after_a_restart(batches in batches(), parts in 1usize..5, restart in 0usize..40) {
        let wanted = alone(&batches, small);
        let (mut whole, mut split) = (ScorerBank::new(small), ScorerBank::new(small));
        let mut scores = Vec::new();
        for (round, (batch, wanted)) in batches.iter().zip(&wanted).enumerate() {
            whole.observe(batch, &mut scores);
            prop_assert!(same(&scores, wanted));
            let mut found: Vec<(usize, Score)> = split.parts(batch, parts).into_iter().flat_map(|part| part.run()).collect();
            found.sort_by_key(|(index, _)| *index);
            prop_assert!(found.iter().map(|(index, _)| *index).eq(0..batch.len()));
            let found: Vec<Score> = found.into_iter().map(|(_, score)| score).collect();
            prop_assert!(same(&found, wanted));
            if round == restart {
                let saved = whole.save();
                whole = ScorerBank::new(small);
                whole.restore(&saved).unwrap();
                prop_assert_eq!(&whole.save(), &saved);
            }
        }
    }
}

#[test]
fn parts_run_on_threads_of_the_host() {
    let mut bank = ScorerBank::new(small);
    let batch: Vec<(u32, Sample)> = (0..100).map(|key| (key, sample(0, f64::from(key)))).collect();
    let parts = bank.parts(&batch, 3);
    assert_eq!(parts.iter().map(|part| part.len()).collect::<Vec<_>>(), [34, 34, 32]);
    let scored: usize = std::thread::scope(|scope| {
        let running: Vec<_> = parts.into_iter().map(|part| scope.spawn(|| part.run().len())).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!((scored, bank.len()), (100, 100));
}

#[test]
fn beyond_the_bound_a_new_series_is_refused_until_idle_ones_are_forgotten() {
    let mut bank = ScorerBank::new(small).max_series(2).idle_after(Duration::from_secs(3_600));
    let mut scores = Vec::new();
    bank.observe(&[("a", sample(0, 1.0)), ("b", sample(10, 1.0)), ("c", sample(10, 1.0))], &mut scores);
    let states: Vec<DataState> = scores.iter().map(|score| score.state).collect();
    let warming = DataState::Warming { n: 0, of: 3 };
    assert_eq!(states, [warming, warming, DataState::Error]);
    assert_eq!(bank.parts(&[("c", sample(11, 1.0))], 4).into_iter().flat_map(|part| part.run()).count(), 1);
    assert_eq!(bank.len(), 2);

    assert_eq!(bank.evict_idle(at(13)), 1, "a is older than an hour");
    bank.observe(&[("c", sample(13, 1.0)), ("b", sample(13, 1.0))], &mut scores);
    assert_eq!(scores[0].state, warming);
    assert_eq!(scores[1].state, DataState::Warming { n: 1, of: 3 }, "b kept its place");
    assert!(bank.get(&"a").is_none() && bank.get(&"c").is_some());
}

#[test]
fn a_refused_sample_keeps_no_series_alive() {
    let mut bank = ScorerBank::new(small).idle_after(Duration::from_secs(3_600));
    let mut scores = Vec::new();
    bank.observe(&[("a", sample(0, 1.0))], &mut scores);
    bank.observe(&[("a", sample(100, f64::NAN))], &mut scores);
    assert_eq!(bank.evict_idle(at(20)), 1);
}

#[test]
fn saved_state_of_something_else_changes_nothing() {
    let mut bank = ScorerBank::new(small).max_series(1);
    let mut scores = Vec::new();
    bank.observe(&[("a".to_owned(), sample(0, 1.0))], &mut scores);
    let before = bank.save();
    let zscores = ScorerBank::<String, _>::new(SeasonalZScore::default);
    let mut two = ScorerBank::new(small);
    two.observe(&[("old".to_owned(), sample(0, 1.0)), ("new".to_owned(), sample(1, 1.0))], &mut scores);
    let twice = String::from_utf8(two.save()).unwrap().replace("\"new\"", "\"old\"");
    let mut wide = ScorerBank::<String, _>::new(small);
    assert!(wide.restore(twice.as_bytes()).is_err(), "a key twice");
    for bytes in [&zscores.save()[..], b"", b"{}", b"{\"v\":999}"] {
        assert!(bank.restore(bytes).is_err());
        assert_eq!(bank.save(), before);
    }
    // A smaller bound takes the newest.
    bank.restore(&two.save()).unwrap();
    assert!(bank.get(&"new".to_owned()).is_some() && bank.len() == 1);
}

#[test]
fn it_holds_scorers_by_name_too_and_says_what_they_take() {
    let mut bank = ScorerBank::new(|| scorer_by_name("mad").unwrap());
    let mut scores = Vec::new();
    for index in 0..300 {
        bank.observe(&[(1u64, sample(index, 1.0)), (2, sample(index, 2.0))], &mut scores);
    }
    let each = bank.get(&1).unwrap().size_bytes();
    assert!((2 * each..2 * each + 1_000).contains(&bank.size_bytes()), "{each} each, {} in all", bank.size_bytes());
}
