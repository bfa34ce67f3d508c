//! One consumer group in this process: one Kafka consumer, shared by all its subscriptions.

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::Message as _;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::sync::Notify;

use super::context::{Context, Told};
use super::server::Server;
use super::window::{Burial, Place};
use crate::bus::network::{GroupStatus, StallWatch, count, dead_letter, unreadable};
use crate::bus::queue::Entry;
use crate::bus::{BusError, Delivery, Envelope, Settle, dead_letter_topic};
use crate::error::BoxError;
use crate::lock::lock;
use crate::time::{human, plus};

pub(super) struct Reader {
    pub(super) server: Arc<Server>,
    pub(super) topic: String,
    pub(super) group: String,
    /// The topic's name on the server.
    name: String,
    /// None once this is dropped.
    consumer: Option<StreamConsumer<Context>>,
    pub(super) told: Arc<Told>,
    stall: Mutex<StallWatch>,
    pub(super) changed: Notify,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("topic", &self.topic).field("group", &self.group).finish_non_exhaustive()
    }
}

impl Drop for Reader {
    /// Leaves the group, so that others get its partitions at once. That waits for the server.
    fn drop(&mut self) {
        let consumer = self.consumer.take();
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(move || drop(consumer))),
            Err(_) => drop(consumer),
        }
    }
}

/// What `next` finds.
// It lives for one statement, so its size does not matter.
#[allow(clippy::large_enum_variant)]
pub(super) enum Found {
    Given(Delivery),
    Wait(Option<Timestamp>),
}

impl Reader {
    pub(super) fn new(server: &Arc<Server>, topic: &str, group: &str) -> KafkaResult<Self> {
        let name = server.name(topic);
        let told = Arc::new(Told::default());
        let context = Context { topic: name.clone(), told: Arc::clone(&told) };
        let consumer: StreamConsumer<Context> =
            server.consumer_config(topic, group).create_with_context::<_, StreamConsumer<Context>>(context)?;
        consumer.subscribe(&[&name])?;
        Ok(Self {
            server: Arc::clone(server),
            topic: topic.to_owned(),
            group: group.to_owned(),
            name,
            consumer: Some(consumer),
            told,
            stall: Mutex::default(),
            changed: Notify::new(),
        })
    }

    pub(super) fn now(&self) -> Timestamp {
        self.server.settings.clock.now()
    }

    /// Receives one message into the window, and takes part in the group. Cancel safe: there is no wait after the
    /// message has come.
    pub(super) async fn receive(&self) -> Result<(), KafkaError> {
        let Some(consumer) = &self.consumer else { return std::future::pending().await };
        self.keep_bound(consumer)?;
        let message = consumer.recv().await?;
        let place = Place { partition: message.partition(), offset: message.offset() };
        let payload = message.payload().unwrap_or_default();
        let (envelope, unfit) = match serde_json::from_slice::<Envelope>(payload) {
            Ok(envelope) => (envelope, None),
            Err(error) => {
                let at = format!("{}/{}", place.partition, place.offset);
                (unreadable(&self.topic, &at, payload, self.now()), Some(format!("it is no envelope: {error}")))
            }
        };
        lock(&self.told.window).push(place, envelope, unfit);
        Ok(())
    }

    /// Asks for no more while as many are here as may be; the group still needs to hear of this consumer.
    fn keep_bound(&self, consumer: &StreamConsumer<Context>) -> KafkaResult<()> {
        let (here, most) = (lock(&self.told.window).len(), self.server.settings.max_unsettled);
        let paused = self.told.paused.load(Ordering::Relaxed);
        if !paused && here >= most {
            consumer.pause(&consumer.assignment()?)?;
        } else if paused && here <= most / 2 {
            consumer.resume(&consumer.assignment()?)?;
        } else {
            return Ok(());
        }
        self.told.paused.store(!paused, Ordering::Relaxed);
        Ok(())
    }

    /// Gives out the next message.
    pub(super) fn find(self: &Arc<Self>, now: Timestamp) -> Found {
        let settings = &self.server.settings;
        let mut window = lock(&self.told.window);
        while let Some(entry) = window.queue.overdue(now) {
            let reason = format!("not settled within {}", human(settings.ack_deadline));
            self.failed(&mut window, entry, now, &reason);
        }
        if let Some((token, entry)) = window.take(now, settings.ack_deadline) {
            drop(window);
            if entry.attempts > 1 {
                count::redelivered(&self.topic, &self.group);
            }
            let settle = Handle { reader: Arc::clone(self), token };
            return Found::Given(Delivery::new(entry.envelope, entry.attempts, Box::new(settle)));
        }
        Found::Wait(window.queue.next_change())
    }

    /// A failed attempt: the message waits until `again`, or goes to the dead letters.
    fn failed(&self, window: &mut super::window::Window, entry: Entry, again: Timestamp, reason: &str) {
        if entry.attempts >= self.server.settings.max_attempts {
            let attempts = entry.attempts;
            window.burials.push_back(Burial { entry, reason: reason.to_owned(), attempts });
        } else {
            count::retried(&self.topic, &self.group);
            window.queue.retry(entry, again);
        }
    }

