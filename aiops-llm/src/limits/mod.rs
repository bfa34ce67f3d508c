//! What keeps a model from costing more than it may: money, tokens, waiting for a dead endpoint, asking twice.

mod breaker;
mod budget;
mod flight;
mod prices;
mod spending;

pub(crate) use self::breaker::{Breaker, Shut};
pub use self::budget::{Budget, BudgetSpent};
pub(crate) use self::flight::{Flight, Landed};
pub use self::prices::{ModelPrice, Prices};
pub(crate) use self::spending::Spending;

/// A lock whose holder panicked is still a lock: every critical section here leaves whole values behind.
fn locked<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
