//! What holds a sighting back: maintenance windows, deploys, and firing alerts of higher severity.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::Correlator;
use super::config::InhibitRule;
use super::episode::{HoldRun, Silence};
use crate::event::{DetectionEvent, Severity};
use crate::text::clip;
use crate::time::plus;

/// By what a sighting is held, and why, for a person.
type Held = (String, String);

impl Correlator {
    /// Held by a maintenance window or a deploy of its service.
    pub(super) fn held(&mut self, key: &str, severity: Severity, at: Timestamp) -> Option<Held> {
        let track = self.tracks.get_mut(key)?;
        let service = track.identity.service.clone();
        if service.is_empty() || (self.config.critical_passes && severity == Severity::Critical) {
            return None;
        }
        if let Some(window) = self.maintenance.load().covering(&service, at) {
            // A person set the window: it does not count against the longest hold of deploys.
            track.leave_hold(at);
            return Some((window, "in a maintenance window".to_owned()));
        }
        let windows: Vec<(Timestamp, Timestamp, String)> = self
            .deploys
            .deploys(&service)
            .into_iter()
            .filter_map(|deploy| self.window.of(&deploy).map(|(from, to)| (from, to, deploy.deploy_id)))
            .collect();
        let covering = windows.iter().filter(|(from, to, _)| *from <= at && at < *to);
        let Some((_, until, by)) = covering.clone().max_by_key(|(from, to, _)| (*from, *to)) else {
            track.leave_hold(at);
            return None;
        };
        let (until, by) = (*until, by.clone());
        let contiguous_since = contiguous_since(&windows, at);
        let run = match track.hold.take() {
            Some(run) if contiguous_since <= run.last => track.hold.insert(run),
            _ => track.hold.insert(HoldRun {
                since: at,
                last: at,
                deploys: BTreeSet::new(),
                released: None,
                told: false,
            }),
        };
        run.last = run.last.max(at);
        run.deploys.extend(covering.map(|(_, _, deploy)| deploy.clone()));
        if run.released.is_none() && at >= plus(run.since, self.config.max_hold) {
            run.released = Some(at);
        }
        if run.released.is_some() {
            return None;
        }
        Some((by, format!("service is being deployed, held until {until} at the latest")))
    }

    /// Held by a firing episode of higher severity on equal labels.
    pub(super) fn inhibited(&self, key: &str, event: &DetectionEvent) -> Option<Held> {
        self.config.inhibit.iter().find_map(|rule| {
            if rule.target.as_ref().is_some_and(|target| target != event.alertname()) {
                return None;
            }
            let inhibits = |other: &DetectionEvent| {
                other.severity > event.severity
                    && rule.source.as_ref().is_none_or(|source| source == other.alertname())
                    && equal_labels(rule, event, other)
            };
            // Only what people were told of may hide something from them.
            let firing = self.tracks.iter().filter(|(other, _)| *other != key);
            let firing = firing.filter_map(|(_, track)| track.episode.as_ref());
            let firing = firing.filter(|e| e.latest.is_some() && e.expires(Silence::SinceArrival) > self.now);
            let by = firing.map(|episode| &episode.event).find(|other| inhibits(other))?;
            let name = format!("{} on {}", clip(by.alertname(), 80), clip(by.service.as_str(), 80));
            let reason = format!(
                "inhibited by {name}, {} over {}, on equal {}",
                by.severity,
                event.severity,
                rule.equal.join(", ")
            );
            Some((name, reason))
        })
    }
}

/// An absent label, and an empty service, equals nothing.
fn equal_labels(rule: &InhibitRule, event: &DetectionEvent, other: &DetectionEvent) -> bool {
    rule.equal.iter().all(|name| match (event.labels.get(name), other.labels.get(name)) {
        (Some(a), Some(b)) => a == b,
        (None, None) if name == "service" => !event.service.is_empty() && event.service == other.service,
        _ => false,
    })
}

/// Since when windows have covered every moment up to `at`.
fn contiguous_since(windows: &[(Timestamp, Timestamp, String)], at: Timestamp) -> Timestamp {
    let mut since = at;
    while let Some((from, ..)) = windows.iter().filter(|(from, to, _)| *from < since && since <= *to).min() {
        since = *from;
    }
    since
}
