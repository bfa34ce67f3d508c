//! The suite of [`EventBus`], its subscriptions and deliveries.

use std::collections::BTreeSet;
use std::task::Poll;
use std::time::Duration;

use jiff::Timestamp;

use super::{PATIENCE, answered, poll_once, within};
use crate::bus::{BusError, Delivery, Envelope, EventBus, Subscription, dead_letter_topic};
use crate::testing::{Violation, ensure};

const WHOLE: &str = "a message comes as it was published";
const GROUPS: &str = "a published message reaches every group that has subscribed to the topic";
const ONE_CONSUMER: &str = "within a group one consumer at a time has it";
const AWAY: &str = "it reaches a group whose consumers are away for a while";
const SETTLED: &str = "a message that was handled does not come again to this group";
const ATTEMPT: &str = "`attempt` counts from 1";
const DELAY: &str = "a failed attempt comes again after its delay";
const DEADLINE: &str = "a message that is not settled within the ack deadline comes again";
const ABANDONED: &str = "a delivery that is dropped unsettled is a failed attempt, and loses nothing";
const CANCEL: &str = "`next` is cancel safe: a dropped future loses no message";
const DEAD: &str = "after the last attempt it stands on the dead-letter topic with reason and attempts";
const GOES_ON: &str = "a message that cannot be handled does not hold up those after it";
const NEVER_DROPPED: &str = "a message is never dropped: `publish` waits, and then is an error";

/// What the suite needs to know of a bus.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct BusTerms {
    /// Begins every topic of the suite; it must be fresh.
    pub topic: String,
    /// The bus's ack deadline, and no shorter than its longest wait between attempts.
    pub ack_deadline: Duration,
    /// Attempts before a message becomes a dead letter, at least 2.
    pub max_attempts: u32,
    /// Messages published at once without a consumer; more than the bus holds, where that is bounded.
    pub burst: usize,
    /// How long `publish` waits for room.
    pub publish_deadline: Duration,
}

impl BusTerms {
    /// The terms of a bus with this ack deadline and this many attempts: a burst of 20 messages, and no
    /// longer wait for room than the ack deadline.
    pub fn new(topic: impl Into<String>, ack_deadline: Duration, max_attempts: u32) -> Self {
        Self { topic: topic.into(), ack_deadline, max_attempts, burst: 20, publish_deadline: ack_deadline }
    }
}

/// The bus under test, its terms, and the hand on its clock.
struct Bench<'a, P> {
    bus: &'a dyn EventBus,
    terms: &'a BusTerms,
    pass: P,
}

/// Checks a bus: groups, competing consumers, ack, delayed retry, ack deadline, dropped deliveries and
/// futures, dead letters, and that nothing is lost where a group is slow.
///
/// `pass` makes the given time pass for the bus; for a broker with a real clock it does nothing, and
/// the suite waits: give such a bus an ack deadline of about a second.
///
/// # Errors
/// The first line of the contract of [`EventBus`] that does not hold.
///
/// ```
/// use std::time::Duration;
/// use aiops_core::{MemoryBus, testing::{self, BusTerms, ManualClock}};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), testing::Violation> {
/// let (clock, minute) = (ManualClock::default(), Duration::from_secs(60));
/// let bus = MemoryBus::builder().with_clock(clock.clone()).capacity(8).ack_deadline(minute).max_attempts(3).build();
/// testing::check_event_bus(&bus, &BusTerms::new("test", minute, 3), |by| clock.advance(by)).await
/// # }
/// ```
pub async fn check_event_bus(
    bus: &dyn EventBus,
    terms: &BusTerms,
    pass: impl Fn(Duration) + Send + Sync,
) -> Result<(), Violation> {
    let bench = Bench { bus, terms, pass };
    bench.groups().await?;
    bench.away().await?;
    bench.retries().await?;
    bench.unsettled().await?;
    bench.dead_letters().await?;
    bench.burst().await
}

fn message(id: &str) -> Envelope {
    let mut message =
        Envelope::new(id, "/conformance", "test.v1", Timestamp::UNIX_EPOCH, serde_json::json!({"n": 1.5, "t": "é\n|"}));
    message.partitionkey = Some("a|b%".to_owned());
    message.traceparent = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned());
    message.extensions.insert("myattr".to_owned(), "kept".into());
    message
}

type Inbox = Box<dyn Subscription>;

fn failed(line: &'static str) -> impl Fn(BusError) -> Violation {
    move |error| Violation::new(line, crate::error_chain(&error))
}

