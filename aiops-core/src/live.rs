//! A value that a host can replace while it is in use.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

/// A validated value behind a handle: readers take the current one, the host swaps it whole.
///
/// A broken replacement leaves the old value in place, since only a valid `T` can be swapped in.
///
/// ```
/// use aiops_core::Live;
/// let limit = Live::from(3);
/// let reader = limit.clone();
/// let outcome: Result<(), &str> = limit.replace_with(|| Err("line 4: not a number"));
/// assert!(outcome.is_err());
/// assert_eq!(*reader.load(), 3);
/// limit.replace(4);
/// assert_eq!(*reader.load(), 4);
/// ```
pub struct Live<T: ?Sized>(Arc<RwLock<Arc<T>>>);

impl<T> Live<T> {
    /// A live value.
    pub fn new(value: T) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(value))))
    }

    /// The value now. It stays the same for as long as the caller holds it.
    #[must_use]
    pub fn load(&self) -> Arc<T> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Swaps the value.
    pub fn replace(&self, value: T) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(value);
    }

    /// Swaps the value for what `load` gives; the old one stays on error.
    ///
    /// # Errors
    /// The error of `load`.
    pub fn replace_with<E>(&self, load: impl FnOnce() -> Result<T, E>) -> Result<(), E> {
        self.replace(load()?);
        Ok(())
    }
}

impl<T> Clone for Live<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: fmt::Debug> fmt::Debug for Live<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Live").field(&self.load()).finish()
    }
}

impl<T> From<T> for Live<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}
