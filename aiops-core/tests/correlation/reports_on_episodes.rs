//! What users of such systems reported on episodes and announcements; the number is that of the row
//! in the list of reports.

use aiops_core::{CorrelationDecision as D, IncidentChange, Severity, Status};

use crate::support::{HOUR, MINUTE, at, correlator, critical, event, identity, show, shown, warning};

#[test]
fn row_1_an_alert_that_flaps_is_one_record_without_a_triage_each() {
    let mut subject = correlator("{}");
    let (mut opened, mut announced) = (0, 0);
    for round in 0..60 {
        let now = round * MINUTE;
        let got = show(&mut subject, warning(now));
        opened += usize::from(got.incident == IncidentChange::Opened);
        announced += usize::from(got.decision == D::Announced);
        subject.resolve(&identity("checkout", "P99"), at(now + 30), at(now + 30));
    }
    assert_eq!((opened, announced), (4, 4), "three, and the record");
    assert_eq!(subject.advance(at(3 * HOUR)).len(), 1, "it ends once, after a quiet time");
}

#[test]
fn row_2_replicas_that_share_state_open_one_incident() {
    let (mut a, mut b) = (correlator("{}"), correlator("{}"));
    let mut opened = 0;
    let mut ids = Vec::new();
    for seconds in [0, 30, 60] {
        let first = show(&mut a, warning(seconds));
        b.restore(&a.save()).unwrap();
        let now = at(seconds) + std::time::Duration::from_millis(100);
        let second = b.observe(warning(seconds), now);
        a.restore(&b.save()).unwrap();
        assert_eq!(second.decision, D::Repeat);
        for got in [first, second] {
            opened += usize::from(got.incident == IncidentChange::Opened);
            ids.push((got.episode_id().unwrap().clone(), got.incident_id().unwrap().clone()));
        }
    }
    ids.dedup();
    assert_eq!((opened, ids.len()), (1, 1));
    // Without shared state the ids still agree, so that channels and locks see one.
    let alone = show(&mut correlator("{}"), warning(0));
    assert_eq!(ids[0], (alone.episode_id().unwrap().clone(), alone.incident_id().unwrap().clone()));
}

#[test]
fn row_3_one_resolve_for_each_episode() {
    let mut subject = correlator("{}");
    shown(&mut subject, warning(0));
    let resolves: Vec<_> =
        (60..65).map(|now| subject.resolve(&identity("checkout", "P99"), at(now), at(now)).decision).collect();
    assert_eq!(resolves, [D::Resolved, D::Ignored, D::Ignored, D::Ignored, D::Ignored]);
    let mut by_event = warning(70);
    by_event.status = Status::Resolved;
    assert_eq!(shown(&mut subject, by_event), D::Ignored);
    assert!(subject.advance(at(HOUR)).is_empty());
}

#[test]
fn row_4_severity_rises_once_and_never_falls_loudly() {
    let mut subject = correlator("{}");
    let got: Vec<_> = [warning(0), critical(60), warning(120), critical(180), warning(240), critical(300)]
        .into_iter()
        .map(|event| show(&mut subject, event))
        .collect();
    let decisions: Vec<_> = got.iter().map(|got| got.decision).collect();
    assert_eq!(decisions, [D::Announced, D::Announced, D::Repeat, D::Repeat, D::Repeat, D::Repeat]);
    let changes: Vec<_> = got.iter().map(|got| got.incident).filter(|change| *change != IncidentChange::None).collect();
    assert_eq!(changes, [IncidentChange::Opened, IncidentChange::Raised]);
    assert!(got.iter().all(|one| one.episode_id() == got[0].episode_id() && one.incident_id() == got[0].incident_id()));
}

#[test]
fn row_9_a_resolve_that_comes_first_opens_nothing() {
    let mut subject = correlator("{}");
    let mut resolve = warning(10);
    resolve.status = Status::Resolved;
    let got = show(&mut subject, resolve);
    assert_eq!((got.decision, got.incident), (D::Ignored, IncidentChange::None));
    assert!(got.incident_id().is_none() && got.episode_id().is_none());
    assert_eq!(subject.observe(warning(9), at(11)).decision, D::Ignored, "its firing half came too late");
    assert_eq!(subject.observe(warning(10), at(11)).decision, D::Announced, "the same instant opens");
}

#[test]
fn row_10_a_resolved_incident_absorbs_nothing() {
    let mut subject = correlator("{}");
    let first = show(&mut subject, warning(0));
    let closed = subject.resolve(&identity("checkout", "P99"), at(30), at(30));
    assert_eq!(closed.incident, IncidentChange::Closed);
    let other = show(&mut subject, event(31, "checkout", "Errors", Severity::Warning));
    assert_eq!(other.incident, IncidentChange::Opened);
    assert_ne!(other.incident_id(), first.incident_id());
    let again = show(&mut subject, warning(32));
    assert_eq!((again.decision, again.incident), (D::Announced, IncidentChange::Attached), "same bucket, new episode");
    assert_eq!(again.incident_id(), other.incident_id());
    assert_ne!(again.episode_id(), first.episode_id());
}

