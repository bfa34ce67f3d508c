//! Locks that a panic of another holder does not poison: state behind them is valid after each
//! statement, so the next holder may go on.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks, and goes on where another holder panicked.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
