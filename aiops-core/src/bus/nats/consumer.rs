//! One consumer: pulls messages, as many at once as it is fast.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::pull::Batch;
use async_nats::jetstream::{AckKind, Message};
use async_trait::async_trait;
use futures_util::StreamExt;
use jiff::Timestamp;

use super::group::{Entry, Group, Handle};
use super::server::NO_CONNECTION;
use crate::bus::network::{Trying, count, finished};
use crate::bus::prefetch::Prefetch;
use crate::bus::{BusError, Delivery, Envelope, Subscription};
use crate::error::BoxError;
use crate::plugin::{Boxed, now_or_never};
use crate::time::{human, plus, since};

/// How long one pull waits on the server.
const PULL: Duration = Duration::from_secs(5);
/// How often the connection is looked at.
const TICK: Duration = Duration::from_millis(500);
/// How often the gauges of a group are set.
const MEASURE_EVERY: Duration = Duration::from_secs(15);

pub(super) struct Consumer {
    group: Arc<Group>,
    /// Messages that are here.
    ready: VecDeque<Entry>,
    /// A message that no consumer may have, with the reason and its attempts.
    to_bury: Option<(Entry, String, u32)>,
    /// It is on its way to the dead letters, before what comes after it.
    burying: bool,
    prefetch: Prefetch,
    batch: Option<Batch>,
    /// Work on its way; kept when a caller of `next` gives up, so that nothing is lost with it.
    opening: Option<Boxed<'static, Result<Batch, BoxError>>>,
    tending: Option<Boxed<'static, Result<(), BoxError>>>,
    /// Not before.
    pull_at: Timestamp,
    opened_at: Timestamp,
    tick_at: Timestamp,
    measure_at: Timestamp,
    /// When this was last looked after.
    seen: Timestamp,
    connects: u64,
    /// A pull went wrong: the server may have lost the consumer.
    doubtful: bool,
    failing: Option<Trying>,
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { group, ready, .. } = self;
        f.debug_struct("Consumer").field("group", group).field("ready", &ready.len()).finish_non_exhaustive()
    }
}

impl Drop for Consumer {
    /// Hands back what was fetched and not given out, so that other consumers need not wait for its deadline.
    fn drop(&mut self) {
        let (here, now) = (self.seen, self.group.now());
        let _ = self.drain(here, now);
        for entry in self.ready.drain(..) {
            if since(now, entry.since) < self.group.server.settings.ack_deadline / 2 {
                // The client only queues the word.
                let _ = now_or_never(entry.message.ack_with(AckKind::Nak(None)));
            }
        }
    }
}

/// The next message of a pull; for ever where there is none. Cancel safe.
async fn pulled(batch: &mut Option<Batch>) -> Option<Result<Message, BoxError>> {
    match batch {
        Some(batch) => batch.next().await,
        None => std::future::pending().await,
    }
}

impl Consumer {
    pub(super) fn new(group: Arc<Group>) -> Self {
        let (now, connects) = (group.now(), group.server.connects());
        Self {
            group,
            ready: VecDeque::new(),
            to_bury: None,
            burying: false,
            prefetch: Prefetch::new(),
            batch: None,
            opening: None,
            tending: None,
            pull_at: Timestamp::MIN,
            opened_at: now,
            tick_at: Timestamp::MIN,
            measure_at: Timestamp::MIN,
            seen: now,
            connects,
            doubtful: false,
            failing: None,
        }
    }

    /// The next message that is here and can be handled in time.
    fn give(&mut self, now: Timestamp) -> Option<Delivery> {
        let group = Arc::clone(&self.group);
        let settings = &group.server.settings;
        while !self.burying
            && self.to_bury.is_none()
            && let Some(mut entry) = self.ready.pop_front()
        {
            let age = since(now, entry.since);
            if age >= settings.ack_deadline {
                // It comes again by itself, and may have done so elsewhere.
                continue;
            }
            if age > settings.ack_deadline / 4 {
                // Its deadline begins anew; the client only queues the word.
                let _ = now_or_never(entry.message.ack_with(AckKind::Progress));
                entry.since = now;
            }
            if entry.attempts > settings.max_attempts {
                let reason = format!("not settled within {}", human(settings.ack_deadline));
                let attempts = entry.attempts - 1;
                self.to_bury = Some((entry, reason, attempts));
                continue;
            }
            let envelope = match serde_json::from_slice::<Envelope>(&entry.message.payload) {
                Ok(envelope) => envelope,
                Err(error) => {
                    let attempts = entry.attempts;
                    self.to_bury = Some((entry, format!("it is no envelope: {error}"), attempts));
                    continue;
                }
            };
            if entry.attempts > 1 {
                count::redelivered(&group.topic, &group.name);
            }
            let attempts = entry.attempts;
            return Some(Delivery::new(envelope, attempts, Box::new(Handle { group, entry })));
        }
        None
    }

