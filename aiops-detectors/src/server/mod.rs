//! What routers that take telemetry over HTTP have in common: who may call them.
//!
//! A router is built with an [`Authoriser`] and cannot be had without. The host mounts it on its own
//! server, with its own TLS, limits of connections and deadlines of requests.

mod authorise;

/// Re-exported, since routers and requests are its types.
pub use axum;

pub use self::authorise::{AllowEveryone, Authoriser, BearerToken, Denied};
