//! From a sighting to an announcement, a repeat, or a hold.

use std::time::Duration;

use jiff::Timestamp;

use super::Correlator;
use super::config::{CorrelationRule, FlapRule};
use super::decision::{Correlated, CorrelationDecision};
use super::episode::{Announcement, Episode, Flapping, HoldRun, Track, Why};
use crate::event::DetectionEvent;
use crate::fingerprint::Identity;
use crate::time::{human, minus, since};

/// Of the deploys and windows that held an episode, so many are named.
const HOLDERS: usize = 5;

impl Correlator {
    /// One firing sighting of a known identity, in time.
    pub(super) fn sighting(
        &mut self,
        key: &str,
        identity: Identity,
        event: DetectionEvent,
        gap: Duration,
    ) -> Correlated {
        let (at, severity, now) = (event.observed(), event.severity, self.now);
        let track = self.tracks.entry(key.to_owned()).or_insert_with(|| Track::new(identity));
        if let Some(ended) = track.ended_at.filter(|ended| at < *ended) {
            metrics::counter!("aiops_correlate_late_total").increment(1);
            return Correlated::new(CorrelationDecision::Ignored, Some(event))
                .reason(format!("already resolved at {ended}"));
        }
        let episode = match &mut track.episode {
            Some(episode) => {
                episode.known_again(at);
                if at >= episode.last_firing {
                    episode.normal_since = None;
                    episode.event = event.clone();
                }
                episode.last_firing = episode.last_firing.max(at);
                episode.last_seen = episode.last_seen.max(at);
                episode.arrived = now;
                episode.gap = gap;
                episode
            }
            None => track.open(&event, gap, now),
        };
        let rule = self.config.rule(event.alertname()).clone();
        episode.sightings.push_back(at);
        while episode.sightings.len() > rule.min_count as usize {
            episode.sightings.pop_front();
        }

        if let Some((by, reason)) = self.held(key, severity, at) {
            if let Some(episode) = self.tracks.get_mut(key).and_then(|track| track.episode.as_mut())
                && episode.held_by.len() < HOLDERS
            {
                episode.held_by.insert(by.clone());
            }
            return self.hold_back(key, &event, by, reason);
        }
        if let Some((by, reason)) = self.inhibited(key, &event) {
            return self.hold_back(key, &event, by, reason);
        }
        let Some(episode) = self.tracks.get(key).and_then(|track| track.episode.as_ref()) else {
            return Correlated::new(CorrelationDecision::Ignored, Some(event)).reason("no open episode");
        };
        if episode.latest.is_none()
            && let Some(reason) = pending(episode, &rule, at)
        {
            return Correlated::new(CorrelationDecision::Ignored, Some(filled(&event, episode))).reason(reason);
        }
        match episode.wants(severity, at, rule.renotify_after) {
            Some(why) => self.announce(key, event, why),
            None => self.repeat(key, &event, None),
        }
    }

    fn hold_back(&mut self, key: &str, event: &DetectionEvent, by: String, reason: String) -> Correlated {
        let mut decision = Correlated::new(CorrelationDecision::Suppressed, None);
        let track = self.tracks.get_mut(key);
        if let Some((episode, carried)) = track.and_then(|track| Some((track.episode.as_mut()?, track.carried))) {
            episode.held = episode.held.saturating_add(1);
            decision.count = episode.held.saturating_add(carried);
            decision.of = episode.latest.as_ref().map(|latest| latest.event_id.clone());
            decision.event = Some(filled(event, episode));
        }
        metrics::counter!("aiops_correlate_suppressed_total").increment(1);
        decision.by = Some(by);
        decision.reason(reason)
    }

    fn repeat(&mut self, key: &str, event: &DetectionEvent, by: Option<&str>) -> Correlated {
        let mut decision = Correlated::new(CorrelationDecision::Repeat, None);
        let Some(track) = self.tracks.get_mut(key) else { return decision };
        let Some(episode) = track.episode.as_mut() else { return decision };
        if let Some(latest) = &mut episode.latest {
            latest.repeats = latest.repeats.saturating_add(1);
            decision.count = latest.repeats;
            decision.of = Some(latest.event_id.clone());
        }
        if let Some(record) = track.flapping.as_mut().and_then(|flapping| flapping.record.as_mut()) {
            record.latest.clone_from(&episode.latest);
        }
        decision.event = Some(filled(event, episode));
        decision.by = by.map(str::to_owned);
        metrics::counter!("aiops_correlate_repeats_total").increment(1);
        decision
    }

