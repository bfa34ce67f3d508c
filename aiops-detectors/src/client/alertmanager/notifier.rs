//! The channel to people by way of Alertmanager, and what keeps its alerts open.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use aiops_core::time::plus;
use aiops_core::{
    CancellationToken, Clock, IncidentId, Notice, NoticeKind, Notifier, NotifyError, Receipt, StateError, StateStore,
    SystemClock, error_chain,
};
use async_trait::async_trait;
use tokio::sync::Mutex;

use super::open::{Kept, OpenAlert};
use super::{Alertmanager, PostedAlert};
use crate::client::error::ClientError;
use crate::source::Labels;

const DEFAULT_CHANNEL: &str = "alertmanager";
/// Prometheus' own alerts last as long: four of its resends.
const DEFAULT_HOLD: Duration = Duration::from_secs(300);
/// Shorter than this an alert would expire between two resends of a busy host.
const SHORTEST_HOLD: Duration = Duration::from_secs(10);
/// Resends within the hold: all but one may fail before an alert expires.
const RESENDS: u32 = 5;
/// Without a notice for so long an alert is left to expire. The pipeline announces an incident that
/// goes on again each hour unless the host says otherwise.
const LONGEST_SILENCE: Duration = Duration::from_secs(24 * 3_600);
/// Incidents that are kept open; beyond it the one without a notice for longest is left to expire.
const MAX_OPEN: usize = 1_000;
/// Alerts in one request.
const AT_ONCE: usize = 200;

/// Builds an [`AlertmanagerNotifier`].
#[derive(Debug)]
#[must_use]
pub struct AlertmanagerNotifierBuilder {
    channel: String,
    parts: Parts,
}

#[derive(Debug)]
struct Parts {
    alertmanager: Alertmanager,
    labels: Labels,
    carried: Vec<String>,
    hold: Duration,
    clock: Arc<dyn Clock>,
    store: Option<Arc<dyn StateStore>>,
}

impl Alertmanager {
    /// A channel that opens, updates and resolves alerts here.
    pub fn notifier(&self) -> AlertmanagerNotifierBuilder {
        let parts = Parts {
            alertmanager: self.clone(),
            labels: Labels::new(),
            carried: Vec::new(),
            hold: DEFAULT_HOLD,
            clock: Arc::new(SystemClock),
            store: None,
        };
        AlertmanagerNotifierBuilder { channel: DEFAULT_CHANNEL.to_owned(), parts }
    }
}

impl AlertmanagerNotifierBuilder {
    /// The channel's name, where a pipeline has more than one of them; `alertmanager` unless set.
    pub fn channel(mut self, name: impl Into<String>) -> Self {
        self.channel = name.into();
        self
    }

    /// A label that every alert gets, for routes.
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.parts.labels.insert(name.into(), value.into());
        self
    }

    /// Labels of an incident's first event that its alert gets, for routes: `cluster`, `team`. Not
    /// those that change within an incident, such as `pod`.
    pub fn carry_labels(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.parts.carried = names.into_iter().map(Into::into).collect();
        self
    }

    /// How long an alert lasts that is not sent again; 5 minutes unless set, at least 10 s. It is
    /// sent again five times as often.
    pub fn hold(mut self, hold: Duration) -> Self {
        self.parts.hold = hold.max(SHORTEST_HOLD);
        self
    }

    /// Another clock than the system's.
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.parts.clock = Arc::new(clock);
        self
    }

    /// Where the open alerts outlive the process, so that they do not expire after a restart: the
    /// store that the pipeline has.
    pub fn state(mut self, store: impl StateStore) -> Self {
        self.parts.store = Some(Arc::new(store));
        self
    }

    /// The channel, and what keeps its alerts open.
    pub fn build(self) -> (AlertmanagerNotifier, KeepAlertsOpen) {
        let Self { channel, parts } = self;
        let key = format!("aiops/{channel}/open");
        let shared = Arc::new(Shared { key, parts, book: Mutex::default() });
        let keep_open = KeepAlertsOpen { shared: Arc::<Shared>::clone(&shared) };
        (AlertmanagerNotifier { channel, shared }, keep_open)
    }
}