    /// Begins what is due.
    fn start(&mut self, now: Timestamp) {
        let group = Arc::clone(&self.group);
        if self.tending.is_none() {
            self.burying = self.to_bury.is_some();
            if let Some((entry, reason, attempts)) = self.to_bury.take() {
                self.tending = Some(Box::pin(async move { group.bury(&entry, &reason, attempts).await }));
            } else if group.has_dropped() {
                self.tending = Some(Box::pin(async move { group.tell_dropped().await }));
            } else if self.measure_at <= now {
                self.measure_at = plus(now, MEASURE_EVERY);
                self.tending = Some(Box::pin(async move { group.measure().await.map(drop) }));
            }
        }
        if self.batch.is_none() && self.opening.is_none() && self.ready.is_empty() && self.pull_at <= now {
            let group = Arc::clone(&self.group);
            let most = self.prefetch.next(now, group.server.settings.ack_deadline);
            let doubtful = std::mem::take(&mut self.doubtful);
            self.opening = Some(Box::pin(async move {
                if doubtful {
                    group.restore().await?;
                }
                let batch = group.consumer.batch().max_messages(most).expires(PULL).messages().await;
                batch.map_err(BoxError::from)
            }));
        }
    }

    /// A message came, or the pull ended.
    fn has_pulled(
        &mut self,
        pulled: Option<Result<Message, BoxError>>,
        here: Timestamp,
        now: Timestamp,
    ) -> Option<BusError> {
        match pulled {
            Some(Ok(message)) => {
                self.failing = None;
                self.group.server.link.worked();
                self.prefetch.arrived(now);
                // What is no message of JetStream has no place to settle; none such comes from a pull.
                if let Ok(attempts) = message.info().map(|info| u32::try_from(info.delivered).unwrap_or(u32::MAX)) {
                    self.ready.push_back(Entry { message, attempts, since: here });
                }
                None
            }
            Some(Err(error)) => {
                self.batch = None;
                self.doubtful = true;
                self.trouble(error, now)
            }
            None => {
                self.batch = None;
                // The server ends a pull in time, unless it does not know the consumer.
                self.doubtful |= since(now, self.opened_at) > PULL + PULL / 2;
                None
            }
        }
    }

    /// Takes all that is here.
    fn drain(&mut self, here: Timestamp, now: Timestamp) -> Option<BusError> {
        while self.batch.is_some() {
            let pulled = now_or_never(pulled(&mut self.batch))?;
            if let Some(error) = self.has_pulled(pulled, here, now) {
                return Some(error);
            }
        }
        None
    }

    /// Looks at the connection: a server that is new knows nothing of a pull.
    fn tick(&mut self, now: Timestamp) -> Option<BusError> {
        self.tick_at = plus(now, TICK);
        let server = Arc::clone(&self.group.server);
        if !server.is_connected() {
            return self.trouble(NO_CONNECTION.into(), now);
        }
        let connects = server.connects();
        if connects != self.connects {
            self.connects = connects;
            self.batch = None;
            self.doubtful = true;
            self.pull_at = now;
        }
        None
    }

    /// Tries again later; tells the caller once that has gone on for long.
    fn trouble(&mut self, error: BoxError, now: Timestamp) -> Option<BusError> {
        let server = Arc::clone(&self.group.server);
        let _ = server.noted::<()>(Err(NO_CONNECTION.into()));
        let trying = self.failing.get_or_insert_with(|| Trying::new(now));
        self.pull_at = trying.later(now, &server.settings);
        if !trying.over(now, &server.settings) {
            return None;
        }
        let waited = trying.waited(now);
        self.failing = None;
        Some(match server.broker(&self.group.topic, error) {
            BusError::Unreachable { topic, source, .. } => BusError::Unreachable { topic, waited, source },
            other => other,
        })
    }
}

#[async_trait]
impl Subscription for Consumer {
    async fn next(&mut self) -> Option<Result<Delivery, BusError>> {
        let group = Arc::clone(&self.group);
        // What is here already may have come at any time since this was last looked after.
        let here = self.seen;
        if let Some(error) = self.drain(here, group.now()) {
            return Some(Err(error));
        }
        loop {
            let now = group.now();
            self.seen = now;
            if let Some(delivery) = self.give(now) {
                return Some(Ok(delivery));
            }
            if self.tick_at <= now
                && let Some(error) = self.tick(now)
            {
                return Some(Err(error));
            }
            self.start(now);
            let idle = self.batch.is_none() && self.opening.is_none() && self.ready.is_empty();
            let wake = if idle { self.tick_at.min(self.pull_at) } else { self.tick_at };
            let told = tokio::select! {
                biased;
                pulled = pulled(&mut self.batch) => {
                    let now = group.now();
                    let told = self.has_pulled(pulled, now, now);
                    told.or_else(|| self.drain(now, now))
                }
                opened = finished(&mut self.opening) => match opened {
                    Ok(batch) => {
                        self.batch = Some(batch);
                        self.opened_at = group.now();
                        None
                    }
                    Err(error) => self.trouble(error, group.now()),
                },
                tended = finished(&mut self.tending) => {
                    self.burying = false;
                    // What was not told comes again after the ack deadline.
                    tended.err().and_then(|error| self.trouble(error, group.now()))
                }
                () = group.changed.notified() => None,
                () = group.server.settings.clock.sleep_until(wake) => None,
            };
            if let Some(error) = told {
                return Some(Err(error));
            }
        }
    }
}
