//! What all stages share: clock, channels, state, incident log, observer.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::objectives::Objectives;
use crate::clock::{Clock, SystemClock};
use crate::error::error_chain;
use crate::incident_log::{IncidentLog, IncidentRecord, MemoryIncidentLog};
use crate::notify::{Fanout, NOTIFY_DEADLINE, Notice, NoticeDelivery, Notifier};
use crate::observer::{Blind, Observer, PipelineEvent, tell};
use crate::plugin::guarded;
use crate::store::{StateError, StateStore};
use crate::time::plus;

/// A store that takes longer is as good as down.
const STORE_DEADLINE: Duration = Duration::from_secs(5);

/// What all stages of a process share.
///
/// ```
/// use aiops_core::{LogNotifier, StageParts};
/// let parts = StageParts::builder().notify(LogNotifier).build();
/// ```
#[derive(Debug)]
pub struct StageParts {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) saved: Option<Arc<Saved>>,
    fanout: Fanout,
    log: Arc<dyn IncidentLog>,
    observer: Arc<dyn Observer>,
    pub(super) objectives: Objectives,
}

/// Builds [`StageParts`].
#[derive(Debug, Clone)]
#[must_use]
pub struct StagePartsBuilder {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) channels: Vec<Arc<dyn Notifier>>,
    delivery: NoticeDelivery,
    notify_deadline: Duration,
    state: Option<Arc<dyn StateStore>>,
    replica: Option<String>,
    log: Arc<dyn IncidentLog>,
    observer: Arc<dyn Observer>,
    objectives: Objectives,
}

impl StageParts {
    /// The system's clock, no channel, no saved state, the incident log in memory.
    pub fn builder() -> StagePartsBuilder {
        StagePartsBuilder {
            clock: Arc::new(SystemClock),
            channels: Vec::new(),
            delivery: NoticeDelivery::default(),
            notify_deadline: NOTIFY_DEADLINE,
            state: None,
            replica: None,
            log: Arc::new(MemoryIncidentLog::default()),
            observer: Arc::new(Blind),
            objectives: Objectives::default(),
        }
    }

    /// The incident log.
    #[must_use]
    pub fn incident_log(&self) -> &Arc<dyn IncidentLog> {
        &self.log
    }

    pub(crate) fn fanout(&self) -> &Fanout {
        &self.fanout
    }

    /// Sends one notice; it waits for channels, never beyond their deadlines.
    /// Tells people; whether they were, or are being told. What no channel took is tried again.
    pub(crate) async fn notify(&self, notice: Notice) -> bool {
        self.fanout.send(notice, self).await
    }

    pub(crate) fn tell(&self, event: &PipelineEvent<'_>) {
        tell(&*self.observer, event);
    }

    /// Adds a line to the incident log; a log that fails stops nothing.
    pub(crate) async fn append(&self, record: IncidentRecord) {
        let deadline = plus(self.clock.now(), STORE_DEADLINE);
        let error = match guarded(&*self.clock, deadline, async { self.log.append(record).await }).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error_chain(&error),
            Err(fault) => fault.to_string(),
        };
        tracing::warn!(error, "incident log took no record");
        metrics::counter!("aiops_incident_log_failed_total").increment(1);
    }
}

impl StagePartsBuilder {
    /// Adds a channel, behind those given before.
    pub fn notify(mut self, channel: impl Notifier) -> Self {
        self.channels.push(Arc::new(channel));
        self
    }

    /// Which channels get a notice (default: the first that takes it).
    pub fn notice_delivery(mut self, delivery: NoticeDelivery) -> Self {
        self.delivery = delivery;
        self
    }

    /// How long one channel may take (default 10 s).
    pub fn notify_deadline(mut self, deadline: Duration) -> Self {
        self.notify_deadline = deadline;
        self
    }

    /// Where episodes, receipts and what waits outlive the process. One process at a time may work on
    /// one store, unless each has a [`replica`](Self::replica) name. Without a store a restart announces
    /// again what still fires.
    pub fn state(mut self, store: impl StateStore) -> Self {
        self.state = Some(Arc::new(store));
        self
    }