/// Opens one alert for each incident, updates its annotations, and resolves it.
///
/// The alert's labels are `alertname`, `service` and `severity` as of the incident's first notice,
/// `aiops_kind` and `aiops_incident_id`. They stay the same, so that an announcement, an escalation
/// and the resolve are one alert that opens once and resolves once. Only a rise of the severity
/// changes a label: the alert of the lower one ends in the request that opens that of the higher one,
/// since routes go by it. Grouped by `aiops_incident_id`, both are one page.
///
/// An alert expires by itself unless it is sent again before. [`KeepAlertsOpen`] does that until the
/// incident resolves; the host runs it beside the pipeline, and may stop both together.
///
/// ```no_run
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// use aiops_core::{CancellationToken, FileStateStore, Pipeline};
/// use aiops_detectors::client::{Alertmanager, Endpoint, reqwest};
/// # async fn run(detector: impl aiops_core::Detector) -> Result<(), Box<dyn std::error::Error>> {
/// // A pipeline gives each of its channels 10 s.
/// let endpoint = Endpoint::new("http://alertmanager:9093", reqwest::Client::new())?.deadline(Duration::from_secs(5));
/// let store = Arc::new(FileStateStore::open("state")?);
/// let (notifier, keep_open) = Alertmanager::new(endpoint)
///     .notifier()
///     .carry_labels(["cluster", "team"])
///     .state(store.clone())
///     .build();
/// let pipeline = Pipeline::builder().detector(detector).notify(notifier).state(store).build()?;
///
/// let shutdown = CancellationToken::new();
/// let (ended, ()) = tokio::join!(pipeline.run(shutdown.clone()), keep_open.run(shutdown));
/// ended?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct AlertmanagerNotifier {
    channel: String,
    shared: Arc<Shared>,
}

/// Sends the open alerts of an [`AlertmanagerNotifier`] again before they expire.
#[derive(Debug)]
#[must_use = "alerts expire within minutes unless this runs"]
pub struct KeepAlertsOpen {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    key: String,
    parts: Parts,
    /// Held while a request is under way: a resend that overtook a resolve would open the alert again.
    book: Mutex<Book>,
}

/// The open alerts as they are stored.
#[derive(Debug, Default)]
struct Book {
    open: BTreeMap<IncidentId, OpenAlert>,
    version: u64,
    /// Whether what was stored is known; nothing is stored over it before.
    loaded: bool,
    /// Incidents that ended before it was: they do not come back with it.
    ended: BTreeSet<IncidentId>,
}

impl Book {
    /// Whether it was open.
    fn remove(&mut self, incident: &IncidentId) -> bool {
        if !self.loaded && self.ended.len() < MAX_OPEN {
            self.ended.insert(incident.clone());
        }
        self.open.remove(incident).is_some()
    }

    fn insert(&mut self, incident: &IncidentId, alert: OpenAlert) {
        self.ended.remove(incident);
        self.open.insert(incident.clone(), alert);
        if self.open.len() > MAX_OPEN {
            let oldest = self.open.iter().min_by_key(|(_, alert)| alert.noticed_at).map(|(id, _)| id.clone());
            if let Some(oldest) = oldest {
                self.open.remove(&oldest);
                forgotten("bound", 1);
            }
        }
    }
}

fn forgotten(why: &'static str, count: usize) {
    metrics::counter!("aiops_alertmanager_forgotten_total", "why" => why)
        .increment(u64::try_from(count).unwrap_or(u64::MAX));
}

impl KeepAlertsOpen {
    /// Sends them at once, and then five times within their hold, until shutdown. A failure is
    /// counted, logged, and met by the next turn.
    pub async fn run(self, shutdown: CancellationToken) {
        let clock = Arc::<dyn Clock>::clone(&self.shared.parts.clock);
        loop {
            if let Err(error) = self.resend().await {
                tracing::warn!(error = error_chain(&error), "open alerts were not sent again");
            }
            let next = plus(clock.now(), self.shared.parts.hold / RESENDS);
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = clock.sleep_until(next) => {}
            }
        }
    }

    /// Sends the open alerts once more, for a host with a timer of its own; says how many they are.
    ///
    /// # Errors
    /// [`ClientError`]: some of them were not taken.
    pub async fn resend(&self) -> Result<usize, ClientError> {
        let Shared { parts, .. } = &*self.shared;
        let mut book = self.shared.book.lock().await;
        self.shared.load(&mut book).await;
        let now = parts.clock.now();
        let before = book.open.len();
        book.open.retain(|_, alert| now < plus(alert.noticed_at, LONGEST_SILENCE));
        if book.open.len() < before {
            forgotten("silence", before - book.open.len());
            self.shared.save(&mut book).await;
        }
        let alerts: Vec<PostedAlert> = book.open.values().map(|alert| alert.firing(now, parts.hold)).collect();
        for some in alerts.chunks(AT_ONCE) {
            parts.alertmanager.post(some).await?;
        }
        Ok(alerts.len())
    }
}