#[test]
fn row_11_only_sightings_of_this_episode_within_the_window_count() {
    let mut subject = correlator(r#"{"rules":{"P99":{"min_count":3,"within":"5m"}}}"#);
    assert_eq!(shown(&mut subject, warning(0)), D::Ignored);
    assert_eq!(shown(&mut subject, warning(60)), D::Ignored);
    let ended = subject.resolve(&identity("checkout", "P99"), at(90), at(90));
    assert_eq!(ended.decision, D::Ignored, "nothing was announced, so nothing is resolved");
    assert_eq!(shown(&mut subject, warning(120)), D::Ignored, "the resolved two do not count");
    assert_eq!(shown(&mut subject, warning(180)), D::Ignored);
    assert_eq!(shown(&mut subject, warning(420)), D::Ignored, "the first is 5 min old: the window is half-open");
    let pending = show(&mut subject, warning(480));
    assert_eq!(pending.reason.as_deref(), Some("pending: 2 of 3 sightings in 5m"));
    assert_eq!(shown(&mut subject, warning(540)), D::Announced);
}

#[test]
fn row_12_only_after_so_many_or_so_long() {
    let rules = r#"{"rules":{"P99":{"min_duration":"5m"},"Errors":{"min_count":2}}}"#;
    let mut subject = correlator(rules);
    let pending = show(&mut subject, warning(0));
    assert_eq!((pending.decision, pending.reason.as_deref()), (D::Ignored, Some("pending: lasts 0s of 5m")));
    assert_eq!(shown(&mut subject, warning(299)), D::Ignored);
    let announced = show(&mut subject, warning(300));
    assert_eq!(announced.decision, D::Announced);
    assert_eq!(announced.event.unwrap().detected_at, at(0), "it was detected when it began");
    let errors = |seconds| event(seconds, "checkout", "Errors", Severity::Warning);
    assert_eq!(shown(&mut subject, errors(300)), D::Ignored);
    assert_eq!(shown(&mut subject, errors(301)), D::Announced);
    assert_eq!(
        shown(&mut subject, event(302, "checkout", "Other", Severity::Info)),
        D::Announced,
        "no rule of its own"
    );
}

#[test]
fn row_13_repeats_are_counted_on_the_announcement() {
    let mut subject = correlator("{}");
    let announced = show(&mut subject, warning(0));
    for seconds in 1..=5 {
        let repeat = show(&mut subject, warning(seconds * 30));
        assert_eq!((repeat.decision, repeat.count), (D::Repeat, seconds as u64));
        assert_eq!(repeat.of, announced.event.as_ref().map(|event| event.event_id.clone()));
        assert_eq!(repeat.event.unwrap().observed(), at(seconds * 30), "last seen");
    }
    let rise = show(&mut subject, critical(200));
    assert_eq!((rise.count, rise.event.unwrap().repeats), (5, 5));
    shown(&mut subject, critical(210));
    let resolved = subject.resolve(&identity("checkout", "P99"), at(220), at(220));
    assert_eq!((resolved.count, resolved.event.unwrap().repeats), (1, 1), "those since the last announcement");
}

#[test]
fn row_14_a_resolve_in_another_bucket_closes_the_same_episode() {
    let mut subject = correlator("{}");
    let announced = show(&mut subject, warning(0));
    let mut resolve = warning(7 * MINUTE);
    resolve.status = Status::Resolved;
    let resolved = show(&mut subject, resolve);
    assert_eq!(resolved.decision, D::Resolved);
    assert_eq!(resolved.fingerprint(), announced.fingerprint());
    assert_eq!(resolved.episode_id(), announced.episode_id());
    assert_eq!(resolved.incident_id(), announced.incident_id());
}

#[test]
fn row_18_the_time_until_it_is_told_again_is_configured() {
    let mut subject = correlator("{}");
    let announced = |subject: &mut _| -> Vec<i64> {
        (0..300).filter(|minute| shown(subject, warning(minute * MINUTE)) == D::Announced).collect()
    };
    assert_eq!(announced(&mut subject), [0, 60, 120, 180, 240], "1 h by default, not every evaluation");
    let mut subject = correlator(r#"{"rules":{"P99":{"renotify_after":"2h"}}}"#);
    assert_eq!(announced(&mut subject), [0, 120, 240]);
    assert!(
        serde_json::from_str::<aiops_core::CorrelatorConfig>(r#"{"default_rule":{"renotify_after":3600}}"#).is_err()
    );
}

#[test]
fn row_19_two_events_of_one_instant_are_both_processed() {
    let mut subject = correlator("{}");
    assert_eq!(shown(&mut subject, event(0, "a", "P99", Severity::Warning)), D::Announced);
    assert_eq!(shown(&mut subject, event(0, "b", "P99", Severity::Warning)), D::Announced);
    assert_eq!(shown(&mut subject, event(0, "a", "Errors", Severity::Warning)), D::Announced);
    assert_eq!(
        shown(&mut subject, event(0, "a", "P99", Severity::Critical)),
        D::Announced,
        "a rise in the same instant"
    );
}

#[test]
fn row_22_events_too_old_or_ahead_are_said_to_be_so() {
    let mut subject = correlator("{}");
    let now = 100 * HOUR;
    let mut observe = |observed: i64| subject.observe(warning(observed), at(now));
    let old = observe(now - 27 * HOUR);
    assert_eq!((old.decision, old.reason.as_deref()), (D::Ignored, Some("observed 1d 3h before now, max_skew is 1h")));
    assert!(old.event.is_some(), "kept for review");
    assert_eq!(observe(now + 5 * MINUTE + 1).decision, D::Ignored);
    assert_eq!(observe(now - HOUR).decision, D::Announced, "exactly an hour passes");
}
