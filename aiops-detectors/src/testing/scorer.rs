//! The conformance suite of scorers.

use aiops_core::DataState;
use aiops_core::testing::{Violation, ensure};
use jiff::Timestamp;

use crate::scorer::{Score, Scorer};

/// Five minutes between samples.
const STEP: i64 = 300;
/// Samples of the main run: three days and a half, so that a day's season is known.
const SAMPLES: i64 = 1_000;

fn at(index: i64) -> Timestamp {
    Timestamp::from_second(index * STEP).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// A short cycle with a spike now and then.
fn value(index: i64) -> f64 {
    10.0 + (index % 7) as f64 + if index % 211 == 210 { 90.0 } else { 0.0 }
}

fn sound(score: &Score) -> Result<(), Violation> {
    let band = score.band.map_or([0.0; 2], |band| [band.low, band.high]);
    let numbers = [score.statistic, score.persisting, score.surprise, score.expected.unwrap_or(0.0)];
    let finite = numbers.iter().chain(&band).all(|number| number.is_finite());
    ensure(finite, "every number of a score is finite", || format!("{score:?}"))?;
    ensure(score.surprise >= 0.0, "a surprise is not negative", || format!("{score:?}"))?;
    ensure(band[0] <= band[1], "a band has its lower end below", || format!("{score:?}"))
}

/// Checks a scorer: finite for any input, what is refused changes nothing, state reads back at any point
/// and decides the same, a prefix scores as the whole, an empty copy is empty.
///
/// # Errors
/// The first violation.
pub fn check_scorer(prototype: &dyn Scorer) -> Result<(), Violation> {
    let mut scorer = prototype.fresh();
    let scores = restarts(prototype, &mut *scorer)?;
    let mut empty = scorer.fresh();
    for (index, before) in (0..).zip(&scores).take(100) {
        let score = empty.observe(at(index), value(index));
        ensure(score == *before, "an empty copy decides as one that never saw a value", || format!("at {index}"))?;
    }
    let threshold = prototype.default_threshold();
    ensure(threshold.is_finite() && threshold > 0.0, "the threshold is positive", || format!("{threshold}"))?;
    let same = (empty.name(), empty.default_threshold()) == (prototype.name(), threshold);
    ensure(same, "an empty copy has the name and the threshold", || format!("{empty:?}"))?;
    refuses(&mut *scorer)?;
    odd_series(prototype)?;
    foreign_state(&mut *scorer)
}

/// Restarts from saved state at each of the first samples and now and then later on; the scores.
fn restarts(prototype: &dyn Scorer, one: &mut dyn Scorer) -> Result<Vec<Score>, Violation> {
    let mut restored = prototype.fresh();
    let mut scores = Vec::new();
    for index in 0..SAMPLES {
        let score = one.observe(at(index), value(index));
        sound(&score)?;
        let other = restored.observe(at(index), value(index));
        ensure(score == other, "saved and loaded state decides the same", || {
            format!("{score:?}, {other:?} at {index}")
        })?;
        scores.push(score);
        if index < 40 || index % 97 == 0 {
            let bytes = one.save();
            restored = prototype.fresh();
            let read = restored.restore(&bytes);
            ensure(read.is_ok(), "saved state reads back", || format!("{read:?} at {index}"))?;
        }
    }
    Ok(scores)
}

/// Values that cannot enter a baseline, after the main run.
fn refuses(scorer: &mut dyn Scorer) -> Result<(), Violation> {
    let before = scorer.save();
    let (last, next) = (at(SAMPLES - 1), at(SAMPLES));
    for (time, odd) in [
        (next, f64::INFINITY),
        (next, f64::NEG_INFINITY),
        (last, value(SAMPLES - 1)),
        (last, 5.0),
        (at(5), 5.0),
        (Timestamp::MIN, 5.0),
    ] {
        let score = scorer.observe(time, odd);
        let calm = (score.surprise, score.statistic, score.persisting) == (0.0, 0.0, 0.0);
        ensure(calm, "a sample that is refused scores 0", || format!("{score:?} for {odd} at {time}"))?;
        let told = score.state == DataState::Error;
        ensure(told, "a sample that is refused has the state error", || format!("{score:?} for {odd} at {time}"))?;
    }
    ensure(scorer.save() == before, "a sample that is refused changes nothing", || "the state moved".to_owned())?;
    let score = scorer.observe(next, f64::NAN);
    sound(&score)?;
    let calm = score.surprise == 0.0 && score.statistic == 0.0 && scorer.save() == before;
    let allowed = score.state != DataState::Error || calm;
    ensure(allowed, "NaN is refused, or scored as the value that it stands for", || format!("{score:?}"))
}

/// Series that are no series: each score is finite, also after a restart in the middle.
fn odd_series(prototype: &dyn Scorer) -> Result<(), Violation> {
    type Make = fn(i64) -> (i64, f64);
    const DAY: i64 = 86_400;
    let series: [(&str, Make); 13] = [
        ("all equal", |index| (index * STEP, 42.0)),
        ("zeros of both signs", |index| (index * STEP, if index % 2 == 0 { 0.0 } else { -0.0 })),
        ("two values", |index| (index * STEP, (index % 2) as f64)),
        ("one value, then another", |index| (index * STEP, if index < 300 { 1.0 } else { 2.0 })),
        ("the largest number now and then", |index| (index * STEP, if index % 3 == 0 { f64::MAX } else { 1.0 })),
        ("the lowest number now and then", |index| (index * STEP, if index % 3 == 0 { f64::MIN } else { 1.0 })),
        ("both ends in turn", |index| (index * STEP, if index % 2 == 0 { f64::MAX } else { f64::MIN })),
        ("subnormal numbers", |index| (index * STEP, f64::MIN_POSITIVE / (2 + index % 9) as f64)),
        ("every order of magnitude", |index| (index * STEP, 10f64.powi((index * 37 % 613 - 306) as i32))),
        ("gaps of years", |index| (index * 400 * DAY, (index % 5) as f64)),
        ("a gap of centuries", |index| (index * STEP + if index < 300 { 0 } else { 90_000 * DAY }, (index % 5) as f64)),
        ("millennia apart", |index| (index * STEP + if index < 400 { 0 } else { 2_000_000 * DAY }, (index % 5) as f64)),
        ("times that jump", |index| (index * STEP + index * index * 7_919 % 600, (index % 5) as f64)),
    ];
    for (name, make) in series {
        let mut scorer = prototype.fresh();
        for index in 0..600 {
            let (second, value) = make(index);
            let time = Timestamp::from_second(second).unwrap_or(Timestamp::MAX);
            sound(&scorer.observe(time, value))
                .map_err(|violation| Violation::new(violation.contract, format!("{} in {name}", violation.detail)))?;
            if index == 299 {
                let bytes = scorer.save();
                scorer = prototype.fresh();
                let read = scorer.restore(&bytes);
                ensure(read.is_ok(), "saved state reads back", || format!("{read:?} in {name}"))?;
            }
        }
    }
    Ok(())
}

/// Bytes that are no state of this scorer.
fn foreign_state(scorer: &mut dyn Scorer) -> Result<(), Violation> {
    let before = scorer.save();
    let half = &before[..before.len() / 2];
    for bytes in [&b"{\"v\":999}"[..], b"", b"{}", b"null", &[0xff, 0xfe, 0x00], half] {
        let read = scorer.restore(bytes);
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]);
        ensure(read.is_err(), "state of another version or of nothing is refused", || format!("took {shown:?}"))?;
        ensure(scorer.save() == before, "state that is refused changes nothing", || format!("{shown:?} did"))?;
    }
    Ok(())
}
