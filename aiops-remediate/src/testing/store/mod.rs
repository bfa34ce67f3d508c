//! The suite of [`RemediationStore`]: what the trait's contract says, a file for each of its parts.

mod approvals;
mod budgets;
mod lasting;
mod leases;
mod marks;
mod races;
mod reports;
mod sample;
mod steps;
mod switches;

use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use aiops_core::error_chain;
use aiops_core::testing::{Violation, ensure};

pub use self::lasting::check_remediation_store_lasts;
use self::sample::Sample;
use crate::store::{RemediationStore, StoreError};

/// How long a call may take before the suite calls it hung.
const PATIENCE: Duration = Duration::from_secs(30);

const ANSWERS: &str = "a store that is up answers every call";
const REFUSES: &str = "what the contract forbids is an error that trying again does not heal, and changes nothing";

/// Checks a store. `make` gives a fresh, empty one at each call; it is called about a dozen times.
///
/// `pass` lets time pass for the store. The suite tells each call its own time of day; a store whose locks
/// end by the clock of a server waits that long in `pass` (14 s in all), any other does nothing.
///
/// # Errors
/// The first line of the contract of [`RemediationStore`] that does not hold.
///
/// ```
/// use std::sync::Arc;
/// use aiops_remediate::{MemoryStore, testing};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), aiops_core::testing::Violation> {
/// testing::check_remediation_store(async || Arc::new(MemoryStore::default()) as _, async |_| ()).await
/// # }
/// ```
pub async fn check_remediation_store(
    make: impl AsyncFn() -> Arc<dyn RemediationStore>,
    pass: impl AsyncFn(Duration),
) -> Result<(), Violation> {
    let sample = Sample::new()?;
    reports::check(&*make().await, &sample).await?;
    steps::begin_once(&*make().await, &sample).await?;
    steps::end_late(&*make().await, &sample).await?;
    steps::fence(&*make().await, &sample).await?;
    steps::take_over(&*make().await, &sample).await?;
    leases::check(&*make().await, &pass).await?;
    marks::check(&*make().await, &sample).await?;
    marks::keep(&*make().await, &sample).await?;
    marks::read(&*make().await, &sample).await?;
    budgets::check(&make, &sample).await?;
    budgets::crowd(&*make().await, &sample).await?;
    approvals::check(&*make().await, &sample).await?;
    approvals::settle(&*make().await, &sample).await?;
    switches::check(&*make().await, &sample).await?;
    races::check(&make, &sample).await
}

/// Waits for an answer that must be there.
async fn answer<T>(what: &str, call: impl Future<Output = Result<T, StoreError>>) -> Result<T, Violation> {
    outcome(what, call).await?.map_err(|error| Violation::new(ANSWERS, format!("{what}: {}", error_chain(&error))))
}

/// Waits for an answer that may be an error.
async fn outcome<T>(
    what: &str,
    call: impl Future<Output = Result<T, StoreError>>,
) -> Result<Result<T, StoreError>, Violation> {
    let late = |_| Violation::new(ANSWERS, format!("{what} did not answer within {PATIENCE:?}"));
    tokio::time::timeout(PATIENCE, call).await.map_err(late)
}

/// A call that must be refused, and for good.
async fn refused<T: Debug>(what: &str, call: impl Future<Output = Result<T, StoreError>>) -> Result<(), Violation> {
    match outcome(what, call).await? {
        Err(error) => ensure(!error.is_retryable(), REFUSES, || format!("{what}: {}", error_chain(&error))),
        Ok(answer) => Err(Violation::new(REFUSES, format!("{what} gave {answer:?}"))),
    }
}

fn same<T: PartialEq + Debug>(found: &T, wanted: &T, contract: &'static str, what: &str) -> Result<(), Violation> {
    ensure(found == wanted, contract, || format!("{what}: {found:?} instead of {wanted:?}"))
}
