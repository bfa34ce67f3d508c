//! Streams: made where they are missing, written to, and emptied of what nobody needs.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::Client;
use async_nats::connection::State;
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{Config, DiscardPolicy, StorageType, Stream};
use async_nats::jetstream::{self, Context, ErrorCode};
use futures_util::StreamExt;

use crate::bus::network::{CONTENT_TYPE, Link, count, too_large};
use crate::bus::{BusError, BusSettings};
use crate::error::BoxError;
use crate::lock::lock;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(2);
/// What the client says by its state only.
pub(super) const NO_CONNECTION: &str = "the client has no connection";
/// The server's own default.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);

/// What became of a message that was handed to JetStream.
pub(super) enum Taken {
    /// It stands under this sequence number.
    Kept(u64),
    /// The stream holds as many as it may.
    Full,
    /// The server takes no message of so many bytes.
    TooLarge { bytes: usize, limit: usize },
}

pub(super) struct Server {
    pub(super) client: Client,
    pub(super) context: Context,
    pub(super) link: Link,
    pub(super) settings: BusSettings,
    /// Topics whose stream is known to be there.
    known: Mutex<BTreeSet<String>>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client: _, context: _, link, settings, known } = self;
        f.debug_struct("Server")
            .field("link", link)
            .field("settings", settings)
            .field("known", known)
            .finish_non_exhaustive()
    }
}

impl Server {
    pub(super) fn new(client: Client, settings: BusSettings) -> Self {
        let timeout = TIMEOUT.min(settings.publish_deadline);
        let context = jetstream::context::ContextBuilder::new().timeout(timeout).build(client.clone());
        Self { client, context, link: Link::new("nats"), settings, known: Mutex::default() }
    }

    /// The subject of a topic.
    pub(super) fn subject(&self, topic: &str) -> String {
        format!("{}{topic}", self.settings.prefix)
    }

    /// Connections that were made until now.
    pub(super) fn connects(&self) -> u64 {
        self.client.statistics().connects.load(Ordering::Relaxed)
    }

    pub(super) fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// The error for the caller: unreachable while the client has no connection.
    pub(super) fn broker(&self, topic: &str, source: BoxError) -> BusError {
        let topic = topic.to_owned();
        if self.is_connected() {
            BusError::Broker { topic, source }
        } else {
            BusError::Unreachable { topic, waited: Duration::ZERO, source }
        }
    }

    /// The stream of a topic, made where it is missing.
    pub(super) async fn stream(&self, topic: &str) -> Result<Stream, BoxError> {
        let subject = self.subject(topic);
        let wanted = stream_config(&subject, topic, &self.settings);
        let name = wanted.name.clone();
        let stream = self.context.get_or_create_stream(wanted).await?;
        if !stream.cached_info().config.subjects.contains(&subject) {
            return Err(format!("stream {name:?} is there and does not take subject {subject:?}").into());
        }
        lock(&self.known).insert(topic.to_owned());
        Ok(stream)
    }

    /// Hands a message to JetStream, once.
    pub(super) async fn put(&self, topic: &str, id: &str, payload: bytes::Bytes) -> Result<Taken, BoxError> {
        if !self.is_connected() {
            // The client would hold it back, beyond any deadline of ours.
            return self.noted(Err(NO_CONNECTION.into()));
        }
        let known = lock(&self.known).contains(topic);
        if !known {
            self.noted(self.stream(topic).await)?;
        }
        let bytes = payload.len();
        let message =
            PublishMessage::build().payload(payload).header("Content-Type", CONTENT_TYPE).message_id(header_value(id));
        let sent = match self.context.send_publish(self.subject(topic), message).await {
            Ok(ack) => ack.await,
            Err(error) => Err(error),
        };
        match sent {
            Ok(ack) => {
                self.link.worked();
                if ack.duplicate {
                    metrics::counter!("aiops_bus_duplicates_total", "topic" => topic.to_owned()).increment(1);
                }
                Ok(Taken::Kept(ack.sequence))
            }
            Err(error) if error.kind() == PublishErrorKind::MaxPayloadExceeded => {
                Ok(Taken::TooLarge { bytes, limit: self.client.max_payload() })
            }
            Err(error) if is_full(&error) => Ok(Taken::Full),
            Err(error) => {
                if error.kind() == PublishErrorKind::StreamNotFound {
                    lock(&self.known).remove(topic);
                }
                self.noted(Err(error.into()))
            }
        }
    }

