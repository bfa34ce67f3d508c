//! What is known of one identity: its episode, and what outlives it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::config::{FlapRule, LONGEST_SILENCE};
use super::timers::Timer;
use crate::event::{DetectionEvent, Severity};
use crate::fingerprint::{Fingerprint, Identity, sha1_head};
use crate::names::{EpisodeId, EventId, IncidentId};
use crate::time::{human, minus, plus, since};

/// One announcement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Announcement {
    pub(crate) severity: Severity,
    pub(crate) at: Timestamp,
    pub(crate) event_id: EventId,
    /// Sightings held back since.
    pub(crate) repeats: u64,
}

/// One continuous anomaly.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Episode {
    pub(crate) id: EpisodeId,
    pub(crate) detected_at: Timestamp,
    pub(crate) fingerprint: Fingerprint,
    /// The newest sighting, as it came.
    pub(crate) event: DetectionEvent,
    /// When it was first seen.
    pub(crate) first_seen: Timestamp,
    /// When it was last seen firing.
    pub(crate) last_firing: Timestamp,
    /// When it was last seen at all, firing or normal: the gap runs from here.
    pub(crate) last_seen: Timestamp,
    /// When that sighting came in, which may be later than it was made.
    pub(crate) arrived: Timestamp,
    pub(crate) gap: Duration,
    /// The last time at which nothing was known of the data, if that is the last word: the gap does
    /// not run.
    pub(crate) unknown_at: Option<Timestamp>,
    /// Since when it is seen as normal.
    pub(crate) normal_since: Option<Timestamp>,
    /// Times of the latest sightings, for `min_count`.
    pub(crate) sightings: VecDeque<Timestamp>,
    /// The last announcement of each severity.
    pub(crate) announced: BTreeMap<Severity, Timestamp>,
    pub(crate) latest: Option<Announcement>,
    /// Sightings held by suppression since the last announcement.
    pub(crate) held: u64,
    /// The deploys and windows that held them: the first ones.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) held_by: BTreeSet<String>,
    pub(crate) incident: Option<IncidentId>,
    /// Whether it is part of a flapping record and announces nothing of its own.
    pub(crate) muted: bool,
}

impl Episode {
    /// When silence ends it.
    pub(crate) fn expires(&self, silence: Silence) -> Timestamp {
        let since = match silence {
            Silence::SinceSeen => self.last_seen,
            Silence::SinceArrival => self.last_seen.max(self.arrived),
        };
        match self.unknown_at {
            Some(unknown) => plus(since.max(unknown), LONGEST_SILENCE.max(self.gap)),
            None => plus(since, self.gap),
        }
    }

    /// The data is known again at `at`: the time between does not count as silence.
    pub(crate) fn known_again(&mut self, at: Timestamp) {
        if self.unknown_at.take().is_some() {
            self.last_seen = self.last_seen.max(at);
        }
    }

    /// Takes in what another replica knows of the same episode.
    pub(crate) fn merge(&mut self, other: Self) {
        for (severity, at) in other.announced {
            let known = self.announced.entry(severity).or_insert(at);
            *known = at.max(*known);
        }
        let at = |latest: &Option<Announcement>| latest.as_ref().map(|latest| latest.at);
        if at(&other.latest) > at(&self.latest) {
            self.latest = other.latest;
        }
        if other.last_firing > self.last_firing {
            self.event = other.event;
            self.normal_since = None;
            self.last_firing = other.last_firing;
        }
        self.last_seen = self.last_seen.max(other.last_seen);
        self.arrived = self.arrived.max(other.arrived);
    }

    /// Whether a sighting of this severity is announced, and whether as a rise.
    pub(crate) fn wants(&self, severity: Severity, at: Timestamp, renotify_after: Duration) -> Option<Why> {
        let Some(latest) = &self.latest else { return Some(Why::First) };
        let quiet = |since: Timestamp| at >= plus(since, renotify_after);
        if severity > latest.severity {
            return self.announced.get(&severity).is_none_or(|since| quiet(*since)).then_some(Why::Rise);
        }
        quiet(latest.at).then_some(Why::Again)
    }
}

/// From when silence counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Silence {
    /// From the last sighting, by event time: against the next sighting.
    SinceSeen,
    /// From when it came in: against the clock, since the next one may be as late as this one was.
    SinceArrival,
}

/// Why a sighting is announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    First,
    Rise,
    Again,
}

/// The record that stands for an identity that opens and ends again and again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Flapping {
    /// The announced episode that stands for all; none until the next one opens.
    pub(crate) record: Option<Box<Episode>>,
}

/// A run of sightings held by deploys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HoldRun {
    pub(crate) since: Timestamp,
    pub(crate) last: Timestamp,
    pub(crate) deploys: BTreeSet<String>,
    /// When the longest hold was reached: the run holds no more.
    pub(crate) released: Option<Timestamp>,
    /// Whether an announcement said so.
    pub(crate) told: bool,
}

