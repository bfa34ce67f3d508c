//! One consumer group, as the consumers and deliveries of this process share it.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull};
use async_nats::jetstream::{AckKind, Message};
use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::Notify;

use super::server::{Server, name_of};
use crate::bus::network::{GroupStatus, StallWatch, count, dead_letter, unreadable};
use crate::bus::{BusError, BusSettings, Envelope, Settle, dead_letter_topic};
use crate::error::BoxError;
use crate::lock::lock;
use crate::time::since;

pub(super) struct Group {
    pub(super) server: Arc<Server>,
    pub(super) topic: String,
    pub(super) name: String,
    pub(super) consumer: PullConsumer,
    /// Deliveries that were dropped, until a consumer that waits tells the server.
    dropped: Mutex<Vec<Entry>>,
    stall: Mutex<StallWatch>,
    pub(super) changed: Notify,
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group").field("topic", &self.topic).field("name", &self.name).finish_non_exhaustive()
    }
}

/// A message that one consumer has.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) message: Message,
    pub(super) attempts: u32,
    /// When it came, at the earliest.
    pub(super) since: Timestamp,
}

/// The durable consumer of a group.
pub(super) fn consumer_config(group: &str, settings: &BusSettings) -> pull::Config {
    pull::Config {
        durable_name: Some(name_of(group)),
        ack_policy: AckPolicy::Explicit,
        deliver_policy: DeliverPolicy::All,
        ack_wait: settings.ack_deadline,
        // Unlimited: beyond it a message stays in the stream and nobody is given it.
        max_deliver: -1,
        max_ack_pending: i64::try_from(settings.max_unsettled).unwrap_or(i64::MAX),
        ..pull::Config::default()
    }
}

impl Group {
    /// Makes stream and consumer unless they are there, or changes the consumer to the settings.
    pub(super) async fn join(server: &Arc<Server>, topic: &str, name: &str) -> Result<Self, BoxError> {
        let consumer = Self::consumer(server, topic, name).await?;
        Ok(Self {
            server: Arc::clone(server),
            topic: topic.to_owned(),
            name: name.to_owned(),
            consumer,
            dropped: Mutex::default(),
            stall: Mutex::default(),
            changed: Notify::new(),
        })
    }

    async fn consumer(server: &Server, topic: &str, name: &str) -> Result<PullConsumer, BoxError> {
        let stream = server.noted(server.stream(topic).await)?;
        let config = consumer_config(name, &server.settings);
        server.noted(stream.create_consumer(config).await.map_err(BoxError::from))
    }

    /// Makes a consumer that the server has lost; whether it had.
    pub(super) async fn restore(&self) -> Result<bool, BoxError> {
        if self.consumer.get_info().await.is_ok() {
            return Ok(false);
        }
        Self::consumer(&self.server, &self.topic, &self.name).await?;
        tracing::error!(topic = self.topic, group = self.name, "the server had lost the group; it begins anew");
        metrics::counter!(
            "aiops_bus_group_lost_total", "topic" => self.topic.clone(), "group" => self.name.clone()
        )
        .increment(1);
        Ok(true)
    }

    pub(super) fn now(&self) -> Timestamp {
        self.server.settings.clock.now()
    }

    pub(super) async fn measure(&self) -> Result<GroupStatus, BoxError> {
        let info = self.server.noted(self.consumer.get_info().await.map_err(BoxError::from))?;
        let place = (self.topic.as_str(), self.name.as_str());
        let counts = (info.num_pending, info.num_ack_pending as u64);
        let position = info.delivered.consumer_sequence.to_string();
        let after = self.server.settings.stall_after;
        Ok(lock(&self.stall).observe(place, position, counts, self.now(), after))
    }

    pub(super) fn has_dropped(&self) -> bool {
        !lock(&self.dropped).is_empty()
    }

    /// Takes back an entry without waiting for the server.
    fn drop_entry(&self, entry: Entry) {
        lock(&self.dropped).push(entry);
        self.changed.notify_one();
    }

