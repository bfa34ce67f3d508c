//! Which incidents have their report, and which replica is writing one.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::parts::Saved;
use crate::event::Severity;
use crate::lock::lock;
use crate::names::IncidentId;
use crate::store::StateError;
use crate::time::since;

pub(super) const KEY: &str = "aiops/triage/incidents";
/// Triaged incidents that are remembered, so that a message that comes again makes no second report.
const REMEMBERED: usize = 10_000;
/// Reports being written by all replicas; more of them are claims that replicas have left behind.
const HELD: usize = 1_000;
/// Saves in a row that others were faster at.
const ATTEMPTS: u32 = 32;

/// Incidents with their report, and those whose report is being written.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Remembered {
    /// The highest severity triaged, by incident, the longest known first.
    triaged: VecDeque<(IncidentId, Severity)>,
    #[serde(skip_serializing_if = "VecDeque::is_empty")]
    claims: VecDeque<Held>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Held {
    incident: IncidentId,
    replica: String,
    /// The version of the state that it was made on, so that a claim made anew does not look old.
    number: u64,
}

impl Remembered {
    pub(super) fn severity(&self, incident: &IncidentId) -> Option<Severity> {
        self.triaged.iter().rev().find(|(known, _)| known == incident).map(|(_, severity)| *severity)
    }

    pub(super) fn remember(&mut self, incident: &IncidentId, severity: Severity) {
        self.triaged.retain(|(known, _)| known != incident);
        self.triaged.push_back((incident.clone(), severity));
        if self.triaged.len() > REMEMBERED {
            self.triaged.pop_front();
        }
        self.claims.retain(|held| held.incident != *incident);
    }
}

/// What came of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claim {
    /// The report is this replica's to write.
    Granted,
    /// Another replica is writing one.
    Busy,
    /// It has one, for this severity.
    Done(Severity),
}

/// The claims of one replica among several.
#[derive(Debug)]
pub(super) struct Claims {
    saved: Arc<Saved>,
    replica: String,
    /// No report takes longer: a claim that is older belongs to a replica that is gone.
    longest: Duration,
    /// The claims of others, and since when this replica has known of them: clocks are not compared.
    seen: Mutex<BTreeMap<IncidentId, (Held, Timestamp)>>,
}

impl Claims {
    pub(super) fn of(saved: Option<&Arc<Saved>>, longest: Duration) -> Option<Self> {
        let saved = Arc::clone(saved?);
        let replica = saved.replica()?.to_owned();
        Some(Self { saved, replica, longest, seen: Mutex::default() })
    }

    /// Gives back what an earlier process of this name claimed: its messages are with whoever is given them now.
    pub(super) async fn begin(&self) {
        // A failure is counted and logged; then the claims end by themselves.
        let _ = self
            .change(|remembered, _| {
                let claims = remembered.claims.len();
                remembered.claims.retain(|held| held.replica != self.replica);
                ((), remembered.claims.len() < claims)
            })
            .await;
    }

    /// Claims the report of an incident at a severity. A store that does not answer grants it: two
    /// reports are better than none.
    pub(super) async fn claim(&self, incident: &IncidentId, severity: Severity, now: Timestamp) -> Claim {
        let claimed = self.change(|remembered, number| {
            if let Some(done) = remembered.severity(incident).filter(|done| *done >= severity) {
                return (Claim::Done(done), false);
            }
            let place = remembered.claims.iter().position(|held| held.incident == *incident);
            let held = place.and_then(|place| remembered.claims.get(place));
            match held {
                Some(held) if held.replica == self.replica => return (Claim::Granted, false),
                Some(held) if !self.is_gone(held, now) => return (Claim::Busy, false),
                _ => {}
            }
            if let Some(place) = place {
                metrics::counter!("aiops_triage_claims_expired_total").increment(1);
                remembered.claims.remove(place);
            }
            let replica = self.replica.clone();
            remembered.claims.push_back(Held { incident: incident.clone(), replica, number });
            if remembered.claims.len() > HELD {
                remembered.claims.pop_front();
                metrics::counter!("aiops_triage_claims_expired_total").increment(1);
            }
            (Claim::Granted, true)
        });
        let claim = claimed.await.unwrap_or(Claim::Granted);
        if claim != Claim::Busy {
            lock(&self.seen).remove(incident);
        }
        claim
    }

    /// The report is out.
    pub(super) async fn done(&self, incident: &IncidentId, severity: Severity) {
        // A failure is counted and logged; a message that comes again may make a second report.
        let _ = self
            .change(|remembered, _| {
                let highest = remembered.severity(incident).map_or(severity, |known| known.max(severity));
                remembered.remember(incident, highest);
                ((), true)
            })
            .await;
    }

    fn is_gone(&self, held: &Held, now: Timestamp) -> bool {
        let mut seen = lock(&self.seen);
        if seen.len() >= HELD && !seen.contains_key(&held.incident) {
            seen.pop_first();
        }
        let known = seen.entry(held.incident.clone()).or_insert_with(|| (held.clone(), now));
        if known.0 != *held {
            *known = (held.clone(), now);
        }
        since(now, known.1) >= self.longest
    }

    /// Reads, changes and saves, anew for as long as others are faster. `change` is told the version that it changes.
    async fn change<T>(&self, change: impl Fn(&mut Remembered, u64) -> (T, bool)) -> Result<T, StateError> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let (mut remembered, version) = self.saved.load::<Remembered>(KEY).await?.unwrap_or_default();
            let (answer, changed) = change(&mut remembered, version);
            if !changed {
                return Ok(answer);
            }
            match self.saved.save(KEY, &remembered, version).await {
                Ok(_) => return Ok(answer),
                Err(StateError::Conflict { .. }) if attempt < ATTEMPTS => {}
                Err(error) => return Err(error),
            }
        }
    }
}
