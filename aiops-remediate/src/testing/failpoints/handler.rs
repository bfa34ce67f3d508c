//! A host's own code with a boundary around each call: handler, probe, authoriser.

use std::sync::Arc;

use aiops_core::{
    ActionError, ActionHandler, ActionRequest, Applied, BoxError, Compensation, Inspection, Outcome, Precondition,
    Probe, ProbeError, ProbeQuery, Reading,
};
use async_trait::async_trait;
use jiff::Timestamp;

use super::{Failpoints, Side, through};
use crate::dispatcher::ApprovalAuthoriser;
use crate::parameters;
use crate::store::Approval;

const WHY: &str = "it fails at this failpoint";

/// A handler that asks [`Failpoints`] before and after each call: `handler.inspect.rehearse` (shadow mode),
/// `handler.inspect.ask` (for an approval), `handler.inspect.begin` (before it executes),
/// `handler.inspect.again` (after it executed), `handler.execute` (before and after the effect),
/// `handler.verify`, `handler.compensate`.
#[derive(Debug)]
pub struct FailingHandler<H> {
    inner: H,
    failpoints: Arc<dyn Failpoints>,
}

impl<H> FailingHandler<H> {
    /// A handler with boundaries around it.
    pub fn new(inner: H, failpoints: Arc<dyn Failpoints>) -> Self {
        Self { inner, failpoints }
    }

    async fn call<T>(
        &self,
        point: &str,
        doing: &'static str,
        request: &ActionRequest,
        call: impl Future<Output = Result<T, ActionError>> + Send,
    ) -> Result<T, ActionError> {
        let fault = |side| match side {
            Side::Before => ActionError::before(request, doing, WHY),
            Side::After => ActionError::unknown(request, doing, WHY),
        };
        through(&*self.failpoints, point, call, fault).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<H: ActionHandler> ActionHandler for FailingHandler<H> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    async fn inspect(&self, request: &ActionRequest) -> Result<Inspection, ActionError> {
        let point = match parameters::observed(request) {
            Some(_) => "handler.inspect.again",
            None if request.dry_run => "handler.inspect.rehearse",
            // No lock is held yet.
            None if request.fencing_token == 0 => "handler.inspect.ask",
            None => "handler.inspect.begin",
        };
        self.call(point, "inspect", request, self.inner.inspect(request)).await
    }

    async fn execute(&self, request: &ActionRequest, precondition: &Precondition) -> Result<Applied, ActionError> {
        self.call("handler.execute", "execute", request, self.inner.execute(request, precondition)).await
    }

    async fn verify(&self, request: &ActionRequest, applied: &Applied) -> Result<Outcome, ActionError> {
        self.call("handler.verify", "verify", request, self.inner.verify(request, applied)).await
    }

    async fn compensate(&self, request: &ActionRequest) -> Result<Compensation, ActionError> {
        self.call("handler.compensate", "take back", request, self.inner.compensate(request)).await
    }
}

/// A probe that asks [`Failpoints`] before and after each reading: `probe.<what is read>`.
#[derive(Debug)]
pub struct FailingProbe<P> {
    inner: P,
    failpoints: Arc<dyn Failpoints>,
}

impl<P> FailingProbe<P> {
    /// A probe with boundaries around it.
    pub fn new(inner: P, failpoints: Arc<dyn Failpoints>) -> Self {
        Self { inner, failpoints }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<P: Probe> Probe for FailingProbe<P> {
    async fn read(&self, query: &ProbeQuery) -> Result<Reading, ProbeError> {
        let point = format!("probe.{}", query.what);
        through(&*self.failpoints, &point, self.inner.read(query), |_| ProbeError::retryable(&query.what, WHY)).await
    }
}

/// An authoriser that asks [`Failpoints`] before and after each word: `authoriser.authorise`.
#[derive(Debug)]
pub struct FailingAuthoriser<A> {
    inner: A,
    failpoints: Arc<dyn Failpoints>,
}

impl<A> FailingAuthoriser<A> {
    /// An authoriser with boundaries around it.
    pub fn new(inner: A, failpoints: Arc<dyn Failpoints>) -> Self {
        Self { inner, failpoints }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<A: ApprovalAuthoriser> ApprovalAuthoriser for FailingAuthoriser<A> {
    async fn authorise(&self, who: &str, approval: &Approval, now: Timestamp) -> Result<(), BoxError> {
        let call = self.inner.authorise(who, approval, now);
        through(&*self.failpoints, "authoriser.authorise", call, |_| WHY.into()).await
    }
}
