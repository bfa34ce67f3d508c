//! Where state outlives a process: small values under keys, changed by compare and swap.

mod file;
mod memory;
#[cfg(feature = "redis")]
mod redis;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

pub use self::file::FileStateStore;
pub use self::memory::MemoryStateStore;
#[cfg(feature = "redis")]
pub use self::redis::RedisStateStore;
use crate::error::BoxError;

/// A value and the version by which it can be replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versioned {
    /// The stored bytes.
    pub bytes: Vec<u8>,
    /// Grows with each save of the key; starts at 1.
    pub version: u64,
}

/// State that could not be loaded or saved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// Another writer was faster: load again, decide again, save again.
    #[error("state {key:?} was changed by another writer (expected version {expected}, found {found})")]
    Conflict {
        /// The key.
        key: String,
        /// The version that the writer had read; 0 for none.
        expected: u64,
        /// The version that is stored; 0 for none.
        found: u64,
    },
    /// What is stored does not read.
    #[error("state {key:?} does not read; move it away to start without it")]
    Corrupt {
        /// The key.
        key: String,
        /// Why.
        #[source]
        source: BoxError,
    },
    /// The store itself failed.
    #[error("could not {doing} state {key:?}")]
    Unavailable {
        /// What was being done.
        doing: &'static str,
        /// The key.
        key: String,
        /// Why.
        #[source]
        source: BoxError,
    },
}

impl StateError {
    /// Whether trying again may help.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        !matches!(self, Self::Corrupt { .. })
    }
}

/// Keeps the state of episodes, dedup, suppression, incidents and receipts.
///
/// # Contract
/// - `save` with the version that was loaded (0: the key must not exist) replaces the value in one
///   step, or is a `Conflict` and changes nothing. Once it returns, a new process loads the value.
/// - Keys are any text up to 512 bytes; values are up to a few MiB.
/// - All methods may be called concurrently. Dropping a `save` leaves the old or the new value.
///
/// # Errors
/// [`StateError`]; only `Corrupt` is final.
///
/// # Implementing
/// ```
/// use std::collections::HashMap;
/// use aiops_core::{StateError, StateStore, Versioned};
/// #[derive(Debug, Default)]
/// struct InMutex(std::sync::Mutex<HashMap<String, Versioned>>);
///
/// #[async_trait::async_trait]
/// impl StateStore for InMutex {
///     async fn load(&self, key: &str) -> Result<Option<Versioned>, StateError> {
///         Ok(self.0.lock().unwrap().get(key).cloned())
///     }
///     async fn save(&self, key: &str, bytes: Vec<u8>, expected: u64) -> Result<u64, StateError> {
///         let mut map = self.0.lock().unwrap();
///         let found = map.get(key).map_or(0, |value| value.version);
///         if found != expected {
///             return Err(StateError::Conflict { key: key.to_owned(), expected, found });
///         }
///         map.insert(key.to_owned(), Versioned { bytes, version: expected + 1 });
///         Ok(expected + 1)
///     }
/// }
/// ```
#[async_trait]
pub trait StateStore: fmt::Debug + Send + Sync + 'static {
    /// The value under a key.
    async fn load(&self, key: &str) -> Result<Option<Versioned>, StateError>;

    /// Replaces the value of version `expected` (0 = none); gives the new version.
    async fn save(&self, key: &str, bytes: Vec<u8>, expected: u64) -> Result<u64, StateError>;
}

macro_rules! forward_state_store {
    ($pointer:ident) => {
        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl<T: StateStore + ?Sized> StateStore for $pointer<T> {
            async fn load(&self, key: &str) -> Result<Option<Versioned>, StateError> {
                (**self).load(key).await
            }

            async fn save(&self, key: &str, bytes: Vec<u8>, expected: u64) -> Result<u64, StateError> {
                (**self).save(key, bytes, expected).await
            }
        }
    };
}
forward_state_store!(Arc);
forward_state_store!(Box);
