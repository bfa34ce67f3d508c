//! The bus over NATS JetStream.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use aiops_core::testing::ManualClock;
use aiops_core::{BusError, BusSettings, EventBus, NatsBus};
use async_nats::jetstream;
use async_trait::async_trait;

use super::checks::{self, DEADLINE, Rig, counted, fresh, message, next, settings, value};
use super::outage;
use super::server::Server;

struct Nats;

fn url() -> String {
    std::env::var("NATS_URL").unwrap()
}

async fn bus(settings: BusSettings) -> NatsBus {
    NatsBus::connect(&url(), settings).await.unwrap()
}

#[async_trait]
impl Rig for Nats {
    async fn bus(&self, settings: BusSettings) -> Arc<dyn EventBus> {
        Arc::new(bus(settings).await)
    }

    async fn put(&self, topic: &str, payload: Vec<u8>) {
        let context = jetstream::new(async_nats::connect(url()).await.unwrap());
        context.publish(topic.to_owned(), payload.into()).await.unwrap().await.unwrap();
    }
}

fn nats_server(folder: &Path, port: u16) -> Command {
    let mut command = Command::new(std::env::var("NATS_SERVER").unwrap());
    command.args(["--addr", "127.0.0.1", "--port", &port.to_string(), "--jetstream", "--store_dir"]).arg(folder);
    command
}

#[tokio::test]
#[ignore = "needs nats: .ci/services up nats"]
async fn nats_passes_the_suite() {
    checks::passes_the_suite(&Nats, settings(), |_| ()).await;
    // With back-pressure: 20 messages, room for 8.
    let short = settings().capacity(8).publish_deadline(Duration::from_millis(500));
    checks::passes_the_suite(&Nats, short, |terms| terms.publish_deadline = Duration::from_millis(500)).await;
}

#[tokio::test]
#[ignore = "needs nats: .ci/services up nats"]
async fn nats_buries_poison() {
    checks::buries_poison(&Nats).await;
}

#[tokio::test]
#[ignore = "needs nats: .ci/services up nats"]
async fn nats_hands_back_what_was_fetched_ahead() {
    checks::hands_back_what_was_fetched_ahead(&Nats).await;
}

#[tokio::test]
#[ignore = "needs nats: .ci/services up nats"]
async fn nats_refuses_or_carries_5_mb() {
    checks::refuses_or_carries_5_mb(&Nats).await;
}

/// The server's own limit, below ours.
#[tokio::test]
#[ignore = "needs nats: .ci/services up nats"]
async fn nats_refuses_what_the_server_would_not_take() {
    let (metrics, _guard) = counted();
    let server = Server::start("nats-payload", nats_server);
    let url = format!("nats://127.0.0.1:{}", server.port);
    let bus = NatsBus::connect(&url, settings().max_bytes(6_000_000)).await.unwrap();
    let mut large = message("large");
    large.data = "x".repeat(5_000_000).into();
    let error = bus.publish(&fresh("large"), large).await.unwrap_err();
    assert!(matches!(error, BusError::TooLarge { limit: 1_048_576, .. }), "{error}");
    assert_eq!(value(&metrics, "aiops_bus_too_large_total"), 1.0);
}

#[tokio::test]
#[ignore = "needs nats: .ci/services up nats"]
async fn row_67_nats_survives_a_panicking_consumer() {
    checks::survives_a_panicking_consumer(&Nats).await;
}

#[tokio::test]
#[ignore = "needs nats: .ci/services up nats"]
async fn row_69_nats_takes_no_late_word_for_another_delivery() {
    checks::row_69_takes_no_late_word_for_another_delivery(&Nats).await;
}

#[tokio::test]
#[ignore = "needs nats: .ci/services up nats"]
async fn row_60_nats_buries_what_nobody_settles() {
    checks::buries_what_nobody_settles(&Nats).await;
}

#[tokio::test]
#[ignore = "needs nats: .ci/services up nats"]
async fn row_63_nats_keeps_attempts_apart() {
    checks::keeps_attempts_apart(&Nats).await;
}

#[tokio::test]
#[ignore = "needs nats: .ci/services up nats"]
async fn row_65_nats_gives_a_dead_consumers_message_to_one_other() {
    checks::gives_a_dead_consumers_message_to_one_other(&Nats).await;
}

#[tokio::test]
#[ignore = "needs nats: .ci/services up nats"]
async fn row_68_nats_that_goes_away_is_told_and_passes() {
    let mut server = Server::start("nats", nats_server);
    let deadline = Duration::from_secs(4);
    let url = format!("nats://127.0.0.1:{}", server.port);
    let bus = NatsBus::connect(&url, settings().publish_deadline(deadline)).await.unwrap();
    outage::is_told_and_passes(&mut server, Arc::new(bus), deadline).await;
}

