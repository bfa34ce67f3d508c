//! The in-process bus: bounded, at least once to each consumer group, nothing on disk.

use std::collections::{BTreeMap, VecDeque};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
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
                closed: AtomicBool::new(false),
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
        let state = lock(&self.shared.state);
        self.shared.closed.store(true, Ordering::SeqCst);
        drop(state);
        self.shared.room.notify_waiters();
        self.shared.arrived.notify_waiters();
    }

    /// All that no consumer has settled yet, in publish order of each topic and group.
    #[must_use]
    pub fn undelivered(&self) -> Vec<Undelivered> {
        let state = lock(&self.shared.state);
        let groups = state.topics.values().flat_map(|topic| topic.groups.values());
        groups
            .flat_map(|group| {
                let unsettled = group.all().queue.unsettled();
                unsettled.into_iter().map(|entry| Undelivered {
                    topic: group.topic.clone(),
                    group: group.name.clone(),
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

/// Locks are taken in this order: the state, a group's queue, its inbox. No two queues are locked at once.
#[derive(Debug)]
struct Shared {
    settings: MemoryBusBuilder,
    state: Mutex<State>,
    /// Written under the lock of the state.
    closed: AtomicBool,
    /// Something was settled or closed: publishers wait for it.
    room: Notify,
    /// Something was published, failed or closed: consumers wait for it.
    arrived: Notify,
}

#[derive(Debug, Default)]
struct State {
    topics: BTreeMap<String, Topic>,
    /// By topic: the last dead letters, the oldest first.
    dead: BTreeMap<String, VecDeque<Arc<Envelope>>>,
    /// The place of the last message.
    last: u64,
}

#[derive(Debug)]
struct Topic {
    groups: BTreeMap<String, Arc<Group>>,
    /// What counts its messages: made once, since it is needed for each.
    published: Arc<metrics::Key>,
}

/// Adds to a counter whose key is made already.
fn count_one(key: &metrics::Key) {
    const METADATA: metrics::Metadata<'static> =
        metrics::Metadata::new(module_path!(), metrics::Level::INFO, Some(module_path!()));
    metrics::with_recorder(|recorder| recorder.register_counter(key, &METADATA).increment(1));
}

/// A consumer group of a topic.
#[derive(Debug)]
struct Group {
    topic: String,
    name: String,
    queue: Mutex<Taken>,
    /// What was published since consumers looked last, so that publishers seldom wait for them. All of it was
    /// published after what is in the queue.
    inbox: Mutex<Vec<Fresh>>,
    /// Messages in the queue and the inbox.
    unsettled: AtomicUsize,
}

/// A message with its place in the topic.
type Fresh = (u64, Arc<Envelope>);

#[derive(Debug, Default)]
struct Taken {
    queue: Queue,
    /// The last token of a delivery; none is used twice.
    token: u64,
    /// What the inbox becomes when it is taken.
    spare: Vec<Fresh>,
}

impl Taken {
    fn collect(&mut self, inbox: &Mutex<Vec<Fresh>>) {
        std::mem::swap(&mut *lock(inbox), &mut self.spare);
        for (seq, envelope) in self.spare.drain(..) {
            self.queue.push(seq, envelope);
        }
    }

    fn take(&mut self, now: Timestamp, ack_deadline: Duration) -> Option<(u64, Entry)> {
        self.token += 1;
        Some((self.token, self.queue.take(now, self.token, ack_deadline)?))
    }
}

impl Group {
    /// Its queue with all that was published.
    fn all(&self) -> MutexGuard<'_, Taken> {
        let mut taken = lock(&self.queue);
        taken.collect(&self.inbox);
        taken
    }

    /// Takes a message in; whether consumers may wait for it.
    fn push(&self, seq: u64, envelope: &Arc<Envelope>) -> bool {
        self.unsettled.fetch_add(1, Ordering::SeqCst);
        let mut inbox = lock(&self.inbox);
        inbox.push((seq, Arc::clone(envelope)));
        inbox.len() == 1
    }

    /// Hands out the next message.
    fn take(&self, now: Timestamp, ack_deadline: Duration) -> Result<(u64, Entry), Nothing> {
        let mut taken = lock(&self.queue);
        if taken.queue.is_overdue(now) {
            return Err(Nothing::Overdue);
        }
        if let Some(given) = taken.take(now, ack_deadline) {
            return Ok(given);
        }
        taken.collect(&self.inbox);
        taken.take(now, ack_deadline).ok_or_else(|| Nothing::Until(taken.queue.next_change()))
    }
}

/// Why there is no message to hand out.
enum Nothing {
    /// There may be one once what is overdue has been taken back.
    Overdue,
    /// Something changes by itself at this time.
    Until(Option<Timestamp>),
}

impl State {
    fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// A group; a new one begins now.
    fn group(&mut self, topic: &str, group: &str) -> Arc<Group> {
        let content = self.topics.entry(topic.to_owned()).or_insert_with(|| {
            let label = metrics::Label::new("topic", topic.to_owned());
            let published = Arc::new(metrics::Key::from_parts("aiops_bus_published_total", vec![label]));
            Topic { groups: BTreeMap::new(), published }
        });
        let group = content.groups.entry(group.to_owned()).or_insert_with(|| {
            Arc::new(Group {
                topic: topic.to_owned(),
                name: group.to_owned(),
                queue: Mutex::default(),
                inbox: Mutex::default(),
                unsettled: AtomicUsize::new(0),
            })
        });
        Arc::clone(group)
    }
}

impl Shared {
    /// A failed attempt: the message waits until `again`, or is a dead letter.
    fn failed(&self, state: &mut State, group: &Group, entry: Entry, again: Timestamp, reason: &str) {
        if entry.attempts >= self.settings.max_attempts {
            self.bury(state, group, &entry, reason);
        } else {
            metrics::counter!("aiops_bus_retried_total", "topic" => group.topic.clone(), "group" => group.name.clone())
                .increment(1);
            lock(&group.queue).queue.retry(entry, again);
        }
    }

    fn bury(&self, state: &mut State, group: &Group, entry: &Entry, reason: &str) {
        let keep = self.settings.dead_letters;
        metrics::counter!("aiops_bus_dead_lettered_total", "topic" => group.topic.clone(), "group" => group.name.clone())
            .increment(1);
        let mut letter = (*entry.envelope).clone().into_dead_letter(reason, entry.attempts);
        letter.extensions.insert("deadlettergroup".to_owned(), group.name.as_str().into());
        let letter = Arc::new(letter);
        let mut dropped = 0;
        let kept = state.dead.entry(group.topic.clone()).or_default();
        kept.push_back(Arc::clone(&letter));
        if kept.len() > keep {
            kept.pop_front();
            dropped += 1;
        }
        let seq = state.next();
        let readers =
            state.topics.get(&dead_letter_topic(&group.topic)).into_iter().flat_map(|topic| topic.groups.values());
        for reader in readers {
            reader.push(seq, &letter);
            let mut all = reader.all();
            let gone = all.queue.len() > keep && all.queue.drop_oldest();
            drop(all);
            if gone {
                dropped += 1;
                self.left(reader);
            }
        }
        if dropped > 0 {
            metrics::counter!("aiops_bus_dead_letters_dropped_total", "topic" => group.topic.clone())
                .increment(dropped);
        }
        self.left(group);
    }

    /// A message has left a group. Publishers that wait saw it full, and the first that leaves wakes them all.
    fn left(&self, group: &Group) {
        if group.unsettled.fetch_sub(1, Ordering::SeqCst) == self.settings.capacity {
            self.room.notify_waiters();
        }
    }

    fn publish_now(&self, topic: &str, message: &Arc<Envelope>) -> Result<bool, BusError> {
        let mut state = lock(&self.state);
        if self.closed.load(Ordering::SeqCst) {
            return Err(BusError::Closed { topic: topic.to_owned() });
        }
        let seq = state.next();
        let Some(Topic { groups, published }) = state.topics.get(topic) else {
            metrics::counter!("aiops_bus_unrouted_total", "topic" => topic.to_owned()).increment(1);
            return Ok(true);
        };
        // All groups or none: a message is never in half of them.
        if groups.values().any(|group| group.unsettled.load(Ordering::SeqCst) >= self.settings.capacity) {
            return Ok(false);
        }
        // Consumers that wait saw an empty inbox, and the first message wakes them all.
        let mut awaited = false;
        for group in groups.values() {
            awaited |= group.push(seq, message);
        }
        let published = Arc::clone(published);
        drop(state);
        count_one(&published);
        if awaited {
            self.arrived.notify_waiters();
        }
        Ok(true)
    }

    /// Takes back what its consumers had for too long.
    fn take_back(&self, group: &Group, now: Timestamp) {
        let mut state = lock(&self.state);
        let reason = format!("not settled within {}", crate::time::human(self.settings.ack_deadline));
        loop {
            let Some(entry) = lock(&group.queue).queue.overdue(now) else { break };
            self.failed(&mut state, group, entry, now, &reason);
        }
        drop(state);
        self.arrived.notify_waiters();
    }
}

#[async_trait]
impl EventBus for MemoryBus {
    async fn publish(&self, topic: &str, message: Envelope) -> Result<(), BusError> {
        let settings = &self.shared.settings;
        let message = Arc::new(message);
        // Listening has its price, and most often there is room.
        if self.shared.publish_now(topic, &message)? {
            return Ok(());
        }
        let started = settings.clock.now();
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
        let mut state = lock(&self.shared.state);
        if self.shared.closed.load(Ordering::SeqCst) {
            return Err(BusError::Closed { topic: topic.to_owned() });
        }
        let group = state.group(topic, group);
        drop(state);
        Ok(Box::new(Consumer { shared: Arc::clone(&self.shared), group }))
    }
}

#[derive(Debug)]
struct Consumer {
    shared: Arc<Shared>,
    group: Arc<Group>,
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
        let Self { shared, group } = self;
        let now = shared.settings.clock.now();
        // Read first: what was published came before it.
        let closed = shared.closed.load(Ordering::SeqCst);
        loop {
            match group.take(now, shared.settings.ack_deadline) {
                Ok((token, entry)) => {
                    let settle = Handle { shared: Arc::clone(shared), group: Arc::clone(group), token };
                    return Next::Given(Delivery::new(entry.envelope, entry.attempts, Box::new(settle)));
                }
                Err(Nothing::Overdue) => shared.take_back(group, now),
                Err(Nothing::Until(_)) if closed => return Next::End,
                Err(Nothing::Until(at)) => return Next::Wait(at),
            }
        }
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
    group: Arc<Group>,
    token: u64,
}

impl Handle {
    /// The message, unless it was taken back before.
    fn settle(&self) -> Option<Entry> {
        let entry = lock(&self.group.queue).queue.settle(self.token);
        if entry.is_none() {
            metrics::counter!("aiops_bus_late_total", "topic" => self.group.topic.clone()).increment(1);
        }
        entry
    }

    /// Runs `then` on the message, and nobody sees that it is nowhere in the meantime.
    fn settle_with(&self, then: impl FnOnce(&mut State, Entry)) {
        let mut state = lock(&self.shared.state);
        if let Some(entry) = self.settle() {
            then(&mut state, entry);
        }
        drop(state);
        self.shared.arrived.notify_waiters();
    }

    fn fail(&self, delay: impl FnOnce(u32) -> Duration, reason: &str) {
        let now = self.shared.settings.clock.now();
        self.settle_with(|state, entry| {
            let again = plus(now, delay(entry.attempts));
            self.shared.failed(state, &self.group, entry, again, reason);
        });
    }
}

#[async_trait]
impl Settle for Handle {
    async fn ack(self: Box<Self>) -> Result<(), BusError> {
        if self.settle().is_some() {
            self.shared.left(&self.group);
        }
        Ok(())
    }

    async fn nak(self: Box<Self>, delay: Duration, reason: String) -> Result<(), BusError> {
        self.fail(|_| delay, &reason);
        Ok(())
    }

    async fn dead_letter(self: Box<Self>, reason: String) -> Result<(), BusError> {
        self.settle_with(|state, entry| self.shared.bury(state, &self.group, &entry, &reason));
        Ok(())
    }

    fn abandon(self: Box<Self>) {
        let settings = &self.shared.settings;
        let doubled = |attempts: u32| settings.first_backoff.saturating_mul(1 << attempts.saturating_sub(1).min(20));
        self.fail(|attempts| doubled(attempts).min(settings.longest_backoff), "its consumer dropped it unsettled");
    }
}
