//! The in-process bus: bounded, at least once to each consumer group, nothing on disk.

use std::collections::{BTreeMap, VecDeque};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::Notify;

use super::queue::{Entry, Queue};
use super::{BusError, Delivery, Envelope, EventBus, Settle, Subscription, dead_letter_topic};
use crate::clock::{Clock, SystemClock};
use crate::lock::lock;
use crate::time::plus;

/// Unsettled messages of one group: at 1 KiB a message, about 1 MiB.
const CAPACITY: usize = 1_024;
/// Dead letters of one topic that are kept.
const DEAD_LETTERS: usize = 1_024;
/// Longer than a group's wait, its context and its triage take together.
const ACK_DEADLINE: Duration = Duration::from_secs(300);
/// Past this a failure is the message's, not the moment's.
const MAX_ATTEMPTS: u32 = 5;
/// How long back-pressure may hold a publisher.
const PUBLISH_DEADLINE: Duration = Duration::from_secs(30);
/// Wait after the first attempt that was dropped; it doubles with each.
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
/// No wait between attempts is longer.
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);

/// Settings of a [`MemoryBus`].
#[derive(Debug, Clone)]
#[must_use]
pub struct MemoryBusBuilder {
    capacity: usize,
    dead_letters: usize,
    ack_deadline: Duration,
    max_attempts: u32,
    publish_deadline: Duration,
    first_backoff: Duration,
    longest_backoff: Duration,
    clock: Arc<dyn Clock>,
}

impl MemoryBusBuilder {
    /// Unsettled messages of one group before `publish` waits (default 1,024, at least 1).
    pub fn capacity(mut self, messages: usize) -> Self {
        self.capacity = messages.max(1);
        self
    }

    /// Dead letters kept of one topic, and for each group that reads them (default 1,024, at least 1).
    pub fn dead_letters(mut self, letters: usize) -> Self {
        self.dead_letters = letters.max(1);
        self
    }

    /// How long a consumer may take before its message comes again (default 5 min).
    pub fn ack_deadline(mut self, deadline: Duration) -> Self {
        self.ack_deadline = deadline;
        self
    }

    /// Attempts before a message becomes a dead letter (default 5, at least 1).
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = attempts.max(1);
        self
    }

    /// How long `publish` waits for room (default 30 s).
    pub fn publish_deadline(mut self, deadline: Duration) -> Self {
        self.publish_deadline = deadline;
        self
    }

    /// The wait after a dropped delivery, doubling up to `longest` (default 1 s up to 1 min).
    pub fn backoff(mut self, first: Duration, longest: Duration) -> Self {
        (self.first_backoff, self.longest_backoff) = (first, longest);
        self
    }

    /// Another clock for all deadlines.
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// The bus.
    #[must_use]
    pub fn build(self) -> MemoryBus {
        MemoryBus {
            shared: Arc::new(Shared {
                settings: self,
                state: Mutex::default(),
                room: Notify::new(),
                arrived: Notify::new(),
            }),
        }
    }
}

/// The in-process bus. Clones are handles to the same bus.
///
/// - A group gets what is published after its first `subscribe`. A message on a topic without groups
///   goes nowhere and is counted (`aiops_bus_unrouted_total`): a pipeline of detection alone must
///   not stop because nobody listens.
/// - Each group has room for `capacity` unsettled messages; when the slowest group is full,
///   `publish` waits, then is [`BusError::Full`].
/// - Fresh messages come in publish order; one that comes again goes before those after it.
/// - A dead letter keeps its reason and its group (`deadlettergroup`), stands in
///   [`dead_letters`](Self::dead_letters), and is delivered to the groups of [`dead_letter_topic`].
///   Dead letters never cause back-pressure: the last ones are kept, older ones dropped and counted.
/// - An ack that comes after its message was given out again settles nothing, and is counted.
/// - Nothing runs in the background: consumers that wait drive deadlines and redelivery.
/// - The messages are in memory: what is not settled when the process ends is gone, unless the host
///   keeps what [`undelivered`](Self::undelivered) hands back.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use aiops_core::{Envelope, EventBus, MemoryBus, jiff::Timestamp};
/// let bus = MemoryBus::default();
/// let mut inbox = bus.subscribe("orders", "billing").await?;
/// bus.publish("orders", Envelope::new("1", "/shop", "order.v1", Timestamp::now(), "a book".into())).await?;
/// let delivery = inbox.next().await.ok_or("closed")??;
/// assert_eq!(delivery.envelope().data, "a book");
/// delivery.ack().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct MemoryBus {
    shared: Arc<Shared>,
}

