//! How an episode ends: normal sightings, silence, a resolve, quiet after flapping.

use std::time::Duration;

use jiff::Timestamp;

use super::Correlator;
use super::announce::filled;
use super::decision::{Correlated, CorrelationDecision};
use super::episode::{Episode, Flapping, Silence};
use crate::event::{DetectionEvent, Status};
use crate::fingerprint::Identity;
use crate::names::EventId;
use crate::time::{human, plus, since};

/// Held episodes that wait to be told of.
const HELD_KEPT: usize = 1_000;

impl Correlator {
    pub(super) fn normal(&mut self, identity: &Identity, now: Timestamp) -> Option<Correlated> {
        self.now = self.now.max(now);
        let key = match self.config.identity_labels.reduce(identity) {
            Ok(identity) => identity.key(),
            Err(error) => return Some(Correlated::new(CorrelationDecision::Invalid, None).reason(error.to_string())),
        };
        self.expire(&key, now, Silence::SinceArrival);
        let clear_after = self.config.rule(&identity.alertname).clear_after;
        let resolved = if self.is_clear(&key, now, clear_after) { self.end(&key, now, None) } else { None };
        self.schedule(&key);
        resolved.filter(|decision| decision.decision == CorrelationDecision::Resolved)
    }

    /// Notes a normal sighting, and says whether they were sustained.
    fn is_clear(&mut self, key: &str, now: Timestamp, clear_after: Duration) -> bool {
        let episode = self.tracks.get_mut(key).and_then(|track| track.episode.as_mut());
        let Some(episode) = episode.filter(|episode| now >= episode.last_firing) else { return false };
        episode.known_again(now);
        episode.last_seen = episode.last_seen.max(now);
        episode.arrived = now;
        now >= plus(*episode.normal_since.get_or_insert(now), clear_after)
    }

    pub(super) fn unknown(&mut self, identity: &Identity, now: Timestamp) {
        self.now = self.now.max(now);
        let Ok(identity) = self.config.identity_labels.reduce(identity) else { return };
        let key = identity.key();
        self.expire(&key, now, Silence::SinceArrival);
        if let Some(episode) = self.tracks.get_mut(&key).and_then(|track| track.episode.as_mut()) {
            episode.unknown_at = Some(now);
            // What is not known is not sustained.
            episode.normal_since = None;
        }
        self.schedule(&key);
    }

    /// Ends the episode and flapping of a track where their time is over by `at`.
    pub(super) fn expire(&mut self, key: &str, at: Timestamp, silence: Silence) {
        let flap = self.config.flapping;
        let Some(track) = self.tracks.get_mut(key) else { return };
        let silent = track.episode.as_ref().filter(|episode| episode.expires(silence) <= at);
        if let Some((over, seen)) = silent.map(|e| (e.expires(Silence::SinceSeen), e.last_seen))
            && let Some(ended) = self.end(key, over, Some(format!("no sighting for {}", human(since(over, seen)))))
            && ended.decision == CorrelationDecision::Resolved
        {
            self.outbox.push(ended);
        }
        let Some(track) = self.tracks.get_mut(key) else { return };
        if track.flapping_until(&flap).is_none_or(|quiet| quiet > at) {
            return;
        }
        track.changes.clear();
        let Some(record) = track.flapping.take().and_then(|flapping| flapping.record) else { return };
        let Some(incident) = record.incident.clone() else { return };
        match &mut track.episode {
            // It still fires: this episode goes on as the announced one.
            Some(episode) => {
                episode.muted = false;
                episode.latest.clone_from(&record.latest);
                episode.announced.clone_from(&record.announced);
                self.incidents.replace(&incident, &record.id, &episode.id);
            }
            None => {
                let mut resolved = resolved_event(&record, track.ended_at.unwrap_or(at));
                let repeats = record.latest.as_ref().map_or(0, |latest| latest.repeats);
                resolved.repeats = repeats.saturating_add(std::mem::take(&mut track.carried));
                let mut decision = Correlated::new(CorrelationDecision::Resolved, None);
                decision.count = resolved.repeats;
                decision.event = Some(resolved);
                decision.by = Some("flapping".to_owned());
                decision.incident = self.incidents.detach(&incident, &record.id);
                self.outbox.push(decision.reason(format!("quiet for {}", human(flap.window))));
            }
        }
    }

    fn keep_held(&mut self, held: Correlated) {
        self.held_whole.push_back(held);
        if self.held_whole.len() > HELD_KEPT {
            self.held_whole.pop_front();
            metrics::counter!("aiops_correlate_held_dropped_total").increment(1);
        }
    }

    /// Episodes that ended since the last call and that nobody was told of, since a deploy or a maintenance
    /// window had held them the whole time. `by` names what held them, `count` is how many sightings they had.
    ///
    /// The last thousand are kept for whoever does not ask.
    pub fn take_held(&mut self) -> Vec<Correlated> {
        std::mem::take(&mut self.held_whole).into()
    }

    /// Ends the open episode of a track at a time.
    pub(super) fn end(&mut self, key: &str, at: Timestamp, reason: Option<String>) -> Option<Correlated> {
        let flap = self.config.flapping;
        let track = self.tracks.get_mut(key)?;
        let episode = track.episode.take()?;
        track.ended_at = track.ended_at.max(Some(at));
        let mut event = resolved_event(&episode, at);
        let ignored = |event, why: &str| Correlated::new(CorrelationDecision::Ignored, Some(event)).reason(why);
        let Some(latest) = &episode.latest else {
            track.carried = track.carried.saturating_add(episode.held);
            let held_by: Vec<&str> = episode.held_by.iter().map(String::as_str).collect();
            if !held_by.is_empty() {
                let mut held = Correlated::new(CorrelationDecision::Suppressed, Some(event.clone()));
                held.count = episode.held;
                held.by = Some(held_by.join(", "));
                let lasted = human(since(episode.last_firing, episode.first_seen));
                let plural = if episode.held == 1 { "" } else { "s" };
                let told = "nothing was announced";
                self.keep_held(held.reason(format!("{} sighting{plural} in {lasted}, {told}", episode.held)));
            }
            let why = if episode.held > 0 {
                "nothing was announced: it was held the whole time"
            } else {
                "nothing was announced: it was pending the whole time"
            };
            return Some(ignored(event, why));
        };
        if track.changed(at, &flap) {
            track.flapping = Some(Flapping { record: None });
        }
        if track.flapping.as_ref().is_some_and(|flapping| flapping.record.is_some()) {
            let mut decision = ignored(event, "one of many changes while flapping");
            decision.by = Some("flapping".to_owned());
            track.carried = track.carried.saturating_add(episode.held);
            return Some(decision);
        }
        let count = latest.repeats.saturating_add(episode.held);
        event.repeats = count;
        let mut decision = Correlated::new(CorrelationDecision::Resolved, Some(event));
        decision.of = Some(latest.event_id.clone());
        decision.count = count;
        decision.reason = reason;
        if let Some(incident) = &episode.incident {
            decision.incident = self.incidents.detach(incident, &episode.id);
        }
        metrics::counter!("aiops_correlate_resolved_total").increment(1);
        Some(decision)
    }
}

/// The event that says that an episode ended: the last sighting's numbers, an id of its own.
fn resolved_event(episode: &Episode, at: Timestamp) -> DetectionEvent {
    let mut event = filled(&episode.event, episode);
    event.status = Status::Resolved;
    event.observed_at = Some(at);
    event.event_id = EventId::derived(at, &format!("{}/resolved", episode.id));
    event
}