    /// Tells the server what was dropped. What it does not hear comes again after the ack deadline.
    pub(super) async fn tell_dropped(&self) -> Result<(), BoxError> {
        loop {
            let Some(entry) = lock(&self.dropped).pop() else { return Ok(()) };
            self.failed(&entry, Duration::ZERO, "its consumer dropped it unsettled").await?;
        }
    }

    /// Whether the server may have given the message to another consumer: it would take a word of ours for that
    /// delivery.
    pub(super) fn is_late(&self, entry: &Entry) -> bool {
        let deadline = self.server.settings.ack_deadline;
        // The server counts from when it sent the message: a little earlier than it came.
        let late = since(self.now(), entry.since) >= deadline - deadline / 50;
        if late {
            count::late(&self.topic);
        }
        late
    }

    pub(super) async fn say(&self, entry: &Entry, kind: AckKind) -> Result<(), BoxError> {
        self.server.noted(entry.message.double_ack_with(kind).await)
    }

    /// A failed attempt: the message comes again, or is a dead letter.
    pub(super) async fn failed(&self, entry: &Entry, asked: Duration, reason: &str) -> Result<(), BoxError> {
        let settings = &self.server.settings;
        if entry.attempts >= settings.max_attempts {
            return self.bury(entry, reason, entry.attempts).await;
        }
        if self.is_late(entry) {
            return Ok(());
        }
        self.say(entry, AckKind::Nak(Some(settings.wait(asked, entry.attempts)))).await?;
        count::retried(&self.topic, &self.name);
        Ok(())
    }

    /// Puts the message onto the dead-letter subject, and then settles it.
    pub(super) async fn bury(&self, entry: &Entry, reason: &str, attempts: u32) -> Result<(), BoxError> {
        if self.is_late(entry) {
            return Ok(());
        }
        let place = entry.message.info().map(|info| info.stream_sequence)?;
        let message = serde_json::from_slice::<Envelope>(&entry.message.payload)
            .unwrap_or_else(|_| unreadable(&self.topic, &place.to_string(), &entry.message.payload, self.now()));
        // Two groups may bury the same message.
        let id = format!("{}/{place}", self.name);
        let letter = serde_json::to_vec(&dead_letter(message, &self.name, reason, attempts))?;
        self.server.put_letter(&self.topic, &dead_letter_topic(&self.topic), &id, letter).await?;
        self.say(entry, AckKind::Ack).await?;
        count::dead_lettered(&self.topic, &self.name);
        Ok(())
    }
}

/// Settles one delivery.
#[derive(Debug)]
pub(super) struct Handle {
    pub(super) group: Arc<Group>,
    pub(super) entry: Entry,
}

impl Handle {
    fn answer(&self, outcome: Result<(), BoxError>) -> Result<(), BusError> {
        outcome.map_err(|source| self.group.server.broker(&self.group.topic, source))
    }
}

#[async_trait]
impl Settle for Handle {
    async fn ack(self: Box<Self>) -> Result<(), BusError> {
        if self.group.is_late(&self.entry) {
            return Ok(());
        }
        self.answer(self.group.say(&self.entry, AckKind::Ack).await)
    }

    async fn nak(self: Box<Self>, delay: Duration, reason: String) -> Result<(), BusError> {
        self.answer(self.group.failed(&self.entry, delay, &reason).await)
    }

    async fn dead_letter(self: Box<Self>, reason: String) -> Result<(), BusError> {
        self.answer(self.group.bury(&self.entry, &reason, self.entry.attempts).await)
    }

    fn abandon(self: Box<Self>) {
        self.group.drop_entry(self.entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// nats.net #244: an ack wait in the wrong unit redelivers what is acked.
    #[test]
    fn row_62_the_ack_deadline_is_sent_in_nanoseconds() {
        let settings = BusSettings::default().ack_deadline(Duration::from_secs(300)).max_unsettled(7);
        let sent = serde_json::to_value(consumer_config("triage", &settings)).unwrap();
        assert_eq!(sent["ack_wait"], 300_000_000_000_u64);
        assert_eq!((&sent["max_deliver"], &sent["max_ack_pending"]), (&(-1).into(), &7.into()));
    }
}
