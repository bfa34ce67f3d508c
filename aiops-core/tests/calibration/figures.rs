//! `figures.json` is what `reference.py` printed; the figures must equal it.

use aiops_core::Confidence;
use aiops_core::calibration::{Advice, Calibration, CalibrationSettings, Judged, advise, error_bound, wilson};
use serde_json::Value;

const NEAR: f64 = 1e-9;

fn fixture() -> Value {
    serde_json::from_str(include_str!("figures.json")).unwrap()
}

fn near(ours: f64, theirs: &Value, what: &str) {
    let theirs = theirs.as_f64().unwrap_or_else(|| panic!("{what}: {theirs}"));
    assert!((ours - theirs).abs() <= NEAR, "{what}: {ours} is not {theirs}");
}

fn cases(set: &Value) -> Vec<Judged> {
    let case = |pair: &Value| Judged::new(Confidence::new(pair[0].as_f64().unwrap()).unwrap(), pair[1] == true);
    set["cases"].as_array().unwrap().iter().map(case).collect()
}

/// All figures of one set, with the cases in another order than the fixture's.
fn measured(set: &Value) -> (Calibration, Vec<Judged>) {
    let mut cases = cases(set);
    cases.reverse();
    let threshold = Confidence::new(set["threshold"].as_f64().unwrap()).unwrap();
    let settings = CalibrationSettings::new(threshold).seed(set["seed"].as_u64().unwrap());
    (Calibration::measure(&cases, &settings).unwrap(), cases)
}

#[test]
fn the_figures_equal_an_independent_implementation() {
    let fixture = fixture();
    let sets = fixture["sets"].as_array().unwrap();
    assert_eq!(sets.len(), 9);
    for set in sets {
        let name = set["name"].as_str().unwrap();
        let (ours, _) = measured(set);
        for (figure, key) in [
            (ours.brier.score, "score"),
            (ours.brier.reliability, "reliability"),
            (ours.brier.resolution, "resolution"),
            (ours.brier.uncertainty, "uncertainty"),
            (ours.brier.within, "within"),
        ] {
            near(figure, &set["brier"][key], &format!("{name}: brier {key}"));
        }
        near(ours.ece.value, &set["ece"], &format!("{name}: ece"));
        near(ours.ece.interval.low, &set["ece_interval"][0], &format!("{name}: ece low"));
        near(ours.ece.interval.high, &set["ece_interval"][1], &format!("{name}: ece high"));
        match ours.auroc {
            Some(auroc) => near(auroc, &set["auroc"], &format!("{name}: auroc")),
            None => assert!(set["auroc"].is_null(), "{name}"),
        }
        near(ours.aurc, &set["aurc"], &format!("{name}: aurc"));
        near(ours.spread.sd, &set["sd"], &format!("{name}: sd"));
    }
}

#[test]
fn tables_and_curves_equal_it_row_by_row() {
    let fixture = fixture();
    for set in fixture["sets"].as_array().unwrap() {
        let name = set["name"].as_str().unwrap();
        let (ours, _) = measured(set);
        let rows = set["reliability"].as_array().unwrap();
        assert_eq!(ours.reliability.len(), rows.len(), "{name}");
        for (bin, row) in ours.reliability.iter().zip(rows) {
            assert_eq!((bin.cases as u64, bin.correct as u64), (row[2].as_u64().unwrap(), row[3].as_u64().unwrap()));
            let figures = [
                (bin.low, 0),
                (bin.high, 1),
                (bin.mean_confidence, 4),
                (bin.accuracy, 5),
                (bin.interval.low, 6),
                (bin.interval.high, 7),
            ];
            figures.into_iter().for_each(|(figure, at)| near(figure, &row[at], &format!("{name}: row {row}")));
        }
        let points = set["risk_coverage"].as_array().unwrap();
        assert_eq!(ours.risk_coverage.len(), points.len(), "{name}");
        for (ours, theirs) in ours.risk_coverage.iter().zip(points) {
            near(ours.threshold, &theirs[0], name);
            assert_eq!((ours.accepted, ours.errors), (count(&theirs[1]), count(&theirs[2])), "{name}");
        }
        let (ours, theirs) = (ours.at_threshold, &set["at_threshold"]);
        assert_eq!((ours.accepted, ours.errors), (count(&theirs[0]), count(&theirs[1])), "{name}");
        near(ours.coverage, &theirs[2], name);
        assert_eq!(ours.error.is_none(), theirs[3].is_null(), "{name}");
        ours.error.into_iter().for_each(|error| near(error, &theirs[3], name));
        near(ours.interval.low, &theirs[4], name);
        near(ours.interval.high, &theirs[5], name);
    }
}

fn count(value: &Value) -> usize {
    usize::try_from(value.as_u64().unwrap()).unwrap()
}

#[test]
fn advice_equals_it_for_every_wanted_rate() {
    let fixture = fixture();
    let mut kinds = [0; 3];
    for set in fixture["sets"].as_array().unwrap() {
        let (_, cases) = measured(set);
        for (wanted, theirs) in set["advice"].as_object().unwrap() {
            let what = format!("{} at {wanted}: {theirs}", set["name"]);
            match advise(&cases, wanted.parse().unwrap()).unwrap() {
                Advice::Threshold(at) => {
                    near(at.threshold, theirs, &what);
                    kinds[0] += 1;
                }
                Advice::TooFew { .. } => {
                    assert_eq!(theirs, "too_few", "{what}");
                    kinds[1] += 1;
                }
                Advice::OutOfReach { .. } => {
                    assert_eq!(theirs, "out_of_reach", "{what}");
                    kinds[2] += 1;
                }
                other => panic!("{what}: {other:?}"),
            }
        }
    }
    assert!(kinds.iter().all(|kind| *kind >= 3), "the fixture has cases of each kind: {kinds:?}");
}

#[test]
fn bounds_and_intervals_equal_it() {
    let fixture = fixture();
    for row in fixture["error_bounds"].as_array().unwrap() {
        near(error_bound(count(&row[0]), count(&row[1])), &row[2], &row.to_string());
    }
    for row in fixture["wilson"].as_array().unwrap() {
        let interval = wilson(count(&row[0]), count(&row[1]));
        near(interval.low, &row[2], &row.to_string());
        near(interval.high, &row[3], &row.to_string());
    }
}