impl Default for MemoryBus {
    fn default() -> Self {
        Self::builder().build()
    }
}

/// A message that was not settled, as [`MemoryBus::undelivered`] hands it back.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Undelivered {
    /// The topic.
    pub topic: String,
    /// The group that has not settled it.
    pub group: String,
    /// Times it was handed out.
    pub attempts: u32,
    /// The message.
    pub envelope: Envelope,
}

impl MemoryBus {
    /// Starts a bus with the defaults.
    pub fn builder() -> MemoryBusBuilder {
        MemoryBusBuilder {
            capacity: CAPACITY,
            dead_letters: DEAD_LETTERS,
            ack_deadline: ACK_DEADLINE,
            max_attempts: MAX_ATTEMPTS,
            publish_deadline: PUBLISH_DEADLINE,
            first_backoff: FIRST_BACKOFF,
            longest_backoff: LONGEST_BACKOFF,
            clock: Arc::new(SystemClock),
        }
    }

    /// Takes no more messages. Consumers get what is ready and then `None`; settling goes on working.
    pub fn close(&self) {
        lock(&self.shared.state).closed = true;
        self.shared.room.notify_waiters();
        self.shared.arrived.notify_waiters();
    }

    /// All that no consumer has settled yet, in publish order of each topic and group.
    #[must_use]
    pub fn undelivered(&self) -> Vec<Undelivered> {
        let state = lock(&self.shared.state);
        let groups = state
            .topics
            .iter()
            .flat_map(|(topic, content)| content.groups.iter().map(move |(group, queue)| (topic, group, queue)));
        groups
            .flat_map(|(topic, group, queue)| {
                queue.unsettled().into_iter().map(move |entry| Undelivered {
                    topic: topic.clone(),
                    group: group.clone(),
                    attempts: entry.attempts,
                    envelope: (*entry.envelope).clone(),
                })
            })
            .collect()
    }

    /// The last dead letters of a topic (named without `.dead`), the oldest first.
    #[must_use]
    pub fn dead_letters(&self, topic: &str) -> Vec<Envelope> {
        let state = lock(&self.shared.state);
        state
            .dead
            .get(topic)
            .map(|letters| letters.iter().map(|letter| (**letter).clone()).collect())
            .unwrap_or_default()
    }
}

#[derive(Debug)]
struct Shared {
    settings: MemoryBusBuilder,
    state: Mutex<State>,
    /// Something was settled or closed: publishers wait for it.
    room: Notify,
    /// Something was published, failed or closed: consumers wait for it.
    arrived: Notify,
}

#[derive(Debug, Default)]
struct State {
    closed: bool,
    topics: BTreeMap<String, Topic>,
    /// By topic: the last dead letters, the oldest first.
    dead: BTreeMap<String, VecDeque<Arc<Envelope>>>,
    /// Tokens of deliveries and places of messages, never used twice.
    next: u64,
}

#[derive(Debug, Default)]
struct Topic {
    groups: BTreeMap<String, Queue>,
}

impl State {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn queue(&mut self, topic: &str, group: &str) -> Option<&mut Queue> {
        self.topics.get_mut(topic)?.groups.get_mut(group)
    }

    /// A failed attempt: the message waits until `again`, or is a dead letter.
    fn failed(&mut self, at: &Place, entry: Entry, again: Timestamp, reason: &str, settings: &MemoryBusBuilder) {
        if entry.attempts >= settings.max_attempts {
            self.bury(at, &entry, reason, settings.dead_letters);
        } else if let Some(queue) = self.queue(&at.topic, &at.group) {
            metrics::counter!("aiops_bus_retried_total", "topic" => at.topic.clone(), "group" => at.group.clone())
                .increment(1);
            queue.retry(entry, again);
        }
    }

