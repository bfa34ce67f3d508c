//! What holds on each bus.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use aiops_core::jiff::Timestamp;
use aiops_core::testing::{BusTerms, MetricRecorder, check_event_bus};
use aiops_core::{BusError, BusSettings, Delivery, Envelope, EventBus, Subscription, dead_letter_topic};
use async_trait::async_trait;

/// Short, so that a test waits little; long beside a round trip on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_millis(1_500);
/// Longer than a consumer group takes to form on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
const ATTEMPTS: u32 = 3;

/// One kind of bus on its shared server.
#[async_trait]
pub(crate) trait Rig: Send + Sync {
    async fn bus(&self, settings: BusSettings) -> Arc<dyn EventBus>;
    /// Puts bytes onto a topic without the bus.
    async fn put(&self, topic: &str, payload: Vec<u8>);
}

pub(crate) fn settings() -> BusSettings {
    BusSettings::default()
        .ack_deadline(DEADLINE)
        .max_attempts(ATTEMPTS)
        .backoff(Duration::from_millis(50), Duration::from_millis(400))
        .publish_deadline(Duration::from_secs(5))
}

/// A topic that no other test has, nor an earlier run on the same server.
pub(crate) fn fresh(test: &str) -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    format!("{test}.{}-{now}-{number}", std::process::id())
}

pub(crate) fn message(id: &str) -> Envelope {
    Envelope::new(id, "/test", "test.v1", Timestamp::UNIX_EPOCH, serde_json::json!({"n": 1}))
}

pub(crate) type Inbox = Box<dyn Subscription>;

pub(crate) async fn next(inbox: &mut Inbox) -> Delivery {
    tokio::time::timeout(PATIENCE, inbox.next()).await.unwrap().unwrap().unwrap()
}

/// Whether the inbox stays empty for a while.
pub(crate) async fn stays_empty(inbox: &mut Inbox, during: Duration) -> bool {
    tokio::time::timeout(during, inbox.next()).await.is_err()
}

/// What is counted on this thread, until the guard is dropped.
pub(crate) fn counted() -> (MetricRecorder, metrics::LocalRecorderGuard<'static>) {
    let recorder: &'static MetricRecorder = Box::leak(Box::default());
    (recorder.clone(), metrics::set_default_local_recorder(recorder))
}

pub(crate) fn value(metrics: &MetricRecorder, name: &str) -> f64 {
    metrics.value(name).unwrap_or(0.0)
}

pub(crate) async fn passes_the_suite(rig: &dyn Rig, settings: BusSettings, change: impl FnOnce(&mut BusTerms)) {
    let mut terms = BusTerms::new(fresh("suite"), DEADLINE, ATTEMPTS);
    change(&mut terms);
    check_event_bus(&*rig.bus(settings).await, &terms, |_| ()).await.unwrap();
}

fn extension<'a>(letter: &'a Delivery, name: &str) -> &'a serde_json::Value {
    letter.envelope().extensions.get(name).unwrap_or(&serde_json::Value::Null)
}

/// Bytes that are no envelope go to the dead letters with all that they were, and the stream goes on.
pub(crate) async fn buries_poison(rig: &dyn Rig) {
    let (metrics, _guard) = counted();
    let topic = fresh("poison");
    let bus = rig.bus(settings()).await;
    let mut inbox = bus.subscribe(&topic, "g").await.unwrap();
    let mut letters = bus.subscribe(&dead_letter_topic(&topic), "ops").await.unwrap();
    rig.put(&topic, b"{\"not\": \"an envelope".to_vec()).await;
    rig.put(&topic, vec![0xff, 0xfe]).await;
    bus.publish(&topic, message("1")).await.unwrap();
    let delivery = next(&mut inbox).await;
    assert_eq!(delivery.envelope().id, "1");
    delivery.ack().await.unwrap();
    let mut buried = BTreeSet::new();
    for _ in 0..2 {
        let letter = letter_while_waiting(&mut inbox, &mut letters).await;
        assert!(extension(&letter, "deadletterreason").as_str().unwrap().contains("no envelope"));
        assert_eq!(*extension(&letter, "deadlettergroup"), "g");
        buried.insert(letter.envelope().data.to_string());
        letter.ack().await.unwrap();
    }
    let whole = [serde_json::json!({"text": "{\"not\": \"an envelope"}), serde_json::json!({"base64": "//4="})];
    assert_eq!(buried, whole.map(|data| data.to_string()).into());
    assert!(stays_empty(&mut inbox, DEADLINE / 2).await);
    assert_eq!(value(&metrics, "aiops_bus_unreadable_total"), 2.0);
    assert_eq!(value(&metrics, "aiops_bus_dead_lettered_total"), 2.0);
}

