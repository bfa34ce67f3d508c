//! What the API server refused, or did not answer.

use std::time::Duration;

use aiops_core::time::human;
use aiops_core::{ActionError, ActionRequest, BoxError, text};
use kube::core::Status;

use super::access::Access;

/// Characters of the server's own words in an error.
const WORDS: usize = 400;

/// Why a call to the API server did not do what it was to do. The server's words are clipped; no token and no header
/// is in them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KubernetesError {
    /// 403: the account may not do this.
    #[error("the account may not {verb} {what}: {message}")]
    Forbidden {
        /// The verb of the API (`get`, `list`, `patch`, `delete`, `create`).
        verb: &'static str,
        /// The object or collection.
        what: String,
        /// In the server's words.
        message: String,
    },
    /// 401: the account is not known, or its token has ended.
    #[error("the server does not know this account: {message}")]
    Unauthenticated {
        /// In the server's words.
        message: String,
    },
    /// 404.
    #[error("{what} is not there")]
    NotFound {
        /// The object.
        what: String,
    },
    /// 409 with the reason `Conflict`: the object changed since it was read, or is another one of the same name.
    #[error("{what} was changed by someone else: {message}")]
    Conflict {
        /// The object.
        what: String,
        /// In the server's words.
        message: String,
    },
    /// 409 with the reason `AlreadyExists`.
    #[error("{what} exists already")]
    AlreadyExists {
        /// The object.
        what: String,
    },
    /// 400 or 422: the server does not take the change.
    #[error("the server does not take the change of {what}: {message}")]
    Invalid {
        /// The object.
        what: String,
        /// In the server's words.
        message: String,
    },
    /// 429 to an eviction: a disruption budget does not let the pod go now.
    #[error("{what} is held: {causes}")]
    Budget {
        /// The pod.
        what: String,
        /// The budgets, in the server's words.
        causes: String,
    },
    /// 429 otherwise: the server has too much to do.
    #[error("the server takes no more for now")]
    Throttled {
        /// How long it asks to wait, where it says so.
        retry_after: Option<Duration>,
    },
    /// 410: the page or the watch is too old.
    #[error("what was read of {what} is too old, it must be read again")]
    Expired {
        /// The collection.
        what: String,
    },
    /// No answer in time.
    #[error("no answer about {what} within {}", human(*.after))]
    Late {
        /// The object or collection.
        what: String,
        /// How long was waited.
        after: Duration,
    },
    /// Another failure that the server told, 5xx for example.
    #[error("the server failed at {what}, status {status}: {message}")]
    Failed {
        /// The object or collection.
        what: String,
        /// The HTTP status.
        status: u16,
        /// In the server's words.
        message: String,
    },
    /// No connection, or it broke.
    #[error("could not reach the server")]
    Unreachable {
        /// Why.
        #[source]
        source: BoxError,
    },
    /// An answer of which nothing can be made.
    #[error("the answer about {what} has no {field}")]
    Shape {
        /// The object.
        what: String,
        /// The field that is not there.
        field: &'static str,
    },
    /// More objects than are looked through.
    #[error("there are more than {most} of {what}")]
    TooMany {
        /// The collection.
        what: String,
        /// The bound.
        most: usize,
    },
    /// A workflow that did not succeed.
    #[error("workflow {name} is {phase}: {message}")]
    Workflow {
        /// Its name.
        name: String,
        /// Its phase, in Argo's words.
        phase: String,
        /// What it says, or what was done about it.
        message: String,
    },
    /// The account is not allowed what is needed.
    #[error("in {place} the account may not {}", .missing.iter().map(Access::to_string).collect::<Vec<_>>().join(", "))]
    MissingAccess {
        /// Every right that is missing.
        missing: Vec<Access>,
        /// Where.
        place: String,
    },
    /// What was observed before no longer holds; nothing was sent.
    #[error("the state is another one than was observed: {0}")]
    Changed(String),
    /// A drain that was not done at its deadline.
    #[error("{left} of {all} pods are still on {node}: {}", .blockers.join("; "))]
    Undrained {
        /// The node.
        node: String,
        /// Pods that are left.
        left: usize,
        /// Pods that there were to move.
        all: usize,
        /// What holds them, at most ten.
        blockers: Vec<String>,
    },
}

impl KubernetesError {
    /// Whether it is certain that the call changed nothing.
    #[must_use]
    pub fn nothing_changed(&self) -> bool {
        !matches!(
            self,
            Self::Late { .. }
                | Self::Failed { .. }
                | Self::Unreachable { .. }
                | Self::Shape { .. }
                | Self::Undrained { .. }
                | Self::Workflow { .. }
        )
    }

    /// Whether the same call may succeed later without a person doing something.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Budget { .. }
            | Self::Throttled { .. }
            | Self::Expired { .. }
            | Self::Late { .. }
            | Self::Unreachable { .. }
            | Self::Undrained { .. } => true,
            Self::Failed { status, .. } => *status >= 500,
            _ => false,
        }
    }

    /// The value of a metric's `outcome` label.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::Forbidden { .. } | Self::Unauthenticated { .. } => "forbidden",
            Self::NotFound { .. } => "not_found",
            Self::Conflict { .. } | Self::AlreadyExists { .. } => "conflict",
            Self::Budget { .. } => "budget",
            Self::Throttled { .. } => "throttled",
            Self::Late { .. } => "late",
            _ => "failed",
        }
    }

    /// As a handler's error: unknown unless it is certain that nothing changed.
    pub(super) fn at(self, request: &ActionRequest, doing: &'static str) -> ActionError {
        if self.nothing_changed() {
            ActionError::before(request, doing, self)
        } else {
            ActionError::unknown(request, doing, self)
        }
    }

    /// What an answer of the client means.
    pub(super) fn of(error: kube::Error, verb: &'static str, what: &str) -> Self {
        match error {
            kube::Error::Api(status) => Self::of_status(&status, verb, what),
            kube::Error::SerdeError(_) => Self::Shape { what: what.to_owned(), field: "JSON body" },
            other => Self::Unreachable { source: Box::new(other) },
        }
    }

    fn of_status(status: &Status, verb: &'static str, what: &str) -> Self {
        let (what, message) = (what.to_owned(), text::clip(&status.message, WORDS));
        let details = status.details.as_ref();
        match (status.code, status.reason.as_str()) {
            (401, _) => Self::Unauthenticated { message },
            (403, _) => Self::Forbidden { verb, what, message },
            (404, _) => Self::NotFound { what },
            (409, "AlreadyExists") => Self::AlreadyExists { what },
            (409, _) => Self::Conflict { what, message },
            (410, _) => Self::Expired { what },
            (400 | 422, _) => Self::Invalid { what, message },
            (429, _) => {
                let held: Vec<_> = details
                    .iter()
                    .flat_map(|details| &details.causes)
                    .filter(|cause| cause.reason == "DisruptionBudget")
                    .map(|cause| text::clip(&cause.message, WORDS))
                    .collect();
                if !held.is_empty() {
                    return Self::Budget { what, causes: held.join("; ") };
                }
                let wait = details.map(|details| details.retry_after_seconds).filter(|seconds| *seconds > 0);
                Self::Throttled { retry_after: wait.map(|seconds| Duration::from_secs(seconds.into())) }
            }
            (status, _) => Self::Failed { what, status, message },
        }
    }
}