    fn bury(&mut self, at: &Place, entry: &Entry, reason: &str, keep: usize) {
        metrics::counter!("aiops_bus_dead_lettered_total", "topic" => at.topic.clone(), "group" => at.group.clone())
            .increment(1);
        let mut letter = (*entry.envelope).clone().into_dead_letter(reason, entry.attempts);
        letter.extensions.insert("deadlettergroup".to_owned(), at.group.as_str().into());
        let letter = Arc::new(letter);
        let mut dropped = 0;
        let kept = self.dead.entry(at.topic.clone()).or_default();
        kept.push_back(Arc::clone(&letter));
        if kept.len() > keep {
            kept.pop_front();
            dropped += 1;
        }
        let seq = self.number();
        for queue in self.topics.get_mut(&dead_letter_topic(&at.topic)).into_iter().flat_map(|t| t.groups.values_mut())
        {
            queue.push(seq, Arc::clone(&letter));
            if queue.len() > keep && queue.drop_oldest() {
                dropped += 1;
            }
        }
        if dropped > 0 {
            metrics::counter!("aiops_bus_dead_letters_dropped_total", "topic" => at.topic.clone()).increment(dropped);
        }
    }
}

impl Shared {
    fn publish_now(&self, topic: &str, message: &Arc<Envelope>) -> Result<bool, BusError> {
        let mut state = lock(&self.state);
        if state.closed {
            return Err(BusError::Closed { topic: topic.to_owned() });
        }
        let seq = state.number();
        let Some(groups) = state.topics.get_mut(topic).map(|topic| &mut topic.groups).filter(|all| !all.is_empty())
        else {
            metrics::counter!("aiops_bus_unrouted_total", "topic" => topic.to_owned()).increment(1);
            return Ok(true);
        };
        // All groups or none: a message is never in half of them.
        if groups.values().any(|queue| queue.len() >= self.settings.capacity) {
            return Ok(false);
        }
        for queue in groups.values_mut() {
            queue.push(seq, Arc::clone(message));
        }
        drop(state);
        metrics::counter!("aiops_bus_published_total", "topic" => topic.to_owned()).increment(1);
        self.arrived.notify_waiters();
        Ok(true)
    }
}

#[async_trait]
impl EventBus for MemoryBus {
    async fn publish(&self, topic: &str, message: Envelope) -> Result<(), BusError> {
        let settings = &self.shared.settings;
        let message = Arc::new(message);
        let started = settings.clock.now();
        // Listening has its price, and most often there is room.
        if self.shared.publish_now(topic, &message)? {
            return Ok(());
        }
        loop {
            let mut room = pin!(self.shared.room.notified());
            // Listening starts before the look at the queues, so that no ack is missed.
            room.as_mut().enable();
            if self.shared.publish_now(topic, &message)? {
                return Ok(());
            }
            tokio::select! {
                () = room => {}
                () = settings.clock.sleep_until(plus(started, settings.publish_deadline)) => {
                    metrics::counter!("aiops_bus_refused_total", "topic" => topic.to_owned()).increment(1);
                    return Err(BusError::Full { topic: topic.to_owned(), waited: settings.publish_deadline });
                }
            }
        }
    }

    async fn subscribe(&self, topic: &str, group: &str) -> Result<Box<dyn Subscription>, BusError> {
        let place = Arc::new(Place { topic: topic.to_owned(), group: group.to_owned() });
        let mut state = lock(&self.shared.state);
        if state.closed {
            return Err(BusError::Closed { topic: topic.to_owned() });
        }
        state.topics.entry(topic.to_owned()).or_default().groups.entry(group.to_owned()).or_default();
        drop(state);
        Ok(Box::new(Consumer { shared: Arc::clone(&self.shared), place }))
    }
}

/// A group of a topic.
#[derive(Debug)]
struct Place {
    topic: String,
    group: String,
}

#[derive(Debug)]
struct Consumer {
    shared: Arc<Shared>,
    place: Arc<Place>,
}

