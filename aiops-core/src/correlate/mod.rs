//! Correlation: from sightings to announcements, by event time.
//!
//! One pure value holds suppression, episodes, dedup, flapping, inhibition and incidents. A sighting
//! goes through them in this order:
//!
//! 1. identity and time: an event that lacks an identity label is invalid; one that is too old, too
//!    far ahead, or older than the end of its episode is ignored, and counted;
//! 2. its episode opens or goes on, whatever comes next, so that `detected_at` and the fingerprint
//!    are those of the first sighting;
//! 3. suppression (maintenance, deploys), then inhibition: held, and counted on what follows;
//! 4. `min_count` and `min_duration`;
//! 5. flapping and dedup: announced, or a repeat of what was announced.

mod config;
mod episode;
mod incidents;
mod maintenance;
mod suppression;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::config::{CorrelationRule, CorrelatorConfig, FlapRule, InhibitRule, InvalidCorrelatorConfig};
use self::config::{GAP_INTERVALS, LONGEST_SILENCE, SHORTEST_GAP};
use self::episode::{Announcement, Episode, Flapping, Track, Why};
pub use self::incidents::IncidentChange;
use self::incidents::Incidents;
pub use self::maintenance::{Day, InvalidMaintenanceWindows, LocalTime, MaintenanceWindow, MaintenanceWindows};
use crate::deploy_log::{Deploy, DeployLog, DeployWindow};
use crate::detector::Sighting;
use crate::event::{DetectionEvent, Status};
use crate::fingerprint::{Fingerprint, Identity};
use crate::graph::DependencyGraph;
use crate::live::Live;
use crate::names::{EpisodeId, EventId, IncidentId, ServiceName};
use crate::time::{human, minus, plus, since};

/// What became of a sighting or a resolve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CorrelationDecision {
    /// People and triage are told.
    Announced,
    /// It was announced before; counted on that announcement.
    Repeat,
    /// Held by a deploy, a maintenance window or another alert; counted on what follows.
    Suppressed,
    /// The episode ended; people are told.
    Resolved,
    /// Nothing is done; the reason says why.
    Ignored,
    /// It cannot be placed; the reason says why.
    Invalid,
}

impl CorrelationDecision {
    /// The decision's name in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Announced => "announced",
            Self::Repeat => "repeat",
            Self::Suppressed => "suppressed",
            Self::Resolved => "resolved",
            Self::Ignored => "ignored",
            Self::Invalid => "invalid",
        }
    }
}

/// One decision, with everything that a stage, a person or a review needs of it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Correlated {
    /// What became of it.
    pub decision: CorrelationDecision,
    /// The event with the episode's `detected_at`, fingerprint, ids and repeats filled in; as it came
    /// where it is invalid; none for a resolve of something unknown.
    pub event: Option<DetectionEvent>,
    /// What it did to its incident.
    pub incident: IncidentChange,
    /// The announced event that a repeat counts on.
    pub of: Option<EventId>,
    /// Repeat, suppressed: sightings held so far. Announced, resolved: sightings held before it.
    pub count: u64,
    /// What held it: a deploy id, a maintenance window, an identity, `flapping`.
    pub by: Option<String>,
    /// One line for a person.
    pub reason: Option<String>,
}

impl Correlated {
    fn new(decision: CorrelationDecision, event: Option<DetectionEvent>) -> Self {
        Self { decision, event, incident: IncidentChange::None, of: None, count: 0, by: None, reason: None }
    }

