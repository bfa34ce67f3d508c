//! An alert that opens and ends again and again becomes one record: few announcements, and yet no
//! severity above those that were told is hidden.

use aiops_core::{CorrelationDecision as D, IncidentChange, Severity, Sighting};
use proptest::prelude::*;

use crate::support::{EVERY, MINUTE, at, correlator, critical, identity, seconds, show, shown, warning};

const SEVERITIES: [Severity; 3] = [Severity::Info, Severity::Warning, Severity::Critical];
/// With 6 changes in 30 min: three openings, and the one that is the record.
const MOST_PER_WINDOW: usize = 4;

proptest! {
    #![proptest_config(crate::support::cases())]
    #[test]
    fn few_announcements(pauses in prop::collection::vec((5..400i64, 5..400i64), 1..30)) {
        let mut subject = correlator("{}");
        let (mut now, mut told) = (0, Vec::new());
        for (open, shut) in pauses {
            now += open;
            subject.advance(at(now));
            if shown(&mut subject, warning(now)) == D::Announced {
                told.push(now);
            }
            now += shut;
            subject.resolve(&identity("checkout", "P99"), at(now), at(now));
        }
        for (index, from) in told.iter().enumerate() {
            let within = told[index..].iter().filter(|at| **at < from + 30 * MINUTE).count();
            prop_assert!(within <= MOST_PER_WINDOW, "{} in half an hour: {:?}", within, told);
        }
    }

    #[test]
    fn every_rise_is_told_and_every_resolve_was_announced(
        steps in prop::collection::vec((5..700i64, 0..5usize), 1..40)
    ) {
        let mut subject = correlator("{}");
        let (mut now, mut highest) = (0, None::<Severity>);
        let mut open_incidents = 0i64;
        for (pause, what) in steps {
            now += pause;
            let mut all = subject.advance(at(now));
            let ended = !all.is_empty();
            if let Some(severity) = SEVERITIES.get(what).copied() {
                if ended {
                    highest = None;
                }
                let event = crate::support::event(now, "checkout", "P99", severity);
                let got = show(&mut subject, event);
                if highest.is_none_or(|highest| severity > highest) {
                    prop_assert_eq!(got.decision, D::Announced, "{} at {} over {:?}", severity, now, highest);
                }
                if got.decision == D::Announced {
                    highest = highest.max(Some(severity));
                }
                all.push(got);
            } else {
                let got = subject.resolve(&identity("checkout", "P99"), at(now), at(now));
                if got.decision == D::Resolved || ended {
                    highest = None;
                }
                all.push(got);
            }
            for got in all {
                match got.incident {
                    IncidentChange::Opened => open_incidents += 1,
                    IncidentChange::Closed => open_incidents -= 1,
                    _ => {}
                }
                if got.decision == D::Resolved {
                    prop_assert!(got.incident_id().is_some(), "what was never announced is never resolved");
                }
            }
            prop_assert!((0..=1).contains(&open_incidents));
        }
        // In the end everything is quiet and nothing is left open.
        for got in subject.advance(at(now + 3_600)) {
            open_incidents -= i64::from(got.incident == IncidentChange::Closed);
        }
        prop_assert_eq!(open_incidents, 0);
    }
}

#[test]
fn the_record_ends_when_it_was_quiet_for_the_window() {
    let mut subject = correlator("{}");
    let mut now = 0;
    let mut cycle = |subject: &mut _| {
        now += MINUTE;
        let opened = show(subject, warning(now));
        now += MINUTE;
        (opened, subject.resolve(&identity("checkout", "P99"), at(now), at(now)))
    };
    for round in 0..3 {
        let (opened, shut) = cycle(&mut subject);
        assert_eq!((opened.decision, shut.decision), (D::Announced, D::Resolved), "round {round}");
    }
    let (record, shut) = cycle(&mut subject);
    assert_eq!((record.decision, record.reason.as_deref()), (D::Announced, Some("flapping: 6 changes in 30m")));
    assert_eq!((shut.decision, shut.by.as_deref()), (D::Ignored, Some("flapping")));
    for round in 1..4 {
        let (opened, shut) = cycle(&mut subject);
        assert_eq!((opened.decision, opened.count, opened.by.as_deref()), (D::Repeat, round, Some("flapping")));
        assert_eq!(opened.incident_id(), record.incident_id());
        assert_eq!(shut.decision, D::Ignored);
    }
    assert!(subject.advance(at(now + 30 * MINUTE - 1)).is_empty());
    let ended = subject.advance(at(now + 30 * MINUTE));
    assert_eq!(ended.len(), 1);
    assert_eq!((ended[0].decision, ended[0].count), (D::Resolved, 3));
    assert_eq!((ended[0].episode_id(), ended[0].incident), (record.episode_id(), IncidentChange::Closed));
    let (fresh, _) = {
        now += 31 * MINUTE;
        (show(&mut subject, warning(now)), ())
    };
    assert_eq!((fresh.decision, fresh.reason), (D::Announced, None), "normal again");
}

#[test]
fn a_rise_while_flapping_is_told_once() {
    let mut subject = correlator("{}");
    let mut now = 0;
    for _ in 0..4 {
        now += MINUTE;
        shown(&mut subject, warning(now));
        now += MINUTE;
        subject.resolve(&identity("checkout", "P99"), at(now), at(now));
    }
    assert_eq!(shown(&mut subject, critical(now + 1)), D::Announced);
    subject.resolve(&identity("checkout", "P99"), at(now + 2), at(now + 2));
    assert_eq!(shown(&mut subject, critical(now + 3)), D::Repeat);
}

#[test]
fn what_still_fires_when_flapping_is_over_goes_on_without_a_second_announcement() {
    let mut subject = correlator("{}");
    let mut now = 0;
    for _ in 0..4 {
        now += MINUTE;
        shown(&mut subject, warning(now));
        now += MINUTE;
        subject.resolve(&identity("checkout", "P99"), at(now), at(now));
    }
    let last_change = now + MINUTE;
    for minute in 1..40 {
        now += MINUTE;
        assert!(subject.advance(at(now)).is_empty(), "minute {minute}");
        assert_eq!(shown(&mut subject, warning(now)), D::Repeat, "minute {minute}");
    }
    assert!(now >= last_change + 30 * MINUTE);
    let normal = |subject: &mut aiops_core::Correlator, now| {
        subject.sight(Sighting::Normal(identity("checkout", "P99")), EVERY, at(now))
    };
    assert!(normal(&mut subject, now + MINUTE).is_none());
    let resolved = normal(&mut subject, now + 6 * MINUTE).unwrap();
    assert_eq!((resolved.decision, resolved.incident), (D::Resolved, IncidentChange::Closed));
    assert_eq!(seconds(resolved.event.unwrap().observed()), now + 6 * MINUTE);
}