/// A message above the limit is refused, typed and counted, and final; with a higher limit it comes whole.
pub(crate) async fn refuses_or_carries_5_mb(rig: &dyn Rig) {
    let (metrics, _guard) = counted();
    let topic = fresh("large");
    let mut large = message("large");
    large.data = "x".repeat(5_000_000).into();
    let bus = rig.bus(settings()).await;
    let error = bus.publish(&topic, large.clone()).await.unwrap_err();
    assert!(matches!(error, BusError::TooLarge { bytes, limit: 1_000_000, .. } if bytes > 5_000_000), "{error}");
    assert!(!error.is_retryable());
    assert_eq!(value(&metrics, "aiops_bus_too_large_total"), 1.0);

    let bus = rig.bus(settings().max_bytes(6_000_000).ack_deadline(Duration::from_secs(20))).await;
    let mut inbox = bus.subscribe(&topic, "g").await.unwrap();
    bus.publish(&topic, large.clone()).await.unwrap();
    let delivery = next(&mut inbox).await;
    assert!(*delivery.envelope() == large, "it came changed");
    delivery.ack().await.unwrap();
}

/// Row 67: gftea/amqprs #66, apalis #639, getsentry/taskbroker #25.
pub(crate) async fn survives_a_panicking_consumer(rig: &dyn Rig) {
    let (metrics, _guard) = counted();
    let topic = fresh("panic");
    let bus = rig.bus(settings()).await;
    let mut inbox = bus.subscribe(&topic, "g").await.unwrap();
    bus.publish(&topic, message("1")).await.unwrap();
    let delivery = next(&mut inbox).await;
    let outcome = std::panic::catch_unwind(AssertUnwindSafe(move || {
        let held = delivery;
        panic!("while it handles {}", held.envelope().id);
    }));
    assert!(outcome.is_err());
    let again = next(&mut inbox).await;
    assert_eq!((again.envelope().id.as_str(), again.attempt()), ("1", 2));
    again.ack().await.unwrap();
    assert_eq!(value(&metrics, "aiops_bus_retried_total"), 1.0);
    assert_eq!(value(&metrics, "aiops_bus_redelivered_total"), 1.0);
}

/// Row 69: nats-server #4786. A consumer that stood still for longer than the ack deadline: another one has the
/// message by then, and the late word of the first settles nothing of it.
pub(crate) async fn row_69_takes_no_late_word_for_another_delivery(rig: &dyn Rig) {
    let (metrics, _guard) = counted();
    let topic = fresh("late");
    let bus = rig.bus(settings()).await;
    let mut one = bus.subscribe(&topic, "g").await.unwrap();
    let mut other = bus.subscribe(&topic, "g").await.unwrap();
    bus.publish(&topic, message("1")).await.unwrap();
    let (held, mut inbox) = tokio::select! {
        held = next(&mut one) => (held, other),
        held = next(&mut other) => (held, one),
    };
    assert_eq!(held.attempt(), 1);
    let second = next(&mut inbox).await;
    assert_eq!((second.envelope().id.as_str(), second.attempt()), ("1", 2));
    held.ack().await.unwrap();
    assert_eq!(value(&metrics, "aiops_bus_late_total"), 1.0);
    second.nak(Duration::ZERO, "not yet").await.unwrap();
    let third = next(&mut inbox).await;
    assert_eq!((third.envelope().id.as_str(), third.attempt()), ("1", 3), "the late ack settled it");
    third.ack().await.unwrap();
    assert!(stays_empty(&mut inbox, DEADLINE * 2).await);
    assert_eq!(value(&metrics, "aiops_bus_dead_lettered_total"), 0.0);
}

/// Rows 60 and 66: nats-server #6905, moleculer-channels PR #3. A message that every consumer drops, or that none
/// settles in time, ends as a dead letter with reason, attempts and payload, and is never out of reach.
pub(crate) async fn buries_what_nobody_settles(rig: &dyn Rig) {
    let (metrics, _guard) = counted();
    let topic = fresh("claims");
    let bus = rig.bus(settings()).await;
    let mut inbox = bus.subscribe(&topic, "g").await.unwrap();
    let mut letters = bus.subscribe(&dead_letter_topic(&topic), "ops").await.unwrap();
    bus.publish(&topic, message("dropped")).await.unwrap();
    for attempt in 1..=ATTEMPTS {
        let delivery = next(&mut inbox).await;
        assert_eq!(delivery.attempt(), attempt);
        drop(delivery);
    }
    let letter = letter_while_waiting(&mut inbox, &mut letters).await;
    assert_eq!((letter.envelope().id.as_str(), &letter.envelope().data), ("dropped", &message("").data));
    assert!(extension(&letter, "deadletterreason").as_str().unwrap().contains("dropped it unsettled"));
    assert_eq!(*extension(&letter, "deadletterattempts"), ATTEMPTS);
    letter.ack().await.unwrap();

    bus.publish(&topic, message("held")).await.unwrap();
    let mut held = Vec::new();
    for attempt in 1..=ATTEMPTS {
        let delivery = next(&mut inbox).await;
        assert_eq!((delivery.envelope().id.as_str(), delivery.attempt()), ("held", attempt));
        held.push(delivery);
    }
    let letter = letter_while_waiting(&mut inbox, &mut letters).await;
    assert!(extension(&letter, "deadletterreason").as_str().unwrap().contains("not settled within"));
    assert_eq!(*extension(&letter, "deadletterattempts"), ATTEMPTS);
    letter.ack().await.unwrap();
    // The letter may be here before the bus has the server's word for it.
    assert!(stays_empty(&mut inbox, DEADLINE / 2).await);
    assert_eq!(value(&metrics, "aiops_bus_dead_lettered_total"), 2.0);
    for late in held {
        late.ack().await.unwrap();
    }
    assert_eq!(value(&metrics, "aiops_bus_late_total"), f64::from(ATTEMPTS));
}

