//! The in-process bus: order, groups, redelivery, dead letters and back-pressure.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aiops_core::jiff::Timestamp;
use aiops_core::{
    BusError, Envelope, EventBus, MemoryBus, MemoryBusBuilder, Subscription, VirtualClock, dead_letter_topic,
};
use tokio::task::JoinSet;

fn message(id: &str) -> Envelope {
    Envelope::new(id, "/t", "t.v1", Timestamp::UNIX_EPOCH, id.into())
}

fn bus(set: impl FnOnce(MemoryBusBuilder) -> MemoryBusBuilder) -> (MemoryBus, VirtualClock) {
    let clock = VirtualClock::new(Timestamp::UNIX_EPOCH);
    (set(MemoryBus::builder().with_clock(clock.clone())).build(), clock)
}

async fn next(inbox: &mut Box<dyn Subscription>) -> aiops_core::Delivery {
    inbox.next().await.unwrap().unwrap()
}

#[tokio::test]
async fn groups_are_independent_and_consumers_of_one_group_compete() {
    let (bus, _) = bus(|b| b);
    let mut a1 = bus.subscribe("t", "a").await.unwrap();
    let mut a2 = bus.subscribe("t", "a").await.unwrap();
    let mut b = bus.subscribe("t", "b").await.unwrap();
    for id in ["1", "2"] {
        bus.publish("t", message(id)).await.unwrap();
    }
    let (first, second) = (next(&mut a1).await, next(&mut a2).await);
    assert_eq!((first.envelope().id.as_str(), second.envelope().id.as_str()), ("1", "2"));
    first.ack().await.unwrap();
    second.ack().await.unwrap();
    for id in ["1", "2"] {
        let delivery = next(&mut b).await;
        assert_eq!(delivery.envelope().id, id);
        delivery.ack().await.unwrap();
    }
    assert!(bus.undelivered().is_empty());
}

#[tokio::test]
async fn a_consumer_that_panics_is_a_failed_attempt_and_the_stream_goes_on() {
    let (bus, clock) = bus(|b| b.backoff(Duration::from_secs(2), Duration::from_secs(60)));
    let mut inbox = bus.subscribe("t", "a").await.unwrap();
    bus.publish("t", message("1")).await.unwrap();
    bus.publish("t", message("2")).await.unwrap();
    let delivery = next(&mut inbox).await;
    let panicked = tokio::spawn(async move {
        let _held = delivery;
        panic!("consumer bug");
    });
    assert!(panicked.await.unwrap_err().is_panic());
    let second = next(&mut inbox).await;
    assert_eq!(second.envelope().id, "2");
    second.ack().await.unwrap();
    clock.advance(Duration::from_secs(2));
    let again = next(&mut inbox).await;
    assert_eq!((again.envelope().id.as_str(), again.attempt()), ("1", 2));
}

#[tokio::test]
async fn a_late_ack_does_not_settle_the_message_that_was_given_again() {
    let (bus, clock) = bus(|b| b.ack_deadline(Duration::from_secs(10)));
    let mut inbox = bus.subscribe("t", "a").await.unwrap();
    bus.publish("t", message("1")).await.unwrap();
    let slow = next(&mut inbox).await;
    clock.advance(Duration::from_secs(10));
    let again = next(&mut inbox).await;
    slow.ack().await.unwrap();
    assert_eq!(bus.undelivered().len(), 1);
    again.ack().await.unwrap();
    assert!(bus.undelivered().is_empty());
}

#[tokio::test]
async fn after_the_last_attempt_a_message_is_a_dead_letter_with_its_reason() {
    let (bus, _) = bus(|b| b.max_attempts(2));
    let mut inbox = bus.subscribe("t", "a").await.unwrap();
    let mut morgue = bus.subscribe(&dead_letter_topic("t"), "ops").await.unwrap();
    bus.publish("t", message("1")).await.unwrap();
    for _ in 0..2 {
        next(&mut inbox).await.nak(Duration::ZERO, "store is down").await.unwrap();
    }
    let letter = next(&mut morgue).await;
    assert_eq!(letter.envelope().extensions["deadletterreason"], "store is down");
    assert_eq!(letter.envelope().extensions["deadletterattempts"], 2);
    assert_eq!(bus.dead_letters("t"), [letter.envelope().clone()]);
}

