//! The suite finds each fault that is planted in a store, and says which line of the contract it breaks.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers outside #[test]

mod common;

use std::sync::Arc;

use aiops_remediate::{MemoryStore, testing};
use common::faulty::{Fault, Faulty};

#[tokio::test(start_paused = true)]
async fn each_planted_fault_is_found() {
    let mut wrong = Vec::new();
    for fault in Fault::ALL {
        let make = async || Arc::new(Faulty::new(fault)) as _;
        match testing::check_remediation_store(make, async |_| ()).await {
            Ok(()) => wrong.push(format!("{fault:?} was not found")),
            Err(violation) if violation.contract.contains(fault.breaks()) => {}
            Err(violation) => wrong.push(format!("{fault:?} was taken for: {violation}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn a_store_that_forgets_is_found() {
    // The same store opened again, and one that starts anew each time.
    let kept = Arc::new(MemoryStore::default());
    testing::check_remediation_store_lasts(async || Arc::<MemoryStore>::clone(&kept) as _).await.unwrap();
    let forgets = async || Arc::new(MemoryStore::default()) as _;
    let violation = testing::check_remediation_store_lasts(forgets).await.unwrap_err();
    assert!(violation.contract.contains("a new process sees the change"), "{violation}");

    // One that keeps all but the tokens that it gave out.
    let kept = Arc::new(MemoryStore::default());
    let tokens_restart = async || Arc::new(Faulty::over(Arc::<MemoryStore>::clone(&kept), Fault::TokensRestart)) as _;
    let violation = testing::check_remediation_store_lasts(tokens_restart).await.unwrap_err();
    assert!(violation.contract.contains("also after a restart"), "{violation}");
}
