//! What a conformance suite answers when a line of a contract does not hold.

use std::fmt;

/// A line of a trait's contract that an implementation breaks, with what was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Violation {
    /// The line, as the trait's documentation says it.
    pub contract: &'static str,
    /// What was seen instead.
    pub detail: String,
}

impl Violation {
    /// A broken line.
    pub fn new(contract: &'static str, detail: impl Into<String>) -> Self {
        Self { contract, detail: detail.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "contract broken: {}: {}", self.contract, self.detail)
    }
}

impl std::error::Error for Violation {}

/// Passes where `holds`; the detail is made only where it does not.
///
/// # Errors
/// The violation.
///
/// ```
/// let outcome = aiops_core::testing::ensure(1 > 2, "one is larger", || "1 and 2".to_owned());
/// assert_eq!(outcome.unwrap_err().to_string(), "contract broken: one is larger: 1 and 2");
/// ```
pub fn ensure(holds: bool, contract: &'static str, detail: impl FnOnce() -> String) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(Violation::new(contract, detail())) }
}