#[tokio::test]
async fn a_full_group_holds_the_publisher_until_it_acks_and_refuses_after_the_deadline() {
    let (bus, clock) = bus(|b| b.capacity(1).publish_deadline(Duration::from_secs(5)));
    let mut inbox = bus.subscribe("t", "a").await.unwrap();
    bus.publish("t", message("1")).await.unwrap();
    let waiting = tokio::spawn({
        let bus = bus.clone();
        async move { bus.publish("t", message("2")).await }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    next(&mut inbox).await.ack().await.unwrap();
    waiting.await.unwrap().unwrap();

    let refused = tokio::spawn({
        let bus = bus.clone();
        async move { bus.publish("t", message("3")).await }
    });
    tokio::task::yield_now().await;
    clock.advance(Duration::from_secs(5));
    assert!(matches!(refused.await.unwrap(), Err(BusError::Full { .. })));
    assert_eq!(next(&mut inbox).await.envelope().id, "2");
}

#[tokio::test]
async fn a_topic_without_groups_never_fills_up() {
    let (bus, _) = bus(|b| b.capacity(1));
    for id in ["1", "2", "3"] {
        bus.publish("t", message(id)).await.unwrap();
    }
    assert!(bus.undelivered().is_empty());
}

/// Takes and settles until the bus is closed: every seventh attempt fails, and now and then it gives up waiting.
async fn consume(bus: MemoryBus, group: &str, settled: Arc<AtomicUsize>) {
    let mut inbox = bus.subscribe("t", group).await.unwrap();
    for turn in 0_usize.. {
        let given = tokio::select! {
            biased;
            given = inbox.next() => given,
            () = tokio::task::yield_now(), if turn % 3 == 0 => continue,
        };
        let Some(delivery) = given.transpose().unwrap() else { return };
        if turn % 7 == 0 {
            delivery.nak(Duration::ZERO, "not now").await.unwrap();
        } else {
            delivery.ack().await.unwrap();
            settled.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// The clock stands still, so that nobody is woken but by somebody else's word.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_waits_for_room_or_for_a_message_is_always_woken() {
    for capacity in [1, 2, 5] {
        crowd(capacity).await;
    }
}

async fn crowd(capacity: usize) {
    const PUBLISHERS: usize = 4;
    const EACH: usize = 1_000;
    let (bus, _) = bus(|b| b.capacity(capacity).max_attempts(u32::MAX));
    let settled: [Arc<AtomicUsize>; 2] = Default::default();
    // Before the first message, so that each group gets all.
    for group in ["three", "one"] {
        drop(bus.subscribe("t", group).await.unwrap());
    }
    let mut consumers = JoinSet::new();
    for (group, at) in [("three", 0), ("three", 0), ("three", 0), ("one", 1)] {
        consumers.spawn(consume(bus.clone(), group, Arc::clone(&settled[at])));
    }
    let mut publishers = JoinSet::new();
    for publisher in 0..PUBLISHERS {
        let bus = bus.clone();
        publishers.spawn(async move {
            for number in 0..EACH {
                bus.publish("t", message(&format!("{publisher}-{number}"))).await.unwrap();
            }
        });
    }
    let done = async {
        publishers.join_all().await;
        while !bus.undelivered().is_empty() {
            tokio::task::yield_now().await;
        }
        bus.close();
        consumers.join_all().await;
    };
    assert!(tokio::time::timeout(Duration::from_secs(120), done).await.is_ok(), "somebody sleeps, capacity {capacity}");
    assert_eq!(settled.map(|settled| settled.load(Ordering::SeqCst)), [PUBLISHERS * EACH; 2]);
}