/// Row 61: nats-server #4112. The limit of unsettled messages is reached: told within a minute, and it passes.
#[tokio::test]
#[ignore = "needs nats: .ci/services up nats"]
async fn row_61_nats_tells_a_stall_and_recovers() {
    let (metrics, _guard) = counted();
    let topic = fresh("stall");
    let clock = ManualClock::default();
    let terms = settings().max_unsettled(2).ack_deadline(Duration::from_secs(4));
    let watching = bus(terms.clone().with_clock(clock.clone())).await;
    let working = bus(terms).await;
    drop(watching.subscribe(&topic, "g").await.unwrap());
    let mut inbox = working.subscribe(&topic, "g").await.unwrap();
    for id in ["1", "2", "3"] {
        working.publish(&topic, message(id)).await.unwrap();
    }
    let held = [next(&mut inbox).await, next(&mut inbox).await];
    assert!(!watching.measure().await.unwrap()[0].stalled);
    clock.advance(Duration::from_secs(31));
    let status = watching.measure().await.unwrap().remove(0);
    assert_eq!((status.lag, status.pending, status.stalled), (1, 2, true));
    assert_eq!(value(&metrics, "aiops_bus_stalled"), 1.0);
    std::mem::forget(held);
    let mut ids = Vec::new();
    for _ in 0..3 {
        let delivery = next(&mut inbox).await;
        ids.push(delivery.envelope().id.clone());
        delivery.ack().await.unwrap();
    }
    ids.sort();
    assert_eq!(ids, ["1", "2", "3"]);
    let status = watching.measure().await.unwrap().remove(0);
    assert_eq!((status.lag, status.pending, status.stalled), (0, 0, false));
    assert_eq!(value(&metrics, "aiops_bus_stalled"), 0.0);
}

/// Row 62: nats.net #244. The server has the deadline that was set, in its own unit.
#[tokio::test]
#[ignore = "needs nats: .ci/services up nats"]
async fn row_62_nats_has_the_ack_deadline_that_was_set() {
    let topic = fresh("unit");
    let bus = bus(settings()).await;
    drop(bus.subscribe(&topic, "a group").await.unwrap());
    let context = jetstream::new(async_nats::connect(url()).await.unwrap());
    let stream = context.get_stream(topic.replace('.', "-")).await.unwrap();
    let info = stream.consumer_info("a=20=group").await.unwrap();
    assert_eq!((info.config.ack_wait, info.config.max_deliver), (DEADLINE, -1));
}

/// Settled messages make room, messages that a group still needs never do, and a full topic refuses.
#[tokio::test]
#[ignore = "needs nats: .ci/services up nats"]
async fn nats_removes_only_what_every_group_has_settled() {
    let (metrics, _guard) = counted();
    let topic = fresh("room");
    let bus =
        bus(settings().capacity(4).publish_deadline(Duration::from_millis(300)).ack_deadline(DEADLINE * 20)).await;
    let mut fast = bus.subscribe(&topic, "fast").await.unwrap();
    let mut slow = bus.subscribe(&topic, "slow").await.unwrap();
    for id in ["1", "2", "3", "4"] {
        bus.publish(&topic, message(id)).await.unwrap();
        next(&mut fast).await.ack().await.unwrap();
    }
    let error = bus.publish(&topic, message("5")).await.unwrap_err();
    assert!(matches!(error, BusError::Full { .. }), "{error}");
    assert_eq!(value(&metrics, "aiops_bus_refused_total"), 1.0);
    // Given out is not settled.
    let first = next(&mut slow).await;
    assert!(bus.publish(&topic, message("5")).await.is_err());
    first.ack().await.unwrap();
    bus.publish(&topic, message("5")).await.unwrap();
    for id in ["2", "3", "4", "5"] {
        let delivery = next(&mut slow).await;
        assert_eq!(delivery.envelope().id, id);
        delivery.ack().await.unwrap();
    }
}

#[tokio::test]
#[ignore = "needs nats: .ci/services up nats"]
async fn nats_counts_what_it_drops_where_nobody_listens() {
    let (metrics, _guard) = counted();
    let topic = fresh("unrouted");
    let bus = bus(settings().capacity(4)).await;
    for id in ["1", "2", "3", "4", "5", "6"] {
        bus.publish(&topic, message(id)).await.unwrap();
    }
    assert_eq!(value(&metrics, "aiops_bus_unrouted_total"), 2.0);
    let mut inbox = bus.subscribe(&topic, "late").await.unwrap();
    assert_eq!(next(&mut inbox).await.envelope().id, "3", "a new group begins with what is still held");
}

/// A message that is sent twice under one id is there once.
#[tokio::test]
#[ignore = "needs nats: .ci/services up nats"]
async fn nats_drops_a_message_that_is_sent_twice() {
    let (metrics, _guard) = counted();
    let topic = fresh("twice");
    let bus = bus(settings()).await;
    let mut inbox = bus.subscribe(&topic, "g").await.unwrap();
    for id in ["1", "1", "2"] {
        bus.publish(&topic, message(id)).await.unwrap();
    }
    for id in ["1", "2"] {
        let delivery = next(&mut inbox).await;
        assert_eq!(delivery.envelope().id, id);
        delivery.ack().await.unwrap();
    }
    assert_eq!(value(&metrics, "aiops_bus_duplicates_total"), 1.0);
}

/// A group that the server forgot begins anew, and is told.
#[tokio::test]
#[ignore = "needs nats: .ci/services up nats"]
async fn nats_makes_a_lost_group_anew() {
    let (metrics, _guard) = counted();
    let topic = fresh("lost");
    let bus = bus(settings()).await;
    let mut inbox = bus.subscribe(&topic, "g").await.unwrap();
    bus.publish(&topic, message("1")).await.unwrap();
    next(&mut inbox).await.ack().await.unwrap();
    let context = jetstream::new(async_nats::connect(url()).await.unwrap());
    context.delete_stream(topic.replace('.', "-")).await.unwrap();
    bus.publish(&topic, message("2")).await.unwrap();
    let delivery = next(&mut inbox).await;
    assert_eq!(delivery.envelope().id, "2");
    delivery.ack().await.unwrap();
    assert_eq!(value(&metrics, "aiops_bus_group_lost_total"), 1.0);
}