    /// The next message that goes to the dead letters.
    pub(super) fn next_burial(self: &Arc<Self>) -> Option<Burying> {
        let burial = lock(&self.told.window).burials.pop_front()?;
        Some(Burying { reader: Arc::clone(self), burial: Some(burial) })
    }

    /// Marks a message as done, to be committed by librdkafka.
    fn done(&self, entry: &Entry) -> bool {
        let mut window = lock(&self.told.window);
        if !window.has(entry) {
            return false;
        }
        let place = window.settle(entry);
        drop(window);
        let stored = place.is_none_or(|place| self.store(place).is_ok());
        self.changed.notify_one();
        stored
    }

    fn store(&self, place: Place) -> KafkaResult<()> {
        let Some(consumer) = &self.consumer else { return Ok(()) };
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_offset(&self.name, place.partition, Offset::Offset(place.offset))?;
        consumer.store_offsets(&offsets)
    }

    pub(super) fn measure(&self) -> GroupStatus {
        let behind = self.told.behind();
        let window = lock(&self.told.window);
        let pending = window.queue.len_out() as u64;
        let (lag, position) = (behind + window.len() as u64 - pending, window.given.to_string());
        drop(window);
        let place = (self.topic.as_str(), self.group.as_str());
        let after = self.server.settings.stall_after;
        lock(&self.stall).observe(place, position, (lag, pending), self.now(), after)
    }

    fn broker(&self, source: BoxError) -> BusError {
        BusError::Broker { topic: self.topic.clone(), source }
    }
}

/// A message on its way to the dead letters; it stays to be buried where that is given up.
#[derive(Debug)]
pub(super) struct Burying {
    reader: Arc<Reader>,
    burial: Option<Burial>,
}

impl Drop for Burying {
    fn drop(&mut self) {
        if let Some(burial) = self.burial.take() {
            let mut window = lock(&self.reader.told.window);
            if window.has(&burial.entry) {
                window.burials.push_front(burial);
            }
        }
    }
}

impl Burying {
    pub(super) async fn run(mut self) -> Result<(), BusError> {
        let reader = Arc::clone(&self.reader);
        let Some(Burial { entry, reason, attempts }) = &self.burial else { return Ok(()) };
        let letter = dead_letter((*entry.envelope).clone(), &reader.group, reason, *attempts);
        let letter = serde_json::to_vec(&letter).map_err(|error| reader.broker(error.into()))?;
        reader.server.put(&dead_letter_topic(&reader.topic), entry.envelope.partitionkey.as_deref(), &letter).await?;
        count::dead_lettered(&reader.topic, &reader.group);
        if let Some(burial) = self.burial.take()
            && !reader.done(&burial.entry)
        {
            // Another process has it by now, and buries it again.
            count::late(&reader.topic);
        }
        Ok(())
    }
}

/// Settles one delivery; its token is good for one answer.
#[derive(Debug)]
struct Handle {
    reader: Arc<Reader>,
    token: u64,
}

impl Handle {
    /// Takes the message back, unless it was taken back before.
    fn take(&self) -> Option<Entry> {
        let entry = lock(&self.reader.told.window).queue.settle(self.token);
        if entry.is_none() {
            count::late(&self.reader.topic);
        }
        entry
    }

    /// The message comes again, or goes to the dead letters once a consumer waits.
    fn fail(&self, entry: Entry, asked: Duration, reason: &str) {
        let reader = &self.reader;
        let again = plus(reader.now(), reader.server.settings.wait(asked, entry.attempts));
        reader.failed(&mut lock(&reader.told.window), entry, again, reason);
        reader.changed.notify_one();
    }

    async fn bury(&self, entry: Entry, reason: String) -> Result<(), BusError> {
        let attempts = entry.attempts;
        let burial = Some(Burial { entry, reason, attempts });
        Burying { reader: Arc::clone(&self.reader), burial }.run().await
    }
}

#[async_trait]
impl Settle for Handle {
    async fn ack(self: Box<Self>) -> Result<(), BusError> {
        if let Some(entry) = self.take()
            && !self.reader.done(&entry)
        {
            count::late(&self.reader.topic);
        }
        Ok(())
    }

    async fn nak(self: Box<Self>, delay: Duration, reason: String) -> Result<(), BusError> {
        match self.take() {
            Some(entry) if entry.attempts >= self.reader.server.settings.max_attempts => self.bury(entry, reason).await,
            Some(entry) => {
                self.fail(entry, delay, &reason);
                Ok(())
            }
            None => Ok(()),
        }
    }

    async fn dead_letter(self: Box<Self>, reason: String) -> Result<(), BusError> {
        match self.take() {
            Some(entry) => self.bury(entry, reason).await,
            None => Ok(()),
        }
    }

    fn abandon(self: Box<Self>) {
        if let Some(entry) = self.take() {
            self.fail(entry, Duration::ZERO, "its consumer dropped it unsettled");
        }
    }
}
