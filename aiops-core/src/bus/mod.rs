//! Messages between the layers: the envelope, the bus and its deliveries.

mod envelope;
#[cfg(feature = "kafka")]
mod kafka;
mod memory;
#[cfg(feature = "nats")]
mod nats;
#[cfg(any(feature = "nats", feature = "redis", feature = "kafka"))]
mod network;
#[cfg(any(feature = "nats", feature = "redis"))]
mod prefetch;
mod queue;
#[cfg(feature = "redis")]
mod redis;
#[cfg(any(feature = "nats", feature = "redis", feature = "kafka"))]
mod settings;
mod trace;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

pub use self::envelope::{Envelope, EnvelopeError};
#[cfg(feature = "kafka")]
pub use self::kafka::KafkaBus;
pub use self::memory::{MemoryBus, MemoryBusBuilder, Undelivered};
#[cfg(feature = "nats")]
pub use self::nats::NatsBus;
#[cfg(any(feature = "nats", feature = "redis", feature = "kafka"))]
pub use self::network::GroupStatus;
#[cfg(feature = "redis")]
pub use self::redis::{RedisBus, RedisBusFinding};
#[cfg(any(feature = "nats", feature = "redis", feature = "kafka"))]
pub use self::settings::BusSettings;
pub use self::trace::{InvalidTraceparent, TraceContext};
use crate::error::BoxError;
use crate::plugin::Boxed;

/// Topic of announced, raised and resolved detection events.
pub const DETECTIONS: &str = "aiops.detections";
/// Topic of triage reports.
pub const TRIAGED: &str = "aiops.triaged";
/// Topic of what became of reports.
pub const RESPONSES: &str = "aiops.responses";

/// The topic on which the dead letters of a topic stand.
#[must_use]
pub fn dead_letter_topic(topic: &str) -> String {
    format!("{topic}.dead")
}

/// A message that the bus could not take or give.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BusError {
    /// The bus was shut down.
    #[error("bus is closed; {topic:?} takes and gives no more messages")]
    Closed {
        /// The topic.
        topic: String,
    },
    /// The message did not get in within the publish deadline.
    #[error("topic {topic:?} took no message within {waited:?}: its consumers are behind")]
    Full {
        /// The topic.
        topic: String,
        /// How long the publisher waited.
        waited: Duration,
    },
    /// The message has more bytes than a message of this bus may have.
    #[error("topic {topic:?} takes no message of {bytes} bytes; the limit is {limit}")]
    TooLarge {
        /// The topic.
        topic: String,
        /// Bytes of the message as JSON.
        bytes: usize,
        /// Bytes that a message may have.
        limit: usize,
    },
    /// The bus cannot begin: its address does not read, or its server does not answer.
    #[error("cannot connect to {bus}")]
    Connect {
        /// Which kind of server.
        bus: &'static str,
        /// Why.
        #[source]
        source: BoxError,
    },
    /// The server of the bus did not answer within the publish deadline.
    #[error("server of topic {topic:?} did not answer within {waited:?}")]
    Unreachable {
        /// The topic.
        topic: String,
        /// How long the caller waited.
        waited: Duration,
        /// The last failure.
        #[source]
        source: BoxError,
    },
    /// The bus itself failed.
    #[error("bus failed on topic {topic:?}")]
    Broker {
        /// The topic.
        topic: String,
        /// Why.
        #[source]
        source: BoxError,
    },
}

impl BusError {
    /// Whether trying again may help.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        !matches!(self, Self::Closed { .. } | Self::TooLarge { .. })
    }
}

/// Settles one delivery; implemented by buses.
#[async_trait]
pub trait Settle: fmt::Debug + Send + Sync + 'static {
    /// The message was handled and does not come again to this group.
    async fn ack(self: Box<Self>) -> Result<(), BusError>;

    /// The attempt failed: the message comes again after `delay`, or becomes a dead letter once its
    /// attempts are used up.
    async fn nak(self: Box<Self>, delay: Duration, reason: String) -> Result<(), BusError>;

    /// No attempt can succeed: the message becomes a dead letter now.
    async fn dead_letter(self: Box<Self>, reason: String) -> Result<(), BusError>;

    /// The consumer went away without a word (a panic, a dropped future): a failed attempt. It must
    /// not block.
    fn abandon(self: Box<Self>);
}

/// One message, given to one consumer of one group, to be settled exactly once.
///
/// Dropping it unsettled is a failed attempt: a panicking consumer loses nothing.
#[derive(Debug)]
pub struct Delivery {
    envelope: Arc<Envelope>,
    attempt: u32,
    settle: Option<Box<dyn Settle>>,
}

impl Delivery {
    /// A delivery; called by buses. `attempt` counts from 1.
    #[must_use]
    pub fn new(envelope: impl Into<Arc<Envelope>>, attempt: u32, settle: Box<dyn Settle>) -> Self {
        Self { envelope: envelope.into(), attempt, settle: Some(settle) }
    }

