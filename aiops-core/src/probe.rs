//! A probe: one number about the world, read when a decision needs it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::data_state::DataState;
use crate::error::BoxError;

/// What is asked of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProbeQuery {
    /// What to read, in the probe's own names.
    pub what: String,
    /// About what: labels of the event or parts of a target.
    pub labels: BTreeMap<String, String>,
    /// The time of the question.
    pub now: Timestamp,
    /// By when an answer is of use.
    pub deadline: Timestamp,
}

impl ProbeQuery {
    /// A question without labels.
    pub fn new(what: impl Into<String>, now: Timestamp, deadline: Timestamp) -> Self {
        Self { what: what.into(), labels: BTreeMap::new(), now, deadline }
    }

    /// About what.
    #[must_use]
    pub fn labels(mut self, labels: BTreeMap<String, String>) -> Self {
        self.labels = labels;
        self
    }
}

/// A probe's answer. `value` is finite, and present exactly when `state` is ok.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Reading {
    /// The number.
    pub value: Option<f64>,
    /// What is known about the data behind it.
    pub state: DataState,
    /// When the number was true.
    pub at: Timestamp,
}

impl Reading {
    /// A fresh number; one that is not finite counts as an error of the data.
    #[must_use]
    pub fn ok(value: f64, at: Timestamp) -> Self {
        if value.is_finite() {
            Self { value: Some(value), state: DataState::Ok, at }
        } else {
            Self::without(DataState::Error, at)
        }
    }

    /// No number, and why.
    #[must_use]
    pub fn without(state: DataState, at: Timestamp) -> Self {
        Self { value: None, state, at }
    }
}

/// A probe that could not answer.
#[derive(Debug, thiserror::Error)]
#[error("could not read {what:?}")]
#[non_exhaustive]
pub struct ProbeError {
    /// What was asked.
    pub what: String,
    /// Whether asking again may help.
    pub retryable: bool,
    /// Why.
    #[source]
    pub source: BoxError,
}

impl ProbeError {
    /// An error that asking again may not meet.
    pub fn retryable(what: impl Into<String>, source: impl Into<BoxError>) -> Self {
        Self { what: what.into(), retryable: true, source: source.into() }
    }

    /// An error that stays until a person changes something.
    pub fn permanent(what: impl Into<String>, source: impl Into<BoxError>) -> Self {
        Self { what: what.into(), retryable: false, source: source.into() }
    }

    /// Whether asking again may help.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.retryable
    }
}

/// Reads one number when a decision needs it: the precondition of an action, a group's health.
///
/// # Contract
/// - An implementation reads, and changes nothing. It answers by `query.deadline`; the future may be
///   dropped at any time.
/// - A number that it does not have is `NoData`, `Stale` or an error, never 0 and never the last one.
///   No caller takes absence for success.
///
/// # Errors
/// [`ProbeError`]: the precondition that asked does not hold.
///
/// # Implementing
/// ```
/// use aiops_core::{DataState, Probe, ProbeError, ProbeQuery, Reading};
/// #[derive(Debug)]
/// struct NodesReady;
///
/// #[async_trait::async_trait]
/// impl Probe for NodesReady {
///     async fn read(&self, query: &ProbeQuery) -> Result<Reading, ProbeError> {
///         Ok(match query.what.as_str() {
///             "nodes_ready" => Reading::ok(3.0, query.now),
///             _ => Reading::without(DataState::NoData, query.now),
///         })
///     }
/// }
/// ```
#[async_trait]
pub trait Probe: fmt::Debug + Send + Sync + 'static {
    /// One number, and what is known about it.
    async fn read(&self, query: &ProbeQuery) -> Result<Reading, ProbeError>;
}

macro_rules! forward_probe {
    ($pointer:ident) => {
        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl<T: Probe + ?Sized> Probe for $pointer<T> {
            async fn read(&self, query: &ProbeQuery) -> Result<Reading, ProbeError> {
                (**self).read(query).await
            }
        }
    };
}
forward_probe!(Arc);
forward_probe!(Box);

/// A probe over numbers that the host sets: the in-memory reference.
#[derive(Debug, Default)]
pub struct MemoryProbe {
    values: std::sync::Mutex<BTreeMap<String, f64>>,
}

impl MemoryProbe {
    /// Sets the number read as `what`.
    pub fn set(&self, what: impl Into<String>, value: f64) {
        crate::lock::lock(&self.values).insert(what.into(), value);
    }

    /// Forgets the number: it reads as no data.
    pub fn clear(&self, what: &str) {
        crate::lock::lock(&self.values).remove(what);
    }
}

#[async_trait]
impl Probe for MemoryProbe {
    async fn read(&self, query: &ProbeQuery) -> Result<Reading, ProbeError> {
        let value = crate::lock::lock(&self.values).get(&query.what).copied();
        Ok(match value {
            Some(value) => Reading::ok(value, query.now),
            None => Reading::without(DataState::NoData, query.now),
        })
    }
}
