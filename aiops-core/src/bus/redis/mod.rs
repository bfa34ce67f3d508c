//! The bus over Redis Streams.

mod consumer;
mod finding;
mod group;
mod server;
mod together;

use std::sync::Arc;

use ::redis::{Client, RedisError};
use async_trait::async_trait;

use self::consumer::Consumer;
pub use self::finding::RedisBusFinding;
use self::group::{Group, misread};
use self::server::{Server, is_passing};
use self::together::Together;
use super::network::{GroupStatus, Groups, Trying, count, to_bytes};
use super::{BusError, BusSettings, Envelope, EventBus, Subscription};
use crate::lock::lock;

/// A bus over Redis Streams (Redis 7.0 and later, or Valkey), for several processes. Clones are handles to the
/// same bus.
///
/// - A topic is a stream; a group is a consumer group, which begins with the oldest message that the stream
///   still holds. Its place outlives its consumers.
/// - `publish` returns once Redis has the entry. While the server is gone it tries again, up to the publish
///   deadline ([`BusError::Unreachable`]); an entry whose answer was lost may then be there twice.
/// - Publishes that wait at the same time go to the server in one call, and so do a group's acks. Where several do, a
///   call waits up to 1 ms for those who had their answer just now and most often come again.
/// - Entries that every group has settled are removed once the stream holds `capacity` of them. Where they are
///   all needed, `publish` waits, then is [`BusError::Full`]. Nothing is removed that a group still needs; on a
///   topic without groups the oldest go, and are counted (`aiops_bus_unrouted_total`).
/// - What a consumer does not settle within the ack deadline is claimed by another one, once, also when its
///   process died. Attempts are counted by Redis. An entry is dead-lettered and settled in one step.
/// - A settlement counts only for the delivery that it belongs to: one that comes after the entry was given out
///   again settles nothing, and is counted (`aiops_bus_late_total`).
/// - A nak waits for at least the back-off and at most the ack deadline.
/// - Entries that something else removed are settled and counted (`aiops_bus_trimmed_total`); what is no
///   envelope goes to the dead letters as a whole.
/// - Each subscription has a connection of its own, since it waits on the server. Nothing of this library runs in
///   the background: consumers that wait in `next` drive claims, naks and gauges.
///
/// # What the server must be set to
/// `appendonly yes`, `appendfsync always` and `maxmemory-policy noeviction`, or it loses messages that `publish`
/// has handed to it; [`findings`](Self::findings) tells what is not so. A failover to a replica loses what was not
/// copied yet. Not for Redis Cluster: a topic and its dead letters are two keys.
#[derive(Debug, Clone)]
pub struct RedisBus {
    server: Arc<Server>,
    groups: Groups<Group>,
    publishes: Arc<Together<Publish, Published>>,
}

/// An entry for the stream of a key.
#[derive(Debug)]
struct Publish {
    key: String,
    bytes: Vec<u8>,
}

/// What became of an entry: its outcome, and how many that nobody had asked for went for it.
type Published = (String, u64);

/// Publishes entries that wait together. Of several, one may have failed alone; where there is one, its failure is
/// the call's.
async fn publish(server: &Server, entries: &[&Publish]) -> Result<Vec<Published>, RedisError> {
    let capacity = server.settings.capacity.to_string();
    let keys: Vec<&str> = entries.iter().map(|entry| entry.key.as_str()).collect();
    let mut words = vec![capacity.as_bytes()];
    words.extend(entries.iter().map(|entry| entry.bytes.as_slice()));
    server.call("publish", &keys, &words).await
}

impl RedisBus {
    /// Connects to `redis://host:port/db`, and tries so up to the publish deadline.
    ///
    /// # Errors
    /// An address that does not read, or a server that does not answer.
    pub async fn connect(url: &str, settings: BusSettings) -> Result<Self, BusError> {
        let client = Client::open(url).map_err(|error| BusError::Connect { bus: "redis", source: error.into() })?;
        Self::with_client(client, settings).await
    }

