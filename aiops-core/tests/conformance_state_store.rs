//! The state store suite passes the bundled stores and catches broken ones.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use aiops_core::testing::{check_shared_state_store, check_state_store};
use aiops_core::{FileStateStore, MemoryStateStore, StateError, StateStore, Versioned};
use async_trait::async_trait;

#[tokio::test]
async fn the_bundled_stores_pass() {
    let memory: Arc<dyn StateStore> = Arc::new(MemoryStateStore::default());
    check_shared_state_store(|| Arc::clone(&memory)).await.unwrap();

    let folder = std::env::temp_dir().join(format!("aiops-conformance-{}", std::process::id()));
    let outcome = check_state_store(|| Arc::new(FileStateStore::open(&folder).unwrap())).await;
    std::fs::remove_dir_all(&folder).unwrap();
    outcome.unwrap();
}

#[cfg(feature = "redis")]
#[tokio::test]
#[ignore = "needs redis: .ci/services up redis"]
async fn a_redis_passes() {
    use aiops_core::RedisStateStore;

    let url = std::env::var("REDIS_URL").unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    let prefix = format!("conformance-{}-{now}", std::process::id());
    // A connection for each handle, as processes have.
    let mut handles = Vec::new();
    for _ in 0..9 {
        handles.push(Arc::new(RedisStateStore::connect(&url, &prefix).await.unwrap()));
    }
    let next = std::sync::atomic::AtomicUsize::new(0);
    let open = || -> Arc<dyn StateStore> {
        let place = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed) % handles.len();
        Arc::<RedisStateStore>::clone(&handles[place])
    };
    check_shared_state_store(open).await.unwrap();
}

/// Nobody listens there.
#[cfg(feature = "redis")]
#[tokio::test]
async fn a_redis_that_is_not_there_is_told_with_its_keys() {
    let error = aiops_core::RedisStateStore::connect("redis://127.0.0.1:1", "prod").await.unwrap_err();
    assert!(matches!(&error, StateError::Unavailable { key, .. } if key == "prod"), "{error:?}");
    assert!(error.is_retryable());
    assert_eq!(error.to_string(), "could not connect for state \"prod\"");
    let error = aiops_core::RedisStateStore::connect("no address", "prod").await.unwrap_err();
    assert!(matches!(error, StateError::Unavailable { .. }), "{error:?}");
}

/// Each handle keeps its own saves apart, and not those of the others.
#[derive(Debug)]
struct LocksItself {
    values: Arc<Mutex<HashMap<String, Versioned>>>,
    turn: tokio::sync::Mutex<()>,
}

#[async_trait]
impl StateStore for LocksItself {
    async fn load(&self, key: &str) -> Result<Option<Versioned>, StateError> {
        Ok(self.values.lock().unwrap().get(key).cloned())
    }

    async fn save(&self, key: &str, bytes: Vec<u8>, expected: u64) -> Result<u64, StateError> {
        let _turn = self.turn.lock().await;
        let found = self.load(key).await?.map_or(0, |value| value.version);
        tokio::task::yield_now().await;
        if found != expected {
            return Err(StateError::Conflict { key: key.to_owned(), expected, found });
        }
        self.values.lock().unwrap().insert(key.to_owned(), Versioned { bytes, version: expected + 1 });
        Ok(expected + 1)
    }
}

#[tokio::test]
async fn a_store_for_one_process_is_not_taken_for_a_shared_one() {
    let values = Arc::default();
    let open = || -> Arc<dyn StateStore> {
        Arc::new(LocksItself { values: Arc::clone(&values), turn: tokio::sync::Mutex::default() })
    };
    let violation = check_shared_state_store(open).await.unwrap_err();
    assert!(violation.contract.contains("through several handles"), "{violation}");
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
