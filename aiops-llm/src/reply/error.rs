//! Why a reply is no report.

/// Why a reply is no report. No text of the model is in it, except for a key or a stop reason, clipped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplyError {
    /// The model ran into a limit.
    #[error("the reply is truncated (stop reason {reason}): allow more output tokens, or give less context")]
    Truncated {
        /// The provider's word.
        reason: String,
    },
    /// The model or a filter refused.
    #[error("the model refused to answer (stop reason {reason}): ask another model or a person")]
    Refused {
        /// The provider's word.
        reason: String,
    },
    /// The model stopped to do something else first.
    #[error("the reply is not finished (stop reason {reason}): the model stopped to go on later or to call a tool")]
    Unfinished {
        /// The provider's word.
        reason: String,
    },
    /// Nobody said why the model stopped.
    #[error("there is no stop reason: whether the reply is whole is not known")]
    NoStopReason,
    /// A stop reason that is not known here.
    #[error("unknown stop reason {reason}: whether the reply is whole is not known")]
    UnknownStopReason {
        /// The provider's word.
        reason: String,
    },
    /// More text than a report has.
    #[error("the reply has {bytes} bytes, at most {max} are read")]
    TooLong {
        /// How many it has.
        bytes: usize,
        /// How many are read.
        max: usize,
    },
    /// Only prose, or nothing.
    #[error("the reply holds no JSON object")]
    NoJson,
    /// Two objects or more: which one is meant is not for us to guess.
    #[error("the reply holds two candidates: more than one JSON object")]
    SeveralCandidates,
    /// JSON that breaks off or is not JSON.
    #[error("the reply's JSON is broken at line {line}, column {column}")]
    Broken {
        /// The line of the text, counted from 1.
        line: usize,
        /// The column in bytes, counted from 1.
        column: usize,
        /// What is wrong there.
        #[source]
        source: serde_json::Error,
    },
    /// JSON, but a list or a single value.
    #[error("the reply's JSON is {found}, not an object")]
    NotAnObject {
        /// What it is.
        found: &'static str,
    },
    /// A key that stands twice: which value is meant is not for us to guess.
    #[error("duplicate key {key:?} in the report")]
    DuplicateKey {
        /// The key.
        key: String,
    },
    /// The schema itself instead of a report that follows it, as small models do.
    #[error("the reply is the schema, not a report that follows it")]
    EchoedSchema,
    /// A key that must be there.
    #[error("the report has no {field}")]
    Missing {
        /// The key.
        field: &'static str,
    },
    /// A value of another type, or out of its range.
    #[error("{field} must be {expected}, not {found}")]
    Wrong {
        /// The key.
        field: &'static str,
        /// What would be right.
        expected: &'static str,
        /// What it is.
        found: String,
    },
}

impl ReplyError {
    /// Whether asking the same model again may help: it answered, but badly.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Truncated { .. }
            | Self::Refused { .. }
            | Self::Unfinished { .. }
            | Self::NoStopReason
            | Self::UnknownStopReason { .. } => false,
            Self::TooLong { .. }
            | Self::NoJson
            | Self::SeveralCandidates
            | Self::Broken { .. }
            | Self::NotAnObject { .. }
            | Self::DuplicateKey { .. }
            | Self::EchoedSchema
            | Self::Missing { .. }
            | Self::Wrong { .. } => true,
        }
    }

    /// Line and column of broken JSON.
    #[must_use]
    pub fn place(&self) -> Option<(usize, usize)> {
        match self {
            Self::Broken { line, column, .. } => Some((*line, *column)),
            _ => None,
        }
    }

    /// As in metrics.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Truncated { .. } => "truncated",
            Self::Refused { .. } => "refused",
            Self::Unfinished { .. } => "unfinished",
            Self::NoStopReason => "no_stop_reason",
            Self::UnknownStopReason { .. } => "unknown_stop_reason",
            Self::TooLong { .. } => "too_long",
            Self::NoJson => "no_json",
            Self::SeveralCandidates => "several_objects",
            Self::Broken { .. } => "broken_json",
            Self::NotAnObject { .. } => "not_an_object",
            Self::DuplicateKey { .. } => "duplicate_key",
            Self::EchoedSchema => "echoed_schema",
            Self::Missing { .. } => "missing_field",
            Self::Wrong { .. } => "wrong_type",
        }
    }
}
