//! The bus over Redis Streams.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use aiops_core::testing::ManualClock;
use aiops_core::{BusError, BusSettings, EventBus, RedisBus, RedisBusFinding};
use async_trait::async_trait;
use redis::aio::MultiplexedConnection;

use super::checks::{self, DEADLINE, Rig, counted, fresh, message, next, settings, stays_empty, value};
use super::outage;
use super::server::Server;

struct Redis;

fn url() -> String {
    std::env::var("REDIS_URL").unwrap()
}

async fn connection() -> MultiplexedConnection {
    redis::Client::open(url()).unwrap().get_multiplexed_async_connection().await.unwrap()
}

async fn command(words: &[&str]) -> redis::Value {
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    command.query_async(&mut connection().await).await.unwrap()
}

#[async_trait]
impl Rig for Redis {
    async fn bus(&self, settings: BusSettings) -> Arc<dyn EventBus> {
        Arc::new(RedisBus::connect(&url(), settings).await.unwrap())
    }

    async fn put(&self, topic: &str, payload: Vec<u8>) {
        let mut command = redis::cmd("XADD");
        command.arg(topic).arg("*").arg("envelope").arg(payload);
        command.exec_async(&mut connection().await).await.unwrap();
    }
}

fn redis_server(folder: &Path, port: u16) -> Command {
    let mut command = Command::new(std::env::var("REDIS_SERVER").unwrap());
    command
        .env("LD_LIBRARY_PATH", std::env::var("REDIS_LIBRARIES").unwrap())
        .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--dir"])
        .arg(folder)
        .args(["--appendonly", "yes", "--appendfsync", "always"]);
    command
}

#[tokio::test]
#[ignore = "needs redis: .ci/services up redis"]
async fn redis_passes_the_suite() {
    checks::passes_the_suite(&Redis, settings(), |_| ()).await;
    // With back-pressure: 20 messages, room for 8.
    let short = settings().capacity(8).publish_deadline(Duration::from_millis(500));
    checks::passes_the_suite(&Redis, short, |terms| terms.publish_deadline = Duration::from_millis(500)).await;
}

#[tokio::test]
#[ignore = "needs redis: .ci/services up redis"]
async fn redis_buries_poison() {
    checks::buries_poison(&Redis).await;
}

#[tokio::test]
#[ignore = "needs redis: .ci/services up redis"]
async fn redis_hands_back_what_was_fetched_ahead() {
    checks::hands_back_what_was_fetched_ahead(&Redis).await;
}

#[tokio::test]
#[ignore = "needs redis: .ci/services up redis"]
async fn redis_refuses_or_carries_5_mb() {
    checks::refuses_or_carries_5_mb(&Redis).await;
}

#[tokio::test]
#[ignore = "needs redis: .ci/services up redis"]
async fn row_67_redis_survives_a_panicking_consumer() {
    checks::survives_a_panicking_consumer(&Redis).await;
}

#[tokio::test]
#[ignore = "needs redis: .ci/services up redis"]
async fn row_69_redis_takes_no_late_word_for_another_delivery() {
    checks::row_69_takes_no_late_word_for_another_delivery(&Redis).await;
}

#[tokio::test]
#[ignore = "needs redis: .ci/services up redis"]
async fn row_66_redis_buries_what_nobody_settles() {
    checks::buries_what_nobody_settles(&Redis).await;
}

#[tokio::test]
#[ignore = "needs redis: .ci/services up redis"]
async fn row_68_redis_that_goes_away_is_told_and_passes() {
    let mut server = Server::start("redis", redis_server);
    let deadline = Duration::from_secs(2);
    let url = format!("redis://127.0.0.1:{}/", server.port);
    let bus = RedisBus::connect(&url, settings().publish_deadline(deadline)).await.unwrap();
    outage::is_told_and_passes(&mut server, Arc::new(bus), deadline).await;
}

#[tokio::test]
#[ignore = "needs redis: .ci/services up redis"]
async fn row_63_redis_keeps_attempts_apart() {
    checks::keeps_attempts_apart(&Redis).await;
}

