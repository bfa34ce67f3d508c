//! A service of a team that has the whole of aiops in its own process: its own routes, its own login, Alertmanager's
//! webhook, and the pages where people approve.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aiops_core::{BoxError, Clock, Confidence, LogNotifier, MemoryIncidentLog, Pipeline, TriageReport, triager_fn};
use aiops_detectors::server::{AlertIntake, BearerToken};
use aiops_remediate::server::{Access, Authoriser, Denied, Person, Surface};
use aiops_remediate::sim::{Cluster, Deployment};
use aiops_remediate::{
    ActionCatalogue, Approval, ApprovalAuthoriser, Dispatcher, MemoryAudit, MemoryStore, Mode, Policy,
};
use async_trait::async_trait;
use axum::Router;
use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::get;
use jiff::Timestamp;

const CATALOGUE: &str = "
actions:
  - {name: restart_pod, owner: team-shop, blast_radius: pod, requires_approval: true, cooldown: 10m}
";

/// The host's people: a secret each. A real service has sessions; what counts is that it is the service's own.
#[derive(Clone)]
pub struct Staff {
    by_secret: Arc<BTreeMap<String, String>>,
    on_call: String,
}

impl fmt::Debug for Staff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Staff").field("on_call", &self.on_call).finish_non_exhaustive()
    }
}

impl Staff {
    /// Names and secrets; the first one is on call, and alone may approve and stop.
    #[must_use]
    pub fn new(people: &[(String, String)]) -> Self {
        let by_secret = people.iter().map(|(name, secret)| (secret.clone(), name.clone())).collect();
        let on_call = people.first().map(|(name, _)| name.clone()).unwrap_or_default();
        Self { by_secret: Arc::new(by_secret), on_call }
    }

    fn who(&self, headers: &HeaderMap) -> Option<&str> {
        let cookies = headers.get(header::COOKIE)?.to_str().ok()?;
        let secret = cookies.split(';').find_map(|cookie| cookie.trim().strip_prefix("session="))?;
        self.by_secret.get(secret).map(String::as_str)
    }
}

/// Who may see and do what on the pages.
#[async_trait]
impl Authoriser for Staff {
    async fn authorise(&self, request: &Parts, access: Access) -> Result<Person, Denied> {
        let name = self.who(&request.headers).ok_or(Denied::Unauthenticated)?;
        match access {
            Access::Read | Access::Judge => Ok(Person::new(name)),
            _ if name == self.on_call => Ok(Person::new(name)),
            _ => Err(Denied::Forbidden),
        }
    }
}

/// Who may approve which action: asked by the dispatcher, wherever the word comes from.
#[async_trait]
impl ApprovalAuthoriser for Staff {
    async fn authorise(&self, who: &str, _: &Approval, _: Timestamp) -> Result<(), BoxError> {
        if who == self.on_call { Ok(()) } else { Err(format!("{} is on call", self.on_call).into()) }
    }
}

/// The service, put together: what is served, and what runs beside it.
#[derive(Debug)]
pub struct Embedded {
    /// The service's routes, with `/intake/alertmanager` and `/aiops` among them.
    pub app: Router,
    /// The pipeline, to be run in the same process.
    pub pipeline: Pipeline,
    /// The cluster that is acted on: a simulated one, so that nothing real is touched.
    pub cluster: Cluster,
    /// The dispatcher, which is the pipeline's responder.
    pub dispatcher: Arc<Dispatcher>,
    /// The timeline of incidents.
    pub incidents: Arc<MemoryIncidentLog>,
}

/// Puts the service together. Alertmanager sends `intake_token`; time comes from the clock.
///
/// # Errors
/// What is wrong with a part, as its builder says it.
pub fn embedded(staff: &Staff, intake_token: &str, clock: impl Clock + Clone) -> Result<Embedded, BoxError> {
    let cluster =
        Cluster::new(clock.clone()).node("n1").node("n2").deployment(Deployment::new("shop", "cart", 3), "v1");
    let (store, audit) = (Arc::new(MemoryStore::default()), Arc::new(MemoryAudit::default()));
    let incidents = Arc::new(MemoryIncidentLog::default());
    let catalogue = ActionCatalogue::from_yaml(CATALOGUE, "actions.yaml")?;
    let mut dispatcher = Dispatcher::builder(catalogue.clone(), Policy::default().mode(Mode::Active))
        .store(Arc::clone(&store))
        .audit(Arc::clone(&audit))
        .authoriser(staff.clone())
        .with_clock(clock.clone());
    for handler in cluster.handlers() {
        dispatcher = dispatcher.handler(handler);
    }
    let dispatcher = Arc::new(dispatcher.build()?);

    // The team's own rule, in place of a model: who hangs is restarted.
    let confidence = Confidence::new(0.9)?;
    let triager = triager_fn("house rules", move |request| async move {
        let cause = format!("{} does not answer its probes", request.event.service);
        let report = TriageReport::new(request.event.explain()).likely_causes([cause]).confidence(confidence);
        Ok(report.recommended_actions(["restart_pod"]).needs_human(false))
    });
    let pipeline = Pipeline::builder()
        .intake(1_000)
        .notify(LogNotifier)
        .triager(triager)
        .responder(Arc::clone(&dispatcher))
        .incident_log(Arc::clone(&incidents))
        .with_clock(clock.clone())
        .build()?;

    let alerts = AlertIntake::new(pipeline.intake(), BearerToken::new(intake_token)).with_clock(clock.clone());
    let surface = Surface::new(Arc::clone(&dispatcher), store, Arc::clone(&incidents), staff.clone())
        .review(Arc::clone(&audit), audit)
        .catalogue(catalogue)
        .with_clock(clock);
    let app = Router::new()
        .route("/", get(async || "the shop's own page"))
        .route("/login", get(form).post(login))
        .with_state(staff.clone())
        .nest("/intake", alerts.router())
        .nest("/aiops", surface.router()?);
    Ok(Embedded { app, pipeline, cluster, dispatcher, incidents })
}

/// How long a person stays logged in.
const SESSION: Duration = Duration::from_secs(8 * 3_600);

async fn form() -> Html<&'static str> {
    Html(
        "<!doctype html><html lang=\"en\"><title>Login</title><form method=\"post\"><label>Secret \
         <input type=\"password\" name=\"secret\" autocomplete=\"current-password\"></label><button>Log in</button></form>",
    )
}

async fn login(State(staff): State<Staff>, body: String) -> Response {
    // Secrets of this example are letters and digits: nothing in them is encoded.
    let secret = body.strip_prefix("secret=").unwrap_or_default();
    if !staff.by_secret.contains_key(secret) {
        return (StatusCode::UNAUTHORIZED, "nobody has this secret").into_response();
    }
    let cookie = format!("session={secret}; Max-Age={}; Path=/; HttpOnly; SameSite=Strict", SESSION.as_secs());
    ([(header::SET_COOKIE, cookie)], Redirect::to("/aiops/page")).into_response()
}