    /// Uses a client of the host, with its TLS and credentials. Connections are made from it.
    ///
    /// # Errors
    /// A server that does not answer.
    pub async fn with_client(client: Client, settings: BusSettings) -> Result<Self, BusError> {
        let server = Arc::new(Server::connect(client, settings).await?);
        let asked = Arc::clone(&server);
        let publishes = Together::new(Arc::clone(&server.settings.clock), move |entries: Vec<Arc<Publish>>| {
            let server = Arc::clone(&asked);
            async move { publish(&server, &entries.iter().map(|entry| &**entry).collect::<Vec<_>>()).await }
        });
        Ok(Self { server, groups: Arc::default(), publishes: Arc::new(publishes) })
    }

    /// What the server's settings lack. Asks the server.
    ///
    /// # Errors
    /// A server that does not answer.
    pub async fn findings(&self) -> Result<Vec<RedisBusFinding>, BusError> {
        finding::findings(&self.server).await
    }

    /// How far each group is that was subscribed to here; sets the gauges of docs/METRICS.md. Consumers that wait
    /// do so by themselves; for one that is busy the host asks on a timer.
    ///
    /// # Errors
    /// A server that does not answer.
    pub async fn measure(&self) -> Result<Vec<GroupStatus>, BusError> {
        let groups: Vec<Arc<Group>> = lock(&self.groups).values().map(Arc::clone).collect();
        let mut all = Vec::with_capacity(groups.len());
        for group in groups {
            let measured = group.measure().await;
            all.push(measured.map_err(|error| group.broker(error))?);
        }
        Ok(all)
    }
}

impl RedisBus {
    async fn publish_once(&self, entry: &Arc<Publish>) -> Result<Published, Arc<RedisError>> {
        let published = self.publishes.ask(entry, entry.key.len() + entry.bytes.len()).await?;
        if published.0 != "failed" {
            return Ok(published);
        }
        let alone = publish(&self.server, &[entry]).await?.pop();
        alone.ok_or_else(|| Arc::new(misread("the answer is empty")))
    }
}

#[async_trait]
impl EventBus for RedisBus {
    async fn publish(&self, topic: &str, message: Envelope) -> Result<(), BusError> {
        let settings = &self.server.settings;
        let bytes = to_bytes(topic, &message, settings)?;
        let entry = Arc::new(Publish { key: self.server.key(topic), bytes });
        let mut trying = Trying::new(settings.clock.now());
        loop {
            let asked = self.publish_once(&entry).await;
            let now = settings.clock.now();
            let at = match asked {
                Ok((outcome, unrouted)) if outcome == "taken" => {
                    count::published(topic);
                    if unrouted > 0 {
                        metrics::counter!("aiops_bus_unrouted_total", "topic" => topic.to_owned()).increment(unrouted);
                    }
                    return Ok(());
                }
                Ok(_) if trying.over(now, settings) => {
                    count::refused(topic);
                    return Err(BusError::Full { topic: topic.to_owned(), waited: trying.waited(now) });
                }
                Ok(_) => trying.later(now, settings),
                Err(error) if is_passing(&error) => trying.again(topic, error.into(), now, settings)?,
                Err(error) => return Err(BusError::Broker { topic: topic.to_owned(), source: error.into() }),
            };
            settings.clock.sleep_until(at).await;
        }
    }

    async fn subscribe(&self, topic: &str, group: &str) -> Result<Box<dyn Subscription>, BusError> {
        let place = (topic.to_owned(), group.to_owned());
        let joined = lock(&self.groups).get(&place).map(Arc::clone);
        let joined = match joined {
            Some(joined) => joined,
            None => {
                let fresh = Arc::new(Group::new(&self.server, topic, group));
                let mut groups = lock(&self.groups);
                Arc::clone(groups.entry(place).or_insert(fresh))
            }
        };
        let settings = &self.server.settings;
        let mut trying = Trying::new(settings.clock.now());
        loop {
            let Err(error) = joined.create().await else {
                return Ok(Box::new(Consumer::new(joined)));
            };
            if !is_passing(&error) {
                return Err(joined.broker(error));
            }
            let at = trying.again(topic, error.into(), settings.clock.now(), settings)?;
            settings.clock.sleep_until(at).await;
        }
    }
}
