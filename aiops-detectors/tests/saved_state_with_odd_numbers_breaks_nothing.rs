//! Saved state that reads, but in which a number is another: it is refused, or taken and every score is
//! finite still; nothing panics.
#![allow(clippy::unwrap_used)]

use aiops_detectors::jiff::Timestamp;
use aiops_detectors::{Scorer, scorer_by_name, scorer_names};
use serde_json::Value;

/// Ends of the types that state is made of.
const ODD: [&str; 12] = [
    "0",
    "-1",
    "5e-324",
    "1e30",
    "1e308",
    "-1e308",
    "65535",
    "4294967295",
    "2147483647",
    "-2147483648",
    "9223372036854775807",
    "-9223372036854775808",
];
/// Changes tried for each scorer and length: enough that each kind of number is met.
const TRIES: usize = 150;

fn at(index: i64) -> Timestamp {
    Timestamp::from_second(1_767_571_200 + index * 300).unwrap()
}

fn value(index: i64) -> f64 {
    100.0 + (index * 7_919 % 101) as f64 / 10.0
}

/// All numbers below `state`, in their order.
fn numbers(state: &mut Value) -> Vec<&mut Value> {
    match state {
        Value::Number(_) => vec![state],
        Value::Array(items) => items.iter_mut().flat_map(numbers).collect(),
        Value::Object(fields) => fields.values_mut().flat_map(numbers).collect(),
        _ => Vec::new(),
    }
}

fn goes_on(name: &str, from: i64, bytes: &[u8], what: &str) {
    let mut scorer: Box<dyn Scorer> = scorer_by_name(name).unwrap();
    let before = scorer.save();
    if scorer.restore(bytes).is_err() {
        assert_eq!(scorer.save(), before, "{name}, {what}: state that is refused changes nothing");
        return;
    }
    for index in from..from + 40 {
        let score = scorer.observe(at(index), if index == from + 20 { 1e5 } else { value(index) });
        let band = score.band.map_or([0.0; 2], |band| [band.low, band.high]);
        let numbers = [score.surprise, score.statistic, score.persisting, score.expected.unwrap_or(0.0)];
        assert!(numbers.iter().chain(&band).all(|number| number.is_finite()), "{name}, {what}: {score:?}");
    }
}

#[test]
fn any_number_of_saved_state_may_be_another() {
    for name in scorer_names() {
        for samples in [1, 20, 400] {
            let mut scorer = scorer_by_name(name).unwrap();
            (0..samples).for_each(|index| _ = scorer.observe(at(index), value(index)));
            let saved: Value = serde_json::from_slice(&scorer.save()).unwrap();
            let count = numbers(&mut saved.clone()).len();
            // Settings stand alone and tables are long: all of the first and the last, some of the rest.
            let stride = (count / TRIES).max(1);
            let places = (0..count).filter(|place| *place < 40 || place + 40 > count || place % stride == 0);
            for (turn, place) in places.enumerate() {
                let odd = ODD[turn % ODD.len()];
                let mut changed = saved.clone();
                *numbers(&mut changed)[place] = serde_json::from_str(odd).unwrap();
                let bytes = serde_json::to_vec(&changed).unwrap();
                goes_on(name, samples, &bytes, &format!("number {place} of {count} is {odd}"));
            }
        }
    }
}