#[tokio::test]
#[ignore = "needs redis: .ci/services up redis"]
async fn row_65_redis_gives_a_dead_consumers_message_to_one_other() {
    checks::gives_a_dead_consumers_message_to_one_other(&Redis).await;
}

/// Row 61: nats-server #4112. There is no limit of unsettled messages; a group whose consumers ask for nothing is told
/// all the same, and it passes.
#[tokio::test]
#[ignore = "needs redis: .ci/services up redis"]
async fn row_61_redis_tells_a_stall_and_recovers() {
    let (metrics, _guard) = counted();
    let topic = fresh("stall");
    let clock = ManualClock::default();
    let watching = RedisBus::connect(&url(), settings().with_clock(clock.clone())).await.unwrap();
    drop(watching.subscribe(&topic, "g").await.unwrap());
    let working = Redis.bus(settings().ack_deadline(DEADLINE * 20)).await;
    let mut inbox = working.subscribe(&topic, "g").await.unwrap();
    for id in ["1", "2", "3"] {
        working.publish(&topic, message(id)).await.unwrap();
    }
    let held = next(&mut inbox).await;
    assert!(!watching.measure().await.unwrap()[0].stalled);
    clock.advance(Duration::from_secs(31));
    let status = watching.measure().await.unwrap().remove(0);
    assert_eq!((status.lag, status.pending, status.stalled), (2, 1, true));
    assert_eq!(value(&metrics, "aiops_bus_stalled"), 1.0);
    held.ack().await.unwrap();
    for id in ["2", "3"] {
        let delivery = next(&mut inbox).await;
        assert_eq!(delivery.envelope().id, id);
        delivery.ack().await.unwrap();
    }
    let status = watching.measure().await.unwrap().remove(0);
    assert_eq!((status.lag, status.pending, status.stalled), (0, 0, false));
    assert_eq!(value(&metrics, "aiops_bus_stalled"), 0.0);
}

/// Row 64: redis #5570, #5718. Entries that are removed while a consumer has them are settled and counted.
#[tokio::test]
#[ignore = "needs redis: .ci/services up redis"]
async fn row_64_redis_settles_and_counts_trimmed_entries() {
    let (metrics, _guard) = counted();
    let topic = fresh("trimmed");
    let bus = Redis.bus(settings()).await;
    let mut inbox = bus.subscribe(&topic, "g").await.unwrap();
    bus.publish(&topic, message("1")).await.unwrap();
    let held = next(&mut inbox).await;
    command(&["XTRIM", &topic, "MAXLEN", "0"]).await;
    assert!(stays_empty(&mut inbox, DEADLINE * 2).await);
    assert_eq!(value(&metrics, "aiops_bus_trimmed_total"), 1.0);
    held.ack().await.unwrap();
    let redis::Value::Array(summary) = command(&["XPENDING", &topic, "g"]).await else { panic!("no summary") };
    assert_eq!(summary[0], redis::Value::Int(0));
    bus.publish(&topic, message("2")).await.unwrap();
    next(&mut inbox).await.ack().await.unwrap();
}

