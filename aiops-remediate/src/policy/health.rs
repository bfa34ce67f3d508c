//! Health guards: while too much of a group is unhealthy, acting on its parts makes it worse.

use std::time::Duration;

use aiops_core::time::{human, minus};
use aiops_core::{ActionName, RuleVerdict, text};
use jiff::Timestamp;

use crate::catalogue::Limit;
use crate::store::GuardState;

/// A number that stops actions once it is bad, and lets them pass again only after it was good for a
/// while: mass failures must not set off mass remedies.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct HealthGuard {
    /// What the probe is asked, in its own names: the unhealthy share of a group, a control plane.
    pub probe: String,
    /// Actions stop while the number is beyond this.
    pub stop: Limit,
    /// The number is good again once it is not beyond this; the limit of `stop` unless set.
    pub resume: f64,
    /// Actions pass again after it was good for so long.
    pub quiet: Duration,
    /// Which actions it stops; all where none is named.
    pub actions: Vec<ActionName>,
}

impl HealthGuard {
    /// A guard of all actions that lets them pass again as soon as the number is within its limit.
    pub fn new(probe: impl Into<String>, stop: Limit) -> Self {
        let resume = stop.value();
        Self { probe: probe.into(), stop, resume, quiet: Duration::ZERO, actions: Vec::new() }
    }

    /// The number must be within `limit` for the time `quiet` before actions pass again.
    #[must_use]
    pub fn resume(mut self, limit: f64, quiet: Duration) -> Self {
        (self.resume, self.quiet) = (limit, quiet);
        self
    }

    /// It stops these actions only.
    #[must_use]
    pub fn actions(mut self, actions: Vec<ActionName>) -> Self {
        self.actions = actions;
        self
    }

    /// Whether it may stop one of these.
    #[must_use]
    pub fn concerns(&self, mut actions: impl Iterator<Item = impl AsRef<str>>) -> bool {
        self.actions.is_empty() || actions.any(|name| self.actions.iter().any(|own| own.as_str() == name.as_ref()))
    }

    /// What it says to a number, and how it stands from then on. A number that cannot be read stops actions
    /// and leaves the guard as it stands.
    #[must_use]
    pub fn judge(
        &self,
        before: Option<&GuardState>,
        reading: &Result<f64, String>,
        now: Timestamp,
    ) -> (RuleVerdict, Option<GuardState>) {
        let probe = text::clip(&self.probe, 120);
        let verdict = |detail: String| {
            let verdict = RuleVerdict::new("health", detail.is_empty(), detail).input("probe", probe.clone());
            match reading {
                Ok(value) => verdict.input("value", *value).input("stop", self.stop.value()),
                Err(_) => verdict,
            }
        };
        let value = match reading {
            Ok(value) => *value,
            Err(why) => return (verdict(format!("health: {probe} cannot be read: {}", text::clip(why, 200))), None),
        };
        let tripped_at = before.and_then(|state| state.tripped_at);
        if self.stop.is_beyond(value) {
            let detail = format!("health: {probe} is {}, {}", text::number(value), self.bound());
            return (verdict(detail), Some(GuardState::tripped(tripped_at.unwrap_or(now), now)));
        }
        let (Some(tripped_at), Some(bad_at)) = (tripped_at, before.map(|state| state.bad_at)) else {
            return (verdict(String::new()), None);
        };
        let at_rest = !self.stop.with(self.resume).is_beyond(value);
        let bad_at = if at_rest { bad_at } else { bad_at.max(now) };
        if at_rest && bad_at <= minus(now, self.quiet) {
            return (verdict(String::new()), Some(GuardState::passed(bad_at)));
        }
        let detail = format!(
            "health: {probe} was bad until {bad_at} (stopped since {tripped_at}); actions pass once it is {} for {}",
            self.good(),
            human(self.quiet)
        );
        (verdict(detail), Some(GuardState::tripped(tripped_at, bad_at)))
    }

    fn bound(&self) -> String {
        match self.stop {
            Limit::Above(limit) => format!("actions stop above {}", text::number(limit)),
            Limit::Below(limit) => format!("actions stop below {}", text::number(limit)),
        }
    }

    fn good(&self) -> String {
        let (side, limit) = (if matches!(self.stop, Limit::Above(_)) { "at most" } else { "at least" }, self.resume);
        format!("{side} {}", text::number(limit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_746_432_000 + minute * 60).unwrap()
    }

    fn judge(guard: &HealthGuard, state: &mut Option<GuardState>, value: f64, minute: i64) -> String {
        let (verdict, next) = guard.judge(state.as_ref(), &Ok(value), at(minute));
        if next.is_some() {
            *state = next;
        }
        verdict.detail.into_owned()
    }

    #[test]
    fn it_stops_above_its_limit_and_resumes_only_after_a_quiet_time() {
        let guard = HealthGuard::new("unhealthy_share", Limit::Above(0.3)).resume(0.1, Duration::from_secs(600));
        let mut state = None;
        assert_eq!(judge(&guard, &mut state, 0.3, 0), "");
        assert_eq!(judge(&guard, &mut state, 0.31, 1), "health: unhealthy_share is 0.31, actions stop above 0.3");
        // Between the two limits it is neither bad enough to stop nor good enough to go on.
        assert!(judge(&guard, &mut state, 0.2, 5).contains("was bad until 2025-05-05T08:05:00Z"));
        assert!(judge(&guard, &mut state, 0.1, 14).contains("at most 0.1 for 10m"));
        assert_eq!(judge(&guard, &mut state, 0.1, 15), "");
        assert_eq!(state.unwrap().tripped_at, None);
    }

    #[test]
    fn a_number_that_cannot_be_read_stops_and_changes_nothing() {
        let guard = HealthGuard::new("ready_nodes", Limit::Below(2.0));
        let (verdict, next) = guard.judge(None, &Err("no data".to_owned()), at(0));
        assert_eq!(verdict.detail, "health: ready_nodes cannot be read: no data");
        assert!(!verdict.pass && next.is_none());
        let (verdict, next) = guard.judge(None, &Ok(1.0), at(0));
        assert_eq!(verdict.detail, "health: ready_nodes is 1, actions stop below 2");
        assert_eq!(next, Some(GuardState::tripped(at(0), at(0))));
        let (verdict, _) = guard.judge(next.as_ref(), &Ok(2.0), at(1));
        assert!(verdict.pass);
    }
}
