//! Topics, and the producer that writes to them.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::util::Timeout;

use super::context::Quiet;
use crate::bus::network::{CONTENT_TYPE, Link, Trying, count, too_large};
use crate::bus::{BusError, BusSettings};
use crate::error::BoxError;
use crate::lock::lock;

/// How long an answer to an administrative request may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// An acked message is committed after so long, or when the consumer leaves.
const COMMIT_EVERY: Duration = Duration::from_millis(200);
/// How often librdkafka tells the state of its connections.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// A process that is not heard of for so long loses its partitions. librdkafka's own default of 45 s is long for an
/// alert.
const SESSION: Duration = Duration::from_secs(10);
/// librdkafka's own default of 10 s is a third of the publish deadline.
const LONGEST_RECONNECT: Duration = Duration::from_secs(1);
/// Messages that librdkafka holds for a consumer or a producer, in KiB.
const BUFFER_KIB: u32 = 16 * 1_024;
/// Beside the payload: key, headers and framing.
const OVERHEAD: usize = 16 * 1_024;

pub(super) struct Server {
    config: ClientConfig,
    producer_config: ClientConfig,
    producer: Mutex<Numbered>,
    admin: AdminClient<Quiet>,
    pub(super) link: Link,
    pub(super) settings: BusSettings,
    /// Topics that are known to be there.
    known: Mutex<BTreeSet<String>>,
}

/// Producers are replaced one after the other.
#[derive(Clone)]
struct Numbered {
    number: u64,
    producer: FutureProducer<Quiet>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the configuration: it may hold credentials.
        f.debug_struct("Server").field("link", &self.link).field("settings", &self.settings).finish_non_exhaustive()
    }
}

fn milliseconds(duration: Duration) -> String {
    duration.as_millis().to_string()
}

impl Server {
    pub(super) fn new(mut config: ClientConfig, settings: BusSettings) -> Result<Self, KafkaError> {
        if config.get("reconnect.backoff.max.ms").is_none() {
            config.set("reconnect.backoff.max.ms", milliseconds(LONGEST_RECONNECT));
        }
        let mut producer = config.clone();
        producer
            // No message twice and none out of order for the broker's own retries; waits for all in-sync replicas.
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("message.timeout.ms", milliseconds(one_try(&settings)))
            .set("message.max.bytes", (settings.max_bytes + OVERHEAD).to_string())
            .set("queue.buffering.max.kbytes", BUFFER_KIB.to_string())
            .set("linger.ms", "0");
        Ok(Self {
            producer: Mutex::new(Numbered { number: 0, producer: producer.create_with_context(Quiet)? }),
            producer_config: producer,
            admin: config.create_with_context(Quiet)?,
            config,
            link: Link::new("kafka"),
            settings,
            known: Mutex::default(),
        })
    }

    /// The name of a topic on the server.
    pub(super) fn name(&self, topic: &str) -> String {
        format!("{}{topic}", self.settings.prefix)
    }

    pub(super) fn consumer_config(&self, topic: &str, group: &str) -> ClientConfig {
        // Kafka takes no longer one than a day.
        let longest = Duration::from_secs(86_400);
        let poll = (self.settings.ack_deadline * 2).clamp(Duration::from_secs(300), longest);
        let mut config = self.config.clone();
        config
            // Groups are the server's, not a topic's: one that reads two topics would rebalance both.
            .set("group.id", format!("{}.{group}", self.name(topic)))
            .set("auto.offset.reset", "earliest")
            // Committed is what was stored, stored is what was settled.
            .set("enable.auto.offset.store", "false")
            .set("enable.auto.commit", "true")
            .set("auto.commit.interval.ms", milliseconds(COMMIT_EVERY))
            .set("max.poll.interval.ms", milliseconds(poll))
            .set("queued.max.messages.kbytes", BUFFER_KIB.to_string())
            .set("statistics.interval.ms", milliseconds(TELL_EVERY));
        if config.get("session.timeout.ms").is_none() {
            config.set("session.timeout.ms", milliseconds(SESSION));
        }
        config
    }

    /// Asks the server whether it is there.
    pub(super) fn ask(&self) -> Result<(), KafkaError> {
        self.admin.inner().fetch_metadata(None, CONNECT).map(drop)
    }

    /// Makes a topic unless it is there, and tries so up to the publish deadline.
    pub(super) async fn ensure(&self, topic: &str) -> Result<(), BusError> {
        if lock(&self.known).contains(topic) {
            return Ok(());
        }
        let clock = &self.settings.clock;
        let mut trying = Trying::new(clock.now());
        loop {
            let error = match self.create(topic).await {
                Ok(()) => {
                    self.link.worked();
                    lock(&self.known).insert(topic.to_owned());
                    return Ok(());
                }
                Err(error) => error,
            };
            let at = trying.again(topic, error, clock.now(), &self.settings)?;
            clock.sleep_until(at).await;
        }
    }

