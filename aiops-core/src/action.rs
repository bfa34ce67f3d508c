//! Acting: what is to be done, to what, and how a handler does it without doing it twice.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::BoxError;
use crate::fingerprint::Fingerprint;
use crate::names::{ActionName, IncidentId, ServiceName};

/// What an action is done to: sorted names and values, taken from the event's labels by the
/// catalogue's selector (`namespace=shop, pod=cart-1`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Target(BTreeMap<String, String>);

impl Target {
    /// A target of these parts.
    pub fn new(parts: impl IntoIterator<Item = (impl Into<String>, impl Into<String>)>) -> Self {
        Self(parts.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }

    /// The value of one part.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The parts, sorted by name.
    pub fn parts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl fmt::Display for Target {
    /// `namespace=shop,pod=cart-1`; `%`, `|`, `,` and `=` inside a part are percent-encoded, so that
    /// two targets never print alike.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let encode = |part: &str| crate::fingerprint::encode(part).replace(',', "%2C").replace('=', "%3D");
        for (index, (name, value)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{}={}", encode(name), encode(value))?;
        }
        Ok(())
    }
}

/// What a handler is asked to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ActionRequest {
    /// The catalogue's name of the action.
    pub action: ActionName,
    /// What it is done to.
    pub target: Target,
    /// Parameters from the catalogue and from observed state; never from a model.
    pub parameters: Map<String, Value>,
    /// The event's service: `inspect` must confirm that the target belongs to it.
    pub service: ServiceName,
    /// The episode's fingerprint. (action, target, fingerprint) runs at most once.
    pub fingerprint: Fingerprint,
    /// The incident.
    pub incident_id: IncidentId,
    /// Grows with each holder of the lock; targets that can check it refuse a smaller one.
    pub fencing_token: u64,
    /// By when `execute` must be done.
    pub deadline: Timestamp,
    /// Whether nothing may change.
    pub dry_run: bool,
}

impl ActionRequest {
    /// A dry-run request without parameters; the dispatcher fills in the rest.
    #[must_use]
    pub fn new(
        action: ActionName,
        target: Target,
        service: ServiceName,
        fingerprint: Fingerprint,
        incident_id: IncidentId,
        deadline: Timestamp,
    ) -> Self {
        Self {
            action,
            target,
            parameters: Map::new(),
            service,
            fingerprint,
            incident_id,
            fencing_token: 0,
            deadline,
            dry_run: true,
        }
    }

    /// Parameters from the catalogue and from observed state.
    #[must_use]
    pub fn parameters(mut self, parameters: Map<String, Value>) -> Self {
        self.parameters = parameters;
        self
    }

    /// The lock holder's token.
    #[must_use]
    pub fn fencing_token(mut self, token: u64) -> Self {
        self.fencing_token = token;
        self
    }

    /// Whether nothing may change.
    #[must_use]
    pub fn dry_run(mut self, dry_run: bool) -> Self {
        self.dry_run = dry_run;
        self
    }

    /// `action|target|fingerprint`: the key of lock and journal.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{}|{}|{}", self.action, self.target, self.fingerprint)
    }
}

/// The observed state on which an action rests (a UID, a resource version, a revision).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Precondition(BTreeMap<String, String>);

impl Precondition {
    /// A precondition of these facts.
    pub fn new(facts: impl IntoIterator<Item = (impl Into<String>, impl Into<String>)>) -> Self {
        Self(facts.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }

    /// One fact.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The facts, sorted by name.
    pub fn facts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// What `inspect` found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Inspection {
    /// The action may run while the precondition holds.
    Ready {
        /// What must still hold when it runs.
        precondition: Precondition,
    },
    /// The wanted state is there: running it would be a second time.
    AlreadyDone {
        /// By what it is seen.
        proof: String,
    },
    /// It must not run.
    Blocked {
        /// Why, for a person.
        reason: String,
    },
}

/// What `execute` did, with the proof by which it can be found again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Applied {
    /// The new UID, revision, workflow name.
    pub proof: String,
}

impl Applied {
    /// An effect with its proof.
    pub fn new(proof: impl Into<String>) -> Self {
        Self { proof: proof.into() }
    }
}

