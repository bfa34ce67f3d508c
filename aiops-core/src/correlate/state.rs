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

#[derive(Serialize, Deserialize)]
struct Saved {
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
        let saved = Saved {
            version: STATE_VERSION,
            now: self.now,
            tracks: self.tracks.values().cloned().collect(),
            incidents: self.incidents.clone(),
            deploys: self.deploys.all(),
            outbox: self.outbox.clone(),
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
        self.timers = Timers::default();
        self.outbox = saved.outbox;
        self.tracks = saved.tracks.into_iter().map(|track| (track.identity.key(), track)).collect();
        for key in self.tracks.keys().cloned().collect::<Vec<_>>() {
            self.schedule(&key);
        }
        Ok(())
    }
}