    /// The message.
    #[must_use]
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// Which attempt this is, counted from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The message was handled.
    ///
    /// # Errors
    /// A bus that did not take the ack: the message may come again.
    pub async fn ack(mut self) -> Result<(), BusError> {
        match self.settle.take() {
            Some(settle) => settle.ack().await,
            None => Ok(()),
        }
    }

    /// The attempt failed; try again after `delay`.
    ///
    /// # Errors
    /// A bus that did not take the word: the message comes again after its deadline.
    pub async fn nak(mut self, delay: Duration, reason: impl Into<String>) -> Result<(), BusError> {
        match self.settle.take() {
            Some(settle) => settle.nak(delay, reason.into()).await,
            None => Ok(()),
        }
    }

    /// No attempt can succeed.
    ///
    /// # Errors
    /// A bus that did not take the word: the message comes again after its deadline.
    pub async fn dead_letter(mut self, reason: impl Into<String>) -> Result<(), BusError> {
        match self.settle.take() {
            Some(settle) => settle.dead_letter(reason.into()).await,
            None => Ok(()),
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if let Some(settle) = self.settle.take() {
            settle.abandon();
        }
    }
}

/// A consumer group's stream of deliveries.
#[async_trait]
pub trait Subscription: fmt::Debug + Send + 'static {
    /// The next delivery; `None` once the bus is closed and drained. Cancel safe: a dropped future
    /// loses no message.
    async fn next(&mut self) -> Option<Result<Delivery, BusError>>;
}

/// Carries envelopes from stage to stage, at least once to each consumer group.
///
/// # Contract
/// - A published message reaches every group that has subscribed to the topic, also one whose
///   consumers are away for a while; within a group one consumer at a time has it.
/// - A message that is not settled within the ack deadline comes again; after the last attempt it
///   stands on the topic's dead-letter topic with `deadletterreason` and `deadletterattempts`.
/// - A slow group causes back-pressure: `publish` waits, up to the publish deadline, and then is an
///   error. A message is never dropped; where the server keeps messages by time (Kafka), a group that is
///   further behind has lost them.
/// - `publish` returns once the bus holds the message. It is cancel safe up to that point.
///
/// # Errors
/// [`BusError`]; only `Closed` is final, and for one message `TooLarge`.
///
/// # Implementing
/// Buses are large; the smallest useful one forwards to another, here to the in-process one:
/// ```
/// use aiops_core::{BusError, Envelope, EventBus, MemoryBus, Subscription};
/// #[derive(Debug)]
/// struct Prefixed(MemoryBus);
///
/// #[async_trait::async_trait]
/// impl EventBus for Prefixed {
///     async fn publish(&self, topic: &str, message: Envelope) -> Result<(), BusError> {
///         self.0.publish(&format!("eu.{topic}"), message).await
///     }
///     async fn subscribe(&self, topic: &str, group: &str) -> Result<Box<dyn Subscription>, BusError> {
///         self.0.subscribe(&format!("eu.{topic}"), group).await
///     }
/// }
/// ```
#[async_trait]
pub trait EventBus: fmt::Debug + Send + Sync + 'static {
    /// Hands a message to the bus.
    async fn publish(&self, topic: &str, message: Envelope) -> Result<(), BusError>;

    /// Joins a consumer group of a topic, and creates the group if it is new.
    async fn subscribe(&self, topic: &str, group: &str) -> Result<Box<dyn Subscription>, BusError>;
}

/// The Rust block of the guide is a test.
#[cfg(all(doctest, feature = "kafka", feature = "nats", feature = "redis"))]
#[doc = include_str!("../../../docs/guide/buses.md")]
struct BusesGuide;

/// Written out as `async_trait` does it, so that a pointer costs no second box.
macro_rules! forward_event_bus {
    ($pointer:ident) => {
        #[deny(clippy::missing_trait_methods)]
        impl<T: EventBus + ?Sized> EventBus for $pointer<T> {
            fn publish<'a, 'b, 'c>(&'a self, topic: &'b str, message: Envelope) -> Boxed<'c, Result<(), BusError>>
            where
                'a: 'c,
                'b: 'c,
                Self: 'c,
            {
                (**self).publish(topic, message)
            }

            fn subscribe<'a, 'b, 'd, 'c>(
                &'a self,
                topic: &'b str,
                group: &'d str,
            ) -> Boxed<'c, Result<Box<dyn Subscription>, BusError>>
            where
                'a: 'c,
                'b: 'c,
                'd: 'c,
                Self: 'c,
            {
                (**self).subscribe(topic, group)
            }
        }
    };
}
forward_event_bus!(Arc);
forward_event_bus!(Box);
