//! What keeps a model from costing more than it may: money, tokens, waiting for a dead endpoint, asking twice.

mod breaker;
mod budget;
mod flight;
mod prices;

pub(crate) use self::breaker::{Breaker, Shut};
pub(crate) use self::budget::Spending;
pub use self::budget::{Budget, BudgetSpent};
pub(crate) use self::flight::{Flight, Landed};
pub use self::prices::{ModelPrice, Prices};

/// A lock whose holder panicked is still a lock: every critical section here leaves whole values behind.
fn locked<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
