//! Who may call a router.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;

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

/// Says whether a request may be taken.
///
/// # Contract
/// - It is asked before the body is read, and sees method, path, headers, and what the host's own layers put
///   into the extensions, such as a client certificate.
/// - It answers alike for each of many requests at the same time, and in bounded time.
/// - The future may be dropped at any time.
///
/// # Errors
/// [`Denied`]: nothing of the request is taken. What cannot be decided is denied.
///
/// # Implementing
/// ```
/// use aiops_detectors::server::{Authoriser, Denied, axum::http::request::Parts};
/// #[derive(Debug)]
/// struct FromTheMesh;
///
/// #[async_trait::async_trait]
/// impl Authoriser for FromTheMesh {
///     async fn authorise(&self, request: &Parts) -> Result<(), Denied> {
///         let from = request.headers.get("x-mesh-identity").ok_or(Denied::Unauthenticated)?;
///         if from == "collector" { Ok(()) } else { Err(Denied::Forbidden) }
///     }
/// }
/// ```
#[async_trait]
pub trait Authoriser: fmt::Debug + Send + Sync + 'static {
    /// Whether the request may be taken.
    async fn authorise(&self, request: &Parts) -> Result<(), Denied>;
}

macro_rules! forward_authoriser {
    ($pointer:ident) => {
        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl<T: Authoriser + ?Sized> Authoriser for $pointer<T> {
            async fn authorise(&self, request: &Parts) -> Result<(), Denied> {
                (**self).authorise(request).await
            }
        }
    };
}
forward_authoriser!(Arc);
forward_authoriser!(Box);

/// Whoever reaches the router may call it: for a network that only the senders are on.
#[derive(Debug, Clone, Copy, Default)]
pub struct AllowEveryone;

#[async_trait]
impl Authoriser for AllowEveryone {
    async fn authorise(&self, _: &Parts) -> Result<(), Denied> {
        Ok(())
    }
}

/// One secret in `authorization: Bearer …` for all senders.
#[derive(Clone)]
pub struct BearerToken(String);

impl BearerToken {
    /// The secret; an empty one accepts nobody.
    pub fn new(token: impl Into<String>) -> Self {
        Self(token.into())
    }
}

impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BearerToken(…)")
    }
}

#[async_trait]
impl Authoriser for BearerToken {
    async fn authorise(&self, request: &Parts) -> Result<(), Denied> {
        let sent = request.headers.get(AUTHORIZATION).map(axum::http::HeaderValue::as_bytes).unwrap_or_default();
        // The scheme is case-insensitive (RFC 9110, 11.1).
        let token = sent.split_at_checked(7).filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer "));
        let accepted = token.is_some_and(|(_, token)| same(token, self.0.as_bytes())) && !self.0.is_empty();
        if accepted { Ok(()) } else { Err(Denied::Unauthenticated) }
    }
}

/// Equality that takes as long wherever the first difference stands.
fn same(sent: &[u8], secret: &[u8]) -> bool {
    let differences = sent.iter().zip(secret).fold(0, |all, (a, b)| all | (a ^ b));
    std::hint::black_box(differences) == 0 && sent.len() == secret.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn denied(authoriser: &BearerToken, header: Option<&str>) -> Option<Denied> {
        let mut request = axum::http::Request::new(());
        if let Some(header) = header {
            request.headers_mut().insert(AUTHORIZATION, header.parse().unwrap());
        }
        authoriser.authorise(&request.into_parts().0).await.err()
    }

    #[tokio::test]
    async fn only_the_whole_secret_is_accepted() {
        let secret = BearerToken::new("s3cret");
        for header in ["Bearer s3cret", "bearer s3cret"] {
            assert_eq!(denied(&secret, Some(header)).await, None, "{header}");
        }
        let refused =
            ["Bearer ", "Bearer s3cre", "Bearer s3cret2", "Bearer S3cret", "Basic s3cret", "s3cret", "Béarer x"];
        for header in refused.map(Some).into_iter().chain([None]) {
            assert_eq!(denied(&secret, header).await, Some(Denied::Unauthenticated), "{header:?}");
        }
        assert!(denied(&BearerToken::new(""), Some("Bearer ")).await.is_some());
        assert!(!format!("{secret:?}").contains("s3cret"));
    }
}