    /// Several processes work on one store at a time, and this one has a name of its own among them: the
    /// pod's, say. What one of them announced or triaged, none of the others does again. A process that
    /// comes back under its name goes on at once with what it had under way. Without a
    /// [`state`](Self::state) it has no effect.
    pub fn replica(mut self, name: impl Into<String>) -> Self {
        self.replica = Some(name.into());
        self
    }

    pub(crate) fn shares_nothing(&self) -> bool {
        self.replica.is_some() && self.state.is_none()
    }

    /// Where the timeline of incidents is kept (default: in memory, 1,000 incidents).
    pub fn incident_log(mut self, log: impl IncidentLog) -> Self {
        self.log = Arc::new(log);
        self
    }

    /// Sees every step.
    pub fn observe(mut self, observer: impl Observer) -> Self {
        self.observer = Arc::new(observer);
        self
    }

    /// What the stages are held to, in their metrics.
    pub fn objectives(mut self, objectives: Objectives) -> Self {
        self.objectives = objectives;
        self
    }

    /// Another clock.
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// The parts.
    #[must_use]
    pub fn build(self) -> Arc<StageParts> {
        let replica = self.replica;
        let saved = self.state.map(|store| Arc::new(Saved { store, clock: Arc::clone(&self.clock), replica }));
        let fanout = Fanout::new(self.channels, self.delivery, self.notify_deadline, saved.clone());
        let Self { clock, log, observer, objectives, .. } = self;
        Arc::new(StageParts { clock, saved, fanout, log, observer, objectives })
    }
}

/// A state store behind a deadline, with values as JSON; failures are counted here.
#[derive(Debug)]
pub(crate) struct Saved {
    store: Arc<dyn StateStore>,
    clock: Arc<dyn Clock>,
    replica: Option<String>,
}

impl Saved {
    /// The name of this process among several that work on the store.
    pub(crate) fn replica(&self) -> Option<&str> {
        self.replica.as_deref()
    }

    /// The value and its version.
    pub(crate) async fn load<T: DeserializeOwned>(&self, key: &str) -> Result<Option<(T, u64)>, StateError> {
        let Some((bytes, version)) = self.load_bytes(key).await? else { return Ok(None) };
        let value = serde_json::from_slice(&bytes)
            .map_err(|source| StateError::Corrupt { key: key.to_owned(), source: Box::new(source) })?;
        Ok(Some((value, version)))
    }

    /// The bytes and their version.
    pub(crate) async fn load_bytes(&self, key: &str) -> Result<Option<(Vec<u8>, u64)>, StateError> {
        let found = self.timed("load", key, self.store.load(key)).await?;
        Ok(found.map(|found| (found.bytes, found.version)))
    }

    /// Saves over version `expected`; the new version.
    pub(crate) async fn save<T: Serialize>(&self, key: &str, value: &T, expected: u64) -> Result<u64, StateError> {
        let bytes = serde_json::to_vec(value)
            .map_err(|source| StateError::Corrupt { key: key.to_owned(), source: Box::new(source) })?;
        self.save_bytes(key, bytes, expected).await
    }

    /// Saves over version `expected`; the new version.
    pub(crate) async fn save_bytes(&self, key: &str, bytes: Vec<u8>, expected: u64) -> Result<u64, StateError> {
        self.timed("save", key, self.store.save(key, bytes, expected)).await
    }

    async fn timed<T>(
        &self,
        doing: &'static str,
        key: &str,
        work: impl Future<Output = Result<T, StateError>> + Send,
    ) -> Result<T, StateError> {
        let deadline = plus(self.clock.now(), STORE_DEADLINE);
        let outcome = guarded(&*self.clock, deadline, work).await.unwrap_or_else(|fault| {
            Err(StateError::Unavailable { doing, key: key.to_owned(), source: Box::new(fault) })
        });
        // A lost race is what a replica expects.
        if let Err(error) = &outcome
            && !(self.replica.is_some() && matches!(error, StateError::Conflict { .. }))
        {
            tracing::error!(error = error_chain(error), "state store failed");
            metrics::counter!("aiops_state_failed_total", "doing" => doing).increment(1);
        }
        outcome
    }
}
