//! What must hold before an action may run, as a number that a probe reads.

use std::fmt;

use aiops_core::text;

/// A number and a limit: the action runs only while the number is on the right side of it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Condition {
    /// What the probe is asked, in its own names.
    pub probe: String,
    /// Where the number must be.
    pub limit: Limit,
}

/// Where a number must be.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Limit {
    /// Above this.
    Above(f64),
    /// Below this.
    Below(f64),
}

impl Condition {
    /// A number that must be within a limit.
    pub fn new(probe: impl Into<String>, limit: Limit) -> Self {
        Self { probe: probe.into(), limit }
    }

    /// Whether it holds for this number.
    #[must_use]
    pub fn holds(&self, value: f64) -> bool {
        self.limit.is_beyond(value)
    }
}

impl Limit {
    /// The number itself.
    #[must_use]
    pub fn value(self) -> f64 {
        match self {
            Self::Above(limit) | Self::Below(limit) => limit,
        }
    }

    /// The same side with another number.
    #[must_use]
    pub fn with(self, limit: f64) -> Self {
        match self {
            Self::Above(_) => Self::Above(limit),
            Self::Below(_) => Self::Below(limit),
        }
    }

    /// Whether a number is on this side of it; a number equal to it is not.
    #[must_use]
    pub fn is_beyond(self, value: f64) -> bool {
        match self {
            Self::Above(limit) => value > limit,
            Self::Below(limit) => value < limit,
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (side, limit) = match self.limit {
            Limit::Above(limit) => ("above", limit),
            Limit::Below(limit) => ("below", limit),
        };
        write!(f, "{} must be {side} {}", text::clip(&self.probe, 120), text::number(limit))
    }
}
