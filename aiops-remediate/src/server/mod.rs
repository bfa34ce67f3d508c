//! What people and programs ask over HTTP: approvals, incidents, the review, the kill switch, health.
//!
//! A [`Surface`] becomes a [`Router`] that a host nests into its own axum server. It cannot be made without the host's
//! [`Authoriser`], which is asked about every request but health and the API's description.
//!
//! | route | |
//! |---|---|
//! | `GET /v1/approvals`, `GET /v1/approvals/{id}` | what waits; exactly what would run, and the state that it rests on |
//! | `POST /v1/approvals/{id}/approve`, `…/reject` | a person's word, which names the incident and the digest that they saw |
//! | `GET /v1/incidents`, `GET /v1/incidents/{id}` | the timeline |
//! | `GET /v1/review`, `POST /v1/review/{number}/verdict` | what passed the threshold, and verdicts |
//! | `GET /v1/kill-switch`, `PUT /v1/kill-switch` | stops every action of all processes |
//! | `GET /health`, `GET /ready` | this process answers; its store does |
//! | `GET /openapi.json` | all of that for programs |
//! | `GET /page` and below | the same for people: plain HTML that works without scripts |
//!
//! Errors are `{"error": {"code": "…", "message": "…"}}`. Texts of logs, labels and models are data wherever they are
//! shown: pages encode them, run no scripts, load nothing and stand in no frame. What is posted to a page carries a
//! token of the person who was shown it, for an hour or two; where several processes serve one host, they need the same
//! [`csrf_key`](Surface::csrf_key). A body may have 64 KiB and 10 s. Connections, TLS and their limits are the host's.
//!
//! ```no_run
//! use std::sync::Arc;
//! use aiops_core::MemoryIncidentLog;
//! use aiops_remediate::server::{Access, Authoriser, Denied, Person, Surface, axum};
//! use aiops_remediate::{ActionCatalogue, Dispatcher, MemoryStore, Policy};
//! # #[derive(Debug)] struct Staff;
//! # #[async_trait::async_trait]
//! # impl Authoriser for Staff {
//! #     async fn authorise(&self, _: &axum::http::request::Parts, _: Access) -> Result<Person, Denied> {
//! #         Ok(Person::new("ada"))
//! #     }
//! # }
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (store, log) = (Arc::new(MemoryStore::default()), Arc::new(MemoryIncidentLog::default()));
//! let catalogue = ActionCatalogue::from_yaml_file("actions.yaml")?;
//! let dispatcher = Dispatcher::builder(catalogue, Policy::default()).store(Arc::clone(&store)).build()?;
//! let dispatcher = Arc::new(dispatcher); // also the pipeline's responder
//! let router = Surface::new(dispatcher, store, log, Staff).router()?;
//! let app: axum::Router = axum::Router::new().nest("/aiops", router);
//! # let _ = app; Ok(()) }
//! ```

mod authorise;
mod decide;
mod desk;
mod gate;
mod health;
mod incidents;
mod openapi;
mod page;
mod review;
mod switch;

use std::fmt;
use std::sync::Arc;

use aiops_core::{Clock, IncidentLog, Live, Redactor, SystemClock};
pub use axum;
use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, get, post};

pub use self::authorise::{Access, Authoriser, Denied, Person};
use self::desk::Desk;
pub use self::desk::{AuditFiles, ReviewSource};
use self::gate::{Problem, dressed};
use self::health::Readiness;
pub use self::page::SeriesReader;
use self::page::Tokens;
use crate::audit::AuditLog;
use crate::catalogue::ActionCatalogue;
use crate::dispatcher::Dispatcher;
use crate::store::RemediationStore;

/// Bytes of a body: a decision with its reason, a verdict with its note.
const MAX_BODY: usize = 64 * 1024;
/// Shorter keys are guessed.
const SHORTEST_KEY: usize = 16;

/// A surface that cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SurfaceError {
    /// The key is too short.
    #[error("the csrf key is shorter than {SHORTEST_KEY} bytes")]
    ShortKey,
    /// No key was given, and the system gave no random bytes for one.
    #[error("the system gave no random bytes for a csrf key")]
    NoRandom {
        /// Why.
        #[source]
        source: aiops_core::BoxError,
    },
}

/// What is served, put together. See the [module](self).
#[must_use]
pub struct Surface {
    inner: Inner,
    key: Option<Vec<u8>>,
}

/// What every route has.
struct Inner {
    dispatcher: Arc<Dispatcher>,
    store: Arc<dyn RemediationStore>,
    incidents: Arc<dyn IncidentLog>,
    authoriser: Arc<dyn Authoriser>,
    clock: Arc<dyn Clock>,
    desk: Option<Desk>,
    series: Option<Arc<dyn SeriesReader>>,
    catalogue: Option<Live<ActionCatalogue>>,
    max_body: usize,
    tokens: Tokens,
    readiness: Readiness,
    /// The OpenAPI document.
    description: Bytes,
}

type Shared = Arc<Inner>;

impl fmt::Debug for Surface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surface").field("authoriser", &self.inner.authoriser).finish_non_exhaustive()
    }
}