impl Shared {
    /// Takes in what was stored, once; what is known by then is newer. A store that is down costs no
    /// notice; it is asked again at the next.
    async fn load(&self, book: &mut Book) {
        let Some(store) = self.parts.store.as_ref().filter(|_| !book.loaded) else { return };
        let loaded = match store.load(&self.key).await {
            Ok(None) => Ok((BTreeMap::new(), 0)),
            Ok(Some(found)) => serde_json::from_slice(&found.bytes)
                .map(|open| (open, found.version))
                .map_err(|error| StateError::Corrupt { key: self.key.clone(), source: error.into() }),
            Err(error) => Err(error),
        };
        match loaded {
            Ok((open, version)) => {
                let newer = std::mem::replace(&mut book.open, open);
                book.open.extend(newer);
                let ended = std::mem::take(&mut book.ended);
                book.open.retain(|incident, _| !ended.contains(incident));
                (book.version, book.loaded) = (version, true);
            }
            Err(error) => self.state_failed("load", &error),
        }
    }

    /// Stores what is open. One process works on one key: another version is this one's own, of
    /// before a restart.
    async fn save(&self, book: &mut Book) {
        let Some(store) = self.parts.store.as_ref().filter(|_| book.loaded) else { return };
        let Ok(bytes) = serde_json::to_vec(&book.open) else { return };
        let mut saved = store.save(&self.key, bytes.clone(), book.version).await;
        if let Err(StateError::Conflict { found, .. }) = saved {
            saved = store.save(&self.key, bytes, found).await;
        }
        match saved {
            Ok(version) => book.version = version,
            Err(error) => self.state_failed("save", &error),
        }
    }

    fn state_failed(&self, doing: &'static str, error: &StateError) {
        metrics::counter!("aiops_alertmanager_state_failed_total", "doing" => doing).increment(1);
        tracing::warn!(key = self.key, error = error_chain(error), "open alerts: the store failed");
    }

    async fn notify(&self, notice: &Notice, previous: Option<Kept>) -> Result<Kept, ClientError> {
        let Parts { alertmanager, labels, carried, hold, clock, .. } = &self.parts;
        let incident = &notice.incident_id;
        let mut book = self.book.lock().await;
        self.load(&mut book).await;
        let now = clock.now();
        let ended = previous.as_ref().is_some_and(|kept| kept.open.is_none());
        let known = book.open.get(incident).cloned().or_else(|| previous.and_then(|kept| kept.open));
        let opened = || OpenAlert::new(notice, labels, carried, now);
        match &notice.kind {
            NoticeKind::Resolved => {
                // First, so that it expires even if this request fails.
                if book.remove(incident) {
                    self.save(&mut book).await;
                }
                let mut alert = known.unwrap_or_else(opened);
                alert.note(notice, now);
                alertmanager.post(&[alert.ended(now)]).await?;
                return Ok(Kept { open: None });
            }
            // News of what is over, a report that came late, opens nothing; nor does what was held back.
            NoticeKind::Updated { .. } if ended && known.is_none() => return Ok(Kept { open: None }),
            NoticeKind::Suppressed { .. } if known.is_none() => return Ok(Kept { open: None }),
            _ => {}
        }
        let mut alert = known.unwrap_or_else(opened);
        let mut posts = Vec::with_capacity(2);
        if let Some(risen) = alert.risen(notice.severity()) {
            posts.push(alert.ended(now));
            alert = risen;
        }
        alert.note(notice, now);
        posts.push(alert.firing(now, *hold));
        alertmanager.post(&posts).await?;
        book.insert(incident, alert.clone());
        self.save(&mut book).await;
        // A pipeline keeps a thousand receipts in one value: the labels are what must not change.
        alert.annotations.clear();
        Ok(Kept { open: Some(alert) })
    }
}

#[async_trait]
impl Notifier for AlertmanagerNotifier {
    fn channel(&self) -> &str {
        &self.channel
    }

    async fn notify(&self, notice: &Notice, previous: Option<&Receipt>) -> Result<Receipt, NotifyError> {
        // A receipt that does not read is as good as none: what is kept open is known by itself.
        let previous = previous.and_then(|receipt| serde_json::from_value(receipt.value().clone()).ok());
        match self.shared.notify(notice, previous).await {
            Ok(kept) => Ok(serde_json::to_value(kept).map(Receipt::new).unwrap_or_default()),
            Err(error) if error.is_retryable() => Err(NotifyError::retryable(&self.channel, error)),
            Err(error) => Err(NotifyError::permanent(&self.channel, error)),
        }
    }
}