async fn next(inbox: &mut Inbox, line: &'static str, patience: Duration) -> Result<Delivery, Violation> {
    let closed = || Violation::new(line, "the subscription ended while the bus was open");
    within(patience, line, "the next message", inbox.next()).await?.ok_or_else(closed)?.map_err(failed(line))
}

impl<P: Fn(Duration) + Send + Sync> Bench<'_, P> {
    fn topic(&self, of: &str) -> String {
        format!("{}.{of}", self.terms.topic)
    }

    async fn subscribe(&self, topic: &str, group: &str) -> Result<Inbox, Violation> {
        answered(GROUPS, GROUPS, "subscribe", self.bus.subscribe(topic, group)).await
    }

    async fn publish(&self, topic: &str, id: &str) -> Result<(), Violation> {
        answered(GROUPS, GROUPS, "publish", self.bus.publish(topic, message(id))).await
    }

    async fn next(&self, inbox: &mut Inbox, line: &'static str) -> Result<Delivery, Violation> {
        next(inbox, line, PATIENCE).await
    }

    /// The next message, which the bus may give only after some of its own time.
    async fn later(&self, inbox: &mut Inbox, line: &'static str) -> Result<Delivery, Violation> {
        // Deadline and back-off may come one after the other.
        for _ in 0..3 {
            if let Poll::Ready(given) = poll_once(inbox.next()).await {
                let closed = || Violation::new(line, "the subscription ended while the bus was open");
                return given.ok_or_else(closed)?.map_err(failed(line));
            }
            (self.pass)(self.terms.ack_deadline);
        }
        next(inbox, line, PATIENCE + self.terms.ack_deadline * 3).await
    }

    async fn nothing_more(&self, inbox: &mut Inbox, line: &'static str) -> Result<(), Violation> {
        let given = poll_once(inbox.next()).await;
        ensure(given.is_pending(), line, || format!("and yet the group got {given:?}"))
    }

    async fn groups(&self) -> Result<(), Violation> {
        let topic = self.topic("groups");
        let mut one = self.subscribe(&topic, "a").await?;
        let mut other = self.subscribe(&topic, "a").await?;
        let mut group = self.subscribe(&topic, "b").await?;
        let ids = ["1", "2"];
        for id in ids {
            self.publish(&topic, id).await?;
        }
        // Both consumers hold one: neither gets the other's.
        let held = [self.next(&mut one, ONE_CONSUMER).await?, self.next(&mut other, ONE_CONSUMER).await?];
        let got: BTreeSet<&str> = held.iter().map(|delivery| delivery.envelope().id.as_str()).collect();
        ensure(got == BTreeSet::from(ids), ONE_CONSUMER, || format!("two consumers of a group got {got:?}"))?;
        for id in ids {
            let delivery = self.next(&mut group, GROUPS).await?;
            ensure(*delivery.envelope() == message(id), WHOLE, || {
                format!("published {:?}, got {:?}", message(id), delivery.envelope())
            })?;
            ensure(delivery.attempt() == 1, ATTEMPT, || format!("the first is {}", delivery.attempt()))?;
            delivery.ack().await.map_err(failed(SETTLED))?;
        }
        for delivery in held {
            delivery.ack().await.map_err(failed(SETTLED))?;
        }
        (self.pass)(self.terms.ack_deadline * 2);
        for inbox in [&mut one, &mut other, &mut group] {
            self.nothing_more(inbox, SETTLED).await?;
        }
        Ok(())
    }

    async fn away(&self) -> Result<(), Violation> {
        let topic = self.topic("away");
        drop(self.subscribe(&topic, "a").await?);
        self.publish(&topic, "1").await?;
        let mut inbox = self.subscribe(&topic, "a").await?;
        self.next(&mut inbox, AWAY).await?.ack().await.map_err(failed(SETTLED))?;

        // Waiting and giving up, before a message is there and while it comes.
        self.nothing_more(&mut inbox, SETTLED).await?;
        self.publish(&topic, "2").await?;
        self.later(&mut inbox, CANCEL).await?.ack().await.map_err(failed(SETTLED))
    }

    async fn retries(&self) -> Result<(), Violation> {
        let topic = self.topic("retries");
        let mut inbox = self.subscribe(&topic, "a").await?;
        self.publish(&topic, "1").await?;
        let delay = self.terms.ack_deadline / 2;
        self.next(&mut inbox, DELAY).await?.nak(delay, "not now").await.map_err(failed(DELAY))?;
        self.nothing_more(&mut inbox, DELAY).await?;
        self.publish(&topic, "2").await?;
        let between = self.next(&mut inbox, GOES_ON).await?;
        ensure(between.envelope().id == "2", GOES_ON, || format!("got {}", between.envelope().id))?;
        between.ack().await.map_err(failed(SETTLED))?;
        (self.pass)(delay);
        let again = self.later(&mut inbox, DELAY).await?;
        self.is_again(&again, "1", DELAY)?;
        again.ack().await.map_err(failed(SETTLED))
    }

    fn is_again(&self, delivery: &Delivery, id: &str, line: &'static str) -> Result<(), Violation> {
        ensure(*delivery.envelope() == message(id), line, || {
            format!("waited for {id}, got {:?}", delivery.envelope())
        })?;
        ensure(delivery.attempt() == 2, ATTEMPT, || format!("the second attempt is {}", delivery.attempt()))
    }

    async fn unsettled(&self) -> Result<(), Violation> {
        let topic = self.topic("unsettled");
        let mut inbox = self.subscribe(&topic, "a").await?;
        self.publish(&topic, "1").await?;
        drop(self.next(&mut inbox, ABANDONED).await?);
        let again = self.later(&mut inbox, ABANDONED).await?;
        self.is_again(&again, "1", ABANDONED)?;
        again.ack().await.map_err(failed(SETTLED))?;

        self.publish(&topic, "2").await?;
        let held = self.next(&mut inbox, DEADLINE).await?;
        self.nothing_more(&mut inbox, ONE_CONSUMER).await?;
        let again = self.later(&mut inbox, DEADLINE).await?;
        self.is_again(&again, "2", DEADLINE)?;
        again.ack().await.map_err(failed(SETTLED))?;
        // Its word comes too late; whether the bus says so is its own.
        let _ = held.ack().await;
        self.nothing_more(&mut inbox, SETTLED).await
    }

    async fn dead_letters(&self) -> Result<(), Violation> {
        let topic = self.topic("dead");
        let mut inbox = self.subscribe(&topic, "a").await?;
        let mut letters = self.subscribe(&dead_letter_topic(&topic), "ops").await?;
        self.publish(&topic, "1").await?;
        for _ in 0..self.terms.max_attempts {
            let delivery = self.later(&mut inbox, DEAD).await?;
            delivery.nak(Duration::ZERO, "store is down").await.map_err(failed(DEAD))?;
        }
        self.letter(&mut letters, "1", "store is down", self.terms.max_attempts).await?;
        self.publish(&topic, "2").await?;
        self.next(&mut inbox, GOES_ON).await?.dead_letter("does not read").await.map_err(failed(DEAD))?;
        self.letter(&mut letters, "2", "does not read", 1).await?;
        (self.pass)(self.terms.ack_deadline * 2);
        self.nothing_more(&mut inbox, DEAD).await
    }

    async fn letter(&self, letters: &mut Inbox, id: &str, reason: &str, attempts: u32) -> Result<(), Violation> {
        let delivery = self.later(letters, DEAD).await?;
        let (letter, mut wanted) = (delivery.envelope(), message(id));
        let extension = |name: &str| letter.extensions.get(name);
        let says = extension("deadletterreason").and_then(|found| found.as_str()).is_some_and(|r| r.contains(reason));
        let counts = extension("deadletterattempts").and_then(serde_json::Value::as_u64) == Some(attempts.into());
        // Whatever else a bus adds stands in the extensions.
        wanted.extensions.clone_from(&letter.extensions);
        ensure(says && counts && *letter == wanted, DEAD, || format!("after {attempts} attempts: {letter:?}"))?;
        delivery.ack().await.map_err(failed(SETTLED))
    }

    async fn burst(&self) -> Result<(), Violation> {
        let topic = self.topic("burst");
        let mut inbox = self.subscribe(&topic, "a").await?;
        let mut taken = BTreeSet::new();
        for number in 0..self.terms.burst {
            let id = number.to_string();
            let mut publish = self.bus.publish(&topic, message(&id));
            let outcome = match poll_once(&mut publish).await {
                Poll::Ready(outcome) => outcome,
                Poll::Pending => {
                    (self.pass)(self.terms.publish_deadline);
                    within(PATIENCE + self.terms.publish_deadline, NEVER_DROPPED, "publish", publish).await?
                }
            };
            match outcome {
                Ok(()) => taken.insert(id),
                Err(BusError::Full { .. }) => break,
                Err(error) => return Err(failed(NEVER_DROPPED)(error)),
            };
        }
        let mut given = BTreeSet::new();
        while given.len() < taken.len() {
            let delivery = self.later(&mut inbox, NEVER_DROPPED).await?;
            given.insert(delivery.envelope().id.clone());
            delivery.ack().await.map_err(failed(SETTLED))?;
        }
        ensure(given == taken, NEVER_DROPPED, || format!("the bus took {taken:?} and gave {given:?}"))
    }
}