impl Surface {
    /// A surface of this dispatcher, with the store that it was built with, the log that the pipeline's stages append
    /// to, and the host's word on who may do what.
    pub fn new(
        dispatcher: Arc<Dispatcher>,
        store: impl RemediationStore,
        incidents: impl IncidentLog,
        authoriser: impl Authoriser,
    ) -> Self {
        let inner = Inner {
            dispatcher,
            store: Arc::new(store),
            incidents: Arc::new(incidents),
            authoriser: Arc::new(authoriser),
            clock: Arc::new(SystemClock),
            desk: None,
            series: None,
            catalogue: None,
            max_body: MAX_BODY,
            tokens: Tokens::default(),
            readiness: Readiness::default(),
            description: Bytes::from(openapi::document().to_string()),
        };
        Self { inner, key: None }
    }

    /// The weekly review: where the audit is read from, and where verdicts are written to. Without it there are no
    /// verdicts.
    pub fn review(self, source: impl ReviewSource, audit: impl AuditLog) -> Self {
        self.review_redacted(source, audit, Redactor::default())
    }

    /// As [`review`](Self::review); notes of verdicts pass through the host's own redactor.
    pub fn review_redacted(mut self, source: impl ReviewSource, audit: impl AuditLog, redactor: Redactor) -> Self {
        self.inner.desk = Some(Desk::new(source, audit, redactor));
        self
    }

    /// Where the samples of an event's series are read, for its picture; without it the picture shows the values of
    /// the events themselves.
    pub fn series(mut self, reader: impl SeriesReader) -> Self {
        self.inner.series = Some(Arc::new(reader));
        self
    }

    /// Where owners and runbooks of actions are looked up.
    pub fn catalogue(mut self, catalogue: impl Into<Live<ActionCatalogue>>) -> Self {
        self.inner.catalogue = Some(catalogue.into());
        self
    }

    /// The key of the tokens in forms, at least 16 bytes; drawn at random unless set.
    pub fn csrf_key(mut self, key: impl Into<Vec<u8>>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Bytes of a body at the most; 64 KiB unless set.
    pub fn max_body(mut self, bytes: usize) -> Self {
        self.inner.max_body = bytes;
        self
    }

    /// Another clock than the system's; the dispatcher's own.
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.inner.clock = Arc::new(clock);
        self
    }

    /// The router, to be nested.
    ///
    /// # Errors
    /// A key that is too short, or no random bytes for one.
    pub fn router(mut self) -> Result<Router, SurfaceError> {
        let key = match self.key.take() {
            Some(key) if key.len() < SHORTEST_KEY => return Err(SurfaceError::ShortKey),
            Some(key) => key,
            None => {
                let mut key = vec![0; 32];
                getrandom::fill(&mut key).map_err(|error| SurfaceError::NoRandom { source: error.into() })?;
                key
            }
        };
        self.inner.tokens = Tokens::new(key);
        let inner: Shared = Arc::new(self.inner);
        let mut router = Router::new();
        for (path, methods) in routes() {
            router = router.route(path, methods.fallback(other_method));
        }
        let router = router.fallback(no_route).layer(from_fn_with_state(Arc::clone(&inner), dressed));
        Ok(router.with_state(inner))
    }
}

/// Every path with what it takes.
fn routes() -> Vec<(&'static str, MethodRouter<Shared>)> {
    vec![
        ("/health", get(health::health)),
        ("/ready", get(health::ready)),
        ("/openapi.json", get(openapi::serve)),
        ("/v1/approvals", get(decide::list)),
        ("/v1/approvals/{id}", get(decide::show)),
        ("/v1/approvals/{id}/approve", post(decide::approve)),
        ("/v1/approvals/{id}/reject", post(decide::reject)),
        ("/v1/incidents", get(incidents::list)),
        ("/v1/incidents/{id}", get(incidents::show)),
        ("/v1/review", get(review::show)),
        ("/v1/review/{number}/verdict", post(review::judge)),
        ("/v1/kill-switch", get(switch::show).put(switch::set)),
        ("/page", get(page::index)),
        ("/page/style.css", get(page::style)),
        ("/page/kill-switch", post(page::set_switch)),
        ("/page/incidents/{id}", get(page::incident)),
        ("/page/approvals/{id}", get(page::approval).post(page::decide)),
        ("/page/review", get(page::review)),
        ("/page/review/{number}", post(page::judge)),
    ]
}

async fn no_route() -> Problem {
    Problem::not_found("page")
}

async fn other_method() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method", "this method is not taken here")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every route of the API is described, and nothing else.
    #[test]
    fn the_description_names_every_route() {
        let described = openapi::document();
        let described = described["paths"].as_object().unwrap();
        let mut routes: Vec<&str> = routes().into_iter().map(|(path, _)| path).collect();
        routes.retain(|path| !path.starts_with("/page"));
        let mut described: Vec<&str> = described.keys().map(String::as_str).collect();
        routes.sort_unstable();
        described.sort_unstable();
        assert_eq!(routes, described);
    }
}
