//! Alertmanager, by its API v2: the alerts that it holds, and a channel that opens, updates and
//! resolves one alert for each incident.

mod context;
mod notifier;
mod open;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::context::AlertmanagerAlerts;
pub use self::notifier::{AlertmanagerNotifier, AlertmanagerNotifierBuilder, KeepAlertsOpen};
use super::endpoint::{Call, Endpoint};
use super::error::{ClientError, ClientErrorKind, shape};
use crate::source::Labels;

const SYSTEM: &str = "alertmanager";
const ALERTS: &str = "/api/v2/alerts";

/// What Alertmanager does with an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum AlertmanagerState {
    /// It was not looked at yet.
    Unprocessed,
    /// It is told to its receivers.
    Active,
    /// A silence or another alert holds it.
    Suppressed,
}

/// An alert that fires.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct AlertmanagerAlert {
    /// Its labels, `alertname` among them.
    pub labels: Labels,
    /// Its annotations: text for people.
    pub annotations: BTreeMap<String, String>,
    /// What is done with it.
    pub state: AlertmanagerState,
    /// The silences that hold it, by their ids.
    pub silenced_by: Vec<String>,
    /// The alerts that hold it, by their fingerprints.
    pub inhibited_by: Vec<String>,
    /// Since when.
    pub starts_at: Timestamp,
    /// When it ends unless it is sent again.
    pub ends_at: Timestamp,
    /// Alertmanager's own fingerprint of the labels: 16 hex digits.
    pub fingerprint: String,
    /// Who is told.
    pub receivers: Vec<String>,
}

/// One element of the list of `GET /api/v2/alerts`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AlertBody {
    labels: Labels,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    status: StatusBody,
    starts_at: Timestamp,
    ends_at: Timestamp,
    fingerprint: String,
    #[serde(default)]
    receivers: Vec<ReceiverBody>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StatusBody {
    state: AlertmanagerState,
    #[serde(default)]
    silenced_by: Vec<String>,
    #[serde(default)]
    inhibited_by: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct ReceiverBody {
    name: String,
}

/// One alert as it is posted.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct PostedAlert {
    labels: Labels,
    annotations: BTreeMap<String, String>,
    starts_at: Timestamp,
    ends_at: Timestamp,
}

/// A client of one Alertmanager, API v2. Cheap to clone.
///
/// ```no_run
/// use aiops_detectors::client::{Alertmanager, Endpoint, reqwest};
///
/// # async fn read() -> Result<(), Box<dyn std::error::Error>> {
/// let alertmanager = Alertmanager::new(Endpoint::new("http://alertmanager:9093", reqwest::Client::new())?);
/// for alert in alertmanager.alerts(&["severity=\"critical\""]).await? {
///     println!("{:?} since {}: {:?}", alert.labels, alert.starts_at, alert.state);
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Alertmanager {
    endpoint: Endpoint,
}

impl Alertmanager {
    /// A client of the server at this endpoint, with its route prefix if it has one.
    #[must_use]
    pub fn new(endpoint: Endpoint) -> Self {
        Self { endpoint }
    }

    /// The alerts that fire now, silenced and inhibited ones too, of those that meet all matchers
    /// (`service=~"cart|web"`).
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn alerts(&self, matchers: &[&str]) -> Result<Vec<AlertmanagerAlert>, ClientError> {
        let call = call("alerts");
        let form: Vec<(&str, &str)> = matchers.iter().map(|matcher| ("filter", *matcher)).collect();
        AlertmanagerAlert::from_list_body(&self.endpoint.read(&call, ALERTS, &form).await?)
    }

    /// Opens, updates and ends alerts. May be sent twice: the same labels are the same alert.
    async fn post(&self, alerts: &[PostedAlert]) -> Result<(), ClientError> {
        let call = call("post_alerts");
        let body = serde_json::to_string(alerts)
            .map_err(|error| call.error(ClientErrorKind::Malformed, "the alerts cannot be written").caused_by(error))?;
        self.endpoint.post(&call, ALERTS, &body).await.map(drop)
    }
}

impl AlertmanagerAlert {
    /// Reads the body of an answer of `GET /api/v2/alerts` that was recorded, or came by another way.
    ///
    /// # Errors
    /// [`ClientError`], as [`Alertmanager::alerts`] gives it for such an answer of status 200.
    pub fn from_list_body(body: &[u8]) -> Result<Vec<Self>, ClientError> {
        let malformed = |error| call("alerts").error(ClientErrorKind::Malformed, &shape(&error));
        let alerts: Vec<AlertBody> = serde_json::from_slice(body).map_err(malformed)?;
        Ok(alerts.into_iter().map(Self::from).collect())
    }
}

impl From<AlertBody> for AlertmanagerAlert {
    fn from(body: AlertBody) -> Self {
        let AlertBody { labels, annotations, status, starts_at, ends_at, fingerprint, receivers } = body;
        let StatusBody { state, silenced_by, inhibited_by } = status;
        let receivers = receivers.into_iter().map(|receiver| receiver.name).collect();
        Self { labels, annotations, state, silenced_by, inhibited_by, starts_at, ends_at, fingerprint, receivers }
    }
}

fn call(name: &'static str) -> Call {
    Call { system: SYSTEM, name, refusal }
}

/// The error in an answer other than 2xx; its body is a text as JSON.
fn refusal(call: &Call, status: u16, body: &str) -> ClientError {
    // Of a body that is not Alertmanager's own nothing is shown: it may hold anything.
    let text: String = serde_json::from_str(body).unwrap_or_default();
    call.error(ClientErrorKind::of_status(status), &text).status(status)
}
