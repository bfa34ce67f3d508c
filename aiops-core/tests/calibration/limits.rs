//! What small, empty and one-sided sets give: an answer that says so.

use aiops_core::calibration::{
    Advice, Calibration, CalibrationError, CalibrationSettings, Judged, Unmeasurable, advise, at_threshold, aurc,
    auroc, brier, ece, error_bound, reliability, risk_coverage, spread, wilson,
};
use aiops_core::jiff::Timestamp;
use aiops_core::testing::samples;
use aiops_core::{Confidence, ReviewedCase, Verdict};

fn confidence(value: f64) -> Confidence {
    Confidence::new(value).unwrap()
}

/// So many right and wrong ones of one confidence.
fn cases(value: f64, right: usize, wrong: usize) -> Vec<Judged> {
    let case = |correct| Judged::new(confidence(value), correct);
    [vec![case(true); right], vec![case(false); wrong]].concat()
}

#[test]
fn ten_percent_of_errors_take_29_of_29_or_45_of_46_or_59_of_61() {
    for (right, all) in [(29, 29), (45, 46), (59, 61)] {
        let Advice::Threshold(at) = advise(&cases(0.8, right, all - right), 0.1).unwrap() else { panic!("{right}") };
        assert_eq!((at.threshold, at.accepted, at.errors), (0.8, all, all - right));
        assert!(at.error_bound <= 0.1, "{right} of {all}: {}", at.error_bound);
        // One case less proves less.
        assert!(error_bound(all - right, all - 1) > 0.1, "{right} of {all}");
    }
    assert_eq!(advise(&cases(0.8, 28, 0), 0.1).unwrap(), Advice::TooFew { cases: 28, needed: 29 });
    // 45 of 50 prove 0.80, not 0.90.
    assert!(matches!(advise(&cases(0.8, 45, 5), 0.2).unwrap(), Advice::Threshold(_)));
    let Advice::OutOfReach { nearest } = advise(&cases(0.8, 45, 5), 0.1).unwrap() else { panic!("out of reach") };
    assert_eq!((nearest.accepted, nearest.errors), (50, 5));
}

#[test]
fn the_smallest_threshold_that_fits_is_advised() {
    let cases = [cases(0.9, 40, 0), cases(0.8, 40, 1), cases(0.6, 30, 20)].concat();
    let Advice::Threshold(at) = advise(&cases, 0.1).unwrap() else { panic!("a threshold fits") };
    assert_eq!((at.threshold, at.accepted, at.errors), (0.8, 81, 1));
    assert_eq!(
        Advice::Threshold(at).to_string(),
        "take a threshold of 0.8: 80 of 81 were right, errors are at most 5.7 % at 95 %"
    );
}

#[test]
fn no_case_is_no_number() {
    let seven = confidence(0.7);
    assert_eq!(brier(&[], 10), Err(Unmeasurable::NoCases));
    assert_eq!(ece(&[], 10, 1), Err(Unmeasurable::NoCases));
    assert_eq!(reliability(&[], 10), Err(Unmeasurable::NoCases));
    assert_eq!(auroc(&[]), Err(Unmeasurable::NoCases));
    assert_eq!(risk_coverage(&[]), Err(Unmeasurable::NoCases));
    assert_eq!(aurc(&[]), Err(Unmeasurable::NoCases));
    assert_eq!(at_threshold(&[], seven), Err(Unmeasurable::NoCases));
    assert_eq!(spread(&[], seven), Err(Unmeasurable::NoCases));
    assert_eq!(advise(&[], 0.1).unwrap(), Advice::TooFew { cases: 0, needed: 29 });
    let settings = CalibrationSettings::new(seven);
    assert_eq!(Calibration::measure(&[], &settings), Err(CalibrationError::Unmeasurable(Unmeasurable::NoCases)));
    assert_eq!((error_bound(0, 0), wilson(0, 0).low, wilson(0, 0).high), (1.0, 0.0, 1.0));
    // More errors than cases are a slip of the caller, not a number beyond 1.
    assert_eq!((error_bound(3, 2), wilson(3, 2).high), (1.0, 1.0));
}