/// Whether an action helped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The wanted state is there.
    Helped,
    /// Nothing changed.
    NoEffect,
    /// It is worse than before.
    Worse,
    /// It cannot be known: a person must look.
    Unknown,
}

/// What `compensate` did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Compensation {
    /// The handler has none.
    None,
    /// The part that could be taken back was (`uncordoned node-3`).
    Done(String),
}

/// A handler's failure.
#[derive(Debug, thiserror::Error)]
#[error("{action} on {target}: could not {doing}")]
#[non_exhaustive]
pub struct ActionError {
    /// The action.
    pub action: String,
    /// Its target.
    pub target: String,
    /// What was being done.
    pub doing: &'static str,
    /// Whether it is certain that nothing was changed. `false` makes the outcome unknown.
    pub nothing_changed: bool,
    /// Why.
    #[source]
    pub source: BoxError,
}

impl ActionError {
    /// A failure before anything could change.
    pub fn before(request: &ActionRequest, doing: &'static str, source: impl Into<BoxError>) -> Self {
        Self::new(request, doing, true, source)
    }

    /// A failure after which the effect may or may not be there.
    pub fn unknown(request: &ActionRequest, doing: &'static str, source: impl Into<BoxError>) -> Self {
        Self::new(request, doing, false, source)
    }

    fn new(request: &ActionRequest, doing: &'static str, nothing_changed: bool, source: impl Into<BoxError>) -> Self {
        Self {
            action: request.action.to_string(),
            target: request.target.to_string(),
            doing,
            nothing_changed,
            source: source.into(),
        }
    }

    /// Whether trying again is safe: only while nothing was changed.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.nothing_changed
    }
}

/// Does one kind of action, idempotent by precondition.
///
/// # Contract
/// - `inspect` reads the real, current state (never a cache), changes nothing, and must confirm that
///   the target belongs to `request.service`, else it answers [`Inspection::Blocked`].
/// - `execute` must change nothing unless the precondition still holds at the moment of the change
///   (delete by UID, patch with a resource version). It must change nothing when
///   `request.dry_run` is set. It must finish or stop by `request.deadline`.
/// - A second `execute` with the same request must not have a second effect.
/// - `verify` says whether it helped; `Unknown` where it cannot tell.
/// - `compensate` takes back what can be taken back after a failed `execute`.
/// - Any future may be dropped at its deadline: the outcome is then unknown, and `inspect` must be
///   able to find out later.
///
/// # Errors
/// [`ActionError::before`] only where it is certain that nothing changed; else
/// [`ActionError::unknown`], which keeps the lock and goes to a person.
///
/// # Implementing
/// ```
/// use aiops_core::{ActionError, ActionHandler, ActionRequest, Applied, Inspection, Precondition};
/// #[derive(Debug)]
/// struct PageVendor;
///
/// #[async_trait::async_trait]
/// impl ActionHandler for PageVendor {
///     fn name(&self) -> &str { "page_vendor" }
///     async fn inspect(&self, request: &ActionRequest) -> Result<Inspection, ActionError> {
///         Ok(Inspection::Ready { precondition: Precondition::default() })
///     }
///     async fn execute(&self, request: &ActionRequest, _: &Precondition) -> Result<Applied, ActionError> {
///         // The vendor's API takes an idempotency key: a second call opens no second ticket.
///         Ok(Applied::new(format!("ticket-{}", request.fingerprint)))
///     }
/// }
/// ```
#[async_trait]
pub trait ActionHandler: fmt::Debug + Send + Sync + 'static {
    /// The catalogue name of the action.
    fn name(&self) -> &str;

    /// The current state of the target.
    async fn inspect(&self, request: &ActionRequest) -> Result<Inspection, ActionError>;

    /// Does it, if the precondition still holds.
    async fn execute(&self, request: &ActionRequest, precondition: &Precondition) -> Result<Applied, ActionError>;

    /// Whether it helped. By default it inspects again: already done = helped, ready = no effect,
    /// blocked = unknown.
    async fn verify(&self, request: &ActionRequest, applied: &Applied) -> Result<Outcome, ActionError> {
        let _ = applied;
        Ok(match self.inspect(request).await? {
            Inspection::AlreadyDone { .. } => Outcome::Helped,
            Inspection::Ready { .. } => Outcome::NoEffect,
            Inspection::Blocked { .. } => Outcome::Unknown,
        })
    }

    /// Takes back what can be taken back after a failed `execute`. By default there is nothing.
    async fn compensate(&self, request: &ActionRequest) -> Result<Compensation, ActionError> {
        let _ = request;
        Ok(Compensation::None)
    }
}

