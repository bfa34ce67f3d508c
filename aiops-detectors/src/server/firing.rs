//! Which alerts of an identity fire: an identity has no instance, an alert does.

use std::collections::BTreeMap;
use std::time::Duration;

use aiops_core::time::plus;
use jiff::Timestamp;

/// Alerts that are remembered, over all identities.
const MAX_ALERTS: usize = 10_000;
/// An alert that was not told again for so long has ended unseen; Alertmanager repeats what fires
/// every four hours unless it is set otherwise.
const LONGEST_SILENCE: Duration = Duration::from_secs(24 * 3_600);

/// By identity: the fingerprints that fire, and when each was told last.
#[derive(Debug, Default)]
pub(super) struct Firing {
    by_identity: BTreeMap<String, BTreeMap<String, Timestamp>>,
    count: usize,
}

impl Firing {
    /// Notes that an alert fires.
    pub(super) fn note(&mut self, identity: &str, fingerprint: &str, now: Timestamp) {
        if self.count >= MAX_ALERTS {
            self.forget_stale(now);
        }
        if let Some(told) = self.by_identity.get_mut(identity).and_then(|known| known.get_mut(fingerprint)) {
            *told = now;
        } else if self.count < MAX_ALERTS {
            self.by_identity.entry(identity.to_owned()).or_default().insert(fingerprint.to_owned(), now);
            self.count += 1;
        } else {
            metrics::counter!("aiops_intake_not_remembered_total").increment(1);
        }
    }

    /// Whether others of the identity still fire.
    pub(super) fn others(&self, identity: &str, fingerprint: &str, now: Timestamp) -> bool {
        let live = |(known, told): (&String, &Timestamp)| known != fingerprint && now < plus(*told, LONGEST_SILENCE);
        self.by_identity.get(identity).is_some_and(|known| known.iter().any(live))
    }

    /// Notes that an alert ended.
    pub(super) fn forget(&mut self, identity: &str, fingerprint: &str) {
        if let Some(known) = self.by_identity.get_mut(identity) {
            self.count -= usize::from(known.remove(fingerprint).is_some());
            if known.is_empty() {
                self.by_identity.remove(identity);
            }
        }
    }

    fn forget_stale(&mut self, now: Timestamp) {
        self.by_identity.retain(|_, known| {
            known.retain(|_, told| now < plus(*told, LONGEST_SILENCE));
            !known.is_empty()
        });
        self.count = self.by_identity.values().map(BTreeMap::len).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn an_identity_fires_until_its_last_alert_ends() {
        let mut firing = Firing::default();
        firing.note("x", "a", at(0));
        firing.note("x", "b", at(0));
        firing.note("x", "b", at(10));
        assert!(firing.others("x", "a", at(20)) && !firing.others("y", "a", at(20)));
        firing.forget("x", "b");
        assert!(!firing.others("x", "a", at(20)));
        firing.forget("x", "b");
        firing.forget("x", "a");
        assert_eq!((firing.count, firing.by_identity.len()), (0, 0));
    }

    #[test]
    fn what_was_not_told_for_a_day_holds_no_resolve_back() {
        let mut firing = Firing::default();
        firing.note("x", "a", at(0));
        assert!(firing.others("x", "b", at(86_399)));
        assert!(!firing.others("x", "b", at(86_400)));
    }

    #[test]
    fn it_is_bounded_and_makes_room_of_what_is_stale() {
        let mut firing = Firing::default();
        for alert in 0..MAX_ALERTS {
            firing.note("x", &alert.to_string(), at(0));
        }
        firing.note("y", "new", at(10));
        assert_eq!((firing.count, firing.others("y", "other", at(10))), (MAX_ALERTS, false));
        firing.note("x", "0", at(20));
        firing.note("y", "new", at(86_400));
        assert_eq!((firing.count, firing.others("y", "other", at(86_400))), (2, true));
    }
}
