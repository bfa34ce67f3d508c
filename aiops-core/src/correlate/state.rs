//! The correlator's state as versioned bytes.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Correlator;
use super::decision::Correlated;
use super::episode::Track;
use super::incidents::Incidents;
use super::timers::Timers;
use crate::deploy_log::Deploy;
use crate::names::ServiceName;

/// Everything that outlives the process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct CorrelatorState {
    version: u32,
    now: Timestamp,
    tracks: Vec<Track>,
    incidents: Incidents,
    deploys: Vec<(ServiceName, Vec<Deploy>)>,
    outbox: Vec<Correlated>,
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
    /// The whole state as versioned bytes: it decides after [`restore`](Self::restore) as if it had
    /// never stopped. Settings, graph and maintenance windows are the host's and are not in it.
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        serde_json::to_vec(&self.state()).unwrap_or_default()
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
        self.set_state(serde_json::from_slice(bytes)?)
    }

    /// The whole state.
    pub(crate) fn state(&self) -> CorrelatorState {
        CorrelatorState {
            version: STATE_VERSION,
            now: self.now,
            tracks: self.tracks.values().cloned().collect(),
            incidents: self.incidents.clone(),
            deploys: self.deploys.all(),
            outbox: self.outbox.clone(),
        }
    }

    /// Takes a state in place of what is known now.
    pub(crate) fn set_state(&mut self, state: CorrelatorState) -> Result<(), RestoreError> {
        if state.version != STATE_VERSION {
            return Err(RestoreError::Version { found: state.version });
        }
        self.now = state.now;
        self.incidents = state.incidents;
        self.deploys.merge(state.deploys);
        self.timers = Timers::default();
        self.outbox = state.outbox;
        self.tracks = state.tracks.into_iter().map(|track| (track.identity.key(), track)).collect();
        for key in self.tracks.keys().cloned().collect::<Vec<_>>() {
            self.schedule(&key);
        }
        Ok(())
    }

    /// Takes the state of replicas that went on without this one, and adds what people were told by
    /// this one meanwhile, so that nobody tells it again.
    pub(crate) fn merge_state(&mut self, state: CorrelatorState) -> Result<(), RestoreError> {
        let own = self.state();
        self.set_state(state)?;
        self.now = self.now.max(own.now);
        for track in own.tracks {
            self.merge_track(track);
        }
        self.bound();
        Ok(())
    }

    fn merge_track(&mut self, track: Track) {
        let key = track.identity.key();
        let Some(own) = track.episode.filter(|episode| episode.latest.is_some()) else { return };
        let theirs = self.tracks.entry(key.clone()).or_insert_with(|| Track::new(track.identity));
        match &mut theirs.episode {
            // Both told of it: it is one episode, and the later word counts.
            Some(episode) if episode.latest.is_some() => episode.merge(own),
            // They have told of its end since.
            None if theirs.ended_at.is_some_and(|ended| ended >= own.last_firing) => {}
            _ => {
                if let (Some(incident), Some(latest)) = (&own.incident, &own.latest) {
                    self.incidents.adopt(incident, &own.id, &own.event.service, latest.severity);
                }
                theirs.last_start = theirs.last_start.max(Some(own.first_seen));
                theirs.episode = Some(own);
            }
        }
        self.schedule(&key);
    }
}
