//! The bus over NATS JetStream.

mod consumer;
mod group;
mod server;

use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, ConnectOptions};
use async_trait::async_trait;

use self::consumer::Consumer;
use self::group::Group;
use self::server::{Server, Taken};
use super::network::{GroupStatus, Groups, Trying, count, to_bytes, too_large};
use super::{BusError, BusSettings, Envelope, EventBus, Subscription};
use crate::lock::lock;

/// A bus over NATS JetStream (nats-server 2.9 and later), for several processes. Clones are handles to the same bus.
///
/// - A topic is a subject with a stream of its own, named after it with `-` for `.`; it is created with file storage
///   and one replica unless it is there. A group is a durable pull consumer with explicit acks. It begins with the
///   oldest message that the stream still holds.
/// - `publish` returns once JetStream has the message. `Nats-Msg-Id` is the envelope's id: a message that is sent
///   again, by a retry or a replica, within the stream's duplicate window is dropped by the server and counted
///   (`aiops_bus_duplicates_total`). While the server is gone it tries again, up to the publish deadline
///   ([`BusError::Unreachable`]).
/// - Messages that every group has settled are removed once the stream holds `capacity` of them. Where they are all
///   needed, `publish` waits, then is [`BusError::Full`]. On a topic without groups the oldest go, and are counted
///   (`aiops_bus_unrouted_total`).
/// - `ack_wait` is the ack deadline, `max_deliver` is unlimited: the server never puts a message out of reach. After
///   the last attempt it goes to the dead-letter subject with its reason, and is acked once it stands there.
/// - Each settlement waits for the server's word. One that comes after the ack deadline, by this process's clock, is
///   not sent, since NATS would take it for the delivery that another consumer has by then; it is counted
///   (`aiops_bus_late_total`).
/// - A nak waits for at least the back-off.
/// - A message above the server's `max_payload` (1 MiB by default) is [`BusError::TooLarge`].
/// - Nothing of this library runs in the background: consumers that wait in `next` drive redelivery of what was
///   dropped, dead letters and gauges. The client has its own tasks.
///
/// # What the server must be set to
/// `jetstream { sync_interval: always }` (2.10 and later). By default it answers before it has synced, and syncs every
/// two minutes: a power cut loses what it acknowledged since.
#[derive(Debug, Clone)]
pub struct NatsBus {
    server: Arc<Server>,
    groups: Groups<Group>,
}

impl NatsBus {
    /// Connects to `nats://host:port`, and tries so up to the publish deadline.
    ///
    /// # Errors
    /// An address that does not read, or a server that does not answer.
    pub async fn connect(url: &str, settings: BusSettings) -> Result<Self, BusError> {
        let mut trying = Trying::new(settings.clock.now());
        loop {
            let options = ConnectOptions::new().reconnect_delay_callback(|attempts| {
                // Of 50 ms, doubling up to 1 s.
                Duration::from_millis(50 << attempts.min(5)).min(Duration::from_secs(1))
            });
            let error = match options.connect(url).await {
                Ok(client) => return Ok(Self::with_client(client, settings)),
                Err(error) => error,
            };
            let now = settings.clock.now();
            if trying.over(now, &settings) {
                return Err(BusError::Connect { bus: "nats", source: error.into() });
            }
            settings.clock.sleep_until(trying.later(now, &settings)).await;
        }
    }

    /// Uses a client of the host, with its TLS and credentials.
    #[must_use]
    pub fn with_client(client: Client, settings: BusSettings) -> Self {
        Self { server: Arc::new(Server::new(client, settings)), groups: Arc::default() }
    }

    /// How far each group is that was subscribed to here; sets the gauges of docs/METRICS.md. Consumers that wait
    /// do so by themselves; for one that is busy the host asks on a timer.
    ///
    /// # Errors
    /// A server that does not answer, or that has lost the group.
    pub async fn measure(&self) -> Result<Vec<GroupStatus>, BusError> {
        let groups: Vec<Arc<Group>> = lock(&self.groups).values().map(Arc::clone).collect();
        let mut all = Vec::with_capacity(groups.len());
        for group in groups {
            let measured = group.measure().await;
            all.push(measured.map_err(|source| self.server.broker(&group.topic, source))?);
        }
        Ok(all)
    }
}

#[async_trait]
impl EventBus for NatsBus {
    async fn publish(&self, topic: &str, message: Envelope) -> Result<(), BusError> {
        let server = &*self.server;
        let settings = &server.settings;
        let bytes = to_bytes(topic, &message, settings)?;
        let mut trying = Trying::new(settings.clock.now());
        loop {
            let taken = server.put(topic, &message.id, bytes.clone().into()).await;
            let now = settings.clock.now();
            let at = match taken {
                Ok(Taken::Kept(_)) => {
                    count::published(topic);
                    return Ok(());
                }
                Ok(Taken::Full) if trying.over(now, settings) => {
                    count::refused(topic);
                    return Err(BusError::Full { topic: topic.to_owned(), waited: trying.waited(now) });
                }
                Ok(Taken::Full) => match server.make_room(topic).await {
                    Ok(true) => now,
                    _ => trying.later(now, settings),
                },
                Ok(Taken::TooLarge { bytes, limit }) => return Err(too_large(topic, bytes, limit)),
                Err(error) => trying.again(topic, error, now, settings)?,
            };
            settings.clock.sleep_until(at).await;
        }
    }

    async fn subscribe(&self, topic: &str, group: &str) -> Result<Box<dyn Subscription>, BusError> {
        let settings = &self.server.settings;
        let mut trying = Trying::new(settings.clock.now());
        let joined = loop {
            let error = match Group::join(&self.server, topic, group).await {
                Ok(joined) => break joined,
                Err(error) => error,
            };
            let at = trying.again(topic, error, settings.clock.now(), settings)?;
            settings.clock.sleep_until(at).await;
        };
        let mut groups = lock(&self.groups);
        let known = groups.entry((topic.to_owned(), group.to_owned()));
        let joined = Arc::clone(known.or_insert_with(|| Arc::new(joined)));
        drop(groups);
        Ok(Box::new(Consumer::new(joined)))
    }
}