    fn reason(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    /// The episode's fingerprint.
    #[must_use]
    pub fn fingerprint(&self) -> Option<&Fingerprint> {
        self.event.as_ref().map(|event| &event.fingerprint).filter(|print| !print.is_empty())
    }

    /// The episode.
    #[must_use]
    pub fn episode_id(&self) -> Option<&EpisodeId> {
        self.event.as_ref()?.episode_id.as_ref()
    }

    /// The incident.
    #[must_use]
    pub fn incident_id(&self) -> Option<&IncidentId> {
        self.event.as_ref()?.incident_id.as_ref()
    }
}

/// Turns sightings into announcements. Pure: time is an argument, ids are functions of the data, so
/// that two replicas that are fed the same decide the same.
///
/// ```
/// use aiops_core::{CorrelationDecision, Correlator, CorrelatorConfig, DetectionEvent, EventKind, Severity};
/// let mut correlator = Correlator::new(CorrelatorConfig::default())?;
/// let at = |seconds| jiff::Timestamp::from_second(seconds).unwrap();
/// let event = |seconds| DetectionEvent::builder(EventKind::LogBurst, "cart", Severity::Warning, at(seconds), "loki").build();
/// assert_eq!(correlator.observe(event(0), at(0)).decision, CorrelationDecision::Announced);
/// assert_eq!(correlator.observe(event(30), at(30)).decision, CorrelationDecision::Repeat);
/// # Ok::<(), aiops_core::InvalidCorrelatorConfig>(())
/// ```
#[derive(Debug)]
pub struct Correlator {
    config: CorrelatorConfig,
    deploys: DeployLog,
    window: DeployWindow,
    maintenance: Live<MaintenanceWindows>,
    graph: Live<DependencyGraph>,
    /// The latest time seen: it does not go back.
    now: Timestamp,
    tracks: BTreeMap<String, Track>,
    /// When each track wants to be looked at.
    timers: BTreeSet<(Timestamp, String)>,
    incidents: Incidents,
    /// Episodes that ended while something else was decided; given out by `advance`.
    outbox: Vec<Correlated>,
}

#[derive(Serialize, Deserialize)]
struct Saved {
    version: u32,
    now: Timestamp,
    tracks: Vec<Track>,
    incidents: Incidents,
    deploys: Vec<(ServiceName, Vec<Deploy>)>,
}

/// Version of the saved state.
const STATE_VERSION: u32 = 1;

/// Saved state that cannot be taken back. The correlator stays as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// It does not read.
    #[error("saved correlator state does not read")]
    Corrupt(#[from] serde_json::Error),
    /// It is of another version of this library.
    #[error("saved correlator state has version {found}, this build reads {STATE_VERSION}")]
    Version {
        /// The version found.
        found: u32,
    },
}

impl Correlator {
    /// A correlator without deploys, maintenance windows or graph.
    ///
    /// # Errors
    /// Settings that cannot work, all faults at once.
    pub fn new(config: CorrelatorConfig) -> Result<Self, InvalidCorrelatorConfig> {
        config.validate()?;
        Ok(Self {
            config,
            deploys: DeployLog::default(),
            window: DeployWindow::default(),
            maintenance: Live::new(MaintenanceWindows::default()),
            graph: Live::new(DependencyGraph::default()),
            now: Timestamp::MIN,
            tracks: BTreeMap::new(),
            timers: BTreeSet::new(),
            incidents: Incidents::default(),
            outbox: Vec::new(),
        })
    }

    /// Lets the rollouts of a log hold their services.
    #[must_use]
    pub fn with_deploys(mut self, deploys: DeployLog, window: DeployWindow) -> Self {
        (self.deploys, self.window) = (deploys, window);
        self
    }

    /// Lets maintenance windows hold services.
    #[must_use]
    pub fn with_maintenance(mut self, windows: impl Into<Live<MaintenanceWindows>>) -> Self {
        self.maintenance = windows.into();
        self
    }

