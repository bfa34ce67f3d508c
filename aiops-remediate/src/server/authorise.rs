//! Who may do what.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use axum::http::request::Parts;

/// What a request wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Access {
    /// To see incidents, reports, approvals and the review.
    Read,
    /// To grant or refuse approvals. Which ones, the dispatcher's
    /// [`ApprovalAuthoriser`](crate::ApprovalAuthoriser) says.
    Decide,
    /// To give verdicts on reports.
    Judge,
    /// To set the kill switch.
    Switch,
}

/// Who asks, as the host knows them: what the audit log and the dispatcher's authoriser are told.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Person(String);

impl Person {
    /// A person or a machine by the name that is unique in the host.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }
}

/// Why a request is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Denied {
    /// It does not say who it is from, or not credibly (401).
    #[error("credentials are missing or not accepted")]
    Unauthenticated,
    /// Who it is from may not do this (403).
    #[error("not allowed")]
    Forbidden,
    /// Nobody can tell now (503): it may be sent again.
    #[error("cannot be decided now")]
    Unavailable,
}

/// Says who a request is from, and whether they may do what it wants. The host's: it knows its people.
///
/// # Contract
/// - It is asked before the body is read, and sees method, path, headers, and what the host's own layers put into the
///   extensions, such as a session or a client certificate.
/// - A [`Person`] is named only on proof: forms are bound to the name against requests from other sites, and the audit
///   log believes it.
/// - It answers alike for each of many requests at the same time. After 10 s it counts as [`Denied::Unavailable`].
///
/// # Errors
/// [`Denied`]: nothing of the request is taken. What cannot be decided is denied.
///
/// # Implementing
/// ```
/// use aiops_remediate::server::{Access, Authoriser, Denied, Person, axum::http::request::Parts};
/// #[derive(Debug)]
/// struct BehindTheProxy;
///
/// #[async_trait::async_trait]
/// impl Authoriser for BehindTheProxy {
///     async fn authorise(&self, request: &Parts, access: Access) -> Result<Person, Denied> {
///         // The proxy logs people in, and overwrites the header.
///         let name = request.headers.get("x-auth-user").and_then(|name| name.to_str().ok());
///         match (name, access) {
///             (None, _) => Err(Denied::Unauthenticated),
///             (Some(name), Access::Read) => Ok(Person::new(name)),
///             (Some(name), _) if name.ends_with("@sre") => Ok(Person::new(name)),
///             _ => Err(Denied::Forbidden),
///         }
///     }
/// }
/// ```
#[async_trait]
pub trait Authoriser: fmt::Debug + Send + Sync + 'static {
    /// Who asks, if they may.
    async fn authorise(&self, request: &Parts, access: Access) -> Result<Person, Denied>;
}

macro_rules! forward_authoriser {
    ($pointer:ident) => {
        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl<T: Authoriser + ?Sized> Authoriser for $pointer<T> {
            async fn authorise(&self, request: &Parts, access: Access) -> Result<Person, Denied> {
                (**self).authorise(request, access).await
            }
        }
    };
}
forward_authoriser!(Arc);
forward_authoriser!(Box);
