//! Routers that a host mounts into its own server: what other systems push comes in through them.
//!
//! A router is built with an [`Authoriser`] and cannot be had without. It asks before it reads any of a
//! body, and reads bodies up to a bound. TLS, limits of connections and deadlines of requests are the
//! host's server's. The router of OTLP stands with its decoders, behind the feature `otlp`.
//!
//! | router | takes | gives |
//! |---|---|---|
//! | [`AlertIntake`] | `POST /alertmanager`: Alertmanager's webhook, version 4 | events to a pipeline's [`Intake`](aiops_core::Intake) |
//! | [`DeployIntake`] | `POST /deploys`: steps of rollouts, and CDEvents of services | a [`DeployLog`](aiops_core::DeployLog) |
//!
//! Both answer JSON alone. A batch is taken item by item: a bad item rejects itself alone. The answer says how many were
//! accepted, and which were not, by index, field and reason:
//!
//! ```json
//! {"accepted": 1, "rejected": [{"index": 1, "field": "labels.alertname", "reason": "is missing or empty"}]}
//! ```
//!
//! | status | `error.code` | when |
//! |---|---|---|
//! | 200 | | at least one item was accepted, or there was none to take |
//! | 400 | `malformed` | the body is no JSON, or not of the shape; `error.field` names where |
//! | 401, 403 | `unauthenticated`, `forbidden` | the authoriser's word |
//! | 405 | `method` | it is no POST |
//! | 413 | `too_large` | the body is longer than the bound |
//! | 415 | `media_type` | the content type is not `application/json`; deploys also take CloudEvents |
//! | 422 | | every item was rejected; the answer lists them |
//! | 503 | `busy`, `stopping`, `undecided` | the pipeline is behind or ended, or the authoriser cannot tell: come again |

mod alerts;
mod authorise;
mod cdevents;
mod deploys;
mod firing;
mod gate;

/// Re-exported, since routers and requests are its types.
pub use axum;

pub use self::alerts::AlertIntake;
pub use self::authorise::{AllowEveryone, Authoriser, BearerToken, Denied};
pub use self::deploys::DeployIntake;