    /// Joins the incidents of direct neighbours.
    #[must_use]
    pub fn with_graph(mut self, graph: impl Into<Live<DependencyGraph>>) -> Self {
        self.graph = graph.into();
        self
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &CorrelatorConfig {
        &self.config
    }

    /// Takes one sighting of a detector that is evaluated `every` so often. `None`: nothing is to be
    /// told.
    pub fn sight(&mut self, sighting: Sighting, every: Duration, now: Timestamp) -> Option<Correlated> {
        match sighting {
            Sighting::Firing(event) => {
                let gap = SHORTEST_GAP.max(every.saturating_mul(GAP_INTERVALS));
                Some(self.take(*event, gap, now))
            }
            Sighting::Normal(identity) => self.normal(&identity, now),
            Sighting::Unknown(identity, _) => {
                self.unknown(&identity, now);
                None
            }
        }
    }

    /// Takes one event of a push source or a bus, firing or resolved.
    pub fn observe(&mut self, event: DetectionEvent, now: Timestamp) -> Correlated {
        self.take(event, SHORTEST_GAP, now)
    }

    /// Takes an explicit resolve.
    pub fn resolve(&mut self, identity: &Identity, at: Timestamp, now: Timestamp) -> Correlated {
        self.now = self.now.max(now);
        let identity = match self.config.identity_labels.reduce(identity) {
            Ok(identity) => identity,
            Err(error) => return Correlated::new(CorrelationDecision::Invalid, None).reason(error.to_string()),
        };
        if let Some(ignored) = self.out_of_time(at) {
            return ignored;
        }
        let key = identity.key();
        self.expire(&key, at);
        let track = self.tracks.entry(key.clone()).or_insert_with(|| Track::new(identity));
        let decision = match &track.episode {
            Some(episode) if at < episode.last_firing => {
                let reason = format!("older than the last sighting at {}", episode.last_firing);
                Correlated::new(CorrelationDecision::Ignored, Some(filled(&episode.event, episode))).reason(reason)
            }
            Some(_) => match self.end(&key, at, None) {
                Some(resolved) => resolved,
                None => Correlated::new(CorrelationDecision::Ignored, None).reason("no open episode"),
            },
            None => {
                track.ended_at = Some(track.ended_at.map_or(at, |known| known.max(at)));
                Correlated::new(CorrelationDecision::Ignored, None).reason("no open episode")
            }
        };
        self.schedule(&key);
        self.bound();
        decision
    }

    /// Ends what ended by itself by `now`: silence, quiet after flapping. Also gives out what ended
    /// while other sightings were taken.
    pub fn advance(&mut self, now: Timestamp) -> Vec<Correlated> {
        self.now = self.now.max(now);
        while let Some((due, key)) = self.timers.first().cloned() {
            if due > self.now {
                break;
            }
            self.timers.remove(&(due, key.clone()));
            if let Some(track) = self.tracks.get_mut(&key) {
                track.timer = None;
            }
            self.expire(&key, self.now);
            let forget = self.tracks.get(&key).is_some_and(|track| {
                track.episode.is_none() && track.flapping.is_none() && track.due(&self.config.flapping) <= self.now
            });
            if forget {
                self.tracks.remove(&key);
            } else {
                self.schedule(&key);
            }
        }
        std::mem::take(&mut self.outbox)
    }

    /// When [`advance`](Self::advance) has something to do next, if nothing else happens.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        self.timers.first().map(|(due, _)| *due)
    }

    /// The whole state as versioned bytes: it decides after [`restore`](Self::restore) as if it had
    /// never stopped. Settings, graph and maintenance windows are the host's and are not in it.
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        let saved = Saved {
            version: STATE_VERSION,
            now: self.now,
            tracks: self.tracks.values().cloned().collect(),
            incidents: self.incidents.clone(),
            deploys: self.deploys.all(),
        };
        serde_json::to_vec(&saved).unwrap_or_default()
    }

