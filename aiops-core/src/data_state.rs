//! What is known about the data behind a signal.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The state of the data behind a signal.
///
/// Absence and errors never resolve an anomaly and never count as success of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum DataState {
    /// Not enough history yet.
    Warming {
        /// Samples so far.
        n: u64,
        /// Samples that are needed.
        of: u64,
    },
    /// Fresh and complete.
    Ok,
    /// A successful read that returned nothing.
    NoData,
    /// The newest sample is older than it may be.
    Stale,
    /// The read failed.
    Error,
}

impl fmt::Display for DataState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Warming { n, of } => write!(f, "warming ({n} of {of})"),
            Self::Ok => f.write_str("ok"),
            Self::NoData => f.write_str("no data"),
            Self::Stale => f.write_str("stale"),
            Self::Error => f.write_str("error"),
        }
    }
}