// It lives for one statement, so its size does not matter.
#[allow(clippy::large_enum_variant)]
enum Next {
    Given(Delivery),
    Wait(Option<Timestamp>),
    End,
}

impl Consumer {
    fn next_now(&self) -> Next {
        let settings = &self.shared.settings;
        let mut state = lock(&self.shared.state);
        let now = settings.clock.now();
        let (topic, group) = (&self.place.topic, &self.place.group);
        let mut freed = false;
        while let Some(entry) = state.queue(topic, group).and_then(|queue| queue.overdue(now)) {
            let reason = format!("not settled within {}", crate::time::human(settings.ack_deadline));
            state.failed(&self.place, entry, now, &reason, settings);
            freed = true;
        }
        let token = state.number();
        let taken = state.queue(topic, group).and_then(|queue| queue.take(now, token, settings.ack_deadline));
        let next = match taken {
            Some(entry) => {
                let settle = Handle { shared: Arc::clone(&self.shared), place: Arc::clone(&self.place), token };
                Next::Given(Delivery::new(entry.envelope, entry.attempts, Box::new(settle)))
            }
            None if state.closed => Next::End,
            None => Next::Wait(state.queue(topic, group).and_then(|queue| queue.next_change())),
        };
        drop(state);
        if freed {
            self.shared.room.notify_waiters();
            self.shared.arrived.notify_waiters();
        }
        next
    }
}

#[async_trait]
impl Subscription for Consumer {
    async fn next(&mut self) -> Option<Result<Delivery, BusError>> {
        // As in `publish`.
        if let Next::Given(delivery) = self.next_now() {
            return Some(Ok(delivery));
        }
        loop {
            let mut arrived = pin!(self.shared.arrived.notified());
            arrived.as_mut().enable();
            match self.next_now() {
                Next::Given(delivery) => return Some(Ok(delivery)),
                Next::End => return None,
                Next::Wait(None) => arrived.await,
                Next::Wait(Some(at)) => tokio::select! {
                    () = arrived => {}
                    () = self.shared.settings.clock.sleep_until(at) => {}
                },
            }
        }
    }
}

/// Settles one delivery; its token is good for one answer.
#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
    place: Arc<Place>,
    token: u64,
}

impl Handle {
    /// Runs `then` on the entry, unless it was taken back before.
    fn settle(&self, then: impl FnOnce(&mut State, Entry, Timestamp)) {
        let mut state = lock(&self.shared.state);
        match state.queue(&self.place.topic, &self.place.group).and_then(|queue| queue.settle(self.token)) {
            Some(entry) => then(&mut state, entry, self.shared.settings.clock.now()),
            None => metrics::counter!("aiops_bus_late_total", "topic" => self.place.topic.clone()).increment(1),
        }
        drop(state);
        self.shared.room.notify_waiters();
    }

    fn fail(&self, delay: impl FnOnce(u32) -> Duration, reason: &str) {
        self.settle(|state, entry, now| {
            let again = plus(now, delay(entry.attempts));
            state.failed(&self.place, entry, again, reason, &self.shared.settings);
        });
        self.shared.arrived.notify_waiters();
    }
}

#[async_trait]
impl Settle for Handle {
    async fn ack(self: Box<Self>) -> Result<(), BusError> {
        self.settle(|_, _, _| {});
        Ok(())
    }

    async fn nak(self: Box<Self>, delay: Duration, reason: String) -> Result<(), BusError> {
        self.fail(|_| delay, &reason);
        Ok(())
    }

    async fn dead_letter(self: Box<Self>, reason: String) -> Result<(), BusError> {
        self.settle(|state, entry, _| state.bury(&self.place, &entry, &reason, self.shared.settings.dead_letters));
        self.shared.arrived.notify_waiters();
        Ok(())
    }

    fn abandon(self: Box<Self>) {
        let settings = &self.shared.settings;
        let doubled = |attempts: u32| settings.first_backoff.saturating_mul(1 << attempts.saturating_sub(1).min(20));
        self.fail(|attempts| doubled(attempts).min(settings.longest_backoff), "its consumer dropped it unsettled");
    }
}