/// Settled entries make room, entries that a group still needs never do, and a full topic refuses.
#[tokio::test]
#[ignore = "needs redis: .ci/services up redis"]
async fn redis_removes_only_what_every_group_has_settled() {
    let (metrics, _guard) = counted();
    let topic = fresh("room");
    let bus = Redis.bus(settings().capacity(4).publish_deadline(Duration::from_millis(300))).await;
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
#[ignore = "needs redis: .ci/services up redis"]
async fn redis_counts_what_it_drops_where_nobody_listens() {
    let (metrics, _guard) = counted();
    let topic = fresh("unrouted");
    let bus = Redis.bus(settings().capacity(4)).await;
    for id in ["1", "2", "3", "4", "5", "6"] {
        bus.publish(&topic, message(id)).await.unwrap();
    }
    assert_eq!(value(&metrics, "aiops_bus_unrouted_total"), 2.0);
    let mut inbox = bus.subscribe(&topic, "late").await.unwrap();
    assert_eq!(next(&mut inbox).await.envelope().id, "3", "a new group begins with what is still held");
}

#[tokio::test]
#[ignore = "needs redis: .ci/services up redis"]
async fn redis_tells_lag_and_pending() {
    let (metrics, _guard) = counted();
    let topic = fresh("measure");
    let bus = RedisBus::connect(&url(), settings()).await.unwrap();
    let mut inbox = bus.subscribe(&topic, "g").await.unwrap();
    for id in ["1", "2", "3"] {
        bus.publish(&topic, message(id)).await.unwrap();
    }
    let held = next(&mut inbox).await;
    let status = bus.measure().await.unwrap();
    assert_eq!((status[0].lag, status[0].pending, status[0].stalled), (2, 1, false));
    assert_eq!((value(&metrics, "aiops_bus_lag"), value(&metrics, "aiops_bus_pending")), (2.0, 1.0));
    held.ack().await.unwrap();
}

/// A group that the server forgot begins anew, and is told.
#[tokio::test]
#[ignore = "needs redis: .ci/services up redis"]
async fn redis_makes_a_lost_group_anew() {
    let (metrics, _guard) = counted();
    let topic = fresh("lost");
    let bus = Redis.bus(settings()).await;
    let mut inbox = bus.subscribe(&topic, "g").await.unwrap();
    bus.publish(&topic, message("1")).await.unwrap();
    let held = next(&mut inbox).await;
    command(&["DEL", &topic]).await;
    bus.publish(&topic, message("2")).await.unwrap();
    let delivery = next(&mut inbox).await;
    assert_eq!(delivery.envelope().id, "2");
    delivery.ack().await.unwrap();
    held.ack().await.unwrap();
    assert_eq!(value(&metrics, "aiops_bus_group_lost_total"), 1.0);
    assert_eq!(value(&metrics, "aiops_bus_late_total"), 1.0);
}

#[tokio::test]
#[ignore = "needs redis: .ci/services up redis"]
async fn redis_names_the_settings_that_lose_messages() {
    let careful = RedisBus::connect(&url(), settings()).await.unwrap();
    assert_eq!(careful.findings().await.unwrap(), []);
    let server = Server::start("redis-careless", |folder, port| {
        let mut command = redis_server(folder, port);
        command.args(["--appendonly", "no", "--maxmemory-policy", "allkeys-lru"]);
        command
    });
    let careless = RedisBus::connect(&format!("redis://127.0.0.1:{}/", server.port), settings()).await.unwrap();
    let found = careless.findings().await.unwrap();
    assert_eq!(found, [RedisBusFinding::NotKept, RedisBusFinding::Evicts { policy: "allkeys-lru".to_owned() }]);
}

/// Publishes that wait together go in one call: the failure of one is its own.
#[tokio::test]
#[ignore = "needs redis: .ci/services up redis"]
async fn redis_fails_no_publish_for_another_ones_topic() {
    let bus = Arc::new(RedisBus::connect(&url(), settings()).await.unwrap());
    let (good, bad) = (fresh("good"), fresh("bad"));
    let mut inbox = bus.subscribe(&good, "g").await.unwrap();
    command(&["SET", &bad, "no stream"]).await;
    let mut publishes = tokio::task::JoinSet::new();
    for number in 0..20 {
        let (bus, is_good) = (Arc::clone(&bus), number % 2 == 0);
        let topic = if is_good { good.clone() } else { bad.clone() };
        publishes.spawn(async move { (is_good, bus.publish(&topic, message(&number.to_string())).await) });
    }
    for (is_good, outcome) in publishes.join_all().await {
        match outcome {
            Ok(()) => assert!(is_good),
            Err(error) => {
                assert!(!is_good && matches!(error, BusError::Broker { .. }), "{error}");
                assert!(aiops_core::error_chain(&error).contains("WRONGTYPE"), "{}", aiops_core::error_chain(&error));
            }
        }
    }
    for _ in 0..10 {
        next(&mut inbox).await.ack().await.unwrap();
    }
    assert!(stays_empty(&mut inbox, Duration::from_millis(300)).await);
}
