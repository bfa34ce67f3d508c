//! The state store suite passes the bundled stores and catches broken ones.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use aiops_core::testing::check_state_store;
use aiops_core::{FileStateStore, MemoryStateStore, StateError, StateStore, Versioned};
use async_trait::async_trait;

#[tokio::test]
async fn the_bundled_stores_pass() {
    let memory: Arc<dyn StateStore> = Arc::new(MemoryStateStore::default());
    check_state_store(|| Arc::clone(&memory)).await.unwrap();

    let folder = std::env::temp_dir().join(format!("aiops-conformance-{}", std::process::id()));
    let outcome = check_state_store(|| Arc::new(FileStateStore::open(&folder).unwrap())).await;
    std::fs::remove_dir_all(&folder).unwrap();
    outcome.unwrap();
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    IgnoresVersions,
    ChangesOnConflict,
    FoldsCase,
    CutsKeys,
    CutsValues,
    RestartsVersions,
    Forgets,
    RacesItself,
}

#[derive(Debug)]
struct Broken {
    values: Mutex<HashMap<String, Versioned>>,
    fault: Fault,
}

impl Broken {
    fn open(fault: Fault) -> Arc<dyn StateStore> {
        Arc::new(Self { values: Mutex::default(), fault })
    }

    fn key(&self, key: &str) -> String {
        match self.fault {
            Fault::FoldsCase => key.to_lowercase(),
            Fault::CutsKeys => key.chars().take(100).collect(),
            _ => key.to_owned(),
        }
    }
}

#[async_trait]
impl StateStore for Broken {
    async fn load(&self, key: &str) -> Result<Option<Versioned>, StateError> {
        Ok(self.values.lock().unwrap().get(&self.key(key)).cloned())
    }

    async fn save(&self, key: &str, mut bytes: Vec<u8>, expected: u64) -> Result<u64, StateError> {
        let found = self.load(key).await?.map_or(0, |value| value.version);
        if self.fault == Fault::RacesItself {
            tokio::task::yield_now().await;
        }
        let mut values = self.values.lock().unwrap();
        if found != expected && self.fault != Fault::IgnoresVersions {
            if self.fault == Fault::ChangesOnConflict {
                values.insert(self.key(key), Versioned { bytes, version: found });
            }
            return Err(StateError::Conflict { key: key.to_owned(), expected, found });
        }
        if self.fault == Fault::CutsValues {
            bytes.truncate(1 << 20);
        }
        let version = if self.fault == Fault::RestartsVersions { 1 } else { expected + 1 };
        values.insert(self.key(key), Versioned { bytes, version });
        Ok(version)
    }
}

#[tokio::test]
async fn broken_stores_are_caught() {
    for (fault, line) in [
        (Fault::IgnoresVersions, "is a `Conflict`"),
        (Fault::ChangesOnConflict, "changes nothing"),
        (Fault::FoldsCase, "keys"),
        (Fault::CutsKeys, "keys"),
        (Fault::CutsValues, "values"),
        (Fault::RestartsVersions, "version"),
        (Fault::Forgets, "new process"),
        (Fault::RacesItself, "exactly one wins"),
    ] {
        let kept = Broken::open(fault);
        let open = || if fault == Fault::Forgets { Broken::open(fault) } else { Arc::clone(&kept) };
        let violation = check_state_store(open).await.unwrap_err();
        assert!(violation.contract.contains(line), "{fault:?}: {violation}");
    }
}