#[test]
fn one_class_cannot_be_ranked_and_all_else_is_finite() {
    for (right, wrong) in [(1, 0), (0, 1), (30, 0), (0, 30)] {
        let cases = cases(0.6, right, wrong);
        let correct = wrong == 0;
        assert_eq!(auroc(&cases), Err(Unmeasurable::OneClass { cases: right + wrong, correct }));
        let measured = Calibration::measure(&cases, &CalibrationSettings::new(confidence(0.7))).unwrap();
        assert_eq!((measured.auroc, measured.at_threshold.error), (None, None), "nothing passes 0.7");
        // JSON has no NaN: it would be written as null.
        let json = serde_json::to_string(&measured).unwrap();
        assert_eq!(json.matches("null").count(), 2, "{json}");
    }
}

#[test]
fn a_wanted_rate_outside_of_0_and_1_is_refused() {
    for wanted in [0.0, 1.0, -0.1, 1.5, f64::NAN, f64::INFINITY] {
        let error = advise(&cases(0.8, 5, 5), wanted).unwrap_err();
        assert!(error.to_string().contains("must be above 0 and below 1"), "{error}");
    }
    // So small that no number of cases is enough.
    assert!(matches!(advise(&cases(0.8, 5, 0), f64::MIN_POSITIVE).unwrap(), Advice::TooFew { cases: 5, .. }));
}

#[test]
fn exactly_the_threshold_passes() {
    let at = at_threshold(&cases(0.7, 3, 1), confidence(0.7)).unwrap();
    assert_eq!((at.accepted, at.errors, at.coverage, at.error), (4, 1, 1.0, Some(0.25)));
    assert_eq!(at_threshold(&cases(0.699_999, 3, 1), confidence(0.7)).unwrap().accepted, 0);
}

#[test]
fn a_threshold_without_effect_is_told() {
    let seven = confidence(0.7);
    let flat = spread(&cases(0.6, 5, 5), seven).unwrap();
    assert!(flat.is_flat() && !flat.passes_all() && flat.is_degenerate());
    let high = spread(&[cases(0.75, 10, 5), cases(0.99, 10, 0)].concat(), seven).unwrap();
    assert!(!high.is_flat() && high.passes_all());
    assert!(high.to_string().starts_with("the threshold has no effect: "), "{high}");
    // Exactly 95 % is not more than 95 %.
    let nearly = spread(&[cases(0.99, 19, 0), cases(0.1, 0, 1)].concat(), seven).unwrap();
    assert!(!nearly.passes_all() && !nearly.is_degenerate());
}

#[test]
fn equal_seeds_give_equal_intervals_and_ties_stay_together() {
    let cases = [cases(0.2, 3, 9), cases(0.5, 8, 8), cases(0.9, 20, 2)].concat();
    let (one, again, other) = (ece(&cases, 10, 1).unwrap(), ece(&cases, 10, 1).unwrap(), ece(&cases, 10, 2).unwrap());
    assert_eq!(one, again);
    assert!(one.value == other.value && one.interval != other.interval);
    assert_eq!(reliability(&cases, 10).unwrap().len(), 3);
    assert_eq!(reliability(&cases, 0).unwrap().len(), 1, "one bin at least");
    assert!(reliability(&cases, 1_000).unwrap().len() <= 10);
    // With one confidence a bin, the bins hide nothing.
    assert!(brier(&cases, 10).unwrap().within.abs() < 1e-12);
}

#[test]
fn a_review_that_is_unclear_counts_neither_way() {
    let at = Timestamp::UNIX_EPOCH;
    let triaged = samples::triaged(samples::event("web", "Latency", at), &["restart_pod"]);
    let case = |verdict| ReviewedCase::new(&triaged, verdict, at);
    assert_eq!(case(Verdict::Unclear).judged(), None);
    for (verdict, correct) in [(Verdict::Right, true), (Verdict::Wrong, false)] {
        assert_eq!(case(verdict).judged(), Some(Judged::new(triaged.report.confidence, correct)));
        let json = serde_json::to_string(&case(verdict)).unwrap();
        assert_eq!(serde_json::from_str::<ReviewedCase>(&json).unwrap(), case(verdict));
        assert!(json.contains(verdict.as_str()), "{json}");
    }
}
