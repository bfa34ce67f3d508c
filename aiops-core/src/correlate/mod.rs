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

mod announce;
mod config;
mod decision;
mod ending;
mod episode;
mod incidents;
mod maintenance;
mod state;
mod suppression;
mod timers;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use jiff::Timestamp;

use self::announce::filled;
pub use self::config::{CorrelationRule, CorrelatorConfig, FlapRule, InhibitRule, InvalidCorrelatorConfig};
use self::config::{GAP_INTERVALS, LONGEST_SILENCE, SHORTEST_GAP};
pub use self::decision::{Correlated, CorrelationDecision};
use self::episode::{Silence, Track};
pub use self::incidents::IncidentChange;
use self::incidents::Incidents;
pub use self::maintenance::{Day, InvalidMaintenanceWindows, LocalTime, MaintenanceWindow, MaintenanceWindows};
pub(crate) use self::state::CorrelatorState;
pub use self::state::RestoreError;
use self::timers::Timers;
use crate::deploy_log::{DeployLog, DeployWindow};
use crate::detector::Sighting;
use crate::event::{DetectionEvent, Status};
use crate::fingerprint::Identity;
use crate::graph::DependencyGraph;
use crate::live::Live;
use crate::time::{human, minus, plus, since};

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
    timers: Timers,
    incidents: Incidents,
    /// Episodes that ended while something else was decided; given out by `advance`.
    outbox: Vec<Correlated>,
    /// Episodes that ended and that nobody was told of; given out by `take_held`.
    held_whole: VecDeque<Correlated>,
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
            timers: Timers::default(),
            incidents: Incidents::default(),
            outbox: Vec::new(),
            held_whole: VecDeque::new(),
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
        self.expire(&key, self.now, Silence::SinceArrival);
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
                let reason = match track.ended_at {
                    Some(ended) => format!("no open episode: already resolved at {ended}"),
                    None => "no open episode".to_owned(),
                };
                track.ended_at = track.ended_at.max(Some(at));
                Correlated::new(CorrelationDecision::Ignored, None).reason(reason)
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
        while let Some((due, key)) = self.timers.pop_due(self.now) {
            let Some(track) = self.tracks.get_mut(&key) else { continue };
            track.timer = None;
            if track.due(&self.config.flapping) > due {
                // It was seen again since; its turn comes, so that what ends first is told first.
                self.schedule(&key);
                continue;
            }
            self.expire(&key, self.now, Silence::SinceArrival);
            let forget = self
                .tracks
                .get(&key)
                .is_some_and(|track| track.is_closed() && track.due(&self.config.flapping) <= self.now);
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
        self.timers.next_due()
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
        // The builder does not know the identity labels: what it made is ours, too.
        let built = || Identity { labels: BTreeMap::new(), ..identity.clone() }.fingerprint(event.detected_at);
        if !event.fingerprint.is_empty() && event.fingerprint != own && event.fingerprint != built() {
            let carried = event.fingerprint.to_string();
            event.upstream_id.get_or_insert(carried);
            metrics::counter!("aiops_correlate_fingerprint_replaced_total").increment(1);
        }
        event.fingerprint = own;
        let at = event.observed();
        event.observed_at = Some(at);
        event.signal.drop_non_finite();
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
        self.expire(&key, at, Silence::SinceSeen);
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
}
