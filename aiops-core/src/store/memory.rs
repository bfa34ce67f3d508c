//! State in memory: for one process, and for tests.

use std::collections::HashMap;
use std::sync::Mutex;

use async_trait::async_trait;

use super::{StateError, StateStore, Versioned};
use crate::lock::lock;

/// Keeps state in memory; it is gone with the process.
#[derive(Debug, Default)]
pub struct MemoryStateStore {
    values: Mutex<HashMap<String, Versioned>>,
}

#[async_trait]
impl StateStore for MemoryStateStore {
    async fn load(&self, key: &str) -> Result<Option<Versioned>, StateError> {
        Ok(lock(&self.values).get(key).cloned())
    }

    async fn save(&self, key: &str, bytes: Vec<u8>, expected: u64) -> Result<u64, StateError> {
        let mut values = lock(&self.values);
        let found = values.get(key).map_or(0, |value| value.version);
        if found != expected {
            return Err(StateError::Conflict { key: key.to_owned(), expected, found });
        }
        let version = expected.saturating_add(1);
        values.insert(key.to_owned(), Versioned { bytes, version });
        Ok(version)
    }
}