    /// Takes saved state back, in place of what is known now.
    ///
    /// # Errors
    /// Bytes that do not read, or of another version: the correlator stays as it was.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<(), RestoreError> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let found = serde_json::from_slice::<Version>(bytes)?.version;
        if found != STATE_VERSION {
            return Err(RestoreError::Version { found });
        }
        let saved: Saved = serde_json::from_slice(bytes)?;
        self.now = saved.now;
        self.incidents = saved.incidents;
        self.deploys.merge(saved.deploys);
        self.timers.clear();
        self.outbox.clear();
        self.tracks = saved.tracks.into_iter().map(|track| (track.identity.key(), track)).collect();
        for key in self.tracks.keys().cloned().collect::<Vec<_>>() {
            self.schedule(&key);
        }
        Ok(())
    }

    fn take(&mut self, mut event: DetectionEvent, gap: Duration, now: Timestamp) -> Correlated {
        self.now = self.now.max(now);
        let identity = match self.config.identity_labels.reduce(&event.identity()) {
            Ok(identity) => identity,
            Err(error) => {
                metrics::counter!("aiops_correlate_invalid_total").increment(1);
                return Correlated::new(CorrelationDecision::Invalid, Some(event)).reason(error.to_string());
            }
        };
        let upstream = event.upstream_id.is_some();
        let own = identity.fingerprint(event.detected_at);
        if !event.fingerprint.is_empty() && event.fingerprint != own {
            let carried = event.fingerprint.to_string();
            event.upstream_id.get_or_insert(carried);
            metrics::counter!("aiops_correlate_fingerprint_replaced_total").increment(1);
        }
        event.fingerprint = own;
        let at = event.observed();
        event.observed_at = Some(at);
        if event.status == Status::Resolved {
            let with_labels = Identity { labels: event.labels.clone(), ..identity };
            return self.resolve(&with_labels, at, now);
        }
        if let Some(mut ignored) = self.out_of_time(at) {
            ignored.event = Some(event);
            return ignored;
        }
        let rule = self.config.rule(&identity.alertname);
        let gap = match (rule.episode_gap, upstream) {
            (Some(gap), _) => gap,
            (None, true) => LONGEST_SILENCE,
            (None, false) => gap,
        };
        let key = identity.key();
        self.expire(&key, at);
        let decision = self.sighting(&key, identity, event, gap);
        self.schedule(&key);
        self.bound();
        decision
    }

    /// Too old or too far ahead to be acted on.
    fn out_of_time(&self, at: Timestamp) -> Option<Correlated> {
        let ignore = |why: String| Correlated::new(CorrelationDecision::Ignored, None).reason(why);
        let (skew, ahead) = (self.config.max_skew, self.config.max_ahead);
        if at < minus(self.now, skew) {
            metrics::counter!("aiops_correlate_out_of_time_total", "way" => "old").increment(1);
            let age = human(since(self.now, at));
            return Some(ignore(format!("observed {age} before now, max_skew is {}", human(skew))));
        }
        if at > plus(self.now, ahead) {
            metrics::counter!("aiops_correlate_out_of_time_total", "way" => "ahead").increment(1);
            let ahead_by = human(since(at, self.now));
            return Some(ignore(format!("observed {ahead_by} ahead of now, max_ahead is {}", human(ahead))));
        }
        None
    }

    /// One firing sighting of a known identity, in time.
    fn sighting(&mut self, key: &str, identity: Identity, event: DetectionEvent, gap: Duration) -> Correlated {
        let (at, severity) = (event.observed(), event.severity);
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
                episode.gap = gap;
                episode
            }
            None => track.open(&event, gap),
        };
        let rule = self.config.rule(event.alertname()).clone();
        episode.sightings.push_back(at);
        while episode.sightings.len() > rule.min_count as usize {
            episode.sightings.pop_front();
        }

        if let Some((by, reason)) = self.held(key, severity, at).or_else(|| self.inhibited(key, &event)) {
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
        let record = track.flapping.as_mut().and_then(|flapping| flapping.record.as_mut());
        let Some(episode) = track.episode.as_mut() else { return decision };
        let latest = match record {
            Some(record) if episode.muted => record.latest.as_mut(),
            _ => episode.latest.as_mut(),
        };
        if let Some(latest) = latest {
            latest.repeats = latest.repeats.saturating_add(1);
            decision.count = latest.repeats;
            decision.of = Some(latest.event_id.clone());
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
        if let Some(released) = track.hold.as_ref().and_then(|run| Self::release_reason(run, at)) {
            reason = Some(released);
        }

        let Some(episode) = track.episode.as_mut() else {
            return Correlated::new(CorrelationDecision::Ignored, Some(event)).reason("no open episode");
        };
        let repeats = episode.latest.as_ref().map_or(0, |latest| latest.repeats);
        let held = std::mem::take(&mut episode.held).saturating_add(std::mem::take(&mut track.carried));
        let count = held.saturating_add(repeats);
        episode.announced.insert(severity, at);
        episode.latest = Some(Announcement { severity, at, event_id: event.event_id.clone(), repeats: 0 });
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

    fn normal(&mut self, identity: &Identity, now: Timestamp) -> Option<Correlated> {
        self.now = self.now.max(now);
        let key = match self.config.identity_labels.reduce(identity) {
            Ok(identity) => identity.key(),
            Err(error) => return Some(Correlated::new(CorrelationDecision::Invalid, None).reason(error.to_string())),
        };
        self.expire(&key, now);
        let clear_after = self.config.rule(&identity.alertname).clear_after;
        let episode = self.tracks.get_mut(&key)?.episode.as_mut()?;
        if now < episode.last_firing {
            return None;
        }
        episode.known_again(now);
        episode.last_seen = episode.last_seen.max(now);
        let normal_since = *episode.normal_since.get_or_insert(now);
        let ended = now >= plus(normal_since, clear_after);
        let resolved = if ended { self.end(&key, now, None) } else { None };
        self.schedule(&key);
        resolved.filter(|decision| decision.decision == CorrelationDecision::Resolved)
    }

    fn unknown(&mut self, identity: &Identity, now: Timestamp) {
        self.now = self.now.max(now);
        let Ok(identity) = self.config.identity_labels.reduce(identity) else { return };
        let key = identity.key();
        self.expire(&key, now);
        if let Some(episode) = self.tracks.get_mut(&key).and_then(|track| track.episode.as_mut()) {
            episode.unknown_since.get_or_insert(now);
            // What is not known is not sustained.
            episode.normal_since = None;
        }
        self.schedule(&key);
    }

    /// Ends the episode and flapping of a track where their time is over by `at`.
    fn expire(&mut self, key: &str, at: Timestamp) {
        let flap = self.config.flapping;
        let Some(track) = self.tracks.get_mut(key) else { return };
        let silent = track.episode.as_ref().filter(|episode| episode.expires() <= at);
        if let Some((over, gap)) = silent.map(|episode| (episode.expires(), episode.gap))
            && let Some(ended) = self.end(key, over, Some(format!("no sighting for {}", human(gap))))
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
                resolved.repeats = record.latest.as_ref().map_or(0, |latest| latest.repeats);
                let mut decision = Correlated::new(CorrelationDecision::Resolved, None);
                decision.count = resolved.repeats;
                decision.event = Some(resolved);
                decision.by = Some("flapping".to_owned());
                decision.incident = self.incidents.detach(&incident, &record.id);
                self.outbox.push(decision.reason(format!("quiet for {}", human(flap.window))));
            }
        }
    }

    /// Ends the open episode of a track at a time.
    fn end(&mut self, key: &str, at: Timestamp, reason: Option<String>) -> Option<Correlated> {
        let flap = self.config.flapping;
        let track = self.tracks.get_mut(key)?;
        let episode = track.episode.take()?;
        track.ended_at = Some(track.ended_at.map_or(at, |known| known.max(at)));
        let mut event = resolved_event(&episode, at);
        let ignored = |event, why: &str| Correlated::new(CorrelationDecision::Ignored, Some(event)).reason(why);
        let Some(latest) = &episode.latest else {
            track.carried = track.carried.saturating_add(episode.held);
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

    /// Sets the timer of a track anew where it is due earlier than set.
    fn schedule(&mut self, key: &str) {
        let Some(track) = self.tracks.get_mut(key) else { return };
        let due = track.due(&self.config.flapping);
        if track.timer.is_none_or(|set| due < set) {
            if let Some(set) = track.timer.replace(due) {
                self.timers.remove(&(set, key.to_owned()));
            }
            self.timers.insert((due, key.to_owned()));
        }
    }

    /// Keeps the number of identities in bounds: the one that was silent longest goes.
    fn bound(&mut self) {
        while self.tracks.len() > self.config.max_identities {
            let Some((due, key)) = self.timers.pop_first() else { return };
            let real = self.tracks.get_mut(&key).map(|track| {
                track.timer = None;
                track.due(&self.config.flapping)
            });
            // A timer may be early: the track was seen again since.
            if real.is_some_and(|real| real > due) && self.timers.first().is_some_and(|(next, _)| Some(*next) < real) {
                self.schedule(&key);
                continue;
            }
            metrics::counter!("aiops_correlate_evicted_total").increment(1);
            let reason = format!("more than {} identities are tracked", self.config.max_identities);
            if let Some(ended) = self.end(&key, self.now, Some(reason))
                && ended.decision == CorrelationDecision::Resolved
            {
                self.outbox.push(ended);
            }
            let record = self.tracks.remove(&key).and_then(|track| track.flapping?.record);
            if let Some((incident, id)) = record.and_then(|record| Some((record.incident?, record.id))) {
                self.incidents.detach(&incident, &id);
            }
        }
    }
}

fn flap_reason(flap: &FlapRule) -> String {
    format!("flapping: {} changes in {}", flap.changes, human(flap.window))
}

/// The event with what the episode knows: one `detected_at` and fingerprint for all its sightings.
fn filled(event: &DetectionEvent, episode: &Episode) -> DetectionEvent {
    let mut event = event.clone();
    event.detected_at = episode.detected_at;
    event.fingerprint = episode.fingerprint.clone();
    event.episode_id = Some(episode.id.clone());
    event.incident_id.clone_from(&episode.incident);
    event
}

/// The event that says that an episode ended: the last sighting's numbers, an id of its own.
fn resolved_event(episode: &Episode, at: Timestamp) -> DetectionEvent {
    let mut event = filled(&episode.event, episode);
    event.status = Status::Resolved;
    event.observed_at = Some(at);
    event.event_id = EventId::derived(at, &format!("{}/resolved", episode.id));
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