macro_rules! forward_action_handler {
    ($pointer:ident) => {
        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl<T: ActionHandler + ?Sized> ActionHandler for $pointer<T> {
            fn name(&self) -> &str {
                (**self).name()
            }

            async fn inspect(&self, request: &ActionRequest) -> Result<Inspection, ActionError> {
                (**self).inspect(request).await
            }

            async fn execute(
                &self,
                request: &ActionRequest,
                precondition: &Precondition,
            ) -> Result<Applied, ActionError> {
                (**self).execute(request, precondition).await
            }

            async fn verify(&self, request: &ActionRequest, applied: &Applied) -> Result<Outcome, ActionError> {
                (**self).verify(request, applied).await
            }

            async fn compensate(&self, request: &ActionRequest) -> Result<Compensation, ActionError> {
                (**self).compensate(request).await
            }
        }
    };
}
forward_action_handler!(Arc);
forward_action_handler!(Box);

/// A handler made of two closures, see [`handler_fn`].
pub struct HandlerFn<I, E> {
    name: String,
    inspect: I,
    execute: E,
}

impl<I, E> fmt::Debug for HandlerFn<I, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandlerFn").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Makes a handler of a closure that inspects and one that executes. There is no form without
/// `inspect`: a handler that does not look first acts twice. An `Err` of `execute` makes the outcome
/// unknown, since a closure cannot say that nothing changed.
///
/// ```
/// use aiops_core::{handler_fn, Applied, Inspection, Precondition};
/// let handler = handler_fn(
///     "page_vendor",
///     |_request| async { Ok(Inspection::Ready { precondition: Precondition::default() }) },
///     |request, _precondition| async move { Ok(Applied::new(format!("ticket-{}", request.fingerprint))) },
/// );
/// ```
pub fn handler_fn<I, IFut, E, EFut>(name: impl Into<String>, inspect: I, execute: E) -> HandlerFn<I, E>
where
    I: Fn(ActionRequest) -> IFut + Send + Sync + 'static,
    IFut: Future<Output = Result<Inspection, BoxError>> + Send + 'static,
    E: Fn(ActionRequest, Precondition) -> EFut + Send + Sync + 'static,
    EFut: Future<Output = Result<Applied, BoxError>> + Send + 'static,
{
    HandlerFn { name: name.into(), inspect, execute }
}

#[async_trait]
impl<I, IFut, E, EFut> ActionHandler for HandlerFn<I, E>
where
    I: Fn(ActionRequest) -> IFut + Send + Sync + 'static,
    IFut: Future<Output = Result<Inspection, BoxError>> + Send + 'static,
    E: Fn(ActionRequest, Precondition) -> EFut + Send + Sync + 'static,
    EFut: Future<Output = Result<Applied, BoxError>> + Send + 'static,
{
    fn name(&self) -> &str {
        &self.name
    }

    async fn inspect(&self, request: &ActionRequest) -> Result<Inspection, ActionError> {
        (self.inspect)(request.clone()).await.map_err(|source| ActionError::before(request, "inspect", source))
    }

    async fn execute(&self, request: &ActionRequest, precondition: &Precondition) -> Result<Applied, ActionError> {
        (self.execute)(request.clone(), precondition.clone())
            .await
            .map_err(|source| ActionError::unknown(request, "execute", source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_targets_never_print_alike() {
        let one = Target::new([("a", "1,b=2")]);
        let two = Target::new([("a", "1"), ("b", "2")]);
        assert_ne!(one.to_string(), two.to_string());
    }
}
