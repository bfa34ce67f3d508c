//! Silence is what ends an episode; data that comes late, or that is not known, is not silence.

use aiops_core::{CorrelationDecision as D, DataState, Sighting};

use crate::support::{EVERY, HOUR, MINUTE, at, correlator, identity, show, shown, warning};

#[test]
fn a_source_that_is_always_late_keeps_its_episode() {
    let mut subject = correlator("{}");
    let late = 15 * MINUTE;
    for minute in 0..30 {
        let now = at(minute * MINUTE + late);
        assert!(subject.advance(now).is_empty());
        let expected = if minute == 0 { D::Announced } else { D::Repeat };
        assert_eq!(subject.observe(warning(minute * MINUTE), now).decision, expected, "minute {minute}");
    }
    let ended = subject.advance(at(29 * MINUTE + late + 10 * MINUTE));
    assert_eq!(ended.len(), 1, "and silence still ends it");
}

#[test]
fn while_nothing_is_known_of_the_data_the_episode_stays() {
    let mut subject = correlator("{}");
    shown(&mut subject, warning(0));
    for (index, state) in
        [DataState::NoData, DataState::Stale, DataState::Error].into_iter().cycle().take(600).enumerate()
    {
        let now = at((index as i64 + 1) * 5 * MINUTE);
        assert!(subject.sight(Sighting::Unknown(identity("checkout", "P99"), state), EVERY, now).is_none());
        assert!(subject.advance(now).is_empty(), "absence resolves nothing, not after two days either");
    }
    let back = 601 * 5 * MINUTE;
    let again = show(&mut subject, warning(back));
    assert_eq!(again.decision, D::Announced, "it goes on, and is told again after so long");
    assert_eq!(again.event.unwrap().detected_at, at(0), "in the same episode");
    assert_eq!(subject.advance(at(back + 10 * MINUTE)).len(), 1, "known again: silence ends it");
}

#[test]
fn normal_before_and_after_unknown_is_not_sustained() {
    let mut subject = correlator("{}");
    shown(&mut subject, warning(0));
    let mut sight = |sighting, minute: i64| subject.sight(sighting, EVERY, at(minute * MINUTE));
    let normal = || Sighting::Normal(identity("checkout", "P99"));
    assert!(sight(normal(), 1).is_none());
    assert!(sight(Sighting::Unknown(identity("checkout", "P99"), DataState::Error), 4).is_none());
    assert!(sight(normal(), 6).is_none());
    assert!(sight(normal(), 10).is_none());
    assert_eq!(sight(normal(), 11).unwrap().decision, D::Resolved);
    assert!(sight(normal(), 12).is_none(), "one resolve");
}

#[test]
fn the_gap_is_three_intervals_and_at_least_ten_minutes() {
    let mut subject = correlator("{}");
    let slow = std::time::Duration::from_secs(600);
    subject.sight(Sighting::Firing(Box::new(warning(0))), slow, at(0));
    assert!(subject.advance(at(30 * MINUTE - 1)).is_empty());
    assert_eq!(subject.advance(at(30 * MINUTE))[0].reason.as_deref(), Some("no sighting for 30m"));
    let mut subject = correlator("{}");
    let mut upstream = warning(0);
    upstream.upstream_id = Some("a1b2".to_owned());
    shown(&mut subject, upstream);
    assert!(subject.advance(at(24 * HOUR - 1)).is_empty(), "an upstream alert stays until it is resolved");
    assert_eq!(subject.advance(at(24 * HOUR)).len(), 1);
}

#[test]
fn closed_identities_are_forgotten_first() {
    let mut subject = correlator(r#"{"max_identities":3}"#);
    let fire = |subject: &mut _, service: &str, seconds| {
        show(subject, crate::support::event(seconds, service, "P99", aiops_core::Severity::Warning)).decision
    };
    assert_eq!(fire(&mut subject, "open", 0), D::Announced);
    for (index, service) in ["a", "b", "c", "d", "e"].into_iter().enumerate() {
        let now = index as i64 + 1;
        assert_eq!(fire(&mut subject, service, now), D::Announced);
        subject.resolve(&identity(service, "P99"), at(now), at(now));
    }
    assert_eq!(fire(&mut subject, "open", 60), D::Repeat, "what is open was kept");
    for service in ["f", "g", "h"] {
        assert_eq!(fire(&mut subject, service, 120), D::Announced);
    }
    let ended = subject.advance(at(120));
    assert_eq!(ended.len(), 1, "the bound holds, and what it ends is said");
    assert_eq!(ended[0].reason.as_deref(), Some("more than 3 identities are tracked"));
    assert_eq!(ended[0].event.as_ref().unwrap().service, "open");
}

#[test]
fn a_tombstone_is_kept_for_a_day() {
    let mut subject = correlator(r#"{"max_skew":"2d"}"#);
    let checkout = identity("checkout", "P99");
    assert_eq!(subject.resolve(&checkout, at(100), at(100)).decision, D::Ignored);
    let late = subject.observe(warning(99), at(101));
    assert_eq!(late.decision, D::Ignored);
    assert!(late.reason.unwrap().starts_with("already resolved at 2025-"));
    subject.advance(at(100 + 24 * HOUR));
    assert_eq!(subject.next_due(), None, "nothing is remembered any more");
    assert_eq!(subject.observe(warning(99), at(101 + 24 * HOUR)).decision, D::Announced);
}