    /// Announces a sighting, unless it only opens a flapping identity once more.
    fn announce(&mut self, key: &str, event: DetectionEvent, why: Why) -> Correlated {
        let (at, severity) = (event.observed(), event.severity);
        let flap = self.config.flapping;
        let mut reason = None;
        let Some(track) = self.tracks.get_mut(key) else {
            return Correlated::new(CorrelationDecision::Ignored, Some(event)).reason("no open episode");
        };
        if why == Why::First {
            if track.changed(at, &flap) {
                track.flapping = Some(Flapping { record: None });
            }
            let record = track.flapping.as_ref().and_then(|flapping| flapping.record.as_ref());
            if let (Some(record), Some(episode)) = (record, track.episode.as_mut()) {
                // The record stands for this episode too: same incident, same announcements.
                episode.muted = true;
                episode.incident.clone_from(&record.incident);
                episode.announced.clone_from(&record.announced);
                episode.latest.clone_from(&record.latest);
                let rises = record.latest.as_ref().is_some_and(|latest| severity > latest.severity);
                if !rises {
                    return self.repeat(key, &event, Some("flapping")).reason(flap_reason(&flap));
                }
            } else if track.flapping.is_some() {
                reason = Some(flap_reason(&flap));
            }
        }
        if let Some(released) = track.hold.as_mut().and_then(HoldRun::tell) {
            reason = Some(released);
        }

        let Some(episode) = track.episode.as_mut() else {
            return Correlated::new(CorrelationDecision::Ignored, Some(event)).reason("no open episode");
        };
        let repeats = episode.latest.as_ref().map_or(0, |latest| latest.repeats);
        let held = std::mem::take(&mut episode.held).saturating_add(std::mem::take(&mut track.carried));
        let count = held.saturating_add(repeats);
        // A late sighting may be announced: the clock of announcements does not go back with it.
        let mark = episode.latest.as_ref().map_or(at, |latest| latest.at.max(at));
        episode.announced.insert(severity, mark);
        episode.latest = Some(Announcement { severity, at: mark, event_id: event.event_id.clone(), repeats: 0 });
        let mut decision = Correlated::new(CorrelationDecision::Announced, None);
        match &episode.incident {
            Some(incident) => decision.incident = self.incidents.rise(incident, severity),
            None => {
                let graph = self.graph.load();
                let (id, change) = self.incidents.attach(&episode.id, &event.service, severity, &graph);
                episode.incident = Some(id);
                decision.incident = change;
            }
        }
        let mut announced = filled(&event, episode);
        announced.repeats = count;
        decision.event = Some(announced);
        decision.count = count;
        decision.reason = reason;
        if let Some(flapping) = &mut track.flapping {
            match &mut flapping.record {
                // A rise within flapping: the record was announced at this severity too.
                Some(record) => {
                    record.announced.clone_from(&episode.announced);
                    record.latest.clone_from(&episode.latest);
                }
                None => flapping.record = Some(Box::new(episode.clone())),
            }
        }
        metrics::counter!("aiops_correlate_announced_total", "severity" => severity.as_str()).increment(1);
        decision
    }
}

fn flap_reason(flap: &FlapRule) -> String {
    format!("flapping: {} changes in {}", flap.changes, human(flap.window))
}

/// The event with what the episode knows: one `detected_at` and fingerprint for all its sightings.
pub(super) fn filled(event: &DetectionEvent, episode: &Episode) -> DetectionEvent {
    let mut event = event.clone();
    event.detected_at = episode.detected_at;
    event.fingerprint = episode.fingerprint.clone();
    event.episode_id = Some(episode.id.clone());
    event.incident_id.clone_from(&episode.incident);
    event
}

/// Why an episode is not announced yet.
fn pending(episode: &Episode, rule: &CorrelationRule, at: Timestamp) -> Option<String> {
    let oldest = minus(at, rule.within);
    let seen = episode.sightings.iter().filter(|sighting| rule.within.is_zero() || **sighting > oldest).count();
    if seen < rule.min_count as usize {
        return Some(format!("pending: {seen} of {} sightings in {}", rule.min_count, human(rule.within)));
    }
    let lasted = since(at, episode.first_seen);
    (lasted < rule.min_duration).then(|| format!("pending: lasts {} of {}", human(lasted), human(rule.min_duration)))
}
