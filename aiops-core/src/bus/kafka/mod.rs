//! The bus over Kafka.

mod consumer;
mod context;
mod reader;
mod server;
mod window;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};

use async_trait::async_trait;
use rdkafka::ClientConfig;

use self::consumer::Consumer;
use self::reader::Reader;
use self::server::Server;
use super::network::{GroupStatus, Trying, count, to_bytes};
use super::{BusError, BusSettings, Envelope, EventBus, Subscription};
use crate::lock::lock;

/// A bus over Kafka, for several processes. Clones are handles to the same bus.
///
/// - A topic is a topic, created with the `partitions` and the `replication` of the settings unless it is there. A
///   group is a consumer group named `<topic>.<group>`, which begins with the oldest message that the topic holds.
/// - The record's key is the envelope's `partitionkey` (an event's identity, a report's incident), so that the first
///   attempts of one identity come in order. Within a process the subscriptions of a group share one Kafka consumer,
///   so that two of them may have messages of one partition at once.
/// - `publish` returns once all in-sync replicas have the message, by an idempotent producer. While the server is
///   gone it waits up to the publish deadline ([`BusError::Unreachable`]). There is no [`BusError::Full`] for a slow
///   group: Kafka keeps what `retention.ms` says, and a group that is further behind loses messages. Its lag is a
///   gauge.
/// - Deadlines, naks and attempts are kept by the process that has the partition. A message is committed once it and
///   all before it in its partition are settled, at most 0.2 s later. A process that dies leaves its partitions to
///   others after `session.timeout.ms` (10 s, unless the host's configuration has another); they get its unsettled messages again, and those settled
///   behind them, and count attempts from 1.
/// - After the last attempt a message goes to the dead-letter topic with its reason, and is settled once it stands
///   there.
/// - An ack after the deadline, or after the partition went to another process, settles nothing, and is counted
///   (`aiops_bus_late_total`).
/// - A nak waits for at least the back-off; messages behind it go on.
/// - `librdkafka` has threads of its own; nothing else runs in the background. Consumers that wait in `next` take part
///   in the group. One that does not call it for `max.poll.interval.ms` (twice the ack deadline, at least 5 min) loses
///   its partitions until it does.
///
/// # What the server must be set to
/// `min.insync.replicas` of at least 2 with a replication factor of at least 3, or the loss of one machine loses
/// messages; `retention.ms` of topics longer than any group is ever behind.
#[derive(Debug, Clone)]
pub struct KafkaBus {
    server: Arc<Server>,
    readers: Arc<Mutex<Readers>>,
}

/// By topic and group; each lives as long as its subscriptions and deliveries.
type Readers = BTreeMap<(String, String), Weak<Reader>>;

impl KafkaBus {
    /// Connects to brokers, as `kafka://host:port,host:port` or without the scheme, and tries so up to the publish
    /// deadline.
    ///
    /// # Errors
    /// An address that does not read, or a server that does not answer.
    pub async fn connect(brokers: &str, settings: BusSettings) -> Result<Self, BusError> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers.trim_start_matches("kafka://").trim_end_matches('/'));
        Self::with_config(config, settings).await
    }

    /// Uses a configuration of the host: addresses, TLS, credentials. What the contract of the bus depends on is set
    /// over it.
    ///
    /// # Errors
    /// A configuration that librdkafka refuses, or a server that does not answer.
    pub async fn with_config(config: ClientConfig, settings: BusSettings) -> Result<Self, BusError> {
        let failed = |source| BusError::Connect { bus: "kafka", source };
        let server = Arc::new(Server::new(config, settings).map_err(|error| failed(error.into()))?);
        let settings = &server.settings;
        let mut trying = Trying::new(settings.clock.now());
        loop {
            let asked = Arc::clone(&server);
            let answer = tokio::task::spawn_blocking(move || asked.ask()).await;
            let error = match answer {
                Ok(Ok(())) => return Ok(Self { server: Arc::clone(&server), readers: Arc::default() }),
                Ok(Err(error)) => error.into(),
                Err(error) => return Err(failed(error.into())),
            };
            let now = settings.clock.now();
            if trying.over(now, settings) {
                return Err(failed(error));
            }
            settings.clock.sleep_until(trying.later(now, settings)).await;
        }
    }

    /// How far each group is that has a subscription here, as far as its partitions are this process's; sets the
    /// gauges of docs/METRICS.md. What the server has is a second old. Consumers that wait do so by themselves; for
    /// one that is busy the host asks on a timer.
    #[must_use]
    pub fn measure(&self) -> Vec<GroupStatus> {
        let readers: Vec<Arc<Reader>> = lock(&self.readers).values().filter_map(Weak::upgrade).collect();
        readers.iter().map(|reader| reader.measure()).collect()
    }
}

#[async_trait]
impl EventBus for KafkaBus {
    async fn publish(&self, topic: &str, message: Envelope) -> Result<(), BusError> {
        let bytes = to_bytes(topic, &message, &self.server.settings)?;
        let key = message.partitionkey.as_deref().unwrap_or(&message.id);
        self.server.put(topic, Some(key), &bytes).await?;
        count::published(topic);
        Ok(())
    }

    async fn subscribe(&self, topic: &str, group: &str) -> Result<Box<dyn Subscription>, BusError> {
        self.server.ensure(topic).await?;
        let mut readers = lock(&self.readers);
        readers.retain(|_, reader| reader.strong_count() > 0);
        let place = (topic.to_owned(), group.to_owned());
        let reader = match readers.get(&place).and_then(Weak::upgrade) {
            Some(reader) => reader,
            None => {
                let reader = Reader::new(&self.server, topic, group);
                let broker = |error| BusError::Broker { topic: topic.to_owned(), source: Box::new(error) };
                let reader = Arc::new(reader.map_err(broker)?);
                readers.insert(place, Arc::downgrade(&reader));
                reader
            }
        };
        drop(readers);
        Ok(Box::new(Consumer::new(reader)))
    }
}