impl HoldRun {
    /// The reason of the first announcement after the longest hold.
    pub(crate) fn tell(&mut self) -> Option<String> {
        let held = since(self.released.filter(|_| !self.told)?, self.since);
        self.told = true;
        let minutes = held.as_secs() / 60;
        let time = if minutes > 0 { format!("{minutes} min") } else { human(held) };
        let deploys = self.deploys.len();
        let plural = if deploys == 1 { "" } else { "s" };
        Some(format!("held {time} by {deploys} deploy{plural}"))
    }
}

/// Everything that is known of one identity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Track {
    pub(crate) identity: Identity,
    pub(crate) episode: Option<Episode>,
    /// When the last episode ended, or an orphan resolve came: an older sighting is late.
    pub(crate) ended_at: Option<Timestamp>,
    pub(crate) last_start: Option<Timestamp>,
    /// Episodes that started at `last_start`, so that ids stay unique.
    pub(crate) same_start: u32,
    /// Opens and ends within the flapping window.
    pub(crate) changes: VecDeque<Timestamp>,
    pub(crate) flapping: Option<Flapping>,
    pub(crate) hold: Option<HoldRun>,
    /// Held sightings of episodes that ended without an announcement: counted on the next one.
    #[serde(default)]
    pub(crate) carried: u64,
    /// The timer of this track, as it is set.
    #[serde(skip)]
    pub(crate) timer: Option<Timer>,
}

impl Track {
    pub(crate) fn new(identity: Identity) -> Self {
        Self {
            identity,
            episode: None,
            ended_at: None,
            last_start: None,
            same_start: 0,
            changes: VecDeque::new(),
            flapping: None,
            hold: None,
            carried: 0,
            timer: None,
        }
    }

    /// Opens an episode at an event. The id is a function of identity and start, so that replicas
    /// that saw the same data agree.
    pub(crate) fn open(&mut self, event: &DetectionEvent, gap: Duration, now: Timestamp) -> &mut Episode {
        let at = event.observed();
        self.same_start = if self.last_start == Some(at) { self.same_start.saturating_add(1) } else { 0 };
        self.last_start = Some(at);
        let mut raw = format!("{}|{}", self.identity.key(), at.as_nanosecond());
        if self.same_start > 0 {
            raw.push_str(&format!("|{}", self.same_start));
        }
        self.episode.insert(Episode {
            id: EpisodeId::new(format!("ep-{}", sha1_head(raw.as_bytes()))),
            detected_at: event.detected_at,
            fingerprint: self.identity.fingerprint(event.detected_at),
            event: event.clone(),
            first_seen: at,
            last_firing: at,
            last_seen: at,
            arrived: now,
            gap,
            unknown_at: None,
            normal_since: None,
            sightings: VecDeque::new(),
            announced: BTreeMap::new(),
            latest: None,
            held: 0,
            held_by: BTreeSet::new(),
            incident: None,
            muted: false,
        })
    }

    /// Notes an open or an end, and says whether the identity is flapping from now on.
    pub(crate) fn changed(&mut self, at: Timestamp, rule: &FlapRule) -> bool {
        if rule.changes == 0 {
            return false;
        }
        self.changes.push_back(at);
        let oldest = minus(at, rule.window);
        self.changes.retain(|change| *change > oldest);
        while self.changes.len() > rule.changes {
            self.changes.pop_front();
        }
        self.flapping.is_none() && self.changes.len() >= rule.changes
    }

    /// When flapping is over if nothing changes until then.
    pub(crate) fn flapping_until(&self, rule: &FlapRule) -> Option<Timestamp> {
        self.flapping.as_ref()?;
        self.changes.back().map(|last| plus(*last, rule.window))
    }

    /// No deploy holds it at `at`: the run of held sightings is over, unless it went on since.
    pub(crate) fn leave_hold(&mut self, at: Timestamp) {
        if self.hold.as_ref().is_some_and(|run| run.last <= at) {
            self.hold = None;
        }
    }

    /// Whether nothing is going on: it is only remembered.
    pub(crate) fn is_closed(&self) -> bool {
        self.episode.is_none() && self.flapping.is_none()
    }

    /// When the track wants to be looked at next.
    pub(crate) fn due(&self, rule: &FlapRule) -> Timestamp {
        let forgotten = || plus(self.ended_at.or(self.last_start).unwrap_or(Timestamp::MIN), LONGEST_SILENCE);
        let expires = self.episode.as_ref().map(|episode| episode.expires(Silence::SinceArrival));
        match (expires, self.flapping_until(rule)) {
            (Some(a), Some(b)) => a.min(b),
            (Some(at), None) | (None, Some(at)) => at,
            (None, None) => forgotten(),
        }
    }
}