/// Row 63: kyma #13625. A consumer that says nak at once, without a delay, does not use up all attempts at once.
pub(crate) async fn keeps_attempts_apart(rig: &dyn Rig) {
    let topic = fresh("apart");
    let first = Duration::from_millis(300);
    let bus = rig.bus(settings().backoff(first, first * 2)).await;
    let mut inbox = bus.subscribe(&topic, "g").await.unwrap();
    bus.publish(&topic, message("1")).await.unwrap();
    let mut delivery = next(&mut inbox).await;
    for (attempt, wait) in [(2, first), (3, first * 2)] {
        let began = Instant::now();
        delivery.nak(Duration::ZERO, "at once").await.unwrap();
        delivery = next(&mut inbox).await;
        assert_eq!(delivery.attempt(), attempt);
        // Servers count whole milliseconds.
        assert!(began.elapsed() >= wait - Duration::from_millis(2), "after {:?}, not {wait:?}", began.elapsed());
    }
    delivery.ack().await.unwrap();
}

/// Row 65: redis #5212, #13602, redpanda-data/connect #2662. A consumer dies with what it had; another one of two
/// gets it, once.
pub(crate) async fn gives_a_dead_consumers_message_to_one_other(rig: &dyn Rig) {
    let topic = fresh("dead-consumer");
    let dead = rig.bus(settings()).await;
    let mut inbox = dead.subscribe(&topic, "g").await.unwrap();
    dead.publish(&topic, message("1")).await.unwrap();
    // Nothing of it says a word again.
    std::mem::forget(next(&mut inbox).await);
    drop((inbox, dead));
    let (one, other) = (rig.bus(settings()).await, rig.bus(settings()).await);
    let mut inboxes = [one.subscribe(&topic, "g").await.unwrap(), other.subscribe(&topic, "g").await.unwrap()];
    let [one, other] = &mut inboxes;
    let (delivery, rest) = tokio::select! {
        delivery = next(one) => (delivery, other),
        delivery = next(other) => (delivery, one),
    };
    assert_eq!((delivery.envelope().id.as_str(), delivery.attempt()), ("1", 2));
    assert!(stays_empty(rest, DEADLINE / 2).await, "the other one got it too");
    delivery.ack().await.unwrap();
    assert!(stays_empty(rest, DEADLINE * 2).await);
}

/// What a consumer has fetched ahead comes to another one as soon as it goes, not with its deadline.
pub(crate) async fn hands_back_what_was_fetched_ahead(rig: &dyn Rig) {
    let topic = fresh("ahead");
    let bus = rig.bus(settings().ack_deadline(Duration::from_secs(120))).await;
    let mut inbox = bus.subscribe(&topic, "g").await.unwrap();
    for number in 0..40 {
        bus.publish(&topic, message(&number.to_string())).await.unwrap();
    }
    // Fast enough to be given more and more at once.
    let mut taken = BTreeSet::new();
    for _ in 0..10 {
        let delivery = next(&mut inbox).await;
        taken.insert(delivery.envelope().id.clone());
        delivery.ack().await.unwrap();
    }
    drop(inbox);
    let mut inbox = bus.subscribe(&topic, "g").await.unwrap();
    while taken.len() < 40 {
        let delivery = next(&mut inbox).await;
        assert!(taken.insert(delivery.envelope().id.clone()), "it came twice");
        delivery.ack().await.unwrap();
    }
}

/// The next dead letter, while the group's consumer goes on waiting.
async fn letter_while_waiting(inbox: &mut Inbox, letters: &mut Inbox) -> Delivery {
    tokio::select! {
        letter = next(letters) => letter,
        delivery = next(inbox) => panic!("it came again: {delivery:?}"),
    }
}