    /// Removes what every group has settled; whether that was anything.
    pub(super) async fn make_room(&self, topic: &str) -> Result<bool, BoxError> {
        let stream = self.stream(topic).await?;
        let state = stream.get_info().await?.state;
        let mut consumers = stream.consumers();
        let mut settled: Option<u64> = None;
        while let Some(consumer) = consumers.next().await {
            let floor = consumer?.ack_floor.stream_sequence;
            settled = Some(settled.map_or(floor, |least| least.min(floor)));
        }
        let purged = match settled {
            Some(settled) if settled >= state.first_sequence => stream.purge().sequence(settled + 1).await?.purged,
            Some(_) => 0,
            // Nobody listens: the oldest make room.
            None => {
                let purged = stream.purge().keep(state.messages.saturating_sub(1)).await?.purged;
                metrics::counter!("aiops_bus_unrouted_total", "topic" => topic.to_owned()).increment(purged);
                purged
            }
        };
        Ok(purged > 0)
    }

    /// Puts a dead letter; counts the older one that went for it.
    pub(super) async fn put_letter(&self, topic: &str, dead: &str, id: &str, letter: Vec<u8>) -> Result<(), BoxError> {
        match self.put(dead, id, letter.into()).await? {
            Taken::Kept(sequence) => {
                let kept = self.settings.dead_letters as u64;
                // Sequence numbers count from 1: beyond the bound each letter pushes one out.
                count::letters_dropped(topic, u64::from(sequence > kept));
                Ok(())
            }
            Taken::Full => Err(format!("dead letters {dead:?} take no more: let the stream discard old ones").into()),
            Taken::TooLarge { bytes, limit } => Err(too_large(dead, bytes, limit).into()),
        }
    }

    /// Keeps track of whether the server answers.
    pub(super) fn noted<T>(&self, outcome: Result<T, BoxError>) -> Result<T, BoxError> {
        match &outcome {
            Ok(_) => self.link.worked(),
            Err(error) if !self.is_connected() => self.link.failed(&**error),
            Err(_) => {}
        }
        outcome
    }
}

/// The stream of a subject.
pub(super) fn stream_config(subject: &str, topic: &str, settings: &BusSettings) -> Config {
    let letters = topic.ends_with(".dead");
    let messages = if letters { settings.dead_letters } else { settings.capacity };
    Config {
        name: name_of(subject),
        subjects: vec![subject.to_owned()],
        max_messages: i64::try_from(messages).unwrap_or(i64::MAX),
        discard: if letters { DiscardPolicy::Old } else { DiscardPolicy::New },
        storage: StorageType::File,
        num_replicas: 1,
        duplicate_window: DUPLICATE_WINDOW.max(settings.publish_deadline * 2),
        ..Config::default()
    }
}

/// A name that NATS takes for streams and consumers: `-` for `.`, and `=` with hex digits for what else it refuses.
pub(super) fn name_of(text: &str) -> String {
    let mut name = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '.' => name.push('-'),
            c if c.is_ascii_alphanumeric() || c == '-' || c == '_' => name.push(c),
            c => name.extend(format!("={:x}=", u32::from(c)).chars()),
        }
    }
    name
}

/// An id as the value of a header, which has no line breaks.
fn header_value(id: &str) -> String {
    id.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn is_full(error: &PublishError) -> bool {
    let source = std::error::Error::source(error);
    let told = source.and_then(|source| source.downcast_ref::<jetstream::Error>());
    told.is_some_and(|told| told.error_code() == ErrorCode::STREAM_STORE_FAILED && told.to_string().contains("maximum"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_nats_takes() {
        assert_eq!(name_of("eu.aiops.detections.dead"), "eu-aiops-detections-dead");
        assert_eq!(name_of("a b/é"), "a=20=b=2f==e9=");
    }
}
