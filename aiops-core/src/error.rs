//! What the error types of all areas share.

/// Any error of a plugin: boxed, and able to cross threads.
pub type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// The error and its chain of sources as one line: `a: b: c`.
///
/// ```
/// let error = aiops_core::DetectorError::retryable("queue", "connection refused");
/// assert_eq!(aiops_core::error_chain(&error), "detector \"queue\" could not evaluate: connection refused");
/// ```
#[must_use]
pub fn error_chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    crate::text::clip(&text, 1_000)
}
