//! Incidents with their timelines.

use aiops_core::{Incident, IncidentId, IncidentQuery, IncidentState, ServiceName};
use axum::extract::{Request, State};
use schemars::JsonSchema;
use serde::Serialize;

use super::gate::{Answer, Problem, Segment, ok, segment};
use super::{Inner, Shared};

/// Incidents that one answer lists.
const MOST: usize = 200;
/// Unless asked for more.
const LISTED: usize = 50;

/// Incidents, the newest first.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct IncidentList {
    /// The incidents, each with its whole timeline.
    pub(super) incidents: Vec<Incident>,
}

impl Inner {
    pub(super) async fn incidents(&self, query: &IncidentQuery) -> Result<Vec<Incident>, Problem> {
        self.incidents.query(query).await.map_err(|error| {
            let error = aiops_core::error_chain(&error);
            tracing::warn!(error, "the incident log failed a request");
            Problem::unavailable("the incident log does not answer")
        })
    }

    pub(super) async fn incident(&self, id: &str) -> Result<Incident, Problem> {
        let found = self.incidents(&IncidentQuery::incident(IncidentId::new(id)).limit(1)).await?;
        found.into_iter().next().ok_or_else(|| Problem::not_found("incident"))
    }
}

/// The names and values of a query string.
pub(super) fn pairs(query: Option<&str>) -> Vec<(String, String)> {
    let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
}

fn wanted(query: Option<&str>) -> Result<IncidentQuery, Problem> {
    let mut wanted = IncidentQuery::default().limit(LISTED);
    for (name, value) in pairs(query) {
        match (name.as_str(), value.as_str()) {
            ("service", service) => {
                let mut services = wanted.services.take().unwrap_or_default();
                services.push(ServiceName::from(service));
                wanted.services = Some(services);
            }
            ("state", "open") => wanted.state = Some(IncidentState::Open),
            ("state", "resolved") => wanted.state = Some(IncidentState::Resolved),
            ("state", _) => return Err(Problem::malformed("state is open or resolved")),
            ("limit", number) => {
                let number = number.parse().ok().filter(|number| (1..=MOST).contains(number));
                wanted.limit = number.ok_or_else(|| Problem::malformed("limit is a number from 1 to 200"))?;
            }
            _ => {}
        }
    }
    Ok(wanted)
}

pub(super) async fn list(State(inner): State<Shared>, request: Request) -> Answer {
    let (_, parts) = inner.reader(request).await?;
    ok(&IncidentList { incidents: inner.incidents(&wanted(parts.uri.query())?).await? })
}

pub(super) async fn show(State(inner): State<Shared>, id: Segment, request: Request) -> Answer {
    inner.reader(request).await?;
    ok(&inner.incident(&segment(id, "incident")?).await?)
}
