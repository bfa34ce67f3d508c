//! Each store of this crate passes the suite, and each store on disk finds everything again.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aiops_remediate::{JsonlStore, MemoryStore, testing};
use common::scratch;

/// Paths of fresh files, one at each call.
fn fresh(name: &'static str) -> impl Fn() -> std::path::PathBuf {
    let number = AtomicUsize::new(0);
    move || scratch(&format!("{}-{name}", number.fetch_add(1, Ordering::Relaxed)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_store_in_memory() {
    testing::check_remediation_store(async || Arc::new(MemoryStore::default()) as _, async |_| ()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_store_of_json_lines() {
    let path = fresh("contract.jsonl");
    testing::check_remediation_store(async || Arc::new(JsonlStore::open(path()).unwrap()) as _, async |_| ())
        .await
        .unwrap();
    let path = scratch("contract-lasts.jsonl");
    testing::check_remediation_store_lasts(async || Arc::new(JsonlStore::open(&path).unwrap()) as _).await.unwrap();
}

#[cfg(feature = "sqlite")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_store_of_sqlite() {
    use aiops_remediate::SqliteStore;
    use common::scratch_database;

    let number = AtomicUsize::new(0);
    let fresh = || scratch_database(&format!("contract-{}.db", number.fetch_add(1, Ordering::Relaxed)));
    testing::check_remediation_store(async || Arc::new(SqliteStore::open(fresh()).unwrap()) as _, async |_| ())
        .await
        .unwrap();
    let path = scratch_database("contract-lasts.db");
    testing::check_remediation_store_lasts(async || Arc::new(SqliteStore::open(&path).unwrap()) as _).await.unwrap();
}
