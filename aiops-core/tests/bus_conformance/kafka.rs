//! The bus over Kafka.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use aiops_core::testing::ManualClock;
use aiops_core::{BusSettings, EventBus, KafkaBus};
use async_trait::async_trait;
use rdkafka::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::util::Timeout;

use super::checks::{self, DEADLINE, Rig, counted, fresh, message, next, settings, stays_empty, value};
use super::outage;
use super::server::Server;

struct Kafka;

fn url() -> String {
    std::env::var("KAFKA_URL").unwrap()
}

fn config(url: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    // Tansu lets a new group wait for half of it.
    config.set("bootstrap.servers", url.trim_start_matches("kafka://")).set("session.timeout.ms", "6000");
    config
}

async fn bus(settings: BusSettings) -> KafkaBus {
    KafkaBus::with_config(config(&url()), settings).await.unwrap()
}

#[async_trait]
impl Rig for Kafka {
    async fn bus(&self, settings: BusSettings) -> Arc<dyn EventBus> {
        Arc::new(bus(settings.topics(2, 1)).await)
    }

    async fn put(&self, topic: &str, payload: Vec<u8>) {
        let producer: FutureProducer = config(&url()).create().unwrap();
        let record = FutureRecord::<str, [u8]>::to(topic).payload(&payload).key("k");
        producer.send(record, Timeout::After(Duration::from_secs(10))).await.unwrap();
    }
}

fn kafka_server(_: &Path, port: u16) -> Command {
    let mut command = Command::new(std::env::var("KAFKA_SERVER").unwrap());
    let url = format!("tcp://127.0.0.1:{port}");
    command.args(["broker", "--listener-url", &url, "--advertised-listener-url", &url]);
    command.args(["--storage-engine", "memory://tansu/"]);
    command
}

#[tokio::test]
#[ignore = "needs kafka: .ci/services up kafka"]
async fn kafka_passes_the_suite() {
    checks::passes_the_suite(&Kafka, settings(), |_| ()).await;
}

#[tokio::test]
#[ignore = "needs kafka: .ci/services up kafka"]
async fn kafka_buries_poison() {
    checks::buries_poison(&Kafka).await;
}

#[tokio::test]
#[ignore = "needs kafka: .ci/services up kafka"]
async fn kafka_hands_back_what_was_fetched_ahead() {
    checks::hands_back_what_was_fetched_ahead(&Kafka).await;
}

#[tokio::test]
#[ignore = "needs kafka: .ci/services up kafka"]
async fn kafka_refuses_or_carries_5_mb() {
    checks::refuses_or_carries_5_mb(&Kafka).await;
}

#[tokio::test]
#[ignore = "needs kafka: .ci/services up kafka"]
async fn row_67_kafka_survives_a_panicking_consumer() {
    checks::survives_a_panicking_consumer(&Kafka).await;
}

#[tokio::test]
#[ignore = "needs kafka: .ci/services up kafka"]
async fn row_69_kafka_takes_no_late_word_for_another_delivery() {
    checks::row_69_takes_no_late_word_for_another_delivery(&Kafka).await;
}

#[tokio::test]
#[ignore = "needs kafka: .ci/services up kafka"]
async fn row_66_kafka_buries_what_nobody_settles() {
    checks::buries_what_nobody_settles(&Kafka).await;
}

#[tokio::test]
#[ignore = "needs kafka: .ci/services up kafka"]
async fn row_63_kafka_keeps_attempts_apart() {
    checks::keeps_attempts_apart(&Kafka).await;
}

#[tokio::test]
#[ignore = "needs kafka: .ci/services up kafka"]
async fn row_68_kafka_that_goes_away_is_told_and_passes() {
    let mut server = Server::start("kafka", kafka_server);
    let deadline = Duration::from_secs(4);
    let url = format!("kafka://127.0.0.1:{}", server.port);
    let settings = settings().topics(2, 1).publish_deadline(deadline);
    let bus = KafkaBus::with_config(config(&url), settings).await.unwrap();
    outage::is_told_and_passes(&mut server, Arc::new(bus), deadline).await;
}

/// Row 65: a consumer goes away with what it had; another one gets its partitions, and only what was not settled.
#[tokio::test]
#[ignore = "needs kafka: .ci/services up kafka"]
async fn row_65_kafka_gives_a_gone_consumers_message_to_another() {
    let topic = fresh("gone-consumer");
    let one = bus(settings().topics(1, 1)).await;
    let mut inbox = one.subscribe(&topic, "g").await.unwrap();
    for id in ["1", "2"] {
        one.publish(&topic, message(id)).await.unwrap();
    }
    let mut held = vec![next(&mut inbox).await, next(&mut inbox).await];
    held.sort_by(|a, b| a.envelope().id.cmp(&b.envelope().id));
    let second = held.remove(1);
    held.remove(0).ack().await.unwrap();
    drop((inbox, second));
    let other = bus(settings()).await;
    let mut inbox = other.subscribe(&topic, "g").await.unwrap();
    let delivery = next(&mut inbox).await;
    assert_eq!((delivery.envelope().id.as_str(), delivery.attempt()), ("2", 1), "what was acked came again");
    delivery.ack().await.unwrap();
    assert!(stays_empty(&mut inbox, DEADLINE * 2).await);
}

#[tokio::test]
#[ignore = "needs kafka: .ci/services up kafka"]
async fn row_61_kafka_tells_lag_pending_and_a_stall() {
    let (metrics, _guard) = counted();
    let topic = fresh("measure");
    let clock = ManualClock::new(aiops_core::jiff::Timestamp::now());
    let bus = bus(settings().topics(1, 1).max_unsettled(1).with_clock(clock.clone())).await;
    let mut inbox = bus.subscribe(&topic, "g").await.unwrap();
    for id in ["1", "2", "3"] {
        let mut message = message(id);
        message.partitionkey = Some("k".to_owned());
        bus.publish(&topic, message).await.unwrap();
    }
    let held = next(&mut inbox).await;
    // What the server has comes with librdkafka's next word, which a consumer takes that waits.
    for _ in 0..100 {
        if bus.measure()[0].lag == 2 {
            break;
        }
        assert!(stays_empty(&mut inbox, Duration::from_millis(100)).await);
    }
    let status = bus.measure().remove(0);
    assert_eq!((status.lag, status.pending, status.stalled), (2, 1, false));
    clock.advance(Duration::from_secs(31));
    assert!(bus.measure()[0].stalled);
    assert_eq!(value(&metrics, "aiops_bus_stalled"), 1.0);
    assert_eq!((value(&metrics, "aiops_bus_lag"), value(&metrics, "aiops_bus_pending")), (2.0, 1.0));
    drop(held);
    // Past the back-off, by the same clock.
    clock.advance(Duration::from_secs(1));
    next(&mut inbox).await.ack().await.unwrap();
    assert!(!bus.measure()[0].stalled);
}
