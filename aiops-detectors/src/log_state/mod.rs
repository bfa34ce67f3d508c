//! What the log store and its detectors know, over a restart.

mod sealed;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use aiops_core::{BoxError, ServiceName, StateError, StateStore};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) use self::sealed::{open, seal};
use crate::template::hash;

/// Parts in which the state of many services is kept: a store takes a few MiB under a key, ten thousand busy
/// services are some 280.
pub(crate) const PARTS: usize = 64;
/// Version of every part.
const VERSION: u32 = 1;

/// The part in which a service's state is kept.
pub(crate) fn part_of(service: &ServiceName) -> usize {
    #[allow(clippy::cast_possible_truncation)] // below PARTS
    let part = (hash(service.as_str().as_bytes()) % PARTS as u64) as usize;
    part
}

/// One part of a state.
#[derive(Debug)]
pub struct Part {
    bytes: Vec<u8>,
    /// Whether nothing is in it: it is not saved, unless there is an older one to replace.
    empty: bool,
}

impl Part {
    pub(crate) fn of<T: Serialize>(name: &str, state: &T, empty: bool) -> Self {
        // Text, whole and finite numbers only: nothing here can fail to serialise.
        let body = serde_json::to_vec(state).unwrap_or_default();
        Self { bytes: seal(name, VERSION, &body), empty }
    }

    #[cfg(test)]
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    pub(crate) fn read<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T, BoxError> {
        Ok(serde_json::from_slice(open(name, VERSION, bytes)?)?)
    }
}

/// Reads parts: those that read, and why the others do not.
pub(crate) fn read_all<T>(
    parts: Vec<(usize, Vec<u8>)>,
    read: impl Fn(&[u8]) -> Result<T, BoxError>,
) -> (Vec<T>, Vec<(usize, BoxError)>) {
    let (mut good, mut errors) = (Vec::new(), Vec::new());
    for (part, bytes) in parts {
        match read(&bytes) {
            Ok(state) => good.push(state),
            Err(why) => errors.push((part, why)),
        }
    }
    (good, errors)
}

/// What a [`LogState`] can keep: the log store and the log detectors.
///
/// Sealed: its methods are no part of the API.
pub trait Kept: fmt::Debug + Send + Sync + 'static {
    /// The name under which it is kept.
    #[doc(hidden)]
    fn kept_as(&self) -> &'static str;

    #[doc(hidden)]
    fn save_parts(&self) -> Vec<Part>;

    /// Takes parts back, in place of what is known; tells those that do not read.
    #[doc(hidden)]
    fn restore_parts(&self, parts: Vec<(usize, Vec<u8>)>) -> Vec<(usize, BoxError)>;
}

impl<T: Kept + ?Sized> Kept for Arc<T> {
    fn kept_as(&self) -> &'static str {
        (**self).kept_as()
    }

    fn save_parts(&self) -> Vec<Part> {
        (**self).save_parts()
    }

    fn restore_parts(&self, parts: Vec<(usize, Vec<u8>)>) -> Vec<(usize, BoxError)> {
        (**self).restore_parts(parts)
    }
}

/// Keeps what the log store and its detectors know in a state store, so that a restart is not blind for
/// hours and reports nothing known as new.
///
/// The host loads before it feeds anything, saves every few minutes and at its end. What came between the
/// last save and the start is lost, unless the host reads it again; where it cannot, it says so by
/// [`ErrorLogs::missed`](crate::ErrorLogs::missed).
///
/// Each state is kept in up to 65 keys, `KEY/NAME/PART`, since stores take a few MiB under one.
///
/// ```
/// use std::sync::Arc;
/// use aiops_core::{FileStateStore, MemoryStateStore, StateStore};
/// use aiops_detectors::{ErrorLogBurst, ErrorLogs, LogState, NewTemplate, jiff::Timestamp};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store: Arc<dyn StateStore> = Arc::new(MemoryStateStore::default());
/// let logs = ErrorLogs::new(Timestamp::now());
/// let bursts = Arc::new(ErrorLogBurst::new(logs.clone()));
/// let state = LogState::new(store, "shop").keep(Arc::clone(&bursts)).keep(logs.clone());
/// if let Err(error) = state.load().await {
///     // What does not read starts empty; the rest is there.
///     println!("{error}");
/// }
/// state.save().await?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct LogState {
    store: Arc<dyn StateStore>,
    key: String,
    kept: Vec<Box<dyn Kept>>,
    /// Of each key that is stored.
    versions: Mutex<BTreeMap<String, u64>>,
}

impl LogState {
    /// Keeps nothing yet, under keys that begin with `key`.
    #[must_use]
    pub fn new(store: Arc<dyn StateStore>, key: impl Into<String>) -> Self {
        Self { store, key: key.into(), kept: Vec::new(), versions: Mutex::default() }
    }

    /// Keeps this too, at most one of a type. Detectors come before the store that they read: what they have not seen by then they
    /// find there.
    #[must_use]
    pub fn keep(mut self, what: impl Kept) -> Self {
        self.kept.push(Box::new(what));
        self
    }

    fn at(&self, name: &str, part: usize) -> String {
        format!("{}/{name}/{part}", self.key)
    }

    fn version(&self, key: &str) -> u64 {
        self.versions.lock().unwrap_or_else(PoisonError::into_inner).get(key).copied().unwrap_or(0)
    }

    fn set_version(&self, key: String, version: u64) {
        self.versions.lock().unwrap_or_else(PoisonError::into_inner).insert(key, version);
    }

    /// Loads everything, in place of what is known.
    ///
    /// # Errors
    /// The first part that could not be loaded, by its key. All others are loaded all the same; what is not
    /// starts empty and is counted as `aiops_log_state_refused_total`.
    pub async fn load(&self) -> Result<(), StateError> {
        let mut first = None;
        let mut refuse = |name: &'static str, error: StateError| {
            metrics::counter!("aiops_log_state_refused_total", "what" => name).increment(1);
            tracing::warn!(error = aiops_core::error_chain(&error), "state of logs starts empty");
            first.get_or_insert(error);
        };
        for kept in &self.kept {
            let mut parts = Vec::new();
            // The last is that of what is no service's.
            for part in 0..=PARTS {
                let key = self.at(kept.kept_as(), part);
                match self.store.load(&key).await {
                    Ok(Some(found)) => {
                        self.set_version(key, found.version);
                        parts.push((part, found.bytes));
                    }
                    Ok(None) => {}
                    Err(error) => refuse(kept.kept_as(), error),
                }
            }
            for (part, source) in kept.restore_parts(parts) {
                refuse(kept.kept_as(), StateError::Corrupt { key: self.at(kept.kept_as(), part), source });
            }
        }
        first.map_or(Ok(()), Err)
    }

    /// Saves everything, over what was loaded or saved last.
    ///
    /// # Errors
    /// The first part that was not saved, after which the others are left out: a later save goes on.
    pub async fn save(&self) -> Result<(), StateError> {
        for kept in &self.kept {
            for (part, state) in kept.save_parts().into_iter().enumerate() {
                let key = self.at(kept.kept_as(), part);
                let version = self.version(&key);
                if state.empty && version == 0 {
                    continue;
                }
                let saved = self.store.save(&key, state.bytes, version).await?;
                self.set_version(key, saved);
            }
        }
        Ok(())
    }
}