    async fn create(&self, topic: &str) -> Result<(), BoxError> {
        let (name, bytes) = (self.name(topic), (self.settings.max_bytes + OVERHEAD).to_string());
        let replication = TopicReplication::Fixed(self.settings.replication);
        let mut wanted = NewTopic::new(&name, self.settings.partitions, replication);
        if self.settings.max_bytes > BusSettings::default().max_bytes {
            wanted = wanted.set("max.message.bytes", &bytes);
        }
        let timeout = TIMEOUT.min(self.settings.publish_deadline);
        let options = AdminOptions::new().request_timeout(Some(timeout)).operation_timeout(Some(timeout));
        let answers =
            self.admin.create_topics([&wanted], &options).await.inspect_err(|error| self.link.failed(error))?;
        match answers.into_iter().next() {
            Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) | Some(Ok(_)) | None => Ok(()),
            // Whoever runs the server makes the topics: writing to one that is not there is an error of its own.
            Some(Err((
                _,
                RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::ClusterAuthorizationFailed,
            ))) => Ok(()),
            Some(Err((name, code))) => Err(format!("topic {name:?} cannot be made: {code}").into()),
        }
    }

    /// Hands a message to the server, and tries so up to the publish deadline.
    pub(super) async fn put(&self, topic: &str, key: Option<&str>, payload: &[u8]) -> Result<(), BusError> {
        let clock = &self.settings.clock;
        let mut trying = Trying::new(clock.now());
        loop {
            self.ensure(topic).await?;
            let Numbered { number, producer } = lock(&self.producer).clone();
            let error = match self.put_once(&producer, topic, key, payload).await {
                Ok(()) => {
                    self.link.worked();
                    return Ok(());
                }
                Err(error) => error,
            };
            match error.rdkafka_error_code() {
                Some(RDKafkaErrorCode::MessageSizeTooLarge) => {
                    return Err(too_large(topic, payload.len(), self.settings.max_bytes));
                }
                // No word of the server: it is gone, or came back without what it knew of topic and producer.
                Some(RDKafkaErrorCode::MessageTimedOut | RDKafkaErrorCode::UnknownTopicOrPartition) => {
                    self.link.failed(&error);
                    lock(&self.known).remove(topic);
                    self.renew(number);
                }
                // Held back here, since the server is slower than the publishers.
                Some(RDKafkaErrorCode::QueueFull) if trying.over(clock.now(), &self.settings) => {
                    count::refused(topic);
                    return Err(BusError::Full { topic: topic.to_owned(), waited: trying.waited(clock.now()) });
                }
                Some(RDKafkaErrorCode::QueueFull) => {}
                _ => return Err(BusError::Broker { topic: topic.to_owned(), source: error.into() }),
            }
            let at = trying.again(topic, error.into(), clock.now(), &self.settings)?;
            clock.sleep_until(at).await;
        }
    }

    async fn put_once(
        &self,
        producer: &FutureProducer<Quiet>,
        topic: &str,
        key: Option<&str>,
        payload: &[u8],
    ) -> Result<(), KafkaError> {
        let name = self.name(topic);
        let headers = OwnedHeaders::new().insert(Header { key: "content-type", value: Some(CONTENT_TYPE) });
        let mut record = FutureRecord::to(&name).payload(payload).headers(headers);
        if let Some(key) = key {
            record = record.key(key);
        }
        let sent = producer.send(record, Timeout::After(one_try(&self.settings))).await;
        sent.map(drop).map_err(|(error, _)| error)
    }

    /// Another producer, with an id of its own, in place of this one: a server that has lost its memory refuses the
    /// id before for ever.
    fn renew(&self, number: u64) {
        let mut current = lock(&self.producer);
        if current.number != number {
            return;
        }
        let Ok(producer) = self.producer_config.create_with_context(Quiet) else { return };
        let before = std::mem::replace(&mut *current, Numbered { number: number + 1, producer });
        drop(current);
        // Its thread is waited for.
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(move || drop(before))),
            Err(_) => drop(before),
        }
    }
}

/// How long one try to publish may take, of a few within the publish deadline.
fn one_try(settings: &BusSettings) -> Duration {
    (settings.publish_deadline / 4).max(Duration::from_secs(1))
}

/// How long one question whether the server is there may take.
const CONNECT: Duration = Duration::from_secs(1);
